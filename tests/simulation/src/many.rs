//! Many runs, each a process of its own, a few at a time.

use std::ops::Range;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::{Context as _, Result};
use parking_lot::Mutex;

use crate::plan::Focus;

/// Longest real time of one run, seconds; it then counts as failed.
const RUN_SECONDS_MAX: u64 = 600;

/// Runs all seeds; true if none failed. Prints a line for each that did, and a summary.
pub(crate) fn run(seeds: Range<u64>, steps: u64, focus: Focus, jobs: usize) -> Result<bool> {
    let program = std::env::current_exe().context("finding this program")?;
    let code = tempfile::Builder::new().prefix("recoil-simulation-code-").tempdir()?;
    let (next, failed, totals) = (AtomicU64::new(seeds.start), Mutex::new(Vec::new()), Mutex::new([0u64; 4]));
    std::thread::scope(|scope| {
        for _ in 0..jobs.max(1) {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= seeds.end {
                        return;
                    }
                    let mut command = Command::new("timeout");
                    command.arg(RUN_SECONDS_MAX.to_string()).arg(&program).arg("--code").arg(code.path());
                    command.args(["--seed", &seed.to_string(), "--steps", &steps.to_string()]);
                    command.args(["--focus", focus.name()]);
                    let output = command.stderr(Stdio::piped()).output();
                    let (ok, text) = match output {
                        Ok(output) => {
                            let text = [output.stdout, output.stderr].concat();
                            (output.status.success(), String::from_utf8_lossy(&text).into_owned())
                        }
                        Err(error) => (false, format!("seed {seed} cannot be run: {error}")),
                    };
                    if ok {
                        add(&mut totals.lock(), &text);
                    } else {
                        let text = if text.is_empty() { format!("seed {seed} did not end in time") } else { text };
                        println!("{}", text.trim_end());
                        failed.lock().push(seed);
                    }
                }
            });
        }
    });
    let (mut failed, totals) = (failed.into_inner(), totals.into_inner());
    failed.sort_unstable();
    let [calls, answered, unknown, faults] = totals;
    println!(
        "{} runs, {} failed {failed:?}; in the others {calls} calls, {answered} answered, {unknown} unknown, {faults} faults",
        seeds.end - seeds.start,
        failed.len()
    );
    Ok(failed.is_empty())
}

/// Adds up the numbers of a run's line.
fn add(totals: &mut [u64; 4], text: &str) {
    let names = [" calls", " answered", " unknown", " faults"];
    for (total, name) in totals.iter_mut().zip(names) {
        let before = text.split(name).next().and_then(|before| before.rsplit([' ', ',']).next());
        *total += before.and_then(|number| number.parse::<u64>().ok()).unwrap_or(0);
    }
}
