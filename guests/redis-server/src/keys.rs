//! What can be done with a key of any type, on its partition: existence, expiry, renaming, copying.
//!
//! Invariant: nothing here looks into a payload but to copy, name and measure what is in it. Renaming moves no elements,
//! copying copies them all; what goes to another partition goes as one row, inline whatever its size ([`dump`]).

use crate::arguments::is;
use crate::elements::Elements;
use crate::executor::{CHANGES_MAX, Call};
use crate::keyspace::databases::DATABASES;
use crate::keyspace::{Failure, Keyspace, Kind, Outcome, Stored, Value as _, damaged};
use crate::list::List;
use crate::numbers::parse_i64;
use crate::resp::{push_bulk, push_error, push_integer, push_lines, push_null, push_simple, push_text};
use crate::streams::Stream;
use crate::strings::{SYNTAX, TimeUnit, expire_at, ms_until};

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
    call.keyspace.rewrite(key, stored, at_us)
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
            let milliseconds = ms_until(stored.expire_at_us, from_us);
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

const NO_FREQUENCIES: &str = "ERR An LFU maxmemory policy is not selected, access frequency not tracked. Please note that when \
                              switching between policies at runtime LRU and LFU data will take some time to adjust.";
const OBJECT_HELP: &[&str] = &[
    "OBJECT <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
    "ENCODING <key>",
    "    Return the kind of internal representation that Redis would use.",
    "FREQ <key>",
    "    Return an error: the access frequency of keys is not tracked.",
    "IDLETIME <key>",
    "    Return 0: the last access to keys is not tracked.",
    "REFCOUNT <key>",
    "    Return the number of references of the value, which is 1.",
    "HELP",
    "    Print this help.",
];
const MEMORY_HELP: &[&str] = &[
    "MEMORY <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
    "DOCTOR",
    "    Return memory problems reports.",
    "MALLOC-STATS",
    "    Return internal statistics report from the memory allocator.",
    "PURGE",
    "    Do nothing: there is no allocator to purge.",
    "USAGE <key> [SAMPLES <count>]",
    "    Return the bytes of all rows of <key> on one replica.",
    "HELP",
    "    Print this help.",
];

pub(crate) fn object(call: &mut Call<'_, '_>) -> Outcome {
    let subcommand = call.arguments.required()?;
    let is = |name: &str| subcommand.eq_ignore_ascii_case(name.as_bytes());
    if is("help") && call.arguments.is_empty() {
        push_lines(&mut call.reply, OBJECT_HELP);
        return Ok(());
    }
    if !is("encoding") && !is("refcount") && !is("idletime") && !is("freq") {
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
        Some(_) if is("freq") => return Err(NO_FREQUENCIES.into()),
        Some(_) if is("idletime") => push_integer(&mut call.reply, 0),
        Some(stored) => push_bulk(&mut call.reply, encoding(&stored)?.as_bytes()),
    }
    Ok(())
}

/// What Redis would say it is encoded as.
fn encoding(stored: &Stored) -> Result<&'static str, Failure> {
    Ok(match stored.kind {
        Kind::String if parse_i64(stored.payload()).is_some() => "int",
        Kind::String if stored.payload().len() <= 44 => "embstr",
        Kind::String => "raw",
        Kind::List => List::decode(stored)?.encoding_name(),
        Kind::Stream => "stream",
        Kind::Set | Kind::SortedSet | Kind::Hash => Elements::decode(stored)?.encoding_name(),
    })
}

/// What a row of an element has beside the element and its value, about: prefix, part and hash or position.
const ELEMENT_ROW_BYTES: u64 = 15;

/// What MEMORY answers of the whole server. False if it is another subcommand.
fn push_memory_report(out: &mut Vec<u8>, resp3: bool, subcommand: &[u8]) -> bool {
    match &subcommand.to_ascii_lowercase()[..] {
        b"help" => push_lines(out, MEMORY_HELP),
        b"purge" => push_simple(out, "OK"),
        b"doctor" => push_text(out, resp3, "Keys are on disk: there is no memory to examine.\n"),
        b"malloc-stats" => push_text(out, resp3, "Stats not supported for the current allocator"),
        _ => return false,
    }
    true
}

/// MEMORY USAGE: the bytes of all rows of a key, on one replica.
pub(crate) fn memory(call: &mut Call<'_, '_>) -> Outcome {
    let subcommand = call.arguments.required()?;
    let arguments = call.rest()?;
    if arguments.is_empty() && push_memory_report(&mut call.reply, call.resp3, subcommand) {
        return Ok(());
    }
    if !is(subcommand, "usage") {
        let name: String = String::from_utf8_lossy(subcommand).chars().take(128).collect();
        return Err(format!("ERR unknown subcommand '{name}'. Try MEMORY HELP.").into());
    }
    let key = match arguments[..] {
        [] => return Err("ERR wrong number of arguments for 'memory|usage' command".into()),
        [key] => key,
        [key, option, samples] if is(option, "samples") => {
            crate::arguments::unsigned(samples, SYNTAX)?;
            key
        }
        _ => return Err(SYNTAX.into()),
    };
    let Some(stored) = call.keyspace.load(key)? else {
        push_null(&mut call.reply, call.resp3);
        return Ok(());
    };
    let mut bytes = (6 + key.len() + stored.row().len()) as u64;
    if stored.generation().is_some() {
        let (count, held) = match stored.kind {
            Kind::List => List::decode(&stored).map(|list| (list.len(), list.bytes()))?,
            Kind::Stream => {
                Stream::decode(&stored).map(|stream| (stream.length, stream.bytes() + 11 * stream.length))?
            }
            _ => Elements::decode(&stored).map(|elements| (elements.len(), elements.bytes()))?,
        };
        bytes += held + count * ELEMENT_ROW_BYTES;
        if stored.kind == Kind::SortedSet {
            // The order has every member once more, behind its score.
            bytes += held + count * (ELEMENT_ROW_BYTES - 5);
        }
    }
    push_integer(&mut call.reply, bytes as i64);
    Ok(())
}

/// Give a key a copy of the value of another one, with its expiry.
fn copy_value(keyspace: &mut Keyspace<'_>, stored: &Stored, to: &[u8], target: Option<&Stored>) -> Outcome {
    if stored.generation().is_none() {
        return keyspace.store(to, stored.kind, &[stored.payload()], stored.expire_at_us, target);
    }
    write_value(keyspace, stored, to)
}

/// Write the collection of a row under a key, whatever is there, in rows of its own if it is large.
fn write_value(keyspace: &mut Keyspace<'_>, stored: &Stored, to: &[u8]) -> Outcome {
    let check = |count: u64, rows: u64| -> Outcome {
        let max = CHANGES_MAX / rows;
        if count <= max {
            return Ok(());
        }
        Err(format!("ERR the value has {count} elements: one command copies at most {max} of this type").into())
    };
    match stored.kind {
        Kind::List => {
            let list = List::decode(stored)?;
            check(list.len(), 1)?;
            list.copy(keyspace)?.save_as_new(keyspace, to, stored.expire_at_us)
        }
        Kind::Stream => {
            let stream = if stored.generation().is_some() {
                Stream::decode(stored)?.copy(keyspace)?
            } else {
                Stream::arrive(keyspace, stored.payload())?
            };
            stream.save_as_new(keyspace, to, stored.expire_at_us)
        }
        kind => {
            let elements = Elements::decode(stored)?;
            check(elements.len(), if kind == Kind::SortedSet { 3 } else { 1 })?;
            elements.copy(keyspace)?.save_as_new(keyspace, to, stored.expire_at_us)
        }
    }
}

/// RENAME and RENAMENX within this partition.
pub(crate) fn rename(call: &mut Call<'_, '_>, only_if_absent: bool) -> Outcome {
    let (from, to) = (call.arguments.required()?, call.arguments.required()?);
    let stored = call.keyspace.load(from)?.ok_or(NO_SUCH_KEY)?;
    let target = call.keyspace.load(to)?;
    let refused = only_if_absent && target.is_some();
    if !refused && from != to {
        let database = call.keyspace.database();
        call.keyspace.move_to(from, &stored, (database, to), target.as_ref())?;
    }
    if only_if_absent {
        push_integer(&mut call.reply, i64::from(!refused));
    } else {
        push_simple(&mut call.reply, "OK");
    }
    Ok(())
}

pub(crate) const SAME_OBJECTS: &str = "ERR source and destination objects are the same";
pub(crate) const NO_DATABASE: &str = "ERR DB index is out of range";

/// The number of a database as a client names it.
pub(crate) fn parse_database(index: &[u8]) -> Result<u8, &'static str> {
    let index = parse_i64(index).ok_or(crate::strings::NOT_AN_INTEGER)?;
    u8::try_from(index).ok().filter(|index| *index < DATABASES).ok_or(NO_DATABASE)
}

/// COPY within this partition. Arguments are the keys and, as the listener has read the options, 1 for `REPLACE` and the
/// database of the copy.
pub(crate) fn copy(call: &mut Call<'_, '_>) -> Outcome {
    let (from, to) = (call.arguments.required()?, call.arguments.required()?);
    let source = call.keyspace.database();
    let (mut replace, mut database) = (false, source);
    if let Some(options) = call.arguments.next()? {
        // A listener of an earlier version sends the word REPLACE or nothing.
        match options {
            [flag, number] if *number < DATABASES => (replace, database) = (*flag != 0, *number),
            _ => replace = true,
        }
    }
    if from == to && source == database {
        return Err(SAME_OBJECTS.into());
    }
    let stored = call.keyspace.load(from)?;
    call.keyspace.select(database);
    let target = call.keyspace.load(to)?;
    let copied = match stored {
        Some(stored) if replace || target.is_none() => {
            copy_value(call.keyspace, &stored, to, target.as_ref())?;
            true
        }
        _ => false,
    };
    call.keyspace.select(source);
    push_integer(&mut call.reply, i64::from(copied));
    Ok(())
}

/// MOVE within this partition.
pub(crate) fn move_to_database(call: &mut Call<'_, '_>) -> Outcome {
    let key = call.arguments.required()?;
    let database = parse_database(call.arguments.required()?)?;
    let source = call.keyspace.database();
    if database == source {
        return Err(SAME_OBJECTS.into());
    }
    let stored = call.keyspace.load(key)?;
    call.keyspace.select(database);
    let target = call.keyspace.load(key)?;
    call.keyspace.select(source);
    let moved = match (stored, target) {
        (Some(stored), None) => {
            call.keyspace.move_to(key, &stored, (database, key), None)?;
            true
        }
        _ => false,
    };
    push_integer(&mut call.reply, i64::from(moved));
    Ok(())
}

/// COPY's options.
pub(crate) struct CopyOptions {
    pub(crate) replace: bool,
    /// The database of the copy, if it is another one.
    pub(crate) database: Option<u8>,
}

impl CopyOptions {
    /// As [`copy`] takes them; `database` is the selected one.
    pub(crate) fn encode(&self, database: u8) -> [u8; 2] {
        [u8::from(self.replace), self.database.unwrap_or(database)]
    }
}

impl CopyOptions {
    pub(crate) fn parse<'a>(mut options: impl Iterator<Item = &'a [u8]>) -> Result<Self, &'static str> {
        let (mut replace, mut database) = (false, None);
        while let Some(option) = options.next() {
            if option.eq_ignore_ascii_case(b"REPLACE") {
                replace = true;
            } else if option.eq_ignore_ascii_case(b"DB") {
                database = Some(parse_database(options.next().ok_or(SYNTAX)?)?);
            } else {
                return Err(SYNTAX);
            }
        }
        Ok(CopyOptions { replace, database })
    }
}

/// The version of a key, for WATCH: eight bytes, 0 when absent.
pub(crate) fn version(call: &mut Call<'_, '_>) -> Outcome {
    let key = call.arguments.required()?;
    let version = call.keyspace.version(key)?;
    call.reply.extend_from_slice(&version.to_le_bytes());
    Ok(())
}

/// A key's row, and that of a collection in rows as it would be if it were inline; nothing when the key is absent.
pub(crate) fn dump(call: &mut Call<'_, '_>) -> Outcome {
    let key = call.arguments.required()?;
    let Some(stored) = call.keyspace.load(key)? else { return Ok(()) };
    if stored.generation().is_none() {
        call.reply.extend_from_slice(stored.row());
        return Ok(());
    }
    let payload = match stored.kind {
        Kind::List => List::decode(&stored)?.whole_payload(call.keyspace)?,
        Kind::Stream => Stream::decode(&stored)?.whole_payload(call.keyspace)?,
        _ => Elements::decode(&stored)?.whole_payload(call.keyspace)?,
    };
    call.reply.extend_from_slice(&stored.inline_header());
    call.reply.extend_from_slice(&payload);
    Ok(())
}

/// Put a row that [`dump`] answered under a key, whatever is there.
pub(crate) fn restore(call: &mut Call<'_, '_>) -> Outcome {
    let (key, row) = (call.arguments.required()?, call.arguments.required()?);
    let stored = Stored::decode(row.to_vec())?;
    if stored.generation().is_some() {
        return Err(damaged("a row whose elements are on another partition"));
    }
    if stored.kind == Kind::String {
        let target = call.keyspace.load(key)?;
        call.keyspace.store(key, stored.kind, &[stored.payload()], stored.expire_at_us, target.as_ref())?;
    } else {
        write_value(call.keyspace, &stored, key)?;
    }
    push_simple(&mut call.reply, "OK");
    Ok(())
}

/// The error of a command whose key must exist.
pub(crate) fn push_no_such_key(out: &mut Vec<u8>) {
    push_error(out, NO_SUCH_KEY);
}
