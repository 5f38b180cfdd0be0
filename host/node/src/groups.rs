//! Opening the replicas that the map gives this node.
//!
//! A replica whose data are lost opens once they are there again ([`repair`]). Each replica of a new group begins its log by itself, with
//! the same first entry (`recoil_consensus`'s `beginning`). The first member campaigns at once and so leads the group; the others elect a leader if they
//! hear of none. The group is recorded as initialised once the session of a leader has begun: then its first entries are on a quorum.
//!
//! A new partition begins in the log of its group: the first leader commits its birth (`recoil_consensus`'s `ownership`), and only then
//! calls are evaluated on it. So a replica knows by the log alone which partitions its group has, whatever the map says when it opens; a birth of a
//! partition that the log has named before changes nothing.
//!
//! The leader of a group also drives the moves of partitions to it ([`moves`]). A group made for a move is opened like any other, and has
//! no partition to begin with.
//!
//! A group whose transfer of leadership came to nothing is closed and opened again here, where groups are opened.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use recoil_base::GroupId;
use recoil_cluster::meta::GroupRecord;
use recoil_cluster::{MetaCommand, MetaState, RoutingTable};
use recoil_consensus::group::OpenError;
use recoil_consensus::{Group, MachineKind, OwnershipChange, PartitionRef, Session, begin_log};

use crate::node::{NodeError, Parts};
use crate::{moves, repair};

const INITIALISE_RETRY: Duration = Duration::from_millis(500);
/// The epoch of a partition that has never moved.
const FIRST_EPOCH: u64 = 1;
/// Partitions that one entry brings to life: applying it makes a copy of each.
const BIRTHS_MAX: usize = 1000;

/// Opens every group that has a replica here and is not open yet, or has to be opened again.
pub(crate) async fn open_all(parts: &Arc<Parts>, state: &MetaState, table: &RoutingTable) -> Result<(), NodeError> {
    for group in parts.host.groups().into_iter().filter(|group| group.is_stuck()) {
        tracing::warn!(group = %group.id(), "nobody took over the leadership; the group is opened again");
        parts.host.remove_group(group.id());
        group.close().await;
    }
    for (id, record) in &state.groups {
        if record.members.contains(&parts.node) && parts.host.group(*id).is_none() {
            open(parts, state, table, *id, record).await?;
        }
    }
    Ok(())
}

async fn open(
    parts: &Arc<Parts>,
    state: &MetaState,
    table: &RoutingTable,
    id: GroupId,
    record: &GroupRecord,
) -> Result<(), NodeError> {
    if repair::is_under_way(parts, id).await? {
        return Ok(());
    }
    let storage = |error: OpenError| NodeError::Storage(error.to_string());
    if !record.initialised {
        begin_log(&parts.context, id, &record.members).await.map_err(storage)?;
    }
    let host = Arc::downgrade(&parts.host);
    let applied = Arc::new(move |partitions: &BTreeSet<PartitionRef>| {
        if let Some(host) = host.upgrade() {
            host.applied(partitions);
        }
    });
    let group = Group::open(&parts.context, id, MachineKind::Partitions, applied).await.map_err(storage)?;
    let partitions: Vec<_> = placed(state, id).into_iter().map(|(partition, _)| partition).collect();
    // A group of a keyspace that has just been deleted is removed soon, and has nothing to evaluate.
    let (name, count) = table.keyspace(record.keyspace).map(|of| (of.name.clone(), of.count())).unwrap_or_default();
    parts.host.add_group(group.clone(), &partitions, record.keyspace, (&name, count));
    parts.tasks.spawn(follow(parts.clone(), group.clone()));
    if !record.initialised {
        parts.tasks.spawn(initialise(parts.clone(), group, record.members.clone()));
    }
    Ok(())
}

/// The partitions that the map places in a group, with their epochs.
fn placed(state: &MetaState, group: GroupId) -> Vec<(PartitionRef, u64)> {
    let placed = state.partitions_of(group).into_iter();
    placed.map(|(keyspace, partition, epoch)| (PartitionRef { keyspace, partition }, epoch)).collect()
}

/// Wakes the partitions whenever this node comes to lead them, and whoever opens groups when this one must be opened again. Stops the node
/// if the replica cannot apply what its group has committed.
async fn follow(parts: Arc<Parts>, group: Arc<Group>) {
    let mut leadership = group.leadership();
    loop {
        let (session, stuck) = {
            let now = leadership.borrow_and_update();
            (now.session.clone(), now.stuck)
        };
        if let Some(session) = session {
            tracing::info!(node = %parts.node, group = %group.id(), "this node leads the group");
            bear(&parts, &group, &session).await;
            parts.host.wake(group.id());
            parts.tasks.spawn(moves::drive(parts.clone(), group.clone(), session));
        }
        if stuck {
            parts.look_again.notify_one();
        }
        tokio::select! {
            changed = leadership.changed() => if changed.is_err() { return },
            why = group.failed() => return parts.fail(why.to_string()),
        }
    }
}

/// Has the group's log take in the partitions that the map placed in it when the map was made. If this comes to nothing, the session has
/// ended, and the next one tries it again.
async fn bear(parts: &Parts, group: &Group, session: &Session) {
    let state = parts.states.borrow().clone();
    let unknown = |partition: &PartitionRef| parts.context.locals.state(group.id(), *partition).is_none();
    let born: Vec<_> = placed(&state, group.id())
        .into_iter()
        .filter(|(partition, epoch)| *epoch == FIRST_EPOCH && unknown(partition))
        .map(|(partition, epoch)| (partition, OwnershipChange::Birth { epoch }))
        .collect();
    for changes in born.chunks(BIRTHS_MAX) {
        if !session.change_ownership_to_the_end(changes.to_vec()).await {
            return;
        }
    }
}

/// Has the first member of a new group campaign, and records that the group is initialised once this node leads it.
async fn initialise(parts: Arc<Parts>, group: Arc<Group>, members: Arc<[recoil_base::NodeId]>) {
    let id = group.id();
    if members.first() == Some(&parts.node) {
        group.campaign().await;
    }
    let pending = |parts: &Parts| parts.states.borrow().groups.get(&id).is_some_and(|record| !record.initialised);
    while pending(&parts) {
        let mut leadership = group.leadership();
        // Elected is not enough: until the group's first entries are on a quorum, a lost log could still take them away, and no
        // replica begins its log again once the group is recorded as initialised.
        let led = tokio::time::timeout(INITIALISE_RETRY, leadership.wait_for(|now| now.session.is_some()));
        match led.await.map(|led| led.is_ok()) {
            Ok(true) => {}
            // The replica was closed. Asked again and again, it would never wait.
            Ok(false) => return,
            Err(_) => continue,
        }
        if let Err(error) = parts.change(&MetaCommand::Initialised { group: id }).await {
            tracing::debug!(group = %id, %error, "cannot record that the group has a leader; it is tried again");
            tokio::time::sleep(INITIALISE_RETRY).await;
        }
    }
}
