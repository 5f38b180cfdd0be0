//! Letting go of groups that the cluster has removed: closing their replicas here and deleting what they left.
//!
//! A group is removed once no placement and no move names it. Its id is never given again, so whatever a node finds of it, in memory, in its
//! log or in its data, may go: at once on a node that runs, and after its return on one that was down. Nothing of it is opened
//! meanwhile, since only groups that the cluster's state names are opened, and only once this start of the node has been taken in.
//!
//! Crash points are with [`recoil_consensus::remove_group`]; what is left is found again here at each look.

use std::collections::BTreeSet;
use std::sync::Arc;

use recoil_base::GroupId;
use recoil_cluster::MetaState;

use crate::node::Parts;

/// Deletes what is here of removed groups. What fails is tried again at the next look.
pub(crate) async fn remove_gone(parts: &Arc<Parts>, state: &MetaState) {
    let open = parts.host.groups().into_iter().map(|group| group.id());
    let stored = parts.context.log.groups().into_iter().chain(parts.context.locals.groups());
    let gone: BTreeSet<GroupId> = open.chain(stored).filter(|group| state.is_group_removed(*group)).collect();
    for id in gone {
        // Its repair ends first; see [`crate::repair`].
        if parts.repairing.lock().contains(&id) {
            continue;
        }
        if let Some(group) = parts.host.group(id) {
            parts.host.forget_group(id);
            group.close().await;
        }
        match recoil_consensus::remove_group(&parts.context, id).await {
            Ok(()) => tracing::info!(group = %id, "nothing uses the group any more; its replica here is deleted"),
            Err(error) => {
                tracing::warn!(group = %id, %error, "a removed group could not be deleted; it is tried again")
            }
        }
    }
}
