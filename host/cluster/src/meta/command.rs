//! Changes of the meta state, and their bytes in the meta group's log.
//!
//! An entry is `format u8 | command JSON`. JSON, because commands are rare and are read when something has gone wrong. A field or a
//! command that this version does not know makes the entry unreadable, and an unreadable entry stops the node: what is a no-op here and a
//! change elsewhere would make replicas differ. So the meta leader refuses to propose what it cannot read, or what is of a higher feature
//! level than the cluster's ([`check_proposal`]).

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use bytes::{Bytes, BytesMut};
use recoil_base::{AppId, Digest, GroupId, KeyspaceId, NodeId, PartitionId};
use recoil_package::{Manifest, SettingValue};
use serde::{Deserialize, Serialize};

use super::{ClusterChange, ContinuedGroup, KeyspaceChange, Levels, Locality, MetaState, NewKeyspace};

/// The first byte of an entry.
const ENTRY_FORMAT: u8 = 2;
/// Bytes of an entry: the map of 100,000 partitions, and room.
pub const ENTRY_BYTES_MAX: usize = 8 << 20;

/// The feature level at which keyspaces other than the default one came.
pub const KEYSPACES_LEVEL: u32 = 2;

/// A node that joins, or starts again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Join {
    /// The node.
    pub node: NodeId,
    /// Where it listens.
    pub address: SocketAddr,
    /// Raised at each start.
    pub incarnation: u64,
    /// A random number of this start.
    pub start: u64,
    /// What it runs.
    pub version: String,
    /// Added to the ports of apps on it.
    pub port_offset: u16,
    /// The feature levels that its version understands.
    pub levels: Levels,
    /// Where it is.
    pub locality: Locality,
    /// How much it should carry, relative to other nodes.
    pub capacity: u32,
    /// The start of another member at the same address that the proposer has found dead. A later start of it is not displaced.
    pub displaces: Option<Displaced>,
}

/// A start of a member that was found dead.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Displaced {
    /// The member.
    pub node: NodeId,
    /// Its start's number.
    pub incarnation: u64,
    /// Its start's random number.
    pub start: u64,
}

/// A change of the state.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "command", rename_all = "kebab-case", deny_unknown_fields)]
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
    Join(Box<Join>),
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
    /// Installs a package as an app.
    Install {
        /// The app's name.
        name: String,
        /// The package.
        digest: Digest,
        /// Its bytes.
        size: u64,
        /// The node that holds them durably now.
        source: NodeId,
        /// Its manifest.
        manifest: Box<Manifest>,
        /// Settings that differ from the manifest's defaults.
        settings: BTreeMap<String, SettingValue>,
        /// The keyspace that its data are to be in; the default one, or that of its kept data, if none is named.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        keyspace: Option<String>,
    },
    /// Changes settings of an app.
    Set {
        /// The app's name.
        name: String,
        /// The new values.
        settings: BTreeMap<String, SettingValue>,
    },
    /// A node holds an app's package and has made the app ready, or says why not.
    Ready {
        /// The app.
        app: AppId,
        /// Which installation of it.
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
        install: u32,
    },
    /// Removes an app, and its data unless that is to be kept.
    Uninstall {
        /// The app's name.
        name: String,
        /// For its next installation.
        keep_data: bool,
    },
    /// Deletes the data that an uninstalled app left behind.
    DeleteData {
        /// The app's name.
        name: String,
        /// The id that the data had when the operator asked: an app installed again since then keeps its data.
        app: AppId,
    },
    /// Begins to move partitions of a keyspace to another set of replicas.
    Move {
        /// Of which keyspace.
        keyspace: KeyspaceId,
        /// The partitions.
        partitions: Vec<PartitionId>,
        /// Where to; the first is to lead.
        to: Vec<NodeId>,
    },
    /// A move is to come to nothing, unless the partition has been released already.
    CancelMove {
        /// The move.
        id: u64,
    },
    /// The targets of these moves own their partitions: calls go there.
    Flip {
        /// The moves.
        moves: Vec<u64>,
    },
    /// Nothing is left to be done for these moves.
    EndMoves {
        /// The moves.
        moves: Vec<u64>,
    },
    /// Removes groups that nothing uses; those that are used by now stay.
    RemoveGroups {
        /// The groups.
        groups: Vec<GroupId>,
    },
    /// A member has been silent for too long, as the meta leader and a majority of the live members have seen.
    MarkLost {
        /// The member.
        node: NodeId,
        /// The number of its start that is silent.
        incarnation: u64,
        /// The start's random number.
        start: u64,
    },
    /// A member that counted as lost answers again.
    MarkReturned {
        /// The member.
        node: NodeId,
    },
    /// Changes how partitions are kept placed.
    SetCluster(ClusterChange),
    /// A member is to give away what it leads and takes no new connections, until it is undrained.
    Drain {
        /// The member.
        node: NodeId,
    },
    /// A member that is drained or decommissioned is active again.
    Undrain {
        /// The member.
        node: NodeId,
    },
    /// A member is to be removed once its replicas are elsewhere.
    Decommission {
        /// The member.
        node: NodeId,
        /// Who is to take its replicas over; none leaves it to the planner.
        successor: Option<NodeId>,
    },
    /// Nothing refers to a decommissioned member any more: it is a member no longer.
    RemoveMember {
        /// The member.
        node: NodeId,
    },
    /// Gives up members for good although groups lose their quorum with them.
    Recover {
        /// The members.
        lost: BTreeSet<NodeId>,
        /// The groups that continue with other voters than the map says, without those that are lost.
        groups: Vec<ContinuedGroup>,
    },
    /// Makes a keyspace.
    CreateKeyspace(Box<NewKeyspace>),
    /// Changes a keyspace's number of replicas and its rules.
    SetKeyspace {
        /// Its name.
        name: String,
        /// What is to change.
        change: KeyspaceChange,
    },
    /// Deletes a keyspace that no app and no kept data use.
    DeleteKeyspace {
        /// Its name.
        name: String,
    },
    /// Allows commands and rows of the next feature level. There is no way back: versions that do not understand it cannot take part any
    /// more.
    RaiseLevel {
        /// The cluster's level plus one.
        level: u32,
    },
}

impl MetaCommand {
    /// The feature level at which the command came.
    pub fn level(&self) -> u32 {
        match self {
            MetaCommand::CreateKeyspace(_)
            | MetaCommand::SetKeyspace { .. }
            | MetaCommand::DeleteKeyspace { .. }
            | MetaCommand::Install { keyspace: Some(_), .. } => KEYSPACES_LEVEL,
            MetaCommand::Found { .. }
            | MetaCommand::Join(_)
            | MetaCommand::MakeMap { .. }
            | MetaCommand::Initialised { .. }
            | MetaCommand::Install { .. }
            | MetaCommand::Set { .. }
            | MetaCommand::Ready { .. }
            | MetaCommand::Serve { .. }
            | MetaCommand::Uninstall { .. }
            | MetaCommand::DeleteData { .. }
            | MetaCommand::Move { .. }
            | MetaCommand::CancelMove { .. }
            | MetaCommand::Flip { .. }
            | MetaCommand::EndMoves { .. }
            | MetaCommand::RemoveGroups { .. }
            | MetaCommand::MarkLost { .. }
            | MetaCommand::MarkReturned { .. }
            | MetaCommand::SetCluster(_)
            | MetaCommand::Drain { .. }
            | MetaCommand::Undrain { .. }
            | MetaCommand::Decommission { .. }
            | MetaCommand::RemoveMember { .. }
            | MetaCommand::Recover { .. }
            | MetaCommand::RaiseLevel { .. } => 1,
        }
    }

    /// The entry's bytes.
    pub fn encode(&self) -> Bytes {
        let json = serde_json::to_vec(self).expect("meta commands have only text keys");
        let mut entry = BytesMut::with_capacity(1 + json.len());
        entry.extend_from_slice(&[ENTRY_FORMAT]);
        entry.extend_from_slice(&json);
        entry.freeze()
    }

    /// Reads an entry's bytes.
    ///
    /// # Errors
    /// Why this version cannot read them.
    pub fn decode(entry: &[u8]) -> Result<Self, String> {
        match entry.split_first() {
            None => Err("it is empty".into()),
            Some((&ENTRY_FORMAT, json)) => serde_json::from_slice(json).map_err(|error| error.to_string()),
            Some((format, _)) => Err(format!("it has format {format}; this version reads format {ENTRY_FORMAT}")),
        }
    }
}

/// Whether the meta leader may append an entry: every member must be able to read it.
///
/// # Errors
/// What is wrong with it and what to do, for whoever proposes it.
pub fn check_proposal(entry: &[u8], state: &MetaState) -> Result<(), String> {
    if entry.len() > ENTRY_BYTES_MAX {
        return Err(format!("a change of {} bytes; at most {ENTRY_BYTES_MAX} are allowed", entry.len()));
    }
    let command = MetaCommand::decode(entry).map_err(|why| {
        format!("the meta leader does not understand this change ({why}): run the same version on all nodes")
    })?;
    // Whoever leads must be able to read what follows, whatever the members are said to understand.
    if let MetaCommand::RaiseLevel { level } = command
        && level > super::LEVELS.max
    {
        return Err(format!(
            "the meta leader understands feature levels up to {}, not {level}: upgrade all nodes first",
            super::LEVELS.max
        ));
    }
    check_level(command.level(), state.header.level)
}

/// Whether a cluster of level `cluster` may use what came with `level`.
pub(super) fn check_level(level: u32, cluster: u32) -> Result<(), String> {
    if level <= cluster {
        return Ok(());
    }
    Err(format!(
        "this change needs feature level {level}, and the cluster is at level {cluster}: raise it once every node runs a version that \
         understands level {level}"
    ))
}
