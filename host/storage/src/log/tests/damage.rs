//! Files that are not as they were left: what was never acknowledged is dropped, everything else is refused.

use std::fs;
use std::path::PathBuf;

use super::*;
use crate::log::format::{HEADER_BYTES, SegmentHeader, read_frame, segment_name};

fn first(path: &Path) -> PathBuf {
    path.join(segment_name(1))
}

/// Where the frames of the first segment begin and end.
fn frames(path: &Path) -> Vec<(usize, usize)> {
    let content = fs::read(first(path)).unwrap();
    let header = SegmentHeader::decode(content.first_chunk().unwrap()).unwrap();
    let mut frames = Vec::new();
    let mut offset = HEADER_BYTES;
    while let Some(frame) = read_frame(&content, offset, header.salt) {
        frames.push((offset, frame.body.1));
        offset = frame.end;
    }
    frames
}

fn refused(path: &Path) -> String {
    match Log::open(path, small()).map(|_| ()) {
        Err(error @ LogError::Corrupt { .. }) => error.to_string(),
        other => panic!("{other:?}"),
    }
}

/// Three frames, each with an entry: 0, 1, 2.
fn three() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path());
    for index in 0..3 {
        append(&log.group(A), index..index + 1, 60).unwrap();
    }
    dir
}

#[test]
fn a_torn_last_frame_is_dropped_wherever_it_is_torn() {
    let dir = three();
    let good = fs::read(first(dir.path())).unwrap();
    let (start, end) = *frames(dir.path()).last().unwrap();
    for cut in start..end {
        // What came before the cut is there, or what came after it: a disk writes in any order.
        for head_survives in [true, false] {
            let mut torn = good.clone();
            let lost = if head_survives { cut..end } else { start..cut + 1 };
            torn[lost.clone()].fill(0);
            if torn == good {
                continue; // only zeros were lost
            }
            fs::write(first(dir.path()), &torn).unwrap();
            let log = open(dir.path());
            let group = log.group(A);
            assert_eq!(indexes(&group), [0, 1], "{lost:?}");
            if cut % 16 == 0 {
                append(&group, 2..3, 8).unwrap();
                drop((group, log));
                assert_eq!(indexes(&open(dir.path()).group(A)), [0, 1, 2], "{lost:?}");
            }
        }
    }
}

#[test]
fn no_byte_of_a_torn_frame_is_left_behind_what_follows() {
    let dir = three();
    let mut content = fs::read(first(dir.path())).unwrap();
    let (start, end) = *frames(dir.path()).last().unwrap();
    content[start + 4] ^= 1;
    fs::write(first(dir.path()), &content).unwrap();
    let log = open(dir.path());
    assert!(fs::read(first(dir.path())).unwrap()[start..].iter().all(|byte| *byte == 0), "zeroed by opening");
    append(&log.group(A), 2..3, 8).unwrap();
    drop(log);
    let frames = frames(dir.path());
    let last = *frames.last().unwrap();
    assert!(last.1 < end && last.0 == start);
    assert!(fs::read(first(dir.path())).unwrap()[last.1..].iter().all(|byte| *byte == 0));
}

#[test]
fn damage_before_a_good_frame_is_refused_byte_by_byte() {
    let dir = three();
    let good = fs::read(first(dir.path())).unwrap();
    let frames = frames(dir.path());
    let last = frames.last().unwrap().0;
    for (start, end) in &frames[..frames.len() - 1] {
        for position in *start..*end {
            let mut bad = good.clone();
            bad[position] ^= 0x40;
            fs::write(first(dir.path()), &bad).unwrap();
            let message = refused(dir.path());
            assert!(message.contains(&segment_name(1)) && message.contains(&format!("byte {start}:")), "{message}");
            assert!(message.contains("new id"), "{message}");
        }
    }
    // Also when several frames in a row are gone, and when the header is.
    for lost in [frames[1].0..last, 0..HEADER_BYTES, 12..13] {
        let mut bad = good.clone();
        bad[lost].fill(0xee);
        fs::write(first(dir.path()), &bad).unwrap();
        refused(dir.path());
    }
    fs::write(first(dir.path()), &good).unwrap();
    assert_eq!(indexes(&open(dir.path()).group(A)), [0, 1, 2], "refusing changed nothing");
}

#[test]
fn a_zeroed_page_in_the_middle_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let log = Log::open(dir.path(), LogOptions { segment_bytes: 1 << 20, ..small() }).unwrap();
    for index in 0..100 {
        append(&log.group(A), index..index + 1, 500).unwrap();
    }
    drop(log);
    let good = fs::read(first(dir.path())).unwrap();
    for page in [0, 1, 5, 10] {
        let mut bad = good.clone();
        bad[page * 4096..(page + 1) * 4096].fill(0);
        fs::write(first(dir.path()), &bad).unwrap();
        refused(dir.path());
    }
}

/// Several segments, all of them needed.
fn several() -> (tempfile::TempDir, u32) {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path());
    for index in 0..30 {
        append(&log.group(A), index..index + 1, 500).unwrap();
    }
    let count = log.segment_count() as u32;
    assert!(count >= 4);
    drop(log);
    (dir, count)
}

#[test]
fn a_missing_segment_is_refused_wherever_it_was() {
    let (dir, count) = several();
    for number in 1..=count {
        let (name, away) = (dir.path().join(segment_name(number)), dir.path().join("away"));
        fs::rename(&name, &away).unwrap();
        let message = refused(dir.path());
        assert!(message.contains("missing"), "{number}: {message}");
        fs::rename(&away, &name).unwrap();
    }
    let (one, two) = (dir.path().join(segment_name(1)), dir.path().join(segment_name(2)));
    fs::copy(&one, &two).unwrap();
    refused(dir.path());
}

#[test]
fn a_shortened_or_unsealed_segment_is_refused() {
    let (dir, count) = several();
    for number in [1, count] {
        let name = dir.path().join(segment_name(number));
        let good = fs::read(&name).unwrap();
        for length in [0, 10, 100, good.len() - 1] {
            fs::write(&name, &good[..length]).unwrap();
            refused(dir.path());
        }
        fs::write(&name, &good).unwrap();
    }
    let name = dir.path().join(segment_name(2));
    let mut content = fs::read(&name).unwrap();
    let end = content.iter().rposition(|byte| *byte != 0).unwrap();
    content[end] = 0;
    fs::write(&name, &content).unwrap();
    refused(dir.path());
}

#[test]
fn a_new_segment_cut_short_is_finished_or_forgotten() {
    let (dir, count) = several();
    // Named, but for the crash: the segment before it is sealed.
    let temporary = dir.path().join("next.tmp");
    fs::rename(dir.path().join(segment_name(count)), &temporary).unwrap();
    let log = open(dir.path());
    assert_eq!((indexes(&log.group(A)).len(), log.segment_count() as u32, temporary.exists()), (30, count, false));
    drop(log);
    // Not sealed yet: it was not needed.
    fs::write(&temporary, b"half a header").unwrap();
    let log = open(dir.path());
    assert_eq!((indexes(&log.group(A)).len(), temporary.exists()), (30, false));
    for index in 30..40 {
        append(&log.group(A), index..index + 1, 500).unwrap();
    }
}

#[test]
fn a_read_notices_damage_that_came_after_opening() {
    let (dir, _) = several();
    let log = open(dir.path());
    let mut content = fs::read(first(dir.path())).unwrap();
    let place = content.windows(100).position(|window| window == [3; 100]).unwrap();
    content[place + 50] = 9;
    fs::write(first(dir.path()), &content).unwrap();
    let group = log.group(A);
    assert_eq!(group.read(2..3, 0).unwrap().len(), 1);
    let error = group.read(3..4, 0).unwrap_err();
    assert!(matches!(&error, LogError::Corrupt { .. }) && error.to_string().contains("entry 3 of group 1"), "{error}");
}
