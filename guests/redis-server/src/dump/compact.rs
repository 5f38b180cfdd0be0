//! The compact encodings of small collections: ziplist, listpack, intset and zipmap. Each is one string, read to its end.
//!
//! Integers become their decimal text. Invariant: lengths and counts in the headers are those of the contents; the lengths that
//! entries have at their ends, for walks backwards, are right.

use super::rdb::{Damage, ITEM_BYTES, Input};
use crate::numbers::{parse_i64, push_i64};

const END: u8 = 255;
/// A count that says nothing: as many as there are.
const COUNT_UNKNOWN: u16 = u16::MAX;

fn text(number: i64) -> Vec<u8> {
    let mut text = Vec::new();
    push_i64(&mut text, number);
    text
}

fn i24(bytes: [u8; 3]) -> i64 {
    i64::from(i32::from_le_bytes([0, bytes[0], bytes[1], bytes[2]]) >> 8)
}

/// `bytes (4) | offset of the last entry (4) | count (2) | entries | 255`.
pub(super) fn ziplist(blob: &[u8]) -> Result<Vec<Vec<u8>>, Damage> {
    let mut input = Input::new(blob);
    let (bytes, tail) = (u32::from_le_bytes(input.array()?), u32::from_le_bytes(input.array()?));
    let count = u16::from_le_bytes(input.array()?);
    if bytes as usize != blob.len() {
        return Err(Damage);
    }
    let (mut items, mut before, mut last) = (Vec::new(), 0, blob.len() - input.0.len());
    while *input.0.first().ok_or(Damage)? != END {
        let start = blob.len() - input.0.len();
        let previous = match input.byte()? {
            254 => u32::from_le_bytes(input.array()?),
            length => u32::from(length),
        };
        if previous as usize != before {
            return Err(Damage);
        }
        input.charge(ITEM_BYTES)?;
        items.push(ziplist_item(&mut input)?);
        before = blob.len() - input.0.len() - start;
        last = start;
    }
    let whole = input.0.len() == 1 && tail as usize == last;
    if whole && (count == COUNT_UNKNOWN || usize::from(count) == items.len()) { Ok(items) } else { Err(Damage) }
}

fn ziplist_item(input: &mut Input<'_>) -> Result<Vec<u8>, Damage> {
    let first = input.byte()?;
    let length = match first >> 6 {
        0 => u64::from(first & 0x3f),
        1 => u64::from(first & 0x3f) << 8 | u64::from(input.byte()?),
        2 => u64::from(u32::from_be_bytes(input.array()?)),
        _ => {
            return Ok(text(match first {
                0xc0 => i64::from(i16::from_le_bytes(input.array()?)),
                0xd0 => i64::from(i32::from_le_bytes(input.array()?)),
                0xe0 => i64::from_le_bytes(input.array()?),
                0xf0 => i24(input.array()?),
                0xfe => i64::from(i8::from_le_bytes(input.array()?)),
                0xf1..=0xfd => i64::from(first & 0x0f) - 1,
                _ => return Err(Damage),
            }));
        }
    };
    Ok(input.raw(length)?.to_vec())
}

/// `bytes (4) | count (2) | elements | 255`.
pub(super) fn listpack(blob: &[u8]) -> Result<Vec<Vec<u8>>, Damage> {
    let mut input = Input::new(blob);
    let (bytes, count) = (u32::from_le_bytes(input.array()?), u16::from_le_bytes(input.array()?));
    if bytes as usize != blob.len() {
        return Err(Damage);
    }
    let mut items = Vec::new();
    while *input.0.first().ok_or(Damage)? != END {
        let before = input.0.len();
        input.charge(ITEM_BYTES)?;
        items.push(listpack_item(&mut input)?);
        let mut length = Vec::new();
        push_back_length(&mut length, before - input.0.len());
        if input.raw(length.len() as u64)? != length {
            return Err(Damage);
        }
    }
    let whole = input.0.len() == 1;
    if whole && (count == COUNT_UNKNOWN || usize::from(count) == items.len()) { Ok(items) } else { Err(Damage) }
}

fn listpack_item(input: &mut Input<'_>) -> Result<Vec<u8>, Damage> {
    let first = input.byte()?;
    let length = match first {
        0..0x80 => return Ok(text(i64::from(first))),
        0x80..0xc0 => u64::from(first & 0x3f),
        0xc0..0xe0 => {
            let number = i64::from(first & 0x1f) << 8 | i64::from(input.byte()?);
            return Ok(text(if number < 1 << 12 { number } else { number - (1 << 13) }));
        }
        0xe0..0xf0 => u64::from(first & 0x0f) << 8 | u64::from(input.byte()?),
        0xf0 => u64::from(u32::from_le_bytes(input.array()?)),
        0xf1 => return Ok(text(i64::from(i16::from_le_bytes(input.array()?)))),
        0xf2 => return Ok(text(i24(input.array()?))),
        0xf3 => return Ok(text(i64::from(i32::from_le_bytes(input.array()?)))),
        0xf4 => return Ok(text(i64::from_le_bytes(input.array()?))),
        _ => return Err(Damage),
    };
    Ok(input.raw(length)?.to_vec())
}

/// The length of an element as it stands behind it: seven bits a byte, the highest first, a bit on all but the first.
fn push_back_length(out: &mut Vec<u8>, length: usize) {
    // These are Redis' limits, one less than what there would be room for.
    let bytes = match length {
        0..=127 => 1,
        128..16_383 => 2,
        16_383..2_097_151 => 3,
        2_097_151..268_435_455 => 4,
        _ => 5,
    };
    for at in (0..bytes).rev() {
        let more = if at + 1 == bytes { 0 } else { 0x80 };
        out.push((length >> (7 * at)) as u8 & 0x7f | more);
    }
}

/// `bytes of a number (4) | count (4) | numbers`, which ascend.
pub(super) fn intset(blob: &[u8]) -> Result<Vec<Vec<u8>>, Damage> {
    let mut input = Input::new(blob);
    let (size, count) = (u32::from_le_bytes(input.array()?), u32::from_le_bytes(input.array()?));
    let (mut members, mut last) = (Vec::new(), None);
    for _ in 0..count {
        let number = match size {
            2 => i64::from(i16::from_le_bytes(input.array()?)),
            4 => i64::from(i32::from_le_bytes(input.array()?)),
            8 => i64::from_le_bytes(input.array()?),
            _ => return Err(Damage),
        };
        if last.is_some_and(|last| last >= number) {
            return Err(Damage);
        }
        last = Some(number);
        input.charge(ITEM_BYTES)?;
        members.push(text(number));
    }
    if input.0.is_empty() { Ok(members) } else { Err(Damage) }
}

/// `count (1) | (length | name | length | unused bytes (1) | value | unused)… | 255`.
pub(super) fn zipmap(blob: &[u8]) -> Result<Vec<Vec<u8>>, Damage> {
    fn length(input: &mut Input<'_>) -> Result<u64, Damage> {
        match input.byte()? {
            254 => Ok(u64::from(u32::from_le_bytes(input.array()?))),
            END => Err(Damage),
            length => Ok(u64::from(length)),
        }
    }
    let mut input = Input::new(blob);
    let (count, mut items) = (input.byte()?, Vec::new());
    while *input.0.first().ok_or(Damage)? != END {
        input.charge(2 * ITEM_BYTES)?;
        let name = length(&mut input)?;
        items.push(input.raw(name)?.to_vec());
        let value = length(&mut input)?;
        let unused = input.byte()?;
        items.push(input.raw(value)?.to_vec());
        input.raw(u64::from(unused))?;
    }
    let whole = input.0.len() == 1;
    if whole && (count >= 254 || usize::from(count) * 2 == items.len()) { Ok(items) } else { Err(Damage) }
}

/// Makes a listpack.
pub(super) struct Listpack {
    bytes: Vec<u8>,
    count: usize,
}

impl Listpack {
    pub(super) fn new() -> Self {
        Listpack { bytes: vec![0; 6], count: 0 }
    }

    fn finish_item(&mut self, start: usize) {
        let length = self.bytes.len() - start;
        push_back_length(&mut self.bytes, length);
        self.count += 1;
    }

    pub(super) fn push_integer(&mut self, number: i64) {
        let start = self.bytes.len();
        if let 0..=127 = number {
            self.bytes.push(number as u8);
        } else if let -4096..=4095 = number {
            let bits = (number & 0x1fff) as u16 | 0xc000;
            self.bytes.extend_from_slice(&bits.to_be_bytes());
        } else if let Ok(number) = i16::try_from(number) {
            self.bytes.push(0xf1);
            self.bytes.extend_from_slice(&number.to_le_bytes());
        } else if let Ok(number) = i32::try_from(number) {
            self.bytes.push(0xf3);
            self.bytes.extend_from_slice(&number.to_le_bytes());
        } else {
            self.bytes.push(0xf4);
            self.bytes.extend_from_slice(&number.to_le_bytes());
        }
        self.finish_item(start);
    }

    /// A string; what is an integer's text becomes one, as Redis does it.
    pub(super) fn push_string(&mut self, string: &[u8]) {
        if let Some(number) = parse_i64(string) {
            return self.push_integer(number);
        }
        let start = self.bytes.len();
        match string.len() {
            length @ 0..64 => self.bytes.push(length as u8 | 0x80),
            length @ 64..4096 => self.bytes.extend_from_slice(&(length as u16 | 0xe000).to_be_bytes()),
            length => {
                self.bytes.push(0xf0);
                self.bytes.extend_from_slice(&(length as u32).to_le_bytes());
            }
        }
        self.bytes.extend_from_slice(string);
        self.finish_item(start);
    }

    pub(super) fn finish(mut self) -> Vec<u8> {
        self.bytes.push(END);
        let length = self.bytes.len() as u32;
        self.bytes[..4].copy_from_slice(&length.to_le_bytes());
        let count = u16::try_from(self.count).unwrap_or(COUNT_UNKNOWN);
        self.bytes[4..6].copy_from_slice(&count.to_le_bytes());
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_listpack_is_made_of_comes_out_again() {
        let numbers =
            [0, 1, 127, 128, -1, 4095, -4096, 4096, -4097, 32767, 32768, i64::from(i32::MIN), 1 << 40, i64::MIN];
        let strings: Vec<Vec<u8>> =
            [0, 1, 63, 64, 123, 126, 4095, 4096, 16_378, 16_380, 20_000].map(|length| vec![b'x'; length]).into();
        let mut pack = Listpack::new();
        numbers.iter().for_each(|number| pack.push_integer(*number));
        strings.iter().for_each(|string| pack.push_string(string));
        let pack = pack.finish();
        let expected: Vec<Vec<u8>> = numbers.iter().map(|number| text(*number)).chain(strings).collect();
        assert_eq!(listpack(&pack), Ok(expected));
        for cut in 0..pack.len() {
            assert_eq!(listpack(&pack[..cut]), Err(Damage), "cut at {cut}");
        }
    }
}
