//! The node's one port: peers and operators both come to it, told apart by their first bytes, and do not take each other's places
//! ([`rooms`]).

mod rooms;
#[cfg(test)]
mod tests;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::future::BoxFuture;
use recoil_base::{GroupId, NodeId};
use recoil_cluster::meta::removed;
use recoil_cluster::peers::MorePieces;
use recoil_cluster::{PeerService, Service, TcpPeers, peer};
use recoil_gateway::admin::Uploads;
use recoil_gateway::http::Tcp;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use self::rooms::{Kind, Place, Rooms};
use crate::node::Parts;
use crate::{balance, introductions, leaders, leadership, membership, moves, packages, recovery};

/// How long a connection may take to say what it is.
const FIRST_BYTES_TIMEOUT: Duration = Duration::from_secs(5);
/// Pauses while the first bytes have come in part.
const FIRST_BYTES_PAUSE_MIN: Duration = Duration::from_millis(1);
const FIRST_BYTES_PAUSE_MAX: Duration = Duration::from_millis(200);
/// Pause after the system refused a connection, for want of file descriptors say.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Accepts until the node stops.
pub(crate) async fn run(listener: TcpListener, streams: TcpPeers, parts: Arc<Parts>) {
    let (rooms, uploads) = (Arc::new(Rooms::default()), Arc::new(Uploads::default()));
    loop {
        match listener.accept().await {
            Ok((stream, from)) => {
                let (serving, streams, uploads) = (parts.clone(), streams.clone(), uploads.clone());
                let place = rooms.enter(Kind::Silent);
                parts.tasks.spawn(serve(stream, from, streams, place, serving, uploads));
            }
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn serve(
    mut stream: TcpStream,
    from: SocketAddr,
    streams: TcpPeers,
    place: Place,
    parts: Arc<Parts>,
    uploads: Arc<Uploads>,
) {
    let speaks = tokio::select! {
        speaks = tokio::time::timeout(FIRST_BYTES_TIMEOUT, first_bytes(&mut stream)) => speaks,
        () = place.wanted() => return,
    };
    match speaks {
        Ok(Ok(Speaks::Peer)) => {
            let service = inbound(&parts);
            let greeted = tokio::select! {
                greeted = streams.greet(stream, &*service) => greeted,
                () = place.wanted() => return,
            };
            let ended = match greeted {
                Ok(greeted) => {
                    let kind = if greeted.member { Kind::Member(greeted.node) } else { Kind::Stranger };
                    let place = place.into_room(kind);
                    tokio::select! {
                        ended = streams.serve(greeted, service) => ended,
                        () = place.wanted() => Ok(()),
                    }
                }
                Err(error) => Err(error),
            };
            if let Err(error) = ended {
                tracing::debug!(%error, "a peer's stream ended");
            }
        }
        Ok(Ok(Speaks::OtherFormat(format))) => {
            tracing::debug!(%from, format, "a node of another version of Recoil opens a stream; refused");
            // It learns from this why: nodes look at the format of whom they dial.
            let _ = stream.write_all(peer::MAGIC).await;
        }
        Ok(Ok(Speaks::Operator)) => {
            let place = place.into_room(Kind::Operator);
            let stream = Tcp(Arc::new(stream));
            tokio::select! {
                () = recoil_gateway::admin::serve_connection(stream, from, parts.clone(), parts.clone(), uploads) => {}
                () = place.wanted() => {}
            }
        }
        Ok(Err(_)) | Err(_) => {}
    }
}

/// Who comes to the port.
enum Speaks {
    /// A node of this format; the magic has been read.
    Peer,
    /// A node of another one.
    OtherFormat(u8),
    /// Anybody else.
    Operator,
}

async fn first_bytes(stream: &mut TcpStream) -> std::io::Result<Speaks> {
    let mut first = [0u8; 8];
    let mut pause = FIRST_BYTES_PAUSE_MIN;
    // Until the bytes differ from the magic, or all of it is there.
    loop {
        let count = stream.peek(&mut first).await?;
        if let Some(format) = peer::other_format(&first[..count]).filter(|_| count == first.len()) {
            return Ok(Speaks::OtherFormat(format));
        }
        if count == 0 || first[..count] != peer::MAGIC[..count] {
            return Ok(Speaks::Operator);
        }
        if count == first.len() {
            return stream.read_exact(&mut first).await.map(|_| Speaks::Peer);
        }
        // Looking does not wait for more than there is.
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(FIRST_BYTES_PAUSE_MAX);
    }
}

/// What serves peers' requests.
pub(crate) fn inbound(parts: &Arc<Parts>) -> Arc<dyn PeerService> {
    Arc::new(Inbound { parts: parts.clone() })
}

/// Gives peers' requests to the rooms they are for.
struct Inbound {
    parts: Arc<Parts>,
}

impl PeerService for Inbound {
    fn serve(
        &self,
        from: NodeId,
        service: Service,
        body: Bytes,
        more: MorePieces,
    ) -> BoxFuture<'static, Result<Bytes, String>> {
        let parts = self.parts.clone();
        match service {
            Service::Calls => parts.router.serve(from, body, more),
            Service::Publish => {
                let received = parts.topics.receive(body).map(|()| Bytes::new()).map_err(|error| error.to_string());
                Box::pin(async move { received })
            }
            Service::Ping => Box::pin(async move { Ok(Bytes::copy_from_slice(&parts.clock.wall_us().to_le_bytes())) }),
            Service::Raft => Box::pin(async move { raft(&parts, body).await }),
            Service::Propose => Box::pin(async move { Ok(membership::serve_propose(&parts, body).await) }),
            Service::MayLead => {
                let answer = leadership::serve_may_lead(&parts, body);
                Box::pin(async move { answer })
            }
            Service::Addresses => Box::pin(async move { Ok(introductions::serve(&parts)) }),
            Service::Package => Box::pin(async move { packages::serve(&parts, body).await }),
            Service::Move => Box::pin(async move { moves::serve(&parts, body).await }),
            Service::Silence => {
                let answer = balance::serve_silence(&parts, &body);
                Box::pin(async move { answer })
            }
            Service::Leaders => {
                let answer = leaders::serve(&parts);
                Box::pin(async move { answer })
            }
            Service::Recover => Box::pin(async move { recovery::serve(&parts, &body).await }),
            Service::Join => Box::pin(async move { membership::serve_join(&parts, &body).await }),
        }
    }

    fn removed(&self, node: NodeId) -> Option<String> {
        self.parts.states.borrow().is_removed(node).then(|| removed(node))
    }

    fn is_member(&self, node: NodeId) -> bool {
        let state = self.parts.states.borrow();
        // A node that has just joined, and whose leader has yet to tell it of anybody, believes whoever knows the cluster's id.
        if state.members.is_empty() || state.members.contains_key(&node) {
            return true;
        }
        if state.is_removed(node) {
            return false;
        }
        if self.parts.peers.known().contains(&node) {
            return true;
        }
        // What is applied may have been lost with unsynced data, back to when fewer had joined; the log still names who votes.
        let numbers = self.parts.meta().map(|meta| meta.numbers());
        numbers.is_some_and(|numbers| numbers.voters.contains(&node) || numbers.learners.contains(&node))
    }
}

async fn raft(parts: &Parts, mut body: Bytes) -> Result<Bytes, String> {
    if body.len() < 5 {
        return Err("a Raft message of fewer than 5 bytes".into());
    }
    let message = body.split_off(5);
    let id = GroupId(u32::from_le_bytes([body[0], body[1], body[2], body[3]]));
    let group = if id == GroupId::META { parts.meta() } else { parts.host.group(id) };
    if let Some(group) = group {
        return group.handle(body[4], message).await;
    }
    let state = parts.states.borrow().clone();
    Err(match state.is_group_removed(id) {
        true => format!("gone: group {id} has been removed"),
        false => format!("not yet: group {id} is not open here at meta index {}", state.header.index),
    })
}
