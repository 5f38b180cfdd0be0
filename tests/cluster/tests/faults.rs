//! Processes that die and processes whose time stops, under load.
//!
//! In each test clients append and read through every node while it happens; afterwards their histories must be those of
//! one server that did each thing once, and all replicas must hold the same rows.
//!
//! `RECOIL_FAULT_ROUNDS=100` makes the first test kill so many times; it prints how long a partition was without an answer
//! after each kill, and at the end the longest time.

// Whole programs under load from plain threads: nothing here runs in a node.
#![allow(clippy::disallowed_methods)]

use std::time::Duration;

use recoil_cluster_tests::{Cluster, Load, Probes, Reply, eventually};

/// Enough for every group to own some.
const KEYS: usize = 16;

fn rounds(usual: usize) -> usize {
    let asked = std::env::var("RECOIL_FAULT_ROUNDS").ok();
    asked.map_or(usual, |rounds| rounds.parse().expect("RECOIL_FAULT_ROUNDS is a number"))
}

fn others(k: usize) -> [usize; 2] {
    [(k + 1) % Cluster::NODES, (k + 2) % Cluster::NODES]
}

/// Every third kill takes the node that leads most, the others each node in turn, every seventh all of them.
/// What each lie of a cluster looks like to the checker is in its own tests.
#[test]
fn nodes_are_killed_in_turn_and_together_and_nothing_is_lost_or_done_twice() {
    let mut cluster = Cluster::processes();
    let rounds = rounds(4);
    let mut longest = Duration::ZERO;
    for round in 0..rounds {
        let load = Load::start(&format!("round{round}"), &cluster.doors(), KEYS);
        (0..Cluster::NODES).for_each(|k| load.wait_progress(k, Cluster::NODES, 20));
        if round % 7 == 3 {
            cluster.kill_all();
            (0..Cluster::NODES).for_each(|k| cluster.start_node(k));
        } else {
            let victim = if round % 3 == 0 { cluster.busiest(0) } else { round % Cluster::NODES };
            let led = eventually("who leads", || cluster.led(victim))[victim];
            let outage = kill_one(&mut cluster, victim, &load);
            println!("round {round}: node {victim}, which led {led}: {} ms without an answer", outage.as_millis());
            longest = longest.max(outage);
        }
        (0..Cluster::NODES).for_each(|k| cluster.wait_serving(k));
        (0..Cluster::NODES).for_each(|k| load.wait_progress(k, Cluster::NODES, 20));
        let summary = load.stop().check(&cluster.door(round % Cluster::NODES));
        println!("round {round}: {summary}");
        assert!(summary.appends > 50, "{summary}");
    }
    println!("{rounds} rounds: the longest time that a key was without an answer is {} ms", longest.as_millis());
    cluster.check_replicas();
}

/// Kills a node, waits until the others serve all of the load's keys, and starts it again. Answers the longest outage seen there.
fn kill_one(cluster: &mut Cluster, victim: usize, load: &Load) -> Duration {
    let survivors = others(victim);
    let doors = survivors.map(|k| cluster.door(k));
    let probes = Probes::start(&doors, 12);
    std::thread::sleep(Duration::from_millis(300));
    cluster.kill(victim);
    std::thread::sleep(Duration::from_millis(500));
    survivors.iter().for_each(|k| load.wait_progress(*k, Cluster::NODES, 20));
    doors[0].wait_writable();
    let outage = probes.stop();
    cluster.start_node(victim);
    outage
}

/// The node that leads most is stopped for longer than its lease, again and again. The requests that wait in its sockets when it
/// wakes were sent after others had been told of newer values: it must not answer them from what it knew.
#[test]
fn a_leader_that_slept_through_its_lease_answers_nothing_old() {
    let mut cluster = Cluster::processes();
    for round in 0..3 {
        let sleeper = cluster.busiest(round % Cluster::NODES);
        let load = Load::start(&format!("sleep{round}"), &cluster.doors(), KEYS);
        (0..Cluster::NODES).for_each(|k| load.wait_progress(k, Cluster::NODES, 20));
        let door = cluster.door(sleeper);
        let mut waiting: Vec<_> = (0..8).map(|_| door.connect().expect("it is awake")).collect();
        cluster.program(sleeper).pause();
        std::thread::sleep(Duration::from_millis(500));
        let [one, other] = others(sleeper);
        let newer = cluster.door(one);
        newer.wait_writable();
        // These are acknowledged while it sleeps, and asked for of it after that.
        let keys: Vec<String> = (0..40).map(|number| format!("asleep{round}:{number}")).collect();
        let mut redis = newer.connect().unwrap();
        for key in &keys {
            assert_eq!(redis.command(&["SET", key, "new"]).unwrap(), Reply::Simple("OK".to_owned()));
        }
        [one, other].iter().for_each(|k| load.wait_progress(*k, Cluster::NODES, 20));
        let commands: Vec<[&str; 2]> = keys.iter().map(|key| ["GET", key.as_str()]).collect();
        let commands: Vec<&[&str]> = commands.iter().map(|command| &command[..]).collect();
        waiting.iter_mut().for_each(|redis| redis.send(&commands).unwrap());
        cluster.program(sleeper).resume();
        let (mut right, mut errors) = (0, 0);
        for redis in &mut waiting {
            for key in &keys {
                match redis.reply().unwrap() {
                    Reply::Bulk(Some(value)) if value == b"new" => right += 1,
                    Reply::Error(_) => errors += 1,
                    other => panic!("{key}, asked for while node {sleeper} slept: {other:?}"),
                }
            }
        }
        println!("round {round}: {right} right answers and {errors} errors of what waited in node {sleeper}");
        load.wait_progress(sleeper, Cluster::NODES, 20);
        println!("round {round}: {}", load.stop().check(&cluster.door(sleeper)));
    }
    cluster.wait_ready();
    cluster.check_replicas();
}

/// A node that comes back leads again what it is the preferred leader of, without anybody losing or repeating anything. Red without
/// the chore that hands leadership back: its partitions stay where they went.
#[test]
fn a_node_that_comes_back_leads_its_share_again() {
    let mut cluster = Cluster::processes();
    let led = |cluster: &Cluster| eventually("who leads", || cluster.led(0));
    let before = led(&cluster);
    let victim = cluster.busiest(0);
    assert!(before.iter().all(|led| *led > 0), "{before:?}");
    let load = Load::start("return", &cluster.doors(), KEYS);
    cluster.kill(victim);
    others(victim).iter().for_each(|k| load.wait_progress(*k, Cluster::NODES, 20));
    cluster.start_node(victim);
    cluster.wait_serving(victim);
    eventually("every node leads what it led", || {
        let now = cluster.led(0)?;
        if now == before { Ok(()) } else { Err(format!("{now:?}, and {before:?} before")) }
    });
    (0..Cluster::NODES).for_each(|k| load.wait_progress(k, Cluster::NODES, 20));
    println!("{}", load.stop().check(&cluster.door(victim)));
    cluster.check_replicas();
}
