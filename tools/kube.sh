#!/usr/bin/env bash
# Builds a Kubernetes API server into .tools/kube-apiserver-VERSION/, for the tests:
# the version that tools/kube/go.mod names, whose go.sum has the checksum of every
# module. It takes some six minutes on two cores, and much of go's build cache.
#
#   tools/kube.sh
#
# Does nothing when it is there already, nor when KUBE_APISERVER names a program
# to use instead.
set -euo pipefail
cd "$(dirname "$0")/.."

if [[ -n ${KUBE_APISERVER:-} ]]; then
  [[ -x $KUBE_APISERVER ]] || { echo "KUBE_APISERVER=$KUBE_APISERVER is not an executable file" >&2; exit 1; }
  echo "using KUBE_APISERVER=$KUBE_APISERVER"
  exit 0
fi

version=$(sed -n 's|^[[:space:]]*k8s.io/kubernetes v\([0-9.]*\).*|\1|p' tools/kube/go.mod)
[[ -n $version ]] || { echo "tools/kube/go.mod names no version of k8s.io/kubernetes" >&2; exit 1; }
dir=$PWD/.tools/kube-apiserver-$version
[[ -x $dir/kube-apiserver ]] && exit 0

echo "building kube-apiserver $version into ${dir#"$PWD"/} (some six minutes)"
mkdir -p .tools
work=$(mktemp -d "$PWD/.tools/tmp.XXXXXX")
trap 'rm -rf "$work"' EXIT
if ! (cd tools/kube && GOWORK=off CGO_ENABLED=0 go build -trimpath -ldflags='-s -w' -o "$work/kube-apiserver" k8s.io/kubernetes/cmd/kube-apiserver); then
  echo "could not build kube-apiserver $version." >&2
  echo "hint: the modules that it is made of come from \$GOPROXY; look at 'go env GOPROXY'" >&2
  exit 1
fi
mkdir -p "$dir"
mv "$work/kube-apiserver" "$dir/kube-apiserver"
"$dir/kube-apiserver" --version | head -1
