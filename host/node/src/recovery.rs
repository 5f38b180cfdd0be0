//! The way out of a lost quorum: `recoilctl cluster recover`.
//!
//! An operator names the nodes that are gone for good. The node that is asked surveys all others, and [`plan`] finds the groups that
//! cannot elect a leader without the lost nodes, and for each the surviving replica whose log ends last. Once the operator agrees,
//! each of these replicas is told to continue alone ([`recoil_consensus::recovery`]), the meta group's first among them, and then
//! the meta state is brought in line with that by one entry, which also removes the lost nodes and leaves their tombstones. The
//! planner does the rest: it sees partitions with too few replicas.
//!
//! What may be lost: whatever only lost replicas had. A write is acknowledged once a majority has it, so the survivor may lack the last
//! ones. A move of a partition whose release only lost replicas knew of may have left the partition with two owners: calls go to the one
//! that the meta state names.
//!
//! Refused: while a node that is named as lost answers; while a node that is not named does not; if a group would have no replica left;
//! if no group lacks its quorum, since then decommissioning loses nothing.
//!
//! Crash points. Between any two steps the operation ends, and asking for it again goes on: groups that continue have their quorum and
//! are left alone, and the entry names the voters that a new survey finds.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::future::join_all;
use recoil_base::{GroupId, NodeId};
use recoil_cluster::meta::ContinuedGroup;
use recoil_cluster::{MetaCommand, MetaState, Service};
use recoil_consensus::{LogEnd, ReplicaSurvey, continue_alone};
use recoil_gateway::api::{AdminError, RecoverReply, RecoverRequest, RecoveredGroup};
use serde::{Deserialize, Serialize};

use crate::node::Parts;

/// How long a node may take to say what it has.
const SURVEY_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a replica may take to be closed, changed and opened again.
const CONTINUE_TIMEOUT: Duration = Duration::from_secs(20);
/// How long the groups may take to have leaders again.
const SETTLE_TIMEOUT: Duration = Duration::from_secs(30);
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// What one node asks another.
#[derive(Serialize, Deserialize)]
#[serde(tag = "ask", rename_all = "kebab-case", deny_unknown_fields)]
enum Ask {
    /// What replicas do you have? Answered with [`Survey`].
    Survey,
    /// Have your replica of the group continue alone.
    Continue { group: GroupId, end: LogEnd, followers: BTreeSet<NodeId> },
}

/// The replicas that are open on a node.
#[derive(Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Survey {
    replicas: Vec<(GroupId, ReplicaSurvey)>,
}

/// What all nodes that answered have, by group.
type Surveyed = BTreeMap<GroupId, BTreeMap<NodeId, ReplicaSurvey>>;

/// A group without a quorum and the replica that is to continue.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Continuing {
    group: GroupId,
    node: NodeId,
    replica: ReplicaSurvey,
}

/// What is to be done about lost nodes.
#[derive(Debug, Default, PartialEq, Eq)]
struct Plan {
    /// What speaks against doing it.
    refusals: Vec<String>,
    continuing: Vec<Continuing>,
}

fn listed(nodes: impl IntoIterator<Item = NodeId>) -> String {
    nodes.into_iter().map(|node| node.to_string()).collect::<Vec<_>>().join(", ")
}

/// The replica of a group whose log ends last.
fn last(replicas: &BTreeMap<NodeId, ReplicaSurvey>) -> Option<(NodeId, &ReplicaSurvey)> {
    replicas.iter().map(|(node, replica)| (*node, replica)).max_by_key(|(node, replica)| (replica.end, *node))
}

/// Finds the groups that cannot go on without the lost nodes, and what speaks against giving these up. `answered` holds every node that
/// answers, this one among them.
fn plan(state: &MetaState, answered: &BTreeSet<NodeId>, surveyed: &Surveyed, lost: &BTreeSet<NodeId>) -> Plan {
    let mut plan = Plan::default();
    let mut refuse = |why: String| plan.refusals.push(why);
    if lost.is_empty() {
        refuse("no node is named as lost".into());
    }
    for node in lost {
        if answered.contains(node) {
            refuse(format!("node {node} answers: stop it first, and never start it again"));
        } else if !state.members.contains_key(node) && !state.is_removed(*node) {
            refuse(format!("there is no node {node} in the cluster"));
        }
    }
    // A member whose address another node has taken may have the log that ends last, too.
    let silent = state.members.keys().copied();
    let silent: Vec<NodeId> = silent.filter(|node| !answered.contains(node) && !lost.contains(node)).collect();
    if !silent.is_empty() {
        refuse(format!(
            "these nodes do not answer and are not named as lost: {}. Start them, or name them",
            listed(silent)
        ));
    }
    for group in state.groups_without(lost) {
        let nodes = state.groups.get(&group).map(|record| listed(record.members.iter().copied())).unwrap_or_default();
        let count = state.partition_count(group);
        refuse(format!(
            "no replica of the {count} partitions of group {group} would be left: one of the nodes {nodes} has to come back"
        ));
    }
    let in_use: BTreeSet<GroupId> =
        lost.iter().flat_map(|node| state.groups_in_use_on(*node)).map(|(id, _)| id).collect();
    for group in in_use.iter().chain([&GroupId::META]) {
        match surveyed.get(group).and_then(last) {
            Some((_, replica)) if replica.has_quorum(answered) => {}
            Some((node, replica)) => {
                plan.continuing.push(Continuing { group: *group, node, replica: replica.clone() });
            }
            None if state.groups_without(lost).contains(group) => {}
            None => {
                plan.refusals.push(format!("no replica of group {group} is open: wait until its nodes have started"))
            }
        }
    }
    let is_begun = in_use.iter().any(|group| {
        let voters = surveyed.get(group).and_then(last).map(|(_, replica)| &replica.voters);
        voters.is_some_and(|sets| sets.iter().flatten().all(|node| !lost.contains(node)))
    });
    if plan.refusals.is_empty() && plan.continuing.is_empty() && !is_begun {
        plan.refusals.push(
            "every group has its quorum without these nodes: recoilctl node decommission removes them, and loses nothing".into(),
        );
    }
    plan
}

/// The groups of which lost nodes had replicas, with the voters that they have by now.
fn continued(state: &MetaState, surveyed: &Surveyed, lost: &BTreeSet<NodeId>) -> Vec<ContinuedGroup> {
    let had = |id: &GroupId| state.groups[id].members.iter().any(|node| lost.contains(node));
    let groups = surveyed.iter().filter(|(id, _)| state.groups.contains_key(id) && had(id));
    let voters = groups.filter_map(|(group, replicas)| match last(replicas)?.1.voters.as_slice() {
        [voters] if voters.is_disjoint(lost) => {
            Some(ContinuedGroup { group: *group, members: voters.iter().copied().collect() })
        }
        _ => None,
    });
    voters.collect()
}

impl Parts {
    /// Gives up nodes that are gone for good, or says what that would mean.
    pub(crate) async fn recover_cluster(self: &Arc<Self>, request: RecoverRequest) -> Result<RecoverReply, AdminError> {
        let lost: BTreeSet<NodeId> = request.lost.into_iter().collect();
        let state = self.states.borrow().clone();
        let (answered, surveyed) = self.survey_all(&state).await;
        let plan = plan(&state, &answered, &surveyed, &lost);
        let reply = RecoverReply {
            lost: lost.iter().copied().collect(),
            dry_run: request.dry_run,
            refusals: plan.refusals.clone(),
            continued: plan.continuing.iter().map(|one| shown(&state, one)).collect(),
        };
        if request.dry_run {
            return Ok(reply);
        }
        if !plan.refusals.is_empty() {
            let text = format!("these nodes cannot be given up: {}", plan.refusals.join("; "));
            return Err(AdminError::conflict(text, "recoilctl cluster recover --dry-run shows what it would mean"));
        }
        tracing::warn!(lost = %listed(lost.iter().copied()), groups = plan.continuing.len(), "an operator gives up nodes; groups continue without a quorum");
        let voters: BTreeSet<NodeId> =
            answered.iter().copied().filter(|node| state.members.contains_key(node)).collect();
        for one in &plan.continuing {
            let mut followers = if one.group == GroupId::META { voters.clone() } else { BTreeSet::new() };
            followers.remove(&one.node);
            let ask = Ask::Continue { group: one.group, end: one.replica.end, followers };
            self.ask(one.node, &ask, CONTINUE_TIMEOUT).await.map_err(|why| {
                let text = format!("group {} does not continue on node {}: {why}", one.group, one.node);
                AdminError::unavailable(text, "repeat the command: what is done by now stays")
            })?;
        }
        self.settled(&state).await?;
        // What this node had not applied while the meta group stood still may name groups that it did not know.
        self.catch_up().await?;
        let state = self.states.borrow().clone();
        let (answered, surveyed) = self.survey_all(&state).await;
        if !self::plan(&state, &answered, &surveyed, &lost).continuing.is_empty() {
            let text = "the cluster has changed meanwhile, and other groups have no quorum";
            return Err(AdminError::unavailable(text, "repeat the command: what is done by now stays"));
        }
        let groups = continued(&state, &surveyed, &lost);
        self.change(&MetaCommand::Recover { lost, groups }).await?;
        Ok(reply)
    }

    /// Asks every member that may be there, and this node, what replicas they have.
    async fn survey_all(self: &Arc<Self>, state: &MetaState) -> (BTreeSet<NodeId>, Surveyed) {
        let nodes: BTreeSet<NodeId> = state.members.keys().copied().chain([self.node]).collect();
        let asked = nodes.iter().map(|node| async move {
            let answer = self.ask(*node, &Ask::Survey, SURVEY_TIMEOUT).await.ok()?;
            Some((*node, serde_json::from_slice::<Survey>(&answer).ok()?))
        });
        let (mut answered, mut surveyed) = (BTreeSet::new(), Surveyed::new());
        for (node, survey) in join_all(asked).await.into_iter().flatten() {
            answered.insert(node);
            for (group, replica) in survey.replicas {
                surveyed.entry(group).or_default().insert(node, replica);
            }
        }
        (answered, surveyed)
    }

    /// Returns once every group has its quorum, as far as its replicas know.
    async fn settled(self: &Arc<Self>, state: &MetaState) -> Result<(), AdminError> {
        let began = self.clock.now();
        loop {
            let (answered, surveyed) = self.survey_all(state).await;
            let has_quorum = |replicas: &BTreeMap<NodeId, ReplicaSurvey>| {
                last(replicas).is_some_and(|(_, replica)| replica.has_quorum(&answered))
            };
            let groups = || state.groups.keys().chain([&GroupId::META]);
            let waiting = groups().find(|id| surveyed.get(id).is_some_and(|replicas| !has_quorum(replicas)));
            let missing = groups().find(|id| **id == GroupId::META && !surveyed.contains_key(id));
            match waiting.or(missing) {
                None => return Ok(()),
                Some(group) if self.clock.now().saturating_duration_since(began) > SETTLE_TIMEOUT => {
                    let text = format!("group {group} has no quorum yet");
                    return Err(AdminError::unavailable(text, "repeat the command: what is done by now stays"));
                }
                Some(_) => tokio::time::sleep(LOOK_EVERY).await,
            }
        }
    }

    async fn ask(self: &Arc<Self>, node: NodeId, ask: &Ask, timeout: Duration) -> Result<Bytes, String> {
        let body: Bytes = serde_json::to_vec(ask).map_err(|error| error.to_string())?.into();
        if node == self.node {
            return serve(self, &body).await;
        }
        self.peers.request(node, Service::Recover, body, timeout).await.map_err(|error| error.to_string())
    }

    /// Has this node's replica of a group continue alone: closes it, changes its log, and opens it again.
    async fn continue_here(
        self: &Arc<Self>,
        group: GroupId,
        end: LogEnd,
        followers: &BTreeSet<NodeId>,
    ) -> Result<(), String> {
        if group == GroupId::META {
            self.close_meta().await.map_err(|error| error.to_string())?;
            let done = continue_alone(&self.context, group, end, followers).await;
            self.open_meta_again().await.map_err(|error| error.to_string())?;
            return done.map_err(|error| error.to_string());
        }
        let open = self.host.group(group).ok_or("it is not open here")?;
        // A leader that is left alone goes on as one, and cannot commit.
        if open.session().is_some_and(|session| session.lease_holds()) {
            return Err("its leader is here and is heard by a majority".into());
        }
        if !self.repairing.lock().insert(group) {
            return Err("its data are being brought back here".into());
        }
        // Nobody opens it now.
        self.host.remove_group(group);
        open.close().await;
        let done = continue_alone(&self.context, group, end, followers).await;
        self.repairing.lock().remove(&group);
        self.look_again.notify_one();
        done.map_err(|error| error.to_string())
    }
}

fn shown(state: &MetaState, one: &Continuing) -> RecoveredGroup {
    RecoveredGroup {
        group: one.group,
        node: one.node,
        voters: one.replica.voters.iter().flatten().copied().collect::<BTreeSet<_>>().into_iter().collect(),
        partitions: state.partition_count(one.group) as u32,
        last_index: one.replica.end.index,
    }
}

/// Answers what another node asks.
///
/// # Errors
/// The question cannot be read, or the replica does not continue, with the reason.
pub(crate) async fn serve(parts: &Arc<Parts>, body: &[u8]) -> Result<Bytes, String> {
    match serde_json::from_slice(body).map_err(|error| error.to_string())? {
        Ask::Survey => {
            let mut replicas = Vec::new();
            for group in parts.host.groups().into_iter().chain(parts.meta()) {
                let replica = group.survey(&parts.context).await.map_err(|error| error.to_string())?;
                replicas.push((group.id(), replica));
            }
            Ok(serde_json::to_vec(&Survey { replicas }).map_err(|error| error.to_string())?.into())
        }
        Ask::Continue { group, end, followers } => {
            tracing::warn!(%group, index = end.index, "this node's replica of the group continues alone, as an operator has asked");
            parts.continue_here(group, end, &followers).await.map(|()| Bytes::new())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::departures::tests::state;

    fn set(nodes: &[u32]) -> BTreeSet<NodeId> {
        nodes.iter().copied().map(NodeId).collect()
    }

    /// A replica whose log ends at this term and index.
    fn replica(voters: &[u32], term: u64, index: u64) -> ReplicaSurvey {
        ReplicaSurvey { voters: vec![set(voters)], end: LogEnd { term, leader: NodeId(1), index } }
    }

    fn surveyed(all: &[(u32, u32, ReplicaSurvey)]) -> Surveyed {
        let mut surveyed = Surveyed::new();
        for (group, node, replica) in all {
            surveyed.entry(GroupId(*group)).or_default().insert(NodeId(*node), replica.clone());
        }
        surveyed
    }

    const META: u32 = GroupId::META.0;

    /// Fails if a group continues from a replica that lacks what another one has, or one that has its quorum is touched.
    #[test]
    fn groups_without_a_quorum_continue_from_the_log_that_ends_last() {
        let state = state(5, &[1, 2, 3, 4, 5], 5);
        let all = surveyed(&[
            (META, 1, replica(&[1, 2, 3], 2, 9)),
            (META, 2, replica(&[1, 2, 3], 2, 9)),
            (1, 1, replica(&[1, 2, 3, 4, 5], 2, 100)),
            (1, 2, replica(&[1, 2, 3, 4, 5], 3, 50)),
        ]);
        let plan = plan(&state, &set(&[1, 2]), &all, &set(&[3, 4, 5]));
        assert_eq!(plan.refusals, Vec::<String>::new());
        let chosen: Vec<_> = plan.continuing.iter().map(|one| (one.group, one.node)).collect();
        assert_eq!(chosen, [(GroupId(1), NodeId(2))], "the meta group has two of its three voters");
    }

    /// Fails if nodes are given up that are there, or while others are missing, or without need.
    #[test]
    fn what_would_lose_more_than_it_must_is_refused() {
        let state = state(3, &[1, 2, 3], 3);
        let here = || surveyed(&[(META, 1, replica(&[1, 2, 3], 1, 9)), (1, 1, replica(&[1, 2, 3], 1, 9))]);
        let why =
            |answered: &[u32], lost: &[u32]| plan(&state, &set(answered), &here(), &set(lost)).refusals.join("; ");
        assert_eq!(why(&[1], &[2, 3]), "");
        assert!(why(&[1, 2], &[2, 3]).contains("node 00000002 answers"));
        assert!(why(&[1], &[2]).contains("not named as lost: 00000003"));
        assert!(why(&[1], &[2, 3, 9]).contains("there is no node 00000009"));
        assert!(why(&[1], &[]).contains("no node is named"));
        let without = why(&[], &[1, 2, 3]);
        assert!(without.contains("no replica of the 1 partitions of group 1"), "{without}");
        let enough = surveyed(&[(META, 1, replica(&[1, 2, 3], 1, 9)), (1, 1, replica(&[1, 2, 3], 1, 9))]);
        let needless = plan(&state, &set(&[1, 2]), &enough, &set(&[3])).refusals.join("; ");
        assert!(needless.contains("decommission"), "{needless}");
        let no_meta = surveyed(&[(1, 1, replica(&[1], 2, 9))]);
        let refused = plan(&state, &set(&[1]), &no_meta, &set(&[2, 3])).refusals.join("; ");
        assert!(refused.contains("no replica of group 0 is open"), "{refused}");
        let closed = surveyed(&[(META, 1, replica(&[1, 2, 3], 1, 9))]);
        let refused = plan(&state, &set(&[1]), &closed, &set(&[2, 3])).refusals.join("; ");
        assert!(refused.contains("no replica of group 1 is open"), "{refused}");
    }

    /// Fails if an operation that was interrupted before its last step is refused when it is repeated, or the last step names others
    /// than the voters that there are.
    #[test]
    fn an_interrupted_recovery_goes_on() {
        let state = state(3, &[1, 2, 3], 3);
        let (lost, answered) = (set(&[2, 3]), set(&[1]));
        let alone = surveyed(&[(META, 1, replica(&[1], 2, 10)), (1, 1, replica(&[1], 2, 10))]);
        let again = plan(&state, &answered, &alone, &lost);
        assert_eq!((again.refusals, again.continuing), (vec![], vec![]));
        let groups = continued(&state, &alone, &lost);
        assert_eq!(groups, [ContinuedGroup { group: GroupId(1), members: vec![NodeId(1)] }]);
        let half = surveyed(&[(META, 1, replica(&[1], 2, 10)), (1, 1, replica(&[1, 2, 3], 1, 9))]);
        assert_eq!(continued(&state, &half, &lost), []);
        assert_eq!(plan(&state, &answered, &half, &lost).continuing.len(), 1);
    }
}
