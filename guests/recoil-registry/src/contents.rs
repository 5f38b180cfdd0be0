//! Contents: bytes being uploaded, and kept as long as somebody holds them.

use recoil_oci::records::{Answer, Command, Content, Hold, LINK_WITHIN_US, PAGE_MAX, PARTS_MAX, Part};
use recoil_sdk::encoding::Key;
use recoil_sdk::{Error, KeyRange, Transaction};

use crate::{parse, read, write};

fn row(id: &str) -> Vec<u8> {
    Key::new(b'C').bytes(id.as_bytes()).finish()
}

/// What an operation on a content that exists comes to.
enum Outcome {
    /// It has changed.
    Changed,
    /// It is as it was.
    Unchanged,
    /// It does not fit; nothing changes.
    WrongOffset,
    /// For this operation it does not exist.
    Absent,
    /// It has as many parts as it may.
    Full,
}

pub(crate) fn carry_out(transaction: &mut dyn Transaction, command: Command) -> Result<Answer, Error> {
    let now_us = transaction.now_us();
    match command {
        Command::Begin { id, repository } => {
            let begun = Content {
                id: id.clone(),
                repository,
                parts: vec![],
                sealed: false,
                going: None,
                holds: vec![],
                touched_us: now_us,
            };
            let content = match read(transaction, &row(&id))? {
                Some(known) => known,
                None => {
                    write(transaction, &row(&id), &begun)?;
                    begun
                }
            };
            Ok(Answer::Content { content, now_us })
        }
        Command::Content { id } => change(transaction, &id, |_| Outcome::Unchanged),
        Command::OpenPart { id, part, from, reserve } => change(transaction, &id, |content| {
            if content.sealed || content.going.is_some() {
                return Outcome::Absent;
            }
            if content.parts.len() >= PARTS_MAX {
                return Outcome::Full;
            }
            if from.is_some_and(|from| from != content.received()) {
                return Outcome::WrongOffset;
            }
            if !content.parts.iter().any(|known| known.id == part) {
                content.parts.push(Part { id: part, bytes: 0, reserved: reserve });
                content.touched_us = now_us;
            }
            Outcome::Changed
        }),
        Command::Advance { id, part, bytes, reserve } => change(transaction, &id, |content| {
            if content.sealed || content.going.is_some() {
                return Outcome::Absent;
            }
            match content.parts.last_mut() {
                Some(last) if last.id == part => {
                    last.bytes = bytes.max(last.bytes);
                    last.reserved = reserve.max(last.reserved);
                    content.touched_us = now_us;
                    Outcome::Changed
                }
                // Another request has gone on from what was stored before.
                _ => Outcome::WrongOffset,
            }
        }),
        Command::Seal { id, size, token, digest } => change(transaction, &id, |content| {
            if content.going.is_some() || (content.sealed && !content.holds.iter().any(|hold| hold.token == token)) {
                return Outcome::Absent;
            }
            if content.received() != size {
                return Outcome::WrongOffset;
            }
            if content.sealed {
                return Outcome::Unchanged;
            }
            content.sealed = true;
            let repository = content.repository.clone();
            content.holds.push(Hold { token, repository, digest, since_us: now_us });
            Outcome::Changed
        }),
        Command::Hold { id, token, repository, digest } => change(transaction, &id, |content| {
            if content.going.is_some() || !content.sealed {
                return Outcome::Absent;
            }
            if !content.holds.iter().any(|hold| hold.token == token) {
                content.holds.push(Hold { token, repository, digest, since_us: now_us });
            }
            Outcome::Changed
        }),
        Command::Release { id, token } => change(transaction, &id, |content| {
            content.holds.retain(|hold| hold.token != token);
            if content.sealed && content.holds.is_empty() {
                content.going.get_or_insert(now_us);
            }
            Outcome::Changed
        }),
        Command::Discard { id, untouched_since_us } => change(transaction, &id, |content| {
            if content.sealed || content.touched_us > untouched_since_us {
                return Outcome::Unchanged;
            }
            content.going.get_or_insert(now_us);
            Outcome::Changed
        }),
        Command::Forget { id } => {
            let content: Option<Content> = read(transaction, &row(&id))?;
            let going = content.and_then(|content| content.going);
            if going.is_some_and(|since_us| now_us > since_us.saturating_add(LINK_WITHIN_US)) {
                transaction.remove(&row(&id))?;
            }
            Ok(Answer::Done)
        }
        Command::Contents { after } => {
            let mut within = KeyRange::prefix(b"C");
            if !after.is_empty() {
                within.start = row(&after);
                within.start.push(0);
            }
            let page = transaction.scan(&within, PAGE_MAX, false)?;
            let contents = page.iter().map(|entry| parse(&entry.value)).collect::<Result<_, _>>()?;
            Ok(Answer::Contents { contents })
        }
        other => Err(Error::new(format!("not a command about a content: {other:?}"))),
    }
}

fn change(
    transaction: &mut dyn Transaction,
    id: &str,
    operation: impl FnOnce(&mut Content) -> Outcome,
) -> Result<Answer, Error> {
    let Some(mut content) = read::<Content>(transaction, &row(id))? else { return Ok(Answer::Absent) };
    let now_us = transaction.now_us();
    match operation(&mut content) {
        Outcome::Changed => {
            write(transaction, &row(id), &content)?;
            Ok(Answer::Content { content, now_us })
        }
        Outcome::Unchanged => Ok(Answer::Content { content, now_us }),
        Outcome::WrongOffset => Ok(Answer::WrongOffset { content }),
        Outcome::Absent => Ok(Answer::Absent),
        Outcome::Full => {
            Err(Error::new(format!("the upload came in {PARTS_MAX} requests; begin again, with larger chunks")))
        }
    }
}
