//! The lowest room: what every other room stands on, and the only one that may touch the ambient clock, the operating
//! system's randomness or `tokio::spawn`.
//!
//! Invariant: whatever makes two runs differ (time, randomness, scheduling of tasks) enters through [`clock`],
//! [`random`] and [`task`]. `.clippy.toml` bans the ambient ways everywhere else, so that a simulation can take their
//! place. Deliberately absent: anything about storage, consensus, guests or the network, but for what an address is ([`endpoint`]).

pub mod clock;
pub mod codec;
pub mod endpoint;
pub mod ids;
pub mod random;
#[cfg(feature = "simulation")]
pub mod simulation;
pub mod task;

pub use clock::Clock;
pub use codec::{DecodeError, Reader, Writer};
pub use endpoint::Endpoint;
pub use ids::{AppId, CopyId, Digest, GroupId, KeyspaceId, NodeId, PartitionId};
pub use task::{Runtime, Shutdown, Tasks};
