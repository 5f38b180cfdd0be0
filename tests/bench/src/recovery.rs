//! How long a cluster that holds a lot takes to serve again after `kill -9`.
//!
//! The values are large, so that filling takes seconds rather than minutes; what is written last is still in the logs only. The files are in
//! the system's cache when it starts again, as they are after a crash of the program, not of the machine. At the end every value
//! must be there.

use std::time::{Duration, Instant};
use std::{io, thread};

use anyhow::{Context as _, anyhow, bail};
use recoil_cluster_tests::{Redis, Reply};

use crate::figures::{Table, median, megabytes, ms, short, spread};
use crate::servers::{Recoil, Setup};

/// Bytes of a value.
pub(crate) const VALUE_BYTES: usize = 64 << 10;
/// Connections that fill and look, and commands that each sends at once.
const CLIENTS: u64 = 8;
const PIPELINE: u64 = 8;

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
    let heading = format!("{} MiB, kill -9, start to serving", options.mebibytes);
    let mut table = Table::new(&[&heading, "s", "lowest-highest", "data folder", "filled in s"]);
    let values = (options.mebibytes << 20) / VALUE_BYTES as u64;
    for (nodes, name) in [(1, "1 node"), (3, "3 nodes in one process")] {
        let mut recoil = Recoil::serving(nodes)?;
        let door = |recoil: &Recoil| {
            let port = recoil.redis_port(0);
            move || Redis::connect(port)
        };
        let filled = fill(&door(&recoil), values)?;
        let mut times = Vec::new();
        for _ in 0..options.rounds {
            let (again, time) = kill_and_start(recoil)?;
            eprintln!("{name}: {:.0} ms", ms(time));
            times.push(time.as_secs_f64());
            recoil = again;
        }
        check(&door(&recoil), values)?;
        let (lowest, highest) = spread(&times).unwrap_or_default();
        table.row([
            name.to_owned(),
            short(median(&times).unwrap_or_default()),
            format!("{}-{}", short(lowest), short(highest)),
            megabytes(recoil.setup.data_bytes()? as f64),
            short(filled.as_secs_f64()),
        ]);
    }
    print!("{table}");
    Ok(())
}

fn kill_and_start(recoil: Recoil) -> anyhow::Result<(Recoil, Duration)> {
    let setup: Setup = recoil.kill();
    let begun = Instant::now();
    let mut recoil = setup.start(&[])?;
    recoil.wait_serving()?;
    Ok((recoil, begun.elapsed()))
}

/// How connections are made.
pub(crate) type Connect<'a> = &'a (dyn Fn() -> io::Result<Redis> + Sync);

/// Writes so many values of [`VALUE_BYTES`] bytes.
pub(crate) fn fill(connect: Connect, values: u64) -> anyhow::Result<Duration> {
    let (begun, value) = (Instant::now(), "x".repeat(VALUE_BYTES));
    everywhere(connect, values, "SET", &[&value], &Reply::Simple("OK".to_owned()))?;
    Ok(begun.elapsed())
}

/// Fails unless each of them is there.
pub(crate) fn check(connect: Connect, values: u64) -> anyhow::Result<()> {
    everywhere(connect, values, "EXISTS", &[], &Reply::Integer(1))
        .context("an acknowledged write is lost, or cannot be read")
}

/// The command, with each of the keys and then `arguments`, by a few clients; every one must be answered so.
fn everywhere(connect: Connect, values: u64, command: &str, arguments: &[&str], answer: &Reply) -> anyhow::Result<()> {
    let client = |number: u64| {
        let mut redis = connect()?;
        let keys: Vec<String> =
            (number..values).step_by(CLIENTS as usize).map(|value| format!("large:{value}")).collect();
        for keys in keys.chunks(PIPELINE as usize) {
            let commands: Vec<Vec<&str>> =
                keys.iter().map(|key| [&[command, key.as_str()], arguments].concat()).collect();
            let commands: Vec<&[&str]> = commands.iter().map(Vec::as_slice).collect();
            for (key, reply) in keys.iter().zip(redis.pipeline(&commands)?) {
                if reply != *answer {
                    bail!("{command} {key}: {reply:?}");
                }
            }
        }
        Ok(())
    };
    thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS).map(|number| scope.spawn(move || client(number))).collect();
        clients.into_iter().try_for_each(|client| client.join().map_err(|_| anyhow!("a client panicked"))?)
    })
}
