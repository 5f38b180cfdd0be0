//! The calls that this node has routed and that are not answered yet.
//!
//! This node is the *origin* of the calls that its listeners make. To each app on each partition, a lane, it numbers the writing calls,
//! and keeps every call, in order, until it is answered, its deadline is over, or nobody waits for it any more. When a call comes back
//! without an answer (no leader, a connection that broke, a leader that was lost), everything unanswered of its lane is sent again, in
//! order, after the lane's pause: whoever leads now knows by the numbers what has been applied already
//! ([`recoil_consensus::answered`]).
//!
//! A pause is the lane's own: it doubles each time from [`PAUSE_MIN`] to [`PAUSE_MAX`], and an answer to a call of the lane resets it,
//! so that a partition without a leader slows down no other. A lane whose partition has moved is sent again at once, a few times
//! between two answers. Time comes in with each call; nothing here looks at a clock.
//!
//! Invariants:
//! - Numbers are given and frames are handed to the network under one lock, so calls of a lane leave in the order of their numbers.
//! - `acked` of a lane is below every number that may still be asked for: a call that was given up can never be applied later,
//!   once a leader has seen that.
//! - A call is told once. `unavailable` is told only of calls that nobody can have evaluated.
//! - The numbers and tickets of a lane never begin anew, also when it has been freed with its app and the app is installed again: a new
//!   lane begins above all that were freed. A leader takes the numbers between for calls that were given up.
//!
//! Bounded: calls of a lane, bytes of all calls; lanes by the apps that there are and the partitions, since they go with their app.
//!
//! Deliberately absent: where partitions are and how frames travel ([`crate::router`]).

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use recoil_base::AppId;
use recoil_consensus::PartitionRef;
use recoil_engine::{CallError, Mode};
use rustc_hash::FxHashMap;
use tokio::time::Instant;

use crate::calls::{Answer, Miss, PartitionCall, Reply, Request};

/// Unanswered calls of one lane.
const LANE_CALLS_MAX: usize = 64 << 10;
/// Bytes of all unanswered calls.
const BYTES_MAX: usize = 512 << 20;
/// Pauses before a lane is sent again.
pub(crate) const PAUSE_MIN: Duration = Duration::from_millis(2);
pub(crate) const PAUSE_MAX: Duration = Duration::from_millis(50);
/// How often a lane is sent again at once, because its partition has moved, before one of its calls must be answered. Nodes that
/// redirect to each other are then asked no more often than others that do not answer.
const REDIRECTS_MAX: u32 = 4;

/// An app on a partition.
pub(crate) type LaneId = (AppId, PartitionRef);

/// Names an unanswered call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ticket {
    pub(crate) lane: LaneId,
    order: u64,
}

/// A call as it is sent now.
pub(crate) struct Departing {
    pub(crate) call: PartitionCall,
    /// It has been sent before, and came back without an answer.
    pub(crate) has_missed: bool,
}

struct Waiting {
    mode: Mode,
    /// Its own number, or the one it must come after.
    sequence: u64,
    request: Request,
    reply: Reply,
    /// Times it is on its way.
    flying: u32,
    /// A node may have evaluated it.
    maybe: bool,
    has_missed: bool,
}

impl Waiting {
    fn may_be_applied(&self) -> bool {
        self.mode == Mode::Write && (self.maybe || self.flying > 0)
    }
}

struct Lane {
    /// The number of the newest writing call.
    newest: u64,
    /// The numbers not answered yet.
    open: BTreeSet<u64>,
    order: u64,
    /// A tree: whoever gives up many calls in the middle of a full lane must not hold up the node.
    calls: BTreeMap<u64, Waiting>,
    /// Before it is sent again the next time.
    pause: Duration,
    /// When it is sent again.
    due: Option<Instant>,
    /// Times it was sent again at once since an answer came.
    redirects: u32,
}

impl Lane {
    fn above(floor: u64) -> Self {
        let (open, calls) = (BTreeSet::new(), BTreeMap::new());
        Lane { newest: floor, open, order: floor, calls, pause: PAUSE_MIN, due: None, redirects: 0 }
    }

    fn acked(&self) -> u64 {
        self.open.first().map_or(self.newest, |first| first - 1)
    }

    fn remove(&mut self, order: u64) -> Option<Waiting> {
        let waiting = self.calls.remove(&order)?;
        if waiting.mode == Mode::Write {
            self.open.remove(&waiting.sequence);
        }
        Some(waiting)
    }

    fn send(&mut self, (app, partition): LaneId, order: u64, epoch: impl Fn(PartitionRef) -> u64) -> Option<Departing> {
        let acked = self.acked();
        let waiting = self.calls.get_mut(&order)?;
        waiting.flying += 1;
        let (mode, sequence, mut request) = (waiting.mode, waiting.sequence, waiting.request.clone());
        if let Request::All(parts) = &mut request {
            parts.iter_mut().for_each(|part| part.epoch = epoch(part.partition));
        }
        let call = PartitionCall { app, partition, epoch: epoch(partition), mode, sequence, acked, request };
        Some(Departing { call, has_missed: waiting.has_missed })
    }

    /// When it is sent again after a miss, if that is earlier than it would be anyway.
    fn reschedule(&mut self, now: Instant, has_moved: bool) -> Option<Instant> {
        let at_once = has_moved && self.redirects < REDIRECTS_MAX;
        let due = if at_once { now } else { now + self.pause };
        if self.due.is_some_and(|before| before <= due) {
            return None;
        }
        if at_once {
            self.redirects += 1;
        } else {
            self.pause = (self.pause * 2).min(PAUSE_MAX);
        }
        Some(due)
    }
}

/// See the module's essay.
#[derive(Default)]
pub(crate) struct Outbox {
    lanes: FxHashMap<LaneId, Lane>,
    /// Apps that have lanes.
    apps: BTreeSet<AppId>,
    /// Lanes to be sent again, by when.
    again: BTreeSet<(Instant, LaneId)>,
    bytes: usize,
    /// Above the numbers of all lanes that were freed.
    floor: u64,
}

/// Answers to give, once no lock is held.
pub(crate) type Told = Vec<(Reply, Answer)>;

impl Outbox {
    /// Takes in a call; it is not sent yet. Refused, with its reply, when too much waits already.
    pub(crate) fn put(&mut self, lane: LaneId, mode: Mode, request: Request, reply: Reply) -> Result<Ticket, Reply> {
        let size = request.size();
        let found = self.lanes.entry(lane).or_insert_with(|| {
            self.apps.insert(lane.0);
            Lane::above(self.floor)
        });
        if found.calls.len() >= LANE_CALLS_MAX || self.bytes + size > BYTES_MAX {
            return Err(reply);
        }
        self.bytes += size;
        if mode == Mode::Write {
            found.newest += 1;
            found.open.insert(found.newest);
        }
        found.order += 1;
        let sequence = if mode == Mode::StaleRead { 0 } else { found.newest };
        let waiting = Waiting { mode, sequence, request, reply, flying: 0, maybe: false, has_missed: false };
        found.calls.insert(found.order, waiting);
        Ok(Ticket { lane, order: found.order })
    }

    /// The call as it is sent now, by placements of these epochs; none if it is answered already.
    pub(crate) fn send(&mut self, ticket: Ticket, epoch: impl Fn(PartitionRef) -> u64) -> Option<Departing> {
        self.lanes.get_mut(&ticket.lane)?.send(ticket.lane, ticket.order, epoch)
    }

    /// Everything unanswered of the lanes that are to be sent again by now.
    pub(crate) fn take_due(&mut self, now: Instant) -> Vec<Ticket> {
        let mut tickets = Vec::new();
        while let Some((_, lane)) = self.again.first().copied().filter(|(due, _)| *due <= now) {
            self.again.pop_first();
            let Some(found) = self.lanes.get_mut(&lane) else { continue };
            found.due = None;
            tickets.extend(found.calls.keys().map(|order| Ticket { lane, order: *order }));
        }
        tickets
    }

    #[cfg(test)]
    pub(crate) fn lanes(&self) -> usize {
        self.lanes.len()
    }

    /// When the next lane is to be sent again.
    pub(crate) fn next_due(&self) -> Option<Instant> {
        self.again.first().map(|(due, _)| *due)
    }

    /// Takes what came back for a call that had been sent.
    pub(crate) fn came_back(&mut self, ticket: Ticket, answer: Answer, now: Instant, told: &mut Told) {
        let Some(lane) = self.lanes.get_mut(&ticket.lane) else { return };
        let Some(waiting) = lane.calls.get_mut(&ticket.order) else { return };
        waiting.flying = waiting.flying.saturating_sub(1);
        // What a node says that could not look at the call tells nothing of where it was sent before.
        let answer = match answer {
            Err(Miss::Refused(why)) if !waiting.may_be_applied() => Err(Miss::Error(CallError::Unavailable(why))),
            other => other,
        };
        match answer {
            Ok(_) | Err(Miss::Error(_)) => {
                (lane.pause, lane.redirects) = (PAUSE_MIN, 0);
                if let Some(waiting) = lane.remove(ticket.order) {
                    self.bytes -= waiting.request.size().min(self.bytes);
                    told.push((waiting.reply, answer));
                }
            }
            Err(miss) => {
                waiting.maybe |= waiting.mode == Mode::Write && matches!(miss, Miss::Unknown);
                waiting.has_missed = true;
                if let Some(due) = lane.reschedule(now, matches!(miss, Miss::Moved { .. })) {
                    if let Some(before) = lane.due.replace(due) {
                        self.again.remove(&(before, ticket.lane));
                    }
                    self.again.insert((due, ticket.lane));
                }
            }
        }
    }

    /// Nobody waits any longer. The reply is told what is known.
    pub(crate) fn give_up(&mut self, ticket: Ticket, told: &mut Told) {
        let Some(waiting) = self.lanes.get_mut(&ticket.lane).and_then(|lane| lane.remove(ticket.order)) else { return };
        self.bytes -= waiting.request.size().min(self.bytes);
        let partition = ticket.lane.1.partition;
        let error = if waiting.may_be_applied() {
            CallError::UnknownOutcome(format!(
                "partition {partition} lost its leader or its quorum while the request was on its way; it may or may not have been applied"
            ))
        } else {
            CallError::Unavailable(format!(
                "partition {partition} has no leader or no quorum; nothing was written; retry"
            ))
        };
        told.push((waiting.reply, Err(Miss::Error(error))));
    }

    /// Frees the lanes of apps that are there no longer, and answers their calls.
    pub(crate) fn retain_apps(&mut self, is_there: impl Fn(AppId) -> bool, told: &mut Told) {
        let gone: BTreeSet<AppId> = self.apps.iter().copied().filter(|app| !is_there(*app)).collect();
        if gone.is_empty() {
            return;
        }
        self.apps.retain(|app| !gone.contains(app));
        self.again.retain(|(_, (app, _))| !gone.contains(app));
        for (_, lane) in self.lanes.extract_if(|(app, _), _| gone.contains(app)) {
            self.floor = self.floor.max(lane.order);
            for (_, waiting) in lane.calls {
                self.bytes -= waiting.request.size().min(self.bytes);
                let error = if waiting.may_be_applied() {
                    let text =
                        "the app was uninstalled while the request was on its way; it may or may not have been applied";
                    CallError::UnknownOutcome(text.into())
                } else {
                    CallError::Unavailable("the app has been uninstalled; nothing was written".into())
                };
                told.push((waiting.reply, Err(Miss::Error(error))));
            }
        }
    }
}
