//! Live entries that are copied forward so that the segments they lay in can go.

use std::fs;
use std::sync::mpsc::{Receiver, Sender};

use super::*;
use crate::log::format::{FrameBuilder, HEADER_BYTES, SegmentHeader, segment_name};
use crate::log::index::Image;
use crate::simulation::{Random, SimulatedDisk};

/// Fills segments with entries of `group` that are purged at once.
fn fill(log: &Log, group: GroupId, bytes: usize) {
    let group = log.group(group);
    for _ in 0..bytes / 500 {
        let next = group.range().end;
        append(&group, next..next + 1, 500).unwrap();
        group.purge(next, Bytes::from_static(b"id"));
    }
    wait(log.flush()).unwrap();
}

/// Copies everything old of the group forward; answers how many relocations that took.
fn relocate(log: &Log, group: GroupId) -> usize {
    let (mut from, mut count) = (0, 0);
    while let Some(relocation) = log.relocate(group, from).unwrap() {
        (from, count) = (relocation.next, count + 1);
        wait(relocation.durable()).unwrap();
    }
    // Segments go after the completions of the frame that emptied them.
    wait(log.flush()).unwrap();
    wait(log.flush()).unwrap();
    count
}

fn check(group: &GroupLog, indexes: std::ops::Range<u64>, length: usize) {
    let expected: Vec<_> = indexes.map(|index| (index, payload(index, length))).collect();
    assert_eq!(group.read(0..u64::MAX, usize::MAX).unwrap(), expected);
}

/// Fails if an old copy goes on being counted, or if recovery does not find the new one.
#[test]
fn a_group_that_cannot_purge_keeps_its_entries_and_nobody_elses() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path());
    let stuck = log.group(A);
    append(&stuck, 0..10, 60).unwrap();
    for round in 0..5 {
        fill(&log, B, 40_000);
        assert!(log.segment_count() >= 8);
        let pins = log.pins();
        assert_eq!((pins.groups[0], pins.sparse), (Pin { group: A, first: 0, upto: 9 }, true), "round {round}");
        assert!(relocate(&log, A) >= 2, "small segments take small pieces");
        assert!(log.segment_count() <= 2, "round {round}: {}", log.segment_count());
        assert_eq!((log.relocate(A, 0).unwrap().is_none(), log.pins()), (true, Pins::default()));
        check(&stuck, 0..10, 60);
        assert_eq!(stuck.bytes(), 10 * (60 + 21));
    }
    assert_eq!(log.stats().entries_relocated, 50);
    drop((stuck, log));
    let log = open(dir.path());
    let stuck = log.group(A);
    check(&stuck, 0..10, 60);
    assert_eq!((log.segment_count() <= 2, stuck.bytes()), (true, 10 * (60 + 21)));
    // It goes on as if nothing had happened, after a restart too.
    append(&stuck, 10..11, 60).unwrap();
    stuck.purge(4, Bytes::from_static(b"id"));
    truncate(&stuck, Some(8)).unwrap();
    fill(&log, B, 40_000);
    relocate(&log, A);
    assert!(log.segment_count() <= 2);
    drop((stuck, log));
    check(&open(dir.path()).group(A), 5..9, 60);
}

/// Fails if relocated entries count as dense or sparse by the size of files: each relocation would make the next one due.
#[test]
fn relocation_does_not_feed_itself() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path());
    // Each fills little more than half a segment, and has it for itself.
    for index in 0..6 {
        append(&log.group(A), index..index + 1, 2500).unwrap();
    }
    assert_eq!(log.segment_count(), 6);
    assert_eq!((log.pins().groups.len(), log.pins().sparse), (1, false));
    fill(&log, B, 40_000);
    assert!(log.pins().sparse);
    relocate(&log, A);
    let count = log.segment_count();
    assert!(count <= 7 && !log.pins().sparse, "{count}: {:?}", log.pins());
}

/// Holds up the committer while `work` queues things.
fn while_nothing_is_written(log: &Log, work: impl FnOnce()) {
    let (held, holding): (Sender<()>, Receiver<()>) = mpsc::channel();
    let (release, released): (Sender<()>, Receiver<()>) = mpsc::channel();
    log.group(GroupId(77)).append(Vec::new(), move |_| {
        held.send(()).unwrap();
        released.recv().unwrap();
    });
    holding.recv().unwrap();
    work();
    release.send(()).unwrap();
    wait(log.flush()).unwrap();
}

/// Fails if the committer copies what it was asked to without looking: recovery refuses a copy of an entry that had ended, and a copy
/// of an earlier entry of the same index would take the place of the later one.
#[test]
fn what_ends_before_its_copy_is_written_is_not_copied() {
    type End = fn(&GroupLog);
    let ends: [(End, std::ops::Range<u64>, usize); 6] = [
        (|group| group.truncate_after(Some(1), |result| result.unwrap()), 0..2, 60),
        (|group| group.purge(1, Bytes::new()), 2..4, 60),
        (|group| group.reset((1, Bytes::new())), 2..2, 60),
        (|group| group.remove(), 0..0, 60),
        (
            |group| {
                group.truncate_after(None, |result| result.unwrap());
                group.append((0..4).map(|index| (index, payload(index, 70))).collect(), |result| result.unwrap());
            },
            0..4,
            70,
        ),
        (
            |group| {
                group.remove();
                group.append((0..2).map(|index| (index, payload(index, 70))).collect(), |result| result.unwrap());
            },
            0..2,
            70,
        ),
    ];
    for (number, (end, left, length)) in ends.into_iter().enumerate() {
        // The end may be asked for before the copies are queued, between that and their frame, and behind them.
        for before in [true, false] {
            let dir = tempfile::tempdir().unwrap();
            let log = Log::open(dir.path(), LogOptions { segment_bytes: 16 << 10, cache_bytes: 256 }).unwrap();
            let group = log.group(A);
            append(&group, 0..4, 60).unwrap();
            fill(&log, B, 80_000);
            let entries = log.read_old(A, 0).unwrap();
            assert_eq!(entries.len(), 4);
            while_nothing_is_written(&log, || {
                if before {
                    end(&group);
                }
                drop(log.copy_forward(A, entries));
                if !before {
                    end(&group);
                }
            });
            check(&group, left.clone(), length);
            relocate(&log, A);
            assert!(log.segment_count() <= 2, "{number}, {before}: {}", log.segment_count());
            drop((group, log));
            check(&open(dir.path()).group(A), left.clone(), length);
        }
    }
}

/// Power goes at every write, sync and change of names between a relocation and the end of the deletions that it allows. Fails if a
/// segment goes before the copies of its entries are durable.
#[test]
fn a_power_loss_anywhere_in_a_relocation_loses_no_entry() {
    let mut calls = 0;
    loop {
        let mut random = Random(calls);
        let disk = SimulatedDisk::default();
        let log = Log::open_on(Arc::new(disk.clone()), small()).unwrap();
        let stuck = log.group(A);
        append(&stuck, 0..10, 60).unwrap();
        wait(stuck.save_vote(Bytes::from_static(b"vote"))).unwrap();
        fill(&log, B, 24_000);
        assert!(log.segment_count() >= 6);
        disk.lose_power_in(calls);
        let mut from = 0;
        while let Some(relocation) = log.relocate(A, from).unwrap() {
            from = relocation.next;
            if wait(relocation.durable()).is_err() {
                break;
            }
        }
        let _ = wait(log.flush());
        log.close();
        for _ in 0..4 {
            let crashed = disk.crash(&mut random);
            let log = Log::open_on(Arc::new(crashed), small()).unwrap_or_else(|error| panic!("{calls}: {error}"));
            check(&log.group(A), 0..10, 60);
            assert_eq!(log.group(A).vote().unwrap(), "vote");
            relocate(&log, A);
            assert!(log.segment_count() <= 2, "{calls}");
            check(&log.group(A), 0..10, 60);
        }
        if !disk.is_off() {
            break;
        }
        calls += 1;
    }
    assert!(calls > 12, "a relocation and its deletions are more than {calls} calls");
}

/// Fails if a damaged entry is copied with a checksum that makes it good, or if its damage ends the whole log.
#[test]
fn a_damaged_entry_is_not_copied_and_harms_nobody_else() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path());
    append(&log.group(A), 0..3, 60).unwrap();
    append(&log.group(GroupId(3)), 0..3, 61).unwrap();
    fill(&log, B, 20_000);
    drop(log);
    let log = open(dir.path()); // with nothing in memory
    let path = dir.path().join(segment_name(1));
    let mut content = fs::read(&path).unwrap();
    let place = content.windows(50).position(|window| window == [1; 50]).unwrap();
    content[place] ^= 1;
    fs::write(&path, &content).unwrap();
    let before = log.stats();
    let error = log.relocate(A, 1).err().expect("damage is seen").to_string();
    assert!(error.contains("entry 1 of group 1"), "{error}");
    assert_eq!(log.stats(), before);
    assert!(relocate(&log, GroupId(3)) > 0);
    check(&log.group(GroupId(3)), 0..3, 61);
    append(&log.group(A), 3..4, 60).unwrap();
}

/// One segment: a checkpoint that describes entries of segments that are gone, then a frame.
fn crafted(images: &[(GroupId, std::ops::Range<u64>)], build: impl FnOnce(&mut FrameBuilder)) -> Result<Log, LogError> {
    let dir = tempfile::tempdir().unwrap();
    let header = SegmentHeader { number: 7, first_frame: 100, salt: 0xfeed, bytes: 4096 };
    let image = |(group, live): &(GroupId, std::ops::Range<u64>)| {
        let purged = live.start.checked_sub(1).map(|upto| (upto, Bytes::new()));
        (*group, Image { vote: None, purged, first: live.start, next: live.end })
    };
    let mut content = header.encode().to_vec();
    assert_eq!(content.len(), HEADER_BYTES);
    let mut frame = FrameBuilder::default();
    frame.clear();
    frame.checkpoint(&images.iter().map(image).collect());
    content.extend_from_slice(frame.finish(header.salt, 100));
    frame.clear();
    build(&mut frame);
    content.extend_from_slice(frame.finish(header.salt, 101));
    content.resize(4096, 0);
    fs::write(dir.path().join(segment_name(7)), content).unwrap();
    Log::open(dir.path(), small())
}

fn why_not(result: Result<Log, LogError>) -> String {
    match result {
        Err(error @ LogError::Corrupt { .. }) => error.to_string(),
        other => panic!("{:?}", other.map(|_| ())),
    }
}

/// Fails if recovery takes copies for what they are not, or goes on without an entry that it was told of.
#[test]
fn only_copies_of_live_entries_fill_what_a_checkpoint_describes() {
    let log = crafted(&[(A, 3..6)], |frame| {
        frame.relocated(A, 5, b"five");
        frame.relocated(A, 3, b"three");
        frame.relocated(A, 4, b"four");
        frame.relocated(A, 5, b"five");
    });
    let log = log.unwrap();
    let (group, names) = (log.group(A), [b"three".as_slice(), b"four", b"five"]);
    let expected: Vec<_> = (3..6).zip(names.map(Bytes::from_static)).collect();
    assert_eq!(group.read(0..10, usize::MAX).unwrap(), expected);
    assert_eq!(group.bytes(), 3 * 21 + 13);
    // One that was ended needs no copy.
    let log = crafted(&[(A, 3..6)], |frame| {
        frame.relocated(A, 3, b"three");
        frame.truncate(A, 4);
    });
    assert_eq!(indexes(&log.unwrap().group(A)), [3]);

    let missing = crafted(&[(A, 3..6)], |frame| {
        frame.relocated(A, 3, b"three");
        frame.relocated(A, 5, b"five");
    });
    let missing = why_not(missing);
    assert!(missing.contains("entry 4 of group 1") && missing.contains("missing"), "{missing}");
    for (group, index) in [(A, 2), (A, 6), (B, 3)] {
        let dead = crafted(&[(A, 3..6)], |frame| {
            frame.relocated(group, index, b"?");
        });
        let dead = why_not(dead);
        assert!(dead.contains("relocated") && dead.contains(&format!("group {group}")), "{dead}");
    }
    let other = crafted(&[], |frame| {
        frame.entry(A, 0, b"zero");
        frame.relocated(A, 0, b"nope");
    });
    let other = why_not(other);
    assert!(other.contains("entry 0") && other.contains("not the one"), "{other}");
}
