//! The admin API over HTTP/1.1, on one stream that somebody else accepted. What is HTTP about it is in [`crate::http`], as at apps' ports.
//!
//! The node's single port is shared with its peers: the node looks at the first bytes and hands operators' streams to
//! [`serve_connection`]. Invariant: a connection costs at most one request's body (64 MiB for an upload, of which there are
//! [`UPLOADS_MAX`] at a time; 64 KiB otherwise) and ends when its peer is silent for [`HEADER_TIMEOUT`], needs longer than
//! [`BODY_TIMEOUT`] for a body, or takes nothing of an answer ([`crate::http`]).
//!
//! There is no authentication yet, which is why nodes bind to loopback unless told otherwise. Requests that a web page
//! made a browser send are refused: they carry `Origin`, and no operator's tool does.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, LengthLimitError, Limited, StreamBody};
use hyper::body::{Body, Frame};
use hyper::header::{ALLOW, CONTENT_TYPE, ORIGIN};
use hyper::{Method, Request, Response, StatusCode};
use recoil_base::{NodeId, Shutdown};
use recoil_package::ARCHIVE_BYTES_MAX;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::Semaphore;

use crate::api::{
    AdminApi, AdminError, AdminErrorCode, ClusterRequest, CollectRequest, CommandReply, CommandRequest, CreateKeyspace,
    DecommissionRequest, ErrorBody, InstallRequest, LogPage, MoveRequest, PullRequest, RecoverRequest, SetKeyspace,
    Version,
};
use crate::http::Transport;
use crate::http::connection::{self, Asked, Door};
use crate::http::rules::Refusal;

/// How long a peer may take for a request's header, and be silent between requests.
pub const HEADER_TIMEOUT: Duration = Duration::from_secs(20);
/// How long a peer may take for a request's body.
pub const BODY_TIMEOUT: Duration = Duration::from_secs(60);
/// Uploads that a node takes at a time.
pub const UPLOADS_MAX: usize = 4;
/// Bytes of a JSON request.
const JSON_BYTES_MAX: usize = 64 << 10;
/// Lines asked of a log at once.
const LOG_LINES_MAX: usize = 1000;
/// How often a followed log shows that it is alive, so that both ends notice a lost peer.
const FOLLOW_HEARTBEAT: Duration = Duration::from_secs(5);

/// Whatever fails while a body is sent or received.
pub type BodyError = std::io::Error;
/// The body of a request to a [`Site`] or of an answer.
pub type SiteBody = UnsyncBoxBody<Bytes, BodyError>;

type Answer = Response<SiteBody>;

/// What else answers at the node's port, beside the admin API. Bounds what it takes and how long by itself.
#[async_trait]
pub trait Site: Send + Sync {
    /// True if a path is its to answer.
    fn answers(&self, path: &str) -> bool;
    /// Answers a request of the client at `peer`. An error in the answer's body breaks the connection off.
    async fn respond(&self, peer: SocketAddr, request: Request<SiteBody>) -> Response<SiteBody>;
}

/// The uploads under way on all connections of a node.
#[derive(Debug)]
pub struct Uploads(Semaphore);

impl Default for Uploads {
    fn default() -> Self {
        Uploads(Semaphore::new(UPLOADS_MAX))
    }
}

/// Serve operators' requests on `stream` until it closes. Whatever arrives, this returns and never panics.
pub async fn serve_connection(
    stream: impl Transport,
    peer: SocketAddr,
    api: Arc<dyn AdminApi>,
    site: Arc<dyn Site>,
    uploads: Arc<Uploads>,
) {
    let answer = move |asked: Asked| {
        let (api, site, uploads) = (api.clone(), site.clone(), uploads.clone());
        async move {
            let response = match asked {
                Err(Refusal { status, message, hint }) => refuse(Failure::with_status(status, message, hint)),
                Ok(request) if site.answers(request.uri().path()) && !request.headers().contains_key(ORIGIN) => {
                    site.respond(peer, request).await
                }
                Ok(request) => answer(request, api, &uploads).await,
            };
            response.into()
        }
    };
    let door = Door { http2: false, header_timeout: HEADER_TIMEOUT };
    if let Err(error) = connection::serve(stream, door, Shutdown::new(), answer).await {
        // The peer's doing (it left, sent garbage, was too slow): worth a line only when somebody is looking.
        tracing::debug!(%error, "an admin connection ended early");
    }
}

/// A failure with a status of its own, or one of the API's.
struct Failure {
    status: StatusCode,
    allow: Option<&'static str>,
    error: AdminError,
}

impl From<AdminError> for Failure {
    fn from(error: AdminError) -> Self {
        let status = match error.code {
            AdminErrorCode::Invalid => StatusCode::BAD_REQUEST,
            AdminErrorCode::NotFound => StatusCode::NOT_FOUND,
            AdminErrorCode::Conflict => StatusCode::CONFLICT,
            AdminErrorCode::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
            AdminErrorCode::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        };
        Failure { status, allow: None, error }
    }
}

impl Failure {
    fn with_status(status: StatusCode, message: impl Into<String>, hint: impl Into<String>) -> Self {
        Failure { status, allow: None, error: AdminError::invalid(message, hint) }
    }
}

async fn answer<B>(request: Request<B>, api: Arc<dyn AdminApi>, uploads: &Uploads) -> Answer
where
    B: Body<Data = Bytes> + Send,
    B::Error: std::error::Error + Send + Sync + 'static,
{
    route(request, api, uploads).await.unwrap_or_else(refuse)
}

fn refuse(failure: Failure) -> Answer {
    let mut answer = json(failure.status, &ErrorBody { error: failure.error });
    if let Some(allow) = failure.allow {
        answer.headers_mut().insert(ALLOW, hyper::header::HeaderValue::from_static(allow));
    }
    answer
}

async fn route<B>(request: Request<B>, api: Arc<dyn AdminApi>, uploads: &Uploads) -> Result<Answer, Failure>
where
    B: Body<Data = Bytes> + Send,
    B::Error: std::error::Error + Send + Sync + 'static,
{
    if request.headers().contains_key(ORIGIN) {
        return Err(Failure::with_status(
            StatusCode::FORBIDDEN,
            "requests from web pages are refused",
            "use recoilctl, or a program that sends no Origin header",
        ));
    }
    let path = request.uri().path().to_owned();
    let segments: Vec<&str> = path.trim_matches('/').split('/').collect();
    let method = request.method().clone();
    match segments.as_slice() {
        ["v1", "status"] if method == Method::GET => Ok(ok(&api.status().await?)),
        ["v1", "version"] if method == Method::GET => {
            Ok(ok(&Version { version: env!("CARGO_PKG_VERSION").to_owned() }))
        }
        ["v1", "health"] if method == Method::GET => {
            let health = api.health().await;
            Ok(json(if health.ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE }, &health))
        }
        ["v1", "apps"] if method == Method::GET => Ok(ok(&api.apps().await?)),
        ["v1", "apps"] if method == Method::POST => install(request, api).await,
        ["v1", "packages"] if method == Method::POST => {
            let _turn = uploads.0.try_acquire().map_err(|_| too_many_uploads())?;
            let archive = body(request, ARCHIVE_BYTES_MAX).await?;
            Ok(json(StatusCode::CREATED, &api.upload(archive).await?))
        }
        ["v1", "packages", "pull"] if method == Method::POST => {
            let request: PullRequest = read_json(request, r#"send {"name": "acme/greeter@1.0.0"}"#).await?;
            Ok(json(StatusCode::CREATED, &api.pull(&request.name).await?))
        }
        ["v1", "registry", "collect"] if method == Method::POST => {
            let request: CollectRequest = read_json(request, r#"send {"kept_seconds": 86400}"#).await?;
            Ok(ok(&api.collect(Duration::from_secs(request.kept_seconds)).await?))
        }
        ["v1", "apps", name] if method == Method::GET => Ok(ok(&api.app(app_name(name)?).await?)),
        ["v1", "apps", name] if method == Method::DELETE => {
            let keep_data = match request.uri().query().unwrap_or("") {
                "" | "keep-data=false" => false,
                "keep-data=true" => true,
                _ => {
                    let why = "the query has a parameter that uninstalling does not know";
                    return Err(AdminError::invalid(why, "use keep-data=true, or nothing").into());
                }
            };
            api.uninstall(app_name(name)?, keep_data).await?;
            Ok(ok(&serde_json::json!({ "uninstalled": name, "data_kept": keep_data })))
        }
        ["v1", "data"] if method == Method::GET => {
            let app = match request.uri().query().unwrap_or("") {
                "" => None,
                query => Some(app_name(query.strip_prefix("app=").ok_or_else(|| {
                    let why = "the query has a parameter that the list of data does not know";
                    AdminError::invalid(why, "use app=NAME, or nothing")
                })?)?),
            };
            Ok(ok(&api.data(app).await?))
        }
        ["v1", "data", name] if method == Method::DELETE => {
            api.delete_data(app_name(name)?).await?;
            Ok(ok(&serde_json::json!({ "deleted": name })))
        }
        ["v1", "apps", name, "settings"] if method == Method::PATCH => {
            let values = read_json(request, r#"send texts by name, such as {"greeting": "hi", "limit": "10"}"#).await?;
            Ok(ok(&api.set(app_name(name)?, values).await?))
        }
        ["v1", "apps", name, "commands"] if method == Method::GET => Ok(ok(&api.commands(app_name(name)?).await?)),
        ["v1", "apps", name, "commands"] if method == Method::POST => {
            let name = app_name(name)?;
            let CommandRequest { arguments } = read_json(request, r#"send {"arguments": ["key", "list"]}"#).await?;
            Ok(ok(&CommandReply { output: api.run_command(name, arguments).await? }))
        }
        ["v1", "nodes", id] if method == Method::GET => Ok(ok(&api.node(node_id(id)?).await?)),
        ["v1", "nodes", id, "drain"] if method == Method::POST => Ok(ok(&api.drain(node_id(id)?).await?)),
        ["v1", "nodes", id, "undrain"] if method == Method::POST => Ok(ok(&api.undrain(node_id(id)?).await?)),
        ["v1", "nodes", id, "decommission"] if method == Method::POST => {
            let node = node_id(id)?;
            let request: DecommissionRequest = read_json(request, r#"send {"dry_run": true} or {}"#).await?;
            Ok(ok(&api.decommission(node, request).await?))
        }
        ["v1", "keyspaces"] if method == Method::GET => Ok(ok(&api.keyspaces().await?)),
        ["v1", "keyspaces"] if method == Method::POST => {
            let hint = r#"send {"name": "eu-data", "partitions": 64, "replicas": 3, "require": "region=eu"}"#;
            let request: CreateKeyspace = read_json(request, hint).await?;
            keyspace_name(&request.name)?;
            Ok(json(StatusCode::CREATED, &api.create_keyspace(request).await?))
        }
        ["v1", "keyspaces", name] if method == Method::GET => Ok(ok(&api.keyspace(keyspace_name(name)?).await?)),
        ["v1", "keyspaces", name] if method == Method::PATCH => {
            let name = keyspace_name(name)?;
            let request: SetKeyspace =
                read_json(request, r#"send {"replicas": 5} or {"require": "region=eu"}"#).await?;
            Ok(ok(&api.set_keyspace(name, request).await?))
        }
        ["v1", "keyspaces", name] if method == Method::DELETE => {
            api.delete_keyspace(keyspace_name(name)?).await?;
            Ok(ok(&serde_json::json!({ "deleted": name })))
        }
        ["v1", "partitions"] if method == Method::GET => {
            Ok(ok(&api.partitions(keyspace_of(request.uri().query())?).await?))
        }
        ["v1", "partitions", number] if method == Method::GET => {
            let keyspace = keyspace_of(request.uri().query())?;
            Ok(ok(&api.partition(keyspace, decimal(number, "a partition's number")?).await?))
        }
        ["v1", "moves"] if method == Method::GET => Ok(ok(&api.moves().await?)),
        ["v1", "moves"] if method == Method::POST => {
            let hint = r#"send {"partitions": [17], "to": ["0000000a", "0000000b", "0000000c"]}"#;
            let request: MoveRequest = read_json(request, hint).await?;
            Ok(json(StatusCode::CREATED, &api.start_moves(request).await?))
        }
        ["v1", "moves", id] if method == Method::DELETE => {
            api.cancel_move(decimal(id, "a move's id")?).await?;
            Ok(ok(&serde_json::json!({ "cancelling": id })))
        }
        ["v1", "cluster"] if method == Method::GET => Ok(ok(&api.cluster().await?)),
        ["v1", "cluster"] if method == Method::PATCH => {
            let request: ClusterRequest = read_json(request, r#"send {"repair_after_seconds": 300}"#).await?;
            Ok(ok(&api.set_cluster(request).await?))
        }
        ["v1", "cluster", "recover"] if method == Method::POST => {
            let request: RecoverRequest = read_json(request, r#"send {"lost": ["0000000a"], "dry_run": true}"#).await?;
            Ok(ok(&api.recover(request).await?))
        }
        ["v1", "apps", name, "logs"] if method == Method::GET => {
            logs(app_name(name)?, request.uri().query().unwrap_or(""), api).await
        }
        other => Err(unknown(other, &method, &path)),
    }
}

fn too_many_uploads() -> Failure {
    let message = format!("this node is taking {UPLOADS_MAX} uploads already");
    AdminError::unavailable(message, "try again in a moment, or upload to another node").into()
}

/// A known path with the wrong method, or an unknown path.
fn unknown(segments: &[&str], method: &Method, path: &str) -> Failure {
    let allow = match segments {
        ["v1", "status" | "version" | "health" | "data" | "partitions"]
        | ["v1", "partitions" | "nodes", _]
        | ["v1", "apps", _, "logs"] => "GET",
        ["v1", "apps" | "moves" | "keyspaces"] | ["v1", "apps", _, "commands"] => "GET, POST",
        ["v1", "keyspaces", _] => "GET, PATCH, DELETE",
        ["v1", "nodes", _, "drain" | "undrain" | "decommission"] => "POST",
        ["v1", "packages"]
        | ["v1", "packages", "pull"]
        | ["v1", "registry", "collect"]
        | ["v1", "cluster", "recover"] => "POST",
        ["v1", "apps", _] => "GET, DELETE",
        ["v1", "cluster"] => "GET, PATCH",
        ["v1", "data" | "moves", _] => "DELETE",
        ["v1", "apps", _, "settings"] => "PATCH",
        _ => {
            let shown: String = path.chars().take(100).collect();
            return AdminError::not_found(
                format!("there is nothing at '{}'", shown.escape_debug()),
                "the API begins at /v1/status",
            )
            .into();
        }
    };
    Failure {
        allow: Some(allow),
        ..Failure::with_status(
            StatusCode::METHOD_NOT_ALLOWED,
            format!("{method} does not work here"),
            format!("use {allow}"),
        )
    }
}

/// Names are lower-case words; whatever else a path holds cannot be one, and is not passed on.
fn app_name(segment: &str) -> Result<&str, AdminError> {
    let good = !segment.is_empty()
        && segment.len() <= 64
        && segment.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
    if good {
        return Ok(segment);
    }
    let shown: String = segment.chars().take(64).collect();
    Err(AdminError::invalid(
        format!("'{}' cannot be an app's name", shown.escape_debug()),
        "names are lower-case letters, digits and hyphens",
    ))
}

/// A keyspace's name, which has the form of an app's.
fn keyspace_name(text: &str) -> Result<&str, AdminError> {
    app_name(text).map_err(|error| AdminError { message: error.message.replace("an app's", "a keyspace's"), ..error })
}

/// The keyspace that a query names, if any.
fn keyspace_of(query: Option<&str>) -> Result<Option<&str>, AdminError> {
    let Some(query) = query.filter(|query| !query.is_empty()) else { return Ok(None) };
    let name = query.strip_prefix("keyspace=").ok_or_else(|| {
        let why = "the query has a parameter that partitions do not know";
        AdminError::invalid(why, "use keyspace=NAME, or nothing")
    })?;
    keyspace_name(name).map(Some)
}

/// A node's id in a path.
fn node_id(segment: &str) -> Result<NodeId, AdminError> {
    segment.parse().map_err(|_| {
        let shown: String = segment.chars().take(64).collect();
        let why = format!("'{}' cannot be a node's id", shown.escape_debug());
        AdminError::invalid(why, "ids are 8 hexadecimal digits, as GET /v1/status shows them")
    })
}

/// A number in a path.
fn decimal<T: std::str::FromStr>(segment: &str, what: &str) -> Result<T, AdminError> {
    let plain = Some(segment).filter(|text| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()));
    plain.and_then(|text| text.parse().ok()).ok_or_else(|| {
        let shown: String = segment.chars().take(64).collect();
        AdminError::invalid(format!("'{}' cannot be {what}", shown.escape_debug()), "write it in decimal digits")
    })
}

async fn install<B>(request: Request<B>, api: Arc<dyn AdminApi>) -> Result<Answer, Failure>
where
    B: Body<Data = Bytes> + Send,
    B::Error: std::error::Error + Send + Sync + 'static,
{
    let hint = r#"send {"name": "redis-server"} or {"digest": "sha256:…"}; "app" names the app, "listen" its ports"#;
    let install: InstallRequest = read_json(request, hint).await?;
    install.app.as_deref().map(app_name).transpose()?;
    install.keyspace.as_deref().map(keyspace_name).transpose()?;
    if install.name.is_some() == install.digest.is_some() {
        return Err(AdminError::invalid(
            "the request names no package, or two",
            r#"send {"name": "redis-server"} or {"digest": "sha256:…"}"#,
        )
        .into());
    }
    Ok(ok(&api.install(install).await?))
}

async fn logs(name: &str, query: &str, api: Arc<dyn AdminApi>) -> Result<Answer, Failure> {
    let mut since = 0u64;
    let mut follow = false;
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        match pair.split_once('=').unwrap_or((pair, "true")) {
            ("since", value) => {
                since = value.parse().map_err(|_| {
                    AdminError::invalid(
                        "`since` is not a number",
                        "use the `sequence` of the last line you have, plus 1",
                    )
                })?;
            }
            ("follow", "true" | "1") => follow = true,
            ("follow", "false" | "0") => follow = false,
            _ => {
                return Err(AdminError::invalid(
                    "the query has a parameter that logs do not know",
                    "use since=NUMBER and follow=true",
                )
                .into());
            }
        }
    }
    // The first page decides between an answer and an error; later ones can only end the stream.
    let first = api.logs(name, since, LOG_LINES_MAX, Duration::ZERO).await?;
    let name = name.to_owned();
    let pages = futures::stream::unfold(Some((first, true)), move |state| {
        let (api, name) = (api.clone(), name.clone());
        async move {
            let (page, is_first) = state?;
            let empty = page.lines.is_empty();
            let mut text = ndjson(&page);
            if empty && follow && !is_first {
                text.extend_from_slice(b"\n"); // the heartbeat: an empty line, which readers skip
            }
            let wait = if follow { FOLLOW_HEARTBEAT } else { Duration::ZERO };
            let next = if empty && !follow {
                None
            } else {
                api.logs(&name, page.next, LOG_LINES_MAX, wait).await.ok().map(|next| (next, false))
            };
            Some((Ok::<_, BodyError>(Frame::data(Bytes::from(text))), next))
        }
    });
    let mut answer = Response::new(StreamBody::new(pages).boxed_unsync());
    answer.headers_mut().insert(CONTENT_TYPE, hyper::header::HeaderValue::from_static("application/x-ndjson"));
    Ok(answer)
}

fn ndjson(page: &LogPage) -> Vec<u8> {
    let mut text = Vec::new();
    for line in &page.lines {
        if serde_json::to_writer(&mut text, line).is_ok() {
            text.push(b'\n');
        }
    }
    text
}

async fn read_json<B, T>(request: Request<B>, hint: &str) -> Result<T, Failure>
where
    B: Body<Data = Bytes> + Send,
    B::Error: std::error::Error + Send + Sync + 'static,
    T: DeserializeOwned,
{
    let body = body(request, JSON_BYTES_MAX).await?;
    let read = serde_json::from_slice(&body);
    Ok(read.map_err(|error| AdminError::invalid(format!("the request is not what was expected: {error}"), hint))?)
}

async fn body<B>(request: Request<B>, limit: usize) -> Result<Bytes, Failure>
where
    B: Body<Data = Bytes> + Send,
    B::Error: std::error::Error + Send + Sync + 'static,
{
    let too_large = || {
        Failure::with_status(
            StatusCode::PAYLOAD_TOO_LARGE,
            format!("the body is larger than {limit} bytes"),
            "send less",
        )
    };
    // Refuse by the announced length before reading anything.
    if request.body().size_hint().lower() > limit as u64 {
        return Err(too_large());
    }
    match tokio::time::timeout(BODY_TIMEOUT, Limited::new(request.into_body(), limit).collect()).await {
        Ok(Ok(collected)) => Ok(collected.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(too_large()),
        Ok(Err(error)) => {
            Err(AdminError::invalid(format!("the body could not be read: {error}"), "send it again").into())
        }
        Err(_) => Err(Failure::with_status(
            StatusCode::REQUEST_TIMEOUT,
            format!("the body did not arrive within {} s", BODY_TIMEOUT.as_secs()),
            "send it again over a faster connection",
        )),
    }
}

fn ok(value: &impl Serialize) -> Answer {
    json(StatusCode::OK, value)
}

fn json(status: StatusCode, value: &impl Serialize) -> Answer {
    let (status, text) = match serde_json::to_vec(value) {
        Ok(text) => (status, text),
        Err(error) => {
            tracing::error!(%error, "an answer of the admin API could not be written as JSON");
            (
                StatusCode::INTERNAL_SERVER_ERROR,
                br#"{"error":{"code":"internal","message":"the answer could not be written","hint":""}}"#.to_vec(),
            )
        }
    };
    let mut answer = Response::new(Full::new(Bytes::from(text)).map_err(|never| match never {}).boxed_unsync());
    *answer.status_mut() = status;
    answer.headers_mut().insert(CONTENT_TYPE, hyper::header::HeaderValue::from_static("application/json"));
    answer
}

#[cfg(test)]
mod tests;
