//! The `storage` interface of a listener: every operation becomes routed calls that need no handler.
//!
//! A key goes to its owner; `scan` and `remove-range` walk all partitions. A scan merges pages of all partitions in key order;
//! a page is small when there are many partitions, and a large value stays behind until its turn, so that the host holds
//! about one answer however many partitions there are.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use recoil_base::PartitionId;
use recoil_storage::Write;
use wasmtime::Result;

use super::{ListenerState, Router};
use crate::bindings::waiting::recoil::plugin::storage;
use crate::call::{Address, CallBody, CallError, Mode, RoutedCall, decode_page, decode_values, relative_key};
use crate::transaction::{StorageError, TransactionLimits, check_sizes};

type Outcome<T> = Result<std::result::Result<T, storage::Error>>;
type Answer<T> = std::result::Result<T, storage::Error>;

/// Bytes that the first pages of all partitions together may bring.
const PAGES_BYTES: usize = 4 << 20;

impl From<StorageError> for storage::Error {
    fn from(error: StorageError) -> Self {
        match error {
            StorageError::TooLarge(text) => storage::Error::TooLarge(text),
            StorageError::ReadOnly => storage::Error::ReadOnly,
            StorageError::QuotaExceeded(text) => storage::Error::QuotaExceeded(text),
            StorageError::Unavailable(text) => storage::Error::Unavailable(text),
        }
    }
}

/// A partition refuses a storage call only for sizes; the other failures are the way to it.
impl From<CallError> for storage::Error {
    fn from(error: CallError) -> Self {
        match error {
            CallError::Rejected(text) => storage::Error::TooLarge(text),
            other => storage::Error::Unavailable(other.to_string()),
        }
    }
}

fn undecodable(error: recoil_base::DecodeError) -> storage::Error {
    storage::Error::Unavailable(error.to_string())
}

fn check(limits: &TransactionLimits, key: &[u8], value_bytes: usize) -> Answer<()> {
    Ok(check_sizes(limits, key.len(), value_bytes)?)
}

/// One call; the answer of the router is as long as its calls.
async fn call(router: &dyn Router, to: Address, body: CallBody, mode: Mode) -> Answer<Bytes> {
    let mut answers = router.call_many(vec![RoutedCall { to, body, mode }]).await;
    Ok(answers.pop().unwrap_or_else(|| Err(lost()))?)
}

fn lost() -> CallError {
    CallError::UnknownOutcome("the router lost an answer".to_owned())
}

/// Calls of one kind to several partitions; the first failure is the answer.
async fn call_all(router: &dyn Router, bodies: Vec<(PartitionId, CallBody)>, mode: Mode) -> Answer<Vec<Bytes>> {
    let count = bodies.len();
    let calls = bodies.into_iter().map(|(id, body)| RoutedCall { to: Address::Partition(id), body, mode }).collect();
    let answers: Vec<Bytes> =
        router.call_many(calls).await.into_iter().collect::<std::result::Result<_, CallError>>()?;
    if answers.len() == count { Ok(answers) } else { Err(lost().into()) }
}

async fn get_one(router: &dyn Router, key: Bytes) -> Answer<Option<Bytes>> {
    let body = CallBody::Get(vec![relative_key(&key)]);
    let answer = call(router, Address::Key(key), body, Mode::Read).await?;
    Ok(decode_values(answer).map_err(undecodable)?.into_iter().next().flatten())
}

/// The positions of `keys` by the partition that owns them.
fn by_partition<'a>(router: &dyn Router, keys: impl Iterator<Item = &'a [u8]>) -> BTreeMap<PartitionId, Vec<usize>> {
    let mut owners: BTreeMap<PartitionId, Vec<usize>> = BTreeMap::new();
    for (position, key) in keys.enumerate() {
        owners.entry(router.locate(key).id).or_default().push(position);
    }
    owners
}

impl storage::Host for ListenerState {
    async fn get(&mut self, key: Vec<u8>) -> Outcome<Option<Vec<u8>>> {
        let value = get_one(&*self.router, key.into()).await;
        Ok(value.map(|value| value.map(Vec::from)))
    }

    async fn get_many(&mut self, keys: Vec<Vec<u8>>) -> Outcome<Vec<Option<Vec<u8>>>> {
        Ok(get_many(&*self.router, &keys, self.environment.limits.transaction.answer_bytes_max).await)
    }

    async fn put(&mut self, key: Vec<u8>, value: Vec<u8>) -> Outcome<()> {
        if let Err(error) = check(&self.environment.limits.transaction, &key, value.len()) {
            return Ok(Err(error));
        }
        let body = CallBody::Write(vec![Write::Put { key: relative_key(&key), value: value.into() }]);
        Ok(call(&*self.router, Address::Key(key.into()), body, Mode::Write).await.map(|_| ()))
    }

    async fn put_many(&mut self, entries: Vec<storage::Entry>) -> Outcome<()> {
        Ok(put_many(&*self.router, &self.environment.limits.transaction, entries).await)
    }

    async fn remove(&mut self, key: Vec<u8>) -> Outcome<()> {
        let body = CallBody::Write(vec![Write::Remove { key: relative_key(&key) }]);
        Ok(call(&*self.router, Address::Key(key.into()), body, Mode::Write).await.map(|_| ()))
    }

    async fn remove_range(&mut self, within: storage::KeyRange) -> Outcome<()> {
        let write =
            Write::RemoveRange { start: relative_key(&within.start), end: within.end.as_deref().map(relative_key) };
        let bodies =
            self.router.partitions().into_iter().map(|partition| (partition.id, CallBody::Write(vec![write.clone()])));
        let bodies = bodies.collect();
        Ok(call_all(&*self.router, bodies, Mode::Write).await.map(|_| ()))
    }

    async fn scan(&mut self, within: storage::KeyRange, limit: u32, reverse: bool) -> Outcome<Vec<storage::Entry>> {
        let bytes_max = self.environment.limits.transaction.scan_bytes_max;
        Ok(Merge::new(&*self.router, within, limit, reverse).run(bytes_max).await)
    }
}

async fn get_many(router: &dyn Router, keys: &[Vec<u8>], bytes_max: usize) -> Answer<Vec<Option<Vec<u8>>>> {
    let owners = by_partition(router, keys.iter().map(Vec::as_slice));
    let bodies = owners
        .iter()
        .map(|(id, positions)| (*id, CallBody::Get(positions.iter().map(|at| relative_key(&keys[*at])).collect())));
    let answers = call_all(router, bodies.collect(), Mode::Read).await?;
    let bytes: usize = answers.iter().map(Bytes::len).sum();
    if bytes > bytes_max {
        return Err(storage::Error::TooLarge(format!(
            "the values come to {bytes} bytes (limit answer_bytes: {bytes_max}); ask for fewer keys"
        )));
    }
    let mut values = vec![None; keys.len()];
    for (positions, answer) in owners.into_values().zip(answers) {
        for (at, value) in positions.into_iter().zip(decode_values(answer).map_err(undecodable)?) {
            values[at] = value.map(Vec::from);
        }
    }
    Ok(values)
}

async fn put_many(router: &dyn Router, limits: &TransactionLimits, entries: Vec<storage::Entry>) -> Answer<()> {
    for entry in &entries {
        check(limits, &entry.key, entry.value.len())?;
    }
    let owners = by_partition(router, entries.iter().map(|entry| entry.key.as_slice()));
    let mut values: Vec<(Bytes, Bytes)> =
        entries.into_iter().map(|entry| (relative_key(&entry.key), entry.value.into())).collect();
    let bodies = owners.into_iter().map(|(id, positions)| {
        let writes = positions.into_iter().map(|at| {
            let (key, value) = std::mem::take(&mut values[at]);
            Write::Put { key, value }
        });
        (id, CallBody::Write(writes.collect()))
    });
    let bodies = bodies.collect();
    call_all(router, bodies, Mode::Write).await.map(|_| ())
}

/// One partition's part of a scan.
struct Source {
    id: PartitionId,
    page: VecDeque<(Bytes, Option<Bytes>)>,
    more: bool,
    /// Where its next page goes on: the new start, or the new end against the order.
    from: Option<Bytes>,
}

/// A scan over all partitions in key order.
struct Merge<'a> {
    router: &'a dyn Router,
    start: Bytes,
    end: Option<Bytes>,
    limit: usize,
    reverse: bool,
    page_limit: u32,
    page_bytes: u32,
    sources: Vec<Source>,
}

impl<'a> Merge<'a> {
    fn new(router: &'a dyn Router, within: storage::KeyRange, limit: u32, reverse: bool) -> Self {
        let sources: Vec<Source> = router
            .partitions()
            .into_iter()
            .map(|partition| Source { id: partition.id, page: VecDeque::new(), more: true, from: None })
            .collect();
        let count = sources.len().max(1);
        Merge {
            router,
            start: within.start.into(),
            end: within.end.map(Bytes::from),
            limit: limit as usize,
            reverse,
            // Twice its even share, so that most scans need one page of each.
            page_limit: limit.min((limit as usize * 2 / count + 8) as u32),
            page_bytes: (PAGES_BYTES / count) as u32,
            sources,
        }
    }

    async fn run(mut self, bytes_max: usize) -> Answer<Vec<storage::Entry>> {
        let mut found: Vec<storage::Entry> = Vec::new();
        let mut bytes = 0;
        if self.end.as_ref().is_some_and(|end| *end <= self.start) {
            return Ok(found);
        }
        while found.len() < self.limit {
            self.fill().await?;
            let Some((key, value)) = self.first() else { break };
            let value = match value {
                Some(value) => Some(value),
                None => get_one(self.router, key.clone()).await?,
            };
            // Removed since its page was read: not seen.
            let Some(value) = value else { continue };
            if !found.is_empty() && bytes + key.len() + value.len() > bytes_max {
                break;
            }
            bytes += key.len() + value.len();
            found.push(storage::Entry { key: key.into(), value: value.into() });
        }
        Ok(found)
    }

    /// Gives every partition that may have more a page, so that the first of the pages is the first of all.
    async fn fill(&mut self) -> Answer<()> {
        let (start, end) = (relative_key(&self.start), self.end.as_deref().map(relative_key));
        let empty: Vec<usize> =
            (0..self.sources.len()).filter(|at| self.sources[*at].more && self.sources[*at].page.is_empty()).collect();
        if empty.is_empty() {
            return Ok(());
        }
        let bodies = empty.iter().map(|at| {
            let source = &self.sources[*at];
            let (start, end) = match (&source.from, self.reverse) {
                (None, _) => (start.clone(), end.clone()),
                (Some(from), false) => (from.clone(), end.clone()),
                (Some(from), true) => (start.clone(), Some(from.clone())),
            };
            (
                source.id,
                CallBody::Scan {
                    start,
                    end,
                    limit: self.page_limit,
                    bytes_max: self.page_bytes,
                    reverse: self.reverse,
                },
            )
        });
        let answers = call_all(self.router, bodies.collect(), Mode::Read).await?;
        for (at, answer) in empty.into_iter().zip(answers) {
            let page = decode_page(answer).map_err(undecodable)?;
            let source = &mut self.sources[at];
            source.more = page.more && !page.entries.is_empty();
            source.from = page.entries.last().map(|(key, _)| after(key, self.reverse));
            source.page = page.entries.into();
        }
        Ok(())
    }

    /// Takes the first row of all pages.
    fn first(&mut self) -> Option<(Bytes, Option<Bytes>)> {
        let filled = self.sources.iter().enumerate().filter_map(|(at, source)| Some((&source.page.front()?.0, at)));
        let (_, at) = if self.reverse { filled.max()? } else { filled.min()? };
        self.sources[at].page.pop_front()
    }
}

/// The app-relative bound behind which a page that ended with `key` goes on.
fn after(key: &Bytes, reverse: bool) -> Bytes {
    if reverse {
        return relative_key(key);
    }
    let mut next = Vec::with_capacity(key.len() + 1);
    next.extend_from_slice(key);
    next.push(0);
    relative_key(&next)
}

#[cfg(test)]
mod tests;
