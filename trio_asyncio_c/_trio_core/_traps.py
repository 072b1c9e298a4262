"""``trio._core._traps``: how a task goes to sleep.

The functions are the core's. What Trio's own yield to its scheduler are
classes that other libraries import and yield themselves: the scheduler takes
them from there as well, by `trap_for`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NoReturn, TypeAlias

from trio_asyncio_c import _core
from trio_asyncio_c._core import (
    cancel_shielded_checkpoint as cancel_shielded_checkpoint,
    permanently_detach_coroutine_object as permanently_detach_coroutine_object,
    reattach_detached_coroutine_object as reattach_detached_coroutine_object,
    temporarily_detach_coroutine_object as temporarily_detach_coroutine_object,
    wait_task_rescheduled as wait_task_rescheduled,
)
from trio_asyncio_c._exceptions import Abort

RaiseCancelT: TypeAlias = Callable[[], NoReturn]


class CancelShieldedCheckpoint:
    """Yielded as a class: run the task again in the next turn."""

    __slots__ = ()


class WaitTaskRescheduled:
    """Yielded as an object: let the task sleep until it is rescheduled."""

    def __init__(self, abort_func: Callable[[RaiseCancelT], Abort]) -> None:
        self.abort_func = abort_func


class PermanentlyDetachCoroutineObject:
    """Yielded as an object: end the task, but not its coroutine."""

    def __init__(self, final_outcome: Any) -> None:
        self.final_outcome = final_outcome


MessageType: TypeAlias = (
    type[CancelShieldedCheckpoint]
    | WaitTaskRescheduled
    | PermanentlyDetachCoroutineObject
    | object
)


def _python_faces() -> list[Any]:
    """Return the traps as Python functions.

    They are what `inspect` finds behind the core's functions: debuggers want a
    code object to know a trap by, and C has none.
    """

    async def cancel_shielded_checkpoint() -> None:
        await _core.cancel_shielded_checkpoint()

    async def permanently_detach_coroutine_object(final_outcome: Any) -> object:
        return await _core.permanently_detach_coroutine_object(final_outcome)

    async def reattach_detached_coroutine_object(
        task: _core.Task, yield_value: object
    ) -> None:
        await _core.reattach_detached_coroutine_object(task, yield_value)

    async def temporarily_detach_coroutine_object(
        abort_func: Callable[[RaiseCancelT], Abort],
    ) -> object:
        return await _core.temporarily_detach_coroutine_object(abort_func)

    async def wait_task_rescheduled(
        abort_func: Callable[[RaiseCancelT], Abort],
    ) -> Any:
        return await _core.wait_task_rescheduled(abort_func)

    return list(locals().values())


def _stackscope_install_glue_() -> None:
    """Called by stackscope, if the program uses it: show what a task waits for
    by the frame of its Python face, which stackscope knows to leave out.
    """
    from stackscope import unwrap_stackitem

    @unwrap_stackitem.register(_core.Trap)  # type: ignore[untyped-decorator, unused-ignore]
    def unwrap_trap(trap: _core.Trap) -> Any:
        face = _core.wait_task_rescheduled.__wrapped__  # type: ignore[attr-defined]
        coroutine = face(lambda _: Abort.FAILED)
        frame = coroutine.cr_frame
        coroutine.close()
        return frame


Abort.__module__ = __name__
for _face in _python_faces():
    _trap = getattr(_core, _face.__name__)
    _trap.__wrapped__ = _face
    _trap.__module__ = _face.__module__ = __name__
