//! The client of OCI registries: what `recoilctl` finds, fetches and publishes packages with.
//!
//! ```text
//! address      what names a registry: a host, perhaps a port
//! authorities  whose certificates are believed, beside the system's
//! credentials  who one is there: Docker's configuration, a token, or nobody
//! http         requests: their origin, their credentials, and bounded responses
//! challenge    parsing of `WWW-Authenticate`
//! sign_in      authentication
//! registry     what a name means there now
//! tags         all tags, page after page
//! pull         a component's bytes, through broken connections
//! push         a package into a registry, sending only what is not there
//! blobs        requests for a blob, with `oci-client`
//! attempts     when to try again, and how long to wait
//! failure      what went wrong, and whether trying again can help
//! error        the same, as it is told to people
//! lock         what a name meant the first time
//! ```
//!
//! Components are pulled with `oci-client`: it requests a blob or the rest of one, attaches the
//! credentials that were agreed on here, follows redirects to where the bytes are, and streams them.
//! The certificates of a registry's authorities have its type, too. All other requests are made with
//! `reqwest`, because `oci-client` reads only the first `WWW-Authenticate` header and the first page
//! of tags, resolves a relative `Location` only if it begins with a slash, and reads manifests,
//! answers with tokens, and refusals whole, however long they are. For the last reason a refusal of a
//! blob is dropped unread, and the same request is made once more, with `reqwest`, for its status and
//! its text.
//!
//! Invariants: bytes leave this crate only if they match their digest; an existing tag is moved only
//! if the caller requests it; credentials are sent only to the registry they are for and to its
//! token server, and only after a challenge. Attempts, pauses, silences, sizes and pages are bounded.
//!
//! Deliberately absent: what is done with the bytes, and whether they are a package (that is `recoil-package`'s matter).

mod address;
mod attempts;
mod authorities;
mod blobs;
mod challenge;
mod credentials;
mod error;
mod failure;
mod http;
mod lock;
mod pull;
mod push;
mod registry;
mod sign_in;
mod tags;

pub use credentials::Credentials;
pub use error::RegistryError;
pub use lock::{Lock, LockError, Locked, Pinned};
pub use push::Pushed;
pub use registry::{Registry, Resolved};
