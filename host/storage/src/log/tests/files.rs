//! What a log keeps and gives back when nothing goes wrong.

use super::*;

#[test]
fn everything_acknowledged_is_there_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path());
    let (a, b) = (log.group(A), log.group(B));
    assert_eq!((a.vote(), a.purged(), a.last().unwrap(), a.range()), (None, None, None, 0..0));
    wait(a.save_vote(Bytes::from_static(b"first"))).unwrap();
    wait(a.save_vote(Bytes::from_static(b"vote a"))).unwrap();
    append(&a, 0..10, 300).unwrap();
    append(&b, 0..3, 20).unwrap();
    truncate(&a, Some(5)).unwrap();
    append(&a, 6..8, 50).unwrap();
    a.purge(2, Bytes::from_static(b"id 2"));
    a.purge(1, Bytes::from_static(b"stale"));
    b.reset((99, Bytes::from_static(b"id 99")));
    append(&b, 100..102, 20).unwrap();
    truncate(&b, None).unwrap();
    append(&b, 100..101, 21).unwrap();
    let gone = log.group(GroupId(3));
    append(&gone, 0..2, 10).unwrap();
    gone.remove();
    wait(log.flush()).unwrap();
    let check = |log: &Log| {
        let (a, b) = (log.group(A), log.group(B));
        assert_eq!((a.vote().unwrap(), a.purged().unwrap()), ("vote a".into(), (2, "id 2".into())));
        assert_eq!((indexes(&a), a.range()), (vec![3, 4, 5, 6, 7], 3..8));
        for (index, bytes) in a.read(0..100, usize::MAX).unwrap() {
            assert_eq!(bytes, payload(index, if index < 6 { 300 } else { 50 }), "{index}");
        }
        assert_eq!(a.last().unwrap().unwrap(), (7, payload(7, 50)));
        assert_eq!(a.bytes(), 3 * 321 + 2 * 71);
        assert_eq!((b.vote(), b.purged().unwrap(), b.range()), (None, (99, "id 99".into()), 100..101));
        assert_eq!(b.last().unwrap().unwrap(), (100, payload(100, 21)));
        assert_eq!(log.groups(), [A, B]);
    };
    check(&log);
    log.close();
    assert!(matches!(append(&a, 8..9, 10), Err(LogError::Closed)));
    drop((log, a, b, gone));
    check(&open(dir.path()));
    check(&open(dir.path())); // recovery changes nothing
}

#[test]
fn what_contradicts_the_log_is_refused_and_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path());
    let group = log.group(A);
    let invalid = |result| matches!(result, Err(LogError::Invalid { group: A, .. }));
    assert!(invalid(append(&group, 1..2, 10)), "a group begins at 0");
    append(&group, 0..5, 10).unwrap();
    assert!(invalid(append(&group, 6..7, 10)) && invalid(append(&group, 4..6, 10)));
    let (sender, receiver) = mpsc::channel();
    group.append(vec![(5, Bytes::new()), (7, Bytes::new())], move |result| sender.send(result).unwrap());
    assert!(invalid(receiver.recv().unwrap()));
    append(&group, 0..0, 0).unwrap();
    group.purge(2, Bytes::new());
    assert!(invalid(truncate(&group, Some(1))), "what is purged cannot be truncated");
    truncate(&group, Some(2)).unwrap();
    assert!(invalid(append(&group, 2..3, 10)));
    append(&group, 3..4, 10).unwrap();
    truncate(&group, Some(70)).unwrap();
    group.purge(10, Bytes::new());
    assert!(invalid(append(&group, 4..5, 10)));
    append(&group, 11..12, 10).unwrap();
    assert_eq!(indexes(&group), [11]);
    assert!(matches!(
        wait(group.save_vote(vec![0; crate::log::PAYLOAD_BYTES_MAX + 1].into())),
        Err(LogError::TooLarge { .. })
    ));
    assert_eq!(group.vote(), None);
    drop((group, log));
    assert_eq!(indexes(&open(dir.path()).group(A)), [11]);
}

#[test]
fn reads_are_bounded_in_bytes_but_never_empty() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path());
    let group = log.group(A);
    append(&group, 0..20, 100).unwrap();
    let read = |range, bytes| group.read(range, bytes).unwrap().iter().map(|(index, _)| *index).collect::<Vec<_>>();
    assert_eq!(read(0..20, 350), [0, 1, 2]);
    assert_eq!(read(17..100, 1000), [17, 18, 19]);
    assert_eq!(read(4..6, 0), [4]);
    assert!(read(6..6, 100).is_empty() && read(20..30, 100).is_empty());
    group.purge(9, Bytes::new());
    assert_eq!(read(0..12, 1000), [10, 11]);
}

#[test]
fn segments_go_once_nothing_in_them_lives_and_are_not_missed() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path());
    let (a, b) = (log.group(A), log.group(B));
    wait(b.save_vote(Bytes::from_static(b"old vote"))).unwrap();
    append(&b, 0..1, 10).unwrap();
    assert_eq!(log.pins(), Pins::default(), "the segment being written pins nothing");
    for index in 0..40 {
        append(&a, index..index + 1, 500).unwrap();
    }
    let before = log.segment_count();
    assert!(before >= 5);
    assert_eq!(log.bytes(), before as u64 * 4096);
    let pins = log.pins();
    // The newest two segments hold at most 14 entries of that size.
    let [Pin { group: A, first: 0, upto }, Pin { group: B, first: 0, upto: 0 }] = pins.groups[..] else {
        panic!("{pins:?}")
    };
    assert!((26..36).contains(&upto) && !pins.sparse, "{pins:?}");
    a.purge(35, Bytes::from_static(b"id"));
    wait(log.flush()).unwrap();
    let pins = Pins { groups: vec![Pin { group: B, first: 0, upto: 0 }], segments: log.segment_count(), sparse: true };
    assert_eq!((log.segment_count(), log.pins()), (before, pins), "one entry keeps all segments after it");
    b.purge(0, Bytes::from_static(b"b id"));
    append(&a, 40..41, 500).unwrap();
    wait(log.flush()).unwrap(); // the files go after the completions of the frame that made it so
    assert!(log.segment_count() <= 2);
    let stats = log.stats();
    assert_eq!(stats.segments_made + 1 - stats.segments_deleted, log.segment_count() as u64);
    drop((a, b, log));
    let files = std::fs::read_dir(dir.path()).unwrap().count();
    let log = open(dir.path());
    assert_eq!((log.segment_count(), indexes(&log.group(A))), (files, vec![36, 37, 38, 39, 40]));
    assert_eq!((log.group(B).vote().unwrap(), log.group(B).purged().unwrap()), ("old vote".into(), (0, "b id".into())));
    append(&log.group(B), 1..2, 10).unwrap();
}

#[test]
fn large_entries_and_appends_fit() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path());
    let group = log.group(A);
    append(&group, 0..1, 100_000).unwrap();
    append(&group, 1..13, 1 << 20).unwrap();
    append(&group, 13..10_013, 10).unwrap();
    let stats = log.stats();
    assert!(stats.records >= 10_013 && stats.frames >= 1 + 3 + 3, "{stats:?}");
    drop((group, log));
    let group = open(dir.path()).group(A);
    assert_eq!(group.range(), 0..10_013);
    for (index, length) in [(0, 100_000), (1, 1 << 20), (12, 1 << 20), (13, 10), (10_012, 10)] {
        assert_eq!(group.read(index..index + 1, 0).unwrap(), [(index, payload(index, length))]);
    }
}

#[test]
fn completions_run_in_order_and_share_frames() {
    let dir = tempfile::tempdir().unwrap();
    let log = Log::open(dir.path(), LogOptions::default()).unwrap();
    let (sender, receiver) = mpsc::channel();
    for index in 0..2000u64 {
        for group in [A, B] {
            let sender = sender.clone();
            log.group(group).append(vec![(index, payload(index, 20))], move |result| {
                sender.send((index, group, result.is_ok())).unwrap()
            });
        }
    }
    // Readable before they are durable.
    assert_eq!(log.group(A).last().unwrap().unwrap().0, 1999);
    let order: Vec<_> = receiver.iter().take(4000).collect();
    let expected: Vec<_> = (0..2000).flat_map(|index| [(index, A, true), (index, B, true)]).collect();
    assert_eq!(order, expected);
    assert!(log.stats().frames < 1000, "{:?}", log.stats());
}

#[test]
fn a_log_may_be_dropped_by_its_own_completion() {
    let dir = tempfile::tempdir().unwrap();
    let (sender, receiver) = mpsc::channel();
    let log = open(dir.path());
    let group = log.group(A);
    let last = group.clone();
    group.append(vec![(0, payload(0, 10))], move |result| {
        // Wait until this is the last handle there is.
        std::thread::sleep(std::time::Duration::from_millis(30));
        drop(last);
        sender.send(result).unwrap();
    });
    drop((group, log));
    receiver.recv().unwrap().unwrap();
    // The committer ends by itself right after.
    std::thread::sleep(std::time::Duration::from_millis(30));
    assert_eq!(indexes(&open(dir.path()).group(A)), [0]);
}
