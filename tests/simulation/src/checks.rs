//! What must hold once faults have ended: the cluster has come to rest, and every node holds what
//! the cluster says that it should.
//!
//! - Partitions: each is owned by exactly one group, the one that the map names, in the same epoch.
//! - Replicas: every member of a group that runs has the group open, has the same ownership rows as
//!   the others, lacks no rows, and has the same rows of every partition: those of apps, dedup
//!   records of calls, timers, whatever lies under the copy.
//! - Nothing is left over: no copy without a row that names it, and no rows and no log of a group
//!   that is not the node's.
//! - Time: no partition's time has run ahead with one clock alone.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use recoil_base::{GroupId, NodeId};
use recoil_cluster::MetaState;
use recoil_cluster::meta::{GroupRecord, MemberState};
use recoil_consensus::{Ownership, PartitionRef, PartitionState, Phase};
use recoil_node::Node;

use crate::machine;
use crate::members::groups_in_use;
use crate::watch;
use crate::world::{Failure, World};

/// How far ahead of all other clocks one may be, with a little for the way.
const AHEAD_MAX_US: i64 = 550_000;
/// The end of the key under which a copy keeps the time of its last write: app 0, a kind, and this.
const CLOCK_KEY: &[u8] = b"\0\0\0\0\x01clock";

/// A node that runs, and the place of its machine.
type Running = (usize, Arc<Node>);

/// What is still to be done before the cluster is at rest; nothing if it is.
pub(crate) fn unsettled(world: &World) -> Option<String> {
    let has_lost = world.lost.contains(&true);
    if has_lost && !world.plan.repairs() {
        return None; // Moves wait for it.
    }
    let left: Vec<String> =
        world.machines.iter().filter_map(|machine| machine.node()).flat_map(|node| node.moves()).collect();
    if !left.is_empty() {
        return Some(format!("these moves do not end: {left:?}"));
    }
    let (_, state) = world.newest_state()?;
    let gone = world.gone(&state);
    let available = state.active_members().filter(|(node, _)| !state.is_lost(**node) && !gone.contains(node)).count();
    let wanted = state.keyspaces.values().map(|keyspace| state.replicas_wanted(keyspace)).max().unwrap_or(0);
    if available < wanted {
        return None; // There are too few nodes to take the place of others.
    }
    let of_gone = |(id, record): &(&GroupId, &GroupRecord)| {
        groups_in_use(&state).contains(id) && record.members.iter().any(|node| gone.contains(node))
    };
    if let Some((group, record)) = state.groups.iter().find(of_gone) {
        return Some(format!(
            "group {group} has partitions and keeps a member that is gone: {:?} of {gone:?}",
            record.members
        ));
    }
    let leaves = |member: &MemberState| *member == MemberState::Decommissioning;
    if let Some((node, _)) = state.members.iter().find(|(_, member)| leaves(&member.state)) {
        let why = state.refuse_removal(*node).unwrap_or_else(|| "nothing in the state speaks against it".into());
        return Some(format!("node {node} is decommissioned and not removed: {why}"));
    }
    let unused = state.unused_groups();
    (!unused.is_empty()).then(|| format!("these groups are used by nothing and not removed: {unused:?}"))
}

/// What differs between what nodes hold and should hold.
pub(crate) fn difference(world: &World) -> Option<String> {
    let nodes: Vec<Running> =
        world.machines.iter().filter_map(|machine| Some((machine.place, machine.node()?))).collect();
    let (_, state) = world.newest_state()?;
    if let Some(left) = nodes.iter().find_map(|running| left_over(running, &state)) {
        return Some(left);
    }
    let all: Vec<&Running> = nodes.iter().collect();
    if let Some(difference) = rows_differ(GroupId::META, &all) {
        return Some(difference);
    }
    let mut owners: BTreeMap<PartitionRef, (GroupId, u64)> = BTreeMap::new();
    for (group, record) in &state.groups {
        let members: Vec<&Running> = nodes.iter().filter(|(_, node)| record.members.contains(&node.id())).collect();
        if let Some(difference) = replicas_differ(*group, &members).or_else(|| rows_differ(*group, &members)) {
            return Some(difference);
        }
        let Some((_, node)) = members.first() else { continue };
        for (partition, PartitionState { ownership: Ownership { phase, epoch, .. }, .. }) in
            node.partition_states(*group)
        {
            if phase == Phase::Owned
                && let Some((other, _)) = owners.insert(partition, (*group, epoch))
            {
                return Some(format!("{partition:?} is owned by the groups {other} and {group}"));
            }
        }
    }
    unplaced(world, &state, &owners)
}

/// A partition that is not owned by the group that the map names.
fn unplaced(world: &World, state: &MetaState, owners: &BTreeMap<PartitionRef, (GroupId, u64)>) -> Option<String> {
    let (keyspace, record) = state.default_keyspace()?;
    (0..world.plan.partitions).find_map(|number| {
        let owner = owners.get(&watch::partition(keyspace, number)).copied();
        let placed = record.partitions.get(recoil_base::PartitionId(number))?;
        let placed = (placed.group, placed.epoch);
        let is_moving = state.move_of(keyspace, recoil_base::PartitionId(number)).is_some();
        match owner {
            None => Some(format!("partition {number} is owned by no group; the map names {placed:?}")),
            Some(owner) if owner != placed && !is_moving => Some(format!(
                "partition {number} is owned, as (group, epoch), by {owner:?}, and the map names {placed:?}"
            )),
            Some(_) => None,
        }
    })
}

/// Something that a node keeps and that nothing refers to.
fn left_over((place, node): &Running, state: &MetaState) -> Option<String> {
    match node.stray_copies() {
        Ok(0) => {}
        Ok(count) => return Some(format!("node {place} has rows of {count} copies without an owner")),
        Err(error) => return Some(format!("node {place} cannot be read: {error}")),
    }
    let is_here = |group: &GroupId| state.groups.get(group).is_some_and(|record| record.members.contains(&node.id()));
    let left: BTreeSet<GroupId> = node.kept_groups().into_iter().filter(|group| !is_here(group)).collect();
    (!left.is_empty()).then(|| format!("node {place} keeps rows or logs of groups that are not its own: {left:?}"))
}

/// How the members of a group differ in what their log says of partitions, or lack rows.
fn replicas_differ(group: GroupId, members: &[&Running]) -> Option<String> {
    let ownership = |node: &Node| {
        let states = node.partition_states(group).into_iter();
        states.map(|(partition, state)| (partition, state.ownership)).collect::<BTreeMap<_, _>>()
    };
    for (place, node) in members {
        if !node.groups().iter().any(|open| open.id() == group) {
            return Some(format!("group {group} is not open on node {place}"));
        }
        let lacking = node.partition_states(group).into_iter().find(|(_, state)| state.lacks_rows());
        if let Some((partition, state)) = lacking {
            return Some(format!("node {place} lacks rows of {partition:?} of group {group}: {state:?}"));
        }
    }
    let differ = members.windows(2).find(|pair| ownership(&pair[0].1) != ownership(&pair[1].1))?;
    Some(format!("the ownership rows of group {group} differ between nodes {} and {}", differ[0].0, differ[1].0))
}

/// How the members of a group differ in the rows of its partitions.
fn rows_differ(group: GroupId, members: &[&Running]) -> Option<String> {
    for pair in members.windows(2) {
        let [(a_place, a), (b_place, b)] = [pair[0], pair[1]];
        let (Ok(a), Ok(b)) = (a.copies(group), b.copies(group)) else {
            return Some(format!("group {group} cannot be read on node {a_place} or {b_place}"));
        };
        if a.len() != b.len() {
            let (a, b) = (a.len(), b.len());
            return Some(format!("group {group} has {a} partitions on node {a_place} and {b} on {b_place}"));
        }
        if let Some((left, right)) = a.iter().zip(&b).find(|(left, right)| left != right) {
            let at = left.rows.iter().zip(&right.rows).find(|(left, right)| left != right);
            let (a, b) = (left.rows.len(), right.rows.len());
            return Some(format!(
                "{:?} of group {group} differs between node {a_place} ({a} rows) and node {b_place} ({b} rows): {at:?}",
                left.partition
            ));
        }
    }
    None
}

/// No partition's time has run ahead with one clock alone: it is at most half a second ahead of
/// what the second clock ever showed.
pub(crate) fn time(world: &World) -> Result<(), Failure> {
    let mut ahead = world.ahead_us();
    ahead.sort_unstable();
    let allowed_us = ahead[ahead.len().saturating_sub(2)] + AHEAD_MAX_US;
    let most_us = machine::now_us().saturating_add_signed(allowed_us);
    for machine in &world.machines {
        let Some(node) = machine.node() else { continue };
        for group in node.groups() {
            let unread = |error| Failure::new("time", format!("group {} cannot be read: {error}", group.id()));
            for copy in node.copies(group.id()).map_err(unread)? {
                let row = copy.rows.iter().find(|(key, _)| key.ends_with(CLOCK_KEY));
                let time = row.and_then(|(_, value)| value[..].try_into().ok()).map_or(0, u64::from_be_bytes);
                if time > most_us {
                    let (place, partition) = (machine.place, copy.partition);
                    let what = format!("{partition:?} on node {place} is {} us too far ahead", time - most_us);
                    return Err(Failure::new("time", what));
                }
            }
        }
    }
    Ok(())
}

/// The members that no machine is any more, nor ever will be.
pub(crate) fn gone(state: &MetaState, present: impl Fn(NodeId) -> bool) -> BTreeSet<NodeId> {
    state.members.keys().copied().filter(|node| !present(*node)).collect()
}
