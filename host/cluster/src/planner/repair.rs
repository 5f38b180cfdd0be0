//! Replacing replicas on nodes that are lost or have to leave, and bringing sets to their size.

use super::work::Work;
use super::{EPSILON, GROUPS_A_NODE_MAX, GROUPS_SOFT, Role, Why, chunk_of};

/// A set is split among so many nodes at most, relative to a node's share: smaller parts would each be a group.
pub(super) const CHUNKS_A_SHARE: f64 = 24.0;

pub(super) fn run(work: &mut Work) {
    let mut due: Vec<(Why, usize)> = (0..work.sets.len()).filter_map(|set| Some((reason(work, set)?, set))).collect();
    due.sort_unstable();
    for (why, set) in due {
        // Without a quorum its log cannot release anything.
        if work.has_quorum(&work.sets[set].members) {
            replace(work, set, why);
        }
    }
}

/// What is wrong with a set, the worst.
fn reason(work: &Work, set: usize) -> Option<Why> {
    let set = &work.sets[set];
    if set.movable.is_empty() {
        return None;
    }
    let with = |role: Role| set.members.iter().map(|node| &work.nodes[*node]).find(|node| node.role == role);
    let lost = with(Role::Lost).map(|node| Why::Lost(node.id));
    let leaving = with(Role::Leaving).map(|node| Why::Leaving(node.id));
    lost.or(leaving).or((set.members.len() != set.wanted).then_some(Why::Replicas))
}

fn replace(work: &mut Work, set: usize, why: Why) {
    let (members, wanted) = (work.sets[set].members.clone(), work.sets[set].wanted);
    let stays = |node: &usize| matches!(work.nodes[*node].role, Role::Member | Role::Waiting);
    let mut kept: Vec<usize> = members.iter().copied().filter(stays).collect();
    let leader = kept.iter().copied().filter(|node| work.nodes[*node].is_live).min_by(|a, b| {
        let rank = |node: usize| (node != members[0], work.nodes[node].ratio_led());
        rank(*a).partial_cmp(&rank(*b)).unwrap_or(std::cmp::Ordering::Equal)
    });
    while kept.len() > wanted {
        // A replica too many goes where most are, or where it is of no use.
        let surplus = kept.iter().copied().filter(|node| Some(*node) != leader).max_by(|a, b| {
            let rank = |node: usize| (!work.nodes[node].is_live, work.nodes[node].ratio_held());
            rank(*a).partial_cmp(&rank(*b)).unwrap_or(std::cmp::Ordering::Equal)
        });
        let Some(surplus) = surplus else { return };
        kept.retain(|node| *node != surplus);
    }
    let successors: Vec<usize> =
        members.iter().filter(|node| !stays(node)).filter_map(|node| work.nodes[*node].successor).collect();
    while !work.sets[set].movable.is_empty() {
        let Some((to, count)) = choose(work, set, &kept, leader, &successors) else { return };
        work.assign(set, to, count, why);
    }
}

/// The replica set that the next partitions of a set go to, and how many of them.
fn choose(
    work: &Work,
    set: usize,
    kept: &[usize],
    leader: Option<usize>,
    successors: &[usize],
) -> Option<(Vec<usize>, usize)> {
    let (mut to, movable, wanted) = (kept.to_vec(), work.sets[set].movable.len(), work.sets[set].wanted);
    let (mut room, mut follows) = (usize::MAX, false);
    while to.len() < wanted {
        let is_last = to.len() + 1 == wanted;
        let whole = |node: usize| {
            let leads = leader.or_else(|| live(work, &to)).unwrap_or(node);
            Work::ordered(leads, with(&to, node))
        };
        let fits = |node: usize| match is_last {
            true => work.may_be(&whole(node), GROUPS_A_NODE_MAX) && work.has_quorum(&whole(node)),
            false => true,
        };
        let rank = |node: usize| {
            let load = &work.nodes[node];
            let is_spread = work.spread(&with(&to, node)) > work.spread(&to);
            let is_new = is_last && !work.is_known(&whole(node));
            // Nodes that hold about as much are alike.
            let (tenths, is_crowded) = ((load.ratio_held() * 10.0) as usize, load.groups >= GROUPS_SOFT);
            let is_full = room_of(work, node) == 0;
            let is_other = !successors.contains(&node);
            (is_other, is_full, !is_spread, tenths, is_new, is_crowded, load.ratio_held())
        };
        let free = (0..work.nodes.len()).filter(|node| work.nodes[*node].takes() && !to.contains(node));
        let next = free
            .filter(|node| fits(*node))
            .min_by(|a, b| rank(*a).partial_cmp(&rank(*b)).unwrap_or(std::cmp::Ordering::Equal))?;
        follows |= successors.contains(&next);
        room = room.min(room_of(work, next));
        to.push(next);
    }
    let to = Work::ordered(leader.or_else(|| live(work, &to))?, to);
    if !work.may_be(&to, GROUPS_A_NODE_MAX) || !work.has_quorum(&to) {
        return None;
    }
    let chunk = to.iter().map(|node| chunk_of(work.nodes[*node].share_held, CHUNKS_A_SHARE)).max().unwrap_or(1);
    let count = if follows || room == 0 { movable } else { room.max(chunk).min(movable) };
    Some((to, count))
}

/// How much a node may take without coming near the upper bound.
fn room_of(work: &Work, node: usize) -> usize {
    let load = &work.nodes[node];
    ((load.share_held * (1.0 + EPSILON / 2.0)).ceil() as usize).saturating_sub(load.held)
}

/// The first live one.
fn live(work: &Work, members: &[usize]) -> Option<usize> {
    members.iter().copied().find(|node| work.nodes[*node].is_live)
}

fn with(members: &[usize], node: usize) -> Vec<usize> {
    members.iter().copied().chain([node]).collect()
}
