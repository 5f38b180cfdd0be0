//! A cluster under test: the simulator, or a process for each node.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde_json::Value;
use tempfile::TempDir;

use crate::{Door, Network, Ports, Program, Ran, Reply, eventually, program, replicas, run, run_in};

/// Clusters of one test program run one after another: several at once on a small machine only time out.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// Three nodes and their folder. Everything ends with it.
pub struct Cluster {
    /// The simulator alone, or node k at k. Absent while ended.
    programs: Vec<Option<Program>>,
    separate: bool,
    folder: TempDir,
    ports: Ports,
    /// Each node has a namespace, or all are on loopback.
    network: Option<Network>,
    /// Admin addresses of nodes that have another one than at first.
    moved: [Option<String>; Cluster::NODES],
    /// Nodes purge their logs as early as they can.
    purging: bool,
    _turn: MutexGuard<'static, ()>,
}

impl Cluster {
    /// Number of nodes.
    pub const NODES: usize = 3;

    /// Three nodes in the simulator, with redis-server, its data kept in [`Cluster::data_dir`].
    pub fn simulator() -> Self {
        let mut cluster = Cluster::new(false);
        cluster.start_simulator(&["--install", "redis-server"]);
        cluster
    }

    /// Three processes, with redis-server installed by recoilctl.
    pub fn processes() -> Self {
        let mut cluster = Cluster::new(true);
        cluster.start_nodes();
        cluster
    }

    /// Three processes on a network of their own, with redis-server.
    pub fn networked(network: Network) -> Self {
        let mut cluster = Cluster::new(true);
        cluster.network = Some(network);
        cluster.start_nodes();
        cluster
    }

    /// Starts every node for the first time and installs redis-server.
    pub fn start_nodes(&mut self) {
        let cluster = self;
        for k in 0..Cluster::NODES {
            cluster.start_node(k);
        }
        cluster.wait_ready();
        cluster.ctl(0, &["install", "--yes", "redis-server"]).ok();
    }

    /// Three processes with redis-server, which purge their logs after a few KiB.
    pub fn purging() -> Self {
        let mut cluster = Cluster::new(true);
        cluster.purging = true;
        cluster.start_nodes();
        cluster
    }

    /// Nothing started yet.
    pub fn new(separate: bool) -> Self {
        let turn = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
        let folder = TempDir::with_prefix("recoil-test-").expect("a temporary folder");
        let count = if separate { Cluster::NODES } else { 1 };
        let programs = (0..count).map(|_| None).collect();
        Cluster {
            programs,
            separate,
            folder,
            ports: Ports::free(Cluster::NODES as u16),
            network: None,
            moved: Default::default(),
            purging: false,
            _turn: turn,
        }
    }

    /// Start the simulator, or start it again, and wait for its ready file.
    pub fn start_simulator(&mut self, more: &[&str]) {
        let ready = self.folder.path().join("ready.json");
        let arguments =
            [self.simulator_arguments(), vec!["--ready-file".to_owned(), ready.display().to_string()]].concat();
        let arguments: Vec<String> = arguments.into_iter().chain(more.iter().map(ToString::to_string)).collect();
        let _ = std::fs::remove_file(&ready);
        let mut simulator =
            Program::start(&program("recoil_simulator"), &arguments, &self.folder.path().join("simulator"));
        simulator.wait_for_line("the simulator is ready", |line| line.starts_with("Admin API: "));
        assert!(ready.exists(), "the ready file is there before the last sentences");
        self.programs[0] = Some(simulator);
    }

    /// The simulator's usual arguments.
    pub fn simulator_arguments(&self) -> Vec<String> {
        let Ports { admin, offset } = self.ports;
        let data_dir = self.data_dir().display().to_string();
        let arguments =
            [format!("--base-port={admin}"), format!("--port-offset={offset}"), format!("--data-dir={data_dir}")];
        arguments.into_iter().chain(["--number-of-nodes=3".to_owned()]).collect()
    }

    /// Start node k as a process, or start it again.
    pub fn start_node(&mut self, k: usize) {
        assert!(self.separate, "the simulator starts its own nodes");
        self.programs[k] = Some(self.try_node(k));
    }

    /// A process of node k that may end by itself. It is the caller's.
    pub fn try_node(&self, k: usize) -> Program {
        let namespace = self.network.as_ref().map(|network| network.namespace(k));
        let log = self.folder.path().join(format!("node-{k}"));
        Program::start_in(namespace, &program("recoil"), &self.node_arguments(k), &log)
    }

    /// Start node k with further flags, or start it again.
    pub fn start_node_with(&mut self, k: usize, more: &[&str]) {
        let log = self.folder.path().join(format!("node-{k}"));
        let arguments: Vec<String> =
            self.node_arguments(k).into_iter().chain(more.iter().map(ToString::to_string)).collect();
        self.programs[k] = Some(Program::start(&program("recoil"), &arguments, &log));
    }

    /// Start node k, which refuses; its last words.
    pub fn refused_node(&self, k: usize) -> String {
        let mut node = self.try_node(k);
        let status = node.wait();
        assert_eq!(status.code(), Some(1), "{}", node.stderr());
        node.stderr()
    }

    /// The arguments of node k.
    pub fn node_arguments(&self, k: usize) -> Vec<String> {
        let offset = if self.network.is_some() { 0 } else { usize::from(self.ports.offset) + k };
        let data_dir = self.node_dir(k).display().to_string();
        let mut arguments =
            vec!["start".to_owned(), format!("--data-dir={data_dir}"), format!("--listen={}", self.admin(k))];
        arguments.extend([format!("--expect={}", Cluster::NODES), format!("--port-offset={offset}")]);
        if k > 0 {
            arguments.push(format!("--join={}", self.admin(0)));
        }
        if self.purging {
            arguments.push("--purge-early".to_owned());
        }
        arguments
    }

    /// From its next start on, node k has another admin address. Its Redis port stays.
    pub fn move_node(&mut self, k: usize) {
        self.place_node(k, self.ports.spare(k));
    }

    /// From its next start on, node k has this admin address.
    pub fn place_node(&mut self, k: usize, address: String) {
        self.moved[k] = Some(address);
    }

    /// Admin address of node k.
    pub fn admin(&self, k: usize) -> String {
        match (&self.network, &self.moved[k]) {
            (Some(network), _) => format!("{}:7400", network.address(k)),
            (None, Some(address)) => address.clone(),
            (None, None) => self.ports.admin(k),
        }
    }

    /// The way to node k's Redis port.
    pub fn door(&self, k: usize) -> Door {
        let network = self.network.as_ref();
        let address = network.map(|network| SocketAddr::from((network.address(k), 6379)));
        let loopback = SocketAddr::from(([127, 0, 0, 1], self.ports.redis(k)));
        let namespace = network.map(|network| network.namespace(k).clone());
        Door { address: address.unwrap_or(loopback), namespace }
    }

    /// The way to every node.
    pub fn doors(&self) -> Vec<Door> {
        (0..Cluster::NODES).map(|k| self.door(k)).collect()
    }

    /// The network of a cluster that has one.
    pub fn network(&self) -> &Network {
        self.network.as_ref().expect("it was started with a network")
    }

    /// The program of node k; the simulator is 0.
    pub fn program(&mut self, k: usize) -> &mut Program {
        self.programs[k].as_mut().expect("it is running")
    }

    /// kill -9.
    pub fn kill(&mut self, k: usize) {
        self.program(k).check_sound();
        self.program(k).kill();
        self.programs[k] = None;
    }

    /// kill -9 for every process, as close together as it goes.
    pub fn kill_all(&mut self) {
        for k in 0..self.programs.len() {
            self.kill(k);
        }
    }

    /// Stop in order; panics unless everything exits with 0.
    pub fn stop(&mut self) {
        for program in &mut self.programs {
            if let Some(mut program) = program.take() {
                program.check_sound();
                let status = program.terminate();
                assert!(status.success(), "{status}:\n{}", program.stderr());
            }
        }
    }

    /// A file or folder in the test's own folder.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The simulator's data.
    pub fn data_dir(&self) -> PathBuf {
        self.path("data")
    }

    /// The data of node k as a process.
    pub fn node_dir(&self, k: usize) -> PathBuf {
        self.path(&format!("data-{k}"))
    }

    /// The ports in use.
    pub fn ports(&self) -> Ports {
        self.ports
    }

    /// recoilctl, asking node k.
    pub fn ctl(&self, k: usize, arguments: &[&str]) -> Ran {
        let namespace = self.network.as_ref().map(|network| network.namespace(k));
        run_in(namespace, program("recoilctl"), &[&["--server", &self.admin(k)], arguments].concat())
    }

    /// What node k says of the cluster; an error when it does not answer.
    pub fn status(&self, k: usize) -> Result<Value, String> {
        let ran = self.ctl(k, &["-o", "json", "status"]);
        // 10: the status was printed, and says that somebody should act.
        if !matches!(ran.code, Some(0 | 10)) {
            return Err(ran.stderr);
        }
        serde_json::from_str(&ran.stdout).map_err(|error| error.to_string())
    }

    /// Wait until every running node says that every partition has a leader.
    pub fn wait_ready(&self) {
        for k in (0..Cluster::NODES).filter(|k| !self.separate || self.programs[*k].is_some()) {
            eventually("every partition has a leader", || {
                let status = self.status(k)?;
                if status["ready"] == true { Ok(()) } else { Err(status.to_string()) }
            });
        }
    }

    /// Wait until a value can be read through node k: its port is open and the leaders answer.
    pub fn wait_serving(&self, k: usize) {
        let door = self.door(k);
        eventually("redis-server answers", || {
            let answer = door.connect().and_then(|mut redis| redis.command(&["GET", "no such key"]));
            match answer {
                Ok(Reply::Bulk(None)) => Ok(()),
                other => Err(format!("node {k}: {other:?}")),
            }
        });
    }

    /// The number of partitions that each node leads, as node k sees it.
    pub fn led(&self, k: usize) -> Result<Vec<u64>, String> {
        let status = self.status(k)?;
        let nodes = status["nodes"].as_array().ok_or("no nodes")?;
        let of = |k| {
            let address = self.admin(k);
            let node = nodes.iter().find(|node| node["address"] == address.as_str());
            node.and_then(|node| node["partitions_led"].as_u64()).ok_or(format!("no node at {address}: {status}"))
        };
        (0..Cluster::NODES).map(of).collect()
    }

    /// The node that leads most, as node k sees it.
    pub fn busiest(&self, k: usize) -> usize {
        let led = eventually("who leads", || self.led(k));
        (0..led.len()).max_by_key(|k| led[*k]).unwrap_or(0)
    }

    /// Waits until all replicas of every group have applied the same, stops the nodes, and compares what they hold, row by row.
    pub fn check_replicas(&mut self) {
        eventually("all replicas have applied the same", || {
            let statuses: Vec<Value> = (0..Cluster::NODES).map(|k| self.status(k)).collect::<Result<_, _>>()?;
            let applied = |status: &Value| -> Vec<Value> {
                let groups = status["groups"].as_array().into_iter().flatten();
                groups.map(|group| group["applied"].clone()).collect()
            };
            let all: Vec<_> = statuses.iter().map(applied).collect();
            if all.iter().all(|of| *of == all[0]) { Ok(()) } else { Err(format!("{all:?}")) }
        });
        self.stop();
        let folders: Vec<PathBuf> = (0..Cluster::NODES).map(|k| self.node_dir(k)).collect();
        replicas::check_equal(&folders);
    }

    /// Admin address of the fourth node.
    pub fn fourth_admin(&self) -> String {
        self.ports.spare(1)
    }

    /// A fourth node, which joins the three. It is the caller's, and is not among those that this cluster stops or asks.
    pub fn start_fourth(&self) -> Program {
        self.start_fourth_with(&[])
    }

    /// The same with further flags.
    pub fn start_fourth_with(&self, more: &[&str]) -> Program {
        let data_dir = self.node_dir(Cluster::NODES).display().to_string();
        let offset = usize::from(self.ports.offset) + Cluster::NODES;
        let arguments = [
            "start".to_owned(),
            format!("--data-dir={data_dir}"),
            format!("--listen={}", self.fourth_admin()),
            format!("--expect={}", Cluster::NODES),
            format!("--port-offset={offset}"),
            format!("--join={}", self.admin(0)),
        ];
        let arguments: Vec<String> = arguments.into_iter().chain(more.iter().map(ToString::to_string)).collect();
        Program::start(&program("recoil"), &arguments, &self.folder.path().join("node-3"))
    }

    /// The member numbers of nodes 0 to 2 and of the fourth, once all are live.
    pub fn members_with_fourth(&self) -> [u64; 4] {
        let addresses = [self.admin(0), self.admin(1), self.admin(2), self.fourth_admin()];
        eventually("four nodes are live", || {
            let status = self.status(0)?;
            let nodes = status["nodes"].as_array().ok_or("no nodes")?;
            let mut found = [0; 4];
            for (place, address) in addresses.iter().enumerate() {
                let node = nodes.iter().find(|node| node["address"] == address.as_str() && node["state"] == "live");
                found[place] =
                    node.and_then(|node| node["member"].as_u64()).ok_or(format!("no {address} in {status}"))?;
            }
            Ok(found)
        })
    }

    /// Stops all nodes and the fourth, and compares what the replicas of each partition hold, row by row: as many as there are to be.
    pub fn check_replicas_with(&mut self, mut fourth: Program) {
        // What was acknowledged last may not have reached every replica.
        std::thread::sleep(std::time::Duration::from_secs(2));
        fourth.check_sound();
        self.stop();
        let status = fourth.terminate();
        assert!(status.success(), "{status}:\n{}", fourth.stderr());
        let folders: Vec<PathBuf> = (0..=Cluster::NODES).map(|k| self.node_dir(k)).collect();
        replicas::check_sets(&folders, Cluster::NODES);
    }

    /// The groups of which the folder of node k, which has ended, holds anything; the fourth is 3.
    pub fn stored_groups(&self, k: usize) -> Vec<u32> {
        replicas::groups(&self.node_dir(k))
    }

    /// redis-cli, speaking to node k.
    pub fn redis_cli(&self, k: usize, words: &[&str]) -> String {
        let port = self.ports.redis(k).to_string();
        run("redis-cli", &[&["-p", &port], words].concat()).ok().trim_end().to_owned()
    }

    /// A file in the folder of the Python scripts, run against all nodes' ports.
    pub fn python(&self, script: &str) -> String {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("python").join(script);
        let ports: Vec<String> = (0..Cluster::NODES).map(|k| self.ports.redis(k).to_string()).collect();
        let mut arguments = vec![path.to_str().expect("a path in UTF-8")];
        arguments.extend(ports.iter().map(String::as_str));
        run(crate::python(), &arguments).ok()
    }
}
