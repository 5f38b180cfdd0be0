//! Transactions over several partitions of one group: all evaluated on one child overlay, one entry, or nothing.
//!
//! A transaction is a call of the lowest of its partitions: it waits in that one's mailbox and has a number among its origin's calls
//! there. The queues stop: the evaluations of all partitions are held, in the order of their ids from the lowest on, so that two
//! transactions cannot wait for each other; a partition's own evaluation only ever holds one.
//!
//! A partition other than the lowest that cannot be evaluated here says nothing of where the transaction belongs: it is routed again by
//! its lowest one ([`missed_elsewhere`]).

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use recoil_consensus::PartitionRef;
use recoil_consensus::session::CallWrites;
use recoil_engine::{CallError, Mode};
use recoil_storage::Write;

use super::run::{Asked, Reads, answer_decided, call_writes};
use super::{EvaluatedApp, Evaluation, Host, Partition, count_writes, not_ready};
use crate::calls::{Answer, Miss, Part, encode_answers};

/// Bytes of a transaction's answers, which travel as one. Looked at before anything is committed.
const ANSWER_BYTES_MAX: usize = 16 << 20;

/// What is said of a transaction because of a partition other than its lowest: never where that one is, which would be taken for where
/// the lowest one is.
fn missed_elsewhere(miss: Miss) -> Miss {
    match miss {
        Miss::NotLeader(_) | Miss::Moved { .. } => Miss::Again,
        other => other,
    }
}

/// What a transaction has done so far.
#[derive(Default)]
struct Done {
    answers: Vec<Answer>,
    answer_bytes: usize,
    writes: BTreeMap<PartitionRef, Vec<Write>>,
    publishes: Vec<(Bytes, Bytes)>,
    alarms: Vec<(PartitionRef, Option<u64>)>,
}

impl Host {
    /// Evaluates `parts` as one transaction. `anchor` is the lowest of the partitions, and held.
    pub(super) fn run_transaction(
        self: &Arc<Self>,
        anchor: &Arc<Partition>,
        evaluation: &mut Evaluation,
        reads: &mut Reads,
        asked: Asked,
        parts: &[Part],
    ) {
        let Some(app) = self.app(anchor.app) else {
            return (asked.reply)(Err(not_ready()));
        };
        let key = |part: &Part| part.partition;
        let mut partitions = BTreeMap::from([(anchor.key, anchor.clone())]);
        for part in parts {
            match self.share(key(part), app.id) {
                Ok(partition) => drop(partitions.insert(key(part), partition)),
                Err(miss) => return (asked.reply)(Err(missed_elsewhere(miss))),
            }
        }
        let others = partitions.iter().filter(|(key, _)| **key != anchor.key);
        let mut slots: Vec<_> = others.map(|(_, partition)| (partition, partition.evaluation.lock())).collect();
        let mut evaluations = BTreeMap::from([(anchor.key, &mut *evaluation)]);
        if slots.iter().any(|(partition, _)| self.leaving.look(partition.key).is_some()) {
            return (asked.reply)(Err(Miss::Again));
        }
        for (partition, slot) in &mut slots {
            self.check_owner(partition, slot);
            match self.current(partition, slot) {
                Ok(evaluation) => drop(evaluations.insert(partition.key, evaluation)),
                Err(miss) => return (asked.reply)(Err(missed_elsewhere(miss))),
            }
        }
        let session = evaluations[&anchor.key].session.clone();
        let one_group = evaluations.values().all(|other| Arc::ptr_eq(&other.session, &session));
        let newest = evaluations.values().map(|evaluation| evaluation.newest).max().unwrap_or(0);
        let outcome = if one_group {
            self.evaluate_all(&app, &partitions, &mut evaluations, parts, key)
        } else {
            let text = "the keys of this transaction belong to several Raft groups; transactions over several groups are not supported by this version";
            Err(CallError::Rejected(text.into()))
        };
        let done = match outcome {
            Ok(done) if done.writes.values().any(|writes| !writes.is_empty()) => done,
            other => {
                let answer = other.map(|done| encode_answers(&done.answers)).map_err(Miss::Error);
                drop(evaluations);
                evaluation.answered(&asked.id, &answer, false);
                return reads.answer(newest, asked.reply, answer);
            }
        };
        let answer: Answer = Ok(encode_answers(&done.answers));
        let parts = self.parts_of(&app, anchor.key, &mut evaluations, &done, &asked, &answer);
        let times: Vec<_> = parts.iter().map(|part| (part.partition, part.now_us)).collect();
        let (waiter, reply) = answer_decided(asked.reply, answer.clone(), self.publisher(app.id, &done.publishes));
        let waiter = count_writes(&app.usage, &parts, waiter);
        match session.append(parts, waiter) {
            Ok(number) => {
                for (key, now_us) in times {
                    let writes = done.writes.get(&key).map_or(&[][..], Vec::as_slice);
                    if let Some(evaluation) = evaluations.get_mut(&key) {
                        evaluation.keep(app.id, writes, now_us, number);
                    }
                }
                done.alarms.into_iter().for_each(|(key, at_us)| self.alarm(key, app.id, at_us));
                if let Some(evaluation) = evaluations.get_mut(&anchor.key) {
                    evaluation.answered(&asked.id, &answer, true);
                }
            }
            Err(_) => reply.tell(Err(Miss::Again)),
        }
    }

    /// Writes go to the partitions' overlays at once, so that later calls see them; at the end the overlays are put back.
    fn evaluate_all(
        &self,
        app: &EvaluatedApp,
        partitions: &BTreeMap<PartitionRef, Arc<Partition>>,
        evaluations: &mut BTreeMap<PartitionRef, &mut Evaluation>,
        parts: &[Part],
        key: impl Fn(&Part) -> PartitionRef,
    ) -> Result<Done, CallError> {
        let before: BTreeMap<PartitionRef, _> = evaluations
            .iter_mut()
            .map(|(key, evaluation)| (*key, evaluation.apps.entry(app.id).or_default().overlay.clone()))
            .collect();
        let mut done = Done::default();
        let mut failure = None;
        for part in parts {
            let key = key(part);
            let Some(evaluation) = evaluations.get_mut(&key) else { continue };
            let transaction = self.transaction(&partitions[&key], evaluation, app, part.mode != Mode::Write);
            let (effects, answer) = self.call(&partitions[&key], evaluation, app, transaction, &part.body);
            let answer_bytes = answer.as_ref().map_or(0, Bytes::len);
            match answer {
                Ok(_) if done.answer_bytes + answer_bytes > ANSWER_BYTES_MAX => {
                    let text =
                        format!("the answers of this transaction are larger than {ANSWER_BYTES_MAX} bytes together");
                    failure = Some(CallError::Rejected(text));
                    break;
                }
                Ok(answer) => {
                    done.answer_bytes += answer_bytes;
                    done.answers.push(Ok(answer));
                    let overlay = Arc::make_mut(&mut evaluation.apps.entry(app.id).or_default().overlay);
                    effects.writes.iter().for_each(|write| overlay.apply(write, u64::MAX));
                    done.writes.entry(key).or_default().extend(effects.writes);
                    done.publishes.extend(effects.publishes);
                    done.alarms.push((key, effects.earliest_timer_us));
                }
                Err(error) => {
                    failure = Some(error);
                    break;
                }
            }
        }
        for (key, overlay) in before {
            if let Some(evaluation) = evaluations.get_mut(&key) {
                evaluation.apps.entry(app.id).or_default().overlay = overlay;
            }
        }
        let Some(failure) = failure else { return Ok(done) };
        // What the instances remember of the calls that went well is not so any more.
        for evaluation in evaluations.values_mut() {
            self.drop_instance(evaluation, app.id);
        }
        Err(failure)
    }

    /// The writes for each partition; the call itself goes with those of the lowest one, be they none.
    fn parts_of(
        &self,
        app: &EvaluatedApp,
        anchor: PartitionRef,
        evaluations: &mut BTreeMap<PartitionRef, &mut Evaluation>,
        done: &Done,
        asked: &Asked,
        answer: &Answer,
    ) -> Vec<CallWrites> {
        let mut parts = Vec::new();
        for (key, evaluation) in evaluations {
            let writes = done.writes.get(key).cloned().unwrap_or_default();
            let calls = if *key == anchor { evaluation.calls_to_log(&asked.id, answer) } else { vec![] };
            if !writes.is_empty() || !calls.is_empty() {
                let now_us = evaluation.next_now(&self.parts.clock);
                parts.push(call_writes(*key, evaluation, app, now_us, writes, calls));
            }
        }
        parts
    }
}
