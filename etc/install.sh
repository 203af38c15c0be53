#!/bin/bash
# Installs BoltLink on this machine from the checkout that this file lies in, or brings it to that checkout's state.
# docs/operations.md, "Install on a machine", says what goes where. Every step looks first, so it can be run again.
# shellcheck disable=SC2015  # A && B || C: C says what is wrong when either is
set -euo pipefail

HOME_DIR=/opt/boltlink
RELEASES=$HOME_DIR/releases
STATE=/var/lib/boltlink
SETTINGS=/etc/boltlink/boltlink.env
UNIT=/etc/systemd/system/boltlink.service
PORT_UNIT=$UNIT.d/port.conf
WRAPPER=/usr/local/bin/boltlink
SYSCTL=/etc/sysctl.d/60-boltlink.conf
LOGS=/var/log/boltlink
KEPT=3 # releases, and those that some process still runs
PARTS=(app workers etc docs supervisord.conf setup.py setup.cfg pyproject.toml constraints.txt README.md CHANGELOG.md)

usage() {
    cat <<'TEXT'
usage: etc/install.sh [OPTION…]     as root, from a checkout; again from a newer one it upgrades

  --without-embedded   without the Redis and MongoDB that BoltLink brings along: you have your own
  --with-tracing       with what traces are sent by (OpenTelemetry)
  --with-embedded, --without-tracing
                       take that back; what no option names stays as the release in use has it
  --python PROGRAM     Python 3.11 or later (default: python3)
  --no-start           leave it stopped after the first installation
  --force              go on although `boltlink doctor` says fail

  --rollback           back to the release before
  --uninstall          remove code, unit, command and kernel settings; state, logs and settings stay
  --purge              with --uninstall: remove these too, and the user; asks first
  --yes                answer that question
  -h, --help           this
TEXT
}

say() { printf 'boltlink: %s\n' "$*"; }
warn() { printf 'boltlink: warning: %s\n' "$*" >&2; }
die() {
    printf 'boltlink: %s\n' "$*" >&2
    exit 1
}

has_systemd() { [ -d /run/systemd/system ]; }
is_running() { [ -x "$WRAPPER" ] && [ -e "$HOME_DIR/current" ] && "$WRAPPER" status --json >/dev/null 2>&1; }
release_of() { readlink -e "$HOME_DIR/$1" || true; }
in_use() { # the release that all programs ran from last: a switch that was cut short is not done
    local before
    before=$(release_of switching-from)
    echo "${before:-$(release_of current)}"
}

port() {
    local set_to
    set_to=$(sed -n 's/^[[:space:]]*BOLTLINK_PORT[[:space:]]*=[[:space:]"'\'']*\([0-9]*\).*/\1/p' "$SETTINGS" | tail -n 1)
    echo "${set_to:-8000}"
}

as_user() { # COMMAND…: as BoltLink's user, with the machine's settings
    local caps=()
    [ "$(port)" -ge 1024 ] || caps=(--inh-caps=+net_bind_service --ambient-caps=+net_bind_service) # as the unit has it
    (cd "$STATE" && exec setpriv --reuid=boltlink --regid=boltlink --init-groups "${caps[@]}" -- \
        env HOME="$STATE" BOLTLINK_STATE_DIR="$STATE" BOLTLINK_SETTINGS_FILE="$SETTINGS" "$@")
}

need() { # what has to be there, with the command that brings it
    [ "$(id -u)" = 0 ] || die "run it as root: sudo $0"
    local program
    for program in setpriv useradd flock tar sha256sum; do
        command -v "$program" >/dev/null || die "$program is missing: apt-get install util-linux passwd tar coreutils"
    done
}

need_python() {
    command -v "$PYTHON" >/dev/null || die "there is no $PYTHON: apt-get install python3 python3-venv"
    "$PYTHON" -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
        die "$("$PYTHON" --version) is too old: install Python 3.11 or later and name it by --python"
    "$PYTHON" -c 'import ensurepip, venv' 2>/dev/null || die "$PYTHON has no venv: apt-get install python3-venv"
    command -v cc >/dev/null && [ -e "$("$PYTHON" -c 'import sysconfig; print(sysconfig.get_path("include"))')/Python.h" ] ||
        warn "redirects will be interpreted, a third slower: apt-get install gcc libc6-dev python3-dev, then run this again"
}

make_places() {
    getent passwd boltlink >/dev/null ||
        useradd --system --user-group --home-dir "$STATE" --no-create-home --shell /usr/sbin/nologin boltlink
    install -d -m 0755 "$HOME_DIR" "$RELEASES"
    install -d -m 0700 -o boltlink -g boltlink "$STATE" "$STATE/log"
    install -d -m 0750 -o root -g boltlink "$(dirname "$SETTINGS")"
    [ -e "$SETTINGS" ] || install -m 0640 -o root -g boltlink "$CHECKOUT/etc/boltlink.env" "$SETTINGS"
    as_user "$PYTHON" -c '' 2>/dev/null || die "the user boltlink may not run $PYTHON: name one by --python that everyone may"
    [ -e "$LOGS" ] || ln -s "$STATE/log" "$LOGS"
}

set_kernel() {
    install -D -m 0644 "$CHECKOUT/etc/sysctl.d/60-boltlink.conf" "$SYSCTL"
    { command -v sysctl >/dev/null && sysctl -q -p "$SYSCTL" >/dev/null 2>&1; } ||
        warn "the kernel did not take all of $SYSCTL (a container asks its host)"
}

choose_extras() { # of setup.cfg: as options wish, else as the release in use has it
    local had=' embedded ' chosen=() name
    [ ! -e "$HOME_DIR/current/extras" ] || had=" $(<"$HOME_DIR/current/extras") "
    for name in embedded tracing; do
        case "${WISHES[$name]:-}$had" in
            with\ * | \ *"$name"\ *) chosen+=("$name") ;;
        esac
    done
    echo "${chosen[*]}"
}

name_release() { # the same files, extras, Python and compiler give the same name
    local version
    version=$(sed -n 's/^version = //p' "$CHECKOUT/setup.cfg")
    (
        cd "$CHECKOUT"
        find "${PARTS[@]}" -type f ! -name '*.so' ! -path '*/__pycache__/*' -print0 | LC_ALL=C sort -z | xargs -0 sha256sum
        echo "$EXTRAS" "$("$PYTHON" -c 'import sys; print(sys.version, sys.executable)')" "$(command -v cc || true)"
    ) | sha256sum | sed -E "s/^(.{12}).*/$version-\1/"
}

build_release() { # FOLDER; `complete` is made last, so one that was cut short is made anew
    [ ! -e "$1/complete" ] || { say "$(basename "$1") is built already"; return; }
    say "building $(basename "$1")"
    rm -rf "$1"
    mkdir "$1"
    tar -C "$CHECKOUT" --exclude='*.so' --exclude=__pycache__ -cf - "${PARTS[@]}" | tar -C "$1" --no-same-owner -xf -
    chmod -R u=rwX,go=rX "$1"
    "$PYTHON" -m venv "$1/.venv"
    (cd "$1" && .venv/bin/pip install -q --disable-pip-version-check -c constraints.txt -e ".${EXTRAS:+[${EXTRAS// /,}]}")
    (cd "$1" && .venv/bin/python -m compileall -q app workers)
    echo "$EXTRAS" >"$1/extras"
    touch "$1/complete"
}

check_release() { # FOLDER
    as_user "$1/.venv/bin/python" -P -c 'import app.main, app.cli.up, workers.aggregator, workers.announcer, workers.rollup, workers.jobs' ||
        die "$(basename "$1") cannot be imported; nothing was changed"
    ls "$1"/app/front/*.so >/dev/null 2>&1 || warn "$(basename "$1") is interpreted, not compiled"
    as_user "$1/.venv/bin/python" -P -m app.cli doctor -q && return
    [ -n "$FORCE" ] || die "doctor says fail: mend that, or --force; $(basename "$1") is built and not in use"
}

point() { # LINK FOLDER: whoever looks sees the old or the new one, never none
    ln -sfn "$2" "$HOME_DIR/.link" && mv -T "$HOME_DIR/.link" "$HOME_DIR/$1"
}

install_around() { # FOLDER: what lies outside of the release
    install -m 0755 "$1/etc/bin/boltlink" "$WRAPPER"
    if [ -e "$UNIT" ] && ! cmp -s "$1/etc/systemd/boltlink.service" "$UNIT"; then
        warn "the unit changed; in effect after: systemctl restart boltlink"
    fi
    install -D -m 0644 "$1/etc/systemd/boltlink.service" "$UNIT"
    if [ "$(port)" -lt 1024 ]; then
        install -d "$UNIT.d"
        printf '[Service]\nCapabilityBoundingSet=CAP_NET_BIND_SERVICE\nAmbientCapabilities=CAP_NET_BIND_SERVICE\n' >"$PORT_UNIT"
    else
        rm -f "$PORT_UNIT"
    fi
    ! has_systemd || { systemctl daemon-reload && systemctl --quiet enable boltlink; }
}

start_first() {
    if [ -n "$NO_START" ]; then
        say "installed, not started; start it with: $(has_systemd && echo systemctl start boltlink || echo boltlink up --detach)"
    elif has_systemd; then
        systemctl start boltlink || die "it does not start: journalctl -u boltlink"
        say "it runs; see: boltlink status"
    else
        say "systemd does not run here: the unit is installed, not started; start it with: boltlink up --detach"
    fi
}

go_to() { # FOLDER: switch to a release; running programs follow one after another, or all stay
    local before
    before=$(in_use)
    if [ "$before" = "$1" ] && [ "$(release_of current)" = "$1" ]; then
        install_around "$1"
        say "$(basename "$1") is in use"
        return
    fi
    [ -z "$before" ] || point switching-from "$before"
    if is_running; then
        point current "$1"
        if ! "$WRAPPER" reload --running; then
            point current "$before"
            "$WRAPPER" reload --running --force || warn "the reload back failed too: boltlink status, boltlink logs"
            rm -f "$HOME_DIR/switching-from"
            die "$(basename "$1") did not come up; back on $(basename "$before")"
        fi
        diff -qr "$before/etc/supervisor" "$1/etc/supervisor" >/dev/null && cmp -s "$before/supervisord.conf" "$1/supervisord.conf" ||
            warn "which programs there are, or how they are started, changed; in effect after a restart of all: systemctl restart boltlink"
        install_around "$1"
        say "$(basename "$1") runs"
    else
        point current "$1"
        install_around "$1"
        if [ -n "$before" ]; then
            say "$(basename "$1") is installed; it did not run before and was not started"
        else
            start_first
        fi
    fi
    [ -z "$before" ] || [ "$before" = "$1" ] || point previous "$before"
    rm -f "$HOME_DIR/switching-from"
}

prune() {
    local release kept=0
    # shellcheck disable=SC2012  # names are ours: version and digest
    for release in $(ls -1dt "$RELEASES"/*/ | sed 's,/$,,'); do
        if [ "$release" = "$(release_of current)" ] || [ "$release" = "$(release_of previous)" ] || [ $((kept += 1)) -le $((KEPT - 2)) ]; then
            continue
        fi
        if grep -qsF "$release/" /proc/[0-9]*/maps || find /proc/[0-9]*/cwd -maxdepth 0 -lname "$release" 2>/dev/null | grep -q .; then
            say "$(basename "$release") is kept: programs still run from it"
        else
            say "$(basename "$release") is old: removed"
            rm -rf "$release"
        fi
    done
}

roll_back() {
    local target
    target=$(release_of switching-from)
    target=${target:-$(release_of previous)}
    [ -n "$target" ] && [ -e "$target/complete" ] || die "there is no release before this one"
    check_release "$target"
    go_to "$target"
}

uninstall() {
    if [ -n "$PURGE" ] && [ -z "$YES" ]; then
        [ -t 0 ] || die "--purge removes all links, statistics and keys in $STATE; without a terminal it needs --yes"
        read -rp "Remove $STATE with all links, statistics and keys, and $(dirname "$SETTINGS")? Type yes: " answer
        [ "$answer" = yes ] || die "nothing was removed"
    fi
    if has_systemd && [ -e "$UNIT" ]; then
        systemctl --quiet disable --now boltlink
    fi
    ! is_running || "$WRAPPER" down
    ! is_running || die "it still runs; nothing was removed"
    rm -rf "$HOME_DIR" "$UNIT" "$UNIT.d" "$WRAPPER" "$SYSCTL"
    ! has_systemd || systemctl daemon-reload
    if [ -n "$PURGE" ]; then
        rm -rf "$STATE" "$(dirname "$SETTINGS")" "$LOGS"
        ! getent passwd boltlink >/dev/null || userdel boltlink
        say "removed, with state, logs and settings"
    else
        say "removed; $STATE, $LOGS and $SETTINGS are kept, and the kernel's settings until the next boot"
    fi
}

CHECKOUT=$(cd "$(dirname "$0")/.." && pwd)
declare -A WISHES=()
PYTHON=python3 NO_START='' FORCE='' PURGE='' YES='' ACTION=install
while [ $# -gt 0 ]; do
    case $1 in
        --with-embedded | --with-tracing) WISHES[${1#--with-}]=with ;;
        --without-embedded | --without-tracing) WISHES[${1#--without-}]=without ;;
        --python)
            [ $# -gt 1 ] || { usage >&2; exit 2; }
            PYTHON=$2
            shift
            ;;
        --no-start) NO_START=1 ;;
        --force) FORCE=1 ;;
        --rollback) ACTION=rollback ;;
        --uninstall) ACTION=uninstall ;;
        --purge) PURGE=1 ;;
        --yes) YES=1 ;;
        -h | --help)
            usage
            exit
            ;;
        *)
            usage >&2
            exit 2
            ;;
    esac
    shift
done
EXTRAS=$(choose_extras)
[ -z "$PURGE" ] || [ "$ACTION" = uninstall ] || { usage >&2; exit 2; }

need
umask 022
exec 9>/run/boltlink-install.lock
flock -n 9 || die "another installation is under way"
case $ACTION in
    install)
        need_python
        make_places
        set_kernel
        release=$RELEASES/$(name_release)
        build_release "$release"
        check_release "$release"
        go_to "$release"
        prune
        ;;
    rollback) roll_back ;;
    uninstall) uninstall ;;
esac
