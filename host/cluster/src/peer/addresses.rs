//! Where one peer may be reached: what is known of its addresses, and which of them is dialled
//! next.
//!
//! An address comes with the start of the node (incarnation and random number) that announced it:
//! from the meta state, from the peer's own hello, or from what another node says. A later start's
//! address goes first, so a node that comes back elsewhere is dialled where it is now although the
//! meta state does not say so yet: without this, a meta group whose nodes have all moved could
//! never elect a leader, and a meta leader that still has the old address could never send the
//! entry that corrects it.
//!
//! Nothing that is said of a peer is believed for good. An address that does not answer, or where
//! another node answers, gives way to the next one, round and round. So a stale or invented address
//! costs an attempt, and never the peer.
//!
//! Bounded: [`ADDRESSES_MAX`] addresses a peer; those of the oldest starts are dropped.
//! Deliberately absent: sockets and clocks.

use std::net::SocketAddr;

/// Addresses kept of one peer.
const ADDRESSES_MAX: usize = 4;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Known {
    address: SocketAddr,
    start: (u64, u64),
}

/// The addresses of one peer, those of later starts first.
#[derive(Debug)]
pub(super) struct Addresses {
    known: Vec<Known>,
    /// Where the next attempt goes.
    next: usize,
    /// Which of the older addresses had its turn last.
    older: usize,
}

impl Addresses {
    /// One address, announced by this start.
    pub(super) fn new(address: SocketAddr, start: (u64, u64)) -> Self {
        Addresses { known: vec![Known { address, start }], next: 0, older: 0 }
    }

    /// Takes in an address. One of a later start than all others is dialled next.
    pub(super) fn learn(&mut self, address: SocketAddr, start: (u64, u64)) {
        let newest = self.known.first().map_or(0, |known| known.start.0);
        let dialled = self.current();
        match self.known.iter_mut().find(|known| known.address == address) {
            Some(known) if start.0 > known.start.0 => known.start = start,
            Some(_) => return,
            None => self.known.push(Known { address, start }),
        }
        // Stable: of the same start, what was known first stays first.
        self.known.sort_by_key(|known| std::cmp::Reverse(known.start.0));
        self.known.truncate(ADDRESSES_MAX);
        let kept = self.known.iter().position(|known| known.address == dialled).unwrap_or(0);
        self.next = if start.0 > newest { 0 } else { kept };
    }

    /// Where to dial.
    pub(super) fn current(&self) -> SocketAddr {
        self.known[self.next].address
    }

    /// The peer is not at `address`: the next attempt goes elsewhere, if there is another address. The
    /// newest has every second turn, so that a node that starts there is met soon.
    pub(super) fn failed(&mut self, address: SocketAddr) {
        if self.current() != address {
            return;
        }
        let older = self.known.len() - 1;
        if self.next == 0 && older > 0 {
            self.older = self.older % older + 1;
            self.next = self.older;
        } else {
            self.next = 0;
        }
    }

    /// The newest address and its start.
    pub(super) fn newest(&self) -> (SocketAddr, (u64, u64)) {
        (self.known[0].address, self.known[0].start)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(port: u16) -> SocketAddr {
        ([127, 0, 0, 1], port).into()
    }

    /// Fails if what the meta state says of an earlier start takes the place of what the node's own
    /// hello said: the node could not be reached, and so never have the meta state corrected.
    #[test]
    fn the_address_of_a_later_start_goes_first_whoever_says_so() {
        let mut addresses = Addresses::new(at(1), (3, 30));
        addresses.learn(at(2), (4, 40));
        assert_eq!(addresses.current(), at(2));
        addresses.learn(at(1), (3, 30));
        assert_eq!((addresses.current(), addresses.newest()), (at(2), (at(2), (4, 40))));
        // It comes back where it was before.
        addresses.learn(at(1), (5, 50));
        assert_eq!((addresses.current(), addresses.newest()), (at(1), (at(1), (5, 50))));
    }

    /// Fails if an invented address of a start far ahead keeps the peer from being reached where it
    /// is.
    #[test]
    fn an_address_where_nobody_answers_gives_way_to_the_others_in_turn() {
        let mut addresses = Addresses::new(at(1), (3, 30));
        addresses.learn(at(666), (u64::MAX, 0));
        addresses.learn(at(2), (2, 20));
        let mut dialled = Vec::new();
        for _ in 0..6 {
            dialled.push(addresses.current().port());
            addresses.failed(addresses.current());
        }
        assert_eq!(dialled, [666, 1, 666, 2, 666, 1]);
        // A failure that is told late, of an address that is not dialled any more, changes nothing.
        addresses.failed(at(2));
        assert_eq!(addresses.current(), at(666));
        // Hearing the same again does not send the next attempt back.
        addresses.failed(at(666));
        addresses.learn(at(666), (u64::MAX, 0));
        addresses.learn(at(2), (2, 20));
        assert_eq!(addresses.current(), at(2));
    }

    /// Fails if a peer that moves with every start is remembered at every place.
    #[test]
    fn the_addresses_of_a_peer_are_bounded_and_the_oldest_go() {
        let mut addresses = Addresses::new(at(1), (1, 1));
        for start in 2..100 {
            addresses.learn(at(start), (u64::from(start), 0));
            assert_eq!(addresses.current(), at(start));
        }
        assert_eq!(addresses.known.len(), ADDRESSES_MAX);
        addresses.learn(at(500), (1, 1));
        assert!(addresses.known.iter().all(|known| known.start.0 > 90), "older than all, and there is no room");
        assert_eq!(addresses.current(), at(99));
    }
}
