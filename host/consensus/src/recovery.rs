//! Letting one replica continue without a quorum, when the other replicas are gone for good.
//!
//! A group whose majority is lost cannot elect a leader, and Raft has no way out: whatever the lost replicas had agreed on by
//! themselves is unknown. An operator who gives them up may choose a survivor to continue from: [`continue_alone`] appends to its log
//! a membership in which it is the only voter, in a term that no replica of the group has used as far as the survivor knows. Openraft
//! follows the last membership in the log, committed or not; so the replica elects itself when it opens again, and everything in its
//! log counts as committed. etcd's `--force-new-cluster` works in the same way.
//!
//! What is lost: entries that were committed by the lost replicas and had not reached the survivor. Of several survivors the one whose
//! log ends last ([`LogEnd`] has Raft's order) has everything that any of them knows to be committed (Raft §5.4.1), so it must be that one.
//!
//! The lost replicas do not know of this. Started again out of reach of the survivors, they would elect a leader of their own.
//! Keeping them away is up to whoever calls this; the cluster does it by tombstones.
//!
//! Crash points. The vote is durable before the membership is appended, and the membership before this returns: a crash in between
//! leaves a replica that has voted for itself in a term that it did not win, which harms nothing; the operation is repeated. Repeating it
//! after it has come to its end appends the same membership once more.

use std::collections::BTreeSet;
use std::io;

use futures::future::BoxFuture;
use openraft::storage::RaftLogStorage as _;
use openraft::{EntryPayload, RaftLogReader as _};
use recoil_base::{GroupId, NodeId};
use serde::{Deserialize, Serialize};

use crate::group::{Group, GroupContext};
use crate::log_store::{LogStore, append_durably, io_error};
use crate::messages::NUMBER_MAX;
use crate::raft::{Entry, LeaderId, LogId, Membership, Vote};

/// Where a log ends, in the order in which Raft compares logs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LogEnd {
    /// The term of the last entry.
    pub term: u64,
    /// The leader that proposed it.
    pub leader: NodeId,
    /// Its index.
    pub index: u64,
}

/// A replica as it is surveyed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReplicaSurvey {
    /// The voters by the last membership in the log; two sets while a change of them is not finished.
    pub voters: Vec<BTreeSet<NodeId>>,
    /// Where its log ends.
    pub end: LogEnd,
}

impl ReplicaSurvey {
    /// True if `live` are enough to elect a leader and to commit.
    pub fn has_quorum(&self, live: &BTreeSet<NodeId>) -> bool {
        let majority = |voters: &BTreeSet<NodeId>| 2 * voters.intersection(live).count() > voters.len();
        !self.voters.is_empty() && self.voters.iter().all(majority)
    }
}

/// Why a replica does not continue alone.
#[derive(Debug, thiserror::Error)]
pub enum RecoveryError {
    /// It is not what the operator was shown.
    #[error("the log of group {group} ends at term {}, index {} by now: survey the cluster again", end.term, end.index)]
    Changed {
        /// The group.
        group: GroupId,
        /// Where its log ends.
        end: LogEnd,
    },
    /// The log cannot be read or written.
    #[error("group {group}: {source}")]
    Io {
        /// The group.
        group: GroupId,
        /// The cause.
        source: io::Error,
    },
}

async fn end_of(store: &mut LogStore) -> io::Result<LogEnd> {
    let last = store.get_log_state().await?.last_log_id;
    Ok(last.map_or_else(LogEnd::default, |id| LogEnd {
        term: id.leader_id.term,
        leader: id.leader_id.node_id,
        index: id.index,
    }))
}

impl Group {
    /// What this replica knows about the group's voters and where its log ends.
    ///
    /// # Errors
    /// The log cannot be read.
    pub fn survey<'a>(&'a self, context: &'a GroupContext) -> BoxFuture<'a, io::Result<ReplicaSurvey>> {
        Box::pin(async move {
            let end = end_of(&mut LogStore::new(context.log.group(self.id()))).await?;
            Ok(ReplicaSurvey { voters: self.voter_sets(), end })
        })
    }
}

/// Makes this node the only voter of a group whose replica here is closed and whose log ends at `end` or later; `followers` go on without
/// a vote. Returns once that is durable; the group is to be opened again then.
///
/// # Errors
/// The log ends before `end` by now, or cannot be written.
pub fn continue_alone<'a>(
    context: &'a GroupContext,
    group: GroupId,
    end: LogEnd,
    followers: &'a BTreeSet<NodeId>,
) -> BoxFuture<'a, Result<(), RecoveryError>> {
    Box::pin(async move {
        let io = |source| RecoveryError::Io { group, source };
        // What the replica was writing when it was closed is written or refused after this.
        context.log.flush().await.map_err(io_error).map_err(io)?;
        let log = context.log.group(group);
        let mut store = LogStore::new(log.clone());
        let now = end_of(&mut store).await.map_err(io)?;
        // A leader that is left alone may have appended more, which nobody else has.
        if now < end {
            return Err(RecoveryError::Changed { group, end: now });
        }
        let end = now;
        let voted = store.read_vote().await.map_err(io)?.map_or(0, |vote| vote.leader_id.term);
        let term = voted.max(end.term) + 1;
        if term > NUMBER_MAX {
            return Err(io(io::Error::other("its term is one that no group reaches")));
        }
        let vote: Vote = Vote { leader_id: LeaderId { term, node_id: context.node }, committed: false };
        store.save_vote(&vote).await.map_err(io)?;

        let members = followers.iter().copied().chain([context.node]).map(|node| (node, ())).collect();
        let members: std::collections::BTreeMap<NodeId, ()> = members;
        let membership = Membership::new(vec![BTreeSet::from([context.node])], members);
        let membership = membership.map_err(|error| io(io::Error::other(error.to_string())))?;
        let log_id = LogId { leader_id: vote.leader_id, index: end.index + 1 };
        let entry = Entry { log_id, payload: EntryPayload::Membership(membership) };
        append_durably(&log, &entry).await.map_err(io)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Fails if half of the voters counts as a quorum, or only one of two configurations is asked.
    #[test]
    fn a_quorum_is_a_majority_of_each_configuration() {
        let set = |nodes: &[u32]| nodes.iter().copied().map(NodeId).collect::<BTreeSet<_>>();
        let has = |voters: &[&[u32]], live: &[u32]| {
            let voters = voters.iter().map(|nodes| set(nodes)).collect();
            ReplicaSurvey { voters, end: LogEnd::default() }.has_quorum(&set(live))
        };
        assert!(has(&[&[1, 2, 3]], &[1, 3]) && !has(&[&[1, 2, 3]], &[1]) && !has(&[&[1, 2]], &[1]));
        assert!(has(&[&[1]], &[1]) && !has(&[], &[1]), "nobody votes in a group that has not begun");
        assert!(!has(&[&[1, 2, 3], &[3, 4, 5]], &[1, 2, 3]) && has(&[&[1, 2, 3], &[3, 4, 5]], &[1, 3, 4]));
    }

    /// Fails if a longer log of an earlier term counts for more than a shorter one of a later term.
    #[test]
    fn log_ends_have_the_order_of_raft() {
        let end = |term, index| LogEnd { term, leader: NodeId(9), index };
        assert!(end(2, 1) > end(1, 100) && end(2, 5) > end(2, 4) && LogEnd::default() < end(0, 1));
    }
}
