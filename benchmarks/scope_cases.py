"""The cases of bench_scopes: what each does with a side of scope_sides.py."""

import time

from shared.case import Case


async def scope(side, count):
    await side.scope(count)


async def group(side, count):
    await side.group(count)


async def open_scopes(side, count):
    await side.open_scopes(count)


async def cancel_many(side, count):
    took_ns = await side.cancel_many(count, time.thread_time_ns)
    return {"cancel": took_ns}


SCOPE = [Case("move_on_after(), entered and left", scope, 5_000)]
GROUP = [Case("a task group with 10 children", group, 200)]
OPEN = [Case("10 000 Tasks with a deadline each", open_scopes, 10_000)]
CANCEL = [Case("a scope with 10 000 tasks", cancel_many, 10_000, "cancel")]
CASES = SCOPE + GROUP + OPEN + CANCEL
