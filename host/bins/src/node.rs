//! `recoil`: one node of a cluster.

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::process::{Log, LogLevel};
use crate::start::Start;

const EXAMPLES: &str = "\
Example, three nodes on one machine:
  recoil start --data-dir n0 --listen 127.0.0.1:7400 --expect 3
  recoil start --data-dir n1 --listen 127.0.0.1:7401 --join 127.0.0.1:7400 --expect 3 --port-offset 1
  recoil start --data-dir n2 --listen 127.0.0.1:7402 --join 127.0.0.1:7400 --expect 3 --port-offset 2

Example, the same flags on node-0, node-1 and node-2, whatever their addresses:
  recoil start --data-dir /var/lib/recoil --listen 0.0.0.0:7400 --advertise $(hostname) --join node-0,node-1,node-2 --expect 3";

/// Run a node of a Recoil cluster.
#[derive(Debug, Parser)]
#[command(name = "recoil", version, after_help = format!("{EXAMPLES}\n\n{}", crate::exit::HELP))]
pub(crate) struct Arguments {
    #[command(flatten)]
    log: Log,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Start a node and run it until Ctrl-C or SIGTERM, or until the cluster has removed it: both end it with exit code 0. A removed node
    /// that is started again ends with 1.
    Start(Start),
}

/// Runs the program.
pub fn main() -> ExitCode {
    let arguments = Arguments::parse();
    crate::process::run("recoil", &arguments.log, LogLevel::Info, async {
        match arguments.verb {
            Verb::Start(start) => start.run().await,
        }
    })
}
