;; The part of the shim that is the same for every contract. Imports of the contract come before it, calls and exports behind.
(import "wasi_snapshot_preview1" "clock_time_get" (func $clock_time_get (param i32 i64 i32) (result i32)))
(import "wasi_snapshot_preview1" "fd_write" (func $fd_write (param i32 i32 i32 i32) (result i32)))
(import "wasi_snapshot_preview1" "random_get" (func $random_get (param i32 i32) (result i32)))
(import "dotnet" "malloc" (func $malloc (param i32) (result i32)))
(import "dotnet" "free" (func $free (param i32)))
(import "dotnet" "memalign" (func $memalign (param i32 i32) (result i32)))
(import "dotnet" "mono_wasm_invoke_jsexport" (func $invoke (param i32 i32)))
(import "dotnet" "mono_background_exec" (func $background))
(import "dotnet" "memory" (memory 1))
(import "dotnet" "__indirect_function_table" (table 1 funcref))

(global $dispatch (mut i32) (i32.const 0)) ;; the runtime's handle of the managed method that exports enter by
(global $block (mut i32) (i32.const 0))    ;; 4 KiB of slots, through which everything crosses
(global $arena (mut i32) (i32.const 0))    ;; 64 KiB for what the host writes, up to $end; $top is the first free byte
(global $top (mut i32) (i32.const 0))
(global $end (mut i32) (i32.const 0))
(global $large (mut i32) (i32.const 0))    ;; what the arena had no room for: a list of blocks of malloc
(global $due (mut i32) (i32.const 0))      ;; 1 when the runtime has asked for its background work
(global $fixed (mut i32) (i32.const 0))    ;; 1 while memory must not grow

;; Nanoseconds: clock 0 is the wall's, clock 1 goes on steadily. The slot that it uses nothing else does.
(func $now (param $clock i32) (result i64)
  (drop (call $clock_time_get (local.get $clock) (i64.const 1) (i32.add (global.get $block) (i32.const 4080))))
  (i64.load offset=4080 (global.get $block)))

;; Prints a text that ends with a zero, as a line. Slots 506 to 509 have the two pieces, the line's end, and how much was written.
(func $print (param $text i32) (local $end i32)
  (if (i32.eqz (local.get $text)) (then (return)))
  (local.set $end (local.get $text))
  (block $found
    (loop $next
      (br_if $found (i32.eqz (i32.load8_u (local.get $end))))
      (local.set $end (i32.add (local.get $end) (i32.const 1)))
      (br $next)))
  (i32.store offset=4048 (global.get $block) (local.get $text))
  (i32.store offset=4052 (global.get $block) (i32.sub (local.get $end) (local.get $text)))
  (i32.store offset=4056 (global.get $block) (i32.add (global.get $block) (i32.const 4064)))
  (i32.store offset=4060 (global.get $block) (i32.const 1))
  (i32.store8 offset=4064 (global.get $block) (i32.const 10))
  (drop (call $fd_write
    (i32.const 2) (i32.add (global.get $block) (i32.const 4048)) (i32.const 2) (i32.add (global.get $block) (i32.const 4072)))))

;; For the packer only.
(func (export "recoil-growth") (param $is_fixed i32) (global.set $fixed (local.get $is_fixed)))
(func (export "recoil-pump") (result i32)
  (if (result i32) (global.get $due)
    (then (global.set $due (i32.const 0)) (call $background) (i32.const 1))
    (else (i32.const 0))))
(func (export "recoil-init") (param $method i32) (param $slots i32)
  (global.set $dispatch (local.get $method))
  (global.set $block (local.get $slots))
  (global.set $arena (call $malloc (i32.const 65536)))
  (global.set $top (global.get $arena))
  (global.set $end (i32.add (global.get $arena) (i32.const 65536))))

;; What the host writes goes to the arena, and large blocks to malloc; never to the collected heap. Managed code copies it, and then
;; releases all of it at once.
(func $realloc (export "cabi_realloc") (param $old i32) (param $was i32) (param $align i32) (param $size i32) (result i32)
  (local $at i32)
  (local.set $at (i32.and
    (i32.add (global.get $top) (i32.sub (local.get $align) (i32.const 1)))
    (i32.sub (i32.const 0) (local.get $align))))
  (if (i32.le_u (local.get $size) (i32.sub (global.get $end) (local.get $at)))
    (then (global.set $top (i32.add (local.get $at) (local.get $size))))
    (else
      (if (i32.gt_u (local.get $size) (i32.const 0x7ffffff0)) (then (unreachable)))
      (local.set $at (call $malloc (i32.add (local.get $size) (i32.const 16))))
      (if (i32.eqz (local.get $at)) (then (unreachable)))
      (i32.store (local.get $at) (global.get $large))
      (global.set $large (local.get $at))
      (local.set $at (i32.add (local.get $at) (i32.const 16)))))
  (if (local.get $was)
    (then (memory.copy (local.get $at) (local.get $old)
      (select (local.get $was) (local.get $size) (i32.lt_u (local.get $was) (local.get $size))))))
  (local.get $at))
;; The memory of the adapter for WASI itself, which is never freed.
(func (export "cabi_realloc_adapter") (param i32 i32 i32 i32) (result i32)
  (call $memalign (local.get 2) (local.get 3)))
(func $release (local $block i32)
  (global.set $top (global.get $arena))
  (block $done
    (loop $next
      (br_if $done (i32.eqz (local.tee $block (global.get $large))))
      (global.set $large (i32.load (local.get $block)))
      (call $free (local.get $block))
      (br $next))))
