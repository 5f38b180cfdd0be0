//! Walks over the keys of a database on a partition: SCAN, KEYS, DBSIZE, RANDOMKEY, FLUSHALL.
//!
//! Keys lie in hash order (see [`crate::keyspace`]), and a position in that order is a number of 40 bits that depends on
//! the key alone. A walk from position `p` looks at the keys whose position is `p` or later, and stops only between two
//! positions; where it goes on is the position after the last one it has done. So a key that is there throughout is met at
//! its position, whatever comes and goes around it, and a walk ends, because positions only grow. That is SCAN's promise,
//! and it needs no memory between calls. A key is met twice never.
//!
//! Invariant: one request looks at a bounded number of rows and answers a bounded number of bytes, but for keys that
//! share a position, which are always done together; two keys in 2^40 do by chance, and nobody can choose them without
//! breaking SipHash or trying some 2^40 keys for each.

use recoil_sdk::encoding::{DecodeError, Reader, push_bytes};
use recoil_sdk::storage::prefix_end;
use recoil_sdk::{Entry, KeyRange};

use crate::executor::Call;
use crate::glob;
use crate::keyspace::databases::DATABASES;
use crate::keyspace::{Failure, HASH_BITS, Outcome, Stored, key_of_row, row_prefix, space_prefix};
use crate::resp::push_simple;

/// Rows that one request looks at, at most.
const ROWS_MAX: u64 = 10_000;
/// Bytes of keys that one request answers with, about.
const KEYS_BYTES_MAX: usize = 256 << 10;
/// Rows in a page of the storage's.
const PAGE_ROWS: u64 = 1_000;

/// The position after which a walk goes on: the end of one.
pub(crate) const END: u64 = 0;

/// Look at rows from `from` on until `enough` says so between two positions. Answers where to go on, or [`END`].
fn walk(
    call: &mut Call<'_, '_>,
    from: u64,
    rows_max: u64,
    mut visit: impl FnMut(&[u8], &Stored) -> bool,
) -> Result<u64, Failure> {
    let now_us = call.keyspace.now_us();
    let space = call.keyspace.space()?;
    let mut range = KeyRange { start: row_prefix(space, from), end: prefix_end(&space_prefix(space)) };
    let (mut rows, mut enough, mut last) = (0, false, None);
    loop {
        let page_rows = (rows_max.saturating_sub(rows) + 1).min(PAGE_ROWS) as u32;
        let page = call.keyspace.transaction.scan(&range, page_rows, false)?;
        let Some(Entry { key: last_key, .. }) = page.last() else { return Ok(END) };
        range.start = [last_key, &b"\0"[..]].concat();
        for entry in page {
            let Some((position, key)) = key_of_row(&entry.key) else {
                return Err(Failure::Abort("ERR a row of the keyspace has a damaged key".into()));
            };
            if (enough || rows >= rows_max) && last != Some(position) {
                return Ok(position);
            }
            (last, rows) = (Some(position), rows + 1);
            let stored = Stored::decode(entry.value)?;
            if !stored.is_expired(now_us) {
                enough |= visit(key, &stored);
            }
        }
    }
}

/// `Op::Walk`: arguments are a position, how many keys to look at, a pattern and a type (empty for any). The answer is a
/// [`Walked`].
pub(crate) fn keys(call: &mut Call<'_, '_>) -> Outcome {
    let (from, count) = (call.arguments.number()?, call.arguments.number()?);
    let (pattern, kind) = (call.arguments.required()?, call.arguments.required()?);
    let mut found = Vec::new();
    let next = walk(call, from, count.clamp(1, ROWS_MAX), |key, stored| {
        let wanted = (kind.is_empty() || kind.eq_ignore_ascii_case(stored.kind.name().as_bytes()))
            && (pattern.is_empty() || glob::matches(pattern, key));
        if wanted {
            push_bytes(&mut found, key);
        }
        found.len() >= KEYS_BYTES_MAX
    })?;
    call.reply.extend_from_slice(&next.to_le_bytes());
    call.reply.append(&mut found);
    Ok(())
}

/// The answer to `Op::Walk`.
pub(crate) struct Walked<'a> {
    /// Where to go on, or [`END`].
    pub(crate) next: u64,
    keys: Reader<'a>,
}

impl<'a> Walked<'a> {
    pub(crate) fn decode(answer: &'a [u8]) -> Result<Self, DecodeError> {
        let mut keys = Reader::new(answer);
        Ok(Walked { next: keys.u64()?, keys })
    }

    /// Calls `visit` for each key found.
    pub(crate) fn for_each(mut self, mut visit: impl FnMut(&'a [u8])) -> Result<(), DecodeError> {
        while self.keys.remaining() > 0 {
            visit(self.keys.bytes()?);
        }
        Ok(())
    }
}

/// `Op::Count`: arguments are a position and how many rows to look at. The answer is a [`Counted`].
pub(crate) fn count(call: &mut Call<'_, '_>) -> Outcome {
    let (from, rows_max) = (call.arguments.number()?, call.arguments.number()?);
    let (mut keys, mut expiring) = (0u64, 0u64);
    let next = walk(call, from, rows_max.clamp(1, ROWS_MAX), |_, stored| {
        keys += 1;
        expiring += u64::from(stored.expire_at_us != 0);
        false
    })?;
    for number in [next, keys, expiring] {
        call.reply.extend_from_slice(&number.to_le_bytes());
    }
    Ok(())
}

/// The answer to `Op::Count`.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Counted {
    /// Where to go on, or [`END`].
    pub(crate) next: u64,
    /// Keys seen.
    pub(crate) keys: u64,
    /// Those of them that expire.
    pub(crate) expiring: u64,
}

impl Counted {
    pub(crate) fn decode(answer: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(answer);
        let counted = Counted::read(&mut reader)?;
        reader.finish()?;
        Ok(counted)
    }

    /// Take one off the front.
    pub(crate) fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Counted { next: reader.u64()?, keys: reader.u64()?, expiring: reader.u64()? })
    }

    /// How many the whole partition has, if this part, counted from its start, is like the rest. Exact when it is whole.
    pub(crate) fn extrapolated(self) -> Counted {
        if self.next == END {
            return self;
        }
        let scale = |part: u64| ((u128::from(part) << HASH_BITS) / u128::from(self.next)) as u64;
        Counted { next: END, keys: scale(self.keys), expiring: scale(self.expiring) }
    }
}

/// `Op::Random`: the argument is a random position. The answer is a bulk string, or null when there is no key.
pub(crate) fn random(call: &mut Call<'_, '_>) -> Outcome {
    let from = call.arguments.number()? & ((1 << HASH_BITS) - 1);
    let mut found = None;
    for start in [from, 0] {
        if found.is_none() {
            walk(call, start, ROWS_MAX, |key, _| {
                found.get_or_insert_with(|| key.to_vec());
                true
            })?;
        }
    }
    match found {
        Some(key) => crate::resp::push_bulk(&mut call.reply, &key),
        None => crate::resp::push_null(&mut call.reply, call.resp3),
    }
    Ok(())
}

/// `Op::CountDatabases`: the argument is how many rows of each to look at. The answer is a [`Counted`] for each database.
pub(crate) fn count_databases(call: &mut Call<'_, '_>) -> Outcome {
    let rows_max = call.arguments.number()?.clamp(1, ROWS_MAX);
    let occupied = call.keyspace.occupied_databases()?;
    for database in 0..DATABASES {
        let (mut next, mut keys, mut expiring) = (END, 0u64, 0u64);
        if occupied.contains(&database) {
            call.keyspace.select(database);
            next = walk(call, 0, rows_max, |_, stored| {
                keys += 1;
                expiring += u64::from(stored.expire_at_us != 0);
                false
            })?;
        }
        for number in [next, keys, expiring] {
            call.reply.extend_from_slice(&number.to_le_bytes());
        }
    }
    Ok(())
}

/// `Op::Flush` and `Op::FlushDatabase`: the keys of some databases go, whoever waits looks again, and scripts, functions and
/// what is known of connections stay.
pub(crate) fn flush(call: &mut Call<'_, '_>, databases: std::ops::Range<u8>) -> Outcome {
    call.keyspace.accept_any_routing();
    crate::blocking::wake(call.keyspace, |database| databases.contains(&database))?;
    for database in call.keyspace.occupied_databases()? {
        if databases.contains(&database) {
            call.keyspace.select(database);
            call.keyspace.flush_database()?;
        }
    }
    push_simple(&mut call.reply, "OK");
    Ok(())
}
