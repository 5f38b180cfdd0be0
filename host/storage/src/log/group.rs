//! One group's part of the log.

use std::future::Future;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use recoil_base::GroupId;

use super::committer::{FRAME_BYTES_MAX, FRAME_RECORDS_MAX};
use super::disk::File;
use super::format::segment_name;
use super::index::{GroupIndex, Image, PENDING, Slot};
use super::state::{Change, State, ended};
use super::{Inner, LogError, PAYLOAD_BYTES_MAX};

/// One group's vote and entries. Clones share them.
///
/// Writing never blocks: a change is seen by reads at once, is durable when its completion or future says so, and changes
/// become durable in the order in which they were asked for. A group has one writer at a time (openraft's core); readers may be many.
///
/// Completions run on the committer's thread, or on the caller's if the request is refused. They must be quick and must not block.
#[derive(Clone)]
pub struct GroupLog {
    log: Arc<Inner>,
    group: GroupId,
}

/// Where a read finds a payload.
pub(super) enum Source {
    Memory(Bytes),
    Disk {
        file: Arc<dyn File>,
        name: String,
        slot: Slot,
    },
    /// Its segment is not there, which is never so while it is live.
    Gone(Slot),
}

impl Source {
    pub(super) fn of(state: &State, index: &GroupIndex, number: u64, slot: Slot) -> Self {
        if let Some(payload) = index.payload(number) {
            return Source::Memory(payload.clone());
        }
        debug_assert!(slot.segment != PENDING, "what is not on disk is in memory");
        match state.segment(slot.segment) {
            Some(segment) => Source::Disk { file: segment.file.clone(), name: segment.name.clone(), slot },
            None => Source::Gone(slot),
        }
    }
}

impl GroupLog {
    pub(super) fn new(log: Arc<Inner>, group: GroupId) -> Self {
        GroupLog { log, group }
    }

    /// Whose part of the log this is.
    pub fn id(&self) -> GroupId {
        self.group
    }

    fn image<T>(&self, read: impl FnOnce(&Image) -> T) -> Option<T> {
        self.log.shared.state.lock().groups.get(&self.group).map(|index| read(index.image()))
    }

    /// The last vote saved, durable or about to be.
    pub fn vote(&self) -> Option<Bytes> {
        self.image(|image| image.vote.clone()).flatten()
    }

    /// Saves a vote, at once in memory; the future resolves when it is durable. It need not be awaited to happen.
    pub fn save_vote(&self, vote: Bytes) -> impl Future<Output = Result<(), LogError>> + Send + 'static + use<> {
        let group = self.group;
        let prepare = move |state: &mut State, _| {
            check_size(group, &vote)?;
            state.groups.entry(group).or_default().set_vote(vote.clone());
            Ok(Change::Vote(vote))
        };
        ended(self.log.shared.submit_async(group, prepare))
    }

    /// Appends entries with consecutive indexes, the first of which follows the last entry, or the purge point, or is 0 in a
    /// group that has neither. They can be read at once; `done` runs when all of them are durable. A refusal changes nothing.
    pub fn append(&self, entries: Vec<(u64, Bytes)>, done: impl FnOnce(Result<(), LogError>) + Send + 'static) {
        if let Err(error) = self.check_append(&entries) {
            return done(Err(error));
        }
        let group = self.group;
        let mut rest = entries.into_iter().peekable();
        // Several operations, if it is more than one frame should hold. If one is refused, so are the ones after it.
        loop {
            let Some(first) = rest.peek().map(|(index, _)| *index) else {
                return self.log.shared.submit(group, |_, _| Ok(Change::Barrier), Some(Box::new(done)));
            };
            let (mut payloads, mut bytes) = (Vec::new(), 0);
            while let Some((_, payload)) =
                rest.next_if(|_| bytes < FRAME_BYTES_MAX && payloads.len() < FRAME_RECORDS_MAX)
            {
                bytes += payload.len();
                payloads.push(payload);
            }
            let prepare = move |state: &mut State, _| append_entries(state, group, first, payloads);
            if rest.peek().is_none() {
                return self.log.shared.submit(group, prepare, Some(Box::new(done)));
            }
            self.log.shared.submit(group, prepare, None);
        }
    }

    fn check_append(&self, entries: &[(u64, Bytes)]) -> Result<(), LogError> {
        for (_, payload) in entries {
            check_size(self.group, payload)?;
        }
        for pair in entries.windows(2) {
            if pair[0].0.checked_add(1) != Some(pair[1].0) {
                return Err(self.invalid(format!("an append holds index {} right after {}", pair[1].0, pair[0].0)));
            }
        }
        let next = self.image(|image| image.next).unwrap_or(0);
        match entries.first() {
            Some((index, _)) if *index != next => {
                Err(self.invalid(format!("an append starts at index {index}, but {next} comes next")))
            }
            _ => Ok(()),
        }
    }

    /// Drops the entries after `last`, or all that there are. `last` must not be below the purge point.
    pub fn truncate_after(&self, last: Option<u64>, done: impl FnOnce(Result<(), LogError>) + Send + 'static) {
        let group = self.group;
        let prepare = move |state: &mut State, op| {
            let State { groups, segments, .. } = state;
            let Some(index) = groups.get_mut(&group) else { return Ok(Change::Barrier) };
            let (first, end) = (index.image().first, index.image().next);
            let next = last.map_or(first, |last| last.saturating_add(1));
            if next >= end {
                return Ok(Change::Barrier);
            }
            let why = |why: &str| LogError::Invalid {
                group,
                why: format!("{why}: entries {first}..{end}, truncated after {last:?}"),
            };
            index.truncate(next, |slot| State::retire(segments, slot, op)).map_err(why)?;
            Ok(Change::Truncate(next))
        };
        self.log.shared.submit(group, prepare, Some(Box::new(done)));
    }

    /// Drops the entries up to `upto` and remembers `log_id` for it. It may lie past the last entry: the next one is then
    /// `upto + 1`. Below the present purge point, nothing happens. A purge that does not become durable before a crash is as if it
    /// had not been asked for; a failure is told by [`super::Log::failed`].
    pub fn purge(&self, upto: u64, log_id: Bytes) {
        let group = self.group;
        let prepare = move |state: &mut State, op| {
            check_size(group, &log_id)?;
            let State { groups, segments, .. } = state;
            let index = groups.entry(group).or_default();
            if index.image().purged.as_ref().is_some_and(|(present, _)| *present > upto) {
                return Ok(Change::Barrier);
            }
            let impossible = |why: &str| LogError::Invalid { group, why: why.to_owned() };
            index.purge(upto, log_id.clone(), |slot| State::retire(segments, slot, op)).map_err(impossible)?;
            Ok(Change::Purge(upto, log_id))
        };
        self.log.shared.submit(group, prepare, Some(complain(group, "purging")));
    }

    /// Drops all entries and sets the purge point, to which the next entry is the successor. The vote stays.
    pub fn reset(&self, purged: (u64, Bytes)) {
        let (group, (upto, log_id)) = (self.group, purged);
        let prepare = move |state: &mut State, op| {
            check_size(group, &log_id)?;
            let State { groups, segments, .. } = state;
            let impossible = |why: &str| LogError::Invalid { group, why: why.to_owned() };
            let index = groups.entry(group).or_default();
            index.reset(upto, log_id.clone(), |slot| State::retire(segments, slot, op)).map_err(impossible)?;
            Ok(Change::Reset(upto, log_id))
        };
        self.log.shared.submit(group, prepare, Some(complain(group, "resetting")));
    }

    /// Forgets the group: vote, entries, purge point.
    pub fn remove(&self) {
        let group = self.group;
        let prepare = move |state: &mut State, op| {
            let State { groups, segments, .. } = state;
            let Some(index) = groups.remove(&group) else { return Ok(Change::Barrier) };
            index.remove(|slot| State::retire(segments, slot, op));
            Ok(Change::Remove)
        };
        self.log.shared.submit(group, prepare, Some(complain(group, "removing")));
    }

    /// The purge point and its log id.
    pub fn purged(&self) -> Option<(u64, Bytes)> {
        self.image(|image| image.purged.clone()).flatten()
    }

    /// The indexes of the live entries.
    pub fn range(&self) -> Range<u64> {
        self.image(|image| image.first..image.next).unwrap_or(0..0)
    }

    /// The last live entry. May read the disk.
    pub fn last(&self) -> Result<Option<(u64, Bytes)>, LogError> {
        let Range { end, .. } = self.range();
        let Some(last) = end.checked_sub(1) else { return Ok(None) };
        Ok(self.read(last..end, usize::MAX)?.pop())
    }

    /// The live entries of `range` in order, as many from its beginning as come to at most `bytes_max`, but at least one if there is
    /// one. Recent entries come from memory, older ones from disk, where their checksums are checked.
    pub fn read(&self, range: Range<u64>, bytes_max: usize) -> Result<Vec<(u64, Bytes)>, LogError> {
        let sources = self.sources(range, bytes_max);
        sources.into_iter().map(|(index, source)| Ok((index, self.load(index, source)?))).collect()
    }

    /// Under the lock only where the payloads are is looked up. An open file can be read even if its segment is deleted meanwhile.
    fn sources(&self, range: Range<u64>, bytes_max: usize) -> Vec<(u64, Source)> {
        let state = self.log.shared.state.lock();
        let Some(index) = state.groups.get(&self.group) else { return Vec::new() };
        let (start, end) = (range.start.max(index.image().first), range.end.min(index.image().next));
        let (mut sources, mut bytes) = (Vec::new(), 0usize);
        for number in start..end {
            let Some(slot) = index.slot(number) else { break };
            bytes = bytes.saturating_add(slot.length as usize);
            if bytes > bytes_max && !sources.is_empty() {
                break;
            }
            sources.push((number, Source::of(&state, index, number, *slot)));
        }
        sources
    }

    /// The payload of an entry. May read the disk.
    pub(super) fn load(&self, index: u64, source: Source) -> Result<Bytes, LogError> {
        let (file, name, slot) = match source {
            Source::Memory(payload) => return Ok(payload),
            Source::Disk { file, name, slot } => (file, name, slot),
            // Fewer entries than there are would look like the log's end.
            Source::Gone(slot) => {
                let why = format!("entry {index} of group {} is live, and its segment is not there", self.group);
                return Err(LogError::Corrupt {
                    file: segment_name(slot.segment),
                    offset: u64::from(slot.offset),
                    why,
                });
            }
        };
        let mut payload = vec![0; slot.length as usize];
        if let Err(error) = file.read_at(&mut payload, u64::from(slot.offset)) {
            return Err(LogError::Io { action: "read", file: name, why: error.to_string() });
        }
        if crc32fast::hash(&payload) != slot.sum {
            let why = format!("the checksum of entry {index} of group {} is wrong", self.group);
            return Err(LogError::Corrupt { file: name, offset: u64::from(slot.offset), why });
        }
        Ok(payload.into())
    }

    /// Bytes of the live entries.
    pub fn bytes(&self) -> u64 {
        self.log.shared.state.lock().groups.get(&self.group).map_or(0, GroupIndex::bytes)
    }

    fn invalid(&self, why: String) -> LogError {
        LogError::Invalid { group: self.group, why }
    }
}

fn append_entries(state: &mut State, group: GroupId, first: u64, payloads: Vec<Bytes>) -> Result<Change, LogError> {
    let index = state.groups.entry(group).or_default();
    let next = index.image().next;
    if first != next {
        return Err(LogError::Invalid {
            group,
            why: format!("an append starts at index {first}, but {next} comes next"),
        });
    }
    let sequence = state.sequence_last + 1;
    state.sequence_last += payloads.len() as u64;
    for (place, payload) in (0..).zip(&payloads) {
        let slot =
            Slot { sequence: sequence + place, segment: PENDING, offset: 0, length: payload.len() as u32, sum: 0 };
        let pushed = index.push(first + place, slot, Some(payload.clone()));
        pushed.map_err(|why| LogError::Invalid { group, why: why.to_owned() })?;
    }
    Ok(Change::Entries { first, sequence, payloads })
}

fn check_size(group: GroupId, bytes: &Bytes) -> Result<(), LogError> {
    if bytes.len() > PAYLOAD_BYTES_MAX { Err(LogError::TooLarge { group, bytes: bytes.len() }) } else { Ok(()) }
}

/// For requests whose caller does not wait.
fn complain(group: GroupId, action: &'static str) -> super::state::Done {
    Box::new(move |result| {
        if let Err(error) = result
            && !matches!(error, LogError::Closed)
        {
            tracing::error!(%group, %error, "{action} a group's log failed");
        }
    })
}
