//! The call that a handler or timer is in: its partition's storage, its time, its timers and what it publishes.

pub use crate::bindings::platform::recoil::plugin::partition::Info as PartitionPlace;
use crate::storage::Storage;

/// One request's transaction on one partition. Every effect of it happens when the request succeeds, or not at all.
pub trait Transaction: Storage {
    /// Which partition this is.
    fn place(&self) -> PartitionPlace;
    /// Microseconds since the Unix epoch: the same throughout the call, and greater than that of every earlier writing
    /// transaction of this partition.
    fn now_us(&self) -> u64;
    /// True when the caller asked for a read; writes then fail with [`crate::StorageError::ReadOnly`].
    fn is_read_only(&self) -> bool;
    /// Have [`crate::Timer::fire`] called with `payload`, not before `at_us` (microseconds since the Unix epoch). The
    /// same `id` replaces. Only in writing transactions of a package that exports `timer`: traps otherwise.
    fn set_timer(&mut self, id: &[u8], at_us: u64, payload: &[u8]);
    /// Cancelling an absent timer is not an error. Only in writing transactions.
    fn cancel_timer(&mut self, id: &[u8]);
    /// Send `message` to every subscriber of `topic` once this transaction has committed, at most once.
    fn publish(&mut self, topic: &[u8], message: &[u8]);
}
