#!/bin/bash
# Builds the image on a minimal Debian and runs it: `make container-test` (root; debootstrap, buildah, crun). Debian's base
# and Python's packages are kept in $CACHE. tests/containers/scenario.py says what is looked at.
set -euo pipefail
cd "$(dirname "$0")/../.."
CACHE=${CACHE:-${TMPDIR:-/tmp}/boltlink-install-test}
mkdir -p "$CACHE"
work=$(mktemp -d)
export CONTAINERS_STORAGE_CONF=$work/storage.conf BUILDAH_ISOLATION=chroot
printf '[storage]\ndriver = "vfs"\ngraphroot = "%s/graph"\nrunroot = "%s/run"\n' "$work" "$work" >"$CONTAINERS_STORAGE_CONF"
trap 'buildah rm --all >/dev/null 2>&1 || true; rm -rf "$work"' EXIT

if [ ! -e "$CACHE/minbase.tar" ]; then
    debootstrap --variant=minbase bookworm "$work/debian" >"$CACHE/debootstrap.log"
    tar -C "$work/debian" -cf "$CACHE/minbase.tar.new" .
    mv "$CACHE/minbase.tar.new" "$CACHE/minbase.tar"
fi
read -ra build < <(sed -n 's|^requires = \[\(.*\)\]|\1|p' pyproject.toml | tr -d '",')
# async-timeout: redis asks for it on Debian 12's Python 3.11.2.
.venv/bin/pip download -q -c constraints.txt -d "$CACHE/packages" '.[embedded,tracing]' wheel async-timeout "${build[@]}" 2>&1 | { grep -v ^WARNING >&2 || true; }

base=$(buildah from scratch)
buildah add -q "$base" "$CACHE/minbase.tar" / >/dev/null
printf '[global]\nno-index = true\nfind-links = /packages\n' >"$work/pip.conf"
buildah add -q "$base" "$work/pip.conf" /etc/pip.conf >/dev/null
buildah commit -q "$base" localhost/base:1 >/dev/null

git ls-files -z | tar -c --null -T - -f - | (mkdir "$work/checkout" && tar -C "$work/checkout" -xf -)
arguments=()
for extras in '' embedded,tracing; do
    began=$(date +%s)
    image=localhost/boltlink:${extras:-plain}
    image=${image//,/-}
    buildah bud -q --pull-never --format docker --build-arg BASE=localhost/base:1 --build-arg EXTRAS=$extras \
        --volume "$CACHE/packages:/packages:ro" -t "$image" "$work/checkout" >"$work/build.log" 2>&1 ||
        { tail -20 "$work/build.log"; exit 1; }
    root=$(buildah mount "$(buildah from --pull-never "$image")")
    buildah inspect --type image "$image" >"$work/config${#arguments[@]}.json"
    arguments+=("$root" "$work/config${#arguments[@]}.json")
    echo "image with EXTRAS=$extras: $(du -sxm --apparent-size "$root" | cut -f1) MB, of which Debian" \
        "$(tar -tvf "$CACHE/minbase.tar" | awk '{ sum += $3 } END { printf "%d", sum / 1048576 }') MB;" \
        "packed $(tar -C "$root" -cf - . | gzip -1 | wc -c | awk '{ printf "%d", $1 / 1048576 }') MB; built in $(($(date +%s) - began)) s"
    if (cd "$root" && find usr opt -name cc1 -o -path '*/bin/*' '(' -name 'gcc*' -o -name cc -o -name 'pip*' ')') | grep .; then
        echo "a compiler or pip is in the image"
        exit 1
    fi
done

# A network of its own; where cgroups of both versions are mounted, crun wants the first alone.
# shellcheck disable=SC2016  # the inner shell expands it
unshare --mount --net bash -c '
    [ ! -d /sys/fs/cgroup/unified ] || umount /sys/fs/cgroup/unified
    .venv/bin/python -c "import fcntl, socket, struct
fcntl.ioctl(socket.socket(), 0x8914, struct.pack(\"16sH14x\", b\"lo\", 0x1 | 0x40))"  # SIOCSIFFLAGS: up, running
    exec .venv/bin/python -m tests.containers.scenario "$@"
' bash "${arguments[@]}"
