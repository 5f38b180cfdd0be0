//! The cluster: what its nodes agree on, where partitions live, how calls reach them and how they are evaluated there.
//!
//! - [`meta`]: members, map, groups, packages, apps: the state of the meta group.
//! - [`placement`]: the map made from members, and [`plan`]: by a package's scheduler; [`routing`]: the table made from the map.
//! - [`peers`]: the way to other nodes; [`peer`]: TCP streams between them; [`clocks`]: what their clocks say; [`calls`] and [`topics`]: what travels on them beside Raft.
//! - [`router`]: a listener's call → node; [`evaluate`]: mailbox, overlay, instance → session.
//!
//! The evaluator stands here, above both `engine` and `consensus`, because it is where the two meet: it runs the one's instances under the
//! other's sessions. Deliberately absent: sockets of clients, HTTP, the life of a node.

pub mod calls;
pub mod clocks;
pub mod evaluate;
#[cfg(test)]
mod fixtures;
#[doc(hidden)]
pub mod fuzzing;
pub mod meta;
pub mod moves;
mod outbox;
pub mod peer;
pub mod peers;
pub mod placement;
pub mod plan;
pub mod planner;
pub mod router;
pub mod routing;
mod timers;
pub mod topics;

pub use clocks::PeerClocks;
pub use evaluate::{EvaluatedApp, EvaluationPool, Host, HostParts, SharedInstances, Usage};
pub use meta::{MetaCommand, MetaError, MetaState};
pub use peer::{PeerService, Service, TcpPeers};
pub use peers::{PeerNetwork, Peers};
pub use router::Router;
pub use routing::RoutingTable;
pub use topics::Topics;
