"""Running the unmodified ``trio`` package on the core in C.

Three of Trio's modules are its scheduler, and seven more are parts that the
core has in C as well. A finder lets their import find our files, which run as
Trio's submodules; all the rest of Trio is Trio's own.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import sys
from importlib.machinery import PathFinder
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from importlib.machinery import ModuleSpec
    from types import ModuleType

__all__ = ["install_trio"]

SUPPORTED_TRIO = ("0.34", "0.35")
"""The minor versions of Trio whose inside is known to fit."""

INHERITED_VARIABLE = "TRIO_ASYNCIO_C_TRIO"
"""Set to 1 in the environment, each Python process runs Trio on the core."""

_FOLDERS = {"trio._core": "_trio_core", "trio": "_trio_parts"}
_REPLACED = {
    f"{package}.{path.stem}": path
    for package, folder in _FOLDERS.items()
    for path in Path(__file__).with_name(folder).glob("_*.py")
    if path.stem != "__init__"
}


class _Finder:
    """Finds our files for some of Trio's modules."""

    @staticmethod
    def find_spec(
        name: str, path: object = None, target: object = None
    ) -> ModuleSpec | None:
        if name == "trio":
            return _find_trio()
        file = _REPLACED.get(name)
        if file is None:
            return None
        _check_version()
        return importlib.util.spec_from_file_location(name, file)


def _find_trio() -> ModuleSpec | None:
    """Find Trio itself, which is to name the core's functions once it is there.

    It renames its public things at the end of its own import, and would fail on
    builtin functions that said they are its own before.
    """
    spec = PathFinder.find_spec("trio")
    if spec is None or spec.loader is None:
        return spec
    execute = spec.loader.exec_module

    def exec_module(module: ModuleType) -> None:
        execute(module)
        module._core._run.name_builtin_functions()

    spec.loader.exec_module = exec_module  # type: ignore[method-assign]
    return spec


def _check_version() -> None:
    try:
        version = importlib.metadata.version("trio")
    except importlib.metadata.PackageNotFoundError:
        raise ModuleNotFoundError(
            "there is no package 'trio' to run on trio_asyncio_c's core: "
            "install it first",
            name="trio",
        ) from None
    if ".".join(version.split(".")[:2]) not in SUPPORTED_TRIO:
        raise ImportError(
            f"Trio {version} does not fit trio_asyncio_c, which knows the "
            f"inside of Trio {', '.join(SUPPORTED_TRIO)}.* only; install one "
            "of these, or use this Trio without install_trio()",
            name="trio",
        )


def is_trio_installed() -> bool:
    """Return whether Trio runs, or will run, on the core in this process."""
    return _Finder in sys.meta_path


def install_trio(*, inherit: bool = False) -> None:
    """Let the unmodified ``trio`` package run on this package's core.

    To be called before ``trio`` is imported by anybody. Calling it again
    changes nothing. Afterwards both packages' exceptions, cancel scopes,
    nurseries and tasks are the same classes, under Trio's names.

    Args:
      inherit: let Python processes that this one starts do the same, by the
        environment variable ``TRIO_ASYNCIO_C_TRIO``.

    Raises:
      RuntimeError: if ``trio`` was imported already.
      ImportError: if there is no ``trio``, or of a version that does not fit.

    Not thread-safe.
    """
    if not is_trio_installed():
        if "trio" in sys.modules:
            raise RuntimeError(
                "trio was imported before install_trio() was called: call it "
                "first in the program's main module, or start the program by "
                "'python -m trio_asyncio_c --trio'"
            )
        _check_version()
        sys.meta_path.insert(0, _Finder)
    if inherit:
        os.environ[INHERITED_VARIABLE] = "1"
