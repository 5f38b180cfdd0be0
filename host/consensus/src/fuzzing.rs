//! What the fuzz targets of `tests/fuzz` call: this room's decoders, each held to its promise on any input.
//!
//! A target never panics unless a promise is broken: a decoder answers or refuses, whatever it is given, and what it accepts
//! survives being written and read again. Deliberately absent: any other use.

use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::command::Command;
use crate::messages;
use crate::raft::TypeConfig;
use crate::repair::{PullBegin, PullNext};
use crate::snapshot::{self, Begin, Contents, Position};

/// An entry of a partition group.
pub fn command(input: &[u8]) {
    let input = Bytes::copy_from_slice(input);
    let Ok(command) = Command::decode(input.clone()) else { return };
    // Not its bytes: an answer that is not kept may have some.
    assert_eq!(Command::decode(command.encode(input.len())).as_ref(), Ok(&command));
}

/// Whatever a replica of a group is sent or answered: the first byte says which.
pub fn message(input: &[u8]) {
    use openraft::raft::{SnapshotResponse, TransferLeaderRequest, TransferLeaderResponse, VoteRequest, VoteResponse};
    let Some((kind, body)) = input.split_first() else { return };
    let body = Bytes::copy_from_slice(body);
    match kind % 15 {
        0 => append(body),
        1 => entry(body),
        2 => append_response(body),
        3 => vote(body),
        4 => log_id(body),
        5 => json::<VoteRequest<TypeConfig>>(&body),
        6 => json::<VoteResponse<TypeConfig>>(&body),
        7 => json::<TransferLeaderRequest<TypeConfig>>(&body),
        8 => json::<SnapshotResponse<TypeConfig>>(&body),
        9 => json::<TransferLeaderResponse<TypeConfig>>(&body),
        10 => begin(body),
        11 => offer(body),
        12 => json::<PullBegin>(&body),
        13 => position(&body),
        _ => json::<PullNext>(&body),
    }
}

/// Rows of a snapshot.
pub fn chunk(input: &[u8]) {
    let input = Bytes::copy_from_slice(input);
    let Ok(sections) = snapshot::decode_chunk(input) else { return };
    // Sections without rows, or two of one partition in a row, are written in another way.
    let rows = |sections: Vec<(usize, snapshot::PartitionRows)>| -> Vec<_> {
        sections.into_iter().flat_map(|(place, rows)| rows.into_iter().map(move |row| (place, row))).collect()
    };
    let again = snapshot::decode_chunk(snapshot::encode_chunk(&sections)).expect("what was written can be read");
    assert_eq!(rows(again), rows(sections));
}

// Flags and sets may be written in several ways, of which ours is one: what was read must come back, not its bytes.

fn append(body: Bytes) {
    let Ok(request) = messages::decode_append(body) else { return };
    let again = messages::decode_append(messages::encode_append(&request)).expect("what was written can be read");
    assert_eq!(format!("{again:?}"), format!("{request:?}"));
    for (entry, same) in request.entries.iter().zip(&again.entries) {
        assert_eq!(messages::encode_entry(entry), messages::encode_entry(same));
    }
}

fn entry(body: Bytes) {
    let Ok(entry) = messages::decode_entry(body.clone()) else { return };
    assert_eq!(messages::entry_log_id(&body), Ok(entry.log_id));
    let again = messages::decode_entry(messages::encode_entry(&entry)).expect("what was written can be read");
    assert_eq!(messages::encode_entry(&again), messages::encode_entry(&entry));
}

fn append_response(body: Bytes) {
    let Ok(response) = messages::decode_append_response(body) else { return };
    let again = messages::decode_append_response(messages::encode_append_response(&response));
    assert_eq!(format!("{:?}", again.expect("what was written can be read")), format!("{response:?}"));
}

fn vote(body: Bytes) {
    let Ok(vote) = messages::decode_vote(body) else { return };
    assert_eq!(messages::decode_vote(messages::encode_vote(&vote)), Ok(vote));
}

fn log_id(body: Bytes) {
    let Ok(id) = messages::decode_log_id(body.clone()) else { return };
    assert_eq!(messages::encode_log_id(&id), body);
}

fn position(body: &Bytes) {
    if let Ok((position, rest)) = Position::decode(body.clone()) {
        assert_eq!(position.encode(&rest), *body);
    }
}

fn begin(body: Bytes) {
    let Ok(begin) = Begin::decode(body) else { return };
    let written = Begin::encode(begin.transfer, begin.vote, &begin.contents);
    let again = Begin::decode(written.clone()).expect("what was written can be read");
    assert_eq!(Begin::encode(again.transfer, again.vote, &again.contents), written);
}

fn offer(body: Bytes) {
    let Ok(offer) = Contents::decode_offer(body) else { return };
    let written = offer.encode_offer();
    let again = Contents::decode_offer(written.clone()).expect("what was written can be read");
    assert_eq!(again.encode_offer(), written);
}

fn json<T: Serialize + DeserializeOwned>(body: &[u8]) {
    let Ok(value) = messages::decode_json::<T>("fuzzed", body) else { return };
    let written = messages::encode_json(&value);
    let again: T = messages::decode_json("fuzzed", &written).expect("what was written can be read");
    assert_eq!(messages::encode_json(&again), written);
}
