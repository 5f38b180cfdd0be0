//! Writes of a group to a partition whose copy here is not complete: they are kept, in the order of the log, until it is.
//!
//! A target group owns a partition from its `Adopt` on, also on replicas that still lack the source's rows (rule M4 of the handoff
//! protocol). Applying must not wait for them, since one thread applies the entries of the source, too. So what the group writes to such
//! a copy is *stashed* under the id of the copy, and replayed in the batches that complete it ([`crate::fetch`], and the source's
//! `Release` in [`crate::handoff`]).
//!
//! Rows: `copy | app 0 | kind STASH | index u64 BE | place u32 BE`, where the place counts the apps' parts of the entry; value `format u8 = 1 |
//! app part`, as the part stands in an entry ([`crate::command`]).
//!
//! Invariant: a complete copy has no stash.

use bytes::Bytes;
use recoil_base::{CopyId, DecodeError, Reader, Writer};
use recoil_storage::{Batch, Data, DataError, DataSnapshot, key};

use crate::answered::Records;
use crate::command::{AppWrites, decode_app, encode_app};

/// The version of a row.
const FORMAT: u8 = 1;

/// Where a part of an entry stands in the log: the entry's index, and the part's place in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Position {
    pub(crate) index: u64,
    pub(crate) place: u32,
}

impl Position {
    /// Behind everything that the entries up to `index` wrote.
    pub(crate) fn after(index: u64) -> Self {
        Position { index, place: u32::MAX }
    }
}

/// Why stashed writes cannot be replayed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StashError {
    #[error(transparent)]
    Data(#[from] DataError),
    #[error("a stashed write cannot be read: {0}. Use the version that wrote it or a later one")]
    Decode(#[from] DecodeError),
}

/// Keeps an app's part of an entry for later.
pub(crate) fn put(batch: &mut Batch, copy: CopyId, at: Position, app: &AppWrites) {
    let mut writer = Writer::with_capacity(64);
    writer.u8(FORMAT);
    encode_app(&mut writer, app);
    batch.put(row_key(copy, at), writer.finish());
}

/// Bytes of what is stashed for a copy. Values are not read.
pub(crate) fn bytes(rows: &DataSnapshot, copy: CopyId) -> Result<u64, DataError> {
    rows.value_bytes(&prefix(copy)).sum()
}

/// What is stashed behind `after`, in order, as far as it comes to about `bytes_max`; and whether that is all.
pub(crate) fn read(
    rows: &DataSnapshot,
    copy: CopyId,
    after: Option<Position>,
    bytes_max: usize,
) -> Result<(Vec<(Position, AppWrites)>, bool), StashError> {
    let mut start = after.map_or_else(|| prefix(copy), |after| row_key(copy, after));
    if after.is_some() {
        start.push(0);
    }
    let (mut found, mut bytes) = (Vec::new(), 0);
    for row in rows.range(start, key::after(&prefix(copy)), false) {
        let (full, value) = row?;
        if bytes >= bytes_max {
            return Ok((found, false));
        }
        bytes += value.len();
        found.push((position(&full)?, decode(value)?));
    }
    Ok((found, true))
}

/// Writes an app's part of an entry to a copy.
pub(crate) fn write(
    batch: &mut Batch,
    records: &mut Records,
    (data, copy): (&Data, CopyId),
    app: &AppWrites,
) -> Result<(), DataError> {
    for call in &app.calls {
        records.note(data, copy, app.app, call)?;
    }
    for write in &app.writes {
        batch.write(copy, app.app, write);
    }
    // What is cached of an origin that has been forgotten must not come back.
    records.forget_removed(copy, app.app, &app.writes);
    Ok(())
}

fn prefix(copy: CopyId) -> Vec<u8> {
    key::full(copy, key::NO_APP, key::STASH, &[])
}

fn row_key(copy: CopyId, at: Position) -> Vec<u8> {
    let mut rest = [0; 12];
    rest[..8].copy_from_slice(&at.index.to_be_bytes());
    rest[8..].copy_from_slice(&at.place.to_be_bytes());
    key::full(copy, key::NO_APP, key::STASH, &rest)
}

fn position(full: &[u8]) -> Result<Position, DecodeError> {
    let mut reader = Reader::new("key of a stashed write", Bytes::copy_from_slice(full));
    reader.raw(key::PREFIX_BYTES + 1)?;
    let (index, place) = (reader.raw(8)?, reader.raw(4)?);
    reader.finish()?;
    let index = u64::from_be_bytes(index[..].try_into().expect("8 bytes were read"));
    Ok(Position { index, place: u32::from_be_bytes(place[..].try_into().expect("4 bytes were read")) })
}

fn decode(value: Bytes) -> Result<AppWrites, DecodeError> {
    let mut reader = Reader::new("stashed write", value);
    if reader.u8()? != FORMAT {
        return Err(reader.error("a format that this version does not know"));
    }
    let app = decode_app(&mut reader)?;
    reader.finish()?;
    Ok(app)
}

#[cfg(test)]
mod tests {
    use recoil_base::{AppId, NodeId};
    use recoil_storage::Write;

    use super::*;
    use crate::answered::{AnsweredCall, Origin};

    fn part(number: u8) -> AppWrites {
        let put = Write::Put { key: Bytes::copy_from_slice(&[1, number]), value: Bytes::from_static(b"v") };
        let origin = Origin { node: NodeId(8), incarnation: 2 };
        let calls = vec![AnsweredCall { origin, sequence: u64::from(number), acked: 0, answer: None }];
        AppWrites { app: AppId(3), writes: vec![put], calls }
    }

    /// Fails if stashed writes are read out of the order of the log, twice, or not all.
    #[test]
    fn stashed_writes_are_read_in_the_order_of_the_log_and_in_pieces() {
        let folder = tempfile::tempdir().unwrap();
        let data = Data::open(folder.path()).unwrap();
        let (copy, other) = (CopyId(7), CopyId(8));
        let places: Vec<Position> =
            [(9, 0), (9, 1), (255, 0), (256, 0), (70_000, 3)].map(|(index, place)| Position { index, place }).into();
        let mut batch = data.batch();
        for (number, at) in (0..).zip(places.iter().rev()) {
            put(&mut batch, copy, *at, &part(number));
        }
        put(&mut batch, other, Position { index: 1, place: 0 }, &part(99));
        batch.put(key::full(copy, AppId(3), key::DATA, b"k"), b"v".to_vec());
        data.commit(batch).unwrap();
        let rows = data.snapshot();
        let (all, is_all) = read(&rows, copy, None, usize::MAX).unwrap();
        assert_eq!(all.iter().map(|(at, _)| *at).collect::<Vec<_>>(), places);
        assert_eq!(all.iter().map(|(_, part)| part.clone()).collect::<Vec<_>>(), [4, 3, 2, 1, 0].map(part));
        assert!(is_all);
        let (mut found, mut after) = (Vec::new(), None);
        loop {
            let (piece, is_all) = read(&rows, copy, after, 1).unwrap();
            assert!(piece.len() <= 1);
            after = piece.last().map(|(at, _)| *at).or(after);
            found.extend(piece.into_iter().map(|(at, _)| at));
            if is_all {
                break;
            }
        }
        assert_eq!(found, places);
        let (behind, _) = read(&rows, copy, Some(Position::after(9)), usize::MAX).unwrap();
        assert_eq!(behind.len(), 3);
        assert!(bytes(&rows, copy).unwrap() > bytes(&rows, other).unwrap());
    }

    #[test]
    fn a_stashed_write_is_stored_as_in_the_fixture() {
        let mut writer = Writer::default();
        writer.u8(FORMAT);
        encode_app(&mut writer, &part(5));
        let stored = crate::fixtures::check("stash.bin", &writer.finish());
        assert_eq!(decode(stored.clone()), Ok(part(5)));
        for length in 0..stored.len() {
            assert!(decode(stored.slice(..length)).is_err(), "{length}");
        }
        assert!(decode(Bytes::from_static(b"\x02")).unwrap_err().to_string().contains("does not know"));
        let at = Position { index: 258, place: 3 };
        assert_eq!(position(&row_key(CopyId(1), at)), Ok(at));
        assert_eq!(row_key(CopyId(1), at)[12..], [5, 0, 0, 0, 0, 0, 0, 1, 2, 0, 0, 0, 3]);
    }
}
