//! The cluster as one node sees it: members, groups, keyspaces, apps, and what an operator should act on.
//!
//! What a node sees: the meta state it has applied, which members answer it, and for the groups that it leads how far each
//! replica is. So two nodes may disagree for a moment about who is down, and only a group's leader reports a replica that is
//! behind; `recoilctl status` asks every node that leads a group.
//!
//! A replica counts as current while its node is live and it lacks at most [`BEHIND_ENTRIES`] entries of its leader's log.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::Duration;

use recoil_base::{GroupId, KeyspaceId, NodeId, PartitionId};
use recoil_cluster::meta::{self, MemberState, MetaState, MoveState};
use recoil_consensus::Group;
use recoil_gateway::api::{
    AppState, AppSummary, GroupStatus, KeyspaceStatus, Membership, NodeState, NodeStatus, Problem, ProblemKind, Status,
};

use crate::admin::ordered;
use crate::keyspaces::unmet;
use crate::node::Parts;

/// Entries that a replica may lack and still count as current: a busy group commits as many within a second.
const BEHIND_ENTRIES: u64 = 10_000;

impl Parts {
    fn groups(&self, state: &MetaState) -> Vec<GroupStatus> {
        let mut groups = Vec::new();
        if let Some(meta) = self.meta() {
            let numbers = meta.numbers();
            let members: Vec<NodeId> = numbers.voters.iter().chain(&numbers.learners).copied().collect();
            let behind = self.behind(&meta, &members);
            let (id, term, applied) = (GroupId::META, numbers.term, numbers.applied);
            groups.push(GroupStatus { id, members, leader: numbers.leader, term, applied, partitions: 0, behind });
        }
        for (id, record) in &state.groups {
            let group = self.host.group(*id);
            let numbers = group.as_ref().map(|group| group.numbers());
            groups.push(GroupStatus {
                id: *id,
                members: record.members.to_vec(),
                leader: self.leader_of(*id),
                term: numbers.as_ref().map_or(0, |numbers| numbers.term),
                applied: numbers.as_ref().map_or(0, |numbers| numbers.applied),
                partitions: state.partition_count(*id) as u32,
                behind: group.map(|group| self.behind(&group, &record.members)).unwrap_or_default(),
            });
        }
        groups
    }

    /// The live members of a group that are far behind; none if this node does not lead it.
    fn behind(&self, group: &Group, members: &[NodeId]) -> Vec<NodeId> {
        if group.session().is_none() {
            return vec![];
        }
        let others = members.iter().filter(|node| **node != self.node && self.peers.is_live(**node));
        others.filter(|node| group.lag_of(**node).is_none_or(|lag| lag > BEHIND_ENTRIES)).copied().collect()
    }

    /// The cluster as this node knows it.
    pub(crate) fn status_now(&self) -> Status {
        let state = self.states.borrow().clone();
        let groups = self.groups(&state);
        let meta_leader = groups.first().and_then(|meta| meta.leader);
        let replicas = Replicas::of(&groups, &|node| self.peers.is_live(node));
        // A member whose address another has taken counts only for the replicas that it took along.
        let counts = |id: &NodeId, member: &meta::Member| {
            member.state != MemberState::Displaced || replicas.held.get(id).is_some_and(|held| *held > 0)
        };
        let nodes: Vec<NodeStatus> = ordered(&state)
            .into_iter()
            .filter(|(id, member)| counts(id, member))
            .map(|(id, member)| NodeStatus {
                id: *id,
                member: member.number,
                address: member.address,
                state: if self.peers.is_live(*id) { NodeState::Live } else { NodeState::Down },
                down_since_us: self.silent_for(*id).map(|silent| {
                    self.clock.wall_us().saturating_sub(u64::try_from(silent.as_micros()).unwrap_or(u64::MAX))
                }),
                lost: state.is_lost(*id),
                partitions_led: replicas.led.get(id).copied().unwrap_or(0),
                replicas: replicas.held.get(id).copied().unwrap_or(0),
                replicas_current: replicas.current.get(id).copied().unwrap_or(0),
                is_meta_leader: meta_leader == Some(*id),
                version: member.version.clone(),
                locality: member.locality.to_string(),
                membership: membership(member.state),
                successor: member.successor,
            })
            .collect();
        let keyspaces: Vec<KeyspaceStatus> =
            state.keyspaces.iter().map(|(id, keyspace)| replicas.keyspace(&state, *id, keyspace)).collect();
        let ready =
            !keyspaces.is_empty() && keyspaces.iter().all(|keyspace| keyspace.leaders_present == keyspace.partitions);
        let kept = state.kept.iter().map(|(name, kept)| AppSummary {
            name: name.clone(),
            version: kept.version.clone(),
            digest: kept.digest,
            keyspace: state.keyspaces.get(&kept.keyspace).map(|of| of.name.clone()).unwrap_or_default(),
            state: AppState::Kept,
            listeners: vec![],
            nodes_ready: 0,
            nodes: 0,
        });
        let apps = state.apps.iter().map(|(name, app)| self.summary(&state, name, app)).chain(kept).collect();
        let cluster = (!state.header.cluster.is_empty()).then(|| state.header.cluster.clone());
        let mut status =
            Status { cluster, node: self.node, nodes, keyspaces, groups, apps, ready, problems: Vec::new() };
        let not_ready = reason_not_ready(&status, state.header.expect);
        status.problems = problems(&status, not_ready, &|node| self.silent_for(node));
        for (id, keyspace) in &state.keyspaces {
            let rules = unmet(&state, *id, keyspace).into_iter();
            let problem = |text| Problem { kind: ProblemKind::RuleUnmet, subject: keyspace.name.clone(), text };
            status.problems.extend(rules.map(problem));
        }
        status
    }

    /// How long a member that is down has not answered; none for a live one, and for one that has not answered since this node started.
    fn silent_for(&self, node: NodeId) -> Option<Duration> {
        if self.peers.is_live(node) { None } else { self.peers.answered_ago(node) }
    }

    /// Why this node cannot serve all partitions; none if it can.
    pub(crate) fn reason_not_ready(&self) -> Option<String> {
        let expect = self.states.borrow().header.expect;
        reason_not_ready(&self.status_now(), expect)
    }
}

/// A member's state as operators see it.
pub(crate) fn membership(state: MemberState) -> Membership {
    match state {
        MemberState::Active => Membership::Active,
        MemberState::Draining => Membership::Draining,
        MemberState::Decommissioning => Membership::Decommissioning,
        MemberState::Displaced => Membership::Displaced,
    }
}

/// Where the replicas of all partitions are, counted in one pass over the groups: with many nodes and groups, one pass for each node
/// would take a while.
#[derive(Default)]
struct Replicas {
    led: HashMap<NodeId, u32>,
    held: HashMap<NodeId, u32>,
    current: HashMap<NodeId, u32>,
    /// For each group: whether its leader is live, and whether all its replicas are current.
    groups: HashMap<GroupId, (bool, bool)>,
}

impl Replicas {
    fn of(groups: &[GroupStatus], is_live: &dyn Fn(NodeId) -> bool) -> Self {
        let mut replicas = Replicas::default();
        for group in groups {
            let mut complete = true;
            for node in &group.members {
                let is_current = is_live(*node) && !group.behind.contains(node);
                complete &= is_current;
                *replicas.held.entry(*node).or_default() += group.partitions;
                *replicas.current.entry(*node).or_default() += if is_current { group.partitions } else { 0 };
            }
            let leader = group.leader.filter(|leader| is_live(*leader));
            if let Some(leader) = leader.filter(|leader| group.members.contains(leader)) {
                *replicas.led.entry(leader).or_default() += group.partitions;
            }
            replicas.groups.insert(group.id, (leader.is_some(), complete));
        }
        replicas
    }

    fn keyspace(&self, state: &MetaState, id: KeyspaceId, keyspace: &meta::Keyspace) -> KeyspaceStatus {
        let (mut leaders_present, mut under_replicated) = (0, 0);
        // Of a move that copies, some replica has not reported that it has all rows.
        let moving: Vec<_> = state.moves.values().filter(|moving| moving.keyspace == id).collect();
        let copying: HashSet<PartitionId> =
            moving.iter().filter(|moving| moving.state == MoveState::Flipped).map(|moving| moving.partition).collect();
        let wanted = state.replicas_wanted(keyspace);
        for (number, placement) in (0..).zip(keyspace.partitions.iter()) {
            let (is_led, is_complete) = self.groups.get(&placement.group).copied().unwrap_or_default();
            let has_all = || state.groups.get(&placement.group).is_some_and(|group| group.members.len() >= wanted);
            leaders_present += u32::from(is_led);
            under_replicated += u32::from(!is_complete || copying.contains(&PartitionId(number)) || !has_all());
        }
        KeyspaceStatus {
            name: keyspace.name.clone(),
            partitions: keyspace.partitions.len() as u32,
            replication: keyspace.replication,
            leaders_present,
            under_replicated,
            moving: moving.len() as u32,
            require: keyspace.rules.require.to_string(),
            spread_by: keyspace.rules.spread_by.clone(),
            prefer_leader: keyspace.rules.prefer_leader.to_string(),
        }
    }
}

fn reason_not_ready(status: &Status, expect: u32) -> Option<String> {
    if status.ready {
        None
    } else if status.cluster.is_none() {
        Some("this node has not found its cluster yet".into())
    } else if status.keyspaces.is_empty() {
        let joined = status.nodes.len();
        Some(format!("{joined} of {expect} expected members have joined; the partition map is made when all have"))
    } else {
        let missing: u32 = status.keyspaces.iter().map(|keyspace| keyspace.partitions - keyspace.leaders_present).sum();
        Some(format!("{missing} partitions have no leader that this node can reach"))
    }
}

/// What an operator should act on, the worst first.
fn problems(
    status: &Status,
    not_ready: Option<String>,
    silent_for: &dyn Fn(NodeId) -> Option<Duration>,
) -> Vec<Problem> {
    let mut problems = Vec::new();
    let mut add = |kind, subject: String, text: String| problems.push(Problem { kind, subject, text });
    if status.keyspaces.is_empty() {
        if let Some(why) = not_ready {
            add(ProblemKind::NotReady, "cluster".into(), why);
        }
    } else if status.groups.first().is_none_or(|meta| meta.leader.is_none()) {
        let text = "the meta group has no leader that this node can reach: apps and members cannot be changed until a majority of its \
                    voters runs";
        add(ProblemKind::Unavailable, "meta".into(), text.into());
    }
    for keyspace in status.keyspaces.iter().filter(|keyspace| keyspace.leaders_present < keyspace.partitions) {
        let missing = keyspace.partitions - keyspace.leaders_present;
        let text = format!(
            "{missing} of {} partitions of keyspace {} have no leader and serve nothing: start the nodes that are down",
            keyspace.partitions, keyspace.name
        );
        add(ProblemKind::Unavailable, keyspace.name.clone(), text);
    }
    // One that is to go and holds nothing is no loss.
    let is_missed = |node: &&NodeStatus| node.membership != Membership::Decommissioning || node.replicas > 0;
    for node in status.nodes.iter().filter(|node| node.state == NodeState::Down).filter(is_missed) {
        let silent = match silent_for(node.id) {
            Some(silent) => format!("has not answered for {}", in_words(silent)),
            None => format!("has not answered since node {} started", status.node),
        };
        let (id, address, replicas) = (node.id, node.address, node.replicas);
        let text = if node.lost && replicas == 0 {
            format!("node {id} at {address} {silent} and counts as lost; other nodes hold what it held")
        } else if node.lost {
            format!("node {id} at {address} {silent} and counts as lost: {replicas} replicas on it are to be replaced")
        } else {
            let until = match node.membership {
                Membership::Decommissioning => "until other nodes have taken them over",
                _ => "until it is started again",
            };
            format!("node {id} at {address} {silent}: {replicas} partitions are without its replica {until}")
        };
        add(ProblemKind::NodeDown, node.id.to_string(), text);
    }
    let mut behind: BTreeMap<NodeId, u32> = BTreeMap::new();
    for group in &status.groups {
        for node in &group.behind {
            *behind.entry(*node).or_default() += group.partitions;
        }
    }
    for (node, partitions) in behind {
        let text = format!("node {node} is far behind in {partitions} partitions and receives what it lacks: wait");
        add(ProblemKind::ReplicaBehind, node.to_string(), text);
    }
    for app in status.apps.iter().filter(|app| app.state == AppState::Failed) {
        let text = format!("{0} {1} cannot be made ready: see recoilctl inspect {0}", app.name, app.version);
        add(ProblemKind::AppFailed, app.name.clone(), text);
    }
    problems
}

/// A duration to two places: `42 s`, `5 min 3 s`, `2 h 10 min`, `3 d 4 h`.
fn in_words(duration: Duration) -> String {
    let seconds = duration.as_secs();
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3600 => format!("{} min {} s", seconds / 60, seconds % 60),
        3600..86_400 => format!("{} h {} min", seconds / 3600, seconds / 60 % 60),
        _ => format!("{} d {} h", seconds / 86_400, seconds / 3600 % 24),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(id: u32, state: NodeState) -> NodeStatus {
        NodeStatus {
            id: NodeId(id),
            member: id,
            address: format!("127.0.0.1:{}", 7399 + id).parse().unwrap(),
            state,
            down_since_us: None,
            lost: false,
            partitions_led: 0,
            replicas: 10,
            replicas_current: 0,
            is_meta_leader: false,
            version: String::new(),
            locality: String::new(),
            membership: Membership::Active,
            successor: None,
        }
    }

    fn group(id: u32, leader: Option<u32>, partitions: u32, behind: &[u32]) -> GroupStatus {
        GroupStatus {
            id: GroupId(id),
            members: [1, 2, 3].map(NodeId).to_vec(),
            leader: leader.map(NodeId),
            term: 1,
            applied: 1,
            partitions,
            behind: behind.iter().copied().map(NodeId).collect(),
        }
    }

    /// Fails if replicas on a node that is down or behind count as current, or a dead leader as one.
    #[test]
    fn replicas_are_current_on_live_nodes_that_keep_up() {
        let groups = [group(0, Some(1), 0, &[]), group(7, Some(1), 6, &[2]), group(8, Some(3), 4, &[])];
        let replicas = Replicas::of(&groups, &|node| node != NodeId(3));
        assert_eq!([1, 2, 3].map(|node| replicas.held[&NodeId(node)]), [10, 10, 10]);
        assert_eq!([1, 2, 3].map(|node| replicas.current[&NodeId(node)]), [10, 4, 0]);
        assert_eq!((replicas.led.get(&NodeId(1)), replicas.led.get(&NodeId(3))), (Some(&6), None));
        assert_eq!((replicas.groups[&GroupId(7)], replicas.groups[&GroupId(8)]), ((true, false), (false, false)));
        let all = Replicas::of(&groups[2..], &|_| true);
        assert_eq!(all.groups[&GroupId(8)], (true, true));
    }

    /// Fails if a healthy cluster has a problem, or one of the problems of a sick one is not told.
    #[test]
    fn everything_that_an_operator_should_act_on_is_a_problem() {
        let mut status = Status {
            cluster: Some("c".into()),
            node: NodeId(1),
            nodes: [1, 2, 3].map(|id| node(id, NodeState::Live)).to_vec(),
            keyspaces: vec![KeyspaceStatus {
                name: "default".into(),
                partitions: 10,
                replication: 3,
                leaders_present: 10,
                under_replicated: 0,
                moving: 0,
                require: String::new(),
                spread_by: String::new(),
                prefer_leader: String::new(),
            }],
            groups: vec![group(0, Some(1), 0, &[]), group(7, Some(1), 10, &[])],
            apps: vec![],
            ready: true,
            problems: vec![],
        };
        assert_eq!(problems(&status, None, &|_| None), []);
        status.nodes[2].state = NodeState::Down;
        status.keyspaces[0].leaders_present = 8;
        status.groups[0].leader = None;
        status.groups[1].behind = vec![NodeId(2)];
        let found = problems(&status, None, &|_| Some(Duration::from_secs(65)));
        let kinds: Vec<_> = found.iter().map(|problem| (problem.kind, problem.subject.as_str())).collect();
        let expected = [
            (ProblemKind::Unavailable, "meta"),
            (ProblemKind::Unavailable, "default"),
            (ProblemKind::NodeDown, "00000003"),
            (ProblemKind::ReplicaBehind, "00000002"),
        ];
        assert_eq!(kinds, expected);
        assert!(
            found[2].text.contains("node 00000003 at 127.0.0.1:7402 has not answered for 1 min 5 s: 10 partitions")
        );
        let unknown = problems(&status, None, &|_| None);
        assert!(unknown[2].text.contains("since node 00000001 started"), "{}", unknown[2].text);
        status.keyspaces.clear();
        let waiting = problems(&status, reason_not_ready(&Status { ready: false, ..status.clone() }, 5), &|_| None);
        assert!(waiting[0].text.contains("3 of 5 expected members"), "{waiting:?}");
    }

    #[test]
    fn durations_are_told_to_two_places() {
        let told = [0, 59, 60, 3_599, 7_860, 90_000].map(|seconds| in_words(Duration::from_secs(seconds)));
        assert_eq!(told, ["0 s", "59 s", "1 min 0 s", "59 min 59 s", "2 h 11 min", "1 d 1 h"]);
    }
}
