#!/bin/bash
# The stand-in's install_dependencies.sh: everything is always there, except on a booted machine, whose
# real apt is called as Kasm's scripts call it: an update and an installation, neither told to wait for
# locks.
set -e

# shellcheck disable=SC2050  # the value is put in when the release is built
if [ "@BOOTED@" = "true" ] && [ -z "${KASM_BOOTSTRAP_ROOT:-}" ]; then
  export DEBIAN_FRONTEND=noninteractive
  apt-get update
  sudo apt-get install -y hello
  exit 0
fi
for name in docker compose openssl lsof; do
  echo "$name is installed already"
done
