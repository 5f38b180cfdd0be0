//! Which group on this node the calls of a partition are for.
//!
//! By the logs of the groups with a replica here it is the one that owns the partition, or else the one that expects it; the map counts only
//! where no log says anything. So a partition that moves between two groups of a node is held for the source until the source's log gives it
//! up, and for the target from then on; one that has left this node's groups stays held, so that its calls are told where it is.
//!
//! Invariant: who is responsible is looked up with the table of partitions locked, so that of two changes at once the later one stands.

use std::sync::Arc;

use parking_lot::RwLock;
use recoil_base::GroupId;
use recoil_consensus::{PartitionRef, PartitionState, Phase};
use tokio::sync::watch;

use super::{Held, Host};
use crate::meta::Placement;

impl Host {
    /// Holds a partition for the group here that its calls are for; for `otherwise` if no log says which.
    pub(super) fn hold(&self, key: PartitionRef, otherwise: Option<GroupId>) {
        let Some((keyspace_name, count)) = self.keyspaces.read().get(&key.keyspace).cloned() else { return };
        let left = {
            let mut map = self.partitions.write();
            let present = map.get(&key).map(|held| held.group);
            // One that has left this node's groups stays, and says where it has gone.
            let otherwise = otherwise.filter(|_| present.is_none());
            let Some(group) = self.parts.locals.responsible(key).or(otherwise) else { return };
            if present == Some(group) {
                return;
            }
            map.insert(key, Arc::new(Held { group, count, keyspace_name, shares: RwLock::default() }))
        };
        // What waits there goes by a group that does not own the partition any longer.
        let shares = left.map(|left| std::mem::take(&mut *left.shares.write())).unwrap_or_default();
        shares.into_values().for_each(|share| self.leave(&share));
    }

    /// The group has been removed for good and is closed: nothing is held for it any more.
    pub fn forget_group(&self, id: GroupId) {
        self.groups.write().remove(&id);
        let held = self.partitions.read();
        let keys: Vec<PartitionRef> = held.iter().filter(|(_, held)| held.group == id).map(|(key, _)| *key).collect();
        drop(held);
        for key in keys {
            let left = {
                let mut map = self.partitions.write();
                // Another group here may have become responsible meanwhile.
                if map.get(&key).is_some_and(|held| held.group == id) { map.remove(&key) } else { None }
            };
            let shares = left.map(|left| std::mem::take(&mut *left.shares.write())).unwrap_or_default();
            shares.into_values().for_each(|share| self.leave(&share));
            self.hold(key, None);
        }
    }

    /// The logs of groups here have changed what they own of these partitions. Called on the applier's thread.
    pub(super) fn ownership_changed(self: &Arc<Self>, changed: &[PartitionRef]) {
        for key in changed {
            self.hold(*key, None);
            let states = self.parts.locals.states_for(*key);
            let has_moved_here = |(group, state): &(GroupId, PartitionState)| {
                let is_led = || self.group(*group).is_some_and(|group| group.session().is_some());
                state.ownership.phase == Phase::Owned && state.ownership.highest > 0 && is_led()
            };
            // Its timers have come as rows.
            if states.iter().any(has_moved_here) {
                self.wake_partition(*key);
            }
        }
    }

    /// The newest placement of a partition that the logs of the groups with a replica here say.
    pub(crate) fn placement_here(&self, partition: PartitionRef) -> Option<Placement> {
        self.parts.locals.placement(partition).map(|(group, epoch)| Placement { group, epoch })
    }

    /// True if a group with a replica here is about to take a partition in this epoch: the source may have released it.
    pub(crate) fn expects(&self, partition: PartitionRef, epoch: u64) -> bool {
        let expected = |phase| matches!(phase, Phase::Expected(moving) if moving.epoch == epoch);
        self.parts.locals.states_for(partition).iter().any(|(_, state)| expected(state.ownership.phase))
    }

    /// Changes whenever the log of a group with a replica here has changed what it owns.
    pub(crate) fn ownership_changes(&self) -> watch::Receiver<u64> {
        self.parts.locals.changes()
    }
}
