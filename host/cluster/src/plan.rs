//! What a package's scheduler is shown when the map is made, and the map that its answer makes.
//!
//! Invariant: an answer makes a map only if it places every partition once, each on as many different nodes as it should have. As in
//! [`placement`](crate::placement), the nodes behind the first are put in the order of their ids: the order tells nothing, and each would be a
//! Raft group of its own.
//!
//! Deliberately absent: running the scheduler, and what happens without an answer.

use std::collections::BTreeMap;

use recoil_base::NodeId;
use recoil_engine::scheduler::{Load, Node, NodeState, Partition, Placement, Rule, View};

use crate::meta::Locality;
use crate::placement::Map;

/// The keyspace of a new cluster.
const KEYSPACE: u32 = 1;

/// A new cluster, of live nodes with these member numbers, and where they are.
pub fn view(nodes: &BTreeMap<u32, Locality>, partitions: u32, replication: u32) -> View {
    let node = |(id, locality): (&u32, &Locality)| Node {
        id: *id,
        state: NodeState::Live,
        locality: locality.tiers().to_vec(),
        capacity_bytes: 0,
        used_bytes: 0,
        cpu_load: 0.0,
    };
    let partition = |id| Partition { keyspace: KEYSPACE, id, replicas: vec![], load: Load::default() };
    let rule = Rule {
        keyspace: KEYSPACE,
        replication: u8::try_from(replication).unwrap_or(u8::MAX),
        required: vec![],
        spread_by: vec![],
        leader_preference: vec![],
    };
    View {
        nodes: nodes.iter().map(node).collect(),
        rules: vec![rule],
        partitions: (0..partitions).map(partition).collect(),
    }
}

/// The map of a scheduler's answer to [`view`] of the same cluster, or why it makes none.
pub fn map(
    nodes: &BTreeMap<u32, NodeId>,
    partitions: u32,
    replication: u32,
    answer: &[Placement],
) -> Result<Map, String> {
    let replicas = (replication as usize).clamp(1, nodes.len().max(1));
    let mut places: Vec<Option<u32>> = vec![None; partitions as usize];
    let mut sets: BTreeMap<Vec<NodeId>, u32> = BTreeMap::new();
    let mut map = Map { sets: vec![], partitions: vec![] };
    for placement in answer {
        let Placement { keyspace, id, .. } = *placement;
        let place = places.get_mut(id as usize).filter(|_| keyspace == KEYSPACE);
        let place = place.ok_or_else(|| format!("there is no partition {id} of keyspace {keyspace}"))?;
        if place.is_some() {
            return Err(format!("partition {id} is placed twice"));
        }
        let set = set(nodes, replicas, placement)?;
        let next = map.sets.len() as u32;
        let known = *sets.entry(set.clone()).or_insert(next);
        if known == next {
            map.sets.push(set);
        }
        *place = Some(known);
    }
    let placed =
        places.iter().enumerate().map(|(id, place)| place.ok_or_else(|| format!("partition {id} is not placed")));
    map.partitions = placed.collect::<Result<_, _>>()?;
    Ok(map)
}

fn set(nodes: &BTreeMap<u32, NodeId>, replicas: usize, placement: &Placement) -> Result<Vec<NodeId>, String> {
    let id = placement.id;
    if placement.replicas.len() != replicas {
        return Err(format!("partition {id} is placed on {} nodes instead of {replicas}", placement.replicas.len()));
    }
    let mut set = Vec::with_capacity(replicas);
    for number in &placement.replicas {
        let node =
            *nodes.get(number).ok_or_else(|| format!("partition {id} is placed on {number}, which is no node"))?;
        if set.contains(&node) {
            return Err(format!("partition {id} is placed twice on node {number}"));
        }
        set.push(node);
    }
    set[1..].sort_unstable();
    Ok(set)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nodes(count: u32) -> BTreeMap<u32, NodeId> {
        (1..=count).map(|number| (number, NodeId(100 - number))).collect()
    }

    fn on(id: u32, replicas: &[u32]) -> Placement {
        Placement { keyspace: KEYSPACE, id, replicas: replicas.to_vec(), reason: String::new() }
    }

    fn ids(of: &[u32]) -> Vec<NodeId> {
        of.iter().map(|number| NodeId(100 - number)).collect()
    }

    #[test]
    fn every_node_and_partition_is_shown_and_what_is_shown_can_be_placed() {
        let places = ["region=eu,zone=a", "region=eu,zone=b", "", "region=us"];
        let places = (1..).zip(places.map(|place| place.parse::<Locality>().unwrap())).collect();
        let shown = view(&places, 7, 3);
        let tier = |key: &str, value: &str| (key.to_owned(), value.to_owned());
        assert_eq!(shown.nodes[1].locality, [tier("region", "eu"), tier("zone", "b")]);
        assert_eq!(shown.nodes[2].locality, []);
        assert_eq!(shown.nodes.iter().map(|node| node.id).collect::<Vec<_>>(), [1, 2, 3, 4]);
        assert!(shown.nodes.iter().all(|node| node.state == NodeState::Live));
        assert_eq!((shown.rules.len(), shown.rules[0].keyspace, shown.rules[0].replication), (1, KEYSPACE, 3));
        let answer: Vec<Placement> = shown
            .partitions
            .iter()
            .map(|shown| Placement { keyspace: shown.keyspace, ..on(shown.id, &[4, 1, 2]) })
            .collect();
        assert_eq!(map(&nodes(4), 7, 3, &answer).unwrap().partitions, [0; 7]);
        assert_eq!(view(&BTreeMap::from([(1, Locality::default())]), 1, 300).rules[0].replication, 255);
    }

    #[test]
    fn partitions_of_the_same_nodes_and_leader_share_a_set() {
        let answer = [on(2, &[2, 1, 3]), on(0, &[1, 3, 2]), on(1, &[1, 2, 3]), on(3, &[3, 1, 2])];
        let map = map(&nodes(3), 4, 3, &answer).unwrap();
        assert_eq!(map.sets, [ids(&[2, 3, 1]), ids(&[1, 3, 2]), ids(&[3, 2, 1])]);
        assert_eq!(map.partitions, [1, 1, 0, 2]);
    }

    #[test]
    fn fewer_nodes_have_fewer_replicas() {
        assert_eq!(map(&nodes(2), 1, 3, &[on(0, &[2, 1])]).unwrap().sets, [ids(&[2, 1])]);
        assert!(map(&nodes(2), 1, 3, &[on(0, &[2])]).is_err());
        assert_eq!(map(&nodes(2), 1, 0, &[on(0, &[1])]).unwrap().sets, [ids(&[1])]);
    }

    #[test]
    fn what_makes_no_map_is_refused_with_the_reason() {
        let good = on(0, &[1, 2, 3]);
        let refused: [(&[Placement], &str); 10] = [
            (&[], "partition 0 is not placed"),
            (std::slice::from_ref(&good), "partition 1 is not placed"),
            (&[good.clone(), on(1, &[3, 2, 1]), good.clone()], "partition 0 is placed twice"),
            (&[good.clone(), on(2, &[3, 2, 1])], "there is no partition 2 of keyspace 1"),
            (&[on(u32::MAX, &[3, 2, 1])], "there is no partition 4294967295 of keyspace 1"),
            (&[Placement { keyspace: 2, ..good.clone() }], "there is no partition 0 of keyspace 2"),
            (&[on(0, &[1, 2])], "partition 0 is placed on 2 nodes instead of 3"),
            (&[on(0, &[1, 2, 3, 4])], "partition 0 is placed on 4 nodes instead of 3"),
            (&[on(0, &[1, 2, 5])], "partition 0 is placed on 5, which is no node"),
            (&[on(0, &[1, 2, 1])], "partition 0 is placed twice on node 1"),
        ];
        for (answer, why) in refused {
            assert_eq!(map(&nodes(4), 2, 3, answer), Err(why.to_owned()), "{answer:?}");
        }
    }
}
