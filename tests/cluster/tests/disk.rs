//! Disks that fill up, folders that are damaged, lost, or brought back from a copy.
//!
//! What a node promised to others is in its log. A node that cannot know what it promised does not start, says why, and
//! changes nothing; one that has only lost what the log or the others still have comes back by itself.

// Whole programs under load from plain threads: nothing here runs in a node.
#![allow(clippy::disallowed_methods)]

use std::fs;

use recoil_cluster_tests::disk::{self, SmallDisk};
use recoil_cluster_tests::{Cluster, Load, Program, Reply, eventually, program};

const KEYS: usize = 16;

/// What a damaged or lost log is answered with.
const REPLACE: &str = "empty data folder";

fn under_load(cluster: &mut Cluster, name: &str, what: impl FnOnce(&mut Cluster, &Load)) {
    let load = Load::start(name, &cluster.doors(), KEYS);
    what(cluster, &load);
    println!("{name}: {}", load.stop().check(&cluster.door(0)));
}

/// Its node says so and ends; the others go on; with room again it comes back.
#[test]
fn a_full_disk_ends_its_node_and_nothing_else() {
    let mut cluster = Cluster::new(true);
    let folder = cluster.node_dir(2);
    let mount = folder.parent().unwrap().join("small");
    let Some(small) = SmallDisk::or_skip("a_full_disk", &mount, 512 << 20) else { return };
    std::os::unix::fs::symlink(small.path().join("node"), &folder).unwrap();
    fs::create_dir(small.path().join("node")).unwrap();
    cluster.start_nodes();
    under_load(&mut cluster, "full", |cluster, load| {
        (0..Cluster::NODES).for_each(|k| load.wait_progress(k, Cluster::NODES, 20));
        small.fill().unwrap();
        let status = cluster.program(2).wait();
        let words = cluster.program(2).stderr();
        assert_eq!(status.code(), Some(1), "{words}");
        assert!(words.contains("cannot go on") && words.contains("No space left on device"), "{words}");
        [0, 1].iter().for_each(|k| load.wait_progress(*k, Cluster::NODES, 20));
        small.empty().unwrap();
        cluster.start_node(2);
        cluster.wait_serving(2);
        load.wait_progress(2, Cluster::NODES, 20);
    });
    cluster.check_replicas();
}

/// A node alone, with redis-server and 200 keys, and its folder when it was killed.
fn killed_alone() -> (Cluster, Program, Vec<String>) {
    let cluster = Cluster::new(true);
    let mut node = start_alone(&cluster);
    node.wait_for_line("it hosts", |line| line.contains(" cluster hosting "));
    cluster.ctl(0, &["install", "--yes", "redis-server"]).ok();
    let mut redis = cluster.door(0).connect().unwrap();
    let keys: Vec<String> = (0..200).map(|number| format!("key:{number}")).collect();
    for key in &keys {
        assert_eq!(redis.command(&["SET", key, key]).unwrap(), Reply::Simple("OK".to_owned()));
    }
    node.kill();
    (cluster, node, keys)
}

fn start_alone(cluster: &Cluster) -> Program {
    let mut arguments = cluster.node_arguments(0);
    arguments.retain(|argument| !argument.starts_with("--expect"));
    Program::start(&program("recoil"), &arguments, &cluster.path("alone"))
}

fn check_alone(cluster: &Cluster, keys: &[String]) {
    cluster.wait_serving(0);
    let mut redis = cluster.door(0).connect().unwrap();
    for key in keys {
        assert_eq!(redis.command(&["GET", key]).unwrap().text().as_deref(), Some(key.as_str()));
    }
}

/// Damage before the end of the log is refused, with the place and what to do, and nothing is changed by looking.
///
/// Fails if any bad frame is taken for the end of the log: the node starts, without the writes behind it.
#[test]
fn a_log_damaged_in_its_middle_is_refused_and_never_shortened() {
    let (cluster, _, keys) = killed_alone();
    let segment = disk::segments(&cluster.node_dir(0)).unwrap().pop().unwrap();
    let (frames, _) = disk::frames(&segment).unwrap();
    assert!(frames.len() > 100, "{} frames", frames.len());
    let good = fs::read(&segment).unwrap();
    // Frames of writes, of the beginning, and the page in the middle of them all.
    let middle = frames[frames.len() / 2] & !4095;
    type Damage<'a> = (&'a str, Box<dyn Fn() + 'a>);
    let damages: [Damage<'_>; 4] = [
        ("a bit of an early frame's body", Box::new(|| disk::flip(&segment, frames[3] + 30).unwrap())),
        ("a bit of an early frame's length", Box::new(|| disk::flip(&segment, frames[3] + 18).unwrap())),
        ("a page of zeros", Box::new(|| disk::overwrite(&segment, middle, &[0; 4096]).unwrap())),
        ("a bit of a late frame", Box::new(|| disk::flip(&segment, frames[frames.len() - 3] + 30).unwrap())),
    ];
    for (what, damage) in damages {
        damage();
        let damaged = fs::read(&segment).unwrap();
        assert_ne!(damaged, good, "{what}");
        let mut node = start_alone(&cluster);
        assert_eq!(node.wait().code(), Some(1), "{what}");
        let words = node.stderr();
        let name = segment.file_name().unwrap().to_str().unwrap();
        assert!(words.contains("damaged") && words.contains(name) && words.contains(REPLACE), "{what}: {words}");
        assert!(fs::read(&segment).unwrap() == damaged, "{what}: a log that is refused is not to be changed");
        disk::overwrite(&segment, 0, &good).unwrap();
    }
    let _node = start_alone(&cluster);
    check_alone(&cluster, &keys);
}

/// What a crash leaves behind the last whole frame was promised to nobody.
#[test]
fn the_torn_end_of_a_log_is_recovered() {
    let (cluster, _, keys) = killed_alone();
    let folder = cluster.node_dir(0);
    let garbage: Vec<u8> = (0..5000_u32).map(|number| (number.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    for what in ["garbage", "half a frame", "a frame's head"] {
        let segment = disk::segments(&folder).unwrap().pop().unwrap();
        let (frames, end) = disk::frames(&segment).unwrap();
        let content = fs::read(&segment).unwrap();
        let last = &content[*frames.last().unwrap() as usize..end as usize];
        let mut next = last.to_vec();
        let number = u64::from_le_bytes(last[8..16].try_into().unwrap()) + 1;
        next[8..16].copy_from_slice(&number.to_le_bytes());
        let torn = match what {
            "garbage" => &garbage[..],
            "half a frame" => &next[..next.len() / 2],
            _ => &next[..20],
        };
        disk::overwrite(&segment, end, torn).unwrap();
        let mut node = start_alone(&cluster);
        check_alone(&cluster, &keys);
        node.check_sound();
        node.kill();
    }
}

/// A node that lost its log does not know what it promised, and one whose log is older than the node neither.
/// One that lost its data has it in its log.
#[test]
fn a_lost_log_is_refused_and_lost_data_come_back() {
    let mut cluster = Cluster::processes();
    let folder = cluster.node_dir(2);
    let aside = cluster.path("aside");
    under_load(&mut cluster, "lost", |cluster, load| {
        (0..Cluster::NODES).for_each(|k| load.wait_progress(k, Cluster::NODES, 20));
        cluster.kill(2);
        let older = cluster.path("older");
        disk::copy(&folder.join("log"), &older).unwrap();
        cluster.start_node(2);
        cluster.wait_serving(2);
        cluster.kill(2);

        fs::rename(folder.join("log"), &aside).unwrap();
        let words = cluster.refused_node(2);
        assert!(words.contains("log") && words.contains(REPLACE), "no log: {words}");
        fs::remove_dir_all(folder.join("log")).unwrap();
        disk::copy(&older, &folder.join("log")).unwrap();
        let words = cluster.refused_node(2);
        assert!(words.contains("log") && words.contains(REPLACE), "an older log: {words}");
        fs::remove_dir_all(folder.join("log")).unwrap();
        fs::rename(&aside, folder.join("log")).unwrap();

        fs::remove_dir_all(folder.join("data")).unwrap();
        cluster.start_node(2);
        cluster.wait_serving(2);
        load.wait_progress(2, Cluster::NODES, 20);
    });
    // It is needed, with all that it had.
    cluster.kill(1);
    under_load(&mut cluster, "needed", |_, load| {
        [0, 2].iter().for_each(|k| load.wait_progress(*k, Cluster::NODES, 20))
    });
    cluster.start_node(1);
    cluster.wait_serving(1);
    cluster.check_replicas();
}

/// What the log no longer has, the other nodes have: the meta group's rows, which say who they are, and those of every partition.
///
/// Red without the list of members in the folder (the node knows nobody and is refused), and without the repair.
#[test]
fn lost_data_behind_purged_logs_come_back_from_the_other_nodes() {
    let mut cluster = Cluster::purging();
    let folder = cluster.node_dir(2);
    let mut redis = cluster.door(0).connect().unwrap();
    for number in 0..300 {
        let (key, value) = (format!("key:{number}"), "v".repeat(500));
        assert_eq!(redis.command(&["SET", &key, &value]).unwrap(), Reply::Simple("OK".to_owned()));
    }
    under_load(&mut cluster, "purged", |cluster, load| {
        (0..Cluster::NODES).for_each(|k| load.wait_progress(k, Cluster::NODES, 50));
        // Every group has entries in the first segments. Groups that can purge do so before anything is copied forward.
        eventually("the log has lost its beginning", || {
            let names = fs::read_dir(folder.join("log")).unwrap().map(|file| file.unwrap().file_name());
            let oldest = names.filter(|name| name.to_string_lossy().ends_with(".log")).min().unwrap();
            if *oldest.to_string_lossy() > *"0000000050.log" { Ok(()) } else { Err(format!("{oldest:?} is there")) }
        });
        cluster.kill(2);
        fs::remove_dir_all(folder.join("data")).unwrap();
        cluster.start_node(2);
        cluster.wait_serving(2);
        load.wait_progress(2, Cluster::NODES, 20);
        let words = cluster.program(2).stderr();
        for group in 0..4 {
            let back = |line: &str| line.contains("brought back") && line.contains(&format!("group={group}"));
            assert!(words.lines().any(back), "group {group}: {words}");
        }
        // It is needed, with all that it had.
        cluster.kill(1);
        [0, 2].iter().for_each(|k| load.wait_progress(*k, Cluster::NODES, 20));
        cluster.start_node(1);
        cluster.wait_serving(1);
    });
    cluster.check_replicas();
}

/// A node whose whole folder is gone is a new node, with a new id. Under its old address it is not taken in, since that belongs to
/// the old one; under another it joins, holds nothing, and serves its apps' clients. The old node stays a member that is down,
/// and the groups it was in go on without it.
#[test]
fn a_lost_folder_means_a_new_node() {
    let mut cluster = Cluster::processes();
    let before = cluster.status(2).unwrap()["node"].clone();
    under_load(&mut cluster, "lost folder", |cluster, load| {
        (0..Cluster::NODES).for_each(|k| load.wait_progress(k, Cluster::NODES, 20));
        cluster.kill(2);
        fs::remove_dir_all(cluster.node_dir(2)).unwrap();
        // It gets the address of the one that is gone, once that has been silent for long enough.
        cluster.start_node(2);
        cluster.wait_serving(2);
        (0..Cluster::NODES).for_each(|k| load.wait_progress(k, Cluster::NODES, 20));
    });
    let status = eventually("the old one is missed", || {
        let status = cluster.status(0)?;
        let nodes = status["nodes"].as_array().unwrap();
        let old = nodes.iter().find(|node| node["id"] == before);
        if old.is_some_and(|node| node["state"] == "down") { Ok(status) } else { Err(status.to_string()) }
    });
    assert_ne!(cluster.status(2).unwrap()["node"], before);
    assert_eq!(status["nodes"].as_array().unwrap().len(), 4, "{status}");
}

/// An old copy of a folder has old votes and an old log in it.
///
/// Seen red: letting a start pass whose incarnation the cluster has seen.
#[test]
fn an_old_copy_of_a_folder_is_refused() {
    let mut cluster = Cluster::processes();
    let folder = cluster.node_dir(2);
    let (copied, aside) = (cluster.path("copied"), cluster.path("aside"));
    under_load(&mut cluster, "copied", |cluster, load| {
        (0..Cluster::NODES).for_each(|k| load.wait_progress(k, Cluster::NODES, 20));
        cluster.kill(2);
        disk::copy(&folder, &copied).unwrap();
        cluster.start_node(2);
        cluster.wait_serving(2);
        load.wait_progress(2, Cluster::NODES, 20);

        cluster.kill(2);
        fs::rename(&folder, &aside).unwrap();
        fs::rename(&copied, &folder).unwrap();
        let words = cluster.refused_node(2);
        assert!(words.contains("copy of a data folder") && words.contains(REPLACE), "{words}");
        fs::remove_dir_all(&folder).unwrap();
        fs::rename(&aside, &folder).unwrap();
        cluster.start_node(2);
        cluster.wait_serving(2);
        load.wait_progress(2, Cluster::NODES, 20);
    });
    cluster.check_replicas();
}
