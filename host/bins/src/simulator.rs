//! A whole cluster in one process: real nodes, with real sockets and real files.

#![warn(clippy::print_stdout, clippy::print_stderr)] // they panic where nobody takes the text: see `recoil::say`

mod cluster;
mod prompt;
mod ready_file;

use std::io::IsTerminal as _;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use recoil_base::Shutdown;

use crate::process::{Log, LogLevel, stop_on_signals};

const EXAMPLES: &str = "\
Example:
  recoil_simulator --number-of-nodes=3 --install redis-server
  redis-cli -p 6379 set greeting hello
  redis-cli -p 6381 get greeting

At a terminal it has a prompt, with history and completion: help, status, kill N, restart N, add, remove N, drain N, isolate N, heal, quit.";

/// Run a Recoil cluster in one process, to try things out.
#[derive(Debug, Parser)]
#[command(name = "recoil_simulator", version, after_help = format!("{EXAMPLES}\n\n{}", crate::exit::HELP))]
pub(crate) struct Arguments {
    #[command(flatten)]
    log: Log,
    /// Nodes to run.
    #[arg(long, default_value_t = 3, value_name = "COUNT", value_parser = clap::value_parser!(u16).range(1..=100))]
    number_of_nodes: u16,
    /// Partitions of a new cluster.
    #[arg(long, default_value_t = 265, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..=65_536))]
    partitions: u32,
    /// Keep the data here, and go on with it the next time. Without it: a temporary folder, removed at the end.
    #[arg(long, value_name = "FOLDER")]
    data_dir: Option<PathBuf>,
    /// Node k, counted from 0, has its admin API at this port + k. An app's port p is p + k on node k.
    #[arg(long, default_value_t = 7400, value_name = "PORT", value_parser = clap::value_parser!(u16).range(1..))]
    base_port: u16,
    /// Added to the ports of apps, beside k, for several simulators on one machine.
    #[arg(long, default_value_t = 0, value_name = "PORTS")]
    port_offset: u16,
    /// Install a package that comes with the program; may be repeated.
    #[arg(long, value_name = "NAME")]
    install: Vec<String>,
    /// A package whose scheduler places the partitions of a new cluster, in place of the built-in one.
    #[arg(long, value_name = "FILE")]
    scheduler: Option<PathBuf>,
    /// Write a JSON file here once every partition has a leader and the apps asked for are serving.
    #[arg(long, value_name = "PATH")]
    ready_file: Option<PathBuf>,
}

/// Runs the program.
pub fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let log = arguments.log.clone();
    crate::process::run("recoil_simulator", &log, LogLevel::Warn, run(arguments))
}

async fn run(arguments: Arguments) -> anyhow::Result<()> {
    let shutdown = Shutdown::new();
    stop_on_signals(&shutdown)?;
    let mut cluster = cluster::Cluster::prepare(&arguments)?;
    let result = tokio::select! {
        () = shutdown.wait() => Ok(()),
        result = serve(&mut cluster, &arguments) => result,
    };
    cluster.stop().await;
    result
}

/// Start everything, say so, and go on until asked to quit.
async fn serve(cluster: &mut cluster::Cluster, arguments: &Arguments) -> anyhow::Result<()> {
    cluster.start().await?;
    for name in &arguments.install {
        cluster.install(name).await?;
    }
    cluster.wait_ready(&arguments.install).await?;
    if let Some(path) = &arguments.ready_file {
        ready_file::write(path, &cluster.ready(&arguments.install).await?)?;
    }
    cluster.announce();
    if std::io::stdin().is_terminal() && std::io::stdout().is_terminal() {
        prompt::run(cluster).await
    } else {
        cluster.report_failures().await
    }
}
