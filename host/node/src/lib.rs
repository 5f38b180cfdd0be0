//! A node: it puts the rooms together, and is the same under `recoil start` and in the simulator.
//!
//! Everything a node does after its start follows from the meta state: [`addresses`] says where it listens, [`founding`] brings it into a
//! cluster, [`introductions`] finds the other members where they are, [`membership`] makes changes and does the meta leader's chores,
//! of which [`scheduler`] makes the map, [`voters`] says who votes, and [`departures`] lets members go that leave, [`groups`]
//! opens the replicas that the map gives it, [`repair`] has those brought back whose data are lost, [`moves`] moves partitions
//! from one group to another, [`balance`] says which of them should move, [`removal`] deletes replicas of groups that nothing
//! uses any more, [`apps`] makes installed packages ready and switches them on, from the files that [`packages`] keeps, [`admin`]
//! answers operators, of partitions by [`partitions`] and of nodes by [`nodes`]. [`follow`] is the loop over the newest state that
//! most of them hang on. All are idempotent, so that a crash anywhere is
//! resumed by looking again.
//!
//! Invariant: whatever a node has started ends with it; nothing is served before the node has found its cluster. Deliberately
//! absent: evaluation, replication, storage, which stand below.

mod accept;
mod addresses;
mod admin;
mod apps;
mod balance;
mod commands;
mod departures;
mod follow;
mod founding;
mod groups;
mod introductions;
mod keyspaces;
mod leaders;
mod leadership;
mod membership;
mod meta_machine;
mod moves;
mod node;
mod nodes;
mod notice;
mod packages;
mod partitions;
mod recovery;
mod registry;
mod removal;
mod repair;
mod scheduler;
#[cfg(feature = "simulation")]
pub mod simulation;
mod status;
#[cfg(test)]
mod tests;
mod usage;
mod voters;

pub use node::{Admitted, BundledPackage, Compatibility, Hosting, Node, NodeError, NodeOptions, Shared, SharedOptions};
pub use recoil_cluster::meta::{CAPACITY_DEFAULT, Levels, Locality};
pub use recoil_cluster::peer::WireVersions;
pub use recoil_gateway::api;
