//! SORT and SORT_RO.
//!
//! `BY` and `GET` name keys by a pattern, whose `*` is an element. A handler has one partition, and keys with the hash tag of the
//! sorted one are there for certain; others are refused, unless there is one partition only.
//!
//! Invariant: whatever is refused is refused before anything is stored.

use std::cmp::Ordering;

use crate::arguments::{Options, is};
use crate::elements::{Elements, check_held};
use crate::executor::{CHANGES_MAX, Call};
use crate::keyspace::{Failure, Keyspace, Kind, Outcome, Stored, Value as _, WRONG_TYPE, hash_tag};
use crate::list::List;
use crate::numbers::parse_f64;
use crate::resp::{push_array, push_bulk, push_integer, push_null};
use crate::strings::SYNTAX;
use crate::zset::{Span, members};

const NO_NUMBERS: &str = "ERR One or more scores can't be converted into double";

/// What a command asks for.
struct Sort<'a> {
    by: Option<&'a [u8]>,
    get: Vec<&'a [u8]>,
    limit: (i64, i64),
    descending: bool,
    by_text: bool,
    store: Option<&'a [u8]>,
}

impl<'a> Sort<'a> {
    fn parse(options: &[&'a [u8]], may_store: bool) -> Result<Self, Failure> {
        let (mut options, limit) = (Options(options), (0, -1));
        let mut sort = Sort { by: None, get: Vec::new(), limit, descending: false, by_text: false, store: None };
        while let Some(option) = options.next() {
            let more = options.0.len();
            if is(option, "ASC") {
                sort.descending = false;
            } else if is(option, "DESC") {
                sort.descending = true;
            } else if is(option, "ALPHA") {
                sort.by_text = true;
            } else if is(option, "LIMIT") && more > 1 {
                sort.limit = (options.integer()?, options.integer()?);
            } else if may_store && is(option, "STORE") && more > 0 {
                sort.store = Some(options.value()?);
            } else if is(option, "BY") && more > 0 {
                sort.by = Some(options.value()?);
            } else if is(option, "GET") && more > 0 {
                sort.get.push(options.value()?);
            } else {
                return Err(SYNTAX.into());
            }
        }
        Ok(sort)
    }

    /// A pattern without `*` says that nothing is to be sorted.
    fn keeps_order(&self) -> bool {
        self.by.is_some_and(|pattern| !pattern.contains(&b'*'))
    }
}

/// Where the keys of patterns must be.
struct Place<'a> {
    tag: &'a [u8],
    /// There is one partition, so they are there whatever their tags are.
    alone: bool,
}

impl Place<'_> {
    /// What a pattern means for an element: none if there is nothing, or nothing of that kind.
    fn look_up(&self, keyspace: &mut Keyspace<'_>, pattern: &[u8], element: &[u8]) -> Result<Option<Vec<u8>>, Failure> {
        if pattern == b"#" {
            return Ok(Some(element.to_vec()));
        }
        let Some(star) = pattern.iter().position(|byte| *byte == b'*') else { return Ok(None) };
        let behind = &pattern[star + 1..];
        // A field of a hash, unless nothing follows the arrow.
        let arrow = behind.windows(2).position(|pair| pair == b"->").filter(|at| at + 2 < behind.len());
        let (behind, field) = match arrow {
            Some(at) => (&behind[..at], Some(&behind[at + 2..])),
            None => (behind, None),
        };
        let key = [&pattern[..star], element, behind].concat();
        if !self.alone && hash_tag(&key) != self.tag {
            let key = String::from_utf8_lossy(&key).into_owned();
            return Err(format!(
                "CROSSSLOT Keys in request don't hash to the same slot: BY and GET would look up '{key}', which has not the hash \
                 tag of the sorted key; name both with one, as in {{user1}}:list and {{user1}}:weight_*"
            )
            .into());
        }
        let Some(stored) = keyspace.load(&key)? else { return Ok(None) };
        match (stored.kind, field) {
            (Kind::String, None) => Ok(Some(stored.payload().to_vec())),
            (Kind::Hash, Some(field)) => Elements::decode(&stored)?.get(keyspace, field),
            _ => Ok(None),
        }
    }
}

/// An element as a number; an empty one is 0, as in Redis.
fn number(text: &[u8]) -> Result<f64, Failure> {
    if text.is_empty() { Ok(0.0) } else { parse_f64(text).ok_or_else(|| NO_NUMBERS.into()) }
}

/// An element, and what it is sorted by.
struct Item {
    element: Vec<u8>,
    score: f64,
    /// None is before all texts.
    text: Option<Vec<u8>>,
}

/// The elements of a key in the order in which it has them.
fn elements(keyspace: &Keyspace<'_>, stored: &Stored) -> Result<Vec<Vec<u8>>, Failure> {
    let (mut found, mut bytes) = (Vec::new(), 0);
    let mut add = |element: &[u8]| -> Result<(), Failure> {
        bytes += element.len() as u64;
        check_held(found.len() as u64, bytes)?;
        found.push(element.to_vec());
        Ok(())
    };
    match stored.kind {
        Kind::List => {
            let list = List::decode(stored)?;
            list.visit(keyspace, 0, list.len(), false, |_, value| add(value).map(|()| false))?;
        }
        Kind::Set => {
            let set = Elements::decode(stored)?;
            set.walk(keyspace, 0, |member, _| add(member).map(|()| false))?;
        }
        Kind::SortedSet => {
            let set = Elements::decode(stored)?;
            check_held(set.len(), set.bytes())?;
            for member in members(keyspace, &set, &Span::all(), false, (0, u64::MAX))? {
                add(&member.name)?;
            }
        }
        _ => return Err(WRONG_TYPE.into()),
    }
    Ok(found)
}

fn compare(by_text: bool, has_by: bool, left: &Item, right: &Item) -> Ordering {
    match (by_text, has_by) {
        (false, _) => left.score.total_cmp(&right.score).then_with(|| left.element.cmp(&right.element)),
        (true, true) => left.text.cmp(&right.text),
        (true, false) => left.element.cmp(&right.element),
    }
}

/// SORT, and SORT_RO, which may not store.
pub(crate) fn sort(call: &mut Call<'_, '_>, may_store: bool) -> Outcome {
    let key = call.arguments.required()?;
    let options = call.rest()?;
    let mut sort = Sort::parse(&options, may_store)?;
    let stored = call.keyspace.load(key)?;
    let mut found = stored.as_ref().map_or(Ok(Vec::new()), |stored| elements(call.keyspace, stored))?;
    let database = call.keyspace.database();
    let alone = call.keyspace.transaction.place().count == 1 || call.keyspace.holds_whole(database);
    let place = Place { tag: hash_tag(key), alone };
    let mut keeps_order = sort.keeps_order();
    if keeps_order && sort.store.is_some() && stored.as_ref().is_some_and(|stored| stored.kind == Kind::Set) {
        // What is stored must not depend on how a set is kept.
        (keeps_order, sort.by, sort.by_text) = (false, None, true);
    }
    if keeps_order {
        if sort.descending && stored.is_some_and(|stored| stored.kind == Kind::SortedSet) {
            found.reverse();
        }
    } else {
        found = in_order(call.keyspace, &sort, &place, found)?;
    }
    let length = found.len() as i64;
    let start = sort.limit.0.clamp(0, length);
    let end = if sort.limit.1 < 0 { length } else { start.saturating_add(sort.limit.1).min(length) };
    found.truncate(end as usize);
    found.drain(..start as usize);
    let found = pick(call.keyspace, &sort, &place, found)?;
    match sort.store {
        Some(target) => store(call, target, found),
        None => {
            push_array(&mut call.reply, found.len());
            for value in found {
                match value {
                    Some(value) => push_bulk(&mut call.reply, &value),
                    None => push_null(&mut call.reply, call.resp3),
                }
                call.check_reply()?;
            }
            Ok(())
        }
    }
}

fn in_order(
    keyspace: &mut Keyspace<'_>,
    sort: &Sort<'_>,
    place: &Place<'_>,
    found: Vec<Vec<u8>>,
) -> Result<Vec<Vec<u8>>, Failure> {
    let (mut items, mut bytes) = (Vec::with_capacity(found.len()), 0);
    for element in found {
        let text = match sort.by {
            Some(pattern) => place.look_up(keyspace, pattern, &element)?,
            None => None,
        };
        bytes += (element.len() + text.as_ref().map_or(0, Vec::len)) as u64;
        check_held(items.len() as u64, bytes)?;
        let score = match (sort.by_text, sort.by, &text) {
            (true, _, _) | (_, Some(_), None) => 0.0,
            (_, Some(_), Some(text)) => number(text)?,
            (_, None, _) => number(&element)?,
        };
        items.push(Item { element, score: score + 0.0, text });
    }
    items.sort_by(|left, right| {
        let order = compare(sort.by_text, sort.by.is_some(), left, right);
        if sort.descending { order.reverse() } else { order }
    });
    Ok(items.into_iter().map(|item| item.element).collect())
}

/// What GET asks for, of each element.
fn pick(
    keyspace: &mut Keyspace<'_>,
    sort: &Sort<'_>,
    place: &Place<'_>,
    found: Vec<Vec<u8>>,
) -> Result<Vec<Option<Vec<u8>>>, Failure> {
    if sort.get.is_empty() {
        return Ok(found.into_iter().map(Some).collect());
    }
    let (mut picked, mut bytes) = (Vec::new(), 0);
    for element in found {
        for pattern in &sort.get {
            let value = place.look_up(keyspace, pattern, &element)?;
            bytes += value.as_ref().map_or(0, Vec::len) as u64;
            check_held(picked.len() as u64, bytes)?;
            picked.push(value);
        }
    }
    Ok(picked)
}

fn store(call: &mut Call<'_, '_>, target: &[u8], found: Vec<Option<Vec<u8>>>) -> Outcome {
    let count = found.len();
    if count as u64 > CHANGES_MAX {
        return Err(format!("ERR {count} elements would be stored: one command writes at most {CHANGES_MAX}").into());
    }
    if count == 0 {
        if let Some(before) = call.keyspace.load(target)? {
            call.keyspace.remove(target, &before)?;
        }
    } else {
        let mut list = List::new();
        for value in found {
            list.push(call.keyspace, &value.unwrap_or_default(), false)?;
        }
        list.save_as_new(call.keyspace, target, 0)?;
    }
    push_integer(&mut call.reply, count as i64);
    Ok(())
}
