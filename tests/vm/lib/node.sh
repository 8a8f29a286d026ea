#!/bin/bash
# What is the same in most cases: a machine with the program, its unit and Docker's socket on it, a manager, a
# mirror, and what is to be seen once the node is up. Sourced by ./case.
#
#   furnish [OPTION...]     all of it; the options are for the release
#   configure               writes config.toml, as an image or cloud-init would
#   finished                succeeds once the node is up by its own word
#   points                  how far installers came, one point a line, over all boots
set -euo pipefail

STATE=/var/lib/kasm-stand-in

furnish() {
    release "$@"
    manager
    mirror
    put "$BINARY" /usr/bin/kasm-bootstrap 0755
    put "$STAND_IN" /usr/local/bin/kasm-stand-in 0755
    put "$LIB/docker-stand-in.service" /etc/systemd/system/docker-stand-in.service
    enable docker-stand-in.service
    if [[ -e $PROJECT/systemd/kasm-bootstrap.service ]]; then
        put "$PROJECT/systemd/kasm-bootstrap.service" /usr/lib/systemd/system/kasm-bootstrap.service
    else
        put "$LIB/kasm-bootstrap.service" /usr/lib/systemd/system/kasm-bootstrap.service
    fi
    enable kasm-bootstrap.service
    seed "$INSTANCE_ID"
}

enable() {
    mkdir -p "$ROOT/etc/systemd/system/multi-user.target.wants"
    local unit=/etc/systemd/system/$1
    [[ -e $ROOT$unit ]] || unit=/usr/lib/systemd/system/$1
    ln -sfn "$unit" "$ROOT/etc/systemd/system/multi-user.target.wants/$1"
}

configuration() {
    cat <<TOML
role = "agent"
[release]
urls = ["$URL"]
sha256 = "$DIGEST"
[manager]
address = "$MANAGER"
token = "$TOKEN"
[agent]
server_id = "server-1"
provider = "harvester"
TOML
}

configure() {
    configuration | into /etc/kasm-bootstrap/config.toml 0600
}

finished() {
    guest kasm-bootstrap status --json | python3 -c '
import json, sys
sys.exit(0 if json.load(sys.stdin).get("state") == "done" else 1)'
}

points() {
    guest cat "$STATE/points" 2>/dev/null || true
}

# How often an installer was started.
installs() {
    points | grep -c '^start$' || true
}

is_configured() {
    guest grep -q "token: $TOKEN" /opt/kasm/current/conf/app/agent/agent.app.config.yaml
}
