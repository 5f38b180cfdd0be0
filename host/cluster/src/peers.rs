//! The way to other nodes, whatever it is made of: TCP streams ([`crate::peer`]), or a simulated network.
//!
//! An answer comes in one or more pieces, in order ([`Pieces`]); the last one ends the request. Who asks says how many pieces there can
//! be at most, so that what waits to be read is bounded, whatever the other node sends. Most requests are answered in one
//! ([`Peers::request`]).

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures::StreamExt as _;
use futures::channel::mpsc;
use futures::future::BoxFuture;
use parking_lot::Mutex;
use recoil_base::{GroupId, NodeId};
use recoil_consensus::{Transport, TransportError};
use serde::{Deserialize, Serialize};

use crate::clocks::PeerClocks;
use crate::meta::{MEMBERS_MAX, old_copy, supersedes};
use crate::peer::{Hello, HelloError, Service};

/// A peer that has not answered a ping for this long is down.
pub const LIVE_FOR: Duration = Duration::from_millis(1500);

/// The hello of a node that was asked by address, and its answer or refusal.
pub type Introduced = Result<(Hello, Result<Bytes, String>), HelloError>;

/// One piece of an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Piece {
    /// Its bytes.
    pub body: Bytes,
    /// It ends the request.
    pub is_last: bool,
}

/// The pieces of an answer as they come. Dropping it gives up the request.
pub struct Pieces {
    to: NodeId,
    coming: mpsc::UnboundedReceiver<Result<Piece, TransportError>>,
    late: std::pin::Pin<Box<tokio::time::Sleep>>,
    timeout: Duration,
    is_over: bool,
    /// Gives back the request's place among those that wait.
    _waiting: Option<Box<dyn Send>>,
}

/// Where a network puts the pieces of one answer.
pub struct PieceSender {
    to: NodeId,
    coming: mpsc::UnboundedSender<Result<Piece, TransportError>>,
    left: usize,
}

impl Pieces {
    /// For the answer of `to`, of at most `pieces_max` pieces, that is waited for as long as `timeout`.
    pub fn new(to: NodeId, pieces_max: usize, timeout: Duration) -> (PieceSender, Self) {
        let (sender, coming) = mpsc::unbounded();
        let late = Box::pin(tokio::time::sleep(timeout));
        let pieces = Pieces { to, coming, late, timeout, is_over: false, _waiting: None };
        (PieceSender { to, coming: sender, left: pieces_max }, pieces)
    }

    /// Keeps `waiting` until nobody waits for the answer any longer.
    pub fn with(self, waiting: impl Send + 'static) -> Self {
        Pieces { _waiting: Some(Box::new(waiting)), ..self }
    }

    /// Of a request that could not be sent.
    pub fn failed(to: NodeId, error: TransportError) -> Self {
        let (mut sender, pieces) = Self::new(to, 1, Duration::ZERO);
        sender.fail(error);
        pieces
    }

    /// The next piece, or why there is none. Nothing after the last piece or an error.
    pub async fn next(&mut self) -> Option<Result<Piece, TransportError>> {
        if self.is_over {
            return None;
        }
        let next = tokio::select! {
            biased;
            next = self.coming.next() => {
                next.unwrap_or_else(|| Err(TransportError::NoAnswer(self.to, "the connection broke".into())))
            }
            () = &mut self.late => {
                Err(TransportError::NoAnswer(self.to, format!("waited {} ms", self.timeout.as_millis())))
            }
        };
        self.is_over = next.as_ref().map_or(true, |piece| piece.is_last);
        Some(next)
    }

    /// The only piece.
    async fn only(mut self) -> Result<Bytes, TransportError> {
        let to = self.to;
        match self.next().await {
            Some(Ok(piece)) if piece.is_last => Ok(piece.body),
            Some(Err(error)) => Err(error),
            _ => Err(too_many(to)),
        }
    }
}

impl PieceSender {
    /// Hands a piece over. False if that ends the request: it was the last, one too many, or nobody waits.
    pub fn piece(&mut self, body: Bytes, is_last: bool) -> bool {
        let fits = is_last || self.left > 1;
        self.left = self.left.saturating_sub(1);
        let piece = if fits { Ok(Piece { body, is_last }) } else { Err(too_many(self.to)) };
        self.coming.unbounded_send(piece).is_ok() && fits && !is_last
    }

    /// Ends the request without an answer.
    pub fn fail(&mut self, error: TransportError) {
        let _ = self.coming.unbounded_send(Err(error));
    }
}

fn too_many(to: NodeId) -> TransportError {
    TransportError::NoAnswer(to, "it answers in more pieces than it was asked for".into())
}

/// Sends pieces of an answer that are not the last, on the way by which its request came.
pub trait SendsPieces: Send + Sync {
    /// Sends a piece of the answer to request `id`; resolves once there is room for it, or nobody to send it to any longer.
    fn send_piece(&self, id: u64, body: Bytes) -> BoxFuture<'static, ()>;
}

/// For an answer that has more than one piece. The last one is what serving it returns.
#[derive(Clone)]
pub struct MorePieces {
    sender: Arc<dyn SendsPieces>,
    id: u64,
}

impl MorePieces {
    /// For the answer to request `id`.
    pub fn new(sender: Arc<dyn SendsPieces>, id: u64) -> Self {
        MorePieces { sender, id }
    }

    /// Sends a piece. It leaves before all that are sent after this returns, and before the last one.
    pub async fn send(&self, body: Bytes) {
        self.sender.send_piece(self.id, body).await;
    }
}

/// Where a member is, as some node knows it: what [`Service::Addresses`] is answered with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KnownAddress {
    /// The member.
    pub node: NodeId,
    /// Where it listened in that start.
    pub address: SocketAddr,
    /// The start that announced the address: the incarnation and a random number.
    pub start: (u64, u64),
}

impl KnownAddress {
    /// The answer's bytes.
    pub fn encode(all: &[KnownAddress]) -> Bytes {
        serde_json::to_vec(all).expect("addresses have only text keys").into()
    }

    /// Reads an answer; no more members than a cluster may have.
    ///
    /// # Errors
    /// Why it cannot be read.
    pub fn decode(answer: &[u8]) -> Result<Vec<KnownAddress>, String> {
        let mut all: Vec<KnownAddress> = serde_json::from_slice(answer).map_err(|error| error.to_string())?;
        all.truncate(MEMBERS_MAX);
        Ok(all)
    }
}

/// Why a node could not be reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trouble {
    /// Where it was tried.
    pub address: SocketAddr,
    /// What happened.
    pub why: String,
}

/// A node of another cluster, or of a cluster while this node has none, that has dialled this one in search of a member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ForeignContact {
    /// Who.
    pub node: NodeId,
    /// Where it listens, by its own words.
    pub address: SocketAddr,
    /// Its cluster, as far as it is fit to be shown.
    pub cluster: String,
}

/// Carries requests between nodes. Requests to one node arrive in the order in which they were sent while a connection lasts; none
/// arrives twice.
pub trait PeerNetwork: Send + Sync + 'static {
    /// This node.
    fn node(&self) -> NodeId;
    /// Sets the cluster, once it is known.
    fn set_cluster(&self, cluster: String);
    /// Learns where a node listens, by its start of that number, and keeps a connection to it from now on. Addresses of later starts go
    /// before those of earlier ones, which are tried when they do not reach the node.
    fn know(&self, node: NodeId, address: SocketAddr, start: (u64, u64));
    /// The node was removed from the cluster: it is dialled no more, nor known again.
    fn forget(&self, node: NodeId);
    /// Where the other nodes known are, as far as this one knows.
    fn addresses(&self) -> Vec<KnownAddress>;
    /// Where another node is dialled: where it answers, if it is live.
    fn address_of(&self, node: NodeId) -> Option<SocketAddr>;
    /// Why a node could not be reached when it was last tried; none if it was.
    fn trouble(&self, node: NodeId) -> Option<Trouble>;
    /// A node of another cluster that has asked for a member of its own here, if there was one.
    fn foreign_contact(&self) -> Option<ForeignContact>;
    /// Learns of a node's start; false if a newer one, or another of the same number, is known already.
    fn know_start(&self, node: NodeId, start: (u64, u64)) -> bool;
    /// The other nodes known.
    fn known(&self) -> Vec<NodeId>;
    /// How long ago another node last answered; none if it has not answered since this node started.
    fn answered_ago(&self, node: NodeId) -> Option<Duration>;
    /// True for this node and for one that answered within [`LIVE_FOR`].
    fn is_live(&self, node: NodeId) -> bool {
        node == self.node() || self.answered_ago(node).is_some_and(|ago| ago < LIVE_FOR)
    }
    /// What the nodes known say of their clocks, when they meet and in their answers to pings.
    fn clocks(&self) -> PeerClocks;
    /// Sends a request, whose answer has at most `pieces_max` pieces. Sent, or failed, when this returns. A connection that breaks
    /// fails what has not been answered by then, and a piece that has come stays.
    fn request_pieces(&self, to: NodeId, service: Service, body: Bytes, pieces_max: usize, timeout: Duration)
    -> Pieces;
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

/// Sends a request that is answered in one piece. Sent, or failed, when this returns.
pub fn request(
    network: &dyn PeerNetwork,
    to: NodeId,
    service: Service,
    body: Bytes,
    timeout: Duration,
) -> BoxFuture<'static, Result<Bytes, TransportError>> {
    Box::pin(network.request_pieces(to, service, body, 1, timeout).only())
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
    pub fn know(&self, node: NodeId, address: SocketAddr, start: (u64, u64)) {
        self.network.know(node, address, start);
    }

    /// See [`PeerNetwork::forget`].
    pub fn forget(&self, node: NodeId) {
        self.network.forget(node);
    }

    /// See [`PeerNetwork::addresses`].
    pub fn addresses(&self) -> Vec<KnownAddress> {
        self.network.addresses()
    }

    /// See [`PeerNetwork::address_of`].
    pub fn address_of(&self, node: NodeId) -> Option<SocketAddr> {
        self.network.address_of(node)
    }

    /// See [`PeerNetwork::trouble`].
    pub fn trouble(&self, node: NodeId) -> Option<Trouble> {
        self.network.trouble(node)
    }

    /// See [`PeerNetwork::foreign_contact`].
    pub fn foreign_contact(&self) -> Option<ForeignContact> {
        self.network.foreign_contact()
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

    /// See [`PeerNetwork::answered_ago`].
    pub fn answered_ago(&self, node: NodeId) -> Option<Duration> {
        self.network.answered_ago(node)
    }

    /// See [`PeerNetwork::clocks`].
    pub fn clocks(&self) -> PeerClocks {
        self.network.clocks()
    }

    /// Sends a request that is answered in one piece. Sent, or failed, when this returns.
    pub fn request(
        &self,
        to: NodeId,
        service: Service,
        body: Bytes,
        timeout: Duration,
    ) -> BoxFuture<'static, Result<Bytes, TransportError>> {
        request(&*self.network, to, service, body, timeout)
    }

    /// See [`PeerNetwork::request_pieces`].
    pub fn request_pieces(
        &self,
        to: NodeId,
        service: Service,
        body: Bytes,
        pieces_max: usize,
        timeout: Duration,
    ) -> Pieces {
        self.network.request_pieces(to, service, body, pieces_max, timeout)
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

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

    use super::*;

    const TO: NodeId = NodeId(4);

    fn pieces(pieces_max: usize) -> (PieceSender, Pieces) {
        Pieces::new(TO, pieces_max, Duration::from_secs(1))
    }

    /// Fails if pieces are not counted: a node could fill the memory of one that does not read.
    #[tokio::test]
    async fn no_more_pieces_are_taken_than_were_asked_for() {
        let (mut sender, mut coming) = pieces(2);
        assert!(sender.piece(Bytes::from_static(b"1"), false));
        assert!(!sender.piece(Bytes::from_static(b"2"), false));
        assert!(coming.next().await.unwrap().is_ok());
        assert!(matches!(coming.next().await, Some(Err(TransportError::NoAnswer(TO, _)))));
        assert!(coming.next().await.is_none());
        let (mut sender, coming) = pieces(1);
        assert!(!sender.piece(Bytes::new(), false), "a request that is answered in one piece");
        assert!(matches!(coming.only().now_or_never(), Some(Err(TransportError::NoAnswer(TO, _)))));
    }

    /// Fails if the form of the answer changes; see [`crate::fixtures`].
    #[test]
    fn the_fixture_of_addresses_is_read_and_written_as_it_is() {
        let of =
            |node, address: &str, start| KnownAddress { node: NodeId(node), address: address.parse().unwrap(), start };
        let all = [of(10, "10.0.0.1:7400", (3, u64::MAX)), of(11, "[::1]:7401", (1, 2))];
        let written = KnownAddress::encode(&all);
        let stored = crate::fixtures::stored("addresses_2", &written);
        assert_eq!(KnownAddress::decode(&stored).unwrap(), all);
        assert_eq!(written, stored);
        assert!(KnownAddress::decode(b"[1]").is_err());
        let many = vec![all[0]; MEMBERS_MAX + 1];
        assert_eq!(KnownAddress::decode(&KnownAddress::encode(&many)).unwrap().len(), MEMBERS_MAX);
    }

    /// Fails if a connection that breaks takes with it what has come.
    #[tokio::test(start_paused = true)]
    async fn what_has_come_stays_when_the_connection_breaks_or_the_time_is_over() {
        let (mut sender, mut coming) = pieces(3);
        sender.piece(Bytes::from_static(b"1"), false);
        drop(sender);
        assert_eq!(coming.next().await.unwrap().unwrap().body, Bytes::from_static(b"1"));
        assert!(matches!(coming.next().await, Some(Err(TransportError::NoAnswer(TO, why))) if why.contains("broke")));
        let (mut sender, mut coming) = pieces(3);
        sender.piece(Bytes::from_static(b"1"), false);
        assert!(coming.next().await.unwrap().is_ok());
        assert!(matches!(coming.next().await, Some(Err(TransportError::NoAnswer(TO, why))) if why.contains("1000 ms")));
    }
}
