//! Partitions that the cluster moves by itself: to a node that joins, and from a node that is lost for good.

// Whole programs under load from plain threads: nothing here runs in a node.
#![allow(clippy::disallowed_methods)]

use recoil_cluster_tests::{Cluster, Load, PATIENCE, eventually};
use serde_json::Value;

/// Enough for most partitions to own some.
const KEYS: usize = 64;
/// Of a cluster as it is made.
const PARTITIONS: u64 = 265;

/// What each node holds and leads, by its address, as node k sees it.
fn loads(cluster: &Cluster, k: usize) -> Result<Vec<(String, u64, u64)>, String> {
    let status = cluster.status(k)?;
    let nodes = status["nodes"].as_array().ok_or("no nodes")?;
    let of = |node: &Value| {
        let (held, led) = (node["replicas"].as_u64()?, node["partitions_led"].as_u64()?);
        Some((node["address"].as_str()?.to_owned(), held, led))
    };
    nodes.iter().map(|node| of(node).ok_or(format!("not a node: {node}"))).collect()
}

/// Waits until partitions are where they should be: none is moving or lacks a replica, each of these nodes has its share, others nothing.
fn wait_even(cluster: &Cluster, k: usize, addresses: &[String]) {
    let share = PARTITIONS * 3 / addresses.len() as u64;
    let even = || {
        let status = cluster.status(k)?;
        let keyspace = &status["keyspaces"][0];
        if keyspace["moving"] != 0 || keyspace["under_replicated"] != 0 || keyspace["leaders_present"] != PARTITIONS {
            return Err(format!("{keyspace}"));
        }
        for (address, held, led) in loads(cluster, k)? {
            let is_due = addresses.contains(&address);
            let is_even = held * 10 <= share * 11 + 10 && held * 10 + 10 >= share * 9 && (led + 1) * 30 >= share * 8;
            if is_due != (held > 0) || is_due && !is_even {
                return Err(format!("{address} holds {held} and leads {led}; its share is {share} replicas: {status}"));
            }
        }
        // Groups that nothing uses are gone.
        let groups = status["groups"].as_array().ok_or("no groups")?;
        match groups.iter().find(|group| group["id"] != 0 && group["partitions"] == 0) {
            Some(empty) => Err(format!("group {empty} is empty")),
            None => Ok(()),
        }
    };
    let began = std::time::Instant::now();
    while let Err(why) = even() {
        // Moves go on in rounds, each of which a small machine takes its time for.
        assert!(began.elapsed() < 3 * PATIENCE, "not every node has its share: {why}");
        std::thread::sleep(std::time::Duration::from_millis(200));
    }
    println!("even after {} s", began.elapsed().as_secs());
}

/// Fails if a node that joins gets nothing or too little, if what a dead node held is not replaced by itself, if a node that returns does not let
/// go of groups that have gone meanwhile, or if any of it loses a write, applies one twice or leaves replicas that differ.
#[test]
fn a_node_that_joins_gets_its_share_and_a_dead_one_is_replaced() {
    let mut cluster = Cluster::processes();
    cluster.ctl(0, &["cluster", "set", "repair-after=5s"]).ok();
    let load = Load::start("balance", &cluster.doors(), KEYS);
    (0..Cluster::NODES).for_each(|k| load.wait_progress(k, Cluster::NODES, 20));

    let fourth = cluster.start_fourth();
    let all = [cluster.admin(0), cluster.admin(1), cluster.admin(2), cluster.fourth_admin()];
    wait_even(&cluster, 0, &all);
    (0..Cluster::NODES).for_each(|k| load.wait_progress(k, Cluster::NODES, 20));

    cluster.kill(1);
    let left = [cluster.admin(0), cluster.admin(2), cluster.fourth_admin()];
    wait_even(&cluster, 0, &left);
    assert!(cluster.ctl(0, &["cluster", "show"]).ok().contains("lost nodes"));
    [0, 2].iter().for_each(|k| load.wait_progress(*k, Cluster::NODES, 20));

    cluster.start_node(1);
    cluster.wait_serving(1);
    wait_even(&cluster, 2, &all);
    (0..Cluster::NODES).for_each(|k| load.wait_progress(k, Cluster::NODES, 20));
    println!("{}", load.stop().check(&cluster.door(2)));
    let status = cluster.status(0).unwrap();
    let groups: Vec<u64> =
        status["groups"].as_array().unwrap().iter().map(|group| group["id"].as_u64().unwrap()).collect();
    cluster.check_replicas_with(fourth);
    for k in 0..=Cluster::NODES {
        let stored = cluster.stored_groups(k);
        assert!(
            stored.iter().all(|group| groups.contains(&u64::from(*group))),
            "node {k} keeps {stored:?} of {groups:?}"
        );
    }
}

/// Fails if a paused cluster moves anything by itself, or a resumed one does not.
#[test]
fn a_paused_cluster_moves_nothing() {
    let cluster = Cluster::processes();
    assert!(cluster.ctl(0, &["rebalance", "--pause"]).ok().contains("paused"));
    let _fourth = cluster.start_fourth();
    eventually("four nodes are live", || match loads(&cluster, 0)?.len() {
        4 => Ok(()),
        count => Err(format!("{count} nodes")),
    });
    std::thread::sleep(std::time::Duration::from_secs(5));
    assert_eq!(loads(&cluster, 0).unwrap().iter().filter(|(_, held, _)| *held == PARTITIONS).count(), 3);
    cluster.ctl(0, &["rebalance", "--resume"]).ok();
    eventually("the fourth node gets replicas", || {
        let fourth = loads(&cluster, 0)?.into_iter().find(|(address, ..)| *address == cluster.fourth_admin());
        fourth.filter(|(_, held, _)| *held > 0).map(drop).ok_or_else(|| "none yet".to_owned())
    });
}
