//! Handler instances: one partition's piece of an app, called synchronously on an evaluation thread.
//!
//! Invariants:
//! - One call at a time, each in a [`Transaction`] that moves in and out; between calls the instance holds none.
//! - A failed call (rejected, trapped, late) gives its transaction back empty.
//! - A trap poisons: the instance must be dropped and made anew. An `err` does not.
//!
//! What runs to its end without a partition, as a scheduler does, has the same store, start and limits ([`AppCode::store`]).
//!
//! Deliberately absent: retries, queues, and who owns the partition. Calls block; never call from an async task.

mod host;

use std::time::Duration;

use bytes::Bytes;
use recoil_base::{Clock, task};
use tokio::time::Instant;
use wasmtime::component::{HasSelf, Instance, Linker, TypedFunc};
use wasmtime::{Store, UpdateDeadline};
use wasmtime_wasi::{WasiCtxView, WasiView};
use wasmtime_wasi_http::{WasiHttpCtxView, WasiHttpView};

use crate::app_log::LogLevel;
use crate::bindings::blocking::recoil::plugin as contract;
use crate::call::{CallBody, CallError, evaluate_storage};
use crate::code::{self, AppCode};
use crate::environment::{Environment, MemoryLimiter};
use crate::http::incoming::Http;
use crate::ticker::{TICK_MS, Ticker};
use crate::transaction::{StorageError, Transaction};
use crate::trap::{self, Circumstances};
use crate::wasi::{self, BoundedWait, Wasi};

/// Times its limit for which a call may last on a machine that is busy with others.
const PASSED_MAX: u32 = 3;

/// A submitted call that a handler may not make: waiting answers `rejected`.
#[allow(unreachable_pub)] // bindgen! exports it again
pub struct NoPending;
/// A subscription, which a handler cannot have.
#[allow(unreachable_pub)] // bindgen! exports it again
pub struct NoSubscription;
/// A connection, which a handler cannot have.
#[allow(unreachable_pub)] // bindgen! exports it again
pub struct NoConnection;

type HandleFunc = TypedFunc<(&'static [u8],), (Result<Vec<u8>, String>,)>;
type FireFunc = TypedFunc<(&'static [u8], &'static [u8]), (Result<(), String>,)>;

/// What a handler's host functions work on.
pub(crate) struct HandlerState {
    wasi: Wasi,
    limiter: MemoryLimiter,
    environment: Environment,
    may_set_timers: bool,
    /// Present during a call.
    transaction: Option<Transaction>,
    /// Calls submitted and neither waited for nor dropped: each is a handle in the instance's table.
    pendings: u32,
    clock: Clock,
    lasting: Option<Lasting>,
    http: Http,
}

/// When a call was first seen to last, and what its thread had computed then. A call is on its thread from start to end, so the
/// thread's processor time is its own: a busy machine does not make it fail.
struct Lasting {
    since: Instant,
    processor_time: Duration,
}

impl HandlerState {
    /// Asked when the call has lasted for a tick, and then whenever its time could be over: traps, or says when to ask again.
    fn deadline(&mut self) -> UpdateDeadline {
        let limit = Duration::from_millis(self.environment.limits.call_ms_max.into());
        let (now, processor_time) = (self.clock.now(), task::processor_time());
        let lasting = self.lasting.get_or_insert(Lasting { since: now, processor_time });
        let computed = processor_time.saturating_sub(lasting.processor_time);
        let passed = now - lasting.since;
        if computed >= limit || passed >= limit * PASSED_MAX {
            return UpdateDeadline::Interrupt;
        }
        let rest = (limit - computed).min(limit * PASSED_MAX - passed);
        UpdateDeadline::Continue((rest.as_millis() as u64).div_ceil(TICK_MS).max(1))
    }
}

impl WasiView for HandlerState {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView { ctx: &mut self.wasi.context, table: &mut self.wasi.table }
    }
}

/// Only because a component's imports are linked for all its roles: a handler is asked nothing over HTTP, and may ask nothing.
impl WasiHttpView for HandlerState {
    fn http(&mut self) -> WasiHttpCtxView<'_> {
        self.http.view(&mut self.wasi.table)
    }
}

impl BoundedWait for HandlerState {
    fn wait_max(&self) -> Duration {
        Duration::from_millis(self.environment.limits.call_ms_max.into())
    }
}

/// Provides everything that a handler may import.
pub(crate) fn link(linker: &mut Linker<HandlerState>) -> wasmtime::Result<()> {
    wasi::link_blocking(linker)?;
    wasmtime_wasi_http::p2::add_only_http_to_linker_sync(linker)?;
    contract::storage::add_to_linker::<_, HasSelf<HandlerState>>(linker, |state| state)?;
    contract::partition::add_to_linker::<_, HasSelf<HandlerState>>(linker, |state| state)?;
    contract::consensus::add_to_linker::<_, HasSelf<HandlerState>>(linker, |state| state)?;
    contract::router::add_to_linker::<_, HasSelf<HandlerState>>(linker, |state| state)?;
    contract::tcp::add_to_linker::<_, HasSelf<HandlerState>>(linker, |state| state)?;
    code::share_subscription::<_, NoSubscription>(linker)?;
    contract::log::add_to_linker::<_, HasSelf<HandlerState>>(linker, |state| state)?;
    contract::settings::add_to_linker::<_, HasSelf<HandlerState>>(linker, |state| state)
}

/// An instance of an app's handler. See the module's text.
pub struct HandlerInstance {
    ticker: Ticker,
    store: Store<HandlerState>,
    handle: HandleFunc,
    fire: Option<FireFunc>,
    poisoned: bool,
}

impl AppCode {
    /// Makes an instance: 50 µs for most languages. `Unavailable` when the engine's instances are used up, `Failed` when the
    /// component traps while it starts.
    pub fn new_handler(&self, environment: Environment) -> Result<HandlerInstance, CallError> {
        let Some(handle) = &self.exports.handle else {
            let why = "the package exports no recoil:plugin/handler: it owns no data, and takes no calls";
            return Err(CallError::Rejected(why.to_owned()));
        };
        let mut store = self.store(environment);
        let (handle, fire) = self.start(&mut store, "handler", |store, instance| {
            let handle = instance.get_typed_func(&mut *store, handle)?;
            let fire = self.exports.fire.as_ref().map(|fire| instance.get_typed_func(store, fire)).transpose()?;
            Ok((handle, fire))
        })?;
        Ok(HandlerInstance { ticker: self.engine.ticker().clone(), store, handle, fire, poisoned: false })
    }

    /// What an instance that is called without waiting lives in.
    pub(crate) fn store(&self, environment: Environment) -> Store<HandlerState> {
        let limits = environment.limits;
        let state = HandlerState {
            wasi: Wasi::new(&environment.log),
            limiter: MemoryLimiter::new(&limits, self.engine.memory_bytes_max(), &self.memory),
            environment,
            may_set_timers: self.roles().timer,
            transaction: None,
            pendings: 0,
            clock: Clock::system(),
            lasting: None,
            http: Http::default(),
        };
        let mut store = Store::new(self.engine.wasmtime(), state);
        store.limiter(|state| &mut state.limiter);
        store.set_hostcall_fuel(limits.host_call_bytes_max);
        store.set_epoch_deadline(1);
        store.epoch_deadline_callback(|mut context| Ok(context.data_mut().deadline()));
        store
    }

    /// Makes the instance in its store, and answers what `exports` finds in it. The role is for the words of a failure.
    pub(crate) fn start<T>(
        &self,
        store: &mut Store<HandlerState>,
        role: &str,
        exports: impl FnOnce(&mut Store<HandlerState>, Instance) -> wasmtime::Result<T>,
    ) -> Result<T, CallError> {
        let _running = self.engine.ticker().run();
        let before = task::touched_bytes();
        let made = self.handlers.instantiate(&mut *store).and_then(|instance| exports(store, instance));
        store.data().limiter.account().touch(task::touched_bytes() - before);
        made.map_err(|error| {
            if trap::is_pool_exhausted(&error) {
                return CallError::Unavailable(
                    "no room for another instance on this node; retry, or raise its instance limit".to_owned(),
                );
            }
            let why = format!("the {role} could not start: {}", trap::describe(&error, circumstances(store)));
            store.data().environment.log.push(LogLevel::Error, None, &why);
            CallError::Failed(why)
        })
    }
}

/// Calls an instance. The error is a trap, described, and in the app's log.
pub(crate) fn call<T>(
    ticker: &Ticker,
    store: &mut Store<HandlerState>,
    role: &str,
    call: impl FnOnce(&mut Store<HandlerState>) -> wasmtime::Result<T>,
) -> Result<T, String> {
    let state = store.data_mut();
    state.limiter.take_refused();
    state.lasting = None;
    let partition = state.transaction.as_ref().map(|transaction| transaction.info().partition);
    let _running = ticker.run();
    let before = state.limiter.account().is_metered().then(task::touched_bytes);
    store.set_epoch_deadline(1);
    let answer = call(store);
    if let Some(before) = before {
        // Whoever keeps the instance looks at what the app holds.
        store.data().limiter.account().touch(task::touched_bytes() - before);
    }
    answer.map_err(|error| {
        let why = trap::describe(&error, circumstances(store));
        store.data().environment.log.push(LogLevel::Error, partition, &format!("the {role} failed: {why}"));
        why
    })
}

impl HandlerInstance {
    /// Runs the handler on one request. The transaction comes back with what the handler wrote, or empty if it failed.
    pub fn handle(&mut self, transaction: Transaction, request: &[u8]) -> (Transaction, Result<Vec<u8>, CallError>) {
        let handle = self.handle;
        let answer_bytes_max = transaction.limits().answer_bytes_max;
        let (transaction, answer) = self.run(transaction, |store| Ok(handle.call(store, (request,))?.0));
        self.settle(transaction, answer, |answer| match answer.len() {
            size if size > answer_bytes_max => Err(CallError::Failed(format!(
                "the answer has {size} bytes (limit answer_bytes: {answer_bytes_max}); answer in pages"
            ))),
            _ => Ok(answer),
        })
    }

    /// Delivers a timer. The caller removes its row in the same transaction ([`Transaction::take_timer`]); [`evaluate`](Self::evaluate)
    /// does both.
    pub fn fire(
        &mut self,
        transaction: Transaction,
        id: &[u8],
        payload: &[u8],
    ) -> (Transaction, Result<(), CallError>) {
        let Some(fire) = self.fire else {
            let why = CallError::Rejected(
                "the app's handler does not export recoil:plugin/timer: it cannot take timers".to_owned(),
            );
            return (rolled_back(transaction), Err(why));
        };
        let (transaction, answer) = self.run(transaction, |store| Ok(fire.call(store, (id, payload))?.0));
        self.settle(transaction, answer, Ok)
    }

    /// Evaluates whatever a routed call asks. The answer to a timer is empty, also if it had fired or been replaced before.
    pub fn evaluate(
        &mut self,
        mut transaction: Transaction,
        body: &CallBody,
    ) -> (Transaction, Result<Bytes, CallError>) {
        match body {
            CallBody::Handle(request) => {
                let (transaction, answer) = self.handle(transaction, request);
                (transaction, answer.map(Bytes::from))
            }
            CallBody::Fire { id, payload, at_us } => match transaction.take_timer(id, *at_us) {
                Ok(Some(_)) => {
                    let (transaction, answer) = self.fire(transaction, id, payload);
                    (transaction, answer.map(|()| Bytes::new()))
                }
                Ok(None) => (transaction, Ok(Bytes::new())),
                Err(error) => (rolled_back(transaction), Err(error.into())),
            },
            CallBody::Get(_) | CallBody::Write(_) | CallBody::Scan { .. } => {
                let answer = evaluate_storage(&mut transaction, body);
                (transaction, answer)
            }
        }
    }

    /// Linear memory, beyond what each instance may have without counting against its app.
    pub fn memory_bytes(&self) -> usize {
        self.store.data().limiter.account().counted_bytes()
    }

    /// True after a trap: the instance answers nothing any more and must be made anew.
    pub fn is_poisoned(&self) -> bool {
        self.poisoned
    }

    /// Lends the transaction to the instance for one call. The outer error is a trap, described.
    fn run<T>(
        &mut self,
        transaction: Transaction,
        call: impl FnOnce(&mut Store<HandlerState>) -> wasmtime::Result<T>,
    ) -> (Transaction, Result<T, String>) {
        if self.poisoned {
            return (transaction, Err("the instance trapped before and cannot be used".to_owned()));
        }
        let state = self.store.data_mut();
        state.wasi.set_partition(transaction.info().partition);
        state.transaction = Some(transaction);
        let answer = self::call(&self.ticker, &mut self.store, "handler", call);
        self.poisoned = answer.is_err();
        let transaction = self.store.data_mut().transaction.take();
        (transaction.expect("a call leaves its transaction in place"), answer)
    }

    /// Turns an instance's answer into the call's, and rolls back what failed.
    fn settle<T>(
        &self,
        transaction: Transaction,
        answer: Result<Result<T, String>, String>,
        check: impl FnOnce(T) -> Result<T, CallError>,
    ) -> (Transaction, Result<T, CallError>) {
        let answer = match answer {
            Ok(Ok(answer)) => check(answer),
            Ok(Err(why)) => Err(CallError::Rejected(why)),
            Err(why) => Err(CallError::Failed(why)),
        };
        let transaction = if answer.is_err() { rolled_back(transaction) } else { transaction };
        (transaction, answer)
    }
}

fn rolled_back(mut transaction: Transaction) -> Transaction {
    transaction.roll_back();
    transaction
}

fn circumstances(store: &mut Store<HandlerState>) -> Circumstances {
    let state = store.data_mut();
    Circumstances { call_ms_max: state.environment.limits.call_ms_max, memory_refused: state.limiter.take_refused() }
}

impl HandlerState {
    /// The call's transaction; there is none while an instance starts, nor in a scheduler.
    fn transaction(&mut self) -> Result<&mut Transaction, StorageError> {
        self.transaction.as_mut().ok_or_else(|| {
            StorageError::Unavailable(
                "storage is there during a call of the handler, not while an instance starts or plans".to_owned(),
            )
        })
    }
}
