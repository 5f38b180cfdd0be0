//! A Redis server on Recoil.
//!
//! Two halves that share the [`request`] format. The *listener* speaks RESP with a client: it parses pipelines, finds the
//! partition of each key, sends whole pipelines in one crossing and puts the answers in order. The *handler* executes one
//! command, or one batch of them, on its partition as a transaction, and answers RESP bytes that the listener passes on
//! unread wherever it can.
//!
//! ```text
//! resp        the protocol: incremental parser, reply writers
//! command     the table of commands: arity, flags, keys, where each runs
//! request     what a listener sends to a handler
//! listener/   a session: pipeline, fan-out over partitions, MULTI, SCAN, subscriptions, what needs no partition
//! executor    what a handler does with a request: dispatch, batches with conditions
//! keyspace    the rows: layout, expiry, versions, walking in hash order
//! strings, keys, walks   the commands on a partition, by type
//! ```
//!
//! Invariant: a key's commands run on the partition of its hash tag and only touch rows of that key; everything that
//! spans partitions is the listener's. A type of value (lists, hashes, …) is one more file beside [`strings`], entries in
//! [`command`] and [`request::Op`], and element rows as [`keyspace`] describes. Deliberately absent: eviction, scripts,
//! databases other than 0, `MONITOR`.

mod command;
mod executor;
#[cfg(not(target_arch = "wasm32"))]
#[doc(hidden)]
pub mod fuzzing;
mod glob;
mod keys;
mod keyspace;
mod listener;
mod numbers;
mod request;
mod resp;
mod strings;
#[cfg(test)]
mod tests;
mod walks;

use recoil_sdk::{Connection, Error, Handler, Listener, Router, Timer, Transaction};

/// The package: its handler, timer and listener.
pub struct Redis;

impl Handler for Redis {
    fn handle(transaction: &mut dyn Transaction, request: &[u8]) -> Result<Vec<u8>, Error> {
        executor::handle(transaction, request)
    }
}

impl Timer for Redis {
    fn fire(transaction: &mut dyn Transaction, id: &[u8], _payload: &[u8]) -> Result<(), Error> {
        executor::expire(transaction, id)
    }
}

impl Listener for Redis {
    fn serve(connection: &mut dyn Connection, router: &dyn Router) -> Result<(), Error> {
        listener::serve(connection, router)
    }
}

recoil_sdk::export!(Redis: handler, timer, tcp_listener);
