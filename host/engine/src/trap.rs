//! What went wrong in a guest, in words for the author of the package.

use crate::limits::STACK_BYTES_MAX;
use wasmtime::{Error, PoolConcurrencyLimitError, Trap, WasmBacktrace};

/// How an instance failed; the words that depend on its limits come from the caller.
#[derive(Debug, Clone)]
pub(crate) struct Circumstances {
    /// The time a call may take, milliseconds.
    pub(crate) call_ms_max: u32,
    /// Why memory was refused during the call, if it was.
    pub(crate) memory_refused: Option<String>,
}

/// Says what went wrong: the cause, and the function where it happened if the component kept its names.
pub(crate) fn describe(error: &Error, circumstances: Circumstances) -> String {
    let trap = error.downcast_ref::<Trap>();
    let cause = match (trap, circumstances.memory_refused) {
        (Some(Trap::Interrupt), _) => {
            format!("ran longer than {} ms (limit call_ms: do less in a call, or raise it)", circumstances.call_ms_max)
        }
        (_, Some(refused)) => refused,
        (Some(Trap::UnreachableCodeReached), None) => "reached unreachable code (a panic or an abort)".to_owned(),
        (Some(Trap::StackOverflow), None) => {
            format!("overflowed its stack (limit stack_bytes: {STACK_BYTES_MAX}); recurse less")
        }
        (Some(trap), None) => trap.to_string().trim_start_matches("wasm trap: ").to_owned(),
        (None, None) => error.root_cause().to_string(),
    };
    match function(error) {
        Some(name) => format!("{cause}, in {name}"),
        None => cause,
    }
}

/// True when the engine has no room for another instance.
pub(crate) fn is_pool_exhausted(error: &Error) -> bool {
    error.downcast_ref::<PoolConcurrencyLimitError>().is_some()
}

/// The innermost function with a name.
fn function(error: &Error) -> Option<String> {
    let frames = error.downcast_ref::<WasmBacktrace>()?.frames();
    frames.iter().find_map(|frame| frame.func_name()).map(|name| name.chars().take(200).collect())
}
