//! What is said when a node meets others than those it looks for: another cluster's, another
//! member's, none.
//!
//! A node that was founded anew where a member of another cluster was, because its data folder was
//! lost say, shows by two signs: the other members dial it and name their cluster, and it answers
//! with another one, or none. Both sides say so, once for each node met, with what to do. What has
//! been heard is kept for whoever is about to found a cluster here ([`Contacts::foreign`]).
//!
//! Bounded: [`SAID_MAX`] nodes are remembered as having been spoken of; what others write is cut
//! before it is shown.

use std::net::SocketAddr;

use parking_lot::Mutex;
use recoil_base::NodeId;

use super::{Hello, HelloError, TcpPeers};
use crate::peers::{ForeignContact, PeerNetwork as _};

/// Nodes of other clusters that are spoken of.
const SAID_MAX: usize = 16;
/// A cluster's id has as many characters.
const CLUSTER_CHARS: usize = 32;

/// Nodes of other clusters that have dialled this one.
#[derive(Default)]
pub(super) struct Contacts {
    last: Mutex<Option<ForeignContact>>,
    said: Mutex<Vec<(NodeId, String)>>,
}

impl Contacts {
    /// The last one.
    pub(super) fn foreign(&self) -> Option<ForeignContact> {
        self.last.lock().clone()
    }

    /// Takes one in.
    fn met(&self, contact: ForeignContact) {
        *self.last.lock() = Some(contact);
    }

    /// True if nothing has been said of this node of that cluster yet; it is then taken for said.
    fn is_new(&self, node: NodeId, cluster: &str) -> bool {
        let mut said = self.said.lock();
        let is_said = said.iter().any(|(known, of)| *known == node && of == cluster);
        let is_new = said.len() < SAID_MAX && !is_said;
        if is_new {
            said.push((node, cluster.to_owned()));
        }
        is_new
    }
}

/// An attempt to reach a peer.
pub(super) struct Reached<'a> {
    /// Who was to be there.
    pub(super) node: NodeId,
    /// Where.
    pub(super) address: SocketAddr,
    /// How this node introduced itself.
    pub(super) ours: &'a Hello,
}

/// A cluster's id as far as it is fit to be shown.
fn shown(cluster: &str) -> String {
    cluster.chars().filter(char::is_ascii_hexdigit).take(CLUSTER_CHARS).collect()
}

impl TcpPeers {
    /// The refusal of a node of another cluster.
    pub(super) fn other_cluster(&self, ours: &Hello, theirs: &Hello) -> String {
        let (node, address, cluster) = (theirs.node, theirs.address, shown(&theirs.cluster));
        let contacts = &self.inner.contacts;
        contacts.met(ForeignContact { node, address, cluster: cluster.clone() });
        if ours.cluster.is_empty() {
            return format!("this node belongs to no cluster yet, so not to {cluster}");
        }
        if contacts.is_new(node, &cluster) {
            tracing::warn!(
                "node {node} of another cluster, {cluster}, which listens on {address}, looks for a member of that \
                 cluster at this node's address; this node belongs to cluster {}. If this node should be of that \
                 cluster and has lost its data folder, stop it and start it with an empty data folder and --join \
                 {address}",
                ours.cluster
            );
        }
        format!("this node belongs to cluster {}, not {cluster}", ours.cluster)
    }

    /// Draws the conclusions from an attempt that did not reach a peer; answers what happened, for
    /// people.
    pub(super) fn not_reached(&self, tried: Reached<'_>, error: HelloError, said: &mut Vec<String>) -> String {
        let Reached { node, address, ours } = tried;
        let (why, is_news) = match error {
            HelloError::Io(error) => (error.to_string(), false),
            HelloError::Excluded(excluded) => {
                let why = excluded.why.clone();
                self.inner.excluded.send_replace(Some(excluded));
                (why, false)
            }
            HelloError::Protocol(why) => (why, true),
            // It has asked to join, is taken in, and does not know it yet.
            HelloError::Refused { why, theirs } if theirs.cluster.is_empty() && theirs.node == node => (why, false),
            HelloError::Refused { theirs, .. } if theirs.cluster != ours.cluster => {
                (stranger_there(node, &theirs, ours), true)
            }
            HelloError::Refused { why, theirs } => {
                // Members that have changed places tell each other where they are now.
                if theirs.node != node && self.known().contains(&theirs.node) {
                    self.know(theirs.node, theirs.address, theirs.start);
                }
                (why, true)
            }
        };
        // An operator has something to do, and need not read of it with every attempt.
        if is_news && said.len() < SAID_MAX && !said.contains(&why) {
            tracing::warn!(%node, %address, %why, "a node does not take this one's stream; trying on");
            said.push(why.clone());
        } else {
            tracing::debug!(%node, %address, %why, "cannot reach");
        }
        why
    }
}

/// Why a node of another cluster is not `node`, and what to do if it should be.
fn stranger_there(node: NodeId, theirs: &Hello, ours: &Hello) -> String {
    let (other, own) = (theirs.node, ours.address);
    let belongs = match shown(&theirs.cluster) {
        cluster if cluster.is_empty() => "belongs to no cluster".to_owned(),
        cluster => format!("belongs to another cluster, {cluster}"),
    };
    format!(
        "where node {node} of this cluster was there is now node {other}, which {belongs}. If it should take the \
         place of node {node}, stop it and start it with an empty data folder and --join {own}"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Fails if a crowd of invented clusters fills the log or the memory, or one node is spoken of
    /// with every attempt.
    #[test]
    fn each_node_of_another_cluster_is_spoken_of_once_and_few_are() {
        let contacts = Contacts::default();
        let is_new = |node: u32, cluster: &str| contacts.is_new(NodeId(node), cluster);
        assert!(is_new(1, "a") && !is_new(1, "a") && is_new(1, "b"));
        let spoken_of = (2..1000).filter(|node| is_new(*node, "a")).count();
        assert_eq!((spoken_of, contacts.said.lock().len()), (SAID_MAX - 2, SAID_MAX));
    }

    /// Fails if what a stranger calls its cluster gets into the log as it is.
    #[test]
    fn an_invented_cluster_is_shown_without_what_is_no_id() {
        assert_eq!(shown(&"ab\u{1b}[31m\n".repeat(40)).len(), CLUSTER_CHARS);
        assert!(shown("\u{1b}[2J\n").chars().all(|c| c.is_ascii_hexdigit()));
    }
}
