//! `recoilctl install`.

use std::path::Path;

use recoil_gateway::api::{AppDetail, AppState, AppSummary, InstallRequest, PackageSummary};

use super::{Format, Output, VerbError};
use crate::client::Client;

#[derive(Debug, clap::Args)]
pub(super) struct Install {
    /// A package that comes with the nodes (`redis-server`), or a package file (`./mine.wasm`).
    #[arg(value_name = "NAME|FILE")]
    package: String,
}

impl Install {
    pub(super) async fn run(&self, client: &Client, output: &mut Output) -> Result<(), VerbError> {
        let request = if is_file(&self.package) {
            upload(client, &self.package).await?
        } else {
            InstallRequest::Name(self.package.clone())
        };
        let body = serde_json::to_vec(&request).map_err(|error| VerbError::Local(error.to_string()))?;
        let app: AppSummary = client.post("/v1/apps", body).await?;
        if app.state != AppState::Serving {
            return Err(VerbError::Local(why_not(client, &app).await));
        }
        match output.format() {
            Format::Json => output.json(&app)?,
            Format::Table => {
                output.line(&format!(
                    "{} {} is serving on {} of {} nodes",
                    app.name, app.version, app.nodes_ready, app.nodes
                ))?;
                for listener in &app.listeners {
                    for address in &listener.addresses {
                        output.line(&format!("  {}  {address}", listener.name))?;
                    }
                }
            }
        }
        Ok(())
    }
}

/// Names have neither slashes nor dots, so that nothing is guessed.
fn is_file(package: &str) -> bool {
    package.contains(['/', '.'])
}

async fn upload(client: &Client, path: &str) -> Result<InstallRequest, VerbError> {
    let cannot = |why: String| VerbError::Local(format!("cannot install {path}: {why}"));
    let size = tokio::fs::metadata(Path::new(path)).await.map_err(|error| cannot(error.to_string()))?.len();
    if size > recoil_package::ARCHIVE_BYTES_MAX as u64 {
        return Err(cannot(format!(
            "it has {size} bytes, and a package may have {}",
            recoil_package::ARCHIVE_BYTES_MAX
        )));
    }
    let archive = tokio::fs::read(path).await.map_err(|error| cannot(error.to_string()))?;
    // The node checks it too; here the answer comes before 64 MiB were sent.
    recoil_package::read(&archive).map_err(|error| cannot(error.to_string()))?;
    let stored: PackageSummary = client.post("/v1/packages", archive).await?;
    Ok(InstallRequest::Digest(stored.digest))
}

async fn why_not(client: &Client, app: &AppSummary) -> String {
    let mut text =
        format!("{} {} is not serving: {} of {} nodes are ready", app.name, app.version, app.nodes_ready, app.nodes);
    if let Ok(detail) = client.get::<AppDetail>(&format!("/v1/apps/{}", app.name)).await {
        for on_node in detail.on_nodes {
            if let Some(error) = on_node.error {
                text.push_str(&format!("\n  node {}: {error}", on_node.node));
            }
        }
    }
    text.push_str(&format!("\nSee `recoilctl inspect {0}` and `recoilctl logs {0}`", app.name));
    text
}
