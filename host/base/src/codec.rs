//! The binary form of what goes to disk and between nodes: little-endian integers, and byte strings behind a 32-bit
//! length. Reading never panics and never allocates more than the input holds, whatever the input is.

use bytes::{BufMut, Bytes, BytesMut};

/// Input that ends early or says something impossible.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("cannot decode {what} at byte {position}: {why}")]
pub struct DecodeError {
    /// What was being read.
    pub what: &'static str,
    /// Offset in the input.
    pub position: usize,
    /// What was wrong.
    pub why: &'static str,
}

/// Appends values to a growing buffer.
#[derive(Debug, Default)]
pub struct Writer {
    buffer: BytesMut,
}

impl Writer {
    /// A writer whose buffer holds `capacity` bytes before it grows.
    pub fn with_capacity(capacity: usize) -> Self {
        Writer { buffer: BytesMut::with_capacity(capacity) }
    }
    /// One byte.
    pub fn u8(&mut self, value: u8) -> &mut Self {
        self.buffer.put_u8(value);
        self
    }
    /// Two bytes.
    pub fn u16(&mut self, value: u16) -> &mut Self {
        self.buffer.put_u16_le(value);
        self
    }
    /// Four bytes.
    pub fn u32(&mut self, value: u32) -> &mut Self {
        self.buffer.put_u32_le(value);
        self
    }
    /// Eight bytes.
    pub fn u64(&mut self, value: u64) -> &mut Self {
        self.buffer.put_u64_le(value);
        self
    }
    /// A byte string behind its 32-bit length. Panics above 4 GiB, which no bounded value reaches.
    pub fn bytes(&mut self, value: &[u8]) -> &mut Self {
        self.u32(u32::try_from(value.len()).expect("a value below 4 GiB"));
        self.buffer.put_slice(value);
        self
    }
    /// Bytes without a length.
    pub fn raw(&mut self, value: &[u8]) -> &mut Self {
        self.buffer.put_slice(value);
        self
    }
    /// Bytes written so far.
    pub fn len(&self) -> usize {
        self.buffer.len()
    }
    /// True before the first write.
    pub fn is_empty(&self) -> bool {
        self.buffer.is_empty()
    }
    /// Overwrite four bytes written earlier, for counts known only afterwards.
    pub fn set_u32(&mut self, position: usize, value: u32) {
        self.buffer[position..position + 4].copy_from_slice(&value.to_le_bytes());
    }
    /// What was written.
    pub fn finish(self) -> Bytes {
        self.buffer.freeze()
    }
}

/// Takes values off the front of a buffer without copying byte strings.
#[derive(Debug, Clone)]
pub struct Reader {
    what: &'static str,
    input: Bytes,
    position: usize,
}

impl Reader {
    /// A reader over `input`; `what` names it in errors.
    pub fn new(what: &'static str, input: Bytes) -> Self {
        Reader { what, input, position: 0 }
    }
    /// An error at the present position.
    pub fn error(&self, why: &'static str) -> DecodeError {
        DecodeError { what: self.what, position: self.position, why }
    }
    /// Bytes not yet read.
    pub fn remaining(&self) -> usize {
        self.input.len() - self.position
    }
    /// The next `length` bytes, sharing the input's memory.
    pub fn raw(&mut self, length: usize) -> Result<Bytes, DecodeError> {
        if length > self.remaining() {
            return Err(self.error("the input ends early"));
        }
        let value = self.input.slice(self.position..self.position + length);
        self.position += length;
        Ok(value)
    }
    fn array<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        if N > self.remaining() {
            return Err(self.error("the input ends early"));
        }
        let mut value = [0u8; N];
        value.copy_from_slice(&self.input[self.position..self.position + N]);
        self.position += N;
        Ok(value)
    }
    /// One byte.
    pub fn u8(&mut self) -> Result<u8, DecodeError> {
        Ok(self.array::<1>()?[0])
    }
    /// Two bytes.
    pub fn u16(&mut self) -> Result<u16, DecodeError> {
        self.array().map(u16::from_le_bytes)
    }
    /// Four bytes.
    pub fn u32(&mut self) -> Result<u32, DecodeError> {
        self.array().map(u32::from_le_bytes)
    }
    /// Eight bytes.
    pub fn u64(&mut self) -> Result<u64, DecodeError> {
        self.array().map(u64::from_le_bytes)
    }
    /// A byte string behind its 32-bit length.
    pub fn bytes(&mut self) -> Result<Bytes, DecodeError> {
        let length = self.u32()? as usize;
        self.raw(length)
    }
    /// A UTF-8 string behind its 32-bit length.
    pub fn string(&mut self) -> Result<String, DecodeError> {
        let bytes = self.bytes()?;
        String::from_utf8(bytes.to_vec()).map_err(|_| self.error("a text is not UTF-8"))
    }
    /// A count of things that take at least `size_min` bytes each, so that it may be trusted for an allocation.
    pub fn count(&mut self, size_min: usize) -> Result<usize, DecodeError> {
        let count = self.u32()? as usize;
        if count.saturating_mul(size_min.max(1)) > self.remaining() {
            return Err(self.error("a count is larger than the input"));
        }
        Ok(count)
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
    fn values_survive_and_every_shorter_input_is_an_error() {
        let mut writer = Writer::default();
        writer.u8(1).u16(2).u32(3).u64(4).bytes(b"five").bytes("sïx".as_bytes());
        let encoded = writer.finish();
        let read = |input: Bytes| -> Result<(), DecodeError> {
            let mut reader = Reader::new("test", input);
            assert_eq!(reader.u8()?, 1);
            assert_eq!(reader.u16()?, 2);
            assert_eq!(reader.u32()?, 3);
            assert_eq!(reader.u64()?, 4);
            assert_eq!(&reader.bytes()?[..], b"five");
            assert_eq!(reader.string()?, "sïx");
            reader.finish()
        };
        read(encoded.clone()).unwrap();
        for length in 0..encoded.len() {
            assert!(read(encoded.slice(..length)).is_err(), "{length}");
        }
        let mut reader = Reader::new("test", Bytes::from_static(&[255, 255, 255, 255, 0]));
        assert!(reader.count(1).is_err());
    }
}
