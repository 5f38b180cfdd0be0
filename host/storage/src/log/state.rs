//! What the log's callers and its committer share: the index of all groups and the queue, under one lock, so that changes
//! are queued in the order in which they took effect.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use parking_lot::Mutex;
use recoil_base::GroupId;
use recoil_base::task::Rounds;
use tokio::sync::{Notify, oneshot};

use super::disk::File;
use super::index::{ABSENT, GroupIndex, PENDING, Slot};
use super::{LogError, LogStats};
use crate::failure::Failure;

/// More than this many queued bytes, and [`Shared::ready`] waits.
const QUEUE_BYTES_WISE: usize = 16 << 20;
/// What an operation weighs in the queue beside its bytes.
const OP_BYTES: usize = 64;

pub(super) type Done = Box<dyn FnOnce(Result<(), LogError>) + Send>;

/// What the committer writes for one operation.
pub(super) enum Change {
    /// Consecutive entries with consecutive sequence numbers.
    Entries {
        first: u64,
        sequence: u64,
        payloads: Vec<Bytes>,
    },
    /// Copies of entries that lie in old segments.
    Relocate(Vec<Relocated>),
    Vote(Bytes),
    /// The index that comes next.
    Truncate(u64),
    Purge(u64, Bytes),
    Reset(u64, Bytes),
    Remove,
    /// Nothing: completes after everything before it.
    Barrier,
}

impl Change {
    pub(super) fn records(&self) -> usize {
        match self {
            Change::Entries { payloads, .. } => payloads.len(),
            Change::Relocate(entries) => entries.len(),
            Change::Barrier => 0,
            _ => 1,
        }
    }

    fn bytes(&self) -> usize {
        match self {
            Change::Entries { payloads, .. } => payloads.iter().map(|payload| payload.len() + OP_BYTES).sum(),
            Change::Relocate(entries) => entries.iter().map(|entry| entry.payload.len() + OP_BYTES).sum(),
            Change::Vote(bytes) | Change::Purge(_, bytes) | Change::Reset(_, bytes) => bytes.len(),
            Change::Truncate(_) | Change::Remove | Change::Barrier => 0,
        }
    }
}

/// An entry to be copied forward, and where it lay when it was read.
pub(super) struct Relocated {
    pub(super) index: u64,
    pub(super) sequence: u64,
    pub(super) from: u32,
    pub(super) payload: Bytes,
}

/// A queued operation.
pub(super) struct Op {
    /// Consecutive.
    pub(super) number: u64,
    pub(super) group: GroupId,
    pub(super) change: Change,
    pub(super) bytes: usize,
    pub(super) done: Option<Done>,
}

/// A segment's file.
pub(super) struct Segment {
    pub(super) number: u32,
    pub(super) name: String,
    pub(super) bytes: u64,
    pub(super) file: Arc<dyn File>,
    /// No entry that was appended to it or to a later segment has a smaller sequence number. Relocated ones have.
    pub(super) sequence_first: u64,
    /// Bytes of the frames behind its checkpoint.
    pub(super) frame_bytes: u64,
    /// Live entries in it.
    pub(super) live: u64,
    /// Bytes of their records.
    pub(super) live_bytes: u64,
    /// The last operation that made an entry in it dead: durable, before the file goes.
    pub(super) dead_after: u64,
}

#[derive(Default)]
pub(super) struct State {
    pub(super) groups: BTreeMap<GroupId, GroupIndex>,
    /// Oldest first, numbered without a gap.
    pub(super) segments: VecDeque<Segment>,
    pub(super) queue: VecDeque<Op>,
    pub(super) queue_bytes: usize,
    /// The newest operation's number.
    pub(super) op_last: u64,
    /// The newest entry's sequence number.
    pub(super) sequence_last: u64,
    pub(super) closing: bool,
    pub(super) stats: LogStats,
}

impl State {
    /// The segment of that number.
    pub(super) fn segment_mut(segments: &mut VecDeque<Segment>, number: u32) -> Option<&mut Segment> {
        let place = number.checked_sub(segments.front()?.number)?;
        segments.get_mut(place as usize)
    }

    pub(super) fn segment(&self, number: u32) -> Option<&Segment> {
        let place = number.checked_sub(self.segments.front()?.number)?;
        self.segments.get(place as usize)
    }

    /// Notes that operation `op` made the entry of `slot` dead, or gave it another place.
    pub(super) fn retire(segments: &mut VecDeque<Segment>, slot: &Slot, op: u64) {
        if slot.segment == PENDING || slot.segment == ABSENT {
            return; // never counted as live
        }
        if let Some(segment) = State::segment_mut(segments, slot.segment) {
            segment.live -= 1;
            segment.live_bytes -= slot.bytes();
            segment.dead_after = segment.dead_after.max(op);
        }
    }

    /// Notes that the entry of `slot` lies where it says.
    pub(super) fn settle(segments: &mut VecDeque<Segment>, slot: &Slot) {
        if let Some(segment) = State::segment_mut(segments, slot.segment) {
            segment.live += 1;
            segment.live_bytes += slot.bytes();
        }
    }

    /// Drops cached payloads until at most `bytes_max` are left, from the groups that have most of them.
    pub(super) fn evict(&mut self, bytes_max: usize) {
        let mut total: usize = self.groups.values().map(GroupIndex::cached_bytes).sum();
        while total > bytes_max {
            let Some(largest) = self.groups.values_mut().max_by_key(|group| group.cached_bytes()) else { return };
            let before = largest.cached_bytes();
            // At least an eighth at a time, so that this loop is short even with many groups.
            largest.evict(before.saturating_sub((total - bytes_max).max(before / 8)));
            let freed = before - largest.cached_bytes();
            if freed == 0 {
                return; // what is left is not on disk yet
            }
            total -= freed;
        }
    }

    /// Takes away the oldest segments that nothing needs once operation `durable` is.
    pub(super) fn take_dead_segments(&mut self, durable: u64) -> Vec<Segment> {
        let mut dead = Vec::new();
        while self.segments.len() > 1
            && let Some(oldest) =
                self.segments.pop_front_if(|segment| segment.live == 0 && segment.dead_after <= durable)
        {
            dead.push(oldest);
        }
        dead
    }
}

/// Waits for an operation's end. A committer that died by a panic ends none.
pub(super) async fn ended(receiver: oneshot::Receiver<Result<(), LogError>>) -> Result<(), LogError> {
    receiver.await.unwrap_or(Err(LogError::Closed))
}

pub(crate) struct Shared {
    pub(super) state: Mutex<State>,
    /// The committer, once it has started.
    pub(super) committer: OnceLock<Rounds>,
    /// The queue has become shorter.
    pub(super) room: Notify,
    pub(super) failure: Failure,
}

impl Shared {
    pub(super) fn new(state: State, failure: Failure) -> Self {
        Shared { state: Mutex::new(state), committer: OnceLock::new(), room: Notify::new(), failure }
    }

    /// Something is queued.
    fn wake(&self) {
        if let Some(committer) = self.committer.get() {
            committer.wake();
        }
    }

    fn refusal(&self, state: &State) -> Option<LogError> {
        if let Some(reason) = self.failure.reason() {
            return Some(LogError::Poisoned { reason });
        }
        state.closing.then_some(LogError::Closed)
    }

    /// Lets `prepare` change the state and queues what it answers. `prepare` gets the operation's number, and must change nothing if
    /// it fails. `done` runs on the committer's thread when the change is durable, or on this one when it is refused.
    pub(super) fn submit(
        &self,
        group: GroupId,
        prepare: impl FnOnce(&mut State, u64) -> Result<Change, LogError>,
        done: Option<Done>,
    ) {
        let mut state = self.state.lock();
        let number = state.op_last + 1;
        let prepared = match self.refusal(&state) {
            Some(refusal) => Err(refusal),
            None => prepare(&mut state, number),
        };
        match prepared {
            Ok(change) => {
                let bytes = change.bytes() + OP_BYTES;
                state.op_last = number;
                state.queue_bytes += bytes;
                state.queue.push_back(Op { number, group, change, bytes, done });
                drop(state);
                self.wake();
            }
            Err(error) => {
                drop(state);
                if let Some(done) = done {
                    done(Err(error));
                }
            }
        }
    }

    /// [`Shared::submit`], with a channel for the end: [`ended`] waits for it.
    pub(super) fn submit_async(
        &self,
        group: GroupId,
        prepare: impl FnOnce(&mut State, u64) -> Result<Change, LogError>,
    ) -> oneshot::Receiver<Result<(), LogError>> {
        let (sender, receiver) = oneshot::channel();
        let done = move |result| {
            let _ = sender.send(result); // nobody waits any more
        };
        self.submit(group, prepare, Some(Box::new(done)));
        receiver
    }

    pub(super) async fn ready(&self) {
        loop {
            let room = self.room.notified();
            if self.state.lock().queue_bytes < QUEUE_BYTES_WISE || self.failure.reason().is_some() {
                return;
            }
            room.await;
        }
    }

    /// Takes no more operations, for `reason`, and answers those that were queued.
    pub(super) fn poison(&self, reason: String) -> (LogError, Vec<Op>) {
        let mut state = self.state.lock();
        // Under the lock, so that nothing is queued after the queue has been taken.
        let reason = self.failure.report(reason);
        state.queue_bytes = 0;
        let queued = std::mem::take(&mut state.queue).into();
        drop(state);
        self.room.notify_waiters();
        (LogError::Poisoned { reason }, queued)
    }
}
