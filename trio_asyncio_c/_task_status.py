"""How a task that was started by `Nursery.start` reports that it is ready."""

from __future__ import annotations

from typing import Final, Protocol, TypeVar, overload

__all__ = ["TASK_STATUS_IGNORED", "TaskStatus"]

StatusT_contra = TypeVar("StatusT_contra", contravariant=True)


class TaskStatus(Protocol[StatusT_contra]):
    """What a function that is run by `Nursery.start` gets as its keyword
    argument ``task_status``.

    Only for annotations: the object itself comes from the nursery.
    """

    @overload
    def started(self: TaskStatus[None]) -> None: ...

    @overload
    def started(self, value: StatusT_contra) -> None: ...

    def started(self, value: StatusT_contra | None = None) -> None:
        """Report that the task is ready, and make it a child of the nursery
        that it was started in.

        Not a checkpoint. To be called once, in the task or by somebody that
        the task passed the object to.

        Args:
          value: what `Nursery.start` is to return.

        Raises:
          RuntimeError: if it was called before.
        """


class _TaskStatusIgnored:
    __slots__ = ()

    def __repr__(self) -> str:
        return "TASK_STATUS_IGNORED"

    def started(self, value: object = None) -> None:
        """Nobody waits for it."""


TASK_STATUS_IGNORED: Final[TaskStatus[object]] = _TaskStatusIgnored()
"""The default for a parameter ``task_status``, for functions that are run by
`Nursery.start_soon` as well.
"""
