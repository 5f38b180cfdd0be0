//! Makes a component of a core module, so that languages whose compilers know core modules only need no other tool.
//!
//! A module says by the names of its imports and exports what it uses and which roles it has: `recoil:plugin/storage@0.1.0` `get` is
//! imported, `recoil:plugin/handler@0.1.0#handle` exported, as the [canonical ABI] has it. [`componentize`] holds these names and
//! their types against the contract, and describes to the encoder a world of just these interfaces. So authors write no world and tool
//! chains embed no description; one that is there is dropped, because the contract is the authority. WASI preview 1, which compilers
//! for core modules speak, is translated by wasmtime's adapter, which is linked only if it is needed.
//!
//! Invariant: a module is validated before anything else is done with it, and what has no place in a package is refused here, by name
//! and with what to do: the encoder meets modules that fit. Deliberately absent: the manifest (`recoil-package` embeds it), other
//! worlds than the contract's, asynchronous exports, libraries that are linked at run time.
//!
//! [canonical ABI]: https://github.com/WebAssembly/component-model/blob/main/design/mvp/CanonicalABI.md

mod contract;
mod error;
mod module;

use std::collections::BTreeSet;

use wasi_preview1_component_adapter_provider::{
    WASI_SNAPSHOT_PREVIEW1_ADAPTER_NAME as WASI, WASI_SNAPSHOT_PREVIEW1_REACTOR_ADAPTER as ADAPTER,
};
use wasmparser::ValType;
use wit_component::ComponentEncoder;

use contract::Contract;
pub use error::ComponentError;
use module::{Item, Module, Signature};

/// Bytes a module may have: what a package may have.
pub const MODULE_BYTES_MAX: usize = 64 << 20;

/// Where linkers leave what is declared and not defined.
const UNDEFINED: &str = "env";

/// Names in a message, and characters of a name that the module made up.
const NAMES_MAX: usize = 16;
const NAME_CHARACTERS_MAX: usize = 128;

/// A function of the contract, as a core module imports or exports it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContractFunction {
    /// Its interface, such as `recoil:plugin/storage@0.1.0`.
    pub interface: String,
    /// Its name there, such as `get` or `[method]connection.read`.
    pub name: String,
    /// Whether packages implement it, for a role, or the host.
    pub is_role: bool,
    /// The core types of its parameters, as the text format has them: `i32`, `i64`, `f32` or `f64`.
    pub parameters: Vec<String>,
    /// The core types of its results, of which there is at most one.
    pub results: Vec<String>,
}

/// All functions of the contract, in an order that changes with the contract only: for tool chains that make a module themselves.
pub fn contract() -> Result<Vec<ContractFunction>, ComponentError> {
    let contract = Contract::load()?;
    let sides = contract.imports.iter().map(|its| (its, false)).chain(contract.roles.iter().map(|its| (its, true)));
    let mut all = Vec::new();
    for ((interface, functions), is_role) in sides {
        for (name, Signature { params, results }) in functions {
            let text = |types: &[ValType]| types.iter().map(ToString::to_string).collect();
            let (interface, name) = (interface.clone(), name.clone());
            all.push(ContractFunction { interface, name, is_role, parameters: text(params), results: text(results) });
        }
    }
    Ok(all)
}

/// A component that does what the core module does: with the roles that the module exports, and the contract's interfaces and the parts
/// of WASI 0.2 that it imports. What is a component already is returned as it is.
///
/// The module is a reactor: it exports its `memory`, `cabi_realloc`, and `_initialize` if something must run before its other exports.
/// Fails with what the module's author can do something about.
pub fn componentize(module: &[u8]) -> Result<Vec<u8>, ComponentError> {
    if module.len() > MODULE_BYTES_MAX {
        return Err(ComponentError::TooLarge { size: module.len(), limit: MODULE_BYTES_MAX });
    }
    if module::is_component(module) {
        return Ok(module.to_vec());
    }
    let contract = Contract::load()?;
    let outside = Module::read(module)?;
    let needs_wasi = outside.imports.iter().any(|(from, ..)| from == WASI);
    let imports = check_imports(&outside, &contract, needs_wasi)?;
    let roles = check_exports(&outside, &contract)?;
    let mut described = module::without_description(module)?;
    contract.describe(&mut described, imports.iter().copied(), roles.iter().copied())?;
    let mut encoder = ComponentEncoder::default().validate(true).module(&described);
    if needs_wasi {
        encoder = encoder.and_then(|encoder| encoder.adapter(WASI, ADAPTER));
    }
    encoder
        .and_then(|mut encoder| encoder.encode())
        .map_err(|error| ComponentError::Encoding { why: format!("{error:#}") })
}

/// The contract's interfaces that the module imports from.
fn check_imports<'a>(
    module: &'a Module,
    contract: &Contract,
    needs_wasi: bool,
) -> Result<BTreeSet<&'a str>, ComponentError> {
    let undefined: Vec<_> =
        module.imports.iter().filter(|(from, ..)| from == UNDEFINED).map(|(_, name, _)| shown(name)).collect();
    if let Some(names) = listed(undefined.iter().map(String::as_str)) {
        return Err(ComponentError::NotLinked { names });
    }
    let adapter = if needs_wasi { Some(Module::read(ADAPTER)?) } else { None };
    let mut interfaces = BTreeSet::new();
    for (from, name, item) in &module.imports {
        if let Some(adapter) = adapter.as_ref().filter(|_| from == WASI) {
            let why = match adapter.exports.get(name) {
                Some(known) if known == item => continue,
                Some(known) => format!("it is used as {item} where it is {known}"),
                None => "there is no such function".to_owned(),
            };
            return Err(ComponentError::UnknownWasi { name: shown(name), why });
        }
        let Some(functions) = contract.imports.get(from) else {
            let known = listed(contract.imports.keys().map(String::as_str)).unwrap_or_default();
            return Err(ComponentError::UnknownImport { module: shown(from), name: shown(name), known });
        };
        let Some(expected) = functions.get(name) else {
            let known = listed(functions.keys().map(String::as_str)).unwrap_or_default();
            return Err(ComponentError::UnknownFunction { interface: from.clone(), name: shown(name), known });
        };
        check_type("imports", || format!("{from} {name}"), item, expected)?;
        interfaces.insert(from.as_str());
    }
    Ok(interfaces)
}

/// The roles that the module exports, each with all its functions.
fn check_exports<'a>(module: &Module, contract: &'a Contract) -> Result<BTreeSet<&'a str>, ComponentError> {
    let (mut roles, mut known) = (BTreeSet::new(), Vec::new());
    for (role, functions) in &contract.roles {
        let exported = |function: &String| format!("{role}#{function}");
        known.extend(functions.keys().map(exported));
        if functions.keys().any(|function| module.exports.contains_key(&exported(function))) {
            roles.insert(role.as_str());
        }
    }
    let names = || listed(known.iter().map(String::as_str)).unwrap_or_default();
    for name in module.exports.keys() {
        let plain = name.strip_prefix("cabi_post_").unwrap_or(name);
        if is_meant_for_host(name) && !known.iter().any(|known| known == plain) {
            return Err(ComponentError::UnknownExport { name: shown(name), known: names() });
        }
    }
    for role in &roles {
        for (function, expected) in &contract.roles[*role] {
            let name = format!("{role}#{function}");
            let Some(item) = module.exports.get(&name) else {
                return Err(ComponentError::MissingFunction { role: (*role).to_owned(), name });
            };
            check_type("exports", || name.clone(), item, expected)?;
        }
    }
    if roles.is_empty() {
        let hint = if module.exports.contains_key("_start") {
            "it is a program (it exports _start) and not a reactor: link it with -mexec-model=reactor, or what your language calls it"
        } else {
            "declare its roles as the SDK's README has it, and have the linker keep the exports"
        };
        return Err(ComponentError::NoRole { known: names(), hint });
    }
    check_plumbing(module)?;
    Ok(roles)
}

/// What the canonical ABI needs to hand over bytes.
fn check_plumbing(module: &Module) -> Result<(), ComponentError> {
    let realloc = Signature { params: vec![ValType::I32; 4], results: vec![ValType::I32] };
    if module.exports.get("cabi_realloc") != Some(&Item::Function(realloc)) {
        return Err(ComponentError::MissingPlumbing {
            what: "cabi_realloc of the type (i32, i32, i32, i32) -> (i32)",
            hint: "the host calls it for memory in which it hands over bytes; every SDK and binding generator brings it, so the linker \
                   dropped it or it was not linked",
        });
    }
    if module.exports.get("memory") != Some(&Item::Memory) {
        return Err(ComponentError::MissingPlumbing {
            what: "its memory, under the name memory",
            hint: "the host reads and writes what it hands over there; have the linker export the memory",
        });
    }
    Ok(())
}

fn check_type(
    uses: &'static str,
    name: impl Fn() -> String,
    item: &Item,
    expected: &Signature,
) -> Result<(), ComponentError> {
    if matches!(item, Item::Function(signature) if signature == expected) {
        return Ok(());
    }
    Err(ComponentError::WrongType { uses, name: name(), found: item.to_string(), expected: expected.to_string() })
}

/// Names as only exports for the host have them: whatever else a linker keeps is the module's own affair.
fn is_meant_for_host(name: &str) -> bool {
    name.contains('#') || ["recoil:", "cabi_post_", "cm32p2"].iter().any(|prefix| name.starts_with(prefix))
}

/// The names in words, or none if there are none.
fn listed<'a>(names: impl Iterator<Item = &'a str>) -> Option<String> {
    let names: Vec<_> = names.collect();
    let shown = names.iter().take(NAMES_MAX).copied().collect::<Vec<_>>().join(", ");
    match names.len() {
        0 => None,
        count if count > NAMES_MAX => Some(format!("{shown} and {} more", count - NAMES_MAX)),
        _ => Some(shown),
    }
}

/// A name as a terminal may have it.
fn shown(name: &str) -> String {
    let mut shown: String = name.chars().take(NAME_CHARACTERS_MAX).flat_map(char::escape_debug).collect();
    if name.chars().nth(NAME_CHARACTERS_MAX).is_some() {
        shown.push('…');
    }
    shown
}
