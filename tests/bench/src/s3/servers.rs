//! The stores under measurement: three nodes each, a process for each node, all on loopback and on one disk.

use std::net::TcpStream;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, ensure};
use recoil_cluster_tests::{Cluster, Ports, Program, run};
use tempfile::TempDir;

use super::client::Store;
use super::load::Loader;
use super::sign::Signer;
use crate::servers::{PATIENCE, folder, wait};

/// A store that is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum System {
    /// `guests/s3` on three nodes.
    Recoil,
    /// Garage as it is configured by default: nothing is fsynced.
    Garage,
    /// Garage with `metadata_fsync` and `data_fsync`.
    GarageFsync,
}

impl System {
    pub(super) const ALL: [System; 3] = [System::Recoil, System::Garage, System::GarageFsync];

    pub(super) fn name(self) -> &'static str {
        match self {
            System::Recoil => "Recoil",
            System::Garage => "Garage",
            System::GarageFsync => "Garage, fsync",
        }
    }
}

/// A store that runs, with an empty bucket. It ends, and its folder goes, with this value.
pub(super) struct Running {
    pub(super) store: Store,
    pub(super) processes: Vec<u32>,
    _nodes: Nodes,
}

/// Kept for its end.
enum Nodes {
    Recoil { _cluster: Cluster },
    Garage { _programs: Vec<Program>, _folder: TempDir },
}

/// What is started.
pub(super) struct Programs {
    /// What `recoilctl install` takes: a name, or the file of a package.
    pub(super) package: String,
    /// None if there is none.
    pub(super) garage: Option<PathBuf>,
}

impl Running {
    pub(super) fn start(system: System, programs: &Programs, loader: &Loader) -> anyhow::Result<Self> {
        let garage = || programs.garage.as_deref().context("there is no Garage");
        let running = match system {
            System::Recoil => recoil(&programs.package)?,
            System::Garage => garage_nodes(garage()?, false)?,
            System::GarageFsync => garage_nodes(garage()?, true)?,
        };
        loader.make_bucket(&running.store, PATIENCE)?;
        Ok(running)
    }
}

fn recoil(package: &str) -> anyhow::Result<Running> {
    let mut cluster = Cluster::new(true);
    for k in 0..Cluster::NODES {
        cluster.start_node(k);
    }
    cluster.wait_ready();
    let port = Ports::free(Cluster::NODES as u16).redis(0);
    let listen = format!("s3={}", port - cluster.ports().offset);
    cluster.ctl(0, &["install", package, "--listen", &listen, "--yes"]).ok();
    let signer = Signer {
        access_key: "bench-key".to_owned(),
        secret_key: "bench-secret-key".to_owned(),
        region: "us-east-1".to_owned(),
    };
    let keys = ["--access-key", &signer.access_key, "--secret-key", &signer.secret_key];
    cluster.ctl(0, &[&["s3", "key", "create", "bench"][..], &keys].concat()).ok();
    let processes = (0..Cluster::NODES).map(|k| cluster.program(k).id()).collect();
    Ok(Running { store: Store { port, signer }, processes, _nodes: Nodes::Recoil { _cluster: cluster } })
}

/// Garage's configuration of node k.
fn configuration(folder: &Path, ports: &Ports, k: usize, with_fsync: bool) -> String {
    let data = folder.join(format!("node-{k}"));
    let (rpc, api, data) = (ports.admin(k), ports.redis(k), data.display());
    let fsync = if with_fsync { "metadata_fsync = true\ndata_fsync = true\n" } else { "" };
    format!(
        "metadata_dir = \"{data}/meta\"\ndata_dir = \"{data}/data\"\ndb_engine = \"lmdb\"\nreplication_factor = 3\n\
         {fsync}rpc_bind_addr = \"{rpc}\"\nrpc_public_addr = \"{rpc}\"\nrpc_secret = \"{secret}\"\n\n\
         [s3_api]\ns3_region = \"garage\"\napi_bind_addr = \"127.0.0.1:{api}\"\n",
        secret = "ab".repeat(32),
    )
}

fn garage_nodes(program: &Path, with_fsync: bool) -> anyhow::Result<Running> {
    const NODES: usize = 3;
    let (folder, ports) = (folder()?, Ports::free(NODES as u16));
    let file = |k: usize| folder.path().join(format!("node-{k}.toml")).display().to_string();
    let mut programs = Vec::new();
    for k in 0..NODES {
        std::fs::write(file(k), configuration(folder.path(), &ports, k, with_fsync))?;
        let arguments = ["-c".to_owned(), file(k), "server".to_owned()];
        programs.push(Program::start(program, &arguments, &folder.path().join(format!("log-{k}"))));
    }
    for (k, node) in programs.iter_mut().enumerate() {
        wait("Garage listens", node, || Ok(TcpStream::connect(ports.admin(k))?))?;
    }
    let garage = |k: usize, words: &[&str]| {
        let ran = run(program, &[&["-c", &file(k)], words].concat());
        ensure!(ran.code == Some(0), "garage {}: {}{}", words.join(" "), ran.stdout, ran.stderr);
        Ok(ran.stdout)
    };
    let mut ids = Vec::new();
    for k in 0..NODES {
        ids.push(garage(k, &["node", "id", "-q"])?.trim().to_owned());
    }
    for (k, id) in ids.iter().enumerate() {
        if k > 0 {
            garage(0, &["node", "connect", id])?;
        }
    }
    for (k, id) in ids.iter().enumerate() {
        let id = id.split('@').next().unwrap_or(id);
        garage(0, &["layout", "assign", id, "-z", &format!("zone{k}"), "-c", "100GB"])?;
    }
    garage(0, &["layout", "apply", "--version", "1"])?;
    // The forms that Garage demands of keys.
    let signer = Signer {
        access_key: format!("GK{}", "0b".repeat(12)),
        secret_key: "0c".repeat(32),
        region: "garage".to_owned(),
    };
    let (access, secret) = (&signer.access_key, &signer.secret_key);
    garage(0, &["key", "import", access, secret, "-n", "bench", "--yes"])?;
    garage(0, &["key", "allow", "--create-bucket", access])?;
    let processes = programs.iter().map(Program::id).collect();
    let store = Store { port: ports.redis(0), signer };
    Ok(Running { store, processes, _nodes: Nodes::Garage { _programs: programs, _folder: folder } })
}
