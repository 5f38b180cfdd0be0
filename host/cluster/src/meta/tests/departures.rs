//! Members that are drained, decommissioned and removed.

use super::*;

/// Members 1 to 4, and a partition on each of two groups, of the members 1, 2 and 3.
fn four() -> Meta {
    let mut meta = Meta { state: MetaState::default(), rows: BTreeMap::new(), written: 0 };
    meta.apply(MetaCommand::Found { cluster: "c".into(), expect: 3, partitions: 2, replication: 3 }).unwrap();
    (1..=4).for_each(|node| meta.apply(MetaCommand::Join(Box::new(join(node)))).unwrap());
    let sets = [[1, 2, 3], [2, 1, 3]].map(|set| set.map(NodeId).to_vec()).into();
    meta.apply(MetaCommand::MakeMap { sets, partitions: vec![0, 1] }).unwrap();
    meta
}

fn drain(node: u32) -> MetaCommand {
    MetaCommand::Drain { node: NodeId(node) }
}

fn undrain(node: u32) -> MetaCommand {
    MetaCommand::Undrain { node: NodeId(node) }
}

fn decommission(node: u32, successor: Option<u32>) -> MetaCommand {
    MetaCommand::Decommission { node: NodeId(node), successor: successor.map(NodeId) }
}

fn remove(node: u32) -> MetaCommand {
    MetaCommand::RemoveMember { node: NodeId(node) }
}

fn state_of(meta: &Meta, node: u32) -> MemberState {
    meta.state.members[&NodeId(node)].state
}

/// Moves all partitions to these nodes, as far as meta is concerned.
fn move_all(meta: &mut Meta, to: [u32; 3]) {
    let (partitions, to) = (vec![PartitionId(0), PartitionId(1)], to.map(NodeId).to_vec());
    meta.apply(MetaCommand::Move { keyspace: DEFAULT_KEYSPACE, partitions, to }).unwrap();
    let moves: Vec<u64> = meta.state.moves.keys().copied().collect();
    meta.apply(MetaCommand::Flip { moves: moves.clone() }).unwrap();
    meta.apply(MetaCommand::EndMoves { moves }).unwrap();
}

/// Fails if a restart ends a drain, undraining does not, or the last node is drained.
#[test]
fn a_drained_member_stays_drained_until_it_is_undrained() {
    let mut meta = four();
    meta.apply(drain(3)).unwrap();
    meta.apply(drain(3)).unwrap();
    let again = Join { incarnation: 2, start: 22, ..join(3) };
    meta.apply(MetaCommand::Join(Box::new(again.clone()))).unwrap();
    assert_eq!(state_of(&meta, 3), MemberState::Draining);
    assert_eq!(meta.state.members[&NodeId(3)].incarnation, 2);
    let to = [3, 1, 2].map(NodeId).to_vec();
    let refused = meta.apply(MetaCommand::Move { keyspace: DEFAULT_KEYSPACE, partitions: vec![PartitionId(0)], to });
    assert!(refused.unwrap_err().contains("it is not active"), "nothing moves to it");
    meta.apply(undrain(3)).unwrap();
    meta.apply(undrain(3)).unwrap();
    assert_eq!(state_of(&meta, 3), MemberState::Active);
    (1..=3).for_each(|node| meta.apply(drain(node)).unwrap());
    assert!(meta.apply(drain(4)).unwrap_err().contains("last active node"));
    assert!(meta.apply(drain(9)).unwrap_err().contains("there is no node 00000009"));
    assert!(MetaState::load(meta.rows.clone()).unwrap() == meta.state);
}

/// Fails if what an operator wants of a member is forgotten because another node takes its address, or that address goes on being taken
/// for its own.
#[test]
fn a_member_that_leaves_may_lose_its_address() {
    let mut meta = four();
    meta.apply(decommission(3, None)).unwrap();
    let displaces = Some(Displaced { node: NodeId(3), incarnation: 1, start: 11 });
    let taking = Join { address: join(3).address, displaces, ..join(5) };
    meta.apply(MetaCommand::Join(Box::new(taking.clone()))).unwrap();
    assert!(meta.state.members[&NodeId(3)].address_taken);
    assert_eq!(state_of(&meta, 3), MemberState::Decommissioning);
    assert_eq!(meta.state.member_at(join(3).address, NodeId(9)).map(|(node, _)| *node), Some(NodeId(5)));
    meta.apply(undrain(3)).unwrap();
    assert_eq!(state_of(&meta, 3), MemberState::Displaced, "nobody knows where it is");
    meta.apply(decommission(3, None)).unwrap();
    let back = Join { incarnation: 2, start: 22, address: "10.0.9.9:7400".parse().unwrap(), ..join(3) };
    meta.apply(MetaCommand::Join(Box::new(back))).unwrap();
    assert!(!meta.state.members[&NodeId(3)].address_taken);
    assert_eq!(state_of(&meta, 3), MemberState::Decommissioning);
}

/// Fails if a cluster is left with fewer active nodes than its partitions have replicas, whichever way.
#[test]
fn a_decommissioning_leaves_enough_active_nodes() {
    let mut meta = four();
    meta.apply(decommission(1, None)).unwrap();
    let why = meta.apply(decommission(2, None)).unwrap_err();
    assert!(why.contains("2 active nodes would remain") && why.contains("default has 3 replicas"), "{why}");
    meta.apply(undrain(1)).unwrap();
    meta.apply(drain(4)).unwrap();
    assert!(meta.apply(decommission(1, None)).unwrap_err().contains("2 active nodes"), "a drained one takes nothing");
    meta.apply(decommission(4, None)).unwrap();
    assert_eq!(state_of(&meta, 4), MemberState::Decommissioning);
    assert!(meta.apply(drain(4)).unwrap_err().contains("being decommissioned"));

    let mut alone = Meta::new();
    alone.join(|_| {}).unwrap();
    assert!(alone.apply(decommission(1, None)).unwrap_err().contains("last active node"));
}

/// Fails if partitions have fewer replicas because a node is drained, or if a decommissioned one in a cluster of few nodes cannot be
/// replaced by the one that has joined.
#[test]
fn members_that_stay_say_how_many_replicas_there_should_be() {
    let mut meta = Meta { state: MetaState::default(), rows: BTreeMap::new(), written: 0 };
    meta.apply(MetaCommand::Found { cluster: "c".into(), expect: 2, partitions: 1, replication: 3 }).unwrap();
    (1..=2).for_each(|node| meta.apply(MetaCommand::Join(Box::new(join(node)))).unwrap());
    meta.apply(MetaCommand::MakeMap { sets: vec![vec![NodeId(1), NodeId(2)]], partitions: vec![0] }).unwrap();
    meta.apply(MetaCommand::Join(Box::new(join(3)))).unwrap();
    let wanted = |meta: &Meta| meta.state.replicas_wanted(&meta.state.keyspaces[&DEFAULT_KEYSPACE]);
    assert_eq!(wanted(&meta), 3);
    meta.apply(drain(2)).unwrap();
    assert_eq!(wanted(&meta), 3);
    meta.apply(undrain(2)).unwrap();
    meta.apply(decommission(2, None)).unwrap();
    assert_eq!(wanted(&meta), 2);
    let (partitions, to) = (vec![PartitionId(0)], vec![NodeId(1), NodeId(3)]);
    meta.apply(MetaCommand::Move { keyspace: DEFAULT_KEYSPACE, partitions, to }).unwrap();
}

/// Fails if a successor is taken that cannot take anything, or one that has gone is still named.
#[test]
fn a_successor_is_an_active_member() {
    let mut meta = four();
    assert!(meta.apply(decommission(1, Some(1))).unwrap_err().contains("cannot take its own place"));
    assert!(meta.apply(decommission(1, Some(9))).unwrap_err().contains("there is no node"));
    meta.apply(drain(4)).unwrap();
    assert!(meta.apply(decommission(1, Some(4))).unwrap_err().contains("is draining"));
    assert_eq!(state_of(&meta, 1), MemberState::Active);
    meta.apply(undrain(4)).unwrap();
    meta.apply(decommission(1, None)).unwrap();
    meta.apply(decommission(1, Some(4))).unwrap();
    assert_eq!(meta.state.members[&NodeId(1)].successor, Some(NodeId(4)));
    meta.apply(MetaCommand::Join(Box::new(join(5)))).unwrap();
    meta.apply(decommission(4, None)).unwrap();
    meta.apply(remove(4)).unwrap();
    assert_eq!(meta.state.members[&NodeId(1)].successor, None);
    assert!(MetaState::load(meta.rows.clone()).unwrap() == meta.state);
}

/// Fails if a member goes that partitions or moves refer to, if anything of it is left but the tombstone, if it, or a copy of it, is taken
/// in again, or if its number is given again.
#[test]
fn a_member_is_removed_once_nothing_refers_to_it_and_never_comes_back() {
    let mut meta = four();
    let app = meta.install("app", "one", 1).unwrap();
    (1..=4).for_each(|node| meta.apply(ready(&app, node, None)).unwrap());
    assert!(meta.apply(remove(1)).unwrap_err().contains("only a decommissioned node"));
    meta.apply(decommission(1, None)).unwrap();
    assert!(meta.apply(remove(1)).unwrap_err().contains("replicas of 2 groups"));
    let (partitions, to) = (vec![PartitionId(0), PartitionId(1)], [2, 3, 4].map(NodeId).to_vec());
    meta.apply(MetaCommand::Move { keyspace: DEFAULT_KEYSPACE, partitions, to }).unwrap();
    let moves: Vec<u64> = meta.state.moves.keys().copied().collect();
    meta.apply(MetaCommand::Flip { moves: moves.clone() }).unwrap();
    assert!(meta.apply(remove(1)).unwrap_err().contains("replicas of 2 groups"), "the old copies are still there");
    meta.apply(MetaCommand::EndMoves { moves }).unwrap();
    assert_eq!(meta.state.packages[&app.digest].source, NodeId(1));
    meta.apply(remove(1)).unwrap();
    meta.apply(remove(1)).unwrap();

    assert!(!meta.state.members.contains_key(&NodeId(1)) && meta.state.is_removed(NodeId(1)));
    assert!(meta.state.readiness.keys().all(|(_, node)| *node != NodeId(1)));
    assert_ne!(meta.state.packages[&app.digest].source, NodeId(1), "it is asked for the bytes no more");
    assert!(MetaState::load(meta.rows.clone()).unwrap() == meta.state);
    for incarnation in [1, 2, 100] {
        let again = Join { incarnation, ..join(1) };
        let why = meta.apply(MetaCommand::Join(Box::new(again))).unwrap_err();
        assert!(why.contains("node 00000001 was removed from the cluster"), "{why}");
    }
    meta.apply(MetaCommand::Join(Box::new(join(5)))).unwrap();
    assert_eq!(meta.state.members[&NodeId(5)].number, 5);
    assert!(meta.apply(drain(1)).unwrap_err().contains("was removed"));
}

/// Fails if the last copy of a package goes with the member that has it.
#[test]
fn a_member_stays_while_it_has_the_only_copy_of_a_package() {
    let mut meta = four();
    let app = meta.install("app", "one", 1).unwrap();
    meta.apply(decommission(1, None)).unwrap();
    move_all(&mut meta, [2, 3, 4]);
    assert!(meta.apply(remove(1)).unwrap_err().contains("on node 00000001 only"));
    meta.apply(ready(&app, 2, None)).unwrap();
    meta.apply(remove(1)).unwrap();
}

/// Fails if a dead member's state lets it lead or get partitions, or if one that is present is not asked what it understands.
#[test]
fn states_say_who_is_active_and_who_follows() {
    let mut meta = four();
    meta.apply(drain(2)).unwrap();
    meta.apply(decommission(3, None)).unwrap_err();
    meta.apply(MetaCommand::Join(Box::new(join(5)))).unwrap();
    meta.apply(decommission(3, None)).unwrap();
    let nodes = |members: Vec<&NodeId>| members.into_iter().map(|node| node.0).collect::<Vec<_>>();
    assert_eq!(nodes(meta.state.active_members().map(|(node, _)| node).collect()), [1, 4, 5]);
    assert_eq!(nodes(meta.state.present_members().map(|(node, _)| node).collect()), [1, 2, 3, 4, 5]);
    assert!(meta.state.is_leaving(NodeId(2)) && meta.state.is_leaving(NodeId(3)) && !meta.state.is_leaving(NodeId(1)));
    assert!(!meta.state.is_active(NodeId(9)) && !meta.state.is_leaving(NodeId(9)));
}

/// Fails if members are given up of which partitions have their last replicas, if a group keeps a replica on one that is given up, if the
/// id of such a one is not refused for ever, or if a repetition is an error.
#[test]
fn members_that_are_given_up_leave_no_trace_but_their_tombstones() {
    let mut meta = four();
    let recover = |lost: &[u32], groups: &[(u32, &[u32])]| MetaCommand::Recover {
        lost: lost.iter().copied().map(NodeId).collect(),
        groups: groups
            .iter()
            .map(|(group, members)| ContinuedGroup {
                group: GroupId(*group),
                members: members.iter().copied().map(NodeId).collect(),
            })
            .collect(),
    };
    assert!(meta.apply(recover(&[1, 2, 3], &[])).unwrap_err().contains("no replica of group 1 would remain"));
    assert!(meta.apply(recover(&[1, 2, 3, 4], &[])).unwrap_err().contains("no active node"));
    assert!(meta.apply(recover(&[9], &[])).unwrap_err().contains("there is no node 00000009"));
    assert!(meta.apply(recover(&[1, 2], &[(1, &[2])])).unwrap_err().contains("group 1 cannot continue"));
    assert!(meta.apply(recover(&[1, 2], &[(1, &[])])).unwrap_err().contains("group 1 cannot continue"));
    meta.apply(decommission(1, Some(4))).unwrap();
    let before = meta.state.header.routing_index;
    for _ in 0..2 {
        meta.apply(recover(&[1, 2], &[(1, &[3])])).unwrap();
        assert!(meta.state.is_removed(NodeId(1)) && meta.state.is_removed(NodeId(2)));
        for group in [1, 2] {
            assert_eq!(meta.state.groups[&GroupId(group)].members.to_vec(), [NodeId(3)], "{group}");
        }
    }
    assert!(meta.state.header.routing_index > before, "calls go elsewhere");
    assert!(meta.join(|_| {}).unwrap_err().contains("was removed"));
    assert!(MetaState::load(meta.rows.clone()).unwrap() == meta.state);
}
