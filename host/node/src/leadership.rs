//! Bringing leadership back to the node that a partition's replicas name first, so that after a failure every node leads its share
//! again.
//!
//! A leader that is not the preferred one asks it, when it has been live for a while, whether it could serve at once: taken in by the
//! cluster, as far as this node in the meta group's log, the group open with all rows, every app compiled. Only then the leadership is handed over
//! (`recoil_consensus`'s `transfer`). What fails is tried again later and later: each try costs the group a moment.
//!
//! A node that is drained or decommissioned is preferred by nobody: the first active member is, in its place. What it leads it hands to
//! any active member that could serve, without waiting for that one to have been live for a while.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use recoil_base::{GroupId, NodeId};
use recoil_cluster::meta::{AppState, GroupRecord, MoveRecord, MoveState};
use recoil_cluster::{MetaState, Service};
use tokio::time::Instant;

use crate::node::Parts;

const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How long the preferred node must have been live.
const SETTLED: Duration = Duration::from_secs(5);
const ASK_TIMEOUT: Duration = Duration::from_secs(1);
/// Pauses between tries for one group.
const RETRY_MIN: Duration = Duration::from_secs(10);
const RETRY_MAX: Duration = Duration::from_secs(300);
/// The same while this node leaves.
const LEAVING_RETRY: Duration = Duration::from_secs(2);

/// When a group's next try may be.
struct Pause {
    until: Instant,
    next: Duration,
}

/// Looks after the leadership of the groups open here until the node stops.
pub(crate) async fn run(parts: Arc<Parts>) {
    let mut live_since: HashMap<NodeId, Instant> = HashMap::new();
    let mut pauses: HashMap<GroupId, Pause> = HashMap::new();
    let mut left = false;
    loop {
        tokio::time::sleep(LOOK_EVERY).await;
        let (state, now) = (parts.states.borrow().clone(), parts.clock.now());
        live_since.retain(|peer, _| {
            let is_live = parts.peers.is_live(*peer);
            if !is_live {
                tracing::warn!(node = %parts.node, %peer, "a node no longer answers");
            }
            is_live
        });
        for peer in state.members.keys().filter(|peer| parts.peers.is_live(**peer)) {
            live_since.entry(*peer).or_insert_with(|| {
                if *peer != parts.node {
                    tracing::info!(node = %parts.node, %peer, "a node answers");
                }
                now
            });
        }
        let leaves = state.is_leaving(parts.node);
        if std::mem::replace(&mut left, leaves) != leaves {
            pauses.clear();
        }
        for (id, record) in &state.groups {
            let heirs = if record.initialised { heirs(&state, record, parts.node) } else { vec![] };
            let session = parts.host.group(*id).and_then(|group| group.session());
            let (false, Some(session)) = (heirs.is_empty(), session) else {
                pauses.remove(id);
                continue;
            };
            let settled = if leaves { Duration::ZERO } else { SETTLED };
            let is_settled = |heir: &NodeId| {
                let since = live_since.get(heir);
                since.is_some_and(|since| now.duration_since(*since) >= settled) && !is_stranger(&state, *id, *heir)
            };
            if pauses.get(id).is_some_and(|pause| pause.until > now) || !heirs.iter().any(is_settled) {
                continue;
            }
            let next = match pauses.get(id) {
                _ if leaves => LEAVING_RETRY,
                Some(pause) => (2 * pause.next).min(RETRY_MAX),
                None => RETRY_MIN,
            };
            pauses.insert(*id, Pause { until: now + next, next });
            for heir in heirs.into_iter().filter(is_settled) {
                let asked = may_lead(*id, state.header.index);
                match parts.peers.request(heir, Service::MayLead, asked, ASK_TIMEOUT).await {
                    Ok(_) => {
                        let why = if leaves { "this node leaves" } else { "it goes back to its preferred node" };
                        tracing::info!(group = %id, to = %heir, why, "leadership is handed over");
                        session.hand_over(heir);
                        break;
                    }
                    Err(error) => tracing::debug!(group = %id, to = %heir, %error, "leadership is not handed over yet"),
                }
            }
        }
    }
}

/// Who should lead a group in place of `node`, which does, in this order: the first active member, unless that is `node` itself. Once
/// `node` is drained or decommissioned, any other active member.
fn heirs(state: &MetaState, record: &GroupRecord, node: NodeId) -> Vec<NodeId> {
    let mut active = record.members.iter().copied().filter(|member| state.is_active(*member));
    if state.is_leaving(node) {
        active.collect()
    } else {
        active.next().filter(|first| *first != node).into_iter().collect()
    }
}

/// True if `node` has yet to take partitions over that move to the group, which another member can do without copying them.
fn is_stranger(state: &MetaState, group: GroupId, node: NodeId) -> bool {
    let members = |group: &GroupId| state.groups.get(group).map(|group| &group.members[..]).unwrap_or_default();
    let lacks = |moving: &MoveRecord| {
        (moving.target, moving.state == MoveState::Flipped) == (group, false)
            && !members(&moving.source).contains(&node)
    };
    state.moves.values().any(lacks)
}

fn may_lead(group: GroupId, index: u64) -> Bytes {
    [&group.0.to_le_bytes()[..], &index.to_le_bytes()].concat().into()
}

/// Whether this node could lead a group at once, as the present leader asks.
pub(crate) fn serve_may_lead(parts: &Parts, body: Bytes) -> Result<Bytes, String> {
    let asked = body.split_first_chunk().and_then(|(group, rest)| Some((group, rest.try_into().ok()?)));
    let (group, index) = asked.ok_or("a question about leading that is not 12 bytes long")?;
    let (group, index) = (GroupId(u32::from_le_bytes(*group)), u64::from_le_bytes(index));
    let state = parts.states.borrow().clone();
    if state.header.index < index || !parts.is_admitted(&state) {
        return Err(format!(
            "not yet: this node knows of the cluster's changes up to {} of {index}",
            state.header.index
        ));
    }
    if parts.host.group(group).is_none_or(|group| group.is_stuck()) {
        return Err(format!("group {group} is not open here"));
    }
    if let Some(partition) = parts.context.locals.lacked_by(group) {
        return Err(format!("this node lacks rows of partition {}", partition.partition));
    }
    let keyspace = state.groups.get(&group).map(|record| record.keyspace);
    let serving = state.apps.iter().filter(|(_, app)| app.state == AppState::Serving && Some(app.keyspace) == keyspace);
    for (name, app) in serving {
        if parts.host.app(app.id).is_none() {
            return Err(format!("app {name} is not ready here"));
        }
    }
    Ok(Bytes::new())
}

#[cfg(test)]
mod tests {
    use recoil_cluster::MetaCommand;
    use recoil_cluster::meta::DEFAULT_KEYSPACE;

    use super::*;

    /// Members 1 to 4, of which some are drained, and a group of 1, 2 and 3.
    fn state(leaving: &[u32]) -> MetaState {
        let mut state = crate::departures::tests::state(4, &[1, 2, 3], 3);
        for node in leaving {
            let (index, command) = (state.header.index + 1, MetaCommand::Drain { node: NodeId(*node) });
            state.apply(index, command, &mut vec![]).unwrap();
        }
        state
    }

    /// Fails if a node that leaves is given leaderships, keeps its own, or gives them to another one that leaves; or if an active leader
    /// gives its own to any but the preferred one.
    #[test]
    fn a_node_that_leaves_hands_over_to_any_active_member_and_gets_nothing() {
        let heirs = |leaving: &[u32], leader: u32| {
            let state = state(leaving);
            let record = state.groups.values().next().unwrap().clone();
            heirs(&state, &record, NodeId(leader)).into_iter().map(|node| node.0).collect::<Vec<_>>()
        };
        assert_eq!((heirs(&[], 1), heirs(&[], 2)), (vec![], vec![1]));
        assert_eq!(heirs(&[1], 1), [2, 3]);
        assert_eq!((heirs(&[1], 2), heirs(&[1], 3)), (vec![], vec![2]));
        assert_eq!(heirs(&[1, 2], 1), [3]);
        assert!(heirs(&[1, 2, 3], 1).is_empty());
    }

    /// Fails if leadership goes to a node that would have to copy what moves to the group.
    #[test]
    fn a_member_that_lacks_what_moves_in_is_passed_over() {
        let mut state = state(&[]);
        let to = [4, 1, 2].map(NodeId).to_vec();
        let command =
            MetaCommand::Move { keyspace: DEFAULT_KEYSPACE, partitions: vec![recoil_base::PartitionId(0)], to };
        state.apply(99, command, &mut vec![]).unwrap();
        let target = *state.groups.keys().max().unwrap();
        assert!(is_stranger(&state, target, NodeId(4)));
        assert!(!is_stranger(&state, target, NodeId(1)) && !is_stranger(&state, GroupId(1), NodeId(4)));
    }
}
