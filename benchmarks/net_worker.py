"""Measures one case of bench_net with one peer, in a process of its own:
net_worker.py PEER CASE WARM_UP_SECONDS."""

import asyncio
import importlib
import sys

from net_cases import AIOFASTNET, SECTIONS
from net_clients import split_here
from shared.case import FLOOR, OURS, say_missing, serve_rounds
from shared.machine import find_ours

MODULES = {OURS: "trio_asyncio_c", FLOOR: "asyncio"}


def loop_factory(peer):
    if peer == AIOFASTNET:
        import aiofastnet
        import uvloop

        return lambda: aiofastnet.patch_loop(uvloop.new_event_loop())
    return importlib.import_module(MODULES.get(peer, peer)).new_event_loop


def find_case(peer, name):
    for section in SECTIONS:
        for case in section.floors if peer == FLOOR else section.cases:
            if case.name == name:
                return case
    raise SystemExit(f"there is no case {name!r}")


async def serve(case, warm_up_s):
    await serve_rounds(case, asyncio.get_running_loop(), warm_up_s)


def main(peer, name, warm_up_s):
    find_ours()
    case = find_case(peer, name)
    try:
        factory = loop_factory(peer)
    except ModuleNotFoundError:
        return say_missing()
    if peer != FLOOR:
        split_here()  # now, while this process may still run anywhere
    try:
        with asyncio.Runner(loop_factory=factory) as runner:
            runner.run(serve(case, float(warm_up_s)))
    except ModuleNotFoundError as exc:
        say_missing(str(exc))


if __name__ == "__main__":
    main(*sys.argv[1:])
