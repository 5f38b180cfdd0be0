//! Bringing back the data of a replica that has lost them while its log, and so its promises, are there.
//!
//! A log is purged on the strength of data that were made durable before. If those data are gone all the same (a lost folder, a disk
//! that lied), what the log still holds continues nothing, and only another replica can bring back the rest. So, before
//! Raft is opened on it, such a replica *pulls* a snapshot from any replica that has applied at least what was purged here:
//! whatever a replica has applied is committed and never changes. It loads as any snapshot does, under fresh copies, and is
//! installed in one batch that is made durable. What follows is what follows a start with any other data: the log is kept where it
//! continues them, and the vote always.
//!
//! Until then the group is not open here: the replica neither votes nor acknowledges, and answers nobody. If no replica can
//! serve it now, it goes on asking, and says so.
//!
//! Crash points: before the switch the data are lost as before, and the next start pulls again; after it they are not.
//!
//! Deliberately absent: who might have the data. Every node that the [`Transport`](crate::Transport) knows is asked.

mod pulls;

use std::io;
use std::time::Duration;

use bytes::Bytes;
use recoil_base::{DecodeError, GroupId, NodeId, random};
use recoil_storage::{DataError, GroupLog};
use serde::Serialize;
use tokio::time::Instant;

use crate::group::{GroupContext, OpenError};
use crate::local::group_key;
use crate::machine::{Core, GroupRow, Leftovers, MachineKind};
use crate::messages::{self, NUMBER_MAX};
use crate::network::{CHUNK_TIMEOUT, PULL_BEGIN, PULL_NEXT, TransportError};
use crate::snapshot::{Contents, LoadError, Loading};

pub(crate) use pulls::{PullBegin, PullNext, PullPartition, Pulls};

/// Between two rounds of asking everybody.
const ROUND_PAUSE: Duration = Duration::from_millis(500);
/// How often a replica that finds nobody says so.
const COMPLAIN_EVERY: Duration = Duration::from_secs(10);
/// A chunk is asked for so many times before the next node is asked for everything.
pub(crate) const CHUNK_ATTEMPTS: u32 = 20;
pub(crate) const CHUNK_PAUSE: Duration = Duration::from_millis(250);

/// What the data of a replica lack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LostData {
    /// Whose.
    pub group: GroupId,
    /// The log begins after this index.
    pub purged: u64,
    /// The data end here.
    pub applied: u64,
}

impl LostData {
    /// Compares log and data.
    pub(crate) fn between(group: GroupId, log: &GroupLog, applied: Option<u64>) -> Option<Self> {
        // A log can be purged up to index 0, the membership it began with.
        let (purged, _) = log.purged()?;
        let lost = applied.is_none_or(|applied| applied < purged);
        lost.then(|| LostData { group, purged, applied: applied.unwrap_or(0) })
    }

    /// What this node's replica lacks, if anything. Asked before the group is opened.
    pub async fn of(context: &GroupContext, group: GroupId) -> Result<Option<Self>, OpenError> {
        let io = |source| OpenError::Io { group, source };
        let (data, log) = (context.data.clone(), context.log.group(group));
        let read = context.applier.run(move || -> io::Result<_> {
            let row = data.get(&group_key(group)).map_err(io::Error::other)?;
            let applied = row.map(|row| GroupRow::decode(&row)).transpose()?.and_then(|row| row.applied);
            Ok(LostData::between(group, &log, applied.map(|id| id.index)))
        });
        read.await.map_err(io)?.map_err(io)
    }

    /// Brings the data back from whoever has them, however long that takes. Refused if no other node is known: then nobody has.
    pub async fn repair(self, context: &GroupContext) -> Result<(), OpenError> {
        let LostData { group, purged, applied } = self;
        tracing::warn!(%group, purged, applied, "the data of this replica are lost, its log is not; other nodes are asked for them");
        // One number for all attempts, so that a node that is asked again drops what it held ready before.
        let pull = u64::from_le_bytes(random::array()) % NUMBER_MAX;
        let mut told: Option<Instant> = None;
        loop {
            let nodes = context.transport.known();
            if nodes.is_empty() {
                return Err(OpenError::DataLost { group, purged, applied });
            }
            let mut reasons = Vec::new();
            for node in nodes {
                match (Puller { context, lost: self, node, pull }).run().await {
                    Ok(applied) => {
                        tracing::warn!(%group, %node, applied, "the data of this replica have been brought back");
                        return Ok(());
                    }
                    Err(Trouble::Here(source)) => return Err(OpenError::Io { group, source }),
                    Err(Trouble::There(why)) => reasons.push(format!("{node}: {why}")),
                }
            }
            let now = context.clock.now();
            if told.is_none_or(|told| now.saturating_duration_since(told) >= COMPLAIN_EVERY) {
                told = Some(now);
                tracing::warn!(%group, ?reasons, "no other node can bring back the data of this replica now; they are asked again");
            }
            tokio::time::sleep(ROUND_PAUSE).await;
        }
    }
}

/// Why a pull came to nothing.
enum Trouble {
    /// This node's disk: no other node will help.
    Here(io::Error),
    /// The other node.
    There(String),
}

impl From<TransportError> for Trouble {
    fn from(error: TransportError) -> Self {
        Trouble::There(match error {
            TransportError::Refused(_, why) => why,
            error => error.to_string(),
        })
    }
}

impl From<DecodeError> for Trouble {
    fn from(error: DecodeError) -> Self {
        Trouble::There(error.to_string())
    }
}

impl From<io::Error> for Trouble {
    fn from(error: io::Error) -> Self {
        Trouble::Here(error)
    }
}

impl From<DataError> for Trouble {
    fn from(error: DataError) -> Self {
        Trouble::Here(io::Error::other(error))
    }
}

impl From<LoadError> for Trouble {
    fn from(error: LoadError) -> Self {
        match error {
            LoadError::Data(error) => error.into(),
            error => Trouble::There(error.to_string()),
        }
    }
}

/// One attempt with one node.
struct Puller<'a> {
    context: &'a GroupContext,
    lost: LostData,
    node: NodeId,
    pull: u64,
}

impl Puller<'_> {
    /// Answers where the data end now.
    async fn run(&self) -> Result<u64, Trouble> {
        let begin = PullBegin { pull: self.pull, at_least: self.lost.purged };
        let offer = Contents::decode_offer(self.call(PULL_BEGIN, &begin).await?)?;
        let applied = offer.row.applied.map(|id| id.index).filter(|applied| *applied >= self.lost.purged);
        let applied = applied.ok_or_else(|| Trouble::There("it offers less than this replica needs".into()))?;
        let (group, data, locals) = (self.lost.group, self.context.data.clone(), self.context.locals.clone());
        let applier = &self.context.applier;
        let loading = Loading::begin(data.clone(), applier, group, offer).await?;
        for number in 0.. {
            let chunk = self.chunk(number).await?;
            if chunk.is_empty() {
                break;
            }
            loading.load(chunk).await??;
        }
        let staged = loading.finish().await?;
        // The meta group's machine takes its state from the rows when it opens; to install them nothing need be known of it.
        let install = move || -> io::Result<Leftovers> {
            let mut core = Core::open(group, data, locals, MachineKind::Partitions)?;
            core.install(staged.meta(), staged)
        };
        applier.run(install).await??.remove(applier).await?;
        Ok(applied)
    }

    async fn call(&self, kind: u8, body: &impl Serialize) -> Result<Bytes, TransportError> {
        let body = messages::encode_json(body);
        self.context.transport.call(self.node, self.lost.group, kind, body, CHUNK_TIMEOUT).await
    }

    /// The chunk of that number, asked for again where the answer may have been lost.
    async fn chunk(&self, number: u64) -> Result<Bytes, Trouble> {
        let mut attempt = 1;
        loop {
            match self.call(PULL_NEXT, &PullNext { pull: self.pull, number }).await {
                Ok(chunk) => return Ok(chunk),
                Err(TransportError::Refused(_, why)) => return Err(Trouble::There(why)),
                Err(error) if attempt == CHUNK_ATTEMPTS => return Err(error.into()),
                Err(_) => {}
            }
            attempt += 1;
            tokio::time::sleep(CHUNK_PAUSE).await;
        }
    }
}
