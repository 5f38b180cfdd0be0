//! An object store as its users see it: `guests/s3` on three nodes, used by boto3, the AWS CLI, minio-py and s3cmd from PyPI.

// Whole programs are tested against the clock on the wall.
#![allow(clippy::disallowed_methods)]

use std::path::{Path, PathBuf};
use std::time::Duration;

use recoil_cluster_tests::{Cluster, Ports, Ran, eventually, python_with, run_within};

/// A large object over a debug build, on a busy machine.
const LIMIT: Duration = Duration::from_secs(600);

/// Installs the store; the port of its node 0.
fn install(cluster: &Cluster) -> u16 {
    let port = Ports::free(3).redis(0);
    let listen = format!("s3={}", port - cluster.ports().offset);
    let printed = cluster.ctl(0, &["install", "s3", "--listen", &listen]).ok();
    assert!(printed.contains("s3 0.1.0 is serving on 3 of 3 nodes"), "{printed}");
    assert!(printed.contains("recoilctl s3 key create NAME"), "{printed}");
    let keys = ["--access-key", "alices-key", "--secret-key", "alices-secret-key"];
    let printed = cluster.ctl(1, &[&["s3", "key", "create", "alice"][..], &keys].concat()).ok();
    assert!(printed.contains("alices-key"), "{printed}");
    port
}

fn script(folder: &Path, step: &str, ports: &[u16]) -> Ran {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("python/s3.py");
    let mut words = vec![path.display().to_string(), step.to_owned(), folder.display().to_string()];
    words.extend(ports.iter().map(u16::to_string));
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    run_within(LIMIT, python_with("boto3"), &words)
}

fn folder(cluster: &Cluster) -> PathBuf {
    let folder = cluster.path("files");
    std::fs::create_dir_all(&folder).unwrap();
    folder
}

/// Red when an unchanged client is not served, or one node does not read what another has acknowledged.
#[test]
fn unchanged_clients_are_served_by_every_node() {
    let mut cluster = Cluster::simulator();
    let port = install(&cluster);
    let (folder, ports) = (folder(&cluster), [port, port + 1, port + 2]);
    assert!(script(&folder, "cli", &ports).ok().contains("the command line is served"));
    assert!(script(&folder, "application", &ports).ok().contains("the application is served"));
    assert!(script(&folder, "minio", &ports).ok().contains("minio-py is served"));
    assert!(script(&folder, "s3cmd", &ports).ok().contains("s3cmd is served"));
    let log = cluster.ctl(1, &["logs", "s3"]).ok();
    assert!(!log.contains("trap"), "{log}");
    cluster.stop();
}

/// Red when an upload fails for a node that is killed during it, or what was acknowledged is lost with all of them.
#[test]
fn an_upload_survives_nodes_that_are_killed() {
    let mut cluster = Cluster::processes();
    let port = install(&cluster);
    let (folder, ports) = (folder(&cluster), [port, port + 1, port + 2]);
    script(&folder, "begin", &ports).ok();
    let uploading = {
        let folder = folder.clone();
        std::thread::spawn(move || script(&folder, "upload", &ports[..1]))
    };
    for k in [1, 2] {
        std::thread::sleep(Duration::from_secs(3));
        cluster.kill(k);
        std::thread::sleep(Duration::from_secs(2));
        cluster.start_node(k);
        cluster.wait_serving(k);
    }
    std::fs::write(folder.join("stop"), b"").unwrap();
    uploading.join().unwrap().ok();
    cluster.kill_all();
    for k in 0..Cluster::NODES {
        cluster.start_node(k);
    }
    cluster.wait_ready();
    eventually("the store answers on every node", || {
        let served = |port: &u16| std::net::TcpStream::connect(("127.0.0.1", *port)).map_err(|error| error.to_string());
        ports.iter().try_for_each(|port| served(port).map(drop))
    });
    assert!(script(&folder, "verify", &ports).ok().contains("verified"));
    cluster.stop();
}
