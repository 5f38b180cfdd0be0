//! Lost members, groups that nothing uses, and the cluster's settings.

use super::*;

fn with_map() -> Meta {
    let mut meta = Meta { state: MetaState::default(), rows: BTreeMap::new(), written: 0 };
    meta.apply(MetaCommand::Found { cluster: "c".into(), expect: 3, partitions: 2, replication: 3 }).unwrap();
    (1..=4).for_each(|node| meta.apply(MetaCommand::Join(Box::new(join(node)))).unwrap());
    let sets = [[1, 2, 3], [2, 1, 3]].map(|set| set.map(NodeId).to_vec()).into();
    meta.apply(MetaCommand::MakeMap { sets, partitions: vec![0, 1] }).unwrap();
    meta
}

fn ids(meta: &Meta) -> Vec<u32> {
    meta.state.groups.keys().map(|group| group.0).collect()
}

/// Fails if a group goes that a partition or a move is in, if an id is given again, or if a removed group is not told from one that is to
/// come.
#[test]
fn groups_that_nothing_uses_are_removed_for_good() {
    let mut meta = with_map();
    let all = |meta: &Meta| MetaCommand::RemoveGroups { groups: meta.state.groups.keys().copied().collect() };
    let to = vec![NodeId(4), NodeId(1), NodeId(2)];
    let moving = MetaCommand::Move { keyspace: DEFAULT_KEYSPACE, partitions: vec![PartitionId(0)], to: to.clone() };
    meta.apply(moving.clone()).unwrap();
    assert_eq!(meta.state.unused_groups(), []);
    meta.apply(all(&meta)).unwrap();
    assert_eq!(ids(&meta), [1, 2, 3], "the move is in two, partition 1 in the other");
    let id = *meta.state.moves.keys().next().unwrap();
    meta.apply(MetaCommand::Flip { moves: vec![id] }).unwrap();
    assert_eq!(meta.state.unused_groups(), [], "the old copies are still there");
    meta.apply(MetaCommand::EndMoves { moves: vec![id] }).unwrap();
    assert_eq!(meta.state.unused_groups(), [GroupId(1)]);
    let routed = meta.state.header.routing_index;
    meta.apply(all(&meta)).unwrap();
    assert_eq!(ids(&meta), [2, 3]);
    assert!(meta.state.header.routing_index > routed, "nodes close it");
    let gone = [0, 1, 2, 4].map(|group| meta.state.is_group_removed(GroupId(group)));
    assert_eq!(
        gone,
        [false, true, false, false],
        "of the meta group, this one, one that is there, one that is to come"
    );
    meta.apply(all(&meta)).unwrap();
    // The same set again is another group.
    let back = vec![NodeId(1), NodeId(2), NodeId(3)];
    meta.apply(MetaCommand::Move { keyspace: DEFAULT_KEYSPACE, partitions: vec![PartitionId(0)], to: back }).unwrap();
    assert_eq!(ids(&meta), [2, 3, 4]);
    assert!(MetaState::load(meta.rows.clone()).unwrap() == meta.state);
}

/// Fails if a start that has not been silent is marked, if a node stays marked that registers or answers again, or if a lost one gets replicas.
#[test]
fn a_lost_member_is_one_start_until_it_returns() {
    let mut meta = with_map();
    let lost = |incarnation| MetaCommand::MarkLost { node: NodeId(4), incarnation, start: 11 };
    assert!(meta.apply(lost(2)).unwrap_err().contains("has started again"));
    assert!(meta.apply(MetaCommand::MarkLost { node: NodeId(9), incarnation: 1, start: 11 }).is_err());
    meta.apply(lost(1)).unwrap();
    meta.apply(lost(1)).unwrap();
    assert!(meta.state.is_lost(NodeId(4)));
    let to = vec![NodeId(1), NodeId(2), NodeId(4)];
    let moving = MetaCommand::Move { keyspace: DEFAULT_KEYSPACE, partitions: vec![PartitionId(0)], to };
    assert!(meta.apply(moving.clone()).unwrap_err().contains("counts as lost"));
    assert!(MetaState::load(meta.rows.clone()).unwrap() == meta.state);
    meta.apply(MetaCommand::MarkReturned { node: NodeId(4) }).unwrap();
    meta.apply(MetaCommand::MarkReturned { node: NodeId(4) }).unwrap();
    meta.apply(moving).unwrap();
    meta.apply(lost(1)).unwrap();
    meta.apply(MetaCommand::Join(Box::new(Join { incarnation: 2, ..join(4) }))).unwrap();
    assert!(!meta.state.is_lost(NodeId(4)), "it has registered again");
    assert!(MetaState::load(meta.rows.clone()).unwrap() == meta.state);
}

/// Fails if a setting that is not named changes, one out of range is taken, or the row is not what is in force.
#[test]
fn settings_change_one_by_one_within_their_ranges() {
    let mut meta = with_map();
    let none = ClusterChange::default();
    let mut set = |change: ClusterChange| {
        let reply = meta.apply(MetaCommand::SetCluster(change));
        assert!(MetaState::load(meta.rows.clone()).unwrap() == meta.state);
        reply.map(|()| meta.state.settings)
    };
    let before = ClusterSettings::default();
    assert_eq!(set(none), Ok(before));
    let set_two = ClusterChange { repair_after_s: Some(10), is_paused: Some(true), ..none };
    assert_eq!(set(set_two), Ok(ClusterSettings { repair_after_s: 10, is_paused: true, ..before }));
    assert!(set(ClusterChange { repair_after_s: Some(1), ..none }).unwrap_err().contains("choose 3 to"));
    assert!(set(ClusterChange { move_rate_bytes: Some(1), balances: Some(false), ..none }).is_err());
    let back = ClusterChange { repair_after_s: Some(300), is_paused: Some(false), ..none };
    assert_eq!(set(back), Ok(before), "and the row goes");
    assert_eq!(
        set(ClusterChange { move_rate_bytes: Some(1 << 20), balances: Some(false), ..none }),
        Ok(ClusterSettings { move_rate_bytes: 1 << 20, balances: false, ..before })
    );
}
