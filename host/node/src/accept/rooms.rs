//! Who may hold a connection to the node's port, and who gives way.
//!
//! Connections wait in rooms of their own: those that have not said what they are, operators, strangers who speak the peers' protocol,
//! and each member of the cluster. So no crowd in one room keeps anybody out of another. In a full room the oldest gives way to
//! the newest: whoever has just come and speaks at once is served, however many others sit there in silence.
//!
//! Invariant: a room never holds more than its limit. Deliberately absent: what is spoken, and timeouts.

use std::collections::{HashMap, VecDeque};
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use recoil_base::{NodeId, Shutdown};

/// What a connection is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Kind {
    /// Its first bytes have not come yet.
    Silent,
    /// It speaks HTTP, or what passes for it until it is read.
    Operator,
    /// It speaks the peers' protocol, and names no member of the cluster.
    Stranger,
    /// It names this member.
    Member(NodeId),
}

impl Kind {
    fn connections_max(self) -> usize {
        match self {
            Kind::Silent | Kind::Operator => 256,
            Kind::Stranger => 64,
            // One is in use; further ones are those that broke and have not been noticed.
            Kind::Member(_) => 4,
        }
    }
}

/// All rooms of the port.
#[derive(Default)]
pub(crate) struct Rooms {
    rooms: Mutex<HashMap<Kind, VecDeque<(u64, Shutdown)>>>,
    next: AtomicU64,
}

/// A place in a room, given back when dropped.
pub(crate) struct Place {
    rooms: Arc<Rooms>,
    kind: Kind,
    number: u64,
    leave: Shutdown,
}

impl Rooms {
    /// A place in the room; the oldest there gives way if it is full.
    pub(crate) fn enter(self: &Arc<Self>, kind: Kind) -> Place {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let leave = Shutdown::new();
        let mut rooms = self.rooms.lock();
        let room = rooms.entry(kind).or_default();
        while room.len() >= kind.connections_max() {
            let Some((_, oldest)) = room.pop_front() else { break };
            oldest.trigger();
        }
        room.push_back((number, leave.clone()));
        drop(rooms);
        Place { rooms: self.clone(), kind, number, leave }
    }

    fn leave(&self, kind: Kind, number: u64) {
        let mut rooms = self.rooms.lock();
        let Some(room) = rooms.get_mut(&kind) else { return };
        room.retain(|(other, _)| *other != number);
        if room.is_empty() {
            rooms.remove(&kind);
        }
    }
}

impl Place {
    /// The same connection, now known to be of another kind.
    pub(crate) fn into_room(self, kind: Kind) -> Place {
        self.rooms.enter(kind)
    }

    /// Returns once the place is wanted for somebody else.
    pub(crate) fn wanted(&self) -> impl Future<Output = ()> + Send + 'static + use<> {
        let leave = self.leave.clone();
        async move { leave.wait().await }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.rooms.leave(self.kind, self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Red with one room for all: the crowd of silent connections would have taken the member's place, or it theirs. Red without giving
    /// way: the newest would find no place.
    #[test]
    fn a_full_room_lets_its_oldest_go_and_no_other_room_is_touched() {
        let rooms = Arc::new(Rooms::default());
        let member = rooms.enter(Kind::Member(NodeId(1)));
        let silent: Vec<_> = (0..300).map(|_| rooms.enter(Kind::Silent)).collect();
        let limit = Kind::Silent.connections_max();
        let gone = silent.iter().take_while(|place| place.leave.is_triggered()).count();
        assert_eq!(
            (gone, silent.iter().filter(|place| place.leave.is_triggered()).count()),
            (300 - limit, 300 - limit)
        );
        assert!(!member.leave.is_triggered());
        let operator = silent.into_iter().next_back().unwrap().into_room(Kind::Operator);
        assert!(!operator.leave.is_triggered());
        drop((member, operator));
        assert!(rooms.rooms.lock().is_empty(), "places are given back");
    }
}
