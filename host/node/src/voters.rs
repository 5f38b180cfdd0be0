//! Who votes in the meta group: an odd number of live members, and no voter that has been dead for a while, or leaves the cluster, if
//! another can take its place. One that leaves for good gives up its vote in any case.
//!
//! [`next_voters`] decides from what the leader observes, and changes one thing at a time: two voters more, one replaced, or one fewer where
//! the number is even. The change is made by joint consensus, in which old and new voters must both agree (Raft §4.3), so a replacement
//! passes through no state with more or fewer voters, and the old one is let go only once the new one takes part.
//!
//! Invariants: the result is odd, holds the leader, and a majority of it is live. A leader that leaves hands the leadership over first
//! ([`crate::departures`]); only where no other voter could take it is the leader itself replaced, and steps down (Raft §4.2.2). A dead voter without a replacement stays: it may
//! come back, and with fewer voters the rest would not tolerate more. An even number cannot tolerate more failures than the odd number
//! below it.
//!
//! Deliberately absent: removing members from the group ([`crate::departures`]); a replaced voter goes on following without a vote.

use std::collections::{BTreeSet, HashMap};

use parking_lot::Mutex;
use recoil_base::NodeId;

/// Voters of the meta group; further members follow without a vote.
const VOTERS_MAX: usize = 5;

/// How long members have been silent, as this node observes it: in looks, of which there is one a second while the node runs. Counted
/// rather than timed, so that a node that was stopped for a while does not take the others for dead when it goes on.
#[derive(Default)]
pub(crate) struct Silence {
    looks: Mutex<HashMap<NodeId, u32>>,
}

impl Silence {
    /// One look at all members.
    pub(crate) fn look<'a>(&self, members: impl Iterator<Item = &'a NodeId>, is_live: impl Fn(NodeId) -> bool) {
        let mut looks = self.looks.lock();
        let before = std::mem::take(&mut *looks);
        *looks = members
            .filter(|node| !is_live(**node))
            .map(|node| (*node, before.get(node).map_or(1, |count| count.saturating_add(1))))
            .collect();
    }

    /// Consecutive looks at which a member was silent.
    pub(crate) fn of(&self, node: NodeId) -> u32 {
        self.looks.lock().get(&node).copied().unwrap_or(0)
    }
}

/// The meta group as its leader sees it.
pub(crate) struct Electorate<'a> {
    pub(crate) leader: NodeId,
    pub(crate) voters: &'a BTreeSet<NodeId>,
    /// Live members without a vote that have nearly all of the log.
    pub(crate) candidates: &'a BTreeSet<NodeId>,
    pub(crate) is_live: &'a dyn Fn(NodeId) -> bool,
    /// Silent for long enough to be replaced.
    pub(crate) is_dead: &'a dyn Fn(NodeId) -> bool,
    /// To be replaced if another can take its place: drained or decommissioned.
    pub(crate) is_leaving: &'a dyn Fn(NodeId) -> bool,
    /// To be no voter, whether another can take its place or not: decommissioned.
    pub(crate) is_going: &'a dyn Fn(NodeId) -> bool,
}

/// The voters that should be instead, if they should change.
pub(crate) fn next_voters(now: &Electorate) -> Option<BTreeSet<NodeId>> {
    let live = |set: &BTreeSet<NodeId>| set.iter().filter(|node| (now.is_live)(**node)).count();
    let has_quorum = |set: &BTreeSet<NodeId>| 2 * live(set) > set.len();
    if !has_quorum(now.voters) {
        return None;
    }
    let followers = || now.voters.iter().filter(|node| **node != now.leader);
    let dead = followers().find(|node| (now.is_dead)(**node));
    let going = followers().find(|node| (now.is_going)(**node));
    let may_lead = |node: &&NodeId| (now.is_live)(**node) && !(now.is_leaving)(**node);
    let stranded = || (now.is_leaving)(now.leader) && !followers().any(|node| may_lead(&node));
    let leaving = followers().find(|node| (now.is_leaving)(**node)).or(stranded().then_some(&now.leader));
    let mut candidates = now.candidates.iter().filter(|node| !now.voters.contains(node) && (now.is_live)(**node));
    let mut next = now.voters.clone();
    if next.len().is_multiple_of(2) {
        // No number that this module makes; a change that an earlier leader did not finish may leave one.
        match candidates.next() {
            Some(candidate) if next.len() < VOTERS_MAX => drop(next.insert(*candidate)),
            _ => {
                let silent = next.iter().find(|node| !(now.is_live)(**node));
                let leaving =
                    dead.or(silent).or_else(|| next.iter().rev().find(|node| **node != now.leader)).copied()?;
                next.remove(&leaving);
            }
        }
    } else if let Some(old) = dead.or(going).or(leaving) {
        match candidates.next() {
            Some(candidate) => {
                next.insert(*candidate);
                next.remove(old);
            }
            // Two go, so that the number stays odd; the second is one that is missed least.
            None => {
                next.remove(going?);
                let others = || next.iter().rev().filter(|node| **node != now.leader);
                let silent = others().find(|node| (now.is_leaving)(**node) || !(now.is_live)(**node));
                let second = silent.or_else(|| others().next()).copied()?;
                next.remove(&second);
            }
        }
    } else if next.len() + 2 <= VOTERS_MAX && live(&next) == next.len() {
        let (first, second) = (candidates.next()?, candidates.next()?);
        next.extend([first, second]);
    }
    (next != *now.voters && has_quorum(&next)).then_some(next)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(nodes: &[u32]) -> BTreeSet<NodeId> {
        nodes.iter().copied().map(NodeId).collect()
    }

    /// What becomes of `voters`, led by 1, when `silent` do not answer, `dead` of them for long.
    fn next(voters: &[u32], candidates: &[u32], silent: &[u32], dead: &[u32]) -> Option<Vec<u32>> {
        next_with(voters, candidates, (silent, dead), (&[], &[]))
    }

    /// The same, when `leaving` are to be replaced and `going` are to lose their votes.
    fn next_with(
        voters: &[u32],
        candidates: &[u32],
        (silent, dead): (&[u32], &[u32]),
        (leaving, going): (&[u32], &[u32]),
    ) -> Option<Vec<u32>> {
        let (voters, candidates, silent, dead) = (set(voters), set(candidates), set(silent), set(dead));
        let is_live = |node| !silent.contains(&node) && !dead.contains(&node);
        let is_dead = |node| dead.contains(&node);
        let electorate = Electorate {
            leader: NodeId(1),
            voters: &voters,
            candidates: &candidates,
            is_live: &is_live,
            is_dead: &is_dead,
            is_leaving: &|node| leaving.contains(&node.0) || going.contains(&node.0),
            is_going: &|node| going.contains(&node.0),
        };
        next_voters(&electorate).map(|next| next.into_iter().map(|node| node.0).collect())
    }

    /// Fails if the number of voters becomes even or exceeds five.
    #[test]
    fn voters_become_three_and_five_and_never_an_even_number() {
        assert_eq!(next(&[1], &[], &[], &[]), None);
        assert_eq!(next(&[1], &[2], &[], &[]), None);
        assert_eq!(next(&[1], &[2, 3], &[], &[]), Some(vec![1, 2, 3]));
        assert_eq!(next(&[1, 2, 3], &[4], &[], &[]), None);
        assert_eq!(next(&[1, 2, 3], &[4, 5, 6], &[], &[]), Some(vec![1, 2, 3, 4, 5]));
        assert_eq!(next(&[1, 2, 3, 4, 5], &[6, 7], &[], &[]), None);
    }

    /// Fails if a dead voter stays although another could take its place, or goes without one.
    #[test]
    fn a_voter_that_is_dead_for_a_while_is_replaced_by_a_live_member() {
        assert_eq!(next(&[1, 2, 3], &[4, 5], &[], &[2]), Some(vec![1, 3, 4]));
        assert_eq!(next(&[1, 2, 3], &[4, 5], &[2], &[]), None, "it may come back in a moment");
        assert_eq!(next(&[1, 2, 3], &[], &[], &[2]), None, "two voters would tolerate no more than these");
        assert_eq!(next(&[1, 2, 3], &[4], &[4], &[2]), None, "the other does not answer either");
        assert_eq!(next(&[1, 2, 3, 4, 5], &[6, 7], &[], &[4, 5]), Some(vec![1, 2, 3, 5, 6]), "one at a time");
    }

    /// Fails if a node that leaves keeps its vote although another could take it, if one that leaves for good keeps it at all, or if the
    /// number becomes even.
    #[test]
    fn a_voter_that_leaves_gives_its_vote_away() {
        let next = |voters: &[u32], candidates: &[u32], leaving: &[u32], going: &[u32]| {
            next_with(voters, candidates, (&[], &[]), (leaving, going))
        };
        assert_eq!(next(&[1, 2, 3], &[4], &[2], &[]), Some(vec![1, 3, 4]));
        assert_eq!(next(&[1, 2, 3], &[], &[2], &[]), None, "it comes back");
        assert_eq!(next(&[1, 2, 3], &[4], &[], &[2]), Some(vec![1, 3, 4]));
        assert_eq!(next(&[1, 2, 3], &[], &[], &[2]), Some(vec![1]));
        assert_eq!(next(&[1, 2, 3, 4, 5], &[], &[5], &[2]), Some(vec![1, 3, 4]), "the second is one that leaves, too");
        assert_eq!(next(&[1, 2, 3, 4, 5], &[6], &[], &[2, 3]), Some(vec![1, 3, 4, 5, 6]), "one at a time");
        // The leader hands over first, unless nobody could take it.
        assert_eq!(next(&[1, 2, 3], &[4], &[1], &[]), None);
        assert_eq!(next(&[1], &[2], &[1], &[]), Some(vec![2]));
        assert_eq!(next(&[1], &[], &[], &[1]), None);
        let silent = |going: &[u32]| next_with(&[1, 2, 3, 4, 5], &[], (&[4], &[]), (&[], going));
        assert_eq!(silent(&[5]), Some(vec![1, 2, 3]), "one that does not answer goes along");
    }

    /// Fails if the voters change while a majority of them is not heard, or to a set whose majority is not.
    #[test]
    fn nothing_changes_without_a_live_quorum() {
        assert_eq!(next(&[1, 2, 3], &[4, 5], &[], &[2, 3]), None);
        assert_eq!(next(&[1, 2], &[3], &[2], &[]), None);
        assert_eq!(next(&[1, 2, 3], &[4, 5], &[3], &[]), None, "no more voters while one is silent");
    }

    /// Fails if an even number, as an unfinished change leaves it, stays.
    #[test]
    fn an_even_number_becomes_odd() {
        assert_eq!(next(&[1, 2], &[], &[], &[]), Some(vec![1]));
        assert_eq!(next(&[1, 2], &[3], &[], &[]), Some(vec![1, 2, 3]));
        assert_eq!(next(&[1, 2, 3, 4], &[], &[], &[3]), Some(vec![1, 2, 4]));
        assert_eq!(next(&[1, 2, 3, 4], &[], &[2], &[]), Some(vec![1, 3, 4]));
        assert_eq!(next(&[1, 2, 3, 4, 5, 6], &[7], &[], &[]), Some(vec![1, 2, 3, 4, 5]));
    }

    /// Every reachable choice keeps the leader and leaves a live majority, whatever is silent.
    #[test]
    fn every_choice_keeps_the_leader_and_a_live_majority() {
        for bits in 0..1u32 << 14 {
            let pick = |shift: u32| (1..=7).filter(|node| bits >> (shift + node - 1) & 1 == 1).collect::<Vec<u32>>();
            let (voting, silent) = (pick(0), pick(7));
            let voters: Vec<u32> = voting.into_iter().chain([1]).collect();
            let silent: Vec<u32> = silent.into_iter().filter(|node| *node != 1).collect();
            let all: Vec<u32> = (1..=7).collect();
            for (silent, dead) in [(&silent[..], &[][..]), (&[], &silent)] {
                let Some(next) = next(&voters, &all, silent, dead) else { continue };
                let live = next.iter().filter(|node| !silent.contains(node) && !dead.contains(node)).count();
                assert!(next.contains(&1) && 2 * live > next.len(), "{voters:?} {silent:?} {dead:?} {next:?}");
                assert!(next.len() % 2 == 1 || voters.len() > 5, "{voters:?} {next:?}");
            }
        }
    }

    /// Fails if looks are not counted in a row.
    #[test]
    fn silence_is_counted_in_a_row() {
        let (silence, nodes) = (Silence::default(), [NodeId(1), NodeId(2)]);
        for looks in 1..=3 {
            silence.look(nodes.iter(), |node| node == NodeId(1));
            assert_eq!((silence.of(NodeId(1)), silence.of(NodeId(2))), (0, looks));
        }
        silence.look(nodes.iter(), |_| true);
        assert_eq!(silence.of(NodeId(2)), 0);
        silence.look(nodes.iter(), |_| false);
        assert_eq!(silence.of(NodeId(2)), 1);
    }
}
