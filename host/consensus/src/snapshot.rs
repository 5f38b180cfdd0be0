//! Snapshots: how a replica that lacks entries which are purged everywhere gets a group's data.
//!
//! The sender reads metadata and rows from one fjall snapshot ([`Source`]) and pushes the rows in chunks. The receiver loads
//! them under fresh copy ids ([`Staged`]), which nobody reads yet, and writes the rows that name them under a generation of their own
//! ([`crate::local`]). All that is made durable; then one small batch switches generation, applied id and membership, is made durable too, and
//! the old copies die. A transfer that is replaced, or of which nothing comes for a while, leaves only dead copies behind, and one that a crash ends
//! leaves copies that no row names, which the next start drops ([`crate::Locals::sweep`]). A replica that has lost its data asks for them
//! itself ([`crate::repair`]).
//! Chunks are loaded in ordinary batches: a bulk ingestion would halt every group of the node. All work on the applier comes in small
//! pieces, however many partitions there are, and what is loaded is synced from another thread.
//!
//! Invariants:
//! - Every message of a transfer carries the transfer's id, a random number, and every chunk its number, counted from 0. The receiver takes
//!   the next chunk of the present transfer only, and installs only what ends after as many chunks as it took: rows of a deposed leader's
//!   transfer, or a chunk that was lost, cannot become part of another one.
//! - A snapshot carries the group's ownership rows whole; the receiver's own are replaced by them.
//! - A replica that lacks rows of a partition which its group owns takes no snapshot, and so purges nothing (rule M7): an incomplete
//!   leader would otherwise destroy complete followers. Asked for a snapshot, it answers one that cannot be sent; whoever
//!   needs it is served once the rows are there, or by another leader.
//!
//! Messages (little-endian). Begin: `format u8 = 1 | transfer u64 | vote JSON | contents`; rows: `transfer u64 | number u64 | chunk`; end:
//! `transfer u64 | chunks u64`. Contents: `group row bytes | count u32 | (keyspace u32 | partition u32 | ownership row)*`. A chunk:
//! `sections u32 | (place u32 | rows u32 | (key bytes | value bytes)*)*`, where a place counts the partitions of the contents.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;
use recoil_base::{AppId, CopyId, DecodeError, Digest, GroupId, Reader, Writer, task};
use recoil_storage::{Data, DataError, DataSnapshot, Rows, key};

use crate::command::{PartitionRef, decode_partition_ref};
use crate::keeper::{Held, Sending};
use crate::local::{CopyRow, CopyState, Generation, PartitionState, group_key, put_state, state_in, states_in};
use crate::machine::{Applier, Chain, GroupRow};
use crate::messages;
use crate::ownership::{Ownership, Phase};
use crate::raft::{SnapshotMeta, Vote};

/// Bytes of rows in one chunk; one row larger than this travels alone.
const CHUNK_BYTES: usize = 256 << 10;
/// Partitions whose rows are written in one batch.
const STATES_MAX: usize = 1000;
/// Bytes of the copy in a key, which does not travel.
const COPY_BYTES: usize = 8;
/// What is left of a key without its copy has an app and a kind.
const KEY_REST_BYTES_MIN: usize = 5;

/// What openraft carries about as a snapshot.
pub enum SnapshotData {
    /// To be sent.
    Source(Arc<Source>),
    /// Not to be sent, since this replica lacks rows, and which.
    Lacking(String),
    /// Received and loaded.
    Staged(Box<Staged>),
}

/// Why no snapshot was taken.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TakeError {
    /// The data cannot be read.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// This replica lacks rows of a partition that its group owns.
    #[error("{0}")]
    Lacking(String),
}

/// One moment of a group's data, or of one partition of it.
pub struct Source {
    contents: Contents,
    /// The copy of each partition of the contents, if it has rows to send.
    copies: Vec<Option<CopyId>>,
    rows: DataSnapshot,
    /// Keeps the log from being purged past this moment, while it is sent.
    held: Option<Held>,
}

impl Source {
    /// The present moment; none before anything was applied. Blocks.
    ///
    /// # Errors
    /// The data cannot be read, or this replica lacks rows of a partition that its group owns.
    pub(crate) fn take(group: GroupId, data: &Data) -> Result<Option<Self>, TakeError> {
        let rows = data.snapshot();
        let Some(row) = rows.get(&group_key(group)).map_err(io::Error::other)? else { return Ok(None) };
        let row = GroupRow::decode(&row)?;
        if row.applied.is_none() {
            return Ok(None);
        }
        let states = states_in(&rows, group).map_err(io::Error::other)?;
        let (mut partitions, mut copies) = (Vec::with_capacity(states.len()), Vec::with_capacity(states.len()));
        for (partition, state) in states {
            let copy = state.usable(group).map(|local| local.copy);
            if state.ownership.phase == Phase::Owned && copy.is_none() {
                let PartitionRef { keyspace, partition } = partition;
                return Err(TakeError::Lacking(format!(
                    "this replica of group {group} lacks rows of partition {partition} of keyspace {keyspace}, so it takes no snapshot"
                )));
            }
            partitions.push((partition, state.ownership));
            copies.push(copy);
        }
        Ok(Some(Source { contents: Contents { row, partitions }, copies, rows, held: None }))
    }

    /// The present moment of one partition: of the group's own if it owns it in `epoch`, or, with a move, of the copy that the move has
    /// released, which does not change any more. None if there is no such copy here. Blocks.
    ///
    /// # Errors
    /// The data cannot be read.
    pub(crate) fn take_partition(
        group: GroupId,
        data: &Data,
        partition: PartitionRef,
        epoch: u64,
        released_by: Option<u64>,
    ) -> io::Result<Option<Self>> {
        let rows = data.snapshot();
        let Some(row) = rows.get(&group_key(group)).map_err(io::Error::other)? else { return Ok(None) };
        let row = GroupRow::decode(&row)?;
        let state = state_in(&rows, group, partition).map_err(io::Error::other)?.filter(|state| {
            match (state.ownership.phase, released_by) {
                (Phase::Owned, None) => state.ownership.epoch == epoch,
                (Phase::Released(moving), Some(id)) => (moving.id, moving.epoch) == (id, epoch),
                _ => false,
            }
        });
        let copy = state.and_then(|state| Some((state.ownership, state.copy?)));
        let copy = copy.filter(|(_, copy)| copy.state == CopyState::Complete);
        let Some((ownership, copy)) = copy else { return Ok(None) };
        let contents = Contents { row, partitions: vec![(partition, ownership)] };
        Ok(Some(Source { contents, copies: vec![Some(copy.copy)], rows, held: None }))
    }

    pub(crate) fn meta(&self) -> SnapshotMeta {
        self.contents.row.meta()
    }

    /// Keeps the group's log from being purged past this moment as long as it lives, within the bounds of [`Sending`]: whoever
    /// gets it goes on with the entries behind it.
    pub(crate) fn hold(&mut self, sending: &Arc<Sending>) {
        self.held = self.contents.row.applied.map(|applied| sending.hold(applied.index));
    }

    /// What a transfer of this will bring.
    pub(crate) fn contents(&self) -> &Contents {
        &self.contents
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
    /// The next rows; none after the last. Blocks.
    pub(crate) fn next_chunk(&mut self) -> Result<Option<Bytes>, DataError> {
        let mut chunk = ChunkWriter::default();
        while let Some(copy) = self.source.copies.get(self.place) {
            let Some(copy) = copy else {
                self.place += 1;
                continue;
            };
            let rows = self.rows.get_or_insert_with(|| {
                let start = copy.0.to_be_bytes().to_vec();
                let end = (copy.0 + 1).to_be_bytes().to_vec();
                self.source.rows.range(start, Some(end), false)
            });
            for row in rows.by_ref() {
                let (key, value) = row?;
                chunk.push(self.place as u32, &key[COPY_BYTES..], &value);
                if chunk.writer.len() >= CHUNK_BYTES {
                    return Ok(Some(chunk.finish()));
                }
            }
            (self.place, self.rows) = (self.place + 1, None);
        }
        Ok((chunk.sections > 0).then(|| chunk.finish()))
    }
}

/// Builds one chunk.
#[derive(Default)]
struct ChunkWriter {
    writer: Writer,
    sections: u32,
    /// The place of the last section, where its count of rows is, and the count.
    last: Option<(u32, usize, u32)>,
}

impl ChunkWriter {
    fn push(&mut self, place: u32, key: &[u8], value: &[u8]) {
        if self.writer.is_empty() {
            self.writer.u32(0);
        }
        let (at, count) = match self.last {
            Some((last, at, count)) if last == place => (at, count),
            _ => {
                self.sections += 1;
                self.writer.u32(place).u32(0);
                (self.writer.len() - 4, 0)
            }
        };
        self.writer.bytes(key).bytes(value).set_u32(at, count + 1);
        self.last = Some((place, at, count + 1));
    }

    fn finish(mut self) -> Bytes {
        if self.writer.is_empty() {
            self.writer.u32(0);
        }
        self.writer.set_u32(0, self.sections);
        self.writer.finish()
    }
}

/// Rows of one partition: keys without the copy, and values.
pub(crate) type PartitionRows = Vec<(Bytes, Bytes)>;

/// A chunk: rows by the place of their partition among those announced.
pub(crate) fn decode_chunk(chunk: Bytes) -> Result<Vec<(usize, PartitionRows)>, DecodeError> {
    let mut reader = Reader::new("snapshot chunk", chunk);
    let count = reader.count(8)?;
    let mut sections = Vec::with_capacity(count);
    for _ in 0..count {
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
        sections.push((place, rows));
    }
    reader.finish()?;
    Ok(sections)
}

/// The chunk of these rows, as [`Source::chunks`] makes it.
pub(crate) fn encode_chunk(sections: &[(usize, PartitionRows)]) -> Bytes {
    let mut chunk = ChunkWriter::default();
    for (place, rows) in sections {
        rows.iter().for_each(|(key, value)| chunk.push(*place as u32, key, value));
    }
    chunk.finish()
}

/// What a snapshot brings: the group's row, and its ownership rows.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Contents {
    pub(crate) row: GroupRow,
    /// In order.
    pub(crate) partitions: Vec<(PartitionRef, Ownership)>,
}

/// The version of the messages of a transfer.
const MESSAGE_FORMAT: u8 = 1;
/// Bytes of the shortest ownership row in a message, with its partition.
const PARTITION_BYTES_MIN: usize = 8 + 19;

impl Contents {
    fn write(&self, writer: &mut Writer) {
        writer.bytes(&self.row.encode()).u32(self.partitions.len() as u32);
        for (partition, ownership) in &self.partitions {
            writer.u32(partition.keyspace.0).u32(partition.partition.0);
            ownership.encode(writer);
        }
    }

    fn read(reader: &mut Reader) -> Result<Self, DecodeError> {
        let row = GroupRow::decode(&reader.bytes()?).map_err(|_| reader.error("a group's row that cannot be read"))?;
        let count = reader.count(PARTITION_BYTES_MIN)?;
        let mut partitions: Vec<(PartitionRef, Ownership)> = Vec::with_capacity(count);
        for _ in 0..count {
            let partition = decode_partition_ref(reader)?;
            if partitions.last().is_some_and(|(last, _)| *last >= partition) {
                return Err(reader.error("partitions that are not in their order"));
            }
            partitions.push((partition, Ownership::decode(reader)?));
        }
        Ok(Contents { row, partitions })
    }

    /// As the answer to a replica that asks for its lost data.
    pub(crate) fn encode_offer(&self) -> Bytes {
        let mut writer = Writer::with_capacity(256 + self.partitions.len() * 64);
        writer.u8(MESSAGE_FORMAT);
        self.write(&mut writer);
        writer.finish()
    }

    pub(crate) fn decode_offer(bytes: Bytes) -> Result<Self, DecodeError> {
        let mut reader = Reader::new("snapshot offer", bytes);
        read_format(&mut reader)?;
        let contents = Contents::read(&mut reader)?;
        reader.finish()?;
        Ok(contents)
    }
}

fn read_format(reader: &mut Reader) -> Result<(), DecodeError> {
    if reader.u8()? == MESSAGE_FORMAT { Ok(()) } else { Err(reader.error("a format that this version does not know")) }
}

/// Opens a transfer.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Begin {
    /// Names the transfer.
    pub(crate) transfer: u64,
    pub(crate) vote: Vote,
    pub(crate) contents: Contents,
}

impl Begin {
    pub(crate) fn encode(transfer: u64, vote: Vote, contents: &Contents) -> Bytes {
        let mut writer = Writer::with_capacity(256 + contents.partitions.len() * 64);
        writer.u8(MESSAGE_FORMAT).u64(transfer).bytes(&messages::encode_json(&vote));
        contents.write(&mut writer);
        writer.finish()
    }

    pub(crate) fn decode(bytes: Bytes) -> Result<Self, DecodeError> {
        let mut reader = Reader::new("snapshot begin", bytes);
        read_format(&mut reader)?;
        let transfer = reader.u64()?;
        let vote = messages::decode_json("snapshot begin", &reader.bytes()?)?;
        let contents = Contents::read(&mut reader)?;
        reader.finish()?;
        Ok(Begin { transfer, vote, contents })
    }
}

/// Where in a transfer a message belongs: a chunk by its number, the end by how many chunks came before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Position {
    pub(crate) transfer: u64,
    pub(crate) number: u64,
}

impl Position {
    /// A message with this position before `body`.
    pub(crate) fn encode(self, body: &[u8]) -> Bytes {
        let mut writer = Writer::with_capacity(16 + body.len());
        writer.u64(self.transfer).u64(self.number).raw(body);
        writer.finish()
    }

    /// The position, and the rest of the message.
    pub(crate) fn decode(message: Bytes) -> Result<(Self, Bytes), DecodeError> {
        let mut reader = Reader::new("message of a snapshot transfer", message);
        let position = Position { transfer: reader.u64()?, number: reader.u64()? };
        let rest = reader.raw(reader.remaining())?;
        Ok((position, rest))
    }
}

/// A snapshot being loaded, or loaded and not yet installed. Dropped before [`Staged::take`], its copies die.
pub struct Staged {
    data: Data,
    group: GroupId,
    /// The generation of its rows: a number from those for copies, which only grow and are never given twice.
    generation: Generation,
    contents: Contents,
    /// Of each partition of the contents, unless it has been taken.
    copies: Mutex<Vec<Option<CopyId>>>,
    /// Partitions whose rows are written.
    written: Mutex<usize>,
}

impl Staged {
    /// Fresh copies for every partition that the group owns, with at most one fsync. Blocks.
    pub(crate) fn begin(data: Data, group: GroupId, contents: Contents) -> Result<Self, DataError> {
        let owned = contents.partitions.iter().filter(|(_, ownership)| ownership.phase == Phase::Owned).count();
        let mut fresh = data.new_copies(owned + 1)?.into_iter();
        let generation = Generation(fresh.next().map_or(0, |copy| copy.0));
        let copy = |(_, ownership): &(PartitionRef, Ownership)| {
            if ownership.phase == Phase::Owned { fresh.next() } else { None }
        };
        let copies = Mutex::new(contents.partitions.iter().map(copy).collect());
        Ok(Staged { data, group, generation, contents, copies, written: Mutex::default() })
    }

    /// Writes the rows of some more partitions; false once all are there. Blocks.
    pub(crate) fn write_states(&self) -> Result<bool, DataError> {
        let mut written = self.written.lock();
        let copies = self.copies.lock();
        let due = self.contents.partitions.iter().zip(&*copies).skip(*written).take(STATES_MAX);
        let mut batch = self.data.batch();
        let mut count = 0;
        for ((partition, ownership), copy) in due {
            let state = state(*ownership, *copy);
            put_state(&mut batch, (self.group, self.generation), *partition, &state);
            count += 1;
        }
        if count > 0 {
            self.data.commit(batch)?;
        }
        *written += count;
        Ok(count > 0)
    }

    /// Loads one chunk. Blocks.
    pub(crate) fn load(&self, chunk: Bytes) -> Result<(), LoadError> {
        let mut batch = self.data.batch();
        for (place, rows) in decode_chunk(chunk)? {
            let copy = self.copies.lock().get(place).copied().flatten().ok_or(LoadError::Place(place))?;
            for (rest, value) in rows {
                let mut full = copy.0.to_be_bytes().to_vec();
                full.extend_from_slice(&rest);
                batch.put(full, value);
            }
        }
        Ok(self.data.commit(batch)?)
    }

    pub(crate) fn meta(&self) -> SnapshotMeta {
        self.contents.row.meta()
    }

    pub(crate) fn chain(&self) -> Option<Chain> {
        self.contents.row.chain
    }

    pub(crate) fn versions(&self) -> BTreeMap<AppId, Digest> {
        self.contents.row.versions.clone()
    }

    pub(crate) fn clock_us(&self) -> u64 {
        self.contents.row.clock_us
    }

    /// The partitions with their copies, which are now somebody else's to keep, and the generation of their rows. Panics if not all
    /// rows are written.
    pub(crate) fn take(&self) -> (Generation, BTreeMap<PartitionRef, PartitionState>) {
        let (written, all) = (*self.written.lock(), self.contents.partitions.len());
        assert_eq!(written, all, "a snapshot whose rows are not all written must not be installed");
        let copies = std::mem::take(&mut *self.copies.lock());
        let partitions = self.contents.partitions.iter().zip(copies);
        let states = partitions.map(|((partition, ownership), copy)| (*partition, state(*ownership, copy)));
        (self.generation, states.collect())
    }
}

fn state(ownership: Ownership, copy: Option<CopyId>) -> PartitionState {
    PartitionState { ownership, copy: copy.map(|copy| CopyRow { copy, state: CopyState::Complete }) }
}

impl Drop for Staged {
    fn drop(&mut self) {
        let abandoned: Vec<CopyId> = self.copies.get_mut().drain(..).flatten().collect();
        if let Err(error) = self.data.kill_copies(&abandoned) {
            tracing::warn!(%error, "the copies of an abandoned snapshot stay behind until the next start");
        }
    }
}

/// A snapshot on its way, loaded on the applier's thread in pieces, so that other groups have their turn there. Given up, its copies die on that
/// thread, since that writes.
pub(crate) struct Loading {
    staged: Option<Arc<Staged>>,
    applier: Applier,
}

impl Loading {
    /// Makes the copies, and writes the rows that name them.
    pub(crate) async fn begin(data: Data, applier: &Applier, group: GroupId, contents: Contents) -> io::Result<Self> {
        let begun = applier.run(move || Staged::begin(data, group, contents)).await?;
        let loading = Loading { staged: Some(Arc::new(begun.map_err(io::Error::other)?)), applier: applier.clone() };
        while let Some(staged) = loading.staged.clone()
            && applier.run(move || staged.write_states()).await?.map_err(io::Error::other)?
        {}
        Ok(loading)
    }

    /// Loads one chunk. The outer error is the applier's.
    pub(crate) async fn load(&self, chunk: Bytes) -> io::Result<Result<(), LoadError>> {
        let Some(staged) = self.staged.clone() else { return Ok(Ok(())) };
        self.applier.run(move || staged.load(chunk)).await
    }

    /// Makes everything loaded durable, so that the switch has little to wait for: not on the applier, since that takes as long as it takes. Answers
    /// the snapshot, to be installed.
    ///
    /// # Errors
    /// The data cannot be made durable, or a chunk is still being loaded.
    pub(crate) async fn finish(mut self) -> io::Result<Staged> {
        let staged = self.staged.take().ok_or_else(|| io::Error::other("the snapshot was finished before"))?;
        let staged = match Arc::try_unwrap(staged) {
            Ok(staged) => staged,
            Err(staged) => {
                self.staged = Some(staged);
                return Err(io::Error::other("a chunk is still being loaded; begin again"));
            }
        };
        let data = staged.data.clone();
        let persisted = task::spawn_blocking(move || data.persist()).await.map_err(io::Error::other);
        if let Err(error) = persisted.and_then(|persisted| persisted.map_err(io::Error::other)) {
            self.applier.drop_there(staged);
            return Err(error);
        }
        Ok(staged)
    }
}

impl Drop for Loading {
    fn drop(&mut self) {
        if let Some(staged) = self.staged.take() {
            self.applier.drop_there(staged);
        }
    }
}

/// Why a chunk was not loaded.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LoadError {
    #[error(transparent)]
    Decode(#[from] DecodeError),
    #[error("rows of the snapshot's partition at place {0}, which has none or was not announced")]
    Place(usize),
    #[error(transparent)]
    Data(#[from] DataError),
}

#[cfg(test)]
mod tests {
    use recoil_base::{KeyspaceId, NodeId, PartitionId};

    use super::*;
    use crate::ownership::{Move, ReleasePoint};

    fn contents() -> Contents {
        let partition = |number| PartitionRef { keyspace: KeyspaceId(1), partition: PartitionId(number) };
        let owned = Ownership { phase: Phase::Owned, epoch: 1, ..Ownership::default() };
        let moving = Move { id: 4, other: GroupId(2), epoch: 6 };
        let released = Some(ReleasePoint { index: 300, clock_us: 1 << 50 });
        let gone = Ownership { phase: Phase::Released(moving), epoch: 5, highest: 4, released };
        let row = GroupRow { clock_us: 77, ..GroupRow::default() };
        Contents { row, partitions: vec![(partition(3), owned), (partition(264), gone)] }
    }

    fn sections() -> Vec<(usize, PartitionRows)> {
        let row = |key: &'static [u8]| (Bytes::from_static(key), Bytes::from_static(b"value"));
        vec![(0, vec![row(b"\0\0\0\x01\x01k"), row(b"\0\0\0\x01\x01l")]), (7, vec![row(b"\0\0\0\x02\x01m")])]
    }

    #[test]
    fn messages_survive_and_every_shorter_input_is_an_error() {
        let vote = openraft::Vote::new(9, NodeId(2));
        let begin = Begin { transfer: 5, vote, contents: contents() };
        let encoded = Begin::encode(5, vote, &begin.contents);
        assert_eq!(Begin::decode(encoded.clone()), Ok(begin));
        let offer = contents().encode_offer();
        assert_eq!(Contents::decode_offer(offer.clone()), Ok(contents()));
        let chunk = encode_chunk(&sections());
        assert_eq!(decode_chunk(chunk.clone()), Ok(sections()));
        assert_eq!(decode_chunk(encode_chunk(&[])), Ok(vec![]));
        for length in 0..encoded.len() {
            assert!(Begin::decode(encoded.slice(..length)).is_err(), "{length}");
        }
        for length in 0..offer.len() {
            assert!(Contents::decode_offer(offer.slice(..length)).is_err(), "{length}");
        }
        for length in 0..chunk.len() {
            assert!(decode_chunk(chunk.slice(..length)).is_err(), "{length}");
        }
        let mut twice = contents();
        twice.partitions[1].0 = twice.partitions[0].0;
        assert!(Contents::decode_offer(twice.encode_offer()).is_err(), "a partition that comes twice");
    }

    #[test]
    fn messages_are_written_as_in_the_fixtures() {
        let vote = openraft::Vote::new(9, NodeId(2));
        let begin = crate::fixtures::check("snapshot-begin.bin", &Begin::encode(5, vote, &contents()));
        assert_eq!(Begin::decode(begin), Ok(Begin { transfer: 5, vote, contents: contents() }));
        let offer = crate::fixtures::check("snapshot-offer.bin", &contents().encode_offer());
        assert_eq!(Contents::decode_offer(offer), Ok(contents()));
        let position = Position { transfer: 5, number: 6 };
        let rows = crate::fixtures::check("snapshot-rows.bin", &position.encode(&encode_chunk(&sections())));
        let (found, chunk) = Position::decode(rows).unwrap();
        assert_eq!((found, decode_chunk(chunk)), (position, Ok(sections())));
    }
}
