//! Storage as a listener has it: each call is one routed, linearizable operation on the partitions that own the keys.
//!
//! The SDK's `Storage` comes to handlers only; the contract gives it to listeners, too.

use recoil_sdk::bindings::platform::recoil::plugin::storage;
use recoil_sdk::{Entry, KeyRange, Storage, StorageError};

pub(crate) struct Routed;

impl Storage for Routed {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StorageError> {
        storage::get(key)
    }
    fn get_many(&self, keys: &[Vec<u8>]) -> Result<Vec<Option<Vec<u8>>>, StorageError> {
        storage::get_many(keys)
    }
    fn put(&mut self, key: &[u8], value: &[u8]) -> Result<(), StorageError> {
        storage::put(key, value)
    }
    fn put_many(&mut self, entries: &[Entry]) -> Result<(), StorageError> {
        storage::put_many(entries)
    }
    fn remove(&mut self, key: &[u8]) -> Result<(), StorageError> {
        storage::remove(key)
    }
    fn remove_range(&mut self, within: &KeyRange) -> Result<(), StorageError> {
        storage::remove_range(within)
    }
    fn scan(&self, within: &KeyRange, limit: u32, reverse: bool) -> Result<Vec<Entry>, StorageError> {
        storage::scan(within, limit, reverse)
    }
}
