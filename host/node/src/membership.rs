//! Taking members in, reaching the meta leader, and the meta leader's chores.
//!
//! All chores look at the state first and propose commands that repeat harmlessly.
//!
//! A node may join at the address of a member that has been dead for a while: the member that takes the join in has seen it silent for
//! [`DEAD_AFTER`] looks and names its start, so that one that has started again since is not displaced. One entry displaces the dead
//! member and takes the new one in. A displaced member keeps its replicas and registers again when it comes back at another address.
//! A member that comes back at the address of another one displaces it in the same way, and at once if that one answers elsewhere
//! by now: all members may have changed places.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use recoil_base::{AppId, NodeId};
use recoil_cluster::meta::{AppState, ClusterChange, Displaced, Join, MemberState, Refusal, check_proposal};
use recoil_cluster::peers::LIVE_FOR;
use recoil_cluster::{MetaCommand, MetaState, Service};
use recoil_consensus::{Group, GroupNumbers, ProposeError};
use serde::{Deserialize, Serialize};

use crate::balance::Balancer;
use crate::departures;
use crate::meta_machine::decode_answer;
use crate::node::Parts;
use crate::scheduler::{self, Scheduler};
use crate::voters::{self, Electorate};

const CHORES_EVERY: Duration = Duration::from_millis(100);
/// Between two looks at who answers.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Looks at which a member must have been silent before another may join at its address, or the map is made without it.
const DEAD_AFTER: u32 = 10;
/// Looks at which a voter must have been silent before it is replaced.
const VOTER_DEAD_AFTER: u32 = 30;
/// Entries that a member may lack and yet be given a vote: until it has them, the change may hold up the group.
const CANDIDATE_LAG_MAX: u64 = 100;
const PROPOSE_DEADLINE: Duration = Duration::from_secs(15);
/// How long a change waits while too few voters answer: others may just be starting.
const QUORUM_PATIENCE: Duration = Duration::from_secs(4);
const PROPOSE_RETRY: Duration = Duration::from_millis(50);
const FORWARD_TIMEOUT: Duration = Duration::from_secs(12);
/// Between two attempts to register at an address that another member is said to have.
const REGISTER_RETRY: Duration = Duration::from_millis(500);
/// Attempts that the state may contradict before it is believed: it changes with other members' registrations.
const REGISTER_ATTEMPTS: u32 = 20;

const DONE: u8 = 0;
const NOT_LEADER: u8 = 1;
const UNKNOWN: u8 = 2;

/// How the refusal of a node begins that has drawn the id of another one.
pub(crate) const ID_TAKEN: &str = "the id is taken";

/// Why a change was not made.
#[derive(Debug, Clone, thiserror::Error)]
pub(crate) enum ChangeError {
    /// The state says no.
    #[error("{0}")]
    Rejected(Refusal),
    /// No leader of the meta group in time.
    #[error("the meta group has no leader or no quorum: {0}")]
    Unavailable(String),
}

/// The answer to a node that has been taken in.
#[derive(Serialize, Deserialize)]
pub(crate) struct JoinReply {
    /// The cluster's id.
    pub(crate) cluster: String,
    /// Where its members are.
    pub(crate) members: Vec<(NodeId, SocketAddr)>,
}

impl Parts {
    /// Makes a change through the meta leader, wherever it is, and returns when this node's state has it, too. Repeats until
    /// answered, so commands repeat harmlessly.
    pub(crate) async fn change(&self, command: &MetaCommand) -> Result<(), ChangeError> {
        let entry = command.encode();
        let allowed = check_proposal(&entry, &self.states.borrow());
        allowed.map_err(|why| ChangeError::Rejected(Refusal::invalid(why)))?;
        let began = self.clock.now();
        loop {
            let (failed, patience) = match self.lacks_quorum() {
                Some(why) => (why, QUORUM_PATIENCE),
                None => match self.propose_once(&entry).await.and_then(|answer| decode_answer(&answer)) {
                    Ok((index, reply)) => {
                        self.applied(index).await?;
                        return reply.map_err(ChangeError::Rejected);
                    }
                    Err(text) => (text, PROPOSE_DEADLINE),
                },
            };
            if self.clock.now().saturating_duration_since(began) > patience {
                return Err(ChangeError::Unavailable(failed));
            }
            tokio::time::sleep(PROPOSE_RETRY).await;
        }
    }

    /// Why nothing can be proposed now, if that is plain: too few voters answer, and no leader that might reach more of them.
    fn lacks_quorum(&self) -> Option<String> {
        let numbers = self.meta()?.numbers();
        if numbers.leader.is_some_and(|leader| leader != self.node && self.peers.is_live(leader)) {
            return None;
        }
        quorum_text(&numbers.voters, |node| self.peers.is_live(node))
    }

    /// Returns when this node knows everything that the cluster agreed on before this was called: by an entry that changes nothing.
    pub(crate) async fn catch_up(&self) -> Result<(), ChangeError> {
        match self.change(&MetaCommand::Serve { app: AppId(0), install: 0 }).await {
            Ok(()) | Err(ChangeError::Rejected(_)) => Ok(()),
            Err(error @ ChangeError::Unavailable(_)) => Err(error),
        }
    }

    /// Returns when this node has applied the entry at `index` of the meta group.
    async fn applied(&self, index: u64) -> Result<(), ChangeError> {
        let mut states = self.states.clone();
        let applied = states.wait_for(|state| state.header.index >= index);
        match tokio::time::timeout(PROPOSE_DEADLINE, applied).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(_)) => Err(ChangeError::Unavailable("the node is stopping".into())),
            Err(_) => Err(ChangeError::Unavailable("the change is made, but this node has not followed yet".into())),
        }
    }

    async fn propose_once(&self, entry: &Bytes) -> Result<Bytes, String> {
        let meta = self.meta().ok_or("the meta group is not open yet")?;
        let leader = match propose_here(self, &meta, entry.clone()).await {
            Ok(reply) => return Ok(reply),
            Err(Refused::Group(ProposeError::NotLeader(leader))) => leader.ok_or("it has no leader now")?,
            Err(error) => return Err(error.to_string()),
        };
        let answer = self.peers.request(leader, Service::Propose, entry.clone(), FORWARD_TIMEOUT).await;
        let mut answer = answer.map_err(|error| error.to_string())?;
        if answer.is_empty() {
            return Err("an empty answer".into());
        }
        let text = answer.split_off(1);
        match answer[0] {
            DONE => Ok(text),
            _ => Err(String::from_utf8_lossy(&text).into_owned()),
        }
    }

    /// What says where this start of the node is.
    pub(crate) fn join_command(&self) -> MetaCommand {
        self.join_displacing(None)
    }

    fn join_displacing(&self, displaces: Option<Displaced>) -> MetaCommand {
        MetaCommand::Join(Box::new(Join {
            node: self.node,
            address: self.address(),
            incarnation: self.start.0,
            start: self.start.1,
            version: env!("CARGO_PKG_VERSION").into(),
            port_offset: self.options.port_offset,
            levels: self.options.compatibility.levels,
            locality: self.options.locality.clone(),
            capacity: self.options.capacity,
            displaces,
        }))
    }
}

/// What is wrong if fewer than a majority of the voters are live.
fn quorum_text(voters: &[NodeId], is_live: impl Fn(NodeId) -> bool) -> Option<String> {
    let (live, silent): (Vec<NodeId>, Vec<NodeId>) = voters.iter().partition(|node| is_live(**node));
    let (all, needed) = (voters.len(), voters.len() / 2 + 1);
    if voters.is_empty() || live.len() >= needed {
        return None;
    }
    let silent: Vec<String> = silent.iter().map(ToString::to_string).collect();
    let (live, silent) = (live.len(), silent.join(", "));
    Some(format!("{live} of the {all} voters answer, and {needed} must: start the others again ({silent})"))
}

/// Why an entry was not answered.
#[derive(Debug, thiserror::Error)]
enum Refused {
    #[error(transparent)]
    Group(ProposeError),
    /// It must not get into the log.
    #[error("{0}")]
    Entry(String),
}

/// Proposes an entry if this node leads, and if every member can read it: an entry that some cannot read would end them.
async fn propose_here(parts: &Parts, meta: &Group, entry: Bytes) -> Result<Bytes, Refused> {
    let checked = check_proposal(&entry, &parts.states.borrow());
    checked.map_err(Refused::Entry)?;
    // Whoever took the join in may not reach a member that others reach.
    if let Ok(MetaCommand::Join(join)) = MetaCommand::decode(&entry)
        && let Some(Displaced { node, .. }) = join.displaces
        && answers_at(parts, node, join.address)
    {
        return Err(Refused::Entry(format!(
            "node {node} has answered lately and keeps its address: use another one, or retry"
        )));
    }
    meta.propose(entry).await.map_err(Refused::Group)
}

/// Proposes what another node forwarded, if this one leads.
pub(crate) async fn serve_propose(parts: &Parts, entry: Bytes) -> Bytes {
    let Some(meta) = parts.meta() else { return tagged(UNKNOWN, b"the meta group is not open yet") };
    match propose_here(parts, &meta, entry).await {
        Ok(reply) => tagged(DONE, &reply),
        Err(error @ Refused::Group(ProposeError::NotLeader(_))) => tagged(NOT_LEADER, error.to_string().as_bytes()),
        Err(error) => tagged(UNKNOWN, error.to_string().as_bytes()),
    }
}

fn tagged(tag: u8, text: &[u8]) -> Bytes {
    [&[tag], text].concat().into()
}

/// Takes in a node that asks to join.
pub(crate) async fn serve_join(parts: &Parts, body: &[u8]) -> Result<Bytes, String> {
    let command = MetaCommand::decode(body).map_err(|why| format!("a join that cannot be read: {why}"))?;
    let MetaCommand::Join(mut join) = command else {
        return Err("only a join may be asked for here".into());
    };
    let state = parts.states.borrow().clone();
    let cluster = state.header.cluster.clone();
    if cluster.is_empty() {
        return Err("this node has not found its own cluster yet; retry".into());
    }
    let (node, address) = (join.node, join.address);
    if address.ip().is_unspecified() || address.port() == 0 {
        return Err(format!(
            "{address} is no address that other nodes can dial: start node {node} with --advertise HOST:PORT, the \
             address by which they reach it"
        ));
    }
    check_id(parts, &state, &join).await?;
    let mut held = displaced(parts, &state, node, address);
    if matches!(held, Err(Held::Present { .. })) {
        // One that has just stopped counts as live for so long, and is replaced by a node that starts at once.
        tokio::time::sleep(LIVE_FOR).await;
        let state = parts.states.borrow().clone();
        held = displaced(parts, &state, node, address);
    }
    join.displaces = held.map_err(|held| held.to_string())?;
    parts.change(&MetaCommand::Join(join.clone())).await.map_err(|error| error.to_string())?;
    parts.peers.know(node, address, (join.incarnation, join.start));
    let members = parts.states.borrow().members.iter().map(|(node, member)| (*node, member.address)).collect();
    Ok(serde_json::to_vec(&JoinReply { cluster, members }).map_err(|error| error.to_string())?.into())
}

/// Whether the id of a node that joins is its own. Ids are random numbers that each node draws for itself; one that has crashed while it
/// joined comes again under the same id.
async fn check_id(parts: &Parts, state: &MetaState, join: &Join) -> Result<(), String> {
    let node = join.node;
    if state.is_removed(node) {
        return Err(format!("{ID_TAKEN}: node {node} was removed from the cluster"));
    }
    let Some(member) = state.members.get(&node) else { return Ok(()) };
    if (member.incarnation, member.start) == (join.incarnation, join.start) {
        return Ok(()); // a repetition
    }
    // A member that starts again registers by itself; nobody else may speak for one that runs, or that holds anything.
    if parts.peers.is_live(node) {
        tokio::time::sleep(LIVE_FOR).await;
    }
    if parts.peers.is_live(node) {
        return Err(format!("{ID_TAKEN}: node {node} is a member of this cluster and answers"));
    }
    if state.groups_in_use_on(node).next().is_some() {
        return Err(format!("{ID_TAKEN}: node {node} is a member of this cluster and holds partitions"));
    }
    Ok(())
}

/// Why a node does not get the address of another one.
#[derive(Debug, thiserror::Error)]
enum Held {
    /// That one answers there.
    #[error("node {node} of this cluster already listens on {address}; start this node on another address")]
    Present {
        /// Who has it.
        node: NodeId,
        /// The address.
        address: SocketAddr,
    },
    /// That one has been silent, but not for long.
    #[error(
        "node {node} of this cluster listens on {address} and has not answered for {silent} s; its address is free \
         after {DEAD_AFTER} s: retry"
    )]
    Silent {
        /// Who has it.
        node: NodeId,
        /// The address.
        address: SocketAddr,
        /// Looks at which it was silent.
        silent: u32,
    },
}

/// True if a member answers, and at this address as far as is known.
fn answers_at(parts: &Parts, node: NodeId, address: SocketAddr) -> bool {
    parts.peers.is_live(node) && parts.peers.address_of(node).is_none_or(|at| at == address)
}

/// The member whose address another node wants, once it has been dead for a while, or answers elsewhere.
fn displaced(parts: &Parts, state: &MetaState, node: NodeId, address: SocketAddr) -> Result<Option<Displaced>, Held> {
    let Some((other, member)) = state.member_at(address, node) else { return Ok(None) };
    let (node, silent) = (*other, parts.silence.of(*other));
    if answers_at(parts, node, address) {
        return Err(Held::Present { node, address });
    }
    if !parts.peers.is_live(node) && silent < DEAD_AFTER {
        return Err(Held::Silent { node, address, silent });
    }
    Ok(Some(Displaced { node, incarnation: member.incarnation, start: member.start }))
}

/// Tells the cluster of this start: where the node listens now, how often it has been started, what it runs.
pub(crate) async fn register(parts: &Parts) -> Result<(), String> {
    let mut refused = 0;
    loop {
        let state = parts.states.borrow().clone();
        let displaces = match displaced(parts, &state, parts.node, parts.address()) {
            Ok(displaces) => displaces,
            Err(held @ Held::Silent { .. }) => {
                tracing::debug!(%held, "registering waits");
                tokio::time::sleep(REGISTER_RETRY).await;
                continue;
            }
            // The one that is said to have the address may have been registered elsewhere since.
            Err(held @ Held::Present { .. }) if refused < REGISTER_ATTEMPTS => {
                refused += 1;
                tracing::debug!(%held, "registering is tried again");
                tokio::time::sleep(REGISTER_RETRY).await;
                continue;
            }
            Err(held) => return Err(held.to_string()),
        };
        match parts.change(&parts.join_displacing(displaces)).await {
            Ok(()) => return Ok(()),
            // Most often the address is held by a node that is about to be registered elsewhere: the leader's state and this node's
            // may differ in that, so that this node's does not say which refusals will last.
            Err(ChangeError::Rejected(refusal)) => {
                if refused >= REGISTER_ATTEMPTS {
                    return Err(refusal.message);
                }
                refused += 1;
                tracing::debug!(%refusal, "registering is tried again");
                tokio::time::sleep(REGISTER_RETRY).await;
            }
            Err(ChangeError::Unavailable(_)) => {}
        }
    }
}

/// What the meta leader does beside answering: admitting members to the meta group, choosing who votes in it, making the map, switching apps
/// on. Every node counts how long the others have been silent.
pub(crate) async fn run_chores(parts: Arc<Parts>, mut scheduler: Option<Scheduler>) {
    let (mut looked, mut balancer) = (parts.clock.now(), Balancer::default());
    loop {
        tokio::time::sleep(CHORES_EVERY).await;
        let Some(meta) = parts.meta() else { continue };
        let state = parts.states.borrow().clone();
        if parts.clock.now().saturating_duration_since(looked) >= LOOK_EVERY {
            looked = parts.clock.now();
            parts.silence.look(state.members.keys(), |node| parts.peers.is_live(node));
        }
        // Its code is of no more use.
        scheduler.take_if(|_| !state.keyspaces.is_empty());
        let numbers = meta.numbers();
        if numbers.leader != Some(parts.node) || state.header.cluster.is_empty() {
            balancer = Balancer::default();
            continue;
        }
        if departures::hand_meta_over(&parts, &meta, &numbers, &state).await {
            continue;
        }
        if !departures::end_membership(&parts, &meta, &numbers, &state).await {
            look_after_members(&parts, &meta, &numbers, &state).await;
        }
        for command in due(&parts, &numbers, &state, scheduler.as_ref()).await {
            if let Err(error) = parts.change(&command).await {
                tracing::warn!(%error, "a change that is due could not be made; it is tried again");
            }
        }
        balancer.look(&parts).await;
    }
}

/// Makes one change of the meta group's members, if one is due.
async fn look_after_members(parts: &Parts, meta: &Group, numbers: &GroupNumbers, state: &MetaState) {
    let is_live = |node: NodeId| parts.peers.is_live(node);
    let voters: BTreeSet<NodeId> = numbers.voters.iter().copied().collect();
    let is_follower = |node: &NodeId| voters.contains(node) || numbers.learners.contains(node);
    let newcomer = state.present_members().map(|(node, _)| *node).find(|node| !is_follower(node));
    let changed = if let Some(node) = newcomer {
        meta.add_learner(node).await
    } else {
        let state_of = |node: NodeId| state.members.get(&node).map(|member| member.state);
        let keeps_up = |node: &NodeId| meta.lag_of(*node).is_some_and(|lag| lag <= CANDIDATE_LAG_MAX);
        let candidates = numbers.learners.iter().copied();
        let candidates = candidates.filter(|node| state.is_active(*node) && is_live(*node) && keeps_up(node)).collect();
        let next = voters::next_voters(&Electorate {
            leader: parts.node,
            voters: &voters,
            candidates: &candidates,
            is_live: &is_live,
            is_dead: &|node| {
                let is_gone = matches!(state_of(node), None | Some(MemberState::Displaced));
                is_gone || parts.silence.of(node) >= VOTER_DEAD_AFTER
            },
            is_leaving: &|node| state.is_leaving(node),
            is_going: &|node| state_of(node) == Some(MemberState::Decommissioning),
        });
        match next {
            Some(next) => {
                tracing::info!(?voters, ?next, "the voters of the meta group change");
                meta.set_voters(next).await
            }
            // A leader was lost in the middle of a change.
            None if numbers.is_joint => meta.set_voters(voters).await,
            None => return,
        }
    };
    if let Err(error) = changed {
        tracing::debug!(%error, "the meta group's members did not change; it is tried again");
    }
}

/// The changes that the state, and what the leader observes, ask for.
async fn due(
    parts: &Parts,
    numbers: &GroupNumbers,
    state: &MetaState,
    scheduler: Option<&Scheduler>,
) -> Vec<MetaCommand> {
    let mut due = Vec::new();
    let is_live = |node: &NodeId| parts.peers.is_live(*node);
    let (live, silent): (Vec<NodeId>, Vec<NodeId>) =
        state.active_members().map(|(node, _)| *node).partition(|node| is_live(node));
    // One that is drained may still lead partitions.
    let present: Vec<NodeId> = state.present_members().map(|(node, _)| *node).filter(is_live).collect();
    // A node that died before the map was made would hold it up for ever.
    let are_gone = silent.iter().all(|node| parts.silence.of(*node) >= DEAD_AFTER);
    if state.keyspaces.is_empty() && live.len() >= state.header.expect as usize && are_gone {
        let (map, is_scheduled) = scheduler::make_map(parts, state, &live, scheduler).await;
        if is_scheduled {
            // Evening loads out would undo what the package wants.
            due.push(MetaCommand::SetCluster(ClusterChange { balances: Some(false), ..ClusterChange::default() }));
        }
        due.push(MetaCommand::MakeMap { sets: map.sets, partitions: map.partitions });
    }
    for app in state.apps.values().filter(|app| app.state == AppState::Installing) {
        let is_ready = |node: &NodeId| state.readiness_on(app, *node).is_some_and(|report| report.error.is_none());
        let allowed = |node: &&NodeId| state.may_hold(app.keyspace, **node);
        let on: Vec<NodeId> = present.iter().filter(allowed).copied().collect();
        // The meta group's voters may be elsewhere: then a majority of the nodes that it runs on keeps the package.
        let is_fenced = state.members.keys().any(|node| !state.may_hold(app.keyspace, *node));
        let keepers = match is_fenced {
            true => state.members.keys().filter(allowed).copied().collect(),
            false => numbers.voters.clone(),
        };
        if may_serve(&on, &keepers, is_ready) {
            due.push(MetaCommand::Serve { app: app.id, install: app.install });
        }
    }
    due.extend(departures::removable(numbers, state));
    due
}

/// Whether an installation is complete: every live node has the app ready, and a quorum of the meta group's voters holds the package, as each
/// node does that has the app ready. With less, a failure that the cluster survives could take the package's bytes with it.
fn may_serve(live: &[NodeId], voters: &[NodeId], is_ready: impl Fn(&NodeId) -> bool) -> bool {
    let holding = voters.iter().filter(|node| is_ready(node)).count();
    live.iter().all(&is_ready) && 2 * holding > voters.len()
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// What a node that is not there would ask.
    pub(crate) fn join_command(parts: &Parts, node: NodeId, address: SocketAddr) -> Bytes {
        let MetaCommand::Join(join) = parts.join_command() else { unreachable!("it is a join") };
        MetaCommand::Join(Box::new(Join { node, address, ..*join })).encode()
    }

    /// Fails if an operator waits for a quorum that is plainly not there, or is not told whom to start.
    #[test]
    fn a_lost_quorum_is_named_with_the_voters_that_are_silent() {
        let voters = |nodes: &[u32]| nodes.iter().copied().map(NodeId).collect::<Vec<_>>();
        let text = |all: &[u32], live: &[u32]| quorum_text(&voters(all), |node| live.contains(&node.0));
        assert_eq!((text(&[], &[]), text(&[1], &[1]), text(&[1, 2, 3], &[1, 3])), (None, None, None));
        let lost = text(&[1, 2, 3], &[1]).unwrap();
        assert!(
            lost.starts_with("1 of the 3 voters answer, and 2 must") && lost.ends_with("(00000002, 00000003)"),
            "{lost}"
        );
        assert!(text(&[1, 2, 3, 4], &[1, 2]).is_some() && text(&[1], &[]).is_some());
    }

    /// Fails without the quorum: with most voters taken for dead, one node's copy of a package would be enough.
    #[test]
    fn an_installation_waits_for_every_live_node_and_a_quorum_of_voters() {
        let may = |live: &[u32], voters: &[u32], ready: &[u32]| {
            let nodes = |nodes: &[u32]| nodes.iter().copied().map(NodeId).collect::<Vec<_>>();
            may_serve(&nodes(live), &nodes(voters), |node| ready.contains(&node.0))
        };
        assert!(may(&[1, 2, 3, 4], &[1, 2, 3], &[1, 2, 3, 4]));
        assert!(!may(&[1, 2, 3, 4], &[1, 2, 3], &[1, 2, 3]), "a live node is not ready");
        assert!(may(&[1, 2], &[1, 2, 3], &[1, 2]), "one of three is away");
        assert!(!may(&[1], &[1, 2, 3], &[1]), "two of three are, or seem to be");
        assert!(!may(&[1, 4, 5], &[1, 2, 3], &[1, 4, 5]), "those that have it are no quorum");
        assert!(may(&[1], &[1], &[1]));
    }
}
