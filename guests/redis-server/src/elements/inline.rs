//! Elements one after the other in the payload of a key row, in the order of insertion.
//!
//! Invariant: every element is there once; its value follows it, as the kind of the collection has one.

use recoil_sdk::encoding::{DecodeError, Reader, push_bytes};

use crate::keyspace::{Failure, Kind, Outcome, damaged};

/// An element and its value.
type Entry<'a> = (&'a [u8], &'a [u8]);

/// Iterates over inline elements.
pub(super) struct InlineElements<'a> {
    pub(super) kind: Kind,
    pub(super) reader: Reader<'a>,
}

impl<'a> InlineElements<'a> {
    /// The next element and its value.
    pub(super) fn next(&mut self) -> Result<Option<Entry<'a>>, Failure> {
        if self.reader.remaining() == 0 {
            return Ok(None);
        }
        self.decode().map(Some).map_err(damaged)
    }

    fn decode(&mut self) -> Result<Entry<'a>, DecodeError> {
        let element = self.reader.bytes()?;
        let value = match self.kind {
            Kind::Hash => self.reader.bytes()?,
            Kind::SortedSet => self.reader.raw(8)?,
            _ => &[],
        };
        Ok((element, value))
    }
}

pub(super) fn push_inline(out: &mut Vec<u8>, kind: Kind, element: &[u8], value: &[u8]) {
    push_bytes(out, element);
    match kind {
        Kind::Hash => push_bytes(out, value),
        Kind::SortedSet => out.extend_from_slice(value),
        _ => {}
    }
}

/// Replace or append.
pub(super) fn put_inline(kind: Kind, elements: &mut Vec<u8>, element: &[u8], value: &[u8]) -> Outcome {
    let (_, start, end) = find_inline(kind, elements, element)?;
    let mut entry = Vec::with_capacity(element.len() + value.len() + 4);
    push_inline(&mut entry, kind, element, value);
    elements.splice(start..end, entry);
    Ok(())
}

pub(super) fn remove_inline(kind: Kind, elements: &mut Vec<u8>, element: &[u8]) -> Result<Option<Vec<u8>>, Failure> {
    let (old, start, end) = find_inline(kind, elements, element)?;
    if old.is_some() {
        elements.drain(start..end);
    }
    Ok(old)
}

/// The value of an element and the range of both; the end when it is not there.
fn find_inline(kind: Kind, elements: &[u8], element: &[u8]) -> Result<(Option<Vec<u8>>, usize, usize), Failure> {
    let mut reader = InlineElements { kind, reader: Reader::new(elements) };
    loop {
        let start = elements.len() - reader.reader.remaining();
        match reader.next()? {
            None => return Ok((None, start, start)),
            Some((candidate, value)) if candidate == element => {
                return Ok((Some(value.to_vec()), start, elements.len() - reader.reader.remaining()));
            }
            Some(_) => {}
        }
    }
}
