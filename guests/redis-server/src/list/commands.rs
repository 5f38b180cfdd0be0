//! The commands on lists.
//!
//! Invariant: a command looks at everything that could refuse it before it writes anything.

use super::List;
use crate::arguments::{NUMKEYS, Options, integer, is, unsigned, window};
use crate::executor::Call;
use crate::keyspace::{Failure, Keyspace, Outcome, Value as _};
use crate::request::Op;
use crate::resp::{push_array, push_bulk, push_integer, push_null, push_null_array, push_simple};
use crate::strings::SYNTAX;
use crate::zset::parse_mpop;

/// Run a command on lists.
pub(crate) fn run(op: Op, call: &mut Call<'_, '_>) -> Outcome {
    match op {
        Op::LPush => push(call, true, false),
        Op::RPush => push(call, false, false),
        Op::LPushX => push(call, true, true),
        Op::RPushX => push(call, false, true),
        Op::LPop => pop(call, true, "lpop"),
        Op::RPop => pop(call, false, "rpop"),
        Op::LLen => {
            let key = call.arguments.required()?;
            let length = List::load(call.keyspace, key)?.map_or(0, |list| list.len());
            push_integer(&mut call.reply, length as i64);
            Ok(())
        }
        Op::LIndex => index(call),
        Op::LSet => set(call),
        Op::LRange => range(call),
        Op::LTrim => trim(call),
        Op::LRem => rem(call),
        Op::LInsert => insert(call),
        Op::LPos => pos(call),
        Op::LMove => lmove(call),
        Op::RPopLPush => {
            let (from, to) = (call.arguments.required()?, call.arguments.required()?);
            move_value(call, (from, false), (to, true))
        }
        Op::LMPop => mpop(call),
        _ => Err(Failure::Abort("ERR not a command on lists".into())),
    }
}

/// LPUSH, RPUSH, LPUSHX and RPUSHX.
fn push(call: &mut Call<'_, '_>, left: bool, only_if_present: bool) -> Outcome {
    let key = call.arguments.required()?;
    let values = call.rest()?;
    let mut list = match List::load(call.keyspace, key)? {
        Some(list) => list,
        None if only_if_present => {
            push_integer(&mut call.reply, 0);
            return Ok(());
        }
        None => List::new(),
    };
    for value in values {
        list.push(call.keyspace, value, left)?;
    }
    list.save(call.keyspace, key)?;
    push_integer(&mut call.reply, list.len() as i64);
    Ok(())
}

/// Take values off one end and write them to the reply, an array.
fn pop_many(call: &mut Call<'_, '_>, key: &[u8], list: &mut List, left: bool, count: u64) -> Outcome {
    let (length, count) = (list.len(), count.min(list.len()));
    push_array(&mut call.reply, count as usize);
    let Call { keyspace, reply, .. } = call;
    let first = if left { 0 } else { length.saturating_sub(1) };
    list.visit(keyspace, first, count, !left, |_, value| {
        push_bulk(reply, value);
        crate::executor::check_reply(reply)?;
        Ok(false)
    })?;
    list.trim(keyspace, if left { count } else { 0 }, length - count)?;
    list.save(keyspace, key)
}

/// LPOP and RPOP.
fn pop(call: &mut Call<'_, '_>, left: bool, command: &str) -> Outcome {
    let key = call.arguments.required()?;
    let options = call.rest()?;
    let count = match options[..] {
        [] => None,
        [count] => Some(unsigned(count, "ERR value is out of range, must be positive")?),
        _ => return Err(format!("ERR wrong number of arguments for '{command}' command").into()),
    };
    let Some(mut list) = List::load(call.keyspace, key)? else {
        match count {
            None => push_null(&mut call.reply, call.resp3),
            Some(_) => push_null_array(&mut call.reply, call.resp3),
        }
        return Ok(());
    };
    if let Some(count) = count {
        return pop_many(call, key, &mut list, left, count);
    }
    let value = list.pop(call.keyspace, left)?;
    list.save(call.keyspace, key)?;
    push_bulk(&mut call.reply, &value.unwrap_or_default());
    Ok(())
}

/// An index from either end, as one from the start; none if there is nothing.
fn resolve(index: i64, length: u64) -> Option<u64> {
    let index = if index < 0 { index.checked_add(length as i64)? } else { index };
    u64::try_from(index).ok().filter(|index| *index < length)
}

fn index(call: &mut Call<'_, '_>) -> Outcome {
    let (key, index) = (call.arguments.required()?, call.arguments.required()?);
    let list = List::load(call.keyspace, key)?;
    let index = integer(index)?;
    let value = match &list {
        Some(list) => resolve(index, list.len()).map_or(Ok(None), |index| list.get(call.keyspace, index))?,
        None => None,
    };
    match value {
        Some(value) => push_bulk(&mut call.reply, &value),
        None => push_null(&mut call.reply, call.resp3),
    }
    Ok(())
}

fn set(call: &mut Call<'_, '_>) -> Outcome {
    let (key, index, value) = (call.arguments.required()?, call.arguments.required()?, call.arguments.required()?);
    let mut list = List::load(call.keyspace, key)?.ok_or("ERR no such key")?;
    let index = resolve(integer(index)?, list.len()).ok_or("ERR index out of range")?;
    list.set(call.keyspace, index, value)?;
    list.save(call.keyspace, key)?;
    push_simple(&mut call.reply, "OK");
    Ok(())
}

fn range(call: &mut Call<'_, '_>) -> Outcome {
    let key = call.arguments.required()?;
    let (start, stop) = (call.integer()?, call.integer()?);
    let Some(list) = List::load(call.keyspace, key)? else {
        push_array(&mut call.reply, 0);
        return Ok(());
    };
    let (first, count) = window(start, stop, list.len());
    push_array(&mut call.reply, count as usize);
    let Call { keyspace, reply, .. } = call;
    list.visit(keyspace, first, count, false, |_, value| {
        push_bulk(reply, value);
        crate::executor::check_reply(reply)?;
        Ok(false)
    })
}

fn trim(call: &mut Call<'_, '_>) -> Outcome {
    let key = call.arguments.required()?;
    let (start, stop) = (call.integer()?, call.integer()?);
    if let Some(mut list) = List::load(call.keyspace, key)? {
        let (first, count) = window(start, stop, list.len());
        list.trim(call.keyspace, first, count)?;
        list.save(call.keyspace, key)?;
    }
    push_simple(&mut call.reply, "OK");
    Ok(())
}

fn rem(call: &mut Call<'_, '_>) -> Outcome {
    let (key, count, wanted) = (call.arguments.required()?, call.arguments.required()?, call.arguments.required()?);
    let count = integer(count)?;
    let mut found = Vec::new();
    if let Some(mut list) = List::load(call.keyspace, key)? {
        let limit = if count == 0 { u64::MAX } else { count.unsigned_abs() };
        let first = if count < 0 { list.len() - 1 } else { 0 };
        list.visit(call.keyspace, first, list.len(), count < 0, |index, value| {
            if value == wanted {
                found.push(index);
            }
            Ok(found.len() as u64 >= limit)
        })?;
        found.sort_unstable();
        list.remove(call.keyspace, &found)?;
        list.save(call.keyspace, key)?;
    }
    push_integer(&mut call.reply, found.len() as i64);
    Ok(())
}

fn insert(call: &mut Call<'_, '_>) -> Outcome {
    let (key, side) = (call.arguments.required()?, call.arguments.required()?);
    let (pivot, value) = (call.arguments.required()?, call.arguments.required()?);
    let after = match side {
        side if is(side, "AFTER") => true,
        side if is(side, "BEFORE") => false,
        _ => return Err(SYNTAX.into()),
    };
    let Some(mut list) = List::load(call.keyspace, key)? else {
        push_integer(&mut call.reply, 0);
        return Ok(());
    };
    let mut found = None;
    list.visit(call.keyspace, 0, list.len(), false, |index, candidate| {
        found = (candidate == pivot).then_some(index);
        Ok(found.is_some())
    })?;
    if let Some(index) = found {
        list.insert(call.keyspace, index + u64::from(after), value)?;
        list.save(call.keyspace, key)?;
    }
    push_integer(&mut call.reply, if found.is_some() { list.len() as i64 } else { -1 });
    Ok(())
}

fn pos(call: &mut Call<'_, '_>) -> Outcome {
    let (key, wanted) = (call.arguments.required()?, call.arguments.required()?);
    let options = call.rest()?;
    let (mut rank, mut count, mut length_max) = (1, None, 0);
    let mut options = Options(&options);
    while let Some(option) = options.next() {
        if is(option, "RANK") {
            rank = options.integer()?;
            if rank == 0 {
                return Err(
                    "ERR RANK can't be zero: use 1 to start from the first match, 2 from the second ... or use \
                            negative to start from the end of the list"
                        .into(),
                );
            }
            if rank == i64::MIN {
                return Err("ERR value is out of range, value must between -9223372036854775807 and \
                            9223372036854775807"
                    .into());
            }
        } else if is(option, "COUNT") {
            count = Some(unsigned(options.value()?, "ERR COUNT can't be negative")?);
        } else if is(option, "MAXLEN") {
            length_max = unsigned(options.value()?, "ERR MAXLEN can't be negative")?;
        } else {
            return Err(SYNTAX.into());
        }
    }
    let (mut found, mut skipped) = (Vec::new(), 0);
    if let Some(list) = List::load(call.keyspace, key)? {
        let limit = match count {
            None => 1,
            Some(0) => u64::MAX,
            Some(count) => count,
        };
        let (first, reverse) = if rank < 0 { (list.len() - 1, true) } else { (0, false) };
        let visited = if length_max == 0 { list.len() } else { length_max };
        list.visit(call.keyspace, first, visited, reverse, |index, value| {
            if value == wanted {
                skipped += 1;
                if skipped >= rank.unsigned_abs() {
                    found.push(index);
                }
            }
            Ok(found.len() as u64 >= limit)
        })?;
    }
    if count.is_some() {
        push_array(&mut call.reply, found.len());
    } else if found.is_empty() {
        push_null(&mut call.reply, call.resp3);
    }
    found.iter().for_each(|index| push_integer(&mut call.reply, *index as i64));
    Ok(())
}

/// `LEFT` is true.
pub(crate) fn parse_end(word: &[u8]) -> Result<bool, Failure> {
    match word {
        word if is(word, "LEFT") => Ok(true),
        word if is(word, "RIGHT") => Ok(false),
        _ => Err(SYNTAX.into()),
    }
}

fn lmove(call: &mut Call<'_, '_>) -> Outcome {
    let (from, to) = (call.arguments.required()?, call.arguments.required()?);
    let (from_left, to_left) = (parse_end(call.arguments.required()?)?, parse_end(call.arguments.required()?)?);
    move_value(call, (from, from_left), (to, to_left))
}

fn move_value(call: &mut Call<'_, '_>, from: (&[u8], bool), to: (&[u8], bool)) -> Outcome {
    match take_and_put(call.keyspace, from, to)? {
        Some(value) => push_bulk(&mut call.reply, &value),
        None => push_null(&mut call.reply, call.resp3),
    }
    Ok(())
}

/// Move a value from an end of one list to an end of another, or of the same.
fn take_and_put(
    keyspace: &mut Keyspace<'_>,
    (from, from_left): (&[u8], bool),
    (to, to_left): (&[u8], bool),
) -> Result<Option<Vec<u8>>, Failure> {
    let Some(mut source) = List::load(keyspace, from)? else { return Ok(None) };
    if from == to {
        let value = source.pop(keyspace, from_left)?.unwrap_or_default();
        source.push(keyspace, &value, to_left)?;
        source.save(keyspace, from)?;
        return Ok(Some(value));
    }
    let mut target = List::load_or_new(keyspace, to)?;
    let value = source.pop(keyspace, from_left)?.unwrap_or_default();
    target.push(keyspace, &value, to_left)?;
    source.save(keyspace, from)?;
    target.save(keyspace, to)?;
    Ok(Some(value))
}

/// LMPOP: from the first of the keys that has something.
fn mpop(call: &mut Call<'_, '_>) -> Outcome {
    let (keys, options) = call.counted_keys(NUMKEYS)?;
    let (right, count) = parse_mpop(&options, ("LEFT", "RIGHT"))?;
    for key in keys {
        let Some(mut list) = List::load(call.keyspace, key)? else { continue };
        push_array(&mut call.reply, 2);
        push_bulk(&mut call.reply, key);
        return pop_many(call, key, &mut list, !right, count);
    }
    push_null_array(&mut call.reply, call.resp3);
    Ok(())
}
