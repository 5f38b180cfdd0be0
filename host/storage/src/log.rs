//! The log: one segmented write-ahead log for the Raft logs of all groups of a node.
//!
//! Why one: a node's groups share its disk, and an fsync costs the same for one record or four thousand. A committer thread
//! ([`committer`]) gathers what all groups have queued into one frame, writes it, syncs it, and only then acknowledges and
//! goes on to the next. Why our own: a log must tell the torn end of a write that nobody was promised from damage to what was.
//! Frames are numbered and only one is ever in flight, so a bad frame before a good one is damage, and the node must not vote
//! again; a bad frame with nothing good behind it was never acknowledged ([`recovery`]).
//!
//! Invariants:
//! - A frame is written only after the fsync of the one before it. After the first failed write or fsync nothing is written
//!   or acknowledged any more ([`LogError::Poisoned`]).
//! - Changes take effect in memory when they are asked for and on disk in that same order; completions run in that order.
//! - A segment begins with a checkpoint of all groups, so older ones are needed only for live entries. They are deleted from
//!   the front only, when nothing in them is live and what made it so is durable.
//! - The log of a group that purges does not outlive two segments of everybody's writes, and the entries of one that cannot purge
//!   are copied forward, so that no group keeps another's dead entries on the disk ([`pins`]).
//!
//! Deliberately absent: Raft. Entries, votes and log ids are bytes. Indexes are the only thing understood, so that a gap is
//! refused when it is made and not found when it is too late.

mod committer;
pub mod disk;
mod format;
#[doc(hidden)]
pub mod fuzzing;
mod group;
mod index;
mod pins;
mod recovery;
mod state;
#[cfg(test)]
mod tests;

use std::future::Future;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use recoil_base::GroupId;
use recoil_base::task::Rounds;

pub use group::GroupLog;
pub use pins::{Pin, Pins, Relocation};

use crate::failure::Failure;
use committer::Committer;
use disk::{Disk, SystemDisk};
use state::{Change, Shared, ended};

/// An entry's payload, a vote or a log id may have this many bytes.
pub const PAYLOAD_BYTES_MAX: usize = 64 << 20;
/// Segments are not made larger than this, except for one entry that needs it.
const SEGMENT_BYTES_MAX: u64 = 1 << 30;
const SEGMENT_BYTES_MIN: u64 = 4 << 10;
/// Where the log keeps what is the node's and no group's: its incarnation, as a vote.
const NODE_GROUP: GroupId = GroupId(u32::MAX);

/// How a log uses space.
#[derive(Clone, Debug)]
pub struct LogOptions {
    /// Bytes of a segment's file (4 KiB to 1 GiB). Smaller ones are deleted sooner, larger ones made more rarely.
    pub segment_bytes: u64,
    /// Bytes of payloads kept in memory for reading, all groups together, beside those not yet on disk.
    pub cache_bytes: usize,
}

impl Default for LogOptions {
    fn default() -> Self {
        LogOptions { segment_bytes: 64 << 20, cache_bytes: 4 << 20 }
    }
}

/// Why the log refuses. All but [`LogError::Invalid`] and [`LogError::TooLarge`] are the end of this log in this process.
#[derive(Clone, Debug, thiserror::Error)]
pub enum LogError {
    /// What was acknowledged is not there any more.
    #[error(
        "the log is damaged: {file}, byte {offset}: {why}. What this node promised to others may be lost, so it must not vote again: \
         replace it by a node with an empty data folder, under a new id"
    )]
    Corrupt {
        /// The segment.
        file: String,
        /// Where in it.
        offset: u64,
        /// What is wrong.
        why: String,
    },
    /// Another version wrote it.
    #[error(
        "the log's {file} is in format {found}, and this version reads and writes format {expected} only. Start the node with the version \
         that wrote it, or replace it by a node with an empty data folder, under a new id"
    )]
    Format {
        /// The segment.
        file: String,
        /// Its format.
        found: char,
        /// This version's.
        expected: char,
    },
    /// The operating system refused, while opening or reading.
    #[error(
        "cannot {action} the log's {file}: {why}; see that the disk is there, works and has space, then start the node again"
    )]
    Io {
        /// What was tried.
        action: &'static str,
        /// On what.
        file: String,
        /// Why not.
        why: String,
    },
    /// An earlier write or fsync failed.
    #[error(
        "the log takes no more writes since one failed: {reason}. Stop the node, mend the disk, and start it again"
    )]
    Poisoned {
        /// The first failure.
        reason: Arc<str>,
    },
    /// The log has been closed.
    #[error("the log is closed: the node is stopping")]
    Closed,
    /// The request contradicts what the log holds; nothing was changed.
    #[error("group {group} asks its log for the impossible: {why}")]
    Invalid {
        /// Whose request.
        group: GroupId,
        /// What is wrong with it.
        why: String,
    },
    /// The payload cannot be stored; nothing was changed.
    #[error("group {group} wants to log {bytes} bytes in one piece; the limit is {PAYLOAD_BYTES_MAX}")]
    TooLarge {
        /// Whose request.
        group: GroupId,
        /// How many bytes.
        bytes: usize,
    },
}

/// What a log has done since it was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LogStats {
    /// Frames written, each with one fsync.
    pub frames: u64,
    /// Records in them.
    pub records: u64,
    /// Bytes of them.
    pub bytes: u64,
    /// Segments made.
    pub segments_made: u64,
    /// Segments deleted.
    pub segments_deleted: u64,
    /// Entries copied forward out of old segments.
    pub entries_relocated: u64,
}

/// The log of a node. Clones share it. When the last clone and the last [`GroupLog`] are dropped, what is queued is written
/// and the committer ends, as by [`Log::close`].
#[derive(Clone)]
pub struct Log {
    inner: Arc<Inner>,
}

pub(crate) struct Inner {
    pub(crate) shared: Arc<Shared>,
    committer: Rounds,
    /// [`LogOptions::segment_bytes`], within its bounds.
    segment_bytes: u64,
}

impl Log {
    /// Opens the log in `folder`, or makes it there, and starts its committer. The caller sees to it that nobody else has
    /// it open ([`crate::Folder`] does). Reads all of the log; blocks.
    pub fn open(folder: &Path, options: LogOptions) -> Result<Self, LogError> {
        let disk = SystemDisk::new(folder).map_err(|error| LogError::Io {
            action: "create",
            file: folder.display().to_string(),
            why: error.to_string(),
        })?;
        Log::open_on(Arc::new(disk), options)
    }

    /// [`Log::open`] on any kind of disk.
    pub fn open_on(disk: Arc<dyn Disk>, mut options: LogOptions) -> Result<Self, LogError> {
        options.segment_bytes = options.segment_bytes.clamp(SEGMENT_BYTES_MIN, SEGMENT_BYTES_MAX).next_multiple_of(8);
        let segment_bytes = options.segment_bytes;
        let recovered = recovery::recover(&disk, &options)?;
        let shared = Arc::new(Shared::new(recovered.state, Failure::new()));
        let mut committer =
            Committer::new(shared.clone(), disk, options, recovered.images, recovered.active, recovered.next_frame);
        let committer =
            shared.committer.get_or_init(|| Rounds::start("log-committer", move || committer.round())).clone();
        Ok(Log { inner: Arc::new(Inner { shared, committer, segment_bytes }) })
    }

    /// The part of the log that belongs to `group`; empty if nothing was ever written to it.
    pub fn group(&self, group: GroupId) -> GroupLog {
        GroupLog::new(self.inner.clone(), group)
    }

    /// The groups that the log holds anything of.
    pub fn groups(&self) -> Vec<GroupId> {
        self.inner.shared.state.lock().groups.keys().copied().filter(|group| *group != NODE_GROUP).collect()
    }

    /// The node's incarnation that was written last; none in a log that never saw one.
    pub fn incarnation(&self) -> Option<u64> {
        let stored = self.group(NODE_GROUP).vote()?;
        stored[..].try_into().ok().map(u64::from_le_bytes)
    }

    /// Durably notes the node's incarnation. Blocks.
    pub fn set_incarnation(&self, incarnation: u64) -> Result<(), LogError> {
        let (done, ended) = std::sync::mpsc::channel();
        let group = self.group(NODE_GROUP);
        drop(group.save_vote(Bytes::copy_from_slice(&incarnation.to_le_bytes())));
        // An empty append ends when everything before it is durable.
        group.append(Vec::new(), move |result| drop(done.send(result)));
        self.inner.committer.catch_up();
        ended.recv().unwrap_or(Err(LogError::Closed))
    }

    /// Resolves once everything asked for before this call is durable.
    pub fn flush(&self) -> impl Future<Output = Result<(), LogError>> + Send + 'static + use<> {
        ended(self.inner.shared.submit_async(GroupId::META, |_, _| Ok(Change::Barrier)))
    }

    /// Waits until little enough is queued for more to be wise. Appending without waiting is never refused for it.
    pub async fn ready(&self) {
        self.inner.shared.ready().await;
    }

    /// Resolves with the reason when the log has failed for good: for ever pending, if all goes well.
    pub fn failed(&self) -> impl Future<Output = Arc<str>> + Send + 'static + use<> {
        let failure = self.inner.shared.failure.clone();
        async move { failure.wait().await }
    }

    /// Segments on disk.
    pub fn segment_count(&self) -> usize {
        self.inner.shared.state.lock().segments.len()
    }

    /// Bytes of the segments on disk.
    pub fn bytes(&self) -> u64 {
        self.inner.shared.state.lock().segments.iter().map(|segment| segment.bytes).sum()
    }

    /// What the log has done since it was opened.
    pub fn stats(&self) -> LogStats {
        self.inner.shared.state.lock().stats
    }

    /// Writes what is queued, ends the committer and refuses everything from now on. Blocks.
    pub fn close(&self) {
        self.inner.close();
    }
}

impl Inner {
    fn close(&self) {
        self.shared.state.lock().closing = true;
        if !self.committer.wake_and_join() {
            tracing::error!("the log's committer has panicked");
        }
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.close();
    }
}
