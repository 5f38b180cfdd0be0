//! The HTTP server in front of apps: HTTP/1.1 and HTTP/2 without TLS, on connections that [`crate::tcp`] has accepted.
//!
//! A request is read to its end, handed to a [`Responder`] and answered whole; unless the responder streams, which then gets the body
//! while it comes, and answers while it goes. Which protocol a client speaks is told by its first
//! bytes. When the port closes, requests under way are answered and the connection then ends.
//!
//! Invariants:
//! - What clients make a server hold is bounded: headers by [`HEADER_BYTES_MAX`]; of a body that streams, what is read and written
//!   ahead; else a body by its limit, all bodies of an app on this node by [`BODIES_BYTES_MAX`]. A client is waited for only
//!   [`HEADER_TIMEOUT`] for a header and [`BODY_TIMEOUT`] for a body that does not stream.
//! - What a responder answers is checked: it cannot break the framing, nor another answer on the same connection.
//!
//! Deliberately absent: TLS, compression, WebSockets, and what the answers are.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::future::{Either, select};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full};
use hyper::Method;
pub use hyper::StatusCode;
use hyper::body::Incoming;
use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use recoil_base::Shutdown;
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, SemaphorePermit};
use tokio::time::timeout;

use crate::tcp::ConnectionHandler;

/// How long a client may take for a header, and be silent between requests.
pub const HEADER_TIMEOUT: Duration = Duration::from_secs(60);
/// How long a client may take for a body.
pub const BODY_TIMEOUT: Duration = Duration::from_secs(60);
/// Bytes of a request's line and headers.
pub const HEADER_BYTES_MAX: usize = 64 << 10;
/// Headers of a request.
const HEADERS_MAX: usize = 100;
/// Bytes of all bodies of an app on this node: those that clients are sending or wait for an answer to, and answers that clients have not
/// taken yet.
pub const BODIES_BYTES_MAX: usize = 64 << 20;
/// Answers of up to this size need no room: clients that do not read keep others from large answers only.
const SMALL_ANSWER_BYTES: usize = 4 << 10;
/// Requests that one HTTP/2 connection may have under way.
const STREAMS_MAX: u32 = 64;

/// A request, read to its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// As sent.
    pub method: String,
    /// Up to the question mark, as sent.
    pub path: String,
    /// Behind the question mark.
    pub query: String,
    /// Lower-case names and values, in the order sent; `host` also over HTTP/2.
    pub headers: Vec<(String, Vec<u8>)>,
    /// The body.
    pub body: Vec<u8>,
}

/// An answer. Headers that belong to the connection or to the framing are left out when it is sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    /// 200 to 599.
    pub status: u16,
    /// Names and values.
    pub headers: Vec<(String, Vec<u8>)>,
    /// The body.
    pub body: Vec<u8>,
}

impl Response {
    /// A line of text, for people.
    pub fn text(status: StatusCode, text: &str) -> Self {
        let kind = ("content-type".to_owned(), b"text/plain; charset=utf-8".to_vec());
        Response { status: status.as_u16(), headers: vec![kind], body: format!("{text}\n").into_bytes() }
    }
}

/// A body that comes, or goes, bit by bit.
pub type StreamBody = UnsyncBoxBody<Bytes, std::io::Error>;

/// Answers an app's requests.
#[async_trait]
pub trait Responder: Send + Sync + 'static {
    /// True if [`Responder::stream`] answers, rather than [`Responder::respond`].
    fn streams(&self) -> bool;
    /// Answer a request whose body comes while it is answered. Dropped, as the answer is, when the client goes away first.
    async fn stream(&self, peer: SocketAddr, request: hyper::Request<StreamBody>) -> hyper::Response<StreamBody>;
    /// Answer a request; many at a time. Dropped when the client goes away first.
    async fn respond(&self, peer: SocketAddr, request: Request) -> Response;
    /// What is wrong with an answer that could not be sent, for the app's author.
    fn complain(&self, text: &str);
}

/// Serves HTTP on connections of one port.
pub struct HttpServer {
    responder: Arc<dyn Responder>,
    body_bytes_max: usize,
    /// KiB that bodies may still take.
    bodies: Arc<Semaphore>,
}

#[async_trait]
impl ConnectionHandler for Arc<HttpServer> {
    async fn serve(&self, stream: TcpStream, peer: SocketAddr, closing: Shutdown) {
        let Some(is_http2) = tell_protocol(&stream, &closing).await else { return };
        let io = TokioIo::new(stream);
        let service = service_fn(|request| {
            let server = self.clone();
            async move { Ok::<_, std::convert::Infallible>(server.answer(peer, request).await) }
        });
        let served = if is_http2 {
            let mut builder = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
            builder
                .timer(TokioTimer::new())
                .max_header_list_size(HEADER_BYTES_MAX as u32)
                .max_concurrent_streams(STREAMS_MAX)
                .keep_alive_interval(HEADER_TIMEOUT)
                .keep_alive_timeout(HEADER_TIMEOUT);
            drain(builder.serve_connection(io, service), closing, |connection| connection.graceful_shutdown()).await
        } else {
            let mut builder = hyper::server::conn::http1::Builder::new();
            builder
                .timer(TokioTimer::new())
                .header_read_timeout(HEADER_TIMEOUT)
                .max_headers(HEADERS_MAX)
                .max_buf_size(HEADER_BYTES_MAX);
            drain(builder.serve_connection(io, service), closing, |connection| connection.graceful_shutdown()).await
        };
        if let Err(error) = served {
            tracing::debug!(%peer, %error, "an HTTP connection ended");
        }
    }
}

/// Runs a connection to its end, from `closing` on towards it.
async fn drain<C: Future<Output = hyper::Result<()>>>(
    connection: C,
    closing: Shutdown,
    end: impl FnOnce(std::pin::Pin<&mut C>),
) -> hyper::Result<()> {
    let connection = std::pin::pin!(connection);
    match select(connection, std::pin::pin!(closing.wait())).await {
        Either::Left((served, _)) => served,
        Either::Right(((), mut connection)) => {
            end(connection.as_mut());
            connection.await
        }
    }
}

/// True for HTTP/2, told by the first bytes; none if they do not come.
async fn tell_protocol(stream: &TcpStream, closing: &Shutdown) -> Option<bool> {
    let first = async {
        let mut bytes = [0; 3];
        loop {
            match stream.peek(&mut bytes).await {
                Ok(0) | Err(_) => return None,
                Ok(3) => return Some(&bytes == b"PRI"),
                Ok(count) if !b"PRI".starts_with(&bytes[..count]) => return Some(false),
                // Peeking again answers the same at once until more has come.
                Ok(_) => tokio::time::sleep(Duration::from_millis(10)).await,
            }
        }
    };
    let first = timeout(HEADER_TIMEOUT, first);
    match select(std::pin::pin!(first), std::pin::pin!(closing.wait())).await {
        Either::Left((first, _)) => first.ok().flatten(),
        Either::Right(_) => None,
    }
}

impl HttpServer {
    /// For requests with bodies of up to `body_bytes_max` bytes.
    pub fn new(responder: Arc<dyn Responder>, body_bytes_max: usize) -> Arc<Self> {
        Arc::new(HttpServer { responder, body_bytes_max, bodies: Arc::new(Semaphore::new(BODIES_BYTES_MAX >> 10)) })
    }

    async fn answer(&self, peer: SocketAddr, request: hyper::Request<Incoming>) -> hyper::Response<StreamBody> {
        if request.method() == Method::CONNECT {
            return whole(last(Response::text(StatusCode::NOT_IMPLEMENTED, "this server is no proxy")));
        }
        if self.responder.streams() {
            return self.stream(peer, request).await;
        }
        whole(self.answer_whole(peer, request).await)
    }

    async fn stream(&self, peer: SocketAddr, request: hyper::Request<Incoming>) -> hyper::Response<StreamBody> {
        if request.uri().authority().is_none() && !request.headers().contains_key(header::HOST) {
            return whole(last(Response::text(StatusCode::BAD_REQUEST, "the request has no Host header")));
        }
        let request = request.map(|body| body.map_err(std::io::Error::other).boxed_unsync());
        let mut response = self.responder.stream(peer, request).await;
        if !(200..=599).contains(&response.status().as_u16()) {
            self.responder.complain(&format!("the answer's status is {}: use 200 to 599", response.status()));
            let text = "the package gave an answer that is no HTTP; its log says why";
            return whole(refusal(Response::text(StatusCode::INTERNAL_SERVER_ERROR, text)));
        }
        // The length is its author's to know, and checked as it goes; everything else about the connection is the server's.
        for name in OURS.iter().filter(|name| **name != header::CONTENT_LENGTH) {
            response.headers_mut().remove(name);
        }
        response
    }

    async fn answer_whole(&self, peer: SocketAddr, request: hyper::Request<Incoming>) -> hyper::Response<Full<Bytes>> {
        let (head, body) = request.into_parts();
        let mut room = self.bodies.try_acquire_many(0).ok();
        let body = match timeout(BODY_TIMEOUT, self.read(body, &mut room)).await {
            Ok(Ok(body)) => body,
            Ok(Err(refusal)) => return last(refusal),
            Err(_) => {
                let text = format!("the body did not come within {} s", BODY_TIMEOUT.as_secs());
                return last(Response::text(StatusCode::REQUEST_TIMEOUT, &text));
            }
        };
        let mut headers: Vec<(String, Vec<u8>)> =
            head.headers.iter().map(|(name, value)| (name.as_str().to_owned(), value.as_bytes().to_vec())).collect();
        if let Some(authority) = head.uri.authority()
            && !head.headers.contains_key(header::HOST)
        {
            headers.push(("host".to_owned(), authority.as_str().into()));
        }
        let request = Request {
            method: head.method.as_str().to_owned(),
            path: head.uri.path().to_owned(),
            query: head.uri.query().unwrap_or_default().to_owned(),
            headers,
            body,
        };
        let response = self.responder.respond(peer, request).await;
        drop(room);
        checked(response).map(|response| self.hold(response)).unwrap_or_else(|why| {
            self.responder.complain(&why);
            let text = "the package gave an answer that is no HTTP; its log says why";
            refusal(Response::text(StatusCode::INTERNAL_SERVER_ERROR, text))
        })
    }

    /// The answer, holding room for its body until that is sent.
    fn hold(&self, response: hyper::Response<Bytes>) -> hyper::Response<Full<Bytes>> {
        let (head, body) = response.into_parts();
        if body.len() <= SMALL_ANSWER_BYTES {
            return hyper::Response::from_parts(head, Full::new(body));
        }
        let needed = body.len().div_ceil(1 << 10).min(Semaphore::MAX_PERMITS).min(u32::MAX as usize) as u32;
        match self.bodies.clone().try_acquire_many_owned(needed) {
            Ok(room) => {
                let body = Bytes::from_owner(Held { body, _room: room });
                hyper::Response::from_parts(head, Full::new(body))
            }
            Err(_) => refusal(full()),
        }
    }

    /// The whole body, holding room for it.
    async fn read<'a>(
        &'a self,
        mut body: Incoming,
        room: &mut Option<SemaphorePermit<'a>>,
    ) -> Result<Vec<u8>, Response> {
        let too_large = || {
            let text = format!("the body has more than {} bytes (limit request_bytes)", self.body_bytes_max);
            Response::text(StatusCode::PAYLOAD_TOO_LARGE, &text)
        };
        let announced = hyper::body::Body::size_hint(&body).exact();
        if announced.is_some_and(|bytes| bytes > self.body_bytes_max as u64) {
            return Err(too_large());
        }
        let (mut all, mut held) = (Vec::new(), 0);
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|error| {
                Response::text(StatusCode::BAD_REQUEST, &format!("the body cannot be read: {error}"))
            })?;
            let Ok(data) = frame.into_data() else { continue };
            if all.len() + data.len() > self.body_bytes_max {
                return Err(too_large());
            }
            let needed = (all.len() + data.len()).div_ceil(1 << 10);
            let more = self.bodies.try_acquire_many((needed - held) as u32).map_err(|_| full())?;
            match room {
                Some(room) => room.merge(more),
                None => *room = Some(more),
            }
            held = needed;
            all.extend_from_slice(&data);
        }
        Ok(all)
    }
}

/// A body and its room.
struct Held {
    body: Bytes,
    _room: OwnedSemaphorePermit,
}

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        &self.body
    }
}

fn full() -> Response {
    let text = format!("requests and answers under way here come to {} MiB; retry", BODIES_BYTES_MAX >> 20);
    Response::text(StatusCode::SERVICE_UNAVAILABLE, &text)
}

/// A whole answer, as one that streams.
fn whole(response: hyper::Response<Full<Bytes>>) -> hyper::Response<StreamBody> {
    response.map(|body| body.map_err(|never| match never {}).boxed_unsync())
}

impl Response {
    /// As one that streams.
    pub fn into_stream(self) -> hyper::Response<StreamBody> {
        whole(refusal(self))
    }
}

/// One of the server's own answers, which are small and well formed.
fn refusal(response: Response) -> hyper::Response<Full<Bytes>> {
    checked(response).unwrap_or_default().map(Full::new)
}

/// An answer to a request that was not read to its end: over HTTP/1.1 the connection has no next one.
fn last(response: Response) -> hyper::Response<Full<Bytes>> {
    let mut response = refusal(response);
    response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    response
}

/// Headers that are the server's to set.
const OURS: [HeaderName; 7] = [
    header::CONNECTION,
    header::CONTENT_LENGTH,
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    HeaderName::from_static("keep-alive"),
];

/// The answer as it is sent, or what is wrong with it.
fn checked(response: Response) -> Result<hyper::Response<Bytes>, String> {
    let status = StatusCode::from_u16(response.status).ok().filter(|_| (200..=599).contains(&response.status));
    let status = status.ok_or_else(|| format!("the answer's status is {}: use 200 to 599", response.status))?;
    let mut headers = HeaderMap::new();
    for (name, value) in response.headers {
        let shown: String = name.chars().take(80).collect();
        let name = HeaderName::from_bytes(name.as_bytes())
            .map_err(|_| format!("the answer has a header named '{}': no header is", shown.escape_debug()))?;
        let value = HeaderValue::from_bytes(&value)
            .map_err(|_| format!("the answer's header {shown} has a value with control characters"))?;
        if !OURS.contains(&name) {
            headers.try_append(name, value).map_err(|_| "the answer has more headers than fit into one".to_owned())?;
        }
    }
    let bodiless = status == StatusCode::NO_CONTENT || status == StatusCode::NOT_MODIFIED;
    let body = if bodiless { Bytes::new() } else { response.body.into() };
    let mut response = hyper::Response::new(body);
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    Ok(response)
}

#[cfg(test)]
mod tests;
