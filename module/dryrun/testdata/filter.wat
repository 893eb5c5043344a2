;; A filter whose configuration says how its start goes, by its first letter.
(module
  (import "env" "proxy_log" (func $log (param i32 i32 i32) (result i32)))
  (import "env" "proxy_get_buffer_bytes" (func $get_buffer (param i32 i32 i32 i32 i32) (result i32)))
  (import "env" "proxy_get_property" (func $get_property (param i32 i32 i32 i32) (result i32)))
  (import "env" "proxy_http_call" (func $http_call (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32) (result i32)))
  (import "env" "proxy_set_shared_data" (func $set_shared (param i32 i32 i32 i32 i32) (result i32)))
  (import "env" "proxy_get_shared_data" (func $get_shared (param i32 i32 i32 i32 i32) (result i32)))
  (import "env" "proxy_define_metric" (func $define_metric (param i32 i32 i32 i32) (result i32)))
  (import "env" "proxy_increment_metric" (func $increment_metric (param i32 i64) (result i32)))
  (import "env" "proxy_get_metric" (func $get_metric (param i32 i32) (result i32)))
  (import "env" "proxy_get_header_map_value" (func $get_header (param i32 i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "environ_sizes_get" (func $environ_sizes (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "environ_get" (func $environ (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_write" (func $fd_write (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 2)
  (global $heap (mut i32) (i32.const 65536))
  (data (i32.const 1024) "xds\00")         ;; a property that only an Envoy has
  (data (i32.const 1040) "plugin_root_id")
  (data (i32.const 1060) "bad header name\n")
  (data (i32.const 1080) "starting")
  (data (i32.const 1100) "\03\00\00\00\07\00\00\00\03\00\00\00\05\00\00\00\01\00\00\00\0a\00\00\00\01\00\00\00:method\00GET\00:path\00/\00:authority\00a\00")

  (func (export "proxy_abi_version_0_2_1"))
  (func (export "malloc") (param $size i32) (result i32)
    (local $at i32)
    (local.set $at (global.get $heap))
    (global.set $heap (i32.add (global.get $heap) (local.get $size)))
    (local.get $at))
  (func (export "_initialize")
    (drop (call $log (i32.const 2) (i32.const 1080) (i32.const 8))))
  (func (export "proxy_on_context_create") (param i32 i32))

  ;; VM configuration: "no" is refused.
  (func (export "proxy_on_vm_start") (param $id i32) (param $size i32) (result i32)
    ;; the plugin's configuration isn't to be had yet
    (if (i32.ne (call $get_buffer (i32.const 7) (i32.const 0) (i32.const 1) (i32.const 0) (i32.const 4)) (i32.const 1))
      (then (unreachable)))
    (if (call $get_buffer (i32.const 6) (i32.const 0) (local.get $size) (i32.const 0) (i32.const 4))
      (then (unreachable)))
    (i32.eqz (i32.and (i32.eq (local.get $size) (i32.const 2))
                      (i32.eq (i32.load8_u (i32.load (i32.const 0))) (i32.const 0x6e)))))

  (func $spin (loop $again (br $again)))
  (func $dig (call $dig))

  (func (export "proxy_on_configure") (param $id i32) (param $size i32) (result i32)
    (local $c i32)
    (if (call $get_buffer (i32.const 7) (i32.const 0) (local.get $size) (i32.const 0) (i32.const 4))
      (then (unreachable)))
    (if (i32.eqz (local.get $size)) (then (return (i32.const 1))))
    (drop (call $log (i32.const 3) (i32.load (i32.const 0)) (i32.load (i32.const 4))))
    (local.set $c (i32.load8_u (i32.load (i32.const 0))))
    (if (i32.eq (local.get $c) (i32.const 0x66)) ;; f: false
      (then (return (i32.const 0))))
    (if (i32.eq (local.get $c) (i32.const 0x74)) ;; t: trap
      (then (unreachable)))
    (if (i32.eq (local.get $c) (i32.const 0x6c)) ;; l: loop
      (then (call $spin)))
    (if (i32.eq (local.get $c) (i32.const 0x73)) ;; s: stack overflow
      (then (call $dig)))
    (if (i32.eq (local.get $c) (i32.const 0x6d)) ;; m: memory without end
      (then (loop $more
        (br_if $more (i32.ne (memory.grow (i32.const 16)) (i32.const -1))))
        (unreachable)))
    (if (i32.eq (local.get $c) (i32.const 0x70)) ;; p: needs a property of its Envoy
      (then (return (i32.eqz (call $get_property (i32.const 1024) (i32.const 4) (i32.const 0) (i32.const 4))))))
    (if (i32.eq (local.get $c) (i32.const 0x72)) ;; r: its root id is "root"
      (then
        (drop (call $get_property (i32.const 1040) (i32.const 14) (i32.const 0) (i32.const 4)))
        (return (i32.eq (i32.load (i32.load (i32.const 0))) (i32.const 0x746f6f72)))))
    (if (i32.eq (local.get $c) (i32.const 0x68)) ;; h: HTTP call, answered with a token
      (then (return (i32.and
        (i32.eqz (call $http_call (i32.const 1024) (i32.const 4) (i32.const 1100) (i32.const 61) (i32.const 0) (i32.const 0)
          (i32.const 0) (i32.const 0) (i32.const 1000) (i32.const 8)))
        (i32.eq (i32.load (i32.const 8)) (i32.const 4))))))
    (if (i32.eq (local.get $c) (i32.const 0x48)) ;; H: an HTTP call without headers is a bad argument
      (then (return (i32.eq (i32.const 2)
        (call $http_call (i32.const 1024) (i32.const 4) (i32.const 1100) (i32.const 3) (i32.const 0) (i32.const 0)
          (i32.const 0) (i32.const 0) (i32.const 1000) (i32.const 8))))))
    (if (i32.eq (local.get $c) (i32.const 0x64)) ;; d: shared data comes back, with its cas
      (then (return (i32.and
        (i32.eqz (i32.or
          (call $set_shared (i32.const 1024) (i32.const 4) (i32.const 1040) (i32.const 4) (i32.const 0))
          (call $get_shared (i32.const 1024) (i32.const 4) (i32.const 0) (i32.const 4) (i32.const 8))))
        (i32.and (i32.eq (i32.load (i32.load (i32.const 0))) (i32.load (i32.const 1040)))
                 (i32.eq (i32.load (i32.const 8)) (i32.const 1)))))))
    (if (i32.eq (local.get $c) (i32.const 0x63)) ;; c: counter counts
      (then
        (drop (call $define_metric (i32.const 0) (i32.const 1024) (i32.const 4) (i32.const 8)))
        (drop (call $increment_metric (i32.load (i32.const 8)) (i64.const 2)))
        (drop (call $increment_metric (i32.load (i32.const 8)) (i64.const 3)))
        (drop (call $get_metric (i32.load (i32.const 8)) (i32.const 16)))
        (return (i64.eq (i64.load (i32.const 16)) (i64.const 5)))))
    (if (i32.eq (local.get $c) (i32.const 0x6e)) ;; n: no headers to be had yet
      (then (return (i32.eq (i32.const 2)
        (call $get_header (i32.const 0) (i32.const 1024) (i32.const 4) (i32.const 0) (i32.const 4))))))
    (if (i32.eq (local.get $c) (i32.const 0x65)) ;; e: logs its environment, and refuses
      (then
        (drop (call $environ_sizes (i32.const 8) (i32.const 12)))
        (drop (call $environ (i32.const 2048) (i32.const 4096)))
        (drop (call $log (i32.const 4) (i32.const 4096) (i32.load (i32.const 12))))
        (return (i32.const 0))))
    (if (i32.eq (local.get $c) (i32.const 0x77)) ;; w: writes to stderr, and traps
      (then
        (i32.store (i32.const 16) (i32.const 1060))
        (i32.store (i32.const 20) (i32.const 3))
        (i32.store (i32.const 24) (i32.const 1063))
        (i32.store (i32.const 28) (i32.const 13))
        (drop (call $fd_write (i32.const 2) (i32.const 16) (i32.const 2) (i32.const 8)))
        (unreachable)))
    (if (i32.eq (local.get $c) (i32.const 0x61)) ;; a: is allowed to log
      (then (return (i32.eqz (call $log (i32.const 2) (i32.const 1024) (i32.const 4))))))
    (i32.const 1)))
