//! Bringing leadership back to the node that a partition's replicas name first, so that after a failure every node leads its share
//! again.
//!
//! A leader that is not the preferred one asks it, when it has been live for a while, whether it could serve at once: taken in by the
//! cluster, as far as this node in the meta group's log, the group open with all rows, every app compiled. Only then the leadership is handed over
//! (`recoil_consensus`'s `transfer`). What fails is tried again later and later: each try costs the group a moment.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use recoil_base::{GroupId, NodeId};
use recoil_cluster::Service;
use recoil_cluster::meta::{AppState, MoveRecord, MoveState};
use tokio::time::Instant;

use crate::node::Parts;

const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How long the preferred node must have been live.
const SETTLED: Duration = Duration::from_secs(5);
const ASK_TIMEOUT: Duration = Duration::from_secs(1);
/// Pauses between tries for one group.
const RETRY_MIN: Duration = Duration::from_secs(10);
const RETRY_MAX: Duration = Duration::from_secs(300);

/// When a group's next try may be.
struct Pause {
    until: Instant,
    next: Duration,
}

/// Looks after the leadership of the groups open here until the node stops.
pub(crate) async fn run(parts: Arc<Parts>) {
    let mut live_since: HashMap<NodeId, Instant> = HashMap::new();
    let mut pauses: HashMap<GroupId, Pause> = HashMap::new();
    loop {
        tokio::time::sleep(LOOK_EVERY).await;
        let (state, now) = (parts.states.borrow().clone(), parts.clock.now());
        live_since.retain(|peer, _| {
            let is_live = parts.peers.is_live(*peer);
            if !is_live {
                tracing::warn!(node = %parts.node, %peer, "a node no longer answers");
            }
            is_live
        });
        for peer in state.members.keys().filter(|peer| parts.peers.is_live(**peer)) {
            live_since.entry(*peer).or_insert_with(|| {
                if *peer != parts.node {
                    tracing::info!(node = %parts.node, %peer, "a node answers");
                }
                now
            });
        }
        for (id, record) in &state.groups {
            let preferred = record.members.first().copied().filter(|node| *node != parts.node && record.initialised);
            let session = parts.host.group(*id).and_then(|group| group.session());
            let (Some(preferred), Some(session)) = (preferred, session) else {
                pauses.remove(id);
                continue;
            };
            // It has yet to take partitions over, which another one can do without copying them.
            let members = |group: &GroupId| state.groups.get(group).map(|group| &group.members[..]).unwrap_or_default();
            let is_stranger = |moving: &MoveRecord| {
                (moving.target, moving.state == MoveState::Flipped) == (*id, false)
                    && !members(&moving.source).contains(&preferred)
            };
            if state.moves.values().any(is_stranger) {
                continue;
            }
            let settled = live_since.get(&preferred).is_some_and(|since| now.duration_since(*since) >= SETTLED);
            if !settled || pauses.get(id).is_some_and(|pause| pause.until > now) {
                continue;
            }
            let next = pauses.get(id).map_or(RETRY_MIN, |pause| (2 * pause.next).min(RETRY_MAX));
            pauses.insert(*id, Pause { until: now + next, next });
            match parts.peers.request(preferred, Service::MayLead, may_lead(*id, state.header.index), ASK_TIMEOUT).await
            {
                Ok(_) => {
                    tracing::info!(group = %id, to = %preferred, "leadership goes back to its preferred node");
                    session.hand_over(preferred);
                }
                Err(error) => tracing::debug!(group = %id, %error, "leadership is not handed over yet"),
            }
        }
    }
}

fn may_lead(group: GroupId, index: u64) -> Bytes {
    [&group.0.to_le_bytes()[..], &index.to_le_bytes()].concat().into()
}

/// Whether this node could lead a group at once, as the present leader asks.
pub(crate) fn serve_may_lead(parts: &Parts, body: Bytes) -> Result<Bytes, String> {
    let asked = body.split_first_chunk().and_then(|(group, rest)| Some((group, rest.try_into().ok()?)));
    let (group, index) = asked.ok_or("a question about leading that is not 12 bytes long")?;
    let (group, index) = (GroupId(u32::from_le_bytes(*group)), u64::from_le_bytes(index));
    let state = parts.states.borrow().clone();
    if state.header.index < index || !parts.is_admitted(&state) {
        return Err(format!(
            "not yet: this node knows of the cluster's changes up to {} of {index}",
            state.header.index
        ));
    }
    if parts.host.group(group).is_none_or(|group| group.is_stuck()) {
        return Err(format!("group {group} is not open here"));
    }
    if let Some(partition) = parts.context.locals.lacked_by(group) {
        return Err(format!("this node lacks rows of partition {}", partition.partition));
    }
    let serving = state.apps.iter().filter(|(_, app)| app.state == AppState::Serving);
    for (name, app) in serving {
        if parts.host.app(app.id).is_none() {
            return Err(format!("app {name} is not ready here"));
        }
    }
    Ok(Bytes::new())
}
