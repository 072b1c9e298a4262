"""Async generators of a run: who closes them when nobody else does.

A generator that was first iterated in a task belongs to the run: if it is
garbage collected half way it is closed in a system task, and those that are
left at the end of the run are closed then. One that was first iterated outside
of a task belongs to whoever installed hooks before.
"""

from __future__ import annotations

import logging
import sys
import warnings
import weakref
from typing import TYPE_CHECKING, Any

from . import _core
from ._exceptions import Abort

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable

    AnyAsyncGenerator = AsyncGenerator[Any, Any]

__all__ = ["AsyncGenerators"]

_logger = logging.getLogger("trio.async_generator_errors")


def _name_of(generator: AnyAsyncGenerator) -> str:
    module = "<unknown>"
    frame = generator.ag_frame  # type: ignore[attr-defined]
    if frame is not None:
        module = frame.f_globals.get("__name__", module)
    return f"{module}.{generator.__qualname__}"  # type: ignore[attr-defined]


def _close_foreign(generator: AnyAsyncGenerator, name: str) -> None:
    """Close a generator for which nobody has a hook, if that needs no await."""
    closing = generator.aclose()
    try:
        closing.send(None)
    except StopIteration:
        return
    closing.close()
    raise RuntimeError(
        f"Non-Trio async generator {name!r} awaited something during "
        "finalization; install a finalization hook to support this, or wrap "
        "it in 'async with aclosing(...):'"
    )


class AsyncGenerators:
    """The generators of one run, and its hooks.

    Attributes:
      other_hooks: called for a generator that is not the run's; returns the
        (firstiter, finalizer) hooks to use in place of those that were
        installed before, or None.
    """

    def __init__(self) -> None:
        self.alive: Any = weakref.WeakSet()
        self.other_hooks: Callable[[], tuple[Any, Any] | None] = lambda: None
        self._foreign: dict[int, Any] = {}
        self._late: set[AnyAsyncGenerator] = set()
        self._previous: Any = None
        self._runner: Any = None

    def install_hooks(self, runner: _core.Runner) -> None:
        """Install the hooks in this thread."""
        self._runner = runner
        self._previous = sys.get_asyncgen_hooks()
        sys.set_asyncgen_hooks(firstiter=self.firstiter, finalizer=self.finalizer)

    def close(self) -> None:
        """Give the thread its previous hooks back."""
        if self._previous is not None:
            sys.set_asyncgen_hooks(*self._previous)
            self._previous = None
        self._runner = None

    def firstiter(self, generator: AnyAsyncGenerator) -> None:
        """Hook: a generator is iterated for the first time."""
        # Of one that has ended by itself, which nobody tells of, that had this id.
        self._foreign.pop(id(generator), None)
        if _core._get_context_task() is not None:
            self.alive.add(generator)
            return
        first, final = self.other_hooks() or self._previous or (None, None)
        self._foreign[id(generator)] = final
        if first is not None:
            first(generator)

    def finalizer(self, generator: AnyAsyncGenerator) -> None:
        """Hook: a generator that has not ended is garbage collected."""
        name = _name_of(generator)
        try:
            final = self._foreign.pop(id(generator))
        except KeyError:
            self._close_soon(generator, name)
        else:
            if final is not None:
                final(generator)
            else:
                _close_foreign(generator, name)

    def _close_soon(self, generator: AnyAsyncGenerator, name: str) -> None:
        runner = self._runner
        if runner is None:  # paused
            self._late.add(generator)
            return

        def spawn() -> None:
            try:
                runner.spawn_system_task(
                    self._close_one,
                    generator,
                    name,
                    name=f"close asyncgen {name} (abandoned)",
                )
            except RuntimeError:
                # The system nursery has closed already: finalize_remaining
                # comes next.
                self._late.add(generator)

        runner.run_sync_soon(spawn)
        # Last, for a warnings filter can make it raise.
        warnings.warn(
            f"Async generator {name!r} was garbage collected before it had "
            "been exhausted. Surround its use in 'async with aclosing(...):' "
            "to ensure that it gets cleaned up as soon as you're done using it.",
            ResourceWarning,
            stacklevel=2,
            source=generator,
        )

    async def finalize_remaining(self, runner: _core.Runner) -> None:
        """Close what is left; the init task calls this when only it and the
        run_sync_soon task are there.
        """
        # From here on none is garbage collected.
        self.alive = set(self.alive)
        init_task = runner.init_task
        assert init_task is not None
        runner.run_sync_soon(lambda: _core.reschedule(init_task))
        await _core.wait_task_rescheduled(lambda _: Abort.FAILED)
        self.alive.update(self._late)
        self._late.clear()
        while self.alive:
            batch, self.alive = self.alive, set()
            for generator in batch:
                await self._close_one(generator, _name_of(generator))

    async def _close_one(self, generator: AnyAsyncGenerator, name: str) -> None:
        """Close a generator without letting it block: it is cancelled from
        the start, and shielded from any other cancel.
        """
        try:
            with _core.CancelScope(shield=True) as scope:
                scope.cancel(reason="disallow async work when closing async generators")
                await generator.aclose()
        except BaseException:
            _logger.exception(
                "Exception ignored during finalization of async generator "
                "%r -- surround your use of the generator in 'async with "
                "aclosing(...):' to raise exceptions like this in the context "
                "where they're generated",
                name,
            )
