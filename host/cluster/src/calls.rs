//! Routed calls on the wire, and what becomes of them.
//!
//! A batch: `meta index u64 | incarnation u64 | count u32`, then per call `head u8 | keyspace u32 ? | epoch u64 ? | app u32 | partition
//! u32 | sequence u64 | acked u64` and what it asks: a body, or, of a transaction, `count u32` and per part `head u8 | keyspace u32 ? |
//! epoch u64 ? | partition u32 | body`. The head has the mode in its lowest two bits, and bits that say: a transaction, the keyspace
//! follows, the epoch follows. What does not follow is that of the call or part before, so that a frame carries each of them once if
//! all of its calls agree. All calls of a batch go to one node, which starts them in their order.
//!
//! The answers come in one or more pieces, each `count u32 | (place u32 | answer)*`; see [`answers`]. A place is that of the call in the
//! batch; each is answered once, in any order, and all of them by the end of the last piece.
//!
//! A writing call has a number of its own among those of its origin to its partition, by which it can be asked again
//! ([`recoil_consensus::answered`]); a read has the number of the writing call that it must come after. A transaction belongs to
//! the lowest of its partitions. The epoch is that of the placement by which the origin has chosen the node: one that knows a newer
//! placement answers with it ([`Miss::Moved`]), one that only knows an older one waits for its table.
//!
//! The form of a batch and of a piece is that of the wire version on which the two nodes have agreed ([`crate::peer`]).

pub(crate) mod answers;
pub(crate) mod gather;

use bytes::Bytes;
use recoil_base::{AppId, DecodeError, GroupId, KeyspaceId, NodeId, PartitionId, Reader, Writer};
use recoil_consensus::PartitionRef;
use recoil_engine::{CallBody, CallError, Mode};

pub use answers::{Answered, decode_answers, decode_piece, encode_answers, encode_piece};

/// A call whose partition is known.
#[derive(Clone, Debug)]
pub struct PartitionCall {
    /// Whose handler.
    pub app: AppId,
    /// Where it goes.
    pub partition: PartitionRef,
    /// The epoch of the placement that the origin goes by.
    pub epoch: u64,
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
    /// A transaction over partitions of one group, of which the call's own is the lowest. The answer is made by
    /// [`encode_answers`].
    All(Vec<Part>),
}

/// One call of a transaction.
#[derive(Clone, Debug)]
pub struct Part {
    /// Where it goes.
    pub partition: PartitionRef,
    /// The epoch of the placement that the origin goes by.
    pub epoch: u64,
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
    /// Not evaluated here: this node knows of a placement of the partition, and is not the one to ask by it.
    Moved {
        /// The group that owns the partition.
        group: GroupId,
        /// Since that epoch.
        epoch: u64,
    },
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

/// Bits of a head: the mode, and what else it says.
const MODE: u8 = 0b11;
const TRANSACTION: u8 = 1 << 2;
const KEYSPACE_FOLLOWS: u8 = 1 << 3;
const EPOCH_FOLLOWS: u8 = 1 << 4;

/// The keyspace and the epoch of the call or part before; of the first one's, nothing.
struct Before {
    keyspace: KeyspaceId,
    epoch: u64,
}

impl Before {
    fn none() -> Self {
        Before { keyspace: KeyspaceId(0), epoch: 0 }
    }

    /// Writes a head, with what differs from before.
    fn write(&mut self, writer: &mut Writer, mode: Mode, kind: u8, keyspace: KeyspaceId, epoch: u64) {
        let (other_keyspace, other_epoch) = (keyspace != self.keyspace, epoch != self.epoch);
        let follows = if other_keyspace { KEYSPACE_FOLLOWS } else { 0 } | if other_epoch { EPOCH_FOLLOWS } else { 0 };
        writer.u8(mode.as_u8() | kind | follows);
        if other_keyspace {
            writer.u32(keyspace.0);
        }
        if other_epoch {
            writer.u64(epoch);
        }
        *self = Before { keyspace, epoch };
    }

    /// Reads a head and what follows it: the mode, and whether it is a transaction's.
    fn read(&mut self, reader: &mut Reader) -> Result<(Mode, bool), DecodeError> {
        let head = reader.u8()?;
        if head & !(MODE | TRANSACTION | KEYSPACE_FOLLOWS | EPOCH_FOLLOWS) != 0 {
            return Err(reader.error("a call of an unknown kind"));
        }
        if head & KEYSPACE_FOLLOWS != 0 {
            self.keyspace = KeyspaceId(reader.u32()?);
        }
        if head & EPOCH_FOLLOWS != 0 {
            self.epoch = reader.u64()?;
        }
        let mode = Mode::from_u8(head & MODE).ok_or_else(|| reader.error("an unknown mode"))?;
        Ok((mode, head & TRANSACTION != 0))
    }

    fn partition(&self, reader: &mut Reader) -> Result<PartitionRef, DecodeError> {
        Ok(PartitionRef { keyspace: self.keyspace, partition: PartitionId(reader.u32()?) })
    }
}

impl Batch {
    /// The request's bytes.
    pub fn encode(&self) -> Bytes {
        let mut writer = Writer::with_capacity(32 + self.calls.len() * 96);
        writer.u64(self.meta_index).u64(self.incarnation).u32(self.calls.len() as u32);
        let mut before = Before::none();
        for call in &self.calls {
            let kind = if matches!(call.request, Request::All(_)) { TRANSACTION } else { 0 };
            before.write(&mut writer, call.mode, kind, call.partition.keyspace, call.epoch);
            writer.u32(call.app.0).u32(call.partition.partition.0).u64(call.sequence).u64(call.acked);
            match &call.request {
                Request::One(body) => body.encode(&mut writer),
                Request::All(parts) => {
                    writer.u32(parts.len() as u32);
                    for part in parts {
                        before.write(&mut writer, part.mode, 0, part.partition.keyspace, part.epoch);
                        writer.u32(part.partition.partition.0);
                        part.body.encode(&mut writer);
                    }
                }
            }
        }
        writer.finish()
    }

    /// Reads a request's bytes.
    ///
    /// # Errors
    /// If they are not of this form, or say what no origin says.
    pub fn decode(bytes: Bytes) -> Result<Self, DecodeError> {
        let mut reader = Reader::new("routed calls", bytes);
        let (meta_index, incarnation) = (reader.u64()?, reader.u64()?);
        let count = reader.count(26)?;
        let mut calls = Vec::with_capacity(count);
        let mut before = Before::none();
        for _ in 0..count {
            let (mode, is_transaction) = before.read(&mut reader)?;
            let epoch = before.epoch;
            let (app, partition) = (AppId(reader.u32()?), before.partition(&mut reader)?);
            let (sequence, acked) = (reader.u64()?, reader.u64()?);
            if mode == Mode::Write && sequence <= acked {
                return Err(reader.error("a call that its origin has already been answered"));
            }
            let request = if is_transaction {
                decode_transaction(&mut reader, &mut before, partition, mode)?
            } else {
                Request::One(CallBody::decode(&mut reader)?)
            };
            calls.push(PartitionCall { app, partition, epoch, mode, sequence, acked, request });
        }
        reader.finish()?;
        Ok(Batch { meta_index, incarnation, calls })
    }
}

fn decode_transaction(
    reader: &mut Reader,
    before: &mut Before,
    partition: PartitionRef,
    mode: Mode,
) -> Result<Request, DecodeError> {
    let count = reader.count(6)?;
    let mut parts = Vec::with_capacity(count);
    for _ in 0..count {
        let (mode, is_transaction) = before.read(reader)?;
        if is_transaction {
            return Err(reader.error("a transaction within a transaction"));
        }
        let (epoch, partition) = (before.epoch, before.partition(reader)?);
        parts.push(Part { partition, epoch, mode, body: CallBody::decode(reader)? });
    }
    // Partitions are locked in their order, beginning with the transaction's own.
    if mode != Mode::Write || parts.iter().map(|part| part.partition).min() != Some(partition) {
        return Err(reader.error("a transaction that does not belong to the lowest of its partitions"));
    }
    Ok(Request::All(parts))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures;

    fn partition(keyspace: u32, partition: u32) -> PartitionRef {
        PartitionRef { keyspace: KeyspaceId(keyspace), partition: PartitionId(partition) }
    }

    fn batch() -> Batch {
        let body = || CallBody::Handle(Bytes::from_static(b"get k"));
        let part = |number, epoch| Part { partition: partition(1, number), epoch, mode: Mode::Write, body: body() };
        let call = |partition, epoch, mode, request| PartitionCall {
            app: AppId(2),
            partition,
            epoch,
            mode,
            sequence: 5,
            acked: 4,
            request,
        };
        let calls = vec![
            call(partition(1, 7), 1, Mode::Write, Request::One(body())),
            call(partition(1, 8), 1, Mode::Read, Request::One(body())),
            call(partition(1, 9), 3, Mode::StaleRead, Request::One(body())),
            call(partition(1, 7), 1, Mode::Write, Request::All(vec![part(8, 2), part(7, 1)])),
            call(partition(2, 0), u64::MAX, Mode::Write, Request::One(body())),
        ];
        Batch { meta_index: 9, incarnation: 3, calls }
    }

    #[test]
    fn batches_survive_and_every_shorter_input_is_an_error() {
        let encoded = batch().encode();
        assert_eq!(format!("{:?}", Batch::decode(encoded.clone()).unwrap()), format!("{:?}", batch()));
        for length in 0..encoded.len() {
            assert!(Batch::decode(encoded.slice(..length)).is_err(), "{length}");
        }
    }

    /// Fails if the form of routed calls changes. A change needs a new wire version ([`crate::peer::WIRE`]) and a fixture of its own
    /// beside this one, which `RECOIL_WRITE_FIXTURES=1` writes.
    #[test]
    fn the_fixture_of_routed_calls_is_read_and_written_as_it_is() {
        let stored = fixtures::stored("routed_calls_2", &batch().encode());
        let read = Batch::decode(stored.clone()).unwrap();
        assert_eq!(format!("{read:?}"), format!("{:?}", batch()));
        assert_eq!(read.encode(), stored);
    }

    /// Fails if every call carries its keyspace and epoch.
    #[test]
    fn a_frame_carries_the_keyspace_and_the_epoch_once_if_its_calls_agree() {
        let call = batch().calls[0].clone();
        let bytes = |count| Batch { calls: vec![call.clone(); count], ..batch() }.encode().len();
        assert_eq!((bytes(1) - bytes(0)) - (bytes(2) - bytes(1)), 4 + 8);
    }

    #[test]
    fn heads_of_unknown_kinds_are_refused() {
        let encoded = batch().encode();
        for head in [3, 1 << 5, 1 << 6, 1 << 7] {
            let mut wrong = encoded.to_vec();
            wrong[20] = head;
            assert!(Batch::decode(wrong.into()).is_err(), "{head}");
        }
    }
}
