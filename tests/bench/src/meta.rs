//! What an entry of the meta group costs in a large cluster: the bytes of the rows that it writes, and the time from the entry's bytes to
//! the published state, which every node spends on every entry; then what a node does with a state in which nothing but that changed.
//!
//! Deliberately absent: the log and the data, which see a few hundred bytes an entry, and the network.

use std::sync::Arc;
use std::time::Instant;

use anyhow::{anyhow, ensure};
use recoil_base::{GroupId, NodeId};
use recoil_cluster::meta::{Join, LEVELS, Locality};
use recoil_cluster::{MetaCommand, MetaState, RoutingTable};

use crate::figures::{Table, percentile};

const NODES: u32 = 1000;
const PARTITIONS: u32 = 100_000;
/// With three replicas 15 on a node.
const GROUPS: u32 = 5000;
/// Entries of each kind.
const ENTRIES: u32 = 1000;

/// Makes the n-th entry of a kind.
type MakeCommand = fn(u32) -> MetaCommand;

/// What must hold.
const BYTES_MAX: usize = 8 << 10;

pub(crate) fn run() -> anyhow::Result<()> {
    let mut cluster = Cluster { state: MetaState::default(), published: Arc::default() };
    let made = cluster.grow()?;
    println!(
        "{NODES} nodes, {PARTITIONS} partitions in {GROUPS} groups; making the map took {:.1} ms.\n",
        made.0 * 1e3
    );
    let mut table = Table::new(&["entry", "bytes written, most", "µs, median", "µs, 99 %", "µs, most"]);
    let kinds: [(&str, MakeCommand); 3] = [
        ("a node starts again", |n| join(n % NODES + 1, 2 + u64::from(n / NODES))),
        ("a group has a leader", |n| MetaCommand::Initialised { group: GroupId(n % GROUPS + 1) }),
        ("nothing changes", |_| MetaCommand::Serve { app: recoil_base::AppId(0), install: 0 }),
    ];
    for (name, command) in kinds {
        let mut nanoseconds = Vec::new();
        let mut bytes_most = 0;
        for n in 0..ENTRIES {
            let (seconds, bytes) = cluster.apply(&command(n));
            nanoseconds.push((seconds * 1e9) as u64);
            bytes_most = bytes_most.max(bytes);
        }
        ensure!(bytes_most <= BYTES_MAX, "{name}: an entry wrote {bytes_most} bytes; at most {BYTES_MAX} are due");
        let mut at = |percent| format!("{:.1}", percentile(&mut nanoseconds, percent) as f64 / 1e3);
        table.row([name.to_owned(), bytes_most.to_string(), at(50), at(99), at(100)]);
    }
    println!("{table}");
    let began = Instant::now();
    let routing = RoutingTable::of(&cluster.published).ok_or_else(|| anyhow!("there is no map"))?;
    let took = micros(began);
    let partitions: u32 = routing.keyspaces.values().map(|keyspace| keyspace.count()).sum();
    println!("A routing table of {partitions} partitions, made when routing changes: {took:.0} µs.");
    let rows: Vec<_> = cluster.state.row_keys();
    let rows: Vec<_> = rows.iter().filter_map(|key| Some((key.encode(), cluster.state.row(key)?))).collect();
    let (count, began) = (rows.len(), Instant::now());
    let loaded = MetaState::load(rows)?;
    println!("Loading the state from its {count} rows, when a node starts: {:.0} ms.", micros(began) / 1e3);
    ensure!(loaded == cluster.state, "the state differs from its rows");
    Ok(())
}

fn micros(since: Instant) -> f64 {
    since.elapsed().as_secs_f64() * 1e6
}

struct Cluster {
    state: MetaState,
    published: Arc<MetaState>,
}

impl Cluster {
    /// Seconds and bytes of one entry, published.
    fn apply(&mut self, command: &MetaCommand) -> (f64, usize) {
        let entry = command.encode();
        let mut bytes = 0;
        let began = Instant::now();
        let applied = self.state.apply_entry(self.state.header.index + 1, &entry, |key, value| {
            bytes += key.encode().len() + value.map_or(0, |value| value.len());
        });
        self.published = Arc::new(self.state.clone());
        assert!(applied.is_ok(), "{applied:?}");
        (began.elapsed().as_secs_f64(), bytes)
    }

    /// Answers what making the map took.
    fn grow(&mut self) -> anyhow::Result<(f64, usize)> {
        let found =
            MetaCommand::Found { cluster: "0".repeat(32), expect: NODES, partitions: PARTITIONS, replication: 3 };
        self.apply(&found);
        for node in 1..=NODES {
            self.apply(&join(node, 1));
        }
        let set = |first: u32| (0..3).map(|next| NodeId((first + next * 7) % NODES + 1)).collect();
        let sets: Vec<Vec<NodeId>> = (0..GROUPS).map(set).collect();
        let partitions = (0..PARTITIONS).map(|partition| partition % GROUPS).collect();
        let made = self.apply(&MetaCommand::MakeMap { sets, partitions });
        ensure!(self.state.default_keyspace().is_some(), "the map was not made");
        Ok(made)
    }
}

fn join(node: u32, incarnation: u64) -> MetaCommand {
    MetaCommand::Join(Box::new(Join {
        node: NodeId(node),
        address: ([10, 0, (node / 256) as u8, (node % 256) as u8], 7400).into(),
        incarnation,
        start: incarnation,
        version: "0.1.0".into(),
        port_offset: 0,
        levels: LEVELS,
        locality: "region=eu,zone=a".parse::<Locality>().unwrap_or_default(),
        capacity: 100,
        displaces: None,
    }))
}
