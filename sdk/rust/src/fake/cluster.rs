//! A router to partitions in memory.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, HashMap};

use super::Queue;
use super::partition::{FakePartition, FakeTransaction};
use crate::roles::{Error, Handler, Timer};
use crate::router::{
    Address, CallError, Mode, PartitionInfo, Pending, PendingKind, RoutedCall, Router, Subscription, SubscriptionKind,
};
use crate::storage::{Entry, KeyRange, Storage, StorageError, StorageExt as _};
use crate::transaction::Transaction;

type Handle = fn(&mut dyn Transaction, &[u8]) -> Result<Vec<u8>, Error>;

/// Partitions in memory, in groups: partition `p` belongs to group `p % groups`, and a transaction over several groups
/// is rejected.
pub struct FakeCluster {
    partitions: RefCell<Vec<FakePartition>>,
    groups: u32,
    handle: Handle,
    subscribers: RefCell<HashMap<Vec<u8>, Vec<Queue>>>,
    fault: RefCell<Option<(u32, CallError)>>,
    calls: Cell<u64>,
}

impl FakeCluster {
    /// `partitions` partitions in `groups` groups, all handled by `H`. At least one of each.
    pub fn new<H: Handler>(partitions: u32, groups: u32) -> Self {
        assert!(partitions > 0 && groups > 0, "a cluster has at least one partition and one group");
        FakeCluster {
            partitions: RefCell::new((0..partitions).map(|id| FakePartition::with_place(id, partitions)).collect()),
            groups,
            handle: H::handle,
            subscribers: RefCell::default(),
            fault: RefCell::default(),
            calls: Cell::new(0),
        }
    }

    /// The id of the partition that owns `key`.
    pub fn owner(&self, key: &[u8]) -> u32 {
        // FNV-1a: a test can rely on it, and a package cannot know it.
        let hash = key
            .iter()
            .fold(0xcbf2_9ce4_8422_2325u64, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3));
        ((hash >> 32) % self.partitions.borrow().len() as u64) as u32
    }

    /// Look at, or change, a partition.
    pub fn with_partition<T>(&self, id: u32, body: impl FnOnce(&mut FakePartition) -> T) -> T {
        body(&mut self.partitions.borrow_mut()[id as usize])
    }

    /// From now on calls to partition `id` fail with `error` and are not evaluated; `None` heals.
    pub fn fail_partition(&self, id: u32, error: Option<CallError>) {
        *self.fault.borrow_mut() = error.map(|error| (id, error));
    }

    /// Let time pass on every partition, and fire what comes due. Answers how many timers fired.
    pub fn advance<T: Timer>(&self, microseconds: u64) -> usize {
        self.partitions.borrow_mut().iter_mut().map(|partition| partition.advance::<T>(microseconds)).sum()
    }

    /// Calls evaluated so far.
    pub fn calls(&self) -> u64 {
        self.calls.get()
    }

    fn place(&self, to: &Address) -> Result<u32, CallError> {
        let count = self.partitions.borrow().len() as u32;
        match to {
            Address::Key(key) => Ok(self.owner(key)),
            Address::Partition(id) if *id < count => Ok(*id),
            Address::Partition(id) => {
                Err(CallError::Rejected(format!("there is no partition {id}: there are {count}")))
            }
        }
    }

    fn check_fault(&self, id: u32) -> Result<(), CallError> {
        match &*self.fault.borrow() {
            Some((faulty, error)) if *faulty == id => Err(error.clone()),
            _ => Ok(()),
        }
    }

    fn deliver(&self, messages: &[(Vec<u8>, Vec<u8>)]) {
        let subscribers = self.subscribers.borrow();
        for (topic, message) in messages {
            for queue in subscribers.get(topic).into_iter().flatten() {
                queue.borrow_mut().push_back(message.clone());
            }
        }
    }

    fn info(&self, id: u32) -> PartitionInfo {
        let member = id % self.groups + 1;
        PartitionInfo { id, leader: Some(member), replicas: vec![member], epoch: 1 }
    }
}

/// A listener's storage: each operation a transaction of its own on the partitions it concerns.
struct RoutedStorage<'a>(&'a FakeCluster);

impl RoutedStorage<'_> {
    fn on<T>(
        &self,
        id: u32,
        body: impl FnOnce(&mut FakeTransaction<'_>) -> Result<T, StorageError>,
    ) -> Result<T, StorageError> {
        self.0.check_fault(id).map_err(|_| StorageError::Unavailable(format!("partition {id} does not answer")))?;
        self.0.with_partition(id, |partition| {
            let mut transaction = partition.begin();
            let result = body(&mut transaction);
            transaction.end(result.is_ok());
            result
        })
    }

    fn ids(&self) -> std::ops::Range<u32> {
        0..self.0.partitions.borrow().len() as u32
    }
}

impl Storage for RoutedStorage<'_> {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StorageError> {
        self.on(self.0.owner(key), |transaction| transaction.get(key))
    }

    fn get_many(&self, keys: &[Vec<u8>]) -> Result<Vec<Option<Vec<u8>>>, StorageError> {
        keys.iter().map(|key| self.get(key)).collect()
    }

    fn put(&mut self, key: &[u8], value: &[u8]) -> Result<(), StorageError> {
        self.on(self.0.owner(key), |transaction| transaction.put(key, value))
    }

    fn put_many(&mut self, entries: &[Entry]) -> Result<(), StorageError> {
        let mut owned: BTreeMap<u32, Vec<Entry>> = BTreeMap::new();
        for entry in entries {
            owned.entry(self.0.owner(&entry.key)).or_default().push(entry.clone());
        }
        owned.into_iter().try_for_each(|(id, entries)| self.on(id, |transaction| transaction.put_many(&entries)))
    }

    fn remove(&mut self, key: &[u8]) -> Result<(), StorageError> {
        self.on(self.0.owner(key), |transaction| transaction.remove(key))
    }

    fn remove_range(&mut self, within: &KeyRange) -> Result<(), StorageError> {
        self.ids().try_for_each(|id| self.on(id, |transaction| transaction.remove_range(within)))
    }

    fn scan(&self, within: &KeyRange, limit: u32, reverse: bool) -> Result<Vec<Entry>, StorageError> {
        let pages = self.ids().map(|id| {
            self.on(id, |transaction| {
                let all = if reverse {
                    transaction.entries_reverse(within.clone())
                } else {
                    transaction.entries(within.clone())
                };
                all.take(limit as usize).collect::<Result<Vec<_>, _>>()
            })
        });
        let mut entries = pages.collect::<Result<Vec<_>, _>>()?.concat();
        entries.sort_by(|a, b| if reverse { b.key.cmp(&a.key) } else { a.key.cmp(&b.key) });
        entries.truncate((limit as usize).min(self.0.with_partition(0, |partition| partition.page_entries)));
        Ok(entries)
    }
}

fn rejected(error: Error) -> CallError {
    CallError::Rejected(error.into_message())
}

impl Router for FakeCluster {
    fn call(&self, call: &RoutedCall) -> Result<Vec<u8>, CallError> {
        let id = self.place(&call.to)?;
        self.check_fault(id)?;
        self.calls.set(self.calls.get() + 1);
        let mut partitions = self.partitions.borrow_mut();
        let partition = &mut partitions[id as usize];
        if call.mode != Mode::Write {
            return (self.handle)(&mut partition.view(), &call.request).map_err(rejected);
        }
        let published = partition.published.len();
        let answer =
            partition.in_transaction(|transaction| (self.handle)(transaction, &call.request)).map_err(rejected);
        self.deliver(&partition.published[published..]);
        answer
    }

    fn call_many(&self, calls: &[RoutedCall]) -> Vec<Result<Vec<u8>, CallError>> {
        calls.iter().map(|call| self.call(call)).collect()
    }

    fn submit(&self, call: &RoutedCall) -> Pending {
        Pending(PendingKind::Fake(self.call(call)))
    }

    fn wait_all(&self, calls: Vec<Pending>) -> Vec<Result<Vec<u8>, CallError>> {
        calls.into_iter().map(Pending::wait).collect()
    }

    fn transact(&self, calls: &[RoutedCall]) -> Result<Vec<Vec<u8>>, CallError> {
        let ids = calls.iter().map(|call| self.place(&call.to)).collect::<Result<Vec<_>, _>>()?;
        let mut groups: Vec<u32> = ids.iter().map(|id| id % self.groups).collect();
        groups.sort_unstable();
        groups.dedup();
        if groups.len() > 1 {
            return Err(CallError::Rejected(format!("the transaction spans groups {groups:?}")));
        }
        ids.iter().try_for_each(|id| self.check_fault(*id))?;
        self.calls.set(self.calls.get() + calls.len() as u64);
        let mut partitions = self.partitions.borrow_mut();
        let mut transactions: HashMap<u32, FakeTransaction<'_>> = HashMap::new();
        for partition in partitions.iter_mut() {
            let id = partition.id();
            if ids.contains(&id) {
                transactions.insert(id, partition.begin());
            }
        }
        let mut answers = Ok(Vec::with_capacity(calls.len()));
        for (call, id) in calls.iter().zip(&ids) {
            let Some(transaction) = transactions.get_mut(id) else { continue };
            match ((self.handle)(transaction, &call.request), &mut answers) {
                (Ok(answer), Ok(answers)) => answers.push(answer),
                (Err(error), _) => {
                    answers = Err(rejected(error));
                    break;
                }
                (Ok(_), Err(_)) => break,
            }
        }
        for transaction in transactions.into_values() {
            if answers.is_ok() {
                self.deliver(transaction.publishes());
            }
            transaction.end(answers.is_ok());
        }
        answers
    }

    fn scatter(&self, request: &[u8], mode: Mode) -> Vec<Result<Vec<u8>, CallError>> {
        let count = self.partitions.borrow().len() as u32;
        (0..count).map(|id| self.call(&RoutedCall::to_partition(id, request.to_vec(), mode))).collect()
    }

    fn locate(&self, key: &[u8]) -> PartitionInfo {
        self.info(self.owner(key))
    }

    fn partitions(&self) -> Vec<PartitionInfo> {
        let count = self.partitions.borrow().len() as u32;
        (0..count).map(|id| self.info(id)).collect()
    }

    fn storage(&self) -> Box<dyn Storage + '_> {
        Box::new(RoutedStorage(self))
    }

    fn subscribe(&self, topic: &[u8]) -> Subscription {
        let queue = Queue::default();
        self.subscribers.borrow_mut().entry(topic.to_vec()).or_default().push(queue.clone());
        Subscription(SubscriptionKind::Fake(queue))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Package;

    impl Handler for Package {
        fn handle(transaction: &mut dyn Transaction, request: &[u8]) -> Result<Vec<u8>, Error> {
            if !transaction.is_read_only() {
                transaction.put(b"row", request)?;
                transaction.publish(b"topic", request);
            }
            if request == b"bad" { Err("refused".into()) } else { Ok(transaction.get(b"row")?.unwrap_or_default()) }
        }
    }

    fn to(id: u32, request: &[u8]) -> RoutedCall {
        RoutedCall::to_partition(id, request.to_vec(), Mode::Write)
    }

    #[test]
    fn a_transaction_is_all_or_nothing_and_within_one_group() {
        let cluster = FakeCluster::new::<Package>(6, 3);
        let subscription = cluster.subscribe(b"topic");
        assert_eq!(cluster.transact(&[to(1, b"a"), to(4, b"b")]).unwrap(), [b"a".to_vec(), b"b".to_vec()]);
        assert!(matches!(cluster.transact(&[to(1, b"c"), to(4, b"bad")]), Err(CallError::Rejected(_))));
        assert!(
            matches!(cluster.transact(&[to(1, b"c"), to(2, b"c")]), Err(CallError::Rejected(why)) if why.contains("[1, 2]"))
        );
        assert_eq!(cluster.with_partition(1, |partition| partition.rows()[&b"row"[..]].clone()), b"a");
        assert_eq!(cluster.with_partition(4, |partition| partition.rows()[&b"row"[..]].clone()), b"b");
        let mut messages = [subscription.next(0).unwrap(), subscription.next(0).unwrap()];
        messages.sort();
        assert_eq!(messages, [b"a".to_vec(), b"b".to_vec()]);
        assert_eq!(subscription.next(0), None, "a transaction that was rolled back publishes nothing");
    }

    #[test]
    fn a_listeners_storage_is_all_partitions_in_the_order_of_keys() {
        let cluster = FakeCluster::new::<Package>(4, 2);
        let mut storage = cluster.storage();
        let key = |n: u32| format!("{n:03} is a key").into_bytes();
        let entry = |n: u32| Entry { key: key(n), value: vec![n as u8] };
        let entries: Vec<Entry> = (0..300).map(entry).collect();
        storage.put_many(&entries).unwrap();
        let rows = |id| cluster.with_partition(id, |partition| partition.rows().len());
        assert!((0..4).filter(|id| rows(*id) > 0).count() > 1);
        let keys = |entries: Vec<Entry>| entries.into_iter().map(|entry| entry.key).collect::<Vec<_>>();
        let found: Vec<Entry> = storage.entries(KeyRange::all()).collect::<Result<_, _>>().unwrap();
        assert_eq!(keys(found), keys(entries));
        assert_eq!(keys(storage.scan(&KeyRange::all(), 2, true).unwrap()), [key(299), key(298)]);
        storage.remove_range(&KeyRange::between(&key(1), &key(300))).unwrap();
        assert_eq!(storage.get_many(&[0, 1].map(key)).unwrap(), [Some(vec![0]), None]);
        cluster.fail_partition(cluster.owner(b"key"), Some(CallError::Conflict));
        assert!(matches!(storage.put(b"key", b""), Err(StorageError::Unavailable(_))));
    }

    #[test]
    fn calls_go_to_their_partition_and_fail_by_themselves() {
        let cluster = FakeCluster::new::<Package>(4, 2);
        let key = b"some key";
        cluster.call(&RoutedCall::write(key, b"v".to_vec())).unwrap();
        assert_eq!(cluster.locate(key).id, cluster.owner(key));
        let other = (cluster.owner(key) + 1) % 4;
        cluster.fail_partition(other, Some(CallError::Unavailable("gone".to_owned())));
        let answers = cluster.scatter(b"", Mode::Read);
        assert!(matches!(answers[other as usize], Err(CallError::Unavailable(_))));
        assert_eq!(answers[cluster.owner(key) as usize].as_ref().unwrap(), b"v");
        assert!(cluster.call(&to(4, b"")).is_err());
    }
}
