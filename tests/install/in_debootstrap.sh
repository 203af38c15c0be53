#!/bin/bash
# scenario.py in a minimal Debian of its own (root, debootstrap): `make install-test`. Debian's packages and Python's are
# kept in $CACHE, so that a second run needs no network.
set -euo pipefail
cd "$(dirname "$0")/../.."
CACHE=${CACHE:-${TMPDIR:-/tmp}/boltlink-install-test}
mkdir -p "$CACHE"
root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT

if [ ! -e "$CACHE/debian.tar" ]; then
    debootstrap --variant=minbase --include=python3,python3-venv,python3-dev,libcurl4,gcc,libc6-dev,procps bookworm "$root" >"$CACHE/debootstrap.log"
    tar -C "$root" -cf "$CACHE/debian.tar.new" .
    mv "$CACHE/debian.tar.new" "$CACHE/debian.tar"
else
    tar -C "$root" -xf "$CACHE/debian.tar"
fi
chmod 0755 "$root"  # mktemp makes it for root alone, and debootstrap does not always open it
read -ra build < <(sed -n 's|^requires = \[\(.*\)\]|\1|p' pyproject.toml | tr -d '",')
# async-timeout: redis asks for it on Debian 12's Python 3.11.2.
.venv/bin/pip download -q -c constraints.txt -d "$CACHE/packages" '.[embedded,tracing]' wheel async-timeout "${build[@]}" >&2

mkdir -p "$root/packages" "$root/work/checkout"
git ls-files -z | tar -c --null -T - -f - | tar -C "$root/work/checkout" -xf -
export root CACHE
# shellcheck disable=SC2016  # the inner shell expands it
# Mounts end with the namespace, processes with it too.
unshare --mount --pid --fork --kill-child bash -c '
    mount --bind "$CACHE/packages" "$root/packages"
    mount -t proc proc "$root/proc"
    mount --rbind /dev "$root/dev"
    mount -o bind,ro /proc/sys "$root/proc/sys"
    env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin LANG=C.UTF-8 PIP_NO_INDEX=1 PIP_FIND_LINKS=/packages \
        chroot "$root" python3 /work/checkout/tests/install/scenario.py /work/checkout /usr/bin/python3
    umount -R "$root/dev" "$root/proc" "$root/packages"
'
