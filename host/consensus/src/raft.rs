//! The types that openraft is instantiated with.

use std::fmt;

use bytes::Bytes;
use openraft::impls::{BoxedErrorSource, InlineBatch, TokioRuntime};
use openraft::raft::{ClientWriteResult, responder::Responder};
use openraft::{EntryPayload, OptionalSend, RaftTypeConfig};
use recoil_base::NodeId;
use serde::{Deserialize, Serialize};

use crate::machine::Machine;

/// What an entry carries: an encoded [`crate::Command`] in a partition group, the room above's own form in the meta group.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Payload(pub Bytes);

impl fmt::Debug for Payload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Payload({} bytes)", self.0.len())
    }
}

impl fmt::Display for Payload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// What applying an entry answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Reply {
    /// The entry's writes are in the data.
    Applied,
    /// The entry broke the chain and was treated as empty.
    Skipped,
    /// The answer of a [`crate::CustomMachine`].
    Custom(Bytes),
}

/// Follows one proposal. Dropped without [`Watch::completed`], the outcome is unknown.
pub(crate) trait Watch<T>: Send {
    /// A quorum has the entry. Not called for entries whose commit nobody saw.
    fn committed(&mut self);
    /// Applied here, or refused.
    fn completed(self: Box<Self>, result: T);
}

/// openraft's responder: hands on to a [`Watch`].
pub struct Notifier<T>(pub(crate) Box<dyn Watch<T>>);

impl<T: OptionalSend + 'static> Responder<TypeConfig, T> for Notifier<T> {
    fn on_commit(&mut self, _log_id: LogId) {
        self.0.committed();
    }
    fn on_complete(self, result: T) {
        self.0.completed(result);
    }
}

/// Recoil's instance of openraft.
#[derive(Debug, Clone, Copy, Default, Eq, PartialEq, Ord, PartialOrd)]
pub struct TypeConfig {}

impl RaftTypeConfig for TypeConfig {
    type D = Payload;
    type R = Reply;
    type NodeId = NodeId;
    type Node = ();
    type Term = u64;
    type LeaderId = LeaderId;
    type Vote = openraft::impls::Vote<LeaderId>;
    type Payload = EntryPayload<Payload, NodeId, ()>;
    type Entry = openraft::Entry<LeaderId, Self::Payload>;
    type AsyncRuntime = TokioRuntime;
    type Responder<T>
        = Notifier<T>
    where
        T: OptionalSend + 'static;
    type Batch<T>
        = InlineBatch<T>
    where
        T: OptionalSend + 'static;
    type ErrorSource = BoxedErrorSource;
}

pub(crate) type Raft = openraft::Raft<TypeConfig, Machine>;
pub(crate) type LeaderId = openraft::impls::leader_id_adv::LeaderId<u64, NodeId>;
pub(crate) type LogId = openraft::alias::LogIdOf<TypeConfig>;
pub(crate) type Vote = openraft::alias::VoteOf<TypeConfig>;
pub(crate) type Entry = openraft::alias::EntryOf<TypeConfig>;
pub(crate) type Membership = openraft::Membership<NodeId, ()>;
pub(crate) type StoredMembership = openraft::alias::StoredMembershipOf<TypeConfig>;
pub(crate) type SnapshotMeta = openraft::alias::SnapshotMetaOf<TypeConfig>;
pub(crate) type WriteResult = ClientWriteResult<TypeConfig>;
