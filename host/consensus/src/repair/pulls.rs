//! The serving end of a pull: snapshots held ready for replicas that have lost their data, and moments of single partitions for
//! replicas that lack one ([`crate::fetch`]).
//!
//! A pull is named by a number that the asker has chosen; its chunks are asked for by their numbers, in order, and the last one
//! again if its answer was lost. Bounded: a few pulls a group, each with one moment of the data and one chunk in memory, and
//! forgotten when nothing has been asked of it for a while.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use recoil_base::{Clock, GroupId, KeyspaceId, PartitionId, task};
use recoil_storage::Data;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use crate::command::PartitionRef;
use crate::keeper::Sending;
use crate::snapshot::{Chunks, Source};

/// Replicas of a group that are served at a time; the others try again.
const PULLS_MAX: usize = 2;
/// A pull that is not gone on with for so long has been given up.
const IDLE_MAX: Duration = Duration::from_secs(30);

/// Asks for a snapshot that reaches an index at least. Answered with an [`Contents`](crate::snapshot::Contents).
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct PullBegin {
    pub(crate) pull: u64,
    pub(crate) at_least: u64,
}

/// Asks for the rows of one partition. Answered with [`Contents`](crate::snapshot::Contents) of that partition alone.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct PullPartition {
    pub(crate) pull: u64,
    pub(crate) keyspace: u32,
    pub(crate) partition: u32,
    /// The epoch in which the asker's group owns it.
    pub(crate) epoch: u64,
    /// The move that has released it here. None: the group asked owns it in that epoch.
    pub(crate) released_by: Option<u64>,
}

/// Asks for one of its chunks, counted from 0. Answered with the chunk; with nothing after the last.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct PullNext {
    pub(crate) pull: u64,
    pub(crate) number: u64,
}

struct Pull {
    id: u64,
    /// Absent while one is being read.
    chunks: Option<Chunks>,
    /// The number of the next chunk, and the one before it.
    next: u64,
    last: Bytes,
    /// All of it has been asked for: it is kept only in case the last answer was lost.
    finished: bool,
    used: Instant,
}

/// The pulls of one group.
pub(crate) struct Pulls {
    group: GroupId,
    data: Data,
    clock: Clock,
    sending: Arc<Sending>,
    open: Mutex<Vec<Pull>>,
}

impl Pulls {
    pub(crate) fn new(group: GroupId, data: Data, clock: Clock, sending: Arc<Sending>) -> Self {
        Pulls { group, data, clock, sending, open: Mutex::default() }
    }

    /// Forgets what nobody goes on with. To be called now and then.
    pub(crate) fn expire(&self) {
        let now = self.clock.now();
        self.open.lock().retain(|pull| now.saturating_duration_since(pull.used) < IDLE_MAX);
    }

    /// Holds the present moment ready.
    pub(crate) async fn begin(&self, begin: PullBegin) -> Result<Bytes, String> {
        let (group, data) = (self.group, self.data.clone());
        let taken = task::spawn_blocking(move || Source::take(group, &data)).await;
        let source = taken.map_err(|error| error.to_string())?.map_err(|error| error.to_string())?;
        let source = source.filter(|source| source.meta().last_log_id.is_some_and(|id| id.index >= begin.at_least));
        let mut source = source.ok_or_else(|| format!("this replica has not applied {} yet", begin.at_least))?;
        source.hold(&self.sending);
        self.hold_ready(begin.pull, source)
    }

    /// Holds the present moment of a partition ready.
    pub(crate) async fn begin_partition(&self, begin: PullPartition) -> Result<Bytes, String> {
        let (group, data) = (self.group, self.data.clone());
        let PullPartition { pull, keyspace, partition, epoch, released_by } = begin;
        let partition = PartitionRef { keyspace: KeyspaceId(keyspace), partition: PartitionId(partition) };
        let taken =
            task::spawn_blocking(move || Source::take_partition(group, &data, partition, epoch, released_by)).await;
        let source = taken.map_err(|error| error.to_string())?.map_err(|error| error.to_string())?;
        let source = source.ok_or_else(|| {
            format!(
                "this replica of group {group} has no complete copy of partition {} of that epoch",
                partition.partition
            )
        })?;
        self.hold_ready(pull, source)
    }

    fn hold_ready(&self, pull: u64, source: Source) -> Result<Bytes, String> {
        let offer = source.contents().encode_offer();
        self.expire();
        let mut open = self.open.lock();
        open.retain(|other| other.id != pull);
        if open.len() >= PULLS_MAX {
            open.retain(|pull| !pull.finished);
        }
        if open.len() >= PULLS_MAX {
            return Err(format!("{PULLS_MAX} pulls are under way here already; retry"));
        }
        let (chunks, used) = (Some(Arc::new(source).chunks()), self.clock.now());
        open.push(Pull { id: pull, chunks, next: 0, last: Bytes::new(), finished: false, used });
        Ok(offer)
    }

    /// The chunk asked for.
    pub(crate) async fn next(&self, asked: PullNext) -> Result<Bytes, String> {
        let now = self.clock.now();
        let mut chunks = {
            let mut open = self.open.lock();
            let pull = open.iter_mut().find(|pull| pull.id == asked.pull).ok_or(GONE)?;
            pull.used = now;
            if asked.number.checked_add(1) == Some(pull.next) {
                return Ok(pull.last.clone());
            }
            if asked.number != pull.next {
                return Err(format!("chunk {} is asked for, but {} comes next", asked.number, pull.next));
            }
            pull.chunks.take().ok_or("a chunk is being read; begin again")?
        };
        let read = task::spawn_blocking(move || (chunks.next_chunk(), chunks)).await;
        let (chunk, chunks) = read.map_err(|error| error.to_string())?;
        // A read error must not pass for the end of the rows.
        let chunk = chunk.map_err(|error| error.to_string())?.unwrap_or_default();
        let mut open = self.open.lock();
        let pull = open.iter_mut().find(|pull| pull.id == asked.pull && pull.chunks.is_none()).ok_or(GONE)?;
        pull.chunks = Some(chunks);
        pull.next += 1;
        pull.finished = chunk.is_empty();
        pull.last = chunk.clone();
        Ok(chunk)
    }
}

const GONE: &str = "no such pull is under way here; begin again";
