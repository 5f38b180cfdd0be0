//! The engine: compiles packages and runs their instances.
//!
//! Only this room names wasmtime. It turns a component into [`AppCode`], code into [`HandlerInstance`]s (one per partition, or
//! shared by them, called synchronously on evaluation threads), into listener instances (one per connection, on fibers, [`AppCode::serve`]),
//! into HTTP instances (one per request under way, on fibers, [`HttpService`]), into commands for operators ([`AppCode::run_command`]) and
//! into plans ([`AppCode::plan`]), and gives all of them what the contract in `wit/` promises.
//!
//! What a handler reads and writes is a [`Transaction`] over a [`View`]: evaluation is pure, its result is data ([`Effects`]),
//! and the rooms above replicate it. [`Overlay`] holds writes that are on their way. What a listener asks of partitions
//! leaves through a [`Router`].
//!
//! Invariants:
//! - A trap, a deadline or an exhausted memory costs one instance and one call, never the process or another app.
//! - A failed call leaves no effect: its transaction is empty when it comes back.
//! - Nothing a guest says is believed: sizes, counts and times are checked here, and what a guest may make the host hold
//!   is bounded.
//! - Numbers handed to guests stay exact in JavaScript: below 2^53, and 2^31 for 32 bits.
//!
//! Deliberately absent: Raft, disks, sockets' acceptance, placement. Which partition leads where is the router's knowledge.

pub mod admin;
mod app_log;
mod bindings;
pub mod call;
mod code;
mod engine;
mod environment;
mod handler;
mod http;
mod limits;
mod listener;
mod overlay;
pub mod scheduler;
mod ticker;
pub mod timers;
mod transaction;
mod trap;
mod wasi;

pub use app_log::{AppLog, AppLogOptions, LogLevel, LogLine};
pub use call::{Address, CallBody, CallError, Mode, RoutedCall, decode_values, relative_key};
pub use code::{AppCode, Roles};
pub use engine::{Engine, EngineError, EngineOptions, EngineStats};
pub use environment::{Environment, Settings};
pub use handler::HandlerInstance;
pub use http::incoming::HttpBody;
pub use http::{HttpError, HttpRequest, HttpResponse, HttpService};
pub use limits::{Limit, Limits, TABLE as LIMITS};
pub use listener::{BoxFuture, PartitionInfo, Router, ServeError};
pub use overlay::Overlay;
pub use transaction::{
    ConsensusAccess, Effects, GroupRole, GroupStatus, KEY_BYTES_MAX, StorageError, Transaction, TransactionInfo,
    TransactionLimits, View, ViewError,
};

/// The largest integer that every language holds exactly: JavaScript's numbers end here.
pub const SAFE_U64_MAX: u64 = (1 << 53) - 1;

/// A 64-bit number as guests may see it.
pub(crate) fn safe_u64(value: u64) -> u64 {
    value.min(SAFE_U64_MAX)
}

/// A 32-bit number as guests may see it.
pub(crate) fn safe_u32(value: u32) -> u32 {
    value.min(i32::MAX as u32)
}
