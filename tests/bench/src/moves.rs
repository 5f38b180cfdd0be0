//! How long a partition is without an answer while it moves, beside the same cluster at rest.
//!
//! Four processes; a partition has three replicas. Probes write a key each, every 10 ms, through three of the nodes, while all partitions
//! move, 64 at a time. A pause is the longest time between two acknowledged writes of one key during one such move of all
//! partitions, so it holds the probes' own 10 ms.

use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use recoil_cluster_tests::{Cluster, PATIENCE, Probed, Probes};
use serde_json::Value;

use crate::figures::{Table, ms, percentile, short};

/// Enough for most batches to hold some.
const KEYS: usize = 32;
/// Of a cluster as it is made.
const PARTITIONS: u32 = 265;
/// Partitions that one command moves.
const BATCH: u32 = 64;

#[derive(clap::Args)]
pub(crate) struct Options {
    /// How many times all partitions move to each of the sets.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
}

/// What the probes saw in all rounds of one kind.
#[derive(Default)]
struct Seen {
    pauses: Vec<Duration>,
    failed: u64,
    moves: u32,
    took: Duration,
}

impl Seen {
    fn add(&mut self, probed: &[Probed], moves: u32, took: Duration) {
        self.pauses.extend(probed.iter().map(|probed| probed.longest));
        self.failed += probed.iter().map(|probed| probed.failed).sum::<u64>();
        self.moves += moves;
        self.took += took;
    }
}

pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    let mut cluster = Cluster::processes();
    // Partitions are to be where this puts them.
    cluster.ctl(0, &["rebalance", "--pause"]).ok();
    let mut fourth = cluster.start_fourth();
    let [a, b, c, d] = cluster.members_with_fourth();
    let kinds = [
        ("none: the cluster at rest", None),
        ("to another leader, replicas in place", Some([b, c, a])),
        ("one replica copied", Some([b, c, d])),
        ("to the node that has just got its replica", Some([d, b, c])),
        ("back, one replica copied", Some([c, b, a])),
        ("back to the first leader", Some([a, b, c])),
    ];
    let mut seen: Vec<Seen> = kinds.iter().map(|_| Seen::default()).collect();
    for round in 1..=options.rounds {
        for ((what, to), seen) in kinds.iter().zip(&mut seen) {
            let probes = Probes::start(&cluster.doors(), KEYS);
            sleep(Duration::from_millis(500));
            let began = Instant::now();
            match to {
                None => sleep(Duration::from_secs(5)),
                Some(to) => move_all(&cluster, *to)?,
            }
            let took = began.elapsed();
            sleep(Duration::from_millis(500));
            seen.add(&probes.stop_each(), to.map_or(0, |_| PARTITIONS), took);
            eprintln!("round {round}: {what}: {:.1} s", took.as_secs_f64());
        }
    }
    let mut table =
        Table::new(&["move", "partitions", "pause p50, ms", "p99", "longest", "failed requests", "moves/s"]);
    for ((what, _), seen) in kinds.iter().zip(&mut seen) {
        let mut pause = |percent| short(ms(percentile(&mut seen.pauses, percent)));
        let (p50, p99, longest) = (pause(50), pause(99), pause(100));
        let rate = short(f64::from(seen.moves) / seen.took.as_secs_f64());
        table.row([(*what).to_owned(), seen.moves.to_string(), p50, p99, longest, seen.failed.to_string(), rate]);
    }
    print!("{table}");
    cluster.stop();
    ensure!(fourth.terminate().success(), "the fourth node ended with an error:\n{}", fourth.stderr());
    Ok(())
}

/// Moves every partition to these nodes, and waits until no move is recorded any more.
fn move_all(cluster: &Cluster, to: [u64; 3]) -> anyhow::Result<()> {
    let to = to.map(|node| node.to_string()).join(",");
    for first in (0..PARTITIONS).step_by(BATCH as usize) {
        let batch = format!("{first}-{}", (first + BATCH).min(PARTITIONS) - 1);
        cluster.ctl(0, &["partition", "move", &batch, "--to", &to]).ok();
        let end = Instant::now() + PATIENCE;
        loop {
            let moves = cluster.ctl(0, &["-o", "json", "moves"]).ok();
            let moves: Value = serde_json::from_str(&moves).context("recoilctl moves")?;
            if moves.as_array().is_some_and(Vec::is_empty) {
                break;
            }
            ensure!(Instant::now() < end, "these moves do not end: {moves}");
            sleep(Duration::from_millis(20));
        }
    }
    Ok(())
}
