#!/bin/bash
# The stand-in's install_dependencies.sh: everything is always there.
set -e

for name in docker compose openssl lsof; do
  echo "$name is installed already"
done
