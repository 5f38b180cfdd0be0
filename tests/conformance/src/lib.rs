//! The conformance suite: one package in every language, asked the same and expected to answer the same.
//!
//! `PROTOCOL.md` says what the package does; `packages/` has it in every language; [`cases`] ask. Most cases are texts in `cases/`, run
//! in the listener over TCP and HTTP and in a handler ([`Script`]); those that need several connections, nodes, clocks or the
//! operator's hand are functions. `tests/languages.rs` builds the packages, installs each in one simulated cluster and prints a table of
//! cases and languages; `tests/scheduler.rs` has each plan, alone in an engine; `src/bin/costs.rs` measures what a language costs.
//!
//! Invariant: nothing here knows a language. What one of them does otherwise is a failure of it or an allowance of the protocol.
//!
//! Deliberately absent: tests of the host's own promises under faults; `tests/cluster` and `tests/simulation` have them.

// Whole programs are tested against the clock on the wall.
#![allow(clippy::disallowed_methods)]

mod alone;
mod app;
mod cases;
mod client;
mod language;
mod report;
mod script;
pub mod suite;
mod wire;

pub use alone::{Rows, transaction};
pub use app::{App, LogLine};
pub use cases::{CALLS, Case, cases};
pub use client::{Client, Handler, Http, Response, Tcp};
pub use language::{Language, is_available};
pub use report::{Report, Table};
pub use script::{Script, Way};
pub use wire::{Answer, frame, items, list};

use std::time::{Duration, Instant};

/// What is to come soon comes within this time, or not at all.
const PATIENCE: Duration = Duration::from_secs(20);

/// Tries until `attempt` gives a value; the error is its last one.
fn until<T>(what: &str, mut attempt: impl FnMut() -> Result<T, String>) -> Result<T, String> {
    let end = Instant::now() + PATIENCE;
    loop {
        match attempt() {
            Ok(value) => return Ok(value),
            Err(why) if Instant::now() > end => {
                return Err(format!("{what}: not within {} s: {why}", PATIENCE.as_secs()));
            }
            Err(_) => std::thread::sleep(Duration::from_millis(20)),
        }
    }
}

/// An error with the words unless the condition holds.
fn ensure(holds: bool, why: impl FnOnce() -> String) -> Result<(), String> {
    if holds { Ok(()) } else { Err(why()) }
}
