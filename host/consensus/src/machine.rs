//! Applying committed entries to the data.
//!
//! One [`Applier`] thread a node does it for all groups, since fjall may block and halts its caller under backpressure: no
//! tokio worker ever waits for it. What changes in one batch: the entries' writes, and the group's applied id, membership, chain and
//! clock. Entries wait a moment for more to come ([`crate::deferred`]). Batches are not fsynced:
//! the log is the truth, and what a crash loses is applied again from it. [`Builder`] persists the data, and only that permits a
//! purge.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use bytes::Bytes;
use futures::{Stream, StreamExt};
use openraft::storage::{EntryResponder, RaftSnapshotBuilder, RaftStateMachine, Snapshot};
use openraft::{EntryPayload, OptionalSend};
use recoil_base::{AppId, Digest, GroupId, KeyspaceId, NodeId, PartitionId, task};
use recoil_storage::{Batch, Data, Write, key};
use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;

use crate::answered::Records;
use crate::command::{Body, Command, PartitionRef};
use crate::deferred::Deferred;
use crate::local::{Local, Locals, group_key, put_local};
use crate::raft::{Entry, LogId, Reply, SnapshotMeta, StoredMembership, TypeConfig};
use crate::snapshot::{SnapshotData, Staged};

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
        self.thread.run(Box::new(move || drop(value)));
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

/// The row beside the data that says how far a group has come.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct GroupRow {
    pub(crate) applied: Option<LogId>,
    pub(crate) membership: StoredMembership,
    pub(crate) chain: Option<Chain>,
    /// The package versions that the chain in force may carry.
    #[serde(default)]
    pub(crate) versions: BTreeMap<AppId, Digest>,
    /// The hybrid-logical time of the newest write, microseconds: no partition's clock may go back behind it. One for all, since a row for
    /// each would be written with every batch; a partition that moves takes its group's along.
    #[serde(default)]
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
        serde_json::from_slice(bytes)
            .map_err(|error| io::Error::other(format!("a group's row cannot be read: {error}")))
    }
    pub(crate) fn encode(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("a group row has only text keys")
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
    records: Records,
}

impl Core {
    /// Reads the group's row. Blocks.
    pub(crate) fn open(group: GroupId, data: Data, locals: Locals, kind: MachineKind) -> io::Result<Self> {
        let row = match data.get(&group_key(group)).map_err(io::Error::other)? {
            Some(bytes) => GroupRow::decode(&bytes)?,
            None => GroupRow::default(),
        };
        if matches!(kind, MachineKind::Custom(_)) {
            locals.create(group, &[(custom_partition(group), 0)]).map_err(io::Error::other)?;
        }
        let mut core = Core { group, data, locals, row, kind, records: Records::default() };
        core.load_custom()?;
        Ok(core)
    }

    fn load_custom(&mut self) -> io::Result<()> {
        let Some(local) = self.locals.get(custom_partition(self.group)) else { return Ok(()) };
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

    /// Brings entries to the data, in one batch. Blocks.
    pub(crate) fn apply(&mut self, entries: Vec<Entry>) -> io::Result<Vec<Reply>> {
        let mut batch = self.data.batch();
        let mut replies = Vec::with_capacity(entries.len());
        let mut row = self.row.clone();
        for entry in entries {
            row.applied = Some(entry.log_id);
            replies.push(match entry.payload {
                EntryPayload::Blank => Reply::Applied,
                EntryPayload::Membership(membership) => {
                    row.membership = StoredMembership::new(Some(entry.log_id), membership);
                    Reply::Applied
                }
                EntryPayload::Normal(payload) => match &mut self.kind {
                    MachineKind::Partitions => {
                        let command = Command::decode(payload.0).map_err(io::Error::other)?;
                        self.apply_command(&mut row, &mut batch, command)?
                    }
                    MachineKind::Custom(machine) => {
                        let copy = self.locals.get(custom_partition(self.group)).map(|local| local.copy);
                        let copy = copy.ok_or_else(|| io::Error::other("the meta group's copy is missing"))?;
                        Reply::Custom(machine.apply(entry.log_id.index, payload.0, &mut |write| {
                            batch.write(copy, AppId(0), &write);
                        })?)
                    }
                },
            });
        }
        self.records.write(&mut batch);
        batch.put(group_key(self.group), row.encode());
        self.data.commit(batch).map_err(io::Error::other)?;
        self.records.trim();
        self.row = row;
        if let MachineKind::Custom(machine) = &mut self.kind {
            machine.visible();
        }
        Ok(replies)
    }

    /// Switches to a snapshot that has been loaded under fresh copies.
    pub(crate) fn install(&mut self, meta: SnapshotMeta, staged: Staged) -> io::Result<()> {
        let mut batch = self.data.batch();
        let mut switched = Vec::new();
        let mut dead = Vec::new();
        for (partition, epoch, copy) in staged.take() {
            let before = self.locals.get(partition);
            if before.is_some_and(|local| local.group != self.group || local.epoch > epoch) {
                dead.push(copy);
                continue;
            }
            dead.extend(before.map(|local| local.copy));
            let local = Local { group: self.group, epoch, copy, state: crate::local::LocalState::Complete };
            put_local(&mut batch, partition, &local);
            switched.push((partition, local));
        }
        let (chain, versions) = (staged.chain(), staged.versions());
        let clock_us = staged.clock_us().max(self.row.clock_us);
        let row = GroupRow { applied: meta.last_log_id, membership: meta.last_membership, chain, versions, clock_us };
        batch.put(group_key(self.group), row.encode());
        self.data.commit(batch).map_err(io::Error::other)?;
        self.data.persist().map_err(io::Error::other)?;
        self.row = row;
        self.records.forget();
        self.locals.switched(switched);
        for copy in dead {
            self.data.kill_copy(copy).map_err(io::Error::other)?;
        }
        self.load_custom()
    }

    fn apply_command(&mut self, row: &mut GroupRow, batch: &mut Batch, command: Command) -> io::Result<Reply> {
        let link = Chain { term: command.term, node: command.node, number: command.chain };
        let partitions = match command.body {
            Body::Start { versions } => {
                row.chain = Some(link);
                row.versions = versions.into_iter().collect();
                return Ok(Reply::Applied);
            }
            Body::Writes { versions, partitions } => {
                // Evaluated by a package that the group does not run: by the chain rule nothing that follows is applied either.
                if versions.iter().any(|(app, digest)| row.versions.get(app) != Some(digest)) {
                    return Ok(Reply::Skipped);
                }
                partitions
            }
        };
        // The chain rule: an entry evaluated on one that was refused must not be applied.
        if row.chain != link.number.checked_sub(1).map(|number| Chain { number, ..link }) {
            return Ok(Reply::Skipped);
        }
        row.chain = Some(link);
        for part in partitions {
            let Some(local) = self.locals.get(part.partition) else { continue };
            if local.group != self.group || local.epoch != part.epoch {
                continue;
            }
            row.clock_us = row.clock_us.max(part.now_us);
            for app in part.apps {
                for call in &app.calls {
                    let noted = self.records.note(&self.data, part.partition, &local, app.app, call);
                    noted.map_err(io::Error::other)?;
                }
                for write in &app.writes {
                    batch.write(local.copy, app.app, write);
                }
                // What is cached of an origin that has been forgotten must not come back.
                self.records.forget_removed(part.partition, app.app, &app.writes);
            }
        }
        Ok(Reply::Applied)
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
}

impl Machine {
    pub(crate) fn new(deferred: Arc<Deferred>, at_once: bool) -> Self {
        Machine { deferred, at_once }
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
        Builder { deferred: self.deferred.clone() }
    }

    async fn install_snapshot(&mut self, meta: &SnapshotMeta, snapshot: SnapshotData) -> Result<(), io::Error> {
        let SnapshotData::Staged(staged) = snapshot else {
            return Err(io::Error::other("a snapshot must be loaded before it is installed"));
        };
        let meta = meta.clone();
        self.deferred.flushed(move |core| core.install(meta, staged)).await
    }

    async fn get_current_snapshot(
        &mut self,
    ) -> Result<Option<Snapshot<crate::raft::LeaderId, NodeId, (), SnapshotData>>, io::Error> {
        let (group, data) = self.deferred.flushed(|core| Ok((core.group, core.data.clone()))).await?;
        let source = task::spawn_blocking(move || crate::snapshot::Source::take(group, &data));
        let Some(source) = source.await.map_err(io::Error::other)?? else { return Ok(None) };
        Ok(Some(Snapshot { meta: source.meta(), snapshot: SnapshotData::Source(Arc::new(source)) }))
    }
}

/// Makes everything applied so far durable in the data; what that permits to purge is in the metadata.
pub struct Builder {
    deferred: Arc<Deferred>,
}

impl RaftSnapshotBuilder<TypeConfig> for Builder {
    type SnapshotData = SnapshotData;

    async fn build_snapshot(&mut self) -> Result<Snapshot<crate::raft::LeaderId, NodeId, (), SnapshotData>, io::Error> {
        let (group, data) = self.deferred.flushed(|core| Ok((core.group, core.data.clone()))).await?;
        let built = task::spawn_blocking(move || -> io::Result<_> {
            let source = crate::snapshot::Source::take(group, &data)?;
            data.persist().map_err(io::Error::other)?;
            source.ok_or_else(|| io::Error::other("nothing has been applied yet"))
        });
        let source = built.await.map_err(io::Error::other)??;
        Ok(Snapshot { meta: source.meta(), snapshot: SnapshotData::Source(Arc::new(source)) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::{AppWrites, PartitionWrites};
    use crate::raft::{LeaderId, Payload};

    const GROUP: GroupId = GroupId(7);
    const PARTITION: PartitionRef = PartitionRef { keyspace: KeyspaceId(1), partition: PartitionId(3) };
    const LEADER: NodeId = NodeId(9);

    fn core(folder: &std::path::Path) -> Core {
        let data = Data::open(folder).unwrap();
        let locals = Locals::open(data.clone()).unwrap();
        locals.create(GROUP, &[(PARTITION, 1)]).unwrap();
        Core::open(GROUP, data, locals, MachineKind::Partitions).unwrap()
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
        let local = core.locals.get(PARTITION).unwrap();
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

    /// Red without the epoch rule.
    #[test]
    fn writes_of_another_epoch_are_not_applied() {
        let folder = tempfile::tempdir().unwrap();
        let mut core = core(folder.path());
        core.apply(vec![entry(1, 1, start()), entry(2, 2, put("a", 2)), entry(3, 3, put("b", 1))]).unwrap();
        assert!(!has(&core, "a") && has(&core, "b"));
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
