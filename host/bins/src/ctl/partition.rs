//! `recoilctl partition` and `recoilctl moves`.

use std::io::IsTerminal as _;
use std::time::Duration;

use recoil_base::NodeId;
use recoil_gateway::api::{MoveRequest, MoveStateName, MoveStatus, PartitionStatus, Status};

use super::uninstall::path_segment;
use super::{Format, Output, VerbError, nodes};
use crate::client::Client;
use crate::say::complain;

/// Partitions that one command moves.
const PARTITIONS_MAX: usize = 256;
/// Clears a terminal and begins at its top: ANSI ED and CUP.
const CLEAR: &str = "\x1b[2J\x1b[H";

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  recoilctl partition list --moving
  recoilctl partition show 17
  recoilctl partition list --keyspace eu-data
  recoilctl partition move 17 --to 1,2,4
  recoilctl partition move 0-63,80 --to 1,2,4")]
pub(super) struct Partition {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// List where partitions are.
    List {
        /// Only those with fewer replicas than they should have: on nodes that are down, or that have yet to copy rows.
        #[arg(long)]
        under_replicated: bool,
        /// Only those that are being moved.
        #[arg(long)]
        moving: bool,
        /// Only those of this keyspace.
        #[arg(long, value_name = "NAME")]
        keyspace: Option<String>,
    },
    /// Show where one partition is, and what its move waits for.
    Show {
        /// The partition's number.
        partition: u32,
        /// Its keyspace, if that is not the default one.
        #[arg(long, value_name = "NAME")]
        keyspace: Option<String>,
    },
    /// Move partitions to other nodes. They are served all the time, but for a moment; returns once the move has been recorded.
    Move {
        /// The partitions: numbers and ranges, such as 17 or 0-63,80.
        #[arg(value_parser = numbers)]
        partitions: Numbers,
        /// The nodes that are to have replicas, first the one that is to lead: ids, or member numbers, as `recoilctl status` shows them.
        #[arg(long, required = true, value_delimiter = ',', value_name = "NODE,…")]
        to: Vec<String>,
        /// Their keyspace, if that is not the default one. Nodes that its rule forbids are refused.
        #[arg(long, value_name = "NAME")]
        keyspace: Option<String>,
    },
    /// Leave a partition where it is, unless it has moved already.
    Cancel {
        /// The partition's number.
        partition: u32,
        /// Its keyspace, if that is not the default one.
        #[arg(long, value_name = "NAME")]
        keyspace: Option<String>,
    },
}

/// Partitions as they are written.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Numbers(Vec<u32>);

fn numbers(text: &str) -> Result<Numbers, String> {
    let wrong = |part: &str| format!("'{part}' is no partition: write numbers and ranges, such as 17 or 0-63,80");
    let mut all = Vec::new();
    for part in text.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let number = |text: &str| text.parse::<u32>().map_err(|_| wrong(part));
        let (first, last) = (number(first)?, number(last)?);
        if first > last {
            return Err(wrong(part));
        }
        if (last - first) as usize >= PARTITIONS_MAX || all.len() >= PARTITIONS_MAX {
            return Err(format!("at most {PARTITIONS_MAX} partitions can be moved at once"));
        }
        all.extend(first..=last);
    }
    Ok(Numbers(all))
}

/// Looks a node up by its id or its member number.
pub(super) fn node(status: &Status, text: &str) -> Result<NodeId, VerbError> {
    let found = status.nodes.iter().find(|node| node.id.to_string() == text || node.member.to_string() == text);
    let why = || VerbError::Local(format!("there is no node {text}: see `recoilctl status`"));
    found.map(|node| node.id).ok_or_else(why)
}

impl Partition {
    pub(super) async fn run(&self, client: &Client, output: &mut Output) -> Result<(), VerbError> {
        match &self.verb {
            Verb::List { under_replicated, moving, keyspace } => {
                let mut all: Vec<PartitionStatus> = client.get(&path("", keyspace.as_deref())?).await?;
                all.retain(|partition| {
                    (!under_replicated || partition.under_replicated) && (!moving || partition.moving.is_some())
                });
                match output.format() {
                    Format::Json | Format::Yaml => output.value(&all)?,
                    Format::Table if all.is_empty() => output.line("no such partitions")?,
                    Format::Table => output.table(
                        ["PARTITION", "KEYSPACE", "GROUP", "LEADER", "REPLICAS", "LIVE", "MOVING TO"],
                        &all.iter().map(row).collect::<Vec<_>>(),
                    )?,
                }
            }
            Verb::Show { partition, keyspace } => show(client, *partition, keyspace.as_deref(), output).await?,
            Verb::Move { partitions, to, keyspace } => {
                let status: Status = client.get("/v1/status").await?;
                let to = to.iter().map(|text| node(&status, text)).collect::<Result<_, _>>()?;
                let request = MoveRequest { keyspace: keyspace.clone(), partitions: partitions.0.clone(), to };
                let body = serde_json::to_vec(&request).map_err(|error| VerbError::Local(error.to_string()))?;
                let begun: Vec<MoveStatus> = client.post("/v1/moves", body).await?;
                match output.format() {
                    Format::Json | Format::Yaml => output.value(&begun)?,
                    Format::Table => {
                        let what = if begun.len() == 1 {
                            "1 partition is".into()
                        } else {
                            format!("{} partitions are", begun.len())
                        };
                        output.line(&format!("{what} being moved; `recoilctl moves --watch` shows how far that is"))?;
                    }
                }
            }
            Verb::Cancel { partition, keyspace } => {
                let path = path(&format!("/{partition}"), keyspace.as_deref())?;
                let found: PartitionStatus = client.get(&path).await?;
                let Some(moving) = found.moving else {
                    return Err(VerbError::Local(format!("partition {partition} is not being moved")));
                };
                let answer: serde_json::Value = client.delete(&format!("/v1/moves/{}", moving.id)).await?;
                match output.format() {
                    Format::Json | Format::Yaml => output.value(&answer)?,
                    Format::Table => {
                        output.line(&format!("partition {partition} stays where it is, unless it has moved by now"))?
                    }
                }
            }
        }
        Ok(())
    }
}

/// The path of all partitions or of one, of a keyspace.
fn path(partition: &str, keyspace: Option<&str>) -> Result<String, VerbError> {
    let query = keyspace.map(|name| Ok::<_, VerbError>(format!("?keyspace={}", path_segment(name)?))).transpose()?;
    Ok(format!("/v1/partitions{partition}{}", query.unwrap_or_default()))
}

async fn show(client: &Client, partition: u32, keyspace: Option<&str>, output: &mut Output) -> Result<(), VerbError> {
    let mut found: PartitionStatus = client.get(&path(&format!("/{partition}"), keyspace)?).await?;
    if let Some(moving) = found.moving.take() {
        let all = with_reasons(client, vec![moving]).await?;
        found.moving = all.into_iter().next();
    }
    if output.format() != Format::Table {
        return Ok(output.value(&found)?);
    }
    let [number, _, group, leader, replicas, live, _] = row(&found);
    output.line(&format!("Partition {number} of keyspace {}, epoch {}", found.keyspace, found.epoch))?;
    output.line(&format!("  group     {group}\n  leader    {leader}\n  replicas  {replicas} ({live} live)"))?;
    if let Some(moving) = &found.moving {
        let [_, _, state, from, to, waits_for] = move_row(moving);
        output.line(&format!("  {state} from {from} to {to}"))?;
        if !waits_for.is_empty() {
            output.line(&format!("  waits: {waits_for}"))?;
        }
    }
    Ok(())
}

fn row(partition: &PartitionStatus) -> [String; 7] {
    [
        partition.partition.to_string(),
        partition.keyspace.clone(),
        partition.group.to_string(),
        partition.leader.map_or("none".to_owned(), |leader| leader.to_string()),
        words(&partition.replicas),
        partition.replicas_live.to_string(),
        partition.moving.as_ref().map(|moving| words(&moving.to)).unwrap_or_default(),
    ]
}

fn words(nodes: &[NodeId]) -> String {
    nodes.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
}

#[derive(Debug, clap::Args)]
pub(super) struct Moves {
    /// Look again every second, until Ctrl-C or until no partition is being moved.
    #[arg(short, long)]
    watch: bool,
}

impl Moves {
    pub(super) async fn run(&self, client: &Client, output: &mut Output) -> Result<(), VerbError> {
        let clears = self.watch && output.format() == Format::Table && std::io::stdout().is_terminal();
        loop {
            let moves = with_reasons(client, client.get("/v1/moves").await?).await?;
            if clears {
                output.text(CLEAR)?;
            }
            match output.format() {
                Format::Json | Format::Yaml => output.value(&moves)?,
                Format::Table if moves.is_empty() => output.line("no partition is being moved")?,
                Format::Table => output.table(
                    ["PARTITION", "KEYSPACE", "STATE", "FROM", "TO", "WAITS FOR"],
                    &moves.iter().map(move_row).collect::<Vec<_>>(),
                )?,
            }
            if !self.watch || moves.is_empty() {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    }
}

/// What moves wait for is known to the nodes that lead their targets.
async fn with_reasons(client: &Client, mut moves: Vec<MoveStatus>) -> Result<Vec<MoveStatus>, VerbError> {
    if moves.iter().all(|moving| moving.waits_for.is_some()) {
        return Ok(moves);
    }
    let status: Status = client.get("/v1/status").await?;
    for view in nodes::ask::<Vec<MoveStatus>>(&nodes::clients(client, &status), "/v1/moves").await {
        match view {
            Ok(view) => {
                for moving in &mut moves {
                    let theirs = view.iter().find(|theirs| theirs.id == moving.id);
                    moving.waits_for = moving.waits_for.take().or_else(|| theirs?.waits_for.clone());
                }
            }
            Err(error) => complain(format!("recoilctl: what moves wait for may be missing here: {error}")),
        }
    }
    Ok(moves)
}

fn move_row(moving: &MoveStatus) -> [String; 6] {
    let state = match moving.state {
        MoveStateName::Moving => "moving",
        MoveStateName::Cancelling => "cancelling",
        MoveStateName::Copying => "copying",
    };
    let waits_for = moving.waits_for.clone().unwrap_or_default();
    let (number, keyspace) = (moving.partition.to_string(), moving.keyspace.clone());
    [number, keyspace, state.to_owned(), words(&moving.from), words(&moving.to), waits_for]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Fails if a range is read as less or more than it says, or what is none is taken.
    #[test]
    fn partitions_are_read_as_numbers_and_ranges() {
        assert_eq!(numbers("17"), Ok(Numbers(vec![17])));
        assert_eq!(numbers("0-3,9"), Ok(Numbers(vec![0, 1, 2, 3, 9])));
        assert_eq!(numbers("0-255").unwrap().0.len(), PARTITIONS_MAX);
        for wrong in ["", "a", "3-1", "1-", "1,,2", "0-256", "0-4294967295", "-1"] {
            assert!(numbers(wrong).is_err(), "{wrong}");
        }
    }
}
