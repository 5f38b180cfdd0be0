//! Moves of partitions from one group to another, as the cluster records them.
//!
//! A move is a row from the operator's command to its end. The row says who takes part, and how far it has come as far as routing is
//! concerned; what has been decided is in the logs of the two groups (`recoil_consensus::ownership`), and meta is not in the critical
//! section. A move is *moving* until its target owns the partition, then the map is *flipped* and it stays until the old copies are
//! gone. While it is moving it may be *cancelled*; if the source has released the partition by then, it goes forward all the same.
//!
//! Invariants, checked in apply: a partition takes part in at most one move; a move begins at the partition's present placement and
//! gives it the next epoch; its target is a group of the keyspace, on nodes that the keyspace's rule allows; the map names the target only
//! once somebody has seen the target own the partition.
//!
//! Ids of moves grow and are never given twice: they are made from the index of the entry that begins them.
//!
//! Bounded: [`MOVES_MAX`] at a time, [`GROUPS_A_NODE_MAX`] groups of a keyspace with a replica on one node.

use recoil_base::{GroupId, KeyspaceId, NodeId, PartitionId};
use serde::{Deserialize, Serialize};

use super::rows::RowKey;
use super::{Changes, GROUPS_OF_ALL_MAX, GroupRecord, MetaReply, MetaState, Placement, Refusal};

/// Moves that may be recorded at a time.
pub const MOVES_MAX: usize = 1000;
/// Moves that one entry may begin.
pub const MOVES_AN_ENTRY_MAX: usize = 256;
/// Groups of one keyspace of which one node may have replicas: the more sets of replicas there are, the likelier a few lost nodes hit all of one.
pub const GROUPS_A_NODE_MAX: usize = 16;

/// How far a move has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MoveState {
    /// The source owns the partition, or has just released it.
    Moving,
    /// As before, and it is to come to nothing unless the source has released the partition.
    Cancelling,
    /// The target owns it. The old copies stay until a majority of the target's replicas, and every one that is not lost, has all rows.
    Flipped,
}

/// A move of a partition from one group to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MoveRecord {
    /// Of which keyspace.
    pub keyspace: KeyspaceId,
    /// The partition.
    pub partition: PartitionId,
    /// The group that gives it up.
    pub source: GroupId,
    /// The group that takes it.
    pub target: GroupId,
    /// Its epoch in the target.
    pub epoch: u64,
    /// How far it has come.
    pub state: MoveState,
}

impl MetaState {
    /// The move that a partition takes part in.
    pub fn move_of(&self, keyspace: KeyspaceId, partition: PartitionId) -> Option<(u64, &MoveRecord)> {
        let id = self.moving.get(&(keyspace, partition))?;
        Some((*id, self.moves.get(id)?))
    }

    /// The group of a keyspace with exactly these replicas, if there is one.
    pub fn group_of(&self, keyspace: KeyspaceId, members: &[NodeId]) -> Option<GroupId> {
        let is_it = |group: &GroupRecord| group.keyspace == keyspace && group.members[..] == *members;
        self.groups.iter().find(|(_, group)| is_it(group)).map(|(id, _)| *id)
    }

    pub(super) fn start_moves(
        &mut self,
        keyspace: KeyspaceId,
        partitions: &[PartitionId],
        to: Vec<NodeId>,
        changes: &mut Changes,
    ) -> MetaReply {
        if partitions.is_empty() || partitions.len() > MOVES_AN_ENTRY_MAX {
            let count = partitions.len();
            return Err(Refusal::invalid(format!(
                "{count} partitions are to be moved at once; 1 to {MOVES_AN_ENTRY_MAX} may be"
            )));
        }
        if self.moves.size() + partitions.len() > MOVES_MAX {
            let count = self.moves.size();
            return Err(Refusal::conflict(format!(
                "{count} moves are under way, and at most {MOVES_MAX} may be: wait until some have ended"
            )));
        }
        let set = self.replica_set(keyspace, to)?;
        let target = self.target_group(keyspace, &set, changes)?;
        let mut is_there = 0;
        for (place, partition) in partitions.iter().enumerate() {
            let known = self.keyspaces.get(&keyspace).and_then(|keyspace| keyspace.partitions.get(*partition));
            let placement = known.ok_or_else(|| {
                Refusal::not_found(format!("there is no partition {partition} of keyspace {keyspace}"))
            })?;
            if placement.group == target && self.move_of(keyspace, *partition).is_none() {
                is_there += 1;
                continue;
            }
            if let Some((id, record)) = self.move_of(keyspace, *partition) {
                if (record.target, record.state) == (target, MoveState::Moving) {
                    continue; // a repetition
                }
                return Err(Refusal::conflict(format!(
                    "partition {partition} is being moved already (move {id}): wait until that has ended, or cancel it"
                )));
            }
            let id = self.header.index * MOVES_MAX as u64 + place as u64;
            let (source, epoch) = (placement.group, placement.epoch + 1);
            let record =
                MoveRecord { keyspace, partition: *partition, source, target, epoch, state: MoveState::Moving };
            self.moves.insert_mut(id, record);
            self.moving.insert_mut((keyspace, *partition), id);
            changes.push(RowKey::Move(id));
        }
        match is_there == partitions.len() {
            true => Err(Refusal::conflict("what is to be moved is on these nodes already, in this order")),
            false => Ok(()),
        }
    }

    /// The nodes as a replica set: the first leads, the others are in the order of their ids, so that few sets are made.
    fn replica_set(&self, keyspace: KeyspaceId, mut to: Vec<NodeId>) -> Result<Vec<NodeId>, Refusal> {
        let record = self.keyspaces.get(&keyspace);
        let record = record.ok_or_else(|| Refusal::not_found(format!("there is no keyspace {keyspace}")))?;
        let wanted = self.replicas_wanted(record);
        if to.len() != wanted {
            return Err(Refusal::invalid(format!(
                "a partition of this keyspace has {wanted} replicas, not {}: name {wanted} nodes, first the one that is to lead",
                to.len()
            )));
        }
        if let Some(node) = to.iter().enumerate().find_map(|(place, node)| to[..place].contains(node).then_some(node)) {
            return Err(Refusal::invalid(format!("node {node} is named twice")));
        }
        if let Some(node) = to.iter().find(|node| !self.active_members().any(|(active, _)| active == *node)) {
            return Err(Refusal::not_found(format!("there is no node {node} in the cluster, or it is not active")));
        }
        if let Some(node) = to.iter().find(|node| self.is_lost(**node)) {
            return Err(Refusal::conflict(format!(
                "node {node} counts as lost: start it again, or choose another one"
            )));
        }
        self.check_rules(&record.name, &record.rules, &to)?;
        to[1..].sort_unstable();
        Ok(to)
    }

    /// The group of a replica set, made if there is none.
    fn target_group(
        &mut self,
        keyspace: KeyspaceId,
        set: &[NodeId],
        changes: &mut Changes,
    ) -> Result<GroupId, Refusal> {
        if let Some(group) = self.group_of(keyspace, set) {
            return Ok(group);
        }
        let groups = |node: &NodeId| {
            let all = || self.groups.values().filter(|group| group.members.contains(node));
            (all().filter(|group| group.keyspace == keyspace).count(), all().count())
        };
        let is_full = |node: &&NodeId| {
            let (own, all) = groups(node);
            own >= GROUPS_A_NODE_MAX || all >= GROUPS_OF_ALL_MAX
        };
        if let Some(node) = set.iter().find(is_full) {
            return Err(Refusal::conflict(format!(
                "node {node} has replicas of {GROUPS_A_NODE_MAX} groups of the keyspace, or of {GROUPS_OF_ALL_MAX} in all, which is the most there may be: choose a set of nodes that other \
                 partitions have already"
            )));
        }
        let id = GroupId(self.header.next_group);
        self.header.next_group += 1;
        self.groups.insert_mut(id, GroupRecord { members: set.into(), initialised: false, keyspace });
        changes.push(RowKey::Group(id));
        // Nodes open the group.
        self.routing_changed();
        Ok(id)
    }

    pub(super) fn cancel_move(&mut self, id: u64, changes: &mut Changes) -> MetaReply {
        let record = self
            .moves
            .get(&id)
            .copied()
            .ok_or_else(|| Refusal::not_found(format!("there is no move {id} any more")))?;
        match record.state {
            MoveState::Cancelling => Ok(()),
            MoveState::Flipped => {
                Err(Refusal::conflict(format!("move {id} cannot be cancelled any more: the partition has moved")))
            }
            MoveState::Moving => {
                self.set_move(id, MoveRecord { state: MoveState::Cancelling, ..record }, changes);
                Ok(())
            }
        }
    }

    pub(super) fn flip(&mut self, ids: &[u64], changes: &mut Changes) -> MetaReply {
        for id in ids {
            let Some(record) = self.moves.get(id).copied().filter(|record| record.state != MoveState::Flipped) else {
                continue; // a repetition
            };
            let MoveRecord { keyspace, partition, source, target, epoch, .. } = record;
            if let Some(mut found) = self.keyspaces.get(&keyspace).cloned() {
                found.partitions.set(partition, Placement { group: target, epoch });
                self.keyspaces.insert_mut(keyspace, found);
                changes.push(RowKey::Placement(keyspace, partition));
                self.host_elsewhere((keyspace, partition), source, target);
                self.routing_changed();
            }
            self.set_move(*id, MoveRecord { state: MoveState::Flipped, ..record }, changes);
        }
        Ok(())
    }

    pub(super) fn end_moves(&mut self, ids: &[u64], changes: &mut Changes) -> MetaReply {
        for id in ids {
            let Some(record) = self.moves.get(id).copied() else { continue };
            if record.state == MoveState::Moving {
                return Err(Refusal::conflict(format!("move {id} has neither moved its partition nor been cancelled")));
            }
            self.moves.remove_mut(id);
            self.moving.remove_mut(&(record.keyspace, record.partition));
            changes.push(RowKey::Move(*id));
        }
        Ok(())
    }

    pub(super) fn set_move(&mut self, id: u64, record: MoveRecord, changes: &mut Changes) {
        self.moves.insert_mut(id, record);
        changes.push(RowKey::Move(id));
    }

    /// Keeps the index of placements by group.
    fn host_elsewhere(&mut self, partition: (KeyspaceId, PartitionId), source: GroupId, target: GroupId) {
        let of = |group: GroupId| self.hosted.get(&group).map(|all| all.to_vec()).unwrap_or_default();
        let (mut left, mut grown) = (of(source), of(target));
        left.retain(|other| *other != partition);
        grown.push(partition);
        grown.sort_unstable();
        // As the index is made from the map, which has no entry for a group without partitions.
        match left.is_empty() {
            true => drop(self.hosted.remove_mut(&source)),
            false => self.hosted.insert_mut(source, left.into()),
        }
        self.hosted.insert_mut(target, grown.into());
    }

    /// Makes the index of moves by partition.
    pub(super) fn index_moves(&mut self) {
        self.moving = self.moves.iter().map(|(id, record)| ((record.keyspace, record.partition), *id)).collect();
    }
}
