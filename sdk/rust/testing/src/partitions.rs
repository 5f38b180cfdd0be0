//! Partitions in memory, and the router to them.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;
use recoil_base::{Clock, PartitionId};
use recoil_engine::call::{evaluate_storage, relative_key};
use recoil_engine::{
    Address, AppCode, BoxFuture, CallBody, CallError, Effects, Environment, HandlerInstance, Mode, PartitionInfo,
    RoutedCall, Router, Transaction, TransactionInfo, TransactionLimits, View, ViewError, timers,
};
use recoil_storage::Write;
use tokio::sync::mpsc;
use xxhash_rust::xxh3::xxh3_64;

const SUBSCRIPTION_QUEUE: usize = 1024;
/// Timers fired by one call, per partition.
const TIMERS_MAX: usize = 1000;

type Rows = BTreeMap<Bytes, Bytes>;
type Row = Result<(Bytes, Bytes), ViewError>;

struct Moment(Arc<Rows>);

impl View for Moment {
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, ViewError> {
        Ok(self.0.get(key).cloned())
    }

    fn scan<'a>(
        &'a self,
        start: Bytes,
        end: Option<Bytes>,
        reverse: bool,
    ) -> Box<dyn Iterator<Item = Row> + Send + 'a> {
        if end.as_ref().is_some_and(|end| *end <= start) {
            return Box::new(std::iter::empty());
        }
        let rows = match end {
            Some(end) => self.0.range(start..end),
            None => self.0.range(start..),
        };
        let rows = rows.map(|(key, value)| Ok((key.clone(), value.clone())));
        if reverse { Box::new(rows.rev()) } else { Box::new(rows) }
    }
}

#[derive(Default)]
struct Partition {
    rows: Arc<Rows>,
    instance: Option<HandlerInstance>,
    now_us: u64,
}

/// The partitions of one app.
pub(crate) struct Partitions {
    code: Arc<AppCode>,
    environment: Environment,
    clock: Clock,
    partitions: Vec<Mutex<Partition>>,
    published: Mutex<Vec<(Bytes, Bytes)>>,
    subscribers: Mutex<HashMap<Bytes, Vec<mpsc::Sender<Bytes>>>>,
    /// Held while a transaction holds several partitions.
    transaction: Mutex<()>,
}

impl Partitions {
    pub(crate) fn new(code: Arc<AppCode>, environment: Environment, clock: Clock, count: u32) -> Self {
        let partitions = (0..count).map(|_| Mutex::default()).collect();
        let (published, subscribers, transaction) = Default::default();
        Partitions { code, environment, clock, partitions, published, subscribers, transaction }
    }

    /// By the same rule as in a cluster.
    pub(crate) fn owner(&self, key: &[u8]) -> PartitionId {
        PartitionId(((u128::from(xxh3_64(key)) * self.partitions.len() as u128) >> 64) as u32)
    }

    fn of(&self, id: PartitionId) -> Result<&Mutex<Partition>, CallError> {
        let missing = || CallError::Rejected(format!("there is no partition {id}"));
        self.partitions.get(id.0 as usize).ok_or_else(missing)
    }

    pub(crate) fn get(&self, id: PartitionId, key: &[u8]) -> Option<Bytes> {
        self.of(id).ok()?.lock().rows.get(&relative_key(key)).cloned()
    }

    pub(crate) fn put(&self, id: PartitionId, key: &[u8], value: &[u8]) {
        if let Ok(partition) = self.of(id) {
            let rows = &mut partition.lock().rows;
            Arc::make_mut(rows).insert(relative_key(key), Bytes::copy_from_slice(value));
        }
    }

    pub(crate) fn call(&self, id: PartitionId, mode: Mode, body: &CallBody) -> Result<Bytes, CallError> {
        let mut partition = self.of(id)?.lock();
        let (answer, effects) = self.evaluate(id, &mut partition, mode, body)?;
        self.commit(&mut partition, &effects);
        self.publish(effects.publishes);
        Ok(answer)
    }

    fn evaluate(
        &self,
        id: PartitionId,
        partition: &mut Partition,
        mode: Mode,
        body: &CallBody,
    ) -> Result<(Bytes, Effects), CallError> {
        let info = TransactionInfo {
            keyspace: "test".into(),
            partition: id,
            partition_count: self.partitions.len() as u32,
            epoch: 1,
            now_us: self.clock.wall_us().max(partition.now_us + 1),
            read_only: mode != Mode::Write,
        };
        let mut transaction =
            Transaction::new(Arc::new(Moment(partition.rows.clone())), info, TransactionLimits::default());
        if !matches!(body, CallBody::Handle(_) | CallBody::Fire { .. }) {
            let answer = evaluate_storage(&mut transaction, body)?;
            return Ok((answer, transaction.into_effects()));
        }
        let mut instance = match partition.instance.take().filter(|instance| !instance.is_poisoned()) {
            Some(instance) => instance,
            None => self.code.new_handler(self.environment.clone())?,
        };
        let (transaction, answer) = instance.evaluate(transaction, body);
        partition.instance = Some(instance);
        Ok((answer?, transaction.into_effects()))
    }

    fn commit(&self, partition: &mut Partition, effects: &Effects) {
        if effects.writes.is_empty() {
            return;
        }
        partition.now_us = self.clock.wall_us().max(partition.now_us + 1);
        let rows = Arc::make_mut(&mut partition.rows);
        for write in &effects.writes {
            match write {
                Write::Put { key, value } => drop(rows.insert(key.clone(), value.clone())),
                Write::Remove { key } => drop(rows.remove(key)),
                Write::RemoveRange { start, end } => {
                    let kind = start.first().copied();
                    let within = |key: &Bytes| {
                        key >= start && key.first().copied() == kind && end.as_ref().is_none_or(|end| key < end)
                    };
                    rows.retain(|key, _| !within(key));
                }
            }
        }
    }

    fn publish(&self, messages: Vec<(Bytes, Bytes)>) {
        for (topic, message) in messages {
            if let Some(subscribers) = self.subscribers.lock().get_mut(&topic) {
                subscribers.retain(|subscriber| !subscriber.is_closed());
                for subscriber in subscribers {
                    // A subscriber that is too slow loses it, as in a cluster.
                    let _ = subscriber.try_send(message.clone());
                }
            }
            self.published.lock().push((topic, message));
        }
    }

    pub(crate) fn take_published(&self) -> Vec<(Bytes, Bytes)> {
        std::mem::take(&mut self.published.lock())
    }

    pub(crate) fn fire_due_timers(&self) -> Result<usize, CallError> {
        let mut fired = 0;
        for (id, partition) in self.partitions.iter().enumerate() {
            let view = Moment(partition.lock().rows.clone());
            let due = timers::due(&view, self.clock.wall_us(), TIMERS_MAX, usize::MAX);
            for timer in due.map_err(|error| CallError::Unavailable(error.to_string()))? {
                let body = CallBody::Fire { id: timer.id, payload: timer.payload, at_us: timer.at_us };
                self.call(PartitionId(id as u32), Mode::Write, &body)?;
                fired += 1;
            }
        }
        Ok(fired)
    }

    fn resolve(&self, address: &Address) -> PartitionId {
        match address {
            Address::Key(key) => self.owner(key),
            Address::Partition(id) => *id,
        }
    }

    fn run_transaction(&self, calls: &[RoutedCall]) -> Result<Vec<Bytes>, CallError> {
        let _alone = self.transaction.lock();
        let ids: Vec<PartitionId> = calls.iter().map(|call| self.resolve(&call.to)).collect();
        let mut held = BTreeMap::new();
        for id in ids.iter().collect::<std::collections::BTreeSet<_>>() {
            held.insert(*id, self.of(*id)?.lock());
        }
        let before: BTreeMap<PartitionId, Arc<Rows>> =
            held.iter().map(|(id, partition)| (*id, partition.rows.clone())).collect();
        let (mut answers, mut messages) = (Vec::new(), Vec::new());
        for (call, id) in calls.iter().zip(ids) {
            let Some(partition) = held.get_mut(&id) else { continue };
            match self.evaluate(id, partition, call.mode, &call.body) {
                Ok((answer, effects)) => {
                    self.commit(partition, &effects);
                    answers.push(answer);
                    messages.extend(effects.publishes);
                }
                Err(error) => {
                    for (id, rows) in before {
                        if let Some(partition) = held.get_mut(&id) {
                            (partition.rows, partition.instance) = (rows, None);
                        }
                    }
                    return Err(error);
                }
            }
        }
        drop(held);
        self.publish(messages);
        Ok(answers)
    }

    fn info(&self, id: PartitionId) -> PartitionInfo {
        PartitionInfo { id, leader: Some(1), replicas: vec![1], epoch: 1 }
    }
}

impl Router for Partitions {
    fn call_many(&self, calls: Vec<RoutedCall>) -> BoxFuture<'static, Vec<Result<Bytes, CallError>>> {
        let call = |call: &RoutedCall| self.call(self.resolve(&call.to), call.mode, &call.body);
        // A handler blocks, which a task may only do so.
        let answers = tokio::task::block_in_place(|| calls.iter().map(call).collect());
        Box::pin(std::future::ready(answers))
    }

    fn transact(&self, calls: Vec<RoutedCall>) -> BoxFuture<'static, Result<Vec<Bytes>, CallError>> {
        Box::pin(std::future::ready(tokio::task::block_in_place(|| self.run_transaction(&calls))))
    }

    fn locate(&self, key: &[u8]) -> PartitionInfo {
        self.info(self.owner(key))
    }

    fn partitions(&self) -> Vec<PartitionInfo> {
        (0..self.partitions.len() as u32).map(|id| self.info(PartitionId(id))).collect()
    }

    fn subscribe(&self, topic: Bytes) -> mpsc::Receiver<Bytes> {
        let (sender, receiver) = mpsc::channel(SUBSCRIPTION_QUEUE);
        self.subscribers.lock().entry(topic).or_default().push(sender);
        receiver
    }
}
