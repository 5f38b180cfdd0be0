//! Raft groups: one per replica set, and the meta group.
//!
//! Only this room names openraft. A [`Group`] is one replica of one Raft group on this node: its log lives in
//! [`recoil_storage::Log`], shared with the node's other groups, its data in [`recoil_storage::Data`], and its messages travel
//! by a [`Transport`] that the room above provides.
//!
//! The way of a write: [`Session::append`] puts the evaluated writes of one call into the open batch of the group's leader;
//! the group's one proposer task turns a batch into one log entry ([`command`]), a few in flight; its commit releases
//! the answers in order; the node's [`Applier`] thread brings it to the data ([`machine`]).
//!
//! Invariants, each with the hole it closes:
//! - **Chain.** A proposal can be refused (the lease ran out) and a later one of the same leader accepted, though it was
//!   evaluated on the refused one's writes. So each entry carries (leader id, chain number), and every replica treats an
//!   entry whose number is not the last applied one's successor as empty. A refused or lost proposal seals the session;
//!   the next one starts with an entry that begins a new chain and must be applied before anything is evaluated.
//! - **Fence.** The leader id is captured before evaluation starts and goes with every proposal, from one task per group.
//! - **Start of a term.** A session opens only after a ReadIndex in its own term and after its chain start is applied here.
//! - **Answered calls.** An entry carries the numbers and answers of the calls that wrote it, so that a call asked again after its
//!   leader was lost is answered, and not applied again ([`answered`]).
//! - **Versions.** A chain says which package versions evaluate it; an entry evaluated by another is not applied.
//! - **Transfer.** Nothing but the leader itself ends its lease, and only with its session sealed and settled ([`transfer`]).
//! - **Order of applying.** Applied id, membership, chain, ownership and the data they describe change in one batch.
//! - **Ownership.** Which partitions a group owns is decided by its own log ([`ownership`]), and an entry that writes to one which it does
//!   not own, or owns in another epoch, is not applied. What that means for the copies here is in [`handoff`]; what a group writes to a
//!   copy that is not complete is kept in its [`stash`] until the rows have been [`fetch`]ed.
//! - **Purge** follows only after the data up to that index has been persisted, in this start of the node, and is asked for by the
//!   [`keeper`] of the node's log. Should they be lost later all the same, they are brought
//!   back from another replica before the group opens ([`repair`]).
//!
//! Deliberately absent: what the data means, who may call, where partitions live.

pub mod answered;
pub mod beginning;
pub mod command;
mod deferred;
mod fetch;
#[cfg(test)]
mod fixtures;
#[doc(hidden)]
pub mod fuzzing;
pub mod group;
mod handoff;
pub mod keeper;
pub mod local;
mod log_store;
pub mod machine;
mod messages;
mod network;
pub mod ownership;
pub mod pulse;
pub mod raft;
pub mod recovery;
pub mod repair;
pub mod session;
mod sleep;
mod snapshot;
mod stash;
mod transfer;

pub use answered::{AnsweredCall, Known, Origin, OriginRecord};
pub use beginning::begin_log;
pub use command::{AppWrites, Command, PartitionRef, PartitionWrites};
pub use fetch::{FetchError, FetchFrom, FetchPace};
pub use group::{Group, GroupContext, GroupNumbers, GroupOptions, Leadership, ProposeError, TransferStuck, Versions};
pub use keeper::LogKeeper;
pub use local::{CopyRow, CopyState, Local, Locals, LocalsError, PartitionState, remove_group};
pub use machine::{Applier, CustomMachine, MachineKind};
pub use network::{Transport, TransportError};
pub use ownership::{Decision, Move, Ownership, OwnershipChange, Phase, ReleasePoint};
pub use pulse::Pulse;
pub use recovery::{LogEnd, RecoveryError, ReplicaSurvey, continue_alone};
pub use repair::LostData;
pub use session::{Outcome, Session, SessionSealed};
