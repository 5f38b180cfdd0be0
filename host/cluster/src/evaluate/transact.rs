//! Transactions over several partitions of one group: all evaluated on one child overlay, one entry, or nothing.
//!
//! The queues stop: the evaluations of all partitions are held, in the order of their ids, so that two transactions cannot wait for
//! each other, and a partition's own evaluation only ever holds one.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;
use recoil_base::AppId;
use recoil_consensus::PartitionRef;
use recoil_engine::{CallError, Mode};
use recoil_storage::Write;

use super::run::call_writes;
use super::{Evaluation, Host, answer_on, count_writes, not_ready};
use crate::calls::{Answer, Miss, PartitionCall};

/// Takes the answers of a transaction, in the order of its calls, or the one reason why nothing was done.
pub(crate) type TransactReply = Box<dyn FnOnce(Result<Vec<Bytes>, Miss>) + Send>;

impl Host {
    /// Evaluates `calls` of one app as one transaction. Never blocks; answers through `reply`.
    pub(crate) fn transact(
        self: &Arc<Self>,
        keyspace: recoil_base::KeyspaceId,
        app: AppId,
        calls: Vec<PartitionCall>,
        reply: TransactReply,
    ) {
        let host = self.clone();
        self.parts.pool.run(app, Box::new(move || host.run_transaction(keyspace, app, &calls, reply)));
    }

    fn run_transaction(
        self: &Arc<Self>,
        keyspace: recoil_base::KeyspaceId,
        app: AppId,
        calls: &[PartitionCall],
        reply: TransactReply,
    ) {
        let Some(app) = self.app(app) else {
            return reply(Err(not_ready()));
        };
        if let Err(error) = app.usage.may_write(&app.limits) {
            return reply(Err(Miss::Error(error)));
        }
        let mut partitions = BTreeMap::new();
        for call in calls {
            let key = PartitionRef { keyspace, partition: call.partition };
            match self.share(key, app.id) {
                Ok(partition) => drop(partitions.insert(key, partition)),
                Err(miss) => return reply(Err(miss)),
            }
        }
        let mut slots: BTreeMap<PartitionRef, _> =
            partitions.iter().map(|(key, partition)| (*key, partition.evaluation.lock())).collect();
        for (key, slot) in &mut slots {
            if let Err(miss) = self.current(&partitions[key], slot) {
                return reply(Err(miss));
            }
        }
        let mut evaluations: BTreeMap<PartitionRef, &mut Evaluation> =
            slots.iter_mut().filter_map(|(key, slot)| slot.as_mut().map(|evaluation| (*key, evaluation))).collect();
        let sessions: Vec<_> = evaluations.values().map(|evaluation| evaluation.session.clone()).collect();
        let Some(session) = sessions.first().cloned() else { return reply(Ok(vec![])) };
        if sessions.iter().any(|other| !Arc::ptr_eq(other, &session)) {
            let text = "the keys of this transaction belong to several Raft groups; transactions over several groups are not supported by this version";
            return reply(Err(Miss::Error(CallError::Rejected(text.into()))));
        }

        // Writes go to the partitions' overlays at once, so that later calls see them; on failure the overlays are put back.
        let before: BTreeMap<PartitionRef, _> = evaluations
            .iter_mut()
            .map(|(key, evaluation)| (*key, evaluation.apps.entry(app.id).or_default().overlay.clone()))
            .collect();
        let mut writes: BTreeMap<PartitionRef, Vec<Write>> = BTreeMap::new();
        let (mut answers, mut publishes, mut alarms) = (Vec::new(), Vec::new(), Vec::new());
        let mut failure = None;
        for call in calls {
            let key = PartitionRef { keyspace, partition: call.partition };
            let Some(evaluation) = evaluations.get_mut(&key) else { continue };
            let transaction = self.transaction(&partitions[&key], evaluation, &app, call.mode != Mode::Write);
            let (effects, answer) = self.call(&partitions[&key], evaluation, &app, transaction, &call.body);
            match answer {
                Ok(answer) => {
                    answers.push(answer);
                    let overlay = Arc::make_mut(&mut evaluation.apps.entry(app.id).or_default().overlay);
                    for write in &effects.writes {
                        overlay.apply(write, u64::MAX);
                    }
                    writes.entry(key).or_default().extend(effects.writes);
                    publishes.extend(effects.publishes);
                    alarms.push((key, effects.earliest_timer_us));
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
        if failure.is_some() {
            // What the instances remember of the calls that went well is not so any more.
            for evaluation in evaluations.values_mut() {
                self.drop_instance(evaluation, app.id);
            }
        }
        let newest = evaluations.values().map(|evaluation| evaluation.newest).max().unwrap_or(0);
        if failure.is_some() || writes.values().all(Vec::is_empty) {
            drop(slots);
            let outcome = failure.map_or(Ok(answers), |error| Err(Miss::Error(error)));
            return answer_read(&self.parts.runtime, session, newest, outcome, reply);
        }

        writes.retain(|_, writes| !writes.is_empty());
        let mut times = BTreeMap::new();
        let parts: Vec<_> = writes
            .iter()
            .map(|(key, writes)| {
                let evaluation = &evaluations[key];
                let now_us = evaluation.next_now(&self.parts.clock);
                times.insert(*key, now_us);
                call_writes(*key, evaluation, &app, now_us, writes.clone())
            })
            .collect();
        let publish = self.publisher(app.id, publishes);
        let reply = Arc::new(Mutex::new(Some(reply)));
        let decided = reply.clone();
        let waiter: recoil_consensus::session::Waiter = Box::new(move |outcome| {
            if let Some(reply) = decided.lock().take() {
                let decided: Answer = answer_on(outcome, Bytes::new());
                if decided.is_ok() {
                    publish();
                }
                reply(decided.map(|_| answers));
            }
        });
        let waiter = count_writes(&app.usage, &parts, waiter);
        let appended = session.append(parts, waiter);
        match appended {
            Ok(number) => {
                for (key, writes) in &writes {
                    if let Some(evaluation) = evaluations.get_mut(key) {
                        evaluation.keep(app.id, writes, times[key], number);
                    }
                }
                for (key, at_us) in alarms {
                    self.alarm(key, app.id, at_us);
                }
            }
            Err(_) => {
                if let Some(reply) = reply.lock().take() {
                    reply(Err(Miss::Again));
                }
            }
        }
    }
}

fn answer_read(
    runtime: &recoil_base::Runtime,
    session: Arc<recoil_consensus::Session>,
    newest: u64,
    outcome: Result<Vec<Bytes>, Miss>,
    reply: TransactReply,
) {
    runtime.spawn(async move {
        if !session.lease_holds() && !session.confirm().await {
            return reply(Err(Miss::Again));
        }
        session.after(
            newest,
            Box::new(move |decided| match decided {
                recoil_consensus::Outcome::Committed => reply(outcome),
                _ => reply(Err(Miss::Again)),
            }),
        );
    });
}
