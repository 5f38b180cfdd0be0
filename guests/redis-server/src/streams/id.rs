//! The ids of entries: `milliseconds-sequence`.

use crate::keyspace::Failure;
use crate::numbers::push_u64;
use crate::resp::push_bulk;

const INVALID: &str = "ERR Invalid stream ID specified as stream command argument";
/// The longest text that may be one.
const TEXT_BYTES_MAX: usize = 127;

/// An id. Its order is that of the entries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Id(u128);

/// An id as XADD takes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NewId {
    /// `*`
    Auto,
    /// `ms-*`
    AutoSequence(u64),
    Exactly(Id),
}

impl Id {
    /// 0-0, the id of no entry.
    pub(crate) const MIN: Id = Id(0);
    pub(crate) const MAX: Id = Id(u128::MAX);

    pub(crate) fn new(milliseconds: u64, sequence: u64) -> Self {
        Id(u128::from(milliseconds) << 64 | u128::from(sequence))
    }

    pub(crate) fn milliseconds(self) -> u64 {
        (self.0 >> 64) as u64
    }

    pub(crate) fn sequence(self) -> u64 {
        self.0 as u64
    }

    /// The id after it, if there is one.
    pub(crate) fn next(self) -> Option<Self> {
        self.0.checked_add(1).map(Id)
    }

    /// The id before it, if there is one.
    pub(crate) fn previous(self) -> Option<Self> {
        self.0.checked_sub(1).map(Id)
    }

    /// In the order of the ids.
    pub(crate) fn to_bytes(self) -> [u8; 16] {
        self.0.to_be_bytes()
    }

    pub(crate) fn from_bytes(bytes: [u8; 16]) -> Self {
        Id(u128::from_be_bytes(bytes))
    }

    /// Append it to a reply.
    pub(crate) fn push(self, out: &mut Vec<u8>) {
        let mut text = Vec::with_capacity(41);
        push_u64(&mut text, self.milliseconds());
        text.push(b'-');
        push_u64(&mut text, self.sequence());
        push_bulk(out, &text);
    }

    /// One whole id; `sequence` is meant when only milliseconds are given.
    pub(crate) fn parse(text: &[u8], sequence: u64) -> Result<Self, Failure> {
        let (milliseconds, rest) = split(text)?;
        match rest {
            None => Ok(Id::new(milliseconds, sequence)),
            Some(rest) => Ok(Id::new(milliseconds, number(rest).ok_or(INVALID)?)),
        }
    }

    /// One end of a range: `-`, `+`, an id, or an id behind `(` that the range does not include. `last` says which end.
    pub(crate) fn parse_bound(text: &[u8], last: bool) -> Result<Self, Failure> {
        let (excluded, text) = match text.split_first() {
            Some((b'(', rest)) => (true, rest),
            _ => (false, text),
        };
        let id = match text {
            b"-" => Id::MIN,
            b"+" => Id::MAX,
            text => Id::parse(text, if last { u64::MAX } else { 0 })?,
        };
        match (excluded, last) {
            (false, _) => Ok(id),
            (true, false) => id.next().ok_or_else(|| "ERR invalid start ID for the interval".into()),
            (true, true) => id.previous().ok_or_else(|| "ERR invalid end ID for the interval".into()),
        }
    }
}

impl NewId {
    pub(crate) fn parse(text: &[u8]) -> Result<Self, Failure> {
        if text == b"*" {
            return Ok(NewId::Auto);
        }
        match split(text)? {
            (milliseconds, Some(b"*")) => Ok(NewId::AutoSequence(milliseconds)),
            _ => Id::parse(text, 0).map(NewId::Exactly),
        }
    }

    /// The id that it becomes behind `last`, none if that is not above it.
    pub(crate) fn resolve(self, last: Id, now_ms: u64) -> Option<Id> {
        match self {
            NewId::Auto if now_ms > last.milliseconds() => Some(Id::new(now_ms, 0)),
            NewId::Auto => last.next(),
            NewId::AutoSequence(milliseconds) if milliseconds == last.milliseconds() => {
                last.next().filter(|next| next.milliseconds() == milliseconds)
            }
            NewId::AutoSequence(milliseconds) => Some(Id::new(milliseconds, 0)).filter(|id| *id > last),
            NewId::Exactly(id) => Some(id).filter(|id| *id > last),
        }
    }
}

/// Milliseconds, and what follows the hyphen if there is one.
fn split(text: &[u8]) -> Result<(u64, Option<&[u8]>), Failure> {
    if text.len() > TEXT_BYTES_MAX {
        return Err(INVALID.into());
    }
    let (milliseconds, rest) = match text.iter().position(|byte| *byte == b'-') {
        Some(at) => (&text[..at], Some(&text[at + 1..])),
        None => (text, None),
    };
    Ok((number(milliseconds).ok_or(INVALID)?, rest))
}

/// Digits; unlike elsewhere, zeros may lead.
fn number(text: &[u8]) -> Option<u64> {
    if text.is_empty() {
        return None;
    }
    text.iter().try_fold(0u64, |value, digit| {
        let digit = digit.is_ascii_digit().then(|| u64::from(digit - b'0'))?;
        value.checked_mul(10)?.checked_add(digit)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_follow_one_another() {
        let id = |text: &str| Id::parse(text.as_bytes(), 0).ok();
        assert!(id("9-18446744073709551615") < id("10"));
        assert_eq!(id("1-18446744073709551615").and_then(Id::next), id("2-0"));
        assert_eq!(id("18446744073709551615-18446744073709551615"), Some(Id::MAX));
        for wrong in ["", "-", "+", "1-", "-1", "1-2-3", "x", "1-x", "18446744073709551616", " 1"] {
            assert_eq!(id(wrong), None, "{wrong}");
        }
        let resolve = |text: &str, last: &str, now_ms| {
            NewId::parse(text.as_bytes()).ok().and_then(|new| new.resolve(id(last).unwrap(), now_ms))
        };
        assert_eq!(resolve("*", "5-1", 7), id("7-0"));
        assert_eq!(resolve("*", "5-1", 5), id("5-2"));
        assert_eq!(resolve("*", "9-1", 5), id("9-2"));
        assert_eq!(resolve("5-*", "5-1", 9), id("5-2"));
        assert_eq!(resolve("0-*", "0-0", 9), id("0-1"));
        assert_eq!(resolve("6-*", "5-1", 9), id("6-0"));
        assert_eq!(resolve("5-*", "5-18446744073709551615", 9), None);
        assert_eq!(resolve("5-1", "5-1", 9), None);
    }
}
