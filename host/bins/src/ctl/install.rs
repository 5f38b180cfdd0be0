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
    /// The app's name, if it is not to be the package's. A package can be installed many times, each with data of its own.
    #[arg(long)]
    name: Option<String>,
    /// Another port for one of the package's listeners; the nodes' offset is added to it. May be repeated.
    #[arg(long, value_name = "LISTENER=PORT", value_parser = listener_port)]
    listen: Vec<(String, u16)>,
    /// The value of a setting, if it is not to be the manifest's default. May be repeated.
    #[arg(long, value_name = "SETTING=VALUE", value_parser = super::set::setting)]
    set: Vec<(String, String)>,
}

fn listener_port(text: &str) -> Result<(String, u16), String> {
    let (listener, port) = text.split_once('=').ok_or("write it as LISTENER=PORT, such as http=7000")?;
    let port = port.parse().ok().filter(|port| *port > 0).ok_or("a port is a number from 1 to 65535")?;
    Ok((listener.to_owned(), port))
}

impl Install {
    pub(super) async fn run(&self, client: &Client, output: &mut Output) -> Result<(), VerbError> {
        let request = if is_file(&self.package) {
            upload(client, &self.package).await?
        } else {
            InstallRequest::bundled(&self.package)
        };
        let listen = self.listen.iter().cloned().collect();
        let set = self.set.iter().cloned().collect();
        let request = InstallRequest { app: self.name.clone(), listen, set, ..request };
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
    Ok(InstallRequest { digest: Some(stored.digest), ..Default::default() })
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
