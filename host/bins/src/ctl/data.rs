//! `recoilctl data`: how much data apps have, and deleting what uninstalled apps left behind.

use std::collections::BTreeMap;

use recoil_gateway::api::{AppData, AppState, Status};
use serde::Serialize;

use super::confirm::confirm;
use super::uninstall::path_segment;
use super::{Format, Output, VerbError, inspect, nodes};
use crate::client::Client;

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  recoilctl data list
  recoilctl data delete redis-server")]
pub(super) struct Data {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// List the data of all apps: of those that are installed, and of those that were uninstalled with --keep-data.
    List,
    /// Delete the data that an uninstalled app left behind.
    Delete {
        /// The app, as `recoilctl data list` shows it.
        app: String,
        /// Do not ask.
        #[arg(short, long)]
        yes: bool,
    },
}

impl Data {
    pub(super) async fn run(&self, client: &Client, output: &mut Output) -> Result<(), VerbError> {
        match &self.verb {
            Verb::List => list(client, output).await,
            Verb::Delete { app, yes } => delete(client, app, *yes, output).await,
        }
    }
}

/// What an app has in the whole cluster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Amount {
    #[serde(flatten)]
    data: AppData,
    /// False if some partitions could not be counted, because a node was not reached or took too long.
    complete: bool,
}

impl Amount {
    /// Such as `12345 rows, 1.2 MB`.
    pub(super) fn in_words(&self) -> String {
        let (rows, bytes) = (self.data.rows, self.data.bytes);
        let least = if self.complete { "" } else { "at least " };
        format!("{least}{rows} {}, {}", if rows == 1 { "row" } else { "rows" }, size(bytes))
    }

    /// The version of the package that wrote it.
    pub(super) fn version(&self) -> &str {
        &self.data.version
    }

    /// True for what an uninstalled app left behind.
    pub(super) fn is_kept(&self) -> bool {
        self.data.state == AppState::Kept
    }
}

/// The data of the app named `only`, or of all apps: the sum of what each node counts in the partitions that it leads.
pub(super) async fn amounts(client: &Client, only: Option<&str>) -> Result<Vec<Amount>, VerbError> {
    let status: Status = client.get("/v1/status").await?;
    let path = only.map_or("/v1/data".to_owned(), |app| format!("/v1/data?app={app}"));
    let answers = nodes::ask::<Vec<AppData>>(&nodes::clients(client, &status), &path).await;
    let mut counted = Vec::new();
    let mut failed = None;
    for answer in answers {
        match answer {
            Ok(data) => counted.push(data),
            Err(error) => failed = Some(error),
        }
    }
    match failed {
        Some(error) if counted.is_empty() => Err(error.into()),
        _ => Ok(sum(counted)),
    }
}

fn sum(counted: Vec<Vec<AppData>>) -> Vec<Amount> {
    let mut apps: BTreeMap<String, AppData> = BTreeMap::new();
    for data in counted.into_iter().flatten() {
        match apps.get_mut(&data.app) {
            Some(known) => {
                known.rows += data.rows;
                known.bytes += data.bytes;
                known.partitions_counted += data.partitions_counted;
            }
            None => drop(apps.insert(data.app.clone(), data)),
        }
    }
    apps.into_values().map(|data| Amount { complete: data.partitions_counted >= data.partitions, data }).collect()
}

async fn list(client: &Client, output: &mut Output) -> Result<(), VerbError> {
    let amounts = amounts(client, None).await?;
    if output.format() != Format::Table {
        return Ok(output.value(&amounts)?);
    }
    let rows: Vec<_> = amounts
        .iter()
        .map(|Amount { data, complete }| {
            let least = if *complete { "" } else { "at least " };
            [
                data.app.clone(),
                inspect::state(data.state).to_owned(),
                data.package.clone(),
                data.version.clone(),
                format!("{least}{}", data.rows),
                format!("{least}{}", size(data.bytes)),
            ]
        })
        .collect();
    Ok(output.table(["APP", "STATE", "PACKAGE", "VERSION", "ROWS", "SIZE"], &rows)?)
}

async fn delete(client: &Client, app: &str, yes: bool, output: &mut Output) -> Result<(), VerbError> {
    let path = format!("/v1/data/{}", path_segment(app)?);
    if !yes {
        let amounts = amounts(client, Some(app)).await?;
        // The node refuses everything else with its reason.
        if let Some(amount) = amounts.iter().find(|amount| amount.is_kept()) {
            confirm(
                |to| writeln!(to, "The data that {app} {} left behind: {}", amount.version(), amount.in_words()),
                "Delete it? It cannot be brought back.",
                "nothing was deleted",
            )?;
        }
    }
    let answer: serde_json::Value = client.delete(&path).await?;
    match output.format() {
        Format::Json | Format::Yaml => output.value(&answer)?,
        Format::Table => output.line(&format!("the data of {app} are deleted"))?,
    }
    Ok(())
}

/// Bytes as people read them: three digits and a decimal unit.
fn size(bytes: u64) -> String {
    let mut value = bytes as f64;
    for unit in ["bytes", "kB", "MB", "GB"] {
        if value < 1000.0 {
            return if unit == "bytes" { format!("{bytes} bytes") } else { format!("{value:.1} {unit}") };
        }
        value /= 1000.0;
    }
    format!("{value:.1} TB")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(rows: u64, bytes: u64, partitions_counted: u32) -> AppData {
        AppData {
            app: "a".into(),
            state: AppState::Kept,
            package: "p".into(),
            version: "1.0.0".into(),
            rows,
            bytes,
            partitions_counted,
            partitions: 10,
        }
    }

    /// Fails if a node's part is left out, or the amount is told for certain though a partition was not counted.
    #[test]
    fn the_amount_is_the_sum_of_what_the_nodes_counted() {
        let whole = sum(vec![vec![part(1, 500, 6)], vec![part(0, 0, 0)], vec![part(4, 800, 4)]]);
        assert_eq!(whole.iter().map(Amount::in_words).collect::<Vec<_>>(), ["5 rows, 1.3 kB"]);
        let partly = sum(vec![vec![part(1, 999, 6)]]);
        assert_eq!(partly[0].in_words(), "at least 1 row, 999 bytes");
        assert_eq!([1_000_000, 5_000_000_000, 2_000_000_000_000].map(size), ["1.0 MB", "5.0 GB", "2.0 TB"]);
    }
}
