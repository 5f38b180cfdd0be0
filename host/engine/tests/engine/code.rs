//! Loading: roles, refusals, and the cache of compiled code.

use std::path::Path;
use std::sync::Arc;

use recoil_base::Digest;
use recoil_engine::{Engine, EngineError, EngineOptions, EngineStats, Limits};
use recoil_package::Permission;

use crate::{ENGINE, FULL, Partition, environment, everything, guest, load};

fn engine(folder: &Path) -> Arc<Engine> {
    Engine::new(EngineOptions { code_cache: Some(folder.to_owned()), instances_max: 4, ..EngineOptions::default() })
        .unwrap()
}

fn refusal(wasm: &[u8]) -> String {
    ENGINE.load(Digest::of(wasm), wasm, &everything()).map(|_| ()).unwrap_err().to_string()
}

const REJECTS: &str = "(i32.store8 (i32.const 64) (i32.const 1)) (i32.store (i32.const 68) (i32.const 0)) (i32.store (i32.const 72) (i32.const 0)) (i32.const 64)";

#[test]
fn exports_tell_the_roles() {
    let roles = FULL.roles();
    assert!(
        roles.handler
            && roles.timer
            && roles.tcp_listener
            && !roles.http_handler
            && !roles.state_machine
            && !roles.scheduler
    );
    let roles = load(&ENGINE, &guest::handler(REJECTS)).roles();
    assert!(roles.handler && !roles.timer && !roles.tcp_listener);
}

#[test]
fn what_is_not_a_package_is_refused_with_the_reason() {
    let why = refusal(&guest::no_handler());
    assert!(why.contains("no recoil:plugin/handler") && why.contains("test:guest/stray"), "{why}");
    let why = refusal(&guest::scheduler_with_timer());
    assert!(why.contains("no recoil:plugin/handler") && why.contains("recoil:plugin/timer"), "{why}");
    let why = refusal(b"\0asm junk");
    assert!(why.contains("not a valid WebAssembly component"), "{why}");
    let module = wat::parse_str("(module)").unwrap();
    assert!(refusal(&module).contains("not a valid WebAssembly component"));
    let why = refusal(&guest::wrong_shape());
    assert!(why.contains("0.1.7#handle") && why.contains("func(u32) -> u32, not func(list<u8>)"), "{why}");
    let wasm = guest::no_handler();
    assert!(matches!(ENGINE.load(Digest::of(b"other"), &wasm, &everything()), Err(EngineError::Digest { .. })));
}

#[test]
fn imports_that_nobody_has_are_named() {
    let text = r#"(component
        (import "acme:keys/store@1.0.0" (instance))
        (import "recoil:plugin/storage@0.2.0" (instance))
        (import "wasi:keyvalue/store@0.2.0" (instance)))"#;
    let why = refusal(&wat::parse_str(text).unwrap());
    assert!(why.contains("imports acme:keys/store@1.0.0, recoil:plugin/storage@0.2.0, which"), "{why}");
    let why = refusal(&wat::parse_str(r#"(component (import "wasi:keyvalue/store@0.2.0" (instance)))"#).unwrap());
    assert!(why.contains("no recoil:plugin/handler"), "what is WASI's is refused when it is called: {why}");
}

#[test]
fn what_was_not_granted_refuses_and_says_which_permission_it_needs() {
    let body = "(call $set-timer (i32.const 0) (i32.const 1) (i64.const 0) (i32.const 0) (i32.const 0)) unreachable";
    let wasm = guest::handler(body);
    for (granted, expected) in [
        (everything(), "does not export"),
        (everything().into_iter().filter(|permission| *permission != Permission::Timers).collect(), "'timers'"),
    ] {
        // An engine of its own: code goes by its digest, which covers the manifest.
        let engine = Engine::new(EngineOptions { instances_max: 4, ..EngineOptions::default() }).unwrap();
        let code = engine.load(Digest::of(&wasm), &wasm, &granted).unwrap();
        let mut handler = code.new_handler(environment(Limits::default())).unwrap();
        let why = handler.handle(Partition::default().transaction(false), b"").1.unwrap_err().to_string();
        assert!(why.contains(expected), "{why}");
        assert_eq!(why.contains("partition.set-timer needs the permission"), expected == "'timers'", "{why}");
    }
}

#[test]
fn every_function_of_the_contract_is_granted_by_a_permission_or_needs_none() {
    let mut resolve = wit_parser::Resolve::default();
    let (contract, _) = resolve.push_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../wit")).unwrap();
    let interfaces = &resolve.packages[contract].interfaces;
    let free = |interface: &str| {
        let functions = &resolve.interfaces[interfaces[interface]].functions;
        let free = functions.keys().filter(|function| Permission::of(interface, function).is_none());
        free.map(String::as_str).collect::<Vec<_>>()
    };
    for interface in ["storage", "router", "consensus"] {
        assert!(free(interface).is_empty(), "{interface}: {:?}", free(interface));
    }
    assert_eq!(free("partition"), ["current", "now", "is-read-only"]);
    assert!(!free("log").is_empty() && !free("settings").is_empty() && !free("tcp").is_empty());
    for (interface, function) in [("router", "subscribe"), ("router", "[method]subscription.next")] {
        let functions = &resolve.interfaces[interfaces[interface]].functions;
        assert!(functions.contains_key(function) && Permission::of(interface, function) == Some(Permission::Publish));
    }
}

#[test]
fn code_is_compiled_once_and_shared_while_in_use() {
    let folder = tempfile::tempdir().unwrap();
    let (engine, wasm) = (engine(folder.path()), guest::handler(REJECTS));
    let first = load(&engine, &wasm);
    assert!(Arc::ptr_eq(&first, &load(&engine, &wasm)));
    assert_eq!(engine.stats(), EngineStats { compiled: 1, ..EngineStats::default() });
}

#[test]
fn compiled_code_is_kept_on_disk_and_damage_is_compiled_again() {
    let folder = tempfile::tempdir().unwrap();
    let wasm = guest::handler(REJECTS);
    load(&engine(folder.path()), &wasm);
    let file = folder.path().read_dir().unwrap().next().unwrap().unwrap().path();
    let good = std::fs::read(&file).unwrap();
    assert!(file.file_name().unwrap().to_string_lossy().starts_with(&Digest::of(&wasm).hex()));

    let second = engine(folder.path());
    let code = load(&second, &wasm);
    assert_eq!(second.stats(), EngineStats { cache_hits: 1, ..EngineStats::default() });
    let mut handler = code.new_handler(environment(Limits::default())).unwrap();
    assert!(handler.handle(Partition::default().transaction(false), b"").1.is_err());

    let middle = good.len() / 2;
    let mut flipped = good.clone();
    flipped[middle] ^= 1;
    for damaged in [&good[..10], &good[..good.len() - 1], &flipped] {
        std::fs::write(&file, damaged).unwrap();
        let engine = engine(folder.path());
        load(&engine, &wasm);
        assert_eq!(engine.stats(), EngineStats { compiled: 1, cache_refused: 1, cache_hits: 0 });
        assert_eq!(std::fs::read(&file).unwrap().len(), good.len(), "written anew");
    }
    assert_eq!(folder.path().read_dir().unwrap().count(), 1, "nothing else is left in the folder");
}
