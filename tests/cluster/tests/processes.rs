//! A process for each node, killed as machines are: acknowledged writes survive.

// Whole programs under load from plain threads: nothing here runs in a node.
#![allow(clippy::disallowed_methods)]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use recoil_cluster_tests::{Cluster, Program, Redis, Reply, eventually, program};

/// Writes through one node's port for as long as it is let, and knows what was acknowledged.
struct Writer {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Vec<String>>,
}

impl Writer {
    fn start(name: &str, port: u16) -> Self {
        let (stop, name) = (Arc::new(AtomicBool::new(false)), name.to_owned());
        let stopped = stop.clone();
        let thread = std::thread::spawn(move || {
            let mut acknowledged = Vec::new();
            let mut connection = None;
            for number in 0.. {
                if stopped.load(Ordering::Relaxed) {
                    break;
                }
                let key = format!("{name}:{number}");
                let answer = match connection.take().map_or_else(|| Redis::connect(port), Ok) {
                    Ok(mut redis) => redis.command(&["SET", &key, &key]).map(|reply| (reply, redis)),
                    Err(error) => Err(error),
                };
                match answer {
                    Ok((Reply::Simple(ok), redis)) if ok == "OK" => {
                        acknowledged.push(key);
                        connection = Some(redis);
                    }
                    // An error is an honest answer: the write may be there or not, and nothing was promised.
                    Ok((_, redis)) => connection = Some(redis),
                    Err(_) => std::thread::sleep(Duration::from_millis(20)),
                }
            }
            acknowledged
        });
        Writer { stop, thread }
    }

    fn stop(self) -> Vec<String> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().unwrap()
    }
}

/// Every key is there, read through node k.
fn check_all(cluster: &Cluster, k: usize, keys: &[String]) {
    let mut redis = Redis::connect(cluster.ports().redis(k)).unwrap();
    for chunk in keys.chunks(500) {
        let commands: Vec<[&str; 2]> = chunk.iter().map(|key| ["GET", key.as_str()]).collect();
        let commands: Vec<&[&str]> = commands.iter().map(|command| &command[..]).collect();
        for (key, reply) in chunk.iter().zip(redis.pipeline(&commands).unwrap()) {
            assert_eq!(reply.text().as_deref(), Some(key.as_str()), "an acknowledged write is lost: {reply:?}");
        }
    }
}

/// Writing works through node k, for keys of every group.
fn wait_writable(cluster: &Cluster, k: usize) {
    let port = cluster.ports().redis(k);
    eventually("writes go on", || {
        let mut redis = Redis::connect(port).map_err(|error| error.to_string())?;
        for number in 0..50 {
            match redis.command(&["SET", &format!("probe:{number}"), "1"]) {
                Ok(Reply::Simple(_)) => {}
                other => return Err(format!("node {k}: {other:?}")),
            }
        }
        Ok(())
    });
}

/// What an operator and a program see while node `k` is down. Fails if partitions that lack a replica look healthy.
fn check_status_with_node_down(cluster: &Cluster, k: usize) {
    let (status, address) = (cluster.status(0).unwrap(), cluster.admin(k));
    let down = status["nodes"].as_array().unwrap().iter().find(|node| node["address"] == address.as_str()).unwrap();
    let now_us = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap().as_micros() as u64;
    let silent_us = now_us - down["down_since_us"].as_u64().unwrap();
    assert!((1_000_000..60_000_000).contains(&silent_us), "{down}");
    assert_eq!((&down["replicas"], &down["replicas_current"]), (&265.into(), &0.into()), "{down}");
    assert_eq!(status["keyspaces"][0]["under_replicated"], 265, "{status}");
    let problem = &status["problems"][0];
    assert_eq!((&problem["kind"], &problem["subject"]), (&"node-down".into(), &down["id"]), "{status}");
    let ran = cluster.ctl(2, &["status"]);
    assert_eq!(ran.code, Some(10), "somebody should act: {ran:?}");
    for expected in ["265 partitions lack a replica", "down since 20", &format!("at {address} has not answered for")] {
        assert!(ran.stdout.contains(expected), "{expected}: {}", ran.stdout);
    }
    assert!(ran.stdout.contains("every partition has a leader"), "{}", ran.stdout);
}

#[test]
fn one_of_three_may_be_killed_under_load() {
    let mut cluster = Cluster::processes();
    // Nodes 0 and 2 stay, and each partition of node 1 gets another leader.
    let writers = [Writer::start("a", cluster.ports().redis(0)), Writer::start("b", cluster.ports().redis(2))];
    std::thread::sleep(Duration::from_secs(1));
    cluster.kill(1);
    wait_writable(&cluster, 0);
    std::thread::sleep(Duration::from_secs(1));
    let acknowledged: Vec<String> = writers.into_iter().flat_map(Writer::stop).collect();
    assert!(acknowledged.len() > 100, "only {} writes were acknowledged", acknowledged.len());
    check_all(&cluster, 0, &acknowledged);
    check_all(&cluster, 2, &acknowledged);
    eventually("the others notice", || {
        let status = cluster.status(0)?;
        let down = status["nodes"].as_array().unwrap().iter().filter(|node| node["state"] == "down").count();
        if down == 1 && status["ready"] == true { Ok(()) } else { Err(status.to_string()) }
    });
    check_status_with_node_down(&cluster, 1);

    // It comes back, serves, and after the next loss it is needed.
    cluster.start_node(1);
    cluster.wait_ready();
    cluster.wait_serving(1);
    eventually("nothing needs attention", || match cluster.ctl(0, &["status"]) {
        ran if ran.code == Some(0) && ran.stdout.contains("has a leader and all its replicas") => Ok(()),
        ran => Err(format!("{ran:?}")),
    });
    check_all(&cluster, 1, &acknowledged);
    cluster.kill(2);
    wait_writable(&cluster, 1);
    check_all(&cluster, 1, &acknowledged);
}

#[test]
fn all_may_be_killed_and_what_was_acknowledged_is_there() {
    let mut cluster = Cluster::processes();
    let mut acknowledged: Vec<String> = Vec::new();
    for round in 0..2 {
        let writers: Vec<Writer> =
            (0..3).map(|k| Writer::start(&format!("{round}-{k}"), cluster.ports().redis(k))).collect();
        std::thread::sleep(Duration::from_millis(1500));
        cluster.kill_all();
        let before = acknowledged.len();
        acknowledged.extend(writers.into_iter().flat_map(Writer::stop));
        assert!(acknowledged.len() > before + 50, "only {} writes were acknowledged", acknowledged.len() - before);
        for k in 0..Cluster::NODES {
            cluster.start_node(k);
        }
        cluster.wait_ready();
        for k in 0..Cluster::NODES {
            cluster.wait_serving(k);
            check_all(&cluster, k, &acknowledged);
        }
    }
    cluster.stop();
}

#[test]
fn two_of_three_gone_means_no_answer_rather_than_a_wrong_one() {
    let mut cluster = Cluster::processes();
    assert_eq!(cluster.redis_cli(0, &["set", "key", "value"]), "OK");
    cluster.kill(1);
    cluster.kill(2);
    let mut redis = Redis::connect(cluster.ports().redis(0)).unwrap();
    let reply = redis.command(&["SET", "key", "other"]);
    assert!(!matches!(reply, Ok(Reply::Simple(_))), "one of three must not acknowledge a write: {reply:?}");
    let read = Redis::connect(cluster.ports().redis(0)).unwrap().command(&["GET", "key"]);
    assert!(!matches!(read, Ok(Reply::Bulk(_))), "nor answer a linearizable read: {read:?}");
    cluster.start_node(1);
    wait_writable(&cluster, 0);
    let value = cluster.redis_cli(1, &["get", "key"]);
    assert!(value == "value" || value == "other", "{value}");
}

#[test]
fn a_node_alone_serves_and_a_folder_has_one_node() {
    let mut cluster = Cluster::new(true);
    let arguments: Vec<String> =
        cluster.node_arguments(0).into_iter().filter(|argument| !argument.starts_with("--expect")).collect();
    let mut node = Program::start(&program("recoil"), &arguments, &cluster.path("alone"));
    let sentence = node.wait_for_line("it hosts", |line| line.contains(" cluster hosting "));
    assert!(sentence.ends_with(" bootstrapped cluster hosting 265 partitions"), "{sentence}");
    cluster.ctl(0, &["install", "--yes", "redis-server"]).ok();
    assert_eq!(cluster.redis_cli(0, &["set", "greeting", "hello"]), "OK");

    let mut second = Program::start(&program("recoil"), &arguments, &cluster.path("second"));
    assert_eq!(second.wait().code(), Some(1));
    assert!(
        second.stderr().contains(cluster.node_dir(0).to_str().unwrap()),
        "it names the folder: {}",
        second.stderr()
    );
    assert_eq!(cluster.redis_cli(0, &["get", "greeting"]), "hello");

    // A taken port, in a folder of its own.
    let elsewhere = cluster.path("elsewhere").display().to_string();
    let arguments =
        ["start".to_owned(), format!("--data-dir={elsewhere}"), format!("--listen={}", cluster.ports().admin(0))];
    let mut third = Program::start(&program("recoil"), &arguments, &cluster.path("third"));
    assert_eq!(third.wait().code(), Some(1));
    assert!(third.stderr().contains(&cluster.ports().admin(0)), "it names the address: {}", third.stderr());
    assert!(node.terminate().success(), "{}", node.stderr());
    cluster.stop();
}
