//! Nodes that are gone for good, and with them the majority.

// Whole programs from plain threads: nothing here runs in a node.
#![allow(clippy::disallowed_methods)]

use recoil_cluster_tests::{Cluster, Redis, Reply, eventually};

/// The member numbers of the nodes, by their admin addresses as node 0 knows them.
fn numbers(cluster: &Cluster) -> Vec<String> {
    let status = cluster.status(0).unwrap();
    let nodes = status["nodes"].as_array().unwrap();
    let number =
        |k: usize| nodes.iter().find(|node| node["address"] == cluster.admin(k)).unwrap()["member"].to_string();
    (0..Cluster::NODES).map(number).collect()
}

fn wait_down(cluster: &Cluster, addresses: &[String]) {
    eventually("the dead nodes count as down", || {
        let status = cluster.status(0)?;
        let nodes = status["nodes"].as_array().ok_or("no nodes")?;
        let down = nodes.iter().filter(|node| node["state"] == "down").map(|node| &node["address"]);
        match down.filter(|address| addresses.iter().any(|dead| *address == dead)).count() {
            count if count == addresses.len() => Ok(()),
            count => Err(format!("{count} of {}", addresses.len())),
        }
    });
}

/// Fails if nodes are given up that run, or without being asked about; if the node that is left does not serve again, with every write
/// that had reached it; if a node that was given up takes part again; or if the partitions do not get replicas on a new node.
#[test]
fn a_cluster_that_has_lost_its_majority_continues_from_the_node_that_is_left() {
    let mut cluster = Cluster::processes();
    let numbers = numbers(&cluster);
    let [one, two] = [numbers[1].clone(), numbers[2].clone()];
    let both = format!("{one},{two}");
    let refusal = cluster.ctl(0, &["cluster", "recover", "--lost", &both, "--yes"]).failed(1);
    assert!(refusal.contains("answers: stop it first"), "{refusal}");
    cluster.kill(1);
    wait_down(&cluster, &[cluster.admin(1)]);
    let refusal = cluster.ctl(0, &["cluster", "recover", "--lost", &one, "--yes"]).failed(1);
    assert!(refusal.contains("recoilctl node decommission"), "{refusal}");

    // Two of three acknowledge each of these, and so the one that is left has it.
    let mut redis = Redis::connect(cluster.ports().redis(0)).unwrap();
    for k in 0..200 {
        let (key, value) = (format!("key-{k}"), format!("value-{k}"));
        eventually("the write is acknowledged", || match redis.command(&["SET", &key, &value]) {
            Ok(Reply::Simple(ok)) if ok == "OK" => Ok(()),
            other => Err(format!("{other:?}")),
        });
    }
    cluster.kill(2);
    wait_down(&cluster, &[cluster.admin(1), cluster.admin(2)]);
    let refusal = cluster.ctl(0, &["cluster", "recover", "--lost", &one, "--yes"]).failed(1);
    assert!(refusal.contains("not named as lost"), "{refusal}");
    let unasked = cluster.ctl(0, &["cluster", "recover", "--lost", &both]).failed(1);
    assert!(unasked.contains("add --yes") && unasked.contains("is lost"), "{unasked}");
    let plan = cluster.ctl(0, &["cluster", "recover", "--lost", &both, "--dry-run"]).ok();
    assert!(plan.contains("the cluster's own state: continues from node"), "{plan}");
    assert!(plan.contains("partitions of group 1: continues from node"), "{plan}");
    let down = Redis::connect(cluster.ports().redis(0)).unwrap().command(&["GET", "key-0"]).unwrap();
    assert!(matches!(&down, Reply::Error(text) if text.contains("CLUSTERDOWN")), "nothing was changed: {down:?}");

    let done = cluster.ctl(0, &["cluster", "recover", "--lost", &both, "--yes"]).ok();
    assert!(done.contains("2 nodes were given up"), "{done}");
    let read = |k: usize| {
        eventually("the node that is left serves", || {
            let mut redis = Redis::connect(cluster.ports().redis(0)).map_err(|error| error.to_string())?;
            match redis.command(&["GET", &format!("key-{k}")]).map_err(|error| error.to_string())? {
                Reply::Error(text) => Err(text),
                reply => Ok(reply.text()),
            }
        })
    };
    for k in 0..200 {
        assert_eq!(read(k), Some(format!("value-{k}")));
    }
    assert_eq!(cluster.redis_cli(0, &["set", "later", "value"]), "OK");
    assert_eq!(cluster.status(0).unwrap()["nodes"].as_array().unwrap().len(), 1);
    // A repetition finds nothing to do and says so.
    let again = cluster.ctl(0, &["cluster", "recover", "--lost", &both, "--yes"]).failed(1);
    assert!(again.contains("there is no node"), "{again}");

    let refusal = cluster.refused_node(1);
    assert!(refusal.contains("was removed from the cluster"), "{refusal}");
    let mut fourth = cluster.start_fourth();
    fourth.wait_for_line("it joins", |line| line.contains("joined cluster"));
    eventually("every partition has its replicas again", || {
        let status = cluster.status(0)?;
        let partitions = &status["partitions"];
        match cluster.ctl(0, &["status"]) {
            ran if ran.code == Some(0) && status["nodes"].as_array().is_some_and(|nodes| nodes.len() == 2) => Ok(()),
            ran => Err(format!("{partitions} {}", ran.stdout)),
        }
    });
    assert_eq!(read(199), Some("value-199".to_owned()));
    assert_eq!(cluster.redis_cli(0, &["get", "later"]), "value");
    assert!(fourth.terminate().success());
    cluster.stop();
}
