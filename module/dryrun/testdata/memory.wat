;; Imports its memory, which Envoy makes; declares more than a dry run has.
(module
  (import "env" "memory" (memory 2))
  (func (export "proxy_abi_version_0_2_1"))
  (func (export "malloc") (param i32) (result i32) (i32.const 0)))
