//! Handing leadership to another replica.
//!
//! A transfer ends the lease of the leader that asks for it, so the session is sealed first: from then on nothing is answered from
//! the lease, and nothing is proposed. It begins only once everything proposed has been decided and the successor's log is
//! the leader's: then the successor wins with the first vote, and nobody waits for an election's timeout.
//!
//! openraft never takes a transfer back: a leader that was asked for one refuses proposals and sends no heartbeats until somebody else
//! leads. If nobody comes to lead within [`patience`] (the successor died, or is cut off, and the others may not win), the
//! replica is *stuck*: it must be closed and opened again, as a follower that may be elected like any other.

use std::time::Duration;

use openraft::async_runtime::watch::WatchReceiver;
use recoil_base::NodeId;

use crate::group::GroupOptions;
use crate::raft::{LeaderId, Raft};

/// How long the successor's log may take to become the leader's.
const MATCH_TIMEOUT: Duration = Duration::from_millis(200);

/// Nobody has taken over, and this replica cannot go on.
pub(crate) struct Stuck;

/// How long a transfer may take: the lease that may still hold and an election after it, twice.
pub(crate) fn patience(options: &GroupOptions) -> Duration {
    2 * (options.election_max + options.election_max)
}

/// True while this node leads as `leader`.
pub(crate) fn leads_as(raft: &Raft, leader: LeaderId) -> bool {
    raft.as_leader().is_ok_and(|now| now.to_committed_leader_id() == leader)
}

/// Hands the leadership that this node has as `leader` to `to`, with nothing proposed that is not decided. Does nothing if the log of
/// `to` is not the leader's.
pub(crate) async fn transfer(raft: &Raft, leader: LeaderId, to: NodeId, patience: Duration) -> Result<(), Stuck> {
    let mut metrics = raft.metrics();
    let matched = async {
        loop {
            {
                let now = metrics.borrow_watched();
                let log = now.replication.as_ref().and_then(|all| all.get(&to).copied()).flatten();
                if log.is_some() && log.map(|id| id.index) == now.last_log_index {
                    return true;
                }
            }
            if !leads_as(raft, leader) || metrics.changed().await.is_err() {
                return false;
            }
        }
    };
    if !tokio::time::timeout(MATCH_TIMEOUT, matched).await.unwrap_or(false) {
        tracing::debug!(%to, "leadership is not transferred: the successor's log is behind");
        return Ok(());
    }
    if raft.trigger().transfer_leader(to).await.is_err() {
        return Ok(()); // the group has stopped
    }
    let taken = async { while leads_as(raft, leader) && metrics.changed().await.is_ok() {} };
    tokio::time::timeout(patience, taken).await.map_err(|_| Stuck)
}
