//! `recoilctl registry`.

use std::time::Duration;

use clap::Subcommand;
use recoil_gateway::api::{CollectReply, CollectRequest};
use serde::{Deserialize, Serialize};

use super::sources::{self, local};
use super::{Format, Output, VerbError};
use crate::client::Client;

#[derive(Debug, clap::Args)]
pub(super) struct Registry {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Show where packages are looked for, in this order. The file that lists registries beside the cluster's own is
    /// ~/.config/recoil/registries.toml, or what RECOIL_REGISTRIES names.
    #[command(after_help = "\
The file:
  [[registry]]
  address = \"registry.example\"     # over TLS; only localhost is spoken to without
  prefix = \"teams/recoil\"          # if names there stand below something
  namespaces = [\"acme\"]            # if only these are looked for there")]
    List,
    /// Show the packages in the cluster's own registry.
    Packages,
    /// Remove what nothing refers to any more from the cluster's own registry. It happens by itself every hour.
    Collect {
        /// Keep what has been unneeded for less: 24h, 30m, 0s. A push under way needs its blobs until its manifest comes.
        #[arg(long, default_value = "24h", value_parser = duration)]
        kept: Duration,
    },
}

fn duration(text: &str) -> Result<Duration, String> {
    let wrong = || "write it as 24h, 30m or 90s".to_owned();
    let (number, unit) = text.split_at_checked(text.len().saturating_sub(1)).ok_or_else(wrong)?;
    let number: u64 = number.parse().map_err(|_| wrong())?;
    let seconds = match unit {
        "h" => number.checked_mul(3600),
        "m" => number.checked_mul(60),
        "s" => Some(number),
        _ => None,
    };
    seconds.map(Duration::from_secs).ok_or_else(wrong)
}

#[derive(Deserialize)]
struct Catalog {
    repositories: Vec<String>,
}

#[derive(Deserialize)]
struct Tags {
    tags: Vec<String>,
}

#[derive(Serialize)]
struct Package {
    name: String,
    versions: Vec<String>,
}

impl Registry {
    pub(super) async fn run(&self, client: &Client, output: &mut Output) -> Result<(), VerbError> {
        match &self.verb {
            Verb::List => list(client, output),
            Verb::Packages => packages(client, output).await,
            Verb::Collect { kept } => collect(client, output, *kept).await,
        }
    }
}

fn list(client: &Client, output: &mut Output) -> Result<(), VerbError> {
    let sources = sources::read()?;
    match output.format() {
        Format::Json | Format::Yaml => {
            let cluster = serde_json::json!({ "address": client.server(), "cluster": true });
            let others = sources.iter().map(serde_json::to_value).collect::<Result<Vec<_>, _>>().map_err(local)?;
            output.value(&[vec![cluster], others].concat())?;
        }
        Format::Table => {
            let any = || "all".to_owned();
            let mut rows = vec![[format!("{} (the cluster's own)", client.server()), "-".to_owned(), any()]];
            for source in sources {
                let prefix = source.prefix.map_or("-".to_owned(), String::from);
                let namespaces = if source.namespaces.is_empty() { any() } else { source.namespaces.join(", ") };
                rows.push([source.address, prefix, namespaces]);
            }
            output.table(["REGISTRY", "PREFIX", "NAMESPACES"], &rows)?;
            output.line("A name without a namespace is looked for in `recoil`, where the packages are that come with the nodes.")?;
            if let Some(file) = sources::file() {
                output.line(&format!("More registries: {}", file.display()))?;
            }
        }
    }
    Ok(())
}

async fn packages(client: &Client, output: &mut Output) -> Result<(), VerbError> {
    let mut names: Vec<String> = Vec::new();
    loop {
        let after = names.last().map_or(String::new(), |last| format!("&last={last}"));
        let page: Catalog = client.get(&format!("/v2/_catalog?n=1000{after}")).await?;
        if page.repositories.is_empty() {
            break;
        }
        names.extend(page.repositories);
    }
    let mut packages = Vec::new();
    for name in names {
        let tags: Tags = client.get(&format!("/v2/{name}/tags/list")).await?;
        packages.push(Package { name, versions: tags.tags });
    }
    match output.format() {
        Format::Json | Format::Yaml => output.value(&packages)?,
        Format::Table => {
            let rows: Vec<_> =
                packages.into_iter().map(|package| [package.name, package.versions.join(", ")]).collect();
            output.table(["PACKAGE", "VERSIONS"], &rows)?;
        }
    }
    Ok(())
}

async fn collect(client: &Client, output: &mut Output, kept: Duration) -> Result<(), VerbError> {
    let request = CollectRequest { kept_seconds: kept.as_secs() };
    let reply: CollectReply = client.post("/v1/registry/collect", serde_json::to_vec(&request).map_err(local)?).await?;
    match output.format() {
        Format::Json | Format::Yaml => output.value(&reply)?,
        Format::Table => output.line(&format!(
            "{} blobs and uploads with {} bytes are removed, and {} links to blobs that no manifest needed",
            reply.contents, reply.bytes, reply.links
        ))?,
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_numbers_with_a_unit() {
        assert_eq!(duration("24h"), Ok(Duration::from_secs(86_400)));
        assert_eq!((duration("5m"), duration("0s")), (Ok(Duration::from_secs(300)), Ok(Duration::ZERO)));
        for wrong in ["", "h", "5", "5d", "-1s", "18446744073709551615h", "5é"] {
            assert!(duration(wrong).is_err(), "{wrong}");
        }
    }
}
