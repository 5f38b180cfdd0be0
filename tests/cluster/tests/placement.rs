//! The partition map of a new cluster, made by a package's scheduler or, if that cannot be used, by the built-in one.

use std::path::{Path, PathBuf};

use recoil::packages::PACKAGES;
use recoil_cluster_tests::{Cluster, Program, eventually, program, run};
use serde_json::Value;

const PARTITIONS: u64 = 265;

/// Every other partition is led by the node shown last, the others by the one before it.
const ALTERNATES: &str = r#"(module
    (memory (export "memory") 4)
    (global $heap (mut i32) (i32.const 1024))
    (data (i32.const 64) "the last\nnodes first")
    (func $realloc (export "cabi_realloc") (param i32 i32 i32) (param $size i32) (result i32)
      (global.get $heap)
      (global.set $heap (i32.and (i32.add (i32.add (global.get $heap) (local.get $size)) (i32.const 7)) (i32.const -8))))
    (func (export "recoil:plugin/scheduler@0.1.0#plan")
      (param $nodes i32) (param $count i32) (param i32 i32) (param $partition i32) (param $rest i32) (result i32)
      (local $at i32) (local $node i32)
      ;; Twice the nodes from the last to the first, at 128: what begins at the first or second of them is a set.
      (local.set $at (i32.const 128))
      (loop $more
        (local.set $node (i32.add (local.get $nodes) (i32.mul (i32.sub (local.get $count) (i32.const 1)) (i32.const 40))))
        (i32.store (local.get $at) (i32.load (local.get $node)))
        (i32.store offset=12 (local.get $at) (i32.load (local.get $node)))
        (local.set $at (i32.add (local.get $at) (i32.const 4)))
        (br_if $more (local.tee $count (i32.sub (local.get $count) (i32.const 1)))))
      ;; The placements, as the answer at 32 has them.
      (local.set $at (call $realloc (i32.const 0) (i32.const 0) (i32.const 4) (i32.mul (local.get $rest) (i32.const 24))))
      (i32.store (i32.const 36) (local.get $at))
      (i32.store (i32.const 40) (local.get $rest))
      (loop $more
        (i64.store (local.get $at) (i64.load (local.get $partition)))
        (i32.store offset=8 (local.get $at)
          (i32.add (i32.const 128) (i32.shl (i32.and (i32.load offset=4 (local.get $partition)) (i32.const 1)) (i32.const 2))))
        (i32.store offset=12 (local.get $at) (i32.const 3))
        (i32.store offset=16 (local.get $at) (i32.const 64))
        (i32.store offset=20 (local.get $at) (i32.const 20))
        (local.set $at (i32.add (local.get $at) (i32.const 24)))
        (local.set $partition (i32.add (local.get $partition) (i32.const 40)))
        (br_if $more (local.tee $rest (i32.sub (local.get $rest) (i32.const 1)))))
      (i32.const 32)))"#;

const TRAPS: &str = r#"(module
    (memory (export "memory") 4)
    (global $heap (mut i32) (i32.const 1024))
    (func (export "cabi_realloc") (param i32 i32 i32) (param $size i32) (result i32)
      (global.get $heap)
      (global.set $heap (i32.and (i32.add (i32.add (global.get $heap) (local.get $size)) (i32.const 7)) (i32.const -8))))
    (func (export "recoil:plugin/scheduler@0.1.0#plan") (param i32 i32 i32 i32 i32 i32) (result i32) unreachable))"#;

/// A package with nothing but a scheduler, built as its author does.
fn package(folder: &Path, name: &str, module: &str) -> PathBuf {
    std::fs::create_dir_all(folder).unwrap();
    std::fs::write(folder.join("module.wasm"), wat::parse_str(module).unwrap()).unwrap();
    let manifest =
        format!("name = \"{name}\"\nversion = \"1.0.0\"\n[build]\ncommand = \"true\"\ncomponent = \"module.wasm\"\n");
    std::fs::write(folder.join("recoil.toml"), manifest).unwrap();
    run(program("recoilctl"), &["build", "--path", &folder.display().to_string()]).ok();
    folder.join(format!("{name}.wasm"))
}

/// What each node leads, by member number, once every partition is led by the node that its set names first.
fn led(cluster: &Cluster) -> Vec<u64> {
    eventually("the preferred nodes lead", || {
        let status = cluster.status(0)?;
        let groups = status["groups"].as_array().ok_or("no groups")?;
        let settled =
            groups.iter().filter(|group| group["id"] != 0).all(|group| group["leader"] == group["members"][0]);
        let mut nodes: Vec<&Value> = status["nodes"].as_array().into_iter().flatten().collect();
        nodes.sort_by_key(|node| node["member"].as_u64());
        let led: Vec<u64> = nodes.iter().filter_map(|node| node["partitions_led"].as_u64()).collect();
        if settled && led.iter().sum::<u64>() == PARTITIONS { Ok(led) } else { Err(status.to_string()) }
    })
}

#[test]
fn a_scheduler_makes_the_map() {
    let mut cluster = Cluster::new(false);
    let planner = package(&cluster.path("planner"), "planner", ALTERNATES).display().to_string();
    cluster.start_simulator(&["--scheduler", &planner]);
    assert_eq!(led(&cluster), [0, PARTITIONS / 2, PARTITIONS.div_ceil(2)]);
    let groups = cluster.status(0).unwrap()["groups"].as_array().unwrap().len();
    assert_eq!(groups, 3, "two replica sets and the meta group");
    let refused = cluster.ctl(0, &["install", "--yes", &planner]).failed(1);
    assert!(refused.contains("a scheduler and nothing else") && refused.contains("--scheduler FILE"), "{refused}");
    cluster.stop();
    // The map is the cluster's: nobody is asked again.
    cluster.start_simulator(&[]);
    assert_eq!(led(&cluster), [0, PARTITIONS / 2, PARTITIONS.div_ceil(2)]);
}

#[test]
fn an_answer_that_makes_no_map_is_not_used() {
    let cluster = Cluster::new(true);
    let planner = package(&cluster.path("planner"), "planner", ALTERNATES).display().to_string();
    let (data, listen) = (cluster.node_dir(0).display().to_string(), cluster.admin(0));
    let arguments = ["start", "--data-dir", &data, "--listen", &listen, "--scheduler", &planner].map(str::to_owned);
    let mut node = Program::start(&program("recoil"), &arguments, &cluster.path("node"));
    node.wait_for_line("it hosts partitions", |line| line.ends_with("bootstrapped cluster hosting 265 partitions"));
    let log = node.stderr();
    assert!(log.contains("planner 1.0.0") && log.contains("placed on 3 nodes instead of 1"), "{log}");
    assert!(node.terminate().success());
}

#[test]
fn where_the_scheduler_traps_the_built_in_one_makes_the_map_and_the_log_says_why() {
    let mut cluster = Cluster::new(false);
    let planner = package(&cluster.path("planner"), "breaker", TRAPS).display().to_string();
    cluster.start_simulator(&["--scheduler", &planner]);
    let led = led(&cluster);
    assert!(led.iter().all(|count| *count > PARTITIONS / 4), "{led:?}");
    let log = cluster.program(0).stderr();
    assert!(log.contains("breaker 1.0.0") && log.contains("the built-in one places"), "{log}");
    assert!(log.contains("reached unreachable code"), "{log}");
    cluster.stop();
}

#[test]
fn what_has_no_scheduler_is_refused_at_the_start() {
    let cluster = Cluster::new(false);
    let file = cluster.path("redis-server.wasm");
    let redis = PACKAGES.iter().find(|package| package.name == "redis-server").unwrap();
    std::fs::write(&file, redis.archive).unwrap();
    let (file, absent) = (file.display().to_string(), cluster.path("absent.wasm").display().to_string());
    for (scheduler, why) in
        [(file, "redis-server 0.1.0 does not export recoil:plugin/scheduler"), (absent, "No such file")]
    {
        let arguments = [cluster.simulator_arguments(), vec!["--scheduler".to_owned(), scheduler.clone()]].concat();
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let said = run(program("recoil_simulator"), &arguments).failed(1);
        assert!(said.contains(&scheduler) && said.contains(why) && said.contains("without --scheduler"), "{said}");
    }
}
