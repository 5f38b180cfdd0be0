//! What partitions do: commands carried out as transactions.
//!
//! ```text
//! directory    buckets by name, and the list of them
//! shard        a shard of a bucket: its configuration, opening and closing it
//! objects      versions: put, get, delete
//! attributes   tags, access, retention of versions that are there
//! uploads      uploads in parts
//! pages        walking a shard for a list
//! space        bytes that are being written, and bytes that nobody refers to any more
//! chunks       the bytes themselves
//! lifecycle    what goes by itself
//! users        access keys, and whom they stand for
//! ```
//!
//! Invariant: what a command is allowed to do is decided in the transaction that does it, by the
//! shard's own copy of the bucket.

mod attributes;
mod chunks;
mod directory;
mod lifecycle;
mod objects;
mod pages;
mod shard;
mod space;
#[cfg(test)]
mod tests;
mod uploads;
mod users;

pub(crate) use lifecycle::{DAY_US, day_after};
pub(crate) use uploads::PARTS_MAX;
#[cfg(test)]
pub(crate) use {
    directory::BUCKETS_MAX,
    space::INTENT_US,
    uploads::{OBJECT_BYTES_MAX, PART_BYTES_MIN},
    users::KEYS_MAX,
};

use recoil_sdk::{Error, Transaction};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::data::command::{Answer, Command, Operation, Reply, decode, encode};
use crate::data::keys;
use crate::data::rows::{self, Place};

/// Carries out one command.
pub(crate) fn handle(transaction: &mut dyn Transaction, request: &[u8]) -> Result<Vec<u8>, Error> {
    let (command, attached) = decode::<Command>(request)?;
    let (mut answer, mut out, mut with_due) = (Answer::Done, Vec::new(), false);
    match command {
        Command::Bucket { .. }
        | Command::CreateBucket { .. }
        | Command::Configure { .. }
        | Command::Settled { .. }
        | Command::SetState { .. }
        | Command::RemoveBucket { .. }
        | Command::List { .. }
        | Command::Unlist { .. }
        | Command::Names { .. } => answer = directory::carry_out(transaction, command)?,
        Command::AccessKey { .. }
        | Command::PutAccessKey { .. }
        | Command::RemoveAccessKey { .. }
        | Command::Register { .. }
        | Command::Unregister { .. }
        | Command::RegisteredKey { .. }
        | Command::Registered { .. }
        | Command::FindUsers { .. } => answer = users::carry_out(transaction, command)?,
        Command::Open { place, bucket } => shard::open(transaction, &place, *bucket)?,
        Command::Close { place } => answer = shard::close(transaction, &place)?,
        Command::Reopen { place } => shard::reopen(transaction, &place)?,
        Command::Drop { place } => shard::remove(transaction, &place)?,
        Command::Key { place: at, key, caller, operation } => {
            let bucket = shard::read(transaction, &at)?;
            let mut context = Context { transaction, place: at, bucket, key, caller };
            answer = context.carry_out(operation, attached, &mut out)?;
            with_due = true;
        }
        Command::Page { place: at, caller, page } => {
            let bucket = shard::read(transaction, &at)?;
            answer = pages::walk(transaction, &at, &bucket, &caller, &page)?;
            with_due = true;
        }
        Command::Due => with_due = true,
        Command::Freed { row, freed, all } => space::freed(transaction, &row, freed, all)?,
        Command::PutChunk { content, index } => chunks::put(transaction, &content, index, attached)?,
        Command::Chunk { content, index } => answer = chunks::get(transaction, &content, index, &mut out)?,
        Command::FreeRun { content, run } => chunks::free(transaction, &content, run)?,
    }
    let due = if with_due && !transaction.is_read_only() { space::due(transaction)? } else { None };
    encode(&Reply { answer, due }, &out)
}

/// A timer has come due.
pub(crate) fn fire(transaction: &mut dyn Transaction, id: &[u8], payload: &[u8]) -> Result<(), Error> {
    if id == keys::timer() {
        return space::sweep(transaction);
    }
    match keys::lifecycle_place(id) {
        Some(place) => lifecycle::step(transaction, &place, payload),
        None => Err(Error::new("a timer of no known kind")),
    }
}

/// An operation on a key, with all that it depends on.
struct Context<'a> {
    transaction: &'a mut dyn Transaction,
    place: Place,
    bucket: rows::Bucket,
    key: String,
    caller: crate::data::policy::Caller,
}

impl Context<'_> {
    fn carry_out(&mut self, operation: Operation, attached: &[u8], out: &mut Vec<u8>) -> Result<Answer, Error> {
        match operation {
            Operation::Begin { content, reserved, upload, condition } => {
                self.begin(content, reserved, upload, &condition)
            }
            Operation::Touch { content } => self.touch(&content),
            Operation::Discard { content } => self.discard(&content),
            Operation::Put(version) => self.put(*version, attached),
            Operation::Get { action, version, part, wanted, with_parts } => {
                self.get(action.as_deref(), version, part, wanted, with_parts, out)
            }
            Operation::Manifest { version, from } => self.manifest(&version, from),
            Operation::Delete { version, marker, condition, bypass } => {
                self.delete(version, marker, &condition, bypass)
            }
            Operation::SetAttributes { version, change, bypass } => self.set_attributes(version, change, bypass),
            Operation::CreateUpload(upload) => self.create_upload(*upload),
            Operation::PutPart { upload, part } => self.put_part(&upload, *part),
            Operation::Parts { upload, after, limit } => self.parts(&upload, after, limit),
            Operation::Complete { upload, version, parts, checksum, size, condition } => {
                self.complete(&upload, uploads::Completion { version, parts, checksum, size, condition })
            }
            Operation::Abort { upload } => self.abort(&upload),
        }
    }
}

fn read<T: DeserializeOwned>(transaction: &dyn Transaction, key: &[u8]) -> Result<Option<T>, Error> {
    transaction.get(key)?.map(|row| rows::decode(&row)).transpose()
}

fn write<T: Serialize>(transaction: &mut dyn Transaction, key: &[u8], row: &T) -> Result<(), Error> {
    Ok(transaction.put(key, &rows::encode(row)?)?)
}
