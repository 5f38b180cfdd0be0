//! Keyspaces with rules, in a cluster of two regions: what is fenced stays in its region, on every disk, whatever happens.

// Whole programs from plain threads: nothing here runs in a node.
#![allow(clippy::disallowed_methods)]

use std::path::{Path, PathBuf};

use recoil_cluster_tests::{Ports, Program, Ran, Redis, Reply, eventually, program, run};
use serde_json::Value;
use tempfile::TempDir;

/// Three nodes in one region, two in another.
const PLACES: [&str; 5] =
    ["region=eu,zone=a", "region=eu,zone=b", "region=eu,zone=c", "region=us,zone=a", "region=us,zone=b"];
const EU: [usize; 3] = [0, 1, 2];
const US: [usize; 2] = [3, 4];
/// Values that are written at a time.
const VALUES: usize = 60;
/// What every value of the fenced app begins with, and nothing else on any disk.
const SECRET: &str = "c0ffee-secret-of-eu-";

struct Regions {
    programs: Vec<Option<Program>>,
    ports: Ports,
    folder: TempDir,
}

impl Regions {
    fn start() -> Self {
        let folder = TempDir::with_prefix("recoil-test-").unwrap();
        let programs = PLACES.iter().map(|_| None).collect();
        let mut regions = Regions { programs, ports: Ports::free(PLACES.len() as u16), folder };
        for (k, place) in PLACES.iter().enumerate() {
            regions.start_node(k, place);
        }
        regions.wait("every partition has a leader", |status| status["ready"] == true);
        regions
    }

    fn node_dir(&self, k: usize) -> PathBuf {
        self.folder.path().join(format!("data-{k}"))
    }

    fn start_node(&mut self, k: usize, place: &str) {
        let mut arguments = vec![
            "start".to_owned(),
            format!("--data-dir={}", self.node_dir(k).display()),
            format!("--listen={}", self.ports.admin(k)),
            format!("--expect={}", PLACES.len()),
            "--partitions=8".to_owned(),
            format!("--port-offset={}", usize::from(self.ports.offset) + k),
            format!("--locality={place}"),
        ];
        arguments.extend((k > 0).then(|| format!("--join={}", self.ports.admin(0))));
        let log = self.folder.path().join(format!("node-{k}"));
        self.programs[k] = Some(Program::start(&program("recoil"), &arguments, &log));
    }

    fn kill(&mut self, k: usize) {
        let mut program = self.programs[k].take().unwrap();
        program.check_sound();
        program.kill();
    }

    fn stop(&mut self) {
        for mut program in self.programs.iter_mut().filter_map(Option::take) {
            program.check_sound();
            assert!(program.terminate().success(), "{}", program.stderr());
        }
    }

    fn ctl(&self, k: usize, arguments: &[&str]) -> Ran {
        run(program("recoilctl"), &[&["--server", &self.ports.admin(k)], arguments].concat())
    }

    fn json(&self, k: usize, arguments: &[&str]) -> Result<Value, String> {
        let ran = self.ctl(k, &[&["-o", "json"], arguments].concat());
        match ran.code {
            Some(0 | 10) => serde_json::from_str(&ran.stdout).map_err(|error| error.to_string()),
            _ => Err(ran.stderr),
        }
    }

    /// Waits until the status says so, as a node of the fenced region sees it.
    fn wait(&self, what: &str, is_so: impl Fn(&Value) -> bool) -> Value {
        eventually(what, || {
            let status = self.json(0, &["status"])?;
            if is_so(&status) { Ok(status) } else { Err(status.to_string()) }
        })
    }

    /// Waits until the keyspace has so many replicas of every partition, all of them with all rows, and nothing moves.
    fn wait_settled(&self, replicas: usize) {
        self.wait(&format!("{replicas} replicas and nothing moves"), |status| {
            let keyspace = keyspace(status, "eu-data");
            keyspace["moving"] == 0 && keyspace["under_replicated"] == 0 && keyspace["leaders_present"] == 8
        });
        eventually("every partition has its replicas", || {
            let all = self.json(0, &["partition", "list", "--keyspace", "eu-data"])?;
            let members = |at: &Value| at["replicas"].as_array().map_or(0, Vec::len);
            let is_so =
                all.as_array().is_some_and(|all| all.len() == 8 && all.iter().all(|at| members(at) == replicas));
            if is_so { Ok(()) } else { Err(all.to_string()) }
        });
    }

    /// Ids of the nodes, in their order.
    fn ids(&self) -> Vec<String> {
        let status = self.json(0, &["status"]).unwrap();
        let nodes = status["nodes"].as_array().unwrap();
        let id = |k| {
            let address = self.ports.admin(k);
            let node = nodes.iter().find(|node| node["address"] == address.as_str()).unwrap();
            assert_eq!(node["locality"], PLACES[k]);
            node["id"].as_str().unwrap().to_owned()
        };
        (0..PLACES.len()).map(id).collect()
    }

    fn write(&self, k: usize, round: usize) {
        eventually("the values are written", || {
            let mut redis = Redis::connect(self.ports.redis(k)).map_err(|error| error.to_string())?;
            for number in 0..VALUES {
                let (key, value) = (format!("{round}:{number}"), value(round, number));
                match redis.command(&["SET", &key, &value]) {
                    Ok(Reply::Simple(_)) => {}
                    other => return Err(format!("{other:?}")),
                }
            }
            Ok(())
        });
    }

    fn check_values(&self, k: usize, rounds: usize) {
        for round in 0..rounds {
            for number in 0..VALUES {
                let key = format!("{round}:{number}");
                let read = eventually("a value is read", || {
                    let mut redis = Redis::connect(self.ports.redis(k)).map_err(|error| error.to_string())?;
                    match redis.command(&["GET", &key]) {
                        Ok(reply @ Reply::Bulk(_)) => Ok(reply.text()),
                        other => Err(format!("{other:?}")),
                    }
                });
                assert_eq!(read, Some(value(round, number)), "{key}");
            }
        }
    }

    fn listens(&self, k: usize) -> bool {
        Redis::connect(self.ports.redis(k)).is_ok()
    }
}

fn keyspace<'a>(status: &'a Value, name: &str) -> &'a Value {
    status["keyspaces"].as_array().unwrap().iter().find(|keyspace| keyspace["name"] == name).unwrap_or(&Value::Null)
}

fn value(round: usize, number: usize) -> String {
    format!("{SECRET}{round}-{number}-{}", "x".repeat(40))
}

/// The files below a folder that contain the bytes.
fn containing(folder: &Path, wanted: &[u8]) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            found.extend(containing(&path, wanted));
        } else if std::fs::read(&path).is_ok_and(|content| content.windows(wanted.len()).any(|bytes| bytes == wanted)) {
            found.push(path);
        }
    }
    found
}

fn files(folder: &Path) -> Vec<PathBuf> {
    std::fs::read_dir(folder)
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path())
        .filter(|p| p.is_file())
        .collect()
}

/// Fails if data, log, snapshots, the package or the port of an app is anywhere but where its keyspace's rule allows it, after a move, a drain, a
/// kill -9 and changed numbers of replicas; if any of these loses a value; if an order against the rule is not refused with the reason; or
/// if a node whose locality changes keeps what it must not have.
#[test]
fn a_fenced_keyspace_stays_in_its_region() {
    let mut regions = Regions::start();
    let ids = regions.ids();
    let create = |require: &str, replicas: &str| {
        let rules = ["--require", require, "--spread-by", "zone", "--prefer-leader", "zone=a"];
        let what = ["keyspace", "create", "eu-data", "--partitions", "8", "--replicas", replicas];
        regions.ctl(4, &[&what[..], &rules].concat())
    };
    let none = create("region=mars", "2").failed(1);
    assert!(none.contains("2 active nodes with region=mars") && none.contains("there are 0"), "{none}");
    assert!(create("region=eu", "4").failed(1).contains("there are 3"));
    let made = create("region=eu", "2").ok();
    assert!(made.contains("8 (8 with a leader") && !made.contains(&ids[3]), "{made}");
    let listed = regions.ctl(3, &["keyspace", "list"]).ok();
    assert!(listed.contains("eu-data") && listed.contains("region=eu") && listed.contains("default"), "{listed}");

    // The package is uploaded to a node outside.
    let install = ["install", "--yes", "redis-server", "--name", "sessions", "--keyspace", "eu-data"];
    let installed = regions.ctl(4, &install).ok();
    assert!(installed.contains("serving on 3 of 3 nodes"), "{installed}");
    assert!(EU.iter().all(|k| regions.listens(*k)) && !US.iter().any(|k| regions.listens(*k)));
    regions.write(0, 0);

    let outside = regions.ctl(0, &["partition", "move", "0-7", "--keyspace", "eu-data", "--to", &ids[1..=3].join(",")]);
    let outside = outside.failed(1);
    assert!(outside.contains("has 2 replicas"), "{outside}");
    let to = [ids[1].as_str(), ids[3].as_str()].join(",");
    let outside = regions.ctl(0, &["partition", "move", "0-7", "--keyspace", "eu-data", "--to", &to]).failed(1);
    assert!(outside.contains("keyspace eu-data requires region=eu") && outside.contains("region=us"), "{outside}");
    let used = regions.ctl(0, &["keyspace", "delete", "--yes", "eu-data"]).failed(1);
    assert!(used.contains("used by the apps sessions"), "{used}");

    // A move by hand, a drain, and more and fewer replicas.
    let to = [ids[1].as_str(), ids[2].as_str()].join(",");
    let moved = regions.ctl(0, &["partition", "move", "0-7", "--keyspace", "eu-data", "--to", &to]);
    assert!(moved.code == Some(0) || moved.stderr.contains("already"), "{moved:?}");
    regions.write(1, 1);
    regions.wait_settled(2);
    regions.ctl(0, &["node", "drain", "--no-wait", &ids[1]]).ok();
    eventually("the node is drained", || match regions.json(0, &["node", "show", &ids[1]])? {
        shown if shown["is_done"] == true => Ok(()),
        shown => Err(format!("{shown} {:?} {}", regions.json(0, &["moves"]), regions.json(0, &["status"])?)),
    });
    regions.write(2, 2);
    regions.wait_settled(2);
    let left = regions.json(0, &["partition", "list", "--keyspace", "eu-data"]).unwrap();
    let holds = |at: &Value| at["replicas"].as_array().unwrap().iter().any(|node| *node == ids[1].as_str());
    assert!(!left.as_array().unwrap().iter().any(holds), "{left}");
    regions.ctl(0, &["node", "undrain", &ids[1]]).ok();
    let few = regions.ctl(0, &["keyspace", "set", "eu-data", "replicas=5"]).failed(1);
    assert!(few.contains("5 active nodes with region=eu") && few.contains("there are 3"), "{few}");
    regions.ctl(0, &["keyspace", "set", "eu-data", "replicas=3"]).ok();
    regions.wait_settled(3);
    regions.write(0, 3);

    // One of each region is killed, and the rest of the fenced one goes on.
    regions.kill(2);
    regions.kill(3);
    regions.write(1, 4);
    regions.start_node(2, PLACES[2]);
    regions.start_node(3, PLACES[3]);
    regions.wait_settled(3);
    regions.ctl(0, &["keyspace", "set", "eu-data", "replicas=2"]).ok();
    regions.wait_settled(2);
    eventually("the restarted node serves", || if regions.listens(2) { Ok(()) } else { Err(String::new()) });
    regions.check_values(2, 5);
    assert!(!US.iter().any(|k| regions.listens(*k)));
    // Where it was uploaded, the package is no longer needed.
    for k in US {
        let packages = regions.node_dir(k).join("packages");
        eventually("the package is gone", || match files(&packages) {
            none if none.is_empty() => Ok(()),
            some => Err(format!("{some:?}")),
        });
    }
    regions.stop();
    let secret = SECRET.as_bytes();
    for k in EU {
        assert!(!containing(&regions.node_dir(k), secret).is_empty(), "the search finds what is there: node {k}");
    }
    for k in US {
        assert_eq!(containing(&regions.node_dir(k), secret), Vec::<PathBuf>::new(), "node {k}");
        assert_eq!(
            files(&regions.node_dir(k).join("code")),
            Vec::<PathBuf>::new(),
            "node {k} has compiled the package"
        );
    }

    // A node moves out of the region with what it holds.
    for (k, place) in PLACES.iter().enumerate() {
        regions.start_node(k, if k == 1 { "region=us" } else { place });
    }
    eventually("the node that moved away holds nothing any more", || {
        let shown = regions.json(0, &["keyspace", "show", "eu-data"])?;
        let is_so = shown["nodes"].as_array().is_some_and(|nodes| nodes.len() == 2)
            && shown["outside"].as_array().is_some_and(Vec::is_empty)
            && (shown["leaders_present"] == 8 && shown["moving"] == 0);
        if is_so { Ok(()) } else { Err(shown.to_string()) }
    });
    regions.wait_settled(2);
    assert!(!regions.listens(1));
    eventually("the others serve", || if regions.listens(2) { Ok(()) } else { Err(String::new()) });
    regions.check_values(2, 5);
    let few = regions.ctl(0, &["node", "decommission", &ids[2]]).failed(1);
    assert!(few.contains("1 active nodes with region=eu would remain"), "{few}");

    regions.ctl(0, &["uninstall", "--yes", "sessions"]).ok();
    regions.ctl(0, &["keyspace", "delete", "--yes", "eu-data"]).ok();
    regions.wait("the keyspace and its groups are gone", |status| {
        let groups = status["groups"].as_array().unwrap();
        status["keyspaces"].as_array().unwrap().len() == 1
            && groups.iter().all(|group| group["id"] == 0 || group["partitions"] != 0)
    });
    regions.stop();
}
