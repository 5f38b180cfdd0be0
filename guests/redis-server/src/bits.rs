//! Strings as bitmaps: SETBIT, GETBIT, BITCOUNT, BITPOS, BITOP. BITFIELD is in [`field`].
//!
//! Bits are numbered from the highest of the first byte on. A bitmap is a string, at most [`STRING_BYTES_MAX`] long, and a
//! write of one bit writes the whole string: for bitmaps of megabytes that are changed all the time, use several keys.
//!
//! Invariant: a command looks at everything that could refuse it before it writes anything.

pub(crate) mod field;

use crate::arguments::{integer, is};
use crate::executor::Call;
use crate::keyspace::{Failure, Kind, Outcome, STRING_BYTES_MAX, Stored};
use crate::numbers::parse_i64;
use crate::request::Op;
use crate::resp::push_integer;
use crate::strings::SYNTAX;

const WRONG_OFFSET: &str = "ERR bit offset is not an integer or out of range";

/// Run a command on bitmaps.
pub(crate) fn run(op: Op, call: &mut Call<'_, '_>) -> Outcome {
    match op {
        Op::SetBit => setbit(call),
        Op::GetBit => getbit(call),
        Op::BitCount => bitcount(call),
        Op::BitPos => bitpos(call),
        Op::BitCombine => bitop(call),
        Op::BitField => field::bitfield(call, false),
        Op::BitFieldRo => field::bitfield(call, true),
        _ => Err(Failure::Abort("ERR not a command on bitmaps".into())),
    }
}

/// A bit offset.
pub(crate) fn bit_offset(text: &[u8]) -> Result<usize, Failure> {
    parse_i64(text)
        .and_then(|offset| usize::try_from(offset).ok())
        .filter(|offset| offset / 8 < STRING_BYTES_MAX)
        .ok_or_else(|| WRONG_OFFSET.into())
}

fn bit(value: &[u8], at: usize) -> bool {
    value.get(at / 8).is_some_and(|byte| byte >> (7 - at % 8) & 1 == 1)
}

/// The string under a key, to be changed.
pub(crate) fn load_string(call: &mut Call<'_, '_>, key: &[u8]) -> Result<(Option<Stored>, Vec<u8>), Failure> {
    let stored = call.keyspace.load(key)?;
    let value = match &stored {
        Some(stored) => stored.string()?.to_vec(),
        None => Vec::new(),
    };
    Ok((stored, value))
}

/// Write a changed string; what was known of the key's expiry stays.
pub(crate) fn store_string(call: &mut Call<'_, '_>, key: &[u8], value: &[u8], before: Option<&Stored>) -> Outcome {
    let expire_at_us = before.map_or(0, |before| before.expire_at_us);
    call.keyspace.store(key, Kind::String, &[value], expire_at_us, before)
}

fn setbit(call: &mut Call<'_, '_>) -> Outcome {
    let (key, offset, value) = (call.arguments.required()?, call.arguments.required()?, call.arguments.required()?);
    let offset = bit_offset(offset)?;
    let on = match parse_i64(value) {
        Some(0) => false,
        Some(1) => true,
        _ => return Err("ERR bit is not an integer or out of range".into()),
    };
    let (before, mut bits) = load_string(call, key)?;
    let old = bit(&bits, offset);
    if bits.len() <= offset / 8 {
        bits.resize(offset / 8 + 1, 0);
    }
    let mask = 1 << (7 - offset % 8);
    if on {
        bits[offset / 8] |= mask;
    } else {
        bits[offset / 8] &= !mask;
    }
    store_string(call, key, &bits, before.as_ref())?;
    push_integer(&mut call.reply, i64::from(old));
    Ok(())
}

fn getbit(call: &mut Call<'_, '_>) -> Outcome {
    let (key, offset) = (call.arguments.required()?, call.arguments.required()?);
    let offset = bit_offset(offset)?;
    let stored = call.keyspace.load(key)?;
    let on = match &stored {
        Some(stored) => bit(stored.string()?, offset),
        None => false,
    };
    push_integer(&mut call.reply, i64::from(on));
    Ok(())
}

/// `BYTE` or `BIT`: true for bits.
fn parse_unit(word: &[u8]) -> Result<bool, Failure> {
    match word {
        word if is(word, "BIT") => Ok(true),
        word if is(word, "BYTE") => Ok(false),
        _ => Err(SYNTAX.into()),
    }
}

/// First and last bit, both included, of a range in bytes or bits; none if it is empty.
fn bit_range(start: i64, end: i64, bits: bool, length: usize) -> Option<(usize, usize)> {
    let total = if bits { length as i64 * 8 } else { length as i64 };
    let from_end = |at: i64| if at < 0 { at.saturating_add(total).max(0) } else { at };
    let (first, last) = (from_end(start), from_end(end).min(total - 1));
    if first > last {
        return None;
    }
    Some(if bits { (first as usize, last as usize) } else { (first as usize * 8, last as usize * 8 + 7) })
}

fn bitcount(call: &mut Call<'_, '_>) -> Outcome {
    let key = call.arguments.required()?;
    let options = call.rest()?;
    let (start, end, bits) = match options[..] {
        [] => (0, -1, false),
        [start, end] => (integer(start)?, integer(end)?, false),
        [start, end, unit] => (integer(start)?, integer(end)?, parse_unit(unit)?),
        _ => return Err(SYNTAX.into()),
    };
    let stored = call.keyspace.load(key)?;
    let value = stored.as_ref().map_or(Ok(&[][..]), Stored::string)?;
    let mut count = 0;
    let nothing = start < 0 && end < 0 && start > end;
    if let Some((first, last)) = bit_range(start, end, bits, value.len()).filter(|_| !nothing) {
        let (first_byte, last_byte) = (first / 8, last / 8);
        count = value[first_byte..=last_byte].iter().map(|byte| i64::from(byte.count_ones())).sum();
        // Bits of the first and the last byte that are outside.
        let before = value[first_byte] & !(0xff >> (first % 8));
        let after = (u16::from(value[last_byte]) << (last % 8 + 1)) as u8;
        count -= i64::from(before.count_ones() + after.count_ones());
    }
    push_integer(&mut call.reply, count);
    Ok(())
}

fn bitpos(call: &mut Call<'_, '_>) -> Outcome {
    let (key, wanted) = (call.arguments.required()?, call.arguments.required()?);
    let wanted = match integer(wanted)? {
        0 => false,
        1 => true,
        _ => return Err("ERR The bit argument must be 1 or 0.".into()),
    };
    let options = call.rest()?;
    let (start, end, bits) = match options[..] {
        [] => (0, None, false),
        [start] => (integer(start)?, None, false),
        [start, end] => (integer(start)?, Some(integer(end)?), false),
        [start, end, unit] => (integer(start)?, Some(integer(end)?), parse_unit(unit)?),
        _ => return Err(SYNTAX.into()),
    };
    let stored = call.keyspace.load(key)?;
    let Some(stored) = stored else {
        push_integer(&mut call.reply, if wanted { -1 } else { 0 });
        return Ok(());
    };
    let value = stored.string()?;
    let position = match bit_range(start, end.unwrap_or(-1), bits, value.len()) {
        None => -1,
        Some((first, last)) => match find_bit(value, wanted, first, last) {
            Some(position) => position as i64,
            // Behind the end of a string there are zeros, unless the client named an end.
            None if !wanted && end.is_none() => value.len() as i64 * 8,
            None => -1,
        },
    };
    push_integer(&mut call.reply, position);
    Ok(())
}

fn find_bit(value: &[u8], wanted: bool, first: usize, last: usize) -> Option<usize> {
    let without = if wanted { 0 } else { 0xff };
    let mut at = first;
    while at <= last {
        if at.is_multiple_of(8) && value.get(at / 8) == Some(&without) {
            at += 8;
        } else if bit(value, at) == wanted {
            return Some(at);
        } else {
            at += 1;
        }
    }
    None
}

fn bitop(call: &mut Call<'_, '_>) -> Outcome {
    let (operation, target) = (call.arguments.required()?, call.arguments.required()?);
    let keys = call.rest()?;
    type Join = fn(u8, u8) -> u8;
    let known: [(&str, Join); 3] =
        [("AND", |left, right| left & right), ("OR", |left, right| left | right), ("XOR", |left, right| left ^ right)];
    let join = known.into_iter().find(|(name, _)| is(operation, name)).map(|(_, join)| join);
    if join.is_none() && !is(operation, "NOT") {
        return Err(SYNTAX.into());
    }
    if join.is_none() && keys.len() != 1 {
        return Err("ERR BITOP NOT must be called with a single source key.".into());
    }
    let mut result: Option<Vec<u8>> = None;
    for key in keys {
        let stored = call.keyspace.load(key)?;
        let value = stored.as_ref().map_or(Ok(&[][..]), Stored::string)?;
        result = Some(match (result, join) {
            (Some(mut result), Some(join)) => {
                result.resize(result.len().max(value.len()), 0);
                let padded = value.iter().copied().chain(std::iter::repeat(0));
                result.iter_mut().zip(padded).for_each(|(byte, other)| *byte = join(*byte, other));
                result
            }
            (None, Some(_)) => value.to_vec(),
            (_, None) => value.iter().map(|byte| !byte).collect(),
        });
    }
    let result = result.unwrap_or_default();
    let before = call.keyspace.load(target)?;
    if !result.is_empty() {
        call.keyspace.store(target, Kind::String, &[&result], 0, before.as_ref())?;
    } else if let Some(before) = before {
        call.keyspace.remove(target, &before)?;
    }
    push_integer(&mut call.reply, result.len() as i64);
    Ok(())
}
