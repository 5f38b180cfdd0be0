//! Batches: writes that become visible together.

use std::collections::BTreeMap;

use bytes::Bytes;
use recoil_base::{AppId, CopyId};

use super::{Data, DataError};
use crate::{Write, key};

/// What a row weighs in a batch beside its bytes.
const ROW_BYTES: usize = 16;

/// Writes that become visible together, by [`Data::commit`]. A later write of a key takes an earlier one's place; the rows go to
/// the data in key order.
pub struct Batch {
    data: Data,
    rows: BTreeMap<Bytes, Option<Bytes>>,
    bytes: usize,
    error: Option<DataError>,
}

impl Batch {
    pub(super) fn new(data: Data) -> Self {
        Batch { data, rows: BTreeMap::new(), bytes: 0, error: None }
    }

    /// Stores `value` under `key`.
    pub fn put(&mut self, key: impl Into<Bytes>, value: impl Into<Bytes>) {
        self.set(key.into(), Some(value.into()));
    }

    /// Removes `key`, which need not be there.
    pub fn remove(&mut self, key: impl Into<Bytes>) {
        self.set(key.into(), None);
    }

    /// Removes the keys from `start` on and before `end`: those that are committed now and those put by this batch so far. It
    /// becomes one removal for each, as fjall knows no other. A row that somebody else commits between this call and the
    /// commit of the batch stays; with one writer there is none. An error while reading is told by [`Data::commit`].
    pub fn remove_range(&mut self, start: impl Into<Bytes>, end: impl Into<Bytes>) {
        let (start, end) = (start.into(), end.into());
        if end <= start {
            return;
        }
        let own: Vec<Bytes> = self.rows.range(start.clone()..end.clone()).map(|(key, _)| key.clone()).collect();
        for key in own {
            self.set(key, None);
        }
        for key in self.data.snapshot().keys(start.to_vec(), end.to_vec()) {
            match key {
                Ok(key) => self.set(key, None),
                Err(error) => {
                    self.error.get_or_insert(error);
                    return;
                }
            }
        }
    }

    /// Applies a replicated write to an app's rows in a copy. A range without an end, or one that would leave its kind,
    /// goes to the end of the kind.
    pub fn write(&mut self, copy: CopyId, app: AppId, write: &Write) {
        match write {
            Write::Put { key, value } => self.put(key::absolute(copy, app, key), value.clone()),
            Write::Remove { key } => self.remove(key::absolute(copy, app, key)),
            Write::RemoveRange { start, end } => {
                let Some(kind) = start.first() else {
                    self.error.get_or_insert(DataError::Key { bytes: 0 });
                    return;
                };
                let start = key::absolute(copy, app, start);
                // Copy ids stay below the largest number, so there is a key after every prefix.
                let Some(mut last) = key::after(&key::absolute(copy, app, &[*kind])) else { return };
                if let Some(end) = end {
                    last = last.min(key::absolute(copy, app, end));
                }
                self.remove_range(start, last);
            }
        }
    }

    /// Bytes of the rows, about.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Rows written or removed.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// True if it does nothing.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    fn set(&mut self, key: Bytes, value: Option<Bytes>) {
        if key.is_empty() || key.len() > key::KEY_BYTES_MAX {
            self.error.get_or_insert(DataError::Key { bytes: key.len() });
            return;
        }
        let value_bytes = |value: &Option<Bytes>| value.as_ref().map_or(0, Bytes::len);
        let (key_bytes, added) = (key.len() + ROW_BYTES, value_bytes(&value));
        match self.rows.insert(key, value) {
            Some(before) => self.bytes -= value_bytes(&before),
            None => self.bytes += key_bytes,
        }
        self.bytes += added;
    }

    pub(super) fn into_rows(self) -> Result<BTreeMap<Bytes, Option<Bytes>>, DataError> {
        self.error.map_or(Ok(self.rows), Err)
    }
}
