//! LCS: the longest common subsequence of two strings, by the usual table (Wagner and Fischer, 1974).
//!
//! Invariant: the table has at most [`CELLS_MAX`] cells, whatever the strings.

use crate::arguments::{Options, is};
use crate::executor::Call;
use crate::keyspace::{Failure, Kind, Outcome};
use crate::resp::{push_array, push_bulk, push_integer, push_map};
use crate::strings::SYNTAX;

/// Cells of the table: 16 MiB.
const CELLS_MAX: usize = 4 << 20;

#[derive(Default)]
struct LcsOptions {
    length: bool,
    indexes: bool,
    with_length: bool,
    length_min: i64,
}

/// A run of bytes that both strings have, by first and last index in each.
struct Match {
    left: (usize, usize),
    right: (usize, usize),
}

struct Table<'a> {
    left: &'a [u8],
    right: &'a [u8],
    cells: Vec<u32>,
}

impl<'a> Table<'a> {
    fn new(left: &'a [u8], right: &'a [u8]) -> Self {
        let width = right.len() + 1;
        let mut cells = vec![0u32; (left.len() + 1) * width];
        for i in 1..=left.len() {
            for j in 1..=right.len() {
                cells[i * width + j] = if left[i - 1] == right[j - 1] {
                    cells[(i - 1) * width + j - 1] + 1
                } else {
                    cells[(i - 1) * width + j].max(cells[i * width + j - 1])
                };
            }
        }
        Table { left, right, cells }
    }

    fn at(&self, i: usize, j: usize) -> u32 {
        self.cells[i * (self.right.len() + 1) + j]
    }

    /// The subsequence, and its runs from the last to the first.
    fn trace(&self) -> (Vec<u8>, Vec<Match>) {
        let (mut i, mut j) = (self.left.len(), self.right.len());
        let (mut common, mut matches, mut run) = (Vec::new(), Vec::new(), None::<Match>);
        while i > 0 && j > 0 {
            if self.left[i - 1] == self.right[j - 1] {
                common.push(self.left[i - 1]);
                let found = run.get_or_insert(Match { left: (i - 1, i - 1), right: (j - 1, j - 1) });
                (found.left.0, found.right.0) = (i - 1, j - 1);
                (i, j) = (i - 1, j - 1);
            } else {
                matches.extend(run.take());
                if self.at(i - 1, j) > self.at(i, j - 1) { i -= 1 } else { j -= 1 }
            }
        }
        matches.extend(run);
        common.reverse();
        (common, matches)
    }
}

fn parse(call: &mut Call<'_, '_>) -> Result<LcsOptions, Failure> {
    let arguments = call.rest()?;
    let (mut options, mut parsed) = (Options(&arguments), LcsOptions::default());
    while let Some(option) = options.next() {
        if is(option, "LEN") {
            parsed.length = true;
        } else if is(option, "IDX") {
            parsed.indexes = true;
        } else if is(option, "WITHMATCHLEN") {
            parsed.with_length = true;
        } else if is(option, "MINMATCHLEN") {
            parsed.length_min = options.integer()?.max(0);
        } else {
            return Err(SYNTAX.into());
        }
    }
    if parsed.length && parsed.indexes {
        return Err("ERR If you want both the length and indexes, please just use IDX.".into());
    }
    Ok(parsed)
}

/// LCS.
pub(crate) fn lcs(call: &mut Call<'_, '_>) -> Outcome {
    let (left, right) = (call.arguments.required()?, call.arguments.required()?);
    let (left, right) = (call.keyspace.load(left)?, call.keyspace.load(right)?);
    if left.iter().chain(&right).any(|stored| stored.kind != Kind::String) {
        return Err("ERR The specified keys must contain string values".into());
    }
    let options = parse(call)?;
    let bytes = |stored: &Option<crate::keyspace::Stored>| {
        stored.as_ref().map_or_else(Vec::new, |stored| stored.payload().to_vec())
    };
    let (left, right) = (bytes(&left), bytes(&right));
    if (left.len() + 1).saturating_mul(right.len() + 1) > CELLS_MAX {
        return Err(format!(
            "ERR LCS of {} and {} bytes would need a table of more than {CELLS_MAX} cells, the limit here",
            left.len(),
            right.len()
        )
        .into());
    }
    let table = Table::new(&left, &right);
    let length = i64::from(table.at(left.len(), right.len()));
    if options.length {
        push_integer(&mut call.reply, length);
        return Ok(());
    }
    let (common, mut matches) = table.trace();
    if !options.indexes {
        push_bulk(&mut call.reply, &common);
        return Ok(());
    }
    matches.retain(|found| (found.left.1 - found.left.0 + 1) as i64 >= options.length_min);
    push_map(&mut call.reply, call.resp3, 2);
    push_bulk(&mut call.reply, b"matches");
    push_array(&mut call.reply, matches.len());
    for found in matches {
        push_array(&mut call.reply, if options.with_length { 3 } else { 2 });
        for (first, last) in [found.left, found.right] {
            push_array(&mut call.reply, 2);
            push_integer(&mut call.reply, first as i64);
            push_integer(&mut call.reply, last as i64);
        }
        if options.with_length {
            push_integer(&mut call.reply, (found.left.1 - found.left.0 + 1) as i64);
        }
    }
    push_bulk(&mut call.reply, b"len");
    push_integer(&mut call.reply, length);
    Ok(())
}
