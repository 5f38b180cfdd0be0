//! The records of the cluster's own OCI registry: what [`recoil_oci::records`] asks, carried out on rows.
//!
//! ```text
//! contents       C id                          -> a content: its parts, who holds it
//! repositories   R repository                  -> it exists
//!                B repository digest           -> a link to a content
//!                M repository digest           -> what is known of a manifest
//!                N repository digest           -> its bytes
//!                T repository tag              -> a digest
//!                F repository subject digest   -> the descriptor of a referrer
//!                X repository blob manifest    -> the manifest needs the blob
//!                Z repository token            -> a link that has ended, and when
//! ```
//! Chunks lie beside them under `D`, put there by the server.
//!
//! A content and a repository are on partitions of their own, so linking takes two transactions: first the content is held, then it is
//! linked; and unlinking two: first the link goes, then the hold. A crash in between leaves a hold without a link, never a link
//! without a hold, and the server's collection finds such holds. Invariants: a content whose holds are all gone cannot be held
//! again; what a manifest needs was linked when the manifest was put, and no sweep unlinks it while the manifest is there.

mod contents;
mod repositories;
#[cfg(test)]
mod tests;

use recoil_oci::records::{Answer, Command, decode, encode};
use recoil_sdk::{Error, Handler, Transaction};

/// The package.
pub struct Registry;

impl Handler for Registry {
    fn handle(transaction: &mut dyn Transaction, request: &[u8]) -> Result<Vec<u8>, Error> {
        let (command, attachment) = decode::<Command>(request)?;
        let mut attached = Vec::new();
        let answer = match command {
            Command::Begin { .. }
            | Command::Content { .. }
            | Command::OpenPart { .. }
            | Command::Advance { .. }
            | Command::Seal { .. }
            | Command::Hold { .. }
            | Command::Release { .. }
            | Command::Discard { .. }
            | Command::Forget { .. }
            | Command::Contents { .. } => contents::carry_out(transaction, command)?,
            Command::Manifest { repository, reference, body } => {
                repositories::manifest(transaction, &repository, &reference, body.then_some(&mut attached))?
            }
            command => repositories::carry_out(transaction, command, attachment)?,
        };
        Ok(encode::<Answer>(&answer, &attached))
    }
}

recoil_sdk::export!(Registry: handler);

fn read<T: serde::de::DeserializeOwned>(transaction: &dyn Transaction, key: &[u8]) -> Result<Option<T>, Error> {
    let Some(row) = transaction.get(key)? else { return Ok(None) };
    parse(&row).map(Some)
}

fn parse<T: serde::de::DeserializeOwned>(row: &[u8]) -> Result<T, Error> {
    serde_json::from_slice(row).map_err(|error| Error::new(format!("a row that cannot be read: {error}")))
}

fn write<T: serde::Serialize>(transaction: &mut dyn Transaction, key: &[u8], value: &T) -> Result<(), Error> {
    let value = serde_json::to_vec(value).map_err(|error| error.to_string())?;
    Ok(transaction.put(key, &value)?)
}
