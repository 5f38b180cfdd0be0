//! Handlers: what they may do, what it costs them when they go wrong, and that it costs nobody else.

use bytes::Bytes;
use recoil_base::Clock;
use recoil_engine::{CallBody, CallError, HandlerInstance, Limits};

use crate::{ENGINE, FULL, Partition, environment, guest, load, log_lines};

fn instance() -> HandlerInstance {
    FULL.new_handler(environment(Limits::default())).unwrap()
}

fn call(handler: &mut HandlerInstance, partition: &Partition, request: &[u8]) -> Result<Vec<u8>, CallError> {
    let (transaction, answer) = handler.handle(partition.transaction(false), request);
    partition.commit(transaction);
    answer
}

fn failure(answer: Result<Vec<u8>, CallError>) -> String {
    match answer {
        Err(CallError::Failed(why)) => why,
        other => panic!("expected a failure, not {other:?}"),
    }
}

#[test]
fn a_request_is_answered_and_its_writes_come_back() {
    let (mut handler, partition) = (instance(), Partition::default());
    assert_eq!(call(&mut handler, &partition, b"echo").unwrap(), b"echo");
    assert_eq!(call(&mut handler, &partition, b"qk").unwrap(), b"");
    assert_eq!(call(&mut handler, &partition, b"pkvalue").unwrap()[0], 0);
    assert_eq!(partition.get("k").unwrap(), "value");
    assert_eq!(call(&mut handler, &partition, b"qk").unwrap(), b"value");
    assert_eq!(call(&mut handler, &partition, b"now").unwrap(), 1_000_000u64.to_le_bytes());
    assert!(!handler.is_poisoned());
}

#[test]
fn an_err_rolls_back_and_keeps_the_instance() {
    let (mut handler, partition) = (instance(), Partition::default());
    assert_eq!(call(&mut handler, &partition, b"reason"), Err(CallError::Rejected("reason".into())));
    assert_eq!(partition.get("r"), None);
    assert!(!handler.is_poisoned());
    assert_eq!(call(&mut handler, &partition, b"echo").unwrap(), b"echo");
}

#[test]
fn a_trap_rolls_back_poisons_and_says_where() {
    let environment = environment(Limits::default());
    let (mut handler, partition) = (FULL.new_handler(environment.clone()).unwrap(), Partition::default());
    let why = failure(call(&mut handler, &partition, b"u"));
    assert!(why.contains("unreachable") && why.contains("handle"), "{why}");
    assert_eq!(partition.get("u"), None);
    assert!(handler.is_poisoned());
    assert!(failure(call(&mut handler, &partition, b"echo")).contains("trapped before"));
    assert!(
        log_lines(&environment)[0].starts_with("error Some(7) the handler failed: "),
        "{:?}",
        log_lines(&environment)
    );
    assert_eq!(call(&mut instance(), &partition, b"echo").unwrap(), b"echo");
}

#[test]
fn an_endless_loop_ends_at_its_deadline() {
    let limits = Limits { call_ms_max: 100, ..Limits::default() };
    let (mut handler, partition) = (FULL.new_handler(environment(limits)).unwrap(), Partition::default());
    let clock = Clock::system();
    let start = clock.now();
    let why = failure(call(&mut handler, &partition, b"l"));
    assert!(why.starts_with("ran longer than 100 ms"), "{why}");
    assert!(why.contains("spin"), "the function's name is in it: {why}");
    let took = (clock.now() - start).as_millis();
    assert!((100..5000).contains(&took), "{took} ms");
    assert!(handler.is_poisoned());
}

#[test]
fn a_handler_cannot_sleep_beyond_its_deadline() {
    let limits = Limits { call_ms_max: 100, ..Limits::default() };
    let (mut handler, partition) = (FULL.new_handler(environment(limits)).unwrap(), Partition::default());
    let clock = Clock::system();
    let start = clock.now();
    assert!(failure(call(&mut handler, &partition, b"w")).contains("waited longer than 100 ms"));
    assert!((clock.now() - start).as_millis() < 5000);
}

#[test]
fn memory_above_the_limit_is_refused_and_named() {
    let limits = Limits { memory_bytes_max: 8 << 20, ..Limits::default() };
    let (mut handler, partition) = (FULL.new_handler(environment(limits)).unwrap(), Partition::default());
    let why = failure(call(&mut handler, &partition, b"g"));
    assert!(why.starts_with("out of memory (limit memory_bytes: 8 MiB"), "{why}");
    let tiny = Limits { memory_bytes_max: 64 << 10, ..Limits::default() };
    let Err(CallError::Failed(why)) = FULL.new_handler(environment(tiny)).map(|_| ()) else {
        panic!("128 KiB do not fit into 64")
    };
    assert!(why.contains("could not start"), "{why}");
}

/// Fails if a handler counts for memory that it shares with all others, or not for what it has touched of it.
#[test]
fn what_a_handler_began_with_counts_once_it_is_touched() {
    let answer = "(i64.store (i32.const 64) (i64.const 0)) (i32.store (i32.const 72) (i32.const 0)) (i32.const 64)";
    let fills = "(memory.fill (i32.const 0x100000) (i32.const 1) (i32.mul (local.get $length) (i32.const 0x100000)))";
    let code = load(&ENGINE, &guest::handler_with_memory(512, &format!("{fills} {answer}")));
    let limits = Limits { app_memory_bytes_max: 64 << 20, ..Limits::default() };
    let mut many: Vec<_> = (0..8).map(|_| code.new_handler(environment(limits)).unwrap()).collect();
    let partition = Partition::default();
    for handler in &mut many {
        call(handler, &partition, b"1").unwrap();
        assert_eq!(handler.memory_bytes(), 0);
    }
    call(&mut many[0], &partition, &[0; 24]).unwrap();
    let counted = many[0].memory_bytes();
    assert!((20 << 20..=30 << 20).contains(&counted), "{counted}");
    assert_eq!(code.memory_bytes(), counted);
    drop(many);
    assert_eq!(code.memory_bytes(), 0);
}

#[test]
fn an_answer_above_the_limit_fails_its_call_only() {
    let (mut handler, partition) = (instance(), Partition::default());
    assert!(failure(call(&mut handler, &partition, b"b")).contains("17825792 bytes (limit answer_bytes: 16777216)"));
    assert_eq!(call(&mut handler, &partition, b"echo").unwrap(), b"echo");
}

#[test]
fn a_read_refuses_writes_and_timers() {
    let (mut handler, partition) = (instance(), Partition::default());
    let (_, answer) = handler.handle(partition.transaction(true), b"pkvalue");
    assert_eq!(answer.unwrap(), [1, 1], "err(read-only)");
    let (_, answer) = handler.handle(partition.transaction(true), b"tid");
    assert!(failure(answer).starts_with("partition.set-timer: the call runs in read-only mode"));
}

#[test]
fn the_router_refuses_handlers_and_what_they_leave_behind_is_bounded() {
    let (mut handler, partition) = (instance(), Partition::default());
    assert_eq!(call(&mut handler, &partition, b"c").unwrap(), [1, 0], "err(rejected)");
    let refusal = call(&mut handler, &partition, b"o").unwrap_err().to_string();
    assert!(refusal.contains("not supported by this version"), "{refusal}");
    assert!(failure(call(&mut handler, &partition, b"s")).contains("limit pending_calls: 1024"));
}

#[test]
fn what_the_host_does_not_provide_is_refused_when_called() {
    let (mut handler, partition) = (instance(), Partition::default());
    assert_eq!(call(&mut handler, &partition, b"echo").unwrap(), b"echo");
    let why = failure(call(&mut handler, &partition, b"x"));
    assert!(why.contains("does not provide wasi:elsewhere/place@0.2.0, of which reach was called"), "{why}");
}

#[test]
fn timers_fire_once_and_a_refused_one_stays() {
    let (mut handler, partition) = (instance(), Partition::default());
    let (transaction, answer) = handler.handle(partition.transaction(false), b"tApayload");
    answer.unwrap();
    assert_eq!(partition.commit(transaction).earliest_timer_us, Some(5_000_000));
    call(&mut handler, &partition, b"tB").unwrap();
    let due = recoil_engine::timers::due(&partition, 5_000_000, 10, 1 << 20).unwrap();
    assert_eq!(due.len(), 2);
    let fire = |id: &'static [u8], payload: &'static [u8]| CallBody::Fire {
        id: id.into(),
        payload: payload.into(),
        at_us: 5_000_000,
    };
    for round in 0..2 {
        let (transaction, answer) = handler.evaluate(partition.transaction(false), &fire(b"A", b"payload"));
        assert_eq!(answer.unwrap(), Bytes::new());
        assert_eq!(partition.commit(transaction).writes.is_empty(), round == 1, "round {round}");
    }
    assert_eq!(partition.get("fired").unwrap(), "payload");
    let (transaction, answer) = handler.evaluate(partition.transaction(false), &fire(b"B", b""));
    assert_eq!(answer, Err(CallError::Rejected("B".into())));
    partition.commit(transaction);
    assert_eq!(recoil_engine::timers::due(&partition, 5_000_000, 10, 1 << 20).unwrap().len(), 1);
}

#[test]
fn publishing_waits_for_the_commit() {
    let (mut handler, partition) = (instance(), Partition::default());
    let (transaction, answer) = handler.handle(partition.transaction(false), b"mnews");
    answer.unwrap();
    assert_eq!(partition.commit(transaction).publishes, [(Bytes::from_static(b"topic"), Bytes::from_static(b"news"))]);
}

#[test]
fn a_component_without_a_timer_may_set_none() {
    let wasm = guest::handler(
        "(call $set-timer (i32.const 0) (i32.const 0) (i64.const 1) (i32.const 0) (i32.const 0)) (i32.const 64)",
    );
    let mut handler = load(&ENGINE, &wasm).new_handler(environment(Limits::default())).unwrap();
    let partition = Partition::default();
    assert!(failure(call(&mut handler, &partition, b"")).contains("does not export recoil:plugin/timer"));
}

#[test]
fn log_lines_and_output_are_in_the_apps_log() {
    let environment = environment(Limits::default());
    let mut handler = FULL.new_handler(environment.clone()).unwrap();
    call(&mut handler, &Partition::default(), b"ione\ntwo").unwrap();
    drop(handler);
    assert_eq!(log_lines(&environment), ["warn Some(7) one\ntwo", "info Some(7) one", "info Some(7) two"]);
}

#[test]
fn instances_are_bounded_and_their_end_makes_room() {
    let engine =
        recoil_engine::Engine::new(recoil_engine::EngineOptions { instances_max: 2, ..Default::default() }).unwrap();
    let wasm = guest::full();
    let code = load(&engine, &wasm);
    let _first = code.new_handler(environment(Limits::default())).unwrap();
    let second = code.new_handler(environment(Limits::default())).unwrap();
    let third = code.new_handler(environment(Limits::default())).map(|_| ());
    assert!(matches!(&third, Err(CallError::Unavailable(why)) if why.contains("no room")), "{third:?}");
    drop(second);
    code.new_handler(environment(Limits::default())).unwrap();
}
