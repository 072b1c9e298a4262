"""Telling anyio of our backend."""

from __future__ import annotations

import importlib.metadata

__all__ = ["install_anyio"]

SUPPORTED_ANYIO = ("4.15", "4.16")
"""The minor versions of anyio whose inside is known to fit."""


def _check_version() -> None:
    version = importlib.metadata.version("anyio")
    if ".".join(version.split(".")[:2]) not in SUPPORTED_ANYIO:
        raise ImportError(
            f"anyio {version} does not fit trio_asyncio_c, which knows the inside of "
            f"anyio {', '.join(SUPPORTED_ANYIO)} only; install one of these, or use "
            "anyio's own backend, without install_anyio()",
            name="anyio",
        )


def install_anyio() -> None:
    """Let anyio use this package's cancel scopes wherever our loop runs.

    Then ``anyio.run(main, backend="trio_asyncio_c")`` runs on a loop of ours, and what
    code in asyncio Tasks of any of our loops takes from anyio (cancel scopes, task
    groups, streams and so on) is on the core: so it is for libraries on anyio, such as
    httpx, Starlette and FastAPI. On other loops, and in Trio-flavoured code, nothing
    changes. Calling it again changes nothing.

    Raises:
      ImportError: if there is no ``anyio``, or of a version that does not fit.

    Not thread-safe.
    """
    import anyio  # noqa: F401  (its absence is anyio's to tell)

    _check_version()
    from anyio._core._eventloop import loaded_backends

    from . import _anyio_backend

    loaded_backends[_anyio_backend.NAME] = _anyio_backend.Backend
    loaded_backends["asyncio"] = _anyio_backend.ByLoop
