//! Bytes for keys and values.
//!
//! [`Key`] builds keys whose byte order is the order of their parts, so that a scan returns them sorted: integers are
//! big-endian, and a byte string of any content is escaped so that a shorter one sorts before a longer one and no part
//! can be mistaken for the next. [`Writer`] and [`Reader`] are the small codec for values: little-endian integers and
//! byte strings behind a variable-length count. Reading never panics and never allocates.
//!
//! ```
//! use recoil_sdk::encoding::{Key, Reader, Writer};
//!
//! let key = |name: &[u8], number| Key::new(b'T').bytes(name).u64(number).finish();
//! assert!(key(b"a", 2) < key(b"a", 10));
//! assert!(key(b"a", 10) < key(b"a\0", 1));
//! assert!(key(b"a\0", 1) < key(b"b", 0));
//!
//! let value = Writer::new().u8(1).bytes(b"text").finish();
//! let mut reader = Reader::new(&value);
//! assert_eq!((reader.u8()?, reader.bytes()?), (1, &b"text"[..]));
//! reader.finish()?;
//! # Ok::<(), recoil_sdk::encoding::DecodeError>(())
//! ```

/// Bytes that are not what they should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("cannot decode byte {position}: {why}")]
pub struct DecodeError {
    /// Offset in the input.
    pub position: usize,
    /// What was wrong.
    pub why: &'static str,
}

/// A key made of parts, in their order.
#[derive(Debug, Clone)]
pub struct Key(Vec<u8>);

impl Key {
    /// A key of the kind `kind`, which keeps a package's kinds of rows apart.
    pub fn new(kind: u8) -> Self {
        Key(vec![kind])
    }
    /// A byte string: zeros become `00 ff`, and `00 00` ends it.
    pub fn bytes(mut self, part: &[u8]) -> Self {
        for byte in part {
            self.0.push(*byte);
            if *byte == 0 {
                self.0.push(0xff);
            }
        }
        self.0.extend_from_slice(&[0, 0]);
        self
    }
    /// An unsigned number, in its order.
    pub fn u32(mut self, part: u32) -> Self {
        self.0.extend_from_slice(&part.to_be_bytes());
        self
    }
    /// An unsigned number, in its order.
    pub fn u64(mut self, part: u64) -> Self {
        self.0.extend_from_slice(&part.to_be_bytes());
        self
    }
    /// A signed number, in its order: negative ones first.
    pub fn i64(self, part: i64) -> Self {
        self.u64((part as u64) ^ (1 << 63))
    }
    /// A floating-point number in `total_cmp` order.
    pub fn f64(self, part: f64) -> Self {
        let bits = part.to_bits();
        self.u64(if bits >> 63 == 1 { !bits } else { bits ^ (1 << 63) })
    }
    /// The key.
    pub fn finish(self) -> Vec<u8> {
        self.0
    }
}

/// Takes the parts of a [`Key`] off its front.
#[derive(Debug, Clone)]
pub struct KeyReader<'a>(Reader<'a>);

impl<'a> KeyReader<'a> {
    /// The parts of `key`, and its kind.
    pub fn new(key: &'a [u8]) -> Result<(u8, Self), DecodeError> {
        let mut reader = Reader::new(key);
        let kind = reader.u8()?;
        Ok((kind, KeyReader(reader)))
    }
    /// A byte string.
    pub fn bytes(&mut self) -> Result<Vec<u8>, DecodeError> {
        let mut part = Vec::new();
        loop {
            match self.0.u8()? {
                0 => match self.0.u8()? {
                    0 => return Ok(part),
                    0xff => part.push(0),
                    _ => return Err(self.0.error("a zero that is neither escaped nor an end")),
                },
                byte => part.push(byte),
            }
        }
    }
    /// An unsigned number.
    pub fn u32(&mut self) -> Result<u32, DecodeError> {
        self.0.array().map(u32::from_be_bytes)
    }
    /// An unsigned number.
    pub fn u64(&mut self) -> Result<u64, DecodeError> {
        self.0.array().map(u64::from_be_bytes)
    }
    /// A signed number.
    pub fn i64(&mut self) -> Result<i64, DecodeError> {
        Ok((self.u64()? ^ (1 << 63)) as i64)
    }
    /// A floating-point number.
    pub fn f64(&mut self) -> Result<f64, DecodeError> {
        let bits = self.u64()?;
        Ok(f64::from_bits(if bits >> 63 == 1 { bits ^ (1 << 63) } else { !bits }))
    }
    /// Succeeds only when every part was read.
    pub fn finish(self) -> Result<(), DecodeError> {
        self.0.finish()
    }
}

/// Appends values to a buffer.
#[derive(Debug, Clone, Default)]
pub struct Writer(Vec<u8>);

impl Writer {
    /// An empty one.
    pub fn new() -> Self {
        Writer::default()
    }
    /// One that holds `capacity` bytes before it grows.
    pub fn with_capacity(capacity: usize) -> Self {
        Writer(Vec::with_capacity(capacity))
    }
    /// One byte.
    pub fn u8(mut self, value: u8) -> Self {
        self.0.push(value);
        self
    }
    /// Four bytes.
    pub fn u32(mut self, value: u32) -> Self {
        self.0.extend_from_slice(&value.to_le_bytes());
        self
    }
    /// Eight bytes.
    pub fn u64(mut self, value: u64) -> Self {
        self.0.extend_from_slice(&value.to_le_bytes());
        self
    }
    /// A number in one to ten bytes, small ones in few.
    pub fn count(mut self, value: u64) -> Self {
        push_count(&mut self.0, value);
        self
    }
    /// A byte string behind its length.
    pub fn bytes(mut self, value: &[u8]) -> Self {
        push_bytes(&mut self.0, value);
        self
    }
    /// What was written.
    pub fn finish(self) -> Vec<u8> {
        self.0
    }
}

/// Append a number in one to ten bytes: seven bits each, the lowest first, the top bit on all but the last.
pub fn push_count(buffer: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        buffer.push(value as u8 | 0x80);
        value >>= 7;
    }
    buffer.push(value as u8);
}

/// Append a byte string behind its length.
pub fn push_bytes(buffer: &mut Vec<u8>, value: &[u8]) {
    push_count(buffer, value.len() as u64);
    buffer.extend_from_slice(value);
}

/// Takes values off the front of a buffer.
#[derive(Debug, Clone)]
pub struct Reader<'a> {
    input: &'a [u8],
    position: usize,
}

impl<'a> Reader<'a> {
    /// A reader at the start of `input`.
    pub fn new(input: &'a [u8]) -> Self {
        Reader { input, position: 0 }
    }
    /// An error at the present position.
    pub fn error(&self, why: &'static str) -> DecodeError {
        DecodeError { position: self.position, why }
    }
    /// Bytes not yet read.
    pub fn remaining(&self) -> usize {
        self.input.len() - self.position
    }
    /// The next `length` bytes.
    pub fn raw(&mut self, length: usize) -> Result<&'a [u8], DecodeError> {
        if length > self.remaining() {
            return Err(self.error("the input ends early"));
        }
        let value = &self.input[self.position..self.position + length];
        self.position += length;
        Ok(value)
    }
    /// The next `N` bytes.
    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let raw = self.raw(N)?;
        let mut array = [0; N];
        array.copy_from_slice(raw);
        Ok(array)
    }
    /// One byte.
    pub fn u8(&mut self) -> Result<u8, DecodeError> {
        Ok(self.array::<1>()?[0])
    }
    /// Four bytes.
    pub fn u32(&mut self) -> Result<u32, DecodeError> {
        self.array().map(u32::from_le_bytes)
    }
    /// Eight bytes.
    pub fn u64(&mut self) -> Result<u64, DecodeError> {
        self.array().map(u64::from_le_bytes)
    }
    /// A number in one to ten bytes.
    pub fn count(&mut self) -> Result<u64, DecodeError> {
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = self.u8()?;
            if shift == 63 && byte > 1 {
                return Err(self.error("a number above 64 bits"));
            }
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(self.error("a number above 64 bits"))
    }
    /// A byte string behind its length.
    pub fn bytes(&mut self) -> Result<&'a [u8], DecodeError> {
        let length = self.count()?;
        let length = usize::try_from(length).map_err(|_| self.error("the input ends early"))?;
        self.raw(length)
    }
    /// Succeeds only when everything was read.
    pub fn finish(self) -> Result<(), DecodeError> {
        if self.remaining() == 0 { Ok(()) } else { Err(self.error("bytes are left over")) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_sort_as_their_parts_and_come_apart_again() {
        let strings: [&[u8]; 8] = [b"", b"\0", b"\0\0", b"\0\xff", b"\x01", b"a", b"a\0", b"ab"];
        for (left_at, left) in strings.iter().enumerate() {
            for (right_at, right) in strings.iter().enumerate() {
                let (left, right) = (Key::new(1).bytes(left).u32(9).finish(), Key::new(1).bytes(right).u32(1).finish());
                if left_at != right_at {
                    assert_eq!(left.cmp(&right), left_at.cmp(&right_at));
                }
            }
        }
        let signed = [i64::MIN, -5, -1, 0, 1, i64::MAX];
        assert!(signed.windows(2).all(|pair| Key::new(0).i64(pair[0]).finish() < Key::new(0).i64(pair[1]).finish()));
        let floats = [f64::NEG_INFINITY, -2.5, -0.0, 0.0, 1e-300, 3.0, f64::INFINITY];
        assert!(floats.windows(2).all(|pair| Key::new(0).f64(pair[0]).finish() < Key::new(0).f64(pair[1]).finish()));

        let key = Key::new(7).bytes(b"a\0b").u32(3).u64(4).i64(-5).f64(-6.5).finish();
        let (kind, mut reader) = KeyReader::new(&key).unwrap();
        assert_eq!((kind, reader.bytes().unwrap()), (7, b"a\0b".to_vec()));
        assert_eq!((reader.u32().unwrap(), reader.u64().unwrap()), (3, 4));
        assert_eq!((reader.i64().unwrap(), reader.f64().unwrap()), (-5, -6.5));
        reader.finish().unwrap();
    }

    #[test]
    fn values_survive_and_every_shorter_input_is_an_error() {
        for count in [0, 1, 127, 128, 16_383, 16_384, u64::from(u32::MAX), u64::MAX] {
            let value = Writer::new().count(count).finish();
            assert_eq!(Reader::new(&value).count(), Ok(count));
        }
        assert!(Reader::new(&[0xff; 10]).count().is_err());
        let value = Writer::new().u8(1).u32(2).u64(3).count(300).bytes(b"text").finish();
        let read = |input: &[u8]| -> Result<(), DecodeError> {
            let mut reader = Reader::new(input);
            assert_eq!(reader.u8()?, 1);
            assert_eq!(reader.u32()?, 2);
            assert_eq!(reader.u64()?, 3);
            assert_eq!(reader.count()?, 300);
            assert_eq!(reader.bytes()?, b"text");
            reader.finish()
        };
        read(&value).unwrap();
        for length in 0..value.len() {
            assert!(read(&value[..length]).is_err(), "{length}");
        }
    }
}
