//! From a listener's calls to partitions, wherever their leaders are.
//!
//! Calls wait in the [`crate::outbox`] and are grouped by the node that leads their partitions, each group sent in one frame (or
//! straight into the mailboxes, if it is this node), so calls to one partition keep their order. What comes back without an answer
//! is sent again until the call's deadline: leadership and maps change inside the cluster and not for the client. A writing
//! call has a number, so that one whose leader was lost is asked again and never applied twice.
//!
//! A frame is not waited for longer than its node can be the leader: when this node's own replica of a group sees another one, or the
//! node has fallen silent, its calls are asked of the next leader by their numbers.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::future::{BoxFuture, join_all};
use parking_lot::Mutex;
use recoil_base::{AppId, Clock, GroupId, NodeId, PartitionId, Tasks};
use recoil_consensus::{Origin, PartitionRef, TransportError};
use recoil_engine::{Address, CallError, Mode, PartitionInfo, RoutedCall};
use rustc_hash::FxHashMap;
use tokio::sync::{Notify, mpsc, oneshot, watch};

use crate::calls::{Answer, Batch, Collector, Miss, Part, PartitionCall, Request, decode_answers, encode_answers};
use crate::evaluate::{Call, CallId, Host, Work};
use crate::outbox::{Outbox, Ticket, Told};
use crate::peer::Service;
use crate::peers::Peers;
use crate::routing::RoutingTable;
use crate::topics::Topics;

/// From arrival to giving up.
const DEADLINE: Duration = Duration::from_secs(10);
/// Pauses before sending again.
const RETRY_MIN: Duration = Duration::from_millis(2);
const RETRY_MAX: Duration = Duration::from_millis(50);
/// How often a frame's node is looked at while the answer is waited for.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// How long calls wait for this node to learn what their caller knows of the cluster.
const META_WAIT: Duration = Duration::from_secs(1);
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
            again: Notify::new(),
        };
        Router { inner: Arc::new(inner) }
    }

    /// Routes by `table` from now on.
    pub fn set_table(&self, table: Arc<RoutingTable>) {
        self.inner.table.send_replace(Some(table));
    }

    /// The present routing table.
    pub fn table(&self) -> Option<Arc<RoutingTable>> {
        self.inner.table.borrow().clone()
    }

    /// The router as the listeners of one app have it.
    pub fn of_app(&self, app: AppId) -> Arc<dyn recoil_engine::Router> {
        Arc::new(AppRouter { router: self.clone(), app })
    }

    /// The node that leads `group`, as far as this one knows.
    pub fn leader(&self, group: GroupId) -> Option<NodeId> {
        match self.inner.host.group(group) {
            Some(open) => open.leader(),
            None => self.inner.leaders.lock().get(&group).copied(),
        }
    }

    /// Sends again what came back without an answer, until the node stops.
    pub async fn run(self, tasks: Tasks) {
        let mut pause = RETRY_MIN;
        loop {
            let waits = self.inner.outbox.lock().has_again();
            if !waits {
                pause = RETRY_MIN;
                self.inner.again.notified().await;
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(RETRY_MAX);
            let Some(table) = self.table() else { continue };
            let frames = {
                let mut outbox = self.inner.outbox.lock();
                let tickets = outbox.take_again();
                self.send(&mut outbox, &table, &tickets)
            };
            tasks.spawn(frames);
        }
    }

    /// The node to ask for a partition of `group`.
    fn target(&self, table: &RoutingTable, group: GroupId, mode: Mode) -> Option<NodeId> {
        let here = self.inner.peers.node();
        if mode == Mode::StaleRead && table.members(group).contains(&here) {
            return Some(here);
        }
        let live = |node: &NodeId| self.inner.peers.is_live(*node);
        self.leader(group)
            .or_else(|| table.members(group).iter().copied().find(live))
            .or_else(|| table.members(group).first().copied())
    }

    /// Sends calls to the nodes that should serve them, as few frames as possible. They are sent, or failed, when this returns.
    fn send(&self, outbox: &mut Outbox, table: &Arc<RoutingTable>, tickets: &[Ticket]) -> Frames {
        let mut nodes: BTreeMap<(NodeId, usize), Frame> = BTreeMap::new();
        let mut newest: FxHashMap<NodeId, usize> = FxHashMap::default();
        let mut targets: FxHashMap<(GroupId, bool), Option<NodeId>> = FxHashMap::default();
        for ticket in tickets {
            let Some(call) = outbox.send(*ticket) else { continue };
            let stale = call.mode == Mode::StaleRead;
            let group = table.placement(call.partition).map(|placement| placement.group);
            let target = group.and_then(|group| {
                *targets.entry((group, stale)).or_insert_with(|| self.target(table, group, call.mode))
            });
            let (Some(node), Some(group)) = (target, group) else {
                outbox.came_back(*ticket, Err(Miss::Again), &mut Told::new());
                continue;
            };
            let number = newest.entry(node).or_default();
            let size = call.request.size();
            if nodes.get(&(node, *number)).is_some_and(|frame| frame.bytes + size > FRAME_BYTES) {
                *number += 1;
            }
            let frame = nodes.entry((node, *number)).or_default();
            frame.bytes += size;
            frame.tickets.push(*ticket);
            frame.calls.push(call);
            if frame.groups.last() != Some(&group) && !frame.groups.contains(&group) {
                frame.groups.push(group);
            }
        }
        if outbox.has_again() {
            self.inner.again.notify_one();
        }
        let started: Vec<_> = nodes.into_iter().map(|((node, _), frame)| self.start(table, node, frame)).collect();
        Box::pin(async move { drop(join_all(started).await) })
    }

    /// Starts one frame on its node. What is local is in the mailboxes when this returns.
    fn start(&self, table: &Arc<RoutingTable>, node: NodeId, frame: Frame) -> Frames {
        let router = self.clone();
        let Frame { tickets, calls, groups, .. } = frame;
        if node == self.inner.peers.node() {
            let answering = start_here(&self.inner.host, table, self.inner.origin, calls);
            return Box::pin(async move { router.take_back(&tickets, answering.await) });
        }
        let count = calls.len();
        let asked: Vec<(PartitionId, Mode)> = calls.iter().map(|call| (call.partition, call.mode)).collect();
        let batch = Batch { meta_index: table.index, incarnation: self.inner.origin.incarnation, calls };
        let answering = self.inner.peers.request(node, Service::Calls, batch.encode(), DEADLINE);
        let table = table.clone();
        Box::pin(async move {
            let answered = tokio::select! {
                answered = answering => answered,
                () = router.has_moved(node, &groups) => {
                    Err(TransportError::NoAnswer(node, "the leadership has moved".into()))
                }
            };
            let answers = answered.and_then(|body| {
                decode_answers(body).map_err(|error| TransportError::NoAnswer(node, error.to_string()))
            });
            let answers = match answers {
                Ok(answers) if answers.len() == count => answers,
                Err(TransportError::Unreachable(_) | TransportError::Refused(..)) => vec![Err(Miss::Again); count],
                Ok(_) | Err(TransportError::NoAnswer(..)) => vec![Err(Miss::Unknown); count],
            };
            router.learn(&table, node, &asked, &answers);
            router.take_back(&tickets, answers);
        })
    }

    /// Returns when it makes no sense any more to wait for `node` as the leader of `groups`.
    async fn has_moved(&self, node: NodeId, groups: &[GroupId]) {
        let here = |group: &GroupId| self.inner.host.group(*group).and_then(|open| open.leader());
        loop {
            tokio::time::sleep(LOOK_EVERY).await;
            let moved = groups.iter().any(|group| here(group).is_some_and(|leader| leader != node));
            if moved || !self.inner.peers.is_live(node) {
                return;
            }
        }
    }

    fn take_back(&self, tickets: &[Ticket], answers: Vec<Answer>) {
        let mut told = Told::new();
        let again = {
            let mut outbox = self.inner.outbox.lock();
            for (ticket, answer) in tickets.iter().zip(answers) {
                outbox.came_back(*ticket, answer, &mut told);
            }
            outbox.has_again()
        };
        if again {
            self.inner.again.notify_one();
        }
        told.into_iter().for_each(|(reply, answer)| reply(answer));
    }

    /// Remembers who leads groups that have no replica here.
    fn learn(&self, table: &RoutingTable, node: NodeId, asked: &[(PartitionId, Mode)], answers: &[Answer]) {
        for ((partition, mode), answer) in asked.iter().zip(answers) {
            let Some(placement) = table.placement(*partition) else { continue };
            if self.inner.host.group(placement.group).is_some() {
                continue;
            }
            let mut leaders = self.inner.leaders.lock();
            match answer {
                Ok(_) if *mode != Mode::StaleRead => {
                    leaders.insert(placement.group, node);
                }
                Err(Miss::NotLeader(Some(leader))) => {
                    leaders.insert(placement.group, *leader);
                }
                Err(Miss::NotLeader(None) | Miss::Again | Miss::Unknown | Miss::Refused(_)) => {
                    // Ask another member next time.
                    let members = table.members(placement.group);
                    let place = members.iter().position(|member| *member == node).unwrap_or(0);
                    if let Some(next) = members.get((place + 1) % members.len().max(1)) {
                        leaders.insert(placement.group, *next);
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
        asked: Vec<Result<(PartitionId, Mode, Request), CallError>>,
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

    fn call_many(&self, app: AppId, calls: Vec<RoutedCall>) -> BoxFuture<'static, Vec<Result<Bytes, CallError>>> {
        let Some(table) = self.table() else {
            return Box::pin(async move { calls.iter().map(|_| Err(no_map())).collect() });
        };
        let asked = calls.into_iter().map(|call| {
            let partition = resolve(&table, &call.to)?;
            Ok((partition, call.mode, Request::One(call.body)))
        });
        self.ask(&table, app, asked.collect())
    }

    async fn transact(&self, app: AppId, calls: Vec<RoutedCall>) -> Result<Vec<Bytes>, CallError> {
        let table = self.table().ok_or_else(no_map)?;
        let mut parts = Vec::with_capacity(calls.len());
        let mut groups: BTreeMap<GroupId, PartitionId> = BTreeMap::new();
        for call in calls {
            let partition = resolve(&table, &call.to)?;
            let placement = table.placement(partition).ok_or_else(no_map)?;
            let lowest = groups.entry(placement.group).or_insert(partition);
            *lowest = partition.min(*lowest);
            parts.push(Part { partition, mode: call.mode, body: call.body });
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

    /// Serves calls that another node routed here. Puts them into the mailboxes before it returns, if this node knows of the
    /// cluster what the caller does.
    pub fn serve(&self, from: NodeId, body: Bytes) -> BoxFuture<'static, Result<Bytes, String>> {
        let batch = match Batch::decode(body) {
            Ok(batch) => batch,
            Err(error) => return Box::pin(async move { Err(error.to_string()) }),
        };
        if batch.calls.is_empty() {
            return Box::pin(async move { Ok(encode_answers(&[])) });
        }
        let origin = Origin { node: from, incarnation: batch.incarnation };
        if let Some(table) = self.table().filter(|table| table.index >= batch.meta_index) {
            let answering = start_here(&self.inner.host, &table, origin, batch.calls);
            return Box::pin(async move { Ok(encode_answers(&answering.await)) });
        }
        let (host, mut tables) = (self.inner.host.clone(), self.inner.table.subscribe());
        Box::pin(async move {
            let known =
                |table: &Option<Arc<RoutingTable>>| table.as_ref().is_some_and(|table| table.index >= batch.meta_index);
            let waited = tokio::time::timeout(META_WAIT, tables.wait_for(known)).await;
            let table = waited.ok().and_then(Result::ok).and_then(|table| table.clone());
            let Some(table) = table else { return Ok(encode_answers(&vec![Err(Miss::Again); batch.calls.len()])) };
            Ok(encode_answers(&start_here(&host, &table, origin, batch.calls).await))
        })
    }
}

/// Calls for one node.
#[derive(Default)]
struct Frame {
    tickets: Vec<Ticket>,
    calls: Vec<PartitionCall>,
    groups: Vec<GroupId>,
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

fn start_here(
    host: &Arc<Host>,
    table: &RoutingTable,
    origin: Origin,
    calls: Vec<PartitionCall>,
) -> impl Future<Output = Vec<Answer>> + Send + 'static {
    let count = calls.len();
    let (collector, all) = Collector::new(count);
    host.enqueue(calls.into_iter().enumerate().map(|(place, call)| {
        let key = PartitionRef { keyspace: table.keyspace, partition: call.partition };
        let id = CallId { origin, sequence: call.sequence, acked: call.acked };
        let work = Work::Asked(call.request, id);
        (key, Call { app: call.app, mode: call.mode, work, reply: collector.reply(place) })
    }));
    async move { all.await.unwrap_or_else(|_| vec![Err(Miss::Unknown); count]) }
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

fn resolve(table: &RoutingTable, address: &Address) -> Result<PartitionId, CallError> {
    match address {
        Address::Key(key) => Ok(table.partition(key)),
        Address::Partition(partition) if partition.0 < table.count() => Ok(*partition),
        Address::Partition(partition) => {
            Err(CallError::Rejected(format!("there is no partition {partition}; the keyspace has {}", table.count())))
        }
    }
}

fn no_map() -> CallError {
    CallError::Unavailable("the cluster has no partition map yet: it waits for its members to join".into())
}

/// [`Router`] bound to an app.
struct AppRouter {
    router: Router,
    app: AppId,
}

impl recoil_engine::Router for AppRouter {
    fn call_many(&self, calls: Vec<RoutedCall>) -> BoxFuture<'static, Vec<Result<Bytes, CallError>>> {
        self.router.call_many(self.app, calls)
    }

    fn transact(&self, calls: Vec<RoutedCall>) -> BoxFuture<'static, Result<Vec<Bytes>, CallError>> {
        let (router, app) = (self.router.clone(), self.app);
        Box::pin(async move { router.transact(app, calls).await })
    }

    fn locate(&self, key: &[u8]) -> PartitionInfo {
        let table = self.router.table();
        let partition = table.as_ref().map_or(PartitionId(0), |table| table.partition(key));
        self.router.info(table.as_deref(), partition)
    }

    fn partitions(&self) -> Vec<PartitionInfo> {
        let table = self.router.table();
        let count = table.as_ref().map_or(0, |table| table.count());
        (0..count).map(|partition| self.router.info(table.as_deref(), PartitionId(partition))).collect()
    }

    fn subscribe(&self, topic: Bytes) -> mpsc::Receiver<Bytes> {
        self.router.inner.topics.subscribe(self.app, topic)
    }
}

impl Router {
    fn info(&self, table: Option<&RoutingTable>, partition: PartitionId) -> PartitionInfo {
        let placement = table.and_then(|table| table.placement(partition));
        let (Some(table), Some(placement)) = (table, placement) else {
            return PartitionInfo { id: partition, leader: None, replicas: vec![], epoch: 0 };
        };
        let number = |node: &NodeId| table.numbers.get(node).copied();
        PartitionInfo {
            id: partition,
            leader: self.leader(placement.group).as_ref().and_then(number),
            replicas: table.members(placement.group).iter().filter_map(number).collect(),
            epoch: placement.epoch,
        }
    }
}
