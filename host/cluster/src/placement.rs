//! Where partitions live when the map is made: consistent hashing with bounded loads.
//!
//! Nodes stand on a ring at [`POINTS`] places each; a partition's replicas are the next distinct nodes clockwise from its own
//! place, passing over nodes that already lead, or hold, as many partitions as the bound allows: `ceil((1 + ε) · average)` with ε = 0.1
//! (V. Mirrokni, M. Thorup, M. Zadimoghaddam, "Consistent Hashing with Bounded Loads", SODA 2018). So adding a node moves
//! few partitions, and no node carries more than the bound.
//!
//! Every replica set is one Raft group, so that few sets are better than many: behind the first node, which leads, the others
//! are put in the order of their ids. Three nodes make three groups, whatever the number of partitions.

use std::collections::BTreeMap;

use recoil_base::NodeId;
use xxhash_rust::xxh3::xxh3_64;

/// Places of a node on the ring.
const POINTS: u32 = 64;

/// A partition map: replica sets, and the set of each partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Map {
    /// Ordered: the first node leads.
    pub sets: Vec<Vec<NodeId>>,
    /// By partition id: a place in `sets`.
    pub partitions: Vec<u32>,
}

/// The most that one of `nodes` may carry of `total`.
pub fn bound(total: usize, nodes: usize) -> usize {
    (total * 11).div_ceil(nodes * 10)
}

/// Places `partitions` on `nodes`, `replication` replicas each (fewer if there are fewer nodes). Deterministic.
/// Panics without nodes.
pub fn place(nodes: &[NodeId], partitions: u32, replication: u32) -> Map {
    assert!(!nodes.is_empty(), "a map needs nodes");
    let replicas = (replication as usize).clamp(1, nodes.len());
    let mut ring: Vec<(u64, NodeId)> = nodes
        .iter()
        .flat_map(|node| (0..POINTS).map(move |point| (xxh3_64(format!("node {node} {point}").as_bytes()), *node)))
        .collect();
    ring.sort_unstable();
    let lead_max = bound(partitions as usize, nodes.len());
    let hold_max = bound(partitions as usize * replicas, nodes.len());
    let (mut leads, mut holds): (BTreeMap<NodeId, usize>, BTreeMap<NodeId, usize>) = Default::default();
    let mut places: BTreeMap<Vec<NodeId>, u32> = BTreeMap::new();
    let mut map = Map { sets: vec![], partitions: vec![] };
    for partition in 0..partitions {
        let hash = xxh3_64(format!("partition {partition}").as_bytes());
        let start = ring.partition_point(|(point, _)| *point < hash);
        let clockwise = || (0..ring.len()).map(|step| ring[(start + step) % ring.len()].1);
        let count = |counts: &BTreeMap<NodeId, usize>, node| counts.get(&node).copied().unwrap_or(0);
        let mut set: Vec<NodeId> = Vec::with_capacity(replicas);
        set.extend(clockwise().find(|node| count(&leads, *node) < lead_max && count(&holds, *node) < hold_max));
        while set.len() < replicas {
            let free = clockwise().find(|node| !set.contains(node) && count(&holds, *node) < hold_max);
            // The last partitions may find only nodes at the bound that are not in the set yet: the least loaded takes it.
            let least = || {
                nodes
                    .iter()
                    .copied()
                    .filter(|node| !set.contains(node))
                    .min_by_key(|node| (count(&holds, *node), *node))
            };
            let next = free.or_else(least).expect("there are at least as many nodes as replicas");
            set.push(next);
        }
        *leads.entry(set[0]).or_default() += 1;
        for node in &set {
            *holds.entry(*node).or_default() += 1;
        }
        set[1..].sort_unstable();
        let next = map.sets.len() as u32;
        let place = *places.entry(set.clone()).or_insert(next);
        if place == next {
            map.sets.push(set);
        }
        map.partitions.push(place);
    }
    map
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nodes(count: u32) -> Vec<NodeId> {
        (0..count).map(|n| NodeId(n.wrapping_mul(0x9e37_79b9).wrapping_add(17))).collect()
    }

    fn loads(map: &Map, node: NodeId) -> (usize, usize) {
        let sets = map.partitions.iter().map(|set| &map.sets[*set as usize]);
        let leads = sets.clone().filter(|set| set[0] == node).count();
        (leads, sets.filter(|set| set.contains(&node)).count())
    }

    #[test]
    fn no_node_is_above_the_bound_and_every_partition_has_distinct_replicas() {
        for count in [1, 2, 3, 4, 5, 7, 12] {
            for partitions in [1, 7, 265, 1000] {
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
                for node in &nodes {
                    let (leads, holds) = loads(&map, *node);
                    assert!(leads <= bound(partitions as usize, nodes.len()), "{count} nodes: leads {leads}");
                    assert!(
                        holds <= bound(partitions as usize * replicas, nodes.len()),
                        "{count} nodes: holds {holds}"
                    );
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

    #[test]
    fn a_further_node_moves_few_leaders() {
        let (before, after) = (place(&nodes(5), 1000, 3), place(&nodes(6), 1000, 3));
        let leader = |map: &Map, partition: usize| map.sets[map.partitions[partition] as usize][0];
        let moved = (0..1000).filter(|p| leader(&before, *p) != leader(&after, *p)).count();
        assert!(moved < 500, "{moved} of 1000 leaders moved; about a sixth must");
    }
}
