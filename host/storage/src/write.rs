//! The replicated mutation of a partition: what a leader's evaluation leaves behind and every replica applies.
//!
//! Keys are relative to (copy, app), since the copy differs from node to node: they start with the kind. A range is
//! replicated as a range and stays within one kind.
//!
//! Binary form: `tag u8`, then byte strings behind 32-bit lengths. Changing it is a data migration.

use bytes::Bytes;
use recoil_base::{DecodeError, Reader, Writer};

use crate::key;

const PUT: u8 = 1;
const REMOVE: u8 = 2;
const REMOVE_RANGE: u8 = 3;
const REMOVE_TO_END_OF_KIND: u8 = 4;

/// One mutation. Every key starts with its kind ([`key::DATA`] and so on).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Write {
    /// Store `value` under `key`.
    Put {
        /// Relative key.
        key: Bytes,
        /// The value.
        value: Bytes,
    },
    /// Remove `key`, which need not be there.
    Remove {
        /// Relative key.
        key: Bytes,
    },
    /// Remove all keys from `start` on and before `end`.
    RemoveRange {
        /// Relative key of the first row that goes.
        start: Bytes,
        /// Relative key of the first row that stays; absent: to the end of `start`'s kind.
        end: Option<Bytes>,
    },
}

impl Write {
    /// Appends the binary form.
    pub fn encode(&self, writer: &mut Writer) {
        match self {
            Write::Put { key, value } => writer.u8(PUT).bytes(key).bytes(value),
            Write::Remove { key } => writer.u8(REMOVE).bytes(key),
            Write::RemoveRange { start, end: Some(end) } => writer.u8(REMOVE_RANGE).bytes(start).bytes(end),
            Write::RemoveRange { start, end: None } => writer.u8(REMOVE_TO_END_OF_KIND).bytes(start),
        };
    }

    /// Takes one off `reader`. A key without a kind, or longer than the data can hold, is an error.
    pub fn decode(reader: &mut Reader) -> Result<Self, DecodeError> {
        Ok(match reader.u8()? {
            PUT => Write::Put { key: relative_key(reader)?, value: reader.bytes()? },
            REMOVE => Write::Remove { key: relative_key(reader)? },
            REMOVE_RANGE => Write::RemoveRange { start: relative_key(reader)?, end: Some(relative_key(reader)?) },
            REMOVE_TO_END_OF_KIND => Write::RemoveRange { start: relative_key(reader)?, end: None },
            _ => return Err(reader.error("a write of an unknown kind")),
        })
    }

    /// Bytes of the binary form.
    pub fn size(&self) -> usize {
        match self {
            Write::Put { key, value } => 1 + 4 + key.len() + 4 + value.len(),
            Write::Remove { key } => 1 + 4 + key.len(),
            Write::RemoveRange { start, end } => 1 + 4 + start.len() + end.as_ref().map_or(0, |end| 4 + end.len()),
        }
    }
}

fn relative_key(reader: &mut Reader) -> Result<Bytes, DecodeError> {
    let key = reader.bytes()?;
    if key.is_empty() {
        return Err(reader.error("a key is empty: it must start with its kind"));
    }
    if key.len() > key::RELATIVE_BYTES_MAX {
        return Err(reader.error("a key is longer than the data can hold"));
    }
    Ok(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decode(bytes: Bytes) -> Result<Write, DecodeError> {
        let mut reader = Reader::new("write", bytes);
        let write = Write::decode(&mut reader)?;
        reader.finish()?;
        Ok(write)
    }

    #[test]
    fn every_write_survives_at_its_size_and_every_shorter_input_is_an_error() {
        let (key, value) = (Bytes::from_static(b"\x01key"), Bytes::from_static(b"value"));
        for write in [
            Write::Put { key: key.clone(), value: value.clone() },
            Write::Put { key: key.clone(), value: Bytes::new() },
            Write::Remove { key: key.clone() },
            Write::RemoveRange { start: key.clone(), end: Some(Bytes::from_static(b"\x01l")) },
            Write::RemoveRange { start: key.clone(), end: None },
        ] {
            let mut writer = Writer::default();
            write.encode(&mut writer);
            let bytes = writer.finish();
            assert_eq!(bytes.len(), write.size(), "{write:?}");
            assert_eq!(decode(bytes.clone()).unwrap(), write);
            for length in 0..bytes.len() {
                assert!(decode(bytes.slice(..length)).is_err(), "{write:?} {length}");
            }
        }
    }

    #[test]
    fn keys_that_the_data_cannot_hold_are_refused() {
        for (length, good) in
            [(0, false), (1, true), (key::RELATIVE_BYTES_MAX, true), (key::RELATIVE_BYTES_MAX + 1, false)]
        {
            let mut writer = Writer::default();
            Write::Remove { key: vec![1; length].into() }.encode(&mut writer);
            assert_eq!(decode(writer.finish()).is_ok(), good, "{length}");
        }
    }
}
