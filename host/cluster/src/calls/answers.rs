//! What calls are answered, as bytes: in a piece between nodes, in the answer of a transaction, and beside the writes of a call.
//!
//! An answer is a tag and what belongs to it. A piece between nodes is `count u32 | (place u32 | answer)*`. The answer of a transaction is
//! `version u8 | count u32 | answer*`, one for each part, and what is kept of a call is `version u8 | answer`: both outlive the node that
//! has written them, and so have a version of their own.

use bytes::Bytes;
use recoil_base::{DecodeError, GroupId, NodeId, Reader, Writer};
use recoil_engine::CallError;

use super::{Answer, Miss};

/// The form of answers that are kept.
const VERSION: u8 = 1;
/// The largest answer that travels; a call's is at most 16 MiB by its app's limit, a transaction's is held to this before it commits.
pub(crate) const ANSWER_BYTES_MAX: usize = 24 << 20;

/// Answers with the places of their calls.
pub type Answered = Vec<(u32, Answer)>;

/// Its bytes, about.
pub(crate) fn size(answer: &Answer) -> usize {
    16 + match answer {
        Ok(bytes) => bytes.len(),
        Err(
            Miss::Error(
                CallError::Rejected(text)
                | CallError::Failed(text)
                | CallError::UnknownOutcome(text)
                | CallError::Unavailable(text),
            )
            | Miss::Refused(text),
        ) => text.len(),
        Err(_) => 0,
    }
}

/// Holds an answer to what can travel.
pub(crate) fn bounded(answer: Answer) -> Answer {
    if size(&answer) <= ANSWER_BYTES_MAX {
        return answer;
    }
    let text =
        format!("its answer has {} bytes, and at most {ANSWER_BYTES_MAX} can travel: ask for less", size(&answer));
    Err(Miss::Error(CallError::UnknownOutcome(text)))
}

fn encode_answer(writer: &mut Writer, answer: &Answer) {
    match answer {
        Ok(bytes) => writer.u8(0).bytes(bytes),
        Err(Miss::Error(CallError::Rejected(text))) => writer.u8(1).bytes(text.as_bytes()),
        Err(Miss::Error(CallError::Failed(text))) => writer.u8(2).bytes(text.as_bytes()),
        Err(Miss::Error(CallError::UnknownOutcome(text))) => writer.u8(3).bytes(text.as_bytes()),
        Err(Miss::Error(CallError::Unavailable(text))) => writer.u8(4).bytes(text.as_bytes()),
        Err(Miss::Error(CallError::Conflict)) => writer.u8(5),
        Err(Miss::NotLeader(None)) => writer.u8(6),
        Err(Miss::NotLeader(Some(node))) => writer.u8(7).u32(node.0),
        Err(Miss::Again) => writer.u8(8),
        Err(Miss::TooEarly) => writer.u8(9),
        Err(Miss::Unknown) => writer.u8(10),
        Err(Miss::Refused(text)) => writer.u8(11).bytes(text.as_bytes()),
        Err(Miss::Moved { group, epoch }) => writer.u8(12).u32(group.0).u64(*epoch),
    };
}

fn decode_answer(reader: &mut Reader) -> Result<Answer, DecodeError> {
    Ok(match reader.u8()? {
        0 => Ok(reader.bytes()?),
        1 => Err(Miss::Error(CallError::Rejected(reader.string()?))),
        2 => Err(Miss::Error(CallError::Failed(reader.string()?))),
        3 => Err(Miss::Error(CallError::UnknownOutcome(reader.string()?))),
        4 => Err(Miss::Error(CallError::Unavailable(reader.string()?))),
        5 => Err(Miss::Error(CallError::Conflict)),
        6 => Err(Miss::NotLeader(None)),
        7 => Err(Miss::NotLeader(Some(NodeId(reader.u32()?)))),
        8 => Err(Miss::Again),
        9 => Err(Miss::TooEarly),
        10 => Err(Miss::Unknown),
        11 => Err(Miss::Refused(reader.string()?)),
        12 => Err(Miss::Moved { group: GroupId(reader.u32()?), epoch: reader.u64()? }),
        _ => return Err(reader.error("an answer of an unknown kind")),
    })
}

/// A piece of a batch's answers.
pub fn encode_piece(answered: &[(u32, Answer)]) -> Bytes {
    let bytes: usize = answered.iter().map(|(_, answer)| 4 + size(answer)).sum();
    let mut writer = Writer::with_capacity(4 + bytes);
    writer.u32(answered.len() as u32);
    for (place, answer) in answered {
        writer.u32(*place);
        encode_answer(&mut writer, answer);
    }
    writer.finish()
}

/// Reads a piece of a batch's answers.
///
/// # Errors
/// If the bytes are not of this form.
pub fn decode_piece(bytes: Bytes) -> Result<Answered, DecodeError> {
    let mut reader = Reader::new("call answers", bytes);
    let count = reader.count(5)?;
    let mut answered = Vec::with_capacity(count);
    for _ in 0..count {
        answered.push((reader.u32()?, decode_answer(&mut reader)?));
    }
    reader.finish()?;
    Ok(answered)
}

fn check_version(reader: &mut Reader) -> Result<(), DecodeError> {
    if reader.u8()? == VERSION {
        Ok(())
    } else {
        Err(reader.error("answers of a version that this node does not know"))
    }
}

/// The answer of a transaction.
pub fn encode_answers(answers: &[Answer]) -> Bytes {
    let mut writer = Writer::with_capacity(8 + answers.iter().map(size).sum::<usize>());
    writer.u8(VERSION).u32(answers.len() as u32);
    answers.iter().for_each(|answer| encode_answer(&mut writer, answer));
    writer.finish()
}

/// Reads the answer of a transaction.
///
/// # Errors
/// If the bytes are not of this form.
pub fn decode_answers(bytes: Bytes) -> Result<Vec<Answer>, DecodeError> {
    let mut reader = Reader::new("the answers of a transaction", bytes);
    check_version(&mut reader)?;
    let count = reader.count(1)?;
    let mut answers = Vec::with_capacity(count);
    for _ in 0..count {
        answers.push(decode_answer(&mut reader)?);
    }
    reader.finish()?;
    Ok(answers)
}

/// An answer as it is kept beside the writes it belongs to; none if it says nothing final.
pub(crate) fn encode_kept(answer: &Answer) -> Option<Bytes> {
    let (Ok(_) | Err(Miss::Error(_))) = answer else { return None };
    let mut writer = Writer::with_capacity(1 + size(answer));
    writer.u8(VERSION);
    encode_answer(&mut writer, answer);
    Some(writer.finish())
}

/// What [`encode_kept`] kept.
pub(crate) fn decode_kept(bytes: Bytes) -> Option<Answer> {
    let mut reader = Reader::new("a kept answer", bytes);
    check_version(&mut reader).ok()?;
    let answer = decode_answer(&mut reader).ok()?;
    reader.finish().ok()?;
    Some(answer)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures;

    fn every_kind() -> Vec<Answer> {
        vec![
            Ok(Bytes::from_static(b"v")),
            Err(Miss::Error(CallError::Rejected("no".into()))),
            Err(Miss::Error(CallError::Failed("f".into()))),
            Err(Miss::Error(CallError::UnknownOutcome("u".into()))),
            Err(Miss::Error(CallError::Unavailable("un".into()))),
            Err(Miss::Error(CallError::Conflict)),
            Err(Miss::NotLeader(None)),
            Err(Miss::NotLeader(Some(NodeId(3)))),
            Err(Miss::Again),
            Err(Miss::TooEarly),
            Err(Miss::Unknown),
            Err(Miss::Refused("full".into())),
            Err(Miss::Moved { group: GroupId(8), epoch: 5 }),
        ]
    }

    fn piece() -> Answered {
        every_kind().into_iter().enumerate().map(|(place, answer)| (2 * place as u32, answer)).collect()
    }

    #[test]
    fn answers_survive_and_every_shorter_input_is_an_error() {
        let encoded = encode_answers(&every_kind());
        assert_eq!(format!("{:?}", decode_answers(encoded.clone()).unwrap()), format!("{:?}", every_kind()));
        for length in 0..encoded.len() {
            assert!(decode_answers(encoded.slice(..length)).is_err(), "{length}");
        }
        let encoded = encode_piece(&piece());
        assert_eq!(format!("{:?}", decode_piece(encoded.clone()).unwrap()), format!("{:?}", piece()));
        for length in 0..encoded.len() {
            assert!(decode_piece(encoded.slice(..length)).is_err(), "{length}");
        }
    }

    /// Fails if the form of a piece changes; see [`crate::fixtures`].
    #[test]
    fn the_fixture_of_answers_between_nodes_is_read_and_written_as_it_is() {
        let stored = fixtures::stored("answers_2", &encode_piece(&piece()));
        let read = decode_piece(stored.clone()).unwrap();
        assert_eq!(format!("{read:?}"), format!("{:?}", piece()));
        assert_eq!(encode_piece(&read), stored);
    }

    /// Fails if the form of what is kept, or of a transaction's answer, changes without a new [`VERSION`]; see [`crate::fixtures`].
    #[test]
    fn the_fixtures_of_kept_answers_are_read_and_written_as_they_are() {
        let stored = fixtures::stored("transaction_answers_1", &encode_answers(&every_kind()));
        let read = decode_answers(stored.clone()).unwrap();
        assert_eq!(format!("{read:?}"), format!("{:?}", every_kind()));
        assert_eq!(encode_answers(&read), stored);

        let kept = Ok(Bytes::from_static(b"value"));
        let stored = fixtures::stored("kept_answer_1", &encode_kept(&kept).unwrap());
        let read = decode_kept(stored.clone()).unwrap();
        assert_eq!(format!("{read:?}"), format!("{kept:?}"));
        assert_eq!(encode_kept(&read).unwrap(), stored);
        assert!(decode_kept(Bytes::from_static(b"\x02\x05")).is_none(), "of another version");
    }
}
