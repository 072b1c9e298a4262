"""Lets a Python process run Trio, or asyncio's programs, on the core, if its
environment says so.

Run by the one line of ``_startup.pth`` when Python starts, before anything is
imported; so it must cost nothing, and imports the package only if the process
imports Trio or asyncio.
"""

import os
import sys
from importlib.machinery import PathFinder

TYPE_CHECKING = False
if TYPE_CHECKING:
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


class _AsyncioFinder:
    """Waits for the import of ``asyncio``, and changes it once it is there."""

    @staticmethod
    def find_spec(
        name: str, path: object = None, target: object = None
    ) -> "ModuleSpec | None":
        if name != "asyncio":
            return None
        sys.meta_path.remove(_AsyncioFinder)
        spec = PathFinder.find_spec(name)
        if spec is None or spec.loader is None:
            return spec
        execute = spec.loader.exec_module

        def exec_module(module: "ModuleType") -> None:
            execute(module)
            from trio_asyncio_c._policy import replace_defaults

            replace_defaults()

        spec.loader.exec_module = exec_module  # type: ignore[method-assign]
        return spec


for _name, _finder in (("TRIO", _TrioFinder), ("ASYNCIO", _AsyncioFinder)):
    if os.environ.get("TRIO_ASYNCIO_C_" + _name) == "1":
        sys.meta_path.insert(0, _finder)
