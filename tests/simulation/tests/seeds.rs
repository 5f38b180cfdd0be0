//! A fixed set of seeds, and that a seed is one run.

#![allow(missing_docs)]

use std::process::{Command, Output};

fn simulation(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_recoil-simulation")).args(arguments).output().unwrap()
}

fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// The line of a run ends with a hash over every message, call and fault of it. Red if the program's `getrandom` does not take libc's
/// place, or if anything else than the seed decides.
#[test]
fn a_seed_makes_the_same_run_every_time_and_another_seed_another_one() {
    let line = |seed: &str| text(&simulation(&["--seed", seed, "--steps", "100"]));
    let lines: Vec<String> = ["1", "2", "3"].iter().map(|seed| line(seed)).collect();
    for (seed, first) in ["1", "2", "3"].iter().zip(&lines) {
        assert!(first.contains("trace "), "{first}");
        assert_eq!(&line(seed), first);
    }
    assert_ne!(lines[0].split("trace").last(), lines[1].split("trace").last());
}

/// `cargo sim --seeds 0..1000` is the same at length.
#[test]
fn what_clients_see_is_linearizable_under_faults_and_the_cluster_heals() {
    let output = simulation(&["--seeds", "1000..1024", "--steps", "300"]);
    assert!(output.status.success(), "{}", text(&output));
}
