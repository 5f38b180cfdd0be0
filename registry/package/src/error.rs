//! What can be wrong with a package, said to its author.

/// Why a package or its manifest was refused. Every message says what was wrong, with which value, and what to do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PackageError {
    /// The bytes are not a component at all.
    #[error(
        "this is not a WebAssembly component: {why}; build the package for wasm32-wasip2 (or wrap a core module with `wasm-tools component new`)"
    )]
    NotAComponent {
        /// What the bytes are instead.
        why: String,
    },
    /// The component's outermost sections cannot be walked.
    #[error("the component is damaged at byte {position}: {why}; build or download it again")]
    Damaged {
        /// Offset in the archive.
        position: usize,
        /// What was found there.
        why: String,
    },
    /// The archive is larger than any node would take.
    #[error(
        "the package has {size} bytes, and a package may have {limit}: strip debug information, or load large data at run time"
    )]
    ArchiveTooLarge {
        /// Bytes in the archive.
        size: usize,
        /// Bytes allowed.
        limit: usize,
    },
    /// The component cannot be what its manifest says.
    #[error(
        "the {what} needs the export recoil:plugin/{role}@0.1, and the component exports {exports}: export it, or change recoil.toml"
    )]
    MissingExport {
        /// The interface that is missing.
        role: &'static str,
        /// What needs it.
        what: String,
        /// What there is.
        exports: String,
    },
    /// No manifest inside.
    #[error(
        "the component has no manifest (custom section `recoil:manifest`): write a recoil.toml beside it and build the package with it"
    )]
    NoManifest,
    /// More than one manifest inside, so that two readers could see different ones.
    #[error(
        "the component has {count} manifests (custom sections `recoil:manifest`), and only one can hold: build the package again"
    )]
    ManyManifests {
        /// How many there are.
        count: usize,
    },
    /// The manifest is too large to read.
    #[error("the manifest has {size} bytes, and {limit} are allowed: shorten its texts")]
    ManifestTooLarge {
        /// Bytes in the manifest.
        size: usize,
        /// Bytes allowed.
        limit: usize,
    },
    /// The manifest was written for a later version of the host.
    #[error(
        "the manifest has format {found}, and this version reads format {known}: upgrade Recoil, or build the package for this version"
    )]
    UnknownFormat {
        /// The format that was found.
        found: u64,
        /// The format that is known.
        known: u32,
    },
    /// The manifest cannot be read as one.
    #[error("the manifest cannot be read: {why}")]
    Malformed {
        /// The reader's reason, with the place.
        why: String,
    },
    /// A field has a value it must not have.
    #[error("the manifest's `{field}` is {value}: {rule}")]
    Invalid {
        /// Path of the field.
        field: String,
        /// What it says, cut to a readable length.
        value: String,
        /// What it must be.
        rule: &'static str,
    },
}
