//! What a group needs when a node leaves the cluster: its leadership handed over, and its place in the membership given up.
//!
//! Both are for groups with a custom machine, which have no sessions; a group of partitions hands its leadership over by its
//! session, and its membership never changes.

use std::collections::BTreeSet;

use futures::future::BoxFuture;
use openraft::ChangeMembers;
use recoil_base::NodeId;

use super::{Group, GroupOptions, ProposeError};
use crate::transfer::{self, Stuck};

/// A transfer of leadership that nobody took up. The replica does nothing more until it is closed and opened again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("nobody took the leadership over, and this replica must be opened again")]
pub struct TransferStuck;

impl Group {
    /// Hands the leadership to `to`, if this replica has it and `to` lacks nothing of the log. Answers whether another one leads then.
    ///
    /// # Errors
    /// The replica must be closed and opened again.
    pub fn transfer_to(&self, to: NodeId, options: &GroupOptions) -> BoxFuture<'_, Result<bool, TransferStuck>> {
        let patience = transfer::patience(options);
        Box::pin(async move {
            let Ok(leader) = self.raft.as_leader() else { return Ok(false) };
            let leader = leader.to_committed_leader_id();
            transfer::transfer(&self.raft, leader, to, patience).await.map_err(|Stuck| TransferStuck)?;
            Ok(!transfer::leads_as(&self.raft, leader))
        })
    }

    /// Takes a member that does not vote out of the group. Leader only.
    ///
    /// # Errors
    /// It votes, or the outcome is not known.
    pub fn remove_learner(&self, node: NodeId) -> BoxFuture<'_, Result<(), ProposeError>> {
        Box::pin(async move {
            let change = ChangeMembers::RemoveNodes(BTreeSet::from([node]));
            let changed = self.raft.change_membership(change, true).await;
            changed.map(drop).map_err(|error| ProposeError::Unknown(error.to_string()))
        })
    }
}
