//! Where partitions live when the map is made.
//!
//! Every replica set is one Raft group, so that few sets are better than many: each node leads [`SETS_A_LEADER`] sets at most, with
//! followers at fixed distances on a ring of the nodes. So every node is in as many sets as any other, whatever the number of partitions:
//! three nodes make three groups, sixty nodes 180, and each node has replicas of nine (compare A. Cidon and others, "Copysets", USENIX ATC
//! 2013). On the ring neighbours are in different places as far as possible, and the followers of a leader in different ones again.
//!
//! Partitions go to the node that leads least for its capacity, and of its sets to the one whose nodes hold least. From then on the
//! [planner](crate::planner) keeps the map even.

use std::collections::{BTreeMap, HashMap};

use recoil_base::NodeId;

/// Sets that a node leads.
const SETS_A_LEADER: usize = 3;
/// Sets that a node should be in: with many replicas it leads fewer.
const SETS_A_NODE: usize = 12;

/// A node that partitions may be placed on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// The node.
    pub node: NodeId,
    /// How much it should carry, relative to others.
    pub capacity: u32,
    /// Where it is: replicas are spread over these.
    pub zone: String,
    /// It should lead, rather than those of which this is not said.
    pub is_preferred: bool,
    /// Replicas of other keyspaces on it: of nodes that are alike otherwise, the emptier one gets more.
    pub held: usize,
}

impl Candidate {
    /// A node without a zone and without anything on it.
    pub fn of(node: NodeId, capacity: u32) -> Self {
        Candidate { node, capacity, zone: String::new(), is_preferred: true, held: 0 }
    }
}

/// A partition map: replica sets, and the set of each partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Map {
    /// Ordered: the first node leads.
    pub sets: Vec<Vec<NodeId>>,
    /// By partition id: a place in `sets`.
    pub partitions: Vec<u32>,
}

/// Places `partitions` on `nodes`, `replication` replicas each (fewer if there are fewer nodes). Deterministic.
/// Panics without nodes.
pub fn place(nodes: &[Candidate], partitions: u32, replication: u32) -> Map {
    assert!(!nodes.is_empty(), "a map needs nodes");
    let ring = ring(nodes);
    let replicas = (replication as usize).clamp(1, ring.len());
    let sets: Vec<Vec<Vec<usize>>> = (0..ring.len()).map(|leader| sets(&ring, leader, replicas)).collect();
    // Nodes that should lead do so alone; the others follow.
    let leaders: Vec<usize> = (0..ring.len()).filter(|place| ring[*place].is_preferred).collect();
    let leaders = if leaders.is_empty() { (0..ring.len()).collect() } else { leaders };
    let (mut led, mut held) = (vec![0usize; ring.len()], vec![0usize; ring.len()]);
    let ratio = |count: usize, place: usize| count as f64 / f64::from(ring[place].capacity.max(1));
    let mut map = Map { sets: vec![], partitions: vec![] };
    let mut places: HashMap<Vec<usize>, u32> = HashMap::new();
    for _ in 0..partitions {
        let least = |a: &usize, b: &usize| {
            let emptier = ratio(ring[*a].held, *a).total_cmp(&ratio(ring[*b].held, *b));
            ratio(led[*a] + 1, *a).total_cmp(&ratio(led[*b] + 1, *b)).then(emptier)
        };
        let leader = leaders.iter().copied().min_by(least).expect("there are nodes");
        let load = |set: &Vec<usize>| set.iter().map(|place| ratio(held[*place], *place)).sum::<f64>();
        let other = |set: &Vec<usize>| set.iter().map(|place| ratio(ring[*place].held, *place)).sum::<f64>();
        let emptiest =
            |a: &&Vec<usize>, b: &&Vec<usize>| load(a).total_cmp(&load(b)).then(other(a).total_cmp(&other(b)));
        let set = sets[leader].iter().min_by(emptiest).expect("a node leads a set");
        led[leader] += 1;
        set.iter().for_each(|place| held[*place] += 1);
        let next = map.sets.len() as u32;
        let place = *places.entry(set.clone()).or_insert(next);
        if place == next {
            let mut members: Vec<NodeId> = set.iter().map(|place| ring[*place].node).collect();
            members[1..].sort_unstable();
            map.sets.push(members);
        }
        map.partitions.push(place);
    }
    map
}

/// The nodes in the order of their ids, one of each zone in turn.
fn ring(nodes: &[Candidate]) -> Vec<&Candidate> {
    let mut zones: BTreeMap<&str, Vec<&Candidate>> = BTreeMap::new();
    for node in nodes {
        zones.entry(node.zone.as_str()).or_default().push(node);
    }
    zones.values_mut().for_each(|zone| zone.sort_unstable_by_key(|node| std::cmp::Reverse(node.node)));
    let mut ring = Vec::with_capacity(nodes.len());
    while ring.len() < nodes.len() {
        ring.extend(zones.values_mut().filter_map(Vec::pop));
    }
    ring
}

/// The sets that a node leads.
fn sets(ring: &[&Candidate], leader: usize, replicas: usize) -> Vec<Vec<usize>> {
    let step = ((ring.len() - 1) / SETS_A_LEADER).max(1);
    let mut sets: Vec<Vec<usize>> = Vec::new();
    for number in 0..(SETS_A_NODE / replicas.max(1)).clamp(1, SETS_A_LEADER) {
        let walk = || (0..ring.len()).map(|hop| (leader + 1 + number * step + hop) % ring.len());
        let mut set = vec![leader];
        while set.len() < replicas {
            let is_free = |place: &usize| !set.contains(place);
            let is_elsewhere = |place: &usize| set.iter().all(|other| ring[*other].zone != ring[*place].zone);
            let next = walk().filter(is_free).find(is_elsewhere).or_else(|| walk().find(is_free));
            set.extend(next);
        }
        set[1..].sort_unstable();
        if !sets.contains(&set) {
            sets.push(set);
        }
    }
    sets
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nodes(count: u32) -> Vec<Candidate> {
        let node = |n: u32| NodeId(n.wrapping_mul(0x9e37_79b9).wrapping_add(17));
        (0..count).map(|n| Candidate::of(node(n), 100)).collect()
    }

    fn loads(map: &Map, node: NodeId) -> (usize, usize) {
        let sets = map.partitions.iter().map(|set| &map.sets[*set as usize]);
        let leads = sets.clone().filter(|set| set[0] == node).count();
        (leads, sets.filter(|set| set.contains(&node)).count())
    }

    /// Fails if a node carries more than a tenth above the average, a partition has a node twice, or nodes are in many groups.
    #[test]
    fn no_node_is_above_the_bound_and_every_partition_has_distinct_replicas() {
        for count in [1, 2, 3, 4, 5, 7, 12, 60] {
            for partitions in [1, 7, 265, 1000, 4096] {
                let nodes = nodes(count);
                let map = place(&nodes, partitions, 3);
                let replicas = 3.min(count as usize);
                assert_eq!(map.partitions.len(), partitions as usize);
                for set in &map.sets {
                    let mut distinct = set.clone();
                    distinct.sort();
                    distinct.dedup();
                    assert_eq!(distinct.len(), replicas, "{count} nodes, {partitions} partitions: {set:?}");
                }
                let bound = |total: usize| (total * 11).div_ceil(nodes.len() * 10);
                for node in &nodes {
                    let (leads, holds) = loads(&map, node.node);
                    assert!(leads <= bound(partitions as usize), "{count} nodes: leads {leads}");
                    let most = bound(partitions as usize * replicas);
                    // With fewer partitions one more or less is a tenth.
                    let counts = partitions >= 20 * count;
                    assert!(holds <= most || !counts, "{count} nodes, {partitions} partitions: {holds} of {most}");
                    let groups = map.sets.iter().filter(|set| set.contains(&node.node)).count();
                    assert!(groups <= SETS_A_LEADER * replicas, "{count} nodes: {groups} groups");
                }
            }
        }
    }

    #[test]
    fn three_nodes_make_three_groups_and_the_same_input_the_same_map() {
        let map = place(&nodes(3), 265, 3);
        assert_eq!(map.sets.len(), 3);
        assert_eq!(map, place(&nodes(3), 265, 3));
    }

    /// Fails if capacity counts for nothing, or replicas share a zone while there are others.
    #[test]
    fn capacity_and_zones_count() {
        let mut spread = nodes(9);
        let mut nodes = nodes(6);
        nodes[0].capacity = 200;
        let map = place(&nodes, 700, 3);
        let (leads, _) = loads(&map, nodes[0].node);
        assert_eq!((leads, loads(&map, nodes[1].node).0), (200, 100));
        let nodes = &mut spread;
        nodes.iter_mut().enumerate().for_each(|(place, node)| node.zone = format!("z{}", place / 3));
        let zone = |node: &NodeId| nodes.iter().find(|other| other.node == *node).map(|other| other.zone.clone());
        for set in place(nodes, 265, 3).sets {
            let zones: std::collections::BTreeSet<_> = set.iter().map(zone).collect();
            assert_eq!(zones.len(), 3, "{set:?}");
        }
    }

    /// Fails if another node leads than those that should, if these do not share it, or if a keyspace of one partition goes to a full node.
    #[test]
    fn preferred_nodes_lead_alone_and_empty_nodes_come_first() {
        let mut nodes = nodes(9);
        nodes.iter_mut().enumerate().for_each(|(place, node)| {
            node.zone = format!("z{}", place % 3);
            node.is_preferred = place % 3 == 0;
            node.held = if place == 4 || place == 6 { 0 } else { 100 };
        });
        let map = place(&nodes, 90, 3);
        let led: Vec<usize> = nodes.iter().map(|node| loads(&map, node.node).0).collect();
        assert_eq!(led, [30, 0, 0, 30, 0, 0, 30, 0, 0]);
        assert_eq!(place(&nodes, 1, 1).sets, [vec![nodes[6].node]]);
        nodes.iter_mut().for_each(|node| node.is_preferred = false);
        nodes[6].held = 1;
        assert_eq!(place(&nodes, 1, 1).sets, [vec![nodes[4].node]], "nobody is preferred");
    }

    /// Fails if many replicas put nodes into more groups than they may have.
    #[test]
    fn many_replicas_make_few_sets() {
        for replicas in 1..=9 {
            let map = place(&nodes(20), 1000, replicas);
            let most =
                nodes(20).iter().map(|node| map.sets.iter().filter(|set| set.contains(&node.node)).count()).max();
            assert!(most <= Some(SETS_A_NODE), "{replicas} replicas: {most:?}");
        }
    }
}
