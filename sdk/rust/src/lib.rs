//! Write a Recoil package in Rust.
//!
//! A package is a WebAssembly component. What it *exports* are its roles: a [`Handler`] owns data, one instance for each
//! partition, each request a transaction; a [`Timer`] is told when time has come; a [`Listener`] speaks a network
//! protocol and sends requests to partitions; an [`HttpHandler`] answers HTTP requests; an [`Admin`] has commands for
//! operators; a [`Scheduler`] decides where partitions live.
//! [`export!`] exports the roles you name and no other.
//!
//! ```
//! use recoil_sdk::{Error, Handler, Transaction};
//!
//! /// Counts requests for each key.
//! struct Counter;
//!
//! impl Handler for Counter {
//!     fn handle(transaction: &mut dyn Transaction, request: &[u8]) -> Result<Vec<u8>, Error> {
//!         let seen = match transaction.get(request)? {
//!             Some(value) => u64::from_be_bytes(value.try_into().map_err(|_| Error::new("a damaged counter"))?),
//!             None => 0,
//!         };
//!         transaction.put(request, &(seen + 1).to_be_bytes())?;
//!         Ok((seen + 1).to_string().into_bytes())
//!     }
//! }
//!
//! recoil_sdk::export!(Counter: handler);
//!
//! // The same code runs on an in-memory partition, natively, in a unit test:
//! let mut partition = recoil_sdk::fake::FakePartition::new();
//! assert_eq!(partition.write::<Counter>(b"apple").unwrap(), b"1");
//! assert_eq!(partition.write::<Counter>(b"apple").unwrap(), b"2");
//! ```
//!
//! Invariant: package code reaches the host through the traits [`Transaction`], [`Router`] and [`Connection`] and
//! through nothing else, so that [`fake`] can take the host's place in a test. Deliberately absent: `async` (the contract
//! is blocking, an instance is cheap, and overlap comes from [`Router::call_many`]), serialization (bring your own, or use
//! [`encoding`]) and anything that would need the host's crates.

extern crate self as recoil_sdk; // the bindings name this crate as a package does

pub mod admin;
#[allow(missing_docs, unreachable_pub, unused_qualifications, clippy::all)]
#[doc(hidden)]
pub mod bindings;
pub mod connection;
pub mod consensus;
pub mod encoding;
#[cfg(not(target_arch = "wasm32"))]
pub mod fake;
mod host;
pub mod http;
pub mod log;
pub mod roles;
pub mod router;
pub mod scheduler;
pub mod settings;
pub mod storage;
pub mod transaction;

#[doc(hidden)]
pub use wit_bindgen::rt as wit_bindgen_rt;

pub use admin::Command;
pub use connection::{Connection, ConnectionError, Event};
pub use http::{HttpRequest, HttpResponse};
pub use roles::{Admin, Error, Handler, HttpHandler, Listener, Scheduler, Timer};
pub use router::{Address, CallError, Mode, PartitionInfo, Pending, RoutedCall, Router, Subscription};
pub use storage::{Entry, KeyRange, Storage, StorageError, StorageExt};
pub use transaction::{PartitionPlace, Transaction};

/// The examples of the README compile.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
pub struct Readme;
