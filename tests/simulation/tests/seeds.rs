//! A fixed set of seeds, and that a seed is one run.

#![allow(missing_docs)]

use std::collections::BTreeSet;
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
    let line = |seed: &str, focus: &str| text(&simulation(&["--seed", seed, "--steps", "60", "--focus", focus]));
    let runs = [("1", "any"), ("2", "any"), ("1", "moves"), ("1", "members")];
    let lines: Vec<String> = runs.iter().map(|(seed, focus)| line(seed, focus)).collect();
    for ((seed, focus), first) in runs.iter().zip(&lines) {
        assert!(first.contains("trace "), "{first}");
        assert_eq!(&line(seed, focus), first);
    }
    let hashes: BTreeSet<&str> = lines.iter().filter_map(|line| line.split("trace").last()).collect();
    assert_eq!(hashes.len(), runs.len(), "{lines:?}");
}

fn is_green(arguments: &[&str]) {
    let output = simulation(arguments);
    assert!(output.status.success(), "{}", text(&output));
}

/// `cargo sim --seeds 0..1000` is the same at length.
#[test]
fn what_clients_see_is_linearizable_under_faults_and_the_cluster_heals() {
    is_green(&["--seeds", "1000..1014", "--steps", "300"]);
}

/// Fails if a step of a move is not safe where it is interrupted: for example if old copies go before the new ones are complete, or
/// fetched rows lack the dedup records of calls.
#[test]
fn partitions_move_while_faults_come_at_the_steps_of_moves() {
    is_green(&["--seeds", "1000..1004", "--steps", "300", "--focus", "moves"]);
}

/// Fails if a cluster does not come to rest, with everything that was acknowledged, after nodes were added, drained, decommissioned, lost for
/// good and replaced.
#[test]
fn nodes_come_and_go_while_partitions_move() {
    is_green(&["--seeds", "1000..1002", "--steps", "100", "--focus", "members"]);
}
