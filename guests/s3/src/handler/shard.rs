//! A shard of a bucket: its copy of the bucket, and whether it takes anything.

use recoil_sdk::{Error, Transaction};
use s3s::S3ErrorCode;

use super::{lifecycle, read as read_row, uploads, write};
use crate::data::command::{Answer, refuse};
use crate::data::keys;
use crate::data::rows::{Bucket, Place, State, Upload};

/// Uploads that closing a shard aborts at a time.
const ABORTED_MAX: u32 = 16;

/// The bucket as this shard has it.
pub(super) fn read(transaction: &dyn Transaction, place: &Place) -> Result<Bucket, Error> {
    match read_row::<Bucket>(transaction, &keys::shard(place))? {
        Some(bucket) if bucket.state == State::Open => Ok(bucket),
        Some(_) => {
            let why = "the bucket is being removed; try again";
            Err(refuse(S3ErrorCode::OperationAborted, why))
        }
        None => Err(refuse(S3ErrorCode::NoSuchBucket, "there is no such bucket")),
    }
}

pub(super) fn open(transaction: &mut dyn Transaction, place: &Place, mut bucket: Bucket) -> Result<(), Error> {
    let row = keys::shard(place);
    if let Some(known) = read_row::<Bucket>(transaction, &row)? {
        if known.epoch >= bucket.epoch {
            return Ok(());
        }
        bucket.state = known.state;
    } else {
        bucket.state = State::Open;
    }
    lifecycle::arm(transaction, place, &bucket);
    write(transaction, &row, &bucket)
}

/// Closes the shard unless it holds an object. Uploads are aborted, as in S3.
pub(super) fn close(transaction: &mut dyn Transaction, place: &Place) -> Result<Answer, Error> {
    let row = keys::shard(place);
    let Some(mut bucket) = read_row::<Bucket>(transaction, &row)? else {
        return Ok(Answer::Closed { closed: true, again: false });
    };
    for kind in [b'O', b'V'] {
        if !transaction.scan(&keys::all(kind, place), 1, false)?.is_empty() {
            return Ok(Answer::Closed { closed: false, again: false });
        }
    }
    bucket.state = State::Closing;
    write(transaction, &row, &bucket)?;
    let uploads = transaction.scan(&keys::all(b'U', place), ABORTED_MAX, false)?;
    for entry in &uploads {
        let upload: Upload = crate::data::rows::decode(&entry.value)?;
        uploads::remove(transaction, place, &upload, &[])?;
    }
    let again = !uploads.is_empty();
    Ok(Answer::Closed { closed: !again, again })
}

pub(super) fn reopen(transaction: &mut dyn Transaction, place: &Place) -> Result<(), Error> {
    let row = keys::shard(place);
    let Some(mut bucket) = read_row::<Bucket>(transaction, &row)? else { return Ok(()) };
    bucket.state = State::Open;
    write(transaction, &row, &bucket)
}

/// Removes a closed shard. Tombstones and intents are the partition's, and stay until they are due.
pub(super) fn remove(transaction: &mut dyn Transaction, place: &Place) -> Result<(), Error> {
    let row = keys::shard(place);
    match read_row::<Bucket>(transaction, &row)? {
        Some(bucket) if bucket.state == State::Closing => {}
        Some(_) => return Err(refuse(S3ErrorCode::OperationAborted, "the bucket was reopened; try again")),
        None => return Ok(()),
    }
    transaction.cancel_timer(&keys::lifecycle_timer(place));
    Ok(transaction.remove(&row)?)
}
