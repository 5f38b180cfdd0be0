//! Partitions and their moves, as operators see and begin them.

use recoil_base::{GroupId, KeyspaceId, NodeId, PartitionId};
use recoil_cluster::MetaCommand;
use recoil_cluster::meta::{DEFAULT_KEYSPACE, MOVES_AN_ENTRY_MAX, MetaState, MoveRecord, MoveState, Placement};
use recoil_gateway::api::{AdminError, ClusterStatus, MoveRequest, MoveStateName, MoveStatus, PartitionStatus};

use crate::keyspaces::find;
use crate::moves;
use crate::node::Parts;

impl Parts {
    /// Every partition, in order, of one keyspace or of all.
    pub(crate) fn partitions_now(&self, only: Option<&str>) -> Result<Vec<PartitionStatus>, AdminError> {
        let state = self.states.borrow().clone();
        let only = only.map(|name| find(&state, name).map(|(id, _)| id)).transpose()?;
        let mut all = Vec::new();
        for (id, keyspace) in state.keyspaces.iter().filter(|(id, _)| only.is_none_or(|only| only == **id)) {
            for (number, placement) in (0..).zip(keyspace.partitions.iter()) {
                all.push(self.partition_status(&state, (*id, PartitionId(number)), placement));
            }
        }
        Ok(all)
    }

    /// One partition, of the default keyspace if none is named.
    pub(crate) fn partition_now(&self, keyspace: Option<&str>, partition: u32) -> Result<PartitionStatus, AdminError> {
        let state = self.states.borrow().clone();
        let id = keyspace.map_or(Ok(DEFAULT_KEYSPACE), |name| find(&state, name).map(|(id, _)| id))?;
        let keyspace = state.keyspaces.get(&id);
        let placement = keyspace.and_then(|keyspace| keyspace.partitions.get(PartitionId(partition)));
        let placement = placement.ok_or_else(|| {
            let count = keyspace.map_or(0, |keyspace| keyspace.partitions.len());
            AdminError::not_found(format!("there is no partition {partition}: there are {count}, counted from 0"), "")
        })?;
        Ok(self.partition_status(&state, (id, PartitionId(partition)), placement))
    }

    /// The moves that have not ended.
    pub(crate) fn moves_now(&self) -> Vec<MoveStatus> {
        let state = self.states.borrow().clone();
        state.moves.iter().map(|(id, record)| self.move_status(&state, *id, record)).collect()
    }

    /// How the cluster keeps its partitions placed.
    pub(crate) fn cluster_now(&self) -> ClusterStatus {
        let state = self.states.borrow().clone();
        ClusterStatus {
            repair_after_seconds: state.settings.repair_after_s,
            move_rate_bytes: state.settings.move_rate_bytes,
            balance: state.settings.balances,
            paused: state.settings.is_paused,
            moves: state.moves.size() as u32,
            lost: state.lost.keys().copied().collect(),
        }
    }

    /// Begins to move partitions.
    pub(crate) async fn move_partitions(&self, request: MoveRequest) -> Result<Vec<MoveStatus>, AdminError> {
        let MoveRequest { keyspace, partitions, to } = request;
        let name = keyspace.as_deref();
        let keyspace = name.map_or(Ok(DEFAULT_KEYSPACE), |name| find(&self.states.borrow(), name).map(|(id, _)| id))?;
        if partitions.len() > MOVES_AN_ENTRY_MAX {
            let text =
                format!("{} partitions are to be moved at once; at most {MOVES_AN_ENTRY_MAX} may be", partitions.len());
            return Err(AdminError::invalid(text, "move them a part at a time"));
        }
        if let Some(node) = to.iter().find(|node| !self.peers.is_live(**node)) {
            let text = format!("node {node} does not answer, so nothing can be moved to it");
            return Err(AdminError::conflict(text, "recoilctl status shows which nodes are live"));
        }
        let partitions: Vec<PartitionId> = partitions.into_iter().map(PartitionId).collect();
        let command = MetaCommand::Move { keyspace, partitions: partitions.clone(), to };
        let begun = self.change(&command).await;
        begun.map_err(|error| error.with_hint("recoilctl partition list shows where partitions are"))?;
        let state = self.states.borrow().clone();
        let begun = partitions.into_iter().filter_map(|partition| state.move_of(keyspace, partition));
        Ok(begun.map(|(id, record)| self.move_status(&state, id, record)).collect())
    }

    fn partition_status(
        &self,
        state: &MetaState,
        (keyspace, partition): (KeyspaceId, PartitionId),
        Placement { group, epoch }: Placement,
    ) -> PartitionStatus {
        let replicas = members(state, group);
        let replicas_live = replicas.iter().filter(|node| self.peers.is_live(**node)).count() as u32;
        let moving = state.move_of(keyspace, partition).map(|(id, record)| self.move_status(state, id, record));
        // Of a move that copies, some replica has not reported that it has all rows.
        let lacks_rows = moving.as_ref().is_some_and(|moving| moving.state == MoveStateName::Copying);
        let wanted = state.keyspaces.get(&keyspace).map_or(0, |keyspace| state.replicas_wanted(keyspace) as u32);
        let wanted = wanted.max(replicas.len() as u32);
        PartitionStatus {
            keyspace: name(state, keyspace),
            partition: partition.0,
            epoch,
            group,
            leader: self.leader_of(group),
            replicas,
            replicas_live,
            under_replicated: lacks_rows || replicas_live < wanted,
            moving,
        }
    }

    fn move_status(&self, state: &MetaState, id: u64, record: &MoveRecord) -> MoveStatus {
        MoveStatus {
            id,
            keyspace: name(state, record.keyspace),
            partition: record.partition.0,
            source: record.source,
            target: record.target,
            from: members(state, record.source),
            to: members(state, record.target),
            state: match record.state {
                MoveState::Moving => MoveStateName::Moving,
                MoveState::Cancelling => MoveStateName::Cancelling,
                MoveState::Flipped => MoveStateName::Copying,
            },
            waits_for: moves::waits_for(self, id),
        }
    }
}

fn members(state: &MetaState, group: GroupId) -> Vec<NodeId> {
    state.groups.get(&group).map(|group| group.members.to_vec()).unwrap_or_default()
}

fn name(state: &MetaState, keyspace: KeyspaceId) -> String {
    state.keyspaces.get(&keyspace).map(|keyspace| keyspace.name.clone()).unwrap_or_default()
}
