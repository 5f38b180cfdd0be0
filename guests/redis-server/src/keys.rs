//! What can be done with a key of any type, on its partition: existence, expiry, renaming, copying.
//!
//! Invariant: nothing here looks into a payload, so that it serves every type. (A type with element rows adds what moves
//! and removes them to [`crate::keyspace`].)

use crate::executor::Call;
use crate::keyspace::{Kind, Outcome, Stored};
use crate::numbers::parse_i64;
use crate::resp::{push_bulk, push_error, push_integer, push_null, push_simple};
use crate::strings::{SYNTAX, TimeUnit, expire_at};

const NO_SUCH_KEY: &str = "ERR no such key";

/// DEL and UNLINK, one key of it.
pub(crate) fn del(call: &mut Call<'_, '_>) -> Outcome {
    let key = call.arguments.required()?;
    let stored = call.keyspace.load(key)?;
    if let Some(stored) = &stored {
        call.keyspace.remove(key, stored)?;
    }
    push_integer(&mut call.reply, i64::from(stored.is_some()));
    Ok(())
}

/// EXISTS and TOUCH, one key of it.
pub(crate) fn exists(call: &mut Call<'_, '_>) -> Outcome {
    let key = call.arguments.required()?;
    let exists = call.keyspace.load(key)?.is_some();
    push_integer(&mut call.reply, i64::from(exists));
    Ok(())
}

pub(crate) fn type_of(call: &mut Call<'_, '_>) -> Outcome {
    let key = call.arguments.required()?;
    let name = call.keyspace.load(key)?.map_or("none", |stored| stored.kind.name());
    push_simple(&mut call.reply, name);
    Ok(())
}

/// Let an existing key expire at `at_us`, 0 for never; a time that has passed removes it.
pub(crate) fn set_expiry(call: &mut Call<'_, '_>, key: &[u8], stored: &Stored, at_us: i128) -> Outcome {
    let at_us = u64::try_from(at_us).unwrap_or(1); // before the epoch is as long past as the epoch
    if at_us != 0 && at_us <= call.keyspace.now_us() {
        return call.keyspace.remove(key, stored);
    }
    call.keyspace.store(key, stored.kind, &[stored.payload()], at_us, Some(stored))
}

/// EXPIRE, PEXPIRE, EXPIREAT and PEXPIREAT.
pub(crate) fn expire(call: &mut Call<'_, '_>, unit: TimeUnit, command: &str) -> Outcome {
    let (key, time) = (call.arguments.required()?, call.arguments.required()?);
    let (mut nx, mut xx, mut gt, mut lt) = (false, false, false, false);
    while let Some(option) = call.arguments.next()? {
        let known = [("NX", &mut nx), ("XX", &mut xx), ("GT", &mut gt), ("LT", &mut lt)];
        match known.into_iter().find(|(name, _)| option.eq_ignore_ascii_case(name.as_bytes())) {
            Some((_, seen)) => *seen = true,
            None => return Err(format!("ERR Unsupported option {}", String::from_utf8_lossy(option)).into()),
        }
    }
    if nx && (xx || gt || lt) {
        return Err("ERR NX and XX, GT or LT options at the same time are not compatible".into());
    }
    if gt && lt {
        return Err("ERR GT and LT options at the same time are not compatible".into());
    }
    // The epoch itself is long past; 0 would mean never.
    let at_us = match expire_at(call, unit, time, command)? {
        0 => 1,
        at_us => at_us,
    };
    let Some(stored) = call.keyspace.load(key)? else {
        push_integer(&mut call.reply, 0);
        return Ok(());
    };
    let now_at = i128::from(stored.expire_at_us);
    let refused = (nx && now_at != 0)
        || (xx && now_at == 0)
        || (gt && (now_at == 0 || at_us <= now_at))
        || (lt && now_at != 0 && at_us >= now_at);
    if !refused {
        set_expiry(call, key, &stored, at_us)?;
    }
    push_integer(&mut call.reply, i64::from(!refused));
    Ok(())
}

/// TTL, PTTL, EXPIRETIME and PEXPIRETIME.
pub(crate) fn ttl(call: &mut Call<'_, '_>, unit: TimeUnit) -> Outcome {
    let key = call.arguments.required()?;
    let answer = match call.keyspace.load(key)? {
        None => -2,
        Some(stored) if stored.expire_at_us == 0 => -1,
        Some(stored) => {
            let from_us = if unit.absolute { 0 } else { call.keyspace.now_us() };
            let milliseconds = (stored.expire_at_us - from_us).div_ceil(1000);
            if unit.milliseconds {
                milliseconds as i64
            } else {
                (milliseconds / 1000 + u64::from(milliseconds % 1000 >= 500)) as i64
            }
        }
    };
    push_integer(&mut call.reply, answer);
    Ok(())
}

pub(crate) fn persist(call: &mut Call<'_, '_>) -> Outcome {
    let key = call.arguments.required()?;
    let stored = call.keyspace.load(key)?.filter(|stored| stored.expire_at_us != 0);
    if let Some(stored) = &stored {
        set_expiry(call, key, stored, 0)?;
    }
    push_integer(&mut call.reply, i64::from(stored.is_some()));
    Ok(())
}

pub(crate) fn object(call: &mut Call<'_, '_>) -> Outcome {
    let subcommand = call.arguments.required()?;
    let is = |name: &str| subcommand.eq_ignore_ascii_case(name.as_bytes());
    if !is("encoding") && !is("refcount") && !is("idletime") {
        let name: String = String::from_utf8_lossy(subcommand).chars().take(128).collect();
        return Err(format!("ERR unknown subcommand '{name}'. Try OBJECT HELP.").into());
    }
    let key = call.arguments.next()?;
    let (Some(key), None) = (key, call.arguments.next()?) else {
        let name = String::from_utf8_lossy(subcommand).to_ascii_lowercase();
        return Err(format!("ERR wrong number of arguments for 'object|{name}' command").into());
    };
    match call.keyspace.load(key)? {
        None => push_null(&mut call.reply, call.resp3),
        Some(_) if is("refcount") => push_integer(&mut call.reply, 1),
        Some(_) if is("idletime") => push_integer(&mut call.reply, 0),
        Some(stored) => push_bulk(&mut call.reply, encoding(&stored).as_bytes()),
    }
    Ok(())
}

/// What Redis would say it is encoded as.
fn encoding(stored: &Stored) -> &'static str {
    match stored.kind {
        Kind::String if parse_i64(stored.payload()).is_some() => "int",
        Kind::String if stored.payload().len() <= 44 => "embstr",
        Kind::String => "raw",
    }
}

/// RENAME and RENAMENX within this partition.
pub(crate) fn rename(call: &mut Call<'_, '_>, only_if_absent: bool) -> Outcome {
    let (from, to) = (call.arguments.required()?, call.arguments.required()?);
    let stored = call.keyspace.load(from)?.ok_or(NO_SUCH_KEY)?;
    let target = call.keyspace.load(to)?;
    let refused = only_if_absent && target.is_some();
    if !refused && from != to {
        call.keyspace.remove(from, &stored)?;
        call.keyspace.store(to, stored.kind, &[stored.payload()], stored.expire_at_us, target.as_ref())?;
    }
    if only_if_absent {
        push_integer(&mut call.reply, i64::from(!refused));
    } else {
        push_simple(&mut call.reply, "OK");
    }
    Ok(())
}

/// COPY within this partition; the listener has read its options, and sends `REPLACE` alone.
pub(crate) fn copy(call: &mut Call<'_, '_>) -> Outcome {
    let (from, to) = (call.arguments.required()?, call.arguments.required()?);
    let replace = call.arguments.next()?.is_some();
    if from == to {
        return Err("ERR source and destination objects are the same".into());
    }
    let stored = call.keyspace.load(from)?;
    let target = call.keyspace.load(to)?;
    let copied = match stored {
        Some(stored) if replace || target.is_none() => {
            call.keyspace.store(to, stored.kind, &[stored.payload()], stored.expire_at_us, target.as_ref())?;
            true
        }
        _ => false,
    };
    push_integer(&mut call.reply, i64::from(copied));
    Ok(())
}

/// What is left of COPY's options.
pub(crate) struct CopyOptions {
    pub(crate) replace: bool,
}

impl CopyOptions {
    pub(crate) fn parse<'a>(mut options: impl Iterator<Item = &'a [u8]>) -> Result<Self, &'static str> {
        let mut replace = false;
        while let Some(option) = options.next() {
            if option.eq_ignore_ascii_case(b"REPLACE") {
                replace = true;
            } else if option.eq_ignore_ascii_case(b"DB") {
                let database = options.next().ok_or(SYNTAX)?;
                match parse_i64(database) {
                    Some(0) => {}
                    Some(_) => return Err("ERR DB index is out of range"),
                    None => return Err(crate::strings::NOT_AN_INTEGER),
                }
            } else {
                return Err(SYNTAX);
            }
        }
        Ok(CopyOptions { replace })
    }
}

/// The version of a key, for WATCH: eight bytes, 0 when absent.
pub(crate) fn version(call: &mut Call<'_, '_>) -> Outcome {
    let key = call.arguments.required()?;
    let version = call.keyspace.load(key)?.map_or(0, |stored| stored.version);
    call.reply.extend_from_slice(&version.to_le_bytes());
    Ok(())
}

/// A key's row; nothing when it is absent.
pub(crate) fn dump(call: &mut Call<'_, '_>) -> Outcome {
    let key = call.arguments.required()?;
    if let Some(stored) = call.keyspace.load(key)? {
        call.reply.extend_from_slice(stored.row());
    }
    Ok(())
}

/// Put a row that [`dump`] answered under a key, whatever is there.
pub(crate) fn restore(call: &mut Call<'_, '_>) -> Outcome {
    let (key, row) = (call.arguments.required()?, call.arguments.required()?);
    let stored = Stored::decode(row.to_vec())?;
    let target = call.keyspace.load(key)?;
    call.keyspace.store(key, stored.kind, &[stored.payload()], stored.expire_at_us, target.as_ref())?;
    push_simple(&mut call.reply, "OK");
    Ok(())
}

/// The error of a command whose key must exist.
pub(crate) fn push_no_such_key(out: &mut Vec<u8>) {
    push_error(out, NO_SUCH_KEY);
}
