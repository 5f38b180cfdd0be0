//! Nodes that come back elsewhere, are told wrong addresses, or have lost their folder: they find
//! their cluster, or say within seconds what they wait for and what to do.

#![allow(missing_docs, clippy::disallowed_methods)]

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use recoil_cluster_tests::{Cluster, Program, eventually, program};
use serde_json::Value;

/// "Within seconds", on a busy machine.
const SOON: Duration = Duration::from_secs(25);

/// Waits until node k says that every node is live, at its present address, and every partition has
/// a leader.
fn wait_settled(cluster: &Cluster, k: usize) {
    let began = Instant::now();
    eventually("all nodes are live where they are now", || {
        let status = cluster.status(k)?;
        let nodes = status["nodes"].as_array().ok_or("no nodes")?;
        let is_there = |k| {
            let address = cluster.admin(k);
            nodes.iter().any(|node| node["address"] == address.as_str() && node["state"] == "live")
        };
        let all = nodes.len() == Cluster::NODES && (0..Cluster::NODES).all(is_there);
        if all && status["ready"] == true { Ok(()) } else { Err(status.to_string()) }
    });
    assert!(began.elapsed() < SOON, "it took {:?}", began.elapsed());
}

fn meta_leader(cluster: &Cluster) -> usize {
    eventually("the meta group's leader", || {
        let status = cluster.status(0)?;
        let nodes = status["nodes"].as_array().cloned().unwrap_or_default();
        let leader = nodes.iter().find(|node| node["is_meta_leader"] == true).ok_or("there is none")?;
        (0..Cluster::NODES).find(|k| leader["address"] == cluster.admin(*k).as_str()).ok_or("it is nowhere".to_owned())
    })
}

/// Fails if the address that a node's hello names gives way to the one that the meta state still
/// has: the new leader would dial the old address for ever, and the old one never hear of a leader
/// to register with.
#[test]
fn the_meta_leader_may_come_back_at_another_address() {
    let mut cluster = Cluster::processes();
    assert_eq!(cluster.redis_cli(0, &["set", "key", "value"]), "OK");
    for _ in 0..2 {
        let leader = meta_leader(&cluster);
        let other = (leader + 1) % Cluster::NODES;
        let elsewhere = if cluster.admin(leader) == cluster.ports().admin(leader) {
            cluster.ports().spare(leader)
        } else {
            cluster.ports().admin(leader)
        };
        cluster.kill(leader);
        eventually("another node leads", || {
            let status = cluster.status(other)?;
            let is_led = status["ready"] == true;
            if is_led { Ok(()) } else { Err(status.to_string()) }
        });
        cluster.place_node(leader, elsewhere);
        cluster.start_node(leader);
        wait_settled(&cluster, other);
        wait_settled(&cluster, leader);
    }
    assert_eq!(cluster.redis_cli(1, &["get", "key"]), "value");
    cluster.stop();
}

/// Fails if new addresses can go through the meta group only, which has no leader then; or if a
/// node cannot take an address that another one had before.
#[test]
fn all_nodes_may_come_back_at_other_addresses_or_change_places() {
    let mut cluster = Cluster::processes();
    assert_eq!(cluster.redis_cli(0, &["set", "key", "value"]), "OK");
    cluster.kill_all();
    (0..Cluster::NODES).for_each(|k| cluster.move_node(k));
    // Nodes 1 and 2 name node 0, which is told of nobody.
    (0..Cluster::NODES).for_each(|k| cluster.start_node(k));
    (0..Cluster::NODES).for_each(|k| wait_settled(&cluster, k));
    assert_eq!(cluster.redis_cli(1, &["get", "key"]), "value");

    cluster.kill_all();
    for k in 0..Cluster::NODES {
        cluster.place_node(k, cluster.ports().spare((k + 1) % Cluster::NODES));
    }
    (0..Cluster::NODES).for_each(|k| cluster.start_node(k));
    (0..Cluster::NODES).for_each(|k| wait_settled(&cluster, k));
    assert_eq!(cluster.redis_cli(2, &["get", "key"]), "value");
    cluster.stop();
}

/// Fails if a node that cannot find the others says that it has joined, or nothing.
#[test]
fn a_node_that_finds_nobody_says_whom_it_waits_for() {
    let mut cluster = Cluster::processes();
    cluster.kill_all();
    cluster.start_node(1);
    let old = cluster.admin(2);
    let line = cluster.program(1).wait_for_complaint("it says whom it waits for", |line| {
        line.contains("does not serve yet") && line.contains(&old)
    });
    assert!(line.contains("2 of 2 other members are not reached") && line.contains("refused"), "{line}");
    assert!(!cluster.program(1).stdout().contains("joined cluster"), "{}", cluster.program(1).stdout());
    let status = cluster.status(1).unwrap();
    assert_eq!(status["ready"], false);
    cluster.start_node(2);
    cluster.program(1).wait_for_line("it serves", |line| line.contains("joined cluster"));
    cluster.stop();
}

/// Fails if a node founds a second cluster where members of the first one look for a lost member,
/// or if either side keeps silent about it.
#[test]
fn a_founder_that_has_lost_its_folder_does_not_found_a_second_cluster_unasked() {
    let mut cluster = Cluster::processes();
    assert_eq!(cluster.redis_cli(1, &["set", "key", "value"]), "OK");
    let first = cluster.status(1).unwrap()["cluster"].clone();
    cluster.kill(0);
    std::fs::remove_dir_all(cluster.node_dir(0)).unwrap();
    let refusal = cluster.refused_node(0);
    let id = first.as_str().unwrap();
    assert!(refusal.contains("--new-cluster") && refusal.contains("--join") && refusal.contains(id), "{refusal}");
    eventually("a member says it, too", || {
        let said = [cluster.program(1).stderr(), cluster.program(2).stderr()].concat();
        if said.contains("belongs to no cluster") { Ok(()) } else { Err(said) }
    });

    // Really.
    std::fs::remove_dir_all(cluster.node_dir(0)).unwrap();
    cluster.start_node_with(0, &["--new-cluster"]);
    cluster.program(0).wait_for_complaint("the new cluster hears of the old one", |line| line.contains(id));
    eventually("the old cluster hears of the new one", || {
        let said = [cluster.program(1).stderr(), cluster.program(2).stderr()].concat();
        if said.contains("belongs to another cluster") { Ok(()) } else { Err(said) }
    });
    assert_ne!(cluster.status(0).unwrap()["cluster"], first);
    cluster.kill(0);

    // And as it should be: with the others' help, at the address where it was.
    std::fs::remove_dir_all(cluster.node_dir(0)).unwrap();
    let join = format!("--join={},{}", cluster.admin(0), cluster.admin(1));
    cluster.start_node_with(0, &[&join]);
    cluster.program(0).wait_for_line("it joins", |line| line.contains("joined cluster"));
    assert_eq!(cluster.status(0).unwrap()["cluster"], first);
    cluster.stop();
}

/// Fails if the same flags on all nodes do not make one cluster, founded by the first of them and
/// nobody else.
#[test]
fn all_nodes_may_be_started_with_the_same_seeds() {
    let mut cluster = Cluster::new(true);
    let seeds: Vec<String> = (0..Cluster::NODES).map(|k| cluster.admin(k).replace("127.0.0.1", "localhost")).collect();
    let seeds = format!("--join={}", seeds.join(","));
    cluster.start_node_with(2, &[&seeds]);
    cluster.program(2).wait_for_complaint("it waits for the first", |line| line.contains("refused"));
    cluster.start_node_with(0, &[&seeds]);
    cluster.program(0).wait_for_complaint("the first waits for all", |line| line.contains("belongs to no cluster yet"));
    cluster.start_node_with(1, &[&seeds]);
    cluster.program(0).wait_for_line("it hosts", |line| line.contains("bootstrapped cluster hosting"));
    for k in [1, 2] {
        cluster.program(k).wait_for_line("it hosts", |line| line.contains("joined cluster hosting"));
    }
    cluster.stop();
}

/// A node that joins `seed` and is not of the cluster's own three.
fn joiner(cluster: &Cluster, name: &str, seed: &str) -> Program {
    let (data_dir, listen) = (cluster.path(name).display().to_string(), "127.0.0.1:0");
    let arguments = ["start", "--data-dir", &data_dir, "--listen", listen, "--join", seed].map(str::to_owned);
    Program::start(&program("recoil"), &arguments, &cluster.path(&format!("{name}-log")))
}

/// Listens, and answers whoever comes with `answer`, for ever. Its port.
fn listener(answer: &'static [u8]) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            std::thread::spawn(move || {
                let mut stream: TcpStream = stream;
                let _ = stream.write_all(answer);
                let _ = stream.read(&mut [0; 4096]);
                std::thread::sleep(Duration::from_secs(20));
            });
        }
    });
    port
}

/// Fails if a node that joins the wrong thing waits without a word.
#[test]
fn a_node_that_joins_what_is_no_node_says_what_answers_there() {
    let cluster = Cluster::new(true);
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let http = listener(b"HTTP/1.1 400 Bad Request\r\n\r\n");
    let redis = listener(b"-ERR unknown command\r\n");
    let silent = listener(b"");
    let older = listener(b"RECOIL\x00\x01");
    let cases = [
        ("closed", format!("127.0.0.1:{closed}"), "refused"),
        ("http", format!("localhost:{http}"), "is not a Recoil node"),
        ("redis", format!("127.0.0.1:{redis}"), "is not a Recoil node"),
        ("silent", format!("127.0.0.1:{silent}"), "said nothing"),
        ("older", format!("127.0.0.1:{older}"), "upgrade it"),
        ("unnamed", "no-such-host.invalid".to_owned(), "cannot be resolved"),
    ];
    let mut nodes: Vec<(Program, &str, &str)> =
        cases.iter().map(|(name, seed, expected)| (joiner(&cluster, name, seed), seed.as_str(), *expected)).collect();
    let began = Instant::now();
    for (node, seed, expected) in &mut nodes {
        node.wait_for_complaint(expected, |line| line.contains(*seed) && line.contains(*expected));
        node.kill();
    }
    assert!(began.elapsed() < SOON, "it took {:?}", began.elapsed());

    let (itself, data_dir) = (cluster.admin(0), cluster.node_dir(0).display().to_string());
    let arguments = ["start", "--data-dir", &data_dir, "--listen", &itself, "--join", &itself];
    let mut node = Program::start(&program("recoil"), &arguments.map(str::to_owned), &cluster.path("itself"));
    assert_eq!(node.wait().code(), Some(1));
    assert!(node.stderr().contains("names only this node itself"), "{}", node.stderr());
}

/// Fails if an address that means nothing elsewhere gets into the member list, or apps do not
/// listen where the node does.
#[test]
fn a_node_may_listen_everywhere_and_be_reached_by_a_name() {
    let cluster = Cluster::new(true);
    let port = cluster.ports().admin;
    let data_dir = cluster.path("everywhere").display().to_string();
    let listen = format!("0.0.0.0:{port}");
    let offset = cluster.ports().offset.to_string();
    let start = ["start", "--data-dir", &data_dir, "--port-offset", &offset, "--listen", &listen];
    let run = |more: &[&str], log: &str| {
        let arguments: Vec<String> = start.iter().chain(more).map(ToString::to_string).collect();
        Program::start(&program("recoil"), &arguments, &cluster.path(log))
    };
    let mut refused = run(&[], "refused");
    assert_eq!(refused.wait().code(), Some(1));
    assert!(refused.stderr().contains("--advertise HOST:PORT"), "{}", refused.stderr());
    assert!(!PathBuf::from(&data_dir).exists(), "nothing is made before the flags are sound");

    let mut node = run(&["--advertise", "localhost"], "node");
    node.wait_for_line("it hosts", |line| line.contains("bootstrapped cluster"));
    let advertised = |status: &Value| status["nodes"][0]["address"].as_str().unwrap_or_default().to_owned();
    assert_eq!(advertised(&cluster.status(0).unwrap()), format!("127.0.0.1:{port}"));
    cluster.ctl(0, &["install", "--yes", "redis-server"]).ok();
    assert_eq!(cluster.redis_cli(0, &["set", "key", "value"]), "OK");
    let listing = cluster.ctl(0, &["list"]).ok();
    assert!(listing.contains(&format!("127.0.0.1:{}", cluster.ports().redis(0))), "{listing}");
    node.terminate();
}
