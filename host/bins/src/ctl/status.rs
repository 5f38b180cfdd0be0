//! `recoilctl status`.

use std::collections::BTreeSet;
use std::io::IsTerminal as _;
use std::time::Duration;

use recoil_base::NodeId;
use recoil_gateway::api::{
    AppSummary, GroupStatus, KeyspaceStatus, Membership, NodeState, NodeStatus, ProblemKind, Status,
};

use super::output::utc;
use super::{Format, Output, VerbError, inspect, nodes};
use crate::client::Client;
use crate::say::complain;

pub(super) const APP_HEADING: [&str; 5] = ["APP", "VERSION", "STATE", "NODES READY", "LISTENS ON"];

/// Between two looks of `--watch`, unless it says otherwise.
const WATCH_EVERY: &str = "2";
/// Clears a terminal and begins at its top: ANSI ED and CUP.
const CLEAR: &str = "\x1b[2J\x1b[H";

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Exit codes: 0 healthy, 10 something that an operator should act on, 1 failed, 3 no node could be reached

Examples:
  recoilctl status
  recoilctl status --watch
  recoilctl -o json status | jq '.problems'")]
pub(super) struct StatusArguments {
    /// Look again every so many seconds, until Ctrl-C.
    #[arg(short, long, value_name = "SECONDS", num_args = 0..=1, default_missing_value = WATCH_EVERY,
        value_parser = clap::value_parser!(u64).range(1..=3600))]
    watch: Option<u64>,
}

impl StatusArguments {
    pub(super) async fn run(&self, client: &Client, output: &mut Output) -> Result<(), VerbError> {
        let Some(seconds) = self.watch else { return show(client, output).await };
        let clears = output.format() == Format::Table && std::io::stdout().is_terminal();
        loop {
            if clears {
                output.text(CLEAR)?;
            }
            match show(client, output).await {
                Ok(()) | Err(VerbError::Attention) => {}
                Err(VerbError::Print(error)) => return Err(error.into()),
                // A node that restarts is one of the things to watch.
                Err(error) => complain(format!("recoilctl: {error}")),
            }
            tokio::time::sleep(Duration::from_secs(seconds)).await;
        }
    }
}

async fn show(client: &Client, output: &mut Output) -> Result<(), VerbError> {
    let status = fetch(client).await?;
    match output.format() {
        Format::Json | Format::Yaml => output.value(&status)?,
        Format::Table => print(&status, output)?,
    }
    if status.problems.is_empty() { Ok(()) } else { Err(VerbError::Attention) }
}

/// The status as one node sees it, completed by what only the leaders of groups know: which replicas are behind.
async fn fetch(client: &Client) -> Result<Status, VerbError> {
    let mut status: Status = client.get("/v1/status").await?;
    let leaders: BTreeSet<NodeId> = status.groups.iter().filter_map(|group| group.leader).collect();
    let others = status
        .nodes
        .iter()
        .filter(|node| node.id != status.node && node.state != NodeState::Down && leaders.contains(&node.id));
    let clients: Vec<Client> = others.map(|node| Client::new(&node.address.to_string())).collect();
    for view in nodes::ask::<Status>(&clients, "/v1/status").await {
        match view {
            Ok(view) => merge(&mut status, view),
            Err(error) => complain(format!("recoilctl: replicas that are behind may be missing here: {error}")),
        }
    }
    Ok(status)
}

/// Takes over what `view`, the status as a leader sees it, says of the replicas of the groups that it leads.
fn merge(status: &mut Status, view: Status) {
    for group in &mut status.groups {
        let led =
            view.groups.iter().find(|theirs| theirs.id == group.id).filter(|theirs| theirs.leader == Some(view.node));
        if let Some(theirs) = led {
            group.behind.clone_from(&theirs.behind);
        }
    }
    for node in &mut status.nodes {
        if let Some(theirs) = view.nodes.iter().find(|theirs| theirs.id == node.id) {
            node.replicas_current = node.replicas_current.min(theirs.replicas_current);
        }
    }
    for keyspace in &mut status.keyspaces {
        if let Some(theirs) = view.keyspaces.iter().find(|theirs| theirs.name == keyspace.name) {
            keyspace.under_replicated = keyspace.under_replicated.max(theirs.under_replicated);
        }
    }
    for problem in view.problems.into_iter().filter(|problem| problem.kind == ProblemKind::ReplicaBehind) {
        let known =
            status.problems.iter().any(|known| (known.kind, &known.subject) == (problem.kind, &problem.subject));
        if !known {
            status.problems.push(problem);
        }
    }
}

/// The tables of a cluster's status; the simulator's prompt prints them too.
pub fn print(status: &Status, output: &mut Output) -> std::io::Result<()> {
    let cluster = status.cluster.as_deref().unwrap_or("not made yet");
    let ready = if status.ready { "every partition has a leader" } else { "some partitions have no leader" };
    let lacking: u32 = status.keyspaces.iter().map(|keyspace| keyspace.under_replicated).sum();
    let replicas = match lacking {
        0 if status.ready => " and all its replicas".to_owned(),
        0 => String::new(),
        1 => "; 1 partition lacks a replica".to_owned(),
        _ => format!("; {lacking} partitions lack a replica"),
    };
    output.line(&format!("Cluster {cluster}, as node {} sees it: {ready}{replicas}", status.node))?;
    let sum = |count: fn(&KeyspaceStatus) -> u32| status.keyspaces.iter().map(count).sum::<u32>();
    let unavailable = sum(|keyspace| keyspace.partitions - keyspace.leaders_present);
    let (all, moving) = (sum(|keyspace| keyspace.partitions), sum(|keyspace| keyspace.moving));
    let counts = format!("{lacking} under-replicated, {moving} moving, {unavailable} unavailable");
    output.line(&format!("Partitions: {all}, {counts}\n"))?;
    for problem in &status.problems {
        output.line(&format!("! {}", problem.text))?;
    }
    if !status.problems.is_empty() {
        output.line("")?;
    }
    output.table(
        ["NODE", "MEMBER", "ADDRESS", "STATE", "LEADS", "REPLICAS", "VERSION", "LOCALITY", ""],
        &status.nodes.iter().map(node_row).collect::<Vec<_>>(),
    )?;
    output.line("")?;
    let keyspaces: Vec<_> = status.keyspaces.iter().map(keyspace_row).collect();
    output
        .table(["KEYSPACE", "PARTITIONS", "REPLICATION", "WITH A LEADER", "UNDER-REPLICATED", "REQUIRE"], &keyspaces)?;
    output.line("")?;
    output.table(
        ["GROUP", "LEADER", "TERM", "APPLIED", "PARTITIONS", "MEMBERS"],
        &status.groups.iter().map(group_row).collect::<Vec<_>>(),
    )?;
    if !status.apps.is_empty() {
        output.line("")?;
        output.table(APP_HEADING, &status.apps.iter().map(app_row).collect::<Vec<_>>())?;
    }
    Ok(())
}

fn keyspace_row(keyspace: &KeyspaceStatus) -> [String; 6] {
    let KeyspaceStatus { name, partitions, replication, leaders_present, under_replicated, .. } = keyspace;
    let [partitions, replication, leaders_present, under_replicated] =
        [partitions, replication, leaders_present, under_replicated].map(ToString::to_string);
    [name.clone(), partitions, replication, leaders_present, under_replicated, keyspace.require.clone()]
}

/// Whether a node answers, and what is unusual about its membership.
pub(super) fn node_state(node: &NodeStatus) -> String {
    let answers = match (node.state, node.down_since_us) {
        (NodeState::Live, _) => "live".to_owned(),
        (NodeState::Down, Some(since)) if node.lost => format!("lost, down since {}", utc(since)),
        (NodeState::Down, None) if node.lost => "lost".to_owned(),
        (NodeState::Down, Some(since)) => format!("down since {}", utc(since)),
        (NodeState::Down, None) => "down".to_owned(),
        (NodeState::Unknown, _) => "unknown".to_owned(),
    };
    match node.membership {
        Membership::Active => answers,
        Membership::Draining => format!("{answers}, draining"),
        Membership::Decommissioning => format!("{answers}, decommissioning"),
        Membership::Displaced => format!("{answers}, displaced"),
        Membership::Removed => format!("{answers}, removed"),
    }
}

fn node_row(node: &NodeStatus) -> [String; 9] {
    let state = node_state(node);
    let replicas = match node.replicas_current {
        current if current == node.replicas => current.to_string(),
        current => format!("{current} of {}", node.replicas),
    };
    [
        node.id.to_string(),
        node.member.to_string(),
        node.address.to_string(),
        state,
        node.partitions_led.to_string(),
        replicas,
        node.version.clone(),
        node.locality.clone(),
        if node.is_meta_leader { "meta leader" } else { "" }.to_owned(),
    ]
}

fn group_row(group: &GroupStatus) -> [String; 6] {
    let members: Vec<String> = group.members.iter().map(ToString::to_string).collect();
    [
        group.id.to_string(),
        group.leader.map_or("none".to_owned(), |leader| leader.to_string()),
        group.term.to_string(),
        group.applied.to_string(),
        group.partitions.to_string(),
        members.join(" "),
    ]
}

pub(super) fn app_row(app: &AppSummary) -> [String; 5] {
    let addresses: Vec<String> =
        app.listeners.iter().map(|listener| format!("{}: {}", listener.name, listener.addresses.join(" "))).collect();
    [
        app.name.clone(),
        app.version.clone(),
        inspect::state(app.state).to_owned(),
        format!("{} of {}", app.nodes_ready, app.nodes),
        addresses.join("; "),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use recoil_base::GroupId;
    use recoil_gateway::api::Problem;

    fn view(node: u32, behind: &[u32]) -> Status {
        let behind: Vec<NodeId> = behind.iter().copied().map(NodeId).collect();
        let problem = |node: &NodeId| Problem {
            kind: ProblemKind::ReplicaBehind,
            subject: node.to_string(),
            text: format!("node {node} is behind"),
        };
        let of_node = |id: u32| NodeStatus {
            id: NodeId(id),
            member: id,
            address: "127.0.0.1:7400".parse().unwrap(),
            state: NodeState::Live,
            down_since_us: None,
            lost: false,
            partitions_led: 0,
            replicas: 10,
            replicas_current: if behind.contains(&NodeId(id)) { 0 } else { 10 },
            is_meta_leader: false,
            version: String::new(),
            locality: String::new(),
            membership: Membership::Active,
            successor: None,
        };
        Status {
            cluster: Some("c".into()),
            node: NodeId(node),
            nodes: [1, 2, 3].map(of_node).to_vec(),
            keyspaces: vec![KeyspaceStatus {
                name: "default".into(),
                partitions: 10,
                replication: 3,
                leaders_present: 10,
                under_replicated: if behind.is_empty() { 0 } else { 10 },
                moving: 0,
                require: String::new(),
                spread_by: String::new(),
                prefer_leader: String::new(),
            }],
            groups: vec![GroupStatus {
                id: GroupId(7),
                members: [1, 2, 3].map(NodeId).to_vec(),
                leader: Some(NodeId(2)),
                term: 1,
                applied: 1,
                partitions: 10,
                behind: behind.clone(),
            }],
            apps: vec![],
            ready: true,
            problems: behind.iter().map(problem).collect(),
        }
    }

    /// Fails if what only a group's leader knows is lost, told twice, or taken from a node that does not lead.
    #[test]
    fn the_leaders_of_groups_say_which_replicas_are_behind() {
        let mut status = view(1, &[]);
        merge(&mut status, view(2, &[3]));
        merge(&mut status, view(2, &[3]));
        assert_eq!(status.groups[0].behind, [NodeId(3)]);
        assert_eq!((status.nodes[2].replicas_current, status.keyspaces[0].under_replicated), (0, 10));
        assert_eq!(status.problems.len(), 1);
        merge(&mut status, view(3, &[]));
        assert_eq!(status.groups[0].behind, [NodeId(3)], "node 3 does not lead the group");
    }
}
