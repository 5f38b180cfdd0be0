//! What a [`Scheduler`](crate::Scheduler) is shown, and what its plan is made of.
//!
//! These are the contract's records as they are, in vectors: a test writes a [`View`] down and compares the plan.
//!
//! A node's `locality` is pairs such as `zone` and `a`, from the widest to the narrowest; a [`Rule`] is that of a keyspace and names the
//! pairs that each replica's node must have, the keys in whose values replicas should differ, and the pairs that the leader's node should
//! have. The first of `replicas` is the preferred leader; a partition that is nowhere yet has none. A placement's `reason` is for operators.

pub use crate::bindings::scheduler::exports::recoil::plugin::scheduler::{
    Load, Node, NodeState, Partition, Placement, Rule, View,
};

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Error, Scheduler};

    /// Leaves nothing on nodes that are down.
    struct Evacuation;

    impl Scheduler for Evacuation {
        fn plan(view: &View) -> Result<Vec<Placement>, Error> {
            let is_down = |id: &u32| view.nodes.iter().any(|node| node.id == *id && node.state == NodeState::Down);
            let mut plan = Vec::new();
            for partition in view.partitions.iter().filter(|partition| partition.replicas.iter().any(is_down)) {
                let replicas: Vec<u32> = partition.replicas.iter().copied().filter(|id| !is_down(id)).collect();
                if replicas.is_empty() {
                    return Err(format!("partition {} is lost", partition.id).into());
                }
                let reason = "a node is down".to_owned();
                plan.push(Placement { keyspace: partition.keyspace, id: partition.id, replicas, reason });
            }
            Ok(plan)
        }
    }

    crate::export!(Evacuation: scheduler);

    fn node(id: u32, state: NodeState) -> Node {
        let locality = vec![("zone".to_owned(), "a".to_owned())];
        Node { id, state, locality, capacity_bytes: u64::MAX, used_bytes: 1, cpu_load: 0.5 }
    }

    fn partition(id: u32, replicas: &[u32]) -> Partition {
        let load = Load { reads_per_second: 1.5, writes_per_second: 0.0, cpu_seconds_per_second: 0.25, bytes: 1 << 40 };
        Partition { keyspace: 1, id, replicas: replicas.to_vec(), load }
    }

    #[test]
    fn a_plan_is_a_function_of_its_view() {
        let nodes = vec![node(1, NodeState::Live), node(2, NodeState::Down), node(3, NodeState::Draining)];
        let mut view = View { nodes, rules: vec![], partitions: vec![partition(0, &[1, 3]), partition(1, &[2, 3])] };
        let moved = Placement { keyspace: 1, id: 1, replicas: vec![3], reason: "a node is down".to_owned() };
        assert_eq!(Evacuation::plan(&view), Ok(vec![moved]));
        view.partitions.push(partition(2, &[2]));
        assert_eq!(Evacuation::plan(&view), Err(Error::new("partition 2 is lost")));
    }
}
