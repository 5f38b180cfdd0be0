//! What every instance is given: its app's name, log and limits.
//!
//! Invariant: memory above the limit is refused where it is asked for, and the refusal is remembered, so that the trap
//! that usually follows is explained by it.

use std::sync::Arc;

use wasmtime::ResourceLimiter;

use crate::app_log::AppLog;

/// What an instance of an app may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Time for one handler call, milliseconds.
    pub call_ms_max: u32,
    /// Linear memory of one instance, bytes.
    pub memory_bytes_max: usize,
    /// How long a connection may wait for its peer, milliseconds; 0: for ever.
    pub idle_ms_max: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Limits { call_ms_max: 1000, memory_bytes_max: 64 << 20, idle_ms_max: 0 }
    }
}

/// What an app's instances are given.
#[derive(Clone, Debug)]
pub struct Environment {
    /// The app's name.
    pub app: Arc<str>,
    /// Its log on this node.
    pub log: AppLog,
    /// Its limits.
    pub limits: Limits,
}

/// Elements of one table: function pointers, mostly.
pub(crate) const TABLE_ELEMENTS_MAX: usize = 50_000;
/// Core instances, memories and tables of one component.
const PARTS_MAX: usize = 64;

/// Keeps a store within its memory.
#[derive(Debug)]
pub(crate) struct MemoryLimiter {
    bytes_max: usize,
    /// All linear memories of the store together.
    bytes: usize,
    refused: bool,
}

impl MemoryLimiter {
    pub(crate) fn new(bytes_max: usize) -> Self {
        MemoryLimiter { bytes_max, bytes: 0, refused: false }
    }

    /// True if memory was refused since the last call of this.
    pub(crate) fn take_refused(&mut self) -> bool {
        std::mem::take(&mut self.refused)
    }

    pub(crate) fn bytes_max(&self) -> usize {
        self.bytes_max
    }
}

impl ResourceLimiter for MemoryLimiter {
    fn memory_growing(&mut self, current: usize, desired: usize, maximum: Option<usize>) -> wasmtime::Result<bool> {
        let total = self.bytes.saturating_sub(current).saturating_add(desired);
        if total > self.bytes_max {
            self.refused = true;
            return Ok(false);
        }
        if maximum.is_none_or(|maximum| desired <= maximum) {
            self.bytes = total;
        }
        Ok(true)
    }

    fn table_growing(&mut self, _current: usize, desired: usize, _maximum: Option<usize>) -> wasmtime::Result<bool> {
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
