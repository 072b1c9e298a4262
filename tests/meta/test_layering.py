"""Includes point down only: base < poll < core < aio < net < cross < module."""

from __future__ import annotations

import re

import pytest

from ._sources import CSRC, c_files, name, without_comments

LAYERS = ["base", "poll", "core", "aio", "net", "cross", "module"]
INCLUDE = re.compile(r"^[ \t]*#[ \t]*include[ \t]*(\S+)", re.MULTILINE)

every_file = pytest.mark.parametrize("path", c_files(), ids=name)


def rank(file_name: str) -> int:
    """Return how high the layer of a file is.

    state.h may be included by all, so it ranks lowest; what else is in no
    layer's folder (module.c, unity.c) ranks highest.
    """
    if file_name == "state.h":
        return 0
    folder, slash, _ = file_name.partition("/")
    return LAYERS.index(folder if slash else "module")


def includes(path) -> list[str]:
    """Return what a file includes, with its quotes or brackets."""
    text = without_comments(path.read_text(), keep_strings=True)
    return INCLUDE.findall(text)


def own_includes(path) -> list[str]:
    return [target[1:-1] for target in includes(path) if target[0] == '"']


@every_file
def test_folder_is_a_layer(path):
    folder, slash, rest = name(path).partition("/")
    assert not slash or (folder in LAYERS[:-1] and "/" not in rest)


@every_file
def test_includes_are_named_from_csrc(path):
    for target in own_includes(path):
        assert (CSRC / target).is_file(), f'no "{target}" under csrc/'


@every_file
def test_includes_point_down(path):
    here = rank(name(path))
    upward = [target for target in own_includes(path) if rank(target) > here]
    assert not upward, f"{name(path)} includes from a layer above its own"


@every_file
def test_only_the_unity_build_includes_sources(path):
    if name(path) == "unity.c":
        return
    assert not [target for target in own_includes(path) if target.endswith(".c")]


@every_file
def test_only_poll_includes_libev(path):
    libev = [target for target in includes(path) if target in {"<ev.h>", '"ev.h"'}]
    assert not libev or name(path).startswith("poll/")


def test_unity_build_has_every_source():
    unity = CSRC / "unity.c"
    everything = {name(path) for path in c_files(".c")} - {"unity.c"}
    assert set(own_includes(unity)) >= everything


@pytest.mark.parametrize(
    "path", [path for path in c_files() if name(path).startswith("core/")], ids=name
)
def test_core_knows_nothing_of_asyncio(path):
    """Not even in a comment: the core is Trio's semantics and nothing else.

    The package's own name, which types carry, does not count.
    """
    lines = path.read_text().replace("trio_asyncio_c", "").splitlines()
    found = [n for n, line in enumerate(lines, 1) if "asyncio" in line.lower()]
    assert not found, f"{name(path)} says asyncio on lines {found}"
