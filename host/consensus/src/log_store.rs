//! openraft's view of a group's part of the node's log.

use std::fmt::Debug;
use std::io;
use std::ops::{Bound, RangeBounds};

use openraft::OptionalSend;
use openraft::RaftLogReader;
use openraft::storage::{IOFlushed, LogState, RaftLogStorage};
use recoil_storage::{GroupLog, LogError};

use crate::messages;
use crate::raft::{Entry, LogId, TypeConfig, Vote};

/// One append carries at most this many bytes of entries, but at least one entry.
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

pub(crate) fn io_error(error: LogError) -> io::Error {
    io::Error::other(error)
}

impl RaftLogReader<TypeConfig> for LogStore {
    async fn try_get_log_entries<RB>(&mut self, range: RB) -> Result<Vec<Entry>, io::Error>
    where
        RB: RangeBounds<u64> + Clone + Debug + OptionalSend,
    {
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
        self.read(start, end, usize::MAX)
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
