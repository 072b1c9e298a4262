"""Programs of either flavour, on a loop that was opened in either way, under watch."""

from __future__ import annotations

import asyncio

import pytest

import trio_asyncio_c
from trio_asyncio_c import open_loop
from trio_asyncio_c._install import is_trio_installed

from ..._real.watch import LIMIT_S, Watch

if is_trio_installed():
    import trio
else:
    from trio_asyncio_c import trio

__all__ = ["WAYS", "require_trio", "trio"]


def require_trio():
    """Skip a module of tests of what imports ``trio``, where that has its own core."""
    if not is_trio_installed():
        reason = "Trio is to be on the core: -p trio_asyncio_c.pytest_trio"
        pytest.skip(reason, allow_module_level=True)


class OpenedLoop:
    """An `open_loop` block in a Trio run."""

    @staticmethod
    def run_trio(main, *arguments, **options):
        """Run `main()` as the block's body, return what it does.

        Args:
          arguments, options: what `Watch` takes.
        """
        watch = Watch(*arguments, **options)

        async def program():
            async with open_loop() as loop:
                watch.begin(loop)
                with trio.fail_after(LIMIT_S):
                    result = await main()
                await trio_asyncio_c.run_asyncio(watch.settle)
            return result

        with watch.no_complaints():
            return trio.run(program)

    @staticmethod
    def run_asyncio(main, *arguments, **options):
        """Run `main()` in an asyncio Task, return what it does."""
        watch = Watch(*arguments, **options)

        async def program():
            async with open_loop():
                return await trio_asyncio_c.run_asyncio(watch.program, main)

        with watch.no_complaints():
            return trio.run(program)


class OwnLoop:
    """A loop that owns its runner, as `asyncio.run` uses it."""

    @staticmethod
    def run_asyncio(main, *arguments, **options):
        """Run `main()` as the loop's main function, return what it does."""
        watch = Watch(*arguments, **options)
        factory = trio_asyncio_c.new_event_loop
        with watch.no_complaints():
            with asyncio.Runner(loop_factory=factory) as runner:
                return runner.run(watch.program(main))

    @classmethod
    def run_trio(cls, main, *arguments, **options):
        """Run `main()` in a Trio task of the loop, return what it does."""

        async def program():
            return await asyncio.get_running_loop().run_trio(main)

        return cls.run_asyncio(program, *arguments, **options)


WAYS = [OpenedLoop, OwnLoop]
