//! Making the partition map: by the scheduler of a package, if the node was given one and its answer can be used, else by the built-in one.
//!
//! Invariant: whatever the package does, a map is made, in the time of two calls. Deliberately absent: asking it again.
//! In a cluster whose map it has made, partitions are moved to replace lost replicas, and not to even out loads, until an operator says so.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use recoil_base::{Clock, Digest, NodeId, task};
use recoil_cluster::meta::{Locality, Rules};
use recoil_cluster::placement::{self, Candidate, Map};
use recoil_cluster::{MetaState, plan};
use recoil_engine::scheduler::Placement;
use recoil_engine::{AppCode, AppLog, Environment, LogLevel, LogLine, Settings};
use recoil_package::Manifest;

use crate::apps::{self, check_limits};
use crate::node::{NodeError, Parts, Shared};

/// Lines of a scheduler's log, and replica sets with a reason, that go to the node's log.
const LINES_SHOWN: usize = 20;
/// Characters of what a scheduler says that are shown at a time.
const CHARS_SHOWN: usize = 300;

/// A package whose scheduler makes the partition map.
#[derive(Clone)]
pub(crate) struct Scheduler {
    code: Arc<AppCode>,
    manifest: Arc<Manifest>,
}

/// Loads the package in a file, which has a scheduler.
pub(crate) async fn load(shared: &Arc<Shared>, file: &Path) -> Result<Scheduler, NodeError> {
    let (shared, path) = (shared.clone(), file.to_owned());
    let loaded = task::spawn_blocking(move || load_now(&shared, &path)).await;
    let loaded = loaded.unwrap_or_else(|error| Err(error.to_string()));
    loaded.map_err(|why| NodeError::Scheduler { file: file.to_owned(), why })
}

fn load_now(shared: &Shared, file: &Path) -> Result<Scheduler, String> {
    let archive = std::fs::read(file).map_err(|error| error.to_string())?;
    let manifest = recoil_package::read(&archive).map_err(|error| error.to_string())?;
    let code = shared.engine().load(Digest::of(&archive), &archive, &manifest.permissions);
    let code = code.map_err(|error| error.to_string())?;
    if !code.roles().scheduler {
        return Err(format!("{} {} does not export recoil:plugin/scheduler", manifest.name, manifest.version));
    }
    check_limits(&manifest.limits)?;
    Ok(Scheduler { code, manifest: Arc::new(manifest) })
}

impl Scheduler {
    /// The package's name and version.
    fn name(&self) -> String {
        format!("{} {}", self.manifest.name, self.manifest.version)
    }

    /// A plan for a new cluster, checked, with the answer that it was made of. Blocks.
    fn plan(
        &self,
        clock: Clock,
        nodes: &BTreeMap<u32, (NodeId, Locality)>,
        partitions: u32,
        replication: u32,
    ) -> Result<(Map, Vec<Placement>), String> {
        let limits = apps::limits(&self.manifest.limits);
        let log = AppLog::new(clock, limits.log());
        let settings = Settings::default();
        settings.replace(apps::settings_in_force(&self.manifest, &BTreeMap::new()));
        let environment = Environment { app: self.manifest.name.as_str().into(), log: log.clone(), limits, settings };
        let localities = nodes.iter().map(|(number, (_, locality))| (*number, locality.clone())).collect();
        let ids = nodes.iter().map(|(number, (node, _))| (*number, *node)).collect();
        let answer = self.code.plan(environment, &plan::view(&localities, partitions, replication));
        self.show_log(&log);
        let answer = answer.map_err(|error| cut(&error.to_string()))?;
        let map = plan::map(&ids, partitions, replication, &answer)?;
        Ok((map, answer))
    }

    /// It is no app, so nobody could ask for its log.
    fn show_log(&self, log: &AppLog) {
        let scheduler = self.name();
        let (lines, _) = log.since(0, LINES_SHOWN);
        for LogLine { level, message, .. } in lines {
            // As a field, which is quoted: what a guest says must not pass for lines of the node.
            let line = cut(&message);
            match level {
                LogLevel::Error | LogLevel::Warn => tracing::warn!(scheduler, line, "the scheduler says"),
                LogLevel::Info => tracing::info!(scheduler, line, "the scheduler says"),
                LogLevel::Debug | LogLevel::Trace => tracing::debug!(scheduler, line, "the scheduler says"),
            }
        }
    }
}

/// Where the partitions of a new cluster live, on these nodes, and whether the scheduler says so.
pub(crate) async fn make_map(
    parts: &Parts,
    state: &MetaState,
    nodes: &[NodeId],
    scheduler: Option<&Scheduler>,
) -> (Map, bool) {
    if let Some(scheduler) = scheduler.cloned() {
        let name = scheduler.name();
        let numbered = |node: &NodeId| {
            let member = state.members.get(node)?;
            Some((member.number, (*node, member.locality.clone())))
        };
        let numbers: BTreeMap<u32, (NodeId, Locality)> = nodes.iter().filter_map(numbered).collect();
        let (clock, partitions, replication) = (parts.clock.clone(), state.header.partitions, state.header.replication);
        let planned = task::spawn_blocking(move || scheduler.plan(clock, &numbers, partitions, replication)).await;
        match planned.unwrap_or_else(|error| Err(error.to_string())) {
            Ok((map, answer)) => {
                show(&name, &map, &answer);
                return (map, true);
            }
            Err(why) => {
                tracing::warn!(
                    scheduler = name,
                    why,
                    "the scheduler's answer cannot be used: the built-in one places the partitions"
                );
            }
        }
    }
    let candidate = |node: &NodeId| {
        let member = state.members.get(node)?;
        let zone = Rules::default().zone_of(&member.locality);
        Some(Candidate { zone, ..Candidate::of(*node, member.capacity) })
    };
    let candidates: Vec<Candidate> = nodes.iter().filter_map(candidate).collect();
    (placement::place(&candidates, state.header.partitions, state.header.replication), false)
}

/// Tells operators of each replica set why one partition is there.
fn show(scheduler: &str, map: &Map, answer: &[Placement]) {
    tracing::info!(
        scheduler,
        sets = map.sets.len(),
        partitions = map.partitions.len(),
        "a scheduler places the partitions"
    );
    let mut shown = BTreeSet::new();
    for placement in answer {
        let set = map.partitions[placement.id as usize];
        if shown.len() < LINES_SHOWN && shown.insert(set) {
            let nodes = map.sets[set as usize].iter().map(NodeId::to_string).collect::<Vec<_>>().join(" ");
            let reason = cut(&placement.reason);
            tracing::info!(scheduler, partition = placement.id, nodes, reason, "placed");
        }
    }
}

fn cut(text: &str) -> String {
    match text.char_indices().nth(CHARS_SHOWN) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}
