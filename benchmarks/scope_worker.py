"""Measures one case of bench_scopes with one peer, in a process of its own:
scope_worker.py PEER CASE WARM_UP_SECONDS."""

import asyncio
import sys

import scope_cases
import scope_sides
from shared.case import OURS, say_missing, serve_rounds
from shared.machine import find_ours

ASYNCIO = "asyncio"  # its own scopes and groups on its own loop
ON_OURS = "on ours"  # the same on our loop
ANYIO = "anyio"  # with its backend for asyncio, on our loop
TRIO = "trio"
PEERS = [ASYNCIO, ON_OURS, ANYIO, TRIO, OURS]


def run_in_task(case, side, warm_up_s, loop_factory):
    async def serve():
        await serve_rounds(case, side, warm_up_s)

    with asyncio.Runner(loop_factory=loop_factory) as runner:
        runner.run(serve())


def run_trio(case, warm_up_s):
    import trio

    trio.run(serve_rounds, case, scope_sides.Scoped(trio, trio.open_nursery), warm_up_s)


def main(peer, name, warm_up_s):
    case = {case.name: case for case in scope_cases.CASES}[name]
    find_ours()
    import trio_asyncio_c

    loop_factory = trio_asyncio_c.new_event_loop
    side = scope_sides.Asyncio()
    try:
        if peer == TRIO:
            run_trio(case, float(warm_up_s))
            return
        if peer == ASYNCIO:
            loop_factory = asyncio.SelectorEventLoop
        elif peer == ANYIO:
            import anyio

            side = scope_sides.Scoped(anyio, anyio.create_task_group)
        elif peer == OURS:
            side = scope_sides.Ours(trio_asyncio_c, trio_asyncio_c.TaskGroup)
    except ModuleNotFoundError:
        say_missing()
        return
    run_in_task(case, side, float(warm_up_s), loop_factory)


if __name__ == "__main__":
    main(*sys.argv[1:])
