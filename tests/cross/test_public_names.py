"""Every public name of trio-asyncio is there, is called as there, and says what is
wrong: without the trio package, with it on the core, and in a run of its own."""

from __future__ import annotations

from pathlib import Path

import pytest
from trio_asyncio_c import trio

from ._helpers import python
from ._public_names import CHECKS

# As programs of their own do: without the trio package, nothing is installed.
WITH_TRIO = """
    import sys
    import trio_asyncio_c
    trio_asyncio_c.install_trio()
    import trio
    assert trio.lowlevel.Task is trio_asyncio_c.lowlevel.Task
    sys.path.insert(0, {folder!r})
    from _public_names import CHECKS
    for name, check in CHECKS.items():
        check(trio)
        print(name)
"""

PLAIN_TRIO = """
    import asyncio, trio
    import trio_asyncio_c as t

    class Manager:
        async def __aenter__(self):
            pass
        async def __aexit__(self, *error):
            pass

    async def numbers():
        yield 1

    async def main():
        future = asyncio.Future(loop=asyncio.SelectorEventLoop())
        future.get_loop().close()
        for name, start in {
            "open_loop": lambda: t.open_loop().__aenter__(),
            "run": lambda: t.run(trio.sleep, 0),
            "run_asyncio": lambda: t.run_asyncio(asyncio.sleep, 0),
            "run_asyncio of a manager": lambda: t.run_asyncio(Manager()).__aenter__(),
            "run_coroutine": lambda: t.run_coroutine(asyncio.sleep(0)),
            "run_aio_coroutine": lambda: t.run_aio_coroutine(asyncio.sleep(0)),
            "run_future": lambda: t.run_future(future),
            "run_aio_future": lambda: t.run_aio_future(future),
            "run_trio": lambda: t.run_trio(trio.sleep, 0),
            "run_trio_task": lambda: t.run_trio_task(trio.sleep, 0),
            "aio_as_trio": lambda: t.aio_as_trio(asyncio.sleep)(0),
            "aio_as_trio of a manager": lambda: t.aio_as_trio(Manager()).__aenter__(),
            "aio_as_trio of an iterator": lambda: t.aio_as_trio(numbers()).__aiter__(),
            "trio_as_aio": lambda: t.trio_as_aio(trio.sleep)(0),
            "allow_asyncio": lambda: t.allow_asyncio(asyncio.sleep, 0),
        }.items():
            try:
                await start()
            except RuntimeError as exc:
                if "install_trio()" in str(exc) and "--trio" in str(exc):
                    continue
                print(name, "says", exc)
            else:
                print(name, "works")

    trio.run(main)
    print("done")
"""


@pytest.mark.parametrize("name", CHECKS)
def test_without_the_trio_package(name):
    CHECKS[name](trio)


def test_with_the_trio_package_on_the_core():
    pytest.importorskip("trio", reason="the trio package is not installed")
    done = python(WITH_TRIO.format(folder=str(Path(__file__).parent)))
    assert done.stdout.split() == list(CHECKS), done.stderr


def test_in_a_run_of_the_plain_trio_package():
    pytest.importorskip("trio", reason="the trio package is not installed")
    done = python(PLAIN_TRIO, "-W", "error")
    assert done.stdout.splitlines() == ["done"], done.stderr
