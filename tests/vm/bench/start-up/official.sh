#!/bin/bash
# The flow of the official start-up script for docker agents, in our own words (docs/kasm-facts.md, 7): fuser
# polls without a time limit, a fixed rest, swap, the address from the default route, wget, tar, install.sh,
# clean-up. URL, MANAGER, TOKEN, SERVER_ID and PROVIDER come from the environment.
set -e
cd /tmp

while fuser /var/lib/dpkg/lock >/dev/null 2>&1; do sleep 1; done
while fuser /var/lib/apt/lists/lock >/dev/null 2>&1; do sleep 1; done
if [ -f /var/log/unattended-upgrades/unattended-upgrades.log ]; then
  while fuser /var/log/unattended-upgrades/unattended-upgrades.log >/dev/null 2>&1; do sleep 1; done
fi
sleep 10

fallocate -l 1g /var/swap.1
chmod 600 /var/swap.1
mkswap /var/swap.1 >/dev/null
swapon /var/swap.1 2>/dev/null || true # a container may not

address=$(ip route get 1 2>/dev/null | sed -n 's/.*src \([0-9.]*\).*/\1/p' | head -n 1)
wget -q "$URL" -O kasm_release.tar.gz
tar -xf kasm_release.tar.gz
bash kasm_release/install.sh -e -S agent -p "$address" -m "$MANAGER" -i "$SERVER_ID" -r "$PROVIDER" -M "$TOKEN" -H
rm -rf kasm_release kasm_release.tar.gz
