#!/usr/bin/env bash
# Sees to it that there are docker and docker-compose, for `make compose-test`.
# Where they are missing and this is root on Debian or Ubuntu, apt-get installs
# them: nothing is changed on a machine that has them.
set -euo pipefail

have() { command -v "$1" >/dev/null; }
compose() { have docker-compose || docker compose version >/dev/null 2>&1; }
engine() { docker version >/dev/null 2>&1 || { have dockerd && have iptables; }; }

if have docker && compose && engine; then
  exit 0
fi
if [[ $(id -u) != 0 ]] || ! have apt-get; then
  echo "no docker and docker-compose here, nor a way to install them." >&2
  echo "hint: install Docker with Compose, and start it; or run this as root on Debian or Ubuntu" >&2
  exit 1
fi
echo "installing docker.io, docker-compose and iptables"
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq
apt-get install -qq -y --no-install-recommends docker.io docker-compose iptables >/dev/null
