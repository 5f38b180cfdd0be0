//! Raft's messages between the replicas of a group, over whatever stream the room above keeps between two nodes.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures::future::BoxFuture;
use openraft::AnyError;
use openraft::OptionalSend;
use openraft::async_runtime::watch::WatchReceiver as _;
use openraft::errors::{NetworkError, RPCError, ReplicationClosed, StreamingError, Unreachable};
use openraft::network::{RPCOption, RaftNetworkFactory, RaftNetworkV2};
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, TransferLeaderRequest, TransferLeaderResponse,
    VoteRequest, VoteResponse,
};
use openraft::storage::Snapshot;
use parking_lot::Mutex;
use recoil_base::{Clock, DecodeError, GroupId, NodeId, random, task};
use recoil_storage::Data;
use tokio::time::Instant;

use crate::machine::Applier;
use crate::messages;
use crate::raft::{LeaderId, Raft, TypeConfig, Vote};
use crate::repair::Pulls;
use crate::snapshot::{Begin, Chunks, Loading, Position, SnapshotData};

const APPEND: u8 = 1;
const VOTE: u8 = 2;
const PRE_VOTE: u8 = 3;
const SNAPSHOT_BEGIN: u8 = 4;
const SNAPSHOT_ROWS: u8 = 5;
const SNAPSHOT_END: u8 = 6;
const TRANSFER: u8 = 7;
pub(crate) const PULL_BEGIN: u8 = 8;
pub(crate) const PULL_NEXT: u8 = 9;
pub(crate) const PULL_PARTITION: u8 = 10;

/// How long an append with entries may take. They go over a link and to a disk that others use, too: if those are busy, one that is sent
/// again since it is late makes them busier, until nothing is answered in time any more. A stream that has broken fails what waits on
/// it, so this is not how a lost node is noticed; and heartbeats, which are what leases need, have a time of their own.
const APPEND_TIMEOUT: Duration = Duration::from_secs(2);
/// How long one chunk of a snapshot may take.
pub(crate) const CHUNK_TIMEOUT: Duration = Duration::from_secs(10);
/// A snapshot transfer that brings nothing for so long has been given up by its sender, whose message would have timed out.
const TRANSFER_IDLE_MAX: Duration = Duration::from_secs(60);

/// Carries one request to another node and its answer back.
pub trait Transport: Send + Sync + 'static {
    /// Sends a group's message of some kind. Requests to one node arrive in the order of these calls while the connection
    /// holds. Fails, rather than waits, when the node cannot be reached.
    fn call(
        &self,
        to: NodeId,
        group: GroupId,
        kind: u8,
        body: Bytes,
        timeout: Duration,
    ) -> BoxFuture<'static, Result<Bytes, TransportError>>;

    /// The other nodes that may hold replicas.
    fn known(&self) -> Vec<NodeId>;
}

/// Why no answer came.
#[derive(Debug, Clone, thiserror::Error)]
pub enum TransportError {
    /// Not connected; nothing was sent.
    #[error("node {0} cannot be reached")]
    Unreachable(NodeId),
    /// The connection broke or the answer is late: the request may have arrived.
    #[error("no answer from node {0}: {1}")]
    NoAnswer(NodeId, String),
    /// The other node answered that it cannot serve this.
    #[error("node {0} answered: {1}")]
    Refused(NodeId, String),
}

#[derive(Clone)]
pub(crate) struct Network {
    pub(crate) group: GroupId,
    pub(crate) transport: Arc<dyn Transport>,
}

impl RaftNetworkFactory<TypeConfig> for Network {
    type Network = Link;

    async fn new_client(&mut self, target: NodeId, _node: &()) -> Link {
        Link { target, group: self.group, transport: self.transport.clone() }
    }
}

/// One replica's way to one other.
pub(crate) struct Link {
    target: NodeId,
    group: GroupId,
    transport: Arc<dyn Transport>,
}

fn unreachable(error: &(impl std::error::Error + 'static)) -> Unreachable<TypeConfig> {
    Unreachable::new(error)
}

impl Link {
    async fn call(&self, kind: u8, body: Bytes, timeout: Duration) -> Result<Bytes, RPCError<TypeConfig>> {
        self.transport.call(self.target, self.group, kind, body, timeout).await.map_err(|error| match error {
            TransportError::NoAnswer(..) => RPCError::Network(NetworkError::new(&error)),
            _ => RPCError::Unreachable(unreachable(&error)),
        })
    }

    async fn snapshot_call(&self, kind: u8, body: Bytes) -> Result<Bytes, StreamingError<TypeConfig>> {
        let answer = self.transport.call(self.target, self.group, kind, body, CHUNK_TIMEOUT).await;
        answer.map_err(|error| StreamingError::Unreachable(unreachable(&error)))
    }

    async fn send_snapshot(
        &self,
        vote: Vote,
        data: SnapshotData,
    ) -> Result<SnapshotResponse<TypeConfig>, StreamingError<TypeConfig>> {
        let refused = |why: String| Err(StreamingError::Unreachable(Unreachable::new(&AnyError::error(why))));
        let source = match data {
            SnapshotData::Source(source) => source,
            // Tried again after a pause, and then the rows may be there.
            SnapshotData::Lacking(why) => return refused(why),
            SnapshotData::Staged(_) => return refused("a received snapshot is not sent on".into()),
        };
        let transfer = u64::from_le_bytes(random::array());
        self.snapshot_call(SNAPSHOT_BEGIN, Begin::encode(transfer, vote, source.contents())).await?;
        let read = |mut chunks: Chunks| task::spawn_blocking(move || (chunks.next_chunk(), chunks));
        let mut reading = read(source.chunks());
        let mut number = 0;
        loop {
            let (chunk, chunks) =
                reading.await.map_err(|error| StreamingError::Unreachable(unreachable(&io::Error::other(error))))?;
            // A read error must not pass for the end of the rows.
            let Some(chunk) = chunk.map_err(|error| StreamingError::Unreachable(unreachable(&error)))? else { break };
            // The next one is read while this one travels.
            reading = read(chunks);
            self.snapshot_call(SNAPSHOT_ROWS, Position { transfer, number }.encode(&chunk)).await?;
            number += 1;
        }
        let answer = self.snapshot_call(SNAPSHOT_END, Position { transfer, number }.encode(&[])).await?;
        messages::decode_json("snapshot answer", &answer)
            .map_err(|error| StreamingError::Unreachable(unreachable(&error)))
    }
}

fn decoded<T>(result: Result<T, DecodeError>) -> Result<T, RPCError<TypeConfig>> {
    result.map_err(|error| RPCError::Network(NetworkError::new(&error)))
}

impl RaftNetworkV2<TypeConfig> for Link {
    type SnapshotData = SnapshotData;

    async fn append_entries(
        &mut self,
        request: AppendEntriesRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<AppendEntriesResponse<TypeConfig>, RPCError<TypeConfig>> {
        let timeout = if request.entries.is_empty() { option.hard_ttl() } else { APPEND_TIMEOUT };
        let answer = self.call(APPEND, messages::encode_append(&request), timeout).await?;
        decoded(messages::decode_append_response(answer))
    }

    async fn vote(
        &mut self,
        request: VoteRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<VoteResponse<TypeConfig>, RPCError<TypeConfig>> {
        let answer = self.call(VOTE, messages::encode_json(&request), option.hard_ttl()).await?;
        decoded(messages::decode_json("vote answer", &answer))
    }

    async fn pre_vote(
        &mut self,
        request: VoteRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<VoteResponse<TypeConfig>, RPCError<TypeConfig>> {
        let answer = self.call(PRE_VOTE, messages::encode_json(&request), option.hard_ttl()).await?;
        decoded(messages::decode_json("pre-vote answer", &answer))
    }

    async fn full_snapshot(
        &mut self,
        vote: Vote,
        snapshot: Snapshot<LeaderId, NodeId, (), SnapshotData>,
        cancel: impl Future<Output = ReplicationClosed> + OptionalSend + 'static,
        _option: RPCOption,
    ) -> Result<SnapshotResponse<TypeConfig>, StreamingError<TypeConfig>> {
        tokio::select! {
            sent = self.send_snapshot(vote, snapshot.snapshot) => sent,
            closed = cancel => Err(StreamingError::Closed(closed)),
        }
    }

    async fn transfer_leader(
        &mut self,
        request: TransferLeaderRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<TransferLeaderResponse<TypeConfig>, RPCError<TypeConfig>> {
        let answer = self.call(TRANSFER, messages::encode_json(&request), option.hard_ttl()).await?;
        decoded(messages::decode_json("transfer answer", &answer))
    }
}

/// The receiving end: gives messages to this node's replica.
pub(crate) struct Inbound {
    pub(crate) group: GroupId,
    pub(crate) raft: Raft,
    pub(crate) data: Data,
    pub(crate) applier: Applier,
    /// The one snapshot transfer under way; a new one of the same or a newer leader takes its place.
    pub(crate) incoming: Mutex<Option<Incoming>>,
    /// Counts the transfers that have begun, in the order in which they came.
    pub(crate) arrivals: AtomicU64,
    /// What is held ready for replicas that have lost their data.
    pub(crate) pulls: Pulls,
    pub(crate) clock: Clock,
    /// Until then a lease promised before this start may hold.
    pub(crate) quiet_until: Instant,
    /// When the last append was accepted.
    pub(crate) heard: Mutex<Option<Instant>>,
}

/// A snapshot transfer that is being received.
pub(crate) struct Incoming {
    /// Its id.
    transfer: u64,
    /// The leader's that sends it.
    vote: Vote,
    /// Its place in the order in which transfers came.
    arrival: u64,
    /// When its last message came.
    used: Instant,
    /// The number of the next chunk.
    next: u64,
    loading: Arc<Loading>,
}

#[cfg(test)]
impl Incoming {
    /// As if nothing had come for as long as a transfer may be idle.
    pub(crate) fn idle_for_test(&mut self) {
        self.used -= TRANSFER_IDLE_MAX;
    }
}

/// Why a message was not served.
#[derive(Debug, thiserror::Error)]
pub(crate) enum InboundError {
    #[error(transparent)]
    Decode(#[from] DecodeError),
    #[error("unknown message kind {0}; is the other node of a later version?")]
    Kind(u8),
    #[error("{0}")]
    Snapshot(String),
    #[error("this replica has just started and may have promised a leader not to vote yet")]
    Quiet,
    #[error("this replica has stopped: {0}")]
    Stopped(String),
}

fn stopped(error: impl std::fmt::Display) -> InboundError {
    InboundError::Stopped(error.to_string())
}

impl Inbound {
    pub(crate) async fn handle(&self, kind: u8, body: Bytes) -> Result<Bytes, InboundError> {
        match kind {
            APPEND => {
                let request = messages::decode_append(body)?;
                let response = self.raft.append_entries(request).await.map_err(stopped)?;
                if !matches!(response, AppendEntriesResponse::HigherVote(_)) {
                    *self.heard.lock() = Some(self.clock.now());
                }
                Ok(messages::encode_append_response(&response))
            }
            VOTE => {
                let request: VoteRequest<TypeConfig> = messages::decode_json("vote request", &body)?;
                if !request.leadership_transfer {
                    self.may_vote()?;
                }
                Ok(messages::encode_json(&self.raft.vote(request).await.map_err(stopped)?))
            }
            PRE_VOTE => {
                let request = messages::decode_json("pre-vote request", &body)?;
                self.may_vote()?;
                Ok(messages::encode_json(&self.raft.pre_vote(request).await.map_err(stopped)?))
            }
            TRANSFER => {
                let request = messages::decode_json("transfer request", &body)?;
                Ok(messages::encode_json(&self.raft.handle_transfer_leader(request).await.map_err(stopped)?))
            }
            SNAPSHOT_BEGIN => self.snapshot_begin(Begin::decode(body)?).await,
            SNAPSHOT_ROWS => {
                let (position, chunk) = Position::decode(body)?;
                self.snapshot_rows(position, chunk).await
            }
            SNAPSHOT_END => self.snapshot_end(Position::decode(body)?.0).await,
            PULL_BEGIN => {
                let begin = messages::decode_json("pull", &body)?;
                self.pulls.begin(begin).await.map_err(InboundError::Snapshot)
            }
            PULL_PARTITION => {
                let begin = messages::decode_json("pull of a partition", &body)?;
                self.pulls.begin_partition(begin).await.map_err(InboundError::Snapshot)
            }
            PULL_NEXT => {
                let next = messages::decode_json("pull of a chunk", &body)?;
                self.pulls.next(next).await.map_err(InboundError::Snapshot)
            }
            kind => Err(InboundError::Kind(kind)),
        }
    }

    /// Gives up what nobody goes on with: a transfer whose leader is gone would keep its copies. To be called now and then.
    pub(crate) fn expire(&self) {
        self.pulls.expire();
        let now = self.clock.now();
        let is_over = |present: &mut Incoming| now.saturating_duration_since(present.used) >= TRANSFER_IDLE_MAX;
        drop(self.incoming.lock().take_if(is_over));
    }

    /// True if a leader's append was accepted so lately.
    pub(crate) fn has_heard(&self, within: Duration) -> bool {
        self.heard.lock().is_some_and(|heard| self.clock.now() - heard < within)
    }

    fn may_vote(&self) -> Result<(), InboundError> {
        if self.clock.now() < self.quiet_until { Err(InboundError::Quiet) } else { Ok(()) }
    }

    async fn snapshot_begin(&self, begin: Begin) -> Result<Bytes, InboundError> {
        let Begin { transfer, vote, contents } = begin;
        self.is_current(&vote)?;
        // A leader that is not elected has committed nothing; openraft takes that for granted.
        if contents.row.applied.is_some_and(|applied| applied.leader_id.term > vote.leader_id.term) {
            return Err(InboundError::Snapshot("a snapshot of a later term than the leader that sends it".into()));
        }
        let arrival = self.arrivals.fetch_add(1, Ordering::Relaxed);
        let loading = Loading::begin(self.data.clone(), &self.applier, self.group, contents).await.map_err(stopped)?;
        let mut incoming = self.incoming.lock();
        // A newer leader's transfer may have begun while the copies were made, or a later one of the same leader.
        if incoming.as_ref().is_some_and(|present| vote < present.vote) {
            return Err(InboundError::Snapshot(DEPOSED.into()));
        }
        if incoming.as_ref().is_some_and(|present| vote == present.vote && arrival < present.arrival) {
            return Err(InboundError::Snapshot("the leader has begun another transfer since".into()));
        }
        let used = self.clock.now();
        *incoming = Some(Incoming { transfer, vote, arrival, used, next: 0, loading: Arc::new(loading) });
        Ok(Bytes::new())
    }

    /// Refuses the transfer of a leader that this replica knows to be deposed.
    fn is_current(&self, vote: &Vote) -> Result<(), InboundError> {
        let metrics = self.raft.metrics();
        let deposed = *vote < metrics.borrow_watched().vote;
        if deposed { Err(InboundError::Snapshot(DEPOSED.into())) } else { Ok(()) }
    }

    async fn snapshot_rows(&self, position: Position, chunk: Bytes) -> Result<Bytes, InboundError> {
        let loading = {
            let mut incoming = self.incoming.lock();
            let present = expected(&mut incoming, position)?;
            (present.next, present.used) = (present.next + 1, self.clock.now());
            present.loading.clone()
        };
        if let Err(error) = loading.load(chunk).await.map_err(stopped)? {
            // What is missing now must not be passed over by a later chunk.
            drop(self.incoming.lock().take_if(|present| present.transfer == position.transfer));
            return Err(InboundError::Snapshot(error.to_string()));
        }
        Ok(Bytes::new())
    }

    async fn snapshot_end(&self, position: Position) -> Result<Bytes, InboundError> {
        let complete = {
            let mut incoming = self.incoming.lock();
            expected(&mut incoming, position)?;
            incoming.take()
        };
        let Incoming { vote, loading, .. } = complete.ok_or_else(unknown_transfer)?;
        let unfinished = || InboundError::Snapshot("a chunk is still being loaded; begin again".into());
        let staged = Arc::try_unwrap(loading).map_err(|_| unfinished())?.finish().await;
        let staged = staged.map_err(|error| InboundError::Snapshot(error.to_string()))?;
        let snapshot = Snapshot { meta: staged.meta(), snapshot: SnapshotData::Staged(Box::new(staged)) };
        let response = self.raft.install_full_snapshot(vote, snapshot).await.map_err(stopped)?;
        Ok(messages::encode_json(&response))
    }
}

const DEPOSED: &str = "the transfer is of a leader that has been deposed";

fn unknown_transfer() -> InboundError {
    InboundError::Snapshot("no such snapshot transfer is under way; begin again".into())
}

/// The transfer under way, if this message is the next one of it.
fn expected(incoming: &mut Option<Incoming>, position: Position) -> Result<&mut Incoming, InboundError> {
    let present = incoming.as_mut().filter(|present| present.transfer == position.transfer);
    let present = present.ok_or_else(unknown_transfer)?;
    if present.next != position.number {
        let Position { number, .. } = position;
        let text = format!("chunk {number} of a snapshot transfer came, but {} comes next; begin again", present.next);
        return Err(InboundError::Snapshot(text));
    }
    Ok(present)
}
