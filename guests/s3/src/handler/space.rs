//! Bytes that are being written, and bytes that nobody refers to any more.
//!
//! Before a chunk of a content is written, an intent says so (`P`); a commit removes it in the
//! transaction that refers to the content. An intent that nobody touches expires and becomes a
//! tombstone (`T`), as what a version leaves behind does. A tombstone is not acted on before its
//! time, so that requests which are reading the bytes can end, and no chunk can come later: a call
//! reaches its partition within seconds or never.
//!
//! A handler reaches no other partition, and the chunks are there. So every reply to a write
//! carries what is due, and whoever gets it removes the runs and says so. Doing it twice does no
//! harm.
//!
//! Invariant: no row refers to the bytes of a tombstone. Bounded: the runs of one reply, the rows
//! of one sweep.

use recoil_sdk::{Error, KeyRange, StorageExt as _, Transaction, settings};
use s3s::S3ErrorCode;

use super::{Context, read, write};
use crate::data::command::{Answer, Condition, Due, refuse};
use crate::data::keys::{self, RUN_BYTES};
use crate::data::rows::{self, Completed, Id, Intent, Piece, Tombstone};

/// An intent that was not touched for this long is given up.
pub(crate) const INTENT_US: u64 = 3600 * 1_000_000;
/// After which a content that was given up is freed: none of its chunks can be under way any more.
const LATE_US: u64 = 600 * 1_000_000;
/// Runs of one reply.
const RUNS_MAX: u64 = 64;
/// Rows looked at by one sweep.
const SWEPT_MAX: usize = 1000;

impl Context<'_> {
    /// Bytes are going to be written. What can be refused is refused now, before they are sent.
    pub(super) fn begin(
        &mut self,
        content: Id,
        reserved: u64,
        upload: Option<Id>,
        condition: &Condition,
    ) -> Result<Answer, Error> {
        self.must("s3:PutObject")?;
        let checksum = match upload {
            Some(upload) => self.upload(&upload)?.checksum,
            None => {
                let current = self.current()?;
                self.check(condition, current.as_ref())?;
                None
            }
        };
        let expires_us = self.transaction.now_us() + INTENT_US;
        let intent = Intent { key: self.key.clone(), reserved, expires_us };
        write(self.transaction, &keys::intent(&content), &intent)?;
        arm(self.transaction)?;
        Ok(Answer::Begun { checksum })
    }

    pub(super) fn touch(&mut self, content: &Id) -> Result<Answer, Error> {
        let row = keys::intent(content);
        let mut intent: Intent = read(self.transaction, &row)?.ok_or_else(given_up)?;
        intent.expires_us = self.transaction.now_us() + INTENT_US;
        write(self.transaction, &row, &intent)?;
        Ok(Answer::Done)
    }

    pub(super) fn discard(&mut self, content: &Id) -> Result<Answer, Error> {
        let row = keys::intent(content);
        if let Some(intent) = read::<Intent>(self.transaction, &row)? {
            give_up(self.transaction, content, &intent)?;
        }
        Ok(Answer::Done)
    }

    /// The bytes of a content, which this transaction is going to refer to.
    pub(super) fn take(&mut self, content: &Id, length: u64) -> Result<Piece, Error> {
        let row = keys::intent(content);
        let intent: Intent = read(self.transaction, &row)?.ok_or_else(given_up)?;
        if length > intent.reserved {
            return Err(Error::new(format!("{length} bytes were written where {} were reserved", intent.reserved)));
        }
        self.transaction.remove(&row)?;
        Ok(Piece { content: *content, length })
    }
}

fn given_up() -> Error {
    refuse(S3ErrorCode::RequestTimeout, "the upload took too long without progress and was given up; send it again")
}

fn give_up(transaction: &mut dyn Transaction, content: &Id, intent: &Intent) -> Result<(), Error> {
    transaction.remove(&keys::intent(content))?;
    let piece = Piece { content: *content, length: intent.reserved };
    bury(transaction, content, None, vec![piece], LATE_US)
}

/// How long bytes stay that a version referred to.
fn kept_us() -> u64 {
    let seconds = settings::integer("free-after-seconds").unwrap_or(3600);
    u64::try_from(seconds).unwrap_or(0) * 1_000_000
}

/// Bytes that nobody refers to any more: those of a version's manifest, of so many segments, or
/// these.
pub(super) fn free(
    transaction: &mut dyn Transaction,
    name: &Id,
    segments: Option<u32>,
    pieces: Vec<Piece>,
) -> Result<(), Error> {
    bury(transaction, name, segments.map(|segments| (*name, segments)), pieces, kept_us())
}

fn bury(
    transaction: &mut dyn Transaction,
    name: &Id,
    version: Option<(Id, u32)>,
    pieces: Vec<Piece>,
    after_us: u64,
) -> Result<(), Error> {
    let row = keys::tombstone(transaction.now_us() + after_us, name);
    write(transaction, &row, &Tombstone { version, pieces, freed: 0 })
}

/// What is due to be freed now.
pub(super) fn due(transaction: &mut dyn Transaction) -> Result<Option<Due>, Error> {
    let now_us = transaction.now_us();
    let first = transaction.scan(&keys::due(now_us), 1, false)?.into_iter().next();
    let Some(entry) = first else { return Ok(None) };
    let tombstone: Tombstone = rows::decode(&entry.value)?;
    let mut pieces = tombstone.pieces;
    if let Some((version, _)) = &tombstone.version {
        for segment in transaction.entries(keys::segments(version)) {
            pieces.extend(rows::decode::<Vec<Piece>>(&segment?.value)?);
        }
    }
    let runs = pieces.iter().flat_map(|piece| {
        let count = piece.length.div_ceil(RUN_BYTES);
        (0..count).map(|run| (piece.content, u32::try_from(run).unwrap_or(u32::MAX)))
    });
    let skipped = usize::try_from(tombstone.freed).unwrap_or(usize::MAX);
    let mut runs: Vec<(Id, u32)> = runs.skip(skipped).take(RUNS_MAX as usize + 1).collect();
    let all = runs.len() as u64 <= RUNS_MAX;
    runs.truncate(RUNS_MAX as usize);
    let freed = tombstone.freed + runs.len() as u64;
    Ok(Some(Due { row: entry.key, runs, freed, all }))
}

/// Runs of a tombstone are gone.
pub(super) fn freed(transaction: &mut dyn Transaction, row: &[u8], freed: u64, all: bool) -> Result<(), Error> {
    if row.first() != Some(&b'T') {
        return Err(Error::new("not the row of a tombstone"));
    }
    let Some(mut tombstone) = read::<Tombstone>(transaction, row)? else { return Ok(()) };
    if all {
        if let Some((version, _)) = &tombstone.version {
            transaction.remove_range(&keys::segments(version))?;
        }
        return Ok(transaction.remove(row)?);
    }
    tombstone.freed = tombstone.freed.max(freed);
    write(transaction, row, &tombstone)
}

/// Sees to it that the partition is swept.
pub(super) fn arm(transaction: &mut dyn Transaction) -> Result<(), Error> {
    let row = keys::timer();
    if transaction.get(&row)?.is_some() {
        return Ok(());
    }
    let at_us = transaction.now_us() + INTENT_US;
    write(transaction, &row, &at_us)?;
    transaction.set_timer(&row, at_us, b"");
    Ok(())
}

/// Gives up what has expired.
pub(super) fn sweep(transaction: &mut dyn Transaction) -> Result<(), Error> {
    let now_us = transaction.now_us();
    let mut left = false;
    let intents: Vec<_> = transaction.entries(KeyRange::prefix(b"P")).take(SWEPT_MAX).collect::<Result<_, _>>()?;
    for entry in intents {
        let intent: Intent = rows::decode(&entry.value)?;
        match <Id>::try_from(&entry.key[1..]) {
            Ok(content) if intent.expires_us <= now_us => give_up(transaction, &content, &intent)?,
            _ => left = true,
        }
    }
    let completed: Vec<_> = transaction.entries(KeyRange::prefix(b"K")).take(SWEPT_MAX).collect::<Result<_, _>>()?;
    for entry in completed {
        if rows::decode::<Completed>(&entry.value)?.expires_us <= now_us {
            transaction.remove(&entry.key)?;
        } else {
            left = true;
        }
    }
    transaction.remove(&keys::timer())?;
    if left { arm(transaction) } else { Ok(()) }
}
