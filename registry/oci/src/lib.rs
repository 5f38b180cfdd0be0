//! What the OCI distribution and image specifications name, and how a Recoil package is laid out in them.
//!
//! ```text
//! name        repositories, tags, digests and references: text that is checked once
//! manifest    what a registry has to know of a manifest: what it refers to
//! layout      a package as an OCI artifact: one layer `application/wasm`, as the CNCF's Wasm layout says
//! records     what the registry's server asks of the package that keeps its records
//! ```
//!
//! Sources: the OCI distribution specification 1.1, the OCI image specification 1.1, and the CNCF's "WASM OCI Artifact Layout".
//! Invariant: no text from outside is used as a name before its type has checked it, and nothing here panics on any.
//! Deliberately absent: HTTP, and where anything is kept.

#[cfg(feature = "layout")]
mod layout;
mod manifest;
mod name;
pub mod records;

#[cfg(feature = "layout")]
pub use layout::{Artifact, CONFIG_MEDIA_TYPE, LAYER_MEDIA_TYPE, artifact, component_digest};
pub use manifest::{
    Descriptor, IMAGE_INDEX_MEDIA_TYPE, IMAGE_MANIFEST_MEDIA_TYPE, MANIFEST_BYTES_MAX, Manifest, ManifestError,
};
pub use name::{
    Algorithm, Digest, Hasher, InvalidName, NAMESPACE, PackageReference, Reference, Repository, Tag, newest,
};
