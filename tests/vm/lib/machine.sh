#!/bin/bash
# What a case is written in: a machine that can be switched on, cut off and looked into, and the manager and
# the mirror that it meets. Sourced by ./case, in namespaces of the case's own: every process, mount and
# network interface made here ends with it.
#
#   put SOURCE DESTINATION [MODE]     a file of the machine's, before it is switched on or while it runs
#   into DESTINATION [MODE]           the same, from standard input
#   seed ID [USER_DATA]               cloud-init's metadata: this instance-id, this user-data
#   boot                              switch it on; returns when its systemd is at work
#   guest COMMAND...                  as root in the machine
#   until_done SECONDS COMMAND...     until the command succeeds; the case fails when the time is over
#   expect WORDS COMMAND...           the case fails unless the command succeeds
#   power_off, power_cut              in order; and as a power failure does it: what was not synced is lost
#   unplug, plug                      its network cable
#   manager [OPTION...], mirror [OPTION...]   start them (again), with options of kasm-stand-in
#   skip WORDS                        ends the case: this machine cannot run it
#
# ROOT is the machine's root directory as seen from here.
# shellcheck disable=SC2034  # variables are for whoever sources this or is sourced here
set -euo pipefail

readonly HOST_IP=10.0.2.2 GUEST_IP=10.0.2.15 GUEST_MAC=52:54:00:12:34:56
readonly MANAGER=manager.test MIRROR=mirror.test MIRROR_PORT=8080
# Like nothing else, so that it can be searched for.
readonly TOKEN=Zq7Wk3Rt9Xv5Lm1Pn8Bd
ROOT=$RUN/root
GUEST='' LEADER='' MANAGER_PID='' MIRROR_PID=''

say() { printf '%(%H:%M:%S)T %s\n' -1 "$*"; }

skip() {
    say "skipped: $*"
    printf '%s\n' "$*" >"$RUN/skipped"
    exit 77
}

fail() {
    say "FAILED: $*"
    # The disk of a virtual machine cannot be looked into from here.
    [[ ${BACKEND-} != qemu || -z $GUEST ]] || guest journalctl --no-pager --boot >"$RUN/journal.log" 2>&1 || true
    exit 1
}

expect() {
    local words=$1
    shift
    if "$@" >"$RUN/said" 2>&1; then
        say "as expected: $words"
    else
        head -c 4000 "$RUN/said"
        fail "$words ($*)"
    fi
}

until_done() {
    local deadline=$((SECONDS + $1 * PATIENCE)) limit=$1
    shift
    until "$@" >"$RUN/said" 2>&1; do
        if ((SECONDS >= deadline)); then
            tail -c 4000 "$RUN/said"
            fail "not within $limit s: $*"
        fi
        if [[ -n $GUEST ]] && ! kill -0 "$GUEST" 2>/dev/null; then
            fail "the machine went off while this was waited for: $*"
        fi
        sleep 0.1
    done
}

# ------------------------------------------------------------- what is around ----

json() { python3 -c 'import json, sys; print(json.dumps(sys.argv[1]))' "$1"; }

network_up() {
    ip link set lo up
    if [[ $BACKEND == qemu ]]; then
        ip tuntap add dev lab0 mode tap
    else
        ip link add lab0 type bridge
    fi
    ip address add "$HOST_IP/24" dev lab0
    ip address add 169.254.169.254/32 dev lab0
    ip link set lab0 up
    # Everything else is refused at once instead of timing out.
    ip route add unreachable default
    echo 1 >/proc/sys/net/ipv4/ip_forward
}

services_up() {
    local host sep='' hosts='' uri proxy=''
    local -a addresses=("--address=/$MANAGER/$HOST_IP" "--address=/$MIRROR/$HOST_IP")
    while read -r uri _; do
        host=${uri#*://}
        host=${host%%/*}
        addresses+=("--address=/${host%%:*}/$HOST_IP")
        hosts+="$sep$(json "${host%%:*}"): $(json "${uri%%://*}://$host")"
        sep=', '
    done < <(awk '!seen[$1]++' <<<"$SOURCES")
    # DHCP and DNS; a name that is not listed does not exist. The address is the network card's, whatever its machine
    # calls itself: a clone has another machine-id.
    dnsmasq --keep-in-foreground --conf-file=/dev/null --user=root --pid-file= --log-facility="$RUN/dnsmasq.log" \
        --log-queries --interface=lab0 --except-interface=lo --bind-interfaces --no-resolv --no-hosts --no-ping \
        --leasefile-ro --address=/#/ "${addresses[@]}" \
        --dhcp-range="$GUEST_IP,$GUEST_IP,255.255.255.0,12h" --dhcp-host="$GUEST_MAC,id:*,$GUEST_IP" --dhcp-authoritative \
        --dhcp-option=option:router,"$HOST_IP" --dhcp-option=option:dns-server,"$HOST_IP" &
    eval "$(apt-config shell proxy Acquire::http::Proxy)"
    {
        printf '{"host": "%s", "outer_netns": %d, "ready": %s,\n' "$HOST_IP" "$NETNS_FD" "$(json "$RUN/ready")"
        printf '"apt": {"cache": %s, "upstream": {%s}, "proxies": {' "$(json "$CACHE/apt")" "$hosts"
        if [[ -n $proxy && $proxy != DIRECT ]]; then
            printf '"http": %s' "$(json "$proxy")"
        fi
        printf '}}%s}\n' "$(metadata_service)"
    } >"$RUN/services.json"
    python3 "$LIB/services.py" "$RUN/services.json" 2>"$RUN/services.log" &
    until_done 15 test -e "$RUN/ready"
}

# Empty, unless the case's datasource is EC2.
metadata_service() {
    [[ $DATASOURCE == ec2 ]] || return 0
    local exempt=''
    # Without DMI, cloud-init does not believe in Amazon enough to ask for a token: it alone may do without.
    [[ $BACKEND == qemu ]] || exempt='"Cloud-Init/", "python-requests/"'
    cat <<JSON
, "imds": {"user_data": "$RUN/user-data", "exempt": [$exempt],
  "versions": ["1.0", "2009-04-04", "2016-09-02", "2018-09-24", "2021-03-23", "latest"],
  "tree": {
    "meta-data": {
      "ami-id": "ami-00000000000000000", "hostname": "node", "local-hostname": "node", "public-hostname": "node",
      "instance-id": "$INSTANCE_ID", "instance-type": "t3.medium", "local-ipv4": "$GUEST_IP",
      "public-ipv4": "198.51.100.15", "mac": "$GUEST_MAC",
      "network": {"interfaces": {"macs": {"$GUEST_MAC": {
        "device-number": "0", "interface-id": "eni-00000000000000000", "local-hostname": "node",
        "local-ipv4s": "$GUEST_IP", "mac": "$GUEST_MAC", "owner-id": "000000000000",
        "subnet-ipv4-cidr-block": "10.0.2.0/24"}}}},
      "placement": {"availability-zone": "eu-west-1a", "region": "eu-west-1"},
      "services": {"domain": "amazonaws.com", "partition": "aws"}
    },
    "dynamic": {"instance-identity": {"document": "{\"instanceId\": \"$INSTANCE_ID\", \"region\": \"eu-west-1\"}"}}
  }}
JSON
}

# start_server NAME PORT COMMAND...: its process id is in SERVER.
start_server() {
    local name=$1 port=$2
    shift 2
    "$@" >>"$RUN/$name.log" 2>&1 &
    SERVER=$!
    until_done 15 bash -c "exec 3<>/dev/tcp/$HOST_IP/$port"
}

stop_server() { # PID
    [[ -n $1 ]] || return 0
    kill "$1" 2>/dev/null || true
    wait "$1" 2>/dev/null || true
}

manager() {
    stop_server "$MANAGER_PID"
    start_server manager 443 "$STAND_IN" manager "$HOST_IP:443" "$MANAGER" "$@"
    MANAGER_PID=$SERVER
}

manager_down() {
    stop_server "$MANAGER_PID"
    MANAGER_PID=''
}

mirror() {
    stop_server "$MIRROR_PID"
    start_server mirror "$MIRROR_PORT" "$STAND_IN" mirror "$HOST_IP:$MIRROR_PORT" "$RUN/www" "$@"
    MIRROR_PID=$SERVER
}

release() { # [OPTION...]: DIGEST is its SHA-256, URL where the mirror has it
    mkdir -p "$RUN/www"
    DIGEST=$("$STAND_IN" release "$RUN/www" "$@")
    URL=http://$MIRROR:$MIRROR_PORT/$(basename "$RUN"/www/*.tar.gz)
}

# ------------------------------------------------------------------ its disk ----

disk_make() { # [SIZE]
    [[ $BACKEND == nspawn ]] || return 0
    mke2fs -q -t ext4 -E lazy_itable_init=1,lazy_journal_init=1 "$RUN/disk.img" "${1:-6G}"
}

disk_mount() {
    if [[ $BACKEND == qemu ]]; then
        mkdir -p "$ROOT"
        return
    fi
    mkdir -p "$RUN"/{lower,disk,root}
    mountpoint -q "$RUN/lower" || mount -o ro,noload "$IMAGE_LOOP" "$RUN/lower"
    mount -o loop "$RUN/disk.img" "$RUN/disk"
    mkdir -p "$RUN"/disk/{upper,work,docker,plain}
    mount -t overlay overlay -o "lowerdir=$RUN/lower,upperdir=$RUN/disk/upper,workdir=$RUN/disk/work" "$ROOT"
}

# Whoever had it open may need a moment to be gone for good.
unmount() {
    local tries
    for ((tries = 0; tries < 100; tries++)); do
        umount "$1" 2>/dev/null && return 0
        sleep 0.1
    done
    umount "$1"
}

put() {
    install -D -m "${3:-0644}" "$1" "$ROOT$2"
}

into() {
    mkdir -p "$(dirname "$ROOT$1")"
    install -m "${2:-0644}" /dev/stdin "$ROOT$1"
}

seed() { # INSTANCE_ID [USER_DATA]
    INSTANCE_ID=$1
    if [[ -n ${2-} ]]; then
        cp "$2" "$RUN/user-data"
    elif [[ ! -e $RUN/user-data ]]; then
        printf '#cloud-config\n{}\n' >"$RUN/user-data"
    fi
    printf 'instance-id: %s\nlocal-hostname: node\n' "$INSTANCE_ID" >"$RUN/meta-data"
    [[ $BACKEND == nspawn ]] || return 0
    # No DMI and no disk to find a datasource by: name it. The network's configuration is the image's, because
    # cloud-init does not sync the one it writes, and a power cut at first boot would leave the machine without.
    {
        printf 'network: {config: disabled}\n'
        if [[ $DATASOURCE == ec2 ]]; then
            printf 'datasource_list: [Ec2]\ndatasource: {Ec2: {strict_id: false}}\n'
        fi
    } | into /etc/cloud/cloud.cfg.d/95_vm.cfg
    into /etc/systemd/network/10-eth0.network <<<$'[Match]\nName=eth0\n[Network]\nDHCP=ipv4'
    if [[ $DATASOURCE == nocloud ]]; then
        put "$RUN/user-data" /var/lib/cloud/seed/nocloud/user-data
        put "$RUN/meta-data" /var/lib/cloud/seed/nocloud/meta-data
    fi
}

# ---------------------------------------------------------------- its power ----

boot() {
    say "boot"
    if [[ $BACKEND == qemu ]]; then
        boot_qemu
    else
        boot_nspawn
    fi
    until_done 60 guest systemctl show --property=Version
}

boot_nspawn() {
    mountpoint -q "$ROOT" || disk_mount
    ip link add lab1 type veth peer name eth0 address "$GUEST_MAC"
    [[ -e $RUN/unplugged ]] || ip link set lab1 master lab0 up
    # What is put into a machine that is off was there long before.
    sync -f "$RUN/disk"
    mkdir -p "$CGROUP"
    (
        echo "$BASHPID" >"$CGROUP/cgroup.procs"
        # --system-call-filter: for a container engine in it. Capabilities beyond nspawn's own choice only where a
        # case asks for them, and never the clock: it is this machine's, and everybody's on it.
        exec env -i PATH="$PATH" TERM=dumb systemd-nspawn --quiet --boot --directory="$ROOT" \
            --machine="${CGROUP##*/}" --hostname=node --register=no --keep-unit --private-network \
            --network-interface=eth0 --resolv-conf=off --timezone=off --link-journal=no --console=read-only \
            ${CAPABILITIES:+"--capability=$CAPABILITIES"} --drop-capability=CAP_SYS_TIME \
            --system-call-filter='@keyring bpf' --bind="$RUN/disk/docker:/var/lib/docker" \
            ${PLAIN:+"--bind=$RUN/disk/plain:$PLAIN"}
    ) >>"$RUN/console.log" 2>&1 &
    GUEST=$!
    disown "$GUEST" # or bash reports how it ended
    until_done 30 find_leader
}

# The machine's first process, once it is systemd.
find_leader() {
    local child
    local -a children
    read -ra children <"/proc/$GUEST/task/$GUEST/children" || true
    for child in "${children[@]}"; do
        if [[ $(cat "/proc/$child/comm") == systemd ]]; then
            LEADER=$child
            return 0
        fi
    done
    return 1
}

boot_qemu() {
    local uuid append='root=/dev/vda rw console=ttyS0 quiet systemd.show_status=1 mitigations=off'
    local -a more=()
    if [[ $DATASOURCE == ec2 ]]; then
        uuid=ec2$(od -An -N15 -tx1 /dev/urandom | tr -d ' \n' | cut -c 1-29)
        uuid=$(sed -E 's/^(.{8})(.{4})(.{4})(.{4})(.{12})$/\1-\2-\3-\4-\5/' <<<"$uuid")
        more=(-smbios "type=0,vendor=Amazon EC2,version=1.0"
            -smbios "type=1,manufacturer=Amazon EC2,product=t3.medium,uuid=$uuid,serial=$uuid"
            -smbios "type=2,manufacturer=Amazon EC2,asset=$INSTANCE_ID"
            -smbios "type=3,manufacturer=Amazon EC2,asset=Amazon EC2")
    else
        genisoimage -quiet -V cidata -r -J -o "$RUN/seed.iso" "$RUN/user-data" "$RUN/meta-data"
        more=(-drive "if=none,id=seed,file=$RUN/seed.iso,format=raw,readonly=on"
            -device "virtio-blk-pci,drive=seed")
    fi
    # Files only: directories that the image has keep their modes and links.
    (cd "$ROOT" && find . \( ! -type d -o -empty \) -print0) |
        tar -c -f "$RUN/put.tar" -C "$ROOT" --owner=0 --group=0 --numeric-owner --no-recursion --null -T -
    # QEMU's own temporary overlay (snapshot=on) is below TMPDIR. Few features are emulated faster than many.
    TMPDIR=$RUN qemu-system-x86_64 -name node -no-user-config -nodefaults -display none -machine q35 \
        -accel "$ACCEL" -cpu "$([[ $ACCEL == kvm ]] && echo host || echo Nehalem)" -smp 2 -m 1536 \
        -rtc "base=${CLOCK:-utc}" -serial "file:$RUN/console.log" -monitor none \
        -kernel "$IMAGE/vmlinuz" -initrd "$IMAGE/initrd.img" -append "$append" \
        -drive "if=none,id=root,file=$IMAGE/root.raw,format=raw,snapshot=on,cache=unsafe" \
        -device virtio-blk-pci,drive=root \
        -drive "if=none,id=put,file=$RUN/put.tar,format=raw,readonly=on" -device virtio-blk-pci,drive=put \
        -netdev tap,id=net,ifname=lab0,script=no,downscript=no \
        -device "virtio-net-pci,netdev=net,mac=$GUEST_MAC,romfile=" \
        -device virtio-rng-pci -device virtio-serial-pci \
        -chardev "socket,id=agent,path=$RUN/agent.sock,server=on,wait=off" \
        -device virtserialport,chardev=agent,name=org.qemu.guest_agent.0 \
        "${more[@]}" >"$RUN/qemu.log" 2>&1 &
    GUEST=$!
    disown "$GUEST"
    until_done 60 test -S "$RUN/agent.sock"
}

guest() {
    if [[ $BACKEND == qemu ]]; then
        timeout "$((120 * PATIENCE))" python3 "$LIB/agent.py" "$RUN/agent.sock" run "$((110 * PATIENCE))" \
            /usr/bin/env -i PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root \
            LANG=C.UTF-8 TERM=dumb "$@" </dev/null
    else
        timeout "$((120 * PATIENCE))" nsenter --target "$LEADER" --mount --uts --ipc --net --pid -- \
            env -i PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root \
            LANG=C.UTF-8 TERM=dumb "$@" </dev/null
    fi
}

is_off() { ! kill -0 "$GUEST" 2>/dev/null; }

power_off() {
    say "power off"
    guest systemctl poweroff || true
    local tries
    for ((tries = 0; tries < 900 * PATIENCE; tries++)); do
        is_off && break
        sleep 0.1
    done
    is_off || fail "the machine did not go off"
    off
}

# The file system is shut down as by a power failure (ext4's own ioctl for such tests, EXT4_IOC_SHUTDOWN with
# NOLOGFLUSH): what was not synced is lost, and the journal has to be replayed.
power_cut() {
    say "power cut"
    python3 -c 'import fcntl, os, struct, sys
fcntl.ioctl(os.open(sys.argv[1], os.O_RDONLY), 0x8004587D, struct.pack("I", 2))' "$RUN/disk"
    kill -KILL "$LEADER" "$GUEST" 2>/dev/null || true
    until is_off; do sleep 0.05; done
    off
}

# What a machine that went off leaves here.
off() {
    GUEST='' LEADER=''
    [[ $BACKEND == nspawn ]] || return 0
    echo 1 >"$CGROUP/cgroup.kill" 2>/dev/null || true
    ip link delete lab1 2>/dev/null || true
    unmount "$ROOT"
    unmount "$RUN/disk"
    # The machine's own mounts may outlive its processes by a moment: the next mount would join a file system that
    # was shut down.
    local tries
    for ((tries = 0; tries < 200; tries++)); do
        [[ -n $(losetup --associated "$RUN/disk.img") ]] || break
        sleep 0.05
    done
    disk_mount
}

unplug() {
    : >"$RUN/unplugged"
    ip link set lab1 nomaster down 2>/dev/null || true
}

plug() {
    rm -f "$RUN/unplugged"
    ip link set lab1 master lab0 up
}
