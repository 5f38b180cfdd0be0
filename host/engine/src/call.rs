//! What a routed call asks of a partition, where it goes, how it may fail, and how all of that is written as bytes.
//!
//! [`CallBody::Handle`] and [`CallBody::Fire`] run a handler; the others serve a listener's `storage` interface without one
//! ([`evaluate_storage`]). Keys in the latter are app-relative, as in [`Write`].
//!
//! Invariant: bytes from another node are checked when decoded; no length in them is trusted for an allocation.

use bytes::Bytes;
use recoil_base::{DecodeError, PartitionId, Reader, Writer};
use recoil_storage::Write;

use crate::transaction::{StorageError, Transaction, data_key};

/// Which partition a call goes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// The owner of this user key.
    Key(Bytes),
    /// This one.
    Partition(PartitionId),
}

/// What a call may do and see.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// May write; answered once its writes are committed.
    Write,
    /// Linearizable, without the log.
    Read,
    /// From whatever a replica has applied.
    StaleRead,
}

/// One call on its way to a partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoutedCall {
    /// Where to.
    pub to: Address,
    /// What.
    pub body: CallBody,
    /// How.
    pub mode: Mode,
}

/// What a call asks of a partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CallBody {
    /// Run the handler on a request.
    Handle(Bytes),
    /// Fire a timer, if it is still set for that time.
    Fire {
        /// The timer.
        id: Bytes,
        /// What it delivers.
        payload: Bytes,
        /// What it was set for, microseconds.
        at_us: u64,
    },
    /// Values of app-relative keys. The answer: [`decode_values`].
    Get(Vec<Bytes>),
    /// Writes to data rows, all or none. The answer is empty.
    Write(Vec<Write>),
    /// A page of data rows. The answer: [`decode_page`].
    Scan {
        /// First app-relative key.
        start: Bytes,
        /// The key before which to end; absent: the end of the data.
        end: Option<Bytes>,
        /// Rows at most.
        limit: u32,
        /// Bytes at most; a first row above it comes without its value.
        bytes_max: u32,
        /// Against key order.
        reverse: bool,
    },
}

/// How a call failed. What each means for a retry is in `wit/router.wit`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// The handler said no. Nothing was written.
    #[error("{0}")]
    Rejected(String),
    /// The handler trapped or ran out of time or memory. Nothing was written.
    #[error("{0}")]
    Failed(String),
    /// The leader was lost after the call was sent.
    #[error("the outcome is unknown: {0}")]
    UnknownOutcome(String),
    /// No leader or quorum in time. Nothing was written.
    #[error("{0}")]
    Unavailable(String),
    /// Lost to a conflicting transaction. Nothing was written.
    #[error("a conflicting transaction was faster; retry")]
    Conflict,
}

impl From<StorageError> for CallError {
    fn from(error: StorageError) -> Self {
        match error {
            StorageError::Unavailable(text) => CallError::Unavailable(text),
            other => CallError::Rejected(other.to_string()),
        }
    }
}

impl CallError {
    /// Appends it.
    pub fn encode(&self, writer: &mut Writer) {
        let (tag, text) = match self {
            CallError::Rejected(text) => (1, text.as_str()),
            CallError::Failed(text) => (2, text.as_str()),
            CallError::UnknownOutcome(text) => (3, text.as_str()),
            CallError::Unavailable(text) => (4, text.as_str()),
            CallError::Conflict => (5, ""),
        };
        writer.u8(tag).bytes(text.as_bytes());
    }

    /// Reads what [`CallError::encode`] wrote.
    pub fn decode(reader: &mut Reader) -> Result<Self, DecodeError> {
        let (tag, text) = (reader.u8()?, reader.string()?);
        Ok(match tag {
            1 => CallError::Rejected(text),
            2 => CallError::Failed(text),
            3 => CallError::UnknownOutcome(text),
            4 => CallError::Unavailable(text),
            5 => CallError::Conflict,
            _ => return Err(reader.error("an unknown kind of error")),
        })
    }
}

impl Mode {
    /// Its byte.
    pub fn as_u8(self) -> u8 {
        match self {
            Mode::Write => 0,
            Mode::Read => 1,
            Mode::StaleRead => 2,
        }
    }

    /// The mode of a byte.
    pub fn from_u8(byte: u8) -> Option<Self> {
        [Mode::Write, Mode::Read, Mode::StaleRead].into_iter().find(|mode| mode.as_u8() == byte)
    }
}

const HANDLE: u8 = 0;
const FIRE: u8 = 1;
const GET: u8 = 2;
const WRITE: u8 = 3;
const SCAN: u8 = 4;

impl CallBody {
    /// Its size as bytes, about.
    pub fn size(&self) -> usize {
        16 + match self {
            CallBody::Handle(request) => request.len(),
            CallBody::Fire { id, payload, .. } => id.len() + payload.len(),
            CallBody::Get(keys) => keys.iter().map(|key| key.len() + 4).sum(),
            CallBody::Write(writes) => writes.iter().map(|write| write.size() + 8).sum(),
            CallBody::Scan { start, end, .. } => start.len() + end.as_ref().map_or(0, Bytes::len),
        }
    }

    /// Appends it.
    pub fn encode(&self, writer: &mut Writer) {
        match self {
            CallBody::Handle(request) => {
                writer.u8(HANDLE).bytes(request);
            }
            CallBody::Fire { id, payload, at_us } => {
                writer.u8(FIRE).bytes(id).bytes(payload).u64(*at_us);
            }
            CallBody::Get(keys) => {
                writer.u8(GET).u32(keys.len() as u32);
                for key in keys {
                    writer.bytes(key);
                }
            }
            CallBody::Write(writes) => {
                writer.u8(WRITE).u32(writes.len() as u32);
                for write in writes {
                    write.encode(writer);
                }
            }
            CallBody::Scan { start, end, limit, bytes_max, reverse } => {
                writer.u8(SCAN).bytes(start).u8(u8::from(end.is_some()));
                writer.bytes(end.as_deref().unwrap_or_default()).u32(*limit).u32(*bytes_max).u8(u8::from(*reverse));
            }
        }
    }

    /// Reads what [`CallBody::encode`] wrote.
    pub fn decode(reader: &mut Reader) -> Result<Self, DecodeError> {
        Ok(match reader.u8()? {
            HANDLE => CallBody::Handle(reader.bytes()?),
            FIRE => CallBody::Fire { id: reader.bytes()?, payload: reader.bytes()?, at_us: reader.u64()? },
            GET => {
                let count = reader.count(4)?;
                CallBody::Get((0..count).map(|_| reader.bytes()).collect::<Result<_, _>>()?)
            }
            WRITE => {
                let count = reader.count(1)?;
                CallBody::Write((0..count).map(|_| Write::decode(reader)).collect::<Result<_, _>>()?)
            }
            SCAN => {
                let start = reader.bytes()?;
                let ends = reader.u8()? != 0;
                let end = Some(reader.bytes()?).filter(|_| ends);
                CallBody::Scan {
                    start,
                    end,
                    limit: reader.u32()?,
                    bytes_max: reader.u32()?,
                    reverse: reader.u8()? != 0,
                }
            }
            _ => return Err(reader.error("an unknown kind of call")),
        })
    }
}

/// A page of a scan: user keys, with their values but for a first row that alone was above the bytes asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ScanPage {
    /// The rows.
    pub entries: Vec<(Bytes, Option<Bytes>)>,
    /// There may be more after them.
    pub more: bool,
}

/// The app-relative keys of user keys, as the storage calls take them.
pub fn relative_key(user_key: &[u8]) -> Bytes {
    data_key(user_key)
}

/// Answers a call that needs no handler. The transaction is rolled back when it fails.
pub fn evaluate_storage(transaction: &mut Transaction, body: &CallBody) -> Result<Bytes, CallError> {
    let answer = match body {
        CallBody::Get(keys) => get(transaction, keys),
        CallBody::Write(writes) => writes
            .iter()
            .try_for_each(|write| transaction.write_data(write))
            .map(|()| Bytes::new())
            .map_err(CallError::from),
        CallBody::Scan { start, end, limit, bytes_max, reverse } => {
            scan(transaction, start, end.as_ref(), *limit, *bytes_max, *reverse)
        }
        CallBody::Handle(_) | CallBody::Fire { .. } => Err(CallError::Failed("this call needs a handler".into())),
    };
    if answer.is_err() {
        transaction.roll_back();
    }
    answer
}

fn user_key(row_key: &Bytes) -> Result<&[u8], CallError> {
    match row_key.split_first() {
        Some((&recoil_storage::key::DATA, user_key)) => Ok(user_key),
        _ => Err(CallError::Rejected("a key outside the app's data".into())),
    }
}

fn get(transaction: &Transaction, keys: &[Bytes]) -> Result<Bytes, CallError> {
    let limit = transaction.limits().answer_bytes_max;
    let mut writer = Writer::with_capacity(64);
    writer.u32(keys.len() as u32);
    for row_key in keys {
        let value = transaction.get(user_key(row_key)?)?;
        writer.u8(u8::from(value.is_some()));
        writer.bytes(value.as_deref().unwrap_or_default());
        if writer.len() > limit {
            return Err(CallError::Rejected(format!(
                "the values come to more than limit answer_bytes: {limit}; ask for fewer keys"
            )));
        }
    }
    Ok(writer.finish())
}

fn scan(
    transaction: &Transaction,
    start: &Bytes,
    end: Option<&Bytes>,
    limit: u32,
    bytes_max: u32,
    reverse: bool,
) -> Result<Bytes, CallError> {
    let start = user_key(start)?;
    let end = end.map(user_key).transpose()?;
    let (entries, more) = transaction.scan(start, end, limit, bytes_max as usize, reverse)?;
    let mut writer = Writer::with_capacity(64);
    writer.u8(u8::from(more)).u32(entries.len() as u32);
    for (key, value) in &entries {
        let with_value = key.len() + value.len() <= (bytes_max as usize).max(key.len());
        writer.bytes(key).u8(u8::from(with_value));
        writer.bytes(if with_value { value } else { &[] });
    }
    Ok(writer.finish())
}

/// The answer to [`CallBody::Get`].
pub fn decode_values(answer: Bytes) -> Result<Vec<Option<Bytes>>, DecodeError> {
    let mut reader = Reader::new("values", answer);
    let count = reader.count(5)?;
    let mut values = Vec::with_capacity(count);
    for _ in 0..count {
        let present = reader.u8()? != 0;
        values.push(Some(reader.bytes()?).filter(|_| present));
    }
    reader.finish()?;
    Ok(values)
}

/// The answer to [`CallBody::Scan`].
pub fn decode_page(answer: Bytes) -> Result<ScanPage, DecodeError> {
    let mut reader = Reader::new("page of a scan", answer);
    let more = reader.u8()? != 0;
    let count = reader.count(9)?;
    let mut entries = Vec::with_capacity(count);
    for _ in 0..count {
        let key = reader.bytes()?;
        let present = reader.u8()? != 0;
        entries.push((key, Some(reader.bytes()?).filter(|_| present)));
    }
    reader.finish()?;
    Ok(ScanPage { entries, more })
}

#[cfg(test)]
mod tests;
