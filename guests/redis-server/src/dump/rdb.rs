//! Numbers and strings of Redis' snapshots.
//!
//! ```text
//! length    00nnnnnn | 01nnnnnn n (1) | 10000000 n (4) | 10000001 n (8)        big-endian
//! string    length and bytes; or 11000000 n (1) | 11000001 n (2) | 11000010 n (4), an integer, little-endian;
//!           or 11000011, length compressed, length, and the compressed bytes
//! ```

use super::lzf;
use crate::elements::Element;
use crate::numbers::{parse_f64, push_i64};

/// A payload that does not say what it should. What exactly is of no use to a client: Redis answers one text for everything.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Damage;

/// What an item in memory costs beside its bytes.
pub(super) const ITEM_BYTES: u64 = 48;
/// What a payload may become in memory.
const ROOM: u64 = 32 << 20;

/// What is left to read, and what that may still become.
pub(super) struct Input<'a>(pub(super) &'a [u8], u64);

/// What a string begins with.
enum Length {
    Bytes(u64),
    Encoded(u8),
}

impl<'a> Input<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Input(bytes, ROOM)
    }

    /// Refuse what would become too large in memory.
    pub(super) fn charge(&mut self, bytes: u64) -> Result<(), Damage> {
        self.1 = self.1.checked_sub(bytes).ok_or(Damage)?;
        Ok(())
    }

    /// A string that is a compact encoding of several items.
    pub(super) fn compact(
        &mut self,
        read: impl Fn(&[u8]) -> Result<Vec<Vec<u8>>, Damage>,
    ) -> Result<Vec<Vec<u8>>, Damage> {
        let items = read(&self.string()?)?;
        self.charge(items.len() as u64 * ITEM_BYTES)?;
        Ok(items)
    }

    pub(super) fn byte(&mut self) -> Result<u8, Damage> {
        let (first, rest) = self.0.split_first().ok_or(Damage)?;
        self.0 = rest;
        Ok(*first)
    }

    pub(super) fn raw(&mut self, length: u64) -> Result<&'a [u8], Damage> {
        let length = usize::try_from(length).map_err(|_| Damage)?;
        let (taken, rest) = self.0.split_at_checked(length).ok_or(Damage)?;
        self.0 = rest;
        Ok(taken)
    }

    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], Damage> {
        self.raw(N as u64)?.try_into().map_err(|_| Damage)
    }

    fn length_or_encoding(&mut self) -> Result<Length, Damage> {
        let first = self.byte()?;
        Ok(match (first >> 6, first) {
            (0, _) => Length::Bytes(u64::from(first)),
            (1, _) => Length::Bytes(u64::from(first & 0x3f) << 8 | u64::from(self.byte()?)),
            (_, 0x80) => Length::Bytes(u64::from(u32::from_be_bytes(self.array()?))),
            (_, 0x81) => Length::Bytes(u64::from_be_bytes(self.array()?)),
            (3, _) => Length::Encoded(first & 0x3f),
            _ => return Err(Damage),
        })
    }

    /// A number.
    pub(super) fn length(&mut self) -> Result<u64, Damage> {
        match self.length_or_encoding()? {
            Length::Bytes(length) => Ok(length),
            Length::Encoded(_) => Err(Damage),
        }
    }

    pub(super) fn string(&mut self) -> Result<Vec<u8>, Damage> {
        self.charge(ITEM_BYTES)?;
        let number = match self.length_or_encoding()? {
            Length::Bytes(length) => return self.raw(length).map(<[u8]>::to_vec),
            Length::Encoded(0) => i64::from(i8::from_le_bytes(self.array()?)),
            Length::Encoded(1) => i64::from(i16::from_le_bytes(self.array()?)),
            Length::Encoded(2) => i64::from(i32::from_le_bytes(self.array()?)),
            Length::Encoded(3) => {
                let (compressed, length) = (self.length()?, self.length()?);
                self.charge(length)?;
                return lzf::decompress(self.raw(compressed)?, length);
            }
            Length::Encoded(_) => return Err(Damage),
        };
        let mut text = Vec::new();
        push_i64(&mut text, number);
        Ok(text)
    }

    /// As many strings as a number says.
    pub(super) fn strings(&mut self) -> Result<Vec<Vec<u8>>, Damage> {
        let (count, mut strings) = (self.length()?, Vec::new());
        for _ in 0..count {
            strings.push(self.string()?);
        }
        Ok(strings)
    }

    pub(super) fn pairs(&mut self) -> Result<Vec<Element>, Damage> {
        let (count, mut pairs) = (self.length()?, Vec::new());
        for _ in 0..count {
            pairs.push((self.string()?, self.string()?));
        }
        Ok(pairs)
    }

    /// Members and scores, which are texts in the old format.
    pub(super) fn scores(&mut self, binary: bool) -> Result<Vec<(Vec<u8>, f64)>, Damage> {
        let (count, mut scores) = (self.length()?, Vec::new());
        for _ in 0..count {
            let name = self.string()?;
            let number = if binary {
                f64::from_le_bytes(self.array()?)
            } else {
                match self.byte()? {
                    255 => f64::NEG_INFINITY,
                    254 => f64::INFINITY,
                    253 => return Err(Damage),
                    length => score(self.raw(u64::from(length))?)?,
                }
            };
            // There is no other zero here.
            scores.push((name, number + 0.0));
        }
        Ok(scores)
    }
}

/// A score as text.
pub(super) fn score(text: &[u8]) -> Result<f64, Damage> {
    parse_f64(text).map(|score| score + 0.0).ok_or(Damage)
}

pub(super) fn push_length(out: &mut Vec<u8>, length: u64) {
    match length {
        0..0x40 => out.push(length as u8),
        0x40..0x4000 => out.extend_from_slice(&(length as u16 | 0x4000).to_be_bytes()),
        0x4000..0x1_0000_0000 => {
            out.push(0x80);
            out.extend_from_slice(&(length as u32).to_be_bytes());
        }
        _ => {
            out.push(0x81);
            out.extend_from_slice(&length.to_be_bytes());
        }
    }
}

pub(super) fn push_string(out: &mut Vec<u8>, string: &[u8]) {
    push_length(out, string.len() as u64);
    out.extend_from_slice(string);
}
