//! Clusters that grow, shrink and lose nodes, with plans carried out a part at a time. Each plan is held against the rules.

use super::*;
use crate::placement::{Candidate, place};

/// A small generator (xorshift), so that a failure names its seed.
struct Dice(u64);

impl Dice {
    fn below(&mut self, count: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % count
    }
}

/// A move that has begun.
struct Flying {
    place: usize,
    source: GroupId,
    target: GroupId,
    rounds: u64,
}

struct World {
    nodes: BTreeMap<NodeId, Node>,
    groups: BTreeMap<GroupId, Arc<[NodeId]>>,
    partitions: Vec<GroupId>,
    flying: Vec<Flying>,
    next_group: u32,
    replication: usize,
    budget: Budget,
    /// Replicas that have been copied to a node.
    copied: usize,
    dice: Dice,
}

const NO_LIMIT: Budget = Budget { cluster: usize::MAX, node: usize::MAX };

fn node(capacity: u32, zone: &str) -> Node {
    Node { role: Role::Member, capacity, zone: zone.into(), is_preferred: true, is_live: true, successor: None }
}

impl World {
    fn new(count: u32, partitions: u32, budget: Budget) -> Self {
        let nodes = (1..=count).map(|id| (NodeId(id), node(100, "")));
        World::with(nodes.collect(), partitions, budget)
    }

    fn with(nodes: BTreeMap<NodeId, Node>, partitions: u32, budget: Budget) -> Self {
        let candidate =
            |(node, of): (&NodeId, &Node)| Candidate { zone: of.zone.clone(), ..Candidate::of(*node, of.capacity) };
        let map = place(&nodes.iter().map(candidate).collect::<Vec<_>>(), partitions, 3);
        let groups = (1..).map(GroupId).zip(map.sets.into_iter().map(Arc::from)).collect::<BTreeMap<_, _>>();
        let next_group = groups.len() as u32 + 1;
        let partitions = map.partitions.into_iter().map(|set| GroupId(set + 1)).collect();
        let dice = Dice(0x9e37_79b9_7f4a_7c15);
        World { nodes, groups, partitions, flying: vec![], next_group, replication: 3, budget, copied: 0, dice }
    }

    fn members(&self) -> impl Iterator<Item = NodeId> {
        self.nodes.iter().filter(|(_, node)| node.role == Role::Member).map(|(id, _)| *id)
    }

    fn view(&self) -> View {
        // As a lost node still counts as a member of the cluster.
        let active = self.nodes.values().filter(|node| matches!(node.role, Role::Member | Role::Lost)).count();
        let partition = |(place, group): (usize, &GroupId)| {
            let flying = self.flying.iter().find(|flying| flying.place == place);
            Partition {
                keyspace: KeyspaceId(1),
                partition: PartitionId(place as u32),
                group: flying.map_or(*group, |flying| flying.target),
                replicas: self.replication.min(active),
                is_moving: flying.is_some(),
            }
        };
        View {
            nodes: self.nodes.clone(),
            groups: self.groups.clone(),
            partitions: self.partitions.iter().enumerate().map(partition).collect(),
            moves: self.flying.iter().map(|flying| (flying.source, flying.target)).collect(),
            budget: self.budget,
            is_healthy: self.nodes.values().all(|node| node.role != Role::Member || node.is_live),
        }
    }

    fn group(&mut self, set: &[NodeId]) -> GroupId {
        if let Some((id, _)) = self.groups.iter().find(|(_, members)| members[..] == *set) {
            return *id;
        }
        let id = GroupId(self.next_group);
        self.next_group += 1;
        self.groups.insert(id, set.into());
        id
    }

    /// Holds a plan against the rules and begins it.
    fn begin(&mut self, planned: &[Planned]) {
        assert!(self.flying.len() + planned.len() <= self.budget.cluster, "the budget is exceeded");
        for Planned { partition, to, why, .. } in planned {
            let place = partition.0 as usize;
            assert!(!self.flying.iter().any(|flying| flying.place == place), "{partition} moves already");
            let source = self.partitions[place];
            let from = self.groups[&source].clone();
            assert!(from[..] != to[..], "{partition} is there already");
            let live = |node: &&NodeId| self.nodes[*node].is_live;
            let newcomers: Vec<_> = to.iter().filter(|node| !from.contains(node)).collect();
            assert!(newcomers.iter().all(|node| self.nodes[*node].role == Role::Member && live(node)), "{why}: {to:?}");
            assert!(2 * to.iter().filter(live).count() > to.len() && 2 * from.iter().filter(live).count() > from.len());
            let shared: Vec<_> = to.iter().filter(|node| from.contains(node)).collect();
            let stays = |node: &&NodeId| self.nodes[*node].role == Role::Member;
            assert!(
                shared.contains(&&to[0]) || !from.iter().any(|node| stays(&node) && live(&node)),
                "{from:?} {to:?}"
            );
            assert!(
                matches!(why, Why::Load | Why::Leaders | Why::Groups)
                    || shared.len() == from.iter().filter(stays).count().min(to.len())
            );
            assert!(to.iter().enumerate().all(|(place, node)| !to[..place].contains(node)) && to[1..].is_sorted());
            self.copied += newcomers.len();
            let target = self.group(to);
            let rounds = self.dice.below(4);
            self.flying.push(Flying { place, source, target, rounds });
        }
        for node in self.nodes.keys() {
            let groups = self.groups.values().filter(|members| members.contains(node)).count();
            assert!(groups <= GROUPS_A_NODE_MAX, "node {node} has replicas of {groups} groups");
        }
    }

    /// Lets some moves end, and removes groups that nothing uses.
    fn pass(&mut self) {
        let (ended, flying): (Vec<_>, _) =
            std::mem::take(&mut self.flying).into_iter().partition(|flying| flying.rounds == 0);
        self.flying = flying;
        self.flying.iter_mut().for_each(|flying| flying.rounds -= 1);
        ended.into_iter().for_each(|ended| self.partitions[ended.place] = ended.target);
        let used: std::collections::BTreeSet<GroupId> =
            self.partitions.iter().copied().chain(self.flying.iter().flat_map(|of| [of.source, of.target])).collect();
        self.groups.retain(|group, _| used.contains(group));
    }

    /// Goes on until nothing is planned and nothing moves; answers the replicas copied.
    fn settle(&mut self, what: &str) -> usize {
        let before = self.copied;
        for _ in 0..3000 {
            let planned = plan(&self.view());
            let is_quiet = planned.is_empty() && self.flying.is_empty();
            self.begin(&planned);
            self.pass();
            if is_quiet {
                return self.copied - before;
            }
        }
        panic!("{what}: plans do not come to an end");
    }

    fn loads(&self) -> BTreeMap<NodeId, (usize, usize)> {
        let mut loads: BTreeMap<NodeId, (usize, usize)> = BTreeMap::new();
        for group in &self.partitions {
            let members = &self.groups[group];
            loads.entry(members[0]).or_default().1 += 1;
            members.iter().for_each(|node| loads.entry(*node).or_default().0 += 1);
        }
        loads
    }

    /// Every partition has its replicas, on members alone, and no member more than the bounds allow. Capacities are alike.
    fn check(&self, what: &str) {
        let (loads, members): (_, Vec<NodeId>) = (self.loads(), self.members().collect());
        let total = self.partitions.len();
        let most = |total: usize| (total * 11).div_ceil(members.len() * 10);
        for (node, (held, led)) in &loads {
            assert!(members.contains(node), "{what}: node {node} holds {held}");
            assert!(*held <= most(total * 3), "{what}: node {node} holds {held}, {loads:?}");
            assert!(*led <= most(total), "{what}: node {node} leads {led}, {loads:?}");
        }
        for node in &members {
            let (held, led) = loads.get(node).copied().unwrap_or_default();
            assert!(held >= total * 3 * 8 / members.len() / 10, "{what}: node {node} holds {held}, {loads:?}");
            assert!(led >= total * 7 / members.len() / 10, "{what}: node {node} leads {led}, {loads:?}");
        }
        assert!(self.groups.values().all(|members| members.len() == 3), "{what}");
    }

    fn join(&mut self, id: u32) {
        self.nodes.insert(NodeId(id), node(100, ""));
    }

    /// A node is lost, or has to leave.
    fn leave(&mut self, id: NodeId, role: Role) {
        let node = self.nodes.get_mut(&id).unwrap();
        (node.role, node.is_live) = (role, role != Role::Lost);
    }

    fn held(&self, node: NodeId) -> usize {
        self.partitions.iter().filter(|group| self.groups[group].contains(&node)).count()
    }
}

/// Fails if a cluster that is even as it was made is changed, of whatever size.
#[test]
fn a_new_map_is_left_as_it_is() {
    for count in [1, 2, 3, 4, 5, 12, 60] {
        for partitions in [16, 265, 4096] {
            let world = World::new(count, partitions, NO_LIMIT);
            if partitions < 20 * count {
                continue; // one partition more or less is a tenth
            }
            let mut view = world.view();
            view.partitions.iter_mut().for_each(|of| of.replicas = world.replication.min(count as usize));
            assert_eq!(plan(&view), [], "{count} nodes, {partitions} partitions");
        }
    }
}

/// Fails if three nodes that become four, then five, then three again are not even each time, or more is copied than what must be.
#[test]
fn three_nodes_become_four_and_five_and_three_again() {
    for budget in [NO_LIMIT, Budget { cluster: 32, node: 16 }] {
        let mut world = World::new(3, 265, budget);
        world.settle("3");
        world.join(4);
        let copied = world.settle("4");
        world.check("4");
        let share = 265 * 3 / 4;
        assert!(
            copied >= share * 9 / 10 - 1 && copied * 10 <= share * 12,
            "{copied} replicas copied for a share of {share}"
        );
        world.join(5);
        let copied = world.settle("5");
        world.check("5");
        let share = 265 * 3 / 5;
        assert!(
            copied >= share * 9 / 10 - 1 && copied * 10 <= share * 12 + 30,
            "{copied} replicas copied for a share of {share}"
        );
        let gone = world.held(NodeId(2)) + world.held(NodeId(5));
        world.leave(NodeId(2), Role::Leaving);
        world.leave(NodeId(5), Role::Lost);
        let copied = world.settle("3 again");
        // The lost one counts as a member of the cluster, but not as one that may hold anything: it has been removed by then.
        world.nodes.remove(&NodeId(5));
        world.nodes.remove(&NodeId(2));
        assert!(copied * 10 <= gone * 12 + 30, "{copied} replicas copied for {gone}");
        world.check("3 again");
        assert_eq!(world.settle("3 at rest"), 0);
    }
}

/// Fails if nodes that join or leave one after another, at random, leave loads out of bounds, nodes in too many groups, or more than a
/// fifth more copied, in all, than what each of them had, or gets.
#[test]
fn nodes_join_and_leave_at_random() {
    for (seed, count, partitions, changes) in
        [(1, 3, 265, 20), (2, 5, 512, 20), (3, 12, 512, 20), (4, 30, 1024, 8), (5, 60, 4096, 4)]
    {
        let mut world = World::new(count, partitions, NO_LIMIT);
        world.dice = Dice(0x9e37_79b9_7f4a_7c15_u64.wrapping_mul(seed));
        world.settle("at first");
        world.check("at first");
        let (mut due_in_all, mut done_in_all) = (0, 0);
        for change in 0..changes {
            let id = 1000 + change;
            let what = format!("seed {seed}, change {change}, {} nodes", world.nodes.len());
            let (due, done) = if world.dice.below(2) == 0 || world.nodes.len() <= 4 {
                world.join(id);
                let done = world.settle(&what);
                (world.held(NodeId(id)), done)
            } else {
                let place = world.dice.below(world.nodes.len() as u64) as usize;
                let leaving = *world.nodes.keys().nth(place).unwrap();
                let due = world.held(leaving);
                let role = if world.dice.below(2) == 0 { Role::Leaving } else { Role::Lost };
                world.leave(leaving, role);
                let done = world.settle(&what);
                assert_eq!(world.held(leaving), 0, "{what}");
                world.nodes.remove(&leaving);
                (due, done)
            };
            world.check(&what);
            (due_in_all, done_in_all) = (due_in_all + due, done_in_all + done);
            // Now and then the bound of groups a node makes a detour necessary.
            assert!(done * 10 <= due * 14 + 50, "{what}: {done} replicas copied for {due}");
            assert_eq!(world.settle(&what), 0, "{what}");
        }
        assert!(done_in_all * 10 <= due_in_all * 12, "seed {seed}: {done_in_all} replicas copied for {due_in_all}");
    }
}

/// Fails if capacity counts for nothing, or a successor does not take over what its predecessor had.
#[test]
fn capacity_counts_and_a_successor_takes_over() {
    let mut world = World::new(5, 500, NO_LIMIT);
    world.nodes.insert(NodeId(6), node(200, ""));
    world.settle("a large node joins");
    let loads = world.loads();
    let (large, small) = (loads[&NodeId(6)], loads[&NodeId(1)]);
    assert!(large.0 * 10 >= small.0 * 16 && large.1 * 10 >= small.1 * 15, "{loads:?}");

    let before = world.held(NodeId(3));
    world.join(7);
    world.leave(NodeId(3), Role::Leaving);
    world.nodes.get_mut(&NodeId(3)).unwrap().successor = Some(NodeId(7));
    let planned = plan(&world.view());
    let to_successor = planned.iter().filter(|planned| planned.why == Why::Leaving(NodeId(3)));
    assert!(to_successor.clone().all(|planned| planned.to.contains(&NodeId(7))));
    assert_eq!(to_successor.count(), before);
    world.settle("a successor takes over");
    assert_eq!(world.held(NodeId(3)), 0);
}

/// Fails if a replica goes to a node that does not answer, if partitions without a quorum are to move, or if balance is sought while a
/// member is away.
#[test]
fn nothing_is_begun_that_could_not_end() {
    let mut world = World::new(3, 30, NO_LIMIT);
    world.leave(NodeId(2), Role::Lost);
    assert_eq!(plan(&world.view()), [], "there is no other node");
    world.join(4);
    world.nodes.get_mut(&NodeId(4)).unwrap().is_live = false;
    assert_eq!(plan(&world.view()), [], "the other node does not answer");
    world.nodes.get_mut(&NodeId(4)).unwrap().is_live = true;
    assert_eq!(plan(&world.view()).len(), 30);
    world.nodes.get_mut(&NodeId(1)).unwrap().is_live = false;
    assert_eq!(plan(&world.view()), [], "the partitions have no quorum");

    let mut world = World::new(3, 30, NO_LIMIT);
    world.join(4);
    world.nodes.get_mut(&NodeId(1)).unwrap().is_live = false;
    assert_eq!(plan(&world.view()), [], "a member is away");
    world.nodes.get_mut(&NodeId(1)).unwrap().is_live = true;
    assert!(!plan(&world.view()).is_empty());
}

/// Fails if replicas of a partition come to share a zone that were apart, or stay together when a zone is free.
#[test]
fn replicas_are_spread_over_zones() {
    let zone = |id: u32| ["a", "b", "c", "d"][id as usize % 4];
    let nodes = (1..=8).map(|id| (NodeId(id), node(100, zone(id))));
    let mut world = World::with(nodes.collect(), 300, NO_LIMIT);
    let zones = |world: &World| {
        let zone = |node: &NodeId| world.nodes[node].zone.clone();
        let of =
            |group: &GroupId| world.groups[group].iter().map(zone).collect::<std::collections::BTreeSet<_>>().len();
        world.partitions.iter().map(of).min().unwrap()
    };
    assert_eq!(zones(&world), 3);
    (9..=12).for_each(|id| drop(world.nodes.insert(NodeId(id), node(100, zone(id)))));
    world.settle("four nodes join");
    world.check("four nodes join");
    assert_eq!(zones(&world), 3);
    world.leave(NodeId(1), Role::Lost);
    world.settle("one is lost");
    assert_eq!(zones(&world), 3);
}

/// Fails if a plan of a large cluster takes longer than between two looks of the meta leader. The bound is for a debug build.
#[test]
fn a_large_cluster_is_planned_at_once() {
    let mut world = World::new(100, 10_000, Budget { cluster: 48, node: 16 });
    for id in 200..204 {
        world.join(id);
    }
    world.leave(NodeId(7), Role::Lost);
    let view = world.view();
    #[allow(clippy::disallowed_methods)] // a test of how long it takes
    let began = std::time::Instant::now();
    let planned = plan(&view);
    let took = began.elapsed();
    println!("100 nodes, 10,000 partitions: {} moves in {} ms", planned.len(), took.as_millis());
    assert!(!planned.is_empty() && took < std::time::Duration::from_secs(5), "{took:?}");
}
