//! The calls that this node has routed and that are not answered yet.
//!
//! This node is the *origin* of the calls that its listeners make. To each app on each partition it numbers the writing calls, and
//! keeps every call, in order, until it is answered, its deadline is over, or nobody waits for it any more. A call that
//! comes back without an answer (no leader, a connection that broke, a leader that was lost) puts its lane among those to be
//! sent again, and then everything unanswered of the lane is sent, in order: whoever leads now knows by the numbers what has been
//! applied already ([`recoil_consensus::answered`]).
//!
//! Invariants:
//! - Numbers are given and frames are handed to the network under one lock, so calls of a lane leave in the order of their numbers.
//! - `acked` of a lane is below every number that may still be asked for: a call that was given up can never be applied later,
//!   once a leader has seen that.
//! - A call is told once. `unavailable` is told only of calls that nobody can have evaluated.
//!
//! Bounded: calls of a lane, bytes of all calls. Lanes stay, since their numbers must not begin anew.
//!
//! Deliberately absent: where partitions are and how frames travel ([`crate::router`]).

use std::collections::{BTreeMap, BTreeSet};

use recoil_base::{AppId, PartitionId};
use recoil_engine::{CallError, Mode};
use rustc_hash::FxHashMap;

use crate::calls::{Answer, Miss, PartitionCall, Reply, Request};

/// Unanswered calls of one lane.
const LANE_CALLS_MAX: usize = 64 << 10;
/// Bytes of all unanswered calls.
const BYTES_MAX: usize = 512 << 20;

/// An app on a partition.
pub(crate) type LaneId = (AppId, PartitionId);

/// Names an unanswered call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ticket {
    pub(crate) lane: LaneId,
    order: u64,
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
}

#[derive(Default)]
struct Lane {
    /// The number of the newest writing call.
    newest: u64,
    /// The numbers not answered yet.
    open: BTreeSet<u64>,
    order: u64,
    /// A tree: whoever gives up many calls in the middle of a full lane must not hold up the node.
    calls: BTreeMap<u64, Waiting>,
}

impl Lane {
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

    fn send(&mut self, id: LaneId, order: u64) -> Option<PartitionCall> {
        let acked = self.acked();
        let waiting = self.calls.get_mut(&order)?;
        waiting.flying += 1;
        let (mode, sequence, request) = (waiting.mode, waiting.sequence, waiting.request.clone());
        Some(PartitionCall { app: id.0, partition: id.1, mode, sequence, acked, request })
    }
}

/// See the module's essay.
#[derive(Default)]
pub(crate) struct Outbox {
    lanes: FxHashMap<LaneId, Lane>,
    again: BTreeSet<LaneId>,
    bytes: usize,
}

/// Answers to give, once no lock is held.
pub(crate) type Told = Vec<(Reply, Answer)>;

impl Outbox {
    /// Takes in a call; it is not sent yet. Refused, with its reply, when too much waits already.
    pub(crate) fn put(&mut self, lane: LaneId, mode: Mode, request: Request, reply: Reply) -> Result<Ticket, Reply> {
        let size = request.size();
        let found = self.lanes.entry(lane).or_default();
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
        let waiting = Waiting { mode, sequence, request, reply, flying: 0, maybe: false };
        found.calls.insert(found.order, waiting);
        Ok(Ticket { lane, order: found.order })
    }

    /// The call as it is sent now; none if it is answered already.
    pub(crate) fn send(&mut self, ticket: Ticket) -> Option<PartitionCall> {
        self.lanes.get_mut(&ticket.lane)?.send(ticket.lane, ticket.order)
    }

    /// Everything unanswered of the lanes that must be sent again.
    pub(crate) fn take_again(&mut self) -> Vec<Ticket> {
        let lanes = std::mem::take(&mut self.again);
        let orders = |lane: LaneId| self.lanes.get(&lane).into_iter().flat_map(|found| found.calls.keys().copied());
        lanes.into_iter().flat_map(|lane| orders(lane).map(move |order| Ticket { lane, order })).collect()
    }

    /// True if something is to be sent again.
    pub(crate) fn has_again(&self) -> bool {
        !self.again.is_empty()
    }

    /// Takes what came back for a call that had been sent.
    pub(crate) fn came_back(&mut self, ticket: Ticket, answer: Answer, told: &mut Told) {
        let Some(lane) = self.lanes.get_mut(&ticket.lane) else { return };
        let Some(waiting) = lane.calls.get_mut(&ticket.order) else { return };
        waiting.flying = waiting.flying.saturating_sub(1);
        // What a node says that could not look at the call tells nothing of where it was sent before.
        let unsure = waiting.mode == Mode::Write && (waiting.maybe || waiting.flying > 0);
        let answer = match answer {
            Err(Miss::Refused(why)) if !unsure => Err(Miss::Error(CallError::Unavailable(why))),
            other => other,
        };
        match answer {
            Ok(_) | Err(Miss::Error(_)) => {
                if let Some(waiting) = lane.remove(ticket.order) {
                    self.bytes -= waiting.request.size().min(self.bytes);
                    told.push((waiting.reply, answer));
                }
            }
            Err(miss) => {
                waiting.maybe |= waiting.mode == Mode::Write && matches!(miss, Miss::Unknown);
                self.again.insert(ticket.lane);
            }
        }
    }

    /// Nobody waits any longer. The reply is told what is known.
    pub(crate) fn give_up(&mut self, ticket: Ticket, told: &mut Told) {
        let Some(waiting) = self.lanes.get_mut(&ticket.lane).and_then(|lane| lane.remove(ticket.order)) else { return };
        self.bytes -= waiting.request.size().min(self.bytes);
        let partition = ticket.lane.1;
        let error = if waiting.mode == Mode::Write && (waiting.maybe || waiting.flying > 0) {
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
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use bytes::Bytes;
    use parking_lot::Mutex;
    use recoil_engine::CallBody;

    use super::*;

    const LANE: LaneId = (AppId(2), PartitionId(7));

    struct Box {
        outbox: Outbox,
        told: Arc<Mutex<Vec<(u32, Answer)>>>,
    }

    impl Box {
        fn new() -> Self {
            Box { outbox: Outbox::default(), told: Arc::default() }
        }

        fn put(&mut self, name: u32, mode: Mode) -> Ticket {
            let told = self.told.clone();
            let reply: Reply = std::boxed::Box::new(move |answer| told.lock().push((name, answer)));
            let request = Request::One(CallBody::Handle(Bytes::new()));
            self.outbox.put(LANE, mode, request, reply).unwrap_or_else(|_| panic!("there is room"))
        }

        fn came_back(&mut self, ticket: Ticket, answer: Answer) {
            let mut told = Told::new();
            self.outbox.came_back(ticket, answer, &mut told);
            told.into_iter().for_each(|(reply, answer)| reply(answer));
        }

        fn give_up(&mut self, ticket: Ticket) -> Answer {
            let mut told = Told::new();
            self.outbox.give_up(ticket, &mut told);
            told.into_iter().for_each(|(reply, answer)| reply(answer));
            self.told.lock().last().unwrap().1.clone()
        }

        fn sent(&mut self, ticket: Ticket) -> (u64, u64) {
            let call = self.outbox.send(ticket).unwrap();
            (call.sequence, call.acked)
        }
    }

    fn ok() -> Answer {
        Ok(Bytes::new())
    }

    #[test]
    fn writing_calls_are_numbered_reads_follow_them_and_acked_stays_below_what_is_open() {
        let mut test = Box::new();
        let (a, b, read, c) =
            (test.put(1, Mode::Write), test.put(2, Mode::Write), test.put(3, Mode::Read), test.put(4, Mode::Write));
        assert_eq!([a, b, read, c].map(|ticket| test.sent(ticket)), [(1, 0), (2, 0), (2, 0), (3, 0)]);
        test.came_back(b, ok());
        assert_eq!(test.sent(c), (3, 0), "1 may still be asked for");
        test.came_back(a, ok());
        assert_eq!(test.sent(c), (3, 2));
        let stale = test.put(5, Mode::StaleRead);
        assert_eq!(test.sent(stale).0, 0);
        // Told twice by two frames, a call hears once.
        test.came_back(c, ok());
        test.came_back(c, ok());
        assert_eq!(test.told.lock().iter().map(|(name, _)| *name).collect::<Vec<_>>(), [2, 1, 4]);
    }

    /// Red when only the call that missed is sent again: the next one would have to wait for it.
    #[test]
    fn a_miss_sends_everything_unanswered_of_its_lane_again_in_order() {
        let mut test = Box::new();
        let tickets = [1, 2, 3].map(|name| test.put(name, Mode::Write));
        tickets.iter().for_each(|ticket| drop(test.outbox.send(*ticket)));
        test.came_back(tickets[0], ok());
        assert!(!test.outbox.has_again());
        test.came_back(tickets[2], Err(Miss::TooEarly));
        assert_eq!(test.outbox.take_again(), tickets[1..]);
        assert!(!test.outbox.has_again());
    }

    /// Red when `maybe` is not kept: a write that may have been applied would be called certainly not written.
    #[test]
    fn what_is_given_up_is_unavailable_only_if_nobody_can_have_evaluated_it() {
        let mut test = Box::new();
        let unavailable = |answer: Answer| matches!(answer, Err(Miss::Error(CallError::Unavailable(_))));
        let never_sent = test.put(1, Mode::Write);
        assert!(unavailable(test.give_up(never_sent)));
        let refused = test.put(2, Mode::Write);
        test.outbox.send(refused);
        test.came_back(refused, Err(Miss::NotLeader(None)));
        assert!(unavailable(test.give_up(refused)));
        let flying = test.put(3, Mode::Write);
        test.outbox.send(flying);
        assert!(!unavailable(test.give_up(flying)));
        let lost = test.put(4, Mode::Write);
        test.outbox.send(lost);
        test.came_back(lost, Err(Miss::Unknown));
        test.outbox.send(lost);
        test.came_back(lost, Err(Miss::NotLeader(None)));
        assert!(!unavailable(test.give_up(lost)));
        // Red when a refusal is told in any case: it says nothing of the sending that was lost.
        let twice = test.put(7, Mode::Write);
        test.outbox.send(twice);
        test.came_back(twice, Err(Miss::Unknown));
        test.outbox.send(twice);
        test.came_back(twice, Err(Miss::Refused("full".into())));
        assert!(test.outbox.has_again() && !unavailable(test.give_up(twice)));
        let once = test.put(8, Mode::Write);
        test.outbox.send(once);
        test.came_back(once, Err(Miss::Refused("full".into())));
        assert!(unavailable(test.told.lock().last().unwrap().1.clone()));
        let read = test.put(5, Mode::Read);
        test.outbox.send(read);
        assert!(unavailable(test.give_up(read)));
        assert_eq!(test.outbox.bytes, 0);
        // What was given up counts as acknowledged.
        let next = test.put(6, Mode::Write);
        assert_eq!(test.sent(next), (7, 6));
    }
}
