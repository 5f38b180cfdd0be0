//! Time: a wall clock for the hybrid-logical `now`, a steady one for deadlines and leases.

#![allow(clippy::disallowed_methods)] // the one door to the ambient clock

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::time::Instant;

/// A source of time, shared by cloning. `Clock::system()` outside simulations.
#[derive(Clone)]
pub struct Clock {
    wall: Arc<dyn Fn() -> u64 + Send + Sync>,
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
        }
    }

    /// A clock whose wall time is what `wall` says, microseconds since the Unix epoch. Its steady time is tokio's, which
    /// a paused runtime simulates.
    pub fn with_wall(wall: impl Fn() -> u64 + Send + Sync + 'static) -> Self {
        Clock { wall: Arc::new(wall) }
    }

    /// Wall time, microseconds since the Unix epoch. May jump either way.
    pub fn wall_us(&self) -> u64 {
        (self.wall)()
    }

    /// Steady time, for measuring what passes. Never jumps back.
    pub fn now(&self) -> Instant {
        Instant::now()
    }
}
