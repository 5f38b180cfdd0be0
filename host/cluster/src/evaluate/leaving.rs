//! Giving partitions up: what the source's leader does around a `Release` (rules M9 and M11 of the handoff protocol).
//!
//! A partition that is about to be released is *leaving*: its calls park, so that nothing is evaluated on it any more, reads neither: any
//! replica that has applied the release may answer the target, which may serve writes before this leader learns of it. Then every share's
//! evaluation is awaited, for a few milliseconds; if one takes longer the partition stays, and is tried again later. The release is appended
//! behind everything that was evaluated, and what is parked goes on once its outcome is known: by then the partition's calls are
//! redirected, or evaluated here as before.
//!
//! Invariants:
//! - Between the proposal of a release and its outcome nothing is evaluated on the partition under any session of this node. A share
//!   looks whether its partition leaves after it has locked its evaluation, and the release is proposed with all of them locked.
//! - The outcome, not whoever asked for the release, ends the parking.
//! - A call parks for at most [`PARKED_MAX`]; then it is answered "again", and so are later ones.
//!
//! Bounded: calls that park stay in their mailboxes, which are.

use std::collections::hash_map::Entry;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use recoil_base::GroupId;
use recoil_consensus::{Decision, Move, Outcome, OwnershipChange, PartitionRef, Phase};
use rustc_hash::FxHashMap;
use tokio::sync::oneshot;

use super::{Host, Partition};

/// How long evaluations that are under way are waited for.
const DRAIN_MAX: Duration = Duration::from_millis(5);
const DRAIN_LOOK: Duration = Duration::from_micros(500);
/// How long a call may park.
const PARKED_MAX: Duration = Duration::from_millis(100);

/// Why nothing was released.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReleaseError {
    /// This node does not lead the group.
    #[error("this node does not lead the group")]
    NotLeader,
    /// Later, maybe.
    #[error("{0}")]
    Busy(&'static str),
    /// It may have been released.
    #[error("the leadership was lost before the outcome was known")]
    Unknown,
}

/// What a share does with the calls of its partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Leave {
    /// Leaves them where they are.
    Park,
    /// Has them sent again.
    SendAgain,
}

#[derive(Default)]
struct Parked {
    shares: Vec<Arc<Partition>>,
    too_long: bool,
    /// Tells one stay from a later one.
    number: u64,
}

/// The partitions that are leaving.
#[derive(Default)]
pub(super) struct Leaving {
    count: AtomicUsize,
    parked: Mutex<(u64, FxHashMap<PartitionRef, Parked>)>,
}

impl Leaving {
    /// What to do with the calls of a partition, if it is leaving.
    pub(super) fn look(&self, key: PartitionRef) -> Option<Leave> {
        if self.count.load(Ordering::Acquire) == 0 {
            return None;
        }
        let parked = self.parked.lock();
        parked.1.get(&key).map(|parked| if parked.too_long { Leave::SendAgain } else { Leave::Park })
    }

    /// Keeps a share, whose calls are in its mailbox, until its partition leaves no more. False if it does not leave now, or parks for
    /// too long.
    pub(super) fn park(&self, share: &Arc<Partition>) -> bool {
        let mut parked = self.parked.lock();
        let found = parked.1.get_mut(&share.key).filter(|parked| !parked.too_long);
        found.map(|parked| parked.shares.push(share.clone())).is_some()
    }

    /// Those of `keys` that do not leave yet do from now on. Answers them, and a number for this time.
    pub(super) fn begin(&self, keys: impl Iterator<Item = PartitionRef>) -> (u64, Vec<PartitionRef>) {
        let mut parked = self.parked.lock();
        parked.0 += 1;
        let number = parked.0;
        let mut begun = Vec::new();
        for key in keys {
            if let Entry::Vacant(vacant) = parked.1.entry(key) {
                vacant.insert(Parked { number, ..Parked::default() });
                begun.push(key);
            }
        }
        self.count.store(parked.1.len(), Ordering::Release);
        (number, begun)
    }

    pub(super) fn end(&self, keys: &[PartitionRef]) -> Vec<Arc<Partition>> {
        let mut parked = self.parked.lock();
        let shares = keys.iter().filter_map(|key| parked.1.remove(key)).flat_map(|parked| parked.shares).collect();
        self.count.store(parked.1.len(), Ordering::Release);
        shares
    }

    /// What parks since then has parked for long enough.
    pub(super) fn hurry(&self, number: u64) -> Vec<Arc<Partition>> {
        let mut parked = self.parked.lock();
        let due = parked.1.values_mut().filter(|parked| parked.number == number);
        due.flat_map(|parked| {
            parked.too_long = true;
            std::mem::take(&mut parked.shares)
        })
        .collect()
    }
}

/// Ends the parking, unless somebody else does.
struct Guard {
    host: Arc<Host>,
    keys: Vec<PartitionRef>,
}

impl Guard {
    fn end(mut self) {
        self.host.stay(&std::mem::take(&mut self.keys));
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.host.stay(&self.keys);
    }
}

impl Host {
    /// Releases partitions of a group that this node leads, in one entry, as far as that is still to be decided and their evaluations
    /// end in time. Returns once the outcome is known; what each log row says then is in [`Locals`](recoil_consensus::Locals).
    ///
    /// # Errors
    /// None of them has been released, or it is not known.
    pub async fn release(
        self: &Arc<Self>,
        group: GroupId,
        moves: Vec<(PartitionRef, Move)>,
    ) -> Result<(), ReleaseError> {
        let session = self.group(group).and_then(|group| group.session()).ok_or(ReleaseError::NotLeader)?;
        let undecided = |(key, moving): &(PartitionRef, Move)| {
            let state = self.parts.locals.state(group, *key);
            state.is_some_and(|state| {
                state.ownership.phase == Phase::Owned && state.ownership.decision(moving.id) == Decision::Undecided
            })
        };
        let mut due: Vec<_> = moves.into_iter().filter(undecided).collect();
        if due.is_empty() {
            return Ok(());
        }
        let (number, begun) = self.leaving.begin(due.iter().map(|(key, _)| *key));
        due.retain(|(key, _)| begun.contains(key));
        let guard = Guard { host: self.clone(), keys: begun };
        if due.is_empty() {
            return Err(ReleaseError::Busy("the partition is being released already"));
        }
        let host = self.clone();
        self.parts.runtime.spawn(async move {
            tokio::time::sleep(PARKED_MAX).await;
            let late = host.leaving.hurry(number);
            host.schedule(late);
        });
        let (told, outcome) = oneshot::channel();
        let mut guard = Some(guard);
        let mut told = Some(told);
        let until = self.parts.clock.now() + DRAIN_MAX;
        loop {
            {
                let shares: Vec<Arc<Partition>> = due.iter().flat_map(|(key, _)| self.shares_of(*key)).collect();
                let locked: Vec<_> = shares.iter().map_while(|share| share.evaluation.try_lock()).collect();
                if locked.len() == shares.len()
                    && let (Some(guard), Some(told)) = (guard.take(), told.take())
                {
                    let changes = due.iter().map(|(key, moving)| (*key, OwnershipChange::Release(*moving))).collect();
                    let waiter = Box::new(move |outcome| {
                        guard.end();
                        let _ = told.send(outcome); // nobody may wait any more
                    });
                    session.change_ownership(changes, waiter).map_err(|_| ReleaseError::NotLeader)?;
                    break;
                }
            }
            if self.parts.clock.now() >= until {
                return Err(ReleaseError::Busy("a call on the partition takes long"));
            }
            tokio::time::sleep(DRAIN_LOOK).await;
        }
        match outcome.await {
            Ok(Outcome::Committed) => Ok(()),
            Ok(Outcome::Refused) => Err(ReleaseError::NotLeader),
            Ok(Outcome::Unknown) | Err(_) => Err(ReleaseError::Unknown),
        }
    }

    /// Partitions leave no more: what has parked goes on, and whatever else they have to do without a call.
    fn stay(self: &Arc<Self>, keys: &[PartitionRef]) {
        if keys.is_empty() {
            return;
        }
        let shares = self.leaving.end(keys);
        self.schedule(shares);
        keys.iter().for_each(|key| self.wake_partition(*key));
    }

    fn shares_of(&self, key: PartitionRef) -> Vec<Arc<Partition>> {
        let held = self.partitions.read().get(&key).cloned();
        held.map(|held| held.shares.read().values().cloned().collect()).unwrap_or_default()
    }
}
