//! Where partitions are, ahead of the routing table.
//!
//! The table follows the meta group, and so lags behind the logs of the groups between which a partition moves. A node that is asked
//! for a partition and is not the one to ask answers with the placement that it knows ([`Miss::Moved`]); the origin keeps it here,
//! for that partition, until its table is at least as new. In the other direction, [`judge`] decides what a node does with a call
//! that goes by another placement than its own.
//!
//! Invariants: of two placements of a partition the one with the higher epoch counts; a redirect is taken only if it is newer than
//! what is known. Bounded: [`REDIRECTS_MAX`]; one that finds no room is not kept, and the call is sent again until the table has come.

use recoil_consensus::PartitionRef;
use rustc_hash::FxHashMap;

use crate::meta::Placement;
use crate::routing::RoutingTable;

/// Partitions whose placements are kept here.
const REDIRECTS_MAX: usize = 16 << 10;

/// See the module's essay.
#[derive(Default)]
pub(super) struct Redirects {
    newer: FxHashMap<PartitionRef, Placement>,
}

impl Redirects {
    /// The newest placement known of a partition, if there is such a one.
    pub(super) fn placement(&self, table: &RoutingTable, partition: PartitionRef) -> Option<Placement> {
        let known = table.placement_of(partition)?;
        if self.newer.is_empty() {
            return Some(known);
        }
        let newer = self.newer.get(&partition).filter(|newer| newer.epoch > known.epoch);
        Some(newer.copied().unwrap_or(known))
    }

    /// Takes a placement that another node has answered. True if it is newer than what was known.
    pub(super) fn learn(&mut self, table: &RoutingTable, partition: PartitionRef, told: Placement) -> bool {
        // Who is in a group that the table does not have is not known, so the call waits for the table all the same.
        let can_route = table.groups.contains_key(&told.group);
        let known = self.placement(table, partition);
        let is_newer = can_route && known.is_some_and(|known| told.epoch > known.epoch);
        let fits = self.newer.len() < REDIRECTS_MAX || self.newer.contains_key(&partition);
        if is_newer && fits {
            self.newer.insert(partition, told);
        }
        is_newer && fits
    }

    /// Forgets what the table says as well.
    pub(super) fn table_came(&mut self, table: &RoutingTable) {
        let is_newer = |partition: PartitionRef, kept: &Placement| {
            table.placement_of(partition).is_some_and(|known| kept.epoch > known.epoch)
        };
        self.newer.retain(|partition, kept| is_newer(*partition, kept));
    }
}

/// What a node does with a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It evaluates it, or says who leads.
    Take,
    /// Another node is to be asked by a placement that the origin does not know.
    Moved(Placement),
    /// It waits: the origin knows a newer placement.
    Behind,
}

/// What to do with a call that goes by the placement of `epoch`, where `known` is the newest that this node knows and `leads` says whether
/// it leads the group of that.
pub(super) fn judge(epoch: u64, known: Option<Placement>, leads: impl Fn(Placement) -> bool) -> Verdict {
    match known {
        Some(known) if known.epoch == epoch => Verdict::Take,
        Some(known) if known.epoch > epoch && leads(known) => Verdict::Take,
        Some(known) if known.epoch > epoch => Verdict::Moved(known),
        _ => Verdict::Behind,
    }
}

#[cfg(test)]
mod tests {
    use recoil_base::{GroupId, KeyspaceId, PartitionId};

    use super::*;
    use crate::routing::KeyspaceTable;

    fn placement(group: u32, epoch: u64) -> Placement {
        Placement { group: GroupId(group), epoch }
    }

    fn table(epoch: u64) -> RoutingTable {
        let partitions = std::iter::repeat_n(placement(epoch as u32, epoch), REDIRECTS_MAX + 2).collect();
        RoutingTable {
            keyspaces: [(KeyspaceId(1), KeyspaceTable { name: "default".into(), partitions })].into(),
            groups: (1..=9).map(|group| (GroupId(group), [recoil_base::NodeId(1)].into())).collect(),
            numbers: Default::default(),
            index: epoch,
        }
    }

    fn partition(number: usize) -> PartitionRef {
        PartitionRef { keyspace: KeyspaceId(1), partition: PartitionId(number as u32) }
    }

    /// Fails if a redirect outlives a table that is as new, is taken though something newer is known, or leads to a group of which nobody
    /// knows where it is: no table might ever be as new as what a faulty node says.
    #[test]
    fn a_redirect_counts_until_the_table_is_as_new() {
        let mut redirects = Redirects::default();
        assert!(!redirects.learn(&table(2), partition(0), placement(9, 1)), "older than the table");
        assert!(!redirects.learn(&table(2), partition(0), placement(9, 2)), "as new as the table");
        assert!(!redirects.learn(&table(2), partition(0), placement(99, u64::MAX)), "to nobody");
        assert!(redirects.learn(&table(2), partition(0), placement(9, 4)));
        assert!(!redirects.learn(&table(2), partition(0), placement(8, 3)), "older than the redirect");
        assert!(!redirects.learn(&table(2), partition(0), placement(8, 4)), "as new as the redirect");
        assert_eq!(redirects.placement(&table(2), partition(0)), Some(placement(9, 4)));
        assert_eq!(redirects.placement(&table(2), partition(1)), Some(placement(2, 2)), "another partition");
        redirects.table_came(&table(3));
        assert_eq!(redirects.placement(&table(3), partition(0)), Some(placement(9, 4)));
        redirects.table_came(&table(4));
        assert!(redirects.newer.is_empty());
        assert_eq!(redirects.placement(&table(4), partition(0)), Some(placement(4, 4)));
    }

    /// Fails if redirects are kept without a bound, or of partitions that there are not.
    #[test]
    fn redirects_are_bounded() {
        let (mut redirects, table) = (Redirects::default(), table(1));
        let nowhere = PartitionRef { keyspace: KeyspaceId(7), partition: PartitionId(0) };
        assert!(!redirects.learn(&table, nowhere, placement(2, 2)));
        for number in 0..REDIRECTS_MAX {
            assert!(redirects.learn(&table, partition(number), placement(2, 2)));
        }
        assert!(!redirects.learn(&table, partition(REDIRECTS_MAX), placement(2, 2)));
        assert!(redirects.learn(&table, partition(0), placement(3, 3)), "one that is kept may be replaced");
        assert_eq!(redirects.newer.len(), REDIRECTS_MAX);
    }

    /// Fails if a node that knows better evaluates or says who leads, or one that knows less redirects to where the partition was.
    #[test]
    fn the_newer_placement_decides() {
        let here = placement(4, 3);
        let of = |epoch, known, leads| judge(epoch, known, |_| leads);
        assert_eq!(of(3, Some(here), false), Verdict::Take, "whoever leads is said by the group");
        assert_eq!(of(2, Some(here), false), Verdict::Moved(here));
        assert_eq!(of(2, Some(here), true), Verdict::Take, "it has moved here");
        assert_eq!(of(4, Some(here), true), Verdict::Behind);
        assert_eq!(of(1, None, true), Verdict::Behind);
    }
}
