//! One frame of calls on its way to another node: which of them are still to be answered.
//!
//! Invariants: a call leaves the frame once, with an answer or with why there is none. What the other node says of a call that has been
//! given up here is dropped: the call has been sent again, and is answered there. An answer for a place that the frame does not have,
//! a second one for the same place, and a last piece that leaves calls unanswered end the frame: its other calls are in doubt.

use recoil_base::GroupId;
use recoil_engine::Mode;

use crate::calls::{Answer, Answered, Miss};
use crate::outbox::Ticket;

/// A call of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Sent {
    pub(super) ticket: Ticket,
    pub(super) mode: Mode,
    /// The group by whose leader it was sent.
    pub(super) group: GroupId,
}

#[derive(Clone, Copy)]
enum Place {
    Waiting(Sent),
    GivenUp,
    Answered,
}

/// The other node has answered what it was not asked, or not what it was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum WrongAnswer {
    /// There is no call at that place.
    #[error("an answer to call {place} of a frame of {count}")]
    NoSuchPlace {
        /// The place.
        place: u32,
        /// Calls of the frame.
        count: usize,
    },
    /// The call has been answered.
    #[error("a second answer to call {place}")]
    Twice {
        /// Its place.
        place: u32,
    },
    /// The last piece has come.
    #[error("{left} calls were not answered")]
    Unanswered {
        /// How many.
        left: usize,
    },
}

/// See the module's essay.
pub(super) struct Flight {
    places: Vec<Place>,
    waiting: usize,
}

impl Flight {
    pub(super) fn new(sent: Vec<Sent>) -> Self {
        Flight { waiting: sent.len(), places: sent.into_iter().map(Place::Waiting).collect() }
    }

    /// True once no call waits any longer.
    pub(super) fn has_landed(&self) -> bool {
        self.waiting == 0
    }

    /// Takes in a piece of the answers: those to calls that wait, also if the piece turns out to be wrong.
    pub(super) fn take(&mut self, answered: Answered, is_last: bool) -> (Vec<(Sent, Answer)>, Result<(), WrongAnswer>) {
        let mut taken = Vec::with_capacity(answered.len());
        let count = self.places.len();
        for (place, answer) in answered {
            let Some(found) = self.places.get_mut(place as usize) else {
                return (taken, Err(WrongAnswer::NoSuchPlace { place, count }));
            };
            match std::mem::replace(found, Place::Answered) {
                Place::Waiting(sent) => {
                    self.waiting -= 1;
                    taken.push((sent, answer));
                }
                Place::GivenUp => {}
                Place::Answered => return (taken, Err(WrongAnswer::Twice { place })),
            }
        }
        let complete = !is_last || self.waiting == 0;
        (taken, if complete { Ok(()) } else { Err(WrongAnswer::Unanswered { left: self.waiting }) })
    }

    /// Gives up the calls that still wait and of whose group that is so.
    pub(super) fn give_up(&mut self, miss: &Miss, mut is_so: impl FnMut(GroupId) -> bool) -> Vec<(Sent, Answer)> {
        let mut given_up = Vec::new();
        for place in &mut self.places {
            if let Place::Waiting(sent) = *place
                && is_so(sent.group)
            {
                *place = Place::GivenUp;
                self.waiting -= 1;
                given_up.push((sent, Err(miss.clone())));
            }
        }
        given_up
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use recoil_base::{AppId, KeyspaceId, PartitionId};
    use recoil_consensus::PartitionRef;
    use recoil_engine::CallBody;

    use super::*;
    use crate::calls::Request;
    use crate::outbox::Outbox;

    /// A frame of calls whose groups are these.
    fn flight(groups: &[u32]) -> (Flight, Vec<Sent>) {
        let mut outbox = Outbox::default();
        let lane = (AppId(1), PartitionRef { keyspace: KeyspaceId(1), partition: PartitionId(0) });
        let mut sent = |group: &u32| {
            let request = Request::One(CallBody::Handle(Bytes::new()));
            let ticket = outbox.put(lane, Mode::Write, request, Box::new(|_| {}));
            let ticket = ticket.unwrap_or_else(|_| panic!("there is room"));
            Sent { ticket, mode: Mode::Write, group: GroupId(*group) }
        };
        let sent: Vec<Sent> = groups.iter().map(&mut sent).collect();
        (Flight::new(sent.clone()), sent)
    }

    fn ok(places: &[u32]) -> Answered {
        places.iter().map(|place| (*place, Ok(Bytes::new()))).collect()
    }

    fn calls(taken: &[(Sent, Answer)]) -> Vec<Sent> {
        taken.iter().map(|(sent, _)| *sent).collect()
    }

    /// Fails if a group that has moved takes the other calls of its frame with it.
    #[test]
    fn a_moved_group_gives_up_its_own_calls_and_the_others_are_answered() {
        let (mut flight, sent) = flight(&[1, 2, 1]);
        let gone = flight.give_up(&Miss::Unknown, |group| group == GroupId(1));
        assert_eq!(calls(&gone), [sent[0], sent[2]]);
        assert!(gone.iter().all(|(_, answer)| matches!(answer, Err(Miss::Unknown))));
        assert!(!flight.has_landed());
        // A late answer to a call that has been sent again.
        let (taken, outcome) = flight.take(ok(&[0]), false);
        assert!(taken.is_empty() && outcome.is_ok());
        let (taken, outcome) = flight.take(ok(&[1]), true);
        assert_eq!(calls(&taken), [sent[1]]);
        assert!(outcome.is_ok() && flight.has_landed());
    }

    /// Fails if answers that nobody asked for are believed, or take the frame's other answers with them.
    #[test]
    fn wrong_answers_end_the_frame_and_nothing_is_answered_twice() {
        let (mut first, sent) = flight(&[1, 1]);
        let (taken, outcome) = first.take(ok(&[1, 2]), false);
        assert_eq!(calls(&taken), [sent[1]]);
        assert_eq!(outcome, Err(WrongAnswer::NoSuchPlace { place: 2, count: 2 }));
        let (taken, outcome) = first.take(ok(&[1]), false);
        assert!(taken.is_empty());
        assert_eq!(outcome, Err(WrongAnswer::Twice { place: 1 }));
        let (taken, outcome) = first.take(vec![], true);
        assert!(taken.is_empty());
        assert_eq!(outcome, Err(WrongAnswer::Unanswered { left: 1 }));
        assert_eq!(calls(&first.give_up(&Miss::Unknown, |_| true)), [sent[0]]);
        assert!(first.give_up(&Miss::Unknown, |_| true).is_empty());
        let (taken, _) = flight(&[]).0.take(ok(&[u32::MAX]), true);
        assert!(taken.is_empty());
    }
}
