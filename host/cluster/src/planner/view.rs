//! What the planner sees of the cluster's state.

use recoil_base::{KeyspaceId, NodeId};

use super::{Budget, Node, Partition, Role, View};
use crate::meta::{Keyspace, Member, MemberState, MetaState};

impl View {
    /// All keyspaces, with the nodes that answer now.
    pub fn all(state: &MetaState, is_live: impl Fn(NodeId) -> bool, budget: Budget) -> Vec<Self> {
        state.keyspaces.iter().map(|(id, keyspace)| View::of(state, (*id, keyspace), &is_live, budget)).collect()
    }

    /// One keyspace, with the nodes that answer now.
    ///
    /// It is healthy, if balancing is switched on and every member that may hold its replicas answers: as long as one does not, it may come
    /// back with what it has, and what moves to it or from it would wait.
    pub fn of(
        state: &MetaState,
        (id, keyspace): (KeyspaceId, &Keyspace),
        is_live: &impl Fn(NodeId) -> bool,
        budget: Budget,
    ) -> Self {
        let rules = &keyspace.rules;
        let node = |(id, member): (&NodeId, &Member)| {
            let role = match role(state, *id, member) {
                Role::Member | Role::Waiting if !rules.allow(&member.locality) => Role::Leaving,
                role => role,
            };
            let node = Node {
                role,
                capacity: member.capacity,
                zone: rules.zone_of(&member.locality),
                is_preferred: member.locality.has(&rules.prefer_leader),
                is_live: is_live(*id),
                successor: member.successor,
            };
            (*id, node)
        };
        let nodes: std::collections::BTreeMap<NodeId, Node> = state.members.iter().map(node).collect();
        let may_balance = state.settings.balances;
        let is_healthy =
            may_balance && nodes.values().filter(|node| node.role == Role::Member).all(|node| node.is_live);
        // If no node is left that the rule allows, everything stays as it is.
        let wanted = state.replicas_wanted(keyspace);
        let mut partitions = Vec::new();
        for (number, placement) in (0..).zip(keyspace.partitions.iter()) {
            let partition = recoil_base::PartitionId(number);
            let moving = state.move_of(id, partition).map(|(_, record)| record.target);
            let (group, is_moving) = (moving.unwrap_or(placement.group), moving.is_some());
            let present = || state.groups.get(&group).map_or(0, |group| group.members.len());
            let replicas = if wanted == 0 { present() } else { wanted };
            partitions.push(Partition { keyspace: id, partition, group, replicas, is_moving });
        }
        let own_groups = state.groups.iter().filter(|(_, record)| record.keyspace == id);
        let own_moves = state.moves.values().filter(|record| record.keyspace == id);
        View {
            nodes,
            groups: own_groups.map(|(id, record)| (*id, record.members.clone())).collect(),
            partitions,
            moves: own_moves.map(|record| (record.source, record.target)).collect(),
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
        let view = View::all(&state, |node| node != NodeId(5), Budget { cluster: 1, node: 1 }).remove(0);
        let roles: Vec<Role> = view.nodes.values().map(|node| node.role).collect();
        assert_eq!(roles, [Role::Member, Role::Leaving, Role::Leaving, Role::Member, Role::Lost, Role::Member]);
        let node = |id: u32| &view.nodes[&NodeId(id)];
        assert_eq!((node(3).successor, node(2).successor), (Some(NodeId(4)), None));
        assert!(node(1).is_live && !node(5).is_live && node(1).zone == "z");
        assert_eq!(view.partitions[0].replicas, 3);
        assert!(view.is_healthy, "every node that may hold data answers");
    }
}
