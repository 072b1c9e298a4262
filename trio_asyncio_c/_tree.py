"""The tree of all tasks of a run, both flavours in one."""

from __future__ import annotations

import asyncio
import re
from typing import TYPE_CHECKING, Any

from . import _core

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["format_task_tree"]


def _natural_order(task: asyncio.Task[Any]) -> list[tuple[int, str]]:
    """A sorting key by which Task-2 comes before Task-10."""
    parts = re.split(r"(\d+)", task.get_name())
    return [(int(part), "") if part.isdigit() else (-1, part) for part in parts]


def _asyncio_tasks(task: Any) -> list[asyncio.Task[Any]]:
    """The asyncio Tasks that a loop's host task steps, oldest name first."""
    owner = getattr(task, "owner", None)
    if not isinstance(owner, asyncio.AbstractEventLoop) or owner.is_closed():
        return []
    if not task.name.startswith("<asyncio event loop"):
        return []
    return sorted(asyncio.all_tasks(owner), key=_natural_order)


def _describe_asyncio_task(task: asyncio.Task[Any]) -> str:
    coro: Any = task.get_coro()
    name = getattr(coro, "__qualname__", None) or repr(coro)
    return f"asyncio task {task.get_name()}: {name}"


def _lines(task: Any, indent: str) -> Iterator[str]:
    children: list[list[Any]] = [
        sorted(nursery.child_tasks, key=lambda child: child.name)
        for nursery in task.child_nurseries
    ]
    for number, tasks in enumerate(children):
        last_nursery = number == len(children) - 1
        yield f"{indent}{'└─' if last_nursery else '├─'} nursery"
        inner = indent + ("   " if last_nursery else "│  ")
        for position, child in enumerate(tasks):
            last = position == len(tasks) - 1
            yield f"{inner}{'└─' if last else '├─'} {child.name}"
            yield from _lines(child, inner + ("   " if last else "│  "))
    hosted = _asyncio_tasks(task)
    for position, aio_task in enumerate(hosted):
        last = position == len(hosted) - 1
        description = _describe_asyncio_task(aio_task)
        yield f"{indent}{'└─' if last else '├─'} {description}"


def format_task_tree(root: Any = None) -> str:
    """Return the tree of live tasks as lines of text.

    Coroutine tasks, tasks in C (event loops, their readers, jobs in threads)
    and under each event loop its asyncio Tasks.

    Args:
      root: the task to begin with; None: the root of the current run.

    Raises:
      RuntimeError: there is no current run, and no root was given.

    Checkpoint: no. Thread-safe: no.
    """
    if root is None:
        root = _core.current_root_task()
    return "\n".join([root.name, *_lines(root, "")])
