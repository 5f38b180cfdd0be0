//! What a handler does with a request: find the operation, run it, or run a batch of them under conditions.
//!
//! Invariant: a request either answers and its writes stand, or is rejected and nothing was written. An error *reply* is
//! an answer, of a command that has written nothing; the commands of a batch after it go on, as Redis' do.

use recoil_sdk::encoding::{Reader, push_bytes};
use recoil_sdk::{Error, Transaction};

use crate::blocking::{self, TIMER_WAITING};
use crate::keyspace::databases::DATABASES;
use crate::keyspace::{Failure, Keyspace, Outcome, TIMER_CLEANER, TIMER_KEY, TIMER_KEY_IN_SPACE};
use crate::request::{self, Arguments, Op, Request, Routing};
use crate::resp::push_error;
use crate::strings::TimeUnit;
use crate::{
    bits, cleaner, dump, geo, hash, hll, keys, lcs, list, pubsub, scripts, set, sort, streams, strings, walks, zset,
};

/// Elements that one command writes or removes, at most: a transaction has room for 262,144 rows.
pub(crate) const CHANGES_MAX: u64 = 120_000;
/// What an answer may come to: the host takes 16 MiB.
const REPLY_BYTES_MAX: usize = (16 << 20) - 1024;

/// One command under way.
pub(crate) struct Call<'a, 'b> {
    pub(crate) keyspace: &'a mut Keyspace<'b>,
    pub(crate) arguments: Arguments<'a>,
    pub(crate) resp3: bool,
    pub(crate) reply: Vec<u8>,
}

/// Refuse a reply that has become too large, before it is written to its end.
pub(crate) fn check_reply(reply: &[u8]) -> Outcome {
    if reply.len() <= REPLY_BYTES_MAX {
        return Ok(());
    }
    // Not a reply, since a command may have written by now.
    Err(Failure::Abort(Error::new(format!(
        "ERR the reply would be above {REPLY_BYTES_MAX} bytes: ask for less at a time, by ranges or SCAN commands"
    ))))
}

impl Call<'_, '_> {
    /// [`check_reply`] of this call's.
    pub(crate) fn check_reply(&self) -> Outcome {
        check_reply(&self.reply)
    }
}

/// Answer a request of a listener.
pub(crate) fn handle(transaction: &mut dyn Transaction, input: &[u8]) -> Result<Vec<u8>, Error> {
    let mut keyspace = Keyspace::new(transaction);
    let mut request = Request::decode(input).map_err(|error| abort(error.into()))?;
    if request.op == Op::Approved {
        request = approved(&mut keyspace, request).map_err(abort)?;
    }
    let (bounded, is_read_only) = (request.bounded, keyspace.transaction.is_read_only());
    let reply = match request.op {
        Op::Batch => batch(&mut keyspace, request)?,
        _ => answer(&mut keyspace, request)?,
    };
    check_reply(&reply).map_err(abort)?;
    blocking::serve(&mut keyspace).map_err(abort)?;
    if !bounded || reply.len() <= request::BOUNDED_REPLY_BYTES_MAX {
        return Ok(reply);
    }
    // What has written must not do so again.
    if is_read_only { Ok(vec![request::ASK_ALONE]) } else { Err(Error::new(request::REJECTED_ALONE)) }
}

/// The request within one that lists hash tags of this partition.
fn approved<'r>(keyspace: &mut Keyspace<'_>, mut outer: Request<'r>) -> Result<Request<'r>, Failure> {
    let mut tags = Reader::new(outer.arguments.required()?);
    while tags.remaining() > 0 {
        keyspace.approved.push(tags.bytes()?.to_vec());
    }
    Ok(Request::decode(outer.arguments.required()?)?)
}

/// A timer has fired: that of a key whose time has come, or the cleaner's.
pub(crate) fn fire(transaction: &mut dyn Transaction, id: &[u8]) -> Result<(), Error> {
    let mut keyspace = Keyspace::new(transaction);
    match id.split_first() {
        Some((&TIMER_KEY, key)) => expire(&mut keyspace, id, 0, key).map_err(abort),
        Some((&TIMER_KEY_IN_SPACE, &[space, ref key @ ..])) => expire(&mut keyspace, id, space, key).map_err(abort),
        Some((&TIMER_WAITING, _)) => {
            blocking::expire(&mut keyspace, id).map_err(abort)?;
            // What was given back may be what others wait for.
            blocking::serve(&mut keyspace).map_err(abort)
        }
        _ if id == TIMER_CLEANER => cleaner::run(&mut keyspace).map_err(abort),
        // Of another version of this package: nothing here depends on it.
        _ => Ok(()),
    }
}

/// Remove a key of a space, if its time has come.
fn expire(keyspace: &mut Keyspace<'_>, id: &[u8], space: u8, key: &[u8]) -> Outcome {
    // The keys of a dead space are the cleaner's.
    let Some(database) = keyspace.databases()?.database_of(space) else { return Ok(()) };
    keyspace.select(database);
    match keyspace.load(key)? {
        // To be safe from clocks: if it is not time yet, another timer will be.
        Some(stored) if stored.expire_at_us != 0 => keyspace.transaction.set_timer(id, stored.expire_at_us, b""),
        _ => {}
    }
    blocking::serve(keyspace)
}

fn abort(failure: Failure) -> Error {
    match failure {
        Failure::Reply(text) => Error::new(text),
        Failure::Abort(error) => error,
    }
}

/// Run one command; its own errors are replies.
fn answer(keyspace: &mut Keyspace<'_>, request: Request<'_>) -> Result<Vec<u8>, Error> {
    let op = request.op;
    keyspace.enter(request.scope);
    let mut call = Call { keyspace, arguments: request.arguments, resp3: request.resp3, reply: Vec::new() };
    match run(op, &mut call) {
        Ok(()) => Ok(call.reply),
        Err(Failure::Reply(text)) => {
            call.reply.clear();
            push_error(&mut call.reply, &text);
            Ok(call.reply)
        }
        Err(Failure::Abort(error)) => Err(error),
    }
}

/// Check conditions, then run commands; the answer is each reply behind its length.
fn batch(keyspace: &mut Keyspace<'_>, mut request: Request<'_>) -> Result<Vec<u8>, Error> {
    let conditions = request::decode_conditions(&mut request.arguments).map_err(|error| abort(error.into()))?;
    keyspace.enter(request.scope);
    for condition in conditions {
        expect(keyspace, condition.key, condition.version).map_err(abort)?;
    }
    let mut replies = Vec::new();
    while let Some(command) = request.arguments.next().map_err(|error| abort(error.into()))? {
        let command = Request::decode(command).map_err(|error| abort(error.into()))?;
        if command.op == Op::Batch {
            return Err(Error::new("ERR a batch within a batch"));
        }
        if command.op == Op::Expect {
            // A condition, which has no reply.
            answer(keyspace, command)?;
            continue;
        }
        push_bytes(&mut replies, &answer(keyspace, command)?);
        check_reply(&replies).map_err(abort)?;
    }
    Ok(replies)
}

/// Reject the call unless a key has this version.
fn expect(keyspace: &mut Keyspace<'_>, key: &[u8], version: u64) -> Outcome {
    if keyspace.version(key)? == version {
        return Ok(());
    }
    let why = if version == 0 { request::REJECTED_EXISTS } else { request::REJECTED_CHANGED };
    Err(Failure::Abort(Error::new(why)))
}

/// `Op::Expect`: arguments are a key and its version.
fn expect_version(call: &mut Call<'_, '_>) -> Outcome {
    let (key, version) = (call.arguments.required()?, call.arguments.number()?);
    expect(call.keyspace, key, version)
}

/// `Op::Swap`: arguments are two databases.
fn swap(call: &mut Call<'_, '_>) -> Outcome {
    let (one, other) = (call.arguments.number()?, call.arguments.number()?);
    let databases = u64::from(DATABASES);
    if one >= databases || other >= databases {
        return Err("ERR DB index is out of range".into());
    }
    call.keyspace.swap_databases(one as u8, other as u8)?;
    // Those who wait in one of the two look at what it has now.
    blocking::wake(call.keyspace, |database| u64::from(database) == one || u64::from(database) == other)?;
    crate::resp::push_simple(&mut call.reply, "OK");
    Ok(())
}

/// `Op::Routing`: the answer is how keys find this partition (1), and whether it has keys (1).
fn routing(call: &mut Call<'_, '_>) -> Outcome {
    call.keyspace.accept_any_routing();
    let routing = call.keyspace.databases()?.routing;
    let has_keys = !call.keyspace.is_empty()?;
    call.reply.extend_from_slice(&[routing as u8, u8::from(has_keys)]);
    Ok(())
}

/// `Op::SetRouting`: the argument is a routing. Refused if there are keys.
fn set_routing(call: &mut Call<'_, '_>) -> Outcome {
    call.keyspace.accept_any_routing();
    let routing = u8::try_from(call.arguments.number()?).ok().and_then(Routing::from_number);
    let routing = routing.ok_or("ERR an unknown routing of keys")?;
    if !call.keyspace.is_empty()? {
        return Err("ERR this partition has keys".into());
    }
    call.keyspace.set_routing(routing)?;
    crate::resp::push_simple(&mut call.reply, "OK");
    Ok(())
}

/// Run one operation. A reply that it has begun before an error is not one.
pub(crate) fn run(op: Op, call: &mut Call<'_, '_>) -> Outcome {
    // Operations are numbered by the type that they are for.
    match op as u8 {
        100..=119 => hash::run(op, call),
        120..=139 => set::run(op, call),
        140..=159 => list::commands::run(op, call),
        160..=194 => zset::run(op, call),
        195..=201 => bits::run(op, call),
        202 => lcs::lcs(call),
        205..=209 => hll::run(op, call),
        210..=219 => geo::run(op, call),
        60..=79 => streams::commands::run(op, call),
        89 => sort::sort(call, true),
        90 => sort::sort(call, false),
        91 => dump::dump(call),
        92 => dump::restore(call),
        225 => keys::memory(call),
        230 => blocking::block(call),
        231 => blocking::unblock(call),
        240..=244 => scripts::run(op, call),
        _ => run_on_strings_and_keys(op, call),
    }
}

fn run_on_strings_and_keys(op: Op, call: &mut Call<'_, '_>) -> Outcome {
    const fn unit(milliseconds: bool, absolute: bool) -> TimeUnit {
        TimeUnit { milliseconds, absolute }
    }
    match op {
        Op::Get => strings::get(call),
        Op::Set => strings::set(call),
        Op::SetNx => strings::setnx(call),
        Op::SetEx => strings::setex(call, false, "setex"),
        Op::PSetEx => strings::setex(call, true, "psetex"),
        Op::GetSet => strings::getset(call),
        Op::GetDel => strings::getdel(call),
        Op::GetEx => strings::getex(call),
        Op::Append => strings::append(call),
        Op::StrLen => strings::strlen(call),
        Op::SetRange => strings::setrange(call),
        Op::GetRange => strings::getrange(call),
        Op::Incr => strings::increment(call, false, false),
        Op::Decr => strings::increment(call, false, true),
        Op::IncrBy => strings::increment(call, true, false),
        Op::DecrBy => strings::increment(call, true, true),
        Op::IncrByFloat => strings::incrbyfloat(call),
        Op::GetOrNull => strings::get_or_null(call),
        Op::MSet => strings::mset(call),
        Op::MSetNx => strings::msetnx(call),
        Op::Del => keys::del(call),
        Op::Exists | Op::Touch => keys::exists(call),
        Op::Type => keys::type_of(call),
        Op::Expire => keys::expire(call, unit(false, false), "expire"),
        Op::PExpire => keys::expire(call, unit(true, false), "pexpire"),
        Op::ExpireAt => keys::expire(call, unit(false, true), "expireat"),
        Op::PExpireAt => keys::expire(call, unit(true, true), "pexpireat"),
        Op::Ttl => keys::ttl(call, unit(false, false)),
        Op::PTtl => keys::ttl(call, unit(true, false)),
        Op::ExpireTime => keys::ttl(call, unit(false, true)),
        Op::PExpireTime => keys::ttl(call, unit(true, true)),
        Op::Persist => keys::persist(call),
        Op::Object => keys::object(call),
        Op::Rename => keys::rename(call, false),
        Op::RenameNx => keys::rename(call, true),
        Op::Copy => keys::copy(call),
        Op::Walk => walks::keys(call),
        Op::Count => walks::count(call),
        Op::Random => walks::random(call),
        Op::Flush => walks::flush(call, 0..DATABASES),
        Op::FlushDatabase => {
            let database = call.keyspace.database();
            walks::flush(call, database..database + 1)
        }
        Op::CountDatabases => walks::count_databases(call),
        Op::Expect => expect_version(call),
        Op::Swap => swap(call),
        Op::Routing => routing(call),
        Op::SetRouting => set_routing(call),
        Op::Move => keys::move_to_database(call),
        Op::Version => keys::version(call),
        Op::Dump => keys::dump(call),
        Op::Restore => keys::restore(call),
        Op::Publish => pubsub::publish(call),
        Op::SPublish => pubsub::publish_to_shard(call),
        Op::Patterns => pubsub::renew(call),
        Op::Batch => Err(Failure::Abort("ERR a batch within a batch".into())),
        _ => Err(Failure::Abort("ERR an operation without a command".into())),
    }
}
