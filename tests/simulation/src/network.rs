//! A network of messages. Between two nodes there is a connection for each direction of asking, as with TCP: requests arrive in order
//! while it lasts, as do the pieces of their answers, a break fails every request that waits on it, and what was under way may still
//! arrive afterwards.
//!
//! Faults: delays, slow links, cuts of one direction or both (what is sent waits, as TCP would send it again, or the connection
//! breaks) and loss of a request or of a piece of an answer, which TCP excludes: a last piece may come without those before. *Strays* are
//! requests of moves and of changes of the cluster whose connection breaks as they leave: whoever asks learns that it has no answer
//! and asks again, and the first request arrives all the same, up to [`STRAY_MS`] later. Duplicates and messages that overtake each other
//! on one connection are absent: the contract of [`PeerNetwork`] excludes both, as TCP does.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::{Arc, Weak};
use std::time::Duration;

use bytes::Bytes;
use futures::future::BoxFuture;
use parking_lot::Mutex;
use recoil_base::{Clock, NodeId, Tasks};
use recoil_cluster::peer::{Hello, HelloError, WIRE};
use recoil_cluster::peers::{
    ForeignContact, KnownAddress, LIVE_FOR, MorePieces, PieceSender, Pieces, SendsPieces, Starts, Trouble, request,
};
use recoil_cluster::{PeerClocks, PeerNetwork, PeerService, Service};
use recoil_consensus::TransportError;
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::chance;
use crate::trace::{self, Detail, note};

const REDIAL: Duration = Duration::from_millis(50);
const PING_EVERY: Duration = Duration::from_millis(500);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// The longest time that a stray request is under way, milliseconds: longer than whoever asks waits for an answer.
const STRAY_MS: u64 = 8000;

/// A node's place in the world.
pub(crate) type Place = usize;

/// How one direction between two nodes behaves.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LinkState {
    pub(crate) cut: bool,
    /// Milliseconds that a message takes.
    pub(crate) delay_ms: (u64, u64),
    pub(crate) loss_percent: u64,
}

impl Default for LinkState {
    fn default() -> Self {
        LinkState { cut: false, delay_ms: (0, 2), loss_percent: 0 }
    }
}

#[derive(Default)]
struct Link {
    state: LinkState,
    /// When the last message arrives: later ones do not overtake it.
    last_ms: u64,
    held: Vec<Envelope>,
}

type Outcome = Result<Bytes, String>;

struct Envelope {
    from: Place,
    to: Place,
    /// The boot of the receiver that the message is for; another one never sees it.
    to_boot: u64,
    id: u64,
    content: Content,
}

enum Content {
    Request {
        from: NodeId,
        service: Service,
        body: Bytes,
        from_boot: u64,
        wants_answer: bool,
    },
    /// A piece of an answer that is not the last.
    Piece(Bytes),
    Answer(Outcome),
}

/// What reaches a node's own task.
pub(crate) enum Delivery {
    Request {
        from: NodeId,
        service: Service,
        body: Bytes,
        answer: Option<Answer>,
    },
    /// Another node has connected and says where it listens, and its wall time.
    Met(NodeId, SocketAddr, u64),
}

/// Sends an answer back.
#[derive(Clone)]
pub(crate) struct Answer {
    net: Net,
    from: Place,
    to: Place,
    to_boot: u64,
    id: u64,
}

impl Answer {
    fn send(&self, content: Content) {
        self.net.send(Envelope { from: self.from, to: self.to, to_boot: self.to_boot, id: self.id, content });
    }
}

impl SendsPieces for Answer {
    fn send_piece(&self, _: u64, body: Bytes) -> BoxFuture<'static, ()> {
        self.send(Content::Piece(body));
        Box::pin(async {})
    }
}

/// A request that wants no answer has no pieces either.
struct Nowhere;

impl SendsPieces for Nowhere {
    fn send_piece(&self, _: u64, _: Bytes) -> BoxFuture<'static, ()> {
        Box::pin(async {})
    }
}

struct Endpoint {
    boot: u64,
    peers: Arc<SimPeers>,
    /// Where requests come to, once it lets anybody in. It may ask others before.
    inbox: Option<mpsc::UnboundedSender<Delivery>>,
    /// What serves them, while it does.
    service: Option<Weak<dyn PeerService>>,
    /// Its disk has lost power: it sends nothing any more.
    silent: Box<dyn Fn() -> bool + Send>,
}

impl Endpoint {
    /// True if this node knows that another one was removed from the cluster.
    fn has_removed(&self, node: NodeId) -> bool {
        let service = self.service.as_ref().and_then(Weak::upgrade);
        service.is_some_and(|service| service.removed(node).is_some())
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
struct Connection {
    server: NodeId,
    asker_boot: u64,
    server_boot: u64,
    number: u64,
}

struct Waiting {
    asker: Place,
    /// The connection it waits on; none for a request on a connection of its own.
    connection: Option<(Place, u64)>,
    server: NodeId,
    pieces: PieceSender,
}

#[derive(Default)]
struct State {
    nodes: Vec<Option<Endpoint>>,
    addresses: Vec<SocketAddr>,
    links: BTreeMap<(Place, Place), Link>,
    connections: BTreeMap<(Place, Place), Connection>,
    waiting: BTreeMap<u64, Waiting>,
    queue: BTreeMap<(u64, u64), Envelope>,
    frozen: BTreeSet<Place>,
    /// Boots that another node has refused as an old copy.
    outdated: BTreeSet<(Place, u64)>,
    /// Boots that another node has told that they were removed from the cluster.
    removed: BTreeSet<(Place, u64)>,
    /// How many in a hundred requests of moves and changes of the cluster are strays.
    stray_percent: u64,
    next: u64,
}

/// The network. Clones share it.
#[derive(Clone, Default)]
pub(crate) struct Net(Arc<Mutex<State>>);

impl Net {
    pub(crate) fn new(addresses: Vec<SocketAddr>) -> Self {
        let nodes = addresses.iter().map(|_| None).collect();
        Net(Arc::new(Mutex::new(State { nodes, addresses, ..State::default() })))
    }

    /// A node has booted, and asks others from now on.
    fn register(&self, peers: Arc<SimPeers>, silent: Box<dyn Fn() -> bool + Send>) {
        let (place, boot) = (peers.place, peers.boot);
        self.0.lock().nodes[place] = Some(Endpoint { boot, peers, inbox: None, service: None, silent });
        // Whoever held a connection to the boot before learns now that it is gone.
        self.break_all(place);
    }

    /// The node lets others in: their requests come to `inbox`, and `service` serves them.
    fn open(&self, place: Place, boot: u64, inbox: mpsc::UnboundedSender<Delivery>, service: &Arc<dyn PeerService>) {
        let mut state = self.0.lock();
        if let Some(node) = state.nodes[place].as_mut().filter(|node| node.boot == boot) {
            node.inbox = Some(inbox);
            node.service = Some(Arc::downgrade(service));
        }
    }

    /// A node has ended. Its peers notice at once if its system closes its connections, else by silence.
    pub(crate) fn remove(&self, place: Place, closes: bool) {
        let gone = self.0.lock().nodes[place].take();
        drop(gone);
        self.0.lock().waiting.retain(|_, waiting| waiting.asker != place);
        if closes {
            self.break_all(place);
        }
    }

    fn break_all(&self, place: Place) {
        let pairs: Vec<_> =
            self.0.lock().connections.keys().copied().filter(|(a, b)| *a == place || *b == place).collect();
        for (asker, server) in pairs {
            self.break_connection(asker, server);
        }
    }

    /// The connection on which `asker` asks `server` breaks; what is under way may be lost.
    pub(crate) fn break_connection(&self, asker: Place, server: Place) {
        let mut state = self.0.lock();
        let Some(connection) = state.connections.remove(&(asker, server)) else { return };
        let broken: Vec<u64> = state
            .waiting
            .iter()
            .filter(|(_, waiting)| waiting.asker == asker && waiting.connection == Some((server, connection.number)))
            .map(|(id, _)| *id)
            .collect();
        let broken: Vec<_> = broken.into_iter().filter_map(|id| Some((id, state.waiting.remove(&id)?))).collect();
        let lose = chance::percent(50);
        if lose {
            let ids: BTreeSet<u64> = broken.iter().map(|(id, _)| *id).collect();
            state.queue.retain(|_, envelope| !ids.contains(&envelope.id));
            for link in state.links.values_mut() {
                link.held.retain(|envelope| !ids.contains(&envelope.id));
            }
        }
        // Whoever waits learns of it by the end of what it waits on.
        drop(state);
        drop(broken);
    }

    pub(crate) fn set_link(&self, from: Place, to: Place, change: impl FnOnce(&mut LinkState)) {
        let mut state = self.0.lock();
        let link = state.links.entry((from, to)).or_default();
        change(&mut link.state);
        if !link.state.cut {
            let held = std::mem::take(&mut link.held);
            for envelope in held {
                Self::enqueue(&mut state, envelope, 200);
            }
        }
    }

    pub(crate) fn set_frozen(&self, place: Place, frozen: bool) {
        let mut state = self.0.lock();
        if frozen {
            state.frozen.insert(place);
        } else {
            state.frozen.remove(&place);
        }
    }

    /// From now on, so many in a hundred requests of moves and changes of the cluster are strays.
    pub(crate) fn set_strays(&self, percent: u64) {
        self.0.lock().stray_percent = percent;
    }

    /// The node that has booted at a place last, while it runs.
    pub(crate) fn node_at(&self, place: Place) -> Option<NodeId> {
        self.0.lock().nodes[place].as_ref().map(|node| node.peers.node)
    }

    fn send(&self, envelope: Envelope) {
        let mut state = self.0.lock();
        if state.nodes[envelope.from].as_ref().is_none_or(|node| (node.silent)()) {
            return;
        }
        let (from, to) = (envelope.from, envelope.to);
        let link = state.links.entry((from, to)).or_default().state;
        if link.loss_percent > 0 && chance::percent(link.loss_percent) {
            trace::event(Detail::Messages, format_args!("net     {from} -> {to} #{} lost", envelope.id));
            return;
        }
        Self::enqueue(&mut state, envelope, 0);
    }

    fn enqueue(state: &mut State, envelope: Envelope, later_ms: u64) {
        let now = trace::now_ms();
        let link = state.links.entry((envelope.from, envelope.to)).or_default();
        let (least, most) = link.state.delay_ms;
        let at = (now + 1 + chance::within(least..most + 1) + later_ms).max(link.last_ms);
        link.last_ms = at;
        state.next += 1;
        let number = state.next;
        state.queue.insert((at, number), envelope);
    }

    /// Delivers what is due.
    pub(crate) fn deliver(&self) {
        loop {
            let mut state = self.0.lock();
            let Some(((at, _), _)) = state.queue.first_key_value() else { return };
            if *at > trace::now_ms() {
                return;
            }
            let Some((_, envelope)) = state.queue.pop_first() else { return };
            let link = state.links.entry((envelope.from, envelope.to)).or_default();
            if link.state.cut {
                link.held.push(envelope);
                continue;
            }
            let Envelope { from, to, to_boot, id, content } = envelope;
            let Some(node) = state.nodes[to].as_ref().filter(|node| node.boot == to_boot) else { continue };
            if let Content::Request { from: asker, from_boot, .. } = &content
                && node.has_removed(*asker)
            {
                let told = (from, *from_boot);
                state.removed.insert(told);
                continue;
            }
            match content {
                Content::Request { from: asker, service, body, from_boot, wants_answer } => {
                    trace::event(
                        Detail::Messages,
                        format_args!(
                            "net     {from} -> {to} #{id} {service:?} {} bytes {:016x}",
                            body.len(),
                            xxhash_rust::xxh3::xxh3_64(&body)
                        ),
                    );
                    let answer =
                        wants_answer.then(|| Answer { net: self.clone(), from: to, to: from, to_boot: from_boot, id });
                    if let Some(inbox) = &node.inbox {
                        let _ = inbox.send(Delivery::Request { from: asker, service, body, answer });
                    }
                }
                Content::Piece(body) => {
                    trace::event(Detail::Messages, format_args!("net     {from} -> {to} #{id} piece {}", body.len()));
                    if let Some(waiting) = state.waiting.get_mut(&id)
                        && !waiting.pieces.piece(body, false)
                    {
                        state.waiting.remove(&id);
                    }
                }
                Content::Answer(outcome) => {
                    trace::event(
                        Detail::Messages,
                        format_args!("net     {from} -> {to} #{id} answer {}", outcome.as_ref().map_or(0, Bytes::len)),
                    );
                    if let Some(mut waiting) = state.waiting.remove(&id) {
                        drop(state);
                        match outcome {
                            Ok(body) => drop(waiting.pieces.piece(body, true)),
                            Err(text) => waiting.pieces.fail(TransportError::Refused(waiting.server, text)),
                        }
                    }
                }
            }
        }
    }

    /// Opens the connection on which `asker` asks the node `expected` at `server`, if both are there, reach each other and accept each
    /// other's start.
    fn dial(&self, asker: Place, asker_boot: u64, (server, expected): (Place, NodeId)) -> bool {
        let mut state = self.0.lock();
        let cut = |state: &State, from, to| state.links.get(&(from, to)).is_some_and(|link| link.state.cut);
        if cut(&state, asker, server) || cut(&state, server, asker) || state.frozen.contains(&server) {
            return false;
        }
        let (Some(a), Some(b)) = (&state.nodes[asker], &state.nodes[server]) else { return false };
        let Some(inbox) = &b.inbox else { return false };
        if a.boot != asker_boot || b.peers.node != expected {
            return false;
        }
        if b.has_removed(a.peers.node) {
            state.removed.insert((asker, asker_boot));
            return false;
        }
        if !b.peers.accepts(&a.peers) {
            state.outdated.insert((asker, asker_boot));
            return false;
        }
        // As over TCP, the one who is greeted learns of the other before that one has made up its mind.
        if !a.peers.hello.lock().0.is_empty() {
            let _ = inbox.send(Delivery::Met(a.peers.node, a.peers.address, a.peers.clock.wall_us()));
        }
        if !a.peers.accepts(&b.peers) {
            return false;
        }
        a.peers.clocks.hear(b.peers.node, b.peers.clock.wall_us());
        let server_boot = b.boot;
        state.next += 1;
        let number = state.next;
        state.connections.insert((asker, server), Connection { server: expected, asker_boot, server_boot, number });
        true
    }

    /// True if this boot of a node has been told that it is an old copy: such a node ends.
    pub(crate) fn is_outdated(&self, place: Place, boot: u64) -> bool {
        self.0.lock().outdated.contains(&(place, boot))
    }

    /// True if this boot of a node has been told that it was removed from the cluster: such a node ends.
    pub(crate) fn is_removed(&self, place: Place, boot: u64) -> bool {
        self.0.lock().removed.contains(&(place, boot))
    }

    fn is_connected(&self, asker: Place, server: Place) -> bool {
        self.0.lock().connections.contains_key(&(asker, server))
    }

    /// Sends a request on the connection to the node `expected` at `server`, or, if nobody is expected, on one of its own, and gives it
    /// an id, if it can be sent.
    fn request(
        &self,
        from: &SimPeers,
        (server, expected): (Place, Option<NodeId>),
        service: Service,
        body: Bytes,
        answer: Option<(NodeId, PieceSender)>,
    ) -> Option<u64> {
        let mut state = self.0.lock();
        let (to_boot, connection) = if let Some(expected) = expected {
            let connection = state.connections.get(&(from.place, server));
            let connection = connection.filter(|c| c.asker_boot == from.boot && c.server == expected)?;
            (connection.server_boot, Some((server, connection.number)))
        } else {
            (state.nodes[server].as_ref().filter(|node| node.inbox.is_some())?.boot, None)
        };
        state.next += 1;
        let id = state.next;
        let wants_answer = answer.is_some();
        if let Some((server, pieces)) = answer {
            state.waiting.insert(id, Waiting { asker: from.place, connection, server, pieces });
        }
        let may_stray = connection.is_some() && matches!(service, Service::Move | Service::Propose);
        let strays = may_stray && state.stray_percent > 0 && chance::percent(state.stray_percent);
        drop(state);
        let content = Content::Request { from: from.node, service, body, from_boot: from.boot, wants_answer };
        let envelope = Envelope { from: from.place, to: server, to_boot, id, content };
        if strays {
            self.stray(envelope);
        } else {
            self.send(envelope);
        }
        Some(id)
    }

    /// The connection breaks as the message leaves, and the message arrives some time.
    fn stray(&self, envelope: Envelope) {
        self.break_connection(envelope.from, envelope.to);
        let later_ms = 1 + chance::within(0..STRAY_MS);
        trace::event(
            Detail::Messages,
            format_args!("net     {} -> {} #{} strays for {later_ms} ms", envelope.from, envelope.to, envelope.id),
        );
        let mut state = self.0.lock();
        state.next += 1;
        let number = state.next;
        state.queue.insert((trace::now_ms() + later_ms, number), envelope);
    }

    fn place_of(&self, address: SocketAddr) -> Option<Place> {
        self.0.lock().addresses.iter().position(|other| *other == address)
    }
}

/// A request's place among those that wait for an answer.
struct Asked {
    net: Net,
    id: u64,
}

impl Drop for Asked {
    fn drop(&mut self) {
        let waiting = self.net.0.lock().waiting.remove(&self.id);
        drop(waiting);
    }
}

/// A node's network.
pub(crate) struct SimPeers {
    net: Net,
    place: Place,
    boot: u64,
    node: NodeId,
    start: (u64, u64),
    address: SocketAddr,
    /// The cluster, once known.
    hello: Mutex<(String,)>,
    known: Mutex<BTreeMap<NodeId, Arc<Known>>>,
    /// Nodes that were removed from the cluster.
    forgotten: Mutex<BTreeSet<NodeId>>,
    starts: Starts,
    tasks: Tasks,
    clock: Clock,
    clocks: PeerClocks,
}

struct Known {
    place: Place,
    answered: Mutex<Option<Instant>>,
}

/// A node's handle, as the node takes it.
#[derive(Clone)]
struct Handle(Arc<SimPeers>);

impl SimPeers {
    /// Joins a booting node to the network; it is reached once [`open`] has been called.
    pub(crate) fn join(
        net: &Net,
        (place, boot): (Place, u64),
        (node, start): (NodeId, (u64, u64)),
        tasks: Tasks,
        clock: Clock,
        silent: Box<dyn Fn() -> bool + Send>,
    ) -> Arc<Self> {
        let address = net.0.lock().addresses[place];
        let hello = Mutex::new((String::new(),));
        let (known, starts) = (Mutex::default(), Starts::default());
        let (net, clocks) = (net.clone(), PeerClocks::new(clock.clone()));
        let forgotten = Mutex::default();
        let peers = Arc::new(SimPeers {
            net,
            place,
            boot,
            node,
            start,
            address,
            hello,
            known,
            forgotten,
            starts,
            tasks,
            clock,
            clocks,
        });
        peers.net.register(peers.clone(), silent);
        peers
    }

    pub(crate) fn handle(self: &Arc<Self>) -> Arc<dyn PeerNetwork> {
        Arc::new(Handle(self.clone()))
    }

    /// What a node that is greeted by `other` thinks of it.
    fn accepts(&self, other: &SimPeers) -> bool {
        let theirs = other.hello.lock().0.clone();
        if theirs.is_empty() {
            return true;
        }
        let refusal = self.starts.refusal(other.node, other.start);
        if let Some(refusal) = &refusal {
            note!("node {}  refuses node {}: {refusal}", self.place, other.place);
        }
        refusal.is_none()
    }

    fn forgets(&self, node: NodeId) -> bool {
        self.forgotten.lock().contains(&node)
    }

    async fn keep(self: Arc<Self>, server: Place, node: NodeId) {
        while !self.forgets(node) {
            if !self.net.is_connected(self.place, server) {
                self.net.dial(self.place, self.boot, (server, node));
            }
            tokio::time::sleep(REDIAL).await;
        }
    }

    async fn ping(self: Arc<Self>, node: NodeId, known: Arc<Known>) {
        let handle = Handle(self);
        while !handle.0.forgets(node) {
            match request(&handle, node, Service::Ping, Bytes::new(), LIVE_FOR).await {
                Ok(answer) => {
                    *known.answered.lock() = Some(now());
                    if let Ok(wall_us) = answer[..].try_into() {
                        handle.0.clocks.hear(node, u64::from_le_bytes(wall_us));
                    }
                }
                Err(_) => handle.0.clocks.miss(node),
            }
            tokio::time::sleep(PING_EVERY).await;
        }
    }
}

#[allow(clippy::disallowed_methods)] // the runtime's clock is the simulated one
fn now() -> Instant {
    Instant::now()
}

/// Serves a node's requests from now on. In the node's runtime.
pub(crate) fn open(peers: &Arc<SimPeers>, service: Arc<dyn PeerService>) {
    let (inbox, mut arriving) = mpsc::unbounded_channel();
    peers.net.open(peers.place, peers.boot, inbox, &service);
    let (serving, tasks) = (peers.clone(), peers.tasks.clone());
    peers.tasks.spawn(async move {
        let handle = Handle(serving);
        while let Some(delivery) = arriving.recv().await {
            match delivery {
                Delivery::Met(node, address, wall_us) => {
                    handle.know(node, address, (0, 0));
                    handle.0.clocks.hear(node, wall_us);
                }
                Delivery::Request { from, service: asked, body, answer } => {
                    let pieces: Arc<dyn SendsPieces> = match &answer {
                        Some(answer) => Arc::new(answer.clone()),
                        None => Arc::new(Nowhere),
                    };
                    let answering = service.serve(from, asked, body, MorePieces::new(pieces, 0));
                    tasks.spawn(async move {
                        let outcome = answering.await;
                        if let Some(answer) = answer {
                            answer.send(Content::Answer(outcome));
                        }
                    });
                }
            }
        }
    });
}

impl PeerNetwork for Handle {
    fn node(&self) -> NodeId {
        self.0.node
    }

    fn set_cluster(&self, cluster: String) {
        self.0.hello.lock().0 = cluster;
    }

    fn know(&self, node: NodeId, address: SocketAddr, _: (u64, u64)) {
        let Some(place) = self.0.net.place_of(address).filter(|_| node != self.0.node) else { return };
        if self.0.forgets(node) {
            return;
        }
        let known = Arc::new(Known { place, answered: Mutex::new(None) });
        let mut all = self.0.known.lock();
        if all.contains_key(&node) {
            return;
        }
        all.insert(node, known.clone());
        self.0.clocks.know(node);
        self.0.tasks.spawn(self.0.clone().keep(place, node));
        self.0.tasks.spawn(self.0.clone().ping(node, known));
    }

    fn forget(&self, node: NodeId) {
        self.0.forgotten.lock().insert(node);
        if self.0.known.lock().remove(&node).is_some() {
            self.0.clocks.forget(node);
        }
    }

    fn addresses(&self) -> Vec<KnownAddress> {
        vec![]
    }

    fn address_of(&self, _: NodeId) -> Option<SocketAddr> {
        None
    }

    fn trouble(&self, _: NodeId) -> Option<Trouble> {
        None
    }

    fn foreign_contact(&self) -> Option<ForeignContact> {
        None
    }

    fn know_start(&self, node: NodeId, start: (u64, u64)) -> bool {
        self.0.starts.know(node, start)
    }

    fn known(&self) -> Vec<NodeId> {
        self.0.known.lock().keys().copied().collect()
    }

    fn answered_ago(&self, node: NodeId) -> Option<Duration> {
        let at = (*self.0.known.lock().get(&node)?.answered.lock())?;
        Some(now().saturating_duration_since(at))
    }

    fn clocks(&self) -> PeerClocks {
        self.0.clocks.clone()
    }

    fn request_pieces(
        &self,
        to: NodeId,
        service: Service,
        body: Bytes,
        pieces_max: usize,
        timeout: Duration,
    ) -> Pieces {
        let place = self.0.known.lock().get(&to).map(|known| known.place);
        let (sender, pieces) = Pieces::new(to, pieces_max, timeout);
        let asked =
            place.and_then(|place| self.0.net.request(&self.0, (place, Some(to)), service, body, Some((to, sender))));
        match asked {
            Some(id) => pieces.with(Asked { net: self.0.net.clone(), id }),
            None => Pieces::failed(to, TransportError::Unreachable(to)),
        }
    }

    fn tell(&self, to: NodeId, service: Service, body: Bytes) {
        let place = self.0.known.lock().get(&to).map(|known| known.place);
        if let Some(place) = place {
            self.0.net.request(&self.0, (place, Some(to)), service, body, None);
        }
    }

    fn ask(
        &self,
        address: SocketAddr,
        service: Service,
        body: Bytes,
        timeout: Duration,
    ) -> BoxFuture<'static, Result<(Hello, Result<Bytes, String>), HelloError>> {
        let peers = self.0.clone();
        Box::pin(async move {
            let silent = || HelloError::Protocol("the other end does not answer".into());
            let place = peers.net.place_of(address).ok_or_else(silent)?;
            // Who listens there is not known yet.
            let (sender, pieces) = Pieces::new(peers.node, 1, timeout);
            let asked = peers.net.request(&peers, (place, None), service, body, Some((peers.node, sender)));
            let Some(id) = asked else {
                tokio::time::sleep(CONNECT_TIMEOUT).await;
                return Err(silent());
            };
            let mut pieces = pieces.with(Asked { net: peers.net.clone(), id });
            let answer = match pieces.next().await {
                Some(Ok(piece)) if piece.is_last => Ok(piece.body),
                Some(Err(TransportError::Refused(_, text))) => Err(text),
                _ => return Err(silent()),
            };
            let (cluster, expects, refusal) = (String::new(), None, None);
            let hello = Hello {
                wire: WIRE,
                cluster,
                node: peers.node,
                start: peers.start,
                address,
                expects,
                refusal,
                outdated: false,
                removed: false,
                wall_us: None,
            };
            Ok((hello, answer))
        })
    }
}
