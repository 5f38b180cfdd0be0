//! The partitions on this node: for each group with a replica here, its ownership rows and its copies of partitions.
//!
//! Two kinds of state lie beside the data and must not be mixed up (rule M1 of the handoff protocol):
//! - The **ownership row** of (group, partition) is a function of the group's log ([`crate::ownership`]).
//! - The **copy row** of (group, partition) names the copy that this replica keeps and what it is good for. It is local to
//!   the replica and never leaves the node.
//!
//! Two groups with replicas on this node may both have rows for one partition, for example while it moves between them.
//!
//! Invariants:
//! - Rows of a group change only in one batch with the group's applied index (the custom machine's own partition excepted,
//!   which is made when its group first opens).
//! - A row that cannot be read ends the start of the node ([`LocalsError`]): a partition whose row was passed over would
//!   be taken for one that never existed, and its acknowledged writes would be lost in silence.
//! - A copy that no copy row names belongs to nobody. A crash while a snapshot was being loaded, or between the batch that
//!   switched copies and the one that dropped the old ones, leaves such copies; [`Locals::sweep`] drops them at start-up,
//!   before any group opens (rule M13).
//! - The rows of a group belong to a **generation**. A snapshot's rows are written under a generation of their own while it is
//!   loaded, a few at a time, and one small row switches the group to it ([`crate::snapshot`]): a batch with the rows of ten
//!   thousand partitions would hold up the node's applier. Generations only grow; rows of another one than the group's mean
//!   nothing, and are removed after the switch or at the next start.
//!
//! Rows lie under copy 0, the node's own: kind 0x20 (ownership) and 0x22 (copy), both with `group u32 BE | generation u64 BE |
//! keyspace u32 BE | partition u32 BE`; kind 0x23 with `group u32 BE`: the group's generation, `format u8 = 1 | u64`; without
//! one it is 0. A copy row is `format u8 = 1 | copy u64 | state u8`, then for the states 1 (pulling) `index u64`, 2
//! (waiting) `group u32 | index u64`.

mod removal;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use parking_lot::RwLock;
use recoil_base::{AppId, CopyId, DecodeError, GroupId, KeyspaceId, PartitionId, Reader, Writer};
use recoil_storage::{Batch, Data, DataError, DataSnapshot, key};
use rustc_hash::{FxHashMap, FxHashSet};
use tokio::sync::watch;

use crate::command::PartitionRef;
use crate::ownership::{Ownership, Phase};
pub use removal::remove_group;

const KIND_OWNERSHIP: u8 = 0x20;
const KIND_GROUP: u8 = 0x21;
const KIND_COPY: u8 = 0x22;
const KIND_GENERATION: u8 = 0x23;
/// The version of a copy row.
const COPY_FORMAT: u8 = 1;
/// The version of a generation row.
const GENERATION_FORMAT: u8 = 1;
/// Rows that one batch removes: more would hold up the applier.
const REMOVED_MAX: usize = 2000;

/// Counts the snapshots that a replica has installed, with gaps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Generation(pub(crate) u64);

/// What this replica's copy of a partition is good for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CopyState {
    /// It holds everything that its group has applied here.
    Complete,
    /// It holds the partition's rows as of this index of the source group's log, and more are being fetched.
    Pulling {
        /// An index of the source's log.
        index: u64,
    },
    /// The source's replica on this node has to apply its log up to this index before the copy is complete.
    Waiting {
        /// The group that the partition comes from.
        source: GroupId,
        /// An index of the source's log.
        index: u64,
    },
    /// The rows must be fetched from another replica.
    Missing,
}

/// A copy of a partition on this node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CopyRow {
    /// Where its rows are.
    pub copy: CopyId,
    /// What it is good for.
    pub state: CopyState,
}

/// What one group's replica on this node has of a partition.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PartitionState {
    /// What the group's log says.
    pub ownership: Ownership,
    /// The copy here, if there is one.
    pub copy: Option<CopyRow>,
}

impl PartitionState {
    /// True if the group owns the partition and this replica lacks rows of it.
    pub fn lacks_rows(&self) -> bool {
        let is_complete = self.copy.is_some_and(|copy| copy.state == CopyState::Complete);
        self.ownership.phase == Phase::Owned && !is_complete
    }

    /// The partition as it may be written and read here: owned by the group, with a complete copy.
    pub(crate) fn usable(&self, group: GroupId) -> Option<Local> {
        let copy = self.copy.filter(|copy| copy.state == CopyState::Complete)?;
        let epoch = self.ownership.epoch;
        (self.ownership.phase == Phase::Owned).then_some(Local { group, epoch, copy: copy.copy })
    }
}

/// A partition that a group owns and of which this node has a complete copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Local {
    /// The group whose entries may write it.
    pub group: GroupId,
    /// The epoch that those entries must carry.
    pub epoch: u64,
    /// Where its rows are.
    pub copy: CopyId,
}

/// Why the node's partitions are not known.
#[derive(Debug, thiserror::Error)]
pub enum LocalsError {
    /// The data refuses.
    #[error(transparent)]
    Data(#[from] DataError),
    /// A row is not what this version writes.
    #[error(
        "the data folder's {what} cannot be read: {why}. The node does not start, since it would take the partition for an empty one. Use \
         the version that wrote the folder or a later one; if the folder is damaged, replace this node: start it with an empty data folder, \
         under a new id"
    )]
    Unreadable {
        /// Which row.
        what: String,
        /// What is wrong with it.
        why: String,
    },
}

#[derive(Default)]
struct GroupStates {
    generation: Generation,
    partitions: FxHashMap<PartitionRef, PartitionState>,
}

#[derive(Default)]
struct States {
    groups: FxHashMap<GroupId, GroupStates>,
    /// The partitions of which a replica here lacks rows.
    lacking: BTreeSet<(GroupId, PartitionRef)>,
}

impl States {
    fn put(&mut self, group: GroupId, partition: PartitionRef, state: PartitionState) {
        if state.lacks_rows() {
            self.lacking.insert((group, partition));
        } else {
            self.lacking.remove(&(group, partition));
        }
        self.groups.entry(group).or_default().partitions.insert(partition, state);
    }
}

/// Told of partitions whose rows have changed, once that is visible; on the applier's thread, which must not be held up.
pub type LocalsObserver = Arc<dyn Fn(&[PartitionRef]) + Send + Sync>;

/// All partitions of this node, in memory and beside the data. Clones share them.
#[derive(Clone)]
pub struct Locals {
    data: Data,
    states: Arc<RwLock<States>>,
    observer: Arc<OnceLock<LocalsObserver>>,
    /// Counts the changes.
    changes: Arc<watch::Sender<u64>>,
}

impl Locals {
    /// Reads the rows. Blocks; not for a tokio worker.
    ///
    /// # Errors
    /// A row that this version cannot read, or data that cannot be read.
    pub fn open(data: Data) -> Result<Self, LocalsError> {
        let rows = data.snapshot();
        let mut states = States::default();
        for group in groups_in(&rows)? {
            let generation = generation_in(&rows, group)?;
            states.groups.entry(group).or_default().generation = generation;
            for (partition, state) in states_of_generation(&rows, group, generation)? {
                states.put(group, partition, state);
            }
        }
        let (states, changes) = (Arc::new(RwLock::new(states)), Arc::new(watch::channel(0).0));
        Ok(Locals { data, states, observer: Arc::default(), changes })
    }

    /// Has every later change told to `observer`. Only the first one counts.
    pub fn observe(&self, observer: LocalsObserver) {
        let _ = self.observer.set(observer);
    }

    /// Changes whenever rows have changed.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    fn tell(&self, changed: &[PartitionRef]) {
        if let Some(observer) = self.observer.get().filter(|_| !changed.is_empty()) {
            observer(changed);
        }
        self.changes.send_modify(|changes| *changes += 1);
    }

    /// The partition, if the group owns it and the copy here is complete.
    pub fn get(&self, group: GroupId, partition: PartitionRef) -> Option<Local> {
        self.state(group, partition)?.usable(group)
    }

    /// What the group's replica here has of the partition, if its log has ever named it.
    pub fn state(&self, group: GroupId, partition: PartitionRef) -> Option<PartitionState> {
        self.states.read().groups.get(&group)?.partitions.get(&partition).copied()
    }

    /// The generation of the group's rows.
    pub(crate) fn generation(&self, group: GroupId) -> Generation {
        self.states.read().groups.get(&group).map_or(Generation(0), |states| states.generation)
    }

    /// The newest placement of a partition, as (group, epoch), that the logs of the groups with a replica here say: of a group that
    /// owns it, or that has released it to another one. Looks at all groups.
    pub fn placement(&self, partition: PartitionRef) -> Option<(GroupId, u64)> {
        let states = self.states.read();
        let placements = states.groups.iter().filter_map(|(group, states)| {
            let ownership = states.partitions.get(&partition)?.ownership;
            match ownership.phase {
                Phase::Owned => Some((*group, ownership.epoch)),
                Phase::Released(moving) => Some((moving.other, moving.epoch)),
                Phase::Absent | Phase::Expected(_) => None,
            }
        });
        placements.max_by_key(|(_, epoch)| *epoch)
    }

    /// What every group with a replica here has of a partition. Looks at all groups.
    pub fn states_for(&self, partition: PartitionRef) -> Vec<(GroupId, PartitionState)> {
        let states = self.states.read();
        let of = |(group, states): (&GroupId, &GroupStates)| Some((*group, *states.partitions.get(&partition)?));
        states.groups.iter().filter_map(of).collect()
    }

    /// The group with a replica here that calls of a partition are for: the one that owns it, or else the one that expects it.
    pub fn responsible(&self, partition: PartitionRef) -> Option<GroupId> {
        let rank = |state: &PartitionState| match state.ownership.phase {
            Phase::Owned => Some((1, state.ownership.epoch)),
            Phase::Expected(moving) => Some((0, moving.epoch)),
            Phase::Absent | Phase::Released(_) => None,
        };
        let states = self.states_for(partition).into_iter();
        states.filter_map(|(group, state)| Some((rank(&state)?, group))).max().map(|(_, group)| group)
    }

    /// The partitions of which a replica here lacks rows, in order.
    pub fn lacking(&self) -> Vec<(GroupId, PartitionRef)> {
        self.states.read().lacking.iter().copied().collect()
    }

    /// One of the partitions of which the group's replica here lacks rows.
    pub fn lacked_by(&self, group: GroupId) -> Option<PartitionRef> {
        let [first, last] = [(0, 0), (u32::MAX, u32::MAX)].map(|(keyspace, partition)| {
            (group, PartitionRef { keyspace: KeyspaceId(keyspace), partition: PartitionId(partition) })
        });
        self.states.read().lacking.range(first..=last).next().map(|(_, partition)| *partition)
    }

    /// The partitions that `group` owns and that are complete here, in order.
    pub fn of_group(&self, group: GroupId) -> Vec<(PartitionRef, Local)> {
        let states = self.states_of(group);
        states.into_iter().filter_map(|(partition, state)| Some((partition, state.usable(group)?))).collect()
    }

    /// Everything that the group's replica here has, in the order of the partitions.
    pub fn states_of(&self, group: GroupId) -> BTreeMap<PartitionRef, PartitionState> {
        let states = self.states.read();
        let partitions = states.groups.get(&group).into_iter().flat_map(|states| &states.partitions);
        partitions.map(|(partition, state)| (*partition, *state)).collect()
    }

    /// Makes the one partition under which a custom machine's rows lie, unless it is there. Blocks; not for a tokio worker.
    pub(crate) fn create_custom(&self, group: GroupId, partition: PartitionRef) -> Result<(), DataError> {
        if self.state(group, partition).is_some() {
            return Ok(());
        }
        let ownership = Ownership { phase: Phase::Owned, ..Ownership::default() };
        let copy = CopyRow { copy: self.data.new_copy()?, state: CopyState::Complete };
        let state = PartitionState { ownership, copy: Some(copy) };
        let mut batch = self.data.batch();
        put_state(&mut batch, (group, self.generation(group)), partition, &state);
        self.data.commit(batch)?;
        self.changed(group, [(partition, state)]);
        Ok(())
    }

    /// Drops the copies that no row names, and removes rows of generations that are over; answers how many copies. Only before any
    /// group is open. Blocks; not for a tokio worker.
    pub fn sweep(&self) -> Result<usize, DataError> {
        let (named, generations): (FxHashSet<CopyId>, Vec<_>) = {
            let all = self.states.read();
            let states = all.groups.values().flat_map(|states| states.partitions.values());
            let named = states.filter_map(|state| state.copy.map(|copy| copy.copy)).collect();
            (named, all.groups.iter().map(|(group, states)| (*group, states.generation)).collect())
        };
        let orphans: Vec<CopyId> = self.data.live_copies()?.into_iter().filter(|copy| !named.contains(copy)).collect();
        self.data.kill_copies(&orphans)?;
        for (group, Generation(generation)) in generations {
            while remove_rows(&self.data, group, 0..generation)?
                || remove_rows(&self.data, group, generation + 1..u64::MAX)?
            {}
        }
        Ok(orphans.len())
    }

    /// Removes some of the group's rows of generations before its present one; false if there are none left. Blocks; not for a tokio
    /// worker.
    pub(crate) fn remove_old(&self, group: GroupId) -> Result<bool, DataError> {
        remove_rows(&self.data, group, 0..self.generation(group).0)
    }

    /// Takes in rows that a committed batch wrote with [`put_state`].
    pub(crate) fn changed(&self, group: GroupId, changed: impl IntoIterator<Item = (PartitionRef, PartitionState)>) {
        let mut partitions = Vec::new();
        {
            let mut states = self.states.write();
            for (partition, state) in changed {
                states.put(group, partition, state);
                partitions.push(partition);
            }
        }
        self.tell(&partitions);
    }

    /// Takes in that a committed batch switched the group to a generation with these rows.
    pub(crate) fn switched(
        &self,
        group: GroupId,
        generation: Generation,
        states: impl IntoIterator<Item = (PartitionRef, PartitionState)>,
    ) {
        let mut partitions: BTreeSet<PartitionRef> = BTreeSet::new();
        {
            let mut all = self.states.write();
            let before = all.groups.insert(group, GroupStates { generation, ..GroupStates::default() });
            partitions.extend(before.into_iter().flat_map(|before| before.partitions.into_keys()));
            all.lacking.retain(|(other, _)| *other != group);
            for (partition, state) in states {
                all.put(group, partition, state);
                partitions.insert(partition);
            }
        }
        self.tell(&partitions.into_iter().collect::<Vec<_>>());
    }
}

/// The groups that have any rows, in order: one seek for each.
fn groups_in(rows: &DataSnapshot) -> Result<Vec<GroupId>, LocalsError> {
    let mut found = Vec::new();
    for kind in [KIND_OWNERSHIP, KIND_COPY, KIND_GENERATION] {
        let mut from = Some(0u32);
        while let Some(first) = from {
            let start = node_key(kind, &first.to_be_bytes());
            let Some(row) = rows.range(start, key::after(&node_key(kind, &[])), false).next() else { break };
            let (full, _) = row?;
            let group = full.get(node_key(0, &[]).len()..).and_then(|rest| rest.first_chunk::<4>());
            let group = group.ok_or_else(|| wrong_key("row of partitions", &full))?;
            let group = u32::from_be_bytes(*group);
            found.push(GroupId(group));
            from = group.checked_add(1);
        }
    }
    found.sort();
    found.dedup();
    Ok(found)
}

/// The generation of a group's rows.
fn generation_in(rows: &DataSnapshot, group: GroupId) -> Result<Generation, LocalsError> {
    let Some(value) = rows.get(&generation_key(group))? else { return Ok(Generation(0)) };
    let mut reader = Reader::new("generation row", value);
    let read = || {
        if reader.u8()? != GENERATION_FORMAT {
            return Err(reader.error("a format that this version does not know"));
        }
        let generation = reader.u64()?;
        reader.finish()?;
        Ok(Generation(generation))
    };
    read().map_err(|error: DecodeError| LocalsError::Unreadable {
        what: format!("generation row of group {group}"),
        why: error.to_string(),
    })
}

/// Both rows of each partition of a group, in one generation.
fn states_of_generation(
    rows: &DataSnapshot,
    group: GroupId,
    generation: Generation,
) -> Result<BTreeMap<PartitionRef, PartitionState>, LocalsError> {
    let within = encode_generation(group, generation);
    let mut copies: FxHashMap<PartitionRef, CopyRow> = FxHashMap::default();
    for row in rows.prefix(&node_key(KIND_COPY, &within), false) {
        let (key, value) = row?;
        let partition = decode_key("copy row", &key)?;
        let copy = decode_copy(value).map_err(|error| unreadable("copy row", (group, partition), &error))?;
        copies.insert(partition, copy);
    }
    let mut states = BTreeMap::new();
    for row in rows.prefix(&node_key(KIND_OWNERSHIP, &within), false) {
        let (key, value) = row?;
        let partition = decode_key("ownership row", &key)?;
        let ownership =
            decode_ownership(value).map_err(|error| unreadable("ownership row", (group, partition), &error))?;
        states.insert(partition, PartitionState { ownership, copy: copies.remove(&partition) });
    }
    match copies.into_keys().next() {
        None => Ok(states),
        Some(partition) => Err(unreadable("copy row", (group, partition), &"there is no ownership row beside it")),
    }
}

/// Removes some rows of a group's generations; false if there are none.
fn remove_rows(data: &Data, group: GroupId, generations: std::ops::Range<u64>) -> Result<bool, DataError> {
    let mut batch = data.batch();
    let rows = data.snapshot();
    for kind in [KIND_OWNERSHIP, KIND_COPY] {
        let [start, end] = [generations.start, generations.end]
            .map(|generation| node_key(kind, &encode_generation(group, Generation(generation))));
        for row in rows.range(start, Some(end), false).take(REMOVED_MAX - batch.len()) {
            batch.remove(row?.0);
        }
    }
    let some = !batch.is_empty();
    if some {
        data.commit(batch)?;
    }
    Ok(some)
}

fn unreadable(what: &str, (group, partition): (GroupId, PartitionRef), why: &dyn std::fmt::Display) -> LocalsError {
    let PartitionRef { keyspace, partition } = partition;
    let what = format!("{what} of partition {partition} of keyspace {keyspace} in group {group}");
    LocalsError::Unreadable { what, why: why.to_string() }
}

/// What one moment of the data says of one partition of a group. Blocks.
pub(crate) fn state_in(
    rows: &DataSnapshot,
    group: GroupId,
    partition: PartitionRef,
) -> Result<Option<PartitionState>, LocalsError> {
    let rest = encode_place((group, generation_in(rows, group)?), partition);
    let Some(ownership) = rows.get(&node_key(KIND_OWNERSHIP, &rest))? else { return Ok(None) };
    let wrong = |what: &str, error: DecodeError| unreadable(what, (group, partition), &error);
    let ownership = decode_ownership(ownership).map_err(|error| wrong("ownership row", error))?;
    let copy = rows.get(&node_key(KIND_COPY, &rest))?.map(decode_copy).transpose();
    Ok(Some(PartitionState { ownership, copy: copy.map_err(|error| wrong("copy row", error))? }))
}

/// What one moment of the data says of a group's partitions, in order. Blocks.
pub(crate) fn states_in(
    rows: &DataSnapshot,
    group: GroupId,
) -> Result<BTreeMap<PartitionRef, PartitionState>, LocalsError> {
    states_of_generation(rows, group, generation_in(rows, group)?)
}

/// Writes a partition's rows, in a generation of its group, into `batch`.
pub(crate) fn put_state(
    batch: &mut Batch,
    place: (GroupId, Generation),
    partition: PartitionRef,
    state: &PartitionState,
) {
    let rest = encode_place(place, partition);
    let mut writer = Writer::with_capacity(64);
    state.ownership.encode(&mut writer);
    batch.put(node_key(KIND_OWNERSHIP, &rest), writer.finish());
    match &state.copy {
        Some(copy) => batch.put(node_key(KIND_COPY, &rest), encode_copy(copy)),
        None => batch.remove(node_key(KIND_COPY, &rest)),
    }
}

/// Switches a group to a generation with `batch`.
pub(crate) fn put_generation(batch: &mut Batch, group: GroupId, generation: Generation) {
    let mut writer = Writer::with_capacity(9);
    writer.u8(GENERATION_FORMAT).u64(generation.0);
    batch.put(generation_key(group), writer.finish());
}

fn generation_key(group: GroupId) -> Vec<u8> {
    node_key(KIND_GENERATION, &group.0.to_be_bytes())
}

/// The key of a group's row: applied id, membership and chain.
pub(crate) fn group_key(group: GroupId) -> Vec<u8> {
    node_key(KIND_GROUP, &group.0.to_be_bytes())
}

fn node_key(kind: u8, rest: &[u8]) -> Vec<u8> {
    key::full(CopyId(0), AppId(0), kind, rest)
}

/// Bytes of group and generation in a key.
const GENERATION_BYTES: usize = 12;

fn encode_generation(group: GroupId, generation: Generation) -> [u8; GENERATION_BYTES] {
    let mut within = [0u8; GENERATION_BYTES];
    within[..4].copy_from_slice(&group.0.to_be_bytes());
    within[4..].copy_from_slice(&generation.0.to_be_bytes());
    within
}

fn encode_place((group, generation): (GroupId, Generation), partition: PartitionRef) -> [u8; GENERATION_BYTES + 8] {
    let mut place = [0u8; GENERATION_BYTES + 8];
    place[..GENERATION_BYTES].copy_from_slice(&encode_generation(group, generation));
    place[GENERATION_BYTES..][..4].copy_from_slice(&partition.keyspace.0.to_be_bytes());
    place[GENERATION_BYTES + 4..].copy_from_slice(&partition.partition.0.to_be_bytes());
    place
}

fn wrong_key(what: &str, full: &[u8]) -> LocalsError {
    let what = format!("{what} with the key {full:?}");
    LocalsError::Unreadable { what, why: "its key does not have the length of one".into() }
}

/// The partition in the key of a row.
fn decode_key(what: &str, full: &[u8]) -> Result<PartitionRef, LocalsError> {
    let rest = full.get(node_key(0, &[]).len() + GENERATION_BYTES..).and_then(|rest| <&[u8; 8]>::try_from(rest).ok());
    let rest = rest.ok_or_else(|| wrong_key(what, full))?;
    let number = |at: usize| u32::from_be_bytes(rest[at..at + 4].try_into().expect("4 of 8 bytes"));
    Ok(PartitionRef { keyspace: KeyspaceId(number(0)), partition: PartitionId(number(4)) })
}

fn decode_ownership(value: Bytes) -> Result<Ownership, DecodeError> {
    let mut reader = Reader::new("ownership row", value);
    let ownership = Ownership::decode(&mut reader)?;
    reader.finish()?;
    Ok(ownership)
}

fn encode_copy(row: &CopyRow) -> Bytes {
    let mut writer = Writer::with_capacity(24);
    writer.u8(COPY_FORMAT).u64(row.copy.0);
    match row.state {
        CopyState::Complete => writer.u8(0),
        CopyState::Pulling { index } => writer.u8(1).u64(index),
        CopyState::Waiting { source, index } => writer.u8(2).u32(source.0).u64(index),
        CopyState::Missing => writer.u8(3),
    };
    writer.finish()
}

fn decode_copy(value: Bytes) -> Result<CopyRow, DecodeError> {
    let mut reader = Reader::new("copy row", value);
    if reader.u8()? != COPY_FORMAT {
        return Err(reader.error("a format that this version does not know"));
    }
    let copy = CopyId(reader.u64()?);
    let state = match reader.u8()? {
        0 => CopyState::Complete,
        1 => CopyState::Pulling { index: reader.u64()? },
        2 => CopyState::Waiting { source: GroupId(reader.u32()?), index: reader.u64()? },
        3 => CopyState::Missing,
        _ => return Err(reader.error("a state that this version does not know")),
    };
    reader.finish()?;
    Ok(CopyRow { copy, state })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ownership::OwnershipChange;

    const GROUP: GroupId = GroupId(7);

    fn partition(number: u32) -> PartitionRef {
        PartitionRef { keyspace: KeyspaceId(1), partition: PartitionId(number) }
    }

    fn born(data: &Data, state: CopyState) -> PartitionState {
        let mut ownership = Ownership::default();
        assert!(ownership.apply(1, 1, OwnershipChange::Birth { epoch: 1 }));
        PartitionState { ownership, copy: Some(CopyRow { copy: data.new_copy().unwrap(), state }) }
    }

    fn store(data: &Data, group: GroupId, number: u32, state: &PartitionState) {
        let mut batch = data.batch();
        put_state(&mut batch, (group, Generation(0)), partition(number), state);
        data.commit(batch).unwrap();
    }

    #[test]
    fn two_groups_keep_rows_of_one_partition_and_only_complete_copies_are_usable() {
        let folder = tempfile::tempdir().unwrap();
        let data = Data::open(folder.path()).unwrap();
        let (complete, other) = (born(&data, CopyState::Complete), GroupId(GROUP.0 + 1));
        let states = [
            CopyState::Missing,
            CopyState::Pulling { index: 9 },
            CopyState::Waiting { source: GROUP, index: u64::MAX },
        ];
        store(&data, GROUP, 0, &complete);
        for (number, state) in (1..).zip(states) {
            store(&data, GROUP, number, &born(&data, state));
        }
        store(&data, other, 0, &PartitionState { copy: None, ..complete });
        let locals = Locals::open(data.clone()).unwrap();
        assert_eq!(locals.get(GROUP, partition(0)).map(|local| local.copy), complete.copy.map(|copy| copy.copy));
        assert_eq!(locals.of_group(GROUP).len(), 1);
        assert_eq!(locals.states_of(GROUP), states_in(&data.snapshot(), GROUP).unwrap());
        let stored: Vec<_> =
            locals.states_of(GROUP).into_values().filter_map(|state| Some(state.copy?.state)).collect();
        assert_eq!(stored[1..], states);
        assert!(locals.get(other, partition(0)).is_none() && locals.state(other, partition(0)).is_some());
        assert_eq!((locals.placement(partition(0)).unwrap().1, locals.placement(partition(9))), (1, None));
        let mut released = complete;
        let moving = crate::ownership::Move { id: 1, other: GroupId(99), epoch: 2 };
        assert!(released.ownership.apply(2, 2, OwnershipChange::Release(moving)));
        locals.changed(GROUP, [(partition(0), released)]);
        assert_eq!(locals.placement(partition(0)), Some((GroupId(99), 2)));
        assert!(locals.state(GROUP, partition(9)).is_none());
    }

    /// Fails if a row that cannot be read is passed over: its partition would be made again, empty, as a complete copy.
    #[test]
    fn a_row_that_cannot_be_read_ends_the_start() {
        for (kind, value) in [(KIND_OWNERSHIP, &b"\x02"[..]), (KIND_OWNERSHIP, b"{}"), (KIND_COPY, b"\x01\0")] {
            let folder = tempfile::tempdir().unwrap();
            let data = Data::open(folder.path()).unwrap();
            store(&data, GROUP, 3, &born(&data, CopyState::Complete));
            let mut batch = data.batch();
            batch.put(node_key(kind, &encode_place((GROUP, Generation(0)), partition(3))), value.to_vec());
            data.commit(batch).unwrap();
            let error = Locals::open(data).err().expect("it is refused").to_string();
            assert!(error.contains("partition 3 of keyspace 1 in group 7") && error.contains("replace"), "{error}");
        }
        let folder = tempfile::tempdir().unwrap();
        let data = Data::open(folder.path()).unwrap();
        let mut batch = data.batch();
        batch.put(node_key(KIND_COPY, &encode_place((GROUP, Generation(0)), partition(3))), b"".to_vec());
        data.commit(batch).unwrap();
        assert!(Locals::open(data).is_err(), "a copy without an ownership row");
    }

    /// Fails if rows of a generation that is not the group's are read, or stay for ever.
    #[test]
    fn rows_of_other_generations_mean_nothing_and_are_removed() {
        let folder = tempfile::tempdir().unwrap();
        let data = Data::open(folder.path()).unwrap();
        let (old, new) = (born(&data, CopyState::Complete), born(&data, CopyState::Complete));
        let put = |generation, number, state| {
            let mut batch = data.batch();
            put_state(&mut batch, (GROUP, Generation(generation)), partition(number), state);
            batch.put(key::full(state.copy.unwrap().copy, AppId(4), key::DATA, b"k"), b"v".to_vec());
            data.commit(batch).unwrap();
        };
        // More than one batch removes.
        (0..REMOVED_MAX as u32).for_each(|number| put(0, number, &old));
        put(5, 1, &new);
        put(9, 2, &old);
        let mut batch = data.batch();
        put_generation(&mut batch, GROUP, Generation(5));
        data.commit(batch).unwrap();
        let locals = Locals::open(data.clone()).unwrap();
        assert_eq!(locals.generation(GROUP), Generation(5));
        assert_eq!(locals.states_of(GROUP), BTreeMap::from([(partition(1), new)]));
        while locals.remove_old(GROUP).unwrap() {}
        let rows = |kind| data.snapshot().prefix(&node_key(kind, &GROUP.0.to_be_bytes()), false).count();
        assert_eq!([rows(KIND_OWNERSHIP), rows(KIND_COPY)], [2, 2], "what may be a transfer under way stays");
        assert_eq!(locals.sweep().unwrap(), 1);
        assert_eq!([rows(KIND_OWNERSHIP), rows(KIND_COPY)], [1, 1]);
        assert_eq!(Locals::open(data.clone()).unwrap().states_of(GROUP).len(), 1);

        let mut batch = data.batch();
        batch.put(generation_key(GROUP), b"\x07".to_vec());
        data.commit(batch).unwrap();
        assert!(Locals::open(data).err().unwrap().to_string().contains("generation row of group 7"));
    }

    #[test]
    fn rows_are_written_as_in_the_fixtures() {
        let source = GroupId(2);
        let copies = [
            ("copy-complete.bin", CopyState::Complete),
            ("copy-pulling.bin", CopyState::Pulling { index: 300 }),
            ("copy-waiting.bin", CopyState::Waiting { source, index: 301 }),
            ("copy-missing.bin", CopyState::Missing),
        ];
        for (name, state) in copies {
            let row = CopyRow { copy: CopyId(260), state };
            assert_eq!(decode_copy(crate::fixtures::check(name, &encode_copy(&row))), Ok(row));
        }
        let moving = crate::ownership::Move { id: 4, other: source, epoch: 6 };
        let point = crate::ownership::ReleasePoint { index: 300, clock_us: 1 << 50 };
        let rows = [
            ("ownership-absent.bin", Ownership { phase: Phase::Absent, epoch: 5, highest: 4, released: Some(point) }),
            ("ownership-owned.bin", Ownership { phase: Phase::Owned, epoch: 1, highest: 0, released: None }),
            (
                "ownership-expected.bin",
                Ownership { phase: Phase::Expected(moving), epoch: 0, highest: 4, released: None },
            ),
            (
                "ownership-released.bin",
                Ownership { phase: Phase::Released(moving), epoch: 5, highest: 4, released: Some(point) },
            ),
        ];
        for (name, row) in rows {
            let mut writer = Writer::default();
            row.encode(&mut writer);
            assert_eq!(decode_ownership(crate::fixtures::check(name, &writer.finish())), Ok(row));
        }
        let place = encode_place((GroupId(3), Generation(258)), partition(264));
        let expected = [0x20, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 1, 2, 0, 0, 0, 1, 0, 0, 1, 8];
        assert_eq!(node_key(KIND_OWNERSHIP, &place)[12..], expected);
    }

    /// Fails without the sweep: what a crash left of a half-loaded snapshot would stay for ever.
    #[test]
    fn copies_that_no_row_names_are_dropped_and_no_others() {
        let folder = tempfile::tempdir().unwrap();
        let data = Data::open(folder.path()).unwrap();
        let kept = born(&data, CopyState::Complete);
        store(&data, GROUP, 0, &kept);
        let kept = kept.copy.unwrap().copy;
        let (orphan, dead) = (data.new_copy().unwrap(), data.new_copy().unwrap());
        let mut batch = data.batch();
        for copy in [kept, orphan, dead] {
            batch.put(key::full(copy, AppId(4), key::DATA, b"k"), b"v".to_vec());
        }
        data.commit(batch).unwrap();
        data.kill_copies(&[dead]).unwrap();
        assert_eq!(Locals::open(data.clone()).unwrap().sweep().unwrap(), 1);
        assert_eq!(data.dead_copies().unwrap(), [orphan, dead]);
        data.compact().unwrap();
        assert_eq!(data.live_copies().unwrap(), [kept]);
        assert_eq!(Locals::open(data).unwrap().sweep().unwrap(), 0);
    }
}
