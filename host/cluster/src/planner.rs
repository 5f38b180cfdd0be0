//! Which partitions should move where, so that every node carries its share and no partition stays short of a replica.
//!
//! [`plan`] is a pure function of the [`View`] of one keyspace: members, replica sets, partitions, moves under way. It answers a list of moves, the most
//! urgent first, cut to what the budget allows; whoever runs it begins them and asks again. Nothing is remembered between two calls.
//!
//! 1. **Repair** ([`repair`]): partitions with a replica on a node that is lost or has to leave, and partitions with too few or too many
//!    replicas. A set of replicas moves as a whole where one node has room for it, so that the number of groups stays as it is.
//! 2. **Load** ([`load`]): bounded loads. A node's share is proportional to its capacity, and no node is to carry more than
//!    `ceil((1 + ε) · share)` nor less than `floor((1 − ε) · share)`, with ε = 0.1 (V. Mirrokni, M. Thorup, M. Zadimoghaddam,
//!    "Consistent Hashing with Bounded Loads", SODA 2018; there for the upper bound). A node below its bound is filled up to its share, one above
//!    it gives away what is too much. Replicas move from the fuller node to the emptier one, never so many that the two change places, so
//!    that no plan undoes another.
//! 3. **Leaders** ([`leaders`]): the same for the first nodes of the sets, by sets of the same nodes in another order, which copies no row.
//! 4. **Tidying** ([`tidy`]): small sets are merged into others where nodes have replicas of too many groups, within the bounds above.
//!
//! The cost that the plan keeps low is rows copied. A partition is paused for long only if the leader of its new set has no copy of it, so a
//! new set is led by a live node of the old one; a node that joins is given replicas first and leads once it has them. A moved partition
//! keeps as many of its nodes as possible.
//!
//! Invariants, for every answer: a set has no node twice, all its newcomers are live members, a majority of it is live, and it shares a
//! live node with the old set wherever one is left; no node has replicas of more than [`GROUPS_A_NODE_MAX`] groups, counting those that are about to
//! be removed; a partition that is being moved is left alone. Steps 2 to 4 are taken only in a healthy cluster ([`View::is_healthy`]).
//!
//! Hysteresis: steps 2 and 3 do nothing while every load is within its bounds, and step 4 leaves it there.
//!
//! Each keyspace is planned by itself, over the nodes that its rule allows: a node that the rule forbids is one that must hold none of its
//! replicas, whatever else it is. So every keyspace is even in itself, and a plan for one cannot undo what a plan for another has done.
//! [`plan_all`] puts the plans together, repairs before everything else. Nodes that a keyspace prefers as leaders share its leadership
//! alone, as far as they are in its replica sets.
//!
//! Deliberately absent: what partitions store and how busy they are (each counts as one), and a memory of earlier plans.

#[cfg(test)]
mod keyspaces_tests;
mod leaders;
mod load;
mod repair;
#[cfg(test)]
mod tests;
mod tidy;
mod view;
mod work;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use recoil_base::{GroupId, KeyspaceId, NodeId, PartitionId};

use crate::meta::GROUPS_A_NODE_MAX;
use work::Work;

/// By how much a node's load may differ from its share before anything is done about it.
const EPSILON: f64 = 0.1;
/// The same for the lower bound of the partitions that it leads, which weigh less and are coarser.
const EPSILON_LED_LOW: f64 = 0.2;
/// Groups of a node up to which new sets are made for balance; above it, sets are merged. Repairs may use up to [`GROUPS_A_NODE_MAX`].
const GROUPS_SOFT: usize = 12;
/// The same for sets that only another node is to lead, and for merging at the cost of copies.
const GROUPS_CROWDED: usize = 14;
/// A node that is to be filled up is given so many groups less than [`GROUPS_SOFT`], which leaves room for sets that it is to lead.
const GROUPS_SPARE: usize = 3;

/// What a node may be used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Holds replicas, and may get more.
    Member,
    /// Keeps what it has for now.
    Waiting,
    /// Must hold no replicas, and has its rows.
    Leaving,
    /// Silent for too long: its replicas count as gone.
    Lost,
}

/// A node as the planner sees it.
#[derive(Clone, Debug)]
pub struct Node {
    /// What it may be used for.
    pub role: Role,
    /// How much it should carry, relative to others.
    pub capacity: u32,
    /// The value of the tier of its locality by which the keyspace is spread. Replicas of a partition are spread over these.
    pub zone: String,
    /// The keyspace prefers it as a leader, as it does all nodes if it says nothing.
    pub is_preferred: bool,
    /// It answers now.
    pub is_live: bool,
    /// The node that is to take its replicas over when it leaves or is lost.
    pub successor: Option<NodeId>,
}

/// A partition as the planner sees it.
#[derive(Clone, Copy, Debug)]
pub struct Partition {
    /// Of which keyspace.
    pub keyspace: KeyspaceId,
    /// Its number.
    pub partition: PartitionId,
    /// The group that has it, or that it is moving to.
    pub group: GroupId,
    /// Replicas that it should have.
    pub replicas: usize,
    /// It is being moved.
    pub is_moving: bool,
}

/// How many moves may be under way, those that are already included.
#[derive(Clone, Copy, Debug)]
pub struct Budget {
    /// In the cluster.
    pub cluster: usize,
    /// That copy rows to one node.
    pub node: usize,
}

/// What a plan is made of: one keyspace, and the nodes as they are for it.
#[derive(Clone, Debug)]
pub struct View {
    /// All members.
    pub nodes: BTreeMap<NodeId, Node>,
    /// All groups of the keyspace with their replica sets, the unused ones too: nodes have them until they are removed.
    pub groups: BTreeMap<GroupId, Arc<[NodeId]>>,
    /// All partitions of the keyspace.
    pub partitions: Vec<Partition>,
    /// Source and target of the keyspace's moves under way.
    pub moves: Vec<(GroupId, GroupId)>,
    /// What may be under way.
    pub budget: Budget,
    /// Nothing speaks against moving partitions that are well where they are.
    pub is_healthy: bool,
}

/// Why a partition should move.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Why {
    /// A node with a replica of it is lost.
    Lost(NodeId),
    /// A node with a replica of it must hold none.
    Leaving(NodeId),
    /// It has too few replicas, or too many.
    Replicas,
    /// To even out the number of replicas.
    Load,
    /// To even out the number of partitions that nodes lead.
    Leaders,
    /// To have fewer groups.
    Groups,
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Why::Lost(node) => write!(f, "node {node} is lost"),
            Why::Leaving(node) => write!(f, "node {node} leaves, or the keyspace's rule keeps replicas from it"),
            Why::Replicas => write!(f, "its number of replicas is not what it should be"),
            Why::Load => write!(f, "nodes hold uneven numbers of replicas"),
            Why::Leaders => write!(f, "nodes lead uneven numbers of partitions"),
            Why::Groups => write!(f, "nodes have replicas of too many groups"),
        }
    }
}

/// A move that should begin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Planned {
    /// Of which keyspace.
    pub keyspace: KeyspaceId,
    /// The partition.
    pub partition: PartitionId,
    /// Its new replica set, first the node that is to lead.
    pub to: Vec<NodeId>,
    /// Why.
    pub why: Why,
}

/// The moves that should begin now, the most urgent first. See the module's essay.
pub fn plan(view: &View) -> Vec<Planned> {
    let mut work = Work::new(view);
    repair::run(&mut work);
    if view.is_healthy {
        load::run(&mut work);
        leaders::run(&mut work);
        tidy::run(&mut work);
    }
    work.within(view)
}

impl Why {
    /// True if data are at stake, or where they must not be.
    fn is_repair(self) -> bool {
        matches!(self, Why::Lost(_) | Why::Leaving(_) | Why::Replicas)
    }
}

/// The moves that should begin now in all keyspaces: what repairs before what evens out, and no more in all than one keyspace may have.
pub fn plan_all(views: &[View]) -> Vec<Planned> {
    let under_way: usize = views.iter().map(|view| view.moves.len()).sum();
    let most = views.iter().map(|view| view.budget.cluster).max().unwrap_or(0).saturating_sub(under_way);
    let mut planned: Vec<Planned> = views.iter().flat_map(plan).collect();
    // Stable, so that within a keyspace the order stays.
    planned.sort_by_key(|planned| !planned.why.is_repair());
    planned.truncate(most);
    planned
}

/// The most that a node whose share is `share` may carry.
fn most(share: f64) -> usize {
    (share * (1.0 + EPSILON) - ROUNDING).ceil().max(0.0) as usize
}

/// How many more of what a giver has than it needs may go to a taker: so many that the giver stays the fuller one relative to its share, no
/// more than the taker should get, and no more than keeps the giver within its own bound.
#[derive(Clone, Copy, Debug)]
struct Transfer {
    /// Counts and shares of the two.
    giver: (usize, f64),
    taker: (usize, f64),
    /// The giver's lower bound.
    least: usize,
    /// The taker is to be filled up to its share.
    fills: bool,
    /// So many at once are worth a set of their own.
    chunk: usize,
}

impl Transfer {
    fn count(&self) -> usize {
        let Transfer { giver: (from, from_share), taker: (to, to_share), least, fills, chunk } = *self;
        let ratio = |count: usize, share: f64| count as f64 / share.max(ROUNDING);
        let surplus = ratio(from, from_share) - ratio(to, to_share);
        if surplus <= 0.0 {
            return 0;
        }
        let gap = ratio(1, from_share) + ratio(1, to_share);
        let even = (surplus / gap + ROUNDING).floor() as usize;
        let over = from.saturating_sub(most(from_share));
        let mut due = if fills { whole(to_share).saturating_sub(to) } else { 0 };
        if over > 0 {
            due = due.max(most(to_share).saturating_sub(to).min(over.max(chunk)));
        }
        let spare = from.saturating_sub(whole(from_share)).max(over).max(chunk);
        even.min(due).min(spare).min(from.saturating_sub(least))
    }
}

/// The whole part of a share.
fn whole(share: f64) -> usize {
    (share + ROUNDING).floor().max(0.0) as usize
}

/// The least worth a set of its own, of a node with this share.
fn chunk_of(share: f64, parts: f64) -> usize {
    (share / parts).ceil().max(1.0) as usize
}

/// The least that it should carry, with this tolerance.
fn least(share: f64, epsilon: f64) -> usize {
    (share * (1.0 - epsilon) + ROUNDING).floor().max(0.0) as usize
}

/// Shares are quotients: what is a whole number but for the last bits counts as one.
const ROUNDING: f64 = 1e-6;
