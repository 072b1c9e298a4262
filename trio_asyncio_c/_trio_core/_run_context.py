"""``trio._core._run_context``: the thread's runner and task.

The core keeps both. This object shows them as attributes, which can be set
and deleted, and as a ``__dict__``, by which libraries save, clear and restore
both to nest a run in another one or to switch greenlets.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from trio_asyncio_c import _core

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

_NAMES = ("runner", "task")


class _ContextDict:
    """The attributes as a mapping; changes go through to the core."""

    def __getitem__(self, name: str) -> Any:
        try:
            return getattr(GLOBAL_RUN_CONTEXT, name)
        except AttributeError:
            raise KeyError(name) from None

    def __setitem__(self, name: str, value: object) -> None:
        setattr(GLOBAL_RUN_CONTEXT, name, value)

    def __delitem__(self, name: str) -> None:
        try:
            delattr(GLOBAL_RUN_CONTEXT, name)
        except AttributeError:
            raise KeyError(name) from None

    def __iter__(self) -> Iterator[str]:
        return (name for name in _NAMES if hasattr(GLOBAL_RUN_CONTEXT, name))

    def __len__(self) -> int:
        return len(list(iter(self)))

    def __contains__(self, name: object) -> bool:
        return name in list(iter(self))

    def __eq__(self, other: object) -> bool:
        return self.copy() == other

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return repr(self.copy())

    def keys(self) -> list[str]:
        """Return the names that are set."""
        return list(self)

    def values(self) -> list[Any]:
        """Return their values."""
        return [self[name] for name in self]

    def items(self) -> list[tuple[str, Any]]:
        """Return both."""
        return [(name, self[name]) for name in self]

    def get(self, name: str, default: object = None) -> Any:
        """Return one value, or the default."""
        return getattr(GLOBAL_RUN_CONTEXT, name, default)

    def pop(self, name: str, *default: object) -> Any:
        """Delete one name and return its value."""
        try:
            value = self[name]
        except KeyError:
            if not default:
                raise
            return default[0]
        del self[name]
        return value

    def copy(self) -> dict[str, Any]:
        """Return a plain dict of what is set."""
        return dict(self.items())

    def clear(self) -> None:
        """Leave the run, as far as this thread knows."""
        _core._set_context_runner(None)

    def update(
        self,
        other: Mapping[str, Any] | Iterable[tuple[str, Any]] = (),
        **names: object,
    ) -> None:
        """Set what ``other`` has; the runner first, for the task is the
        runner's.
        """
        merged = dict(other, **names)
        for name in _NAMES:
            if name in merged:
                setattr(GLOBAL_RUN_CONTEXT, name, merged[name])


class RunContext:
    """Has an attribute ``runner`` inside of a run, and ``task`` in a task."""

    __slots__ = ()

    @property
    def runner(self) -> _core.Runner:
        runner = _core._get_context_runner()
        if runner is None:
            raise AttributeError("there is no run in this thread")
        return runner

    @runner.setter
    def runner(self, runner: _core.Runner) -> None:
        _core._set_context_runner(runner)

    @runner.deleter
    def runner(self) -> None:
        self.runner  # raises AttributeError where there is none
        _core._set_context_runner(None)

    @property
    def task(self) -> _core.Task:
        task = _core._get_context_task()
        if task is None:
            raise AttributeError("there is no running task in this thread")
        return task

    @task.setter
    def task(self, task: _core.Task) -> None:
        _core._set_context_task(task)

    @task.deleter
    def task(self) -> None:
        self.task  # as above
        _core._set_context_task(None)

    @property
    def __dict__(self) -> _ContextDict:  # type: ignore[override]
        return _ContextDict()


GLOBAL_RUN_CONTEXT: Final = RunContext()
