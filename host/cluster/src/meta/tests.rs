//! What the state answers, what it writes, and the bytes of both.

mod departures;
mod formats;
mod keyspaces;
mod moves;
mod size;
mod upkeep;

use std::collections::BTreeMap;

use bytes::Bytes;
use recoil_base::{AppId, Digest, GroupId, NodeId, PartitionId};
use recoil_package::{Manifest, SettingValue};

use super::*;

/// A state with the rows that its entries wrote.
pub(super) struct Meta {
    pub(super) state: MetaState,
    pub(super) rows: BTreeMap<Bytes, Bytes>,
    /// Bytes of keys and values that the last entry wrote.
    pub(super) written: usize,
}

impl Meta {
    pub(super) fn new() -> Self {
        let mut meta = Meta { state: MetaState::default(), rows: BTreeMap::new(), written: 0 };
        meta.apply(MetaCommand::Found { cluster: "c".into(), expect: 1, partitions: 4, replication: 1 }).unwrap();
        meta
    }

    /// With the members 1, 2 and 3.
    fn with_members() -> Self {
        let mut meta = Meta::new();
        (1..=3).for_each(|node| meta.apply(MetaCommand::Join(Box::new(join(node)))).unwrap());
        meta
    }

    /// Applies the command as an entry, and answers why it changed nothing.
    pub(super) fn apply(&mut self, command: MetaCommand) -> Result<(), String> {
        self.answer(command).map_err(|refusal| refusal.message)
    }

    fn answer(&mut self, command: MetaCommand) -> MetaReply {
        let index = self.state.header.index + 1;
        let Meta { state, rows, written } = self;
        *written = 0;
        let applied = state.apply_entry(index, &command.encode(), |key, value| {
            let key = key.encode();
            *written += key.len() + value.as_ref().map_or(0, Bytes::len);
            match value {
                Some(value) => drop(rows.insert(key, value)),
                None => assert!(rows.remove(&key).is_some(), "a row that was not there is removed"),
            }
        });
        applied.unwrap()
    }

    /// Routing index before and after a command.
    fn routing(&mut self, command: MetaCommand) -> bool {
        let before = self.state.header.routing_index;
        self.apply(command).unwrap();
        self.state.header.routing_index != before
    }

    /// A package of this name, installed as `app`.
    pub(super) fn install(&mut self, app: &str, package: &str, port: u16) -> Result<App, String> {
        self.apply(install(app, package, port))?;
        Ok(self.state.apps[app].clone())
    }

    fn uninstall(&mut self, app: &str, keep_data: bool) -> Result<(), String> {
        self.apply(MetaCommand::Uninstall { name: app.into(), keep_data })
    }

    fn join(&mut self, change: impl FnOnce(&mut Join)) -> Result<(), String> {
        let mut join = join(1);
        change(&mut join);
        self.apply(MetaCommand::Join(Box::new(join)))
    }
}

pub(super) fn install(app: &str, package: &str, port: u16) -> MetaCommand {
    let json = format!(
        r#"{{"name": "{package}", "version": "1.0.0", "listener": [{{"name": "a", "protocol": "tcp", "port": {port}}}],
            "setting": [{{"name": "word", "default": "hello"}}]}}"#
    );
    let manifest = Box::new(Manifest::from_json(json.as_bytes()).unwrap());
    let (name, digest, settings) = (app.into(), Digest::of(package.as_bytes()), BTreeMap::new());
    MetaCommand::Install { name, digest, size: 1000, source: NodeId(1), manifest, settings, keyspace: None }
}

pub(super) fn join(node: u32) -> Join {
    Join {
        node: NodeId(node),
        address: format!("10.0.{}.{}:7400", node / 256, node % 256).parse().unwrap(),
        incarnation: 1,
        start: 11,
        version: "0.1.0".into(),
        port_offset: 0,
        levels: LEVELS,
        locality: "region=eu,zone=a".parse().unwrap(),
        capacity: CAPACITY_DEFAULT,
        displaces: None,
    }
}

pub(super) fn ready(app: &App, node: u32, error: Option<&str>) -> MetaCommand {
    let error = error.map(str::to_owned);
    MetaCommand::Ready { app: app.id, install: app.install, node: NodeId(node), error }
}

fn serve(app: &App) -> MetaCommand {
    MetaCommand::Serve { app: app.id, install: app.install }
}

/// Fails if kept data goes, another package gets it, or an earlier installation's nodes speak for a later one.
#[test]
fn kept_data_is_there_for_the_next_installation_of_the_same_package() {
    let mut meta = Meta::with_members();
    let first = meta.install("app", "one", 1).unwrap();
    let word = BTreeMap::from([("word".to_owned(), SettingValue::Text("hi".into()))]);
    meta.apply(MetaCommand::Set { name: "app".into(), settings: word.clone() }).unwrap();
    meta.uninstall("app", true).unwrap();
    meta.uninstall("app", true).unwrap();
    assert!(meta.state.removed_apps.is_empty() && meta.state.apps.is_empty() && meta.state.packages.is_empty());
    assert!(meta.install("app", "two", 1).unwrap_err().contains("another package (one)"));

    let second = meta.install("app", "one", 2).unwrap();
    assert_eq!((second.id, &second.settings), (first.id, &word));
    assert_eq!(second.keyspace, DEFAULT_KEYSPACE);
    assert!(meta.state.kept.is_empty());
    assert!(meta.apply(ready(&first, 1, None)).is_err(), "that installation is over");
    assert!(meta.state.readiness.is_empty());
    assert!(meta.apply(serve(&first)).is_err());
    meta.apply(ready(&second, 1, None)).unwrap();

    meta.uninstall("app", false).unwrap();
    assert!(meta.state.removed_apps.keys().eq([&first.id]));
    assert!(meta.uninstall("app", false).unwrap_err().contains("no app named app"));
    let third = meta.install("app", "one", 1).unwrap();
    assert_ne!(third.id, first.id, "what is being removed is given to nobody");
}

/// Fails if the data of an installed app, or of one that was installed again since the operator looked, can be deleted, or
/// uninstalling twice deletes what was kept.
#[test]
fn kept_data_can_be_deleted_later() {
    let mut meta = Meta::new();
    let app = meta.install("app", "one", 1).unwrap();
    let delete = |id| MetaCommand::DeleteData { name: "app".into(), app: id };
    assert!(meta.apply(delete(app.id)).unwrap_err().contains("is installed"));
    meta.uninstall("app", true).unwrap();
    meta.uninstall("app", true).unwrap();
    assert!(meta.uninstall("app", false).unwrap_err().contains("recoilctl data delete app"));
    assert!(meta.apply(delete(AppId(app.id.0 + 1))).unwrap_err().contains("no data kept"));
    assert!(meta.state.removed_apps.is_empty());
    meta.apply(delete(app.id)).unwrap();
    assert!(meta.state.removed_apps.keys().eq([&app.id]));
    assert!(meta.state.kept.is_empty());
}

/// Fails if nodes that were ready before have nothing new to say, so that nobody switches the app on.
#[test]
fn a_failed_installation_is_made_anew() {
    let mut meta = Meta::with_members();
    let first = meta.install("app", "one", 1).unwrap();
    meta.apply(ready(&first, 2, None)).unwrap();
    meta.apply(ready(&first, 3, Some("no port"))).unwrap();
    assert_eq!(meta.state.apps["app"].state, AppState::Failed);
    let second = meta.install("app", "one", 1).unwrap();
    assert_eq!((second.id, second.state), (first.id, AppState::Installing));
    assert_ne!(second.install, first.install);
    assert_eq!(meta.state.readiness_of(&second).count(), 0);
    assert_eq!(meta.state.readiness_on(&second, NodeId(2)), None);
    // The bytes are there all the same, and on the node that the operator asked this time.
    assert!(meta.state.holders(second.digest).into_iter().eq([NodeId(1), NodeId(2)]));
    let MetaCommand::Install { name, digest, size, manifest, settings, .. } = install("app", "one", 1) else {
        unreachable!()
    };
    let (source, keyspace) = (NodeId(9), None);
    meta.apply(MetaCommand::Install { name, digest, size, source, manifest, settings, keyspace }).unwrap();
    assert!(meta.state.holders(digest).into_iter().eq([NodeId(2), NodeId(9)]));
}

#[test]
fn ports_that_are_one_address_are_refused() {
    let mut meta = Meta::new();
    let on_one_machine = |meta: &mut Meta, node: u32, offset: u16| {
        meta.join(|join| {
            let address = format!("127.0.0.1:{}", 7400 + offset).parse().unwrap();
            (join.node, join.address, join.port_offset) = (NodeId(node), address, offset);
        })
    };
    on_one_machine(&mut meta, 1, 0).unwrap();
    on_one_machine(&mut meta, 2, 1).unwrap();
    meta.install("first", "one", 100).unwrap();
    assert!(meta.install("second", "two", 100).unwrap_err().contains("used by the app first"));
    let why = meta.install("second", "two", 101).unwrap_err();
    assert!(why.contains("port 101 of second and port 100 of first are both 127.0.0.1:101"), "{why}");
    assert!(meta.install("second", "two", 99).unwrap_err().contains("both 127.0.0.1:100"));
    meta.install("second", "two", 102).unwrap();
    on_one_machine(&mut meta, 3, 2).unwrap();
    meta.install("third", "three", 200).unwrap();
}

/// Fails if a dead member keeps its address for ever, or if one that has started again since is displaced.
#[test]
fn the_start_of_a_dead_member_that_the_proposer_names_gives_up_its_address() {
    let mut meta = Meta::new();
    meta.join(|_| {}).unwrap();
    let address = meta.state.members[&NodeId(1)].address;
    let newcomer = |join: &mut Join, displaces: Option<(u64, u64)>| {
        let displaced = |(incarnation, start)| Displaced { node: NodeId(1), incarnation, start };
        (join.node, join.address, join.displaces) = (NodeId(2), address, displaces.map(displaced));
    };
    assert!(meta.join(|join| newcomer(join, None)).unwrap_err().contains("already listens on"));
    // It has started again since the proposer looked.
    meta.join(|join| (join.incarnation, join.start) = (2, 22)).unwrap();
    assert!(meta.join(|join| newcomer(join, Some((1, 11)))).is_err());
    assert!(meta.join(|join| newcomer(join, Some((2, 11)))).is_err());
    assert_eq!(meta.state.members[&NodeId(1)].state, MemberState::Active);

    meta.join(|join| newcomer(join, Some((2, 22)))).unwrap();
    assert_eq!(meta.state.members[&NodeId(1)].state, MemberState::Displaced);
    assert_eq!(meta.state.members[&NodeId(2)].state, MemberState::Active);
    assert!(meta.state.active_members().map(|(node, _)| *node).eq([NodeId(2)]));
    // It comes back: not where the other one is, but elsewhere.
    let back = |join: &mut Join| (join.incarnation, join.start) = (3, 33);
    assert!(meta.join(back).unwrap_err().contains("node 00000002"));
    meta.join(|join| {
        back(join);
        join.address = "10.0.0.9:7400".parse().unwrap();
    })
    .unwrap();
    let member = &meta.state.members[&NodeId(1)];
    assert_eq!((member.state, member.number), (MemberState::Active, 1));
}

/// Fails if an old copy of a folder, or a start that was removed, is taken in.
#[test]
fn a_start_before_the_newest_or_of_a_removed_node_is_refused() {
    let mut meta = Meta::new();
    meta.join(|join| join.incarnation = 5).unwrap();
    assert!(meta.join(|join| join.incarnation = 4).unwrap_err().contains("copy of a data folder"));
    assert!(meta.join(|join| (join.incarnation, join.start) = (5, 12)).is_err());
    meta.state.tombstones.insert_mut((NodeId(7), 3), ());
    for incarnation in [1, 3, 4] {
        let removed = meta.join(|join| (join.node, join.incarnation) = (NodeId(7), incarnation));
        assert!(removed.unwrap_err().contains("removed from the cluster"));
    }
}

/// Fails if the level is raised before every member understands it, or if a member that does not is taken in afterwards.
#[test]
fn the_feature_level_is_raised_once_every_member_understands_the_next() {
    let mut meta = Meta::new();
    let (now, next) = (LEVELS.max, LEVELS.max + 1);
    meta.state.header.level = now;
    let levels = |max: u32| move |join: &mut Join| join.levels = Levels { min: 1, max };
    let other = |max: u32| {
        move |join: &mut Join| {
            *join = self::join(2);
            levels(max)(join);
        }
    };
    meta.join(levels(next)).unwrap();
    meta.join(other(now)).unwrap();
    let why = meta.apply(MetaCommand::RaiseLevel { level: next }).unwrap_err();
    assert!(why.contains("node 00000002") && why.contains(&format!("levels 1 to {now}")), "{why}");
    let further = meta.apply(MetaCommand::RaiseLevel { level: next + 1 }).unwrap_err();
    assert!(further.contains(&format!("raised to {next} only")), "{further}");
    meta.apply(MetaCommand::RaiseLevel { level: now }).unwrap();
    meta.join(other(next)).unwrap();
    // This version does not understand the next level: it must not go on beyond, and must not have written anything.
    let (before, raise) = (meta.state.clone(), MetaCommand::RaiseLevel { level: next }.encode());
    let stopped = meta.state.apply_entry(99, &raise, |key, _| panic!("{key:?} is written"));
    assert_eq!(stopped, Err(MetaError::Level { level: next }));
    assert!(meta.state == before);
    // What a version that does understand it then does.
    meta.state.header.level = next;
    assert!(meta.join(levels(now)).unwrap_err().contains(&format!("understands feature levels 1 to {now}")));
}

/// Fails if a command of a higher level, or one that cannot be read, gets into the log: it would end the nodes that do not know it.
#[test]
fn what_some_member_cannot_read_is_not_proposed() {
    let state = Meta::new().state;
    let good = MetaCommand::Serve { app: AppId(1), install: 1 }.encode();
    check_proposal(&good, &state).unwrap();
    // Whatever the members are said to understand: an entry of this kind would end every node that reads it.
    let raise = MetaCommand::RaiseLevel { level: LEVELS.max + 1 }.encode();
    assert!(check_proposal(&raise, &state).unwrap_err().contains("upgrade all nodes first"));
    assert!(command::check_level(2, 1).unwrap_err().contains("needs feature level 2"));
    let unknown = Bytes::from_static(b"\x02{\"command\":\"later\"}");
    let further = Bytes::from_static(b"\x02{\"command\":\"serve\",\"app\":1,\"install\":1,\"more\":1}");
    for wrong in [unknown, further, Bytes::from_static(b"\x03{}"), Bytes::new(), vec![1; ENTRY_BYTES_MAX + 1].into()] {
        assert!(check_proposal(&wrong, &state).is_err());
    }
}

/// Fails if calls wait for entries that do not change where they go, or do not wait for those that do.
#[test]
fn only_routing_changes_raise_the_routing_index() {
    let mut meta = Meta::new();
    assert!(!meta.routing(MetaCommand::Join(Box::new(join(1)))));
    assert!(meta.routing(MetaCommand::MakeMap { sets: vec![vec![NodeId(1)]], partitions: vec![0; 4] }));
    let map = meta.state.header.routing_index;
    assert_eq!(map, meta.state.header.index);
    assert!(!meta.routing(MetaCommand::Initialised { group: GroupId(1) }));
    assert!(!meta.routing(install("app", "one", 1)));
    let app = meta.state.apps["app"].clone();
    assert!(!meta.routing(ready(&app, 1, None)));
    assert!(meta.routing(serve(&app)));
    assert!(!meta.routing(serve(&app)), "it serves already");
    let settings = BTreeMap::from([("word".to_owned(), SettingValue::Text("hi".into()))]);
    assert!(!meta.routing(MetaCommand::Set { name: "app".into(), settings }));
    assert!(!meta.routing(MetaCommand::Join(Box::new(Join { incarnation: 2, ..join(1) }))));
    assert!(meta.routing(MetaCommand::Uninstall { name: "app".into(), keep_data: true }));
    assert!(!meta.routing(MetaCommand::DeleteData { name: "app".into(), app: app.id }));
}

/// Fails if the index of partitions by group is not the map's, or is not there after a load.
#[test]
fn a_group_knows_its_partitions_without_a_look_at_all() {
    let mut meta = Meta::new();
    (1..=2).for_each(|node| meta.apply(MetaCommand::Join(Box::new(join(node)))).unwrap());
    let sets = vec![vec![NodeId(1)], vec![NodeId(2)]];
    meta.apply(MetaCommand::MakeMap { sets, partitions: vec![0, 1, 1, 0] }).unwrap();
    let loaded = MetaState::load(meta.rows.clone()).unwrap();
    assert!(loaded == meta.state);
    for state in [&meta.state, &loaded] {
        let of = |group: u32| state.partitions_of(GroupId(group)).into_iter().map(|(_, p, epoch)| (p.0, epoch));
        assert!(of(1).eq([(0, 1), (3, 1)]) && of(2).eq([(1, 1), (2, 1)]) && of(3).eq([]));
        assert_eq!(state.partition_count(GroupId(2)), 2);
        assert_eq!(state.default_keyspace().unwrap().1.partitions.get(PartitionId(2)).unwrap().group, GroupId(2));
    }
}

/// Fails if a package's size can change, or a reason is kept at any length.
#[test]
fn sizes_and_reasons_are_bounded() {
    let mut meta = Meta::with_members();
    let app = meta.install("app", "one", 1).unwrap();
    let sized = |size: u64| {
        let MetaCommand::Install { digest, source, manifest, settings, .. } = install("app", "one", 1) else {
            unreachable!()
        };
        MetaCommand::Install { name: "other".into(), digest, size, source, manifest, settings, keyspace: None }
    };
    assert!(meta.apply(sized(999)).unwrap_err().contains("is said to have 999 bytes"));
    assert!(meta.apply(sized(PACKAGE_BYTES_MAX + 1)).is_err());
    assert!(meta.apply(ready(&app, 4, None)).unwrap_err().contains("not a member"), "ids without end");
    meta.apply(ready(&app, 1, Some(&"é".repeat(10_000)))).unwrap();
    let stored = meta.state.readiness_on(&app, NodeId(1)).unwrap().error.clone().unwrap();
    assert!(stored.len() == 1024 && stored.chars().all(|c| c == 'é'));
    let long = "x".repeat(APP_NAME_BYTES_MAX + 1);
    assert!(meta.apply(install(&long, "two", 2)).is_err());
}

/// Fails if what is not there, what does not fit the state and what fits none are told apart by their words only.
#[test]
fn refusals_say_what_kind_of_reason_they_have() {
    let mut meta = Meta::new();
    meta.join(|_| {}).unwrap();
    let mut kind = |command| meta.answer(command).unwrap_err().kind;
    let uninstall = MetaCommand::Uninstall { name: "absent".into(), keep_data: false };
    assert_eq!(kind(uninstall), RefusalKind::NotFound);
    assert_eq!(kind(MetaCommand::Undrain { node: NodeId(9) }), RefusalKind::NotFound);
    assert_eq!(kind(MetaCommand::Drain { node: NodeId(1) }), RefusalKind::Conflict);
    let change = ClusterChange { repair_after_s: Some(0), ..ClusterChange::default() };
    assert_eq!(kind(MetaCommand::SetCluster(change)), RefusalKind::Invalid);
}
