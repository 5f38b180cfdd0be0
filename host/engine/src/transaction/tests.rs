use std::collections::BTreeMap;

use super::*;
use crate::timers;

pub(crate) struct Map(pub(crate) BTreeMap<Bytes, Bytes>);

impl View for Map {
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, ViewError> {
        Ok(self.0.get(key).cloned())
    }

    fn scan<'a>(
        &'a self,
        start: Bytes,
        end: Option<Bytes>,
        reverse: bool,
    ) -> Box<dyn Iterator<Item = Result<(Bytes, Bytes), ViewError>> + Send + 'a> {
        let rows = self.0.iter().filter(move |(key, _)| **key >= start && end.as_ref().is_none_or(|end| *key < end));
        let rows = rows.map(|(key, value)| Ok((key.clone(), value.clone())));
        if reverse { Box::new(rows.rev()) } else { Box::new(rows) }
    }
}

fn info(read_only: bool) -> TransactionInfo {
    TransactionInfo {
        keyspace: "default".into(),
        partition: PartitionId(3),
        partition_count: 8,
        epoch: 1,
        now_us: 1000,
        read_only,
    }
}

fn over(rows: &[(&[u8], &[u8])], read_only: bool, limits: TransactionLimits) -> Transaction {
    let map = rows.iter().map(|(key, value)| (data_key(key), Bytes::copy_from_slice(value))).collect();
    Transaction::new(Arc::new(Map(map)), info(read_only), limits)
}

fn entries(found: (Vec<(Bytes, Bytes)>, bool)) -> (String, bool) {
    let text: Vec<String> = found
        .0
        .iter()
        .map(|(key, value)| format!("{}={}", String::from_utf8_lossy(key), String::from_utf8_lossy(value)))
        .collect();
    (text.join(" "), found.1)
}

#[test]
fn a_transaction_sees_its_own_writes_over_the_view() {
    let mut tx = over(&[(b"a", b"1"), (b"b", b"2"), (b"c", b"3")], false, TransactionLimits::default());
    tx.put(b"b", Bytes::from_static(b"own")).unwrap();
    tx.put(b"", Bytes::from_static(b"empty key")).unwrap();
    tx.remove(b"a").unwrap();
    tx.put(&[b'x'; 300], Bytes::from_static(b"long key")).unwrap();
    assert_eq!(tx.get(b"a").unwrap(), None);
    assert_eq!(tx.get(b"b").unwrap().unwrap(), "own");
    assert_eq!(tx.get(&[b'x'; 300]).unwrap().unwrap(), "long key");
    assert_eq!(
        entries(tx.scan(b"", Some(b"d"), 10, usize::MAX, false).unwrap()),
        ("=empty key b=own c=3".into(), false)
    );
    assert_eq!(entries(tx.scan(b"b", Some(b"d"), 1, usize::MAX, true).unwrap()), ("c=3".into(), true));
    assert_eq!(entries(tx.scan(b"b", None, 10, 5, false).unwrap()), ("b=own".into(), true));
    tx.remove_range(b"b", None).unwrap();
    assert_eq!(entries(tx.scan(b"a", None, 10, usize::MAX, false).unwrap()), (String::new(), false));
    let effects = tx.into_effects();
    assert_eq!(effects.writes.len(), 5);
    assert_eq!(effects.writes[4], Write::RemoveRange { start: data_key(b"b"), end: None });
}

#[test]
fn limits_are_enforced_and_leave_nothing_behind() {
    let limits = TransactionLimits {
        key_bytes_max: 4,
        value_bytes_max: 10,
        transaction_bytes_max: 30,
        ..TransactionLimits::default()
    };
    let mut tx = over(&[], false, limits);
    assert!(
        matches!(tx.put(b"12345", Bytes::new()), Err(StorageError::TooLarge(text)) if text.contains("5 bytes (limit key_bytes: 4)"))
    );
    assert!(
        matches!(tx.put(b"k", Bytes::from(vec![0; 11])), Err(StorageError::TooLarge(text)) if text.contains("limit value_bytes: 10"))
    );
    let ten = Bytes::from(vec![0; 10]);
    let many = vec![
        (Bytes::from_static(b"a"), ten.clone()),
        (Bytes::from_static(b"b"), ten.clone()),
        (Bytes::from_static(b"c"), ten.clone()),
    ];
    assert!(
        matches!(tx.put_many(many), Err(StorageError::TooLarge(text)) if text.contains("limit transaction_bytes: 30"))
    );
    assert!(tx.is_empty());
    tx.put(b"a", ten.clone()).unwrap();
    tx.publish(Bytes::from_static(b"t"), ten.clone()).unwrap();
    assert!(tx.put(b"b", ten).is_err());
    assert_eq!(tx.get(b"b").unwrap(), None);
    tx.roll_back();
    assert!(tx.is_empty());
    assert_eq!(tx.get(b"a").unwrap(), None);
    assert_eq!(tx.into_effects(), Effects::default());
    let unlimited = TransactionLimits { key_bytes_max: usize::MAX, ..TransactionLimits::default() };
    assert!(over(&[], false, unlimited).put(&vec![0; KEY_BYTES_MAX + 1], Bytes::new()).is_err());
}

#[test]
fn a_read_refuses_every_write() {
    let mut tx = over(&[(b"a", b"1")], true, TransactionLimits::default());
    assert_eq!(tx.put(b"a", Bytes::new()), Err(StorageError::ReadOnly));
    assert_eq!(tx.put_many(vec![(Bytes::new(), Bytes::new())]), Err(StorageError::ReadOnly));
    assert_eq!(tx.remove(b"a"), Err(StorageError::ReadOnly));
    assert_eq!(tx.remove_range(b"", None), Err(StorageError::ReadOnly));
    assert_eq!(tx.set_timer(b"t", 1, Bytes::new()), Err(StorageError::ReadOnly));
    assert_eq!(tx.cancel_timer(b"t"), Err(StorageError::ReadOnly));
    assert_eq!(tx.publish(Bytes::new(), Bytes::new()), Err(StorageError::ReadOnly));
    assert_eq!(tx.get(b"a").unwrap().unwrap(), "1");
    assert!(tx.is_empty());
}

fn commit(map: &mut Map, tx: Transaction) -> Effects {
    let effects = tx.into_effects();
    let mut overlay = Overlay::new();
    overlay.merge(&effects.writes, 1);
    let rows: Vec<_> =
        overlay.scan(map.scan(Bytes::new(), None, false), b"", None, false).map(Result::unwrap).collect();
    map.0 = rows.into_iter().collect();
    effects
}

fn on(map: &Map) -> Transaction {
    Transaction::new(Arc::new(Map(map.0.clone())), info(false), TransactionLimits::default())
}

#[test]
fn a_timer_of_the_same_id_replaces_and_fires_once() {
    let mut map = Map(BTreeMap::new());
    let mut tx = on(&map);
    tx.set_timer(b"one", 500, Bytes::from_static(b"old")).unwrap();
    tx.set_timer(b"two", 300, Bytes::from_static(b"2")).unwrap();
    tx.set_timer(b"one", 400, Bytes::from_static(b"new")).unwrap();
    tx.set_timer(b"gone", 100, Bytes::new()).unwrap();
    tx.cancel_timer(b"gone").unwrap();
    tx.cancel_timer(b"never set").unwrap();
    assert_eq!(commit(&mut map, tx).earliest_timer_us, Some(100));
    assert_eq!(timers::earliest(&map).unwrap(), Some(300));
    assert_eq!(timers::due(&map, 299, 10, 1 << 20).unwrap(), []);
    let due = timers::due(&map, 1000, 10, 1 << 20).unwrap();
    assert_eq!(
        due.iter().map(|timer| (&timer.id[..], &timer.payload[..], timer.at_us)).collect::<Vec<_>>(),
        [(&b"two"[..], &b"2"[..], 300), (b"one", b"new", 400)]
    );
    assert_eq!(timers::due(&map, 1000, 1, 1 << 20).unwrap().len(), 1);

    let mut tx = on(&map);
    assert_eq!(tx.take_timer(b"one", 500).unwrap(), None, "replaced");
    assert_eq!(tx.take_timer(b"one", 400).unwrap().unwrap(), "new");
    assert_eq!(tx.take_timer(b"one", 400).unwrap(), None, "fired");
    assert_eq!(tx.take_timer(b"two", 300).unwrap().unwrap(), "2");
    commit(&mut map, tx);
    assert!(map.0.is_empty(), "no row of a timer stays: {:?}", map.0);
}
