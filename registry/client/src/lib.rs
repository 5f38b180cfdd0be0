//! The client of OCI registries: what `recoilctl` finds, fetches and publishes packages with.
//!
//! ```text
//! address      what names a registry: a host, perhaps a port
//! authorities  whose certificates are believed, beside the system's
//! credentials  who one is there: Docker's configuration, a token, or nobody
//! registry     what a name means there now
//! pull         a component's bytes, through broken connections
//! push         a package into a registry, sending only what is not there
//! attempts     when to try again, and how long to wait
//! failure      what went wrong, and whether trying again can help
//! error        the same, as it is told to people
//! lock         what a name meant the first time
//! ```
//!
//! Requests are made by the crate `oci-client`. It neither tries again nor limits what it is sent; both are done here.
//!
//! Invariant: bytes leave this crate only if they are exactly those that their digest names, and a tag that exists is given another
//! meaning only if the caller asks for that. Everything is bounded: attempts, pauses, silences, sizes and pages, except the manifest
//! and the lists that a registry answers, whose size can be judged only when they have been read.
//!
//! Deliberately absent: what is done with the bytes, and whether they are a package (that is `recoil-package`'s matter).

mod address;
mod attempts;
mod authorities;
mod credentials;
mod error;
mod failure;
mod lock;
mod pull;
mod push;
mod registry;

pub use credentials::Credentials;
pub use error::RegistryError;
pub use lock::{Lock, LockError, Locked, Pinned};
pub use push::Pushed;
pub use registry::{Registry, Resolved};
