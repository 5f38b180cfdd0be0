//! Deleting what a node keeps of a group that has been removed: its rows, its copies of partitions, its log and its vote.
//!
//! The group must be closed. Nobody may ever open it again on this node, since a replica without its vote could vote twice in a term: the
//! caller makes sure of that by the cluster's state, in which ids of groups are never reused.
//!
//! Crash points. The rows go in four steps, each safe to repeat: one batch switches the group to a fresh, empty generation and removes its
//! applied index; the copies that the old rows named are dropped; the old rows are removed in pieces; at last the generation row goes. A crash
//! before the first leaves everything, after it copies without a name, which the next start sweeps, and rows of a generation that means nothing.
//! The log goes last. Whatever is left, rows or log, names the group ([`Locals::groups`], [`recoil_storage::Log::groups`]), and is deleted by the next
//! call, in this start of the node or a later one.
//!
//! A target's replica on this node that waits for the source's log here is not touched: it fetches the rows when this node is found to have no
//! replica of the source any more.

use std::io;

use recoil_base::GroupId;
use recoil_storage::{Data, DataError};

use super::{Generation, Locals, generation_key, group_key, put_generation, remove_rows};
use crate::group::GroupContext;

/// Copies that one batch drops: more would hold up the applier.
const DROPPED_MAX: usize = 2000;

impl Locals {
    /// The groups that have anything here.
    pub fn groups(&self) -> Vec<GroupId> {
        self.states.read().groups.keys().copied().filter(|group| *group != GroupId::META).collect()
    }

    /// Drops all that the closed group's replica has of partitions. Blocks; only on the applier's thread, piece by piece: true if
    /// there is more to be dropped.
    fn forget(&self, group: GroupId, step: &mut Forgetting) -> Result<bool, DataError> {
        match step {
            Forgetting::Rows => {
                let states = self.states_of(group);
                // A number that no rows have, not those of a snapshot that was being loaded either.
                let generation = Generation(self.data.new_copy()?.0);
                let mut batch = self.data.batch();
                put_generation(&mut batch, group, generation);
                batch.remove(group_key(group));
                self.data.commit(batch)?;
                self.switched(group, generation, []);
                *step = Forgetting::Copies(states.into_values().filter_map(|state| Some(state.copy?.copy)).collect());
            }
            Forgetting::Copies(copies) if copies.is_empty() => *step = Forgetting::OldRows,
            Forgetting::Copies(copies) => {
                let some: Vec<_> = copies.drain(..copies.len().min(DROPPED_MAX)).collect();
                self.data.kill_copies(&some)?;
            }
            Forgetting::OldRows => {
                if !remove_rows(&self.data, group, 0..u64::MAX)? {
                    *step = Forgetting::Generation;
                }
            }
            Forgetting::Generation => {
                remove_generation(&self.data, group)?;
                self.states.write().groups.remove(&group);
                return Ok(false);
            }
        }
        Ok(true)
    }
}

fn remove_generation(data: &Data, group: GroupId) -> Result<(), DataError> {
    let mut batch = data.batch();
    batch.remove(generation_key(group));
    data.commit(batch)
}

/// How far a group has been forgotten.
enum Forgetting {
    Rows,
    Copies(Vec<recoil_base::CopyId>),
    OldRows,
    Generation,
}

/// Deletes everything that this node keeps of a closed group that has been removed from the cluster. Repeats harmlessly. See the module's
/// essay.
///
/// # Errors
/// The data or the log cannot be written.
pub async fn remove_group(context: &GroupContext, group: GroupId) -> io::Result<()> {
    let mut step = Forgetting::Rows;
    loop {
        let locals = context.locals.clone();
        let forgotten = context.applier.run(move || locals.forget(group, &mut step).map(|more| (more, step)));
        let (more, next) = forgotten.await?.map_err(io::Error::other)?;
        step = next;
        if !more {
            break;
        }
    }
    context.log.group(group).remove();
    context.log.flush().await.map_err(crate::log_store::io_error)
}

#[cfg(test)]
mod tests {
    use recoil_base::{KeyspaceId, PartitionId};

    use super::*;
    use crate::command::PartitionRef;
    use crate::local::{CopyRow, CopyState, PartitionState, put_state};
    use crate::ownership::{Ownership, Phase};

    const GONE: GroupId = GroupId(7);
    const STAYS: GroupId = GroupId(8);

    fn store(locals: &Locals, group: GroupId, number: u32) {
        let partition = PartitionRef { keyspace: KeyspaceId(1), partition: PartitionId(number) };
        let ownership = Ownership { phase: Phase::Owned, epoch: 1, ..Ownership::default() };
        let copy = CopyRow { copy: locals.data.new_copy().unwrap(), state: CopyState::Complete };
        let state = PartitionState { ownership, copy: Some(copy) };
        let mut batch = locals.data.batch();
        put_state(&mut batch, (group, locals.generation(group)), partition, &state);
        batch.put(group_key(group), b"a row".to_vec());
        batch.put(recoil_storage::key::absolute(copy.copy, recoil_base::AppId(5), b"\x01a"), b"v".to_vec());
        locals.data.commit(batch).unwrap();
        locals.changed(group, [(partition, state)]);
    }

    /// Fails if a removed group leaves rows or copies, takes those of another group along, or if what a crash leaves of it at any step keeps
    /// the node from starting or is not found again.
    #[test]
    fn a_removed_group_leaves_nothing_wherever_it_is_interrupted() {
        for steps in 0..8 {
            let folder = tempfile::tempdir().unwrap();
            let data = Data::open(folder.path()).unwrap();
            let locals = Locals::open(data.clone()).unwrap();
            (0..3).for_each(|number| store(&locals, GONE, number));
            store(&locals, STAYS, 0);
            let kept = locals.states_of(STAYS);
            let mut step = Forgetting::Rows;
            let mut more = true;
            for _ in 0..steps {
                more = more && locals.forget(GONE, &mut step).unwrap();
            }
            // A crash: what was in memory is gone.
            let locals = Locals::open(data.clone()).unwrap();
            locals.sweep().unwrap();
            let is_left = locals.groups().contains(&GONE);
            assert_eq!(is_left, more, "after {steps} steps");
            assert!(steps == 0 || locals.states_of(GONE).is_empty());
            let mut step = Forgetting::Rows;
            while is_left && locals.forget(GONE, &mut step).unwrap() {}
            assert_eq!(locals.groups(), [STAYS]);
            assert_eq!(locals.states_of(STAYS), kept);
            assert!(
                data.get(&group_key(GONE)).unwrap().is_none() && data.get(&generation_key(GONE)).unwrap().is_none()
            );
            assert!(!remove_rows(&data, GONE, 0..u64::MAX).unwrap(), "rows are left");
            let named: Vec<_> = kept.values().map(|state| state.copy.unwrap().copy).collect();
            assert_eq!(data.live_copies().unwrap(), named);
            assert_eq!(Locals::open(data.clone()).unwrap().groups(), [STAYS]);
        }
    }
}
