#!/usr/bin/env bash
# Sees to it that there is a Chromium, for `make browser-test`. Where it is
# missing and this is root on Debian, apt-get installs it: nothing is changed on
# a machine that has one. CHROMIUM=/path uses that one.
set -euo pipefail

if [[ -n ${CHROMIUM:-} ]]; then
  [[ -x $CHROMIUM ]] && exit 0
  echo "CHROMIUM=$CHROMIUM is no program" >&2
  exit 1
fi
for name in chromium chromium-browser google-chrome; do
  if command -v "$name" >/dev/null; then
    exit 0
  fi
done
if [[ $(id -u) != 0 ]] || ! command -v apt-get >/dev/null; then
  echo "no chromium, chromium-browser or google-chrome here, nor a way to install one." >&2
  echo "hint: install Chromium, or set CHROMIUM to its path; or run this as root on Debian" >&2
  exit 1
fi
echo "installing chromium"
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq
apt-get install -qq -y --no-install-recommends chromium >/dev/null
if ! command -v chromium >/dev/null; then
  echo "apt-get has installed no chromium: set CHROMIUM to the path of one" >&2
  exit 1
fi
