//! The meta state on disk: one row for each object, so that an entry writes only what it changes.
//!
//! A key is `kind u8` and what names the object, big-endian; a value is `format u8` and, where there is more to say than that the row
//! exists, JSON. Kinds: 1 header, 2 member (node), 3 keyspace (id), 4 placement (keyspace, partition), 5 group (id), 6 package (digest),
//! 7 app (name), 8 readiness (app, node), 9 kept data (name), 10 removed app (id), 11 tombstone (node, incarnation), 12 move of
//! a partition (id), 13 cluster settings, 14 lost member (node).
//!
//! Invariant: [`load`] returns what the rows say or an error that stops the node. A row that cannot be read, a kind that is not
//! known, rows without a header, a partition or a group that is missing: going on without it would be another state than the other
//! replicas have.

use std::collections::BTreeMap;

use bytes::{Bytes, BytesMut};
use recoil_base::{AppId, Digest, GroupId, KeyspaceId, NodeId, PartitionId};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::{ClusterSettings, Keyspace, LEVELS, MetaError, MetaState, PartitionMap, Placement, Rules};

/// The first byte of a value.
pub(super) const ROW_FORMAT: u8 = 2;

const HEADER: u8 = 1;
const MEMBER: u8 = 2;
const KEYSPACE: u8 = 3;
const PLACEMENT: u8 = 4;
const GROUP: u8 = 5;
const PACKAGE: u8 = 6;
const APP: u8 = 7;
const READINESS: u8 = 8;
const KEPT: u8 = 9;
const REMOVED_APP: u8 = 10;
const TOMBSTONE: u8 = 11;
const MOVE: u8 = 12;
const CLUSTER: u8 = 13;
const LOST: u8 = 14;

/// What names a row.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum RowKey {
    /// The scalars.
    Header,
    /// A member.
    Member(NodeId),
    /// A keyspace, without its map.
    Keyspace(KeyspaceId),
    /// A partition's place.
    Placement(KeyspaceId, PartitionId),
    /// A group.
    Group(GroupId),
    /// A package.
    Package(Digest),
    /// An app, by its name.
    App(String),
    /// What a node reported of an app.
    Readiness(AppId, NodeId),
    /// Kept data, by the app's name.
    Kept(String),
    /// An app whose data are to be removed.
    RemovedApp(AppId),
    /// A node that was removed, and the incarnation that it had then.
    Tombstone(NodeId, u64),
    /// A move of a partition.
    Move(u64),
    /// The cluster's settings, if they are not the defaults.
    Cluster,
    /// A member that counts as lost.
    Lost(NodeId),
}

impl RowKey {
    /// The key's bytes.
    pub fn encode(&self) -> Bytes {
        let mut key = BytesMut::with_capacity(16);
        let mut put = |kind: u8, parts: &[&[u8]]| {
            key.extend_from_slice(&[kind]);
            parts.iter().for_each(|part| key.extend_from_slice(part));
        };
        match self {
            RowKey::Header => put(HEADER, &[]),
            RowKey::Member(node) => put(MEMBER, &[&node.0.to_be_bytes()]),
            RowKey::Keyspace(id) => put(KEYSPACE, &[&id.0.to_be_bytes()]),
            RowKey::Placement(id, partition) => put(PLACEMENT, &[&id.0.to_be_bytes(), &partition.0.to_be_bytes()]),
            RowKey::Group(id) => put(GROUP, &[&id.0.to_be_bytes()]),
            RowKey::Package(digest) => put(PACKAGE, &[&digest.0]),
            RowKey::App(name) => put(APP, &[name.as_bytes()]),
            RowKey::Readiness(app, node) => put(READINESS, &[&app.0.to_be_bytes(), &node.0.to_be_bytes()]),
            RowKey::Kept(name) => put(KEPT, &[name.as_bytes()]),
            RowKey::RemovedApp(app) => put(REMOVED_APP, &[&app.0.to_be_bytes()]),
            RowKey::Tombstone(node, incarnation) => {
                put(TOMBSTONE, &[&node.0.to_be_bytes(), &incarnation.to_be_bytes()]);
            }
            RowKey::Move(id) => put(MOVE, &[&id.to_be_bytes()]),
            RowKey::Cluster => put(CLUSTER, &[]),
            RowKey::Lost(node) => put(LOST, &[&node.0.to_be_bytes()]),
        }
        key.freeze()
    }

    /// Reads a key's bytes.
    fn decode(key: &[u8]) -> Result<Self, MetaError> {
        let (kind, rest) = key.split_first().ok_or(MetaError::UnknownRow { kind: 0 })?;
        let wrong = || MetaError::Row { row: format!("{key:?}"), why: "its key has a wrong length".into() };
        let pair = || rest.split_first_chunk::<4>().map(|(first, rest)| (u32::from_be_bytes(*first), rest));
        let one = || pair().filter(|(_, rest)| rest.is_empty()).map(|(first, _)| first).ok_or_else(wrong);
        let two = || {
            let (first, rest) = pair().ok_or_else(wrong)?;
            Ok((first, u32::from_be_bytes(rest.try_into().map_err(|_| wrong())?)))
        };
        let name = || String::from_utf8(rest.to_vec()).map_err(|_| wrong());
        Ok(match *kind {
            HEADER if rest.is_empty() => RowKey::Header,
            HEADER => return Err(wrong()),
            MEMBER => RowKey::Member(NodeId(one()?)),
            KEYSPACE => RowKey::Keyspace(KeyspaceId(one()?)),
            PLACEMENT => two().map(|(id, partition)| RowKey::Placement(KeyspaceId(id), PartitionId(partition)))?,
            GROUP => RowKey::Group(GroupId(one()?)),
            PACKAGE => RowKey::Package(Digest(rest.try_into().map_err(|_| wrong())?)),
            APP => RowKey::App(name()?),
            READINESS => two().map(|(app, node)| RowKey::Readiness(AppId(app), NodeId(node)))?,
            KEPT => RowKey::Kept(name()?),
            REMOVED_APP => RowKey::RemovedApp(AppId(one()?)),
            TOMBSTONE => {
                let (node, rest) = pair().ok_or_else(wrong)?;
                RowKey::Tombstone(NodeId(node), u64::from_be_bytes(rest.try_into().map_err(|_| wrong())?))
            }
            MOVE => RowKey::Move(u64::from_be_bytes(rest.try_into().map_err(|_| wrong())?)),
            CLUSTER if rest.is_empty() => RowKey::Cluster,
            CLUSTER => return Err(wrong()),
            LOST => RowKey::Lost(NodeId(one()?)),
            kind => return Err(MetaError::UnknownRow { kind }),
        })
    }
}

/// The state's scalars.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Header {
    /// The feature level: no command and no row of a higher one may be used yet.
    pub level: u32,
    /// The cluster's id, 32 hexadecimal digits; empty before the cluster is founded.
    pub cluster: String,
    /// Members that must have joined before the partition map is made.
    pub expect: u32,
    /// Partitions of the default keyspace.
    pub partitions: u32,
    /// Replicas of a partition, if there are as many nodes.
    pub replication: u32,
    /// The next numbers to be given.
    pub(super) next_member: u32,
    pub(super) next_group: u32,
    pub(super) next_app: u32,
    pub(super) next_install: u32,
    /// The same for keyspaces; 0 until one is created.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub(super) next_keyspace: u32,
    /// The log index of the last entry applied.
    pub index: u64,
    /// The log index of the last entry that changed where calls go: the map, a group's members, an app that began or ceased to serve.
    /// A call carries it, and whoever serves the call must have applied that much.
    pub routing_index: u64,
}

fn is_zero(number: &u32) -> bool {
    *number == 0
}

impl Default for Header {
    fn default() -> Self {
        Header {
            level: 1,
            cluster: String::new(),
            expect: 0,
            partitions: 0,
            replication: 0,
            next_member: 0,
            next_group: 0,
            next_app: 0,
            next_install: 0,
            next_keyspace: 0,
            index: 0,
            routing_index: 0,
        }
    }
}

/// A keyspace's own row.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct KeyspaceRow {
    name: String,
    replication: u32,
    partitions: u32,
    #[serde(default, skip_serializing_if = "Rules::is_empty")]
    rules: Rules,
}

fn encode<T: Serialize>(value: &T) -> Bytes {
    let mut row = vec![ROW_FORMAT];
    serde_json::to_writer(&mut row, value).expect("records have only text keys");
    row.into()
}

fn body<'a>(key: &RowKey, value: &'a [u8]) -> Result<&'a [u8], MetaError> {
    let error = |why: String| MetaError::Row { row: format!("{key:?}"), why };
    match value.split_first() {
        None => Err(error("it is empty".into())),
        Some((&ROW_FORMAT, body)) => Ok(body),
        Some((format, _)) => Err(error(format!("it has format {format}; this version reads format {ROW_FORMAT}"))),
    }
}

fn decode<T: DeserializeOwned>(key: &RowKey, value: &[u8]) -> Result<T, MetaError> {
    let body = body(key, value)?;
    serde_json::from_slice(body).map_err(|error| MetaError::Row { row: format!("{key:?}"), why: error.to_string() })
}

fn decode_mark(key: &RowKey, value: &[u8]) -> Result<(), MetaError> {
    match body(key, value)? {
        [] => Ok(()),
        _ => Err(MetaError::Row { row: format!("{key:?}"), why: "it says more than that it exists".into() }),
    }
}

impl MetaState {
    /// The value of a row; none if there is no such object any more.
    pub fn row(&self, key: &RowKey) -> Option<Bytes> {
        let mark = |exists: bool| exists.then(|| Bytes::from_static(&[ROW_FORMAT]));
        match key {
            RowKey::Header => Some(encode(&self.header)),
            RowKey::Member(node) => self.members.get(node).map(encode),
            RowKey::Keyspace(id) => self.keyspaces.get(id).map(|keyspace| {
                let Keyspace { name, replication, rules, partitions } = keyspace;
                let (name, replication, partitions) = (name.clone(), *replication, partitions.len() as u32);
                encode(&KeyspaceRow { name, replication, partitions, rules: rules.clone() })
            }),
            RowKey::Placement(id, partition) => self.keyspaces.get(id)?.partitions.get(*partition).map(|p| encode(&p)),
            RowKey::Group(id) => self.groups.get(id).map(encode),
            RowKey::Package(digest) => self.packages.get(digest).map(encode),
            RowKey::App(name) => self.apps.get(name).map(encode),
            RowKey::Readiness(app, node) => self.readiness.get(&(*app, *node)).map(encode),
            RowKey::Kept(name) => self.kept.get(name).map(encode),
            RowKey::RemovedApp(app) => mark(self.removed_apps.contains_key(app)),
            RowKey::Tombstone(node, incarnation) => mark(self.tombstones.contains_key(&(*node, *incarnation))),
            RowKey::Move(id) => self.moves.get(id).map(encode),
            RowKey::Cluster => (self.settings != ClusterSettings::default()).then(|| encode(&self.settings)),
            RowKey::Lost(node) => self.lost.get(node).map(encode),
        }
    }

    /// The state that these rows hold; the default one if there are none.
    ///
    /// # Errors
    /// Why the rows make no state that this version may work with, and what to do.
    pub fn load(rows: impl IntoIterator<Item = (Bytes, Bytes)>) -> Result<Self, MetaError> {
        let mut rows: Vec<(Bytes, Bytes)> = rows.into_iter().collect();
        rows.sort_unstable();
        let mut state = MetaState::default();
        let Some((key, value)) = rows.first() else { return Ok(state) };
        if key[..] != *RowKey::Header.encode() {
            return Err(MetaError::NoHeader { rows: rows.len() });
        }
        state.header = decode(&RowKey::Header, value)?;
        // Said first: whatever else cannot be read is explained by it.
        if !LEVELS.contains(state.header.level) {
            return Err(MetaError::Level { level: state.header.level });
        }
        let mut keyspaces: BTreeMap<KeyspaceId, (KeyspaceRow, Vec<Placement>)> = BTreeMap::new();
        for (key, value) in &rows[1..] {
            match RowKey::decode(key)? {
                RowKey::Header => return Err(MetaError::Row { row: "Header".into(), why: "it is there twice".into() }),
                key @ RowKey::Keyspace(id) => drop(keyspaces.insert(id, (decode(&key, value)?, Vec::new()))),
                key @ RowKey::Placement(id, partition) => {
                    let placement: Placement = decode(&key, value)?;
                    let placements = keyspaces.get_mut(&id).map(|(_, placements)| placements);
                    let due = placements.filter(|placements| placements.len() == partition.0 as usize);
                    due.ok_or(MetaError::Missing { what: "a partition", keyspace: id })?.push(placement);
                }
                key => state.load_record(key, value)?,
            }
        }
        for (id, (row, placements)) in keyspaces {
            if placements.len() != row.partitions as usize {
                return Err(MetaError::Missing { what: "a partition", keyspace: id });
            }
            let is_its = |group| state.groups.get(group).is_some_and(|record| record.keyspace == id);
            if !placements.iter().all(|placement| is_its(&placement.group)) {
                return Err(MetaError::Missing { what: "a group that owns a partition", keyspace: id });
            }
            let partitions: PartitionMap = placements.into_iter().collect();
            let KeyspaceRow { name, replication, rules, .. } = row;
            state.keyspaces.insert_mut(id, Keyspace { name, replication, rules, partitions });
        }
        for moving in state.moves.values() {
            if [moving.source, moving.target].iter().any(|group| !state.groups.contains_key(group)) {
                return Err(MetaError::Missing {
                    what: "a group that takes part in a move",
                    keyspace: moving.keyspace,
                });
            }
        }
        state.index_groups();
        state.index_moves();
        Ok(state)
    }

    fn load_record(&mut self, key: RowKey, value: &[u8]) -> Result<(), MetaError> {
        match &key {
            RowKey::Member(node) => self.members.insert_mut(*node, decode(&key, value)?),
            RowKey::Group(id) => self.groups.insert_mut(*id, decode(&key, value)?),
            RowKey::Package(digest) => self.packages.insert_mut(*digest, decode(&key, value)?),
            RowKey::App(name) => self.apps.insert_mut(name.clone(), decode(&key, value)?),
            RowKey::Readiness(app, node) => self.readiness.insert_mut((*app, *node), decode(&key, value)?),
            RowKey::Kept(name) => self.kept.insert_mut(name.clone(), decode(&key, value)?),
            RowKey::RemovedApp(app) => {
                decode_mark(&key, value)?;
                self.removed_apps.insert_mut(*app, ());
            }
            RowKey::Tombstone(node, incarnation) => {
                decode_mark(&key, value)?;
                self.tombstones.insert_mut((*node, *incarnation), ());
            }
            RowKey::Move(id) => self.moves.insert_mut(*id, decode(&key, value)?),
            RowKey::Cluster => self.settings = decode(&key, value)?,
            RowKey::Lost(node) => self.lost.insert_mut(*node, decode(&key, value)?),
            RowKey::Header | RowKey::Keyspace(_) | RowKey::Placement(..) => unreachable!("read before"),
        }
        Ok(())
    }

    /// The keys of all rows.
    pub fn row_keys(&self) -> Vec<RowKey> {
        let mut keys = vec![RowKey::Header];
        keys.extend(self.members.keys().map(|node| RowKey::Member(*node)));
        for (id, keyspace) in &self.keyspaces {
            keys.push(RowKey::Keyspace(*id));
            keys.extend((0..keyspace.partitions.len()).map(|p| RowKey::Placement(*id, PartitionId(p as u32))));
        }
        keys.extend(self.groups.keys().map(|id| RowKey::Group(*id)));
        keys.extend(self.packages.keys().map(|digest| RowKey::Package(*digest)));
        keys.extend(self.apps.keys().map(|name| RowKey::App(name.clone())));
        keys.extend(self.readiness.keys().map(|(app, node)| RowKey::Readiness(*app, *node)));
        keys.extend(self.kept.keys().map(|name| RowKey::Kept(name.clone())));
        keys.extend(self.removed_apps.keys().map(|app| RowKey::RemovedApp(*app)));
        keys.extend(self.tombstones.keys().map(|(node, incarnation)| RowKey::Tombstone(*node, *incarnation)));
        keys.extend(self.moves.keys().map(|id| RowKey::Move(*id)));
        keys.extend((self.settings != ClusterSettings::default()).then_some(RowKey::Cluster));
        keys.extend(self.lost.keys().map(|node| RowKey::Lost(*node)));
        keys
    }
}
