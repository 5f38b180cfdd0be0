//! The bytes of entries and rows, as they are in users' logs and data: `fixtures/entries.txt` and `fixtures/rows.txt`, a line each,
//! bytes that are not printable ASCII, and backslashes, as `\xNN`.
//!
//! A fixture is never changed to make a test pass: a format that changes gets another number, and a fixture beside the old one. They
//! were written by this test with `RECOIL_WRITE_FIXTURES=1`.

use super::rows::ROW_FORMAT;
use super::*;

fn path(name: &str) -> std::path::PathBuf {
    std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src/meta/fixtures").join(name)
}

pub(super) fn escape(bytes: &[u8]) -> String {
    let shown = |byte: &u8| match byte {
        b' '..=b'~' if *byte != b'\\' => char::from(*byte).to_string(),
        _ => format!("\\x{byte:02x}"),
    };
    bytes.iter().map(shown).collect()
}

pub(super) fn unescape(text: &str) -> Bytes {
    let mut bytes = Vec::new();
    let mut rest = text;
    while let Some((plain, escaped)) = rest.split_once("\\x") {
        bytes.extend_from_slice(plain.as_bytes());
        bytes.push(u8::from_str_radix(&escaped[..2], 16).unwrap());
        rest = &escaped[2..];
    }
    bytes.extend_from_slice(rest.as_bytes());
    bytes.into()
}

/// The lines of a fixture, which is `lines` if it is to be written.
pub(super) fn fixture(name: &str, lines: &[String]) -> Vec<String> {
    if std::env::var_os("RECOIL_WRITE_FIXTURES").is_some() {
        std::fs::write(path(name), lines.join("\n") + "\n").unwrap();
    }
    std::fs::read_to_string(path(name)).unwrap().lines().map(str::to_owned).collect()
}

/// As nodes of the first feature level write it.
fn join(node: u32) -> Join {
    Join { levels: Levels { min: 1, max: 1 }, ..super::join(node) }
}

/// One of each command of the first feature level.
fn commands() -> Vec<MetaCommand> {
    let mut taking = join(2);
    taking.displaces = Some(Displaced { node: NodeId(1), incarnation: 3, start: 7 });
    let found = MetaCommand::Found { cluster: "0123".into(), expect: 3, partitions: 2, replication: 3 };
    let settings = BTreeMap::from([
        ("count".to_owned(), SettingValue::Integer(-5)),
        ("word".to_owned(), SettingValue::Text("hi".into())),
    ]);
    let (app, install) = (AppId(1), 1);
    vec![
        found,
        MetaCommand::Join(Box::new(join(1))),
        MetaCommand::Join(Box::new(taking)),
        MetaCommand::MakeMap { sets: vec![vec![NodeId(1), NodeId(2)], vec![NodeId(2)]], partitions: vec![1, 0] },
        MetaCommand::Initialised { group: GroupId(1) },
        super::install("app", "one", 1),
        MetaCommand::Set { name: "app".into(), settings },
        MetaCommand::Ready { app, install, node: NodeId(1), error: None },
        MetaCommand::Ready { app, install, node: NodeId(2), error: Some("no port".into()) },
        MetaCommand::Serve { app, install },
        MetaCommand::Uninstall { name: "app".into(), keep_data: true },
        MetaCommand::DeleteData { name: "app".into(), app },
        MetaCommand::RaiseLevel { level: 2 },
        MetaCommand::Move {
            keyspace: DEFAULT_KEYSPACE,
            partitions: vec![PartitionId(0), PartitionId(1)],
            to: vec![NodeId(2), NodeId(1)],
        },
        MetaCommand::CancelMove { id: 17_000 },
        MetaCommand::Flip { moves: vec![17_000, 17_001] },
        MetaCommand::EndMoves { moves: vec![17_000] },
        MetaCommand::RemoveGroups { groups: vec![GroupId(2), GroupId(5)] },
        MetaCommand::MarkLost { node: NodeId(1), incarnation: 3, start: 7 },
        MetaCommand::MarkReturned { node: NodeId(1) },
        MetaCommand::SetCluster(ClusterChange {
            repair_after_s: Some(60),
            move_rate_bytes: Some(1 << 20),
            balances: Some(false),
            is_paused: Some(true),
        }),
        MetaCommand::SetCluster(ClusterChange { is_paused: Some(false), ..ClusterChange::default() }),
        MetaCommand::Drain { node: NodeId(1) },
        MetaCommand::Undrain { node: NodeId(1) },
        MetaCommand::Decommission { node: NodeId(1), successor: None },
        MetaCommand::Decommission { node: NodeId(1), successor: Some(NodeId(2)) },
        MetaCommand::RemoveMember { node: NodeId(1) },
        MetaCommand::Recover {
            lost: [NodeId(1)].into(),
            groups: vec![ContinuedGroup { group: GroupId(1), members: vec![NodeId(2)] }],
        },
    ]
}

/// Fails if an entry of this version's logs would be read as another command, or not at all.
#[test]
fn entries_are_read_as_they_were_written() {
    let commands = commands();
    let lines: Vec<String> = commands.iter().map(|command| escape(&command.encode())).collect();
    let fixture = fixture("entries.txt", &lines);
    assert_eq!(fixture, lines);
    for (line, command) in fixture.iter().zip(&commands) {
        let read = MetaCommand::decode(&unescape(line)).unwrap();
        assert_eq!(format!("{read:?}"), format!("{command:?}"));
    }
}

/// A state with a row of every kind.
fn full() -> MetaState {
    let mut meta = Meta { state: MetaState::default(), rows: BTreeMap::new(), written: 0 };
    for command in &commands()[..5] {
        let command = match command {
            MetaCommand::Join(join) if join.node == NodeId(2) => {
                MetaCommand::Join(Box::new(Join { displaces: None, ..(**join).clone() }))
            }
            other => other.clone(),
        };
        meta.apply(command).unwrap();
    }
    for (name, package, port) in [("app", "one", 1), ("gone", "two", 2), ("kept", "three", 3)] {
        meta.install(name, package, port).unwrap();
    }
    meta.uninstall("gone", false).unwrap();
    meta.uninstall("kept", true).unwrap();
    let app = meta.state.apps["app"].clone();
    meta.apply(ready(&app, 1, None)).unwrap();
    meta.apply(serve(&app)).unwrap();
    meta.apply(ready(&app, 2, Some("no port"))).unwrap();
    meta.join(|join| {
        *join = self::join(3);
        join.address = "10.0.0.2:7400".parse().unwrap();
        join.displaces = Some(Displaced { node: NodeId(2), incarnation: 1, start: 11 });
    })
    .unwrap();
    let elsewhere = |node: u32| MetaCommand::Join(Box::new(join(node)));
    [4, 5, 9].into_iter().for_each(|node| meta.apply(elsewhere(node)).unwrap());
    let (partitions, to) = (vec![PartitionId(0)], [3, 1, 4].map(NodeId).to_vec());
    meta.apply(MetaCommand::Move { keyspace: DEFAULT_KEYSPACE, partitions, to }).unwrap();
    let change = ClusterChange { repair_after_s: Some(60), ..ClusterChange::default() };
    meta.apply(MetaCommand::SetCluster(change)).unwrap();
    meta.apply(MetaCommand::MarkLost { node: NodeId(2), incarnation: 1, start: 11 }).unwrap();
    meta.state.tombstones.insert_mut((NodeId(9), 4), ());
    meta.apply(MetaCommand::Drain { node: NodeId(4) }).unwrap();
    for (node, successor) in [(3, Some(NodeId(5))), (9, None)] {
        meta.apply(MetaCommand::Decommission { node: NodeId(node), successor }).unwrap();
    }
    meta.apply(MetaCommand::RemoveMember { node: NodeId(9) }).unwrap();
    meta.state
}

fn rows(state: &MetaState) -> Vec<(Bytes, Bytes)> {
    state.row_keys().iter().map(|key| (key.encode(), state.row(key).unwrap())).collect()
}

/// Fails if rows of this version's data would be read as another state, or not at all.
#[test]
fn rows_are_read_as_they_were_written() {
    let state = full();
    let lines: Vec<String> =
        rows(&state).iter().map(|(key, value)| format!("{}\t{}", escape(key), escape(value))).collect();
    let kinds: std::collections::BTreeSet<u8> = rows(&state).iter().map(|(key, _)| key[0]).collect();
    assert!(kinds.into_iter().eq(1..=14), "a kind of row is missing");
    let fixture = fixture("rows.txt", &lines);
    assert_eq!(fixture, lines);
    let stored = fixture.iter().map(|line| {
        let (key, value) = line.split_once('\t').unwrap();
        (unescape(key), unescape(value))
    });
    assert!(MetaState::load(stored).unwrap() == state);
}

/// Fails if the node goes on with another state than its rows hold: each of these was the default state once, or would be a state that lacks
/// something.
#[test]
fn rows_that_make_no_state_stop_the_node() {
    let state = full();
    assert_eq!(MetaState::load([]).unwrap(), MetaState::default());
    type Rows = Vec<(Bytes, Bytes)>;
    let load = |change: &dyn Fn(&mut Rows)| {
        let mut rows = rows(&state);
        change(&mut rows);
        MetaState::load(rows)
    };
    load(&|_| {}).unwrap();
    let without = |key: RowKey| {
        move |rows: &mut Vec<(Bytes, Bytes)>| {
            let before = rows.len();
            rows.retain(|(other, _)| *other != key.encode());
            assert_eq!(rows.len(), before - 1);
        }
    };
    assert!(
        matches!(load(&without(RowKey::Header)), Err(MetaError::NoHeader { rows }) if rows == self::rows(&state).len() - 1)
    );
    for lost in [
        RowKey::Placement(DEFAULT_KEYSPACE, PartitionId(0)),
        RowKey::Placement(DEFAULT_KEYSPACE, PartitionId(1)),
        RowKey::Group(GroupId(1)),
        RowKey::Keyspace(DEFAULT_KEYSPACE),
    ] {
        assert!(matches!(load(&without(lost)), Err(MetaError::Missing { .. })));
    }
    // Every row, damaged, of a later format, or with a field more.
    for (key, value) in rows(&state) {
        let with = |value: Vec<u8>| {
            let key = key.clone();
            load(&move |rows| {
                let row = rows.iter_mut().find(|(other, _)| *other == key).unwrap();
                row.1 = value.clone().into();
            })
        };
        let mut later = value.to_vec();
        later[0] = ROW_FORMAT + 1;
        let mut further = value.to_vec();
        further.truncate(further.len().saturating_sub(1).max(1));
        further.extend_from_slice(br#","more":1}"#);
        for wrong in [vec![], later, further] {
            let error = with(wrong).unwrap_err();
            assert!(matches!(error, MetaError::Row { .. }), "{key:?}: {error}");
            assert!(error.to_string().contains("Start this node with the version that wrote it"), "{error}");
        }
    }
    let unknown = load(&|rows| rows.push((Bytes::from_static(&[15, 1]), Bytes::from_static(&[ROW_FORMAT]))));
    assert_eq!(unknown, Err(MetaError::UnknownRow { kind: 15 }));
    let mut later = state.clone();
    later.header.level = LEVELS.max + 1;
    // Said although there is also a row that this version does not know.
    let later: Vec<_> = rows(&later).into_iter().chain([(Bytes::from_static(&[15]), Bytes::new())]).collect();
    assert_eq!(MetaState::load(later), Err(MetaError::Level { level: LEVELS.max + 1 }));
}

/// Fails if an entry that cannot be read is taken for one that changes nothing.
#[test]
fn an_entry_that_cannot_be_read_stops_the_node_and_changes_nothing() {
    let mut state = full();
    let before = state.clone();
    for entry in [&b"\x02{\"command\":\"later\"}"[..], b"\x03{}", b"", b"\x02{\"command\":\"serve\",\"app\":1"] {
        let error = state.apply_entry(57, entry, |key, _| panic!("{key:?} is written")).unwrap_err();
        let shown = error.to_string();
        assert!(shown.contains("entry 57") && shown.contains("replace it"), "{shown}");
        assert!(state == before);
    }
}
