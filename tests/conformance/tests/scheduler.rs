//! Every language's scheduler, alone in an engine: what it is shown, what it answers, and how it ends when it goes wrong.
//!
//! `cargo test -p recoil-conformance --test scheduler -- go loop` chooses as `languages` does.
//!
//! A package's reasons tell what it was shown, so that [`planned`], which has the same rules (`PROTOCOL.md`), can say what every plan is.

use std::collections::HashMap;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use recoil_base::{Clock, Digest};
use recoil_conformance::{Language, suite};
use recoil_engine::scheduler::{Load, Node, NodeState, Partition, Placement, Rule, View};
use recoil_engine::{AppCode, AppLog, AppLogOptions, CallError, Engine, EngineOptions, Environment, Limits};

/// A rule with this replication is an order.
const ORDER: u8 = 255;
/// Replicas of a keyspace without a rule.
const REPLICATION_DEFAULT: u8 = 3;
/// What a scheduler that never ends may compute.
const CALL_MS: u32 = 300;
/// What a plan may compute otherwise: slow interpreters take more than a second of the default for ten thousand partitions.
const PLAN_MS_MAX: u32 = 10_000;
const PLANS_IN_A_ROW: usize = 20;

type Outcome = Result<(), String>;
type Case = (&'static str, fn(&Package) -> Outcome);

const CASES: &[Case] = &[
    ("a view of everything", a_view_of_everything),
    ("a view without partitions", a_view_without_partitions),
    ("partitions that were never placed", partitions_that_were_never_placed),
    ("no nodes", no_nodes),
    ("an exception", an_exception),
    ("a loop without end", a_loop_without_end),
    ("storage is refused", storage_is_refused),
    ("ten thousand partitions", ten_thousand_partitions),
    ("many plans in a row", many_plans_in_a_row),
];

fn main() -> ExitCode {
    let engine = Engine::new(EngineOptions::default()).map_err(|error| error.to_string());
    let cases = engine.as_ref().map(|_| CASES.to_vec()).map_err(String::clone);
    suite::run(
        cases,
        |(name, _)| name,
        |language, file, cases| {
            let package = Package::load(engine.as_ref().map_err(String::clone)?, language, file)?;
            Ok(cases.iter().map(|(name, case)| suite::timed(language, name, || case(&package))).collect())
        },
    )
}

/// A language's package, loaded.
struct Package {
    code: Arc<AppCode>,
}

impl Package {
    fn load(engine: &Arc<Engine>, language: &Language, file: &Path) -> Result<Self, String> {
        let archive = std::fs::read(file).map_err(|error| format!("{}: {error}", file.display()))?;
        let manifest = recoil_package::read(&archive).map_err(|error| error.to_string())?;
        let code = engine.load(Digest::of(&archive), &archive, &manifest.permissions);
        let code = code.map_err(|error| error.to_string())?;
        match code.roles().scheduler {
            true => Ok(Package { code }),
            false => Err(format!("{} exports no recoil:plugin/scheduler", language.package())),
        }
    }

    /// A plan, and what the app's log has of it.
    fn plan(&self, view: &View, call_ms_max: u32) -> (Result<Vec<Placement>, CallError>, String) {
        let log = AppLog::new(Clock::system(), AppLogOptions::default());
        let limits = Limits { call_ms_max, ..Limits::default() };
        let environment = Environment { app: "planner".into(), log: log.clone(), limits, settings: Default::default() };
        let plan = self.code.plan(environment, view);
        let lines: Vec<String> = log.since(0, 1000).0.into_iter().map(|line| line.message.to_string()).collect();
        (plan, lines.join("\n"))
    }

    /// Plans as the rules say, or the first difference.
    fn plans_well(&self, view: &View) -> Outcome {
        let (plan, log) = self.plan(view, PLAN_MS_MAX);
        let plan = plan.map_err(|error| format!("{error:?}; its log: {log}"))?;
        let expected = planned(view);
        for (at, placement) in expected.iter().enumerate() {
            match plan.get(at) {
                Some(found) if found == placement => {}
                found => return Err(format!("placement {at} is {found:?}, not {placement:?}")),
            }
        }
        match plan.get(expected.len()) {
            None => Ok(()),
            Some(found) => Err(format!("there is a placement more: {found:?}")),
        }
    }

    /// What it says of an order instead of a plan.
    fn ordered(&self, order: u32, call_ms_max: u32) -> Result<(CallError, String), String> {
        let mut view = everything();
        view.rules.insert(1, rule(order, ORDER));
        match self.plan(&view, call_ms_max) {
            (Err(error), log) => Ok((error, log)),
            (Ok(plan), _) => Err(format!("it plans {} placements", plan.len())),
        }
    }
}

fn a_view_of_everything(package: &Package) -> Outcome {
    package.plans_well(&everything())
}

fn a_view_without_partitions(package: &Package) -> Outcome {
    package.plans_well(&View { partitions: vec![], ..everything() })?;
    package.plans_well(&View { nodes: everything().nodes, ..View::default() })
}

/// As the host asks when a cluster is new.
fn partitions_that_were_never_placed(package: &Package) -> Outcome {
    for nodes in 1..6 {
        let nodes = (1..=nodes).map(|id| node(id, NodeState::Live)).collect();
        let partitions = (0..64).map(|id| partition(1, id, &[])).collect();
        package.plans_well(&View { nodes, rules: vec![rule(1, 3)], partitions })?;
    }
    Ok(())
}

fn no_nodes(package: &Package) -> Outcome {
    let expected = Err(CallError::Rejected("no nodes".to_owned()));
    match package.plan(&View { nodes: vec![], ..everything() }, PLAN_MS_MAX).0 {
        plan if plan == expected => Ok(()),
        plan => Err(format!("{plan:?} instead of {expected:?}")),
    }
}

fn an_exception(package: &Package) -> Outcome {
    match package.ordered(1, PLAN_MS_MAX)? {
        (CallError::Failed(text) | CallError::Rejected(text), log)
            if [&text, &log].iter().any(|said| said.contains("thrown while planning")) =>
        {
            package.plans_well(&everything())
        }
        (error, log) => Err(format!("{error:?}; its log: {log}")),
    }
}

fn a_loop_without_end(package: &Package) -> Outcome {
    match package.ordered(2, CALL_MS)? {
        (CallError::Failed(text), _) if text.contains(&format!("ran longer than {CALL_MS} ms (limit call_ms")) => {
            package.plans_well(&everything())
        }
        (error, log) => Err(format!("{error:?}; its log: {log}")),
    }
}

/// By the host, or by an SDK in which it cannot be written.
fn storage_is_refused(package: &Package) -> Outcome {
    match package.ordered(3, PLAN_MS_MAX)? {
        (CallError::Failed(text) | CallError::Rejected(text), _)
            if text.contains("not while an instance starts or plans") || text.contains("no order 3") =>
        {
            Ok(())
        }
        (error, log) => Err(format!("{error:?}; its log: {log}")),
    }
}

fn ten_thousand_partitions(package: &Package) -> Outcome {
    let states = [NodeState::Live, NodeState::Live, NodeState::Draining, NodeState::Live, NodeState::Down];
    let nodes = (0..100).map(|at| node(at * 7 + 1, states[at as usize % states.len()])).collect();
    let keyspaces = 1..=10;
    let partitions = (0..10_000).map(|id| {
        let at = |step: u32| (id + step) % 101 * 7 + 1; // of which one is no node
        match id % 4 {
            0 => partition(id % 11 + 1, id, &[]),
            1 => partition(id % 11 + 1, id, &[at(0)]),
            _ => partition(id % 11 + 1, id, &[at(0), at(1), at(2)]),
        }
    });
    let rules = keyspaces.map(|keyspace| rule(keyspace, 3 + keyspace as u8)).collect();
    package.plans_well(&View { nodes, rules, partitions: partitions.collect() })
}

fn many_plans_in_a_row(package: &Package) -> Outcome {
    for _ in 0..PLANS_IN_A_ROW {
        package.plans_well(&everything())?;
    }
    match package.code.memory_bytes() {
        0 => Ok(()),
        bytes => Err(format!("{bytes} bytes stay behind")),
    }
}

fn pairs(of: &[(&str, &str)]) -> Vec<(String, String)> {
    of.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

fn node(id: u32, state: NodeState) -> Node {
    let (locality, cpu_load) = (pairs(&[("zone", ["a", "b", "c"][id as usize % 3])]), f32::from(id as u16) / 8.0);
    Node { id, state, locality, capacity_bytes: 1 << 40, used_bytes: u64::from(id) << 20, cpu_load }
}

fn rule(keyspace: u32, replication: u8) -> Rule {
    let (required, spread_by) = (pairs(&[("disk", "ssd")]), vec!["zone".to_owned()]);
    Rule { keyspace, replication, required, spread_by, leader_preference: vec![] }
}

fn partition(keyspace: u32, id: u32, replicas: &[u32]) -> Partition {
    let load = Load {
        reads_per_second: (id % 8000) as f32 / 4.0,
        writes_per_second: 0.5,
        cpu_seconds_per_second: 0.125,
        bytes: u64::from(id) << 20,
    };
    Partition { keyspace, id, replicas: replicas.to_vec(), load }
}

/// Something of all that a view can have, with the largest numbers that the contract allows: below 2^31 and below 2^53.
fn everything() -> View {
    const LAST: u32 = i32::MAX as u32;
    let nodes = vec![
        Node {
            locality: pairs(&[("région", "Zürich-東京"), ("rack", ""), ("", "🦀"), ("zone", "a b;c\n\0d")]),
            capacity_bytes: (1 << 53) - 1,
            used_bytes: (1 << 52) + 1,
            cpu_load: 1536.5,
            ..node(7, NodeState::Live)
        },
        Node { locality: vec![], capacity_bytes: (1 << 53) - 2, used_bytes: 1 << 52, ..node(2, NodeState::Down) },
        Node { cpu_load: 0.0, capacity_bytes: 0, used_bytes: 0, ..node(0, NodeState::Draining) },
        Node { cpu_load: 0.125, ..node(LAST, NodeState::Live) },
        Node { locality: pairs(&[("zone", &"long ".repeat(2000))]), ..node(4, NodeState::Live) },
    ];
    let rules = vec![
        Rule {
            required: pairs(&[("disk", "ssd"), ("région", "Zürich-東京")]),
            spread_by: vec!["zone".to_owned(), "rack".to_owned(), "région".to_owned()],
            leader_preference: pairs(&[("zone", "a"), ("zone", "b")]),
            ..rule(1, 3)
        },
        Rule { required: vec![], spread_by: vec![], ..rule(2, 1) },
        Rule { leader_preference: pairs(&[("", "")]), ..rule(LAST, 254) },
        rule(1, 2), // behind another of its keyspace
    ];
    let load = |reads_per_second, writes_per_second, cpu_seconds_per_second, bytes| Load {
        reads_per_second,
        writes_per_second,
        cpu_seconds_per_second,
        bytes,
    };
    let partitions = vec![
        Partition { load: load(0.125, 1536.5, 16_000.25, (1 << 53) - 1), ..partition(1, 0, &[7, 4]) },
        Partition { load: load(0.0, 0.0, 0.0, 0), ..partition(1, 1, &[2, 7, LAST]) },
        Partition { load: load(3.375, 0.25, 2.0, (1 << 52) + 1), ..partition(1, LAST, &[]) },
        Partition { load: load(16_777.0, 8.0, 0.5, (1 << 53) - 2), ..partition(2, 1, &[0, 2, 99, 4, 7]) },
        partition(2, 5, &[]),
        partition(2, 6, &[2]),
        partition(3, 2, &[]),
        partition(3, 3, &[99, 98, 4]),
        partition(LAST, 8, &[]),
        partition(LAST, LAST, &[0, LAST]),
        partition(1, 2, &[7, LAST, 4]),
        partition(3, 100, &[98, 99]),
    ];
    View { nodes, rules, partitions }
}

/// The plan of `PROTOCOL.md`.
fn planned(view: &View) -> Vec<Placement> {
    let (mut nodes, mut rules) = (HashMap::new(), HashMap::new());
    for node in &view.nodes {
        nodes.entry(node.id).or_insert(node);
    }
    for rule in &view.rules {
        rules.entry(rule.keyspace).or_insert(rule);
    }
    let is_live = |id: &u32| nodes.get(id).is_some_and(|node| node.state == NodeState::Live);
    let live: Vec<u32> = view.nodes.iter().map(|node| node.id).filter(is_live).collect();
    let mut plan = Vec::new();
    for partition in &view.partitions {
        let rule = rules.get(&partition.keyspace).copied();
        let replicas = if partition.replicas.is_empty() {
            let replication = usize::from(rule.map_or(REPLICATION_DEFAULT, |rule| rule.replication));
            let round = live.iter().cycle().skip(partition.id as usize % live.len());
            round.take(replication.min(live.len())).copied().collect()
        } else {
            let (mut first, behind): (Vec<u32>, Vec<u32>) = partition.replicas.iter().partition(|id| is_live(id));
            first.extend(behind);
            first
        };
        if partition.replicas.is_empty() || replicas != partition.replicas {
            let first = *partition.replicas.first().or(replicas.first()).expect("a node is live");
            let node = shown_node(first, nodes.get(&first).copied());
            let reason = format!("{node}; {}; {}", shown_rule(rule), shown_load(&partition.load));
            plan.push(Placement { keyspace: partition.keyspace, id: partition.id, replicas, reason });
        }
    }
    plan
}

fn shown_node(id: u32, node: Option<&Node>) -> String {
    let Some(node) = node else { return format!("node {id} unknown") };
    let state = match node.state {
        NodeState::Live => "live",
        NodeState::Draining => "draining",
        NodeState::Down => "down",
    };
    let (locality, cpu) = (shown_pairs(&node.locality), thousandths(node.cpu_load));
    format!("node {id} {state} {locality} {}/{} {cpu}", node.used_bytes, node.capacity_bytes)
}

fn shown_rule(rule: Option<&Rule>) -> String {
    let Some(rule) = rule else { return "rule none".to_owned() };
    let (required, preference) = (shown_pairs(&rule.required), shown_pairs(&rule.leader_preference));
    format!("rule {} {required} {} {preference}", rule.replication, joined(&rule.spread_by))
}

fn shown_load(load: &Load) -> String {
    let [reads, writes, cpu] =
        [load.reads_per_second, load.writes_per_second, load.cpu_seconds_per_second].map(thousandths);
    format!("load {reads} {writes} {cpu} {}", load.bytes)
}

fn shown_pairs(pairs: &[(String, String)]) -> String {
    joined(&pairs.iter().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>())
}

fn joined(texts: &[String]) -> String {
    if texts.is_empty() { "-".to_owned() } else { texts.join(",") }
}

fn thousandths(value: f32) -> u64 {
    (f64::from(value) * 1000.0) as u64
}
