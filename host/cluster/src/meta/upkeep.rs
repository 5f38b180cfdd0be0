//! What the meta leader keeps up by itself: which members count as lost, which groups nothing uses any more; and how operators bound that.
//!
//! A member is *lost* once the meta leader and a majority of the live members have not heard from it for
//! [`ClusterSettings::repair_after_s`]. The mark names the start that was silent, so a later start is never marked by mistake. It is
//! removed when the node registers again or answers again. A lost member remains a member and keeps its id; it must not receive
//! replicas, those that it has are to be replaced, and the old copies of a move do not wait for it.
//!
//! A group is *unused* when no placement and no recorded move names it. Its row is then removed. Group ids are assigned in ascending
//! order and never reused, so an id below the next one without a row names a removed group for good ([`MetaState::is_group_removed`]): a node
//! that was down at the time deletes its replica when it returns.
//!
//! Invariants, checked in apply: only an unused group is removed; a mark names the member's present start.

use std::collections::BTreeSet;

use recoil_base::{GroupId, NodeId};
use serde::{Deserialize, Serialize};

use super::rows::RowKey;
use super::{Changes, MetaReply, MetaState, Refusal};

/// The shortest and the longest time after which a silent member may count as lost, seconds.
pub const REPAIR_AFTER_S: std::ops::RangeInclusive<u32> = 3..=30 * 24 * 3600;
/// The lowest and the highest rate at which a node may read rows of partitions that move to it, bytes a second.
pub const MOVE_RATE_BYTES: std::ops::RangeInclusive<u64> = 64 << 10..=1 << 40;
/// Groups that one entry may remove.
const REMOVED_GROUPS_MAX: usize = 1000;

/// How the cluster keeps its partitions placed. One row, changed by operators.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClusterSettings {
    /// Seconds of silence after which a member counts as lost and its replicas are replaced.
    pub repair_after_s: u32,
    /// Bytes a second that a node reads at most to copy partitions that move to it.
    pub move_rate_bytes: u64,
    /// Partitions are moved to even out what nodes hold and lead. Off in a cluster whose map a package's scheduler has made, until an
    /// operator switches it on.
    pub balances: bool,
    /// No moves are begun without an operator's command: neither to balance nor to repair.
    pub is_paused: bool,
}

impl Default for ClusterSettings {
    fn default() -> Self {
        ClusterSettings { repair_after_s: 300, move_rate_bytes: 64 << 20, balances: true, is_paused: false }
    }
}

/// A change of [`ClusterSettings`]; what is absent stays as it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClusterChange {
    /// See [`ClusterSettings::repair_after_s`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repair_after_s: Option<u32>,
    /// See [`ClusterSettings::move_rate_bytes`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub move_rate_bytes: Option<u64>,
    /// See [`ClusterSettings::balances`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub balances: Option<bool>,
    /// See [`ClusterSettings::is_paused`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub is_paused: Option<bool>,
}

/// A start of a member that counts as lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LostStart {
    /// The start's number.
    pub incarnation: u64,
    /// The start's random number.
    pub start: u64,
}

impl MetaState {
    /// True for a member that counts as lost.
    pub fn is_lost(&self, node: NodeId) -> bool {
        self.lost.contains_key(&node)
    }

    /// True for a group that there was once and that has been removed for good.
    pub fn is_group_removed(&self, group: GroupId) -> bool {
        group != GroupId::META && group.0 < self.header.next_group && !self.groups.contains_key(&group)
    }

    /// The groups that no placement and no recorded move names.
    pub fn unused_groups(&self) -> Vec<GroupId> {
        let moving: BTreeSet<GroupId> = self.moves.values().flat_map(|moving| [moving.source, moving.target]).collect();
        let is_unused = |group: &GroupId| self.partition_count(*group) == 0 && !moving.contains(group);
        self.groups.keys().copied().filter(is_unused).take(REMOVED_GROUPS_MAX).collect()
    }

    pub(super) fn remove_groups(&mut self, groups: &[GroupId], changes: &mut Changes) -> MetaReply {
        // A group may have been taken into use since the proposer looked.
        let unused: BTreeSet<GroupId> = self.unused_groups().into_iter().collect();
        for group in groups {
            if unused.contains(group) {
                self.groups.remove_mut(group);
                self.hosted.remove_mut(group);
                changes.push(RowKey::Group(*group));
                // Nodes close it.
                self.routing_changed();
            }
        }
        Ok(())
    }

    pub(super) fn mark_lost(&mut self, node: NodeId, lost: LostStart, changes: &mut Changes) -> MetaReply {
        let member = self
            .members
            .get(&node)
            .ok_or_else(|| Refusal::not_found(format!("there is no node {node} in the cluster")))?;
        if (member.incarnation, member.start) != (lost.incarnation, lost.start) {
            return Err(Refusal::conflict(format!("node {node} has started again since it was found silent")));
        }
        if self.lost.get(&node) != Some(&lost) {
            self.lost.insert_mut(node, lost);
            changes.push(RowKey::Lost(node));
        }
        Ok(())
    }

    pub(super) fn mark_returned(&mut self, node: NodeId, changes: &mut Changes) -> MetaReply {
        if self.lost.remove_mut(&node) {
            changes.push(RowKey::Lost(node));
        }
        Ok(())
    }

    pub(super) fn set_cluster(&mut self, change: ClusterChange, changes: &mut Changes) -> MetaReply {
        let ClusterChange { repair_after_s, move_rate_bytes, balances, is_paused } = change;
        if let Some(seconds) = repair_after_s.filter(|seconds| !REPAIR_AFTER_S.contains(seconds)) {
            let (min, max) = (*REPAIR_AFTER_S.start(), *REPAIR_AFTER_S.end());
            return Err(Refusal::invalid(format!("repair-after cannot be {seconds} s: choose {min} to {max} s")));
        }
        if let Some(rate) = move_rate_bytes.filter(|rate| !MOVE_RATE_BYTES.contains(rate)) {
            let (min, max) = (*MOVE_RATE_BYTES.start(), *MOVE_RATE_BYTES.end());
            return Err(Refusal::invalid(format!("move-rate cannot be {rate} bytes a second: choose {min} to {max}")));
        }
        let before = self.settings;
        let next = ClusterSettings {
            repair_after_s: repair_after_s.unwrap_or(before.repair_after_s),
            move_rate_bytes: move_rate_bytes.unwrap_or(before.move_rate_bytes),
            balances: balances.unwrap_or(before.balances),
            is_paused: is_paused.unwrap_or(before.is_paused),
        };
        if next != before {
            self.settings = next;
            changes.push(RowKey::Cluster);
        }
        Ok(())
    }
}
