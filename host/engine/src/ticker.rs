//! Counts the engine's epochs while guests run, so that each is asked every [`TICK_MS`] whether it may go on.
//!
//! Nobody is woken on a node where no guest runs: after [`IDLE_TICKS`] without one the thread sleeps, and whoever runs the next one wakes it.
//! A deadline is counted from the epoch in which it was set, so it does not matter that none passed.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::Thread;
use std::time::Duration;

use parking_lot::Mutex;
use recoil_base::task;

/// Milliseconds between epochs.
pub(crate) const TICK_MS: u64 = 10;
/// Ticks without a guest after which the thread sleeps.
const IDLE_TICKS: u32 = 100;

/// Clones are the same ticker, which ends with the last one.
#[derive(Clone, Debug)]
pub(crate) struct Ticker(Arc<Alive>);

#[derive(Debug)]
struct Alive(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    running: AtomicUsize,
    sleeps: AtomicBool,
    ended: AtomicBool,
    thread: Mutex<Option<Thread>>,
}

/// A guest runs.
#[derive(Debug)]
pub(crate) struct Running<'a>(&'a Shared);

impl Ticker {
    pub(crate) fn start(engine: wasmtime::Engine) -> Self {
        let shared = Arc::new(Shared::default());
        // A guest of a simulation takes no simulated time, and real time must not tell one run from another.
        #[cfg(feature = "simulation")]
        if recoil_base::simulation::is_on() {
            return Ticker(Arc::new(Alive(shared)));
        }
        let ticking = shared.clone();
        let thread = task::spawn_thread("recoil-epochs", move || ticking.tick(&engine));
        *shared.thread.lock() = Some(thread.thread().clone());
        Ticker(Arc::new(Alive(shared)))
    }

    /// Epochs are counted at least until what this answers is dropped.
    pub(crate) fn run(&self) -> Running<'_> {
        let shared = &*self.0.0;
        shared.running.fetch_add(1, Ordering::SeqCst);
        // Looked at first: a load is cheap, and the thread sleeps seldom.
        if shared.sleeps.load(Ordering::SeqCst) && shared.sleeps.swap(false, Ordering::SeqCst) {
            shared.wake();
        }
        Running(shared)
    }
}

impl Shared {
    fn tick(&self, engine: &wasmtime::Engine) {
        let mut idle = 0;
        while !self.ended.load(Ordering::SeqCst) {
            if idle < IDLE_TICKS {
                std::thread::park_timeout(Duration::from_millis(TICK_MS));
                engine.increment_epoch();
                idle = if self.running.load(Ordering::SeqCst) > 0 { 0 } else { idle + 1 };
                continue;
            }
            // Who begins to run counts first and then looks here; the other way round here: so one of the two sees the other.
            self.sleeps.store(true, Ordering::SeqCst);
            if self.running.load(Ordering::SeqCst) == 0 && !self.ended.load(Ordering::SeqCst) {
                std::thread::park();
            }
            self.sleeps.store(false, Ordering::SeqCst);
            idle = 0;
        }
    }

    fn wake(&self) {
        if let Some(thread) = &*self.thread.lock() {
            thread.unpark();
        }
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.0.running.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Drop for Alive {
    fn drop(&mut self) {
        self.0.ended.store(true, Ordering::SeqCst);
        self.0.wake();
    }
}
