//! The first entry of a new group's log, which says who votes.
//!
//! Every replica writes it for itself before it opens for the first time, from the group's record in the cluster's state, and all
//! of them write the same: term 0, index 0, under the name of the first member. It is what a leader of term 0 would have replicated.
//!
//! Were it written by one replica and copied to the others by Raft, a group could never get a leader: a replica may grant its vote
//! before it has any entry, openraft lets no replica be initialised that has voted, and one without a membership does not campaign. If the
//! only replica with the entry is lost for good just after the vote, the others wait for it for ever.
//!
//! It is safe to write it after a vote, which happens where a replica granted one and was started again before this was done: the
//! entry is of an earlier term than any vote, and whoever is elected has the same entry at that index.
//!
//! Crash points: a replica that stops before the entry is durable has an empty log, and begins again.

use std::collections::BTreeMap;
use std::io;

use futures::future::BoxFuture;
use openraft::EntryPayload;
use openraft::storage::RaftLogStorage as _;
use recoil_base::{GroupId, NodeId};

use crate::group::{GroupContext, OpenError};
use crate::local::group_key;
use crate::log_store::{LogStore, append_durably};
use crate::raft::{Entry, LeaderId, LogId, Membership};

/// Writes the first entry of a group whose replica here has neither entries nor data; does nothing to any other. `members` are the
/// group's voters in the order of its record. Called before the replica opens, and only for a group that is not recorded
/// as initialised: the log of one that is may be empty because it has been lost.
///
/// # Errors
/// The log or the data cannot be read or written.
pub fn begin_log<'a>(
    context: &'a GroupContext,
    group: GroupId,
    members: &'a [NodeId],
) -> BoxFuture<'a, Result<(), OpenError>> {
    Box::pin(async move {
        let io = |source| OpenError::Io { group, source };
        let log = context.log.group(group);
        let last = LogStore::new(log.clone()).get_log_state().await.map_err(io)?;
        let data = context.data.clone();
        let read = context.applier.run(move || data.get(&group_key(group)).map_err(io::Error::other));
        let has_data = read.await.map_err(io)?.map_err(io)?.is_some();
        let is_new = last.last_log_id.is_none() && !has_data;
        let Some(first) = members.first().filter(|_| is_new) else { return Ok(()) };
        let nodes: BTreeMap<NodeId, ()> = members.iter().map(|node| (*node, ())).collect();
        let membership = Membership::new(vec![members.iter().copied().collect()], nodes);
        let membership = membership.map_err(|error| io(io::Error::other(error.to_string())))?;
        let log_id = LogId { leader_id: LeaderId { term: 0, node_id: *first }, index: 0 };
        append_durably(&log, &Entry { log_id, payload: EntryPayload::Membership(membership) }).await.map_err(io)
    })
}
