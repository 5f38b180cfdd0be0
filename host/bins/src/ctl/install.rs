//! `recoilctl install`.

use std::path::PathBuf;

use recoil_gateway::api::{AppDetail, AppState, AppSummary, InstallRequest, PackageSummary};
use recoil_package::Permission;

use super::confirm::confirm;
use super::sources::{Found, Progress, fetch};
use super::{Format, Output, VerbError};
use crate::client::Client;

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  recoilctl install redis-server
  recoilctl install acme/greeter@1.0.0 --name hello --listen http=7000 --set greeting=hi --yes
  recoilctl install oci://registry.example/acme/greeter:1.0.0 --lock recoil.lock

Registries that want to know who asks are told what `docker login` has said. RECOIL_REGISTRY_TOKEN is in its place for the registry that
RECOIL_REGISTRY_TOKEN_HOST names; no other is sent it.")]
pub(super) struct Install {
    /// A package by its name (`redis-server`, `acme/greeter@1.0.0`), in a registry (`oci://registry.example/acme/greeter:1.0.0`), or a
    /// file (`./mine.wasm`). `recoilctl registry list` shows where names are looked for.
    #[arg(value_name = "NAME|FILE")]
    package: String,
    /// Do not ask. Packages that came with the node's program are installed without a question anyway.
    #[arg(short, long)]
    yes: bool,
    /// Remember in this file what each version was, and refuse one that has changed since.
    #[arg(long, value_name = "FILE")]
    lock: Option<PathBuf>,
    #[command(flatten)]
    app: Wishes,
}

/// What an app is to have of its own.
#[derive(Debug, Clone, clap::Args)]
pub(super) struct Wishes {
    /// The app's name, if it is not to be the package's. A package can be installed many times, each with data of its own.
    #[arg(long)]
    pub(super) name: Option<String>,
    /// Another port for one of the package's listeners; the nodes' offset is added to it. May be repeated.
    #[arg(long, value_name = "LISTENER=PORT", value_parser = listener_port)]
    listen: Vec<(String, u16)>,
    /// The value of a setting, if it is not to be the manifest's default. May be repeated.
    #[arg(long, value_name = "SETTING=VALUE", value_parser = super::set::setting)]
    pub(super) set: Vec<(String, String)>,
    /// Grant these permissions and no others, and refuse a package that asks for more; without it, the package gets what it asks for.
    /// May be repeated, or joined by commas.
    #[arg(long, value_name = "PERMISSION", value_delimiter = ',')]
    grant: Option<Vec<Permission>>,
    /// The keyspace for the app's data. The app runs, and listens, only on nodes that the keyspace's rule allows.
    #[arg(long, value_name = "NAME")]
    keyspace: Option<String>,
}

impl Wishes {
    /// True if the app is to differ in anything but its name from what the package says.
    pub(super) fn has_any(&self) -> bool {
        !self.listen.is_empty() || !self.set.is_empty() || self.grant.is_some() || self.keyspace.is_some()
    }
}

fn listener_port(text: &str) -> Result<(String, u16), String> {
    let (listener, port) = text.split_once('=').ok_or("write it as LISTENER=PORT, such as http=7000")?;
    let port = port.parse().ok().filter(|port| *port > 0).ok_or("a port is a number from 1 to 65535")?;
    Ok((listener.to_owned(), port))
}

impl Install {
    pub(super) async fn run(&self, client: &Client, output: &mut Output) -> Result<(), VerbError> {
        let found = fetch(client, &self.package, self.lock.as_deref()).await?;
        // What came with the node's program is trusted as much as the program.
        if !self.yes && !found.package.bundled {
            confirm(|to| show(&found, &self.app.listen, to), "Install it?", "nothing was installed")?;
        }
        install(client, &found.package, &self.app, output).await
    }
}

/// Installs what the node has, and says where it serves.
pub(super) async fn install(
    client: &Client,
    package: &PackageSummary,
    app: &Wishes,
    output: &mut Output,
) -> Result<(), VerbError> {
    let listen = app.listen.iter().cloned().collect();
    let set = app.set.iter().cloned().collect();
    // Never more than the operator was shown.
    let granted = app.grant.as_ref().map(|granted| granted.iter().copied().collect());
    let grant = Some(granted.unwrap_or_else(|| package.manifest.permissions.clone()));
    let (name, keyspace) = (app.name.clone(), app.keyspace.clone());
    let request = InstallRequest { name: None, digest: Some(package.digest), app: name, listen, set, grant, keyspace };
    let body = serde_json::to_vec(&request).map_err(|error| VerbError::Local(error.to_string()))?;
    let progress = Progress::waiting("every node that is to run it compiles it and makes ready");
    let app: AppSummary = client.post("/v1/apps", body).await?;
    drop(progress);
    if app.state != AppState::Serving {
        return Err(VerbError::Local(why_not(client, &app).await));
    }
    match output.format() {
        Format::Json | Format::Yaml => output.value(&app)?,
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
            // The app serves, whether its list of commands can be had or not.
            let commands = super::app::commands(client, &app.name).await.unwrap_or_default();
            if !commands.is_empty() {
                output.line(&format!("Its commands (recoilctl {} --help says more):", app.name))?;
            }
            for [typed, _] in super::app::rows(&app.name, &commands.iter().collect::<Vec<_>>()) {
                output.line(&format!("  {typed}"))?;
            }
        }
    }
    Ok(())
}

/// Shows what is about to be installed.
fn show(found: &Found, listen: &[(String, u16)], output: &mut dyn std::io::Write) -> std::io::Result<()> {
    let manifest = &found.package.manifest;
    writeln!(output, "{} {}  {}", manifest.name, manifest.version, found.package.digest)?;
    if !manifest.description.is_empty() {
        writeln!(output, "  {}", manifest.description)?;
    }
    writeln!(output, "  from       {}", found.from)?;
    writeln!(output, "  publisher  {}", manifest.namespace.as_deref().unwrap_or("not said"))?;
    writeln!(output, "  licence    {}", if manifest.license.is_empty() { "not said" } else { &manifest.license })?;
    for listener in &manifest.listeners {
        let port = listen.iter().find(|(name, _)| *name == listener.name).map_or(listener.port, |(_, port)| *port);
        writeln!(output, "  listens    {} on port {port} of every node, its offset added", listener.name)?;
    }
    for permission in &manifest.permissions {
        writeln!(output, "  may        {} ({permission})", permission.what())?;
    }
    for (limit, value) in &manifest.limits.0 {
        writeln!(output, "  limit      {limit} {value}")?;
    }
    Ok(())
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
