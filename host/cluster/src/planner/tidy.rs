//! Merging small sets into others where nodes have replicas of too many groups.
//!
//! A set is merged only into one that is there, whose leader has the rows, and only if every load stays within its bounds: so balancing does
//! not undo it. Most often into one of the same nodes, which copies nothing; where a node is in nearly as many groups as it may be, also into one
//! with one other node.

use super::work::Work;
use super::{EPSILON, EPSILON_LED_LOW, GROUPS_CROWDED, GROUPS_SOFT, Why, least, most};

pub(super) fn run(work: &mut Work) {
    let mut groups = vec![0usize; work.nodes.len()];
    for set in work.sets.iter().filter(|set| set.count > 0) {
        set.members.iter().for_each(|node| groups[*node] += 1);
    }
    let mut sets: Vec<usize> = (0..work.sets.len())
        .filter(|set| work.sets[*set].count > 0 && work.sets[*set].count == work.sets[*set].movable.len())
        .filter(|set| work.sets[*set].members.iter().any(|node| groups[*node] > GROUPS_SOFT) && work.is_sound(*set))
        .collect();
    sets.sort_by_key(|set| (work.sets[*set].count, *set));
    let mut taken = vec![false; work.sets.len()];
    for set in sets {
        let most = work.sets[set].members.iter().map(|node| groups[*node]).max().unwrap_or(0);
        if most <= GROUPS_SOFT || taken[set] {
            continue;
        }
        if let Some(into) = best(work, set, usize::from(most > GROUPS_CROWDED)) {
            work.sets[set].members.iter().for_each(|node| groups[*node] -= 1);
            let (to, count) = (work.sets[into].members.clone(), work.sets[set].count);
            taken[into] = true;
            work.assign(set, to, count, Why::Groups);
        }
    }
}

/// The set that another is best merged into.
fn best(work: &Work, set: usize, cost_max: usize) -> Option<usize> {
    let from = &work.sets[set];
    let cost = |into: usize| work.sets[into].members.iter().filter(|node| !from.members.contains(node)).count();
    let fits = |into: &usize| {
        let to = &work.sets[*into];
        let is_there = *into != set && to.count > 0 && to.wanted == from.wanted && work.is_sound(*into);
        is_there
            && from.members.contains(&to.members[0])
            && cost(*into) <= cost_max
            && work.spread(&to.members) >= work.spread(&from.members)
            && stays_within(work, set, *into)
    };
    (0..work.sets.len()).filter(fits).min_by_key(|into| (cost(*into), work.sets[*into].count))
}

/// True if every load stays within its bounds when a set is merged into another.
fn stays_within(work: &Work, set: usize, into: usize) -> bool {
    let (from, to) = (&work.sets[set], &work.sets[into]);
    let count = from.count;
    let takes = |node: &usize| {
        from.members.contains(node) || {
            let load = &work.nodes[*node];
            load.held + count <= most(load.share_held)
        }
    };
    let gives = |node: &usize| {
        to.members.contains(node) || {
            let load = &work.nodes[*node];
            load.held >= count + least(load.share_held, EPSILON)
        }
    };
    let (leads, led) = (&work.nodes[to.members[0]], &work.nodes[from.members[0]]);
    let keeps_leaders = from.members[0] == to.members[0]
        || leads.led + count <= most(leads.share_led) && led.led >= count + least(led.share_led, EPSILON_LED_LOW);
    to.members.iter().all(takes) && from.members.iter().all(gives) && keeps_leaders
}
