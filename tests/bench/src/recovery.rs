//! How long a cluster that holds a lot takes to serve again after `kill -9`.
//!
//! The values are large, so that filling takes seconds rather than minutes; what is written last is still in the logs only. The files are in
//! the system's cache when it starts again, as they are after a crash of the program, not of the machine.

use std::time::Instant;

use anyhow::{bail, ensure};
use recoil_cluster_tests::{Redis, Reply};

use crate::figures::{Table, median, megabytes, ms, short, spread};
use crate::load::redis::{self, benchmark};
use crate::servers::{Setup, missing};

const VALUE_BYTES: usize = 64 << 10;
/// So many that hardly any is written twice.
const KEYS: u64 = 1_000_000_000;
/// Requests of one run of redis-benchmark, so that its patience is enough on a slow disk.
const RUN: u64 = 2048;

#[derive(clap::Args)]
pub(crate) struct Options {
    /// How often it is killed.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// What a node holds before that, MiB.
    #[arg(long, default_value_t = 1024, value_parser = clap::value_parser!(u64).range(1..=16_384))]
    mebibytes: u64,
}

pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    if let Some(why) = missing(redis::PROGRAMS) {
        eprintln!("recovery is left out: {why}");
        return Ok(());
    }
    let heading = format!("{} MiB, kill -9, start to serving", options.mebibytes);
    let mut table = Table::new(&[&heading, "s", "lowest-highest", "data folder", "filled in s"]);
    for nodes in [1, 3] {
        let mut recoil = Setup::new(nodes, 265)?.start(&["redis-server"])?;
        recoil.wait_serving()?;
        let begun = Instant::now();
        let values = (options.mebibytes << 20) / VALUE_BYTES as u64;
        for first in (0..values).step_by(RUN as usize) {
            let requests = RUN.min(values - first);
            benchmark(recoil.redis_port(0), requests, &["-t", "set", "-c", "8"], VALUE_BYTES, KEYS)?;
        }
        let filled = begun.elapsed();
        let mut times = Vec::new();
        for _ in 0..options.rounds {
            let setup = recoil.kill();
            let begun = Instant::now();
            recoil = setup.start(&[])?;
            recoil.wait_serving()?;
            times.push(begun.elapsed().as_secs_f64());
            eprintln!("{nodes} nodes: {:.0} ms", ms(begun.elapsed()));
        }
        let keys = match Redis::connect(recoil.redis_port(0))?.command(&["DBSIZE"])? {
            Reply::Integer(keys) => keys.unsigned_abs(),
            other => bail!("DBSIZE answers {other:?}"),
        };
        ensure!(keys * 100 > values * 99, "{keys} keys are left of {values}: acknowledged writes are lost");
        let (lowest, highest) = spread(&times).unwrap_or_default();
        table.row([
            format!("{nodes} node{}", if nodes == 1 { "" } else { "s in one process" }),
            short(median(&times).unwrap_or_default()),
            format!("{}-{}", short(lowest), short(highest)),
            megabytes(recoil.setup.data_bytes()? as f64),
            short(filled.as_secs_f64()),
        ]);
    }
    print!("{table}");
    Ok(())
}
