//! `recoilctl inspect`.

use recoil_gateway::api::{AppDetail, AppState};
use recoil_package::{Instances, Manifest};

use super::uninstall::path_segment;
use super::{Format, Output, VerbError};
use crate::client::Client;

#[derive(Debug, clap::Args)]
pub(super) struct Inspect {
    /// The app.
    name: String,
}

impl Inspect {
    pub(super) async fn run(&self, client: &Client, output: &mut Output) -> Result<(), VerbError> {
        let detail: AppDetail = client.get(&format!("/v1/apps/{}", path_segment(&self.name)?)).await?;
        match output.format() {
            Format::Json | Format::Yaml => output.value(&detail)?,
            Format::Table => print(&detail, output)?,
        }
        Ok(())
    }
}

/// The word for a state.
pub(super) fn state(state: AppState) -> &'static str {
    match state {
        AppState::Installing => "installing",
        AppState::Serving => "serving",
        AppState::Failed => "failed",
        AppState::Kept => "data kept",
    }
}

fn permissions(manifest: &Manifest) -> String {
    let names: Vec<&str> = manifest.permissions.iter().map(|permission| permission.name()).collect();
    names.join(", ")
}

fn instances(manifest: &Manifest) -> &'static str {
    match manifest.instances {
        Instances::PerPartition => "one for each partition",
        Instances::Shared => "shared by all partitions of a node",
    }
}

fn print(detail: &AppDetail, output: &mut Output) -> std::io::Result<()> {
    let AppDetail { summary, roles, limits, settings, manifest, on_nodes } = detail;
    let mut facts = vec![
        ["name", summary.name.as_str()].map(str::to_owned),
        ["version", summary.version.as_str()].map(str::to_owned),
        ["digest".to_owned(), summary.digest.to_string()],
        ["state", state(summary.state)].map(str::to_owned),
        ["description", manifest.description.as_str()].map(str::to_owned),
        ["license", manifest.license.as_str()].map(str::to_owned),
        ["roles".to_owned(), roles.join(", ")],
        ["permissions".to_owned(), permissions(manifest)],
        ["handler instances", instances(manifest)].map(str::to_owned),
    ];
    for listener in &summary.listeners {
        facts.push([format!("listener {}", listener.name), listener.addresses.join(" ")]);
    }
    output.table(["WHAT", "VALUE"], &facts)?;
    output.line("")?;
    if !manifest.settings.is_empty() {
        let rows: Vec<_> = manifest
            .settings
            .iter()
            .map(|setting| {
                let value = settings.get(&setting.name).unwrap_or(&setting.default);
                let (kind, default) = (setting.default.kind().to_owned(), setting.default.to_string());
                [setting.name.clone(), value.to_string(), kind, default, setting.description.clone()]
            })
            .collect();
        output.table(["SETTING", "VALUE", "TYPE", "DEFAULT", "WHAT"], &rows)?;
        output.line("")?;
    }
    let limits: Vec<_> = limits
        .iter()
        .map(|limit| {
            let most = if limit.most == limit.default { "fixed".to_owned() } else { limit.most.to_string() };
            [limit.name.clone(), limit.value.to_string(), most, limit.what.clone(), limit.above.clone()]
        })
        .collect();
    output.table(["LIMIT", "VALUE", "MOST", "WHAT", "ABOVE IT"], &limits)?;
    output.line("")?;
    let rows: Vec<_> = on_nodes
        .iter()
        .map(|on| {
            [on.node.to_string(), if on.ready { "yes" } else { "no" }.to_owned(), on.error.clone().unwrap_or_default()]
        })
        .collect();
    output.table(["NODE", "READY", "ERROR"], &rows)
}
