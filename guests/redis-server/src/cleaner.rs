//! The cleaner: removes the rows of collections that no key refers to any more.
//!
//! DEL, expiry and overwriting remove the key row of a collection and put a dead row for its generation
//! ([`Keyspace::bury`]), which takes the same time whatever the size of the collection. One timer of the partition then
//! removes its element rows, a bounded number each time it fires, and sets itself again while anything is left. Rows are
//! removed one by one: a removal of a range would be applied by every replica as one removal for each row in one batch.
//!
//! FLUSHDB of a large database leaves its whole space, in the same way, by a dead row for the space.
//!
//! A dead row whose key goes on behind the generation is for a part of its rows: those of a group of a stream.
//!
//! Invariant: what a dead row is for is never referred to again. Crash points: each firing is one transaction,
//! which removes rows and moves the dead row's position on; a firing that is lost is repeated.

use recoil_sdk::storage::prefix_end;
use recoil_sdk::{Entry, KeyRange};

use crate::keyspace::{Keyspace, Outcome, ROW_DEAD, ROW_DEAD_SPACE, ROW_ELEMENT, damaged, space_prefix};

/// Rows removed each time the timer fires.
pub(crate) const ROWS_AT_ONCE: usize = 2_000;
/// A row counts once more for each such part of it.
const LARGE_ROW_BYTES: usize = 64 << 10;

/// The cleaner's timer has fired.
pub(crate) fn run(keyspace: &mut Keyspace<'_>) -> Outcome {
    let mut budget = ROWS_AT_ONCE;
    clean_generations(keyspace, &mut budget)?;
    // The generations of a space's collections are buried as it is cleaned, and so removed before the next keys.
    clean_spaces(keyspace, &mut budget)?;
    if budget == 0 {
        keyspace.run_cleaner();
    }
    Ok(())
}

/// Take a row off the budget; a large one counts as many, since it has been read.
fn charge(budget: &mut usize, entry: &Entry) {
    *budget = budget.saturating_sub(1 + entry.value.len() / LARGE_ROW_BYTES);
}

fn clean_generations(keyspace: &mut Keyspace<'_>, budget: &mut usize) -> Outcome {
    while *budget > 0
        && let Some(dead) = keyspace.transaction.scan(&KeyRange::prefix(&[ROW_DEAD]), 1, false)?.pop()
    {
        if dead.key.len() < 9 {
            return Err(damaged("a dead row without a generation"));
        }
        let prefix = [&[ROW_ELEMENT][..], &dead.key[1..]].concat();
        // The position keeps the scan from passing over what earlier firings have removed.
        let start = if dead.value.is_empty() { prefix.clone() } else { dead.value };
        let mut range = KeyRange { start, end: prefix_end(&prefix) };
        loop {
            let page = keyspace.transaction.scan(&range, *budget as u32, false)?;
            let Some(last) = page.last() else { break };
            range.start = [&last.key[..], b"\0"].concat();
            for entry in &page {
                keyspace.transaction.remove(&entry.key)?;
                charge(budget, entry);
            }
            if *budget == 0 {
                return Ok(keyspace.transaction.put(&dead.key, &range.start)?);
            }
        }
        keyspace.transaction.remove(&dead.key)?;
        *budget -= 1;
    }
    Ok(())
}

/// Remove the keys of spaces that no database has any more, and bury the generations of their collections.
fn clean_spaces(keyspace: &mut Keyspace<'_>, budget: &mut usize) -> Outcome {
    while *budget > 0
        && let Some(dead) = keyspace.transaction.scan(&KeyRange::prefix(&[ROW_DEAD_SPACE]), 1, false)?.pop()
    {
        let [_, space] = dead.key[..] else { return Err(damaged("a dead row without a space")) };
        let prefix = space_prefix(space);
        let start = if dead.value.is_empty() { prefix.clone() } else { dead.value };
        let mut range = KeyRange { start, end: prefix_end(&prefix) };
        loop {
            let page = keyspace.transaction.scan(&range, *budget as u32, false)?;
            let Some(last) = page.last() else { break };
            range.start = [&last.key[..], b"\0"].concat();
            for entry in page {
                charge(budget, &entry);
                keyspace.remove_entry(space, &entry.key, entry.value)?;
            }
            if *budget == 0 {
                return Ok(keyspace.transaction.put(&dead.key, &range.start)?);
            }
        }
        keyspace.transaction.remove(&dead.key)?;
        *budget -= 1;
    }
    Ok(())
}
