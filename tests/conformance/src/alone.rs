//! What a handler is called with when it is alone: without a cluster, on a partition of a row at most.

use std::sync::Arc;

use bytes::Bytes;
use recoil_base::PartitionId;
use recoil_engine::{Transaction, TransactionInfo, TransactionLimits, View, ViewError};

/// What a partition holds: a key, as the store has it, and its value.
#[derive(Clone, Debug, Default)]
pub struct Rows(pub Option<(Bytes, Bytes)>);

impl View for Rows {
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, ViewError> {
        Ok(self.0.as_ref().filter(|(its, _)| its == key).map(|(_, value)| value.clone()))
    }

    fn scan<'a>(
        &'a self,
        start: Bytes,
        end: Option<Bytes>,
        _reverse: bool,
    ) -> Box<dyn Iterator<Item = Result<(Bytes, Bytes), ViewError>> + Send + 'a> {
        let is_within = move |key: &Bytes| *key >= start && end.as_ref().is_none_or(|end| key < end);
        Box::new(self.0.iter().filter(move |(key, _)| is_within(key)).cloned().map(Ok))
    }
}

/// A transaction of its own on these rows; what is written comes to nothing.
pub fn transaction(rows: &Arc<Rows>) -> Transaction {
    let info = TransactionInfo {
        keyspace: "default".into(),
        partition: PartitionId(0),
        partition_count: 1,
        epoch: 1,
        now_us: 1_000_000,
        read_only: false,
    };
    Transaction::new(rows.clone(), info, TransactionLimits::default())
}
