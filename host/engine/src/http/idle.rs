//! Free HTTP instances of an app on a node.

use std::collections::VecDeque;
use std::time::Duration;

use parking_lot::Mutex;
use recoil_base::Clock;
use tokio::time::Instant;

/// Free instances kept.
const IDLE_MAX: usize = 64;
/// A free instance that nobody took for this long goes.
const IDLE: Duration = Duration::from_secs(30);

/// Instances between two requests. The one given back last is taken first.
pub(super) struct Idle<I> {
    clock: Clock,
    free: Mutex<VecDeque<(I, Instant)>>,
}

impl<I> Idle<I> {
    pub(super) fn new() -> Self {
        Idle { clock: Clock::system(), free: Mutex::default() }
    }

    pub(super) fn take(&self) -> Option<I> {
        self.free.lock().pop_back().map(|(instance, _)| instance)
    }

    pub(super) fn give_back(&self, instance: I) {
        let now = self.clock.now();
        // Dropped outside the lock: that unmaps memory.
        let mut gone = Vec::new();
        let mut free = self.free.lock();
        while free.len() >= IDLE_MAX || free.front().is_some_and(|(_, since)| now - *since > IDLE) {
            gone.extend(free.pop_front());
        }
        free.push_back((instance, now));
        drop(free);
    }
}
