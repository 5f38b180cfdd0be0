//! Members that are shown, drained and decommissioned.

use std::net::SocketAddr;

use recoil_base::{GroupId, NodeId};
use serde::{Deserialize, Serialize};

use super::NodeState;

/// How the cluster counts a member.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Membership {
    /// It takes part.
    #[default]
    Active,
    /// It gives away what it leads and, where others can take them, its replicas; it takes no new connections.
    Draining,
    /// As before, and it is removed once nothing refers to it.
    Decommissioning,
    /// Another node has taken its address; it is active again once it is started at another one.
    Displaced,
    /// It was a member. Its id and its folder are refused for ever.
    Removed,
}

/// `GET /v1/nodes/{node}`, and the answer to `POST /v1/nodes/{node}/drain` and `undrain`: a member, and what it has yet to give away.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeDetail {
    /// The node's id.
    pub id: NodeId,
    /// How the cluster counts it. Of a removed one, nothing else is known.
    pub membership: Membership,
    /// The node that is to take its replicas over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub successor: Option<NodeId>,
    /// Its member number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub member: Option<u32>,
    /// Where its admin API and its peers reach it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<SocketAddr>,
    /// Whether it is heard of.
    pub state: NodeState,
    /// The version it runs.
    pub version: String,
    /// Where it is.
    pub locality: String,
    /// How much it should carry, relative to other nodes.
    pub capacity: u32,
    /// Groups of which it holds a replica that partitions or moves refer to.
    pub groups: u32,
    /// Partitions of which it holds a replica.
    pub replicas: u32,
    /// Partitions that it leads.
    pub partitions_led: u32,
    /// It leads the meta group.
    pub is_meta_leader: bool,
    /// It votes in the meta group.
    pub is_meta_voter: bool,
    /// What it waits for, in words, while it is drained or decommissioned.
    #[serde(default)]
    pub waits_for: Vec<String>,
    /// What was asked of it is done: it is active, has given away what it could, or is removed.
    pub is_done: bool,
}

/// `POST /v1/nodes/{node}/decommission`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DecommissionRequest {
    /// Only say what it would mean.
    #[serde(default)]
    pub dry_run: bool,
    /// The node that is to take the replicas over; absent leaves that to the cluster.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub successor: Option<NodeId>,
}

/// `POST /v1/cluster/recover`: gives up nodes that are gone for good, although groups have lost their quorum with them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RecoverRequest {
    /// The nodes.
    pub lost: Vec<NodeId>,
    /// Only say what it would mean.
    #[serde(default)]
    pub dry_run: bool,
}

/// What giving up nodes means.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecoverReply {
    /// The nodes that are given up.
    pub lost: Vec<NodeId>,
    /// Nothing was changed.
    pub dry_run: bool,
    /// What speaks against it. Without `dry_run`, any of these is an error.
    pub refusals: Vec<String>,
    /// The groups without a quorum, which continue from one replica.
    pub continued: Vec<RecoveredGroup>,
}

/// A group that has lost its quorum.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecoveredGroup {
    /// The group; 0 is the meta group.
    pub group: GroupId,
    /// The node whose replica it continues from: the one whose log ends last.
    pub node: NodeId,
    /// Its voters before.
    pub voters: Vec<NodeId>,
    /// The partitions that are in it.
    pub partitions: u32,
    /// The index of the last entry in the log of the replica that continues.
    pub last_index: u64,
}

/// What decommissioning a node means.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DecommissionReply {
    /// The node, as it is now.
    pub node: NodeDetail,
    /// Nothing was changed.
    pub dry_run: bool,
    /// What speaks against it. Without `dry_run`, any of these is an error.
    pub refusals: Vec<String>,
    /// The partitions that have to move.
    pub partitions: Vec<DepartingPartition>,
}

/// A partition that has to leave a node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DepartingPartition {
    /// Its keyspace.
    pub keyspace: String,
    /// Its number.
    pub partition: u32,
    /// The Raft group that it is in.
    pub group: GroupId,
    /// The nodes with a replica of it, first the one that is to lead.
    pub replicas: Vec<NodeId>,
    /// The node leads it now.
    pub is_led: bool,
    /// It is being moved already.
    pub is_moving: bool,
}
