//! Listener instances: one per open connection, running `tcp-listener.serve` on a fiber from accept to close.
//!
//! A listener is written as a thread would be: it reads, calls partitions, writes, and blocks doing so. Blocking suspends its
//! fiber. What it asks of partitions leaves through a [`Router`] that the rooms above provide, already bound to the app.
//!
//! Invariants:
//! - Calls leave in the order in which the guest made them: the router is called synchronously, and what it returns only
//!   waits. So the order per partition is the order of the guest's calls.
//! - What a connection makes the host hold is bounded: input read ahead, output not yet sent, calls and subscriptions.
//! - An instance serves one connection and is dropped with it, whatever happens.
//!
//! Deliberately absent: accepting, ports, TLS, and how many connections an app may have.

mod connection;
pub(crate) mod courtesy;
mod host;
mod storage;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use recoil_base::PartitionId;
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use wasmtime::component::{HasSelf, Linker, Resource, ResourceTable};
use wasmtime::{Store, UpdateDeadline};
use wasmtime_wasi::{WasiCtxView, WasiView};
use wasmtime_wasi_http::{WasiHttpCtxView, WasiHttpView};

use crate::app_log::LogLevel;
use crate::bindings::waiting::recoil::plugin as contract;
use crate::call::{CallError, RoutedCall};
use crate::code::{self, AppCode};
use crate::environment::{Environment, MemoryLimiter};
use crate::http::incoming::Http;
use crate::trap::{self, Circumstances};
use crate::wasi::Wasi;

pub(crate) use connection::Socket;
use courtesy::{Computing, Courtesy};

/// A future that owns what it needs.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// A partition, as the routing table knows it. Nodes are member numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartitionInfo {
    /// The partition.
    pub id: PartitionId,
    /// Its leader, if one is known.
    pub leader: Option<u32>,
    /// Its replicas, the preferred leader first.
    pub replicas: Vec<u32>,
    /// Grows when it moves.
    pub epoch: u64,
}

/// How a listener's calls reach partitions; bound to one app.
///
/// The methods are called on a task and must not block. Calls take their place in the order of their partition when the
/// method is called, not when the future is polled; a future that is dropped forgets the answers, not the calls.
pub trait Router: Send + Sync {
    /// Runs each call by itself; answers in their order. Calls to one partition keep their order.
    fn call_many(&self, calls: Vec<RoutedCall>) -> BoxFuture<'static, Vec<Result<Bytes, CallError>>>;
    /// Runs all calls or none, serializable, in their order.
    fn transact(&self, calls: Vec<RoutedCall>) -> BoxFuture<'static, Result<Vec<Bytes>, CallError>>;
    /// The partition that owns a user key.
    fn locate(&self, key: &[u8]) -> PartitionInfo;
    /// All partitions, by id.
    fn partitions(&self) -> Vec<PartitionInfo>;
    /// Messages published on `topic` from now on. A full channel loses messages; it should hold 1,024.
    fn subscribe(&self, topic: Bytes) -> mpsc::Receiver<Bytes>;
}

/// How serving a connection ended, if not well.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The component does not serve connections.
    #[error("the component does not export recoil:plugin/tcp-listener: it cannot serve connections")]
    NotAListener,
    /// No room for another instance.
    #[error("no room for another instance on this node; raise its instance limit, or close connections")]
    NoRoom,
    /// The socket could not be used.
    #[error("the connection cannot be used: {0}")]
    Socket(#[from] std::io::Error),
    /// `serve` returned an error.
    #[error("the listener gave up: {0}")]
    Rejected(String),
    /// `serve` trapped, or the instance could not start.
    #[error("the listener failed: {0}")]
    Failed(String),
}

/// The connection; there is one for each instance, kept in its state.
#[allow(unreachable_pub)] // bindgen! exports it again
pub struct Connection;

/// A call under way.
#[allow(unreachable_pub)] // bindgen! exports it again
pub struct Pending {
    answer: JoinHandle<Vec<Result<Bytes, CallError>>>,
}

/// Messages of a topic.
#[allow(unreachable_pub)] // bindgen! exports it again
pub struct Subscription {
    messages: mpsc::Receiver<Bytes>,
    /// Taken from the channel by `wait-any`, which only announces.
    peeked: Option<Bytes>,
}

/// What a listener's host functions work on.
pub(crate) struct ListenerState {
    wasi: Wasi,
    limiter: MemoryLimiter,
    environment: Environment,
    router: Arc<dyn Router>,
    /// None in an instance that answers HTTP requests: nobody hands it a connection.
    socket: Option<Socket>,
    /// [`Pending`]s and [`Subscription`]s.
    handles: ResourceTable,
    pendings: usize,
    subscriptions: usize,
    computing: Arc<Computing>,
    http: Http,
}

impl ListenerState {
    /// From now on what the guest computes counts there, and what it touches here.
    pub(crate) fn begin(&mut self, computing: Arc<Computing>) {
        computing.belongs_to(self.limiter.account());
        self.computing = computing;
    }

    /// From now on calls leave by this router.
    pub(crate) fn route(&mut self, router: Arc<dyn Router>) {
        self.router = router;
    }

    /// What the host keeps for WASI's resources, the guest's and their parts.
    pub(crate) fn resources(&mut self) -> usize {
        self.wasi.table.iter_mut().count()
    }

    /// True while the guest has not dropped all calls and subscriptions.
    pub(crate) fn holds_handles(&self) -> bool {
        self.pendings > 0 || self.subscriptions > 0
    }

    /// Linear memory that counts against the app.
    pub(crate) fn counted_bytes(&self) -> usize {
        self.limiter.account().counted_bytes()
    }

    /// Why memory was refused since the last call of this, if it was.
    pub(crate) fn take_refused(&mut self) -> Option<String> {
        self.limiter.take_refused()
    }
}

impl WasiView for ListenerState {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView { ctx: &mut self.wasi.context, table: &mut self.wasi.table }
    }
}

impl WasiHttpView for ListenerState {
    fn http(&mut self) -> WasiHttpCtxView<'_> {
        self.http.view(&mut self.wasi.table)
    }
}

/// Provides everything that a listener may import.
pub(crate) fn link(linker: &mut Linker<ListenerState>) -> wasmtime::Result<()> {
    wasmtime_wasi::p2::add_to_linker_async(linker)?;
    wasmtime_wasi_http::p2::add_only_http_to_linker_async(linker)?;
    contract::storage::add_to_linker::<_, HasSelf<ListenerState>>(linker, |state| state)?;
    contract::partition::add_to_linker::<_, HasSelf<ListenerState>>(linker, |state| state)?;
    contract::consensus::add_to_linker::<_, HasSelf<ListenerState>>(linker, |state| state)?;
    contract::router::add_to_linker::<_, HasSelf<ListenerState>>(linker, |state| state)?;
    contract::tcp::add_to_linker::<_, HasSelf<ListenerState>>(linker, |state| state)?;
    code::share_subscription::<_, Subscription>(linker)?;
    contract::log::add_to_linker::<_, HasSelf<ListenerState>>(linker, |state| state)?;
    contract::settings::add_to_linker::<_, HasSelf<ListenerState>>(linker, |state| state)
}

impl AppCode {
    /// Serves one connection on an instance of its own, until the guest returns or fails. What the guest had written is sent
    /// before the connection closes. An error is in the app's log already. Dropping the future ends the connection at once.
    pub async fn serve(
        self: &Arc<Self>,
        stream: TcpStream,
        environment: Environment,
        router: Arc<dyn Router>,
    ) -> Result<(), ServeError> {
        if self.exports.serve.is_none() {
            return Err(ServeError::NotAListener);
        }
        let log = environment.log.clone();
        let peer = stream.peer_addr()?;
        let computing = Arc::new(Computing::default());
        let courtesy = self.courtesy(computing.clone());
        let moved = || {
            let text = format!(
                "the connection from {peer} computes for long without waiting, or its app for more than its share: it goes on behind \
                 everything else until it waits"
            );
            log.push(LogLevel::Warn, None, &text);
        };
        let serving = self.clone().serve_alone(stream, environment.clone(), router, computing);
        let outcome = courtesy::run(courtesy, Box::pin(serving), moved).await;
        let outcome = outcome.unwrap_or_else(|why| Err(ServeError::Failed(why)));
        if let Err(error) = &outcome {
            environment.log.push(LogLevel::Error, None, &format!("{error} (the connection from {peer})"));
        }
        outcome
    }

    async fn serve_alone(
        self: Arc<Self>,
        stream: TcpStream,
        environment: Environment,
        router: Arc<dyn Router>,
        computing: Arc<Computing>,
    ) -> Result<(), ServeError> {
        let Some(serve) = &self.exports.serve else { return Err(ServeError::NotAListener) };
        let limits = environment.limits;
        let socket = Socket::new(stream, limits.idle_ms_max)?;
        let mut store = self.listener_store(Some(socket), environment, router, computing);
        let outcome = async {
            let instance = self.listeners.instantiate_async(&mut store).await?;
            let serve = instance.get_typed_func::<(Resource<Connection>,), (Result<(), String>,)>(&mut store, serve)?;
            let (answer,) = serve.call_async(&mut store, (Resource::new_own(0),)).await?;
            wasmtime::Result::Ok(answer)
        }
        .await;
        let state = store.data_mut();
        let outcome = match outcome {
            Ok(Ok(())) => Ok(()),
            Ok(Err(why)) => Err(ServeError::Rejected(why)),
            Err(error) if trap::is_pool_exhausted(&error) => Err(ServeError::NoRoom),
            Err(error) => Err(ServeError::Failed(trap::describe(
                &error,
                Circumstances { call_ms_max: limits.call_ms_max, memory_refused: state.limiter.take_refused() },
            ))),
        };
        if let Some(socket) = &mut state.socket {
            socket.finish().await;
        }
        outcome
    }

    pub(crate) fn courtesy(&self, computing: Arc<Computing>) -> Courtesy {
        let (shares, behind) = (self.engine.shares().clone(), self.engine.behind().clone());
        Courtesy { shares, app: self.share, computing, behind, ticker: self.engine.ticker().clone() }
    }

    /// A store for an instance that may wait. It has no deadline, but lets others run at every tick, and must wait for
    /// something in the end.
    pub(crate) fn listener_store(
        &self,
        socket: Option<Socket>,
        environment: Environment,
        router: Arc<dyn Router>,
        computing: Arc<Computing>,
    ) -> Store<ListenerState> {
        let limits = environment.limits;
        let limiter = MemoryLimiter::new(&limits, self.engine.memory_bytes_max(), &self.memory);
        computing.belongs_to(limiter.account());
        let state = ListenerState {
            wasi: Wasi::new(&environment.log),
            limiter,
            socket,
            environment,
            router,
            handles: ResourceTable::new(),
            pendings: 0,
            subscriptions: 0,
            computing,
            http: Http::default(),
        };
        let mut store = Store::new(self.engine.wasmtime(), state);
        store.limiter(|state| &mut state.limiter);
        store.set_hostcall_fuel(limits.host_call_bytes_max);
        store.set_epoch_deadline(1);
        store.epoch_deadline_callback(|context| {
            let limit = u64::from(context.data().environment.limits.compute_ms_max);
            if context.data().computing.tick() > limit {
                let text =
                    format!("computed for more than {limit} ms without waiting (limit compute_ms); wait for input");
                return Err(wasmtime::Error::msg(text));
            }
            Ok(UpdateDeadline::Yield(1))
        });
        store
    }
}
