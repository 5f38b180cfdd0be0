//! The simulator's nodes: where they live, how they start, and which of them are running.
//!
//! Node k has the folder `node-k`. What the nodes share is what a process has once: the runtime, the evaluation threads and
//! the compiled code. Everything else is a node's own, so that killing one is what a crash would be.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use recoil_base::{NodeId, Shutdown, Tasks};
use recoil_gateway::api::{AppState, AppSummary, DecommissionReply, Membership, NodeDetail, Status};
use recoil_node::{Locality, Node, NodeOptions, Shared, SharedOptions};
use tempfile::TempDir;
use tokio::sync::mpsc;

use super::Arguments;
use super::ready_file::{self, Ready, ReadyApp, ReadyNode};
use crate::client::Client;
use crate::process::{hosting_sentence, node_packages};
use crate::say::{complain, say};

/// Between two looks at a node that is to go.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// A node's place: it stays when the node is killed.
struct Slot {
    data_dir: PathBuf,
    node: Option<Running>,
    /// Its node was removed from the cluster: the place stays empty.
    removed: bool,
}

impl Slot {
    fn new(data_dir: &Path, k: usize) -> Self {
        let data_dir = data_dir.join(format!("node-{k}"));
        // A node writes it when it learns that it was removed.
        let removed = data_dir.join("REMOVED").exists();
        Slot { data_dir, node: None, removed }
    }
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
    /// Where the first nodes are; those that are added are nowhere in particular.
    places: Vec<Locality>,
    /// Nodes at the beginning.
    expect: u32,
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
        let places = arguments.locality.as_ref().map(|places| places.of_nodes()).unwrap_or_default();
        ensure!(
            places.is_empty() || places.len() == usize::from(count),
            "--locality names places for {} nodes, and --number-of-nodes is {count}: make them equal",
            places.len()
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
        let slots: Vec<Slot> = (0..count).map(|k| Slot::new(&data_dir, k.into())).collect();
        // All at once, so that a start that fails at its second node does not leave what looks like a cluster of one.
        for slot in &slots {
            std::fs::create_dir_all(&slot.data_dir)
                .with_context(|| format!("cannot make the node's folder {}", slot.data_dir.display()))?;
        }
        Ok(Cluster {
            slots,
            shared,
            scheduler: arguments.scheduler.clone(),
            places,
            expect: count.into(),
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
        for k in self.present() {
            self.start_node(k).await?;
        }
        for k in self.present() {
            self.say_hosting(k).await?;
        }
        Ok(())
    }

    /// The nodes that have not been removed.
    fn present(&self) -> Vec<usize> {
        (0..self.slots.len()).filter(|k| !self.slots[*k].removed).collect()
    }

    fn admin(&self, k: usize) -> anyhow::Result<SocketAddr> {
        let port = u16::try_from(k).ok().and_then(|k| self.base_port.checked_add(k));
        Ok(SocketAddr::from((Ipv4Addr::LOCALHOST, port.context("--base-port leaves no port for it")?)))
    }

    async fn start_node(&mut self, k: usize) -> anyhow::Result<()> {
        // A node that runs by now, or at the beginning the first one.
        let seed = (0..self.slots.len()).find(|other| *other != k && self.slots[*other].node.is_some()).unwrap_or(0);
        let options = NodeOptions {
            join: if k == seed { vec![] } else { vec![self.admin(seed)?.into()] },
            // Its nodes are all in this process: nobody else can be a member of their cluster.
            new_cluster: k == 0,
            expect: self.expect,
            partitions: self.partitions,
            port_offset: self.port_offset.checked_add(k as u16).context("--port-offset is too large")?,
            packages: node_packages(),
            scheduler: self.scheduler.clone(),
            locality: self.places.get(k).cloned().unwrap_or_default(),
            ..NodeOptions::new(self.slots[k].data_dir.clone(), self.admin(k)?, self.shared.clone())
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
        for k in self.present() {
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
            self.present().into_iter().map(|k| format!("127.0.0.1:{}", usize::from(self.base_port) + k)).collect();
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
        ensure!(!slot.removed, "node {k} was removed from the cluster: `add` starts another one");
        ensure!(slot.node.is_none(), "node {k} is running: `kill {k}` first");
        self.start_node(k).await?;
        self.say_hosting(k).await
    }

    /// Start a further node, which joins.
    pub(super) async fn add(&mut self) -> anyhow::Result<()> {
        let k = self.slots.len();
        let (listen, seed) = (self.admin(k)?, self.any()?.address());
        let slot = Slot::new(&self.data_dir, k);
        std::fs::create_dir_all(&slot.data_dir)
            .with_context(|| format!("cannot make the node's folder {}", slot.data_dir.display()))?;
        let offset = usize::from(self.port_offset) + k;
        let folder = slot.data_dir.display().to_string();
        self.slots.push(slot);
        if let Err(error) = self.start_node(k).await {
            self.slots.pop();
            return Err(error);
        }
        say(format!(
            "node {k}, as by: recoil start --data-dir {folder} --listen {listen} --join {seed} --port-offset {offset}"
        ));
        say(format!("Admin API: {listen}; the port p of an app is p + {offset} on it"));
        self.say_hosting(k).await
    }

    /// Has a node drained, or undrained, as `verb` says. Returns once that is recorded.
    pub(super) async fn drain(&self, k: usize, verb: &str) -> anyhow::Result<NodeDetail> {
        let id = self.node(k)?.id();
        Ok(self.client()?.post(&format!("/v1/nodes/{id}/{verb}"), "").await?)
    }

    /// Has a node decommissioned, and waits until it is removed.
    pub(super) async fn remove(&mut self, k: usize) -> anyhow::Result<NodeId> {
        let id = self.node(k)?.id();
        let _: DecommissionReply = self.client()?.post(&format!("/v1/nodes/{id}/decommission"), "{}").await?;
        loop {
            // Whoever is asked may be the one that goes.
            let found: Result<NodeDetail, _> = match self.client() {
                Ok(client) => client.get(&format!("/v1/nodes/{id}")).await,
                Err(error) => return Err(error),
            };
            if found.is_ok_and(|found| found.membership == Membership::Removed) {
                break;
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
        self.slots[k].removed = true;
        if let Some(running) = self.slots[k].node.take() {
            running.unwatched().await?.stop().await;
        }
        Ok(id)
    }

    /// Cuts a node off from the others.
    pub(super) fn isolate(&self, k: usize) -> anyhow::Result<NodeId> {
        let node = self.node(k)?;
        node.isolate(true);
        Ok(node.id())
    }

    /// Ends all isolation.
    pub(super) fn heal(&self) {
        for running in self.slots.iter().filter_map(|slot| slot.node.as_ref()) {
            running.node.isolate(false);
        }
    }

    fn client(&self) -> anyhow::Result<Client> {
        Ok(Client::new(&self.any()?.address().to_string()))
    }

    /// The next node that cannot go on; it is taken out.
    pub(super) async fn next_failure(&mut self) -> String {
        let (k, why) = loop {
            match self.failures.1.recv().await {
                Some((k, _)) if self.slots[k].removed => {}
                Some(failed) => break failed,
                None => return std::future::pending().await, // we hold a sender ourselves
            }
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

/// A cluster goes on with the nodes it had, those that were added among them: with fewer, groups would lack their quorum, and further ones
/// are added at the prompt.
fn check_count(data_dir: &Path, count: u16) -> anyhow::Result<()> {
    let existing = (0..).take_while(|k| data_dir.join(format!("node-{k}")).is_dir()).count();
    ensure!(
        existing == 0 || existing == usize::from(count),
        "{} holds a cluster of {existing} nodes: use --number-of-nodes={existing}, or another folder",
        data_dir.display()
    );
    Ok(())
}
