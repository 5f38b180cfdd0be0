//! Buckets by name, and the list of them.
//!
//! Crash points. Creating: a bucket is `Opening` until every shard has it and the list names it; it
//! does not exist for anybody else, and creating it again goes on where that stopped. Configuring:
//! a bucket is unsettled until every shard has the new configuration; whoever meets one that is
//! passes it on. Removing: a bucket is `Closing` while its shards are asked; removing it again goes
//! on, and creating it reopens it.

use recoil_sdk::{Error, KeyRange, StorageExt as _, Transaction};
use s3s::S3ErrorCode;

use super::{read, write};
use crate::data::command::{Answer, Change, Command, refuse};
use crate::data::keys;
use crate::data::policy::{Caller, Question};
use crate::data::rows::{self, Bucket, Id};

/// Buckets that there may be.
pub(crate) const BUCKETS_MAX: usize = 10_000;

pub(super) fn carry_out(transaction: &mut dyn Transaction, command: Command) -> Result<Answer, Error> {
    match command {
        Command::Bucket { name } => Ok(match read::<Bucket>(transaction, &keys::bucket(&name))? {
            Some(bucket) => Answer::Bucket { bucket: Box::new(bucket), created: false },
            None => Answer::Absent,
        }),
        Command::CreateBucket { mut bucket } => {
            let row = keys::bucket(&bucket.name);
            if let Some(known) = read::<Bucket>(transaction, &row)? {
                let created = known.id == bucket.id;
                return Ok(Answer::Bucket { bucket: Box::new(known), created });
            }
            bucket.created_us = transaction.now_us();
            write(transaction, &row, &bucket)?;
            Ok(Answer::Bucket { bucket, created: true })
        }
        Command::Configure { name, id, caller, change } => configure(transaction, &name, &id, &caller, *change),
        Command::Settled { name, id, epoch } => {
            change(transaction, &name, &id, |bucket| bucket.unsettled &= bucket.epoch != epoch)
        }
        Command::SetState { name, id, state } => change(transaction, &name, &id, |bucket| bucket.state = state),
        Command::RemoveBucket { name, id } => {
            let row = keys::bucket(&name);
            if read::<Bucket>(transaction, &row)?.is_some_and(|bucket| bucket.id == id) {
                transaction.remove(&row)?;
            }
            Ok(Answer::Done)
        }
        Command::List { owner, name, id, created_us } => {
            let row = keys::listed(&owner, &name);
            if transaction.get(&row)?.is_none()
                && transaction.entries(KeyRange::prefix(b"A")).take(BUCKETS_MAX).count() >= BUCKETS_MAX
            {
                let why = format!("there are {BUCKETS_MAX} buckets, and no more are allowed; remove one");
                return Err(refuse(S3ErrorCode::TooManyBuckets, &why));
            }
            write(transaction, &row, &(id, created_us))?;
            Ok(Answer::Done)
        }
        Command::Unlist { owner, name, id } => {
            let row = keys::listed(&owner, &name);
            if read::<(Id, u64)>(transaction, &row)?.is_some_and(|(known, _)| known == id) {
                transaction.remove(&row)?;
            }
            Ok(Answer::Done)
        }
        Command::Names { owner, prefix, after, limit } => names(transaction, &owner, &prefix, &after, limit),
        other => Err(Error::new(format!("not a command about buckets: {other:?}"))),
    }
}

fn change(
    transaction: &mut dyn Transaction,
    name: &str,
    id: &Id,
    change: impl FnOnce(&mut Bucket),
) -> Result<Answer, Error> {
    let row = keys::bucket(name);
    let Some(mut bucket) = read::<Bucket>(transaction, &row)?.filter(|bucket| bucket.id == *id) else {
        return Ok(Answer::Absent);
    };
    change(&mut bucket);
    write(transaction, &row, &bucket)?;
    Ok(Answer::Bucket { bucket: Box::new(bucket), created: false })
}

fn configure(
    transaction: &mut dyn Transaction,
    name: &str,
    id: &Id,
    caller: &Caller,
    change: Change,
) -> Result<Answer, Error> {
    let row = keys::bucket(name);
    let Some(mut bucket) = read::<Bucket>(transaction, &row)?.filter(|bucket| bucket.id == *id) else {
        return Ok(Answer::Absent);
    };
    let now_us = transaction.now_us();
    let question = Question { bucket: &bucket, caller, action: &change.action, key: None, object: None, now_us };
    if !question.may() {
        return Err(refuse(S3ErrorCode::AccessDenied, &format!("you are not allowed to {}", change.action)));
    }
    let is_repeated = bucket.epoch == change.epoch + 1 && bucket.configuration == change.configuration;
    if bucket.epoch != change.epoch && !is_repeated {
        let why = "another request is changing the bucket's configuration; try again";
        return Err(refuse(S3ErrorCode::OperationAborted, why));
    }
    if !is_repeated {
        bucket.epoch += 1;
        bucket.unsettled = true;
        bucket.configuration = change.configuration;
        write(transaction, &row, &bucket)?;
    }
    Ok(Answer::Bucket { bucket: Box::new(bucket), created: false })
}

fn names(transaction: &dyn Transaction, owner: &str, prefix: &str, after: &str, limit: u32) -> Result<Answer, Error> {
    let mut within = KeyRange::prefix(&keys::listed(owner, prefix));
    if !after.is_empty() {
        within.start = within.start.max([&keys::listed(owner, after)[..], &[0]].concat());
    }
    let mut names = Vec::new();
    for entry in transaction.entries(within) {
        let entry = entry?;
        if names.len() >= limit as usize {
            return Ok(Answer::Names { names, more: true });
        }
        let (_, created_us): (Id, u64) = rows::decode(&entry.value)?;
        names.push((String::from_utf8_lossy(keys::listed_name(owner, &entry.key)).into_owned(), created_us));
    }
    Ok(Answer::Names { names, more: false })
}
