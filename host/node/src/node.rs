//! Starting and ending a node.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

use futures::future::BoxFuture;
use parking_lot::Mutex;
use recoil_base::{Clock, Endpoint, GroupId, NodeId, Runtime, Shutdown, Tasks, random, task};
use recoil_cluster::meta::{CAPACITY_DEFAULT, LEVELS, Levels, Locality, removed};
use recoil_cluster::peer::{Excluded, WIRE, WireVersions};
use recoil_cluster::{EvaluationPool, Host, HostParts, MetaState, Peers, Router, TcpPeers, Topics};
use recoil_consensus::{Applier, Group, GroupContext, GroupOptions, Locals, LogKeeper, MachineKind, Pulse, Versions};
use recoil_engine::{Engine, EngineOptions};
use recoil_gateway::api::{AdminError, AppSummary, InstallRequest, Status};
use recoil_registry_server::Registry;
use recoil_storage::{Data, Folder, Log, LogOptions};
use tokio::sync::{Notify, Semaphore, watch};

use crate::addresses::{self, Addresses};
use crate::apps::Apps;
use crate::departures::{self, Departures};
use crate::leaders::Leaders;
use crate::meta_machine::{MetaFollower, MetaMachine, MetaSenders};
use crate::packages::{self, PackageStore, Packages};
use crate::voters::Silence;
use crate::{
    accept, follow, founding, introductions, leaders, leadership, membership, moves, registry, repair, scheduler,
};

/// Replicas of a partition, where there are as many nodes.
const REPLICATION: u32 = 3;
/// How long the calls of a node's earlier start are remembered, which might still be on their way.
const ORIGINS_KEPT: Duration = Duration::from_secs(600);
/// How often dead copies are looked at.
const PRUNE_EVERY: Duration = Duration::from_secs(60);
/// Between two parts of forgetting origins, so that it takes no more than a part of a thread.
const FORGET_PAUSE: Duration = Duration::from_millis(20);
/// Handler and listener instances of all nodes that share an engine.
const INSTANCES_MAX: u32 = 4000;
/// Connections of apps on all nodes that share an engine: each has an instance, and handlers must find room beside them, however many
/// clients come.
const CONNECTIONS_MAX: usize = INSTANCES_MAX as usize / 4 * 3;
/// Ids that a joining node draws: already the second one would have to be that of another node by chance.
const IDS_DRAWN_MAX: u32 = 3;
/// Handler instances that a node keeps for partitions. Those that partitions share are not among them, and are made when a call is there:
/// what connections and these leave is theirs.
const HANDLERS_MAX: usize = INSTANCES_MAX as usize / 5;

/// A package that comes with the program.
#[derive(Clone, Copy, Debug)]
pub struct BundledPackage {
    /// What it is installed by.
    pub name: &'static str,
    /// Its version.
    pub version: &'static str,
    /// The component with its manifest inside, or a WIT package.
    pub archive: &'static [u8],
}

/// How a node is started.
#[derive(Clone)]
pub struct NodeOptions {
    /// Everything the node keeps.
    pub data_dir: PathBuf,
    /// Where it listens for peers and operators; port 0 takes a free one.
    pub listen: Endpoint,
    /// Where peers and operators reach it, if that is not where it listens; with port 0, at the port where it listens.
    pub advertise: Option<Endpoint>,
    /// Nodes of its cluster. With an empty folder it joins theirs; if it is itself the first of them and no other has a cluster, it founds
    /// one. A node that comes back finds the other members with their help.
    pub join: Vec<Endpoint>,
    /// With an empty folder, found a cluster whoever else may be there.
    pub new_cluster: bool,
    /// A new cluster makes its partition map when this many members are there.
    pub expect: u32,
    /// Partitions of a new cluster.
    pub partitions: u32,
    /// Replicas of a partition of a new cluster.
    pub replication: u32,
    /// Added to the ports of apps.
    pub port_offset: u16,
    /// Where the node is, from the largest place to the smallest.
    pub locality: Locality,
    /// How much the node should carry, relative to others.
    pub capacity: u32,
    /// Timing of its groups.
    pub groups: GroupOptions,
    /// How its log uses space.
    pub log: LogOptions,
    /// What nodes of one process share.
    pub shared: Arc<Shared>,
    /// Packages that come with the program, to be found in the cluster's registry.
    pub packages: Vec<BundledPackage>,
    /// What pushing to the cluster's registry needs; without it, a client on the node's machine.
    pub registry_token: Option<String>,
    /// A package whose scheduler makes the partition map, if this node does; without it, or a good answer of it, the built-in one does.
    pub scheduler: Option<PathBuf>,
    /// What it tells others of its version. Other values than the default are for tests of upgrades: the node still does what
    /// this version does.
    pub compatibility: Compatibility,
}

/// What a version of Recoil says of itself to the other nodes of a cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Compatibility {
    /// The wire versions that it speaks.
    pub wire: WireVersions,
    /// The feature levels that it understands.
    pub levels: Levels,
}

impl Default for Compatibility {
    fn default() -> Self {
        Compatibility { wire: WIRE, levels: LEVELS }
    }
}

impl NodeOptions {
    /// A node that founds a cluster of its own, with 265 partitions.
    pub fn new(data_dir: PathBuf, listen: SocketAddr, shared: Arc<Shared>) -> Self {
        NodeOptions {
            data_dir,
            listen: listen.into(),
            advertise: None,
            join: vec![],
            new_cluster: false,
            expect: 1,
            partitions: 265,
            replication: REPLICATION,
            port_offset: 0,
            locality: Locality::default(),
            capacity: CAPACITY_DEFAULT,
            groups: GroupOptions::default(),
            log: LogOptions::default(),
            shared,
            packages: vec![],
            registry_token: None,
            scheduler: None,
            compatibility: Compatibility::default(),
        }
    }
}

/// Why a node does not start, or ended.
#[derive(Debug, Clone, thiserror::Error)]
pub enum NodeError {
    /// The address.
    #[error("cannot listen on {address}: {why}. End what listens there, or choose another address")]
    Listen {
        /// Where.
        address: Endpoint,
        /// Why not.
        why: String,
    },
    /// Nobody could reach the node.
    #[error("{0}")]
    Advertise(String),
    /// The data folder.
    #[error("{0}")]
    Folder(String),
    /// The log or the data.
    #[error("{0}")]
    Storage(String),
    /// The cluster.
    #[error("{0}")]
    Cluster(String),
    /// The node had drawn the id of another one, and has drawn again: start it once more.
    #[error("this node's id is that of another node, again and again: start it with an empty data folder")]
    IdTaken,
    /// The WebAssembly engine.
    #[error("cannot start the WebAssembly engine: {0}")]
    Engine(String),
    /// The package that is to place partitions.
    #[error(
        "cannot use the scheduler in {}: {why}. Name a package that exports recoil:plugin/scheduler, as `recoilctl build` makes it, or start \
         without --scheduler", file.display()
    )]
    Scheduler {
        /// Its file.
        file: PathBuf,
        /// Why not.
        why: String,
    },
}

/// How the nodes of one process share what is the process's.
#[derive(Clone, Debug, Default)]
pub struct SharedOptions {
    /// Where compiled packages are kept; nowhere if none.
    pub code_cache: Option<PathBuf>,
    /// Evaluation threads; as many as processors, at most 4, if none.
    pub eval_threads: Option<usize>,
}

/// The WebAssembly engine and the evaluation threads, which nodes in one process share.
pub struct Shared {
    pub(crate) engine: Arc<Engine>,
    pub(crate) pool: EvaluationPool,
    pub(crate) connections: Arc<Semaphore>,
}

impl Shared {
    /// Starts them.
    pub fn new(options: SharedOptions) -> Result<Arc<Self>, NodeError> {
        let engine_options =
            EngineOptions { code_cache: options.code_cache, instances_max: INSTANCES_MAX, ..Default::default() };
        let engine = Engine::new(engine_options).map_err(|error| NodeError::Engine(error.to_string()))?;
        let threads = options
            .eval_threads
            .unwrap_or_else(|| std::thread::available_parallelism().map_or(2, |count| count.get().min(4)));
        let connections = Arc::new(Semaphore::new(CONNECTIONS_MAX));
        Ok(Arc::new(Shared { engine, pool: EvaluationPool::start(threads), connections }))
    }

    pub(crate) fn engine(&self) -> &Arc<Engine> {
        &self.engine
    }

    /// The connections that apps may yet have.
    pub(crate) fn connections(&self) -> &Arc<Semaphore> {
        &self.connections
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.pool.stop();
    }
}

/// What a node says once it knows the partition map.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hosting {
    /// Partitions of the cluster.
    pub partitions: u32,
    /// Of which this node holds a replica; none, if the map was made before it joined.
    pub held: u32,
    /// Founded the cluster just now, rather than joined or came back to one.
    pub bootstrapped: bool,
}

/// What a cluster was founded with, as a node knows it that has been taken in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Admitted {
    /// The cluster.
    pub cluster: String,
    /// Founded by this start of the node.
    pub bootstrapped: bool,
    /// Members that had to be there before the map was made.
    pub expect: u32,
    /// Partitions.
    pub partitions: u32,
    /// The partitions have been placed.
    pub is_placed: bool,
}

/// A node's insides, shared by its loops.
pub(crate) struct Parts {
    pub(crate) node: NodeId,
    /// These parts, for what an operator asks for and outlives the question.
    pub(crate) this: Weak<Parts>,
    /// Where others reach it. It changes when an advertised name comes to stand for something else.
    address: Mutex<SocketAddr>,
    /// Where it listens on its machine.
    pub(crate) bound: SocketAddr,
    /// This start: the incarnation and a random number.
    pub(crate) start: (u64, u64),
    pub(crate) options: NodeOptions,
    pub(crate) shared: Arc<Shared>,
    pub(crate) clock: Clock,
    pub(crate) tasks: Tasks,
    pub(crate) folder: Folder,
    pub(crate) context: GroupContext,
    pub(crate) peers: Peers,
    pub(crate) topics: Topics,
    pub(crate) host: Arc<Host>,
    pub(crate) router: Router,
    pub(crate) states: watch::Receiver<Arc<MetaState>>,
    pub(crate) apps: Apps,
    pub(crate) packages: Packages,
    pub(crate) silence: Silence,
    pub(crate) registry: Registry,
    pub(crate) look_again: Notify,
    /// Taken while the rows of apps are counted.
    pub(crate) counting: Arc<Semaphore>,
    /// Groups whose replicas here are being brought back from other nodes.
    pub(crate) repairing: Mutex<BTreeSet<GroupId>>,
    /// What the moves wait for that this node drives.
    pub(crate) moves: moves::Progress,
    /// What the meta leader remembers of members that leave.
    pub(crate) departures: Departures,
    /// Who leads groups that have no replica here.
    pub(crate) leaders: Leaders,
    /// Its streams, where they are TCP's.
    streams: OnceLock<TcpPeers>,
    meta: Mutex<Option<Arc<Group>>>,
    meta_senders: MetaSenders,
    failure: watch::Sender<Option<String>>,
    /// The node ends because it was removed from the cluster.
    removed: AtomicBool,
    bootstrapped: Mutex<bool>,
}

impl Parts {
    /// Where others reach this node.
    pub(crate) fn address(&self) -> SocketAddr {
        *self.address.lock()
    }

    /// Others reach this node elsewhere from now on; it says so to whomever it meets, and has yet to tell the cluster.
    pub(crate) fn move_to(&self, address: SocketAddr) {
        *self.address.lock() = address;
        if let Some(streams) = self.streams.get() {
            streams.set_address(address);
        }
    }

    pub(crate) fn meta(&self) -> Option<Arc<Group>> {
        self.meta.lock().clone()
    }

    /// True once the cluster has taken in this start of the node, and the node has applied everything it agreed on before.
    pub(crate) fn is_admitted(&self, state: &MetaState) -> bool {
        state.members.get(&self.node).is_some_and(|member| (member.incarnation, member.start) == self.start)
    }

    /// Returns when the node cannot go on, with the reason.
    pub(crate) async fn failed(&self) -> String {
        let mut failure = self.failure.subscribe();
        loop {
            if let Some(why) = failure.borrow_and_update().clone() {
                return why;
            }
            if failure.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }

    /// Ends the node, which is of the cluster no more.
    pub(crate) fn end_removed(&self, why: String) {
        self.removed.store(true, Ordering::Release);
        self.failure.send_if_modified(|failure| failure.replace(why).is_none());
    }

    /// Opens the meta group's replica; its machine publishes the stored state.
    async fn open_meta(self: &Arc<Self>, machine: MetaMachine) -> Result<(), NodeError> {
        let applied = Arc::new(|_: &BTreeSet<recoil_consensus::PartitionRef>| {});
        let kind = MachineKind::Custom(Box::new(machine));
        let opened = Group::open(&self.context, GroupId::META, kind, applied).await;
        let meta = opened.map_err(|error| NodeError::Storage(error.to_string()))?;
        let (watching, watched) = (self.clone(), meta.clone());
        self.tasks.spawn(async move {
            let mut leadership = watched.leadership();
            loop {
                tokio::select! {
                    why = watched.failed() => return watching.fail(why.to_string()),
                    // The end of the replica.
                    changed = leadership.changed() => if changed.is_err() { return },
                }
            }
        });
        *self.meta.lock() = Some(meta);
        Ok(())
    }

    /// Closes the meta group's replica and opens it again.
    pub(crate) async fn reopen_meta(self: &Arc<Self>) -> Result<(), NodeError> {
        self.close_meta().await?;
        self.open_meta_again().await
    }

    /// Closes the meta group's replica, to be opened again.
    pub(crate) async fn close_meta(&self) -> Result<(), NodeError> {
        let closed = self.meta.lock().take();
        if let Some(meta) = closed {
            // So that the state that is published does not go back.
            meta.flush().await.map_err(|error| NodeError::Storage(error.to_string()))?;
            meta.close().await;
        }
        Ok(())
    }

    /// Opens the meta group's replica, which was open before.
    pub(crate) async fn open_meta_again(self: &Arc<Self>) -> Result<(), NodeError> {
        self.open_meta(MetaMachine::again(self.meta_senders.clone())).await
    }

    pub(crate) fn fail(&self, why: String) {
        tracing::error!(%why, "the node cannot go on");
        self.failure.send_if_modified(|failure| {
            let first = failure.is_none();
            failure.get_or_insert(why);
            first
        });
    }
}

/// A running node. Dropped without [`Node::stop`], it goes on until its shutdown signal.
pub struct Node {
    pub(crate) parts: Arc<Parts>,
}

/// What a node keeps.
pub(crate) struct Storage {
    pub(crate) folder: Folder,
    pub(crate) log: Log,
    pub(crate) data: Data,
    pub(crate) locals: Locals,
    pub(crate) packages: Arc<PackageStore>,
}

/// Opens the store of packages in a node's folder.
pub(crate) fn open_packages(folder: &Folder) -> Result<Arc<PackageStore>, NodeError> {
    PackageStore::open(folder.path().join("packages")).map_err(|error| NodeError::Folder(error.to_string()))
}

fn open_storage(path: &std::path::Path, log: LogOptions) -> Result<Storage, NodeError> {
    let folder = Folder::open(path).map_err(|error| NodeError::Folder(error.to_string()))?;
    let storage = |error: &dyn std::fmt::Display| NodeError::Storage(error.to_string());
    let log = Log::open(&folder.log_dir(), log).map_err(|error| storage(&error))?;
    folder.raise(&log).map_err(|error| NodeError::Folder(error.to_string()))?;
    let data = Data::open(&folder.data_dir()).map_err(|error| storage(&error))?;
    let locals = Locals::open(data.clone()).map_err(|error| storage(&error))?;
    sweep(&locals).map_err(|error| storage(&error))?;
    let packages = open_packages(&folder)?;
    Ok(Storage { folder, log, data, locals, packages })
}

/// Drops the copies of partitions that a crash has left without an owner.
pub(crate) fn sweep(locals: &Locals) -> Result<(), recoil_storage::DataError> {
    let dropped = locals.sweep()?;
    if dropped > 0 {
        tracing::info!(dropped, "copies of partitions that an earlier start left unfinished were dropped");
    }
    Ok(())
}

/// Puts a node's parts together, on whatever storage, clock and network.
pub(crate) fn assemble(
    options: NodeOptions,
    storage: Storage,
    clock: Clock,
    tasks: Tasks,
    peers: Peers,
    addresses: Addresses,
    start: (u64, u64),
) -> (Arc<Parts>, MetaMachine) {
    let (machine, MetaFollower { states, failed, senders }) = MetaMachine::new();
    let node = storage.folder.node_id();
    let topics = Topics::new(peers.clone());
    let versions = Versions::default();
    let context = GroupContext {
        node,
        clock: clock.clone(),
        keeper: LogKeeper::start(&tasks, storage.log.clone()),
        log: storage.log,
        data: storage.data.clone(),
        locals: storage.locals.clone(),
        versions: versions.clone(),
        applier: Applier::start(node),
        transport: Arc::new(peers.clone()),
        tasks: tasks.clone(),
        pulse: Pulse::start(&tasks, options.groups.heartbeat),
        options: options.groups.clone(),
    };
    let host = Host::new(HostParts {
        node,
        clock: peers.clocks().bounded(),
        data: storage.data,
        locals: storage.locals,
        versions,
        pool: options.shared.pool.clone(),
        runtime: Runtime::current(),
        topics: topics.clone(),
        instances_max: HANDLERS_MAX,
    });
    let router = Router::new(host.clone(), peers.clone(), topics.clone(), clock.clone(), start.0);
    let parts = Arc::new_cyclic(|weak| Parts {
        node,
        this: weak.clone(),
        address: Mutex::new(addresses.advertised),
        bound: addresses.bound,
        start,
        shared: options.shared.clone(),
        registry: registry::open(weak.clone(), &options),
        options,
        clock,
        tasks,
        folder: storage.folder,
        context,
        peers,
        topics,
        host,
        router,
        states,
        apps: Apps::default(),
        packages: Packages::new(storage.packages),
        silence: Silence::default(),
        look_again: Notify::new(),
        counting: Arc::new(Semaphore::new(1)),
        repairing: Mutex::default(),
        moves: moves::Progress::default(),
        departures: Departures::default(),
        leaders: Leaders::default(),
        streams: OnceLock::new(),
        meta: Mutex::new(None),
        meta_senders: senders,
        failure: watch::channel(None).0,
        removed: AtomicBool::new(false),
        bootstrapped: Mutex::new(false),
    });
    parts.tasks.spawn(end_with_meta(parts.clone(), failed));
    (parts, machine)
}

/// Ends the node when the meta group's machine cannot go on.
async fn end_with_meta(parts: Arc<Parts>, mut failed: watch::Receiver<Option<String>>) {
    if let Ok(why) = failed.wait_for(Option::is_some).await.map(|why| why.clone().unwrap_or_default()) {
        parts.fail(why);
    }
}

/// What waits answers a boxed future, so that a node's code is generated in this crate: an `async fn` is compiled by whoever awaits it,
/// which would be every program and test again.
impl Node {
    /// Starts a node: opens its folder, listens, finds its cluster. Returns once it is a member; serving follows by itself.
    pub fn start(options: NodeOptions, shutdown: Shutdown) -> BoxFuture<'static, Result<Self, NodeError>> {
        Box::pin(async move {
            for _ in 1..IDS_DRAWN_MAX {
                match Self::start_once(options.clone(), shutdown.clone()).await {
                    Err(NodeError::IdTaken) => {}
                    started => return started,
                }
            }
            Self::start_once(options, shutdown).await
        })
    }

    fn start_once(options: NodeOptions, shutdown: Shutdown) -> BoxFuture<'static, Result<Self, NodeError>> {
        Box::pin(async move {
            addresses::check(&options)?;
            let (path, log) = (options.data_dir.clone(), options.log.clone());
            let opened = task::spawn_blocking(move || open_storage(&path, log)).await;
            let storage = opened.map_err(|error| NodeError::Storage(error.to_string()))??;
            let (clock, tasks, node) = (Clock::system(), Tasks::new(shutdown.child()), storage.folder.node_id());
            let (listener, addresses) = addresses::listen(&options, &clock).await?;
            let start = (storage.folder.incarnation(), u64::from_le_bytes(random::array()));
            let streams = TcpPeers::new(node, start, addresses.advertised, clock.clone(), tasks.clone());
            streams.set_wire(options.compatibility.wire);
            let peers = Peers::new(Arc::new(streams.clone()));
            let (parts, machine) = assemble(options, storage, clock, tasks, peers, addresses, start);
            let (refused, refusal) = (parts.clone(), streams.excluded());
            parts.tasks.spawn(async move {
                match refusal.await {
                    Excluded { why, is_removed: true } => refused.end_removed(why),
                    Excluded { why, is_removed: false } => refused.fail(why),
                }
            });
            let _ = parts.streams.set(streams.clone());
            let open = |parts: &Arc<Parts>| parts.tasks.spawn(accept::run(listener, streams, parts.clone()));
            Self::run(parts, machine, open).await
        })
    }

    /// Starts what [`assemble`] has put together; `open` lets peers in.
    pub(crate) async fn run(
        parts: Arc<Parts>,
        machine: MetaMachine,
        open: impl FnOnce(&Arc<Parts>),
    ) -> Result<Self, NodeError> {
        match Self::begin(&parts, machine, open).await {
            Ok(()) => Ok(Node { parts }),
            Err(error) => {
                Node { parts }.stop().await;
                Err(error)
            }
        }
    }

    async fn begin(parts: &Arc<Parts>, machine: MetaMachine, open: impl FnOnce(&Arc<Parts>)) -> Result<(), NodeError> {
        let scheduler = match &parts.options.scheduler {
            Some(file) => Some(scheduler::load(&parts.shared, file).await?),
            None => None,
        };
        let is_back = parts.folder.cluster_id().is_some();
        if let Some(cluster) = parts.folder.cluster_id() {
            parts.peers.set_cluster(cluster.iter().map(|byte| format!("{byte:02x}")).collect());
            repair::meta(parts).await?;
        }
        // The stored state is published by the machine's loading, so peers are known before the group speaks.
        parts.open_meta(machine).await?;
        if parts.states.borrow().is_removed(parts.node) {
            departures::end(parts).await;
            return Err(NodeError::Cluster(removed(parts.node)));
        }
        // Before anybody is let in: an old copy of a data folder must not be the first to say which start is the newest.
        follow::know_members(parts, &parts.states.borrow().clone());
        open(parts);
        let new = founding::find_cluster(parts).await?;
        *parts.bootstrapped.lock() = new;

        parts.tasks.spawn(follow::run(parts.clone()));
        if !is_back {
            parts.tasks.spawn(introductions::run(parts.clone()));
        }
        parts.tasks.spawn(membership::run_chores(parts.clone(), scheduler));
        parts.tasks.spawn(leadership::run(parts.clone()));
        parts.tasks.spawn(leaders::follow(parts.clone()));
        parts.tasks.spawn(addresses::follow(parts.clone()));
        parts.tasks.spawn(moves::fetch_lacking(parts.clone()));
        parts.tasks.spawn(parts.host.clone().run_timers());
        parts.tasks.spawn(parts.router.clone().run(parts.tasks.clone()));
        let registering = parts.clone();
        parts.tasks.spawn(async move {
            if let Err(why) = membership::register(&registering).await {
                registering.fail(why);
            }
        });
        let watching = parts.clone();
        parts.tasks.spawn(async move {
            let (log, data) = (watching.context.log.failed(), watching.context.data.failed());
            let (what, why) = tokio::select! {
                why = log => ("log", why),
                why = data => ("data", why),
            };
            watching
                .fail(format!("the {what} can no longer be written, so this node takes part in nothing more: {why}"));
        });
        parts.tasks.spawn(prune(parts.clone()));
        parts.tasks.spawn(packages::sweep(parts.clone()));
        parts.tasks.spawn(registry::collect_regularly(parts.clone()));
        Ok(())
    }

    /// The node's id.
    pub fn id(&self) -> NodeId {
        self.parts.node
    }

    /// Where peers and operators reach it.
    pub fn address(&self) -> SocketAddr {
        self.parts.address()
    }

    /// Returns once the cluster has taken in this start of the node.
    pub fn wait_admitted(&self) -> BoxFuture<'_, Admitted> {
        Box::pin(async move {
            let mut states = self.parts.states.clone();
            loop {
                let state = states.borrow_and_update().clone();
                if self.parts.is_admitted(&state) {
                    return Admitted {
                        cluster: state.header.cluster.clone(),
                        bootstrapped: *self.parts.bootstrapped.lock(),
                        expect: state.header.expect,
                        partitions: state.header.partitions,
                        is_placed: !state.keyspaces.is_empty(),
                    };
                }
                if states.changed().await.is_err() {
                    std::future::pending::<()>().await;
                }
            }
        })
    }

    /// Returns once the cluster has taken in this start of the node, and the node has the partition map.
    pub fn wait_hosting(&self) -> BoxFuture<'_, Hosting> {
        Box::pin(async move {
            let mut states = self.parts.states.clone();
            loop {
                let state = states.borrow_and_update().clone();
                if let Some((_, keyspace)) = state.default_keyspace().filter(|_| self.parts.is_admitted(&state)) {
                    let here = state.groups.iter().filter(|(_, record)| record.members.contains(&self.parts.node));
                    return Hosting {
                        partitions: keyspace.partitions.len() as u32,
                        held: here.map(|(group, _)| state.partition_count(*group)).sum::<usize>() as u32,
                        bootstrapped: *self.parts.bootstrapped.lock(),
                    };
                }
                if states.changed().await.is_err() {
                    std::future::pending::<()>().await;
                }
            }
        })
    }

    /// Returns once every partition has a leader and the named apps serve.
    pub fn wait_ready<'a>(&'a self, apps: &'a [String]) -> BoxFuture<'a, Result<(), AdminError>> {
        Box::pin(async move {
            while !self.parts.status_now().ready {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            for app in apps {
                self.parts.wait_serving(app).await?;
            }
            Ok(())
        })
    }

    /// Installs a package of the cluster's registry.
    pub fn install<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<AppSummary, AdminError>> {
        Box::pin(async move { self.parts.install_and_wait(InstallRequest::named(name)).await })
    }

    /// True once this node has learnt that the cluster has taken in the present start of `other`.
    pub fn knows_start_of(&self, other: &Node) -> bool {
        other.parts.is_admitted(&self.parts.states.borrow())
    }

    /// The cluster as this node knows it.
    pub fn status(&self) -> Status {
        self.parts.status_now()
    }

    /// Cuts the node off from all others, or lets it reach them again. Clients and operators reach it all the time. For trying things out.
    pub fn isolate(&self, isolated: bool) {
        if let Some(streams) = self.parts.streams.get() {
            streams.isolate(isolated);
        }
    }

    /// True once the node ends because it was removed from the cluster, which [`Node::failed`] reports: it has nothing to lose and is
    /// to be stopped in order.
    pub fn is_removed(&self) -> bool {
        self.parts.removed.load(Ordering::Acquire)
    }

    /// Returns when the node cannot go on, with the reason.
    pub fn failed(&self) -> BoxFuture<'_, String> {
        Box::pin(async move { self.parts.failed().await })
    }

    /// Ends the node in order: its ports, its groups, its data made durable.
    pub fn stop(self) -> BoxFuture<'static, ()> {
        Box::pin(async move {
            self.parts.apps.stop().await;
            self.end().await;
            for group in self.parts.host.groups() {
                if let Err(error) = group.flush().await {
                    tracing::warn!(group = %group.id(), %error, "what is committed could not be applied; the log will bring it back");
                }
            }
            let data = self.parts.context.data.clone();
            let persisted = task::spawn_blocking(move || data.persist()).await;
            if let Ok(Err(error)) = persisted {
                tracing::warn!(%error, "the data could not be made durable; the log will bring it back");
            }
            self.parts.context.log.close();
        })
    }

    /// Ends the node as a crash would, as far as a process can: nothing is flushed, nobody is told.
    pub fn kill(self) -> BoxFuture<'static, ()> {
        Box::pin(async move {
            self.end().await;
        })
    }

    async fn end(&self) {
        self.parts.tasks.stop().await;
        for group in self.parts.host.groups().into_iter().chain(self.parts.meta()) {
            group.close().await;
        }
        *self.parts.meta.lock() = None;
    }
}

/// Forgets dead copies whose rows are gone, and the calls of nodes' earlier starts.
async fn prune(parts: Arc<Parts>) {
    loop {
        tokio::time::sleep(PRUNE_EVERY).await;
        forget_origins(&parts).await;
        let data = parts.context.data.clone();
        if let Ok(Err(error)) = parts.context.applier.run(move || data.prune_dead_copies()).await {
            tracing::warn!(%error, "dead copies could not be pruned; it is tried again");
        }
    }
}

/// Forgets the calls of nodes' earlier starts, a part at a time.
async fn forget_origins(parts: &Arc<Parts>) {
    loop {
        let host = parts.host.clone();
        match task::spawn_blocking(move || host.forget_origins(ORIGINS_KEPT)).await {
            Ok(Ok(true)) => tokio::time::sleep(FORGET_PAUSE).await,
            Ok(Ok(false)) | Err(_) => return,
            Ok(Err(error)) => {
                return tracing::error!(%error, "cannot read what is remembered of calls; it is tried again");
            }
        }
    }
}
