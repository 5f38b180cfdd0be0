//! A core module from outside: what it imports and exports, once it is known to be valid.

use std::collections::BTreeMap;
use std::fmt;

use wasmparser::types::EntityType;
use wasmparser::{Encoding, Parser, Payload, ValType, Validator, WasmFeatures};

use crate::ComponentError;

/// What the host's engine runs: one memory of 32 bits, and nothing that needs its collector of garbage.
const FEATURES: WasmFeatures = WasmFeatures::WASM2
    .union(WasmFeatures::EXTENDED_CONST)
    .union(WasmFeatures::TAIL_CALL)
    .union(WasmFeatures::RELAXED_SIMD);

/// Sections in which binding generators leave a description of their own.
const DESCRIPTION: &str = "component-type";

/// The type of a function.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Signature {
    pub(crate) params: Vec<ValType>,
    pub(crate) results: Vec<ValType>,
}

impl fmt::Display for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |types: &[ValType]| types.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        write!(f, "({}) -> ({})", list(&self.params), list(&self.results))
    }
}

/// What is imported or exported under a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Item {
    Function(Signature),
    Memory,
    Other,
}

impl fmt::Display for Item {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Item::Function(signature) => signature.fmt(f),
            Item::Memory => f.write_str("a memory"),
            Item::Other => f.write_str("a table, a global or a tag"),
        }
    }
}

/// The outside of a valid module.
pub(crate) struct Module {
    /// Where from, what, and of which type, in their order.
    pub(crate) imports: Vec<(String, String, Item)>,
    pub(crate) exports: BTreeMap<String, Item>,
}

impl Module {
    /// Validates a module, its code included.
    pub(crate) fn read(bytes: &[u8]) -> Result<Self, ComponentError> {
        let types = Validator::new_with_features(FEATURES).validate_all(bytes).map_err(invalid)?;
        let types = types.as_ref();
        let item = |entity| match entity {
            EntityType::Func(id) => {
                let function = types[id].unwrap_func();
                Item::Function(Signature { params: function.params().to_vec(), results: function.results().to_vec() })
            }
            EntityType::Memory(_) => Item::Memory,
            _ => Item::Other,
        };
        Ok(Module {
            imports: types
                .core_imports()
                .into_iter()
                .flatten()
                .map(|(module, name, entity)| (module.to_owned(), name.to_owned(), item(entity)))
                .collect(),
            exports: types
                .core_exports()
                .into_iter()
                .flatten()
                .map(|(name, entity)| (name.to_owned(), item(entity)))
                .collect(),
        })
    }
}

/// A valid module without the descriptions that a binding generator left in it.
pub(crate) fn without_description(bytes: &[u8]) -> Result<Vec<u8>, ComponentError> {
    let mut kept = wasm_encoder::Module::new();
    for payload in Parser::new(0).parse_all(bytes) {
        let payload = payload.map_err(invalid)?;
        if matches!(&payload, Payload::CustomSection(section) if section.name().starts_with(DESCRIPTION)) {
            continue;
        }
        if let Some((id, range)) = payload.as_section() {
            kept.section(&wasm_encoder::RawSection { id, data: &bytes[range] });
        }
    }
    Ok(kept.finish())
}

/// True for a component, false for a core module and for anything else.
pub(crate) fn is_component(bytes: &[u8]) -> bool {
    let first = Parser::new(0).parse_all(bytes).next();
    matches!(first, Some(Ok(Payload::Version { encoding: Encoding::Component, .. })))
}

fn invalid(error: wasmparser::BinaryReaderError) -> ComponentError {
    ComponentError::Invalid { position: error.offset(), why: error.message().to_owned() }
}
