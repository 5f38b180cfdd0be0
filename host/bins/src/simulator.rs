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
use recoil_node::Locality;

use crate::process::{Log, LogLevel, stop_on_signals};

const EXAMPLES: &str = "\
Example:
  recoil_simulator --number-of-nodes=3 --install redis-server
  redis-cli -p 6379 set greeting hello
  redis-cli -p 6381 get greeting

Example, nine nodes in three regions:
  recoil_simulator --number-of-nodes=9 --locality region=eu:3,region=us:3,region=ap:3
  recoilctl keyspace create eu-data --require region=eu

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
    /// Where the nodes are, in their order, each place with the number of nodes there: region=eu:3,region=us,zone=a:2. The numbers add up to
    /// --number-of-nodes.
    #[arg(long, value_name = "KEY=VALUE,...:COUNT,...", value_parser = places)]
    locality: Option<Places>,
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

/// Places, and how many nodes are at each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Places(Vec<(Locality, u16)>);

impl Places {
    /// Where each node is.
    fn of_nodes(&self) -> Vec<Locality> {
        self.0.iter().flat_map(|(place, count)| vec![place.clone(); usize::from(*count)]).collect()
    }
}

fn places(text: &str) -> Result<Places, String> {
    let (mut places, mut tiers) = (Vec::new(), Vec::new());
    for part in text.split(',') {
        let Some((tier, count)) = part.rsplit_once(':') else {
            tiers.push(part);
            continue;
        };
        tiers.push(tier);
        let count = count.parse::<u16>().ok().filter(|count| (1..=100).contains(count));
        let count = count.ok_or_else(|| format!("'{part}' has no number of nodes from 1 to 100 behind its colon"))?;
        places.push((tiers.join(",").parse()?, count));
        tiers.clear();
    }
    match tiers.is_empty() {
        true => Ok(Places(places)),
        false => Err(format!("'{}' has no number of nodes: write region=eu:3,region=us,zone=a:2", tiers.join(","))),
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    /// Fails if a node is said to be at another place than its operator wrote, or if text that names none is taken.
    #[test]
    fn places_are_read_with_their_numbers_of_nodes() {
        let read = places("region=eu:2,region=us,zone=a:1").unwrap().of_nodes();
        assert_eq!(
            read.iter().map(ToString::to_string).collect::<Vec<_>>(),
            ["region=eu", "region=eu", "region=us,zone=a"]
        );
        for wrong in ["", "region=eu", "region=eu:0", "region=eu:101", "region=eu:x", "region:2", "region=eu:2,zone=a"]
        {
            assert!(places(wrong).is_err(), "{wrong}");
        }
    }
}
