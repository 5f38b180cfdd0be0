//! The simulator's nodes: where they live, how they start, and which of them are running.
//!
//! Node k has the folder `node-k`. What the nodes share is what a process has once: the runtime, the evaluation threads and
//! the compiled code. Everything else is a node's own, so that killing one is what a crash would be.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, bail, ensure};
use recoil_base::{NodeId, Shutdown, Tasks};
use recoil_gateway::api::{AppState, AppSummary, Status};
use recoil_node::{Node, NodeOptions, Shared, SharedOptions};
use tempfile::TempDir;
use tokio::sync::mpsc;

use super::Arguments;
use super::ready_file::{self, Ready, ReadyApp, ReadyNode};
use crate::process::{hosting_sentence, node_packages};
use crate::say::{complain, say};

/// A node's place: it stays when the node is killed.
struct Slot {
    data_dir: PathBuf,
    node: Option<Running>,
}

/// A node that cannot go on, and why.
type Failed = (usize, String);

struct Running {
    node: Arc<Node>,
    watch: Tasks,
}

impl Running {
    /// The node itself, once nobody else looks at it.
    async fn unwatched(self) -> anyhow::Result<Node> {
        self.watch.stop().await;
        Arc::into_inner(self.node).context("the node is still being asked something")
    }
}

/// All nodes.
pub(super) struct Cluster {
    slots: Vec<Slot>,
    shared: Arc<Shared>,
    scheduler: Option<PathBuf>,
    partitions: u32,
    base_port: u16,
    port_offset: u16,
    data_dir: PathBuf,
    /// Removed with its content when dropped.
    temporary: Option<TempDir>,
    failures: (mpsc::Sender<Failed>, mpsc::Receiver<Failed>),
    announcements: Vec<String>,
}

impl Cluster {
    /// Folders and what is shared; nothing runs yet.
    pub(super) fn prepare(arguments: &Arguments) -> anyhow::Result<Self> {
        let count = arguments.number_of_nodes;
        ensure!(
            arguments.base_port.checked_add(count - 1).is_some(),
            "--base-port {} leaves no ports for {count} nodes: choose {} at most",
            arguments.base_port,
            65_536 - u32::from(count)
        );
        if let Some(path) = &arguments.ready_file {
            ready_file::remove_stale(path)?;
        }
        let (data_dir, temporary) = match &arguments.data_dir {
            Some(folder) => (folder.clone(), None),
            None => {
                let folder = TempDir::with_prefix("recoil-")
                    .context("cannot make a temporary folder; name one with --data-dir")?;
                (folder.path().to_owned(), Some(folder))
            }
        };
        std::fs::create_dir_all(&data_dir)
            .with_context(|| format!("cannot make the data folder {}", data_dir.display()))?;
        let data_dir =
            data_dir.canonicalize().with_context(|| format!("cannot find the data folder {}", data_dir.display()))?;
        check_count(&data_dir, count)?;
        let shared =
            Shared::new(SharedOptions { code_cache: Some(data_dir.join("code")), ..SharedOptions::default() })?;
        let slots: Vec<Slot> =
            (0..count).map(|k| Slot { data_dir: data_dir.join(format!("node-{k}")), node: None }).collect();
        // All at once, so that a start that fails at its second node does not leave what looks like a cluster of one.
        for slot in &slots {
            std::fs::create_dir_all(&slot.data_dir)
                .with_context(|| format!("cannot make the node's folder {}", slot.data_dir.display()))?;
        }
        Ok(Cluster {
            slots,
            shared,
            scheduler: arguments.scheduler.clone(),
            partitions: arguments.partitions,
            base_port: arguments.base_port,
            port_offset: arguments.port_offset,
            data_dir,
            temporary,
            failures: mpsc::channel(16),
            announcements: Vec::new(),
        })
    }

    /// Start all nodes and print each one's sentence once it hosts partitions.
    pub(super) async fn start(&mut self) -> anyhow::Result<()> {
        for k in 0..self.slots.len() {
            self.start_node(k).await?;
        }
        for k in 0..self.slots.len() {
            self.say_hosting(k).await?;
        }
        Ok(())
    }

    async fn start_node(&mut self, k: usize) -> anyhow::Result<()> {
        let address = |k: usize| SocketAddr::from((Ipv4Addr::LOCALHOST, self.base_port + k as u16));
        let options = NodeOptions {
            join: (k > 0).then(|| address(0).into()).into_iter().collect(),
            // Its nodes are all in this process: nobody else can be a member of their cluster.
            new_cluster: k == 0,
            expect: self.slots.len() as u32,
            partitions: self.partitions,
            port_offset: self.port_offset.checked_add(k as u16).context("--port-offset is too large")?,
            packages: node_packages(),
            scheduler: self.scheduler.clone(),
            ..NodeOptions::new(self.slots[k].data_dir.clone(), address(k), self.shared.clone())
        };
        let node = Node::start(options, Shutdown::new()).await.with_context(|| format!("cannot start node {k}"))?;
        let node = Arc::new(node);
        let watch = Tasks::default();
        let (watched, report) = (node.clone(), self.failures.0.clone());
        watch.spawn(async move {
            let why = watched.failed().await;
            let _ = report.send((k, why)).await;
        });
        self.slots[k].node = Some(Running { node, watch });
        Ok(())
    }

    async fn say_hosting(&mut self, k: usize) -> anyhow::Result<()> {
        let node = self.node(k)?;
        let hosting = tokio::select! {
            hosting = node.wait_hosting() => hosting,
            failed = self.failures.1.recv() => bail!(failure(failed)),
        };
        say(hosting_sentence(node.id(), &hosting));
        Ok(())
    }

    /// Install a package, and remember to say where it listens.
    pub(super) async fn install(&mut self, name: &str) -> anyhow::Result<()> {
        let node = self.any()?;
        let app = tokio::select! {
            app = node.install(name) => app.with_context(|| format!("cannot install {name}"))?,
            failed = self.failures.1.recv() => bail!(failure(failed)),
        };
        ensure!(
            app.state == AppState::Serving,
            "{name} is installed and does not serve: see `recoilctl inspect {name}`"
        );
        self.announcements.push(listening(&app));
        Ok(())
    }

    /// Every partition has a leader and `apps` serve.
    pub(super) async fn wait_ready(&mut self, apps: &[String]) -> anyhow::Result<()> {
        for k in 0..self.slots.len() {
            let node = self.node(k)?;
            tokio::select! {
                ready = node.wait_ready(apps) => ready?,
                failed = self.failures.1.recv() => bail!(failure(failed)),
            }
        }
        Ok(())
    }

    /// What the ready file says.
    pub(super) async fn ready(&self, apps: &[String]) -> anyhow::Result<Ready> {
        let status = self.status()?;
        let nodes = self.slots.iter().filter_map(|slot| {
            let node = &slot.node.as_ref()?.node;
            Some(ReadyNode { id: node.id(), admin: node.address().to_string(), data_dir: slot.data_dir.clone() })
        });
        let apps = status.apps.into_iter().filter(|app| apps.contains(&app.name)).map(|app| ReadyApp {
            addresses: app.listeners.iter().flat_map(|listener| listener.addresses.clone()).collect(),
            name: app.name,
        });
        Ok(Ready { pid: std::process::id(), nodes: nodes.collect(), apps: apps.collect() })
    }

    /// How to reach what runs, and how to stop it.
    pub(super) fn announce(&self) {
        let admin: Vec<String> =
            (0..self.slots.len()).map(|k| format!("127.0.0.1:{}", usize::from(self.base_port) + k)).collect();
        say(format!("Admin API: {}", admin.join(" ")));
        let kept = if self.temporary.is_some() { "removed at the end; --data-dir keeps it" } else { "kept" };
        say(format!("Data folder: {} ({kept})", self.data_dir.display()));
        for line in &self.announcements {
            say(line);
        }
        complain("Ctrl-C stops");
    }

    /// How many nodes there are, running or not.
    pub(super) fn count(&self) -> usize {
        self.slots.len()
    }

    /// The status as the first running node sees it.
    pub(super) fn status(&self) -> anyhow::Result<Status> {
        Ok(self.any()?.status())
    }

    /// Drop a node as a crash would: nothing is flushed, nobody is told.
    pub(super) async fn kill(&mut self, k: usize) -> anyhow::Result<NodeId> {
        let slot = self.slots.get_mut(k).with_context(|| format!("there is no node {k}"))?;
        let running = slot.node.take().with_context(|| format!("node {k} is not running: `restart {k}` starts it"))?;
        let node = running.unwatched().await?;
        let id = node.id();
        node.kill().await;
        Ok(id)
    }

    /// Start a node that was killed or has failed.
    pub(super) async fn restart(&mut self, k: usize) -> anyhow::Result<()> {
        let slot = self.slots.get(k).with_context(|| format!("there is no node {k}"))?;
        ensure!(slot.node.is_none(), "node {k} is running: `kill {k}` first");
        self.start_node(k).await?;
        self.say_hosting(k).await
    }

    /// The next node that cannot go on; it is taken out.
    pub(super) async fn next_failure(&mut self) -> String {
        let Some((k, why)) = self.failures.1.recv().await else {
            return std::future::pending().await; // we hold a sender ourselves
        };
        let text = failure(Some((k, why)));
        let _ = self.kill(k).await;
        text
    }

    /// Print failures; returns when no node is left.
    pub(super) async fn report_failures(&mut self) -> anyhow::Result<()> {
        loop {
            let why = self.next_failure().await;
            complain(format!("recoil_simulator: {why}"));
            ensure!(self.slots.iter().any(|slot| slot.node.is_some()), "no node is left");
        }
    }

    /// Stop all nodes in order and remove what is temporary.
    pub(super) async fn stop(self) {
        for running in self.slots.into_iter().filter_map(|slot| slot.node) {
            if let Ok(node) = running.unwatched().await {
                node.stop().await;
            }
        }
        drop(self.shared);
        if let Some(Err(error)) = self.temporary.map(TempDir::close) {
            complain(format!(
                "recoil_simulator: the temporary folder {} could not be removed: {error}",
                self.data_dir.display()
            ));
        }
    }

    fn node(&self, k: usize) -> anyhow::Result<Arc<Node>> {
        let running = self.slots.get(k).and_then(|slot| slot.node.as_ref());
        Ok(running.with_context(|| format!("node {k} is not running"))?.node.clone())
    }

    fn any(&self) -> anyhow::Result<Arc<Node>> {
        let running = self.slots.iter().find_map(|slot| slot.node.as_ref());
        Ok(running.context("no node is running: `restart N` starts one")?.node.clone())
    }
}

fn failure(failed: Option<Failed>) -> String {
    failed.map_or("a node failed".to_owned(), |(k, why)| format!("node {k} cannot go on: {why}"))
}

fn listening(app: &AppSummary) -> String {
    let addresses: Vec<&str> =
        app.listeners.iter().flat_map(|listener| listener.addresses.iter().map(String::as_str)).collect();
    format!("{} {} serves at {}", app.name, app.version, addresses.join(" "))
}

/// A cluster goes on with the nodes it was made with: with fewer, groups would lack their quorum, and further ones would
/// hold nothing.
fn check_count(data_dir: &Path, count: u16) -> anyhow::Result<()> {
    let existing = (0..).take_while(|k| data_dir.join(format!("node-{k}")).is_dir()).count();
    ensure!(
        existing == 0 || existing == usize::from(count),
        "{} holds a cluster of {existing} nodes: use --number-of-nodes={existing}, or another folder",
        data_dir.display()
    );
    Ok(())
}
