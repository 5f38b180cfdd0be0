//! Randomness from the operating system, for identifiers.

#![allow(clippy::disallowed_methods)] // the one door to the system's randomness

/// A random non-zero number.
pub fn nonzero_u32() -> u32 {
    loop {
        let number = u32::from_le_bytes(array());
        if number != 0 {
            return number;
        }
    }
}

/// Random bytes. Panics if the operating system has none, without which nothing here can be safe.
pub fn array<const N: usize>() -> [u8; N] {
    let mut bytes = [0u8; N];
    getrandom::fill(&mut bytes).expect("the operating system's random source");
    bytes
}
