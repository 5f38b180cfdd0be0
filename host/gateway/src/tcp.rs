//! The ports that apps listen on.
//!
//! An [`AppListener`] owns one port of one app: it binds it, accepts, bounds what is open and hands each connection to a
//! [`ConnectionHandler`]. A port that somebody else holds is no reason for a node to fail: the reason is kept in
//! [`ListenerState::Failed`] for operators to read, and binding is tried again until it succeeds.
//!
//! Invariant: at most `connections_max` connections are served at once, after [`AppListener::drain`] none is accepted, and after
//! [`AppListener::stop`] none is served.
//! Deliberately absent: any knowledge of the protocol spoken, and of how an app answers.

use std::io;
use std::net::{Shutdown as Direction, SocketAddr};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use recoil_base::{Shutdown, Tasks};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{Semaphore, watch};

/// Serves connections of one app.
#[async_trait]
pub trait ConnectionHandler: Send + Sync + 'static {
    /// Serve one connection to its end. Dropped in the middle when the node stops in a hurry; when it stops in order, `closing` is
    /// triggered first and the handler has the grace period to finish.
    async fn serve(&self, stream: TcpStream, peer: SocketAddr, closing: Shutdown);

    /// True if connections can be ended between two requests without harm: then `closing` is triggered when the port is drained, too, and
    /// nothing bounds the time that they take.
    fn ends_when_drained(&self) -> bool {
        false
    }
}

/// Serves a stream to its end; when `closing` is triggered, what reads from it comes to the end of the stream.
pub async fn end_reading<F: Future>(
    stream: TcpStream,
    closing: Shutdown,
    serve: impl FnOnce(TcpStream) -> F,
) -> F::Output {
    // A second handle on the socket, to end its reading side while the handler owns the stream.
    let reading = stream.as_fd().try_clone_to_owned().map(std::net::TcpStream::from);
    let mut serving = std::pin::pin!(serve(stream));
    tokio::select! {
        output = &mut serving => return output,
        () = closing.wait() => {}
    }
    if let Ok(reading) = reading {
        let _ = reading.shutdown(Direction::Read);
    }
    serving.await
}

/// How an app's port is served.
#[derive(Clone)]
pub struct ListenerOptions {
    /// Names the port in messages, such as `redis-server/redis`.
    pub name: String,
    /// What to bind; port 0 takes any free one.
    pub address: SocketAddr,
    /// Connections open at once; more are closed as soon as they are accepted.
    pub connections_max: usize,
    /// How long connections may go on after [`AppListener::stop`].
    pub grace: Duration,
    /// How long to wait before binding is tried again.
    pub retry: Duration,
    /// Told, in words and not each time, of connections that were closed because too many are open.
    pub refused: Arc<dyn Fn(&str) + Send + Sync>,
}

impl std::fmt::Debug for ListenerOptions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ListenerOptions")
            .field("name", &self.name)
            .field("address", &self.address)
            .finish_non_exhaustive()
    }
}

impl ListenerOptions {
    /// The defaults for a port: 10,000 connections, 2 s of grace, a try every second.
    pub fn new(name: impl Into<String>, address: SocketAddr) -> Self {
        ListenerOptions {
            name: name.into(),
            address,
            connections_max: 10_000,
            grace: Duration::from_secs(2),
            retry: Duration::from_secs(1),
            refused: Arc::new(|text| tracing::warn!("{text}")),
        }
    }
}

/// What a port is doing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ListenerState {
    /// Not tried yet.
    Starting,
    /// Accepting at this address.
    Bound(SocketAddr),
    /// Could not be bound; says which port, why and what to do. It is tried again.
    Failed(String),
    /// Closed for good.
    Stopped,
}

/// A port of an app. Dropping it without [`AppListener::stop`] leaves it to the shutdown signal it was started with.
#[derive(Debug)]
pub struct AppListener {
    tasks: Tasks,
    accepting: Shutdown,
    draining: Shutdown,
    closing: Shutdown,
    slots: Arc<Semaphore>,
    state: watch::Receiver<ListenerState>,
    options: ListenerOptions,
}

impl AppListener {
    /// Begin to bind and accept. When `shutdown` is triggered everything is dropped at once.
    pub fn start(options: ListenerOptions, handler: Arc<dyn ConnectionHandler>, shutdown: &Shutdown) -> Self {
        let tasks = Tasks::new(shutdown.child());
        let (set_state, state) = watch::channel(ListenerState::Starting);
        let connections_max = options.connections_max.min(Semaphore::MAX_PERMITS).min(u32::MAX as usize);
        let slots = Arc::new(Semaphore::new(connections_max));
        let listener = AppListener {
            options: ListenerOptions { connections_max, ..options },
            accepting: tasks.shutdown().child(),
            draining: tasks.shutdown().child(),
            closing: tasks.shutdown().child(),
            tasks,
            slots,
            state,
        };
        let acceptor = Acceptor {
            options: listener.options.clone(),
            handler,
            tasks: listener.tasks.clone(),
            draining: listener.draining.clone(),
            closing: listener.closing.clone(),
            slots: listener.slots.clone(),
            state: set_state,
        };
        let accepting = listener.accepting.clone();
        listener.tasks.spawn(async move {
            let state = acceptor.state.clone();
            tokio::select! {
                () = accepting.wait() => {}
                () = acceptor.run() => {}
            }
            state.send_replace(ListenerState::Stopped);
        });
        listener
    }

    /// What the port is doing now.
    pub fn state(&self) -> ListenerState {
        self.state.borrow().clone()
    }

    /// Changes of [`AppListener::state`].
    pub fn watch(&self) -> watch::Receiver<ListenerState> {
        self.state.clone()
    }

    /// Waits until the port accepts, and says where; none if it was stopped first.
    pub async fn wait_bound(&self) -> Option<SocketAddr> {
        let mut state = self.state.clone();
        let settled =
            state.wait_for(|state| matches!(state, ListenerState::Bound(_) | ListenerState::Stopped)).await.ok()?;
        match *settled {
            ListenerState::Bound(address) => Some(address),
            _ => None,
        }
    }

    /// Connections open now.
    pub fn connections(&self) -> usize {
        self.options.connections_max - self.slots.available_permits()
    }

    /// Stop accepting: the port is closed. Connections that are open go on until they end by themselves, or until [`AppListener::stop`].
    pub fn drain(&self) {
        self.accepting.trigger();
        self.draining.trigger();
    }

    /// Stop accepting, let connections come to their end within the grace period, drop what is left.
    pub async fn stop(&self) {
        self.drain();
        self.closing.trigger();
        // All slots are free once the last connection has ended.
        let all = self.options.connections_max as u32;
        let _ = tokio::time::timeout(self.options.grace, self.slots.acquire_many(all)).await;
        self.tasks.stop().await;
    }
}

struct Acceptor {
    options: ListenerOptions,
    handler: Arc<dyn ConnectionHandler>,
    tasks: Tasks,
    draining: Shutdown,
    closing: Shutdown,
    slots: Arc<Semaphore>,
    state: watch::Sender<ListenerState>,
}

impl Acceptor {
    async fn run(self) {
        let listener = self.bind().await;
        let mut refused = 0u64;
        loop {
            match listener.accept().await {
                Ok((stream, peer)) => {
                    if self.serve(stream, peer) {
                        refused = 0;
                    } else {
                        refused += 1;
                        if refused.is_power_of_two() {
                            let (name, limit) = (&self.options.name, self.options.connections_max);
                            (self.options.refused)(&format!(
                                "{name}: closed {refused} new connections in a row: as many as limit connections: {limit} are open"
                            ));
                        }
                    }
                }
                Err(error) if is_of_connection(&error) => {}
                Err(error) => {
                    // Out of file descriptors or memory: going on at once would only spin.
                    tracing::warn!("{}: cannot accept connections: {error}; trying again", self.options.name);
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
        }
    }

    async fn bind(&self) -> TcpListener {
        let mut reported = false;
        loop {
            match bind(self.options.address).and_then(|listener| Ok((listener.local_addr()?, listener))) {
                Ok((address, listener)) => {
                    self.state.send_replace(ListenerState::Bound(address));
                    return listener;
                }
                Err(error) => {
                    let text = bind_failure(&self.options.name, self.options.address, &error);
                    if !reported {
                        tracing::warn!("{text}");
                        reported = true;
                    }
                    self.state.send_replace(ListenerState::Failed(text));
                    tokio::time::sleep(self.options.retry).await;
                }
            }
        }
    }

    /// False when the connection was refused for want of a slot.
    fn serve(&self, stream: TcpStream, peer: SocketAddr) -> bool {
        let Ok(slot) = self.slots.clone().try_acquire_owned() else {
            return false;
        };
        let _ = stream.set_nodelay(true);
        let (handler, closing, grace) = (self.handler.clone(), self.closing.clone(), self.options.grace);
        let draining = self.draining.clone();
        self.tasks.spawn(async move {
            let _slot = slot;
            let ends = if handler.ends_when_drained() { draining } else { closing.clone() };
            let mut serving = handler.serve(stream, peer, ends);
            tokio::select! {
                () = &mut serving => return,
                () = closing.wait() => {}
            }
            let _ = tokio::time::timeout(grace, serving).await;
        });
        true
    }
}

/// Bind with address reuse, so that a restarted node is not kept off its port by connections in TIME_WAIT.
fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(1024)
}

/// Errors that concern the one connection that was about to be accepted.
fn is_of_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted)
}

fn bind_failure(name: &str, address: SocketAddr, error: &io::Error) -> String {
    let port = address.port();
    match error.kind() {
        io::ErrorKind::AddrInUse => format!(
            "{name} cannot listen on {address}: another program holds port {port} (`ss -ltnp 'sport = :{port}'` names it); stop it, or start \
             the node with another --port-offset. Trying again until the port is free"
        ),
        io::ErrorKind::PermissionDenied => format!(
            "{name} cannot listen on {address}: the system does not let this user have port {port}; start the node with a --port-offset \
             that leads above 1023. Trying again"
        ),
        io::ErrorKind::AddrNotAvailable => {
            format!(
                "{name} cannot listen on {address}: this machine has no such address; start the node with a --listen address that it has. Trying again"
            )
        }
        _ => format!("{name} cannot listen on {address}: {error}. Trying again"),
    }
}

#[cfg(test)]
mod tests;
