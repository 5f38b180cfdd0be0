//! What the planner sees of the cluster's state.

use recoil_base::NodeId;

use super::{Budget, Node, Partition, Role, View};
use crate::meta::{Member, MemberState, MetaState};

impl View {
    /// The cluster, with the nodes that answer now.
    ///
    /// It is healthy, if balancing is switched on and every member that may hold replicas answers: as long as one does not, it may come back with what it has, and what
    /// moves to it or from it would wait.
    pub fn of(state: &MetaState, is_live: impl Fn(NodeId) -> bool, budget: Budget) -> Self {
        let nodes: std::collections::BTreeMap<NodeId, Node> = state
            .members
            .iter()
            .map(|(id, member)| {
                let zone = member.locality.tiers().first().map(|(_, value)| value.clone()).unwrap_or_default();
                let (role, capacity, is_live) = (role(state, *id, member), member.capacity, is_live(*id));
                (*id, Node { role, capacity, zone, is_live, successor: member.successor })
            })
            .collect();
        let may_balance = state.settings.balances;
        let is_healthy =
            may_balance && nodes.values().filter(|node| node.role == Role::Member).all(|node| node.is_live);
        let mut partitions = Vec::new();
        for (id, keyspace) in &state.keyspaces {
            let replicas = state.replicas_wanted(keyspace);
            for (number, placement) in (0..).zip(keyspace.partitions.iter()) {
                let partition = recoil_base::PartitionId(number);
                let moving = state.move_of(*id, partition).map(|(_, record)| record.target);
                let (group, is_moving) = (moving.unwrap_or(placement.group), moving.is_some());
                partitions.push(Partition { keyspace: *id, partition, group, replicas, is_moving });
            }
        }
        View {
            nodes,
            groups: state.groups.iter().map(|(id, record)| (*id, record.members.clone())).collect(),
            partitions,
            moves: state.moves.values().map(|record| (record.source, record.target)).collect(),
            budget,
            is_healthy,
        }
    }
}

fn role(state: &MetaState, node: NodeId, member: &Member) -> Role {
    if state.is_lost(node) {
        Role::Lost
    } else if member.state == MemberState::Active {
        Role::Member
    } else if member.state == MemberState::Displaced {
        Role::Waiting
    } else {
        Role::Leaving
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::meta::MetaCommand;

    /// Fails if a node that leaves or is lost counts as one that may hold data, if the node that should take its place is forgotten, or if
    /// partitions are to have fewer replicas for a drained node.
    #[test]
    fn nodes_are_seen_by_what_the_cluster_records_of_them() {
        let mut state = MetaState::default();
        let mut apply = |command: MetaCommand| {
            let index = state.header.index + 1;
            state.apply(index, command, &mut vec![]).unwrap();
        };
        apply(MetaCommand::Found { cluster: "c".into(), expect: 5, partitions: 1, replication: 3 });
        for node in 1..=6 {
            let join = serde_json::json!({
                "command": "join", "node": format!("{node:08x}"), "address": format!("10.0.0.{node}:7400"), "incarnation": 1,
                "start": 1, "version": "0", "port_offset": 0, "levels": { "min": 1, "max": 1 }, "locality": "zone=z",
                "capacity": 100, "displaces": null
            });
            apply(serde_json::from_value(join).unwrap());
        }
        apply(MetaCommand::MakeMap { sets: vec![vec![NodeId(1), NodeId(2), NodeId(3)]], partitions: vec![0] });
        apply(MetaCommand::Drain { node: NodeId(2) });
        apply(MetaCommand::Decommission { node: NodeId(3), successor: Some(NodeId(4)) });
        apply(MetaCommand::MarkLost { node: NodeId(5), incarnation: 1, start: 1 });
        let view = View::of(&state, |node| node != NodeId(5), Budget { cluster: 1, node: 1 });
        let roles: Vec<Role> = view.nodes.values().map(|node| node.role).collect();
        assert_eq!(roles, [Role::Member, Role::Leaving, Role::Leaving, Role::Member, Role::Lost, Role::Member]);
        let node = |id: u32| &view.nodes[&NodeId(id)];
        assert_eq!((node(3).successor, node(2).successor), (Some(NodeId(4)), None));
        assert!(node(1).is_live && !node(5).is_live && node(1).zone == "z");
        assert_eq!(view.partitions[0].replicas, 3);
        assert!(view.is_healthy, "every node that may hold data answers");
    }
}
