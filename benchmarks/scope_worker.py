"""Measures one case of bench_scopes with one peer, in a process of its own:
scope_worker.py PEER CASE WARM_UP_SECONDS."""

import asyncio
import sys

import scope_cases
import scope_sides
from shared.case import OURS, say_missing, serve_rounds
from shared.machine import find_ours

ASYNCIO, ANYIO, TRIO = "asyncio", "anyio", "trio"
PEERS = [ASYNCIO, ANYIO, TRIO, OURS]


def run_on_ours(case, side, warm_up_s):
    """Run it in an asyncio Task: all but trio's have the same loop under them."""
    import trio_asyncio_c

    async def serve():
        await serve_rounds(case, side, warm_up_s)

    with asyncio.Runner(loop_factory=trio_asyncio_c.new_event_loop) as runner:
        runner.run(serve())


def run_trio(case, warm_up_s):
    import trio

    trio.run(serve_rounds, case, scope_sides.Trio(trio), warm_up_s)


def main(peer, name, warm_up_s):
    case = {case.name: case for case in scope_cases.CASES}[name]
    find_ours()
    try:
        if peer == TRIO:
            run_trio(case, float(warm_up_s))
            return
        if peer == ANYIO:
            import anyio

            side = scope_sides.Anyio(anyio)
        elif peer == ASYNCIO:
            side = scope_sides.Asyncio()
        else:
            import trio_asyncio_c

            side = scope_sides.Ours(trio_asyncio_c)
    except ModuleNotFoundError:
        say_missing()
        return
    run_on_ours(case, side, float(warm_up_s))


if __name__ == "__main__":
    main(*sys.argv[1:])
