//! Random elements: HRANDFIELD, SRANDMEMBER, SPOP, ZRANDMEMBER.
//!
//! Invariant: every element has the same probability, in collections of any size, and distinct ones are distinct. What
//! takes a large part of a collection walks it once with selection sampling (Knuth, The Art of Computer Programming, volume
//! 2, 3.4.2, algorithm S); a small part is drawn one by one.

use std::collections::HashSet;

use crate::arguments::{integer, is};
use crate::elements::{Element, Elements, Random, check_held};
use crate::executor::{CHANGES_MAX, Call};
use crate::keyspace::{Failure, Kind, Outcome, Value as _};
use crate::resp::{push_array, push_bulk, push_double, push_null, push_set};
use crate::strings::SYNTAX;
use crate::zset::index::decode_score;

/// Drawings with repetition from which on all elements are held in memory.
const DRAWINGS_MAX: u64 = 1_000;

/// `count` distinct elements, or all.
fn distinct(call: &Call<'_, '_>, elements: &Elements, count: u64) -> Result<Vec<Element>, Failure> {
    let (mut random, length) = (Random::new(), elements.len());
    if count >= length {
        return elements.all(call.keyspace);
    }
    if count.saturating_mul(3) > length || elements.index().is_none() {
        let (mut wanted, mut left, mut drawn) = (count, length, Vec::new());
        let (mut held, mut held_bytes) = (0, 0);
        elements.walk(call.keyspace, 0, |element, value| {
            if left > 0 && random.below(left) < wanted {
                wanted -= 1;
                held += 1;
                held_bytes += (element.len() + value.len()) as u64;
                check_held(held, held_bytes)?;
                drawn.push((element.to_vec(), value.to_vec()));
            }
            left = left.saturating_sub(1);
            Ok(wanted == 0)
        })?;
        return Ok(drawn);
    }
    let (mut chosen, mut drawn, mut bytes) = (HashSet::new(), Vec::new(), 0);
    while (drawn.len() as u64) < count {
        let Some((element, value)) = elements.random(call.keyspace, &mut random)? else { break };
        if chosen.insert(element.clone()) {
            bytes += (2 * element.len() + value.len()) as u64;
            check_held(2 * drawn.len() as u64, bytes)?;
            drawn.push((element, value));
        }
    }
    Ok(drawn)
}

/// `count` elements, each drawn from all.
fn repeated(call: &mut Call<'_, '_>, elements: &Elements, count: u64, with_values: bool, kind: Kind) -> Outcome {
    let mut random = Random::new();
    let all = if count > DRAWINGS_MAX { Some(elements.all(call.keyspace)?) } else { None };
    for _ in 0..count {
        let drawn = match &all {
            Some(all) if !all.is_empty() => Some(all[random.below(all.len() as u64) as usize].clone()),
            _ => elements.random(call.keyspace, &mut random)?,
        };
        let Some((element, value)) = drawn else { break };
        push_drawn(call, &element, &value, with_values, kind)?;
        call.check_reply()?;
    }
    Ok(())
}

fn push_drawn(call: &mut Call<'_, '_>, element: &[u8], value: &[u8], with_values: bool, kind: Kind) -> Outcome {
    if with_values && call.resp3 {
        push_array(&mut call.reply, 2);
    }
    push_bulk(&mut call.reply, element);
    match kind {
        Kind::Hash if with_values => push_bulk(&mut call.reply, value),
        Kind::SortedSet if with_values => push_double(&mut call.reply, call.resp3, decode_score(value)?),
        _ => {}
    }
    Ok(())
}

/// HRANDFIELD, SRANDMEMBER and ZRANDMEMBER; `values` is the option that asks for values.
pub(crate) fn random(call: &mut Call<'_, '_>, kind: Kind, values: Option<&str>) -> Outcome {
    let key = call.arguments.required()?;
    let options = call.rest()?;
    let (count, with_values) = match (&options[..], values) {
        ([], _) => (None, false),
        ([count], _) => (Some(integer(count)?), false),
        ([count, option], Some(values)) if is(option, values) => (Some(integer(count)?), true),
        _ => return Err(SYNTAX.into()),
    };
    // What Redis checks, since it doubles the number for values.
    let out_of_range = count
        .is_some_and(|count| if with_values { count.unsigned_abs() > i64::MAX as u64 / 2 } else { count == i64::MIN });
    if out_of_range {
        return Err("ERR value is out of range".into());
    }
    let elements = Elements::load(call.keyspace, key, kind)?;
    match (elements, count) {
        (None, None) => push_null(&mut call.reply, call.resp3),
        (None, Some(_)) => push_array(&mut call.reply, 0),
        (Some(elements), None) => match elements.random(call.keyspace, &mut Random::new())? {
            Some((element, _)) => push_bulk(&mut call.reply, &element),
            None => push_null(&mut call.reply, call.resp3),
        },
        (Some(elements), Some(count)) => {
            let number = count.unsigned_abs();
            let doubled = if with_values && !call.resp3 { 2 } else { 1 };
            if count < 0 {
                push_array(&mut call.reply, usize::try_from(number).unwrap_or(usize::MAX).saturating_mul(doubled));
                return repeated(call, &elements, number, with_values, kind);
            }
            let drawn = distinct(call, &elements, number)?;
            push_array(&mut call.reply, drawn.len() * doubled);
            for (element, value) in drawn {
                push_drawn(call, &element, &value, with_values, kind)?;
                call.check_reply()?;
            }
        }
    }
    Ok(())
}

/// SPOP.
pub(crate) fn pop(call: &mut Call<'_, '_>) -> Outcome {
    let key = call.arguments.required()?;
    let options = call.rest()?;
    let count = match options[..] {
        [] => None,
        [count] => Some(crate::arguments::unsigned(count, "ERR value is out of range, must be positive")?),
        _ => return Err(SYNTAX.into()),
    };
    let Some(mut set) = Elements::load(call.keyspace, key, Kind::Set)? else {
        match count {
            None => push_null(&mut call.reply, call.resp3),
            Some(_) => push_set(&mut call.reply, call.resp3, 0),
        }
        return Ok(());
    };
    let popped = match count {
        None => set.random(call.keyspace, &mut Random::new())?.into_iter().collect(),
        Some(count) => distinct(call, &set, count)?,
    };
    if popped.len() as u64 > CHANGES_MAX && (popped.len() as u64) < set.len() {
        return Err(format!("ERR one SPOP removes at most {CHANGES_MAX} members of a set, or all").into());
    }
    if count.is_some() {
        push_set(&mut call.reply, call.resp3, popped.len());
    }
    for (member, _) in &popped {
        push_bulk(&mut call.reply, member);
        call.check_reply()?;
    }
    if popped.len() as u64 == set.len() {
        let stored = call.keyspace.load(key)?;
        return stored.map_or(Ok(()), |stored| call.keyspace.remove(key, &stored));
    }
    for (member, _) in popped {
        set.remove(call.keyspace, &member)?;
    }
    set.save(call.keyspace, key)
}
