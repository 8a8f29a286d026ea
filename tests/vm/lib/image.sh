#!/bin/bash
# The image that every case boots: a Debian with systemd, cloud-init, apt and a kernel, built once from this
# machine's own apt sources and kept. Sourced by ../run; `image.sh build DIRECTORY` is the build itself, which
# runs in namespaces of its own, so that nothing of it is left behind however it ends.
# shellcheck disable=SC2034  # variables are for whoever sources this or is sourced here
set -euo pipefail

IMAGE_SH=$(readlink -f "${BASH_SOURCE[0]}")
readonly IMAGE_SH
readonly CACHE=${KASM_VM_CACHE:-${XDG_CACHE_HOME:-${HOME:-/root}/.cache}/kasm-bootstrap-vm}

# What the machine that runs the tests needs: the command, and the package that brings it.
readonly VM_TOOLS=(
    busybox:busybox-static cpio:cpio dnsmasq:dnsmasq-base dpkg-deb:dpkg genisoimage:genisoimage ip:iproute2
    createrepo_c:createrepo-c rpmbuild:rpm
    mke2fs:e2fsprogs mmdebstrap:mmdebstrap nsenter:util-linux openssl:openssl python3:python3 sfdisk:fdisk
    qemu-img:qemu-utils qemu-system-x86_64:qemu-system-x86 systemd-nspawn:systemd-container unshare:util-linux
)

# What the image has beyond the packages marked essential, and apt.
readonly IMAGE_PACKAGES=(
    systemd systemd-sysv systemd-resolved systemd-timesyncd libpam-systemd udev dbus kmod linux-image-cloud-amd64
    initramfs-tools e2fsprogs cloud-init netplan.io iproute2 netbase ca-certificates openssh-client curl wget sudo
    psmisc procps lsof openssl python3 unattended-upgrades busybox-static docker.io qemu-guest-agent
)

# SOURCES: one line an index of this machine's own apt sources: URI SUITE COMPONENT. APT_OPTIONS: what apt is told
# here that decides whether its mirror can be reached at all.
SOURCES='' APT_OPTIONS=''
read_apt() {
    local own suite
    own=$(sed -n 's/^VERSION_CODENAME=//p' /etc/os-release)
    suite=${KASM_VM_SUITE:-$own}
    # shellcheck disable=SC2016  # $(...) is apt's own syntax
    SOURCES=$(apt-get indextargets --format '$(REPO_URI) $(CODENAME) $(COMPONENT) $(ORIGIN)' 'Created-By: Packages' |
        awk -v own="$own" -v suite="$suite" '
            $1 ~ "^https?://" && $NF == "Debian" && index($2, own) == 1 {
                print $1, suite substr($2, length(own) + 1), $3
            }' | sort -u)
    if [[ -z $SOURCES ]]; then
        echo "apt knows no Debian sources on this machine: run 'apt-get update' first" >&2
        return 1
    fi
    APT_OPTIONS=$(apt-config dump | grep -E '^Acquire::(http|https|Check-Valid-Until|Check-Date)[: ]' || true)
}

# The image's directory: another one as soon as anything that goes into it has changed.
image_dir() {
    local key
    key=$({
        printf '%s\n' "$SOURCES" "$APT_OPTIONS" "${IMAGE_PACKAGES[@]}"
        declare -f build customize write_initramfs
    } | sha256sum | cut -c 1-16)
    printf '%s/image-%s\n' "$CACHE" "$key"
}

# Builds the image unless it is there.
ensure_image() {
    local dir work began=$SECONDS lock
    read_apt || return 1
    dir=$(image_dir)
    mkdir -p "$CACHE"
    # One builder at a time; the others find the image when they get the lock.
    exec {lock}>"$CACHE/lock"
    flock -w 1800 "$lock" || return 1
    if [[ ! -e $dir/root.raw ]]; then
        echo "building the image once, in $CACHE"
        rm -rf --one-file-system "$CACHE"/image-* "$CACHE"/build.*
        work=$(mktemp -d "$CACHE/build.XXXXXX")
        if ! timeout --foreground -k 5 1800 unshare --fork --pid --kill-child --mount-proc --mount -- \
            bash "$IMAGE_SH" build "$work" </dev/null >"$work/build.log" 2>&1; then
            tail -n 30 "$work/build.log" >&2
            rm -rf --one-file-system "$work"
            echo "the image could not be built" >&2
            return 1
        fi
        chmod 755 "$work"
        mv "$work" "$dir"
        echo "built in $((SECONDS - began)) s"
    fi
    exec {lock}>&-
}

write_initramfs() { # ROOT OUT: mounts the disk, unpacks what a case puts into the machine, boots it
    local root=$1 out=$2 dir version module
    dir=$(mktemp -d "$out.XXXXXX")
    version=$(basename "$root"/lib/modules/*)
    mkdir -p "$dir"/{bin,dev,proc,sys,newroot,modules}
    cp "$root/bin/busybox" "$dir/bin/"
    for module in virtio_pci virtio_blk; do
        chroot "$root" modprobe -S "$version" --show-depends "$module"
    done | awk '$1 == "insmod" && !seen[$2]++ { print $2 }' |
        while read -r module; do
            cp "$root$module" "$dir/modules/"
            basename "$module" >>"$dir/modules/order"
        done
    cat >"$dir/init" <<'INIT'
#!/bin/busybox sh
PATH=/bin
/bin/busybox --install -s /bin
mount -t devtmpfs dev /dev
mount -t proc proc /proc
mount -t sysfs sys /sys
for module in $(cat /modules/order); do insmod "/modules/$module"; done
tries=0
until [ -b /dev/vda ] && [ -b /dev/vdb ] || [ $tries -ge 100 ]; do
    sleep 0.1
    tries=$((tries + 1))
done
mount -t ext4 -o rw,discard /dev/vda /newroot
[ -e /newroot/var/lib/put-done ] || tar -x -f /dev/vdb -C /newroot
: >/newroot/var/lib/put-done
umount /proc
umount /sys
mount --move /dev /newroot/dev
exec switch_root /newroot /sbin/init
INIT
    chmod 755 "$dir/init"
    (cd "$dir" && find . | cpio --quiet -o -H newc | gzip -1) >"$out"
    rm -rf "$dir"
}

customize() { # ROOT: everything that packages alone do not settle
    local root=$1
    # The gateway that the machine reaches the mirror through speaks plain HTTP.
    sed -E 's#^https:#http:#; s#^#deb #' <<<"$SOURCES" >"$root/etc/apt/sources.list"
    {
        grep -vi proxy <<<"$APT_OPTIONS" || true
        echo 'Acquire::Languages "none";'
    } >"$root/etc/apt/apt.conf.d/90vm"
    # Package lists are in the image, as in a cloud vendor's: apt-get update then finds them current.
    chroot "$root" apt-cache gencaches
    cat >"$root/etc/cloud/cloud.cfg.d/90_vm.cfg" <<'CFG'
# The mirror is the one that the gateway knows, not a template's.
apt: {preserve_sources_list: true}
locale: C.UTF-8
ssh_genkeytypes: [ed25519]
CFG
    # The stand-in has Docker's socket, but for the one case that starts the engine.
    chroot "$root" systemctl --quiet disable docker.service docker.socket containerd.service
    chroot "$root" systemctl --quiet enable systemd-networkd.service systemd-resolved.service
    chroot "$root" systemctl --quiet mask e2scrub_reap.service # for LVM only, and slow
    # They begin when a case says so, not when the hour of the day does.
    chroot "$root" systemctl --quiet disable apt-daily.timer apt-daily-upgrade.timer
    ln -sf ../run/systemd/resolve/stub-resolv.conf "$root/etc/resolv.conf"
    mkdir -p "$root/var/log/journal"
    printf 'node\n' >"$root/etc/hostname"
    : >"$root/etc/machine-id"
    rm -f "$root"/boot/initrd.img* "$root/etc/fstab"
}

build() { # DIRECTORY: fills it with root.raw, vmlinuz and initrd.img
    local work=$1 root=$1/rootfs option suite packages
    local -a options=() lines=()
    read_apt
    mkdir "$root"
    # Unpacking in memory halves the time; this mount ends with the build.
    if [[ $(awk '/^MemAvailable:/ { print $2 }' /proc/meminfo) -gt 8000000 ]]; then
        mount -t tmpfs -o size=6g,mode=755 tmpfs "$root"
    fi
    while read -r option; do
        options+=(${option:+"--aptopt=$option"})
    done <<<"$APT_OPTIONS"
    mapfile -t lines <<<"deb ${SOURCES//$'\n'/$'\n'deb }"
    suite=$(awk 'NR == 1 { print $2 }' <<<"$SOURCES")
    packages=$(IFS=, && printf '%s' "${IMAGE_PACKAGES[*]}")
    env -i PATH="$PATH" HOME=/root LANG=C.UTF-8 DEBIAN_FRONTEND=noninteractive \
        mmdebstrap --mode=root --variant=apt --format=directory --skip=cleanup/apt/lists \
        --dpkgopt=force-unsafe-io "${options[@]}" --include="$packages" "$suite" "$root" "${lines[@]}"
    customize "$root"
    cp "$root"/boot/vmlinuz-* "$work/vmlinuz"
    write_initramfs "$root" "$work/initrd.img"
    # Sparse: 24 GiB to the machine, what is in it on the disk.
    mke2fs -q -t ext4 -L root -J size=32 -E lazy_itable_init=1,lazy_journal_init=1 -d "$root" "$work/root.raw" 24G
    umount "$root" 2>/dev/null || true
    rm -rf "$root"
}

if [[ ${BASH_SOURCE[0]} == "$0" ]]; then
    [[ ${1-} == build ]] || exit 2
    build "$2"
fi
