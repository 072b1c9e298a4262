#!/bin/sh
# Make the virtual environment VENV for PYTHON, with what the named groups of
# pyproject.toml need, and with this checkout importable in it.  Does nothing
# that is done already.
#
#   tools/venv.sh PYTHON VENV GROUP...
set -eu
python=$1
venv=$2
shift 2
root=$(cd "$(dirname "$0")/.." && pwd)

which_one='import sys; print(sys.version, sys.base_prefix)'
if [ "$("$venv/bin/python" -c "$which_one" 2>/dev/null || true)" != \
    "$("$python" -c "$which_one")" ]; then
    echo "venv: making $venv with $("$python" -V)"
    "$python" -m venv --clear "$venv"
fi

requirements() {
    "$venv/bin/python" - "$root/pyproject.toml" "$@" <<'READ'
import sys, tomllib
with open(sys.argv[1], "rb") as file:
    config = tomllib.load(file)
groups = config["project"]["optional-dependencies"]
wanted = set(config["build-system"]["requires"])
wanted.update(*(groups[name] for name in sys.argv[2:]))
print(*sorted(wanted), sep="\n")
READ
}

for group in "$@"; do
    wanted=$(requirements "$group")
    stamp=$venv/.installed-$group
    [ "$wanted" != "$(cat "$stamp" 2>/dev/null || true)" ] || continue
    echo "venv: installing" $wanted
    printf '%s\n' "$wanted" >"$stamp.txt"
    "$venv/bin/python" -m pip install --quiet --disable-pip-version-check \
        -r "$stamp.txt"
    mv "$stamp.txt" "$stamp"
done

# One line in a .pth file is all that "installed in place" has to mean: the
# extension is built into the package folder, and nothing is built twice.  The
# other line is what an installed package has in a .pth file of its own.
site=$("$venv/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
{
    printf '%s\n' "$root"
    cat "$root/trio_asyncio_c/_startup.pth"
} >"$site/trio_asyncio_c.pth"
