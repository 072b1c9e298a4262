"""What moving bytes costs: echo servers, HTTP, WebSockets, TLS, database clients,
subprocesses, memory, beside asyncio, uvloop, rloop, zuvloop, aiofastnet and an echo
server in C.

README.rst beside this file says how to read the numbers. The exit status is 1 if a
case does not run on trio_asyncio_c, or gets a wrong answer there.
"""

import asyncio
import socket
import ssl
import subprocess
import sys
from pathlib import Path

from net_cases import SECTIONS
from net_servers import CERTIFICATE
from net_services import serving
from shared.build import compile_program
from shared.case import OURS
from shared.interleave import MISSING, is_missing
from shared.machine import describe
from shared.measure import measure
from shared.options import chosen, parse_options
from shared.report import (
    as_json,
    goal_words,
    print_failures,
    print_line,
    print_machine,
    quartile_words,
    write_json,
)

WORKER = str(Path(__file__).resolve().with_name("net_worker.py"))
PACKAGES = [
    "uvloop",
    "rloop",
    "zuvloop",
    "aiofastnet",
    "uvicorn",
    "httptools",
    "aiohttp",
    "websockets",
    "asyncpg",
    "redis",
    "hiredis",
]
LONGER = 4  # than for an operation of the scheduler, for a round takes longer
TIMEOUT_S = 40  # two thousand TLS handshakes take ten on a busy machine
# Not in --quick: that many connections take their time.
LARGE = "10 000 connections"
CPU_WIDTH = 13
ENOUGH_PROCESSES = 3  # to tell user from system CPU time: see the README
FIGURES = {"process": "CPU", "user": "user CPU", "wall": "time", "memory": "memory"}


def make_certificate():
    """Make a certificate that signs itself; return in words why not, or None."""
    if CERTIFICATE.exists():
        return None
    command = "openssl req -x509 -nodes -days 3650 -subj /CN=localhost".split()
    command += "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1".split()
    target = str(CERTIFICATE)
    try:
        result = subprocess.run(
            [*command, "-keyout", target, "-out", f"{target}.own"],
            capture_output=True,
            text=True,
        )
    except FileNotFoundError:
        return "there is no command openssl, so no TLS"
    if result.returncode != 0:
        return result.stderr
    own = Path(f"{target}.own")
    with CERTIFICATE.open("a") as file:
        file.write(own.read_text())
    own.unlink()
    return None


async def transport_class():
    """Return the name of the class that the running loop's connections have."""
    here, there = socket.socketpair()
    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_connection(asyncio.Protocol, sock=here)
    transport.abort()
    there.close()
    return f"{type(transport).__module__}.{type(transport).__qualname__}"


def describe_ours():
    """Return what is ours, beside the package: which transports are in use."""
    import trio_asyncio_c

    with asyncio.Runner(loop_factory=trio_asyncio_c.new_event_loop) as runner:
        return {"our transports": runner.run(transport_class())}


def prepare():
    """Make what the cases need; say what cannot be made, and end without clients."""
    failure = compile_program("net_load", "dl")
    if failure:
        raise SystemExit(f"net_load.c cannot be compiled: {failure}")
    for failure in (
        compile_program("net_floor", "ev"),
        compile_program("net_split"),
        make_certificate(),
    ):
        if failure:
            print(failure)


def short(number):
    return f"{number:.{int(number < 100)}f}"


def cells(section, row):
    """Return what stands in the table of each peer."""
    for peer in section.peers:
        if not row.rounds[peer]:
            yield row.failures[peer].partition(":")[0]
        elif section.apart:
            user, system = row.user_and_system(peer)
            yield f"{short(user / section.divisor)}+{short(system / section.divisor)}"
        else:
            yield f"{row.median(peer) / section.divisor:.0f}"


def ratios_for(row, goal):
    """Return the peer that the goal is about and the quartiles of ours/peer, or None
    for either."""
    if goal.figure == "user":
        peer = goal.peer or row.best_peer(lambda peer: row.user_and_system(peer)[0])
        return peer, peer and row.user_ratios(peer)
    peer = goal.peer or row.best_peer(lambda peer: row.median(peer, goal.figure))
    return peer, peer and row.ratios(peer, goal.figure)


def verdict(row, goal):
    """Return in words what the goal's ratio is, and whether that is enough."""
    peer, quartiles = ratios_for(row, goal)
    if not quartiles:
        return "-"
    words = quartile_words(quartiles, of="" if goal.peer else f" of {peer}")
    if goal.figure == "user" and len(row.processes[OURS]) < ENOUGH_PROCESSES:
        return f"{words} too short"
    return f"{words} {goal_words(quartiles, goal.at_most)}"


def goal_head(goal):
    return f"{FIGURES[goal.figure]}/{goal.peer or 'best peer'}, goal {goal.at_most}"


def print_goals(section, rows):
    heads = "".join(f"{goal_head(goal):48}" for goal in section.goals)
    print_line("ours as a part", [], heads)
    for name, row in rows.items():
        words = "".join(f"{verdict(row, goal):48}" for goal in section.goals)
        print_line(name, [], words)


def further_cells(row, peer):
    """Return {column: words} of what else is known of a server, or {}."""
    if not row.rounds[peer] or "p50" not in row.rounds[peer][0]:
        return {}
    return {
        "1/s": f"{1e9 / row.median(peer, 'wall'):.0f}",
        "p50 ms": f"{row.median(peer, 'p50') / 1e6:.2f}",
        "p99 ms": f"{row.median(peer, 'p99') / 1e6:.2f}",
        "peak MiB": f"{row.median(peer, 'peak') / 2**20:.1f}",
    }


def print_further(section, rows):
    """Print a line a server and peer."""
    is_first = True
    for name, row in rows.items():
        for peer in section.peers:
            columns = further_cells(row, peer)
            if columns and is_first:
                print_line("as the clients see it", columns, "", head_width=44)
                is_first = False
            if columns:
                print_line(f"{name}, {peer}", columns.values(), "", head_width=44)


def print_section(section, rows):
    print()
    print_line(section.title, section.peers, "", CPU_WIDTH)
    for name, row in rows.items():
        print_line(name, cells(section, row), "", CPU_WIDTH)
    print_goals(section, rows)
    print_further(section, rows)
    print_failures(rows)


def cases_of(section, options):
    return [
        case
        for case in chosen(section.cases, options.only)
        if not (options.quick and LARGE in case.name)
    ]


def main():
    all_cases = [case for section in SECTIONS for case in section.cases]
    options = parse_options(
        __doc__.partition("\n\n")[0], all_cases, timeout_s=TIMEOUT_S, longer=LONGER
    )
    machine = describe(PACKAGES) | {"OpenSSL of Python": ssl.OPENSSL_VERSION}
    machine |= describe_ours()
    print_machine(machine)
    prepare()
    all_rows = {}
    for section in SECTIONS:
        cases = cases_of(section, options)
        if not cases:
            continue
        with serving(section.service) as lacking:
            if lacking is not None:
                print(f"\n{section.title}: {lacking}")
                continue
            rows = measure(cases, section.peers, WORKER, options)
        print_section(section, rows)
        all_rows |= rows
    if options.json:
        write_json(options.json, machine, as_json(all_rows))
    failures = [row.failures.get(OURS, MISSING) for row in all_rows.values()]
    return int(any(not is_missing(failure) for failure in failures))


if __name__ == "__main__":
    sys.exit(main())
