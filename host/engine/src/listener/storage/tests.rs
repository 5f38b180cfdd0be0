use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::mpsc;

use super::*;
use crate::call::evaluate_storage;
use crate::listener::{BoxFuture, PartitionInfo};
use crate::transaction::tests::Map;
use crate::transaction::{Transaction, TransactionInfo};

/// Partitions in memory; a key's owner is told by the sum of its bytes.
struct Partitions {
    rows: Vec<Arc<Map>>,
    calls: AtomicUsize,
}

impl Partitions {
    fn new(count: usize, rows: &BTreeMap<Vec<u8>, Vec<u8>>) -> Self {
        let mut maps: Vec<BTreeMap<Bytes, Bytes>> = vec![BTreeMap::new(); count];
        for (key, value) in rows {
            maps[Self::owner(key, count)].insert(relative_key(key), value.clone().into());
        }
        Partitions { rows: maps.into_iter().map(|map| Arc::new(Map(map))).collect(), calls: AtomicUsize::new(0) }
    }

    fn owner(key: &[u8], count: usize) -> usize {
        key.iter().map(|byte| usize::from(*byte)).sum::<usize>() % count
    }

    fn info(id: usize) -> PartitionInfo {
        PartitionInfo { id: PartitionId(id as u32), leader: None, replicas: vec![], epoch: 0 }
    }
}

impl Router for Partitions {
    fn call_many(&self, calls: Vec<RoutedCall>) -> BoxFuture<'static, Vec<std::result::Result<Bytes, CallError>>> {
        self.calls.fetch_add(1, Ordering::Relaxed);
        let answers = calls.into_iter().map(|call| {
            let id = match &call.to {
                Address::Key(key) => Self::owner(key, self.rows.len()),
                Address::Partition(id) => id.0 as usize,
            };
            let info = TransactionInfo {
                keyspace: "default".into(),
                partition: PartitionId(id as u32),
                partition_count: self.rows.len() as u32,
                epoch: 0,
                now_us: 1,
                read_only: call.mode != Mode::Write,
            };
            let mut transaction = Transaction::new(self.rows[id].clone(), info, TransactionLimits::default());
            evaluate_storage(&mut transaction, &call.body)
        });
        let answers = answers.collect();
        Box::pin(async move { answers })
    }

    fn transact(&self, _calls: Vec<RoutedCall>) -> BoxFuture<'static, std::result::Result<Vec<Bytes>, CallError>> {
        Box::pin(async { Err(CallError::Conflict) })
    }

    fn locate(&self, key: &[u8]) -> PartitionInfo {
        Self::info(Self::owner(key, self.rows.len()))
    }

    fn partitions(&self) -> Vec<PartitionInfo> {
        (0..self.rows.len()).map(Self::info).collect()
    }

    fn subscribe(&self, _topic: Bytes) -> mpsc::Receiver<Bytes> {
        mpsc::channel(1).1
    }
}

async fn scan(
    router: &Partitions,
    start: &[u8],
    end: Option<&[u8]>,
    limit: u32,
    reverse: bool,
) -> Vec<(Vec<u8>, Vec<u8>)> {
    let within = storage::KeyRange { start: start.to_vec(), end: end.map(<[u8]>::to_vec) };
    let found = Merge::new(router, within, limit, reverse).run(4 << 20).await.unwrap();
    found.into_iter().map(|entry| (entry.key, entry.value)).collect()
}

/// All keys in one partition, evenly over many, and more partitions than keys: the pages end in different places.
#[tokio::test]
async fn a_scan_over_partitions_is_one_scan_in_key_order() {
    let even: BTreeMap<Vec<u8>, Vec<u8>> =
        (0..500u32).map(|n| (format!("{n:05}").into_bytes(), n.to_string().into_bytes())).collect();
    let lopsided: BTreeMap<Vec<u8>, Vec<u8>> = (0..200u8).map(|n| (vec![n, 255 - n], vec![n])).collect();
    for (rows, count) in [(&even, 1), (&even, 7), (&even, 265), (&lopsided, 5)] {
        let router = Partitions::new(count, rows);
        for (start, end) in
            [(&b""[..], None), (b"00100", Some(&b"00400"[..])), (&[50], Some(&[150])), (b"9", Some(b"1"))]
        {
            for (limit, reverse) in
                [(0, false), (1, true), (10, false), (10, true), (150, true), (9999, false), (9999, true)]
            {
                let inside = |key: &[u8]| key >= start && end.is_none_or(|end| key < end);
                let mut expected: Vec<_> = rows
                    .iter()
                    .filter(|(key, _)| inside(key))
                    .map(|(key, value)| (key.clone(), value.clone()))
                    .collect();
                if reverse {
                    expected.reverse();
                }
                expected.truncate(limit as usize);
                let found = scan(&router, start, end, limit, reverse).await;
                assert!(found == expected, "{count} partitions, {start:?}..{end:?} limit {limit} reverse {reverse}");
            }
        }
    }
}

#[tokio::test]
async fn values_above_a_page_arrive_and_the_answer_is_cut_at_its_bytes() {
    let rows = (0..12u8).map(|n| (vec![n], vec![n; 1 << 20])).collect();
    let router = Partitions::new(8, &rows);
    let found = scan(&router, b"", None, 100, false).await;
    assert_eq!(
        found.iter().map(|(key, _)| key[0]).collect::<Vec<_>>(),
        [0, 1, 2],
        "three of 1 MiB and their keys fit into 4 MiB"
    );
    assert!(found.iter().all(|(key, value)| value.len() == 1 << 20 && value[0] == key[0]));
    let huge = [(vec![1], vec![7; 6 << 20])].into_iter().collect();
    assert_eq!(scan(&Partitions::new(8, &huge), b"", None, 100, false).await.len(), 1, "one row always");
}

#[tokio::test]
async fn many_keys_cross_in_one_call_and_answer_in_their_order() {
    let rows = (0..50u8).map(|n| (vec![n], vec![n, n])).collect();
    let router = Partitions::new(6, &rows);
    let keys: Vec<Vec<u8>> = [49u8, 0, 200, 7, 7].map(|n| vec![n]).into();
    let values = get_many(&router, &keys, 16 << 20).await.unwrap();
    assert_eq!(values, [Some(vec![49, 49]), Some(vec![0, 0]), None, Some(vec![7, 7]), Some(vec![7, 7])]);
    assert_eq!(router.calls.load(Ordering::Relaxed), 1);
}
