//! How a node with an empty folder gets its cluster: it joins the one of its seeds, or founds one.
//!
//! Founding is the only thing here that cannot be taken back: a node whose folder was lost, started
//! as at first, would begin a second cluster beside the one that it was a member of. So a founder
//! listens first, for [`FOUNDING_WAIT`]: the members of a cluster dial a lost one at its old
//! address several times in that time, and name their cluster. One that is heard ends the start
//! with what to do; [`NodeOptions::new_cluster`] founds all the same. Members that are cut off, or
//! down as well, are not heard: both sides tell their operators as soon as they meet
//! (`recoil_cluster`'s `peer/contacts.rs`).
//!
//! With seeds ([`NodeOptions::join`]) a node never founds while one of them may belong to a
//! cluster. If it is itself the first of the seeds, it founds once every other one has answered
//! that it has no cluster either. So all nodes of a cluster can be started with the same seeds, and
//! a lost folder costs a join.
//!
//! Crash points. Founding: the meta group is initialised and `Found` proposed before the folder
//! records the cluster; a founder that crashes in between founds again, and finds that it already
//! has. Joining: the cluster's `Join` entry comes before the folder records the cluster; a joiner
//! that crashes in between joins again under the same id. An id that another node has is drawn again, and the node starts anew.
//!
//! [`NodeOptions::new_cluster`]: crate::NodeOptions::new_cluster
//! [`NodeOptions::join`]: crate::NodeOptions::join

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use recoil_base::{Endpoint, random};
use recoil_cluster::peer::HelloError;
use recoil_cluster::{MetaCommand, Service};

use crate::membership::{ID_TAKEN, JoinReply};
use crate::node::{NodeError, Parts};
use crate::notice::Notice;

/// How long a founder listens for members of an earlier cluster, which dial it about once a second.
const FOUNDING_WAIT: Duration = Duration::from_secs(3);
const FOUNDING_LOOK: Duration = Duration::from_millis(20);
/// How long a seed may take to take a node in.
const JOIN_TIMEOUT: Duration = Duration::from_secs(20);
const JOIN_RETRY: Duration = Duration::from_millis(200);
/// How long a node looks for the cluster that it is told to join.
const JOIN_DEADLINE: Duration = Duration::from_secs(60);

/// Finds the node's cluster: the one in its folder, the one it is told to join, or a new one.
/// Answers whether it is new.
pub(crate) async fn find_cluster(parts: &Arc<Parts>) -> Result<bool, NodeError> {
    if let Some(cluster) = parts.folder.cluster_id() {
        parts.peers.set_cluster(hex(&cluster));
        return Ok(false);
    }
    // A founder that crashed before its folder had recorded the cluster.
    let is_founded = !parts.states.borrow().header.cluster.is_empty();
    if is_founded || parts.options.new_cluster {
        return found(parts).await.map(|()| true);
    }
    if !parts.options.join.is_empty() {
        return join(parts).await;
    }
    listen_for_members(parts).await?;
    found(parts).await.map(|()| true)
}

/// Returns once no member of an earlier cluster has dialled this address for a while.
async fn listen_for_members(parts: &Parts) -> Result<(), NodeError> {
    // A port that the system has just chosen is known to nobody.
    if parts.options.listen.port() == 0 {
        return Ok(());
    }
    let end = parts.clock.now() + FOUNDING_WAIT;
    while parts.clock.now() < end {
        if let Some(contact) = parts.peers.foreign_contact() {
            return Err(NodeError::Cluster(format!(
                "node {} of cluster {}, at {}, looks for a member of that cluster at this node's address, {}, and the \
                 data folder here is empty: a new cluster is not begun. To take part in that one, start this node \
                 with --join {}. To begin a new cluster all the same, start it with --new-cluster",
                contact.node,
                contact.cluster,
                contact.address,
                parts.address(),
                contact.address
            )));
        }
        tokio::time::sleep(FOUNDING_LOOK).await;
    }
    Ok(())
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

/// What a seed has to say to a node that wants to join.
enum Answer {
    /// It takes the node in.
    Taken(JoinReply),
    /// The cluster does not want the node, and will not.
    Refused(String),
    /// Another node has this one's id.
    IdTaken(String),
    /// It has no cluster either.
    Unclustered,
    /// It is this node.
    Itself,
    /// Nothing that helps, for now.
    Failed(String),
}

impl Answer {
    fn is_without_cluster(&self) -> bool {
        matches!(self, Answer::Unclustered | Answer::Itself)
    }

    fn text(&self) -> &str {
        match self {
            Answer::Taken(_) => "takes this node in",
            Answer::Unclustered => "belongs to no cluster yet",
            Answer::Itself => "is this node itself",
            Answer::Refused(text) | Answer::Failed(text) | Answer::IdTaken(text) => text,
        }
    }
}

/// Joins the cluster of the seeds; true if there is none and it is this node that is to found it.
async fn join(parts: &Arc<Parts>) -> Result<bool, NodeError> {
    let body = parts.join_command().encode();
    let deadline = parts.clock.now() + JOIN_DEADLINE;
    let mut notice = Notice::new(parts.clock.clone());
    loop {
        let mut answers: Vec<(&Endpoint, Answer)> = Vec::new();
        for seed in &parts.options.join {
            match ask_seed(parts, seed, &body).await {
                Answer::Taken(reply) => return joined(parts, reply).await.map(|()| false),
                Answer::Refused(text) => {
                    return Err(NodeError::Cluster(format!("the cluster at {seed} does not take this node: {text}")));
                }
                Answer::IdTaken(text) => return Err(draw_id(parts, &text).await),
                answer => answers.push((seed, answer)),
            }
        }
        let is_itself = |(_, answer): &(&Endpoint, Answer)| matches!(answer, Answer::Itself);
        if answers.iter().all(is_itself) {
            return Err(NodeError::Cluster(format!(
                "--join {} names only this node itself, and there is nobody to ask for a cluster: name another node \
                 of it, or leave --join out to begin a new cluster",
                parts.options.join[0]
            )));
        }
        if answers.first().is_some_and(is_itself) && answers.iter().all(|(_, answer)| answer.is_without_cluster()) {
            return found(parts).await.map(|()| true);
        }
        let heard: Vec<String> = answers.iter().map(|(seed, answer)| format!("{seed}: {}", answer.text())).collect();
        let heard = heard.join("; ");
        let now = parts.clock.now();
        if now > deadline {
            return Err(NodeError::Cluster(format!(
                "no cluster to join after {} s. {heard}. Is a node of the cluster listening there?",
                JOIN_DEADLINE.as_secs()
            )));
        }
        if notice.is_due(&heard) {
            let left = deadline.saturating_duration_since(now).as_secs();
            tracing::warn!("still looking for the cluster to join, for {left} s more. {heard}");
        }
        tokio::time::sleep(JOIN_RETRY).await;
    }
}

/// Draws another id for this node, with which it is to be started again, since everything it has begun names the old one. Not once it has
/// followed a meta group: then it has crashed while it joined, and what it holds belongs to its id.
async fn draw_id(parts: &Parts, why: &str) -> NodeError {
    let follows = parts.meta().is_some_and(|meta| !meta.numbers().voters.is_empty());
    let folder = parts.folder.clone();
    let drawn = if follows { Ok(Ok(false)) } else { recoil_base::task::spawn_blocking(move || folder.draw_id()).await };
    match drawn {
        Ok(Ok(true)) => {
            tracing::warn!(node = %parts.node, %why, "this node has drawn the id of another one, and draws again");
            NodeError::IdTaken
        }
        Ok(Ok(false)) => NodeError::Cluster(format!("{why}: start this node with an empty data folder")),
        Ok(Err(error)) => NodeError::Folder(error.to_string()),
        Err(error) => NodeError::Cluster(error.to_string()),
    }
}

async fn ask_seed(parts: &Parts, seed: &Endpoint, body: &Bytes) -> Answer {
    let addresses = match seed.resolve().await {
        Ok(addresses) => addresses,
        Err(error) => return Answer::Failed(format!("cannot be resolved ({error})")),
    };
    let mut failed = Answer::Failed("has no address".into());
    for address in addresses {
        failed = ask_address(parts, address, body).await;
        if !matches!(failed, Answer::Failed(_)) {
            break;
        }
    }
    failed
}

async fn ask_address(parts: &Parts, address: SocketAddr, body: &Bytes) -> Answer {
    match parts.peers.ask(address, Service::Join, body.clone(), JOIN_TIMEOUT).await {
        Ok((_, Ok(answer))) => match serde_json::from_slice(&answer) {
            Ok(reply) => Answer::Taken(reply),
            Err(error) => Answer::Failed(format!("its answer cannot be read: {error}")),
        },
        Ok((theirs, Err(text))) if text.contains("retry") && theirs.cluster.is_empty() => Answer::Unclustered,
        Ok((_, Err(text))) if text.starts_with(ID_TAKEN) => Answer::IdTaken(text),
        Ok((_, Err(text))) if text.contains("retry") || text.contains("no leader") => Answer::Failed(text),
        Ok((_, Err(text))) => Answer::Refused(text),
        Err(HelloError::Refused { theirs, .. }) if (theirs.node, theirs.start) == (parts.node, parts.start) => {
            Answer::Itself
        }
        Err(HelloError::Refused { theirs, .. }) if theirs.node == parts.node => {
            Answer::IdTaken(format!("{ID_TAKEN}: the node at {address} is node {}, too", theirs.node))
        }
        Err(error) => Answer::Failed(error.to_string()),
    }
}

async fn joined(parts: &Arc<Parts>, reply: JoinReply) -> Result<(), NodeError> {
    record_cluster(parts, &reply.cluster).await?;
    for (node, address) in reply.members {
        // Of which start it is will be known from the meta state.
        parts.peers.know(node, address, (0, 0));
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
