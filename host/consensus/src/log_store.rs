//! openraft's view of a group's part of the node's log.

use std::fmt::Debug;
use std::future;
use std::io;
use std::ops::{Bound, Range, RangeBounds};

use futures::stream::{self, Stream, TryStreamExt};
use openraft::OptionalSend;
use openraft::RaftLogReader;
use openraft::storage::{IOFlushed, LogState, RaftLogStorage};
use recoil_storage::{GroupLog, LogError};
use tokio::sync::oneshot;

use crate::messages;
use crate::raft::{Entry, LogId, TypeConfig, Vote};

/// Entries are read by this many bytes, but at least one at a time: what one append carries, and what is in memory to be applied.
const READ_BYTES_MAX: usize = 1 << 20;

#[derive(Clone)]
pub(crate) struct LogStore {
    log: GroupLog,
}

impl LogStore {
    pub(crate) fn new(log: GroupLog) -> Self {
        LogStore { log }
    }

    fn read(&self, start: u64, end: u64, bytes_max: usize) -> io::Result<Vec<Entry>> {
        let records = self.log.read(start..end, bytes_max).map_err(io_error)?;
        records.into_iter().map(|(_, bytes)| messages::decode_entry(bytes).map_err(io::Error::other)).collect()
    }
}

fn half_open(range: &impl RangeBounds<u64>) -> Range<u64> {
    let start = match range.start_bound() {
        Bound::Included(index) => *index,
        Bound::Excluded(index) => *index + 1,
        Bound::Unbounded => 0,
    };
    let end = match range.end_bound() {
        Bound::Included(index) => *index + 1,
        Bound::Excluded(index) => *index,
        Bound::Unbounded => u64::MAX,
    };
    start..end
}

/// Appends one entry and returns once it is durable, or will never be.
pub(crate) async fn append_durably(log: &GroupLog, entry: &Entry) -> io::Result<()> {
    let (done, written) = oneshot::channel();
    log.append(vec![(entry.log_id.index, messages::encode_entry(entry))], move |result| drop(done.send(result)));
    let written = written.await.map_err(|_| io::Error::other("the log was closed"))?;
    written.map_err(io_error)
}

pub(crate) fn io_error(error: LogError) -> io::Error {
    io::Error::other(error)
}

impl RaftLogReader<TypeConfig> for LogStore {
    async fn try_get_log_entries<RB>(&mut self, range: RB) -> Result<Vec<Entry>, io::Error>
    where
        RB: RangeBounds<u64> + Clone + Debug + OptionalSend,
    {
        let Range { start, end } = half_open(&range);
        self.read(start, end, usize::MAX)
    }

    // What has been committed and not applied yet may be long, behind a slow disk or after a restart.
    async fn entries_stream<RB>(&mut self, range: RB) -> impl Stream<Item = Result<Entry, io::Error>> + OptionalSend
    where
        RB: RangeBounds<u64> + Clone + Debug + OptionalSend,
    {
        let store = self.clone();
        let pieces = stream::try_unfold(half_open(&range), move |Range { start, end }| {
            let piece = if start < end { store.read(start, end, READ_BYTES_MAX) } else { Ok(Vec::new()) };
            future::ready(piece.map(|entries| {
                let last = entries.last()?.log_id.index;
                Some((stream::iter(entries.into_iter().map(Ok)), last + 1..end))
            }))
        });
        pieces.try_flatten()
    }

    async fn read_vote(&mut self) -> Result<Option<Vote>, io::Error> {
        self.log.vote().map(messages::decode_vote).transpose().map_err(io::Error::other)
    }

    async fn limited_get_log_entries(&mut self, start: u64, end: u64) -> Result<Vec<Entry>, io::Error> {
        self.read(start, end, READ_BYTES_MAX)
    }
}

impl RaftLogStorage<TypeConfig> for LogStore {
    type LogReader = Self;

    async fn get_log_state(&mut self) -> Result<LogState<TypeConfig>, io::Error> {
        let purged = match self.log.purged() {
            Some((_, id)) => Some(messages::decode_log_id(id).map_err(io::Error::other)?),
            None => None,
        };
        let last = match self.log.last().map_err(io_error)? {
            Some((_, entry)) => Some(messages::entry_log_id(&entry).map_err(io::Error::other)?),
            None => purged,
        };
        Ok(LogState { last_purged_log_id: purged, last_log_id: last })
    }

    async fn get_log_reader(&mut self) -> Self {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &Vote) -> Result<(), io::Error> {
        self.log.save_vote(messages::encode_vote(vote)).await.map_err(io_error)
    }

    async fn append<I>(&mut self, entries: I, callback: IOFlushed<TypeConfig>) -> Result<(), io::Error>
    where
        I: IntoIterator<Item = Entry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let records = entries.into_iter().map(|entry| (entry.log_id.index, messages::encode_entry(&entry))).collect();
        self.log.append(records, move |result| callback.io_completed(result.map_err(io_error)));
        Ok(())
    }

    async fn truncate_after(&mut self, last: Option<LogId>) -> Result<(), io::Error> {
        // Not awaited: the committer keeps the order, so a later append is durable only after this is.
        self.log.truncate_after(last.map(|id| id.index), |result| {
            if let Err(error) = result {
                tracing::error!(%error, "truncating a group's log failed");
            }
        });
        Ok(())
    }

    async fn purge(&mut self, upto: LogId) -> Result<(), io::Error> {
        self.log.purge(upto.index, messages::encode_log_id(&upto));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use futures::StreamExt;
    use openraft::EntryPayload;
    use recoil_base::{GroupId, NodeId};
    use recoil_storage::{Log, LogOptions};

    use super::*;
    use crate::raft::{LeaderId, Payload};

    /// Fails if the stream is read at once: the entries behind the first piece would be there after their end.
    #[tokio::test]
    async fn a_stream_of_entries_holds_one_piece_of_them_at_a_time() {
        let folder = tempfile::tempdir().unwrap();
        let log = Log::open(folder.path(), LogOptions::default()).unwrap();
        let mut store = LogStore::new(log.group(GroupId(1)));
        let entry = |index| {
            let log_id = LogId { leader_id: LeaderId { term: 1, node_id: NodeId(1) }, index };
            Entry { log_id, payload: EntryPayload::Normal(Payload(vec![index as u8; READ_BYTES_MAX / 3].into())) }
        };
        let records = (0..10).map(|index| (index, messages::encode_entry(&entry(index)))).collect();
        store.log.append(records, |result| result.unwrap());

        let index = |entry: io::Result<Entry>| entry.unwrap().log_id.index;
        let all: Vec<u64> = store.entries_stream(2..=8).await.map(index).collect().await;
        assert_eq!(all, [2, 3, 4, 5, 6, 7, 8]);
        assert_eq!(store.entries_stream(5..5).await.count().await, 0);

        let mut reader = store.clone();
        let mut stream = std::pin::pin!(reader.entries_stream(0..10).await);
        assert_eq!(stream.next().await.map(index), Some(0));
        store.truncate_after(Some(entry(4).log_id)).await.unwrap();
        assert_eq!(stream.map(index).collect::<Vec<_>>().await, [1, 2, 3, 4]);
    }
}
