;; A package that answers HTTP, by hand. See guest.rs.
(module
  (import "recoil:plugin/router@0.1.0" "submit" (func $submit (param i32 i32 i32 i32 i32 i32) (result i32)))
  (import "recoil:plugin/router@0.1.0" "subscribe" (func $subscribe (param i32 i32) (result i32)))
  (import "recoil:plugin/router@0.1.0" "[method]subscription.next" (func $next (param i32 i32 i32)))
  (memory (export "memory") 2)

  ;; 64..128: results of exports; 128..1024: texts; the heap from 1024 on.
  (global $heap (mut i32) (i32.const 1024))
  (global $count (mut i32) (i32.const 48))
  (data (i32.const 140) "topic")

  (func (export "cabi_realloc") (param $old i32) (param $old_size i32) (param $align i32) (param $size i32) (result i32)
    (local $at i32)
    (local.set $at (i32.and (i32.add (global.get $heap) (i32.const 7)) (i32.const -8)))
    (global.set $heap (i32.add (local.get $at) (local.get $size)))
    (local.get $at))

  (func (export "recoil:plugin/handler@0.1.0#handle") (param i32 i32) (result i32)
    (i64.store (i32.const 64) (i64.const 0))
    (i32.store (i32.const 72) (i32.const 0))
    (i32.const 64))

  ;; The flattened record is below 17 values: method, path, query, headers, body, peer-address, a pointer and a length each.
  (func (export "recoil:plugin/http-handler@0.1.0#handle")
    (param $method i32) (param i32) (param $path i32) (param $path_length i32) (param i32) (param i32) (param i32) (param i32)
    (param $body i32) (param $body_length i32) (param i32) (param i32) (result i32)
    (local $op i32)
    (local.set $op (i32.load8_u (i32.add (local.get $path) (i32.const 1))))
    ;; result at 64: case, then the response at 68: status, headers, body; or the text of an error at 68
    (i32.store (i32.const 64) (i32.const 0))
    (i32.store (i32.const 68) (i32.const 200))
    (i64.store (i32.const 72) (i64.const 0))
    (i32.store (i32.const 80) (local.get $body))
    (i32.store (i32.const 84) (local.get $body_length))
    (if (i32.eq (local.get $op) (i32.const 0x72)) (then
      (i32.store (i32.const 64) (i32.const 1))
      (i32.store (i32.const 68) (local.get $path))
      (i32.store (i32.const 72) (local.get $path_length))))
    (if (i32.eq (local.get $op) (i32.const 0x75)) (then unreachable))
    (if (i32.eq (local.get $op) (i32.const 0x6c)) (then (loop $forever (br $forever))))
    (if (i32.eq (local.get $op) (i32.const 0x66)) (then
      (memory.fill (i32.const 0x100000) (i32.const 1) (i32.const 0x1800000))))
    (if (i32.or (i32.eq (local.get $op) (i32.const 0x66)) (i32.eq (local.get $op) (i32.const 0x77))) (then
      (call $next (call $subscribe (i32.const 140) (i32.const 5)) (i32.const 60000) (i32.const 0))))
    (if (i32.eq (local.get $op) (i32.const 0x6b)) (then
      (drop (call $submit (i32.const 0) (i32.const 140) (i32.const 5) (i32.const 140) (i32.const 5) (i32.const 0)))))
    (global.set $count (i32.add (global.get $count) (i32.const 1)))
    (if (i32.eq (local.get $op) (i32.const 0x63)) (then
      (i32.store8 (i32.const 130) (global.get $count))
      (i32.store (i32.const 80) (i32.const 130))
      (i32.store (i32.const 84) (i32.const 1))))
    (i32.const 64))
  (func (export "cabi_post_recoil:plugin/http-handler@0.1.0#handle") (param i32) (global.set $heap (i32.const 1024))))
