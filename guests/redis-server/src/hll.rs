//! HyperLogLog: PFADD, PFCOUNT, PFMERGE, on strings in Redis' own format.
//!
//! ```text
//! HYLL | encoding (1): 0 dense, 1 sparse | unused (3) | cached count (8, top bit: invalid) | registers
//! dense     16,384 registers of 6 bits, the lowest bit first
//! sparse    00llllll zeros of length l+1 | 01llllll llllllll zeros of length l+1 | 1vvvvvll registers of value v+1, length l+1
//! ```
//!
//! The estimate is Ertl's (New cardinality estimation algorithms for HyperLogLog sketches, 2017), the hash MurmurHash64A
//! (Appleby), both as in Redis, so that counts and strings can be exchanged with it. What is written marks the cached
//! count invalid, and PFCOUNT, which is a read, does not write it. A sparse string may divide its runs in other places than
//! Redis does.
//!
//! Invariant: a string that is not one of these is refused, never misread.

use crate::bits::{load_string, store_string};
use crate::executor::Call;
use crate::keyspace::{Failure, Kind, Outcome};
use crate::request::Op;
use crate::resp::{push_integer, push_simple};

const REGISTERS: usize = 1 << INDEX_BITS;
const INDEX_BITS: u32 = 14;
/// Bits of a hash that registers count the zeros of.
const HASH_BITS: usize = 50;
const HEADER_BYTES: usize = 16;
const DENSE_BYTES: usize = HEADER_BYTES + REGISTERS * 6 / 8;
/// A sparse string above this becomes dense.
const SPARSE_BYTES_MAX: usize = 3_000 + HEADER_BYTES;
/// Largest register of a sparse string.
const SPARSE_VALUE_MAX: u8 = 32;
const NOT_A_SKETCH: &str = "WRONGTYPE Key is not a valid HyperLogLog string value.";
const CORRUPTED: &str = "INVALIDOBJ Corrupted HLL object detected";

/// The registers of a sketch.
struct Sketch {
    registers: Vec<u8>,
    dense: bool,
}

/// Run a command on sketches.
pub(crate) fn run(op: Op, call: &mut Call<'_, '_>) -> Outcome {
    match op {
        Op::PfAdd => add(call),
        Op::PfCount => count(call),
        Op::PfMerge => merge(call),
        _ => Err(Failure::Abort("ERR not a command on sketches".into())),
    }
}

impl Sketch {
    fn new() -> Self {
        Sketch { registers: vec![0; REGISTERS], dense: false }
    }

    fn decode(string: &[u8]) -> Result<Self, Failure> {
        let dense = match string.get(4) {
            Some(0) => true,
            Some(1) => false,
            _ => return Err(NOT_A_SKETCH.into()),
        };
        if string.len() < HEADER_BYTES || !string.starts_with(b"HYLL") || (dense && string.len() != DENSE_BYTES) {
            return Err(NOT_A_SKETCH.into());
        }
        let body = &string[HEADER_BYTES..];
        let registers = if dense { decode_dense(body) } else { decode_sparse(body).ok_or(CORRUPTED)? };
        Ok(Sketch { registers, dense })
    }

    /// The string; dense where it was, or where sparse does not do.
    fn encode(&self) -> Vec<u8> {
        let sparse = if self.dense { None } else { encode_sparse(&self.registers) };
        let mut string = b"HYLL".to_vec();
        string.push(u8::from(sparse.is_some()));
        string.extend_from_slice(&[0; 3]);
        string.extend_from_slice(&[0, 0, 0, 0, 0, 0, 0, 0x80]);
        string.extend_from_slice(&sparse.unwrap_or_else(|| encode_dense(&self.registers)));
        string
    }

    /// True if a register has grown.
    fn add(&mut self, element: &[u8]) -> bool {
        let hash = murmur(element);
        let register = &mut self.registers[hash as usize & (REGISTERS - 1)];
        let zeros = ((hash >> INDEX_BITS) | 1 << HASH_BITS).trailing_zeros() as u8 + 1;
        let grows = zeros > *register;
        *register = zeros.max(*register);
        grows
    }

    fn join(&mut self, other: &Sketch) {
        self.dense |= other.dense;
        self.registers.iter_mut().zip(&other.registers).for_each(|(mine, theirs)| *mine = (*mine).max(*theirs));
    }

    fn estimate(&self) -> i64 {
        let mut histogram = [0u32; 64];
        self.registers.iter().for_each(|register| histogram[usize::from(*register & 63)] += 1);
        let registers = REGISTERS as f64;
        let mut z = registers * tau((registers - f64::from(histogram[HASH_BITS + 1])) / registers);
        for zeros in (1..=HASH_BITS).rev() {
            z = (z + f64::from(histogram[zeros])) * 0.5;
        }
        z += registers * sigma(f64::from(histogram[0]) / registers);
        // 1 / (2 ln 2), to the digits that Redis has.
        (0.721_347_520_444_481_7 * registers * registers / z).round() as i64
    }
}

fn tau(mut x: f64) -> f64 {
    if x == 0.0 || x == 1.0 {
        return 0.0;
    }
    let (mut y, mut z) = (1.0, 1.0 - x);
    loop {
        x = x.sqrt();
        let before = z;
        y *= 0.5;
        z -= (1.0 - x) * (1.0 - x) * y;
        if z == before {
            return z / 3.0;
        }
    }
}

fn sigma(mut x: f64) -> f64 {
    if x == 1.0 {
        return f64::INFINITY;
    }
    let (mut y, mut z) = (1.0, x);
    loop {
        x *= x;
        let before = z;
        z += x * y;
        y += y;
        if z == before {
            return z;
        }
    }
}

fn decode_dense(body: &[u8]) -> Vec<u8> {
    (0..REGISTERS)
        .map(|register| {
            let (byte, shift) = (register * 6 / 8, register * 6 % 8);
            let pair = u16::from(body[byte]) | u16::from(body.get(byte + 1).copied().unwrap_or(0)) << 8;
            (pair >> shift) as u8 & 63
        })
        .collect()
}

fn encode_dense(registers: &[u8]) -> Vec<u8> {
    let mut body = vec![0u8; DENSE_BYTES - HEADER_BYTES];
    for (register, value) in registers.iter().enumerate() {
        let (byte, shift) = (register * 6 / 8, register * 6 % 8);
        let pair = u16::from(*value) << shift;
        body[byte] |= pair as u8;
        if let Some(next) = body.get_mut(byte + 1) {
            *next |= (pair >> 8) as u8;
        }
    }
    body
}

fn decode_sparse(body: &[u8]) -> Option<Vec<u8>> {
    let mut registers = Vec::with_capacity(REGISTERS);
    let mut bytes = body.iter();
    while let Some(byte) = bytes.next() {
        let (value, length) = match byte >> 6 {
            0 => (0, usize::from(byte & 63) + 1),
            1 => (0, (usize::from(byte & 63) << 8 | usize::from(*bytes.next()?)) + 1),
            _ => ((byte >> 2 & 31) + 1, usize::from(byte & 3) + 1),
        };
        if registers.len() + length > REGISTERS {
            return None;
        }
        registers.resize(registers.len() + length, value);
    }
    (registers.len() == REGISTERS).then_some(registers)
}

/// None if a register or the whole is too large.
fn encode_sparse(registers: &[u8]) -> Option<Vec<u8>> {
    let mut body = Vec::new();
    for run in registers.chunk_by(|left, right| left == right) {
        let value = *run.first()?;
        if value > SPARSE_VALUE_MAX {
            return None;
        }
        let mut left = run.len();
        while left > 0 {
            let length = if value == 0 { left } else { left.min(4) };
            match value {
                0 if length <= 64 => body.push((length - 1) as u8),
                0 => body.extend_from_slice(&[0x40 | ((length - 1) >> 8) as u8, (length - 1) as u8]),
                _ => body.push(0x80 | (value - 1) << 2 | (length - 1) as u8),
            }
            left -= length;
        }
        if body.len() + HEADER_BYTES > SPARSE_BYTES_MAX {
            return None;
        }
    }
    Some(body)
}

/// MurmurHash64A with Redis' seed.
fn murmur(input: &[u8]) -> u64 {
    const M: u64 = 0xc6a4_a793_5bd1_e995;
    let mut hash = 0xadc8_3b19 ^ (input.len() as u64).wrapping_mul(M);
    let mut chunks = input.chunks_exact(8);
    for chunk in &mut chunks {
        let mut word = chunk.iter().rev().fold(0u64, |word, byte| word << 8 | u64::from(*byte));
        word = word.wrapping_mul(M);
        word ^= word >> 47;
        word = word.wrapping_mul(M);
        hash = (hash ^ word).wrapping_mul(M);
    }
    let rest = chunks.remainder();
    if !rest.is_empty() {
        let word = rest.iter().rev().fold(0u64, |word, byte| word << 8 | u64::from(*byte));
        hash = (hash ^ word).wrapping_mul(M);
    }
    hash ^= hash >> 47;
    hash = hash.wrapping_mul(M);
    hash ^ hash >> 47
}

fn add(call: &mut Call<'_, '_>) -> Outcome {
    let key = call.arguments.required()?;
    let elements = call.rest()?;
    let (before, string) = load_string(call, key)?;
    let mut sketch = if before.is_some() { Sketch::decode(&string)? } else { Sketch::new() };
    let mut changed = before.is_none();
    for element in elements {
        changed |= sketch.add(element);
    }
    if changed {
        store_string(call, key, &sketch.encode(), before.as_ref())?;
    }
    push_integer(&mut call.reply, i64::from(changed));
    Ok(())
}

fn join_all(call: &mut Call<'_, '_>, keys: &[&[u8]]) -> Result<Sketch, Failure> {
    let mut joined = Sketch::new();
    for key in keys {
        let stored = call.keyspace.load(key)?;
        if let Some(stored) = stored {
            joined.join(&Sketch::decode(stored.string()?)?);
        }
    }
    Ok(joined)
}

fn count(call: &mut Call<'_, '_>) -> Outcome {
    let keys = call.rest()?;
    let joined = join_all(call, &keys)?;
    push_integer(&mut call.reply, joined.estimate());
    Ok(())
}

fn merge(call: &mut Call<'_, '_>) -> Outcome {
    let keys = call.rest()?;
    let joined = join_all(call, &keys)?;
    let Some(target) = keys.first() else { return Err(Failure::Abort("ERR PFMERGE without a key".into())) };
    let before = call.keyspace.load(target)?;
    let expire_at_us = before.as_ref().map_or(0, |before| before.expire_at_us);
    call.keyspace.store(target, Kind::String, &[&joined.encode()], expire_at_us, before.as_ref())?;
    push_simple(&mut call.reply, "OK");
    Ok(())
}
