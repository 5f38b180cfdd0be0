//! Members that leave: drained for a while, or decommissioned and in the end removed.
//!
//! A command here records what an operator wants of a member; nothing is moved by it. The member hands its leaderships over and
//! closes its apps' ports while it is not active, the planner takes the replicas of members that are not active to others, and the
//! meta leader proposes [`MetaCommand::RemoveMember`] once nothing refers to the member any more.
//!
//! Invariants, checked in apply: an active member remains; a decommissioning leaves as many active members as a partition has
//! replicas; a removed member holds no replica of a group that a partition or a move refers to, nor the only copy of a package, and
//! leaves a tombstone, by which its id is refused for ever. Its number is not given again, since the counter of numbers only grows.
//!
//! Deliberately absent: which members answer at the moment. Whoever is asked by an operator looks at that before it proposes
//! (`recoil_node`'s `departures`), and a member that is down may be decommissioned, too.
//!
//! [`MetaCommand::RemoveMember`]: super::MetaCommand::RemoveMember

use std::collections::BTreeSet;

use recoil_base::{GroupId, NodeId};

use super::rows::RowKey;
use super::{Changes, GroupRecord, Member, MemberState, MetaReply, MetaState, Refusal};

/// The refusal of a node that is a member no more.
pub fn removed(node: NodeId) -> String {
    format!("node {node} was removed from the cluster: start with an empty data folder, under a new id")
}

/// A state as it is named in messages.
pub fn state_name(state: MemberState) -> &'static str {
    match state {
        MemberState::Active => "active",
        MemberState::Draining => "draining",
        MemberState::Decommissioning => "being decommissioned",
        MemberState::Displaced => "displaced from its address",
    }
}

impl MetaState {
    /// True if the node was a member and has been removed: no start of it takes part again.
    pub fn is_removed(&self, node: NodeId) -> bool {
        self.tombstones.range((node, 0)..=(node, u64::MAX)).next().is_some()
    }

    /// True for a member that may get partitions and lead them.
    pub fn is_active(&self, node: NodeId) -> bool {
        self.members.get(&node).is_some_and(|member| member.state == MemberState::Active)
    }

    /// True for a member that is drained or decommissioned: it gives its leaderships away and takes no new connections of apps.
    pub fn is_leaving(&self, node: NodeId) -> bool {
        let leaves = |member: &Member| matches!(member.state, MemberState::Draining | MemberState::Decommissioning);
        self.members.get(&node).is_some_and(leaves)
    }

    /// The members that follow the meta group: all but those whose address another node has taken.
    pub fn present_members(&self) -> impl Iterator<Item = (&NodeId, &Member)> {
        self.members.iter().filter(|(_, member)| member.state != MemberState::Displaced)
    }

    /// The groups with a replica on `node` that partitions or moves refer to.
    pub fn groups_in_use_on(&self, node: NodeId) -> impl Iterator<Item = (GroupId, &GroupRecord)> {
        let moving: BTreeSet<GroupId> = self.moves.values().flat_map(|moving| [moving.source, moving.target]).collect();
        let holds = move |(id, group): &(&GroupId, &GroupRecord)| {
            group.members.contains(&node) && (self.partition_count(**id) > 0 || moving.contains(*id))
        };
        self.groups.iter().filter(holds).map(|(id, group)| (*id, group))
    }

    /// What speaks against decommissioning a member, as far as the state shows it; nothing if it may be.
    pub fn refuse_decommission(&self, node: NodeId) -> Vec<String> {
        let mut reasons = Vec::new();
        let others: Vec<NodeId> = self.active_members().map(|(id, _)| *id).filter(|id| *id != node).collect();
        if others.is_empty() {
            return vec![format!("node {node} is the last active node of the cluster: start another one first")];
        }
        for keyspace in self.keyspaces.values() {
            let groups: BTreeSet<GroupId> = keyspace.partitions.iter().map(|placement| placement.group).collect();
            let largest = groups.iter().filter_map(|id| Some(self.groups.get(id)?.members.len())).max().unwrap_or(0);
            let needed = largest.min(keyspace.replication as usize);
            let allowed =
                |other: &&NodeId| self.members.get(*other).is_some_and(|member| keyspace.rules.allow(&member.locality));
            // One that the rule forbids takes nothing away by leaving, unless what it has can go nowhere.
            let is_allowed = self.members.get(&node).is_some_and(|member| keyspace.rules.allow(&member.locality));
            let holds =
                || groups.iter().any(|id| self.groups.get(id).is_some_and(|group| group.members.contains(&node)));
            let left = others.iter().filter(allowed).count();
            if left < needed && (is_allowed || left == 0 && holds()) {
                let which = match keyspace.rules.require.is_empty() {
                    true => String::new(),
                    false => format!(" with {}", keyspace.rules.require),
                };
                reasons.push(format!(
                    "{left} active nodes{which} would remain, and each partition of keyspace {} has {needed} replicas: start another \
                     node{which} first",
                    keyspace.name
                ));
            }
        }
        reasons
    }

    pub(super) fn member(&self, node: NodeId) -> Result<Member, Refusal> {
        match self.members.get(&node) {
            Some(member) => Ok(member.clone()),
            None if self.is_removed(node) => {
                Err(Refusal::not_found(format!("node {node} was removed from the cluster")))
            }
            None => Err(Refusal::not_found(format!("there is no node {node} in the cluster"))),
        }
    }

    fn set_member(&mut self, node: NodeId, member: Member, changes: &mut Changes) {
        self.members.insert_mut(node, member);
        changes.push(RowKey::Member(node));
    }

    pub(super) fn drain(&mut self, node: NodeId, changes: &mut Changes) -> MetaReply {
        let member = self.member(node)?;
        match member.state {
            MemberState::Draining => Ok(()),
            MemberState::Active if self.active_members().all(|(other, _)| *other == node) => Err(Refusal::conflict(
                format!("node {node} is the last active node of the cluster, and nobody else could serve"),
            )),
            MemberState::Active => {
                self.set_member(node, Member { state: MemberState::Draining, ..member }, changes);
                Ok(())
            }
            state @ (MemberState::Decommissioning | MemberState::Displaced) => {
                Err(Refusal::conflict(format!("node {node} is {} and cannot be drained", state_name(state))))
            }
        }
    }

    pub(super) fn undrain(&mut self, node: NodeId, changes: &mut Changes) -> MetaReply {
        let member = self.member(node)?;
        if !self.is_leaving(node) {
            return Ok(());
        }
        let state = if member.address_taken { MemberState::Displaced } else { MemberState::Active };
        self.set_member(node, Member { state, successor: None, ..member }, changes);
        Ok(())
    }

    pub(super) fn decommission(&mut self, node: NodeId, successor: Option<NodeId>, changes: &mut Changes) -> MetaReply {
        let member = self.member(node)?;
        if let Some(other) = successor {
            if other == node {
                return Err(Refusal::conflict(format!("node {node} cannot take its own place: name another node")));
            }
            let state = self.member(other)?.state;
            if state != MemberState::Active {
                return Err(Refusal::conflict(format!(
                    "node {other} is {} and cannot take the place of another",
                    state_name(state)
                )));
            }
            let held: BTreeSet<_> = self.groups_in_use_on(node).map(|(_, group)| group.keyspace).collect();
            for keyspace in held.iter().filter_map(|id| self.keyspaces.get(id)) {
                self.check_rules(&keyspace.name, &keyspace.rules, &[other])?;
            }
        }
        if member.state != MemberState::Decommissioning {
            let reasons = self.refuse_decommission(node);
            if !reasons.is_empty() {
                return Err(Refusal::conflict(reasons.join("; ")));
            }
        }
        let next = Member { state: MemberState::Decommissioning, successor, ..member.clone() };
        if next != member {
            self.set_member(node, next, changes);
        }
        Ok(())
    }

    /// What a decommissioned member has to lose before it is removed; nothing if it may go.
    pub fn refuse_removal(&self, node: NodeId) -> Option<String> {
        let groups = self.groups_in_use_on(node).count();
        if groups > 0 {
            return Some(format!(
                "node {node} holds replicas of {groups} groups that have partitions or take part in moves"
            ));
        }
        let is_only_here =
            |digest: &recoil_base::Digest| self.holders(*digest).into_iter().all(|holder| holder == node);
        let package = self.packages.keys().find(|digest| is_only_here(digest));
        package.map(|digest| format!("package {digest} is on node {node} only: another node has yet to fetch it"))
    }

    pub(super) fn remove_member(&mut self, node: NodeId, changes: &mut Changes) -> MetaReply {
        if self.is_removed(node) {
            return Ok(()); // a repetition
        }
        let member = self.member(node)?;
        if member.state != MemberState::Decommissioning {
            return Err(Refusal::conflict(format!(
                "node {node} is {}: only a decommissioned node is removed",
                state_name(member.state)
            )));
        }
        if let Some(why) = self.refuse_removal(node) {
            return Err(Refusal::conflict(why));
        }
        self.bury(node, &member, changes);
        Ok(())
    }

    /// Removes a member and what refers to it but for groups, and leaves its tombstone.
    pub(super) fn bury(&mut self, node: NodeId, member: &Member, changes: &mut Changes) {
        self.members.remove_mut(&node);
        changes.push(RowKey::Member(node));
        if self.lost.remove_mut(&node) {
            changes.push(RowKey::Lost(node));
        }
        self.tombstones.insert_mut((node, member.incarnation), ());
        changes.push(RowKey::Tombstone(node, member.incarnation));
        let reports: Vec<_> = self.readiness.keys().filter(|(_, reporter)| *reporter == node).copied().collect();
        for (app, _) in reports {
            self.readiness.remove_mut(&(app, node));
            changes.push(RowKey::Readiness(app, node));
        }
        // A package's source is asked for its bytes: one that has them takes the place.
        let sourced = self.packages.iter().filter(|(_, package)| package.source == node);
        let sourced: Vec<_> = sourced.map(|(digest, package)| (*digest, *package)).collect();
        for (digest, package) in sourced {
            if let Some(source) = self.holders(digest).into_iter().find(|holder| *holder != node) {
                self.packages.insert_mut(digest, super::PackageRecord { source, ..package });
                changes.push(RowKey::Package(digest));
            }
        }
        let heirs = self.members.iter().filter(|(_, member)| member.successor == Some(node));
        let heirs: Vec<_> = heirs.map(|(id, member)| (*id, member.clone())).collect();
        for (id, member) in heirs {
            self.set_member(id, Member { successor: None, ..member }, changes);
        }
    }
}
