//! Sorted sets, on their partition: scores and single members. Ranges are in [`range`], algebra in [`algebra`].
//!
//! A sorted set is an [`Elements`] whose values are scores, with an order beside it: computed for an inline one, in rows
//! for a larger one ([`index`]). Everything about order goes through [`Span`], a range of places of that order, so that
//! commands do not know which of the two they are on.
//!
//! Invariant: a command looks at everything that could refuse it before it writes anything; a score is never NaN.

pub(crate) mod algebra;
pub(crate) mod index;
pub(crate) mod range;

use crate::arguments::{NUMKEYS, Options, float, is, unsigned};
use crate::elements::{Elements, check_held};
use crate::executor::{CHANGES_MAX, Call};
use crate::keyspace::{Failure, Keyspace, Kind, Outcome, Value as _};
use crate::request::Op;
use crate::resp::{push_array, push_bulk, push_double, push_integer, push_null, push_null_array};
use crate::strings::SYNTAX;
use crate::{sampling, scans};
use index::{Member, decode_score, encode_score, place};

const NOT_A_NUMBER: &str = "ERR resulting score is not a number (NaN)";
/// Skipped members from which on a rank is computed instead of walked.
const SKIP_MAX: u64 = 128;

/// Members between two places of the order: from the first on, before the second.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Span {
    pub(crate) from: Vec<u8>,
    pub(crate) to: Option<Vec<u8>>,
}

impl Span {
    /// Every member.
    pub(crate) fn all() -> Self {
        Span { from: Vec::new(), to: None }
    }

    fn contains(&self, place: &[u8]) -> bool {
        place >= &self.from[..] && self.to.as_deref().is_none_or(|to| place < to)
    }
}

/// The members of an inline set by their places.
fn inline_order(keyspace: &Keyspace<'_>, set: &Elements) -> Result<Vec<(Vec<u8>, Member)>, Failure> {
    let mut order = Vec::with_capacity(set.len() as usize);
    set.walk(keyspace, 0, |name, value| {
        let score = decode_score(value)?;
        order.push((place(score, name), Member { name: name.to_vec(), score }));
        Ok(false)
    })?;
    order.sort_by(|left, right| left.0.cmp(&right.0));
    Ok(order)
}

/// Number of members before a place.
pub(crate) fn rank(keyspace: &Keyspace<'_>, set: &Elements, to: &[u8]) -> Result<u64, Failure> {
    match set.index() {
        Some(index) => index.rank(keyspace, to),
        None => Ok(inline_order(keyspace, set)?.iter().filter(|(place, _)| &place[..] < to).count() as u64),
    }
}

/// Number of members in a span.
pub(crate) fn count(keyspace: &Keyspace<'_>, set: &Elements, span: &Span) -> Result<u64, Failure> {
    let to = match &span.to {
        Some(to) => rank(keyspace, set, to)?,
        None => set.len(),
    };
    Ok(to.saturating_sub(rank(keyspace, set, &span.from)?))
}

/// The span of members whose ranks begin at `first`, in either direction; none beyond the end.
pub(crate) fn span_from_rank(
    keyspace: &Keyspace<'_>,
    set: &Elements,
    first: u64,
    reverse: bool,
) -> Result<Option<Span>, Failure> {
    if first >= set.len() {
        return Ok(None);
    }
    let select = |rank: u64| match set.index() {
        Some(index) => index.select(keyspace, rank),
        None => Ok(inline_order(keyspace, set)?.into_iter().nth(rank as usize).map(|(place, _)| place)),
    };
    let mut span = Span::all();
    if first > 0 && reverse {
        span.to = select(set.len() - first)?;
    } else if first > 0 {
        span.from = select(first)?.unwrap_or_default();
    }
    Ok(Some(span))
}

/// The members of a span in order, without the first `offset`, at most `limit`.
pub(crate) fn members(
    keyspace: &Keyspace<'_>,
    set: &Elements,
    span: &Span,
    reverse: bool,
    (mut offset, limit): (u64, u64),
) -> Result<Vec<Member>, Failure> {
    if span.to.as_ref().is_some_and(|to| *to <= span.from) || limit == 0 || offset >= set.len() {
        return Ok(Vec::new());
    }
    let Some(index) = set.index() else {
        let order = inline_order(keyspace, set)?.into_iter().filter(|(place, _)| span.contains(place));
        let mut members: Vec<Member> = order.map(|(_, member)| member).collect();
        if reverse {
            members.reverse();
        }
        return Ok(members.into_iter().skip(offset as usize).take(limit.min(set.len()) as usize).collect());
    };
    let mut span = span.clone();
    if offset > SKIP_MAX {
        let within = count(keyspace, set, &span)?;
        if offset >= within {
            return Ok(Vec::new());
        }
        let before = rank(keyspace, set, &span.from)?;
        if reverse {
            span.to = index.select(keyspace, before + within - offset)?;
        } else {
            span.from = index.select(keyspace, before + offset)?.unwrap_or(span.from);
        }
        offset = 0;
    }
    let (mut members, mut bytes) = (Vec::new(), 0);
    index.members(keyspace, (&span.from, span.to.as_deref()), reverse, (offset, limit), |member| {
        bytes += member.name.len() as u64;
        check_held(members.len() as u64, bytes)?;
        members.push(member);
        Ok(())
    })?;
    Ok(members)
}

/// Run a command on sorted sets.
pub(crate) fn run(op: Op, call: &mut Call<'_, '_>) -> Outcome {
    match op {
        Op::ZAdd => {
            let key = call.arguments.required()?;
            let arguments = call.rest()?;
            add(call, key, &arguments)
        }
        Op::ZIncrBy => incrby(call),
        Op::ZRem => rem(call),
        Op::ZCard => {
            let length = load(call)?.map_or(0, |set| set.len());
            push_integer(&mut call.reply, length as i64);
            Ok(())
        }
        Op::ZScore => scores(call, false),
        Op::ZMScore => scores(call, true),
        Op::ZRank => rank_of(call, false),
        Op::ZRevRank => rank_of(call, true),
        Op::ZPopMin => pop(call, false),
        Op::ZPopMax => pop(call, true),
        Op::ZMPop => mpop(call),
        Op::ZRandMember => sampling::random(call, Kind::SortedSet, Some("WITHSCORES")),
        Op::ZScan => scans::scan(call, Kind::SortedSet),
        _ => range::run(op, call),
    }
}

pub(crate) fn load(call: &mut Call<'_, '_>) -> Result<Option<Elements>, Failure> {
    let key = call.arguments.required()?;
    Elements::load(call.keyspace, key, Kind::SortedSet)
}

/// What ZADD may and may not do.
#[derive(Default)]
struct AddOptions {
    nx: bool,
    xx: bool,
    gt: bool,
    lt: bool,
    changed: bool,
    increment: bool,
}

impl AddOptions {
    /// Take the options off the front; what is left are pairs.
    fn parse<'s, 'a>(arguments: &'s [&'a [u8]]) -> Result<(Self, &'s [&'a [u8]]), Failure> {
        let mut options = AddOptions::default();
        let mut rest = arguments;
        while let Some((option, after)) = rest.split_first() {
            let known = [
                ("NX", &mut options.nx),
                ("XX", &mut options.xx),
                ("GT", &mut options.gt),
                ("LT", &mut options.lt),
                ("CH", &mut options.changed),
                ("INCR", &mut options.increment),
            ];
            match known.into_iter().find(|(name, _)| is(option, name)) {
                Some((_, seen)) => *seen = true,
                None => break,
            }
            rest = after;
        }
        if rest.is_empty() || !rest.len().is_multiple_of(2) {
            return Err(SYNTAX.into());
        }
        if options.nx && options.xx {
            return Err("ERR XX and NX options at the same time are not compatible".into());
        }
        if (options.gt && (options.lt || options.nx)) || (options.lt && options.nx) {
            return Err("ERR GT, LT, and/or NX options at the same time are not compatible".into());
        }
        if options.increment && rest.len() > 2 {
            return Err("ERR INCR option supports a single increment-element pair".into());
        }
        Ok((options, rest))
    }

    /// The score that a member gets; none if it stays as it is, absent ones included.
    fn score(&self, old: Option<f64>, given: f64) -> Result<Option<f64>, Failure> {
        let Some(old) = old else { return Ok((!self.xx).then_some(given)) };
        if self.nx {
            return Ok(None);
        }
        let score = if self.increment { old + given } else { given } + 0.0; // -0 becomes 0
        if score.is_nan() {
            return Err(NOT_A_NUMBER.into());
        }
        let refused = (self.lt && score >= old) || (self.gt && score <= old);
        Ok((!refused).then_some(score))
    }
}

/// ZADD with the arguments after its key, and what GEOADD makes of its own.
pub(crate) fn add(call: &mut Call<'_, '_>, key: &[u8], arguments: &[&[u8]]) -> Outcome {
    let (options, pairs) = AddOptions::parse(arguments)?;
    let scores: Vec<f64> = pairs.iter().step_by(2).map(|score| float(score)).collect::<Result<_, _>>()?;
    let mut set = Elements::load_or_new(call.keyspace, key, Kind::SortedSet)?;
    let (mut added, mut updated, mut incremented) = (0, 0, None);
    for (pair, given) in pairs.chunks_exact(2).zip(scores) {
        let before = set.get(call.keyspace, pair[1])?;
        let old = before.as_deref().map(decode_score).transpose()?;
        let Some(score) = options.score(old, given)? else { continue };
        incremented = Some(score);
        if old == Some(score) {
            continue;
        }
        set.put_over(call.keyspace, pair[1], &encode_score(score), before.as_deref())?;
        *(if old.is_some() { &mut updated } else { &mut added }) += 1;
    }
    set.save(call.keyspace, key)?;
    match (options.increment, incremented) {
        (true, Some(score)) => push_double(&mut call.reply, call.resp3, score),
        (true, None) => push_null(&mut call.reply, call.resp3),
        (false, _) => push_integer(&mut call.reply, if options.changed { added + updated } else { added }),
    }
    Ok(())
}

fn incrby(call: &mut Call<'_, '_>) -> Outcome {
    let (key, amount, member) = (call.arguments.required()?, call.arguments.required()?, call.arguments.required()?);
    let amount = float(amount)?;
    let mut set = Elements::load_or_new(call.keyspace, key, Kind::SortedSet)?;
    let before = set.get(call.keyspace, member)?;
    let score = before.as_deref().map_or(Ok(0.0), decode_score)? + amount;
    if score.is_nan() {
        return Err(NOT_A_NUMBER.into());
    }
    set.put_over(call.keyspace, member, &encode_score(score), before.as_deref())?;
    set.save(call.keyspace, key)?;
    push_double(&mut call.reply, call.resp3, score);
    Ok(())
}

fn rem(call: &mut Call<'_, '_>) -> Outcome {
    let key = call.arguments.required()?;
    let members = call.rest()?;
    let mut removed = 0;
    if let Some(mut set) = Elements::load(call.keyspace, key, Kind::SortedSet)? {
        for member in members {
            removed += i64::from(set.remove(call.keyspace, member)?.is_some());
        }
        set.save(call.keyspace, key)?;
    }
    push_integer(&mut call.reply, removed);
    Ok(())
}

/// ZSCORE and ZMSCORE.
fn scores(call: &mut Call<'_, '_>, several: bool) -> Outcome {
    let set = load(call)?;
    let members = call.rest()?;
    let found = match set {
        Some(set) => set.get_many(call.keyspace, &members)?,
        None => vec![None; members.len()],
    };
    if several {
        push_array(&mut call.reply, found.len());
    }
    for score in found {
        match score {
            Some(score) => push_double(&mut call.reply, call.resp3, decode_score(&score)?),
            None => push_null(&mut call.reply, call.resp3),
        }
    }
    Ok(())
}

/// ZRANK and ZREVRANK.
fn rank_of(call: &mut Call<'_, '_>, reverse: bool) -> Outcome {
    let (key, member) = (call.arguments.required()?, call.arguments.required()?);
    let options = call.rest()?;
    let with_score = match options[..] {
        [] => false,
        [option] if is(option, "WITHSCORE") => true,
        _ => return Err(SYNTAX.into()),
    };
    let set = Elements::load(call.keyspace, key, Kind::SortedSet)?;
    let score = set.as_ref().map_or(Ok(None), |set| set.get(call.keyspace, member))?;
    let (Some(set), Some(score)) = (set, score) else {
        if with_score {
            push_null_array(&mut call.reply, call.resp3);
        } else {
            push_null(&mut call.reply, call.resp3);
        }
        return Ok(());
    };
    let score = decode_score(&score)?;
    let mut rank = rank(call.keyspace, &set, &place(score, member))?;
    if reverse {
        rank = set.len().saturating_sub(rank + 1);
    }
    if with_score {
        push_array(&mut call.reply, 2);
    }
    push_integer(&mut call.reply, rank as i64);
    if with_score {
        push_double(&mut call.reply, call.resp3, score);
    }
    Ok(())
}

/// Remove members from one end. Answers them.
pub(crate) fn pop_members(
    keyspace: &mut Keyspace<'_>,
    key: &[u8],
    set: &mut Elements,
    from_max: bool,
    count: u64,
) -> Result<Vec<Member>, Failure> {
    let popped = members(keyspace, set, &Span::all(), from_max, (0, count))?;
    remove_members(keyspace, key, set, &popped)?;
    Ok(popped)
}

/// Remove members of a set, and the key with the last one.
pub(crate) fn remove_members(
    keyspace: &mut Keyspace<'_>,
    key: &[u8],
    set: &mut Elements,
    members: &[Member],
) -> Outcome {
    if !members.is_empty() && members.len() as u64 == set.len() {
        let stored = keyspace.load(key)?;
        return stored.map_or(Ok(()), |stored| keyspace.remove(key, &stored));
    }
    // Three rows for each: element, order, and now and then a count.
    if members.len() as u64 > CHANGES_MAX / 3 {
        let (count, max) = (members.len(), CHANGES_MAX / 3);
        return Err(format!(
            "ERR {count} members are more than one command removes from a sorted set: the limit is {max}, or all"
        )
        .into());
    }
    for member in members {
        set.remove(keyspace, &member.name)?;
    }
    set.save(keyspace, key)
}

/// Members with their scores, flat in RESP2 and as pairs in RESP3, or as pairs in both.
pub(crate) fn push_members(call: &mut Call<'_, '_>, members: &[Member], with_scores: bool, pairs: bool) -> Outcome {
    let pairs = with_scores && pairs;
    push_array(&mut call.reply, members.len() * if with_scores && !pairs { 2 } else { 1 });
    for member in members {
        if pairs {
            push_array(&mut call.reply, 2);
        }
        push_bulk(&mut call.reply, &member.name);
        if with_scores {
            push_double(&mut call.reply, call.resp3, member.score);
        }
        call.check_reply()?;
    }
    Ok(())
}

/// ZPOPMIN and ZPOPMAX.
fn pop(call: &mut Call<'_, '_>, from_max: bool) -> Outcome {
    let key = call.arguments.required()?;
    let options = call.rest()?;
    let count = match options[..] {
        [] => None,
        [count] => Some(unsigned(count, "ERR value is out of range, must be positive")?),
        _ => return Err(SYNTAX.into()),
    };
    let Some(mut set) = Elements::load(call.keyspace, key, Kind::SortedSet)? else {
        push_array(&mut call.reply, 0);
        return Ok(());
    };
    let popped = pop_members(call.keyspace, key, &mut set, from_max, count.unwrap_or(1))?;
    push_members(call, &popped, true, call.resp3 && count.is_some())
}

/// ZMPOP: from the first of the keys that has something.
fn mpop(call: &mut Call<'_, '_>) -> Outcome {
    let (keys, options) = call.counted_keys(NUMKEYS)?;
    let (from_max, count) = parse_mpop(&options, ("MIN", "MAX"))?;
    for key in keys {
        let Some(mut set) = Elements::load(call.keyspace, key, Kind::SortedSet)? else { continue };
        let popped = pop_members(call.keyspace, key, &mut set, from_max, count)?;
        push_array(&mut call.reply, 2);
        push_bulk(&mut call.reply, key);
        return push_members(call, &popped, true, true);
    }
    push_null_array(&mut call.reply, call.resp3);
    Ok(())
}

/// `MIN | MAX [COUNT count]`, or `LEFT | RIGHT`: true for the second end, and the count.
pub(crate) fn parse_mpop(options: &[&[u8]], ends: (&str, &str)) -> Result<(bool, u64), Failure> {
    let mut options = Options(options);
    let end = options.value()?;
    let second = if is(end, ends.0) {
        false
    } else if is(end, ends.1) {
        true
    } else {
        return Err(SYNTAX.into());
    };
    let mut count = None;
    while let Some(option) = options.next() {
        if !is(option, "COUNT") || count.is_some() {
            return Err(SYNTAX.into());
        }
        let value = unsigned(options.value()?, "ERR count should be greater than 0")?;
        count = Some(Some(value).filter(|value| *value > 0).ok_or("ERR count should be greater than 0")?);
    }
    Ok((second, count.unwrap_or(1)))
}
