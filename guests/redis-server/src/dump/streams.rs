//! Streams in Redis' snapshots.
//!
//! ```text
//! stream    blocks | length | last id | [from type 19 on: first id | highest id removed | entries added] | groups
//! block     string of 16 bytes, the id of its master entry | string, a listpack:
//!           count | removed | number of fields | fields… | 0, the master entry; then each entry:
//!           flags | milliseconds more | sequence more | [number of fields] | [field] value… | number of elements
//! group     name | last id | [from type 19 on: entries read] | pending | consumers
//! ```
//!
//! An entry with the flag 2 has the fields of the master entry, and only values; one with the flag 1 has been removed.

use std::collections::{HashMap, HashSet};

use recoil_sdk::encoding::Reader;

use super::compact::{Listpack, listpack};
use super::rdb::{Damage, ITEM_BYTES, Input, push_length, push_string};
use super::{check_size, kind};
use crate::elements::check_held;
use crate::executor::CHANGES_MAX;
use crate::keyspace::{Failure, Keyspace, Outcome, Stored, damaged};
use crate::numbers::parse_i64;
use crate::streams::groups::{Consumer, Consumers, Group, Pending};
use crate::streams::{Id, Stream};

const FLAG_REMOVED: i64 = 1;
const FLAG_SAME_FIELDS: i64 = 2;
/// Entries and bytes of a block that is written: Redis' defaults.
const BLOCK_ENTRIES: usize = 100;
const BLOCK_BYTES: usize = 4096;

/// A stream in memory.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct DumpedStream {
    /// In the order of their ids; fields and values alternate.
    entries: Vec<(Id, Vec<Vec<u8>>)>,
    last: Id,
    max_deleted: Id,
    added: u64,
    groups: Vec<DumpedGroup>,
}

#[derive(Debug, PartialEq, Eq)]
struct DumpedGroup {
    name: Vec<u8>,
    last: Id,
    read: Option<u64>,
    /// In the order of their ids; the consumer is a place in `consumers`.
    pending: Vec<Pending>,
    consumers: Vec<DumpedConsumer>,
}

#[derive(Debug, PartialEq, Eq)]
struct DumpedConsumer {
    name: Vec<u8>,
    seen_ms: u64,
    active_ms: Option<u64>,
}

fn read_id(input: &mut Input<'_>) -> Result<Id, Damage> {
    Ok(Id::new(input.length()?, input.length()?))
}

fn raw_id(input: &mut Input<'_>) -> Result<Id, Damage> {
    Ok(Id::from_bytes(input.array()?))
}

pub(super) fn decode(input: &mut Input<'_>, kind: u8) -> Result<DumpedStream, Damage> {
    let mut entries = Vec::new();
    for _ in 0..input.length()? {
        let before = entries.len();
        let master = input.string()?.try_into().map(Id::from_bytes).map_err(|_| Damage)?;
        let items = input.compact(listpack)?;
        decode_block(input, &items, master, &mut entries)?;
        // Redis removes a block with its last entry.
        if entries.len() == before {
            return Err(Damage);
        }
    }
    let (length, last) = (input.length()?, read_id(input)?);
    let (first, max_deleted, added) = if kind == kind::STREAM_LISTPACKS {
        (None, Id::MIN, length)
    } else {
        (Some(read_id(input)?), read_id(input)?, input.length()?)
    };
    let ascending = entries.windows(2).all(|pair| pair[0].0 < pair[1].0);
    let ends = entries.last().is_none_or(|(id, _)| *id <= last);
    let first_is = entries.first().map_or(Id::MIN, |(id, _)| *id);
    if length != entries.len() as u64
        || !ascending
        || !ends
        || first.is_some_and(|first| first != first_is && length > 0)
        || max_deleted > last
        || added < length
    {
        return Err(Damage);
    }
    let mut stream = DumpedStream { entries, last, max_deleted, added, groups: Vec::new() };
    let mut names = HashSet::new();
    for _ in 0..input.length()? {
        let mut group = decode_group(input, kind)?;
        if kind == kind::STREAM_LISTPACKS {
            group.read = stream.added_up_to(group.last);
        }
        if !names.insert(group.name.clone()) {
            return Err(Damage);
        }
        stream.groups.push(group);
    }
    Ok(stream)
}

/// Takes elements of a listpack.
struct Items<'a>(std::slice::Iter<'a, Vec<u8>>);

impl<'a> Items<'a> {
    fn next(&mut self) -> Result<&'a Vec<u8>, Damage> {
        self.0.next().ok_or(Damage)
    }
    fn integer(&mut self) -> Result<i64, Damage> {
        parse_i64(self.next()?).ok_or(Damage)
    }
    fn count(&mut self) -> Result<usize, Damage> {
        let count = usize::try_from(self.integer()?).map_err(|_| Damage)?;
        // What there cannot be is not reserved for.
        if count > self.0.len() { Err(Damage) } else { Ok(count) }
    }
}

fn decode_block(
    input: &mut Input<'_>,
    items: &[Vec<u8>],
    master: Id,
    entries: &mut Vec<(Id, Vec<Vec<u8>>)>,
) -> Result<(), Damage> {
    let mut items = Items(items.iter());
    let (count, removed, field_count) = (items.count()?, items.count()?, items.count()?);
    let mut fields = Vec::new();
    for _ in 0..field_count {
        fields.push(items.next()?);
    }
    if items.integer()? != 0 {
        return Err(Damage);
    }
    let mut seen = [0, 0];
    while items.0.len() > 0 {
        let before = items.0.len();
        let flags = items.integer()?;
        let add = |base: u64, more: i64| base.checked_add_signed(more).ok_or(Damage);
        let id = Id::new(add(master.milliseconds(), items.integer()?)?, add_sequence(master, items.integer()?));
        let same = flags & FLAG_SAME_FIELDS != 0;
        let mut entry = Vec::new();
        if same {
            for field in &fields {
                // It is there once and meant again and again.
                input.charge(field.len() as u64 + ITEM_BYTES)?;
                entry.extend([(*field).clone(), items.next()?.clone()]);
            }
        } else {
            for _ in 0..items.count()? {
                entry.extend([items.next()?.clone(), items.next()?.clone()]);
            }
        }
        if items.integer()? != (before - items.0.len() - 1) as i64 || flags & !3 != 0 || entry.is_empty() {
            return Err(Damage);
        }
        let is_removed = flags & FLAG_REMOVED != 0;
        seen[usize::from(is_removed)] += 1;
        if !is_removed {
            entries.push((id, entry));
        }
    }
    if seen == [count, removed] { Ok(()) } else { Err(Damage) }
}

/// Redis subtracts the sequence numbers as 64-bit numbers, which may wrap.
fn add_sequence(master: Id, more: i64) -> u64 {
    master.sequence().wrapping_add_signed(more)
}

fn decode_group(input: &mut Input<'_>, kind: u8) -> Result<DumpedGroup, Damage> {
    let (name, last) = (input.string()?, read_id(input)?);
    let read = if kind == kind::STREAM_LISTPACKS { u64::MAX } else { input.length()? };
    let mut pending: Vec<Pending> = Vec::new();
    for _ in 0..input.length()? {
        input.charge(ITEM_BYTES)?;
        let (id, delivered_ms) = (raw_id(input)?, i64::from_le_bytes(input.array()?));
        let delivered_ms = u64::try_from(delivered_ms).unwrap_or(0);
        pending.push(Pending { id, consumer: u64::MAX, delivered_ms, times: input.length()? });
    }
    if !pending.windows(2).all(|pair| pair[0].id < pair[1].id) {
        return Err(Damage);
    }
    let mut consumers: Vec<DumpedConsumer> = Vec::new();
    for _ in 0..input.length()? {
        let (name, seen_ms) = (input.string()?, i64::from_le_bytes(input.array()?));
        let active_ms = if kind == kind::STREAM_LISTPACKS_3 { i64::from_le_bytes(input.array()?) } else { seen_ms };
        let number = consumers.len() as u64;
        for _ in 0..input.length()? {
            let id = raw_id(input)?;
            let at = pending.binary_search_by_key(&id, |pending| pending.id).map_err(|_| Damage)?;
            if pending[at].consumer != u64::MAX {
                return Err(Damage);
            }
            pending[at].consumer = number;
        }
        let (seen_ms, active_ms) = (u64::try_from(seen_ms).unwrap_or(0), u64::try_from(active_ms).ok());
        consumers.push(DumpedConsumer { name, seen_ms, active_ms });
    }
    let mut names: Vec<&[u8]> = consumers.iter().map(|consumer| &consumer.name[..]).collect();
    names.sort_unstable();
    if names.windows(2).any(|pair| pair[0] == pair[1]) || pending.iter().any(|pending| pending.consumer == u64::MAX) {
        return Err(Damage);
    }
    // Minus one, for a number that is not known.
    Ok(DumpedGroup { name, last, read: Some(read).filter(|read| *read <= i64::MAX as u64), pending, consumers })
}

fn push_id(out: &mut Vec<u8>, id: Id) {
    push_length(out, id.milliseconds());
    push_length(out, id.sequence());
}

pub(super) fn encode(out: &mut Vec<u8>, stream: &DumpedStream) {
    let (mut blocks, mut rest) = (Vec::new(), &stream.entries[..]);
    let mut count = 0;
    while let Some((master, _)) = rest.first() {
        let (block, taken) = encode_block(rest);
        push_string(&mut blocks, &master.to_bytes());
        push_string(&mut blocks, &block);
        rest = &rest[taken..];
        count += 1;
    }
    push_length(out, count);
    out.append(&mut blocks);
    push_length(out, stream.entries.len() as u64);
    push_id(out, stream.last);
    push_id(out, stream.entries.first().map_or(Id::MIN, |(id, _)| *id));
    push_id(out, stream.max_deleted);
    push_length(out, stream.added);
    push_length(out, stream.groups.len() as u64);
    stream.groups.iter().for_each(|group| encode_group(out, group));
}

/// A block of the first entries, and how many.
fn encode_block(entries: &[(Id, Vec<Vec<u8>>)]) -> (Vec<u8>, usize) {
    let (master, fields) = &entries[0];
    let names = |entry: &[Vec<u8>]| entry.iter().step_by(2).cloned().collect::<Vec<_>>();
    let master_names = names(fields);
    let (mut taken, mut bytes) = (0, 0);
    for (_, entry) in entries.iter().take(BLOCK_ENTRIES) {
        bytes += entry.iter().map(|item| item.len() + 4).sum::<usize>() + 16;
        if taken > 0 && bytes > BLOCK_BYTES {
            break;
        }
        taken += 1;
    }
    let mut pack = Listpack::new();
    pack.push_integer(taken as i64);
    pack.push_integer(0);
    pack.push_integer(master_names.len() as i64);
    master_names.iter().for_each(|name| pack.push_string(name));
    pack.push_integer(0);
    for (id, entry) in &entries[..taken] {
        let same = names(entry) == master_names;
        pack.push_integer(if same { FLAG_SAME_FIELDS } else { 0 });
        pack.push_integer(id.milliseconds().wrapping_sub(master.milliseconds()) as i64);
        pack.push_integer(id.sequence().wrapping_sub(master.sequence()) as i64);
        let count = entry.len() / 2;
        if same {
            entry.iter().skip(1).step_by(2).for_each(|value| pack.push_string(value));
            pack.push_integer(count as i64 + 3);
        } else {
            pack.push_integer(count as i64);
            entry.iter().for_each(|item| pack.push_string(item));
            pack.push_integer(count as i64 * 2 + 4);
        }
    }
    (pack.finish(), taken)
}

fn encode_group(out: &mut Vec<u8>, group: &DumpedGroup) {
    push_string(out, &group.name);
    push_id(out, group.last);
    push_length(out, group.read.unwrap_or(u64::MAX));
    push_length(out, group.pending.len() as u64);
    for pending in &group.pending {
        out.extend_from_slice(&pending.id.to_bytes());
        out.extend_from_slice(&pending.delivered_ms.to_le_bytes());
        push_length(out, pending.times);
    }
    let mut ids = vec![Vec::new(); group.consumers.len()];
    for pending in &group.pending {
        if let Some(ids) = ids.get_mut(pending.consumer as usize) {
            ids.push(pending.id);
        }
    }
    push_length(out, group.consumers.len() as u64);
    for (consumer, ids) in group.consumers.iter().zip(ids) {
        push_string(out, &consumer.name);
        out.extend_from_slice(&consumer.seen_ms.to_le_bytes());
        push_length(out, ids.len() as u64);
        ids.iter().for_each(|id| out.extend_from_slice(&id.to_bytes()));
    }
}

/// The stream of a key.
pub(super) fn load(keyspace: &Keyspace<'_>, stored: &Stored) -> Result<DumpedStream, Failure> {
    let stream = Stream::decode(stored)?;
    let (mut entries, mut items, mut bytes) = (Vec::new(), 0, 0);
    stream.visit(keyspace, (Id::MIN, Id::MAX), false, 0, |id, fields| {
        let (mut reader, mut entry) = (Reader::new(fields), Vec::new());
        while reader.remaining() > 0 {
            entry.push(reader.bytes().map_err(damaged)?.to_vec());
        }
        (items, bytes) = (items + entry.len() as u64, bytes + fields.len() as u64);
        check_held(items, bytes)?;
        entries.push((id, entry));
        Ok(false)
    })?;
    let mut dumped = DumpedStream {
        entries,
        last: stream.last,
        max_deleted: stream.max_deleted,
        added: stream.added,
        groups: Vec::new(),
    };
    for group in Group::all(keyspace, &stream)? {
        let consumers = group.all_consumers(keyspace)?;
        let places: HashMap<u64, u64> = consumers.iter().map(|consumer| consumer.number).zip(0..).collect();
        let mut pending = Vec::new();
        group.visit_pending(keyspace, (Id::MIN, Id::MAX), |entry| {
            let place = places.get(&entry.consumer);
            let consumer = *place.ok_or_else(|| damaged("an entry is pending for a consumer that is not there"))?;
            pending.push(Pending { consumer, ..entry });
            items += 1;
            check_held(items, bytes)?;
            Ok(false)
        })?;
        let consumers = consumers.into_iter().map(|Consumer { name, seen_ms, active_ms, .. }| DumpedConsumer {
            name,
            seen_ms,
            active_ms,
        });
        let (name, last, read) = (group.name.clone(), group.last, group.read);
        dumped.groups.push(DumpedGroup { name, last, read, pending, consumers: consumers.collect() });
    }
    Ok(dumped)
}

impl DumpedStream {
    /// How many entries of a stream of the first format, which knows of no removed ones, there are up to an id, if that can be told.
    fn added_up_to(&self, id: Id) -> Option<u64> {
        let first = self.entries.first().map_or(Id::MIN, |(id, _)| *id);
        match self.added {
            0 => Some(0),
            added if id == self.last => Some(added),
            _ if id < first => Some(0),
            _ if id == first => Some(1),
            _ => None,
        }
    }

    /// Write its rows. The stream has no key yet.
    pub(super) fn store(self, keyspace: &mut Keyspace<'_>) -> Result<Stream, Failure> {
        self.check()?;
        let mut stream = Stream::new(keyspace)?;
        for (id, fields) in &self.entries {
            let fields: Vec<&[u8]> = fields.iter().map(|field| &field[..]).collect();
            stream.append(keyspace, *id, &fields)?;
        }
        (stream.last, stream.max_deleted, stream.added) = (self.last, self.max_deleted, self.added);
        for dumped in self.groups {
            let mut group = Group::new(&mut stream, &dumped.name, dumped.last, dumped.read)?;
            let (mut consumers, mut numbers) = (Consumers::default(), Vec::new());
            for consumer in dumped.consumers {
                let (made, _) = group.consumer_or_new(keyspace, &consumer.name)?;
                numbers.push(made.number);
                let (seen_ms, active_ms) = (consumer.seen_ms, consumer.active_ms);
                consumers.insert(Consumer { seen_ms, active_ms, ..made });
            }
            for pending in dumped.pending {
                let consumer = numbers.get(pending.consumer as usize).copied().unwrap_or_default();
                group.put_pending(keyspace, &mut consumers, None, Pending { consumer, ..pending })?;
            }
            consumers.save(&group, keyspace)?;
            group.save(keyspace)?;
        }
        Ok(stream)
    }

    /// Refuse what does not fit into one transaction, before it begins.
    fn check(&self) -> Outcome {
        let (mut rows, mut longest) = (self.entries.len() as u64, 0);
        for group in &self.groups {
            rows += 1 + 2 * (group.consumers.len() + group.pending.len()) as u64;
            let names = group.consumers.iter().map(|consumer| consumer.name.len());
            longest = names.chain([group.name.len(), longest]).max().unwrap_or(0);
        }
        if rows > CHANGES_MAX {
            return Err(
                format!("ERR the stream would have {rows} rows: one command restores at most {CHANGES_MAX}").into()
            );
        }
        check_size(0, 1, Some(longest + 16))
    }
}
