//! ZUNION, ZINTER, ZDIFF, their STORE forms, and ZINTERCARD, over sorted sets and sets of one partition.
//!
//! Invariant: the result is held in memory, bounded by [`check_held`], and sorted by score and name. As in Redis the
//! members of a set have score 1, inputs are taken from the smallest on, and what is not a number counts as 0.

use std::collections::HashMap;

use super::index::{Member, decode_score, place};
use super::push_members;
use super::range::store;
use crate::arguments::{KeyCountErrors, Options, Words, is};
use crate::elements::{Elements, check_held};
use crate::executor::Call;
use crate::keyspace::{Failure, Keyspace, Kind, Outcome, WRONG_TYPE};
use crate::numbers::parse_f64;
use crate::request::Op;
use crate::resp::push_integer;
use crate::set::{Combination, parse_limit};
use crate::strings::{NOT_AN_INTEGER, SYNTAX};

/// Members that are looked up together.
const CHUNK: usize = 1_000;

#[derive(Clone, Copy)]
enum Aggregate {
    Sum,
    Min,
    Max,
}

impl Aggregate {
    fn join(self, left: f64, right: f64) -> f64 {
        match self {
            Aggregate::Sum if (left + right).is_nan() => 0.0,
            Aggregate::Sum => left + right,
            Aggregate::Min => left.min(right),
            Aggregate::Max => left.max(right),
        }
    }
}

/// One of the sets that are combined.
struct Input {
    elements: Option<Elements>,
    kind: Kind,
    weight: f64,
}

impl Input {
    fn load(keyspace: &mut Keyspace<'_>, key: &[u8]) -> Result<Self, Failure> {
        Ok(match keyspace.load(key)? {
            None => Input { elements: None, kind: Kind::SortedSet, weight: 1.0 },
            Some(stored) if matches!(stored.kind, Kind::SortedSet | Kind::Set) => {
                Input { elements: Some(Elements::decode(&stored)?), kind: stored.kind, weight: 1.0 }
            }
            Some(_) => return Err(WRONG_TYPE.into()),
        })
    }

    fn len(&self) -> u64 {
        self.elements.as_ref().map_or(0, Elements::len)
    }

    /// The weighted score that an element row stands for.
    fn score(&self, value: &[u8]) -> Result<f64, Failure> {
        let score = if self.kind == Kind::Set { 1.0 } else { decode_score(value)? };
        let weighted = score * self.weight;
        Ok(if weighted.is_nan() { 0.0 } else { weighted })
    }

    fn walk(&self, keyspace: &Keyspace<'_>, visit: impl FnMut(&[u8], &[u8]) -> Result<bool, Failure>) -> Outcome {
        match &self.elements {
            Some(elements) => elements.walk(keyspace, 0, visit).map(|_| ()),
            None => Ok(()),
        }
    }

    fn get_many(&self, keyspace: &Keyspace<'_>, names: &[Vec<u8>]) -> Result<Vec<Option<Vec<u8>>>, Failure> {
        match &self.elements {
            Some(elements) => elements.get_many(keyspace, names),
            None => Ok(vec![None; names.len()]),
        }
    }
}

/// Run a command of the algebra.
pub(crate) fn run(op: Op, call: &mut Call<'_, '_>) -> Outcome {
    match op {
        Op::ZUnion => combined(call, Combination::Union, "zunion"),
        Op::ZInter => combined(call, Combination::Intersection, "zinter"),
        Op::ZDiff => combined(call, Combination::Difference, "zdiff"),
        Op::ZUnionStore => stored(call, Combination::Union, "zunionstore"),
        Op::ZInterStore => stored(call, Combination::Intersection, "zinterstore"),
        Op::ZDiffStore => stored(call, Combination::Difference, "zdiffstore"),
        Op::ZInterCard => intercard(call),
        _ => Err(Failure::Abort("ERR not a command on sorted sets".into())),
    }
}

/// What is to be combined, and how.
struct Plan {
    inputs: Vec<Input>,
    by: Combination,
    aggregate: Aggregate,
    with_scores: bool,
}

fn counted_keys<'a>(call: &mut Call<'a, '_>, command: &str) -> Result<(Words<'a>, Words<'a>), Failure> {
    let not_positive = format!("ERR at least 1 input key is needed for '{command}' command");
    call.counted_keys(KeyCountErrors { not_an_integer: NOT_AN_INTEGER, not_positive: &not_positive, too_many: SYNTAX })
}

fn parse(call: &mut Call<'_, '_>, by: Combination, command: &str, stores: bool) -> Result<Plan, Failure> {
    let (keys, options) = counted_keys(call, command)?;
    let inputs = keys.iter().map(|key| Input::load(call.keyspace, key)).collect::<Result<_, _>>()?;
    let mut plan = Plan { inputs, by, aggregate: Aggregate::Sum, with_scores: false };
    let mut options = Options(&options);
    while let Some(option) = options.next() {
        if is(option, "WEIGHTS") && by != Combination::Difference {
            for input in &mut plan.inputs {
                input.weight = parse_f64(options.value()?).ok_or("ERR weight value is not a float")?;
            }
        } else if is(option, "AGGREGATE") && by != Combination::Difference {
            let word = options.value()?;
            plan.aggregate = if is(word, "SUM") {
                Aggregate::Sum
            } else if is(word, "MIN") {
                Aggregate::Min
            } else if is(word, "MAX") {
                Aggregate::Max
            } else {
                return Err(SYNTAX.into());
            };
        } else if is(option, "WITHSCORES") && !stores {
            plan.with_scores = true;
        } else {
            return Err(SYNTAX.into());
        }
    }
    Ok(plan)
}

fn combine(keyspace: &Keyspace<'_>, mut plan: Plan, limit: u64) -> Result<Vec<Member>, Failure> {
    if plan.by != Combination::Difference {
        plan.inputs.sort_by_key(Input::len);
    }
    let mut found = match plan.by {
        Combination::Union => union(keyspace, &plan)?,
        Combination::Intersection => sift(keyspace, &plan, true, limit)?,
        Combination::Difference => sift(keyspace, &plan, false, limit)?,
    };
    found.sort_by_cached_key(|member| place(member.score, &member.name));
    Ok(found)
}

fn union(keyspace: &Keyspace<'_>, plan: &Plan) -> Result<Vec<Member>, Failure> {
    let (mut union, mut bytes): (HashMap<Vec<u8>, f64>, u64) = (HashMap::new(), 0);
    for input in &plan.inputs {
        input.walk(keyspace, |name, value| {
            let score = input.score(value)?;
            if let Some(joined) = union.get_mut(name) {
                *joined = plan.aggregate.join(*joined, score);
                return Ok(false);
            }
            bytes += name.len() as u64;
            check_held(2 * union.len() as u64, bytes)?;
            union.insert(name.to_vec(), score);
            Ok(false)
        })?;
    }
    Ok(union.into_iter().map(|(name, score)| Member { name, score }).collect())
}

/// The members of the first input that all others have, or none of them.
fn sift(keyspace: &Keyspace<'_>, plan: &Plan, in_others: bool, limit: u64) -> Result<Vec<Member>, Failure> {
    let Some((first, others)) = plan.inputs.split_first() else { return Ok(Vec::new()) };
    let (mut found, mut bytes) = (Vec::<Member>::new(), 0u64);
    let (mut names, mut scores) = (Vec::new(), Vec::new());
    let mut take = |names: &mut Vec<Vec<u8>>, scores: &mut Vec<f64>| -> Result<bool, Failure> {
        let mut kept: Vec<Option<f64>> = scores.drain(..).map(Some).collect();
        for other in others {
            for (kept, value) in kept.iter_mut().zip(other.get_many(keyspace, names)?) {
                *kept = match (*kept, value) {
                    (Some(score), Some(value)) if in_others => Some(plan.aggregate.join(score, other.score(&value)?)),
                    (Some(score), None) if !in_others => Some(score),
                    _ => None,
                };
            }
        }
        for (name, score) in names.drain(..).zip(kept) {
            if let Some(score) = score {
                bytes += name.len() as u64;
                found.push(Member { name, score });
            }
        }
        check_held(found.len() as u64, bytes)?;
        Ok(found.len() as u64 >= limit)
    };
    first.walk(keyspace, |name, value| {
        names.push(name.to_vec());
        scores.push(first.score(value)?);
        if names.len() < CHUNK { Ok(false) } else { take(&mut names, &mut scores) }
    })?;
    take(&mut names, &mut scores)?;
    Ok(found)
}

/// ZUNION, ZINTER and ZDIFF.
fn combined(call: &mut Call<'_, '_>, by: Combination, command: &str) -> Outcome {
    let plan = parse(call, by, command, false)?;
    let with_scores = plan.with_scores;
    let found = combine(call.keyspace, plan, u64::MAX)?;
    push_members(call, &found, with_scores, call.resp3)
}

/// ZUNIONSTORE, ZINTERSTORE and ZDIFFSTORE.
fn stored(call: &mut Call<'_, '_>, by: Combination, command: &str) -> Outcome {
    let target = call.arguments.required()?;
    let plan = parse(call, by, command, true)?;
    let found = combine(call.keyspace, plan, u64::MAX)?;
    store(call, target, &found)
}

fn intercard(call: &mut Call<'_, '_>) -> Outcome {
    let (keys, options) = counted_keys(call, "zintercard")?;
    let limit = parse_limit(&options)?;
    let inputs = keys.iter().map(|key| Input::load(call.keyspace, key)).collect::<Result<_, _>>()?;
    let plan = Plan { inputs, by: Combination::Intersection, aggregate: Aggregate::Sum, with_scores: false };
    let found = combine(call.keyspace, plan, limit)?;
    push_integer(&mut call.reply, (found.len() as u64).min(limit) as i64);
    Ok(())
}
