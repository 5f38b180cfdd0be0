//! Who runs behind whom among listeners.
//!
//! A connection's future is polled by a task as any other, as long as it waits often: for its client, for answers. One that
//! computes on for more than [`TICKS_MAX`] ticks, or that hardly ever waits though it does so at every turn, or whose app has used
//! half of the machine while others had connections to serve, is moved to a thread that takes idle processors only, and comes
//! back once it waits again.
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
/// Processor time of a connection beyond [`BUSY_PARTS`] of the time that passes, after which it is moved.
const BUSY: Duration = Duration::from_millis(50);
/// Tenths of its time that a connection may compute: one that asks anybody for anything waits for longer than the rest.
const BUSY_PARTS: u32 = 9;
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

impl Used {
    /// Adds `time`, up to `most`, and takes away what `pays` makes of the time that has passed.
    fn add(&mut self, now: Instant, time: Duration, pays: impl FnOnce(Duration) -> Duration, most: Duration) {
        self.time = self.time.saturating_add(time).saturating_sub(pays(now - self.settled_at)).min(most);
        self.settled_at = now;
    }
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
        used.add(now, time, |passed| passed * self.processors / 2, 4 * BURST);
        contended && used.time > BURST
    }
}

/// What [`run`] needs.
pub(crate) struct Courtesy {
    shares: Arc<Shares>,
    app: u64,
    computing: Arc<Computing>,
    behind: Arc<task::BehindOthers>,
    used: Mutex<Used>,
}

/// Runs a connection's future to its end, here or behind the others. `moved` is told the first time.
pub(crate) async fn run<T: Send + 'static>(
    courtesy: Courtesy,
    future: BoxFuture<'static, T>,
    moved: impl FnOnce(),
) -> T {
    let (courtesy, mut future, mut moved) = (Arc::new(courtesy), future, Some(moved));
    loop {
        let polled = poll_fn(|context| courtesy.poll(&mut future, context, Seen::is_rude));
        if let Some(output) = polled.await {
            return output;
        }
        if let Some(moved) = moved.take() {
            moved();
        }
        let there = courtesy.clone();
        let ended = courtesy.behind.run(async move {
            let polled = poll_fn(|context| there.poll(&mut future, context, Seen::is_calm)).await;
            polled.ok_or(future)
        });
        match ended.await {
            Ok(output) => return output,
            Err(back) => future = back,
        }
    }
}

impl Courtesy {
    /// For a connection of the app that has this number.
    pub(crate) fn new(
        shares: Arc<Shares>,
        app: u64,
        computing: Arc<Computing>,
        behind: Arc<task::BehindOthers>,
    ) -> Self {
        let used = Mutex::new(Used { time: Duration::ZERO, settled_at: shares.clock.now() });
        Courtesy { shares, app, computing, behind, used }
    }

    /// Polls; `None` when `leave` says that the future should be elsewhere.
    fn poll<T>(
        &self,
        future: &mut BoxFuture<'static, T>,
        context: &mut Context<'_>,
        leave: fn(&Seen) -> bool,
    ) -> Poll<Option<T>> {
        let before = self.shares.clock.now();
        let polled = pin!(future).poll(context);
        let now = self.shares.clock.now();
        let seen = Seen {
            above: self.shares.add(self.app, now - before),
            busy: {
                let mut used = self.used.lock();
                used.add(now, now - before, |passed| passed * BUSY_PARTS / 10, 2 * BUSY);
                used.time
            },
            waits: polled.is_pending() && self.computing.waits(),
            long: self.computing.is_long(),
        };
        match polled {
            Poll::Ready(output) => Poll::Ready(Some(output)),
            Poll::Pending if leave(&seen) => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        }
    }
}

/// What a poll showed.
struct Seen {
    /// The guest waits for something; it was not interrupted.
    waits: bool,
    /// It has computed for long without waiting.
    long: bool,
    /// What it has computed beyond [`BUSY_PARTS`].
    busy: Duration,
    /// Its app has used more than its share.
    above: bool,
}

impl Seen {
    fn is_rude(&self) -> bool {
        self.long || self.above || self.busy > BUSY
    }

    fn is_calm(&self) -> bool {
        self.waits && !self.above && self.busy.is_zero()
    }
}
