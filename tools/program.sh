#!/usr/bin/env bash
# Builds a program that tests need into .tools/PROGRAM-VERSION/PROGRAM, as
# tools/FOLDER/go.mod says: it names the version of MODULE, and its go.sum has the
# checksum of every module.
#
#   tools/program.sh FOLDER PROGRAM MODULE [PACKAGE]
#
# Does nothing when it is there already, nor when the variable that is called like the
# program, as KUBE_APISERVER, names one to use instead. PACKAGE is below MODULE.
set -euo pipefail
cd "$(dirname "$0")/.."
folder=tools/$1 program=$2 module=$3 package=$3${4:+/$4}

variable=$(tr 'a-z-' 'A-Z_' <<<"$program")
if [[ -n ${!variable:-} ]]; then
  [[ -x ${!variable} ]] || { echo "$variable=${!variable} is not an executable file" >&2; exit 1; }
  echo "using $variable=${!variable}"
  exit 0
fi

version=$(sed -nE "s|^(require)?[[:space:]]*$module v([0-9.]+).*|\2|p" "$folder/go.mod")
[[ -n $version ]] || { echo "$folder/go.mod names no version of $module" >&2; exit 1; }
dir=$PWD/.tools/$program-$version
[[ -x $dir/$program ]] && exit 0

echo "building $program $version into ${dir#"$PWD"/}"
mkdir -p .tools
work=$(mktemp -d "$PWD/.tools/tmp.XXXXXX")
trap 'rm -rf "$work"' EXIT
# Kubernetes' programs tell the version that is written into them here.
flags="-s -w -X k8s.io/component-base/version.gitVersion=v$version"
if ! (cd "$folder" && GOWORK=off CGO_ENABLED=0 go build -trimpath -ldflags="$flags" -o "$work/$program" "$package"); then
  echo "could not build $program $version." >&2
  echo "hint: the modules that it is made of come from \$GOPROXY; look at 'go env GOPROXY'" >&2
  exit 1
fi
"$work/$program" --help >/dev/null
mkdir -p "$dir"
mv "$work/$program" "$dir/$program"
