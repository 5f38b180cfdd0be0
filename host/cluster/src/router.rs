//! From a listener's calls to partitions, wherever their leaders are.
//!
//! Calls wait in the [`crate::outbox`] and are grouped by the node that leads their partitions, each group sent in one frame (or
//! straight into the mailboxes, if it is this node), so calls to one partition keep their order. What comes back without an answer
//! is sent again until the call's deadline, each lane after its own pause: leadership and maps change inside the cluster and not for
//! the client. A writing call has a number, so that one whose leader was lost is asked again and never applied twice.
//!
//! The answers of a frame come in pieces ([`crate::calls::gather`]), and each call is answered as its piece comes. A call is not waited for
//! longer than its node can be the leader: when this node's own replica of its group sees another one, or the node has fallen
//! silent, it is asked of the next leader by its number, and the other calls of the frame go on waiting ([`flight`]).
//!
//! A call goes by the newest placement of its partition that this node knows ([`redirects`]), and carries its epoch. A node that knows a
//! newer one, and is not the one to ask by it, answers with that; one that only knows an older one waits for its table for a
//! moment, and then has the call sent again ([`serve`]).
//!
//! Locks: the outbox before the redirects; no reply is called under either.

mod flight;
mod redirects;
mod serve;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::future::{BoxFuture, join_all};
use parking_lot::Mutex;
use recoil_base::{AppId, Clock, GroupId, KeyspaceId, NodeId, PartitionId, Tasks};
use recoil_consensus::{Origin, PartitionRef, TransportError};
use recoil_engine::{Address, CallError, Mode, PartitionInfo, RoutedCall};
use rustc_hash::FxHashMap;
use tokio::sync::{Notify, mpsc, oneshot, watch};

use self::flight::{Flight, Sent};
use self::redirects::Redirects;
use crate::calls::gather::{Collector, Gathering};
use crate::calls::{Answer, Batch, Miss, Part, PartitionCall, Request, decode_answers, decode_piece};
use crate::evaluate::Host;
use crate::meta::Placement;
use crate::outbox::{Outbox, PAUSE_MAX, Ticket, Told};
use crate::peer::Service;
use crate::peers::{Peers, Pieces};
use crate::routing::RoutingTable;
use crate::topics::Topics;

/// From arrival to giving up.
const DEADLINE: Duration = Duration::from_secs(10);
/// How often a frame's node is looked at while the answer is waited for.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// Bytes of calls in one frame.
const FRAME_BYTES: usize = 16 << 20;

struct Inner {
    host: Arc<Host>,
    peers: Peers,
    topics: Topics,
    clock: Clock,
    origin: Origin,
    table: watch::Sender<Option<Arc<RoutingTable>>>,
    /// Who answered last as the leader of a group that has no replica here.
    leaders: Mutex<HashMap<GroupId, NodeId>>,
    outbox: Mutex<Outbox>,
    redirects: Mutex<Redirects>,
    /// A lane is to be sent again, earlier than all others.
    again: Notify,
}

/// A node's router.
#[derive(Clone)]
pub struct Router {
    inner: Arc<Inner>,
}

/// Frames under way.
type Frames = BoxFuture<'static, ()>;

impl Router {
    /// Without a routing table yet. `incarnation` is this node's start.
    pub fn new(host: Arc<Host>, peers: Peers, topics: Topics, clock: Clock, incarnation: u64) -> Self {
        let origin = Origin { node: peers.node(), incarnation };
        let inner = Inner {
            host,
            peers,
            topics,
            clock,
            origin,
            table: watch::channel(None).0,
            leaders: Mutex::default(),
            outbox: Mutex::default(),
            redirects: Mutex::default(),
            again: Notify::new(),
        };
        Router { inner: Arc::new(inner) }
    }

    /// Routes by `table` from now on.
    pub fn set_table(&self, table: Arc<RoutingTable>) {
        self.inner.redirects.lock().table_came(&table);
        self.inner.table.send_replace(Some(table));
    }

    /// The present routing table.
    pub fn table(&self) -> Option<Arc<RoutingTable>> {
        self.inner.table.borrow().clone()
    }

    /// The router as the listeners of one app have it, whose data are in `keyspace`: it reaches no other partitions.
    pub fn of_app(&self, app: AppId, keyspace: KeyspaceId) -> Arc<dyn recoil_engine::Router> {
        Arc::new(AppRouter { router: self.clone(), app, keyspace })
    }

    /// The node that leads `group`, as far as this one knows.
    pub fn leader(&self, group: GroupId) -> Option<NodeId> {
        match self.inner.host.group(group) {
            Some(open) => open.leader(),
            None => self.inner.leaders.lock().get(&group).copied(),
        }
    }

    /// Frees what is kept for apps that are there no longer. Their calls are answered.
    pub fn retain_apps(&self, is_there: impl Fn(AppId) -> bool) {
        let mut told = Told::new();
        self.inner.outbox.lock().retain_apps(is_there, &mut told);
        told.into_iter().for_each(|(reply, answer)| reply(answer));
    }

    /// Sends again what came back without an answer, until the node stops.
    pub async fn run(self, tasks: Tasks) {
        loop {
            let due = self.inner.outbox.lock().next_due();
            match due {
                None => self.inner.again.notified().await,
                Some(due) if due > self.inner.clock.now() => {
                    tokio::select! {
                        () = tokio::time::sleep_until(due) => {}
                        () = self.inner.again.notified() => {}
                    }
                }
                Some(_) => {
                    let Some(table) = self.table() else {
                        tokio::time::sleep(PAUSE_MAX).await;
                        continue;
                    };
                    let frames = {
                        let mut outbox = self.inner.outbox.lock();
                        let tickets = outbox.take_due(self.inner.clock.now());
                        self.send(&mut outbox, &table, &tickets)
                    };
                    tasks.spawn(frames);
                }
            }
        }
    }

    /// The node to ask for a partition of `group`. A stale read that could not be served here is the leader's.
    fn target(&self, table: &RoutingTable, group: GroupId, anywhere: bool) -> Option<NodeId> {
        let here = self.inner.peers.node();
        if anywhere && table.members(group).contains(&here) {
            return Some(here);
        }
        let live = |node: &NodeId| self.inner.peers.is_live(*node);
        self.leader(group)
            .or_else(|| table.members(group).iter().copied().find(live))
            .or_else(|| table.members(group).first().copied())
    }

    /// Sends calls to the nodes that should serve them, as few frames as possible. They are sent, or failed, when this returns.
    fn send(&self, outbox: &mut Outbox, table: &Arc<RoutingTable>, tickets: &[Ticket]) -> Frames {
        let due_before = outbox.next_due();
        let redirects = self.inner.redirects.lock();
        let mut nodes: BTreeMap<(NodeId, usize), Frame> = BTreeMap::new();
        let mut newest: FxHashMap<NodeId, usize> = FxHashMap::default();
        let mut targets: FxHashMap<(GroupId, bool), Option<NodeId>> = FxHashMap::default();
        let epoch = |partition| redirects.placement(table, partition).map_or(0, |placement| placement.epoch);
        for ticket in tickets {
            let Some(departing) = outbox.send(*ticket, epoch) else { continue };
            let call = departing.call;
            let anywhere = call.mode == Mode::StaleRead && !departing.has_missed;
            let group = redirects.placement(table, call.partition).map(|placement| placement.group);
            let target = group.and_then(|group| {
                *targets.entry((group, anywhere)).or_insert_with(|| self.target(table, group, anywhere))
            });
            let (Some(node), Some(group)) = (target, group) else {
                outbox.came_back(*ticket, Err(Miss::Again), self.inner.clock.now(), &mut Told::new());
                continue;
            };
            let number = newest.entry(node).or_default();
            let size = call.request.size();
            if nodes.get(&(node, *number)).is_some_and(|frame| frame.bytes + size > FRAME_BYTES) {
                *number += 1;
            }
            let frame = nodes.entry((node, *number)).or_default();
            frame.bytes += size;
            frame.sent.push(Sent { ticket: *ticket, mode: call.mode, group });
            frame.calls.push(call);
        }
        drop(redirects);
        self.notify_if_earlier(due_before, outbox);
        let started: Vec<_> = nodes.into_iter().map(|((node, _), frame)| self.start(table, node, frame)).collect();
        Box::pin(async move { drop(join_all(started).await) })
    }

    /// Wakes who sends again if that has to be earlier than before.
    fn notify_if_earlier(&self, before: Option<tokio::time::Instant>, outbox: &Outbox) {
        let due = outbox.next_due();
        if due.is_some_and(|due| before.is_none_or(|before| due < before)) {
            self.inner.again.notify_one();
        }
    }

    /// Starts one frame on its node. What is local is in the mailboxes when this returns.
    fn start(&self, table: &Arc<RoutingTable>, node: NodeId, frame: Frame) -> Frames {
        let Frame { sent, calls, .. } = frame;
        if node == self.inner.peers.node() {
            let answering = self.start_here(table, self.inner.origin, 0, calls);
            return Box::pin(self.clone().follow_here(table.clone(), sent, answering));
        }
        let count = calls.len();
        let batch = Batch { meta_index: table.index, incarnation: self.inner.origin.incarnation, calls };
        let pieces = self.inner.peers.request_pieces(node, Service::Calls, batch.encode(), count, DEADLINE);
        Box::pin(self.clone().follow(table.clone(), node, Flight::new(sent), pieces))
    }

    /// Takes back the calls of a frame that is evaluated here, as they are answered.
    async fn follow_here(self, table: Arc<RoutingTable>, sent: Vec<Sent>, answering: Arc<Gathering>) {
        let here = self.inner.peers.node();
        loop {
            let piece = answering.next().await;
            let answers =
                piece.answered.into_iter().filter_map(|(place, answer)| Some((*sent.get(place as usize)?, answer)));
            self.take_back(&table, here, answers.collect());
            if piece.is_last {
                return;
            }
        }
    }

    /// Takes back the calls of a frame that is on another node, as they are answered or given up.
    async fn follow(self, table: Arc<RoutingTable>, node: NodeId, mut flight: Flight, mut pieces: Pieces) {
        let mut looks = tokio::time::interval_at(self.inner.clock.now() + LOOK_EVERY, LOOK_EVERY);
        looks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut has_answered = false;
        while !flight.has_landed() {
            let piece = tokio::select! {
                biased;
                _ = looks.tick() => {
                    let given_up = flight.give_up(&Miss::Unknown, |group| self.has_moved(node, group));
                    self.take_back(&table, node, given_up);
                    continue;
                }
                piece = pieces.next() => piece,
            };
            // A node that has answered a part of the frame may have evaluated the rest.
            let started = std::mem::replace(&mut has_answered, true);
            let ends = match piece {
                Some(Ok(piece)) => match decode_piece(piece.body) {
                    Ok(answered) => {
                        let (answers, outcome) = flight.take(answered, piece.is_last);
                        self.take_back(&table, node, answers);
                        outcome.err().map(|error| {
                            tracing::warn!(%node, %error, "a node answers routed calls wrongly; they are asked again by their numbers");
                            Miss::Unknown
                        })
                    }
                    Err(error) => {
                        tracing::warn!(%node, %error, "a node's answers to routed calls cannot be read; they are asked again");
                        Some(Miss::Unknown)
                    }
                },
                Some(Err(TransportError::Unreachable(_) | TransportError::Refused(..))) if !started => {
                    Some(Miss::Again)
                }
                Some(Err(_)) | None => Some(Miss::Unknown),
            };
            if let Some(miss) = ends {
                let given_up = flight.give_up(&miss, |_| true);
                return self.take_back(&table, node, given_up);
            }
        }
    }

    /// True when it makes no sense any more to wait for `node` as the leader of `group`.
    fn has_moved(&self, node: NodeId, group: GroupId) -> bool {
        let leader = self.inner.host.group(group).and_then(|open| open.leader());
        leader.is_some_and(|leader| leader != node) || !self.inner.peers.is_live(node)
    }

    fn take_back(&self, table: &RoutingTable, node: NodeId, answers: Vec<(Sent, Answer)>) {
        if answers.is_empty() {
            return;
        }
        if node != self.inner.peers.node() {
            self.learn(table, node, &answers);
        }
        let now = self.inner.clock.now();
        let mut told = Told::new();
        {
            let mut outbox = self.inner.outbox.lock();
            let due_before = outbox.next_due();
            for (sent, answer) in answers {
                let answer = match answer {
                    // What is known already is no reason to hurry.
                    Err(Miss::Moved { group, epoch }) if !self.redirect(sent.ticket, Placement { group, epoch }) => {
                        Err(Miss::Again)
                    }
                    other => other,
                };
                outbox.came_back(sent.ticket, answer, now, &mut told);
            }
            self.notify_if_earlier(due_before, &outbox);
        }
        told.into_iter().for_each(|(reply, answer)| reply(answer));
    }

    /// Takes a placement that a call was answered. True if it is newer than what was known.
    fn redirect(&self, ticket: Ticket, placement: Placement) -> bool {
        let table = self.table();
        table.is_some_and(|table| self.inner.redirects.lock().learn(&table, ticket.lane.1, placement))
    }

    /// Remembers who leads groups that have no replica here.
    fn learn(&self, table: &RoutingTable, node: NodeId, answers: &[(Sent, Answer)]) {
        for (sent, answer) in answers {
            if self.inner.host.group(sent.group).is_some() {
                continue;
            }
            let mut leaders = self.inner.leaders.lock();
            match answer {
                Ok(_) if sent.mode != Mode::StaleRead => {
                    leaders.insert(sent.group, node);
                }
                Err(Miss::NotLeader(Some(leader))) => {
                    leaders.insert(sent.group, *leader);
                }
                Err(Miss::NotLeader(None) | Miss::Again | Miss::Unknown | Miss::Refused(_)) => {
                    // Ask another member next time.
                    let members = table.members(sent.group);
                    let place = members.iter().position(|member| *member == node).unwrap_or(0);
                    if let Some(next) = members.get((place + 1) % members.len().max(1)) {
                        leaders.insert(sent.group, *next);
                    }
                }
                _ => {}
            }
        }
    }

    /// Routes requests of one app, each to its partition; answers in their order.
    fn ask(
        &self,
        table: &Arc<RoutingTable>,
        app: AppId,
        asked: Vec<Result<(PartitionRef, Mode, Request), CallError>>,
    ) -> BoxFuture<'static, Vec<Result<Bytes, CallError>>> {
        if asked.is_empty() {
            return Box::pin(async { vec![] });
        }
        let deadline = self.inner.clock.now() + DEADLINE;
        let (collector, all) = Collector::new(asked.len());
        let mut unanswered = Unanswered { router: self.clone(), tickets: Vec::with_capacity(asked.len()) };
        let mut told = Told::new();
        let frames = {
            let mut outbox = self.inner.outbox.lock();
            for (place, asked) in asked.into_iter().enumerate() {
                let reply = collector.reply(place);
                match asked {
                    Ok((partition, mode, request)) => match outbox.put((app, partition), mode, request, reply) {
                        Ok(ticket) => unanswered.tickets.push(ticket),
                        Err(reply) => told.push((reply, Err(Miss::Error(overloaded())))),
                    },
                    Err(error) => told.push((reply, Err(Miss::Error(error)))),
                }
            }
            self.send(&mut outbox, table, &unanswered.tickets)
        };
        told.into_iter().for_each(|(reply, answer)| reply(answer));
        Box::pin(async move {
            let answers = unanswered.wait(frames, all, deadline).await;
            answers.into_iter().map(final_answer).collect()
        })
    }

    fn call_many(
        &self,
        (app, keyspace): (AppId, KeyspaceId),
        calls: Vec<RoutedCall>,
    ) -> BoxFuture<'static, Vec<Result<Bytes, CallError>>> {
        let Some(table) = self.table() else {
            return Box::pin(async move { calls.iter().map(|_| Err(no_map())).collect() });
        };
        let asked = calls.into_iter().map(|call| {
            let partition = resolve(&table, keyspace, &call.to)?;
            Ok((partition, call.mode, Request::One(call.body)))
        });
        self.ask(&table, app, asked.collect())
    }

    async fn transact(
        &self,
        (app, keyspace): (AppId, KeyspaceId),
        calls: Vec<RoutedCall>,
    ) -> Result<Vec<Bytes>, CallError> {
        let table = self.table().ok_or_else(no_map)?;
        let mut parts = Vec::with_capacity(calls.len());
        let mut groups: BTreeMap<GroupId, PartitionRef> = BTreeMap::new();
        for call in calls {
            let partition = resolve(&table, keyspace, &call.to)?;
            let placement = self.inner.redirects.lock().placement(&table, partition).ok_or_else(no_map)?;
            let lowest = groups.entry(placement.group).or_insert(partition);
            *lowest = partition.min(*lowest);
            parts.push(Part { partition, epoch: placement.epoch, mode: call.mode, body: call.body });
        }
        if groups.len() > 1 {
            let names: Vec<String> = groups.keys().map(ToString::to_string).collect();
            return Err(CallError::Rejected(format!(
                "the keys of this transaction belong to the Raft groups {}; transactions over several groups are not supported by this \
                 version. Use keys that one partition owns",
                names.join(", ")
            )));
        }
        let Some(lowest) = groups.into_values().next() else { return Ok(vec![]) };
        let asked = self.ask(&table, app, vec![Ok((lowest, Mode::Write, Request::All(parts)))]).await;
        let answer = asked.into_iter().next().unwrap_or_else(|| Err(no_map()))?;
        let answers = decode_answers(answer)
            .map_err(|error| CallError::Failed(format!("a transaction's answer cannot be read: {error}")))?;
        answers.into_iter().map(final_answer).collect()
    }
}

/// Calls for one node.
#[derive(Default)]
struct Frame {
    sent: Vec<Sent>,
    calls: Vec<PartitionCall>,
    bytes: usize,
}

/// Calls that somebody waits for; given up when dropped.
struct Unanswered {
    router: Router,
    tickets: Vec<Ticket>,
}

impl Unanswered {
    async fn wait(
        self,
        frames: Frames,
        all: oneshot::Receiver<Vec<Answer>>,
        deadline: tokio::time::Instant,
    ) -> Vec<Answer> {
        let count = self.tickets.len();
        let late = tokio::time::sleep_until(deadline);
        tokio::pin!(frames, all, late);
        let (mut landed, mut over) = (false, false);
        loop {
            tokio::select! {
                biased;
                answers = &mut all => return answers.unwrap_or_else(|_| vec![Err(Miss::Unknown); count]),
                () = &mut frames, if !landed => landed = true,
                () = &mut late, if !over => {
                    over = true;
                    self.give_up();
                }
            }
        }
    }

    fn give_up(&self) {
        let mut told = Told::new();
        {
            let mut outbox = self.router.inner.outbox.lock();
            self.tickets.iter().for_each(|ticket| outbox.give_up(*ticket, &mut told));
        }
        told.into_iter().for_each(|(reply, answer)| reply(answer));
    }
}

impl Drop for Unanswered {
    fn drop(&mut self) {
        self.give_up();
    }
}

fn final_answer(answer: Answer) -> Result<Bytes, CallError> {
    answer.map_err(|miss| match miss {
        Miss::Error(error) => error,
        Miss::Refused(why) => CallError::Unavailable(why),
        _ => CallError::UnknownOutcome("the node stopped while the request was on its way".into()),
    })
}

fn overloaded() -> CallError {
    CallError::Unavailable("this node has more unanswered requests than it may hold; slow down and retry".into())
}

fn resolve(table: &RoutingTable, keyspace: KeyspaceId, address: &Address) -> Result<PartitionRef, CallError> {
    let of = table.keyspace(keyspace).ok_or_else(no_keyspace)?;
    let partition = match address {
        Address::Key(key) => of.partition(key),
        Address::Partition(partition) if partition.0 < of.count() => *partition,
        Address::Partition(partition) => {
            let text = format!("there is no partition {partition}; the keyspace has {}", of.count());
            return Err(CallError::Rejected(text));
        }
    };
    Ok(PartitionRef { keyspace, partition })
}

fn no_keyspace() -> CallError {
    CallError::Unavailable("this node knows of no keyspace of the app: it was deleted, or the node is behind".into())
}

fn no_map() -> CallError {
    CallError::Unavailable("the cluster has no partition map yet: it waits for its members to join".into())
}

/// [`Router`] bound to an app.
struct AppRouter {
    router: Router,
    app: AppId,
    keyspace: KeyspaceId,
}

impl recoil_engine::Router for AppRouter {
    fn call_many(&self, calls: Vec<RoutedCall>) -> BoxFuture<'static, Vec<Result<Bytes, CallError>>> {
        self.router.call_many((self.app, self.keyspace), calls)
    }

    fn transact(&self, calls: Vec<RoutedCall>) -> BoxFuture<'static, Result<Vec<Bytes>, CallError>> {
        let (router, app) = (self.router.clone(), (self.app, self.keyspace));
        Box::pin(async move { router.transact(app, calls).await })
    }

    fn locate(&self, key: &[u8]) -> PartitionInfo {
        let table = self.router.table();
        let of = table.as_ref().and_then(|table| table.keyspace(self.keyspace));
        let partition = of.map_or(PartitionId(0), |of| of.partition(key));
        self.router.info(table.as_deref(), PartitionRef { keyspace: self.keyspace, partition })
    }

    fn partitions(&self) -> Vec<PartitionInfo> {
        let table = self.router.table();
        let count = table.as_ref().and_then(|table| table.keyspace(self.keyspace)).map_or(0, |of| of.count());
        let partition = |number| PartitionRef { keyspace: self.keyspace, partition: PartitionId(number) };
        (0..count).map(|number| self.router.info(table.as_deref(), partition(number))).collect()
    }

    fn subscribe(&self, topic: Bytes) -> mpsc::Receiver<Bytes> {
        self.router.inner.topics.subscribe(self.app, topic)
    }
}

impl Router {
    fn info(&self, table: Option<&RoutingTable>, partition: PartitionRef) -> PartitionInfo {
        let (placement, id) = (table.and_then(|table| table.placement_of(partition)), partition.partition);
        let (Some(table), Some(placement)) = (table, placement) else {
            return PartitionInfo { id, leader: None, replicas: vec![], epoch: 0 };
        };
        let number = |node: &NodeId| table.numbers.get(node).copied();
        PartitionInfo {
            id,
            leader: self.leader(placement.group).as_ref().and_then(number),
            replicas: table.members(placement.group).iter().filter_map(number).collect(),
            epoch: placement.epoch,
        }
    }
}
