"""Context managers of either flavour that note what they are told."""

from __future__ import annotations

import asyncio
import contextvars

from trio_asyncio_c import lowlevel, trio

var = contextvars.ContextVar("var", default="unset")


class Manager:
    """Either flavour's: records who runs it, and what it is told."""

    def __init__(self, sleep, current_task, *, suppress=False, error=None):
        self.sleep, self.current_task = sleep, current_task
        self.suppress, self.error = suppress, error
        self.steps = []

    async def __aenter__(self):
        self.steps.append("enter")
        self.task = self.current_task()
        self.context_value = var.get()
        var.set("manager")
        await self.sleep(1)
        self.steps.append("entered")
        return self

    async def __aexit__(self, exc_type, error, traceback):
        self.steps.append("exit")
        assert self.current_task() is self.task is not None
        assert var.get() == "manager"
        assert (exc_type, traceback is None) == (
            (None, True) if error is None else (type(error), False)
        )
        self.seen = error
        try:
            await self.sleep(1)
        except BaseException as exc:
            self.steps.append(type(exc).__name__)
            raise
        self.steps.append("left")
        if self.error is not None:
            raise self.error
        return self.suppress


def asyncio_manager(**options):
    return Manager(asyncio.sleep, asyncio.current_task, **options)


def trio_manager(**options):
    return Manager(trio.sleep, lowlevel.current_task, **options)
