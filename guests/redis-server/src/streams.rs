//! Streams: the entries and where they are. Consumer groups are in [`groups`], the commands in the other modules.
//!
//! ```text
//! payload             generation (8) | last id (16) | first id (16) | highest id that XDEL removed (16)
//!                     | length | entries ever added | bytes | groups | groups ever made      (numbers of one to ten bytes)
//! entry row           02 | generation | part 0 | id (16, big-endian)  → fields and values, each behind its length
//! group row           02 | generation | part 1 | name                 → see crate::streams::groups
//! rows of a group     02 | generation | part 2 | number of the group (8) | …
//! ```
//!
//! A stream always lies in rows, and unlike other collections it may be empty. Numbers of groups are never used again within a
//! stream; so a group ends by a dead row for everything with its number (see [`crate::cleaner`]), whatever it holds.
//!
//! Invariants: numbers of fixed size keep the parts apart, whatever the names are; `first id` is that of the first entry, 0
//! in an empty stream, so that no read passes over what was trimmed; an id that was once the last is never given again.
//! A [`Stream`] that has been changed is saved, or its transaction is rolled back.

pub(crate) mod claims;
pub(crate) mod commands;
pub(crate) mod group_commands;
pub(crate) mod groups;
mod id;
pub(crate) mod info;
pub(crate) mod read;

use recoil_sdk::encoding::{DecodeError, Reader, push_bytes, push_count};
use recoil_sdk::storage::prefix_end;
use recoil_sdk::{Error, KeyRange};

use crate::elements::{Element, check_held};
use crate::executor::CHANGES_MAX;
use crate::keyspace::{
    ELEMENT_PREFIX_BYTES, FLAG_ROWS, Failure, Keyspace, Kind, Outcome, Stored, Value, WRONG_TYPE, damaged, element_row,
};
use crate::resp::{push_array, push_bulk};
pub(crate) use id::Id;

const PART_ENTRIES: u8 = 0;
const PART_GROUPS: u8 = 1;
const PART_OF_A_GROUP: u8 = 2;
/// Rows in a page of the storage's.
const PAGE_ROWS: u64 = 1_000;
/// `~` removes entries in multiples of this, as Redis does, whose blocks have 100 entries.
const TRIM_STEP: u64 = 100;

/// A stream, in a transaction.
pub(crate) struct Stream {
    pub(crate) generation: u64,
    expire_at_us: u64,
    pub(crate) last: Id,
    /// Zero when there is none.
    pub(crate) first: Id,
    pub(crate) max_deleted: Id,
    pub(crate) length: u64,
    /// Entries ever added.
    pub(crate) added: u64,
    bytes: u64,
    pub(crate) groups: u64,
    groups_made: u64,
    exists: bool,
    pub(crate) changed: bool,
}

/// What XTRIM leaves, and XADD with such an option.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Trim {
    pub(crate) what: TrimTo,
    /// `~`.
    pub(crate) roughly: bool,
    /// How many entries it removes at most; 0 for all.
    pub(crate) limit: u64,
}

/// See [`Trim`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TrimTo {
    /// Number of entries.
    Length(u64),
    /// Entries from here on.
    From(Id),
}

fn entry_row(generation: u64, id: Id) -> Vec<u8> {
    element_row(generation, PART_ENTRIES, &[&id.to_bytes()])
}

impl Value for Stream {
    fn renew(&mut self, expire_at_us: u64) {
        (self.exists, self.changed, self.expire_at_us) = (false, true, expire_at_us);
    }

    fn save(&mut self, keyspace: &mut Keyspace<'_>, key: &[u8]) -> Outcome {
        if !std::mem::take(&mut self.changed) {
            return Ok(());
        }
        let expired_before_at = if std::mem::replace(&mut self.exists, true) { self.expire_at_us } else { 0 };
        keyspace.note_stream(key);
        let mut payload = self.generation.to_le_bytes().to_vec();
        self.push_head(&mut payload);
        keyspace.write_row(key, (Kind::Stream, FLAG_ROWS), &[&payload], self.expire_at_us, expired_before_at)
    }
}

impl Stream {
    /// An empty one.
    pub(crate) fn new(keyspace: &mut Keyspace<'_>) -> Result<Self, Failure> {
        Ok(Stream {
            generation: keyspace.new_generation()?,
            expire_at_us: 0,
            last: Id::MIN,
            first: Id::MIN,
            max_deleted: Id::MIN,
            length: 0,
            added: 0,
            bytes: 0,
            groups: 0,
            groups_made: 0,
            exists: false,
            changed: true,
        })
    }

    /// The stream under a key, if there is one; an error if there is something else.
    pub(crate) fn load(keyspace: &mut Keyspace<'_>, key: &[u8]) -> Result<Option<Self>, Failure> {
        match keyspace.load(key)? {
            Some(stored) if stored.kind != Kind::Stream => Err(WRONG_TYPE.into()),
            Some(stored) => Self::decode(&stored).map(Some),
            None => Ok(None),
        }
    }

    /// What a key row of a stream holds.
    pub(crate) fn decode(stored: &Stored) -> Result<Self, Failure> {
        let mut reader = Reader::new(stored.payload());
        let generation = reader.u64().map_err(damaged)?;
        let mut stream = Self::decode_head(&mut reader, generation).map_err(damaged)?;
        (stream.expire_at_us, stream.exists) = (stored.expire_at_us, true);
        Ok(stream)
    }

    fn decode_head(reader: &mut Reader<'_>, generation: u64) -> Result<Self, DecodeError> {
        let (last, first) = (Id::from_bytes(reader.array()?), Id::from_bytes(reader.array()?));
        let max_deleted = Id::from_bytes(reader.array()?);
        let (length, added, bytes) = (reader.count()?, reader.count()?, reader.count()?);
        let (groups, groups_made) = (reader.count()?, reader.count()?);
        let (expire_at_us, exists, changed) = (0, false, false);
        Ok(Stream {
            generation,
            expire_at_us,
            last,
            first,
            max_deleted,
            length,
            added,
            bytes,
            groups,
            groups_made,
            exists,
            changed,
        })
    }

    fn push_head(&self, payload: &mut Vec<u8>) {
        for id in [self.last, self.first, self.max_deleted] {
            payload.extend_from_slice(&id.to_bytes());
        }
        for number in [self.length, self.added, self.bytes, self.groups, self.groups_made] {
            push_count(payload, number);
        }
    }

    /// Bytes of all entries.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// A number for a new group.
    pub(crate) fn new_group_number(&mut self) -> u64 {
        (self.groups, self.groups_made, self.changed) = (self.groups + 1, self.groups_made + 1, true);
        self.groups_made
    }

    /// Add an entry, whose id is above the last one.
    pub(crate) fn append(&mut self, keyspace: &mut Keyspace<'_>, id: Id, fields: &[&[u8]]) -> Outcome {
        let mut value = Vec::with_capacity(fields.iter().map(|field| field.len() + 2).sum());
        fields.iter().for_each(|field| push_bytes(&mut value, field));
        keyspace.transaction.put(&entry_row(self.generation, id), &value)?;
        if self.length == 0 {
            self.first = id;
        }
        (self.last, self.changed) = (id, true);
        self.length += 1;
        self.added += 1;
        self.bytes += value.len() as u64;
        Ok(())
    }

    /// The fields and values of an entry, each behind its length.
    pub(crate) fn get(&self, keyspace: &Keyspace<'_>, id: Id) -> Result<Option<Vec<u8>>, Failure> {
        Ok(keyspace.transaction.get(&entry_row(self.generation, id))?)
    }

    /// Remove an entry. False if there is none.
    pub(crate) fn remove(&mut self, keyspace: &mut Keyspace<'_>, id: Id) -> Result<bool, Failure> {
        let row = entry_row(self.generation, id);
        let Some(value) = keyspace.transaction.get(&row)? else { return Ok(false) };
        keyspace.transaction.remove(&row)?;
        self.length = self.length.saturating_sub(1);
        self.bytes = self.bytes.saturating_sub(value.len() as u64);
        self.max_deleted = self.max_deleted.max(id);
        self.changed = true;
        if id == self.first {
            self.first = self.edge(keyspace, false)?.unwrap_or(Id::MIN);
        }
        Ok(true)
    }

    /// The id of the first or last entry.
    pub(crate) fn edge(&self, keyspace: &Keyspace<'_>, last: bool) -> Result<Option<Id>, Failure> {
        let mut edge = None;
        self.visit(keyspace, (Id::MIN, Id::MAX), last, 1, |id, _| {
            edge = Some(id);
            Ok(true)
        })?;
        Ok(edge)
    }

    /// Visit at most `count` entries (0: all) between two ids, both included, until `visit` answers true.
    pub(crate) fn visit(
        &self,
        keyspace: &Keyspace<'_>,
        (from, to): (Id, Id),
        reverse: bool,
        count: u64,
        mut visit: impl FnMut(Id, &[u8]) -> Result<bool, Failure>,
    ) -> Outcome {
        let from = from.max(self.first);
        if from > to || self.length == 0 {
            return Ok(());
        }
        let all = element_row(self.generation, PART_ENTRIES, &[]);
        let end = to.next().map(|next| entry_row(self.generation, next)).or_else(|| prefix_end(&all));
        let mut range = KeyRange { start: entry_row(self.generation, from), end };
        let mut left = if count == 0 { u64::MAX } else { count };
        while left > 0 {
            let page = keyspace.transaction.scan(&range, left.min(PAGE_ROWS) as u32, reverse)?;
            let Some(last) = page.last() else { return Ok(()) };
            if reverse {
                range.end = Some(last.key.clone());
            } else {
                range.start = [&last.key[..], b"\0"].concat();
            }
            left -= left.min(page.len() as u64);
            for entry in page {
                if visit(id_of_row(&entry.key)?, &entry.value)? {
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    /// Remove the oldest entries. Answers how many.
    pub(crate) fn trim(&mut self, keyspace: &mut Keyspace<'_>, trim: Trim) -> Result<u64, Failure> {
        let (mut wanted, to) = match trim.what {
            TrimTo::Length(length) => (self.length.saturating_sub(length), Id::MAX),
            TrimTo::From(id) => match id.previous() {
                Some(to) => (self.length, to),
                None => return Ok(0),
            },
        };
        if trim.limit > 0 {
            wanted = wanted.min(trim.limit);
        }
        if wanted == 0 {
            return Ok(0);
        }
        let mut found: Vec<(Id, u64)> = Vec::new();
        self.visit(keyspace, (Id::MIN, to), false, wanted.min(CHANGES_MAX + 1), |id, value| {
            found.push((id, value.len() as u64));
            Ok(false)
        })?;
        if trim.roughly {
            found.truncate(found.len().min(CHANGES_MAX as usize) / TRIM_STEP as usize * TRIM_STEP as usize);
        } else if found.len() as u64 > CHANGES_MAX {
            // Not a reply, since XADD has added its entry by now.
            return Err(Failure::Abort(Error::new(format!(
                "ERR more than {CHANGES_MAX} entries would have to be removed, which one command does not: trim with ~, several \
                 times"
            ))));
        }
        let Some((last, _)) = found.last() else { return Ok(0) };
        let after = last.next();
        for (id, bytes) in &found {
            keyspace.transaction.remove(&entry_row(self.generation, *id))?;
            self.bytes = self.bytes.saturating_sub(*bytes);
        }
        self.length = self.length.saturating_sub(found.len() as u64);
        self.changed = true;
        self.first = after.unwrap_or(Id::MAX);
        self.first = self.edge(keyspace, false)?.unwrap_or(Id::MIN);
        Ok(found.len() as u64)
    }

    /// The parts of its rows' keys behind the generation, that a copy of it needs.
    fn row_ranges(&self, keyspace: &Keyspace<'_>) -> Result<Vec<Vec<u8>>, Failure> {
        let mut prefixes = vec![vec![PART_ENTRIES], vec![PART_GROUPS]];
        for group in groups::Group::all(keyspace, self)? {
            prefixes.push(group.prefix());
        }
        Ok(prefixes)
    }

    /// Visit the rows that it consists of beside the key row: what follows the generation, and the value.
    fn rows(&self, keyspace: &Keyspace<'_>) -> Result<Vec<Element>, Failure> {
        let (mut rows, mut bytes) = (Vec::new(), 0);
        let generation = &element_row(self.generation, 0, &[])[..ELEMENT_PREFIX_BYTES - 1];
        for prefix in self.row_ranges(keyspace)? {
            let mut range = KeyRange::prefix(&[generation, &prefix].concat());
            loop {
                let page = keyspace.transaction.scan(&range, PAGE_ROWS as u32, false)?;
                let Some(last) = page.last() else { break };
                range.start = [&last.key[..], b"\0"].concat();
                for entry in page {
                    bytes += (entry.key.len() + entry.value.len()) as u64;
                    check_held(rows.len() as u64, bytes)?;
                    rows.push((entry.key[ELEMENT_PREFIX_BYTES - 1..].to_vec(), entry.value));
                }
                if rows.len() as u64 > CHANGES_MAX {
                    return Err(format!(
                        "ERR the stream has more than {CHANGES_MAX} rows, with those of its groups: one command copies no more"
                    )
                    .into());
                }
            }
        }
        Ok(rows)
    }

    /// All of it, for another partition: the head, and then all rows.
    pub(crate) fn whole_payload(&self, keyspace: &Keyspace<'_>) -> Result<Vec<u8>, Failure> {
        let mut payload = Vec::new();
        self.push_head(&mut payload);
        for (row, value) in self.rows(keyspace)? {
            push_bytes(&mut payload, &row);
            push_bytes(&mut payload, &value);
        }
        Ok(payload)
    }

    /// A copy with rows of its own, for another key.
    pub(crate) fn copy(&self, keyspace: &mut Keyspace<'_>) -> Result<Self, Failure> {
        let rows = self.rows(keyspace)?;
        let mut head = Vec::new();
        self.push_head(&mut head);
        let generation = keyspace.new_generation()?;
        let copy = Self::decode_head(&mut Reader::new(&head), generation).map_err(damaged)?;
        for (row, value) in rows {
            copy.put_row(keyspace, &row, &value)?;
        }
        Ok(copy)
    }

    /// The stream of which [`Stream::whole_payload`] is, with rows of its own.
    pub(crate) fn arrive(keyspace: &mut Keyspace<'_>, payload: &[u8]) -> Result<Self, Failure> {
        let mut reader = Reader::new(payload);
        let stream = Self::decode_head(&mut reader, keyspace.new_generation()?).map_err(damaged)?;
        while reader.remaining() > 0 {
            let (row, value) = (reader.bytes().map_err(damaged)?, reader.bytes().map_err(damaged)?);
            stream.put_row(keyspace, row, value)?;
        }
        Ok(stream)
    }

    fn put_row(&self, keyspace: &mut Keyspace<'_>, row: &[u8], value: &[u8]) -> Outcome {
        let Some((part, rest)) = row.split_first() else { return Err(damaged("a row of a stream without a part")) };
        Ok(keyspace.transaction.put(&element_row(self.generation, *part, &[rest]), value)?)
    }
}

fn id_of_row(row: &[u8]) -> Result<Id, Failure> {
    row.get(ELEMENT_PREFIX_BYTES..)
        .and_then(|id| id.try_into().ok())
        .map(Id::from_bytes)
        .ok_or_else(|| damaged("an entry row without an id"))
}

/// Append an entry to a reply: its id, and its fields and values.
pub(crate) fn push_entry(out: &mut Vec<u8>, id: Id, fields: &[u8]) -> Outcome {
    push_array(out, 2);
    id.push(out);
    let (mut count, mut reader) = (0, Reader::new(fields));
    while reader.remaining() > 0 {
        reader.bytes().map_err(damaged)?;
        count += 1;
    }
    push_array(out, count);
    let mut reader = Reader::new(fields);
    while reader.remaining() > 0 {
        push_bulk(out, reader.bytes().map_err(damaged)?);
    }
    Ok(())
}
