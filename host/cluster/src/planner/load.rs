//! Evening out the replicas that nodes hold.

use super::repair::CHUNKS_A_SHARE;
use super::work::Work;
use super::{EPSILON, GROUPS_SOFT, GROUPS_SPARE, Role, Transfer, Why, chunk_of, least, most, whole};

/// Steps of one plan: a few for each node of a large cluster.
const STEPS_MAX: usize = 20_000;

pub(super) fn run(work: &mut Work) {
    let is_short = |node: usize| {
        let load = &work.nodes[node];
        load.takes() && load.held < least(load.share_held, EPSILON)
    };
    let short: Vec<bool> = (0..work.nodes.len()).map(is_short).collect();
    for _ in 0..STEPS_MAX {
        let Some(Step { from, to, count }) = best(work, &short) else { return };
        work.assign(from, to, count, Why::Load);
    }
}

/// How much a step helps: the giver is above its bound, how many partitions, no group more, the giver does not lead, how full it is.
type Rank = (bool, usize, bool, bool, f64);

struct Step {
    from: usize,
    to: Vec<usize>,
    count: usize,
}

/// The step that helps most: to the emptiest node that needs partitions or may take what another one has too much of, as much as possible at
/// once.
fn best(work: &Work, short: &[bool]) -> Option<Step> {
    let is_over = work.nodes.iter().any(|load| load.role == Role::Member && load.held > most(load.share_held));
    let takes = |node: &usize| {
        let load = &work.nodes[*node];
        let fills = short[*node] && load.held < whole(load.share_held);
        load.takes() && (fills || is_over && load.held < most(load.share_held))
    };
    let mut takers: Vec<usize> = (0..work.nodes.len()).filter(takes).collect();
    takers.sort_by(|a, b| work.nodes[*a].ratio_held().total_cmp(&work.nodes[*b].ratio_held()));
    takers.into_iter().find_map(|taker| best_to(work, taker, short[taker]))
}

fn best_to(work: &Work, taker: usize, fills: bool) -> Option<Step> {
    let mut best: Option<(Rank, Step)> = None;
    let chunk = chunk_of(work.nodes[taker].share_held, CHUNKS_A_SHARE);
    for from in 0..work.sets.len() {
        let set = &work.sets[from];
        if set.movable.is_empty() || set.members.contains(&taker) || !work.is_sound(from) {
            continue;
        }
        for giver in &set.members {
            let count = passes(work, *giver, taker, fills).min(set.movable.len());
            let is_better = |(rank, _): &(Rank, Step)| (rank.0, rank.1) > (true, count);
            if count == 0 || best.as_ref().is_some_and(is_better) {
                continue;
            }
            let to = instead(work, from, *giver, taker);
            let (is_known, is_whole) = (work.is_known(&to), count == set.count);
            let is_worth = is_known || is_whole || count >= chunk;
            if !is_worth || work.spread(&to) < work.spread(&set.members) {
                continue;
            }
            if !work.may_become(from, &to, count, (GROUPS_SOFT, 0)) {
                continue;
            }
            let load = &work.nodes[*giver];
            let is_over = load.held > most(load.share_held);
            let rank = (is_over, count, is_known || is_whole, *giver != set.members[0], load.ratio_held());
            if best.as_ref().is_none_or(|(other, _)| rank.partial_cmp(other).is_some_and(|order| order.is_gt())) {
                best = Some((rank, Step { from, to, count }));
            }
        }
    }
    best.map(|(_, step)| step)
}

/// How many replicas may go from one node to another.
fn passes(work: &Work, giver: usize, taker: usize, fills: bool) -> usize {
    let (from, to) = (&work.nodes[giver], &work.nodes[taker]);
    // A node that is to be filled up has only so many groups for that.
    let slots = GROUPS_SOFT.saturating_sub(GROUPS_SPARE + to.groups).max(1);
    let due = if fills { whole(to.share_held).saturating_sub(to.held) } else { 0 };
    let transfer = Transfer {
        giver: (from.held, from.share_held),
        taker: (to.held, to.share_held),
        least: least(from.share_held, EPSILON),
        fills,
        chunk: chunk_of(to.share_held, CHUNKS_A_SHARE).max(due.div_ceil(slots)),
    };
    transfer.count()
}

/// A set with one node in the place of another. It is led by a node that has the rows.
fn instead(work: &Work, set: usize, leaving: usize, coming: usize) -> Vec<usize> {
    let members = &work.sets[set].members;
    let rest = members.iter().copied().filter(|node| *node != leaving);
    let least = |a: &usize, b: &usize| work.nodes[*a].ratio_led().total_cmp(&work.nodes[*b].ratio_led());
    let leader = Some(members[0]).filter(|leader| *leader != leaving).or_else(|| rest.clone().min_by(least));
    // A partition of one replica has nobody else.
    Work::ordered(leader.unwrap_or(coming), rest.chain([coming]))
}
