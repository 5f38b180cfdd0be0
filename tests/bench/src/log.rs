//! What is left of the log after much has been written: three replicas in one process, storage and Raft alone. A group of few entries
//! lies beside the one that is written to, as the meta group does in a node.

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use bytes::Bytes;
use recoil_base::{AppId, Clock, Digest, GroupId, KeyspaceId, NodeId, PartitionId, Shutdown, Tasks};
use recoil_consensus::session::CallWrites;
use recoil_consensus::{
    Applier, Group, GroupContext, GroupOptions, Locals, LogKeeper, MachineKind, Outcome, OwnershipChange, PartitionRef,
    Pulse, Session, Transport, TransportError, Versions,
};
use recoil_storage::{Data, Log, LogOptions, Write};

use crate::figures::{Table, thousands};
use crate::servers::folder;

const GROUPS: [GroupId; 2] = [GroupId(1), GroupId(2)];
const NODES: [NodeId; 3] = [NodeId(1), NodeId(2), NodeId(3)];
const APP: AppId = AppId(4);
const VALUE_BYTES: usize = 64 << 10;
/// Calls at once.
const CALLS: usize = 16;

#[derive(clap::Args)]
pub(crate) struct Options {
    /// How much is written, MiB.
    #[arg(long, default_value_t = 1024, value_parser = clap::value_parser!(u64).range(1..=65536))]
    megabytes: u64,
    /// How long nothing is done after that, seconds.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=600))]
    idle: u64,
}

type Replicas = Arc<Mutex<HashMap<(NodeId, GroupId), Arc<Group>>>>;

struct Direct(Replicas);

impl Transport for Direct {
    fn call(
        &self,
        to: NodeId,
        group: GroupId,
        kind: u8,
        body: Bytes,
        timeout: Duration,
    ) -> futures::future::BoxFuture<'static, Result<Bytes, TransportError>> {
        let replica = self.0.lock().ok().and_then(|replicas| replicas.get(&(to, group)).cloned());
        Box::pin(async move {
            let replica = replica.ok_or(TransportError::Unreachable(to))?;
            let answer = tokio::time::timeout(timeout, replica.handle(kind, body)).await;
            answer
                .map_err(|_| TransportError::NoAnswer(to, "late".into()))?
                .map_err(|text| TransportError::Refused(to, text))
        })
    }

    fn known(&self) -> Vec<NodeId> {
        NODES.to_vec()
    }
}

fn partition(group: GroupId) -> PartitionRef {
    PartitionRef { keyspace: KeyspaceId(1), partition: PartitionId(group.0) }
}

async fn open(replicas: &Replicas, path: &Path, node: NodeId) -> anyhow::Result<GroupContext> {
    let log = Log::open(&path.join("log"), LogOptions::default())?;
    let data = Data::open(&path.join("data"))?;
    let locals = Locals::open(data.clone())?;
    let (tasks, options, versions) = (Tasks::new(Shutdown::new()), GroupOptions::default(), Versions::default());
    versions.set(APP, Some(Digest::of(b"v")));
    let context = GroupContext {
        node,
        clock: Clock::system(),
        keeper: LogKeeper::start(&tasks, log.clone()),
        log,
        data,
        locals,
        versions,
        applier: Applier::start(node),
        transport: Arc::new(Direct(replicas.clone())),
        pulse: Pulse::start(&tasks, options.heartbeat),
        tasks,
        options,
    };
    for group in GROUPS {
        let opened = Group::open(&context, group, MachineKind::Partitions, Arc::new(|_| {})).await?;
        if let Ok(mut replicas) = replicas.lock() {
            replicas.insert((node, group), opened);
        }
    }
    Ok(context)
}

async fn session(replicas: &Replicas, group: GroupId) -> anyhow::Result<Arc<Session>> {
    for _ in 0..2000 {
        let found = replicas.lock().ok().and_then(|replicas| {
            NODES.iter().find_map(|node| replicas.get(&(*node, group)).and_then(|replica| replica.session()))
        });
        if let Some(session) = found {
            return Ok(session);
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    anyhow::bail!("group {group} has no leader after 20 s")
}

async fn put(session: &Session, group: GroupId, key: u64, bytes: usize) -> bool {
    let write = Write::Put { key: Bytes::from(format!("\u{1}{key}")), value: vec![key as u8; bytes].into() };
    let call = CallWrites {
        partition: partition(group),
        epoch: 1,
        now_us: 1,
        app: APP,
        version: Digest::of(b"v"),
        writes: vec![write],
        calls: vec![],
    };
    let (told, outcome) = tokio::sync::oneshot::channel();
    let waiter = Box::new(move |outcome| {
        let _ = told.send(outcome);
    });
    session.append(vec![call], waiter).is_ok() && outcome.await == Ok(Outcome::Committed)
}

pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().context("a runtime")?;
    runtime.block_on(measure(options))
}

async fn measure(options: &Options) -> anyhow::Result<()> {
    let (folder, replicas) = (folder()?, Replicas::default());
    let mut nodes = Vec::new();
    for node in NODES {
        nodes.push(open(&replicas, &folder.path().join(node.to_string()), node).await?);
    }
    for group in GROUPS {
        let first = replicas.lock().ok().and_then(|replicas| replicas.get(&(NODES[0], group)).cloned());
        let first = first.context("the first replica")?;
        first.initialize(NODES.into()).await.map_err(anyhow::Error::msg)?;
    }
    for group in GROUPS {
        let (told, outcome) = tokio::sync::oneshot::channel();
        let waiter = Box::new(move |outcome| {
            let _ = told.send(outcome);
        });
        let changes = vec![(partition(group), OwnershipChange::Birth { epoch: 1 })];
        let asked = session(&replicas, group).await?.change_ownership(changes, waiter);
        anyhow::ensure!(asked.is_ok() && outcome.await? == Outcome::Committed, "group {group} lost its leader");
    }
    let [busy, small] = GROUPS;
    let few = session(&replicas, small).await?;
    for key in 0..10 {
        anyhow::ensure!(put(&few, small, key, 100).await, "a write did not commit");
    }
    let (begun, mut written, mut most) = (Instant::now(), 0, 0);
    while written < options.megabytes << 20 {
        let session = session(&replicas, busy).await?;
        let keys = (written..).step_by(VALUE_BYTES).take(CALLS).map(|at| at / VALUE_BYTES as u64 % 1024);
        let committed = futures::future::join_all(keys.map(|key| put(&session, busy, key, VALUE_BYTES))).await;
        written += committed.into_iter().filter(|committed| *committed).count() as u64 * VALUE_BYTES as u64;
        most = most.max(nodes.iter().map(|node| node.log.segment_count()).max().unwrap_or_default());
    }
    // What a follower has not taken in yet, or no node has applied, is live by right.
    let all: Vec<_> = replicas.lock().map(|replicas| replicas.clone().into_iter().collect()).unwrap_or_default();
    for ((node, id), group) in all {
        let last = nodes.iter().map(|node| node.log.group(id).range().end).max().unwrap_or_default();
        while group.numbers().applied + 1 < last {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        group.flush().await.with_context(|| format!("applying group {id} on node {node}"))?;
    }
    eprintln!("wrote and applied {} MiB in {:.1} s", written >> 20, begun.elapsed().as_secs_f64());
    let mut table = Table::new(&["log of a node", "segments", "MiB", "live MiB", "entries copied"]);
    let mut row = |when: &str| {
        for node in &nodes {
            let live: u64 = GROUPS.iter().map(|group| node.log.group(*group).bytes()).sum();
            let copied = node.log.stats().entries_relocated;
            table.row([
                format!("node {}, {when}", node.node),
                node.log.segment_count().to_string(),
                (node.log.bytes() >> 20).to_string(),
                (live >> 20).to_string(),
                thousands(copied as f64),
            ]);
        }
    };
    row("at the end");
    tokio::time::sleep(Duration::from_secs(options.idle)).await;
    row(&format!("{} s later", options.idle));
    print!("{table}");
    println!("\nAt most {most} segments while {} MiB were written.", written >> 20);
    for node in &nodes {
        node.tasks.stop().await;
    }
    Ok(())
}
