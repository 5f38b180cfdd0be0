//! What handlers may call: storage and partition on the transaction, consensus on what the caller lent; the router refuses,
//! connections are not there.

use bytes::Bytes;
use wasmtime::component::Resource;
use wasmtime::{Error, Result};

use super::{HandlerState, NoConnection, NoPending, NoSubscription};
use crate::app_log::LogLevel;
use crate::bindings::blocking::recoil::plugin::{consensus, log, partition, router, settings, storage, tcp};
use crate::transaction::{GroupRole, StorageError};
use crate::{safe_u32, safe_u64};

type Outcome<T, E> = Result<std::result::Result<T, E>>;

impl From<StorageError> for storage::Error {
    fn from(error: StorageError) -> Self {
        match error {
            StorageError::TooLarge(text) => storage::Error::TooLarge(text),
            StorageError::ReadOnly => storage::Error::ReadOnly,
            StorageError::QuotaExceeded(text) => storage::Error::QuotaExceeded(text),
            StorageError::Unavailable(text) => storage::Error::Unavailable(text),
        }
    }
}

impl storage::Host for HandlerState {
    fn get(&mut self, key: Vec<u8>) -> Outcome<Option<Vec<u8>>, storage::Error> {
        Ok((|| Ok(self.transaction()?.get(&key)?.map(Vec::from)))())
    }

    fn get_many(&mut self, keys: Vec<Vec<u8>>) -> Outcome<Vec<Option<Vec<u8>>>, storage::Error> {
        Ok((|| {
            let transaction = self.transaction()?;
            let limit = transaction.limits().answer_bytes_max;
            let mut values = Vec::with_capacity(keys.len());
            let mut bytes = 0;
            for key in &keys {
                let value = transaction.get(key)?;
                bytes += value.as_ref().map_or(0, Bytes::len);
                if bytes > limit {
                    return Err(storage::Error::TooLarge(format!(
                        "the values come to more than limit answer_bytes: {limit}; ask for fewer keys"
                    )));
                }
                values.push(value.map(Vec::from));
            }
            Ok(values)
        })())
    }

    fn put(&mut self, key: Vec<u8>, value: Vec<u8>) -> Outcome<(), storage::Error> {
        Ok((|| Ok(self.transaction()?.put(&key, value.into())?))())
    }

    fn put_many(&mut self, entries: Vec<storage::Entry>) -> Outcome<(), storage::Error> {
        let entries = entries.into_iter().map(|entry| (entry.key.into(), entry.value.into())).collect();
        Ok((|| Ok(self.transaction()?.put_many(entries)?))())
    }

    fn remove(&mut self, key: Vec<u8>) -> Outcome<(), storage::Error> {
        Ok((|| Ok(self.transaction()?.remove(&key)?))())
    }

    fn remove_range(&mut self, within: storage::KeyRange) -> Outcome<(), storage::Error> {
        Ok((|| Ok(self.transaction()?.remove_range(&within.start, within.end.as_deref())?))())
    }

    fn scan(
        &mut self,
        within: storage::KeyRange,
        limit: u32,
        reverse: bool,
    ) -> Outcome<Vec<storage::Entry>, storage::Error> {
        Ok((|| {
            let (found, _) =
                self.transaction()?.scan(&within.start, within.end.as_deref(), limit, usize::MAX, reverse)?;
            Ok(found.into_iter().map(|(key, value)| storage::Entry { key: key.into(), value: value.into() }).collect())
        })())
    }
}

impl partition::Host for HandlerState {
    fn current(&mut self) -> Result<partition::Info> {
        let info = self.transaction().map_err(trap)?.info();
        Ok(partition::Info {
            keyspace: info.keyspace.to_string(),
            id: safe_u32(info.partition.0),
            count: safe_u32(info.partition_count),
            epoch: safe_u64(info.epoch),
        })
    }

    fn now(&mut self) -> Result<u64> {
        Ok(safe_u64(self.transaction().map_err(trap)?.info().now_us))
    }

    fn is_read_only(&mut self) -> Result<bool> {
        Ok(self.transaction().map_err(trap)?.info().read_only)
    }

    fn set_timer(&mut self, id: Vec<u8>, at: u64, payload: Vec<u8>) -> Result<()> {
        if !self.may_set_timers {
            return Err(Error::msg(
                "partition.set-timer: the component does not export recoil:plugin/timer, so nothing could take the timer",
            ));
        }
        self.transaction()
            .and_then(|transaction| transaction.set_timer(&id, at, payload.into()))
            .map_err(|error| in_call("partition.set-timer", &error))
    }

    fn cancel_timer(&mut self, id: Vec<u8>) -> Result<()> {
        self.transaction()
            .and_then(|transaction| transaction.cancel_timer(&id))
            .map_err(|error| in_call("partition.cancel-timer", &error))
    }

    fn publish(&mut self, topic: Vec<u8>, message: Vec<u8>) -> Result<()> {
        let published = self.transaction().and_then(|transaction| transaction.publish(topic.into(), message.into()));
        published.map_err(|error| in_call("partition.publish", &error))
    }
}

impl consensus::Host for HandlerState {
    fn status(&mut self) -> Result<consensus::GroupStatus> {
        let lent = self.transaction().map_err(trap)?.consensus();
        let status = lent.ok_or_else(|| Error::msg("consensus.status: this partition has no group"))?.status();
        Ok(consensus::GroupStatus {
            group: safe_u64(status.group),
            role: match status.role {
                GroupRole::Leader => consensus::Role::Leader,
                GroupRole::Follower => consensus::Role::Follower,
                GroupRole::Learner => consensus::Role::Learner,
            },
            term: safe_u64(status.term),
            leader: status.leader.map(safe_u32),
            committed: safe_u64(status.committed),
            applied: safe_u64(status.applied),
            voters: status.voters.into_iter().map(safe_u32).collect(),
        })
    }

    fn barrier(&mut self) -> Outcome<u64, String> {
        let lent = self.transaction().map_err(trap)?.consensus();
        Ok(lent
            .ok_or_else(|| "this partition has no group".to_owned())
            .and_then(|consensus| consensus.barrier().map(safe_u64)))
    }

    fn propose(&mut self, _entry: Vec<u8>) -> Outcome<Vec<u8>, String> {
        Ok(Err("consensus.propose needs state-machine, which is not supported by this version of the host".to_owned()))
    }
}

fn refused<T>() -> std::result::Result<T, router::Error> {
    Err(router::Error::Rejected(
        "a handler cannot call partitions: a transaction waits for nobody; call from the listener".to_owned(),
    ))
}

impl router::Host for HandlerState {
    fn call(&mut self, _call: router::RoutedCall) -> Outcome<Vec<u8>, router::Error> {
        Ok(refused())
    }

    fn call_many(
        &mut self,
        calls: Vec<router::RoutedCall>,
    ) -> Result<Vec<std::result::Result<Vec<u8>, router::Error>>> {
        let limit = self.environment.limits.calls_max;
        if calls.len() > limit {
            return Err(Error::msg(format!("router.call-many: {} calls (limit calls: {limit})", calls.len())));
        }
        Ok(calls.iter().map(|_| refused()).collect())
    }

    fn submit(&mut self, _call: router::RoutedCall) -> Result<Resource<NoPending>> {
        // Handles of the instance, though they lead nowhere.
        let limit = self.environment.limits.pending_calls_max;
        if self.pendings as usize >= limit {
            return Err(Error::msg(format!(
                "router.submit: more calls submitted and not waited for than limit pending_calls: {limit}; wait or drop"
            )));
        }
        self.pendings += 1;
        Ok(Resource::new_own(0))
    }

    fn wait(&mut self, _call: Resource<NoPending>) -> Outcome<Vec<u8>, router::Error> {
        self.pendings = self.pendings.saturating_sub(1);
        Ok(refused())
    }

    fn wait_all(
        &mut self,
        calls: Vec<Resource<NoPending>>,
    ) -> Result<Vec<std::result::Result<Vec<u8>, router::Error>>> {
        Ok(calls
            .iter()
            .map(|_| {
                self.pendings = self.pendings.saturating_sub(1);
                refused()
            })
            .collect())
    }

    fn transact(&mut self, _calls: Vec<router::RoutedCall>) -> Outcome<Vec<Vec<u8>>, router::Error> {
        Ok(refused())
    }

    fn scatter(
        &mut self,
        _request: Vec<u8>,
        _mode: router::Mode,
    ) -> Result<Vec<std::result::Result<Vec<u8>, router::Error>>> {
        Ok(vec![refused()])
    }

    fn locate(&mut self, _key: Vec<u8>) -> Result<router::PartitionInfo> {
        Err(Error::msg("router.locate: only listeners may look at the partition map"))
    }

    fn partitions(&mut self) -> Result<Vec<router::PartitionInfo>> {
        Err(Error::msg("router.partitions: only listeners may look at the partition map"))
    }

    fn subscribe(&mut self, _topic: Vec<u8>) -> Result<Resource<NoSubscription>> {
        Err(Error::msg("router.subscribe: only listeners may subscribe; a handler lives no longer than a call"))
    }
}

impl router::HostPending for HandlerState {
    fn is_ready(&mut self, _call: Resource<NoPending>) -> Result<bool> {
        Ok(true)
    }

    fn drop(&mut self, _call: Resource<NoPending>) -> Result<()> {
        self.pendings = self.pendings.saturating_sub(1);
        Ok(())
    }
}

impl router::HostSubscription for HandlerState {
    fn next(&mut self, _subscription: Resource<NoSubscription>, _timeout_ms: u32) -> Result<Option<Vec<u8>>> {
        Ok(None)
    }

    fn drop(&mut self, _subscription: Resource<NoSubscription>) -> Result<()> {
        Ok(())
    }
}

impl tcp::Host for HandlerState {}

impl tcp::HostConnection for HandlerState {
    fn peer_address(&mut self, _connection: Resource<NoConnection>) -> Result<String> {
        Err(no_connection())
    }

    fn read(&mut self, _connection: Resource<NoConnection>, _limit: u32) -> Outcome<Vec<u8>, tcp::Error> {
        Err(no_connection())
    }

    fn write(&mut self, _connection: Resource<NoConnection>, _data: Vec<u8>) -> Outcome<(), tcp::Error> {
        Err(no_connection())
    }

    fn wait_any(
        &mut self,
        _connection: Resource<NoConnection>,
        _subscriptions: Vec<Resource<NoSubscription>>,
        _timeout_ms: u32,
    ) -> Result<Option<tcp::Event>> {
        Err(no_connection())
    }

    fn drop(&mut self, _connection: Resource<NoConnection>) -> Result<()> {
        Ok(())
    }
}

impl log::Host for HandlerState {
    fn write(&mut self, level: log::Level, message: String) -> Result<()> {
        let level = match level {
            log::Level::Trace => LogLevel::Trace,
            log::Level::Debug => LogLevel::Debug,
            log::Level::Info => LogLevel::Info,
            log::Level::Warn => LogLevel::Warn,
            log::Level::Error => LogLevel::Error,
        };
        let partition = self.transaction.as_ref().map(|transaction| transaction.info().partition);
        self.environment.log.push_from_guest(level, partition, &message);
        Ok(())
    }
}

fn no_connection() -> Error {
    Error::msg("a handler has no connection")
}

fn trap(error: StorageError) -> Error {
    Error::msg(error.to_string())
}

fn in_call(function: &str, error: &StorageError) -> Error {
    Error::msg(format!("{function}: {error}"))
}

impl settings::Host for HandlerState {
    fn get(&mut self, name: String) -> Result<Option<String>> {
        Ok(self.environment.settings.get(&name))
    }
}
