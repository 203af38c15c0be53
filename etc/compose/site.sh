#!/bin/sh
# Before nginx starts in its container: the site of etc/nginx/boltlink.conf, under the name $SITE, in front of the service
# boltlink.
set -eu
case "$SITE" in
*[!A-Za-z0-9.-]*) echo "SITE is no host name: $SITE" >&2; exit 1 ;;
esac
sed -e "s/server 127\.0\.0\.1:8000;/server boltlink:8000;/" -e "s/sho\.rt/$SITE/g" /etc/boltlink/nginx.conf \
    >/etc/nginx/conf.d/default.conf
