//! The log of a node shrinks, whatever its groups do: several groups on three nodes, messages by function call, small segments.

#![allow(missing_docs)]

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::future::{BoxFuture, join_all};
use parking_lot::Mutex;
use recoil_base::{AppId, Clock, Digest, GroupId, KeyspaceId, NodeId, PartitionId, Shutdown, Tasks, task};
use recoil_consensus::session::CallWrites;
use recoil_consensus::{
    Applier, Group, GroupContext, GroupOptions, Locals, LogKeeper, MachineKind, Outcome, OwnershipChange, PartitionRef,
    Pulse, Session, Transport, TransportError, Versions,
};
use recoil_storage::{Data, Log, LogOptions, Write, key};
use tokio::sync::oneshot;

const BUSY: GroupId = GroupId(1);
const SMALL: GroupId = GroupId(2);
const APP: AppId = AppId(4);
const SEGMENT_BYTES: u64 = 256 << 10;
/// As much as a hundred segments hold.
const WRITES: usize = 3200;
const WRITE_BYTES: usize = 8 << 10;

type Replicas = HashMap<(NodeId, GroupId), Arc<Group>>;

/// Delivers messages, but for those groups that are cut off on a node.
#[derive(Clone, Default)]
struct Wire {
    groups: Arc<Mutex<Replicas>>,
    cut: Arc<Mutex<HashSet<(NodeId, GroupId)>>>,
}

struct End(Wire, NodeId);

impl Transport for End {
    fn call(
        &self,
        to: NodeId,
        group: GroupId,
        kind: u8,
        body: Bytes,
        timeout: Duration,
    ) -> BoxFuture<'static, Result<Bytes, TransportError>> {
        let cut = self.0.cut.lock();
        let reached = !cut.contains(&(to, group)) && !cut.contains(&(self.1, group));
        let replica = self.0.groups.lock().get(&(to, group)).cloned().filter(|_| reached);
        Box::pin(async move {
            let replica = replica.ok_or(TransportError::Unreachable(to))?;
            let answer = tokio::time::timeout(timeout, replica.handle(kind, body)).await;
            answer
                .map_err(|_| TransportError::NoAnswer(to, "late".into()))?
                .map_err(|text| TransportError::Refused(to, text))
        })
    }

    fn known(&self) -> Vec<NodeId> {
        nodes().into_iter().filter(|node| *node != self.1).collect()
    }
}

fn nodes() -> Vec<NodeId> {
    (1..=3).map(NodeId).collect()
}

fn partition(group: GroupId) -> PartitionRef {
    PartitionRef { keyspace: KeyspaceId(1), partition: PartitionId(group.0) }
}

struct Node {
    wire: Wire,
    context: GroupContext,
    groups: BTreeMap<GroupId, Arc<Group>>,
}

impl Node {
    async fn open(wire: &Wire, folder: &Path, node: NodeId, groups: &[GroupId]) -> Node {
        let path = folder.join(node.to_string());
        let opened = task::spawn_blocking(move || {
            let options = LogOptions { segment_bytes: SEGMENT_BYTES, ..LogOptions::default() };
            let log = Log::open(&path.join("log"), options).unwrap();
            let data = Data::open(&path.join("data")).unwrap();
            let locals = Locals::open(data.clone()).unwrap();
            (log, data, locals)
        });
        let (log, data, locals) = opened.await.unwrap();
        let versions = Versions::default();
        versions.set(APP, Some(Digest::of(b"v")));
        let (tasks, options) = (Tasks::new(Shutdown::new()), GroupOptions::default());
        let context = GroupContext {
            node,
            clock: Clock::system(),
            keeper: LogKeeper::start(&tasks, log.clone()),
            log,
            data,
            locals,
            versions,
            applier: Applier::start(node),
            transport: Arc::new(End(wire.clone(), node)),
            pulse: Pulse::start(&tasks, options.heartbeat),
            tasks,
            options,
        };
        let mut opened = Node { wire: wire.clone(), context, groups: BTreeMap::new() };
        for group in groups {
            let applied = Arc::new(|_: &BTreeSet<PartitionRef>| {});
            let replica = Group::open(&opened.context, *group, MachineKind::Partitions, applied).await.unwrap();
            wire.groups.lock().insert((node, *group), replica.clone());
            opened.groups.insert(*group, replica);
        }
        opened
    }

    async fn close_group(&mut self, group: GroupId) {
        self.wire.groups.lock().remove(&(self.context.node, group));
        self.groups.remove(&group).unwrap().close().await;
    }

    async fn close(mut self) {
        for group in self.groups.keys().copied().collect::<Vec<_>>() {
            self.close_group(group).await;
        }
        self.context.tasks.stop().await;
        let log = self.context.log.clone();
        task::spawn_blocking(move || log.close()).await.unwrap();
    }

    fn value(&self, group: GroupId, name: &str) -> Option<Bytes> {
        let copy = self.context.locals.get(group, partition(group))?.copy;
        self.context.data.get(&key::absolute(copy, APP, format!("\u{1}{name}").as_bytes())).unwrap()
    }

    fn entries(&self, group: GroupId) -> Vec<(u64, Bytes)> {
        self.context.log.group(group).read(0..u64::MAX, usize::MAX).unwrap()
    }

    /// The log has no more than two segments beside what is live in `groups`.
    fn is_small(&self, groups: &[GroupId]) -> bool {
        let log = &self.context.log;
        let live: u64 = groups.iter().map(|group| log.group(*group).bytes()).sum();
        // Not their bytes: what a replica that catches up takes in at once may make a segment larger.
        log.segment_count() as u64 <= 2 + live.div_ceil(SEGMENT_BYTES)
    }
}

async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    for _ in 0..6000 {
        if holds() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("never came: {what}");
}

/// Whoever leads, once its log has the group's partition.
async fn leader(nodes: &[Node], group: GroupId) -> (NodeId, Arc<Session>) {
    loop {
        let (node, session) = elected(nodes, group).await;
        let has = |open: &Node| open.context.node == node && open.context.locals.get(group, partition(group)).is_some();
        if nodes.iter().any(has) {
            return (node, session);
        }
        let (told, outcome) = oneshot::channel();
        let waiter = Box::new(move |outcome| {
            let _ = told.send(outcome); // a session that ended before it took the change
        });
        if session.change_ownership(vec![(partition(group), OwnershipChange::Birth { epoch: 1 })], waiter).is_ok() {
            let _ = outcome.await; // looked at again
        }
    }
}

async fn elected(nodes: &[Node], group: GroupId) -> (NodeId, Arc<Session>) {
    let mut found = None;
    until("a leader", || {
        let session =
            nodes.iter().find_map(|node| Some((node.context.node, node.groups.get(&group).and_then(|g| g.session())?)));
        found = session;
        found.is_some()
    })
    .await;
    found.unwrap()
}

fn append(session: &Session, group: GroupId, name: &str, value: &[u8]) -> Option<oneshot::Receiver<Outcome>> {
    let write = Write::Put { key: Bytes::from(format!("\u{1}{name}")), value: Bytes::copy_from_slice(value) };
    let call = CallWrites {
        partition: partition(group),
        epoch: 1,
        now_us: 1,
        app: APP,
        version: Digest::of(b"v"),
        writes: vec![write],
        calls: vec![],
    };
    let (told, outcome) = oneshot::channel();
    let waiter = Box::new(move |outcome| {
        let _ = told.send(outcome); // nobody may wait any more
    });
    session.append(vec![call], waiter).ok().map(|_| outcome)
}

async fn put(session: &Session, group: GroupId, name: &str, value: &[u8]) -> Outcome {
    let Some(outcome) = append(session, group, name, value) else { return Outcome::Refused };
    tokio::time::timeout(Duration::from_secs(20), outcome).await.expect("an outcome in time").expect("waiters are told")
}

/// Writes as much as a hundred segments hold, eight at a time, whoever leads.
async fn keep_busy(nodes: &[Node]) {
    let mut written = 0;
    while written < WRITES {
        let (_, session) = leader(nodes, BUSY).await;
        let names: Vec<String> = (written..written + 8).map(|number| format!("key {}", number % 64)).collect();
        let outcomes = join_all(names.iter().map(|name| put(&session, BUSY, name, &[7; WRITE_BYTES]))).await;
        written += outcomes.iter().filter(|outcome| **outcome == Outcome::Committed).count();
    }
}

async fn three(wire: &Wire, folder: &Path) -> Vec<Node> {
    let groups = [BUSY, SMALL];
    let opened = join_all(nodes().into_iter().map(|node| Node::open(wire, folder, node, &groups))).await;
    for group in groups {
        opened[0].groups[&group].initialize(nodes().into_iter().collect()).await.unwrap();
    }
    opened
}

/// Fails if a group purges only beyond some number of entries, or by the size of its own log: a meta group keeps everybody's log for
/// ever.
#[tokio::test(flavor = "multi_thread")]
async fn a_group_of_few_entries_keeps_nobody_elses_on_the_disk() {
    let (wire, folder) = (Wire::default(), tempfile::tempdir().unwrap());
    let nodes = three(&wire, folder.path()).await;
    let (_, session) = leader(&nodes, SMALL).await;
    for number in 0..10 {
        assert_eq!(put(&session, SMALL, &format!("key {number}"), b"small").await, Outcome::Committed);
    }
    keep_busy(&nodes).await;
    for node in &nodes {
        until("a small log", || node.is_small(&[])).await;
        let stats = node.context.log.stats();
        assert!(stats.segments_made > 50, "{stats:?}");
        assert_eq!(stats.entries_relocated, 0, "what can be purged is not copied: {stats:?}");
        assert!(node.context.log.group(SMALL).purged().is_some());
    }
    // Both groups go on, after a restart too.
    join_all(nodes.into_iter().map(Node::close)).await;
    let nodes = three(&wire, folder.path()).await;
    for group in [BUSY, SMALL] {
        while put(&leader(&nodes, group).await.1, group, "late", b"1").await != Outcome::Committed {}
    }
    for node in &nodes {
        until("all writes", || node.value(BUSY, "late").is_some() && node.value(SMALL, "late").is_some()).await;
        assert!((0..10).all(|number| node.value(SMALL, &format!("key {number}")).is_some()));
        assert!((0..64).all(|number| node.value(BUSY, &format!("key {number}")).is_some()));
    }
    join_all(nodes.into_iter().map(Node::close)).await;
}

/// One group has no quorum: its leader has entries that are not committed, and a replica of it is not even open. Fails if either pins
/// segments for ever, or loses an entry by being copied.
#[tokio::test(flavor = "multi_thread")]
async fn a_group_without_a_quorum_keeps_its_own_entries_and_nobody_elses() {
    let (wire, folder) = (Wire::default(), tempfile::tempdir().unwrap());
    let mut nodes = three(&wire, folder.path()).await;
    let (first, session) = leader(&nodes, SMALL).await;
    assert_eq!(put(&session, SMALL, "early", b"1").await, Outcome::Committed);
    // From now on the leader and the replica that is closed would have to agree: the third is gone for good.
    let mut others = (0..3).filter(|place| nodes[*place].context.node != first);
    let (closed, gone) = (others.next().unwrap(), others.next().unwrap());
    let stuck = nodes.iter().position(|node| node.context.node == first).unwrap();
    until("the first write", || nodes[closed].value(SMALL, "early").is_some()).await;
    wire.cut.lock().insert((nodes[gone].context.node, SMALL));
    nodes[closed].close_group(SMALL).await;
    let committed = nodes[stuck].groups[&SMALL].numbers().committed;
    let outcomes: Vec<_> =
        (0..10).map(|number| append(&session, SMALL, &format!("in doubt {number}"), &[number; 3000])).collect();
    assert!(outcomes.iter().all(Option::is_some));
    until("entries that are not committed", || nodes[stuck].context.log.group(SMALL).range().end > committed + 1).await;

    keep_busy(&nodes).await;
    let log = |place: usize| nodes[place].context.log.clone();
    until("small logs", || (0..3).all(|place| nodes[place].is_small(&[SMALL]))).await;
    assert_eq!(nodes[stuck].groups[&SMALL].numbers().committed, committed);
    assert!(log(stuck).stats().entries_relocated > 0 && log(closed).stats().entries_relocated > 0);
    let before = [stuck, closed].map(|place| nodes[place].entries(SMALL));
    assert!(before[0].last().unwrap().0 > committed && before[1].len() > 1);

    // All of it is there after a restart, and is committed once there is a quorum.
    let closed_node = nodes[closed].context.node;
    join_all(nodes.into_iter().map(Node::close)).await;
    for (node, expected) in [(first, &before[0]), (closed_node, &before[1])] {
        let path = folder.path().join(node.to_string()).join("log");
        let options = LogOptions { segment_bytes: SEGMENT_BYTES, ..LogOptions::default() };
        let read = task::spawn_blocking(move || {
            let log = Log::open(&path, options).unwrap();
            log.group(SMALL).read(0..u64::MAX, usize::MAX).unwrap()
        });
        assert!(read.await.unwrap() == *expected, "the entries of {node}");
    }
    let opening = [first, closed_node].map(|node| Node::open(&wire, folder.path(), node, &[SMALL]));
    let nodes = join_all(opening).await;
    for node in &nodes {
        until("what was in doubt", || node.value(SMALL, "in doubt 9").is_some()).await;
        assert!((0..10).all(|number| node.value(SMALL, &format!("in doubt {number}")).is_some()));
    }
    join_all(nodes.into_iter().map(Node::close)).await;
}
