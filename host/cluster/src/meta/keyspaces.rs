//! Keyspaces: sets of partitions with a number of replicas and rules of their own.
//!
//! A rule says which nodes may hold a keyspace by their localities. `require` is hard: a node whose locality lacks one of its tiers gets no
//! replica of the keyspace (so neither data, log nor snapshots) and runs none of its apps. `spread_by` and `prefer_leader` are soft:
//! whoever places partitions follows them as far as it can.
//!
//! A group belongs to one keyspace for good, so that its log and its snapshots hold nothing else, and a deleted keyspace goes with its
//! groups. Ids of keyspaces are never given twice.
//!
//! Invariants, checked in apply, whoever proposes: no replica set of a new keyspace, no target of a move and no group that continues after
//! a recovery contains a node that the rule forbids; a move whose target the rule comes to forbid, because the rule or a node's locality has
//! changed, is cancelled; the default keyspace, in which nodes keep what is their own, requires nothing; a keyspace that an installed app
//! or kept data use is not deleted. What a changed rule or locality leaves on
//! a node that is forbidden now stays there until it has moved, which is the planner's task: the state never drops a replica.
//!
//! Bounded: [`KEYSPACES_MAX`], [`REPLICAS_MAX`], [`PARTITIONS_MAX`] over all keyspaces, [`GROUPS_OF_ALL_MAX`] groups on one node.

use std::collections::{BTreeMap, BTreeSet};

use recoil_base::{Digest, GroupId, KeyspaceId, NodeId, PartitionId};
use serde::{Deserialize, Serialize};

use super::rows::RowKey;
use super::{
    AppState, Changes, DEFAULT_KEYSPACE, GROUPS_A_NODE_MAX, GroupRecord, Keyspace, Locality, Member, MetaReply,
    MetaState, MoveState, PARTITIONS_MAX, PartitionMap, Placement, Refusal,
};

/// Keyspaces of a cluster.
pub const KEYSPACES_MAX: usize = 64;
/// Replicas that a partition may have.
pub const REPLICAS_MAX: u32 = 9;
/// Bytes of a keyspace's name.
pub const KEYSPACE_NAME_BYTES_MAX: usize = 64;
/// Groups of all keyspaces of which one node may have replicas.
pub const GROUPS_OF_ALL_MAX: usize = 256;
/// The same when a keyspace is created: what is left is for the groups that moves need for a while.
const GROUPS_AT_CREATION_MAX: usize = 192;

/// Where the partitions of a keyspace may and should be.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Rules {
    /// Tiers that a node's locality must have, all of them; none allows every node.
    #[serde(skip_serializing_if = "Locality::is_empty")]
    pub require: Locality,
    /// The tier by whose values the replicas of a partition are spread; the first tier of each node's locality if it is empty.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub spread_by: String,
    /// Tiers that the locality of a partition's leader should have.
    #[serde(skip_serializing_if = "Locality::is_empty")]
    pub prefer_leader: Locality,
}

impl Rules {
    /// True if they say nothing.
    pub fn is_empty(&self) -> bool {
        *self == Rules::default()
    }

    /// True if a node at this place may hold the keyspace.
    pub fn allow(&self, place: &Locality) -> bool {
        place.has(&self.require)
    }

    /// The place that counts when replicas are spread.
    pub fn zone_of(&self, place: &Locality) -> String {
        let tier = match self.spread_by.is_empty() {
            true => place.tiers().first(),
            false => place.tiers().iter().find(|(key, _)| *key == self.spread_by),
        };
        tier.map(|(_, value)| value.clone()).unwrap_or_default()
    }

    fn check(&self) -> MetaReply {
        if self.spread_by.is_empty() || format!("{}=x", self.spread_by).parse::<Locality>().is_ok() {
            return Ok(());
        }
        let shown: String = self.spread_by.chars().take(KEYSPACE_NAME_BYTES_MAX).collect();
        Err(Refusal::invalid(format!(
            "replicas cannot be spread by '{}': name one tier of the nodes' localities, such as zone",
            shown.escape_debug()
        )))
    }
}

/// A keyspace that is to be made, with the places of its partitions.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewKeyspace {
    /// Its name.
    pub name: String,
    /// Replicas that a partition should have.
    pub replication: u32,
    /// Where they may and should be.
    #[serde(default, skip_serializing_if = "Rules::is_empty")]
    pub rules: Rules,
    /// Replica sets, ordered.
    pub sets: Vec<Vec<NodeId>>,
    /// By partition: a place in `sets`.
    pub partitions: Vec<u32>,
}

/// A change of a keyspace; what is absent stays as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct KeyspaceChange {
    /// Replicas that a partition should have.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub replication: Option<u32>,
    /// See [`Rules::require`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub require: Option<Locality>,
    /// See [`Rules::spread_by`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub spread_by: Option<String>,
    /// See [`Rules::prefer_leader`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prefer_leader: Option<Locality>,
}

/// A place, in messages.
fn shown(place: &Locality) -> String {
    if place.is_empty() { "no locality".to_owned() } else { format!("locality {place}") }
}

fn check_name(name: &str) -> MetaReply {
    let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    if (1..=KEYSPACE_NAME_BYTES_MAX).contains(&name.len()) && name.bytes().all(allowed) {
        return Ok(());
    }
    let shown: String = name.chars().take(KEYSPACE_NAME_BYTES_MAX).collect();
    Err(Refusal::invalid(format!(
        "'{}' cannot be a keyspace's name: use 1 to {KEYSPACE_NAME_BYTES_MAX} lower-case letters, digits and hyphens",
        shown.escape_debug()
    )))
}

impl MetaState {
    /// A keyspace by its name.
    pub fn keyspace_named(&self, name: &str) -> Result<(KeyspaceId, &Keyspace), Refusal> {
        let found = self.keyspaces.iter().find(|(_, keyspace)| keyspace.name == name);
        found.map(|(id, keyspace)| (*id, keyspace)).ok_or_else(|| {
            let shown: String = name.chars().take(KEYSPACE_NAME_BYTES_MAX).collect();
            Refusal::not_found(format!("there is no keyspace named '{}'", shown.escape_debug()))
        })
    }

    /// True if the rule of a keyspace allows a member to hold it: its data, its packages, their listeners.
    pub fn may_hold(&self, keyspace: KeyspaceId, node: NodeId) -> bool {
        let allows = |member: &Member| self.keyspaces.get(&keyspace).is_none_or(|of| of.rules.allow(&member.locality));
        self.members.get(&node).is_some_and(allows)
    }

    /// True if an app that uses the package may run on a member.
    pub fn may_have_package(&self, digest: Digest, node: NodeId) -> bool {
        self.apps.values().any(|app| app.digest == digest && self.may_hold(app.keyspace, node))
    }

    /// True if a member is to keep the bytes of a package: an app of it may run there, or an installation fetches them from there.
    pub fn keeps_package(&self, digest: Digest, node: NodeId) -> bool {
        let Some(package) = self.packages.get(&digest) else { return false };
        let is_installing = || self.apps.values().any(|app| app.digest == digest && app.state != AppState::Serving);
        self.may_have_package(digest, node) || package.source == node && is_installing()
    }

    /// The active members that a rule allows.
    fn allowed<'a>(&'a self, rules: &'a Rules) -> impl Iterator<Item = NodeId> + 'a {
        self.active_members().filter(|(_, member)| rules.allow(&member.locality)).map(|(node, _)| *node)
    }

    /// Refuses replicas on nodes that the rules of a keyspace named `name` forbid.
    pub(super) fn check_rules(&self, name: &str, rules: &Rules, nodes: &[NodeId]) -> MetaReply {
        for node in nodes {
            let member = self.member(*node)?;
            if !rules.allow(&member.locality) {
                return Err(Refusal::forbidden(format!(
                    "keyspace {name} requires {}, and node {node} has {}: choose nodes that the rule allows",
                    rules.require,
                    shown(&member.locality)
                )));
            }
        }
        Ok(())
    }

    /// Refuses a number of replicas for which the rules leave too few nodes.
    fn check_replication(&self, name: &str, replication: u32, rules: &Rules) -> MetaReply {
        if !(1..=REPLICAS_MAX).contains(&replication) {
            return Err(Refusal::invalid(format!(
                "a partition cannot have {replication} replicas: choose 1 to {REPLICAS_MAX}"
            )));
        }
        let count = self.allowed(rules).count();
        if count >= replication as usize {
            return Ok(());
        }
        let which = if rules.require.is_empty() { String::new() } else { format!(" with {}", rules.require) };
        Err(Refusal::conflict(format!(
            "keyspace {name} would need {replication} active nodes{which} for its replicas, and there are {count}: start nodes there \
             (recoil start --locality), or ask for fewer replicas"
        )))
    }

    /// How many replica sets of the keyspace, and of all, each of these nodes would be in with `sets` more.
    fn check_groups(&self, sets: &[Vec<NodeId>]) -> MetaReply {
        let mut added: BTreeMap<NodeId, usize> = BTreeMap::new();
        sets.iter().flatten().for_each(|node| *added.entry(*node).or_default() += 1);
        for (node, count) in added {
            let present = self.groups.values().filter(|group| group.members.contains(&node)).count();
            if count > GROUPS_A_NODE_MAX || present + count > GROUPS_AT_CREATION_MAX {
                return Err(Refusal::conflict(format!(
                    "node {node} has replicas of {present} groups and would have {count} more: at most {GROUPS_A_NODE_MAX} may be of one \
                     keyspace, and {GROUPS_AT_CREATION_MAX} of all when one is created. Delete keyspaces, or start more nodes"
                )));
            }
        }
        Ok(())
    }

    fn check_new(&self, new: &NewKeyspace) -> MetaReply {
        let NewKeyspace { name, replication, rules, sets, partitions } = new;
        check_name(name)?;
        rules.check()?;
        if self.keyspaces.is_empty() {
            return Err(Refusal::conflict(
                "the partition map has not been made yet: wait until all members have joined",
            ));
        }
        if self.keyspace_named(name).is_ok() {
            return Err(Refusal::conflict(format!("there is a keyspace named {name} already: choose another name")));
        }
        if self.keyspaces.size() >= KEYSPACES_MAX {
            return Err(Refusal::conflict(format!(
                "there are {KEYSPACES_MAX} keyspaces, which is the most there may be: delete one first"
            )));
        }
        let present: usize = self.keyspaces.values().map(|keyspace| keyspace.partitions.len()).sum();
        if partitions.is_empty() || present + partitions.len() > PARTITIONS_MAX as usize {
            return Err(Refusal::invalid(format!(
                "a keyspace cannot have {} partitions here: it has 1 at least, and all keyspaces together {PARTITIONS_MAX} at most, of which \
                 {present} are taken",
                partitions.len()
            )));
        }
        self.check_replication(name, *replication, rules)?;
        if sets.len() > partitions.len() || partitions.iter().any(|set| *set as usize >= sets.len()) {
            return Err(Refusal::invalid("the keyspace's map does not place every partition, or has sets without one"));
        }
        for set in sets {
            let is_distinct = set.iter().collect::<BTreeSet<_>>().len() == set.len();
            if set.len() != *replication as usize || !is_distinct || !set.iter().all(|node| self.is_active(*node)) {
                return Err(Refusal::conflict(format!(
                    "a replica set of the new keyspace does not name {replication} different active nodes: try again"
                )));
            }
            self.check_rules(name, rules, set)?;
        }
        self.check_groups(sets)
    }

    pub(super) fn create_keyspace(&mut self, new: NewKeyspace, changes: &mut Changes) -> MetaReply {
        if let Ok((_, known)) = self.keyspace_named(&new.name)
            && (known.replication, &known.rules, known.partitions.len())
                == (new.replication, &new.rules, new.partitions.len())
        {
            return Ok(()); // a repetition
        }
        self.check_new(&new)?;
        let NewKeyspace { name, replication, rules, sets, partitions } = new;
        let id = KeyspaceId(self.header.next_keyspace.max(DEFAULT_KEYSPACE.0 + 1));
        self.header.next_keyspace = id.0 + 1;
        let first = self.header.next_group;
        self.header.next_group += sets.len() as u32;
        for (place, members) in sets.into_iter().enumerate() {
            let group = GroupId(first + place as u32);
            let record = GroupRecord { members: members.into(), initialised: false, keyspace: id };
            self.groups.insert_mut(group, record);
            changes.push(RowKey::Group(group));
        }
        let partitions: PartitionMap =
            partitions.iter().map(|set| Placement { group: GroupId(first + set), epoch: 1 }).collect();
        changes.push(RowKey::Keyspace(id));
        changes.extend((0..partitions.len()).map(|number| RowKey::Placement(id, PartitionId(number as u32))));
        self.keyspaces.insert_mut(id, Keyspace { name, replication, rules, partitions });
        self.index_groups();
        self.routing_changed();
        Ok(())
    }

    pub(super) fn set_keyspace(&mut self, name: &str, change: KeyspaceChange, changes: &mut Changes) -> MetaReply {
        let (id, before) = self.keyspace_named(name)?;
        let KeyspaceChange { replication, require, spread_by, prefer_leader } = change;
        let rules = Rules {
            require: require.unwrap_or_else(|| before.rules.require.clone()),
            spread_by: spread_by.unwrap_or_else(|| before.rules.spread_by.clone()),
            prefer_leader: prefer_leader.unwrap_or_else(|| before.rules.prefer_leader.clone()),
        };
        let next = Keyspace { replication: replication.unwrap_or(before.replication), rules, ..before.clone() };
        if id == DEFAULT_KEYSPACE && !next.rules.require.is_empty() {
            return Err(Refusal::invalid(format!(
                "{name} is the keyspace of the nodes' own apps and is on all nodes: create another keyspace with this rule, and install into \
                 that"
            )));
        }
        next.rules.check()?;
        if (next.replication, &next.rules.require) != (before.replication, &before.rules.require) {
            self.check_replication(name, next.replication, &next.rules)?;
        }
        if next != *before {
            self.keyspaces.insert_mut(id, next);
            changes.push(RowKey::Keyspace(id));
            self.cancel_forbidden(changes);
        }
        Ok(())
    }

    /// Cancels moves that have begun to where a rule or a locality, as they are now, does not allow them.
    pub(super) fn cancel_forbidden(&mut self, changes: &mut Changes) {
        if self.keyspaces.values().all(|keyspace| keyspace.rules.require.is_empty()) {
            return;
        }
        let forbids = |keyspace: KeyspaceId, target: GroupId| {
            let members = self.groups.get(&target).map(|group| group.members.clone());
            members.is_some_and(|members| members.iter().any(|node| !self.may_hold(keyspace, *node)))
        };
        let begun = self.moves.iter().filter(|(_, record)| record.state == MoveState::Moving);
        let forbidden: Vec<_> = begun.filter(|(_, record)| forbids(record.keyspace, record.target)).collect();
        let forbidden: Vec<_> = forbidden.into_iter().map(|(id, record)| (*id, *record)).collect();
        for (id, record) in forbidden {
            self.set_move(id, super::MoveRecord { state: MoveState::Cancelling, ..record }, changes);
        }
    }

    pub(super) fn delete_keyspace(&mut self, name: &str, changes: &mut Changes) -> MetaReply {
        let (id, keyspace) = self.keyspace_named(name)?;
        if id == DEFAULT_KEYSPACE {
            return Err(Refusal::conflict(format!("{name} is the cluster's own keyspace and cannot be deleted")));
        }
        let apps: Vec<&str> =
            self.apps.iter().filter(|(_, app)| app.keyspace == id).map(|(name, _)| name.as_str()).collect();
        if !apps.is_empty() {
            let all = apps.join(", ");
            return Err(Refusal::conflict(format!("keyspace {name} is used by the apps {all}: uninstall them first")));
        }
        let kept: Vec<&str> =
            self.kept.iter().filter(|(_, kept)| kept.keyspace == id).map(|(name, _)| name.as_str()).collect();
        if !kept.is_empty() {
            return Err(Refusal::conflict(format!(
                "keyspace {name} holds data that was kept of uninstalled apps ({}): delete it first (recoilctl data delete)",
                kept.join(", ")
            )));
        }
        changes.push(RowKey::Keyspace(id));
        changes.extend((0..keyspace.partitions.len()).map(|number| RowKey::Placement(id, PartitionId(number as u32))));
        let moves: Vec<u64> =
            self.moves.iter().filter(|(_, record)| record.keyspace == id).map(|(move_id, _)| *move_id).collect();
        for move_id in moves {
            self.moves.remove_mut(&move_id);
            changes.push(RowKey::Move(move_id));
        }
        self.keyspaces.remove_mut(&id);
        // Its groups are used by nothing now, and are removed as such.
        self.index_moves();
        self.index_groups();
        self.routing_changed();
        Ok(())
    }
}
