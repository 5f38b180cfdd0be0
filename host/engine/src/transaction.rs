//! One evaluation of one call: what it reads, and the effects it asks for.
//!
//! A transaction reads its own writes first and a [`View`] second, and collects what it wants to happen: writes, published
//! messages, timers (which are rows too). Nothing happens here; [`Transaction::into_effects`] hands the wishes to
//! the caller, who replicates them.
//!
//! Invariants:
//! - A transaction that was rolled back has no effects, and its view is untouched in every case.
//! - A refused operation (too large, read-only) leaves no partial write behind.
//! - All keys are app-relative and begin with their kind.
//!
//! Deliberately absent: quotas (the rooms above count an app's bytes), conflict detection (one call at a time per partition).

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use recoil_base::PartitionId;
use recoil_storage::{Write, key};

use crate::overlay::{Overlay, range_end};

/// What a partition holds, at one moment, seen through what is on its way. Keys are app-relative: the kind first.
pub trait View: Send + Sync {
    /// The value of `key`.
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, ViewError>;
    /// The rows from `start` to before `end` (`None`: to the end of the app's rows), in key order or against it.
    fn scan<'a>(
        &'a self,
        start: Bytes,
        end: Option<Bytes>,
        reverse: bool,
    ) -> Box<dyn Iterator<Item = Result<(Bytes, Bytes), ViewError>> + Send + 'a>;
}

/// The data could not be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the partition's data cannot be read: {0}")]
pub struct ViewError(pub String);

/// What a transaction is about.
#[derive(Clone, Debug)]
pub struct TransactionInfo {
    /// Name of the keyspace.
    pub keyspace: Arc<str>,
    /// The partition.
    pub partition: PartitionId,
    /// Partitions of the keyspace.
    pub partition_count: u32,
    /// Grows when the partition moves.
    pub epoch: u64,
    /// Hybrid-logical time, microseconds; greater than that of every earlier writing transaction of the partition.
    pub now_us: u64,
    /// Whether writes are refused.
    pub read_only: bool,
}

/// What one transaction may ask for, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TransactionLimits {
    /// A key, without its kind.
    pub key_bytes_max: usize,
    /// A value, a timer's payload or a published message.
    pub value_bytes_max: usize,
    /// All writes and messages.
    pub transaction_bytes_max: usize,
    /// What one scan answers.
    pub scan_bytes_max: usize,
    /// What one call answers.
    pub answer_bytes_max: usize,
    /// Number of writes: each costs memory, however short it is.
    pub writes_max: usize,
    /// Timers set.
    pub timers_max: usize,
    /// Messages published.
    pub publishes_max: usize,
}

impl Default for TransactionLimits {
    fn default() -> Self {
        TransactionLimits {
            key_bytes_max: KEY_BYTES_MAX,
            value_bytes_max: 8 << 20,
            transaction_bytes_max: 16 << 20,
            scan_bytes_max: 4 << 20,
            answer_bytes_max: 16 << 20,
            writes_max: 262_144,
            timers_max: 10_000,
            publishes_max: 10_000,
        }
    }
}

/// What a row of a scan costs beyond its bytes.
const ROW_OVERHEAD: usize = 32;

/// The longest key of an app, whatever its limits: what the data can hold beside a kind and a timer's time.
pub const KEY_BYTES_MAX: usize = key::RELATIVE_BYTES_MAX - 9;

/// Why a storage operation was refused. Nothing of it was done.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StorageError {
    /// Above a limit, which the text names.
    #[error("{0}")]
    TooLarge(String),
    /// A write in a read.
    #[error("the call runs in read-only mode; route it as a write")]
    ReadOnly,
    /// Above the app's quota.
    #[error("{0}")]
    QuotaExceeded(String),
    /// The data or a leader is out of reach.
    #[error("{0}")]
    Unavailable(String),
}

impl From<ViewError> for StorageError {
    fn from(error: ViewError) -> Self {
        StorageError::Unavailable(error.to_string())
    }
}

/// The replica's place in its group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GroupRole {
    /// It leads.
    Leader,
    /// It follows and votes.
    Follower,
    /// It follows without a vote.
    Learner,
}

/// The Raft group behind a partition, as this replica sees it. Nodes are member numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupStatus {
    /// The group.
    pub group: u64,
    /// This replica's role.
    pub role: GroupRole,
    /// The term.
    pub term: u64,
    /// The leader, if one is known.
    pub leader: Option<u32>,
    /// Last index known to be committed.
    pub committed: u64,
    /// Last index applied here.
    pub applied: u64,
    /// The voters.
    pub voters: Vec<u32>,
}

/// What `consensus` answers to a handler.
pub trait ConsensusAccess: Send + Sync {
    /// The group as it is now.
    fn status(&self) -> GroupStatus;
    /// Confirms the leadership with a quorum and answers the applied index (ReadIndex). May block.
    fn barrier(&self) -> Result<u64, String>;
}

/// What a transaction wants to happen.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Effects {
    /// Writes, in the order of evaluation; keys are app-relative.
    pub writes: Vec<Write>,
    /// Messages to send once the writes are committed: topic and message.
    pub publishes: Vec<(Bytes, Bytes)>,
    /// The earliest time among the timers set, microseconds: wake the partition's timer no later than that.
    pub earliest_timer_us: Option<u64>,
}

/// One evaluation under way. See the module's text.
pub struct Transaction {
    view: Arc<dyn View>,
    info: TransactionInfo,
    limits: TransactionLimits,
    consensus: Option<Arc<dyn ConsensusAccess>>,
    own: Overlay,
    effects: Effects,
    bytes: usize,
    timers: usize,
}

impl Transaction {
    /// A transaction that has done nothing.
    pub fn new(view: Arc<dyn View>, info: TransactionInfo, mut limits: TransactionLimits) -> Self {
        limits.key_bytes_max = limits.key_bytes_max.min(KEY_BYTES_MAX);
        Transaction {
            view,
            info,
            limits,
            consensus: None,
            own: Overlay::new(),
            effects: Effects::default(),
            bytes: 0,
            timers: 0,
        }
    }

    /// Lets the handler ask the group behind the partition.
    pub fn with_consensus(mut self, consensus: Arc<dyn ConsensusAccess>) -> Self {
        self.consensus = Some(consensus);
        self
    }

    /// What it is about.
    pub fn info(&self) -> &TransactionInfo {
        &self.info
    }

    /// Its limits.
    pub fn limits(&self) -> &TransactionLimits {
        &self.limits
    }

    /// The group behind the partition, if the caller lent it.
    pub fn consensus(&self) -> Option<&Arc<dyn ConsensusAccess>> {
        self.consensus.as_ref()
    }

    /// True while it asks for nothing.
    pub fn is_empty(&self) -> bool {
        self.effects.writes.is_empty() && self.effects.publishes.is_empty()
    }

    /// What it wants to happen.
    pub fn into_effects(self) -> Effects {
        self.effects
    }

    /// Forgets everything it asked for.
    pub fn roll_back(&mut self) {
        if !self.is_empty() {
            self.own = Overlay::new();
            self.effects = Effects::default();
        }
        self.bytes = 0;
        self.timers = 0;
    }

    /// The value of an app-relative key.
    pub fn get_row(&self, key: &[u8]) -> Result<Option<Bytes>, StorageError> {
        match self.own.get(key) {
            Some(value) => Ok(value),
            None => Ok(self.view.get(key)?),
        }
    }

    /// The value of a user key.
    pub fn get(&self, user_key: &[u8]) -> Result<Option<Bytes>, StorageError> {
        // Most keys are short: no allocation for those.
        let mut short = [0u8; 128];
        if user_key.len() < short.len() {
            short[0] = key::DATA;
            short[1..=user_key.len()].copy_from_slice(user_key);
            return self.get_row(&short[..=user_key.len()]);
        }
        self.get_row(&data_key(user_key))
    }

    /// Sets a user key.
    pub fn put(&mut self, user_key: &[u8], value: Bytes) -> Result<(), StorageError> {
        self.check_entry(user_key, value.len())?;
        self.put_row(data_key(user_key), value)
    }

    /// Sets many user keys, or none of them.
    pub fn put_many(&mut self, entries: Vec<(Bytes, Bytes)>) -> Result<(), StorageError> {
        let mut size = 0usize;
        for (user_key, value) in &entries {
            self.check_entry(user_key, value.len())?;
            size = size.saturating_add(user_key.len() + 1 + value.len());
        }
        self.check_growth(size)?;
        let count = self.effects.writes.len() + entries.len().saturating_sub(1);
        check_count("transaction_writes", "writes", count, self.limits.writes_max)?;
        for (user_key, value) in entries {
            self.put_row(data_key(&user_key), value)?;
        }
        Ok(())
    }

    /// Removes a user key.
    pub fn remove(&mut self, user_key: &[u8]) -> Result<(), StorageError> {
        self.check_entry(user_key, 0)?;
        self.write(Write::Remove { key: data_key(user_key) })
    }

    /// Removes the user keys from `start` to before `end`.
    pub fn remove_range(&mut self, start: &[u8], end: Option<&[u8]>) -> Result<(), StorageError> {
        self.check_entry(start, 0)?;
        self.check_entry(end.unwrap_or_default(), 0)?;
        if end.is_some_and(|end| end <= start) {
            return Ok(());
        }
        self.write(Write::RemoveRange { start: data_key(start), end: end.map(data_key) })
    }

    /// User keys and values from `start` to before `end`: at most `limit`, and fewer once they come to `bytes_max` (itself at
    /// most the limit of a scan), but one if there is one. True with them: there may be more.
    pub fn scan(
        &self,
        start: &[u8],
        end: Option<&[u8]>,
        limit: u32,
        bytes_max: usize,
        reverse: bool,
    ) -> Result<(Vec<(Bytes, Bytes)>, bool), StorageError> {
        let bytes_max = bytes_max.min(self.limits.scan_bytes_max);
        let mut found = Vec::new();
        let mut bytes = 0usize;
        if limit == 0 {
            return Ok((found, true));
        }
        for row in self.scan_rows(data_key(start), end.map(data_key), reverse) {
            let (row_key, value) = row?;
            let size = row_key.len() + value.len() + ROW_OVERHEAD;
            if found.len() >= limit as usize || (!found.is_empty() && bytes + size > bytes_max) {
                return Ok((found, true));
            }
            bytes += size;
            found.push((row_key.slice(1..), value));
        }
        Ok((found, false))
    }

    /// Rows by app-relative key; an absent end is the end of the start's kind.
    pub fn scan_rows<'a>(
        &'a self,
        start: Bytes,
        end: Option<Bytes>,
        reverse: bool,
    ) -> Box<dyn Iterator<Item = Result<(Bytes, Bytes), ViewError>> + Send + 'a> {
        let end = range_end(&start, end.as_ref());
        if end.as_ref().is_some_and(|end| *end <= start) {
            return Box::new(std::iter::empty());
        }
        let base = self.view.scan(start.clone(), end.clone(), reverse);
        if self.own.is_empty() {
            return base;
        }
        Box::new(self.own.scan(base, &start, end.as_deref(), reverse))
    }

    /// Queues a message for the subscribers of `topic`.
    pub fn publish(&mut self, topic: Bytes, message: Bytes) -> Result<(), StorageError> {
        self.check_entry(&topic, message.len())?;
        let size = topic.len() + message.len();
        self.check_growth(size)?;
        check_count("publishes", "messages", self.effects.publishes.len(), self.limits.publishes_max)?;
        self.bytes += size;
        self.effects.publishes.push((topic, message));
        Ok(())
    }

    /// Applies a write that came ready-made (by [`crate::CallBody::Write`]); only data rows may be written so.
    pub fn write_data(&mut self, write: &Write) -> Result<(), StorageError> {
        let (first, value_bytes) = match write {
            Write::Put { key, value } => (key, value.len()),
            Write::Remove { key } => (key, 0),
            Write::RemoveRange { start, end } => {
                if end.as_ref().is_some_and(|end| !is_data(end) && end[..] != [key::DATA + 1]) {
                    return Err(StorageError::TooLarge("a removal reaches beyond the app's data".into()));
                }
                (start, 0)
            }
        };
        if !is_data(first) {
            return Err(StorageError::TooLarge("a write outside the app's data".into()));
        }
        self.check_entry(&first[1..], value_bytes)?;
        self.write(write.clone())
    }

    pub(crate) fn put_row(&mut self, row_key: Bytes, value: Bytes) -> Result<(), StorageError> {
        self.write(Write::Put { key: row_key, value })
    }

    pub(crate) fn remove_row(&mut self, row_key: Bytes) -> Result<(), StorageError> {
        self.write(Write::Remove { key: row_key })
    }

    /// Refuses one more timer than a call may set.
    pub(crate) fn count_timer(&mut self) -> Result<(), StorageError> {
        check_count("timers", "timers", self.timers, self.limits.timers_max)?;
        self.timers += 1;
        Ok(())
    }

    pub(crate) fn note_timer(&mut self, at_us: u64) {
        let earliest = &mut self.effects.earliest_timer_us;
        *earliest = Some(earliest.map_or(at_us, |known| known.min(at_us)));
    }

    /// Refuses keys and values above their limits, and writes in a read.
    pub(crate) fn check_entry(&self, user_key: &[u8], value_bytes: usize) -> Result<(), StorageError> {
        if self.info.read_only {
            return Err(StorageError::ReadOnly);
        }
        check_sizes(&self.limits, user_key.len(), value_bytes)
    }

    /// Refuses what would take the transaction above its limit.
    pub(crate) fn check_growth(&self, size: usize) -> Result<(), StorageError> {
        let (total, limit) = (self.bytes.saturating_add(size), self.limits.transaction_bytes_max);
        if total > limit {
            return Err(StorageError::TooLarge(format!(
                "the writes of one call come to {total} bytes (limit transaction_bytes: {limit}); write in several calls"
            )));
        }
        Ok(())
    }

    fn write(&mut self, write: Write) -> Result<(), StorageError> {
        if self.info.read_only {
            return Err(StorageError::ReadOnly);
        }
        let size = write_bytes(&write);
        self.check_growth(size)?;
        check_count("transaction_writes", "writes", self.effects.writes.len(), self.limits.writes_max)?;
        self.bytes += size;
        self.own.apply(&write, 0);
        self.effects.writes.push(write);
        Ok(())
    }
}

/// Refuses one more than `max` of something.
fn check_count(limit: &str, what: &str, count: usize, max: usize) -> Result<(), StorageError> {
    if count < max {
        return Ok(());
    }
    Err(StorageError::TooLarge(format!("the call asks for more {what} than limit {limit}: {max}; use several calls")))
}

/// Refuses keys and values above their limits.
pub(crate) fn check_sizes(
    limits: &TransactionLimits,
    key_bytes: usize,
    value_bytes: usize,
) -> Result<(), StorageError> {
    if key_bytes > limits.key_bytes_max {
        return Err(StorageError::TooLarge(format!(
            "a key has {key_bytes} bytes (limit key_bytes: {}); use a shorter one",
            limits.key_bytes_max
        )));
    }
    if value_bytes > limits.value_bytes_max {
        return Err(StorageError::TooLarge(format!(
            "a value has {value_bytes} bytes (limit value_bytes: {}); cut it into several",
            limits.value_bytes_max
        )));
    }
    Ok(())
}

/// The app-relative key of a user key.
pub(crate) fn data_key(user_key: &[u8]) -> Bytes {
    let mut row_key = BytesMut::with_capacity(1 + user_key.len());
    row_key.extend_from_slice(&[key::DATA]);
    row_key.extend_from_slice(user_key);
    row_key.freeze()
}

fn is_data(row_key: &[u8]) -> bool {
    row_key.first() == Some(&key::DATA)
}

/// What a write counts: its bytes, and never nothing.
fn write_bytes(write: &Write) -> usize {
    match write {
        Write::Put { key, value } => key.len() + value.len() + 1,
        Write::Remove { key } => key.len() + 1,
        Write::RemoveRange { start, end } => start.len() + end.as_ref().map_or(0, Bytes::len) + 1,
    }
}

#[cfg(test)]
pub(crate) mod tests;
