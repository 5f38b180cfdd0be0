//! Deferred applying: committed entries wait a moment, so that many reach the data in one sorted batch.
//!
//! The log is the truth and leaders read through their overlays, so nothing needs a committed entry to be in the data at once. What
//! waiting saves: a key written again is written once; rows that every entry changes (what is remembered of an origin's calls,
//! how far the group is) are written once a batch; and sorted batches cost the store about half.
//!
//! So openraft's applied index may be ahead of the data. Who relies on the data asks for it first: a snapshot, an installation, a leader
//! that begins a session (its start entry is not deferred, and is answered when it is in the data), the meta group (never deferred).
//! Replies, which let go of overlays, are sent when the data has the entry. A crash loses what waits, and the log brings it back.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use openraft::EntryPayload;
use openraft::storage::EntryResponder;
use parking_lot::Mutex;
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
    /// Why nothing is applied any more.
    failed: Option<String>,
}

/// The way of one group's committed entries to its data. See the module's essay.
pub(crate) struct Deferred {
    core: Arc<Mutex<Core>>,
    applier: Applier,
    waiting: Mutex<Waiting>,
    work: Notify,
    hurry: Notify,
}

impl Deferred {
    pub(crate) fn new(core: Arc<Mutex<Core>>, applier: Applier) -> Arc<Self> {
        Arc::new(Deferred { core, applier, waiting: Mutex::default(), work: Notify::new(), hurry: Notify::new() })
    }

    /// Takes a committed entry in; true if it must not wait, or too much already does: then [`Deferred::flush`] is due.
    pub(crate) fn push(&self, entry: EntryResponder<TypeConfig>) -> io::Result<bool> {
        let (bytes, urgent) = weigh(&entry.0);
        let mut waiting = self.waiting.lock();
        if let Some(why) = &waiting.failed {
            return Err(io::Error::other(why.clone()));
        }
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
        let Waiting { entries, .. } = std::mem::take(&mut *self.waiting.lock());
        if entries.is_empty() {
            return Ok(());
        }
        let (entries, responders): (Vec<Entry>, Vec<_>) = entries.into_iter().unzip();
        let replies = self.core.lock().apply(entries).inspect_err(|error| {
            self.waiting.lock().failed = Some(error.to_string());
        })?;
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
            if let Err(error) = self.flush().await {
                tracing::error!(%error, "committed entries cannot be applied");
                return;
            }
        }
    }
}

/// An entry's bytes, and whether somebody waits for it to be in the data.
fn weigh(entry: &Entry) -> (usize, bool) {
    match &entry.payload {
        EntryPayload::Normal(payload) => (payload.0.len(), Command::is_start(&payload.0)),
        _ => (0, false),
    }
}
