//! DUMP and RESTORE: values in Redis' own format, that of its snapshots.
//!
//! ```text
//! payload    type (1) | value | version (2, little-endian) | CRC-64 of all before it (8, little-endian)
//! ```
//!
//! What is written has version 10 and the plain types 0, 1, 2, 4, 5 and 19, which Redis from 7.0 on and Valkey read. What is read
//! are the types 0 to 21 up to version 11, but for modules; see [`rdb`] for numbers and strings, [`compact`] for the four compact
//! encodings, [`lzf`] for compression, [`streams`] for streams.
//!
//! Invariant: a payload is read to its last byte before anything is stored, and everything in it is checked: lengths, pairs,
//! duplicates, order, NaN. Memory is bounded by the size of a command: nothing is reserved for what a length only claims.

mod compact;
mod lzf;
mod rdb;
mod streams;

use std::collections::HashSet;

use crc::{CRC_64_REDIS, Crc};

use crate::arguments::{Options, integer, is};
use crate::elements::{ELEMENT_BYTES_MAX, Element, Elements};
use crate::executor::{CHANGES_MAX, Call};
use crate::keyspace::{Failure, Keyspace, Kind, Outcome, STRING_BYTES_MAX, Stored, Value as _};
use crate::list::List;
use crate::resp::{push_bulk, push_null, push_simple};
use crate::strings::{SYNTAX, expiry_of_ms};
use crate::zset::index::{decode_score, encode_score};
use rdb::{Damage, Input};
use streams::DumpedStream;

const CHECKSUM: Crc<u64> = Crc::<u64>::new(&CRC_64_REDIS);
/// The version that is written.
const VERSION_WRITTEN: u16 = 10;
/// The highest version that is read.
const VERSION_READ_MAX: u16 = 11;
/// Version and checksum.
const FOOTER_BYTES: usize = 10;
const WRONG_FOOTER: &str = "ERR DUMP payload version or checksum are wrong";
const BAD_FORMAT: &str = "ERR Bad data format";

mod kind {
    //! Redis' numbers of the types.
    pub(super) const STRING: u8 = 0;
    pub(super) const LIST: u8 = 1;
    pub(super) const SET: u8 = 2;
    pub(super) const ZSET: u8 = 3;
    pub(super) const HASH: u8 = 4;
    pub(super) const ZSET_2: u8 = 5;
    pub(super) const HASH_ZIPMAP: u8 = 9;
    pub(super) const LIST_ZIPLIST: u8 = 10;
    pub(super) const SET_INTSET: u8 = 11;
    pub(super) const ZSET_ZIPLIST: u8 = 12;
    pub(super) const HASH_ZIPLIST: u8 = 13;
    pub(super) const LIST_QUICKLIST: u8 = 14;
    pub(super) const STREAM_LISTPACKS: u8 = 15;
    pub(super) const HASH_LISTPACK: u8 = 16;
    pub(super) const ZSET_LISTPACK: u8 = 17;
    pub(super) const LIST_QUICKLIST_2: u8 = 18;
    pub(super) const STREAM_LISTPACKS_2: u8 = 19;
    pub(super) const SET_LISTPACK: u8 = 20;
    pub(super) const STREAM_LISTPACKS_3: u8 = 21;
}

/// A value in memory.
#[derive(Debug, PartialEq)]
enum Dumped {
    String(Vec<u8>),
    List(Vec<Vec<u8>>),
    Set(Vec<Vec<u8>>),
    SortedSet(Vec<(Vec<u8>, f64)>),
    Hash(Vec<(Vec<u8>, Vec<u8>)>),
    Stream(DumpedStream),
}

/// Why a payload is not restored.
#[derive(Debug, PartialEq, Eq)]
enum Refusal {
    Footer,
    Format,
}

/// The value in a payload.
fn decode(payload: &[u8]) -> Result<Dumped, Refusal> {
    let at = payload.len().checked_sub(FOOTER_BYTES).ok_or(Refusal::Footer)?;
    let (body, footer) = payload.split_at(at);
    let version = u16::from_le_bytes([footer[0], footer[1]]);
    let (checked, checksum) = payload.split_at(payload.len() - 8);
    if version > VERSION_READ_MAX || CHECKSUM.checksum(checked).to_le_bytes() != checksum {
        return Err(Refusal::Footer);
    }
    decode_value(body).map_err(|Damage| Refusal::Format)
}

fn decode_value(body: &[u8]) -> Result<Dumped, Damage> {
    let mut input = Input::new(body);
    let kind = input.byte()?;
    let value = match kind {
        kind::STRING => Dumped::String(input.string()?),
        kind::LIST => Dumped::List(input.strings()?),
        kind::LIST_ZIPLIST => Dumped::List(input.compact(compact::ziplist)?),
        kind::LIST_QUICKLIST | kind::LIST_QUICKLIST_2 => Dumped::List(quicklist(&mut input, kind)?),
        kind::SET => Dumped::Set(input.strings()?),
        kind::SET_INTSET => Dumped::Set(input.compact(compact::intset)?),
        kind::SET_LISTPACK => Dumped::Set(input.compact(compact::listpack)?),
        kind::HASH => Dumped::Hash(input.pairs()?),
        kind::HASH_ZIPMAP => Dumped::Hash(pairs(input.compact(compact::zipmap)?)?),
        kind::HASH_ZIPLIST => Dumped::Hash(pairs(input.compact(compact::ziplist)?)?),
        kind::HASH_LISTPACK => Dumped::Hash(pairs(input.compact(compact::listpack)?)?),
        kind::ZSET | kind::ZSET_2 => Dumped::SortedSet(input.scores(kind == kind::ZSET_2)?),
        kind::ZSET_ZIPLIST => Dumped::SortedSet(scores(input.compact(compact::ziplist)?)?),
        kind::ZSET_LISTPACK => Dumped::SortedSet(scores(input.compact(compact::listpack)?)?),
        kind::STREAM_LISTPACKS | kind::STREAM_LISTPACKS_2 | kind::STREAM_LISTPACKS_3 => {
            Dumped::Stream(streams::decode(&mut input, kind)?)
        }
        _ => return Err(Damage),
    };
    if !input.0.is_empty() {
        return Err(Damage);
    }
    check(&value)?;
    Ok(value)
}

fn quicklist(input: &mut Input<'_>, kind: u8) -> Result<Vec<Vec<u8>>, Damage> {
    const PLAIN: u64 = 1;
    const PACKED: u64 = 2;
    let mut values = Vec::new();
    for _ in 0..input.length()? {
        let container = if kind == kind::LIST_QUICKLIST_2 { input.length()? } else { 0 };
        match container {
            0 if kind == kind::LIST_QUICKLIST => values.append(&mut input.compact(compact::ziplist)?),
            PLAIN => values.push(input.string()?),
            PACKED => values.append(&mut input.compact(compact::listpack)?),
            _ => return Err(Damage),
        }
    }
    Ok(values)
}

fn pairs(items: Vec<Vec<u8>>) -> Result<Vec<Element>, Damage> {
    if !items.len().is_multiple_of(2) {
        return Err(Damage);
    }
    let (mut items, mut pairs) = (items.into_iter(), Vec::new());
    while let (Some(name), Some(value)) = (items.next(), items.next()) {
        pairs.push((name, value));
    }
    Ok(pairs)
}

fn scores(items: Vec<Vec<u8>>) -> Result<Vec<(Vec<u8>, f64)>, Damage> {
    let with_score = |(name, score): (Vec<u8>, Vec<u8>)| Ok((name, rdb::score(&score)?));
    pairs(items)?.into_iter().map(with_score).collect()
}

/// Refuse what no server holds: empty collections, elements that are there twice, scores that are no numbers.
fn check(value: &Dumped) -> Result<(), Damage> {
    fn distinct<'a>(mut names: impl Iterator<Item = &'a Vec<u8>>) -> bool {
        let mut seen = HashSet::new();
        names.all(|name| seen.insert(name))
    }
    let sound = match value {
        Dumped::String(_) | Dumped::Stream(_) => true,
        Dumped::List(values) => !values.is_empty(),
        Dumped::Set(members) => !members.is_empty() && distinct(members.iter()),
        Dumped::Hash(fields) => !fields.is_empty() && distinct(fields.iter().map(|(name, _)| name)),
        Dumped::SortedSet(members) => {
            !members.is_empty()
                && members.iter().all(|(_, score)| !score.is_nan())
                && distinct(members.iter().map(|(name, _)| name))
        }
    };
    if sound { Ok(()) } else { Err(Damage) }
}

/// The payload of a value.
fn encode(value: &Dumped) -> Vec<u8> {
    let mut out = Vec::new();
    let push_count = |out: &mut Vec<u8>, kind: u8, count: usize| {
        out.push(kind);
        rdb::push_length(out, count as u64);
    };
    match value {
        Dumped::String(string) => {
            out.push(kind::STRING);
            rdb::push_string(&mut out, string);
        }
        Dumped::List(values) | Dumped::Set(values) => {
            let kind = if matches!(value, Dumped::List(_)) { kind::LIST } else { kind::SET };
            push_count(&mut out, kind, values.len());
            values.iter().for_each(|value| rdb::push_string(&mut out, value));
        }
        Dumped::Hash(fields) => {
            push_count(&mut out, kind::HASH, fields.len());
            for (name, value) in fields {
                rdb::push_string(&mut out, name);
                rdb::push_string(&mut out, value);
            }
        }
        Dumped::SortedSet(members) => {
            push_count(&mut out, kind::ZSET_2, members.len());
            for (name, score) in members {
                rdb::push_string(&mut out, name);
                out.extend_from_slice(&score.to_le_bytes());
            }
        }
        Dumped::Stream(stream) => {
            out.push(kind::STREAM_LISTPACKS_2);
            streams::encode(&mut out, stream);
        }
    }
    out.extend_from_slice(&VERSION_WRITTEN.to_le_bytes());
    let checksum = CHECKSUM.checksum(&out);
    out.extend_from_slice(&checksum.to_le_bytes());
    out
}

/// The value of a key.
fn load(keyspace: &Keyspace<'_>, stored: &Stored) -> Result<Dumped, Failure> {
    if stored.kind == Kind::String {
        return Ok(Dumped::String(stored.payload().to_vec()));
    }
    if stored.kind == Kind::List {
        let (list, mut values, mut bytes) = (List::decode(stored)?, Vec::new(), 0);
        list.visit(keyspace, 0, list.len(), false, |_, value| {
            bytes += value.len() as u64;
            crate::elements::check_held(values.len() as u64, bytes)?;
            values.push(value.to_vec());
            Ok(false)
        })?;
        return Ok(Dumped::List(values));
    }
    if stored.kind == Kind::Stream {
        return streams::load(keyspace, stored).map(Dumped::Stream);
    }
    let all = Elements::decode(stored)?.all(keyspace)?;
    Ok(match stored.kind {
        Kind::Hash => Dumped::Hash(all),
        Kind::SortedSet => {
            let mut members = Vec::with_capacity(all.len());
            for (name, score) in all {
                let score = decode_score(&score)?;
                members.push((name, score));
            }
            Dumped::SortedSet(members)
        }
        _ => Dumped::Set(all.into_iter().map(|(name, _)| name).collect()),
    })
}

fn check_size(count: usize, rows: u64, longest: Option<usize>) -> Outcome {
    let max = CHANGES_MAX / rows;
    if count as u64 > max {
        return Err(
            format!("ERR the value has {count} elements: one command restores at most {max} of this type").into()
        );
    }
    if longest.is_some_and(|longest| longest > ELEMENT_BYTES_MAX) {
        return Err(format!("ERR the value has an element of more than {ELEMENT_BYTES_MAX} bytes").into());
    }
    Ok(())
}

/// Make a value that of a key, whatever is there.
fn store(keyspace: &mut Keyspace<'_>, key: &[u8], value: Dumped, expire_at_us: u64) -> Outcome {
    match value {
        Dumped::String(string) if string.len() > STRING_BYTES_MAX => {
            Err("ERR string exceeds maximum allowed size (proto-max-bulk-len)".into())
        }
        Dumped::String(string) => {
            let before = keyspace.load(key)?;
            keyspace.store(key, Kind::String, &[&string], expire_at_us, before.as_ref())
        }
        Dumped::List(values) => {
            check_size(values.len(), 1, None)?;
            let mut list = List::new();
            values.iter().try_for_each(|value| list.push(keyspace, value, false))?;
            list.save_as_new(keyspace, key, expire_at_us)
        }
        Dumped::Set(members) => {
            check_size(members.len(), 1, members.iter().map(Vec::len).max())?;
            let mut set = Elements::new(Kind::Set);
            members.iter().try_for_each(|member| set.add(keyspace, member, b""))?;
            set.save_as_new(keyspace, key, expire_at_us)
        }
        Dumped::Hash(fields) => {
            check_size(fields.len(), 1, fields.iter().map(|(name, _)| name.len()).max())?;
            let mut hash = Elements::new(Kind::Hash);
            fields.iter().try_for_each(|(name, value)| hash.add(keyspace, name, value))?;
            hash.save_as_new(keyspace, key, expire_at_us)
        }
        Dumped::SortedSet(members) => {
            check_size(members.len(), 3, members.iter().map(|(name, _)| name.len()).max())?;
            let mut set = Elements::new(Kind::SortedSet);
            members.iter().try_for_each(|(name, score)| set.add(keyspace, name, &encode_score(*score)))?;
            set.save_as_new(keyspace, key, expire_at_us)
        }
        Dumped::Stream(stream) => stream.store(keyspace)?.save_as_new(keyspace, key, expire_at_us),
    }
}

/// DUMP.
pub(crate) fn dump(call: &mut Call<'_, '_>) -> Outcome {
    let key = call.arguments.required()?;
    match call.keyspace.load(key)? {
        None => push_null(&mut call.reply, call.resp3),
        Some(stored) => push_bulk(&mut call.reply, &encode(&load(call.keyspace, &stored)?)),
    }
    call.check_reply()
}

/// What RESTORE's options say. Idle times and frequencies are checked, and kept nowhere.
#[derive(Default)]
struct RestoreOptions {
    replace: bool,
    absolute: bool,
}

impl RestoreOptions {
    fn parse(options: &[&[u8]]) -> Result<Self, Failure> {
        let (mut options, mut parsed, mut idle, mut frequency) =
            (Options(options), RestoreOptions::default(), false, false);
        while let Some(option) = options.next() {
            let more = !options.0.is_empty();
            if is(option, "REPLACE") {
                parsed.replace = true;
            } else if is(option, "ABSTTL") {
                parsed.absolute = true;
            } else if is(option, "IDLETIME") && more && !frequency {
                if options.integer()? < 0 {
                    return Err("ERR Invalid IDLETIME value, must be >= 0".into());
                }
                idle = true;
            } else if is(option, "FREQ") && more && !idle {
                if !(0..=255).contains(&options.integer()?) {
                    return Err("ERR Invalid FREQ value, must be >= 0 and <= 255".into());
                }
                frequency = true;
            } else {
                return Err(SYNTAX.into());
            }
        }
        Ok(parsed)
    }
}

/// RESTORE.
pub(crate) fn restore(call: &mut Call<'_, '_>) -> Outcome {
    let (key, ttl, payload) = (call.arguments.required()?, call.arguments.required()?, call.arguments.required()?);
    let options = call.rest()?;
    let options = RestoreOptions::parse(&options)?;
    let before = call.keyspace.load(key)?;
    if before.is_some() && !options.replace {
        return Err("BUSYKEY Target key name already exists.".into());
    }
    let ttl_ms = u64::try_from(integer(ttl)?).map_err(|_| "ERR Invalid TTL value, must be >= 0")?;
    let value = decode(payload).map_err(|refusal| match refusal {
        Refusal::Footer => WRONG_FOOTER,
        Refusal::Format => BAD_FORMAT,
    })?;
    let now_us = call.keyspace.now_us();
    let from_ms = if options.absolute { 0 } else { now_us / 1000 };
    let at_ms = i128::from(ttl_ms) + i128::from(from_ms);
    let expire_at_us = if ttl_ms == 0 { 0 } else { expiry_of_ms(at_ms.min(i128::from(i64::MAX))) as u64 };
    if expire_at_us != 0 && expire_at_us <= now_us {
        // Over before it began.
        if let Some(before) = &before {
            call.keyspace.remove(key, before)?;
        }
    } else {
        store(call.keyspace, key, value, expire_at_us)?;
    }
    push_simple(&mut call.reply, "OK");
    Ok(())
}

/// Give a payload the right end, whatever that was, and read it. What is read survives being written; the first time but for
/// when consumers were last active, for which the format that is written has no room.
#[cfg(not(target_arch = "wasm32"))]
pub(crate) fn fuzz(input: &[u8]) {
    assert!(decode(input).is_err() || input.len() > FOOTER_BYTES);
    let mut payload = [input, &VERSION_READ_MAX.to_le_bytes()].concat();
    let checksum = CHECKSUM.checksum(&payload);
    payload.extend_from_slice(&checksum.to_le_bytes());
    if let Ok(value) = decode(&payload) {
        let again = decode(&encode(&value)).expect("what is written can be read");
        assert_eq!(decode(&encode(&again)), Ok(again));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_is_that_of_redis() {
        assert_eq!(CHECKSUM.checksum(b"123456789"), 0xe9c6_d914_c4b8_d9ca);
    }
}
