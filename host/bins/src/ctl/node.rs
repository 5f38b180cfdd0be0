//! `recoilctl node`: members of the cluster, and letting them leave it.
//!
//! What is asked for is recorded by the cluster, which goes on with it whoever watches. So watching may be interrupted, and the same
//! command goes on watching. The node that leaves may be the one that is asked, and ends: then another one is asked.

use std::io::IsTerminal as _;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use recoil_base::NodeId;
use recoil_gateway::api::{
    DecommissionReply, DecommissionRequest, DepartingPartition, Membership, NodeDetail, NodeState, NodeStatus, Status,
};

use super::status::node_state;
use super::{Format, Output, VerbError, partition};
use crate::client::{Client, ClientError};
use crate::say::complain;

const LOOK_EVERY: Duration = Duration::from_millis(500);
/// How long no node may answer while something is watched.
const SILENCE_MAX: Duration = Duration::from_secs(30);
/// Partitions that `--dry-run` lists in a table.
const SHOWN_MAX: usize = 20;

#[derive(Debug, clap::Args)]
#[command(after_help = "\
A node is named by its id or its member number, as `recoilctl status` shows them.

Examples:
  recoilctl node drain 3                  # before a restart or an upgrade of its machine
  recoilctl node undrain 3
  recoilctl node decommission 3 --dry-run # what would move, and what speaks against it
  recoilctl node decommission 3           # returns once the node is removed
  recoilctl node replace 3 --with 4")]
pub(super) struct Node {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// List the members of the cluster.
    List,
    /// Show one member, and what it has yet to give away.
    Show {
        /// Its id or member number.
        node: String,
    },
    /// Have a node hand over what it leads, take no new connections of apps and give its replicas away, as far as other nodes can take
    /// them. A restart does not change that.
    Drain {
        /// Its id or member number.
        node: String,
        #[command(flatten)]
        waiting: Waiting,
    },
    /// Have a node take part as before that is drained, or decommissioned and not removed yet.
    Undrain {
        /// Its id or member number.
        node: String,
    },
    /// Take a node out of the cluster for good: it is drained, its replicas move to other nodes, and then it is removed and ends. A node
    /// that is down can be decommissioned, too. It never takes part again: not its process, its folder nor a copy of it.
    Decommission {
        /// Its id or member number.
        node: String,
        /// Only list what would move and what speaks against it; exit code 1 if anything does.
        #[arg(long)]
        dry_run: bool,
        #[command(flatten)]
        waiting: Waiting,
    },
    /// Decommission a node and have another one take its replicas over. The node may be down.
    Replace {
        /// The node that goes, by its id or member number.
        old: String,
        /// The node that takes its place; without it, the cluster spreads the replicas.
        #[arg(long, value_name = "NODE")]
        with: Option<String>,
        #[command(flatten)]
        waiting: Waiting,
    },
}

#[derive(Debug, clap::Args)]
struct Waiting {
    /// Watch until it is done, which is the default. Ctrl-C ends the watching only.
    #[arg(long, conflicts_with = "no_wait")]
    wait: bool,
    /// Return once the cluster has recorded it.
    #[arg(long)]
    no_wait: bool,
}

impl Node {
    pub(super) async fn run(&self, client: &Client, output: &mut Output) -> Result<(), VerbError> {
        match &self.verb {
            Verb::List => list(client, output).await,
            Verb::Show { node } => {
                let status: Status = client.get("/v1/status").await?;
                let detail: NodeDetail = client.get(&path(find(&status, node)?, "")).await?;
                show(&detail, output)
            }
            Verb::Drain { node, waiting } => {
                let status: Status = client.get("/v1/status").await?;
                let node = find(&status, node)?;
                let detail: NodeDetail = client.post(&path(node, "/drain"), "").await?;
                watch(Watched::new(client, &status, node), detail, waiting, output).await
            }
            Verb::Undrain { node } => {
                let status: Status = client.get("/v1/status").await?;
                let detail: NodeDetail = client.post(&path(find(&status, node)?, "/undrain"), "").await?;
                match output.format() {
                    Format::Table => {
                        Ok(output.line(&format!("node {} is {}", detail.id, membership(detail.membership)))?)
                    }
                    Format::Json | Format::Yaml => Ok(output.value(&detail)?),
                }
            }
            Verb::Decommission { node, dry_run: true, .. } => {
                let status: Status = client.get("/v1/status").await?;
                let request = DecommissionRequest { dry_run: true, successor: None };
                let reply = decommission(client, find(&status, node)?, &request).await?;
                plan(&reply, output)
            }
            Verb::Decommission { node, waiting, .. } => {
                let status: Status = client.get("/v1/status").await?;
                leave(client, &status, node, None, waiting, output).await
            }
            Verb::Replace { old, with, waiting } => {
                let status: Status = client.get("/v1/status").await?;
                let successor = with.as_ref().map(|with| find(&status, with)).transpose()?;
                leave(client, &status, old, successor, waiting, output).await
            }
        }
    }
}

/// Looks a node up by its id or its member number. An id may be that of a node that is a member no more.
pub(super) fn find(status: &Status, text: &str) -> Result<NodeId, VerbError> {
    partition::node(status, text).or_else(|error| match text.parse() {
        Ok(node) if text.len() == 8 => Ok(node),
        _ => Err(error),
    })
}

fn path(node: NodeId, what: &str) -> String {
    format!("/v1/nodes/{node}{what}")
}

async fn decommission(
    client: &Client,
    node: NodeId,
    request: &DecommissionRequest,
) -> Result<DecommissionReply, VerbError> {
    let body = serde_json::to_vec(request).map_err(|error| VerbError::Local(error.to_string()))?;
    Ok(client.post(&path(node, "/decommission"), body).await?)
}

async fn leave(
    client: &Client,
    status: &Status,
    node: &str,
    successor: Option<NodeId>,
    waiting: &Waiting,
    output: &mut Output,
) -> Result<(), VerbError> {
    let node = find(status, node)?;
    let reply = decommission(client, node, &DecommissionRequest { dry_run: false, successor }).await?;
    watch(Watched::new(client, status, node), reply.node, waiting, output).await
}

async fn list(client: &Client, output: &mut Output) -> Result<(), VerbError> {
    let status: Status = client.get("/v1/status").await?;
    let row = |node: &NodeStatus| {
        [
            node.id.to_string(),
            node.member.to_string(),
            node.address.to_string(),
            node_state(node),
            node.partitions_led.to_string(),
            node.replicas.to_string(),
            node.version.clone(),
        ]
    };
    match output.format() {
        Format::Json | Format::Yaml => output.value(&status.nodes)?,
        Format::Table => output.table(
            ["NODE", "MEMBER", "ADDRESS", "STATE", "LEADS", "REPLICAS", "VERSION"],
            &status.nodes.iter().map(row).collect::<Vec<_>>(),
        )?,
    }
    Ok(())
}

fn membership(membership: Membership) -> &'static str {
    match membership {
        Membership::Active => "active",
        Membership::Draining => "draining",
        Membership::Decommissioning => "decommissioning",
        Membership::Displaced => "displaced: another node has its address",
        Membership::Removed => "removed from the cluster",
    }
}

fn show(detail: &NodeDetail, output: &mut Output) -> Result<(), VerbError> {
    if output.format() != Format::Table {
        return Ok(output.value(detail)?);
    }
    output.line(&format!("Node {}: {}", detail.id, membership(detail.membership)))?;
    let (Some(address), Some(member)) = (detail.address, detail.member) else { return Ok(()) };
    let state = match detail.state {
        NodeState::Live => "live",
        NodeState::Down => "down",
        NodeState::Unknown => "unknown",
    };
    let meta = match (detail.is_meta_leader, detail.is_meta_voter) {
        (true, _) => "leads the meta group",
        (false, true) => "votes in the meta group",
        (false, false) => "follows the meta group",
    };
    let mut lines = vec![
        ("member", member.to_string()),
        ("address", format!("{address} ({state})")),
        ("version", detail.version.clone()),
        ("capacity", detail.capacity.to_string()),
        ("replicas", format!("{} of {} groups, leads {}", detail.replicas, detail.groups, detail.partitions_led)),
        ("meta", meta.to_owned()),
    ];
    if !detail.locality.is_empty() {
        lines.push(("locality", detail.locality.clone()));
    }
    if let Some(successor) = detail.successor {
        lines.push(("successor", successor.to_string()));
    }
    lines.extend(detail.waits_for.iter().map(|wait| ("waits", wait.clone())));
    for (name, value) in lines {
        output.line(&format!("  {name:<10}{value}"))?;
    }
    Ok(())
}

/// What decommissioning would mean; an error if it would be refused.
fn plan(reply: &DecommissionReply, output: &mut Output) -> Result<(), VerbError> {
    let node = reply.node.id;
    if output.format() != Format::Table {
        output.value(reply)?;
    } else if reply.node.membership == Membership::Removed {
        output.line(&format!("node {node} is removed from the cluster"))?;
    } else {
        let led = reply.partitions.iter().filter(|partition| partition.is_led).count();
        let count = reply.partitions.len();
        output.line(&format!("{count} replicas would move away from node {node}, which leads {led} of them"))?;
        if reply.node.is_meta_voter {
            output.line("the meta group would get other voters")?;
        }
        let row = |partition: &DepartingPartition| {
            [
                partition.partition.to_string(),
                partition.keyspace.clone(),
                partition.group.to_string(),
                partition.replicas.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "),
                if partition.is_led { "led here" } else { "" }.to_owned(),
            ]
        };
        let rows: Vec<_> = reply.partitions.iter().take(SHOWN_MAX).map(row).collect();
        output.table(["PARTITION", "KEYSPACE", "GROUP", "REPLICAS", ""], &rows)?;
        if count > rows.len() {
            output.line(&format!("… and {} more; -o json lists all", count - rows.len()))?;
        }
    }
    match reply.refusals.is_empty() {
        true => Ok(()),
        false => {
            Err(VerbError::Local(format!("node {node} could not be decommissioned now: {}", reply.refusals.join("; "))))
        }
    }
}

/// A node that is watched, and those that may be asked about it.
struct Watched {
    node: NodeId,
    /// The one asked first, the one that was named.
    clients: Vec<Client>,
    heard: Instant,
}

impl Watched {
    fn new(client: &Client, status: &Status, node: NodeId) -> Self {
        let others = status.nodes.iter().filter(|other| other.id != status.node && other.id != node);
        let others = others.filter(|other| other.state == NodeState::Live);
        let others = others.map(|other| Client::new(&other.address.to_string()));
        Watched { node, clients: [client.clone()].into_iter().chain(others).collect(), heard: now() }
    }

    /// The node as whoever answers sees it.
    async fn look(&mut self) -> Result<NodeDetail, VerbError> {
        loop {
            match self.clients[0].get(&path(self.node, "")).await {
                Ok(detail) => {
                    self.heard = now();
                    return Ok(detail);
                }
                Err(error @ (ClientError::Unreachable { .. } | ClientError::Broken { .. }))
                    if self.heard.elapsed() < SILENCE_MAX =>
                {
                    if self.clients.len() == 1 {
                        complain(format!("recoilctl: {error}"));
                    }
                    self.clients.rotate_left(1);
                    tokio::time::sleep(LOOK_EVERY).await;
                }
                Err(error) => return Err(error.into()),
            }
        }
    }
}

#[allow(clippy::disallowed_methods)] // a person waits here, and no simulation
fn now() -> Instant {
    Instant::now()
}

/// Says how far a node's departure is, until it is done.
async fn watch(
    mut watched: Watched,
    mut detail: NodeDetail,
    waiting: &Waiting,
    output: &mut Output,
) -> Result<(), VerbError> {
    let wanted = detail.membership;
    if waiting.no_wait {
        return match output.format() {
            Format::Json | Format::Yaml => Ok(output.value(&detail)?),
            Format::Table => {
                let text = format!(
                    "node {} is {}; recoilctl node show {0} says how far that is",
                    detail.id,
                    membership(wanted)
                );
                Ok(output.line(&text)?)
            }
        };
    }
    let mut progress = Progress::new(&detail, output);
    loop {
        progress.show(&detail, output)?;
        if detail.is_done {
            break;
        }
        tokio::time::sleep(LOOK_EVERY).await;
        detail = watched.look().await?;
    }
    progress.end();
    let node = detail.id;
    if detail.membership == Membership::Active && wanted != Membership::Active {
        return Err(VerbError::Local(format!("node {node} is active again: somebody has undrained it")));
    }
    if output.format() != Format::Table {
        return Ok(());
    }
    let text = match detail.membership {
        Membership::Draining if detail.replicas > 0 => format!(
            "node {node} is drained: it leads nothing and takes no new connections. Its {} replicas stay, since too few other nodes \
             are active to take them",
            detail.replicas
        ),
        Membership::Draining => {
            format!("node {node} is drained: it leads nothing, holds no replica and takes no new connections")
        }
        other => format!("node {node} is {}", membership(other)),
    };
    Ok(output.line(&text)?)
}

/// How progress is shown: a bar at a terminal, a line for each change elsewhere, an object for each change in JSON and YAML.
struct Progress {
    bar: Option<ProgressBar>,
    total: u64,
    last: Option<NodeDetail>,
}

impl Progress {
    fn new(detail: &NodeDetail, output: &Output) -> Self {
        let at_terminal = output.format() == Format::Table && std::io::stderr().is_terminal();
        let total = left(detail).max(1);
        let bar = at_terminal.then(|| {
            let bar = ProgressBar::with_draw_target(Some(total), ProgressDrawTarget::stderr());
            let style = ProgressStyle::with_template("{bar:30} {percent:>3} % {msg}");
            bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
            bar
        });
        Progress { bar, total, last: None }
    }

    fn show(&mut self, detail: &NodeDetail, output: &mut Output) -> Result<(), VerbError> {
        if self.last.as_ref() == Some(detail) {
            return Ok(());
        }
        self.last = Some(detail.clone());
        let text = line(detail);
        match (&self.bar, output.format()) {
            (Some(bar), _) => {
                bar.set_position(self.total.saturating_sub(left(detail)));
                bar.set_message(text);
            }
            (None, Format::Table) => output.line(&text)?,
            (None, Format::Json) => {
                let event = serde_json::to_string(detail).map_err(|error| VerbError::Local(error.to_string()))?;
                output.line(&event)?;
            }
            (None, Format::Yaml) => {
                output.line("---")?;
                output.value(detail)?;
            }
        }
        Ok(())
    }

    fn end(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

/// What is yet to be given away: replicas and leaderships.
fn left(detail: &NodeDetail) -> u64 {
    u64::from(detail.replicas) + u64::from(detail.partitions_led)
}

fn line(detail: &NodeDetail) -> String {
    let state = membership(detail.membership);
    let mut text = format!(
        "node {} is {state}: holds {} replicas and leads {}",
        detail.id, detail.replicas, detail.partitions_led
    );
    if !detail.waits_for.is_empty() {
        text.push_str(&format!("; waits until {}", detail.waits_for.join(", ")));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn detail(replicas: u32, led: u32) -> NodeDetail {
        NodeDetail {
            id: NodeId(7),
            membership: Membership::Draining,
            successor: None,
            member: Some(3),
            address: None,
            state: NodeState::Live,
            version: String::new(),
            locality: String::new(),
            capacity: 100,
            groups: 2,
            replicas,
            partitions_led: led,
            is_meta_leader: false,
            is_meta_voter: false,
            waits_for: vec!["the meta group gets another leader".into()],
            is_done: false,
        }
    }

    /// Fails if a line of progress leaves out what an operator waits for.
    #[test]
    fn progress_says_what_is_left_and_what_it_waits_for() {
        assert_eq!(left(&detail(80, 20)), 100);
        let text = line(&detail(80, 20));
        assert!(text.contains("holds 80 replicas and leads 20; waits until the meta group"), "{text}");
    }

    /// Fails if a node that is a member no more cannot be named, or what is no id is taken for one.
    #[test]
    fn nodes_are_named_by_number_or_id_also_when_they_are_removed() {
        let status = Status {
            cluster: None,
            node: NodeId(1),
            nodes: vec![],
            keyspaces: vec![],
            groups: vec![],
            apps: vec![],
            ready: false,
            problems: vec![],
        };
        assert_eq!(find(&status, "0000000a").unwrap(), NodeId(10));
        for wrong in ["3", "a", "0000000g", "00000000a"] {
            assert!(find(&status, wrong).is_err(), "{wrong}");
        }
    }
}
