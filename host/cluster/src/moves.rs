//! What the target's leader does next for a move of a partition: the pure part of the handoff (rules M2, M3 and M10).
//!
//! The target's leader drives a move from its beginning to its end. It looks at what the cluster records of the move, at its own
//! group's ownership row, and at what others have answered, and takes the step that follows ([`next`]). Nothing is remembered that could
//! not be asked for again: a new leader of the target begins with nothing but the two logs, and each step repeats harmlessly.
//!
//! | crash, or lost message | what resolves it |
//! |---|---|
//! | before `Expect` | the next leader of the target expects it |
//! | expected, not released | the source serves; the next leader asks the source again, or the move is cancelled |
//! | the answer to a release is lost | asked again, the source's log reads out what it has decided |
//! | the source's leader is lost with the release in flight | the next one's log has it or not; asked again, it releases or reads it out |
//! | released, the target's leader is lost | the next one finds `Expected`, and asks the source again |
//! | adopted, the map not flipped | the next leader finds itself owner, and flips |
//! | flipped, old copies not retired | the next leader asks every replica again, then retires |
//!
//! Invariants: `Adopt` follows only what the source's log has answered; what the source answers as decided never changes; the source is asked
//! to retire only once a majority of the target's replicas, and every one that is not lost, has reported complete ([`may_retire`]); a cancelled move ends only once the target's log has
//! taken part in it, so that a late `Expect` changes nothing.

use recoil_base::NodeId;
use recoil_consensus::{Decision, Ownership, Phase, ReleasePoint};

use crate::meta::MoveState;

/// What the target's leader sees of a move.
#[derive(Clone, Copy, Debug)]
pub struct Seen {
    /// The move.
    pub id: u64,
    /// The partition's epoch in the target.
    pub epoch: u64,
    /// What the cluster records.
    pub state: MoveState,
    /// The target's row, as applied by its leader.
    pub target: Ownership,
    /// What the source has answered, if it has decided.
    pub source: Option<Decision>,
    /// The target could take the partition now.
    pub is_prepared: bool,
    /// Enough replicas of the target have reported complete: see [`may_retire`].
    pub is_complete: bool,
    /// The source has dropped its copies.
    pub is_retired: bool,
}

/// What to do for a move.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Have the target expect the partition.
    Expect,
    /// Ask the source to release it.
    AskRelease,
    /// Ask what the source has decided, and for nothing else: an earlier leader may have had it released.
    Look,
    /// Ask the source to cancel the move.
    AskCancel,
    /// Have the target adopt it.
    Adopt(ReleasePoint),
    /// Have the target expect it no more.
    UnExpect,
    /// Have the map name the target.
    Flip,
    /// Ask the target's replicas whether they have all rows.
    AskComplete,
    /// Ask the source to drop its copies.
    AskRetire,
    /// Have the record go.
    End,
    /// Nothing now.
    Wait,
}

/// Whether the source's copies may go: a majority of the target's replicas have all rows durably, and so has every replica that is not gone for
/// good. One that is lost and comes back fetches the rows from a complete replica of the target.
pub fn may_retire(target: &[NodeId], has_all_rows: impl Fn(NodeId) -> bool, is_gone: impl Fn(NodeId) -> bool) -> bool {
    let complete = target.iter().filter(|node| has_all_rows(**node)).count();
    2 * complete > target.len() && target.iter().all(|node| has_all_rows(*node) || is_gone(*node))
}

/// The step that follows.
pub fn next(seen: &Seen) -> Step {
    let Seen { id, epoch, state, target, source, .. } = *seen;
    let expects = matches!(target.phase, Phase::Expected(moving) if moving.id == id);
    let takes_part = target.highest >= id;
    match (state, source) {
        (MoveState::Flipped, _) if !seen.is_complete => Step::AskComplete,
        (MoveState::Flipped, _) if !seen.is_retired => Step::AskRetire,
        (MoveState::Flipped, _) => Step::End,
        _ if target.is_owned_in(epoch) => Step::Flip,
        (_, Some(Decision::Released(point))) if expects => Step::Adopt(point),
        // A tombstone too, if nothing is expected yet.
        (_, Some(Decision::Over)) if expects || !takes_part => Step::UnExpect,
        (MoveState::Cancelling, Some(Decision::Over)) => Step::End,
        (MoveState::Cancelling, Some(Decision::Released(_))) => Step::Wait,
        (MoveState::Cancelling, _) => Step::AskCancel,
        (MoveState::Moving, _) if !takes_part => Step::Expect,
        (MoveState::Moving, _) if expects && seen.is_prepared => Step::AskRelease,
        (MoveState::Moving, _) if expects => Step::Look,
        (MoveState::Moving, _) => Step::Wait,
    }
}

#[cfg(test)]
mod tests;
