//! Lists: the values and where they are. The commands are in [`commands`].
//!
//! ```text
//! payload, inline     encoding (1) | count | bytes | values               (numbers of one to ten bytes)
//! payload, in rows    generation (8) | encoding (1) | count | bytes | head (8)
//! element row         02 | generation | part 0 | position (8, big-endian) → value
//! ```
//!
//! A small list lies inline, as in [`crate::elements`]; a larger one has a row for each value, whose positions are
//! consecutive from `head` on, in the middle of the 64-bit numbers at first. So an index is one read, and a push or pop at
//! either end one write beside the key row. Inserting into the middle and removing from it move the values of the shorter
//! side, one row each, and are refused beyond what one transaction may write.
//!
//! Invariant: the values have the positions from `head` to `head + count`, without a gap, and no other rows of the
//! generation exist. (Positions that a trim leaves are removed at once and not by the cleaner, because a later push may
//! use them again.)

pub(crate) mod commands;

use recoil_sdk::KeyRange;
use recoil_sdk::encoding::{DecodeError, Reader, push_bytes, push_count};

use crate::elements::{INLINE_BYTES_MAX, INLINE_ELEMENTS_MAX};
use crate::executor::CHANGES_MAX;
use crate::keyspace::{FLAG_ROWS, Failure, Keyspace, Kind, Outcome, Stored, Value, WRONG_TYPE, damaged, element_row};

/// Where the first value of a list in rows is.
const MIDDLE: u64 = 1 << 63;
/// Rows in a page of the storage's.
const PAGE_ROWS: u64 = 1_000;
/// A trim of more rows than this writes what is left under a new generation, if that is less.
const TRIM_ROWS: u64 = 10_000;
/// OBJECT ENCODING is `quicklist` above this.
const COMPACT_BYTES: u64 = 8 << 10;
const COMPACT: u8 = 0;
const GENERAL: u8 = 1;

enum Body {
    Inline(Vec<u8>),
    Rows { generation: u64, head: u64 },
}

/// A list, in a transaction.
pub(crate) struct List {
    expire_at_us: u64,
    encoding: u8,
    count: u64,
    bytes: u64,
    body: Body,
    exists: bool,
    changed: bool,
}

fn row(generation: u64, position: u64) -> Vec<u8> {
    element_row(generation, 0, &[&position.to_be_bytes()])
}

fn inline_values(values: &[u8]) -> Result<Vec<&[u8]>, Failure> {
    let (mut reader, mut found) = (Reader::new(values), Vec::new());
    while reader.remaining() > 0 {
        found.push(reader.bytes().map_err(damaged)?);
    }
    Ok(found)
}

fn too_many_moves(moved: u64) -> Failure {
    format!(
        "ERR {moved} values of the list would have to be moved or removed one by one: one command does at most {CHANGES_MAX}"
    )
    .into()
}

impl Value for List {
    fn renew(&mut self, expire_at_us: u64) {
        (self.exists, self.changed, self.expire_at_us) = (false, true, expire_at_us);
    }

    /// Write the key row if anything has changed; an empty list is removed.
    fn save(&mut self, keyspace: &mut Keyspace<'_>, key: &[u8]) -> Outcome {
        if !std::mem::take(&mut self.changed) {
            return Ok(());
        }
        if self.count == 0 {
            if let Body::Rows { generation, .. } = self.body {
                keyspace.bury(generation)?;
            }
            return if self.exists { keyspace.remove_row(key, self.expire_at_us) } else { Ok(()) };
        }
        let existed = std::mem::replace(&mut self.exists, true);
        if !existed {
            keyspace.note_birth(Kind::List, key);
        }
        let expired_before_at = if existed { self.expire_at_us } else { 0 };
        let (mut head, mut flags) = (Vec::with_capacity(32), 0);
        if let Body::Rows { generation, .. } = self.body {
            head.extend_from_slice(&generation.to_le_bytes());
            flags = FLAG_ROWS;
        }
        head.push(self.encoding);
        push_count(&mut head, self.count);
        push_count(&mut head, self.bytes);
        let values: &[u8] = match &self.body {
            Body::Inline(values) => values,
            Body::Rows { head: first, .. } => {
                head.extend_from_slice(&first.to_le_bytes());
                &[]
            }
        };
        keyspace.write_row(key, (Kind::List, flags), &[&head, values], self.expire_at_us, expired_before_at)
    }
}

impl List {
    /// An empty one.
    pub(crate) fn new() -> Self {
        let body = Body::Inline(Vec::new());
        List { expire_at_us: 0, encoding: COMPACT, count: 0, bytes: 0, body, exists: false, changed: false }
    }

    /// The list under a key, if there is one; an error if there is something else.
    pub(crate) fn load(keyspace: &mut Keyspace<'_>, key: &[u8]) -> Result<Option<Self>, Failure> {
        match keyspace.load(key)? {
            Some(stored) if stored.kind != Kind::List => Err(WRONG_TYPE.into()),
            Some(stored) => Self::decode(&stored).map(Some),
            None => Ok(None),
        }
    }

    /// Like [`List::load`], and an empty one where there is none.
    pub(crate) fn load_or_new(keyspace: &mut Keyspace<'_>, key: &[u8]) -> Result<Self, Failure> {
        Ok(Self::load(keyspace, key)?.unwrap_or_else(Self::new))
    }

    /// What a key row of a list holds.
    pub(crate) fn decode(stored: &Stored) -> Result<Self, Failure> {
        let mut reader = Reader::new(stored.payload());
        let mut decode = || -> Result<Self, DecodeError> {
            let generation = if stored.generation().is_some() { Some(reader.u64()?) } else { None };
            let (encoding, count, bytes) = (reader.u8()?, reader.count()?, reader.count()?);
            let body = match generation {
                Some(generation) => {
                    let head = reader.u64()?;
                    head.checked_add(count).ok_or_else(|| reader.error("a list that ends beyond all positions"))?;
                    Body::Rows { generation, head }
                }
                None => Body::Inline(reader.raw(reader.remaining())?.to_vec()),
            };
            let expire_at_us = stored.expire_at_us;
            Ok(List { expire_at_us, encoding, count, bytes, body, exists: true, changed: false })
        };
        decode().map_err(damaged)
    }

    /// Number of values.
    pub(crate) fn len(&self) -> u64 {
        self.count
    }

    /// Bytes of all values.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// What OBJECT ENCODING answers.
    pub(crate) fn encoding_name(&self) -> &'static str {
        if self.encoding == COMPACT { "listpack" } else { "quicklist" }
    }

    /// Visit `count` values from the index `first` on, or backwards from it, until `visit` answers true.
    pub(crate) fn visit(
        &self,
        keyspace: &Keyspace<'_>,
        first: u64,
        count: u64,
        reverse: bool,
        mut visit: impl FnMut(u64, &[u8]) -> Result<bool, Failure>,
    ) -> Outcome {
        let count = if reverse { count.min(first + 1) } else { count.min(self.count.saturating_sub(first)) };
        if first >= self.count || count == 0 {
            return Ok(());
        }
        let (generation, head) = match &self.body {
            Body::Rows { generation, head } => (*generation, *head),
            Body::Inline(values) => {
                let values = inline_values(values)?;
                for step in 0..count {
                    let index = if reverse { first - step } else { first + step };
                    let Some(value) = values.get(index as usize) else { return Err(damaged("a list lacks values")) };
                    if visit(index, value)? {
                        return Ok(());
                    }
                }
                return Ok(());
            }
        };
        let lowest = if reverse { first + 1 - count } else { first };
        let mut range =
            KeyRange { start: row(generation, head + lowest), end: Some(row(generation, head + lowest + count)) };
        let (mut index, mut left) = (first, count);
        while left > 0 {
            let page = keyspace.transaction.scan(&range, left.min(PAGE_ROWS) as u32, reverse)?;
            let Some(last) = page.last() else { return Err(damaged("a list lacks rows")) };
            if reverse {
                range.end = Some(last.key.clone());
            } else {
                range.start = [&last.key[..], b"\0"].concat();
            }
            left -= left.min(page.len() as u64);
            for entry in page {
                if visit(index, &entry.value)? {
                    return Ok(());
                }
                index = if reverse { index.wrapping_sub(1) } else { index + 1 };
            }
        }
        Ok(())
    }

    /// The value at an index.
    pub(crate) fn get(&self, keyspace: &Keyspace<'_>, index: u64) -> Result<Option<Vec<u8>>, Failure> {
        if index >= self.count {
            return Ok(None);
        }
        match &self.body {
            Body::Rows { generation, head } => Ok(keyspace.transaction.get(&row(*generation, head + index))?),
            Body::Inline(values) => Ok(inline_values(values)?.get(index as usize).map(|value| value.to_vec())),
        }
    }

    /// Add a value at one end.
    pub(crate) fn push(&mut self, keyspace: &mut Keyspace<'_>, value: &[u8], left: bool) -> Outcome {
        match &mut self.body {
            Body::Inline(values) if left => {
                let mut entry = Vec::with_capacity(value.len() + 2);
                push_bytes(&mut entry, value);
                values.splice(0..0, entry);
            }
            Body::Inline(values) => push_bytes(values, value),
            Body::Rows { generation, head } => {
                *head -= u64::from(left);
                let position = if left { *head } else { *head + self.count };
                keyspace.transaction.put(&row(*generation, position), value)?;
            }
        }
        self.added(value);
        self.move_to_rows_if_large(keyspace)
    }

    fn added(&mut self, value: &[u8]) {
        self.changed = true;
        self.count += 1;
        self.bytes += value.len() as u64;
        if self.bytes + 2 * self.count > COMPACT_BYTES {
            self.encoding = GENERAL;
        }
    }

    fn move_to_rows_if_large(&mut self, keyspace: &mut Keyspace<'_>) -> Outcome {
        let Body::Inline(values) = &self.body else { return Ok(()) };
        if values.len() <= INLINE_BYTES_MAX && self.count <= INLINE_ELEMENTS_MAX {
            return Ok(());
        }
        let generation = keyspace.new_generation()?;
        for (position, value) in (MIDDLE..).zip(inline_values(values)?) {
            keyspace.transaction.put(&row(generation, position), value)?;
        }
        self.body = Body::Rows { generation, head: MIDDLE };
        Ok(())
    }

    /// Take the value off one end.
    pub(crate) fn pop(&mut self, keyspace: &mut Keyspace<'_>, left: bool) -> Result<Option<Vec<u8>>, Failure> {
        let Some(last) = self.count.checked_sub(1) else { return Ok(None) };
        let index = if left { 0 } else { last };
        let value = self.get(keyspace, index)?;
        match (&mut self.body, &value) {
            (Body::Rows { generation, head }, Some(value)) if last > 0 => {
                keyspace.transaction.remove(&row(*generation, *head + index))?;
                *head += u64::from(left);
                self.changed = true;
                self.count = last;
                self.bytes = self.bytes.saturating_sub(value.len() as u64);
            }
            _ => self.trim(keyspace, u64::from(left).min(last), last)?,
        }
        Ok(value)
    }

    /// Give the value at an index, which exists, another one.
    pub(crate) fn set(&mut self, keyspace: &mut Keyspace<'_>, index: u64, value: &[u8]) -> Outcome {
        let old = self.get(keyspace, index)?.map_or(0, |old| old.len() as u64);
        match &mut self.body {
            Body::Rows { generation, head } => {
                keyspace.transaction.put(&row(*generation, *head + index), value)?;
            }
            Body::Inline(values) => {
                let mut edited = inline_values(values)?;
                if let Some(place) = edited.get_mut(index as usize) {
                    *place = value;
                }
                *values = encode_inline(&edited);
            }
        }
        self.count -= 1;
        self.bytes = self.bytes.saturating_sub(old);
        self.added(value);
        self.move_to_rows_if_large(keyspace)
    }

    /// Insert a value before the one at an index.
    pub(crate) fn insert(&mut self, keyspace: &mut Keyspace<'_>, index: u64, value: &[u8]) -> Outcome {
        match &mut self.body {
            Body::Inline(values) => {
                let mut edited = inline_values(values)?;
                edited.insert((index as usize).min(edited.len()), value);
                *values = encode_inline(&edited);
            }
            Body::Rows { generation, head } => {
                let (generation, head) = (*generation, *head);
                let left = index <= self.count / 2;
                let moved = if left { index } else { self.count - index };
                if moved > CHANGES_MAX {
                    return Err(too_many_moves(moved));
                }
                // From the far end of the shorter side on, so that nothing is overwritten before it was read.
                let from = if left { 0 } else { self.count.saturating_sub(1) };
                let values = self.copy_values(keyspace, from, moved, !left)?;
                let new_head = head - u64::from(left);
                for (step, value) in (0..).zip(&values) {
                    let position = if left { new_head + step } else { head + self.count - step };
                    keyspace.transaction.put(&row(generation, position), value)?;
                }
                keyspace.transaction.put(&row(generation, new_head + index), value)?;
                self.body = Body::Rows { generation, head: new_head };
            }
        }
        self.added(value);
        self.move_to_rows_if_large(keyspace)
    }

    /// Values in memory, at most what a command may hold.
    fn copy_values(
        &self,
        keyspace: &Keyspace<'_>,
        first: u64,
        count: u64,
        reverse: bool,
    ) -> Result<Vec<Vec<u8>>, Failure> {
        let (mut values, mut bytes) = (Vec::new(), 0);
        self.visit(keyspace, first, count, reverse, |_, value| {
            bytes += value.len() as u64;
            crate::elements::check_held(values.len() as u64, bytes)?;
            values.push(value.to_vec());
            Ok(false)
        })?;
        Ok(values)
    }

    /// Remove the values at indices, which exist and ascend.
    pub(crate) fn remove(&mut self, keyspace: &mut Keyspace<'_>, indices: &[u64]) -> Outcome {
        let (Some(&first), Some(&last)) = (indices.first(), indices.last()) else { return Ok(()) };
        let mut removed_bytes = 0;
        match &mut self.body {
            Body::Inline(values) => {
                let (mut removed, mut kept) = (indices.iter().peekable(), Vec::new());
                for (index, value) in (0..).zip(inline_values(values)?) {
                    if removed.next_if(|removed| **removed == index).is_some() {
                        removed_bytes += value.len() as u64;
                    } else {
                        kept.push(value);
                    }
                }
                *values = encode_inline(&kept);
            }
            Body::Rows { generation, head } => {
                let (generation, head, count) = (*generation, *head, indices.len() as u64);
                let to_head = last < self.count - first;
                let moved = if to_head { last + 1 } else { self.count - first };
                if moved > CHANGES_MAX {
                    return Err(too_many_moves(moved));
                }
                // Survivors of the shorter side close up towards the middle; what they leave at the end is removed.
                let from = if to_head { last } else { first };
                let values = self.copy_values(keyspace, from, moved, to_head)?;
                let (mut position, step) = (head + from, if to_head { u64::MAX } else { 1 });
                for (offset, value) in (0..).zip(&values) {
                    let index = if to_head { from - offset } else { from + offset };
                    if indices.binary_search(&index).is_ok() {
                        removed_bytes += value.len() as u64;
                    } else {
                        keyspace.transaction.put(&row(generation, position), value)?;
                        position = position.wrapping_add(step);
                    }
                }
                let left_behind = if to_head { head } else { head + self.count - count };
                for position in left_behind..left_behind + count {
                    keyspace.transaction.remove(&row(generation, position))?;
                }
                self.body = Body::Rows { generation, head: if to_head { head + count } else { head } };
            }
        }
        self.changed = true;
        self.count -= indices.len() as u64;
        self.bytes = self.bytes.saturating_sub(removed_bytes);
        Ok(())
    }

    /// Keep `kept` values from the index `first` on, and nothing else.
    pub(crate) fn trim(&mut self, keyspace: &mut Keyspace<'_>, first: u64, kept: u64) -> Outcome {
        let removed = self.count - kept;
        if removed == 0 {
            return Ok(());
        }
        let mut kept_bytes = 0;
        match &mut self.body {
            Body::Inline(values) => {
                let all = inline_values(values)?;
                let edited: Vec<&[u8]> = all.into_iter().skip(first as usize).take(kept as usize).collect();
                kept_bytes = edited.iter().map(|value| value.len() as u64).sum();
                *values = encode_inline(&edited);
            }
            Body::Rows { generation, .. } if kept == 0 => {
                keyspace.bury(*generation)?;
                self.body = Body::Inline(Vec::new());
            }
            Body::Rows { generation, head } => {
                let (generation, head) = (*generation, *head);
                if removed > TRIM_ROWS && kept < removed {
                    let values = self.copy_values(keyspace, first, kept, false)?;
                    let new = keyspace.new_generation()?;
                    for (position, value) in (MIDDLE..).zip(&values) {
                        kept_bytes += value.len() as u64;
                        keyspace.transaction.put(&row(new, position), value)?;
                    }
                    keyspace.bury(generation)?;
                    self.body = Body::Rows { generation: new, head: MIDDLE };
                } else {
                    if removed > CHANGES_MAX {
                        return Err(too_many_moves(removed));
                    }
                    kept_bytes = self.bytes;
                    for (from, to) in [(0, first), (first + kept, self.count)] {
                        self.visit(keyspace, from, to - from, false, |_, value| {
                            kept_bytes = kept_bytes.saturating_sub(value.len() as u64);
                            Ok(false)
                        })?;
                        for position in head + from..head + to {
                            keyspace.transaction.remove(&row(generation, position))?;
                        }
                    }
                    self.body = Body::Rows { generation, head: head + first };
                }
            }
        }
        self.changed = true;
        self.count = kept;
        self.bytes = kept_bytes;
        Ok(())
    }

    /// The payload that it would have if it were inline, whatever its size: what goes to another partition.
    pub(crate) fn whole_payload(&self, keyspace: &Keyspace<'_>) -> Result<Vec<u8>, Failure> {
        let mut payload = vec![self.encoding];
        push_count(&mut payload, self.count);
        push_count(&mut payload, self.bytes);
        for value in self.copy_values(keyspace, 0, self.count, false)? {
            push_bytes(&mut payload, &value);
        }
        Ok(payload)
    }

    /// A copy with rows of its own, for another key.
    pub(crate) fn copy(&self, keyspace: &mut Keyspace<'_>) -> Result<Self, Failure> {
        let mut copy = List::new();
        for value in self.copy_values(keyspace, 0, self.count, false)? {
            copy.push(keyspace, &value, false)?;
        }
        copy.encoding = self.encoding;
        Ok(copy)
    }
}

fn encode_inline(values: &[&[u8]]) -> Vec<u8> {
    let mut encoded = Vec::with_capacity(values.iter().map(|value| value.len() + 2).sum());
    values.iter().for_each(|value| push_bytes(&mut encoded, value));
    encoded
}
