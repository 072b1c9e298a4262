"""What bench_scopes compares: cancel scopes and task groups, as each package has them.

Each side does one thing `count` times in a method of the same name, as its users
write it.
"""

import asyncio

LONG_S = 3600
CHILDREN = 10


async def nop():
    pass


class Asyncio:
    """asyncio's own."""

    async def scope(self, count):
        for _ in range(count):
            async with asyncio.timeout(LONG_S):
                pass

    async def group(self, count):
        for _ in range(count):
            async with asyncio.TaskGroup() as group:
                for _ in range(CHILDREN):
                    group.create_task(nop())

    async def _wait_in_scope(self, event):
        async with asyncio.timeout(LONG_S):
            await event.wait()

    async def open_scopes(self, count):
        event = asyncio.Event()
        async with asyncio.TaskGroup() as group:
            for _ in range(count):
                group.create_task(self._wait_in_scope(event))
            await asyncio.sleep(0)
            event.set()

    async def cancel_many(self, count, clock):
        tasks = [asyncio.create_task(asyncio.sleep(LONG_S)) for _ in range(count)]
        await asyncio.sleep(0)
        began = clock()
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
        return clock() - began


class Scoped:
    """Those with `move_on_after` and `CancelScope`, by the names of a package."""

    def __init__(self, api, open_group):
        self.api = api
        self._open_group = open_group

    async def scope(self, count):
        move_on_after = self.api.move_on_after
        for _ in range(count):
            with move_on_after(LONG_S):
                pass

    async def group(self, count):
        for _ in range(count):
            async with self._open_group() as group:
                for _ in range(CHILDREN):
                    group.start_soon(nop)

    async def _wait_in_scope(self, event):
        with self.api.move_on_after(LONG_S):
            await event.wait()

    def _make_event(self):
        return self.api.Event()

    async def _let_run(self):
        await self.api.lowlevel.checkpoint()

    async def open_scopes(self, count):
        event = self._make_event()
        async with self._open_group() as group:
            for _ in range(count):
                group.start_soon(self._wait_in_scope, event)
            await self._let_run()
            event.set()

    async def _sleep(self):
        await self.api.sleep(LONG_S)

    async def cancel_many(self, count, clock):
        began = 0
        async with self._open_group() as group:
            for _ in range(count):
                group.start_soon(self._sleep)
            await self._let_run()
            began = clock()
            group.cancel_scope.cancel()
        return clock() - began


class Ours(Scoped):
    """In asyncio Tasks of our loop."""

    async def group(self, count):
        for _ in range(count):
            async with self._open_group() as group:
                for _ in range(CHILDREN):
                    group.create_task(nop())

    def _make_event(self):
        return asyncio.Event()

    async def _let_run(self):
        await asyncio.sleep(0)

    async def _sleep(self):
        await asyncio.sleep(LONG_S)
