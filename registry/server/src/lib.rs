//! The registry that every cluster has: the OCI distribution API 1.1, on every node, over whatever keeps its records.
//!
//! ```text
//! route        which operation a path means
//! access       who may push
//! uploads      a blob's way in: sessions, parts, chunks
//! blobs        its way out, mounts
//! conditional  preconditions of requests: entity tags, 304 and 412
//! manifests    manifests, referrers, the catalog
//! tags         lists of tags, in case-insensitive order
//! records      asking for what is known of them, and where each record lies
//! builtin      the packages that come with the programs, in a namespace of their own, which is never written
//! collect      what nobody refers to goes
//! store        what keeps records and chunks: the cluster
//! ```
//!
//! A blob comes in as chunks of [`CHUNK_BYTES`], each a row of its own, so that the cluster spreads and replicates them and nobody ever
//! holds a whole blob. Every request that brings bytes writes a *part* of its own, so no late request can change what
//! another has counted; what a part may have written is recorded before it is written, so that nothing is left behind unseen.
//!
//! Crash points. Before a part's bytes are counted: the client is told the old offset and sends them again; the chunks belong to
//! the upload and go with it. After sealing, before linking: a hold without a link, released by the collection; the client
//! never had its 201. Between a link's end and its hold's: the same. A blob that a client was told is there is linked and held,
//! and so are the blobs of a manifest that it was told is there.
//!
//! Bounded: uploads and downloads under way, and what each may hold, how long they may stand still; manifests; referrers; pages of lists.
//! Not bounded: the tags of a repository, where a client asks for all of them at once. A page is bounded by its size.
//! Deliberately absent: tokens for parts of the registry, conditions on writes, rewriting of manifests, pulling through from other registries.

mod access;
mod blobs;
mod builtin;
mod collect;
mod conditional;
mod failure;
mod manifests;
mod records;
mod route;
mod store;
mod tags;
mod uploads;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full};
use hyper::header::{HeaderName, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};
use recoil_oci::{Digest, NAMESPACE, PackageReference, Reference, newest};
use tokio::sync::Semaphore;

pub use access::Access;
pub use builtin::Builtin;
pub use collect::Collected;
pub use store::{Mode, Place, Store, StoreError};

use access::Purpose;
use failure::{Code, Failure};
use records::Records;
use route::Route;
use uploads::Hashers;

/// Bytes of a chunk, but for the last of a part.
pub const CHUNK_BYTES: usize = 512 << 10;
/// Uploads under way on a node, each holding up to five chunks.
const UPLOADS_MAX: usize = 24;
/// Downloads under way on a node, each holding up to four chunks.
const DOWNLOADS_MAX: usize = 64;
/// Manifests on their way in, each of some 20 MiB at most with all copies, on a node.
const MANIFESTS_MAX: usize = 8;
/// Packages read to be installed, on a node.
const PULLS_MAX: usize = 4;
/// How long a request waits for its turn.
const TURN_TIMEOUT: Duration = Duration::from_secs(10);

/// Whatever fails while a body is sent or received.
pub type BodyError = std::io::Error;
/// The body of a request or an answer.
pub type Body = UnsyncBoxBody<Bytes, BodyError>;
/// The head of a request.
type Head = hyper::http::request::Parts;

/// An answer.
pub type Answer = Response<Body>;

/// A node's registry.
pub struct Registry {
    records: Records,
    builtin: Builtin,
    access: Access,
    hashers: Hashers,
    uploads: Semaphore,
    downloads: Arc<Semaphore>,
    manifests: Semaphore,
    pulls: Semaphore,
}

impl Registry {
    /// Over `store`, with the packages that come with the program.
    pub fn new(store: Arc<dyn Store>, builtin: Builtin, access: Access) -> Self {
        Registry {
            records: Records::new(store),
            builtin,
            access,
            hashers: Hashers::default(),
            uploads: Semaphore::new(UPLOADS_MAX),
            downloads: Arc::new(Semaphore::new(DOWNLOADS_MAX)),
            manifests: Semaphore::new(MANIFESTS_MAX),
            pulls: Semaphore::new(PULLS_MAX),
        }
    }

    /// True if a path is the registry's to answer.
    pub fn answers(path: &str) -> bool {
        path == "/v2" || path.starts_with("/v2/") || path == route::WELL_KNOWN
    }

    /// Answers a request from `peer`. Never panics, whatever it is.
    pub async fn respond(&self, peer: SocketAddr, request: Request<Body>) -> Answer {
        let (request, body) = request.into_parts();
        let is_head = request.method == Method::HEAD;
        let mut answer = self.route(peer, &request, body).await.unwrap_or_else(Failure::into_answer);
        let version = HeaderValue::from_static("registry/2.0");
        answer.headers_mut().insert(HeaderName::from_static("docker-distribution-api-version"), version);
        if is_head {
            // The headers stay as they are, the length of the body among them.
            *answer.body_mut() = empty();
        }
        answer
    }

    async fn route(&self, peer: SocketAddr, request: &Head, body: Body) -> Result<Answer, Failure> {
        let route = Route::of(request.uri.path())?;
        let method = request.method.clone();
        let writes = !matches!(method, Method::GET | Method::HEAD);
        if route == Route::Token && !writes {
            return self.access.token(&request.headers);
        }
        let purpose = match route {
            Route::Base => Purpose::Greet,
            _ if writes => Purpose::Push,
            _ => Purpose::Read,
        };
        self.access.check(request, peer, purpose)?;
        if writes {
            conditional::refuse_on_write(request)?;
        }
        if let (true, Some(repository)) = (writes, route.repository())
            && builtin::is_reserved(repository)
        {
            let why = format!(
                "the namespace {NAMESPACE} is for the packages that come with the nodes; push under another name"
            );
            return Err(Failure::new(StatusCode::FORBIDDEN, Code::Denied, why));
        }
        match (route, method) {
            (Route::Base, Method::GET | Method::HEAD) => Ok(json(StatusCode::OK, &serde_json::json!({}))),
            (Route::WellKnown, Method::GET | Method::HEAD) => well_known(request),
            (Route::Catalog, Method::GET) => self.catalog(request).await,
            (Route::Tags(name), Method::GET) => self.tags(&name, request).await,
            (Route::Referrers(name, digest), Method::GET) => self.referrers(&name, &digest?, request).await,
            (Route::Manifest(name, reference), Method::GET | Method::HEAD) => match reference {
                Ok(reference) => self.manifest(&name, &reference, request).await,
                // What cannot be a reference is not there.
                Err(error) => Err(Failure::new(StatusCode::NOT_FOUND, Code::ManifestUnknown, error.to_string())),
            },
            (Route::Manifest(name, reference), Method::PUT) => {
                self.put_manifest(&name, reference?, request, body).await
            }
            (Route::Manifest(name, reference), Method::DELETE) => self.remove_manifest(&name, reference?).await,
            (Route::Blob(name, digest), Method::GET | Method::HEAD) => self.blob(&name, &digest?, request).await,
            (Route::Blob(name, digest), Method::DELETE) => self.remove_blob(&name, &digest?).await,
            (Route::Uploads(name), Method::POST) => self.begin(&name, request, body).await,
            (Route::Upload(name, id), Method::GET | Method::HEAD) => self.upload(&name, &id).await,
            (Route::Upload(name, id), Method::PATCH) => self.continue_upload(&name, &id, request, body).await,
            (Route::Upload(name, id), Method::PUT) => self.finish(&name, &id, request, body).await,
            (Route::Upload(name, id), Method::DELETE) => self.cancel(&name, &id).await,
            (route, method) => Err(Failure::method(&method, route.methods())),
        }
    }

    /// The component that a reference means now, checked against its digest, and the digest of its manifest. Fails with a sentence.
    pub async fn component(&self, package: &PackageReference) -> Result<(Digest, Bytes), PullError> {
        let busy =
            || StoreError::Unavailable("this node reads as many packages as it may; try again in a moment".to_owned());
        let turn = tokio::time::timeout(TURN_TIMEOUT, self.pulls.acquire()).await;
        let _turn = turn.ok().and_then(Result::ok).ok_or_else(busy)?;
        let name = &package.repository;
        let absent = |what: &str| PullError::NotFound(format!("{what} in the cluster's registry"));
        let reference = match &package.version {
            Some(reference) => reference.clone(),
            None => {
                let tags = self.all_tags(name).await?.ok_or_else(|| absent(&format!("there is no package {name}")))?;
                let tag = newest(tags.iter().map(String::as_str));
                Reference::Tag(tag.ok_or_else(|| absent(&format!("there is no version of {name}")))?)
            }
        };
        let found = self.find_manifest(name, &reference, true).await?;
        let (manifest, _, bytes) = found.ok_or_else(|| absent(&format!("there is no package {name}@{reference}")))?;
        let wrong = |why: String| PullError::Unfit(format!("{name}@{reference} is not a package: {why}"));
        let layer = recoil_oci::component_digest(&bytes).map_err(wrong)?;
        let limit = recoil_package::ARCHIVE_BYTES_MAX as u64;
        if layer.size > limit {
            return Err(wrong(format!("it has {} bytes, and a package may have {limit}", layer.size)));
        }
        let component = self.whole_blob(name, &layer.digest, limit).await?;
        let component = component.ok_or_else(|| wrong(format!("its component {} is not there", layer.digest)))?;
        let found: Digest = layer.digest.algorithm().digest(&component);
        if found != layer.digest {
            return Err(PullError::Damaged(format!(
                "the component of {name}@{reference} has the digest {found}, not {}",
                layer.digest
            )));
        }
        Ok((manifest, component))
    }
}

/// Why a component could not be had.
#[derive(Debug, thiserror::Error)]
pub enum PullError {
    /// There is none.
    #[error("{0}")]
    NotFound(String),
    /// It is something else.
    #[error("{0}")]
    Unfit(String),
    /// Its bytes are not those of its digest.
    #[error("{0}")]
    Damaged(String),
    /// It cannot be read now.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Says to tools of the Wasm world that packages are here, in the repositories of their names.
fn well_known(request: &Head) -> Result<Answer, Failure> {
    let host = request.uri.authority().map(|authority| authority.as_str().to_owned());
    let header = || request.headers.get(hyper::header::HOST)?.to_str().ok().map(str::to_owned);
    let host = host.or_else(header).ok_or_else(|| {
        Failure::new(StatusCode::BAD_REQUEST, Code::Unsupported, "the request has no Host header".to_owned())
    })?;
    Ok(json(StatusCode::OK, &serde_json::json!({ "preferredProtocol": "oci", "oci": { "registry": host } })))
}

fn empty() -> Body {
    full(Bytes::new())
}

fn full(bytes: Bytes) -> Body {
    Full::new(bytes).map_err(|never| match never {}).boxed_unsync()
}

/// An answer of known length.
fn answer(status: StatusCode, content_type: &str, bytes: Bytes) -> Answer {
    let mut answer = Response::new(empty());
    *answer.status_mut() = status;
    set(&mut answer, "content-length", bytes.len().to_string());
    set(&mut answer, "content-type", content_type);
    *answer.body_mut() = full(bytes);
    answer
}

fn json(status: StatusCode, value: &serde_json::Value) -> Answer {
    answer(status, "application/json", value.to_string().into())
}

/// Without a body.
fn bare(status: StatusCode) -> Answer {
    let mut answer = Response::new(empty());
    *answer.status_mut() = status;
    if status != StatusCode::NO_CONTENT {
        set(&mut answer, "content-length", "0");
    }
    answer
}

/// Sets a header whose value came out of checked names, or was once accepted as a header.
fn set(answer: &mut Answer, name: &'static str, value: impl AsRef<str>) {
    match HeaderValue::from_str(value.as_ref()) {
        Ok(value) => drop(answer.headers_mut().insert(HeaderName::from_static(name), value)),
        Err(_) => tracing::warn!(name, "a header was left out, since its value cannot be sent"),
    }
}

/// The values of a parameter in the request's query.
fn parameters<'a>(request: &'a Head, name: &'a str) -> impl Iterator<Item = String> + 'a {
    let query = request.uri.query().unwrap_or("");
    let pairs = form_urlencoded::parse(query.as_bytes());
    pairs.filter(move |(other, _)| other == name).map(|(_, value)| value.into_owned())
}

fn parameter(request: &Head, name: &str) -> Option<String> {
    parameters(request, name).next()
}
