//! How the log shrinks: which groups keep old segments from being deleted, and copying their live entries forward.
//!
//! The *old* segments are all but the newest two. A group *pins* if live entries of it lie in old segments. Who keeps the log
//! small asks for that ([`Log::pins`]), lets groups purge what they can, and relocates what those hold that cannot ([`Log::relocate`]):
//! a group without a quorum, one that is closed, or one that is being repaired.
//!
//! Entries may be relocated again and again, as other groups fill segments. Copying pays only if much of what was written to the
//! old segments is dead ([`Pins::sparse`]): then at most three bytes are copied for each dead one that goes. Relocated entries that
//! fill segments by themselves are dense and stay where they are, however large each is, so relocation never feeds itself. What
//! remains is two segments and 4/3 of the live bytes, beside what segments leave unused at their ends.
//!
//! Deliberately absent: when to do it, and how fast.

use recoil_base::GroupId;
use tokio::sync::oneshot;

use super::group::Source;
use super::index::{PENDING, Slot};
use super::state::{Change, Relocated, State, ended};
use super::{Log, LogError};

/// Segments that nobody is asked to leave: the one being written and the one before it. A follower that lags by less than that is
/// caught up from the log.
const SEGMENTS_KEPT: usize = 2;
/// One relocation holds no more than this, except for one entry that is larger. Small beside a frame, so that the operations of
/// other groups wait for little, and beside a segment, so that little of its end is left unused.
const RELOCATION_BYTES_MAX: usize = 1 << 20;
/// The same for small segments, as a part of their size.
const RELOCATION_SEGMENT_PARTS: u64 = 8;
/// Entries in one relocation.
const RELOCATION_ENTRIES_MAX: usize = 1024;

/// What keeps the old segments.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pins {
    /// The groups with live entries in old segments.
    pub groups: Vec<Pin>,
    /// Segments on disk, the newest two included.
    pub segments: usize,
    /// Less than three quarters of what was written to the old segments is live.
    pub sparse: bool,
}

/// A group that keeps old segments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pin {
    /// The group.
    pub group: GroupId,
    /// Its first entry that lies in an old segment.
    pub first: u64,
    /// Its last entry that was appended to a segment which is old by now, wherever it lies. Purging up to here is enough, and
    /// leaves the newer entries for followers that lag a little.
    pub upto: u64,
}

/// Entries that have been queued to be copied forward.
pub struct Relocation {
    /// Where to go on.
    pub next: u64,
    /// Bytes of the payloads.
    pub bytes: usize,
    durable: oneshot::Receiver<Result<(), LogError>>,
}

impl Relocation {
    /// Resolves once the copies are durable.
    pub async fn durable(self) -> Result<(), LogError> {
        ended(self.durable).await
    }
}

/// Where old segments end.
struct Old {
    /// Entries in segments below this number.
    segment: u32,
    /// Entries with smaller sequence numbers were appended to them.
    sequence: u64,
}

impl Old {
    fn of(state: &State) -> Option<Self> {
        let place = state.segments.len().checked_sub(SEGMENTS_KEPT).filter(|place| *place > 0)?;
        state.segments.get(place).map(|kept| Old { segment: kept.number, sequence: kept.sequence_first })
    }

    fn holds(&self, slot: &Slot) -> bool {
        slot.segment != PENDING && slot.segment < self.segment
    }
}

impl Log {
    /// The groups that keep old segments. Costs nothing if there are none.
    pub fn pins(&self) -> Pins {
        let state = self.inner.shared.state.lock();
        let Some(old) = Old::of(&state) else { return Pins::default() };
        let segments = state.segments.iter().take_while(|segment| segment.number < old.segment);
        let (live, all) = segments.fold((0, 0), |(live, all), one| (live + one.live_bytes, all + one.frame_bytes));
        let groups = state.groups.iter().filter_map(|(group, index)| {
            let upto = index.last_before(old.sequence)?;
            let (first, _) =
                index.slots().take_while(|(number, _)| *number <= upto).find(|(_, slot)| old.holds(slot))?;
            Some(Pin { group: *group, first, upto })
        });
        Pins { groups: groups.collect(), segments: state.segments.len(), sparse: live * 4 < all * 3 }
    }

    /// Queues copies of some of the group's live entries that lie in old segments, the first ones at or after `from`; none if no
    /// such entries are left. Reads the disk, and checks what it reads: blocks.
    ///
    /// # Errors
    /// An entry cannot be read or is damaged. Nothing has been queued, and the log goes on.
    pub fn relocate(&self, group: GroupId, from: u64) -> Result<Option<Relocation>, LogError> {
        let entries = self.read_old(group, from)?;
        Ok((!entries.is_empty()).then(|| self.copy_forward(group, entries)))
    }

    pub(super) fn read_old(&self, group: GroupId, from: u64) -> Result<Vec<Relocated>, LogError> {
        let log = self.group(group);
        let load = |(index, slot, source): (u64, Slot, Source)| {
            let payload = log.load(index, source)?;
            Ok(Relocated { index, sequence: slot.sequence, from: slot.segment, payload })
        };
        self.relocation_sources(group, from).into_iter().map(load).collect()
    }

    /// Changes nothing in memory yet: what becomes of the entries before the copies are written is seen to when they are.
    pub(super) fn copy_forward(&self, group: GroupId, entries: Vec<Relocated>) -> Relocation {
        let bytes = entries.iter().map(|entry| entry.payload.len()).sum();
        let next = entries.last().map_or(0, |last| last.index + 1);
        let durable = self.inner.shared.submit_async(group, |_, _| Ok(Change::Relocate(entries)));
        Relocation { next, bytes, durable }
    }

    fn relocation_sources(&self, group: GroupId, from: u64) -> Vec<(u64, Slot, Source)> {
        let state = self.inner.shared.state.lock();
        let (Some(old), Some(index)) = (Old::of(&state), state.groups.get(&group)) else { return Vec::new() };
        let Some(upto) = index.last_before(old.sequence) else { return Vec::new() };
        let bytes_max = RELOCATION_BYTES_MAX.min((self.inner.segment_bytes / RELOCATION_SEGMENT_PARTS) as usize);
        let (mut sources, mut bytes) = (Vec::new(), 0);
        for number in from.max(index.image().first)..=upto {
            let Some(slot) = index.slot(number).filter(|slot| old.holds(slot)) else { continue };
            bytes += slot.bytes() as usize;
            if !sources.is_empty() && (bytes > bytes_max || sources.len() >= RELOCATION_ENTRIES_MAX) {
                break;
            }
            sources.push((number, *slot, Source::of(&state, index, number, *slot)));
        }
        sources
    }
}
