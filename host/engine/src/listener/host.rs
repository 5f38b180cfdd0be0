//! What listeners may call: the router, connections, the log; a listener has no partition, so those functions trap.

use std::future::poll_fn;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use recoil_base::{PartitionId, task};
use tokio::time::timeout;
use wasmtime::component::Resource;
use wasmtime::{Error, Result};

use super::connection::{Socket, SocketError};
use super::{Connection, ListenerState, Pending, Subscription};
use crate::app_log::LogLevel;
use crate::bindings::waiting::recoil::plugin::{consensus, log, partition, router, settings, tcp};
use crate::call::{Address, CallBody, CallError, Mode, RoutedCall};
use crate::listener::PartitionInfo;
use crate::{safe_u32, safe_u64};

type Outcome<T, E> = Result<std::result::Result<T, E>>;

impl From<CallError> for router::Error {
    fn from(error: CallError) -> Self {
        match error {
            CallError::Rejected(text) => router::Error::Rejected(text),
            CallError::Failed(text) => router::Error::Failed(text),
            CallError::UnknownOutcome(text) => router::Error::UnknownOutcome(text),
            CallError::Unavailable(text) => router::Error::Unavailable(text),
            CallError::Conflict => router::Error::Conflict,
        }
    }
}

impl From<router::Mode> for Mode {
    fn from(mode: router::Mode) -> Self {
        match mode {
            router::Mode::Write => Mode::Write,
            router::Mode::Read => Mode::Read,
            router::Mode::StaleRead => Mode::StaleRead,
        }
    }
}

fn routed(call: router::RoutedCall) -> RoutedCall {
    let to = match call.to {
        router::Address::Key(key) => Address::Key(key.into()),
        router::Address::Partition(id) => Address::Partition(PartitionId(id)),
    };
    RoutedCall { to, body: CallBody::Handle(call.request.into()), mode: call.mode.into() }
}

fn answer(answer: std::result::Result<Bytes, CallError>) -> std::result::Result<Vec<u8>, router::Error> {
    answer.map(Vec::from).map_err(router::Error::from)
}

fn only(mut answers: Vec<std::result::Result<Bytes, CallError>>) -> std::result::Result<Bytes, CallError> {
    answers.pop().unwrap_or_else(|| Err(CallError::UnknownOutcome("the router lost the answer".to_owned())))
}

fn partition_info(info: PartitionInfo) -> router::PartitionInfo {
    router::PartitionInfo {
        id: safe_u32(info.id.0),
        leader: info.leader.map(safe_u32),
        replicas: info.replicas.into_iter().map(safe_u32).collect(),
        epoch: safe_u64(info.epoch),
    }
}

impl ListenerState {
    /// Refuses requests and numbers of calls above their limits, before anything is sent.
    fn check_calls(&self, requests: &[usize]) -> std::result::Result<(), CallError> {
        let limits = &self.environment.limits;
        let (count, calls) = (requests.len(), limits.calls_max);
        if count > calls {
            return Err(CallError::Rejected(format!("{count} calls at once (limit calls: {calls}); send fewer")));
        }
        match requests.iter().find(|bytes| **bytes > limits.request_bytes_max) {
            Some(bytes) => Err(CallError::Rejected(format!(
                "a request has {bytes} bytes (limit request_bytes: {}); send it in parts",
                limits.request_bytes_max
            ))),
            None => Ok(()),
        }
    }

    fn take_pending(&mut self, call: Resource<Pending>) -> Result<Pending> {
        let pending = self.handles.delete(call)?;
        self.pendings -= 1;
        Ok(pending)
    }
}

impl Pending {
    async fn answer(self) -> std::result::Result<Bytes, CallError> {
        self.answer.await.map_or_else(|_| Err(CallError::UnknownOutcome("the node is stopping".to_owned())), only)
    }
}

impl router::Host for ListenerState {
    async fn call(&mut self, call: router::RoutedCall) -> Outcome<Vec<u8>, router::Error> {
        if let Err(error) = self.check_calls(&[call.request.len()]) {
            return Ok(Err(error.into()));
        }
        Ok(answer(only(self.router.call_many(vec![routed(call)]).await)))
    }

    async fn call_many(
        &mut self,
        calls: Vec<router::RoutedCall>,
    ) -> Result<Vec<std::result::Result<Vec<u8>, router::Error>>> {
        if calls.is_empty() {
            return Ok(Vec::new());
        }
        let requests: Vec<usize> = calls.iter().map(|call| call.request.len()).collect();
        if let Err(error) = self.check_calls(&requests) {
            if calls.len() > self.environment.limits.calls_max {
                return Err(Error::msg(format!("router.call-many: {error}"))); // as many answers would be no better
            }
            return Ok(calls.iter().map(|_| Err(error.clone().into())).collect());
        }
        let answers = self.router.call_many(calls.into_iter().map(routed).collect()).await;
        Ok(answers.into_iter().map(answer).collect())
    }

    fn submit(&mut self, call: router::RoutedCall) -> Result<Resource<Pending>> {
        let limit = self.environment.limits.pending_calls_max;
        if self.pendings >= limit {
            return Err(Error::msg(format!(
                "router.submit: more calls submitted and not waited for than limit pending_calls: {limit}; wait or drop"
            )));
        }
        // The call takes its place here; the task only waits.
        let answer = match self.check_calls(&[call.request.len()]) {
            Ok(()) => task::spawn_detached(self.router.call_many(vec![routed(call)])),
            Err(error) => task::spawn_detached(async move { vec![Err(error)] }),
        };
        let pending = self.handles.push(Pending { answer })?;
        self.pendings += 1;
        Ok(pending)
    }

    async fn wait(&mut self, call: Resource<Pending>) -> Outcome<Vec<u8>, router::Error> {
        let pending = self.take_pending(call)?;
        Ok(answer(pending.answer().await))
    }

    async fn wait_all(
        &mut self,
        calls: Vec<Resource<Pending>>,
    ) -> Result<Vec<std::result::Result<Vec<u8>, router::Error>>> {
        let mut answers = Vec::with_capacity(calls.len());
        for call in calls {
            let pending = self.take_pending(call)?;
            answers.push(answer(pending.answer().await));
        }
        Ok(answers)
    }

    async fn transact(&mut self, calls: Vec<router::RoutedCall>) -> Outcome<Vec<Vec<u8>>, router::Error> {
        if calls.is_empty() {
            return Ok(Ok(Vec::new()));
        }
        let requests: Vec<usize> = calls.iter().map(|call| call.request.len()).collect();
        if let Err(error) = self.check_calls(&requests) {
            return Ok(Err(error.into()));
        }
        let answers = self.router.transact(calls.into_iter().map(routed).collect()).await;
        Ok(answers.map(|answers| answers.into_iter().map(Vec::from).collect()).map_err(router::Error::from))
    }

    async fn scatter(
        &mut self,
        request: Vec<u8>,
        mode: router::Mode,
    ) -> Result<Vec<std::result::Result<Vec<u8>, router::Error>>> {
        if let Err(error) = self.check_calls(&[request.len()]) {
            return Ok(self.router.partitions().iter().map(|_| Err(error.clone().into())).collect());
        }
        let (request, mode) = (Bytes::from(request), Mode::from(mode));
        let to_all = self.router.partitions().into_iter().map(|partition| RoutedCall {
            to: Address::Partition(partition.id),
            body: CallBody::Handle(request.clone()),
            mode,
        });
        let calls = to_all.collect();
        let answers = self.router.call_many(calls).await;
        Ok(answers.into_iter().map(answer).collect())
    }

    fn locate(&mut self, key: Vec<u8>) -> Result<router::PartitionInfo> {
        Ok(partition_info(self.router.locate(&key)))
    }

    fn partitions(&mut self) -> Result<Vec<router::PartitionInfo>> {
        Ok(self.router.partitions().into_iter().map(partition_info).collect())
    }

    fn subscribe(&mut self, topic: Vec<u8>) -> Result<Resource<Subscription>> {
        let limit = self.environment.limits.subscriptions_max;
        if self.subscriptions >= limit {
            return Err(Error::msg(format!(
                "router.subscribe: more subscriptions than limit subscriptions: {limit}; drop some"
            )));
        }
        let (bytes, bytes_max) = (topic.len(), self.environment.limits.transaction.key_bytes_max);
        if bytes > bytes_max {
            return Err(Error::msg(format!(
                "router.subscribe: a topic has {bytes} bytes (limit key_bytes: {bytes_max})"
            )));
        }
        let messages = self.router.subscribe(topic.into());
        let subscription = self.handles.push(Subscription { messages, peeked: None })?;
        self.subscriptions += 1;
        Ok(subscription)
    }
}

impl router::HostPending for ListenerState {
    fn is_ready(&mut self, call: Resource<Pending>) -> Result<bool> {
        Ok(self.handles.get(&call)?.answer.is_finished())
    }

    fn drop(&mut self, call: Resource<Pending>) -> Result<()> {
        self.take_pending(call)?;
        Ok(())
    }
}

impl router::HostSubscription for ListenerState {
    async fn next(&mut self, subscription: Resource<Subscription>, timeout_ms: u32) -> Result<Option<Vec<u8>>> {
        let subscription = self.handles.get_mut(&subscription)?;
        if let Some(message) = subscription.peeked.take() {
            return Ok(Some(message.into()));
        }
        if timeout_ms == 0 {
            return Ok(subscription.messages.try_recv().ok().map(Vec::from));
        }
        let received = timeout(Duration::from_millis(timeout_ms.into()), subscription.messages.recv()).await;
        Ok(received.ok().flatten().map(Vec::from))
    }

    fn drop(&mut self, subscription: Resource<Subscription>) -> Result<()> {
        self.handles.delete(subscription)?;
        self.subscriptions -= 1;
        Ok(())
    }
}

impl From<SocketError> for tcp::Error {
    fn from(error: SocketError) -> Self {
        match error {
            SocketError::Closed => tcp::Error::Closed,
            SocketError::TimedOut => tcp::Error::TimedOut,
            SocketError::Failed(text) => tcp::Error::Failed(text),
        }
    }
}

impl ListenerState {
    /// A guest without a connection cannot have made the handle that it would name.
    fn connected(&mut self) -> Result<&mut Socket> {
        self.socket.as_mut().ok_or_else(|| Error::msg("tcp: this instance serves no connection"))
    }
}

impl tcp::Host for ListenerState {}

impl tcp::HostConnection for ListenerState {
    fn peer_address(&mut self, _connection: Resource<Connection>) -> Result<String> {
        Ok(self.connected()?.peer().to_string())
    }

    async fn read(&mut self, _connection: Resource<Connection>, limit: u32) -> Outcome<Vec<u8>, tcp::Error> {
        Ok(self.connected()?.read(limit).await.map_err(tcp::Error::from))
    }

    async fn write(&mut self, _connection: Resource<Connection>, data: Vec<u8>) -> Outcome<(), tcp::Error> {
        Ok(self.connected()?.write(&data).await.map_err(tcp::Error::from))
    }

    async fn wait_any(
        &mut self,
        _connection: Resource<Connection>,
        subscriptions: Vec<Resource<Subscription>>,
        timeout_ms: u32,
    ) -> Result<Option<tcp::Event>> {
        for subscription in &subscriptions {
            self.handles.get(subscription)?;
        }
        let ListenerState { socket: Some(socket), handles, .. } = self else {
            return Err(Error::msg("tcp: this instance serves no connection"));
        };
        let message = poll_fn(|context| {
            for (place, subscription) in subscriptions.iter().enumerate() {
                let Ok(subscription) = handles.get_mut(subscription) else { continue };
                if subscription.peeked.is_none() {
                    // A closed channel brings nothing any more and is not waited for.
                    if let Poll::Ready(message) = subscription.messages.poll_recv(context) {
                        subscription.peeked = message;
                    }
                }
                if subscription.peeked.is_some() {
                    return Poll::Ready(place);
                }
            }
            Poll::Pending
        });
        let waited = timeout(Duration::from_millis(timeout_ms.into()), async {
            tokio::select! {
                biased;
                ready = socket.readable() => Err(ready),
                place = message => Ok(place),
            }
        });
        Ok(match waited.await {
            Err(_) => None,
            Ok(Ok(place)) => Some(tcp::Event::Message(place as u32)),
            // An error is what the next read will say.
            Ok(Err(ready)) => {
                let _ = socket.note(ready);
                Some(tcp::Event::Readable)
            }
        })
    }

    fn drop(&mut self, _connection: Resource<Connection>) -> Result<()> {
        Ok(())
    }
}

fn no_partition<T>(function: &str) -> Result<T> {
    Err(Error::msg(format!("{function}: a listener has no partition; call a handler through the router")))
}

impl partition::Host for ListenerState {
    fn current(&mut self) -> Result<partition::Info> {
        no_partition("partition.current")
    }

    fn now(&mut self) -> Result<u64> {
        no_partition("partition.now")
    }

    fn is_read_only(&mut self) -> Result<bool> {
        no_partition("partition.is-read-only")
    }

    fn set_timer(&mut self, _id: Vec<u8>, _at: u64, _payload: Vec<u8>) -> Result<()> {
        no_partition("partition.set-timer")
    }

    fn cancel_timer(&mut self, _id: Vec<u8>) -> Result<()> {
        no_partition("partition.cancel-timer")
    }

    fn publish(&mut self, _topic: Vec<u8>, _message: Vec<u8>) -> Result<()> {
        no_partition("partition.publish")
    }
}

impl consensus::Host for ListenerState {
    fn status(&mut self) -> Result<consensus::GroupStatus> {
        no_partition("consensus.status")
    }

    fn barrier(&mut self) -> Outcome<u64, String> {
        Ok(Err("consensus.barrier: a listener has no partition".to_owned()))
    }

    fn propose(&mut self, _entry: Vec<u8>) -> Outcome<Vec<u8>, String> {
        Ok(Err("consensus.propose: a listener has no partition".to_owned()))
    }
}

impl log::Host for ListenerState {
    fn write(&mut self, level: log::Level, message: String) -> Result<()> {
        let level = match level {
            log::Level::Trace => LogLevel::Trace,
            log::Level::Debug => LogLevel::Debug,
            log::Level::Info => LogLevel::Info,
            log::Level::Warn => LogLevel::Warn,
            log::Level::Error => LogLevel::Error,
        };
        self.environment.log.push_from_guest(level, None, &message);
        Ok(())
    }
}

impl settings::Host for ListenerState {
    fn get(&mut self, name: String) -> Result<Option<String>> {
        Ok(self.environment.settings.get(&name))
    }
}
