//! The Raft group behind a partition, for handlers that want more than transactions.
//!
//! These are the contract's functions as they are: a handler that uses them is tested on a cluster.

use crate::bindings::platform::recoil::plugin::consensus as host;
pub use host::{GroupStatus, Role};

/// What this replica knows of its group. Handlers only; traps in a listener.
pub fn status() -> GroupStatus {
    host::status()
}

/// Confirms with a quorum that this replica leads and has applied everything committed before the call; answers the
/// applied index. The error says why not (leadership or quorum lost).
pub fn barrier() -> Result<u64, String> {
    host::barrier()
}
