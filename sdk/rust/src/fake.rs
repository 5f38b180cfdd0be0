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

thread_local! {
    static SETTINGS: std::cell::RefCell<std::collections::HashMap<String, String>> = std::cell::RefCell::default();
}

/// From now on the setting `name` has this value, for code that runs on this thread: a test's own.
pub fn set_setting(name: &str, value: &str) {
    SETTINGS.with_borrow_mut(|settings| settings.insert(name.to_owned(), value.to_owned()));
}

pub(crate) fn setting(name: &str) -> Option<String> {
    SETTINGS.with_borrow(|settings| settings.get(name).cloned())
}
