//! When the machine last slept (was suspended), for leases.
//!
//! A lease is measured by steady time, which stands still while the machine sleeps, but the followers who promised it go on. So an
//! acknowledgement counts only if the message it answers was sent after the last sleep: whatever happened before the machine was
//! seen to be awake is cold.

use std::time::Duration;

use parking_lot::Mutex;
use recoil_base::Clock;
use tokio::time::Instant;

/// Less than this is not told from the reading of two clocks; less than leases have to spare.
const NOTICED: Duration = Duration::from_millis(1);

struct Seen {
    slept: Duration,
    awake_since: Instant,
}

/// Notices sleep by looking.
pub(crate) struct Sleep {
    clock: Clock,
    seen: Mutex<Seen>,
}

impl Sleep {
    /// Awake since now.
    pub(crate) fn new(clock: Clock) -> Self {
        let seen = Mutex::new(Seen { slept: clock.slept(), awake_since: clock.now() });
        Sleep { clock, seen }
    }

    /// For so long before this call the machine has certainly not slept. What is measured against it must be measured afterwards:
    /// then a sleep that comes between the two makes nothing look younger than it was at the call.
    pub(crate) fn awake_for(&self) -> Duration {
        let slept = self.clock.slept();
        let mut seen = self.seen.lock();
        let now = self.clock.now();
        if slept > seen.slept + NOTICED {
            *seen = Seen { slept, awake_since: now };
        }
        now.saturating_duration_since(seen.awake_since)
    }
}
