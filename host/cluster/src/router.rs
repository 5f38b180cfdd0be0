//! From a listener's calls to partitions, wherever their leaders are.
//!
//! Calls are grouped by the node that leads their partitions, each group sent in one frame (or straight into the mailboxes,
//! if it is this node), so calls to one partition keep their order. A call that met no leader, or whose entry was refused,
//! certainly did nothing and is routed again until its deadline: leadership and maps change inside the cluster and not for
//! the client. A write whose connection broke is `unknown-outcome`; a read is simply asked again.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::future::{BoxFuture, join_all};
use parking_lot::{Mutex, RwLock};
use recoil_base::{AppId, Clock, GroupId, NodeId, PartitionId};
use recoil_consensus::{PartitionRef, TransportError};
use recoil_engine::{Address, CallError, Mode, PartitionInfo, RoutedCall};
use tokio::sync::{mpsc, oneshot};

use crate::calls::{Answer, Batch, Collector, Miss, PartitionCall, decode_answers};
use crate::evaluate::{Call, Host, Work};
use crate::peer::Service;
use crate::peers::Peers;
use crate::routing::RoutingTable;
use crate::topics::Topics;

/// From arrival to the last try.
const DEADLINE: Duration = Duration::from_secs(10);
/// Pauses between tries.
const RETRY_MIN: Duration = Duration::from_millis(2);
const RETRY_MAX: Duration = Duration::from_millis(100);
/// Bytes of calls in one frame.
const FRAME_BYTES: usize = 16 << 20;

struct Inner {
    host: Arc<Host>,
    peers: Peers,
    topics: Topics,
    clock: Clock,
    table: RwLock<Option<Arc<RoutingTable>>>,
    /// Who answered last as the leader of a group that has no replica here.
    leaders: Mutex<HashMap<GroupId, NodeId>>,
}

/// A node's router.
#[derive(Clone)]
pub struct Router {
    inner: Arc<Inner>,
}

impl Router {
    /// Without a routing table yet.
    pub fn new(host: Arc<Host>, peers: Peers, topics: Topics, clock: Clock) -> Self {
        let inner = Inner { host, peers, topics, clock, table: RwLock::new(None), leaders: Mutex::default() };
        Router { inner: Arc::new(inner) }
    }

    /// Routes by `table` from now on.
    pub fn set_table(&self, table: Arc<RoutingTable>) {
        *self.inner.table.write() = Some(table);
    }

    /// The present routing table.
    pub fn table(&self) -> Option<Arc<RoutingTable>> {
        self.inner.table.read().clone()
    }

    /// The router as the listeners of one app have it.
    pub fn of_app(&self, app: AppId) -> Arc<dyn recoil_engine::Router> {
        Arc::new(AppRouter { router: self.clone(), app })
    }

    /// The node that leads `group`, as far as this one knows.
    pub fn leader(&self, group: GroupId) -> Option<NodeId> {
        match self.inner.host.group(group) {
            Some(open) => open.leadership().borrow().leader,
            None => self.inner.leaders.lock().get(&group).copied(),
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

    /// Starts a batch on the node that should serve it. What is local is in the mailboxes when this returns.
    fn start(
        &self,
        table: &RoutingTable,
        node: NodeId,
        app: AppId,
        calls: &[PartitionCall],
    ) -> BoxFuture<'static, Vec<Answer>> {
        if node == self.inner.peers.node() {
            return Box::pin(start_here(&self.inner.host, table, app, calls.to_vec()));
        }
        let batch = Batch { meta_index: table.index, app, transact: false, calls: calls.to_vec() };
        let asked = self.inner.peers.request(node, Service::Calls, batch.encode(), DEADLINE);
        let reads: Vec<bool> = calls.iter().map(|call| call.mode != Mode::Write).collect();
        Box::pin(async move {
            let answers = asked.await.and_then(|body| {
                decode_answers(body).map_err(|error| TransportError::NoAnswer(node, error.to_string()))
            });
            match answers {
                Ok(answers) if answers.len() == reads.len() => answers,
                Err(TransportError::Unreachable(_) | TransportError::Refused(..)) => {
                    vec![Err(Miss::Again); reads.len()]
                }
                Ok(_) | Err(TransportError::NoAnswer(..)) => {
                    let lost = |read: &bool| Err(if *read { Miss::Again } else { Miss::Error(unknown_outcome(node)) });
                    reads.iter().map(lost).collect()
                }
            }
        })
    }

    fn call_many(&self, app: AppId, calls: Vec<RoutedCall>) -> BoxFuture<'static, Vec<Result<Bytes, CallError>>> {
        let deadline = self.inner.clock.now() + DEADLINE;
        let Some(table) = self.table() else {
            return Box::pin(async move { calls.iter().map(|_| Err(no_map())).collect() });
        };
        let mut results: Vec<Option<Result<Bytes, CallError>>> = vec![None; calls.len()];
        let mut pending = Vec::with_capacity(calls.len());
        for (place, call) in calls.into_iter().enumerate() {
            match resolve(&table, &call.to) {
                Ok(partition) => pending.push((place, PartitionCall { partition, mode: call.mode, body: call.body })),
                Err(error) => results[place] = Some(Err(error)),
            }
        }
        let first = self.start_all(app, &pending);
        let router = self.clone();
        Box::pin(async move {
            let mut started = first;
            let mut pause = RETRY_MIN;
            loop {
                let mut again = Vec::new();
                for (index, answer) in started.await {
                    match answer {
                        Ok(bytes) => results[pending[index].0] = Some(Ok(bytes)),
                        Err(Miss::Error(error)) => results[pending[index].0] = Some(Err(error)),
                        Err(Miss::NotLeader(_) | Miss::Again) => again.push(index),
                    }
                }
                if again.is_empty() {
                    break;
                }
                if router.inner.clock.now() + pause > deadline {
                    again.iter().for_each(|index| {
                        results[pending[*index].0] = Some(Err(no_leader(pending[*index].1.partition)))
                    });
                    break;
                }
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(RETRY_MAX);
                again.sort_unstable();
                pending = again.into_iter().map(|index| pending[index].clone()).collect();
                started = router.start_all(app, &pending);
            }
            results.into_iter().map(|result| result.unwrap_or_else(|| Err(no_map()))).collect()
        })
    }

    /// Starts every call on its node; the future answers by place in `pending`.
    fn start_all(&self, app: AppId, pending: &[(usize, PartitionCall)]) -> BoxFuture<'static, Vec<(usize, Answer)>> {
        let Some(table) = self.table() else {
            let all: Vec<_> = (0..pending.len()).map(|index| (index, Err(Miss::Again))).collect();
            return Box::pin(async move { all });
        };
        type OfNode = (Vec<usize>, Vec<PartitionCall>, usize);
        let mut nodes: BTreeMap<(NodeId, usize), OfNode> = BTreeMap::new();
        let mut frames: HashMap<NodeId, usize> = HashMap::new();
        let mut targets: HashMap<(GroupId, bool), Option<NodeId>> = HashMap::new();
        let mut missed = Vec::new();
        for (index, (_, call)) in pending.iter().enumerate() {
            let target = table.placement(call.partition).and_then(|placement| {
                let stale = call.mode == Mode::StaleRead;
                *targets
                    .entry((placement.group, stale))
                    .or_insert_with(|| self.target(&table, placement.group, call.mode))
            });
            let Some(node) = target else {
                missed.push((index, Err(Miss::Again)));
                continue;
            };
            let size = 32 + call.body.size();
            let frame = frames.entry(node).or_default();
            if nodes.get(&(node, *frame)).is_some_and(|(.., bytes)| bytes + size > FRAME_BYTES) {
                *frame += 1;
            }
            let (places, calls, bytes) = nodes.entry((node, *frame)).or_default();
            places.push(index);
            calls.push(call.clone());
            *bytes += size;
        }
        let started: Vec<_> = nodes
            .into_iter()
            .map(|((node, _), (places, calls, _))| {
                let answering = self.start(&table, node, app, &calls);
                let (router, table) = (self.clone(), table.clone());
                async move {
                    let answers = answering.await;
                    router.learn(&table, node, &calls, &answers);
                    places.into_iter().zip(answers).collect::<Vec<_>>()
                }
            })
            .collect();
        Box::pin(async move {
            let mut all = missed;
            all.extend(join_all(started).await.into_iter().flatten());
            all
        })
    }

    /// Remembers who leads groups that have no replica here.
    fn learn(&self, table: &RoutingTable, node: NodeId, calls: &[PartitionCall], answers: &[Answer]) {
        for (call, answer) in calls.iter().zip(answers) {
            let Some(placement) = table.placement(call.partition) else { continue };
            if self.inner.host.group(placement.group).is_some() {
                continue;
            }
            let mut leaders = self.inner.leaders.lock();
            match answer {
                Ok(_) if call.mode != Mode::StaleRead => {
                    leaders.insert(placement.group, node);
                }
                Err(Miss::NotLeader(Some(leader))) => {
                    leaders.insert(placement.group, *leader);
                }
                Err(Miss::NotLeader(None) | Miss::Again) => {
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

    async fn transact(&self, app: AppId, calls: Vec<RoutedCall>) -> Result<Vec<Bytes>, CallError> {
        let deadline = self.inner.clock.now() + DEADLINE;
        let mut pause = RETRY_MIN;
        if calls.is_empty() {
            return Ok(vec![]);
        }
        loop {
            let table = self.table().ok_or_else(no_map)?;
            let mut routed = Vec::with_capacity(calls.len());
            let mut groups: BTreeMap<GroupId, ()> = BTreeMap::new();
            for call in &calls {
                let partition = resolve(&table, &call.to)?;
                let placement = table.placement(partition).ok_or_else(|| no_leader(partition))?;
                groups.insert(placement.group, ());
                routed.push(PartitionCall { partition, mode: call.mode, body: call.body.clone() });
            }
            if groups.len() > 1 {
                let names: Vec<String> = groups.keys().map(ToString::to_string).collect();
                return Err(CallError::Rejected(format!(
                    "the keys of this transaction belong to the Raft groups {}; transactions over several groups are not supported by this \
                     version. Use keys that one partition owns",
                    names.join(", ")
                )));
            }
            let group = groups.keys().next().copied().unwrap_or_default();
            let node = self.target(&table, group, Mode::Write).ok_or_else(no_map)?;
            let decided = self.start_transaction(&table, node, app, routed).await;
            match decided {
                Ok(answers) => return Ok(answers),
                Err(Miss::Error(error)) => return Err(error),
                Err(miss) => {
                    if let Miss::NotLeader(Some(leader)) = miss {
                        self.inner.leaders.lock().insert(group, leader);
                    }
                    if self.inner.clock.now() + pause > deadline {
                        return Err(CallError::Unavailable(format!(
                            "group {group} has no leader; nothing was written; retry"
                        )));
                    }
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(RETRY_MAX);
                }
            }
        }
    }

    async fn start_transaction(
        &self,
        table: &RoutingTable,
        node: NodeId,
        app: AppId,
        calls: Vec<PartitionCall>,
    ) -> Result<Vec<Bytes>, Miss> {
        if node == self.inner.peers.node() {
            return transact_here(&self.inner.host, table, app, calls).await;
        }
        let batch = Batch { meta_index: table.index, app, transact: true, calls };
        let answer = self.inner.peers.request(node, Service::Calls, batch.encode(), DEADLINE).await;
        match answer {
            Ok(body) => decode_answers(body).map_err(|_| Miss::Error(unknown_outcome(node)))?.into_iter().collect(),
            Err(TransportError::NoAnswer(..)) => Err(Miss::Error(unknown_outcome(node))),
            Err(_) => Err(Miss::Again),
        }
    }

    /// Serves calls that another node routed here. Puts them into the mailboxes before it returns.
    pub fn serve(&self, body: Bytes) -> BoxFuture<'static, Result<Bytes, String>> {
        let batch = match Batch::decode(body) {
            Ok(batch) => batch,
            Err(error) => return Box::pin(async move { Err(error.to_string()) }),
        };
        let table = self.table().filter(|table| table.index >= batch.meta_index);
        let Some(table) = table else {
            // The caller has seen a newer map: it asks again until this node has it too.
            let answers = crate::calls::encode_answers(&vec![Err(Miss::Again); batch.calls.len().max(1)]);
            return Box::pin(async move { Ok(answers) });
        };
        if batch.calls.is_empty() {
            return Box::pin(async move { Ok(crate::calls::encode_answers(&[])) });
        }
        if batch.transact {
            let host = self.inner.host.clone();
            return Box::pin(async move {
                let answers = match transact_here(&host, &table, batch.app, batch.calls).await {
                    Ok(answers) => answers.into_iter().map(Ok).collect(),
                    Err(miss) => vec![Err(miss)],
                };
                Ok(crate::calls::encode_answers(&answers))
            });
        }
        let answering = start_here(&self.inner.host, &table, batch.app, batch.calls);
        Box::pin(async move { Ok(crate::calls::encode_answers(&answering.await)) })
    }
}

fn start_here(
    host: &Arc<Host>,
    table: &RoutingTable,
    app: AppId,
    calls: Vec<PartitionCall>,
) -> impl Future<Output = Vec<Answer>> + Send + 'static {
    let count = calls.len();
    let (collector, all) = Collector::new(count);
    for (place, call) in calls.into_iter().enumerate() {
        let key = PartitionRef { keyspace: table.keyspace, partition: call.partition };
        host.enqueue(key, Call { app, mode: call.mode, body: Work::Call(call.body), reply: collector.reply(place) });
    }
    async move { all.await.unwrap_or_else(|_| vec![Err(Miss::Again); count]) }
}

async fn transact_here(
    host: &Arc<Host>,
    table: &RoutingTable,
    app: AppId,
    calls: Vec<PartitionCall>,
) -> Result<Vec<Bytes>, Miss> {
    let (reply, replied) = oneshot::channel();
    host.transact(table.keyspace, app, calls, Box::new(move |outcome| drop(reply.send(outcome))));
    let lost = CallError::UnknownOutcome("the node stopped serving this transaction".into());
    replied.await.unwrap_or(Err(Miss::Error(lost)))
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

fn no_leader(partition: PartitionId) -> CallError {
    CallError::Unavailable(format!("partition {partition} has no leader or no quorum; nothing was written; retry"))
}

fn unknown_outcome(node: NodeId) -> CallError {
    CallError::UnknownOutcome(format!(
        "node {node} was lost after the request was sent to it; it may or may not have been applied"
    ))
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
