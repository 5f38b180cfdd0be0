//! Routed calls on the wire, and what becomes of them.
//!
//! A batch: `meta index u64 | incarnation u64 | count u32`, then per call `app u32 | partition u32 | mode u8 | sequence u64 | acked u64 |
//! kind u8`; kind 0 goes on with a body, kind 1, a transaction, with `count u32` and per part `partition u32 | mode u8 | body`. Its
//! answer: `count u32`, then per call a tag and what belongs to it. All calls of a batch go to one node; partitions are of the
//! default keyspace. The receiver starts them in their order.
//!
//! A writing call has a number of its own among those of its origin to its partition, by which it can be asked again
//! ([`recoil_consensus::answered`]); a read has the number of the writing call that it must come after. A transaction belongs to
//! the lowest of its partitions.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use parking_lot::Mutex;
use recoil_base::{AppId, DecodeError, NodeId, PartitionId, Reader, Writer};
use recoil_engine::{CallBody, CallError, Mode};
use tokio::sync::oneshot;

/// A call whose partition is known.
#[derive(Clone, Debug)]
pub struct PartitionCall {
    /// Whose handler.
    pub app: AppId,
    /// Where it goes, in the default keyspace.
    pub partition: PartitionId,
    /// May it write.
    pub mode: Mode,
    /// A writing call's own number; of a read, the number it must come after.
    pub sequence: u64,
    /// The origin has the answers of its calls to this partition up to here.
    pub acked: u64,
    /// What it asks.
    pub request: Request,
}

/// What a call asks.
#[derive(Clone, Debug)]
pub enum Request {
    /// One call of its partition.
    One(CallBody),
    /// A transaction over partitions of one group, of which the call's own is the lowest. The answer is made by [`encode_answers`].
    All(Vec<Part>),
}

/// One call of a transaction.
#[derive(Clone, Debug)]
pub struct Part {
    /// Where it goes.
    pub partition: PartitionId,
    /// May it write.
    pub mode: Mode,
    /// What it asks.
    pub body: CallBody,
}

impl Request {
    /// Bytes, about.
    pub fn size(&self) -> usize {
        match self {
            Request::One(body) => 64 + body.size(),
            Request::All(parts) => 64 + parts.iter().map(|part| 64 + part.body.size()).sum::<usize>(),
        }
    }
}

/// Why a call was not answered by a handler.
#[derive(Clone, Debug)]
pub enum Miss {
    /// The answer to give.
    Error(CallError),
    /// Not evaluated here; that node may lead.
    NotLeader(Option<NodeId>),
    /// Certainly not applied: route it again.
    Again,
    /// Not evaluated: the origin's earlier calls have not arrived. Send them, then this again.
    TooEarly,
    /// It may yet be applied, or have been: ask again by its number.
    Unknown,
    /// Not evaluated, and this is why: the call's answer, unless somebody else may have evaluated it.
    Refused(String),
}

/// A handler's answer, or none.
pub type Answer = Result<Bytes, Miss>;

/// Takes one answer.
pub type Reply = Box<dyn FnOnce(Answer) + Send>;

/// Calls for one node.
#[derive(Clone, Debug)]
pub struct Batch {
    /// The caller has applied meta up to here.
    pub meta_index: u64,
    /// The caller's incarnation: with its node id, the origin of the calls.
    pub incarnation: u64,
    /// In order.
    pub calls: Vec<PartitionCall>,
}

impl Batch {
    /// The request's bytes.
    pub fn encode(&self) -> Bytes {
        let mut writer = Writer::with_capacity(32 + self.calls.len() * 96);
        writer.u64(self.meta_index).u64(self.incarnation).u32(self.calls.len() as u32);
        for call in &self.calls {
            writer.u32(call.app.0).u32(call.partition.0).u8(call.mode.as_u8()).u64(call.sequence).u64(call.acked);
            match &call.request {
                Request::One(body) => {
                    writer.u8(0);
                    body.encode(&mut writer);
                }
                Request::All(parts) => {
                    writer.u8(1).u32(parts.len() as u32);
                    for part in parts {
                        writer.u32(part.partition.0).u8(part.mode.as_u8());
                        part.body.encode(&mut writer);
                    }
                }
            }
        }
        writer.finish()
    }

    /// Reads a request's bytes.
    pub fn decode(bytes: Bytes) -> Result<Self, DecodeError> {
        let mut reader = Reader::new("routed calls", bytes);
        let (meta_index, incarnation) = (reader.u64()?, reader.u64()?);
        let count = reader.count(27)?;
        let mut calls = Vec::with_capacity(count);
        for _ in 0..count {
            let (app, partition) = (AppId(reader.u32()?), PartitionId(reader.u32()?));
            let mode = decode_mode(&mut reader)?;
            let (sequence, acked) = (reader.u64()?, reader.u64()?);
            if mode == Mode::Write && sequence <= acked {
                return Err(reader.error("a call that its origin has already been answered"));
            }
            let request = decode_request(&mut reader, partition, mode)?;
            calls.push(PartitionCall { app, partition, mode, sequence, acked, request });
        }
        reader.finish()?;
        Ok(Batch { meta_index, incarnation, calls })
    }
}

fn decode_mode(reader: &mut Reader) -> Result<Mode, DecodeError> {
    Mode::from_u8(reader.u8()?).ok_or_else(|| reader.error("an unknown mode"))
}

fn decode_request(reader: &mut Reader, partition: PartitionId, mode: Mode) -> Result<Request, DecodeError> {
    match reader.u8()? {
        0 => Ok(Request::One(CallBody::decode(reader)?)),
        1 => {
            let count = reader.count(6)?;
            let mut parts = Vec::with_capacity(count);
            for _ in 0..count {
                let partition = PartitionId(reader.u32()?);
                parts.push(Part { partition, mode: decode_mode(reader)?, body: CallBody::decode(reader)? });
            }
            // Partitions are locked in their order, beginning with the transaction's own.
            if mode != Mode::Write || parts.iter().map(|part| part.partition).min() != Some(partition) {
                return Err(reader.error("a transaction that does not belong to the lowest of its partitions"));
            }
            Ok(Request::All(parts))
        }
        _ => Err(reader.error("a call of an unknown kind")),
    }
}

/// The answers' bytes.
pub fn encode_answers(answers: &[Answer]) -> Bytes {
    let mut writer = Writer::with_capacity(8 + answers.len() * 32);
    writer.u32(answers.len() as u32);
    for answer in answers {
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
        };
    }
    writer.finish()
}

/// Reads the answers' bytes.
pub fn decode_answers(bytes: Bytes) -> Result<Vec<Answer>, DecodeError> {
    let mut reader = Reader::new("call answers", bytes);
    let count = reader.count(1)?;
    let mut answers = Vec::with_capacity(count);
    for _ in 0..count {
        answers.push(match reader.u8()? {
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
            _ => return Err(reader.error("an answer of an unknown kind")),
        });
    }
    reader.finish()?;
    Ok(answers)
}

/// An answer as it is kept beside the writes it belongs to; none if it says nothing final.
pub(crate) fn encode_kept(answer: &Answer) -> Option<Bytes> {
    match answer {
        Ok(_) | Err(Miss::Error(_)) => Some(encode_answers(std::slice::from_ref(answer))),
        Err(_) => None,
    }
}

/// What [`encode_kept`] kept.
pub(crate) fn decode_kept(bytes: Bytes) -> Option<Answer> {
    decode_answers(bytes).ok()?.pop()
}

/// Gathers the answers of a batch, which come in any order, from any thread.
pub struct Collector {
    slots: Mutex<Vec<Answer>>,
    left: AtomicUsize,
    done: Mutex<Option<oneshot::Sender<Vec<Answer>>>>,
}

impl Collector {
    /// For `count` answers, at least one.
    pub fn new(count: usize) -> (Arc<Self>, oneshot::Receiver<Vec<Answer>>) {
        let (done, all) = oneshot::channel();
        let slots = vec![Err(Miss::Again); count];
        (
            Arc::new(Collector {
                slots: Mutex::new(slots),
                left: AtomicUsize::new(count),
                done: Mutex::new(Some(done)),
            }),
            all,
        )
    }

    /// Takes the answer of one place. A reply that is dropped uncalled counts as [`Miss::Unknown`].
    pub fn reply(self: &Arc<Self>, place: usize) -> Reply {
        let mut slot = Slot { collector: self.clone(), place, told: false };
        Box::new(move |answer| slot.tell(answer))
    }
}

struct Slot {
    collector: Arc<Collector>,
    place: usize,
    told: bool,
}

impl Slot {
    fn tell(&mut self, answer: Answer) {
        self.told = true;
        self.collector.slots.lock()[self.place] = answer;
        if self.collector.left.fetch_sub(1, Ordering::AcqRel) == 1
            && let Some(done) = self.collector.done.lock().take()
        {
            let _ = done.send(std::mem::take(&mut self.collector.slots.lock()));
        }
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        if !self.told {
            self.tell(Err(Miss::Unknown));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batches_and_answers_survive_and_every_shorter_input_is_an_error() {
        let body = || CallBody::Handle(Bytes::from_static(b"get k"));
        let part = |partition| Part { partition: PartitionId(partition), mode: Mode::Write, body: body() };
        let call = |mode, request| PartitionCall {
            app: AppId(2),
            partition: PartitionId(7),
            mode,
            sequence: 5,
            acked: 4,
            request,
        };
        let calls = vec![
            call(Mode::Write, Request::One(body())),
            call(Mode::StaleRead, Request::One(body())),
            call(Mode::Write, Request::All(vec![part(8), part(7)])),
        ];
        let batch = Batch { meta_index: 9, incarnation: 3, calls };
        let encoded = batch.encode();
        let decoded = Batch::decode(encoded.clone()).unwrap();
        assert_eq!(format!("{decoded:?}"), format!("{batch:?}"));
        for length in 0..encoded.len() {
            assert!(Batch::decode(encoded.slice(..length)).is_err(), "{length}");
        }
        let answers: Vec<Answer> = vec![
            Ok(Bytes::from_static(b"v")),
            Err(Miss::Error(CallError::Rejected("no".into()))),
            Err(Miss::Error(CallError::Conflict)),
            Err(Miss::NotLeader(Some(NodeId(3)))),
            Err(Miss::Again),
            Err(Miss::TooEarly),
            Err(Miss::Unknown),
            Err(Miss::Refused("full".into())),
        ];
        let encoded = encode_answers(&answers);
        assert_eq!(format!("{:?}", decode_answers(encoded.clone()).unwrap()), format!("{answers:?}"));
        for length in 0..encoded.len() {
            assert!(decode_answers(encoded.slice(..length)).is_err(), "{length}");
        }
    }

    #[test]
    fn a_collector_gives_answers_in_their_places_and_notices_dropped_replies() {
        let (collector, mut all) = Collector::new(3);
        let (second, first, third) = (collector.reply(1), collector.reply(0), collector.reply(2));
        second(Ok(Bytes::from_static(b"2")));
        first(Ok(Bytes::from_static(b"1")));
        assert!(all.try_recv().is_err());
        drop(third);
        let answers = all.try_recv().unwrap();
        assert!(matches!(&answers[0], Ok(bytes) if &bytes[..] == b"1"));
        assert!(matches!(&answers[1], Ok(bytes) if &bytes[..] == b"2"));
        assert!(matches!(&answers[2], Err(Miss::Unknown)));
    }
}
