//! The traits on the host's functions. Invariant: no logic; each method is one call of the contract.

use crate::bindings::platform::recoil::plugin::{partition, router, storage, tcp};
use crate::connection::{Connection, ConnectionError, Event};
use crate::router::{
    CallError, Mode, PartitionInfo, Pending, PendingKind, RoutedCall, Router, Subscription, SubscriptionKind,
};
use crate::storage::{Entry, KeyRange, Storage, StorageError};
use crate::transaction::{PartitionPlace, Transaction};

/// A handler's transaction; its storage is a listener's too, which the host then routes by key.
pub(crate) struct HostTransaction;

impl Storage for HostTransaction {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StorageError> {
        storage::get(key)
    }
    fn get_many(&self, keys: &[Vec<u8>]) -> Result<Vec<Option<Vec<u8>>>, StorageError> {
        storage::get_many(keys)
    }
    fn put(&mut self, key: &[u8], value: &[u8]) -> Result<(), StorageError> {
        storage::put(key, value)
    }
    fn put_many(&mut self, entries: &[Entry]) -> Result<(), StorageError> {
        storage::put_many(entries)
    }
    fn remove(&mut self, key: &[u8]) -> Result<(), StorageError> {
        storage::remove(key)
    }
    fn remove_range(&mut self, within: &KeyRange) -> Result<(), StorageError> {
        storage::remove_range(within)
    }
    fn scan(&self, within: &KeyRange, limit: u32, reverse: bool) -> Result<Vec<Entry>, StorageError> {
        storage::scan(within, limit, reverse)
    }
}

impl Transaction for HostTransaction {
    fn place(&self) -> PartitionPlace {
        partition::current()
    }
    fn now_us(&self) -> u64 {
        partition::now()
    }
    fn is_read_only(&self) -> bool {
        partition::is_read_only()
    }
    fn set_timer(&mut self, id: &[u8], at_us: u64, payload: &[u8]) {
        partition::set_timer(id, at_us, payload);
    }
    fn cancel_timer(&mut self, id: &[u8]) {
        partition::cancel_timer(id);
    }
    fn publish(&mut self, topic: &[u8], message: &[u8]) {
        partition::publish(topic, message);
    }
}

pub(crate) struct HostRouter;

impl Router for HostRouter {
    fn call(&self, call: &RoutedCall) -> Result<Vec<u8>, CallError> {
        router::call(call)
    }
    fn call_many(&self, calls: &[RoutedCall]) -> Vec<Result<Vec<u8>, CallError>> {
        router::call_many(calls)
    }
    fn submit(&self, call: &RoutedCall) -> Pending {
        Pending(PendingKind::Host(router::submit(call)))
    }
    fn wait_all(&self, calls: Vec<Pending>) -> Vec<Result<Vec<u8>, CallError>> {
        let host = |call: Pending| match call.0 {
            PendingKind::Host(pending) => pending,
            #[cfg(not(target_arch = "wasm32"))]
            PendingKind::Fake(_) => panic!("a fake call on the host's router"),
        };
        router::wait_all(calls.into_iter().map(host).collect())
    }
    fn transact(&self, calls: &[RoutedCall]) -> Result<Vec<Vec<u8>>, CallError> {
        router::transact(calls)
    }
    fn scatter(&self, request: &[u8], mode: Mode) -> Vec<Result<Vec<u8>, CallError>> {
        router::scatter(request, mode)
    }
    fn locate(&self, key: &[u8]) -> PartitionInfo {
        router::locate(key)
    }
    fn partitions(&self) -> Vec<PartitionInfo> {
        router::partitions()
    }
    fn storage(&self) -> Box<dyn Storage + '_> {
        Box::new(HostTransaction)
    }
    fn subscribe(&self, topic: &[u8]) -> Subscription {
        Subscription(SubscriptionKind::Host(router::subscribe(topic)))
    }
}

pub(crate) struct HostConnection(pub(crate) tcp::Connection);

impl Connection for HostConnection {
    fn peer_address(&self) -> String {
        self.0.peer_address()
    }
    fn read(&mut self, limit: u32) -> Result<Vec<u8>, ConnectionError> {
        self.0.read(limit)
    }
    fn write(&mut self, data: &[u8]) -> Result<(), ConnectionError> {
        self.0.write(data)
    }
    fn wait_any(&mut self, subscriptions: &[&Subscription], timeout_ms: u32) -> Option<Event> {
        let mut announced = Vec::with_capacity(subscriptions.len());
        for subscription in subscriptions {
            match &subscription.0 {
                SubscriptionKind::Host(subscription) => announced.push(subscription),
                #[cfg(not(target_arch = "wasm32"))]
                SubscriptionKind::Fake(_) => panic!("a fake subscription on the host's connection"),
            }
        }
        self.0.wait_any(&announced, timeout_ms)
    }
}
