//! What is asked of a store: one kind of request on sixteen connections.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use tokio::runtime::Runtime;

use super::client::{Connection, Store};
use super::content::{Content, digest};

/// Connections of every load, all to one node.
pub(super) const CONNECTIONS: u64 = 16;
/// Keys of a page.
pub(super) const PAGE_KEYS: u32 = 1000;
/// Bytes of the objects of which there are many.
pub(super) const LISTED_BYTES: u64 = 16;

/// What is done with objects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verb {
    /// Writes objects that are not there yet.
    Put,
    /// Reads objects that [`Verb::Put`] wrote, chosen at random, and compares them.
    Get,
    /// Lists a page that begins behind a key chosen at random.
    List,
}

/// When a load ends: no request begins after that.
#[derive(Clone, Copy, Debug)]
pub(super) struct Until {
    pub(super) requests: u64,
    pub(super) length: Duration,
}

/// What a load came to.
#[derive(Debug, Default)]
pub(super) struct Ran {
    pub(super) latencies: Vec<Duration>,
    pub(super) elapsed: Duration,
    pub(super) retries: u64,
}

/// Sends loads.
pub(super) struct Loader {
    runtime: Runtime,
    content: Content,
}

/// A load.
#[derive(Clone, Copy, Debug)]
pub(super) struct Load {
    pub(super) verb: Verb,
    /// Bytes of an object.
    pub(super) bytes: u64,
    /// Objects of this size that are there.
    pub(super) there: u64,
}

impl Loader {
    pub(super) fn new() -> anyhow::Result<Self> {
        let mut builder = tokio::runtime::Builder::new_multi_thread();
        let runtime = builder.worker_threads(2).enable_all().build().context("a runtime")?;
        Ok(Loader { runtime, content: Content::new() })
    }

    /// Makes the bucket, as soon as the store answers.
    pub(super) fn make_bucket(&self, store: &Store, patience: Duration) -> anyhow::Result<()> {
        let end = Instant::now() + patience;
        loop {
            match self.runtime.block_on(Connection::new(store).make_bucket()) {
                Ok(()) => return Ok(()),
                Err(error) if Instant::now() > end => return Err(error.context("the store does not make a bucket")),
                Err(_) => std::thread::sleep(Duration::from_millis(100)),
            }
        }
    }

    pub(super) fn run(&self, store: &Store, load: Load, until: Until) -> anyhow::Result<Ran> {
        ensure!(load.verb == Verb::Put || load.there > 0, "there is nothing to read");
        let next = AtomicU64::new(0);
        let begun = Instant::now();
        let one = |connection: u64| {
            let (next, content) = (&next, &self.content);
            async move { one_connection(store, load, until, content, next, connection, begun).await }
        };
        let all = futures::future::try_join_all((0..CONNECTIONS).map(one));
        let parts = self.runtime.block_on(all)?;
        let mut ran = Ran { elapsed: begun.elapsed(), ..Ran::default() };
        for (latencies, retries) in parts {
            ran.latencies.extend(latencies);
            ran.retries += retries;
        }
        Ok(ran)
    }
}

async fn one_connection(
    store: &Store,
    load: Load,
    until: Until,
    content: &Content,
    next: &AtomicU64,
    connection: u64,
    begun: Instant,
) -> anyhow::Result<(Vec<Duration>, u64)> {
    let mut latencies = Vec::new();
    let mut to = Connection::new(store);
    let mut state = connection.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    loop {
        let number = next.fetch_add(1, Ordering::Relaxed);
        if number >= until.requests || begun.elapsed() > until.length {
            return Ok((latencies, to.retries));
        }
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        // Every object once, if there are as many requests as objects, so that large ones are not read from a cache twice.
        let chosen = if until.requests == load.there { number } else { state % load.there.max(1) };
        match load.verb {
            Verb::Put => {
                let number = load.there + number;
                let pieces = content.object(load.bytes, number);
                let digest = digest(&pieces);
                let started = Instant::now();
                to.put(&key(load.bytes, number), &pieces, &digest).await?;
                latencies.push(started.elapsed());
            }
            Verb::Get => {
                let started = Instant::now();
                to.get(&key(load.bytes, chosen), content, load.bytes, chosen).await?;
                latencies.push(started.elapsed());
            }
            Verb::List => {
                let last = load.there.saturating_sub(u64::from(PAGE_KEYS) + 1).max(1);
                let started = Instant::now();
                let found = to.list(&key(load.bytes, state % last), PAGE_KEYS).await?;
                latencies.push(started.elapsed());
                let expected = (PAGE_KEYS as usize).min(load.there as usize - 1);
                ensure!(found >= expected, "a page has {found} keys instead of {expected}");
            }
        }
    }
}

/// The name of an object: the larger its number, the further behind in lists.
fn key(bytes: u64, number: u64) -> String {
    format!("{bytes:010}/{number:010}")
}
