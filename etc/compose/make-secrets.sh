#!/bin/sh
# make-secrets.sh NAME [FOLDER]: what compose.yaml reads from files, made once, each for the user of its container alone,
# and .env beside it with the public name. Run as root, from the folder of compose.yaml. What is there stays.
set -eu
name=${1:?usage: make-secrets.sh NAME [FOLDER]} folder=${2:-secrets}
case $name in -* | *[!A-Za-z0-9.-]*) echo "make-secrets.sh: '$name' is no host name" >&2; exit 1 ;; esac
[ "$(id -u)" = 0 ] || { echo "make-secrets.sh: run it as root: files belong to the users of containers" >&2; exit 1; }
umask 077
mkdir -p "$folder"
chmod 0711 "$folder"

random() { od -An -N "$1" -tx1 /dev/urandom | tr -d ' \n'; }
keep() { # FILE UID: stdin, unless the file is there; whole or not at all
    [ ! -e "$folder/$1" ] || { cat >/dev/null; return; }
    cat >"$folder/$1.new"
    chown "$2:$2" "$folder/$1.new"
    chmod 0400 "$folder/$1.new"
    mv "$folder/$1.new" "$folder/$1"
}

random 24 | keep mongodb-password 999
random 500 | keep mongodb-key 999
keep redis.conf 999 <<TEXT
requirepass $(random 24)
dir /data
save 300 1 30 10000
maxmemory 256mb
maxmemory-policy volatile-lru
stop-writes-on-bgsave-error no
TEXT
keep boltlink.env 10001 <<TEXT
BOLTLINK_REDIS_URL=redis://:$(sed -n 's/^requirepass //p' "$folder/redis.conf")@redis:6379/0
BOLTLINK_MONGODB_URL=mongodb://boltlink:$(cat "$folder/mongodb-password")@mongodb:27017/boltlink?replicaSet=rs0&authSource=admin
BOLTLINK_ADMIN_KEY=$(random 24)
TEXT

# A certificate that nobody trusts, until CERTIFICATES in .env names a folder with real ones (/etc/letsencrypt).
live=$folder/letsencrypt/live/$name
if [ ! -e "$live" ]; then
    rm -rf "$live.new"
    mkdir -p "$live.new"
    openssl req -x509 -newkey rsa:2048 -nodes -days 365 -subj "/CN=$name" -addext "subjectAltName=DNS:$name" \
        -keyout "$live.new/privkey.pem" -out "$live.new/fullchain.pem" 2>/dev/null
    mv "$live.new" "$live"
fi
env=$(dirname "$folder")/.env
[ -e "$env" ] || { printf 'SITE=%s\n' "$name" >"$env" && chmod 0644 "$env"; }
