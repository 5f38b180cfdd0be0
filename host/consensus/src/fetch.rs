//! Fetching a partition's rows, for a replica that lacks them (rules M5 and M6 of the handoff protocol).
//!
//! A replica of the target that could not take over the source's copy on its own node stashes what its group writes
//! ([`crate::stash`]) and fetches the rows from a replica that has all of them: one of its own group, or one of the source, whose released copy does
//! not change any more and stays until every replica of the target that is not lost has reported complete. One that returns later asks
//! its own group.
//!
//! What is fetched belongs to an index of this group's log: that of the peer's data, or, of a released copy, the beginning of the partition in
//! this group. The rows are loaded under a fresh copy; once this replica has applied as far, the stashed writes behind that index
//! are replayed in pieces, and the last piece makes the copy the partition's.
//!
//! Invariants: rows are taken only of the epoch in which this group owns the partition; a copy that was loaded and is not used is dropped.
//! Bounded: a chunk in memory, and a piece of the stash in a batch.
//!
//! Crash points: before the last piece the replica lacks the rows as before, and the next start's sweep drops the copy.
//!
//! Deliberately absent: whom to ask, and when.

use std::io;
use std::time::Duration;

use bytes::Bytes;
use futures::future::BoxFuture;
use recoil_base::{CopyId, GroupId, NodeId, random};
use recoil_storage::Data;
use serde::Serialize;

use crate::answered::Records;
use crate::command::PartitionRef;
use crate::group::Group;
use crate::handoff::{Completion, Fetched};
use crate::machine::Applier;
use crate::messages::{self, NUMBER_MAX};
use crate::network::{CHUNK_TIMEOUT, PULL_NEXT, PULL_PARTITION, TransportError};
use crate::ownership::{Ownership, Phase};
use crate::repair::{CHUNK_ATTEMPTS, CHUNK_PAUSE, PullNext, PullPartition};
use crate::snapshot::{Contents, decode_chunk};

/// Between two looks at whether this replica has applied as far as the rows that it has fetched.
const APPLIED_PAUSE: Duration = Duration::from_millis(10);
/// So many looks; then the rows are fetched again, from whoever is nearer.
const APPLIED_LOOKS: u32 = 1000;

/// Whom to ask for a partition's rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FetchFrom {
    /// The node.
    pub node: NodeId,
    /// The group whose replica there has them: this one, or the source.
    pub group: GroupId,
    /// Of the source: the move that released them.
    pub released_by: Option<u64>,
}

/// How long to wait before more is read, told the bytes that have been.
pub type FetchPace<'a> = dyn Fn(usize) -> Duration + Send + Sync + 'a;

/// Why nothing was fetched.
#[derive(Debug, Clone, thiserror::Error)]
pub enum FetchError {
    /// Somebody else may be able to.
    #[error("{0}")]
    Refused(String),
    /// This node's disk or data.
    #[error("{0}")]
    Here(String),
}

impl From<io::Error> for FetchError {
    fn from(error: io::Error) -> Self {
        FetchError::Here(error.to_string())
    }
}

impl Group {
    /// Fetches the rows that this replica lacks of a partition. Returns once they are there, or are not lacked any more. Before each chunk but the
    /// first it waits for as long as `pace` says.
    ///
    /// # Errors
    /// The other node cannot give them now, or this one cannot store them.
    pub fn fetch<'a>(
        &'a self,
        partition: PartitionRef,
        from: FetchFrom,
        pace: &'a FetchPace<'a>,
    ) -> BoxFuture<'a, Result<(), FetchError>> {
        Box::pin(async move {
            let state = self.locals().state(self.id(), partition).filter(|state| state.lacks_rows());
            let Some(state) = state else { return Ok(()) };
            let Some(lacking) = state.copy else {
                return Err(FetchError::Here(format!(
                    "there is no copy of partition {} to be completed",
                    partition.partition
                )));
            };
            let (pull, epoch) = (u64::from_le_bytes(random::array()) % NUMBER_MAX, state.ownership.epoch);
            let begin = PullPartition {
                pull,
                keyspace: partition.keyspace.0,
                partition: partition.partition.0,
                epoch,
                released_by: from.released_by,
            };
            let refused = |error: TransportError| FetchError::Refused(error.to_string());
            let offer = self.ask(from, PULL_PARTITION, &begin).await.map_err(refused)?;
            let offer = Contents::decode_offer(offer).map_err(|error| FetchError::Refused(error.to_string()))?;
            let index = offered(&offer, partition, epoch, from.released_by)
                .ok_or_else(|| FetchError::Refused("it offers other rows than it was asked for".into()))?;
            let loading = LoadedCopy::begin(self.data().clone(), self.applier().clone()).await?;
            for number in 0.. {
                let chunk = self.chunk(from, PullNext { pull, number }).await?;
                if chunk.is_empty() {
                    break;
                }
                let pause = pace(chunk.len());
                loading.load(chunk).await?;
                if !pause.is_zero() {
                    tokio::time::sleep(pause).await;
                }
            }
            let fetched = Fetched { copy: loading.copy, epoch, replaces: lacking.copy, index, replayed: None };
            self.complete(partition, loading, fetched).await
        })
    }

    async fn complete(
        &self,
        partition: PartitionRef,
        mut loading: LoadedCopy,
        mut fetched: Fetched,
    ) -> Result<(), FetchError> {
        let (mut records, mut looks) = (Records::default(), 0);
        loop {
            let step = self.deferred().flushed(move |core| {
                let mut records = records;
                Ok((core.complete(partition, fetched, &mut records)?, records))
            });
            let (completion, returned) = step.await?;
            records = returned;
            fetched = match completion {
                Completion::Done => {
                    loading.keep();
                    return Ok(());
                }
                Completion::Unwanted => return Ok(()),
                Completion::More(fetched) => fetched,
                Completion::TooEarly(_) if looks == APPLIED_LOOKS => {
                    return Err(FetchError::Refused("it is too far ahead of this replica".into()));
                }
                Completion::TooEarly(fetched) => {
                    looks += 1;
                    tokio::time::sleep(APPLIED_PAUSE).await;
                    fetched
                }
            };
        }
    }

    async fn ask(&self, from: FetchFrom, kind: u8, body: &impl Serialize) -> Result<Bytes, TransportError> {
        self.transport().call(from.node, from.group, kind, messages::encode_json(body), CHUNK_TIMEOUT).await
    }

    /// A chunk, asked for again where the answer may have been lost.
    async fn chunk(&self, from: FetchFrom, next: PullNext) -> Result<Bytes, FetchError> {
        let mut attempt = 1;
        loop {
            match self.ask(from, PULL_NEXT, &next).await {
                Ok(chunk) => return Ok(chunk),
                Err(error @ TransportError::Refused(..)) => return Err(FetchError::Refused(error.to_string())),
                Err(error) if attempt == CHUNK_ATTEMPTS => return Err(FetchError::Refused(error.to_string())),
                Err(_) => {}
            }
            attempt += 1;
            tokio::time::sleep(CHUNK_PAUSE).await;
        }
    }
}

/// The index of the asker's log up to which the offered rows go, if they are those asked for.
fn offered(offer: &Contents, partition: PartitionRef, epoch: u64, released_by: Option<u64>) -> Option<u64> {
    let [(found, Ownership { phase, epoch: owned, .. })] = &offer.partitions[..] else { return None };
    if *found != partition {
        return None;
    }
    match (phase, released_by) {
        (Phase::Owned, None) if *owned == epoch => offer.row.applied.map(|applied| applied.index),
        // All that the group has written since is in the stash.
        (Phase::Released(moving), Some(id)) if (moving.id, moving.epoch) == (id, epoch) => Some(0),
        _ => None,
    }
}

/// A fresh copy that rows are loaded into; dropped, unless it is kept.
struct LoadedCopy {
    data: Data,
    applier: Applier,
    copy: CopyId,
    kept: bool,
}

impl LoadedCopy {
    async fn begin(data: Data, applier: Applier) -> Result<Self, FetchError> {
        let making = data.clone();
        let copy = applier.run(move || making.new_copy()).await?;
        let copy = copy.map_err(|error| FetchError::Here(error.to_string()))?;
        Ok(LoadedCopy { data, applier, copy, kept: false })
    }

    async fn load(&self, chunk: Bytes) -> Result<(), FetchError> {
        let sections = decode_chunk(chunk).map_err(|error| FetchError::Refused(error.to_string()))?;
        if sections.iter().any(|(place, _)| *place != 0) {
            return Err(FetchError::Refused("it sends rows of a partition that it was not asked for".into()));
        }
        let (data, copy) = (self.data.clone(), self.copy);
        let loaded = self.applier.run(move || {
            let mut batch = data.batch();
            for (rest, value) in sections.into_iter().flat_map(|(_, rows)| rows) {
                batch.put([&copy.0.to_be_bytes()[..], &rest].concat(), value);
            }
            data.commit(batch)
        });
        loaded.await?.map_err(|error| FetchError::Here(error.to_string()))
    }

    fn keep(&mut self) {
        self.kept = true;
    }
}

impl Drop for LoadedCopy {
    fn drop(&mut self) {
        if self.kept {
            return;
        }
        let (data, copy) = (self.data.clone(), self.copy);
        self.applier.start_there(move || {
            if let Err(error) = data.kill_copies(&[copy]) {
                tracing::warn!(%error, "a copy that was fetched in vain stays behind until the next start");
            }
        });
    }
}
