"""Builds the one extension, trio_asyncio_c._core, against the system's libev.

The rest of the configuration is in pyproject.toml.  Environment variables:

TAC_DEBUG=1         no optimisation, asserts and expensive checks, -Werror
TAC_SANITIZE=LIST   compile with -fsanitize=LIST, e.g. address,undefined
TAC_COVERAGE=1      count executed lines for gcov
TAC_UNITY=0         one object a source file instead of csrc/unity.c alone
LIBEV_DIR=PREFIX    where libev is, if not in one of the usual places
"""

import os
import shlex
import subprocess
import sys
import sysconfig
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext
from setuptools.command.build_py import build_py

FLAGS = """-std=c11 -fvisibility=hidden -Wall -Wextra -Wno-unused-parameter
-Wno-missing-field-initializers -Wno-cast-function-type""".split()
UNIT = ["csrc/unity.c"]
BUILDING = {"build", "build_ext", "bdist_wheel", "editable_wheel", "install"}
NO_LIBEV = (
    "trio_asyncio_c needs libev's header ev.h: install libev-dev on Debian and "
    "Ubuntu, libev-devel on Fedora, or on macOS brew install libev (or set "
    "LIBEV_DIR to the prefix where it is)."
)
NO_COMPILER = (
    "trio_asyncio_c is built from C, and there is no compiler {!r}: install "
    "gcc with the system's packages (on macOS run xcode-select --install)."
)


def switch(name, default="0"):
    return os.environ.get(name, default) not in ("", "0")


DEBUG = switch("TAC_DEBUG")
COVERAGE = switch("TAC_COVERAGE")
UNITY = switch("TAC_UNITY", "1")
SANITIZE = os.environ.get("TAC_SANITIZE", "")


def build_base():
    """Name a folder for these switches and this interpreter's ABI."""
    parts = ["debug"] * DEBUG + ["coverage"] * COVERAGE + ["split"] * (not UNITY)
    name = "-".join(filter(None, parts + SANITIZE.split(","))) or "release"
    return f"build/{name}-{sysconfig.get_config_var('SOABI')}"


def compiler_finds_libev():
    cc = os.environ.get("CC") or sysconfig.get_config_var("CC") or "cc"
    command = shlex.split(f"{cc} {os.environ.get('CPPFLAGS', '')}")
    command += ["-E", "-include", "ev.h", "-xc", os.devnull]
    try:
        return subprocess.run(command, capture_output=True).returncode == 0
    except FileNotFoundError:
        sys.exit(NO_COMPILER.format(command[0]))


def find_libev():
    """Return the include and library folders to add, or exit with a sentence."""
    prefixes = [os.environ.get("LIBEV_DIR", "")]
    if prefixes == [""]:
        if compiler_finds_libev():
            return [], []
        prefixes = ["/usr", "/usr/local", "/opt/homebrew", "/opt/local"]
    for prefix in prefixes:
        for folder in (f"{prefix}/include", f"{prefix}/include/libev"):
            if os.path.exists(f"{folder}/ev.h"):
                return [folder], [f"{prefix}/lib"] if prefix != "/usr" else []
    sys.exit(NO_LIBEV)


def compile_flags():
    if not (DEBUG or COVERAGE or SANITIZE):
        return [*FLAGS, "-O3", "-fno-plt"]
    # Fortified functions need -O, and hide errors from the sanitizers.
    flags = [*FLAGS, *"-g3 -UNDEBUG -U_FORTIFY_SOURCE".split()]
    flags += ["-O0" if DEBUG or COVERAGE else "-O1", "-fno-omit-frame-pointer"]
    flags += ["-Werror", "-DTAC_DEBUG_CHECKS=1"] * DEBUG
    flags += ["-fno-sanitize-recover=all", "-DTAC_SANITIZE=1"] * bool(SANITIZE)
    return flags


def core_extension():
    files = sorted(map(str, Path("csrc").rglob("*.[ch]")))
    split = [file for file in files if file.endswith(".c") and file not in UNIT]
    building = BUILDING.intersection(sys.argv)
    include_dirs, library_dirs = find_libev() if building else ([], [])
    instruments = ["--coverage"] * COVERAGE
    instruments += [f"-fsanitize={SANITIZE}"] * bool(SANITIZE)
    return Extension(
        "trio_asyncio_c._core",
        sources=UNIT if UNITY else split,
        depends=[*files, "setup.py"],
        include_dirs=["csrc", *include_dirs],
        libraries=["ev"],
        library_dirs=library_dirs,
        runtime_library_dirs=library_dirs,
        extra_compile_args=compile_flags() + instruments,
        extra_link_args=instruments,
    )


class BuildExt(build_ext):
    def copy_extensions_to_source(self):
        self.force = True  # one variant replaces another, even a newer one
        super().copy_extensions_to_source()


class BuildPy(build_py):
    """Adds the .pth file that looks at TRIO_ASYNCIO_C_TRIO when Python starts."""

    def startup_file(self):
        return os.path.join(self.build_lib, "trio_asyncio_c_startup.pth")

    def run(self):
        super().run()
        if not self.editable_mode:
            self.copy_file("trio_asyncio_c/_startup.pth", self.startup_file())

    def get_outputs(self, include_bytecode=1):
        outputs = super().get_outputs(include_bytecode)
        return outputs if self.editable_mode else [*outputs, self.startup_file()]


setup(
    cmdclass={"build_ext": BuildExt, "build_py": BuildPy},
    ext_modules=[core_extension()],
    options={"build": {"build_base": build_base()}},
)
