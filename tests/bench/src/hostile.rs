//! redis-server's latency beside each misbehaviour of the hostile package.
//!
//! A round measures redis-server alone and then beside the misbehaviour, provoked by threads that ask for it again and again, or
//! by connections that it keeps. The two take turns, and all samples of a kind are put together.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use recoil_cluster_tests::{Cluster, Ports, Redis, Reply, eventually};
use recoil_hostile::{Hostile, write_package};

/// Clients of redis-server on each node.
const CLIENTS: usize = 2;
/// How often a client sends a command, so that the machine is not full by itself.
const PAUSE: Duration = Duration::from_millis(5);
/// How long the misbehaviour goes on before redis-server is measured, and how long it is given to end.
const SETTLE: Duration = Duration::from_millis(500);

/// Word, number, connections on each node, each on a key of its own.
const MISBEHAVIOURS: &[(&str, usize, usize)] = &[
    ("loop", 0, 4),
    ("trap", 0, 4),
    ("host-calls", 1_000_000_000, 4),
    ("grow-and-trap", 100 << 20, 4),
    ("answer", 15 << 20, 2),
    ("answer", 100 << 20, 2),
    ("recurse", 0, 4),
    ("log", 20_000, 4),
    ("stdout", 20_000, 4),
    ("put-many", 200_000, 2),
    ("writes", 15, 2),
    ("timers", 10_000, 2),
    ("publish", 10_000, 2),
    ("@loop", 0, 4),
    ("@poll", 0, 4),
    ("@submit", 1000, 4),
    ("@many", 10_000, 2),
    ("@many-answers", 10, 2),
    ("@flood", 0, 4),
    ("@deaf", 0, 4),
];

#[derive(clap::Args)]
pub(crate) struct Options {
    /// Length of a turn, seconds.
    #[arg(long, default_value_t = 4)]
    seconds: u64,
    /// Turns of each kind.
    #[arg(long, default_value_t = 3)]
    rounds: u32,
    /// One misbehaviour only.
    #[arg(long)]
    only: Option<String>,
}

pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    let cluster = Cluster::processes();
    let port = Ports::free(3).redis(0) - cluster.ports().offset;
    let file = cluster.path("hostile.wasm");
    write_package(&file, "hostile", port, &[]);
    cluster.ctl(0, &["install", "--yes", file.to_str().context("a path")?]).ok();
    let ports = |first: u16| (0..Cluster::NODES as u16).map(|k| first + k).collect::<Vec<u16>>();
    let (redis, hostile) = (ports(cluster.ports().redis(0)), ports(port + cluster.ports().offset));
    for (node, port) in hostile.iter().enumerate() {
        cluster.wait_serving(node);
        eventually("the hostile package answers", || {
            let asked = Hostile::connect(*port, Duration::from_secs(5)).and_then(|mut to| to.ask("a", "echo", 1));
            asked.map(drop).map_err(|error| error.to_string())
        });
    }
    let length = Duration::from_secs(options.seconds);
    measure(&redis, length)?; // warm
    println!(
        "| misbehaviour | alone p50 | p99 | beside p50 | p99 | p50 ratio | p99 ratio |\n|---|---|---|---|---|---|---|"
    );
    let mut found = false;
    for (word, number, connections) in MISBEHAVIOURS {
        if options.only.as_deref().is_some_and(|only| only != *word) {
            continue;
        }
        found = true;
        let (mut alone, mut beside) = (Vec::new(), Vec::new());
        for _ in 0..options.rounds {
            alone.extend(measure(&redis, length)?);
            beside.extend(provoked(&hostile, word, *number, *connections, || measure(&redis, length))?);
        }
        let [a50, a99] = percentiles(&mut alone);
        let [b50, b99] = percentiles(&mut beside);
        let ms = |time: Duration| time.as_secs_f64() * 1000.0;
        println!(
            "| {word} {number} | {:.2} ms | {:.2} ms | {:.2} ms | {:.2} ms | {:.2} | {:.2} |",
            ms(a50),
            ms(a99),
            ms(b50),
            ms(b99),
            ms(b50) / ms(a50),
            ms(b99) / ms(a99)
        );
    }
    if !found {
        bail!("there is no misbehaviour {}", options.only.as_deref().unwrap_or_default());
    }
    Ok(())
}

/// Latencies of a closed loop on every node.
fn measure(ports: &[u16], length: Duration) -> anyhow::Result<Vec<Duration>> {
    thread::scope(|scope| {
        let clients: Vec<_> = ports
            .iter()
            .flat_map(|port| (0..CLIENTS).map(move |client| (*port, client)))
            .map(|(port, client)| scope.spawn(move || one_client(port, client, length)))
            .collect();
        let mut all = Vec::new();
        for client in clients {
            all.extend(client.join().map_err(|_| anyhow::anyhow!("a client panicked"))??);
        }
        Ok(all)
    })
}

fn one_client(port: u16, client: usize, length: Duration) -> anyhow::Result<Vec<Duration>> {
    let mut redis = Redis::connect(port)?;
    let (end, mut latencies) = (Instant::now() + length, Vec::new());
    let value = "x".repeat(100);
    for number in 0.. {
        let started = Instant::now();
        if started > end {
            break;
        }
        let key = format!("key:{}", (number * 7919 + client * 104_729) % 10_000);
        let words: &[&str] = if number % 2 == 0 { &["SET", &key, &value] } else { &["GET", &key] };
        if let Reply::Error(text) = redis.command(words)? {
            bail!("redis-server answers {text}");
        }
        latencies.push(started.elapsed());
        thread::sleep(PAUSE);
    }
    Ok(latencies)
}

/// Runs `work` while every node is asked for a misbehaviour again and again.
fn provoked<T>(ports: &[u16], word: &str, number: usize, connections: usize, work: impl FnOnce() -> T) -> T {
    let stop = AtomicBool::new(false);
    let out = thread::scope(|scope| {
        for (place, port) in ports.iter().enumerate() {
            for connection in 0..connections {
                let (stop, key) = (&stop, format!("key:{place}:{connection}"));
                scope.spawn(move || {
                    while !stop.load(Ordering::Relaxed) {
                        let Ok(mut hostile) = Hostile::connect(*port, Duration::from_millis(1200)) else { continue };
                        // A short patience, so that those who never answer are asked again.
                        while !stop.load(Ordering::Relaxed) && hostile.ask(&key, word, number).is_ok() {}
                    }
                });
            }
        }
        thread::sleep(SETTLE);
        let out = work();
        stop.store(true, Ordering::Relaxed);
        out
    });
    thread::sleep(SETTLE);
    out
}

fn percentiles(latencies: &mut [Duration]) -> [Duration; 2] {
    latencies.sort_unstable();
    [50, 99].map(|percent| latencies.get(latencies.len() * percent / 100).copied().unwrap_or_default())
}
