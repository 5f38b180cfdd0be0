//! A leader's session: from one chain start to the first proposal that does not go through.
//!
//! Evaluators append the writes of each call to the *open batch*; the proposer task of [`crate::group`] closes it into the next
//! entry of the chain when no entry flies, or fewer than [`IN_FLIGHT_MAX`] do and the batch has grown to be worth one. The batch's
//! number is the entry's chain number, and tags what the evaluator keeps in its overlay until that entry is applied.
//!
//! Invariants: waiters of a batch are told `Committed` only if every earlier batch of the chain was; after sealing, no batch
//! closes and nothing is appended; every waiter is told exactly once.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use openraft::Instant as _;
use openraft::alias::WatchReceiverOf;
use openraft::async_runtime::watch::WatchReceiver;
use openraft::{RaftMetrics, ReadPolicy};
use parking_lot::Mutex;
use recoil_base::{AppId, Digest, NodeId};
use recoil_storage::Write;
use rustc_hash::FxHashMap;
use tokio::sync::{Notify, oneshot};

use crate::answered::AnsweredCall;
use crate::command::{AppWrites, Body, Command, PartitionRef, PartitionWrites};
use crate::ownership::OwnershipChange;
use crate::raft::{LeaderId, Raft, TypeConfig};
use crate::sleep::Sleep;

/// Entries of one group proposed and not yet committed.
pub(crate) const IN_FLIGHT_MAX: usize = 3;
/// A batch closes for good at this size, but for one larger transaction.
pub(crate) const BATCH_BYTES_MAX: usize = 4 << 20;
/// While earlier entries fly, a batch waits until it has so many calls or bytes: each entry costs every replica about as much as
/// dozens of calls do.
const BATCH_CALLS_WORTH: usize = 128;
const BATCH_BYTES_WORTH: usize = 128 << 10;

/// What became of the writes that a waiter waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// On a quorum, in order.
    Committed,
    /// Certainly not applied and never will be: run the call again.
    Refused,
    /// Leadership was lost with the entry under way.
    Unknown,
}

/// Told once.
pub type Waiter = Box<dyn FnOnce(Outcome) + Send>;

/// The session has ended; nothing was appended. The call must find the next leader.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the leadership under which this was evaluated has ended")]
pub struct SessionSealed;

/// Called after batches' writes are visible in the data, with the partitions that they wrote.
pub type AppliedObserver = Arc<dyn Fn(&BTreeSet<PartitionRef>) + Send + Sync>;

struct OpenBatch {
    number: u64,
    bytes: usize,
    partitions: Vec<PartitionWrites>,
    places: FxHashMap<PartitionRef, usize>,
    versions: Vec<(AppId, Digest)>,
    waiters: Vec<Waiter>,
}

impl OpenBatch {
    fn new(number: u64) -> Self {
        OpenBatch {
            number,
            bytes: 0,
            partitions: vec![],
            places: FxHashMap::default(),
            versions: vec![],
            waiters: vec![],
        }
    }
}

/// A closed batch, ready to be proposed.
pub(crate) struct ClosedBatch {
    pub(crate) number: u64,
    pub(crate) bytes: usize,
    pub(crate) command: Command,
    pub(crate) waiters: Vec<Waiter>,
    /// Told once the entry is visible in the data, in place of its commit.
    pub(crate) applied_waiters: Vec<Waiter>,
    pub(crate) partitions: Vec<PartitionRef>,
}

struct Inner {
    open: OpenBatch,
    /// Entries in flight when the proposer last looked; while there are some, it looks again by itself.
    flying: usize,
    /// Closed because full, waiting for a free place in flight.
    closed: VecDeque<ClosedBatch>,
    /// Waiters for batches that are not committed yet.
    after: VecDeque<(u64, Waiter)>,
    /// The newest time written for each partition: apps are evaluated side by side, and a partition's clock must not go back.
    clocks: FxHashMap<PartitionRef, u64>,
}

/// See the module's essay.
pub struct Session {
    leader: LeaderId,
    raft: Raft,
    metrics: WatchReceiverOf<TypeConfig, RaftMetrics<TypeConfig>>,
    lease: Duration,
    sleep: Arc<Sleep>,
    versions: BTreeMap<AppId, Digest>,
    sealed: AtomicBool,
    ending: AtomicBool,
    successor: OnceLock<NodeId>,
    committed: AtomicU64,
    applied: AtomicU64,
    inner: Mutex<Inner>,
    pub(crate) work: Notify,
}

impl Session {
    pub(crate) fn new(
        leader: LeaderId,
        raft: Raft,
        (lease, sleep): (Duration, Arc<Sleep>),
        chain_start: u64,
        versions: BTreeMap<AppId, Digest>,
    ) -> Arc<Self> {
        Arc::new(Session {
            leader,
            metrics: raft.metrics(),
            raft,
            lease,
            sleep,
            versions,
            sealed: AtomicBool::new(false),
            ending: AtomicBool::new(false),
            successor: OnceLock::new(),
            committed: AtomicU64::new(chain_start),
            applied: AtomicU64::new(chain_start),
            inner: Mutex::new(Inner {
                open: OpenBatch::new(chain_start + 1),
                flying: 0,
                closed: VecDeque::new(),
                after: VecDeque::new(),
                clocks: FxHashMap::default(),
            }),
            work: Notify::new(),
        })
    }

    /// True once nothing more will be appended.
    pub fn is_sealed(&self) -> bool {
        self.sealed.load(Ordering::Acquire)
    }

    /// True if the group has been told that this version of the app evaluates under this session.
    pub fn runs(&self, app: AppId, version: Digest) -> bool {
        self.versions.get(&app) == Some(&version)
    }

    /// Asks for the session's end; the next one begins at once, with the versions there are then.
    pub fn end(&self) {
        self.ending.store(true, Ordering::Release);
        self.work.notify_one();
    }

    /// Asks for the session's end, and for `to` to lead the group from then on. Comes to nothing if `to` lacks anything of the log.
    pub fn hand_over(&self, to: NodeId) {
        let _ = self.successor.set(to);
        self.end();
    }

    /// Who is to lead after this session.
    pub(crate) fn successor(&self) -> Option<NodeId> {
        self.successor.get().copied()
    }

    /// True once its end has been asked for: nothing new is to be begun under it.
    pub fn is_ending(&self) -> bool {
        self.ending.load(Ordering::Acquire)
    }

    /// The newest batch whose writes are visible in the data.
    pub fn applied(&self) -> u64 {
        self.applied.load(Ordering::Acquire)
    }

    /// Puts writes of one evaluated call (to one or, in a transaction, several partitions) into one entry. Answers the
    /// number that tags them in the overlay; `waiter` learns what became of them.
    pub fn append(&self, parts: Vec<CallWrites>, waiter: Waiter) -> Result<u64, SessionSealed> {
        let bytes: usize = parts.iter().map(CallWrites::size).sum();
        let (number, due) = {
            let mut inner = self.inner.lock();
            if self.is_sealed() {
                return Err(SessionSealed);
            }
            if inner.open.bytes + bytes > BATCH_BYTES_MAX {
                self.close_open(&mut inner);
            }
            let Inner { open, clocks, .. } = &mut *inner;
            open.bytes += bytes;
            for mut part in parts {
                let clock = clocks.entry(part.partition).or_default();
                *clock = part.now_us.max(*clock);
                part.now_us = *clock;
                open.add(part);
            }
            open.waiters.push(waiter);
            let number = open.number;
            (number, inner.is_due())
        };
        if due {
            self.work.notify_one();
        }
        Ok(number)
    }

    /// Puts changes of what the group owns into an entry of their own, behind everything appended before. `waiter` learns what
    /// became of it: [`Outcome::Committed`] means that the entry is applied and visible here, so that
    /// [`Locals`](crate::Locals) has the changes that took effect.
    pub fn change_ownership(
        &self,
        changes: Vec<(PartitionRef, OwnershipChange)>,
        waiter: Waiter,
    ) -> Result<(), SessionSealed> {
        {
            let mut inner = self.inner.lock();
            if self.is_sealed() {
                return Err(SessionSealed);
            }
            self.close_open(&mut inner);
            let number = inner.open.number;
            inner.open.number += 1;
            let body = Body::Ownership { changes };
            inner.closed.push_back(ClosedBatch {
                number,
                bytes: 0,
                command: self.command(number, body),
                waiters: vec![],
                applied_waiters: vec![waiter],
                partitions: vec![],
            });
        }
        self.work.notify_one();
        Ok(())
    }

    /// [`Session::change_ownership`], to its end. True if the entry has been applied here.
    pub async fn change_ownership_to_the_end(&self, changes: Vec<(PartitionRef, OwnershipChange)>) -> bool {
        let (told, outcome) = oneshot::channel();
        let waiter = Box::new(move |outcome| {
            let _ = told.send(outcome); // the node may be stopping
        });
        self.change_ownership(changes, waiter).is_ok() && outcome.await == Ok(Outcome::Committed)
    }

    /// Tells `waiter` when batch `number` is committed: at once if it already is.
    pub fn after(&self, number: u64, waiter: Waiter) {
        let mut inner = self.inner.lock();
        if number <= self.committed.load(Ordering::Acquire) {
            drop(inner);
            waiter(Outcome::Committed);
        } else if self.is_sealed() {
            drop(inner);
            waiter(Outcome::Refused);
        } else {
            let place = inner.after.partition_point(|(other, _)| *other <= number);
            inner.after.insert(place, (number, waiter));
        }
    }

    /// True while a quorum's promise not to elect anybody else certainly holds: for three quarters of the lease after the
    /// sending of the last message that a quorum acknowledged, if the machine has not slept since; always, while no other node votes.
    pub fn lease_holds(&self) -> bool {
        if self.is_sealed() {
            return false;
        }
        let awake_for = self.sleep.awake_for();
        let metrics = self.metrics.borrow_watched();
        if metrics.vote.leader_id != self.leader || !metrics.state.is_leader() {
            return false;
        }
        // Nobody else can be elected while this node alone votes.
        let mut voters = metrics.membership_config.voter_ids();
        if voters.next() == Some(self.leader.node_id) && voters.next().is_none() {
            return true;
        }
        let Some(acknowledged) = metrics.last_quorum_acked.as_ref() else { return false };
        acknowledged.elapsed() < awake_for.min(self.lease * 3 / 4)
    }

    /// Asks a quorum whether this node still leads (ReadIndex). True only if it does, in this session's term.
    pub async fn confirm(&self) -> bool {
        let confirmed = match self.raft.get_read_linearizer(ReadPolicy::ReadIndex).await {
            Ok(linearizer) => *linearizer.read_log_id().committed_leader_id() == self.leader,
            Err(_) => false,
        };
        confirmed && !self.is_sealed()
    }

    /// Bytes appended and not yet proposed: what a caller looks at to hold back.
    pub fn backlog_bytes(&self) -> usize {
        let inner = self.inner.lock();
        inner.open.bytes + inner.closed.iter().map(|batch| batch.bytes).sum::<usize>()
    }

    pub(crate) fn leader(&self) -> LeaderId {
        self.leader
    }

    fn command(&self, number: u64, body: Body) -> Command {
        Command { term: self.leader.term, node: self.leader.node_id, chain: number, body }
    }

    fn close(&self, batch: OpenBatch) -> ClosedBatch {
        let OpenBatch { number, bytes, partitions, versions, waiters, .. } = batch;
        let written = partitions.iter().map(|part| part.partition).collect();
        let command = self.command(number, Body::Writes { versions, partitions });
        ClosedBatch { number, bytes, command, waiters, applied_waiters: vec![], partitions: written }
    }

    /// Closes the open batch, if it holds anything.
    fn close_open(&self, inner: &mut Inner) {
        if !inner.open.partitions.is_empty() {
            let next = OpenBatch::new(inner.open.number + 1);
            let full = std::mem::replace(&mut inner.open, next);
            let full = self.close(full);
            inner.closed.push_back(full);
        }
    }

    /// The next batch to propose, if anything waits that is worth an entry, or anything at all if no other entry flies.
    pub(crate) fn take_batch(&self, flying: usize) -> Option<ClosedBatch> {
        let mut inner = self.inner.lock();
        inner.flying = flying;
        if !inner.is_due() {
            return None;
        }
        inner.flying += 1;
        if let Some(batch) = inner.closed.pop_front() {
            return Some(batch);
        }
        let next = OpenBatch::new(inner.open.number + 1);
        let batch = std::mem::replace(&mut inner.open, next);
        Some(self.close(batch))
    }

    pub(crate) fn set_committed(&self, number: u64) {
        let ready = {
            let mut inner = self.inner.lock();
            self.committed.store(number, Ordering::Release);
            let count = inner.after.partition_point(|(other, _)| *other <= number);
            inner.after.drain(..count).collect::<Vec<_>>()
        };
        for (_, waiter) in ready {
            waiter(Outcome::Committed);
        }
    }

    pub(crate) fn set_applied(&self, number: u64) {
        self.applied.fetch_max(number, Ordering::AcqRel);
    }

    /// Ends the session: what was never proposed is refused, readers of anything uncommitted are to ask again. Answers the
    /// number after the last one that any entry of this chain may carry.
    pub(crate) fn seal(&self) -> u64 {
        let (waiters, number) = {
            let mut inner = self.inner.lock();
            self.sealed.store(true, Ordering::Release);
            let mut waiters = std::mem::take(&mut inner.open.waiters);
            inner.open.partitions.clear();
            for batch in inner.closed.drain(..) {
                waiters.extend(batch.waiters);
                waiters.extend(batch.applied_waiters);
            }
            waiters.extend(inner.after.drain(..).map(|(_, waiter)| waiter));
            (waiters, inner.open.number)
        };
        for waiter in waiters {
            waiter(Outcome::Refused);
        }
        number
    }
}

impl Inner {
    /// True if a batch should be proposed as soon as there is a place in flight.
    fn is_due(&self) -> bool {
        let OpenBatch { waiters, bytes, partitions, .. } = &self.open;
        let worth = self.flying == 0 || waiters.len() >= BATCH_CALLS_WORTH || *bytes >= BATCH_BYTES_WORTH;
        !self.closed.is_empty() || !partitions.is_empty() && worth
    }
}

/// What one call wrote to one partition.
pub struct CallWrites {
    /// The partition.
    pub partition: PartitionRef,
    /// The epoch it was evaluated in.
    pub epoch: u64,
    /// The transaction's time, microseconds.
    pub now_us: u64,
    /// The app whose handler wrote.
    pub app: AppId,
    /// The app's version.
    pub version: Digest,
    /// What it wrote, keys relative to (copy, app).
    pub writes: Vec<Write>,
    /// The call itself with its answer, and those answered before it that no entry carries yet.
    pub calls: Vec<AnsweredCall>,
}

impl CallWrites {
    fn size(&self) -> usize {
        let writes: usize = self.writes.iter().map(Write::size).sum();
        64 + writes + self.calls.iter().map(AnsweredCall::size).sum::<usize>()
    }
}

impl OpenBatch {
    fn add(&mut self, call: CallWrites) {
        if !self.versions.iter().any(|(app, _)| *app == call.app) {
            self.versions.push((call.app, call.version));
        }
        let place = *self.places.entry(call.partition).or_insert_with(|| {
            self.partitions.push(PartitionWrites {
                partition: call.partition,
                epoch: call.epoch,
                now_us: 0,
                apps: vec![],
            });
            self.partitions.len() - 1
        });
        let part = &mut self.partitions[place];
        part.now_us = part.now_us.max(call.now_us);
        match part.apps.iter_mut().find(|app| app.app == call.app) {
            Some(app) => {
                app.writes.extend(call.writes);
                app.calls.extend(call.calls);
            }
            None => part.apps.push(AppWrites { app: call.app, writes: call.writes, calls: call.calls }),
        }
    }
}
