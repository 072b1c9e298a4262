"""Telling anyio of our backend."""

from __future__ import annotations

import importlib
import importlib.metadata
import sys
from importlib.machinery import ModuleSpec, PathFinder
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from types import ModuleType

__all__ = ["install_anyio"]

SUPPORTED_ANYIO = ("4.15", "4.16")
"""The minor versions of anyio whose inside is known to fit."""

NAME = "trio_asyncio_c"
"""What programs call the backend."""

MODULE = f"anyio._backends._{NAME}"
"""What anyio imports for that name."""


def _check_version() -> None:
    version = importlib.metadata.version("anyio")
    if ".".join(version.split(".")[:2]) not in SUPPORTED_ANYIO:
        raise ImportError(
            f"anyio {version} does not fit trio_asyncio_c, which knows the inside of "
            f"anyio {', '.join(SUPPORTED_ANYIO)} only; install one of these, or use "
            "anyio's own backend, 'asyncio' without install_anyio()",
            name="anyio",
        )


class _Finder:
    """Finds the module of our backend, when anyio asks for it, and nothing else."""

    @staticmethod
    def find_spec(
        name: str, path: object = None, target: object = None
    ) -> ModuleSpec | None:
        return ModuleSpec(name, _Loader) if name == MODULE else None  # type: ignore[arg-type]


class _Loader:
    """Loads anyio's backend for asyncio a second time, and makes it ours.

    So its import is the lock of whoever else wants it in the meantime.
    """

    @staticmethod
    def create_module(spec: ModuleSpec) -> ModuleType | None:
        adapted = sys.modules.get(f"{__package__}._anyio_backend")
        return getattr(adapted, "_second", None)

    @staticmethod
    def exec_module(module: ModuleType) -> None:
        if hasattr(module, "backend_class"):
            return
        _check_version()
        import anyio._backends

        # Not by whoever else finds modules: pytest's finder has no code to give.
        first = PathFinder.find_spec(
            "anyio._backends._asyncio", anyio._backends.__path__
        )
        loader: Any = first.loader if first is not None else None
        if first is None or not hasattr(loader, "get_code"):
            raise ImportError("anyio's backend for asyncio cannot be loaded again")
        module.__file__ = first.origin
        exec(loader.get_code(first.name), vars(module))
        from . import _anyio_backend  # noqa: F401  (it changes the module)


def add_finder() -> None:
    """Let anyio find the backend by its name; a finder that is there already, maybe
    that of an earlier import of this module, is replaced."""
    for index, finder in enumerate(sys.meta_path):
        names = getattr(finder, "__module__", None), getattr(finder, "__name__", None)
        if names == (__name__, _Finder.__name__):
            sys.meta_path[index] = _Finder
            return
    sys.meta_path.append(_Finder)


def install_anyio() -> None:
    """Let anyio use this package's cancel scopes wherever our loop runs.

    Then what code in asyncio Tasks of any of our loops takes from anyio (cancel scopes,
    task groups, streams and so on) is on the core: so it is for libraries on anyio, such
    as httpx, Starlette and FastAPI. On other loops, and in Trio-flavoured code, nothing
    changes. Calling it again changes nothing.

    ``anyio.run(main, backend="trio_asyncio_c")`` and its like need no call of this.

    Raises:
      ImportError: if there is no ``anyio``, or of a version that does not fit.

    Not thread-safe.
    """
    import anyio  # noqa: F401  (its absence is anyio's to tell)

    _check_version()
    from anyio._core._eventloop import loaded_backends

    add_finder()
    loaded_backends[NAME] = importlib.import_module(MODULE).backend_class
    from ._anyio_backend import ByLoop

    loaded_backends["asyncio"] = ByLoop


add_finder()
