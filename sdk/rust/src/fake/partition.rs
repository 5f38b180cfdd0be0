//! One partition in memory.

use std::collections::BTreeMap;
use std::ops::Bound;

use crate::roles::{Error, Handler, Timer};
use crate::storage::{Entry, KeyRange, Storage, StorageError};
use crate::transaction::{PartitionPlace, Transaction};

const KEY_BYTES_MAX: usize = 65_514;
const VALUE_BYTES_MAX: usize = 8 << 20;
const TRANSACTION_BYTES_MAX: usize = 16 << 20;

/// When, and with which payload, by id.
type Timers = BTreeMap<Vec<u8>, (u64, Vec<u8>)>;

/// A partition in memory, with everything a transaction can do to it in plain sight.
pub struct FakePartition {
    rows: BTreeMap<Vec<u8>, Vec<u8>>,
    timers: Timers,
    /// Topic and message of everything published so far, in commit order.
    pub published: Vec<(Vec<u8>, Vec<u8>)>,
    /// The time of the last transaction; each writing one is at least a microsecond later.
    pub now_us: u64,
    /// The most entries a page of a scan holds, whatever was asked for.
    pub page_entries: usize,
    place: PartitionPlace,
}

impl Default for FakePartition {
    fn default() -> Self {
        FakePartition::new()
    }
}

impl FakePartition {
    /// An empty partition, the only one of its keyspace, at a time in 2025.
    pub fn new() -> Self {
        FakePartition::with_place(0, 1)
    }

    /// An empty partition that is `id` of `count`.
    pub fn with_place(id: u32, count: u32) -> Self {
        FakePartition {
            rows: BTreeMap::new(),
            timers: BTreeMap::new(),
            published: Vec::new(),
            now_us: 1_750_000_000_000_000,
            page_entries: 100,
            place: PartitionPlace { keyspace: "default".to_owned(), id, count, epoch: 1 },
        }
    }

    /// Answer a request that may write, in a transaction of its own. An error has changed nothing.
    pub fn write<H: Handler>(&mut self, request: &[u8]) -> Result<Vec<u8>, Error> {
        self.in_transaction(|transaction| H::handle(transaction, request))
    }

    /// Answer a request that may only read.
    pub fn read<H: Handler>(&mut self, request: &[u8]) -> Result<Vec<u8>, Error> {
        H::handle(&mut self.view(), request)
    }

    /// Run `body` as a writing transaction: an error rolls it back.
    pub fn in_transaction<T>(
        &mut self,
        body: impl FnOnce(&mut FakeTransaction<'_>) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let mut transaction = self.begin();
        let result = body(&mut transaction);
        transaction.end(result.is_ok());
        result
    }

    pub(crate) fn id(&self) -> u32 {
        self.place.id
    }

    /// A transaction that the caller ends.
    pub(crate) fn begin(&mut self) -> FakeTransaction<'_> {
        self.now_us += 1;
        FakeTransaction {
            timers_before: Some(self.timers.clone()),
            undo: Vec::new(),
            publishes: Vec::new(),
            bytes: 0,
            partition: self,
        }
    }

    /// A read-only transaction.
    pub fn view(&mut self) -> FakeTransaction<'_> {
        FakeTransaction { timers_before: None, undo: Vec::new(), publishes: Vec::new(), bytes: 0, partition: self }
    }

    /// Let time pass, and fire what comes due, in the order of time. Answers how many timers fired. A timer that fails
    /// stays, due a second later, and is not tried again by this call unless that second is within it.
    pub fn advance<T: Timer>(&mut self, microseconds: u64) -> usize {
        let until = self.now_us + microseconds;
        let mut fired = 0;
        while let Some((at, id)) = self.timers.iter().map(|(id, (at, _))| (*at, id.clone())).min()
            && at <= until
        {
            self.now_us = self.now_us.max(at);
            let Some((_, payload)) = self.timers.get(&id).cloned() else { break };
            let result = self.in_transaction(|transaction| {
                transaction.partition.timers.remove(&id);
                T::fire(transaction, &id, &payload)
            });
            if result.is_err() {
                self.timers.insert(id, (at.max(self.now_us) + 1_000_000, payload));
            }
            fired += 1;
        }
        self.now_us = self.now_us.max(until);
        fired
    }

    /// Let time pass without firing anything, as when a timer is late.
    pub fn advance_quietly(&mut self, microseconds: u64) {
        self.now_us += microseconds;
    }

    /// Timers that are set: when, and with which payload, by id.
    pub fn timers(&self) -> &BTreeMap<Vec<u8>, (u64, Vec<u8>)> {
        &self.timers
    }

    /// All rows.
    pub fn rows(&self) -> &BTreeMap<Vec<u8>, Vec<u8>> {
        &self.rows
    }

    /// Put a row there, outside of any transaction.
    pub fn insert(&mut self, key: &[u8], value: &[u8]) {
        self.rows.insert(key.to_vec(), value.to_vec());
    }
}

/// A call in progress on a [`FakePartition`].
pub struct FakeTransaction<'a> {
    partition: &'a mut FakePartition,
    /// None in a read-only call.
    timers_before: Option<Timers>,
    undo: Vec<(Vec<u8>, Option<Vec<u8>>)>,
    publishes: Vec<(Vec<u8>, Vec<u8>)>,
    bytes: usize,
}

impl FakeTransaction<'_> {
    pub(crate) fn end(mut self, commit: bool) {
        if commit {
            self.partition.published.append(&mut self.publishes);
            return;
        }
        for (key, before) in self.undo.into_iter().rev() {
            match before {
                Some(value) => self.partition.rows.insert(key, value),
                None => self.partition.rows.remove(&key),
            };
        }
        if let Some(timers) = self.timers_before {
            self.partition.timers = timers;
        }
    }

    /// What a committed end of this transaction would publish.
    pub(crate) fn publishes(&self) -> &[(Vec<u8>, Vec<u8>)] {
        &self.publishes
    }

    fn check_write(&mut self, bytes: usize) -> Result<(), StorageError> {
        if self.is_read_only() {
            return Err(StorageError::ReadOnly);
        }
        if self.bytes + bytes > TRANSACTION_BYTES_MAX {
            let total = self.bytes + bytes;
            return Err(StorageError::TooLarge(format!(
                "the writes come to {total} bytes: the limit is {TRANSACTION_BYTES_MAX}"
            )));
        }
        self.bytes += bytes;
        Ok(())
    }

    fn set(&mut self, key: &[u8], value: Option<&[u8]>) {
        let before = match value {
            Some(value) => self.partition.rows.insert(key.to_vec(), value.to_vec()),
            None => self.partition.rows.remove(key),
        };
        self.undo.push((key.to_vec(), before));
    }
}

impl Storage for FakeTransaction<'_> {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StorageError> {
        Ok(self.partition.rows.get(key).cloned())
    }

    fn get_many(&self, keys: &[Vec<u8>]) -> Result<Vec<Option<Vec<u8>>>, StorageError> {
        keys.iter().map(|key| self.get(key)).collect()
    }

    fn put(&mut self, key: &[u8], value: &[u8]) -> Result<(), StorageError> {
        if key.len() > KEY_BYTES_MAX {
            return Err(StorageError::TooLarge(format!(
                "the key has {} bytes: the limit is {KEY_BYTES_MAX}",
                key.len()
            )));
        }
        if value.len() > VALUE_BYTES_MAX {
            return Err(StorageError::TooLarge(format!(
                "the value has {} bytes: the limit is {VALUE_BYTES_MAX}",
                value.len()
            )));
        }
        self.check_write(key.len() + value.len())?;
        self.set(key, Some(value));
        Ok(())
    }

    fn put_many(&mut self, entries: &[Entry]) -> Result<(), StorageError> {
        entries.iter().try_for_each(|entry| self.put(&entry.key, &entry.value))
    }

    fn remove(&mut self, key: &[u8]) -> Result<(), StorageError> {
        self.check_write(key.len())?;
        self.set(key, None);
        Ok(())
    }

    fn remove_range(&mut self, within: &KeyRange) -> Result<(), StorageError> {
        self.check_write(within.start.len())?;
        let keys: Vec<_> = bounds(within)
            .map(|bounds| self.partition.rows.range::<[u8], _>(bounds).map(|(key, _)| key.clone()).collect())
            .unwrap_or_default();
        keys.iter().for_each(|key| self.set(key, None));
        Ok(())
    }

    fn scan(&self, within: &KeyRange, limit: u32, reverse: bool) -> Result<Vec<Entry>, StorageError> {
        let Some(bounds) = bounds(within) else { return Ok(Vec::new()) };
        let limit = (limit as usize).min(self.partition.page_entries);
        let entry = |(key, value): (&Vec<u8>, &Vec<u8>)| Entry { key: key.clone(), value: value.clone() };
        let range = self.partition.rows.range::<[u8], _>(bounds);
        Ok(if reverse { range.rev().take(limit).map(entry).collect() } else { range.take(limit).map(entry).collect() })
    }
}

type Bounds<'a> = (Bound<&'a [u8]>, Bound<&'a [u8]>);

/// The map's bounds of a range; none if it is empty.
fn bounds(within: &KeyRange) -> Option<Bounds<'_>> {
    match &within.end {
        Some(end) if *end <= within.start => None,
        Some(end) => Some((Bound::Included(&within.start), Bound::Excluded(end))),
        None => Some((Bound::Included(&within.start), Bound::Unbounded)),
    }
}

impl Transaction for FakeTransaction<'_> {
    fn place(&self) -> PartitionPlace {
        self.partition.place.clone()
    }
    fn now_us(&self) -> u64 {
        self.partition.now_us
    }
    fn is_read_only(&self) -> bool {
        self.timers_before.is_none()
    }
    fn set_timer(&mut self, id: &[u8], at_us: u64, payload: &[u8]) {
        assert!(!self.is_read_only(), "set_timer in a read-only call traps");
        self.partition.timers.insert(id.to_vec(), (at_us, payload.to_vec()));
    }
    fn cancel_timer(&mut self, id: &[u8]) {
        assert!(!self.is_read_only(), "cancel_timer in a read-only call traps");
        self.partition.timers.remove(id);
    }
    fn publish(&mut self, topic: &[u8], message: &[u8]) {
        self.publishes.push((topic.to_vec(), message.to_vec()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Package;

    impl Handler for Package {
        fn handle(transaction: &mut dyn Transaction, request: &[u8]) -> Result<Vec<u8>, Error> {
            transaction.put(b"row", request)?;
            transaction.publish(b"topic", request);
            let at = transaction.now_us() + 10;
            transaction.set_timer(b"timer", at, request);
            if request == b"bad" { Err("refused".into()) } else { Ok(request.to_vec()) }
        }
    }

    impl Timer for Package {
        fn fire(transaction: &mut dyn Transaction, id: &[u8], payload: &[u8]) -> Result<(), Error> {
            transaction.put(id, payload)?;
            if payload == b"fails" { Err("not yet".into()) } else { Ok(()) }
        }
    }

    #[test]
    fn an_error_rolls_back_rows_timers_and_messages() {
        let mut partition = FakePartition::new();
        partition.write::<Package>(b"good").unwrap();
        let now_us = partition.now_us;
        assert_eq!(partition.write::<Package>(b"bad").unwrap_err().message(), "refused");
        assert!(partition.now_us > now_us);
        assert_eq!(partition.rows()[&b"row"[..]], b"good");
        assert_eq!(partition.published, [(b"topic".to_vec(), b"good".to_vec())]);
        assert_eq!(partition.timers()[&b"timer"[..]], (now_us + 10, b"good".to_vec()));
    }

    #[test]
    fn a_timer_fires_when_due_and_again_when_it_failed() {
        let mut partition = FakePartition::new();
        partition.write::<Package>(b"good").unwrap();
        assert_eq!(partition.advance::<Package>(9), 0);
        assert_eq!(partition.advance::<Package>(1), 1);
        assert_eq!(partition.rows()[&b"timer"[..]], b"good");
        assert!(partition.timers().is_empty());
        partition.write::<Package>(b"fails").unwrap();
        assert_eq!(partition.advance::<Package>(100), 1);
        assert_eq!(partition.rows()[&b"timer"[..]], b"good", "a failed timer writes nothing");
        assert_eq!(partition.timers().len(), 1);
    }

    #[test]
    fn a_read_refuses_writes_and_limits_hold() {
        let mut partition = FakePartition::new();
        assert!(partition.read::<Package>(b"x").unwrap_err().message().contains("read-only"));
        let mut transaction = partition.begin();
        assert!(matches!(transaction.put(b"k", &vec![0; VALUE_BYTES_MAX + 1]), Err(StorageError::TooLarge(_))));
        transaction.put(b"k", &vec![0; VALUE_BYTES_MAX]).unwrap();
        assert!(matches!(transaction.put(b"l", &vec![0; VALUE_BYTES_MAX]), Err(StorageError::TooLarge(_))));
        transaction.end(false);
        assert!(partition.rows().is_empty());
    }
}
