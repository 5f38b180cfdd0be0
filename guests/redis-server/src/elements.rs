//! Collections whose elements have names: hashes (field → value), sets (member → nothing), sorted sets (member → score).
//!
//! ```text
//! payload, inline     encoding (1) | count | bytes | elements             (numbers of one to ten bytes)
//! payload, in rows    generation (8) | encoding (1) | count | bytes [| levels (1)]
//! element row         02 | generation | part 0 | hash (5) | element → value
//! ```
//!
//! Up to [`INLINE_BYTES_MAX`] bytes and [`INLINE_ELEMENTS_MAX`] elements a collection lies inline, in the order of
//! insertion; beyond that its elements become rows, and never go back. Rows lie in the order of a hash of the element
//! that is keyed by the generation. So HSCAN and its relatives have the promise and the stateless cursors of SCAN (see
//! [`crate::walks`]), a uniformly random element is found without an index, and no client can aim at one position.
//! A sorted set has a second order beside this one, in [`crate::zset::index`].
//!
//! `encoding` is what Redis would say of the collection (OBJECT ENCODING), not what the rows are. `bytes` is the size of
//! all elements and values, so that MEMORY USAGE takes constant time.
//!
//! Invariant: `count` and `bytes` are those of the elements. An [`Elements`] that has been changed is saved, or its
//! transaction is rolled back.

mod inline;
mod random;

use recoil_sdk::encoding::{DecodeError, Reader, push_count};
use recoil_sdk::storage::prefix_end;
use recoil_sdk::{Error, KeyRange};

use crate::keyspace::{
    ELEMENT_PREFIX_BYTES, FLAG_ROWS, Failure, Keyspace, Kind, Outcome, Stored, Value, WRONG_TYPE, damaged, element_row,
    siphash,
};
use crate::numbers::parse_i64;
use crate::zset::index;
use inline::{InlineElements, push_inline, put_inline, remove_inline};
pub(crate) use random::Random;

/// A collection of more bytes than this has rows.
pub(crate) const INLINE_BYTES_MAX: usize = 512;
/// A collection of more elements than this has rows.
pub(crate) const INLINE_ELEMENTS_MAX: u64 = 128;
/// The longest element: its row key must stay below 65,514 bytes in either order of a sorted set.
pub(crate) const ELEMENT_BYTES_MAX: usize = 65_400;
/// What a command may hold in memory of collections, counting [`HELD_BYTES`] for each element beside its own.
pub(crate) const WORKING_BYTES_MAX: usize = 16 << 20;
/// What an element held in memory costs beside its bytes.
pub(crate) const HELD_BYTES: usize = 48;
/// Rows in a page of the storage's.
const PAGE_ROWS: u32 = 1_000;
/// Bits of a position in the hash order of a collection.
const HASH_BITS: u32 = 40;
const PART_ELEMENTS: u8 = 0;
/// OBJECT ENCODING of a small collection.
const COMPACT: u8 = 0;
/// OBJECT ENCODING of one that Redis has turned into its general form.
const GENERAL: u8 = 1;
/// OBJECT ENCODING of a set of integers.
const INTEGERS: u8 = 2;

/// An element and its value.
pub(crate) type Element = (Vec<u8>, Vec<u8>);

enum Body {
    /// The elements one after the other.
    Inline(Vec<u8>),
    /// Their generation.
    Rows(u64),
}

/// A hash, a set or a sorted set, in a transaction.
pub(crate) struct Elements {
    kind: Kind,
    expire_at_us: u64,
    encoding: u8,
    count: u64,
    bytes: u64,
    body: Body,
    /// Levels of counts that a sorted set in rows has; see [`index`].
    levels: u8,
    exists: bool,
    changed: bool,
}

impl Value for Elements {
    fn renew(&mut self, expire_at_us: u64) {
        (self.exists, self.changed, self.expire_at_us) = (false, true, expire_at_us);
    }

    /// Write the key row if anything has changed; an empty collection is removed.
    fn save(&mut self, keyspace: &mut Keyspace<'_>, key: &[u8]) -> Outcome {
        if !std::mem::take(&mut self.changed) {
            return Ok(());
        }
        if self.count == 0 {
            if let Body::Rows(generation) = self.body {
                keyspace.bury(generation)?;
            }
            return if self.exists { keyspace.remove_row(key, self.expire_at_us) } else { Ok(()) };
        }
        let existed = std::mem::replace(&mut self.exists, true);
        if !existed {
            keyspace.note_birth(self.kind, key);
        }
        let expired_before_at = if existed { self.expire_at_us } else { 0 };
        let (flags, head) = self.head();
        let elements: &[u8] = if let Body::Inline(elements) = &self.body { elements } else { &[] };
        keyspace.write_row(key, (self.kind, flags), &[&head, elements], self.expire_at_us, expired_before_at)
    }
}

impl Elements {
    /// An empty one.
    pub(crate) fn new(kind: Kind) -> Self {
        Elements {
            kind,
            expire_at_us: 0,
            encoding: if kind == Kind::Set { INTEGERS } else { COMPACT },
            count: 0,
            bytes: 0,
            body: Body::Inline(Vec::new()),
            levels: 0,
            exists: false,
            changed: false,
        }
    }

    /// The collection under a key, if there is one of this kind; an error if there is something else.
    pub(crate) fn load(keyspace: &mut Keyspace<'_>, key: &[u8], kind: Kind) -> Result<Option<Self>, Failure> {
        match keyspace.load(key)? {
            Some(stored) if stored.kind != kind => Err(WRONG_TYPE.into()),
            Some(stored) => Self::decode(&stored).map(Some),
            None => Ok(None),
        }
    }

    /// Like [`Elements::load`], and an empty one where there is none.
    pub(crate) fn load_or_new(keyspace: &mut Keyspace<'_>, key: &[u8], kind: Kind) -> Result<Self, Failure> {
        Ok(Self::load(keyspace, key, kind)?.unwrap_or_else(|| Self::new(kind)))
    }

    /// What a key row of one of these kinds holds.
    pub(crate) fn decode(stored: &Stored) -> Result<Self, Failure> {
        let mut reader = Reader::new(stored.payload());
        let mut decode = || -> Result<Self, DecodeError> {
            let generation = if stored.generation().is_some() { Some(reader.u64()?) } else { None };
            let (encoding, count, bytes) = (reader.u8()?, reader.count()?, reader.count()?);
            let levels = if generation.is_some() && stored.kind == Kind::SortedSet { reader.u8()? } else { 0 };
            let rest = reader.raw(reader.remaining())?;
            let body = generation.map_or_else(|| Body::Inline(rest.to_vec()), Body::Rows);
            let (kind, expire_at_us) = (stored.kind, stored.expire_at_us);
            Ok(Elements { kind, expire_at_us, encoding, count, bytes, body, levels, exists: true, changed: false })
        };
        decode().map_err(damaged)
    }

    /// Number of elements.
    pub(crate) fn len(&self) -> u64 {
        self.count
    }

    /// Bytes of all elements and values.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// What OBJECT ENCODING answers.
    pub(crate) fn encoding_name(&self) -> &'static str {
        match (self.encoding, self.kind) {
            (COMPACT, _) => "listpack",
            (INTEGERS, _) => "intset",
            (_, Kind::SortedSet) => "skiplist",
            _ => "hashtable",
        }
    }

    /// Where the rows of a sorted set are; none while it is inline.
    pub(crate) fn index(&self) -> Option<index::Place> {
        match self.body {
            Body::Inline(_) => None,
            Body::Rows(generation) => Some(index::Place { generation, levels: self.levels }),
        }
    }

    fn inline(&self) -> Option<InlineElements<'_>> {
        match &self.body {
            Body::Inline(elements) => Some(InlineElements { kind: self.kind, reader: Reader::new(elements) }),
            Body::Rows(_) => None,
        }
    }

    /// The value of an element.
    pub(crate) fn get(&self, keyspace: &Keyspace<'_>, element: &[u8]) -> Result<Option<Vec<u8>>, Failure> {
        let Some(mut elements) = self.inline() else {
            return Ok(match self.body {
                Body::Rows(generation) => keyspace.transaction.get(&row(generation, element))?,
                Body::Inline(_) => None,
            });
        };
        while let Some((candidate, value)) = elements.next()? {
            if candidate == element {
                return Ok(Some(value.to_vec()));
            }
        }
        Ok(None)
    }

    /// The values of several elements, in their order.
    pub(crate) fn get_many(
        &self,
        keyspace: &Keyspace<'_>,
        elements: &[impl AsRef<[u8]>],
    ) -> Result<Vec<Option<Vec<u8>>>, Failure> {
        let Body::Rows(generation) = self.body else {
            return elements.iter().map(|element| self.get(keyspace, element.as_ref())).collect();
        };
        let mut values = Vec::with_capacity(elements.len());
        for chunk in elements.chunks(PAGE_ROWS as usize) {
            let rows: Vec<_> = chunk.iter().map(|element| row(generation, element.as_ref())).collect();
            values.append(&mut keyspace.transaction.get_many(&rows)?);
        }
        Ok(values)
    }

    /// Add an element or give it another value. Answers the value that it had.
    pub(crate) fn put(
        &mut self,
        keyspace: &mut Keyspace<'_>,
        element: &[u8],
        value: &[u8],
    ) -> Result<Option<Vec<u8>>, Failure> {
        let old = self.get(keyspace, element)?;
        self.put_over(keyspace, element, value, old.as_deref())?;
        Ok(old)
    }

    /// Add an element that is known not to be there.
    pub(crate) fn add(&mut self, keyspace: &mut Keyspace<'_>, element: &[u8], value: &[u8]) -> Outcome {
        self.put_over(keyspace, element, value, None)
    }

    /// Give an element, whose value is `old`, another one.
    pub(crate) fn put_over(
        &mut self,
        keyspace: &mut Keyspace<'_>,
        element: &[u8],
        value: &[u8],
        old: Option<&[u8]>,
    ) -> Outcome {
        if element.len() > ELEMENT_BYTES_MAX {
            // Not a reply, since earlier elements of the same command may have been written.
            let length = element.len();
            return Err(Failure::Abort(Error::new(format!(
                "ERR an element has {length} bytes: the limit is {ELEMENT_BYTES_MAX}"
            ))));
        }
        let differs = old != Some(value);
        if differs {
            match &mut self.body {
                Body::Inline(elements) => put_inline(self.kind, elements, element, value)?,
                Body::Rows(generation) => keyspace.transaction.put(&row(*generation, element), value)?,
            }
        }
        // Redis counts the writing of the same value to a hash as a change that WATCH sees.
        self.changed |= self.kind == Kind::Hash || differs;
        self.bytes += value.len() as u64;
        match old {
            Some(old) => self.bytes = self.bytes.saturating_sub(old.len() as u64),
            None => {
                self.count += 1;
                self.bytes += element.len() as u64;
            }
        }
        self.encode_again(element, value, old.is_some());
        if self.kind == Kind::SortedSet && differs {
            self.put_in_order(keyspace, element, old, value)?;
        }
        if let Body::Inline(elements) = &self.body
            && (elements.len() > INLINE_BYTES_MAX || self.count > INLINE_ELEMENTS_MAX)
        {
            self.move_to_rows(keyspace)?;
        }
        Ok(())
    }

    fn put_in_order(
        &mut self,
        keyspace: &mut Keyspace<'_>,
        element: &[u8],
        old: Option<&[u8]>,
        value: &[u8],
    ) -> Outcome {
        let Some(place) = self.index() else { return Ok(()) };
        if let Some(old) = old {
            place.remove(keyspace, element, index::decode_score(old)?)?;
        }
        place.insert(keyspace, element, index::decode_score(value)?)?;
        self.raise_levels(keyspace)
    }

    /// Give a sorted set the levels of counts that its size asks for.
    fn raise_levels(&mut self, keyspace: &mut Keyspace<'_>) -> Outcome {
        while let Body::Rows(generation) = self.body
            && self.count >= index::elements_for_level(self.levels + 1)
        {
            self.levels += 1;
            index::Place { generation, levels: self.levels }.build(keyspace)?;
        }
        Ok(())
    }

    /// Remove an element. Answers the value that it had.
    pub(crate) fn remove(&mut self, keyspace: &mut Keyspace<'_>, element: &[u8]) -> Result<Option<Vec<u8>>, Failure> {
        let old = match &mut self.body {
            Body::Inline(elements) => remove_inline(self.kind, elements, element)?,
            Body::Rows(generation) => {
                let row = row(*generation, element);
                let old = keyspace.transaction.get(&row)?;
                if old.is_some() {
                    keyspace.transaction.remove(&row)?;
                }
                old
            }
        };
        if let Some(old) = &old {
            self.changed = true;
            self.count = self.count.saturating_sub(1);
            self.bytes = self.bytes.saturating_sub((element.len() + old.len()) as u64);
            if self.kind == Kind::SortedSet
                && let Some(place) = self.index()
            {
                place.remove(keyspace, element, index::decode_score(old)?)?;
            }
        }
        Ok(old)
    }

    /// The encoding after an element was added or its value changed. Redis never goes back either.
    fn encode_again(&mut self, element: &[u8], value: &[u8], existed: bool) {
        let long = element.len() > 64 || (self.kind == Kind::Hash && value.len() > 64);
        let compact_max = if self.kind == Kind::Hash { 512 } else { 128 };
        if self.encoding == INTEGERS && !existed {
            if parse_i64(element).is_none() {
                self.encoding = COMPACT;
            } else if self.count > 512 {
                self.encoding = GENERAL;
            }
        }
        if self.encoding == COMPACT && (long || self.count > compact_max) {
            self.encoding = GENERAL;
        }
    }

    fn move_to_rows(&mut self, keyspace: &mut Keyspace<'_>) -> Outcome {
        let generation = keyspace.new_generation()?;
        let Body::Inline(elements) = std::mem::replace(&mut self.body, Body::Rows(generation)) else { return Ok(()) };
        let mut elements = InlineElements { kind: self.kind, reader: Reader::new(&elements) };
        while let Some((element, value)) = elements.next()? {
            keyspace.transaction.put(&row(generation, element), value)?;
            if self.kind == Kind::SortedSet {
                let place = index::Place { generation, levels: 0 };
                place.insert(keyspace, element, index::decode_score(value)?)?;
            }
        }
        self.raise_levels(keyspace)
    }

    /// Visit elements in hash order from a position on, until `visit` answers true for enough. It stops only between two
    /// positions, and answers where to go on: 0 at the end. Inline elements are visited all at once, in the order of insertion.
    pub(crate) fn walk(
        &self,
        keyspace: &Keyspace<'_>,
        from: u64,
        mut visit: impl FnMut(&[u8], &[u8]) -> Result<bool, Failure>,
    ) -> Result<u64, Failure> {
        let Body::Rows(generation) = self.body else {
            let Some(mut elements) = self.inline() else { return Ok(0) };
            while let Some((element, value)) = elements.next()? {
                visit(element, value)?;
            }
            return Ok(0);
        };
        let all = element_row(generation, PART_ELEMENTS, &[]);
        let mut range = KeyRange { start: [&all[..], &position_bytes(from)].concat(), end: prefix_end(&all) };
        let (mut enough, mut last) = (false, None);
        loop {
            let page = keyspace.transaction.scan(&range, PAGE_ROWS, false)?;
            let Some(end) = page.last() else { return Ok(0) };
            range.start = [&end.key[..], b"\0"].concat();
            for entry in page {
                let (position, element) = split_row(&entry.key)?;
                if enough && last != Some(position) {
                    return Ok(position);
                }
                last = Some(position);
                enough |= visit(element, &entry.value)?;
            }
        }
    }

    /// All elements and values, for commands that need them together.
    pub(crate) fn all(&self, keyspace: &Keyspace<'_>) -> Result<Vec<Element>, Failure> {
        check_held(self.count, self.bytes)?;
        let mut all = Vec::with_capacity(self.count as usize);
        self.walk(keyspace, 0, |element, value| {
            all.push((element.to_vec(), value.to_vec()));
            Ok(false)
        })?;
        Ok(all)
    }

    fn head(&self) -> (u8, Vec<u8>) {
        let mut head = Vec::with_capacity(24);
        let flags = match self.body {
            Body::Inline(_) => 0,
            Body::Rows(generation) => {
                head.extend_from_slice(&generation.to_le_bytes());
                FLAG_ROWS
            }
        };
        head.push(self.encoding);
        push_count(&mut head, self.count);
        push_count(&mut head, self.bytes);
        if flags != 0 && self.kind == Kind::SortedSet {
            head.push(self.levels);
        }
        (flags, head)
    }

    /// The payload that it would have if it were inline, whatever its size: what goes to another partition.
    pub(crate) fn whole_payload(&self, keyspace: &Keyspace<'_>) -> Result<Vec<u8>, Failure> {
        check_held(self.count, self.bytes)?;
        let mut payload = vec![self.encoding];
        push_count(&mut payload, self.count);
        push_count(&mut payload, self.bytes);
        self.walk(keyspace, 0, |element, value| {
            push_inline(&mut payload, self.kind, element, value);
            Ok(false)
        })?;
        Ok(payload)
    }

    /// A copy with rows of its own, for another key.
    pub(crate) fn copy(&self, keyspace: &mut Keyspace<'_>) -> Result<Self, Failure> {
        let mut copy = Elements::new(self.kind);
        for (element, value) in self.all(keyspace)? {
            copy.add(keyspace, &element, &value)?;
        }
        copy.encoding = self.encoding;
        Ok(copy)
    }
}

/// Refuse what does not fit into memory.
pub(crate) fn check_held(count: u64, bytes: u64) -> Outcome {
    let held = u128::from(count) * HELD_BYTES as u128 + u128::from(bytes);
    if held > WORKING_BYTES_MAX as u128 {
        return Err(format!(
            "ERR {count} elements of {bytes} bytes are more than one command can take together: the limit is {WORKING_BYTES_MAX} \
             bytes, {HELD_BYTES} of them for each element; use SCAN commands and smaller steps"
        )
        .into());
    }
    Ok(())
}

/// The hash of an element: its top bits are its position, its low bits say which counts it begins.
pub(crate) fn hash(generation: u64, element: &[u8]) -> u64 {
    siphash(generation, 0x656c_656d_656e_7473, element)
}

fn position_bytes(position: u64) -> [u8; 5] {
    let bytes = position.to_be_bytes();
    [bytes[3], bytes[4], bytes[5], bytes[6], bytes[7]]
}

fn row(generation: u64, element: &[u8]) -> Vec<u8> {
    let position = hash(generation, element) >> (64 - HASH_BITS);
    element_row(generation, PART_ELEMENTS, &[&position_bytes(position), element])
}

/// Position and element of a row of part 0.
fn split_row(row: &[u8]) -> Result<(u64, &[u8]), Failure> {
    let rest = row.get(ELEMENT_PREFIX_BYTES..).filter(|rest| rest.len() >= 5);
    let (hash, element) = rest.ok_or_else(|| damaged("an element row with a short key"))?.split_at(5);
    Ok((hash.iter().fold(0, |position, byte| position << 8 | u64::from(*byte)), element))
}
