//! The package on a cluster in memory. What all languages must do is the suite's business; this is what an author looks at first.

use recoil_sdk::fake::{FakeCluster, FakeConnection};
use recoil_sdk::scheduler::{Load, Node, NodeState, Partition, Rule, View};
use recoil_sdk::{Admin as _, HttpHandler as _, HttpRequest, Listener as _, Scheduler as _};

use crate::Package;
use crate::wire::{decode, encode};

fn cluster() -> FakeCluster {
    FakeCluster::new::<Package>(8, 3)
}

/// A list as the body of a frame.
fn framed(list: &[u8]) -> Vec<u8> {
    [&(list.len() as u32).to_be_bytes(), list].concat()
}

/// A request that the handler of the key's partition shall run.
fn call(key: &str, request: &[&str]) -> Vec<u8> {
    encode(&[&b"call"[..], b"write", key.as_bytes(), &encode(request)])
}

fn ok(items: &[&str]) -> Vec<u8> {
    [&[0], &encode(items)[..]].concat()
}

#[test]
fn frames_may_come_in_any_pieces() {
    let requests = [call("k", &["put", "a", "1"]), call("k", &["bump", "a", "2"]), call("k", &["get", "a"])];
    let input = requests.each_ref().map(|request| framed(request)).concat();
    let answers = [ok(&[]), ok(&["+1"]), ok(&["2"])].map(|answer| framed(&answer)).concat();
    for pieces in [1, 3, input.len()] {
        let mut connection = FakeConnection::new(input.chunks(pieces));
        Package::serve(&mut connection, &cluster()).unwrap();
        assert_eq!(connection.output(), answers);
    }
    let mut connection = FakeConnection::new([[0xff; 4]]);
    let refused = Package::serve(&mut connection, &cluster()).unwrap_err();
    assert!(refused.message().contains("4294967295 bytes"), "{refused}");
}

#[test]
fn what_is_wrong_is_said_and_nothing_is_written() {
    let cluster = cluster();
    let ask = |list: Vec<u8>| {
        let request = HttpRequest::new("POST", "/call").with_body(list);
        let answer = Package::respond(&request, &cluster).unwrap().body;
        let items: Vec<String> =
            decode(&answer[1..]).unwrap().iter().map(|item| String::from_utf8_lossy(item).into()).collect();
        (answer[0], items)
    };
    for (request, text) in [
        (call("k", &["put-and-fail", "a", "1", "no"]), "no"),
        (call("k", &["put", "a"]), "invalid: too few arguments"),
        (call("k", &["locate", "a"]), "invalid: there is no command 'locate' here"),
    ] {
        assert_eq!(ask(request), (1, vec!["rejected".to_owned(), text.to_owned()]));
    }
    assert_eq!(ask(vec![0, 0, 0]).1[0], "invalid");
    assert_eq!(ask(encode(&["subscribe", "topic"])).1[0], "invalid");
    assert_eq!(ask(call("k", &["get", "a"])), (0, vec![]));
}

#[test]
fn a_command_gets_what_another_has_put() {
    let cluster = cluster();
    let run = |typed: &[&str]| {
        let typed: Vec<String> = typed.iter().map(|word| (*word).to_owned()).collect();
        Package::run(&typed, &cluster).map_err(|error| error.message().to_owned())
    };
    assert_eq!(run(&["key", "put", "größe", "7"]), Ok(String::new()));
    assert_eq!(run(&["key", "get", "größe"]), Ok("7".to_owned()));
    assert_eq!(run(&["key", "get", "absent"]), Err("no such key".to_owned()));
    assert_eq!(run(&["echo", "größe", "", "a b"]), Ok("[größe][][a b]".to_owned()));
    assert_eq!(run(&["fail", "no"]), Err("no".to_owned()));
    for typed in [&[][..], &["key"], &["key", "put", "k"], &["fail"]] {
        assert_eq!(run(typed), Err("no such command".to_owned()));
    }
}

#[test]
fn a_plan_tells_what_the_view_says() {
    let labels = vec![("region".to_owned(), "eu".to_owned()), ("zone".to_owned(), "a".to_owned())];
    let rule = Rule {
        keyspace: 1,
        replication: 2,
        required: labels[..1].to_vec(),
        spread_by: vec!["zone".to_owned()],
        leader_preference: vec![],
    };
    let node =
        |id, state, locality| Node { id, state, locality, capacity_bytes: u64::MAX, used_bytes: 5, cpu_load: 0.25 };
    let partition = |keyspace, id, replicas: &[u32]| {
        let load = Load { reads_per_second: 1.5, writes_per_second: 0.0, cpu_seconds_per_second: 0.125, bytes: 3 };
        Partition { keyspace, id, replicas: replicas.to_vec(), load }
    };
    let view = View {
        nodes: vec![node(7, NodeState::Draining, labels), node(9, NodeState::Live, vec![])],
        rules: vec![rule],
        partitions: vec![partition(1, 0, &[7, 9]), partition(1, 1, &[9, 8]), partition(2, 2, &[])],
    };
    let plan = Package::plan(&view).unwrap();
    let shown: Vec<_> = plan.iter().map(|placed| (placed.id, &placed.replicas[..], &placed.reason[..])).collect();
    let first =
        "node 7 draining region=eu,zone=a 5/18446744073709551615 250; rule 2 region=eu zone -; load 1500 0 125 3";
    let second = "node 9 live - 5/18446744073709551615 250; rule none; load 1500 0 125 3";
    assert_eq!(shown, [(0, &[9, 7][..], first), (2, &[9], second)]);
    let refused = Package::plan(&View { nodes: vec![], ..view }).unwrap_err();
    assert_eq!(refused.message(), "no nodes");
}
