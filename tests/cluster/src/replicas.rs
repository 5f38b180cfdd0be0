//! Whether the folders of nodes that have ended hold the same.
//!
//! Rows are compared without the copy id they lie under, which each node gives for itself; all others come from the
//! entries of the partition's group and must be the same on every replica, bookkeeping included.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use recoil_consensus::Locals;
use recoil_storage::{Data, Log, LogOptions, key};

/// By group, partition and key.
type Rows = BTreeMap<(u32, u32, Vec<u8>), Vec<u8>>;

/// Panics at the first row that one folder holds and another does not.
pub(crate) fn check_equal(folders: &[PathBuf]) {
    let all: Vec<Rows> = folders.iter().map(|folder| rows(folder)).collect();
    let (first, others) = all.split_first().expect("a cluster has nodes");
    assert!(!first.is_empty(), "{} holds no rows", folders[0].display());
    for (rows, folder) in others.iter().zip(&folders[1..]) {
        let places = first.keys().chain(rows.keys());
        if let Some(place) = places.into_iter().find(|place| first.get(*place) != rows.get(*place)) {
            let text = |rows: &Rows| rows.get(place).map(|value| String::from_utf8_lossy(value).into_owned());
            let (group, partition, key) = place;
            panic!(
                "replicas differ in group {group}, partition {partition}, key {:?}:\n{}: {:?}\n{}: {:?}",
                String::from_utf8_lossy(key),
                folders[0].display(),
                text(first),
                folder.display(),
                text(rows)
            );
        }
    }
}

/// Panics unless every partition that has rows is held by `replicas` folders, all with the same rows.
pub(crate) fn check_sets(folders: &[PathBuf], replicas: usize) {
    type Held<'a> = (&'a PathBuf, BTreeMap<Vec<u8>, Vec<u8>>);
    let mut partitions: BTreeMap<(u32, u32), Vec<Held<'_>>> = BTreeMap::new();
    for folder in folders {
        for ((group, partition, key), value) in rows(folder) {
            let held = partitions.entry((group, partition)).or_default();
            if held.last().is_none_or(|(last, _)| *last != folder) {
                held.push((folder, BTreeMap::new()));
            }
            held.last_mut().expect("it was just pushed").1.insert(key, value);
        }
    }
    assert!(!partitions.is_empty(), "no rows at all");
    for ((group, partition), held) in partitions {
        let names: Vec<String> = held.iter().map(|(folder, _)| folder.display().to_string()).collect();
        assert_eq!(held.len(), replicas, "partition {partition} of group {group} is held by {names:?}");
        for pair in held.windows(2) {
            let ((one, rows), (other, others)) = (&pair[0], &pair[1]);
            let keys = rows.keys().chain(others.keys());
            if let Some(key) = keys.into_iter().find(|key| rows.get(*key) != others.get(*key)) {
                let text = |rows: &BTreeMap<Vec<u8>, Vec<u8>>| {
                    rows.get(key).map(|value| String::from_utf8_lossy(value).into_owned())
                };
                panic!(
                    "replicas differ in group {group}, partition {partition}, key {:?}:\n{}: {:?}\n{}: {:?}",
                    String::from_utf8_lossy(key),
                    one.display(),
                    text(rows),
                    other.display(),
                    text(others)
                );
            }
        }
    }
}

/// The groups of which a node's folder holds anything: rows of partitions, or a log.
pub(crate) fn groups(folder: &Path) -> Vec<u32> {
    let data = Data::open(&folder.join("data")).unwrap_or_else(|error| panic!("{error}"));
    let locals = Locals::open(data).unwrap_or_else(|error| panic!("{error}"));
    let log = Log::open(&folder.join("log"), LogOptions::default()).unwrap_or_else(|error| panic!("{error}"));
    let mut groups: Vec<u32> = locals.groups().into_iter().chain(log.groups()).map(|group| group.0).collect();
    groups.sort_unstable();
    groups.dedup();
    groups
}

fn rows(folder: &Path) -> Rows {
    let data = Data::open(&folder.join("data")).unwrap_or_else(|error| panic!("{error}"));
    let locals = Locals::open(data.clone()).unwrap_or_else(|error| panic!("{error}"));
    let snapshot = data.snapshot();
    let mut rows = Rows::new();
    for group in locals.groups() {
        for (partition, local) in locals.of_group(group) {
            let prefix = local.copy.0.to_be_bytes();
            for row in snapshot.prefix(&prefix, false) {
                let (full, value) = row.unwrap_or_else(|error| panic!("{error}"));
                assert_eq!(key::copy_of(&full), Some(local.copy));
                rows.insert((group.0, partition.partition.0, full[prefix.len()..].to_vec()), value.to_vec());
            }
        }
    }
    rows
}
