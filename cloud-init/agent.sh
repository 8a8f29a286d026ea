#!/bin/sh
# A Docker agent, for providers whose user-data is a script.
# Fill in: URL and SHA-256 of the package, unless the image has it.
# Kasm reads this as a template: a brace of your own is written twice.
set -eu
mkdir -p /etc/kasm-bootstrap
# It holds a token: nobody else's to read, from its first byte on.
(umask 077 && cat >/etc/kasm-bootstrap/config.toml) <<'END'
role = "agent"
[release]
version = "1.19.0"
[manager]
address = "{upstream_auth_address}"
token = "{manager_token}"
[agent]
address = "{server_external_fqdn}"
server_id = "{server_id}"
provider = "{provider_name}"
[swap]
size = "8G"
END
if ! command -v kasm-bootstrap >/dev/null; then
  url=https://YOUR_MIRROR/kasm-bootstrap_amd64.deb
  sha256=YOUR_SHA256_OF_THE_PACKAGE
  curl -fsSL --retry 9 --retry-connrefused -o /run/kb.deb "$url"
  echo "$sha256  /run/kb.deb" | sha256sum -c
  apt-get -o DPkg::Lock::Timeout=300 -y install /run/kb.deb
fi
systemctl start --no-block kasm-bootstrap.service
