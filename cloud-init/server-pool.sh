#!/bin/sh
# A Linux server of a pool: tells Kasm how far it is, and if it failed.
# Fill in: the pin (empty where the manager's certificate is a public one), what is
# installed, and URL and SHA-256 of the program unless the image has it.
# Kasm reads this as a template: a brace of your own is written twice.
set -eu
export KASM_BOOTSTRAP_MANAGER_ADDRESS='{upstream_auth_address}'
export KASM_BOOTSTRAP_MANAGER_CHECKIN_TOKEN_FILE=/run/kasm-checkin
export KASM_BOOTSTRAP_NETWORK_TLS_PIN=YOUR_SHA256_OF_ITS_CERTIFICATE
# For root alone, from its first byte on.
(umask 077 && cat >/run/kasm-checkin) <<'END'
{checkin_jwt}
END
to=/usr/local/bin/kasm-bootstrap
if ! command -v kasm-bootstrap >/dev/null; then
  curl -fsSL --retry 9 --retry-connrefused -o $to https://YOUR_MIRROR/kasm-bootstrap
  echo "YOUR_SHA256_OF_THE_PROGRAM  $to" | sha256sum -c
  chmod 755 $to
fi
# Worth a try, and no reason to stop.
tell() (
  kasm-bootstrap checkin --status starting --timeout 15s --progress "$1" --message "$2" || :
)
trap 'tell 0 "FAILED: $doing; see /var/log/cloud-init-output.log"; rm /run/kasm-checkin' EXIT
doing='waiting for apt'
tell 10 "$doing"
kasm-bootstrap apt-wait --timeout 5m
doing='installing'
tell 30 "$doing"
export DEBIAN_FRONTEND=noninteractive
apt-get -o DPkg::Lock::Timeout=300 -y update
apt-get -o DPkg::Lock::Timeout=300 -y install xrdp
doing='checking in'
# Before this one, Kasm sends nobody here.
kasm-bootstrap checkin --status running --message Ready
trap - EXIT
rm /run/kasm-checkin
