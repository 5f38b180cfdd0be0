//! What every instance is given: its app's name, log and limits; and the limiter of its memory.
//!
//! Invariant: memory above the limit is refused where it is asked for, and the refusal is remembered, so that the trap that usually
//! follows is explained by it. What an instance began with is asked for by nobody: whoever runs it ends it when it has touched too much.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::{Mutex, RwLock};
use wasmtime::ResourceLimiter;

use crate::app_log::AppLog;
use crate::limits::{Limits, TABLE_ELEMENTS_MAX};

/// What an app's instances are given.
#[derive(Clone, Debug)]
pub struct Environment {
    /// The app's name.
    pub app: Arc<str>,
    /// Its log on this node.
    pub log: AppLog,
    /// Its limits.
    pub limits: Limits,
    /// What its operator has set.
    pub settings: Settings,
}

/// What an operator has set for an app on this node, as text by name; clones share it, so that a change reaches every instance.
#[derive(Clone, Debug, Default)]
pub struct Settings(Arc<RwLock<BTreeMap<String, String>>>);

impl Settings {
    /// The value of one.
    pub fn get(&self, name: &str) -> Option<String> {
        self.0.read().get(name).cloned()
    }

    /// From now on these, and no other.
    pub fn replace(&self, values: BTreeMap<String, String>) {
        *self.0.write() = values;
    }
}

/// Core instances, memories and tables of one component.
const PARTS_MAX: usize = 64;
/// What every instance may have before it counts against its app.
const FREE_BYTES: usize = 2 << 20;

/// What a store holds of its app's memory.
///
/// What it has grown by counts as asked for. What it began with is an image that all instances share, of which it has what it has touched:
/// as many pages as its thread was given while it ran (`recoil_base::task::touched_bytes`). That is more than the truth if the host was given some
/// meanwhile, and never more than there is. Small memories are not worth the reading, and count whole.
#[derive(Debug)]
pub(crate) struct Account {
    /// Of all stores of the app, each beyond [`FREE_BYTES`].
    app_bytes: Arc<AtomicUsize>,
    app_bytes_max: usize,
    held: Mutex<Held>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Held {
    initial: usize,
    touched: usize,
    grown: usize,
}

impl Held {
    fn is_metered(&self) -> bool {
        self.initial > FREE_BYTES
    }

    fn counted(&self) -> usize {
        let began = if self.is_metered() { self.initial.min(self.touched) } else { self.initial };
        (began + self.grown).saturating_sub(FREE_BYTES)
    }
}

impl Account {
    /// What of this store counts against its app.
    pub(crate) fn counted_bytes(&self) -> usize {
        self.held.lock().counted()
    }

    /// True if it matters which pages the instance touches: whoever runs it says so.
    pub(crate) fn is_metered(&self) -> bool {
        self.held.lock().is_metered()
    }

    /// The instance ran, and its thread was given this much meanwhile. False if the app now holds more than it may.
    pub(crate) fn touch(&self, bytes: u64) -> bool {
        let mut held = self.held.lock();
        let before = held.counted();
        held.touched = held.touched.saturating_add(usize::try_from(bytes).unwrap_or(usize::MAX));
        let more = held.counted() - before;
        more == 0 || self.app_bytes.fetch_add(more, Ordering::Relaxed) + more <= self.app_bytes_max
    }

    /// Why a store ends, or memory is refused, when the app holds more than it may.
    pub(crate) fn exhausted(&self) -> String {
        format!("out of memory (limit app_memory_bytes: {} MiB for all instances)", self.app_bytes_max >> 20)
    }

    /// True if the app may have what takes this store to `then`, which it then has.
    fn take(&self, then: Held) -> bool {
        let mut held = self.held.lock();
        let more = then.counted().saturating_sub(held.counted());
        if more > 0 && self.app_bytes.fetch_add(more, Ordering::Relaxed) + more > self.app_bytes_max {
            self.app_bytes.fetch_sub(more, Ordering::Relaxed);
            return false;
        }
        *held = then;
        true
    }
}

impl Drop for Account {
    fn drop(&mut self) {
        self.app_bytes.fetch_sub(self.held.get_mut().counted(), Ordering::Relaxed);
    }
}

/// Keeps a store within its memory, and an app's stores within theirs.
#[derive(Debug)]
pub(crate) struct MemoryLimiter {
    bytes_max: usize,
    account: Arc<Account>,
    refused: Option<String>,
}

impl MemoryLimiter {
    pub(crate) fn new(limits: &Limits, engine_bytes_max: usize, app_bytes: &Arc<AtomicUsize>) -> Self {
        let account = Account {
            app_bytes: app_bytes.clone(),
            app_bytes_max: limits.app_memory_bytes_max,
            held: Mutex::default(),
        };
        MemoryLimiter {
            bytes_max: limits.memory_bytes_max.min(engine_bytes_max),
            account: Arc::new(account),
            refused: None,
        }
    }

    /// Why memory was refused since the last call of this, if it was.
    pub(crate) fn take_refused(&mut self) -> Option<String> {
        self.refused.take()
    }

    /// What the store holds.
    pub(crate) fn account(&self) -> &Arc<Account> {
        &self.account
    }
}

impl ResourceLimiter for MemoryLimiter {
    fn memory_growing(&mut self, current: usize, desired: usize, maximum: Option<usize>) -> wasmtime::Result<bool> {
        if maximum.is_some_and(|maximum| desired > maximum) {
            return Ok(true); // fails by itself
        }
        let mut then = *self.account.held.lock();
        // Memory that is made, or had no bytes yet, begins as what is shared.
        match current {
            0 => then.initial = then.initial.saturating_add(desired),
            _ => then.grown = then.grown.saturating_add(desired.saturating_sub(current)),
        }
        if then.initial.saturating_add(then.grown) > self.bytes_max {
            self.refused =
                Some(format!("out of memory (limit memory_bytes: {} MiB an instance)", self.bytes_max >> 20));
            return Ok(false);
        }
        if !self.account.take(then) {
            self.refused = Some(self.account.exhausted());
            return Ok(false);
        }
        Ok(true)
    }

    fn table_growing(&mut self, _current: usize, desired: usize, _maximum: Option<usize>) -> wasmtime::Result<bool> {
        if desired > TABLE_ELEMENTS_MAX {
            self.refused = Some(format!("a table is full (limit table_elements: {TABLE_ELEMENTS_MAX})"));
        }
        Ok(desired <= TABLE_ELEMENTS_MAX)
    }

    fn instances(&self) -> usize {
        PARTS_MAX
    }

    fn memories(&self) -> usize {
        PARTS_MAX
    }

    fn tables(&self) -> usize {
        PARTS_MAX
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: usize = 1 << 20;

    fn limiter(app_bytes: &Arc<AtomicUsize>) -> MemoryLimiter {
        let limits = Limits { memory_bytes_max: 8 << 20, app_memory_bytes_max: 10 << 20, ..Limits::default() };
        MemoryLimiter::new(&limits, 64 << 20, app_bytes)
    }

    /// Fails if memory is not given back, or the free part is not free.
    #[test]
    fn an_instance_and_an_app_have_their_memory_and_no_more() {
        let app_bytes = Arc::default();
        let (mut first, mut second, mut third) = (limiter(&app_bytes), limiter(&app_bytes), limiter(&app_bytes));
        for limiter in [&mut first, &mut second, &mut third] {
            assert!(limiter.memory_growing(0, 2 * MIB, None).unwrap(), "an instance can always start");
        }
        assert!(first.memory_growing(2 * MIB, 8 * MIB, None).unwrap());
        assert!(!first.memory_growing(8 * MIB, 9 * MIB, None).unwrap());
        assert!(first.take_refused().unwrap().contains("limit memory_bytes: 8 MiB"));
        assert!(!second.memory_growing(2 * MIB, 7 * MIB, None).unwrap());
        assert!(second.take_refused().unwrap().contains("limit app_memory_bytes: 10 MiB"));
        assert!(second.memory_growing(2 * MIB, 6 * MIB, None).unwrap());
        assert!(!third.memory_growing(2 * MIB, 3 * MIB, None).unwrap());
        drop(first);
        assert!(third.memory_growing(2 * MIB, 8 * MIB, None).unwrap());
        drop((second, third));
        assert_eq!(app_bytes.load(Ordering::Relaxed), 0);
    }

    /// Fails if an instance counts for what it shares with others, or not for what it has touched.
    #[test]
    fn what_an_instance_began_with_counts_as_it_is_touched() {
        let app_bytes = Arc::default();
        let mut many: Vec<_> = (0..20).map(|_| limiter(&app_bytes)).collect();
        for limiter in &mut many {
            assert!(limiter.memory_growing(0, 6 * MIB, None).unwrap(), "an instance can always start");
            assert!(limiter.account().is_metered());
            assert!(limiter.account().touch(2 * MIB as u64));
        }
        assert_eq!(app_bytes.load(Ordering::Relaxed), 0);
        assert!(many[0].account().touch(u64::MAX));
        assert_eq!(many[0].account().counted_bytes(), 4 * MIB, "it has no more than there is");
        assert!(many[0].memory_growing(6 * MIB, 8 * MIB, None).unwrap());
        assert!(many[1].account().touch(4 * MIB as u64));
        assert!(!many[2].account().touch(1));
        assert!(many[2].account().exhausted().contains("limit app_memory_bytes: 10 MiB"));
        assert!(!many[1].memory_growing(6 * MIB, 7 * MIB, None).unwrap());
        drop(many);
        assert_eq!(app_bytes.load(Ordering::Relaxed), 0);
    }

    /// Fails if a table may grow to what the pool would refuse without a word.
    #[test]
    fn a_table_has_its_elements_and_no_more() {
        let mut limiter = limiter(&Arc::default());
        assert!(limiter.table_growing(0, TABLE_ELEMENTS_MAX, None).unwrap());
        assert!(!limiter.table_growing(0, TABLE_ELEMENTS_MAX + 1, None).unwrap());
        assert!(limiter.take_refused().unwrap().contains("limit table_elements: 50000"));
    }
}
