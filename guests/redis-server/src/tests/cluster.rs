//! Commands over all partitions.

use std::collections::BTreeSet;

use super::*;

/// A whole SCAN: `between` is run after each call. Answers every key that came, in order, and the number of calls.
fn scan(cluster: &FakeCluster, options: &str, mut between: impl FnMut(usize)) -> (Vec<String>, usize) {
    let (mut cursor, mut keys, mut calls) = ("0".to_owned(), Vec::new(), 0);
    loop {
        let reply = run(cluster, &format!("SCAN {cursor} {options}"));
        let words: Vec<&str> = reply.split(' ').collect();
        assert_eq!(words[0], "*2", "{reply}");
        cursor = words[2].to_owned();
        let found: Vec<_> = words[4..].chunks(2).map(|pair| pair[1].to_owned()).collect();
        assert_eq!(words[3], format!("*{}", found.len()));
        keys.extend(found);
        calls += 1;
        assert!(calls < 10_000, "the walk ends");
        if cursor == "0" {
            return (keys, calls);
        }
        between(calls);
    }
}

#[test]
fn scan_returns_every_key_once_whatever_the_count() {
    let cluster = cluster();
    let names: BTreeSet<String> = (0..500).map(|number| format!("key:{number}")).collect();
    for name in &names {
        run(&cluster, &format!("SET {name} v"));
    }
    for options in ["", "COUNT 1", "COUNT 7", "COUNT 100", "COUNT 100000", "MATCH key:* COUNT 33", "TYPE string"] {
        let (keys, calls) = scan(&cluster, options, |_| {});
        assert_eq!(keys.len(), 500, "{options}: no key twice");
        assert_eq!(keys.into_iter().collect::<BTreeSet<_>>(), names, "{options}");
        assert!(calls > 5 || options.ends_with("00000") || options.ends_with("100"), "{options}: {calls} calls");
    }
    assert_eq!(scan(&cluster, "TYPE list COUNT 1000", |_| {}).0.len(), 0);
    let (found, _) = scan(&cluster, "MATCH key:1? COUNT 50", |_| {});
    assert_eq!(found.len(), 10);
}

#[test]
fn scan_meets_every_key_that_was_there_throughout() {
    let cluster = cluster();
    for number in 0..300 {
        run(&cluster, &format!("MSET stays:{number} v goes:{number} v"));
    }
    let (keys, _) = scan(&cluster, "COUNT 5", |call| {
        run(&cluster, &format!("DEL goes:{call} goes:{}\nSET comes:{call} v\nSET stays:{} w", 300 - call, call % 300));
    });
    let stayed = keys.iter().filter(|key| key.starts_with("stays:")).count();
    assert_eq!(stayed, 300);
    let unique: BTreeSet<_> = keys.iter().collect();
    assert_eq!(unique.len(), keys.len());
}

#[test]
fn scan_refuses_what_is_not_a_cursor_or_an_option() {
    check(
        &cluster(),
        r#"
        SCAN x                      => -ERR invalid cursor
        SCAN -1                     => -ERR invalid cursor
        SCAN 0 COUNT 0              => -ERR syntax error
        SCAN 0 COUNT x              => -ERR value is not an integer or out of range
        SCAN 0 COUNT                => -ERR syntax error
        SCAN 0 NONSENSE 1           => -ERR syntax error
        SCAN 0                      => *2 $1 0 *0
        SCAN 18446744073709551615   => *2 $1 0 *0
        "#,
    );
}

#[test]
fn keys_dbsize_and_flush_see_all_partitions() {
    let cluster = cluster();
    let pairs: String = (0..200).map(|number| format!(" key:{number} v")).collect();
    run(&cluster, &format!("MSET other v{pairs}"));
    let keys = run(&cluster, "KEYS key:*");
    assert!(keys.starts_with("*200 "));
    assert_eq!(keys.split(' ').filter(|word| word.starts_with("key:")).collect::<BTreeSet<_>>().len(), 200);
    assert_eq!(run(&cluster, "DBSIZE"), ":201");
    let info = run(&cluster, "INFO keyspace");
    assert!(info.contains("db0:keys=201,expires=0"), "{info}");
    assert_eq!(run(&cluster, "FLUSHALL NONSENSE"), "-ERR syntax error");
    assert_eq!(run(&cluster, "FLUSHDB ASYNC\nDBSIZE\nKEYS *\nRANDOMKEY"), "+OK :0 *0 $-1");
}

#[test]
fn randomkey_finds_every_key_sooner_or_later() {
    let cluster = cluster();
    run(&cluster, "MSET a 1 b 1 c 1 d 1 e 1");
    let seen: BTreeSet<String> = (0..300).map(|_| run(&cluster, "RANDOMKEY")).collect();
    assert_eq!(seen.len(), 5, "{seen:?}");
    let cluster = self::cluster();
    run(&cluster, "SET lonely 1");
    assert_eq!(run(&cluster, "RANDOMKEY"), "$6 lonely");
}

#[test]
fn walks_go_on_where_they_stopped() {
    use crate::request::{self, Op, Style, push_number};
    use crate::walks::{Counted, Walked};
    use recoil_sdk::fake::FakePartition;
    let mut partition = FakePartition::new();
    for number in 0..25_000u32 {
        partition
            .write::<Redis>(&request::encode(Op::Set, Style::INTERNAL, [number.to_string().as_bytes(), b"v"]))
            .unwrap();
    }
    let (mut next, mut keys, mut calls) = (0, BTreeSet::new(), 0);
    loop {
        let mut walk = request::begin(Op::Walk, Style::INTERNAL, false, 0);
        push_number(&mut walk, next);
        push_number(&mut walk, u64::MAX);
        walk.extend_from_slice(&[0, 0]);
        let answer = partition.read::<Redis>(&walk).unwrap();
        let walked = Walked::decode(&answer).unwrap();
        next = walked.next;
        walked.for_each(|key| assert!(keys.insert(key.to_vec()), "met twice")).unwrap();
        calls += 1;
        if next == 0 {
            break;
        }
    }
    assert_eq!((keys.len(), calls), (25_000, 3), "10,000 rows at a time");
    let mut count = request::begin(Op::Count, Style::INTERNAL, false, 0);
    push_number(&mut count, 0);
    push_number(&mut count, 5000);
    let counted = Counted::decode(&partition.read::<Redis>(&count).unwrap()).unwrap();
    assert_eq!(counted.keys, 5000);
    let estimate = counted.extrapolated().keys;
    assert!((24_000..26_000).contains(&estimate), "{estimate} is about 25,000");
}

#[test]
fn a_partition_that_does_not_answer_is_an_error_not_a_gap() {
    let cluster = cluster();
    run(&cluster, "MSET a 1 b 2 c 3");
    cluster.fail_partition(cluster.owner(b"a"), Some(recoil_sdk::CallError::Unavailable("no quorum".to_owned())));
    for command in [
        "GET a",
        "MGET a b",
        "DBSIZE",
        "KEYS *",
        "SCAN 0 COUNT 1000",
        "DEL b a",
        "MSET a 1 b 2",
        "INFO",
        "FLUSHALL",
        "WATCH a",
    ] {
        assert_eq!(run(&cluster, command), "-CLUSTERDOWN The partition has no leader: no quorum", "{command}");
    }
    let unknown = Some(recoil_sdk::CallError::UnknownOutcome("the leader\r\nwas lost".to_owned()));
    cluster.fail_partition(cluster.owner(b"a"), unknown);
    assert_eq!(
        run(&cluster, "SET a 1\nPING"),
        "-UNKNOWN The command may or may not have been run: the leader  was lost +PONG"
    );
}
