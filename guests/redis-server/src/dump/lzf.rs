//! LZF, the compression of strings in Redis' snapshots: decompression alone, since payloads are written plain.
//!
//! ```text
//! 000lllll                          l + 1 bytes follow as they are
//! llloooooo oooooooo                l + 2 bytes from o + 1 bytes back
//! 111ooooo llllllll oooooooo        l + 9 bytes from o + 1 bytes back
//! ```

use super::rdb::Damage;

/// What a byte of compressed input can become at most: three bytes make 264.
const EXPANSION_MAX: u64 = 88;

/// The `length` bytes that were compressed.
pub(super) fn decompress(input: &[u8], length: u64) -> Result<Vec<u8>, Damage> {
    if length > input.len() as u64 * EXPANSION_MAX {
        return Err(Damage);
    }
    let length = usize::try_from(length).map_err(|_| Damage)?;
    let mut out = Vec::new();
    let mut input = input.iter();
    while let Some(control) = input.next() {
        let control = usize::from(*control);
        if control < 32 {
            let (literal, rest) = input.as_slice().split_at_checked(control + 1).ok_or(Damage)?;
            out.extend_from_slice(literal);
            input = rest.iter();
        } else {
            let mut count = control >> 5;
            if count == 7 {
                count += usize::from(*input.next().ok_or(Damage)?);
            }
            let back = (control & 31) << 8 | usize::from(*input.next().ok_or(Damage)?);
            let from = out.len().checked_sub(back + 1).ok_or(Damage)?;
            // What is copied may overlap what it makes.
            for at in from..from + count + 2 {
                let byte = out[at];
                out.push(byte);
            }
        }
        if out.len() > length {
            return Err(Damage);
        }
    }
    if out.len() == length { Ok(out) } else { Err(Damage) }
}
