//! What an entry writes when the state is large.

use super::*;

const NODES: u32 = 1000;
const PARTITIONS: u32 = 100_000;
/// Bytes of rows that an entry may write.
const ENTRY_WRITES_MAX: usize = 8 << 10;

/// 1,000 nodes, 100,000 partitions in 5,000 groups, and an app that every node has ready.
fn large() -> Meta {
    let mut meta = Meta { state: MetaState::default(), rows: BTreeMap::new(), written: 0 };
    let found = MetaCommand::Found { cluster: "c".into(), expect: NODES, partitions: PARTITIONS, replication: 3 };
    meta.apply(found).unwrap();
    (1..=NODES).for_each(|node| meta.apply(MetaCommand::Join(Box::new(join(node)))).unwrap());
    let set = |first: u32| (0..3).map(|next| NodeId((first + next * 7) % NODES + 1)).collect();
    let sets: Vec<Vec<NodeId>> = (0..5 * NODES).map(set).collect();
    let partitions = (0..PARTITIONS).map(|partition| partition % (5 * NODES)).collect();
    meta.apply(MetaCommand::MakeMap { sets, partitions }).unwrap();
    let app = meta.install("app", "one", 1).unwrap();
    (1..=NODES).for_each(|node| meta.apply(ready(&app, node, None)).unwrap());
    meta
}

/// Fails if an entry writes more than it changes: every entry of a running cluster, with 1,000 nodes and 100,000 partitions in the state.
/// (The map is written when it is made, and uninstalling removes a row for each node; neither is among them.)
#[test]
fn an_entry_writes_what_it_changes_however_large_the_state_is() {
    let mut meta = large();
    let app = meta.state.apps["app"].clone();
    let settings = BTreeMap::from([("word".to_owned(), SettingValue::Text("hi".into()))]);
    let commands = [
        MetaCommand::Join(Box::new(Join { incarnation: 2, start: 22, ..join(500) })),
        MetaCommand::Join(Box::new(join(NODES + 1))),
        MetaCommand::Initialised { group: GroupId(4000) },
        ready(&app, 500, Some("no port")),
        install("app", "one", 1),
        install("other", "two", 2),
        MetaCommand::Set { name: "other".into(), settings },
    ];
    let mut before = meta.state.clone();
    for command in commands {
        let shown = format!("{command:?}");
        meta.apply(command).unwrap();
        assert!(meta.state != before, "{shown} changes nothing");
        assert!((1..=ENTRY_WRITES_MAX).contains(&meta.written), "{shown} writes {} bytes", meta.written);
        before = meta.state.clone();
    }
    let app = meta.state.apps["app"].clone();
    meta.apply(ready(&app, 500, None)).unwrap();
    meta.apply(serve(&app)).unwrap();
    assert!((1..=ENTRY_WRITES_MAX).contains(&meta.written));
    assert!(MetaState::load(meta.rows.clone()).unwrap() == meta.state);
}

/// Fails if a state shares nothing with the one before it, so that publishing each state would copy all of it.
#[test]
fn what_an_entry_does_not_change_is_shared_with_the_state_before() {
    let mut meta = large();
    let before = meta.state.clone();
    meta.apply(MetaCommand::Initialised { group: GroupId(4000) }).unwrap();
    let after = &meta.state;
    assert!(!after.groups.ptr_eq(&before.groups));
    assert!(after.members.ptr_eq(&before.members) && after.keyspaces.ptr_eq(&before.keyspaces));
    assert!(after.apps.ptr_eq(&before.apps) && after.readiness.ptr_eq(&before.readiness));
}
