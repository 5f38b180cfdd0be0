//! Strings and counters, on their partition.
//!
//! Invariant: a command looks at everything that could refuse it before it writes anything.

use std::borrow::Cow;

use crate::executor::Call;
use crate::keyspace::{Failure, Kind, Outcome, STRING_BYTES_MAX, Stored};
use crate::numbers::{self, FractionError, parse_i64, push_i64};
use crate::resp::{push_bulk, push_integer, push_null, push_simple};

pub(crate) const NOT_AN_INTEGER: &str = "ERR value is not an integer or out of range";
pub(crate) const SYNTAX: &str = "ERR syntax error";
const TOO_LONG: &str = "ERR string exceeds maximum allowed size (proto-max-bulk-len)";

/// How a command gives a time.
#[derive(Clone, Copy)]
pub(crate) struct TimeUnit {
    pub(crate) milliseconds: bool,
    /// Since the Unix epoch, not from now on.
    pub(crate) absolute: bool,
}

impl TimeUnit {
    fn of_option(option: &[u8]) -> Option<Self> {
        let (milliseconds, absolute) = if option.eq_ignore_ascii_case(b"EX") {
            (false, false)
        } else if option.eq_ignore_ascii_case(b"PX") {
            (true, false)
        } else if option.eq_ignore_ascii_case(b"EXAT") {
            (false, true)
        } else if option.eq_ignore_ascii_case(b"PXAT") {
            (true, true)
        } else {
            return None;
        };
        Some(TimeUnit { milliseconds, absolute })
    }
}

fn invalid_expire(command: &str) -> Failure {
    format!("ERR invalid expire time in '{command}' command").into()
}

/// Bit of a key's time of expiry: it is beyond what microseconds have room for, and the other bits are milliseconds. Such a time
/// never comes, but clients set it and ask for it again.
const FAR_US: u64 = 1 << 63;

/// The time of expiry that a row has for milliseconds since the Unix epoch, at most `i64::MAX`.
pub(crate) fn expiry_of_ms(at_ms: i128) -> i128 {
    let at_us = at_ms * 1000;
    if at_us < i128::from(FAR_US) { at_us } else { at_ms | i128::from(FAR_US) }
}

/// The milliseconds from a moment to a row's time of expiry, both in microseconds and the latter in the future.
pub(crate) fn ms_until(expire_at_us: u64, from_us: u64) -> u64 {
    if expire_at_us & FAR_US == 0 {
        return (expire_at_us - from_us).div_ceil(1000);
    }
    (expire_at_us & !FAR_US) - from_us / 1000
}

/// The time that `value` means, in microseconds since the Unix epoch. One that is not after the epoch answers 0 or less.
pub(crate) fn expire_at(call: &mut Call<'_, '_>, unit: TimeUnit, value: &[u8], command: &str) -> Result<i128, Failure> {
    let value = parse_i64(value).ok_or(NOT_AN_INTEGER)?;
    let milliseconds = i128::from(value) * if unit.milliseconds { 1 } else { 1000 };
    let now_ms = i128::from(call.keyspace.now_us() / 1000);
    let at_ms = if unit.absolute { milliseconds } else { now_ms + milliseconds };
    if milliseconds < i128::from(i64::MIN) || at_ms > i128::from(i64::MAX) {
        return Err(invalid_expire(command));
    }
    Ok(expiry_of_ms(at_ms))
}

/// Like [`expire_at`], for commands that refuse a time that is not positive.
fn expire_at_positive(call: &mut Call<'_, '_>, unit: TimeUnit, value: &[u8], command: &str) -> Result<u64, Failure> {
    if parse_i64(value).ok_or(NOT_AN_INTEGER)? <= 0 {
        return Err(invalid_expire(command));
    }
    let at_us = expire_at(call, unit, value, command)?;
    u64::try_from(at_us).map_err(|_| invalid_expire(command))
}

fn check_length(bytes: usize) -> Outcome {
    if bytes > STRING_BYTES_MAX { Err(TOO_LONG.into()) } else { Ok(()) }
}

fn string_of(stored: Option<&Stored>) -> Result<&[u8], Failure> {
    stored.map_or(Ok(&[]), Stored::string)
}

fn push_string(call: &mut Call<'_, '_>, stored: Option<&Stored>) -> Outcome {
    match stored {
        Some(stored) => push_bulk(&mut call.reply, stored.string()?),
        None => push_null(&mut call.reply, call.resp3),
    }
    Ok(())
}

pub(crate) fn get(call: &mut Call<'_, '_>) -> Outcome {
    let key = call.arguments.required()?;
    let stored = call.keyspace.load(key)?;
    push_string(call, stored.as_ref())
}

/// One key of MGET: another type is as good as absent.
pub(crate) fn get_or_null(call: &mut Call<'_, '_>) -> Outcome {
    let key = call.arguments.required()?;
    let stored = call.keyspace.load(key)?.filter(|stored| stored.kind == Kind::String);
    push_string(call, stored.as_ref())
}

/// The options of SET.
#[derive(Default)]
struct SetOptions {
    only_if_absent: bool,
    only_if_present: bool,
    answer_old: bool,
    keep_ttl: bool,
    /// 0: never.
    expire_at_us: u64,
}

fn set_options(call: &mut Call<'_, '_>) -> Result<SetOptions, Failure> {
    let (mut options, mut expiry) = (SetOptions::default(), None);
    while let Some(option) = call.arguments.next()? {
        if option.eq_ignore_ascii_case(b"NX") && !options.only_if_present {
            options.only_if_absent = true;
        } else if option.eq_ignore_ascii_case(b"XX") && !options.only_if_absent {
            options.only_if_present = true;
        } else if option.eq_ignore_ascii_case(b"GET") {
            options.answer_old = true;
        } else if option.eq_ignore_ascii_case(b"KEEPTTL") && expiry.is_none() {
            options.keep_ttl = true;
        } else if let Some(unit) = TimeUnit::of_option(option)
            && expiry.is_none()
            && !options.keep_ttl
        {
            expiry = Some((unit, call.arguments.next()?.ok_or(SYNTAX)?));
        } else {
            return Err(SYNTAX.into());
        }
    }
    // An option that is none is said before a time that is wrong.
    if let Some((unit, value)) = expiry {
        options.expire_at_us = expire_at_positive(call, unit, value, "set")?;
    }
    Ok(options)
}

pub(crate) fn set(call: &mut Call<'_, '_>) -> Outcome {
    let key = call.arguments.required()?;
    let value = call.arguments.required()?;
    let options = set_options(call)?;
    check_length(value.len())?;
    let before = call.keyspace.load(key)?;
    let refused = if before.is_some() { options.only_if_absent } else { options.only_if_present };
    if options.answer_old {
        push_string(call, before.as_ref())?;
    } else if refused {
        push_null(&mut call.reply, call.resp3);
    } else {
        push_simple(&mut call.reply, "OK");
    }
    if refused {
        return Ok(());
    }
    let kept = before.as_ref().filter(|_| options.keep_ttl).map(|before| before.expire_at_us);
    call.keyspace.store(key, Kind::String, &[value], kept.unwrap_or(options.expire_at_us), before.as_ref())
}

pub(crate) fn setnx(call: &mut Call<'_, '_>) -> Outcome {
    let (key, value) = (call.arguments.required()?, call.arguments.required()?);
    check_length(value.len())?;
    let absent = call.keyspace.load(key)?.is_none();
    if absent {
        call.keyspace.store(key, Kind::String, &[value], 0, None)?;
    }
    push_integer(&mut call.reply, i64::from(absent));
    Ok(())
}

/// SETEX and PSETEX.
pub(crate) fn setex(call: &mut Call<'_, '_>, milliseconds: bool, command: &str) -> Outcome {
    let (key, time, value) = (call.arguments.required()?, call.arguments.required()?, call.arguments.required()?);
    let expire_at_us = expire_at_positive(call, TimeUnit { milliseconds, absolute: false }, time, command)?;
    check_length(value.len())?;
    let before = call.keyspace.load(key)?;
    call.keyspace.store(key, Kind::String, &[value], expire_at_us, before.as_ref())?;
    push_simple(&mut call.reply, "OK");
    Ok(())
}

pub(crate) fn getset(call: &mut Call<'_, '_>) -> Outcome {
    let (key, value) = (call.arguments.required()?, call.arguments.required()?);
    check_length(value.len())?;
    let before = call.keyspace.load(key)?;
    push_string(call, before.as_ref())?;
    call.keyspace.store(key, Kind::String, &[value], 0, before.as_ref())
}

pub(crate) fn getdel(call: &mut Call<'_, '_>) -> Outcome {
    let key = call.arguments.required()?;
    let before = call.keyspace.load(key)?;
    push_string(call, before.as_ref())?;
    before.map_or(Ok(()), |before| call.keyspace.remove(key, &before))
}

pub(crate) fn getex(call: &mut Call<'_, '_>) -> Outcome {
    let key = call.arguments.required()?;
    let mut change = None;
    while let Some(option) = call.arguments.next()? {
        if change.is_some() {
            return Err(SYNTAX.into());
        } else if option.eq_ignore_ascii_case(b"PERSIST") {
            change = Some(0);
        } else {
            let unit = TimeUnit::of_option(option).ok_or(SYNTAX)?;
            let value = call.arguments.next()?.ok_or(SYNTAX)?;
            change = Some(expire_at_positive(call, unit, value, "getex")?);
        }
    }
    let Some(stored) = call.keyspace.load(key)? else {
        push_null(&mut call.reply, call.resp3);
        return Ok(());
    };
    push_string(call, Some(&stored))?;
    match change {
        Some(expire_at_us) => crate::keys::set_expiry(call, key, &stored, i128::from(expire_at_us)),
        None => Ok(()),
    }
}

/// The pairs of an MSET that are this partition's.
pub(crate) fn mset(call: &mut Call<'_, '_>) -> Outcome {
    while let Some(key) = call.arguments.next()? {
        let value = call.arguments.required()?;
        let before = call.keyspace.load(key)?;
        // A value too long aborts, because the pairs before it are written already.
        check_length(value.len()).map_err(|_| Failure::Abort(TOO_LONG.into()))?;
        call.keyspace.store(key, Kind::String, &[value], 0, before.as_ref())?;
    }
    push_simple(&mut call.reply, "OK");
    Ok(())
}

/// MSETNX with all its keys on this partition.
pub(crate) fn msetnx(call: &mut Call<'_, '_>) -> Outcome {
    let mut pairs = Vec::new();
    let mut exists = false;
    while let Some(key) = call.arguments.next()? {
        let value = call.arguments.required()?;
        check_length(value.len())?;
        exists |= call.keyspace.load(key)?.is_some();
        pairs.push((key, value));
    }
    if !exists {
        for (key, value) in pairs {
            // The same key may come twice: the last value stays.
            call.keyspace.store(key, Kind::String, &[value], 0, None)?;
        }
    }
    push_integer(&mut call.reply, i64::from(!exists));
    Ok(())
}

pub(crate) fn append(call: &mut Call<'_, '_>) -> Outcome {
    let (key, value) = (call.arguments.required()?, call.arguments.required()?);
    let before = call.keyspace.load(key)?;
    let old = string_of(before.as_ref())?;
    let length = old.len() + value.len();
    check_length(length)?;
    let expire_at_us = before.as_ref().map_or(0, |before| before.expire_at_us);
    call.keyspace.store(key, Kind::String, &[old, value], expire_at_us, before.as_ref())?;
    push_integer(&mut call.reply, length as i64);
    Ok(())
}

pub(crate) fn strlen(call: &mut Call<'_, '_>) -> Outcome {
    let key = call.arguments.required()?;
    let stored = call.keyspace.load(key)?;
    push_integer(&mut call.reply, string_of(stored.as_ref())?.len() as i64);
    Ok(())
}

pub(crate) fn setrange(call: &mut Call<'_, '_>) -> Outcome {
    let (key, offset, value) = (call.arguments.required()?, call.arguments.required()?, call.arguments.required()?);
    let offset = parse_i64(offset).ok_or(NOT_AN_INTEGER)?;
    let offset =
        usize::try_from(offset).map_err(|_| if offset < 0 { "ERR offset is out of range" } else { TOO_LONG })?;
    let before = call.keyspace.load(key)?;
    let old = string_of(before.as_ref())?;
    if value.is_empty() {
        push_integer(&mut call.reply, old.len() as i64);
        return Ok(());
    }
    check_length(offset.saturating_add(value.len()))?;
    let gap = vec![0; offset.saturating_sub(old.len())];
    let tail = old.get(offset + value.len()..).unwrap_or(&[]);
    let payload = [&old[..offset.min(old.len())], &gap, value, tail];
    let length: usize = payload.iter().map(|part| part.len()).sum();
    let expire_at_us = before.as_ref().map_or(0, |before| before.expire_at_us);
    call.keyspace.store(key, Kind::String, &payload, expire_at_us, before.as_ref())?;
    push_integer(&mut call.reply, length as i64);
    Ok(())
}

pub(crate) fn getrange(call: &mut Call<'_, '_>) -> Outcome {
    let (key, start, end) = (call.arguments.required()?, call.arguments.required()?, call.arguments.required()?);
    let start = parse_i64(start).ok_or(NOT_AN_INTEGER)?;
    let end = parse_i64(end).ok_or(NOT_AN_INTEGER)?;
    let stored = call.keyspace.load(key)?;
    let value = string_of(stored.as_ref())?;
    let length = value.len() as i64;
    let from_end = |at: i64| if at < 0 { at.saturating_add(length).max(0) } else { at };
    let (first, last) = (from_end(start), from_end(end).min(length - 1));
    // Both before the beginning and in the wrong order is nothing, even where the first byte would be meant.
    let nothing = first > last || (start < 0 && end < 0 && start > end);
    push_bulk(&mut call.reply, if nothing { &[] } else { &value[first as usize..=last as usize] });
    Ok(())
}

/// INCR, DECR, INCRBY and DECRBY.
pub(crate) fn increment(call: &mut Call<'_, '_>, has_amount: bool, down: bool) -> Outcome {
    let key = call.arguments.required()?;
    let mut amount = 1;
    if has_amount {
        amount = parse_i64(call.arguments.required()?).ok_or(NOT_AN_INTEGER)?;
    }
    if down {
        amount = amount.checked_neg().ok_or("ERR decrement would overflow")?;
    }
    let before = call.keyspace.load(key)?;
    let old = match &before {
        Some(before) => parse_i64(before.string()?).ok_or(NOT_AN_INTEGER)?,
        None => 0,
    };
    let new = old.checked_add(amount).ok_or("ERR increment or decrement would overflow")?;
    let mut text = Vec::with_capacity(20);
    push_i64(&mut text, new);
    let expire_at_us = before.as_ref().map_or(0, |before| before.expire_at_us);
    call.keyspace.store(key, Kind::String, &[&text], expire_at_us, before.as_ref())?;
    push_integer(&mut call.reply, new);
    Ok(())
}

pub(crate) fn incrbyfloat(call: &mut Call<'_, '_>) -> Outcome {
    let (key, amount) = (call.arguments.required()?, call.arguments.required()?);
    let before = call.keyspace.load(key)?;
    let old: Cow<'_, [u8]> = match &before {
        Some(before) => Cow::Borrowed(before.string()?),
        None => Cow::Borrowed(b"0"),
    };
    let sum = numbers::add_fractions(&old, amount).map_err(|error| match error {
        FractionError::NotANumber => "ERR value is not a valid float",
        FractionError::OutOfRange => "ERR increment would produce NaN or Infinity",
    })?;
    let expire_at_us = before.as_ref().map_or(0, |before| before.expire_at_us);
    call.keyspace.store(key, Kind::String, &[&sum], expire_at_us, before.as_ref())?;
    push_bulk(&mut call.reply, &sum);
    Ok(())
}
