//! The node's one port: peers and operators both come to it, told apart by their first bytes.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::future::BoxFuture;
use recoil_base::{GroupId, NodeId};
use recoil_cluster::{PeerService, Service, TcpPeers, peer};
use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

use crate::membership;
use crate::node::Parts;

/// Connections of peers and operators together.
const CONNECTIONS_MAX: usize = 1024;
const FIRST_BYTES_TIMEOUT: Duration = Duration::from_secs(10);
/// Pause after the system refused a connection, for want of file descriptors say.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Accepts until the node stops.
pub(crate) async fn run(listener: TcpListener, streams: TcpPeers, parts: Arc<Parts>) {
    let room = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let Ok(place) = room.clone().acquire_owned().await else { return };
        match listener.accept().await {
            Ok((stream, _)) => {
                let (serving, streams) = (parts.clone(), streams.clone());
                parts.tasks.spawn(async move {
                    serve(stream, streams, serving).await;
                    drop(place);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn serve(mut stream: TcpStream, streams: TcpPeers, parts: Arc<Parts>) {
    let mut first = [0u8; 8];
    let peeked = tokio::time::timeout(FIRST_BYTES_TIMEOUT, async {
        // Until the bytes differ from the magic, or all of it is there.
        loop {
            let count = stream.peek(&mut first).await?;
            if count == 0 || count == first.len() || first[..count] != peer::MAGIC[..count] {
                return std::io::Result::Ok(first[..count] == peer::MAGIC[..count] && count == first.len());
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    });
    match peeked.await {
        Ok(Ok(true)) => {
            if stream.read_exact(&mut first).await.is_err() {
                return;
            }
            if let Err(error) = streams.accept(stream, inbound(&parts)).await {
                tracing::debug!(%error, "a peer's stream ended");
            }
        }
        Ok(Ok(false)) => recoil_gateway::admin::serve_connection(stream, parts.clone()).await,
        Ok(Err(_)) | Err(_) => {}
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
    fn serve(&self, from: NodeId, service: Service, body: Bytes) -> BoxFuture<'static, Result<Bytes, String>> {
        let parts = self.parts.clone();
        match service {
            Service::Calls => parts.router.serve(from, body),
            Service::Publish => {
                let received = parts.topics.receive(body).map(|()| Bytes::new()).map_err(|error| error.to_string());
                Box::pin(async move { received })
            }
            Service::Ping => Box::pin(async { Ok(Bytes::new()) }),
            Service::Raft => Box::pin(async move { raft(&parts, body).await }),
            Service::Propose => Box::pin(async move { Ok(membership::serve_propose(&parts, body).await) }),
            Service::Join => Box::pin(async move { membership::serve_join(&parts, &body).await }),
        }
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
    Err(match state.groups.get(&id) {
        Some(group) if group.removed => format!("gone: group {id} has been removed"),
        _ => format!("not yet: group {id} is not open here at meta index {}", state.index),
    })
}
