//! Answered calls: what an app's part of a partition remembers of the calls of each origin, so that a retry never applies twice.
//!
//! An origin is one start of one node, from which calls are routed. It numbers its writing calls to an app on a partition from 1 and
//! sends with each how far it has every answer (`acked`). The entry that carries a call's writes carries its number and answer
//! too, so whoever leads next knows both or neither. A row beside the app's own keeps, per origin, the last number and the answers
//! that the origin may still ask for; it moves with the partition and its snapshots, and goes with the app.
//!
//! Invariants: `acked <= last`; only answers above `acked` are kept; what is kept of one origin is bounded, and an answer that
//! is not kept is known to have been given. Rows: kind 4, `node u32 BE | incarnation u64 BE`; value `acked u64 | last u64 |
//! count u32 | (sequence u64 | kept u8 | bytes)*` behind `format u8 = 1`.
//!
//! Deliberately absent: what answers mean, and when an origin is forgotten.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use recoil_base::{AppId, CopyId, DecodeError, NodeId, Reader, Writer};
use recoil_storage::{Batch, Data, DataError, Write, key};
use rustc_hash::FxHashMap;

use crate::local::Local;

/// The version of a record's row.
const RECORD_FORMAT: u8 = 1;
/// An answer larger than this is not kept.
pub const ANSWER_BYTES_MAX: usize = 4 << 10;
/// Bytes of answers kept for one origin of one app on one partition.
const ANSWERS_BYTES_MAX: usize = 256 << 10;
/// Records that a group keeps in memory beside the rows.
const CACHED_MAX: usize = 16 << 10;

/// Where calls come from: one start of one node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Origin {
    /// The node.
    pub node: NodeId,
    /// Which of its starts.
    pub incarnation: u64,
}

/// One answered call, as an entry carries it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AnsweredCall {
    /// Who asked.
    pub origin: Origin,
    /// Its number among the origin's calls to the partition.
    pub sequence: u64,
    /// The origin has the answers up to here.
    pub acked: u64,
    /// The answer; none if it is too large to be kept.
    pub answer: Option<Bytes>,
}

/// What is known of an origin's call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Known {
    /// It is the next one: evaluate it.
    Next,
    /// An earlier one is missing: this must wait.
    TooEarly,
    /// It was answered; none if the answer was not kept.
    Answered(Option<Bytes>),
}

/// What is remembered of one origin.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OriginRecord {
    acked: u64,
    last: u64,
    answers: BTreeMap<u64, Option<Bytes>>,
    bytes: usize,
}

impl OriginRecord {
    /// The origin has the answers up to `acked`, and will not ask for them again.
    pub fn acknowledge(&mut self, acked: u64) {
        if acked <= self.acked {
            return;
        }
        self.acked = acked;
        self.last = self.last.max(acked);
        while let Some(first) = self.answers.first_entry().filter(|first| *first.key() <= acked) {
            self.bytes -= first.remove().map_or(0, |answer| answer.len());
        }
    }

    /// What is known of the call `sequence`.
    pub fn known(&self, sequence: u64) -> Known {
        if sequence > self.last {
            return if sequence == self.last + 1 { Known::Next } else { Known::TooEarly };
        }
        Known::Answered(self.answers.get(&sequence).cloned().flatten())
    }

    /// True once every call up to `sequence` has been evaluated or given up.
    pub fn has_passed(&self, sequence: u64) -> bool {
        sequence <= self.last
    }

    /// Takes in an answered call.
    pub fn note(&mut self, call: &AnsweredCall) {
        self.acknowledge(call.acked);
        self.last = self.last.max(call.sequence);
        if call.sequence <= self.acked {
            return;
        }
        let fits = |answer: &&Bytes| answer.len() <= ANSWER_BYTES_MAX && self.bytes + answer.len() <= ANSWERS_BYTES_MAX;
        // A copy: the answer is a short piece of an entry, and would keep all of it in memory.
        let answer = call.answer.as_ref().filter(fits).map(|answer| Bytes::copy_from_slice(answer));
        self.bytes += answer.as_ref().map_or(0, Bytes::len);
        if let Some(before) = self.answers.insert(call.sequence, answer) {
            self.bytes -= before.map_or(0, |answer| answer.len());
        }
    }

    fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::with_capacity(21 + self.answers.len() * 13 + self.bytes);
        writer.u8(RECORD_FORMAT).u64(self.acked).u64(self.last).u32(self.answers.len() as u32);
        for (sequence, answer) in &self.answers {
            writer.u64(*sequence).u8(u8::from(answer.is_some())).bytes(answer.as_deref().unwrap_or_default());
        }
        writer.finish().to_vec()
    }

    fn decode(bytes: Bytes) -> Result<Self, DecodeError> {
        let mut reader = Reader::new("answered calls", bytes);
        if reader.u8()? != RECORD_FORMAT {
            return Err(reader.error("a format that this version does not know"));
        }
        let (acked, last) = (reader.u64()?, reader.u64()?);
        let mut record = OriginRecord { acked, last, ..OriginRecord::default() };
        for _ in 0..reader.count(13)? {
            let (sequence, kept, bytes) = (reader.u64()?, reader.u8()? != 0, reader.bytes()?);
            record.bytes += if kept { bytes.len() } else { 0 };
            record.answers.insert(sequence, kept.then_some(bytes));
        }
        reader.finish()?;
        Ok(record)
    }
}

impl AnsweredCall {
    pub(crate) fn size(&self) -> usize {
        33 + self.answer.as_ref().map_or(0, Bytes::len)
    }

    pub(crate) fn encode(&self, writer: &mut Writer) {
        writer.u32(self.origin.node.0).u64(self.origin.incarnation).u64(self.sequence).u64(self.acked);
        writer.u8(u8::from(self.answer.is_some())).bytes(self.answer.as_deref().unwrap_or_default());
    }

    pub(crate) fn decode(reader: &mut Reader) -> Result<Self, DecodeError> {
        let origin = Origin { node: NodeId(reader.u32()?), incarnation: reader.u64()? };
        let (sequence, acked) = (reader.u64()?, reader.u64()?);
        let (kept, answer) = (reader.u8()? != 0, reader.bytes()?);
        Ok(AnsweredCall { origin, sequence, acked, answer: kept.then_some(answer) })
    }
}

fn origin_key((copy, app, origin): Place) -> Vec<u8> {
    key::absolute(copy, app, &origin_row(origin))
}

/// The key of an origin's row, relative to (copy, app).
pub fn origin_row(origin: Origin) -> Bytes {
    let mut key = vec![key::ORIGIN];
    key.extend_from_slice(&origin.node.0.to_be_bytes());
    key.extend_from_slice(&origin.incarnation.to_be_bytes());
    key.into()
}

/// What a copy remembers of an origin; nothing, if it does not know it. Blocks.
pub fn read_origin(data: &Data, copy: CopyId, app: AppId, origin: Origin) -> Result<OriginRecord, DataError> {
    let Some(stored) = data.get(&origin_key((copy, app, origin)))? else { return Ok(OriginRecord::default()) };
    OriginRecord::decode(stored).map_err(|error| DataError::Read { why: error.to_string() })
}

/// The origins that an app's part of a copy remembers. Blocks.
pub fn origins(data: &Data, local: &Local, app: AppId) -> Result<Vec<Origin>, DataError> {
    let prefix = key::prefix(local.copy, app).to_vec();
    let (start, end) = ([&prefix[..], &[key::ORIGIN]].concat(), [&prefix[..], &[key::ORIGIN + 1]].concat());
    let mut found = Vec::new();
    for row in data.snapshot().range(start, Some(end), false) {
        let (full, _) = row?;
        if let Ok(rest) = <[u8; 12]>::try_from(&full[prefix.len() + 1..]) {
            let (node, incarnation) = rest.split_at(4);
            let node = NodeId(u32::from_be_bytes(node.try_into().expect("4 bytes")));
            found.push(Origin { node, incarnation: u64::from_be_bytes(incarnation.try_into().expect("8 bytes")) });
        }
    }
    Ok(found)
}

/// By copy, not by partition: a partition that leaves the node and comes back has other rows, under another copy.
type Place = (CopyId, AppId, Origin);

/// The records that the entries of one batch change: read once, written once.
#[derive(Default)]
pub(crate) struct Records {
    cached: FxHashMap<Place, OriginRecord>,
    changed: BTreeSet<Place>,
}

impl Records {
    pub(crate) fn note(&mut self, data: &Data, copy: CopyId, app: AppId, call: &AnsweredCall) -> Result<(), DataError> {
        let place = (copy, app, call.origin);
        let record = match self.cached.entry(place) {
            std::collections::hash_map::Entry::Occupied(known) => known.into_mut(),
            std::collections::hash_map::Entry::Vacant(vacant) => {
                vacant.insert(read_origin(data, copy, app, call.origin)?)
            }
        };
        record.note(call);
        self.changed.insert(place);
        Ok(())
    }

    /// Writes what has changed since the last time.
    pub(crate) fn write(&mut self, batch: &mut Batch) {
        for place in std::mem::take(&mut self.changed) {
            if let Some(record) = self.cached.get(&place) {
                batch.put(origin_key(place), record.encode());
            }
        }
    }

    /// The rows are looked at again from now on. Not between [`Records::note`] and the commit of what [`Records::write`] wrote.
    pub(crate) fn forget(&mut self) {
        self.cached.clear();
    }

    /// Forgets what is known of a copy that this group writes no longer: another group may write it from now on, and it may come back.
    pub(crate) fn forget_copy(&mut self, copy: CopyId) {
        self.cached.retain(|(other, _, _), _| *other != copy);
        self.changed.retain(|(other, _, _)| *other != copy);
    }

    /// Forgets the origins whose rows are among `removed`.
    pub(crate) fn forget_removed(&mut self, copy: CopyId, app: AppId, removed: &[Write]) {
        let is_row = |write: &Write| matches!(write, Write::Remove { key } if key.first() == Some(&key::ORIGIN));
        if !removed.iter().any(is_row) {
            return;
        }
        let gone = |place: &Place| {
            let row = origin_row(place.2);
            (place.0, place.1) == (copy, app)
                && removed.iter().any(|write| matches!(write, Write::Remove { key } if *key == row))
        };
        // What the rows still say until the batch is in the data must not be read again.
        self.cached
            .iter_mut()
            .filter(|(place, _)| gone(place))
            .for_each(|(_, record)| *record = OriginRecord::default());
        self.changed.retain(|place| !gone(place));
    }

    pub(crate) fn trim(&mut self) {
        if self.cached.len() > CACHED_MAX {
            self.cached.clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ORIGIN: Origin = Origin { node: NodeId(7), incarnation: 3 };

    fn call(sequence: u64, acked: u64, answer: &'static [u8]) -> AnsweredCall {
        AnsweredCall { origin: ORIGIN, sequence, acked, answer: Some(Bytes::from_static(answer)) }
    }

    /// Fails if `note` does not raise `last`: a retry would be evaluated again.
    #[test]
    fn a_call_is_next_once_and_its_answer_is_there_until_it_is_acknowledged() {
        let mut record = OriginRecord::default();
        assert_eq!((record.known(1), record.known(2)), (Known::Next, Known::TooEarly));
        record.note(&call(1, 0, b"one"));
        record.note(&call(2, 0, b"two"));
        assert_eq!(record.known(1), Known::Answered(Some(Bytes::from_static(b"one"))));
        assert_eq!((record.known(3), record.known(4)), (Known::Next, Known::TooEarly));
        record.acknowledge(1);
        assert_eq!(record.known(1), Known::Answered(None));
        assert_eq!(record.known(2), Known::Answered(Some(Bytes::from_static(b"two"))));
        // The origin gave up 3 and 4, and nobody will evaluate them any more.
        record.acknowledge(4);
        assert_eq!((record.known(4), record.known(5)), (Known::Answered(None), Known::Next));
        let encoded = Bytes::from(record.encode());
        assert_eq!(OriginRecord::decode(encoded.clone()).unwrap(), record);
        for length in 0..encoded.len() {
            assert!(OriginRecord::decode(encoded.slice(..length)).is_err(), "{length}");
        }
    }

    #[test]
    fn a_record_is_written_as_in_the_fixture() {
        let mut record = OriginRecord::default();
        record.note(&call(1, 0, b"one"));
        record.note(&AnsweredCall { answer: None, ..call(2, 0, b"") });
        record.note(&call(3, 1, b"three"));
        let stored = crate::fixtures::check("answered-calls.bin", &record.encode());
        assert_eq!(OriginRecord::decode(stored).unwrap(), record);
    }

    /// Fails if `note` keeps the answer as it came: every kept answer would keep its whole entry.
    #[test]
    fn a_kept_answer_does_not_keep_the_entry_that_it_came_in() {
        let entry = Bytes::from(vec![1; 1 << 20]);
        let mut record = OriginRecord::default();
        record.note(&AnsweredCall { answer: Some(entry.slice(..5)), ..call(1, 0, b"") });
        assert_eq!(record.known(1), Known::Answered(Some(Bytes::from_static(&[1; 5]))));
        assert!(entry.is_unique());
    }

    #[test]
    fn what_is_kept_is_bounded_and_what_is_not_kept_is_known_to_be_answered() {
        let mut record = OriginRecord::default();
        let large = Bytes::from(vec![1; ANSWER_BYTES_MAX + 1]);
        record.note(&AnsweredCall { answer: Some(large), ..call(1, 0, b"") });
        assert_eq!((record.known(1), record.bytes), (Known::Answered(None), 0));
        for sequence in 2..200 {
            record.note(&AnsweredCall { answer: Some(vec![2; ANSWER_BYTES_MAX].into()), ..call(sequence, 0, b"") });
        }
        assert!(record.bytes <= ANSWERS_BYTES_MAX && record.known(200) == Known::Next, "{}", record.bytes);
        record.acknowledge(199);
        assert_eq!((record.bytes, record.answers.len()), (0, 0));
    }
}
