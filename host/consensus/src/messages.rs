//! How log entries and Raft's messages are written as bytes. The log and the network share the form of an entry.
//!
//! Entries and appends, the hot path, are laid out by hand; votes and the like are JSON, so that a later version
//! may add fields.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use openraft::EntryPayload;
use openraft::raft::{AppendEntriesRequest, AppendEntriesResponse};
use recoil_base::{DecodeError, NodeId, Reader, Writer};
use serde::de::DeserializeOwned;

use crate::raft::{Entry, LeaderId, LogId, Membership, Payload, TypeConfig, Vote};

/// Terms and indexes count events; a number above this is nonsense, and adding one to it must not overflow.
pub(crate) const NUMBER_MAX: u64 = 1 << 60;

const BLANK: u8 = 0;
const NORMAL: u8 = 1;
const MEMBERSHIP: u8 = 2;

pub(crate) fn write_log_id(writer: &mut Writer, id: &LogId) {
    writer.u64(id.leader_id.term).u32(id.leader_id.node_id.0).u64(id.index);
}

pub(crate) fn read_log_id(reader: &mut Reader) -> Result<LogId, DecodeError> {
    let (term, node_id, index) = (reader.u64()?, NodeId(reader.u32()?), reader.u64()?);
    if term > NUMBER_MAX || index > NUMBER_MAX {
        return Err(reader.error("a term or an index that no log reaches"));
    }
    Ok(LogId { leader_id: LeaderId { term, node_id }, index })
}

fn write_option_log_id(writer: &mut Writer, id: Option<&LogId>) {
    match id {
        None => {
            writer.u8(0);
        }
        Some(id) => {
            writer.u8(1);
            write_log_id(writer, id);
        }
    }
}

fn read_option_log_id(reader: &mut Reader) -> Result<Option<LogId>, DecodeError> {
    match reader.u8()? {
        0 => Ok(None),
        1 => read_log_id(reader).map(Some),
        _ => Err(reader.error("an option is neither absent nor present")),
    }
}

fn write_vote(writer: &mut Writer, vote: &Vote) {
    writer.u64(vote.leader_id.term).u32(vote.leader_id.node_id.0).u8(u8::from(vote.committed));
}

fn read_vote(reader: &mut Reader) -> Result<Vote, DecodeError> {
    let (term, node_id, committed) = (reader.u64()?, NodeId(reader.u32()?), reader.u8()? != 0);
    if term > NUMBER_MAX {
        return Err(reader.error("a term that no group reaches"));
    }
    Ok(Vote { leader_id: LeaderId { term, node_id }, committed })
}

pub(crate) fn encode_log_id(id: &LogId) -> Bytes {
    let mut writer = Writer::with_capacity(20);
    write_log_id(&mut writer, id);
    writer.finish()
}

pub(crate) fn decode_log_id(bytes: Bytes) -> Result<LogId, DecodeError> {
    let mut reader = Reader::new("log id", bytes);
    let id = read_log_id(&mut reader)?;
    reader.finish()?;
    Ok(id)
}

pub(crate) fn encode_vote(vote: &Vote) -> Bytes {
    let mut writer = Writer::with_capacity(13);
    write_vote(&mut writer, vote);
    writer.finish()
}

pub(crate) fn decode_vote(bytes: Bytes) -> Result<Vote, DecodeError> {
    let mut reader = Reader::new("vote", bytes);
    let vote = read_vote(&mut reader)?;
    reader.finish()?;
    Ok(vote)
}

fn write_membership(writer: &mut Writer, membership: &Membership) {
    let configs = membership.get_joint_config();
    writer.u32(configs.len() as u32);
    for config in configs {
        writer.u32(config.len() as u32);
        for node in config {
            writer.u32(node.0);
        }
    }
    let nodes: Vec<_> = membership.nodes().map(|(id, ())| *id).collect();
    writer.u32(nodes.len() as u32);
    for node in nodes {
        writer.u32(node.0);
    }
}

fn read_membership(reader: &mut Reader) -> Result<Membership, DecodeError> {
    let node_set = |reader: &mut Reader| -> Result<BTreeSet<NodeId>, DecodeError> {
        let count = reader.count(4)?;
        (0..count).map(|_| reader.u32().map(NodeId)).collect()
    };
    let configs = reader.count(4)?;
    let configs = (0..configs).map(|_| node_set(reader)).collect::<Result<Vec<_>, _>>()?;
    let nodes: BTreeMap<NodeId, ()> = node_set(reader)?.into_iter().map(|id| (id, ())).collect();
    Membership::new(configs, nodes).map_err(|_| reader.error("a voter is not among the members"))
}

/// `term | node | index | kind | payload`: what one record of the log holds.
pub(crate) fn encode_entry(entry: &Entry) -> Bytes {
    let size = if let EntryPayload::Normal(payload) = &entry.payload { payload.0.len() } else { 64 };
    let mut writer = Writer::with_capacity(21 + size);
    write_log_id(&mut writer, &entry.log_id);
    match &entry.payload {
        EntryPayload::Blank => {
            writer.u8(BLANK);
        }
        EntryPayload::Normal(payload) => {
            writer.u8(NORMAL).raw(&payload.0);
        }
        EntryPayload::Membership(membership) => {
            writer.u8(MEMBERSHIP);
            write_membership(&mut writer, membership);
        }
    }
    writer.finish()
}

pub(crate) fn decode_entry(bytes: Bytes) -> Result<Entry, DecodeError> {
    let mut reader = Reader::new("log entry", bytes);
    let log_id = read_log_id(&mut reader)?;
    let payload = match reader.u8()? {
        BLANK => EntryPayload::Blank,
        NORMAL => EntryPayload::Normal(Payload(reader.raw(reader.remaining())?)),
        MEMBERSHIP => EntryPayload::Membership(read_membership(&mut reader)?),
        _ => return Err(reader.error("an entry of an unknown kind")),
    };
    reader.finish()?;
    Ok(Entry { log_id, payload })
}

/// The log id at the front of an encoded entry.
pub(crate) fn entry_log_id(bytes: &Bytes) -> Result<LogId, DecodeError> {
    read_log_id(&mut Reader::new("log entry", bytes.clone()))
}

pub(crate) fn encode_append(request: &AppendEntriesRequest<TypeConfig>) -> Bytes {
    let mut writer = Writer::with_capacity(256);
    write_vote(&mut writer, &request.vote);
    write_option_log_id(&mut writer, request.prev_log_id.as_ref());
    write_option_log_id(&mut writer, request.leader_commit.as_ref());
    writer.u32(request.entries.len() as u32);
    for entry in &request.entries {
        writer.bytes(&encode_entry(entry));
    }
    writer.finish()
}

pub(crate) fn decode_append(bytes: Bytes) -> Result<AppendEntriesRequest<TypeConfig>, DecodeError> {
    let mut reader = Reader::new("append request", bytes);
    let vote = read_vote(&mut reader)?;
    let prev_log_id = read_option_log_id(&mut reader)?;
    let leader_commit = read_option_log_id(&mut reader)?;
    let count = reader.count(25)?;
    let mut entries = Vec::with_capacity(count);
    let mut index_next = prev_log_id.as_ref().map(|id| id.index + 1);
    for _ in 0..count {
        let entry = decode_entry(reader.bytes()?)?;
        // openraft asserts this; a peer's mistake must not reach its assertion.
        if index_next.is_some_and(|next| next != entry.log_id.index) {
            return Err(reader.error("entries are not consecutive"));
        }
        index_next = Some(entry.log_id.index + 1);
        entries.push(entry);
    }
    reader.finish()?;
    Ok(AppendEntriesRequest { vote, prev_log_id, entries, leader_commit })
}

pub(crate) fn encode_append_response(response: &AppendEntriesResponse<TypeConfig>) -> Bytes {
    let mut writer = Writer::with_capacity(32);
    match response {
        AppendEntriesResponse::Success => {
            writer.u8(0);
        }
        AppendEntriesResponse::PartialSuccess(id) => {
            writer.u8(1);
            write_option_log_id(&mut writer, id.as_ref());
        }
        AppendEntriesResponse::Conflict => {
            writer.u8(2);
        }
        AppendEntriesResponse::HigherVote(vote) => {
            writer.u8(3);
            write_vote(&mut writer, vote);
        }
    }
    writer.finish()
}

pub(crate) fn decode_append_response(bytes: Bytes) -> Result<AppendEntriesResponse<TypeConfig>, DecodeError> {
    let mut reader = Reader::new("append response", bytes);
    let response = match reader.u8()? {
        0 => AppendEntriesResponse::Success,
        1 => AppendEntriesResponse::PartialSuccess(read_option_log_id(&mut reader)?),
        2 => AppendEntriesResponse::Conflict,
        3 => AppendEntriesResponse::HigherVote(read_vote(&mut reader)?),
        _ => return Err(reader.error("an answer of an unknown kind")),
    };
    reader.finish()?;
    Ok(response)
}

pub(crate) fn encode_json<T: serde::Serialize>(value: &T) -> Bytes {
    Bytes::from(serde_json::to_vec(value).expect("Raft's messages have only text keys"))
}

pub(crate) fn decode_json<T: DeserializeOwned>(what: &'static str, bytes: &[u8]) -> Result<T, DecodeError> {
    if !numbers_are_possible(bytes) {
        return Err(DecodeError { what, position: 0, why: "a term or an index that no log reaches" });
    }
    serde_json::from_slice(bytes).map_err(|_| DecodeError { what, position: 0, why: "not the expected JSON" })
}

/// openraft adds to terms and indexes without a look, and serde takes any: so every run of digits is looked at before. Not
/// those in texts, which no term or index is: the hexadecimal form of a package's digest may have many in a row.
fn numbers_are_possible(json: &[u8]) -> bool {
    let (mut in_text, mut escaped) = (false, false);
    let no_digit_of_a_number = |byte: &u8| {
        let quote = *byte == b'"' && !escaped;
        escaped = in_text && *byte == b'\\' && !escaped;
        in_text ^= quote;
        in_text || !byte.is_ascii_digit()
    };
    json.split(no_digit_of_a_number).all(|digits| {
        let number =
            digits.iter().try_fold(0u64, |sum, digit| sum.checked_mul(10)?.checked_add(u64::from(digit - b'0')));
        number.is_some_and(|number| number <= NUMBER_MAX)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Red without the bounds: adding one to such a number overflows, here or in openraft.
    #[test]
    fn terms_and_indexes_that_no_log_reaches_are_refused() {
        let id = |term, index| LogId { leader_id: LeaderId { term, node_id: NodeId(7) }, index };
        for (term, index, good) in [
            (NUMBER_MAX, NUMBER_MAX, true),
            (NUMBER_MAX + 1, 1, false),
            (1, NUMBER_MAX + 1, false),
            (1, u64::MAX, false),
        ] {
            assert_eq!(decode_log_id(encode_log_id(&id(term, index))).is_ok(), good, "{term} {index}");
            assert_eq!(decode_json::<LogId>("log id", &encode_json(&id(term, index))).is_ok(), good, "{term} {index}");
        }
        assert!(decode_json::<LogId>("log id", b"99999999999999999999999999").is_err());
        // The quote in the text does not end it, and the number behind it is looked at.
        let sly = br#"{"leader_id":{"term":1,"node_id":"\""},"index":18446744073709551615}"#;
        assert!(!numbers_are_possible(sly));
    }

    /// Fails if digits in texts are looked at too: snapshots of a group that runs such a package would be refused for ever.
    #[test]
    fn a_digest_may_have_many_digits_in_a_row() {
        let row = BTreeMap::from([(recoil_base::AppId(7), recoil_base::Digest([0x99; 32]))]);
        let written = encode_json(&row);
        assert_eq!(decode_json::<BTreeMap<recoil_base::AppId, recoil_base::Digest>>("row", &written).unwrap(), row);
    }

    #[test]
    fn entries_and_appends_survive_and_every_shorter_input_is_an_error() {
        let id = |index| LogId { leader_id: LeaderId { term: 3, node_id: NodeId(7) }, index };
        let members = BTreeMap::from([(NodeId(7), ()), (NodeId(8), ())]);
        let membership = Membership::new(vec![BTreeSet::from([NodeId(7)])], members).unwrap();
        let entries = vec![
            Entry { log_id: id(4), payload: EntryPayload::Blank },
            Entry { log_id: id(5), payload: EntryPayload::Normal(Payload(Bytes::from_static(b"write"))) },
            Entry { log_id: id(6), payload: EntryPayload::Membership(membership) },
        ];
        let vote = Vote { leader_id: LeaderId { term: 3, node_id: NodeId(7) }, committed: true };
        let request = AppendEntriesRequest { vote, prev_log_id: Some(id(3)), entries, leader_commit: None };
        let encoded = encode_append(&request);
        let decoded = decode_append(encoded.clone()).unwrap();
        assert_eq!(format!("{decoded:?}"), format!("{request:?}"));
        for length in 0..encoded.len() {
            assert!(decode_append(encoded.slice(..length)).is_err(), "{length}");
        }
        let mut gap = request.clone();
        gap.entries.remove(1);
        assert!(decode_append(encode_append(&gap)).is_err());
    }
}
