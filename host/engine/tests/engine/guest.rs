//! Components for the tests, from core modules in text form and the contract in `wit/`.

use std::path::Path;

use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
use wit_parser::{PackageId, Resolve};

/// WASI as far as the test guest uses it, in a version that some tool chain uses.
const WASI: [&str; 4] = [
    "package wasi:io@0.2.6;
     interface poll { resource pollable { block: func(); } }
     interface error { resource error; }
     interface streams {
       use error.{error};
       variant stream-error { last-operation-failed(error), closed }
       resource output-stream { blocking-write-and-flush: func(contents: list<u8>) -> result<_, stream-error>; }
     }",
    "package wasi:clocks@0.2.6;
     interface monotonic-clock { use wasi:io/poll@0.2.6.{pollable}; subscribe-duration: func(when: u64) -> pollable; }",
    // What the host does not have.
    "package wasi:elsewhere@0.2.0; interface place { reach: func(); }",
    "package wasi:cli@0.2.6;
     interface stdout { use wasi:io/streams@0.2.6.{output-stream}; get-stdout: func() -> output-stream; }",
];

const WORLDS: &str = "package test:guest;
    interface stray { handle: func(request: string) -> string; }
    world full {
      include recoil:plugin/plugin@0.1.0;
      export recoil:plugin/timer@0.1.0;
      import wasi:clocks/monotonic-clock@0.2.6;
      import wasi:io/poll@0.2.6;
      import wasi:io/streams@0.2.6;
      import wasi:cli/stdout@0.2.6;
      import wasi:elsewhere/place@0.2.0;
    }
    world web { include recoil:plugin/http-plugin@0.1.0; }
    world data { include recoil:plugin/data-plugin@0.1.0; }
    world commands { include recoil:plugin/data-plugin@0.1.0; export recoil:plugin/admin@0.1.0; }
    world plans { include recoil:plugin/platform@0.1.0; export recoil:plugin/scheduler@0.1.0; }
    world planning-data { include plans; export recoil:plugin/timer@0.1.0; }
    world none { export stray; }";

/// A heap, and how a `result` whose cases are both a list or a text is answered: 0 or 1, where it lies and its length.
const ANSWERING: &str = r#"(global $heap (mut i32) (i32.const 2048))
          (func (export "cabi_realloc") (param i32 i32 i32) (param $size i32) (result i32)
            (global.get $heap)
            (global.set $heap (i32.and (i32.add (i32.add (global.get $heap) (local.get $size)) (i32.const 7)) (i32.const -8))))
          (func $answer (param $case i32) (param $at i32) (param $length i32) (result i32)
            (i32.store8 (i32.const 64) (local.get $case))
            (i32.store (i32.const 68) (local.get $at))
            (i32.store (i32.const 72) (local.get $length))
            (i32.const 64))"#;

/// The guest of `guest.wat`: a handler, a timer and a listener.
pub(crate) fn full() -> Vec<u8> {
    component("full", include_str!("guest.wat"))
}

/// A handler alone, whose `handle` has this body: `(param $at i32) (param $length i32) (result i32)`, 16 free bytes at 64.
pub(crate) fn handler(body: &str) -> Vec<u8> {
    handler_with_memory(2, body)
}

/// A handler that begins with so many pages of 64 KiB.
pub(crate) fn handler_with_memory(pages: u32, body: &str) -> Vec<u8> {
    let module = format!(
        r#"(module
          (import "recoil:plugin/partition@0.1.0" "set-timer" (func $set-timer (param i32 i32 i64 i32 i32)))
          (memory (export "memory") {pages})
          (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) (i32.const 1024))
          (func (export "recoil:plugin/handler@0.1.0#handle") (param $at i32) (param $length i32) (result i32) {body}))"#
    );
    component("data", &module)
}

/// A scheduler alone, whose `plan` has this body: `$nodes`, `$rules` and `$partitions`, each with its number; 64 free bytes at 64 and 1,000
/// at 128.
pub(crate) fn scheduler(body: &str) -> Vec<u8> {
    component("plans", &scheduler_module(body, ""))
}

/// A scheduler with a timer, and no handler that could set it.
pub(crate) fn scheduler_with_timer() -> Vec<u8> {
    let timer = r#"(func (export "recoil:plugin/timer@0.1.0#fire") (param i32 i32 i32 i32) (result i32) unreachable)"#;
    component("planning-data", &scheduler_module("unreachable", timer))
}

fn scheduler_module(body: &str, more: &str) -> String {
    format!(
        r#"(module
          (import "recoil:plugin/storage@0.1.0" "put" (func $put (param i32 i32 i32 i32 i32)))
          (import "recoil:plugin/log@0.1.0" "write" (func $log (param i32 i32 i32)))
          (memory (export "memory") 2)
          {ANSWERING}
          (func (export "recoil:plugin/scheduler@0.1.0#plan")
            (param $nodes i32) (param i32) (param $rules i32) (param i32) (param $partitions i32) (param i32) (result i32) {body})
          {more})"#
    )
}

/// A handler with one command, `grüße`, whose `run` has this body: `$at` and `$count` of its arguments; 64 free bytes at 512.
pub(crate) fn commands(run: &str) -> Vec<u8> {
    let module = format!(
        r#"(module
          (import "recoil:plugin/storage@0.1.0" "get" (func $get (param i32 i32 i32)))
          (memory (export "memory") 2)
          (data (i32.const 256) "gr\c3\bc\c3\9feNAMEGreets.")
          {ANSWERING}
          (func (export "recoil:plugin/handler@0.1.0#handle") (param i32 i32) (result i32) unreachable)
          (func (export "recoil:plugin/admin@0.1.0#commands") (result i32)
            (i32.store (i32.const 80) (i32.const 96)) (i32.store (i32.const 84) (i32.const 1))
            (i32.store (i32.const 96) (i32.const 128)) (i32.store (i32.const 100) (i32.const 1))
            (i32.store (i32.const 104) (i32.const 263)) (i32.store (i32.const 108) (i32.const 4))
            (i32.store (i32.const 112) (i32.const 267)) (i32.store (i32.const 116) (i32.const 7))
            (i32.store (i32.const 128) (i32.const 256)) (i32.store (i32.const 132) (i32.const 7))
            (i32.const 80))
          (func (export "recoil:plugin/admin@0.1.0#run") (param $at i32) (param $count i32) (result i32) {run}))"#
    );
    component("commands", &module)
}

/// A component that exports something else than a handler.
pub(crate) fn no_handler() -> Vec<u8> {
    let module = r#"(module
      (memory (export "memory") 1)
      (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) (i32.const 16))
      (func (export "test:guest/stray#handle") (param i32 i32) (result i32) (i32.const 0)))"#;
    component("none", module)
}

/// A component whose export has the contract's name but not its shape.
pub(crate) fn wrong_shape() -> Vec<u8> {
    let text = r#"(component
      (core module $m (func (export "handle") (param i32) (result i32) (local.get 0)))
      (core instance $i (instantiate $m))
      (func $handle (param "request" u32) (result u32) (canon lift (core func $i "handle")))
      (instance (export "recoil:plugin/handler@0.1.7") (export "handle" (func $handle))))"#;
    wat::parse_str(text).unwrap()
}

fn component(world: &str, module: &str) -> Vec<u8> {
    let (resolve, package) = contract();
    let world = resolve.select_world(&[package], Some(world)).unwrap();
    let mut module = wat::parse_str(module).unwrap();
    embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8).unwrap();
    ComponentEncoder::default().module(&module).unwrap().validate(true).encode().unwrap()
}

fn contract() -> (Resolve, PackageId) {
    let mut resolve = Resolve::default();
    resolve.push_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../wit")).unwrap();
    for text in WASI {
        resolve.push_str("wasi.wit", text).unwrap();
    }
    let package = resolve.push_str("guest.wit", WORLDS).unwrap();
    (resolve, package)
}

/// Answers HTTP. The first byte of the path behind the slash tells what it does: e: answers the body; r: an error; u: a trap; l: loops;
/// w: waits for a message; f: fills 24 MiB of its memory and waits, if it has so much; k: leaves a submitted call behind; c: counts, in its
/// memory, the requests it has answered.
pub(crate) fn http() -> Vec<u8> {
    component("web", include_str!("http.wat"))
}

/// The same, with 32 MiB of memory from the beginning.
pub(crate) fn large_http() -> Vec<u8> {
    component(
        "web",
        &include_str!("http.wat").replace(r#"(memory (export "memory") 2)"#, r#"(memory (export "memory") 512)"#),
    )
}
