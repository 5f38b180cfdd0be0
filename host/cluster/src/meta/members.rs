//! Members: joining, starting again, taking the address of a dead one, and the feature level that all of them understand.

use recoil_base::NodeId;

use super::departures::removed;
use super::rows::RowKey;
use super::{
    Changes, Displaced, Join, Keyspace, Levels, MEMBERS_MAX, Member, MemberState, MetaReply, MetaState, Refusal,
};

/// Bytes of the name of a node's version.
const VERSION_BYTES_MAX: usize = 64;

/// True if a start, as (incarnation, random number), is `known` or came after it.
pub fn supersedes(start: (u64, u64), known: (u64, u64)) -> bool {
    start == known || start.0 > known.0
}

/// The refusal of a node whose data folder is an old copy.
pub fn old_copy(node: NodeId, says: u64, known: u64) -> String {
    format!(
        "node {node} comes with its start number {says}, but start {known} of it is known already: this is a copy of a data folder. \
         Start with an empty data folder, under a new id"
    )
}

impl MetaState {
    /// How many replicas a partition of a keyspace should have: as many as were asked for, or one on each member that is to
    /// stay and that the keyspace's rule allows. Members that are down or drained count: no partition has fewer replicas because of them while no other node can
    /// take their place. Those that are decommissioned do not: else a cluster of few nodes would wait for another one to join.
    pub fn replicas_wanted(&self, keyspace: &Keyspace) -> usize {
        let stays =
            |member: &&Member| member.state != MemberState::Decommissioning && keyspace.rules.allow(&member.locality);
        let stay = self.members.values().filter(stays).count();
        (keyspace.replication as usize).min(stay)
    }

    /// The members that are expected to take part.
    pub fn active_members(&self) -> impl Iterator<Item = (&NodeId, &Member)> {
        self.members.iter().filter(|(_, member)| member.state == MemberState::Active)
    }

    /// The member other than `node` that listens on `address`.
    pub fn member_at(&self, address: std::net::SocketAddr, node: NodeId) -> Option<(&NodeId, &Member)> {
        let is_there = |member: &Member| member.address == address && !member.address_taken;
        self.members.iter().find(|(other, member)| **other != node && is_there(member))
    }

    pub(super) fn join(&mut self, join: Join, changes: &mut Changes) -> MetaReply {
        let Join { node, address, incarnation, start, version, port_offset, levels, locality, capacity, displaces } =
            join;
        if version.len() > VERSION_BYTES_MAX {
            return Err(Refusal::invalid(format!(
                "a version of {} bytes; at most {VERSION_BYTES_MAX} are allowed",
                version.len()
            )));
        }
        let level = self.header.level;
        if !levels.contains(level) {
            let Levels { min, max } = levels;
            return Err(Refusal::conflict(format!(
                "node {node} runs version {version}, which understands feature levels {min} to {max}, and the cluster is at level {level}: \
                 start it with a version that understands level {level}"
            )));
        }
        if self.is_removed(node) {
            return Err(Refusal::conflict(removed(node)));
        }
        let known = self.members.get(&node).map(|member| (member.incarnation, member.start));
        if let Some(known) = known.filter(|known| !supersedes((incarnation, start), *known)) {
            return Err(Refusal::conflict(old_copy(node, incarnation, known.0)));
        }
        if known.is_none() && self.members.size() >= MEMBERS_MAX {
            return Err(Refusal::conflict(format!(
                "the cluster has {MEMBERS_MAX} members, which is the most there may be"
            )));
        }
        if let Some((other, member)) = self.member_at(address, node).map(|(other, member)| (*other, member.clone())) {
            let present = Displaced { node: other, incarnation: member.incarnation, start: member.start };
            if displaces != Some(present) {
                return Err(Refusal::conflict(format!(
                    "node {other} of this cluster already listens on {address}; start this node on another address, or retry once that one \
                     has been dead for a while"
                )));
            }
            let state = if member.state == MemberState::Active { MemberState::Displaced } else { member.state };
            self.members.insert_mut(other, Member { state, address_taken: true, ..member });
            changes.push(RowKey::Member(other));
        }
        let before = self.members.get(&node);
        let number = before.map_or(self.header.next_member, |member| member.number);
        // What an operator wants of a member outlives its restarts.
        let (state, successor) = match before {
            Some(member) if self.is_leaving(node) => (member.state, member.successor),
            _ => (MemberState::Active, None),
        };
        self.header.next_member = self.header.next_member.max(number + 1);
        let address_taken = false;
        let joined = Member {
            number,
            address,
            incarnation,
            start,
            version,
            port_offset,
            levels,
            locality,
            capacity,
            state,
            address_taken,
            successor,
        };
        if self.members.get(&node) != Some(&joined) {
            self.members.insert_mut(node, joined);
            changes.push(RowKey::Member(node));
        }
        self.cancel_forbidden(changes);
        self.mark_returned(node, changes)?;
        Ok(())
    }

    /// Whether the cluster's feature level may become `level`: one step at a time, once every present member understands it.
    pub(super) fn can_raise(&self, level: u32) -> MetaReply {
        let now = self.header.level;
        if level != now + 1 {
            return Err(Refusal::conflict(format!(
                "the cluster is at feature level {now}; it can be raised to {} only",
                now + 1
            )));
        }
        match self.present_members().find(|(_, member)| !member.levels.contains(level)) {
            None => Ok(()),
            Some((node, member)) => Err(Refusal::conflict(format!(
                "node {node} runs version {}, which understands feature levels {} to {}: upgrade it before level {level} is used",
                member.version, member.levels.min, member.levels.max
            ))),
        }
    }
}
