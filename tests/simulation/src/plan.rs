//! What a seed decides before a run begins: the size of the cluster, how it uses its disk, and which faults there are.
//!
//! Two kinds of runs have a subject of their own ([`Focus`]). In runs about *moves*, partitions move all the time, and faults come at
//! the steps of moves. In runs about *members*, nodes are added, drained, decommissioned, lost for good and replaced as well. They
//! take longer in simulated time, since the cluster has to notice that a node is gone, so their clients call less often. Faults
//! that spoil what one replica holds are left out there: the cluster survives the loss of a minority of a group's replicas, and
//! that loss is the nodes that do not come back.

use std::time::Duration;

use recoil_consensus::GroupOptions;
use recoil_storage::LogOptions;

use crate::chance;

/// The kinds of faults. A run has a random subset of them (swarm testing: Groce and others, 2012), since faults hide each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum FaultKind {
    Kill,
    PowerLoss,
    PowerLossInWrite,
    PowerLossOfAll,
    Stop,
    Freeze,
    Sleep,
    Isolate,
    CutOneWay,
    CutPair,
    SlowLink,
    LossyLink,
    WildLink,
    BreakConnection,
    ClockJump,
    WriteError,
    SyncError,
    DiskFull,
    DataError,
    SlowDisk,
    OldCopy,
    LostData,
    Rot,
    /// A leader hands over to whomever.
    HandOver,
}

const ALL: [FaultKind; 24] = [
    FaultKind::Kill,
    FaultKind::PowerLoss,
    FaultKind::PowerLossInWrite,
    FaultKind::PowerLossOfAll,
    FaultKind::Stop,
    FaultKind::Freeze,
    FaultKind::Sleep,
    FaultKind::Isolate,
    FaultKind::CutOneWay,
    FaultKind::CutPair,
    FaultKind::SlowLink,
    FaultKind::LossyLink,
    FaultKind::WildLink,
    FaultKind::BreakConnection,
    FaultKind::ClockJump,
    FaultKind::WriteError,
    FaultKind::SyncError,
    FaultKind::DiskFull,
    FaultKind::DataError,
    FaultKind::SlowDisk,
    FaultKind::OldCopy,
    FaultKind::LostData,
    FaultKind::Rot,
    FaultKind::HandOver,
];

/// What a run is about.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Focus {
    /// The seed decides
    #[default]
    Any,
    /// Partitions move all the time, and faults come at the steps of moves
    Moves,
    /// As `moves`, and nodes are added, drained, decommissioned, lost for good and replaced
    Members,
}

impl Focus {
    /// As the argument is written.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Focus::Any => "any",
            Focus::Moves => "moves",
            Focus::Members => "members",
        }
    }
}

/// See the module's essay.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    /// Nodes that found the cluster.
    pub(crate) nodes: usize,
    /// Machines that stand by, for nodes that are added.
    pub(crate) spares: usize,
    pub(crate) partitions: u32,
    pub(crate) keys: u8,
    pub(crate) clients_a_node: u64,
    /// Calls of all clients together.
    pub(crate) calls: u64,
    /// Milliseconds between two calls of a client.
    pub(crate) pause_ms: u64,
    /// Milliseconds between two faults.
    pub(crate) faults_every_ms: u64,
    pub(crate) faults: Vec<FaultKind>,
    /// Milliseconds between two moves of a partition, if partitions move.
    pub(crate) moves_every_ms: Option<u64>,
    /// How many in a hundred steps of moves meet a fault.
    pub(crate) strikes_percent: u64,
    /// How many in a hundred requests of moves and changes of the cluster arrive after their connection broke.
    pub(crate) strays_percent: u64,
    /// Milliseconds between two changes of the members, if they change.
    pub(crate) members_every_ms: Option<u64>,
    /// Seconds of silence after which a node counts as lost.
    pub(crate) repair_after_s: u32,
    pub(crate) log: LogOptions,
    pub(crate) groups: GroupOptions,
    pub(crate) archive: &'static [u8],
}

impl Plan {
    pub(crate) fn draw(calls: u64, focus: Focus, archive: &'static [u8]) -> Self {
        let drawn = chance::pick(&[Focus::Any, Focus::Any, Focus::Any, Focus::Moves, Focus::Members]);
        let focus = if focus == Focus::Any { drawn } else { focus };
        // With heartbeats about as rare as the lease is long, leases run out between proposals.
        let (heartbeat, lease) = chance::pick(&[(200, 400), (200, 400), (240, 260)]);
        let groups = GroupOptions {
            heartbeat: Duration::from_millis(heartbeat),
            election_max: Duration::from_millis(lease),
            ..GroupOptions::default()
        };
        let log = LogOptions {
            segment_bytes: chance::pick(&[4 << 10, 16 << 10, 64 << 10, 1 << 20]),
            cache_bytes: chance::pick(&[1 << 10, 1 << 20]),
        };
        let plan = Plan {
            nodes: chance::pick(&[3, 3, 3, 3, 3, 3, 3, 4, 5, 1]),
            spares: 0,
            partitions: 8,
            keys: chance::pick(&[2, 4, 8]),
            clients_a_node: chance::within(1..5),
            calls,
            pause_ms: chance::pick(&[5, 50, 200]),
            faults_every_ms: chance::pick(&[300, 1000, 3000]),
            faults: faults(35, &[]),
            moves_every_ms: chance::pick(&[None, Some(50), Some(200), Some(1000)]),
            strikes_percent: chance::pick(&[0, 0, 5]),
            strays_percent: chance::pick(&[0, 0, 5]),
            members_every_ms: None,
            repair_after_s: chance::pick(&[3, 5, 10, 300]),
            log,
            groups,
            archive,
        };
        match focus {
            Focus::Any => plan,
            Focus::Moves => plan.about_moves(),
            Focus::Members => plan.about_moves().about_members(),
        }
    }

    /// With enough nodes that source and target differ, and faults less often, so that moves come to their last steps.
    fn about_moves(self) -> Self {
        Plan {
            nodes: chance::pick(&[3, 4, 4, 5]),
            faults: faults(20, &[]),
            faults_every_ms: chance::pick(&[1000, 3000, 10_000]),
            moves_every_ms: Some(chance::pick(&[20, 50, 200, 1000])),
            strikes_percent: chance::pick(&[1, 3, 10]),
            strays_percent: chance::pick(&[0, 2, 10]),
            pause_ms: chance::pick(&[50, 200]),
            ..self
        }
    }

    fn about_members(self) -> Self {
        Plan {
            nodes: chance::pick(&[3, 3, 4]),
            spares: chance::within(2..4) as usize,
            clients_a_node: chance::within(1..4),
            pause_ms: chance::pick(&[500, 1000, 2000]),
            faults: faults(15, &[FaultKind::OldCopy, FaultKind::LostData, FaultKind::Rot]),
            faults_every_ms: chance::pick(&[3000, 10_000]),
            moves_every_ms: chance::pick(&[None, Some(200), Some(1000)]),
            members_every_ms: Some(chance::pick(&[1000, 3000, 8000])),
            repair_after_s: chance::pick(&[3, 5, 10]),
            ..self
        }
    }

    /// True if members that are gone for good are noticed in the time of a run.
    pub(crate) fn repairs(&self) -> bool {
        self.repair_after_s <= 10
    }

    /// How long the run may take to heal, simulated. A node may have to wait for an address until its last holder counts as dead.
    pub(crate) fn heal_within(&self) -> Duration {
        Duration::from_secs(if self.members_every_ms.is_some() { 120 } else { 60 })
    }

    /// How long it may then take until partitions are where they should be and nothing of what is gone is left, simulated: a dead voter is
    /// replaced after half a minute, and several may have to be, one after the other.
    pub(crate) fn settle_within(&self) -> Duration {
        Duration::from_secs(if self.members_every_ms.is_some() { 240 } else { 60 })
    }
}

/// So many in a hundred of all kinds, at least one.
fn faults(percent: u64, without: &[FaultKind]) -> Vec<FaultKind> {
    let all: Vec<FaultKind> = ALL.iter().copied().filter(|kind| !without.contains(kind)).collect();
    let mut faults: Vec<FaultKind> = all.iter().copied().filter(|_| chance::percent(percent)).collect();
    if faults.is_empty() {
        faults.push(chance::pick(&all));
    }
    faults
}
