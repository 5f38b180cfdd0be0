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
//! keyspace/   the rows: layout, expiry, versions, walking in hash order, databases
//! cleaner     removes the rows of collections that are gone
//! arguments   integers, floats, keywords, options
//! strings, keys, walks   the commands on a partition, by type
//! elements    hashes, sets and sorted sets: inline or in rows; hash, set, zset/ are their commands,
//!             scans and sampling what they have in common
//! blocking/   commands that wait, and serving them at the end of a transaction
//! scripts/     scripts and functions: the engine, what they call, Redis' libraries for them
//! dump/       DUMP and RESTORE in Redis' format; sort SORT
//! streams/    streams, their groups and XREAD
//! pubsub      publishing
//! list/       lists, bits/ bitmaps, hll HyperLogLog, geo/ places, lcs
//! ```
//!
//! Invariant: a key's commands run on the partition of its hash tag (or of its database, see `listener::places`) and only touch rows of that key; everything that
//! spans partitions is the listener's. A type of value is one more file beside [`strings`], entries in [`command`] and
//! [`request::Op`], and element rows as [`keyspace`] describes. Deliberately absent: eviction, `MONITOR`.

mod arguments;
mod bits;
mod blocking;
mod cleaner;
mod command;
mod dump;
mod elements;
mod executor;
#[cfg(not(target_arch = "wasm32"))]
#[doc(hidden)]
pub mod fuzzing;
mod geo;
mod glob;
mod hash;
mod hll;
mod keys;
mod keyspace;
mod lcs;
mod list;
mod listener;
mod numbers;
mod pubsub;
mod request;
mod resp;
mod sampling;
mod scans;
mod scripts;
mod set;
mod sort;
mod streams;
mod strings;
#[cfg(test)]
mod tests;
mod walks;
mod zset;

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
        executor::fire(transaction, id)
    }
}

impl Listener for Redis {
    fn serve(connection: &mut dyn Connection, router: &dyn Router) -> Result<(), Error> {
        listener::serve(connection, router)
    }
}

recoil_sdk::export!(Redis: handler, timer, tcp_listener);
