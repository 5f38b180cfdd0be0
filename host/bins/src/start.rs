//! `recoil start`: one node, until it is told to stop or cannot go on.

use std::cell::Cell;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use anyhow::{Context as _, bail, ensure};
use recoil_base::{Endpoint, Shutdown};
use recoil_node::{
    Admitted, CAPACITY_DEFAULT, Compatibility, Levels, Locality, Node, NodeOptions, Shared, SharedOptions, WireVersions,
};

use crate::process::{hosting_sentence, node_packages, read_token, stop_on_signals};
use crate::say::{complain, say};

const EXPECT_DEFAULT: u32 = 1;
const PARTITIONS_DEFAULT: u32 = 265;
/// Replaced by what --listen says.
const NOWHERE: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

#[derive(Debug, clap::Args)]
pub(super) struct Start {
    /// The node's folder; made if it is not there, resumed if it is.
    #[arg(long, value_name = "FOLDER")]
    data_dir: PathBuf,
    /// Where this node listens, and, without --advertise, where operators and other nodes reach it. A name stands for its first IPv4 address.
    #[arg(long, default_value = "127.0.0.1:7400", value_name = "HOST:PORT")]
    listen: Endpoint,
    /// Where operators and other nodes reach this node, if that is not where it listens: after --listen 0.0.0.0:7400 say. Without a port, at
    /// the one that it listens on. A name is resolved again every few seconds, and the node registers wherever it leads.
    #[arg(long, value_name = "HOST[:PORT]", value_parser = read_advertised)]
    advertise: Option<Endpoint>,
    /// Nodes of the cluster, by which this node finds it: to join it, and to find the others when it comes back and they have moved. Names are
    /// resolved at each attempt. All nodes may be given the same list: the first in it begins the cluster, once none of the others has
    /// one. Without it, and with a new folder, the node begins a cluster.
    #[arg(long, value_name = "HOST:PORT,...", value_delimiter = ',')]
    join: Vec<Endpoint>,
    /// With a new folder, begin a cluster even if nodes of another one look for a member of theirs at this address, or may be found by
    /// --join.
    #[arg(long)]
    new_cluster: bool,
    /// Give partitions out once this many nodes are there; the node that begins the cluster decides [default: 1].
    #[arg(long, value_name = "NODES", value_parser = clap::value_parser!(u32).range(1..=1000))]
    expect: Option<u32>,
    /// Partitions of a cluster that this node begins [default: 265].
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..=65_536))]
    partitions: Option<u32>,
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
    /// Say that this is a version of Recoil with these wire versions and feature levels, such as 2-3,1-2, for tests of upgrades.
    #[arg(long, hide = true, value_name = "WIRE,LEVELS", value_parser = compatibility)]
    compatibility: Option<Compatibility>,
}

fn compatibility(text: &str) -> Result<Compatibility, String> {
    let range = |text: &str| {
        let (min, max) = text.split_once('-')?;
        Some((min.parse().ok()?, max.parse().ok()?))
    };
    let ranges = text.split_once(',').and_then(|(wire, levels)| Some((range(wire)?, range(levels)?)));
    let ((wire_min, wire_max), (min, max)) = ranges.ok_or("write it as 2-3,1-2")?;
    Ok(Compatibility { wire: WireVersions { min: wire_min, max: wire_max }, levels: Levels { min, max } })
}

impl Start {
    pub(super) async fn run(self) -> anyhow::Result<()> {
        let shutdown = Shutdown::new();
        stop_on_signals(&shutdown)?;
        let shared_options = SharedOptions { code_cache: Some(self.data_dir.join("code")), ..SharedOptions::default() };
        let mut options = NodeOptions {
            advertise: self.advertise.clone(),
            join: self.join.clone(),
            new_cluster: self.new_cluster,
            expect: self.expect.unwrap_or(EXPECT_DEFAULT),
            partitions: self.partitions.unwrap_or(PARTITIONS_DEFAULT),
            port_offset: self.port_offset,
            locality: self.locality.clone(),
            capacity: self.capacity,
            packages: node_packages(),
            registry_token: self.registry_token_file.as_deref().map(read_token).transpose()?,
            scheduler: self.scheduler.clone(),
            compatibility: self.compatibility.unwrap_or_default(),
            listen: self.listen.clone(),
            ..NodeOptions::new(self.data_dir.clone(), NOWHERE, Shared::new(shared_options)?)
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
        say(format!("Recoil node {} is at {}, its data in {}", node.id(), node.address(), self.data_dir.display()));
        tracing::info!(
            node = %node.id(), address = %node.address(), version = env!("CARGO_PKG_VERSION"), data_dir = %self.data_dir.display(),
            "the node has started"
        );
        let admitted = Cell::new(false);
        let failure = tokio::select! {
            () = shutdown.wait() => None,
            why = self.watch(&node, &admitted) => Some(why),
        };
        match failure {
            None => {
                node.stop().await;
                Ok(())
            }
            Some(why) if node.is_removed() => {
                node.stop().await;
                // What an operator has asked for is done; a start afterwards is a mistake.
                ensure!(admitted.get(), "{why}");
                say(format!("{why}. What is in {} is of no more use", self.data_dir.display()));
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

    /// Say when the node hosts partitions; returns only when it cannot go on.
    async fn watch(&self, node: &Node, was_admitted: &Cell<bool>) -> String {
        let hosting = async {
            let admitted = node.wait_admitted().await;
            was_admitted.set(true);
            for line in self.ignored(&admitted) {
                complain(format!("recoil: {line}"));
            }
            let hosting = node.wait_hosting().await;
            say(hosting_sentence(node.id(), &hosting));
            if hosting.held == 0 {
                tracing::info!(
                    node = %node.id(),
                    "this node holds no partition yet; it is given its share, unless that is paused, and meanwhile serves apps and routes their calls"
                );
            }
            std::future::pending::<String>().await
        };
        tokio::select! {
            why = node.failed() => why,
            why = hosting => why,
        }
    }

    /// A line for each flag that has no effect, because the cluster has been begun otherwise.
    fn ignored(&self, admitted: &Admitted) -> Vec<String> {
        let Admitted { cluster, bootstrapped, expect, partitions, is_placed } = admitted;
        let mut lines = Vec::new();
        if let Some(given) = self.expect.filter(|given| given != expect) {
            lines.push(format!(
                "--expect {given} is ignored: cluster {cluster} was begun with --expect {expect}, and that stays"
            ));
        }
        if let Some(given) = self.partitions.filter(|given| given != partitions) {
            lines.push(format!(
                "--partitions {given} is ignored: cluster {cluster} was begun with {partitions} partitions, and their number stays"
            ));
        }
        if let Some(file) = self.scheduler.as_ref().filter(|_| *is_placed && !bootstrapped) {
            lines.push(format!(
                "--scheduler {} is ignored: the partitions of cluster {cluster} have been placed already",
                file.display()
            ));
        }
        if self.new_cluster && !bootstrapped {
            lines.push(format!("--new-cluster is ignored: the data folder belongs to cluster {cluster} already"));
        }
        if self.new_cluster && *bootstrapped && !self.join.is_empty() {
            lines.push(format!("--join is not asked for a cluster: --new-cluster has begun cluster {cluster}"));
        }
        lines
    }
}

/// Without a port, the one that the node listens on is meant.
fn read_advertised(text: &str) -> Result<Endpoint, String> {
    Endpoint::parse(text, 0).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        start: Start,
    }

    fn start(flags: &str) -> Start {
        let words = ["start", "--data-dir", "unused"].into_iter().chain(flags.split_whitespace());
        Line::try_parse_from(words).unwrap_or_else(|error| panic!("{flags}: {error}")).start
    }

    /// Fails if a flag without effect is passed over in silence, or one is spoken of that says what holds anyway.
    #[test]
    fn flags_that_no_longer_count_are_named_with_what_holds_instead() {
        let cluster = "abab".to_owned();
        let admitted = Admitted { cluster, bootstrapped: false, expect: 3, partitions: 265, is_placed: true };
        let ignored = |flags: &str| start(flags).ignored(&admitted).join("\n");
        assert_eq!(ignored(""), "");
        assert_eq!(ignored("--expect 3 --partitions 265 --join a,b:1"), "");
        assert!(ignored("--expect 5").contains("--expect 5 is ignored: cluster abab was begun with --expect 3"));
        assert!(ignored("--partitions 10").contains("--partitions 10 is ignored: cluster abab was begun with 265"));
        assert!(ignored("--scheduler a.wasm").contains("placed already"));
        assert!(ignored("--new-cluster").contains("--new-cluster is ignored"));
        assert_eq!(ignored("--expect 5 --partitions 10 --new-cluster").lines().count(), 3);
        let founder = Admitted { bootstrapped: true, ..admitted.clone() };
        assert_eq!(start("--expect 3 --new-cluster --scheduler a.wasm").ignored(&founder), Vec::<String>::new());
        assert_eq!(start("--new-cluster --join a").ignored(&founder).len(), 1);
    }

    /// Fails if a host name is refused where an address is expected, or a list of seeds is taken for one.
    #[test]
    fn addresses_may_be_names_and_seeds_may_be_several() {
        let read = start("--listen node-0.nodes.svc:7401 --advertise node-0 --join a,b:1,[::1] --join c");
        assert_eq!(read.listen.to_string(), "node-0.nodes.svc:7401");
        assert_eq!(read.advertise.map(|advertise| advertise.port()), Some(0));
        let seeds: Vec<String> = read.join.iter().map(ToString::to_string).collect();
        assert_eq!(seeds, ["a:7400", "b:1", "[::1]:7400", "c:7400"]);
        assert!(Line::try_parse_from(["start", "--data-dir", "a", "--join", ""]).is_err());
    }
}
