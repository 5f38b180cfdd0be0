//! How the log's files are laid out. Little-endian; changing any of it is a data migration.
//!
//! A segment is a preallocated file of zeros: a header, then frames one after the other, each beginning at a multiple of 8.
//! - Header (64 bytes): `magic 8 | segment u64 | first frame u64 | salt u64 | file bytes u64 | crc u32 | zeros`.
//! - Frame: `salt u64 | frame number u64 | body bytes u32 | crc u32 | body | zeros to a multiple of 8`. The checksum covers everything
//!   before it and the body.
//! - Record in a body: `kind u8`, then by kind: entry and relocated entry `group u32 | index u64 | length u32 | crc u32 | payload`;
//!   vote `group u32 | bytes`; truncate `group u32 | next index u64`; purge and reset `group u32 | index u64 | log id`; remove
//!   `group u32`; checkpoint `count u32` groups; seal nothing.
//!
//! A relocated entry is a second copy of an entry that is live at that point of the log: a new place, not a new entry. The last
//! byte of the magic is the format's version; a log of another one is refused as a whole, since nothing is known of its records.
//!
//! The salt is random for each segment. It is what a scan for frames looks for, and nobody who writes entries knows it, so
//! that no payload can pass for a frame. The first frame of a segment is a checkpoint of all groups, the last of every segment but
//! the newest is a seal.

use std::collections::BTreeMap;

use bytes::Bytes;
use recoil_base::{DecodeError, GroupId, Reader};

use super::index::{INDEX_MAX, Image};

/// The format's name and, as its last byte, its version.
const MAGIC: &[u8; 8] = b"RECOILW2";
pub(super) const HEADER_BYTES: usize = 64;
const HEADER_SUMMED_BYTES: usize = 40;
pub(super) const FRAME_HEADER_BYTES: usize = 24;
const FRAME_SUMMED_BYTES: usize = 20;
/// Bytes of a frame that holds nothing but a seal.
pub(super) const SEAL_BYTES: u64 = 32;
/// Bytes of an entry's record beside its payload.
pub(super) const ENTRY_OVERHEAD_BYTES: usize = 21;

const ENTRY: u8 = 1;
const VOTE: u8 = 2;
const TRUNCATE: u8 = 3;
const PURGE: u8 = 4;
const RESET: u8 = 5;
const REMOVE: u8 = 6;
const CHECKPOINT: u8 = 7;
const SEAL: u8 = 8;
const RELOCATED: u8 = 9;

/// The beginning of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SegmentHeader {
    pub(super) number: u32,
    pub(super) first_frame: u64,
    pub(super) salt: u64,
    pub(super) bytes: u64,
}

impl SegmentHeader {
    pub(super) fn encode(&self) -> [u8; HEADER_BYTES] {
        let mut header = [0; HEADER_BYTES];
        header[..8].copy_from_slice(MAGIC);
        header[8..16].copy_from_slice(&u64::from(self.number).to_le_bytes());
        header[16..24].copy_from_slice(&self.first_frame.to_le_bytes());
        header[24..32].copy_from_slice(&self.salt.to_le_bytes());
        header[32..40].copy_from_slice(&self.bytes.to_le_bytes());
        let sum = crc32fast::hash(&header[..HEADER_SUMMED_BYTES]);
        header[40..44].copy_from_slice(&sum.to_le_bytes());
        header
    }

    pub(super) fn decode(header: &[u8; HEADER_BYTES]) -> Result<Self, &'static str> {
        if header[..8] != MAGIC[..] {
            return Err("the segment does not begin as one of this format does");
        }
        if read_u32(header, 40) != Some(crc32fast::hash(&header[..HEADER_SUMMED_BYTES])) {
            return Err("the checksum of the segment's header is wrong");
        }
        let number = |at| read_u64(header, at).unwrap_or_default();
        let segment = u32::try_from(number(8)).map_err(|_| "the segment's number is too large")?;
        Ok(SegmentHeader { number: segment, first_frame: number(16), salt: number(24), bytes: number(32) })
    }
}

/// The version of another format than this one, if that is what the segment was written in. A checksum that fits tells it from a
/// damaged header.
pub(super) fn other_format(header: &[u8; HEADER_BYTES]) -> Option<char> {
    let (name, version) = (&header[..7], header[7]);
    let whole = read_u32(header, 40) == Some(crc32fast::hash(&header[..HEADER_SUMMED_BYTES]));
    (name == &MAGIC[..7] && version != MAGIC[7] && whole).then_some(char::from(version))
}

/// The version of this format.
pub(super) fn this_format() -> char {
    char::from(MAGIC[7])
}

/// The name of a segment's file.
pub(super) fn segment_name(number: u32) -> String {
    format!("{number:010}.log")
}

/// The number in a segment's name.
pub(super) fn segment_number(name: &str) -> Option<u32> {
    let digits = name.strip_suffix(".log")?;
    (digits.len() == 10 && digits.bytes().all(|byte| byte.is_ascii_digit())).then(|| digits.parse().ok())?
}

/// Builds one frame, in a buffer that is used again.
#[derive(Default)]
pub(super) struct FrameBuilder {
    buffer: Vec<u8>,
    records: u64,
}

impl FrameBuilder {
    pub(super) fn clear(&mut self) {
        self.buffer.clear();
        // One exceptionally large entry must not keep its memory for ever.
        self.buffer.shrink_to(16 << 20);
        self.buffer.resize(FRAME_HEADER_BYTES, 0);
        self.records = 0;
    }

    pub(super) fn records(&self) -> u64 {
        self.records
    }

    /// Bytes of the finished frame.
    pub(super) fn size(&self) -> u64 {
        self.buffer.len().next_multiple_of(8) as u64
    }

    fn record(&mut self, kind: u8) -> &mut Vec<u8> {
        self.records += 1;
        self.buffer.push(kind);
        &mut self.buffer
    }

    /// Answers where in the frame the payload begins, and its checksum.
    pub(super) fn entry(&mut self, group: GroupId, index: u64, payload: &[u8]) -> (u64, u32) {
        self.entry_or_relocated(ENTRY, group, index, payload)
    }

    /// [`FrameBuilder::entry`] of an entry that the log has already.
    pub(super) fn relocated(&mut self, group: GroupId, index: u64, payload: &[u8]) -> (u64, u32) {
        self.entry_or_relocated(RELOCATED, group, index, payload)
    }

    fn entry_or_relocated(&mut self, kind: u8, group: GroupId, index: u64, payload: &[u8]) -> (u64, u32) {
        let sum = crc32fast::hash(payload);
        let buffer = self.record(kind);
        buffer.extend_from_slice(&group.0.to_le_bytes());
        buffer.extend_from_slice(&index.to_le_bytes());
        buffer.extend_from_slice(&(payload.len() as u32).to_le_bytes());
        buffer.extend_from_slice(&sum.to_le_bytes());
        let offset = buffer.len() as u64;
        buffer.extend_from_slice(payload);
        (offset, sum)
    }

    pub(super) fn vote(&mut self, group: GroupId, vote: &[u8]) {
        let buffer = self.record(VOTE);
        buffer.extend_from_slice(&group.0.to_le_bytes());
        put_bytes(buffer, vote);
    }

    pub(super) fn truncate(&mut self, group: GroupId, next: u64) {
        let buffer = self.record(TRUNCATE);
        buffer.extend_from_slice(&group.0.to_le_bytes());
        buffer.extend_from_slice(&next.to_le_bytes());
    }

    pub(super) fn purge(&mut self, group: GroupId, upto: u64, log_id: &[u8]) {
        self.purge_or_reset(PURGE, group, upto, log_id);
    }

    pub(super) fn reset(&mut self, group: GroupId, upto: u64, log_id: &[u8]) {
        self.purge_or_reset(RESET, group, upto, log_id);
    }

    fn purge_or_reset(&mut self, kind: u8, group: GroupId, upto: u64, log_id: &[u8]) {
        let buffer = self.record(kind);
        buffer.extend_from_slice(&group.0.to_le_bytes());
        buffer.extend_from_slice(&upto.to_le_bytes());
        put_bytes(buffer, log_id);
    }

    pub(super) fn remove(&mut self, group: GroupId) {
        self.record(REMOVE).extend_from_slice(&group.0.to_le_bytes());
    }

    pub(super) fn checkpoint(&mut self, images: &BTreeMap<GroupId, Image>) {
        let buffer = self.record(CHECKPOINT);
        buffer.extend_from_slice(&(images.len() as u32).to_le_bytes());
        for (group, image) in images {
            buffer.extend_from_slice(&group.0.to_le_bytes());
            buffer.extend_from_slice(&image.first.to_le_bytes());
            buffer.extend_from_slice(&image.next.to_le_bytes());
            buffer.push(u8::from(image.vote.is_some()) | u8::from(image.purged.is_some()) << 1);
            if let Some(vote) = &image.vote {
                put_bytes(buffer, vote);
            }
            if let Some((upto, log_id)) = &image.purged {
                buffer.extend_from_slice(&upto.to_le_bytes());
                put_bytes(buffer, log_id);
            }
        }
    }

    pub(super) fn seal(&mut self) {
        self.record(SEAL);
    }

    /// Bytes that need not be records: for fuzzing, which wants right sums around any content.
    pub(super) fn raw(&mut self, body: &[u8]) {
        self.buffer.extend_from_slice(body);
    }

    /// The frame's bytes.
    pub(super) fn finish(&mut self, salt: u64, number: u64) -> &[u8] {
        let body_bytes = (self.buffer.len() - FRAME_HEADER_BYTES) as u32;
        self.buffer[..8].copy_from_slice(&salt.to_le_bytes());
        self.buffer[8..16].copy_from_slice(&number.to_le_bytes());
        self.buffer[16..20].copy_from_slice(&body_bytes.to_le_bytes());
        let sum = frame_sum(&self.buffer);
        self.buffer[20..24].copy_from_slice(&sum.to_le_bytes());
        self.buffer.resize(self.buffer.len().next_multiple_of(8), 0);
        &self.buffer
    }
}

fn put_bytes(buffer: &mut Vec<u8>, bytes: &[u8]) {
    buffer.extend_from_slice(&(bytes.len() as u32).to_le_bytes());
    buffer.extend_from_slice(bytes);
}

/// The checksum of a frame without its padding.
fn frame_sum(frame: &[u8]) -> u32 {
    let mut sum = crc32fast::Hasher::new();
    sum.update(&frame[..FRAME_SUMMED_BYTES]);
    sum.update(&frame[FRAME_HEADER_BYTES..]);
    sum.finalize()
}

fn read_u32(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().map(|chunk| u32::from_le_bytes(*chunk))
}

fn read_u64(bytes: &[u8], at: usize) -> Option<u64> {
    bytes.get(at..)?.first_chunk().map(|chunk| u64::from_le_bytes(*chunk))
}

/// A frame whose checksum is right.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Frame {
    pub(super) number: u64,
    /// Where its body begins and ends in the segment.
    pub(super) body: (usize, usize),
    /// Where the next frame begins.
    pub(super) end: usize,
}

/// The frame at `offset` of a segment, if there is one that is whole.
pub(super) fn read_frame(segment: &[u8], offset: usize, salt: u64) -> Option<Frame> {
    if read_u64(segment, offset)? != salt {
        return None;
    }
    let number = read_u64(segment, offset + 8)?;
    let length = read_u32(segment, offset + 16)? as usize;
    let sum = read_u32(segment, offset + 20)?;
    let body = (offset + FRAME_HEADER_BYTES, (offset + FRAME_HEADER_BYTES).checked_add(length)?);
    let whole = segment.get(offset..body.1)?;
    (frame_sum(whole) == sum).then_some(Frame { number, body, end: body.1.next_multiple_of(8) })
}

/// The first whole frame at or after `offset` (a multiple of 8) with a number of at least `number_min`.
pub(super) fn find_frame(segment: &[u8], offset: usize, salt: u64, number_min: u64) -> Option<(usize, Frame)> {
    let wanted = salt.to_le_bytes();
    let places = segment.get(offset..)?.chunks_exact(8).enumerate().filter(|(_, chunk)| **chunk == wanted);
    places.map(|(place, _)| offset + place * 8).find_map(|at| {
        read_frame(segment, at, salt).filter(|frame| frame.number >= number_min).map(|frame| (at, frame))
    })
}

/// One record of a frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Record {
    /// `offset` counts from the body's beginning.
    Entry {
        group: GroupId,
        index: u64,
        offset: usize,
        length: u32,
        sum: u32,
    },
    /// The same for a copy of an entry that is live already.
    Relocated {
        group: GroupId,
        index: u64,
        offset: usize,
        length: u32,
        sum: u32,
    },
    Vote {
        group: GroupId,
        vote: Bytes,
    },
    Truncate {
        group: GroupId,
        next: u64,
    },
    Purge {
        group: GroupId,
        upto: u64,
        log_id: Bytes,
    },
    Reset {
        group: GroupId,
        upto: u64,
        log_id: Bytes,
    },
    Remove {
        group: GroupId,
    },
    Checkpoint {
        images: BTreeMap<GroupId, Image>,
    },
    Seal,
}

/// Takes the next record off a frame's body of `body_bytes`. Byte strings are copied, so that no index keeps a segment in memory.
pub(super) fn read_record(reader: &mut Reader, body_bytes: usize) -> Result<Record, DecodeError> {
    let kind = reader.u8()?;
    Ok(match kind {
        ENTRY | RELOCATED => {
            let (group, index) = (GroupId(reader.u32()?), reader.u64()?);
            let (length, sum) = (reader.u32()?, reader.u32()?);
            let offset = body_bytes - reader.remaining();
            reader.raw(length as usize)?;
            if kind == ENTRY {
                Record::Entry { group, index, offset, length, sum }
            } else {
                Record::Relocated { group, index, offset, length, sum }
            }
        }
        VOTE => Record::Vote { group: GroupId(reader.u32()?), vote: copied(reader)? },
        TRUNCATE => Record::Truncate { group: GroupId(reader.u32()?), next: reader.u64()? },
        PURGE => Record::Purge { group: GroupId(reader.u32()?), upto: reader.u64()?, log_id: copied(reader)? },
        RESET => Record::Reset { group: GroupId(reader.u32()?), upto: reader.u64()?, log_id: copied(reader)? },
        REMOVE => Record::Remove { group: GroupId(reader.u32()?) },
        CHECKPOINT => {
            let count = reader.count(21)?;
            let images = (0..count).map(|_| read_image(reader)).collect::<Result<_, _>>()?;
            Record::Checkpoint { images }
        }
        SEAL => Record::Seal,
        _ => {
            return Err(reader.error(
                "a record of a kind that this version does not know; use the version that wrote it or a later one",
            ));
        }
    })
}

fn read_image(reader: &mut Reader) -> Result<(GroupId, Image), DecodeError> {
    let (group, first, next) = (GroupId(reader.u32()?), reader.u64()?, reader.u64()?);
    let flags = reader.u8()?;
    let vote = if flags & 1 != 0 { Some(copied(reader)?) } else { None };
    let purged = if flags & 2 != 0 { Some((reader.u64()?, copied(reader)?)) } else { None };
    if flags > 3 || first > next || next > INDEX_MAX {
        return Err(reader.error("a checkpoint is impossible"));
    }
    Ok((group, Image { vote, purged, first, next }))
}

fn copied(reader: &mut Reader) -> Result<Bytes, DecodeError> {
    reader.bytes().map(|bytes| Bytes::copy_from_slice(&bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn records(frame: &[u8], salt: u64) -> Vec<Record> {
        let found = read_frame(frame, 0, salt).unwrap();
        let body = Bytes::copy_from_slice(&frame[found.body.0..found.body.1]);
        let mut reader = Reader::new("frame", body.clone());
        let mut records = Vec::new();
        while reader.remaining() > 0 {
            records.push(read_record(&mut reader, body.len()).unwrap());
        }
        records
    }

    #[test]
    fn every_record_survives_and_every_flipped_byte_is_seen() {
        let mut builder = FrameBuilder::default();
        builder.clear();
        let (offset, sum) = builder.entry(GroupId(3), 7, b"payload");
        builder.vote(GroupId(3), b"vote");
        builder.truncate(GroupId(3), 5);
        builder.purge(GroupId(3), 4, b"id");
        builder.reset(GroupId(3), 9, b"id");
        builder.remove(GroupId(4));
        let image = Image {
            vote: Some(Bytes::from_static(b"v")),
            purged: Some((4, Bytes::from_static(b"p"))),
            first: 5,
            next: 8,
        };
        let images = BTreeMap::from([(GroupId(1), image), (GroupId(2), Image::default())]);
        builder.checkpoint(&images);
        builder.seal();
        let (again, same) = builder.relocated(GroupId(3), 7, b"payload");
        assert_eq!((builder.records(), same), (9, sum));
        let size = builder.size();
        let second = again as usize - FRAME_HEADER_BYTES;
        let frame = builder.finish(0xfeed, 42).to_vec();
        assert_eq!((frame.len() as u64, frame.len() % 8), (size, 0));
        assert_eq!(&frame[offset as usize..][..7], b"payload");
        let (log_id, vote) = (Bytes::from_static(b"id"), Bytes::from_static(b"vote"));
        let expected = vec![
            Record::Entry { group: GroupId(3), index: 7, offset: offset as usize - FRAME_HEADER_BYTES, length: 7, sum },
            Record::Vote { group: GroupId(3), vote },
            Record::Truncate { group: GroupId(3), next: 5 },
            Record::Purge { group: GroupId(3), upto: 4, log_id: log_id.clone() },
            Record::Reset { group: GroupId(3), upto: 9, log_id },
            Record::Remove { group: GroupId(4) },
            Record::Checkpoint { images },
            Record::Seal,
            Record::Relocated { group: GroupId(3), index: 7, offset: second, length: 7, sum },
        ];
        assert_eq!(records(&frame, 0xfeed), expected);
        let end = read_frame(&frame, 0, 0xfeed).unwrap().body.1;
        for position in 0..end {
            let mut bad = frame.clone();
            bad[position] ^= 0x10;
            assert_eq!(read_frame(&bad, 0, 0xfeed), None, "{position}");
        }
    }

    #[test]
    fn a_scan_finds_whole_later_frames_only() {
        let mut segment = vec![0; 256];
        let mut builder = FrameBuilder::default();
        builder.clear();
        builder.seal();
        let frame = builder.finish(5, 10).to_vec();
        segment[64..64 + frame.len()].copy_from_slice(&frame);
        assert_eq!(find_frame(&segment, 0, 5, 10).map(|(at, frame)| (at, frame.number)), Some((64, 10)));
        assert_eq!(find_frame(&segment, 0, 5, 11), None);
        assert_eq!(find_frame(&segment, 72, 5, 1), None);
        assert_eq!(find_frame(&segment, 0, 6, 1), None);
        segment[64 + 24] ^= 1;
        assert_eq!(find_frame(&segment, 0, 5, 10), None);
    }

    #[test]
    fn segment_headers_and_names_survive_and_others_are_refused() {
        let header = SegmentHeader { number: 7, first_frame: 9, salt: 11, bytes: 13 };
        let encoded = header.encode();
        assert_eq!(SegmentHeader::decode(&encoded), Ok(header));
        for position in 0..44 {
            let mut bad = encoded;
            bad[position] ^= 1;
            assert!(SegmentHeader::decode(&bad).is_err(), "{position}");
        }
        assert_eq!(segment_number(&segment_name(42)), Some(42));
        for other in ["1.log", "0000000001.tmp", "+000000001.log", "0000000001.log.tmp"] {
            assert_eq!(segment_number(other), None);
        }
    }
}
