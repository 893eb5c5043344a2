#!/usr/bin/env bash
# Installs axe-core, which `make browser-test` looks at the pages with, into
# .tools/axe: the version, and the hash of it, that tools/axe/package-lock.json has.
set -euo pipefail
cd "$(dirname "$0")/.."

if cmp -s tools/axe/package-lock.json .tools/axe/package-lock.json && [[ -f .tools/axe/node_modules/axe-core/axe.min.js ]]; then
  exit 0
fi
if ! command -v npm >/dev/null; then
  if [[ $(id -u) != 0 ]] || ! command -v apt-get >/dev/null; then
    echo "no npm here, nor a way to install it." >&2
    echo "hint: install npm, or run this as root on Debian" >&2
    exit 1
  fi
  echo "installing npm"
  export DEBIAN_FRONTEND=noninteractive
  apt-get update -qq
  apt-get install -qq -y --no-install-recommends npm >/dev/null
fi
mkdir -p .tools/axe
cp tools/axe/package.json .tools/axe/
cp tools/axe/package-lock.json .tools/axe/
(cd .tools/axe && npm ci --ignore-scripts --no-audit --no-fund --loglevel error >/dev/null) || { rm -f .tools/axe/package-lock.json; exit 1; }
