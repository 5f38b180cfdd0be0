//! Members, as operators see, drain and decommission them.

use recoil_base::{NodeId, PartitionId};
use recoil_cluster::MetaCommand;
use recoil_cluster::meta::{Member, MemberState, MetaState};
use recoil_gateway::api::{
    AdminError, DecommissionReply, DecommissionRequest, DepartingPartition, Membership, NodeDetail, NodeState,
};

use crate::departures::{Observed, refusals};
use crate::node::Parts;
use crate::status::membership;

/// What to do about a change that was refused.
const HINT: &str = "recoilctl node list shows the members";

impl Parts {
    /// One member, or what is known of one that was removed.
    pub(crate) fn node_now(&self, node: NodeId) -> Result<NodeDetail, AdminError> {
        let state = self.states.borrow().clone();
        match state.members.get(&node) {
            Some(member) => Ok(self.node_detail(&state, node, member)),
            None if state.is_removed(node) => Ok(removed(node)),
            None => {
                let text = format!("there is no node {node} in the cluster");
                Err(AdminError::not_found(text, HINT))
            }
        }
    }

    fn node_detail(&self, state: &MetaState, node: NodeId, member: &Member) -> NodeDetail {
        let numbers = self.meta().map(|meta| meta.numbers());
        let groups: Vec<_> = state.groups_in_use_on(node).map(|(id, _)| id).collect();
        let led = groups.iter().filter(|id| self.leader_of(**id) == Some(node));
        let mut detail = NodeDetail {
            id: node,
            membership: membership(member.state),
            successor: member.successor,
            member: Some(member.number),
            address: Some(member.address),
            state: if self.peers.is_live(node) { NodeState::Live } else { NodeState::Down },
            version: member.version.clone(),
            locality: member.locality.to_string(),
            capacity: member.capacity,
            partitions_led: led.map(|id| state.partition_count(*id) as u32).sum(),
            replicas: groups.iter().map(|id| state.partition_count(*id) as u32).sum(),
            groups: groups.len() as u32,
            is_meta_leader: numbers.as_ref().is_some_and(|numbers| numbers.leader == Some(node)),
            is_meta_voter: numbers.as_ref().is_some_and(|numbers| numbers.voters.contains(&node)),
            waits_for: vec![],
            is_done: false,
        };
        detail.waits_for = waits_for(state, member, &detail);
        detail.is_done = match detail.membership {
            Membership::Draining => detail.waits_for.is_empty(),
            // Done with its removal.
            Membership::Decommissioning => false,
            Membership::Active | Membership::Displaced | Membership::Removed => true,
        };
        detail
    }

    /// Has a member give away what it leads and take no new connections.
    pub(crate) async fn drain_node(&self, node: NodeId) -> Result<NodeDetail, AdminError> {
        self.change(&MetaCommand::Drain { node }).await.map_err(|error| error.with_hint(HINT))?;
        self.node_now(node)
    }

    /// Makes a member active again.
    pub(crate) async fn undrain_node(&self, node: NodeId) -> Result<NodeDetail, AdminError> {
        self.change(&MetaCommand::Undrain { node }).await.map_err(|error| error.with_hint(HINT))?;
        self.node_now(node)
    }

    /// Has a member removed once its replicas are elsewhere, or says what that would mean.
    pub(crate) async fn decommission_node(
        &self,
        node: NodeId,
        request: DecommissionRequest,
    ) -> Result<DecommissionReply, AdminError> {
        let DecommissionRequest { dry_run, successor } = request;
        // So that it is known here whom an earlier command has sent away.
        self.catch_up().await?;
        let now = self.node_now(node)?;
        if now.membership == Membership::Removed {
            return Ok(DecommissionReply { node: now, dry_run, refusals: vec![], partitions: vec![] });
        }
        let state = self.states.borrow().clone();
        let voters = self.meta().map(|meta| meta.numbers().voters).unwrap_or_default();
        let is_live = |node: NodeId| self.peers.is_live(node);
        let refusals = match now.membership {
            // It was looked at before, and goes on.
            Membership::Decommissioning => vec![],
            _ => refusals(&Observed { state: &state, voters: &voters, is_live: &is_live }, node),
        };
        let partitions = self.departing(&state, node);
        if dry_run {
            return Ok(DecommissionReply { node: now, dry_run, refusals, partitions });
        }
        if !refusals.is_empty() {
            let text = format!("node {node} cannot be decommissioned: {}", refusals.join("; "));
            return Err(AdminError::conflict(text, "recoilctl node decommission --dry-run lists what would move"));
        }
        self.change(&MetaCommand::Decommission { node, successor }).await.map_err(|error| error.with_hint(HINT))?;
        Ok(DecommissionReply { node: self.node_now(node)?, dry_run, refusals, partitions })
    }

    fn departing(&self, state: &MetaState, node: NodeId) -> Vec<DepartingPartition> {
        let mut all = Vec::new();
        for (id, group) in state.groups_in_use_on(node) {
            for (keyspace, partition, _) in state.partitions_of(id) {
                let PartitionId(number) = partition;
                all.push(DepartingPartition {
                    keyspace: state.keyspaces.get(&keyspace).map(|found| found.name.clone()).unwrap_or_default(),
                    partition: number,
                    group: id,
                    replicas: group.members.to_vec(),
                    is_led: self.leader_of(id) == Some(node),
                    is_moving: state.move_of(keyspace, partition).is_some(),
                });
            }
        }
        all.sort_by_key(|departing| departing.partition);
        all
    }
}

fn removed(node: NodeId) -> NodeDetail {
    NodeDetail {
        id: node,
        membership: Membership::Removed,
        successor: None,
        member: None,
        address: None,
        state: NodeState::Unknown,
        version: String::new(),
        locality: String::new(),
        capacity: 0,
        groups: 0,
        replicas: 0,
        partitions_led: 0,
        is_meta_leader: false,
        is_meta_voter: false,
        waits_for: vec![],
        is_done: true,
    }
}

/// What a member that leaves has yet to give away.
fn waits_for(state: &MetaState, member: &Member, detail: &NodeDetail) -> Vec<String> {
    let is_going = member.state == MemberState::Decommissioning;
    if !is_going && member.state != MemberState::Draining {
        return vec![];
    }
    let mut waits = Vec::new();
    if detail.partitions_led > 0 {
        waits.push(format!("{} partitions that it leads get other leaders", detail.partitions_led));
    }
    if detail.is_meta_leader {
        waits.push("the meta group gets another leader".to_owned());
    }
    // A drained node keeps what no other node can take; its operator need not wait for that.
    let may_move = state.refuse_decommission(detail.id).is_empty();
    if detail.groups > 0 && (is_going || may_move) {
        waits.push(format!("{} partitions of {} groups move to other nodes", detail.replicas, detail.groups));
    }
    if is_going && detail.is_meta_voter {
        waits.push("the meta group gets other voters".to_owned());
    }
    if is_going && waits.is_empty() {
        waits.push(state.refuse_removal(detail.id).unwrap_or_else(|| "its removal is recorded".to_owned()));
    }
    waits
}
