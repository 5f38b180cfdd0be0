//! Asking every node: some answers are known only to the node that leads a partition or wrote a line.

use futures::future::join_all;
use recoil_gateway::api::{NodeState, Status};
use serde::de::DeserializeOwned;

use crate::client::{Client, ClientError};

/// A client for each node that is not down. The node that answers at `client` keeps the name it was given, wherever that leads.
pub(super) fn clients(client: &Client, status: &Status) -> Vec<Client> {
    let nodes = status.nodes.iter().filter(|node| node.state != NodeState::Down || node.id == status.node);
    nodes
        .map(|node| if node.id == status.node { client.clone() } else { Client::new(&node.address.to_string()) })
        .collect()
}

/// What each of `clients` answers, in their order.
pub(super) async fn ask<T: DeserializeOwned>(clients: &[Client], path: &str) -> Vec<Result<T, ClientError>> {
    join_all(clients.iter().map(|client| client.get(path))).await
}
