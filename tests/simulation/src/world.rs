//! The world: machines, a network between them, clients on them, and faults; one millisecond after the other.
//!
//! A run has four parts. The cluster is founded and the package installed, undisturbed. Clients call while faults come. Everything is
//! healed, and the cluster must serve every key on every node within a bounded time. Then the history and the replicas are
//! checked. Nothing in a run depends on anything but its seed and its number of calls.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use parking_lot::Mutex;
use recoil_base::NodeId;
use recoil_cluster::MetaState;
use recoil_cluster::meta::ClusterChange;
use recoil_node::Shared;

use crate::clients::Load;
use crate::guest::{Ask, Key};
use crate::history::{Kind, Outcome};
use crate::machine::{End, Machine};
use crate::nemesis::Nemesis;
use crate::network::Net;
use crate::plan::Plan;
use crate::trace::{self, note};
use crate::{chance, checks, guest};

/// How long founding and installing may take, simulated milliseconds.
const SETUP_MS: u64 = 60_000;
/// The longest time with load and faults.
const LOAD_MS: u64 = 120_000;
/// From the last call to the last answer: the router's deadline and more.
const DRAIN_MS: u64 = 15_000;

/// Between two looks at whether the cluster is at rest.
const SETTLED_EVERY_MS: u64 = 100;
/// Nodes that a joining one is told of.
const SEEDS: usize = 2;

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
    /// Machines that have not been used yet.
    pub(crate) spare: Vec<bool>,
    /// Machines whose node somebody has asked to decommission.
    pub(crate) sent_away: Vec<bool>,
    /// The node on each machine, once it has booted.
    pub(crate) ids: Vec<Option<NodeId>>,
}

impl World {
    pub(crate) fn new(plan: Plan, folder: &Path, shared: Arc<Shared>) -> Self {
        let all = plan.nodes + plan.spares;
        let addresses: Vec<SocketAddr> =
            (0..all).map(|place| SocketAddr::from(([10, 0, 0, place as u8 + 1], 7000))).collect();
        let machine = |(place, address): (usize, &SocketAddr)| {
            Machine::new(place, *address, folder.join(format!("node-{place}")))
        };
        let machines = addresses.iter().enumerate().map(machine).collect();
        let load = Load::new(plan.calls, plan.keys, plan.pause_ms);
        let net = Net::new(addresses.clone());
        World {
            net,
            machines,
            shared,
            addresses,
            load,
            served: vec![false; all],
            clients: false,
            ahead_us: vec![0; all],
            lost: vec![false; all],
            spare: (0..all).map(|place| place >= plan.nodes).collect(),
            sent_away: vec![false; all],
            ids: vec![None; all],
            plan,
        }
    }

    /// Runs to the end.
    pub(crate) fn run(&mut self) -> Result<Summary, Failure> {
        self.set_up()?;
        let mut nemesis = Nemesis::new(&self.plan);
        self.net.set_strays(self.plan.strays_percent);
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
        self.wait_to_settle(&mut nemesis)?;
        note!("at rest after {} ms", trace::now_ms() - healing);
        self.read_all()?;
        self.load.history.lock().check().map_err(|what| Failure::new("history", what))?;
        self.compare_replicas()?;
        checks::time(self)?;
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
            self.ids[place] = self.net.node_at(place).or(self.ids[place]);
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
        let others = (0..self.machines.len()).filter(|other| *other != place && self.ids[*other].is_some());
        let join = others.filter(|other| self.takes_part(*other)).map(|other| self.addresses[other]).take(SEEDS);
        let join = join.collect();
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

    /// False of a node that has yet to join, as the others see it.
    fn is_member(&self, place: usize) -> bool {
        let Some((_, state)) = self.newest_state() else { return true };
        self.ids[place].is_some_and(|node| state.members.contains_key(&node))
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
        let live: Vec<usize> = (0..self.machines.len()).filter(|place| self.takes_part(*place)).collect();
        let served: Arc<Mutex<Vec<usize>>> = Arc::default();
        let mut asked = vec![false; self.machines.len()];
        while served.lock().len() < live.len() {
            if trace::now_ms() > deadline {
                return Err(Failure::new("healing", format!("these nodes do not serve: {missing:?}")));
            }
            self.tick()?;
            for place in &live {
                if self.bury_removed(*place) {
                    return self.wait_for_service(nemesis);
                }
                let ended = self.machines[*place].life.lock().ended.clone();
                if let Some(why) = ended {
                    if !self.is_member(*place) {
                        note!("node {place}  ended before it was a member: {why}");
                        self.end(*place, End::Killed);
                        self.boot(*place);
                        continue;
                    }
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

    /// The cluster comes to rest: every move ends, and nothing is left of members that are gone.
    fn wait_to_settle(&mut self, nemesis: &mut Nemesis) -> Result<(), Failure> {
        let deadline = trace::now_ms() + self.plan.settle_within().as_millis() as u64;
        loop {
            for place in 0..self.machines.len() {
                self.bury_removed(place);
            }
            let Some(what) = checks::unsettled(self) else { return Ok(()) };
            if trace::now_ms() > deadline {
                return Err(Failure::new("rest", what));
            }
            for _ in 0..SETTLED_EVERY_MS {
                self.tick()?;
                nemesis.watch(self)?;
            }
        }
    }

    /// The last read of every key, from every node.
    fn read_all(&mut self) -> Result<(), Failure> {
        let live: Vec<usize> = (0..self.machines.len()).filter(|place| self.takes_part(*place)).collect();
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
            let is_done = |place: &usize| finished.lock().contains(place);
            if live.iter().all(|place| is_done(place) || self.bury_removed(*place)) {
                return Ok(());
            }
        }
        Err(Failure::new("healing", "the last reads were not answered within 30 s"))
    }

    /// Every node holds what it should.
    fn compare_replicas(&mut self) -> Result<(), Failure> {
        let mut difference = None;
        for _ in 0..20 {
            self.pass(1000)?;
            difference = checks::difference(self);
            if difference.is_none() {
                return Ok(());
            }
        }
        Err(Failure::new("replicas", difference.unwrap_or_default()))
    }

    /// The furthest that each machine's clock has ever been ahead of true time, microseconds, of machines that ever ran.
    pub(crate) fn ahead_us(&self) -> Vec<i64> {
        let ran = |place: &usize| self.machines[*place].boots > 0;
        (0..self.machines.len()).filter(ran).map(|place| self.ahead_us[place]).collect()
    }

    /// The newest state of the cluster that a running node has applied, and the place of that node.
    pub(crate) fn newest_state(&self) -> Option<(usize, Arc<MetaState>)> {
        let states = self.machines.iter().filter_map(|machine| Some((machine.place, machine.node()?.state())));
        states.max_by_key(|(_, state)| state.header.index)
    }

    /// The members that no machine is any more, nor ever will be.
    pub(crate) fn gone(&self, state: &MetaState) -> BTreeSet<NodeId> {
        let is_present = |node: NodeId| {
            (0..self.machines.len()).any(|place| self.takes_part(place) && self.ids[place] == Some(node))
        };
        checks::gone(state, is_present)
    }

    /// True of a machine that runs, or will run again.
    pub(crate) fn takes_part(&self, place: usize) -> bool {
        !self.lost[place] && !self.spare[place]
    }

    /// A node that was decommissioned and has been removed from the cluster ends for good; true if this one is such a node.
    pub(crate) fn bury_removed(&mut self, place: usize) -> bool {
        if !self.takes_part(place) || !self.sent_away[place] {
            return false;
        }
        let is_told = self.net.is_removed(place, self.machines[place].boots);
        let ended = self.machines[place].life.lock().ended.clone();
        if !is_told && !ended.is_some_and(|why| why.contains("was removed from")) {
            return false;
        }
        note!("node {place}  was removed from the cluster");
        self.end(place, End::Killed);
        self.lost[place] = true;
        true
    }
}
