//! Evening out the partitions that nodes lead, by sets of the same nodes in another order.
//!
//! A node that leads too many hands partitions to another node of their sets. Where no such node leads too few, they are handed on in a chain: the
//! shortest path from a node that leads too many to one that leads too few, along sets that a node leads and the next one is in.

use std::collections::VecDeque;

use super::work::Work;
use super::{EPSILON_LED_LOW, GROUPS_A_NODE_MAX, GROUPS_CROWDED, Role, Transfer, Why, chunk_of, least, most, whole};

/// Steps of one plan.
const STEPS_MAX: usize = 20_000;
/// A set is split for its leader into so many parts at most, relative to what a node should lead.
const CHUNKS_A_SHARE: f64 = 12.0;

pub(super) fn run(work: &mut Work) {
    let is_short = |node: usize| {
        let load = &work.nodes[node];
        load.takes() && load.held > 0 && load.led < least(load.share_led, EPSILON_LED_LOW)
    };
    let short: Vec<bool> = (0..work.nodes.len()).map(is_short).collect();
    for _ in 0..STEPS_MAX {
        let Some(path) = best(work, &short) else { return };
        for (from, to, count) in path {
            work.assign(from, to, count, Why::Leaders);
        }
    }
}

/// Sets, what they become, and how many partitions of each.
type Path = Vec<(usize, Vec<usize>, usize)>;

/// From the node that leads most, relative to its share, to one that leads less.
fn best(work: &Work, short: &[bool]) -> Option<Path> {
    let fills = |node: usize| short[node] && work.nodes[node].led < whole(work.nodes[node].share_led);
    let is_due = (0..work.nodes.len()).any(fills);
    let gives = |node: &usize| {
        let load = &work.nodes[*node];
        let spares = is_due && load.led > least(load.share_led, EPSILON_LED_LOW);
        load.role == Role::Member && (spares || load.led > most(load.share_led))
    };
    let mut givers: Vec<usize> = (0..work.nodes.len()).filter(gives).collect();
    givers.sort_by(|a, b| work.nodes[*b].ratio_led().total_cmp(&work.nodes[*a].ratio_led()));
    givers.into_iter().find_map(|giver| path_from(work, giver, short))
}

/// The shortest path from a node, and of these the one that moves most.
fn path_from(work: &Work, giver: usize, short: &[bool]) -> Option<Path> {
    let mut led: Vec<Vec<usize>> = vec![vec![]; work.nodes.len()];
    for (place, set) in work.sets.iter().enumerate() {
        if !set.movable.is_empty() && work.is_sound(place) {
            led[set.members[0]].push(place);
        }
    }
    // The set by which each node was reached.
    let mut reached: Vec<Option<usize>> = vec![None; work.nodes.len()];
    let mut queue = VecDeque::from([(giver, 0)]);
    let mut best: Option<(usize, usize, Path)> = None;
    while let Some((node, hops)) = queue.pop_front() {
        if best.as_ref().is_some_and(|(shortest, ..)| hops >= *shortest) {
            break;
        }
        let mut sets = led[node].clone();
        sets.sort_by_key(|set| std::cmp::Reverse(work.sets[*set].movable.len()));
        for set in sets {
            for next in work.sets[set].members[1..].iter().copied() {
                if next == giver {
                    continue;
                }
                let before = reached[next];
                if before.is_some() && node != giver {
                    continue;
                }
                reached[next] = Some(set);
                let path = passes(work, (giver, next), &reached, short[next]);
                match before {
                    // Only another set of the same two nodes.
                    Some(_) => reached[next] = before,
                    None => queue.push_back((next, hops + 1)),
                }
                let Some(path) = path else { continue };
                let count = path[0].2;
                if best.as_ref().is_none_or(|(shortest, most, _)| hops + 1 == *shortest && count > *most) {
                    best = Some((hops + 1, count, path));
                }
            }
        }
    }
    best.map(|(.., path)| path)
}

/// The path by which partitions reach a node, if handing them on makes leaders more even and the sets can be had.
fn passes(work: &Work, (giver, taker): (usize, usize), reached: &[Option<usize>], fills: bool) -> Option<Path> {
    let (from, to) = (&work.nodes[giver], &work.nodes[taker]);
    if !to.takes() {
        return None;
    }
    let chunk = chunk_of(from.share_led, CHUNKS_A_SHARE);
    let transfer = Transfer {
        giver: (from.led, from.share_led),
        taker: (to.led, to.share_led),
        least: least(from.share_led, EPSILON_LED_LOW),
        fills,
        chunk,
    };
    let (mut count, mut steps, mut node) = (transfer.count(), Vec::new(), taker);
    while node != giver {
        let set = reached[node]?;
        steps.push((set, node));
        count = count.min(work.sets[set].movable.len());
        node = work.sets[set].members[0];
    }
    let soft = if from.led > most(from.share_led) { GROUPS_A_NODE_MAX } else { GROUPS_CROWDED };
    let (mut path, mut made) = (Path::new(), 0);
    for (set, leader) in steps.into_iter().rev() {
        let becomes = Work::ordered(leader, work.sets[set].members.iter().copied());
        let is_known = work.is_known(&becomes);
        let is_worth = count >= chunk || count == work.sets[set].count || is_known;
        if count == 0 || !is_worth || !work.may_become(set, &becomes, count, (soft, made)) {
            return None;
        }
        made += usize::from(!is_known);
        path.push((set, becomes, count));
    }
    Some(path)
}
