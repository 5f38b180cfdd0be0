//! Evaluating calls on partitions: the queue, the overlay and the handler instances of each.
//!
//! A call is put into the mailbox that its app has on its partition; an evaluation thread takes a mailbox, never two threads the same one,
//! and evaluates its calls in order: reads see the overlay (writes evaluated and not yet applied) and below it the data. Writes go to the
//! group's session, which tags them with the batch number under which the overlay keeps them until they are applied.
//!
//! Invariants:
//! - Overlay, recent rows, instances and clock belong to one session and one copy of the partition; another session (or none), owner,
//!   epoch or copy means that they are dropped before anything else is evaluated.
//! - A call is evaluated only under a session of the group that owns this node's copy of the partition.
//! - A call that wrote is answered when its batch is committed. One that did not is answered when the newest batch in the
//!   overlay it read is committed *and* a lease check made after its arrival holds: also if it failed, for an error tells
//!   what was read. The lease is looked at once for all calls taken from the mailbox together.
//! - Overlay writes are dropped only after their batch is visible in the data, and only by the thread that holds the partition.
//! - A call refused by the session was certainly not applied, and is routed again.
//! - Nothing is evaluated on a partition while its release is under way ([`leaving`]).
//! - The writing calls of an origin are evaluated in the order of their numbers, each once ([`origins`]). A transaction is a call of
//!   the lowest of its partitions.
//!
//! An app whose manifest says so has instances that answer for any partition ([`shared`]) in place of one for each.
//!
//! Bounded: the bytes that wait in mailboxes, the session's backlog, handler instances of a node.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use bytes::Bytes;
use parking_lot::{Mutex, RwLock};
use recoil_base::{AppId, Clock, Digest, GroupId, KeyspaceId, NodeId, Runtime};
use recoil_consensus::session::CallWrites;
use recoil_consensus::{Group, Local, Locals, Origin, Outcome, PartitionRef, Session, Versions, machine};
use recoil_engine::{
    AppCode, AppLog, CallError, ConsensusAccess, Environment, HandlerInstance, Limits, Mode, Overlay, Settings,
};
use recoil_storage::Data;
use rustc_hash::FxHashMap;

use crate::calls::{Answer, Miss, Reply, Request};
use crate::meta::Placement;
use crate::timers::Timers;
use crate::topics::Topics;

use departed::Departed;
pub use leaving::ReleaseError;
use leaving::{Leave, Leaving};
use origins::Origins;
pub use pool::EvaluationPool;
use recent::Recent;
pub use shared::SharedInstances;
use usage::Counted;
pub use usage::Usage;

mod departed;
mod leaving;
mod origins;
mod owners;
mod pool;
mod recent;
mod run;
mod shared;
#[cfg(test)]
mod tests;
mod transact;
mod usage;
mod view;
#[cfg(test)]
pub(crate) mod world;

/// Calls taken from a mailbox at once; then other partitions have their turn.
const DRAIN_MAX: usize = 64;
/// Bytes of calls that may wait in a node's mailboxes.
const WAITING_BYTES_MAX: usize = 256 << 20;
/// Bytes a session may hold unproposed before calls are turned away.
const BACKLOG_BYTES_MAX: usize = 32 << 20;

/// One call, on the node that should evaluate it.
pub struct Call {
    /// Whose handler.
    pub app: AppId,
    /// May it write.
    pub mode: Mode,
    /// What it asks.
    pub work: Work,
    /// Takes the answer.
    pub reply: Reply,
}

/// A routed call among those of its origin to the app on the partition.
#[derive(Clone, Copy, Debug)]
pub struct CallId {
    /// Who asks.
    pub origin: Origin,
    /// A writing call's own number; of a read, the number it must come after.
    pub sequence: u64,
    /// The origin has the answers up to here.
    pub acked: u64,
}

/// What a mailbox holds.
pub enum Work {
    /// A routed call.
    Asked(Request, CallId),
    /// Forget these origins, none of whose calls can still be on its way.
    Forget(Vec<Origin>),
    /// Fire the app's timers that are due.
    Timers,
    /// Leadership has come: load what needs no call, such as timers.
    Wake,
}

impl Call {
    fn size(&self) -> usize {
        128 + match &self.work {
            Work::Asked(request, _) => request.size(),
            Work::Forget(origins) => size_of_val(&origins[..]),
            Work::Timers | Work::Wake => 0,
        }
    }
}

/// An app as handlers need it.
pub struct EvaluatedApp {
    /// Its id.
    pub id: AppId,
    /// Where its data are: it is evaluated on partitions of this keyspace alone.
    pub keyspace: KeyspaceId,
    /// Its name.
    pub name: Arc<str>,
    /// Its version.
    pub digest: Digest,
    /// Its code.
    pub code: Arc<AppCode>,
    /// What a call may use.
    pub limits: Limits,
    /// Where its lines go.
    pub log: AppLog,
    /// What its operator has set.
    pub settings: Settings,
    /// What it has under way here.
    pub usage: Arc<Usage>,
    /// Its instances, if they may answer for any partition.
    pub shared: Option<SharedInstances>,
}

impl EvaluatedApp {
    pub(super) fn environment(&self) -> Environment {
        let (app, settings) = (self.name.clone(), self.settings.clone());
        Environment { app, log: self.log.clone(), limits: self.limits, settings }
    }

    /// Memory between calls is a cache: an app that has used half of its own keeps no large instances.
    pub(super) fn is_short_of_memory(&self) -> bool {
        self.code.memory_bytes() > self.limits.app_memory_bytes_max / 2
    }
}

#[derive(Default)]
struct Mailbox {
    calls: VecDeque<(Call, Option<Counted>)>,
    scheduled: bool,
}

/// What belongs to one session of one partition.
struct Evaluation {
    session: Arc<Session>,
    consensus: Arc<dyn ConsensusAccess>,
    local: Local,
    apps: FxHashMap<AppId, AppEvaluation>,
    /// The newest batch that holds writes of this partition.
    newest: u64,
    /// The time of the newest writing transaction, microseconds.
    now_us: u64,
    origins: Origins,
}

#[derive(Default)]
struct AppEvaluation {
    overlay: Arc<Overlay>,
    /// Made by the first call.
    recent: Option<Arc<Recent>>,
    instance: Option<HandlerInstance>,
    timers_failed: HashMap<Bytes, crate::timers::Pause>,
}

/// A partition that this node holds.
struct Held {
    group: GroupId,
    count: u32,
    keyspace_name: Arc<str>,
    shares: RwLock<FxHashMap<AppId, Arc<Partition>>>,
}

/// One app's share of a partition: its own queue, overlay and instance, so that no app waits for another's calls. Their rows
/// have nothing in common; the session puts their writes into one order.
pub struct Partition {
    key: PartitionRef,
    app: AppId,
    usage: Arc<Usage>,
    limits: Limits,
    group: GroupId,
    count: u32,
    keyspace_name: Arc<str>,
    mailbox: Mutex<Mailbox>,
    evaluation: Mutex<Option<Evaluation>>,
    /// True while `evaluation` holds instances: what eviction looks for.
    warm: AtomicBool,
    /// Its app has been removed here: whatever still waits is to be routed again.
    gone: AtomicBool,
}

/// What evaluation needs of the node.
pub struct HostParts {
    /// This node.
    pub node: NodeId,
    /// Time.
    pub clock: Clock,
    /// The node's data.
    pub data: Data,
    /// The node's partitions.
    pub locals: Locals,
    /// What the groups are told of the apps.
    pub versions: Versions,
    /// The threads.
    pub pool: EvaluationPool,
    /// For what an evaluation has to wait for.
    pub runtime: Runtime,
    /// Published messages.
    pub topics: Topics,
    /// Handler instances this node may keep.
    pub instances_max: usize,
}

/// All partitions of a node.
pub struct Host {
    parts: HostParts,
    partitions: RwLock<FxHashMap<PartitionRef, Arc<Held>>>,
    groups: RwLock<FxHashMap<GroupId, Arc<Group>>>,
    apps: RwLock<FxHashMap<AppId, Arc<EvaluatedApp>>>,
    /// Those that are switched on.
    serving: RwLock<BTreeSet<AppId>>,
    numbers: Arc<RwLock<HashMap<NodeId, u32>>>,
    departed: Mutex<Departed>,
    leaving: Leaving,
    /// The names of keyspaces and their numbers of partitions, of which a group has opened.
    keyspaces: RwLock<FxHashMap<KeyspaceId, (Arc<str>, u32)>>,
    timers: Timers,
    waiting_bytes: AtomicUsize,
    instances: AtomicUsize,
    /// Partitions that may hold instances, oldest first.
    warm: Mutex<VecDeque<Arc<Partition>>>,
}

impl Host {
    /// No partitions yet.
    pub fn new(parts: HostParts) -> Arc<Self> {
        let timers = Timers::new(parts.clock.clone());
        let locals = parts.locals.clone();
        let host = Arc::new(Host {
            parts,
            partitions: RwLock::default(),
            groups: RwLock::default(),
            apps: RwLock::default(),
            serving: RwLock::default(),
            numbers: Arc::default(),
            departed: Mutex::default(),
            leaving: Leaving::default(),
            keyspaces: RwLock::default(),
            timers,
            waiting_bytes: AtomicUsize::new(0),
            instances: AtomicUsize::new(0),
            warm: Mutex::default(),
        });
        let following = Arc::downgrade(&host);
        locals.observe(Arc::new(move |changed: &[PartitionRef]| {
            if let Some(host) = following.upgrade() {
                host.ownership_changed(changed);
            }
        }));
        host
    }

    /// A group of a keyspace has opened here, with these partitions by the map.
    pub fn add_group(
        &self,
        group: Arc<Group>,
        partitions: &[PartitionRef],
        keyspace: KeyspaceId,
        (name, count): (&Arc<str>, u32),
    ) {
        let id = group.id();
        self.groups.write().insert(id, group);
        self.keyspaces.write().insert(keyspace, (name.clone(), count));
        // By its log it may have others by now.
        let known = self.parts.locals.states_of(id).into_keys();
        for key in partitions.iter().copied().chain(known).collect::<BTreeSet<_>>() {
            self.hold(key, Some(id));
        }
    }

    /// What still waits on a share is routed again; one that is being evaluated drops its instance when it ends.
    fn leave(&self, share: &Partition) {
        share.gone.store(true, Ordering::Release);
        if let Some(mut slot) = share.evaluation.try_lock() {
            self.forget(share, &mut slot);
        }
    }

    /// The group has been closed here; its partitions stay, and are served again once it is open.
    pub fn remove_group(&self, id: GroupId) {
        self.groups.write().remove(&id);
    }

    /// An app's share of a partition, if this node holds the partition and knows the app.
    fn share(&self, key: PartitionRef, app: AppId) -> Result<Arc<Partition>, Miss> {
        let held = self.partitions.read().get(&key).cloned().ok_or(Miss::NotLeader(None))?;
        if let Some(share) = held.shares.read().get(&app) {
            return Ok(share.clone());
        }
        // Shares are only made of apps that are there: ids come from other nodes and must not fill the memory.
        let apps = self.apps.read();
        let known = apps.get(&app).ok_or_else(not_ready)?;
        if known.keyspace != key.keyspace {
            return Err(Miss::Error(CallError::Rejected(format!(
                "partition {} of keyspace {} has no data of app {app}, which is in keyspace {}",
                key.partition, key.keyspace, known.keyspace
            ))));
        }
        let made = held
            .shares
            .write()
            .entry(app)
            .or_insert_with(|| {
                Arc::new(Partition {
                    key,
                    app,
                    usage: known.usage.clone(),
                    limits: known.limits,
                    group: held.group,
                    count: held.count,
                    keyspace_name: held.keyspace_name.clone(),
                    mailbox: Mutex::default(),
                    evaluation: Mutex::new(None),
                    warm: AtomicBool::new(false),
                    gone: AtomicBool::new(false),
                })
            })
            .clone();
        Ok(made)
    }

    pub(crate) fn runtime(&self) -> &Runtime {
        &self.parts.runtime
    }

    /// This node's copy of a partition, if it may be read and written for `group`.
    fn owned(&self, partition: PartitionRef, group: GroupId) -> Result<Local, Miss> {
        if let Some(local) = self.parts.locals.get(group, partition) {
            return Ok(local);
        }
        // A partition of a new group is there once the group's log has taken it in.
        let elsewhere = self.placement_here(partition).filter(|known| known.group != group);
        Err(elsewhere.map_or(Miss::Again, |Placement { group, epoch }| Miss::Moved { group, epoch }))
    }

    /// Apps' shares of partitions that have been made.
    #[cfg(test)]
    fn shares(&self) -> usize {
        self.partitions.read().values().map(|held| held.shares.read().len()).sum()
    }

    /// The group, if open here.
    pub fn group(&self, id: GroupId) -> Option<Arc<Group>> {
        self.groups.read().get(&id).cloned()
    }

    /// The groups open here.
    pub fn groups(&self) -> Vec<Arc<Group>> {
        self.groups.read().values().cloned().collect()
    }

    /// How guests know nodes.
    pub fn set_numbers(&self, numbers: HashMap<NodeId, u32>) {
        *self.numbers.write() = numbers;
    }

    /// An app can be evaluated from now on. Its timers fire once it serves.
    pub fn add_app(&self, app: EvaluatedApp) {
        self.parts.versions.set(app.id, Some(app.digest));
        self.apps.write().insert(app.id, Arc::new(app));
    }

    /// An app has been switched on: its timers are looked for.
    pub fn serve_app(self: &Arc<Self>, app: AppId) {
        if !self.serving.write().insert(app) {
            return;
        }
        for group in self.groups() {
            if group.session().is_some() {
                self.wake(group.id());
            }
        }
    }

    /// An app is gone: its instances go at the next call of their partition, its timers fire no more.
    ///
    /// The sessions that evaluated it end with it. Its overlays go, and what is committed may not be in the data yet: only a session that
    /// begins after all of that is there may evaluate a later installation with the same data.
    pub fn remove_app(&self, app: AppId) {
        self.parts.versions.set(app, None);
        let removed = self.apps.write().remove(&app);
        self.serving.write().remove(&app);
        for held in self.partitions.read().values() {
            let Some(share) = held.shares.write().remove(&app) else { continue };
            self.leave(&share);
        }
        let Some(removed) = removed else { return };
        for session in self.groups().iter().filter_map(|group| group.session()) {
            if session.runs(app, removed.digest) {
                session.end();
            }
        }
    }

    /// The apps that can be evaluated.
    pub fn app(&self, id: AppId) -> Option<Arc<EvaluatedApp>> {
        self.apps.read().get(&id).cloned()
    }

    /// This node leads `group` from now on: whatever must happen without a call is started.
    pub fn wake(self: &Arc<Self>, group: GroupId) {
        let keys: Vec<_> =
            self.partitions.read().iter().filter(|(_, held)| held.group == group).map(|(key, _)| *key).collect();
        self.wake_all(&keys);
    }

    /// The same for one partition, which has come to this node's group.
    fn wake_partition(self: &Arc<Self>, key: PartitionRef) {
        self.wake_all(&[key]);
    }

    fn wake_all(self: &Arc<Self>, keys: &[PartitionRef]) {
        let serving = self.serving.read().clone();
        let has_timers = |app: &&Arc<EvaluatedApp>| app.code.roles().timer && serving.contains(&app.id);
        let apps: Vec<_> = self.apps.read().values().filter(has_timers).map(|app| (app.id, app.keyspace)).collect();
        let pairs = keys.iter().flat_map(|key| apps.iter().map(move |app| (*key, *app)));
        for (key, (app, _)) in pairs.filter(|(key, (_, keyspace))| key.keyspace == *keyspace) {
            if let Ok(share) = self.share(key, app) {
                self.put_own(share, Mode::Read, Work::Wake);
            }
        }
    }

    /// Fires timers until the node stops.
    pub async fn run_timers(self: Arc<Self>) {
        loop {
            let (key, app) = self.timers.next().await;
            if let Ok(partition) = self.share(key, app) {
                self.put_own(partition, Mode::Write, Work::Timers);
            }
        }
    }

    /// Puts calls into their partitions' mailboxes, in their order, and wakes the evaluation threads once for all of them. Never blocks;
    /// answers through the calls' replies.
    pub fn enqueue(self: &Arc<Self>, calls: impl IntoIterator<Item = (PartitionRef, Call)>) {
        let mut due: Vec<Arc<Partition>> = Vec::new();
        for (key, call) in calls {
            let partition = match self.share(key, call.app) {
                Ok(partition) => partition,
                Err(miss) => {
                    (call.reply)(Err(miss));
                    continue;
                }
            };
            let size = call.size();
            if self.waiting_bytes.fetch_add(size, Ordering::Relaxed) > WAITING_BYTES_MAX {
                self.waiting_bytes.fetch_sub(size, Ordering::Relaxed);
                (call.reply)(Err(Miss::Refused(overloaded())));
                continue;
            }
            match partition.usage.wait(size, &partition.limits) {
                Ok(counted) => {
                    if put(&partition, call, Some(counted)) {
                        due.push(partition);
                    }
                }
                Err(error) => {
                    self.waiting_bytes.fetch_sub(size, Ordering::Relaxed);
                    (call.reply)(Err(Miss::Refused(error.to_string())));
                }
            }
        }
        self.schedule(due);
    }

    /// Puts what no client asked for into a mailbox.
    fn put_own(self: &Arc<Self>, partition: Arc<Partition>, mode: Mode, work: Work) {
        let call = Call { app: partition.app, mode, work, reply: Box::new(|_| {}) };
        self.waiting_bytes.fetch_add(call.size(), Ordering::Relaxed);
        if put(&partition, call, None) {
            self.schedule([partition]);
        }
    }

    fn schedule(self: &Arc<Self>, partitions: impl IntoIterator<Item = Arc<Partition>>) {
        self.parts.pool.run(partitions.into_iter().map(|partition| {
            let (host, app) = (self.clone(), partition.app);
            let job: pool::Job = Box::new(move || host.drain(partition));
            (app, job)
        }));
    }

    /// Evaluates some of a partition's calls, on an evaluation thread.
    fn drain(self: &Arc<Self>, partition: Arc<Partition>) {
        let (mut calls, mut counted): (VecDeque<Call>, VecDeque<Option<Counted>>) = {
            let mut mailbox = partition.mailbox.lock();
            let count = mailbox.calls.len().min(DRAIN_MAX);
            mailbox.calls.drain(..count).unzip()
        };
        let bytes = |calls: &VecDeque<Call>| calls.iter().map(Call::size).sum::<usize>();
        let taken = bytes(&calls);
        let parks = self.run(&partition, &mut calls);
        // Those that may not write yet go back to where they were.
        let left = counted.split_off(counted.len() - calls.len());
        drop(counted);
        self.waiting_bytes.fetch_sub(taken - bytes(&calls), Ordering::Relaxed);
        let must_wait = !calls.is_empty();
        let mut mailbox = partition.mailbox.lock();
        for call in calls.into_iter().zip(left).rev() {
            mailbox.calls.push_front(call);
        }
        if mailbox.calls.is_empty() {
            mailbox.scheduled = false;
            return;
        }
        drop(mailbox);
        if parks && self.leaving.park(&partition) {
            return;
        }
        if parks || !must_wait {
            return self.schedule([partition]);
        }
        let (host, usage, limits) = (self.clone(), partition.usage.clone(), partition.limits);
        usage.park(&limits, Box::new(move || host.schedule([partition])));
    }

    /// Drops what applied batches have made superfluous; told by the session after they became visible.
    pub fn applied(&self, partitions: &BTreeSet<PartitionRef>) {
        for key in partitions {
            let Some(held) = self.partitions.read().get(key).cloned() else { continue };
            for partition in held.shares.read().values() {
                // One being evaluated does it itself.
                if let Some(mut evaluation) = partition.evaluation.try_lock()
                    && let Some(evaluation) = evaluation.as_mut()
                {
                    evaluation.release();
                }
            }
        }
    }

    /// Drops what belongs to another copy of the partition, or to another owner of it. Looked at once for all calls taken from a mailbox:
    /// the owner of a partition does not change while one of its shares is being evaluated. What was written is in the data: it came before
    /// the entry that gave the partition up.
    fn check_owner(&self, partition: &Partition, slot: &mut Option<Evaluation>) {
        if slot
            .as_ref()
            .is_some_and(|evaluation| self.parts.locals.get(partition.group, partition.key) != Some(evaluation.local))
        {
            self.drop_evaluation(partition, slot);
        }
    }

    /// The partition's evaluation under the group's present session, fresh if the session is.
    fn current<'a>(&self, partition: &Partition, slot: &'a mut Option<Evaluation>) -> Result<&'a mut Evaluation, Miss> {
        let group = self.group(partition.group).ok_or(Miss::NotLeader(None))?;
        if partition.gone.load(Ordering::Acquire) {
            self.forget(partition, slot);
            return Err(self.owned(partition.key, partition.group).err().unwrap_or(Miss::Again));
        }
        let Some(session) = group.session() else {
            self.forget(partition, slot);
            // Who leads a group that has given the partition up is of no interest.
            let state = self.parts.locals.state(partition.group, partition.key);
            if state.is_some_and(|state| state.ownership.phase != recoil_consensus::Phase::Owned) {
                return Err(self.owned(partition.key, partition.group).err().unwrap_or(Miss::Again));
            }
            return Err(Miss::NotLeader(group.leader().filter(|leader| *leader != self.parts.node)));
        };
        if slot.as_ref().is_none_or(|evaluation| !Arc::ptr_eq(&evaluation.session, &session)) {
            self.forget(partition, slot);
            if let Some(app) = self.app(partition.app)
                && !session.runs(app.id, app.digest)
            {
                // The app came after the session, whose group must first be told of it.
                session.end();
                return Err(Miss::Again);
            }
            let local = self.owned(partition.key, partition.group)?;
            if session.is_ending() {
                return Err(Miss::Again);
            }
            let now_us =
                machine::read_clock(&self.parts.data, partition.group).map_err(|error| storage_failed(&error))?;
            let consensus = run::consensus(session.clone(), group, self.numbers.clone(), self.parts.runtime.clone());
            *slot = Some(Evaluation {
                session,
                consensus,
                local,
                apps: FxHashMap::default(),
                newest: 0,
                now_us,
                origins: Origins::default(),
            });
        }
        let evaluation = slot.as_mut().ok_or(Miss::Again)?;
        evaluation.release();
        Ok(evaluation)
    }

    /// Drops what belongs to a session and a copy. Writes that only the overlay has must not be missed by whoever evaluates next: a
    /// session under which there are such writes ends.
    fn forget(&self, partition: &Partition, slot: &mut Option<Evaluation>) {
        let is_unapplied = |evaluation: &Evaluation| evaluation.newest > evaluation.session.applied();
        let is_owner =
            |evaluation: &Evaluation| self.parts.locals.get(partition.group, partition.key) == Some(evaluation.local);
        if let Some(evaluation) = slot.as_ref().filter(|evaluation| is_unapplied(evaluation) && is_owner(evaluation)) {
            evaluation.session.end();
        }
        self.drop_evaluation(partition, slot);
    }

    fn drop_evaluation(&self, partition: &Partition, slot: &mut Option<Evaluation>) {
        if let Some(evaluation) = slot.take() {
            let instances = evaluation.apps.values().filter(|app| app.instance.is_some()).count();
            self.instances.fetch_sub(instances, Ordering::Relaxed);
            partition.warm.store(false, Ordering::Relaxed);
        }
    }

    fn drop_instance(&self, evaluation: &mut Evaluation, app: AppId) {
        if evaluation.apps.get_mut(&app).is_some_and(|app| app.instance.take().is_some()) {
            self.instances.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// Makes room for one more handler instance, at the cost of partitions that nobody is calling.
    fn make_room(&self) {
        let mut looked_at = 0;
        while self.instances.load(Ordering::Relaxed) >= self.parts.instances_max {
            let mut warm = self.warm.lock();
            let Some(victim) = warm.pop_front() else { return };
            looked_at += 1;
            match victim.evaluation.try_lock() {
                Some(mut slot) => {
                    if let Some(evaluation) = slot.as_mut() {
                        let dropped = evaluation.apps.values_mut().filter_map(|app| app.instance.take()).count();
                        self.instances.fetch_sub(dropped, Ordering::Relaxed);
                    }
                    victim.warm.store(false, Ordering::Relaxed);
                }
                None => {
                    warm.push_back(victim.clone());
                    if looked_at > warm.len() {
                        return;
                    }
                }
            }
        }
    }

    /// The app's handler instance on a partition, made if there is none or the last one is spoilt.
    fn instance<'a>(
        &self,
        partition: &Arc<Partition>,
        slot: &'a mut Option<HandlerInstance>,
        app: &EvaluatedApp,
    ) -> Result<&'a mut HandlerInstance, CallError> {
        if slot.as_ref().is_some_and(HandlerInstance::is_poisoned) {
            *slot = None;
            self.instances.fetch_sub(1, Ordering::Relaxed);
        }
        if slot.is_none() {
            self.make_room();
            *slot = Some(app.code.new_handler(app.environment())?);
            self.instances.fetch_add(1, Ordering::Relaxed);
            if !partition.warm.swap(true, Ordering::Relaxed) {
                self.warm.lock().push_back(partition.clone());
            }
        }
        slot.as_mut().ok_or_else(|| CallError::Failed("no instance".into()))
    }
}

impl Evaluation {
    /// Drops overlay writes that are visible in the data.
    fn release(&mut self) {
        let applied = self.session.applied();
        for app in self.apps.values_mut() {
            if !app.overlay.is_empty() {
                Arc::make_mut(&mut app.overlay).release(applied);
            }
        }
    }

    /// The time of a transaction that starts now, microseconds.
    fn next_now(&self, clock: &Clock) -> u64 {
        clock.wall_us().max(self.now_us + 1)
    }

    /// Hands the writes of a call to the session and keeps them in the overlay.
    fn commit(
        &mut self,
        usage: &Usage,
        parts: Vec<CallWrites>,
        waiter: recoil_consensus::session::Waiter,
    ) -> Result<u64, Miss> {
        let waiter = count_writes(usage, &parts, waiter);
        let kept: Vec<_> = parts.iter().map(|part| (part.app, part.writes.clone(), part.now_us)).collect();
        let number = self.session.append(parts, waiter).map_err(|_| Miss::Again)?;
        for (app, writes, now_us) in kept {
            self.keep(app, &writes, now_us, number);
        }
        Ok(number)
    }

    fn keep(&mut self, app: AppId, writes: &[recoil_storage::Write], now_us: u64, number: u64) {
        let kept = self.apps.entry(app).or_default();
        let overlay = Arc::make_mut(&mut kept.overlay);
        for write in writes {
            overlay.apply(write, number);
            if let Some(recent) = &kept.recent {
                recent.wrote(write);
            }
        }
        self.newest = number;
        self.now_us = self.now_us.max(now_us);
    }
}

/// Puts a call into a mailbox. True if the partition must be scheduled for it.
fn put(partition: &Partition, call: Call, counted: Option<Counted>) -> bool {
    let mut mailbox = partition.mailbox.lock();
    mailbox.calls.push_back((call, counted));
    !std::mem::replace(&mut mailbox.scheduled, true)
}

/// Counts what is written until `waiter` knows what became of it.
fn count_writes(
    usage: &Usage,
    parts: &[CallWrites],
    waiter: recoil_consensus::session::Waiter,
) -> recoil_consensus::session::Waiter {
    let writes = parts.iter().flat_map(|part| &part.writes);
    let counted = usage.write(writes.map(recoil_storage::Write::size).sum());
    Box::new(move |outcome| {
        drop(counted);
        waiter(outcome);
    })
}

/// A waiter that answers a call once its writes are decided.
fn answer_on(outcome: Outcome, answer: Answer) -> Answer {
    match outcome {
        Outcome::Committed => answer,
        Outcome::Refused => Err(Miss::Again),
        Outcome::Unknown => Err(Miss::Unknown),
    }
}

/// The app may be on its way to this node, and serves elsewhere: the call is routed again.
fn not_ready() -> Miss {
    Miss::Again
}

fn overloaded() -> String {
    "this node has more requests waiting than it may hold; slow down and retry".into()
}

fn storage_failed(error: &dyn std::fmt::Display) -> Miss {
    Miss::Refused(format!("the node's storage failed: {error}"))
}
