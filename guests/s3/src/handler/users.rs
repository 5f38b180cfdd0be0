//! Access keys, and the users that they stand for.
//!
//! A key is two rows: with its secret where requests look for it, and without it in the list of all
//! keys, which sees to it that names, access keys and e-mail addresses are one user's. The list comes
//! first when a key is made, and last when it is removed, so that no key works that is not listed.

use recoil_sdk::{Error, KeyRange, StorageExt as _, Transaction};
use s3s::S3ErrorCode;

use super::{read, write};
use crate::data::access::{KeyRow, Owner};
use crate::data::command::{Answer, Command, refuse};
use crate::data::keys;
use crate::data::rows;

/// Keys that there may be. Finding a user looks at all of them.
pub(crate) const KEYS_MAX: usize = 10_000;

pub(super) fn carry_out(transaction: &mut dyn Transaction, command: Command) -> Result<Answer, Error> {
    match command {
        Command::AccessKey { access_key } => {
            Ok(Answer::AccessKey(read(transaction, &keys::access_key(&access_key))?.map(Box::new)))
        }
        Command::PutAccessKey { key } => {
            write(transaction, &keys::access_key(&key.access_key), &key)?;
            Ok(Answer::Done)
        }
        Command::RemoveAccessKey { access_key } => {
            transaction.remove(&keys::access_key(&access_key))?;
            Ok(Answer::Done)
        }
        Command::Register { key } => register(transaction, *key),
        Command::Unregister { name } => {
            transaction.remove(&keys::registered(&name))?;
            Ok(Answer::Done)
        }
        Command::RegisteredKey { name } => {
            Ok(Answer::AccessKey(read(transaction, &keys::registered(&name))?.map(Box::new)))
        }
        Command::Registered { after, limit } => {
            let mut within = KeyRange::prefix(&keys::registered(""));
            within.start = [&keys::registered(&after)[..], &[0]].concat();
            let mut found: Vec<KeyRow> = Vec::new();
            for entry in transaction.entries(within) {
                if found.len() >= limit as usize {
                    return Ok(Answer::Keys { keys: found, more: true });
                }
                found.push(rows::decode(&entry?.value)?);
            }
            Ok(Answer::Keys { keys: found, more: false })
        }
        Command::FindUsers { ids, emails } => find(transaction, &ids, &emails),
        other => Err(Error::new(format!("not a command about users: {other:?}"))),
    }
}

fn all(transaction: &dyn Transaction) -> Result<Vec<KeyRow>, Error> {
    let entries = transaction.entries(KeyRange::prefix(&keys::registered("")));
    entries.map(|entry| rows::decode(&entry?.value)).collect()
}

fn register(transaction: &mut dyn Transaction, key: KeyRow) -> Result<Answer, Error> {
    let key = KeyRow { secret_key: String::new(), ..key };
    let taken = |what: &str, other: &KeyRow| {
        refuse(S3ErrorCode::InvalidArgument, &format!("{what} is that of the key {}", other.name))
    };
    let known = all(transaction)?;
    let mut is_new = true;
    for other in &known {
        if other.name == key.name {
            is_new = false;
            // Enabled or not, and for which buckets, it stays the same key.
            if other.access_key != key.access_key || other.owner.id != key.owner.id {
                return Err(taken("the name", other));
            }
            continue;
        }
        if other.access_key == key.access_key {
            return Err(taken("the access key", other));
        }
        if other.email.is_some() && other.email == key.email && other.owner.id != key.owner.id {
            return Err(taken("the e-mail address", other));
        }
    }
    if is_new && known.len() >= KEYS_MAX {
        let why = format!("there are {KEYS_MAX} keys, and no more are allowed; delete one");
        return Err(refuse(S3ErrorCode::InvalidArgument, &why));
    }
    write(transaction, &keys::registered(&key.name), &key)?;
    Ok(Answer::Done)
}

fn find(transaction: &dyn Transaction, ids: &[String], emails: &[String]) -> Result<Answer, Error> {
    let known = all(transaction)?;
    let owner = |found: Option<&KeyRow>| -> Option<Owner> { found.map(|key| key.owner.clone()) };
    let by_id = ids.iter().map(|id| owner(known.iter().find(|key| key.owner.id == *id)));
    let by_email = emails.iter().map(|email| {
        let has = |key: &&KeyRow| key.email.as_ref().is_some_and(|other| other.eq_ignore_ascii_case(email));
        owner(known.iter().find(has))
    });
    Ok(Answer::Users(by_id.chain(by_email).collect()))
}
