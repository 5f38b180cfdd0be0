//! What the meta group agrees on: members, keyspaces with their partition map, groups, packages and apps.
//!
//! The state is a value; [`MetaState::apply`] is the only way it changes, deterministic and total: a command that does not fit
//! answers why and changes nothing. Every node applies the same log and publishes the state as an immutable value, which is
//! all that routing, group opening and app lifecycle look at.
//!
//! Its maps are persistent: a state shares with its predecessor what the entry did not change, so applying and publishing cost what
//! changed, not what there is. On disk it is one row an object ([`rows`]), and an entry ([`command`]) writes the header and the rows
//! that it changed; with 1,000 nodes and 100,000 partitions that is a few hundred bytes. Making the map writes the map, and
//! uninstalling an app removes a row for each node that had it ready.
//!
//! Two indices tell readers how far a state is: `index` is the last entry applied, `routing_index` the last that changed where calls go,
//! which calls carry so that their receiver waits for that and for nothing else.
//!
//! A node stops rather than guess ([`MetaError`]): at an entry or a row that it cannot read, and at a feature level that its version
//! does not understand. The level starts at 1 and is raised by a command of its own once every active member's version understands the
//! next; from then on members whose version does not are refused.
//!
//! Deliberately absent: package bytes, which are files on the nodes.

mod apps;
mod command;
mod departures;
mod error;
mod keyspaces;
mod members;
mod moves;
mod partition_map;
mod records;
mod recovery;
mod refusal;
mod rows;
#[cfg(test)]
mod tests;
mod upkeep;

use std::sync::Arc;

use recoil_base::{AppId, Digest, GroupId, KeyspaceId, NodeId, PartitionId};

pub use command::{Displaced, ENTRY_BYTES_MAX, Join, KEYSPACES_LEVEL, MetaCommand, check_proposal};
pub use departures::{removed, state_name};
pub use error::MetaError;
pub use keyspaces::{
    GROUPS_OF_ALL_MAX, KEYSPACE_NAME_BYTES_MAX, KEYSPACES_MAX, KeyspaceChange, NewKeyspace, REPLICAS_MAX, Rules,
};
pub use members::{old_copy, supersedes};
pub use moves::{GROUPS_A_NODE_MAX, MOVES_AN_ENTRY_MAX, MOVES_MAX, MoveRecord, MoveState};
pub use partition_map::PartitionMap;
pub use records::{
    App, AppState, CAPACITY_DEFAULT, GroupRecord, KeptData, Keyspace, LEVELS, Levels, Locality, Member, MemberState,
    PackageRecord, Placement, Readiness,
};
pub use recovery::ContinuedGroup;
pub use refusal::{Refusal, RefusalKind};
pub use rows::{Header, RowKey};
pub use upkeep::{ClusterChange, ClusterSettings, LostStart, MOVE_RATE_BYTES, REPAIR_AFTER_S};

/// The largest package, bytes.
pub const PACKAGE_BYTES_MAX: u64 = 64 << 20;
/// Partitions that a keyspace, and all keyspaces together, may have.
pub const PARTITIONS_MAX: u32 = 100_000;
/// Nodes a cluster may have.
pub const MEMBERS_MAX: usize = 1024;
/// Bytes of an app's name, which is part of a row's key.
pub const APP_NAME_BYTES_MAX: usize = 128;
/// The keyspace of a new cluster.
pub const DEFAULT_KEYSPACE: KeyspaceId = KeyspaceId(1);

/// A persistent ordered map: copies share what has not changed.
pub type Map<K, V> = rpds::RedBlackTreeMapSync<K, V>;

/// See the module's essay.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct MetaState {
    /// The scalars.
    pub header: Header,
    /// Nodes.
    pub members: Map<NodeId, Member>,
    /// Keyspaces; empty until the map is made.
    pub keyspaces: Map<KeyspaceId, Keyspace>,
    /// Groups that placements or moves name, or that are about to be removed. See [`MetaState::is_removed`].
    pub groups: Map<GroupId, GroupRecord>,
    /// Packages that apps use.
    pub packages: Map<Digest, PackageRecord>,
    /// Apps by name.
    pub apps: Map<String, App>,
    /// What nodes reported of apps.
    pub readiness: Map<(AppId, NodeId), Readiness>,
    /// Data of apps that are uninstalled, by the apps' names.
    pub kept: Map<String, KeptData>,
    /// Apps whose data are to be removed.
    pub removed_apps: Map<AppId, ()>,
    /// Nodes that were removed, with the incarnation that they had then. No start of them takes part again.
    pub tombstones: Map<(NodeId, u64), ()>,
    /// Moves of partitions that have not ended.
    pub moves: Map<u64, MoveRecord>,
    /// Members that count as lost, by the start that has been silent for too long.
    pub lost: Map<NodeId, LostStart>,
    /// How partitions are kept placed.
    pub settings: ClusterSettings,
    /// The move of each partition that takes part in one: an index of them, not stored.
    moving: Map<(KeyspaceId, PartitionId), u64>,
    /// The partitions of each group: an index of the placements, not stored.
    hosted: Map<GroupId, Arc<[(KeyspaceId, PartitionId)]>>,
}

/// What a command answers: nothing, or why it changed nothing.
pub type MetaReply = Result<(), Refusal>;

/// The rows that a command changes.
type Changes = Vec<RowKey>;

impl MetaState {
    /// Applies the entry at `index` of the log. Answers what the command answers, and hands every row that changed to `write`, without a
    /// value if it goes.
    ///
    /// # Errors
    /// Why this version must not go on; the state is as before and nothing was written.
    pub fn apply_entry(
        &mut self,
        index: u64,
        entry: &[u8],
        mut write: impl FnMut(&RowKey, Option<bytes::Bytes>),
    ) -> Result<MetaReply, MetaError> {
        let level = self.header.level;
        let command = MetaCommand::decode(entry).map_err(|why| MetaError::Entry { index, why, level })?;
        if let MetaCommand::RaiseLevel { level } = command
            && level > LEVELS.max
            && self.can_raise(level).is_ok()
        {
            return Err(MetaError::Level { level });
        }
        let mut changes = Changes::new();
        let reply = self.apply(index, command, &mut changes);
        for key in changes {
            write(&key, self.row(&key));
        }
        Ok(reply)
    }

    /// Applies a command, and appends the keys of the rows that it changed: none but the header's if it is refused.
    pub fn apply(&mut self, index: u64, command: MetaCommand, changes: &mut Vec<RowKey>) -> MetaReply {
        // A copy, so that what is refused half-way has changed nothing.
        let mut next = self.clone();
        let before = changes.len();
        next.header.index = index;
        let allowed = command::check_level(command.level(), self.header.level).map_err(Refusal::conflict);
        let reply = allowed.and_then(|()| next.change(command, &mut *changes));
        match reply {
            Ok(()) => *self = next,
            Err(_) => {
                changes.truncate(before);
                self.header.index = index;
            }
        }
        changes.push(RowKey::Header);
        changes[before..].sort_unstable();
        changes.dedup();
        reply
    }

    fn change(&mut self, command: MetaCommand, changes: &mut Changes) -> MetaReply {
        match command {
            MetaCommand::Found { cluster, expect, partitions, replication } => {
                self.found(cluster, expect, partitions, replication)
            }
            MetaCommand::Join(join) => self.join(*join, changes),
            MetaCommand::MakeMap { sets, partitions } => self.make_map(sets, &partitions, changes),
            MetaCommand::Initialised { group } => {
                let record =
                    self.groups.get(&group).ok_or_else(|| Refusal::not_found(format!("there is no group {group}")))?;
                if !record.initialised {
                    self.groups.insert_mut(group, GroupRecord { initialised: true, ..record.clone() });
                    changes.push(RowKey::Group(group));
                }
                Ok(())
            }
            MetaCommand::Install { name, digest, size, source, manifest, settings, keyspace } => {
                let package = (digest, PackageRecord { size, source });
                self.install(name, package, *manifest, (settings, keyspace), changes)
            }
            MetaCommand::Set { name, settings } => self.set(name, settings, changes),
            MetaCommand::Ready { app, install, node, error } => self.ready(app, node, install, error, changes),
            MetaCommand::Serve { app, install } => self.serve(app, install, changes),
            MetaCommand::Uninstall { name, keep_data } => self.uninstall(name, keep_data, changes),
            MetaCommand::DeleteData { name, app } => self.delete_data(name, app, changes),
            MetaCommand::Move { keyspace, partitions, to } => self.start_moves(keyspace, &partitions, to, changes),
            MetaCommand::CancelMove { id } => self.cancel_move(id, changes),
            MetaCommand::Flip { moves } => self.flip(&moves, changes),
            MetaCommand::EndMoves { moves } => self.end_moves(&moves, changes),
            MetaCommand::RemoveGroups { groups } => self.remove_groups(&groups, changes),
            MetaCommand::MarkLost { node, incarnation, start } => {
                self.mark_lost(node, LostStart { incarnation, start }, changes)
            }
            MetaCommand::MarkReturned { node } => self.mark_returned(node, changes),
            MetaCommand::SetCluster(change) => self.set_cluster(change, changes),
            MetaCommand::Drain { node } => self.drain(node, changes),
            MetaCommand::Undrain { node } => self.undrain(node, changes),
            MetaCommand::Decommission { node, successor } => self.decommission(node, successor, changes),
            MetaCommand::RemoveMember { node } => self.remove_member(node, changes),
            MetaCommand::Recover { lost, groups } => self.recover(&lost, &groups, changes),
            MetaCommand::CreateKeyspace(new) => self.create_keyspace(*new, changes),
            MetaCommand::SetKeyspace { name, change } => self.set_keyspace(&name, change, changes),
            MetaCommand::DeleteKeyspace { name } => self.delete_keyspace(&name, changes),
            MetaCommand::RaiseLevel { level } => {
                if level == self.header.level {
                    return Ok(());
                }
                self.can_raise(level)?;
                self.header.level = level;
                Ok(())
            }
        }
    }

    /// The default keyspace, once the map is made.
    pub fn default_keyspace(&self) -> Option<(KeyspaceId, &Keyspace)> {
        self.keyspaces.first().map(|(id, keyspace)| (*id, keyspace))
    }

    /// The partitions of `group` with their epochs.
    pub fn partitions_of(&self, group: GroupId) -> Vec<(KeyspaceId, PartitionId, u64)> {
        let epoch = |(id, partition): &(KeyspaceId, PartitionId)| {
            let placement = self.keyspaces.get(id)?.partitions.get(*partition)?;
            Some((*id, *partition, placement.epoch))
        };
        self.hosted.get(&group).into_iter().flat_map(|partitions| partitions.iter()).filter_map(epoch).collect()
    }

    /// How many partitions `group` has.
    pub fn partition_count(&self, group: GroupId) -> usize {
        self.hosted.get(&group).map_or(0, |partitions| partitions.len())
    }

    /// Makes the index of placements by group.
    fn index_groups(&mut self) {
        let mut hosted: std::collections::BTreeMap<GroupId, Vec<(KeyspaceId, PartitionId)>> = Default::default();
        for (id, keyspace) in &self.keyspaces {
            for (partition, placement) in keyspace.partitions.iter().enumerate() {
                hosted.entry(placement.group).or_default().push((*id, PartitionId(partition as u32)));
            }
        }
        self.hosted = hosted.into_iter().map(|(group, partitions)| (group, partitions.into())).collect();
    }

    /// Calls go elsewhere from this entry on.
    fn routing_changed(&mut self) {
        self.header.routing_index = self.header.index;
    }

    fn found(&mut self, cluster: String, expect: u32, partitions: u32, replication: u32) -> MetaReply {
        let header = &mut self.header;
        if header.cluster.is_empty() {
            header.cluster = cluster;
            header.expect = expect.max(1);
            header.partitions = partitions.clamp(1, PARTITIONS_MAX);
            header.replication = replication.max(1);
            header.next_member = 1;
            header.next_group = 1;
            header.next_app = 1;
        }
        Ok(())
    }

    fn make_map(&mut self, sets: Vec<Vec<NodeId>>, partitions: &[u32], changes: &mut Changes) -> MetaReply {
        if !self.keyspaces.is_empty() {
            return Ok(());
        }
        let distinct = |set: &Vec<NodeId>| set.iter().enumerate().all(|(place, node)| !set[..place].contains(node));
        if sets
            .iter()
            .any(|set| set.is_empty() || !distinct(set) || set.iter().any(|node| !self.members.contains_key(node)))
        {
            return Err(Refusal::invalid(
                "a replica set is empty or names a node twice or a node that is not a member",
            ));
        }
        if partitions.is_empty() || sets.len() > partitions.len() {
            return Err(Refusal::invalid(
                "the cluster has not been founded, or the map has more replica sets than partitions",
            ));
        }
        let expected = self.header.partitions as usize;
        if partitions.len() != expected || partitions.iter().any(|set| *set as usize >= sets.len()) {
            return Err(Refusal::invalid("the map does not place every partition"));
        }
        let first = self.header.next_group;
        self.header.next_group += sets.len() as u32;
        for (place, members) in sets.into_iter().enumerate() {
            let id = GroupId(first + place as u32);
            self.groups.insert_mut(
                id,
                GroupRecord { members: members.into(), initialised: false, keyspace: DEFAULT_KEYSPACE },
            );
            changes.push(RowKey::Group(id));
        }
        let partitions: PartitionMap =
            partitions.iter().map(|set| Placement { group: GroupId(first + set), epoch: 1 }).collect();
        let ids = (0..partitions.len()).map(|partition| PartitionId(partition as u32));
        changes.extend(ids.map(|partition| RowKey::Placement(DEFAULT_KEYSPACE, partition)));
        changes.push(RowKey::Keyspace(DEFAULT_KEYSPACE));
        let (name, replication) = ("default".into(), self.header.replication);
        let keyspace = Keyspace { name, replication, rules: Rules::default(), partitions };
        self.keyspaces.insert_mut(DEFAULT_KEYSPACE, keyspace);
        self.index_groups();
        self.routing_changed();
        Ok(())
    }
}
