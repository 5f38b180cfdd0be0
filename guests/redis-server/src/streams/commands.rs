//! XADD, XLEN, XRANGE, XREVRANGE, XDEL, XTRIM and XSETID.

use super::id::NewId;
use super::{Id, Stream, Trim, TrimTo, group_commands, info, push_entry};
use crate::arguments::{Options, integer, is};
use crate::executor::Call;
use crate::keyspace::{Failure, Outcome, Value as _};
use crate::request::Op;
use crate::resp::{push_array, push_integer, push_null, push_null_array, push_simple};
use crate::strings::SYNTAX;

/// What `~` removes at most when no LIMIT is given: a hundred of Redis' blocks.
const ROUGH_LIMIT: u64 = 10_000;

pub(crate) fn run(op: Op, call: &mut Call<'_, '_>) -> Outcome {
    match op {
        Op::XAdd => add(call),
        Op::XLen => length(call),
        Op::XRange => range(call, false),
        Op::XRevRange => range(call, true),
        Op::XDel => delete(call),
        Op::XTrim => trim(call),
        Op::XSetId => set_id(call),
        Op::XGroup => group_commands::group(call),
        Op::XAck => group_commands::acknowledge(call),
        Op::XPending => group_commands::pending(call),
        Op::XClaim => super::claims::claim(call),
        Op::XAutoClaim => super::claims::claim_some(call),
        Op::XInfo => info::info(call),
        _ => Err(Failure::Abort("ERR an operation without a command".into())),
    }
}

/// The options of XADD before its id, or of XTRIM.
#[derive(Default)]
struct AddOptions {
    no_stream: bool,
    trim: Option<TrimTo>,
    roughly: bool,
    limit: Option<u64>,
}

impl AddOptions {
    /// Take options; for XADD up to the id, which is answered.
    fn parse<'a>(words: &mut Options<'_, 'a>, is_add: bool) -> Result<(Self, Option<&'a [u8]>), Failure> {
        let mut options = AddOptions::default();
        let mut id = None;
        while let Some(word) = words.next() {
            let more = !words.0.is_empty();
            let (length, from) = (is(word, "MAXLEN"), is(word, "MINID"));
            if is_add && word == b"*" {
                id = Some(word);
                break;
            } else if (length || from) && more {
                options.parse_trim(words, length)?;
            } else if is(word, "LIMIT") && more {
                let limit = words.integer()?;
                options.limit = Some(u64::try_from(limit).map_err(|_| "ERR The LIMIT argument must be >= 0.")?);
            } else if is_add && is(word, "NOMKSTREAM") {
                options.no_stream = true;
            } else if is_add {
                id = Some(word);
                NewId::parse(word)?;
                break;
            } else {
                return Err(SYNTAX.into());
            }
        }
        Ok((options, id))
    }

    fn parse_trim(&mut self, words: &mut Options<'_, '_>, length: bool) -> Outcome {
        if self.trim.is_some() {
            return Err("ERR syntax error, MAXLEN and MINID options at the same time are not compatible".into());
        }
        let mut value = words.value()?;
        self.roughly = false;
        if (value == b"~" || value == b"=") && !words.0.is_empty() {
            self.roughly = value == b"~";
            value = words.value()?;
        }
        self.trim = Some(if length {
            let length = integer(value)?;
            TrimTo::Length(u64::try_from(length).map_err(|_| "ERR The MAXLEN argument must be >= 0.")?)
        } else {
            TrimTo::From(Id::parse(value, 0)?)
        });
        Ok(())
    }

    fn trim(&self) -> Result<Option<Trim>, Failure> {
        let Some(what) = self.trim else {
            return match self.limit {
                Some(limit) if limit > 0 => {
                    Err("ERR syntax error, LIMIT cannot be used without specifying a trimming strategy".into())
                }
                _ => Ok(None),
            };
        };
        if self.limit.is_some() && !self.roughly {
            return Err("ERR syntax error, LIMIT cannot be used without the special ~ option".into());
        }
        let limit = self.limit.unwrap_or(if self.roughly { ROUGH_LIMIT } else { 0 });
        Ok(Some(Trim { what, roughly: self.roughly, limit }))
    }
}

fn add(call: &mut Call<'_, '_>) -> Outcome {
    const WRONG_ARITY: &str = "ERR wrong number of arguments for 'xadd' command";
    let key = call.arguments.required()?;
    let words = call.rest()?;
    let mut words = Options(&words);
    let (options, id) = AddOptions::parse(&mut words, true)?;
    let trim = options.trim()?;
    let (Some(id), fields) = (id, words.0) else { return Err(WRONG_ARITY.into()) };
    if fields.is_empty() || !fields.len().is_multiple_of(2) {
        return Err(WRONG_ARITY.into());
    }
    let id = NewId::parse(id)?;
    if id == NewId::Exactly(Id::MIN) {
        return Err("ERR The ID specified in XADD must be greater than 0-0".into());
    }
    let mut stream = match Stream::load(call.keyspace, key)? {
        Some(stream) => stream,
        None if options.no_stream => {
            push_null(&mut call.reply, call.resp3);
            return Ok(());
        }
        None => Stream::new(call.keyspace)?,
    };
    if stream.last == Id::MAX {
        return Err("ERR The stream has exhausted the last possible ID, unable to add more items".into());
    }
    let id = id
        .resolve(stream.last, call.keyspace.now_us() / 1000)
        .ok_or("ERR The ID specified in XADD is equal or smaller than the target stream top item")?;
    stream.append(call.keyspace, id, fields)?;
    if let Some(trim) = trim {
        stream.trim(call.keyspace, trim)?;
    }
    stream.save(call.keyspace, key)?;
    id.push(&mut call.reply);
    Ok(())
}

fn length(call: &mut Call<'_, '_>) -> Outcome {
    let key = call.arguments.required()?;
    let length = Stream::load(call.keyspace, key)?.map_or(0, |stream| stream.length);
    push_integer(&mut call.reply, length as i64);
    Ok(())
}

fn range(call: &mut Call<'_, '_>, reverse: bool) -> Outcome {
    let (key, first, second) = (call.arguments.required()?, call.arguments.required()?, call.arguments.required()?);
    let (from, to) = if reverse { (second, first) } else { (first, second) };
    let (from, to) = (Id::parse_bound(from, false)?, Id::parse_bound(to, true)?);
    let options = call.rest()?;
    let (mut options, mut count) = (Options(&options), None);
    while let Some(option) = options.next() {
        if !is(option, "COUNT") || options.0.is_empty() {
            return Err(SYNTAX.into());
        }
        count = Some(options.integer()?.max(0) as u64);
    }
    let Some(stream) = Stream::load(call.keyspace, key)? else {
        push_array(&mut call.reply, 0);
        return Ok(());
    };
    if count == Some(0) {
        push_null_array(&mut call.reply, call.resp3);
        return Ok(());
    }
    let (mut found, mut entries) = (0, Vec::new());
    stream.visit(call.keyspace, (from, to), reverse, count.unwrap_or(0), |id, fields| {
        found += 1;
        push_entry(&mut entries, id, fields)?;
        crate::executor::check_reply(&entries)?;
        Ok(false)
    })?;
    push_array(&mut call.reply, found);
    call.reply.append(&mut entries);
    Ok(())
}

fn delete(call: &mut Call<'_, '_>) -> Outcome {
    let key = call.arguments.required()?;
    let stream = Stream::load(call.keyspace, key)?;
    let ids = call.rest()?;
    let ids = ids.into_iter().map(|id| Id::parse(id, 0)).collect::<Result<Vec<_>, _>>();
    let mut removed = 0;
    if let Some(mut stream) = stream {
        for id in ids? {
            removed += i64::from(stream.remove(call.keyspace, id)?);
        }
        stream.save(call.keyspace, key)?;
    }
    push_integer(&mut call.reply, removed);
    Ok(())
}

fn trim(call: &mut Call<'_, '_>) -> Outcome {
    let key = call.arguments.required()?;
    let words = call.rest()?;
    let (options, _) = AddOptions::parse(&mut Options(&words), false)?;
    let trim = match options.trim()? {
        Some(trim) => trim,
        None => return Err("ERR syntax error, XTRIM must be called with a trimming strategy".into()),
    };
    let mut removed = 0;
    if let Some(mut stream) = Stream::load(call.keyspace, key)? {
        removed = stream.trim(call.keyspace, trim)?;
        stream.save(call.keyspace, key)?;
    }
    push_integer(&mut call.reply, removed as i64);
    Ok(())
}

fn set_id(call: &mut Call<'_, '_>) -> Outcome {
    let (key, id) = (call.arguments.required()?, call.arguments.required()?);
    let id = Id::parse(id, 0)?;
    let options = call.rest()?;
    let (mut options, mut added, mut max_deleted) = (Options(&options), None, Id::MIN);
    while let Some(option) = options.next() {
        let more = !options.0.is_empty();
        if is(option, "ENTRIESADDED") && more {
            added = Some(u64::try_from(options.integer()?).map_err(|_| "ERR entries_added must be positive")?);
        } else if is(option, "MAXDELETEDID") && more {
            max_deleted = Id::parse(options.value()?, 0)?;
            if id < max_deleted {
                return Err("ERR The ID specified in XSETID is smaller than the provided max_deleted_entry_id".into());
            }
        } else {
            return Err(SYNTAX.into());
        }
    }
    let mut stream = Stream::load(call.keyspace, key)?.ok_or("ERR no such key")?;
    if id < stream.max_deleted {
        return Err("ERR The ID specified in XSETID is smaller than current max_deleted_entry_id".into());
    }
    if stream.length > 0 {
        if stream.edge(call.keyspace, true)?.is_some_and(|last| id < last) {
            return Err("ERR The ID specified in XSETID is smaller than the target stream top item".into());
        }
        if added.is_some_and(|added| stream.length > added) {
            return Err("ERR The entries_added specified in XSETID is smaller than the target stream length".into());
        }
    }
    (stream.last, stream.added, stream.changed) = (id, added.unwrap_or(stream.added), true);
    if max_deleted != Id::MIN {
        stream.max_deleted = max_deleted;
    }
    stream.save(call.keyspace, key)?;
    push_simple(&mut call.reply, "OK");
    Ok(())
}
