//! What is seen of moves while they happen: every change of a partition's rows on a node, and of
//! the record of a move.
//!
//! A step is seen in the millisecond in which its batch is in the data, which need not be persisted
//! yet: so whoever lets a fault come at a step ([`crate::nemesis`]) meets moves between any two of
//! their steps. Two rules of the protocol are checked at every step, so that a fault that breaks
//! them is found where it happens and not only when a replica is lost later:
//!
//! - **One owner.** No two groups ever own a partition in the same epoch, by whatever their
//!   replicas have applied.
//! - **Old copies stay.** When a replica of the source has dropped its copy for good, every replica
//!   of the target has all rows, unless it has been given up: its member counted as lost at some
//!   time, or was decommissioned, or lost its data.

use std::collections::{BTreeMap, BTreeSet};

use recoil_base::{GroupId, KeyspaceId, NodeId, PartitionId};
use recoil_cluster::MetaState;
use recoil_cluster::meta::{MemberState, MoveRecord, MoveState};
use recoil_consensus::{CopyState, Move, PartitionRef, PartitionState, Phase};

use crate::trace::note;
use crate::world::{Failure, World};

/// A step of a move, where it was seen.
pub(crate) struct Step {
    pub(crate) place: usize,
}

/// The rows that a boot of a node was seen with.
#[derive(Default)]
struct Seen {
    boot: u64,
    changes: u64,
    rows: BTreeMap<(GroupId, PartitionRef), PartitionState>,
}

/// See the module's essay.
#[derive(Default)]
pub(crate) struct Watch {
    seen: BTreeMap<usize, Seen>,
    owners: BTreeMap<(PartitionRef, u64), GroupId>,
    /// The newest state of the cluster.
    index: u64,
    moves: BTreeMap<u64, MoveRecord>,
    /// Members whose replicas the old copies of a move need not wait for.
    given_up: BTreeSet<NodeId>,
}

impl Watch {
    /// A replica has lost rows by a fault that is not the cluster's.
    pub(crate) fn give_up(&mut self, node: Option<NodeId>) {
        self.given_up.extend(node);
    }

    /// Answers the steps since the last look.
    pub(crate) fn look(&mut self, world: &World) -> Result<Vec<Step>, Failure> {
        let mut steps = Vec::new();
        let newest = world.newest_state();
        if let Some((place, state)) = newest.as_ref().filter(|(_, state)| state.header.index > self.index) {
            self.look_at_moves(*place, state, &mut steps);
        }
        for place in 0..world.machines.len() {
            if let Some((_, state)) = &newest {
                self.look_at_rows(world, place, state, &mut steps)?;
            }
        }
        Ok(steps)
    }

    fn look_at_moves(&mut self, place: usize, state: &MetaState, steps: &mut Vec<Step>) {
        self.index = state.header.index;
        self.given_up.extend(state.lost.keys().copied());
        let leaving = state.members.iter().filter(|(_, member)| member.state == MemberState::Decommissioning);
        self.given_up.extend(leaving.map(|(node, _)| *node));
        let now: BTreeMap<u64, MoveRecord> = state.moves.iter().map(|(id, record)| (*id, *record)).collect();
        for (id, record) in &now {
            let MoveRecord { partition, source, target, .. } = record;
            let what = match (self.moves.get(id).map(|before| before.state), record.state) {
                (None, MoveState::Moving) => "is to move",
                (before, MoveState::Cancelling) if before != Some(MoveState::Cancelling) => "is to stay after all",
                (before, MoveState::Flipped) if before != Some(MoveState::Flipped) => "is served by its new group",
                _ => continue,
            };
            note!("move {id}  partition {partition} {what}, from group {source} to {target}");
            steps.push(Step { place });
        }
        for (id, record) in self.moves.iter().filter(|(id, _)| !now.contains_key(id)) {
            note!("move {id}  of partition {} has ended", record.partition);
            steps.push(Step { place });
        }
        self.moves = now;
    }

    fn look_at_rows(
        &mut self,
        world: &World,
        place: usize,
        state: &MetaState,
        steps: &mut Vec<Step>,
    ) -> Result<(), Failure> {
        let machine = &world.machines[place];
        let Some(node) = machine.node() else { return Ok(()) };
        let (boot, changes) = (machine.boots, node.partition_changes());
        let seen = self.seen.entry(place).or_default();
        let is_new = seen.boot != boot;
        if !is_new && seen.changes == changes {
            return Ok(());
        }
        let groups = node.kept_groups().into_iter();
        let rows = groups.flat_map(|group| {
            let states = node.partition_states(group).into_iter();
            states.map(move |(partition, state)| ((group, partition), state))
        });
        let before = std::mem::replace(seen, Seen { boot, changes, rows: rows.collect() }).rows;
        let changed: Vec<_> = seen.rows.iter().map(|(row, now)| (*row, before.get(row).copied(), *now)).collect();
        for ((group, partition), before, now) in changed.into_iter().filter(|(_, before, now)| *before != Some(*now)) {
            self.check_owner(group, partition, &now)?;
            // What a boot comes back to is no step.
            if is_new {
                continue;
            }
            let what = tell(before, &now);
            note!("node {place}  group {group} {what} partition {}", partition.partition);
            steps.push(Step { place });
            if let Some(Phase::Released(moving)) = before.map(|before| before.ownership.phase)
                && now.ownership.phase == Phase::Absent
            {
                self.check_retired(world, state, partition, moving)?;
            }
        }
        Ok(())
    }

    fn check_owner(&mut self, group: GroupId, partition: PartitionRef, now: &PartitionState) -> Result<(), Failure> {
        if now.ownership.phase != Phase::Owned {
            return Ok(());
        }
        let epoch = now.ownership.epoch;
        let owner = *self.owners.entry((partition, epoch)).or_insert(group);
        if owner == group {
            return Ok(());
        }
        let number = partition.partition;
        Err(Failure::new(
            "owners",
            format!("groups {owner} and {group} have both owned partition {number} in epoch {epoch}"),
        ))
    }

    /// The source of a move has dropped its copies: no replica of the target may lack rows.
    fn check_retired(
        &self,
        world: &World,
        state: &MetaState,
        partition: PartitionRef,
        moving: Move,
    ) -> Result<(), Failure> {
        let Move { id, other: target, epoch } = moving;
        let members = state.groups.get(&target).map(|group| group.members.to_vec()).unwrap_or_default();
        for machine in &world.machines {
            let Some(node) = machine.node() else { continue };
            if !members.contains(&node.id()) || self.given_up.contains(&node.id()) {
                continue;
            }
            let here = node.partition_states(target).get(&partition).copied().unwrap_or_default();
            let has_moved_on = here.ownership.highest > id || here.ownership.epoch > epoch;
            if !has_moved_on && (!here.ownership.is_owned_in(epoch) || here.lacks_rows()) {
                let (place, number) = (machine.place, partition.partition);
                let what = format!(
                    "the source of move {id} has dropped its copy of partition {number}, and node {place} of group {target} lacks rows: \
                     {here:?}"
                );
                return Err(Failure::new("retired", what));
            }
        }
        Ok(())
    }
}

/// What has happened to a row.
fn tell(before: Option<PartitionState>, now: &PartitionState) -> String {
    let before = before.unwrap_or_default();
    let copy = |state: &PartitionState| match state.copy.map(|copy| copy.state) {
        None => "no copy".to_owned(),
        Some(CopyState::Complete) => "a complete copy".to_owned(),
        Some(CopyState::Missing) => "a copy to be fetched".to_owned(),
        Some(CopyState::Waiting { source, .. }) => format!("a copy that waits for group {source}"),
        Some(CopyState::Pulling { .. }) => "a copy that is being fetched".to_owned(),
    };
    match (before.ownership.phase, now.ownership.phase) {
        (Phase::Expected(_), Phase::Absent) => "no longer expects".to_owned(),
        (Phase::Released(_), Phase::Absent) => "has retired".to_owned(),
        (_, Phase::Absent) => format!("takes no part in move {} of", now.ownership.highest),
        (before, Phase::Expected(moving)) if before != now.ownership.phase => {
            format!("expects, in move {}:", moving.id)
        }
        (Phase::Absent, Phase::Owned) => "begins".to_owned(),
        (Phase::Expected(moving), Phase::Owned) => format!("has adopted, in move {}, with {}:", moving.id, copy(now)),
        (Phase::Owned, Phase::Released(moving)) => format!("has released, in move {}:", moving.id),
        (Phase::Released(_), Phase::Released(_)) => format!("has handed over, and keeps {} of", copy(now)),
        (Phase::Owned, Phase::Owned) if before.ownership.highest != now.ownership.highest => {
            format!("has cancelled move {} of", now.ownership.highest)
        }
        (Phase::Owned, Phase::Owned) => format!("has now {} of", copy(now)),
        (_, phase) => format!("is at once in phase {phase:?} of"),
    }
}

/// The partition of the one keyspace that a simulated cluster has.
pub(crate) fn partition(keyspace: KeyspaceId, number: u32) -> PartitionRef {
    PartitionRef { keyspace, partition: PartitionId(number) }
}
