//! The bytes of contents. A chunk is written once, under an id that never returns.

use recoil_sdk::{Error, Transaction};

use crate::data::command::Answer;
use crate::data::keys;
use crate::data::rows::Id;

pub(super) fn put(transaction: &mut dyn Transaction, content: &Id, index: u32, chunk: &[u8]) -> Result<(), Error> {
    Ok(transaction.put(&keys::chunk(content, index), chunk)?)
}

pub(super) fn get(transaction: &dyn Transaction, content: &Id, index: u32, out: &mut Vec<u8>) -> Result<Answer, Error> {
    let Some(chunk) = transaction.get(&keys::chunk(content, index))? else { return Ok(Answer::Absent) };
    *out = chunk;
    Ok(Answer::Done)
}

pub(super) fn free(transaction: &mut dyn Transaction, content: &Id, run: u32) -> Result<(), Error> {
    Ok(transaction.remove_range(&keys::run(content, run))?)
}
