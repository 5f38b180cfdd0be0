//! The few messages of etcd's gRPC interface that are needed here, as bytes of Protocol Buffers.
//!
//! `rpc.proto` of etcd: `PutRequest { bytes key = 1; bytes value = 2; }`, `StatusResponse { ResponseHeader header = 1; … uint64 leader = 4; }`,
//! `ResponseHeader { … uint64 member_id = 2; }`. In gRPC each message stands behind one byte (compressed or not) and its length.

use bytes::{BufMut as _, Bytes, BytesMut};

/// A `PutRequest`, framed.
pub(crate) fn put_request(key: &[u8], value: &[u8]) -> Bytes {
    let mut message = BytesMut::with_capacity(key.len() + value.len() + 16);
    for (field, bytes) in [(1, key), (2, value)] {
        message.put_u8(field << 3 | 2);
        put_varint(&mut message, bytes.len() as u64);
        message.put_slice(bytes);
    }
    framed(&message)
}

/// A message of gRPC.
pub(crate) fn framed(message: &[u8]) -> Bytes {
    let mut frame = BytesMut::with_capacity(message.len() + 5);
    frame.put_u8(0);
    frame.put_u32(message.len() as u32);
    frame.put_slice(message);
    frame.freeze()
}

/// What a frame holds; none if it is cut short or compressed.
pub(crate) fn unframed(frame: &[u8]) -> Option<&[u8]> {
    let (head, message) = frame.split_first_chunk::<5>()?;
    let length = u32::from_be_bytes([head[1], head[2], head[3], head[4]]) as usize;
    if head[0] == 0 { message.get(..length) } else { None }
}

/// Whether the member that answers with this `StatusResponse` is the leader; none if it is no such message.
pub(crate) fn is_leader(status: &[u8]) -> Option<bool> {
    let header = fields(status)?.into_iter().find_map(|(field, value)| value.bytes().filter(|_| field == 1))?;
    let number = |fields: Vec<(u64, Value<'_>)>, wanted| {
        fields.into_iter().find_map(|(field, value)| value.number().filter(|_| field == wanted))
    };
    let member = number(fields(header)?, 2)?;
    let leader = number(fields(status)?, 4).unwrap_or(0);
    Some(leader == member)
}

enum Value<'a> {
    Number(u64),
    Bytes(&'a [u8]),
}

impl<'a> Value<'a> {
    fn number(&self) -> Option<u64> {
        if let Value::Number(number) = self { Some(*number) } else { None }
    }

    fn bytes(&self) -> Option<&'a [u8]> {
        if let Value::Bytes(bytes) = self { Some(bytes) } else { None }
    }
}

/// The fields of a message that has numbers and bytes only.
fn fields(mut message: &[u8]) -> Option<Vec<(u64, Value<'_>)>> {
    let mut fields = Vec::new();
    while !message.is_empty() {
        let tag = take_varint(&mut message)?;
        let value = match tag & 7 {
            0 => Value::Number(take_varint(&mut message)?),
            2 => {
                let length = usize::try_from(take_varint(&mut message)?).ok()?;
                Value::Bytes(message.split_off(..length)?)
            }
            _ => return None,
        };
        fields.push((tag >> 3, value));
    }
    Some(fields)
}

fn put_varint(out: &mut BytesMut, mut number: u64) {
    while number >= 0x80 {
        out.put_u8(number as u8 | 0x80);
        number >>= 7;
    }
    out.put_u8(number as u8);
}

fn take_varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut number = 0u64;
    for place in 0..10 {
        let byte = *bytes.split_off_first()?;
        number |= u64::from(byte & 0x7f) << (7 * place);
        if byte < 0x80 {
            return Some(number);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_put_is_two_fields_in_a_frame() {
        let frame = put_request(b"k", &[7; 200]);
        let mut expected = vec![0, 0, 0, 0, 206, 0x0a, 1, b'k', 0x12, 0xc8, 0x01];
        expected.extend([7; 200]);
        assert_eq!(frame, expected);
        assert_eq!(unframed(&frame), Some(&expected[5..]));
        assert_eq!(unframed(&frame[..100]), None);
        assert_eq!(unframed(&[1, 0, 0, 0, 0]), None);
    }

    #[test]
    fn a_leader_has_its_own_number() {
        // header { cluster_id: 300, member_id: 5 }, version "3", leader 5 or 6 or absent
        let status = |leader: &[u8]| [&[0x0a, 5, 0x08, 0xac, 0x02, 0x10, 5, 0x12, 1, b'3'], leader].concat();
        assert_eq!(is_leader(&status(&[0x20, 5])), Some(true));
        assert_eq!(is_leader(&status(&[0x20, 6])), Some(false));
        assert_eq!(is_leader(&status(&[])), Some(false));
        assert_eq!(is_leader(&[]), None);
        assert_eq!(is_leader(&[0x0a, 50]), None);
        assert_eq!(is_leader(&[0xff; 12]), None);
    }
}
