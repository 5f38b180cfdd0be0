//! Cables that break: cut off, cut in one direction, cut between two of three, slow, lossy, loose.
//!
//! Each node is in a network namespace of its own and its clients are with it, so that a node that is cut off goes on being
//! asked. It must answer nothing old and acknowledge nothing that does not last; when the cable is whole again everything
//! must go on by itself. Needs root and /dev/net/tun; where they are missing, each test says so and does nothing.

// Whole programs under load from plain threads: nothing here runs in a node.
#![allow(clippy::disallowed_methods)]

use std::time::{Duration, Instant};

use recoil_cluster_tests::{Cluster, History, Link, Load, Network, Redis, Reply, eventually};

const KEYS: usize = 16;
const CUT: Link = Link { cut: true, delay: Duration::ZERO, lost_percent: 0 };

fn others(k: usize) -> [usize; 2] {
    [(k + 1) % Cluster::NODES, (k + 2) % Cluster::NODES]
}

fn start(test: &str) -> Option<Cluster> {
    Network::or_skip(test, Cluster::NODES).map(Cluster::networked)
}

/// Runs clients through all nodes while `fault` holds, heals, and checks what they saw.
fn under_load(cluster: &Cluster, name: &str, fault: impl FnOnce(&Cluster, &Load)) -> History {
    let load = Load::start(name, &cluster.doors(), KEYS);
    (0..Cluster::NODES).for_each(|k| load.wait_progress(k, Cluster::NODES, 20));
    let begun = Instant::now();
    fault(cluster, &load);
    let lasted = begun.elapsed();
    cluster.network().heal();
    let healing = Instant::now();
    (0..Cluster::NODES).for_each(|k| load.wait_progress(k, Cluster::NODES, 20));
    let healed = healing.elapsed();
    let history = load.stop();
    let summary = history.check(&cluster.door(0));
    println!("{name}: {} ms, all served {} ms after it: {summary}", lasted.as_millis(), healed.as_millis());
    history
}

/// No read through these nodes failed.
fn check_answered(cluster: &Cluster, history: &History, nodes: [usize; 2]) {
    let failed = history.failed_reads(&nodes.map(|k| cluster.door(k)));
    assert!(failed.is_empty(), "{} reads failed although a majority was there: {:?}", failed.len(), failed[0]);
}

/// Writes keys through one node and asks for them through another, which may not know of them. The answers are still to come.
fn write_and_ask(cluster: &Cluster, write: usize, ask: usize, name: &str) -> Vec<Redis> {
    let keys: Vec<String> = (0..40).map(|number| format!("{name}:{number}")).collect();
    let mut redis = cluster.door(write).connect().unwrap();
    for key in &keys {
        assert_eq!(redis.command(&["SET", key, "new"]).unwrap(), Reply::Simple("OK".to_owned()));
    }
    let ask_for = |key: &String| {
        let mut redis = cluster.door(ask).connect().unwrap();
        redis.send(&[&["GET", key]]).unwrap();
        redis
    };
    keys.iter().map(ask_for).collect()
}

/// Each was answered with what had been written before it was asked, or with an error.
fn check_newer(asked: Vec<Redis>) {
    for mut redis in asked {
        match redis.reply().unwrap() {
            Reply::Bulk(Some(value)) if value == b"new" => {}
            Reply::Error(_) => {}
            other => panic!("a stale read: {other:?}"),
        }
    }
}

/// Terms of all groups together, as node k knows them: each election adds one at least.
fn terms(cluster: &Cluster, k: usize) -> u64 {
    let status = eventually("a status", || cluster.status(k));
    status["groups"].as_array().into_iter().flatten().filter_map(|group| group["term"].as_u64()).sum()
}

/// The others go on, also with what they had asked the lost leader when it went.
///
/// Fails if a leader reads without looking at its lease: it answers old values to those who are cut off with it. The clients of the
/// load do not see that, since their own appends there wait and nobody reads past them; so keys are asked for that only others
/// have written. Reads failed, too, while streams between nodes waited for a silent one without end.
#[test]
fn a_leader_that_is_cut_off_answers_nothing_old() {
    let Some(mut cluster) = start("a_leader_that_is_cut_off") else { return };
    for round in 0..2 {
        let leader = cluster.busiest(round);
        let mut asked = vec![];
        let history = under_load(&cluster, &format!("cut off {round}"), |cluster, load| {
            cluster.network().isolate(leader);
            std::thread::sleep(Duration::from_millis(1500));
            others(leader).iter().for_each(|k| load.wait_progress(*k, Cluster::NODES, 20));
            asked = write_and_ask(cluster, others(leader)[0], leader, &format!("newer{round}"));
        });
        check_newer(asked);
        check_answered(&cluster, &history, others(leader));
    }
    cluster.check_replicas();
}

/// It hears and is not heard, or is heard and does not hear: the others must get a leader that both can work with.
///
/// Red, as the test before, when a leader reads without looking at its lease.
#[test]
fn a_leader_that_is_cut_off_in_one_direction_answers_nothing_old() {
    let Some(mut cluster) = start("a_leader_that_is_cut_off_in_one_direction") else { return };
    for outgoing in [true, false] {
        let leader = cluster.busiest(0);
        let name = if outgoing { "not heard" } else { "deaf" };
        let mut asked = vec![];
        let history = under_load(&cluster, name, |cluster, load| {
            for other in others(leader) {
                let (from, to) = if outgoing { (leader, other) } else { (other, leader) };
                cluster.network().set(from, to, CUT);
            }
            std::thread::sleep(Duration::from_millis(1500));
            others(leader).iter().for_each(|k| load.wait_progress(*k, Cluster::NODES, 20));
            asked = write_and_ask(cluster, others(leader)[0], leader, &format!("newer {name}"));
        });
        check_newer(asked);
        check_answered(&cluster, &history, others(leader));
    }
    cluster.check_replicas();
}

/// Two nodes lose sight of each other and both see the third. The one that cannot reach the leader must not depose it again and
/// again: pre-vote and leases hold it back. Either alone is enough: the test holds without pre-vote.
#[test]
fn two_that_cannot_see_each_other_do_not_fight() {
    let Some(mut cluster) = start("two_that_cannot_see_each_other") else { return };
    let leader = cluster.busiest(0);
    let [third, blind] = others(leader);
    under_load(&cluster, "cut between two", |cluster, load| {
        cluster.network().cut(leader, blind);
        // Groups that lose their leader elect another one, once.
        std::thread::sleep(Duration::from_secs(2));
        let before = terms(cluster, third);
        std::thread::sleep(Duration::from_secs(4));
        let elections = terms(cluster, third) - before;
        println!("terms went up by {elections} in 4 s of a cut between two");
        assert!(elections <= 2, "leadership goes back and forth: terms went up by {elections} in 4 s");
        load.wait_progress(third, Cluster::NODES, 20);
    });
    cluster.check_replicas();
}

/// Slow and lossy links, and one that comes and goes faster than elections.
#[test]
fn slow_lossy_and_loose_links_cost_time_and_nothing_else() {
    let Some(mut cluster) = start("slow_lossy_and_loose_links") else { return };
    let slow = Link { delay: Duration::from_millis(30), lost_percent: 3, ..Link::default() };
    under_load(&cluster, "slow and lossy", |cluster, load| {
        (0..Cluster::NODES).for_each(|k| cluster.network().set_all_of(k, slow));
        std::thread::sleep(Duration::from_secs(2));
        (0..Cluster::NODES).for_each(|k| load.wait_progress(k, Cluster::NODES, 5));
    });
    let leader = cluster.busiest(0);
    under_load(&cluster, "loose", |cluster, _| {
        for turn in 0..12 {
            cluster.network().isolate(leader);
            std::thread::sleep(Duration::from_millis(150 + 50 * (turn % 6)));
            cluster.network().heal();
            std::thread::sleep(Duration::from_millis(100 + 40 * (turn % 5)));
        }
    });
    cluster.check_replicas();
}
