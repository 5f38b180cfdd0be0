//! Hashes, on their partition.
//!
//! Invariant: a command looks at everything that could refuse it before it writes anything.

use crate::arguments::{integer, is};
use crate::elements::Elements;
use crate::executor::Call;
use crate::keyspace::{Failure, Kind, Outcome, Value as _};
use crate::numbers::{self, FractionError, parse_i64, push_i64};
use crate::request::Op;
use crate::resp::{push_array, push_bulk, push_integer, push_map, push_null, push_simple};
use crate::{sampling, scans};

fn load(call: &mut Call<'_, '_>) -> Result<Option<Elements>, Failure> {
    let key = call.arguments.required()?;
    Elements::load(call.keyspace, key, Kind::Hash)
}

/// Run a command on a hash.
pub(crate) fn run(op: Op, call: &mut Call<'_, '_>) -> Outcome {
    match op {
        Op::HSet => set(call, "hset"),
        Op::HMSet => set(call, "hmset"),
        Op::HSetNx => setnx(call),
        Op::HGet => get(call),
        Op::HMGet => mget(call),
        Op::HGetAll => all(call, true, true),
        Op::HKeys => all(call, true, false),
        Op::HVals => all(call, false, true),
        Op::HDel => del(call),
        Op::HLen => {
            let length = load(call)?.map_or(0, |hash| hash.len());
            push_integer(&mut call.reply, length as i64);
            Ok(())
        }
        Op::HExists => {
            let value = value(call)?;
            push_integer(&mut call.reply, i64::from(value.is_some()));
            Ok(())
        }
        Op::HStrLen => {
            let value = value(call)?;
            push_integer(&mut call.reply, value.map_or(0, |value| value.len() as i64));
            Ok(())
        }
        Op::HIncrBy => increment(call),
        Op::HIncrByFloat => increment_float(call),
        Op::HRandField => sampling::random(call, Kind::Hash, Some("WITHVALUES")),
        Op::HScan => scans::scan(call, Kind::Hash),
        _ => Err(Failure::Abort("ERR not a command on hashes".into())),
    }
}

/// HSET and HMSET.
fn set(call: &mut Call<'_, '_>, command: &str) -> Outcome {
    let key = call.arguments.required()?;
    let pairs = call.rest()?;
    if pairs.is_empty() || !pairs.len().is_multiple_of(2) {
        return Err(format!("ERR wrong number of arguments for '{command}' command").into());
    }
    let mut hash = Elements::load_or_new(call.keyspace, key, Kind::Hash)?;
    let mut added = 0;
    for pair in pairs.chunks_exact(2) {
        added += i64::from(hash.put(call.keyspace, pair[0], pair[1])?.is_none());
    }
    hash.save(call.keyspace, key)?;
    if command == "hset" {
        push_integer(&mut call.reply, added);
    } else {
        push_simple(&mut call.reply, "OK");
    }
    Ok(())
}

fn setnx(call: &mut Call<'_, '_>) -> Outcome {
    let (key, field, value) = (call.arguments.required()?, call.arguments.required()?, call.arguments.required()?);
    let mut hash = Elements::load_or_new(call.keyspace, key, Kind::Hash)?;
    let absent = hash.get(call.keyspace, field)?.is_none();
    if absent {
        hash.add(call.keyspace, field, value)?;
        hash.save(call.keyspace, key)?;
    }
    push_integer(&mut call.reply, i64::from(absent));
    Ok(())
}

/// The value of the field that follows the key.
fn value(call: &mut Call<'_, '_>) -> Result<Option<Vec<u8>>, Failure> {
    let hash = load(call)?;
    let field = call.arguments.required()?;
    hash.map_or(Ok(None), |hash| hash.get(call.keyspace, field))
}

fn push_value(call: &mut Call<'_, '_>, value: Option<&[u8]>) {
    match value {
        Some(value) => push_bulk(&mut call.reply, value),
        None => push_null(&mut call.reply, call.resp3),
    }
}

fn get(call: &mut Call<'_, '_>) -> Outcome {
    let value = value(call)?;
    push_value(call, value.as_deref());
    Ok(())
}

fn mget(call: &mut Call<'_, '_>) -> Outcome {
    let hash = load(call)?;
    let fields = call.rest()?;
    push_array(&mut call.reply, fields.len());
    for chunk in fields.chunks(64) {
        let values = match &hash {
            Some(hash) => hash.get_many(call.keyspace, chunk)?,
            None => vec![None; chunk.len()],
        };
        values.iter().for_each(|value| push_value(call, value.as_deref()));
        call.check_reply()?;
    }
    Ok(())
}

/// HGETALL, HKEYS and HVALS.
fn all(call: &mut Call<'_, '_>, fields: bool, values: bool) -> Outcome {
    let hash = load(call)?;
    let length = hash.as_ref().map_or(0, Elements::len) as usize;
    if fields && values {
        push_map(&mut call.reply, call.resp3, length);
    } else {
        push_array(&mut call.reply, length);
    }
    let Some(hash) = hash else { return Ok(()) };
    let Call { keyspace, reply, .. } = call;
    hash.walk(keyspace, 0, |field, value| {
        if fields {
            push_bulk(reply, field);
        }
        if values {
            push_bulk(reply, value);
        }
        crate::executor::check_reply(reply)?;
        Ok(false)
    })?;
    Ok(())
}

fn del(call: &mut Call<'_, '_>) -> Outcome {
    let key = call.arguments.required()?;
    let fields = call.rest()?;
    let mut removed = 0;
    if let Some(mut hash) = Elements::load(call.keyspace, key, Kind::Hash)? {
        for field in fields {
            removed += i64::from(hash.remove(call.keyspace, field)?.is_some());
        }
        hash.save(call.keyspace, key)?;
    }
    push_integer(&mut call.reply, removed);
    Ok(())
}

fn increment(call: &mut Call<'_, '_>) -> Outcome {
    let (key, field, amount) = (call.arguments.required()?, call.arguments.required()?, call.arguments.required()?);
    let amount = integer(amount)?;
    let mut hash = Elements::load_or_new(call.keyspace, key, Kind::Hash)?;
    let old = hash.get(call.keyspace, field)?;
    let number = old.as_deref().map_or(Some(0), parse_i64).ok_or("ERR hash value is not an integer")?;
    let sum = number.checked_add(amount).ok_or("ERR increment or decrement would overflow")?;
    let mut text = Vec::with_capacity(20);
    push_i64(&mut text, sum);
    hash.put_over(call.keyspace, field, &text, old.as_deref())?;
    hash.save(call.keyspace, key)?;
    push_integer(&mut call.reply, sum);
    Ok(())
}

fn increment_float(call: &mut Call<'_, '_>) -> Outcome {
    let (key, field, amount) = (call.arguments.required()?, call.arguments.required()?, call.arguments.required()?);
    let amount_value = crate::arguments::float(amount)?;
    if amount_value.is_infinite() || is(amount, "nan") {
        return Err("ERR value is NaN or Infinity".into());
    }
    let mut hash = Elements::load_or_new(call.keyspace, key, Kind::Hash)?;
    let old = hash.get(call.keyspace, field)?;
    let sum = numbers::add_fractions(old.as_deref().unwrap_or(b"0"), amount).map_err(|error| match error {
        FractionError::NotANumber => "ERR hash value is not a float",
        FractionError::OutOfRange => "ERR increment would produce NaN or Infinity",
    })?;
    hash.put_over(call.keyspace, field, &sum, old.as_deref())?;
    hash.save(call.keyspace, key)?;
    push_bulk(&mut call.reply, &sum);
    Ok(())
}
