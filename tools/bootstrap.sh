#!/bin/sh
# Make sure that this machine can build the extension and make a venv: a C
# compiler, make, PYTHON's headers, its venv module and libev.  What is
# missing is installed from the system's packages; root is asked for only
# then.  Says and does nothing where nothing is missing.
#
#   tools/bootstrap.sh [PYTHON]
set -eu
python=${1:-python3}
errors=

die() {
    echo "bootstrap: $*" >&2
    exit 1
}

python_says() {
    "$python" -c "import sys, sysconfig; print($1)"
}

# Each check tries the thing itself: names of files differ between systems.

can_compile() {
    folder=$(mktemp -d)
    cat >"$folder/probe.c" <<'PROBE'
#include <Python.h>
#include <ev.h>
int main(void) { return ev_version_major() != EV_VERSION_MAJOR; }
PROBE
    flags="-I$(python_says 'sysconfig.get_path("include")')"
    for prefix in ${LIBEV_DIR:-} /usr/local /opt/homebrew /opt/local /usr; do
        for headers in "$prefix/include" "$prefix/include/libev"; do
            [ ! -e "$headers/ev.h" ] || flags="$flags -I$headers -L$prefix/lib"
        done
    done
    cc=${CC:-$(python_says 'sysconfig.get_config_var("CC") or "cc"')}
    result=1
    # shellcheck disable=SC2086 # a command and flags, to be split at spaces
    ! $cc $flags "$folder/probe.c" -o "$folder/probe" -lev \
        2>"$folder/errors" || result=0
    errors=$(cat "$folder/errors")
    rm -rf "$folder"
    return $result
}

can_make_venv() {
    "$python" -c 'import ensurepip, venv' 2>/dev/null
}

all_there() {
    command -v make >/dev/null 2>&1 && can_make_venv && can_compile
}

# An interpreter from elsewhere (pyenv, a build of one's own) has its headers
# and its venv module with it.
is_systems_python() {
    [ "$(python_says 'sys.base_prefix')" = /usr ]
}

as_root() {
    if [ "$(id -u)" -eq 0 ]; then
        "$@"
    else
        sudo "$@"
    fi
}

# announce PACKAGE...: say what will be installed, or who must install it.
announce() {
    [ "$(id -u)" -eq 0 ] || command -v sudo >/dev/null 2>&1 ||
        die "there is no sudo here; as root install $*"
    echo "bootstrap: installing $*"
}

use_apt() {
    set -- gcc libc6-dev make libev-dev
    if is_systems_python; then
        version=$(python_says '"%d.%d" % sys.version_info[:2]')
        set -- "$@" "python$version-dev" "python$version-venv"
    fi
    announce "$@"
    as_root apt-get -qq update
    as_root env DEBIAN_FRONTEND=noninteractive apt-get -qq -y install \
        --no-install-recommends -o DPkg::Lock::Timeout=120 "$@" >/dev/null
}

use_dnf() {
    set -- gcc make libev-devel
    ! is_systems_python || set -- "$@" python3-devel
    announce "$@"
    as_root dnf -q -y install "$@"
}

"$python" -c '' 2>/dev/null ||
    die "no '$python' runs here; make has a variable PYTHON for another one"
[ "$(python_says 'sys.version_info >= (3, 11)')" = True ] ||
    die "$("$python" -V) is too old: 3.11 or newer is needed," \
        "for example make test PYTHON=python3.12"

all_there && exit 0

if command -v apt-get >/dev/null 2>&1; then
    use_apt
elif command -v dnf >/dev/null 2>&1; then
    use_dnf
elif command -v brew >/dev/null 2>&1; then
    brew install --quiet libev
else
    die "no apt-get, dnf or brew here: install a C compiler, make, Python's" \
        "headers, its venv module and libev by hand"
fi

all_there || die "still cannot build after that. $errors"
