//! The way to other nodes, whatever it is made of: TCP streams ([`crate::peer`]), or a simulated network.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures::future::BoxFuture;
use parking_lot::Mutex;
use recoil_base::{GroupId, NodeId};
use recoil_consensus::{Transport, TransportError};

use crate::clocks::PeerClocks;
use crate::meta::{old_copy, supersedes};
use crate::peer::{Hello, HelloError, Service};

/// The hello of a node that was asked by address, and its answer or refusal.
pub type Introduced = Result<(Hello, Result<Bytes, String>), HelloError>;

/// Carries requests between nodes. Requests to one node arrive in the order in which they were sent while a connection lasts; none
/// arrives twice.
pub trait PeerNetwork: Send + Sync + 'static {
    /// This node.
    fn node(&self) -> NodeId;
    /// Sets the cluster, once it is known.
    fn set_cluster(&self, cluster: String);
    /// Learns where a node listens, and keeps a connection to it from now on.
    fn know(&self, node: NodeId, address: SocketAddr);
    /// Learns of a node's start; false if a newer one, or another of the same number, is known already.
    fn know_start(&self, node: NodeId, start: (u64, u64)) -> bool;
    /// The other nodes known.
    fn known(&self) -> Vec<NodeId>;
    /// True for this node and for one that answered lately.
    fn is_live(&self, node: NodeId) -> bool;
    /// What the nodes known say of their clocks, when they meet and in their answers to pings.
    fn clocks(&self) -> PeerClocks;
    /// Sends a request; the future resolves with its answer. Sent, or failed, when this returns.
    fn request(
        &self,
        to: NodeId,
        service: Service,
        body: Bytes,
        timeout: Duration,
    ) -> BoxFuture<'static, Result<Bytes, TransportError>>;
    /// Sends what needs no answer; lost if the node cannot be reached, or too much waits for it.
    fn tell(&self, to: NodeId, service: Service, body: Bytes);
    /// Asks the node at `address`, whoever it is, on a connection of its own. For joining.
    fn ask(
        &self,
        address: SocketAddr,
        service: Service,
        body: Bytes,
        timeout: Duration,
    ) -> BoxFuture<'static, Introduced>;
}

/// This node's way to all others. Clones share it.
#[derive(Clone)]
pub struct Peers {
    network: Arc<dyn PeerNetwork>,
}

impl Peers {
    /// Over this network.
    pub fn new(network: Arc<dyn PeerNetwork>) -> Self {
        Peers { network }
    }

    /// This node.
    pub fn node(&self) -> NodeId {
        self.network.node()
    }

    /// See [`PeerNetwork::set_cluster`].
    pub fn set_cluster(&self, cluster: String) {
        self.network.set_cluster(cluster);
    }

    /// See [`PeerNetwork::know`].
    pub fn know(&self, node: NodeId, address: SocketAddr) {
        self.network.know(node, address);
    }

    /// See [`PeerNetwork::know_start`].
    pub fn know_start(&self, node: NodeId, start: (u64, u64)) -> bool {
        self.network.know_start(node, start)
    }

    /// The other nodes known.
    pub fn known(&self) -> Vec<NodeId> {
        self.network.known()
    }

    /// True for this node and for one that answered lately.
    pub fn is_live(&self, node: NodeId) -> bool {
        self.network.is_live(node)
    }

    /// See [`PeerNetwork::clocks`].
    pub fn clocks(&self) -> PeerClocks {
        self.network.clocks()
    }

    /// See [`PeerNetwork::request`].
    pub fn request(
        &self,
        to: NodeId,
        service: Service,
        body: Bytes,
        timeout: Duration,
    ) -> BoxFuture<'static, Result<Bytes, TransportError>> {
        self.network.request(to, service, body, timeout)
    }

    /// See [`PeerNetwork::tell`].
    pub fn tell(&self, to: NodeId, service: Service, body: Bytes) {
        self.network.tell(to, service, body);
    }

    /// See [`PeerNetwork::ask`].
    pub fn ask(
        &self,
        address: SocketAddr,
        service: Service,
        body: Bytes,
        timeout: Duration,
    ) -> BoxFuture<'static, Introduced> {
        self.network.ask(address, service, body, timeout)
    }
}

/// The newest start known of each node, its incarnation and random number: whoever comes with an older one has an old copy of a
/// data folder.
#[derive(Default)]
pub struct Starts {
    known: Mutex<HashMap<NodeId, (u64, u64)>>,
}

impl Starts {
    /// Learns of a start; false if a newer one, or another of the same number, is known already.
    pub fn know(&self, node: NodeId, start: (u64, u64)) -> bool {
        let mut known = self.known.lock();
        let newest = known.entry(node).or_insert(start);
        let current = supersedes(start, *newest);
        if current {
            *newest = start;
        }
        current
    }

    /// Learns of a start, or answers why nothing is to be done with it.
    pub fn refusal(&self, node: NodeId, start: (u64, u64)) -> Option<String> {
        if self.know(node, start) {
            return None;
        }
        let known = self.known.lock().get(&node).map_or(0, |start| start.0);
        Some(old_copy(node, start.0, known))
    }
}

impl Transport for Peers {
    fn call(
        &self,
        to: NodeId,
        group: GroupId,
        kind: u8,
        body: Bytes,
        timeout: Duration,
    ) -> BoxFuture<'static, Result<Bytes, TransportError>> {
        let mut message = BytesMut::with_capacity(5 + body.len());
        message.extend_from_slice(&group.0.to_le_bytes());
        message.extend_from_slice(&[kind]);
        message.extend_from_slice(&body);
        self.request(to, Service::Raft, message.freeze(), timeout)
    }

    fn known(&self) -> Vec<NodeId> {
        self.network.known()
    }
}
