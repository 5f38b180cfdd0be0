//! Runs a package's component as the host would, on partitions in memory, without a cluster: for the package's own tests.
//!
//! ```no_run
//! let harness = recoil_testing::Harness::load_file("target/wasm32-wasip2/guest/counter.wasm", 4).unwrap();
//! assert_eq!(&harness.call(b"some key", b"incr").unwrap()[..], b"1");
//! let server = harness.serve(); // the component's own protocol, on a port of the loopback interface
//! let client = std::net::TcpStream::connect(server.address()).unwrap();
//! # drop(client);
//! ```
//!
//! The component runs on the same engine, with the same limits, transactions, timers and refusals as in a cluster. What differs:
//! a commit is immediate and cannot be lost, time stands still until [`Harness::advance`], and timers fire when
//! [`Harness::fire_due_timers`] is called. Deliberately absent: groups, so `transact` never meets two of them.

mod partitions;

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use recoil_base::{Clock, Digest, Shutdown, Tasks};
use recoil_engine::{
    AppCode, AppLog, AppLogOptions, CallBody, Engine, EngineOptions, Environment, Limits, LogLine, Mode,
};
use recoil_package::Permission;
use tokio::net::TcpListener;

pub use recoil_engine::{CallError, Roles};

use crate::partitions::Partitions;

/// Instances of all handlers and connections of one harness.
const INSTANCES_MAX: u32 = 256;
/// Where a harness' time starts: 2024-01-01, microseconds since the Unix epoch.
const START_US: u64 = 1_704_067_200_000_000;

/// Why a component cannot be tested.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The file.
    #[error("cannot read the component {path}: {source}; build it first")]
    File {
        /// Which.
        path: String,
        /// Why.
        source: std::io::Error,
    },
    /// The component, as the host would refuse it.
    #[error("{0}")]
    Engine(#[from] recoil_engine::EngineError),
}

/// A component on in-memory partitions.
pub struct Harness {
    runtime: tokio::runtime::Runtime,
    code: Arc<AppCode>,
    environment: Environment,
    partitions: Arc<Partitions>,
    time_us: Arc<AtomicU64>,
}

impl Harness {
    /// Loads a component from a file, on `partitions` partitions (at least one).
    pub fn load_file(path: impl AsRef<Path>, partitions: u32) -> Result<Self, LoadError> {
        let path = path.as_ref();
        let component =
            std::fs::read(path).map_err(|source| LoadError::File { path: path.display().to_string(), source })?;
        Self::load(&component, partitions)
    }

    /// Loads a component from its bytes, with every permission, with or without a manifest inside.
    pub fn load(component: &[u8], partitions: u32) -> Result<Self, LoadError> {
        let engine = Engine::new(EngineOptions { instances_max: INSTANCES_MAX, ..EngineOptions::default() })?;
        let code = engine.load(Digest::of(component), component, &Permission::ALL.into())?;
        let time_us = Arc::new(AtomicU64::new(START_US));
        let wall = time_us.clone();
        let clock = Clock::with_wall(move || wall.load(Ordering::Relaxed));
        let log = AppLog::new(clock.clone(), AppLogOptions::default());
        let environment =
            Environment { app: "test".into(), log, limits: Limits::default(), settings: Default::default() };
        let partitions = Arc::new(Partitions::new(code.clone(), environment.clone(), clock, partitions.max(1)));
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .expect("a runtime: the system has threads left");
        Ok(Harness { runtime, code, environment, partitions, time_us })
    }

    /// What the component exports.
    pub fn roles(&self) -> Roles {
        self.code.roles()
    }

    /// Runs the handler of the partition that owns `key`, in a transaction that may write.
    pub fn call(&self, key: &[u8], request: &[u8]) -> Result<Bytes, CallError> {
        self.partitions.call(self.partitions.owner(key), Mode::Write, &handle(request))
    }

    /// Runs the handler of the partition that owns `key`, in a transaction that may only read.
    pub fn read(&self, key: &[u8], request: &[u8]) -> Result<Bytes, CallError> {
        self.partitions.call(self.partitions.owner(key), Mode::Read, &handle(request))
    }

    /// A value that the partition that owns `key` holds under that very key.
    pub fn get(&self, key: &[u8]) -> Option<Bytes> {
        self.partitions.get(self.partitions.owner(key), key)
    }

    /// Sets a value behind the handler's back, on the partition that owns `key`.
    pub fn put(&self, key: &[u8], value: &[u8]) {
        self.partitions.put(self.partitions.owner(key), key, value);
    }

    /// Lets time pass.
    pub fn advance(&self, time: Duration) {
        self.time_us.fetch_add(time.as_micros() as u64, Ordering::Relaxed);
    }

    /// The present time, microseconds since the Unix epoch.
    pub fn now_us(&self) -> u64 {
        self.time_us.load(Ordering::Relaxed)
    }

    /// Fires every timer that is due, once; answers how many there were and the first error.
    pub fn fire_due_timers(&self) -> Result<usize, CallError> {
        self.partitions.fire_due_timers()
    }

    /// The messages published since this was last called: topic and message.
    pub fn take_published(&self) -> Vec<(Bytes, Bytes)> {
        self.partitions.take_published()
    }

    /// The lines in the component's log.
    pub fn log(&self) -> Vec<LogLine> {
        self.environment.log.since(0, usize::MAX).0
    }

    /// Serves the component's own protocol on a free port of the loopback interface, until the answer is dropped.
    /// Panics if the component has no listener, or there is no free port.
    pub fn serve(&self) -> Server<'_> {
        assert!(self.roles().tcp_listener, "the component does not export recoil:plugin/tcp-listener");
        let listener = self.runtime.block_on(TcpListener::bind("127.0.0.1:0")).expect("a free port");
        let address = listener.local_addr().expect("a bound socket has an address");
        let tasks = Tasks::new(Shutdown::new());
        let (code, environment, router) = (self.code.clone(), self.environment.clone(), self.partitions.clone());
        let (guard, accepting) = (self.runtime.enter(), tasks.clone());
        tasks.spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (code, environment, router) = (code.clone(), environment.clone(), router.clone());
                // A failure is in the log already.
                accepting.spawn(async move { drop(code.serve(stream, environment, router).await) });
            }
        });
        drop(guard);
        Server { harness: self, address, tasks }
    }
}

fn handle(request: &[u8]) -> CallBody {
    CallBody::Handle(Bytes::copy_from_slice(request))
}

/// A listener being served.
pub struct Server<'a> {
    harness: &'a Harness,
    address: SocketAddr,
    tasks: Tasks,
}

impl Server<'_> {
    /// Where to connect.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Server<'_> {
    fn drop(&mut self) {
        self.harness.runtime.block_on(self.tasks.stop());
    }
}
