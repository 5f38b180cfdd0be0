//! What a key row holds: a header, and the value or where it is.

use super::{FLAG_ROWS, Failure, WRONG_TYPE, damaged};

pub(super) const HEADER_BYTES: usize = 19;
pub(super) const FORMAT: u8 = 2;

/// The Redis type of a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Kind {
    String = 1,
    List = 2,
    Set = 3,
    SortedSet = 4,
    Hash = 5,
    Stream = 6,
}

impl Kind {
    /// What TYPE answers.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Kind::String => "string",
            Kind::List => "list",
            Kind::Set => "set",
            Kind::SortedSet => "zset",
            Kind::Hash => "hash",
            Kind::Stream => "stream",
        }
    }
}

/// A key that exists.
pub(crate) struct Stored {
    pub(crate) kind: Kind,
    /// 0: never.
    pub(crate) expire_at_us: u64,
    pub(crate) version: u64,
    row: Vec<u8>,
}

impl Stored {
    /// Take a row apart.
    pub(crate) fn decode(row: Vec<u8>) -> Result<Self, Failure> {
        if row.len() < HEADER_BYTES {
            return Err(damaged(format!("{} bytes are less than a header", row.len())));
        }
        if row[0] != FORMAT || row[2] & !FLAG_ROWS != 0 {
            let (format, flags) = (row[0], row[2]);
            return Err(damaged(format!("format {format} with flags {flags} is of another version of this package")));
        }
        let kind = match row[1] {
            1 => Kind::String,
            2 => Kind::List,
            3 => Kind::Set,
            4 => Kind::SortedSet,
            5 => Kind::Hash,
            6 => Kind::Stream,
            other => return Err(damaged(format!("type {other} is of a newer version of this package"))),
        };
        let number = |at: usize| row[at..at + 8].iter().rev().fold(0u64, |number, byte| number << 8 | u64::from(*byte));
        Ok(Stored { kind, expire_at_us: number(3), version: number(11), row })
    }

    /// What follows the header.
    pub(crate) fn payload(&self) -> &[u8] {
        &self.row[HEADER_BYTES..]
    }

    /// Header and payload.
    pub(crate) fn row(&self) -> &[u8] {
        &self.row
    }

    /// The string, if it is one.
    pub(crate) fn string(&self) -> Result<&[u8], Failure> {
        match self.kind {
            Kind::String => Ok(self.payload()),
            _ => Err(WRONG_TYPE.into()),
        }
    }

    /// The generation of a collection whose elements are rows.
    pub(crate) fn generation(&self) -> Option<u64> {
        if self.row[2] & FLAG_ROWS == 0 {
            return None;
        }
        self.payload().get(..8).and_then(|bytes| bytes.try_into().ok()).map(u64::from_le_bytes)
    }

    pub(super) fn flags(&self) -> u8 {
        self.row[2]
    }

    /// The header that it would have if its elements were inline.
    pub(crate) fn inline_header(&self) -> [u8; HEADER_BYTES] {
        let mut header = [0; HEADER_BYTES];
        header.copy_from_slice(&self.row[..HEADER_BYTES]);
        header[2] &= !FLAG_ROWS;
        header
    }

    /// True when its time has come.
    pub(crate) fn is_expired(&self, now_us: u64) -> bool {
        self.expire_at_us != 0 && self.expire_at_us <= now_us
    }
}
