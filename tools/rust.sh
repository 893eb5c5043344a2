#!/usr/bin/env bash
# Sees to it that there is a Rust compiler with a WASI target, for
# examples/rust/build.sh. Where there is none, rustup adds the target, or
# apt-get installs both if this is root on Debian or Ubuntu.
set -euo pipefail

# has RUSTC TARGET says whether that compiler has the target's standard library.
has() {
  local dir
  dir=$("$1" --print target-libdir --target "$2" 2>/dev/null) && compgen -G "$dir/libstd-*.rlib" >/dev/null
}

if has rustc wasm32-wasip1 || has /usr/bin/rustc wasm32-wasi; then
  exit 0
elif command -v rustup >/dev/null; then
  rustup target add wasm32-wasip1
elif [[ $(id -u) == 0 ]] && command -v apt-get >/dev/null; then
  echo "installing rustc, cargo and libstd-rust-dev-wasm32"
  export DEBIAN_FRONTEND=noninteractive
  apt-get update -qq
  apt-get install -qq -y --no-install-recommends rustc cargo libstd-rust-dev-wasm32 >/dev/null
else
  echo "no Rust compiler with a WASI target here, nor a way to install one." >&2
  echo "hint: install Rust by rustup; or run this as root on Debian or Ubuntu" >&2
  exit 1
fi
