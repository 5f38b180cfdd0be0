//! Becoming a member, reaching the meta leader, and the meta leader's chores.
//!
//! Crash points. Founding: the meta group is initialised and `Found` proposed before the folder records the cluster; a founder that
//! crashes in between founds again, and finds that it already has. Joining: the cluster's `Join` entry comes before the
//! folder records the cluster; a joiner that crashes in between joins again under the same id. All chores look at the state
//! first and propose commands that repeat harmlessly.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use recoil_base::{AppId, NodeId, random};
use recoil_cluster::meta::AppState;
use recoil_cluster::{MetaCommand, MetaState, Service};
use recoil_consensus::ProposeError;
use serde::{Deserialize, Serialize};

use crate::meta_machine::decode_answer;
use crate::node::{NodeError, Parts};
use crate::scheduler::{self, Scheduler};

/// Voters of the meta group; further members follow without a vote.
const META_VOTERS_MAX: usize = 5;
const CHORES_EVERY: Duration = Duration::from_millis(100);
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
    pub(crate) async fn change(&self, command: &MetaCommand, attachment: &[u8]) -> Result<(), ChangeError> {
        let entry = command.encode(attachment);
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
        match self.change(&MetaCommand::Serve { app: AppId(0), install: 0 }, &[]).await {
            Ok(()) | Err(ChangeError::Rejected(_)) => Ok(()),
            Err(error @ ChangeError::Unavailable(_)) => Err(error),
        }
    }

    /// Returns when this node has applied the entry at `index` of the meta group.
    async fn applied(&self, index: u64) -> Result<(), ChangeError> {
        let mut states = self.states.clone();
        let applied = states.wait_for(|state| state.index >= index);
        match tokio::time::timeout(PROPOSE_DEADLINE, applied).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(_)) => Err(ChangeError::Unavailable("the node is stopping".into())),
            Err(_) => Err(ChangeError::Unavailable("the change is made, but this node has not followed yet".into())),
        }
    }

    async fn propose_once(&self, entry: &Bytes) -> Result<Bytes, String> {
        let meta = self.meta().ok_or("the meta group is not open yet")?;
        let leader = match meta.propose(entry.clone()).await {
            Ok(reply) => return Ok(reply),
            Err(ProposeError::NotLeader(leader)) => leader.ok_or("it has no leader now")?,
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
        MetaCommand::Join {
            node: self.node,
            address: self.address,
            incarnation: self.start.0,
            start: self.start.1,
            version: env!("CARGO_PKG_VERSION").into(),
            port_offset: self.options.port_offset,
        }
    }
}

/// Proposes what another node forwarded, if this one leads.
pub(crate) async fn serve_propose(parts: &Parts, entry: Bytes) -> Bytes {
    let Some(meta) = parts.meta() else { return tagged(UNKNOWN, b"the meta group is not open yet") };
    match meta.propose(entry).await {
        Ok(reply) => tagged(DONE, &reply),
        Err(error @ ProposeError::NotLeader(_)) => tagged(NOT_LEADER, error.to_string().as_bytes()),
        Err(error) => tagged(UNKNOWN, error.to_string().as_bytes()),
    }
}

fn tagged(tag: u8, text: &[u8]) -> Bytes {
    [&[tag], text].concat().into()
}

/// Takes in a node that asks to join.
pub(crate) async fn serve_join(parts: &Parts, body: &[u8]) -> Result<Bytes, String> {
    let command: MetaCommand =
        serde_json::from_slice(body).map_err(|error| format!("a join that cannot be read: {error}"))?;
    let MetaCommand::Join { node, address, .. } = &command else {
        return Err("only a join may be asked for here".into());
    };
    let cluster = parts.states.borrow().cluster.clone();
    if cluster.is_empty() {
        return Err("this node has not found its own cluster yet; retry".into());
    }
    parts.change(&command, &[]).await.map_err(|error| error.to_string())?;
    parts.peers.know(*node, *address);
    let members = parts.states.borrow().members.iter().map(|(node, member)| (*node, member.address)).collect();
    Ok(serde_json::to_vec(&JoinReply { cluster, members }).map_err(|error| error.to_string())?.into())
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
        parts.change(&command, &[]).await.map_err(|error| NodeError::Cluster(error.to_string()))?;
    }
    let cluster = parts.states.borrow().cluster.clone();
    record_cluster(parts, &cluster).await
}

async fn join(parts: &Arc<Parts>, address: SocketAddr) -> Result<(), NodeError> {
    let body =
        Bytes::from(serde_json::to_vec(&parts.join_command()).map_err(|error| NodeError::Cluster(error.to_string()))?);
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
        match parts.change(&parts.join_command(), &[]).await {
            Ok(()) => return Ok(()),
            Err(ChangeError::Rejected(text)) => return Err(text),
            Err(ChangeError::Unavailable(_)) => {}
        }
    }
}

/// What the meta leader does beside answering: admitting members to the meta group, making the map, switching apps on.
pub(crate) async fn run_chores(parts: Arc<Parts>, mut scheduler: Option<Scheduler>) {
    loop {
        tokio::time::sleep(CHORES_EVERY).await;
        let Some(meta) = parts.meta() else { continue };
        let numbers = meta.numbers();
        let state = parts.states.borrow().clone();
        // Its code is of no more use.
        scheduler.take_if(|_| !state.keyspaces.is_empty());
        if numbers.leader != Some(parts.node) || state.cluster.is_empty() {
            continue;
        }
        for node in state.members.keys() {
            let voter = numbers.voters.contains(node);
            let learner = numbers.learners.contains(node);
            let changed = if !voter && !learner {
                meta.add_learner(*node).await
            } else if learner && numbers.voters.len() < META_VOTERS_MAX && parts.peers.is_live(*node) {
                meta.promote(*node).await
            } else {
                continue;
            };
            if let Err(error) = changed {
                tracing::debug!(%node, %error, "the meta group's membership did not change; it is tried again");
            }
            // One at a time, looking again in between.
            break;
        }
        for command in due(&parts, &state, scheduler.as_ref()).await {
            if let Err(error) = parts.change(&command, &[]).await {
                tracing::warn!(%error, "a change that is due could not be made; it is tried again");
            }
        }
    }
}

async fn due(parts: &Parts, state: &MetaState, scheduler: Option<&Scheduler>) -> Vec<MetaCommand> {
    let mut due = Vec::new();
    let live = |node: &NodeId| parts.peers.is_live(*node);
    let nodes: Vec<NodeId> = state.members.keys().copied().collect();
    if state.keyspaces.is_empty() && nodes.len() >= state.expect as usize && nodes.iter().all(live) {
        let map = scheduler::make_map(parts, state, scheduler).await;
        due.push(MetaCommand::MakeMap { sets: map.sets, partitions: map.partitions });
    }
    for app in state.apps.values().filter(|app| app.state == AppState::Installing) {
        let ready = |node: &NodeId| app.ready.get(node).is_some_and(Option::is_none);
        if nodes.iter().filter(|node| live(node)).all(ready) {
            due.push(MetaCommand::Serve { app: app.id, install: app.install });
        }
    }
    due
}
