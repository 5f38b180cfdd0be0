//! What the fuzz targets of `tests/fuzz` call: this room's decoders, each held to its promise on any input.
//!
//! A target never panics unless a promise is broken: a decoder answers or refuses, whatever it is given, and what it accepts
//! survives being written and read again. Deliberately absent: any other use.

use std::collections::BTreeMap;

use bytes::{Bytes, BytesMut};
use futures::FutureExt as _;
use recoil_base::Reader;
use recoil_engine::call::{decode_page, decode_values};

use crate::calls::{Batch, decode_answers, decode_piece, encode_answers, encode_piece};
use crate::meta::{MetaCommand, MetaState};
use crate::{peer, topics};

/// A stream from another node, after the magic: its hello and as many frames as there are.
pub fn stream(input: &[u8]) {
    let mut rest = input;
    // Everything is there already: reading never waits.
    let Some(Ok(hello)) = peer::read_hello(&mut rest).now_or_never() else { return };
    let mut written = Vec::new();
    peer::write_hello(&mut written, &hello).now_or_never().expect("a vector takes all").expect("it is JSON again");
    let again = peer::read_hello(&mut &written[peer::MAGIC.len()..]).now_or_never();
    let again = again.expect("all of it is there");
    if written.len() < peer::HELLO_BYTES_MAX as usize {
        assert_eq!(format!("{:?}", again.expect("what was written can be read")), format!("{hello:?}"));
    }
    while let Some(Ok(frame)) = peer::read_frame(&mut rest, peer::FRAME_BYTES_MAX).now_or_never() {
        let mut written = BytesMut::new();
        peer::Outgoing { kind: frame.kind, id: frame.id, service: None, body: frame.body.clone() }.write(&mut written);
        let again = peer::read_frame(&mut &written[..], peer::FRAME_BYTES_MAX).now_or_never();
        let again = again.expect("all of it is there").expect("what was written can be read");
        assert_eq!((again.kind, again.id, again.body), (frame.kind, frame.id, frame.body));
    }
}

/// Routed calls, their answers, what the answers of storage calls hold, published messages, and the answers of transactions: the first
/// byte says which.
pub fn calls(input: &[u8]) {
    let Some((kind, body)) = input.split_first() else { return };
    let body = Bytes::copy_from_slice(body);
    match kind % 6 {
        0 => {
            let Ok(batch) = Batch::decode(body) else { return };
            let again = Batch::decode(batch.encode()).expect("what was written can be read");
            assert_eq!(format!("{again:?}"), format!("{batch:?}"));
        }
        1 => {
            let Ok(answered) = decode_piece(body.clone()) else { return };
            assert_eq!(encode_piece(&answered), body, "{answered:?}");
        }
        2 => drop(decode_values(body)),
        3 => drop(decode_page(body)),
        5 => {
            let Ok(answers) = decode_answers(body.clone()) else { return };
            assert_eq!(encode_answers(&answers), body, "{answers:?}");
        }
        _ => {
            let Ok((app, messages)) = topics::decode(body) else { return };
            let again = topics::encode(app, &messages).into_iter();
            let again = again.flat_map(|batch| topics::decode(batch).expect("what was written can be read").1);
            assert_eq!(again.collect::<Vec<_>>(), messages);
        }
    }
}

/// Entries of the meta group, `length u32 | entry` each, applied one after the other, and rows. A command that is refused changes nothing
/// but the index, an entry writes exactly the rows that differ, and every state survives as its rows.
pub fn meta(input: &[u8]) {
    let mut reader = Reader::new("fuzzed entries", Bytes::copy_from_slice(input));
    let mut state = MetaState::default();
    let mut stored: BTreeMap<Bytes, Bytes> = BTreeMap::new();
    let mut index = 0;
    while let Ok(entry) = reader.bytes() {
        let Ok(command) = MetaCommand::decode(&entry) else {
            assert!(state.apply_entry(index, &entry, |_, _| {}).is_err(), "what cannot be read is not applied");
            continue;
        };
        let again = MetaCommand::decode(&command.encode()).expect("what was written can be read");
        assert_eq!(format!("{again:?}"), format!("{command:?}"));
        // Makes lists as long as it says, which is what it is for: a founding that says more is not tried.
        if matches!(command, MetaCommand::Found { partitions, .. } if partitions > 1000) {
            continue;
        }
        index += 1;
        let before = state.clone();
        let applied = state.apply_entry(index, &entry, |key, value| {
            match value {
                Some(value) => stored.insert(key.encode(), value),
                None => stored.remove(&key.encode()),
            };
        });
        let Ok(reply) = applied else {
            assert!(state == before, "what stops the node has changed nothing");
            return;
        };
        if reply.is_err() {
            let mut expected = before;
            expected.header.index = index;
            assert!(state == expected, "a refused command changed the state: {reply:?}");
        }
        let rows: BTreeMap<Bytes, Bytes> =
            state.row_keys().iter().filter_map(|key| Some((key.encode(), state.row(key)?))).collect();
        assert_eq!(rows, stored, "the rows written are those of the state");
        let again = MetaState::load(stored.clone()).expect("a state can be read again");
        assert!(again == state, "a state survives as its rows");
    }
    // Rows as a damaged disk may have them.
    let mut reader = Reader::new("fuzzed rows", Bytes::copy_from_slice(input));
    let mut rows = Vec::new();
    while let (Ok(key), Ok(value)) = (reader.bytes(), reader.bytes()) {
        rows.push((key, value));
    }
    drop(MetaState::load(rows));
}
