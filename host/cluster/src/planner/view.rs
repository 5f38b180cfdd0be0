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
