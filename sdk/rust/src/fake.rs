//! The host, in memory: what a package's logic runs on in native unit tests.
//!
//! [`FakePartition`] is one partition: storage, time, timers, published messages, rollback, read-only calls and the
//! contract's limits. [`FakeCluster`] is a router to several of them, divided into groups, so that what a transaction
//! over several groups meets can be tested. [`FakeConnection`] is a client that has already said everything it will say.
//!
//! Invariant: where the contract leaves a choice to the host, the fakes take the one that is harder for the package
//! (short pages, refused transactions); where it promises something, they keep it. Deliberately absent: components,
//! memory limits and deadlines; `recoil-testing` runs the compiled package on a real engine.

mod cluster;
mod connection;
mod partition;

pub use cluster::FakeCluster;
pub use connection::FakeConnection;
pub use partition::{FakePartition, FakeTransaction};

/// Messages that wait for a subscriber.
pub(crate) type Queue = std::rc::Rc<std::cell::RefCell<std::collections::VecDeque<Vec<u8>>>>;
