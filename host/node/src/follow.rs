//! Bringing the node into line with each state of the cluster: whom it knows, which groups it has open, where calls go, which apps it runs.
//!
//! Most entries of the meta group change one of these and leave the others, so each part is looked at only when what it depends on
//! has changed: states share what an entry did not touch, and the routing index says whether calls go elsewhere. With 100,000 partitions
//! and 1,000 nodes, looking at all of it for each report of a node would keep every node busy. What may have failed before, or depends
//! on more than the state, is looked at once a second.

use std::sync::Arc;
use std::time::Duration;

use recoil_cluster::meta::{old_copy, supersedes};
use recoil_cluster::{MetaState, RoutingTable};

use crate::node::Parts;
use crate::{apps, departures, groups, membership, removal, repair};

/// How often a node looks at its state even if nothing has changed.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Where members listen, and which starts of them are the newest.
pub(crate) fn know_members(parts: &Parts, state: &MetaState) {
    for (node, member) in &state.members {
        // Another node may listen at its address by now.
        if !member.address_taken {
            parts.peers.know(*node, member.address, (member.incarnation, member.start));
        }
        parts.peers.know_start(*node, (member.incarnation, member.start));
    }
}

/// The state that routing was last brought into line with.
type Routed = Option<(Arc<MetaState>, Arc<RoutingTable>)>;

/// Brings groups, routing and apps into line with a state, once the map is made. Groups and routing are looked at when they have changed, or
/// when `look` says so: with many of them it takes a while.
async fn follow_map(parts: &Arc<Parts>, state: &Arc<MetaState>, routed: &mut Routed, look: bool) {
    let is_current = |(of, _): &&(Arc<MetaState>, Arc<RoutingTable>)| {
        of.header.routing_index == state.header.routing_index && of.members.ptr_eq(&state.members)
    };
    let known = routed.as_ref().filter(is_current).map(|(_, table)| table.clone());
    let changed = known.is_none();
    let Some(table) = known.or_else(|| RoutingTable::of(state)) else { return };
    if changed {
        parts.host.set_numbers(table.numbers.clone());
        parts.host.set_starts(state.members.iter().map(|(node, member)| (*node, member.incarnation)).collect());
    }
    if (changed || look)
        && let Err(error) = groups::open_all(parts, state, &table).await
    {
        parts.fail(error.to_string());
    }
    if changed || look {
        removal::remove_gone(parts, state).await;
    }
    if changed {
        parts.router.set_table(table.clone());
        *routed = Some((state.clone(), table));
    }
    apps::follow(parts, state).await;
}

/// Brings the node into line with each new state.
pub(crate) async fn run(parts: Arc<Parts>) {
    let mut states = parts.states.clone();
    let mut remembered = Vec::new();
    let mut before = Arc::<MetaState>::default();
    let (mut routed, mut look) = (None, true);
    loop {
        let state = states.borrow_and_update().clone();
        // With many members and groups only what has changed is worth a look: most entries change neither.
        let members_changed = !state.members.ptr_eq(&before.members);
        before = state.clone();
        if members_changed {
            know_members(&parts, &state);
        }
        if let Some(known) = state.members.get(&parts.node).map(|member| (member.incarnation, member.start))
            && !supersedes(parts.start, known)
        {
            parts.fail(old_copy(parts.node, parts.start.0, known.0));
        }
        if state.is_removed(parts.node) {
            return departures::end(&parts).await;
        }
        if members_changed || look {
            departures::forget_removed(&parts, &state);
        }
        // Another node took this one's address while it was cut off: it says again where it listens.
        let is_displaced = state.members.get(&parts.node).is_some_and(|member| member.address_taken);
        if is_displaced && members_changed {
            let displaced = parts.clone();
            parts.tasks.spawn(async move {
                if let Err(why) = membership::register(&displaced).await {
                    tracing::warn!(%why, "the cluster has given this node's address to another node; start it on another address");
                }
            });
        }
        // What the cluster agreed on before this start may be known here only in part until the start itself is part of it.
        let admitted = parts.is_admitted(&state);
        if admitted && (members_changed || look) {
            repair::remember_members(&parts, &state, &mut remembered).await;
        }
        if admitted {
            follow_map(&parts, &state, &mut routed, look).await;
        }
        look = tokio::select! {
            changed = states.changed() => {
                if changed.is_err() {
                    return;
                }
                false
            }
            () = parts.look_again.notified() => true,
            () = tokio::time::sleep(LOOK_EVERY) => true,
        };
    }
}
