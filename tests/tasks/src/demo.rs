//! `cargo demo`: build everything for speed and run three nodes with redis-server.

use std::os::unix::process::CommandExt as _;
use std::process::Command;

use anyhow::Context as _;

use crate::{cargo, step, target_dir, tools};

/// Further arguments go to the simulator. Does not return when all goes well: the simulator takes this process's place, so
/// that Ctrl-C and signals are its own.
pub(crate) fn run(arguments: impl Iterator<Item = String>) -> anyhow::Result<()> {
    tools::wasm_target()?;
    let target_dir = target_dir()?;
    let what = match target_dir.join("release/recoil").exists() {
        true => "building packages and programs: what has changed since the last time",
        false => {
            "building packages and programs, the first time: about a quarter of an hour on two processors, less on more"
        }
    };
    step(what, cargo().args(["build", "--release", "--package", "recoil", "--bins", "--target-dir"]).arg(&target_dir))?;
    let programs = target_dir.join("release");
    println!("Three nodes start here. Then, in another terminal:");
    println!("  redis-cli -p 6379 set greeting hello");
    println!("  redis-cli -p 6381 get greeting");
    println!("  {} status", programs.join("recoilctl").display());
    if !tools::is_there("redis-cli") {
        println!("(redis-cli is missing here: `apt-get install redis-tools`, or use any Redis client)");
    }
    println!();
    let simulator = programs.join("recoil_simulator");
    let error =
        Command::new(&simulator).args(["--number-of-nodes=3", "--install", "redis-server"]).args(arguments).exec();
    Err(error).with_context(|| format!("cannot run {}", simulator.display()))
}
