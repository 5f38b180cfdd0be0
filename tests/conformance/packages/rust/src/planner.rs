//! A scheduler that puts live replicas first, and whose reasons tell all that the view says.

use std::collections::HashMap;

use recoil_sdk::scheduler::{Load, Node, NodeState, Partition, Placement, Rule, View};
use recoil_sdk::{Error, Scheduler};

use crate::Package;

/// A rule with this replication is an order to go wrong: its keyspace says how.
const REPLICATION_ORDER: u8 = 255;
const REPLICATION_DEFAULT: u8 = 3;

impl Scheduler for Package {
    fn plan(view: &View) -> Result<Vec<Placement>, Error> {
        if view.nodes.is_empty() {
            return Err("no nodes".into());
        }
        if let Some(order) = view.rules.iter().find(|rule| rule.replication == REPLICATION_ORDER) {
            return Err(go_wrong(order.keyspace));
        }
        let planner = Planner::of(view);
        Ok(view.partitions.iter().filter_map(|partition| planner.placement(partition)).collect())
    }
}

fn go_wrong(how: u32) -> Error {
    match how {
        1 => panic!("thrown while planning"),
        2 => loop {
            std::hint::spin_loop();
        },
        _ => Error::new(format!("there is no order {how}")),
    }
}

/// A view in which nodes and rules are found.
struct Planner<'a> {
    nodes: HashMap<u32, &'a Node>,
    rules: HashMap<u32, &'a Rule>,
    live: Vec<u32>,
}

impl<'a> Planner<'a> {
    fn of(view: &'a View) -> Self {
        // Backwards, so that the first of a keyspace stays.
        let rules = view.rules.iter().rev().map(|rule| (rule.keyspace, rule)).collect();
        let nodes = view.nodes.iter().map(|node| (node.id, node)).collect();
        let live = view.nodes.iter().filter(|node| node.state == NodeState::Live).map(|node| node.id).collect();
        Planner { nodes, rules, live }
    }

    /// None for a partition that is where it should be.
    fn placement(&self, partition: &Partition) -> Option<Placement> {
        let replicas = self.wanted(partition);
        if !partition.replicas.is_empty() && replicas == partition.replicas {
            return None;
        }
        let first = partition.replicas.first().or(replicas.first())?;
        let reason = format!("{}; {}; {}", self.node(*first), self.rule(partition.keyspace), shown(&partition.load));
        Some(Placement { keyspace: partition.keyspace, id: partition.id, replicas, reason })
    }

    fn wanted(&self, partition: &Partition) -> Vec<u32> {
        if partition.replicas.is_empty() {
            let replication = self.rules.get(&partition.keyspace).map_or(REPLICATION_DEFAULT, |rule| rule.replication);
            let (before, from) = self.live.split_at(partition.id as usize % self.live.len().max(1));
            return from.iter().chain(before).copied().take(replication.into()).collect();
        }
        let is_live = |id: &u32| self.nodes.get(id).is_some_and(|node| node.state == NodeState::Live);
        let (live, behind): (Vec<u32>, Vec<u32>) = partition.replicas.iter().partition(|id| is_live(id));
        [live, behind].concat()
    }

    fn node(&self, id: u32) -> String {
        let Some(node) = self.nodes.get(&id) else { return format!("node {id} unknown") };
        let state = match node.state {
            NodeState::Live => "live",
            NodeState::Draining => "draining",
            NodeState::Down => "down",
        };
        let (locality, cpu) = (labels(&node.locality), thousandths(node.cpu_load));
        format!("node {id} {state} {locality} {}/{} {cpu}", node.used_bytes, node.capacity_bytes)
    }

    fn rule(&self, keyspace: u32) -> String {
        let Some(rule) = self.rules.get(&keyspace) else { return "rule none".to_owned() };
        let (required, preference) = (labels(&rule.required), labels(&rule.leader_preference));
        format!("rule {} {required} {} {preference}", rule.replication, joined(&rule.spread_by))
    }
}

fn shown(load: &Load) -> String {
    let rates = [load.reads_per_second, load.writes_per_second, load.cpu_seconds_per_second];
    let [reads, writes, cpu] = rates.map(thousandths);
    format!("load {reads} {writes} {cpu} {}", load.bytes)
}

fn labels(labels: &[(String, String)]) -> String {
    joined(&labels.iter().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>())
}

fn joined(texts: &[String]) -> String {
    if texts.is_empty() { "-".to_owned() } else { texts.join(",") }
}

fn thousandths(value: f32) -> u64 {
    (f64::from(value) * 1000.0) as u64
}
