//! What the fuzz targets of `tests/fuzz` call: records, frames and the recovery of a whole log, held to their promises on any
//! input.
//!
//! Random bytes never get past a checksum. So [`recovery`] reads its input as a plan: it makes segments and frames whose sums
//! are right and whose contents are the input's, and then spoils single bytes where the input says so.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;
use recoil_base::{GroupId, Reader};

use super::disk::{Disk, File};
use super::format::{
    FRAME_HEADER_BYTES, FrameBuilder, HEADER_BYTES, Record, SegmentHeader, read_frame, read_record, segment_name,
};
use super::{Log, LogOptions};

const SALT: u64 = 0x5a17_0000_dead_beef;
const SEGMENT_BYTES: usize = 8 << 10;
const SEGMENTS_MAX: usize = 4;
/// A checkpoint may claim live entries that lie in segments which are not there, and recovery makes room for them before it can
/// know: what it may believe is bounded by a number (2²⁸), not by the file. Plans that claim more than this are not tried.
const CLAIMED_MAX: u64 = 1 << 16;

/// The body of a frame: what can be read is written again byte for byte.
pub fn records(input: &[u8]) {
    let body = Bytes::copy_from_slice(input);
    let mut reader = Reader::new("fuzzed frame", body.clone());
    let mut builder = FrameBuilder::default();
    builder.clear();
    let mut canonical = true;
    while reader.remaining() > 0 {
        let Ok(record) = read_record(&mut reader, body.len()) else { return };
        match record {
            Record::Entry { group, index, offset, length, sum } => {
                let payload = &body[offset..offset + length as usize];
                if builder.entry(group, index, payload).1 != sum {
                    return; // a damaged payload is found when it is read
                }
            }
            Record::Relocated { group, index, offset, length, sum } => {
                let payload = &body[offset..offset + length as usize];
                if builder.relocated(group, index, payload).1 != sum {
                    return;
                }
            }
            Record::Vote { group, vote } => builder.vote(group, &vote),
            Record::Truncate { group, next } => builder.truncate(group, next),
            Record::Purge { group, upto, log_id } => builder.purge(group, upto, &log_id),
            Record::Reset { group, upto, log_id } => builder.reset(group, upto, &log_id),
            Record::Remove { group } => builder.remove(group),
            Record::Checkpoint { images } => {
                builder.checkpoint(&images);
                canonical = false; // groups may be in another order, or named twice
            }
            Record::Seal => builder.seal(),
        }
    }
    let frame = builder.finish(SALT, 7).to_vec();
    let found = read_frame(&frame, 0, SALT).expect("a frame just written is whole");
    assert_eq!(found.number, 7);
    let written = &frame[found.body.0..found.body.1];
    assert!(!canonical || written == &body[..], "what was read is not what was written");
}

/// A folder of segments that the input describes. Opening it succeeds or is refused; what opens can be written to, and opens again
/// with the same contents.
pub fn recovery(input: &[u8]) {
    let Some(disk) = image(input) else { return };
    let disk: Arc<dyn Disk> = Arc::new(disk);
    let options = LogOptions { segment_bytes: SEGMENT_BYTES as u64, cache_bytes: 1 << 20 };
    let Ok(log) = Log::open_on(disk.clone(), options.clone()) else { return };
    let before = contents(&log);
    log.close();
    drop(log);
    let log = Log::open_on(disk, options).expect("a log that opened and was not written to opens again");
    assert_eq!(contents(&log), before);
    log.close();
}

type Contents = Vec<(GroupId, Option<Bytes>, Option<(u64, Bytes)>, std::ops::Range<u64>, Option<u64>)>;

fn contents(log: &Log) -> Contents {
    let groups = log.groups().into_iter().map(|id| {
        let group = log.group(id);
        let range = group.range();
        let read = group.read(range.clone(), 1 << 20).ok().map(|entries| entries.len() as u64);
        (id, group.vote(), group.purged(), range, read)
    });
    groups.collect()
}

/// The plan: `count u8`, then frames `header u8 | length u16 | body`, then bytes to spoil `segment u8 | offset u16 | xor u8`.
/// A header's low bits: 1 seals and begins another segment, 2 skips a frame number.
fn image(input: &[u8]) -> Option<MemoryDisk> {
    let mut reader = Reader::new("plan", Bytes::copy_from_slice(input));
    let frames = reader.u8().ok()? % 32;
    let mut segments = vec![Segment::new(1, 1)];
    let mut number = 1;
    for place in 0..frames {
        let flags = reader.u8().ok()?;
        let length = usize::from(reader.u16().ok()?).min(reader.remaining());
        let body = reader.raw(length).ok()?;
        if claims_too_much(&body) {
            return None;
        }
        number += u64::from(flags & 2 != 0 && place > 0);
        segments.last_mut()?.frame(number, &body);
        number += 1;
        if flags & 1 != 0 && segments.len() < SEGMENTS_MAX {
            let next = segments.len() as u32 + 1;
            segments.push(Segment::new(next, number));
        }
    }
    while reader.remaining() >= 4 {
        let (segment, offset, spoil) = (reader.u8().ok()?, reader.u16().ok()?, reader.u8().ok()?);
        let count = segments.len();
        if let Some(byte) = segments[usize::from(segment) % count].bytes.get_mut(usize::from(offset)) {
            *byte ^= spoil;
        }
    }
    let named = segments.into_iter().zip(1u32..);
    let files = named.map(|(segment, number)| (segment_name(number), Arc::new(Memory(Mutex::new(segment.bytes)))));
    Some(MemoryDisk(Mutex::new(files.collect())))
}

fn claims_too_much(body: &Bytes) -> bool {
    let mut reader = Reader::new("fuzzed frame", body.clone());
    while reader.remaining() > 0 {
        match read_record(&mut reader, body.len()) {
            Ok(Record::Checkpoint { images }) if images.values().any(|i| i.next - i.first > CLAIMED_MAX) => {
                return true;
            }
            Ok(_) => {}
            Err(_) => return false,
        }
    }
    false
}

struct Segment {
    bytes: Vec<u8>,
    end: usize,
}

impl Segment {
    fn new(number: u32, first_frame: u64) -> Self {
        let header = SegmentHeader { number, first_frame, salt: SALT, bytes: SEGMENT_BYTES as u64 };
        let mut bytes = header.encode().to_vec();
        bytes.resize(SEGMENT_BYTES, 0);
        Segment { bytes, end: HEADER_BYTES }
    }

    fn frame(&mut self, number: u64, body: &[u8]) {
        let mut builder = FrameBuilder::default();
        builder.clear();
        builder.raw(body);
        let frame = builder.finish(SALT, number);
        debug_assert!(frame.len() >= FRAME_HEADER_BYTES);
        let room = self.bytes.len() - self.end;
        let fits = frame.len().min(room); // what does not fit is torn
        self.bytes[self.end..self.end + fits].copy_from_slice(&frame[..fits]);
        self.end += fits;
    }
}

/// Files in memory that never fail.
#[derive(Default)]
struct MemoryDisk(Mutex<BTreeMap<String, Arc<Memory>>>);

#[derive(Default)]
struct Memory(Mutex<Vec<u8>>);

fn missing() -> io::Error {
    io::ErrorKind::NotFound.into()
}

impl Disk for MemoryDisk {
    fn list(&self) -> io::Result<Vec<String>> {
        Ok(self.0.lock().keys().cloned().collect())
    }
    fn create(&self, name: &str, bytes: u64) -> io::Result<Arc<dyn File>> {
        let file = Arc::new(Memory(Mutex::new(vec![0; bytes as usize])));
        self.0.lock().insert(name.to_owned(), file.clone());
        Ok(file)
    }
    fn open(&self, name: &str) -> io::Result<Arc<dyn File>> {
        let file = self.0.lock().get(name).cloned().ok_or_else(missing)?;
        Ok(file)
    }
    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut files = self.0.lock();
        let file = files.remove(from).ok_or_else(missing)?;
        files.insert(to.to_owned(), file);
        Ok(())
    }
    fn remove(&self, name: &str) -> io::Result<()> {
        self.0.lock().remove(name).map(drop).ok_or_else(missing)
    }
    fn sync(&self) -> io::Result<()> {
        Ok(())
    }
}

impl File for Memory {
    fn size(&self) -> io::Result<u64> {
        Ok(self.0.lock().len() as u64)
    }
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        let bytes = self.0.lock();
        let start = usize::try_from(offset).unwrap_or(usize::MAX);
        let end = start.saturating_add(buffer.len());
        let found = bytes.get(start..end).ok_or(io::ErrorKind::UnexpectedEof)?;
        buffer.copy_from_slice(found);
        Ok(())
    }
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let mut file = self.0.lock();
        let start = usize::try_from(offset).unwrap_or(usize::MAX);
        let end = start.saturating_add(bytes.len());
        let place = file.get_mut(start..end).ok_or(io::ErrorKind::UnexpectedEof)?;
        place.copy_from_slice(bytes);
        Ok(())
    }
    fn sync(&self) -> io::Result<()> {
        Ok(())
    }
}
