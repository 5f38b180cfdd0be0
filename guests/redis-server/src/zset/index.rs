//! The order of a sorted set in rows, and the counts that make ranks cheap.
//!
//! ```text
//! order row     02 | generation | part 1 | score (8) | member → empty
//! count row     02 | generation | part 1 + level | score (8) | member of the block's start → count (8, little-endian)
//! ```
//!
//! Scores are the bits of an IEEE 754 double with the sign flipped so that they sort as numbers, big-endian; -0 is 0.
//! Members of one score sort by their bytes, as in Redis. What follows the part is called a *place* of the order.
//!
//! Ranks come from content-defined blocks, as in a skip list (Pugh, Skip Lists: A Probabilistic Alternative to Balanced
//! Trees; Pugh, A Skip List Cookbook, for positions): a member whose hash ends in 7·L zero bits starts a block of level L,
//! and the row of the block counts its members up to the next start. The first block of a level begins at the empty
//! place, before every member. Nothing is ever rebalanced, and since the hash is keyed by the generation, no client can aim
//! at the blocks. A rank is the sum of the counts before it on the highest level, then on the next lower one within the
//! last block, and so on: some 60 rows a level.
//!
//! Invariant: on every level the counts of all blocks add up to the number of members, and a member starts a block of a
//! level if and only if its hash says so.

use recoil_sdk::KeyRange;
use recoil_sdk::storage::prefix_end;

use crate::elements::hash;
use crate::keyspace::{ELEMENT_PREFIX_BYTES, Failure, Keyspace, Outcome, damaged, element_row};

const PART_ORDER: u8 = 1;
/// Zero bits of the hash for each level: a block of 128 on average.
const LEVEL_BITS: u32 = 7;
/// Levels that a set may have: enough for 2^28 members at 128 rows a level.
const LEVELS_MAX: u8 = 3;
/// Rows in a page of the storage's.
const PAGE_ROWS: u32 = 512;
const SCORE_BYTES: usize = 8;

/// The order of one sorted set.
#[derive(Clone, Copy)]
pub(crate) struct Place {
    pub(crate) generation: u64,
    /// Levels of counts.
    pub(crate) levels: u8,
}

/// How many members call for a level.
pub(crate) fn elements_for_level(level: u8) -> u64 {
    match level {
        1 => 256,
        2 => 1 << 14,
        3 => 1 << 21,
        _ => u64::MAX,
    }
}

/// A score as its element row holds it.
pub(crate) fn encode_score(score: f64) -> [u8; 8] {
    (score + 0.0).to_bits().to_be_bytes() // -0 becomes 0
}

/// The score that an element row holds.
pub(crate) fn decode_score(value: &[u8]) -> Result<f64, Failure> {
    let bytes = value.try_into().map_err(|_| damaged("a score of another size than 8 bytes"))?;
    Ok(f64::from_bits(u64::from_be_bytes(bytes)))
}

/// A number in the order of scores.
pub(crate) fn ordered(score: f64) -> u64 {
    let bits = (score + 0.0).to_bits();
    if bits >> 63 == 1 { !bits } else { bits ^ (1 << 63) }
}

fn score_of(ordered: u64) -> f64 {
    f64::from_bits(if ordered >> 63 == 1 { ordered ^ (1 << 63) } else { !ordered })
}

/// Where a member is in the order.
pub(crate) fn place(score: f64, member: &[u8]) -> Vec<u8> {
    [&ordered(score).to_be_bytes()[..], member].concat()
}

/// A member of a sorted set.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Member {
    pub(crate) name: Vec<u8>,
    pub(crate) score: f64,
}

/// A row on its way: its place, and for a count row the count.
struct Row {
    place: Vec<u8>,
    value: Vec<u8>,
}

impl Row {
    fn count(&self) -> Result<u64, Failure> {
        let bytes = self.value[..].try_into().map_err(|_| damaged("a count of another size than 8 bytes"))?;
        Ok(u64::from_le_bytes(bytes))
    }

    /// What the row counts for on its level.
    fn weight(&self, level: u8) -> Result<u64, Failure> {
        if level == 0 { Ok(1) } else { self.count() }
    }

    fn member(self) -> Result<Member, Failure> {
        let Some((score, name)) = self.place.split_first_chunk::<SCORE_BYTES>() else {
            return Err(damaged("an order row with a short key"));
        };
        Ok(Member { name: name.to_vec(), score: score_of(u64::from_be_bytes(*score)) })
    }
}

impl Place {
    fn row(&self, level: u8, place: &[u8]) -> Vec<u8> {
        element_row(self.generation, PART_ORDER + level, &[place])
    }

    /// The rows of a level from `from` on and before `to`.
    fn range(&self, level: u8, from: &[u8], to: Option<&[u8]>) -> KeyRange {
        let end = to.map(|to| self.row(level, to));
        KeyRange { start: self.row(level, from), end: end.or_else(|| prefix_end(&self.row(level, b""))) }
    }

    /// Visit the rows of a range until `visit` answers true.
    fn visit(
        &self,
        keyspace: &Keyspace<'_>,
        mut range: KeyRange,
        reverse: bool,
        rows: u64,
        mut visit: impl FnMut(Row) -> Result<bool, Failure>,
    ) -> Outcome {
        let mut left = rows;
        while left > 0 {
            let page = keyspace.transaction.scan(&range, left.min(u64::from(PAGE_ROWS)) as u32, reverse)?;
            let Some(last) = page.last() else { return Ok(()) };
            if reverse {
                range.end = Some(last.key.clone());
            } else {
                range.start = [&last.key[..], b"\0"].concat();
            }
            left -= left.min(page.len() as u64);
            for entry in page {
                let place = entry.key.get(ELEMENT_PREFIX_BYTES..).unwrap_or(&[]).to_vec();
                if visit(Row { place, value: entry.value })? {
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    /// The last block of a level that begins before `to`.
    fn block_before(&self, keyspace: &Keyspace<'_>, level: u8, to: &[u8]) -> Result<(Vec<u8>, u64), Failure> {
        let mut found = None;
        self.visit(keyspace, self.range(level, b"", Some(to)), true, 1, |row| {
            found = Some((row.count()?, row.place));
            Ok(true)
        })?;
        found.map(|(count, place)| (place, count)).ok_or_else(|| damaged("a sorted set lacks its first count"))
    }

    fn put_count(&self, keyspace: &mut Keyspace<'_>, level: u8, place: &[u8], count: u64) -> Outcome {
        Ok(keyspace.transaction.put(&self.row(level, place), &count.to_le_bytes())?)
    }

    /// What the rows of a level come to from one place to another.
    fn sum(&self, keyspace: &Keyspace<'_>, level: u8, from: &[u8], to: &[u8]) -> Result<u64, Failure> {
        let mut sum = 0;
        self.visit(keyspace, self.range(level, from, Some(to)), false, u64::MAX, |row| {
            sum += row.weight(level)?;
            Ok(false)
        })?;
        Ok(sum)
    }

    /// A member has been added.
    pub(crate) fn insert(&self, keyspace: &mut Keyspace<'_>, member: &[u8], score: f64) -> Outcome {
        let place = place(score, member);
        keyspace.transaction.put(&self.row(0, &place), b"")?;
        let starts = self.starts(member);
        // From the lowest level on, so that the level below has the new block already.
        for level in 1..=self.levels {
            let (block, count) = self.block_before(keyspace, level, &place)?;
            if starts < level {
                self.put_count(keyspace, level, &block, count + 1)?;
            } else {
                let before = self.sum(keyspace, level - 1, &block, &place)?;
                self.put_count(keyspace, level, &block, before)?;
                self.put_count(keyspace, level, &place, (count + 1).saturating_sub(before))?;
            }
        }
        Ok(())
    }

    /// A member has been removed.
    pub(crate) fn remove(&self, keyspace: &mut Keyspace<'_>, member: &[u8], score: f64) -> Outcome {
        let place = place(score, member);
        keyspace.transaction.remove(&self.row(0, &place))?;
        let starts = self.starts(member);
        for level in 1..=self.levels {
            let mut own = 0;
            if starts >= level {
                let row = self.row(level, &place);
                let value = keyspace.transaction.get(&row)?.unwrap_or_default();
                own = Row { place: Vec::new(), value }.count()?;
                keyspace.transaction.remove(&row)?;
            }
            let (block, count) = self.block_before(keyspace, level, &place)?;
            self.put_count(keyspace, level, &block, (count + own).saturating_sub(1))?;
        }
        Ok(())
    }

    /// The highest level on which a member starts a block.
    fn starts(&self, member: &[u8]) -> u8 {
        ((hash(self.generation, member).trailing_zeros() / LEVEL_BITS) as u8).min(LEVELS_MAX)
    }

    /// Count the blocks of the highest level, which is new, by the level below.
    pub(crate) fn build(&self, keyspace: &mut Keyspace<'_>) -> Outcome {
        let (level, mut blocks) = (self.levels, vec![(Vec::new(), 0)]);
        self.visit(keyspace, self.range(level - 1, b"", None), false, u64::MAX, |row| {
            let weight = row.weight(level - 1)?;
            let member = row.place.get(SCORE_BYTES..);
            if member.is_some_and(|member| self.starts(member) >= level) {
                blocks.push((row.place, weight));
            } else if let Some(block) = blocks.last_mut() {
                block.1 += weight;
            }
            Ok(false)
        })?;
        blocks.iter().try_for_each(|(place, count)| self.put_count(keyspace, level, place, *count))
    }

    /// Number of members before a place.
    pub(crate) fn rank(&self, keyspace: &Keyspace<'_>, to: &[u8]) -> Result<u64, Failure> {
        let (mut rank, mut from) = (0, Vec::new());
        if to.is_empty() {
            return Ok(0);
        }
        for level in (1..=self.levels).rev() {
            let mut last = 0;
            let mut start = std::mem::take(&mut from);
            self.visit(keyspace, self.range(level, &start.clone(), Some(to)), false, u64::MAX, |row| {
                rank += last;
                last = row.count()?;
                start = row.place;
                Ok(false)
            })?;
            from = start;
        }
        Ok(rank + self.sum(keyspace, 0, &from, to)?)
    }

    /// The place of the member of a rank; none beyond the last.
    pub(crate) fn select(&self, keyspace: &Keyspace<'_>, rank: u64) -> Result<Option<Vec<u8>>, Failure> {
        let (mut left, mut from) = (rank, Vec::new());
        for level in (1..=self.levels).rev() {
            let mut found = false;
            let range = self.range(level, &from, None);
            self.visit(keyspace, range, false, u64::MAX, |row| {
                let count = row.count()?;
                if left < count {
                    from = row.place;
                    found = true;
                } else {
                    left -= count;
                }
                Ok(found)
            })?;
            if !found {
                return Ok(None);
            }
        }
        let mut place = None;
        self.visit(keyspace, self.range(0, &from, None), false, left.saturating_add(1), |row| {
            if left == 0 {
                place = Some(row.place);
                return Ok(true);
            }
            left -= 1;
            Ok(false)
        })?;
        Ok(place)
    }

    /// Visit the members between two places, `skip` of them left out, at most `limit`.
    pub(crate) fn members(
        &self,
        keyspace: &Keyspace<'_>,
        (from, to): (&[u8], Option<&[u8]>),
        reverse: bool,
        (skip, limit): (u64, u64),
        mut visit: impl FnMut(Member) -> Outcome,
    ) -> Outcome {
        let mut skip = skip;
        let rows = skip.saturating_add(limit);
        self.visit(keyspace, self.range(0, from, to), reverse, rows, |row| {
            if skip > 0 {
                skip -= 1;
            } else {
                visit(row.member()?)?;
            }
            Ok(false)
        })
    }
}
