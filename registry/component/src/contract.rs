//! The contract, as a core module sees it: which functions may be imported and exported, under which names and of which types.

use std::collections::BTreeMap;

use wasmparser::ValType;
use wit_component::StringEncoding;
use wit_parser::abi::{AbiVariant, WasmType};
use wit_parser::{Interface, Resolve, SourceMap, TypeDefKind, WorldItem};

use crate::ComponentError;
use crate::module::Signature;

/// File names and texts of `wit/`; made by `build.rs`.
static FILES: &[(&str, &str)] = include!(concat!(env!("OUT_DIR"), "/contract.rs"));

/// The world that holds what every package may import.
const PLATFORM: &str = "platform";

/// Functions by the names they have in a core module.
type Functions = BTreeMap<String, Signature>;

/// The contract's interfaces by their names, such as `recoil:plugin/storage@0.1.0`, taken apart by who implements them.
pub(crate) struct Contract {
    resolve: Resolve,
    /// Implemented by the host.
    pub(crate) imports: BTreeMap<String, Functions>,
    /// Implemented by packages: the roles.
    pub(crate) roles: BTreeMap<String, Functions>,
}

impl Contract {
    /// The contract that this crate was built with.
    pub(crate) fn load() -> Result<Self, ComponentError> {
        let mut texts = SourceMap::new();
        for (name, text) in FILES {
            texts.push_str(name, *text);
        }
        let unresolved = texts.parse().map_err(|(texts, error)| encoding(error.render(&texts)))?;
        let mut resolve = Resolve::default();
        let package = resolve.push_group(unresolved).map_err(|error| encoding(format!("{error:#}")))?;
        let platform =
            resolve.select_world(&[package], Some(PLATFORM)).map_err(|error| encoding(format!("{error:#}")))?;
        let (mut imports, mut roles) = (BTreeMap::new(), BTreeMap::new());
        for &id in resolve.packages[package].interfaces.values() {
            let Some(name) = resolve.id_of(id) else { continue };
            let is_imported = resolve.worlds[platform]
                .imports
                .values()
                .any(|item| matches!(item, WorldItem::Interface { id: imported, .. } if *imported == id));
            if is_imported {
                let functions = functions(&resolve, &resolve.interfaces[id], AbiVariant::GuestImport);
                imports.insert(name, functions);
            } else {
                let functions = functions(&resolve, &resolve.interfaces[id], AbiVariant::GuestExport);
                roles.insert(name, functions);
            }
        }
        Ok(Contract { resolve, imports, roles })
    }

    /// What tells an encoder that a module imports and exports these interfaces: appended to the module.
    pub(crate) fn describe<'a>(
        &self,
        module: &mut Vec<u8>,
        imports: impl Iterator<Item = &'a str>,
        roles: impl Iterator<Item = &'a str>,
    ) -> Result<(), ComponentError> {
        let mut world = String::from("package recoil:made;\nworld made {\n");
        imports.for_each(|name| world.push_str(&format!("import {name};\n")));
        roles.for_each(|name| world.push_str(&format!("export {name};\n")));
        world.push('}');
        let mut resolve = self.resolve.clone();
        let mut describe = || {
            let package = resolve.push_source("made.wit", &world)?;
            let world = resolve.select_world(&[package], None)?;
            wit_component::embed_component_metadata(module, &resolve, world, StringEncoding::UTF8)
        };
        describe().map_err(|error| encoding(format!("{error:#}")))
    }
}

fn encoding(why: String) -> ComponentError {
    ComponentError::Encoding { why }
}

fn functions(resolve: &Resolve, interface: &Interface, side: AbiVariant) -> Functions {
    let mut functions: Functions = interface
        .functions
        .values()
        .map(|function| {
            let signature = resolve.wasm_signature(side, function);
            let core = |types: &[WasmType]| types.iter().map(core_type).collect();
            (function.name.clone(), Signature { params: core(&signature.params), results: core(&signature.results) })
        })
        .collect();
    for (name, id) in &interface.types {
        if matches!(resolve.types[*id].kind, TypeDefKind::Resource) {
            let drop = Signature { params: vec![ValType::I32], results: vec![] };
            functions.insert(format!("[resource-drop]{name}"), drop);
        }
    }
    functions
}

fn core_type(of: &WasmType) -> ValType {
    match of {
        WasmType::I32 | WasmType::Pointer | WasmType::Length => ValType::I32,
        WasmType::I64 | WasmType::PointerOrI64 => ValType::I64,
        WasmType::F32 => ValType::F32,
        WasmType::F64 => ValType::F64,
    }
}
