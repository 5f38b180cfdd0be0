//! The source's side of a move: releasing, cancelling and retiring as the target's leader asks.
//!
//! Any replica says what its log has decided; only the leader has its log decide. Nothing is answered that this replica has not applied
//! (rule M9).

use std::sync::Arc;

use recoil_base::GroupId;
use recoil_cluster::meta::MoveState;
use recoil_consensus::{Decision, Group, Ownership, OwnershipChange, PartitionRef, Phase};

use super::{Answer, Decided, Moving};
use crate::node::Parts;

fn row(parts: &Parts, group: GroupId, partition: PartitionRef) -> Option<Ownership> {
    parts.context.locals.state(group, partition).map(|state| state.ownership)
}

/// What this replica's log says of the moves.
fn decided(parts: &Parts, source: GroupId, moves: &[Moving]) -> Vec<Decided> {
    let of = |moving: &Moving| row(parts, source, moving.partition()).map(|row| row.decision(moving.id).into());
    moves.iter().map(|moving| of(moving).unwrap_or(Decided::Undecided)).collect()
}

fn open(parts: &Parts, group: GroupId) -> Result<Arc<Group>, String> {
    parts.host.group(group).ok_or_else(|| format!("group {group} is not open on node {}", parts.node))
}

pub(super) fn look(parts: &Parts, source: GroupId, moves: &[Moving]) -> Result<Answer, String> {
    open(parts, source)?;
    let decided = decided(parts, source, moves);
    // Somebody else may have applied more.
    let why = decided.contains(&Decided::Undecided).then(|| "this replica does not know of a decision".into());
    Ok(Answer { decided, why, ..Answer::default() })
}

pub(super) async fn release(
    parts: &Arc<Parts>,
    source: GroupId,
    target: GroupId,
    moves: &[Moving],
) -> Result<Answer, String> {
    let group = open(parts, source)?;
    let mut answer = Answer { decided: decided(parts, source, moves), ..Answer::default() };
    if !answer.decided.contains(&Decided::Undecided) {
        return Ok(answer);
    }
    // The cluster must have recorded the move, and nobody cancelled it as far as is known here.
    let state = parts.states.borrow().clone();
    let is_recorded = |moving: &&Moving| {
        state.moves.get(&moving.id).is_some_and(|record| {
            let same =
                (record.keyspace, record.partition, record.epoch) == (moving.keyspace, moving.partition, moving.epoch);
            same && (record.source, record.target, record.state) == (source, target, MoveState::Moving)
        })
    };
    let due: Vec<_> =
        moves.iter().filter(is_recorded).map(|moving| (moving.partition(), moving.with(target))).collect();
    if due.is_empty() {
        answer.why = Some(format!("node {} does not know of these moves yet", parts.node));
    } else if let Err(error) = parts.host.release(source, due).await {
        answer.why = Some(error.to_string());
        answer.leader = group.leader();
    }
    answer.decided = decided(parts, source, moves);
    Ok(answer)
}

pub(super) async fn cancel(parts: &Arc<Parts>, source: GroupId, moves: &[Moving]) -> Result<Answer, String> {
    let group = open(parts, source)?;
    // A partition that has not begun would never begin.
    let due = |moving: &&Moving| {
        let begun = row(parts, source, moving.partition()).filter(|row| *row != Ownership::default());
        begun.is_some_and(|row| row.decision(moving.id) == Decision::Undecided)
    };
    let change = |moving: &Moving| (moving.partition(), OwnershipChange::Cancel { id: moving.id });
    let changes: Vec<_> = moves.iter().filter(due).map(change).collect();
    let why = propose(&group, changes).await;
    Ok(Answer { decided: decided(parts, source, moves), why, leader: group.leader(), ..Answer::default() })
}

pub(super) async fn retire(parts: &Arc<Parts>, source: GroupId, moves: &[Moving]) -> Result<Answer, String> {
    let group = open(parts, source)?;
    let stands = |moving: &Moving| {
        let row = row(parts, source, moving.partition());
        row.is_none_or(|row| {
            row.highest < moving.id || matches!(row.phase, Phase::Released(other) if other.id == moving.id)
        })
    };
    let change = |moving: &Moving| (moving.partition(), OwnershipChange::Retire { id: moving.id });
    let changes: Vec<_> = moves.iter().filter(|moving| stands(moving)).map(change).collect();
    let why = propose(&group, changes).await;
    let done = moves.iter().map(|moving| !stands(moving)).collect();
    Ok(Answer { done, why, leader: group.leader(), ..Answer::default() })
}

/// Has the group's log take changes in, if this node leads it; answers why not otherwise.
async fn propose(group: &Group, changes: Vec<(PartitionRef, OwnershipChange)>) -> Option<String> {
    if changes.is_empty() {
        return None;
    }
    let Some(session) = group.session() else { return Some("this node does not lead the group".into()) };
    let is_applied = session.change_ownership_to_the_end(changes).await;
    (!is_applied).then(|| "the leadership was lost before the outcome was known".into())
}
