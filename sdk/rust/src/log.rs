//! Lines in the package's log, which the host keeps and fills in: node, partition, call.
//!
//! In a native test the lines go to standard error, where the test harness captures them.

#[cfg(target_arch = "wasm32")]
use crate::bindings::platform::recoil::plugin::log as host;

/// How much a line matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Every step.
    Trace,
    /// For the author of the package.
    Debug,
    /// For who runs it.
    Info,
    /// Something is not as it should be.
    Warn,
    /// Something failed.
    Error,
}

/// Write one line; above 8 KiB it is cut.
pub fn write(level: Level, message: &str) {
    #[cfg(target_arch = "wasm32")]
    host::write(
        match level {
            Level::Trace => host::Level::Trace,
            Level::Debug => host::Level::Debug,
            Level::Info => host::Level::Info,
            Level::Warn => host::Level::Warn,
            Level::Error => host::Level::Error,
        },
        message,
    );
    #[cfg(not(target_arch = "wasm32"))]
    eprintln!("{level:?}: {message}");
}

/// A line for who runs the package.
pub fn info(message: &str) {
    write(Level::Info, message);
}

/// Something is not as it should be.
pub fn warn(message: &str) {
    write(Level::Warn, message);
}

/// Something failed.
pub fn error(message: &str) {
    write(Level::Error, message);
}
