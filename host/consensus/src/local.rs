//! What this node knows of the partitions it holds: local(p) = (owner group, epoch, copy id), kept beside the data.
//!
//! Invariant: a row is written before the group that owns the partition opens here, so that no entry ever meets a
//! partition that the node does not know yet; and a partition's copy id changes only in one batch with the applied id of its group.
//! Rows live under copy 0, the node's own: kind 0x20 `keyspace u32 BE | partition u32 BE`, value JSON.

use std::sync::Arc;

use parking_lot::RwLock;
use recoil_base::{AppId, CopyId, GroupId, KeyspaceId, PartitionId};
use recoil_storage::{Batch, Data, DataError, key};
use rustc_hash::FxHashMap;
use serde::{Deserialize, Serialize};

use crate::command::PartitionRef;

const KIND_LOCAL: u8 = 0x20;
const KIND_GROUP: u8 = 0x21;

/// Whether the node's copy may be written and read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LocalState {
    /// The copy holds everything its group has applied here.
    Complete,
}

/// A partition as this node holds it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Local {
    /// The group whose entries may write it.
    pub group: GroupId,
    /// The epoch those entries must carry.
    pub epoch: u64,
    /// Where its rows are.
    pub copy: CopyId,
    /// What the copy is good for.
    pub state: LocalState,
}

/// All partitions of this node, in memory and beside the data.
#[derive(Clone)]
pub struct Locals {
    data: Data,
    map: Arc<RwLock<FxHashMap<PartitionRef, Local>>>,
}

impl Locals {
    /// Reads the rows. Blocks; not for a tokio worker.
    pub fn open(data: Data) -> Result<Self, DataError> {
        let (start, end) = node_range(KIND_LOCAL);
        let mut map = FxHashMap::default();
        for row in data.snapshot().range(start, Some(end), false) {
            let (key, value) = row?;
            let Some(partition) = decode_partition(&key) else { continue };
            match serde_json::from_slice::<Local>(&value) {
                Ok(local) => {
                    map.insert(partition, local);
                }
                Err(error) => tracing::error!(?partition, %error, "a local partition row cannot be read; ignored"),
            }
        }
        Ok(Locals { data, map: Arc::new(RwLock::new(map)) })
    }

    /// The partition as this node holds it.
    pub fn get(&self, partition: PartitionRef) -> Option<Local> {
        self.map.read().get(&partition).copied()
    }

    /// The partitions that `group` owns here, in order.
    pub fn of_group(&self, group: GroupId) -> Vec<(PartitionRef, Local)> {
        let map = self.map.read();
        let mut found: Vec<_> = map.iter().filter(|(_, local)| local.group == group).map(|(p, l)| (*p, *l)).collect();
        found.sort_by_key(|(partition, _)| *partition);
        found
    }

    /// Gives every partition that is not known yet a fresh, empty copy. Blocks; not for a tokio worker.
    pub fn create(&self, group: GroupId, partitions: &[(PartitionRef, u64)]) -> Result<(), DataError> {
        let mut batch = self.data.batch();
        let mut created = Vec::new();
        for (partition, epoch) in partitions {
            if self.get(*partition).is_none() {
                let copy = self.data.new_copy()?;
                let local = Local { group, epoch: *epoch, copy, state: LocalState::Complete };
                put_local(&mut batch, *partition, &local);
                created.push((*partition, local));
            }
        }
        if created.is_empty() {
            return Ok(());
        }
        self.data.commit(batch)?;
        self.map.write().extend(created);
        Ok(())
    }

    /// Takes what a committed batch wrote with [`put_local`].
    pub(crate) fn switched(&self, changed: impl IntoIterator<Item = (PartitionRef, Local)>) {
        self.map.write().extend(changed);
    }
}

/// Writes a partition's row into `batch`.
pub(crate) fn put_local(batch: &mut Batch, partition: PartitionRef, local: &Local) {
    batch.put(local_key(partition), serde_json::to_vec(local).expect("a local row has only text keys"));
}

/// The key of a partition's row.
pub(crate) fn local_key(partition: PartitionRef) -> Vec<u8> {
    let mut rest = [0u8; 8];
    rest[..4].copy_from_slice(&partition.keyspace.0.to_be_bytes());
    rest[4..].copy_from_slice(&partition.partition.0.to_be_bytes());
    node_key(KIND_LOCAL, &rest)
}

/// The key of a group's row: applied id, membership and chain.
pub(crate) fn group_key(group: GroupId) -> Vec<u8> {
    node_key(KIND_GROUP, &group.0.to_be_bytes())
}

fn node_key(kind: u8, rest: &[u8]) -> Vec<u8> {
    let mut full = key::prefix(CopyId(0), AppId(0)).to_vec();
    full.push(kind);
    full.extend_from_slice(rest);
    full
}

fn node_range(kind: u8) -> (Vec<u8>, Vec<u8>) {
    (node_key(kind, &[]), node_key(kind + 1, &[]))
}

fn decode_partition(full: &[u8]) -> Option<PartitionRef> {
    let rest: [u8; 8] = full.get(node_key(KIND_LOCAL, &[]).len()..)?.try_into().ok()?;
    let keyspace = KeyspaceId(u32::from_be_bytes(rest[..4].try_into().ok()?));
    let partition = PartitionId(u32::from_be_bytes(rest[4..].try_into().ok()?));
    Some(PartitionRef { keyspace, partition })
}

/// The partitions that `group` owns, as one moment of the data has them. Blocks.
pub(crate) fn local_range_of(
    rows: &recoil_storage::DataSnapshot,
    group: GroupId,
) -> Result<Vec<(PartitionRef, Local)>, DataError> {
    let (start, end) = node_range(KIND_LOCAL);
    let mut found = Vec::new();
    for row in rows.range(start, Some(end), false) {
        let (key, value) = row?;
        let (Some(partition), Ok(local)) = (decode_partition(&key), serde_json::from_slice::<Local>(&value)) else {
            continue;
        };
        if local.group == group {
            found.push((partition, local));
        }
    }
    Ok(found)
}
