//! The data: the rows of all partitions of the node, and the node's own, in one fjall keyspace ([`crate::key`]).
//!
//! The log is the truth and the data follows it. A batch is atomic and visible at once, but durable only after
//! [`Data::persist`]: after a crash the data is what it was after *some* earlier batch, all batches up to that one and none after
//! it. So what must agree (rows, the applied index, the membership) goes into one batch, and a log is purged only behind a persist.
//!
//! Copies of partitions ([`copies`]) get ids that are never used again, and are dropped by name: a compaction filter discards
//! what is left of them, and of removed apps.
//!
//! Invariants:
//! - After the first failed write or persist nothing is written any more ([`DataError::Poisoned`]).
//! - A snapshot keeps seeing what it saw, also of copies that are dropped meanwhile.
//!
//! **Every call may block** on the disk, and commits on fjall's backpressure (100 ms and more): never call from a tokio worker. Only the
//! thread that applies should commit.
//!
//! Deliberately absent: what rows mean, and any lock between writers; one thread applies.

mod batch;
mod copies;
mod store;
#[cfg(test)]
mod tests;

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use recoil_base::{AppId, CopyId};

pub use batch::Batch;
use copies::{Copies, DeadCopies, Pin};
use store::{Store, StoreError, StoreRows, StoreSnapshot};

use crate::failure::Failure;

/// Why the data refuses.
#[derive(Clone, Debug, thiserror::Error)]
pub enum DataError {
    /// The folder cannot be opened.
    #[error(
        "cannot open the data in {folder}: {why}; see that the disk is there, works and has space, then start the node again"
    )]
    Open {
        /// The folder.
        folder: String,
        /// Why not.
        why: String,
    },
    /// A read failed. Retrying rarely helps.
    #[error("cannot read the data: {why}; if this stays, replace the node's data: it is brought back by a snapshot")]
    Read {
        /// Why not.
        why: String,
    },
    /// This write or an earlier one failed.
    #[error(
        "the data takes no more writes since one failed: {reason}. Stop the node, mend the disk, and start it again"
    )]
    Poisoned {
        /// The first failure.
        reason: Arc<str>,
    },
    /// A batch holds a key that cannot be stored; nothing of it was written.
    #[error("a key of {bytes} bytes cannot be stored: keys have 1 to {} bytes", crate::key::KEY_BYTES_MAX)]
    Key {
        /// The key's length.
        bytes: usize,
    },
    /// The node's own rows are not a copy of anything.
    #[error("copy 0 holds the node's own rows and cannot be dropped")]
    NodeCopy,
    /// The node has given away all copy ids that there are.
    #[error("the ids for copies of partitions are used up; replace this node by one with an empty data folder")]
    NoMoreCopies,
}

/// The open data. Clones share it.
#[derive(Clone)]
pub struct Data {
    inner: Arc<Inner>,
}

struct Inner {
    store: Store,
    dead: DeadCopies,
    copies: Copies,
    failure: Failure,
}

/// One moment of the data. Cheap to take; held for long, it keeps old rows on disk.
#[derive(Clone)]
pub struct DataSnapshot {
    snapshot: StoreSnapshot,
    pin: Arc<Pin>,
}

/// The rows of a range, in key order or against it. Keeps its moment alive.
pub struct Rows {
    /// None: an empty range.
    rows: Option<StoreRows>,
    reverse: bool,
    _pin: Arc<Pin>,
}

impl Data {
    /// Opens the data in `folder`, or makes it there. The caller sees to it that nobody else has it open.
    pub fn open(folder: &Path) -> Result<Self, DataError> {
        // Nothing is dead until the list has been read, which needs the open store.
        let dead = DeadCopies::default();
        let store = Store::open(folder, dead.clone())
            .map_err(|why| DataError::Open { folder: folder.display().to_string(), why })?;
        Data::on(store, dead)
    }

    /// Opens data whose rows are in `store`.
    #[cfg(any(test, feature = "simulation"))]
    pub fn open_simulated(store: crate::simulation::SimulatedData) -> Result<Self, DataError> {
        let dead = DeadCopies::default();
        Data::on(Store::Memory { rows: store, dead: dead.clone() }, dead)
    }

    fn on(store: Store, dead: DeadCopies) -> Result<Self, DataError> {
        let (copies, failure) = (Copies::default(), Failure::new());
        let data = Data { inner: Arc::new(Inner { store, dead, copies, failure }) };
        data.recover_copies()?;
        Ok(data)
    }

    /// The value of a key: the newest one committed. Two calls may see two moments; [`Data::snapshot`] sees one.
    pub fn get(&self, key: &[u8]) -> Result<Option<Bytes>, DataError> {
        if key.is_empty() {
            return Ok(None);
        }
        self.inner.store.get(key).map_err(read_error)
    }

    /// The present moment.
    pub fn snapshot(&self) -> DataSnapshot {
        // Pinned first: a copy that dies in between stays until the pin is gone, though this moment may not see it.
        let pin = self.inner.dead.pin();
        DataSnapshot { snapshot: self.inner.store.snapshot(), pin }
    }

    /// An empty batch.
    pub fn batch(&self) -> Batch {
        Batch::new(self.clone())
    }

    /// Writes a batch: visible at once and as a whole, durable after [`Data::persist`]. Of an error, nothing is known to have been
    /// written but for [`DataError::Key`], which writes nothing.
    pub fn commit(&self, batch: Batch) -> Result<(), DataError> {
        let rows = batch.into_rows()?;
        self.usable()?;
        self.inner.store.commit(rows).map_err(|why| self.poison("write", &why))
    }

    /// Makes everything committed before durable.
    pub fn persist(&self) -> Result<(), DataError> {
        self.usable()?;
        self.inner.store.persist().map_err(|why| self.poison("persist", &why))
    }

    /// Writes everything to tables and compacts them all: discards what dead copies left behind. Takes as long as reading and writing
    /// all data; nothing needs it.
    pub fn compact(&self) -> Result<(), DataError> {
        self.usable()?;
        self.inner.store.compact().map_err(|why| self.poison("compact", &why))
    }

    /// Told of the first failed write.
    pub fn failure(&self) -> Failure {
        self.inner.failure.clone()
    }

    /// Resolves with the reason when the data has failed for good: for ever pending, if all goes well.
    pub fn failed(&self) -> impl Future<Output = Arc<str>> + Send + 'static + use<> {
        let failure = self.inner.failure.clone();
        async move { failure.wait().await }
    }

    /// Bytes on disk.
    pub fn disk_bytes(&self) -> u64 {
        self.inner.store.disk_bytes()
    }

    fn usable(&self) -> Result<(), DataError> {
        self.inner.failure.reason().map_or(Ok(()), |reason| Err(DataError::Poisoned { reason }))
    }

    fn poison(&self, action: &str, why: &str) -> DataError {
        let reason = self.inner.failure.report(format!("cannot {action} the data: {why}"));
        tracing::error!(%reason, "the data takes no more writes");
        DataError::Poisoned { reason }
    }

    /// An id for a new copy, never given before and never to be given again.
    pub fn new_copy(&self) -> Result<CopyId, DataError> {
        Ok(self.new_copies(1)?[0])
    }

    /// So many ids for new copies, consecutive, with at most one fsync for all of them.
    pub fn new_copies(&self, count: usize) -> Result<Vec<CopyId>, DataError> {
        self.inner.copies.new_copies(self, count)
    }

    /// Drops copies, all in one batch with one fsync: nothing may write under them any more, and what is left of them goes bit by bit.
    /// Durable on return, and so is everything committed before, such as the batch that put other copies in their place. Repeating it is
    /// fine. Snapshots taken before keep seeing the copies' rows; other reads may see any of them or none.
    pub fn kill_copies(&self, copies: &[CopyId]) -> Result<(), DataError> {
        self.inner.copies.kill(self, copies)
    }

    /// The copies that have rows and have not been dropped, in order.
    pub fn live_copies(&self) -> Result<Vec<CopyId>, DataError> {
        Copies::live(self)
    }

    /// Sets the apps whose rows, in all copies of partitions, may be discarded from now on: apps that nobody reads any more and whose ids
    /// are never used again. Not stored: the caller sets the whole list again after a start.
    pub fn set_removed_apps(&self, apps: impl IntoIterator<Item = AppId>) {
        self.inner.dead.set_removed_apps(apps.into_iter().map(|app| app.0).collect());
    }

    /// The copies that have been dropped and may still have rows.
    pub fn dead_copies(&self) -> Result<Vec<CopyId>, DataError> {
        copies::read_dead(self)
    }

    /// Forgets the dead copies of which nothing is left; answers how many. For quiet times: it looks for rows of every dead copy.
    pub fn prune_dead_copies(&self) -> Result<usize, DataError> {
        self.inner.copies.prune(self)
    }

    fn recover_copies(&self) -> Result<(), DataError> {
        self.inner.copies.recover(self)
    }
}

impl DataSnapshot {
    /// The value of a key at this moment.
    pub fn get(&self, key: &[u8]) -> Result<Option<Bytes>, DataError> {
        if key.is_empty() {
            return Ok(None);
        }
        self.snapshot.get(key).map_err(read_error)
    }

    /// The rows from `start` on and before `end` (absent: to the end of the data), descending if `reverse`.
    pub fn range(&self, start: Vec<u8>, end: Option<Vec<u8>>, reverse: bool) -> Rows {
        let empty = end.as_ref().is_some_and(|end| *end <= start);
        let rows = (!empty).then(|| self.snapshot.range(start, end));
        Rows { rows, reverse, _pin: self.pin.clone() }
    }

    /// The rows whose keys begin with `prefix`.
    pub fn prefix(&self, prefix: &[u8], reverse: bool) -> Rows {
        self.range(prefix.to_vec(), crate::key::after(prefix), reverse)
    }

    /// The keys from `start` on and before `end`, ascending. Values are not read.
    pub fn keys(&self, start: Vec<u8>, end: Vec<u8>) -> impl Iterator<Item = Result<Bytes, DataError>> + use<> {
        let mut rows = self.range(start, Some(end), false);
        std::iter::from_fn(move || rows.advance(StoreRows::next_key))
    }

    /// The length in bytes of the value of each row whose key begins with `prefix`. Values are not read.
    pub fn value_bytes(&self, prefix: &[u8]) -> impl Iterator<Item = Result<u64, DataError>> + use<> {
        let mut rows = self.prefix(prefix, false);
        std::iter::from_fn(move || rows.advance(StoreRows::next_value_bytes))
    }

    /// The last row of all.
    fn last_key(&self) -> Result<Option<Bytes>, DataError> {
        self.snapshot.last_key().map_err(read_error)
    }
}

impl Rows {
    /// What `next` reads of the next row; nothing more after an error.
    fn advance<T>(
        &mut self,
        next: impl FnOnce(&mut StoreRows) -> Option<Result<T, StoreError>>,
    ) -> Option<Result<T, DataError>> {
        let read = next(self.rows.as_mut()?)?;
        if read.is_err() {
            self.rows = None; // whoever goes on after an error must not mistake what follows for the rest
        }
        Some(read.map_err(read_error))
    }
}

impl Iterator for Rows {
    type Item = Result<(Bytes, Bytes), DataError>;

    fn next(&mut self) -> Option<Self::Item> {
        let reverse = self.reverse;
        self.advance(|rows| rows.next(reverse))
    }
}

fn read_error(why: StoreError) -> DataError {
    DataError::Read { why }
}
