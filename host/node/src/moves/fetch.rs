//! Fetching what replicas on this node lack: from a replica of their own group, or from one of the source that still has the released copy.
//!
//! A replica that waits for the source's replica on its own node is left alone: applying the source's log completes it, or shows that it
//! must fetch. One partition after the other; what nobody can give now is tried again. The cluster's move rate bounds the bytes that are read a
//! second, but for partitions that nobody serves until this node, which leads them, has their rows.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use recoil_base::GroupId;
use recoil_cluster::MetaState;
use recoil_consensus::{CopyState, FetchError, FetchFrom, Group, PartitionRef};
use tokio::time::Instant;

use crate::node::Parts;

/// Pause before what nobody could give is asked for again.
const RETRY: Duration = Duration::from_millis(100);

/// Looks after the copies here until the node stops.
pub(crate) async fn run(parts: Arc<Parts>) {
    let mut changes = parts.context.locals.changes();
    let rate = Rate::new(parts.clock.now());
    loop {
        changes.mark_unchanged();
        let mut left = false;
        for (group, partition) in parts.context.locals.lacking() {
            // After a start groups open one after another, and none of their rows need change then.
            let Some(open) = parts.host.group(group) else {
                left = true;
                continue;
            };
            match complete(&parts, &open, partition, &rate).await {
                Ok(()) => {}
                Err(FetchError::Refused(why)) => {
                    left = true;
                    tracing::debug!(%group, ?partition, %why, "the rows of a partition cannot be fetched yet");
                }
                // The data or the disk: whoever watches them ends the node.
                Err(FetchError::Here(why)) => {
                    left = true;
                    tracing::warn!(%group, ?partition, %why, "the rows of a partition could not be stored");
                }
            }
        }
        if left {
            tokio::time::sleep(RETRY).await;
        } else if changes.changed().await.is_err() {
            return;
        }
    }
}

async fn complete(parts: &Parts, group: &Group, partition: PartitionRef, rate: &Rate) -> Result<(), FetchError> {
    let state = parts.states.borrow().clone();
    let here = parts.context.locals.state(group.id(), partition);
    let waits_for = here.and_then(|here| match here.copy?.state {
        CopyState::Waiting { source, .. } => Some(source),
        _ => None,
    });
    let is_member = |group: GroupId| state.groups.get(&group).is_some_and(|group| group.members.contains(&parts.node));
    if waits_for.is_some_and(is_member) {
        return Err(FetchError::Refused("it waits for the source's replica on this node".into()));
    }
    let mut last = FetchError::Refused("no other node that may have them is live".into());
    for from in candidates(parts, &state, group.id(), partition) {
        let pace = |bytes: usize| match group.session() {
            Some(_) => Duration::ZERO,
            None => rate.read(parts.clock.now(), bytes, parts.states.borrow().settings.move_rate_bytes),
        };
        match group.fetch(partition, from, &pace).await {
            Err(FetchError::Refused(why)) => last = FetchError::Refused(why),
            other => return other,
        }
    }
    Err(last)
}

/// Shorter pauses are not made, but added to the next one: a timer has about a millisecond.
const PAUSE_MIN: Duration = Duration::from_millis(5);

/// Keeps to a number of bytes a second, over all that is fetched.
struct Rate {
    /// When what has been read is paid for.
    paid: Mutex<Instant>,
}

impl Rate {
    fn new(now: Instant) -> Self {
        Rate { paid: Mutex::new(now) }
    }

    /// So many bytes have been read: how long to wait before more are.
    fn read(&self, now: Instant, bytes: usize, bytes_a_second: u64) -> Duration {
        let mut paid = self.paid.lock();
        // What was not read while nothing was to be fetched is not made up for.
        *paid = (*paid).max(now) + Duration::from_secs_f64(bytes as f64 / bytes_a_second.max(1) as f64);
        let pause = paid.saturating_duration_since(now);
        if pause < PAUSE_MIN { Duration::ZERO } else { pause }
    }
}

/// Who may have the rows, the likeliest first.
fn candidates(parts: &Parts, state: &MetaState, group: GroupId, partition: PartitionRef) -> Vec<FetchFrom> {
    let live = |of: GroupId, released_by: Option<u64>| {
        let members = state.groups.get(&of).map(|record| record.members.clone());
        let nodes = members.into_iter().flat_map(|members| members.to_vec());
        let others = nodes.filter(|node| *node != parts.node && parts.peers.is_live(*node));
        others.map(move |node| FetchFrom { node, group: of, released_by }).collect::<Vec<_>>()
    };
    let moving = state.move_of(partition.keyspace, partition.partition).filter(|(_, record)| record.target == group);
    let released = moving.map(|(id, record)| live(record.source, Some(id))).unwrap_or_default();
    released.into_iter().chain(live(group, None)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Fails if more is read in a second than the rate allows, small pieces are held back one by one, or an idle time is made up for.
    #[test]
    fn no_more_is_read_than_the_rate_allows() {
        #[allow(clippy::disallowed_methods)] // any moment will do
        let began = Instant::now();
        let (rate, mut now) = (Rate::new(began), began);
        for _ in 0..100 {
            now += rate.read(now, 100_000, 1_000_000);
        }
        assert_eq!((now - began).as_secs(), 10);
        assert_eq!(rate.read(now, 1000, 1_000_000), Duration::ZERO);
        let later = now + Duration::from_secs(60);
        assert_eq!(rate.read(later, 500_000, 1_000_000), Duration::from_millis(500));
    }
}
