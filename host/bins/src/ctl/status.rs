//! `recoilctl status`.

use recoil_gateway::api::{AppSummary, GroupStatus, NodeState, NodeStatus, Status};

use super::{Format, Output, VerbError, inspect};
use crate::client::Client;

pub(super) const APP_HEADING: [&str; 5] = ["APP", "VERSION", "STATE", "NODES READY", "LISTENS ON"];

pub(super) async fn run(client: &Client, output: &mut Output) -> Result<(), VerbError> {
    let status: Status = client.get("/v1/status").await?;
    match output.format() {
        Format::Json | Format::Yaml => output.value(&status)?,
        Format::Table => print(&status, output)?,
    }
    Ok(())
}

/// The tables of a cluster's status; the simulator's prompt prints them too.
pub fn print(status: &Status, output: &mut Output) -> std::io::Result<()> {
    let cluster = status.cluster.as_deref().unwrap_or("not made yet");
    let ready = if status.ready { "every partition has a leader" } else { "some partitions have no leader" };
    output.line(&format!("Cluster {cluster}, as node {} sees it: {ready}\n", status.node))?;
    output.table(
        ["NODE", "MEMBER", "ADDRESS", "STATE", "LEADS", "COPIES", "VERSION", ""],
        &status.nodes.iter().map(node_row).collect::<Vec<_>>(),
    )?;
    output.line("")?;
    let keyspaces: Vec<_> = status
        .keyspaces
        .iter()
        .map(|k| [k.name.clone(), k.partitions.to_string(), k.replication.to_string(), k.leaders_present.to_string()])
        .collect();
    output.table(["KEYSPACE", "PARTITIONS", "REPLICATION", "WITH A LEADER"], &keyspaces)?;
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

fn node_row(node: &NodeStatus) -> [String; 8] {
    let state = match node.state {
        NodeState::Live => "live",
        NodeState::Down => "down",
        NodeState::Unknown => "unknown",
    };
    [
        node.id.to_string(),
        node.member.to_string(),
        node.address.to_string(),
        state.to_owned(),
        node.partitions_led.to_string(),
        node.replicas.to_string(),
        node.version.clone(),
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
