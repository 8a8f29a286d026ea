#!/bin/sh
# Run as root in the machine or root file system that becomes an image: installs the package, if its digest is
# right, and bakes. The arguments are those of `kasm-bootstrap bake`.
#
# Usage: DEB=FILE DEB_SHA256=HEX provision.sh [ARGUMENTS FOR kasm-bootstrap bake]
set -eu

: "${DEB:?the .deb to install}" "${DEB_SHA256:?its SHA-256}"
echo "$DEB_SHA256  $DEB" | sha256sum -c -

# cloud-init may still be writing apt's sources. It is not there in every image, and nothing to wait for in a
# chroot; that it failed at something of its own is not for us to judge.
if [ -d /run/systemd/system ] && command -v cloud-init >/dev/null; then
  cloud-init status --wait >/dev/null || true
fi

# The package depends on nothing, so dpkg will do, once nobody else is at it.
DEBIAN_FRONTEND=noninteractive apt-get -q -y -o DPkg::Lock::Timeout=300 install "$DEB"
rm -f "$DEB"
kasm-bootstrap bake "$@"
