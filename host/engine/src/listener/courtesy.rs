//! Who runs behind whom among listeners.
//!
//! A connection's future is polled by a task as any other, as long as it waits often: for its client, for answers. One that
//! computes on for more than [`TICKS_MAX`] ticks, or whose app has used half of the machine while others had connections to
//! serve, is moved to a thread that takes idle processors only, and comes back once it waits again.
//!
//! Whoever polls an instance also counts the pages that it touches, and ends one that has touched more than its app may hold.
//!
//! Invariant: a future is in one place at a time; dropping a [`Courteous`] ends it wherever it is.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};
use std::time::Duration;

use parking_lot::Mutex;
use recoil_base::{Clock, task};
use tokio::time::Instant;

use crate::environment::Account;
use crate::listener::BoxFuture;
use crate::ticker::{TICK_MS, Ticker};

/// Ticks without waiting after which a connection is moved: one may be over at once.
const TICKS_MAX: u32 = 2;
/// What an app may use before its share is looked at.
const BURST: Duration = Duration::from_millis(500);
/// For how long an app counts as one that has work.
const ACTIVE: Duration = Duration::from_secs(1);

/// How long a connection has computed without waiting, and whose memory it touches.
#[derive(Debug, Default)]
pub(crate) struct Computing {
    ticks: AtomicU32,
    interrupted: AtomicBool,
    account: OnceLock<Arc<Account>>,
}

impl Computing {
    /// The instance that computes has this account. There is one instance for all of it.
    pub(crate) fn belongs_to(&self, account: &Arc<Account>) {
        let known = self.account.get_or_init(|| account.clone());
        debug_assert!(Arc::ptr_eq(known, account));
    }

    /// True if what is touched from here on counts: while the instance is not there yet, nobody knows.
    fn is_metered(&self) -> bool {
        self.account.get().is_none_or(|account| account.is_metered())
    }

    /// Why the instance must end now that it has touched so much, if it must.
    fn touch(&self, bytes: u64) -> Option<String> {
        let account = self.account.get()?;
        (!account.touch(bytes)).then(|| account.exhausted())
    }

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
    pub(crate) ticker: Ticker,
}

/// Where a future is after it was polled, if it neither waits nor has ended.
enum Elsewhere {
    /// It should be where it is not.
    Moved,
    /// It has touched more memory than its app may hold.
    Exhausted(String),
}

/// Runs a connection's future to its end, here or behind the others. `moved` is told the first time. The error says why it was not run to
/// its end.
pub(crate) async fn run<T: Send + 'static>(
    courtesy: Courtesy,
    future: BoxFuture<'static, T>,
    moved: impl FnOnce(),
) -> Result<T, String> {
    let (courtesy, mut future, mut moved) = (Arc::new(courtesy), future, Some(moved));
    loop {
        let polled = poll_fn(|context| courtesy.poll(&mut future, context, Courtesy::is_rude));
        match polled.await {
            Ok(output) => return Ok(output),
            Err(Elsewhere::Exhausted(why)) => return Err(why),
            Err(Elsewhere::Moved) => {}
        }
        if let Some(moved) = moved.take() {
            moved();
        }
        let there = courtesy.clone();
        let ended = courtesy.behind.run(async move {
            match poll_fn(|context| there.poll(&mut future, context, Courtesy::is_calm)).await {
                Ok(output) => Ok(Ok(output)),
                Err(Elsewhere::Exhausted(why)) => Ok(Err(why)),
                Err(Elsewhere::Moved) => Err(future),
            }
        });
        match ended.await {
            Ok(ended) => return ended,
            Err(back) => future = back,
        }
    }
}

impl Courtesy {
    /// Polls; `leave` says when the future should be elsewhere.
    fn poll<T>(
        &self,
        future: &mut BoxFuture<'static, T>,
        context: &mut Context<'_>,
        leave: fn(bool, bool, bool) -> bool,
    ) -> Poll<Result<T, Elsewhere>> {
        let _running = self.ticker.run();
        let before = self.shares.clock.now();
        let touched = self.computing.is_metered().then(task::touched_bytes);
        let polled = pin!(future).poll(context);
        let exhausted = touched.and_then(|before| self.computing.touch(task::touched_bytes() - before));
        let above = self.shares.add(self.app, self.shares.clock.now() - before);
        match (polled, exhausted) {
            (Poll::Ready(output), _) => Poll::Ready(Ok(output)),
            (Poll::Pending, Some(why)) => Poll::Ready(Err(Elsewhere::Exhausted(why))),
            (Poll::Pending, None) => {
                let waits = self.computing.waits();
                let leaves = leave(waits, self.computing.is_long(), above);
                if leaves { Poll::Ready(Err(Elsewhere::Moved)) } else { Poll::Pending }
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
