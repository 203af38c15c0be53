#!/bin/bash
# The cluster of the Vagrantfile without virtual machines: `make cluster-test` (root, debootstrap). Each machine is a minimal
# Debian with an address of its own; etc/vagrant's scripts are run in it, and what systemd would start is started here.
set -euo pipefail
cd "$(dirname "$0")/../.."
CACHE=${CACHE:-${TMPDIR:-/tmp}/boltlink-install-test}
[ -e "$CACHE/debian.tar" ] || { echo "first: make install-test, which fills $CACHE"; exit 1; }
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir "$work/base" "$work/checkout"
tar -C "$work/base" -xf "$CACHE/debian.tar"
chmod 0755 "$work" "$work/base"
git ls-files -z | tar -c --null -T - -f - | tar -C "$work/checkout" -xf -
printf '#!/bin/sh\nexit 101\n' >"$work/base/usr/sbin/policy-rc.d" && chmod +x "$work/base/usr/sbin/policy-rc.d"
chroot "$work/base" sh -c 'apt-get update -qq && apt-get install -y -qq --no-install-recommends nginx-light redis-server' \
    >"$work/apt.log" 2>&1 || { tail "$work/apt.log"; exit 1; }

export work CACHE
# Mounts, addresses and processes end with the namespaces.
unshare --mount --net --pid --fork --kill-child --mount-proc bash -euo pipefail <<'INNER'
mount -t tmpfs layers "$(mkdir -p "$work/layers" && echo "$work/layers")"
mount -t tmpfs none /run
mkdir -p /run/netns
ip link set lo up
ip link add cluster type bridge
ip address add 192.168.56.1/24 dev cluster
ip link set cluster up

make_machine() { # NAME ADDRESS
    local name=$1 root=$work/layers/$1/root
    mkdir -p "$work/layers/$name"/{upper,work,root}
    mount -t overlay -o "lowerdir=$work/base,upperdir=$work/layers/$name/upper,workdir=$work/layers/$name/work" m "$root"
    mkdir -p "$root/vagrant" "$root/packages"
    mount --bind "$work/checkout" "$root/vagrant"
    mount --bind "$CACHE/packages" "$root/packages"
    mount -t proc proc "$root/proc"
    mount --rbind /dev "$root/dev"
    ip netns add "$name"
    ip link add "to-$name" type veth peer name eth0 netns "$name"
    ip link set "to-$name" master cluster up
    ip -n "$name" link set lo up
    ip -n "$name" address add "$2/24" dev eth0
    ip -n "$name" link set eth0 up
}
on() { # NAME COMMAND…
    local name=$1
    shift
    ip netns exec "$name" env -i PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin LANG=C.UTF-8 \
        PIP_NO_INDEX=1 PIP_FIND_LINKS=/packages CFLAGS=-O0 BOLTLINK_CLUSTER_FRONT=192.168.56.10 \
        BOLTLINK_CLUSTER_NODES='192.168.56.11 192.168.56.12' BOLTLINK_CLUSTER_SECRET=0123456789abcdef0123456789abcdef \
        BOLTLINK_CLUSTER_ADDRESS="${addresses[$name]}" chroot "$work/layers/$name/root" "$@"
}
say() { printf '%5d s  %s\n' $SECONDS "$*"; }

declare -A addresses=([node1]=192.168.56.11 [node2]=192.168.56.12 [front]=192.168.56.10)
for name in node1 node2 front; do
    make_machine "$name" "${addresses[$name]}"
    on "$name" bash /vagrant/etc/vagrant/mongodb.sh >"$work/$name.log" 2>&1 || { tail "$work/$name.log"; exit 1; }
    role=node
    [ "$name" != front ] || role=front
    on "$name" bash "/vagrant/etc/vagrant/$role.sh" >>"$work/$name.log" 2>&1 || { tail "$work/$name.log"; exit 1; }
    say "$name is provisioned"
    read -ra mongod < <(sed -n 's/^ExecStart=//p' "$work/layers/$name/root/etc/systemd/system/mongod.service")
    on "$name" setpriv --reuid=mongodb --regid=mongodb --clear-groups -- "${mongod[@]}" >"$work/$name.mongod" 2>&1 &
done
unit=$work/layers/front/root/etc/systemd/system/redis-server.service.d/boltlink.conf
read -ra redis < <(sed -n 's/^ExecStart=\(.*\) --supervised systemd\(.*\)/\1\2/p' "$unit")
on front setpriv --reuid=redis --regid=redis --clear-groups -- "${redis[@]}" >"$work/redis" 2>&1 &
on front nginx
on front /opt/boltlink/current/.venv/bin/python /vagrant/etc/vagrant/replica_set.py 192.168.56.{11,12,10}:27017
on front /opt/boltlink/current/.venv/bin/python /vagrant/etc/vagrant/replica_set.py 192.168.56.{11,12,10}:27017
say 'a replica set of three, and the same once more'
for name in node1 node2; do on "$name" boltlink up --detach >/dev/null; done
say 'both nodes are ready'

target=https://www.rfc-editor.org/rfc/rfc9110.html
link=$(on node1 boltlink shorten "$target" --slug http)
[ "$link" = http://192.168.56.10/http ]
ask() { # COUNT
    python3 - "$1" "$target" <<'PYTHON'
import http.client, sys
for _ in range(int(sys.argv[1])):
    connection = http.client.HTTPConnection("192.168.56.10", timeout=10)
    connection.request("GET", "/http", headers={"User-Agent": "Mozilla/5.0 Firefox/140.0"})
    answer = connection.getresponse()
    assert answer.getheader("Location") == sys.argv[2], answer.status
    connection.close()
PYTHON
}
ask 200
on node2 boltlink journal drain >/dev/null
on node2 boltlink down >/dev/null
ask 200
on node1 boltlink journal drain >/dev/null
counted=$(on node1 boltlink stats http --json | python3 -c 'import json, sys; print(json.load(sys.stdin)["clicks"])')
say "400 redirects, half of them without node2: $counted counted"
[ "$counted" = 400 ]
on node1 boltlink down >/dev/null
INNER
