//! Replicas of two groups that move a partition to and fro, with every order of applying, snapshots, fetches and crashes that the dice
//! say. The logs and the copies are the real ones; Raft is a list of entries.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use openraft::EntryPayload;
use recoil_base::{AppId, Digest, KeyspaceId, NodeId, PartitionId};
use recoil_storage::simulation::{Random, SimulatedData};
use recoil_storage::{Write, key};

use super::*;
use crate::answered::{AnsweredCall, Known, Origin, read_origin};
use crate::command::{AppWrites, Body, Command, PartitionWrites};
use crate::machine::MachineKind;
use crate::ownership::{Decision, Ownership};
use crate::raft::{Entry, LeaderId, LogId, Payload};
use crate::snapshot::{Source, Staged, decode_chunk};

const GROUPS: [GroupId; 2] = [GroupId(1), GroupId(2)];
const PARTITION: PartitionRef = PartitionRef { keyspace: KeyspaceId(1), partition: PartitionId(3) };
/// A partition that stays in the first group.
const OTHER: PartitionRef = PartitionRef { keyspace: KeyspaceId(1), partition: PartitionId(4) };
const APP: AppId = AppId(5);
const ORIGIN: Origin = Origin { node: NodeId(77), incarnation: 3 };

/// Nodes of the two groups.
const CLOSE: [&[usize]; 2] = [&[0, 1, 2], &[1, 2, 3]];
const FAR: [&[usize]; 2] = [&[0, 1, 2], &[2, 3, 4]];
const APART: [&[usize]; 2] = [&[0, 1, 2], &[3, 4, 5]];

struct Node {
    store: SimulatedData,
    data: Data,
    locals: Locals,
    cores: [Option<Core>; 2],
}

impl Node {
    fn open(store: SimulatedData, groups: [bool; 2]) -> Self {
        let data = Data::open_simulated(store.clone()).unwrap();
        let locals = Locals::open(data.clone()).unwrap();
        locals.sweep().unwrap();
        let core = |place: usize| {
            let kind = MachineKind::Partitions;
            groups[place].then(|| Core::open(GROUPS[place], data.clone(), locals.clone(), kind).unwrap())
        };
        Node { cores: [core(0), core(1)], store, data, locals }
    }

    fn applied(&self, group: usize) -> u64 {
        self.cores[group].as_ref().and_then(|core| core.row.applied).map_or(0, |applied| applied.index)
    }

    /// The partition's rows, if the group owns it here and has all of them.
    fn rows(&self, group: usize) -> Option<(BTreeMap<Bytes, Bytes>, CopyId)> {
        let local = self.locals.get(GROUPS[group], PARTITION)?;
        let prefix = key::full(local.copy, APP, key::DATA, b"");
        let rows = self.data.snapshot().prefix(&prefix, false).map(|row| row.unwrap());
        Some((rows.map(|(key, value)| (key.slice(prefix.len()..), value)).collect(), local.copy))
    }
}

/// A move under way: from one group to the other, and how far.
#[derive(Clone, Copy, Debug)]
struct Under {
    id: u64,
    from: usize,
    epoch: u64,
    adopted: bool,
    reports: u8,
}

struct World {
    members: [&'static [usize]; 2],
    nodes: Vec<Node>,
    logs: [Vec<Body>; 2],
    rows: [Ownership; 2],
    /// Writes to the partition in their order; those that each group's log has up to an index, while it owns it.
    truth: Vec<Option<(u8, u64)>>,
    known: [Vec<usize>; 2],
    moving: Option<Under>,
    moves: u64,
    random: Random,
    handed_over: u32,
    fetched: u32,
    jumped: u32,
}

fn changes(change: OwnershipChange) -> Body {
    Body::Ownership { changes: vec![(PARTITION, change)] }
}

impl World {
    fn new(seed: u64, members: [&'static [usize]; 2]) -> Self {
        let count = members.iter().flat_map(|members| members.iter()).max().unwrap() + 1;
        let groups = |node: usize| members.map(|members| members.contains(&node));
        let nodes = (0..count).map(|node| Node::open(SimulatedData::default(), groups(node))).collect();
        let mut world = World {
            members,
            nodes,
            logs: [vec![], vec![]],
            rows: Default::default(),
            truth: vec![],
            known: [vec![0], vec![0]],
            moving: None,
            moves: 0,
            random: Random(seed),
            handed_over: 0,
            fetched: 0,
            jumped: 0,
        };
        for group in 0..2 {
            world.append(group, Body::Start { versions: vec![(APP, Digest::of(b"one"))] });
        }
        world.append(0, changes(OwnershipChange::Birth { epoch: 1 }));
        world.append(0, Body::Ownership { changes: vec![(OTHER, OwnershipChange::Birth { epoch: 1 })] });
        world
    }

    fn append(&mut self, group: usize, body: Body) {
        let (index, clock_us) = (self.logs[group].len() as u64 + 1, self.truth.len() as u64);
        if let Body::Ownership { changes } = &body {
            for (_, change) in changes.iter().filter(|(partition, _)| *partition == PARTITION) {
                self.rows[group].apply(index, clock_us, *change);
            }
        }
        self.logs[group].push(body);
        self.known[group].push(self.truth.len());
    }

    fn owner(&self) -> Option<usize> {
        (0..2).find(|group| self.rows[*group].phase == Phase::Owned)
    }

    fn write(&mut self) {
        let Some(owner) = self.owner() else { return };
        let number = self.truth.len() as u64 + 1;
        let write = (!self.random.percent(10)).then(|| (self.random.below(7) as u8, number));
        self.truth.push(write);
        let write = match write {
            Some((key, value)) => Write::Put {
                key: Bytes::copy_from_slice(&[key::DATA, key]),
                value: value.to_be_bytes().to_vec().into(),
            },
            None => Write::RemoveRange { start: Bytes::from_static(&[key::DATA, 2]), end: None },
        };
        let calls =
            vec![AnsweredCall { origin: ORIGIN, sequence: number, acked: number.saturating_sub(2), answer: None }];
        let part = |partition, epoch, writes, calls| PartitionWrites {
            partition,
            epoch,
            now_us: number,
            apps: vec![AppWrites { app: APP, writes, calls }],
        };
        let mut partitions = vec![part(PARTITION, self.rows[owner].epoch, vec![write], calls)];
        if owner == 0 {
            let other =
                Write::Put { key: Bytes::from_static(b"\x01other"), value: number.to_be_bytes().to_vec().into() };
            partitions.push(part(OTHER, 1, vec![other], vec![]));
        }
        self.append(owner, Body::Writes { versions: vec![(APP, Digest::of(b"one"))], partitions });
    }

    /// The next step of a move, if it may be taken.
    fn step(&mut self) {
        let Some(under) = self.moving else {
            let Some(from) = self.owner() else { return };
            self.moves += 1;
            let (id, epoch) = (self.moves, self.rows[from].epoch + 1);
            let moving = Move { id, other: GROUPS[from], epoch };
            self.append(1 - from, changes(OwnershipChange::Expect(moving)));
            self.moving = Some(Under { id, from, epoch, adopted: false, reports: 0 });
            return;
        };
        let Under { id, from, epoch, .. } = under;
        match self.rows[from].decision(id) {
            Decision::Undecided if self.random.percent(10) => {
                self.append(from, changes(OwnershipChange::Cancel { id }));
                self.append(1 - from, changes(OwnershipChange::UnExpect { id }));
                self.moving = None;
            }
            Decision::Undecided => {
                let moving = Move { id, other: GROUPS[1 - from], epoch };
                self.append(from, changes(OwnershipChange::Release(moving)));
            }
            Decision::Released(released) if !under.adopted => {
                self.append(1 - from, changes(OwnershipChange::Adopt { id, released }));
                self.moving = Some(Under { adopted: true, ..under });
            }
            Decision::Released(_) => {
                for node in self.members[1 - from] {
                    let state = self.nodes[*node].locals.state(GROUPS[1 - from], PARTITION);
                    if state.is_some_and(|state| state.ownership.is_owned_in(epoch) && !state.lacks_rows()) {
                        self.nodes[*node].data.persist().unwrap();
                        self.moving.as_mut().unwrap().reports |= 1 << node;
                    }
                }
                let all: u8 = self.members[1 - from].iter().map(|node| 1 << node).sum();
                if self.moving.is_some_and(|under| under.reports == all) {
                    self.append(from, changes(OwnershipChange::Retire { id }));
                    self.moving = None;
                }
            }
            Decision::Over => unreachable!("it is cancelled in one step"),
        }
    }

    fn apply(&mut self, node: usize, group: usize, count: u64) {
        let (applied, end) = (self.nodes[node].applied(group), self.logs[group].len() as u64);
        let Some(core) = &mut self.nodes[node].cores[group] else { return };
        let entries: Vec<Entry> = (applied + 1..=end.min(applied.saturating_add(count)))
            .map(|index| {
                let leader_id = LeaderId { term: 2, node_id: NodeId(9) };
                let body = self.logs[group][index as usize - 1].clone();
                let command = Command { term: 2, node: NodeId(9), chain: index, body };
                let payload = EntryPayload::Normal(Payload(command.encode(0)));
                Entry { log_id: LogId { leader_id, index }, payload }
            })
            .collect();
        if !entries.is_empty() {
            core.apply(entries).unwrap();
        }
    }

    fn install(&mut self, node: usize, group: usize, from: usize) {
        if from == node || self.nodes[from].applied(group) <= self.nodes[node].applied(group) {
            return;
        }
        let Ok(Some(source)) = Source::take(GROUPS[group], &self.nodes[from].data) else { return };
        let source = Arc::new(source);
        let here = &mut self.nodes[node];
        let staged = Staged::begin(here.data.clone(), GROUPS[group], source.contents().clone()).unwrap();
        while staged.write_states().unwrap() {}
        let mut chunks = source.clone().chunks();
        while let Some(chunk) = chunks.next_chunk().unwrap() {
            staged.load(chunk).unwrap();
        }
        let leftovers = here.cores[group].as_mut().unwrap().install(source.meta(), staged).unwrap();
        leftovers.remove_at_once().unwrap();
        self.jumped += 1;
    }

    /// Fetches what a replica lacks from another node, be it ready to give it or not.
    fn fetch(&mut self, node: usize, group: usize, from: usize, of: usize) {
        let lacking = self.nodes[node].locals.state(GROUPS[group], PARTITION).filter(PartitionState::lacks_rows);
        let Some((epoch, copy)) = lacking.and_then(|state| Some((state.ownership.epoch, state.copy?))) else { return };
        // A replica that waits for its own node's is left alone.
        if matches!(copy.state, CopyState::Waiting { .. }) && self.nodes[node].cores[1 - group].is_some() {
            return;
        }
        let released_by = (of != group).then_some(self.moves);
        let taken = Source::take_partition(GROUPS[of], &self.nodes[from].data, PARTITION, epoch, released_by);
        let Some(source) = taken.unwrap() else { return };
        let index = if released_by.is_some() { 0 } else { source.meta().last_log_id.unwrap().index };
        let here = &mut self.nodes[node];
        let fresh = here.data.new_copy().unwrap();
        let mut chunks = Arc::new(source).chunks();
        while let Some(chunk) = chunks.next_chunk().unwrap() {
            let mut batch = here.data.batch();
            for (rest, value) in decode_chunk(chunk).unwrap().into_iter().flat_map(|(_, rows)| rows) {
                batch.put([&fresh.0.to_be_bytes()[..], &rest].concat(), value);
            }
            here.data.commit(batch).unwrap();
        }
        let mut fetched = Fetched { copy: fresh, epoch, replaces: copy.copy, index, replayed: None };
        let (core, mut records) = (here.cores[group].as_mut().unwrap(), Records::default());
        loop {
            match core.complete(PARTITION, fetched, &mut records).unwrap() {
                Completion::Done => {
                    self.fetched += 1;
                    return;
                }
                Completion::More(more) => fetched = more,
                Completion::TooEarly(_) | Completion::Unwanted => return here.data.kill_copies(&[fresh]).unwrap(),
            }
        }
    }

    fn crash(&mut self, node: usize) {
        let groups = self.members.map(|members| members.contains(&node));
        self.nodes[node].store.lose_power();
        let store = self.nodes[node].store.crash(&mut self.random);
        self.nodes[node] = Node::open(store, groups);
    }

    fn rows_after(&self, writes: usize) -> BTreeMap<Bytes, Bytes> {
        let mut rows = BTreeMap::new();
        for write in &self.truth[..writes] {
            match write {
                Some((key, value)) => {
                    drop(rows.insert(Bytes::copy_from_slice(&[*key]), value.to_be_bytes().to_vec().into()))
                }
                None => rows.retain(|key: &Bytes, _| key[0] < 2),
            }
        }
        rows
    }

    /// Every complete copy holds what the logs say, answered calls too.
    fn check(&self) {
        for (place, node) in self.nodes.iter().enumerate() {
            for group in 0..2 {
                let Some((rows, copy)) = node.rows(group) else { continue };
                let writes = self.known[group][node.applied(group) as usize];
                assert_eq!(
                    rows,
                    self.rows_after(writes),
                    "node {place}, group {group}, {writes} writes, {:?}",
                    self.moving
                );
                let record = read_origin(&node.data, copy, APP, ORIGIN).unwrap();
                assert_eq!(record.known(writes as u64 + 1), Known::Next, "node {place}, group {group}");
                let stashed = stash::bytes(&node.data.snapshot(), copy).unwrap();
                assert_eq!(stashed, 0, "a complete copy has no stash");
            }
            let named: Vec<CopyId> = GROUPS
                .iter()
                .flat_map(|group| node.locals.states_of(*group).into_values())
                .filter_map(|state| Some(state.copy?.copy))
                .collect();
            let mut distinct = named.clone();
            distinct.sort();
            distinct.dedup();
            assert_eq!(distinct.len(), named.len(), "node {place}: two rows name one copy");
            let live = node.data.live_copies().unwrap();
            assert!(live.iter().all(|copy| named.contains(copy)), "node {place}: a copy without an owner");
            for group in GROUPS {
                let stored = crate::local::states_in(&node.data.snapshot(), group).unwrap();
                assert_eq!(stored, node.locals.states_of(group), "node {place}: rows and memory differ");
            }
        }
    }

    fn any_member(&mut self, group: usize) -> usize {
        let members = self.members[group];
        members[self.random.below(members.len() as u64) as usize]
    }

    fn act(&mut self) {
        let group = self.random.below(2) as usize;
        let node = self.any_member(group);
        match self.random.below(20) {
            0..4 => self.write(),
            4..7 => self.step(),
            7..14 => {
                let waiting = |world: &World| world.nodes[node].locals.lacking().len();
                let (before, count) = (waiting(self), 1 + self.random.below(4));
                self.apply(node, group, count);
                self.handed_over += u32::from(waiting(self) < before);
            }
            14 => {
                let from = self.any_member(group);
                self.install(node, group, from);
            }
            15..18 => {
                let of = self.random.below(2) as usize;
                let from = self.any_member(of);
                if from != node {
                    self.fetch(node, group, from, of);
                }
            }
            18 => self.nodes[node].data.persist().unwrap(),
            _ => self.crash(node),
        }
        self.check();
    }

    /// Lets everything come to rest: no more faults, every node applies all there is and fetches what it lacks.
    fn settle(&mut self) {
        for _ in 0..20 {
            for group in 0..2 {
                for node in self.members[group] {
                    self.apply(*node, group, u64::MAX);
                }
            }
            for group in 0..2 {
                for node in self.members[group] {
                    for of in 0..2 {
                        for from in self.members[of] {
                            if from != node {
                                self.fetch(*node, group, *from, of);
                            }
                        }
                    }
                }
            }
            if self.moving.is_some() {
                self.step();
            }
        }
        self.check();
        assert!(self.moving.is_none(), "the move does not end: {:?} {:?}", self.moving, self.rows);
        let owner = self.owner().expect("one group owns it");
        for (place, node) in self.nodes.iter().enumerate() {
            for (group, (id, members)) in GROUPS.into_iter().zip(&self.members).enumerate() {
                let copy = node.locals.state(id, PARTITION).and_then(|state| state.copy);
                let expected = group == owner && members.contains(&place);
                assert_eq!(copy.is_some(), expected, "node {place}, group {group}: {copy:?}");
                assert!(!expected || node.rows(group).is_some(), "node {place} lacks rows");
            }
        }
    }
}

/// `RECOIL_HANDOFF_SEEDS=1000` runs more of them.
fn seeds() -> u64 {
    std::env::var("RECOIL_HANDOFF_SEEDS").map_or(60, |seeds| seeds.parse().unwrap())
}

/// Fails if a copy that counts as complete lacks a write or has one twice, whatever the order in which a node applies the two logs, jumps by a
/// snapshot, fetches, or loses what it had not made durable; if a copy is left without an owner, named twice, or dropped too early; and
/// if a move cannot end.
#[test]
fn copies_are_what_the_logs_say_in_every_order_of_applying() {
    let mut totals = [0; 4];
    for seed in 0..seeds() {
        let members = [CLOSE, FAR, APART][seed as usize % 3];
        let mut world = World::new(seed, members);
        for _ in 0..120 {
            world.act();
        }
        world.settle();
        totals[0] += world.moves as u32;
        totals[1] += world.handed_over;
        totals[2] += world.fetched;
        totals[3] += world.jumped;
    }
    let [moves, handed_over, fetched, jumped] = totals;
    assert!(moves > 50 && handed_over > 20 && fetched > 80 && jumped > 40, "{totals:?}");
}

/// Fails if the target's clock may be behind the source's, or a partition's first copy on a node that has the source's is anything but that copy.
#[test]
fn a_shared_node_takes_the_copy_over_with_its_rows_and_the_clock() {
    let mut world = World::new(1, CLOSE);
    (0..5).for_each(|_| world.write());
    world.step();
    world.step();
    world.step();
    world.apply(1, 0, u64::MAX);
    let copy = world.nodes[1].locals.state(GROUPS[0], PARTITION).unwrap().copy.unwrap();
    world.apply(1, 1, u64::MAX);
    let states = [0, 1].map(|group| world.nodes[1].locals.state(GROUPS[group], PARTITION).unwrap());
    assert_eq!((states[0].copy, states[1].copy), (None, Some(copy)));
    assert_eq!(world.nodes[1].cores[1].as_ref().unwrap().row.clock_us, 5);
    // On the other one the target comes first.
    world.apply(2, 1, u64::MAX);
    world.write();
    world.apply(2, 1, u64::MAX);
    assert!(world.nodes[2].locals.lacked_by(GROUPS[1]).is_some() && world.nodes[2].rows(1).is_none());
    world.apply(2, 0, u64::MAX);
    assert!(world.nodes[2].locals.lacking().is_empty());
    world.check();
    // And where there is no replica of the source it is fetched.
    world.apply(3, 1, u64::MAX);
    world.fetch(3, 1, 0, 0);
    assert!(world.nodes[3].rows(1).is_none(), "node 0 has not released it yet");
    world.apply(0, 0, u64::MAX);
    world.fetch(3, 1, 0, 0);
    assert_eq!(world.nodes[3].rows(1).unwrap().0, world.rows_after(6));
}
