//! Keyspaces that are shown, made and changed.

use recoil_base::NodeId;
use serde::{Deserialize, Serialize};

/// One keyspace in the lists at `GET /v1/status` and `GET /v1/keyspaces`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyspaceStatus {
    /// Its name.
    pub name: String,
    /// Number of partitions.
    pub partitions: u32,
    /// Copies of each partition.
    pub replication: u32,
    /// Partitions that have a leader now.
    pub leaders_present: u32,
    /// Partitions with fewer current replicas than they should have, as far as the answering node knows: on nodes that are down, far behind, or
    /// that have yet to copy rows.
    #[serde(default)]
    pub under_replicated: u32,
    /// Partitions that are being moved.
    #[serde(default)]
    pub moving: u32,
    /// Tiers that a node's locality must have to hold it, such as `region=eu`; empty if every node may.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub require: String,
    /// The tier over whose values the replicas of a partition are spread; empty for the first tier of the nodes' localities.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub spread_by: String,
    /// Tiers that a leader's locality should have.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub prefer_leader: String,
}

/// `GET /v1/keyspaces/{name}`, and the answer to whoever makes or changes one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyspaceDetail {
    /// What lists show.
    #[serde(flatten)]
    pub summary: KeyspaceStatus,
    /// The apps whose data are in it.
    pub apps: Vec<String>,
    /// The uninstalled apps whose kept data are in it.
    pub kept: Vec<String>,
    /// The nodes that may hold it and run its apps.
    pub nodes: Vec<NodeId>,
    /// The nodes that hold replicas of it although its rule forbids them, until these have moved.
    pub outside: Vec<NodeId>,
}

/// `POST /v1/keyspaces`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CreateKeyspace {
    /// Its name: lower-case letters, digits and hyphens.
    pub name: String,
    /// Partitions; their number stays.
    #[serde(default = "partitions_default")]
    pub partitions: u32,
    /// Replicas of each partition.
    #[serde(default = "replicas_default")]
    pub replicas: u32,
    /// See [`KeyspaceStatus::require`].
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub require: String,
    /// See [`KeyspaceStatus::spread_by`].
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub spread_by: String,
    /// See [`KeyspaceStatus::prefer_leader`].
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub prefer_leader: String,
}

fn partitions_default() -> u32 {
    64
}

fn replicas_default() -> u32 {
    3
}

/// `PATCH /v1/keyspaces/{name}`. What is absent stays as it is; an empty text removes a rule.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SetKeyspace {
    /// Replicas of each partition.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replicas: Option<u32>,
    /// See [`KeyspaceStatus::require`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub require: Option<String>,
    /// See [`KeyspaceStatus::spread_by`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub spread_by: Option<String>,
    /// See [`KeyspaceStatus::prefer_leader`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prefer_leader: Option<String>,
}
