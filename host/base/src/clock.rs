//! Time: a wall clock for the hybrid-logical `now`, a steady one for deadlines and leases, and what the steady one slept through.

#![allow(clippy::disallowed_methods)] // the one door to the ambient clock

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::time::Instant;

/// A source of time, shared by cloning. `Clock::system()` outside simulations.
#[derive(Clone)]
pub struct Clock {
    wall: Arc<dyn Fn() -> u64 + Send + Sync>,
    slept: Arc<dyn Fn() -> Duration + Send + Sync>,
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Clock")
    }
}

impl Clock {
    /// The operating system's clocks.
    pub fn system() -> Self {
        Clock {
            wall: Arc::new(|| {
                SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO).as_micros() as u64
            }),
            slept: Arc::new(system_slept),
        }
    }

    /// A clock whose wall time is what `wall` says, microseconds since the Unix epoch. Its steady time is tokio's, which
    /// a paused runtime simulates.
    pub fn with_wall(wall: impl Fn() -> u64 + Send + Sync + 'static) -> Self {
        Clock { wall: Arc::new(wall), slept: Arc::new(|| Duration::ZERO) }
    }

    /// This clock with another wall time.
    pub fn walled(self, wall: impl Fn() -> u64 + Send + Sync + 'static) -> Self {
        Clock { wall: Arc::new(wall), ..self }
    }

    /// This clock on a machine that has slept for as long as `slept` says.
    pub fn sleeping(self, slept: impl Fn() -> Duration + Send + Sync + 'static) -> Self {
        Clock { slept: Arc::new(slept), ..self }
    }

    /// Wall time, microseconds since the Unix epoch. May jump either way.
    pub fn wall_us(&self) -> u64 {
        (self.wall)()
    }

    /// Steady time, for measuring what passes. Never jumps back. Stands still while the machine sleeps.
    pub fn now(&self) -> Instant {
        Instant::now()
    }

    /// How long the machine has slept (been suspended) in all, to within what the scheduler makes of two readings, and never more: what
    /// has passed for others and not for [`Clock::now`]. Nothing where the system does not tell.
    pub fn slept(&self) -> Duration {
        (self.slept)()
    }
}

/// Linux counts sleep in one of its clocks and not in the other, which otherwise are the same.
#[cfg(target_os = "linux")]
fn system_slept() -> Duration {
    use rustix::time::{ClockId, clock_gettime};
    let read = |id| Duration::try_from(clock_gettime(id)).unwrap_or(Duration::ZERO);
    // In this order: what passes between the two must not pass for sleep.
    let (with_sleep, without) = (read(ClockId::Boottime), read(ClockId::Monotonic));
    with_sleep.saturating_sub(without)
}

#[cfg(not(target_os = "linux"))]
fn system_slept() -> Duration {
    Duration::ZERO
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Fails if the clocks are read in the other order, on a busy machine at least: then a thread that has waited seems to have slept.
    #[test]
    fn a_machine_that_is_awake_does_not_sleep() {
        let clock = Clock::system();
        let before = clock.slept();
        let most = (0..10_000).map(|_| clock.slept()).max().unwrap();
        assert!(most <= before + Duration::from_millis(1), "{before:?} {most:?}");
    }
}
