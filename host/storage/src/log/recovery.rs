//! Opening a log: what was acknowledged comes back exactly, or the log is refused.
//!
//! The frames of all segments are read in order and their records replayed. A frame that is not whole ends the log if it is in
//! the newest segment and no whole frame with its number or a later one lies behind it: then it was in flight when the node
//! died, and nobody was promised anything. The place is zeroed, durably, before the log goes on there, so that no byte of the
//! torn frame can ever be taken for part of a later one. Everywhere else it is damage.
//!
//! Damage, too: a segment that is missing, too short or out of its place, a frame number that does not follow, a checkpoint that
//! contradicts what was replayed, a live entry whose segment is gone and that was not relocated, a relocated entry that is not
//! live or not the one that was appended, a sealed segment without a successor. Not to be told from a torn frame: damage in the
//! very last frame.
//!
//! The oldest checkpoint may describe entries that lie in segments which are gone. Each of them must be ended or relocated by a
//! later record: segments go only after what emptied them is durable ([`super::committer`]).

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use recoil_base::{GroupId, Reader};

use super::committer::{Active, TEMPORARY_NAME, first_segment};
use super::disk::{Disk, File};
use super::format::{
    HEADER_BYTES, Record, SegmentHeader, find_frame, other_format, read_frame, read_record, segment_name,
    segment_number, this_format,
};
use super::index::{ABSENT, GroupIndex, Image, Slot};
use super::state::{Segment, State};
use super::{LogError, LogOptions};

/// More live entries than this in one group's checkpoint are not believed.
const ENTRIES_MAX: u64 = 1 << 28;
/// Zeros are written in pieces of this size.
static ZEROS: [u8; 64 << 10] = [0; 64 << 10];

pub(super) struct Recovered {
    pub(super) state: State,
    pub(super) images: BTreeMap<GroupId, Image>,
    pub(super) active: Active,
    pub(super) next_frame: u64,
}

/// A segment that has been read.
struct Loaded {
    name: String,
    file: Arc<dyn File>,
    header: SegmentHeader,
    content: Bytes,
}

/// How a segment ends.
enum End {
    Sealed,
    /// The next frame goes there.
    Open(usize),
}

#[derive(Default)]
struct Replay {
    groups: BTreeMap<GroupId, GroupIndex>,
    /// The same groups as the records alone describe them; the committer goes on with these.
    images: BTreeMap<GroupId, Image>,
    segments: VecDeque<Segment>,
    next_frame: u64,
    sequence: u64,
}

/// Reads the log on `disk`, or begins one. Blocks.
pub(super) fn recover(disk: &Arc<dyn Disk>, options: &LogOptions) -> Result<Recovered, LogError> {
    let names = disk.list().map_err(|error| io_error("list", "folder", &error))?;
    let mut numbers: Vec<u32> = names.iter().filter_map(|name| segment_number(name)).collect();
    numbers.sort_unstable();
    if numbers.is_empty() {
        let active = first_segment(&**disk, options)?;
        let state = State { segments: VecDeque::from([Segment::of(&active, 1)]), ..State::default() };
        return Ok(Recovered { state, images: BTreeMap::new(), active, next_frame: 2 });
    }
    let mut replay = Replay::default();
    let mut unnamed = names.iter().any(|name| name == TEMPORARY_NAME);
    let mut at = 0;
    let active = loop {
        let number = numbers[at];
        let loaded = load(&**disk, &segment_name(number), number)?;
        let newest = at + 1 == numbers.len();
        match replay.segment(&loaded, newest)? {
            End::Sealed if !newest => at += 1,
            End::Sealed => {
                // The crash came between the seal and the name of the next segment.
                let next = number.checked_add(1).filter(|_| unnamed);
                let lost =
                    || corrupt(&loaded, loaded.content.len(), "the segment is sealed, but the one after it is missing");
                let next = next.ok_or_else(lost)?;
                let renamed = disk.rename(TEMPORARY_NAME, &segment_name(next)).and_then(|()| disk.sync());
                renamed.map_err(|error| io_error("name", &segment_name(next), &error))?;
                unnamed = false;
                numbers.push(next);
                at += 1;
            }
            End::Open(offset) => break activate(loaded, offset)?,
        }
    };
    if unnamed {
        disk.remove(TEMPORARY_NAME)
            .and_then(|()| disk.sync())
            .map_err(|error| io_error("delete", TEMPORARY_NAME, &error))?;
    }
    replay.finish(active)
}

fn load(disk: &dyn Disk, name: &str, number: u32) -> Result<Loaded, LogError> {
    let damaged = |why: &str| LogError::Corrupt { file: name.to_owned(), offset: 0, why: why.to_owned() };
    let io = |error: std::io::Error| match error.kind() {
        std::io::ErrorKind::NotFound => damaged("the segment is missing"),
        _ => io_error("read", name, &error),
    };
    let file = disk.open(name).map_err(io)?;
    let size = file.size().map_err(io)?;
    let mut head = [0; HEADER_BYTES];
    if size < HEADER_BYTES as u64 {
        return Err(damaged("the segment is too short for its header"));
    }
    file.read_at(&mut head, 0).map_err(io)?;
    if let Some(found) = other_format(&head) {
        return Err(LogError::Format { file: name.to_owned(), found, expected: this_format() });
    }
    let header = SegmentHeader::decode(&head).map_err(damaged)?;
    if header.number != number {
        return Err(damaged("the segment's header names another segment"));
    }
    let length = usize::try_from(header.bytes).map_err(|_| damaged("the segment is too large"))?;
    if size < header.bytes {
        return Err(damaged("the segment's file has become shorter"));
    }
    let mut content = vec![0; length];
    file.read_at(&mut content, 0).map_err(io)?;
    Ok(Loaded { name: name.to_owned(), file, header, content: content.into() })
}

/// Makes the segment ready to be written at `offset`: nothing but zeros from there on.
fn activate(loaded: Loaded, offset: usize) -> Result<Active, LogError> {
    let dirty_end = loaded.content.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
    if dirty_end > offset {
        tracing::warn!(
            file = loaded.name,
            offset,
            bytes = dirty_end - offset,
            "the log ends in a write that was cut short and never acknowledged; dropped"
        );
        let mut at = offset;
        while at < dirty_end {
            let piece = (dirty_end - at).min(ZEROS.len());
            loaded
                .file
                .write_at(&ZEROS[..piece], at as u64)
                .map_err(|error| io_error("write", &loaded.name, &error))?;
            at += piece;
        }
        loaded.file.sync().map_err(|error| io_error("sync", &loaded.name, &error))?;
    }
    let SegmentHeader { number, salt, bytes, .. } = loaded.header;
    Ok(Active { number, name: loaded.name, file: loaded.file, salt, offset: offset as u64, bytes })
}

impl Replay {
    /// Replays one segment. Only the newest may end without a seal.
    fn segment(&mut self, loaded: &Loaded, newest: bool) -> Result<End, LogError> {
        let oldest = self.segments.is_empty();
        let header = loaded.header;
        if oldest {
            self.next_frame = header.first_frame;
        } else if header.first_frame != self.next_frame
            || Some(header.number) != self.segments.back().and_then(|last| last.number.checked_add(1))
        {
            let why = format!(
                "a segment before this one is missing: frame {} comes next, this one begins with {}",
                self.next_frame, header.first_frame
            );
            return Err(corrupt(loaded, 0, &why));
        }
        let (name, file) = (loaded.name.clone(), loaded.file.clone());
        self.segments.push_back(Segment {
            number: header.number,
            name,
            bytes: header.bytes,
            file,
            sequence_first: self.sequence + 1,
            frame_bytes: 0,
            live: 0,
            live_bytes: 0,
            dead_after: 0,
        });
        let mut offset = HEADER_BYTES;
        loop {
            let first = offset == HEADER_BYTES;
            let frame =
                read_frame(&loaded.content, offset, header.salt).filter(|frame| frame.number == self.next_frame);
            let Some(frame) = frame else {
                // A named segment has its checkpoint durably, and an older one its seal.
                if first || !newest {
                    return Err(corrupt(
                        loaded,
                        offset,
                        &format!("frame {} is damaged, and frames after it are not", self.next_frame),
                    ));
                }
                if let Some((place, later)) = find_frame(&loaded.content, offset, header.salt, self.next_frame) {
                    let why = format!(
                        "frame {} is damaged, and frame {} at byte {place} is not",
                        self.next_frame, later.number
                    );
                    return Err(corrupt(loaded, offset, &why));
                }
                return Ok(End::Open(offset));
            };
            let sealed = self.frame(loaded, frame.body, first, oldest).map_err(|why| corrupt(loaded, offset, &why))?;
            self.next_frame += 1;
            if sealed {
                return Ok(End::Sealed);
            }
            if let Some(segment) = self.segments.back_mut().filter(|_| !first) {
                segment.frame_bytes += (frame.end - offset) as u64;
            }
            offset = frame.end;
        }
    }

    /// Replays one frame; true if it is a seal.
    fn frame(&mut self, loaded: &Loaded, body: (usize, usize), first: bool, oldest: bool) -> Result<bool, String> {
        let bytes = loaded.content.slice(body.0..body.1);
        let body_bytes = bytes.len();
        let mut reader = Reader::new("a frame of the log", bytes);
        let mut sealed = false;
        while reader.remaining() > 0 {
            let record = read_record(&mut reader, body_bytes).map_err(|error| error.to_string())?;
            match record {
                Record::Checkpoint { images } if first && oldest => self.begin(images)?,
                Record::Checkpoint { images } if first && images == self.images => {}
                Record::Checkpoint { .. } => return Err("a checkpoint contradicts the frames before it".to_owned()),
                _ if first => return Err("a segment does not begin with a checkpoint".to_owned()),
                Record::Seal => sealed = true,
                Record::Entry { group, index, offset, length, sum } => {
                    let slot = self.slot(loaded.header.number, body.0 + offset, length, sum)?;
                    self.entry(group, index, slot)?;
                }
                Record::Relocated { group, index, offset, length, sum } => {
                    let place = self.slot(loaded.header.number, body.0 + offset, length, sum)?;
                    let live = self.groups.get_mut(&group).ok_or("an entry was relocated of a group without any");
                    let relocated = live.and_then(|live| live.relocate(index, place));
                    relocated.map_err(|why| of_group(group, &format!("entry {index}: {why}")))?;
                }
                other => self.change(other)?,
            }
        }
        Ok(sealed)
    }

    fn begin(&mut self, images: BTreeMap<GroupId, Image>) -> Result<(), String> {
        for (group, image) in &images {
            if image.next - image.first > ENTRIES_MAX {
                return Err(format!(
                    "the checkpoint claims {} live entries of group {group}",
                    image.next - image.first
                ));
            }
            self.groups.insert(*group, GroupIndex::absent(image.clone()));
        }
        self.images = images;
        Ok(())
    }

    /// The place of a payload, as that of the newest entry.
    fn slot(&self, segment: u32, offset: usize, length: u32, sum: u32) -> Result<Slot, String> {
        let offset = u32::try_from(offset).map_err(|_| "an entry lies beyond 4 GiB".to_owned())?;
        Ok(Slot { sequence: self.sequence, segment, offset, length, sum })
    }

    fn entry(&mut self, group: GroupId, index: u64, slot: Slot) -> Result<(), String> {
        self.sequence += 1;
        let slot = Slot { sequence: self.sequence, ..slot };
        self.groups.entry(group).or_default().push(index, slot, None).map_err(|why| of_group(group, why))?;
        self.images.entry(group).or_default().entry(index).map_err(|why| of_group(group, why))
    }

    fn change(&mut self, record: Record) -> Result<(), String> {
        let (group, changed) = match record {
            Record::Vote { group, vote } => {
                self.groups.entry(group).or_default().set_vote(vote.clone());
                self.images.entry(group).or_default().vote = Some(vote);
                (group, Ok(()))
            }
            Record::Truncate { group, next } => {
                let image = self.images.entry(group).or_default().truncate(next);
                (group, image.and(self.groups.entry(group).or_default().truncate(next, |_| ())))
            }
            Record::Purge { group, upto, log_id } => {
                let image = self.images.entry(group).or_default().purge(upto, log_id.clone());
                (group, image.and(self.groups.entry(group).or_default().purge(upto, log_id, |_| ())))
            }
            Record::Reset { group, upto, log_id } => {
                let image = self.images.entry(group).or_default().reset(upto, log_id.clone());
                (group, image.and(self.groups.entry(group).or_default().reset(upto, log_id, |_| ())))
            }
            Record::Remove { group } => {
                self.groups.remove(&group);
                self.images.remove(&group);
                (group, Ok(()))
            }
            Record::Entry { .. } | Record::Relocated { .. } | Record::Checkpoint { .. } | Record::Seal => return Ok(()),
        };
        changed.map_err(|why| of_group(group, why))
    }

    /// Counts what is live in each segment and sees to it that everything live is there.
    fn finish(mut self, active: Active) -> Result<Recovered, LogError> {
        for (group, index) in &self.groups {
            for (number, slot) in index.slots() {
                if slot.segment == ABSENT {
                    let file = self.segments.front().map(|segment| segment.name.clone()).unwrap_or_default();
                    let why = format!(
                        "entry {number} of group {group} lies in an older segment, which is missing, and was not relocated"
                    );
                    return Err(LogError::Corrupt { file, offset: 0, why });
                }
                State::settle(&mut self.segments, slot);
            }
        }
        let state =
            State { groups: self.groups, segments: self.segments, sequence_last: self.sequence, ..State::default() };
        Ok(Recovered { state, images: self.images, active, next_frame: self.next_frame })
    }
}

fn of_group(group: GroupId, why: &str) -> String {
    format!("group {group}: {why}")
}

fn corrupt(loaded: &Loaded, offset: usize, why: &str) -> LogError {
    LogError::Corrupt { file: loaded.name.clone(), offset: offset as u64, why: why.to_owned() }
}

fn io_error(action: &'static str, file: &str, error: &std::io::Error) -> LogError {
    LogError::Io { action, file: file.to_owned(), why: error.to_string() }
}
