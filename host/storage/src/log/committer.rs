//! The committer: the one thread that writes the log.
//!
//! It takes what is queued, at most [`FRAME_BYTES_MAX`] and [`FRAME_RECORDS_MAX`], writes it as one frame, syncs, notes where the entries
//! lie and runs the completions. While it syncs, the next frame gathers by itself.
//!
//! A new segment is made whole before it is named: its file, with header and checkpoint, is synced under a temporary name; the
//! old segment gets its seal and is synced; only then the file gets its name. So a named segment begins well, and a sealed one
//! has a successor, be it one that still waits for its name.
//!
//! A segment goes when no live entry lies in it, from the front only, and each durably before the next. What empties it is a
//! purge, truncation or removal, or a relocation: a second copy of an entry, written like any operation into the frame of the
//! moment. Crash points of a relocation: before its frame is durable, the old copy counts, and recovery drops a torn frame as ever;
//! after that there are two copies, and recovery takes the later one; only then can the old copy's segment go, so that at no
//! point there is none. A crash between the deletions of several segments leaves the younger ones, whose checkpoints describe the
//! entries whose copies lie further on.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use recoil_base::task::Next;
use recoil_base::{GroupId, random};

use super::disk::{Disk, File};
use super::format::{FrameBuilder, HEADER_BYTES, SEAL_BYTES, SegmentHeader, segment_name};
use super::index::{Image, PENDING};
use super::state::{Change, Op, Relocated, Segment, Shared, State};
use super::{LogError, LogOptions};

/// A frame is closed at this size; one larger operation goes alone.
pub(super) const FRAME_BYTES_MAX: usize = 4 << 20;
/// A frame is closed at this many records.
pub(super) const FRAME_RECORDS_MAX: usize = 4096;
/// Where a new segment grows up.
pub(super) const TEMPORARY_NAME: &str = "next.tmp";

/// The segment being written.
pub(super) struct Active {
    pub(super) number: u32,
    pub(super) name: String,
    pub(super) file: Arc<dyn File>,
    pub(super) salt: u64,
    /// Where the next frame goes.
    pub(super) offset: u64,
    pub(super) bytes: u64,
}

/// A failed write: what was tried and why it failed.
struct Failed(String);

/// An entry in the frame being built.
struct Placed {
    group: GroupId,
    index: u64,
    sequence: u64,
    /// Where it lay before: [`PENDING`], or an old segment.
    from: u32,
    offset: u64,
    sum: u32,
}

pub(super) struct Committer {
    shared: Arc<Shared>,
    disk: Arc<dyn Disk>,
    options: LogOptions,
    /// What is on disk of each group: what a checkpoint would say.
    images: BTreeMap<GroupId, Image>,
    active: Active,
    next_frame: u64,
    /// The newest entry that was appended to a segment.
    sequence_written: u64,
    frame: FrameBuilder,
    placed: Vec<Placed>,
}

impl Committer {
    pub(super) fn new(
        shared: Arc<Shared>,
        disk: Arc<dyn Disk>,
        options: LogOptions,
        images: BTreeMap<GroupId, Image>,
        active: Active,
        next_frame: u64,
    ) -> Self {
        let sequence_written = shared.state.lock().sequence_last;
        Committer {
            shared,
            disk,
            options,
            images,
            active,
            next_frame,
            sequence_written,
            frame: FrameBuilder::default(),
            placed: Vec::new(),
        }
    }

    /// One frame of what is queued.
    pub(super) fn round(&mut self) -> Next {
        let _guard = PanicGuard(self.shared.clone());
        let Some(batch) = self.gather() else {
            return if self.shared.state.lock().closing { Next::End } else { Next::Wait };
        };
        if let Err(Failed(reason)) = self.write(&batch) {
            tracing::error!(reason, "the log takes no more writes");
            let (error, queued) = self.shared.poison(reason);
            for op in batch.into_iter().chain(queued) {
                complete(op, Err(error.clone()));
            }
            return Next::End;
        }
        let dead = self.publish(&batch);
        for op in batch {
            complete(op, Ok(()));
        }
        self.shared.room.notify_waiters();
        if let Err(Failed(reason)) = self.delete(&dead) {
            tracing::error!(reason, "the log takes no more writes");
            let (error, queued) = self.shared.poison(reason);
            queued.into_iter().for_each(|op| complete(op, Err(error.clone())));
            return Next::End;
        }
        Next::Again
    }

    /// As much of what is queued as one frame takes, if anything is.
    fn gather(&self) -> Option<Vec<Op>> {
        let mut state = self.shared.state.lock();
        let (mut batch, mut bytes, mut records) = (Vec::new(), 0, 0);
        while let Some(op) = state.queue.front() {
            let fits = bytes + op.bytes <= FRAME_BYTES_MAX && records + op.change.records() <= FRAME_RECORDS_MAX;
            if !fits && !batch.is_empty() {
                break;
            }
            bytes += op.bytes;
            records += op.change.records();
            batch.extend(state.queue.pop_front());
        }
        (!batch.is_empty()).then_some(batch)
    }

    /// Makes a batch durable.
    fn write(&mut self, batch: &[Op]) -> Result<(), Failed> {
        self.encode(batch);
        if self.frame.records() == 0 {
            return Ok(()); // everything before is durable already
        }
        let size = self.frame.size();
        if self.active.offset + size + SEAL_BYTES > self.active.bytes {
            self.rotate(size)?;
        }
        let frame = self.frame.finish(self.active.salt, self.next_frame);
        write_and_sync(&self.active.file, &self.active.name, frame, self.active.offset)?;
        self.next_frame += 1;
        for op in batch {
            self.note(op)?;
        }
        Ok(())
    }

    fn encode(&mut self, batch: &[Op]) {
        self.frame.clear();
        self.placed.clear();
        for op in batch {
            let group = op.group;
            match &op.change {
                Change::Entries { first, sequence, payloads } => {
                    for (place, payload) in (0..).zip(payloads) {
                        let (index, sequence) = (first + place, sequence + place);
                        let (offset, sum) = self.frame.entry(group, index, payload);
                        self.placed.push(Placed { group, index, sequence, from: PENDING, offset, sum });
                    }
                }
                Change::Relocate(entries) => self.encode_relocated(group, entries),
                Change::Vote(vote) => self.frame.vote(group, vote),
                Change::Truncate(next) => self.frame.truncate(group, *next),
                Change::Purge(upto, log_id) => self.frame.purge(group, *upto, log_id),
                Change::Reset(upto, log_id) => self.frame.reset(group, *upto, log_id),
                Change::Remove => self.frame.remove(group),
                Change::Barrier => {}
            }
        }
    }

    /// Encodes those entries that are still live and still lie where they were read.
    ///
    /// What is live in memory with the same sequence number is live at this point of the log too: whatever ended it would have
    /// done so in memory first. So recovery may take a relocated entry that is not live for damage. The reverse does not
    /// matter: what an operation behind this one has ended meanwhile needs no copy.
    fn encode_relocated(&mut self, group: GroupId, entries: &[Relocated]) {
        let state = self.shared.state.lock();
        let index = state.groups.get(&group);
        let stays = |entry: &&Relocated| {
            let slot = index.and_then(|index| index.slot(entry.index));
            slot.is_some_and(|slot| slot.sequence == entry.sequence && slot.segment == entry.from)
        };
        let live: Vec<&Relocated> = entries.iter().filter(stays).collect();
        drop(state); // before the payloads are copied and summed
        for Relocated { index, sequence, from, payload } in live {
            let (offset, sum) = self.frame.relocated(group, *index, payload);
            self.placed.push(Placed { group, index: *index, sequence: *sequence, from: *from, offset, sum });
        }
    }

    /// Brings the images up to a durable operation.
    fn note(&mut self, op: &Op) -> Result<(), Failed> {
        // A relocated entry is where a checkpoint says nothing of: in another place.
        if matches!(op.change, Change::Remove | Change::Relocate(_) | Change::Barrier) {
            if matches!(op.change, Change::Remove) {
                self.images.remove(&op.group);
            }
            return Ok(());
        }
        let image = self.images.entry(op.group).or_default();
        let noted = match &op.change {
            Change::Entries { first, sequence, payloads } => {
                self.sequence_written = sequence + (payloads.len() as u64).saturating_sub(1);
                (*first..).take(payloads.len()).try_for_each(|index| image.entry(index))
            }
            Change::Truncate(next) => image.truncate(*next),
            Change::Purge(upto, log_id) => image.purge(*upto, log_id.clone()),
            Change::Reset(upto, log_id) => image.reset(*upto, log_id.clone()),
            Change::Vote(vote) => {
                image.vote = Some(vote.clone());
                Ok(())
            }
            Change::Remove | Change::Relocate(_) | Change::Barrier => Ok(()),
        };
        // Impossible while callers and committer agree on the order; if they do not, recovery would refuse what follows.
        noted.map_err(|why| Failed(format!("the log of group {} contradicts itself: {why}", op.group)))
    }

    /// Tells readers where the entries of a durable batch lie. Answers the segments that nothing needs any more.
    fn publish(&mut self, batch: &[Op]) -> Vec<Segment> {
        let base = self.active.offset;
        let durable = batch.last().map_or(0, |op| op.number);
        let mut state = self.shared.state.lock();
        if self.frame.records() > 0 {
            self.active.offset += self.frame.size();
            state.stats.frames += 1;
            state.stats.records += self.frame.records();
            state.stats.bytes += self.frame.size();
            if let Some(active) = state.segments.back_mut() {
                active.frame_bytes += self.frame.size();
            }
        }
        let mut relocated = 0;
        let State { groups, segments, .. } = &mut *state;
        for placed in &self.placed {
            let slot = groups.get_mut(&placed.group).and_then(|group| group.slot_mut(placed.index));
            // Another entry may have taken the index since, or none.
            let Some(slot) = slot.filter(|slot| slot.sequence == placed.sequence && slot.segment == placed.from) else {
                continue;
            };
            // Its old copy is needed no more: the new one is durable.
            State::retire(segments, slot, durable);
            relocated += u64::from(placed.from != PENDING);
            slot.segment = self.active.number;
            slot.offset = (base + placed.offset) as u32; // segments stay below 4 GiB
            slot.sum = placed.sum;
            State::settle(segments, slot);
        }
        state.stats.entries_relocated += relocated;
        state.queue_bytes = state.queue_bytes.saturating_sub(batch.iter().map(|op| op.bytes).sum());
        state.evict(self.options.cache_bytes);
        state.take_dead_segments(durable)
    }

    /// Deletes segments, oldest first, each durably before the next, so that a crash leaves no gap.
    fn delete(&mut self, dead: &[Segment]) -> Result<(), Failed> {
        for segment in dead {
            let removed = self.disk.remove(&segment.name).and_then(|()| self.disk.sync());
            removed.map_err(|error| failed("delete", &segment.name, &error))?;
            self.shared.state.lock().stats.segments_deleted += 1;
        }
        Ok(())
    }

    /// Seals the active segment and goes on in a new one that has room for `needed` bytes.
    fn rotate(&mut self, needed: u64) -> Result<(), Failed> {
        // The seal takes the present frame number.
        let number =
            self.active.number.checked_add(1).ok_or_else(|| Failed("the segments' numbers are used up".to_owned()))?;
        let next = begin_segment(&*self.disk, &self.options, number, self.next_frame + 1, &self.images, needed)?;
        let mut seal = FrameBuilder::default();
        seal.clear();
        seal.seal();
        let frame = seal.finish(self.active.salt, self.next_frame);
        write_and_sync(&self.active.file, &self.active.name, frame, self.active.offset)?;
        name_segment(&*self.disk, &next.name)?;
        self.next_frame += 2;
        let mut state = self.shared.state.lock();
        state.stats.segments_made += 1;
        state.segments.push_back(Segment::of(&next, self.sequence_written + 1));
        drop(state);
        self.active = next;
        Ok(())
    }
}

impl Segment {
    /// A segment with nothing in it, to which entries from `sequence_first` on will be appended.
    pub(super) fn of(active: &Active, sequence_first: u64) -> Self {
        let (name, file) = (active.name.clone(), active.file.clone());
        let (number, bytes) = (active.number, active.bytes);
        Segment { number, name, bytes, file, sequence_first, frame_bytes: 0, live: 0, live_bytes: 0, dead_after: 0 }
    }
}

/// Makes the first segment of a log that has none.
pub(super) fn first_segment(disk: &dyn Disk, options: &LogOptions) -> Result<Active, LogError> {
    let made = begin_segment(disk, options, 1, 1, &BTreeMap::new(), 0).and_then(|active| {
        name_segment(disk, &active.name)?;
        Ok(active)
    });
    made.map_err(|Failed(why)| LogError::Io { action: "begin", file: segment_name(1), why })
}

/// A durable segment under the temporary name, with its checkpoint as frame `first_frame`.
fn begin_segment(
    disk: &dyn Disk,
    options: &LogOptions,
    number: u32,
    first_frame: u64,
    images: &BTreeMap<GroupId, Image>,
    needed: u64,
) -> Result<Active, Failed> {
    let mut checkpoint = FrameBuilder::default();
    checkpoint.clear();
    checkpoint.checkpoint(images);
    let offset = HEADER_BYTES as u64 + checkpoint.size();
    let bytes = options.segment_bytes.max(offset + needed + SEAL_BYTES);
    let salt = u64::from_le_bytes(random::array()).max(1); // 0 would be found in every untouched file
    let header = SegmentHeader { number, first_frame, salt, bytes };
    let mut start = header.encode().to_vec();
    start.extend_from_slice(checkpoint.finish(salt, first_frame));
    let file = disk.create(TEMPORARY_NAME, bytes).map_err(|error| failed("make", TEMPORARY_NAME, &error))?;
    write_and_sync(&file, TEMPORARY_NAME, &start, 0)?;
    disk.sync().map_err(|error| failed("sync the folder of", TEMPORARY_NAME, &error))?;
    Ok(Active { number, name: segment_name(number), file, salt, offset, bytes })
}

/// Gives the segment under the temporary name its own.
fn name_segment(disk: &dyn Disk, name: &str) -> Result<(), Failed> {
    disk.rename(TEMPORARY_NAME, name).and_then(|()| disk.sync()).map_err(|error| failed("name", name, &error))
}

fn write_and_sync(file: &Arc<dyn File>, name: &str, bytes: &[u8], offset: u64) -> Result<(), Failed> {
    file.write_at(bytes, offset).map_err(|error| failed("write", name, &error))?;
    file.sync().map_err(|error| failed("sync", name, &error))
}

fn failed(action: &str, name: &str, error: &io::Error) -> Failed {
    Failed(format!("cannot {action} {name}: {error}"))
}

fn complete(op: Op, result: Result<(), LogError>) {
    if let Some(done) = op.done {
        done(result);
    }
}

/// A completion that panics takes the committer with it; the log must then say that it is dead.
struct PanicGuard(Arc<Shared>);

impl Drop for PanicGuard {
    fn drop(&mut self) {
        if std::thread::panicking() {
            // The queued completions are dropped, not run: who waits on a channel learns it from that.
            drop(self.0.poison("the log's committer panicked".to_owned()));
        }
    }
}
