//! Writes the shim: what the .NET runtime wants of a browser, one door for all that the contract imports, and what it exports.
//!
//! Managed code reaches the host through one native function, the door, since the runtime's table of native functions is fixed when it
//! is built: the door takes the place of one that nothing in the class library for browsers calls. It is told which import is
//! meant by a number and finds parameters in slots of 8 bytes, where it leaves the result. Exports go the other way: each stores its
//! number and its parameters in slots and enters managed code by one method. The numbers are written as C# constants, too.
//!
//! The layout of the slots is told in `sdk/csharp/src/Runtime/Guest.cs`.

use std::fmt::Write;

use wasmparser::{ExternalKind, FuncType, ValType};

use crate::link::{CoreModule, Import};

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
    /// A function refers to a type that is not there.
    #[error("a module is malformed: the function {0} has no type")]
    Type(String),
}

/// The shim for one contract.
pub struct Shim {
    /// The module, as text.
    pub wat: String,
    /// Its numbers, as C#.
    pub csharp: String,
    /// What it exports for the contract; the number of an export is its place.
    pub exports: Vec<String>,
}

/// A call that the door can make: its name in C#, and the code, for which local 1 is where the slots are.
struct Call {
    name: String,
    code: String,
}

/// The shim between `runtime` and `contract`, a module that imports and exports all of the contract.
pub fn write(runtime: &CoreModule, contract: &CoreModule) -> Result<Shim, ShimError> {
    let slot = native_function(runtime, DOOR).ok_or(ShimError::Door)?;
    let mut wat = String::from("(module\n");
    let mut calls = own_calls();
    for (number, import) in contract.imports.iter().enumerate() {
        let function_type = type_of(contract, import)?;
        let Import { module, name, .. } = import;
        push(
            &mut wat,
            format_args!("(import \"{module}\" \"{name}\" (func $import{number}{}))\n", signature(function_type)),
        );
        calls.push(imported_call(number, import, function_type));
    }
    wat.push_str(FIXED);
    for import in runtime.imports.iter().filter(|import| import.module == "env") {
        let function_type = type_of(runtime, import)?;
        let body = browser_function(import.name).map_or_else(|| nothing(import.name, function_type), str::to_owned);
        push(&mut wat, format_args!("(func (export \"{}\"){} {body})\n", import.name, signature(function_type)));
    }
    write_door(&mut wat, &calls, slot);
    let exports = write_exports(&mut wat, contract)?;
    wat.push_str(")\n");
    let csharp = csharp(&calls, &exports);
    Ok(Shim { wat, csharp, exports })
}

fn type_of<'a>(module: &'a CoreModule, import: &Import) -> Result<&'a FuncType, ShimError> {
    module.import_type(import).ok_or_else(|| ShimError::Type(import.name.to_owned()))
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

fn signature(function_type: &FuncType) -> String {
    let list = |kind: &str, values: &[ValType]| match values {
        [] => String::new(),
        values => format!(" ({kind} {})", values.iter().map(|value| value_type(*value)).collect::<Vec<_>>().join(" ")),
    };
    list("param", function_type.params()) + &list("result", function_type.results())
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

fn imported_call(number: usize, import: &Import, function_type: &FuncType) -> Call {
    let mut code = format!("(call $import{number}");
    for (slot, value) in function_type.params().iter().enumerate() {
        push(&mut code, format_args!(" ({}.load offset={} (local.get 1))", value_type(*value), 8 * slot));
    }
    code.push(')');
    if let Some(result) = function_type.results().first() {
        code = format!("({}.store (local.get 1) {code})", value_type(*result));
    }
    Call { name: identifier(import.module, import.name), code }
}

/// `recoil:plugin/storage@0.1.0` and `get-many` are `storage_get_many`.
fn identifier(interface: &str, function: &str) -> String {
    let interface = interface.rsplit('/').next().unwrap_or(interface);
    let interface = interface.split('@').next().unwrap_or(interface);
    let words =
        [interface, function].into_iter().flat_map(|part| part.split(|char: char| !char.is_ascii_alphanumeric()));
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

/// The contract's exports, each of which enters managed code; their names, by number.
fn write_exports(wat: &mut String, contract: &CoreModule) -> Result<Vec<String>, ShimError> {
    let mut exports = Vec::new();
    for (name, kind, function) in &contract.exports {
        // What the canonical ABI asks of every module is in the fixed part.
        if *kind != ExternalKind::Func || name.starts_with("cabi_") || *name == "_initialize" {
            continue;
        }
        let function_type = contract.function_type(*function).ok_or_else(|| ShimError::Type((*name).to_owned()))?;
        push(wat, format_args!("(func (export \"{name}\"){}\n", signature(function_type)));
        wat.push_str("  (if (global.get $due) (then (global.set $due (i32.const 0)) (call $background)))\n");
        push(wat, format_args!("  (i64.store (global.get $block) (i64.const {}))\n", exports.len()));
        for (number, value) in function_type.params().iter().enumerate() {
            let (value, at) = (value_type(*value), 8 * (number + 1));
            push(wat, format_args!("  ({value}.store offset={at} (global.get $block) (local.get {number}))\n"));
        }
        wat.push_str("  (call $invoke (global.get $dispatch) (global.get $block))");
        if let Some(result) = function_type.results().first() {
            push(wat, format_args!("\n  ({}.load (global.get $block))", value_type(*result)));
        }
        wat.push_str(")\n");
        exports.push((*name).to_owned());
    }
    Ok(exports)
}

fn csharp(calls: &[Call], exports: &[String]) -> String {
    let mut text = String::from("namespace Recoil.Runtime\n{\n    internal static class Op\n    {\n");
    for (number, call) in calls.iter().enumerate() {
        push(&mut text, format_args!("        public const int {} = {number};\n", call.name));
    }
    text.push_str("    }\n\n    internal static class Exp\n    {\n");
    for (number, export) in exports.iter().enumerate() {
        let (interface, function) = export.split_once('#').unwrap_or(("", export));
        push(&mut text, format_args!("        public const int {} = {number};\n", identifier(interface, function)));
    }
    text.push_str("    }\n}\n");
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONTRACT: &str = r#"(module
        (import "recoil:plugin/storage@0.1.0" "get-many" (func (param i32 i64) (result i32)))
        (import "recoil:plugin/tcp@0.1.0" "[method]connection.read" (func (param i32)))
        (memory (export "memory") 1)
        (func (export "recoil:plugin/handler@0.1.0#handle") (param i32 i64) (result i32) (i32.const 0))
        (func (export "cabi_post_recoil:plugin/handler@0.1.0#handle") (param i32))
        (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) (i32.const 0)))"#;
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
        let (runtime, contract) = (wat::parse_str(RUNTIME).unwrap(), wat::parse_str(CONTRACT).unwrap());
        let runtime = CoreModule::parse(&runtime).unwrap();
        let shim = write(&runtime, &CoreModule::parse(&contract).unwrap()).unwrap();
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
        assert_eq!(imports, ["get-many", "[method]connection.read", "clock_time_get", "random_get"]);
    }

    #[test]
    fn another_runtime_is_refused() {
        let (runtime, contract) = (RUNTIME.replace("SysLog", "Log"), wat::parse_str(CONTRACT).unwrap());
        let runtime = wat::parse_str(runtime).unwrap();
        let written = write(&CoreModule::parse(&runtime).unwrap(), &CoreModule::parse(&contract).unwrap());
        assert_eq!(written.err(), Some(ShimError::Door));
    }
}
