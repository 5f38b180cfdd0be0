//! One node of a cluster.

mod start;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

const EXAMPLES: &str = "\
Example, three nodes on one machine:
  recoil start --data-dir n0 --listen 127.0.0.1:7400 --expect 3
  recoil start --data-dir n1 --listen 127.0.0.1:7401 --join 127.0.0.1:7400 --expect 3 --port-offset 1
  recoil start --data-dir n2 --listen 127.0.0.1:7402 --join 127.0.0.1:7400 --expect 3 --port-offset 2";

/// Run a node of a Recoil cluster.
#[derive(Debug, Parser)]
#[command(name = "recoil", version, after_help = format!("{EXAMPLES}\n\n{}", recoil::exit::HELP))]
struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Start a node and run it until Ctrl-C or SIGTERM.
    Start(start::Start),
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    recoil::process::run("recoil", async {
        match arguments.verb {
            Verb::Start(start) => start.run().await,
        }
    })
}
