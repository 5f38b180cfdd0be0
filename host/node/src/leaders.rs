//! Who leads the groups that have no replica here, for operators who ask this node about the whole cluster.
//!
//! Calls do not need this: they find their leader by asking a member. But a node without calls would know of no leader but those of
//! its own groups, and would report the others as without one. So it asks members of those groups for the leaders that they know:
//! at once while one is unknown or does not answer, and else every [`REFRESH_EVERY`]. What it has learned may be that old.
//!
//! Bounded: at most [`ASKED_MAX`] nodes are asked at a time, in turns; a node of a group answers for all groups it has replicas of.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::future::join_all;
use parking_lot::Mutex;
use recoil_base::{GroupId, NodeId};
use recoil_cluster::{MetaState, Service};
use serde::{Deserialize, Serialize};

use crate::node::Parts;

const LOOK_EVERY: Duration = Duration::from_millis(500);
/// How old what is known of a leader that answers may become.
const REFRESH_EVERY: Duration = Duration::from_secs(5);
const ASK_TIMEOUT: Duration = Duration::from_secs(1);
const ASKED_MAX: usize = 8;

/// The leaders of groups without a replica here, as members of them have said.
#[derive(Default)]
pub(crate) struct Leaders {
    known: Mutex<HashMap<GroupId, NodeId>>,
}

/// The groups open on the node that answers, with their leaders.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Answer {
    leaders: Vec<(GroupId, NodeId)>,
}

impl Parts {
    /// The node that leads a group, as far as this one knows.
    pub(crate) fn leader_of(&self, group: GroupId) -> Option<NodeId> {
        match self.host.group(group) {
            Some(open) => open.leader(),
            None => self.leaders.known.lock().get(&group).copied(),
        }
    }
}

/// The nodes to ask: for each group that is elsewhere and in use, a member that answers, the known leader if it is one. `turn` begins at
/// another node each time, where there are more than may be asked.
fn asked(
    state: &MetaState,
    wanted: impl Fn(GroupId) -> bool,
    leader: impl Fn(GroupId) -> Option<NodeId>,
    is_live: impl Fn(NodeId) -> bool,
    turn: usize,
) -> Vec<NodeId> {
    let mut nodes: BTreeSet<NodeId> = BTreeSet::new();
    for (id, record) in state.groups.iter().filter(|(id, _)| wanted(**id)) {
        let known = leader(*id).filter(|node| is_live(*node));
        // One that is asked already answers for this group, too.
        if known.is_none() && record.members.iter().any(|node| nodes.contains(node)) {
            continue;
        }
        nodes.extend(known.or_else(|| record.members.iter().copied().find(|node| is_live(*node))));
    }
    let nodes: Vec<NodeId> = nodes.into_iter().collect();
    let first = if nodes.len() > ASKED_MAX { turn * ASKED_MAX } else { 0 };
    (0..nodes.len().min(ASKED_MAX)).map(|place| nodes[(first + place) % nodes.len()]).collect()
}

/// Asks until the node stops.
pub(crate) async fn follow(parts: Arc<Parts>) {
    let (mut refreshed, mut turn) = (parts.clock.now(), 0usize);
    loop {
        tokio::time::sleep(LOOK_EVERY).await;
        let (state, now) = (parts.states.borrow().clone(), parts.clock.now());
        let is_here = |id: GroupId| state.groups.get(&id).is_some_and(|record| record.members.contains(&parts.node));
        parts.leaders.known.lock().retain(|id, _| state.groups.contains_key(id) && !is_here(*id));
        let is_due = now.saturating_duration_since(refreshed) >= REFRESH_EVERY;
        let known = parts.leaders.known.lock().clone();
        let leader = |id: GroupId| known.get(&id).copied();
        let is_live = |node: NodeId| node != parts.node && parts.peers.is_live(node);
        let wanted = |id: GroupId| {
            !is_here(id) && state.partition_count(id) > 0 && (is_due || leader(id).is_none_or(|node| !is_live(node)))
        };
        let nodes = asked(&state, wanted, leader, is_live, turn);
        if is_due {
            refreshed = now;
        }
        turn = turn.wrapping_add(1) % 1024;
        let answers =
            nodes.into_iter().map(|node| parts.peers.request(node, Service::Leaders, Bytes::new(), ASK_TIMEOUT));
        for answer in join_all(answers).await.into_iter().flatten() {
            let Ok(Answer { leaders }) = serde_json::from_slice(&answer) else { continue };
            let elsewhere = leaders.into_iter().filter(|(id, _)| state.groups.contains_key(id) && !is_here(*id));
            parts.leaders.known.lock().extend(elsewhere);
        }
    }
}

/// Answers which leaders this node knows by its own replicas.
///
/// # Errors
/// The answer cannot be written.
pub(crate) fn serve(parts: &Parts) -> Result<Bytes, String> {
    let leaders = parts.host.groups().into_iter().filter_map(|group| Some((group.id(), group.leader()?))).collect();
    Ok(serde_json::to_vec(&Answer { leaders }).map_err(|error| error.to_string())?.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::departures::tests::state;

    /// Fails if a group is left out, a node is asked in vain or twice, or the nodes beyond the bound never come to their turn.
    #[test]
    fn a_live_member_of_each_group_is_asked() {
        let state = state(5, &[3, 4, 5], 3);
        let ask = |leader: Option<u32>, down: &[u32]| {
            let is_live = |node: NodeId| !down.contains(&node.0);
            let nodes = asked(&state, |_| true, |_| leader.map(NodeId), is_live, 7);
            nodes.into_iter().map(|node| node.0).collect::<Vec<_>>()
        };
        assert_eq!((ask(None, &[]), ask(None, &[3])), (vec![3], vec![4]));
        assert_eq!((ask(Some(5), &[]), ask(Some(5), &[5])), (vec![5], vec![3]));
        assert!(ask(Some(5), &[3, 4, 5]).is_empty());
        assert!(asked(&state, |_| false, |_| None, |_| true, 0).is_empty());
    }
}
