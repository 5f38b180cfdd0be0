//! Consumer groups: what each has delivered, to whom, and what has not been acknowledged.
//!
//! ```text
//! group row       02 | generation | part 1 | name            → number | last id delivered (16) | entries read, one more
//!                                                              | pending | consumers | consumers ever made
//! what a group holds, behind 02 | generation | part 2 | number of the group (8):
//! consumer        0 | name                                   → number | seen (ms) | active (ms), one more | pending
//! its name        1 | number (8)                             → name
//! pending         2 | id (16)                                → number of the consumer | delivered (ms) | times
//! pending of one  3 | number of the consumer (8) | id (16)   → empty
//! ```
//!
//! Invariants: a pending row has its row under its consumer, and the other way round; the counts in the rows of group and
//! consumer are those of the rows. Numbers that are "one more" are 0 where there is none yet. An entry that is removed from
//! the stream stays pending until it is acknowledged or claimed, as in Redis.

use std::collections::{HashMap, hash_map};

use recoil_sdk::encoding::{DecodeError, Reader, push_count};
use recoil_sdk::{Entry, KeyRange};

use super::{Id, PAGE_ROWS, PART_GROUPS, PART_OF_A_GROUP, Stream};
use crate::elements::{ELEMENT_BYTES_MAX, check_held};
use crate::executor::CHANGES_MAX;
use crate::keyspace::{ELEMENT_PREFIX_BYTES, Failure, Keyspace, Outcome, damaged, element_row};

const CONSUMER: u8 = 0;
const CONSUMER_NAME: u8 = 1;
const PENDING: u8 = 2;
const PENDING_OF_ONE: u8 = 3;

/// A consumer group, in a transaction.
pub(crate) struct Group {
    pub(crate) name: Vec<u8>,
    number: u64,
    /// The generation of its stream.
    generation: u64,
    pub(crate) last: Id,
    /// How many entries it has been given, if that is known.
    pub(crate) read: Option<u64>,
    pub(crate) pending: u64,
    pub(crate) consumers: u64,
    consumers_made: u64,
}

/// A consumer of a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Consumer {
    pub(crate) name: Vec<u8>,
    pub(crate) number: u64,
    /// When it last tried to get something.
    pub(crate) seen_ms: u64,
    /// When it last got something.
    pub(crate) active_ms: Option<u64>,
    pub(crate) pending: u64,
}

/// An entry that was delivered and not acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Pending {
    pub(crate) id: Id,
    /// The number of the consumer.
    pub(crate) consumer: u64,
    pub(crate) delivered_ms: u64,
    pub(crate) times: u64,
}

fn check_name(name: &[u8]) -> Outcome {
    if name.len() <= ELEMENT_BYTES_MAX - 16 {
        return Ok(());
    }
    let max = ELEMENT_BYTES_MAX - 16;
    Err(format!("ERR the name of a group or consumer may have {max} bytes at most").into())
}

impl Group {
    /// A new group of a stream, which has none of that name.
    pub(crate) fn new(stream: &mut Stream, name: &[u8], last: Id, read: Option<u64>) -> Result<Self, Failure> {
        check_name(name)?;
        let (number, generation) = (stream.new_group_number(), stream.generation);
        Ok(Group { name: name.to_vec(), number, generation, last, read, pending: 0, consumers: 0, consumers_made: 0 })
    }

    /// The group of that name.
    pub(crate) fn load(keyspace: &Keyspace<'_>, stream: &Stream, name: &[u8]) -> Result<Option<Self>, Failure> {
        if check_name(name).is_err() {
            return Ok(None);
        }
        let row = keyspace.transaction.get(&element_row(stream.generation, PART_GROUPS, &[name]))?;
        row.map(|row| Self::decode(stream.generation, name, &row).map_err(damaged)).transpose()
    }

    fn decode(generation: u64, name: &[u8], row: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(row);
        let (number, last, read) = (reader.count()?, Id::from_bytes(reader.array()?), reader.count()?);
        let (pending, consumers, consumers_made) = (reader.count()?, reader.count()?, reader.count()?);
        reader.finish()?;
        let name = name.to_vec();
        Ok(Group { name, number, generation, last, read: read.checked_sub(1), pending, consumers, consumers_made })
    }

    /// All groups of a stream, by name.
    pub(crate) fn all(keyspace: &Keyspace<'_>, stream: &Stream) -> Result<Vec<Self>, Failure> {
        let mut groups = Vec::new();
        let prefix = element_row(stream.generation, PART_GROUPS, &[]);
        pages(keyspace, KeyRange::prefix(&prefix), |entry| {
            let name = entry.key.get(ELEMENT_PREFIX_BYTES..).unwrap_or_default();
            check_held(groups.len() as u64, 0)?;
            groups.push(Self::decode(stream.generation, name, &entry.value).map_err(damaged)?);
            Ok(false)
        })?;
        Ok(groups)
    }

    /// Write its row.
    pub(crate) fn save(&self, keyspace: &mut Keyspace<'_>) -> Outcome {
        let mut row = Vec::with_capacity(40);
        push_count(&mut row, self.number);
        row.extend_from_slice(&self.last.to_bytes());
        for number in [self.read.map_or(0, |read| read + 1), self.pending, self.consumers, self.consumers_made] {
            push_count(&mut row, number);
        }
        Ok(keyspace.transaction.put(&element_row(self.generation, PART_GROUPS, &[&self.name]), &row)?)
    }

    /// Remove it; the cleaner removes what it holds.
    pub(crate) fn destroy(self, keyspace: &mut Keyspace<'_>, stream: &mut Stream) -> Outcome {
        keyspace.transaction.remove(&element_row(self.generation, PART_GROUPS, &[&self.name]))?;
        (stream.groups, stream.changed) = (stream.groups.saturating_sub(1), true);
        keyspace.bury_part(self.generation, &self.prefix())
    }

    /// What the keys of the rows it holds begin with, behind the generation.
    pub(crate) fn prefix(&self) -> Vec<u8> {
        [&[PART_OF_A_GROUP][..], &self.number.to_be_bytes()].concat()
    }

    fn row(&self, part: u8, rest: &[&[u8]]) -> Vec<u8> {
        let rest = rest.concat();
        element_row(self.generation, PART_OF_A_GROUP, &[&self.number.to_be_bytes(), &[part], &rest])
    }

    /// Where the rest of a key begins that [`Group::row`] has made.
    const REST: usize = ELEMENT_PREFIX_BYTES + 9;

    /// The consumer of that name.
    pub(crate) fn consumer(&self, keyspace: &Keyspace<'_>, name: &[u8]) -> Result<Option<Consumer>, Failure> {
        if check_name(name).is_err() {
            return Ok(None);
        }
        let row = keyspace.transaction.get(&self.row(CONSUMER, &[name]))?;
        row.map(|row| Consumer::decode(name, &row).map_err(damaged)).transpose()
    }

    /// The consumer of that name, made if there is none; true if it was.
    pub(crate) fn consumer_or_new(
        &mut self,
        keyspace: &mut Keyspace<'_>,
        name: &[u8],
    ) -> Result<(Consumer, bool), Failure> {
        if let Some(consumer) = self.consumer(keyspace, name)? {
            return Ok((consumer, false));
        }
        check_name(name)?;
        self.consumers += 1;
        self.consumers_made += 1;
        let number = self.consumers_made;
        let seen_ms = keyspace.now_us() / 1000;
        keyspace.transaction.put(&self.row(CONSUMER_NAME, &[&number.to_be_bytes()]), name)?;
        Ok((Consumer { name: name.to_vec(), number, seen_ms, active_ms: None, pending: 0 }, true))
    }

    pub(crate) fn save_consumer(&self, keyspace: &mut Keyspace<'_>, consumer: &Consumer) -> Outcome {
        let mut row = Vec::with_capacity(24);
        let active = consumer.active_ms.map_or(0, |active_ms| active_ms + 1);
        for number in [consumer.number, consumer.seen_ms, active, consumer.pending] {
            push_count(&mut row, number);
        }
        Ok(keyspace.transaction.put(&self.row(CONSUMER, &[&consumer.name]), &row)?)
    }

    /// All consumers, by name.
    pub(crate) fn all_consumers(&self, keyspace: &Keyspace<'_>) -> Result<Vec<Consumer>, Failure> {
        let (mut consumers, mut bytes) = (Vec::new(), 0);
        pages(keyspace, KeyRange::prefix(&self.row(CONSUMER, &[])), |entry| {
            let name = entry.key.get(Self::REST..).unwrap_or_default();
            bytes += name.len() as u64;
            check_held(consumers.len() as u64, bytes)?;
            consumers.push(Consumer::decode(name, &entry.value).map_err(damaged)?);
            Ok(false)
        })?;
        Ok(consumers)
    }

    /// Remove a consumer, with what is pending for it.
    pub(crate) fn remove_consumer(&mut self, keyspace: &mut Keyspace<'_>, consumer: &Consumer) -> Outcome {
        let max = CHANGES_MAX / 2;
        if consumer.pending > max {
            let pending = consumer.pending;
            return Err(format!(
                "ERR the consumer has {pending} pending entries, and one command removes at most {max}: acknowledge or claim \
                 some of them first"
            )
            .into());
        }
        for pending in self.pending_of(keyspace, consumer, (Id::MIN, Id::MAX), 0)? {
            keyspace.transaction.remove(&self.row(PENDING, &[&pending.to_bytes()]))?;
            keyspace.transaction.remove(&self.row_of_one(consumer.number, pending))?;
        }
        keyspace.transaction.remove(&self.row(CONSUMER, &[&consumer.name]))?;
        keyspace.transaction.remove(&self.row(CONSUMER_NAME, &[&consumer.number.to_be_bytes()]))?;
        self.pending = self.pending.saturating_sub(consumer.pending);
        self.consumers = self.consumers.saturating_sub(1);
        Ok(())
    }

    fn row_of_one(&self, consumer: u64, id: Id) -> Vec<u8> {
        self.row(PENDING_OF_ONE, &[&consumer.to_be_bytes(), &id.to_bytes()])
    }

    /// What is pending of an id.
    pub(crate) fn get_pending(&self, keyspace: &Keyspace<'_>, id: Id) -> Result<Option<Pending>, Failure> {
        let row = keyspace.transaction.get(&self.row(PENDING, &[&id.to_bytes()]))?;
        row.map(|row| Pending::decode(id, &row).map_err(damaged)).transpose()
    }

    /// Make an entry pending, or change what is pending of it. `before` is what was, and counts follow.
    pub(crate) fn put_pending(
        &mut self,
        keyspace: &mut Keyspace<'_>,
        consumers: &mut Consumers,
        before: Option<Pending>,
        pending: Pending,
    ) -> Outcome {
        let moved = before.is_none_or(|before| before.consumer != pending.consumer);
        if moved {
            if let Some(before) = before {
                self.remove_pending(keyspace, consumers, before)?;
            }
            keyspace.transaction.put(&self.row_of_one(pending.consumer, pending.id), b"")?;
            self.pending += 1;
            consumers.count(self, keyspace, pending.consumer, 1)?;
        }
        let mut row = Vec::with_capacity(12);
        for number in [pending.consumer, pending.delivered_ms, pending.times] {
            push_count(&mut row, number);
        }
        Ok(keyspace.transaction.put(&self.row(PENDING, &[&pending.id.to_bytes()]), &row)?)
    }

    /// An entry is not pending any more.
    pub(crate) fn remove_pending(
        &mut self,
        keyspace: &mut Keyspace<'_>,
        consumers: &mut Consumers,
        pending: Pending,
    ) -> Outcome {
        keyspace.transaction.remove(&self.row(PENDING, &[&pending.id.to_bytes()]))?;
        keyspace.transaction.remove(&self.row_of_one(pending.consumer, pending.id))?;
        self.pending = self.pending.saturating_sub(1);
        consumers.count(self, keyspace, pending.consumer, -1)
    }

    /// Visit what is pending between two ids, both included, until `visit` answers true.
    pub(crate) fn visit_pending(
        &self,
        keyspace: &Keyspace<'_>,
        (from, to): (Id, Id),
        mut visit: impl FnMut(Pending) -> Result<bool, Failure>,
    ) -> Outcome {
        self.visit_ids(keyspace, &self.row(PENDING, &[]), (from, to), |id, value| {
            visit(Pending::decode(id, value).map_err(damaged)?)
        })
    }

    /// The last id that is pending, of some.
    pub(crate) fn last_pending(&self, keyspace: &Keyspace<'_>) -> Result<Id, Failure> {
        let prefix = self.row(PENDING, &[]);
        let last = keyspace.transaction.scan(&KeyRange::prefix(&prefix), 1, true)?.pop();
        let id = last.and_then(|entry| entry.key.get(prefix.len()..).and_then(|id| id.try_into().ok()));
        id.map(Id::from_bytes).ok_or_else(|| damaged("a group lacks its pending rows"))
    }

    /// The ids pending for a consumer between two, both included, `count` at most (0: all).
    pub(crate) fn pending_of(
        &self,
        keyspace: &Keyspace<'_>,
        consumer: &Consumer,
        between: (Id, Id),
        count: u64,
    ) -> Result<Vec<Id>, Failure> {
        let mut ids = Vec::new();
        self.visit_ids(keyspace, &self.row(PENDING_OF_ONE, &[&consumer.number.to_be_bytes()]), between, |id, _| {
            ids.push(id);
            check_held(ids.len() as u64, 0)?;
            Ok(count > 0 && ids.len() as u64 >= count)
        })?;
        Ok(ids)
    }

    fn visit_ids(
        &self,
        keyspace: &Keyspace<'_>,
        prefix: &[u8],
        (from, to): (Id, Id),
        mut visit: impl FnMut(Id, &[u8]) -> Result<bool, Failure>,
    ) -> Outcome {
        if from > to {
            return Ok(());
        }
        let all = KeyRange::prefix(prefix);
        let end = to.next().map(|next| [prefix, &next.to_bytes()].concat()).or(all.end);
        let range = KeyRange { start: [prefix, &from.to_bytes()].concat(), end };
        pages(keyspace, range, |entry| {
            let id = entry.key.get(prefix.len()..).and_then(|id| id.try_into().ok()).map(Id::from_bytes);
            visit(id.ok_or_else(|| damaged("a pending row without an id"))?, &entry.value)
        })
    }

    /// The name of a consumer.
    pub(crate) fn name_of(&self, keyspace: &Keyspace<'_>, consumer: u64) -> Result<Vec<u8>, Failure> {
        let name = keyspace.transaction.get(&self.row(CONSUMER_NAME, &[&consumer.to_be_bytes()]))?;
        name.ok_or_else(|| damaged("an entry is pending for a consumer that is not there"))
    }
}

impl Consumer {
    fn decode(name: &[u8], row: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(row);
        let (number, seen_ms) = (reader.count()?, reader.count()?);
        let (active, pending) = (reader.count()?, reader.count()?);
        reader.finish()?;
        Ok(Consumer { name: name.to_vec(), number, seen_ms, active_ms: active.checked_sub(1), pending })
    }
}

impl Pending {
    fn decode(id: Id, row: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(row);
        let pending = Pending { id, consumer: reader.count()?, delivered_ms: reader.count()?, times: reader.count()? };
        reader.finish()?;
        Ok(pending)
    }
}

/// Consumers that a command has to do with: names and counts are read once, and written at its end.
#[derive(Default)]
pub(crate) struct Consumers(HashMap<u64, (Consumer, bool)>);

impl Consumers {
    /// Know a consumer that is to be written in any case.
    pub(crate) fn insert(&mut self, consumer: Consumer) {
        self.0.insert(consumer.number, (consumer, true));
    }

    /// A consumer by its number.
    pub(crate) fn get(
        &mut self,
        group: &Group,
        keyspace: &Keyspace<'_>,
        number: u64,
    ) -> Result<&mut (Consumer, bool), Failure> {
        match self.0.entry(number) {
            hash_map::Entry::Occupied(known) => Ok(known.into_mut()),
            hash_map::Entry::Vacant(unknown) => {
                let name = group.name_of(keyspace, number)?;
                let consumer = group.consumer(keyspace, &name)?.ok_or_else(|| damaged("a consumer lacks its row"))?;
                Ok(unknown.insert((consumer, false)))
            }
        }
    }

    fn count(&mut self, group: &Group, keyspace: &Keyspace<'_>, number: u64, by: i64) -> Outcome {
        let (consumer, changed) = self.get(group, keyspace, number)?;
        consumer.pending = consumer.pending.saturating_add_signed(by);
        *changed = true;
        Ok(())
    }

    /// Write those that have changed.
    pub(crate) fn save(&self, group: &Group, keyspace: &mut Keyspace<'_>) -> Outcome {
        self.0
            .values()
            .filter(|(_, changed)| *changed)
            .try_for_each(|(consumer, _)| group.save_consumer(keyspace, consumer))
    }
}

fn pages(
    keyspace: &Keyspace<'_>,
    mut range: KeyRange,
    mut visit: impl FnMut(&Entry) -> Result<bool, Failure>,
) -> Outcome {
    // Small at first: most commands want few.
    let mut rows = 16;
    loop {
        let page = keyspace.transaction.scan(&range, rows, false)?;
        let Some(last) = page.last() else { return Ok(()) };
        range.start = [&last.key[..], b"\0"].concat();
        rows = (rows * 4).min(PAGE_ROWS as u32);
        for entry in &page {
            if visit(entry)? {
                return Ok(());
            }
        }
    }
}
