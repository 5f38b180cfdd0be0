//! What the meta group agrees on: members, keyspaces with their partition map, groups, packages and apps.
//!
//! The state is a value; [`MetaState::apply`] is the only way it changes, deterministic and total: a command that does not fit
//! answers why and changes nothing. Every node applies the same log and publishes the state as an immutable value, which is
//! all that routing, group opening and app lifecycle look at.
//!
//! Entries are `length u32 | command JSON | attachment`; the attachment carries a chunk of a package. Stored rows: the state as
//! JSON under `\x01state`, package chunks under `\x02 digest index`. JSON, because the state is small and changes rarely, and a later
//! version must be able to add fields.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use bytes::Bytes;
use recoil_base::{AppId, DecodeError, Digest, GroupId, KeyspaceId, NodeId, PartitionId, Reader, Writer};
use recoil_package::{Manifest, SettingValue};
use serde::{Deserialize, Serialize};

/// The largest package, bytes.
pub const PACKAGE_BYTES_MAX: u64 = 64 << 20;
/// Bytes of a package in one entry.
pub const PACKAGE_CHUNK_BYTES: usize = 256 << 10;
/// Partitions a keyspace may have.
pub const PARTITIONS_MAX: u32 = 100_000;

/// Nodes a cluster may have.
pub const MEMBERS_MAX: usize = 1024;
/// Bytes of the name of a node's version.
const VERSION_BYTES_MAX: usize = 64;

/// A node of the cluster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// A small counter, which guests see instead of the node id.
    pub number: u32,
    /// Where it listens for peers and the admin API.
    pub address: SocketAddr,
    /// Raised at each of its starts.
    pub incarnation: u64,
    /// A random number of this start, so that two starts that claim one incarnation are told apart.
    pub start: u64,
    /// The version it runs.
    pub version: String,
    /// Added to the ports of apps on this node.
    #[serde(default)]
    pub port_offset: u16,
}

/// One partition's place in the map.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Placement {
    /// The group that owns it.
    pub group: GroupId,
    /// Grows when it moves.
    pub epoch: u64,
}

/// A keyspace and its partition map.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Keyspace {
    /// Its name.
    pub name: String,
    /// Replicas a partition should have.
    pub replication: u32,
    /// By partition id.
    pub partitions: Vec<Placement>,
}

/// A Raft group: a replica set that the map names.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupRecord {
    /// Ordered: the first is the preferred leader.
    pub members: Vec<NodeId>,
    /// True once a leader has been seen: nobody may initialise it again.
    pub initialised: bool,
    /// True once nothing uses it. Its id is never reused.
    pub removed: bool,
}

/// A package stored in the cluster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PackageRecord {
    /// Bytes.
    pub size: u64,
    /// Chunks present.
    pub chunks: u32,
    /// True once all bytes are there.
    pub complete: bool,
}

/// How far an app has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AppState {
    /// Nodes compile it and report.
    Installing,
    /// Switched on everywhere.
    Serving,
    /// A node could not make it ready.
    Failed,
}

/// An installed package.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct App {
    /// Its keys start with this; never given to another app.
    pub id: AppId,
    /// Counts installations, so that what nodes do for one is not taken for another of the same app.
    #[serde(default)]
    pub install: u32,
    /// The package's digest, pinned.
    pub digest: Digest,
    /// The package's manifest.
    pub manifest: Manifest,
    /// How far it has come.
    pub state: AppState,
    /// What each node said: none if ready, else why not.
    pub ready: BTreeMap<NodeId, Option<String>>,
    /// Settings that differ from the manifest's defaults.
    #[serde(default)]
    pub settings: BTreeMap<String, SettingValue>,
}

/// The data of an app that is uninstalled, kept for its next installation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct KeptData {
    /// What its keys start with.
    pub id: AppId,
    /// The package's name: no other may read it.
    pub package: String,
    /// Of the package that wrote it last.
    pub version: String,
    /// The same.
    pub digest: Digest,
    /// What the app was set to.
    pub settings: BTreeMap<String, SettingValue>,
}

/// See the module's essay.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct MetaState {
    /// The cluster's id, 32 hexadecimal digits; empty before the cluster is founded.
    pub cluster: String,
    /// Members that must have joined before the partition map is made.
    pub expect: u32,
    /// Partitions of the default keyspace.
    pub partitions: u32,
    /// Replicas of a partition, if there are as many nodes.
    pub replication: u32,
    /// Nodes.
    pub members: BTreeMap<NodeId, Member>,
    /// Keyspaces; empty until the map is made.
    pub keyspaces: BTreeMap<KeyspaceId, Keyspace>,
    /// Groups, removed ones too.
    pub groups: BTreeMap<GroupId, GroupRecord>,
    /// Packages.
    pub packages: BTreeMap<Digest, PackageRecord>,
    /// Apps by name.
    pub apps: BTreeMap<String, App>,
    /// Data of apps that are uninstalled, by the apps' names.
    #[serde(default)]
    pub kept: BTreeMap<String, KeptData>,
    /// Apps whose data is to be removed.
    pub removed_apps: Vec<AppId>,
    next_member: u32,
    next_group: u32,
    next_app: u32,
    #[serde(default)]
    next_install: u32,
    /// The log index of the last entry applied.
    pub index: u64,
}

/// A change of the state.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "command", rename_all = "kebab-case")]
pub enum MetaCommand {
    /// Founds the cluster, once.
    Found {
        /// 32 hexadecimal digits.
        cluster: String,
        /// Members to wait for.
        expect: u32,
        /// Partitions of the default keyspace.
        partitions: u32,
        /// Replicas wanted.
        replication: u32,
    },
    /// A node joins, or starts again.
    Join {
        /// The node.
        node: NodeId,
        /// Where it listens.
        address: SocketAddr,
        /// Raised at each start.
        incarnation: u64,
        /// A random number of this start.
        start: u64,
        /// What it runs.
        version: String,
        /// Added to the ports of apps on it.
        #[serde(default)]
        port_offset: u16,
    },
    /// Makes the partition map, once.
    MakeMap {
        /// Replica sets, ordered.
        sets: Vec<Vec<NodeId>>,
        /// By partition: a place in `sets`.
        partitions: Vec<u32>,
    },
    /// A leader of the group has been seen.
    Initialised {
        /// The group.
        group: GroupId,
    },
    /// One chunk of a package, in the attachment.
    PackageChunk {
        /// Of the whole package.
        digest: Digest,
        /// Bytes of the whole package.
        size: u64,
        /// Which chunk, from 0.
        index: u32,
    },
    /// Installs a package as an app.
    Install {
        /// The app's name.
        name: String,
        /// The package.
        digest: Digest,
        /// Its manifest.
        manifest: Box<Manifest>,
        /// Settings that differ from the manifest's defaults.
        #[serde(default)]
        settings: BTreeMap<String, SettingValue>,
    },
    /// Changes settings of an app.
    Set {
        /// The app's name.
        name: String,
        /// The new values.
        settings: BTreeMap<String, SettingValue>,
    },
    /// A node has made an app ready, or says why not.
    Ready {
        /// The app.
        app: AppId,
        /// Which installation of it.
        #[serde(default)]
        install: u32,
        /// The node.
        node: NodeId,
        /// Why not.
        error: Option<String>,
    },
    /// Switches an app on, everywhere at once.
    Serve {
        /// The app.
        app: AppId,
        /// Which installation of it.
        #[serde(default)]
        install: u32,
    },
    /// Removes an app, and its data unless that is to be kept.
    Uninstall {
        /// The app's name.
        name: String,
        /// For its next installation.
        #[serde(default)]
        keep_data: bool,
    },
}

/// True if a start, as (incarnation, random number), is `known` or came after it.
pub fn supersedes(start: (u64, u64), known: (u64, u64)) -> bool {
    start == known || start.0 > known.0
}

/// What a node is told whose data folder is an old copy.
pub fn old_copy(node: NodeId, says: u64, known: u64) -> String {
    format!(
        "node {node} comes with its start number {says}, but start {known} of it is known already: this is a copy of a data folder. \
         Start with an empty data folder, under a new id"
    )
}

/// What a command answers: nothing, or why it changed nothing.
pub type MetaReply = Result<(), String>;

impl MetaCommand {
    /// The entry's bytes.
    pub fn encode(&self, attachment: &[u8]) -> Bytes {
        let json = serde_json::to_vec(self).expect("meta commands have only text keys");
        let mut writer = Writer::with_capacity(4 + json.len() + attachment.len());
        writer.bytes(&json).raw(attachment);
        writer.finish()
    }

    /// Reads an entry's bytes.
    pub fn decode(entry: Bytes) -> Result<(Self, Bytes), DecodeError> {
        let mut reader = Reader::new("meta entry", entry);
        let json = reader.bytes()?;
        let command =
            serde_json::from_slice(&json).map_err(|_| reader.error("a command that this version does not know"))?;
        let attachment = reader.raw(reader.remaining())?;
        Ok((command, attachment))
    }
}

impl MetaState {
    /// Applies one command. `chunk` is told of package bytes to keep or, without bytes, to forget.
    pub fn apply(
        &mut self,
        command: MetaCommand,
        attachment: &Bytes,
        chunk: &mut dyn FnMut(Digest, u32, Option<Bytes>),
    ) -> MetaReply {
        match command {
            MetaCommand::Found { cluster, expect, partitions, replication } => {
                self.found(cluster, expect, partitions, replication)
            }
            MetaCommand::Join { node, address, incarnation, start, version, port_offset } => {
                self.join(node, Member { number: 0, address, incarnation, start, version, port_offset })
            }
            MetaCommand::MakeMap { sets, partitions } => self.make_map(sets, &partitions),
            MetaCommand::Initialised { group } => {
                let record = self.groups.get_mut(&group).ok_or_else(|| format!("there is no group {group}"))?;
                record.initialised = true;
                Ok(())
            }
            MetaCommand::PackageChunk { digest, size, index } => {
                self.package_chunk(digest, size, index, attachment)?;
                chunk(digest, index, Some(attachment.clone()));
                Ok(())
            }
            MetaCommand::Install { name, digest, manifest, settings } => {
                self.install(name, digest, *manifest, settings)
            }
            MetaCommand::Set { name, settings } => {
                let app = self.apps.get_mut(&name).ok_or_else(|| format!("there is no app named {name}"))?;
                // Checked by whoever asked; once more here, where the manifest cannot change any more.
                for (setting, value) in &settings {
                    app.manifest.parse_setting(setting, &value.to_string())?;
                }
                app.settings.extend(settings);
                Ok(())
            }
            MetaCommand::Ready { app, install, node, error } => {
                let failed = error.is_some();
                let app = self.installation(app, install)?;
                app.ready.insert(node, error);
                if failed && app.state == AppState::Installing {
                    app.state = AppState::Failed;
                }
                Ok(())
            }
            MetaCommand::Serve { app, install } => {
                let app = self.installation(app, install)?;
                if app.state == AppState::Installing {
                    app.state = AppState::Serving;
                }
                Ok(())
            }
            MetaCommand::Uninstall { name, keep_data } => self.uninstall(name, keep_data, chunk),
        }
    }

    /// The default keyspace, once the map is made.
    pub fn default_keyspace(&self) -> Option<(KeyspaceId, &Keyspace)> {
        self.keyspaces.first_key_value().map(|(id, keyspace)| (*id, keyspace))
    }

    /// The partitions of `group` with their epochs.
    pub fn partitions_of(&self, group: GroupId) -> Vec<(KeyspaceId, PartitionId, u64)> {
        let mut found = Vec::new();
        for (id, keyspace) in &self.keyspaces {
            for (partition, placement) in keyspace.partitions.iter().enumerate().filter(|(_, p)| p.group == group) {
                found.push((*id, PartitionId(partition as u32), placement.epoch));
            }
        }
        found
    }

    fn found(&mut self, cluster: String, expect: u32, partitions: u32, replication: u32) -> MetaReply {
        if self.cluster.is_empty() {
            self.cluster = cluster;
            self.expect = expect.max(1);
            self.partitions = partitions.clamp(1, PARTITIONS_MAX);
            self.replication = replication.max(1);
            self.next_member = 1;
            self.next_group = 1;
            self.next_app = 1;
        }
        Ok(())
    }

    fn join(&mut self, node: NodeId, joining: Member) -> MetaReply {
        if joining.version.len() > VERSION_BYTES_MAX {
            return Err(format!(
                "a version of {} bytes; at most {VERSION_BYTES_MAX} are allowed",
                joining.version.len()
            ));
        }
        let same_address = |(other, member): &(&NodeId, &Member)| **other != node && member.address == joining.address;
        if let Some((other, _)) = self.members.iter().find(same_address) {
            let address = joining.address;
            return Err(format!(
                "node {other} of this cluster already listens on {address}; start this node on another address"
            ));
        }
        if let Some(member) = self.members.get_mut(&node) {
            let known = (member.incarnation, member.start);
            if !supersedes((joining.incarnation, joining.start), known) {
                return Err(old_copy(node, joining.incarnation, known.0));
            }
            *member = Member { number: member.number, ..joining };
            return Ok(());
        }
        if self.members.len() >= MEMBERS_MAX {
            return Err(format!("the cluster has {MEMBERS_MAX} members, which is the most there may be"));
        }
        let number = self.next_member;
        self.next_member += 1;
        self.members.insert(node, Member { number, ..joining });
        Ok(())
    }

    fn make_map(&mut self, sets: Vec<Vec<NodeId>>, partitions: &[u32]) -> MetaReply {
        if !self.keyspaces.is_empty() {
            return Ok(());
        }
        let distinct = |set: &Vec<NodeId>| set.iter().enumerate().all(|(place, node)| !set[..place].contains(node));
        if sets
            .iter()
            .any(|set| set.is_empty() || !distinct(set) || set.iter().any(|node| !self.members.contains_key(node)))
        {
            return Err("a replica set is empty or names a node twice or a node that is not a member".into());
        }
        if partitions.is_empty() || sets.len() > partitions.len() {
            return Err("the cluster has not been founded, or the map has more replica sets than partitions".into());
        }
        if partitions.len() != self.partitions as usize || partitions.iter().any(|set| *set as usize >= sets.len()) {
            return Err("the map does not place every partition".into());
        }
        let first = self.next_group;
        self.next_group += sets.len() as u32;
        for (place, members) in sets.into_iter().enumerate() {
            self.groups
                .insert(GroupId(first + place as u32), GroupRecord { members, initialised: false, removed: false });
        }
        let partitions = partitions.iter().map(|set| Placement { group: GroupId(first + set), epoch: 1 }).collect();
        let keyspace = Keyspace { name: "default".into(), replication: self.replication, partitions };
        self.keyspaces.insert(KeyspaceId(1), keyspace);
        Ok(())
    }

    fn package_chunk(&mut self, digest: Digest, size: u64, index: u32, bytes: &Bytes) -> MetaReply {
        if size > PACKAGE_BYTES_MAX {
            return Err(format!("the package has {size} bytes; the limit is {PACKAGE_BYTES_MAX}"));
        }
        let new = PackageRecord { size, chunks: 0, complete: false };
        let known = self.packages.get(&digest).unwrap_or(&new);
        let count = size.div_ceil(PACKAGE_CHUNK_BYTES as u64).max(1) as u32;
        let due = size.saturating_sub(u64::from(index) * PACKAGE_CHUNK_BYTES as u64).min(PACKAGE_CHUNK_BYTES as u64);
        if known.size != size || index > known.chunks || index >= count || bytes.len() as u64 != due {
            return Err(format!(
                "chunk {index} of package {digest} is out of order or of a wrong size; upload it again from the start"
            ));
        }
        let record = self.packages.entry(digest).or_insert(new);
        if index == record.chunks {
            record.chunks += 1;
            record.complete = record.chunks == count;
        }
        Ok(())
    }

    fn install(
        &mut self,
        name: String,
        digest: Digest,
        manifest: Manifest,
        mut settings: BTreeMap<String, SettingValue>,
    ) -> MetaReply {
        if !self.packages.get(&digest).is_some_and(|package| package.complete) {
            return Err(format!("package {digest} is not stored in the cluster; upload it first"));
        }
        if let Some(app) = self.apps.get_mut(&name) {
            if app.digest != digest {
                return Err(format!(
                    "an app named {name} with another package ({}) is installed; uninstall it first",
                    app.digest
                ));
            }
            if !settings.is_empty() && app.settings != settings {
                return Err(format!("{name} is installed with other settings; change them with recoilctl set"));
            }
            if app.manifest != manifest {
                return Err(format!("{name} is installed with other ports; uninstall it first"));
            }
            if app.state == AppState::Failed {
                // Another installation: nodes that had made the failed one ready say so again.
                self.next_install += 1;
                app.install = self.next_install;
                app.state = AppState::Installing;
                app.ready.clear();
            }
            return Ok(());
        }
        self.check_ports(&name, &manifest)?;
        let id = match self.kept.get(&name) {
            Some(kept) if kept.package != manifest.name => {
                return Err(format!(
                    "the data of an app named {name} is kept, of another package ({}): install under another name, or remove the data \
                     (recoilctl uninstall {name})",
                    kept.package
                ));
            }
            Some(kept) => {
                // What the app was set to holds, where this version still has such a setting.
                for (setting, value) in &kept.settings {
                    if !settings.contains_key(setting)
                        && let Ok(value) = manifest.parse_setting(setting, &value.to_string())
                    {
                        settings.insert(setting.clone(), value);
                    }
                }
                kept.id
            }
            None => {
                self.next_app += 1;
                AppId(self.next_app - 1)
            }
        };
        self.kept.remove(&name);
        self.next_install += 1;
        let (install, state, ready) = (self.next_install, AppState::Installing, BTreeMap::new());
        self.apps.insert(name, App { id, install, digest, manifest, state, ready, settings });
        Ok(())
    }

    /// Nodes on one machine have different offsets: two ports may be the same address, each on another node. What the apps that are there
    /// have among themselves, since a member joined later, is not held against another one.
    fn check_ports(&self, name: &str, manifest: &Manifest) -> MetaReply {
        let mut taken = BTreeMap::new();
        let others = self.apps.iter().map(|(other, app)| (other.as_str(), &app.manifest));
        for (app, manifest) in others.chain([(name, manifest)]) {
            let ports = || manifest.listeners.iter().map(|listener| listener.port);
            for (member, port) in self.members.values().flat_map(|member| ports().map(move |port| (member, port))) {
                let address = (member.address.ip(), u32::from(port) + u32::from(member.port_offset));
                let Some((other, used)) = taken.insert(address, (app, port)).filter(|_| app == name) else { continue };
                return Err(match used == port {
                    true => format!(
                        "port {port} is already used by the app {other}: uninstall it first, or install with another port (recoilctl install \
                         --listen)"
                    ),
                    false => format!(
                        "port {port} of {app} and port {used} of {other} are both {}:{}, on nodes of one machine whose ports are apart by their \
                         offsets: install with ports that are farther apart (recoilctl install --listen)",
                        address.0, address.1
                    ),
                });
            }
        }
        Ok(())
    }

    fn uninstall(
        &mut self,
        name: String,
        keep_data: bool,
        chunk: &mut dyn FnMut(Digest, u32, Option<Bytes>),
    ) -> MetaReply {
        let Some(app) = self.apps.remove(&name) else {
            return match self.kept.remove(&name) {
                Some(kept) if !keep_data => {
                    self.removed_apps.push(kept.id);
                    Ok(())
                }
                Some(kept) => {
                    self.kept.insert(name, kept);
                    Ok(())
                }
                None => Err(format!("there is no app named {name}")),
            };
        };
        if keep_data {
            let Manifest { name: package, version, .. } = app.manifest;
            let kept = KeptData { id: app.id, package, version, digest: app.digest, settings: app.settings };
            self.kept.insert(name, kept);
        } else {
            self.removed_apps.push(app.id);
        }
        if !self.apps.values().any(|other| other.digest == app.digest)
            && let Some(package) = self.packages.remove(&app.digest)
        {
            (0..package.chunks).for_each(|index| chunk(app.digest, index, None));
        }
        Ok(())
    }

    fn installation(&mut self, id: AppId, install: u32) -> Result<&mut App, String> {
        let mut apps = self.apps.values_mut();
        apps.find(|app| app.id == id && app.install == install).ok_or_else(|| format!("app {id} has been uninstalled"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Meta(MetaState);

    impl Meta {
        fn new() -> Self {
            let mut meta = Meta(MetaState::default());
            meta.apply(MetaCommand::Found { cluster: "c".into(), expect: 1, partitions: 4, replication: 1 }).unwrap();
            meta
        }

        fn apply(&mut self, command: MetaCommand) -> MetaReply {
            self.0.apply(command, &Bytes::new(), &mut |_, _, _| {})
        }

        /// A package of this name, installed as `app`.
        fn install(&mut self, app: &str, package: &str, port: u16) -> Result<App, String> {
            let json = format!(
                r#"{{"name": "{package}", "version": "1.0.0", "listener": [{{"name": "a", "protocol": "tcp", "port": {port}}}],
                    "setting": [{{"name": "word", "default": "hello"}}]}}"#
            );
            let digest = Digest::of(package.as_bytes());
            self.apply(MetaCommand::PackageChunk { digest, size: 0, index: 0 })?;
            let manifest = Box::new(Manifest::from_json(json.as_bytes()).unwrap());
            self.apply(MetaCommand::Install { name: app.into(), digest, manifest, settings: BTreeMap::new() })?;
            Ok(self.0.apps[app].clone())
        }

        fn uninstall(&mut self, app: &str, keep_data: bool) -> MetaReply {
            self.apply(MetaCommand::Uninstall { name: app.into(), keep_data })
        }
    }

    /// Red when kept data goes, another package gets it, or an earlier installation's nodes speak for a later one.
    #[test]
    fn kept_data_is_there_for_the_next_installation_of_the_same_package() {
        let mut meta = Meta::new();
        let first = meta.install("app", "one", 1).unwrap();
        let word = BTreeMap::from([("word".to_owned(), SettingValue::Text("hi".into()))]);
        meta.apply(MetaCommand::Set { name: "app".into(), settings: word.clone() }).unwrap();
        meta.uninstall("app", true).unwrap();
        meta.uninstall("app", true).unwrap();
        assert!(meta.0.removed_apps.is_empty() && meta.0.apps.is_empty() && meta.0.packages.is_empty());
        assert!(meta.install("app", "two", 1).unwrap_err().contains("another package (one)"));

        let second = meta.install("app", "one", 2).unwrap();
        assert_eq!((second.id, &second.settings), (first.id, &word));
        assert!(meta.0.kept.is_empty());
        let ready = |app: &App| MetaCommand::Ready { app: app.id, install: app.install, node: NodeId(1), error: None };
        assert!(meta.apply(ready(&first)).is_err(), "that installation is over");
        assert!(meta.0.apps["app"].ready.is_empty());
        assert!(meta.apply(MetaCommand::Serve { app: first.id, install: first.install }).is_err());
        meta.apply(ready(&second)).unwrap();

        meta.uninstall("app", false).unwrap();
        assert_eq!(meta.0.removed_apps, [first.id]);
        assert!(meta.uninstall("app", false).unwrap_err().contains("no app named app"));
        let third = meta.install("app", "one", 1).unwrap();
        assert_ne!(third.id, first.id, "what is being removed is given to nobody");
    }

    /// Red when nodes that were ready before have nothing new to say, so that nobody switches the app on.
    #[test]
    fn a_failed_installation_is_made_anew() {
        let mut meta = Meta::new();
        let first = meta.install("app", "one", 1).unwrap();
        let (app, install, error) = (first.id, first.install, Some("no port".to_owned()));
        meta.apply(MetaCommand::Ready { app, install, node: NodeId(1), error }).unwrap();
        assert_eq!(meta.0.apps["app"].state, AppState::Failed);
        let second = meta.install("app", "one", 1).unwrap();
        assert_eq!((second.id, second.state), (first.id, AppState::Installing));
        assert_ne!(second.install, first.install);
    }

    #[test]
    fn ports_that_are_one_address_are_refused() {
        let mut meta = Meta::new();
        for (node, offset) in [(1, 0), (2, 1)] {
            let address = format!("127.0.0.1:{}", 7400 + offset).parse().unwrap();
            let (incarnation, start, version) = (Default::default(), Default::default(), String::new());
            let node = NodeId(node);
            meta.apply(MetaCommand::Join { node, address, incarnation, start, version, port_offset: offset }).unwrap();
        }
        meta.install("first", "one", 100).unwrap();
        assert!(meta.install("second", "two", 100).unwrap_err().contains("used by the app first"));
        let why = meta.install("second", "two", 101).unwrap_err();
        assert!(why.contains("port 101 of second and port 100 of first are both 127.0.0.1:101"), "{why}");
        assert!(meta.install("second", "two", 99).unwrap_err().contains("both 127.0.0.1:100"));
        meta.install("second", "two", 102).unwrap();
        let (address, version, offset) = ("127.0.0.1:7402".parse().unwrap(), String::new(), 2);
        meta.apply(MetaCommand::Join {
            node: NodeId(3),
            address,
            incarnation: 0,
            start: 0,
            version,
            port_offset: offset,
        })
        .unwrap();
        meta.install("third", "three", 200).unwrap();
    }

    #[test]
    fn kept_data_can_be_removed_later() {
        let mut meta = Meta::new();
        let app = meta.install("app", "one", 1).unwrap();
        meta.uninstall("app", true).unwrap();
        meta.uninstall("app", false).unwrap();
        assert_eq!(meta.0.removed_apps, [app.id]);
        assert!(meta.0.kept.is_empty());
    }
}
