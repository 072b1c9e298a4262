"""Measures one case of bench_core with one peer, in a process of its own:
core_worker.py PEER CASE WARM_UP_SECONDS."""

import asyncio
import importlib
import sys

import core_loop_cases
import core_trio_cases
from shared.case import OURS, nothing, say_missing, serve_rounds
from shared.machine import find_ours

LOOP_PEERS = {
    "asyncio": "asyncio",
    "uvloop": "uvloop",
    "rloop": "rloop",
    "zuvloop": "zuvloop",
    OURS: "trio_asyncio_c",
}
ALONE = "alone"  # ours, without what a growth case prepares
GROWTH_PEERS = {ALONE: "trio_asyncio_c", OURS: "trio_asyncio_c"}
TRIO_PEERS = {"trio": "trio", OURS: "trio_asyncio_c.trio"}


async def serve_on_running_loop(case, warm_up_s):
    await serve_rounds(case, asyncio.get_running_loop(), warm_up_s)


def run_on_loop(module, case, warm_up_s):
    with asyncio.Runner(loop_factory=module.new_event_loop) as runner:
        runner.run(serve_on_running_loop(case, warm_up_s))


def run_on_trio(module, case, warm_up_s):
    module.run(serve_rounds, case, module, warm_up_s)


SIDES = [
    (LOOP_PEERS, core_loop_cases.CASES, run_on_loop),
    (GROWTH_PEERS, core_loop_cases.GROWTH_CASES, run_on_loop),
    (TRIO_PEERS, core_trio_cases.CASES, run_on_trio),
]


def main(peer, name, warm_up_s):
    find_ours()
    for peers, cases, run in SIDES:
        for case in cases:
            if case.name == name:
                try:
                    module = importlib.import_module(peers[peer])
                except ModuleNotFoundError:
                    return say_missing()
                if peer == ALONE:
                    case = case._replace(prepare=nothing)
                return run(module, case, float(warm_up_s))
    raise SystemExit(f"there is no case {name!r}")


if __name__ == "__main__":
    main(*sys.argv[1:])
