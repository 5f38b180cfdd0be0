//! Applying committed entries to the data.
//!
//! One [`Applier`] thread a node does it for all groups, since fjall may block and halts its caller under backpressure: no
//! tokio worker ever waits for it. What changes in one batch: the entries' writes, and the group's applied id, membership, chain,
//! clock and ownership rows. Entries wait a moment for more to come ([`crate::deferred`]). Batches are not fsynced:
//! the log is the truth, and what a crash loses is applied again from it. [`Builder`] persists the data, and only that permits a
//! purge.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use bytes::Bytes;
use futures::{Stream, StreamExt};
use openraft::storage::{EntryResponder, RaftSnapshotBuilder, RaftStateMachine, Snapshot};
use openraft::{EntryPayload, OptionalSend};
use recoil_base::{AppId, CopyId, Digest, GroupId, KeyspaceId, NodeId, PartitionId, task};
use recoil_storage::{Batch, Data, Write, key};
use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;

use crate::answered::Records;
use crate::command::{Body, Command, PartitionRef, PartitionWrites};
use crate::deferred::Deferred;
use crate::handoff::keeps_copy;
use crate::keeper::{Persisted, Sending};
use crate::local::{CopyState, Locals, PartitionState, group_key, put_generation, put_state};
use crate::raft::{Entry, LogId, Reply, SnapshotMeta, StoredMembership, TypeConfig};
use crate::snapshot::{SnapshotData, Source, Staged, TakeError};
use crate::stash::{self, Position};

/// Applies that may wait for the applier, all groups together.
const APPLY_QUEUE: usize = 1024;

/// The thread that writes to the data.
#[derive(Clone)]
pub struct Applier {
    thread: task::Worker,
}

impl Applier {
    /// Starts the thread; it ends when the last clone is dropped.
    pub fn start(node: NodeId) -> Self {
        Applier { thread: task::Worker::start(&format!("apply-{node}")) }
    }

    /// Runs `work` on the thread and waits for its answer.
    pub async fn run<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> io::Result<T> {
        while self.thread.waiting() >= APPLY_QUEUE {
            tokio::time::sleep(std::time::Duration::from_millis(1)).await;
        }
        let (answer, answered) = oneshot::channel();
        self.thread.run(Box::new(move || {
            let _ = answer.send(work());
        }));
        answered.await.map_err(|_| applier_gone())
    }

    /// Drops a value whose end may block.
    pub(crate) fn drop_there(&self, value: impl Send + 'static) {
        self.start_there(move || drop(value));
    }

    /// Has `work` run on the thread, whenever its turn comes.
    pub(crate) fn start_there(&self, work: impl FnOnce() + Send + 'static) {
        self.thread.run(Box::new(work));
    }
}

fn applier_gone() -> io::Error {
    io::Error::other("the applier thread has ended: the node is stopping or its data cannot be written")
}

/// A replicated machine other than partitions: the meta group.
pub trait CustomMachine: Send {
    /// Applies one entry: answers, and hands the rows to change to `write`. Must be deterministic. Keys start with a
    /// kind byte, like an app's.
    ///
    /// # Errors
    /// Why this replica must not go on: nothing of the entry, nor of those after it, is written or answered.
    fn apply(&mut self, index: u64, entry: Bytes, write: &mut dyn FnMut(Write)) -> io::Result<Bytes>;
    /// Takes the state from the rows, at the start and after a snapshot.
    ///
    /// # Errors
    /// Why the rows make no state that this version can work with: the replica does not open, or stops.
    fn load(&mut self, rows: Vec<(Bytes, Bytes)>) -> io::Result<()>;
    /// Everything applied so far is visible in the data.
    fn visible(&mut self);
}

/// What a group's entries mean.
pub enum MachineKind {
    /// [`Command`]s for the partitions that the group owns.
    Partitions,
    /// The room above knows. Its rows are under one copy of their own.
    Custom(Box<dyn CustomMachine>),
}

/// Copies that one batch drops: more would hold up the applier.
const DROPPED_MAX: usize = 2000;
/// The version of a group's row.
const ROW_FORMAT: u8 = 1;

/// The row beside the data that says how far a group has come: `format u8 = 1`, then JSON.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct GroupRow {
    pub(crate) applied: Option<LogId>,
    pub(crate) membership: StoredMembership,
    pub(crate) chain: Option<Chain>,
    /// The package versions that the chain in force may carry.
    pub(crate) versions: BTreeMap<AppId, Digest>,
    /// The hybrid-logical time of the newest write, microseconds: no partition's clock may go back behind it. One for all, since a row for
    /// each would be written with every batch; a partition that moves takes its group's along.
    pub(crate) clock_us: u64,
}

/// The last entry of the chain in force.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Chain {
    pub(crate) term: u64,
    pub(crate) node: NodeId,
    pub(crate) number: u64,
}

impl GroupRow {
    pub(crate) fn decode(bytes: &[u8]) -> io::Result<Self> {
        let unreadable = |why: String| {
            io::Error::other(format!(
                "a group's row cannot be read: {why}. Use the version that wrote it or a later one; if the folder is damaged, replace this \
                 node: start it with an empty data folder, under a new id"
            ))
        };
        let json = bytes.strip_prefix(&[ROW_FORMAT]);
        let json = json.ok_or_else(|| unreadable("it has a format that this version does not know".into()))?;
        serde_json::from_slice(json).map_err(|error| unreadable(error.to_string()))
    }
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut bytes = vec![ROW_FORMAT];
        serde_json::to_writer(&mut bytes, self).expect("a group row has only text keys, and a vector takes all");
        bytes
    }
    pub(crate) fn meta(&self) -> SnapshotMeta {
        SnapshotMeta { last_log_id: self.applied, last_membership: self.membership.clone() }
    }
}

/// The pseudo-partition under which a custom machine's rows lie.
pub fn custom_partition(group: GroupId) -> PartitionRef {
    PartitionRef { keyspace: KeyspaceId(u32::MAX), partition: PartitionId(group.0) }
}

pub(crate) struct Core {
    pub(crate) group: GroupId,
    pub(crate) data: Data,
    pub(crate) locals: Locals,
    pub(crate) row: GroupRow,
    kind: MachineKind,
    pub(crate) records: Records,
}

impl Core {
    /// Reads the group's row. Blocks.
    pub(crate) fn open(group: GroupId, data: Data, locals: Locals, kind: MachineKind) -> io::Result<Self> {
        let row = match data.get(&group_key(group)).map_err(io::Error::other)? {
            Some(bytes) => GroupRow::decode(&bytes)?,
            None => GroupRow::default(),
        };
        if matches!(kind, MachineKind::Custom(_)) {
            locals.create_custom(group, custom_partition(group)).map_err(io::Error::other)?;
        }
        let mut core = Core { group, data, locals, row, kind, records: Records::default() };
        core.load_custom()?;
        Ok(core)
    }

    fn load_custom(&mut self) -> io::Result<()> {
        let Some(local) = self.locals.get(self.group, custom_partition(self.group)) else { return Ok(()) };
        let MachineKind::Custom(machine) = &mut self.kind else { return Ok(()) };
        let prefix = key::prefix(local.copy, AppId(0)).to_vec();
        let mut end = prefix.clone();
        end.push(0xff);
        let mut rows = Vec::new();
        for row in self.data.snapshot().range(prefix.clone(), Some(end), false) {
            let (full, value) = row.map_err(io::Error::other)?;
            rows.push((full.slice(prefix.len()..), value));
        }
        machine.load(rows)
    }

    /// Brings entries to the data, in one batch. After an error nothing may be applied until the group has been opened again. Blocks.
    pub(crate) fn apply(&mut self, entries: Vec<Entry>) -> io::Result<Vec<Reply>> {
        let mut replies = Vec::with_capacity(entries.len());
        let mut next = Next::new(self.data.batch(), self.row.clone());
        for entry in entries {
            next.row.applied = Some(entry.log_id);
            replies.push(match entry.payload {
                EntryPayload::Blank => Reply::Applied,
                EntryPayload::Membership(membership) => {
                    next.row.membership = StoredMembership::new(Some(entry.log_id), membership);
                    Reply::Applied
                }
                EntryPayload::Normal(payload) => match &mut self.kind {
                    MachineKind::Partitions => {
                        let command =
                            Command::decode(payload.0).map_err(|error| self.refused(&entry.log_id, &error))?;
                        self.apply_command(&mut next, entry.log_id.index, command)?
                    }
                    MachineKind::Custom(machine) => {
                        let copy = self.locals.get(self.group, custom_partition(self.group)).map(|local| local.copy);
                        let copy = copy.ok_or_else(|| io::Error::other("the meta group's copy is missing"))?;
                        Reply::Custom(machine.apply(entry.log_id.index, payload.0, &mut |write| {
                            next.batch.write(copy, AppId(0), &write);
                        })?)
                    }
                },
            });
        }
        let Next { mut batch, row, changed, others, frozen, dead } = next;
        self.records.write(&mut batch);
        put_states(&mut batch, &self.locals, self.group, &changed);
        put_others(&mut batch, &self.locals, &others);
        batch.put(group_key(self.group), row.encode());
        self.data.commit(batch).map_err(io::Error::other)?;
        frozen.into_iter().for_each(|copy| self.records.forget_copy(copy));
        self.records.trim();
        self.row = row;
        if !changed.is_empty() {
            self.locals.changed(self.group, changed);
        }
        change_others(&self.locals, others);
        if !dead.is_empty() {
            self.data.kill_copies(&dead).map_err(io::Error::other)?;
        }
        if let MachineKind::Custom(machine) = &mut self.kind {
            machine.visible();
        }
        Ok(replies)
    }

    fn refused(&self, id: &LogId, why: &dyn std::fmt::Display) -> io::Error {
        io::Error::other(format!("group {} cannot apply its entry {}: {why}", self.group, id.index))
    }

    /// Switches to a snapshot that has been loaded: all that the group's replica here had is replaced. A partition that the
    /// snapshot does not name is not the group's any more. What is left of the old rows and copies is answered, for
    /// [`Leftovers::remove`].
    pub(crate) fn install(&mut self, meta: SnapshotMeta, staged: Staged) -> io::Result<Leftovers> {
        let mut before = self.locals.states_of(self.group);
        let (generation, mut states) = staged.take();
        let (chain, versions) = (staged.chain(), staged.versions());
        let clock_us = staged.clock_us().max(self.row.clock_us);
        let row = GroupRow { applied: meta.last_log_id, membership: meta.last_membership, chain, versions, clock_us };
        let mut batch = self.data.batch();
        for (partition, state) in &mut states {
            if let Some(kept) = before.get_mut(partition).filter(|before| keeps_copy(before, state)) {
                state.copy = kept.copy.take();
                put_state(&mut batch, (self.group, generation), *partition, state);
            }
        }
        let others = self.lose_waiting(row.applied.map_or(0, |applied| applied.index));
        put_others(&mut batch, &self.locals, &others);
        put_generation(&mut batch, self.group, generation);
        batch.put(group_key(self.group), row.encode());
        self.data.commit(batch).map_err(io::Error::other)?;
        self.data.persist().map_err(io::Error::other)?;
        self.row = row;
        self.records.forget();
        self.locals.switched(self.group, generation, states);
        change_others(&self.locals, others);
        self.load_custom()?;
        let copies = before.into_values().filter_map(|state| Some(state.copy?.copy)).collect();
        Ok(Leftovers { group: self.group, data: self.data.clone(), locals: self.locals.clone(), copies })
    }

    fn apply_command(&mut self, next: &mut Next, index: u64, command: Command) -> io::Result<Reply> {
        let link = Chain { term: command.term, node: command.node, number: command.chain };
        // The chain rule: an entry evaluated on one that was refused must not be applied.
        let follows = next.row.chain == link.number.checked_sub(1).map(|number| Chain { number, ..link });
        match command.body {
            Body::Start { versions } => next.row.versions = versions.into_iter().collect(),
            Body::Writes { versions, partitions } => {
                // Evaluated by a package that the group does not run: by the chain rule nothing that follows is applied either.
                let runs = versions.iter().all(|(app, digest)| next.row.versions.get(app) == Some(digest));
                // Evaluated on a partition that the group's log has given away or never had: nothing of the entry is applied, be it
                // only one partition of a transaction.
                let owns = |part: &PartitionWrites| {
                    let state = next.state(&self.locals, self.group, part.partition);
                    state.is_some_and(|state| state.ownership.is_owned_in(part.epoch))
                };
                if !runs || !follows || !partitions.iter().all(owns) {
                    return Ok(Reply::Skipped);
                }
                self.apply_writes(next, index, partitions)?;
            }
            Body::Ownership { .. } if !follows => return Ok(Reply::Skipped),
            Body::Ownership { changes } => self.apply_ownership(next, index, changes)?,
        }
        next.row.chain = Some(link);
        Ok(Reply::Applied)
    }

    fn apply_writes(&mut self, next: &mut Next, index: u64, partitions: Vec<PartitionWrites>) -> io::Result<()> {
        let mut place = 0;
        for part in partitions {
            let state = next.state(&self.locals, self.group, part.partition);
            let copy = state.and_then(|state| state.copy).ok_or_else(|| {
                let PartitionRef { keyspace, partition } = part.partition;
                io::Error::other(format!(
                    "group {} owns partition {partition} of keyspace {keyspace}, but there is no copy of it on this node",
                    self.group
                ))
            })?;
            next.row.clock_us = next.row.clock_us.max(part.now_us);
            for app in &part.apps {
                if copy.state == CopyState::Complete {
                    let to = (&self.data, copy.copy);
                    stash::write(&mut next.batch, &mut self.records, to, app).map_err(io::Error::other)?;
                } else {
                    stash::put(&mut next.batch, copy.copy, Position { index, place }, app);
                }
                place += 1;
            }
        }
        Ok(())
    }
}

fn put_states(batch: &mut Batch, locals: &Locals, group: GroupId, states: &BTreeMap<PartitionRef, PartitionState>) {
    let place = (group, locals.generation(group));
    states.iter().for_each(|(partition, state)| put_state(batch, place, *partition, state));
}

fn put_others(batch: &mut Batch, locals: &Locals, states: &BTreeMap<(GroupId, PartitionRef), PartitionState>) {
    for ((group, partition), state) in states {
        put_state(batch, (*group, locals.generation(*group)), *partition, state);
    }
}

fn change_others(locals: &Locals, states: BTreeMap<(GroupId, PartitionRef), PartitionState>) {
    for ((group, partition), state) in states {
        locals.changed(group, [(partition, state)]);
    }
}

/// What a snapshot has replaced. A crash before it is removed leaves it to the next start's sweep.
#[must_use]
pub(crate) struct Leftovers {
    group: GroupId,
    data: Data,
    locals: Locals,
    copies: Vec<CopyId>,
}

impl Leftovers {
    #[cfg(test)]
    pub(crate) fn remove_at_once(self) -> Result<(), recoil_storage::DataError> {
        self.data.kill_copies(&self.copies)?;
        while self.locals.remove_old(self.group)? {}
        Ok(())
    }

    /// Drops the copies and removes the rows, in pieces, so that other groups have their turn on the applier.
    pub(crate) async fn remove(self, applier: &Applier) -> io::Result<()> {
        for copies in self.copies.chunks(DROPPED_MAX) {
            let (data, copies) = (self.data.clone(), copies.to_vec());
            applier.run(move || data.kill_copies(&copies)).await?.map_err(io::Error::other)?;
        }
        loop {
            let (locals, group) = (self.locals.clone(), self.group);
            if !applier.run(move || locals.remove_old(group)).await?.map_err(io::Error::other)? {
                return Ok(());
            }
        }
    }
}

/// What the entries of one batch make of the group.
pub(crate) struct Next {
    pub(crate) batch: Batch,
    pub(crate) row: GroupRow,
    /// Partitions whose rows an entry of the batch has changed.
    pub(crate) changed: BTreeMap<PartitionRef, PartitionState>,
    /// The same of other groups' replicas on this node.
    pub(crate) others: BTreeMap<(GroupId, PartitionRef), PartitionState>,
    /// Copies that the group writes no more.
    pub(crate) frozen: Vec<CopyId>,
    /// Copies that no row names any more.
    pub(crate) dead: Vec<CopyId>,
}

impl Next {
    fn new(batch: Batch, row: GroupRow) -> Self {
        let (changed, others) = (BTreeMap::new(), BTreeMap::new());
        Next { batch, row, changed, others, frozen: vec![], dead: vec![] }
    }

    /// The partition as the entries so far leave it.
    pub(crate) fn state(&self, locals: &Locals, group: GroupId, partition: PartitionRef) -> Option<PartitionState> {
        self.changed.get(&partition).copied().or_else(|| locals.state(group, partition))
    }
}

/// The hybrid-logical time of the newest write that a group's data hold, microseconds; 0 before the first. Blocks.
pub fn read_clock(data: &Data, group: GroupId) -> io::Result<u64> {
    let stored = data.get(&group_key(group)).map_err(io::Error::other)?;
    stored.map_or(Ok(0), |row| Ok(GroupRow::decode(&row)?.clock_us))
}

/// One group's state machine, as openraft drives it.
pub struct Machine {
    deferred: Arc<Deferred>,
    /// The meta group's entries are answered from the state they make: they do not wait.
    at_once: bool,
    persisted: Arc<Persisted>,
    sending: Arc<Sending>,
}

impl Machine {
    pub(crate) fn new(
        deferred: Arc<Deferred>,
        at_once: bool,
        persisted: Arc<Persisted>,
        sending: Arc<Sending>,
    ) -> Self {
        Machine { deferred, at_once, persisted, sending }
    }
}

impl RaftStateMachine<TypeConfig> for Machine {
    type SnapshotData = SnapshotData;
    type SnapshotBuilder = Builder;

    async fn applied_state(&mut self) -> Result<(Option<LogId>, StoredMembership), io::Error> {
        self.deferred.flushed(|core| Ok((core.row.applied, core.row.membership.clone()))).await
    }

    async fn apply<Strm>(&mut self, mut entries: Strm) -> Result<(), io::Error>
    where
        Strm: Stream<Item = Result<EntryResponder<TypeConfig>, io::Error>> + Unpin + OptionalSend,
    {
        let mut due = self.at_once;
        while let Some(entry) = entries.next().await {
            due |= self.deferred.push(entry?)?;
            if due && !self.at_once {
                self.deferred.flush().await?;
                due = false;
            }
        }
        if due { self.deferred.flush().await } else { Ok(()) }
    }

    async fn get_snapshot_builder(&mut self) -> Builder {
        Builder { deferred: self.deferred.clone(), persisted: self.persisted.clone() }
    }

    async fn install_snapshot(&mut self, meta: &SnapshotMeta, snapshot: SnapshotData) -> Result<(), io::Error> {
        let SnapshotData::Staged(staged) = snapshot else {
            return Err(io::Error::other("a snapshot must be loaded before it is installed"));
        };
        let meta = meta.clone();
        let installed = self.deferred.flushed(move |core| core.install(meta, *staged)).await;
        let removed = self.deferred.noted(installed)?.remove(self.deferred.applier()).await;
        self.deferred.noted(removed)
    }

    async fn get_current_snapshot(
        &mut self,
    ) -> Result<Option<Snapshot<crate::raft::LeaderId, NodeId, (), SnapshotData>>, io::Error> {
        let of = |core: &mut Core| Ok((core.group, core.data.clone(), core.row.meta()));
        let (group, data, meta) = self.deferred.flushed(of).await?;
        let taken = task::spawn_blocking(move || Source::take(group, &data)).await.map_err(io::Error::other)?;
        match taken {
            Ok(Some(mut source)) => {
                source.hold(&self.sending);
                Ok(Some(Snapshot { meta: source.meta(), snapshot: SnapshotData::Source(Arc::new(source)) }))
            }
            Ok(None) => Ok(None),
            Err(TakeError::Lacking(why)) => Ok(Some(Snapshot { meta, snapshot: SnapshotData::Lacking(why) })),
            Err(TakeError::Io(error)) => self.deferred.noted(Err(error)),
        }
    }
}

/// Makes everything applied so far durable in the data; what that permits to purge is in the metadata.
pub struct Builder {
    deferred: Arc<Deferred>,
    persisted: Arc<Persisted>,
}

impl RaftSnapshotBuilder<TypeConfig> for Builder {
    type SnapshotData = SnapshotData;

    async fn build_snapshot(&mut self) -> Result<Snapshot<crate::raft::LeaderId, NodeId, (), SnapshotData>, io::Error> {
        let of = |core: &mut Core| Ok((core.group, core.data.clone(), core.row.meta()));
        let (group, data, meta) = self.deferred.flushed(of).await?;
        let built = task::spawn_blocking(move || -> Result<_, TakeError> {
            let source = Source::take(group, &data)?;
            data.persist().map_err(io::Error::other)?;
            source.ok_or_else(|| io::Error::other("nothing has been applied yet").into())
        });
        let source = match built.await.map_err(io::Error::other)? {
            Ok(source) => source,
            // Nothing is purged on the strength of this: it is not said to be durable.
            Err(TakeError::Lacking(why)) => return Ok(Snapshot { meta, snapshot: SnapshotData::Lacking(why) }),
            Err(TakeError::Io(error)) => return self.deferred.noted(Err(error)),
        };
        if let Some(last) = source.meta().last_log_id {
            self.persisted.raise(last.index);
        }
        Ok(Snapshot { meta: source.meta(), snapshot: SnapshotData::Source(Arc::new(source)) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::{AppWrites, PartitionWrites};
    use crate::ownership::OwnershipChange;
    use crate::raft::{LeaderId, Payload};

    const GROUP: GroupId = GroupId(7);
    const PARTITION: PartitionRef = PartitionRef { keyspace: KeyspaceId(1), partition: PartitionId(3) };
    const LEADER: NodeId = NodeId(9);

    fn core(folder: &std::path::Path) -> Core {
        let data = Data::open(folder).unwrap();
        let locals = Locals::open(data.clone()).unwrap();
        let mut core = Core::open(GROUP, data, locals, MachineKind::Partitions).unwrap();
        if core.row.applied.is_none() {
            let replies = core.apply(vec![entry(0, 1, start()), entry(0, 2, birth())]).unwrap();
            assert_eq!(replies, [Reply::Applied, Reply::Applied]);
        }
        core
    }

    fn birth() -> Body {
        Body::Ownership { changes: vec![(PARTITION, OwnershipChange::Birth { epoch: 1 })] }
    }

    fn entry(index: u64, chain: u64, body: Body) -> Entry {
        let command = Command { term: 2, node: LEADER, chain, body };
        let log_id = LogId { leader_id: LeaderId { term: 2, node_id: LEADER }, index };
        Entry { log_id, payload: EntryPayload::Normal(Payload(command.encode(0))) }
    }

    fn start() -> Body {
        Body::Start { versions: vec![(AppId(5), Digest::of(b"one"))] }
    }

    fn put(key: &'static str, epoch: u64) -> Body {
        let write = Write::Put { key: Bytes::from(format!("\u{1}{key}")), value: Bytes::from_static(b"v") };
        let apps = vec![AppWrites { app: AppId(5), writes: vec![write], calls: vec![] }];
        Body::Writes {
            versions: vec![(AppId(5), Digest::of(b"one"))],
            partitions: vec![PartitionWrites { partition: PARTITION, epoch, now_us: 11, apps }],
        }
    }

    fn has(core: &Core, key: &str) -> bool {
        let local = core.locals.get(GROUP, PARTITION).unwrap();
        core.data.get(&key::absolute(local.copy, AppId(5), format!("\u{1}{key}").as_bytes())).unwrap().is_some()
    }

    /// Counts what it applies, and stops at an entry that says so.
    #[derive(Default)]
    struct Counting(Arc<std::sync::atomic::AtomicU64>);

    impl CustomMachine for Counting {
        fn apply(&mut self, index: u64, entry: Bytes, write: &mut dyn FnMut(Write)) -> io::Result<Bytes> {
            write(Write::Put { key: Bytes::from(vec![1, index as u8]), value: entry.clone() });
            if entry == "stop" { Err(io::Error::other("entry 3 cannot be read")) } else { Ok(entry) }
        }
        fn load(&mut self, rows: Vec<(Bytes, Bytes)>) -> io::Result<()> {
            if rows.iter().any(|(_, value)| value == "unreadable") {
                return Err(io::Error::other("a row cannot be read"));
            }
            self.0.store(rows.len() as u64, std::sync::atomic::Ordering::Relaxed);
            Ok(())
        }
        fn visible(&mut self) {
            self.0.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        }
    }

    /// Fails if an entry that a custom machine cannot apply, or one before it in the same batch, leaves rows or raises the applied index; and if
    /// rows that it cannot read do not keep the replica from opening.
    #[test]
    fn an_entry_that_a_custom_machine_cannot_apply_is_not_written() {
        let folder = tempfile::tempdir().unwrap();
        let data = Data::open(folder.path()).unwrap();
        let locals = Locals::open(data.clone()).unwrap();
        let loaded = Arc::<std::sync::atomic::AtomicU64>::default();
        let open = || {
            let kind = MachineKind::Custom(Box::new(Counting(loaded.clone())));
            Core::open(GroupId::META, data.clone(), locals.clone(), kind)
        };
        let custom = |index: u64, payload: &'static str| Entry {
            log_id: LogId { leader_id: LeaderId { term: 2, node_id: LEADER }, index },
            payload: EntryPayload::Normal(Payload(Bytes::from_static(payload.as_bytes()))),
        };
        let mut core = open().unwrap();
        core.apply(vec![custom(1, "one")]).unwrap();
        let error = core.apply(vec![custom(2, "two"), custom(3, "stop")]).unwrap_err();
        assert!(error.to_string().contains("entry 3 cannot be read"));
        let mut core = open().unwrap();
        assert_eq!(core.row.applied.unwrap().index, 1);
        assert_eq!(loaded.load(std::sync::atomic::Ordering::Relaxed), 1);
        core.apply(vec![custom(2, "unreadable")]).unwrap();
        assert!(open().is_err());
    }

    /// Red without the chain rule: "d", evaluated on the refused "c", would be applied.
    #[test]
    fn an_entry_whose_predecessor_was_refused_is_not_applied() {
        let folder = tempfile::tempdir().unwrap();
        let mut core = core(folder.path());
        let entries =
            vec![entry(1, 1, start()), entry(2, 2, put("a", 1)), entry(3, 3, put("b", 1)), entry(4, 5, put("d", 1))];
        let replies = core.apply(entries).unwrap();
        assert_eq!(replies, [Reply::Applied, Reply::Applied, Reply::Applied, Reply::Skipped]);
        assert!(has(&core, "a") && has(&core, "b") && !has(&core, "d"));
        // Later ones of the broken chain neither, until a new chain starts behind all of its numbers.
        let replies =
            core.apply(vec![entry(5, 6, put("e", 1)), entry(6, 7, start()), entry(7, 8, put("f", 1))]).unwrap();
        assert_eq!(replies, [Reply::Skipped, Reply::Applied, Reply::Applied]);
        assert!(!has(&core, "e") && has(&core, "f"));
    }

    /// Red without the comparison of versions: "b" would be applied.
    #[test]
    fn writes_of_a_package_version_that_the_group_does_not_run_are_not_applied() {
        let folder = tempfile::tempdir().unwrap();
        let mut core = core(folder.path());
        let Body::Writes { partitions, .. } = put("b", 1) else { unreachable!() };
        let other = Body::Writes { versions: vec![(AppId(5), Digest::of(b"two"))], partitions };
        let entries =
            vec![entry(1, 1, start()), entry(2, 2, put("a", 1)), entry(3, 3, other), entry(4, 4, put("c", 1))];
        let replies = core.apply(entries).unwrap();
        assert_eq!(replies, [Reply::Applied, Reply::Applied, Reply::Skipped, Reply::Skipped]);
        assert!(has(&core, "a") && !has(&core, "b") && !has(&core, "c"));
    }

    /// Fails if writes that do not match the ownership row are passed over as applied, which was answered as success, or if a part of
    /// their entry is applied.
    #[test]
    fn writes_to_a_partition_that_the_group_does_not_own_are_not_applied() {
        let folder = tempfile::tempdir().unwrap();
        let mut core = core(folder.path());
        let replies = core.apply(vec![entry(1, 1, start()), entry(2, 2, put("a", 2))]).unwrap();
        assert_eq!(replies, [Reply::Applied, Reply::Skipped], "of another epoch");
        assert!(!has(&core, "a"));
        let Body::Writes { versions, partitions: mut two } = put("b", 1) else { unreachable!() };
        let Body::Writes { partitions: other, .. } = put("c", 1) else { unreachable!() };
        let unknown = PartitionRef { partition: PartitionId(4), ..PARTITION };
        two.extend(other.into_iter().map(|part| PartitionWrites { partition: unknown, ..part }));
        let entries = vec![
            entry(3, 3, start()),
            entry(4, 4, Body::Writes { versions, partitions: two }),
            entry(5, 5, put("d", 1)),
            entry(6, 6, start()),
            entry(7, 7, put("e", 1)),
        ];
        let replies = core.apply(entries).unwrap();
        assert_eq!(
            replies,
            [Reply::Applied, Reply::Skipped, Reply::Skipped, Reply::Applied, Reply::Applied],
            "a transaction with a partition that is not the group's, and what was evaluated on it"
        );
        assert!(!has(&core, "b") && !has(&core, "d") && has(&core, "e"));
    }

    /// Fails if a birth is taken outside of the chain, twice, or makes a new copy of a partition that has one.
    #[test]
    fn a_partition_is_born_in_the_log_and_once() {
        let folder = tempfile::tempdir().unwrap();
        let mut core = core(folder.path());
        let copy = core.locals.get(GROUP, PARTITION).unwrap().copy;
        let later = PartitionRef { partition: PartitionId(4), ..PARTITION };
        let both = Body::Ownership {
            changes: [PARTITION, later].map(|partition| (partition, OwnershipChange::Birth { epoch: 1 })).into(),
        };
        assert_eq!(core.apply(vec![entry(1, 9, both.clone())]).unwrap(), [Reply::Skipped]);
        assert!(core.locals.state(GROUP, later).is_none());
        // Writes in the batch that makes the partition.
        let Body::Writes { versions, partitions } = put("a", 1) else { unreachable!() };
        let written = partitions.into_iter().map(|part| PartitionWrites { partition: later, ..part }).collect();
        let writes = Body::Writes { versions, partitions: written };
        let replies = core.apply(vec![entry(2, 1, start()), entry(3, 2, both), entry(4, 3, writes)]).unwrap();
        assert_eq!(replies, [Reply::Applied, Reply::Applied, Reply::Applied]);
        assert_eq!(core.locals.get(GROUP, PARTITION).unwrap().copy, copy);
        let local = core.locals.get(GROUP, later).unwrap();
        assert_ne!(local.copy, copy);
        assert!(core.data.get(&key::absolute(local.copy, AppId(5), b"\x01a")).unwrap().is_some());
        assert_eq!(Locals::open(core.data.clone()).unwrap().states_of(GROUP), core.locals.states_of(GROUP));
    }

    /// Fails if an entry that cannot be read is taken for one that changes nothing.
    #[test]
    fn an_entry_that_this_version_cannot_apply_is_an_error_and_changes_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let mut core = core(folder.path());
        let mut unknown = entry(3, 3, start());
        unknown.payload = EntryPayload::Normal(Payload(Bytes::from_static(b"\x63")));
        let error = core.apply(vec![entry(1, 1, start()), entry(2, 2, put("a", 1)), unknown]).unwrap_err().to_string();
        assert!(error.contains("group 7 cannot apply its entry 3"), "{error}");
        assert!(!has(&core, "a"));
        assert_eq!(GroupRow::decode(&core.data.get(&group_key(GROUP)).unwrap().unwrap()).unwrap(), core.row);
    }

    /// What a snapshot brings takes the place of everything that the replica had.
    ///
    /// Fails if partitions that the snapshot does not name stay owned: a replica that jumps over the entry by which its group gave one up
    /// would go on with it.
    #[test]
    fn a_snapshot_replaces_the_ownership_rows() {
        let folders = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
        let (mut sender, mut receiver) = (core(folders[0].path()), core(folders[1].path()));
        let later = PartitionRef { partition: PartitionId(4), ..PARTITION };
        let only_here = Body::Ownership { changes: vec![(later, OwnershipChange::Birth { epoch: 1 })] };
        receiver.apply(vec![entry(1, 1, start()), entry(2, 2, only_here)]).unwrap();
        let before: Vec<CopyId> = receiver.locals.of_group(GROUP).into_iter().map(|(_, local)| local.copy).collect();
        sender.apply(vec![entry(1, 1, start()), entry(2, 2, put("a", 1)), entry(3, 3, put("b", 1))]).unwrap();
        let source = Arc::new(Source::take(GROUP, &sender.data).unwrap().unwrap());
        let staged = Staged::begin(receiver.data.clone(), GROUP, source.contents().clone()).unwrap();
        while staged.write_states().unwrap() {}
        let mut chunks = source.clone().chunks();
        while let Some(chunk) = chunks.next_chunk().unwrap() {
            staged.load(chunk).unwrap();
        }
        let leftovers = receiver.install(source.meta(), staged).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(leftovers.remove(&Applier::start(NodeId(1)))).unwrap();
        assert!(has(&receiver, "a") && has(&receiver, "b"));
        assert!(receiver.locals.state(GROUP, later).is_none());
        assert_eq!(receiver.row, sender.row);
        let ownership = |core: &Core| core.locals.state(GROUP, PARTITION).unwrap().ownership;
        assert_eq!(ownership(&receiver), ownership(&sender));
        assert_eq!(receiver.data.dead_copies().unwrap(), before, "the old copies are dropped");
        assert_eq!(Locals::open(receiver.data.clone()).unwrap().states_of(GROUP), receiver.locals.states_of(GROUP));
    }

    /// Fails if a replica that lacks rows takes a snapshot: it would permit a purge, and destroy complete replicas (rule M7).
    #[test]
    fn a_replica_that_lacks_rows_takes_no_snapshot() {
        let folder = tempfile::tempdir().unwrap();
        let core = core(folder.path());
        assert!(Source::take(GROUP, &core.data).unwrap().is_some());
        let mut state = core.locals.state(GROUP, PARTITION).unwrap();
        state.copy.as_mut().unwrap().state = CopyState::Missing;
        let mut batch = core.data.batch();
        put_state(&mut batch, (GROUP, core.locals.generation(GROUP)), PARTITION, &state);
        core.data.commit(batch).unwrap();
        let error = Source::take(GROUP, &core.data).err().unwrap();
        assert!(matches!(error, TakeError::Lacking(_)), "{error}");
        assert!(error.to_string().contains("lacks rows of partition 3"), "{error}");
    }

    #[test]
    fn a_groups_row_is_written_as_in_the_fixture() {
        let folder = tempfile::tempdir().unwrap();
        let mut core = core(folder.path());
        core.apply(vec![entry(1, 1, start()), entry(2, 2, put("a", 1))]).unwrap();
        let stored = crate::fixtures::check("group-row.bin", &core.row.encode());
        assert_eq!(GroupRow::decode(&stored).unwrap(), core.row);
        assert!(GroupRow::decode(b"{}").unwrap_err().to_string().contains("does not know"));
    }

    #[test]
    fn applied_index_clock_and_chain_survive_with_the_data_they_describe() {
        let folder = tempfile::tempdir().unwrap();
        {
            let mut core = core(folder.path());
            core.apply(vec![entry(1, 1, start()), entry(2, 2, put("a", 1))]).unwrap();
            core.data.persist().unwrap();
        }
        let mut core = core(folder.path());
        assert_eq!(core.row.applied.unwrap().index, 2);
        assert_eq!(read_clock(&core.data, GROUP).unwrap(), 11);
        assert_eq!(core.apply(vec![entry(3, 3, put("b", 1))]).unwrap(), [Reply::Applied]);
        assert!(has(&core, "a") && has(&core, "b"));
    }
}
