//! Deferred applying: committed entries wait a moment, so that many reach the data in one sorted batch.
//!
//! The log is the truth and leaders read through their overlays, so nothing needs a committed entry to be in the data at once. What
//! waiting saves: a key written again is written once; rows that every entry changes (what is remembered of an origin's calls,
//! how far the group is) are written once a batch; and sorted batches cost the store about half.
//!
//! So openraft's applied index may be ahead of the data. Who relies on the data asks for it first: a snapshot, an installation, a leader
//! that begins a session (its start entry is not deferred, and is answered when it is in the data), changes of ownership (likewise), the meta
//! group (never deferred).
//! Replies, which let go of overlays, are sent when the data has the entry. A crash loses what waits, and the log brings it back.
//!
//! Invariant: after an apply that failed, nothing is applied any more until the group is opened again and has read from the data how far it
//! is. What failed is missing from the data, so a later entry would be applied over a hole.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use openraft::EntryPayload;
use openraft::storage::EntryResponder;
use parking_lot::Mutex;
use recoil_storage::Failure;
use tokio::sync::Notify;

use crate::command::Command;
use crate::machine::{Applier, Core};
use crate::raft::{Entry, TypeConfig};

/// How long an entry may wait. Longer saves more, and lets stale reads fall behind and a new leader apply more before it begins.
const FLUSH_EVERY: Duration = Duration::from_millis(500);
/// Bytes of a group's entries that may wait; whoever brings more waits itself. A node has a dozen groups.
const WAITING_BYTES_MAX: usize = 1 << 20;

#[derive(Default)]
struct Waiting {
    entries: Vec<EntryResponder<TypeConfig>>,
    bytes: usize,
}

/// The way of one group's committed entries to its data. See the module's essay.
pub(crate) struct Deferred {
    core: Arc<Mutex<Core>>,
    applier: Applier,
    waiting: Mutex<Waiting>,
    /// Set by the first apply that failed, or by a snapshot that could not be taken or installed; nothing is applied after it.
    failure: Failure,
    work: Notify,
    hurry: Notify,
}

impl Deferred {
    pub(crate) fn new(core: Arc<Mutex<Core>>, applier: Applier) -> Arc<Self> {
        let (failure, work, hurry) = (Failure::new(), Notify::new(), Notify::new());
        Arc::new(Deferred { core, applier, waiting: Mutex::default(), failure, work, hurry })
    }

    pub(crate) fn applier(&self) -> &Applier {
        &self.applier
    }

    /// Why nothing is applied any more, once that is so.
    pub(crate) fn failure(&self) -> &Failure {
        &self.failure
    }

    /// Notes an error after which openraft ends the replica, so that the node does not go on without it in silence.
    pub(crate) fn noted<T>(&self, result: io::Result<T>) -> io::Result<T> {
        result.inspect_err(|error| drop(self.failure.report(error.to_string())))
    }

    fn usable(&self) -> io::Result<()> {
        self.failure.reason().map_or(Ok(()), |why| Err(io::Error::other(why.to_string())))
    }

    /// Takes a committed entry in; true if it must not wait, or too much already does: then [`Deferred::flush`] is due.
    pub(crate) fn push(&self, entry: EntryResponder<TypeConfig>) -> io::Result<bool> {
        let (bytes, urgent) = weigh(&entry.0);
        self.usable()?;
        let mut waiting = self.waiting.lock();
        if waiting.entries.is_empty() {
            self.work.notify_one();
        }
        waiting.entries.push(entry);
        waiting.bytes += bytes;
        Ok(urgent || waiting.bytes > WAITING_BYTES_MAX)
    }

    /// Brings everything taken in so far to the data.
    pub(crate) async fn flush(self: &Arc<Self>) -> io::Result<()> {
        let this = self.clone();
        self.applier.run(move || this.flush_here()).await?
    }

    /// [`Deferred::flush`], on the applier's thread.
    fn flush_here(&self) -> io::Result<()> {
        self.usable()?;
        let Waiting { entries, .. } = std::mem::take(&mut *self.waiting.lock());
        if entries.is_empty() {
            return Ok(());
        }
        let (entries, responders): (Vec<Entry>, Vec<_>) = entries.into_iter().unzip();
        let applied = self.core.lock().apply(entries);
        let replies = self.noted(applied)?;
        for (responder, reply) in responders.into_iter().zip(replies) {
            if let Some(responder) = responder {
                responder.send(reply);
            }
        }
        Ok(())
    }

    /// What waits, or is the next to come, should wait no longer.
    pub(crate) fn hurry(&self) {
        self.hurry.notify_one();
    }

    /// What must see everything in the data runs there.
    pub(crate) async fn flushed<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl FnOnce(&mut Core) -> io::Result<T> + Send + 'static,
    ) -> io::Result<T> {
        let this = self.clone();
        let done = self.applier.run(move || {
            this.flush_here()?;
            work(&mut this.core.lock())
        });
        done.await?
    }

    /// Flushes in time, until the group's tasks end.
    pub(crate) async fn run(self: Arc<Self>) {
        loop {
            self.work.notified().await;
            let _ = tokio::time::timeout(FLUSH_EVERY, self.hurry.notified()).await;
            // Whoever runs the group learns of it by [`Deferred::failure`].
            if self.flush().await.is_err() {
                return;
            }
        }
    }
}

/// An entry's bytes, and whether somebody waits for it to be in the data.
fn weigh(entry: &Entry) -> (usize, bool) {
    match &entry.payload {
        EntryPayload::Normal(payload) => (payload.0.len(), Command::is_urgent(&payload.0)),
        _ => (0, false),
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use recoil_base::{GroupId, NodeId, task};
    use recoil_storage::Data;

    use super::*;
    use crate::command::Body;
    use crate::local::Locals;
    use crate::machine::MachineKind;
    use crate::raft::{LeaderId, LogId, Payload};

    fn entry(index: u64, payload: Bytes) -> EntryResponder<TypeConfig> {
        let log_id = LogId { leader_id: LeaderId { term: 1, node_id: NodeId(1) }, index };
        (Entry { log_id, payload: EntryPayload::Normal(Payload(payload)) }, None)
    }

    fn start(index: u64) -> EntryResponder<TypeConfig> {
        entry(
            index,
            Command { term: 1, node: NodeId(1), chain: index, body: Body::Start { versions: vec![] } }.encode(0),
        )
    }

    /// Fails if a flush that was queued before an apply failed goes on: the replica would continue with a hole.
    #[tokio::test(flavor = "multi_thread")]
    async fn after_a_failed_apply_nothing_is_applied_until_the_group_is_opened_again() {
        let folder = tempfile::tempdir().unwrap();
        let data = Data::open(folder.path()).unwrap();
        let locals = Locals::open(data.clone()).unwrap();
        let open = || Core::open(GroupId(7), data.clone(), locals.clone(), MachineKind::Partitions).unwrap();
        let core = Arc::new(Mutex::new(open()));
        let deferred = Deferred::new(core.clone(), Applier::start(NodeId(1)));
        deferred.push(start(1)).unwrap();
        deferred.flush().await.unwrap();

        deferred.push(entry(2, Bytes::from_static(b"no entry"))).unwrap();
        let (first, second) = {
            // The first flush has taken its entry and waits for the core; a second one, with another entry, is queued behind it.
            let held = core.lock();
            let flushing = deferred.clone();
            let first = task::spawn_detached(async move { flushing.flush().await });
            while !deferred.waiting.lock().entries.is_empty() {
                std::thread::yield_now();
            }
            deferred.push(start(3)).unwrap();
            let flushing = deferred.clone();
            let second = task::spawn_detached(async move { flushing.flush().await });
            drop(held);
            (first, second)
        };
        let error = first.await.unwrap().unwrap_err().to_string();
        assert!(error.contains("cannot apply its entry 2"), "{error}");
        assert_eq!(second.await.unwrap().unwrap_err().to_string(), error);
        assert_eq!(deferred.push(start(4)).unwrap_err().to_string(), error);
        assert_eq!(&*deferred.failure().wait().await, error);
        let flushed = deferred.flushed(|_| Ok(())).await;
        assert!(flushed.is_err(), "a snapshot of the hole");
        assert_eq!(core.lock().row.applied.unwrap().index, 1);
        assert_eq!(open().row.applied.unwrap().index, 1);
    }
}
