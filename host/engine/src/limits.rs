//! What an app may use: one table of limits, with defaults, bounds and words.
//!
//! Every limit has a name, by which the manifest sets it, `recoilctl inspect` shows it and errors speak of it; a value in force
//! for an app; and one place that enforces it, named in its row. A package may ask for less than the default, or for
//! more up to a ceiling; what it asks beyond its bounds is cut to them. Limits whose floor and ceiling are equal belong to the
//! engine and are shown so that authors know them.
//!
//! Invariant: nothing that a guest can make the host hold or compute lacks a row here, directly or as part of one that has.
//! Host calls have no limit of their own: they are bounded by the time of the call that makes them.
//!
//! Deliberately absent: what an app keeps on disk, and how many timers a partition holds: rows, as its other data is.

use crate::app_log::AppLogOptions;
use crate::transaction::{KEY_BYTES_MAX, TransactionLimits};

/// Elements of one table: function pointers, mostly.
pub(crate) const TABLE_ELEMENTS_MAX: usize = 50_000;
/// Native stack that a guest may use.
pub(crate) const STACK_BYTES_MAX: usize = 512 << 10;
/// WASI resources an instance may hold.
pub(crate) const RESOURCES_MAX: usize = 4096;

/// What an app and its instances may use. The fields are those of [`TABLE`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)] // each is documented by its row
pub struct Limits {
    pub call_ms_max: u32,
    pub compute_ms_max: u32,
    pub http_ms_max: u32,
    pub memory_bytes_max: usize,
    pub app_memory_bytes_max: usize,
    pub connections_max: usize,
    pub idle_ms_max: u64,
    pub request_bytes_max: usize,
    pub calls_max: usize,
    pub pending_calls_max: usize,
    pub subscriptions_max: usize,
    pub host_call_bytes_max: usize,
    pub writing_bytes_max: usize,
    pub waiting_bytes_max: usize,
    pub answering_bytes_max: usize,
    pub log_bytes_max: usize,
    pub log_lines_per_second: u32,
    pub transaction: TransactionLimits,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            call_ms_max: 1000,
            compute_ms_max: 10_000,
            http_ms_max: 30_000,
            memory_bytes_max: 64 << 20,
            app_memory_bytes_max: 1 << 30,
            connections_max: 1000,
            idle_ms_max: 0,
            request_bytes_max: 16 << 20,
            calls_max: 65_536,
            pending_calls_max: 1024,
            subscriptions_max: 1024,
            host_call_bytes_max: 64 << 20,
            writing_bytes_max: 24 << 20,
            waiting_bytes_max: 64 << 20,
            answering_bytes_max: 64 << 20,
            log_bytes_max: 1 << 20,
            log_lines_per_second: 256,
            transaction: TransactionLimits::default(),
        }
    }
}

impl Limits {
    /// Sets the limit `name` to `value`, cut to its bounds. False if there is no such limit, or none that can be set.
    pub fn set(&mut self, name: &str, value: u64) -> bool {
        let Some(row) = TABLE.iter().find(|row| row.name == name) else { return false };
        (row.set)(self, value.clamp(row.floor, row.ceiling));
        row.floor < row.ceiling
    }

    /// The limits of an app's log.
    pub fn log(&self) -> AppLogOptions {
        AppLogOptions {
            bytes_max: self.log_bytes_max,
            lines_per_second: self.log_lines_per_second,
            ..Default::default()
        }
    }
}

/// A row of the table.
#[derive(Debug)]
pub struct Limit {
    /// Its name, in the manifest's `[limits]` and everywhere else.
    pub name: &'static str,
    /// What is limited, in a few words.
    pub what: &'static str,
    /// What happens above it.
    pub above: &'static str,
    /// The least a manifest may set.
    pub floor: u64,
    /// The most.
    pub ceiling: u64,
    /// The value in force.
    pub get: fn(&Limits) -> u64,
    set: fn(&mut Limits, u64),
}

macro_rules! limit {
    ($name:literal, $($field:ident).+, $floor:expr, $ceiling:expr, $what:literal, $above:literal) => {
        Limit {
            name: $name,
            what: $what,
            above: $above,
            floor: $floor,
            ceiling: $ceiling,
            get: |limits| limits.$($field).+ as u64,
            set: |limits, value| limits.$($field).+ = value as _,
        }
    };
    ($name:literal, fixed $value:expr, $what:literal, $above:literal) => {
        Limit { name: $name, what: $what, above: $above, floor: $value, ceiling: $value, get: |_| $value, set: |_, _| {} }
    };
}

/// All limits.
pub const TABLE: &[Limit] = &[
    limit!(
        "call_ms",
        call_ms_max,
        1,
        60_000,
        "processor time of a handler call, ms; three times as long by the clock",
        "the call fails, its writes with it"
    ),
    limit!(
        "compute_ms",
        compute_ms_max,
        10,
        600_000,
        "time a listener computes without waiting, ms",
        "its connection ends"
    ),
    limit!(
        "http_ms",
        http_ms_max,
        10,
        600_000,
        "time to answer an HTTP request, ms; if streamed, the longest time without progress",
        "504 (408 if the client stalls) or a broken answer; its instance ends"
    ),
    limit!("memory_bytes", memory_bytes_max, 64 << 10, 1 << 30, "linear memory of an instance", "growing is refused"),
    limit!(
        "app_memory_bytes",
        app_memory_bytes_max,
        1 << 20,
        64 << 30,
        "memory that instances have for themselves, beyond 2 MiB each",
        "growing is refused, instances end"
    ),
    limit!("table_elements", fixed TABLE_ELEMENTS_MAX as u64, "elements of a table", "growing is refused"),
    limit!("stack_bytes", fixed STACK_BYTES_MAX as u64, "native stack of an instance", "the call traps"),
    limit!("resources", fixed RESOURCES_MAX as u64, "WASI resources of an instance", "the call traps"),
    limit!("connections", connections_max, 1, 100_000, "connections of a port on a node", "further ones are closed"),
    limit!(
        "idle_ms",
        idle_ms_max,
        1000,
        86_400_000,
        "time a client may be silent, ms; 0: for ever",
        "its connection ends"
    ),
    limit!("request_bytes", request_bytes_max, 1, 16 << 20, "request of a call", "the call is rejected"),
    limit!("answer_bytes", transaction.answer_bytes_max, 1, 16 << 20, "answer of a call", "the call fails"),
    limit!("calls", calls_max, 1, 1 << 20, "calls of one call-many, transact or wait-all", "the calls are rejected"),
    limit!(
        "pending_calls",
        pending_calls_max,
        1,
        65_536,
        "submitted calls of a connection not waited for",
        "submit traps"
    ),
    limit!("subscriptions", subscriptions_max, 1, 65_536, "subscriptions of a connection", "subscribe traps"),
    limit!("host_call_bytes", host_call_bytes_max, 1 << 10, 128 << 20, "arguments of one host call", "the call traps"),
    limit!("key_bytes", transaction.key_bytes_max, 1, KEY_BYTES_MAX as u64, "a key, timer id or topic", "too-large"),
    limit!("value_bytes", transaction.value_bytes_max, 1, 16 << 20, "a value, timer payload or message", "too-large"),
    limit!(
        "transaction_bytes",
        transaction.transaction_bytes_max,
        1,
        16 << 20,
        "writes and messages of a call",
        "too-large"
    ),
    limit!("transaction_writes", transaction.writes_max, 1, 1 << 20, "number of writes of a call", "too-large"),
    limit!("timers", transaction.timers_max, 0, 1 << 20, "timers a call may set", "set-timer traps"),
    limit!("publishes", transaction.publishes_max, 0, 1 << 20, "messages a call may publish", "publish traps"),
    limit!(
        "scan_bytes",
        transaction.scan_bytes_max,
        1,
        16 << 20,
        "answer of a scan, 32 a row included",
        "a shorter answer"
    ),
    limit!("writing_bytes", writing_bytes_max, 1, 32 << 20, "writes under way on a node", "calls that write wait"),
    limit!("waiting_bytes", waiting_bytes_max, 1 << 10, 256 << 20, "calls waiting on a node", "unavailable; retry"),
    limit!(
        "answering_bytes",
        answering_bytes_max,
        1 << 10,
        256 << 20,
        "answers on their way from a node",
        "unavailable; retry"
    ),
    limit!("log_bytes", log_bytes_max, 16 << 10, 16 << 20, "log kept on a node", "the oldest lines go"),
    limit!("log_lines_per_second", log_lines_per_second, 1, 100_000, "log lines a second", "dropped, and counted"),
];

#[cfg(test)]
mod tests {
    use super::*;

    /// Fails if a default lies outside its own bounds, or a row's `get` and `set` speak of different fields.
    #[test]
    fn every_limit_can_be_set_within_its_bounds_and_no_further() {
        for row in TABLE {
            let mut limits = Limits::default();
            let default = (row.get)(&limits);
            assert!(default <= row.ceiling && (default >= row.floor || default == 0), "{}", row.name);
            assert_eq!(limits.set(row.name, u64::MAX), row.floor < row.ceiling, "{}", row.name);
            assert_eq!((row.get)(&limits), row.ceiling, "{}", row.name);
            limits.set(row.name, 0);
            assert_eq!((row.get)(&limits), row.floor, "{}", row.name);
            assert_eq!(TABLE.iter().filter(|other| other.name == row.name).count(), 1, "{}", row.name);
        }
        assert!(!Limits::default().set("no_such_limit", 1));
    }
}
