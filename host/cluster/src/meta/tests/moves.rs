//! Moves as the cluster records them.

use super::*;

/// Four nodes, four partitions of three replicas in two groups.
fn four() -> Meta {
    let mut meta = Meta { state: MetaState::default(), rows: BTreeMap::new(), written: 0 };
    meta.apply(MetaCommand::Found { cluster: "c".into(), expect: 3, partitions: 4, replication: 3 }).unwrap();
    (1..=4).for_each(|node| meta.apply(MetaCommand::Join(Box::new(join(node)))).unwrap());
    let sets = [[1, 2, 3], [2, 1, 3]].map(|set| set.map(NodeId).to_vec()).into();
    meta.apply(MetaCommand::MakeMap { sets, partitions: vec![0, 1, 0, 1] }).unwrap();
    meta
}

fn start(meta: &mut Meta, partitions: &[u32], to: &[u32]) -> Result<(), String> {
    let partitions = partitions.iter().copied().map(PartitionId).collect();
    let to = to.iter().copied().map(NodeId).collect();
    meta.apply(MetaCommand::Move { keyspace: DEFAULT_KEYSPACE, partitions, to })
}

fn ids(meta: &Meta) -> Vec<u64> {
    meta.state.moves.keys().copied().collect()
}

/// Fails if a partition takes part in two moves, if the map flips twice or goes back, if a move that is under way can be taken for one that
/// has ended, or if what is recorded is not what is stored.
#[test]
fn a_partition_moves_once_at_a_time_and_the_map_follows() {
    let mut meta = four();
    let routed = meta.state.header.routing_index;
    start(&mut meta, &[0, 2], &[4, 2, 1]).unwrap();
    let [first, second] = ids(&meta)[..] else { panic!("two moves") };
    let target = GroupId(3);
    let record = meta.state.moves[&first];
    assert_eq!((record.source, record.target, record.epoch), (GroupId(1), target, 2));
    assert_eq!(
        meta.state.groups[&target].members[..],
        [4, 1, 2].map(NodeId),
        "the first leads, the others are in order"
    );
    assert!(meta.state.header.routing_index > routed, "nodes open the new group");
    start(&mut meta, &[0, 2], &[4, 1, 2]).unwrap();
    assert_eq!(ids(&meta), [first, second], "a repetition");
    assert!(start(&mut meta, &[2], &[2, 1, 3]).unwrap_err().contains("is being moved already"));
    assert!(meta.apply(MetaCommand::EndMoves { moves: vec![first] }).is_err(), "it has not moved yet");
    assert_eq!(meta.state.default_keyspace().unwrap().1.partitions.get(PartitionId(0)).unwrap().group, GroupId(1));

    meta.apply(MetaCommand::Flip { moves: vec![first] }).unwrap();
    let placement = |meta: &Meta| meta.state.default_keyspace().unwrap().1.partitions.get(PartitionId(0)).unwrap();
    assert_eq!(placement(&meta), Placement { group: target, epoch: 2 });
    let hosted =
        |meta: &Meta, group| meta.state.partitions_of(group).into_iter().map(|(_, p, _)| p.0).collect::<Vec<_>>();
    assert_eq!((hosted(&meta, GroupId(1)), hosted(&meta, target)), (vec![2], vec![0]));
    let index = meta.state.header.routing_index;
    meta.apply(MetaCommand::Flip { moves: vec![first] }).unwrap();
    assert_eq!(meta.state.header.routing_index, index, "a repetition");
    assert!(meta.apply(MetaCommand::CancelMove { id: first }).unwrap_err().contains("cannot be cancelled"));
    meta.apply(MetaCommand::EndMoves { moves: vec![first] }).unwrap();
    meta.apply(MetaCommand::EndMoves { moves: vec![first] }).unwrap();
    assert_eq!(ids(&meta), [second]);

    meta.apply(MetaCommand::CancelMove { id: second }).unwrap();
    assert_eq!(meta.state.moves[&second].state, MoveState::Cancelling);
    assert!(MetaState::load(meta.rows.clone()).unwrap() == meta.state);
    meta.apply(MetaCommand::EndMoves { moves: vec![second] }).unwrap();
    assert!(meta.state.moves.is_empty() && meta.state.move_of(DEFAULT_KEYSPACE, PartitionId(2)).is_none());
    // Back to where it was, in an epoch of its own; the group is there.
    start(&mut meta, &[0], &[1, 2, 3]).unwrap();
    let [third] = ids(&meta)[..] else { panic!("one move") };
    assert!(third > second, "ids grow");
    assert_eq!((meta.state.moves[&third].epoch, meta.state.moves[&third].target), (3, GroupId(1)));
    assert!(MetaState::load(meta.rows.clone()).unwrap() == meta.state);
}

/// Fails if a set of replicas is taken that a partition cannot have, or a refused command leaves anything.
#[test]
fn what_cannot_be_moved_is_refused_and_leaves_nothing() {
    let mut meta = four();
    let before = meta.state.clone();
    for (partitions, to, why) in [
        (&[0][..], &[1, 2, 3][..], "on these nodes already"),
        (&[0], &[1, 2], "has 3 replicas, not 2"),
        (&[0], &[1, 2, 3, 4], "has 3 replicas, not 4"),
        (&[0], &[1, 2, 2], "named twice"),
        (&[0], &[1, 2, 9], "there is no node"),
        (&[0, 99], &[4, 1, 2], "there is no partition 99"),
        (&[0, 0], &[4, 1, 2], ""),
        (&[], &[4, 1, 2], "0 partitions"),
        (&[0; MOVES_AN_ENTRY_MAX + 1], &[4, 1, 2], "at once"),
    ] {
        let reply = start(&mut meta, partitions, to);
        if why.is_empty() {
            // The second time it is a repetition of the first.
            reply.unwrap();
            assert_eq!(meta.state.moves.size(), 1);
            meta.state = before.clone();
            continue;
        }
        let text = reply.unwrap_err();
        assert!(text.contains(why), "{text}");
        assert!(meta.state.groups == before.groups && meta.state.moves.is_empty(), "{why}");
    }
    let other = MetaCommand::Move { keyspace: KeyspaceId(9), partitions: vec![PartitionId(0)], to: vec![NodeId(1)] };
    assert!(meta.apply(other).unwrap_err().contains("there is no keyspace"));
}

/// Fails without the caps: every move to a set of its own would add a group to three nodes.
#[test]
fn groups_of_a_node_and_moves_are_bounded() {
    let mut meta = Meta { state: MetaState::default(), rows: BTreeMap::new(), written: 0 };
    let partitions = MOVES_MAX as u32 + 200;
    meta.apply(MetaCommand::Found { cluster: "c".into(), expect: 3, partitions, replication: 2 }).unwrap();
    (1..=40).for_each(|node| meta.apply(MetaCommand::Join(Box::new(join(node)))).unwrap());
    let map = MetaCommand::MakeMap { sets: vec![vec![NodeId(1), NodeId(2)]], partitions: vec![0; partitions as usize] };
    meta.apply(map).unwrap();
    for other in 3..2 + GROUPS_A_NODE_MAX as u32 {
        start(&mut meta, &[other], &[1, other]).unwrap();
    }
    let full = start(&mut meta, &[1], &[1, 40]).unwrap_err();
    assert!(full.contains("node 00000001 has replicas of 16 groups"), "{full}");
    start(&mut meta, &[1], &[1, 3]).unwrap();
    let all: Vec<u32> = (100..partitions).collect();
    let mut refused = None;
    for some in all.chunks(MOVES_AN_ENTRY_MAX) {
        refused = refused.or(start(&mut meta, some, &[1, 3]).err());
    }
    assert!(refused.unwrap().contains("at most 1000 may be"));
    assert!(meta.state.moves.size() <= MOVES_MAX);
}
