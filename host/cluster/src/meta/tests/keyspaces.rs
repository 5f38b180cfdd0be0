//! Keyspaces: what the state refuses whoever proposes it, and the bytes of their commands and rows.

use super::*;

fn place(node: u32) -> &'static str {
    ["region=eu,zone=a", "region=eu,zone=b", "region=us,zone=a"][node as usize % 3]
}

/// Nodes 1 to 9, of which 3, 6, 9 are in eu/a, 1, 4, 7 in eu/b and 2, 5, 8 in us, at the level of keyspaces.
fn nine() -> Meta {
    let mut meta = Meta { state: MetaState::default(), rows: BTreeMap::new(), written: 0 };
    meta.apply(MetaCommand::Found { cluster: "c".into(), expect: 3, partitions: 4, replication: 3 }).unwrap();
    (1..=9).for_each(|node| join_at(&mut meta, node, 1, place(node)).unwrap());
    let sets = [[1, 2, 3], [2, 1, 3]].map(|set| set.map(NodeId).to_vec()).into();
    meta.apply(MetaCommand::MakeMap { sets, partitions: vec![0, 1, 0, 1] }).unwrap();
    meta
}

fn raised() -> Meta {
    let mut meta = nine();
    meta.apply(MetaCommand::RaiseLevel { level: KEYSPACES_LEVEL }).unwrap();
    meta
}

fn join_at(meta: &mut Meta, node: u32, incarnation: u64, locality: &str) -> Result<(), String> {
    let levels = Levels { min: 1, max: 2 };
    let join = Join { incarnation, levels, locality: locality.parse().unwrap(), ..join(node) };
    meta.apply(MetaCommand::Join(Box::new(join)))
}

fn rules(require: &str) -> Rules {
    let prefer_leader = "zone=a".parse().unwrap();
    Rules { require: require.parse().unwrap(), spread_by: "zone".into(), prefer_leader }
}

fn new(name: &str, sets: &[&[u32]]) -> NewKeyspace {
    let sets: Vec<Vec<NodeId>> = sets.iter().map(|set| set.iter().copied().map(NodeId).collect()).collect();
    let partitions = (0..sets.len() as u32).chain([0]).collect();
    NewKeyspace { name: name.into(), replication: 3, rules: rules("region=eu"), sets, partitions }
}

fn create(new: NewKeyspace) -> MetaCommand {
    MetaCommand::CreateKeyspace(Box::new(new))
}

/// With the keyspace `eu` of three partitions on the groups 3 (of 3, 1 and 4) and 4 (of 6, 1 and 7).
fn with_eu() -> Meta {
    let mut meta = raised();
    meta.apply(create(new("eu", &[&[3, 1, 4], &[6, 1, 7]]))).unwrap();
    meta
}

const EU: KeyspaceId = KeyspaceId(2);

fn start(meta: &mut Meta, keyspace: KeyspaceId, partition: u32, to: &[u32]) -> MetaReply {
    let to = to.iter().copied().map(NodeId).collect();
    meta.answer(MetaCommand::Move { keyspace, partitions: vec![PartitionId(partition)], to })
}

fn set(meta: &mut Meta, name: &str, change: KeyspaceChange) -> MetaReply {
    meta.answer(MetaCommand::SetKeyspace { name: name.into(), change })
}

fn install_in(app: &str, port: u16, keyspace: &str) -> MetaCommand {
    let MetaCommand::Install { name, digest, size, source, manifest, settings, .. } = install(app, app, port) else {
        unreachable!()
    };
    MetaCommand::Install { name, digest, size, source, manifest, settings, keyspace: Some(keyspace.into()) }
}

/// Fails if a keyspace is made below its feature level, twice, outside its bounds or against its own rule, or if what is stored of it is
/// another state.
#[test]
fn a_keyspace_is_made_within_its_bounds_and_its_rule_or_not_at_all() {
    let good = || new("eu", &[&[3, 1, 4], &[6, 1, 7]]);
    assert!(nine().apply(create(good())).unwrap_err().contains("needs feature level 2"));
    let mut meta = raised();
    let refused = |meta: &mut Meta, change: &dyn Fn(&mut NewKeyspace)| {
        let mut new = good();
        change(&mut new);
        let before = meta.state.keyspaces.clone();
        let refusal = meta.answer(create(new)).unwrap_err();
        assert!(meta.state.keyspaces == before && meta.state.groups.size() == 2);
        refusal
    };
    for name in ["", "EU", "a b", "a/b", &"x".repeat(65), "é"] {
        assert_eq!(refused(&mut meta, &|new| new.name = name.to_owned()).kind, RefusalKind::Invalid, "{name}");
    }
    let outside = refused(&mut meta, &|new| new.sets[1][2] = NodeId(5));
    assert_eq!(outside.kind, RefusalKind::Forbidden);
    assert!(outside.message.contains("requires region=eu, and node 00000005 has locality region=us"), "{outside}");
    let none = refused(&mut meta, &|new| new.rules.require = "region=mars".parse().unwrap());
    assert!(none.message.contains("3 active nodes with region=mars") && none.message.contains("there are 0"), "{none}");
    assert!(refused(&mut meta, &|new| new.replication = 7).message.contains("and there are 6"));
    for replication in [0, 10, u32::MAX] {
        assert_eq!(refused(&mut meta, &|new| new.replication = replication).kind, RefusalKind::Invalid);
    }
    for spread_by in ["a=b", "a,b", &"x".repeat(65)] {
        let refusal = refused(&mut meta, &|new| new.rules.spread_by = spread_by.to_owned());
        assert_eq!(refusal.kind, RefusalKind::Invalid, "{spread_by}");
    }
    refused(&mut meta, &|new| new.sets[0][1] = NodeId(3));
    refused(&mut meta, &|new| new.sets[0].truncate(2));
    refused(&mut meta, &|new| new.sets[0][1] = NodeId(99));
    refused(&mut meta, &|new| new.partitions[1] = 2);
    refused(&mut meta, &|new| new.partitions.clear());
    let many = refused(&mut meta, &|new| new.partitions = vec![0; PARTITIONS_MAX as usize - 3]);
    assert!(many.message.contains("of which 4 are taken"), "{many}");
    assert!(refused(&mut meta, &|new| new.name = "default".into()).message.contains("already"));

    meta.apply(create(good())).unwrap();
    meta.apply(create(good())).unwrap();
    assert_eq!(meta.state.keyspaces.size(), 2, "a repetition");
    assert!(meta.apply(create(NewKeyspace { replication: 1, ..good() })).unwrap_err().contains("already"));
    assert_eq!(meta.state.partitions_of(GroupId(3)).len(), 2);
    assert!(MetaState::load(meta.rows.clone()).unwrap() == meta.state);
    for number in 0..KEYSPACES_MAX - 2 {
        meta.apply(create(new(&format!("k{number}"), &[&[3, 1, 4]]))).unwrap();
    }
    assert!(meta.apply(create(new("more", &[&[3, 1, 4]]))).unwrap_err().contains("the most there may be"));
}

/// Fails if a move, a successor or a recovery puts a replica where the rule forbids it, or a keyspace's partition into another's group.
#[test]
fn nobody_places_a_replica_where_the_rule_forbids_it() {
    let mut meta = with_eu();
    let refusal = start(&mut meta, EU, 0, &[3, 1, 2]).unwrap_err();
    assert_eq!(refusal.kind, RefusalKind::Forbidden);
    assert!(refusal.message.contains("keyspace eu requires region=eu, and node 00000002"), "{refusal}");
    assert!(meta.state.moves.is_empty());
    start(&mut meta, DEFAULT_KEYSPACE, 0, &[2, 5, 8]).unwrap();
    // The default keyspace has a group of these nodes.
    start(&mut meta, EU, 0, &[1, 6, 3]).unwrap();
    start(&mut meta, DEFAULT_KEYSPACE, 2, &[1, 6, 3]).unwrap();
    let targets: Vec<_> = meta.state.moves.values().map(|record| (record.keyspace, record.target)).collect();
    assert_ne!(targets[1].1, targets[2].1);
    for (keyspace, target) in targets {
        assert_eq!(meta.state.groups[&target].keyspace, keyspace);
    }
    let decommission = MetaCommand::Decommission { node: NodeId(6), successor: Some(NodeId(8)) };
    assert_eq!(meta.answer(decommission).unwrap_err().kind, RefusalKind::Forbidden);
    let groups = vec![ContinuedGroup { group: GroupId(4), members: vec![NodeId(8)] }];
    let recover = MetaCommand::Recover { lost: [NodeId(6)].into(), groups };
    assert_eq!(meta.answer(recover).unwrap_err().kind, RefusalKind::Forbidden);
}

/// Fails if a node may go although the rule leaves nobody to take its place, or may not although it is not needed.
#[test]
fn a_rule_counts_when_a_node_leaves() {
    let mut meta = with_eu();
    for node in [3, 6, 9] {
        meta.apply(MetaCommand::Decommission { node: NodeId(node), successor: None }).unwrap();
    }
    let why = meta.apply(MetaCommand::Decommission { node: NodeId(1), successor: None }).unwrap_err();
    assert!(
        why.contains("2 active nodes with region=eu would remain, and each partition of keyspace eu has 3"),
        "{why}"
    );
    assert_eq!(meta.state.replicas_wanted(&meta.state.keyspaces[&EU]), 3);
    meta.apply(MetaCommand::Decommission { node: NodeId(8), successor: None }).unwrap();
}

/// Fails if a move goes on to where it must not any more, or one that is not concerned is cancelled, or if fewer replicas are wanted than
/// the nodes that are left allow.
#[test]
fn a_changed_rule_or_locality_cancels_what_it_forbids() {
    let mut meta = with_eu();
    start(&mut meta, EU, 0, &[9, 1, 4]).unwrap();
    start(&mut meta, EU, 1, &[3, 1, 4]).unwrap();
    start(&mut meta, DEFAULT_KEYSPACE, 0, &[9, 1, 4]).unwrap();
    let states =
        |meta: &Meta| meta.state.moves.values().map(|record| record.state == MoveState::Cancelling).collect::<Vec<_>>();
    join_at(&mut meta, 9, 1, "region=eu,zone=a").unwrap();
    assert_eq!(states(&meta), [false; 3]);
    join_at(&mut meta, 9, 2, "region=us").unwrap();
    assert_eq!(states(&meta), [true, false, false]);
    assert!(!meta.state.may_hold(EU, NodeId(9)) && meta.state.may_hold(DEFAULT_KEYSPACE, NodeId(9)));

    let require = |text: &str| KeyspaceChange { require: Some(text.parse().unwrap()), ..KeyspaceChange::default() };
    let why = set(&mut meta, "eu", require("region=eu,zone=a")).unwrap_err();
    assert!(
        why.message.contains("3 active nodes with region=eu,zone=a") && why.message.contains("there are 2"),
        "{why}"
    );
    set(&mut meta, "eu", require("region=eu,zone=b")).unwrap();
    assert_eq!(states(&meta), [true, true, false]);
    assert_eq!(meta.state.replicas_wanted(&meta.state.keyspaces[&EU]), 3);
    let replicas = |count| KeyspaceChange { replication: Some(count), ..KeyspaceChange::default() };
    assert!(set(&mut meta, "eu", replicas(4)).is_err());
    set(&mut meta, "eu", require("")).unwrap();
    set(&mut meta, "eu", replicas(9)).unwrap();
    set(&mut meta, "default", replicas(5)).unwrap();
    assert_eq!(set(&mut meta, "default", require("region=eu")).unwrap_err().kind, RefusalKind::Invalid);
    assert_eq!(set(&mut meta, "eu", replicas(10)).unwrap_err().kind, RefusalKind::Invalid);
    assert_eq!(set(&mut meta, "us", replicas(1)).unwrap_err().kind, RefusalKind::NotFound);
    assert!(MetaState::load(meta.rows.clone()).unwrap() == meta.state);
}

/// Fails if an app's package, its port or its data may be where the rule forbids them, if an app changes its keyspace, or if a keyspace
/// goes while somebody needs it.
#[test]
fn an_app_stays_in_its_keyspace_and_keeps_it() {
    let mut meta = with_eu();
    assert!(meta.apply(install_in("app", 1, "mars")).unwrap_err().contains("no keyspace named 'mars'"));
    let MetaCommand::Install { name, digest, size, manifest, settings, keyspace, .. } = install_in("app", 1, "eu")
    else {
        unreachable!()
    };
    // Uploaded to a node outside.
    meta.apply(MetaCommand::Install { name, digest, size, source: NodeId(2), manifest, settings, keyspace }).unwrap();
    let app = meta.state.apps["app"].clone();
    assert_eq!(app.keyspace, EU);
    assert_eq!(meta.answer(ready(&app, 5, None)).unwrap_err().kind, RefusalKind::Forbidden);
    assert!(meta.state.keeps_package(digest, NodeId(2)) && !meta.state.keeps_package(digest, NodeId(5)));
    meta.apply(ready(&app, 3, None)).unwrap();
    meta.apply(serve(&app)).unwrap();
    assert_eq!(meta.state.packages[&digest].source, NodeId(3), "the bytes are had from where they may be");
    assert!(!meta.state.keeps_package(digest, NodeId(2)) && meta.state.keeps_package(digest, NodeId(3)));

    // Nodes of other regions have their ports to themselves.
    let us = |name: &str| NewKeyspace { rules: rules("region=us"), ..new(name, &[&[2, 5, 8]]) };
    meta.apply(create(us("us"))).unwrap();
    meta.apply(install_in("other", 1, "us")).unwrap();
    assert!(meta.apply(install_in("third", 1, "eu")).unwrap_err().contains("port 1 is already used by the app app"));
    assert!(meta.apply(install_in("app", 1, "us")).unwrap_err().contains("are in keyspace eu"));
    meta.apply(install_in("app", 1, "eu")).unwrap();

    let delete = |name: &str| MetaCommand::DeleteKeyspace { name: name.into() };
    assert!(meta.apply(delete("eu")).unwrap_err().contains("used by the apps app"));
    meta.uninstall("app", true).unwrap();
    assert!(meta.apply(delete("eu")).unwrap_err().contains("kept of uninstalled apps (app)"));
    assert!(meta.apply(install_in("app", 1, "default")).unwrap_err().contains("are in keyspace eu"));
    let again = meta.install("app", "app", 1).unwrap();
    assert_eq!((again.id, again.keyspace), (app.id, EU), "where its data are");
    meta.uninstall("app", false).unwrap();
    start(&mut meta, EU, 0, &[9, 1, 4]).unwrap();
    meta.apply(delete("eu")).unwrap();
    assert!(meta.apply(delete("eu")).unwrap_err().contains("no keyspace named 'eu'"));
    assert!(meta.apply(delete("default")).unwrap_err().contains("cannot be deleted"));
    assert!(meta.state.moves.is_empty());
    let unused = meta.state.unused_groups();
    assert!([3, 4].iter().all(|group| unused.contains(&GroupId(*group))), "{unused:?}");
    meta.apply(create(us("us-too"))).unwrap();
    assert!(meta.state.keyspaces.contains_key(&KeyspaceId(4)), "an id is not given twice");
    assert!(MetaState::load(meta.rows.clone()).unwrap() == meta.state);
}

/// Fails if entries and rows of keyspaces would be read as something else, or not at all.
#[test]
fn entries_and_rows_of_keyspaces_are_read_as_they_were_written() {
    let change = KeyspaceChange { replication: Some(5), ..KeyspaceChange::default() };
    let none = KeyspaceChange { require: Some(Locality::default()), spread_by: Some("rack".into()), ..change.clone() };
    let commands = [
        create(new("eu", &[&[3, 1, 4], &[6, 1, 7]])),
        create(NewKeyspace { rules: Rules::default(), ..new("plain", &[&[3, 1, 4]]) }),
        MetaCommand::SetKeyspace { name: "eu".into(), change },
        MetaCommand::SetKeyspace { name: "plain".into(), change: none },
        install_in("app", 1, "eu"),
        MetaCommand::DeleteKeyspace { name: "plain".into() },
    ];
    let lines: Vec<String> = commands.iter().map(|command| formats::escape(&command.encode())).collect();
    let fixture = formats::fixture("entries_2.txt", &lines);
    assert_eq!(fixture, lines);
    let mut meta = raised();
    for (line, command) in fixture.iter().zip(commands) {
        let read = MetaCommand::decode(&formats::unescape(line)).unwrap();
        assert_eq!((format!("{read:?}"), read.level()), (format!("{command:?}"), KEYSPACES_LEVEL));
        meta.apply(read).unwrap();
    }
    let of_keyspaces = |key: &RowKey| match key {
        RowKey::Header => true,
        RowKey::Keyspace(id) | RowKey::Placement(id, _) => *id != DEFAULT_KEYSPACE,
        RowKey::Group(group) => group.0 > 2,
        RowKey::App(_) => true,
        _ => false,
    };
    let keys = meta.state.row_keys().into_iter().filter(of_keyspaces);
    let row = |key: RowKey| {
        let (key, value) = (formats::escape(&key.encode()), formats::escape(&meta.state.row(&key).unwrap()));
        format!("{key}\t{value}")
    };
    let lines: Vec<String> = keys.map(row).collect();
    let fixture = formats::fixture("rows_2.txt", &lines);
    assert_eq!(fixture, lines);
    let mut rows = meta.rows.clone();
    for line in fixture {
        let (key, value) = line.split_once('\t').unwrap();
        assert!(rows.insert(formats::unescape(key), formats::unescape(value)).is_some());
    }
    assert!(MetaState::load(rows).unwrap() == meta.state);
}

/// Fails if a placement in another keyspace's group is taken for a state.
#[test]
fn a_partition_in_a_group_of_another_keyspace_stops_the_node() {
    let meta = with_eu();
    let mut rows = meta.rows.clone();
    let stranger = rows[&RowKey::Placement(DEFAULT_KEYSPACE, PartitionId(0)).encode()].clone();
    rows.insert(RowKey::Placement(EU, PartitionId(0)).encode(), stranger);
    assert!(matches!(MetaState::load(rows), Err(MetaError::Missing { keyspace: EU, .. })));
}
