"""Functions get keyword arguments, but for those that asyncio itself has."""

from __future__ import annotations

import contextvars
import os
import signal

import pytest

from ._helpers import run_briefly, run_until

var = contextvars.ContextVar("var", default="unset")


def note(seen, *args, **kwargs):
    seen.append((args, kwargs, var.get()))


WAYS = {
    "call_soon": lambda loop, *a, **k: loop.call_soon(*a, **k),
    "call_soon_threadsafe": lambda loop, *a, **k: loop.call_soon_threadsafe(*a, **k),
    "call_later": lambda loop, *a, **k: loop.call_later(0, *a, **k),
    "call_at": lambda loop, *a, **k: loop.call_at(loop.time(), *a, **k),
}


@pytest.mark.parametrize("debug", [False, True])
@pytest.mark.parametrize("way", list(WAYS))
def test_the_function_gets_them(loop, way, debug):
    loop.set_debug(debug)
    seen = []
    context = contextvars.copy_context()
    context.run(var.set, "given")
    WAYS[way](loop, note, seen, 1, a=2, context=context)
    WAYS[way](loop, callback=note, seen=seen)
    run_briefly(loop, 2)
    assert seen[0] == ((1,), {"a": 2}, "given")
    assert len(seen) == 2


@pytest.mark.parametrize("way", list(WAYS))
def test_the_handle_shows_them(loop, way):
    loop.set_debug(True)
    handle = WAYS[way](loop, note, [], key="value")
    assert "note(" in repr(handle)
    assert "key='value'" in repr(handle)
    handle.cancel()


@pytest.mark.parametrize("way", list(WAYS))
def test_a_function_that_takes_none(loop, errors, way):
    WAYS[way](loop, lambda: None, key="value")
    run_briefly(loop, 2)
    (context,) = errors
    assert type(context["exception"]) is TypeError
    assert "key" in str(context["exception"])


@pytest.mark.parametrize("way", list(WAYS))
def test_what_is_asyncios_stays_so(loop, way):
    with pytest.raises(TypeError, match="multiple values for argument 'callback'"):
        WAYS[way](loop, note, callback=note, key=1)
    with pytest.raises(TypeError, match="callable"):
        WAYS[way](loop, 5, key=1)
    loop.close()
    with pytest.raises(RuntimeError, match="Event loop is closed"):
        WAYS[way](loop, note, key=1)


def test_readers_and_writers(loop):
    seen = []
    read_end, write_end = os.pipe()
    try:
        loop.add_writer(write_end, note, seen, end="write")
        run_until(loop, lambda: seen)
        loop.remove_writer(write_end)
        os.write(write_end, b"x")
        loop.add_reader(read_end, note, seen, end="read")
        run_until(loop, lambda: seen[-1][1] == {"end": "read"})
        loop.remove_reader(read_end)
    finally:
        os.close(read_end)
        os.close(write_end)
    assert {kwargs["end"] for _, kwargs, _ in seen} == {"read", "write"}


def test_signal_handlers(loop):
    seen = []
    loop.add_signal_handler(signal.SIGUSR1, note, seen, 1, key="value")
    os.kill(os.getpid(), signal.SIGUSR1)
    run_briefly(loop, 3)
    loop.remove_signal_handler(signal.SIGUSR1)
    assert seen == [((1,), {"key": "value"}, "unset")]


def test_executors(loop):
    async def main():
        assert await loop.run_in_executor(None, int, "11", base=2) == 3
        assert await loop.run_in_executor(executor=None, func=dict, a=1) == {"a": 1}
        with pytest.raises(TypeError, match="nokey"):
            await loop.run_in_executor(None, lambda: None, nokey=1)

    loop.run_until_complete(main())
