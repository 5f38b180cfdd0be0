//! Servers under measurement, each with a folder and ports of its own, on loopback.
//!
//! Invariant: a server ends, and its folder goes, with the value that stands for it. Only processes that were started here are
//! ended, by their handle.

use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use recoil_cluster_tests::{Ports, Program, Redis, Reply, program};
use tempfile::TempDir;

/// No server takes longer to start, or to answer.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);
/// How often something is looked at whose time is taken.
const POLL: Duration = Duration::from_millis(1);

/// Debian's packages of what Recoil is compared with.
const PACKAGES: &str = "apt-get install redis-server redis-tools etcd-server";

/// Looks again and again until there is a value. `program` must not end meanwhile.
pub(crate) fn wait<T>(
    what: &str,
    program: &mut Program,
    mut look: impl FnMut() -> anyhow::Result<T>,
) -> anyhow::Result<T> {
    let end = Instant::now() + PATIENCE;
    loop {
        match look() {
            Ok(value) => return Ok(value),
            Err(error) if Instant::now() > end => {
                return Err(error.context(format!("{what}: not within {} s", PATIENCE.as_secs())));
            }
            Err(_) => program.check_sound(),
        }
        std::thread::sleep(POLL);
    }
}

/// Which of these programs are not on the PATH, as a sentence with the way to install them.
pub(crate) fn missing(names: &[&str]) -> Option<String> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let is_there = |name: &&&str| std::env::split_paths(&path).any(|folder| folder.join(name).is_file());
    let missing: Vec<&str> = names.iter().filter(|name| !is_there(name)).copied().collect();
    if missing.is_empty() { None } else { Some(format!("{} is missing: `{PACKAGES}`", missing.join(", "))) }
}

/// A folder for a server's data, on the disk of the system's temporary files (`TMPDIR` names another).
pub(crate) fn folder() -> anyhow::Result<TempDir> {
    TempDir::with_prefix("recoil-bench-").context("no temporary folder can be made: TMPDIR names the place")
}

/// `recoil_simulator`: all nodes in one process.
pub(crate) struct Recoil {
    program: Program,
    pub(crate) setup: Setup,
}

/// How a simulator is started, and where: what stays when it is killed.
pub(crate) struct Setup {
    folder: TempDir,
    ports: Ports,
    nodes: u16,
    partitions: u32,
}

impl Setup {
    /// A new cluster.
    pub(crate) fn new(nodes: u16, partitions: u32) -> anyhow::Result<Self> {
        Ok(Setup { folder: folder()?, ports: Ports::free(nodes), nodes, partitions })
    }

    /// Starts it, or starts it again, and waits until every partition has a leader and the apps that it installs serve.
    pub(crate) fn start(self, install: &[&str]) -> anyhow::Result<Recoil> {
        let ready = self.folder.path().join("ready.json");
        let Ports { admin, offset } = self.ports;
        let mut arguments = vec![
            format!("--number-of-nodes={}", self.nodes),
            format!("--partitions={}", self.partitions),
            format!("--base-port={admin}"),
            format!("--port-offset={offset}"),
            format!("--data-dir={}", self.data_dir().display()),
            format!("--ready-file={}", ready.display()),
        ];
        arguments.extend(install.iter().map(|name| format!("--install={name}")));
        if ready.exists() {
            std::fs::remove_file(&ready)?;
        }
        let mut program =
            Program::start(&program("recoil_simulator"), &arguments, &self.folder.path().join("simulator"));
        wait("the simulator is ready", &mut program, || {
            ensure!(ready.exists(), "{} is not there", ready.display());
            Ok(())
        })?;
        Ok(Recoil { program, setup: self })
    }

    /// Added to the ports of apps.
    pub(crate) fn offset(&self) -> u16 {
        self.ports.offset
    }

    /// The simulator's data.
    pub(crate) fn data_dir(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// What the data takes on the disk.
    pub(crate) fn data_bytes(&self) -> anyhow::Result<u64> {
        use std::os::unix::fs::MetadataExt as _;
        let (mut bytes, mut folders) = (0, vec![self.data_dir()]);
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder)? {
                let entry = entry?;
                match entry.metadata() {
                    Ok(found) if found.is_dir() => folders.push(entry.path()),
                    Ok(found) => bytes += found.blocks() * 512,
                    Err(_) => {} // the running node has removed it
                }
            }
        }
        Ok(bytes)
    }
}

impl Recoil {
    /// A new cluster of 265 partitions that serves Redis.
    pub(crate) fn serving(nodes: u16) -> anyhow::Result<Self> {
        Recoil::serving_on(nodes, 265)
    }

    /// A new cluster that serves Redis.
    pub(crate) fn serving_on(nodes: u16, partitions: u32) -> anyhow::Result<Self> {
        let mut recoil = Setup::new(nodes, partitions)?.start(&["redis-server"])?;
        recoil.wait_serving()?;
        Ok(recoil)
    }

    /// Waits until every node answers a read of Redis.
    pub(crate) fn wait_serving(&mut self) -> anyhow::Result<()> {
        for k in 0..self.setup.nodes {
            let port = self.redis_port(k);
            wait("redis-server answers", &mut self.program, || ask(port))?;
        }
        Ok(())
    }

    /// Node k's port for Redis' protocol.
    pub(crate) fn redis_port(&self, k: u16) -> u16 {
        self.setup.ports.redis(k.into())
    }

    /// Admin address of the first node.
    pub(crate) fn admin(&self) -> String {
        self.setup.ports.admin(0)
    }

    /// Its process.
    pub(crate) fn process(&self) -> u32 {
        self.program.id()
    }

    /// kill -9. What is left can be started again.
    pub(crate) fn kill(mut self) -> Setup {
        self.program.check_sound();
        self.program.kill();
        self.setup
    }
}

/// Debian's redis-server, each write fsynced before it is answered.
pub(crate) struct RedisServer {
    program: Program,
    port: u16,
    _folder: TempDir,
}

impl RedisServer {
    /// What must be on the PATH.
    pub(crate) const PROGRAMS: &[&str] = &["redis-server"];

    /// Starts it and waits until it answers.
    pub(crate) fn start() -> anyhow::Result<Self> {
        let (folder, port) = (folder()?, Ports::free(1).admin);
        let arguments = ["--bind", "127.0.0.1", "--appendonly", "yes", "--appendfsync", "always", "--save", ""];
        let mut arguments: Vec<String> = arguments.iter().map(ToString::to_string).collect();
        arguments.extend(["--port".to_owned(), port.to_string()]);
        arguments.extend(["--dir".to_owned(), folder.path().display().to_string()]);
        let mut program = Program::start(Path::new("redis-server"), &arguments, &folder.path().join("redis-server"));
        wait("redis-server answers", &mut program, || ask(port))?;
        Ok(RedisServer { program, port, _folder: folder })
    }

    /// Where it listens.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Its process.
    pub(crate) fn process(&self) -> u32 {
        self.program.id()
    }
}

/// Three etcd members.
pub(crate) struct Etcd {
    programs: Vec<Program>,
    ports: Ports,
    _folder: TempDir,
}

impl Etcd {
    /// What must be on the PATH.
    pub(crate) const PROGRAMS: &[&str] = &["etcd"];
    const MEMBERS: usize = 3;

    /// Starts them and waits until their ports are open.
    pub(crate) fn start() -> anyhow::Result<Self> {
        let (folder, ports) = (folder()?, Ports::free(Etcd::MEMBERS as u16));
        let peer = |k: usize| format!("http://127.0.0.1:{}", ports.redis(k));
        let cluster: Vec<String> = (0..Etcd::MEMBERS).map(|k| format!("m{k}={}", peer(k))).collect();
        let member = |k: usize| {
            let client = format!("http://{}", ports.admin(k));
            let arguments = vec![
                format!("--name=m{k}"),
                format!("--data-dir={}", folder.path().join(format!("m{k}")).display()),
                format!("--listen-client-urls={client}"),
                format!("--advertise-client-urls={client}"),
                format!("--listen-peer-urls={}", peer(k)),
                format!("--initial-advertise-peer-urls={}", peer(k)),
                format!("--initial-cluster={}", cluster.join(",")),
                "--log-level=error".to_owned(),
            ];
            Program::start(Path::new("etcd"), &arguments, &folder.path().join(format!("log{k}")))
        };
        let mut programs: Vec<Program> = (0..Etcd::MEMBERS).map(member).collect();
        for (k, program) in programs.iter_mut().enumerate() {
            wait("etcd listens", program, || Ok(TcpStream::connect(ports.admin(k))?))?;
        }
        Ok(Etcd { programs, ports, _folder: folder })
    }

    /// Where the members listen.
    pub(crate) fn addresses(&self) -> Vec<String> {
        (0..Etcd::MEMBERS).map(|k| self.ports.admin(k)).collect()
    }

    /// Their processes.
    pub(crate) fn processes(&self) -> Vec<u32> {
        self.programs.iter().map(Program::id).collect()
    }
}

/// A read that must be answered.
fn ask(port: u16) -> anyhow::Result<()> {
    match Redis::connect(port)?.command(&["GET", "no such key"])? {
        Reply::Bulk(None) => Ok(()),
        other => bail!("port {port} answers {other:?}"),
    }
}
