//! The keys of rows: where a key is in the order of its partition, and what decides its partition.

use super::{ROW_DEAD, ROW_ELEMENT, ROW_KEY, ROW_KEY_IN_SPACE};

const HASH_BYTES: usize = 5;
/// Number of bits of a position in hash order.
pub(crate) const HASH_BITS: u32 = 40;

/// The key of the dead row of a generation.
pub(crate) fn dead_row(generation: u64) -> [u8; 9] {
    let bytes = generation.to_be_bytes();
    [ROW_DEAD, bytes[0], bytes[1], bytes[2], bytes[3], bytes[4], bytes[5], bytes[6], bytes[7]]
}

/// The key of an element row.
pub(crate) fn element_row(generation: u64, part: u8, rest: &[&[u8]]) -> Vec<u8> {
    let mut row = Vec::with_capacity(ELEMENT_PREFIX_BYTES + rest.iter().map(|part| part.len()).sum::<usize>());
    row.push(ROW_ELEMENT);
    row.extend_from_slice(&generation.to_be_bytes());
    row.push(part);
    rest.iter().for_each(|part| row.extend_from_slice(part));
    row
}

/// What comes before the rest of an element row's key.
pub(crate) const ELEMENT_PREFIX_BYTES: usize = 10;

/// What the key rows of a space begin with.
pub(crate) fn space_prefix(space: u8) -> Vec<u8> {
    if space == 0 { vec![ROW_KEY] } else { vec![ROW_KEY_IN_SPACE, space] }
}

/// What the row keys of a position in a space begin with.
pub(crate) fn row_prefix(space: u8, position: u64) -> Vec<u8> {
    let mut prefix = Vec::with_capacity(2 + HASH_BYTES);
    push_row_prefix(&mut prefix, space, position);
    prefix
}

/// Append what the row keys of a position in a space begin with.
pub(super) fn push_row_prefix(out: &mut Vec<u8>, space: u8, position: u64) {
    if space == 0 {
        out.push(ROW_KEY);
    } else {
        out.extend_from_slice(&[ROW_KEY_IN_SPACE, space]);
    }
    out.extend_from_slice(&position.to_be_bytes()[8 - HASH_BYTES..]);
}

/// The key in a key row's key, and its position; none if the row is not one.
pub(crate) fn key_of_row(row_key: &[u8]) -> Option<(u64, &[u8])> {
    let rest = match row_key {
        [ROW_KEY, rest @ ..] | [ROW_KEY_IN_SPACE, _, rest @ ..] => rest,
        _ => return None,
    };
    let (hash, key) = rest.split_at_checked(HASH_BYTES)?;
    Some((hash.iter().fold(0, |position, byte| position << 8 | u64::from(*byte)), key))
}

/// Where a key is in hash order: 40 bits.
pub(crate) fn position(key: &[u8]) -> u64 {
    siphash(0x7265_636f_696c_2f72, 0x6564_6973_2f6b_6579, key) >> (64 - HASH_BITS)
}

/// SipHash-2-4 (Aumasson and Bernstein, 2012). It is here because it is part of the format of the rows: the standard
/// library's may change.
pub(crate) fn siphash(k0: u64, k1: u64, input: &[u8]) -> u64 {
    let mut v = [
        k0 ^ 0x736f_6d65_7073_6575,
        k1 ^ 0x646f_7261_6e64_6f6d,
        k0 ^ 0x6c79_6765_6e65_7261,
        k1 ^ 0x7465_6462_7974_6573,
    ];
    let mut chunks = input.chunks_exact(8);
    for chunk in &mut chunks {
        let word = chunk.iter().rev().fold(0u64, |word, byte| word << 8 | u64::from(*byte));
        sip_absorb(&mut v, word);
    }
    let last = chunks.remainder().iter().rev().fold(0u64, |word, byte| word << 8 | u64::from(*byte));
    sip_absorb(&mut v, last | (input.len() as u64) << 56);
    v[2] ^= 0xff;
    (0..4).for_each(|_| sip_round(&mut v));
    v[0] ^ v[1] ^ v[2] ^ v[3]
}

#[inline]
fn sip_absorb(v: &mut [u64; 4], word: u64) {
    v[3] ^= word;
    sip_round(v);
    sip_round(v);
    v[0] ^= word;
}

#[inline]
fn sip_round(v: &mut [u64; 4]) {
    v[0] = v[0].wrapping_add(v[1]);
    v[1] = v[1].rotate_left(13) ^ v[0];
    v[0] = v[0].rotate_left(32);
    v[2] = v[2].wrapping_add(v[3]);
    v[3] = v[3].rotate_left(16) ^ v[2];
    v[0] = v[0].wrapping_add(v[3]);
    v[3] = v[3].rotate_left(21) ^ v[0];
    v[2] = v[2].wrapping_add(v[1]);
    v[1] = v[1].rotate_left(17) ^ v[2];
    v[2] = v[2].rotate_left(32);
}

/// The part of a key that decides its partition: what is between the first `{` and the next `}`, if there is something.
pub(crate) fn hash_tag(key: &[u8]) -> &[u8] {
    let Some(open) = key.iter().position(|byte| *byte == b'{') else { return key };
    match key[open + 1..].iter().position(|byte| *byte == b'}') {
        None | Some(0) => key,
        Some(length) => &key[open + 1..open + 1 + length],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_is_the_published_one() {
        let key: Vec<u8> = (0..16).collect();
        let half = |at: usize| u64::from_le_bytes(key[at..at + 8].try_into().unwrap());
        let input: Vec<u8> = (0..15).collect();
        // The test values of the paper's appendix and of its reference implementation.
        assert_eq!(siphash(half(0), half(8), &input), 0xa129_ca61_49be_45e5);
        assert_eq!(siphash(half(0), half(8), &[]), 0x726f_db47_dd0e_0e31);
    }

    #[test]
    fn hash_tags_are_those_of_redis_cluster() {
        for (key, tag) in [
            ("user1000", "user1000"),
            ("{user1000}.following", "user1000"),
            ("foo{}{bar}", "foo{}{bar}"),
            ("foo{{bar}}zap", "{bar"),
            ("foo{bar}{zap}", "bar"),
            ("foo{bar", "foo{bar"),
        ] {
            assert_eq!(hash_tag(key.as_bytes()), tag.as_bytes(), "{key}");
        }
    }
}
