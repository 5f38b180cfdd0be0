//! Random elements.
//!
//! Invariant: every element of a collection has the same probability, whatever its size and its hashes.

use recoil_sdk::storage::prefix_end;
use recoil_sdk::{KeyRange, StorageExt as _};

use super::{Body, Element, Elements, HASH_BITS, PART_ELEMENTS, position_bytes, split_row};
use crate::keyspace::{Failure, Keyspace, element_row};

/// Elements in a bucket of the hash order, on average, when one is chosen at random.
const BUCKET_ELEMENTS: u64 = 16;
/// A bucket of more than this has a probability of some 10^-10.
const BUCKET_ELEMENTS_MAX: u64 = 48;

impl Elements {
    /// An element, each with the same probability, and its value. None if there is none.
    ///
    /// In rows: rejection sampling (Olken and Rotem, Random Sampling from Databases). The hash order is cut into buckets of 16
    /// elements on average; one of `k` elements is accepted with probability k/48, and then one of its elements chosen.
    pub(crate) fn random(&self, keyspace: &Keyspace<'_>, random: &mut Random) -> Result<Option<Element>, Failure> {
        if self.count == 0 {
            return Ok(None);
        }
        let Body::Rows(generation) = self.body else {
            let Some(mut elements) = self.inline() else { return Ok(None) };
            for _ in 0..random.below(self.count) {
                elements.next()?;
            }
            return Ok(elements.next()?.map(|(element, value)| (element.to_vec(), value.to_vec())));
        };
        let all = element_row(generation, PART_ELEMENTS, &[]);
        let buckets = (self.count / BUCKET_ELEMENTS).max(1);
        let edge = |bucket: u64| ((u128::from(bucket) << HASH_BITS) / u128::from(buckets)) as u64;
        loop {
            let bucket = random.below(buckets);
            let start = [&all[..], &position_bytes(edge(bucket))].concat();
            let end = match bucket + 1 {
                next if next == buckets => prefix_end(&all),
                next => Some([&all[..], &position_bytes(edge(next))].concat()),
            };
            let range = KeyRange { start, end };
            let mut found = Vec::new();
            for entry in keyspace.transaction.entries(range) {
                found.push(entry?);
            }
            let count = found.len() as u64;
            if random.below(BUCKET_ELEMENTS_MAX.max(count)) < count {
                let entry = found.swap_remove(random.below(count) as usize);
                let (_, element) = split_row(&entry.key)?;
                return Ok(Some((element.to_vec(), entry.value)));
            }
        }
    }
}

/// A generator of random numbers for sampling: xorshift64* (Vigna, 2016), seeded from what the standard library seeds its
/// hash maps with.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new() -> Self {
        use std::hash::{BuildHasher as _, Hasher as _};
        Random(std::hash::RandomState::new().build_hasher().finish() | 1)
    }

    /// A number below `end`, which is not 0; each with the same probability but for 2^-64 of it.
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let number = self.0.wrapping_mul(0x2545_f491_4f6c_dd1d);
        ((u128::from(number) * u128::from(end)) >> 64) as u64
    }
}
