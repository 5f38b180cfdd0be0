//! Recoil, Redis and etcd under the same load, in turns.
//!
//! A round starts each system anew, alone on the machine, with an empty folder, runs every load against it and ends it. The rounds
//! repeat this, so that what else the machine does falls on all; the figures are medians over rounds. What is compared is what
//! each promises of an acknowledged write: on the disks of a quorum (Recoil with three nodes, etcd), on the one disk
//! (Recoil with one node, Redis with `appendfsync always`).

use std::time::Duration;

use crate::figures::{Table, megabytes, short, spread, thousands};
use crate::load::redis::{self, Load};
use crate::load::{Sample, etcd};
use crate::place;
use crate::servers::{Etcd, Recoil, RedisServer, missing};

/// Between two loads, for what the last one left to do.
const PAUSE: Duration = Duration::from_millis(500);
const WARM_SECONDS: u64 = 1;

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum System {
    /// Three nodes in one process.
    Recoil3,
    /// One node.
    Recoil1,
    /// Debian's, with `appendfsync always`.
    Redis,
    /// Three members.
    Etcd,
}

impl System {
    const ALL: [System; 4] = [System::Recoil3, System::Recoil1, System::Redis, System::Etcd];

    fn name(self) -> &'static str {
        match self {
            System::Recoil3 => "Recoil, 3 nodes",
            System::Recoil1 => "Recoil, 1 node",
            System::Redis => "Redis, fsync always",
            System::Etcd => "etcd, 3 members",
        }
    }

    /// What must be on the PATH.
    fn programs(self) -> Vec<&'static str> {
        match self {
            System::Recoil3 | System::Recoil1 => redis::PROGRAMS.to_vec(),
            System::Redis => [redis::PROGRAMS, RedisServer::PROGRAMS].concat(),
            System::Etcd => Etcd::PROGRAMS.to_vec(),
        }
    }
}

#[derive(clap::Args)]
pub(crate) struct Options {
    /// How often everything is measured.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// About how long one load runs, seconds.
    #[arg(long, default_value_t = 6, value_parser = clap::value_parser!(u64).range(1..=30))]
    seconds: u64,
    /// These only, separated by commas.
    #[arg(long, value_delimiter = ',', value_enum)]
    only: Vec<System>,
}

/// Samples of every system under every load, in the order of the first round.
#[derive(Default)]
struct Results(Vec<(System, String, Vec<Sample>)>);

impl Results {
    fn add(&mut self, system: System, load: String, sample: Sample) {
        match self.0.iter_mut().find(|(known, name, _)| *known == system && *name == load) {
            Some((.., samples)) => samples.push(sample),
            None => self.0.push((system, load, vec![sample])),
        }
    }

    fn rate(&self, system: System, load: &str) -> Option<f64> {
        let (.., samples) = self.0.iter().find(|(known, name, _)| *known == system && name == load)?;
        Some(Sample::medians(samples)?.rate)
    }

    fn best_rate(&self, system: System) -> Option<f64> {
        let of = self.0.iter().filter(|(known, ..)| *known == system);
        of.filter_map(|(.., samples)| Some(Sample::medians(samples)?.rate)).max_by(f64::total_cmp)
    }
}

pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    let mut systems = Vec::new();
    for system in System::ALL {
        if !options.only.is_empty() && !options.only.contains(&system) {
            continue;
        }
        match missing(&system.programs()) {
            Some(why) => eprintln!("{} is left out: {why}", system.name()),
            None => systems.push(system),
        }
    }
    let mut results = Results::default();
    for round in 1..=options.rounds {
        for system in &systems {
            measure(*system, options.seconds, |load, sample| {
                let Sample { rate, p50_ms, p99_ms, server_us, others_percent, .. } = sample;
                eprintln!(
                    "round {round}: {}: {load}: {rate:.0}/s, p50 {p50_ms:.2} ms, p99 {p99_ms:.2} ms, {server_us:.1} us, others {others_percent:.0} %",
                    system.name()
                );
                results.add(*system, load, sample);
            })?;
        }
    }
    println!("{} Medians of {} rounds of {} s.\n", place::sentence(), options.rounds, options.seconds);
    print!("{}\n{}", figures(&results), ratios(&results));
    Ok(())
}

/// Every load against one system that is started for it.
fn measure(system: System, seconds: u64, mut seen: impl FnMut(String, Sample)) -> anyhow::Result<()> {
    match system {
        System::Recoil3 | System::Recoil1 => {
            let recoil = Recoil::serving(if system == System::Recoil3 { 3 } else { 1 })?;
            measure_redis(recoil.redis_port(0), recoil.process(), seconds, seen)
        }
        System::Redis => {
            let redis = RedisServer::start()?;
            measure_redis(redis.port(), redis.process(), seconds, seen)
        }
        System::Etcd => {
            let members = Etcd::start()?;
            let addresses = members.addresses();
            for clients in etcd::CLIENTS {
                etcd::put(&addresses, clients, WARM_SECONDS)?;
                let sample = Sample::of(&members.processes(), || etcd::put(&addresses, clients, seconds))?;
                seen(format!("put, {clients} clients"), sample);
                std::thread::sleep(PAUSE);
            }
            Ok(())
        }
    }
}

fn measure_redis(port: u16, process: u32, seconds: u64, mut seen: impl FnMut(String, Sample)) -> anyhow::Result<()> {
    for load in Load::ALL {
        let requests = load.requests_for(port, seconds as f64)?;
        let sample = Sample::of(&[process], || load.run(port, requests))?;
        seen(load.to_string(), sample);
        std::thread::sleep(PAUSE);
    }
    Ok(())
}

fn figures(results: &Results) -> Table {
    let header = [
        "system",
        "load",
        "requests/s",
        "lowest-highest",
        "p50 ms",
        "p99 ms",
        "server µs",
        "client µs",
        "others",
        "RSS",
    ];
    let mut table = Table::new(&header);
    for (system, load, samples) in &results.0 {
        let Some(sample) = Sample::medians(samples) else { continue };
        let rates: Vec<f64> = samples.iter().map(|sample| sample.rate).collect();
        let (lowest, highest) = spread(&rates).unwrap_or_default();
        table.row([
            system.name().to_owned(),
            load.clone(),
            thousands(sample.rate),
            format!("{}-{}", thousands(lowest), thousands(highest)),
            short(sample.p50_ms),
            short(sample.p99_ms),
            short(sample.server_us),
            short(sample.client_us),
            format!("{:.0} %", sample.others_percent),
            megabytes(sample.resident_bytes),
        ]);
    }
    table
}

/// Of the rates. etcd has one kind of load: its best rate of puts is what every load is held against.
fn ratios(results: &Results) -> Table {
    let header = ["load", "3 nodes / Redis", "1 node / Redis", "3 nodes / etcd's best put", "3 nodes / 1 node"];
    let mut table = Table::new(&header);
    let ratio = |above: Option<f64>, below: Option<f64>| match (above, below) {
        (Some(above), Some(below)) => short(above / below),
        _ => String::new(),
    };
    for load in Load::ALL.map(|load| load.to_string()) {
        let [three, one, redis] =
            [System::Recoil3, System::Recoil1, System::Redis].map(|system| results.rate(system, &load));
        let etcd = results.best_rate(System::Etcd);
        table.row([load, ratio(three, redis), ratio(one, redis), ratio(three, etcd), ratio(three, one)]);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ratios_are_those_of_medians_and_etcds_best() {
        let mut results = Results::default();
        let mut add = |system, load: &str, rate| {
            results.add(system, load.to_owned(), Sample { rate, ..Sample::default() });
        };
        for rate in [900.0, 1000.0, 9000.0] {
            add(System::Recoil3, "SET -P 16", rate);
        }
        add(System::Redis, "SET -P 16", 2000.0);
        add(System::Etcd, "put, 64 clients", 100.0);
        add(System::Etcd, "put, 512 clients", 200.0);
        let text = ratios(&results).to_string();
        let line = text.lines().find(|line| line.contains("SET -P 16")).unwrap();
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        assert_eq!(cells, ["", "SET -P 16", "0.500", "", "5.00", "", ""]);
        let text = figures(&results).to_string();
        assert!(text.contains("1,000") && text.contains("900-9,000"), "{text}");
    }
}
