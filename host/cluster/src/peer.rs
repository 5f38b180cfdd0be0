//! Framed, batched streams between nodes.
//!
//! Each node dials one stream to each other node and sends its requests on it; answers come back on the same stream. So between two
//! nodes there are two, one for each direction of asking, and neither side has to decide whose connection wins when both dial at
//! once. Everything goes through them: Raft's messages, routed calls, meta proposals, published messages.
//!
//! Wire, little-endian. Hello, both ways, once: `magic 8 bytes | length u32 | JSON` ([`Hello`]). Then frames:
//! `length u32 | kind u8 | id u64 | body`, kind 0 request, 1 answer, 2 refusal (a text), 3 one-way, 4 a piece of an answer that is not the
//! last. A request's body starts with a service byte. Whatever one node has to send when its socket is writable leaves in one write.
//!
//! The magic and the hello never change. A hello carries the range of wire versions that its speaker has ([`WireVersions`]); both ends
//! take the highest that they have in common, or refuse with both ranges. Frames, and what is in them, are of that version.
//!
//! An answer comes in pieces so that what is ready does not wait for what is not, and so that no frame is large because an answer is. An
//! answer that comes for a request that nobody waits for any longer is dropped. A stream that breaks fails what has not been answered.
//!
//! Bounded: a frame's length, the bytes of requests being served for one peer (reading stops until some are answered),
//! the bytes queued for one peer (further requests fail at once, answers wait for room, and of what needs no answer much less may wait),
//! the pieces of an answer, the time until a frame has come or gone whole. Requests of one peer are *started* in their order of arrival.
//!
//! Where a peer is dialled is decided by [`addresses`]: the address of its newest start first, wherever that was heard, and another one after
//! each attempt that does not reach it. What is said about nodes that answer otherwise than expected is in [`contacts`].
//!
//! Nobody proves who he is yet: a hello is believed. But one that names no member of the cluster is a stranger's, who may ask to join and
//! whether anybody is there, in small frames, and of whom nothing is remembered.

mod addresses;
mod contacts;
mod hello;
mod queue;
mod silence;
#[cfg(test)]
mod tests;
mod wire;

use std::collections::hash_map::Entry;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures::future::BoxFuture;
use parking_lot::{Mutex, RwLock};
use recoil_base::{Clock, NodeId, Shutdown, Tasks};
use recoil_consensus::TransportError;
use rustc_hash::{FxHashMap, FxHashSet};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::{Semaphore, watch};
use tokio::time::Instant;

use crate::clocks::PeerClocks;
use crate::peers::{
    ForeignContact, KnownAddress, LIVE_FOR, MorePieces, PeerNetwork, PieceSender, Pieces, SendsPieces, Starts, Trouble,
    request,
};

use self::addresses::Addresses;
use self::contacts::{Contacts, Reached};
use self::hello::{HELLO_TIMEOUT, check, dial, silent};
pub use hello::{Excluded, Hello, HelloError};
pub(crate) use hello::{HELLO_BYTES_MAX, read_hello, write_hello};
pub(crate) use queue::Outgoing;
use queue::{Queue, Queued};
pub use wire::{MAGIC, WIRE, WireMismatch, WireVersions, agree, other_format};

/// The largest frame: a transaction of 16 MiB with room to spare.
pub(crate) const FRAME_BYTES_MAX: usize = 32 << 20;
/// The largest frame of a node that is not a member: there is room for a request to join.
const STRANGER_FRAME_BYTES_MAX: usize = 16 << 10;
/// Bytes of requests being served for one peer.
const SERVING_BYTES_MAX: usize = 64 << 20;
/// What one request of a stranger counts for among them: few at a time.
const STRANGER_SERVING_BYTES: usize = SERVING_BYTES_MAX / 4;
/// Bytes waiting to be sent to one peer.
const QUEUED_BYTES_MAX: usize = 64 << 20;
/// What needs no answer may be lost, and is once this much waits: it must hold up neither calls nor Raft.
const QUEUED_ONE_WAY_BYTES_MAX: usize = 4 << 20;
/// Bytes waiting to be sent to a stranger.
const STRANGER_QUEUED_BYTES_MAX: usize = 256 << 10;
/// Bytes put together into one write.
const WRITE_BYTES: usize = 256 << 10;
/// A stream that has brought no whole frame, or taken none, for this long is closed: members send pings all the time, and whoever
/// joins is answered earlier.
const FRAME_TIMEOUT: Duration = Duration::from_secs(30);
const REDIAL_MIN: Duration = Duration::from_millis(20);
const REDIAL_MAX: Duration = Duration::from_millis(500);
const PING_EVERY: Duration = Duration::from_millis(500);

const NOT_A_MEMBER: &str = "this node does not know you as a member of the cluster (yet): retry, or join first";
const UNKNOWN_SERVICE: &str = "a service that this node does not offer; is it of another version?";

const REQUEST: u8 = 0;
const ANSWER: u8 = 1;
const REFUSAL: u8 = 2;
const ONE_WAY: u8 = 3;
const PIECE: u8 = 4;

/// What a request is for: its first byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Service {
    /// Raft: `group u32 | kind u8 | message`.
    Raft = 1,
    /// Routed calls; see [`crate::calls`].
    Calls = 2,
    /// A meta entry to propose.
    Propose = 3,
    /// Messages of topics (one-way); see [`crate::topics`].
    Publish = 4,
    /// Are you there? Answered with the wall time, `u64` microseconds since the Unix epoch.
    Ping = 5,
    /// A node that is not a member yet asks to become one.
    Join = 6,
    /// Could you lead this group now? `group u32 | meta index u64`, refused with what speaks against it.
    MayLead = 7,
    /// A piece of a package's file. `recoil_node`'s `packages` says what is asked and answered.
    Package = 8,
    /// Where are the members of the cluster, as far as is known there? Answered with JSON, [`KnownAddress`] for each.
    Addresses = 9,
    /// Asks of a partition that moves. `recoil_node`'s `moves` says what is asked and answered.
    Move = 10,
    /// How long have members been silent? `recoil_node`'s `balance` says what is asked and answered.
    Silence = 11,
    /// Asks of groups that have lost their quorum. `recoil_node`'s `recovery` says what is asked and answered.
    Recover = 12,
    /// Who leads the groups that have a replica there? Answered with JSON; see `recoil_node`'s `leaders`.
    Leaders = 13,
}

impl Service {
    fn from_byte(byte: u8) -> Option<Self> {
        let all = [
            Self::Raft,
            Self::Calls,
            Self::Propose,
            Self::Publish,
            Self::Ping,
            Self::Join,
            Self::MayLead,
            Self::Package,
            Self::Addresses,
            Self::Move,
            Self::Silence,
            Self::Recover,
            Self::Leaders,
        ];
        all.into_iter().find(|service| *service as u8 == byte)
    }
}

/// Serves what other nodes ask.
pub trait PeerService: Send + Sync + 'static {
    /// Called in order of arrival; must not block. The future runs by itself, and returns the answer, or its last piece if others have
    /// been sent by `more`.
    fn serve(
        &self,
        from: NodeId,
        service: Service,
        body: Bytes,
        more: MorePieces,
    ) -> BoxFuture<'static, Result<Bytes, String>>;

    /// Whether this node is of the cluster, as far as is known here. Others may only join and ping.
    fn is_member(&self, node: NodeId) -> bool;

    /// Why this node is of the cluster no more, if it was removed. It is not served.
    fn removed(&self, _node: NodeId) -> Option<String> {
        None
    }
}

struct Connection {
    queue: Queue,
    waiting: Mutex<FxHashMap<u64, PieceSender>>,
}

/// A request's place among those that wait for an answer, given back also when nobody waits any longer.
struct Waiting {
    connection: Arc<Connection>,
    id: u64,
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.connection.waiting.lock().remove(&self.id);
    }
}

struct Peer {
    addresses: Mutex<Addresses>,
    connection: RwLock<Option<Arc<Connection>>>,
    answered: Mutex<Option<Instant>>,
    /// Why the last attempt to reach it failed; none since one has not.
    trouble: Mutex<Option<Trouble>>,
    /// It is not dialled any more.
    forgotten: Shutdown,
}

impl Peer {
    fn at(address: SocketAddr, start: (u64, u64)) -> Self {
        Peer {
            addresses: Mutex::new(Addresses::new(address, start)),
            connection: RwLock::new(None),
            answered: Mutex::new(None),
            trouble: Mutex::new(None),
            forgotten: Shutdown::new(),
        }
    }
}

struct Inner {
    hello: Mutex<Hello>,
    peers: RwLock<FxHashMap<NodeId, Arc<Peer>>>,
    /// Nodes that were removed: whoever names one of them adds no peer.
    forgotten: Mutex<FxHashSet<NodeId>>,
    starts: Starts,
    /// Why another member says that this node has no part in the cluster.
    excluded: watch::Sender<Option<Excluded>>,
    contacts: Contacts,
    /// No stream is opened, taken or kept.
    isolated: watch::Sender<bool>,
    next_id: AtomicU64,
    tasks: Tasks,
    clock: Clock,
    clocks: PeerClocks,
}

/// This node's streams to all others over TCP.
#[derive(Clone)]
pub struct TcpPeers {
    inner: Arc<Inner>,
}

/// An accepted stream after the hellos.
#[derive(Debug)]
pub struct Greeted {
    stream: TcpStream,
    joining: bool,
    /// The wire version of its frames.
    pub wire: u32,
    /// Who speaks, by his own words.
    pub node: NodeId,
    /// Whether that is a member of the cluster.
    pub member: bool,
}

impl TcpPeers {
    /// No peers yet.
    pub fn new(node: NodeId, start: (u64, u64), address: SocketAddr, clock: Clock, tasks: Tasks) -> Self {
        let hello = Hello {
            wire: WIRE,
            cluster: String::new(),
            node,
            start,
            address,
            expects: None,
            refusal: None,
            outdated: false,
            removed: false,
            wall_us: None,
        };
        let inner = Inner {
            hello: Mutex::new(hello),
            peers: RwLock::default(),
            forgotten: Mutex::default(),
            starts: Starts::default(),
            excluded: watch::channel(None).0,
            contacts: Contacts::default(),
            isolated: watch::channel(false).0,
            next_id: AtomicU64::new(1),
            tasks,
            clocks: PeerClocks::new(clock.clone()),
            clock,
        };
        TcpPeers { inner: Arc::new(inner) }
    }

    /// Resolves with the reason when another member refuses this node because it knows a later start of it, or that it was removed.
    pub fn excluded(&self) -> impl Future<Output = Excluded> + Send + 'static + use<> {
        let mut reasons = self.inner.excluded.subscribe();
        async move {
            loop {
                if let Some(why) = reasons.borrow_and_update().clone() {
                    return why;
                }
                if reasons.changed().await.is_err() {
                    std::future::pending::<()>().await;
                }
            }
        }
    }

    /// Where this node listens from now on, as it tells whomever it meets.
    pub fn set_address(&self, address: SocketAddr) {
        self.inner.hello.lock().address = address;
    }

    /// Has this node speak these wire versions rather than [`WIRE`], as another version of Recoil would. For tests of upgrades.
    pub fn set_wire(&self, wire: WireVersions) {
        self.inner.hello.lock().wire = wire;
    }

    /// Cuts this node off from all others, or lets it reach them again: as if its cables were out. For trying things out.
    pub fn isolate(&self, isolated: bool) {
        self.inner.isolated.send_replace(isolated);
    }

    async fn wait_isolated(&self, isolated: bool) {
        // The sender is there as long as this is.
        let _ = self.inner.isolated.subscribe().wait_for(|now| *now == isolated).await;
    }

    fn hello(&self) -> Hello {
        Hello { wall_us: Some(self.inner.clock.wall_us()), ..self.inner.hello.lock().clone() }
    }

    fn hear(&self, hello: &Hello) {
        if let Some(wall_us) = hello.wall_us {
            self.inner.clocks.hear(hello.node, wall_us);
        }
    }

    fn old_copy(&self, hello: &Hello) -> Option<String> {
        // Of a node that is no member nothing is remembered.
        if hello.cluster.is_empty() { None } else { self.inner.starts.refusal(hello.node, hello.start) }
    }

    async fn keep(self, node: NodeId, peer: Arc<Peer>) {
        let mut pause = REDIAL_MIN;
        let mut said = Vec::new();
        loop {
            let hello = Hello { expects: Some(node), ..self.hello() };
            if hello.cluster.is_empty() {
                // A founder learns of joiners before it has written down its cluster. Nobody would take it for a member yet.
                tokio::time::sleep(REDIAL_MIN).await;
                continue;
            }
            self.wait_isolated(false).await;
            let address = peer.addresses.lock().current();
            match dial(address, &hello).await.and_then(|(stream, theirs)| Ok((stream, check(&hello, theirs)?))) {
                Ok((_, theirs)) if self.old_copy(&theirs).is_some() => {
                    tracing::warn!(%node, "the node at {address} has an old copy of its data folder; nothing is asked of it");
                    peer.addresses.lock().failed(address);
                }
                Ok((stream, theirs)) => {
                    pause = REDIAL_MIN;
                    *peer.trouble.lock() = None;
                    said.clear();
                    self.hear(&theirs);
                    self.stay(node, &peer, stream).await;
                }
                Err(error) => {
                    peer.addresses.lock().failed(address);
                    let why = self.not_reached(Reached { node, address, ours: &hello }, error, &mut said);
                    *peer.trouble.lock() = Some(Trouble { address, why });
                }
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(REDIAL_MAX);
        }
    }

    /// Asks what is to be asked of a peer, until the stream ends.
    async fn stay(&self, node: NodeId, peer: &Peer, stream: TcpStream) {
        let (queue, outgoing) = Queue::new(QUEUED_BYTES_MAX);
        let connection = Arc::new(Connection { queue, waiting: Mutex::default() });
        *peer.connection.write() = Some(connection.clone());
        *peer.answered.lock() = Some(self.inner.clock.now());
        let (read, write) = stream.into_split();
        tokio::select! {
            error = send_all(write, outgoing) => tracing::debug!(%node, ?error, "stream ended"),
            error = receive_answers(read, &connection, node) => tracing::debug!(%node, ?error, "stream ended"),
            () = self.wait_isolated(true) => {}
        }
        *peer.connection.write() = None;
        // Whoever waits learns of it by the end of what it waits on.
        connection.waiting.lock().clear();
    }

    async fn ping(self, node: NodeId, peer: Arc<Peer>) {
        loop {
            match request(&self, node, Service::Ping, Bytes::new(), LIVE_FOR).await {
                Ok(answer) => {
                    *peer.answered.lock() = Some(self.inner.clock.now());
                    if let Ok(wall_us) = answer[..].try_into() {
                        self.inner.clocks.hear(node, u64::from_le_bytes(wall_us));
                    }
                }
                Err(_) => self.inner.clocks.miss(node),
            }
            tokio::time::sleep(PING_EVERY).await;
        }
    }

    /// Exchanges hellos on an accepted stream, whose first eight bytes were [`MAGIC`] and have been read.
    pub async fn greet(&self, mut stream: TcpStream, service: &dyn PeerService) -> Result<Greeted, HelloError> {
        if *self.inner.isolated.borrow() {
            return Err(std::io::Error::from(std::io::ErrorKind::NetworkUnreachable).into());
        }
        let theirs =
            tokio::time::timeout(HELLO_TIMEOUT, read_hello(&mut stream)).await.map_err(|_| silent(HELLO_TIMEOUT))??;
        let mut ours = self.hello();
        let joining = theirs.cluster.is_empty();
        let member = !joining && service.is_member(theirs.node);
        let wire = agree((ours.node, ours.wire), (theirs.node, theirs.wire));
        let wrong = if let Err(why) = &wire {
            Some(why.to_string())
        } else if !joining && theirs.cluster != ours.cluster {
            Some(self.other_cluster(&ours, &theirs))
        } else if theirs.expects.is_some_and(|node| node != ours.node) {
            Some(format!("this is node {}; the node that listened here before is gone", ours.node))
        } else {
            None
        };
        let removed = if wrong.is_none() && !joining { service.removed(theirs.node) } else { None };
        ours.removed = removed.is_some();
        let wrong = wrong.or(removed);
        let outdated = if wrong.is_none() && member { self.old_copy(&theirs) } else { None };
        ours.outdated = wrong.is_none() && outdated.is_some();
        let own = || (theirs.node == ours.node).then(|| format!("node {} is this one; ids are not shared", ours.node));
        let wrong = wrong.or(outdated).or_else(own);
        ours.refusal = wrong.clone();
        tokio::time::timeout(HELLO_TIMEOUT, write_hello(&mut stream, &ours))
            .await
            .map_err(|_| silent(HELLO_TIMEOUT))??;
        let (Ok(wire), None) = (&wire, &wrong) else {
            return Err(HelloError::Refused { why: wrong.unwrap_or_default(), theirs: Box::new(theirs) });
        };
        let wire = *wire;
        if member {
            self.know(theirs.node, theirs.address, theirs.start);
            self.hear(&theirs);
        }
        silence::bound(&stream)?;
        Ok(Greeted { stream, wire, node: theirs.node, joining, member })
    }

    /// Serves what a greeted node asks, until its stream ends.
    pub async fn serve(&self, greeted: Greeted, service: Arc<dyn PeerService>) -> Result<(), HelloError> {
        let (read, write) = greeted.stream.into_split();
        let (queue, outgoing) = Queue::new(if greeted.member { QUEUED_BYTES_MAX } else { STRANGER_QUEUED_BYTES_MAX });
        tokio::select! {
            error = send_all(write, outgoing) => error?,
            error = serve_requests(read, queue, greeted.node, greeted.joining, service, &self.inner.tasks) => error?,
            () = self.wait_isolated(true) => {}
        }
        Ok(())
    }
}

impl PeerNetwork for TcpPeers {
    fn node(&self) -> NodeId {
        self.inner.hello.lock().node
    }

    fn set_cluster(&self, cluster: String) {
        self.inner.hello.lock().cluster = cluster;
    }

    fn know(&self, node: NodeId, address: SocketAddr, start: (u64, u64)) {
        if node == self.node() || self.inner.forgotten.lock().contains(&node) {
            return;
        }
        let known = self.inner.peers.read().get(&node).cloned();
        if let Some(peer) = known {
            peer.addresses.lock().learn(address, start);
            return;
        }
        // Several may be here with the same node: one of them adds it.
        let peer = match self.inner.peers.write().entry(node) {
            Entry::Occupied(known) => {
                known.get().addresses.lock().learn(address, start);
                return;
            }
            Entry::Vacant(place) => place.insert(Arc::new(Peer::at(address, start))).clone(),
        };
        self.inner.clocks.know(node);
        let (forgotten, no_longer) = (peer.forgotten.clone(), peer.forgotten.clone());
        let (keeping, pinging) = (self.clone().keep(node, peer.clone()), self.clone().ping(node, peer));
        self.inner.tasks.spawn(async move {
            tokio::select! {
                () = forgotten.wait() => {}
                () = keeping => {}
            }
        });
        self.inner.tasks.spawn(async move {
            tokio::select! {
                () = no_longer.wait() => {}
                () = pinging => {}
            }
        });
    }

    fn forget(&self, node: NodeId) {
        self.inner.forgotten.lock().insert(node);
        let peer = self.inner.peers.write().remove(&node);
        if let Some(peer) = peer {
            peer.forgotten.trigger();
            // Whoever waits learns of it by the end of what it waits on.
            if let Some(connection) = peer.connection.write().take() {
                connection.waiting.lock().clear();
            }
            self.inner.clocks.forget(node);
        }
    }

    fn addresses(&self) -> Vec<KnownAddress> {
        let peers = self.inner.peers.read();
        let known = peers.iter().map(|(node, peer)| {
            let (address, start) = peer.addresses.lock().newest();
            KnownAddress { node: *node, address, start }
        });
        known.collect()
    }

    fn address_of(&self, node: NodeId) -> Option<SocketAddr> {
        Some(self.inner.peers.read().get(&node)?.addresses.lock().current())
    }

    fn trouble(&self, node: NodeId) -> Option<Trouble> {
        self.inner.peers.read().get(&node)?.trouble.lock().clone()
    }

    fn foreign_contact(&self) -> Option<ForeignContact> {
        self.inner.contacts.foreign()
    }

    fn know_start(&self, node: NodeId, start: (u64, u64)) -> bool {
        self.inner.starts.know(node, start)
    }

    fn known(&self) -> Vec<NodeId> {
        self.inner.peers.read().keys().copied().collect()
    }

    fn answered_ago(&self, node: NodeId) -> Option<Duration> {
        let peer = self.inner.peers.read().get(&node).cloned();
        let at = (*peer?.answered.lock())?;
        Some(self.inner.clock.now().saturating_duration_since(at))
    }

    fn clocks(&self) -> PeerClocks {
        self.inner.clocks.clone()
    }

    fn request_pieces(
        &self,
        to: NodeId,
        service: Service,
        body: Bytes,
        pieces_max: usize,
        timeout: Duration,
    ) -> Pieces {
        let connection = self.inner.peers.read().get(&to).and_then(|peer| peer.connection.read().clone());
        let Some(connection) = connection else { return Pieces::failed(to, TransportError::Unreachable(to)) };
        let id = self.inner.next_id.fetch_add(1, Ordering::Relaxed);
        let (sender, pieces) = Pieces::new(to, pieces_max, timeout);
        connection.waiting.lock().insert(id, sender);
        let waiting = Waiting { connection, id };
        if !waiting.connection.queue.push(Outgoing { kind: REQUEST, id, service: Some(service), body }) {
            return Pieces::failed(to, TransportError::Unreachable(to));
        }
        pieces.with(waiting)
    }

    fn tell(&self, to: NodeId, service: Service, body: Bytes) {
        let connection = self.inner.peers.read().get(&to).and_then(|peer| peer.connection.read().clone());
        if let Some(connection) = connection {
            connection.queue.push(Outgoing { kind: ONE_WAY, id: 0, service: Some(service), body });
        }
    }

    fn ask(
        &self,
        address: SocketAddr,
        service: Service,
        body: Bytes,
        timeout: Duration,
    ) -> BoxFuture<'static, Result<(Hello, Result<Bytes, String>), HelloError>> {
        let (hello, isolated) = (self.hello(), *self.inner.isolated.borrow());
        Box::pin(async move {
            if isolated {
                return Err(std::io::Error::from(std::io::ErrorKind::NetworkUnreachable).into());
            }
            let (stream, theirs) = dial(address, &hello).await?;
            let (mut read, mut write) = stream.into_split();
            let mut buffer = BytesMut::new();
            Outgoing { kind: REQUEST, id: 1, service: Some(service), body }.write(&mut buffer);
            write.write_all(&buffer).await?;
            let frame = tokio::time::timeout(timeout, read_frame(&mut read, FRAME_BYTES_MAX))
                .await
                .map_err(|_| silent(timeout))??;
            let answer = match frame.kind {
                ANSWER => Ok(frame.body),
                _ => Err(String::from_utf8_lossy(&frame.body).into_owned()),
            };
            Ok((theirs, answer))
        })
    }
}

pub(crate) struct Frame {
    pub(crate) kind: u8,
    pub(crate) id: u64,
    pub(crate) body: Bytes,
}

pub(crate) async fn read_frame(read: &mut (impl AsyncReadExt + Unpin), bytes_max: usize) -> std::io::Result<Frame> {
    let length = read.read_u32_le().await? as usize;
    if !(9..=bytes_max + 64).contains(&length) {
        let text = format!("a frame of {length} bytes; 9 to {bytes_max} are allowed");
        return Err(std::io::Error::new(std::io::ErrorKind::InvalidData, text));
    }
    let kind = read.read_u8().await?;
    let id = read.read_u64_le().await?;
    // Grows with what arrives, not with what the length claims.
    let mut body = BytesMut::with_capacity((length - 9).min(64 << 10));
    let mut rest = read.take((length - 9) as u64);
    while body.len() < length - 9 {
        if rest.read_buf(&mut body).await? == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
    }
    Ok(Frame { kind, id, body: body.freeze() })
}

async fn send_all(mut write: impl AsyncWriteExt + Unpin, mut outgoing: Queued) -> std::io::Result<()> {
    let mut buffer = BytesMut::with_capacity(WRITE_BYTES);
    while let Some(first) = outgoing.receiver.recv().await {
        // Whoever else is ready may have something for the same write: the system's call costs more than what it sends.
        tokio::task::yield_now().await;
        let mut size = first.size();
        first.write(&mut buffer);
        while buffer.len() < WRITE_BYTES {
            let Ok(next) = outgoing.receiver.try_recv() else { break };
            size += next.size();
            next.write(&mut buffer);
        }
        tokio::time::timeout(FRAME_TIMEOUT, write.write_all(&buffer)).await??;
        outgoing.sent(size);
        buffer.clear();
        if buffer.capacity() > 4 * WRITE_BYTES {
            buffer = BytesMut::with_capacity(WRITE_BYTES);
        }
    }
    Ok(())
}

async fn receive_answers(
    read: impl AsyncReadExt + Unpin,
    connection: &Connection,
    node: NodeId,
) -> std::io::Result<()> {
    let mut read = tokio::io::BufReader::with_capacity(64 << 10, read);
    loop {
        let frame = tokio::time::timeout(FRAME_TIMEOUT, read_frame(&mut read, FRAME_BYTES_MAX)).await??;
        let mut waiting = connection.waiting.lock();
        let Entry::Occupied(mut sender) = waiting.entry(frame.id) else { continue };
        let goes_on = match frame.kind {
            PIECE | ANSWER => sender.get_mut().piece(frame.body, frame.kind == ANSWER),
            REFUSAL => {
                let text = String::from_utf8_lossy(&frame.body).into_owned();
                sender.get_mut().fail(TransportError::Refused(node, text));
                false
            }
            kind => {
                let text = format!("an answer of the unknown kind {kind}");
                return Err(std::io::Error::new(std::io::ErrorKind::InvalidData, text));
            }
        };
        if !goes_on {
            sender.remove();
        }
    }
}

async fn serve_requests(
    read: impl AsyncReadExt + Unpin,
    queue: Queue,
    from: NodeId,
    joining: bool,
    service: Arc<dyn PeerService>,
    tasks: &Tasks,
) -> std::io::Result<()> {
    let mut read = tokio::io::BufReader::with_capacity(64 << 10, read);
    let room = Arc::new(Semaphore::new(SERVING_BYTES_MAX));
    let pieces: Arc<dyn SendsPieces> = Arc::new(queue.clone());
    loop {
        // A stranger may have become a member since.
        let is_member = || !joining && service.is_member(from);
        let bytes_max = if is_member() { FRAME_BYTES_MAX } else { STRANGER_FRAME_BYTES_MAX };
        let mut frame = tokio::time::timeout(FRAME_TIMEOUT, read_frame(&mut read, bytes_max)).await??;
        let known = frame.body.first().copied().and_then(Service::from_byte);
        let member = is_member();
        if !member && !joining && service.removed(from).is_some() {
            // It dials again, and is told.
            return Err(std::io::Error::other("the peer was removed from the cluster"));
        }
        let allowed = known.filter(|service| member || matches!(service, Service::Join | Service::Ping));
        let (Some(asked), true) = (allowed, matches!(frame.kind, REQUEST | ONE_WAY)) else {
            let text = if known.is_some() { NOT_A_MEMBER } else { UNKNOWN_SERVICE };
            let body = Bytes::from_static(text.as_bytes());
            if !queue.push(Outgoing { kind: REFUSAL, id: frame.id, service: None, body }) {
                return Err(std::io::Error::other("a peer asks and does not take the answers"));
            }
            continue;
        };
        let body = frame.body.split_off(1);
        let size = if member { (body.len() + 64).min(SERVING_BYTES_MAX) } else { STRANGER_SERVING_BYTES } as u32;
        let Ok(permit) = room.clone().acquire_many_owned(size).await else { return Ok(()) };
        let answering = service.serve(from, asked, body, MorePieces::new(pieces.clone(), frame.id));
        let (queue, id, kind) = (queue.clone(), frame.id, frame.kind);
        tasks.spawn(async move {
            let answer = answering.await;
            if kind == REQUEST {
                let (kind, body) = match answer {
                    Ok(body) => (ANSWER, body),
                    Err(text) => (REFUSAL, Bytes::from(text)),
                };
                queue.push_answer(Outgoing { kind, id, service: None, body }).await;
            }
            drop(permit);
        });
    }
}
