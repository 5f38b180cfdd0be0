//! What a node keeps on disk: its [`Folder`], the [`Log`] of its Raft groups and the [`Data`] that the log describes.
//!
//! The log is the truth: a vote or an entry is acknowledged only after the fsync of the frame that holds it. The data follows
//! behind without fsyncs of its own; [`Data::persist`] makes it durable before the log is purged.
//!
//! Invariants:
//! - After the first failed write or fsync, nothing more is acknowledged and nothing is tried again: the state of the pages in
//!   memory is unknown from then on, and an fsync that succeeds after one that failed proves nothing.
//! - What was acknowledged is there after a restart, or the restart is refused. A log never opens with less than it promised,
//!   except where the loss cannot be told from a write that was never acknowledged.
//!
//! Only this room names fjall. Deliberately absent: what entries, votes and rows mean, and when to purge.

pub mod data;
mod failure;
pub mod folder;
pub mod key;
pub mod log;
#[cfg(any(test, feature = "simulation"))]
pub mod simulation;
pub mod write;

pub use data::{Batch, Data, DataError, DataSnapshot, Rows};
pub use failure::Failure;
pub use folder::{Folder, FolderError, KnownMember};
pub use log::{GroupLog, Log, LogError, LogOptions, LogStats, Pin, Pins, Relocation};
pub use write::Write;
