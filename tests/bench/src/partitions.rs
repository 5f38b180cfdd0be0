//! Whether many partitions cost anything: the same writes to clusters of three nodes that differ in nothing else.

use std::time::Instant;

use crate::figures::{Table, median, megabytes, ms, short, thousands};
use crate::load::Sample;
use crate::load::redis::{self, Load};
use crate::place;
use crate::servers::{Recoil, missing};

const LOAD: Load = Load { test: "set", pipeline: 16 };

#[derive(clap::Args)]
pub(crate) struct Options {
    /// How often everything is measured, in turns.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// About how long one load runs, seconds.
    #[arg(long, default_value_t = 6, value_parser = clap::value_parser!(u64).range(1..=30))]
    seconds: u64,
    /// Numbers of partitions, separated by commas; the others are held against the first.
    #[arg(long, value_delimiter = ',', default_values_t = [265, 1000, 10_000])]
    partitions: Vec<u32>,
}

pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    if let Some(why) = missing(redis::PROGRAMS) {
        eprintln!("partitions are left out: {why}");
        return Ok(());
    }
    let mut all: Vec<(u32, Vec<f64>, Vec<Sample>)> =
        options.partitions.iter().map(|partitions| (*partitions, Vec::new(), Vec::new())).collect();
    for round in 1..=options.rounds {
        for (partitions, starts, samples) in &mut all {
            let begun = Instant::now();
            let recoil = Recoil::serving_on(3, *partitions)?;
            starts.push(ms(begun.elapsed()));
            let requests = LOAD.requests_for(recoil.redis_port(0), options.seconds as f64)?;
            let sample = Sample::of(&[recoil.process()], || LOAD.run(recoil.redis_port(0), requests))?;
            eprintln!("round {round}: {partitions} partitions: {:.0}/s", sample.rate);
            samples.push(sample);
        }
    }
    println!("{} {LOAD}, medians of {} rounds of {} s.\n", place::sentence(), options.rounds, options.seconds);
    let header = [
        "partitions",
        "requests/s",
        "of the first",
        "p50 ms",
        "p99 ms",
        "server µs",
        "others",
        "RSS",
        "start and install ms",
    ];
    let mut table = Table::new(&header);
    let mut first = None;
    for (partitions, starts, samples) in &all {
        let Some(sample) = Sample::medians(samples) else { continue };
        let first = *first.get_or_insert(sample.rate);
        table.row([
            partitions.to_string(),
            thousands(sample.rate),
            short(sample.rate / first),
            short(sample.p50_ms),
            short(sample.p99_ms),
            short(sample.server_us),
            format!("{:.0} %", sample.others_percent),
            megabytes(sample.resident_bytes),
            short(median(starts).unwrap_or_default()),
        ]);
    }
    print!("{table}");
    Ok(())
}
