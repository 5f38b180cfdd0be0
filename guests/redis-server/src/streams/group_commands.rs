//! XGROUP, XACK and XPENDING.

use super::groups::{Consumers, Group, Pending};
use super::{Id, Stream};
use crate::arguments::{Options, integer, is};
use crate::executor::Call;
use crate::keyspace::{Failure, Outcome, Value as _};
use crate::numbers::push_u64;
use crate::resp::{push_array, push_bulk, push_integer, push_lines, push_null, push_null_array, push_simple};
use crate::strings::SYNTAX;

const HELP: &[&str] = &[
    "XGROUP <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
    "CREATE <key> <groupname> <id|$> [option]",
    "    Create a new consumer group. Options are:",
    "    * MKSTREAM",
    "      Create the empty stream if it does not exist.",
    "    * ENTRIESREAD entries_read",
    "      Set the group's entries_read counter (internal use).",
    "CREATECONSUMER <key> <groupname> <consumer>",
    "    Create a new consumer in the specified group.",
    "DELCONSUMER <key> <groupname> <consumer>",
    "    Remove the specified consumer.",
    "DESTROY <key> <groupname>",
    "    Remove the specified group.",
    "SETID <key> <groupname> <id|$> [ENTRIESREAD entries_read]",
    "    Set the current group ID and entries_read counter.",
    "HELP",
    "    Print this help.",
];

/// The error of a command whose group must exist.
pub(super) fn no_group(key: &[u8], group: &[u8]) -> Failure {
    let (key, group) = (String::from_utf8_lossy(key), String::from_utf8_lossy(group));
    format!("NOGROUP No such key '{key}' or consumer group '{group}'").into()
}

/// A stream and its group, which must exist.
pub(super) fn stream_and_group(call: &mut Call<'_, '_>, key: &[u8], name: &[u8]) -> Result<(Stream, Group), Failure> {
    let stream = Stream::load(call.keyspace, key)?.ok_or_else(|| no_group(key, name))?;
    let group = Group::load(call.keyspace, &stream, name)?.ok_or_else(|| no_group(key, name))?;
    Ok((stream, group))
}

/// What a container command answers to arguments that none of its subcommands takes.
pub(super) fn wrong_subcommand(container: &str, subcommand: &[u8], known: &[&str]) -> Failure {
    let name: String = String::from_utf8_lossy(subcommand).chars().take(128).collect();
    if known.iter().any(|known| is(subcommand, known)) {
        let (container, name) = (container.to_ascii_lowercase(), name.to_ascii_lowercase());
        return format!("ERR wrong number of arguments for '{container}|{name}' command").into();
    }
    format!("ERR unknown subcommand '{name}'. Try {container} HELP.").into()
}

pub(super) fn wrong_syntax(container: &str, subcommand: &[u8]) -> Failure {
    let name: String = String::from_utf8_lossy(subcommand).chars().take(128).collect();
    format!("ERR unknown subcommand or wrong number of arguments for '{name}'. Try {container} HELP.").into()
}

/// The options of XGROUP CREATE and SETID.
#[derive(Default)]
struct GroupOptions {
    make_stream: bool,
    read: Option<u64>,
}

impl GroupOptions {
    fn parse(subcommand: &[u8], options: &[&[u8]], create: bool) -> Result<Self, Failure> {
        let (mut options, mut parsed) = (Options(options), GroupOptions::default());
        while let Some(option) = options.next() {
            if create && is(option, "MKSTREAM") {
                parsed.make_stream = true;
            } else if is(option, "ENTRIESREAD") && !options.0.is_empty() {
                parsed.read = match options.integer()? {
                    -1 => None,
                    read => Some(u64::try_from(read).map_err(|_| "ERR value for ENTRIESREAD must be positive or -1")?),
                };
            } else {
                return Err(wrong_syntax("XGROUP", subcommand));
            }
        }
        Ok(parsed)
    }
}

/// XGROUP.
pub(super) fn group(call: &mut Call<'_, '_>) -> Outcome {
    let subcommand = call.arguments.required()?;
    let words = call.rest()?;
    match words[..] {
        [] if is(subcommand, "HELP") => {
            push_lines(&mut call.reply, HELP);
            Ok(())
        }
        [key, name, id, ref options @ ..] if is(subcommand, "CREATE") => {
            let options = GroupOptions::parse(subcommand, options, true)?;
            create(call, key, name, id, &options)
        }
        [key, name, id, ref options @ ..] if is(subcommand, "SETID") => {
            let options = GroupOptions::parse(subcommand, options, false)?;
            set_id(call, key, name, id, &options)
        }
        [key, name] if is(subcommand, "DESTROY") => destroy(call, key, name),
        [key, name, consumer] if is(subcommand, "CREATECONSUMER") => {
            let (_, mut group) = existing(call, key, name)?;
            let (consumer, made) = group.consumer_or_new(call.keyspace, consumer)?;
            if made {
                group.save_consumer(call.keyspace, &consumer)?;
                group.save(call.keyspace)?;
            }
            push_integer(&mut call.reply, i64::from(made));
            Ok(())
        }
        [key, name, consumer] if is(subcommand, "DELCONSUMER") => {
            let (_, mut group) = existing(call, key, name)?;
            let consumer = group.consumer(call.keyspace, consumer)?;
            if let Some(consumer) = &consumer {
                group.remove_consumer(call.keyspace, consumer)?;
                group.save(call.keyspace)?;
            }
            push_integer(&mut call.reply, consumer.map_or(0, |consumer| consumer.pending as i64));
            Ok(())
        }
        _ => {
            let known = ["CREATE", "SETID", "DESTROY", "CREATECONSUMER", "DELCONSUMER", "HELP"];
            Err(wrong_subcommand("XGROUP", subcommand, &known))
        }
    }
}

const NO_STREAM: &str = "ERR The XGROUP subcommand requires the key to exist. Note that for CREATE you may want to use the \
                         MKSTREAM option to create an empty stream automatically.";

fn existing(call: &mut Call<'_, '_>, key: &[u8], name: &[u8]) -> Result<(Stream, Group), Failure> {
    let stream = Stream::load(call.keyspace, key)?.ok_or(NO_STREAM)?;
    let group = Group::load(call.keyspace, &stream, name)?;
    let group = group.ok_or_else(|| -> Failure {
        let (key, name) = (String::from_utf8_lossy(key), String::from_utf8_lossy(name));
        format!("NOGROUP No such consumer group '{name}' for key name '{key}'").into()
    })?;
    Ok((stream, group))
}

fn create(call: &mut Call<'_, '_>, key: &[u8], name: &[u8], id: &[u8], options: &GroupOptions) -> Outcome {
    let stream = Stream::load(call.keyspace, key)?;
    if stream.is_none() && !options.make_stream {
        return Err(NO_STREAM.into());
    }
    let id = match id {
        b"$" => stream.as_ref().map_or(Id::MIN, |stream| stream.last),
        id => Id::parse(id, 0)?,
    };
    let mut stream = match stream {
        Some(stream) => stream,
        None => Stream::new(call.keyspace)?,
    };
    if Group::load(call.keyspace, &stream, name)?.is_some() {
        return Err("BUSYGROUP Consumer Group name already exists".into());
    }
    Group::new(&mut stream, name, id, options.read)?.save(call.keyspace)?;
    stream.save(call.keyspace, key)?;
    push_simple(&mut call.reply, "OK");
    Ok(())
}

fn set_id(call: &mut Call<'_, '_>, key: &[u8], name: &[u8], id: &[u8], options: &GroupOptions) -> Outcome {
    let (stream, mut group) = existing(call, key, name)?;
    group.last = if id == b"$" { stream.last } else { Id::parse(id, 0)? };
    group.read = options.read;
    group.save(call.keyspace)?;
    push_simple(&mut call.reply, "OK");
    Ok(())
}

fn destroy(call: &mut Call<'_, '_>, key: &[u8], name: &[u8]) -> Outcome {
    let mut stream = Stream::load(call.keyspace, key)?.ok_or(NO_STREAM)?;
    let group = Group::load(call.keyspace, &stream, name)?;
    let destroyed = group.is_some();
    if let Some(group) = group {
        group.destroy(call.keyspace, &mut stream)?;
        stream.save(call.keyspace, key)?;
    }
    push_integer(&mut call.reply, i64::from(destroyed));
    Ok(())
}

/// XACK.
pub(super) fn acknowledge(call: &mut Call<'_, '_>) -> Outcome {
    let (key, name) = (call.arguments.required()?, call.arguments.required()?);
    let ids = call.rest()?;
    let stream = Stream::load(call.keyspace, key)?;
    let group = stream.map(|stream| Group::load(call.keyspace, &stream, name)).transpose()?.flatten();
    let mut acknowledged = 0;
    if let Some(mut group) = group {
        let ids = ids.into_iter().map(|id| Id::parse(id, 0)).collect::<Result<Vec<_>, _>>()?;
        let mut consumers = Consumers::default();
        for id in ids {
            if let Some(pending) = group.get_pending(call.keyspace, id)? {
                group.remove_pending(call.keyspace, &mut consumers, pending)?;
                acknowledged += 1;
            }
        }
        if acknowledged > 0 {
            consumers.save(&group, call.keyspace)?;
            group.save(call.keyspace)?;
        }
    }
    push_integer(&mut call.reply, acknowledged);
    Ok(())
}

/// What the long form of XPENDING asks for.
struct PendingQuery<'a> {
    idle_ms: u64,
    between: (Id, Id),
    count: u64,
    consumer: Option<&'a [u8]>,
}

impl<'a> PendingQuery<'a> {
    /// None for the short form.
    fn parse(words: &[&'a [u8]]) -> Result<Option<Self>, Failure> {
        let (idle_ms, words) = match words {
            [] => return Ok(None),
            [_] | [_, _] => return Err(SYNTAX.into()),
            [option, idle, rest @ ..] if is(option, "IDLE") => (integer(idle)?.max(0) as u64, rest),
            words => (0, words),
        };
        let (from, to, count, consumer) = match *words {
            [from, to, count] => (from, to, count, None),
            [from, to, count, consumer] => (from, to, count, Some(consumer)),
            _ => return Err(SYNTAX.into()),
        };
        let count = integer(count)?.max(0) as u64;
        let between = (Id::parse_bound(from, false)?, Id::parse_bound(to, true)?);
        Ok(Some(PendingQuery { idle_ms, between, count, consumer }))
    }
}

/// XPENDING.
pub(super) fn pending(call: &mut Call<'_, '_>) -> Outcome {
    let (key, name) = (call.arguments.required()?, call.arguments.required()?);
    let words = call.rest()?;
    let query = PendingQuery::parse(&words)?;
    let (_, group) = stream_and_group(call, key, name)?;
    match query {
        None => pending_summary(call, &group),
        Some(query) => pending_entries(call, &group, &query),
    }
}

fn pending_summary(call: &mut Call<'_, '_>, group: &Group) -> Outcome {
    push_array(&mut call.reply, 4);
    push_integer(&mut call.reply, group.pending as i64);
    if group.pending == 0 {
        push_null(&mut call.reply, call.resp3);
        push_null(&mut call.reply, call.resp3);
        push_null_array(&mut call.reply, call.resp3);
        return Ok(());
    }
    let mut first = Id::MIN;
    group.visit_pending(call.keyspace, (Id::MIN, Id::MAX), |pending| {
        first = pending.id;
        Ok(true)
    })?;
    first.push(&mut call.reply);
    group.last_pending(call.keyspace)?.push(&mut call.reply);
    let mut consumers = group.all_consumers(call.keyspace)?;
    consumers.retain(|consumer| consumer.pending > 0);
    push_array(&mut call.reply, consumers.len());
    for consumer in consumers {
        push_array(&mut call.reply, 2);
        push_bulk(&mut call.reply, &consumer.name);
        let mut count = Vec::new();
        push_u64(&mut count, consumer.pending);
        push_bulk(&mut call.reply, &count);
    }
    call.check_reply()
}

fn pending_entries(call: &mut Call<'_, '_>, group: &Group, query: &PendingQuery<'_>) -> Outcome {
    let now_ms = call.keyspace.now_us() / 1000;
    let mut found: Vec<Pending> = Vec::new();
    let mut take = |pending: Pending| {
        let idle_ms = now_ms.saturating_sub(pending.delivered_ms);
        if idle_ms >= query.idle_ms && (found.len() as u64) < query.count {
            found.push(pending);
        }
        crate::elements::check_held(found.len() as u64, 0)?;
        Ok(found.len() as u64 >= query.count)
    };
    match query.consumer {
        None => group.visit_pending(call.keyspace, query.between, take)?,
        Some(name) => {
            let consumer = group.consumer(call.keyspace, name)?;
            if let Some(consumer) = consumer {
                let count = if query.idle_ms == 0 { query.count } else { 0 };
                let ids = if query.count == 0 {
                    vec![]
                } else {
                    group.pending_of(call.keyspace, &consumer, query.between, count)?
                };
                for id in ids {
                    if let Some(pending) = group.get_pending(call.keyspace, id)?
                        && take(pending)?
                    {
                        break;
                    }
                }
            }
        }
    }
    let mut consumers = Consumers::default();
    push_array(&mut call.reply, found.len());
    for pending in found {
        push_array(&mut call.reply, 4);
        pending.id.push(&mut call.reply);
        let (consumer, _) = consumers.get(group, call.keyspace, pending.consumer)?;
        push_bulk(&mut call.reply, &consumer.name);
        push_integer(&mut call.reply, now_ms.saturating_sub(pending.delivered_ms) as i64);
        push_integer(&mut call.reply, pending.times as i64);
        call.check_reply()?;
    }
    Ok(())
}
