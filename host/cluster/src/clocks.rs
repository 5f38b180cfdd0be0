//! The wall clocks of the other nodes, and what they have to say about this node's.
//!
//! The time that handlers see never goes back, so a clock that has jumped ahead spoils it for as long as the jump was. So a
//! node's wall time is taken for true only up to 500 ms ahead of every other clock that it has heard of. What it ran ahead by
//! while the others agreed it may keep: a clock that goes on at the pace of steady time has not jumped, even if the others
//! have, all of them back. Of a jump, what is beyond is ignored, and said once.
//!
//! Peers tell their wall time when they meet and with every answer to a ping; between two tellings it goes on at the pace of this node's
//! steady clock. Nothing is held against a clock while fewer than half of the others have been heard: whoever leads has heard
//! a majority, itself included, for it has been elected over the streams on which nodes introduce themselves.
//!
//! Only live nodes count. A node that has not answered [`SILENT_AFTER`] pings in a row neither holds a clock back, nor lets it run ahead
//! by what it showed when it was last heard, nor is it among those of whom half must have been heard. Pings are counted rather than time:
//! a node that was stopped for a while, and whose clock may have jumped meanwhile, must not forget the others' clocks when it goes on.
//!
//! A peer can tell anything. The highest of all times counts, so one that is too low changes nothing as long as one other is right, and
//! one that is too high leaves this node with its own clock.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use recoil_base::{Clock, NodeId};
use tokio::time::Instant;

/// A clock may be ahead of all others by so much.
const AHEAD_MAX: Duration = Duration::from_millis(500);

/// Pings in a row without an answer after which a node's clock counts no more: five seconds at least.
const SILENT_AFTER: u32 = 10;

/// How far a wall clock is ahead of this node's steady one, microseconds.
type Offset = i128;

/// Another node's clock.
#[derive(Default)]
struct Heard {
    /// None before it has told.
    offset: Option<Offset>,
    /// Pings in a row that it has not answered.
    missed: u32,
}

#[derive(Default)]
struct State {
    /// By other node.
    heard: HashMap<NodeId, Heard>,
    /// The highest of the live nodes', if half of those have told.
    highest: Option<Offset>,
    /// Of the time last taken for true while others were heard.
    accepted: Option<Offset>,
    /// The clock is ahead, and this has been said.
    told: bool,
}

/// The other nodes' clocks. Clones share them.
#[derive(Clone)]
pub struct PeerClocks {
    clock: Clock,
    origin: Instant,
    state: Arc<Mutex<State>>,
}

impl PeerClocks {
    /// Of no other node yet; `clock` is this node's.
    pub fn new(clock: Clock) -> Self {
        PeerClocks { origin: clock.now(), clock, state: Arc::default() }
    }

    /// There is such a node.
    pub fn know(&self, node: NodeId) {
        let mut state = self.state.lock();
        state.heard.entry(node).or_default();
        state.highest = highest(&state.heard);
    }

    /// There is no such node any more.
    pub fn forget(&self, node: NodeId) {
        let mut state = self.state.lock();
        state.heard.remove(&node);
        state.highest = highest(&state.heard);
    }

    /// The node, if known, has just told its wall time, microseconds since the Unix epoch.
    pub fn hear(&self, node: NodeId, wall_us: u64) {
        let offset = Offset::from(wall_us) - self.steady_us();
        let mut state = self.state.lock();
        if let Some(heard) = state.heard.get_mut(&node) {
            *heard = Heard { offset: Some(offset), missed: 0 };
            state.highest = highest(&state.heard);
        }
    }

    /// The node, if known, has not answered a ping.
    pub fn miss(&self, node: NodeId) {
        let mut state = self.state.lock();
        if let Some(heard) = state.heard.get_mut(&node) {
            heard.missed = heard.missed.saturating_add(1);
            if heard.missed == SILENT_AFTER {
                state.highest = highest(&state.heard);
            }
        }
    }

    /// This node's clock, its wall time held to what the others say.
    pub fn bounded(&self) -> Clock {
        let clocks = self.clone();
        self.clock.clone().walled(move || clocks.wall_us())
    }

    fn steady_us(&self) -> Offset {
        self.clock.now().saturating_duration_since(self.origin).as_micros() as Offset
    }

    fn wall_us(&self) -> u64 {
        let mut state = self.state.lock();
        let (wall, steady) = (Offset::from(self.clock.wall_us()), self.steady_us());
        let Verdict { accepted, ahead } = judge(wall - steady, state.highest, state.accepted);
        state.accepted = state.highest.map(|_| accepted);
        if ahead != std::mem::replace(&mut state.told, ahead) {
            let by_ms = state.highest.map_or(0, |highest| (wall - steady - highest) / 1000);
            if ahead {
                tracing::warn!(
                    by_ms,
                    "this node's clock is ahead of all others; time goes on without it. Set the clock"
                );
            } else {
                tracing::warn!("this node's clock agrees with the others again");
            }
        }
        u64::try_from(accepted + steady).unwrap_or(0)
    }
}

/// The highest of the live nodes', if half of those have told.
fn highest(heard: &HashMap<NodeId, Heard>) -> Option<Offset> {
    let live = heard.values().filter(|heard| heard.missed < SILENT_AFTER);
    let known = live.clone().filter_map(|heard| heard.offset);
    if 2 * known.clone().count() >= live.count() { known.max() } else { None }
}

#[derive(Debug, PartialEq, Eq)]
struct Verdict {
    accepted: Offset,
    ahead: bool,
}

/// What to take for true of a clock, given the highest of the others and what was taken for true last.
fn judge(own: Offset, highest: Option<Offset>, before: Option<Offset>) -> Verdict {
    let Some(highest) = highest else { return Verdict { accepted: own, ahead: false } };
    let allowed = highest + AHEAD_MAX.as_micros() as Offset;
    Verdict { accepted: own.min(allowed.max(before.unwrap_or(allowed))), ahead: own > allowed }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;

    const SECOND: Offset = 1_000_000;
    const HOUR: Offset = 3600 * SECOND;

    #[test]
    fn a_jump_ahead_of_all_others_is_ignored_and_nothing_else() {
        let verdict = |own, highest, before| {
            let Verdict { accepted, ahead } = judge(own, highest, before);
            (accepted, ahead)
        };
        // Nobody is heard, or the others are not far behind, or ahead.
        assert_eq!(verdict(HOUR, None, None), (HOUR, false));
        assert_eq!(verdict(SECOND / 2, Some(0), Some(0)), (SECOND / 2, false));
        assert_eq!(verdict(0, Some(HOUR), Some(0)), (0, false));
        // A jump, and a clock that is ahead from the start.
        assert_eq!(verdict(HOUR, Some(0), Some(SECOND / 10)), (SECOND / 2, true));
        assert_eq!(verdict(HOUR, Some(0), None), (SECOND / 2, true));
        // The others have jumped back: this one goes on, and may not jump all the same.
        assert_eq!(verdict(0, Some(-HOUR), Some(0)), (0, true));
        assert_eq!(verdict(SECOND, Some(-HOUR), Some(0)), (0, true));
        // It may go back itself.
        assert_eq!(verdict(-HOUR, Some(0), Some(0)), (-HOUR, false));
    }

    /// Fails if the clock of a dead node counts: its last time would let this node's run ahead, and a node never heard of would keep
    /// any bound from holding.
    #[tokio::test(start_paused = true)]
    async fn a_node_that_answers_no_more_counts_no_more() {
        let epoch = 1_700_000_000_000_000;
        let wall = Arc::new(AtomicU64::new(epoch));
        let shown = wall.clone();
        let clocks = PeerClocks::new(Clock::with_wall(move || shown.load(Ordering::Relaxed)));
        let bounded = clocks.bounded();
        let hour = HOUR as u64;
        (1..=4).for_each(|node| clocks.know(NodeId(node)));
        clocks.hear(NodeId(1), epoch);
        wall.store(epoch + hour, Ordering::Relaxed);
        assert_eq!(bounded.wall_us(), epoch + hour, "one of four is not enough");
        // The others were dead before this node started.
        for _ in 0..SILENT_AFTER {
            (2..=4).for_each(|node| clocks.miss(NodeId(node)));
        }
        assert_eq!(bounded.wall_us(), epoch + 500_000, "one of one is");
        // One of them comes back, with a clock that is ahead, and dies again.
        clocks.hear(NodeId(2), epoch + hour);
        (0..SILENT_AFTER - 1).for_each(|_| clocks.miss(NodeId(2)));
        assert_eq!(bounded.wall_us(), epoch + hour, "it may answer the next ping");
        wall.store(epoch, Ordering::Relaxed);
        assert_eq!(bounded.wall_us(), epoch);
        clocks.miss(NodeId(2));
        wall.store(epoch + hour, Ordering::Relaxed);
        assert_eq!(bounded.wall_us(), epoch + 500_000, "what it showed when it was alive says nothing any more");
    }

    /// Fails without the bound: the time seen would jump by an hour.
    #[tokio::test(start_paused = true)]
    async fn a_clock_is_held_to_what_the_others_say_once_half_of_them_are_heard() {
        let epoch = 1_700_000_000_000_000;
        let wall = Arc::new(AtomicU64::new(epoch));
        let shown = wall.clone();
        let clocks = PeerClocks::new(Clock::with_wall(move || shown.load(Ordering::Relaxed)));
        let bounded = clocks.bounded();
        let hour = HOUR as u64;
        (1..=3).for_each(|node| clocks.know(NodeId(node)));
        clocks.hear(NodeId(1), epoch);
        clocks.hear(NodeId(9), epoch + hour);
        wall.store(epoch + hour, Ordering::Relaxed);
        assert_eq!(bounded.wall_us(), epoch + hour, "one of three is not enough, and strangers do not count");

        clocks.hear(NodeId(2), epoch - hour);
        assert_eq!(bounded.wall_us(), epoch + 500_000);
        tokio::time::advance(Duration::from_secs(10)).await;
        assert_eq!(bounded.wall_us(), epoch + 10_500_000, "their time goes on");
        clocks.hear(NodeId(3), u64::MAX);
        assert_eq!(bounded.wall_us(), epoch + hour, "whoever lies leaves the clock as it is");
        clocks.hear(NodeId(3), 0);
        assert_eq!(bounded.wall_us(), epoch + hour, "it goes on at its pace");
        wall.store(epoch + 2 * hour, Ordering::Relaxed);
        assert_eq!(bounded.wall_us(), epoch + hour, "and does not jump");
        wall.store(epoch + 10_000_000, Ordering::Relaxed);
        assert_eq!(bounded.wall_us(), epoch + 10_000_000);
    }
}
