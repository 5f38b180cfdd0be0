//! The host's transaction as the SDK's trait, so that a handler runs on it without a component around it.

use bytes::Bytes;
use recoil_engine::{StorageError as HostError, Transaction as HostTransaction};
use recoil_sdk::{Entry, KeyRange, PartitionPlace, Storage, StorageError, Transaction};

/// At most 4 MiB of entries, as the contract says.
const SCAN_BYTES_MAX: usize = 4 << 20;

pub(super) struct Native<'a>(pub(super) &'a mut HostTransaction);

fn refused(error: HostError) -> StorageError {
    match error {
        HostError::TooLarge(why) => StorageError::TooLarge(why),
        HostError::ReadOnly => StorageError::ReadOnly,
        HostError::QuotaExceeded(why) => StorageError::QuotaExceeded(why),
        HostError::Unavailable(why) => StorageError::Unavailable(why),
    }
}

impl Storage for Native<'_> {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StorageError> {
        Ok(self.0.get(key).map_err(refused)?.map(Vec::from))
    }

    fn get_many(&self, keys: &[Vec<u8>]) -> Result<Vec<Option<Vec<u8>>>, StorageError> {
        keys.iter().map(|key| self.get(key)).collect()
    }

    fn put(&mut self, key: &[u8], value: &[u8]) -> Result<(), StorageError> {
        self.0.put(key, Bytes::copy_from_slice(value)).map_err(refused)
    }

    fn put_many(&mut self, entries: &[Entry]) -> Result<(), StorageError> {
        let copy = |entry: &Entry| (Bytes::copy_from_slice(&entry.key), Bytes::copy_from_slice(&entry.value));
        self.0.put_many(entries.iter().map(copy).collect()).map_err(refused)
    }

    fn remove(&mut self, key: &[u8]) -> Result<(), StorageError> {
        self.0.remove(key).map_err(refused)
    }

    fn remove_range(&mut self, within: &KeyRange) -> Result<(), StorageError> {
        self.0.remove_range(&within.start, within.end.as_deref()).map_err(refused)
    }

    fn scan(&self, within: &KeyRange, limit: u32, reverse: bool) -> Result<Vec<Entry>, StorageError> {
        let scanned = self.0.scan(&within.start, within.end.as_deref(), limit, SCAN_BYTES_MAX, reverse);
        let (rows, _) = scanned.map_err(refused)?;
        Ok(rows.into_iter().map(|(key, value)| Entry { key: key.into(), value: value.into() }).collect())
    }
}

impl Transaction for Native<'_> {
    fn place(&self) -> PartitionPlace {
        let info = self.0.info();
        let keyspace = info.keyspace.to_string();
        PartitionPlace { keyspace, id: info.partition.0, count: info.partition_count, epoch: info.epoch }
    }

    fn now_us(&self) -> u64 {
        self.0.info().now_us
    }

    fn is_read_only(&self) -> bool {
        self.0.info().read_only
    }

    fn set_timer(&mut self, _id: &[u8], _at_us: u64, _payload: &[u8]) {
        unreachable!("neither a plain SET nor GET sets a timer");
    }

    fn cancel_timer(&mut self, _id: &[u8]) {
        unreachable!("neither a plain SET nor GET cancels a timer");
    }

    fn publish(&mut self, _topic: &[u8], _message: &[u8]) {
        unreachable!("neither a plain SET nor GET publishes");
    }
}
