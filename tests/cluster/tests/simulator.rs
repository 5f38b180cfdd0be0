//! The simulator with redis-server, as the README shows it.

use recoil_cluster_tests::{Cluster, Ports, Program, Redis, Reply, eventually, program, run};

fn is_sentence(line: &str, verb: &str) -> bool {
    let words: Vec<&str> = line.split(' ').collect();
    let id_is_hex = words
        .get(2)
        .is_some_and(|id| id.len() == 8 && id.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')));
    id_is_hex && line == format!("Recoil node {} {verb} cluster hosting 265 partitions", words[2])
}

#[test]
fn three_nodes_serve_one_keyspace() {
    let mut cluster = Cluster::simulator();
    let printed = cluster.program(0).stdout();
    let lines: Vec<&str> = printed.lines().collect();
    assert!(is_sentence(lines[0], "bootstrapped"), "{printed}");
    assert!(is_sentence(lines[1], "joined") && is_sentence(lines[2], "joined"), "{printed}");
    assert!(!printed.contains("recoil>"), "without a terminal there is no prompt: {printed}");

    assert_eq!(cluster.redis_cli(0, &["set", "greeting", "hello"]), "OK");
    for k in 0..Cluster::NODES {
        assert_eq!(cluster.redis_cli(k, &["get", "greeting"]), "hello");
    }
    for k in 0..Cluster::NODES {
        check_status(&cluster, k);
    }
    check_ready_file(&mut cluster);

    let table = cluster.ctl(1, &["status"]).ok();
    assert!(table.contains("every partition has a leader") && table.contains("redis-server"), "{table}");
    let list = cluster.ctl(2, &["list"]).ok();
    assert!(list.contains("redis-server") && list.contains("serving") && list.contains("3 of 3"), "{list}");
    let detail = cluster.ctl(0, &["inspect", "redis-server"]).ok();
    for expected in ["sha256:", "handler", "tcp-listener", "listener redis"] {
        assert!(detail.contains(expected), "{expected}: {detail}");
    }
    cluster.ctl(0, &["logs", "redis-server"]).ok();
    cluster.stop();
}

fn check_status(cluster: &Cluster, k: usize) {
    let status = cluster.status(k).unwrap();
    let nodes = status["nodes"].as_array().unwrap();
    assert_eq!(nodes.len(), 3, "{status}");
    assert!(nodes.iter().all(|node| node["state"] == "live"), "{status}");
    assert_eq!(nodes.iter().filter(|node| node["is_meta_leader"] == true).count(), 1, "{status}");
    let led: Vec<u64> = nodes.iter().map(|node| node["partitions_led"].as_u64().unwrap()).collect();
    assert_eq!(led.iter().sum::<u64>(), 265, "{status}");
    assert!(nodes.iter().all(|node| node["replicas"] == 265), "{status}");
    let keyspace = &status["keyspaces"][0];
    assert_eq!((&keyspace["partitions"], &keyspace["leaders_present"]), (&265.into(), &265.into()), "{status}");
    assert_eq!(status["apps"][0]["name"], "redis-server", "{status}");
    assert_eq!(status["apps"][0]["state"], "serving", "{status}");
    let address = format!("127.0.0.1:{}", cluster.ports().redis(k));
    assert!(status["apps"][0]["listeners"][0]["addresses"].as_array().unwrap().contains(&address.into()), "{status}");
}

fn check_ready_file(cluster: &mut Cluster) {
    let text = std::fs::read_to_string(cluster.path("ready.json")).unwrap();
    let ready: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(ready["pid"], cluster.program(0).id(), "{text}");
    let nodes = ready["nodes"].as_array().unwrap();
    assert_eq!(nodes.len(), 3, "{text}");
    for (k, node) in nodes.iter().enumerate() {
        assert_eq!(node["admin"], cluster.ports().admin(k), "{text}");
        assert!(std::path::Path::new(node["data_dir"].as_str().unwrap()).is_dir(), "{text}");
    }
    assert_eq!(ready["apps"][0]["name"], "redis-server", "{text}");
    assert_eq!(ready["apps"][0]["addresses"].as_array().unwrap().len(), 3, "{text}");
}

#[test]
fn redis_py_is_served() {
    let cluster = Cluster::simulator();
    assert_eq!(cluster.python("clients.py").trim(), "ok");
}

#[test]
fn data_outlives_a_stop_and_a_crash() {
    let mut cluster = Cluster::simulator();
    let port = cluster.ports().redis(1);
    let write = |from: usize, to: usize| {
        let mut redis = Redis::connect(port).unwrap();
        for number in from..to {
            let (key, value) = (format!("key:{number}"), format!("value {number}"));
            assert_eq!(redis.command(&["SET", &key, &value]).unwrap(), Reply::Simple("OK".to_owned()));
        }
    };
    let check = |to: usize| {
        let mut redis = Redis::connect(port).unwrap();
        for number in 0..to {
            let value = redis.command(&["GET", &format!("key:{number}")]).unwrap().text();
            assert_eq!(value, Some(format!("value {number}")), "key:{number}");
        }
    };
    write(0, 300);
    cluster.stop();
    // The app is still installed: nothing is asked for again.
    cluster.start_simulator(&[]);
    cluster.wait_serving(1);
    let printed = cluster.program(0).stdout();
    assert_eq!(
        printed.lines().filter(|line| is_sentence(line, "joined")).count(),
        3,
        "nothing is bootstrapped twice: {printed}"
    );
    check(300);
    write(300, 600);
    // The write answered last is on disk as the one answered first is.
    cluster.kill(0);
    cluster.start_simulator(&[]);
    cluster.wait_serving(1);
    check(600);
}

#[test]
fn apps_come_and_go() {
    let cluster = Cluster::simulator();
    assert_eq!(cluster.redis_cli(0, &["set", "key", "old"]), "OK");
    // Installing what is installed changes nothing. What came with the node is installed without a question.
    cluster.ctl(1, &["install", "redis-server"]).ok();
    assert_eq!(cluster.redis_cli(2, &["get", "key"]), "old");

    // No terminal, no answer: nothing is deleted, and what would be is told.
    let asked = cluster.ctl(1, &["uninstall", "redis-server"]).failed(1);
    assert!(asked.contains("1 row, ") && asked.contains("--yes") && asked.contains("--keep-data"), "{asked}");
    assert_eq!(cluster.redis_cli(2, &["get", "key"]), "old");
    let refused = cluster.ctl(0, &["data", "delete", "redis-server", "--yes"]).failed(1);
    assert!(refused.contains("is installed"), "{refused}");
    cluster.ctl(1, &["uninstall", "redis-server", "--yes"]).ok();
    for k in 0..Cluster::NODES {
        eventually("the port is closed", || {
            match Redis::connect(cluster.ports().redis(k)).and_then(|mut redis| redis.command(&["PING"])) {
                Ok(reply) => Err(format!("it answers {reply:?}")),
                Err(_) => Ok(()),
            }
        });
    }
    let list = cluster.ctl(2, &["-o", "json", "list"]).ok();
    assert_eq!(list.trim(), "[]");
    assert!(cluster.ctl(0, &["uninstall", "redis-server"]).failed(1).contains("there is no app named redis-server"));

    let installed = cluster.ctl(0, &["install", "redis-server"]).ok();
    for k in 0..Cluster::NODES {
        assert!(
            installed.contains(&format!("127.0.0.1:{}", cluster.ports().redis(k))),
            "an address for each node: {installed}"
        );
        cluster.wait_serving(k);
    }
    assert_eq!(cluster.redis_cli(0, &["get", "key"]), "", "its data went with it");
    assert_eq!(cluster.redis_cli(0, &["dbsize"]), "0");
}

/// Fails if kept data are lost, hidden, or deleted without a yes.
#[test]
fn kept_data_are_listed_and_deleted_when_asked_for() {
    let cluster = Cluster::simulator();
    for key in ["a", "b", "c"] {
        cluster.redis_cli(0, &["set", key, "value"]);
    }
    cluster.ctl(1, &["uninstall", "redis-server", "--keep-data"]).ok();
    let listed: serde_json::Value =
        serde_json::from_str(&cluster.ctl(2, &["-o", "json", "data", "list"]).ok()).unwrap();
    let kept = &listed[0];
    assert_eq!((kept["app"].as_str(), kept["state"].as_str()), (Some("redis-server"), Some("kept")), "{listed}");
    assert_eq!((kept["rows"].as_u64(), kept["complete"].as_bool()), (Some(3), Some(true)), "{listed}");
    let asked = cluster.ctl(0, &["data", "delete", "redis-server"]).failed(1);
    assert!(asked.contains("3 rows, ") && asked.contains("nothing was deleted"), "{asked}");
    let twice = cluster.ctl(0, &["uninstall", "redis-server", "--yes"]).failed(1);
    assert!(twice.contains("recoilctl data delete redis-server"), "{twice}");
    cluster.ctl(0, &["install", "redis-server"]).ok();
    assert_eq!(cluster.redis_cli(0, &["get", "b"]), "value");
    cluster.ctl(1, &["uninstall", "redis-server", "--keep-data"]).ok();
    cluster.ctl(0, &["data", "delete", "redis-server", "--yes"]).ok();
    assert!(!cluster.ctl(1, &["data", "list"]).ok().contains("redis-server"));
    assert!(cluster.ctl(1, &["data", "delete", "redis-server", "--yes"]).failed(1).contains("no data kept"));
}

#[test]
fn a_package_file_is_installed_and_a_wrong_one_refused() {
    let cluster = Cluster::simulator();
    let archive = recoil::packages::PACKAGES.iter().find(|package| package.name == "redis-server").unwrap().archive;
    let mut manifest = recoil_package::read(archive).unwrap();
    manifest.name = "my-redis".to_owned();
    // The same row of ports, far enough away from the other app's.
    let port = Ports::free(3).redis(0) - cluster.ports().offset;
    manifest.listeners[0].port = port;
    let file = cluster.path("mine.wasm");
    std::fs::write(&file, recoil_package::embed(archive, &manifest).unwrap()).unwrap();
    cluster.ctl(0, &["install", "--yes", file.to_str().unwrap()]).ok();

    let ask = |k: u16, words: &[&str]| {
        let mut redis = Redis::connect(port + cluster.ports().offset + k).unwrap();
        redis.command(words).unwrap().text()
    };
    assert_eq!(ask(0, &["SET", "key", "mine"]).as_deref(), Some("OK"));
    assert_eq!(ask(2, &["GET", "key"]).as_deref(), Some("mine"));
    assert_eq!(cluster.redis_cli(0, &["get", "key"]), "", "each app has a space of its own");

    let wrong = cluster.path("wrong.wasm");
    std::fs::write(&wrong, b"\0asm\x01\0\0\0").unwrap();
    assert!(cluster.ctl(0, &["install", "--yes", wrong.to_str().unwrap()]).failed(1).contains("core module"));
    assert!(cluster.ctl(0, &["install", "--yes", "./no-such-file.wasm"]).failed(1).contains("no-such-file"));
    assert!(cluster.ctl(0, &["install", "--yes", "no-such-package"]).failed(1).contains("no-such-package"));
    assert!(cluster.ctl(0, &["inspect", "no-such-app"]).failed(1).contains("no-such-app"));
    assert!(cluster.ctl(0, &["logs", "no-such-app"]).failed(1).contains("no-such-app"));
}

#[test]
fn a_folder_is_used_once_and_by_as_many_nodes_as_before() {
    let mut cluster = Cluster::simulator();
    let arguments = cluster.simulator_arguments();
    let mut second = Program::start(&program("recoil_simulator"), &arguments, &cluster.path("second"));
    assert_eq!(second.wait().code(), Some(1));
    assert!(second.stderr().contains("data"), "it names the folder: {}", second.stderr());
    assert_eq!(cluster.redis_cli(0, &["ping"]), "PONG", "the first one goes on");
    cluster.stop();
    let fewer: Vec<String> =
        arguments.iter().map(|argument| argument.replace("--number-of-nodes=3", "--number-of-nodes=1")).collect();
    let fewer: Vec<&str> = fewer.iter().map(String::as_str).collect();
    assert!(run(program("recoil_simulator"), &fewer).failed(1).contains("--number-of-nodes=3"));
}

#[test]
fn without_a_folder_nothing_is_left_behind() {
    let cluster = Cluster::new(false);
    let temporary = cluster.path("tmp");
    std::fs::create_dir(&temporary).unwrap();
    let mut arguments: Vec<String> =
        cluster.simulator_arguments().into_iter().filter(|argument| !argument.starts_with("--data-dir")).collect();
    arguments.push("--partitions=16".to_owned());
    let environment = format!("TMPDIR={}", temporary.display());
    let arguments = [vec![environment, program("recoil_simulator").display().to_string()], arguments].concat();
    let mut simulator = Program::start("env".as_ref(), &arguments, &cluster.path("simulator"));
    simulator.wait_for_line("the simulator is ready", |line| line.starts_with("Data folder: "));
    assert_eq!(std::fs::read_dir(&temporary).unwrap().count(), 1);
    assert!(simulator.terminate().success(), "{}", simulator.stderr());
    assert_eq!(std::fs::read_dir(&temporary).unwrap().count(), 0);
    assert!(simulator.stdout().contains("hosting 16 partitions"));
}

/// Fails if a leader begins on data that lack what an earlier installation had acknowledged.
#[test]
fn an_app_that_comes_back_has_all_that_it_acknowledged() {
    let mut cluster = Cluster::simulator();
    let apps = format!("http://{}/v1/apps", cluster.ports().admin(0));
    for round in 1..=8 {
        let mut redis = Redis::connect(cluster.ports().redis(0)).unwrap();
        let keys: Vec<String> = (0..40).map(|key| format!("key {key}")).collect();
        let commands: Vec<[&str; 2]> = keys.iter().map(|key| ["INCR", key]).collect();
        let commands: Vec<&[&str]> = commands.iter().map(|command| &command[..]).collect();
        assert_eq!(redis.pipeline(&commands).unwrap(), vec![Reply::Integer(round); 40]);
        drop(redis);
        // Faster than recoilctl: what was acknowledged is as young as can be when the app comes back.
        let away = run("curl", &["-sS", "-f", "-X", "DELETE", &format!("{apps}/redis-server?keep-data=true")]);
        assert!(away.ok().contains("data_kept"));
        run("curl", &["-sS", "-f", "-d", r#"{"name": "redis-server"}"#, &apps]).ok();
    }
    cluster.stop();
}

/// Fails if a cluster in which no node has a replica of every partition does not get ready, or a node without calls takes the partitions that
/// others lead for partitions without a leader.
#[test]
fn every_node_of_five_knows_who_leads_the_partitions_of_the_others() {
    let ports = Ports::free(5);
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data").display().to_string();
    let Ports { admin, offset } = ports;
    let arguments = ["--number-of-nodes=5".to_owned(), format!("--data-dir={data}"), format!("--base-port={admin}")];
    let arguments: Vec<String> = arguments.into_iter().chain([format!("--port-offset={offset}")]).collect();
    let mut simulator = Program::start(&program("recoil_simulator"), &arguments, &folder.path().join("simulator"));
    simulator.wait_for_line("five nodes are ready", |line| line.starts_with("Admin API: "));
    for k in 0..5 {
        let status = |arguments: &[&str]| {
            run(program("recoilctl"), &[&["--server", ports.admin(k).as_str()], arguments].concat())
        };
        eventually("nothing needs attention", || match status(&["status"]) {
            ran if ran.code == Some(0) => Ok(()),
            ran => Err(ran.stdout),
        });
        let status: serde_json::Value = serde_json::from_str(&status(&["-o", "json", "status"]).ok()).unwrap();
        assert_eq!(status["keyspaces"][0]["leaders_present"], 265, "{status}");
        let led: u64 =
            status["nodes"].as_array().unwrap().iter().filter_map(|node| node["partitions_led"].as_u64()).sum();
        assert_eq!(led, 265, "{status}");
    }
    assert!(simulator.terminate().success());
}
