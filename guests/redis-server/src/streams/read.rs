//! XREAD and XREADGROUP: what they read, and their half of the waiting (see [`crate::blocking`]).
//!
//! A read of plain entries takes nothing, and one for a group leaves what it delivers pending; so what is in a mailbox is the
//! finished reply, and nothing has to go back if nobody fetches it. A reply ends early when it has become large: whoever
//! reads on from its last id gets the rest.
//!
//! Invariant: keys and groups are checked before anything is delivered.

use std::collections::HashSet;

use recoil_sdk::encoding::{DecodeError, Reader, push_bytes};

use super::groups::{Consumers, Group, Pending};
use super::{Id, Stream, push_entry};
use crate::arguments::{Options, is};
use crate::blocking::{Parsed, Take};
use crate::keyspace::{Failure, Keyspace, Kind, Stored, WRONG_TYPE};
use crate::numbers::parse_i64;
use crate::resp::{push_array, push_bulk, push_map, push_null_array};
use crate::strings::SYNTAX;

/// Entries, with their fields and values each behind its length.
type Entries = Vec<(Id, Vec<u8>)>;

/// Entries of one stream that one command delivers at most.
const ENTRIES_MAX: u64 = 20_000;

/// Where the reading of a stream begins.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Start {
    After(Id),
    /// `$`: what comes from now on.
    Last,
    /// `>`: what the group has delivered to nobody.
    New,
}

/// What XREAD or XREADGROUP asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Read {
    group: Option<ForGroup>,
    /// Of each stream; 0 for all.
    count: u64,
    starts: Vec<(Vec<u8>, Start)>,
}

/// The options of XREADGROUP.
#[derive(Debug, Clone, PartialEq, Eq)]
struct ForGroup {
    name: Vec<u8>,
    consumer: Vec<u8>,
    no_ack: bool,
}

/// What a read has come to.
pub(crate) enum Answer {
    Reply(Vec<u8>),
    Nothing,
    /// A key holds something else.
    OtherType,
    /// More than there is room for; nothing was delivered.
    TooLarge,
    /// A group that is not there: the text.
    NoGroup(String),
}

fn timeout(text: &[u8]) -> Result<u64, Failure> {
    let timeout = parse_i64(text).ok_or("ERR timeout is not an integer or out of range")?;
    u64::try_from(timeout).map_err(|_| "ERR timeout is negative".into())
}

fn parse_start(text: &[u8], is_group: bool) -> Result<Start, Failure> {
    match text {
        b"$" if is_group => Err(
            "ERR The $ ID is meaningless in the context of XREADGROUP: you want to read the history of this consumer by \
             specifying a proper ID, or use the > ID to get new messages. The $ ID would just return an empty result set."
                .into(),
        ),
        b"$" => Ok(Start::Last),
        b">" if is_group => Ok(Start::New),
        b">" => Err(
            "ERR The > ID can be specified only when calling XREADGROUP using the GROUP <group> <consumer> option.".into(),
        ),
        text => Ok(Start::After(Id::parse(text, 0)?)),
    }
}

/// The arguments of XREAD or XREADGROUP behind its name.
pub(crate) fn parse<'a>(arguments: &[&'a [u8]], is_group: bool) -> Result<Parsed<'a>, Failure> {
    let name = if is_group { "xreadgroup" } else { "xread" };
    let only_groups =
        |option: &str| format!("ERR The {option} option is only supported by XREADGROUP. You called XREAD instead.");
    let (mut words, mut timeout_ms, mut count, mut group, mut no_ack) = (Options(arguments), None, 0, None, false);
    let streams = loop {
        let word = words.next().ok_or(SYNTAX)?;
        let more = words.0.len();
        if is(word, "BLOCK") && more > 0 {
            timeout_ms = Some(timeout(words.value()?)?);
        } else if is(word, "COUNT") && more > 0 {
            count = words.integer()?.max(0) as u64;
        } else if is(word, "STREAMS") && more > 0 {
            break words.0;
        } else if is(word, "GROUP") && more > 1 {
            if !is_group {
                return Err(only_groups("GROUP").into());
            }
            group = Some((words.value()?.to_vec(), words.value()?.to_vec()));
        } else if is(word, "NOACK") {
            if !is_group {
                return Err(only_groups("NOACK").into());
            }
            no_ack = true;
        } else {
            return Err(SYNTAX.into());
        }
    };
    if !streams.len().is_multiple_of(2) {
        let symbol = if is_group { '>' } else { '$' };
        return Err(format!(
            "ERR Unbalanced '{name}' list of streams: for each stream key an ID or '{symbol}' must be specified."
        )
        .into());
    }
    if is_group && group.is_none() {
        return Err("ERR Missing GROUP option for XREADGROUP".into());
    }
    let (keys, ids) = streams.split_at(streams.len() / 2);
    let mut starts = Vec::with_capacity(keys.len());
    for (key, id) in keys.iter().zip(ids) {
        starts.push((key.to_vec(), parse_start(id, is_group)?));
    }
    let group = group.map(|(name, consumer)| ForGroup { name, consumer, no_ack });
    let take = Take::Read(Read { group, count, starts });
    Ok(Parsed { take, keys: keys.to_vec(), timeout_ms: timeout_ms.unwrap_or(0), waits: timeout_ms.is_some() })
}

impl Read {
    /// True for XREADGROUP, which writes.
    pub(crate) fn is_for_group(&self) -> bool {
        self.group.is_some()
    }

    /// The keys, in their order; one that is there twice comes once.
    pub(crate) fn keys(&self) -> Vec<&[u8]> {
        let mut seen = HashSet::new();
        self.starts.iter().map(|(key, _)| &key[..]).filter(|key| seen.insert(*key)).collect()
    }

    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.count.to_le_bytes());
        match &self.group {
            None => out.push(0),
            Some(group) => {
                out.push(if group.no_ack { 2 } else { 1 });
                push_bytes(out, &group.name);
                push_bytes(out, &group.consumer);
            }
        }
        for (key, start) in &self.starts {
            push_bytes(out, key);
            match start {
                Start::After(id) => {
                    out.push(0);
                    out.extend_from_slice(&id.to_bytes());
                }
                Start::Last => out.push(1),
                Start::New => out.push(2),
            }
        }
    }

    pub(crate) fn decode(mut reader: Reader<'_>) -> Result<Self, DecodeError> {
        let count = reader.u64()?;
        let group = match reader.u8()? {
            0 => None,
            flag => {
                let (name, consumer) = (reader.bytes()?.to_vec(), reader.bytes()?.to_vec());
                Some(ForGroup { name, consumer, no_ack: flag == 2 })
            }
        };
        let mut starts = Vec::new();
        while reader.remaining() > 0 {
            let key = reader.bytes()?.to_vec();
            starts.push(match reader.u8()? {
                0 => (key, Start::After(Id::from_bytes(reader.array()?))),
                1 => (key, Start::Last),
                2 => (key, Start::New),
                _ => return Err(reader.error("an unknown start of a stream")),
            });
        }
        Ok(Read { group, count, starts })
    }

    /// Replace `$` of these keys by the last ids.
    pub(crate) fn resolve(&mut self, keyspace: &mut Keyspace<'_>, keys: &[impl AsRef<[u8]>]) -> Result<(), Failure> {
        let keys: HashSet<&[u8]> = keys.iter().map(AsRef::as_ref).collect();
        for (key, start) in &mut self.starts {
            if *start == Start::Last && keys.contains(&key[..]) {
                let stored = keyspace.load(key)?.filter(|stored| stored.kind == Kind::Stream);
                let last =
                    stored.map(|stored| Stream::decode(&stored)).transpose()?.map_or(Id::MIN, |stream| stream.last);
                *start = Start::After(last);
            }
        }
        Ok(())
    }

    /// Read the streams under these keys, about `bytes_max` at most. With `any_size`, one entry may be larger.
    pub(crate) fn answer(
        &self,
        keyspace: &mut Keyspace<'_>,
        keys: &[impl AsRef<[u8]>],
        resp3: bool,
        (bytes_max, any_size): (usize, bool),
    ) -> Result<Answer, Failure> {
        let keys: HashSet<&[u8]> = keys.iter().map(AsRef::as_ref).collect();
        let asked = || self.starts.iter().filter(|(key, _)| keys.contains(&key[..]));
        for (key, _) in asked() {
            let stored = keyspace.load(key)?;
            if let Some(answer) = self.check(keyspace, key, stored.as_ref())? {
                return Ok(answer);
            }
        }
        let (mut streams, mut body) = (0, Vec::new());
        for (key, start) in asked() {
            let Some(stream) = Stream::load(keyspace, key)? else { continue };
            let room = bytes_max.saturating_sub(body.len());
            // A history that is left out would seem to be at its end.
            let is_history = self.group.is_some() && matches!(start, Start::After(_));
            let first_fits = is_history || (any_size && streams == 0);
            let entries = match (&self.group, start) {
                (None, Start::After(id)) => {
                    let found = self.entries(keyspace, &stream, *id, room, first_fits)?;
                    if found.is_none() && streams == 0 {
                        return Ok(Answer::TooLarge);
                    }
                    found.filter(|found| !found.is_empty()).map(|found| push_entries(&found)).transpose()?
                }
                (Some(group), Start::New) => match self.deliver(keyspace, &stream, group, room, first_fits)? {
                    None if streams == 0 => return Ok(Answer::TooLarge),
                    found => found.flatten(),
                },
                (Some(group), Start::After(id)) => Some(self.history(keyspace, &stream, group, *id, (room, resp3))?),
                _ => None,
            };
            if let Some(entries) = entries {
                streams += 1;
                if !resp3 {
                    push_array(&mut body, 2);
                }
                push_bulk(&mut body, key);
                body.extend_from_slice(&entries);
                crate::executor::check_reply(&body)?;
            }
        }
        if streams == 0 {
            return Ok(Answer::Nothing);
        }
        let mut reply = Vec::with_capacity(body.len() + 8);
        if resp3 {
            push_map(&mut reply, true, streams)
        } else {
            push_array(&mut reply, streams)
        }
        reply.append(&mut body);
        Ok(Answer::Reply(reply))
    }

    /// What is wrong with a key.
    fn check(&self, keyspace: &Keyspace<'_>, key: &[u8], stored: Option<&Stored>) -> Result<Option<Answer>, Failure> {
        if stored.is_some_and(|stored| stored.kind != Kind::Stream) {
            return Ok(Some(Answer::OtherType));
        }
        let Some(group) = &self.group else { return Ok(None) };
        let found = match stored {
            Some(stored) => Group::load(keyspace, &Stream::decode(stored)?, &group.name)?,
            None => None,
        };
        Ok(found.is_none().then(|| {
            let (key, name) = (String::from_utf8_lossy(key), String::from_utf8_lossy(&group.name));
            Answer::NoGroup(format!(
                "NOGROUP No such key '{key}' or consumer group '{name}' in XREADGROUP with GROUP option"
            ))
        }))
    }

    /// Entries after an id; none if the first alone does not fit.
    fn entries(
        &self,
        keyspace: &Keyspace<'_>,
        stream: &Stream,
        after: Id,
        room: usize,
        first_fits: bool,
    ) -> Result<Option<Entries>, Failure> {
        let (mut found, mut bytes, mut too_large) = (Vec::new(), 0, false);
        let Some(from) = after.next() else { return Ok(Some(found)) };
        let count = if self.count == 0 { ENTRIES_MAX } else { self.count.min(ENTRIES_MAX) };
        stream.visit(keyspace, (from, Id::MAX), false, count, |id, fields| {
            bytes += fields.len() * 2 + 64;
            if bytes > room && !(found.is_empty() && first_fits) {
                too_large = found.is_empty();
                return Ok(true);
            }
            found.push((id, fields.to_vec()));
            Ok(false)
        })?;
        Ok((!too_large).then_some(found))
    }

    /// Deliver what is new to a consumer. Nothing if there is none; the outer nothing if the first entry does not fit.
    fn deliver(
        &self,
        keyspace: &mut Keyspace<'_>,
        stream: &Stream,
        of: &ForGroup,
        room: usize,
        first_fits: bool,
    ) -> Result<Option<Option<Vec<u8>>>, Failure> {
        let Some(mut group) = Group::load(keyspace, stream, &of.name)? else { return Ok(Some(None)) };
        let Some(entries) = self.entries(keyspace, stream, group.last, room, first_fits)? else { return Ok(None) };
        let now_ms = keyspace.now_us() / 1000;
        let (mut consumer, is_new) = group.consumer_or_new(keyspace, &of.consumer)?;
        if entries.is_empty() {
            if is_new {
                group.save_consumer(keyspace, &consumer)?;
                group.save(keyspace)?;
            }
            return Ok(Some(None));
        }
        (consumer.seen_ms, consumer.active_ms) = (now_ms, Some(now_ms));
        let number = consumer.number;
        let mut consumers = Consumers::default();
        consumers.insert(consumer);
        for (id, _) in &entries {
            group.read = stream.read_after(group.read, *id);
            group.last = *id;
            if !of.no_ack {
                // It may be pending already, if SETID has gone back.
                let before = if group.pending > 0 { group.get_pending(keyspace, *id)? } else { None };
                let pending = Pending { id: *id, consumer: number, delivered_ms: now_ms, times: 1 };
                group.put_pending(keyspace, &mut consumers, before, pending)?;
            }
        }
        consumers.save(&group, keyspace)?;
        group.save(keyspace)?;
        push_entries(&entries).map(|entries| Some(Some(entries)))
    }

    /// What is pending for a consumer after an id.
    fn history(
        &self,
        keyspace: &mut Keyspace<'_>,
        stream: &Stream,
        of: &ForGroup,
        after: Id,
        (room, resp3): (usize, bool),
    ) -> Result<Vec<u8>, Failure> {
        let (mut count, mut entries) = (0, Vec::new());
        let Some(mut group) = Group::load(keyspace, stream, &of.name)? else { return Err(WRONG_TYPE.into()) };
        let now_ms = keyspace.now_us() / 1000;
        let (mut consumer, is_new) = group.consumer_or_new(keyspace, &of.consumer)?;
        consumer.seen_ms = now_ms;
        let limit = if self.count == 0 { ENTRIES_MAX } else { self.count.min(ENTRIES_MAX) };
        let ids = match after.next() {
            Some(from) => group.pending_of(keyspace, &consumer, (from, Id::MAX), limit)?,
            None => Vec::new(),
        };
        let mut consumers = Consumers::default();
        consumers.insert(consumer);
        for id in ids {
            if entries.len() > room {
                break;
            }
            count += 1;
            match stream.get(keyspace, id)? {
                None => {
                    push_array(&mut entries, 2);
                    id.push(&mut entries);
                    push_null_array(&mut entries, resp3);
                }
                Some(fields) => {
                    push_entry(&mut entries, id, &fields)?;
                    if let Some(before) = group.get_pending(keyspace, id)? {
                        let again = Pending { delivered_ms: now_ms, times: before.times + 1, ..before };
                        group.put_pending(keyspace, &mut consumers, Some(before), again)?;
                    }
                }
            }
        }
        if is_new || count > 0 {
            consumers.save(&group, keyspace)?;
            group.save(keyspace)?;
        }
        let mut reply = Vec::with_capacity(entries.len() + 8);
        push_array(&mut reply, count);
        reply.append(&mut entries);
        Ok(reply)
    }
}

fn push_entries(found: &[(Id, Vec<u8>)]) -> Result<Vec<u8>, Failure> {
    let mut entries = Vec::new();
    push_array(&mut entries, found.len());
    for (id, fields) in found {
        push_entry(&mut entries, *id, fields)?;
    }
    Ok(entries)
}

/// Make one reply of those about several streams, each of which is an array or a map, or says that there is nothing. An error
/// is the reply if nothing else is.
pub(crate) fn merge(replies: Vec<Vec<u8>>, resp3: bool) -> Option<Vec<u8>> {
    let (mut streams, mut body, mut error) = (0usize, Vec::new(), None);
    for reply in replies {
        let end = reply.windows(2).position(|pair| pair == b"\r\n").unwrap_or(reply.len());
        let count = match reply.first() {
            Some(b'*' | b'%') => parse_i64(&reply[1..end]).and_then(|count| usize::try_from(count).ok()).unwrap_or(0),
            Some(b'-') => {
                error.get_or_insert(reply);
                continue;
            }
            _ => 0,
        };
        streams += count;
        body.extend_from_slice(reply.get(end + 2..).unwrap_or_default());
    }
    if streams == 0 {
        return error;
    }
    let mut merged = Vec::with_capacity(body.len() + 8);
    if resp3 {
        push_map(&mut merged, true, streams)
    } else {
        push_array(&mut merged, streams)
    }
    merged.append(&mut body);
    Some(merged)
}
