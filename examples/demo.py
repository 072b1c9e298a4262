"""Serve an aiohttp application on trio_asyncio_c and on asyncio, to real clients.

The demo prints how many requests a second each event loop serves, the task tree
of the busy server, and what became of the requests in flight when the Trio
cancel scope around the server was cancelled. It exits with 1 if any answer was
wrong, or if anything was left behind.

    python examples/demo.py [--seconds SECONDS]

It needs aiohttp. The parts are in the folder aiohttp_demo.
"""

import argparse
import asyncio
import sys

from aiohttp_demo import lines, report
from aiohttp_demo.traffic import KINDS

# For all that is not sending requests, on a slow machine.
PATIENCE_S = 40


async def measure(client, page):
    for name in KINDS:
        page.measured(name, *await client.hear("measured"))
    page.tree(*await client.hear("tree"))


async def cancel(server, client, page):
    """Cancel the scope around the server while requests are in flight."""
    in_flight = await client.hear("in_flight")
    server.give_sign()
    endings = await client.hear("endings")
    refused = await client.hear("refused")
    page.cancelled(in_flight, endings, refused, await server.hear("after"))


async def demonstrate(seconds, page):
    async with (
        lines.running("server on trio_asyncio_c", "server", "trio_asyncio_c") as ours,
        lines.running("server on asyncio", "server", "asyncio") as stock,
    ):
        ports = [str(await server.hear("port")) for server in (ours, stock)]
        page.head(seconds)
        async with lines.running("client", "client", str(seconds), *ports) as client:
            await measure(client, page)
            await cancel(ours, client, page)
            stock.give_sign()
            for child in (ours, stock, client):
                page.expect(
                    await child.exit_code(), 0, f"exit status of the {child.name}"
                )


async def main(seconds):
    page = report.Page()
    try:
        async with asyncio.timeout(2.5 * seconds + PATIENCE_S):
            await demonstrate(seconds, page)
    except (lines.ChildFailed, TimeoutError) as error:
        page.problem(str(error) or "it took too long")
    return page.verdict()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument(
        "--seconds",
        type=float,
        default=10,
        help="how long to send requests to each event loop (default: 10)",
    )
    sys.exit(asyncio.run(main(parser.parse_args().seconds)))
