//! What the admin API says: the JSON of requests and answers, and the trait behind them.
//!
//! These types are a public contract, read by `recoilctl` and by scripts: fields are added, never renamed.

mod keyspaces;
mod nodes;

pub use keyspaces::{CreateKeyspace, KeyspaceDetail, KeyspaceStatus, SetKeyspace};
pub use nodes::{
    DecommissionReply, DecommissionRequest, DepartingPartition, Membership, NodeDetail, RecoverReply, RecoverRequest,
    RecoveredGroup,
};

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use recoil_base::{Digest, GroupId, NodeId};
use recoil_package::{Manifest, Permission, SettingValue};
use serde::{Deserialize, Serialize};

/// What a node answers to operators. Every method may be called at any time and many times at once, on every node,
/// whichever leads.
#[async_trait]
pub trait AdminApi: Send + Sync + 'static {
    /// The cluster as this node knows it.
    async fn status(&self) -> Result<Status, AdminError>;
    /// Whether this node can serve, and if not, why.
    async fn health(&self) -> Health;
    /// All apps, by name.
    async fn apps(&self) -> Result<Vec<AppSummary>, AdminError>;
    /// One app in detail.
    async fn app(&self, name: &str) -> Result<AppDetail, AdminError>;
    /// Install a package and return once it serves on every live node, or with the reason why it does not. Installing
    /// what is already installed under the same digest succeeds and changes nothing.
    async fn install(&self, request: InstallRequest) -> Result<AppSummary, AdminError>;
    /// Store an archive (at most [`recoil_package::ARCHIVE_BYTES_MAX`] bytes) in the cluster, to be installed by digest.
    async fn upload(&self, archive: Bytes) -> Result<PackageSummary, AdminError>;
    /// The same with a package of the cluster's own registry, named as `[namespace/]name[@version]`.
    async fn pull(&self, name: &str) -> Result<PackageSummary, AdminError>;
    /// Removes what nothing in the cluster's registry has referred to for as long as `kept`.
    async fn collect(&self, kept: Duration) -> Result<CollectReply, AdminError>;
    /// Changes settings of an app; values as text. Returns the settings then in force.
    async fn set(
        &self,
        name: &str,
        values: BTreeMap<String, String>,
    ) -> Result<BTreeMap<String, SettingValue>, AdminError>;
    /// How much data each app has in the partitions that the answering node leads: of the app named `app` or of all, of kept data too.
    /// The sum over all live nodes is what the cluster has.
    async fn data(&self, app: Option<&str>) -> Result<Vec<AppData>, AdminError>;
    /// Deletes the data that an uninstalled app left behind.
    async fn delete_data(&self, app: &str) -> Result<(), AdminError>;
    /// Remove an app, and its data unless that is to be kept for its next installation. Returns once no node takes connections for it.
    async fn uninstall(&self, name: &str, keep_data: bool) -> Result<(), AdminError>;
    /// The commands that the app has for its operators; none if its package has no such role.
    async fn commands(&self, name: &str) -> Result<Vec<AppCommand>, AdminError>;
    /// Runs a command of the app on the answering node, with what was typed behind the app's name. Returns what it prints. An error says
    /// why it failed; a part of its work may have been done, and if the future is dropped, too.
    async fn run_command(&self, name: &str, arguments: Vec<String>) -> Result<String, AdminError>;
    /// At most `limit` lines of the app's log on this node, from sequence `since` on. If there are none yet, waits up to
    /// `wait` for the first.
    async fn logs(&self, name: &str, since: u64, limit: usize, wait: Duration) -> Result<LogPage, AdminError>;
    /// A member, or what is known of one that was removed.
    async fn node(&self, node: NodeId) -> Result<NodeDetail, AdminError>;
    /// Has a member give away what it leads and take no new connections, and returns once that is recorded.
    async fn drain(&self, node: NodeId) -> Result<NodeDetail, AdminError>;
    /// Makes a member active again that is drained or decommissioned.
    async fn undrain(&self, node: NodeId) -> Result<NodeDetail, AdminError>;
    /// Has a member removed once its replicas are elsewhere, or says what that would mean. Returns once it is recorded.
    async fn decommission(&self, node: NodeId, request: DecommissionRequest) -> Result<DecommissionReply, AdminError>;
    /// All keyspaces.
    async fn keyspaces(&self) -> Result<Vec<KeyspaceStatus>, AdminError>;
    /// One keyspace in detail.
    async fn keyspace(&self, name: &str) -> Result<KeyspaceDetail, AdminError>;
    /// Makes a keyspace, and returns once its partitions have leaders, or after half a minute. Repeating it changes nothing.
    async fn create_keyspace(&self, request: CreateKeyspace) -> Result<KeyspaceDetail, AdminError>;
    /// Changes a keyspace, and returns once that is recorded; what is to move for it moves afterwards.
    async fn set_keyspace(&self, name: &str, request: SetKeyspace) -> Result<KeyspaceDetail, AdminError>;
    /// Deletes a keyspace that no app and no kept data use.
    async fn delete_keyspace(&self, name: &str) -> Result<(), AdminError>;
    /// Where every partition is, in order: of one keyspace, or of all.
    async fn partitions(&self, keyspace: Option<&str>) -> Result<Vec<PartitionStatus>, AdminError>;
    /// Where one partition is, of the default keyspace if none is named.
    async fn partition(&self, keyspace: Option<&str>, partition: u32) -> Result<PartitionStatus, AdminError>;
    /// The moves that have not ended, by their ids.
    async fn moves(&self) -> Result<Vec<MoveStatus>, AdminError>;
    /// Begins to move partitions, and returns once that is recorded. Repeating it while they are being moved changes nothing.
    async fn start_moves(&self, request: MoveRequest) -> Result<Vec<MoveStatus>, AdminError>;
    /// Has a move come to nothing, unless the partition has been released already.
    async fn cancel_move(&self, id: u64) -> Result<(), AdminError>;
    /// How the cluster keeps its partitions placed.
    async fn cluster(&self) -> Result<ClusterStatus, AdminError>;
    /// Changes that; what is absent stays. Returns what then is in force.
    async fn set_cluster(&self, request: ClusterRequest) -> Result<ClusterStatus, AdminError>;
    /// Gives up nodes that are gone for good, with which groups have lost their quorum, or says what that would mean. Returns once
    /// that is recorded.
    async fn recover(&self, request: RecoverRequest) -> Result<RecoverReply, AdminError>;
}

/// `GET /v1/cluster`: how the cluster keeps its partitions placed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClusterStatus {
    /// Seconds of silence after which a node counts as lost and its replicas are replaced.
    pub repair_after_seconds: u32,
    /// Bytes a second that a node reads at most to copy partitions that move to it.
    pub move_rate_bytes: u64,
    /// Partitions are moved to even out what nodes hold and lead.
    pub balance: bool,
    /// No moves are begun but by operators.
    pub paused: bool,
    /// Moves that have not ended.
    pub moves: u32,
    /// Nodes that count as lost.
    pub lost: Vec<NodeId>,
}

/// `PATCH /v1/cluster`. What is absent stays as it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClusterRequest {
    /// See [`ClusterStatus::repair_after_seconds`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repair_after_seconds: Option<u32>,
    /// See [`ClusterStatus::move_rate_bytes`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub move_rate_bytes: Option<u64>,
    /// See [`ClusterStatus::balance`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub balance: Option<bool>,
    /// See [`ClusterStatus::paused`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub paused: Option<bool>,
}

/// A command that an app has for its operators, in the list that `GET /v1/apps/NAME/commands` answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AppCommand {
    /// The words by which it is called.
    pub words: Vec<String>,
    /// What follows them.
    pub usage: String,
    /// What it does, in a sentence.
    pub help: String,
}

/// `POST /v1/apps/NAME/commands`: runs a command.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CommandRequest {
    /// What was typed behind the app's name, at least one word.
    pub arguments: Vec<String>,
}

/// What a command printed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CommandReply {
    /// The text, as the package gave it.
    pub output: String,
}

/// `GET /v1/status`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// The cluster's id, 32 hexadecimal digits; absent until the cluster exists.
    pub cluster: Option<String>,
    /// The node that answered.
    pub node: NodeId,
    /// Every member.
    pub nodes: Vec<NodeStatus>,
    /// Every keyspace.
    pub keyspaces: Vec<KeyspaceStatus>,
    /// Every Raft group, as far as the answering node knows.
    pub groups: Vec<GroupStatus>,
    /// Every app.
    pub apps: Vec<AppSummary>,
    /// True when every partition has a leader.
    pub ready: bool,
    /// What an operator should act on, as the answering node sees it. Empty in a healthy cluster.
    #[serde(default)]
    pub problems: Vec<Problem>,
}

/// `GET /v1/partitions/{partition}`, and one of the list at `GET /v1/partitions`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartitionStatus {
    /// Its keyspace.
    pub keyspace: String,
    /// Its number.
    pub partition: u32,
    /// Grows whenever it moves.
    pub epoch: u64,
    /// The Raft group that it is in.
    pub group: GroupId,
    /// Its leader; absent during an election or where the answering node does not know.
    pub leader: Option<NodeId>,
    /// The nodes with a replica of it, first the one that is to lead.
    pub replicas: Vec<NodeId>,
    /// Of those, the ones that are not down, as far as the answering node knows.
    pub replicas_live: u32,
    /// It has fewer replicas with all rows on nodes that are not down than it should have, as far as the answering node knows.
    #[serde(default)]
    pub under_replicated: bool,
    /// The move that it takes part in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub moving: Option<MoveStatus>,
}

/// One of the list at `GET /v1/moves`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MoveStatus {
    /// Names it.
    pub id: u64,
    /// The partition's keyspace.
    pub keyspace: String,
    /// The partition.
    pub partition: u32,
    /// The group that it leaves.
    pub source: GroupId,
    /// The group that it goes to.
    pub target: GroupId,
    /// The nodes with a replica before.
    pub from: Vec<NodeId>,
    /// The nodes with a replica afterwards.
    pub to: Vec<NodeId>,
    /// How far it has come.
    pub state: MoveStateName,
    /// What it waits for. Only the node that leads the target knows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waits_for: Option<String>,
}

/// How far a move has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MoveStateName {
    /// The partition is served where it was.
    Moving,
    /// It is to stay where it was, unless it has been released already.
    Cancelling,
    /// It is served where it is to be; replicas that lack rows fetch them, and then the old ones go.
    Copying,
}

/// `POST /v1/moves`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MoveRequest {
    /// The keyspace; the default one if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keyspace: Option<String>,
    /// Its partitions.
    pub partitions: Vec<u32>,
    /// The nodes that are to have replicas of them, first the one that is to lead.
    pub to: Vec<NodeId>,
}

/// Something that an operator should act on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// What kind of problem it is.
    pub kind: ProblemKind,
    /// What has the problem: a node's id, a group's id, a keyspace's or an app's name. Kind and subject name a problem on all nodes.
    pub subject: String,
    /// The problem, its extent and what to do, in one sentence.
    pub text: String,
}

/// The kinds of [`Problem`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ProblemKind {
    /// The cluster has not been founded, or its members have not all joined.
    NotReady,
    /// Partitions have no leader: they serve nothing.
    Unavailable,
    /// A node is down: its replicas miss all writes.
    NodeDown,
    /// A replica on a live node is far behind its leader, which sends it what it misses.
    ReplicaBehind,
    /// An app cannot be made ready on some node.
    AppFailed,
    /// The rule of a keyspace cannot be met, or is not met yet.
    RuleUnmet,
}

/// One member of the cluster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeStatus {
    /// The node's id.
    pub id: NodeId,
    /// Its member number, by which packages name it.
    pub member: u32,
    /// Where its admin API and its peers reach it.
    pub address: SocketAddr,
    /// Whether it is heard of.
    pub state: NodeState,
    /// Since when a node that is down has not answered, in microseconds since the Unix epoch. Absent for a live node and for
    /// one that has not answered since the answering node started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub down_since_us: Option<u64>,
    /// It has been silent for so long that its replicas are replaced.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub lost: bool,
    /// Partitions it leads.
    pub partitions_led: u32,
    /// Partitions that it should hold a replica of.
    pub replicas: u32,
    /// Of those replicas, the ones that are reachable and not far behind their leader, as far as the answering node knows.
    #[serde(default)]
    pub replicas_current: u32,
    /// True on the leader of the meta group.
    pub is_meta_leader: bool,
    /// The version it runs; empty when not known.
    pub version: String,
    /// Where it is: its tiers, the largest first, such as `region=eu,zone=a`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub locality: String,
    /// How the cluster counts it.
    #[serde(default)]
    pub membership: Membership,
    /// The node that is to take its replicas over, while it is decommissioned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub successor: Option<NodeId>,
}

/// Whether a member is heard of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum NodeState {
    /// Heard of lately.
    Live,
    /// Not heard of for longer than the failure detector allows.
    Down,
    /// The answering node cannot tell.
    Unknown,
}

/// One Raft group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupStatus {
    /// Its id; 0 is the meta group.
    pub id: GroupId,
    /// Its members, in order of preference for leading.
    pub members: Vec<NodeId>,
    /// Its leader, absent during an election or where the answering node does not know.
    pub leader: Option<NodeId>,
    /// Raft term, 0 where the answering node is not a member.
    pub term: u64,
    /// Index of the last entry applied by the answering node, 0 where it is not a member.
    pub applied: u64,
    /// Partitions that it owns.
    pub partitions: u32,
    /// Members that are live and far behind. Only the node that leads the group knows.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub behind: Vec<NodeId>,
}

/// One app in a list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AppSummary {
    /// Its name.
    pub name: String,
    /// The package's version.
    pub version: String,
    /// The package that is pinned.
    pub digest: Digest,
    /// The keyspace that its data are in.
    #[serde(default)]
    pub keyspace: String,
    /// What it is doing.
    pub state: AppState,
    /// Where it listens.
    pub listeners: Vec<ListenerSummary>,
    /// Nodes that have it ready.
    pub nodes_ready: u32,
    /// Nodes that should.
    pub nodes: u32,
}

/// What an app is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AppState {
    /// Nodes are making it ready.
    Installing,
    /// Switched on.
    Serving,
    /// Some node cannot make it ready; the detail says why.
    Failed,
    /// Uninstalled; its data waits for its next installation.
    Kept,
}

/// Where an app listens.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListenerSummary {
    /// The listener's name in the manifest.
    pub name: String,
    /// One address for each node that serves it, in the order of the nodes.
    pub addresses: Vec<String>,
}

/// `GET /v1/apps/{name}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AppDetail {
    /// What lists show.
    #[serde(flatten)]
    pub summary: AppSummary,
    /// Roles found in the component's exports, such as `handler` and `tcp-listener`.
    pub roles: Vec<String>,
    /// The limits in force, all of them.
    pub limits: Vec<LimitInForce>,
    /// The settings in force.
    #[serde(default)]
    pub settings: BTreeMap<String, SettingValue>,
    /// The package's own words.
    pub manifest: Manifest,
    /// How each node stands.
    pub on_nodes: Vec<AppOnNode>,
}

/// One limit of an app.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LimitInForce {
    /// Its name in the manifest.
    pub name: String,
    /// In force.
    pub value: u64,
    /// In force where the manifest says nothing.
    pub default: u64,
    /// The most a manifest may set.
    pub most: u64,
    /// What is limited.
    pub what: String,
    /// What happens above it.
    pub above: String,
}

/// How one node stands with an app.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AppOnNode {
    /// The node.
    pub node: NodeId,
    /// Compiled and, if it listens, bound.
    pub ready: bool,
    /// Why it is not, when something failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// `POST /v1/apps`: a package, by name or by digest, and what the app is to have of its own.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InstallRequest {
    /// A package of the cluster's own registry, as `[namespace/]name[@version]`. Either this or `digest`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// A package uploaded with `POST /v1/packages`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<Digest>,
    /// The app's name; the package's if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub app: Option<String>,
    /// Ports, before the nodes' offsets, by listener; the manifest's where absent.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub listen: BTreeMap<String, u16>,
    /// Values of settings, as text; the manifest's defaults where absent.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub set: BTreeMap<String, String>,
    /// The permissions that the operator grants: a package that asks for more is refused. Absent: whatever it asks for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grant: Option<BTreeSet<Permission>>,
    /// The keyspace for its data, which also says on which nodes it runs. Absent: the default one, or that of its kept data.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keyspace: Option<String>,
}

impl InstallRequest {
    /// A package of the cluster's own registry, as it is.
    pub fn named(name: &str) -> Self {
        InstallRequest { name: Some(name.to_owned()), ..Default::default() }
    }
}

/// One app's data in `GET /v1/data`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AppData {
    /// The app's name.
    pub app: String,
    /// [`AppState::Kept`] if the app is uninstalled and its data were kept.
    pub state: AppState,
    /// The package that wrote the data.
    pub package: String,
    /// Its version.
    pub version: String,
    /// Rows in the partitions counted.
    pub rows: u64,
    /// Bytes of those rows' values: once, not for each replica.
    pub bytes: u64,
    /// Partitions that the answering node leads and has counted to their ends.
    pub partitions_counted: u32,
    /// Partitions of the keyspace that the app's data are in.
    pub partitions: u32,
}

/// `POST /v1/packages`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PackageSummary {
    /// Names the archive.
    pub digest: Digest,
    /// From its manifest.
    pub name: String,
    /// From its manifest.
    pub version: String,
    /// All of it.
    pub manifest: Manifest,
    /// The digest of the manifest by which a registry has it, if it came from one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact: Option<String>,
    /// True for a package that came with the node's program, and is to be trusted as much as that.
    #[serde(default)]
    pub bundled: bool,
}

/// `POST /v1/packages/pull`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PullRequest {
    /// As `[namespace/]name[@version]`.
    pub name: String,
}

/// `POST /v1/registry/collect`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CollectRequest {
    /// What has been unneeded for less stays.
    pub kept_seconds: u64,
}

/// What a collection has removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CollectReply {
    /// Links to blobs that no manifest needs.
    pub links: u64,
    /// Uploads and blobs whose bytes have gone.
    pub contents: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// Lines of an app's log on one node.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogPage {
    /// Lines in order.
    pub lines: Vec<LogLine>,
    /// Ask for this sequence next.
    pub next: u64,
}

/// One line of `GET /v1/apps/{name}/logs`. A gap in `sequence` means lines that the log no longer holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogLine {
    /// Counted by the node from its start.
    pub sequence: u64,
    /// Microseconds since the Unix epoch.
    pub time_us: u64,
    /// `trace`, `debug`, `info`, `warn` or `error`.
    pub level: String,
    /// The node that wrote it.
    pub node: NodeId,
    /// The partition, absent for listeners.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub partition: Option<u32>,
    /// The text.
    pub message: String,
}

/// `GET /v1/health`: status 200 when ready, 503 otherwise.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Health {
    /// True when every partition has a leader, as far as this node knows.
    pub ready: bool,
    /// Why not, in words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// `GET /v1/version`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Version {
    /// The program's version.
    pub version: String,
}

/// How an operator's request failed, by consequence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AdminErrorCode {
    /// The request makes no sense; repeating it does not help.
    Invalid,
    /// It names something that does not exist.
    NotFound,
    /// It contradicts the present state.
    Conflict,
    /// It cannot be served now; repeating it may help.
    Unavailable,
    /// Something broke that should not have; the node's log says more.
    Internal,
}

/// Why an operator's request failed: what and why in the message, what to do in the hint.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{message}{}{hint}", if hint.is_empty() { "" } else { ": " })]
pub struct AdminError {
    /// The class of failure.
    pub code: AdminErrorCode,
    /// What was wrong and why.
    pub message: String,
    /// What to do next; may be empty.
    #[serde(default)]
    pub hint: String,
}

/// The body of every answer that is not a success.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorBody {
    /// The failure.
    pub error: AdminError,
}

impl AdminError {
    /// A failure of class `code`.
    pub fn new(code: AdminErrorCode, message: impl Into<String>, hint: impl Into<String>) -> Self {
        AdminError { code, message: message.into(), hint: hint.into() }
    }
    /// The request makes no sense.
    pub fn invalid(message: impl Into<String>, hint: impl Into<String>) -> Self {
        AdminError::new(AdminErrorCode::Invalid, message, hint)
    }
    /// It names something that does not exist.
    pub fn not_found(message: impl Into<String>, hint: impl Into<String>) -> Self {
        AdminError::new(AdminErrorCode::NotFound, message, hint)
    }
    /// It contradicts the present state.
    pub fn conflict(message: impl Into<String>, hint: impl Into<String>) -> Self {
        AdminError::new(AdminErrorCode::Conflict, message, hint)
    }
    /// It cannot be served now.
    pub fn unavailable(message: impl Into<String>, hint: impl Into<String>) -> Self {
        AdminError::new(AdminErrorCode::Unavailable, message, hint)
    }
    /// Something broke that should not have.
    pub fn internal(message: impl Into<String>, hint: impl Into<String>) -> Self {
        AdminError::new(AdminErrorCode::Internal, message, hint)
    }
}
