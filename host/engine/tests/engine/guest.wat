;; A package by hand: what it does is told by the first byte of a request. Enough to see the engine from a guest's side.
(module
  (import "recoil:plugin/storage@0.1.0" "get" (func $get (param i32 i32 i32)))
  (import "recoil:plugin/storage@0.1.0" "put" (func $put (param i32 i32 i32 i32 i32)))
  (import "recoil:plugin/partition@0.1.0" "now" (func $now (result i64)))
  (import "recoil:plugin/partition@0.1.0" "set-timer" (func $set-timer (param i32 i32 i64 i32 i32)))
  (import "recoil:plugin/partition@0.1.0" "publish" (func $publish (param i32 i32 i32 i32)))
  (import "recoil:plugin/router@0.1.0" "call" (func $call (param i32 i32 i32 i32 i32 i32 i32)))
  (import "recoil:plugin/router@0.1.0" "submit" (func $submit (param i32 i32 i32 i32 i32 i32) (result i32)))
  (import "recoil:plugin/router@0.1.0" "wait" (func $wait (param i32 i32)))
  (import "recoil:plugin/router@0.1.0" "subscribe" (func $subscribe (param i32 i32) (result i32)))
  (import "recoil:plugin/router@0.1.0" "[method]subscription.next" (func $next (param i32 i32 i32)))
  (import "recoil:plugin/router@0.1.0" "[resource-drop]subscription" (func $drop-subscription (param i32)))
  (import "recoil:plugin/tcp@0.1.0" "[method]connection.read" (func $read (param i32 i32 i32)))
  (import "recoil:plugin/tcp@0.1.0" "[method]connection.write" (func $write (param i32 i32 i32 i32)))
  (import "recoil:plugin/tcp@0.1.0" "[method]connection.wait-any" (func $wait-any (param i32 i32 i32 i32 i32)))
  (import "recoil:plugin/tcp@0.1.0" "[resource-drop]connection" (func $drop-connection (param i32)))
  (import "recoil:plugin/consensus@0.1.0" "propose" (func $propose (param i32 i32 i32)))
  (import "recoil:plugin/log@0.1.0" "write" (func $log (param i32 i32 i32)))
  (import "wasi:clocks/monotonic-clock@0.2.6" "subscribe-duration" (func $subscribe-duration (param i64) (result i32)))
  (import "wasi:io/poll@0.2.6" "[method]pollable.block" (func $block (param i32)))
  (import "wasi:cli/stdout@0.2.6" "get-stdout" (func $get-stdout (result i32)))
  (import "wasi:io/streams@0.2.6" "[method]output-stream.blocking-write-and-flush" (func $print (param i32 i32 i32 i32)))
  (import "wasi:elsewhere/place@0.2.0" "reach" (func $reach))
  (memory (export "memory") 2)

  ;; 0..64: results of imports; 64..128: results of exports; 128..1024: texts; the heap from 1024 on.
  (global $heap (mut i32) (i32.const 1024))
  (data (i32.const 128) "fired")
  (data (i32.const 140) "topic")

  (func $realloc (export "cabi_realloc") (param $old i32) (param $old_size i32) (param $align i32) (param $size i32) (result i32)
    (local $at i32)
    (local.set $at (i32.and (i32.add (global.get $heap) (i32.const 7)) (i32.const -8)))
    (global.set $heap (i32.add (local.get $at) (local.get $size)))
    (block $fits
      (loop $grow
        (br_if $fits (i32.le_u (global.get $heap) (i32.mul (memory.size) (i32.const 65536))))
        (if (i32.eq (memory.grow (i32.const 16)) (i32.const -1)) (then unreachable))
        (br $grow)))
    (local.get $at))

  (func $freed (param i32) (global.set $heap (i32.const 1024)))

  ;; result at 64: case, pointer, length
  (func $answer (param $case i32) (param $at i32) (param $length i32) (result i32)
    (i32.store8 (i32.const 64) (local.get $case))
    (i32.store (i32.const 68) (local.get $at))
    (i32.store (i32.const 72) (local.get $length))
    (i32.const 64))

  (func $spin (loop $forever (br $forever)))

  (func $handle (export "recoil:plugin/handler@0.1.0#handle") (param $at i32) (param $length i32) (result i32)
    (local $op i32) (local $n i32)
    (local.set $op (i32.load8_u (local.get $at)))
    ;; e: echo
    (if (i32.eq (local.get $op) (i32.const 0x65)) (then (return (call $answer (i32.const 0) (local.get $at) (local.get $length)))))
    ;; r: reject, with the request as the reason, after a write
    (if (i32.eq (local.get $op) (i32.const 0x72)) (then
      (call $put (local.get $at) (i32.const 1) (local.get $at) (i32.const 1) (i32.const 0))
      (return (call $answer (i32.const 1) (local.get $at) (local.get $length)))))
    ;; p: put; the key is the next byte, the value the rest; answers the case of the result and of its error
    (if (i32.eq (local.get $op) (i32.const 0x70)) (then
      (call $put (i32.add (local.get $at) (i32.const 1)) (i32.const 1)
        (i32.add (local.get $at) (i32.const 2)) (i32.sub (local.get $length) (i32.const 2)) (i32.const 0))
      (i32.store8 (i32.const 1) (i32.load8_u (i32.const 4)))
      (return (call $answer (i32.const 0) (i32.const 0) (i32.const 2)))))
    ;; q: get; answers the value, or nothing
    (if (i32.eq (local.get $op) (i32.const 0x71)) (then
      (i32.store (i32.const 12) (i32.const 0))
      (call $get (i32.add (local.get $at) (i32.const 1)) (i32.const 1) (i32.const 0))
      (if (i32.eqz (i32.load8_u (i32.const 4))) (then (return (call $answer (i32.const 0) (i32.const 0) (i32.const 0)))))
      (return (call $answer (i32.const 0) (i32.load (i32.const 8)) (i32.load (i32.const 12))))))
    ;; u: a trap, after a write
    (if (i32.eq (local.get $op) (i32.const 0x75)) (then
      (call $put (local.get $at) (i32.const 1) (local.get $at) (i32.const 1) (i32.const 0))
      unreachable))
    ;; l: for ever
    (if (i32.eq (local.get $op) (i32.const 0x6c)) (then (call $spin)))
    ;; g: all the memory there is, then a trap
    (if (i32.eq (local.get $op) (i32.const 0x67)) (then
      (loop $more (br_if $more (i32.ne (memory.grow (i32.const 64)) (i32.const -1))))
      unreachable))
    ;; b: an answer of 17 MiB
    (if (i32.eq (local.get $op) (i32.const 0x62)) (then
      (return (call $answer (i32.const 0) (call $realloc (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 17825792)) (i32.const 17825792)))))
    ;; t: a timer; the id is the next byte, the time 5,000,000, the payload the rest
    (if (i32.eq (local.get $op) (i32.const 0x74)) (then
      (call $set-timer (i32.add (local.get $at) (i32.const 1)) (i32.const 1) (i64.const 5000000)
        (i32.add (local.get $at) (i32.const 2)) (i32.sub (local.get $length) (i32.const 2)))
      (return (call $answer (i32.const 0) (i32.const 0) (i32.const 0)))))
    ;; m: publish the rest
    (if (i32.eq (local.get $op) (i32.const 0x6d)) (then
      (call $publish (i32.const 140) (i32.const 5) (i32.add (local.get $at) (i32.const 1)) (i32.sub (local.get $length) (i32.const 1)))
      (return (call $answer (i32.const 0) (i32.const 0) (i32.const 0)))))
    ;; n: now
    (if (i32.eq (local.get $op) (i32.const 0x6e)) (then
      (i64.store (i32.const 0) (call $now))
      (return (call $answer (i32.const 0) (i32.const 0) (i32.const 8)))))
    ;; c: call a partition, which a handler may not; answers the case of the result and of its error
    (if (i32.eq (local.get $op) (i32.const 0x63)) (then
      (call $call (i32.const 0) (local.get $at) (i32.const 1) (local.get $at) (local.get $length) (i32.const 0) (i32.const 0))
      (i32.store8 (i32.const 1) (i32.load8_u (i32.const 4)))
      (return (call $answer (i32.const 0) (i32.const 0) (i32.const 2)))))
    ;; s: submit without ever waiting
    (if (i32.eq (local.get $op) (i32.const 0x73)) (then
      (loop $more
        (drop (call $submit (i32.const 0) (local.get $at) (i32.const 1) (local.get $at) (local.get $length) (i32.const 0)))
        (br $more))))
    ;; o: propose; answers the text of the refusal
    (if (i32.eq (local.get $op) (i32.const 0x6f)) (then
      (call $propose (local.get $at) (local.get $length) (i32.const 0))
      (return (call $answer (i32.load8_u (i32.const 0)) (i32.load (i32.const 4)) (i32.load (i32.const 8))))))
    ;; w: wait for an hour
    (if (i32.eq (local.get $op) (i32.const 0x77)) (then (call $block (call $subscribe-duration (i64.const 3600000000000)))))
    ;; i: log the rest as a warning, print it too
    (if (i32.eq (local.get $op) (i32.const 0x69)) (then
      (call $log (i32.const 3) (i32.add (local.get $at) (i32.const 1)) (i32.sub (local.get $length) (i32.const 1)))
      (call $print (call $get-stdout) (i32.add (local.get $at) (i32.const 1)) (i32.sub (local.get $length) (i32.const 1)) (i32.const 0))
      (return (call $answer (i32.const 0) (i32.const 0) (i32.const 0)))))
    ;; x: what the host does not provide
    (if (i32.eq (local.get $op) (i32.const 0x78)) (then (call $reach)))
    (call $answer (i32.const 1) (local.get $at) (local.get $length)))
  (export "cabi_post_recoil:plugin/handler@0.1.0#handle" (func $freed))

  ;; A timer puts its payload under "fired", and refuses an empty one.
  (func (export "recoil:plugin/timer@0.1.0#fire") (param $id i32) (param $id_length i32) (param $at i32) (param $length i32) (result i32)
    (if (i32.eqz (local.get $length)) (then (return (call $answer (i32.const 1) (local.get $id) (local.get $id_length)))))
    (call $put (i32.const 128) (i32.const 5) (local.get $at) (local.get $length) (i32.const 0))
    (call $answer (i32.const 0) (i32.const 0) (i32.const 0)))
  (export "cabi_post_recoil:plugin/timer@0.1.0#fire" (func $freed))

  ;; A connection answers what it reads; C...: a call of the partition that owns "C", submitted and waited for;
  ;; S: the next message of "topic"; U: a trap; R: gives up.
  (func (export "recoil:plugin/tcp-listener@0.1.0#serve") (param $connection i32) (result i32)
    (local $at i32) (local $length i32) (local $op i32) (local $subscription i32)
    (loop $on
      (global.set $heap (i32.const 1024))
      (call $read (local.get $connection) (i32.const 4194304) (i32.const 0))
      (if (i32.load8_u (i32.const 0)) (then
        (call $drop-connection (local.get $connection))
        (return (call $answer (i32.const 1) (i32.const 128) (i32.const 5)))))
      (local.set $at (i32.load (i32.const 4)))
      (local.set $length (i32.load (i32.const 8)))
      (if (i32.eqz (local.get $length)) (then
        (call $drop-connection (local.get $connection))
        (return (call $answer (i32.const 0) (i32.const 0) (i32.const 0)))))
      (local.set $op (i32.load8_u (local.get $at)))
      (if (i32.eq (local.get $op) (i32.const 0x43)) (then
        (call $wait (call $submit (i32.const 0) (local.get $at) (i32.const 1)
          (i32.add (local.get $at) (i32.const 1)) (i32.sub (local.get $length) (i32.const 1)) (i32.const 0)) (i32.const 0))
        ;; the answer's bytes, or the error's text
        (if (i32.load8_u (i32.const 0))
          (then (local.set $at (i32.load (i32.const 8))) (local.set $length (i32.load (i32.const 12))))
          (else (local.set $at (i32.load (i32.const 4))) (local.set $length (i32.load (i32.const 8)))))))
      (if (i32.eq (local.get $op) (i32.const 0x53)) (then
        (local.set $subscription (call $subscribe (i32.const 140) (i32.const 5)))
        (call $write (local.get $connection) (i32.const 140) (i32.const 5) (i32.const 0))
        (i32.store (i32.const 32) (local.get $subscription))
        (call $wait-any (local.get $connection) (i32.const 32) (i32.const 1) (i32.const 5000) (i32.const 0))
        (call $next (local.get $subscription) (i32.const 0) (i32.const 0))
        (local.set $at (i32.load (i32.const 4)))
        (local.set $length (i32.load (i32.const 8)))
        (call $drop-subscription (local.get $subscription))))
      (if (i32.eq (local.get $op) (i32.const 0x55)) (then unreachable))
      (if (i32.eq (local.get $op) (i32.const 0x52)) (then
        (call $drop-connection (local.get $connection))
        (return (call $answer (i32.const 1) (local.get $at) (local.get $length)))))
      (call $write (local.get $connection) (local.get $at) (local.get $length) (i32.const 0))
      (br $on))
    unreachable)
  (export "cabi_post_recoil:plugin/tcp-listener@0.1.0#serve" (func $freed))
)
