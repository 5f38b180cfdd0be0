//! `recoilctl dev`: edit, save, look.
//!
//! At every change of the package's sources it is built and installed in place of what was there, with the same data. Sources are looked at
//! by their times of change, which works on every file system; what builds write is left out.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, SystemTime};

use recoil_gateway::api::{AppState, AppSummary, Health, PackageSummary};

use super::install::{Wishes, install};
use tokio::signal::unix::{SignalKind, signal};

use super::make::{self, Built};
use super::sources::local;
use super::{Output, VerbError};
use crate::client::{Client, ClientError};

const LOOK_EVERY: Duration = Duration::from_millis(300);
/// How long a cluster that was started may take until it serves.
const START_TIMEOUT: Duration = Duration::from_secs(60);
/// Folders that builds write, and files that are not the author's.
const LEFT_OUT: [&str; 3] = ["target", "node_modules", "dist"];
/// Files and folders looked at.
const FILES_MAX: usize = 10_000;

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  recoilctl new greeter && cd greeter && recoilctl dev
  recoilctl --server 127.0.0.1:7401 dev --name hello --listen http=7000")]
pub(super) struct Dev {
    /// The package's folder.
    #[arg(long, default_value = ".", value_name = "FOLDER")]
    path: PathBuf,
    #[command(flatten)]
    app: Wishes,
}

impl Dev {
    pub(super) async fn run(&self, client: &Client, output: &mut Output) -> Result<(), VerbError> {
        // Not a package: said before a cluster is started for it.
        make::read(&self.path)?;
        let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
        tokio::select! {
            ended = self.follow(client, output) => ended,
            _ = interrupt.recv() => Ok(()),
            _ = terminate.recv() => Ok(()),
        }
    }

    async fn follow(&self, client: &Client, output: &mut Output) -> Result<(), VerbError> {
        let _cluster = cluster(client).await?;
        let mut built = None;
        loop {
            let now = newest(&self.path);
            if built != Some(now) {
                built = Some(now);
                if let Err(error) = self.round(client, output).await {
                    match error {
                        VerbError::Client(ClientError::Unreachable { .. }) | VerbError::Print(_) => return Err(error),
                        error => eprintln!("recoilctl: {error}"),
                    }
                }
                eprintln!("Waiting for a change in {}; Ctrl-C ends", self.path.display());
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// Builds, and installs what came out, unless it is installed already.
    async fn round(&self, client: &Client, output: &mut Output) -> Result<(), VerbError> {
        let path = self.path.clone();
        let built = recoil_base::task::spawn_blocking(move || make::build(&path)).await;
        let Built { archive, manifest, .. } = built.map_err(local)??;
        let name = self.app.name.as_deref().unwrap_or(&manifest.name);
        let apps: Vec<AppSummary> = client.get("/v1/apps").await?;
        let installed = apps.iter().find(|app| app.name == name && app.state != AppState::Kept);
        if let Some(installed) = installed {
            if installed.digest.to_string() == recoil_package::digest(&archive) && installed.state == AppState::Serving
            {
                eprintln!("{name} is the same as before");
                return Ok(());
            }
            let _: serde_json::Value = client.delete(&format!("/v1/apps/{name}?keep-data=true")).await?;
        }
        // Not before: the cluster lets a package go with its last app.
        let package: PackageSummary = client.post("/v1/packages", archive).await?;
        install(client, &package, &self.app, output).await
    }
}

/// The simulator, ended with this.
struct Started(Child);

impl Drop for Started {
    fn drop(&mut self) {
        // The signal that ends it in order; it has no data to lose, and whoever waits is told how it ended.
        if let Some(id) = rustix::process::Pid::from_raw(self.0.id() as i32) {
            let _ = rustix::process::kill_process(id, rustix::process::Signal::TERM);
        }
        let _ = self.0.wait();
    }
}

/// A cluster at the client's address: the one that is there, or one that is started.
async fn cluster(client: &Client) -> Result<Option<Started>, VerbError> {
    match client.get::<Health>("/v1/health").await {
        Err(ClientError::Unreachable { .. }) => {}
        // What it says about itself, the first installation will say, too.
        Ok(_) | Err(_) => return Ok(None),
    }
    let port = client.server().strip_prefix("127.0.0.1:").or_else(|| client.server().strip_prefix("localhost:"));
    let Some(port) = port.and_then(|port| port.parse::<u16>().ok()) else {
        return Err(local(format!(
            "no node answers at {}, and a cluster can be started on 127.0.0.1 only",
            client.server()
        )));
    };
    let simulator = crate::process::under_name("recoil_simulator").map_err(local)?;
    eprintln!("No node answers at {}: starting three, whose data goes with them", client.server());
    let mut command = Command::new(&simulator);
    command.args(["--number-of-nodes=3", &format!("--base-port={port}")]);
    let started = command.stdin(Stdio::null()).stdout(Stdio::null()).spawn();
    let mut started = Started(started.map_err(|error| local(format!("cannot run {}: {error}", simulator.display())))?);
    let ready = async {
        while !client.get::<Health>("/v1/health").await.is_ok_and(|health| health.ready) {
            if let Ok(Some(status)) = started.0.try_wait() {
                return Err(local(format!("the simulator ended ({status}); what is printed above says why")));
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
        Ok(())
    };
    let waited = tokio::time::timeout(START_TIMEOUT, ready).await;
    waited.map_err(|_| local(format!("the simulator does not serve after {} s", START_TIMEOUT.as_secs())))??;
    Ok(Some(started))
}

/// When a source was changed last, and how many there are: one that was removed is a change, too.
fn newest(folder: &Path) -> (Option<SystemTime>, usize) {
    let (mut newest, mut count) = (None, 0);
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).into_iter().flatten().flatten() {
            let (name, path) = (entry.file_name(), entry.path());
            let name = name.to_string_lossy();
            let is_made = name.ends_with(".wasm") || name == "Cargo.lock";
            if name.starts_with('.') || is_made || LEFT_OUT.contains(&&*name) || count >= FILES_MAX {
                continue;
            }
            let Ok(metadata) = entry.metadata() else { continue };
            if metadata.is_dir() {
                folders.push(path);
            } else {
                count += 1;
                newest = newest.max(metadata.modified().ok());
            }
        }
    }
    (newest, count)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_of_sources_are_seen_and_those_of_builds_are_not() {
        let folder = tempfile::tempdir().unwrap();
        let write = |path: &str, text: &str| {
            let path = folder.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        };
        write("src/lib.rs", "1");
        let before = newest(folder.path());
        write("target/x", "2");
        write("a.wasm", "2");
        write(".git/x", "2");
        assert_eq!(newest(folder.path()), before);
        write("src/more.rs", "2");
        let more = newest(folder.path());
        assert_ne!(more, before);
        std::fs::remove_file(folder.path().join("src/more.rs")).unwrap();
        assert_ne!(newest(folder.path()), more);
    }
}
