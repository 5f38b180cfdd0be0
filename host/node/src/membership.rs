//! Becoming a member, reaching the meta leader, and the meta leader's chores.
//!
//! Crash points. Founding: the meta group is initialised and `Found` proposed before the folder records the cluster; a founder that
//! crashes in between founds again, and finds that it already has. Joining: the cluster's `Join` entry comes before the
//! folder records the cluster; a joiner that crashes in between joins again under the same id. All chores look at the state
//! first and propose commands that repeat harmlessly.
//!
//! A node may join at the address of a member that has been dead for a while: the member that takes the join in has seen it silent for
//! [`DEAD_AFTER`] looks and names its start, so that one that has started again since is not displaced. One entry displaces the dead
//! member and takes the new one in. A displaced member keeps its replicas and registers again when it comes back at another address.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use recoil_base::{AppId, NodeId, random};
use recoil_cluster::meta::{AppState, Displaced, Join, LEVELS, MemberState, check_proposal};
use recoil_cluster::{MetaCommand, MetaState, Service};
use recoil_consensus::{Group, GroupNumbers, ProposeError};
use serde::{Deserialize, Serialize};

use crate::meta_machine::decode_answer;
use crate::node::{NodeError, Parts};
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
const PROPOSE_RETRY: Duration = Duration::from_millis(50);
const FORWARD_TIMEOUT: Duration = Duration::from_secs(12);
const JOIN_TIMEOUT: Duration = Duration::from_secs(20);
const JOIN_RETRY: Duration = Duration::from_millis(200);
/// How long a node looks for the cluster that it is told to join.
const JOIN_DEADLINE: Duration = Duration::from_secs(60);

const DONE: u8 = 0;
const NOT_LEADER: u8 = 1;
const UNKNOWN: u8 = 2;

/// Why a change was not made.
#[derive(Debug, Clone, thiserror::Error)]
pub(crate) enum ChangeError {
    /// The state says no.
    #[error("{0}")]
    Rejected(String),
    /// No leader of the meta group in time.
    #[error("the meta group has no leader or no quorum: {0}")]
    Unavailable(String),
}

#[derive(Serialize, Deserialize)]
struct JoinReply {
    cluster: String,
    members: Vec<(NodeId, SocketAddr)>,
}

impl Parts {
    /// Makes a change through the meta leader, wherever it is, and returns when this node's state has it, too. Repeats until
    /// answered, so commands repeat harmlessly.
    pub(crate) async fn change(&self, command: &MetaCommand) -> Result<(), ChangeError> {
        let entry = command.encode();
        check_proposal(&entry, &self.states.borrow()).map_err(ChangeError::Rejected)?;
        let deadline = self.clock.now() + PROPOSE_DEADLINE;
        loop {
            let failed = match self.propose_once(&entry).await.and_then(|answer| decode_answer(&answer)) {
                Ok((index, why)) => {
                    self.applied(index).await?;
                    return why.map_or(Ok(()), |why| Err(ChangeError::Rejected(why)));
                }
                Err(text) => text,
            };
            if self.clock.now() > deadline {
                return Err(ChangeError::Unavailable(failed));
            }
            tokio::time::sleep(PROPOSE_RETRY).await;
        }
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

    fn join_command(&self) -> MetaCommand {
        MetaCommand::Join(Box::new(Join {
            node: self.node,
            address: self.address,
            incarnation: self.start.0,
            start: self.start.1,
            version: env!("CARGO_PKG_VERSION").into(),
            port_offset: self.options.port_offset,
            levels: LEVELS,
            locality: self.options.locality.clone(),
            capacity: self.options.capacity,
            displaces: None,
        }))
    }
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
        && parts.peers.is_live(node)
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
    // A member that starts again registers by itself; nobody else may speak for one that runs.
    let known = state.members.get(&node).map(|member| (member.incarnation, member.start));
    if known.is_some_and(|known| known != (join.incarnation, join.start)) && parts.peers.is_live(node) {
        return Err(format!(
            "node {node} is a member of this cluster and has answered lately: retry once it has stopped"
        ));
    }
    join.displaces = displaced(parts, &state, node, address)?;
    parts.change(&MetaCommand::Join(join)).await.map_err(|error| error.to_string())?;
    parts.peers.know(node, address);
    let members = parts.states.borrow().members.iter().map(|(node, member)| (*node, member.address)).collect();
    Ok(serde_json::to_vec(&JoinReply { cluster, members }).map_err(|error| error.to_string())?.into())
}

/// The member whose address another node wants, once it has been dead for a while.
fn displaced(parts: &Parts, state: &MetaState, node: NodeId, address: SocketAddr) -> Result<Option<Displaced>, String> {
    let Some((other, member)) = state.member_at(address, node) else { return Ok(None) };
    let silent = parts.silence.of(*other);
    if parts.peers.is_live(*other) {
        return Err(format!(
            "node {other} of this cluster already listens on {address}; start this node on another address"
        ));
    }
    if silent < DEAD_AFTER {
        return Err(format!(
            "node {other} of this cluster listens on {address} and has not answered for {silent} s; its address is free after {DEAD_AFTER} s: \
             retry"
        ));
    }
    Ok(Some(Displaced { node: *other, incarnation: member.incarnation, start: member.start }))
}

/// Finds the node's cluster: the one in its folder, the one it is told to join, or a new one. Answers whether it is new.
pub(crate) async fn find_cluster(parts: &Arc<Parts>) -> Result<bool, NodeError> {
    if let Some(cluster) = parts.folder.cluster_id() {
        parts.peers.set_cluster(hex(&cluster));
        return Ok(false);
    }
    match parts.options.join {
        Some(address) => join(parts, address).await.map(|()| false),
        None => found(parts).await.map(|()| true),
    }
}

async fn found(parts: &Arc<Parts>) -> Result<(), NodeError> {
    let meta = parts.meta().ok_or_else(|| NodeError::Cluster("the meta group did not open".into()))?;
    meta.initialize(BTreeSet::from([parts.node])).await.map_err(NodeError::Cluster)?;
    let command = MetaCommand::Found {
        cluster: hex(&random::array::<16>()),
        expect: parts.options.expect,
        partitions: parts.options.partitions,
        replication: parts.options.replication,
    };
    for command in [command, parts.join_command()] {
        parts.change(&command).await.map_err(|error| NodeError::Cluster(error.to_string()))?;
    }
    let cluster = parts.states.borrow().header.cluster.clone();
    record_cluster(parts, &cluster).await
}

async fn join(parts: &Arc<Parts>, address: SocketAddr) -> Result<(), NodeError> {
    let body = parts.join_command().encode();
    let deadline = parts.clock.now() + JOIN_DEADLINE;
    let reply: JoinReply = loop {
        let failed = match parts.peers.ask(address, Service::Join, body.clone(), JOIN_TIMEOUT).await {
            Ok((_, Ok(answer))) => match serde_json::from_slice(&answer) {
                Ok(reply) => break reply,
                Err(error) => error.to_string(),
            },
            Ok((_, Err(text))) if !text.contains("retry") && !text.contains("no leader") => {
                return Err(NodeError::Cluster(format!("the cluster at {address} does not take this node: {text}")));
            }
            Ok((_, Err(text))) => text,
            Err(error) => error.to_string(),
        };
        if parts.clock.now() > deadline {
            return Err(NodeError::Cluster(format!(
                "cannot join the cluster at {address}: {failed}. Is a node listening there?"
            )));
        }
        tokio::time::sleep(JOIN_RETRY).await;
    };
    record_cluster(parts, &reply.cluster).await?;
    for (node, address) in reply.members {
        parts.peers.know(node, address);
    }
    Ok(())
}

async fn record_cluster(parts: &Arc<Parts>, cluster: &str) -> Result<(), NodeError> {
    let id = unhex(cluster).ok_or_else(|| NodeError::Cluster(format!("'{cluster}' is not a cluster id")))?;
    let folder = parts.folder.clone();
    let recorded = recoil_base::task::spawn_blocking(move || folder.set_cluster(id)).await;
    recorded
        .map_err(|error| NodeError::Cluster(error.to_string()))?
        .map_err(|error| NodeError::Folder(error.to_string()))?;
    parts.peers.set_cluster(cluster.to_owned());
    Ok(())
}

fn hex(id: &[u8; 16]) -> String {
    id.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Option<[u8; 16]> {
    let number = u128::from_str_radix(text, 16).ok()?;
    (text.len() == 32).then_some(number.to_be_bytes())
}

/// Tells the cluster of this start: where the node listens now, how often it has been started, what it runs.
pub(crate) async fn register(parts: &Parts) -> Result<(), String> {
    loop {
        match parts.change(&parts.join_command()).await {
            Ok(()) => return Ok(()),
            Err(ChangeError::Rejected(text)) => return Err(text),
            Err(ChangeError::Unavailable(_)) => {}
        }
    }
}

/// What the meta leader does beside answering: admitting members to the meta group, choosing who votes in it, making the map, switching apps
/// on. Every node counts how long the others have been silent.
pub(crate) async fn run_chores(parts: Arc<Parts>, mut scheduler: Option<Scheduler>) {
    let mut looked = parts.clock.now();
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
            continue;
        }
        look_after_members(&parts, &meta, &numbers, &state).await;
        for command in due(&parts, &numbers, &state, scheduler.as_ref()).await {
            if let Err(error) = parts.change(&command).await {
                tracing::warn!(%error, "a change that is due could not be made; it is tried again");
            }
        }
    }
}

/// Makes one change of the meta group's members, if one is due.
async fn look_after_members(parts: &Parts, meta: &Group, numbers: &GroupNumbers, state: &MetaState) {
    let is_live = |node: NodeId| parts.peers.is_live(node);
    let voters: BTreeSet<NodeId> = numbers.voters.iter().copied().collect();
    let is_follower = |node: &NodeId| voters.contains(node) || numbers.learners.contains(node);
    let newcomer = state.active_members().map(|(node, _)| *node).find(|node| !is_follower(node));
    let changed = if let Some(node) = newcomer {
        meta.add_learner(node).await
    } else {
        let is_active = |node: &NodeId| state.members.get(node).is_some_and(|m| m.state == MemberState::Active);
        let keeps_up = |node: &NodeId| meta.lag_of(*node).is_some_and(|lag| lag <= CANDIDATE_LAG_MAX);
        let candidates = numbers.learners.iter().copied();
        let candidates = candidates.filter(|node| is_active(node) && is_live(*node) && keeps_up(node)).collect();
        let next = voters::next_voters(&Electorate {
            leader: parts.node,
            voters: &voters,
            candidates: &candidates,
            is_live: &is_live,
            is_dead: &|node| parts.silence.of(node) >= VOTER_DEAD_AFTER || !is_active(&node),
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
    // A node that died before the map was made would hold it up for ever.
    let are_gone = silent.iter().all(|node| parts.silence.of(*node) >= DEAD_AFTER);
    if state.keyspaces.is_empty() && live.len() >= state.header.expect as usize && are_gone {
        let map = scheduler::make_map(parts, state, &live, scheduler).await;
        due.push(MetaCommand::MakeMap { sets: map.sets, partitions: map.partitions });
    }
    for app in state.apps.values().filter(|app| app.state == AppState::Installing) {
        let is_ready = |node: &NodeId| state.readiness_on(app, *node).is_some_and(|report| report.error.is_none());
        if may_serve(&live, &numbers.voters, is_ready) {
            due.push(MetaCommand::Serve { app: app.id, install: app.install });
        }
    }
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
