//! `recoilctl keyspace`: sets of partitions with rules of where they may and should be.

use std::io::Write;

use recoil_gateway::api::{CreateKeyspace, KeyspaceDetail, KeyspaceStatus, SetKeyspace};

use super::confirm::confirm;
use super::uninstall::path_segment;
use super::{Format, Output, VerbError};
use crate::client::Client;

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Rules name tiers of the nodes' localities, as `recoil start --locality region=eu,zone=a` says them:
  require        hard: only nodes with all of these tiers hold the keyspace and run its apps
  spread-by      soft: the replicas of a partition are spread over the values of this tier
  prefer-leader  soft: nodes with these tiers lead

Examples:
  recoilctl keyspace create eu-data --partitions 64 --replicas 3 --require region=eu --spread-by zone --prefer-leader zone=a
  recoilctl keyspace set eu-data replicas=5
  recoilctl keyspace set eu-data prefer-leader=
  recoilctl install redis-server --name sessions --keyspace eu-data
  recoilctl keyspace delete eu-data")]
pub(super) struct Keyspace {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// List the keyspaces.
    List,
    /// Show one keyspace: its rules, its apps and the nodes that may hold it.
    Show {
        /// Its name.
        name: String,
    },
    /// Make a keyspace, and wait until its partitions have leaders.
    Create {
        /// Its name: lower-case letters, digits and hyphens.
        name: String,
        /// Partitions. Their number stays.
        #[arg(long, default_value_t = 64, value_name = "COUNT")]
        partitions: u32,
        /// Replicas of each partition, 1 to 9.
        #[arg(long, default_value_t = 3, value_name = "COUNT")]
        replicas: u32,
        /// Tiers that a node must have to hold it and to run its apps. Nothing of it is ever put elsewhere.
        #[arg(long, default_value = "", hide_default_value = true, value_name = "KEY=VALUE,...")]
        require: String,
        /// The tier over whose values the replicas of each partition are spread, such as zone; without it, the first tier of each node.
        #[arg(long, default_value = "", hide_default_value = true, value_name = "KEY")]
        spread_by: String,
        /// Tiers of the nodes that should lead.
        #[arg(long, default_value = "", hide_default_value = true, value_name = "KEY=VALUE,...")]
        prefer_leader: String,
    },
    /// Change a keyspace while it is in use: replicas, require, spread-by and prefer-leader. Partitions move to where they are to be by
    /// themselves. Nothing behind the = removes a rule.
    Set {
        /// Its name.
        name: String,
        /// New values.
        #[arg(required = true, value_name = "SETTING=VALUE", value_parser = setting)]
        values: Vec<SetKeyspace>,
    },
    /// Delete a keyspace that no app uses and in which no data is kept.
    Delete {
        /// Its name.
        name: String,
        /// Do not ask.
        #[arg(short, long)]
        yes: bool,
    },
}

fn setting(text: &str) -> Result<SetKeyspace, String> {
    let wrong = "write it as SETTING=VALUE, such as replicas=5; the settings are replicas, require, spread-by and prefer-leader";
    let (name, value) = text.split_once('=').ok_or(wrong)?;
    let mut set = SetKeyspace::default();
    let text = || Some(value.to_owned());
    match name {
        "replicas" => set.replicas = Some(value.parse().map_err(|_| format!("'{value}' is not a number of replicas"))?),
        "require" => set.require = text(),
        "spread-by" => set.spread_by = text(),
        "prefer-leader" => set.prefer_leader = text(),
        _ => return Err(wrong.to_owned()),
    }
    Ok(set)
}

fn path(name: &str) -> Result<String, VerbError> {
    Ok(format!("/v1/keyspaces/{}", path_segment(name)?))
}

fn body(value: &impl serde::Serialize) -> Result<Vec<u8>, VerbError> {
    serde_json::to_vec(value).map_err(|error| VerbError::Local(error.to_string()))
}

impl Keyspace {
    pub(super) async fn run(&self, client: &Client, output: &mut Output) -> Result<(), VerbError> {
        match &self.verb {
            Verb::List => {
                let all: Vec<KeyspaceStatus> = client.get("/v1/keyspaces").await?;
                match output.format() {
                    Format::Json | Format::Yaml => output.value(&all)?,
                    Format::Table => output.table(
                        ["KEYSPACE", "PARTITIONS", "REPLICAS", "REQUIRE", "SPREAD BY", "PREFER LEADER", "MOVING"],
                        &all.iter().map(row).collect::<Vec<_>>(),
                    )?,
                }
                Ok(())
            }
            Verb::Show { name } => show(&client.get(&path(name)?).await?, output),
            Verb::Create { name, partitions, replicas, require, spread_by, prefer_leader } => {
                let request = CreateKeyspace {
                    name: name.clone(),
                    partitions: *partitions,
                    replicas: *replicas,
                    require: require.clone(),
                    spread_by: spread_by.clone(),
                    prefer_leader: prefer_leader.clone(),
                };
                show(&client.post("/v1/keyspaces", body(&request)?).await?, output)
            }
            Verb::Set { name, values } => {
                let merge = |all: SetKeyspace, one: &SetKeyspace| SetKeyspace {
                    replicas: one.replicas.or(all.replicas),
                    require: one.require.clone().or(all.require),
                    spread_by: one.spread_by.clone().or(all.spread_by),
                    prefer_leader: one.prefer_leader.clone().or(all.prefer_leader),
                };
                let request = values.iter().fold(SetKeyspace::default(), merge);
                show(&client.patch(&path(name)?, body(&request)?).await?, output)
            }
            Verb::Delete { name, yes } => {
                if !yes {
                    let found: KeyspaceDetail = client.get(&path(name)?).await?;
                    let what = |to: &mut dyn Write| {
                        writeln!(to, "Keyspace {name} with {} partitions is deleted.", found.summary.partitions)
                    };
                    confirm(what, "Delete it?", "nothing was deleted")?;
                }
                let answer: serde_json::Value = client.delete(&path(name)?).await?;
                match output.format() {
                    Format::Json | Format::Yaml => output.value(&answer)?,
                    Format::Table => output.line(&format!("keyspace {name} is deleted"))?,
                }
                Ok(())
            }
        }
    }
}

fn or_dash(text: &str) -> String {
    if text.is_empty() { "-".to_owned() } else { text.to_owned() }
}

fn row(keyspace: &KeyspaceStatus) -> [String; 7] {
    [
        keyspace.name.clone(),
        keyspace.partitions.to_string(),
        keyspace.replication.to_string(),
        or_dash(&keyspace.require),
        or_dash(&keyspace.spread_by),
        or_dash(&keyspace.prefer_leader),
        keyspace.moving.to_string(),
    ]
}

fn show(detail: &KeyspaceDetail, output: &mut Output) -> Result<(), VerbError> {
    if output.format() != Format::Table {
        return Ok(output.value(detail)?);
    }
    let KeyspaceDetail { summary, apps, kept, nodes, outside } = detail;
    let listed = |all: &[String]| or_dash(&all.join(" "));
    let ids = |all: &[recoil_base::NodeId]| listed(&all.iter().map(ToString::to_string).collect::<Vec<_>>());
    let (all, led, moving) = (summary.partitions, summary.leaders_present, summary.moving);
    output.line(&format!("Keyspace {}", summary.name))?;
    output.line(&format!("  partitions     {all} ({led} with a leader, {moving} moving)"))?;
    output.line(&format!("  replicas       {}", summary.replication))?;
    output.line(&format!("  require        {}", or_dash(&summary.require)))?;
    output.line(&format!("  spread-by      {}", or_dash(&summary.spread_by)))?;
    output.line(&format!("  prefer-leader  {}", or_dash(&summary.prefer_leader)))?;
    output.line(&format!("  nodes          {}", ids(nodes)))?;
    output.line(&format!("  apps           {}", listed(apps)))?;
    if !kept.is_empty() {
        output.line(&format!("  kept data of   {}", listed(kept)))?;
    }
    if !outside.is_empty() {
        output.line(&format!("  moves away from {}, which the rule forbids", ids(outside)))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Fails if a setting is read as another, or what is none is taken.
    #[test]
    fn settings_of_a_keyspace_are_read_by_their_names() {
        assert_eq!(setting("replicas=5"), Ok(SetKeyspace { replicas: Some(5), ..SetKeyspace::default() }));
        let require = Some("region=eu,zone=a".to_owned());
        assert_eq!(setting("require=region=eu,zone=a"), Ok(SetKeyspace { require, ..SetKeyspace::default() }));
        let none = Some(String::new());
        assert_eq!(setting("prefer-leader="), Ok(SetKeyspace { prefer_leader: none, ..SetKeyspace::default() }));
        for wrong in ["", "replicas", "replicas=many", "replicas=-1", "partitions=3", "name=b"] {
            assert!(setting(wrong).is_err(), "{wrong}");
        }
    }
}
