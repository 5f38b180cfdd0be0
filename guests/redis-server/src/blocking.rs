//! Blocking commands on a partition: BLPOP, BRPOP, BLMOVE, BRPOPLPUSH, BLMPOP, BZPOPMIN, BZPOPMAX, BZMPOP, XREAD, XREADGROUP.
//!
//! ```text
//! waiter row    08 | key, escaped | since (8) | connection (8) → empty
//! waiting row   0a | connection (8) → lease until (8) | since (8) | RESP3 (1) | command | keys
//! mailbox row   09 | connection (8) → lease until (8) | RESP3 (1) | command | key | items
//! timer         w | connection (8)
//! ```
//!
//! A transaction waits for nobody, so a command that finds nothing registers: a waiting row for the connection, and a
//! waiter row for each of its keys. A transaction that makes a list or sorted set exist serves the waiters of that key at
//! its end ([`serve`]), first come first served over all nodes, as Redis does: it takes the items, puts them into the mailbox of
//! the connection and publishes to the connection's topic. A served BLMOVE may make its target exist, whose waiters are
//! served in the same transaction, and so on. The listener asks again when it hears of that, and once a second in case it does
//! not: `Op::Block` answers the mailbox if there is one, else tries again, else renews the registration.
//!
//! Streams: every change of one serves all who read it, since reading takes nothing, or what it delivers stays pending; what a
//! mailbox then holds is the finished reply, or the error of a group that is gone. `$` becomes an id when the command first
//! asks, and the listener is told, so that it cannot mean a later one.
//!
//! Crash points. The transaction that takes the items writes the mailbox, so items are in a collection, in a mailbox, or
//! answered. A listener that is gone stops renewing its lease; the timer then removes the registration and gives what is in the
//! mailbox back to the end of the list, or the sorted set, that it came from. A lost message costs a second. A reply that is
//! lost on the way to the client is lost with what it holds, as in Redis.
//!
//! Invariant: a connection has either a waiting row with its waiter rows, or a mailbox, or neither; and a timer while it
//! has one. Items that are too large for a mailbox stay where they are, and the connection is told to fetch them itself.

use std::collections::VecDeque;

use recoil_sdk::KeyRange;
use recoil_sdk::encoding::{DecodeError, Key, KeyReader, Reader, push_bytes, push_count};

use crate::arguments::{NUMKEYS, Words};
use crate::elements::Elements;
use crate::executor::{CHANGES_MAX, Call};
use crate::keyspace::{Failure, Keyspace, Kind, Outcome, Value as _, WRONG_TYPE, damaged};
use crate::list::List;
use crate::list::commands::parse_end;
use crate::numbers::{parse_f64, parse_i64};
use crate::resp::{push_array, push_bulk, push_double, push_error, push_null, push_null_array};
use crate::streams::read::{Answer, Read, parse as parse_read};
use crate::strings::SYNTAX;
use crate::zset::index::{Member, encode_score};
use crate::zset::{parse_mpop, pop_members};

const ROW_WAITER: u8 = 8;
const ROW_MAILBOX: u8 = 9;
const ROW_WAITING: u8 = 10;
/// First byte of the id of a timer that ends a registration or a mailbox.
pub(crate) const TIMER_WAITING: u8 = b'w';
/// How long a registration and a mailbox outlive the last word of their listener.
const LEASE_US: u64 = 10_000_000;
/// A registration with less than this left is renewed.
const RENEW_US: u64 = 6_000_000;
/// What a mailbox may hold.
const MAILBOX_BYTES_MAX: u64 = 4 << 20;
/// The longest time that a command may wait: what Redis' milliseconds have room for is out of range here, too.
const TIMEOUT_SECONDS_MAX: f64 = 1e12;

/// What a reply to XREAD or XREADGROUP that nobody has waited for comes to, about.
const READ_BYTES_MAX: usize = 7 << 20;

/// The answer to a request that has been registered: the connection waits. No reply begins with it. What is read of streams
/// follows, with ids instead of `$`.
pub(crate) const WAIT: u8 = 1;

/// What a blocking command takes, and how it answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Take {
    /// BLPOP and BRPOP: key and value.
    One { left: bool },
    /// BLMPOP: key and values.
    Several { left: bool, count: u64 },
    /// BLMOVE and BRPOPLPUSH: the value, which is now at an end of another list.
    Move { left: bool, to: Vec<u8>, to_left: bool },
    /// BZPOPMIN and BZPOPMAX: key, member and score.
    Extreme { max: bool },
    /// BZMPOP: key, and members with their scores.
    Extremes { max: bool, count: u64 },
    /// XREAD and XREADGROUP.
    Read(Read),
}

/// Which command it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Blocking {
    LPop,
    RPop,
    LMPop,
    LMove,
    RPopLPush,
    ZPopMin,
    ZPopMax,
    ZMPop,
    XRead,
    XReadGroup,
}

/// A blocking command, parsed.
pub(crate) struct Parsed<'a> {
    pub(crate) take: Take,
    pub(crate) keys: Words<'a>,
    /// 0: for ever.
    pub(crate) timeout_ms: u64,
    /// False for a command that may wait and was not asked to.
    pub(crate) waits: bool,
}

fn parse_timeout(text: &[u8]) -> Result<u64, Failure> {
    let seconds = parse_f64(text).filter(|seconds| *seconds <= TIMEOUT_SECONDS_MAX);
    let seconds = seconds.ok_or("ERR timeout is not a float or out of range")?;
    if seconds < 0.0 {
        return Err("ERR timeout is negative".into());
    }
    Ok((seconds * 1000.0).ceil() as u64)
}

impl<'a> Parsed<'a> {
    /// The arguments of a command after its name, whose number its arity has checked.
    pub(crate) fn parse(which: Blocking, arguments: &[&'a [u8]]) -> Result<Self, Failure> {
        let (first, last) = match arguments {
            [first, .., last] => (*first, *last),
            _ => return Err(SYNTAX.into()),
        };
        let but_last = || arguments[..arguments.len() - 1].to_vec();
        Ok(match which {
            Blocking::LPop | Blocking::RPop => {
                let take = Take::One { left: which == Blocking::LPop };
                Parsed { take, keys: but_last(), timeout_ms: parse_timeout(last)?, waits: true }
            }
            Blocking::ZPopMin | Blocking::ZPopMax => {
                let take = Take::Extreme { max: which == Blocking::ZPopMax };
                Parsed { take, keys: but_last(), timeout_ms: parse_timeout(last)?, waits: true }
            }
            Blocking::LMove | Blocking::RPopLPush => {
                let (left, to_left) = match arguments {
                    [_, _, left, to_left, _] => (parse_end(left)?, parse_end(to_left)?),
                    _ => (false, true),
                };
                let to = arguments[1].to_vec();
                let (take, timeout_ms) = (Take::Move { left, to, to_left }, parse_timeout(last)?);
                Parsed { take, keys: vec![first], timeout_ms, waits: true }
            }
            Blocking::LMPop | Blocking::ZMPop => {
                let timeout_ms = parse_timeout(first)?;
                let count = parse_i64(arguments[1]).and_then(|count| usize::try_from(count).ok());
                let count = count.filter(|count| *count > 0).ok_or_else(|| NUMKEYS.not_positive.to_owned())?;
                let rest = &arguments[2..];
                if count >= rest.len() {
                    return Err(SYNTAX.into());
                }
                let (keys, options) = rest.split_at(count);
                let take = if which == Blocking::LMPop {
                    let (right, count) = parse_mpop(options, ("LEFT", "RIGHT"))?;
                    Take::Several { left: !right, count }
                } else {
                    let (max, count) = parse_mpop(options, ("MIN", "MAX"))?;
                    Take::Extremes { max, count }
                };
                Parsed { take, keys: keys.to_vec(), timeout_ms, waits: true }
            }
            Blocking::XRead | Blocking::XReadGroup => parse_read(arguments, which == Blocking::XReadGroup)?,
        })
    }
}

/// What was taken, and from where.
#[derive(Debug, Clone, PartialEq)]
enum Items {
    Values(Vec<Vec<u8>>),
    Members(Vec<Member>),
    /// The whole reply.
    Reply(Vec<u8>),
}

impl Take {
    fn kind(&self) -> Kind {
        match self {
            Take::One { .. } | Take::Several { .. } | Take::Move { .. } => Kind::List,
            Take::Extreme { .. } | Take::Extremes { .. } => Kind::SortedSet,
            Take::Read(_) => Kind::Stream,
        }
    }

    /// The reply of a command that has waited in vain.
    pub(crate) fn push_nothing(&self, out: &mut Vec<u8>, resp3: bool) {
        if matches!(self, Take::Move { .. }) { push_null(out, resp3) } else { push_null_array(out, resp3) }
    }

    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        let mut read = Vec::new();
        let (kind, flag, count, to, to_flag): (u8, bool, u64, &[u8], bool) = match self {
            Take::One { left } => (1, *left, 0, b"", false),
            Take::Several { left, count } => (2, *left, *count, b"", false),
            Take::Move { left, to, to_left } => (3, *left, 0, to, *to_left),
            Take::Extreme { max } => (4, *max, 0, b"", false),
            Take::Extremes { max, count } => (5, *max, *count, b"", false),
            Take::Read(take) => {
                take.encode(&mut read);
                (6, false, 0, &read, false)
            }
        };
        out.extend_from_slice(&[kind, u8::from(flag), u8::from(to_flag)]);
        push_count(out, count);
        push_bytes(out, to);
    }

    pub(crate) fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let (kind, flag, to_left) = (reader.u8()?, reader.u8()? != 0, reader.u8()? != 0);
        let (count, to) = (reader.count()?, reader.bytes()?);
        Ok(match kind {
            1 => Take::One { left: flag },
            2 => Take::Several { left: flag, count },
            3 => Take::Move { left: flag, to: to.to_vec(), to_left },
            4 => Take::Extreme { max: flag },
            5 => Take::Extremes { max: flag, count },
            6 => Take::Read(Read::decode(Reader::new(to))?),
            _ => return Err(reader.error("an unknown blocking command")),
        })
    }

    /// The reply of a command that got something.
    fn push_reply(&self, out: &mut Vec<u8>, resp3: bool, key: &[u8], items: &Items) {
        if let Items::Reply(reply) = items {
            return out.extend_from_slice(reply);
        }
        if !matches!(self, Take::Move { .. }) {
            push_array(out, if matches!(self, Take::Extreme { .. }) { 3 } else { 2 });
            push_bulk(out, key);
        }
        match items {
            Items::Reply(_) => {}
            Items::Values(values) => {
                if matches!(self, Take::Several { .. }) {
                    push_array(out, values.len());
                }
                values.iter().for_each(|value| push_bulk(out, value));
            }
            Items::Members(members) => {
                let nested = matches!(self, Take::Extremes { .. });
                if nested {
                    push_array(out, members.len());
                }
                for member in members {
                    if nested {
                        push_array(out, 2);
                    }
                    push_bulk(out, &member.name);
                    push_double(out, resp3, member.score);
                }
            }
        }
    }
}

/// A connection that waits.
struct Waiting {
    lease_until_us: u64,
    since_us: u64,
    resp3: bool,
    take: Take,
    keys: Vec<Vec<u8>>,
}

impl Waiting {
    fn load(keyspace: &Keyspace<'_>, connection: u64) -> Result<Option<Self>, Failure> {
        let Some(row) = keyspace.transaction.get(&connection_row(ROW_WAITING, connection))? else { return Ok(None) };
        let mut reader = Reader::new(&row);
        let mut decode = || -> Result<Self, DecodeError> {
            let (lease_until_us, since_us, resp3) = (reader.u64()?, reader.u64()?, reader.u8()? != 0);
            let take = Take::decode(&mut reader)?;
            let mut keys = Vec::new();
            while reader.remaining() > 0 {
                keys.push(reader.bytes()?.to_vec());
            }
            Ok(Waiting { lease_until_us, since_us, resp3, take, keys })
        };
        decode().map(Some).map_err(damaged)
    }

    fn store(&self, keyspace: &mut Keyspace<'_>, connection: u64) -> Outcome {
        let mut row = Vec::new();
        row.extend_from_slice(&self.lease_until_us.to_le_bytes());
        row.extend_from_slice(&self.since_us.to_le_bytes());
        row.push(u8::from(self.resp3));
        self.take.encode(&mut row);
        self.keys.iter().for_each(|key| push_bytes(&mut row, key));
        Ok(keyspace.transaction.put(&connection_row(ROW_WAITING, connection), &row)?)
    }

    /// The connection does not wait any more.
    fn remove(&self, keyspace: &mut Keyspace<'_>, connection: u64) -> Outcome {
        keyspace.transaction.remove(&connection_row(ROW_WAITING, connection))?;
        for key in &self.keys {
            keyspace.transaction.remove(&waiter_row(key, self.since_us, connection))?;
        }
        Ok(())
    }
}

/// What a connection got while it waited.
struct Mailbox {
    lease_until_us: u64,
    resp3: bool,
    take: Take,
    key: Vec<u8>,
    items: Items,
}

impl Mailbox {
    fn load(keyspace: &Keyspace<'_>, connection: u64) -> Result<Option<Self>, Failure> {
        let Some(row) = keyspace.transaction.get(&connection_row(ROW_MAILBOX, connection))? else { return Ok(None) };
        let mut reader = Reader::new(&row);
        let mut decode = || -> Result<Self, DecodeError> {
            let (lease_until_us, resp3) = (reader.u64()?, reader.u8()? != 0);
            let take = Take::decode(&mut reader)?;
            let key = reader.bytes()?.to_vec();
            if take.kind() == Kind::Stream {
                let items = Items::Reply(reader.bytes()?.to_vec());
                return Ok(Mailbox { lease_until_us, resp3, take, key, items });
            }
            let (mut values, mut members) = (Vec::new(), Vec::new());
            while reader.remaining() > 0 {
                let item = reader.bytes()?.to_vec();
                if take.kind() == Kind::List {
                    values.push(item);
                } else {
                    members.push(Member { name: item, score: f64::from_bits(reader.u64()?) });
                }
            }
            let items = if take.kind() == Kind::List { Items::Values(values) } else { Items::Members(members) };
            Ok(Mailbox { lease_until_us, resp3, take, key, items })
        };
        decode().map(Some).map_err(damaged)
    }

    fn store(&self, keyspace: &mut Keyspace<'_>, connection: u64) -> Outcome {
        let mut row = Vec::new();
        row.extend_from_slice(&self.lease_until_us.to_le_bytes());
        row.push(u8::from(self.resp3));
        self.take.encode(&mut row);
        push_bytes(&mut row, &self.key);
        match &self.items {
            Items::Reply(reply) => push_bytes(&mut row, reply),
            Items::Values(values) => values.iter().for_each(|value| push_bytes(&mut row, value)),
            Items::Members(members) => {
                for member in members {
                    push_bytes(&mut row, &member.name);
                    row.extend_from_slice(&member.score.to_bits().to_le_bytes());
                }
            }
        }
        Ok(keyspace.transaction.put(&connection_row(ROW_MAILBOX, connection), &row)?)
    }

    /// Put the items back where they came from. What a move has moved stays where it is; so do items whose key has become
    /// something else meanwhile, which is the client's doing: they are dropped, as Redis drops what a dead client was sent.
    fn give_back(self, keyspace: &mut Keyspace<'_>) -> Outcome {
        let known = keyspace.load(&self.key)?.is_none_or(|stored| stored.kind == self.take.kind());
        match (self.take, self.items) {
            (Take::One { left } | Take::Several { left, .. }, Items::Values(values)) if known => {
                let mut list = List::load_or_new(keyspace, &self.key)?;
                for value in values.iter().rev() {
                    list.push(keyspace, value, left)?;
                }
                list.save(keyspace, &self.key)
            }
            (_, Items::Members(members)) if known => {
                let mut set = Elements::load_or_new(keyspace, &self.key, Kind::SortedSet)?;
                for member in members {
                    // One that was added again meanwhile is the newer.
                    if set.get(keyspace, &member.name)?.is_none() {
                        set.add(keyspace, &member.name, &encode_score(member.score))?;
                    }
                }
                set.save(keyspace, &self.key)
            }
            _ => Ok(()),
        }
    }
}

fn connection_row(kind: u8, connection: u64) -> [u8; 9] {
    let mut row = [kind; 9];
    row[1..].copy_from_slice(&connection.to_be_bytes());
    row
}

fn waiter_row(key: &[u8], since_us: u64, connection: u64) -> Vec<u8> {
    Key::new(ROW_WAITER).bytes(key).u64(since_us).u64(connection).finish()
}

/// The topic that a connection listens to while it waits. No channel of a client's has this name, since it begins with a zero
/// and ends with a number that is the connection's secret.
pub(crate) fn topic(connection: u64) -> Vec<u8> {
    [&b"\0waiting\0"[..], &connection.to_be_bytes()].concat()
}

/// How an attempt ended.
enum Attempt {
    Got(Items),
    Nothing,
    /// The key has something of another type.
    OtherType,
    /// The command cannot be done any more: its error.
    Error(String),
    /// More than the caller has room for; nothing was taken.
    TooLarge,
}

/// Try to take from a key, at most `bytes_max`.
fn attempt(
    keyspace: &mut Keyspace<'_>,
    take: &Take,
    key: &[u8],
    resp3: bool,
    bytes_max: u64,
) -> Result<Attempt, Failure> {
    if let Take::Read(read) = take {
        return attempt_read(keyspace, read, &[key], resp3, (bytes_max as usize, false));
    }
    let Some(stored) = keyspace.load(key)? else { return Ok(Attempt::Nothing) };
    if stored.kind != take.kind() {
        return Ok(Attempt::OtherType);
    }
    match take {
        Take::One { left } => take_values(keyspace, List::decode(&stored)?, key, *left, 1, bytes_max),
        Take::Several { left, count } => take_values(keyspace, List::decode(&stored)?, key, *left, *count, bytes_max),
        Take::Move { left, to, to_left } => {
            if to != key && keyspace.load(to)?.is_some_and(|target| target.kind != Kind::List) {
                return Ok(Attempt::OtherType);
            }
            let attempt = take_values(keyspace, List::decode(&stored)?, key, *left, 1, bytes_max)?;
            if let Attempt::Got(Items::Values(values)) = &attempt {
                let mut target = List::load_or_new(keyspace, to)?;
                for value in values {
                    target.push(keyspace, value, *to_left)?;
                }
                target.save(keyspace, to)?;
            }
            Ok(attempt)
        }
        Take::Extreme { max } | Take::Extremes { max, .. } => {
            let count = if let Take::Extremes { count, .. } = take { *count } else { 1 };
            let mut set = Elements::decode(&stored)?;
            // Members are small, but for many of them at once.
            if count > 1 && (set.bytes() > bytes_max || count.min(set.len()) > CHANGES_MAX / 3) {
                return Ok(Attempt::TooLarge);
            }
            Ok(Attempt::Got(Items::Members(pop_members(keyspace, key, &mut set, *max, count)?)))
        }
        Take::Read(_) => Ok(Attempt::Nothing),
    }
}

fn attempt_read(
    keyspace: &mut Keyspace<'_>,
    read: &Read,
    keys: &[&[u8]],
    resp3: bool,
    room: (usize, bool),
) -> Result<Attempt, Failure> {
    Ok(match read.answer(keyspace, keys, resp3, room)? {
        Answer::Reply(reply) => Attempt::Got(Items::Reply(reply)),
        Answer::Nothing => Attempt::Nothing,
        // Who waits for a group is told, as Redis does.
        Answer::OtherType if read.is_for_group() => Attempt::Error(WRONG_TYPE.to_owned()),
        Answer::OtherType => Attempt::OtherType,
        Answer::TooLarge => Attempt::TooLarge,
        Answer::NoGroup(text) => Attempt::Error(text),
    })
}

fn take_values(
    keyspace: &mut Keyspace<'_>,
    mut list: List,
    key: &[u8],
    left: bool,
    count: u64,
    bytes_max: u64,
) -> Result<Attempt, Failure> {
    let (length, count) = (list.len(), count.min(list.len()));
    if count > CHANGES_MAX {
        return Ok(Attempt::TooLarge);
    }
    let (mut values, mut bytes) = (Vec::new(), 0);
    list.visit(keyspace, if left { 0 } else { length - 1 }, count, !left, |_, value| {
        bytes += value.len() as u64;
        values.push(value.to_vec());
        Ok(bytes > bytes_max)
    })?;
    if bytes > bytes_max {
        return Ok(Attempt::TooLarge);
    }
    list.trim(keyspace, if left { count } else { 0 }, length - count)?;
    list.save(keyspace, key)?;
    Ok(Attempt::Got(Items::Values(values)))
}

/// `Op::Block`: arguments are the connection, whether it may wait (1) or not, the command, and its keys on this partition. The
/// answer is the reply, or [`WAIT`].
pub(crate) fn block(call: &mut Call<'_, '_>) -> Outcome {
    let (connection, may_wait, take) =
        (call.arguments.number()?, call.arguments.number()? != 0, call.arguments.required()?);
    let mut take = Take::decode(&mut Reader::new(take))?;
    let keys = call.rest()?;
    if may_wait && let Some(mailbox) = Mailbox::load(call.keyspace, connection)? {
        call.keyspace.transaction.remove(&connection_row(ROW_MAILBOX, connection))?;
        call.keyspace.transaction.cancel_timer(&timer(connection));
        mailbox.take.push_reply(&mut call.reply, call.resp3, &mailbox.key, &mailbox.items);
        return Ok(());
    }
    let waiting = if may_wait { Waiting::load(call.keyspace, connection)? } else { None };
    if let Take::Read(read) = &mut take {
        match &waiting {
            Some(Waiting { take: Take::Read(resolved), .. }) => *read = resolved.clone(),
            _ => read.resolve(call.keyspace, &keys)?,
        }
    }
    // Streams are read together, everything else by the first key that has something.
    let groups = if matches!(take, Take::Read(_)) { vec![&keys[..]] } else { keys.chunks(1).collect() };
    for keys in groups {
        let key = keys.first().copied().unwrap_or_default();
        let attempt = match &take {
            Take::Read(read) => attempt_read(call.keyspace, read, keys, call.resp3, (READ_BYTES_MAX, true))?,
            take => attempt(call.keyspace, take, key, call.resp3, 15 << 20)?,
        };
        match attempt {
            Attempt::Nothing => {}
            Attempt::OtherType if waiting.is_some() => {}
            Attempt::OtherType => return Err(WRONG_TYPE.into()),
            Attempt::Error(text) => {
                if let Some(waiting) = waiting {
                    waiting.remove(call.keyspace, connection)?;
                    call.keyspace.transaction.cancel_timer(&timer(connection));
                }
                push_error(&mut call.reply, &text);
                return Ok(());
            }
            Attempt::TooLarge => {
                return Err("ERR what would be taken is more than one command takes: ask for less at a time".into());
            }
            Attempt::Got(items) => {
                if let Some(waiting) = waiting {
                    waiting.remove(call.keyspace, connection)?;
                    call.keyspace.transaction.cancel_timer(&timer(connection));
                }
                take.push_reply(&mut call.reply, call.resp3, key, &items);
                return Ok(());
            }
        }
    }
    if !may_wait {
        take.push_nothing(&mut call.reply, call.resp3);
        return Ok(());
    }
    call.reply.push(WAIT);
    if matches!(take, Take::Read(_)) {
        take.encode(&mut call.reply);
    }
    register(call, connection, waiting, take, keys)
}

fn register(
    call: &mut Call<'_, '_>,
    connection: u64,
    waiting: Option<Waiting>,
    take: Take,
    keys: Words<'_>,
) -> Outcome {
    let now_us = call.keyspace.now_us();
    let lease_until_us = now_us + LEASE_US;
    if let Some(mut waiting) = waiting {
        if waiting.lease_until_us < now_us + RENEW_US {
            waiting.lease_until_us = lease_until_us;
            waiting.store(call.keyspace, connection)?;
        }
        return Ok(());
    }
    let keys: Vec<Vec<u8>> = keys.iter().map(|key| key.to_vec()).collect();
    for key in &keys {
        call.keyspace.transaction.put(&waiter_row(key, now_us, connection), b"")?;
    }
    let waiting = Waiting { lease_until_us, since_us: now_us, resp3: call.resp3, take, keys };
    waiting.store(call.keyspace, connection)?;
    call.keyspace.transaction.set_timer(&timer(connection), lease_until_us, b"");
    Ok(())
}

/// `Op::Unblock`: arguments are the connection, and whether what it got meanwhile goes back (1) or is answered.
pub(crate) fn unblock(call: &mut Call<'_, '_>) -> Outcome {
    let (connection, give_back) = (call.arguments.number()?, call.arguments.number()? != 0);
    if let Some(mailbox) = Mailbox::load(call.keyspace, connection)? {
        call.keyspace.transaction.remove(&connection_row(ROW_MAILBOX, connection))?;
        if give_back {
            mailbox.give_back(call.keyspace)?;
        } else {
            mailbox.take.push_reply(&mut call.reply, call.resp3, &mailbox.key, &mailbox.items);
        }
    }
    if let Some(waiting) = Waiting::load(call.keyspace, connection)? {
        waiting.remove(call.keyspace, connection)?;
    }
    call.keyspace.transaction.cancel_timer(&timer(connection));
    Ok(())
}

fn timer(connection: u64) -> Vec<u8> {
    [&[TIMER_WAITING][..], &connection.to_be_bytes()].concat()
}

/// The timer of a connection has fired: end what has not been renewed.
pub(crate) fn expire(keyspace: &mut Keyspace<'_>, id: &[u8]) -> Outcome {
    let Some(connection) = id.get(1..).and_then(|bytes| bytes.try_into().ok()).map(u64::from_be_bytes) else {
        return Ok(());
    };
    let now_us = keyspace.now_us();
    if let Some(mailbox) = Mailbox::load(keyspace, connection)? {
        if mailbox.lease_until_us > now_us {
            keyspace.transaction.set_timer(id, mailbox.lease_until_us, b"");
            return Ok(());
        }
        keyspace.transaction.remove(&connection_row(ROW_MAILBOX, connection))?;
        mailbox.give_back(keyspace)?;
    } else if let Some(waiting) = Waiting::load(keyspace, connection)? {
        if waiting.lease_until_us > now_us {
            keyspace.transaction.set_timer(id, waiting.lease_until_us, b"");
            return Ok(());
        }
        waiting.remove(keyspace, connection)?;
    }
    Ok(())
}

/// Every row goes, and so does every registration: have all who wait ask again.
pub(crate) fn wake_all(keyspace: &mut Keyspace<'_>) -> Outcome {
    let mut range = KeyRange::prefix(&[ROW_WAITING]);
    loop {
        let page = keyspace.transaction.scan(&range, 1_000, false)?;
        let Some(last) = page.last() else { return Ok(()) };
        range.start = [&last.key[..], b"\0"].concat();
        for entry in &page {
            if let Some(connection) = entry.key.get(1..).and_then(|bytes| bytes.try_into().ok()).map(u64::from_be_bytes)
            {
                keyspace.transaction.publish(&topic(connection), b"");
            }
        }
    }
}

/// The end of a transaction: serve those who wait for keys that now exist.
pub(crate) fn serve(keyspace: &mut Keyspace<'_>) -> Outcome {
    let mut born = VecDeque::from(std::mem::take(&mut keyspace.born));
    while let Some(key) = born.pop_front() {
        serve_key(keyspace, &key, false)?;
        // A served move may have made its target exist.
        born.extend(std::mem::take(&mut keyspace.born));
    }
    let mut streams = std::mem::take(&mut keyspace.streams);
    streams.sort();
    streams.dedup();
    streams.iter().try_for_each(|key| serve_key(keyspace, key, true))
}

/// Serve those who wait for a key: all who read it, or one after the other until there is nothing left.
fn serve_key(keyspace: &mut Keyspace<'_>, key: &[u8], readers: bool) -> Outcome {
    let mut range = KeyRange::prefix(&Key::new(ROW_WAITER).bytes(key).finish());
    while let Some(entry) = keyspace.transaction.scan(&range, 1, false)?.pop() {
        range.start = [&entry.key[..], b"\0"].concat();
        let connection = connection_of(&entry.key).map_err(damaged)?;
        let now_us = keyspace.now_us();
        let Some(waiting) = Waiting::load(keyspace, connection)?.filter(|waiting| waiting.lease_until_us > now_us)
        else {
            keyspace.transaction.remove(&entry.key)?;
            continue;
        };
        if readers != matches!(waiting.take, Take::Read(_)) {
            continue;
        }
        match attempt(keyspace, &waiting.take, key, waiting.resp3, MAILBOX_BYTES_MAX)? {
            Attempt::Nothing if readers => continue,
            Attempt::Nothing => return Ok(()),
            // Those that wait for another type go on waiting.
            Attempt::OtherType => continue,
            Attempt::TooLarge => {}
            Attempt::Error(text) => {
                let mut error = Vec::new();
                push_error(&mut error, &text);
                serve_waiting(keyspace, (connection, waiting), key, Items::Reply(error))?;
            }
            Attempt::Got(items) => serve_waiting(keyspace, (connection, waiting), key, items)?,
        }
        keyspace.transaction.publish(&topic(connection), b"");
    }
    Ok(())
}

/// Put what a waiting connection gets into its mailbox.
fn serve_waiting(
    keyspace: &mut Keyspace<'_>,
    (connection, waiting): (u64, Waiting),
    key: &[u8],
    items: Items,
) -> Outcome {
    waiting.remove(keyspace, connection)?;
    let (resp3, take, lease_until_us) = (waiting.resp3, waiting.take, keyspace.now_us() + LEASE_US);
    Mailbox { lease_until_us, resp3, take, key: key.to_vec(), items }.store(keyspace, connection)
}

fn connection_of(row: &[u8]) -> Result<u64, DecodeError> {
    let (_, mut reader) = KeyReader::new(row)?;
    reader.bytes()?;
    reader.u64()?;
    reader.u64()
}
