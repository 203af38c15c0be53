#!/bin/bash
# BoltLink on this machine, with the cluster's stores; it is tried again by systemd until the replica set is there.
set -euo pipefail
members=$(tr ' ' ',' <<<"$BOLTLINK_CLUSTER_NODES $BOLTLINK_CLUSTER_FRONT")
(umask 077 && cat >/etc/boltlink/boltlink.env) <<TEXT
BOLTLINK_HOST=$BOLTLINK_CLUSTER_ADDRESS
BOLTLINK_METRICS_HOST=$BOLTLINK_CLUSTER_ADDRESS
BOLTLINK_BASE_URL=http://$BOLTLINK_CLUSTER_FRONT
BOLTLINK_TRUSTED_PROXIES=$BOLTLINK_CLUSTER_FRONT
BOLTLINK_REDIS_URL=redis://:$BOLTLINK_CLUSTER_SECRET@$BOLTLINK_CLUSTER_FRONT:6379/0
BOLTLINK_MONGODB_URL=mongodb://boltlink:$BOLTLINK_CLUSTER_SECRET@$members/boltlink?replicaSet=rs0&authSource=admin
TEXT
[ ! -d /run/systemd/system ] || systemctl --no-block restart boltlink
