#!/bin/bash
# Redis and nginx of the cluster, and the replica set of all members.
set -euo pipefail
export DEBIAN_FRONTEND=noninteractive
apt-get install -y -qq --no-install-recommends nginx-light redis-server >/dev/null

(umask 077 && cat >/etc/redis/boltlink.conf) <<TEXT
include /etc/redis/redis.conf
bind 127.0.0.1 $BOLTLINK_CLUSTER_FRONT
requirepass $BOLTLINK_CLUSTER_SECRET
maxmemory 256mb
maxmemory-policy volatile-lru
TEXT
chown redis:redis /etc/redis/boltlink.conf
chmod 0640 /etc/redis/boltlink.conf
install -d /etc/systemd/system/redis-server.service.d
printf '[Service]\nExecStart=\nExecStart=/usr/bin/redis-server /etc/redis/boltlink.conf --supervised systemd --daemonize no\n' \
    >/etc/systemd/system/redis-server.service.d/boltlink.conf

# Plain HTTP, in a network of this machine alone; etc/nginx/boltlink.conf has TLS.
{
    echo 'upstream boltlink {'
    echo '    least_conn;'
    for node in $BOLTLINK_CLUSTER_NODES; do echo "    server $node:8000;"; done
    echo '    keepalive 64;'
    echo '}'
    cat <<'TEXT'
server {
    listen 80 default_server;
    client_max_body_size 8m;
    proxy_http_version 1.1;
    proxy_set_header Connection "";
    proxy_set_header Host $host;
    proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
    location / {
        proxy_pass http://boltlink;
        proxy_connect_timeout 2s;
        proxy_next_upstream error timeout http_503;
    }
    location = /api/v1/live {
        proxy_pass http://boltlink;
        proxy_buffering off;
        proxy_read_timeout 1h;
    }
}
TEXT
} >/etc/nginx/conf.d/boltlink.conf
rm -f /etc/nginx/sites-enabled/default
nginx -t -q

[ -d /run/systemd/system ] || exit 0
systemctl daemon-reload
systemctl restart redis-server nginx
read -ra members <<<"$BOLTLINK_CLUSTER_NODES $BOLTLINK_CLUSTER_FRONT"
/opt/boltlink/current/.venv/bin/python /vagrant/etc/vagrant/replica_set.py "${members[@]/%/:27017}"
