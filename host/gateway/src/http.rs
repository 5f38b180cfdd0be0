//! HTTP at a node's doors: apps' ports, and the node's own port with the admin API and the registry. HTTP/1.1 and HTTP/2, without TLS.
//!
//! ```text
//! rules       which requests are HTTP that every recipient reads alike; what answers carry
//! connection  one client's connection, the same at every door
//! wire        below it: the end of the connection, clients that take nothing
//! pace        how slow a client may be; pieces of answers
//! (here)      apps' ports: requests read to their end, or streamed
//! ```
//!
//! An app's request is read to its end, handed to a [`Responder`] and answered whole; unless the responder streams, which then gets the
//! body while it comes, and answers while it goes. Which protocol a client speaks is told by its first bytes. When the port closes,
//! requests under way are answered and the connection then ends.
//!
//! Invariants, at every door:
//! - A request that two recipients could read differently is refused ([`rules`]), and its connection ends.
//! - A client that has ended its side after its request is answered; one that is still sending when it is answered gets the answer, not a
//!   reset ([`connection`], [`wire`]).
//! - What clients make a server hold is bounded: headers by [`HEADER_BYTES_MAX`]; of a body that streams, what is read and written
//!   ahead; else a body by its limit, all bodies of an app on this node by [`BODIES_BYTES_MAX`]. A client is waited for only
//!   [`HEADER_TIMEOUT`] for a header and [`BODY_TIMEOUT`] for a body that does not stream; with bodies that stream, and answers, it
//!   must keep a minimum rate ([`pace`]).
//! - What a responder answers is checked: it cannot break the framing, nor another answer on the same connection. An answer that ends
//!   early does not look complete.
//!
//! Deliberately absent: TLS, compression, WebSockets, and what the answers are.

pub(crate) mod connection;
mod pace;
pub mod rules;
mod wire;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::future::{Either, select};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full};
pub use hyper::StatusCode;
use hyper::Uri;
use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use hyper::http::uri::Scheme;
use recoil_base::Shutdown;
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, SemaphorePermit};
use tokio::time::timeout;

use self::connection::{Answer, Asked, Door};
pub use self::pace::{PIECE_BYTES, WINDOW, WINDOW_BYTES};
use self::pace::{Pace, Paced};
use self::rules::Refusal;
pub use self::wire::{Tcp, Transport};
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
    fn ends_when_drained(&self) -> bool {
        true
    }

    async fn serve(&self, stream: TcpStream, peer: SocketAddr, closing: Shutdown) {
        let Ok(local) = stream.local_addr() else { return };
        let server = self.clone();
        let answer = move |asked| {
            let server = server.clone();
            async move { server.answer(peer, local, asked).await }
        };
        let door = Door { http2: true, header_timeout: HEADER_TIMEOUT };
        if let Err(error) = connection::serve(Tcp(Arc::new(stream)), door, closing, answer).await {
            tracing::debug!(%peer, %error, "an HTTP connection ended");
        }
    }
}

impl HttpServer {
    /// For requests with bodies of up to `body_bytes_max` bytes.
    pub fn new(responder: Arc<dyn Responder>, body_bytes_max: usize) -> Arc<Self> {
        Arc::new(HttpServer { responder, body_bytes_max, bodies: Arc::new(Semaphore::new(BODIES_BYTES_MAX >> 10)) })
    }

    async fn answer(&self, peer: SocketAddr, local: SocketAddr, asked: Asked) -> Answer {
        match asked {
            Err(Refusal { status, message, hint }) => {
                whole(refusal(Response::text(status, &format!("{message}; {hint}")))).into()
            }
            Ok(request) if self.responder.streams() => self.stream(peer, local, request).await,
            Ok(request) => whole(self.answer_whole(peer, request).await).into(),
        }
    }

    async fn stream(&self, peer: SocketAddr, local: SocketAddr, request: hyper::Request<StreamBody>) -> Answer {
        let pace = Arc::<Pace>::default();
        let mut request = request.map(|body| Paced::new(body, pace.clone()).boxed_unsync());
        if !request.headers().contains_key(header::HOST) {
            reach(request.uri_mut(), local);
        }
        let responding = self.responder.stream(peer, request);
        let mut response = match select(responding, std::pin::pin!(pace.too_slow())).await {
            Either::Left((response, _)) => response,
            Either::Right(_) => {
                let text = format!("fewer than {WINDOW_BYTES} bytes of the body came within {} s", WINDOW.as_secs());
                return whole(last(Response::text(StatusCode::REQUEST_TIMEOUT, &text))).into();
            }
        };
        if !(200..=599).contains(&response.status().as_u16()) {
            self.responder.complain(&format!("the answer's status is {}: use 200 to 599", response.status()));
            let text = "the package gave an answer that is no HTTP; its log says why";
            return whole(refusal(Response::text(StatusCode::INTERNAL_SERVER_ERROR, text))).into();
        }
        // The length is its author's to know, and checked as it goes; everything else about the connection is the server's.
        for name in OURS.iter().filter(|name| **name != header::CONTENT_LENGTH) {
            response.headers_mut().remove(name);
        }
        Answer { response, pace: Some(pace) }
    }

    async fn answer_whole(
        &self,
        peer: SocketAddr,
        request: hyper::Request<StreamBody>,
    ) -> hyper::Response<Full<Bytes>> {
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
        mut body: StreamBody,
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

/// Names the host of a request that names none (HTTP/1.0) by the address that its client has reached: streaming responders need one.
fn reach(uri: &mut Uri, local: SocketAddr) {
    let mut parts = std::mem::take(uri).into_parts();
    if parts.authority.is_none() {
        parts.authority = local.to_string().parse().ok();
        parts.scheme = Some(Scheme::HTTP);
    }
    *uri = Uri::from_parts(parts).unwrap_or_default();
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
    let mut response = hyper::Response::new(response.body.into());
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    Ok(response)
}

#[cfg(test)]
mod tests;
