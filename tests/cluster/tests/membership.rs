//! Nodes that are drained, decommissioned and replaced, as an operator does it.

// Whole programs from plain threads: nothing here runs in a node.
#![allow(clippy::disallowed_methods)]

use std::path::Path;

use recoil_cluster_tests::{Cluster, Program, Redis, Reply, eventually, program, run};
use serde_json::Value;

/// What node k says of the member that listens on `address`.
fn member(cluster: &Cluster, k: usize, address: &str) -> Result<Value, String> {
    let status = cluster.status(k)?;
    let nodes = status["nodes"].as_array().ok_or("no nodes")?;
    nodes.iter().find(|node| node["address"] == address).cloned().ok_or(format!("nobody at {address}: {status}"))
}

/// A field of a member, once it is there.
fn field(cluster: &Cluster, k: usize, address: &str, name: &str) -> String {
    let found = eventually("the member is known", || member(cluster, k, address));
    found[name].as_str().map_or_else(|| found[name].to_string(), str::to_owned)
}

/// Waits until node k says this of the member at `address`.
fn wait_field(cluster: &Cluster, k: usize, address: &str, name: &str, wanted: &Value) {
    eventually(&format!("{name} of {address} is {wanted}"), || match member(cluster, k, address)? {
        found if found[name] == *wanted => Ok(()),
        found => Err(found.to_string()),
    });
}

fn copy_folder(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap().map(Result::unwrap) {
        match entry.path() {
            path if path.is_dir() => copy_folder(&path, &to.join(entry.file_name())),
            path => drop(std::fs::copy(path, to.join(entry.file_name())).unwrap()),
        }
    }
}

/// Moves partitions, unless somebody does it already, once the nodes answer.
fn move_partitions(cluster: &Cluster, k: usize, partitions: &str, to: &[String]) {
    eventually("the partitions begin to move", || {
        match cluster.ctl(k, &["partition", "move", partitions, "--to", &to.join(",")]) {
            ran if ran.code == Some(0) || ran.stderr.contains("already") => Ok(()),
            ran if ran.stderr.contains("does not answer") => Err(ran.stderr),
            ran => panic!("{}{}", ran.stdout, ran.stderr),
        }
    });
}

fn wait_moved(cluster: &Cluster, k: usize) {
    eventually("nothing is moved any more", || match cluster.ctl(k, &["-o", "json", "moves"]) {
        ran if ran.stdout.trim() == "[]" => Ok(()),
        ran => Err(ran.stdout),
    });
}

/// Fails if a drained node goes on leading or takes new connections, if connections that were open are ended, if a restart ends the drain, or
/// if an undrained node does not serve as before.
#[test]
fn a_drained_node_gives_away_what_it_leads_and_takes_no_new_connections() {
    let mut cluster = Cluster::processes();
    // The one that leads the meta group, too.
    let leads_meta =
        |k: &usize| member(&cluster, 0, &cluster.admin(*k)).is_ok_and(|node| node["is_meta_leader"] == true);
    let k = eventually("the meta group is led", || (0..Cluster::NODES).find(leads_meta).ok_or("by nobody".to_owned()));
    let (other, address) = ((k + 1) % Cluster::NODES, cluster.admin(k));
    let (number, id) = (field(&cluster, other, &address, "member"), field(&cluster, other, &address, "id"));
    assert_eq!(cluster.redis_cli(k, &["set", "key", "value"]), "OK");
    let mut open = Redis::connect(cluster.ports().redis(k)).unwrap();

    let drained = cluster.ctl(other, &["node", "drain", &number]).ok();
    assert!(drained.contains("is drained") && drained.contains("265 replicas stay"), "{drained}");
    let found = member(&cluster, other, &address).unwrap();
    assert_eq!((&found["membership"], &found["partitions_led"]), (&"draining".into(), &0.into()), "{found}");
    assert_eq!(found["is_meta_leader"], false, "{found}");
    let table = cluster.ctl(other, &["node", "list"]).ok();
    assert!(table.contains("live, draining"), "{table}");
    eventually("its port is closed", || match Redis::connect(cluster.ports().redis(k)) {
        Err(_) => Ok(()),
        Ok(_) => Err("it takes connections".to_owned()),
    });
    assert_eq!(open.command(&["GET", "key"]).unwrap().text().as_deref(), Some("value"), "an open connection is served");
    assert_eq!(open.command(&["SET", "key", "other"]).unwrap(), Reply::Simple("OK".into()));
    let listed = cluster.ctl(other, &["list"]).ok();
    assert!(listed.contains("2 of 2") && !listed.contains(&cluster.ports().redis(k).to_string()), "{listed}");

    // Two nodes that remain are too few for three replicas.
    let refusal = cluster.ctl(other, &["node", "decommission", &number]).failed(1);
    assert!(refusal.contains("2 active nodes would remain"), "{refusal}");
    let plan = cluster.ctl(other, &["node", "decommission", &id, "--dry-run"]);
    assert_eq!(plan.code, Some(1), "{plan:?}");
    assert!(plan.stdout.contains("265 replicas would move") && plan.stderr.contains("2 active nodes"), "{plan:?}");
    assert!(cluster.ctl(other, &["node", "drain", "99"]).failed(1).contains("no node 99"));

    cluster.kill(k);
    cluster.start_node(k);
    wait_field(&cluster, other, &address, "state", &"live".into());
    eventually("the restarted node knows that it is drained", || match member(&cluster, k, &address)? {
        found if found["membership"] == "draining" => Ok(()),
        found => Err(found.to_string()),
    });
    assert!(Redis::connect(cluster.ports().redis(k)).is_err(), "it is drained still");

    cluster.ctl(other, &["node", "undrain", &number]).ok();
    cluster.wait_serving(k);
    assert_eq!(cluster.redis_cli(k, &["get", "key"]), "other");
    eventually("it leads its share again", || match cluster.led(other)?[k] {
        0 => Err("it leads nothing".to_owned()),
        _ => Ok(()),
    });
    cluster.stop();
}

/// Fails if a decommissioned node stays a member, does not end, or takes part again by its folder or a copy of it; or if its member number is
/// given to another one.
#[test]
fn a_decommissioned_node_is_removed_and_never_comes_back() {
    let mut cluster = Cluster::processes();
    assert_eq!(cluster.redis_cli(0, &["set", "key", "value"]), "OK");
    // So that the node holds no more than is moved to it here.
    cluster.ctl(0, &["rebalance", "--pause"]).ok();
    let mut fourth = cluster.start_fourth();
    fourth.wait_for_line("it joins", |line| line.contains("joined cluster"));
    assert!(fourth.terminate().success());
    let copy = cluster.path("copy");
    copy_folder(&cluster.node_dir(Cluster::NODES), &copy);
    let mut fourth = cluster.start_fourth();
    fourth.wait_for_line("it is back", |line| line.contains("joined cluster"));
    let address = cluster.fourth_admin();
    wait_field(&cluster, 0, &address, "state", &"live".into());
    let (number, id) = (field(&cluster, 0, &address, "member"), field(&cluster, 0, &address, "id"));
    let three: Vec<String> = (0..3).map(|k| field(&cluster, 0, &cluster.admin(k), "member")).collect();

    move_partitions(&cluster, 0, "0-9", &[number.clone(), three[0].clone(), three[1].clone()]);
    wait_moved(&cluster, 0);
    let plan = cluster.ctl(1, &["node", "decommission", &number, "--dry-run"]).ok();
    assert!(plan.contains("10 replicas would move") && plan.contains("PARTITION"), "{plan}");
    assert_eq!(field(&cluster, 1, &address, "membership"), "active", "nothing was done");
    cluster.ctl(1, &["node", "decommission", &number, "--no-wait"]).ok();
    assert_eq!(field(&cluster, 1, &address, "membership"), "decommissioning");
    cluster.ctl(0, &["rebalance", "--resume"]).ok();

    // Asked of the node itself, which ends: another one is asked.
    let removed = run(program("recoilctl"), &["--server", &address, "node", "decommission", &number]).ok();
    assert!(removed.contains(&format!("node {id} is removed from the cluster")), "{removed}");
    assert_eq!(fourth.wait().code(), Some(0), "{}", fourth.stderr());
    assert!(fourth.stdout().contains("was removed from the cluster"), "{}", fourth.stdout());
    for k in 0..Cluster::NODES {
        eventually("it is no member", || match cluster.status(k)?["nodes"].as_array().map(Vec::len) {
            Some(3) => Ok(()),
            count => Err(format!("{count:?} nodes")),
        });
    }
    assert!(cluster.ctl(2, &["node", "show", &id]).ok().contains("removed from the cluster"));
    cluster.ctl(2, &["node", "decommission", &id]).ok();

    let mut again = cluster.start_fourth();
    assert_eq!(again.wait().code(), Some(1));
    assert!(again.stderr().contains("was removed from its cluster"), "{}", again.stderr());
    let arguments = ["start", "--data-dir", copy.to_str().unwrap(), "--listen", &address].map(str::to_owned);
    let mut copied = Program::start(&program("recoil"), &arguments, &cluster.path("copied"));
    assert_eq!(copied.wait().code(), Some(1), "{}", copied.stdout());
    assert!(copied.stderr().contains("was removed from the cluster"), "{}", copied.stderr());
    assert_eq!(cluster.status(0).unwrap()["nodes"].as_array().unwrap().len(), 3);

    std::fs::remove_dir_all(cluster.node_dir(Cluster::NODES)).unwrap();
    let mut fifth = cluster.start_fourth();
    fifth.wait_for_line("a new node joins there", |line| line.contains("joined cluster"));
    assert_ne!(field(&cluster, 0, &address, "member"), number);
    assert_eq!(cluster.redis_cli(2, &["get", "key"]), "value");
    assert!(fifth.terminate().success());
    cluster.stop();
}

/// Fails if a node that is down cannot be replaced, or takes part again afterwards.
#[test]
fn a_dead_node_is_replaced_by_another_one() {
    let mut cluster = Cluster::processes();
    assert_eq!(cluster.redis_cli(0, &["set", "key", "value"]), "OK");
    let mut fourth = cluster.start_fourth();
    fourth.wait_for_line("it joins", |line| line.contains("joined cluster"));
    let (dead, new) = (cluster.admin(2), cluster.fourth_admin());
    wait_field(&cluster, 0, &new, "state", &"live".into());
    let number = |address: &str| field(&cluster, 0, address, "member");
    let [a, c, d] = [&cluster.admin(0), &dead, &new].map(|address| number(address));
    let (old_id, new_id) = (field(&cluster, 0, &dead, "id"), field(&cluster, 0, &new, "id"));
    cluster.kill(2);
    wait_field(&cluster, 0, &dead, "state", &"down".into());
    // While it is down, the others hold what a second one would take away.
    let refusal = cluster.ctl(0, &["node", "decommission", &a]).failed(1);
    assert!(refusal.contains("without a quorum") && refusal.contains(&old_id), "{refusal}");

    assert!(cluster.ctl(0, &["node", "replace", &c, "--with", &c]).failed(1).contains("cannot take its own place"));
    cluster.ctl(0, &["node", "replace", &c, "--with", &d, "--no-wait"]).ok();
    let found = member(&cluster, 0, &dead).unwrap();
    assert_eq!((&found["membership"], &found["successor"]), (&"decommissioning".into(), &new_id.into()), "{found}");
    let events = cluster.ctl(1, &["-o", "json", "node", "decommission", &old_id]).ok();
    let last: Value = serde_json::from_str(events.lines().last().unwrap()).unwrap();
    assert_eq!((&last["membership"], &last["is_done"]), (&"removed".into(), &true.into()), "{events}");

    let refusal = cluster.refused_node(2);
    assert!(refusal.contains("was removed from the cluster"), "{refusal}");
    assert_eq!(cluster.redis_cli(1, &["get", "key"]), "value");
    eventually("nothing needs attention", || match cluster.ctl(0, &["status"]) {
        ran if ran.code == Some(0) => Ok(()),
        ran => Err(ran.stdout),
    });
    assert!(fourth.terminate().success());
}
