//! Blocking commands on a partition: BLPOP, BRPOP, BLMOVE, BRPOPLPUSH, BLMPOP, BZPOPMIN, BZPOPMAX, BZMPOP, XREAD, XREADGROUP.
//!
//! ```text
//! waiter row    08 | key, escaped | since (8) | connection (8) → empty                        (database 0)
//!               20 | database (1) | key, escaped | since (8) | connection (8) → empty
//! waiting row   0a | connection (8) → lease until (8) | since (8) | client (1) | command | keys
//! mailbox row   09 | connection (8) → lease until (8) | client (1) | command | key | items
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
//! `client` is whether it speaks RESP3, and its database. Who waits does so for a database by its number: after SWAPDB and FLUSHDB all
//! who wait in it ask again ([`wake`]).
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

mod rows;
mod take;

use std::collections::VecDeque;

use recoil_sdk::KeyRange;
use recoil_sdk::encoding::Reader;

pub(crate) use self::rows::topic;
use self::rows::{Mailbox, ROW_MAILBOX, ROW_WAITING, Waiting, connection_of, connection_row, waiter_row, waiters};
use self::take::Items;
pub(crate) use self::take::{Blocking, Parsed, Take};
use crate::arguments::Words;
use crate::elements::Elements;
use crate::executor::{CHANGES_MAX, Call};
use crate::keyspace::{Failure, Keyspace, Kind, Outcome, Value as _, WRONG_TYPE, damaged};
use crate::list::List;
use crate::resp::push_error;
use crate::streams::read::{Answer, Read};
use crate::zset::pop_members;

/// First byte of the id of a timer that ends a registration or a mailbox.
pub(crate) const TIMER_WAITING: u8 = b'w';
/// How long a registration and a mailbox outlive the last word of their listener.
const LEASE_US: u64 = 10_000_000;
/// A registration with less than this left is renewed.
const RENEW_US: u64 = 6_000_000;
/// What a mailbox may hold.
const MAILBOX_BYTES_MAX: u64 = 4 << 20;

/// What a reply to XREAD or XREADGROUP that nobody has waited for comes to, about.
const READ_BYTES_MAX: usize = 7 << 20;

/// The answer to a request that has been registered: the connection waits. No reply begins with it. What is read of streams
/// follows, with ids instead of `$`.
pub(crate) const WAIT: u8 = 1;

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
    let database = call.keyspace.database();
    for key in &keys {
        call.keyspace.transaction.put(&waiter_row(database, key, now_us, connection), b"")?;
    }
    let waiting = Waiting { lease_until_us, since_us: now_us, resp3: call.resp3, database, take, keys };
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

/// Have all who wait in these databases ask again.
pub(crate) fn wake(keyspace: &mut Keyspace<'_>, is_meant: impl Fn(u8) -> bool) -> Outcome {
    let mut range = KeyRange::prefix(&[ROW_WAITING]);
    loop {
        let page = keyspace.transaction.scan(&range, 1_000, false)?;
        let Some(last) = page.last() else { return Ok(()) };
        range.start = [&last.key[..], b"\0"].concat();
        for entry in &page {
            let Some(connection) = entry.key.get(1..).and_then(|bytes| bytes.try_into().ok()).map(u64::from_be_bytes)
            else {
                continue;
            };
            if Waiting::load(keyspace, connection)?.is_some_and(|waiting| is_meant(waiting.database)) {
                keyspace.transaction.publish(&topic(connection), b"");
            }
        }
    }
}

/// The end of a transaction: serve those who wait for keys that now exist.
pub(crate) fn serve(keyspace: &mut Keyspace<'_>) -> Outcome {
    let mut born = VecDeque::from(std::mem::take(&mut keyspace.born));
    while let Some((database, key)) = born.pop_front() {
        keyspace.select(database);
        serve_key(keyspace, &key, false)?;
        // A served move may have made its target exist.
        born.extend(std::mem::take(&mut keyspace.born));
    }
    let mut streams = std::mem::take(&mut keyspace.streams);
    streams.sort();
    streams.dedup();
    for (database, key) in streams {
        keyspace.select(database);
        serve_key(keyspace, &key, true)?;
    }
    Ok(())
}

/// Serve those who wait for a key: all who read it, or one after the other until there is nothing left.
fn serve_key(keyspace: &mut Keyspace<'_>, key: &[u8], readers: bool) -> Outcome {
    let mut range = KeyRange::prefix(&waiters(keyspace.database(), key).finish());
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
    let (resp3, database, take) = (waiting.resp3, waiting.database, waiting.take);
    let lease_until_us = keyspace.now_us() + LEASE_US;
    Mailbox { lease_until_us, resp3, database, take, key: key.to_vec(), items }.store(keyspace, connection)
}
