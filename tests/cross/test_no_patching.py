"""Importing and using the package changes nothing of asyncio, and asks for nothing to
be imported before or after it."""

from __future__ import annotations

from textwrap import dedent

import pytest

from ._helpers import python

SNAPSHOT = """
    import asyncio, importlib, pkgutil, signal, sys, threading, contextvars, selectors
    import socket, ssl, concurrent.futures, concurrent.futures.thread, warnings
    import _asyncio, asyncio.base_subprocess

    for info in pkgutil.iter_modules(asyncio.__path__, "asyncio."):
        if info.name.partition(".")[2] not in ("__main__", "tools"):
            try:
                importlib.import_module(info.name)
            except ImportError:
                pass  # another platform's

    for name in concurrent.futures.__all__:
        getattr(concurrent.futures, name, None)  # some are made when asked for

    def modules():
        return {
            name: module
            for name, module in sorted(sys.modules.items())
            if name.split(".")[0] in (
                "asyncio", "_asyncio", "selectors", "socket", "ssl", "signal",
                "threading", "concurrent", "contextvars", "warnings",
            )
        }

    # What changes of itself, whoever runs a loop.
    CHANGING = {
        "_scheduled_tasks", "_eager_tasks", "_all_tasks", "_current_tasks",
        "_running_loop", "_event_loop_policy", "_tasks", "_task_name_counter",
        "_active", "_limbo", "_dangling", "_shutdown_locks", "_counter",
        "_threads_queues", "_shutdown", "__warningregistry__", "_onceregistry",
        "onceregistry", "filters", "_filters_version", "_threading_atexits",
    }

    def state():
        found = {}
        for name, module in modules().items():
            for key, value in vars(module).items():
                if key in CHANGING:
                    continue
                found[name, key] = id(value)
                kept.append(value)
                if isinstance(value, type) and value.__module__ == name:
                    for attribute, what in vars(value).items():
                        if attribute in ("__abstractmethods__", "_abc_impl"):
                            continue
                        found[name, key, attribute] = id(what)
                        kept.append(what)
        return found

    def compare(where):
        now = state()
        changed = {k for k in before.keys() | now.keys() if before.get(k) != now.get(k)}
        # Annotations, caches and doc strings that a look has made.
        changed = {k for k in changed if not (len(k) == 3 and k[2].startswith("__"))}
        assert not changed, (where, sorted(changed))

    kept = []
    hooks = sys.get_asyncgen_hooks()
    handlers = {sig: signal.getsignal(sig) for sig in signal.valid_signals()}
    policy = asyncio.events._event_loop_policy
    before = state()
"""


def check(program, *options):
    result = python(dedent(SNAPSHOT) + dedent(program), *options)
    assert result.returncode == 0, result.stderr
    assert result.stdout.split() == ["fine"], result.stderr
    return result


def test_import():
    check("""
        import trio_asyncio_c
        compare("import")
        assert asyncio.events._event_loop_policy is policy
        assert sys.get_asyncgen_hooks() == hooks
        assert handlers == {s: signal.getsignal(s) for s in handlers}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            loop = asyncio.new_event_loop()
        assert not isinstance(loop, trio_asyncio_c.EventLoop)
        loop.close()
        print("fine")
    """)


def test_use():
    check("""
        import trio_asyncio_c as t
        from trio_asyncio_c import trio

        async def in_asyncio():
            compare("in asyncio-flavoured code")
            loop = asyncio.get_running_loop()
            await loop.run_trio(in_trio)
            await loop.run_in_executor(None, int)
            server = await asyncio.start_server(lambda r, w: None, "127.0.0.1", 0)
            server.close()
            await server.wait_closed()

        async def in_trio():
            compare("in Trio-flavoured code")
            await trio.to_thread.run_sync(int)

        async def main():
            compare("in a run")
            async with t.open_loop():
                compare("in the block")
                await t.run_asyncio(in_asyncio)
                async with t.open_loop():
                    await t.run_asyncio(in_asyncio)
            compare("after the block")

        trio.run(main)
        compare("after the run")
        t.run(main)
        with asyncio.Runner(loop_factory=t.new_event_loop) as runner:
            runner.run(in_asyncio())
        compare("after a loop of its own")
        assert asyncio.events._event_loop_policy is policy
        assert sys.get_asyncgen_hooks() == hooks
        assert handlers == {s: signal.getsignal(s) for s in handlers}
        print("fine")
    """)


def test_132_import_in_a_running_program_of_asyncio():
    check("""
        async def main():
            loop = asyncio.get_running_loop()
            task = asyncio.current_task()
            import trio_asyncio_c
            compare("import within asyncio.run")
            assert asyncio.get_running_loop() is loop
            assert asyncio.current_task() is task
            await asyncio.sleep(0)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                assert asyncio.get_event_loop() is loop
            await asyncio.to_thread(int)

        asyncio.run(main())
        compare("after asyncio.run")
        print("fine")
    """)


DESCRIBE = """
    import sys
    {first}
    import asyncio, _asyncio

    for name in sorted(sys.modules):
        if name.split(".")[0] not in ("asyncio", "_asyncio"):
            continue
        if name not in {names!r}:
            continue
        for key, value in sorted(vars(sys.modules[name]).items()):
            if not key.startswith("__"):
                what = getattr(value, "__qualname__", ""), getattr(value, "__module__", "")
                print(name, key, type(value).__qualname__, *what)
"""


def test_asyncio_is_the_same_when_it_is_imported_after_us():
    # Half of asyncio is in C and replaces what is in Python: who imports a part of it
    # too early is left with the latter.
    names = sorted(
        f"asyncio.{name}"
        for name in ("events", "futures", "tasks", "base_events", "coroutines")
    )
    names += ["asyncio", "_asyncio"]
    alone, after = (
        python(DESCRIBE.format(first=first, names=names))
        for first in ("", "import trio_asyncio_c")
    )
    assert alone.returncode == after.returncode == 0, after.stderr
    assert len(alone.stdout.splitlines()) > 100
    assert after.stdout == alone.stdout


def test_83_names_that_were_imported_from_asyncio_before():
    result = python("""
        from asyncio import (
            all_tasks, create_task, current_task, get_running_loop, sleep
        )
        import trio_asyncio_c as t
        from trio_asyncio_c import trio
        import asyncio

        async def in_asyncio(loop):
            assert get_running_loop() is loop
            task = current_task()
            assert task is asyncio.current_task() is not None
            assert all_tasks() == {task}
            child = create_task(sleep(0, 5))
            assert child.get_loop() is loop
            return await child

        async def main():
            try:
                get_running_loop()
            except RuntimeError:
                pass
            else:
                raise AssertionError("no loop is open")
            async with t.open_loop() as loop:
                assert get_running_loop() is loop
                assert current_task() is None
                assert await t.run_asyncio(in_asyncio, loop) == 5
                assert get_running_loop() is loop
                assert current_task() is None

        trio.run(main)
        print("fine")
    """)
    assert result.stdout.split() == ["fine"], result.stderr


@pytest.mark.parametrize("options", [["-W", "error"], ["-W", "error", "-X", "dev"]])
def test_152_no_warning_on_import(options):
    result = python(
        """
        import trio_asyncio_c
        from trio_asyncio_c import lowlevel, testing, trio
        for name in trio_asyncio_c.__all__:
            getattr(trio_asyncio_c, name)
        print("fine")
        """,
        *options,
    )
    assert result.stdout.split() == ["fine"], result.stderr
    assert result.stderr == ""


def test_152_no_warning_in_use():
    result = python(
        """
        import asyncio, sys
        import trio_asyncio_c as t
        from trio_asyncio_c import trio

        async def in_asyncio():
            child = await asyncio.create_subprocess_exec(sys.executable, "-c", "")
            assert await child.wait() == 0
            return await asyncio.get_running_loop().run_trio(in_trio)

        async def in_trio():
            await trio.sleep(0)
            return "fine"

        assert t.run(t.run_asyncio, in_asyncio) == "fine"
        with asyncio.Runner(loop_factory=t.new_event_loop) as runner:
            print(runner.run(in_asyncio()))
        """,
        "-W",
        "error",
    )
    assert result.stdout.split() == ["fine"], result.stderr
    assert result.stderr == ""
