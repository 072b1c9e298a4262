"""Measures one case of bench_trio with one peer, in a process of its own:
trio_worker.py PEER CASE WARM_UP_SECONDS."""

import sys

import trio_cases
import trio_servers
from shared.case import OURS, say_missing, serve_rounds
from shared.machine import find_ours

PLAIN = "trio"
PEERS = [PLAIN, OURS]
CASES = trio_cases.SCHEDULER + trio_servers.CASES + trio_cases.MEMORY


def import_trio(peer):
    """Return the trio package, on its own core or on ours."""
    find_ours()
    import trio_asyncio_c.lowlevel

    if peer == OURS:
        trio_asyncio_c.install_trio()
    import trio
    import trio.testing

    is_ours = trio.lowlevel.Task is trio_asyncio_c.lowlevel.Task
    if is_ours != (peer == OURS):
        sys.exit(f"trio runs on {'our' if is_ours else 'its own'} core")
    return trio


def main(peer, name, warm_up_s):
    cases = {case.name: case for case in CASES}
    try:
        trio = import_trio(peer)
        trio.run(serve_rounds, cases[name], trio, float(warm_up_s))
    except* ModuleNotFoundError:
        say_missing()


if __name__ == "__main__":
    main(*sys.argv[1:])
