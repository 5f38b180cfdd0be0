//! `recoilctl dev`: edit, save, look.
//!
//! At every change of the package's sources it is built and installed in place of what was there, with the same data and settings. What is
//! a change, `watch` decides; a build begins once the sources have stayed the same for a moment.

mod watch;

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use recoil_gateway::api::{AppState, AppSummary, Health, PackageSummary};

use super::install::{Wishes, install};
use tokio::signal::unix::{SignalKind, signal};

use self::watch::{Sources, Watch, changes, with_locks};
use super::make::{self, Built};
use super::sources::local;
use super::{Output, VerbError};
use crate::client::{Client, ClientError};
use crate::say::complain;

const LOOK_EVERY: Duration = Duration::from_millis(300);
/// How long a cluster that was started may take until it serves.
const START_TIMEOUT: Duration = Duration::from_secs(60);
/// After a change, the sources are looked at so often until they stay the same: one edit may be many writes.
const SETTLE_EVERY: Duration = Duration::from_millis(100);
/// What changes for longer is built as it is.
const SETTLE_LOOKS_MAX: usize = 50;

#[derive(Debug, clap::Args)]
#[command(after_help = "\
A build that fails leaves what is installed as it is. Data are kept from one build to the next, and so are settings: what `recoilctl set`
changes in between stays, unless the manifest no longer has such a setting. `--set` counts for the first installation of a run. The app stays
installed when this ends, unless the cluster was started for it and ends with it.

Every file in the package's folder is watched, also behind links, but for hidden ones, `target`, `dist` and `*.wasm` in the folder itself, and
`node_modules` and `__pycache__` anywhere.

Examples:
  recoilctl new greeter && cd greeter && recoilctl dev
  recoilctl --server 127.0.0.1:7401 dev --name hello --listen http=7000
  recoilctl set greeter greeting=hi          # meanwhile, in another terminal")]
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
        let mut looks = Looks { folder: self.path.clone(), watch: Some(Watch::new(&self.path)), component: None };
        // What was built last; and whether it was installed as the command line wishes.
        let (mut built, mut has_wishes): (Option<Sources>, bool) = (None, true);
        loop {
            let mut now = looks.look().await?;
            if built.as_ref() != Some(&now) {
                now = looks.settled(now).await?;
            }
            if built.as_ref() != Some(&now) {
                if let Some(before) = &built {
                    complain(format!("Changed: {}", changes(before, &now)));
                }
                if let Err(error) = self.round(client, output, &mut has_wishes).await {
                    match error {
                        VerbError::Client(ClientError::Unreachable { .. }) | VerbError::Print(_) => return Err(error),
                        error => complain(format!("recoilctl: {error}")),
                    }
                }
                built = Some(with_locks(now, &looks.look().await?));
                complain(format!("Waiting for a change in {}; Ctrl-C ends", self.path.display()));
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// Builds, and installs what came out, unless it is installed already as the command line wishes.
    async fn round(&self, client: &Client, output: &mut Output, has_wishes: &mut bool) -> Result<(), VerbError> {
        let path = self.path.clone();
        let built = recoil_base::task::spawn_blocking(move || make::build(&path)).await;
        let Built { archive, manifest, .. } = built.map_err(local)??;
        let mut app = self.app.clone();
        if !*has_wishes {
            // What was set since then is newer.
            app.set.clear();
        }
        let name = app.name.as_deref().unwrap_or(&manifest.name);
        let apps: Vec<AppSummary> = client.get("/v1/apps").await?;
        let installed = apps.iter().find(|app| app.name == name && app.state != AppState::Kept);
        if let Some(installed) = installed {
            let is_same = installed.digest.to_string() == recoil_package::digest(&archive);
            if is_same && installed.state == AppState::Serving && !(*has_wishes && app.has_any()) {
                complain(format!("{name} is the same as before"));
                *has_wishes = false;
                return Ok(());
            }
            let _: serde_json::Value = client.delete(&format!("/v1/apps/{name}?keep-data=true")).await?;
        }
        // Not before: the cluster lets a package go with its last app.
        let package: PackageSummary = client.post("/v1/packages", archive).await?;
        install(client, &package, &app, output).await?;
        *has_wishes = false;
        Ok(())
    }
}

/// The sources of a package, as they are from one moment to the next.
struct Looks {
    folder: PathBuf,
    /// None while it looks.
    watch: Option<Watch>,
    /// What the manifest, when it could be read last, said that the build makes.
    component: Option<PathBuf>,
}

impl Looks {
    async fn look(&mut self) -> Result<Sources, VerbError> {
        if let Ok((_, steps)) = make::read(&self.folder) {
            self.component = Some(steps.component.into());
        }
        let mut watch = self.watch.take().unwrap_or_else(|| Watch::new(&self.folder));
        let component = self.component.clone();
        let looked = recoil_base::task::spawn_blocking(move || (watch.look(component.as_deref()), watch)).await;
        let (sources, watch) = looked.map_err(local)?;
        self.watch = Some(watch);
        Ok(sources)
    }

    /// The sources once two looks at them are the same.
    async fn settled(&mut self, mut last: Sources) -> Result<Sources, VerbError> {
        for _ in 0..SETTLE_LOOKS_MAX {
            tokio::time::sleep(SETTLE_EVERY).await;
            let now = self.look().await?;
            if now == last {
                break;
            }
            last = now;
        }
        Ok(last)
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
    complain(format!("No node answers at {}: starting three, whose data goes with them", client.server()));
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
