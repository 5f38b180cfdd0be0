//! Who runs behind whom among listeners.
//!
//! A connection's future is polled by a task as any other, as long as it waits often: for its client, for answers. One that
//! computes on for more than [`TICKS_MAX`] ticks, or whose app has used half of the machine while others had connections to
//! serve, is moved to a thread that takes idle processors only, and comes back once it waits again.
//!
//! Invariant: a future is in one place at a time; dropping a [`Courteous`] ends it wherever it is.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use parking_lot::Mutex;
use recoil_base::{Clock, task};
use tokio::time::Instant;

use crate::engine::TICK_MS;
use crate::listener::BoxFuture;

/// Ticks without waiting after which a connection is moved: one may be over at once.
const TICKS_MAX: u32 = 2;
/// What an app may use before its share is looked at.
const BURST: Duration = Duration::from_millis(500);
/// For how long an app counts as one that has work.
const ACTIVE: Duration = Duration::from_secs(1);

/// How long a connection has computed without waiting.
#[derive(Debug, Default)]
pub(crate) struct Computing {
    ticks: AtomicU32,
    interrupted: AtomicBool,
}

impl Computing {
    /// A tick has passed in the guest; answers how long it has computed, milliseconds.
    pub(crate) fn tick(&self) -> u64 {
        self.interrupted.store(true, Ordering::Relaxed);
        u64::from(self.ticks.fetch_add(1, Ordering::Relaxed)) * TICK_MS
    }

    /// True when the guest waits; false when it was only interrupted.
    fn waits(&self) -> bool {
        let waits = !self.interrupted.swap(false, Ordering::Relaxed);
        if waits {
            self.ticks.store(0, Ordering::Relaxed);
        }
        waits
    }

    fn is_long(&self) -> bool {
        self.ticks.load(Ordering::Relaxed) > TICKS_MAX
    }
}

/// The processor time that apps' listeners use; one for each engine.
#[derive(Debug)]
pub(crate) struct Shares {
    clock: Clock,
    apps: Mutex<Vec<(u64, Used)>>,
    processors: u32,
    /// Counts up, so that every piece of code has a number of its own.
    next: std::sync::atomic::AtomicU64,
}

#[derive(Debug)]
struct Used {
    time: Duration,
    settled_at: Instant,
}

impl Shares {
    pub(crate) fn new() -> Self {
        let processors = std::thread::available_parallelism().map_or(1, |count| count.get() as u32);
        Shares { clock: Clock::system(), apps: Mutex::default(), processors, next: Default::default() }
    }

    /// A number for one more app.
    pub(crate) fn number(&self) -> u64 {
        self.next.fetch_add(1, Ordering::Relaxed)
    }

    /// Adds what an app has used; true if that is more than its share while others have work.
    fn add(&self, app: u64, time: Duration) -> bool {
        let now = self.clock.now();
        let mut apps = self.apps.lock();
        apps.retain(|(number, used)| *number == app || now - used.settled_at < ACTIVE);
        let contended = apps.len() > 1;
        let place = apps.iter().position(|(number, _)| *number == app).unwrap_or_else(|| {
            apps.push((app, Used { time: Duration::ZERO, settled_at: now }));
            apps.len() - 1
        });
        let used = &mut apps[place].1;
        let paid = (now - used.settled_at) * self.processors / 2;
        used.time = used.time.saturating_sub(paid).saturating_add(time).min(4 * BURST);
        used.settled_at = now;
        contended && used.time > BURST
    }
}

/// What [`run`] needs.
pub(crate) struct Courtesy {
    pub(crate) shares: Arc<Shares>,
    /// The app's number there.
    pub(crate) app: u64,
    pub(crate) computing: Arc<Computing>,
    pub(crate) behind: Arc<task::BehindOthers>,
}

/// Runs a connection's future to its end, here or behind the others. `moved` is told the first time.
pub(crate) async fn run<T: Send + 'static>(
    courtesy: Courtesy,
    future: BoxFuture<'static, T>,
    moved: impl FnOnce(),
) -> T {
    let (courtesy, mut future, mut moved) = (Arc::new(courtesy), future, Some(moved));
    loop {
        let polled = poll_fn(|context| courtesy.poll(&mut future, context, Courtesy::is_rude));
        if let Some(output) = polled.await {
            return output;
        }
        if let Some(moved) = moved.take() {
            moved();
        }
        let there = courtesy.clone();
        let ended = courtesy.behind.run(async move {
            let polled = poll_fn(|context| there.poll(&mut future, context, Courtesy::is_calm)).await;
            polled.ok_or(future)
        });
        match ended.await {
            Ok(output) => return output,
            Err(back) => future = back,
        }
    }
}

impl Courtesy {
    /// Polls; `None` when `leave` says that the future should be elsewhere.
    fn poll<T>(
        &self,
        future: &mut BoxFuture<'static, T>,
        context: &mut Context<'_>,
        leave: fn(bool, bool, bool) -> bool,
    ) -> Poll<Option<T>> {
        let before = self.shares.clock.now();
        let polled = pin!(future).poll(context);
        let above = self.shares.add(self.app, self.shares.clock.now() - before);
        match polled {
            Poll::Ready(output) => Poll::Ready(Some(output)),
            Poll::Pending => {
                let waits = self.computing.waits();
                if leave(waits, self.computing.is_long(), above) { Poll::Ready(None) } else { Poll::Pending }
            }
        }
    }

    fn is_rude(_waits: bool, long: bool, above: bool) -> bool {
        long || above
    }

    fn is_calm(waits: bool, _long: bool, above: bool) -> bool {
        waits && !above
    }
}
