//! The cleaner: removes the rows of collections that no key refers to any more.
//!
//! DEL, expiry and overwriting remove the key row of a collection and put a dead row for its generation
//! ([`Keyspace::bury`]), which takes the same time whatever the size of the collection. One timer of the partition then
//! removes its element rows, a bounded number each time it fires, and sets itself again while anything is left. Rows are
//! removed one by one: a removal of a range would be applied by every replica as one removal for each row in one batch.
//!
//! A dead row whose key goes on behind the generation is for a part of its rows: those of a group of a stream.
//!
//! Invariant: what a dead row is for is never referred to again. Crash points: each firing is one transaction,
//! which removes rows and moves the dead row's position on; a firing that is lost is repeated.

use recoil_sdk::KeyRange;
use recoil_sdk::storage::prefix_end;

use crate::keyspace::{Keyspace, Outcome, ROW_DEAD, ROW_ELEMENT, TIMER_CLEANER, damaged};

/// Rows removed each time the timer fires.
pub(crate) const ROWS_AT_ONCE: usize = 2_000;

/// The cleaner's timer has fired.
pub(crate) fn run(keyspace: &mut Keyspace<'_>) -> Outcome {
    let mut budget = ROWS_AT_ONCE;
    while let Some(dead) = keyspace.transaction.scan(&KeyRange::prefix(&[ROW_DEAD]), 1, false)?.pop() {
        if dead.key.len() < 9 {
            return Err(damaged("a dead row without a generation"));
        }
        let prefix = [&[ROW_ELEMENT][..], &dead.key[1..]].concat();
        // The position keeps the scan from passing over what earlier firings have removed.
        let start = if dead.value.is_empty() { prefix.clone() } else { dead.value };
        let mut range = KeyRange { start, end: prefix_end(&prefix) };
        loop {
            let page = keyspace.transaction.scan(&range, budget as u32, false)?;
            let Some(last) = page.last() else { break };
            range.start = [&last.key[..], b"\0"].concat();
            for entry in &page {
                keyspace.transaction.remove(&entry.key)?;
            }
            budget -= page.len().min(budget);
            if budget == 0 {
                keyspace.transaction.put(&dead.key, &range.start)?;
                return run_again(keyspace);
            }
        }
        keyspace.transaction.remove(&dead.key)?;
        budget -= 1;
        if budget == 0 {
            return run_again(keyspace);
        }
    }
    Ok(())
}

fn run_again(keyspace: &mut Keyspace<'_>) -> Outcome {
    let now_us = keyspace.now_us();
    keyspace.transaction.set_timer(TIMER_CLEANER, now_us, b"");
    Ok(())
}
