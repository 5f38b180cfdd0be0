//! One replica of one group: opening it safely, driving its leadership, and what the rooms above ask of it.
//!
//! Crash points when opening: the log and the data were written by different fsyncs, so after a crash the data may be ahead
//! of the log (its batches reached the disk, and a follower's log had been dropped for a snapshot) or behind it (the rule).
//! [`align`] compares them before openraft sees either: data that the log does not continue replaces the log; data that
//! was lost although the log was purged on its strength is refused, since only another replica can bring it back: which is to be
//! done before ([`crate::repair`]).
//!
//! When a group's data is made durable and its log purged is not decided here, but for all groups of the node together
//! ([`crate::keeper`]): what must go depends on the segments that they share.
//!
//! Promises that outlive a crash: a follower that acknowledges a leader promises not to vote for another for one lease, and
//! does not write that down. So a replica that opens with a vote neither votes nor campaigns for one lease (but for the
//! election that a leader itself asks for by transferring its leadership).

mod departure;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use bytes::Bytes;
use futures::FutureExt as _;
use futures::future::BoxFuture;
use openraft::alias::WatchReceiverOf;
use openraft::async_runtime::watch::WatchReceiver;
use openraft::errors::{ClientWriteError, RaftError};
use openraft::{ChangeMembers, Config, RaftMetrics, ReadPolicy, SnapshotPolicy};
use parking_lot::Mutex;
use recoil_base::{AppId, Clock, Digest, GroupId, NodeId, Tasks};
use recoil_storage::{Data, GroupLog, Log};
use tokio::sync::{mpsc, oneshot, watch};

use crate::command::{Body, Command, PartitionRef};
use crate::deferred::Deferred;
use crate::keeper::{LogKeeper, Persisted, Reach, Sending};
use crate::local::Locals;
use crate::log_store::LogStore;
use crate::machine::{Applier, Core, GroupRow, Machine, MachineKind};
use crate::messages;
use crate::network::{Inbound, Network, Transport};
use crate::pulse::Pulse;
use crate::raft::{LeaderId, LogId, Notifier, Payload, Raft, Reply, TypeConfig, Watch, WriteResult};
use crate::repair::{LostData, Pulls};
use crate::session::{AppliedObserver, ClosedBatch, IN_FLIGHT_MAX, Outcome, Session, Waiter};
use crate::sleep::Sleep;
use crate::transfer;

pub use departure::TransferStuck;

/// Pause before a leader tries again to open a session.
const SESSION_RETRY: Duration = Duration::from_millis(20);
/// How long a proposal to the meta group may take.
const PROPOSE_TIMEOUT: Duration = Duration::from_secs(10);
/// How often a group lets go of what it held ready for replicas that did not come back for it.
const EXPIRE_EVERY: Duration = Duration::from_secs(1);
/// Events of batches taken in at once.
const EVENTS_MAX: usize = 256;

/// Timing of a group.
#[derive(Clone, Debug)]
pub struct GroupOptions {
    /// Between heartbeats of a leader.
    pub heartbeat: Duration,
    /// A follower waits at least this long past the lease before it campaigns.
    pub election_min: Duration,
    /// And at most this long, which is also the leader lease.
    pub election_max: Duration,
}

impl Default for GroupOptions {
    fn default() -> Self {
        GroupOptions {
            heartbeat: Duration::from_millis(200),
            election_min: Duration::from_millis(250),
            election_max: Duration::from_millis(400),
        }
    }
}

impl GroupOptions {
    /// How long a replica that opens may still be bound by a lease it promised before: Raft keeps its vote, not the time at
    /// which it last acknowledged a leader. None for a replica that never voted, or votes alone.
    fn promise_of_an_earlier_start(&self, node: NodeId, log: &GroupLog, row: &GroupRow) -> Duration {
        let alone = row.membership.voter_ids().eq([node]);
        if log.vote().is_none() || alone { Duration::ZERO } else { self.election_max }
    }
}

/// What every group of a node shares.
#[derive(Clone)]
pub struct GroupContext {
    /// This node.
    pub node: NodeId,
    /// The node's clock.
    pub clock: Clock,
    /// The node's log.
    pub log: Log,
    /// The node's data.
    pub data: Data,
    /// The node's partitions.
    pub locals: Locals,
    /// The node's applier thread.
    pub applier: Applier,
    /// The package versions that this node can evaluate.
    pub versions: Versions,
    /// The way to other nodes.
    pub transport: Arc<dyn Transport>,
    /// Owns the groups' tasks.
    pub tasks: Tasks,
    /// Their timer, of [`GroupOptions::heartbeat`].
    pub pulse: Pulse,
    /// What keeps the node's log small.
    pub keeper: LogKeeper,
    /// Their timing.
    pub options: GroupOptions,
}

/// The package versions that a node can evaluate; clones share them. A session tells its group those that are there when it starts.
#[derive(Clone, Debug, Default)]
pub struct Versions(Arc<Mutex<BTreeMap<AppId, Digest>>>);

impl Versions {
    /// The app is evaluated by this version from now on; by none, if there is none.
    pub fn set(&self, app: AppId, version: Option<Digest>) {
        match version {
            Some(version) => self.0.lock().insert(app, version),
            None => self.0.lock().remove(&app),
        };
    }
}

/// Why a group cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The data was lost, not the log, and there is no other node that could bring it back.
    #[error(
        "group {group}: its log was purged up to {purged} on the strength of data that now ends at {applied}: the data folder has lost \
         data, and no other node is known that might have it. Replace this node: start it with an empty data folder, under a new id"
    )]
    DataLost {
        /// The group.
        group: GroupId,
        /// First index still needed minus one.
        purged: u64,
        /// Where the data ends.
        applied: u64,
    },
    /// The disk failed or holds something unreadable.
    #[error("group {group}: {source}")]
    Io {
        /// The group.
        group: GroupId,
        /// The cause.
        source: io::Error,
    },
    /// openraft refused.
    #[error("group {group}: {message}")]
    Raft {
        /// The group.
        group: GroupId,
        /// Its words.
        message: String,
    },
}

/// Why a proposal was not answered.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ProposeError {
    /// Another node leads, or none; nothing was appended.
    #[error("this node does not lead the group")]
    NotLeader(Option<NodeId>),
    /// It may yet be applied.
    #[error("the outcome is unknown: {0}")]
    Unknown(String),
    /// The group has stopped here.
    #[error("the group has stopped: {0}")]
    Stopped(String),
}

/// Who leads, as this replica knows it.
#[derive(Clone, Default)]
pub struct Leadership {
    /// The node that leads.
    pub leader: Option<NodeId>,
    /// In this term.
    pub term: u64,
    /// Set while this node leads and may evaluate.
    pub session: Option<Arc<Session>>,
    /// A transfer of leadership has failed in a way that only opening the group again ends; see [`crate::transfer`].
    pub stuck: bool,
}

impl std::fmt::Debug for Leadership {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Leadership(leader {:?}, term {}, serving {})", self.leader, self.term, self.session.is_some())
    }
}

/// Raft's numbers of a replica.
#[derive(Clone, Debug)]
pub struct GroupNumbers {
    /// The leader, if known.
    pub leader: Option<NodeId>,
    /// The term.
    pub term: u64,
    /// Last committed index known here.
    pub committed: u64,
    /// Last applied index here.
    pub applied: u64,
    /// The voters.
    pub voters: Vec<NodeId>,
    /// Members that do not vote.
    pub learners: Vec<NodeId>,
    /// A change of the voters is not finished: both the old and the new ones must agree.
    pub is_joint: bool,
}

/// One replica of one group.
pub struct Group {
    id: GroupId,
    raft: Raft,
    inbound: Inbound,
    leadership: watch::Receiver<Leadership>,
    deferred: Arc<Deferred>,
    persisted: Arc<Persisted>,
    sending: Arc<Sending>,
    locals: Locals,
    transport: Arc<dyn Transport>,
    tasks: Tasks,
}

fn config(options: &GroupOptions) -> Result<Config, String> {
    let millis = |duration: Duration| duration.as_millis() as u64;
    let config = Config {
        cluster_name: "recoil".into(),
        heartbeat_interval: millis(options.heartbeat),
        election_timeout_min: millis(options.election_min),
        election_timeout_max: millis(options.election_max),
        enable_pre_vote: Some(true),
        // Switched on by [`Group::open`] once no promise made before this start can hold any more.
        enable_elect: false,
        // A restarted leader's data may be behind what it once answered: it must be elected again.
        enable_leader_restore: Some(false),
        snapshot_policy: SnapshotPolicy::Never,
        // A snapshot purges nothing by itself: what is to go depends on the node's log (see [`crate::keeper`]).
        max_in_snapshot_log_to_keep: u64::MAX,
        install_snapshot_timeout: 600_000,
        max_payload_entries: 256,
        replication_lag_threshold: u64::MAX / 2,
        backoff: "20ms 50ms 100ms 200ms ...400ms".into(),
        ..Default::default()
    };
    config.validate().map_err(|error| error.to_string())
}

/// What waits for openraft answers a boxed future, so that openraft's code is generated in this crate: an `async fn` is compiled by
/// whoever awaits it, which would be every program and test again.
impl Group {
    /// Opens this node's replica. `applied` is told of the partitions whose writes, by this node's sessions, became visible in the data.
    pub fn open(
        context: &GroupContext,
        id: GroupId,
        kind: MachineKind,
        applied: AppliedObserver,
    ) -> BoxFuture<'_, Result<Arc<Self>, OpenError>> {
        Box::pin(async move {
            let io = |source| OpenError::Io { group: id, source };
            let log = context.log.group(id);
            let (data, locals, aligned) = (context.data.clone(), context.locals.clone(), log.clone());
            // A group opened again in the same process: what the last opening asked for must not be taken for durable before it is.
            context.log.flush().await.map_err(crate::log_store::io_error).map_err(io)?;
            let opened = context.applier.run(move || -> Result<Core, OpenError> {
                let core = Core::open(id, data, locals, kind).map_err(|source| OpenError::Io { group: id, source })?;
                align(id, &aligned, core.row.applied)?;
                Ok(core)
            });
            let core = opened.await.map_err(io)??;
            let quiet = context.options.promise_of_an_earlier_start(context.node, &log, &core.row);
            let core = Arc::new(Mutex::new(core));
            let raft_error = |message: String| OpenError::Raft { group: id, message };
            let config = Arc::new(config(&context.options).map_err(raft_error)?);
            let network = Network { group: id, transport: context.transport.clone() };
            let deferred = Deferred::new(core, context.applier.clone());
            let persisted = Arc::new(Persisted::default());
            let sending = Sending::new(context.clock.clone());
            let machine = Machine::new(deferred.clone(), id == GroupId::META, persisted.clone(), sending.clone());
            let store = LogStore::new(log);
            let raft = Raft::new(context.node, config, network, store, machine)
                .await
                .map_err(|error| raft_error(error.to_string()))?;

            let (publish, leadership) = watch::channel(Leadership::default());
            let inbound = Inbound {
                group: id,
                raft: raft.clone(),
                data: context.data.clone(),
                applier: context.applier.clone(),
                incoming: Mutex::new(None),
                pulls: Pulls::new(id, context.data.clone(), context.clock.clone(), sending.clone()),
                arrivals: AtomicU64::new(0),
                clock: context.clock.clone(),
                quiet_until: context.clock.now() + quiet,
                heard: Mutex::new(None),
            };
            let tasks = Tasks::new(context.tasks.shutdown().child());
            tasks.spawn(deferred.clone().run());
            let campaigning = raft.clone();
            tasks.spawn(async move {
                tokio::time::sleep(quiet).await;
                campaigning.runtime_config().elect(true);
            });
            let driver = Driver {
                raft: raft.clone(),
                lease: context.options.election_max,
                patience: transfer::patience(&context.options),
                deferred: deferred.clone(),
                sleep: Arc::new(Sleep::new(context.clock.clone())),
                versions: context.versions.clone(),
                publish,
                applied,
            };
            let partitions = id != GroupId::META;
            tasks.spawn(driver.run(partitions));
            let (locals, transport) = (context.locals.clone(), context.transport.clone());
            let group = Arc::new(Group {
                id,
                raft,
                inbound,
                leadership,
                deferred,
                persisted,
                sending,
                locals,
                transport,
                tasks,
            });
            context.pulse.add(&group);
            context.keeper.add(&group);
            let watcher = Arc::downgrade(&group);
            group.tasks.spawn(async move {
                loop {
                    tokio::time::sleep(EXPIRE_EVERY).await;
                    let Some(group) = watcher.upgrade() else { return };
                    group.inbound.expire();
                }
            });
            Ok(group)
        })
    }

    /// Sends the heartbeats of a leader, and lets openraft wake the replica only if nobody leads it. See [`crate::pulse`].
    pub(crate) fn pulse(&self, heard_within: Duration) {
        let leads = self.raft.metrics().borrow_watched().state.is_leader();
        // What has no room for the request is busy, and wakes by itself.
        let reminded = || matches!(self.raft.trigger().heartbeat().now_or_never(), Some(Ok(())));
        let is_led = if leads { reminded() } else { self.inbound.has_heard(heard_within) };
        self.raft.runtime_config().tick(!is_led);
    }

    /// The group's id.
    pub fn id(&self) -> GroupId {
        self.id
    }

    pub(crate) fn locals(&self) -> &Locals {
        &self.locals
    }

    pub(crate) fn transport(&self) -> &Arc<dyn Transport> {
        &self.transport
    }

    pub(crate) fn deferred(&self) -> &Arc<Deferred> {
        &self.deferred
    }

    pub(crate) fn data(&self) -> &Data {
        &self.inbound.data
    }

    pub(crate) fn applier(&self) -> &Applier {
        &self.inbound.applier
    }

    /// Who leads, now and whenever it changes.
    pub fn leadership(&self) -> watch::Receiver<Leadership> {
        self.leadership.clone()
    }

    /// The node that leads, as this one knows it.
    pub fn leader(&self) -> Option<NodeId> {
        self.leadership.borrow().leader
    }

    /// The session in which this node may evaluate, if it leads.
    pub fn session(&self) -> Option<Arc<Session>> {
        self.leadership.borrow().session.clone().filter(|session| !session.is_sealed())
    }

    /// True once only closing the replica and opening it again can let it take part in the group.
    pub fn is_stuck(&self) -> bool {
        self.leadership.borrow().stuck
    }

    /// Returns, with the reason, when this replica cannot apply what the group has committed, or take or install a snapshot: it must not
    /// go on, and the node should stop.
    /// For ever pending, if all goes well.
    pub fn failed(&self) -> BoxFuture<'_, Arc<str>> {
        Box::pin(async move { self.deferred.failure().wait().await })
    }

    /// Serves a message of another replica.
    pub fn handle(&self, kind: u8, body: Bytes) -> BoxFuture<'_, Result<Bytes, String>> {
        Box::pin(async move { self.inbound.handle(kind, body).await.map_err(|error| error.to_string()) })
    }

    /// Makes `members` the group's voters. Harmless when the group is already initialised, or others do the same.
    pub fn initialize(&self, members: BTreeSet<NodeId>) -> BoxFuture<'_, Result<(), String>> {
        Box::pin(async move {
            let members: BTreeMap<NodeId, ()> = members.into_iter().map(|node| (node, ())).collect();
            match self.raft.initialize(members).await {
                Ok(()) => Ok(()),
                Err(RaftError::APIError(openraft::errors::InitializeError::NotAllowed(_))) => Ok(()),
                Err(error) => Err(error.to_string()),
            }
        })
    }

    /// Campaigns at once, without waiting for silence, unless a leader is heard. For the first member of a new group.
    pub fn campaign(&self) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            if let Err(error) = self.raft.trigger().elect(true).await {
                tracing::debug!(group = %self.id, %error, "the replica has ended, and does not campaign");
            }
        })
    }

    /// Proposes an entry to a group with a custom machine and waits for its answer.
    pub fn propose(&self, entry: Bytes) -> BoxFuture<'_, Result<Bytes, ProposeError>> {
        Box::pin(async move {
            let leader = self.raft.as_leader().map_err(|forward| ProposeError::NotLeader(forward.leader_id))?;
            let leader = leader.to_committed_leader_id();
            let (answer, answered) = oneshot::channel();
            let notifier = Notifier(Box::new(Once(Some(answer))));
            let sent = self.raft.write(Payload(entry)).with_leader(leader).responder(notifier).await;
            sent.map_err(|fatal| ProposeError::Stopped(fatal.to_string()))?;
            let result = tokio::time::timeout(PROPOSE_TIMEOUT, answered).await;
            match result {
                Ok(Ok(Ok(response))) => match response.data {
                    Reply::Custom(answer) => Ok(answer),
                    Reply::Applied | Reply::Skipped => Ok(Bytes::new()),
                },
                Ok(Ok(Err(ClientWriteError::ForwardToLeader(forward)))) => {
                    Err(ProposeError::NotLeader(forward.leader_id))
                }
                Ok(Ok(Err(error))) => Err(ProposeError::Unknown(error.to_string())),
                Ok(Err(_)) => Err(ProposeError::Unknown("the group dropped the proposal".into())),
                Err(_) => Err(ProposeError::Unknown("no quorum answered in time".into())),
            }
        })
    }

    /// Returns once this replica has applied everything that was committed when it was called. Leader only.
    pub fn read_index(&self) -> BoxFuture<'_, Result<u64, ProposeError>> {
        Box::pin(async move {
            match self.raft.ensure_linearizable(ReadPolicy::ReadIndex).await {
                Ok(id) => Ok(id.index()),
                Err(error) => Err(ProposeError::Unknown(error.to_string())),
            }
        })
    }

    /// Adds a member that follows the log. Leader only; returns before it has caught up.
    pub fn add_learner(&self, node: NodeId) -> BoxFuture<'_, Result<(), ProposeError>> {
        Box::pin(async move {
            let added = self.raft.add_learner(node, (), false).await;
            added.map(drop).map_err(|error| ProposeError::Unknown(error.to_string()))
        })
    }

    /// Makes `voters` the voters, by joint consensus; those that were and are not among them go on as learners. Leader only.
    pub fn set_voters(&self, voters: BTreeSet<NodeId>) -> BoxFuture<'_, Result<(), ProposeError>> {
        Box::pin(async move {
            let change = ChangeMembers::ReplaceAllVoters(voters);
            let changed = self.raft.change_membership(change, true).await;
            changed.map(drop).map_err(|error| ProposeError::Unknown(error.to_string()))
        })
    }

    /// How many entries a member lacks, as far as this leader knows; none if this replica does not lead, or the member has never
    /// acknowledged an entry.
    pub fn lag_of(&self, node: NodeId) -> Option<u64> {
        let metrics = self.raft.metrics();
        let metrics = metrics.borrow_watched();
        let matched = metrics.replication.as_ref()?.get(&node)?.as_ref()?.index;
        Some(metrics.last_log_index.unwrap_or(0).saturating_sub(matched))
    }

    /// The voters by the last membership in the log; two sets while a change of them is not finished.
    pub(crate) fn voter_sets(&self) -> Vec<BTreeSet<NodeId>> {
        let metrics = self.raft.metrics();
        metrics.borrow_watched().membership_config.membership().get_joint_config().clone()
    }

    /// Raft's numbers.
    pub fn numbers(&self) -> GroupNumbers {
        let metrics = self.raft.metrics();
        let metrics = metrics.borrow_watched();
        let index = |id: &Option<LogId>| id.as_ref().map_or(0, |id| id.index);
        GroupNumbers {
            leader: metrics.current_leader,
            term: metrics.current_term,
            committed: index(&metrics.local_committed),
            applied: index(&metrics.last_applied),
            voters: metrics.membership_config.voter_ids().collect(),
            learners: metrics.membership_config.membership().learner_ids().collect(),
            is_joint: metrics.membership_config.membership().get_joint_config().len() > 1,
        }
    }

    /// Ends this node's part in the group; its log and data stay.
    pub fn close(&self) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            self.tasks.stop().await;
            if let Err(error) = self.raft.shutdown().await {
                tracing::debug!(group = %self.id, %error, "openraft ended with an error");
            }
        })
    }

    /// Brings every entry applied so far to the data.
    pub async fn flush(&self) -> io::Result<()> {
        self.deferred.flush().await
    }

    /// How far this replica has come.
    pub(crate) fn reach(&self) -> Reach {
        let applied = self.raft.metrics().borrow_watched().last_applied.map(|id| id.index);
        Reach { applied, persisted: self.persisted.last(), sending: self.sending.earliest() }
    }

    /// Has everything applied made durable, elsewhere; [`Group::reach`] says when it is. One that is busy is asked again.
    pub(crate) fn persist(&self) {
        // openraft takes a snapshot of nothing for a failed disk.
        if self.reach().applied.is_some() {
            self.asked("persist", self.raft.trigger().snapshot().now_or_never());
        }
    }

    /// Has the log purged up to `upto`, which is durable in the data. A leader waits while entries of that are on their way to a follower.
    pub(crate) fn purge(&self, upto: u64) {
        self.asked("purge", self.raft.trigger().purge_log(upto).now_or_never());
    }

    fn asked<E: std::fmt::Display>(&self, what: &'static str, sent: Option<Result<(), E>>) {
        if let Some(Err(error)) = sent {
            tracing::debug!(group = %self.id, %error, "cannot {what}");
        }
    }
}

/// Makes log and data fit each other before openraft reads them.
fn align(group: GroupId, log: &GroupLog, applied: Option<LogId>) -> Result<(), OpenError> {
    let io = |source| OpenError::Io { group, source };
    if let Some(LostData { purged, applied, .. }) = LostData::between(group, log, applied.map(|id| id.index)) {
        return Err(OpenError::DataLost { group, purged, applied });
    }
    let Some(applied) = applied else { return Ok(()) };
    let held = if let Some((index, id)) = log.purged().filter(|(index, _)| *index == applied.index) {
        Some((index, messages::decode_log_id(id)))
    } else {
        let found =
            log.read(applied.index..applied.index + 1, usize::MAX).map_err(crate::log_store::io_error).map_err(io)?;
        found.into_iter().next().map(|(index, entry)| (index, messages::entry_log_id(&entry)))
    };
    match held {
        Some((_, Ok(id))) if id == applied => Ok(()),
        Some((_, Err(error))) => Err(io(io::Error::other(error))),
        // The data came by a snapshot which the log does not continue.
        _ => {
            tracing::warn!(%group, applied = applied.index, "the log does not continue the data; it is dropped up to there");
            log.reset((applied.index, messages::encode_log_id(&applied)));
            Ok(())
        }
    }
}

struct Once(Option<oneshot::Sender<WriteResult>>);

impl Watch<WriteResult> for Once {
    fn committed(&mut self) {}
    fn completed(mut self: Box<Self>, result: WriteResult) {
        if let Some(answer) = self.0.take() {
            let _ = answer.send(result);
        }
    }
}

enum Event {
    Committed(u64),
    Applied(u64),
    Skipped(u64),
    Refused(u64),
    Lost(u64),
}

/// Reports what becomes of one batch. Exactly one of applied, skipped, refused and lost is sent.
struct Follow {
    number: u64,
    events: mpsc::UnboundedSender<Event>,
    told: bool,
}

impl Watch<WriteResult> for Follow {
    fn committed(&mut self) {
        let _ = self.events.send(Event::Committed(self.number));
    }
    fn completed(mut self: Box<Self>, result: WriteResult) {
        self.told = true;
        let number = self.number;
        let event = match result {
            Ok(response) if response.data == Reply::Applied => Event::Applied(number),
            Ok(_) => Event::Skipped(number),
            Err(ClientWriteError::ForwardToLeader(_)) => Event::Refused(number),
            Err(_) => Event::Lost(number),
        };
        let _ = self.events.send(event);
    }
}

impl Drop for Follow {
    fn drop(&mut self) {
        if !self.told {
            let _ = self.events.send(Event::Lost(self.number));
        }
    }
}

/// Follows leadership and, while this node leads, runs sessions.
struct Driver {
    raft: Raft,
    lease: Duration,
    /// How long a transfer of leadership may take.
    patience: Duration,
    deferred: Arc<Deferred>,
    sleep: Arc<Sleep>,
    versions: Versions,
    publish: watch::Sender<Leadership>,
    applied: AppliedObserver,
}

impl Driver {
    async fn run(self, partitions: bool) {
        let mut metrics = self.raft.metrics();
        let mut chain: Option<(LeaderId, u64)> = None;
        loop {
            self.publish_leader(None);
            if partitions && let Ok(leader) = self.raft.as_leader() {
                let leader = leader.to_committed_leader_id();
                let start = chain.filter(|(of, _)| *of == leader).map_or(1, |(_, next)| next);
                if let Some((session, events, inbox)) = self.start_session(leader, start).await {
                    self.publish_leader(Some(session.clone()));
                    let next = self.serve(&session, events, inbox, &mut metrics).await;
                    chain = Some((leader, next));
                    if let Some(to) = session.successor()
                        && transfer::transfer(&self.raft, leader, to, self.patience).await.is_err()
                    {
                        self.publish.send_modify(|now| *now = Leadership { stuck: true, ..Default::default() });
                        return;
                    }
                } else {
                    // A start entry may have been appended under this number: the next must differ.
                    chain = Some((leader, start + 1));
                    tokio::time::sleep(SESSION_RETRY).await;
                }
                continue;
            }
            if metrics.changed().await.is_err() {
                self.publish.send_replace(Leadership::default());
                return;
            }
        }
    }

    fn publish_leader(&self, session: Option<Arc<Session>>) {
        let metrics = self.raft.metrics();
        let metrics = metrics.borrow_watched();
        let next = Leadership { leader: metrics.current_leader, term: metrics.current_term, session, stuck: false };
        self.publish.send_if_modified(|now| {
            let same =
                now.leader == next.leader && now.term == next.term && now.session.is_none() && next.session.is_none();
            if !same {
                *now = next;
            }
            !same
        });
    }

    /// ReadIndex in this term, then a chain start that is applied here.
    async fn start_session(
        &self,
        leader: LeaderId,
        start: u64,
    ) -> Option<(Arc<Session>, mpsc::UnboundedSender<Event>, mpsc::UnboundedReceiver<Event>)> {
        let read = self.raft.ensure_linearizable(ReadPolicy::ReadIndex).await.ok()?;
        if *read.committed_leader_id() != leader {
            return None;
        }
        let versions = self.versions.0.lock().clone();
        let listed = versions.iter().map(|(app, version)| (*app, *version)).collect();
        let command =
            Command { term: leader.term, node: leader.node_id, chain: start, body: Body::Start { versions: listed } };
        let (events, mut inbox) = mpsc::unbounded_channel();
        propose(&self.raft, leader, start, command.encode(0), &events).await?;
        loop {
            match inbox.recv().await? {
                Event::Committed(_) => {}
                Event::Applied(number) if number == start => break,
                _ => return None,
            }
        }
        let lease = (self.lease, self.sleep.clone());
        Some((Session::new(leader, self.raft.clone(), lease, start, versions), events, inbox))
    }

    /// Proposes until something does not go through, then waits for the rest. Answers the number for the next chain start.
    async fn serve(
        &self,
        session: &Session,
        events: mpsc::UnboundedSender<Event>,
        mut inbox: mpsc::UnboundedReceiver<Event>,
        metrics: &mut WatchReceiverOf<TypeConfig, RaftMetrics<TypeConfig>>,
    ) -> u64 {
        let (mut flights, mut events_now) = (Flights::default(), Vec::new());
        let mut next = None;
        loop {
            while next.is_none() && flights.waiting.len() < IN_FLIGHT_MAX {
                let Some(batch) = session.take_batch(flights.waiting.len()) else { break };
                let entry = batch.command.encode(batch.bytes);
                let number = batch.number;
                flights.add(batch);
                // A failed send drops the responder, which reports the batch as lost.
                let _ = propose(&self.raft, session.leader(), number, entry, &events).await;
            }
            if let Some(next) = next
                && flights.is_settled()
            {
                return next;
            }
            let broken = tokio::select! {
                count = inbox.recv_many(&mut events_now, EVENTS_MAX) => self.take(&mut events_now, count, &mut flights, session),
                () = session.work.notified(), if next.is_none() && (flights.waiting.len() < IN_FLIGHT_MAX || session.is_ending()) => {
                    session.is_ending()
                }
                changed = metrics.changed(), if next.is_none() => changed.is_err() || !transfer::leads_as(&self.raft, session.leader()),
            };
            if broken && next.is_none() {
                next = Some(session.seal());
                self.deferred.hurry();
                self.publish_leader(None);
            }
        }
    }
}

/// Proposes an entry that is refused unless `leader` still is the leader's id, term and node.
async fn propose(
    raft: &Raft,
    leader: LeaderId,
    number: u64,
    entry: Bytes,
    events: &mpsc::UnboundedSender<Event>,
) -> Option<()> {
    let follow = Follow { number, events: events.clone(), told: false };
    raft.write(Payload(entry)).with_leader(leader).responder(Notifier(Box::new(follow))).await.ok()
}

impl Driver {
    /// Takes in what has happened to batches; true if the chain is broken.
    fn take(&self, events: &mut Vec<Event>, count: usize, flights: &mut Flights, session: &Session) -> bool {
        let mut visible = BTreeSet::new();
        let mut broken = count == 0;
        for event in events.drain(..) {
            broken |= flights.take(event, session, &mut visible);
        }
        if !visible.is_empty() {
            (self.applied)(&visible);
        }
        broken
    }
}

struct Flight {
    number: u64,
    waiters: Vec<Waiter>,
}

/// A batch whose last event has not come: what it wrote, and who waits for that to be visible.
struct Unapplied {
    number: u64,
    partitions: Vec<PartitionRef>,
    waiters: Vec<Waiter>,
}

/// Batches under way, in chain order.
#[derive(Default)]
struct Flights {
    /// Not answered yet.
    waiting: VecDeque<Flight>,
    /// Whose last event has not come.
    unapplied: VecDeque<Unapplied>,
    /// The newest batch answered as committed.
    answered: u64,
}

impl Flights {
    fn add(&mut self, batch: ClosedBatch) {
        let ClosedBatch { number, partitions, waiters, applied_waiters, .. } = batch;
        self.unapplied.push_back(Unapplied { number, partitions, waiters: applied_waiters });
        self.waiting.push_back(Flight { number, waiters });
    }

    fn is_settled(&self) -> bool {
        self.unapplied.is_empty()
    }

    /// Takes in one event; true if the chain is broken.
    fn take(&mut self, event: Event, session: &Session, visible: &mut BTreeSet<PartitionRef>) -> bool {
        match event {
            Event::Committed(number) => {
                self.committed(number, session);
                false
            }
            Event::Applied(number) => {
                // An entry can be applied without its commit having been reported.
                self.committed(number, session);
                session.set_applied(number);
                visible.extend(self.settle(number, Outcome::Committed));
                false
            }
            Event::Skipped(number) | Event::Refused(number) => {
                assert!(
                    number > self.answered,
                    "entry {number} of the chain was answered as committed and then not applied"
                );
                // Whatever was proposed after it can only be skipped, even if it commits.
                self.fail_from(number, Outcome::Refused);
                self.settle(number, Outcome::Refused);
                true
            }
            Event::Lost(number) => {
                self.fail_from(number, Outcome::Unknown);
                self.settle(number, Outcome::Unknown);
                true
            }
        }
    }

    fn committed(&mut self, number: u64, session: &Session) {
        if self.waiting.front().is_some_and(|flight| flight.number == number) {
            let flight = self.waiting.pop_front().expect("the front was just looked at");
            self.answered = number;
            session.set_committed(number);
            flight.waiters.into_iter().for_each(|waiter| waiter(Outcome::Committed));
        }
    }

    /// Answers this batch and all later ones, none of which can have been answered yet.
    fn fail_from(&mut self, number: u64, outcome: Outcome) {
        let place = self.waiting.partition_point(|flight| flight.number < number);
        for flight in self.waiting.drain(place..) {
            flight.waiters.into_iter().for_each(|waiter| waiter(outcome));
        }
    }

    /// The batch's last event has come: what it wrote is visible, or never will be.
    fn settle(&mut self, number: u64, outcome: Outcome) -> Vec<PartitionRef> {
        let place = self.unapplied.iter().position(|batch| batch.number == number);
        let Some(Unapplied { partitions, waiters, .. }) = place.and_then(|place| self.unapplied.remove(place)) else {
            return vec![];
        };
        waiters.into_iter().for_each(|waiter| waiter(outcome));
        partitions
    }
}
