//! Copies of partitions: where their ids come from, and how a copy is dropped without touching its rows. And removed apps, whose
//! rows go in the same way.
//!
//! An id is given once. Ids are taken from blocks that are reserved durably before the first of them is given, so a crash
//! wastes the rest of a block and gives none twice. A dropped copy's id goes on a durable list, and the compaction
//! filter discards the rows of listed copies whenever fjall comes by them: no removal for each row, and since the id is never
//! used again, nothing that comes later can be hit. Many copies are dropped in one batch with one fsync.
//!
//! App ids are not used again either. The filter discards the rows of removed apps in all copies, also those that an entry
//! of the log writes only after the app was removed. The list of removed apps is the meta group's, which keeps it for ever,
//! so the node sets it anew after each start ([`Data::set_removed_apps`]) and nothing of it is stored here.
//!
//! Invariants:
//! - The filter knows an id only once the list, and with it everything committed before, is durable. Otherwise a crash could bring
//!   back the moment before, whose copy would then have holes.
//! - The filter knows an id only once no snapshot from before is left: a filter does not heed them.
//! - An id leaves the list only when no row of its copy is visible. It is never used again, so what older versions may still come to
//!   light are rows that nobody looks for.
//!
//! Rows, under the node's copy and an app of their own: kind 1 `id u64 BE`, empty: a dead copy; kind 2: the first id not reserved.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use fjall::compaction::filter::{CompactionFilter, CompactionFilterResult, Context, Factory, ItemAccessor, Verdict};
use parking_lot::{Mutex, RwLock};
use recoil_base::CopyId;

use super::{Data, DataError};
use crate::key;

const KIND_DEAD: u8 = 1;
const KIND_NEXT: u8 = 2;
/// Ids reserved at a time, with one fsync.
const BLOCK: u64 = 64;

/// The ids whose rows a compaction may discard, and the snapshots that some of them must wait for.
#[derive(Clone, Default)]
pub(super) struct DeadCopies {
    shared: Arc<SharedDead>,
}

#[derive(Default)]
struct SharedDead {
    discarded: RwLock<Arc<HashSet<u64>>>,
    removed_apps: RwLock<Arc<HashSet<u32>>>,
    waiting: Mutex<Waiting>,
}

/// What a compaction may discard: rows of these copies, and rows of these apps in any copy.
pub(super) struct Discarded {
    copies: Arc<HashSet<u64>>,
    apps: Arc<HashSet<u32>>,
}

impl Discarded {
    /// True if the row with this whole key may go.
    pub(super) fn takes(&self, full: &[u8]) -> bool {
        let of_copy = !self.copies.is_empty() && key::copy_of(full).is_some_and(|copy| self.copies.contains(&copy.0));
        // The node's own rows are no app's.
        let app = || key::app_of(full).filter(|_| key::copy_of(full) != Some(key::NODE_COPY));
        of_copy || !self.apps.is_empty() && app().is_some_and(|app| self.apps.contains(&app.0))
    }
}

#[derive(Default)]
struct Waiting {
    /// Grows with every death.
    generation: u64,
    /// Snapshots by the generation in which they were taken.
    pins: BTreeMap<u64, usize>,
    /// Deaths that snapshots of their generation or an earlier one must not notice.
    deaths: Vec<(u64, CopyId)>,
}

/// Holds back the discarding of copies that die while it lives.
pub(super) struct Pin {
    dead: DeadCopies,
    generation: u64,
}

impl DeadCopies {
    pub(super) fn pin(&self) -> Arc<Pin> {
        let mut waiting = self.shared.waiting.lock();
        let generation = waiting.generation;
        *waiting.pins.entry(generation).or_default() += 1;
        Arc::new(Pin { dead: self.clone(), generation })
    }

    /// The copies may be discarded once the snapshots that there are now are gone.
    fn add(&self, copies: impl IntoIterator<Item = CopyId>) {
        let mut waiting = self.shared.waiting.lock();
        let generation = waiting.generation;
        waiting.deaths.extend(copies.into_iter().map(|copy| (generation, copy)));
        waiting.generation += 1;
        self.settle(&mut waiting);
    }

    fn unpin(&self, generation: u64) {
        let mut waiting = self.shared.waiting.lock();
        if let Some(count) = waiting.pins.get_mut(&generation) {
            *count -= 1;
            if *count == 0 {
                waiting.pins.remove(&generation);
                self.settle(&mut waiting);
            }
        }
    }

    /// Hands the deaths that nobody must not notice any more to the filter.
    fn settle(&self, waiting: &mut Waiting) {
        if waiting.deaths.is_empty() {
            return;
        }
        let oldest = waiting.pins.keys().next().copied().unwrap_or(u64::MAX);
        let (settled, rest): (Vec<_>, Vec<_>) =
            waiting.deaths.drain(..).partition(|(generation, _)| *generation < oldest);
        waiting.deaths = rest;
        if !settled.is_empty() {
            let mut discarded = self.shared.discarded.write();
            let mut next = HashSet::clone(&discarded);
            next.extend(settled.iter().map(|(_, copy)| copy.0));
            *discarded = Arc::new(next);
        }
    }

    fn forget(&self, copies: &[CopyId]) {
        let mut discarded = self.shared.discarded.write();
        let mut next = HashSet::clone(&discarded);
        for copy in copies {
            next.remove(&copy.0);
        }
        *discarded = Arc::new(next);
    }

    /// What may be discarded now.
    pub(super) fn discarded(&self) -> Discarded {
        let apps = self.shared.removed_apps.read().clone();
        Discarded { copies: self.shared.discarded.read().clone(), apps }
    }

    pub(super) fn set_removed_apps(&self, apps: HashSet<u32>) {
        *self.shared.removed_apps.write() = Arc::new(apps);
    }

    pub(super) fn factory(&self) -> Arc<dyn Factory> {
        Arc::new(FilterFactory { dead: std::panic::AssertUnwindSafe(self.clone()) })
    }
}

impl Drop for Pin {
    fn drop(&mut self) {
        self.dead.unpin(self.generation);
    }
}

struct FilterFactory {
    dead: std::panic::AssertUnwindSafe<DeadCopies>,
}

impl Factory for FilterFactory {
    fn name(&self) -> &str {
        "dead copies"
    }

    fn make_filter(&self, _context: &Context) -> Box<dyn CompactionFilter> {
        Box::new(Filter { discarded: self.dead.discarded() })
    }
}

/// The ids as they were when the compaction began: a later death waits for the next one.
struct Filter {
    discarded: Discarded,
}

impl CompactionFilter for Filter {
    fn filter_item(&mut self, item: ItemAccessor<'_>, _context: &Context) -> CompactionFilterResult {
        // No tombstone: every version goes when a compaction meets it, and nobody asks for the key again.
        Ok(if self.discarded.takes(item.key()) { Verdict::Destroy } else { Verdict::Keep })
    }
}

/// Gives ids and takes copies back.
#[derive(Default)]
pub(super) struct Copies {
    ids: Mutex<Ids>,
}

#[derive(Default)]
struct Ids {
    next: u64,
    /// Durably nobody else's.
    reserved: u64,
}

impl Copies {
    /// Reads what an earlier process left.
    pub(super) fn recover(&self, data: &Data) -> Result<(), DataError> {
        let stored =
            data.get(&next_key())?.and_then(|value| value.first_chunk().map(|bytes| u64::from_be_bytes(*bytes)));
        // The highest id that has rows is a second witness, should the first be lost by damage that fjall does not see.
        let used = data.snapshot().last_key()?.and_then(|key| key::copy_of(&key)).map_or(0, |copy| copy.0);
        let next = stored.unwrap_or(1).max(used.saturating_add(1));
        *self.ids.lock() = Ids { next, reserved: next };
        let dead = read_dead(data)?;
        data.inner.dead.add(dead);
        Ok(())
    }

    pub(super) fn new_copies(&self, data: &Data, count: usize) -> Result<Vec<CopyId>, DataError> {
        let count = count as u64;
        let mut ids = self.ids.lock();
        if ids.reserved - ids.next < count {
            // The largest id is never given, so that there is a key after every copy's keys.
            let reserved = ids.next.checked_add(count.next_multiple_of(BLOCK)).ok_or(DataError::NoMoreCopies)?;
            let mut batch = data.batch();
            batch.put(next_key(), reserved.to_be_bytes().to_vec());
            data.commit(batch)?;
            data.persist()?;
            ids.reserved = reserved;
        }
        let first = ids.next;
        ids.next += count;
        Ok((first..ids.next).map(CopyId).collect())
    }

    pub(super) fn kill(&self, data: &Data, copies: &[CopyId]) -> Result<(), DataError> {
        if copies.contains(&key::NODE_COPY) {
            return Err(DataError::NodeCopy);
        }
        if copies.is_empty() {
            return Ok(());
        }
        let mut batch = data.batch();
        copies.iter().for_each(|copy| batch.put(dead_key(*copy), Vec::new()));
        data.commit(batch)?;
        data.persist()?;
        data.inner.dead.add(copies.iter().copied());
        Ok(())
    }

    /// The copies that have rows and have not been dropped, in order: one seek for each copy that has rows.
    pub(super) fn live(data: &Data) -> Result<Vec<CopyId>, DataError> {
        let dead: HashSet<CopyId> = read_dead(data)?.into_iter().collect();
        let snapshot = data.snapshot();
        let mut live = Vec::new();
        let mut from = Some(key::NODE_COPY.0 + 1);
        while let Some(first) = from {
            let Some(row) = snapshot.range(first.to_be_bytes().to_vec(), None, false).next() else { break };
            let Some(copy) = key::copy_of(&row?.0) else { break };
            if !dead.contains(&copy) {
                live.push(copy);
            }
            from = copy.0.checked_add(1);
        }
        Ok(live)
    }

    pub(super) fn prune(&self, data: &Data) -> Result<usize, DataError> {
        let dead = read_dead(data)?;
        let snapshot = data.snapshot();
        let mut gone = Vec::new();
        let mut batch = data.batch();
        for copy in dead {
            match snapshot.prefix(&copy.0.to_be_bytes(), false).next() {
                None => {
                    batch.remove(dead_key(copy));
                    gone.push(copy);
                }
                Some(row) => drop(row?),
            }
        }
        if !gone.is_empty() {
            data.commit(batch)?;
            data.inner.dead.forget(&gone);
        }
        Ok(gone.len())
    }
}

/// The durable list.
pub(super) fn read_dead(data: &Data) -> Result<Vec<CopyId>, DataError> {
    let prefix = key::full(key::NODE_COPY, key::STORAGE_APP, KIND_DEAD, &[]);
    let mut dead = Vec::new();
    for row in data.snapshot().prefix(&prefix, false) {
        let (row_key, _) = row?;
        dead.extend(key::copy_of(&row_key[prefix.len()..]));
    }
    Ok(dead)
}

fn dead_key(copy: CopyId) -> Vec<u8> {
    key::full(key::NODE_COPY, key::STORAGE_APP, KIND_DEAD, &copy.0.to_be_bytes())
}

fn next_key() -> Vec<u8> {
    key::full(key::NODE_COPY, key::STORAGE_APP, KIND_NEXT, &[])
}
