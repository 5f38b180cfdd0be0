//! Ranges of sorted sets by rank, score and name: ZRANGE and its relatives, counting, removing and storing them.
//!
//! Invariant: every range becomes a [`Span`] of places, so that forward and backward, inline and in rows, by score and by
//! name are one walk; nothing walks over what lies before an offset or a rank.

use super::{Span, count, members, push_members, remove_members, span_from_rank};
use crate::arguments::{Options, integer, is, window};
use crate::elements::Elements;
use crate::executor::{CHANGES_MAX, Call};
use crate::keyspace::{Failure, Keyspace, Kind, Outcome, Value as _};
use crate::numbers::parse_f64;
use crate::request::Op;
use crate::resp::push_integer;
use crate::strings::SYNTAX;
use crate::zset::index::{Member, encode_score, ordered};

/// What the bounds of a range are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum By {
    Rank,
    Score,
    Name,
}

/// A range command.
struct Range<'a> {
    by: By,
    reverse: bool,
    /// As given: with `reverse` the higher one of scores and names comes first.
    bounds: (&'a [u8], &'a [u8]),
    limit: Option<(i64, i64)>,
    with_scores: bool,
}

/// Run a command on ranges, or of the algebra.
pub(crate) fn run(op: Op, call: &mut Call<'_, '_>) -> Outcome {
    match op {
        Op::ZRange => range(call, None, false),
        Op::ZRevRange => range(call, Some(By::Rank), true),
        Op::ZRangeByScore => range(call, Some(By::Score), false),
        Op::ZRevRangeByScore => range(call, Some(By::Score), true),
        Op::ZRangeByLex => range(call, Some(By::Name), false),
        Op::ZRevRangeByLex => range(call, Some(By::Name), true),
        Op::ZRangeStore => range_store(call),
        Op::ZCount => count_range(call, By::Score),
        Op::ZLexCount => count_range(call, By::Name),
        Op::ZRemRangeByRank => remove_range(call, By::Rank),
        Op::ZRemRangeByScore => remove_range(call, By::Score),
        Op::ZRemRangeByLex => remove_range(call, By::Name),
        _ => super::algebra::run(op, call),
    }
}

impl<'a> Range<'a> {
    /// The bounds and options of a range. `by` is none for ZRANGE and ZRANGESTORE, which say it by options.
    fn parse(arguments: &[&'a [u8]], by: Option<By>, reverse: bool, stores: bool) -> Result<Self, Failure> {
        let [first, second, options @ ..] = arguments else { return Err(SYNTAX.into()) };
        let mut range =
            Range { by: by.unwrap_or(By::Rank), reverse, bounds: (first, second), limit: None, with_scores: false };
        let mut options = Options(options);
        while let Some(option) = options.next() {
            if is(option, "WITHSCORES") && !stores {
                range.with_scores = true;
            } else if is(option, "LIMIT") {
                range.limit = Some((options.integer()?, options.integer()?));
            } else if is(option, "REV") && by.is_none() && !range.reverse {
                range.reverse = true;
            } else if is(option, "BYSCORE") && by.is_none() && range.by == By::Rank {
                range.by = By::Score;
            } else if is(option, "BYLEX") && by.is_none() && range.by == By::Rank {
                range.by = By::Name;
            } else {
                return Err(SYNTAX.into());
            }
        }
        if range.by == By::Rank && range.limit.is_some_and(|(_, count)| count != -1) {
            return Err("ERR syntax error, LIMIT is only supported in combination with either BYSCORE or BYLEX".into());
        }
        if range.with_scores && range.by == By::Name {
            return Err("ERR syntax error, WITHSCORES not supported in combination with BYLEX".into());
        }
        Ok(range)
    }

    /// The lower and the higher bound.
    fn low_and_high(&self) -> (&'a [u8], &'a [u8]) {
        let (first, second) = self.bounds;
        if self.reverse { (second, first) } else { (first, second) }
    }

    /// Offset and number; a negative offset means nothing, a negative number all.
    fn offset_and_count(&self) -> (u64, u64) {
        let (offset, count) = self.limit.unwrap_or((0, -1));
        match u64::try_from(offset) {
            Ok(offset) => (offset, u64::try_from(count).unwrap_or(u64::MAX)),
            Err(_) => (0, 0),
        }
    }
}

/// The bounds of a range, checked before anything is read.
enum Bounds {
    Ranks(i64, i64),
    Span(Span),
    Names(NameBound, NameBound),
}

impl Bounds {
    fn parse(by: By, (low, high): (&[u8], &[u8]), ranks: (&[u8], &[u8])) -> Result<Self, Failure> {
        Ok(match by {
            By::Rank => Bounds::Ranks(integer(ranks.0)?, integer(ranks.1)?),
            By::Score => Bounds::Span(score_span(low, high)?),
            By::Name => Bounds::Names(NameBound::parse(low)?, NameBound::parse(high)?),
        })
    }

    /// The span in a set; none if it is empty by ranks. The window is what a rank range has of it.
    fn span(
        &self,
        keyspace: &Keyspace<'_>,
        set: &Elements,
        reverse: bool,
    ) -> Result<Option<(Span, Option<u64>)>, Failure> {
        Ok(match self {
            Bounds::Ranks(start, stop) => {
                let (first, count) = window(*start, *stop, set.len());
                if count == 0 {
                    return Ok(None);
                }
                span_from_rank(keyspace, set, first, reverse)?.map(|span| (span, Some(count)))
            }
            Bounds::Span(span) => Some((span.clone(), None)),
            Bounds::Names(low, high) => {
                // Names are compared within one score, as Redis asks of those who use these commands.
                let first = members(keyspace, set, &Span::all(), false, (0, 1))?;
                let score = first.first().map_or(0.0, |member| member.score);
                Some((Span { from: low.place(score, true), to: high.end(score) }, None))
            }
        })
    }
}

/// A bound of scores: the number, and whether it is excluded.
fn score_bound(text: &[u8]) -> Result<(f64, bool), Failure> {
    let (text, excluded) = text.strip_prefix(b"(").map_or((text, false), |text| (text, true));
    Ok((parse_f64(text).ok_or("ERR min or max is not a float")?, excluded))
}

/// The span of scores between two bounds.
pub(crate) fn score_span(low: &[u8], high: &[u8]) -> Result<Span, Failure> {
    let ((low, low_excluded), (high, high_excluded)) = (score_bound(low)?, score_bound(high)?);
    let from = ordered(low) + u64::from(low_excluded);
    let to = ordered(high) + u64::from(!high_excluded);
    Ok(Span { from: from.to_be_bytes().to_vec(), to: Some(to.to_be_bytes().to_vec()) })
}

/// A bound of names.
enum NameBound {
    First,
    Last,
    Included(Vec<u8>),
    Excluded(Vec<u8>),
}

impl NameBound {
    fn parse(text: &[u8]) -> Result<Self, Failure> {
        match text {
            b"-" => Ok(NameBound::First),
            b"+" => Ok(NameBound::Last),
            [b'[', name @ ..] => Ok(NameBound::Included(name.to_vec())),
            [b'(', name @ ..] => Ok(NameBound::Excluded(name.to_vec())),
            _ => Err("ERR min or max not valid string range item".into()),
        }
    }

    /// Where a range that begins here begins, or (not `low`) where one that ends here ends.
    fn place(&self, score: f64, low: bool) -> Vec<u8> {
        let score = ordered(score).to_be_bytes();
        match self {
            NameBound::First => Vec::new(),
            NameBound::Last => vec![0xff; 9],
            NameBound::Included(name) if low => [&score[..], name].concat(),
            NameBound::Excluded(name) if !low => [&score[..], name].concat(),
            NameBound::Included(name) | NameBound::Excluded(name) => [&score[..], name, b"\0"].concat(),
        }
    }

    fn end(&self, score: f64) -> Option<Vec<u8>> {
        if matches!(self, NameBound::Last) { None } else { Some(self.place(score, false)) }
    }
}

/// The members of a range of the set under a key.
fn find(call: &mut Call<'_, '_>, key: &[u8], range: &Range<'_>) -> Result<Vec<Member>, Failure> {
    let bounds = Bounds::parse(range.by, range.low_and_high(), range.bounds)?;
    let Some(set) = Elements::load(call.keyspace, key, Kind::SortedSet)? else { return Ok(Vec::new()) };
    let Some((span, by_rank)) = bounds.span(call.keyspace, &set, range.reverse)? else { return Ok(Vec::new()) };
    let window = by_rank.map_or_else(|| range.offset_and_count(), |count| (0, count));
    members(call.keyspace, &set, &span, range.reverse, window)
}

fn range(call: &mut Call<'_, '_>, by: Option<By>, reverse: bool) -> Outcome {
    let key = call.arguments.required()?;
    let arguments = call.rest()?;
    let range = Range::parse(&arguments, by, reverse, false)?;
    let found = find(call, key, &range)?;
    push_members(call, &found, range.with_scores, call.resp3)
}

fn range_store(call: &mut Call<'_, '_>) -> Outcome {
    let (target, key) = (call.arguments.required()?, call.arguments.required()?);
    let arguments = call.rest()?;
    let range = Range::parse(&arguments, None, false, true)?;
    let found = find(call, key, &range)?;
    store(call, target, &found)
}

/// Make members the value of a key, and answer their number.
pub(crate) fn store(call: &mut Call<'_, '_>, target: &[u8], members: &[Member]) -> Outcome {
    let (count, max) = (members.len(), CHANGES_MAX / 3);
    if count as u64 > max {
        return Err(format!("ERR the result has {count} members: one command stores at most {max} members").into());
    }
    let mut result = Elements::new(Kind::SortedSet);
    for member in members {
        result.add(call.keyspace, &member.name, &encode_score(member.score))?;
    }
    result.save_as_new(call.keyspace, target, 0)?;
    push_integer(&mut call.reply, count as i64);
    Ok(())
}

/// ZCOUNT and ZLEXCOUNT.
fn count_range(call: &mut Call<'_, '_>, by: By) -> Outcome {
    let (key, low, high) = (call.arguments.required()?, call.arguments.required()?, call.arguments.required()?);
    let bounds = Bounds::parse(by, (low, high), (low, high))?;
    let mut number = 0;
    if let Some(set) = Elements::load(call.keyspace, key, Kind::SortedSet)?
        && let Some((span, _)) = bounds.span(call.keyspace, &set, false)?
    {
        number = count(call.keyspace, &set, &span)?;
    }
    push_integer(&mut call.reply, number as i64);
    Ok(())
}

/// ZREMRANGEBYRANK, ZREMRANGEBYSCORE and ZREMRANGEBYLEX.
fn remove_range(call: &mut Call<'_, '_>, by: By) -> Outcome {
    let (key, low, high) = (call.arguments.required()?, call.arguments.required()?, call.arguments.required()?);
    let bounds = Bounds::parse(by, (low, high), (low, high))?;
    let mut number = 0;
    if let Some(mut set) = Elements::load(call.keyspace, key, Kind::SortedSet)?
        && let Some((span, by_rank)) = bounds.span(call.keyspace, &set, false)?
    {
        let found = members(call.keyspace, &set, &span, false, (0, by_rank.unwrap_or(u64::MAX)))?;
        number = found.len();
        if !found.is_empty() {
            remove_members(call.keyspace, key, &mut set, &found)?;
        }
    }
    push_integer(&mut call.reply, number as i64);
    Ok(())
}
