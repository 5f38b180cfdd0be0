//! What the meta state is made of: one record for each member, keyspace, group, package and app.
//!
//! Every record is a row of its own on disk (see [`super::rows`]), so fields are never added silently: a record with a field that
//! this version does not know is refused, and a new field comes with a new row format, or with a feature level below which it has its
//! default value and is not written.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::str::FromStr;
use std::sync::Arc;

use recoil_base::{AppId, Digest, GroupId, KeyspaceId, NodeId};
use recoil_package::{Manifest, SettingValue};
use serde::{Deserialize, Serialize};

use super::{DEFAULT_KEYSPACE, PartitionMap, Rules};

/// Tiers of a locality.
const LOCALITY_TIERS_MAX: usize = 8;
/// Bytes of a tier's key, and of its value.
const LOCALITY_WORD_BYTES_MAX: usize = 64;
/// What a node counts for beside others if its operator says nothing.
pub const CAPACITY_DEFAULT: u32 = 100;

/// The feature levels that a version understands. Nodes of a cluster use no more than the cluster's level, so that a command or a
/// row that one of them does not know cannot come up while versions are mixed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Levels {
    /// The lowest.
    pub min: u32,
    /// The highest.
    pub max: u32,
}

/// What this version understands. A new cluster starts at the lowest level there ever was, 1. Level 2 has keyspaces beside the default one;
/// a cluster is raised to it when the first one is created.
pub const LEVELS: Levels = Levels { min: 1, max: 2 };

impl Levels {
    /// True if a version with this range can take part in a cluster of `level`.
    pub fn contains(&self, level: u32) -> bool {
        (self.min..=self.max).contains(&level)
    }
}

/// Where a node is, from the largest place to the smallest: `region=eu,zone=a`. Nodes that share more of the first tiers are closer
/// and more likely to fail together.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Locality(Vec<(String, String)>);

impl Locality {
    /// The tiers, key and value, the largest first.
    pub fn tiers(&self) -> &[(String, String)] {
        &self.0
    }

    /// True without tiers.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// True if every tier of `wanted` is one of these, with the same value.
    pub fn has(&self, wanted: &Locality) -> bool {
        wanted.0.iter().all(|tier| self.0.contains(tier))
    }
}

impl FromStr for Locality {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut tiers: Vec<(String, String)> = Vec::new();
        for tier in text.split(',').filter(|_| !text.is_empty()) {
            let (key, value) = tier.split_once('=').ok_or_else(|| {
                let shown: String = tier.chars().take(LOCALITY_WORD_BYTES_MAX).collect();
                format!("the locality's tier '{shown}' is not of the form key=value: write region=eu,zone=a")
            })?;
            let is_word = |word: &str| {
                let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
                (1..=LOCALITY_WORD_BYTES_MAX).contains(&word.len()) && word.chars().all(allowed)
            };
            if !is_word(key) || !is_word(value) {
                return Err(format!(
                    "a locality's keys and values have 1 to {LOCALITY_WORD_BYTES_MAX} letters, digits, '-', '_' and '.': write region=eu,zone=a"
                ));
            }
            if tiers.iter().any(|(other, _)| other == key) {
                return Err(format!("the locality names the tier '{key}' twice"));
            }
            tiers.push((key.to_owned(), value.to_owned()));
        }
        if tiers.len() > LOCALITY_TIERS_MAX {
            return Err(format!("the locality has {} tiers; at most {LOCALITY_TIERS_MAX} are allowed", tiers.len()));
        }
        Ok(Locality(tiers))
    }
}

impl fmt::Display for Locality {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, (key, value)) in self.0.iter().enumerate() {
            write!(f, "{}{key}={value}", if place == 0 { "" } else { "," })?;
        }
        Ok(())
    }
}

impl TryFrom<String> for Locality {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<Locality> for String {
    fn from(locality: Locality) -> String {
        locality.to_string()
    }
}

/// How the cluster counts a member. Whether it answers at the moment is each node's own observation and not recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MemberState {
    /// It is expected to take part.
    Active,
    /// An operator has it give its leaderships and, where others can take them, its replicas away. A restart does not change that.
    Draining,
    /// As before, and it is removed once nothing refers to it.
    Decommissioning,
    /// It was active and found dead, and another node has joined at its address. It keeps its replicas, and is active again once it
    /// registers from another address.
    Displaced,
}

/// A node of the cluster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
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
    pub port_offset: u16,
    /// The feature levels that its version understands.
    pub levels: Levels,
    /// Where it is.
    pub locality: Locality,
    /// How much it should carry, relative to other nodes.
    pub capacity: u32,
    /// How the cluster counts it.
    pub state: MemberState,
    /// Another node has joined at its address since it registered: it is not dialled there.
    pub address_taken: bool,
    /// The member that should take its replicas over, while it is decommissioned; none leaves that to the planner.
    pub successor: Option<NodeId>,
}

/// One partition's place in the map.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Placement {
    /// The group that owns it.
    pub group: GroupId,
    /// Grows when it moves.
    pub epoch: u64,
}

/// A keyspace and its partition map.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Keyspace {
    /// Its name.
    pub name: String,
    /// Replicas a partition should have.
    pub replication: u32,
    /// Where they may and should be.
    pub rules: Rules,
    /// By partition id.
    pub partitions: PartitionMap,
}

/// A Raft group: a replica set that the map names.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GroupRecord {
    /// Ordered: the first is the preferred leader.
    pub members: Arc<[NodeId]>,
    /// True once a leader has been seen: nobody may initialise it again.
    pub initialised: bool,
    /// The keyspace whose partitions it may own, and no other's.
    #[serde(default = "default_keyspace", skip_serializing_if = "is_default_keyspace")]
    pub keyspace: KeyspaceId,
}

fn default_keyspace() -> KeyspaceId {
    DEFAULT_KEYSPACE
}

fn is_default_keyspace(keyspace: &KeyspaceId) -> bool {
    *keyspace == DEFAULT_KEYSPACE
}

/// A package that an app uses. Its bytes are files on the nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PackageRecord {
    /// Bytes.
    pub size: u64,
    /// The node that held it when it was installed. Others hold it once they report that they have made it ready.
    pub source: NodeId,
}

/// How far an app has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AppState {
    /// Nodes fetch the package, compile it and report.
    Installing,
    /// Switched on everywhere.
    Serving,
    /// A node could not make it ready.
    Failed,
}

/// An installed package.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct App {
    /// Its keys start with this; never given to another app.
    pub id: AppId,
    /// Counts installations, so that what nodes do for one is not taken for another of the same app.
    pub install: u32,
    /// The package's digest, pinned.
    pub digest: Digest,
    /// The package's manifest.
    pub manifest: Arc<Manifest>,
    /// Where its data lie.
    pub keyspace: KeyspaceId,
    /// How far it has come.
    pub state: AppState,
    /// Settings that differ from the manifest's defaults.
    pub settings: BTreeMap<String, SettingValue>,
}

/// What a node reported of an app.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Readiness {
    /// The installation it reported of; of another one than the app's, it counts for nothing but the package's bytes.
    pub install: u32,
    /// Why it cannot make the app ready; none if it has. Then it also holds the package's bytes durably.
    pub error: Option<String>,
}

/// The data of an app that is uninstalled, kept for its next installation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeptData {
    /// What its keys start with.
    pub id: AppId,
    /// Where it lies.
    pub keyspace: KeyspaceId,
    /// The package's name: no other may read it.
    pub package: String,
    /// Of the package that wrote it last.
    pub version: String,
    /// The same.
    pub digest: Digest,
    /// What the app was set to.
    pub settings: BTreeMap<String, SettingValue>,
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Fails if a locality is not what was written, or if text that makes none is taken.
    #[test]
    fn a_locality_survives_its_text_and_is_bounded() {
        for text in ["", "region=eu", "region=eu,zone=a.1,rack=R_7"] {
            assert_eq!(text.parse::<Locality>().unwrap().to_string(), text);
        }
        let locality: Locality = "region=eu,zone=a".parse().unwrap();
        assert_eq!(locality.tiers(), [("region".into(), "eu".into()), ("zone".into(), "a".into())]);
        let many = (0..9).map(|tier| format!("t{tier}=x")).collect::<Vec<_>>().join(",");
        let long = format!("a={}", "x".repeat(65));
        for wrong in ["region", "region=", "=eu", "a=b,,c=d", "a=b,a=c", "a=b c", "a=é", &many, &long] {
            assert!(wrong.parse::<Locality>().is_err(), "{wrong}");
        }
    }
}
