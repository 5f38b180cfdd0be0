//! HSCAN, SSCAN and ZSCAN.
//!
//! A cursor is a position in the hash order of the collection (see [`crate::elements`]), where the walk goes on; 0 is the
//! start and, as an answer, the end. It needs no memory on the server. What is in the collection throughout comes exactly
//! once; a small collection, and one that is deleted meanwhile, ends the walk at once.

use crate::arguments::{Options, is};
use crate::elements::Elements;
use crate::executor::Call;
use crate::glob;
use crate::keyspace::{Failure, Kind, Outcome};
use crate::numbers::{parse_i64, parse_u64, push_f64, push_u64};
use crate::resp::{push_array, push_bulk};
use crate::strings::{NOT_AN_INTEGER, SYNTAX};
use crate::zset::index::decode_score;

/// Elements that one call looks at, at most.
const ELEMENTS_MAX: u64 = 10_000;
/// Bytes that one call answers, about.
const REPLY_BYTES: usize = 1 << 20;

struct Scan<'a> {
    count: u64,
    pattern: Option<&'a [u8]>,
}

impl<'a> Scan<'a> {
    fn parse(options: &[&'a [u8]]) -> Result<Self, Failure> {
        let mut scan = Scan { count: 10, pattern: None };
        let mut options = Options(options);
        while let Some(option) = options.next() {
            let value = options.value()?;
            if is(option, "COUNT") {
                let count = parse_i64(value).ok_or(NOT_AN_INTEGER)?;
                scan.count = u64::try_from(count).ok().filter(|count| *count > 0).ok_or(SYNTAX)?;
            } else if is(option, "MATCH") {
                scan.pattern = Some(value);
            } else {
                return Err(SYNTAX.into());
            }
        }
        Ok(scan)
    }
}

/// One call of HSCAN, SSCAN or ZSCAN.
pub(crate) fn scan(call: &mut Call<'_, '_>, kind: Kind) -> Outcome {
    let (key, cursor) = (call.arguments.required()?, call.arguments.required()?);
    let cursor = parse_u64(cursor).ok_or("ERR invalid cursor")?;
    let options = call.rest()?;
    let elements = Elements::load(call.keyspace, key, kind)?;
    let (mut next, mut found, mut replies) = (0, Vec::new(), 0);
    if let Some(elements) = elements.filter(|_| cursor < 1 << 40) {
        let scan = Scan::parse(&options)?;
        let (wanted, mut seen) = (scan.count.min(ELEMENTS_MAX), 0);
        next = elements.walk(call.keyspace, cursor, |element, value| {
            seen += 1;
            if scan.pattern.is_none_or(|pattern| glob::matches(pattern, element)) {
                push_bulk(&mut found, element);
                replies += 1;
                if kind == Kind::Hash {
                    push_bulk(&mut found, value);
                    replies += 1;
                } else if kind == Kind::SortedSet {
                    let mut score = Vec::new();
                    push_f64(&mut score, decode_score(value)?);
                    push_bulk(&mut found, &score);
                    replies += 1;
                }
            }
            Ok(seen >= wanted || found.len() >= REPLY_BYTES)
        })?;
    }
    let mut cursor = Vec::new();
    push_u64(&mut cursor, next);
    push_array(&mut call.reply, 2);
    push_bulk(&mut call.reply, &cursor);
    push_array(&mut call.reply, replies);
    call.reply.append(&mut found);
    Ok(())
}
