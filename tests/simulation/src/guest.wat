;; Lists of eight-byte values under two-byte keys. A request: what to do, one byte; the key; the value.
(module
  (import "recoil:plugin/storage@0.1.0" "get" (func $get (param i32 i32 i32)))
  (import "recoil:plugin/storage@0.1.0" "put" (func $put (param i32 i32 i32 i32 i32)))
  (memory (export "memory") 4)

  ;; 0..64: results of imports; 64..128: results of exports; the heap from 1024 on.
  (global $heap (mut i32) (i32.const 1024))

  (func $realloc (export "cabi_realloc") (param $old i32) (param $old_size i32) (param $align i32) (param $size i32) (result i32)
    (local $at i32)
    (local.set $at (i32.and (i32.add (global.get $heap) (i32.const 7)) (i32.const -8)))
    (global.set $heap (i32.add (local.get $at) (local.get $size)))
    (if (i32.gt_u (global.get $heap) (i32.const 262144)) (then unreachable))
    (local.get $at))

  (func (export "cabi_post_recoil:plugin/handler@0.1.0#handle") (param i32) (global.set $heap (i32.const 1024)))

  ;; result at 64: case, pointer, length
  (func $answer (param $case i32) (param $at i32) (param $length i32) (result i32)
    (i32.store8 (i32.const 64) (local.get $case))
    (i32.store (i32.const 68) (local.get $at))
    (i32.store (i32.const 72) (local.get $length))
    (i32.const 64))

  (func (export "recoil:plugin/handler@0.1.0#handle") (param $at i32) (param $length i32) (result i32)
    (local $op i32) (local $list i32) (local $bytes i32) (local $longer i32)
    (local.set $op (i32.load8_u (local.get $at)))
    (call $get (i32.add (local.get $at) (i32.const 1)) (i32.const 2) (i32.const 0))
    (if (i32.load8_u (i32.const 0)) (then unreachable))
    (if (i32.load8_u (i32.const 4)) (then
      (local.set $list (i32.load (i32.const 8)))
      (local.set $bytes (i32.load (i32.const 12)))))
    ;; g: get; answers the list
    (if (i32.eq (local.get $op) (i32.const 0x67)) (then
      (return (call $answer (i32.const 0) (local.get $list) (local.get $bytes)))))
    ;; a: append; answers the list with the value. r: the same, and then says no.
    (local.set $longer (call $realloc (i32.const 0) (i32.const 0) (i32.const 8) (i32.add (local.get $bytes) (i32.const 8))))
    (memory.copy (local.get $longer) (local.get $list) (local.get $bytes))
    (memory.copy (i32.add (local.get $longer) (local.get $bytes)) (i32.add (local.get $at) (i32.const 3)) (i32.const 8))
    (call $put (i32.add (local.get $at) (i32.const 1)) (i32.const 2)
      (local.get $longer) (i32.add (local.get $bytes) (i32.const 8)) (i32.const 0))
    (if (i32.load8_u (i32.const 0)) (then unreachable))
    (if (i32.eq (local.get $op) (i32.const 0x72)) (then
      (return (call $answer (i32.const 1) (local.get $at) (i32.const 1)))))
    (call $answer (i32.const 0) (local.get $longer) (i32.add (local.get $bytes) (i32.const 8)))))
