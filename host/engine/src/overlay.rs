//! Writes that are not in the data yet, laid over it.
//!
//! An overlay is an ordered map of the newest write to each key, and of removed ranges, each under the version of the entry
//! that carries it. A reader asks the overlay first and the data second. Keys are relative to (copy, app): the first
//! byte is the kind of row.
//!
//! Invariants:
//! - Entries win over ranges: applying a range drops the entries in it, so an entry that lies in a range was written later.
//! - Ranges do not overlap: a later one cuts the earlier ones.
//! - Versions are applied in ascending order, and released in ascending order: what is released must be visible in the data.
//!
//! Deliberately absent: values' meaning, snapshots of the overlay itself (it is cheap to clone: keys and values are shared).

use std::collections::{BTreeMap, VecDeque};
use std::iter::Peekable;
use std::ops::Bound;

use bytes::Bytes;
use recoil_storage::Write;

/// What one entry or range costs beyond its bytes, as [`Overlay::bytes`] counts.
const SLOT_OVERHEAD: usize = 96;

#[derive(Clone, Debug)]
struct Slot {
    version: u64,
    value: Option<Bytes>,
}

#[derive(Clone, Debug)]
struct Removed {
    /// Not included; `None` is the end of the key space.
    end: Option<Bytes>,
    version: u64,
}

#[derive(Clone, Debug)]
enum Applied {
    Entry(Bytes),
    Range,
}

/// Not yet applied writes over data, by key. See the module's text.
#[derive(Clone, Debug, Default)]
pub struct Overlay {
    entries: BTreeMap<Bytes, Slot>,
    removed: BTreeMap<Bytes, Removed>,
    /// What was applied, oldest first, so that releasing costs what it releases.
    history: VecDeque<(u64, Applied)>,
    bytes: usize,
}

impl Overlay {
    /// Nothing laid over the data.
    pub fn new() -> Self {
        Overlay::default()
    }

    /// True when every read falls through to the data.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty() && self.removed.is_empty()
    }

    /// Bytes held, about.
    pub fn bytes(&self) -> usize {
        self.bytes + self.removed.len() * SLOT_OVERHEAD
    }

    /// Lays `write` over everything applied before. `version` must not be below that of the last write applied.
    pub fn apply(&mut self, write: &Write, version: u64) {
        debug_assert!(
            self.history.back().is_none_or(|(last, _)| *last <= version),
            "versions are applied in ascending order"
        );
        match write {
            Write::Put { key, value } => self.set(key, Some(value.clone()), version),
            Write::Remove { key } => self.set(key, None, version),
            Write::RemoveRange { start, end } => {
                self.remove_range(start.clone(), range_end(start, end.as_ref()), version)
            }
        }
    }

    /// Lays all of `writes` over, in their order: a finished transaction over what it was evaluated on.
    pub fn merge<'a>(&mut self, writes: impl IntoIterator<Item = &'a Write>, version: u64) {
        for write in writes {
            self.apply(write, version);
        }
    }

    /// What the overlay says of `key`: `None` to ask the data below, `Some(None)` when it is removed.
    pub fn get(&self, key: &[u8]) -> Option<Option<Bytes>> {
        if let Some(slot) = self.entries.get(key) {
            return Some(slot.value.clone());
        }
        self.is_removed(key).then_some(None)
    }

    /// Drops everything with a version up to `version`, which must be visible in the data.
    pub fn release(&mut self, version: u64) {
        let mut ranges = false;
        while let Some((applied, _)) = self.history.front()
            && *applied <= version
        {
            match self.history.pop_front() {
                Some((_, Applied::Entry(key))) => {
                    if self.entries.get(&key).is_some_and(|slot| slot.version <= version) {
                        self.drop_entry(&key);
                    }
                }
                Some((_, Applied::Range)) => ranges = true,
                None => break,
            }
        }
        if ranges {
            self.removed.retain(|_, removed| removed.version > version);
        }
        if self.is_empty() {
            self.history.clear();
        }
    }

    /// The rows of `base` from `start` to before `end` (`None`: to the end of the key space), as they are under this overlay.
    /// `base` must give its rows of the same range in the same direction.
    pub fn scan<'a, I, E>(&'a self, base: I, start: &[u8], end: Option<&[u8]>, reverse: bool) -> Scan<'a, I, E>
    where
        I: Iterator<Item = Result<(Bytes, Bytes), E>>,
    {
        let empty = end.is_some_and(|end| end <= start);
        let upper = match end {
            _ if empty => Bound::Excluded(start),
            Some(end) => Bound::Excluded(end),
            None => Bound::Unbounded,
        };
        let over = self.entries.range::<[u8], _>((Bound::Included(start), upper));
        let over: Box<dyn Iterator<Item = (&'a Bytes, &'a Slot)> + Send + 'a> =
            if reverse { Box::new(over.rev()) } else { Box::new(over) };
        Scan {
            overlay: self,
            base: (!empty).then_some(base).into_iter().flatten().peekable(),
            over: over.peekable(),
            reverse,
        }
    }

    fn is_removed(&self, key: &[u8]) -> bool {
        if self.removed.is_empty() {
            return false;
        }
        let mut before = self.removed.range::<[u8], _>((Bound::Unbounded, Bound::Included(key)));
        before.next_back().is_some_and(|(_, removed)| removed.end.as_ref().is_none_or(|end| key < &end[..]))
    }

    fn set(&mut self, key: &Bytes, value: Option<Bytes>, version: u64) {
        let size = value.as_ref().map_or(0, Bytes::len) + key.len() + SLOT_OVERHEAD;
        self.bytes += size;
        if let Some(old) = self.entries.insert(key.clone(), Slot { version, value }) {
            self.bytes -= slot_size(key, &old).min(self.bytes);
        }
        // Older records of this key stay in the history: releasing them finds a newer version and leaves it.
        self.history.push_back((version, Applied::Entry(key.clone())));
    }

    fn drop_entry(&mut self, key: &Bytes) {
        if let Some(slot) = self.entries.remove(key) {
            self.bytes -= slot_size(key, &slot).min(self.bytes);
        }
    }

    fn remove_range(&mut self, start: Bytes, end: Option<Bytes>, version: u64) {
        if end.as_ref().is_some_and(|end| *end <= start) {
            return;
        }
        let upper = end.as_ref().map_or(Bound::Unbounded, |end| Bound::Excluded(&end[..]));
        let inside: Vec<Bytes> =
            self.entries.range::<[u8], _>((Bound::Included(&start[..]), upper)).map(|(key, _)| key.clone()).collect();
        for key in inside {
            self.drop_entry(&key);
        }
        self.cut(&start, end.as_ref());
        self.removed.insert(start, Removed { end, version });
        self.history.push_back((version, Applied::Range));
    }

    /// Takes [start, end) out of the removed ranges, keeping what sticks out on either side.
    fn cut(&mut self, start: &Bytes, end: Option<&Bytes>) {
        let before = self.removed.range::<[u8], _>((Bound::Unbounded, Bound::Excluded(&start[..]))).next_back();
        if let Some((left, removed)) = before.map(|(left, removed)| (left.clone(), removed.clone()))
            && removed.end.as_ref().is_none_or(|old_end| old_end > start)
        {
            self.removed.insert(left, Removed { end: Some(start.clone()), version: removed.version });
            self.keep_tail(removed, end);
        }
        let upper = end.map_or(Bound::Unbounded, |end| Bound::Excluded(&end[..]));
        let inside: Vec<Bytes> =
            self.removed.range::<[u8], _>((Bound::Included(&start[..]), upper)).map(|(key, _)| key.clone()).collect();
        for key in inside {
            if let Some(removed) = self.removed.remove(&key) {
                self.keep_tail(removed, end);
            }
        }
    }

    fn keep_tail(&mut self, removed: Removed, end: Option<&Bytes>) {
        if let Some(end) = end
            && removed.end.as_ref().is_none_or(|old_end| old_end > end)
        {
            self.removed.insert(end.clone(), removed);
        }
    }
}

fn slot_size(key: &Bytes, slot: &Slot) -> usize {
    key.len() + slot.value.as_ref().map_or(0, Bytes::len) + SLOT_OVERHEAD
}

/// Where a range ends: an absent end is the end of the start's kind of rows.
pub(crate) fn range_end(start: &Bytes, end: Option<&Bytes>) -> Option<Bytes> {
    match (end, start.first()) {
        (Some(end), _) => Some(end.clone()),
        (None, None | Some(&u8::MAX)) => None,
        (None, Some(kind)) => Some(Bytes::copy_from_slice(&[kind + 1])),
    }
}

/// Rows under an overlay. Errors of the base end it where they happen.
pub struct Scan<'a, I, E>
where
    I: Iterator<Item = Result<(Bytes, Bytes), E>>,
{
    overlay: &'a Overlay,
    base: Peekable<std::iter::Flatten<std::option::IntoIter<I>>>,
    over: Peekable<Box<dyn Iterator<Item = (&'a Bytes, &'a Slot)> + Send + 'a>>,
    reverse: bool,
}

impl<I, E> Iterator for Scan<'_, I, E>
where
    I: Iterator<Item = Result<(Bytes, Bytes), E>>,
{
    type Item = Result<(Bytes, Bytes), E>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let base_first = match (self.base.peek(), self.over.peek()) {
                (None, None) => return None,
                (Some(Err(_)), _) => return self.base.next(),
                (Some(Ok(_)), None) => true,
                (None, Some(_)) => false,
                (Some(Ok((below, _))), Some((above, _))) => {
                    if below == *above {
                        self.base.next();
                        continue;
                    }
                    (below < *above) != self.reverse
                }
            };
            if base_first {
                match self.base.next() {
                    Some(Ok((key, _))) if self.overlay.is_removed(&key) => {}
                    row => return row,
                }
            } else if let Some((key, Slot { value: Some(value), .. })) = self.over.next() {
                return Some(Ok((key.clone(), value.clone())));
            }
        }
    }
}

#[cfg(test)]
mod tests;
