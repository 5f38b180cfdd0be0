//! The switch by which a whole process becomes a simulation: threads become tasks, and each piece of their work takes a simulated
//! time.
//!
//! Invariant: set once, before anything else is started, and never in a process that keeps anybody's data.

use std::sync::OnceLock;
use std::time::Duration;

type Latency = Box<dyn Fn(&str) -> Duration + Send + Sync>;

static LATENCY: OnceLock<Latency> = OnceLock::new();

/// Makes this process a simulation. `latency` says how long the next piece of work of a thread of that name takes.
pub fn begin(latency: impl Fn(&str) -> Duration + Send + Sync + 'static) {
    assert!(LATENCY.set(Box::new(latency)).is_ok(), "a process becomes a simulation once");
}

/// True in a simulation.
pub fn is_on() -> bool {
    LATENCY.get().is_some()
}

/// Waits as long as the next piece of work takes; other tasks have their turn at least once.
pub(crate) async fn work(name: &str) {
    let latency = LATENCY.get().map_or(Duration::ZERO, |latency| latency(name));
    if latency.is_zero() {
        tokio::task::yield_now().await;
    } else {
        tokio::time::sleep(latency).await;
    }
}
