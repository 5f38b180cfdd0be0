//! What data promises, on real files and in memory: batches, ranges, and copies that die. One suite for both.

use std::collections::BTreeSet;

use bytes::Bytes;
use recoil_base::{AppId, CopyId};

use super::{Data, DataError};
use crate::simulation::{Random, SimulatedData};
use crate::{Write, key};

/// Where data is, to be opened again and again.
enum Place {
    Files(tempfile::TempDir),
    Memory(SimulatedData),
}

impl Place {
    fn open(&self) -> Data {
        match self {
            Place::Files(folder) => Data::open(folder.path()).unwrap(),
            Place::Memory(rows) => Data::open_simulated(rows.clone()).unwrap(),
        }
    }
}

macro_rules! suite {
    ($($name:ident),* $(,)?) => {
        mod on_files {
            $(#[test] fn $name() { super::$name(&super::Place::Files(tempfile::tempdir().unwrap())); })*
        }
        mod in_memory {
            $(#[test] fn $name() { super::$name(&super::Place::Memory(super::SimulatedData::default())); })*
        }
    };
}

suite!(
    a_batch_is_seen_whole_and_its_last_write_of_a_key_wins,
    ranges_go_both_ways_keep_their_moment_and_may_be_empty,
    a_range_removal_takes_committed_rows_and_the_batchs_own_and_stays_in_its_kind,
    keys_that_cannot_be_stored_fail_their_batch_only,
    dead_copies_vanish_but_not_under_a_snapshot_and_not_their_neighbours,
    dead_copies_of_large_values_vanish_too,
    large_values_are_kept_apart_and_let_go,
    rows_of_removed_apps_vanish,
    keys_and_lengths_are_read_of_every_row_of_a_range_and_no_other,
);

/// Above what lies beside its key.
const LARGE: usize = 96 << 10;

fn keys(data: &Data, prefix: &[u8]) -> Vec<Bytes> {
    data.snapshot().prefix(prefix, false).map(|row| row.unwrap().0).collect()
}

fn put(data: &Data, key: &[u8], value: &[u8]) {
    let mut batch = data.batch();
    batch.put(key.to_vec(), value.to_vec());
    data.commit(batch).unwrap();
}

fn a_batch_is_seen_whole_and_its_last_write_of_a_key_wins(place: &Place) {
    let data = place.open();
    put(&data, b"a", b"old");
    let before = data.snapshot();
    let mut batch = data.batch();
    batch.put(&b"a"[..], &b"1"[..]);
    batch.put(&b"a"[..], &b"22"[..]);
    batch.put(&b"b"[..], vec![7; 1000]);
    batch.remove(&b"b"[..]);
    batch.put(&b"c"[..], vec![9; 1000]);
    assert_eq!((batch.len(), batch.bytes()), (3, 3 * 17 + 2 + 1000));
    assert_eq!(data.get(b"a").unwrap().unwrap(), "old", "nothing is seen before the commit");
    data.commit(batch).unwrap();
    assert_eq!(data.get(b"a").unwrap().unwrap(), "22");
    assert_eq!(data.get(b"b").unwrap(), None);
    assert_eq!(data.get(b"c").unwrap().unwrap(), vec![9; 1000]);
    assert_eq!((before.get(b"a").unwrap().unwrap(), before.get(b"c").unwrap()), ("old".into(), None));
    assert_eq!(data.get(b"").unwrap(), None);
    data.persist().unwrap();
    drop((before, data));
    let data = place.open();
    assert_eq!(data.get(b"a").unwrap().unwrap(), "22");
}

fn ranges_go_both_ways_keep_their_moment_and_may_be_empty(place: &Place) {
    let data = place.open();
    for key in [b"ka", b"kb", b"kc", b"kd"] {
        put(&data, key, b"v");
    }
    let snapshot = data.snapshot();
    let found = |start: &[u8], end: Option<&[u8]>, reverse| -> Vec<Bytes> {
        snapshot.range(start.to_vec(), end.map(<[u8]>::to_vec), reverse).map(|row| row.unwrap().0).collect()
    };
    let late = snapshot.range(b"k".to_vec(), None, false);
    put(&data, b"kbb", b"later");
    assert_eq!(found(b"kb", Some(b"kd"), false), ["kb", "kc"]);
    assert_eq!(found(b"kb", Some(b"kd"), true), ["kc", "kb"]);
    assert_eq!(found(b"kc", None, true), ["kd", "kc"]);
    assert!(found(b"kc", Some(b"kc"), false).is_empty() && found(b"kd", Some(b"ka"), true).is_empty());
    drop(snapshot);
    let (sender, receiver) = std::sync::mpsc::channel();
    recoil_base::task::spawn_thread("reader", move || sender.send(late.count()).unwrap()).join().unwrap();
    assert_eq!(receiver.recv().unwrap(), 4, "the rows own their moment");
    assert_eq!(keys(&data, b"kb"), ["kb", "kbb"]);
}

fn a_range_removal_takes_committed_rows_and_the_batchs_own_and_stays_in_its_kind(place: &Place) {
    let data = place.open();
    let (copy, app) = (data.new_copy().unwrap(), AppId(4));
    let relative = |text: &str| Bytes::copy_from_slice(text.as_bytes());
    let mut batch = data.batch();
    for key in ["\u{1}a", "\u{1}b", "\u{1}c", "\u{2}t"] {
        batch.write(copy, app, &Write::Put { key: relative(key), value: Bytes::new() });
    }
    batch.write(copy, AppId(5), &Write::Put { key: relative("\u{1}a"), value: Bytes::new() });
    data.commit(batch).unwrap();

    let mut batch = data.batch();
    batch.write(copy, app, &Write::Put { key: relative("\u{1}bb"), value: Bytes::new() });
    batch.write(copy, app, &Write::RemoveRange { start: relative("\u{1}b"), end: Some(relative("\u{1}c")) });
    batch.write(copy, app, &Write::Put { key: relative("\u{1}b1"), value: Bytes::new() });
    data.commit(batch).unwrap();
    let rest = |data: &Data| -> Vec<Vec<u8>> {
        keys(data, &key::prefix(copy, app)).iter().map(|key| key[key::PREFIX_BYTES..].to_vec()).collect()
    };
    assert_eq!(rest(&data), [b"\x01a".to_vec(), b"\x01b1".to_vec(), b"\x01c".to_vec(), b"\x02t".to_vec()]);

    for end in [None, Some(relative("\u{3}"))] {
        let mut batch = data.batch();
        batch.write(copy, app, &Write::Put { key: relative("\u{1}z"), value: Bytes::new() });
        batch.write(copy, app, &Write::RemoveRange { start: relative("\u{1}"), end });
        data.commit(batch).unwrap();
        assert_eq!(rest(&data), [b"\x02t".to_vec()]);
    }
    assert_eq!(keys(&data, &key::prefix(copy, AppId(5))).len(), 1, "another app's rows stay");
}

fn keys_that_cannot_be_stored_fail_their_batch_only(place: &Place) {
    let data = place.open();
    for (length, good) in [(0, false), (key::KEY_BYTES_MAX, true), (key::KEY_BYTES_MAX + 1, false)] {
        let mut batch = data.batch();
        batch.put(&b"beside"[..], &b""[..]);
        batch.put(vec![b'x'; length], &b""[..]);
        let committed = data.commit(batch);
        assert_eq!(committed.is_ok(), good, "{length}");
        assert!(good || matches!(committed, Err(DataError::Key { bytes }) if bytes == length));
    }
    assert!(data.failure().reason().is_none());
}

#[test]
fn ids_of_copies_are_never_given_twice() {
    let dir = tempfile::tempdir().unwrap();
    let mut given = BTreeSet::new();
    for round in 0..3 {
        let data = Data::open(dir.path()).unwrap();
        for _ in 0..70 {
            let copy = data.new_copy().unwrap();
            assert!(copy != CopyId(0) && given.insert(copy), "{copy} in round {round}");
        }
        // As a crash leaves it: neither persisted nor closed in order. The folder is copied while it is open.
        let crashed = tempfile::tempdir().unwrap();
        copy_folder(dir.path(), crashed.path());
        let data = Data::open(crashed.path()).unwrap();
        let copy = data.new_copy().unwrap();
        assert!(!given.contains(&copy), "{copy} after a crash");
    }
    // Even if the reservation itself is lost, ids with rows are not given again.
    let data = Data::open(dir.path()).unwrap();
    let far = CopyId(given.last().unwrap().0 + 1000);
    put(&data, &key::full(far, AppId(1), key::DATA, b"k"), b"v");
    drop(data);
    assert!(Data::open(dir.path()).unwrap().new_copy().unwrap() > far);
}

fn copy_folder(from: &std::path::Path, to: &std::path::Path) {
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            std::fs::create_dir_all(&target).unwrap();
            copy_folder(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

fn dead_copies_vanish_but_not_under_a_snapshot_and_not_their_neighbours(place: &Place) {
    dead_copies_vanish(place, 100);
}

fn dead_copies_of_large_values_vanish_too(place: &Place) {
    dead_copies_vanish(place, LARGE);
}

fn dead_copies_vanish(place: &Place, value_bytes: usize) {
    let data = place.open();
    let copies: Vec<CopyId> = (0..3).map(|_| data.new_copy().unwrap()).collect();
    for round in 0..3u8 {
        let mut batch = data.batch();
        for copy in &copies {
            for number in 0..50u8 {
                batch.put(key::full(*copy, AppId(1), key::DATA, &[number]), vec![round; value_bytes]);
            }
        }
        data.commit(batch).unwrap();
        data.compact().unwrap(); // so that versions lie in several tables
    }
    let count = |data: &Data, copy: CopyId| keys(data, &copy.0.to_be_bytes()).len();
    let snapshot = data.snapshot();
    data.kill_copies(&[copies[1]]).unwrap();
    data.kill_copies(&[copies[1]]).unwrap();
    assert!(matches!(data.kill_copies(&[CopyId(0)]), Err(DataError::NodeCopy)));
    put(&data, b"\xff", b"so that there is something to compact");
    data.compact().unwrap();
    assert_eq!(snapshot.prefix(&copies[1].0.to_be_bytes(), true).count(), 50, "the snapshot came first");
    let rows = snapshot.prefix(&copies[1].0.to_be_bytes(), false);
    drop(snapshot);
    put(&data, b"\xff", b"once more");
    data.compact().unwrap();
    assert_eq!(
        rows.map(|row| assert_eq!(row.unwrap().1, vec![2; value_bytes])).count(),
        50,
        "an iterator keeps its moment, too"
    );
    assert_eq!((data.dead_copies().unwrap(), data.prune_dead_copies().unwrap()), (vec![copies[1]], 0));
    put(&data, b"\xff", b"and again");
    data.compact().unwrap();
    assert_eq!((count(&data, copies[0]), count(&data, copies[1]), count(&data, copies[2])), (50, 0, 50));

    // The list is remembered, and the filter with it, until nothing of the copies is left.
    data.kill_copies(&[copies[2]]).unwrap();
    drop(data);
    let data = place.open();
    assert_eq!(data.dead_copies().unwrap(), copies[1..]);
    assert_eq!((data.prune_dead_copies().unwrap(), data.dead_copies().unwrap()), (1, vec![copies[2]]));
    put(&data, b"\xff", b"a last time");
    data.compact().unwrap();
    assert_eq!((count(&data, copies[0]), count(&data, copies[2])), (50, 0));
    assert_eq!((data.prune_dead_copies().unwrap(), data.dead_copies().unwrap()), (1, vec![]));
}

/// Large values lie apart from their keys: they come back, keep their moment, and their space is free again when they are gone.
fn large_values_are_kept_apart_and_let_go(place: &Place) {
    let data = place.open();
    let random = &mut Random(1);
    // Random, so that compression takes nothing away.
    let mut value = || (0..LARGE / 8).flat_map(|_| random.next().to_le_bytes()).collect::<Vec<u8>>();
    let values: Vec<Vec<u8>> = (0..100).map(|_| value()).collect();
    for (number, value) in (0u8..).zip(&values) {
        put(&data, &[1, number], value);
    }
    data.compact().unwrap();
    let full = data.disk_bytes();
    let snapshot = data.snapshot();
    for (number, value) in (0u8..).zip(&values).skip(1) {
        let mut batch = data.batch();
        batch.remove(vec![1, number]);
        data.commit(batch).unwrap();
        assert_eq!(snapshot.get(&[1, number]).unwrap().unwrap(), value);
    }
    data.compact().unwrap();
    assert_eq!(snapshot.prefix(&[1], false).map(|row| row.unwrap().1).collect::<Vec<_>>(), values);
    drop(snapshot);
    // What has become of no use is noted by one compaction and left behind by the next.
    for round in 0..3u8 {
        put(&data, b"\xff", &[round]);
        data.compact().unwrap();
    }
    data.persist().unwrap();
    drop(data);
    let data = place.open();
    assert_eq!(data.get(&[1, 0]).unwrap().unwrap(), values[0]);
    assert_eq!(keys(&data, &[1]).len(), 1);
    assert!(data.disk_bytes() < full / 2, "{} of {full} bytes", data.disk_bytes());
}

#[tokio::test]
async fn after_a_failed_write_nothing_is_written_and_the_reason_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let data = Data::open(dir.path()).unwrap();
    put(&data, b"a", b"1");
    let failed = data.failed();
    data.poison("write", "the disk is gone");
    assert!(failed.await.contains("the disk is gone"));
    let mut batch = data.batch();
    batch.put(&b"a"[..], &b"2"[..]);
    assert!(matches!(data.commit(batch), Err(DataError::Poisoned { .. })));
    assert!(matches!(data.persist(), Err(DataError::Poisoned { .. })));
    assert!(matches!(data.new_copy(), Err(DataError::Poisoned { .. })));
    assert!(matches!(data.kill_copies(&[CopyId(1)]), Err(DataError::Poisoned { .. })));
    assert_eq!(data.get(b"a").unwrap().unwrap(), "1");
}

/// Fails if each copy costs an fsync of its own: the node's one applier would stand still for seconds.
#[test]
fn many_copies_are_made_and_dropped_with_one_fsync() {
    let rows = SimulatedData::default();
    let data = Data::open_simulated(rows.clone()).unwrap();
    let copies = data.new_copies(10_000).unwrap();
    assert_eq!(copies.iter().collect::<BTreeSet<_>>().len(), 10_000);
    assert_eq!(rows.persists(), 1);
    assert!(data.new_copy().unwrap() > copies[9_999]);
    let before = rows.persists();
    data.kill_copies(&copies).unwrap();
    assert_eq!((rows.persists() - before, data.dead_copies().unwrap().len()), (1, 10_000));
    data.kill_copies(&[]).unwrap();
    assert_eq!(rows.persists() - before, 1);
}

/// Fails if only dead copies are discarded: what an entry writes for an app after its removal would stay for ever.
fn rows_of_removed_apps_vanish(place: &Place) {
    let data = place.open();
    let copies = data.new_copies(2).unwrap();
    let write = |round: u8| {
        let mut batch = data.batch();
        for copy in &copies {
            for app in [3, 4] {
                batch.put(key::full(*copy, AppId(app), key::DATA, &[round]), vec![round; 100]);
            }
        }
        // The node's own rows lie under copy 0, where the same four bytes are no app's.
        batch.put(key::full(CopyId(0), AppId(3), 0x20, &[round]), vec![round]);
        data.commit(batch).unwrap();
        data.compact().unwrap();
    };
    write(1);
    data.set_removed_apps([AppId(3)]);
    write(2);
    put(&data, b"\xff", b"so that there is something to compact");
    data.compact().unwrap();
    for copy in &copies {
        assert_eq!(keys(&data, &key::prefix(*copy, AppId(3))).len(), 0);
        assert_eq!(keys(&data, &key::prefix(*copy, AppId(4))).len(), 2);
    }
    assert_eq!(keys(&data, &key::prefix(CopyId(0), AppId(3))).len(), 2);
}

/// Red if a crash keeps a batch after one that it loses, or loses one that was persisted.
#[test]
fn a_crash_of_memory_keeps_every_batch_up_to_one_not_before_the_last_persist() {
    let mut seen = BTreeSet::new();
    for seed in 0..100 {
        let rows = SimulatedData::default();
        let data = Data::open_simulated(rows.clone()).unwrap();
        for number in 0..10u8 {
            put(&data, &[number], b"v");
            if number == 3 {
                data.persist().unwrap();
            }
        }
        let left = keys(&Data::open_simulated(rows.crash(&mut Random(seed))).unwrap(), b"").len();
        assert!((4..=10).contains(&left));
        seen.insert(left);
    }
    assert_eq!(seen.len(), 7, "every place to stop is tried");
}

/// Fails if a key or a value's length is missed, counted twice or taken from beyond the range, for values beside their keys and apart.
fn keys_and_lengths_are_read_of_every_row_of_a_range_and_no_other(place: &Place) {
    let data = place.open();
    for (key, bytes) in [(&b"a"[..], 3), (b"b/1", 5), (b"b/2", LARGE), (b"b/3", 0), (b"c", 7)] {
        put(&data, key, &vec![1; bytes]);
    }
    data.compact().unwrap();
    put(&data, b"b/4", b"in memory");
    let snapshot = data.snapshot();
    put(&data, b"b/5", b"later");
    let keys: Vec<Bytes> = snapshot.keys(b"b".to_vec(), b"b/4".to_vec()).map(Result::unwrap).collect();
    assert_eq!(keys, [&b"b/1"[..], b"b/2", b"b/3"]);
    let lengths: Vec<u64> = snapshot.value_bytes(b"b/").map(Result::unwrap).collect();
    assert_eq!(lengths, [5, LARGE as u64, 0, 9]);
    assert_eq!(snapshot.keys(b"c".to_vec(), b"b".to_vec()).count(), 0);
}
