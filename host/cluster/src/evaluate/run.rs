//! One drained queue: evaluating its calls and arranging for their answers.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use recoil_base::Runtime;
use recoil_consensus::session::CallWrites;
use recoil_consensus::{AnsweredCall, PartitionRef, Session};
use recoil_engine::call::evaluate_storage;
use recoil_engine::{
    CallBody, CallError, Effects, GroupRole, GroupStatus, LogLevel, Mode, Transaction, TransactionInfo, timers,
};

use super::origins::Admission;
use super::recent::Recent;
use super::view::{LeaderView, StaleView};
use super::{
    BACKLOG_BYTES_MAX, Call, CallId, EvaluatedApp, Evaluation, Host, Leave, Partition, Work, answer_on, not_ready,
    overloaded,
};
use crate::calls::{Answer, Miss, Reply, Request};
use crate::timers::Pause;
use crate::topics;

/// How long a handler may wait in `consensus.barrier`.
const BARRIER_MAX: Duration = Duration::from_millis(500);
/// Timers fired in one go.
const TIMERS_MAX: usize = 64;
const TIMER_BYTES_MAX: usize = 4 << 20;
/// Failed timers of an app whose pauses are remembered on a partition.
const TIMERS_FAILED_MAX: usize = 1024;

/// Answers that depend on nothing but batches already tagged, held back until the lease is known to hold.
pub(super) struct Reads {
    session: Arc<Session>,
    lease: bool,
    unsure: Vec<(u64, Reply, Answer)>,
}

impl Reads {
    pub(super) fn answer(&mut self, newest: u64, reply: Reply, answer: Answer) {
        if self.lease {
            answer_after(&self.session, newest, reply, answer);
        } else {
            self.unsure.push((newest, reply, answer));
        }
    }

    /// The lease did not hold when the calls were taken: a quorum is asked, once for all of them.
    fn finish(self, runtime: &Runtime) {
        if self.unsure.is_empty() {
            return;
        }
        let (session, unsure) = (self.session, self.unsure);
        runtime.spawn(async move {
            let leads = session.confirm().await;
            for (newest, reply, answer) in unsure {
                if leads {
                    answer_after(&session, newest, reply, answer);
                } else {
                    reply(Err(Miss::Again));
                }
            }
        });
    }
}

fn answer_after(session: &Session, newest: u64, reply: Reply, answer: Answer) {
    session.after(
        newest,
        Box::new(move |outcome| {
            reply(match outcome {
                recoil_consensus::Outcome::Committed => answer,
                _ => Err(Miss::Again),
            });
        }),
    );
}

/// A routed call that is to be evaluated.
pub(super) struct Asked {
    pub(super) mode: Mode,
    pub(super) id: CallId,
    pub(super) reply: Reply,
}

impl Asked {
    /// Answers a call that wrote nothing, once what it read is committed.
    pub(super) fn answer_unwritten(self, evaluation: &mut Evaluation, reads: &mut Reads, answer: Answer) {
        if self.mode == Mode::Write {
            evaluation.answered(&self.id, &answer, false);
        }
        reads.answer(evaluation.newest, self.reply, answer);
    }

    fn publishing(self, publish: impl FnOnce() + Send + 'static) -> Self {
        let reply = self.reply;
        let reply: Reply = Box::new(move |answer: Answer| {
            if answer.is_ok() {
                publish();
            }
            reply(answer);
        });
        Asked { reply, ..self }
    }
}

/// A reply that either the session tells or, if it takes nothing any more, its caller.
pub(super) struct SharedReply(Arc<Mutex<Option<Reply>>>);

impl SharedReply {
    pub(super) fn tell(self, answer: Answer) {
        if let Some(reply) = self.0.lock().take() {
            reply(answer);
        }
    }
}

/// What answers a call that wrote, once its writes are decided.
pub(super) fn answer_decided(
    reply: Reply,
    answer: Answer,
    publish: impl FnOnce() + Send + 'static,
) -> (recoil_consensus::session::Waiter, SharedReply) {
    let reply = Arc::new(Mutex::new(Some(reply)));
    let decided = SharedReply(reply.clone());
    let waiter = Box::new(move |outcome| {
        let answer = answer_on(outcome, answer);
        if answer.is_ok() {
            publish();
        }
        decided.tell(answer);
    });
    (waiter, SharedReply(reply))
}

impl Host {
    /// Evaluates calls of one partition, in order. Leaves the first that may not write yet in `calls`, and all behind it. True if none may be
    /// evaluated now since the partition is leaving.
    pub(super) fn run(self: &Arc<Self>, partition: &Arc<Partition>, calls: &mut VecDeque<Call>) -> bool {
        let mut slot = partition.evaluation.lock();
        match self.leaving.look(partition.key) {
            None => {}
            Some(Leave::Park) => return true,
            Some(Leave::SendAgain) => {
                drop(slot);
                calls.drain(..).for_each(|call| (call.reply)(Err(Miss::Again)));
                return false;
            }
        }
        self.check_owner(partition, &mut slot);
        let mut reads: Option<Reads> = None;
        while let Some(call) = calls.pop_front() {
            let writes = call.mode == Mode::Write && matches!(call.work, Work::Asked(..));
            if writes && !partition.usage.may_write(&partition.limits) {
                calls.push_front(call);
                break;
            }
            if call.mode == Mode::StaleRead {
                self.stale_read(partition, call);
                continue;
            }
            let evaluation = match self.current(partition, &mut slot) {
                Ok(evaluation) => evaluation,
                Err(miss) => {
                    (call.reply)(Err(miss));
                    continue;
                }
            };
            let same = reads.as_ref().is_some_and(|reads| Arc::ptr_eq(&reads.session, &evaluation.session));
            if !same {
                if let Some(reads) = reads.take() {
                    reads.finish(&self.parts.runtime);
                }
                let session = evaluation.session.clone();
                reads = Some(Reads { lease: session.lease_holds(), session, unsure: vec![] });
            }
            let Some(reads) = reads.as_mut() else { continue };
            match call.work {
                Work::Asked(request, id) => match evaluation.admit(&self.parts.data, partition.app, call.mode, &id) {
                    Admission::Miss(miss) => (call.reply)(Err(miss)),
                    Admission::Answer(answer) => reads.answer(evaluation.newest, call.reply, answer),
                    Admission::Evaluate => {
                        let asked = Asked { mode: call.mode, id, reply: call.reply };
                        match request {
                            Request::One(body) => self.evaluate(partition, evaluation, reads, asked, &body),
                            Request::All(parts) => self.run_transaction(partition, evaluation, reads, asked, &parts),
                        }
                    }
                },
                Work::Timers => self.fire_timers(partition, evaluation, call.app),
                Work::Wake => self.set_alarm(partition, evaluation),
                Work::Forget(origins) => self.forget_gone(partition, evaluation, origins),
            }
        }
        drop(slot);
        if let Some(reads) = reads {
            reads.finish(&self.parts.runtime);
        }
        false
    }

    fn evaluate(
        self: &Arc<Self>,
        partition: &Arc<Partition>,
        evaluation: &mut Evaluation,
        reads: &mut Reads,
        asked: Asked,
        body: &CallBody,
    ) {
        let Some(app) = self.app(partition.app) else {
            return (asked.reply)(Err(not_ready()));
        };
        if asked.mode == Mode::Write && evaluation.session.backlog_bytes() > BACKLOG_BYTES_MAX {
            return asked.answer_unwritten(evaluation, reads, Err(Miss::Error(CallError::Unavailable(overloaded()))));
        }
        let transaction = self.transaction(partition, evaluation, &app, asked.mode == Mode::Read);
        let (effects, answer) = self.call(partition, evaluation, &app, transaction, body);
        let answer = answer.map_err(Miss::Error);
        let publish = self.publisher(app.id, &effects.publishes);
        if answer.is_err() || effects.writes.is_empty() {
            return asked.publishing(publish).answer_unwritten(evaluation, reads, answer);
        }
        let now_us = evaluation.next_now(&self.parts.clock);
        let calls = evaluation.calls_to_log(&asked.id, &answer);
        let part = call_writes(partition.key, evaluation, &app, now_us, effects.writes, calls);
        let (waiter, reply) = answer_decided(asked.reply, answer.clone(), publish);
        match evaluation.commit(&app.usage, vec![part], waiter) {
            Ok(_) => {
                evaluation.answered(&asked.id, &answer, true);
                self.alarm(partition.key, app.id, effects.earliest_timer_us);
            }
            Err(miss) => reply.tell(Err(miss)),
        }
    }

    /// Runs one call on the partition's instance. On an error the effects are empty.
    pub(super) fn call(
        &self,
        partition: &Arc<Partition>,
        evaluation: &mut Evaluation,
        app: &EvaluatedApp,
        mut transaction: Transaction,
        body: &CallBody,
    ) -> (Effects, Result<Bytes, CallError>) {
        let runs_guest = matches!(body, CallBody::Handle(_) | CallBody::Fire { .. });
        let (transaction, result) = if let Some(shared) = app.shared.as_ref().filter(|_| runs_guest) {
            shared.evaluate(app, transaction, body)
        } else if runs_guest {
            let slot = &mut evaluation.apps.entry(app.id).or_default().instance;
            let evaluated = match self.instance(partition, slot, app) {
                Ok(instance) => instance.evaluate(transaction, body),
                Err(error) => (transaction, Err(error)),
            };
            if app.is_short_of_memory() && slot.as_ref().is_some_and(|instance| instance.memory_bytes() > 0) {
                *slot = None;
                self.instances.fetch_sub(1, Ordering::Relaxed);
            }
            evaluated
        } else {
            let result = evaluate_storage(&mut transaction, body);
            (transaction, result)
        };
        match result.and_then(|answer| app.usage.answer(answer, &app.limits)) {
            Ok(answer) => (transaction.into_effects(), Ok(answer)),
            Err(error) => (Effects::default(), Err(error)),
        }
    }

    /// A transaction on the newest state of a partition.
    pub(super) fn transaction(
        &self,
        partition: &Partition,
        evaluation: &mut Evaluation,
        app: &EvaluatedApp,
        read_only: bool,
    ) -> Transaction {
        let view = self.view(partition, evaluation, app);
        let info = TransactionInfo {
            keyspace: partition.keyspace_name.clone(),
            partition: partition.key.partition,
            partition_count: partition.count,
            epoch: evaluation.local.epoch,
            now_us: evaluation.next_now(&self.parts.clock),
            read_only,
        };
        Transaction::new(Arc::new(view), info, app.limits.transaction).with_consensus(evaluation.consensus.clone())
    }

    fn stale_read(self: &Arc<Self>, partition: &Arc<Partition>, call: Call) {
        let Some(app) = self.app(call.app) else {
            return (call.reply)(Err(Miss::NotLeader(None)));
        };
        // A copy that another group owns, or that is not complete, may be older than what the client has seen written.
        let local = match self.owned(partition.key, partition.group) {
            Ok(local) => local,
            Err(miss) => return (call.reply)(Err(miss)),
        };
        let Work::Asked(Request::One(body), _) = &call.work else {
            let text = "a transaction cannot be a stale read";
            return (call.reply)(Err(Miss::Error(CallError::Rejected(text.into()))));
        };
        let info = TransactionInfo {
            keyspace: partition.keyspace_name.clone(),
            partition: partition.key.partition,
            partition_count: partition.count,
            epoch: local.epoch,
            now_us: self.parts.clock.wall_us(),
            read_only: true,
        };
        let view = StaleView::new(&self.parts.data, &local, app.id);
        let mut transaction = Transaction::new(Arc::new(view), info, app.limits.transaction);
        let answer = match (body, &app.shared) {
            (CallBody::Handle(_), Some(shared)) => shared.evaluate(&app, transaction, body).1,
            // An instance of its own: the leader's may remember what is not committed yet.
            (CallBody::Handle(_), None) => {
                self.make_room();
                app.code.new_handler(app.environment()).and_then(|mut instance| instance.evaluate(transaction, body).1)
            }
            (CallBody::Fire { .. }, _) => Err(CallError::Rejected("a timer cannot fire in a stale read".into())),
            (storage, _) => evaluate_storage(&mut transaction, storage),
        };
        let answer = answer.and_then(|answer| app.usage.answer(answer, &app.limits));
        (call.reply)(answer.map_err(Miss::Error));
    }

    /// Sends a call's messages once it is committed.
    pub(super) fn publisher(
        &self,
        app: recoil_base::AppId,
        publishes: &[topics::Message],
    ) -> impl FnOnce() + Send + 'static {
        // Put together here, on the app's own processor time.
        let batches = topics::encode(app, publishes);
        let topics = (!batches.is_empty()).then(|| self.parts.topics.clone());
        move || {
            if let Some(topics) = topics {
                topics.publish(app, batches);
            }
        }
    }

    pub(super) fn alarm(&self, partition: PartitionRef, app: recoil_base::AppId, at_us: Option<u64>) {
        if let Some(at_us) = at_us {
            self.timers.set(partition, app, at_us);
        }
    }

    /// Sets the alarm for the timers that the app has on this partition.
    fn set_alarm(&self, partition: &Arc<Partition>, evaluation: &mut Evaluation) {
        let Some(app) = self.app(partition.app) else { return };
        match timers::earliest(&self.view(partition, evaluation, &app)) {
            Ok(earliest) => self.alarm(partition.key, app.id, earliest),
            Err(error) => tracing::error!(partition = ?partition.key, %error, "cannot read the partition's timers"),
        }
    }

    /// Fires the app's due timers, each in a transaction whose writes remove the timer too.
    fn fire_timers(self: &Arc<Self>, partition: &Arc<Partition>, evaluation: &mut Evaluation, app: recoil_base::AppId) {
        let Some(app) = self.app(app) else { return };
        let now_us = evaluation.next_now(&self.parts.clock);
        // Those that wait after a failure must not stand in the way of others.
        let limit = TIMERS_MAX + evaluation.apps.entry(app.id).or_default().timers_failed.len();
        let due = match timers::due(&self.view(partition, evaluation, &app), now_us, limit, TIMER_BYTES_MAX) {
            Ok(due) => due,
            Err(error) => {
                return tracing::error!(partition = ?partition.key, %error, "cannot read the partition's timers");
            }
        };
        let full = due.len() == limit;
        let mut next: Option<u64> = None;
        for timer in due {
            let pauses = &mut evaluation.apps.entry(app.id).or_default().timers_failed;
            let pause = pauses.get(&timer.id).copied();
            if let Some(until_us) = pause.map(|pause| pause.until_us).filter(|until| *until > now_us) {
                next = next.into_iter().chain([until_us]).min();
                continue;
            }
            let id = timer.id.clone();
            match self.fire_timer(partition, evaluation, &app, timer) {
                Ok(()) => drop(evaluation.apps.entry(app.id).or_default().timers_failed.remove(&id)),
                Err(error) => {
                    let pause = Pause::after(pause, now_us);
                    next = next.into_iter().chain([pause.until_us]).min();
                    let pauses = &mut evaluation.apps.entry(app.id).or_default().timers_failed;
                    if pauses.len() >= TIMERS_FAILED_MAX {
                        pauses.clear();
                    }
                    pauses.insert(id, pause);
                    app.log.push(LogLevel::Error, Some(partition.key.partition), &format!("a timer failed: {error}"));
                }
            }
        }
        if full {
            next = Some(now_us);
        } else if next.is_none() {
            next = timers::earliest(&self.view(partition, evaluation, &app)).ok().flatten();
        }
        self.alarm(partition.key, app.id, next);
    }

    fn fire_timer(
        self: &Arc<Self>,
        partition: &Arc<Partition>,
        evaluation: &mut Evaluation,
        app: &EvaluatedApp,
        timer: timers::DueTimer,
    ) -> Result<(), CallError> {
        let transaction = self.transaction(partition, evaluation, app, false);
        let body = CallBody::Fire { id: timer.id, payload: timer.payload, at_us: timer.at_us };
        let (effects, result) = self.call(partition, evaluation, app, transaction, &body);
        result?;
        let now_us = evaluation.next_now(&self.parts.clock);
        let part = call_writes(partition.key, evaluation, app, now_us, effects.writes, vec![]);
        let publish = self.publisher(app.id, &effects.publishes);
        let committed = Box::new(move |outcome| {
            if outcome == recoil_consensus::Outcome::Committed {
                publish();
            }
        });
        // A refused or lost entry leaves the timer's row, and whoever leads next finds it.
        let lost = |_| CallError::Unavailable("leadership was lost".into());
        evaluation.commit(&app.usage, vec![part], committed).map_err(lost)?;
        self.alarm(partition.key, app.id, effects.earliest_timer_us);
        Ok(())
    }

    fn view(&self, partition: &Partition, evaluation: &mut Evaluation, app: &EvaluatedApp) -> LeaderView {
        let kept = evaluation.apps.entry(app.id).or_default();
        let recent = kept.recent.get_or_insert_with(|| Arc::new(Recent::new(partition.count))).clone();
        LeaderView::new(kept.overlay.clone(), recent, self.parts.data.clone(), &evaluation.local, app.id)
    }
}

/// What one call wrote, as the session takes it.
pub(super) fn call_writes(
    partition: PartitionRef,
    evaluation: &Evaluation,
    app: &EvaluatedApp,
    now_us: u64,
    writes: Vec<recoil_storage::Write>,
    calls: Vec<AnsweredCall>,
) -> CallWrites {
    CallWrites { partition, epoch: evaluation.local.epoch, now_us, app: app.id, version: app.digest, writes, calls }
}

/// `consensus` for the handlers of a session.
pub(super) fn consensus(
    session: Arc<Session>,
    group: Arc<recoil_consensus::Group>,
    numbers: Numbers,
    runtime: Runtime,
) -> Arc<dyn recoil_engine::ConsensusAccess> {
    Arc::new(Consensus { session, group, numbers, runtime })
}

/// The small counters by which guests know nodes.
type Numbers = Arc<parking_lot::RwLock<std::collections::HashMap<recoil_base::NodeId, u32>>>;

struct Consensus {
    session: Arc<Session>,
    group: Arc<recoil_consensus::Group>,
    numbers: Numbers,
    runtime: Runtime,
}

impl recoil_engine::ConsensusAccess for Consensus {
    fn status(&self) -> GroupStatus {
        let numbers = self.group.numbers();
        let known = self.numbers.read();
        let number = |node: &recoil_base::NodeId| known.get(node).copied();
        GroupStatus {
            group: u64::from(self.group.id().0),
            role: GroupRole::Leader,
            term: numbers.term,
            leader: numbers.leader.as_ref().and_then(number),
            committed: numbers.committed,
            applied: numbers.applied,
            voters: numbers.voters.iter().filter_map(number).collect(),
        }
    }

    fn barrier(&self) -> Result<u64, String> {
        // An evaluation thread may wait: it is no tokio worker.
        let (session, group) = (self.session.clone(), self.group.clone());
        self.runtime.wait_for(async move {
            if !session.confirm().await {
                return Err("this node has lost the leadership of the group".to_owned());
            }
            let waited = tokio::time::timeout(BARRIER_MAX, group.read_index()).await;
            waited.map_err(|_| "no quorum answered in time".to_owned())?.map_err(|error| error.to_string())
        })
    }
}
