"""Measures one case of bench_core with one peer, in a process of its own: core_worker.py PEER CASE SECONDS."""

import asyncio
import importlib
import sys
from pathlib import Path

import core_loop_cases
import core_trio_cases
from shared.case import measure, say

OURS = "ours"
LOOP_PEERS = {"asyncio": "asyncio", "uvloop": "uvloop", "rloop": "rloop", OURS: "trio_asyncio_c"}
TRIO_PEERS = {"trio": "trio", OURS: "trio_asyncio_c.trio"}


async def measure_on_running_loop(case, seconds):
    return await measure(case, asyncio.get_running_loop(), seconds)


def run_on_loop(module, case, seconds):
    with asyncio.Runner(loop_factory=module.new_event_loop) as runner:
        return runner.run(measure_on_running_loop(case, seconds))


def run_on_trio(module, case, seconds):
    return module.run(measure, case, module, seconds)


def main(peer, name, seconds):
    sys.path.append(str(Path(__file__).resolve().parents[1]))  # trio_asyncio_c, if it is not installed
    sides = [(LOOP_PEERS, core_loop_cases.CASES, run_on_loop), (TRIO_PEERS, core_trio_cases.CASES, run_on_trio)]
    for peers, cases, run in sides:
        for case in cases:
            if case.name == name:
                try:
                    module = importlib.import_module(peers[peer])
                except ModuleNotFoundError:
                    return say(None)
                return say(run(module, case, float(seconds)))
    raise SystemExit(f"there is no case {name!r}")


if __name__ == "__main__":
    main(*sys.argv[1:])
