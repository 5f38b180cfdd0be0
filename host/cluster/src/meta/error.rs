//! Why a node cannot follow the meta group, and what its operator can do.

use recoil_base::KeyspaceId;

use super::LEVELS;

/// What stops the node: going on would give it another state than the other replicas have.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MetaError {
    /// The cluster has moved on.
    #[error(
        "the cluster is at feature level {level} and this version understands levels {} to {}: start this node with a version that \
         understands feature level {level}", LEVELS.min, LEVELS.max
    )]
    Level {
        /// The cluster's level.
        level: u32,
    },
    /// An entry was written by a version that knows more, or is damaged.
    #[error(
        "entry {index} of the meta group cannot be read: {why}. The cluster is at feature level {level} and this version understands \
         levels {} to {}: start this node with the version that the other nodes run, or, if they run this one, replace it: start it with an \
         empty data folder, under a new id", LEVELS.min, LEVELS.max
    )]
    Entry {
        /// Its log index.
        index: u64,
        /// What is wrong with it.
        why: String,
        /// The cluster's level.
        level: u32,
    },
    /// A row of a kind that came later.
    #[error(
        "the stored meta state has a row of kind {kind}, which this version does not know: start this node with the version that wrote it \
         or a later one"
    )]
    UnknownRow {
        /// The key's first byte.
        kind: u8,
    },
    /// A row that is damaged or was written by a version that knows more.
    #[error(
        "the row {row} of the stored meta state cannot be read: {why}. Start this node with the version that wrote it or a later one; if it \
         was this one, the data are damaged: replace this node, that is, start it with an empty data folder, under a new id"
    )]
    Row {
        /// What names it.
        row: String,
        /// What is wrong with it.
        why: String,
    },
    /// Rows, but not the one that every entry writes.
    #[error(
        "the stored meta state has {rows} rows and no header, so part of it is lost: replace this node, that is, start it with an empty data \
         folder, under a new id"
    )]
    NoHeader {
        /// How many rows there are.
        rows: usize,
    },
    /// A row that another row names is not there.
    #[error(
        "the stored meta state lacks {what} of keyspace {keyspace}, so part of it is lost: replace this node, that is, start it with an empty \
         data folder, under a new id"
    )]
    Missing {
        /// What is not there.
        what: &'static str,
        /// Where it should be.
        keyspace: KeyspaceId,
    },
}
