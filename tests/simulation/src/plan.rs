//! What a seed decides before a run begins: the size of the cluster, how it uses its disk, and which faults there are.

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

/// See the module's essay.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) nodes: usize,
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
    /// Seconds of silence after which a node counts as lost.
    pub(crate) repair_after_s: u32,
    pub(crate) log: LogOptions,
    pub(crate) groups: GroupOptions,
    pub(crate) archive: &'static [u8],
}

impl Plan {
    pub(crate) fn draw(calls: u64, archive: &'static [u8]) -> Self {
        let nodes = chance::pick(&[3, 3, 3, 3, 3, 3, 3, 4, 5, 1]);
        let mut faults: Vec<FaultKind> = ALL.iter().copied().filter(|_| chance::percent(35)).collect();
        if faults.is_empty() {
            faults.push(chance::pick(&ALL));
        }
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
        Plan {
            nodes,
            partitions: 8,
            keys: chance::pick(&[2, 4, 8]),
            clients_a_node: chance::within(1..5),
            calls,
            pause_ms: chance::pick(&[5, 50, 200]),
            faults_every_ms: chance::pick(&[300, 1000, 3000]),
            faults,
            moves_every_ms: chance::pick(&[None, Some(50), Some(200), Some(1000)]),
            repair_after_s: chance::pick(&[3, 5, 10, 300]),
            log,
            groups,
            archive,
        }
    }

    /// How long the run may take to heal, simulated.
    pub(crate) fn heal_within(&self) -> Duration {
        Duration::from_secs(60)
    }
}
