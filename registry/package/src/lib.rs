//! What a package is: a WebAssembly component that carries its own manifest.
//!
//! Authors write the manifest as `recoil.toml` beside the source; building the package checks it and puts it, as JSON,
//! into the component's outermost custom section [`SECTION`]. From then on the archive is one file that says by itself
//! what it is, what it wants to listen on and what it may use, and its [`digest`] names all of that at once.
//!
//! Invariant: whatever [`read`] and [`embed`] accept has passed [`Manifest::validate`], and nothing they are given makes
//! them panic or allocate more than a small multiple of [`MANIFEST_BYTES_MAX`]. Unknown fields are refused rather than
//! ignored: a manifest grants things, and a grant that the host does not understand must not look as if it had been given.
//!
//! Deliberately absent: whether the component is valid WebAssembly and its functions have the right types (the engine finds that out), where
//! archives are kept, and anything under `host/`: whoever builds packages needs this crate and no database.

mod archive;
#[cfg(feature = "authoring")]
mod authoring;
mod error;
mod manifest;
mod permission;
mod shape;

pub use archive::{ARCHIVE_BYTES_MAX, MANIFEST_BYTES_MAX, SECTION, digest, embed, read};
#[cfg(feature = "authoring")]
pub use authoring::{Build, Source};
pub use error::PackageError;
pub use manifest::{
    Instances, Limits, Listener, MANIFEST_FORMAT, Manifest, Protocol, RequestInstances, Setting, SettingValue,
};
pub use permission::Permission;
pub use shape::{Shape, shape};
