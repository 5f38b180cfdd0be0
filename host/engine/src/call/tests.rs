use std::collections::BTreeMap;
use std::sync::Arc;

use recoil_storage::key;

use super::*;
use crate::transaction::tests::Map;
use crate::transaction::{TransactionInfo, TransactionLimits};

fn transaction(rows: &[(&str, &str)], read_only: bool) -> Transaction {
    let map: BTreeMap<Bytes, Bytes> = rows
        .iter()
        .map(|(key, value)| (relative_key(key.as_bytes()), Bytes::copy_from_slice(value.as_bytes())))
        .collect();
    let info = TransactionInfo {
        keyspace: "default".into(),
        partition: PartitionId(0),
        partition_count: 1,
        epoch: 1,
        now_us: 1,
        read_only,
    };
    Transaction::new(Arc::new(Map(map)), info, TransactionLimits::default())
}

#[test]
fn bodies_and_errors_survive_and_every_shorter_input_is_an_error() {
    let (key, value) = (relative_key(b"k"), Bytes::from_static(b"v"));
    for body in [
        CallBody::Handle(value.clone()),
        CallBody::Fire { id: key.clone(), payload: value.clone(), at_us: 7 },
        CallBody::Get(vec![key.clone(), Bytes::new()]),
        CallBody::Write(vec![
            Write::Put { key: key.clone(), value },
            Write::RemoveRange { start: key.clone(), end: None },
        ]),
        CallBody::Scan { start: key.clone(), end: None, limit: 3, bytes_max: 4, reverse: true },
        CallBody::Scan { start: key.clone(), end: Some(Bytes::new()), limit: 0, bytes_max: 0, reverse: false },
    ] {
        let mut writer = Writer::default();
        body.encode(&mut writer);
        let bytes = writer.finish();
        assert!(bytes.len() <= body.size() + 16, "{body:?}");
        assert_eq!(CallBody::decode(&mut Reader::new("call", bytes.clone())).unwrap(), body);
        for length in 0..bytes.len() {
            assert!(CallBody::decode(&mut Reader::new("call", bytes.slice(..length))).is_err(), "{body:?} {length}");
        }
    }
    for error in [
        CallError::Rejected("a".into()),
        CallError::Failed("b".into()),
        CallError::UnknownOutcome("c".into()),
        CallError::Unavailable("d".into()),
        CallError::Conflict,
    ] {
        let mut writer = Writer::default();
        error.encode(&mut writer);
        assert_eq!(CallError::decode(&mut Reader::new("error", writer.finish())).unwrap(), error);
    }
    for mode in [Mode::Write, Mode::Read, Mode::StaleRead] {
        assert_eq!(Mode::from_u8(mode.as_u8()), Some(mode));
    }
    assert_eq!(Mode::from_u8(3), None);
}

#[test]
fn storage_calls_read_write_and_scan_without_a_handler() {
    let mut tx = transaction(&[("a", "1"), ("b", "22222222"), ("c", "3")], false);
    let answer = evaluate_storage(&mut tx, &CallBody::Get(vec![relative_key(b"b"), relative_key(b"none")])).unwrap();
    assert_eq!(decode_values(answer).unwrap(), [Some(Bytes::from_static(b"22222222")), None]);
    let write = CallBody::Write(vec![
        Write::Remove { key: relative_key(b"a") },
        Write::Put { key: relative_key(b"d"), value: Bytes::from_static(b"4") },
    ]);
    assert_eq!(evaluate_storage(&mut tx, &write).unwrap(), Bytes::new());
    let scan = |start: &[u8], limit, bytes_max| CallBody::Scan {
        start: relative_key(start),
        end: None,
        limit,
        bytes_max,
        reverse: false,
    };
    let page = decode_page(evaluate_storage(&mut tx, &scan(b"", 10, 1 << 20)).unwrap()).unwrap();
    assert_eq!(page.entries.iter().map(|(key, _)| &key[..]).collect::<Vec<_>>(), [b"b", b"c", b"d"]);
    assert!(!page.more);
    let page = decode_page(evaluate_storage(&mut tx, &scan(b"b", 10, 4)).unwrap()).unwrap();
    assert_eq!(page, ScanPage { entries: vec![(Bytes::from_static(b"b"), None)], more: true });
    assert_eq!(tx.into_effects().writes.len(), 2);
}

#[test]
fn storage_calls_stay_within_the_data_and_fail_whole() {
    let timer = Bytes::from_static(&[key::TIMER_BY_ID, 1]);
    let good = Write::Put { key: relative_key(b"a"), value: Bytes::new() };
    for bad in [
        Write::Put { key: timer.clone(), value: Bytes::new() },
        Write::Remove { key: Bytes::new() },
        Write::RemoveRange { start: relative_key(b""), end: Some(timer.clone()) },
        Write::RemoveRange { start: timer.clone(), end: None },
        Write::Put { key: relative_key(&[0; 70_000]), value: Bytes::new() },
    ] {
        let mut tx = transaction(&[], false);
        assert!(
            matches!(
                evaluate_storage(&mut tx, &CallBody::Write(vec![good.clone(), bad.clone()])),
                Err(CallError::Rejected(_))
            ),
            "{bad:?}"
        );
        assert!(tx.is_empty());
    }
    let mut tx = transaction(&[], true);
    assert!(matches!(evaluate_storage(&mut tx, &CallBody::Write(vec![good])), Err(CallError::Rejected(_))));
    assert!(evaluate_storage(&mut tx, &CallBody::Get(vec![timer])).is_err());
    assert!(evaluate_storage(&mut tx, &CallBody::Handle(Bytes::new())).is_err());
}
