//! What a call of a handler costs by itself: no network, no log, one row in memory.
//!
//! Two things are measured. The crossing: a request of 128 bytes that comes back as it is. And redis-server's SET and GET, as the
//! component that a cluster runs and as the same source compiled for this machine, both on the host's own transaction: their
//! difference is what WebAssembly takes of a request's way in the handler.
//!
//! Deliberately absent: the same difference from end to end. The host knows one kind of handler, an instance of a component, and one kind
//! of listener; a second kind for a measurement would be on the path that is measured. Held against a request's processor
//! time in `compare`, the difference here says what is to be gained.

mod native;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context as _, ensure};
use bytes::Bytes;
use recoil_base::{Clock, Digest, PartitionId};
use recoil_engine::{
    AppLog, AppLogOptions, CallError, Engine, EngineOptions, Environment, HandlerInstance, Limits, Overlay,
    Transaction, TransactionInfo, TransactionLimits, View, ViewError,
};
use recoil_sdk::Handler as _;
use recoil_sdk::encoding::push_bytes;

use crate::figures::{Table, median, short, spread};
use crate::load::VALUE_BYTES;

/// Calls of a kind in a row, and how often the kinds take turns.
const CALLS: u32 = 100_000;
const ROUNDS: usize = 7;
/// Numbers of the commands between redis-server's listener and its handler; they are never used for anything else.
const GET: u8 = 1;
const SET: u8 = 2;

pub(crate) fn run() -> anyhow::Result<()> {
    let engine = Engine::new(EngineOptions::default())?;
    let mut crossing = instance(&engine, recoil_hostile::component())?;
    let package = recoil::packages::PACKAGES.iter().find(|package| package.name == "redis-server");
    let mut redis = instance(&engine, package.context("redis-server comes with the programs")?.archive)?;
    let rows = rows_after_set(&mut redis)?;
    let mirror = [&b"mirror "[..], &[b'x'; VALUE_BYTES]].concat()[..VALUE_BYTES].to_vec();
    let (set, get) = (set(), get());
    // One instance for both: they take turns.
    let redis = RefCell::new(redis);
    let on_wasm = |transaction, request: &[u8]| redis.borrow_mut().handle(transaction, request);
    let mut kinds: Vec<(&str, Kind<'_>)> = vec![
        ("128 B in and out", Box::new(|transaction| crossing.handle(transaction, &mirror))),
        ("redis-server SET", Box::new(|transaction| on_wasm(transaction, &set))),
        ("redis-server SET, native", Box::new(|transaction| native(transaction, &set))),
        ("redis-server GET", Box::new(|transaction| on_wasm(transaction, &get))),
        ("redis-server GET, native", Box::new(|transaction| native(transaction, &get))),
    ];
    let mut samples = vec![Vec::new(); kinds.len()];
    for _ in 0..ROUNDS {
        for ((name, kind), samples) in kinds.iter_mut().zip(&mut samples) {
            samples.push(time(&rows, kind).with_context(|| (*name).to_owned())?);
        }
    }
    let mut table = Table::new(&["handler call", "µs", "lowest-highest"]);
    for ((name, _), samples) in kinds.iter().zip(&samples) {
        let (lowest, highest) = spread(samples).unwrap_or_default();
        let range = format!("{}-{}", short(lowest), short(highest));
        table.row([(*name).to_owned(), short(median(samples).unwrap_or_default()), range]);
    }
    print!("{table}");
    Ok(())
}

type Answered = (Transaction, Result<Vec<u8>, CallError>);
type Kind<'a> = Box<dyn FnMut(Transaction) -> Answered + 'a>;

fn native(mut transaction: Transaction, request: &[u8]) -> Answered {
    let answer = redis_server::Redis::handle(&mut native::Native(&mut transaction), request);
    (transaction, answer.map_err(|error| CallError::Rejected(error.into_message())))
}

/// Microseconds a call. Every call is a transaction of its own.
fn time(rows: &Arc<Rows>, kind: &mut Kind<'_>) -> anyhow::Result<f64> {
    let begun = Instant::now();
    for _ in 0..CALLS {
        let (_, answer) = kind(transaction(rows.clone()));
        ensure!(!answer?.is_empty(), "a call answers nothing");
    }
    Ok(begun.elapsed().as_secs_f64() * 1e6 / f64::from(CALLS))
}

fn instance(engine: &Arc<Engine>, component: &[u8]) -> anyhow::Result<HandlerInstance> {
    let code = engine.load(Digest::of(component), component, &recoil_package::Permission::ALL.into())?;
    let log = AppLog::new(Clock::system(), AppLogOptions::default());
    Ok(code.new_handler(Environment {
        app: "bench".into(),
        log,
        limits: Limits::default(),
        settings: Default::default(),
    })?)
}

fn set() -> Vec<u8> {
    let mut request = vec![SET, 0];
    push_bytes(&mut request, b"key:000000000001");
    push_bytes(&mut request, &[b'x'; VALUE_BYTES]);
    request
}

fn get() -> Vec<u8> {
    let mut request = vec![GET, 0];
    push_bytes(&mut request, b"key:000000000001");
    request
}

/// What a partition holds once the key is set.
fn rows_after_set(redis: &mut HandlerInstance) -> anyhow::Result<Arc<Rows>> {
    let (transaction, answer) = redis.handle(transaction(Arc::new(Rows::default())), &set());
    ensure!(answer? == b"+OK\r\n", "SET does not answer OK");
    let mut overlay = Overlay::new();
    overlay.merge(&transaction.into_effects().writes, 1);
    let none = Rows::default();
    let rows = overlay.scan(none.scan(Bytes::new(), None, false), b"", None, false);
    Ok(Arc::new(Rows(rows.collect::<Result<_, ViewError>>()?)))
}

fn transaction(rows: Arc<Rows>) -> Transaction {
    let info = TransactionInfo {
        keyspace: "default".into(),
        partition: PartitionId(7),
        partition_count: 265,
        epoch: 1,
        now_us: 1_704_067_200_000_000,
        read_only: false,
    };
    Transaction::new(rows, info, TransactionLimits::default())
}

/// A partition's data, in memory.
#[derive(Default)]
struct Rows(BTreeMap<Bytes, Bytes>);

impl View for Rows {
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, ViewError> {
        Ok(self.0.get(key).cloned())
    }

    fn scan<'a>(
        &'a self,
        start: Bytes,
        end: Option<Bytes>,
        reverse: bool,
    ) -> Box<dyn Iterator<Item = Result<(Bytes, Bytes), ViewError>> + Send + 'a> {
        let within = move |key: &Bytes| *key >= start && end.as_ref().is_none_or(|end| key < end);
        let rows =
            self.0.iter().filter(move |(key, _)| within(key)).map(|(key, value)| Ok((key.clone(), value.clone())));
        if reverse { Box::new(rows.rev()) } else { Box::new(rows) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn native_and_wasm_answer_the_same() {
        let engine = Engine::new(EngineOptions::default()).unwrap();
        let package = recoil::packages::PACKAGES.iter().find(|package| package.name == "redis-server").unwrap();
        let mut redis = instance(&engine, package.archive).unwrap();
        let rows = rows_after_set(&mut redis).unwrap();
        for request in [set(), get()] {
            let (by_wasm, answer) = redis.handle(transaction(rows.clone()), &request);
            let (by_native, native_answer) = native(transaction(rows.clone()), &request);
            assert_eq!(answer.unwrap(), native_answer.unwrap());
            assert_eq!(by_wasm.into_effects(), by_native.into_effects());
        }
    }
}
