//! One computer of the simulated world: a disk, rows, a clock that may be wrong, and, while it runs, a node in a runtime of its own.
//!
//! The runtime is what makes crashes and freezes real: dropping it drops every task of the node at its last await, and not running it is
//! a process that the system has stopped, whose clock has jumped when it goes on.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use recoil_base::{Clock, Shutdown};
use recoil_node::simulation::Ground;
use recoil_node::{Node, NodeOptions, Shared};
use recoil_storage::simulation::{SimulatedData, SimulatedDisk};
use tokio::runtime::Runtime;
use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::network::{self, Net, Place, SimPeers};
use crate::plan::Plan;
use crate::trace::{self, note};
use crate::{chance, guest};

/// Wall time when the world begins, microseconds.
const EPOCH_US: u64 = 1_700_000_000_000_000;

thread_local! {
    /// The machine that is running.
    static RUNNING: std::cell::Cell<Place> = const { std::cell::Cell::new(0) };
}

/// Which machine is running, for who asks how long its disk takes.
pub(crate) fn running() -> Place {
    RUNNING.get()
}

/// What the world sees of a node's process.
#[derive(Default)]
pub(crate) struct Life {
    pub(crate) node: Option<Arc<Node>>,
    /// Why it has ended by itself.
    pub(crate) ended: Option<String>,
}

/// How a process ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// kill -9: what was written to the disk's cache stays.
    Killed,
    /// The computer loses power: unsynced writes may be lost.
    Unplugged,
}

/// What a stopped node's folder holds.
pub(crate) struct Backup {
    folder: Vec<(PathBuf, Vec<u8>)>,
    disk: SimulatedDisk,
    data: SimulatedData,
}

/// See the module's essay.
pub(crate) struct Machine {
    pub(crate) place: Place,
    address: SocketAddr,
    folder: PathBuf,
    /// How often it has been emptied for another node.
    wiped: u32,
    pub(crate) disk: SimulatedDisk,
    pub(crate) data: SimulatedData,
    /// How wrong its clock is, microseconds.
    pub(crate) skew_us: Arc<AtomicI64>,
    /// How long it has slept in all, milliseconds.
    slept_ms: Arc<AtomicU64>,
    pub(crate) life: Arc<Mutex<Life>>,
    runtime: Option<Running>,
    pub(crate) boots: u64,
    pub(crate) frozen_since: Option<u64>,
    /// Frozen with its steady clock: the machine sleeps, not the process alone.
    asleep: bool,
}

struct Running {
    runtime: Runtime,
    /// The runtime's time when the world's was `born_ms`.
    origin: Instant,
    born_ms: u64,
    stop: Option<oneshot::Sender<()>>,
}

impl Machine {
    pub(crate) fn new(place: Place, address: SocketAddr, folder: PathBuf) -> Self {
        Machine {
            place,
            address,
            folder,
            wiped: 0,
            disk: SimulatedDisk::default(),
            data: SimulatedData::default(),
            skew_us: Arc::default(),
            slept_ms: Arc::default(),
            life: Arc::default(),
            runtime: None,
            boots: 0,
            frozen_since: None,
            asleep: false,
        }
    }

    pub(crate) fn is_up(&self) -> bool {
        self.runtime.is_some()
    }

    /// The running node, once it has started.
    pub(crate) fn node(&self) -> Option<Arc<Node>> {
        self.life.lock().node.clone()
    }

    /// Boots a node that founds a cluster, joins the one of the nodes at `join`, or comes back to its own.
    pub(crate) fn boot(&mut self, net: &Net, plan: &Plan, shared: &Arc<Shared>, join: Vec<SocketAddr>) {
        assert!(self.runtime.is_none(), "a machine boots once at a time");
        self.boots += 1;
        note!("node {}  boots", self.place);
        #[allow(clippy::unwrap_used)] // the system gives a runtime or the run is over
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        self.life = Arc::default();
        let (skew, slept) = (self.skew_us.clone(), self.slept_ms.clone());
        let clock = Clock::with_wall(move || now_us().saturating_add_signed(skew.load(Ordering::Relaxed)))
            .sleeping(move || Duration::from_millis(slept.load(Ordering::Relaxed)));
        let mut options = NodeOptions::new(self.folder.clone(), self.address, shared.clone());
        options.join = join.into_iter().map(Into::into).collect();
        options.expect = plan.nodes as u32;
        options.partitions = plan.partitions;
        options.groups = plan.groups.clone();
        options.log = plan.log.clone();
        options.packages =
            vec![recoil_node::BundledPackage { name: guest::NAME, version: "0.1.0", archive: plan.archive }];
        let (net, place, boot, disk) = (net.clone(), self.place, self.boots, self.disk.clone());
        let peers: Arc<Mutex<Option<Arc<SimPeers>>>> = Arc::default();
        let (joined, told) = (peers.clone(), clock.clone());
        let ground = Ground {
            clock,
            disk: Arc::new(self.disk.clone()),
            data: self.data.clone(),
            address: self.address,
            network: Box::new(move |node, start, tasks| {
                let silent = Box::new(move || disk.is_off());
                let joining = SimPeers::join(&net, (place, boot), (node, start), tasks, told, silent);
                *joined.lock() = Some(joining.clone());
                joining.handle()
            }),
            door: Box::new(move |service| {
                if let Some(peers) = peers.lock().take() {
                    network::open(&peers, service);
                }
            }),
        };
        let (stop, stopped) = oneshot::channel();
        let (life, shared) = (self.life.clone(), shared.clone());
        let origin = runtime.block_on(async {
            #[allow(clippy::disallowed_methods)] // the world is not a node
            tokio::spawn(async move {
                options.shared = shared.beside();
                live(options, ground, life, stopped).await;
            });
            now()
        });
        self.runtime = Some(Running { runtime, origin, born_ms: trace::now_ms(), stop: Some(stop) });
    }

    /// Runs the node up to the world's time.
    pub(crate) fn run(&mut self) {
        let Some(running) = self.runtime.as_ref().filter(|_| self.frozen_since.is_none()) else { return };
        RUNNING.set(self.place);
        let until = running.origin + Duration::from_millis(trace::now_ms() - running.born_ms);
        running.runtime.block_on(async { tokio::time::sleep_until(until).await });
    }

    /// Runs a task in the node's runtime; it goes with the node.
    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        if let Some(running) = &self.runtime {
            running.runtime.spawn(task);
        }
    }

    /// The process is stopped by its system: it runs no more, and time goes on.
    pub(crate) fn freeze(&mut self, net: &Net) {
        note!("node {}  freezes", self.place);
        self.frozen_since = Some(trace::now_ms());
        net.set_frozen(self.place, true);
    }

    /// The machine sleeps: nothing runs, and its steady clock stands still.
    pub(crate) fn sleep(&mut self, net: &Net) {
        self.freeze(net);
        self.asleep = true;
    }

    /// It goes on where it was, later.
    pub(crate) fn thaw(&mut self, net: &Net) {
        let Some(since) = self.frozen_since.take() else { return };
        note!("node {}  goes on", self.place);
        net.set_frozen(self.place, false);
        let missed_ms = trace::now_ms() - since;
        let asleep = std::mem::take(&mut self.asleep);
        let Some(running) = &mut self.runtime else { return };
        if asleep {
            running.born_ms += missed_ms;
            self.slept_ms.fetch_add(missed_ms, Ordering::Relaxed);
        } else {
            RUNNING.set(self.place);
            running.runtime.block_on(async { tokio::time::advance(Duration::from_millis(missed_ms)).await });
        }
    }

    /// True if the node has been asked to end.
    pub(crate) fn is_stopping(&self) -> bool {
        self.runtime.as_ref().is_some_and(|running| running.stop.is_none())
    }

    /// Asks the node to end in order.
    pub(crate) fn ask_to_stop(&mut self) {
        note!("node {}  is asked to stop", self.place);
        if let Some(stop) = self.runtime.as_mut().and_then(|running| running.stop.take()) {
            let _ = stop.send(());
        }
    }

    /// Ends the process, whatever it is doing.
    pub(crate) fn end(&mut self, net: &Net, end: End) {
        let Some(running) = self.runtime.take() else { return };
        note!("node {}  ends: {end:?}", self.place);
        (self.frozen_since, self.asleep) = (None, false);
        net.set_frozen(self.place, false);
        let left = match end {
            End::Killed if !self.disk.is_off() => self.disk.copy(),
            _ => {
                self.disk.lose_power();
                self.disk.crash(&mut chance::fork())
            }
        };
        // What destructors would still write reaches nothing.
        self.disk.lose_power();
        self.data.lose_power();
        self.data = self.data.crash(&mut chance::fork());
        net.remove(self.place, end == End::Killed);
        drop(running);
        self.disk = left;
        self.life = Arc::default();
    }

    /// Makes the stopped machine an empty one, for a new node at the same address.
    pub(crate) fn wipe(&mut self) {
        self.wiped += 1;
        self.folder.set_extension(format!("{}", self.wiped));
        (self.disk, self.data) = (SimulatedDisk::default(), SimulatedData::default());
    }

    /// A copy of what the stopped machine holds.
    pub(crate) fn backup(&self) -> Backup {
        let files = std::fs::read_dir(&self.folder).into_iter().flatten().flatten();
        let folder = files.filter_map(|file| Some((file.path(), std::fs::read(file.path()).ok()?))).collect();
        Backup { folder, disk: self.disk.copy(), data: self.data.copy() }
    }

    /// Puts a copy in the place of what the stopped machine holds.
    pub(crate) fn restore(&mut self, backup: &Backup) {
        for (path, content) in &backup.folder {
            #[allow(clippy::unwrap_used)] // a folder of the test
            std::fs::write(path, content).unwrap();
        }
        self.disk = backup.disk.copy();
        self.data = backup.data.copy();
    }
}

/// The true wall time, microseconds since the Unix epoch.
pub(crate) fn now_us() -> u64 {
    EPOCH_US + trace::now_ms() * 1000
}

#[allow(clippy::disallowed_methods)] // the runtime's clock is the simulated one
fn now() -> Instant {
    Instant::now()
}

/// A process: from its start to its end by itself.
async fn live(options: NodeOptions, ground: Ground, life: Arc<Mutex<Life>>, stopped: oneshot::Receiver<()>) {
    let why = match Node::start_simulated(options, ground, Shutdown::new()).await {
        Err(error) => error.to_string(),
        Ok(node) => {
            let node = Arc::new(node);
            life.lock().node = Some(node.clone());
            let failed = tokio::select! {
                why = node.failed() => Some(why),
                Ok(()) = stopped => None,
            };
            life.lock().node = None;
            if let Some(node) = Arc::into_inner(node) {
                node.stop().await;
            }
            failed.unwrap_or_else(|| "stopped".into())
        }
    };
    life.lock().ended = Some(why);
}
