//! The target's replicas: saying which partitions they have all rows of.

use std::sync::Arc;

use recoil_base::{GroupId, task};

use super::{Answer, Moving};
use crate::node::Parts;

/// Which partitions this replica has all rows of. What it says is for good: the rows are durable, and no snapshot takes them away, since
/// only complete replicas send any (rule M7).
pub(super) async fn complete(parts: &Arc<Parts>, target: GroupId, moves: &[Moving]) -> Result<Answer, String> {
    let is_complete = |moving: &Moving| {
        let state = parts.context.locals.state(target, moving.partition());
        state.is_some_and(|state| state.ownership.is_owned_in(moving.epoch) && !state.lacks_rows())
    };
    let before: Vec<bool> = moves.iter().map(is_complete).collect();
    if before.contains(&true) {
        let data = parts.context.data.clone();
        let persisted = task::spawn_blocking(move || data.persist()).await.map_err(|error| error.to_string())?;
        persisted.map_err(|error| error.to_string())?;
    }
    Ok(Answer { done: before, ..Answer::default() })
}
