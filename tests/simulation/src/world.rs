//! The world: machines, a network between them, clients on them, and faults; one millisecond after the other.
//!
//! A run has four parts. The cluster is founded and the package installed, undisturbed. Clients call while faults come. Everything is
//! healed, and the cluster must serve every key on every node within a bounded time. Then the history and the replicas are
//! checked. Nothing in a run depends on anything but its seed and its number of calls.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use parking_lot::Mutex;
use recoil_base::GroupId;
use recoil_cluster::meta::ClusterChange;
use recoil_node::Shared;

use crate::clients::Load;
use crate::guest::{Ask, Key};
use crate::history::{Kind, Outcome};
use crate::machine::{self, End, Machine};
use crate::nemesis::Nemesis;
use crate::network::Net;
use crate::plan::Plan;
use crate::trace::{self, note};
use crate::{chance, guest};

/// How long founding and installing may take, simulated milliseconds.
const SETUP_MS: u64 = 60_000;
/// The longest time with load and faults.
const LOAD_MS: u64 = 120_000;
/// From the last call to the last answer: the router's deadline and more.
const DRAIN_MS: u64 = 15_000;

/// How far ahead of all other clocks one may be, with a little for the way.
const AHEAD_MAX_US: i64 = 550_000;
/// The end of the key under which a copy keeps the time of its last write: app 0, a kind, and this.
const CLOCK_KEY: &[u8] = b"\0\0\0\0\x01clock";

/// Why a run failed: which check, and what it saw.
#[derive(Clone, Debug)]
pub(crate) struct Failure {
    pub(crate) check: &'static str,
    pub(crate) what: String,
}

impl Failure {
    pub(crate) fn new(check: &'static str, what: impl Into<String>) -> Self {
        Failure { check, what: what.into() }
    }
}

/// What a run did.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Summary {
    pub(crate) calls: usize,
    pub(crate) answered: usize,
    pub(crate) unknown: usize,
    pub(crate) faults: u64,
    pub(crate) healed_ms: u64,
    pub(crate) simulated_ms: u64,
}

/// Panics of any task, in words.
pub(crate) static PANICS: Mutex<Vec<String>> = Mutex::new(Vec::new());

pub(crate) struct World {
    pub(crate) plan: Plan,
    pub(crate) net: Net,
    pub(crate) machines: Vec<Machine>,
    shared: Arc<Shared>,
    addresses: Vec<SocketAddr>,
    load: Load,
    /// Machines whose node has clients since its last boot.
    served: Vec<bool>,
    clients: bool,
    /// The furthest that each machine's clock has ever been ahead of true time, microseconds.
    ahead_us: Vec<i64>,
    /// Machines that will never start again, by right.
    pub(crate) lost: Vec<bool>,
}

impl World {
    pub(crate) fn new(plan: Plan, folder: &Path, shared: Arc<Shared>) -> Self {
        let addresses: Vec<SocketAddr> =
            (0..plan.nodes).map(|place| SocketAddr::from(([10, 0, 0, place as u8 + 1], 7000))).collect();
        let machine = |(place, address): (usize, &SocketAddr)| {
            Machine::new(place, *address, folder.join(format!("node-{place}")))
        };
        let machines = addresses.iter().enumerate().map(machine).collect();
        let load = Load::new(plan.calls, plan.keys, plan.pause_ms);
        let (served, lost, ahead_us) = (vec![false; plan.nodes], vec![false; plan.nodes], vec![0; plan.nodes]);
        let net = Net::new(addresses.clone());
        World { plan, net, machines, shared, addresses, load, served, clients: false, ahead_us, lost }
    }

    /// Runs to the end.
    pub(crate) fn run(&mut self) -> Result<Summary, Failure> {
        self.set_up()?;
        let mut nemesis = Nemesis::new(&self.plan);
        self.clients = true;
        let began = trace::now_ms();
        while self.load.left.load(Ordering::Relaxed) > 0 && trace::now_ms() - began < LOAD_MS {
            self.tick()?;
            nemesis.step(self)?;
        }
        note!("heal");
        nemesis.heal(self);
        let healing = trace::now_ms();
        self.clients = false;
        self.load.left.store(0, Ordering::Relaxed);
        self.wait_for_service(&nemesis)?;
        let healed_ms = trace::now_ms() - healing;
        note!("healed after {healed_ms} ms");
        self.pass(DRAIN_MS)?;
        self.wait_for_moves()?;
        self.read_all()?;
        self.load.history.lock().check().map_err(|what| Failure::new("history", what))?;
        self.compare_replicas()?;
        self.check_time()?;
        let history = self.load.history.lock();
        let count =
            |wanted: &dyn Fn(&Outcome) -> bool| history.calls().iter().filter(|call| wanted(&call.outcome)).count();
        Ok(Summary {
            calls: history.calls().len(),
            answered: count(&|outcome| matches!(outcome, Outcome::Done(_))),
            unknown: count(&|outcome| *outcome == Outcome::Unknown),
            faults: nemesis.count(),
            healed_ms,
            simulated_ms: trace::now_ms(),
        })
    }

    /// One millisecond.
    pub(crate) fn tick(&mut self) -> Result<(), Failure> {
        trace::set_now_ms(trace::now_ms() + 1);
        self.net.deliver();
        let mut order: Vec<usize> = (0..self.machines.len()).collect();
        for last in (1..order.len()).rev() {
            order.swap(last, chance::within(0..last as u64 + 1) as usize);
        }
        for place in order {
            self.machines[place].run();
        }
        if let Some(panic) = PANICS.lock().first() {
            return Err(Failure::new("panic", panic.clone()));
        }
        for place in 0..self.machines.len() {
            self.ahead_us[place] = self.ahead_us[place].max(self.machines[place].skew_us.load(Ordering::Relaxed));
            self.look_at(place);
        }
        Ok(())
    }

    fn pass(&mut self, ms: u64) -> Result<(), Failure> {
        for _ in 0..ms {
            self.tick()?;
        }
        Ok(())
    }

    /// Gives a node that serves its clients.
    fn look_at(&mut self, place: usize) {
        if !self.clients || self.served[place] {
            return;
        }
        let Some(router) = self.machines[place].node().and_then(|node| node.router_of(guest::NAME)) else { return };
        self.served[place] = true;
        for number in 0..self.plan.clients_a_node {
            let name = format!("client {place}.{number}");
            self.machines[place].spawn(self.load.clone().run(name, router.clone()));
        }
    }

    pub(crate) fn boot(&mut self, place: usize) {
        let join = (place > 0).then(|| self.addresses[0]);
        self.served[place] = false;
        let World { machines, net, plan, shared, .. } = self;
        machines[place].boot(net, plan, shared, join);
    }

    pub(crate) fn end(&mut self, place: usize, end: End) {
        self.machines[place].end(&self.net, end);
    }

    fn set_up(&mut self) -> Result<(), Failure> {
        for place in 0..self.plan.nodes {
            self.boot(place);
            self.until("the node is a member", |world| world.machines[place].node().is_some())?;
        }
        let installed = Arc::new(Mutex::new(None));
        let (told, node, repair_after_s) = (installed.clone(), self.machines[0].node(), self.plan.repair_after_s);
        if let Some(node) = node {
            self.machines[0].spawn(async move {
                node.wait_hosting().await;
                let change = ClusterChange { repair_after_s: Some(repair_after_s), ..ClusterChange::default() };
                let result = match node.set_cluster(change).await {
                    Ok(()) => node.install(guest::NAME).await.map(drop).map_err(|error| error.to_string()),
                    Err(why) => Err(why),
                };
                *told.lock() = Some(result);
            });
        }
        self.until("the package is installed", |_| installed.lock().is_some())?;
        if let Some(Err(why)) = installed.lock().take() {
            return Err(Failure::new("setup", why));
        }
        note!("the cluster is ready");
        Ok(())
    }

    fn until(&mut self, what: &str, holds: impl Fn(&World) -> bool) -> Result<(), Failure> {
        for _ in 0..SETUP_MS {
            self.tick()?;
            if holds(self) {
                return Ok(());
            }
            if let Some(why) = self.machines.iter().find_map(|machine| machine.life.lock().ended.clone()) {
                return Err(Failure::new("setup", format!("{what}: a node ended: {why}")));
            }
        }
        Err(Failure::new("setup", format!("not within {SETUP_MS} ms: {what}")))
    }

    /// Asks every node for an append to every key until all have answered.
    fn wait_for_service(&mut self, nemesis: &Nemesis) -> Result<(), Failure> {
        let deadline = trace::now_ms() + self.plan.heal_within().as_millis() as u64;
        let mut missing: BTreeMap<usize, String> = BTreeMap::new();
        let live: Vec<usize> = (0..self.machines.len()).filter(|place| !self.lost[*place]).collect();
        let served: Arc<Mutex<Vec<usize>>> = Arc::default();
        let mut asked = vec![false; self.machines.len()];
        while served.lock().len() < live.len() {
            if trace::now_ms() > deadline {
                return Err(Failure::new("healing", format!("these nodes do not serve: {missing:?}")));
            }
            self.tick()?;
            for place in &live {
                let ended = self.machines[*place].life.lock().ended.clone();
                if let Some(why) = ended {
                    if nemesis.is_right(*place, &why) {
                        note!("node {place}  ended, rightly: {why}");
                        self.lost[*place] = true;
                        return self.wait_for_service(nemesis);
                    }
                    return Err(Failure::new("healing", format!("node {place} has ended: {why}")));
                }
                if asked[*place] {
                    continue;
                }
                let node = self.machines[*place].node();
                missing.insert(*place, if node.is_some() { "no routing table" } else { "not started" }.into());
                let Some(router) = node.and_then(|node| node.router_of(guest::NAME)) else { continue };
                asked[*place] = true;
                missing.insert(*place, "calls".into());
                let (load, served, place) = (self.load.clone(), served.clone(), *place);
                self.machines[place].spawn(async move {
                    for key in (0..load.keys).map(Key) {
                        loop {
                            let ask = Ask::Append(load.value());
                            let outcome =
                                load.one(&format!("healer {place}"), &router, key, ask, Kind::Linearizable).await;
                            if matches!(outcome, Outcome::Done(_)) {
                                break;
                            }
                        }
                    }
                    served.lock().push(place);
                });
            }
        }
        Ok(())
    }

    /// Every move ends, unless a node is lost for good that takes part in it.
    fn wait_for_moves(&mut self) -> Result<(), Failure> {
        let deadline = trace::now_ms() + self.plan.heal_within().as_millis() as u64;
        loop {
            let nodes = self.machines.iter().filter_map(Machine::node);
            let left: Vec<String> = nodes.flat_map(|node| node.moves()).collect();
            if left.is_empty() || self.lost.contains(&true) {
                return Ok(());
            }
            if trace::now_ms() > deadline {
                return Err(Failure::new("moves", format!("these do not end: {left:?}")));
            }
            self.tick()?;
        }
    }

    /// The last read of every key, from every node.
    fn read_all(&mut self) -> Result<(), Failure> {
        let live: Vec<usize> = (0..self.machines.len()).filter(|place| !self.lost[*place]).collect();
        let finished: Arc<Mutex<Vec<usize>>> = Arc::default();
        for place in &live {
            let router = self.machines[*place].node().and_then(|node| node.router_of(guest::NAME));
            let Some(router) = router else { return Err(Failure::new("healing", format!("node {place} has gone"))) };
            let (load, finished, place) = (self.load.clone(), finished.clone(), *place);
            self.machines[place].spawn(async move {
                for key in (0..load.keys).map(Key) {
                    let name = format!("reader {place}");
                    while !matches!(load.one(&name, &router, key, Ask::Get, Kind::Linearizable).await, Outcome::Done(_))
                    {
                    }
                }
                finished.lock().push(place);
            });
        }
        for _ in 0..30_000 {
            self.tick()?;
            if finished.lock().len() == live.len() {
                return Ok(());
            }
        }
        Err(Failure::new("healing", "the last reads were not answered within 30 s"))
    }

    /// All copies of every partition hold the same rows.
    fn compare_replicas(&mut self) -> Result<(), Failure> {
        let mut difference = None;
        for _ in 0..20 {
            self.pass(1000)?;
            difference = self.difference();
            if difference.is_none() {
                return Ok(());
            }
        }
        Err(Failure::new("replicas", difference.unwrap_or_default()))
    }

    /// No partition's time has run ahead with one clock alone: it is at most half a second ahead of what the second clock ever showed.
    fn check_time(&self) -> Result<(), Failure> {
        let mut ahead = self.ahead_us.clone();
        ahead.sort_unstable();
        let allowed_us = ahead[ahead.len().saturating_sub(2)] + AHEAD_MAX_US;
        let most_us = machine::now_us().saturating_add_signed(allowed_us);
        for machine in &self.machines {
            let Some(node) = machine.node() else { continue };
            for group in node.groups() {
                let unread = |error| Failure::new("time", format!("group {} cannot be read: {error}", group.id()));
                for copy in node.copies(group.id()).map_err(unread)? {
                    let row = copy.rows.iter().find(|(key, _)| key.ends_with(CLOCK_KEY));
                    let time = row.and_then(|(_, value)| value[..].try_into().ok()).map_or(0, u64::from_be_bytes);
                    if time > most_us {
                        let (place, partition) = (machine.place, copy.partition);
                        let what = format!("{partition:?} on node {place} is {} us too far ahead", time - most_us);
                        return Err(Failure::new("time", what));
                    }
                }
            }
        }
        Ok(())
    }

    fn difference(&self) -> Option<String> {
        let nodes: Vec<_> = self.machines.iter().filter_map(|machine| Some((machine.place, machine.node()?))).collect();
        let groups: std::collections::BTreeSet<GroupId> =
            nodes.iter().flat_map(|(_, node)| node.groups()).map(|group| group.id()).chain([GroupId::META]).collect();
        for (place, node) in &nodes {
            match node.stray_copies() {
                Ok(0) => {}
                Ok(count) => return Some(format!("node {place} has rows of {count} copies without an owner")),
                Err(error) => return Some(format!("node {place} cannot be read: {error}")),
            }
        }
        let mut owners: BTreeMap<recoil_consensus::PartitionRef, GroupId> = BTreeMap::new();
        for group in groups {
            let members = nodes.iter().filter(|(_, node)| node.groups().iter().any(|open| open.id() == group));
            let ownership: Vec<_> = members.map(|(place, node)| (place, node.ownership(group))).collect();
            if let Some(pair) = ownership.windows(2).find(|pair| pair[0].1 != pair[1].1) {
                return Some(format!(
                    "the ownership rows of group {group} differ between nodes {} and {}",
                    pair[0].0, pair[1].0
                ));
            }
            for (partition, row) in ownership.into_iter().next().map(|(_, rows)| rows).unwrap_or_default() {
                if row.phase == recoil_consensus::Phase::Owned
                    && let Some(other) = owners.insert(partition, group)
                {
                    return Some(format!("{partition:?} is owned by the groups {other} and {group}"));
                }
            }
            let holds = |place: usize, node: &recoil_node::Node| match node.copies(group) {
                Ok(copies) if copies.is_empty() => None,
                copies => Some((place, copies)),
            };
            let held: Vec<_> = nodes.iter().filter_map(|(place, node)| holds(*place, node)).collect();
            for pair in held.windows(2) {
                let (Ok(a), Ok(b)) = (&pair[0].1, &pair[1].1) else {
                    return Some(format!("group {group} cannot be read on node {} or {}", pair[0].0, pair[1].0));
                };
                if a.len() != b.len() {
                    return Some(format!(
                        "group {group} has {} partitions on node {} and {} on {}",
                        a.len(),
                        pair[0].0,
                        b.len(),
                        pair[1].0
                    ));
                }
                for (left, right) in a.iter().zip(b) {
                    if left != right {
                        let at = left.rows.iter().zip(&right.rows).find(|(left, right)| left != right);
                        return Some(format!(
                            "{:?} of group {group} differs between node {} ({} rows) and node {} ({} rows): {at:?}",
                            left.partition,
                            pair[0].0,
                            left.rows.len(),
                            pair[1].0,
                            right.rows.len()
                        ));
                    }
                }
            }
        }
        let lacks = (0..self.plan.partitions).find(|number| !owners.keys().any(|owned| owned.partition.0 == *number));
        lacks.map(|number| format!("partition {number} is owned by no group"))
    }
}
