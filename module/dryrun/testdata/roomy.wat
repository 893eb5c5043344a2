;; Wants more memory from the start than a dry run has.
(module
  (memory (export "memory") 8000)
  (func (export "proxy_abi_version_0_2_1"))
  (func (export "malloc") (param i32) (result i32) (i32.const 0)))
