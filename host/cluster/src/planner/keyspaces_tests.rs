//! Plans of several keyspaces, carried out on the real meta state, which refuses what its rules forbid: a refused plan fails the test.

use recoil_base::{KeyspaceId, NodeId, PartitionId};

use super::*;
use crate::meta::{
    DEFAULT_KEYSPACE, Join, KEYSPACES_LEVEL, KeyspaceChange, Levels, Locality, MetaCommand, MetaState, NewKeyspace,
    Refusal, RefusalKind, Rules,
};
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

struct Cluster {
    state: MetaState,
    next_node: u32,
    what: String,
}

fn locality(number: u64) -> Locality {
    format!("region={},zone={}", ["eu", "us", "ap"][number as usize % 3], ["a", "b", "c"][number as usize / 3 % 3])
        .parse()
        .unwrap()
}

impl Cluster {
    fn new(nodes: u32) -> Self {
        let mut cluster = Cluster { state: MetaState::default(), next_node: 1, what: String::new() };
        let (expect, replication) = (nodes, 3);
        cluster.apply(MetaCommand::Found { cluster: "c".into(), expect, partitions: 64, replication }).unwrap();
        (0..nodes).for_each(|number| cluster.join(locality(number.into())));
        let candidates: Vec<Candidate> = (1..=nodes).map(|node| Candidate::of(NodeId(node), 100)).collect();
        let map = place(&candidates, 64, 3);
        cluster.apply(MetaCommand::MakeMap { sets: map.sets, partitions: map.partitions }).unwrap();
        cluster.apply(MetaCommand::RaiseLevel { level: KEYSPACES_LEVEL }).unwrap();
        cluster
    }

    fn apply(&mut self, command: MetaCommand) -> Result<(), Refusal> {
        let index = self.state.header.index + 1;
        self.state.apply(index, command, &mut vec![])
    }

    fn register(&mut self, node: u32, locality: Locality) {
        let incarnation = self.state.members.get(&NodeId(node)).map_or(1, |member| member.incarnation + 1);
        let join = Join {
            node: NodeId(node),
            address: format!("10.0.{}.{}:7400", node / 256, node % 256).parse().unwrap(),
            incarnation,
            start: 1,
            version: "0".into(),
            port_offset: 0,
            levels: Levels { min: 1, max: 2 },
            locality,
            capacity: 100,
            displaces: None,
        };
        self.apply(MetaCommand::Join(Box::new(join))).unwrap();
    }

    fn join(&mut self, locality: Locality) {
        self.register(self.next_node, locality);
        self.next_node += 1;
    }

    fn create(&mut self, name: &str, replicas: u32, rules: Rules) -> Result<(), Refusal> {
        let allowed = self.state.active_members().filter(|(_, member)| rules.allow(&member.locality));
        let candidates: Vec<Candidate> = allowed
            .map(|(node, member)| Candidate {
                zone: rules.zone_of(&member.locality),
                is_preferred: member.locality.has(&rules.prefer_leader),
                ..Candidate::of(*node, member.capacity)
            })
            .collect();
        let map = match candidates.is_empty() {
            true => crate::placement::Map { sets: vec![vec![]], partitions: vec![0] },
            false => place(&candidates, 24, replicas),
        };
        let (name, sets, partitions) = (name.to_owned(), map.sets, map.partitions);
        let new = NewKeyspace { name, replication: replicas, rules, sets, partitions };
        self.apply(MetaCommand::CreateKeyspace(Box::new(new)))
    }

    /// Begins what is planned and ends it, until nothing is planned. Every plan must be one that the state takes.
    fn settle(&mut self) {
        for _ in 0..400 {
            let views = View::all(&self.state, |_| true, Budget { cluster: 48, node: 24 });
            let planned = plan_all(&views);
            assert!(planned.len() <= 48, "{}", self.what);
            if planned.is_empty() && self.state.moves.is_empty() && self.state.unused_groups().is_empty() {
                return;
            }
            for Planned { keyspace, partition, to, why } in planned {
                let began = self.apply(MetaCommand::Move { keyspace, partitions: vec![partition], to });
                began.unwrap_or_else(|refusal| panic!("{}: {why}: {refusal}", self.what));
            }
            self.check_groups();
            let moves: Vec<u64> = self.state.moves.keys().copied().collect();
            self.apply(MetaCommand::Flip { moves: moves.clone() }).unwrap();
            self.apply(MetaCommand::EndMoves { moves }).unwrap();
            self.apply(MetaCommand::RemoveGroups { groups: self.state.unused_groups() }).unwrap();
            self.end_departures();
        }
        panic!("{}: plans do not come to an end", self.what);
    }

    fn end_departures(&mut self) {
        let leaving = self.state.members.keys().copied().filter(|node| !self.state.is_active(*node));
        let gone: Vec<NodeId> = leaving.filter(|node| self.state.refuse_removal(*node).is_none()).collect();
        gone.into_iter().for_each(|node| self.apply(MetaCommand::RemoveMember { node }).unwrap());
    }

    /// Whatever is under way: no group has a member that its keyspace forbids, unless it had it before the rule changed.
    fn check_groups(&self) {
        for record in self.state.moves.values() {
            let target = &self.state.groups[&record.target];
            assert_eq!(target.keyspace, record.keyspace);
            let allowed = target.members.iter().all(|node| self.state.may_hold(record.keyspace, *node));
            assert!(allowed, "{}: {record:?} goes to {:?}", self.what, target.members);
        }
    }

    /// At rest: every partition has its replicas where it may, as far apart as they can be, and nobody leads but who should, where that can be.
    fn check(&self) {
        for (id, keyspace) in &self.state.keyspaces {
            let allowed: Vec<NodeId> =
                self.state.members.keys().copied().filter(|node| self.state.may_hold(*id, *node)).collect();
            if allowed.is_empty() {
                continue; // everything stays
            }
            let wanted = self.state.replicas_wanted(keyspace);
            for placement in keyspace.partitions.iter() {
                let group = &self.state.groups[&placement.group];
                let what = format!("{}, keyspace {}: {:?}", self.what, keyspace.name, group.members);
                assert_eq!((group.keyspace, group.members.len()), (*id, wanted), "{what}");
                assert!(group.members.iter().all(|node| allowed.contains(node)), "{what}");
                assert!(group.members.iter().all(|node| self.state.is_active(*node)), "{what}");
            }
        }
    }

    fn any_node(&self, dice: &mut Dice) -> NodeId {
        *self.state.members.keys().nth(dice.below(self.state.members.size() as u64) as usize).unwrap()
    }

    /// Something that an operator does, which the state may refuse.
    fn change(&mut self, dice: &mut Dice, number: u64) {
        let region = |dice: &mut Dice| ["", "region=eu", "region=us", "region=ap", "zone=a"][dice.below(5) as usize];
        let name = format!("k{}", dice.below(4));
        let done = match dice.below(7) {
            0 => {
                self.join(locality(dice.below(9)));
                Ok(())
            }
            1 if self.state.members.size() > 6 => {
                let node = self.any_node(dice);
                self.apply(MetaCommand::Decommission { node, successor: None })
            }
            2 => {
                let node = self.any_node(dice);
                self.register(node.0, locality(dice.below(9)));
                Ok(())
            }
            3 => {
                let (require, prefer_leader) = (region(dice).parse().unwrap(), "zone=b".parse().unwrap());
                let rules = Rules { require, spread_by: "zone".into(), prefer_leader };
                self.create(&name, 1 + dice.below(5) as u32, rules)
            }
            4 => {
                let replication = Some(1 + 2 * dice.below(3) as u32);
                let name = if dice.below(4) == 0 { "default".to_owned() } else { name };
                let change = KeyspaceChange { replication, ..KeyspaceChange::default() };
                self.apply(MetaCommand::SetKeyspace { name, change })
            }
            5 => {
                let require = Some(region(dice).parse().unwrap());
                let change = KeyspaceChange { require, ..KeyspaceChange::default() };
                self.apply(MetaCommand::SetKeyspace { name, change })
            }
            _ => self.apply(MetaCommand::DeleteKeyspace { name }),
        };
        if let Err(refusal) = done {
            assert!(refusal.kind != RefusalKind::Invalid, "change {number}: {refusal}");
        }
    }
}

/// Fails if a plan is one that the rules forbid, if plans do not come to an end, or if at rest a replica is missing or where it must not be:
/// after joins, departures, changed localities, rules and numbers of replicas, keyspaces made and deleted, at random.
#[test]
fn rules_hold_and_plans_end_whatever_changes() {
    for seed in 1..=12 {
        let (mut cluster, mut dice) = (Cluster::new(9), Dice(0x9e37_79b9_7f4a_7c15_u64.wrapping_mul(seed)));
        for number in 0..30 {
            cluster.what = format!("seed {seed}, change {number}, {} nodes", cluster.state.members.size());
            cluster.change(&mut dice, number);
            cluster.settle();
            cluster.check();
        }
    }
}

/// Fails if three replicas do not become five and three again, if leaders are elsewhere than preferred although their sets allow it, or if
/// the default keyspace is touched by what another one is set to.
#[test]
fn replicas_are_raised_and_lowered_and_leaders_are_where_they_should_be() {
    let mut cluster = Cluster::new(27);
    let (require, prefer_leader) = ("region=eu".parse().unwrap(), "zone=b".parse().unwrap());
    cluster.create("eu", 3, Rules { require, spread_by: "zone".into(), prefer_leader }).unwrap();
    cluster.settle();
    let before = cluster.state.keyspaces[&DEFAULT_KEYSPACE].clone();
    let id = KeyspaceId(2);
    let led_elsewhere = |cluster: &Cluster| {
        let members = &cluster.state.members;
        let leader = |placement: crate::meta::Placement| cluster.state.groups[&placement.group].members[0];
        let zone = |node: NodeId| members[&node].locality.to_string();
        cluster.state.keyspaces[&id].partitions.iter().filter(|at| !zone(leader(*at)).ends_with("zone=b")).count()
    };
    assert_eq!(led_elsewhere(&cluster), 0);
    for replication in [5, 3, 9, 3] {
        cluster.what = format!("{replication} replicas");
        let change = KeyspaceChange { replication: Some(replication), ..KeyspaceChange::default() };
        cluster.apply(MetaCommand::SetKeyspace { name: "eu".into(), change }).unwrap();
        cluster.settle();
        cluster.check();
        assert!(cluster.state.keyspaces[&DEFAULT_KEYSPACE] == before, "{replication}");
        assert_eq!(led_elsewhere(&cluster), 0, "{replication}");
    }
    let prefer_leader = Some("zone=c".parse().unwrap());
    let change = KeyspaceChange { prefer_leader, ..KeyspaceChange::default() };
    cluster.apply(MetaCommand::SetKeyspace { name: "eu".into(), change }).unwrap();
    cluster.settle();
    let place = cluster.state.keyspaces[&id].partitions.get(PartitionId(0)).unwrap();
    assert_eq!(cluster.state.groups[&place.group].members.len(), 3);
    // Every set has a node in each of the three zones.
    assert!(led_elsewhere(&cluster) >= 20, "{} of 24 are still led from zone b", 24 - led_elsewhere(&cluster));
}

/// Fails if a node whose locality the rule forbids keeps replicas that others can take, or gives them up when nobody can.
#[test]
fn what_a_rule_forbids_leaves_and_stays_where_nobody_can_take_it() {
    let mut cluster = Cluster::new(9);
    let rules = Rules { require: "region=eu".parse().unwrap(), ..Rules::default() };
    cluster.create("eu", 2, rules).unwrap();
    let holders = |cluster: &Cluster| {
        let groups = cluster.state.groups.values().filter(|group| group.keyspace == KeyspaceId(2));
        groups.flat_map(|group| group.members.to_vec()).map(|node| node.0).collect::<std::collections::BTreeSet<_>>()
    };
    assert_eq!(holders(&cluster).into_iter().collect::<Vec<_>>(), [1, 4, 7]);
    for (node, left) in [(1, &[4, 7][..]), (4, &[7]), (7, &[7])] {
        cluster.register(node, "region=us".parse().unwrap());
        cluster.settle();
        assert_eq!(holders(&cluster).into_iter().collect::<Vec<_>>(), left);
    }
    cluster.join("region=eu".parse().unwrap());
    cluster.settle();
    assert_eq!(holders(&cluster).into_iter().collect::<Vec<_>>(), [10]);
}
