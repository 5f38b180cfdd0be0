//! Changes of the cluster's members: nodes that are added, drained, decommissioned, lost for good
//! and replaced.
//!
//! What is asked of the cluster is asked as an operator does, of any node that runs; the cluster
//! may refuse. A node is lost for good only where the cluster promises to survive it: all nodes
//! lost before are known to be lost, no group in use has one of them, and every group in use and
//! the meta group keep a majority. A lost node's machine may be given to a new node, which comes to
//! the same address with an empty folder.
//!
//! [`Members::heal`] makes sure that there are nodes enough for every replica, as an operator
//! would; then the cluster must come to rest with nothing left of those that are gone
//! (`World::wait_to_settle`).

use std::collections::BTreeSet;
use std::sync::Arc;

use recoil_base::{GroupId, NodeId};
use recoil_cluster::MetaState;
use recoil_cluster::meta::MemberState;
use recoil_node::Node;

use crate::chance;
use crate::machine::End;
use crate::trace::{self, note};
use crate::world::World;

/// Nodes that there must be at the end: replicas of a partition.
const ACTIVE_MIN: usize = 3;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Change {
    Add,
    Lose,
    /// A new node on the machine of one that is gone.
    Replace,
    Drain,
    Undrain,
    Decommission,
    /// A member that is gone is no longer to be one.
    DecommissionLost,
}

const ALL: [Change; 7] = [
    Change::Add,
    Change::Lose,
    Change::Replace,
    Change::Drain,
    Change::Undrain,
    Change::Decommission,
    Change::DecommissionLost,
];

/// See the module's essay.
pub(crate) struct Members {
    every_ms: u64,
    next_ms: u64,
}

impl Members {
    pub(crate) fn new(every_ms: u64) -> Self {
        Members { every_ms, next_ms: trace::now_ms() + chance::within(0..every_ms) }
    }

    /// After each millisecond; true if a change was tried.
    pub(crate) fn step(&mut self, world: &mut World) -> bool {
        let now = trace::now_ms();
        if now < self.next_ms {
            return false;
        }
        self.next_ms = now + 1 + chance::within(0..2 * self.every_ms);
        change(world, chance::pick(&ALL));
        true
    }

    /// Starts nodes until there are enough.
    pub(crate) fn heal(&self, world: &mut World) {
        if let Some(node) = running(world).first() {
            let drained: Vec<NodeId> = in_state(&node.state(), MemberState::Draining);
            for member in drained.into_iter().filter(|_| chance::percent(50)) {
                ask(node, format!("undrains node {member}"), node.undrain(member), world);
            }
        }
        let is_active = |world: &World, place: &usize| world.takes_part(*place) && !world.sent_away[*place];
        while (0..world.machines.len()).filter(|place| is_active(world, place)).count() < ACTIVE_MIN {
            let spare = (0..world.machines.len()).find(|place| world.spare[*place]);
            let lost = (0..world.machines.len()).find(|place| world.lost[*place]);
            match (spare, lost) {
                (Some(spare), _) => add(world, spare),
                (None, Some(lost)) => replace(world, lost),
                (None, None) => return,
            }
        }
    }
}

fn change(world: &mut World, change: Change) {
    let places = |world: &World, is: &dyn Fn(usize) -> bool| {
        (0..world.machines.len()).filter(|place| is(*place)).collect::<Vec<usize>>()
    };
    let nodes = running(world);
    if nodes.is_empty() {
        return;
    }
    let node = nodes[chance::within(0..nodes.len() as u64) as usize].clone();
    let state = node.state();
    let pick = |from: Vec<NodeId>| (!from.is_empty()).then(|| chance::pick(&from));
    match change {
        Change::Add => {
            let spares = places(world, &|place| world.spare[place]);
            if !spares.is_empty() {
                add(world, chance::pick(&spares));
            }
        }
        Change::Lose => {
            let up = places(world, &|place| world.machines[place].is_up() && world.takes_part(place));
            if !up.is_empty() {
                lose(world, chance::pick(&up));
            }
        }
        Change::Replace => {
            let lost = places(world, &|place| world.lost[place]);
            if !lost.is_empty() {
                replace(world, chance::pick(&lost));
            }
        }
        Change::Drain => {
            if let Some(member) = pick(in_state(&state, MemberState::Active)) {
                ask(&node, format!("drains node {member}"), node.drain(member), world);
            }
        }
        Change::Undrain => {
            let leaving = [MemberState::Draining, MemberState::Decommissioning].map(|of| in_state(&state, of)).concat();
            if let Some(member) = pick(leaving) {
                ask(&node, format!("undrains node {member}"), node.undrain(member), world);
            }
        }
        Change::Decommission => {
            let present = [MemberState::Active, MemberState::Draining].map(|of| in_state(&state, of)).concat();
            if let Some(member) = pick(present) {
                let successor = pick(in_state(&state, MemberState::Active)).filter(|_| chance::percent(30));
                decommission(world, &node, member, successor);
            }
        }
        Change::DecommissionLost => {
            if let Some(member) = pick(world.gone(&state).into_iter().collect()) {
                decommission(world, &node, member, None);
            }
        }
    }
}

fn running(world: &World) -> Vec<Arc<Node>> {
    (0..world.machines.len())
        .filter(|place| world.takes_part(*place))
        .filter_map(|place| world.machines[place].node())
        .collect()
}

fn in_state(state: &MetaState, wanted: MemberState) -> Vec<NodeId> {
    state.members.iter().filter(|(_, member)| member.state == wanted).map(|(node, _)| *node).collect()
}

/// Has a node do what an operator asks of it.
fn ask(
    node: &Arc<Node>,
    what: String,
    asked: impl Future<Output = Result<(), String>> + Send + 'static,
    world: &World,
) {
    let id = node.id();
    let Some(place) = (0..world.machines.len()).find(|place| world.ids[*place] == Some(id)) else { return };
    note!("node {place}  {what}");
    world.machines[place].spawn(async move {
        match asked.await {
            Ok(()) => note!("node {place}  {what}: done"),
            Err(why) => note!("node {place}  {what}: not done: {why}"),
        }
    });
}

fn decommission(world: &mut World, node: &Arc<Node>, member: NodeId, successor: Option<NodeId>) {
    if let Some(place) = (0..world.machines.len()).find(|place| world.ids[*place] == Some(member)) {
        world.sent_away[place] = true;
    }
    let to = successor.map(|to| format!(" in favour of node {to}")).unwrap_or_default();
    ask(node, format!("decommissions node {member}{to}"), node.decommission(member, successor), world);
}

fn add(world: &mut World, place: usize) {
    note!("node {place}  is added");
    world.spare[place] = false;
    world.boot(place);
}

fn replace(world: &mut World, place: usize) {
    note!("node {place}  is replaced by a new one");
    world.machines[place].wipe();
    (world.lost[place], world.sent_away[place], world.ids[place]) = (false, false, None);
    world.boot(place);
}

/// The machine ends and never comes back, if the cluster promises to survive that.
pub(crate) fn lose(world: &mut World, place: usize) -> bool {
    if !may_be_lost(world, place) {
        return false;
    }
    note!("node {place}  is lost for good");
    let end = chance::pick(&[End::Killed, End::Unplugged]);
    world.end(place, end);
    world.lost[place] = true;
    true
}

fn may_be_lost(world: &World, place: usize) -> bool {
    let (Some((_, state)), Some(id)) = (world.newest_state(), world.ids[place]) else { return false };
    let gone = world.gone(&state);
    if !state.members.contains_key(&id) || gone.iter().any(|node| !state.is_lost(*node)) {
        return false;
    }
    let has_majority_without = |members: &[NodeId]| {
        let left = members.iter().filter(|node| **node != id && !gone.contains(node)).count();
        2 * left > members.len()
    };
    let in_use = groups_in_use(&state);
    let mut groups = state.groups.iter().filter(|(group, _)| in_use.contains(group)).map(|(_, record)| &record.members);
    let survive =
        groups.all(|members| has_majority_without(members) && !members.iter().any(|node| gone.contains(node)));
    let mut electorates = running(world).into_iter().filter_map(|node| Some(node.meta_group()?.numbers()));
    survive && electorates.all(|numbers| !numbers.is_joint && has_majority_without(&numbers.voters))
}

/// The groups that partitions or moves refer to.
pub(crate) fn groups_in_use(state: &MetaState) -> BTreeSet<GroupId> {
    let unused: BTreeSet<GroupId> = state.unused_groups().into_iter().collect();
    state.groups.keys().copied().filter(|group| !unused.contains(group)).collect()
}
