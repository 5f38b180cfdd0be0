//! `wasi:http/incoming-handler`: components that other tool chains build, unchanged, streaming both ways.
//!
//! Each request has an instance of its own, which such components may count on, unless the manifest's listener says `instances = "kept"`:
//! then an instance answers one request at a time and is kept for later ones, as those of the contract's interface are, unless it has left
//! behind anything that the host keeps for it. The answer begins when the guest says so and goes on
//! while it runs, for as long as there is progress ([`super::progress`]): the limit `http_ms` is the longest time without.
//!
//! Bounded: what the guest may write ahead of its client, [`CHUNKS`] chunks of [`CHUNK_BYTES`], and so the memory of all answers, since
//! each holds its place among the instances of the node until its last byte has been handed on; a client that does not take them is
//! the gateway's to let go.
//!
//! Invariants: when the answer is dropped, because the client has gone, the instance ends; when the instance ends early, the answer
//! breaks off and does not look complete. Deliberately absent: requests to others: they are refused, as `wasi:sockets` are.

use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::BodyExt as _;
use http_body_util::combinators::UnsyncBoxBody;
use hyper::body::{Body, Frame, SizeHint};
use hyper::{Request, Response};
use recoil_base::task;
use tokio::sync::oneshot;
use tokio::task::AbortHandle;
use wasmtime::Store;
use wasmtime::component::ResourceTable;
use wasmtime_wasi_http::p2::bindings::Proxy;
use wasmtime_wasi_http::p2::bindings::http::types::{ErrorCode, Scheme};
use wasmtime_wasi_http::p2::body::HyperOutgoingBody;
use wasmtime_wasi_http::{
    Error as SendError, RequestOptions, WasiBody, WasiHttpCtx, WasiHttpCtxView, WasiHttpHooks, WasiHttpView as _,
};

use super::idle::Idle;
use super::progress::{Progress, Watched, WatchedRouter};
use super::{HttpError, HttpService, cut};
use crate::app_log::LogLevel;
use crate::listener::ListenerState;
use crate::listener::courtesy::{self, Computing};

/// Bytes that a guest may write at once: large enough that what it costs to hand them on is small beside sending them.
const CHUNK_BYTES: usize = 256 << 10;
/// Chunks that wait for the client, beside the one that is being written and the one that is being sent.
const CHUNKS: usize = 1;
/// Bytes of one set of headers in memory; an instance may hold as many as other resources.
const FIELDS_BYTES: usize = 16 << 10;

/// A body that comes, or goes, bit by bit.
pub type HttpBody = UnsyncBoxBody<Bytes, std::io::Error>;

/// An instance's side of `wasi:http`.
#[derive(Default)]
pub(crate) struct Http {
    context: WasiHttpCtx,
    hooks: Hooks,
}

impl Http {
    pub(crate) fn view<'a>(&'a mut self, table: &'a mut ResourceTable) -> WasiHttpCtxView<'a> {
        self.context.set_field_size_limit(FIELDS_BYTES);
        WasiHttpCtxView { hooks: &mut self.hooks, table, ctx: &mut self.context }
    }
}

#[derive(Default)]
struct Hooks;

type Sent = Result<(Response<WasiBody>, Box<dyn Future<Output = Result<(), SendError>> + Send>), SendError>;

impl WasiHttpHooks for Hooks {
    fn send_request(
        &mut self,
        _: Request<WasiBody>,
        _: Option<RequestOptions>,
        _: Box<dyn Future<Output = Result<(), SendError>> + Send>,
    ) -> Box<dyn Future<Output = Sent> + Send> {
        Box::new(std::future::ready(Err(SendError::HttpRequestDenied)))
    }

    fn p2_outgoing_body_chunk_size(&mut self) -> usize {
        CHUNK_BYTES
    }

    fn p2_outgoing_body_buffer_chunks(&mut self) -> usize {
        CHUNKS
    }
}

/// Ends the instance that writes an answer when the answer is dropped.
struct Running(AbortHandle);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Whether an instance came to its end. What it leaves behind when it does not looks to `wasi:http` like a body that is complete.
#[derive(Clone, Default)]
struct Broken(Arc<AtomicBool>);

/// Breaks the answer off when dropped, unless the instance has come to its end.
struct Unfinished(Option<Broken>);

impl Drop for Unfinished {
    fn drop(&mut self) {
        if let Some(Broken(broken)) = &self.0 {
            broken.store(true, Ordering::Release);
        }
    }
}

/// An answer's body, and the instance behind it.
struct Streamed<P> {
    body: HyperOutgoingBody,
    broken: Broken,
    progress: Arc<Progress>,
    _running: Running,
    /// Shared with the instance.
    _place: Arc<P>,
}

impl<P> Body for Streamed<P> {
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, std::io::Error>>> {
        self.progress.handed_on(false);
        match Pin::new(&mut self.body).poll_frame(context) {
            Poll::Ready(None) if self.broken.0.load(Ordering::Acquire) => {
                Poll::Ready(Some(Err(std::io::Error::other("the package ended before its answer"))))
            }
            frame => {
                if frame.is_ready() {
                    self.progress.handed_on(true);
                }
                frame.map_err(|code| std::io::Error::other(format!("the package's answer broke off: {code:?}")))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        // Whether it is the end is seen only there.
        false
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// An instance that streams.
pub(super) struct Proxied {
    store: Store<ListenerState>,
    proxy: Proxy,
    /// What the host kept for it when it was new.
    resources: usize,
}

type Answered = Result<Response<HyperOutgoingBody>, ErrorCode>;

impl HttpService {
    /// Answers a request whose body comes while it is answered. Dropping the future, or the answer, ends its instance. `place` is given
    /// back when the instance has ended and the answer has been handed on: until then it takes memory.
    pub async fn stream(
        self: &Arc<Self>,
        peer: SocketAddr,
        request: Request<HttpBody>,
        place: impl Send + Sync + 'static,
    ) -> Result<Response<HttpBody>, HttpError> {
        let (answer, answered) = oneshot::channel();
        let broken = Broken::default();
        let what = format!("{} {}", request.method(), cut(request.uri().path()));
        let (progress, place) = (Progress::new(), Arc::new(place));
        let run = self.clone().run(peer, what.clone(), request, answer, broken.clone(), progress.clone());
        let of_instance = place.clone();
        let task = task::spawn_detached(async move {
            let error = run.await;
            drop(of_instance);
            error
        });
        let running = Running(task.abort_handle());
        match answered.await {
            Ok(Ok(response)) => {
                progress.made();
                Ok(response
                    .map(|body| Streamed { body, broken, progress, _running: running, _place: place }.boxed_unsync()))
            }
            Ok(Err(code)) => {
                let text = format!("{what} from {peer}: the handler answered an error: {code:?}");
                self.environment.log.push(LogLevel::Error, None, &text);
                Err(HttpError::Failed)
            }
            // Ended without an answer; the log has it.
            Err(_) => Err(task.await.ok().flatten().unwrap_or(HttpError::Failed)),
        }
    }

    /// Runs an instance to its end; why it failed, if it did.
    async fn run(
        self: Arc<Self>,
        peer: SocketAddr,
        what: String,
        request: Request<HttpBody>,
        answer: oneshot::Sender<Answered>,
        broken: Broken,
        progress: Arc<Progress>,
    ) -> Option<HttpError> {
        let computing = Arc::new(Computing::default());
        let courtesy = self.code.courtesy(computing.clone());
        let log = self.environment.log.clone();
        let moved = || {
            let text = format!("{what} from {peer} computes for long: it goes on behind everything else");
            log.push(LogLevel::Warn, None, &text);
        };
        let http_ms = self.environment.limits.http_ms_max;
        let answering = Box::pin(self.clone().call(request, answer, computing, broken, progress.clone()));
        let ended = tokio::select! {
            ended = courtesy::run(courtesy, answering, moved) => Ok(ended),
            waits_for_body = progress.none_for(Duration::from_millis(http_ms.into())) => Err(waits_for_body),
        };
        let (error, why) = match ended {
            Ok(Ok(Ok(()))) => return None,
            Ok(Ok(Err((error, why)))) => (error, why),
            Ok(Err(why)) => (HttpError::Failed, why),
            Err(true) => {
                let why = format!("the client sent nothing for {http_ms} ms (limit http_ms): its instance ended");
                (HttpError::Silent(http_ms), why)
            }
            Err(false) => {
                let why = format!(
                    "no progress for {http_ms} ms (limit http_ms), neither bytes nor an answered call: its instance ended"
                );
                (HttpError::TimedOut(http_ms), why)
            }
        };
        log.push(LogLevel::Error, None, &format!("{what} from {peer}: {why}"));
        Some(error)
    }

    async fn call(
        self: Arc<Self>,
        request: Request<HttpBody>,
        answer: oneshot::Sender<Answered>,
        computing: Arc<Computing>,
        broken: Broken,
        progress: Arc<Progress>,
    ) -> Result<(), (HttpError, String)> {
        let Some(proxies) = &self.code.proxies else {
            return Err((HttpError::Failed, "it exports no wasi:http/incoming-handler".to_owned()));
        };
        let router = Arc::new(WatchedRouter { router: self.router.clone(), progress: progress.clone() });
        let kept = self.kept.as_ref().and_then(Idle::take);
        let mut instance = match kept {
            Some(mut instance) => {
                let state = instance.store.data_mut();
                state.begin(computing);
                state.route(router);
                instance
            }
            None => {
                let mut store = self.code.listener_store(None, self.environment.clone(), router, computing);
                match proxies.instantiate_async(&mut store).await {
                    Ok(proxy) => Proxied { resources: store.data_mut().resources(), proxy, store },
                    Err(error) => return Err(self.why(&error, &mut store)),
                }
            }
        };
        instance.store.set_epoch_deadline(1);
        let Proxied { store, proxy, .. } = &mut instance;
        // Dropped before the store, and so before the body looks complete.
        let mut unfinished = Unfinished(Some(broken));
        let called = async {
            let request = request.map(|body| Watched::new(body, progress).map_err(|_| SendError::ConnectionTerminated));
            let request = store.data_mut().http().new_incoming_request(Scheme::Http, request)?;
            let answer = store.data_mut().http().new_response_outparam(answer)?;
            proxy.wasi_http_incoming_handler().call_handle(&mut *store, request, answer).await
        };
        if let Err(error) = called.await {
            return Err(self.why(&error, store));
        }
        unfinished.0 = None;
        drop(unfinished);
        if let Some(kept) = &self.kept
            && self.may_keep(&instance.store)
            && instance.store.data_mut().resources() <= instance.resources
        {
            kept.give_back(instance);
        }
        Ok(())
    }

    fn why(&self, error: &wasmtime::Error, store: &mut Store<ListenerState>) -> (HttpError, String) {
        if crate::trap::is_pool_exhausted(error) {
            return (HttpError::NoRoom, "no room for another instance on this node".to_owned());
        }
        (HttpError::Failed, format!("the handler failed: {}", self.describe(error, store)))
    }
}
