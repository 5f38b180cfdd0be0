//! What every instance is given: its app's name, log and limits; and the limiter of its memory.
//!
//! Invariant: memory above the limit is refused where it is asked for, and the refusal is remembered, so that the trap
//! that usually follows is explained by it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::RwLock;
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

/// Keeps a store within its memory, and an app's stores within theirs.
#[derive(Debug)]
pub(crate) struct MemoryLimiter {
    bytes_max: usize,
    app_bytes_max: usize,
    /// All linear memories of the store together.
    bytes: usize,
    /// Those of all stores of the app, each beyond [`FREE_BYTES`].
    app_bytes: Arc<AtomicUsize>,
    refused: Option<String>,
}

impl MemoryLimiter {
    pub(crate) fn new(limits: &Limits, engine_bytes_max: usize, app_bytes: &Arc<AtomicUsize>) -> Self {
        MemoryLimiter {
            bytes_max: limits.memory_bytes_max.min(engine_bytes_max),
            app_bytes_max: limits.app_memory_bytes_max,
            bytes: 0,
            app_bytes: app_bytes.clone(),
            refused: None,
        }
    }

    /// Why memory was refused since the last call of this, if it was.
    pub(crate) fn take_refused(&mut self) -> Option<String> {
        self.refused.take()
    }

    /// What of this store counts against its app.
    pub(crate) fn counted_bytes(&self) -> usize {
        self.bytes.saturating_sub(FREE_BYTES)
    }

    /// True if the app may have what takes this store to `total`.
    fn take_of_app(&mut self, total: usize) -> bool {
        let counted = |bytes: usize| bytes.saturating_sub(FREE_BYTES);
        let more = counted(total).saturating_sub(counted(self.bytes));
        if self.app_bytes.fetch_add(more, Ordering::Relaxed) + more > self.app_bytes_max && more > 0 {
            self.app_bytes.fetch_sub(more, Ordering::Relaxed);
            return false;
        }
        true
    }
}

impl Drop for MemoryLimiter {
    fn drop(&mut self) {
        self.app_bytes.fetch_sub(self.bytes.saturating_sub(FREE_BYTES), Ordering::Relaxed);
    }
}

impl ResourceLimiter for MemoryLimiter {
    fn memory_growing(&mut self, current: usize, desired: usize, maximum: Option<usize>) -> wasmtime::Result<bool> {
        let total = self.bytes.saturating_sub(current).saturating_add(desired);
        if maximum.is_some_and(|maximum| desired > maximum) {
            return Ok(true); // fails by itself
        }
        if total > self.bytes_max {
            self.refused =
                Some(format!("out of memory (limit memory_bytes: {} MiB an instance)", self.bytes_max >> 20));
            return Ok(false);
        }
        if !self.take_of_app(total) {
            self.refused = Some(format!(
                "out of memory (limit app_memory_bytes: {} MiB for all instances)",
                self.app_bytes_max >> 20
            ));
            return Ok(false);
        }
        self.bytes = total;
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

    fn limiter(app_bytes: &Arc<AtomicUsize>) -> MemoryLimiter {
        let limits = Limits { memory_bytes_max: 8 << 20, app_memory_bytes_max: 10 << 20, ..Limits::default() };
        MemoryLimiter::new(&limits, 64 << 20, app_bytes)
    }

    /// Red when memory is not given back, or the free part is not free.
    #[test]
    fn an_instance_and_an_app_have_their_memory_and_no_more() {
        let app_bytes = Arc::default();
        let (mut first, mut second, mut third) = (limiter(&app_bytes), limiter(&app_bytes), limiter(&app_bytes));
        assert!(first.memory_growing(0, 8 << 20, None).unwrap());
        assert!(!first.memory_growing(8 << 20, 9 << 20, None).unwrap());
        assert!(first.take_refused().unwrap().contains("limit memory_bytes: 8 MiB"));
        assert!(!second.memory_growing(0, 7 << 20, None).unwrap());
        assert!(second.take_refused().unwrap().contains("limit app_memory_bytes: 10 MiB"));
        assert!(second.memory_growing(0, 6 << 20, None).unwrap());
        assert!(third.memory_growing(0, 2 << 20, None).unwrap(), "an instance can always start");
        drop(first);
        assert!(third.memory_growing(2 << 20, 8 << 20, None).unwrap());
        drop((second, third));
        assert_eq!(app_bytes.load(Ordering::Relaxed), 0);
    }

    /// Red when a table may grow to what the pool would refuse without a word.
    #[test]
    fn a_table_has_its_elements_and_no_more() {
        let mut limiter = limiter(&Arc::default());
        assert!(limiter.table_growing(0, TABLE_ELEMENTS_MAX, None).unwrap());
        assert!(!limiter.table_growing(0, TABLE_ELEMENTS_MAX + 1, None).unwrap());
        assert!(limiter.take_refused().unwrap().contains("limit table_elements: 50000"));
    }
}
