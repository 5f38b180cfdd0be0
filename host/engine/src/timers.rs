//! Timers are rows: by time (`kind | at u64 BE | id`, with the payload) and by id (`kind | id`, with the time).
//!
//! Invariant: a timer has both rows or neither. Both change in one transaction, so a timer fires exactly once as far as the
//! partition's data goes: the transaction that fires it removes it, and finds it gone if it comes a second time.
//!
//! Deliberately absent: the clock and the waiting, which belong to the partition's owner.

use bytes::{BufMut, Bytes, BytesMut};
use recoil_storage::key;

use crate::transaction::{StorageError, Transaction, View, ViewError};

/// A timer whose time has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DueTimer {
    /// What it was set as.
    pub id: Bytes,
    /// What it delivers.
    pub payload: Bytes,
    /// When it was to fire, microseconds.
    pub at_us: u64,
}

/// The timers due at `now_us`, earliest first: at most `limit`, and fewer once their payloads come to `bytes_max`, but one if
/// there is one.
pub fn due(view: &dyn View, now_us: u64, limit: usize, bytes_max: usize) -> Result<Vec<DueTimer>, ViewError> {
    let mut found = Vec::new();
    let mut bytes = 0;
    let end = by_time(now_us.saturating_add(1), &[]);
    for row in view.scan(by_time(0, &[]), Some(end), false) {
        let (row_key, payload) = row?;
        let Some((at_us, id)) = parse_by_time(&row_key) else { continue };
        bytes += id.len() + payload.len();
        if found.len() >= limit || (!found.is_empty() && bytes > bytes_max) {
            break;
        }
        found.push(DueTimer { id, payload, at_us });
    }
    Ok(found)
}

/// When the partition's next timer fires, microseconds.
pub fn earliest(view: &dyn View) -> Result<Option<u64>, ViewError> {
    let end = Bytes::copy_from_slice(&[key::TIMER_BY_TIME + 1]);
    let first = view.scan(by_time(0, &[]), Some(end), false).next().transpose()?;
    Ok(first.and_then(|(row_key, _)| parse_by_time(&row_key)).map(|(at_us, _)| at_us))
}

impl Transaction {
    /// Sets the timer `id`, in the place of the one of that id.
    pub fn set_timer(&mut self, id: &[u8], at_us: u64, payload: Bytes) -> Result<(), StorageError> {
        self.check_entry(id, payload.len())?;
        self.count_timer()?;
        self.check_growth(4 * id.len() + payload.len() + 64)?; // all rows or none
        self.cancel_timer(id)?;
        self.put_row(by_time(at_us, id), payload)?;
        self.put_row(by_id(id), Bytes::copy_from_slice(&at_us.to_be_bytes()))?;
        self.note_timer(at_us);
        Ok(())
    }

    /// Cancels the timer `id`, if it is set.
    pub fn cancel_timer(&mut self, id: &[u8]) -> Result<(), StorageError> {
        self.check_entry(id, 0)?;
        if let Some(at_us) = self.get_row(&by_id(id))?.and_then(|row| parse_time(&row)) {
            self.remove_row(by_time(at_us, id))?;
            self.remove_row(by_id(id))?;
        }
        Ok(())
    }

    /// Removes the timer `id` if it is still set for `at_us`, and gives its payload: `None` when it fired or was replaced meanwhile.
    pub fn take_timer(&mut self, id: &[u8], at_us: u64) -> Result<Option<Bytes>, StorageError> {
        let Some(payload) = self.get_row(&by_time(at_us, id))? else { return Ok(None) };
        self.remove_row(by_time(at_us, id))?;
        if self.get_row(&by_id(id))?.and_then(|row| parse_time(&row)) == Some(at_us) {
            self.remove_row(by_id(id))?;
        }
        Ok(Some(payload))
    }
}

fn by_time(at_us: u64, id: &[u8]) -> Bytes {
    let mut row_key = BytesMut::with_capacity(9 + id.len());
    row_key.put_u8(key::TIMER_BY_TIME);
    row_key.put_u64(at_us);
    row_key.put_slice(id);
    row_key.freeze()
}

fn by_id(id: &[u8]) -> Bytes {
    let mut row_key = BytesMut::with_capacity(1 + id.len());
    row_key.put_u8(key::TIMER_BY_ID);
    row_key.put_slice(id);
    row_key.freeze()
}

fn parse_by_time(row_key: &Bytes) -> Option<(u64, Bytes)> {
    let at_us = parse_time(row_key.get(1..9)?)?;
    Some((at_us, row_key.slice(9..)))
}

fn parse_time(bytes: &[u8]) -> Option<u64> {
    Some(u64::from_be_bytes(bytes.try_into().ok()?))
}
