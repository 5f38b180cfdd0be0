//! What changes of ownership do to the copies on this node (rules M4, M6 and M8 of the handoff protocol).
//!
//! The ownership rows are functions of the groups' logs ([`crate::ownership`]). The copies are this replica's own: a node that has
//! replicas of both groups of a move hands the source's copy over to the target without copying a row, in the batch of whichever entry
//! comes last here, the source's `Release` or the target's `Adopt`. All entries of all groups of a node are applied by one thread, so that one
//! batch may change the rows of both groups.
//!
//! | this replica applies | and finds here | the copy |
//! |---|---|---|
//! | `Adopt` | the source's row released by the same move, with a complete copy | becomes the target's; the source's row has none any more |
//! | `Adopt` | a source that has not applied `Release` yet, or no replica of it | `Waiting`, and the target's writes are stashed |
//! | `Adopt` | a source that is past `Release` and has no copy to give | `Missing`, and the target's writes are stashed |
//! | `Release` | a target that waits for exactly this entry | becomes the target's, the stash replayed on it |
//! | `Release` | a target that waits, but no complete copy here, or a stash that is too large for one batch | the target's is `Missing` |
//! | a snapshot of the source past `Release` | a target that waits | the target's is `Missing` |
//! | `Expect`, `UnExpect`, `Retire` | | what the row has of an earlier stay is dropped |
//!
//! `Waiting` on a node without a replica of the source, and `Missing`, are completed by [`crate::fetch`]. A copy that is taken over
//! keeps its id, and records of answered calls are cached by the copy's id: so a group forgets what it has cached of a copy with the
//! entry by which it gives it up.
//!
//! Crash points: every step is one batch, with the applied index of the group whose entry it is; a crash before it applies the
//! entry again. Copies that a batch has left without a row are dropped after it, or by the next start's sweep.

use std::collections::BTreeMap;
use std::io;

use recoil_base::{CopyId, GroupId};
use recoil_storage::{Data, DataSnapshot};

use crate::answered::Records;
use crate::command::PartitionRef;
use crate::local::{CopyRow, CopyState, Locals, PartitionState, group_key, put_state};
use crate::machine::{Core, GroupRow, Next};
use crate::ownership::{Move, OwnershipChange, Phase, ReleasePoint};
use crate::stash::{self, Position};

/// Bytes of stashed writes that the source's `Release` replays in its batch. With more, the target fetches the partition.
const REPLAYED_MAX: u64 = 8 << 20;
/// Bytes of stashed writes replayed in one batch on a copy that has been fetched.
const PIECE_BYTES: usize = 1 << 20;

/// What has become of a copy that was fetched.
#[derive(Debug)]
pub(crate) enum Completion {
    /// It is the partition's copy, and complete.
    Done,
    /// More of the stash is to be replayed.
    More(Fetched),
    /// This replica has not applied yet what the copy holds already.
    TooEarly(Fetched),
    /// It is not wanted any more: the partition is complete, or not the group's.
    Unwanted,
}

/// Rows of a partition that were fetched from another replica, on their way to be this one's.
#[derive(Debug)]
pub(crate) struct Fetched {
    /// Where they are.
    pub(crate) copy: CopyId,
    /// What they are for: the epoch, and the copy that lacks rows.
    pub(crate) epoch: u64,
    pub(crate) replaces: CopyId,
    /// They hold everything that this group's log says up to this index.
    pub(crate) index: u64,
    /// The newest of the stashed writes that have been replayed on them.
    pub(crate) replayed: Option<Position>,
}

impl Core {
    /// Applies changes of ownership.
    pub(crate) fn apply_ownership(
        &mut self,
        next: &mut Next,
        index: u64,
        changes: Vec<(PartitionRef, OwnershipChange)>,
    ) -> io::Result<()> {
        let mut fresh: Vec<(PartitionRef, CopyState)> = Vec::new();
        for (partition, change) in changes {
            let mut state = next.state(&self.locals, self.group, partition).unwrap_or_default();
            let before = state.ownership;
            let effective = state.ownership.apply(index, next.row.clock_us, change);
            next.changed.insert(partition, state);
            match change {
                _ if !effective => {}
                OwnershipChange::Cancel { .. } => {}
                OwnershipChange::Birth { .. } => fresh.push((partition, CopyState::Complete)),
                OwnershipChange::Expect(_) | OwnershipChange::UnExpect { .. } | OwnershipChange::Retire { .. } => {
                    next.set_copy(partition, None);
                }
                OwnershipChange::Release(_) => {
                    match state.copy {
                        Some(copy) if copy.state == CopyState::Complete => next.frozen.push(copy.copy),
                        _ => next.set_copy(partition, None),
                    }
                    self.hand_over(next, partition, index)?;
                }
                OwnershipChange::Adopt { released, .. } => {
                    next.row.clock_us = next.row.clock_us.max(released.clock_us);
                    let Phase::Expected(moving) = before.phase else { continue };
                    if let Some(state) = self.take_over(next, partition, moving, released)? {
                        fresh.push((partition, state));
                    }
                }
            }
        }
        // One reservation of ids for all: each costs an fsync.
        let copies = self.data.new_copies(fresh.len()).map_err(io::Error::other)?;
        for ((partition, state), copy) in fresh.into_iter().zip(copies) {
            next.set_copy(partition, Some(CopyRow { copy, state }));
        }
        Ok(())
    }

    /// Gives the partition that this group adopts the source's copy on this node, if that is there; otherwise answers what a new
    /// copy is good for.
    fn take_over(
        &self,
        next: &mut Next,
        partition: PartitionRef,
        moving: Move,
        released: ReleasePoint,
    ) -> io::Result<Option<CopyState>> {
        let source = moving.other;
        next.set_copy(partition, None);
        let here = next.state_of(&self.locals, source, partition);
        // Only as this move released it: a later stay's copy is not touched.
        let gives = here.filter(
            |state| matches!(state.ownership.phase, Phase::Released(other) if (other.id, other.other) == (moving.id, self.group)),
        );
        let copy = gives.and_then(|state| state.copy).filter(|copy| copy.state == CopyState::Complete);
        if let (Some(state), Some(copy)) = (gives, copy) {
            next.others.insert((source, partition), PartitionState { copy: None, ..state });
            next.set_copy(partition, Some(copy));
            return Ok(None);
        }
        let has_passed = applied_by(&self.data, source)? >= released.index;
        Ok(Some(if has_passed { CopyState::Missing } else { CopyState::Waiting { source, index: released.index } }))
    }

    /// The entry at `index` has released a partition: a target's replica here that waits for it gets the copy.
    fn hand_over(&mut self, next: &mut Next, partition: PartitionRef, index: u64) -> io::Result<()> {
        let waits = CopyState::Waiting { source: self.group, index };
        let targets = self.locals.states_for(partition).into_iter().filter(|(group, _)| *group != self.group);
        let targets =
            targets.map(|(group, state)| (group, next.others.get(&(group, partition)).copied().unwrap_or(state)));
        let waiting =
            targets.filter_map(|(group, state)| Some((group, state, state.copy.filter(|copy| copy.state == waits)?)));
        let Some((target, state, waiting)) = waiting.collect::<Vec<_>>().pop() else { return Ok(()) };
        let rows = self.data.snapshot();
        let released = next.changed.get(&partition).and_then(|state| state.copy);
        let stashed = stash::bytes(&rows, waiting.copy).map_err(io::Error::other)?;
        let copy = match released.filter(|_| stashed <= REPLAYED_MAX) {
            Some(copy) => {
                self.replay(next, &rows, waiting.copy, copy.copy)?;
                next.take_copy(partition);
                next.dead.push(waiting.copy);
                copy
            }
            None => CopyRow { state: CopyState::Missing, ..waiting },
        };
        next.others.insert((target, partition), PartitionState { copy: Some(copy), ..state });
        Ok(())
    }

    /// Writes everything that is stashed for one copy to another, which this group has written so far.
    fn replay(&mut self, next: &mut Next, rows: &DataSnapshot, stashed: CopyId, copy: CopyId) -> io::Result<()> {
        let (parts, _) = stash::read(rows, stashed, None, usize::MAX).map_err(io::Error::other)?;
        for (_, part) in &parts {
            stash::write(&mut next.batch, &mut self.records, (&self.data, copy), part).map_err(io::Error::other)?;
        }
        Ok(())
    }

    /// Goes on with a copy that was fetched: replays a piece of the stash on it and, once all is replayed, makes it the partition's.
    pub(crate) fn complete(
        &mut self,
        partition: PartitionRef,
        mut fetched: Fetched,
        records: &mut Records,
    ) -> io::Result<Completion> {
        let state = self.locals.state(self.group, partition);
        let wanted = state.filter(|state| {
            let lacks = state.copy.is_some_and(|copy| copy.copy == fetched.replaces && state.lacks_rows());
            lacks && state.ownership.epoch == fetched.epoch
        });
        let Some(state) = wanted else { return Ok(Completion::Unwanted) };
        if self.row.applied.is_none_or(|applied| applied.index < fetched.index) {
            return Ok(Completion::TooEarly(fetched));
        }
        let after = fetched.replayed.or(Some(Position::after(fetched.index)));
        let piece = stash::read(&self.data.snapshot(), fetched.replaces, after, PIECE_BYTES);
        let (parts, is_all) = piece.map_err(io::Error::other)?;
        let mut batch = self.data.batch();
        for (at, part) in &parts {
            stash::write(&mut batch, records, (&self.data, fetched.copy), part).map_err(io::Error::other)?;
            fetched.replayed = Some(*at);
        }
        records.write(&mut batch);
        let complete = CopyRow { copy: fetched.copy, state: CopyState::Complete };
        let state = PartitionState { copy: Some(complete), ..state };
        if is_all {
            put_state(&mut batch, (self.group, self.locals.generation(self.group)), partition, &state);
        }
        self.data.commit(batch).map_err(io::Error::other)?;
        if !is_all {
            return Ok(Completion::More(fetched));
        }
        self.locals.changed(self.group, [(partition, state)]);
        self.data.kill_copies(&[fetched.replaces]).map_err(io::Error::other)?;
        Ok(Completion::Done)
    }

    /// What a snapshot of this group that ends at `applied` does to other groups' copies on this node, which waited for the group's
    /// log: they will not get them from here.
    pub(crate) fn lose_waiting(&self, applied: u64) -> BTreeMap<(GroupId, PartitionRef), PartitionState> {
        let mut lost = BTreeMap::new();
        for (group, partition) in self.locals.lacking() {
            let Some(state) = self.locals.state(group, partition) else { continue };
            if let Some(CopyRow { copy, state: CopyState::Waiting { source, index } }) = state.copy
                && source == self.group
                && index <= applied
            {
                let missing = Some(CopyRow { copy, state: CopyState::Missing });
                lost.insert((group, partition), PartitionState { copy: missing, ..state });
            }
        }
        lost
    }
}

/// True if a snapshot's row leaves a copy in place that was here before: one that the same entry released is final, and the
/// snapshot says nothing newer of it.
pub(crate) fn keeps_copy(before: &PartitionState, now: &PartitionState) -> bool {
    matches!(now.ownership.phase, Phase::Released(_)) && before.ownership.phase == now.ownership.phase
}

/// How far the data have come with a group's log; 0 without a replica of it.
fn applied_by(data: &Data, group: GroupId) -> io::Result<u64> {
    let row = data.get(&group_key(group)).map_err(io::Error::other)?;
    let row = row.map(|row| GroupRow::decode(&row)).transpose()?;
    Ok(row.and_then(|row| row.applied).map_or(0, |applied| applied.index))
}

impl Next {
    /// A partition of another group as the entries so far leave it.
    fn state_of(&self, locals: &Locals, group: GroupId, partition: PartitionRef) -> Option<PartitionState> {
        self.others.get(&(group, partition)).copied().or_else(|| locals.state(group, partition))
    }

    /// Puts a copy in the place of the partition's present one, which is dropped.
    fn set_copy(&mut self, partition: PartitionRef, copy: Option<CopyRow>) {
        let state = self.changed.entry(partition).or_default();
        let before = std::mem::replace(&mut state.copy, copy);
        self.dead.extend(before.map(|before| before.copy));
    }

    /// The partition's copy is somebody else's from now on.
    fn take_copy(&mut self, partition: PartitionRef) {
        if let Some(state) = self.changed.get_mut(&partition) {
            state.copy = None;
        }
    }
}

#[cfg(test)]
mod tests;
