//! How long a cluster that holds a lot takes to give a new node its share, and to replace a node that is lost, and what its clients notice.
//!
//! Three processes, filled with large values; then a fourth joins, and later one is killed for good. Meanwhile clients write small values to keys
//! of their own, one every 10 ms each. A phase ends when no partition is moving or lacks a replica; the time until a dead node counts
//! as lost is `repair-after` and is told apart. At the end every value must be there.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{JoinHandle, sleep, spawn};
use std::time::{Duration, Instant};

use anyhow::ensure;
use parking_lot::Mutex;
use recoil_cluster_tests::{Cluster, Door, Reply};
use serde_json::Value;

use crate::figures::{Table, ms, percentile, short};
use crate::recovery::{VALUE_BYTES, check, fill};

/// Clients that write all the time.
const CLIENTS: usize = 16;
/// Between two writes of one.
const PACE: Duration = Duration::from_millis(10);
/// The cluster at rest.
const REST: Duration = Duration::from_secs(10);
/// How long a dead node is waited for, seconds.
const REPAIR_AFTER: u64 = 10;
/// No phase takes longer.
const PATIENCE: Duration = Duration::from_secs(900);

#[derive(clap::Args)]
pub(crate) struct Options {
    /// What the cluster holds, MiB.
    #[arg(long, default_value_t = 1024, value_parser = clap::value_parser!(u64).range(1..=16_384))]
    mebibytes: u64,
}

pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    let mut cluster = Cluster::processes();
    cluster.ctl(0, &["cluster", "set", &format!("repair-after={REPAIR_AFTER}s")]).ok();
    let values = (options.mebibytes << 20) / VALUE_BYTES as u64;
    let door = cluster.door(0);
    let connect = || door.connect();
    eprintln!("filled in {:.1} s", fill(&connect, values)?.as_secs_f64());
    let heading = format!("{} MiB", options.mebibytes);
    let mut table = Table::new(&[&heading, "s", "write p50, ms", "p99", "longest", "writes", "failed"]);

    let clients = Clients::start(&[cluster.door(0), cluster.door(2)]);
    sleep(REST);
    table.row(clients.phase("at rest", REST));
    let began = Instant::now();
    let mut fourth = cluster.start_fourth();
    wait_settled(&cluster, 4, 0)?;
    table.row(clients.phase("a fourth node joins, until it has its share", began.elapsed()));

    cluster.kill(1);
    let killed = Instant::now();
    wait(&cluster, |status| nodes(status).iter().any(|node| node["lost"] == true))?;
    table.row(clients.phase("a node is dead, until it counts as lost", killed.elapsed()));
    let began = Instant::now();
    wait_settled(&cluster, 3, 1)?;
    table.row(clients.phase("until its replicas are replaced", began.elapsed()));
    clients.stop();
    check(&connect, values)?;
    print!("{table}");
    ensure!(fourth.terminate().success(), "the fourth node ended with an error:\n{}", fourth.stderr());
    Ok(())
}

fn nodes(status: &Value) -> &[Value] {
    status["nodes"].as_array().map_or(&[], Vec::as_slice)
}

/// Waits until so many nodes hold replicas, so many none, and no partition is moving or lacks a replica.
fn wait_settled(cluster: &Cluster, holding: usize, empty: usize) -> anyhow::Result<()> {
    wait(cluster, |status| {
        let holds = |node: &&Value| node["replicas"].as_u64().is_some_and(|held| held > 0);
        let count = nodes(status).iter().filter(holds).count();
        let keyspace = &status["keyspaces"][0];
        count == holding
            && nodes(status).len() == holding + empty
            && keyspace["moving"] == 0
            && keyspace["under_replicated"] == 0
    })
}

/// Waits until a status is as it should be, twice in a row: between two plans nothing moves for a moment.
fn wait(cluster: &Cluster, is_due: impl Fn(&Value) -> bool) -> anyhow::Result<()> {
    let (end, mut seen) = (Instant::now() + PATIENCE, 0);
    while seen < 2 {
        let status = cluster.status(0).unwrap_or_default();
        seen = if is_due(&status) { seen + 1 } else { 0 };
        ensure!(Instant::now() < end, "not within {} s: {status}", PATIENCE.as_secs());
        sleep(Duration::from_millis(500));
    }
    Ok(())
}

/// What clients have seen since the last phase ended.
#[derive(Default)]
struct Seen {
    times: Vec<Duration>,
    failed: u64,
}

struct Clients {
    seen: Arc<Mutex<Seen>>,
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Clients {
    fn start(doors: &[Door]) -> Clients {
        let (seen, stop) = (Arc::new(Mutex::new(Seen::default())), Arc::new(AtomicBool::new(false)));
        let client = |number: usize| {
            let (seen, stop, door) = (seen.clone(), stop.clone(), doors[number % doors.len()].clone());
            spawn(move || write(&door, &format!("small:{number}"), &seen, &stop))
        };
        let threads = (0..CLIENTS).map(client).collect();
        Clients { seen, stop, threads }
    }

    /// Ends a phase: its row of the table.
    fn phase(&self, what: &str, took: Duration) -> Vec<String> {
        let Seen { mut times, failed } = std::mem::take(&mut *self.seen.lock());
        let mut time = |percent| short(ms(percentile(&mut times, percent)));
        let (p50, p99, longest) = (time(50), time(99), time(100));
        eprintln!("{what}: {:.1} s", took.as_secs_f64());
        let count = times.len().to_string();
        vec![what.to_owned(), short(took.as_secs_f64()), p50, p99, longest, count, failed.to_string()]
    }

    fn stop(self) {
        self.stop.store(true, Ordering::Relaxed);
        self.threads.into_iter().for_each(|thread| thread.join().expect("a client does not panic"));
    }
}

/// Writes one key again and again; a write that fails is repeated, and its time counts from the first attempt.
fn write(door: &Door, key: &str, seen: &Mutex<Seen>, stop: &AtomicBool) {
    let mut connection = None;
    while !stop.load(Ordering::Relaxed) {
        let began = Instant::now();
        while !stop.load(Ordering::Relaxed) {
            let redis = connection.take().map_or_else(|| door.connect(), Ok);
            let answer = redis.and_then(|mut redis| redis.command(&["SET", key, "1"]).map(|reply| (reply, redis)));
            match answer {
                Ok((Reply::Simple(_), redis)) => {
                    connection = Some(redis);
                    seen.lock().times.push(began.elapsed());
                    break;
                }
                Ok((_, redis)) => connection = Some(redis),
                Err(_) => {}
            }
            seen.lock().failed += 1;
            sleep(Duration::from_millis(1));
        }
        sleep(PACE.saturating_sub(began.elapsed()));
    }
}
