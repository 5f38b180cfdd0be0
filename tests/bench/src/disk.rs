//! The disk alone: what no server that keeps its word can exceed without putting several writes into one.

use std::fs::File;
use std::io::Write as _;
use std::time::{Duration, Instant};

use anyhow::Context as _;

use crate::figures::{Table, ms, percentile, short, thousands};
use crate::servers::folder;

const BLOCK_BYTES: usize = 4096;

#[derive(clap::Args)]
pub(crate) struct Options {
    /// How long, seconds.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=60))]
    seconds: u64,
}

pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    let folder = folder()?;
    let mut file = File::create(folder.path().join("file")).context("the disk of the temporary folder")?;
    let (block, mut times) = ([7; BLOCK_BYTES], Vec::new());
    let (begun, length) = (Instant::now(), Duration::from_secs(options.seconds));
    while begun.elapsed() < length {
        let one = Instant::now();
        file.write_all(&block)?;
        file.sync_data()?;
        times.push(one.elapsed());
    }
    let rate = times.len() as f64 / begun.elapsed().as_secs_f64();
    let mut table = Table::new(&["disk", "a second", "p50 ms", "p99 ms"]);
    let [p50, p99] = [50, 99].map(|percent| short(ms(percentile(&mut times, percent))));
    table.row(["append 4 KiB, fdatasync".to_owned(), thousands(rate), p50, p99]);
    print!("{table}");
    Ok(())
}
