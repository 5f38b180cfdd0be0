//! Replicas whose data are lost while the node's log is there: having them brought back before their groups open.
//!
//! Lost data are mostly all the node's data, and with them the meta state that says who the other nodes are. So the folder
//! keeps the members' last known addresses beside its identity (`MEMBERS`), written whenever the membership changes, and a start
//! begins with them. Their starts are kept too: a node must know them before it speaks to anybody, lest an old copy of
//! another's folder be the first to tell it.
//!
//! The meta group comes first, before the node lets anybody in or does anything else. Then each group of partitions by itself,
//! beside whatever the node does: others open and serve meanwhile.

use std::sync::Arc;

use recoil_base::GroupId;
use recoil_cluster::MetaState;
use recoil_consensus::LostData;
use recoil_storage::KnownMember;

use crate::introductions;
use crate::node::{NodeError, Parts};

fn storage(error: impl std::fmt::Display) -> NodeError {
    NodeError::Storage(error.to_string())
}

/// Makes the members known that the folder remembers, begins to look for them where they are now, and has the meta group's data brought back if they are lost.
pub(crate) async fn meta(parts: &Arc<Parts>) -> Result<(), NodeError> {
    let folder = parts.folder.clone();
    let members = recoil_base::task::spawn_blocking(move || folder.members()).await.map_err(storage)?;
    for member in members.into_iter().filter(|member| member.node != parts.node) {
        parts.peers.know(member.node, member.address, member.start);
        parts.peers.know_start(member.node, member.start);
    }
    // Whoever has the data may have moved.
    parts.tasks.spawn(introductions::run(parts.clone()));
    let Some(lost) = LostData::of(&parts.context, GroupId::META).await.map_err(storage)? else { return Ok(()) };
    tokio::select! {
        repaired = lost.repair(&parts.context) => repaired.map_err(storage),
        why = parts.failed() => Err(NodeError::Cluster(why)),
        () = parts.tasks.shutdown().wait() => Err(NodeError::Cluster("the node was stopped before it had its data back".into())),
    }
}

/// True while a group's data are being brought back; begins that if they are lost.
pub(crate) async fn is_under_way(parts: &Arc<Parts>, group: GroupId) -> Result<bool, NodeError> {
    if parts.repairing.lock().contains(&group) {
        return Ok(true);
    }
    let Some(lost) = LostData::of(&parts.context, group).await.map_err(storage)? else { return Ok(false) };
    parts.repairing.lock().insert(group);
    let repairing = parts.clone();
    parts.tasks.spawn(async move {
        let mut states = repairing.states.clone();
        tokio::select! {
            repaired = lost.repair(&repairing.context) => {
                if let Err(error) = repaired {
                    repairing.fail(error.to_string());
                }
            }
            // Nobody has its data any more, or needs them.
            _ = states.wait_for(|state| state.is_group_removed(group)) => {}
        }
        repairing.repairing.lock().remove(&group);
        repairing.look_again.notify_one();
    });
    Ok(true)
}

/// Has the folder remember the members, unless it does already.
pub(crate) async fn remember_members(parts: &Arc<Parts>, state: &MetaState, remembered: &mut Vec<KnownMember>) {
    let member = |(node, member): (&recoil_base::NodeId, &recoil_cluster::meta::Member)| KnownMember {
        node: *node,
        address: member.address,
        start: (member.incarnation, member.start),
    };
    let members: Vec<KnownMember> = state.members.iter().map(member).collect();
    if members == *remembered {
        return;
    }
    let (folder, written) = (parts.folder.clone(), members.clone());
    let result = recoil_base::task::spawn_blocking(move || folder.set_members(&written)).await;
    match result.map_err(|error| error.to_string()).and_then(|done| done.map_err(|error| error.to_string())) {
        Ok(()) => *remembered = members,
        Err(error) => tracing::warn!(%error, "the folder does not remember the members yet; it is tried again"),
    }
}
