//! The first failure of something that does not go on after one: a failed write or fsync, an entry that could not be applied. It is kept, and
//! whoever waits for it is woken.
//!
//! Invariant: set once, never cleared.

use std::sync::Arc;

use tokio::sync::watch;

/// Why a log, the data or a group's state machine goes on no more, once it does not. Shared by cloning.
#[derive(Clone, Debug)]
pub struct Failure {
    reason: watch::Sender<Option<Arc<str>>>,
}

impl Default for Failure {
    fn default() -> Self {
        Failure { reason: watch::Sender::new(None) }
    }
}

impl Failure {
    /// None yet.
    pub fn new() -> Self {
        Failure::default()
    }

    /// Keeps `reason` unless there is one already; answers the one that is kept.
    pub fn report(&self, reason: String) -> Arc<str> {
        let reason: Arc<str> = reason.into();
        self.reason.send_if_modified(|kept| {
            let first = kept.is_none();
            if first {
                *kept = Some(reason.clone());
            }
            first
        });
        self.reason().unwrap_or(reason)
    }

    /// The reason, once there is one.
    pub fn reason(&self) -> Option<Arc<str>> {
        self.reason.borrow().clone()
    }

    /// Waits for a reason: for ever, if all goes well.
    pub async fn wait(&self) -> Arc<str> {
        let mut receiver = self.reason.subscribe();
        loop {
            if let Some(reason) = self.reason() {
                return reason;
            }
            if receiver.changed().await.is_err() {
                std::future::pending::<()>().await; // the sender is `self`: never
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_first_reason_stays_and_is_told_to_early_and_late_waiters() {
        let failure = Failure::new();
        assert!(failure.reason().is_none());
        let early = {
            let failure = failure.clone();
            async move { failure.wait().await }
        };
        assert_eq!(&*failure.report("first".into()), "first");
        assert_eq!(&*failure.report("second".into()), "first");
        assert_eq!(&*early.await, "first");
        assert_eq!(&*failure.wait().await, "first");
    }
}
