//! What blocking commands ask for, as clients say it and as partitions pass it on.

use recoil_sdk::encoding::{DecodeError, Reader, push_bytes, push_count};

use crate::arguments::{NUMKEYS, Words};
use crate::keyspace::{Failure, Kind};
use crate::list::commands::parse_end;
use crate::numbers::{parse_f64, parse_i64};
use crate::resp::{push_array, push_bulk, push_double, push_null, push_null_array};
use crate::streams::read::{Read, parse as parse_read};
use crate::strings::SYNTAX;
use crate::zset::index::Member;
use crate::zset::parse_mpop;

/// The longest time that a command may wait: what Redis' milliseconds have room for is out of range here, too.
const TIMEOUT_SECONDS_MAX: f64 = 1e12;

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
pub(super) enum Items {
    Values(Vec<Vec<u8>>),
    Members(Vec<Member>),
    /// The whole reply.
    Reply(Vec<u8>),
}

impl Take {
    pub(super) fn kind(&self) -> Kind {
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
    pub(super) fn push_reply(&self, out: &mut Vec<u8>, resp3: bool, key: &[u8], items: &Items) {
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
