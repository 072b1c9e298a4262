#!/bin/sh
# Build a variant of the extension (the TAC_ variables of setup.py say which)
# and run the tests on it.  It is built beside the normal one, not over it:
# build/variants/NAME/lib has a copy of the package with the variant's
# extension, NAME/venv an environment that finds that copy, and no other.
#
#   TAC_DEBUG=1 tools/test-variant.sh VENV [pytest arguments, absolute paths]
set -eu
venv=$1
shift
root=$(cd "$(dirname "$0")/.." && pwd)
cd "$root"
soabi=$("$venv/bin/python" -c 'import sysconfig; print(sysconfig.get_config_var("SOABI"))')
# All of the TAC_ variables are in the name, so that no two variants share it.
name=$(env | sed -n 's/^TAC_//p' | sort | tr 'A-Z\n=,' 'a-z---')$soabi
base=$root/build/variants/$name
lib=$base/lib

echo "variant: building $name"
# The build only adds and updates; a module that is gone must go here too.
[ ! -d "$lib" ] || find "$lib" -name '*.py' -exec rm {} +
"$venv/bin/python" setup.py --quiet build --build-base "$base" --build-lib "$lib"

# The tests' own requirements come from VENV.  A .pth file's lines are added
# to the path without reading the .pth files there, so VENV's own line, which
# points to the normal build, does not count.
"$venv/bin/python" -m venv --without-pip --clear "$base/venv"
python=$base/venv/bin/python
purelib='import sysconfig; print(sysconfig.get_path("purelib"))'
{
    echo "$lib"
    "$venv/bin/python" -c "$purelib"
} >"$("$python" -c "$purelib")/variant.pth"

preload=
case ${TAC_SANITIZE:-} in
*address*) preload=$(${CC:-cc} -print-file-name=libasan.so) ;;
*thread*) preload=$(${CC:-cc} -print-file-name=libtsan.so) ;;
esac
if [ -n "$preload" ]; then
    # CPython leaves objects behind at exit, hence no leak detection; its
    # small-object allocator would hide overruns, hence malloc.
    export LD_PRELOAD="$preload" PYTHONMALLOC=malloc
    export ASAN_OPTIONS="${ASAN_OPTIONS:-detect_leaks=0:abort_on_error=1:allow_user_segv_handler=0}"
    export UBSAN_OPTIONS="${UBSAN_OPTIONS:-print_stacktrace=1:abort_on_error=1}"
    set -- -o faulthandler_timeout=300 "$@"
fi

# Not in the root: a child process that a test starts would import from there.
cd "$lib"
exec "$python" -m pytest -c "$root/pyproject.toml" --rootdir "$root" \
    -o "cache_dir=$base/pytest_cache" "$@"
