//! How long a snapshot that a node loads holds up the node's other groups.
//!
//! Two replicas on real logs and data in one process, messages by function call. The first one's group has many partitions with some
//! rows each. The second one pulls a snapshot of all that, while a group of its own is written to without pause. What is measured:
//! - the longest time that anything had to wait for the second node's one applier thread, which loads and installs the snapshot and applies the
//!   entries of all groups;
//! - the longest time from a write of the other group to its commit.

use std::collections::{BTreeSet, HashMap};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use bytes::Bytes;
use recoil_base::{AppId, Clock, Digest, GroupId, KeyspaceId, NodeId, PartitionId, Shutdown, Tasks, task};
use recoil_consensus::session::{CallWrites, Waiter};
use recoil_consensus::{
    Applier, Group, GroupContext, GroupOptions, Locals, LogKeeper, LostData, MachineKind, Outcome, OwnershipChange,
    PartitionRef, Pulse, Session, Transport, TransportError, Versions,
};
use recoil_storage::{Data, Log, LogOptions, Write};
use tokio::sync::oneshot;

/// The group whose snapshot is loaded, and the one beside it.
const LARGE: GroupId = GroupId(1);
const OTHER: GroupId = GroupId(2);
const APP: AppId = AppId(4);
/// Partitions that one entry brings to life or writes to.
const STEP: usize = 500;

#[derive(clap::Args)]
pub(crate) struct Options {
    /// Partitions of the group.
    #[arg(long, default_value_t = 10_000)]
    partitions: u32,
    /// Rows of each partition.
    #[arg(long, default_value_t = 20)]
    rows: u32,
    /// Bytes of a value.
    #[arg(long, default_value_t = 200)]
    value_bytes: usize,
    /// Snapshots to load.
    #[arg(long, default_value_t = 3)]
    rounds: u32,
}

/// Delivers messages to groups in this process.
#[derive(Clone, Default)]
struct Wire(Arc<parking_lot::Mutex<Replicas>>);

type Replicas = HashMap<(NodeId, GroupId), Arc<Group>>;

impl Transport for Wire {
    fn call(
        &self,
        to: NodeId,
        group: GroupId,
        kind: u8,
        body: Bytes,
        _: Duration,
    ) -> futures::future::BoxFuture<'static, Result<Bytes, TransportError>> {
        let found = self.0.lock().get(&(to, group)).cloned();
        Box::pin(async move {
            let group = found.ok_or(TransportError::Unreachable(to))?;
            group.handle(kind, body).await.map_err(|text| TransportError::Refused(to, text))
        })
    }

    fn known(&self) -> Vec<NodeId> {
        vec![NodeId(1)]
    }
}

fn context(wire: &Wire, folder: &Path, node: NodeId) -> anyhow::Result<GroupContext> {
    let (tasks, options) = (Tasks::new(Shutdown::new()), GroupOptions::default());
    let data = Data::open(&folder.join(format!("{node}/data")))?;
    let log = Log::open(&folder.join(format!("{node}/log")), LogOptions::default())?;
    let versions = Versions::default();
    versions.set(APP, Some(Digest::of(b"v")));
    Ok(GroupContext {
        node,
        clock: Clock::system(),
        keeper: LogKeeper::start(&tasks, log.clone()),
        log,
        locals: Locals::open(data.clone())?,
        data,
        versions,
        applier: Applier::start(node),
        transport: Arc::new(wire.clone()),
        pulse: Pulse::start(&tasks, options.heartbeat),
        tasks,
        options,
    })
}

async fn open(wire: &Wire, context: &GroupContext, id: GroupId) -> anyhow::Result<(Arc<Group>, Arc<Session>)> {
    let group = Group::open(context, id, MachineKind::Partitions, Arc::new(|_| {})).await?;
    wire.0.lock().insert((context.node, id), group.clone());
    group.initialize(BTreeSet::from([context.node])).await.map_err(anyhow::Error::msg)?;
    let session = group.leadership().wait_for(|now| now.session.is_some()).await?.session.clone();
    Ok((group, session.context("a leader has a session")?))
}

fn partition(number: u32) -> PartitionRef {
    PartitionRef { keyspace: KeyspaceId(1), partition: PartitionId(number) }
}

/// Has the session do something and waits until it is committed.
async fn committed(ask: impl FnOnce(Waiter) -> bool) -> anyhow::Result<()> {
    let (told, outcome) = oneshot::channel();
    let asked = ask(Box::new(move |outcome| {
        let _ = told.send(outcome);
    }));
    anyhow::ensure!(asked && outcome.await? == Outcome::Committed, "the leadership was lost");
    Ok(())
}

async fn bear(session: &Session, partitions: u32) -> anyhow::Result<()> {
    let born: Vec<_> = (0..partitions).map(|n| (partition(n), OwnershipChange::Birth { epoch: 1 })).collect();
    for changes in born.chunks(STEP) {
        committed(|waiter| session.change_ownership(changes.to_vec(), waiter).is_ok()).await?;
    }
    Ok(())
}

fn write(number: u32, row: u32, value_bytes: usize) -> CallWrites {
    let key = [&[1][..], &row.to_be_bytes()].concat();
    let writes = vec![Write::Put { key: key.into(), value: vec![row as u8; value_bytes].into() }];
    let (version, calls) = (Digest::of(b"v"), vec![]);
    CallWrites { partition: partition(number), epoch: 1, now_us: 1, app: APP, version, writes, calls }
}

pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(measure(options))
}

async fn measure(options: &Options) -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let wire = Wire::default();
    let sender = context(&wire, folder.path(), NodeId(1))?;
    let (group, session) = open(&wire, &sender, LARGE).await?;
    bear(&session, options.partitions).await?;
    for row in 0..options.rows {
        let numbers: Vec<u32> = (0..options.partitions).collect();
        for step in numbers.chunks(STEP) {
            let parts = step.iter().map(|number| write(*number, row, options.value_bytes)).collect();
            committed(|waiter| session.append(parts, waiter).is_ok()).await?;
        }
    }
    group.flush().await?;
    println!(
        "{} partitions with {} rows of {} B each; {} rounds.\n",
        options.partitions, options.rows, options.value_bytes, options.rounds
    );
    println!(
        "| round | loaded in | longest wait for the applier | longest write of another group | the same without a snapshot |"
    );
    println!(
        "|------:|----------:|-----------------------------:|-------------------------------:|----------------------------:|"
    );
    for round in 1..=options.rounds {
        let receiver = context(&wire, folder.path(), NodeId(1 + round))?;
        let (other, session) = open(&wire, &receiver, OTHER).await?;
        bear(&session, 1).await?;
        let (_, quiet) = beside(&receiver, &session, tokio::time::sleep(Duration::from_secs(3))).await?;
        let lost = LostData { group: LARGE, purged: 1, applied: 0 };
        let begun = Instant::now();
        let loading = async { lost.repair(&receiver).await.map(|()| begun.elapsed()) };
        let (loaded, (applier, write)) = beside(&receiver, &session, loading).await?;
        let (loaded, ms) = (loaded?, |duration: Duration| duration.as_secs_f64() * 1000.0);
        println!(
            "| {round} | {:.2} s | {:.1} ms | {:.1} ms | {:.1} ms, {:.1} ms |",
            loaded.as_secs_f64(),
            ms(applier),
            ms(write),
            ms(quiet.0),
            ms(quiet.1)
        );
        anyhow::ensure!(receiver.locals.of_group(LARGE).len() == options.partitions as usize, "partitions are missing");
        other.close().await;
    }
    group.close().await;
    Ok(())
}

/// Runs `work`, and beside it asks for the applier, and writes to the session's partition, again and again. Answers the longest
/// waits of both.
async fn beside<T>(
    node: &GroupContext,
    session: &Session,
    work: impl Future<Output = T>,
) -> anyhow::Result<(T, (Duration, Duration))> {
    let ended = Arc::new(AtomicBool::new(false));
    let (applier, seen) = (node.applier.clone(), ended.clone());
    let asking = task::spawn_detached(async move {
        let mut longest = Duration::ZERO;
        while !seen.load(Ordering::Relaxed) {
            let asked = Instant::now();
            if applier.run(|| ()).await.is_err() {
                break;
            }
            longest = longest.max(asked.elapsed());
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        longest
    });
    let writing = async {
        let mut longest = Duration::ZERO;
        for row in 0.. {
            if ended.load(Ordering::Relaxed) {
                break;
            }
            let asked = Instant::now();
            committed(|waiter| session.append(vec![write(0, row % 1000, 100)], waiter).is_ok()).await?;
            longest = longest.max(asked.elapsed());
        }
        anyhow::Ok(longest)
    };
    let work = async {
        let done = work.await;
        ended.store(true, Ordering::Relaxed);
        done
    };
    let (done, writes) = tokio::join!(work, writing);
    Ok((done, (asking.await?, writes?)))
}
