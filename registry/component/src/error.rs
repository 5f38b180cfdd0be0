//! What can be wrong with a module, said to who wrote and linked it.

/// Why no component can be made of a module. Every message says what was found, and what to do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ComponentError {
    /// Larger than any package may be.
    #[error(
        "the module has {size} bytes, and a package may have {limit}: strip debug information, or load large data at run time"
    )]
    TooLarge {
        /// Bytes in the module.
        size: usize,
        /// Bytes allowed.
        limit: usize,
    },
    /// Not WebAssembly, damaged, or of a kind that nodes do not run.
    #[error(
        "the module is not WebAssembly that nodes run: {why}, at byte {position}; build it for wasm32-wasi, with the instructions of \
         WebAssembly 2.0 and without threads, exceptions and garbage collection"
    )]
    Invalid {
        /// Offset in the module.
        position: usize,
        /// What was found there.
        why: String,
    },
    /// Functions that the sources declare and nothing defines: the linker left them to whoever runs the module.
    #[error(
        "the module imports {names} from env: functions that are declared but not linked; link what defines them, or do not call them"
    )]
    NotLinked {
        /// Their names.
        names: String,
    },
    /// A function of WASI preview 1 that there is not.
    #[error(
        "the module imports {name} from wasi_snapshot_preview1, and {why}: wasmtime's adapter gives packages what the first preview of \
         WASI has; do without the function, or build with a tool chain for that preview"
    )]
    UnknownWasi {
        /// The function.
        name: String,
        /// What does not fit.
        why: String,
    },
    /// An import that is neither the contract's nor WASI's.
    #[error(
        "the module imports {name} from '{module}', which nodes do not have: a package may import the functions of {known}, and \
         wasi_snapshot_preview1"
    )]
    UnknownImport {
        /// Where from.
        module: String,
        /// What.
        name: String,
        /// The interfaces that there are.
        known: String,
    },
    /// An import from one of the contract's interfaces that it does not have.
    #[error(
        "the module imports {name} from {interface}, and the contract has no such function there: it has {known}; build with the SDK \
         that came with this recoilctl"
    )]
    UnknownFunction {
        /// The interface.
        interface: String,
        /// The function.
        name: String,
        /// The functions that there are.
        known: String,
    },
    /// An export that looks like one of the contract's roles and is none.
    #[error("the module exports '{name}', which is no role's function: the contract has {known}")]
    UnknownExport {
        /// The export.
        name: String,
        /// What may be exported.
        known: String,
    },
    /// A function of the contract with other parameters or results.
    #[error(
        "the module {uses} {name} as {found}, and the contract has it as {expected}: the bindings were made for another version of the \
         contract; make them again, or build with the SDK that came with this recoilctl"
    )]
    WrongType {
        /// Imports or exports.
        uses: &'static str,
        /// The function.
        name: String,
        /// Its type in the module.
        found: String,
        /// Its type in the contract.
        expected: String,
    },
    /// A role of which a function is missing.
    #[error("the module exports a part of {role} only: '{name}' is missing")]
    MissingFunction {
        /// The role.
        role: String,
        /// The export that is missing.
        name: String,
    },
    /// No role at all.
    #[error("the module has no role: it exports none of {known}; {hint}")]
    NoRole {
        /// What may be exported.
        known: String,
        /// What is likely to be wrong.
        hint: &'static str,
    },
    /// The host can hand over nothing.
    #[error("the module does not export {what}: {hint}")]
    MissingPlumbing {
        /// What is missing, with its type.
        what: &'static str,
        /// What to do.
        hint: &'static str,
    },
    /// Whatever else the encoder finds.
    #[error("no component can be made of the module: {why}")]
    Encoding {
        /// The encoder's reason.
        why: String,
    },
}
