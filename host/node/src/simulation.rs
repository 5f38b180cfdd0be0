//! A node in a simulation: everything above disk, data, clock and network is the real node.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use futures::future::BoxFuture;
use recoil_base::{Clock, CopyId, Digest, GroupId, NodeId, Shutdown, Tasks, random};
use recoil_cluster::meta::ClusterChange;
use recoil_cluster::{EvaluationPool, MetaCommand, MetaState, PeerNetwork, PeerService, Peers};
use recoil_consensus::{Group, Locals, PartitionRef, PartitionState, machine};
use recoil_engine::AppCode;
use recoil_gateway::api::{DecommissionRequest, MoveRequest};
use recoil_storage::log::disk::Disk;
use recoil_storage::simulation::SimulatedData;
use recoil_storage::{Data, DataError, Folder, Log};

use crate::accept;
use crate::addresses::Addresses;
use crate::node::{Node, NodeError, NodeOptions, Shared, Storage, assemble, open_packages, sweep};

/// Makes a node's network, given its id and its start (incarnation and random number).
pub type MakeNetwork = Box<dyn FnOnce(NodeId, (u64, u64), Tasks) -> Arc<dyn PeerNetwork> + Send>;

/// Takes what serves the requests of other nodes, once it can.
pub type OpenDoor = Box<dyn FnOnce(Arc<dyn PeerService>) + Send>;

/// What a node stands on in a simulation.
pub struct Ground {
    /// The node's clock.
    pub clock: Clock,
    /// The disk under its log.
    pub disk: Arc<dyn Disk>,
    /// The rows under its data.
    pub data: SimulatedData,
    /// Where other nodes know it.
    pub address: SocketAddr,
    /// Its network.
    pub network: MakeNetwork,
    /// Its door.
    pub door: OpenDoor,
}

impl Shared {
    /// Compiles a package, or takes it from the code cache. Nodes find it loaded while the answer lives.
    pub fn load(&self, archive: &[u8]) -> Result<Arc<AppCode>, NodeError> {
        let failed = |error: &dyn std::fmt::Display| NodeError::Engine(error.to_string());
        let manifest = recoil_package::read(archive).map_err(|error| failed(&error))?;
        self.engine.load(Digest::of(archive), archive, &manifest.permissions).map_err(|error| failed(&error))
    }

    /// Evaluation threads of one's own beside the same engine.
    pub fn beside(&self) -> Arc<Shared> {
        let (engine, connections) = (self.engine.clone(), self.connections.clone());
        Arc::new(Shared { engine, pool: EvaluationPool::start(1), connections })
    }
}

fn open_storage(options: &NodeOptions, ground: &Ground) -> Result<Storage, NodeError> {
    let storage = |error: &dyn std::fmt::Display| NodeError::Storage(error.to_string());
    let folder = Folder::open(&options.data_dir).map_err(|error| NodeError::Folder(error.to_string()))?;
    let log = Log::open_on(ground.disk.clone(), options.log.clone()).map_err(|error| storage(&error))?;
    folder.raise(&log).map_err(|error| NodeError::Folder(error.to_string()))?;
    let data = Data::open_simulated(ground.data.clone()).map_err(|error| storage(&error))?;
    let locals = Locals::open(data.clone()).map_err(|error| storage(&error))?;
    sweep(&locals).map_err(|error| storage(&error))?;
    let packages = open_packages(&folder)?;
    Ok(Storage { folder, log, data, locals, packages })
}

/// A partition's rows on one node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Copy {
    /// The group that owns it.
    pub group: GroupId,
    /// The partition.
    pub partition: PartitionRef,
    /// Its epoch.
    pub epoch: u64,
    /// Its rows, keys without the copy's id.
    pub rows: Vec<(Bytes, Bytes)>,
}

impl Node {
    /// [`Node::start`] on simulated ground.
    pub fn start_simulated(
        options: NodeOptions,
        ground: Ground,
        shutdown: Shutdown,
    ) -> BoxFuture<'static, Result<Self, NodeError>> {
        Box::pin(async move {
            let storage = open_storage(&options, &ground)?;
            let Ground { clock, address, network, door, .. } = ground;
            let tasks = Tasks::new(shutdown.child());
            let start = (storage.folder.incarnation(), u64::from_le_bytes(random::array()));
            let addresses = Addresses { bound: address, advertised: address };
            let peers = Peers::new(network(storage.folder.node_id(), start, tasks.clone()));
            let (parts, machine) = assemble(options, storage, clock, tasks, peers, addresses, start);
            Node::run(parts, machine, |parts| door(accept::inbound(parts))).await
        })
    }

    /// The router as the listeners of an app have it, once the app can be called here.
    pub fn router_of(&self, app: &str) -> Option<Arc<dyn recoil_engine::Router>> {
        let (id, keyspace) = self.parts.states.borrow().apps.get(app).map(|app| (app.id, app.keyspace))?;
        self.parts.router.table()?;
        Some(self.parts.router.of_app(id, keyspace))
    }

    /// The groups of partitions open here.
    pub fn groups(&self) -> Vec<Arc<Group>> {
        let mut groups = self.parts.host.groups();
        groups.sort_by_key(|group| group.id());
        groups
    }

    /// Hands the leadership of a group to `to`, if this node has it, whatever speaks against it.
    pub fn hand_over(&self, group: GroupId, to: NodeId) {
        if let Some(session) = self.parts.host.group(group).and_then(|group| group.session()) {
            session.hand_over(to);
        }
    }

    /// Begins to move a partition, or says why not.
    pub fn move_partition(self: &Arc<Self>, partition: u32, to: Vec<NodeId>) -> BoxFuture<'static, Result<(), String>> {
        let node = self.clone();
        Box::pin(async move {
            let begun =
                node.parts.move_partitions(MoveRequest { keyspace: None, partitions: vec![partition], to }).await;
            begun.map(drop).map_err(|error| error.to_string())
        })
    }

    /// Changes how the cluster keeps its partitions placed.
    pub fn set_cluster(self: &Arc<Self>, change: ClusterChange) -> BoxFuture<'static, Result<(), String>> {
        let node = self.clone();
        Box::pin(async move {
            let changed = node.parts.change(&MetaCommand::SetCluster(change)).await;
            changed.map_err(|error| error.to_string())
        })
    }

    /// Has all moves come to nothing that are not too far.
    pub fn cancel_moves(self: &Arc<Self>) -> BoxFuture<'static, ()> {
        let node = self.clone();
        Box::pin(async move {
            for moving in node.parts.moves_now() {
                // It may have ended meanwhile.
                let _ = node.parts.change(&MetaCommand::CancelMove { id: moving.id }).await;
            }
        })
    }

    /// The moves that have not ended, in words.
    pub fn moves(&self) -> Vec<String> {
        self.parts.moves_now().iter().map(|moving| format!("{moving:?}")).collect()
    }

    /// The cluster's state, as applied here.
    pub fn state(&self) -> Arc<MetaState> {
        self.parts.states.borrow().clone()
    }

    /// Has a member give away what it leads, as an operator does.
    pub fn drain(self: &Arc<Self>, member: NodeId) -> BoxFuture<'static, Result<(), String>> {
        let node = self.clone();
        Box::pin(async move { node.parts.drain_node(member).await.map(drop).map_err(|error| error.to_string()) })
    }

    /// Makes a drained member active again, as an operator does.
    pub fn undrain(self: &Arc<Self>, member: NodeId) -> BoxFuture<'static, Result<(), String>> {
        let node = self.clone();
        Box::pin(async move { node.parts.undrain_node(member).await.map(drop).map_err(|error| error.to_string()) })
    }

    /// Has a member removed once its replicas are elsewhere, as an operator does.
    pub fn decommission(
        self: &Arc<Self>,
        member: NodeId,
        successor: Option<NodeId>,
    ) -> BoxFuture<'static, Result<(), String>> {
        let node = self.clone();
        Box::pin(async move {
            let request = DecommissionRequest { dry_run: false, successor };
            let asked = node.parts.decommission_node(member, request).await;
            asked.map(drop).map_err(|error| error.to_string())
        })
    }

    /// Changes whenever [`Node::partition_states`] may have changed.
    pub fn partition_changes(&self) -> u64 {
        *self.parts.context.locals.changes().borrow()
    }

    /// What the log of `group` says of every partition that it has ever named, as applied here, and the copies here.
    pub fn partition_states(&self, group: GroupId) -> BTreeMap<PartitionRef, PartitionState> {
        self.parts.context.locals.states_of(group)
    }

    /// The groups of partitions of which this node keeps rows or a log.
    pub fn kept_groups(&self) -> BTreeSet<GroupId> {
        let context = &self.parts.context;
        let kept = context.locals.groups().into_iter().chain(context.log.groups());
        kept.filter(|group| *group != GroupId::META).collect()
    }

    /// Copies with rows that no row names.
    pub fn stray_copies(&self) -> Result<usize, DataError> {
        let groups = self.parts.host.groups().into_iter().map(|group| group.id()).chain([GroupId::META]);
        let states = groups.flat_map(|group| self.parts.context.locals.states_of(group).into_values());
        let named: BTreeSet<CopyId> = states.filter_map(|state| Some(state.copy?.copy)).collect();
        Ok(self.parts.context.data.live_copies()?.into_iter().filter(|copy| !named.contains(copy)).count())
    }

    /// The meta group, while the node runs.
    pub fn meta_group(&self) -> Option<Arc<Group>> {
        self.parts.meta()
    }

    /// All rows of the copies of `group` that the node holds.
    pub fn copies(&self, group: GroupId) -> Result<Vec<Copy>, DataError> {
        let snapshot = self.parts.context.data.snapshot();
        let mut copies = Vec::new();
        for (partition, local) in self.parts.context.locals.of_group(group) {
            let start = local.copy.0.to_be_bytes();
            let rows = snapshot.prefix(&start, false).map(|row| row.map(|(key, value)| (key.slice(8..), value)));
            copies.push(Copy { group, partition, epoch: local.epoch, rows: rows.collect::<Result<_, _>>()? });
        }
        Ok(copies)
    }

    /// True if this partition is the meta group's.
    pub fn is_meta(partition: PartitionRef) -> bool {
        partition == machine::custom_partition(GroupId::META)
    }
}
