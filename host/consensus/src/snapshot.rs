//! Snapshots: how a replica that lacks entries which are purged everywhere gets a group's data.
//!
//! The sender reads metadata and rows from one fjall snapshot ([`Source`]) and pushes the rows in chunks. The receiver loads
//! them under fresh copy ids ([`Staged`]), which nobody reads yet; installing switches copies, applied id and membership in one
//! batch, persists it, and lets the old copies die. A transfer given up half-way leaves only dead copies behind. A replica that has lost its
//! data asks for them itself ([`crate::repair`]).
//! Chunks are loaded in ordinary batches: a bulk ingestion would halt every group of the node.

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;
use recoil_base::{CopyId, DecodeError, GroupId, KeyspaceId, PartitionId, Reader, Writer};
use recoil_storage::{Data, DataError, DataSnapshot, Rows, key};
use serde::{Deserialize, Serialize};

use crate::command::PartitionRef;
use crate::local::{Local, group_key, local_range_of};
use crate::machine::{Chain, GroupRow};
use crate::raft::{SnapshotMeta, Vote};

/// Bytes of rows in one chunk; one row larger than this travels alone.
const CHUNK_BYTES: usize = 256 << 10;
/// Bytes of the copy in a key, which does not travel.
const COPY_BYTES: usize = 8;
/// What is left of a key without its copy has an app and a kind.
const KEY_REST_BYTES_MIN: usize = 5;

/// What openraft carries about as a snapshot.
pub enum SnapshotData {
    /// To be sent.
    Source(Arc<Source>),
    /// Received and loaded.
    Staged(Staged),
}

/// One moment of a group's data.
pub struct Source {
    row: GroupRow,
    partitions: Vec<(PartitionRef, Local)>,
    rows: DataSnapshot,
}

impl Source {
    /// The present moment; none before anything was applied. Blocks.
    pub(crate) fn take(group: GroupId, data: &Data) -> io::Result<Option<Self>> {
        let rows = data.snapshot();
        let Some(row) = rows.get(&group_key(group)).map_err(io::Error::other)? else { return Ok(None) };
        let row = GroupRow::decode(&row)?;
        if row.applied.is_none() {
            return Ok(None);
        }
        let partitions = local_range_of(&rows, group).map_err(io::Error::other)?;
        Ok(Some(Source { row, partitions, rows }))
    }

    pub(crate) fn meta(&self) -> SnapshotMeta {
        self.row.meta()
    }

    /// The first message of a transfer.
    pub(crate) fn begin(&self, vote: Vote) -> Begin {
        Begin { vote, row: self.row.clone(), partitions: self.announced() }
    }

    /// The answer to a replica that asks for its lost data.
    pub(crate) fn offer(&self) -> Offer {
        Offer { row: self.row.clone(), partitions: self.announced() }
    }

    fn announced(&self) -> Vec<(KeyspaceId, PartitionId, u64)> {
        self.partitions.iter().map(|(p, local)| (p.keyspace, p.partition, local.epoch)).collect()
    }

    /// All rows, in chunks.
    pub(crate) fn chunks(self: Arc<Self>) -> Chunks {
        Chunks { source: self, place: 0, rows: None }
    }
}

/// Reads the rows of a snapshot piece by piece.
pub(crate) struct Chunks {
    source: Arc<Source>,
    /// The partition being read.
    place: usize,
    rows: Option<Rows>,
}

impl Chunks {
    /// The next rows, all of one partition; none after the last. Blocks.
    pub(crate) fn next_chunk(&mut self) -> Result<Option<Bytes>, DataError> {
        while let Some((_, local)) = self.source.partitions.get(self.place) {
            let rows = self.rows.get_or_insert_with(|| {
                let start = local.copy.0.to_be_bytes().to_vec();
                let end = (local.copy.0 + 1).to_be_bytes().to_vec();
                self.source.rows.range(start, Some(end), false)
            });
            let mut chunk = Chunk::new(self.place as u32);
            for row in rows.by_ref() {
                let (key, value) = row?;
                chunk.push(&key[8..], &value);
                if chunk.len() >= CHUNK_BYTES {
                    return Ok(Some(chunk.finish()));
                }
            }
            (self.place, self.rows) = (self.place + 1, None);
            if !chunk.is_empty() {
                return Ok(Some(chunk.finish()));
            }
        }
        Ok(None)
    }
}

struct Chunk {
    writer: Writer,
    count: u32,
}

impl Chunk {
    fn new(place: u32) -> Self {
        let mut writer = Writer::with_capacity(4096);
        writer.u32(place).u32(0);
        Chunk { writer, count: 0 }
    }
    fn push(&mut self, key: &[u8], value: &[u8]) {
        self.writer.bytes(key).bytes(value);
        self.count += 1;
    }
    fn len(&self) -> usize {
        self.writer.len()
    }
    fn is_empty(&self) -> bool {
        self.count == 0
    }
    fn finish(mut self) -> Bytes {
        self.writer.set_u32(4, self.count);
        self.writer.finish()
    }
}

/// A chunk: which of the announced partitions, and rows by their keys without the copy.
pub(crate) fn decode_chunk(chunk: Bytes) -> Result<(usize, Vec<(Bytes, Bytes)>), DecodeError> {
    let mut reader = Reader::new("snapshot chunk", chunk);
    let (place, count) = (reader.u32()? as usize, reader.count(8)?);
    let mut rows = Vec::with_capacity(count);
    for _ in 0..count {
        let (rest, value) = (reader.bytes()?, reader.bytes()?);
        // App and kind at least, and no more than the data can hold.
        if !(KEY_REST_BYTES_MIN..=key::KEY_BYTES_MAX - COPY_BYTES).contains(&rest.len()) {
            return Err(reader.error("a row whose key is too short or too long to be one"));
        }
        rows.push((rest, value));
    }
    reader.finish()?;
    Ok((place, rows))
}

/// The chunk of these rows, as [`Source::chunks`] makes it.
pub(crate) fn encode_chunk(place: usize, rows: &[(Bytes, Bytes)]) -> Bytes {
    let mut chunk = Chunk::new(place as u32);
    rows.iter().for_each(|(key, value)| chunk.push(key, value));
    chunk.finish()
}

/// Opens a transfer.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Begin {
    pub(crate) vote: Vote,
    pub(crate) row: GroupRow,
    pub(crate) partitions: Vec<(KeyspaceId, PartitionId, u64)>,
}

/// What a transfer that the receiver asked for ([`crate::repair`]) will bring.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Offer {
    pub(crate) row: GroupRow,
    pub(crate) partitions: Vec<(KeyspaceId, PartitionId, u64)>,
}

/// A snapshot being loaded, or loaded and not yet installed. Dropped before [`Staged::take`], its copies die.
pub struct Staged {
    data: Data,
    row: Box<GroupRow>,
    copies: Mutex<Vec<(PartitionRef, u64, CopyId)>>,
}

impl Staged {
    /// Fresh copies for every partition. Blocks.
    pub(crate) fn begin(
        data: Data,
        row: GroupRow,
        partitions: &[(KeyspaceId, PartitionId, u64)],
    ) -> Result<Self, DataError> {
        let staged = Staged { data, row: Box::new(row), copies: Mutex::new(Vec::new()) };
        for (keyspace, partition, epoch) in partitions {
            let copy = staged.data.new_copy()?;
            staged.copies.lock().push((PartitionRef { keyspace: *keyspace, partition: *partition }, *epoch, copy));
        }
        Ok(staged)
    }

    /// Loads one chunk. Blocks.
    pub(crate) fn load(&self, chunk: Bytes) -> Result<(), LoadError> {
        let (place, rows) = decode_chunk(chunk)?;
        let copy = self.copies.lock().get(place).map(|(_, _, copy)| *copy).ok_or(LoadError::Place(place))?;
        let mut batch = self.data.batch();
        for (rest, value) in rows {
            let mut full = copy.0.to_be_bytes().to_vec();
            full.extend_from_slice(&rest);
            batch.put(full, value);
        }
        Ok(self.data.commit(batch)?)
    }

    pub(crate) fn meta(&self) -> SnapshotMeta {
        self.row.meta()
    }

    pub(crate) fn chain(&self) -> Option<Chain> {
        self.row.chain
    }

    pub(crate) fn versions(&self) -> std::collections::BTreeMap<recoil_base::AppId, recoil_base::Digest> {
        self.row.versions.clone()
    }

    pub(crate) fn clock_us(&self) -> u64 {
        self.row.clock_us
    }

    /// The copies, now somebody else's to keep.
    pub(crate) fn take(&self) -> Vec<(PartitionRef, u64, CopyId)> {
        std::mem::take(&mut self.copies.lock())
    }
}

impl Drop for Staged {
    fn drop(&mut self) {
        for (_, _, copy) in self.take() {
            if let Err(error) = self.data.kill_copy(copy) {
                tracing::warn!(%copy, %error, "the copy of an abandoned snapshot stays behind");
            }
        }
    }
}

/// Why a chunk was not loaded.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LoadError {
    #[error(transparent)]
    Decode(#[from] DecodeError),
    #[error("rows of partition {0} of the snapshot, which it did not announce")]
    Place(usize),
    #[error(transparent)]
    Data(#[from] DataError),
}
