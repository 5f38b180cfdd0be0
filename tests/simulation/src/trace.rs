//! What a run tells of itself: a hash over everything that happens, and text for people.

use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use xxhash_rust::xxh3::Xxh3;

/// Simulated milliseconds since the world began.
static NOW_MS: AtomicU64 = AtomicU64::new(0);

struct Trace {
    hash: Xxh3,
    events: u64,
    print: Detail,
    line: String,
}

static TRACE: Mutex<Option<Trace>> = Mutex::new(None);

/// How much is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Detail {
    /// Nothing.
    Silent,
    /// Calls, faults, the life of nodes.
    Events,
    /// Every message.
    Messages,
}

pub(crate) fn begin(print: Detail) {
    *TRACE.lock() = Some(Trace { hash: Xxh3::new(), events: 0, print, line: String::new() });
}

pub(crate) fn set_now_ms(now: u64) {
    NOW_MS.store(now, Ordering::Relaxed);
}

pub(crate) fn now_ms() -> u64 {
    NOW_MS.load(Ordering::Relaxed)
}

/// The hash of everything so far, and how many events that was.
pub(crate) fn hash() -> (u64, u64) {
    TRACE.lock().as_ref().map_or((0, 0), |trace| (trace.hash.digest(), trace.events))
}

pub(crate) fn event(detail: Detail, text: std::fmt::Arguments<'_>) {
    let mut trace = TRACE.lock();
    let Some(trace) = trace.as_mut() else { return };
    trace.line.clear();
    let _ = write!(trace.line, "{:>7} ms  {text}", now_ms());
    trace.hash.update(trace.line.as_bytes());
    trace.events += 1;
    if detail <= trace.print {
        println!("{}", trace.line);
    }
}

/// An event for people.
macro_rules! note {
    ($($text:tt)*) => { $crate::trace::event($crate::trace::Detail::Events, format_args!($($text)*)) };
}
pub(crate) use note;
