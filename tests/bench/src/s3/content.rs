//! The bytes of objects: no two blocks of a mebibyte are the same, and none can be compressed, since a store may keep equal
//! blocks once (Garage does) or compress them.
//!
//! All blocks are one block of noise behind a stamp of their own, so an object of any size takes no memory of the client, and
//! whoever reads one can say whether it is the one that was written.

use anyhow::{bail, ensure};
use bytes::Bytes;
use sha2::{Digest as _, Sha256};

use super::sign::hex;

const BLOCK_BYTES: u64 = 1 << 20;
const STAMP_BYTES: usize = 16;

/// What objects are made of.
#[derive(Clone, Debug)]
pub(super) struct Content(Bytes);

impl Content {
    pub(super) fn new() -> Self {
        let (mut noise, mut state) = (Vec::with_capacity(BLOCK_BYTES as usize), 0x9e37_79b9_7f4a_7c15_u64);
        while noise.len() < BLOCK_BYTES as usize {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            noise.extend_from_slice(&state.to_le_bytes());
        }
        Content(noise.into())
    }

    /// The bytes of an object, in pieces.
    pub(super) fn object(&self, bytes: u64, number: u64) -> Vec<Bytes> {
        let mut pieces = Vec::new();
        for block in 0..bytes.div_ceil(BLOCK_BYTES) {
            let length = BLOCK_BYTES.min(bytes - block * BLOCK_BYTES) as usize;
            let stamp = stamp(number, block);
            let of_stamp = length.min(STAMP_BYTES);
            pieces.push(Bytes::copy_from_slice(&stamp[..of_stamp]));
            if length > of_stamp {
                pieces.push(self.0.slice(of_stamp..length));
            }
        }
        pieces
    }

    /// Compares an object with what it is to be.
    pub(super) fn check(&self, bytes: u64, number: u64) -> Check<'_> {
        Check { content: self, bytes, number, position: 0 }
    }
}

/// SHA-256 of pieces, in hexadecimal digits.
pub(super) fn digest(pieces: &[Bytes]) -> String {
    let mut sha256 = Sha256::new();
    pieces.iter().for_each(|piece| sha256.update(piece));
    hex(&sha256.finalize())
}

fn stamp(number: u64, block: u64) -> [u8; STAMP_BYTES] {
    let mut stamp = [0; STAMP_BYTES];
    stamp[..8].copy_from_slice(&number.to_le_bytes());
    stamp[8..].copy_from_slice(&block.to_le_bytes());
    stamp
}

/// An object on its way in.
pub(super) struct Check<'a> {
    content: &'a Content,
    bytes: u64,
    number: u64,
    position: u64,
}

impl Check<'_> {
    /// The next bytes of it.
    pub(super) fn feed(&mut self, mut piece: &[u8]) -> anyhow::Result<()> {
        while !piece.is_empty() {
            let (block, within) = (self.position / BLOCK_BYTES, (self.position % BLOCK_BYTES) as usize);
            let stamp = stamp(self.number, block);
            let expected = if within < STAMP_BYTES { &stamp[within..] } else { &self.content.0[within..] };
            let length = expected.len().min(piece.len());
            ensure!(
                piece[..length] == expected[..length],
                "object {} has other bytes after byte {}",
                self.number,
                self.position
            );
            self.position += length as u64;
            piece = &piece[length..];
        }
        Ok(())
    }

    /// All bytes have been fed.
    pub(super) fn finish(self) -> anyhow::Result<()> {
        if self.position != self.bytes {
            bail!("object {} has {} bytes, and is to have {}", self.number, self.position, self.bytes);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Fails if an object that was read is not compared whole, or two blocks are the same.
    #[test]
    fn an_object_is_known_by_its_bytes() {
        let content = Content::new();
        let bytes = 2 * BLOCK_BYTES + 5;
        let object = content.object(bytes, 7).concat();
        assert_eq!(object.len() as u64, bytes);
        assert_ne!(object[..BLOCK_BYTES as usize], object[BLOCK_BYTES as usize..2 * BLOCK_BYTES as usize]);
        let check = |object: &[u8], number: u64| {
            let mut check = content.check(bytes, number);
            object.chunks(100_000).try_for_each(|piece| check.feed(piece))?;
            check.finish()
        };
        check(&object, 7).unwrap();
        assert!(check(&object, 8).is_err());
        assert!(check(&object[..object.len() - 1], 7).is_err());
        for place in [20, BLOCK_BYTES as usize + 3, 2 * BLOCK_BYTES as usize + 4] {
            let mut changed = object.clone();
            changed[place] ^= 1;
            assert!(check(&changed, 7).is_err(), "{place}");
        }
        assert_eq!(content.object(4096, 1).concat().len(), 4096);
    }
}
