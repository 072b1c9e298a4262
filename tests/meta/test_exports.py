"""Every public name exists, is documented, and says where it is public."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import types

import pytest
import trio_asyncio_c
from trio_asyncio_c._core import AsyncFunction

# A pytest plugin: nothing to import from, and importing it is what it is for.
PLUGIN = "pytest_trio"
MODULES = ["trio_asyncio_c"] + [
    f"trio_asyncio_c.{info.name}"
    for info in pkgutil.iter_modules(trio_asyncio_c.__path__)
    if not info.name.startswith("_") and info.name != PLUGIN
]


def exports(module_name: str) -> list[str]:
    return list(importlib.import_module(module_name).__all__)


every_module = pytest.mark.parametrize("module_name", MODULES)
every_name = pytest.mark.parametrize(
    ("module_name", "name"),
    [(module, name) for module in MODULES for name in exports(module)],
)


@every_module
def test_module_is_documented(module_name):
    assert importlib.import_module(module_name).__doc__


@every_module
def test_all_is_sorted_and_has_no_duplicates(module_name):
    names = exports(module_name)
    assert names == sorted(set(names))


@every_name
def test_name_exists_and_is_documented(module_name, name):
    value = getattr(importlib.import_module(module_name), name)
    # A value (a ContextVar, a number) has its type's documentation only.
    documented = (type, types.FunctionType, types.BuiltinFunctionType, AsyncFunction)
    if isinstance(value, documented) or inspect.ismodule(value):
        assert value.__doc__ and value.__doc__.strip()


@every_name
def test_class_is_shown_under_a_public_name(module_name, name):
    value = getattr(importlib.import_module(module_name), name)
    if inspect.isclass(value) and value.__module__.startswith("trio_asyncio_c"):
        assert "._" not in value.__module__


@every_module
def test_nothing_private_is_exported(module_name):
    private = [
        name
        for name in exports(module_name)
        if name.startswith("_") and not name.startswith("__")
    ]
    assert not private
