#!/usr/bin/env bash
# Builds etcd into .tools/etcd-VERSION/etcd, for the tests: the version that
# tools/etcd/go.mod names, whose go.sum has the checksum of every module.
#
#   tools/etcd.sh
#
# Does nothing when it is there already, nor when ETCD names a program to use
# instead.
set -euo pipefail
cd "$(dirname "$0")/.."

if [[ -n ${ETCD:-} ]]; then
  [[ -x $ETCD ]] || { echo "ETCD=$ETCD is not an executable file" >&2; exit 1; }
  echo "using ETCD=$ETCD"
  exit 0
fi

version=$(sed -nE 's|^(require)?[[:space:]]*go.etcd.io/etcd/server/v3 v([0-9.]+).*|\2|p' tools/etcd/go.mod)
[[ -n $version ]] || { echo "tools/etcd/go.mod names no version of go.etcd.io/etcd/server/v3" >&2; exit 1; }
dir=$PWD/.tools/etcd-$version
[[ -x $dir/etcd ]] && exit 0

echo "building etcd $version into ${dir#"$PWD"/}"
mkdir -p .tools
work=$(mktemp -d "$PWD/.tools/tmp.XXXXXX")
trap 'rm -rf "$work"' EXIT
if ! (cd tools/etcd && GOWORK=off CGO_ENABLED=0 go build -trimpath -o "$work/etcd" go.etcd.io/etcd/server/v3); then
  echo "could not build etcd $version." >&2
  echo "hint: the modules that it is made of come from \$GOPROXY; look at 'go env GOPROXY'" >&2
  exit 1
fi
mkdir -p "$dir"
mv "$work/etcd" "$dir/etcd"
"$dir/etcd" --version | head -1
