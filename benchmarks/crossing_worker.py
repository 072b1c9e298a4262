"""Measures one case of bench_crossing with one peer, in a process of its own:
crossing_worker.py PEER CASE WARM_UP_SECONDS."""

import sys

import crossing_cases
from shared.case import OURS, say_missing, serve_rounds
from shared.machine import find_ours

PLAIN = "plain"  # trio-asyncio on the trio package
NO_CROSSING = "none"  # ours, with nothing crossed
PEERS = [PLAIN, OURS]
CASES = crossing_cases.PACKAGES + crossing_cases.NOTHING + crossing_cases.MEMORY


def run_plain(case, warm_up_s):
    import trio
    import trio_asyncio

    async def run_asyncio(function, *args):
        return await trio_asyncio.aio_as_trio(function)(*args)

    async def serve():
        loop = trio_asyncio.current_loop.get()
        side = crossing_cases.Side(
            trio, trio_asyncio, loop, run_asyncio, loop.trio_as_future
        )
        await serve_rounds(case, side, warm_up_s)

    trio_asyncio.run(serve)


def run_ours(case, warm_up_s, crosses=True):
    find_ours()
    import trio_asyncio_c
    import trio_asyncio_c.trio

    async def serve():
        loop = trio_asyncio_c.current_loop.get()
        side = crossing_cases.Side(
            trio_asyncio_c.trio,
            trio_asyncio_c if crosses else None,
            loop,
            loop.run_asyncio,
            loop.run_trio,
        )
        await serve_rounds(case, side, warm_up_s)

    trio_asyncio_c.run(serve)


def main(peer, name, warm_up_s):
    cases = {case.name: case for case in CASES}
    if peer == PLAIN:
        try:
            run_plain(cases[name], float(warm_up_s))
        except ModuleNotFoundError:
            say_missing()
    else:
        run_ours(cases[name], float(warm_up_s), crosses=peer == OURS)


if __name__ == "__main__":
    main(*sys.argv[1:])
