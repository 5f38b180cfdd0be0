//! The calls of each origin, as the leader knows them in one session: which is next, and the answers already given.
//!
//! What is in the data when the session starts is where it begins; from then on this is ahead of the data, as the overlay is. A
//! writing call takes its number and its answer into the entry that carries its writes, and with them those of the calls
//! before it that wrote nothing. Answers that no entry carried die with the session: such a call is evaluated again, which does
//! no harm, since it wrote nothing.

#[cfg(test)]
mod tests;

use recoil_base::AppId;
use recoil_consensus::answered::{ANSWER_BYTES_MAX, origin_row, read_origin};
use recoil_consensus::{AnsweredCall, Known, Local, Origin, OriginRecord};
use recoil_engine::{CallError, Mode};
use recoil_storage::{Data, DataError, Write};
use rustc_hash::FxHashMap;

use super::{CallId, Evaluation, Host, Partition, storage_failed};
use crate::calls::answers::{decode_kept, encode_kept};
use crate::calls::{Answer, Miss};

/// Answers without writes that wait for an entry; older ones are forgotten first.
const UNLOGGED_MAX: usize = 4096;

#[derive(Default)]
struct OriginCalls {
    record: OriginRecord,
    unlogged: Vec<AnsweredCall>,
}

/// All origins of an app on a partition.
#[derive(Default)]
pub(super) struct Origins {
    known: FxHashMap<Origin, OriginCalls>,
}

impl Origins {
    fn of(&mut self, data: &Data, local: &Local, app: AppId, origin: Origin) -> Result<&mut OriginCalls, DataError> {
        Ok(match self.known.entry(origin) {
            std::collections::hash_map::Entry::Occupied(known) => known.into_mut(),
            std::collections::hash_map::Entry::Vacant(vacant) => {
                let record = read_origin(data, local.copy, app, origin)?;
                vacant.insert(OriginCalls { record, unlogged: vec![] })
            }
        })
    }
}

/// Whether a call is to be evaluated.
pub(super) enum Admission {
    /// Now.
    Evaluate,
    /// Not now or not at all: this is what it hears, once what was evaluated before it is committed.
    Answer(Answer),
    /// Not now: this is what it hears at once.
    Miss(Miss),
}

impl Evaluation {
    /// Decides by its number whether a call is to be evaluated.
    pub(super) fn admit(&mut self, data: &Data, app: AppId, mode: Mode, id: &CallId) -> Admission {
        let calls = match self.origins.of(data, &self.local, app, id.origin) {
            Ok(calls) => calls,
            Err(error) => return Admission::Miss(storage_failed(&error)),
        };
        calls.record.acknowledge(id.acked);
        if mode != Mode::Write {
            let passed = calls.record.has_passed(id.sequence);
            return if passed { Admission::Evaluate } else { Admission::Miss(Miss::TooEarly) };
        }
        match calls.record.known(id.sequence) {
            Known::Next => Admission::Evaluate,
            Known::TooEarly => Admission::Miss(Miss::TooEarly),
            Known::Answered(kept) => Admission::Answer(kept.and_then(decode_kept).unwrap_or_else(|| {
                let text = "the request was answered before, and the answer is too large to be kept";
                Err(Miss::Error(CallError::UnknownOutcome(text.into())))
            })),
        }
    }

    /// The calls that an entry with the writes of this one must carry.
    pub(super) fn calls_to_log(&mut self, id: &CallId, answer: &Answer) -> Vec<AnsweredCall> {
        let answered = answered(id, answer);
        let Some(calls) = self.origins.known.get_mut(&id.origin) else { return vec![answered] };
        let mut logged = std::mem::take(&mut calls.unlogged);
        logged.retain(|call| call.sequence > id.acked);
        logged.push(answered);
        logged
    }

    /// Takes in the answer of a writing call, which some entry carries if `logged`.
    pub(super) fn answered(&mut self, id: &CallId, answer: &Answer, logged: bool) {
        let answered = answered(id, answer);
        let Some(calls) = self.origins.known.get_mut(&id.origin) else { return };
        calls.record.note(&answered);
        if !logged {
            calls.unlogged.retain(|call| call.sequence > id.acked);
            if calls.unlogged.len() >= UNLOGGED_MAX {
                calls.unlogged.remove(0);
            }
            calls.unlogged.push(answered);
        }
    }
}

fn answered(id: &CallId, answer: &Answer) -> AnsweredCall {
    let answer = encode_kept(answer).filter(|kept| kept.len() <= ANSWER_BYTES_MAX);
    AnsweredCall { origin: id.origin, sequence: id.sequence, acked: id.acked, answer }
}

impl Host {
    /// Removes what is remembered of origins that have been gone for so long that none of their calls can still be on its way.
    pub(super) fn forget_gone(&self, partition: &Partition, evaluation: &mut Evaluation, gone: Vec<Origin>) {
        let Some(app) = self.app(partition.app) else { return };
        let writes = gone.iter().map(|origin| Write::Remove { key: origin_row(*origin) }).collect();
        let now_us = evaluation.next_now(&self.parts.clock);
        let part = super::run::call_writes(partition.key, evaluation, &app, now_us, writes, vec![]);
        // Refused or lost, the rows stay until they are found by the next leader.
        if evaluation.commit(&app.usage, vec![part], Box::new(|_| {})).is_ok() {
            gone.iter().for_each(|origin| drop(evaluation.origins.known.remove(origin)));
        }
    }
}
