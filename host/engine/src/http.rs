//! HTTP instances: kept between requests, each answering one at a time.
//!
//! An instance is a listener's without a connection: it has a router and no partition, and waits on a fiber. A request takes an
//! instance that is free, or a new one, and gives it back; so as many run as there are requests under way.
//!
//! Invariants:
//! - An instance that trapped, or that still holds calls or subscriptions when it has answered, is dropped.
//! - What free instances keep is bounded: 64 of them, none that has grown beyond [`IDLE_BYTES_MAX`] or been free for 30 s when another one is
//!   given back ([`idle`]), and none at all while the app uses half of its memory.
//! - A request is answered within the limit `http_ms`, or its instance ends; a body has at most `answer_bytes`. (For what streams, the
//!   limit is the longest time without progress.)
//!
//! What exports `wasi:http/incoming-handler` instead of the contract's interface is served by [`incoming`].
//!
//! Deliberately absent: sockets, the protocol, and how many requests a client may have under way.

mod idle;
pub(crate) mod incoming;
pub(crate) mod progress;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout;
use wasmtime::Store;
use wasmtime::component::{ComponentType, Lift, Lower, TypedFunc};

use crate::app_log::LogLevel;
use crate::code::AppCode;
use crate::environment::Environment;
use crate::http::idle::Idle;
use crate::http::incoming::Proxied;
use crate::listener::courtesy::{self, Computing};
use crate::listener::{ListenerState, Router};
use crate::trap::{self, Circumstances};

/// Memory of an instance that is kept, beyond what each may have without counting.
const IDLE_BYTES_MAX: usize = 16 << 20;

/// A request, read to its end.
#[derive(Clone, Debug, ComponentType, Lower)]
#[component(record)]
pub struct HttpRequest {
    /// Upper-case, as sent.
    pub method: String,
    /// From the first slash up to the question mark, as sent: nothing is decoded.
    pub path: String,
    /// Behind the question mark, without it.
    pub query: String,
    /// Lower-case names and their values, in the order sent.
    pub headers: Vec<(String, Vec<u8>)>,
    /// The body.
    pub body: Vec<u8>,
    /// The client, as `address:port`.
    #[component(name = "peer-address")]
    pub peer_address: String,
}

/// An answer as the guest gave it; nothing about it is checked.
#[derive(Clone, Debug, ComponentType, Lift)]
#[component(record)]
pub struct HttpResponse {
    /// The status code.
    pub status: u16,
    /// Names and values.
    pub headers: Vec<(String, Vec<u8>)>,
    /// The body.
    pub body: Vec<u8>,
}

/// Why there is no answer. The app's log says more.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HttpError {
    /// No room for another instance.
    #[error("no room for another instance on this node; retry")]
    NoRoom,
    /// `handle` returned an error, trapped, or could not start.
    #[error("the package failed")]
    Failed,
    /// It took longer than the limit `http_ms`; one that streams, without making progress.
    #[error("the package took longer than {0} ms (limit http_ms)")]
    TimedOut(u32),
    /// The client sent nothing of its request's body for longer than the limit `http_ms`, though the package waited for it.
    #[error("nothing of the request's body came for {0} ms (limit http_ms)")]
    Silent(u32),
}

type HandleFunc = TypedFunc<(HttpRequest,), (Result<HttpResponse, String>,)>;

struct Instance {
    store: Store<ListenerState>,
    handle: HandleFunc,
}

/// Answers an app's HTTP requests on a node.
pub struct HttpService {
    code: Arc<AppCode>,
    environment: Environment,
    router: Arc<dyn Router>,
    idle: Idle<Instance>,
    /// Free instances of what streams; none if each request has its own.
    kept: Option<Idle<Proxied>>,
}

impl HttpService {
    /// For code that has the role. `keeps` says whether instances of `wasi:http/incoming-handler` are kept between requests; those of the
    /// contract's interface always are.
    pub fn new(code: Arc<AppCode>, environment: Environment, router: Arc<dyn Router>, keeps: bool) -> Arc<Self> {
        let kept = keeps.then(Idle::new);
        Arc::new(HttpService { code, environment, router, idle: Idle::new(), kept })
    }

    /// True if requests and answers are streamed, by [`HttpService::stream`]; else they are whole, by [`HttpService::respond`].
    pub fn streams(&self) -> bool {
        self.code.proxies.is_some()
    }

    /// Answers a request. Dropping the future ends its instance.
    pub async fn respond(self: &Arc<Self>, peer: SocketAddr, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let computing = Arc::new(Computing::default());
        let courtesy = self.code.courtesy(computing.clone());
        let what = format!("{} {}", request.method, cut(&request.path));
        let moved = || {
            let text = format!("{what} from {peer} computes for long: it goes on behind everything else");
            self.environment.log.push(LogLevel::Warn, None, &text);
        };
        let answering = self.clone().answer(request, computing);
        let http_ms = self.environment.limits.http_ms_max;
        let answered =
            timeout(Duration::from_millis(http_ms.into()), courtesy::run(courtesy, Box::pin(answering), moved));
        let (error, why) = match answered.await {
            Ok(Ok(Ok(response))) => return Ok(response),
            Ok(Ok(Err((error, why)))) => (error, why),
            Ok(Err(why)) => (HttpError::Failed, why),
            Err(_) => (
                HttpError::TimedOut(http_ms),
                format!("no answer within {http_ms} ms (limit http_ms): its instance ended"),
            ),
        };
        self.environment.log.push(LogLevel::Error, None, &format!("{what} from {peer}: {why}"));
        Err(error)
    }

    async fn answer(
        self: Arc<Self>,
        request: HttpRequest,
        computing: Arc<Computing>,
    ) -> Result<HttpResponse, (HttpError, String)> {
        let mut instance = match self.idle.take() {
            Some(mut instance) => {
                instance.store.data_mut().begin(computing);
                instance
            }
            None => self.make(computing).await?,
        };
        instance.store.set_epoch_deadline(1);
        match instance.handle.call_async(&mut instance.store, (request,)).await {
            Ok((answer,)) => {
                if self.may_keep(&instance.store) {
                    self.idle.give_back(instance);
                }
                let limit = self.environment.limits.transaction.answer_bytes_max;
                match answer {
                    Ok(answer) if answer.body.len() > limit => {
                        let bytes = answer.body.len();
                        let why =
                            format!("the answer has {bytes} bytes (limit answer_bytes: {limit}); answer in pages");
                        Err((HttpError::Failed, why))
                    }
                    Ok(answer) => Ok(answer),
                    Err(why) => Err((HttpError::Failed, format!("the handler answered an error: {why}"))),
                }
            }
            Err(error) => {
                Err((HttpError::Failed, format!("the handler failed: {}", self.describe(&error, &mut instance.store))))
            }
        }
    }

    async fn make(&self, computing: Arc<Computing>) -> Result<Instance, (HttpError, String)> {
        let mut store = self.code.listener_store(None, self.environment.clone(), self.router.clone(), computing);
        let made = async {
            let instance = self.code.listeners.instantiate_async(&mut store).await?;
            let export = self.code.exports.respond.ok_or_else(|| wasmtime::Error::msg("it exports no http-handler"))?;
            instance.get_typed_func(&mut store, export)
        };
        match made.await {
            Ok(handle) => Ok(Instance { store, handle }),
            Err(error) if trap::is_pool_exhausted(&error) => {
                Err((HttpError::NoRoom, "no room for another instance on this node".to_owned()))
            }
            Err(error) => {
                Err((HttpError::Failed, format!("the handler could not start: {}", self.describe(&error, &mut store))))
            }
        }
    }

    fn describe(&self, error: &wasmtime::Error, store: &mut Store<ListenerState>) -> String {
        let call_ms_max = self.environment.limits.call_ms_max;
        trap::describe(error, Circumstances { call_ms_max, memory_refused: store.data_mut().take_refused() })
    }

    /// True if an instance that has answered may answer another request.
    fn may_keep(&self, store: &Store<ListenerState>) -> bool {
        let half = self.environment.limits.app_memory_bytes_max / 2;
        let state = store.data();
        !state.holds_handles() && state.counted_bytes() <= IDLE_BYTES_MAX && self.code.memory_bytes() <= half
    }
}

/// A client's path in a log line.
fn cut(path: &str) -> String {
    path.chars().take(200).collect()
}
