//! Partitions that move between nodes under load: to a node that has joined later, and while nodes are killed.
//!
//! In each test clients append and read through every node while it happens; afterwards their histories must be those of one server that
//! did each thing once, and all replicas of a partition must hold the same rows, on as many nodes as it has replicas.

// Whole programs under load from plain threads: nothing here runs in a node.
#![allow(clippy::disallowed_methods)]

use std::time::{Duration, Instant};

use recoil_cluster_tests::{Cluster, Load, PATIENCE, Probes};
use serde_json::Value;

/// Enough for most partitions that move to own some.
const KEYS: usize = 64;
/// Of a cluster as it is made.
const PARTITIONS: usize = 265;

/// Waits until no partition is being moved; a node that answers is asked.
fn wait_moved(cluster: &Cluster, k: usize) -> Duration {
    let (began, end) = (Instant::now(), Instant::now() + 4 * PATIENCE);
    loop {
        let left: Option<Value> = serde_json::from_str(&cluster.ctl(k, &["-o", "json", "moves"]).stdout).ok();
        match left {
            Some(Value::Array(left)) if left.is_empty() => return began.elapsed(),
            left => assert!(Instant::now() < end, "these moves do not end: {left:?}"),
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Where every partition is, as node k sees it: the member numbers of its replicas.
fn replicas(cluster: &Cluster, k: usize) -> Vec<Vec<u64>> {
    let status = cluster.status(k).unwrap();
    let members: Vec<(String, u64)> = status["nodes"]
        .as_array()
        .unwrap()
        .iter()
        .map(|node| (node["id"].as_str().unwrap().to_owned(), node["member"].as_u64().unwrap()))
        .collect();
    let number =
        |id: &Value| members.iter().find(|(member, _)| *id == member.as_str()).map_or(0, |(_, number)| *number);
    let all: Value = serde_json::from_str(&cluster.ctl(k, &["-o", "json", "partition", "list"]).ok()).unwrap();
    let of = |partition: &Value| partition["replicas"].as_array().unwrap().iter().map(number).collect();
    all.as_array().unwrap().iter().map(of).collect()
}

/// True if the replicas are on these nodes, and the first of them is to lead.
fn is_on(replicas: &[u64], nodes: [u64; 3]) -> bool {
    replicas.first() == nodes.first() && replicas.len() == 3 && nodes.iter().all(|node| replicas.contains(node))
}

fn start_move(cluster: &Cluster, k: usize, partitions: &str, to: &[u64]) {
    let to = to.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
    cluster.ctl(k, &["partition", "move", partitions, "--to", &to]).ok();
}

#[test]
fn partitions_move_to_a_fourth_node_while_clients_write_and_a_node_is_killed() {
    let mut cluster = Cluster::processes();
    // Here partitions move when the test says so.
    cluster.ctl(0, &["rebalance", "--pause"]).ok();
    let fourth = cluster.start_fourth();
    let [a, b, c, d] = cluster.members_with_fourth();
    let load = Load::start("moves", &cluster.doors(), KEYS);
    (0..Cluster::NODES).for_each(|k| load.wait_progress(k, Cluster::NODES, 20));

    // Replicas in place: the target's leader has the rows.
    start_move(&cluster, 0, "0-63", &[a, b, d]);
    println!("64 partitions, their leader in place: {} ms", wait_moved(&cluster, 0).as_millis());
    assert!(replicas(&cluster, 0)[..64].iter().all(|of| is_on(of, [a, b, d])));
    (0..Cluster::NODES).for_each(|k| load.wait_progress(k, Cluster::NODES, 20));

    // A node is killed while as many go on to a set that the fourth leads.
    start_move(&cluster, 0, "64-127", &[d, b, c]);
    cluster.kill(1);
    [0, 2].iter().for_each(|k| load.wait_progress(*k, Cluster::NODES, 20));
    cluster.start_node(1);
    cluster.wait_serving(1);
    wait_moved(&cluster, 0);
    (0..Cluster::NODES).for_each(|k| load.wait_progress(k, Cluster::NODES, 20));
    let moved = replicas(&cluster, 2);
    assert!(moved[64..128].iter().all(|of| is_on(of, [d, b, c])), "{:?}", moved[64]);

    // And back, with the leader of what moves killed in the middle.
    start_move(&cluster, 2, "0-63", &[c, a, b]);
    cluster.kill(0);
    [1, 2].iter().for_each(|k| load.wait_progress(*k, Cluster::NODES, 20));
    cluster.start_node(0);
    cluster.wait_serving(0);
    wait_moved(&cluster, 2);
    (0..Cluster::NODES).for_each(|k| load.wait_progress(k, Cluster::NODES, 20));
    let moved = replicas(&cluster, 1);
    assert!(moved.len() == PARTITIONS && moved[..64].iter().all(|of| is_on(of, [c, a, b])));
    println!("{}", load.stop().check(&cluster.door(2)));
    cluster.check_replicas_with(fourth);
}

/// Prints how long a key was without an answer at most while its partition moved. Fails if a partition is not where it was moved to, or its
/// replicas differ.
#[test]
fn all_partitions_move_to_other_sets_of_nodes_while_clients_read_and_write() {
    let mut cluster = Cluster::processes();
    cluster.ctl(0, &["rebalance", "--pause"]).ok();
    let fourth = cluster.start_fourth();
    let [a, b, c, d] = cluster.members_with_fourth();
    let quiet = Probes::start(&cluster.doors(), 32);
    std::thread::sleep(Duration::from_secs(3));
    println!("longest time without an answer: {} ms at rest", quiet.stop().as_millis());
    for (what, to) in [
        ("in place", [b, c, a]),
        ("in place, one copied", [b, c, d]),
        ("in place, led by the node that joined", [d, a, b]),
    ] {
        let probes = Probes::start(&cluster.doors(), 32);
        for part in ["0-63", "64-127", "128-191", "192-264"] {
            start_move(&cluster, 0, part, &to);
            wait_moved(&cluster, 0);
        }
        println!("longest time without an answer: {} ms {what}", probes.stop().as_millis());
    }
    assert!(replicas(&cluster, 0).iter().all(|of| is_on(of, [d, a, b])));
    cluster.check_replicas_with(fourth);
}
