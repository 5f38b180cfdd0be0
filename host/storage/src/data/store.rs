//! What holds the rows: fjall, or memory in a simulation.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use fjall::{Database, KeyspaceCreateOptions, KvSeparationOptions, PersistMode, Readable};

use super::copies::DeadCopies;
#[cfg(any(test, feature = "simulation"))]
use crate::simulation::{
    SimulatedData,
    data::{MemoryRows, MemorySnapshot},
};

const KEYSPACE: &str = "data";
/// Blocks and large values kept in memory for reading.
const CACHE_BYTES: u64 = 16 << 20;
/// Rows in memory that are not in tables yet; twice that, while they are written. Larger ones save little processor time.
const MEMTABLE_BYTES: u64 = 8 << 20;
/// Threads that write tables and compact them. The first of them leaves compactions to the others and, while all others are busy, takes
/// such a task from the queue and puts it back without pause: with two, fjall's choice on two processors, one computes for nothing as long
/// as the other compacts.
const WORKERS: usize = 4;
/// Values of this size and above lie in files of their own, which compactions leave alone while most of what they hold is in use:
/// mebibytes would be written again for every level.
const APART_BYTES: u32 = 32 << 10;
/// Values up to this size are copied out of fjall's blocks, so that a small one does not keep a large buffer alive.
const COPIED_BYTES_MAX: usize = 256;

/// Why the store refuses, in its words.
pub(super) type StoreError = String;

pub(super) enum Store {
    Fjall {
        database: Database,
        keyspace: fjall::Keyspace,
    },
    #[cfg(any(test, feature = "simulation"))]
    Memory {
        rows: SimulatedData,
        dead: DeadCopies,
    },
}

/// One moment of a store.
#[derive(Clone)]
pub(super) enum StoreSnapshot {
    Fjall {
        snapshot: fjall::Snapshot,
        keyspace: fjall::Keyspace,
    },
    #[cfg(any(test, feature = "simulation"))]
    Memory(MemorySnapshot),
}

/// The rows of a range.
pub(super) enum StoreRows {
    Fjall(fjall::Iter),
    #[cfg(any(test, feature = "simulation"))]
    Memory(MemoryRows),
}

#[allow(clippy::needless_pass_by_value)] // the shape that map_err wants
fn text(error: fjall::Error) -> StoreError {
    error.to_string()
}

fn into_bytes(slice: fjall::Slice) -> Bytes {
    if slice.len() <= COPIED_BYTES_MAX { Bytes::copy_from_slice(&slice) } else { Bytes::from_owner(slice) }
}

impl Store {
    pub(super) fn open(folder: &Path, dead: DeadCopies) -> Result<Self, StoreError> {
        let database = Database::builder(folder)
            .cache_size(CACHE_BYTES)
            .worker_threads(WORKERS)
            .manual_journal_persist(true)
            .with_compaction_filter_factories(Arc::new(move |name| (name == KEYSPACE).then(|| dead.factory())))
            .open()
            .map_err(text)?;
        let options = || {
            KeyspaceCreateOptions::default()
                .manual_journal_persist(true)
                .max_memtable_size(MEMTABLE_BYTES)
                .with_kv_separation(Some(KvSeparationOptions::default().separation_threshold(APART_BYTES)))
        };
        let keyspace = database.keyspace(KEYSPACE, options).map_err(text)?;
        Ok(Store::Fjall { database, keyspace })
    }

    pub(super) fn get(&self, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        match self {
            Store::Fjall { keyspace, .. } => Ok(keyspace.get(key).map_err(text)?.map(into_bytes)),
            #[cfg(any(test, feature = "simulation"))]
            Store::Memory { rows, .. } => Ok(rows.get(key)),
        }
    }

    pub(super) fn snapshot(&self) -> StoreSnapshot {
        match self {
            Store::Fjall { database, keyspace } => {
                StoreSnapshot::Fjall { snapshot: database.snapshot(), keyspace: keyspace.clone() }
            }
            #[cfg(any(test, feature = "simulation"))]
            Store::Memory { rows, .. } => StoreSnapshot::Memory(rows.snapshot()),
        }
    }

    pub(super) fn commit(&self, rows: BTreeMap<Bytes, Option<Bytes>>) -> Result<(), StoreError> {
        match self {
            Store::Fjall { database, keyspace } => {
                let mut batch = fjall::OwnedWriteBatch::with_capacity(database.clone(), rows.len());
                for (key, value) in rows {
                    match value {
                        Some(value) => batch.insert(keyspace, &key[..], &value[..]),
                        None => batch.remove(keyspace, &key[..]),
                    }
                }
                batch.commit().map_err(text)
            }
            #[cfg(any(test, feature = "simulation"))]
            Store::Memory { rows: store, .. } => store.commit(rows),
        }
    }

    pub(super) fn persist(&self) -> Result<(), StoreError> {
        match self {
            Store::Fjall { database, .. } => database.persist(PersistMode::SyncAll).map_err(text),
            #[cfg(any(test, feature = "simulation"))]
            Store::Memory { rows, .. } => rows.persist(),
        }
    }

    pub(super) fn compact(&self) -> Result<(), StoreError> {
        match self {
            Store::Fjall { keyspace, .. } => {
                keyspace.rotate_memtable_and_wait().and_then(|()| keyspace.major_compact()).map_err(text)
            }
            #[cfg(any(test, feature = "simulation"))]
            Store::Memory { rows, dead } => {
                let discarded = dead.discarded();
                rows.discard(|key| discarded.takes(key));
                Ok(())
            }
        }
    }

    pub(super) fn disk_bytes(&self) -> u64 {
        match self {
            Store::Fjall { database, keyspace } => database.disk_space().unwrap_or_else(|_| keyspace.disk_space()),
            #[cfg(any(test, feature = "simulation"))]
            Store::Memory { rows, .. } => rows.bytes(),
        }
    }
}

impl StoreSnapshot {
    pub(super) fn get(&self, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        match self {
            StoreSnapshot::Fjall { snapshot, keyspace } => {
                Ok(snapshot.get(keyspace, key).map_err(text)?.map(into_bytes))
            }
            #[cfg(any(test, feature = "simulation"))]
            StoreSnapshot::Memory(rows) => Ok(rows.get(key)),
        }
    }

    /// `end`, if there is one, is above `start`.
    pub(super) fn range(&self, start: Vec<u8>, end: Option<Vec<u8>>) -> StoreRows {
        match self {
            StoreSnapshot::Fjall { snapshot, keyspace } => StoreRows::Fjall(match end {
                Some(end) => snapshot.range(keyspace, start..end),
                None => snapshot.range(keyspace, start..),
            }),
            #[cfg(any(test, feature = "simulation"))]
            StoreSnapshot::Memory(rows) => StoreRows::Memory(rows.range(start, end)),
        }
    }

    pub(super) fn last_key(&self) -> Result<Option<Bytes>, StoreError> {
        match self {
            StoreSnapshot::Fjall { snapshot, keyspace } => {
                snapshot.last_key_value(keyspace).map(|row| row.key().map(into_bytes).map_err(text)).transpose()
            }
            #[cfg(any(test, feature = "simulation"))]
            StoreSnapshot::Memory(rows) => Ok(rows.last_key()),
        }
    }
}

impl StoreRows {
    pub(super) fn next(&mut self, reverse: bool) -> Option<Result<(Bytes, Bytes), StoreError>> {
        match self {
            StoreRows::Fjall(rows) => {
                let row = if reverse { rows.next_back() } else { rows.next() }?;
                Some(row.into_inner().map(|(key, value)| (into_bytes(key), into_bytes(value))).map_err(text))
            }
            #[cfg(any(test, feature = "simulation"))]
            StoreRows::Memory(rows) => rows.next(reverse).map(Ok),
        }
    }

    /// The next row's key alone: its value, which may lie in a file of its own, is not read.
    pub(super) fn next_key(&mut self) -> Option<Result<Bytes, StoreError>> {
        match self {
            StoreRows::Fjall(rows) => Some(rows.next()?.key().map(into_bytes).map_err(text)),
            #[cfg(any(test, feature = "simulation"))]
            StoreRows::Memory(rows) => rows.next(false).map(|(key, _)| Ok(key)),
        }
    }

    /// The length in bytes of the next row's value, which is not read.
    pub(super) fn next_value_bytes(&mut self) -> Option<Result<u64, StoreError>> {
        match self {
            StoreRows::Fjall(rows) => Some(rows.next()?.size().map(u64::from).map_err(text)),
            #[cfg(any(test, feature = "simulation"))]
            StoreRows::Memory(rows) => rows.next(false).map(|(_, value)| Ok(value.len() as u64)),
        }
    }
}
