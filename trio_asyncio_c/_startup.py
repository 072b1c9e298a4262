"""Lets a Python process run Trio, asyncio's programs, or those on anyio, on the core, if
its environment says so.

Run by the one line of ``_startup.pth`` when Python starts, before anything is
imported; so it must cost nothing, and imports the package only if the process
imports Trio, asyncio or anyio.
"""

import os
import sys
from importlib.machinery import PathFinder

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from importlib.machinery import ModuleSpec
    from types import ModuleType


class _TrioFinder:
    """Waits for the import of ``trio``, and finds nothing itself."""

    @staticmethod
    def find_spec(name: str, path: object = None, target: object = None) -> None:
        if name == "trio":
            sys.meta_path.remove(_TrioFinder)
            from trio_asyncio_c import install_trio

            install_trio()


class _Follower:
    """Waits for the import of a module, and changes things once it is there."""

    def __init__(self, name: str, change: "Callable[[], None]") -> None:
        self.name = name
        self.change = change

    def find_spec(
        self, name: str, path: object = None, target: object = None
    ) -> "ModuleSpec | None":
        if name != self.name:
            return None
        sys.meta_path.remove(self)
        spec = PathFinder.find_spec(name)
        if spec is None or spec.loader is None:
            return spec
        execute = spec.loader.exec_module

        def exec_module(module: "ModuleType") -> None:
            execute(module)
            self.change()

        spec.loader.exec_module = exec_module  # type: ignore[method-assign]
        return spec


def _replace_defaults() -> None:
    from trio_asyncio_c._policy import replace_defaults

    replace_defaults()


def _install_anyio() -> None:
    from trio_asyncio_c import install_anyio

    install_anyio()


for _name, _finder in (
    ("TRIO", _TrioFinder),
    ("ASYNCIO", _Follower("asyncio", _replace_defaults)),
    ("ANYIO", _Follower("anyio", _install_anyio)),
):
    if os.environ.get("TRIO_ASYNCIO_C_" + _name) == "1":
        sys.meta_path.insert(0, _finder)
