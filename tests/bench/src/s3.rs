//! An object store beside a peer: PUT and GET of 4 KiB, 1 MiB and 64 MiB, and LIST of a large bucket, in turns.
//!
//! Each store has three nodes on this machine, a process for each, and is asked through one of them by sixteen connections. A round
//! starts each store anew, alone, with empty folders. The largest objects come first, so that what a node takes for them is
//! seen beside what it takes when nobody has asked it anything. Lists are measured at the end: both stores are filled once, and are
//! asked in turns while the other is idle.
//!
//! What is compared differs in what it promises: Recoil acknowledges a write that is on the disks of two of three nodes. Garage has sent
//! it to two of three nodes, which have it in the kernel's page cache, unless `metadata_fsync` and `data_fsync` are set.

mod client;
mod content;
mod load;
mod servers;
mod sign;
mod tables;

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::Context as _;

use self::load::{LISTED_BYTES, Load, Loader, Ran, Until, Verb};
use self::servers::{Programs, Running, System};
use self::tables::{Results, Sample};
use crate::figures::{ms, percentile, thousands};
use crate::place;
use crate::usage::{Busy, Used, anonymous_bytes, written_bytes};

/// What a load is counted with is over when less than this is written in a second, or when it has been waited for long enough.
const QUIET_BYTES: u64 = 256 << 10;
const QUIET_MAX: Duration = Duration::from_secs(20);
/// A load of a number of requests, and not of a time, ends after this.
const LOAD_MAX: Duration = Duration::from_secs(3600);

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Size {
    /// Objects of 64 MiB.
    #[value(name = "64m")]
    Large,
    /// Objects of 1 MiB.
    #[value(name = "1m")]
    Medium,
    /// Objects of 4 KiB.
    #[value(name = "4k")]
    Small,
    /// Pages of 1,000 keys of a bucket with many.
    #[value(name = "list")]
    List,
}

impl Size {
    const ALL: [Size; 4] = [Size::Large, Size::Medium, Size::Small, Size::List];

    fn bytes(self) -> u64 {
        match self {
            Size::Large => 64 << 20,
            Size::Medium => 1 << 20,
            Size::Small => 4 << 10,
            Size::List => LISTED_BYTES,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Size::Large => "64 MiB",
            Size::Medium => "1 MiB",
            Size::Small => "4 KiB",
            Size::List => "1,000 keys",
        }
    }
}

#[derive(clap::Args)]
pub(crate) struct Options {
    /// How often everything is measured.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// How long one load of 4 KiB, 1 MiB or lists runs, seconds.
    #[arg(long, default_value_t = 6, value_parser = clap::value_parser!(u64).range(1..=60))]
    seconds: u64,
    /// Objects of 64 MiB that are written and read.
    #[arg(long, default_value_t = 16, value_parser = clap::value_parser!(u64).range(1..=1024))]
    large: u64,
    /// Keys of the bucket that is listed.
    #[arg(long, default_value_t = 1_000_000, value_parser = clap::value_parser!(u64).range(2..=100_000_000))]
    keys: u64,
    /// These stores only, separated by commas.
    #[arg(long, value_delimiter = ',', value_enum)]
    only: Vec<System>,
    /// These sizes only, separated by commas.
    #[arg(long, value_delimiter = ',', value_enum)]
    sizes: Vec<Size>,
    /// Garage's program: `cargo install garage --version 2.5.0 --locked` makes it.
    #[arg(long, default_value = "garage")]
    garage: PathBuf,
    /// The package under test: a name, or a file that `recoilctl build` has made.
    #[arg(long, default_value = "s3")]
    package: String,
}

pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    let garage = std::process::Command::new(&options.garage).arg("--version").output();
    let garage = garage.is_ok_and(|output| output.status.success()).then(|| options.garage.clone());
    let mut systems = System::ALL.to_vec();
    systems.retain(|system| options.only.is_empty() || options.only.contains(system));
    if garage.is_none() && systems.iter().any(|system| *system != System::Recoil) {
        let why = "cannot be run: `cargo install garage --version 2.5.0 --locked`, or name it by --garage";
        eprintln!("Garage is left out: {} {why}", options.garage.display());
        systems.retain(|system| *system == System::Recoil);
    }
    let programs = Programs { package: options.package.clone(), garage };
    let loader = Loader::new()?;
    let mut results = Results::default();
    let sizes: Vec<Size> =
        Size::ALL.into_iter().filter(|size| options.sizes.is_empty() || options.sizes.contains(size)).collect();
    for round in 1..=options.rounds {
        for system in systems.iter().filter(|_| sizes.iter().any(|size| *size != Size::List)) {
            let running = Running::start(*system, &programs, &loader)?;
            for size in sizes.iter().filter(|size| **size != Size::List) {
                objects(options, &loader, &running, *size, &mut |load, sample| {
                    seen(round, *system, &load, &sample);
                    results.add(*system, load, sample);
                })?;
            }
        }
    }
    let mut filled = Vec::new();
    if sizes.contains(&Size::List) {
        filled = lists(options, &systems, &programs, &loader, &mut results)?;
    }
    println!("{} Medians of {} rounds of {} s.\n", place::sentence(), options.rounds, options.seconds);
    print!("{results}");
    for sentence in filled {
        println!("\n{sentence}");
    }
    Ok(())
}

fn seen(round: u32, system: System, load: &str, sample: &Sample) {
    let Sample { rate, p50_ms, p99_ms, server_us, written_bytes, .. } = sample;
    eprintln!(
        "round {round}: {}: {load}: {rate:.1}/s, p50 {p50_ms:.2} ms, p99 {p99_ms:.2} ms, {server_us:.0} us and {written_bytes:.0} B a request",
        system.name()
    );
}

/// PUT and GET of a size.
fn objects(
    options: &Options,
    loader: &Loader,
    running: &Running,
    size: Size,
    seen: &mut dyn FnMut(String, Sample),
) -> anyhow::Result<()> {
    let length = Duration::from_secs(options.seconds);
    let until = match size {
        Size::Large => Until { requests: options.large, length: LOAD_MAX },
        _ => Until { requests: u64::MAX, length },
    };
    let mut there = 0;
    for verb in [Verb::Put, Verb::Get] {
        let load = Load { verb, bytes: size.bytes(), there };
        let (sample, done) = measure(loader, running, load, until)?;
        there += if verb == Verb::Put { done } else { 0 };
        let name = if verb == Verb::Put { "PUT" } else { "GET" };
        seen(format!("{name} {}", size.name()), sample);
    }
    Ok(())
}

/// Fills a bucket of each store, then lists in turns. Sentences about the filling.
fn lists(
    options: &Options,
    systems: &[System],
    programs: &Programs,
    loader: &Loader,
    results: &mut Results,
) -> anyhow::Result<Vec<String>> {
    // What is only read is the same with and without fsync.
    let listed = systems.iter().filter(|system| **system != System::GarageFsync || systems.len() == 1);
    let (mut stores, mut sentences) = (Vec::new(), Vec::new());
    for system in listed {
        let running = Running::start(*system, programs, loader)?;
        let load = Load { verb: Verb::Put, bytes: LISTED_BYTES, there: 0 };
        let Ran { elapsed, retries, .. } =
            loader.run(&running.store, load, Until { requests: options.keys, length: LOAD_MAX })?;
        settle(&running.processes)?;
        let sentence = format!(
            "{}: {} objects of {LISTED_BYTES} B were written in {:.0} s ({}/s, {retries} requests repeated).",
            system.name(),
            thousands(options.keys as f64),
            elapsed.as_secs_f64(),
            thousands(options.keys as f64 / elapsed.as_secs_f64()),
        );
        eprintln!("{sentence}");
        sentences.push(sentence);
        stores.push((*system, running));
    }
    for round in 1..=options.rounds {
        for (system, running) in &stores {
            let load = Load { verb: Verb::List, bytes: LISTED_BYTES, there: options.keys };
            let until = Until { requests: u64::MAX, length: Duration::from_secs(options.seconds) };
            let (sample, _) = measure(loader, running, load, until)?;
            let name = format!("LIST 1,000 of {}", thousands(options.keys as f64));
            seen(round, *system, &name, &sample);
            results.add(*system, name, sample);
        }
    }
    Ok(sentences)
}

/// Runs a load; what it came to, and the number of its requests.
fn measure(loader: &Loader, running: &Running, load: Load, until: Until) -> anyhow::Result<(Sample, u64)> {
    let processes = &running.processes;
    settle(processes)?;
    let idle = processes.iter().map(|process| anonymous_bytes(*process)).collect::<anyhow::Result<Vec<u64>>>()?;
    let written = written_bytes(processes)?;
    let (servers, own, busy) = (Used::of(processes)?, Used::of_self()?, Busy::now()?);
    let begun = Instant::now();
    let (mut ran, most) = watched(processes, || loader.run(&running.store, load, until))?;
    let client = (Used::of_self()? - own).total();
    let others = Busy::now()?.since(busy).saturating_sub((Used::of(processes)? - servers).total() + client);
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    let others_percent = others.as_secs_f64() / (begun.elapsed().as_secs_f64() * processors as f64) * 100.0;
    // What is left to do of the load, such as compactions, is part of what it costs.
    if load.verb == Verb::Put {
        settle(processes)?;
    }
    let requests = ran.latencies.len().max(1) as f64;
    let server_us = (Used::of(processes)? - servers).total().as_secs_f64() * 1e6 / requests;
    let rises = most.iter().zip(&idle).map(|(most, idle)| most.saturating_sub(*idle));
    let sample = Sample {
        bytes: if load.verb == Verb::List { 0.0 } else { load.bytes as f64 },
        rate: requests / ran.elapsed.as_secs_f64(),
        p50_ms: ms(percentile(&mut ran.latencies, 50)),
        p99_ms: ms(percentile(&mut ran.latencies, 99)),
        server_us,
        client_us: client.as_secs_f64() * 1e6 / requests,
        written_bytes: (written_bytes(processes)? - written) as f64 / requests,
        idle_bytes: idle.iter().copied().max().unwrap_or(0) as f64,
        rise_bytes: rises.max().unwrap_or(0) as f64,
        retries: ran.retries as f64,
        others_percent,
    };
    Ok((sample, ran.latencies.len() as u64))
}

/// Waits until hardly anything is written any more.
fn settle(processes: &[u32]) -> anyhow::Result<()> {
    let end = Instant::now() + QUIET_MAX;
    let mut before = written_bytes(processes)?;
    while Instant::now() < end {
        std::thread::sleep(Duration::from_secs(1));
        let now = written_bytes(processes)?;
        if now.saturating_sub(before) < QUIET_BYTES {
            break;
        }
        before = now;
    }
    Ok(())
}

/// Runs something, and looks at the memory of processes meanwhile: the most that each had, bytes that no file is behind.
fn watched<T>(processes: &[u32], run: impl FnOnce() -> anyhow::Result<T>) -> anyhow::Result<(T, Vec<u64>)> {
    let most: Vec<AtomicU64> = processes.iter().map(|_| AtomicU64::new(0)).collect();
    let done = AtomicBool::new(false);
    let out = std::thread::scope(|threads| {
        threads.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                for (process, most) in processes.iter().zip(&most) {
                    most.fetch_max(anonymous_bytes(*process).unwrap_or(0), Ordering::Relaxed);
                }
                std::thread::sleep(Duration::from_millis(20));
            }
        });
        let out = run();
        done.store(true, Ordering::Relaxed);
        out
    });
    let out = out.context("a load")?;
    Ok((out, most.into_iter().map(AtomicU64::into_inner).collect()))
}
