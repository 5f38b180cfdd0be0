//! One client's connection, at any of a node's doors: apps' ports, and the node's own with the admin API and the registry.
//!
//! The door brings a [`Transport`] and a function that answers; what is the same for all of them is here. Each request is looked at
//! ([`rules`]) before it is answered, each answer is made one that may be sent.
//!
//! A client may end its side once it has sent its request, as `nc -N` and `shutdown(SHUT_WR)` do; it is answered all the same. TCP
//! shows no difference between that and a client that has gone for good, until something is sent to it, which it resets. So what
//! a client that has gone has asked for goes on until its first bytes are sent or its own limit ends it, and holds its place among
//! the port's connections for as long; a reset ends it at once. (Over HTTP/2 streams have ends of their own, so a client that ends
//! its side of the connection has gone.)

use std::convert::Infallible;
use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use futures::future::{Either, select};
use http_body_util::BodyExt as _;
use hyper::body::{Body as _, Incoming};
use hyper::header::{self, HeaderValue};
use hyper::service::service_fn;
use hyper::{Request, Response, Version};
use hyper_util::rt::{TokioIo, TokioTimer};
use recoil_base::{Shutdown, task};
use tokio::time::timeout;

use super::pace::{Pace, Pieces, Tasks};
use super::rules::{self, Refusal};
use super::wire::{self, Hasty, Transport, Wire};
use super::{HEADER_BYTES_MAX, HEADERS_MAX, StreamBody};

/// Requests that one HTTP/2 connection may have under way.
const STREAMS_MAX: u32 = 64;
/// How much of a body that is not sent is read, and for how long: what gives it may have more to do than to give it.
const UNSENT_BYTES: usize = 4 << 20;
const UNSENT_FOR: Duration = Duration::from_secs(30);

/// What a door's connections may be.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Door {
    /// HTTP/2 is spoken, too.
    pub(crate) http2: bool,
    /// How long a client may take for a header, and be silent between requests.
    pub(crate) header_timeout: Duration,
}

/// What a door answers: the request, or that it is none.
pub(crate) type Asked = Result<Request<StreamBody>, Refusal>;

/// An answer, and the pace of its request's body if that is read while it is answered.
pub(crate) struct Answer {
    pub(crate) response: Response<StreamBody>,
    pub(super) pace: Option<Arc<Pace>>,
}

impl From<Response<StreamBody>> for Answer {
    fn from(response: Response<StreamBody>) -> Self {
        Answer { response, pace: None }
    }
}

/// What is known of a connection while HTTP owns it.
#[derive(Default)]
struct Connection {
    /// Requests that are being answered.
    under_way: AtomicUsize,
    /// The answer that goes out has no other end than that of the connection (HTTP/1.0): if it breaks off, so must that.
    ends_with_connection: AtomicBool,
}

/// Counts a request until its answer has been sent.
struct UnderWay(Arc<Connection>);

impl UnderWay {
    fn new(connection: &Arc<Connection>) -> Self {
        connection.under_way.fetch_add(1, Ordering::AcqRel);
        UnderWay(connection.clone())
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.under_way.fetch_sub(1, Ordering::AcqRel);
    }
}

/// Serves a client until one of the two has had enough, or until what is under way has been answered after `closing`. The error is
/// its client's doing, and of interest to nobody else. Dropping the future drops what is under way.
pub(crate) async fn serve<T, F>(
    transport: T,
    door: Door,
    closing: Shutdown,
    answer: impl Fn(Asked) -> F + Clone + Send + 'static,
) -> hyper::Result<()>
where
    T: Transport,
    F: Future<Output = Answer> + Send + 'static,
{
    let socket = transport.socket();
    let is_http2 = door.http2 && {
        let Some(is_http2) = tell_protocol(&socket, door, &closing).await else { return Ok(()) };
        is_http2
    };
    let (hasty, connection) = (Arc::new(Hasty::default()), Arc::<Connection>::default());
    let io = TokioIo::new(Wire::new(transport, hasty.clone()));
    let service = service_fn({
        let connection = connection.clone();
        move |request| {
            let (answer, under_way) = (answer.clone(), UnderWay::new(&connection));
            async move { Ok::<_, Infallible>(answer_one(request, answer, under_way).await) }
        }
    });
    let ends = || {
        if connection.under_way.load(Ordering::Acquire) == 0 {
            hasty.set();
        }
    };
    let served = if is_http2 {
        let mut builder = hyper::server::conn::http2::Builder::new(Tasks);
        builder
            .timer(TokioTimer::new())
            .max_header_list_size(HEADER_BYTES_MAX as u32)
            .max_concurrent_streams(STREAMS_MAX)
            .keep_alive_interval(door.header_timeout)
            .keep_alive_timeout(door.header_timeout);
        let served = drain(builder.serve_connection(io, service), closing, |served| {
            ends();
            served.graceful_shutdown();
        });
        unless_reset(served, socket.clone()).await
    } else {
        let mut builder = hyper::server::conn::http1::Builder::new();
        builder
            .timer(TokioTimer::new())
            .half_close(true)
            .header_read_timeout(door.header_timeout)
            .max_headers(HEADERS_MAX)
            .max_buf_size(HEADER_BYTES_MAX);
        let served = drain(builder.serve_connection(io, service), closing, |served| {
            ends();
            served.graceful_shutdown();
        });
        unless_reset(served, socket.clone()).await
    };
    let is_broken = served.as_ref().is_err_and(hyper::Error::is_user);
    if is_broken && connection.ends_with_connection.load(Ordering::Acquire) {
        // An orderly end would make a whole answer of the part that was sent.
        let _ = socket.map(|socket| socket.set_zero_linger());
    }
    served
}

/// Runs a connection to its end, from `closing` on towards it.
async fn drain<C: Future<Output = hyper::Result<()>>>(
    connection: C,
    closing: Shutdown,
    end: impl FnOnce(Pin<&mut C>),
) -> hyper::Result<()> {
    let connection = pin!(connection);
    match select(connection, pin!(closing.wait())).await {
        Either::Left((served, _)) => served,
        Either::Right(((), mut connection)) => {
            end(connection.as_mut());
            connection.await
        }
    }
}

/// HTTP/1.1 does not look at the socket while a request is answered.
async fn unless_reset(
    served: impl Future<Output = hyper::Result<()>>,
    socket: Option<Arc<tokio::net::TcpStream>>,
) -> hyper::Result<()> {
    match select(pin!(served), pin!(wire::reset(socket))).await {
        Either::Left((served, _)) => served,
        Either::Right(_) => Ok(()),
    }
}

/// True for HTTP/2, told by the first bytes; none if they do not come.
async fn tell_protocol(socket: &Option<Arc<tokio::net::TcpStream>>, door: Door, closing: &Shutdown) -> Option<bool> {
    // What only HTTP/2's preface begins with (RFC 9113 §3.4): there is no such method.
    const FIRST: &[u8; 4] = b"PRI ";
    let Some(socket) = socket else { return Some(false) };
    let first = async {
        let mut bytes = [0; FIRST.len()];
        loop {
            match socket.peek(&mut bytes).await {
                Ok(0) | Err(_) => return None,
                Ok(count) if !FIRST.starts_with(&bytes[..count]) => return Some(false),
                Ok(count) if count == FIRST.len() => return Some(true),
                // Peeking again answers the same at once until more has come.
                Ok(_) => tokio::time::sleep(Duration::from_millis(10)).await,
            }
        }
    };
    match select(pin!(timeout(door.header_timeout, first)), pin!(closing.wait())).await {
        Either::Left((first, _)) => first.ok().flatten(),
        Either::Right(_) => None,
    }
}

async fn answer_one<F: Future<Output = Answer>>(
    request: Request<Incoming>,
    answer: impl Fn(Asked) -> F,
    under_way: UnderWay,
) -> Response<Pieces<UnderWay>> {
    let (method, version) = (request.method().clone(), request.version());
    let checked = rules::check(&request);
    let is_last = checked.is_err();
    let asked = checked.map(|()| request.map(|body| body.map_err(std::io::Error::other).boxed_unsync()));
    let Answer { response, pace } = answer(asked).await;
    let (mut response, unsent) = rules::without_body(&method, response);
    if let Some(unsent) = unsent {
        task::spawn_detached(read_unsent(unsent));
    }
    if is_last {
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    let is_framed =
        response.headers().contains_key(header::CONTENT_LENGTH) || response.body().size_hint().exact().is_some();
    under_way.0.ends_with_connection.store(version == Version::HTTP_10 && !is_framed, Ordering::Release);
    response.map(|body| Pieces::new(body, pace, under_way))
}

/// Reads what is not sent, so that what gives it comes to its own end: a package may write it without looking at the method.
async fn read_unsent(mut body: StreamBody) {
    let reading = async {
        let mut left = UNSENT_BYTES;
        while let Some(Ok(frame)) = body.frame().await {
            left = left.saturating_sub(frame.data_ref().map_or(1, |data| data.len().max(1)));
            if left == 0 {
                break;
            }
        }
    };
    let _ = timeout(UNSENT_FOR, reading).await;
}
