//! Moving partitions between groups: the shell around [`recoil_cluster::moves`].
//!
//! The leader of a move's target drives it ([`drive`]), with what it is answered by the source ([`source`]) and by the other replicas of the
//! target ([`target`]). What a step follows is recorded in the two groups' logs and in the meta state, and read there again after a
//! failure: nothing here is durable, and whatever is lost is asked for again. The table of crash points is with the steps.
//!
//! The pause of a partition lasts from the moment that the source's leader parks its calls until the target's leader has applied
//! `Adopt`: a request to the source, an entry there, and an entry here. If the target's leader has the source's replica on its own node,
//! no row is copied in it. A target that shares no live node with the source fetches the whole partition in the pause. Other
//! replicas that lack rows fetch them after it, without anybody waiting for them ([`fetch`]).
//!
//! Bounded: [`BATCH_MAX`] partitions in one entry; one fetch at a time on a node.

mod drive;
mod fetch;
mod source;
mod target;

use std::time::Duration;

use bytes::Bytes;
use recoil_base::{GroupId, KeyspaceId, PartitionId};
use recoil_cluster::meta::MoveRecord;
use recoil_consensus::{Decision, Move, PartitionRef, ReleasePoint};
use serde::{Deserialize, Serialize};

pub(crate) use drive::{Progress, drive, waits_for};
pub(crate) use fetch::run as fetch_lacking;

use crate::node::Parts;
use std::sync::Arc;

/// Partitions that move by one entry.
const BATCH_MAX: usize = 64;
/// How long a question may take: an entry of the source's log.
const ASK_TIMEOUT: Duration = Duration::from_secs(2);

/// A move as the nodes that take part speak of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Moving {
    id: u64,
    keyspace: KeyspaceId,
    partition: PartitionId,
    /// In the target.
    epoch: u64,
}

impl Moving {
    fn of(id: u64, record: &MoveRecord) -> Self {
        let MoveRecord { keyspace, partition, epoch, .. } = *record;
        Moving { id, keyspace, partition, epoch }
    }

    fn partition(&self) -> PartitionRef {
        PartitionRef { keyspace: self.keyspace, partition: self.partition }
    }

    /// As the log of one of the groups names it, the other one being `other`.
    fn with(&self, other: GroupId) -> Move {
        Move { id: self.id, other, epoch: self.epoch }
    }
}

/// What the target's leader asks.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Question {
    /// A replica of the source: release these, and say what is decided.
    Release { source: GroupId, target: GroupId, moves: Vec<Moving> },
    /// A replica of the source: what is decided of these?
    Look { source: GroupId, moves: Vec<Moving> },
    /// A replica of the source: cancel these moves, and say what is decided.
    Cancel { source: GroupId, moves: Vec<Moving> },
    /// A replica of the source: drop the copies that these moves have released, and say which still stand.
    Retire { source: GroupId, moves: Vec<Moving> },
    /// A replica of the target: which of these have you all rows of, durably?
    Complete { target: GroupId, moves: Vec<Moving> },
}

/// What the source's log says of a move.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Decided {
    Undecided,
    Released { index: u64, clock_us: u64 },
    Over,
}

impl From<Decision> for Decided {
    fn from(decision: Decision) -> Self {
        match decision {
            Decision::Undecided => Decided::Undecided,
            Decision::Released(ReleasePoint { index, clock_us }) => Decided::Released { index, clock_us },
            Decision::Over => Decided::Over,
        }
    }
}

impl From<Decided> for Decision {
    fn from(decided: Decided) -> Self {
        match decided {
            Decided::Undecided => Decision::Undecided,
            Decided::Released { index, clock_us } => Decision::Released(ReleasePoint { index, clock_us }),
            Decided::Over => Decision::Over,
        }
    }
}

/// The answer: for each move of the question, in its order, as far as that is known; and why it is not otherwise.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Answer {
    /// Of a release or a cancellation.
    #[serde(default)]
    decided: Vec<Decided>,
    /// Of retiring and completeness: it is so.
    #[serde(default)]
    done: Vec<bool>,
    /// Why something was not done now.
    #[serde(default)]
    why: Option<String>,
    /// This replica does not lead; that one may.
    #[serde(default)]
    leader: Option<recoil_base::NodeId>,
}

/// Answers another node's question.
pub(crate) async fn serve(parts: &Arc<Parts>, body: Bytes) -> Result<Bytes, String> {
    let question: Question = serde_json::from_slice(&body).map_err(|error| error.to_string())?;
    let answer = answer(parts, question).await?;
    Ok(serde_json::to_vec(&answer).map_err(|error| error.to_string())?.into())
}

async fn answer(parts: &Arc<Parts>, question: Question) -> Result<Answer, String> {
    let count = match &question {
        Question::Release { moves, .. }
        | Question::Look { moves, .. }
        | Question::Cancel { moves, .. }
        | Question::Retire { moves, .. }
        | Question::Complete { moves, .. } => moves.len(),
    };
    if count > BATCH_MAX {
        return Err(format!("a question about {count} moves; at most {BATCH_MAX} are answered at once"));
    }
    match question {
        Question::Release { source, target, moves } => source::release(parts, source, target, &moves).await,
        Question::Look { source, moves } => source::look(parts, source, &moves),
        Question::Cancel { source, moves } => source::cancel(parts, source, &moves).await,
        Question::Retire { source, moves } => source::retire(parts, source, &moves).await,
        Question::Complete { target, moves } => target::complete(parts, target, &moves).await,
    }
}
