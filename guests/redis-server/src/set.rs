//! Sets, on their partition, and their algebra over keys of one partition.
//!
//! Invariant: a command looks at everything that could refuse it before it writes anything. Intersections and differences
//! walk one set and ask the others for its members, a thousand at a time; unions hold their members in memory, bounded by
//! [`check_held`].

use std::collections::BTreeSet;

use crate::arguments::{KeyCountErrors, NUMKEYS, Options, is, unsigned};
use crate::elements::{Elements, check_held};
use crate::executor::{CHANGES_MAX, Call};
use crate::keyspace::{Failure, Keyspace, Kind, Outcome, Value as _};
use crate::request::Op;
use crate::resp::{push_array, push_bulk, push_integer, push_set};
use crate::strings::SYNTAX;
use crate::{sampling, scans};

/// Members that are looked up together.
const CHUNK: usize = 1_000;

/// What sets are combined by.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Combination {
    Union,
    Intersection,
    Difference,
}

/// Run a command on sets.
pub(crate) fn run(op: Op, call: &mut Call<'_, '_>) -> Outcome {
    match op {
        Op::SAdd => add(call),
        Op::SRem => rem(call),
        Op::SCard => {
            let key = call.arguments.required()?;
            let length = Elements::load(call.keyspace, key, Kind::Set)?.map_or(0, |set| set.len());
            push_integer(&mut call.reply, length as i64);
            Ok(())
        }
        Op::SIsMember => are_members(call, false),
        Op::SMIsMember => are_members(call, true),
        Op::SMembers => members(call),
        Op::SMove => smove(call),
        Op::SPop => sampling::pop(call),
        Op::SRandMember => sampling::random(call, Kind::Set, None),
        Op::SScan => scans::scan(call, Kind::Set),
        Op::SInter => combined(call, Combination::Intersection),
        Op::SUnion => combined(call, Combination::Union),
        Op::SDiff => combined(call, Combination::Difference),
        Op::SInterStore => store(call, Combination::Intersection),
        Op::SUnionStore => store(call, Combination::Union),
        Op::SDiffStore => store(call, Combination::Difference),
        Op::SInterCard => intercard(call),
        _ => Err(Failure::Abort("ERR not a command on sets".into())),
    }
}

fn add(call: &mut Call<'_, '_>) -> Outcome {
    let key = call.arguments.required()?;
    let members = call.rest()?;
    let mut set = Elements::load_or_new(call.keyspace, key, Kind::Set)?;
    let mut added = 0;
    for member in members {
        added += i64::from(set.put(call.keyspace, member, b"")?.is_none());
    }
    set.save(call.keyspace, key)?;
    push_integer(&mut call.reply, added);
    Ok(())
}

fn rem(call: &mut Call<'_, '_>) -> Outcome {
    let key = call.arguments.required()?;
    let members = call.rest()?;
    let mut removed = 0;
    if let Some(mut set) = Elements::load(call.keyspace, key, Kind::Set)? {
        for member in members {
            removed += i64::from(set.remove(call.keyspace, member)?.is_some());
        }
        set.save(call.keyspace, key)?;
    }
    push_integer(&mut call.reply, removed);
    Ok(())
}

/// SISMEMBER and SMISMEMBER.
fn are_members(call: &mut Call<'_, '_>, several: bool) -> Outcome {
    let key = call.arguments.required()?;
    let members = call.rest()?;
    let found = match Elements::load(call.keyspace, key, Kind::Set)? {
        Some(set) => set.get_many(call.keyspace, &members)?,
        None => vec![None; members.len()],
    };
    if several {
        push_array(&mut call.reply, found.len());
    }
    found.iter().for_each(|found| push_integer(&mut call.reply, i64::from(found.is_some())));
    Ok(())
}

fn members(call: &mut Call<'_, '_>) -> Outcome {
    let key = call.arguments.required()?;
    let set = Elements::load(call.keyspace, key, Kind::Set)?;
    push_set(&mut call.reply, call.resp3, set.as_ref().map_or(0, Elements::len) as usize);
    let Some(set) = set else { return Ok(()) };
    let Call { keyspace, reply, .. } = call;
    set.walk(keyspace, 0, |member, _| {
        push_bulk(reply, member);
        crate::executor::check_reply(reply)?;
        Ok(false)
    })?;
    Ok(())
}

fn smove(call: &mut Call<'_, '_>) -> Outcome {
    let (from, to, member) = (call.arguments.required()?, call.arguments.required()?, call.arguments.required()?);
    let source = Elements::load(call.keyspace, from, Kind::Set)?;
    let Some(mut source) = source else {
        push_integer(&mut call.reply, 0);
        return Ok(());
    };
    let mut target = Elements::load_or_new(call.keyspace, to, Kind::Set)?;
    let found = source.get(call.keyspace, member)?.is_some();
    if found && from != to {
        source.remove(call.keyspace, member)?;
        source.save(call.keyspace, from)?;
        target.put(call.keyspace, member, b"")?;
        target.save(call.keyspace, to)?;
    }
    push_integer(&mut call.reply, i64::from(found));
    Ok(())
}

fn load_all(keyspace: &mut Keyspace<'_>, keys: &[&[u8]]) -> Result<Vec<Option<Elements>>, Failure> {
    keys.iter().map(|key| Elements::load(keyspace, key, Kind::Set)).collect()
}

/// The members that a combination of sets has, at most `limit` of an intersection.
fn combine(
    keyspace: &Keyspace<'_>,
    sets: &[Option<Elements>],
    by: Combination,
    limit: u64,
) -> Result<Vec<Vec<u8>>, Failure> {
    match by {
        Combination::Union => {
            let (mut union, mut bytes) = (BTreeSet::<Vec<u8>>::new(), 0);
            for set in sets.iter().flatten() {
                set.walk(keyspace, 0, |member, _| {
                    if !union.contains(member) {
                        bytes += member.len() as u64;
                        union.insert(member.to_vec());
                        check_held(union.len() as u64, bytes)?;
                    }
                    Ok(false)
                })?;
            }
            Ok(union.into_iter().collect())
        }
        Combination::Intersection => {
            if sets.iter().any(Option::is_none) {
                return Ok(Vec::new());
            }
            let mut sets: Vec<&Elements> = sets.iter().flatten().collect();
            sets.sort_by_key(|set| set.len());
            let Some((smallest, others)) = sets.split_first() else { return Ok(Vec::new()) };
            filter(keyspace, smallest, others, true, limit)
        }
        Combination::Difference => {
            let Some((Some(first), others)) = sets.split_first() else { return Ok(Vec::new()) };
            let others: Vec<&Elements> = others.iter().flatten().collect();
            filter(keyspace, first, &others, false, limit)
        }
    }
}

/// The members of a set that all others have (or none of them), at most about `limit`.
fn filter(
    keyspace: &Keyspace<'_>,
    set: &Elements,
    others: &[&Elements],
    in_others: bool,
    limit: u64,
) -> Result<Vec<Vec<u8>>, Failure> {
    let (mut found, mut bytes, mut chunk) = (Vec::new(), 0u64, Vec::new());
    let mut sift = |chunk: &mut Vec<Vec<u8>>| -> Result<bool, Failure> {
        for other in others {
            let mut answers = other.get_many(keyspace, chunk)?.into_iter();
            chunk.retain(|_| answers.next().flatten().is_some() == in_others);
        }
        bytes += chunk.iter().map(|member| member.len() as u64).sum::<u64>();
        found.append(chunk);
        check_held(found.len() as u64, bytes)?;
        Ok(found.len() as u64 >= limit)
    };
    set.walk(keyspace, 0, |member, _| {
        chunk.push(member.to_vec());
        if chunk.len() < CHUNK { Ok(false) } else { sift(&mut chunk) }
    })?;
    sift(&mut chunk)?;
    Ok(found)
}

/// SINTER, SUNION and SDIFF.
fn combined(call: &mut Call<'_, '_>, by: Combination) -> Outcome {
    let keys = call.rest()?;
    let sets = load_all(call.keyspace, &keys)?;
    let found = combine(call.keyspace, &sets, by, u64::MAX)?;
    push_set(&mut call.reply, call.resp3, found.len());
    for member in found {
        push_bulk(&mut call.reply, &member);
        call.check_reply()?;
    }
    Ok(())
}

/// SINTERSTORE, SUNIONSTORE and SDIFFSTORE.
fn store(call: &mut Call<'_, '_>, by: Combination) -> Outcome {
    let target = call.arguments.required()?;
    let keys = call.rest()?;
    let sets = load_all(call.keyspace, &keys)?;
    let found = combine(call.keyspace, &sets, by, u64::MAX)?;
    let count = found.len() as u64;
    if count > CHANGES_MAX {
        return Err(
            format!("ERR the result has {count} members: one command stores at most {CHANGES_MAX} members").into()
        );
    }
    let mut result = Elements::new(Kind::Set);
    for member in found {
        result.add(call.keyspace, &member, b"")?;
    }
    result.save_as_new(call.keyspace, target, 0)?;
    push_integer(&mut call.reply, count as i64);
    Ok(())
}

/// The limit of SINTERCARD and ZINTERCARD.
pub(crate) fn parse_limit(options: &[&[u8]]) -> Result<u64, Failure> {
    let (mut options, mut limit) = (Options(options), 0);
    while let Some(option) = options.next() {
        if !is(option, "LIMIT") {
            return Err(SYNTAX.into());
        }
        limit = unsigned(options.value()?, "ERR LIMIT can't be negative")?;
    }
    Ok(if limit == 0 { u64::MAX } else { limit })
}

fn intercard(call: &mut Call<'_, '_>) -> Outcome {
    let errors = KeyCountErrors { too_many: "ERR Number of keys can't be greater than number of args", ..NUMKEYS };
    let (keys, options) = call.counted_keys(errors)?;
    let limit = parse_limit(&options)?;
    let sets = load_all(call.keyspace, &keys)?;
    let found = combine(call.keyspace, &sets, Combination::Intersection, limit)?;
    push_integer(&mut call.reply, (found.len() as u64).min(limit) as i64);
    Ok(())
}
