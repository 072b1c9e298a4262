"""What the modules of the Trio-flavoured API offer, and how it fits in."""

from __future__ import annotations

import inspect
import subprocess
import sys

import pytest
from trio_asyncio_c import trio

MODULES = [
    trio,
    trio.abc,
    trio.from_thread,
    trio.lowlevel,
    trio.testing,
    trio.to_thread,
]


@pytest.mark.parametrize("module", MODULES, ids=lambda m: m.__name__)
def test_names(module):
    assert len(set(module.__all__)) == len(module.__all__)
    for name in module.__all__:
        assert hasattr(module, name), name
        assert not name.startswith("_")


@pytest.mark.parametrize("module", MODULES, ids=lambda m: m.__name__)
def test_everything_public_is_documented(module):
    assert module.__doc__
    for name in module.__all__:
        thing = getattr(module, name)
        if isinstance(thing, type) or inspect.isroutine(thing):
            assert thing.__doc__, name


def test_instrument_has_all_hooks_and_they_do_nothing():
    hooks = {
        "before_run": 0,
        "after_run": 0,
        "task_spawned": 1,
        "task_scheduled": 1,
        "before_task_step": 1,
        "after_task_step": 1,
        "task_exited": 1,
        "before_io_wait": 1,
        "after_io_wait": 1,
    }
    instrument = trio.abc.Instrument()
    for name, count in hooks.items():
        hook = getattr(instrument, name)
        assert hook.__doc__, name
        assert len(inspect.signature(hook).parameters) == count
        assert hook(*[None] * count) is None
    public = {name for name in dir(instrument) if not name.startswith("_")}
    assert public == set(hooks)


def test_a_run_calls_all_the_hooks():
    calls = []

    class Recorder(trio.abc.Instrument):
        def __getattribute__(self, name):
            if not name.startswith("_"):
                calls.append(name)
            return super().__getattribute__(name)

    class Caller(trio.abc.Instrument):
        pass

    for name in dir(trio.abc.Instrument):
        if not name.startswith("_"):

            def hook(self, *args, name=name):
                calls.append((name, len(args)))

            setattr(Caller, name, hook)

    async def main():
        await trio.sleep(0)

    trio.run(main, instruments=[Caller()])
    names = {name for name, _ in calls}
    assert names == {n for n in dir(trio.abc.Instrument) if n[0] != "_"}
    assert calls[0][0] == "before_run"
    assert calls[-1][0] == "after_run"


def test_task_status_ignored():
    status = trio.TASK_STATUS_IGNORED
    assert repr(status) == "TASK_STATUS_IGNORED"
    assert status.started() is None
    assert status.started("value") is None
    assert status.started("again") is None


def test_task_status_ignored_is_a_default_for_start_soon():
    async def worker(*, task_status=trio.TASK_STATUS_IGNORED):
        task_status.started("value")
        await trio.lowlevel.checkpoint()

    async def main():
        async with trio.open_nursery() as nursery:
            nursery.start_soon(worker)
            assert await nursery.start(worker) == "value"

    trio.run(main)


def test_task_status_can_be_named_in_annotations():
    async def worker(*, task_status: trio.TaskStatus[int]) -> None:
        task_status.started(3)

    async def main():
        async with trio.open_nursery() as nursery:
            assert await nursery.start(worker) == 3

    assert trio.TaskStatus[int] is not None
    trio.run(main)


def test_it_needs_none_of_the_libraries_that_trio_is_made_of():
    # With None in sys.modules they cannot be imported, installed or not.
    script = """if True:
        import sys

        names = ["trio", "outcome", "sniffio", "attr", "attrs"]
        sys.modules.update(dict.fromkeys(names))

        from trio_asyncio_c import trio

        async def main():
            async with trio.open_nursery() as nursery:
                send, receive = trio.open_memory_channel(0)
                nursery.start_soon(send.send, 1)
                await receive.receive()
            back = trio.from_thread.run
            await trio.to_thread.run_sync(back, trio.sleep, 0)

        trio.run(main)
        print("done")
    """
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", script],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.stderr == ""
    assert done.stdout == "done\n"
    assert done.returncode == 0


def test_importing_it_does_not_import_trio():
    script = "import sys, trio_asyncio_c.trio; sys.exit('trio' in sys.modules)"
    subprocess.run([sys.executable, "-c", script], timeout=120, check=True)
