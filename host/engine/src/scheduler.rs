//! The scheduler role: where partitions should be, of what the cluster has.
//!
//! A plan is a function of its view: every plan has an instance of its own, in which only the log and the settings work; whatever else
//! the contract has refuses, as it does while an instance starts.
//!
//! Invariant: an answer is of the contract's shape and within the app's limits, and nothing more: whether it makes sense is its asker's to see.

use wasmtime::component::{ComponentType, Lift, Lower, TypedFunc};

use crate::call::CallError;
use crate::code::AppCode;
use crate::environment::Environment;
use crate::handler;

/// How much a node takes part.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ComponentType, Lower)]
#[component(enum)]
#[repr(u8)]
pub enum NodeState {
    /// It serves.
    #[component(name = "live")]
    Live,
    /// It serves, and gives up what it has.
    #[component(name = "draining")]
    Draining,
    /// It does not answer.
    #[component(name = "down")]
    Down,
}

/// A node of the cluster.
#[derive(Clone, Debug, PartialEq, ComponentType, Lower)]
#[component(record)]
pub struct Node {
    /// Its member number.
    pub id: u32,
    /// How much it takes part.
    pub state: NodeState,
    /// Where it stands, such as `zone` and `eu-1`.
    pub locality: Vec<(String, String)>,
    /// What it can hold.
    #[component(name = "capacity-bytes")]
    pub capacity_bytes: u64,
    /// What it holds.
    #[component(name = "used-bytes")]
    pub used_bytes: u64,
    /// Processors at work.
    #[component(name = "cpu-load")]
    pub cpu_load: f32,
}

/// What a partition costs.
#[derive(Clone, Copy, Debug, Default, PartialEq, ComponentType, Lower)]
#[component(record)]
pub struct Load {
    /// Reads that it answers.
    #[component(name = "reads-per-second")]
    pub reads_per_second: f32,
    /// Writes that it answers.
    #[component(name = "writes-per-second")]
    pub writes_per_second: f32,
    /// Processors at work for it.
    #[component(name = "cpu-seconds-per-second")]
    pub cpu_seconds_per_second: f32,
    /// What it holds.
    pub bytes: u64,
}

/// A partition, and where it is.
#[derive(Clone, Debug, PartialEq, ComponentType, Lower)]
#[component(record)]
pub struct Partition {
    /// What it is a part of.
    pub keyspace: u32,
    /// Its number in the keyspace.
    pub id: u32,
    /// The nodes that have it, the preferred leader first; none, if it has not been placed yet.
    pub replicas: Vec<u32>,
    /// What it costs.
    pub load: Load,
}

/// What must hold, or is wished, for a keyspace's partitions.
#[derive(Clone, Debug, PartialEq, Eq, ComponentType, Lower)]
#[component(record)]
pub struct Rule {
    /// The keyspace.
    pub keyspace: u32,
    /// Replicas of a partition.
    pub replication: u8,
    /// Localities that every replica must have.
    pub required: Vec<(String, String)>,
    /// Localities of which no two replicas of a partition should have the same.
    #[component(name = "spread-by")]
    pub spread_by: Vec<String>,
    /// Localities that leaders should have.
    #[component(name = "leader-preference")]
    pub leader_preference: Vec<(String, String)>,
}

/// What a plan is made of.
#[derive(Clone, Debug, Default, PartialEq, ComponentType, Lower)]
#[component(record)]
pub struct View {
    /// The cluster's nodes.
    pub nodes: Vec<Node>,
    /// The rules of its keyspaces.
    pub rules: Vec<Rule>,
    /// Their partitions.
    pub partitions: Vec<Partition>,
}

/// Where a partition should be.
#[derive(Clone, Debug, PartialEq, Eq, ComponentType, Lift)]
#[component(record)]
pub struct Placement {
    /// The partition's keyspace.
    pub keyspace: u32,
    /// Its number there.
    pub id: u32,
    /// The nodes that should have it, the preferred leader first.
    pub replicas: Vec<u32>,
    /// Why, for operators.
    pub reason: String,
}

type PlanFunc<'a> = TypedFunc<(&'a View,), (Result<Vec<Placement>, String>,)>;

impl AppCode {
    /// Where the partitions of `view` should be. `Rejected` is what the scheduler says instead, or that there is none; `Failed` tells of a
    /// trap, or of more time or memory than the app may have. Blocks for as long as the app's `call_ms` lets it compute, twice: to start and
    /// to plan.
    pub fn plan(&self, environment: Environment, view: &View) -> Result<Vec<Placement>, CallError> {
        let Some(plan) = &self.exports.plan else {
            let why = "the package exports no recoil:plugin/scheduler: it places no partitions";
            return Err(CallError::Rejected(why.to_owned()));
        };
        let mut store = self.store(environment);
        let plan: PlanFunc<'_> =
            self.start(&mut store, "scheduler", |store, instance| instance.get_typed_func(store, plan))?;
        let answer =
            handler::call(self.engine.ticker(), &mut store, "scheduler", |store| Ok(plan.call(store, (view,))?.0));
        match answer {
            Ok(Ok(placements)) => Ok(placements),
            Ok(Err(why)) => Err(CallError::Rejected(why)),
            Err(why) => Err(CallError::Failed(why)),
        }
    }
}
