//! The format on the disk, held to bytes that were written once.
//!
//! `RECOIL_WRITE_FIXTURES=1 cargo test -p recoil-storage fixture` writes the file anew, which is right only together with
//! another version in the segments' magic.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use super::*;
use crate::log::format::{FrameBuilder, SegmentHeader, segment_name};
use crate::log::index::Image;

const SEGMENT_BYTES: u64 = 4096;
const HEADER: SegmentHeader =
    SegmentHeader { number: 3, first_frame: 41, salt: 0x5a17_0000_dead_beef, bytes: SEGMENT_BYTES };

fn path() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/log-segment-2.log")
}

/// A segment with every kind of record: entries 4 and 5 of group 1 are described by its checkpoint and relocated, the rest is new.
fn segment() -> Vec<u8> {
    let image = Image {
        vote: Some(Bytes::from_static(b"vote")),
        purged: Some((3, Bytes::from_static(b"id 3"))),
        first: 4,
        next: 6,
    };
    let images = BTreeMap::from([(A, image), (B, Image::default())]);
    let mut content = HEADER.encode().to_vec();
    let mut frame = FrameBuilder::default();
    let mut number = HEADER.first_frame;
    let mut add = |build: &dyn Fn(&mut FrameBuilder)| {
        frame.clear();
        build(&mut frame);
        content.extend_from_slice(frame.finish(HEADER.salt, number));
        number += 1;
    };
    add(&|frame| frame.checkpoint(&images));
    add(&|frame| {
        frame.relocated(A, 4, b"four");
        frame.relocated(A, 5, b"five");
        frame.entry(A, 6, b"six");
        frame.entry(B, 0, b"zero");
    });
    add(&|frame| {
        frame.vote(B, b"vote of 2");
        frame.purge(A, 4, b"id 4");
        frame.truncate(A, 6);
        frame.entry(GroupId(9), 0, b"gone");
        frame.remove(GroupId(9));
        frame.reset(GroupId(10), 99, b"id 99");
    });
    content.resize(SEGMENT_BYTES as usize, 0);
    content
}

/// Fails if the meaning of a byte changes while the version stays.
#[test]
fn the_format_is_that_of_the_fixture() {
    if std::env::var_os("RECOIL_WRITE_FIXTURES").is_some() {
        fs::create_dir_all(path().parent().unwrap()).unwrap();
        fs::write(path(), segment()).unwrap();
    }
    let fixture = fs::read(path()).unwrap();
    assert!(fixture == segment(), "what this version writes is not what is in {}", path().display());
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join(segment_name(HEADER.number)), &fixture).unwrap();
    let log = open(dir.path());
    assert_eq!(log.groups(), [A, B, GroupId(10)]);
    let (a, b, c) = (log.group(A), log.group(B), log.group(GroupId(10)));
    assert_eq!((a.vote().unwrap(), a.purged().unwrap()), ("vote".into(), (4, "id 4".into())));
    assert_eq!(a.read(0..10, usize::MAX).unwrap(), [(5, Bytes::from_static(b"five"))]);
    assert_eq!((b.vote().unwrap(), b.purged()), ("vote of 2".into(), None));
    assert_eq!(b.read(0..10, usize::MAX).unwrap(), [(0, Bytes::from_static(b"zero"))]);
    assert_eq!((c.vote(), c.purged().unwrap(), c.range()), (None, (99, "id 99".into()), 100..100));
    drop((a, b, c, log));
    // Opening and closing writes nothing.
    assert!(fs::read(dir.path().join(segment_name(HEADER.number))).unwrap() == fixture);
}

/// Fails if a log of another version is read, or called damaged.
#[test]
fn a_log_of_another_version_is_refused_as_such() {
    let mut other = fs::read(path()).unwrap();
    other[7] = b'1';
    let sum = crc32fast::hash(&other[..40]);
    other[40..44].copy_from_slice(&sum.to_le_bytes());
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join(segment_name(HEADER.number)), &other).unwrap();
    let refused = Log::open(dir.path(), small()).map(|_| ()).unwrap_err();
    let text = refused.to_string();
    assert!(matches!(refused, LogError::Format { found: '1', expected: '2', .. }), "{text}");
    assert!(text.contains("format 1") && text.contains("format 2") && !text.contains("damaged"), "{text}");
    // The same byte, and nothing that says it was meant.
    other[40] ^= 1;
    fs::write(dir.path().join(segment_name(HEADER.number)), &other).unwrap();
    assert!(matches!(Log::open(dir.path(), small()).map(|_| ()), Err(LogError::Corrupt { .. })));
}
