#!/bin/bash
# What is the same in most cases: a machine with the program, its unit and Docker's socket on it, a manager, a
# mirror, and what is to be seen once the node is up. Sourced by ./case.
#
#   furnish [OPTION...]     all of it; the options are for the release
#   surround [OPTION...]    all but the program and its unit
#   serve_package           has the mirror serve the .deb: PACKAGE_URL, PACKAGE_DIGEST
#   configure               writes config.toml, as an image or cloud-init would
#   finished                succeeds once the node is up by its own word
#   is_healthy              the same, of this boot
#   points                  how far installers came, one point a line, over all boots
set -euo pipefail

STATE=/var/lib/kasm-stand-in

surround() {
    release "$@"
    manager
    mirror
    put "$STAND_IN" /usr/local/bin/kasm-stand-in 0755
    put "$LIB/docker-stand-in.service" /etc/systemd/system/docker-stand-in.service
    enable docker-stand-in.service
    seed "$INSTANCE_ID"
}

furnish() {
    surround "$@"
    put "$BINARY" /usr/bin/kasm-bootstrap 0755
    put "$PROJECT/systemd/kasm-bootstrap.service" /usr/lib/systemd/system/kasm-bootstrap.service
    put "$PROJECT/systemd/kasm-bootstrap.tmpfiles.conf" /usr/lib/tmpfiles.d/kasm-bootstrap.conf
    enable kasm-bootstrap.service
}

# For cases that say "# package: deb".
serve_package() {
    cp "$DEB" "$RUN/www/kasm-bootstrap_amd64.deb"
    PACKAGE_URL=http://$MIRROR:$MIRROR_PORT/kasm-bootstrap_amd64.deb
    PACKAGE_DIGEST=$(sha256sum "$DEB" | cut -d ' ' -f 1)
    mirror
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
sys.exit(0 if json.load(sys.stdin).get("state") == "done" else 1)' 2>&1
}

# The service is up, and has seen that the node is.
is_healthy() {
    finished && guest systemctl show --property=StatusText kasm-bootstrap.service | grep -q '=healthy'
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

installed_times() { [[ $(installs) == "$1" ]]; }
reached() { points | grep -qx "$1"; }
has_server_id() { guest grep -q "server_id: $1" /opt/kasm/current/conf/app/agent/agent.app.config.yaml; }

# Installers rest at this point, until they are let go.
hold() { into "$STATE/hold-$1" </dev/null; }
let_go() { rm "$ROOT$STATE/hold-$1"; }

# The last run ended with this reason (any, if none is given).
refused() {
    guest kasm-bootstrap status --json | python3 -c '
import json, sys
status = json.load(sys.stdin)
reason = (status.get("error") or {}).get("reason", "")
sys.exit(0 if status.get("state") == "failed" and (len(sys.argv) < 2 or reason == sys.argv[1]) else 1)' "$@"
}

# Nothing is being started any more.
settled() {
    [[ $(guest systemctl is-system-running) =~ ^(running|degraded)$ ]]
}

# cloud-init writes the configuration.
user_data() { # [CONFIGURATION]
    {
        printf '#cloud-config\nwrite_files:\n  - path: /etc/kasm-bootstrap/config.toml\n    permissions: "0600"\n'
        printf '    content: |\n'
        if [[ -n ${1-} ]]; then cat "$1"; else configuration; fi | sed 's/^/      /'
    } >"$RUN/user-data"
    seed "$INSTANCE_ID"
}

# User-data that cloud-init leaves to us.
own_user_data() {
    { echo '#kasm-bootstrap' && configuration; } >"$RUN/user-data"
    seed "$INSTANCE_ID"
}

no_cloud_init_errors() {
    guest cat /run/cloud-init/result.json | python3 -c '
import json, sys
sys.exit(1 if json.load(sys.stdin)["v1"]["errors"] else 0)'
}

downloaded_at_least() {
    local size
    size=$(find "$ROOT/var/cache/kasm-bootstrap" "$RUN/disk/plain" -type f -printf '%s\n' 2>/dev/null | sort -n | tail -n 1)
    [[ ${size:-0} -ge $1 ]]
}

unpacked_at_least() {
    [[ $(find "$ROOT/var/lib/kasm-bootstrap/releases" -type f 2>/dev/null | head -n "$1" | wc -l) -ge $1 ]]
}

no_half_release() {
    local release
    for release in "$ROOT"/var/lib/kasm-bootstrap/releases/*/kasm_release; do
        [[ ! -e $release || $(find "$release" -type f | wc -l) -ge 6000 ]] || return 1
    done
}

# Like until_done, without a rest between two looks.
until_done_quickly() {
    local deadline=$((SECONDS + $1 * PATIENCE)) limit=$1
    shift
    until "$@"; do
        ((SECONDS < deadline)) || fail "not within $limit s: $*"
    done
}

no_v1() { ! grep '" 401 ' "$RUN/services.log"; }

# A package whose upgrade takes so many seconds, an upgrade of everything that begins right after boot, and apt's
# timers as a fresh machine has them.
slow_upgrade() { # SECONDS
    local work=$RUN/slow version
    for version in 1 2; do
        mkdir -p "$work/$version/DEBIAN"
        printf 'Package: slow\nVersion: %s\nArchitecture: all\nMaintainer: tests <root@localhost>\nDescription: slow\n' \
            "$version" >"$work/$version/DEBIAN/control"
        printf '#!/bin/sh\n[ %s = 1 ] || sleep %s\n' "$version" "$1" >"$work/$version/DEBIAN/postinst"
        chmod 755 "$work/$version/DEBIAN/postinst"
        mkdir -p "$ROOT/opt/slow"
        dpkg-deb --build --root-owner-group "$work/$version" "$ROOT/opt/slow/slow_$version.deb" >/dev/null
    done
    chroot "$ROOT" dpkg -i /opt/slow/slow_1.deb >/dev/null
    rm "$ROOT/opt/slow/slow_1.deb"
    (cd "$ROOT/opt/slow" && {
        dpkg-deb --field slow_2.deb
        printf 'Filename: ./slow_2.deb\nSize: %d\nSHA256: %s\n\n' "$(stat -c %s slow_2.deb)" \
            "$(sha256sum slow_2.deb | cut -d ' ' -f 1)"
    } >Packages && printf 'Origin: slow\nLabel: slow\nSuite: slow\nCodename: slow\nSHA256:\n %s %d Packages\n' \
        "$(sha256sum Packages | cut -d ' ' -f 1)" "$(stat -c %s Packages)" >Release)
    into /etc/apt/sources.list.d/slow.list <<<'deb [trusted=yes] file:/opt/slow ./'
    into /etc/apt/apt.conf.d/99slow <<'CONF'
APT::Periodic::Update-Package-Lists "1";
APT::Periodic::Unattended-Upgrade "1";
Unattended-Upgrade::Origins-Pattern { "origin=slow"; };
CONF
    # The same program as apt-daily-upgrade.service runs, but nobody's unit that could be told to wait.
    into /etc/systemd/system/upgrades.service <<'UNIT'
[Service]
Type=exec
ExecStart=/bin/sh -c '/usr/lib/apt/apt.systemd.daily update; exec /usr/lib/apt/apt.systemd.daily install'
UNIT
    enable upgrades.service
    mkdir -p "$ROOT/etc/systemd/system/timers.target.wants"
    local timer
    for timer in apt-daily apt-daily-upgrade; do
        ln -sfn "/lib/systemd/system/$timer.timer" "$ROOT/etc/systemd/system/timers.target.wants/$timer.timer"
    done
}

# /tmp with these mount options, from before our unit on.
tmp_with() { # OPTIONS
    into /etc/systemd/system/own-tmp.service <<UNIT
[Unit]
Before=kasm-bootstrap.service
[Service]
Type=oneshot
ExecStart=/bin/mount -t tmpfs -o mode=1777,$1 tmpfs /tmp
UNIT
    enable own-tmp.service
}

# One of the project's own user-data, filled in as Kasm and an operator do it. A baked image brings its release; the
# others are given the stand-in's.
template() { # FILE
    if [[ $1 == *-baked.* ]]; then
        printf '[release]\nurls = ["%s"]\nsha256 = "%s"\n' "$URL" "$DIGEST" |
            into /etc/kasm-bootstrap/config.d/10-baked.toml
    fi
    render "$1"
}

render() { # FILE
    python3 - "$PROJECT/cloud-init/$1" "$MANAGER" "$TOKEN" "$URL" "$DIGEST" "${PACKAGE_URL-}" "${PACKAGE_DIGEST-}" \
        >"$RUN/user-data" <<'PYTHON'
import re, sys
file, manager, token, url, digest, package_url, package_digest = sys.argv[1:]
text = open(file, encoding="utf-8").read().format(
    server_hostname="node", server_external_fqdn="None", upstream_auth_address=manager, manager_token=token,
    server_id="server-1", provider_name="harvester", ssh_key="ssh-ed25519 AAAA-the-key somebody")
text = re.sub(r'(?m)^( *)version = "1\.19\.0"$', rf'\1urls = ["{url}"]\n\1sha256 = "{digest}"', text)
for blank, value in [
    ("https://YOUR_MIRROR/kasm-bootstrap_amd64.deb", package_url),
    ("YOUR_SHA256_OF_THE_PACKAGE", package_digest),
    ("YOUR_REGISTRATION_TOKEN", token),
    ("YOUR_SSH_KEY", "ssh-ed25519 AAAA-the-key somebody"),
]:
    text = text.replace(blank, value)
print(text)
PYTHON
    seed "$INSTANCE_ID"
}
