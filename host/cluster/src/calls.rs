//! Routed calls on the wire, and what becomes of them.
//!
//! A batch: `meta index u64 | app u32 | transact u8 | count u32`, then per call `partition u32 | mode u8 | body`. Its answer:
//! `count u32`, then per call a tag and what belongs to it. All calls of a batch go to one node; partitions are of the default
//! keyspace. The receiver starts them in their order.

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
    /// Where it goes, in the default keyspace.
    pub partition: PartitionId,
    /// May it write.
    pub mode: Mode,
    /// What it asks.
    pub body: CallBody,
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
}

/// A handler's answer, or none.
pub type Answer = Result<Bytes, Miss>;

/// Takes one answer.
pub type Reply = Box<dyn FnOnce(Answer) + Send>;

/// Calls of one app for one node.
#[derive(Clone, Debug)]
pub struct Batch {
    /// The caller has applied meta up to here.
    pub meta_index: u64,
    /// Whose handler.
    pub app: AppId,
    /// All or nothing.
    pub transact: bool,
    /// In order.
    pub calls: Vec<PartitionCall>,
}

impl Batch {
    /// The request's bytes.
    pub fn encode(&self) -> Bytes {
        let mut writer = Writer::with_capacity(32 + self.calls.len() * 64);
        writer.u64(self.meta_index).u32(self.app.0).u8(u8::from(self.transact)).u32(self.calls.len() as u32);
        for call in &self.calls {
            writer.u32(call.partition.0).u8(call.mode.as_u8());
            call.body.encode(&mut writer);
        }
        writer.finish()
    }

    /// Reads a request's bytes.
    pub fn decode(bytes: Bytes) -> Result<Self, DecodeError> {
        let mut reader = Reader::new("routed calls", bytes);
        let (meta_index, app, transact) = (reader.u64()?, AppId(reader.u32()?), reader.u8()? != 0);
        let count = reader.count(6)?;
        let mut calls = Vec::with_capacity(count);
        for _ in 0..count {
            let partition = PartitionId(reader.u32()?);
            let mode = Mode::from_u8(reader.u8()?).ok_or_else(|| reader.error("an unknown mode"))?;
            calls.push(PartitionCall { partition, mode, body: CallBody::decode(&mut reader)? });
        }
        reader.finish()?;
        Ok(Batch { meta_index, app, transact, calls })
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
            _ => return Err(reader.error("an answer of an unknown kind")),
        });
    }
    reader.finish()?;
    Ok(answers)
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

    /// Takes the answer of one place. A reply that is dropped uncalled counts as `unknown-outcome`.
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
            self.tell(Err(Miss::Error(CallError::UnknownOutcome("the node stopped serving this call".into()))));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batches_and_answers_survive_and_every_shorter_input_is_an_error() {
        let call = |mode| PartitionCall {
            partition: PartitionId(7),
            mode,
            body: CallBody::Handle(Bytes::from_static(b"get k")),
        };
        let batch = Batch {
            meta_index: 9,
            app: AppId(2),
            transact: true,
            calls: vec![call(Mode::Write), call(Mode::StaleRead)],
        };
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
        assert!(matches!(&answers[2], Err(Miss::Error(CallError::UnknownOutcome(_)))));
    }
}
