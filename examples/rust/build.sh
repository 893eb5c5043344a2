#!/bin/sh
# Builds the Rust filters into the folder that is given: with the toolchain in
# PATH when it has the target wasm32-wasip1 (rustup target add wasm32-wasip1),
# else with Debian's packages (rustc, cargo, libstd-rust-dev-wasm32), whose
# Rust 1.63 calls the same target wasm32-wasi.
set -eu
out=${1:?usage: build.sh OUT}
mkdir -p "$out"
out=$(cd "$out" && pwd)
cd "$(dirname "$0")"

# has RUSTC TARGET says whether that compiler has the target's standard library.
has() {
	dir=$("$1" --print target-libdir --target "$2" 2>/dev/null) && ls "$dir"/libstd-*.rlib >/dev/null 2>&1
}

if has rustc wasm32-wasip1; then
	target=wasm32-wasip1
	cargo build --release --locked --target $target --target-dir target
elif has /usr/bin/rustc wasm32-wasi; then
	target=wasm32-wasi
	# That cargo doesn't read the sparse index. With another one at hand the
	# sources come by it; alone it clones the whole index with git, once.
	if [ ! -d vendor ] && [ "$(command -v cargo)" != /usr/bin/cargo ]; then
		cargo vendor --quiet --locked >/dev/null
	fi
	set -- build --release --locked --target $target --target-dir target
	if [ -d vendor ]; then
		set -- "$@" --offline --config 'source.crates-io.replace-with="vendored"' --config 'source.vendored.directory="vendor"'
	fi
	PATH=/usr/bin:/bin cargo "$@"
else
	echo "no Rust compiler with a WASI target; one of these gets it:" >&2
	echo "  rustup target add wasm32-wasip1" >&2
	echo "  apt-get install rustc cargo libstd-rust-dev-wasm32   # Debian 12, Ubuntu" >&2
	exit 1
fi

for filter in header correlation; do
	cp target/$target/release/$filter.wasm "$out/rust-$filter.wasm"
done
ls -l "$out"/rust-*.wasm
