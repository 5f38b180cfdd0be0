//! Writes the shim: what the .NET runtime wants of a browser, one door for all that the contract imports, and what it exports.
//!
//! Managed code reaches the host through one native function, the door, since the runtime's table of native functions is fixed when it
//! is built: the door takes the place of one that nothing in the class library for browsers calls. It is told which import is
//! meant by a number and finds parameters in slots of 8 bytes, where it leaves the result. Exports go the other way: each stores its
//! number and its parameters in slots and enters managed code by one method. The numbers are written as C# constants, too.
//!
//! The layout of the slots is told in `sdk/csharp/src/Runtime/Guest.cs`.

use std::fmt::Write;

use recoil_component::ContractFunction;
use wasmparser::{FuncType, ValType};

use crate::link::CoreModule;

/// The native function whose place in the runtime's table the door takes.
const DOOR: &str = "SystemNative_SysLog";
/// The part that is the same for every contract.
const FIXED: &str = include_str!("shim.wat");
/// What a system call answers that there is not: ENOSYS.
const NO_SUCH_CALL: i32 = -52;

/// Why no shim can be written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ShimError {
    /// The runtime's table of native functions is not as it was.
    #[error("the runtime has no native function {DOOR}: is it the version that build.sh pins?")]
    Door,
    /// More exports than a package's roles have bits for.
    #[error("the contract has {0} functions of roles, and there are bits for {EXPORTS_MAX}")]
    Exports(usize),
    /// A function refers to a type that is not there.
    #[error("the runtime is malformed: its import {0} has no type")]
    Type(String),
}

/// Which exports a package has is told in a number of 64 bits.
const EXPORTS_MAX: usize = 64;

/// The shim for one contract.
pub(crate) struct Shim {
    /// The module, as text.
    pub(crate) wat: String,
    /// Its numbers, as C#.
    pub(crate) csharp: String,
    /// What it exports for the contract; the number of an export is its place.
    pub(crate) exports: Vec<String>,
}

/// A call that the door can make: its name in C#, and the code, for which local 1 is where the slots are.
struct Call {
    name: String,
    code: String,
}

/// The shim between `runtime` and the contract, all of which it imports and exports.
pub(crate) fn write(runtime: &CoreModule, contract: &[ContractFunction]) -> Result<Shim, ShimError> {
    let slot = native_function(runtime, DOOR).ok_or(ShimError::Door)?;
    let mut wat = String::from("(module\n");
    let mut calls = own_calls();
    for (number, import) in contract.iter().filter(|function| !function.is_role).enumerate() {
        let ContractFunction { interface, name, parameters, results, .. } = import;
        let signature = signature(parameters, results);
        push(&mut wat, format_args!("(import \"{interface}\" \"{name}\" (func $import{number}{signature}))\n"));
        calls.push(imported_call(number, import));
    }
    wat.push_str(FIXED);
    for import in runtime.imports.iter().filter(|import| import.module == "env") {
        let function_type = runtime.import_type(import).ok_or_else(|| ShimError::Type(import.name.to_owned()))?;
        let (parameters, results) = (names(function_type.params()), names(function_type.results()));
        let body = browser_function(import.name).map_or_else(|| nothing(import.name, function_type), str::to_owned);
        let signature = signature(&parameters, &results);
        push(&mut wat, format_args!("(func (export \"{}\"){signature} {body})\n", import.name));
    }
    write_door(&mut wat, &calls, slot);
    let exports: Vec<_> = contract.iter().filter(|function| function.is_role).collect();
    if exports.len() > EXPORTS_MAX {
        return Err(ShimError::Exports(exports.len()));
    }
    exports.iter().enumerate().for_each(|(number, export)| write_export(&mut wat, number, export));
    wat.push_str(")\n");
    let csharp = csharp(&calls, &exports);
    let exports = exports.iter().map(|export| format!("{}#{}", export.interface, export.name)).collect();
    Ok(Shim { wat, csharp, exports })
}

fn push(text: &mut String, piece: std::fmt::Arguments) {
    text.write_fmt(piece).expect("a string takes everything");
}

fn value_type(value: ValType) -> &'static str {
    match value {
        ValType::I32 => "i32",
        ValType::I64 => "i64",
        ValType::F32 => "f32",
        _ => "f64", // the canonical ABI has no more
    }
}

fn names(types: &[ValType]) -> Vec<String> {
    types.iter().map(|value| value_type(*value).to_owned()).collect()
}

fn signature(parameters: &[String], results: &[String]) -> String {
    let list = |kind: &str, values: &[String]| match values {
        [] => String::new(),
        values => format!(" ({kind} {})", values.join(" ")),
    };
    list("param", parameters) + &list("result", results)
}

/// The table's slot of a native function: pairs of a name's address and a slot lie in the runtime's data.
fn native_function(runtime: &CoreModule, name: &str) -> Option<u32> {
    let text = [&[0], name.as_bytes(), &[0]].concat();
    let word = |at: usize| u32::from_le_bytes(runtime.memory[at..at + 4].try_into().expect("four bytes"));
    let places = runtime.memory.windows(text.len()).enumerate().filter(|(_, window)| *window == text);
    let names: Vec<u32> = places.map(|(at, _)| at as u32 + 1).collect();
    let pairs = (0..runtime.memory.len().saturating_sub(7)).step_by(4);
    pairs
        .filter(|at| names.contains(&word(*at)))
        .map(|at| word(at + 4))
        .find(|slot| runtime.elements.contains_key(slot))
}

/// What the runtime asks of a browser and really needs. `local.get 0` is the first parameter.
fn browser_function(name: &str) -> Option<&'static str> {
    Some(match name {
        "emscripten_get_heap_max" => "(i32.const 2147418112)",
        "emscripten_resize_heap" => {
            "(if (global.get $fixed) (then (return (i32.const 0))))
            (i32.ne (i32.const -1) (memory.grow (i32.shr_u
              (i32.add (i32.sub (local.get 0) (i32.mul (memory.size) (i32.const 65536))) (i32.const 65535))
              (i32.const 16))))"
        }
        // In milliseconds.
        "emscripten_date_now" => "(f64.div (f64.convert_i64_u (call $now (i32.const 0))) (f64.const 1000000))",
        "emscripten_get_now" => "(f64.div (f64.convert_i64_u (call $now (i32.const 1))) (f64.const 1000000))",
        "emscripten_get_now_res" => "(f64.const 0.001)",
        "_emscripten_get_now_is_monotonic" => "(i32.const 1)",
        "mono_wasm_browser_entropy" => "(call $random_get (local.get 0) (local.get 1))",
        // What the runtime has to say, most of it when it ends: domain, level, message, whether it is fatal.
        "mono_wasm_trace_logger" => "(call $print (local.get 2))",
        "abort" | "exit" | "emscripten_force_exit" | "__cxa_throw" | "__resumeException" => "(unreachable)",
        // Around code that may throw exceptions of C++, which only code compiled ahead of time does.
        "invoke_vi" => "(call_indirect (param i32) (local.get 1) (local.get 0))",
        // A duplicate of a descriptor is the descriptor.
        "__syscall_fcntl64" => "(local.get 0)",
        // The folder is "/".
        "__syscall_getcwd" => "(i32.store16 (local.get 0) (i32.const 47)) (i32.const 2)",
        "mono_wasm_process_current_pid" => "(i32.const 1)",
        // Nothing is compiled at run time: a probe that says so is not asked again.
        "mono_interp_tier_prepare_jiterpreter" => "(i32.const 1)",
        "schedule_background_exec" => "(global.set $due (i32.const 1))",
        _ => return None,
    })
}

/// Does nothing, and says so where it can.
fn nothing(name: &str, function_type: &FuncType) -> String {
    let Some(result) = function_type.results().first() else { return String::new() };
    let value = if name.starts_with("__syscall") { NO_SUCH_CALL } else { 0 };
    format!("({}.const {value})", value_type(*result))
}

/// Calls that are the shim's own.
fn own_calls() -> Vec<Call> {
    let call = |name: &str, code: &str| Call { name: name.to_owned(), code: code.to_owned() };
    vec![
        call("Release", "(call $release)"),
        call("Background", "(global.set $due (i32.const 0)) (call $background)"),
        call(
            "Alloc",
            "(i64.store (local.get 1) (i64.extend_i32_u \
             (call $realloc (i32.const 0) (i32.const 0) (i32.const 8) (i32.load (local.get 1)))))",
        ),
    ]
}

fn imported_call(number: usize, import: &ContractFunction) -> Call {
    let mut code = format!("(call $import{number}");
    for (slot, value) in import.parameters.iter().enumerate() {
        push(&mut code, format_args!(" ({value}.load offset={} (local.get 1))", 8 * slot));
    }
    code.push(')');
    if let Some(result) = import.results.first() {
        code = format!("({result}.store (local.get 1) {code})");
    }
    Call { name: identifier(import), code }
}

/// `recoil:plugin/storage@0.1.0` and `get-many` are `storage_get_many`.
fn identifier(function: &ContractFunction) -> String {
    let interface = function.interface.rsplit('/').next().unwrap_or_default();
    let interface = interface.split('@').next().unwrap_or_default();
    let words =
        [interface, &function.name].into_iter().flat_map(|part| part.split(|char: char| !char.is_ascii_alphanumeric()));
    words.filter(|word| !word.is_empty()).collect::<Vec<_>>().join("_")
}

/// `(number, slots)`, in the place of a native function that answers a number.
fn write_door(wat: &mut String, calls: &[Call], slot: u32) {
    wat.push_str("(func $door (param i32 i32) (result i32)\n");
    (0..calls.len()).rev().for_each(|number| push(wat, format_args!("(block $call{number} ")));
    wat.push_str("(br_table");
    (0..calls.len()).for_each(|number| push(wat, format_args!(" $call{number}")));
    wat.push_str(" (local.get 0))");
    for call in calls {
        push(wat, format_args!(") {} (return (i32.const 0))\n", call.code));
    }
    push(wat, format_args!("(unreachable))\n(elem (i32.const {slot}) func $door)\n"));
}

/// A function of a role, which enters managed code.
fn write_export(wat: &mut String, number: usize, export: &ContractFunction) {
    let ContractFunction { interface, name, parameters, results, .. } = export;
    push(wat, format_args!("(func (export \"{interface}#{name}\"){}\n", signature(parameters, results)));
    wat.push_str("  (if (global.get $due) (then (global.set $due (i32.const 0)) (call $background)))\n");
    push(wat, format_args!("  (i64.store (global.get $block) (i64.const {number}))\n"));
    for (number, value) in parameters.iter().enumerate() {
        let at = 8 * (number + 1);
        push(wat, format_args!("  ({value}.store offset={at} (global.get $block) (local.get {number}))\n"));
    }
    wat.push_str("  (call $invoke (global.get $dispatch) (global.get $block))");
    if let Some(result) = results.first() {
        push(wat, format_args!("\n  ({result}.load (global.get $block))"));
    }
    wat.push_str(")\n");
}

fn csharp(calls: &[Call], exports: &[&ContractFunction]) -> String {
    let mut text = String::from("namespace Recoil.Runtime\n{\n    internal static class Op\n    {\n");
    for (number, call) in calls.iter().enumerate() {
        push(&mut text, format_args!("        public const int {} = {number};\n", call.name));
    }
    text.push_str("    }\n\n    internal static class Exp\n    {\n");
    for (number, export) in exports.iter().enumerate() {
        push(&mut text, format_args!("        public const int {} = {number};\n", identifier(export)));
    }
    text.push_str("    }\n}\n");
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn contract() -> Vec<ContractFunction> {
        let function = |interface: &str, name: &str, is_role, parameters: &[&str], results: &[&str]| {
            let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
            let (interface, name) = (format!("recoil:plugin/{interface}@0.1.0"), name.to_owned());
            ContractFunction { interface, name, is_role, parameters: words(parameters), results: words(results) }
        };
        vec![
            function("storage", "get-many", false, &["i32", "i64"], &["i32"]),
            function("tcp", "[method]connection.read", false, &["i32"], &[]),
            function("handler", "handle", true, &["i32", "i64"], &["i32"]),
        ]
    }

    /// The name at 16, the pair (16, 1) at 48.
    const RUNTIME: &str = r#"(module
        (import "env" "exit" (func (param i32)))
        (import "env" "__syscall_openat" (func (param i32 i32) (result i32)))
        (import "env" "emscripten_resize_heap" (func (param i32) (result i32)))
        (table (export "__indirect_function_table") 4 funcref) (elem (i32.const 1) $native)
        (memory (export "memory") 1)
        (data (i32.const 15) "\00SystemNative_SysLog\00") (data (i32.const 48) "\10\00\00\00\01\00\00\00")
        (func $native (param i32 i32) (result i32) (i32.const 0))
        (func (export "malloc") (param i32) (result i32) (local.get 0))
        (func (export "free") (param i32))
        (func (export "memalign") (param i32 i32) (result i32) (local.get 1))
        (func (export "mono_wasm_invoke_jsexport") (param i32 i32))
        (func (export "mono_background_exec")))"#;

    #[test]
    fn the_shim_fits_the_runtime_and_its_numbers_are_told() {
        let runtime = wat::parse_str(RUNTIME).unwrap();
        let runtime = CoreModule::parse(&runtime).unwrap();
        let shim = write(&runtime, &contract()).unwrap();
        assert_eq!(shim.exports, ["recoil:plugin/handler@0.1.0#handle"]);
        for line in [
            "int Release = 0;",
            "int storage_get_many = 3;",
            "int tcp_method_connection_read = 4;",
            "int handler_handle = 0;",
        ] {
            assert!(shim.csharp.contains(line), "{line}: {}", shim.csharp);
        }
        let shim = wat::parse_str(&shim.wat).unwrap();
        let joint = crate::link::link(&runtime, &CoreModule::parse(&shim).unwrap()).unwrap();
        let joint = CoreModule::parse(&joint).unwrap();
        let door = joint.elements[&1];
        assert_eq!(
            joint.function_type(door),
            runtime.function_type(runtime.elements[&1]),
            "the door's place is the native function's"
        );
        let imports: Vec<_> = joint.imports.iter().map(|import| import.name).collect();
        assert_eq!(imports, ["get-many", "[method]connection.read", "clock_time_get", "fd_write", "random_get"]);
    }

    #[test]
    fn another_runtime_is_refused() {
        let runtime = wat::parse_str(RUNTIME.replace("SysLog", "Log")).unwrap();
        let written = write(&CoreModule::parse(&runtime).unwrap(), &contract());
        assert_eq!(written.err(), Some(ShimError::Door));
    }
}
