//! Finding the members of the node's own cluster where they are now.
//!
//! Addresses are part of the meta state, but a meta group whose nodes have all come back elsewhere
//! (DHCP, pods) has no leader that could write the new ones down. So they travel beside it: each
//! node dials its seeds ([`NodeOptions::join`]), both ends of a stream tell each other where they
//! listen and by which start, and a node that misses others asks those it reaches where they are.
//! That is enough for an election, after which each node registers its address as at every start,
//! and meta agrees.
//!
//! Invariant: what is heard here decides only where a member is dialled, never who is one: seeds of
//! other clusters are not believed, and of nodes that are no members nothing is taken from others.
//! A start that takes long says whom it waits for and what was answered.
//!
//! It begins before the meta group's replica is opened: whoever could bring back its data may have
//! moved, too.
//!
//! Bounded: one round at a time, often until the node is admitted, and then every [`ROUND_EVERY`]
//! while a member is silent.
//!
//! [`NodeOptions::join`]: crate::NodeOptions::join

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use recoil_base::{Endpoint, NodeId};
use recoil_cluster::Service;
use recoil_cluster::peer::HelloError;
use recoil_cluster::peers::KnownAddress;

use crate::node::Parts;
use crate::notice::Notice;

/// Between two rounds before the node is admitted.
const EAGER_EVERY: Duration = Duration::from_millis(500);
/// Between two rounds afterwards.
const ROUND_EVERY: Duration = Duration::from_secs(5);
const ASK_TIMEOUT: Duration = Duration::from_secs(3);
/// Members that are named in one line.
const NAMED_MAX: usize = 5;

/// Goes on until the node stops.
pub(crate) async fn run(parts: Arc<Parts>) {
    let mut notice = Notice::new(parts.clock.clone());
    for round in 0usize.. {
        let silent: Vec<NodeId> = parts.peers.known().into_iter().filter(|node| !parts.peers.is_live(*node)).collect();
        let mut seeds = Vec::new();
        let knows_nobody = parts.peers.known().is_empty() && !parts.is_admitted(&parts.states.borrow());
        if !silent.is_empty() || knows_nobody {
            seeds = meet_seeds(&parts).await;
            ask_around(&parts, round).await;
        }
        let is_admitted = parts.is_admitted(&parts.states.borrow());
        if !is_admitted {
            let (about, text) = waiting(&parts, &seeds);
            if notice.is_due(&about) {
                tracing::warn!("{text}");
            }
        }
        tokio::time::sleep(if is_admitted { ROUND_EVERY } else { EAGER_EVERY }).await;
    }
}

/// Introduces this node to its seeds; answers what is wrong with those that are of no use.
async fn meet_seeds(parts: &Arc<Parts>) -> Vec<String> {
    let meeting = parts.options.join.iter().map(|seed| meet(parts, seed));
    futures::future::join_all(meeting).await.into_iter().filter_map(Result::err).collect()
}

async fn meet(parts: &Parts, seed: &Endpoint) -> Result<(), String> {
    let wrong = |why: String| format!("--join {seed}: {why}");
    let addresses = seed.resolve().await.map_err(|error| wrong(error.to_string()))?;
    let mut last = "it has no address".to_owned();
    for address in addresses {
        match parts.peers.ask(address, Service::Addresses, Bytes::new(), ASK_TIMEOUT).await {
            Ok((theirs, answer)) => {
                if theirs.node != parts.node {
                    parts.peers.know(theirs.node, theirs.address, theirs.start);
                }
                // A node of an earlier version does not know the question; having met it is worth
                // something.
                learn(parts, answer.ok().as_deref().unwrap_or_default());
                return Ok(());
            }
            Err(HelloError::Refused { theirs, .. }) if theirs.node == parts.node => return Ok(()),
            Err(error) => last = error.to_string(),
        }
    }
    Err(wrong(last))
}

/// Asks one of the members that answer where the others are.
async fn ask_around(parts: &Parts, round: usize) {
    let mut live: Vec<NodeId> = parts.peers.known().into_iter().filter(|node| parts.peers.is_live(*node)).collect();
    live.sort_unstable();
    let Some(node) = live.get(round % live.len().max(1)) else { return };
    match parts.peers.request(*node, Service::Addresses, Bytes::new(), ASK_TIMEOUT).await {
        Ok(answer) => learn(parts, &answer),
        Err(error) => tracing::debug!(%node, %error, "it does not say where the others are"),
    }
}

/// Takes in what another node says of members that are known here.
fn learn(parts: &Parts, answer: &[u8]) {
    let Ok(told) = KnownAddress::decode(answer) else { return };
    let known = parts.peers.known();
    for KnownAddress { node, address, start } in told.into_iter().filter(|told| known.contains(&told.node)) {
        parts.peers.know(node, address, start);
    }
}

/// Says where the members are, this node included.
pub(crate) fn serve(parts: &Parts) -> Bytes {
    let mut all = parts.peers.addresses();
    all.push(KnownAddress { node: parts.node, address: parts.address(), start: parts.start });
    KnownAddress::encode(&all)
}

/// What a node that is not admitted yet waits for: what it is about, which says when it is news,
/// and the whole sentence.
fn waiting(parts: &Parts, seeds: &[String]) -> (String, String) {
    let known = parts.peers.known();
    let mut silent: Vec<NodeId> = known.iter().copied().filter(|node| !parts.peers.is_live(*node)).collect();
    silent.sort_unstable();
    let (count, of) = (silent.len(), known.len());
    let missing = silent.iter().take(NAMED_MAX).map(|node| match parts.peers.trouble(*node) {
        Some(trouble) => format!("node {node} at {}: {}", trouble.address, trouble.why),
        None => format!("node {node} has not answered yet"),
    });
    let missing: Vec<String> = missing.collect();
    let leader = match parts.meta().and_then(|meta| meta.leader()) {
        Some(leader) if leader != parts.node => {
            format!("node {leader} leads the meta group and has not taken this start in yet")
        }
        _ => "the meta group has no leader that this node has heard of".to_owned(),
    };
    // A peer is tried at several addresses, one after the other, which is no news.
    let about = format!("{leader} {silent:?} {seeds:?}");
    if count == 0 {
        return (about, format!("this node does not serve yet: {leader}"));
    }
    let seeds = match seeds {
        [] if parts.options.join.is_empty() => {
            "If they listen elsewhere now, start this node with --join HOST:PORT, the address of one of them".to_owned()
        }
        [] => "All that --join names is reached".to_owned(),
        seeds => seeds.join("; "),
    };
    let missing = missing.join("; ");
    let text = format!(
        "this node does not serve yet: {leader}, and {count} of {of} other members are not reached. {missing}. {seeds}"
    );
    (about, text)
}
