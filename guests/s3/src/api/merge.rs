//! The lists of a bucket's shards, merged into one.
//!
//! Each shard answers in the order of names, and says where to go on. A name is taken once every
//! shard that has not come to its end has named something; the smallest is next. A key lies in one
//! shard, a common prefix may come from several and is shown once.

use std::collections::VecDeque;

use crate::data::command::{Behind, Item};
use crate::fault::Outcome;

/// Where a shard's list goes on.
pub(super) type Next = (Vec<u8>, Option<Behind>);

/// A shard's list.
struct Shard {
    items: VecDeque<Item>,
    /// None at its end.
    next: Option<Next>,
}

/// What asks shards for more: for each shard, where to go on and how many; the items and where they
/// go on.
pub(super) type Ask<'a> = dyn FnMut(&[(u16, Next, u32)]) -> Outcome<Vec<(Vec<Item>, Option<Next>)>> + 'a;

/// At most `limit` items, and whether there are more.
pub(super) fn merge(shards: u16, start: &Next, limit: usize, ask: &mut Ask<'_>) -> Outcome<(Vec<Item>, bool)> {
    let fresh = || Shard { items: VecDeque::new(), next: Some(start.clone()) };
    let mut lists: Vec<Shard> = (0..shards).map(|_| fresh()).collect();
    let mut merged: Vec<Item> = Vec::new();
    loop {
        let share = share(limit + 1 - merged.len(), shards);
        let empty: Vec<(u16, Next, u32)> = (0..shards)
            .zip(&lists)
            .filter(|(_, list)| list.items.is_empty())
            .filter_map(|(shard, list)| Some((shard, list.next.clone()?, share)))
            .collect();
        if !empty.is_empty() {
            for ((shard, ..), (items, next)) in empty.iter().zip(ask(&empty)?) {
                lists[usize::from(*shard)] = Shard { items: items.into(), next };
            }
            continue;
        }
        let first = (0..lists.len()).filter(|at| !lists[*at].items.is_empty()).min_by(|a, b| {
            let name = |at: &usize| lists[*at].items.front().map(|item| item.name().as_bytes());
            name(a).cmp(&name(b))
        });
        let Some(item) = first.and_then(|at| lists[at].items.pop_front()) else { return Ok((merged, false)) };
        if matches!((&item, merged.last()), (Item::Prefix(new), Some(Item::Prefix(last))) if new == last) {
            continue;
        }
        if merged.len() == limit {
            return Ok((merged, true));
        }
        merged.push(item);
    }
}

/// How many items a shard is asked for so that one round mostly suffices: its even share of
/// `count`, and what chance adds to that.
fn share(count: usize, shards: u16) -> u32 {
    let (count, shards) = (count as f64, f64::from(shards));
    let more = (2.0 * count * count.max(10.0).log10() / shards).sqrt();
    (1.0 + count / shards + more) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(item: &Item) -> String {
        item.name().to_owned()
    }

    fn prefix(name: &str) -> Item {
        Item::Prefix(name.to_owned())
    }

    /// Shards that give `per` items at a time.
    fn run(shards: &[&[&str]], limit: usize, per: usize) -> (Vec<String>, bool) {
        let mut rounds = 0;
        let mut ask = |wanted: &[(u16, Next, u32)]| {
            rounds += 1;
            assert!(rounds < 1000);
            let of = |(shard, (start, _), count): &(u16, Next, u32)| {
                let rest: Vec<&str> = shards[usize::from(*shard)]
                    .iter()
                    .copied()
                    .filter(|name| name.as_bytes() >= start.as_slice())
                    .collect();
                let count = (*count as usize).min(per).min(rest.len());
                let next = rest.get(count).map(|name| (name.as_bytes().to_vec(), None));
                (rest[..count].iter().map(|name| prefix(name)).collect(), next)
            };
            Ok(wanted.iter().map(of).collect())
        };
        let (items, more) = merge(shards.len() as u16, &(vec![], None), limit, &mut ask).unwrap();
        (items.iter().map(name).collect(), more)
    }

    #[test]
    fn shards_are_merged_in_order_and_prefixes_shown_once() {
        let shards: [&[&str]; 3] = [&["a", "d", "e"], &[], &["a", "b", "d", "f"]];
        for per in [0, 1, 2, 9].into_iter().filter(|per| *per > 0) {
            assert_eq!(run(&shards, 9, per), (["a", "b", "d", "e", "f"].map(str::to_owned).to_vec(), false), "{per}");
            assert_eq!(run(&shards, 3, per), (["a", "b", "d"].map(str::to_owned).to_vec(), true), "{per}");
            assert!(!run(&shards, 5, per).1, "nothing is left");
        }
        assert_eq!(run(&[&[], &[]], 5, 1), (vec![], false));
    }

    #[test]
    fn a_shards_share_covers_chance() {
        assert_eq!(share(1000, 16), 82);
        assert_eq!(share(1, 1), 3);
        assert!(share(1000, 1) >= 1000);
    }
}
