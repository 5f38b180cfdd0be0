//! Forgetting the origins that are gone: what partitions remember of the calls of nodes' earlier starts ([`recoil_consensus::answered`]).
//!
//! An origin is gone once it is no member's present start, and may be forgotten after it has been gone for so long that none of its
//! calls can still be on its way. That is a leader's work: it removes the rows in an entry of its group. Rows are looked for when there
//! is something to find: on all partitions led here once an origin has been gone for long enough, and on those of a group whenever this
//! node begins to lead it, for origins that were gone before this node could see that. A sweep reads rows and makes nothing else of a
//! partition; only one that has rows to be removed gets a job.
//!
//! Bounded: [`SWEPT_MAX`] partitions' apps are looked at in a round. What is kept in memory is the origins found or seen leaving, until
//! a sweep has removed them, and the partitions left in the present sweep.
//!
//! An origin whose removal did not commit is found again by the next session of its group.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Weak};
use std::time::Duration;

use recoil_base::{AppId, GroupId, NodeId};
use recoil_consensus::answered::origins;
use recoil_consensus::{Origin, PartitionRef, Session};
use recoil_engine::Mode;
use recoil_storage::DataError;
use rustc_hash::FxHashMap;
use tokio::time::Instant;

use super::{Host, Work};

/// Apps on partitions whose rows are looked at in one round.
const SWEPT_MAX: usize = 256;

/// See the module's essay.
#[derive(Default)]
pub(super) struct Departed {
    /// The present start of every member.
    starts: HashMap<NodeId, u64>,
    /// Origins that are no member's present start, since when this node has seen that.
    since: FxHashMap<Origin, Instant>,
    /// The sessions whose partitions have been looked at since they began.
    looked_at: FxHashMap<GroupId, Weak<Session>>,
    /// Partitions that the present sweep has yet to look at.
    left: Vec<(GroupId, PartitionRef)>,
    /// The origins that the present sweep removes.
    ripe: BTreeSet<Origin>,
}

impl Departed {
    fn is_present(&self, origin: Origin) -> bool {
        self.starts.get(&origin.node) == Some(&origin.incarnation)
    }

    fn set_starts(&mut self, starts: HashMap<NodeId, u64>, now: Instant) {
        let before = std::mem::replace(&mut self.starts, starts);
        for (node, incarnation) in before {
            let origin = Origin { node, incarnation };
            if !self.is_present(origin) {
                self.since.entry(origin).or_insert(now);
            }
        }
        // One that was found before this node had learnt of it is not gone.
        let starts = &self.starts;
        self.since.retain(|origin, _| starts.get(&origin.node) != Some(&origin.incarnation));
    }

    /// Begins the next sweep, if there is something to find. `led` are the groups led here.
    fn begin(
        &mut self,
        led: Vec<(GroupId, Arc<Session>)>,
        kept: Duration,
        now: Instant,
        partitions: impl Fn(GroupId) -> Vec<(GroupId, PartitionRef)>,
    ) {
        let is_ripe = |since: &Instant| now.saturating_duration_since(*since) >= kept;
        self.ripe = self.since.iter().filter(|(_, since)| is_ripe(since)).map(|(origin, _)| *origin).collect();
        self.since.retain(|_, since| !is_ripe(since));
        self.looked_at.retain(|group, _| led.iter().any(|(other, _)| other == group));
        for (group, session) in led {
            let session = Arc::downgrade(&session);
            let is_new = self.looked_at.get(&group).is_none_or(|before| !before.ptr_eq(&session));
            if is_new || !self.ripe.is_empty() {
                self.looked_at.insert(group, session);
                self.left.extend(partitions(group));
            }
        }
    }

    /// What is to be removed of the origins that an app on a partition remembers. The others that are gone are noted.
    fn look(&mut self, found: Vec<Origin>, now: Instant) -> Vec<Origin> {
        let (ripe, rest): (Vec<Origin>, Vec<Origin>) =
            found.into_iter().filter(|origin| !self.is_present(*origin)).partition(|origin| self.ripe.contains(origin));
        for origin in rest {
            self.since.entry(origin).or_insert(now);
        }
        ripe
    }
}

impl Host {
    /// The present start of every member: calls of other origins will come no more.
    pub fn set_starts(&self, starts: HashMap<NodeId, u64>) {
        self.departed.lock().set_starts(starts, self.parts.clock.now());
    }

    /// Forgets, on the partitions that this node leads, origins that have been gone for `kept`. Does a bounded part of that, and returns
    /// whether there is more. Blocks; not for a tokio worker.
    ///
    /// # Errors
    /// If the data cannot be read; the rest of the sweep is left to the next one.
    pub fn forget_origins(self: &Arc<Self>, kept: Duration) -> Result<bool, DataError> {
        let now = self.parts.clock.now();
        let led: Vec<_> = self.groups().iter().filter_map(|group| Some((group.id(), group.session()?))).collect();
        let apps: Vec<AppId> = self.apps.read().keys().copied().collect();
        let round = {
            let mut departed = self.departed.lock();
            if departed.left.is_empty() {
                departed.begin(led, kept, now, |group| {
                    self.parts.locals.of_group(group).iter().map(|(partition, _)| (group, *partition)).collect()
                });
            }
            let count = (SWEPT_MAX / apps.len().max(1)).max(1);
            let rest = departed.left.len().saturating_sub(count);
            departed.left.split_off(rest)
        };
        for (group, partition, app) in
            round.into_iter().flat_map(|(group, partition)| apps.iter().map(move |app| (group, partition, *app)))
        {
            let Ok(local) = self.owned(partition, group) else { continue };
            let found = origins(&self.parts.data, &local, app).inspect_err(|_| self.departed.lock().left.clear())?;
            let gone = self.departed.lock().look(found, now);
            if !gone.is_empty()
                && self.group(group).is_some_and(|group| group.session().is_some())
                && let Ok(share) = self.share(partition, app)
            {
                self.put_own(share, Mode::Read, Work::Forget(gone));
            }
        }
        Ok(!self.departed.lock().left.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEPT: Duration = Duration::from_secs(600);

    fn origin(node: u32, incarnation: u64) -> Origin {
        Origin { node: NodeId(node), incarnation }
    }

    fn ripe(departed: &mut Departed, now: Instant) -> Vec<Origin> {
        departed.begin(vec![], KEPT, now, |_| vec![]);
        departed.ripe.iter().copied().collect()
    }

    /// Fails if an origin's time runs from when this node first heard of it, before it was known as a member's start.
    #[test]
    fn an_origin_is_ripe_once_it_has_been_gone_for_long_enough() {
        let now = recoil_base::Clock::system().now();
        let mut departed = Departed::default();
        assert!(departed.look(vec![origin(1, 2)], now).is_empty());
        departed.set_starts([(NodeId(1), 2), (NodeId(2), 7)].into(), now + KEPT / 2);
        assert!(ripe(&mut departed, now + KEPT * 2).is_empty(), "both are present");
        departed.set_starts([(NodeId(1), 3)].into(), now + KEPT * 2);
        assert!(ripe(&mut departed, now + KEPT * 3 - Duration::from_secs(1)).is_empty());
        assert_eq!(ripe(&mut departed, now + KEPT * 3), [origin(1, 2), origin(2, 7)]);
        assert_eq!(departed.look(vec![origin(1, 2), origin(1, 3), origin(5, 1)], now), [origin(1, 2)]);
        assert!(ripe(&mut departed, now + KEPT / 2).is_empty(), "the sweep has removed them");
        assert_eq!(ripe(&mut departed, now + KEPT), [origin(5, 1)], "the one that the sweep found is next");
    }
}
