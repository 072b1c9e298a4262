"""Ctrl-C: when it is raised at once, and when it has to wait.

A KeyboardInterrupt that is raised between two arbitrary bytecodes breaks
whatever keeps an invariant there. So code can be marked as protected, by its
code object; the signal handler walks the interrupted stack and the first
marked frame decides. A frame of the scheduler's counts as protected, a task's
own as the task says (system tasks are, others are not).

If the interrupted code is protected, the interrupt is delivered to the main
task at its next checkpoint instead.
"""

from __future__ import annotations

import signal
import sys
import threading
import weakref
from typing import TYPE_CHECKING, Any, TypeVar

from . import _core

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import CodeType, FrameType

__all__ = [
    "KIManager",
    "currently_ki_protected",
    "disable_ki_protection",
    "enable_ki_protection",
]

F = TypeVar("F", bound="Callable[..., Any]")


class _CodeMarks:
    """Marks on code objects, by identity.

    Code objects compare by value, so that two closures' equal code would
    share a mark in a WeakKeyDictionary.
    """

    def __init__(self) -> None:
        self._marks: dict[int, tuple[weakref.ref[CodeType], bool]] = {}

    def set(self, code: CodeType, protected: bool) -> None:
        key = id(code)

        def forget(_: object, marks: dict[int, Any] = self._marks) -> None:
            marks.pop(key, None)

        self._marks[key] = (weakref.ref(code, forget), protected)

    def get(self, code: CodeType) -> bool | None:
        entry = self._marks.get(id(code))
        return None if entry is None else entry[1]

    def items(self) -> list[tuple[CodeType, bool]]:
        return [
            (code, protected)
            for ref, protected in self._marks.values()
            if (code := ref()) is not None
        ]


_marks: Any = _CodeMarks()


def share_marks(marks: Any) -> None:
    """Keep the marks in another object from now on, which has get() and set()
    as well.
    """
    global _marks
    for code, protected in _marks.items():
        marks.set(code, protected)
    _marks = marks


def _mark(function: F, protected: bool) -> F:
    """Mark a function's code, made its own first."""
    target: Any = getattr(function, "__wrapped__", function)
    if not hasattr(target, "__code__"):
        target = function
    code = target.__code__.replace()
    _marks.set(code, protected)
    target.__code__ = code
    return function


def enable_ki_protection(function: F) -> F:
    """Decorate a function: Ctrl-C waits while it runs.

    The KeyboardInterrupt is raised in the main task at its next checkpoint.
    Works for functions, generators, async functions and async generators.

    Returns:
      the function itself.
    """
    return _mark(function, True)


def disable_ki_protection(function: F) -> F:
    """Decorate a function: Ctrl-C is raised at once while it runs.

    Returns:
      the function itself.
    """
    return _mark(function, False)


def in_main_thread() -> bool:
    """Return whether this is the thread in which signals are handled."""
    # current_thread() would make up an object for a thread that Python did not
    # start.
    if threading.get_ident() != threading.main_thread().ident:
        return False
    handler = signal.getsignal(signal.SIGINT)
    try:
        if handler is not None:  # one of C's cannot be set again
            signal.signal(signal.SIGINT, handler)
    except ValueError:  # in a subinterpreter
        return False
    return True


def _running_task() -> Any:
    try:
        return _core.entered_task()
    except RuntimeError:
        return None


def is_protected(frame: FrameType | None) -> bool:
    """Return whether Ctrl-C has to wait for the code that ``frame`` runs."""
    task = _running_task()
    task_frame = getattr(getattr(task, "coro", None), "cr_frame", None)
    while frame is not None:
        if frame.f_code.co_name == "__del__":
            return True
        mark = _marks.get(frame.f_code)
        if mark is not None:
            return bool(mark)
        if frame is task_frame:
            return bool(task._ki_protected)
        frame = frame.f_back
    return True


def currently_ki_protected() -> bool:
    """Return whether Ctrl-C would have to wait in the calling code."""
    return is_protected(sys._getframe())


class KIManager:
    """The SIGINT handler of one run.

    It is only installed in the main thread, and only where SIGINT has
    Python's default handler: what the user chose stays.
    """

    def __init__(self) -> None:
        self._handler: Callable[[int, FrameType | None], None] | None = None

    def install(self, deliver: Callable[[], object], restricted: bool) -> None:
        """Install the handler.

        Args:
          deliver: called when the interrupt has to wait.
          restricted: let it always wait for a checkpoint.
        """
        if (
            not in_main_thread()
            or signal.getsignal(signal.SIGINT) != signal.default_int_handler
        ):
            return

        @enable_ki_protection
        def handler(signum: int, frame: FrameType | None) -> None:
            if restricted or is_protected(frame):
                deliver()
            else:
                raise KeyboardInterrupt

        signal.signal(signal.SIGINT, handler)
        self._handler = handler

    def close(self) -> None:
        """Restore the default handler, unless somebody else's is there now."""
        handler, self._handler = self._handler, None
        if handler is not None and signal.getsignal(signal.SIGINT) is handler:
            signal.signal(signal.SIGINT, signal.default_int_handler)
