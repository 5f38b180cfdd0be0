//! How a listener reaches partitions, wherever their leaders are.
//!
//! [`Router`] is the contract's `router` interface as a trait; [`crate::fake::FakeCluster`] implements it with partitions
//! in memory.

use crate::bindings::platform::recoil::plugin::router as host;
pub use crate::bindings::platform::recoil::plugin::router::{
    Address, Error as CallError, Mode, PartitionInfo, RoutedCall,
};
use crate::storage::Storage;

/// Calls to partitions. Calls to one partition are answered in the order in which they were made.
pub trait Router {
    /// Run the handler of one partition and wait for its answer.
    fn call(&self, call: &RoutedCall) -> Result<Vec<u8>, CallError>;
    /// Many calls in one crossing, the cheapest batch; answers in their order. Each succeeds or fails by itself.
    fn call_many(&self, calls: &[RoutedCall]) -> Vec<Result<Vec<u8>, CallError>>;
    /// Start a call without waiting, to overlap it with other work.
    fn submit(&self, call: &RoutedCall) -> Pending;
    /// Answers of submitted calls in their order, in one crossing.
    fn wait_all(&self, calls: Vec<Pending>) -> Vec<Result<Vec<u8>, CallError>>;
    /// All or nothing across partitions, serializable. All partitions must belong to one Raft group (keys with one
    /// owner always do), otherwise [`CallError::Rejected`].
    fn transact(&self, calls: &[RoutedCall]) -> Result<Vec<Vec<u8>>, CallError>;
    /// One call to every partition, answers in partition order. Not a transaction.
    fn scatter(&self, request: &[u8], mode: Mode) -> Vec<Result<Vec<u8>, CallError>>;
    /// The partition that owns `key`, and where it is.
    fn locate(&self, key: &[u8]) -> PartitionInfo;
    /// Every partition, in the order of their ids.
    fn partitions(&self) -> Vec<PartitionInfo>;
    /// The package's data as a listener has it: each call is one linearizable operation on the partition that owns the key. Ranges go over
    /// all partitions in key order, one operation each, and many entries are atomic on each partition only.
    fn storage(&self) -> Box<dyn Storage + '_>;
    /// What handlers of this package publish on `topic` from now on, at most once.
    fn subscribe(&self, topic: &[u8]) -> Subscription;
}

/// The host's router, for code that no trait of this crate hands one: a component that exports `wasi:http/incoming-handler`
/// beside its handler. In a partition's handler every call through it is rejected.
#[cfg(target_arch = "wasm32")]
pub fn host() -> impl Router {
    crate::host::HostRouter
}

impl RoutedCall {
    /// A call to the owner of `key` that may write.
    pub fn write(key: &[u8], request: Vec<u8>) -> Self {
        RoutedCall { to: Address::Key(key.to_vec()), request, mode: Mode::Write }
    }

    /// A linearizable read from the owner of `key`.
    pub fn read(key: &[u8], request: Vec<u8>) -> Self {
        RoutedCall { to: Address::Key(key.to_vec()), request, mode: Mode::Read }
    }

    /// A call to a partition by its id.
    pub fn to_partition(id: u32, request: Vec<u8>, mode: Mode) -> Self {
        RoutedCall { to: Address::Partition(id), request, mode }
    }
}

/// A call under way. Dropping it forgets the answer, not the call.
pub struct Pending(pub(crate) PendingKind);

pub(crate) enum PendingKind {
    Host(host::Pending),
    #[cfg(not(target_arch = "wasm32"))]
    Fake(Result<Vec<u8>, CallError>),
}

impl Pending {
    /// True when [`Pending::wait`] would not block.
    pub fn is_ready(&self) -> bool {
        match &self.0 {
            PendingKind::Host(pending) => pending.is_ready(),
            #[cfg(not(target_arch = "wasm32"))]
            PendingKind::Fake(_) => true,
        }
    }

    /// The answer.
    pub fn wait(self) -> Result<Vec<u8>, CallError> {
        match self.0 {
            PendingKind::Host(pending) => host::wait(pending),
            #[cfg(not(target_arch = "wasm32"))]
            PendingKind::Fake(answer) => answer,
        }
    }
}

/// Messages of one topic, from the moment of subscribing until this is dropped. A subscriber more than 1,024 messages
/// behind loses some.
pub struct Subscription(pub(crate) SubscriptionKind);

pub(crate) enum SubscriptionKind {
    Host(host::Subscription),
    #[cfg(not(target_arch = "wasm32"))]
    Fake(crate::fake::Queue),
}

impl Subscription {
    /// The next message; none when `timeout_ms` have passed without one.
    pub fn next(&self, timeout_ms: u32) -> Option<Vec<u8>> {
        match &self.0 {
            SubscriptionKind::Host(subscription) => subscription.next(timeout_ms),
            #[cfg(not(target_arch = "wasm32"))]
            SubscriptionKind::Fake(queue) => queue.borrow_mut().pop_front(),
        }
    }
}
