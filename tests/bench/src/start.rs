//! How long a user waits: for a cluster to be ready, for a package to serve, for a cluster that is started again.
//!
//! A start is counted from the start of the process until the file is there that says that every partition has a leader; an install, from the
//! start of `recoilctl install` until every node has answered a read. Compiled code is cached in the data folder: a new
//! cluster whose cache comes from an older one installs from it.

use std::time::{Duration, Instant};

use recoil_cluster_tests::{program, run as run_program};

use crate::figures::{Table, median, ms, short, spread};
use crate::servers::{Recoil, Setup};

#[derive(clap::Args)]
pub(crate) struct Options {
    /// How often everything is measured.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
}

pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    let names = [
        "start of 3 new nodes to ready",
        "install to serving, compiled",
        "install to serving, compiled code cached",
        "start again after kill -9 to serving",
    ];
    let mut times = [(); 4].map(|()| Vec::new());
    for _ in 0..options.rounds {
        for (times, time) in times.iter_mut().zip(round()?) {
            times.push(ms(time));
        }
    }
    let mut table = Table::new(&["wait", "ms", "lowest-highest"]);
    for (name, times) in names.into_iter().zip(&times) {
        let (lowest, highest) = spread(times).unwrap_or_default();
        let range = format!("{}-{}", short(lowest), short(highest));
        table.row([name.to_owned(), short(median(times).unwrap_or_default()), range]);
    }
    print!("{table}");
    Ok(())
}

fn round() -> anyhow::Result<[Duration; 4]> {
    let setup = Setup::new(3, 265)?;
    let begun = Instant::now();
    let mut recoil = setup.start(&[])?;
    let ready = begun.elapsed();
    let compiled = install(&mut recoil)?;
    let setup = recoil.kill();
    let begun = Instant::now();
    let mut recoil = setup.start(&[])?;
    recoil.wait_serving()?;
    let again = begun.elapsed();
    let old = recoil.kill();
    let fresh = Setup::new(3, 265)?;
    let (from, to) = (old.data_dir().join("code"), fresh.data_dir().join("code"));
    std::fs::create_dir_all(&to)?;
    for entry in std::fs::read_dir(from)? {
        let file = entry?;
        std::fs::copy(file.path(), to.join(file.file_name()))?;
    }
    let mut recoil = fresh.start(&[])?;
    let cached = install(&mut recoil)?;
    Ok([ready, compiled, cached, again])
}

fn install(recoil: &mut Recoil) -> anyhow::Result<Duration> {
    let begun = Instant::now();
    run_program(program("recoilctl"), &["--server", &recoil.admin(), "install", "--yes", "redis-server"]).ok();
    recoil.wait_serving()?;
    Ok(begun.elapsed())
}
