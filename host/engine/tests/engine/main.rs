//! The engine from a package's side: small components, real calls.

mod code;
mod commands;
mod guest;
mod handlers;
mod http;
mod listeners;
mod schedulers;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, LazyLock};

use bytes::Bytes;
use parking_lot::Mutex;
use recoil_base::{Clock, Digest, PartitionId};
use recoil_engine::{
    AppCode, AppLog, AppLogOptions, Effects, Engine, EngineOptions, Environment, Limits, Overlay, Transaction,
    TransactionInfo, TransactionLimits, View, ViewError,
};
use recoil_package::Permission;

/// One engine and one load of the full guest for all tests: what they are about is not compiling.
static ENGINE: LazyLock<Arc<Engine>> =
    LazyLock::new(|| Engine::new(EngineOptions { instances_max: 64, ..EngineOptions::default() }).unwrap());
static FULL: LazyLock<Arc<AppCode>> = LazyLock::new(|| load(&ENGINE, &guest::full()));

fn everything() -> BTreeSet<Permission> {
    BTreeSet::from(Permission::ALL)
}

fn load(engine: &Arc<Engine>, wasm: &[u8]) -> Arc<AppCode> {
    engine.load(Digest::of(wasm), wasm, &everything()).unwrap()
}

fn environment(limits: Limits) -> Environment {
    Environment {
        app: "test".into(),
        log: AppLog::new(Clock::system(), AppLogOptions::default()),
        limits,
        settings: Default::default(),
    }
}

fn log_lines(environment: &Environment) -> Vec<String> {
    let (lines, _) = environment.log.since(0, 1000);
    lines.iter().map(|line| format!("{} {:?} {}", line.level.as_str(), line.partition, line.message)).collect()
}

/// A partition in memory.
#[derive(Clone, Default)]
struct Partition(Arc<Mutex<BTreeMap<Bytes, Bytes>>>);

impl View for Partition {
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, ViewError> {
        Ok(self.0.lock().get(key).cloned())
    }

    fn scan<'a>(
        &'a self,
        start: Bytes,
        end: Option<Bytes>,
        reverse: bool,
    ) -> Box<dyn Iterator<Item = Result<(Bytes, Bytes), ViewError>> + Send + 'a> {
        let rows = self
            .0
            .lock()
            .clone()
            .into_iter()
            .filter(move |(key, _)| *key >= start && end.as_ref().is_none_or(|end| key < end));
        let rows: Vec<_> = rows.map(Ok).collect();
        if reverse { Box::new(rows.into_iter().rev()) } else { Box::new(rows.into_iter()) }
    }
}

impl Partition {
    fn transaction(&self, read_only: bool) -> Transaction {
        let info = TransactionInfo {
            keyspace: "default".into(),
            partition: PartitionId(7),
            partition_count: 8,
            epoch: 1,
            now_us: 1_000_000,
            read_only,
        };
        Transaction::new(Arc::new(self.clone()), info, TransactionLimits::default())
    }

    fn commit(&self, transaction: Transaction) -> Effects {
        let effects = transaction.into_effects();
        let mut overlay = Overlay::new();
        overlay.merge(&effects.writes, 1);
        let rows = overlay.scan(self.scan(Bytes::new(), None, false), b"", None, false).map(Result::unwrap).collect();
        *self.0.lock() = rows;
        effects
    }

    fn get(&self, user_key: &str) -> Option<Bytes> {
        self.0.lock().get(&recoil_engine::call::relative_key(user_key.as_bytes())).cloned()
    }
}
