#!/bin/sh
# Make sure that the servers that tests/net/real and tests/cross/real talk to are
# there: PostgreSQL, Redis and nginx, from Debian's packages.  The tests start
# their own, on loopback with data in a temporary folder.  Says and does nothing
# where nothing is missing.
#
#   tools/servers.sh
set -eu

die() {
    echo "servers: $*" >&2
    exit 1
}

there() {
    PATH=$PATH:/usr/sbin command -v "$1" >/dev/null 2>&1
}

# Debian keeps PostgreSQL's programs out of PATH, a folder a version.
postgres_there() {
    there postgres || ls /usr/lib/postgresql/*/bin/postgres >/dev/null 2>&1
}

missing() {
    postgres_there || echo postgresql
    there redis-server || echo redis-server
    there nginx || echo nginx-light
}

as_root() {
    if [ "$(id -u)" -eq 0 ]; then
        "$@"
    else
        sudo "$@"
    fi
}

packages=$(missing)
[ -n "$packages" ] || exit 0

# shellcheck disable=SC2086 # several packages
set -- $packages
command -v apt-get >/dev/null 2>&1 ||
    die "no apt-get here: install by hand what Debian calls $*"
[ "$(id -u)" -eq 0 ] || command -v sudo >/dev/null 2>&1 ||
    die "there is no sudo here; as root install $*"
echo "servers: installing $*"
as_root apt-get -qq update
as_root env DEBIAN_FRONTEND=noninteractive apt-get -qq -y install \
    --no-install-recommends -o DPkg::Lock::Timeout=120 "$@" >/dev/null

packages=$(missing)
[ -z "$packages" ] || die "still missing after that:" $packages
