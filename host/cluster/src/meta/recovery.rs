//! Members that an operator gives up for good although groups lose their quorum with them.
//!
//! By the time the command is proposed, the meta group and each group of partitions whose majority was lost continue with a replica that
//! survives (`recoil_node`'s `recovery`). This entry brings the state in line with that: the lost members are removed and leave
//! tombstones, whatever referred to them, and the groups that they were in have the surviving replicas only. The planner then sees
//! partitions with too few replicas and moves them.
//!
//! Invariants, checked in apply: an active member remains; every group keeps a replica on a member that remains, so partitions of which no
//! replica is left keep the cluster from giving up the members that have them.

use std::collections::BTreeSet;
use std::sync::Arc;

use recoil_base::{GroupId, NodeId};
use serde::{Deserialize, Serialize};

use super::rows::RowKey;
use super::{Changes, GroupRecord, MetaReply, MetaState, Refusal};

/// A group that continues with fewer replicas.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ContinuedGroup {
    /// The group.
    pub group: GroupId,
    /// Its voters from now on.
    pub members: Vec<NodeId>,
}

impl MetaState {
    /// The groups that partitions or moves refer to and that have no replica outside `lost`.
    pub fn groups_without(&self, lost: &BTreeSet<NodeId>) -> Vec<GroupId> {
        let mut groups: BTreeSet<GroupId> = BTreeSet::new();
        for node in lost {
            let all_lost = |record: &GroupRecord| record.members.iter().all(|member| lost.contains(member));
            groups.extend(self.groups_in_use_on(*node).filter(|(_, record)| all_lost(record)).map(|(id, _)| id));
        }
        groups.into_iter().collect()
    }

    pub(super) fn recover(
        &mut self,
        lost: &BTreeSet<NodeId>,
        continued: &[ContinuedGroup],
        changes: &mut Changes,
    ) -> MetaReply {
        for node in lost.iter().filter(|node| !self.is_removed(**node)) {
            self.member(*node)?;
        }
        if self.active_members().all(|(node, _)| lost.contains(node)) {
            return Err(Refusal::conflict("no active node of the cluster would remain"));
        }
        if let Some(group) = self.groups_without(lost).first() {
            return Err(Refusal::conflict(format!("no replica of group {group} would remain")));
        }
        for ContinuedGroup { group, members } in continued {
            let remains = |node: &NodeId| self.members.contains_key(node) && !lost.contains(node);
            if members.is_empty() || !members.iter().all(remains) {
                return Err(Refusal::invalid(format!(
                    "group {group} cannot continue with {members:?}: not all of them remain"
                )));
            }
            if let Some(record) = self.groups.get(group)
                && let Some(keyspace) = self.keyspaces.get(&record.keyspace)
            {
                let newcomers: Vec<NodeId> =
                    members.iter().copied().filter(|node| !record.members.contains(node)).collect();
                self.check_rules(&keyspace.name, &keyspace.rules, &newcomers)?;
            }
        }
        let continued: std::collections::BTreeMap<GroupId, Arc<[NodeId]>> =
            continued.iter().map(|one| (one.group, one.members.clone().into())).collect();
        let touched = self.groups.iter().filter(|(_, record)| record.members.iter().any(|node| lost.contains(node)));
        let touched: Vec<(GroupId, GroupRecord)> = touched.map(|(id, record)| (*id, record.clone())).collect();
        for (id, record) in touched {
            let rest = || record.members.iter().copied().filter(|node| !lost.contains(node)).collect();
            let members = continued.get(&id).cloned().unwrap_or_else(rest);
            // A group that nothing uses, and of which nothing is left, is removed soon.
            if !members.is_empty() {
                self.groups.insert_mut(id, GroupRecord { members, ..record });
                changes.push(RowKey::Group(id));
                self.routing_changed();
            }
        }
        for node in lost {
            if let Some(member) = self.members.get(node).cloned() {
                self.bury(*node, &member, changes);
            }
        }
        Ok(())
    }
}
