"""What the C loop has Python do: error reports, reprs and warnings, in the standard
library's own words.

All of this is cold: it runs once an error, or in debug mode.
"""

from __future__ import annotations

import asyncio
import socket
from asyncio import base_events, format_helpers
from typing import Any

from . import _core
from . import _task_scopes  # noqa: F401  (hands the core its functions too)

__all__ = ["raise_from_loop"]

# Newer point releases pass the loop's debug flag on, so that arguments are shown in
# debug mode only.
_FORMAT_TAKES_DEBUG = (
    "debug" in format_helpers._format_callback_source.__code__.co_varnames
)


def _format_callback(handle: Any) -> str:
    options = {"debug": handle._loop.get_debug()} if _FORMAT_TAKES_DEBUG else {}
    return format_helpers._format_callback_source(
        handle._callback, handle._args, **options
    )


def raise_from_loop(exc: BaseException) -> None:
    """Be a callback whose exception, of whatever class, leaves `run_forever`."""
    raise exc


def report_callback_error(handle: Any, exc: BaseException) -> None:
    """Hand what a callback raised to its loop's exception handler."""
    if handle._callback is raise_from_loop:
        raise exc
    context: dict[str, Any] = {
        "message": f"Exception in callback {_format_callback(handle)}",
        "exception": exc,
        "handle": handle,
    }
    if handle._source_traceback:
        context["source_traceback"] = handle._source_traceback
    handle._loop.call_exception_handler(context)


def format_source(handle: Any) -> list[str]:
    """Return the words of a handle's repr."""
    return asyncio.Handle._repr_info(handle)  # type: ignore[attr-defined, no-any-return]


def warn_slow_callback(handle: Any, seconds: float) -> None:
    """Log that a callback kept the loop for long."""
    # Both are looked up there at each call, for tests replace them.
    asyncio_internals: Any = base_events
    described = asyncio_internals._format_handle(handle)
    asyncio_internals.logger.warning(
        "Executing %s took %.3f seconds", described, seconds
    )


class _ProbeLoop:
    """As much of a loop as a new Task needs; the C code is shown what it schedules."""

    call_soon = _core.learn_asyncio

    def get_debug(self) -> bool:
        return False

    def is_running(self) -> bool:
        return False


async def _do_nothing() -> None:
    pass


def learn_asyncio() -> None:
    """Show the C code what this interpreter's Tasks pass to `call_soon`."""
    coro = _do_nothing()
    # With a name, or it would take "Task-1" away from the program's first one.
    task: Any = asyncio.Task(coro, loop=_ProbeLoop(), name="probe")  # type: ignore[arg-type]
    task._log_destroy_pending = False
    coro.close()


_core._set_hooks(
    handle_context=report_callback_error,
    format_source=format_source,
    slow_callback=warn_slow_callback,
)
learn_asyncio()
if socket.socket.__base__ is socket.SocketType:  # or somebody has replaced the class
    _core.learn_socket(socket.socket)
