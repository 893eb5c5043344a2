;; Imports what no Envoy has.
(module
  (import "env" "foo" (func))
  (import "env" "proxy_continue_stream" (func (param i32) (result i32))) ;; not in this ABI
  (memory (export "memory") 1)
  (func (export "proxy_abi_version_0_1_0"))
  (func (export "malloc") (param i32) (result i32) (i32.const 0)))
