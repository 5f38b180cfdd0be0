//! The ordered key-value space that belongs to a package.
//!
//! [`Storage`] is the contract's `storage` interface as a trait, so that package logic runs on the host's partition and
//! on [`crate::fake::FakePartition`] alike. Invariant: nothing here buffers or reorders; each call is one call of the
//! host. Only [`Entries`] adds something, the paging that a long scan needs.

use std::collections::VecDeque;

pub use crate::bindings::platform::recoil::plugin::storage::{Entry, Error as StorageError, KeyRange};

/// An ordered, transactional space of byte strings. In a [`crate::Handler`] it is the partition's; the writes of one
/// request become visible together or not at all.
///
/// Default limits: keys 65,514 bytes, values 8 MiB, the writes of one transaction 16 MiB; beyond, [`StorageError::TooLarge`].
pub trait Storage {
    /// The value of `key`, including what this transaction wrote.
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StorageError>;
    /// Values in the order of `keys`, in one crossing.
    fn get_many(&self, keys: &[Vec<u8>]) -> Result<Vec<Option<Vec<u8>>>, StorageError>;
    /// Write one value.
    fn put(&mut self, key: &[u8], value: &[u8]) -> Result<(), StorageError>;
    /// Write many values in one crossing; a later entry of the same key wins.
    fn put_many(&mut self, entries: &[Entry]) -> Result<(), StorageError>;
    /// Remove one value. Removing an absent key is not an error.
    fn remove(&mut self, key: &[u8]) -> Result<(), StorageError>;
    /// Remove every key of a range.
    fn remove_range(&mut self, within: &KeyRange) -> Result<(), StorageError>;
    /// At most `limit` entries in key order, descending if `reverse`. Fewer may come before the range ends (pages are
    /// 4 MiB), but at least one if there is one: only an empty page is the end. [`StorageExt::entries`] pages by itself.
    fn scan(&self, within: &KeyRange, limit: u32, reverse: bool) -> Result<Vec<Entry>, StorageError>;
}

/// What can be had from any [`Storage`].
pub trait StorageExt: Storage {
    /// The entries of a range in key order, read page by page as the iterator is advanced.
    fn entries(&self, within: KeyRange) -> Entries<'_, Self> {
        Entries::new(self, within, false)
    }
    /// The entries of a range in descending key order.
    fn entries_reverse(&self, within: KeyRange) -> Entries<'_, Self> {
        Entries::new(self, within, true)
    }
}

impl<S: Storage + ?Sized> StorageExt for S {}

impl KeyRange {
    /// Every key.
    pub fn all() -> Self {
        KeyRange { start: Vec::new(), end: None }
    }

    /// Every key that begins with `prefix`.
    pub fn prefix(prefix: &[u8]) -> Self {
        KeyRange { start: prefix.to_vec(), end: prefix_end(prefix) }
    }

    /// From `start`, which is included, to `end`, which is not.
    pub fn between(start: &[u8], end: &[u8]) -> Self {
        KeyRange { start: start.to_vec(), end: Some(end.to_vec()) }
    }
}

/// The first key after all keys that begin with `prefix`; none if there is no such key.
pub fn prefix_end(prefix: &[u8]) -> Option<Vec<u8>> {
    let last = prefix.iter().rposition(|byte| *byte != 0xff)?;
    let mut end = prefix[..=last].to_vec();
    end[last] += 1;
    Some(end)
}

/// An iterator over a range that fetches pages as it goes. It ends after its first error.
pub struct Entries<'a, S: Storage + ?Sized> {
    storage: &'a S,
    /// What has not been fetched yet; none when there is nothing more to fetch.
    rest: Option<KeyRange>,
    reverse: bool,
    page: VecDeque<Entry>,
    page_size: u32,
}

/// The first page is small, for those who look at the first entries only; pages then grow to the largest.
const PAGE_SIZE_FIRST: u32 = 32;
const PAGE_SIZE_LARGEST: u32 = 1024;

impl<'a, S: Storage + ?Sized> Entries<'a, S> {
    fn new(storage: &'a S, within: KeyRange, reverse: bool) -> Self {
        Entries { storage, rest: Some(within), reverse, page: VecDeque::new(), page_size: PAGE_SIZE_FIRST }
    }

    fn fetch(&mut self) -> Result<(), StorageError> {
        let Some(mut range) = self.rest.take() else { return Ok(()) };
        let page = self.storage.scan(&range, self.page_size, self.reverse)?;
        self.page_size = (self.page_size * 4).min(PAGE_SIZE_LARGEST);
        if let Some(last) = page.last() {
            if self.reverse {
                range.end = Some(last.key.clone());
            } else {
                range.start.clear();
                range.start.extend_from_slice(&last.key);
                range.start.push(0); // the smallest key after it
            }
            self.rest = Some(range);
        }
        self.page = page.into();
        Ok(())
    }
}

impl<S: Storage + ?Sized> Iterator for Entries<'_, S> {
    type Item = Result<Entry, StorageError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.page.is_empty()
            && let Err(error) = self.fetch()
        {
            return Some(Err(error));
        }
        self.page.pop_front().map(Ok)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fake::FakePartition;

    #[test]
    fn a_prefix_ends_before_the_next_key_that_lacks_it() {
        assert_eq!(prefix_end(b"ab"), Some(b"ac".to_vec()));
        assert_eq!(prefix_end(b"a\xff\xff"), Some(b"b".to_vec()));
        assert_eq!(prefix_end(b"\xff\xff"), None);
        assert_eq!(prefix_end(b""), None);
    }

    #[test]
    fn entries_pages_through_everything_once_in_both_directions() {
        let mut partition = FakePartition::new();
        partition.page_entries = 7; // pages shorter than asked for are not the end
        for number in 0..5000u32 {
            partition.insert(&number.to_be_bytes(), b"");
        }
        let view = partition.view();
        let range = KeyRange::between(&10u32.to_be_bytes(), &4000u32.to_be_bytes());
        let keys = |entries: Entries<'_, _>| -> Vec<u32> {
            entries.map(|entry| u32::from_be_bytes(entry.unwrap().key.try_into().unwrap())).collect()
        };
        assert_eq!(keys(view.entries(range.clone())), (10..4000).collect::<Vec<_>>());
        assert_eq!(keys(view.entries_reverse(range)), (10..4000).rev().collect::<Vec<_>>());
        assert_eq!(view.entries(KeyRange::between(b"b", b"a")).count(), 0);
    }
}
