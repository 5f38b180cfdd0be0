//! `recoil start`: one node, until it is told to stop or cannot go on.

use std::net::SocketAddr;
use std::path::PathBuf;

use crate::process::{hosting_sentence, node_packages, read_token, stop_on_signals};
use anyhow::{Context as _, bail};
use recoil_base::Shutdown;
use recoil_node::{CAPACITY_DEFAULT, Locality, Node, NodeOptions, Shared, SharedOptions};

#[derive(Debug, clap::Args)]
pub(super) struct Start {
    /// The node's folder; made if it is not there, resumed if it is.
    #[arg(long, value_name = "FOLDER")]
    data_dir: PathBuf,
    /// Where operators and other nodes reach this node.
    #[arg(long, default_value = "127.0.0.1:7400", value_name = "ADDRESS")]
    listen: SocketAddr,
    /// Any node of the cluster to join. Without it, and with a new folder, the node begins a cluster.
    #[arg(long, value_name = "ADDRESS")]
    join: Option<SocketAddr>,
    /// Give partitions out once this many nodes are there.
    #[arg(long, default_value_t = 1, value_name = "NODES", value_parser = clap::value_parser!(u32).range(1..=1000))]
    expect: u32,
    /// Partitions of a cluster that this node begins.
    #[arg(long, default_value_t = 265, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..=65_536))]
    partitions: u32,
    /// Added to the ports of apps, for several nodes on one machine.
    #[arg(long, default_value_t = 0, value_name = "PORTS")]
    port_offset: u16,
    /// Where this node is, from the largest place to the smallest: region=eu,zone=a. Nodes that share the first of them are closer.
    #[arg(long, default_value = "", hide_default_value = true, value_name = "KEY=VALUE,...")]
    locality: Locality,
    /// How much this node should carry, relative to others.
    #[arg(long, default_value_t = CAPACITY_DEFAULT, value_name = "WEIGHT", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    capacity: u32,
    /// Take pushes to the cluster's registry from wherever the token in this file comes with them; without it, only from programs on
    /// this machine.
    #[arg(long, value_name = "FILE")]
    registry_token_file: Option<PathBuf>,
    /// A package whose scheduler places the partitions of a new cluster, in place of the built-in one. Give it to every node: the one that
    /// leads asks its own.
    #[arg(long, value_name = "FILE")]
    scheduler: Option<PathBuf>,
    /// Purge logs after a few KiB, for tests of what comes after.
    #[arg(long, hide = true)]
    purge_early: bool,
}

impl Start {
    pub(super) async fn run(self) -> anyhow::Result<()> {
        let shutdown = Shutdown::new();
        stop_on_signals(&shutdown)?;
        let shared_options = SharedOptions { code_cache: Some(self.data_dir.join("code")), ..SharedOptions::default() };
        let mut options = NodeOptions {
            join: self.join,
            expect: self.expect,
            partitions: self.partitions,
            port_offset: self.port_offset,
            locality: self.locality,
            capacity: self.capacity,
            packages: node_packages(),
            registry_token: self.registry_token_file.as_deref().map(read_token).transpose()?,
            scheduler: self.scheduler,
            ..NodeOptions::new(self.data_dir.clone(), self.listen, Shared::new(shared_options)?)
        };
        if self.purge_early {
            options.log.segment_bytes = 4 << 10;
        }
        let node = tokio::select! {
            started = Node::start(options, Shutdown::new()) => started,
            // A start may wait for other nodes, for ever if they do not come.
            () = shutdown.wait() => return Ok(()),
        };
        let node = node.with_context(|| format!("cannot start a node in {}", self.data_dir.display()))?;
        println!("Recoil node {} is at {}, its data in {}", node.id(), node.address(), self.data_dir.display());
        tracing::info!(
            node = %node.id(), address = %node.address(), version = env!("CARGO_PKG_VERSION"), data_dir = %self.data_dir.display(),
            "the node has started"
        );
        let failure = tokio::select! {
            () = shutdown.wait() => None,
            why = run(&node) => Some(why),
        };
        match failure {
            None => {
                node.stop().await;
                Ok(())
            }
            Some(why) => {
                // Its disk cannot be trusted any more: what it acknowledged is on it or on the other nodes.
                let id = node.id();
                node.kill().await;
                bail!("node {id} cannot go on: {why}")
            }
        }
    }
}

/// Say when the node hosts partitions; returns only when it cannot go on.
async fn run(node: &Node) -> String {
    let hosting = async {
        let hosting = node.wait_hosting().await;
        println!("{}", hosting_sentence(node.id(), &hosting));
        if hosting.held == 0 {
            tracing::warn!(
                node = %node.id(),
                "this node holds no partition, since the map was made before it joined; it serves apps and routes their calls"
            );
        }
        std::future::pending::<String>().await
    };
    tokio::select! {
        why = node.failed() => why,
        why = hosting => why,
    }
}
