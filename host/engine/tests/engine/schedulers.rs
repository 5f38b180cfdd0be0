//! Plans: what a scheduler is shown, what it may do meanwhile, and how it ends when it goes wrong.

use std::sync::Arc;

use recoil_engine::scheduler::{Load, Node, NodeState, Partition, Placement, Rule, View};
use recoil_engine::{AppCode, CallError, Environment, Limits, Roles};

use crate::{ENGINE, FULL, environment, guest, load, log_lines};

/// One placement: the first partition where it is, because of the first node's first locality.
const STAYS: &str = "
    (i32.store (i32.const 128) (i32.load (local.get $partitions)))
    (i32.store (i32.const 132) (i32.load offset=4 (local.get $partitions)))
    (i32.store (i32.const 136) (i32.load offset=8 (local.get $partitions)))
    (i32.store (i32.const 140) (i32.load offset=12 (local.get $partitions)))
    (i32.store (i32.const 144) (i32.load offset=8 (i32.load offset=8 (local.get $nodes))))
    (i32.store (i32.const 148) (i32.load offset=12 (i32.load offset=8 (local.get $nodes))))
    (call $answer (i32.const 0) (i32.const 128) (i32.const 1))";

fn scheduler(body: &str) -> Arc<AppCode> {
    load(&ENGINE, &guest::scheduler(body))
}

fn view() -> View {
    let locality = vec![("zone".to_owned(), "zürich".to_owned())];
    let node = Node { id: 1, state: NodeState::Down, locality, capacity_bytes: 0, used_bytes: 0, cpu_load: 0.0 };
    let rule = Rule { keyspace: 7, replication: 3, required: vec![], spread_by: vec![], leader_preference: vec![] };
    let partition = Partition { keyspace: 7, id: 8, replicas: vec![3, 1, 2], load: Load::default() };
    View { nodes: vec![node], rules: vec![rule], partitions: vec![partition] }
}

fn failure(environment: &Environment, body: &str) -> String {
    match scheduler(body).plan(environment.clone(), &view()) {
        Err(CallError::Failed(why)) => why,
        other => panic!("expected a failure, not {other:?}"),
    }
}

#[test]
fn a_scheduler_needs_no_handler_and_plans_anew_each_time() {
    let code = scheduler(STAYS);
    assert_eq!(code.roles(), Roles { scheduler: true, ..Roles::default() });
    assert!(code.roles().is_only_scheduler() && !FULL.roles().is_only_scheduler());
    let expected = Placement { keyspace: 7, id: 8, replicas: vec![3, 1, 2], reason: "zürich".to_owned() };
    for _ in 0..100 {
        assert_eq!(code.plan(environment(Limits::default()), &view()), Ok(vec![expected.clone()]));
    }
    assert_eq!(code.memory_bytes(), 0);
    let none = FULL.plan(environment(Limits::default()), &view());
    assert!(matches!(&none, Err(CallError::Rejected(why)) if why.contains("no recoil:plugin/scheduler")), "{none:?}");
    let why = code.new_handler(environment(Limits::default())).map(drop).unwrap_err().to_string();
    assert!(why.contains("no recoil:plugin/handler"), "{why}");
}

#[test]
fn its_error_is_its_own() {
    let says = r#"(i64.store (i32.const 128) (i64.const 0x6573726f77)) (call $answer (i32.const 1) (i32.const 128) (i32.const 5))"#;
    let answer = scheduler(says).plan(environment(Limits::default()), &view());
    assert_eq!(answer, Err(CallError::Rejected("worse".to_owned())));
}

#[test]
fn what_traps_or_never_ends_fails_and_is_in_the_log() {
    let environment = environment(Limits { call_ms_max: 50, ..Limits::default() });
    let why = failure(&environment, "unreachable");
    assert!(why.contains("unreachable"), "{why}");
    assert_eq!(log_lines(&environment), [format!("error None the scheduler failed: {why}")]);
    let why = failure(&environment, "(loop $on (br $on)) unreachable");
    assert!(why.contains("50 ms (limit call_ms"), "{why}");
    let why = failure(
        &environment,
        "(loop $on (br_if $on (i32.ne (memory.grow (i32.const 64)) (i32.const -1)))) unreachable",
    );
    assert!(why.contains("limit memory_bytes"), "{why}");
}

/// Fails if the host takes as many copies of one text as a guest says there are.
#[test]
fn an_answer_is_within_the_limits() {
    // 2,000 placements, whose reasons are the same 60,000 bytes.
    let many = "(local $at i32)
        (local.set $at (i32.const 65536))
        (loop $on
          (i32.store offset=16 (local.get $at) (i32.const 128))
          (i32.store offset=20 (local.get $at) (i32.const 60000))
          (local.set $at (i32.add (local.get $at) (i32.const 24)))
          (br_if $on (i32.lt_u (local.get $at) (i32.const 113536))))
        (memory.fill (i32.const 128) (i32.const 0x20) (i32.const 60000))
        (call $answer (i32.const 0) (i32.const 65536) (i32.const 2000))";
    let why = failure(&environment(Limits::default()), many);
    assert!(why.contains("fuel"), "{why}");
    let limits = Limits { host_call_bytes_max: 128 << 20, ..Limits::default() };
    assert_eq!(scheduler(many).plan(environment(limits), &view()).unwrap().len(), 2000);
}

#[test]
fn it_may_write_to_the_log_and_has_no_storage() {
    let environment = environment(Limits::default());
    let puts = "
        (call $log (i32.const 3) (i32.load (i32.load offset=8 (local.get $nodes))) (i32.const 4))
        (call $put (local.get $nodes) (i32.const 1) (local.get $nodes) (i32.const 1) (i32.const 0))
        (call $answer (i32.load8_u (i32.const 0)) (i32.load (i32.const 8)) (i32.load (i32.const 12)))";
    match scheduler(puts).plan(environment.clone(), &view()) {
        Err(CallError::Rejected(why)) => assert!(why.contains("not while an instance starts or plans"), "{why}"),
        other => panic!("{other:?}"),
    }
    assert_eq!(log_lines(&environment), ["warn None zone"]);
}
