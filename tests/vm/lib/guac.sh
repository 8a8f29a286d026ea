#!/bin/bash
# What cases with a connection proxy, or with two versions, have in common. Sourced by them.
#
#   guac_configuration      config.toml of a connection proxy
#   next_release VERSION [OPTION...]   a second release on the mirror: NEXT_URL, NEXT_DIGEST
#   registered              succeeds once every component has a token of its own and the one-time token is gone
#   runs_version VERSION    `current` leads there, and every container is of that version and healthy
#   ids                     the components' ids, one a line
#   furnish_guac VERSION [OPTION...]   furnish, with a proxy of this version, a manager that knows its token, and
#                           Docker's socket with these options
#   upgrade [OPTION...]     to the next release; its exit status is in CODE, what it said in $RUN/upgrade.log
#   state_is VERSION        the node is well and as it was: this version, the ids in IDS, every token good, and no
#                           upgrade left open
# shellcheck disable=SC2034  # variables are for whoever sources this
set -euo pipefail

guac_configuration() {
    cat <<TOML
role = "guac"
[release]
urls = ["$URL"]
sha256 = "$DIGEST"
[manager]
address = "$MANAGER"
[guac]
registration_token = "$TOKEN"
zone = "zone-1"
TOML
}

next_release() {
    local version=$1
    shift
    mkdir -p "$RUN/next"
    NEXT_DIGEST=$("$STAND_IN" release "$RUN/next" --version "$version" "$@")
    mv "$RUN/next/kasm_release_$version.tar.gz" "$RUN/www/"
    NEXT_URL=http://$MIRROR:$MIRROR_PORT/kasm_release_$version.tar.gz
    mirror
}

proxy_files() { find "$ROOT"/opt/kasm/"$(guest readlink /opt/kasm/current | xargs basename)"/conf/app -name '*.yaml'; }

registered() {
    local file count=0
    while read -r file; do
        grep -q '^  auth_token: ey[^.]*\.[^.]*\.[^.]*$' "$file" || return 1
        ! grep -q registration_token "$file" || return 1
        count=$((count + 1))
    done < <(proxy_files)
    [[ $count == 3 ]]
}

ids() { proxy_files | sort | xargs sed -n 's/^  id: //p'; }

runs_version() { # VERSION
    [[ $(guest readlink /opt/kasm/current) == "/opt/kasm/$1" ]] || return 1
    guest curl -s --unix-socket /run/docker.sock 'http://docker/containers/json?all=1' | python3 -c '
import json, sys
found = json.load(sys.stdin)
well = [one for one in found if one["Image"].endswith(":" + sys.argv[1]) and one["Status"].endswith("(healthy)")]
sys.exit(0 if found and len(well) == len(found) else 1)' "$1"
}

furnish_guac() { # VERSION [OPTION...]
    local version=$1
    shift
    furnish --version "$version" --tries 10
    manager --registration-token "$TOKEN"
    guac_configuration | into /etc/kasm-bootstrap/config.toml 0600
    into /etc/systemd/system/docker-stand-in.service.d/options.conf <<UNIT
[Service]
ExecStart=
ExecStart=/usr/local/bin/kasm-stand-in docker / $*
UNIT
}

upgrade() {
    CODE=0
    guest kasm-bootstrap upgrade --release-url "$NEXT_URL" --sha256 "$NEXT_DIGEST" "$@" >>"$RUN/upgrade.log" 2>&1 || CODE=$?
    say "upgrade ended with $CODE"
}

state_is() { # VERSION
    runs_version "$1" && registered && [[ $(ids) == "$IDS" ]] && [[ ! -e $ROOT/var/lib/kasm-bootstrap/upgrade.json ]]
}
