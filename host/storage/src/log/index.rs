//! What the log knows in memory of one group: where each live entry lies, and the newest payloads themselves.
//!
//! Invariants: the live entries are the indexes `first..next` without a gap, all above the purge point; the cache holds the
//! payloads of a tail of them, which includes every entry that is not yet on disk.

use std::collections::VecDeque;

use bytes::Bytes;

use super::format::ENTRY_OVERHEAD_BYTES;

/// The segment of an entry that is not on disk yet.
pub(super) const PENDING: u32 = 0;
/// The segment of an entry that lies before the oldest segment there is: only while recovering.
pub(super) const ABSENT: u32 = u32::MAX;

/// No log reaches this index: what claims to is damaged. Adding to the others does not overflow.
pub(super) const INDEX_MAX: u64 = 1 << 62;

fn following(index: u64) -> Option<u64> {
    (index < INDEX_MAX).then(|| index + 1)
}

/// What a checkpoint says of one group: everything but where the entries lie.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Image {
    pub(super) vote: Option<Bytes>,
    pub(super) purged: Option<(u64, Bytes)>,
    pub(super) first: u64,
    pub(super) next: u64,
}

impl Image {
    /// Appends the entry `index`.
    pub(super) fn entry(&mut self, index: u64) -> Result<(), &'static str> {
        if index != self.next {
            return Err("an entry does not follow the one before it");
        }
        self.next = following(self.next).ok_or("an entry has an impossible index")?;
        Ok(())
    }
    /// Drops the entries from `next` on.
    pub(super) fn truncate(&mut self, next: u64) -> Result<(), &'static str> {
        if next < self.first || next > self.next {
            return Err("a truncation lies outside of the entries");
        }
        self.next = next;
        Ok(())
    }
    /// Drops the entries up to `upto`.
    pub(super) fn purge(&mut self, upto: u64, log_id: Bytes) -> Result<(), &'static str> {
        let first = following(upto).ok_or("a purge point is impossible")?;
        self.first = self.first.max(first);
        self.next = self.next.max(self.first);
        self.purged = Some((upto, log_id));
        Ok(())
    }
    /// Drops all entries; the next one is `upto + 1`.
    pub(super) fn reset(&mut self, upto: u64, log_id: Bytes) -> Result<(), &'static str> {
        self.first = following(upto).ok_or("a purge point is impossible")?;
        self.next = self.first;
        self.purged = Some((upto, log_id));
        Ok(())
    }
}

/// Where an entry's payload lies.
#[derive(Clone, Copy, Debug)]
pub(super) struct Slot {
    /// Tells an entry from a later one of the same index.
    pub(super) sequence: u64,
    pub(super) segment: u32,
    pub(super) offset: u32,
    pub(super) length: u32,
    pub(super) sum: u32,
}

impl Slot {
    /// Bytes of its record.
    pub(super) fn bytes(&self) -> u64 {
        u64::from(self.length) + ENTRY_OVERHEAD_BYTES as u64
    }
}

/// One group.
#[derive(Debug, Default)]
pub(super) struct GroupIndex {
    image: Image,
    slots: VecDeque<Slot>,
    cached: VecDeque<Bytes>,
    cached_bytes: usize,
    bytes: u64,
}

impl GroupIndex {
    /// A group as a checkpoint describes it, with entries that lie elsewhere.
    pub(super) fn absent(image: Image) -> Self {
        let slot = Slot { sequence: 0, segment: ABSENT, offset: 0, length: 0, sum: 0 };
        let count = usize::try_from(image.next - image.first).unwrap_or(usize::MAX);
        let slots: VecDeque<_> = std::iter::repeat_n(slot, count).collect();
        GroupIndex { bytes: slots.iter().map(Slot::bytes).sum(), image, slots, ..GroupIndex::default() }
    }

    pub(super) fn image(&self) -> &Image {
        &self.image
    }

    pub(super) fn set_vote(&mut self, vote: Bytes) {
        self.image.vote = Some(vote);
    }

    /// Bytes of the live entries.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(super) fn cached_bytes(&self) -> usize {
        self.cached_bytes
    }

    /// Appends an entry; `payload` is given exactly if the slot is pending.
    pub(super) fn push(&mut self, index: u64, slot: Slot, payload: Option<Bytes>) -> Result<(), &'static str> {
        self.image.entry(index)?;
        self.bytes += slot.bytes();
        self.slots.push_back(slot);
        if let Some(payload) = payload {
            self.cached_bytes += payload.len();
            self.cached.push_back(payload);
        } else {
            // The cache holds a tail: what is not cached ends it.
            self.cached.clear();
            self.cached_bytes = 0;
        }
        Ok(())
    }

    /// Notes, while recovering, that a live entry has another copy, at `place`. Its sequence number stays: it is the same entry.
    pub(super) fn relocate(&mut self, index: u64, place: Slot) -> Result<(), &'static str> {
        let slot = self.slot_mut(index).ok_or("an entry was relocated that is not live")?;
        if slot.segment != ABSENT && (slot.length, slot.sum) != (place.length, place.sum) {
            return Err("a relocated entry is not the one that was appended");
        }
        let before = slot.bytes();
        *slot = Slot { sequence: slot.sequence, ..place };
        self.bytes = self.bytes - before + place.bytes();
        Ok(())
    }

    /// The last live entry among those appended before `sequence`.
    pub(super) fn last_before(&self, sequence: u64) -> Option<u64> {
        // Sequence numbers grow with the indexes, whatever has been relocated.
        let count = self.slots.partition_point(|slot| slot.sequence < sequence) as u64;
        Some(self.image.first + count.checked_sub(1)?)
    }

    /// Drops the entries from `next` on, telling `retire` of each.
    pub(super) fn truncate(&mut self, next: u64, mut retire: impl FnMut(&Slot)) -> Result<(), &'static str> {
        self.image.truncate(next)?;
        let keep = (next - self.image.first) as usize;
        while self.slots.len() > keep {
            let Some(slot) = self.slots.pop_back() else { break };
            self.bytes -= slot.bytes();
            retire(&slot);
            if let Some(payload) = self.cached.pop_back() {
                self.cached_bytes -= payload.len();
            }
        }
        Ok(())
    }

    /// Drops the entries up to `upto`, telling `retire` of each.
    pub(super) fn purge(&mut self, upto: u64, log_id: Bytes, retire: impl FnMut(&Slot)) -> Result<(), &'static str> {
        self.image.purge(upto, log_id)?;
        self.drop_front((self.image.next - self.image.first) as usize, retire);
        Ok(())
    }

    /// Drops all entries, telling `retire` of each.
    pub(super) fn reset(&mut self, upto: u64, log_id: Bytes, retire: impl FnMut(&Slot)) -> Result<(), &'static str> {
        self.image.reset(upto, log_id)?;
        self.drop_front(0, retire);
        Ok(())
    }

    /// Tells `retire` of all entries.
    pub(super) fn remove(mut self, retire: impl FnMut(&Slot)) {
        self.drop_front(0, retire);
    }

    fn drop_front(&mut self, keep: usize, mut retire: impl FnMut(&Slot)) {
        while self.slots.len() > keep {
            let Some(slot) = self.slots.pop_front() else { break };
            self.bytes -= slot.bytes();
            retire(&slot);
        }
        while self.cached.len() > keep {
            self.cached_bytes -= self.cached.pop_front().map_or(0, |payload| payload.len());
        }
    }

    /// The slot of a live entry.
    pub(super) fn slot(&self, index: u64) -> Option<&Slot> {
        self.slots.get(usize::try_from(index.checked_sub(self.image.first)?).ok()?)
    }

    pub(super) fn slot_mut(&mut self, index: u64) -> Option<&mut Slot> {
        self.slots.get_mut(usize::try_from(index.checked_sub(self.image.first)?).ok()?)
    }

    pub(super) fn slots(&self) -> impl Iterator<Item = (u64, &Slot)> {
        (self.image.first..).zip(&self.slots)
    }

    /// The payload of a live entry, if it is cached.
    pub(super) fn payload(&self, index: u64) -> Option<&Bytes> {
        let cached_first = self.image.next - self.cached.len() as u64;
        self.cached.get(usize::try_from(index.checked_sub(cached_first)?).ok()?)
    }

    /// Drops cached payloads of entries that are on disk, oldest first, until at most `keep_bytes` are left.
    pub(super) fn evict(&mut self, keep_bytes: usize) {
        while self.cached_bytes > keep_bytes {
            let oldest = self.slots.len() - self.cached.len();
            if self.slots.get(oldest).is_none_or(|slot| slot.segment == PENDING) {
                return;
            }
            self.cached_bytes -= self.cached.pop_front().map_or(0, |payload| payload.len());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pending(sequence: u64, payload: &Bytes) -> Slot {
        Slot { sequence, segment: PENDING, offset: 0, length: payload.len() as u32, sum: 0 }
    }

    #[test]
    fn the_cache_stays_a_tail_that_covers_what_is_not_on_disk() {
        let mut index = GroupIndex::default();
        for number in 0..10u64 {
            let payload = Bytes::from(vec![number as u8; 10]);
            index.push(number, pending(number, &payload), Some(payload)).unwrap();
        }
        index.evict(0);
        assert_eq!(index.cached_bytes(), 100, "pending entries stay");
        for number in 0..5 {
            index.slot_mut(number).unwrap().segment = 1;
        }
        index.evict(70);
        assert_eq!((index.cached_bytes(), index.payload(2)), (70, None));
        assert_eq!(index.payload(3).unwrap()[..], [3; 10]);
        index.evict(0);
        assert_eq!(index.cached_bytes(), 50);
        let mut retired = Vec::new();
        index.truncate(8, |slot| retired.push(slot.sequence)).unwrap();
        assert_eq!((retired.as_slice(), index.cached_bytes()), (&[9, 8][..], 30));
        assert_eq!(index.payload(7).unwrap()[..], [7; 10]);
        retired.clear();
        index.purge(5, Bytes::new(), |slot| retired.push(slot.sequence)).unwrap();
        assert_eq!((retired.len(), index.cached_bytes(), index.image().first), (6, 20, 6));
        assert_eq!((index.payload(5), index.slot(5).is_none()), (None, true));
        assert_eq!(index.bytes(), 2 * (10 + ENTRY_OVERHEAD_BYTES as u64));
        assert!(index.truncate(5, |_| ()).is_err());
        assert!(index.push(9, pending(9, &Bytes::new()), Some(Bytes::new())).is_err());
        index.purge(100, Bytes::new(), |_| ()).unwrap();
        assert_eq!((index.image().first, index.image().next, index.bytes(), index.cached_bytes()), (101, 101, 0, 0));
    }
}
