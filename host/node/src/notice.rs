//! When a node that waits says again what it waits for.
//!
//! A line comes after [`FIRST_AFTER`], so that a start in which all is well says nothing; again
//! when something else is wrong, but no more often than [`CHANGED_EVERY`]; and again after
//! [`REPEAT_EVERY`] if nothing has changed.

use std::time::Duration;

use recoil_base::Clock;
use tokio::time::Instant;

const FIRST_AFTER: Duration = Duration::from_secs(4);
const CHANGED_EVERY: Duration = Duration::from_secs(5);
const REPEAT_EVERY: Duration = Duration::from_secs(30);

/// What was said last, and when.
pub(crate) struct Notice {
    clock: Clock,
    began: Instant,
    said: Option<(Instant, String)>,
}

impl Notice {
    /// Waiting begins now.
    pub(crate) fn new(clock: Clock) -> Self {
        Notice { began: clock.now(), clock, said: None }
    }

    /// True if `text` is to be said now; it is then taken for said.
    pub(crate) fn is_due(&mut self, text: &str) -> bool {
        self.is_due_at(self.clock.now(), text)
    }

    fn is_due_at(&mut self, now: Instant, text: &str) -> bool {
        let is_due = match &self.said {
            None => now.saturating_duration_since(self.began) >= FIRST_AFTER,
            Some((at, last)) => {
                let pause = if last == text { REPEAT_EVERY } else { CHANGED_EVERY };
                now.saturating_duration_since(*at) >= pause
            }
        };
        if is_due {
            self.said = Some((now, text.to_owned()));
        }
        is_due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Fails if a node that waits says nothing within seconds, says it with every attempt, or never
    /// again.
    #[test]
    fn a_reason_is_given_soon_and_repeated_rarely() {
        let mut notice = Notice::new(Clock::system());
        let began = notice.began;
        let mut said = Vec::new();
        for second in 0..60 {
            let text = if second < 5 { "nobody answers" } else { "Redis answers" };
            if notice.is_due_at(began + Duration::from_secs(second), text) {
                said.push((second, text));
            }
        }
        assert_eq!(said, [(4, "nobody answers"), (9, "Redis answers"), (39, "Redis answers")]);
    }
}
