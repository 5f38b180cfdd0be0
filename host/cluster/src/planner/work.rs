//! The planner's working state: loads and replica sets as they will be once everything under way and planned so far is done.
//!
//! Nodes are small numbers here, in the order of their ids; sets of replicas are counted, and a partition matters only by its set. So a
//! step costs what the sets are, a few for each node, and not what the partitions are.

use std::collections::{BTreeMap, HashMap, HashSet};

use recoil_base::{GroupId, NodeId};

use super::{GROUPS_A_NODE_MAX, Planned, ROUNDING, Role, View, Why};

/// A node's load.
pub(super) struct Load {
    pub(super) id: NodeId,
    pub(super) role: Role,
    pub(super) is_live: bool,
    pub(super) successor: Option<usize>,
    zone: usize,
    /// Groups with a replica on it: those there are, and those that the plan adds.
    pub(super) groups: usize,
    pub(super) held: usize,
    pub(super) led: usize,
    /// What it should hold and lead; 0 for nodes that are no members.
    pub(super) share_held: f64,
    pub(super) share_led: f64,
}

impl Load {
    /// It may be given more.
    pub(super) fn takes(&self) -> bool {
        self.role == Role::Member && self.is_live
    }

    pub(super) fn ratio_held(&self) -> f64 {
        self.held as f64 / self.share_held.max(ROUNDING)
    }

    pub(super) fn ratio_led(&self) -> f64 {
        self.led as f64 / self.share_led.max(ROUNDING)
    }
}

/// A replica set with its partitions.
pub(super) struct Set {
    /// The first leads, the others are in order.
    pub(super) members: Vec<usize>,
    /// Replicas that its partitions should have.
    pub(super) wanted: usize,
    /// Partitions, those on their way to it included.
    pub(super) count: usize,
    /// Those that may move, as places in the view, the next one last.
    pub(super) movable: Vec<usize>,
}

struct Step {
    place: usize,
    from: usize,
    to: usize,
    why: Why,
}

pub(super) struct Work {
    pub(super) nodes: Vec<Load>,
    pub(super) sets: Vec<Set>,
    places: HashMap<(Vec<usize>, usize), usize>,
    /// Replica sets that are groups, or will be by this plan.
    known: HashSet<Vec<usize>>,
    steps: Vec<Step>,
}

impl Work {
    pub(super) fn new(view: &View) -> Self {
        // A group may name a node that is no member any more.
        let strangers = view.groups.values().flat_map(|members| members.iter());
        let mut ids: Vec<NodeId> = view.nodes.keys().chain(strangers).copied().collect();
        ids.sort_unstable();
        ids.dedup();
        let places: HashMap<NodeId, usize> = ids.iter().enumerate().map(|(place, id)| (*id, place)).collect();
        let mut zones: BTreeMap<&str, usize> = BTreeMap::new();
        for node in view.nodes.values() {
            let next = zones.len();
            zones.entry(node.zone.as_str()).or_insert(next);
        }
        let load = |id: &NodeId| {
            let node = view.nodes.get(id);
            Load {
                id: *id,
                role: node.map_or(Role::Lost, |node| node.role),
                is_live: node.is_some_and(|node| node.is_live),
                successor: node.and_then(|node| places.get(&node.successor?).copied()),
                zone: node.map_or(usize::MAX, |node| zones[node.zone.as_str()]),
                groups: 0,
                held: 0,
                led: 0,
                share_held: 0.0,
                share_led: 0.0,
            }
        };
        let nodes = ids.iter().map(load).collect();
        let mut work = Work { nodes, sets: vec![], places: HashMap::new(), known: HashSet::new(), steps: Vec::new() };
        for members in view.groups.values() {
            let members: Vec<usize> = members.iter().map(|node| places[node]).collect();
            members.iter().for_each(|node| work.nodes[*node].groups += 1);
            work.known.insert(members);
        }
        // From the last to the first, so that the first are the next to move.
        for (place, partition) in view.partitions.iter().enumerate().rev() {
            let Some(members) = view.groups.get(&partition.group) else { continue };
            let members: Vec<usize> = members.iter().map(|node| places[node]).collect();
            let Some(leader) = members.first().copied() else { continue };
            members.iter().for_each(|node| work.nodes[*node].held += 1);
            work.nodes[leader].led += 1;
            let set = work.set(members, partition.replicas);
            work.sets[set].count += 1;
            if !partition.is_moving {
                work.sets[set].movable.push(place);
            }
        }
        work.share(view);
        work
    }

    /// Divides what there is among the members by their capacities.
    fn share(&mut self, view: &View) {
        let partitions = view.partitions.len() as f64;
        let kept: usize = self.nodes.iter().filter(|node| node.role == Role::Waiting).map(|node| node.held).sum();
        let total = view.partitions.iter().map(|partition| partition.replicas).sum::<usize>().saturating_sub(kept);
        let weight = |load: &Load| {
            let member = view.nodes.get(&load.id).filter(|node| node.role == Role::Member);
            member.map_or(0.0, |node| f64::from(node.capacity.max(1)))
        };
        let weights: Vec<f64> = self.nodes.iter().map(weight).collect();
        // Preferred leaders share the leading among themselves, where there are any.
        let is_preferred = |load: &Load| view.nodes.get(&load.id).is_some_and(|node| node.is_preferred);
        let preferred = |(load, weight): (&Load, &f64)| if is_preferred(load) { *weight } else { 0.0 };
        let mut leading: Vec<f64> = self.nodes.iter().zip(&weights).map(preferred).collect();
        if leading.iter().all(|weight| *weight == 0.0) {
            leading.clone_from(&weights);
        }
        let (held, led) = (shares(&weights, total as f64, partitions), shares(&leading, partitions, partitions));
        for (load, (held, led)) in self.nodes.iter_mut().zip(held.into_iter().zip(led)) {
            (load.share_held, load.share_led) = (held, led);
        }
    }

    fn set(&mut self, members: Vec<usize>, wanted: usize) -> usize {
        let key = (members, wanted);
        if let Some(place) = self.places.get(&key) {
            return *place;
        }
        let (members, wanted) = key.clone();
        self.sets.push(Set { members, wanted, count: 0, movable: vec![] });
        self.places.insert(key, self.sets.len() - 1);
        self.sets.len() - 1
    }

    /// True if there is a group of exactly these replicas, or will be.
    pub(super) fn is_known(&self, members: &[usize]) -> bool {
        self.known.contains(members)
    }

    /// True if the replicas may be a group without any of the nodes having too many.
    pub(super) fn may_be(&self, members: &[usize], groups_max: usize) -> bool {
        self.is_known(members) || members.iter().all(|node| self.nodes[*node].groups < groups_max)
    }

    /// The same for a move made for balance, of `count` partitions of a set, after `made` other sets that may be of the same nodes. If these
    /// are all of it, its group goes, and its nodes are held against no more than the hard bound.
    pub(super) fn may_become(&self, from: usize, to: &[usize], count: usize, (soft, made): (usize, usize)) -> bool {
        let is_whole = count == self.sets[from].count;
        let fits = |node: &usize| {
            let stays = is_whole && self.sets[from].members.contains(node);
            let groups_max = if stays { GROUPS_A_NODE_MAX } else { soft };
            self.nodes[*node].groups + made < groups_max
        };
        self.is_known(to) || to.iter().all(fits)
    }

    /// Different zones among the replicas.
    pub(super) fn spread(&self, members: &[usize]) -> usize {
        let mut zones: Vec<usize> = members.iter().map(|node| self.nodes[*node].zone).collect();
        zones.sort_unstable();
        zones.dedup();
        zones.len()
    }

    /// True if a majority of the replicas is live.
    pub(super) fn has_quorum(&self, members: &[usize]) -> bool {
        2 * members.iter().filter(|node| self.nodes[**node].is_live).count() > members.len()
    }

    /// True if the set is one that steps for balance may work with: all its nodes are live members, as many as there should be.
    pub(super) fn is_sound(&self, set: usize) -> bool {
        let set = &self.sets[set];
        set.members.len() == set.wanted && set.members.iter().all(|node| self.nodes[*node].takes())
    }

    /// Replicas as a set: the leader first, the others in order.
    pub(super) fn ordered(leader: usize, others: impl IntoIterator<Item = usize>) -> Vec<usize> {
        let mut members = vec![leader];
        members.extend(others.into_iter().filter(|node| *node != leader));
        members[1..].sort_unstable();
        members
    }

    /// Plans that `count` of a set's movable partitions go to another set.
    pub(super) fn assign(&mut self, from: usize, to: Vec<usize>, count: usize, why: Why) {
        if !self.is_known(&to) {
            to.iter().for_each(|node| self.nodes[*node].groups += 1);
            self.known.insert(to.clone());
        }
        let wanted = self.sets[from].wanted;
        let to = self.set(to, wanted);
        for _ in 0..count {
            let Some(place) = self.sets[from].movable.pop() else { return };
            for (set, grows) in [(from, false), (to, true)] {
                let change = |count: &mut usize| if grows { *count += 1 } else { *count -= 1 };
                change(&mut self.sets[set].count);
                self.sets[set].members.iter().for_each(|node| change(&mut self.nodes[*node].held));
                change(&mut self.nodes[self.sets[set].members[0]].led);
            }
            self.steps.push(Step { place, from, to, why });
        }
    }

    /// What of the plan may begin now.
    pub(super) fn within(&self, view: &View) -> Vec<Planned> {
        let mut left = view.budget.cluster.saturating_sub(view.moves.len());
        let mut copying: HashMap<NodeId, usize> = HashMap::new();
        let members = |group: &GroupId| view.groups.get(group).map(|members| &members[..]).unwrap_or_default();
        for (source, target) in &view.moves {
            let newcomers = members(target).iter().filter(|node| !members(source).contains(node));
            newcomers.for_each(|node| *copying.entry(*node).or_default() += 1);
        }
        let mut planned = Vec::new();
        for step in &self.steps {
            if left == 0 {
                break;
            }
            let (from, to) = (&self.sets[step.from].members, &self.sets[step.to].members);
            let newcomers: Vec<NodeId> =
                to.iter().filter(|node| !from.contains(node)).map(|node| self.nodes[*node].id).collect();
            if newcomers.iter().any(|node| copying.get(node).is_some_and(|count| *count >= view.budget.node)) {
                continue;
            }
            newcomers.into_iter().for_each(|node| *copying.entry(node).or_default() += 1);
            left -= 1;
            let partition = &view.partitions[step.place];
            planned.push(Planned {
                keyspace: partition.keyspace,
                partition: partition.partition,
                to: to.iter().map(|node| self.nodes[*node].id).collect(),
                why: step.why,
            });
        }
        planned
    }
}

/// Divides `total` in proportion to the weights, none above `most`: what a heavy one may not take goes to the others.
fn shares(weights: &[f64], total: f64, most: f64) -> Vec<f64> {
    let mut shares = vec![0.0; weights.len()];
    let mut open: Vec<usize> = (0..weights.len()).filter(|place| weights[*place] > 0.0).collect();
    let mut left = total;
    loop {
        let weight: f64 = open.iter().map(|place| weights[*place]).sum();
        let share = |place: &usize| left * weights[*place] / weight;
        let (full, rest): (Vec<usize>, Vec<usize>) = open.iter().partition(|place| share(place) > most);
        if full.is_empty() {
            open.iter().for_each(|place| shares[*place] = share(place));
            return shares;
        }
        left -= most * full.len() as f64;
        full.into_iter().for_each(|place| shares[place] = most);
        open = rest;
    }
}
