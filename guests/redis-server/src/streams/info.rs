//! XINFO, and how far groups have come.

use super::group_commands::{wrong_subcommand, wrong_syntax};
use super::groups::{Consumers, Group};
use super::{Id, Stream, push_entry};
use crate::arguments::{integer, is};
use crate::executor::Call;
use crate::keyspace::{Failure, Outcome};
use crate::resp::{push_array, push_bulk, push_integer, push_lines, push_map, push_null};

const HELP: &[&str] = &[
    "XINFO <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
    "CONSUMERS <key> <groupname>",
    "    Show consumers of <groupname>.",
    "GROUPS <key>",
    "    Show the stream consumer groups.",
    "STREAM <key> [FULL [COUNT <count>]",
    "    Show information about the stream.",
    "HELP",
    "    Print this help.",
];
/// Entries that XINFO STREAM FULL shows of each kind if nothing else is asked for.
const FULL_COUNT: u64 = 10;

impl Stream {
    /// True if an entry with this id or a later one may have been removed.
    fn has_holes_from(&self, id: Id) -> bool {
        self.length > 0 && self.max_deleted != Id::MIN && id <= self.max_deleted
    }

    /// How many entries were ever added up to an id, if that can be told.
    fn added_up_to(&self, id: Id) -> Option<u64> {
        if self.added == 0 {
            return Some(0);
        }
        if (self.length == 0 && id <= self.last) || id == self.last {
            return Some(self.added);
        }
        if id > self.last {
            return None;
        }
        if self.max_deleted == Id::MIN || self.max_deleted < self.first {
            if id < self.first {
                return Some(self.added.saturating_sub(self.length));
            }
            if id == self.first {
                return Some(self.added.saturating_sub(self.length) + 1);
            }
        }
        None
    }

    /// How many entries a group has read once it has read the one with this id; `read` before.
    pub(super) fn read_after(&self, read: Option<u64>, id: Id) -> Option<u64> {
        match read {
            Some(read) if !self.has_holes_from(id) => Some(read + 1),
            _ => self.added_up_to(id),
        }
    }

    /// How many entries a group has not been given yet, if that can be told.
    fn lag(&self, group: &Group) -> Option<i64> {
        if self.added == 0 {
            return Some(0);
        }
        let read = match group.read {
            Some(read) if !self.has_holes_from(group.last) => Some(read),
            _ => self.added_up_to(group.last),
        };
        read.map(|read| self.added as i64 - read as i64)
    }
}

/// XINFO.
pub(super) fn info(call: &mut Call<'_, '_>) -> Outcome {
    let subcommand = call.arguments.required()?;
    let words = call.rest()?;
    let load = |call: &mut Call<'_, '_>, key: &[u8]| -> Result<Stream, Failure> {
        Stream::load(call.keyspace, key)?.ok_or_else(|| "ERR no such key".into())
    };
    match words[..] {
        [] if is(subcommand, "HELP") => push_lines(&mut call.reply, HELP),
        [key] if is(subcommand, "GROUPS") => {
            let stream = load(call, key)?;
            return groups(call, &stream);
        }
        [key, name] if is(subcommand, "CONSUMERS") => {
            let stream = load(call, key)?;
            let group = Group::load(call.keyspace, &stream, name)?.ok_or_else(|| -> Failure {
                let (key, name) = (String::from_utf8_lossy(key), String::from_utf8_lossy(name));
                format!("NOGROUP No such consumer group '{name}' for key name '{key}'").into()
            })?;
            return consumers(call, &group);
        }
        [key] if is(subcommand, "STREAM") => {
            let stream = load(call, key)?;
            return summary(call, &stream);
        }
        [key, full] if is(subcommand, "STREAM") && is(full, "FULL") => {
            let stream = load(call, key)?;
            return Full { count: FULL_COUNT }.push(call, &stream);
        }
        [key, full, option, count] if is(subcommand, "STREAM") && is(full, "FULL") && is(option, "COUNT") => {
            let count = u64::try_from(integer(count)?).unwrap_or(FULL_COUNT);
            let stream = load(call, key)?;
            return Full { count }.push(call, &stream);
        }
        [_, _, ..] if is(subcommand, "STREAM") => return Err(wrong_syntax("XINFO", subcommand)),
        _ => return Err(wrong_subcommand("XINFO", subcommand, &["STREAM", "GROUPS", "CONSUMERS", "HELP"])),
    }
    Ok(())
}

fn push_field(out: &mut Vec<u8>, name: &str, value: u64) {
    push_bulk(out, name.as_bytes());
    push_integer(out, value as i64);
}

fn push_head(out: &mut Vec<u8>, stream: &Stream) {
    push_field(out, "length", stream.length);
    // What Redis' tree would have: a node for each hundred entries.
    let blocks = stream.length.div_ceil(100);
    push_field(out, "radix-tree-keys", blocks);
    push_field(out, "radix-tree-nodes", blocks + 1);
    let ids = [("last-generated-id", stream.last), ("max-deleted-entry-id", stream.max_deleted)];
    for (name, id) in ids {
        push_bulk(out, name.as_bytes());
        id.push(out);
    }
    push_field(out, "entries-added", stream.added);
    push_bulk(out, b"recorded-first-entry-id");
    stream.first.push(out);
}

fn summary(call: &mut Call<'_, '_>, stream: &Stream) -> Outcome {
    push_map(&mut call.reply, call.resp3, 10);
    push_head(&mut call.reply, stream);
    push_field(&mut call.reply, "groups", stream.groups);
    for (name, last) in [("first-entry", false), ("last-entry", true)] {
        push_bulk(&mut call.reply, name.as_bytes());
        let reply = &mut call.reply;
        let mut any = false;
        stream.visit(call.keyspace, (Id::MIN, Id::MAX), last, 1, |id, fields| {
            any = true;
            push_entry(reply, id, fields)?;
            Ok(true)
        })?;
        if !any {
            push_null(&mut call.reply, call.resp3);
        }
    }
    call.check_reply()
}

fn push_progress(out: &mut Vec<u8>, resp3: bool, stream: &Stream, group: &Group) {
    push_bulk(out, b"entries-read");
    match group.read {
        Some(read) => push_integer(out, read as i64),
        None => push_null(out, resp3),
    }
    push_bulk(out, b"lag");
    match stream.lag(group) {
        Some(lag) => push_integer(out, lag),
        None => push_null(out, resp3),
    }
}

fn groups(call: &mut Call<'_, '_>, stream: &Stream) -> Outcome {
    let groups = Group::all(call.keyspace, stream)?;
    push_array(&mut call.reply, groups.len());
    for group in groups {
        push_map(&mut call.reply, call.resp3, 6);
        push_bulk(&mut call.reply, b"name");
        push_bulk(&mut call.reply, &group.name);
        push_field(&mut call.reply, "consumers", group.consumers);
        push_field(&mut call.reply, "pending", group.pending);
        push_bulk(&mut call.reply, b"last-delivered-id");
        group.last.push(&mut call.reply);
        push_progress(&mut call.reply, call.resp3, stream, &group);
        call.check_reply()?;
    }
    Ok(())
}

fn consumers(call: &mut Call<'_, '_>, group: &Group) -> Outcome {
    let now_ms = call.keyspace.now_us() / 1000;
    let consumers = group.all_consumers(call.keyspace)?;
    push_array(&mut call.reply, consumers.len());
    for consumer in consumers {
        push_map(&mut call.reply, call.resp3, 4);
        push_bulk(&mut call.reply, b"name");
        push_bulk(&mut call.reply, &consumer.name);
        push_field(&mut call.reply, "pending", consumer.pending);
        push_field(&mut call.reply, "idle", now_ms.saturating_sub(consumer.seen_ms));
        push_bulk(&mut call.reply, b"inactive");
        let inactive = consumer.active_ms.map_or(-1, |active_ms| now_ms.saturating_sub(active_ms) as i64);
        push_integer(&mut call.reply, inactive);
        call.check_reply()?;
    }
    Ok(())
}

/// XINFO STREAM FULL.
struct Full {
    /// Of each kind; 0 for all.
    count: u64,
}

impl Full {
    fn push(&self, call: &mut Call<'_, '_>, stream: &Stream) -> Outcome {
        push_map(&mut call.reply, call.resp3, 9);
        push_head(&mut call.reply, stream);
        push_bulk(&mut call.reply, b"entries");
        let (mut found, mut entries) = (0, Vec::new());
        stream.visit(call.keyspace, (Id::MIN, Id::MAX), false, self.count, |id, fields| {
            found += 1;
            push_entry(&mut entries, id, fields)?;
            crate::executor::check_reply(&entries)?;
            Ok(false)
        })?;
        push_array(&mut call.reply, found);
        call.reply.append(&mut entries);
        push_bulk(&mut call.reply, b"groups");
        let groups = Group::all(call.keyspace, stream)?;
        push_array(&mut call.reply, groups.len());
        groups.into_iter().try_for_each(|group| self.push_group(call, stream, &group))
    }

    fn push_group(&self, call: &mut Call<'_, '_>, stream: &Stream, group: &Group) -> Outcome {
        push_map(&mut call.reply, call.resp3, 7);
        push_bulk(&mut call.reply, b"name");
        push_bulk(&mut call.reply, &group.name);
        push_bulk(&mut call.reply, b"last-delivered-id");
        group.last.push(&mut call.reply);
        push_progress(&mut call.reply, call.resp3, stream, group);
        push_field(&mut call.reply, "pel-count", group.pending);
        push_bulk(&mut call.reply, b"pending");
        let mut shown = Vec::new();
        group.visit_pending(call.keyspace, (Id::MIN, Id::MAX), |pending| {
            shown.push(pending);
            crate::elements::check_held(shown.len() as u64, 0)?;
            Ok(self.count > 0 && shown.len() as u64 >= self.count)
        })?;
        let mut consumers = Consumers::default();
        push_array(&mut call.reply, shown.len());
        for pending in shown {
            push_array(&mut call.reply, 4);
            pending.id.push(&mut call.reply);
            let (consumer, _) = consumers.get(group, call.keyspace, pending.consumer)?;
            push_bulk(&mut call.reply, &consumer.name);
            push_integer(&mut call.reply, pending.delivered_ms as i64);
            push_integer(&mut call.reply, pending.times as i64);
            call.check_reply()?;
        }
        push_bulk(&mut call.reply, b"consumers");
        let consumers = group.all_consumers(call.keyspace)?;
        push_array(&mut call.reply, consumers.len());
        for consumer in consumers {
            push_map(&mut call.reply, call.resp3, 5);
            push_bulk(&mut call.reply, b"name");
            push_bulk(&mut call.reply, &consumer.name);
            push_field(&mut call.reply, "seen-time", consumer.seen_ms);
            push_bulk(&mut call.reply, b"active-time");
            push_integer(&mut call.reply, consumer.active_ms.map_or(-1, |active_ms| active_ms as i64));
            push_field(&mut call.reply, "pel-count", consumer.pending);
            push_bulk(&mut call.reply, b"pending");
            let ids = group.pending_of(call.keyspace, &consumer, (Id::MIN, Id::MAX), self.count)?;
            push_array(&mut call.reply, ids.len());
            for id in ids {
                let Some(pending) = group.get_pending(call.keyspace, id)? else { continue };
                push_array(&mut call.reply, 3);
                id.push(&mut call.reply);
                push_integer(&mut call.reply, pending.delivered_ms as i64);
                push_integer(&mut call.reply, pending.times as i64);
                call.check_reply()?;
            }
        }
        Ok(())
    }
}
