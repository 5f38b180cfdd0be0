//! Nodes of different versions in one cluster. There is one version of Recoil yet: a node says of itself what a later one would say.

// Whole programs from plain threads: nothing here runs in a node.
#![allow(clippy::disallowed_methods)]

use recoil_cluster_tests::{Cluster, Redis, Reply, eventually};

/// A version that speaks one wire version more and understands one feature level more.
const NEXT: &str = "--compatibility=2-3,1-2";

/// Counts once, whatever it takes, and answers the number.
fn count(cluster: &Cluster, k: usize) -> i64 {
    eventually("the count is acknowledged", || {
        let mut redis = Redis::connect(cluster.ports().redis(k)).map_err(|error| error.to_string())?;
        match redis.command(&["INCR", "count"]) {
            Ok(Reply::Integer(number)) => Ok(number),
            other => Err(format!("{other:?}")),
        }
    })
}

/// Fails if nodes of two versions do not serve together at every step of an upgrade of one node after the other, if one that has no version
/// in common with the others is taken in, or if it is not said which one is to be upgraded.
#[test]
fn a_cluster_is_upgraded_one_node_after_the_other() {
    let mut cluster = Cluster::processes();
    assert_eq!(count(&cluster, 0), 1);
    for upgraded in 0..Cluster::NODES {
        assert!(cluster.program(upgraded).terminate().success());
        cluster.start_node_with(upgraded, &[NEXT]);
        cluster.wait_serving(upgraded);
        cluster.wait_ready();
        // Each node asks those of the other version, too: the key's leader is one of them.
        let before = count(&cluster, 0);
        for k in 1..Cluster::NODES {
            assert_eq!(count(&cluster, k), before + k as i64, "{upgraded} nodes are upgraded");
        }
    }

    // Too new for these, too old, and of an older version that is still understood.
    let mut newer = cluster.start_fourth_with(&["--compatibility=4-5,1-2"]);
    newer.wait_for_complaint("it is refused", |line| line.contains("have none in common: upgrade node"));
    newer.kill();
    std::fs::remove_dir_all(cluster.node_dir(Cluster::NODES)).unwrap();
    let mut later = cluster.start_fourth_with(&["--compatibility=2-9,2-9"]);
    later.wait_for_complaint("it is refused", |line| {
        line.contains("understands feature levels 2 to 9") && line.contains("the cluster is at level 1")
    });
    later.kill();
    std::fs::remove_dir_all(cluster.node_dir(Cluster::NODES)).unwrap();
    let mut older = cluster.start_fourth();
    older.wait_for_line("it joins", |line| line.contains("joined cluster"));
    assert_eq!(cluster.status(0).unwrap()["nodes"].as_array().unwrap().len(), 4);
    let before = count(&cluster, 0);
    assert_eq!(count(&cluster, 2), before + 1);
    assert!(older.terminate().success());
    cluster.stop();
}
