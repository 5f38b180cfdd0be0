//! Lanes, with times that the tests make.

use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;
use recoil_base::{Clock, KeyspaceId, PartitionId};
use recoil_engine::CallBody;

use super::*;
use crate::calls::Part;

const LANE: LaneId = (AppId(2), partition(7));

const fn partition(number: u32) -> PartitionRef {
    PartitionRef { keyspace: KeyspaceId(1), partition: PartitionId(number) }
}

struct Box {
    outbox: Outbox,
    told: Arc<Mutex<Vec<(u32, Answer)>>>,
    now: Instant,
}

impl Box {
    fn new() -> Self {
        Box { outbox: Outbox::default(), told: Arc::default(), now: Clock::system().now() }
    }

    fn put(&mut self, name: u32, mode: Mode) -> Ticket {
        self.put_on(LANE, name, mode)
    }

    fn put_on(&mut self, lane: LaneId, name: u32, mode: Mode) -> Ticket {
        let told = self.told.clone();
        let reply: Reply = std::boxed::Box::new(move |answer| told.lock().push((name, answer)));
        let request = Request::One(CallBody::Handle(Bytes::new()));
        self.outbox.put(lane, mode, request, reply).unwrap_or_else(|_| panic!("there is room"))
    }

    fn came_back(&mut self, ticket: Ticket, answer: Answer) {
        let mut told = Told::new();
        self.outbox.came_back(ticket, answer, self.now, &mut told);
        told.into_iter().for_each(|(reply, answer)| reply(answer));
    }

    fn give_up(&mut self, ticket: Ticket) -> Answer {
        let mut told = Told::new();
        self.outbox.give_up(ticket, &mut told);
        told.into_iter().for_each(|(reply, answer)| reply(answer));
        self.told.lock().last().unwrap().1.clone()
    }

    fn sent(&mut self, ticket: Ticket) -> (u64, u64) {
        let call = self.outbox.send(ticket, |_| 1).unwrap().call;
        (call.sequence, call.acked)
    }

    /// How long the next lane waits to be sent again, and what is sent then.
    fn next(&mut self) -> (Duration, Vec<Ticket>) {
        let due = self.outbox.next_due().expect("a lane is to be sent again");
        let waits = due - self.now;
        assert!(waits.is_zero() || self.outbox.take_due(self.now).is_empty(), "it is not due before its time");
        self.now = due;
        (waits, self.outbox.take_due(due))
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

/// Fails if only the call that missed is sent again: the next one would have to wait for it.
#[test]
fn a_miss_sends_everything_unanswered_of_its_lane_again_in_order() {
    let mut test = Box::new();
    let tickets = [1, 2, 3].map(|name| test.put(name, Mode::Write));
    tickets.iter().for_each(|ticket| drop(test.outbox.send(*ticket, |_| 1)));
    test.came_back(tickets[0], ok());
    assert!(test.outbox.next_due().is_none());
    test.came_back(tickets[2], Err(Miss::TooEarly));
    assert_eq!(test.next().1, tickets[1..]);
    assert!(test.outbox.next_due().is_none());
}

/// Fails if `maybe` is not kept: a write that may have been applied would be called certainly not written.
#[test]
fn what_is_given_up_is_unavailable_only_if_nobody_can_have_evaluated_it() {
    let mut test = Box::new();
    let unavailable = |answer: Answer| matches!(answer, Err(Miss::Error(CallError::Unavailable(_))));
    let never_sent = test.put(1, Mode::Write);
    assert!(unavailable(test.give_up(never_sent)));
    let refused = test.put(2, Mode::Write);
    test.outbox.send(refused, |_| 1);
    test.came_back(refused, Err(Miss::NotLeader(None)));
    assert!(unavailable(test.give_up(refused)));
    let flying = test.put(3, Mode::Write);
    test.outbox.send(flying, |_| 1);
    assert!(!unavailable(test.give_up(flying)));
    let lost = test.put(4, Mode::Write);
    test.outbox.send(lost, |_| 1);
    test.came_back(lost, Err(Miss::Unknown));
    test.outbox.send(lost, |_| 1);
    test.came_back(lost, Err(Miss::NotLeader(None)));
    assert!(!unavailable(test.give_up(lost)));
    // Fails if a refusal is told in any case: it says nothing of the sending that was lost.
    let twice = test.put(7, Mode::Write);
    test.outbox.send(twice, |_| 1);
    test.came_back(twice, Err(Miss::Unknown));
    test.outbox.send(twice, |_| 1);
    test.came_back(twice, Err(Miss::Refused("full".into())));
    assert!(test.outbox.next_due().is_some() && !unavailable(test.give_up(twice)));
    let once = test.put(8, Mode::Write);
    test.outbox.send(once, |_| 1);
    test.came_back(once, Err(Miss::Refused("full".into())));
    assert!(unavailable(test.told.lock().last().unwrap().1.clone()));
    let read = test.put(5, Mode::Read);
    test.outbox.send(read, |_| 1);
    assert!(unavailable(test.give_up(read)));
    assert_eq!(test.outbox.bytes, 0);
    // What was given up counts as acknowledged.
    let next = test.put(6, Mode::Write);
    assert_eq!(test.sent(next), (7, 6));
}
/// Fails if pauses are the node's: a partition without a leader would make all others wait as long.
#[test]
fn a_lane_waits_longer_each_time_and_no_other_lane_with_it() {
    let mut test = Box::new();
    let [stuck, well] = [7, 8].map(|number| test.put_on((AppId(2), partition(number)), number, Mode::Write));
    let mut waited = vec![];
    for _ in 0..7 {
        test.came_back(stuck, Err(Miss::NotLeader(None)));
        let (waits, tickets) = test.next();
        assert_eq!(tickets, [stuck]);
        waited.push(waits.as_millis());
    }
    assert_eq!(waited, [2, 4, 8, 16, 32, 50, 50]);
    test.came_back(stuck, Err(Miss::NotLeader(None)));
    test.came_back(well, Err(Miss::Again));
    assert_eq!(test.next(), (PAUSE_MIN, vec![well]));
}

/// Fails if a pause stays after an answer, or is reset by anything else.
#[test]
fn an_answer_resets_the_pause_of_its_lane() {
    let mut test = Box::new();
    let [first, second] = [1, 2].map(|name| test.put(name, Mode::Write));
    for expected in [2, 4] {
        test.came_back(second, Err(Miss::Again));
        assert_eq!(test.next().0.as_millis(), expected);
    }
    test.came_back(first, ok());
    test.came_back(second, Err(Miss::Again));
    assert_eq!(test.next().0, PAUSE_MIN);
}

/// Fails if several misses of one sending make the lane wait for longer than one.
#[test]
fn misses_of_one_frame_count_once() {
    let mut test = Box::new();
    let tickets = [1, 2, 3].map(|name| test.put(name, Mode::Write));
    tickets.iter().for_each(|ticket| test.came_back(*ticket, Err(Miss::Again)));
    assert_eq!(test.next(), (PAUSE_MIN, tickets.into()));
    test.came_back(tickets[0], Err(Miss::Again));
    assert_eq!(test.next().0, PAUSE_MIN * 2);
}

/// Fails if a call that has moved waits for the pause, also one begun by another call; and if nodes that redirect to each other
/// are asked without any.
#[test]
fn a_lane_that_has_moved_is_sent_at_once_a_few_times_between_two_answers() {
    let mut test = Box::new();
    let moved = || Err(Miss::Moved { group: recoil_base::GroupId(2), epoch: 2 });
    let [first, second] = [1, 2].map(|name| test.put(name, Mode::Write));
    test.came_back(first, Err(Miss::Again));
    test.came_back(second, moved());
    assert_eq!(test.next(), (Duration::ZERO, vec![first, second]));
    assert!(test.outbox.next_due().is_none(), "it is sent once");
    for _ in 1..REDIRECTS_MAX {
        test.came_back(first, moved());
        assert_eq!(test.next().0, Duration::ZERO);
    }
    test.came_back(first, moved());
    assert!(test.next().0 > Duration::ZERO);
    test.came_back(second, ok());
    test.came_back(first, moved());
    assert_eq!(test.next().0, Duration::ZERO);
}

/// Fails if lanes stay when their app goes, if their calls wait on, and if the numbers or tickets of a later installation begin
/// anew: its first call would be taken for one that was answered, or hear the answer to another one.
#[test]
fn lanes_go_with_their_app_and_later_numbers_begin_above_theirs() {
    let mut test = Box::new();
    let other = test.put_on((AppId(3), partition(7)), 9, Mode::Write);
    let tickets = [1, 2, 3].map(|name| test.put(name, Mode::Write));
    test.came_back(tickets[0], ok());
    test.sent(tickets[1]);
    test.came_back(tickets[2], Err(Miss::Again));
    let mut told = Told::new();
    test.outbox.retain_apps(|app| app == AppId(3), &mut told);
    told.into_iter().for_each(|(reply, answer)| reply(answer));
    assert_eq!(test.outbox.lanes.keys().collect::<Vec<_>>(), [&other.lane]);
    assert!(test.outbox.next_due().is_none());
    {
        let told = test.told.lock();
        assert!(matches!(&told[1], (2, Err(Miss::Error(CallError::UnknownOutcome(_))))), "{told:?}");
        assert!(matches!(&told[2], (3, Err(Miss::Error(CallError::Unavailable(_))))), "{told:?}");
    }
    test.came_back(tickets[1], ok());
    let again = test.put(4, Mode::Write);
    assert_eq!(test.sent(again), (4, 3));
    test.came_back(tickets[1], ok());
    test.came_back(tickets[0], ok());
    assert_eq!(test.told.lock().len(), 3, "the new call has not been answered");
    assert_eq!(test.sent(other), (1, 0), "another app's calls go on");
}

/// Fails if a part goes by the epoch that it had when it was sent before.
#[test]
fn each_sending_goes_by_the_epochs_of_its_time() {
    let mut test = Box::new();
    let part = |number| Part {
        partition: partition(number),
        epoch: 0,
        mode: Mode::Write,
        body: CallBody::Handle(Bytes::new()),
    };
    let reply: Reply = std::boxed::Box::new(|_| {});
    let Ok(ticket) = test.outbox.put(LANE, Mode::Write, Request::All(vec![part(7), part(8)]), reply) else {
        panic!("there is room")
    };
    for epochs in [[1, 1], [2, 5]] {
        let epoch = |of: PartitionRef| epochs[of.partition.0 as usize - 7];
        let call = test.outbox.send(ticket, epoch).unwrap().call;
        let Request::All(parts) = call.request else { panic!("a transaction") };
        assert_eq!((call.epoch, parts[0].epoch, parts[1].epoch), (epochs[0], epochs[0], epochs[1]));
    }
}
