//! `recoilctl cluster` and `recoilctl rebalance`.

use std::io::{self, Write};

use recoil_gateway::api::{ClusterRequest, ClusterStatus, RecoverReply, RecoverRequest, Status};

use super::confirm::confirm;
use super::{Format, Output, VerbError, node};
use crate::client::Client;

/// What a duration may end with, and its seconds.
const DURATIONS: [(&str, u64); 4] = [("s", 1), ("m", 60), ("h", 3600), ("d", 86_400)];
/// What a rate may end with, and its bytes.
const SIZES: [(&str, u64); 4] = [("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30), ("TiB", 1 << 40)];

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Settings:
  repair-after  how long a node must be silent before its replicas are replaced by others, such as 30s, 5m or 2h
  move-rate     bytes a second that a node reads at most to copy partitions that move to it, such as 64MiB
  balance       on or off: whether partitions are moved to even out what nodes hold and lead

Examples:
  recoilctl cluster show
  recoilctl cluster set repair-after=5m move-rate=64MiB
  recoilctl cluster recover --lost 2,3 --dry-run")]
pub(super) struct Cluster {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// Show the cluster's settings, and nodes that count as lost.
    Show,
    /// Change settings of the cluster.
    Set {
        /// New values.
        #[arg(required = true, value_name = "SETTING=VALUE", value_parser = setting)]
        values: Vec<ClusterRequest>,
    },
    /// Give up nodes that are gone for good and with which partitions, or the cluster itself, have lost the majority of their replicas.
    /// What is left continues from the surviving replicas, without what only the lost ones had: writes that were acknowledged
    /// in the last moments may be gone. While a majority is left, `recoilctl node decommission` loses nothing and is the one to use.
    #[command(after_help = "\
All other nodes must be up. The nodes that are given up must never be started again with the data folders they have; once they reach a
node of the cluster, they end by themselves.

Examples:
  recoilctl cluster recover --lost 2,3 --dry-run  # what would continue from where, and what speaks against it
  recoilctl cluster recover --lost 2,3")]
    Recover {
        /// The nodes, by their ids or member numbers.
        #[arg(long, required = true, value_name = "NODE", value_delimiter = ',')]
        lost: Vec<String>,
        /// Only show what would be done and what speaks against it; exit code 1 if anything does.
        #[arg(long)]
        dry_run: bool,
        /// Do not ask.
        #[arg(long)]
        yes: bool,
    },
}

impl Cluster {
    pub(super) async fn run(&self, client: &Client, output: &mut Output) -> Result<(), VerbError> {
        match &self.verb {
            Verb::Show => show(&client.get("/v1/cluster").await?, output),
            Verb::Set { values } => {
                let merge = |all: ClusterRequest, one: &ClusterRequest| ClusterRequest {
                    repair_after_seconds: one.repair_after_seconds.or(all.repair_after_seconds),
                    move_rate_bytes: one.move_rate_bytes.or(all.move_rate_bytes),
                    balance: one.balance.or(all.balance),
                    paused: one.paused.or(all.paused),
                };
                show(&change(client, values.iter().fold(ClusterRequest::default(), merge)).await?, output)
            }
            Verb::Recover { lost, dry_run, yes } => recover(client, lost, *dry_run, *yes, output).await,
        }
    }
}

async fn recover(
    client: &Client,
    lost: &[String],
    dry_run: bool,
    yes: bool,
    output: &mut Output,
) -> Result<(), VerbError> {
    let status: Status = client.get("/v1/status").await?;
    let lost = lost.iter().map(|text| node::find(&status, text)).collect::<Result<Vec<_>, _>>()?;
    let ask = async |dry_run| -> Result<RecoverReply, VerbError> {
        let body = serde_json::to_vec(&RecoverRequest { lost: lost.clone(), dry_run });
        let body = body.map_err(|error| VerbError::Local(error.to_string()))?;
        Ok(client.post("/v1/cluster/recover", body).await?)
    };
    if dry_run || !yes {
        let plan = ask(true).await?;
        if dry_run {
            match output.format() {
                Format::Table => output.line(&planned(&plan))?,
                Format::Json | Format::Yaml => output.value(&plan)?,
            }
        }
        if !plan.refusals.is_empty() {
            return Err(VerbError::Local(format!("these nodes cannot be given up: {}", plan.refusals.join("; "))));
        }
        if dry_run {
            return Ok(());
        }
        let show = |out: &mut dyn Write| -> io::Result<()> { writeln!(out, "{}", planned(&plan)) };
        confirm(show, "Give these nodes up for good?", "nothing was changed")?;
    }
    let done = ask(false).await?;
    match output.format() {
        Format::Json | Format::Yaml => output.value(&done)?,
        Format::Table => output.line(&format!(
            "{} nodes were given up, and {} groups continue without them; recoilctl status shows when all partitions have their replicas",
            done.lost.len(),
            done.continued.len()
        ))?,
    }
    Ok(())
}

/// What giving nodes up means, in words.
fn planned(plan: &RecoverReply) -> String {
    let listed = |nodes: &[recoil_base::NodeId]| nodes.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    let mut text = format!(
        "These nodes are given up for good: {}. They must never be started again with their data folders.\n",
        listed(&plan.lost)
    );
    for one in &plan.continued {
        let what = match one.group {
            recoil_base::GroupId::META => "the cluster's own state".to_owned(),
            group => format!("{} partitions of group {group}", one.partitions),
        };
        text += &format!(
            "  {what}: continues from node {}, whose log ends at entry {} (voters were {})\n",
            one.node,
            one.last_index,
            listed(&one.voters)
        );
    }
    text += "What only the nodes that are given up had is lost, which may be writes that were acknowledged in the last moments.";
    text
}

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Moves that have begun go on, and so do those that operators begin. Without a flag, shows whether partitions are moved by themselves.

Examples:
  recoilctl rebalance --pause
  recoilctl rebalance --resume")]
pub(super) struct Rebalance {
    /// Begin no moves of partitions, neither to even out loads nor to replace lost replicas.
    #[arg(long, conflicts_with = "resume")]
    pause: bool,
    /// Begin moves again.
    #[arg(long)]
    resume: bool,
}

impl Rebalance {
    pub(super) async fn run(&self, client: &Client, output: &mut Output) -> Result<(), VerbError> {
        let status: ClusterStatus = if self.pause || self.resume {
            change(client, ClusterRequest { paused: Some(self.pause), ..ClusterRequest::default() }).await?
        } else {
            client.get("/v1/cluster").await?
        };
        match output.format() {
            Format::Json | Format::Yaml => output.value(&status)?,
            Format::Table => {
                let what = match (status.paused, status.balance) {
                    (true, _) => "paused: partitions move only when an operator says so",
                    (false, true) => "running: partitions move to even out loads and to replace lost replicas",
                    (false, false) => "running, with balance=off: partitions move only to replace lost replicas",
                };
                output.line(&format!("{what}; {} are being moved now", status.moves))?;
            }
        }
        Ok(())
    }
}

async fn change(client: &Client, request: ClusterRequest) -> Result<ClusterStatus, VerbError> {
    let body = serde_json::to_vec(&request).map_err(|error| VerbError::Local(error.to_string()))?;
    Ok(client.patch("/v1/cluster", body).await?)
}

fn show(status: &ClusterStatus, output: &mut Output) -> Result<(), VerbError> {
    match output.format() {
        Format::Json | Format::Yaml => output.value(status)?,
        Format::Table => {
            let lost: Vec<String> = status.lost.iter().map(ToString::to_string).collect();
            let on = |is_on: bool| if is_on { "on" } else { "off" }.to_owned();
            output.table(
                ["SETTING", "VALUE"],
                &[
                    ["repair-after".to_owned(), written(u64::from(status.repair_after_seconds), &DURATIONS)],
                    ["move-rate".to_owned(), written(status.move_rate_bytes, &SIZES)],
                    ["balance".to_owned(), on(status.balance)],
                    ["paused".to_owned(), if status.paused { "yes" } else { "no" }.to_owned()],
                ],
            )?;
            if !lost.is_empty() {
                output.line(&format!("\nlost nodes, whose replicas are replaced: {}", lost.join(" ")))?;
            }
        }
    }
    Ok(())
}

/// A number by the largest unit that it is a multiple of.
fn written(value: u64, units: &[(&str, u64)]) -> String {
    let unit = units.iter().rev().find(|(_, unit)| value > 0 && value.is_multiple_of(*unit));
    unit.map_or_else(|| value.to_string(), |(name, unit)| format!("{}{name}", value / unit))
}

fn number(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let (digits, unit) =
        units.iter().find_map(|(name, unit)| Some((text.strip_suffix(name)?, *unit))).unwrap_or((text, 1));
    digits.parse::<u64>().ok()?.checked_mul(unit)
}

fn setting(text: &str) -> Result<ClusterRequest, String> {
    let (name, value) = text.split_once('=').ok_or("write it as SETTING=VALUE, such as repair-after=5m")?;
    let none = ClusterRequest::default();
    match name {
        "repair-after" => {
            let seconds = number(value, &DURATIONS).and_then(|seconds| u32::try_from(seconds).ok());
            let seconds = seconds.ok_or_else(|| format!("'{value}' is no duration: write 30s, 5m, 2h or 1d"))?;
            Ok(ClusterRequest { repair_after_seconds: Some(seconds), ..none })
        }
        "move-rate" => {
            let bytes = number(value.strip_suffix("/s").unwrap_or(value), &SIZES);
            let bytes = bytes.ok_or_else(|| format!("'{value}' is no number of bytes: write 512KiB, 64MiB or 1GiB"))?;
            Ok(ClusterRequest { move_rate_bytes: Some(bytes), ..none })
        }
        "balance" => match value {
            "on" => Ok(ClusterRequest { balance: Some(true), ..none }),
            "off" => Ok(ClusterRequest { balance: Some(false), ..none }),
            _ => Err(format!("balance is on or off, not '{value}'")),
        },
        _ => Err(format!("there is no setting '{name}': there are repair-after, move-rate and balance")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Fails if a setting is read as another value than was written, is not shown as it may be written, or what is none is taken.
    #[test]
    fn settings_are_read_and_shown_with_units() {
        let seconds = |text: &str| setting(text).unwrap().repair_after_seconds;
        assert_eq!(
            ["repair-after=5m", "repair-after=300", "repair-after=2h"].map(seconds),
            [Some(300), Some(300), Some(7200)]
        );
        let bytes = |text: &str| setting(text).unwrap().move_rate_bytes;
        assert_eq!(
            ["move-rate=64MiB", "move-rate=64MiB/s", "move-rate=1000"].map(bytes),
            [Some(64 << 20), Some(64 << 20), Some(1000)]
        );
        assert_eq!(setting("balance=off").unwrap().balance, Some(false));
        for wrong in [
            "",
            "repair-after",
            "repair-after=",
            "repair-after=5x",
            "repair-after=-1",
            "repair-after=99999999999d",
            "move-rate=MiB",
            "move-rate=1.5MiB",
            "balance=yes",
            "color=red",
        ] {
            assert!(setting(wrong).is_err(), "{wrong}");
        }
        assert_eq!([300, 90, 7200, 0].map(|seconds| written(seconds, &DURATIONS)), ["5m", "90s", "2h", "0"]);
        assert_eq!([64 << 20, 1000].map(|bytes| written(bytes, &SIZES)), ["64MiB", "1000"]);
    }
}
