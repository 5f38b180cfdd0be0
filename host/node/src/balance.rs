//! Keeping partitions where they should be: the meta leader's rounds around [`recoil_cluster::planner`].
//!
//! Once a second the meta leader looks at the cluster. It
//! - marks members that have been silent for too long as lost, and takes the mark back when they answer,
//! - removes groups that nothing uses,
//! - asks the planner which partitions of each keyspace should move, and begins the moves. What then drives them is the same as after an operator's
//!   command ([`crate::moves`]).
//!
//! A member is marked as lost only if this node *and* a majority of the live members have seen it silent for
//! [`ClusterSettings::repair_after_s`](recoil_cluster::meta::ClusterSettings), each by its own count: so a cut in one direction, or of one node from
//! another, moves nothing. And only while a majority of the members that were not lost before answers this node: the smaller
//! side of a cut cluster takes nobody for lost, nor begins any move.
//!
//! Everything is proposed as a change of the meta state that repeats harmlessly and is checked again where it is applied. A new
//! meta leader begins with nothing but the state, and its own count of who is silent.
//!
//! Bounded: [`MOVES_MAX`] moves under way, [`MOVES_A_NODE_MAX`] that copy rows to one node; a question for all members.

use std::collections::BTreeSet;
use std::time::Duration;

use bytes::Bytes;
use futures::future::join_all;
use recoil_base::{KeyspaceId, NodeId, PartitionId, task};
use recoil_cluster::meta::{MEMBERS_MAX, MOVES_AN_ENTRY_MAX};
use recoil_cluster::planner::{Budget, Planned, View, plan_all};
use recoil_cluster::{MetaCommand, MetaState, Service};
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use crate::node::Parts;

/// Between two looks.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Moves under way at a time: a batch of one entry, about.
const MOVES_MAX: usize = 48;
/// Of these, how many may copy rows to one node, which fetches one partition after the other.
const MOVES_A_NODE_MAX: usize = 24;
const ASK_TIMEOUT: Duration = Duration::from_secs(1);

/// How long have these members been silent?
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Question {
    nodes: Vec<NodeId>,
}

/// For each member of the question: looks, of which there is one a second, at which it was silent, up to now.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Answer {
    looks: Vec<u32>,
}

/// What the meta leader remembers between two looks.
#[derive(Default)]
pub(crate) struct Balancer {
    looked: Option<Instant>,
    /// The state's index and the live members with which nothing was to be planned.
    at_rest: Option<(u64, BTreeSet<NodeId>)>,
}

impl Balancer {
    /// One look, if it is due. For the meta leader.
    pub(crate) async fn look(&mut self, parts: &Parts) {
        let now = parts.clock.now();
        if self.looked.is_some_and(|last| now.saturating_duration_since(last) < LOOK_EVERY) {
            return;
        }
        self.looked = Some(now);
        let state = parts.states.borrow().clone();
        if state.keyspaces.is_empty() {
            return;
        }
        let live: BTreeSet<NodeId> = state.members.keys().copied().filter(|node| parts.peers.is_live(*node)).collect();
        let counted: Vec<&NodeId> = state.members.keys().filter(|node| !state.is_lost(**node)).collect();
        if 2 * counted.iter().filter(|node| live.contains(**node)).count() <= counted.len() {
            return;
        }
        let mut due = marks(parts, &state, &live).await;
        let unused = state.unused_groups();
        due.extend((!unused.is_empty()).then_some(MetaCommand::RemoveGroups { groups: unused }));
        for command in due {
            make(parts, &command).await;
        }
        self.plan(parts, live).await;
    }

    /// Begins the moves that should begin now.
    async fn plan(&mut self, parts: &Parts, live: BTreeSet<NodeId>) {
        let state = parts.states.borrow().clone();
        let now = (state.header.index, live);
        if state.settings.is_paused || state.moves.size() >= MOVES_MAX || self.at_rest.as_ref() == Some(&now) {
            return;
        }
        let budget = Budget { cluster: MOVES_MAX, node: MOVES_A_NODE_MAX };
        let views = View::all(&state, |node| now.1.contains(&node), budget);
        // With many partitions it takes a while.
        let Ok(moves) = task::spawn_blocking(move || plan_all(&views)).await else { return };
        self.at_rest = moves.is_empty().then_some(now);
        for (planned, partitions) in together(moves) {
            let to = planned.to.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ");
            tracing::info!(to, count = partitions.len(), why = %planned.why, "partitions are to move");
            for some in partitions.chunks(MOVES_AN_ENTRY_MAX) {
                let (keyspace, to) = (planned.keyspace, planned.to.clone());
                make(parts, &MetaCommand::Move { keyspace, partitions: some.to_vec(), to }).await;
            }
        }
    }
}

/// Partitions that go to the same replica set, in the order of the first of each.
fn together(moves: Vec<Planned>) -> Vec<(Planned, Vec<PartitionId>)> {
    let mut all: Vec<(Planned, Vec<PartitionId>)> = Vec::new();
    let key = |planned: &Planned| -> (KeyspaceId, Vec<NodeId>) { (planned.keyspace, planned.to.clone()) };
    for planned in moves {
        let partition = planned.partition;
        match all.iter_mut().find(|(first, _)| key(first) == key(&planned)) {
            Some((_, partitions)) => partitions.push(partition),
            None => all.push((planned, vec![partition])),
        }
    }
    all
}

async fn make(parts: &Parts, command: &MetaCommand) {
    if let Err(error) = parts.change(command).await {
        // Most often an operator was faster, or a node has gone: the next look sees it.
        tracing::debug!(%error, "what the placement of partitions asks for could not be recorded; it is looked at again");
    }
}

/// The members whose mark is to change.
async fn marks(parts: &Parts, state: &MetaState, live: &BTreeSet<NodeId>) -> Vec<MetaCommand> {
    let returned = state.lost.keys().copied().filter(|node| live.contains(node));
    let mut due: Vec<_> = returned.map(|node| MetaCommand::MarkReturned { node }).collect();
    let looks = state.settings.repair_after_s;
    let is_silent = |node: &NodeId| !live.contains(node) && !state.is_lost(*node) && parts.silence.of(*node) >= looks;
    let silent: Vec<NodeId> = state.members.keys().copied().filter(is_silent).collect();
    if silent.is_empty() {
        return due;
    }
    let body: Bytes = match serde_json::to_vec(&Question { nodes: silent.clone() }) {
        Ok(body) => body.into(),
        Err(_) => return due,
    };
    let others = live.iter().filter(|node| **node != parts.node);
    let asked = others.map(|node| parts.peers.request(*node, Service::Silence, body.clone(), ASK_TIMEOUT));
    let answers: Vec<Vec<u32>> = join_all(asked)
        .await
        .into_iter()
        .filter_map(|answer| Some(serde_json::from_slice::<Answer>(&answer.ok()?).ok()?.looks))
        .collect();
    for (place, node) in silent.into_iter().enumerate() {
        let Some(member) = state.members.get(&node).filter(|_| is_lost(place, looks, &answers, live.len())) else {
            continue;
        };
        tracing::warn!(%node, looks, "a majority of the live members have not heard from the node; its replicas are to be replaced");
        due.push(MetaCommand::MarkLost { node, incarnation: member.incarnation, start: member.start });
    }
    due
}

/// Whether a majority of the live members, of which the asker is one and has seen it, have seen a member silent for long enough.
fn is_lost(place: usize, looks: u32, answers: &[Vec<u32>], live: usize) -> bool {
    let witnesses = answers.iter().filter(|answer| answer.get(place).is_some_and(|silent| *silent >= looks)).count();
    2 * (witnesses + 1) > live
}

/// Says how long members have been silent, as this node has seen it.
pub(crate) fn serve_silence(parts: &Parts, body: &[u8]) -> Result<Bytes, String> {
    let Question { nodes } = serde_json::from_slice(body).map_err(|error| error.to_string())?;
    if nodes.len() > MEMBERS_MAX {
        return Err(format!("a question about {} nodes; a cluster has at most {MEMBERS_MAX}", nodes.len()));
    }
    let looks = nodes.into_iter().map(|node| parts.silence.of(node)).collect();
    Ok(serde_json::to_vec(&Answer { looks }).map_err(|error| error.to_string())?.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Fails if one node's word, or that of a minority, is enough to replace another one's replicas.
    #[test]
    fn a_member_is_lost_only_by_the_word_of_a_majority() {
        let lost = |answers: &[&[u32]], live| {
            is_lost(1, 300, &answers.iter().map(|answer| answer.to_vec()).collect::<Vec<_>>(), live)
        };
        assert!(!lost(&[&[0, 0], &[0, 0]], 3), "the others hear it");
        assert!(lost(&[&[0, 300], &[0, 0]], 3), "two of three do not");
        assert!(!lost(&[&[0, 299], &[0, 0]], 3), "not for long enough");
        assert!(!lost(&[&[0, 300]], 4) && lost(&[&[0, 300], &[0, 300]], 4), "half is no majority");
        assert!(!lost(&[&[300]], 3) && !lost(&[], 2), "who does not answer is no witness");
        assert!(lost(&[], 1), "it is alone");
    }

    /// Fails if partitions with the same target need an entry each, or the order of urgency is lost.
    #[test]
    fn partitions_with_one_target_move_together() {
        let planned = |partition, to: &[u32]| Planned {
            keyspace: KeyspaceId(1),
            partition: PartitionId(partition),
            to: to.iter().copied().map(NodeId).collect(),
            why: recoil_cluster::planner::Why::Load,
        };
        let all = together(vec![planned(5, &[1, 2]), planned(1, &[2, 1]), planned(7, &[1, 2])]);
        let shown: Vec<_> =
            all.iter().map(|(first, all)| (first.to[0].0, all.iter().map(|p| p.0).collect::<Vec<_>>())).collect();
        assert_eq!(shown, [(1, vec![5, 7]), (2, vec![1])]);
    }
}
