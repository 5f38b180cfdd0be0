//! What a Lua engine must do for scripts: the seam behind which one can be replaced by another.
//!
//! An engine keeps compiled scripts and libraries, under the SHA-1 of their text, so that it may serve any partition: it is a
//! cache and remembers nothing of a run. Invariant: a run ends, by its budget if not by itself, and a script can reach
//! nothing outside of its engine but the [`Host`] of the run.

use super::value::Value;

/// The SHA-1 of a script's text.
pub(crate) type Digest = [u8; 20];

/// What a script can reach while it runs.
pub(crate) trait Host {
    /// A command by `redis.call`. An error reply is `Err`, without its sign.
    fn call(&mut self, command: &[Vec<u8>], resp3: bool) -> Result<Value, String>;
}

/// KEYS and ARGV of a run.
#[derive(Clone, Copy)]
pub(crate) struct Input<'a> {
    pub(crate) keys: &'a [&'a [u8]],
    pub(crate) arguments: &'a [&'a [u8]],
}

/// What a script returned, and whether it has chosen RESP3.
#[derive(Debug)]
pub(crate) struct Returned {
    pub(crate) value: Value,
    pub(crate) resp3: bool,
}

/// Why a run has not returned.
#[derive(Debug)]
pub(crate) enum Stopped {
    /// The script's own error: a text with its code, and where it was raised (`@user_script`, 1) if that is known.
    Raised { text: String, place: Option<(String, u32)> },
    /// More instructions than a run may execute.
    Budget,
    /// More memory than a run may use.
    Memory,
}

/// A function that a library has registered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Registered {
    pub(crate) name: String,
    pub(crate) description: Option<Vec<u8>>,
    /// As in [`super::shebang`].
    pub(crate) flags: u8,
}

/// A Lua engine.
pub(crate) trait Engine {
    /// Compile a script's text and keep it under its digest. The error is the compiler's message.
    fn compile(&mut self, digest: Digest, text: &[u8]) -> Result<(), String>;
    /// True if [`Engine::compile`] has kept it.
    fn has_script(&self, digest: &Digest) -> bool;
    /// Run a script that is kept.
    fn run(&mut self, digest: &Digest, input: Input<'_>, host: &mut dyn Host) -> Result<Returned, Stopped>;
    /// Run a library's text and keep the functions that it registers. The error is a text for the client, without a code.
    fn load(&mut self, digest: Digest, text: &[u8]) -> Result<Vec<Registered>, String>;
    /// True if [`Engine::load`] has kept it.
    fn has_library(&self, digest: &Digest) -> bool;
    /// Call a function, whose name is in lower case, of a library that is kept.
    fn call(
        &mut self,
        digest: &Digest,
        function: &str,
        input: Input<'_>,
        host: &mut dyn Host,
    ) -> Result<Returned, Stopped>;
    /// Bytes of the texts that are kept.
    fn text_bytes(&self) -> usize;
}
