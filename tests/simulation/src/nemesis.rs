//! Faults, and their end.

use crate::chance;
use crate::machine::{Backup, End};
use crate::members::{self, Members};
use crate::network::LinkState;
use crate::plan::{FaultKind, Plan};
use crate::trace::{self, note};
use crate::watch::Watch;
use crate::world::{Failure, World};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use recoil_node::Node;
use recoil_storage::simulation::{Fault, SimulatedData};

/// How long a node with an old copy of its folder may take to see that it is one, when it can be told.
const OLD_COPY_MS: u64 = 30_000;

/// The longest time from a step of a move to the fault that it meets.
const STRIKE_MS: u64 = 60;
/// What a step of a move may meet.
const AT_STEPS: [FaultKind; 10] = [
    FaultKind::Kill,
    FaultKind::Kill,
    FaultKind::PowerLoss,
    FaultKind::PowerLossInWrite,
    FaultKind::DataError,
    FaultKind::Isolate,
    FaultKind::CutPair,
    FaultKind::Freeze,
    FaultKind::BreakConnection,
    FaultKind::HandOver,
];

/// Something to do later.
enum Later {
    Boot(usize),
    /// A fault at a step of a move.
    Strike(FaultKind, usize),
    Thaw(usize),
    Link(usize, usize),
    Fast(usize),
    /// The old copy has been refused by now, or nobody can tell that it is one.
    Refused(usize),
}

pub(crate) struct Nemesis {
    kinds: Vec<FaultKind>,
    every_ms: u64,
    next_ms: u64,
    moves_every_ms: Option<u64>,
    next_move_ms: u64,
    strikes_percent: u64,
    watch: Watch,
    members: Option<Members>,
    later: Vec<(u64, Later)>,
    backups: Vec<Option<Backup>>,
    /// What a machine held before an old copy took its place.
    present: Vec<Option<Backup>>,
    count: u64,
    /// A machine's log was damaged: its node may refuse to start. One that has lost its data may not.
    spoilt: Option<usize>,
}

impl Nemesis {
    pub(crate) fn new(plan: &Plan) -> Self {
        let every_ms = plan.faults_every_ms;
        let none = || (0..plan.nodes + plan.spares).map(|_| None).collect();
        Nemesis {
            kinds: plan.faults.clone(),
            every_ms,
            next_ms: trace::now_ms() + chance::within(0..every_ms),
            moves_every_ms: plan.moves_every_ms,
            next_move_ms: trace::now_ms(),
            strikes_percent: plan.strikes_percent,
            watch: Watch::default(),
            members: plan.members_every_ms.map(Members::new),
            later: Vec::new(),
            backups: none(),
            present: none(),
            count: 0,
            spoilt: None,
        }
    }

    pub(crate) fn count(&self) -> u64 {
        self.count
    }

    /// Looks at the moves, also while there are no faults.
    pub(crate) fn watch(&mut self, world: &World) -> Result<(), Failure> {
        self.watch.look(world).map(drop)
    }

    /// After each millisecond.
    pub(crate) fn step(&mut self, world: &mut World) -> Result<(), Failure> {
        let now = trace::now_ms();
        for step in self.watch.look(world)? {
            self.meet(world, step.place);
        }
        for place in 0..world.machines.len() {
            self.bury(world, place)?;
        }
        let (due, later) = std::mem::take(&mut self.later).into_iter().partition(|(at, _)| *at <= now);
        self.later = later;
        for (_, what) in due {
            self.act(world, &what)?;
        }
        if now >= self.next_ms {
            self.next_ms = now + 1 + chance::within(0..2 * self.every_ms);
            let kind = chance::pick(&self.kinds);
            self.strike(world, kind);
        }
        if let Some(every_ms) = self.moves_every_ms.filter(|_| now >= self.next_move_ms) {
            self.next_move_ms = now + 1 + chance::within(0..2 * every_ms);
            move_partition(world);
        }
        if let Some(members) = &mut self.members {
            self.count += u64::from(members.step(world));
        }
        Ok(())
    }

    /// A step of a move has been taken at a place: it may meet a fault there or elsewhere, at once or a little later.
    fn meet(&mut self, world: &mut World, place: usize) {
        if self.strikes_percent == 0 || !chance::percent(self.strikes_percent) {
            return;
        }
        let up = Self::up(world);
        let place = if up.is_empty() || chance::percent(60) { place } else { chance::pick(&up) };
        let kind = chance::pick(&AT_STEPS);
        if self.members.is_some() && chance::percent(10) {
            self.count += u64::from(members::lose(world, place));
        } else if chance::percent(50) {
            self.strike_at(world, kind, place);
        } else {
            self.later(1 + chance::within(0..STRIKE_MS), Later::Strike(kind, place));
        }
    }

    fn later(&mut self, ms: u64, what: Later) {
        self.later.push((trace::now_ms() + ms, what));
    }

    /// A node that has ended by itself, or whose disk has lost power.
    fn bury(&mut self, world: &mut World, place: usize) -> Result<(), Failure> {
        if !world.machines[place].is_up() || world.lost[place] {
            return Ok(());
        }
        if world.net.is_outdated(place, world.machines[place].boots) {
            if self.present[place].is_none() {
                return Err(Failure::new("old copy", format!("node {place} was refused with its own folder")));
            }
            note!("node {place}  is told that it is an old copy");
            world.end(place, End::Killed);
            return Ok(()); // Later::Refused puts the folder back
        }
        if world.bury_removed(place) {
            return Ok(());
        }
        let ended = world.machines[place].life.lock().ended.clone();
        if world.machines[place].disk.is_off() {
            world.end(place, End::Unplugged);
        } else if let Some(why) = ended {
            note!("node {place}  ended: {why}");
            world.end(place, End::Killed);
            if self.present[place].is_some() {
                if !why.contains("copy of a data folder") && !why.contains("stopped") {
                    return Err(Failure::new(
                        "old copy",
                        format!("node {place} with an old folder ended otherwise: {why}"),
                    ));
                }
                return Ok(()); // Later::Refused puts the folder back
            }
            if self.is_right(place, &why) {
                world.lost[place] = true;
                return Ok(());
            }
            if is_for_good(&why) {
                return Err(Failure::new(
                    "damage",
                    format!("node {place} was refused without having been damaged: {why}"),
                ));
            }
        } else {
            return Ok(());
        }
        self.later(chance::within(10..3000), Later::Boot(place));
        Ok(())
    }

    /// True if that machine was damaged and its node therefore refuses for good.
    pub(crate) fn is_right(&self, place: usize, why: &str) -> bool {
        self.spoilt == Some(place) && is_for_good(why)
    }

    fn act(&mut self, world: &mut World, what: &Later) -> Result<(), Failure> {
        match *what {
            Later::Boot(place) => {
                if !world.machines[place].is_up() && world.takes_part(place) && self.present[place].is_none() {
                    world.boot(place);
                }
            }
            Later::Strike(kind, place) => self.strike_at(world, kind, place),
            Later::Thaw(place) => {
                let World { machines, net, .. } = world;
                machines[place].thaw(net);
            }
            Later::Link(from, to) => {
                note!("link    {from} -> {to} is well again");
                world.net.set_link(from, to, |link| *link = LinkState::default());
            }
            Later::Fast(place) => slow_disk(place, false),
            Later::Refused(place) => {
                let Some(present) = self.present[place].take() else { return Ok(()) };
                if world.machines[place].is_up() {
                    // The others never met the start that the copy lacks: the copy is the node now, and what it lacks an old copy.
                    note!("node {place}  goes on with the copy");
                } else {
                    note!("node {place}  gets its folder back");
                    world.machines[place].restore(&present);
                    world.boot(place);
                }
            }
        }
        Ok(())
    }

    fn up(world: &World) -> Vec<usize> {
        (0..world.machines.len()).filter(|place| world.machines[*place].is_up() && world.takes_part(*place)).collect()
    }

    fn strike(&mut self, world: &mut World, kind: FaultKind) {
        let up = Self::up(world);
        if !up.is_empty() {
            self.strike_at(world, kind, chance::pick(&up));
        }
    }

    fn strike_at(&mut self, world: &mut World, kind: FaultKind, place: usize) {
        let up = Self::up(world);
        if self.present[place].is_some() || !up.contains(&place) {
            return;
        }
        let other = chance::within(0..world.machines.len() as u64) as usize;
        let all = (0..world.machines.len()).filter(|place| world.takes_part(*place)).count();
        let majority = up.len() - 1 > all / 2 || chance::percent(30);
        self.count += 1;
        note!("fault   {kind:?} {place} {other}");
        match kind {
            FaultKind::Kill if majority => self.crash(world, place, End::Killed),
            FaultKind::PowerLoss if majority => self.crash(world, place, End::Unplugged),
            FaultKind::PowerLossInWrite if majority => world.machines[place].disk.lose_power_in(chance::within(0..40)),
            FaultKind::PowerLossOfAll => {
                for place in up {
                    if self.present[place].is_none() {
                        self.crash(world, place, End::Unplugged);
                    }
                }
            }
            FaultKind::Stop if majority => world.machines[place].ask_to_stop(),
            FaultKind::Freeze | FaultKind::Sleep => {
                if world.machines[place].frozen_since.is_none() {
                    let World { machines, net, .. } = world;
                    if kind == FaultKind::Sleep {
                        machines[place].sleep(net)
                    } else {
                        machines[place].freeze(net)
                    }
                    self.later(chance::within(50..4000), Later::Thaw(place));
                }
            }
            FaultKind::OldCopy | FaultKind::LostData | FaultKind::Rot => self.spoil(world, place, kind),
            FaultKind::ClockJump => {
                let jump = chance::within(0..7_200_000_000) as i64 - 3_600_000_000;
                world.machines[place].skew_us.store(jump, Ordering::Relaxed);
            }
            FaultKind::WriteError => world.machines[place].disk.set_fault(Fault::Write(chance::within(0..20))),
            FaultKind::SyncError => world.machines[place].disk.set_fault(Fault::Sync(chance::within(0..20))),
            FaultKind::DiskFull => world.machines[place].disk.set_fault(Fault::Create(chance::within(0..3))),
            FaultKind::DataError => world.machines[place].data.fail_in(chance::within(0..50)),
            FaultKind::SlowDisk => {
                slow_disk(place, true);
                self.later(chance::within(100..5000), Later::Fast(place));
            }
            FaultKind::HandOver => hand_over(world, place),
            FaultKind::Kill | FaultKind::PowerLoss | FaultKind::PowerLossInWrite | FaultKind::Stop => {}
            _ => self.disturb(world, kind, place, other),
        }
    }

    fn disturb(&mut self, world: &mut World, kind: FaultKind, place: usize, other: usize) {
        let others: Vec<usize> = (0..world.machines.len()).filter(|other| *other != place).collect();
        let heals = chance::within(50..6000);
        let mut link = |world: &World, from: usize, to: usize, change: &dyn Fn(&mut LinkState)| {
            if from != to {
                world.net.set_link(from, to, change);
                self.later.push((trace::now_ms() + heals, Later::Link(from, to)));
            }
        };
        match kind {
            FaultKind::Isolate => {
                for other in others {
                    link(world, place, other, &|link| link.cut = true);
                    link(world, other, place, &|link| link.cut = true);
                }
            }
            FaultKind::CutOneWay => link(world, place, other, &|link| link.cut = true),
            FaultKind::CutPair => {
                link(world, place, other, &|link| link.cut = true);
                link(world, other, place, &|link| link.cut = true);
            }
            FaultKind::SlowLink => {
                let most = chance::within(20..600);
                link(world, place, other, &|link| link.delay_ms = (most / 4, most));
            }
            FaultKind::LossyLink => {
                let percent = chance::within(1..40);
                link(world, place, other, &|link| link.loss_percent = percent);
            }
            FaultKind::WildLink => {
                link(world, place, other, &|link| {
                    (link.delay_ms, link.loss_percent) = ((0, 300), 5);
                });
            }
            _ => {
                world.net.break_connection(place, other);
                world.net.break_connection(other, place);
                return;
            }
        }
        if chance::percent(30) {
            world.net.break_connection(place, other);
        }
    }

    fn crash(&mut self, world: &mut World, place: usize, end: End) {
        world.end(place, end);
        if chance::percent(50) {
            self.backups[place] = Some(world.machines[place].backup());
        }
        self.later(chance::within(10..4000), Later::Boot(place));
    }

    /// Faults of what a stopped machine holds. At most a minority of nodes is spoilt for good.
    fn spoil(&mut self, world: &mut World, place: usize, kind: FaultKind) {
        let nodes = world.machines.len();
        let spoilt = world.lost.iter().filter(|lost| **lost).count() + self.present.iter().flatten().count();
        if 2 * (spoilt + 1) >= nodes || kind != FaultKind::OldCopy && self.spoilt.is_some() {
            return;
        }
        match kind {
            FaultKind::OldCopy => {
                // Who has not seen the present start cannot tell it from the copy, and may be one of the two that make a quorum.
                let running: Vec<_> =
                    world.machines.iter().filter(|machine| machine.is_up()).map(|one| one.node()).collect();
                let Some(Some(present)) = world.machines[place].is_up().then(|| world.machines[place].node()) else {
                    return;
                };
                let known =
                    |node: &Option<_>| node.as_ref().is_some_and(|node: &Arc<Node>| node.knows_start_of(&present));
                if running.len() < nodes || !running.iter().all(known) {
                    return;
                }
                drop((running, present));
                world.end(place, End::Killed);
                let Some(backup) = self.backups[place].take() else {
                    self.backups[place] = Some(world.machines[place].backup());
                    return self.later(chance::within(10..3000), Later::Boot(place));
                };
                self.present[place] = Some(world.machines[place].backup());
                note!("node {place}  gets an old copy of its folder");
                world.machines[place].restore(&backup);
                self.watch.give_up(world.ids[place]);
                world.boot(place);
                self.later(OLD_COPY_MS, Later::Refused(place));
            }
            FaultKind::LostData => {
                // The log alone, or, where it was purged, the other replicas as well bring them back.
                world.end(place, End::Killed);
                world.machines[place].data = SimulatedData::default();
                self.later(chance::within(10..3000), Later::Boot(place));
            }
            _ => {
                world.end(place, End::Killed);
                let spoilt = world.machines[place].disk.rot(&mut chance::fork());
                note!("node {place}  rots: {spoilt}");
                self.later(chance::within(10..3000), Later::Boot(place));
            }
        }
        if kind != FaultKind::OldCopy {
            self.watch.give_up(world.ids[place]);
            // Once is enough: the node may be gone for good, or be the second of a group to have lost what only it has.
            self.kinds.retain(|kind| !matches!(kind, FaultKind::Rot | FaultKind::LostData));
            self.kinds.push(FaultKind::Kill);
        }
        if kind == FaultKind::Rot {
            self.spoilt = Some(place);
        }
    }

    /// Ends all faults and brings back every machine that may come back.
    pub(crate) fn heal(&mut self, world: &mut World) {
        world.net.set_strays(0);
        let places: Vec<usize> = (0..world.machines.len()).collect();
        for from in &places {
            for to in &places {
                world.net.set_link(*from, *to, |link| *link = LinkState::default());
            }
        }
        for place in places {
            slow_disk(place, false);
            let World { machines, net, .. } = world;
            machines[place].thaw(net);
            // One whose log or data could not be written may not have noticed yet.
            let failed = machines[place].data.is_failing() || machines[place].disk.faulted();
            let ended = machines[place].life.lock().ended.is_some() || failed;
            machines[place].disk.clear_faults();
            machines[place].data.clear_faults();
            // One that runs on an old copy may not have been told yet.
            let present = self.present[place].take();
            let refused = present.is_some() || net.is_outdated(place, machines[place].boots);
            if ended || refused || machines[place].is_stopping() || machines[place].disk.is_off() {
                world.end(place, End::Killed);
            }
            if let Some(present) = present {
                world.machines[place].restore(&present);
            }
            if !world.machines[place].is_up() && world.takes_part(place) {
                world.boot(place);
            }
        }
        if let Some(members) = &self.members {
            members.heal(world);
        }
    }
}

/// The leaders among the groups of a node hand over to another, which may be down, or behind.
fn hand_over(world: &World, place: usize) {
    let Some(node) = world.machines[place].node() else { return };
    for group in node.groups() {
        let voters: Vec<_> = group.numbers().voters.into_iter().filter(|voter| *voter != node.id()).collect();
        if !voters.is_empty() && group.session().is_some() {
            let to = chance::pick(&voters);
            note!("node {place}  hands group {} over to {to}", group.id());
            node.hand_over(group.id(), to);
        }
    }
}

/// A partition moves to nodes that are up, or what moves is cancelled.
fn move_partition(world: &World) {
    let places = Nemesis::up(world);
    if places.is_empty() {
        return;
    }
    let place = chance::pick(&places);
    let Some(node) = world.machines[place].node() else { return };
    if chance::percent(15) {
        note!("node {place}  cancels moves");
        return world.machines[place].spawn(node.cancel_moves());
    }
    let mut up: Vec<_> = world.machines.iter().filter_map(|machine| Some(machine.node()?.id())).collect();
    let partition = chance::within(0..u64::from(world.plan.partitions)) as u32;
    let mut to = Vec::new();
    while to.len() < 3.min(world.plan.nodes) && !up.is_empty() {
        to.push(up.swap_remove(chance::within(0..up.len() as u64) as usize));
    }
    note!("node {place}  moves partition {partition} to {to:?}");
    world.machines[place].spawn(async move {
        match node.move_partition(partition, to).await {
            Ok(()) => note!("node {place}  has begun to move partition {partition}"),
            Err(why) => note!("node {place}  does not move partition {partition}: {why}"),
        }
    });
}

/// True of an error that says that the node must be replaced.
fn is_for_good(why: &str) -> bool {
    why.contains("is damaged") || why.contains("Replace this node") || why.contains("replace it")
}

static SLOW: parking_lot::Mutex<std::collections::BTreeSet<usize>> =
    parking_lot::Mutex::new(std::collections::BTreeSet::new());

fn slow_disk(place: usize, slow: bool) {
    if slow {
        SLOW.lock().insert(place);
    } else {
        SLOW.lock().remove(&place);
    }
}

/// How long the next piece of work of a machine's thread takes, milliseconds.
pub(crate) fn work_ms(place: usize, thread: &str) -> u64 {
    let slow = SLOW.lock().contains(&place);
    match thread {
        "log-committer" if slow => chance::within(20..400),
        "log-committer" => chance::within(0..3),
        _ if slow => chance::within(0..50),
        _ => u64::from(chance::percent(10)),
    }
}
