//! Members that leave the cluster: what the meta leader does about them, and what a node does that was removed.
//!
//! An operator's command only sets the member's state. From then on every part does its own: the member hands over what it leads
//! ([`crate::leadership`]) and closes its apps' ports ([`crate::apps`]), the planner moves its replicas away, and the meta leader
//! replaces it as a voter ([`crate::voters`]), hands the meta group's leadership over if it is itself the one that leaves, and proposes
//! the removal once nothing refers to a decommissioned member. Each looks at the newest state, so whoever leads next goes on.
//!
//! The end, in this order: the entry that removes the member and leaves its tombstone; the member, which follows the log until then,
//! applies it, marks its folder and stops; [`LEARN_FOR`] later the leader takes it out of the meta group; then every node forgets
//! its address. A member that is down is told by whomever it meets when it comes back, and so is an old copy of its folder.
//!
//! Crash points. Between the removal's entry and the mark in the folder: the next start finds the entry applied or is refused by the
//! other nodes, and marks the folder then or remains without the mark, refused at every start. Between the entry and the change of
//! the meta group: the next leader makes the change. A transfer of the meta group's leadership that nobody takes up leaves a
//! replica that does nothing; it is closed and opened again.
//!
//! Deliberately absent: moving replicas.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use recoil_base::{NodeId, task};
use recoil_cluster::meta::{MemberState, removed};
use recoil_cluster::{MetaCommand, MetaState};
use recoil_consensus::{Group, GroupNumbers, TransferStuck};
use tokio::time::Instant;

use crate::node::Parts;

/// How long a removed member that answers may take to learn of it from the log, and one that does not.
const LEARN_FOR: Duration = Duration::from_secs(2);
/// After so long it goes in any case.
const LEARN_MAX: Duration = Duration::from_secs(15);
/// Between two attempts to hand the meta group's leadership over.
const TRANSFER_EVERY: Duration = Duration::from_secs(2);

/// What the meta leader remembers of members that leave. Lost with it, and found again.
#[derive(Default)]
pub(crate) struct Departures {
    /// Since when removed members have been seen in the meta group.
    removed: Mutex<HashMap<NodeId, Instant>>,
    transferred: Mutex<Option<Instant>>,
}

/// Whether a member that is removed is to be taken out of the meta group now.
fn is_due(since: Duration, is_live: bool, lag: Option<u64>) -> bool {
    since >= LEARN_MAX || (since >= LEARN_FOR && (!is_live || lag == Some(0)))
}

/// Takes one removed member out of the meta group, if it has had time to learn of its removal. Answers whether it did.
pub(crate) async fn end_membership(parts: &Parts, meta: &Group, numbers: &GroupNumbers, state: &MetaState) -> bool {
    let now = parts.clock.now();
    let left: Vec<NodeId> = numbers.learners.iter().copied().filter(|node| state.is_removed(*node)).collect();
    let due = {
        let mut seen = parts.departures.removed.lock();
        seen.retain(|node, _| left.contains(node));
        left.into_iter().find(|node| {
            let since = now.saturating_duration_since(*seen.entry(*node).or_insert(now));
            is_due(since, parts.peers.is_live(*node), meta.lag_of(*node))
        })
    };
    let Some(node) = due else { return false };
    match meta.remove_learner(node).await {
        Ok(()) => tracing::info!(%node, "the removed node no longer follows the meta group"),
        Err(error) => {
            tracing::debug!(%node, %error, "the removed node still follows the meta group; it is tried again")
        }
    }
    true
}

/// Hands the meta group's leadership, which this node has, to an active voter if this node leaves. Answers whether it tried.
pub(crate) async fn hand_meta_over(
    parts: &Arc<Parts>,
    meta: &Group,
    numbers: &GroupNumbers,
    state: &MetaState,
) -> bool {
    if !state.is_leaving(parts.node) || numbers.is_joint {
        return false;
    }
    let heirs = numbers.voters.iter().copied().filter(|node| state.is_active(*node) && parts.peers.is_live(*node));
    let Some(heir) = heirs.min_by_key(|node| meta.lag_of(*node).unwrap_or(u64::MAX)) else { return false };
    let now = parts.clock.now();
    {
        let mut last = parts.departures.transferred.lock();
        if last.is_some_and(|last| now.saturating_duration_since(last) < TRANSFER_EVERY) {
            return false;
        }
        *last = Some(now);
    }
    match meta.transfer_to(heir, &parts.context.options).await {
        Ok(true) => tracing::info!(to = %heir, "this node leaves and has handed the meta group's leadership over"),
        Ok(false) => tracing::debug!(to = %heir, "the meta group's leadership is not handed over yet"),
        Err(stuck @ TransferStuck) => {
            tracing::warn!(to = %heir, "the meta group's leadership was to be handed over, and {stuck}");
            if let Err(error) = parts.reopen_meta().await {
                parts.fail(error.to_string());
            }
        }
    }
    true
}

/// Decommissioned members that nothing refers to any more.
pub(crate) fn removable(numbers: &GroupNumbers, state: &MetaState) -> Vec<MetaCommand> {
    let is_due =
        |node: &NodeId| !numbers.is_joint && !numbers.voters.contains(node) && state.refuse_removal(*node).is_none();
    let leaving = state.members.iter().filter(|(_, member)| member.state == MemberState::Decommissioning);
    leaving.map(|(node, _)| *node).filter(is_due).map(|node| MetaCommand::RemoveMember { node }).collect()
}

/// Ends this node, which was removed from the cluster: its folder is not opened again.
pub(crate) async fn end(parts: &Parts) {
    let why = removed(parts.node);
    let (folder, text) = (parts.folder.clone(), why.clone());
    match task::spawn_blocking(move || folder.set_removed(&text)).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::warn!(%error, "the folder does not remember that the node was removed"),
        Err(error) => tracing::warn!(%error, "the folder does not remember that the node was removed"),
    }
    parts.end_removed(why);
}

/// Has this node forget members that were removed, once the meta group has no use for their addresses.
pub(crate) fn forget_removed(parts: &Parts, state: &MetaState) {
    let Some(meta) = parts.meta() else { return };
    if state.tombstones.is_empty() {
        return;
    }
    let numbers = meta.numbers();
    for node in parts.peers.known() {
        let follows = numbers.learners.contains(&node) || numbers.voters.contains(&node);
        if state.is_removed(node) && !follows {
            tracing::info!(%node, "the node was removed from the cluster and is dialled no more");
            parts.peers.forget(node);
        }
    }
}

/// The cluster as whoever is asked to decommission a member sees it.
pub(crate) struct Observed<'a> {
    pub(crate) state: &'a MetaState,
    /// Of the meta group.
    pub(crate) voters: &'a [NodeId],
    pub(crate) is_live: &'a dyn Fn(NodeId) -> bool,
}

/// What speaks against decommissioning a member now: what the state shows, and which other members are down.
pub(crate) fn refusals(observed: &Observed, node: NodeId) -> Vec<String> {
    let Observed { state, voters, is_live } = observed;
    let mut reasons = state.refuse_decommission(node);
    let down = |members: &[NodeId]| {
        let down = members.iter().filter(|other| **other != node && !is_live(**other));
        down.map(ToString::to_string).collect::<Vec<_>>().join(", ")
    };
    // With one member there is nothing to be in agreement with.
    let lacks_quorum = |members: &[NodeId]| {
        let live = members.iter().filter(|other| **other != node && is_live(**other)).count();
        members.len() > 1 && live < members.len() / 2 + 1 && !down(members).is_empty()
    };
    for (id, group) in state.groups_in_use_on(node) {
        if lacks_quorum(&group.members) {
            reasons.push(format!(
                "{} partitions of group {id} would be without a quorum, since other replicas are on nodes that are down ({}): start \
                 them first",
                state.partition_count(id),
                down(&group.members)
            ));
        }
    }
    if voters.contains(&node) && lacks_quorum(voters) {
        reasons.push(format!(
            "the meta group would be without a quorum, since other voters are down ({}): start them first",
            down(voters)
        ));
    }
    reasons
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// Members 1 to `nodes`, partition 0 on `set`.
    pub(crate) fn state(nodes: u8, set: &[u32], replication: u32) -> MetaState {
        let mut state = MetaState::default();
        let mut apply = |command: MetaCommand| {
            let index = state.header.index + 1;
            state.apply(index, command, &mut vec![]).unwrap();
        };
        apply(MetaCommand::Found { cluster: "c".into(), expect: 1, partitions: 1, replication });
        for node in 1..=nodes {
            let join = serde_json::json!({
                "command": "join", "node": format!("{node:08x}"), "address": format!("10.0.0.{node}:7400"), "incarnation": 1,
                "start": 1, "version": "0", "port_offset": 0, "levels": { "min": 1, "max": 1 }, "locality": "", "capacity": 100,
                "displaces": null
            });
            apply(serde_json::from_value(join).unwrap());
        }
        apply(MetaCommand::MakeMap { sets: vec![set.iter().copied().map(NodeId).collect()], partitions: vec![0] });
        state
    }

    /// Fails if a node may go although a partition or the meta group would then be without a quorum, or may not although all is well.
    #[test]
    fn a_node_stays_while_others_are_down_that_hold_the_same_partitions() {
        let state = state(5, &[1, 2, 3], 3);
        let refused = |node: u32, down: &[u32], voters: &[u32]| {
            let voters: Vec<NodeId> = voters.iter().copied().map(NodeId).collect();
            let is_live = |node: NodeId| !down.contains(&node.0);
            refusals(&Observed { state: &state, voters: &voters, is_live: &is_live }, NodeId(node)).join("; ")
        };
        assert_eq!(refused(1, &[], &[1, 2, 3]), "");
        assert_eq!(refused(1, &[1], &[1, 2, 3]), "", "a dead one may go");
        assert_eq!(refused(4, &[2], &[1, 2, 3]), "", "it holds nothing");
        let why = refused(1, &[2], &[3, 4, 5]);
        assert!(why.contains("1 partitions of group 1") && why.contains("00000002") && !why.contains("meta"), "{why}");
        assert!(refused(1, &[1, 2], &[]).contains("without a quorum"), "nobody could agree to a move");
        let why = refused(4, &[5], &[3, 4, 5]);
        assert!(why.contains("the meta group") && why.contains("00000005"), "{why}");
    }

    /// Fails if a removed member leaves the meta group before it can have learnt of it, or stays for ever.
    #[test]
    fn a_removed_member_has_time_to_learn_of_it() {
        let after = |seconds: u64, is_live, lag| is_due(Duration::from_secs(seconds), is_live, lag);
        assert!(!after(0, true, Some(0)) && !after(0, false, None), "the leader itself has just applied it");
        assert!(after(2, true, Some(0)) && after(2, false, None));
        assert!(!after(14, true, Some(1)) && !after(14, true, None) && after(15, true, Some(1)));
    }
}
