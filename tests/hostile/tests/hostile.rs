//! redis-server and a hostile package side by side on three nodes: whatever the one does, the other serves.
//!
//! Each misbehaviour ends in an error that says what happened, and afterwards redis-server answers on every node, the hostile package
//! itself works on another connection and another key, its log names what happened, and no node has panicked or taken
//! more than [`MEMORY_BYTES_MAX`].

#![allow(clippy::disallowed_methods)]

use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use recoil_cluster_tests::{Cluster, Ports, Redis, Reply, eventually};
use recoil_hostile::{Hostile, share_instances, write_package};

/// Peak resident memory of a node: two apps at their limits, and what a debug build needs by itself.
const MEMORY_BYTES_MAX: u64 = 1 << 30;
const PATIENCE: Duration = Duration::from_secs(30);
/// Longer than a node, busy or not, should take for one small command.
const SLOW: Duration = Duration::from_secs(3);

struct Side {
    cluster: Cluster,
    port: u16,
    file: PathBuf,
    _alone: MutexGuard<'static, ()>,
}

/// One at a time: what is soon on a machine that serves one cluster is not on one that serves three.
static MACHINE: Mutex<()> = Mutex::new(());

impl Side {
    /// Three processes with both packages.
    fn by_side(limits: &[(&str, u64)]) -> Self {
        let alone = MACHINE.lock().unwrap_or_else(PoisonError::into_inner);
        let cluster = Cluster::processes();
        let port = Ports::free(3).redis(0) - cluster.ports().offset;
        let file = cluster.path("hostile.wasm");
        write_package(&file, "hostile", port, limits);
        cluster.ctl(0, &["install", "--yes", file.to_str().unwrap()]).ok();
        let side = Side { cluster, port, file, _alone: alone };
        for k in 0..Cluster::NODES {
            eventually("the hostile package answers", || match side.connect(k).ask("a", "echo", 1) {
                Ok(line) if line == "ok 1" => Ok(()),
                other => Err(format!("{other:?}")),
            });
        }
        side
    }

    fn connect(&self, k: usize) -> Hostile {
        let port = self.port + self.cluster.ports().offset + k as u16;
        Hostile::connect(port, PATIENCE).expect("the port is open")
    }

    /// Both packages still serve, everywhere, and soon.
    fn check(&mut self, after: &str) {
        for k in 0..Cluster::NODES {
            let started = Instant::now();
            let mut redis = Redis::connect(self.cluster.ports().redis(k)).expect("redis-server's port is open");
            for key in 0..16 {
                let (key, value) = (format!("key:{key}"), format!("{after} {k}"));
                let set = redis.command(&["SET", &key, &value]);
                assert_eq!(set.unwrap(), Reply::Simple("OK".to_owned()), "after {after}, node {k}");
                assert_eq!(redis.command(&["GET", &key]).unwrap().text(), Some(value), "after {after}, node {k}");
            }
            assert!(started.elapsed() < SLOW * 4, "after {after}, node {k}: {:?}", started.elapsed());
            assert_eq!(self.connect(k).ask("another", "echo", 7).unwrap(), "ok 7", "after {after}, node {k}");
        }
        for k in 0..Cluster::NODES {
            let peak = peak_bytes(self.cluster.program(k).id());
            assert!(peak < MEMORY_BYTES_MAX, "after {after}, node {k} has taken {} MiB", peak >> 20);
            let stderr = self.cluster.program(k).stderr();
            assert!(!stderr.contains("panicked"), "after {after}, node {k}:\n{stderr}");
        }
    }

    /// The cluster ends before the next one begins.
    fn stop(mut self) {
        self.cluster.stop();
    }

    /// The log of the hostile package says so.
    fn check_log(&self, text: &str) {
        eventually("a line in the log", || {
            let log = self.cluster.ctl(0, &["logs", "hostile"]).ok();
            if log.contains(text) { Ok(()) } else { Err(format!("no '{text}' in:\n{}", tail(&log))) }
        });
    }

    /// A misbehaviour, the error that its caller gets, and a word in the log, unless that is empty.
    fn provoke(&mut self, word: &str, number: usize, error: &str, logged: &str) {
        let answer = self.connect(0).ask("victim", word, number);
        let said = answer.as_ref().map_or_else(ToString::to_string, Clone::clone);
        assert!(said.contains(error), "{word} {number}: {said}, without '{error}'");
        self.check(word);
        if !logged.is_empty() {
            self.check_log(logged);
        }
    }
}

fn tail(text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(20)..].join("\n")
}

fn peak_bytes(process: u32) -> u64 {
    let text = std::fs::read_to_string(format!("/proc/{process}/status")).expect("it runs");
    let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("a peak");
    line.trim().trim_end_matches(" kB").parse::<u64>().expect("a number") << 10
}

/// Fails if what the manifest says of instances is ignored, one way or the other.
#[test]
fn instances_answer_for_one_partition_or_for_any_as_the_manifest_says() {
    let mut side = Side::by_side(&[]);
    let shared = side.port + 10;
    let file = side.cluster.path("shared.wasm");
    write_package(&file, "shared", shared, &[]);
    share_instances(&file);
    side.cluster.ctl(0, &["install", "--yes", file.to_str().unwrap()]).ok();
    // Of calls to many partitions, those that were the first of their instance.
    let made = |port: u16| {
        let port = port + side.cluster.ports().offset;
        let mut asked = Hostile::connect(port, PATIENCE).expect("the port is open");
        (0..400).filter(|key| asked.ask(&format!("key:{key}"), "count", 0).unwrap() == "ok 1").count()
    };
    let (own, shared) = (made(side.port), made(shared));
    assert!(own > 150 && shared <= 16, "{own} and {shared} instances were made");
    side.check("counting");
    side.stop();
}

/// Red for a misbehaviour when the limit that its error names is not enforced.
#[test]
fn a_handler_that_misbehaves_costs_its_call_only() {
    let mut side = Side::by_side(&[]);
    let cases: &[(&str, usize, &str, &str)] = &[
        ("loop", 0, "limit call_ms", "ran longer than 1000 ms"),
        ("host-calls", 1_000_000_000, "limit call_ms", "ran longer than 1000 ms"),
        ("sleep", 100_000, "waited longer than", "waited longer than"),
        ("grow", 0, "ok ", ""),
        ("grow-and-trap", 100 << 20, "limit memory_bytes", "limit memory_bytes"),
        ("trap", 0, "unreachable", "unreachable"),
        ("recurse", 0, "err Error::Failed", "the handler failed"),
        ("answer", 40 << 20, "limit answer_bytes", ""),
        ("key", 1 << 20, "limit key_bytes", ""),
        ("value", 10 << 20, "limit value_bytes", ""),
        ("writes", 20, "limit transaction_bytes", ""),
        ("put-many", 300_000, "limit transaction_writes", ""),
        ("timers", 1_000_000, "limit timers", "limit timers"),
        ("publish", 1_000_000, "limit publishes", "limit publishes"),
        ("log", 20_000, "", "lines that the app wrote here were dropped"),
        ("log-huge", 4 << 20, "ok", ""),
        ("stdout", 20_000, "", "lines that the app wrote here were dropped"),
        ("stdout-endless-line", 100_000, "", ""),
        ("due-timers", 64, "ok", "a timer of this package never succeeds"),
    ];
    for (word, number, error, logged) in cases {
        side.provoke(word, *number, error, logged);
    }
    // Many at once: all threads would be taken if they were anybody's.
    let mut looping: Vec<Hostile> = (0..18).map(|_| side.connect(0)).collect();
    for (at, connection) in looping.iter_mut().enumerate() {
        connection.send(&format!("key {at}").replace(' ', ":"), if at % 3 == 0 { "trap" } else { "loop" }, 0).unwrap();
    }
    side.check("loops on many partitions");
    drop(looping);
    side.stop();
}

/// Fails if a spinning listener keeps a core for itself (the engine's `courtesy`), or a limit named here is not enforced.
#[test]
fn a_listener_that_misbehaves_costs_its_connection_only() {
    let mut side = Side::by_side(&[("compute_ms", 2000), ("app_memory_bytes", 128 << 20)]);
    side.provoke("@trap", 0, "end of file", "unreachable");
    side.provoke("@grow-and-trap", 100 << 20, "end of file", "limit memory_bytes");
    side.provoke("@submit", 5000, "end of file", "limit pending_calls");
    side.provoke("@subscribe", 5000, "end of file", "limit subscriptions");
    side.provoke("@many", 70_000, "end of file", "limit calls");
    side.provoke("@many", 20_000, "ok 20000", "");
    side.provoke("@request", 20 << 20, "limit request_bytes", "");
    side.provoke("@many-answers", 100, "ok 3 Some(", "");
    side.provoke("@log", 20_000, "ok", "lines that the app wrote here were dropped");

    // Those that are ended for it, several at once: what they compute is counted while they get a processor, which is little.
    let mut looping: Vec<Hostile> = (0..4).map(|_| side.connect(1)).collect();
    for connection in &mut looping {
        connection.send("a", "@loop", 0).unwrap();
    }
    side.check("listeners that loop");
    side.check_log("goes on behind everything else");
    side.check_log("limit compute_ms");
    for mut connection in looping {
        connection.wait_end().unwrap();
    }
    // Memory that instances keep: all of them together are bounded.
    for at in 0..40 {
        let answer = side.connect(0).ask(&format!("hold:{at}"), "hold", 32 << 20).unwrap();
        assert!(answer.starts_with("ok "), "{answer}");
    }
    side.check("instances that keep their memory");
    // Those that never end by themselves.
    let mut lasting = Vec::new();
    for word in ["@mute", "@deaf", "@flood", "@poll"] {
        for _ in 0..4 {
            let mut connection = side.connect(1);
            connection.send("a", word, 0).unwrap();
            lasting.push(connection);
        }
    }
    side.check("listeners that never end");
    side.stop();
}

/// Fails if a limit is shown that this test does not know how to exceed, or does not hold at the value shown.
#[test]
fn every_limit_is_shown_and_holds_at_what_the_manifest_says() {
    let low: &[(&str, u64, &str, usize, &str)] = &[
        ("call_ms", 50, "loop", 0, "ran longer than 50 ms"),
        ("memory_bytes", 8 << 20, "grow-and-trap", 16 << 20, "limit memory_bytes: 8 MiB"),
        ("request_bytes", 100_000, "@request", 100_001, "limit request_bytes: 100000"),
        ("answer_bytes", 1000, "answer", 1001, "limit answer_bytes: 1000"),
        ("key_bytes", 100, "key", 101, "limit key_bytes: 100"),
        ("value_bytes", 2 << 20, "value", (2 << 20) + 1, "limit value_bytes: 2097152"),
        ("transaction_bytes", 3 << 20, "writes", 4, "limit transaction_bytes: 3145728"),
        ("transaction_writes", 10, "puts", 11, "limit transaction_writes: 10"),
        ("timers", 5, "timers", 6, "limit timers: 5"),
        ("publishes", 5, "publish", 6, "limit publishes: 5"),
        ("host_call_bytes", 3 << 20, "log-huge", 4 << 20, "fuel"),
        ("calls", 20, "@many", 21, ""),
        ("pending_calls", 20, "@submit", 21, ""),
        ("subscriptions", 20, "@subscribe", 21, ""),
        ("compute_ms", 200, "@loop", 0, ""),
        ("log_lines_per_second", 10, "log", 1000, ""),
    ];
    // Shown here and exceeded elsewhere: by the test of the room that enforces it.
    let elsewhere = [
        "app_memory_bytes", // above, and host/engine/tests
        "table_elements",   // host/engine/src/environment.rs
        "stack_bytes",      // `recurse`, above
        "resources",        // the resource table's own bound
        "connections",      // host/gateway/src/tcp/tests.rs
        "http_ms",          // host/engine/tests/engine/http.rs
        "idle_ms",          // host/engine/tests/engine/listeners.rs
        "scan_bytes",       // host/engine/src/transaction/tests.rs
        "writing_bytes",    // host/cluster/src/evaluate/usage.rs
        "waiting_bytes",    // the same
        "answering_bytes",  // the same
        "log_bytes",        // host/engine/src/app_log.rs
    ];
    let limits: Vec<(&str, u64)> = low.iter().map(|(name, value, ..)| (*name, *value)).collect();
    let mut side = Side::by_side(&limits);
    let shown = side.cluster.ctl(0, &["-o", "json", "inspect", "hostile"]).ok();
    let shown: serde_json::Value = serde_json::from_str(&shown).unwrap();
    let shown = shown["limits"].as_array().unwrap();
    for limit in shown {
        let name = limit["name"].as_str().unwrap();
        match low.iter().find(|(low, ..)| *low == name) {
            Some((_, value, ..)) => assert_eq!(limit["value"], *value, "{name}"),
            None => assert!(elsewhere.contains(&name), "{name} is shown, and nothing shows that it holds"),
        }
    }
    assert_eq!(shown.len(), low.len() + elsewhere.len());
    let table = side.cluster.ctl(0, &["inspect", "hostile"]).ok();
    assert!(low.iter().all(|(name, ..)| table.contains(name)), "{table}");

    for (name, _, word, number, expected) in low {
        let answer = side.connect(0).ask("victim", word, *number);
        let said = answer.as_ref().map_or_else(ToString::to_string, Clone::clone);
        if expected.is_empty() {
            side.check_log(&format!("limit {name}"));
        } else {
            assert!(said.contains(expected), "{name}: {word} {number}: {said}, without '{expected}'");
        }
    }
    side.check("all limits");

    let file = side.file.clone();
    write_package(&file, "unlimited", side.port + 10, &[("no_such_limit", 1)]);
    let refused = side.cluster.ctl(0, &["install", "--yes", file.to_str().unwrap()]).failed(1);
    assert!(refused.contains("limits.no_such_limit") && refused.contains("call_ms"), "{refused}");
    side.stop();
}
