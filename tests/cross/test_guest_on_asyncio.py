"""Guest runs on asyncio: the standard library's loop as the host, and our own."""

from __future__ import annotations

import asyncio
import gc
import socket
import sys
import threading

import pytest
from trio_asyncio_c import (
    EventLoop,
    current_loop,
    lowlevel,
    new_event_loop,
    run_asyncio,
    trio,
)

from ._helpers import open_loop

PATIENCE_S = 50

hosts = pytest.mark.parametrize(
    "factory", [None, new_event_loop], ids=["stock loop", "own loop"]
)


def run_host(factory, fn):
    """Run an asyncio-flavoured function on a new loop."""
    with asyncio.Runner(loop_factory=factory) as runner:
        try:
            return runner.run(asyncio.wait_for(fn(), PATIENCE_S))
        finally:
            own = isinstance(runner.get_loop(), EventLoop)
            assert not lowlevel.in_trio_task()
            assert own or not lowlevel.in_trio_run()


def collect_unheard():
    """Run the collector; what a run that was left behind complains of is not heard."""
    hook, sys.unraisablehook = sys.unraisablehook, lambda unraisable: None
    try:
        for _ in range(4):
            gc.collect()
    finally:
        sys.unraisablehook = hook


def run_host_loosely(factory, fn):
    """As `run_host`, for hosts that leave a guest behind."""
    with asyncio.Runner(loop_factory=factory) as runner:
        return runner.run(fn())


def start_guest(fn, *args, split=True, **options):
    """Start a guest run on the running loop; a Future of its result."""
    loop = asyncio.get_running_loop()
    future = loop.create_future()

    def done(outcome):
        try:
            # The host runs it, and not the guest.
            assert not lowlevel.in_trio_task()
            assert asyncio.get_running_loop() is loop
            future.set_result(outcome.unwrap())
        except Exception as exc:
            future.set_exception(exc)

    if split:
        options["run_sync_soon_not_threadsafe"] = loop.call_soon
    lowlevel.start_guest_run(
        fn,
        *args,
        run_sync_soon_threadsafe=loop.call_soon_threadsafe,
        done_callback=done,
        host_uses_signal_set_wakeup_fd=True,
        **options,
    )
    return future


@hosts
@pytest.mark.parametrize("split", [True, False])
def test_result_and_error(factory, split):
    async def succeed(value):
        await trio.sleep(0.001)
        return value

    async def fail():
        await trio.sleep(0)
        raise KeyError("guest")

    async def host():
        assert await start_guest(succeed, 1, split=split) == 1
        with pytest.raises(KeyError, match="guest"):
            await start_guest(fail, split=split)
        return await start_guest(succeed, 2, split=split)

    assert run_host(factory, host) == 2


@hosts
def test_channels_both_ways(factory):
    # As in Trio's documentation: an asyncio.Queue one way, a channel the other.
    async def host():
        to_host = asyncio.Queue()
        to_guest, from_host = trio.open_memory_channel(float("inf"))

        async def guest():
            async with from_host:
                async for n in from_host:
                    to_host.put_nowait(n + 1)

        future = start_guest(guest)
        for i in range(100):
            to_guest.send_nowait(i)
            assert await to_host.get() == i + 1
        to_guest.close()
        await future

    run_host(factory, host)


@hosts
def test_both_wait_for_sockets_timers_and_threads_at_once(factory):
    async def guest():
        a, b = socket.socketpair()
        with a, b:
            a.setblocking(False)
            b.setblocking(False)
            for i in range(30):
                b.send(b"%d" % i)
                await lowlevel.wait_readable(a)
                assert a.recv(10) == b"%d" % i
                await trio.sleep(0.0005)
                await trio.to_thread.run_sync(threading.get_ident)
        return "guest"

    async def sockets():
        loop = asyncio.get_running_loop()
        a, b = socket.socketpair()
        with a, b:
            a.setblocking(False)
            b.setblocking(False)
            for i in range(30):
                await loop.sock_sendall(b, b"%d" % i)
                assert await loop.sock_recv(a, 10) == b"%d" % i
                await asyncio.sleep(0.0005)
                await loop.run_in_executor(None, threading.get_ident)
        return "host"

    async def host():
        return await asyncio.gather(start_guest(guest), sockets())

    assert run_host(factory, host) == ["guest", "host"]


@hosts
def test_call_soon_threadsafe_of_the_host_while_the_guest_waits(factory):
    async def guest(event):
        await event.wait()

    async def host():
        loop = asyncio.get_running_loop()
        for _ in range(10):
            event = trio.Event()
            future = start_guest(guest, event)
            await asyncio.sleep(0.002)
            thread = threading.Thread(
                target=loop.call_soon_threadsafe, args=(event.set,)
            )
            thread.start()
            await future
            thread.join()

    run_host(factory, host)


@hosts
def test_host_cancels_the_guest(factory):
    async def guest(scope):
        with scope:
            await trio.sleep_forever()
        assert scope.cancelled_caught
        return "cancelled"

    async def host():
        scope = trio.CancelScope()
        future = start_guest(guest, scope)
        await asyncio.sleep(0.01)
        scope.cancel()
        return await future

    assert run_host(factory, host) == "cancelled"


@hosts
def test_the_running_loop_of_the_host_is_not_the_guests(factory):
    # What a guest's task sees is as it is on plain Trio: the thread's running loop,
    # which the guest must leave as it is.
    async def guest():
        for _ in range(5):
            await trio.sleep(0.001)

    async def host():
        loop = asyncio.get_running_loop()
        future = start_guest(guest)
        while not future.done():
            assert asyncio.get_running_loop() is loop
            assert asyncio.current_task() is not None
            await asyncio.sleep(0)
        await future
        assert asyncio.get_running_loop() is loop

    run_host(factory, host)


@hosts
def test_a_loop_opened_in_the_guest(factory):
    async def guest(host_loop):
        async with open_loop() as loop:
            assert loop is not host_loop
            for i in range(10):
                assert asyncio.get_running_loop() is loop
                assert await run_asyncio(inner, i) == (i, loop)
                await trio.sleep(0.001)
        assert current_loop.get() is None
        return "closed" if loop.is_closed() else "open"

    async def inner(i):
        await asyncio.sleep(0.001)
        future = asyncio.get_running_loop().run_trio(back, i)
        return await future, asyncio.get_running_loop()

    async def back(i):
        await trio.sleep(0.001)
        return i

    async def host():
        loop = asyncio.get_running_loop()
        future = start_guest(guest, loop)
        while not future.done():
            assert asyncio.get_running_loop() is loop
            await asyncio.sleep(0.001)
        return await future

    assert run_host(factory, host) == "closed"


@hosts
def test_an_error_in_a_loop_of_the_guest_is_the_guests(factory):
    async def guest():
        async with open_loop():
            await run_asyncio(fail)

    async def fail():
        await asyncio.sleep(0)
        raise KeyError("inner")

    async def host():
        with pytest.RaisesGroup(KeyError, flatten_subgroups=True):
            await start_guest(guest)
        await asyncio.sleep(0)
        return "fine"

    assert run_host(factory, host) == "fine"


@hosts
def test_async_generators_stay_with_their_flavour(factory):
    # R40
    closed = []

    async def generator(name, pause):
        try:
            yield 1
        finally:
            await pause()
            closed.append(name)

    async def short():
        with trio.CancelScope(shield=True):
            await trio.sleep(0)

    async def guest():
        kept.append(generator("guest", short))
        await anext(kept[-1])
        await trio.sleep(0.001)

    async def host():
        kept.append(generator("host", lambda: asyncio.sleep(0)))
        await anext(kept[-1])
        future = start_guest(guest)
        kept.append(generator("host, later", lambda: asyncio.sleep(0)))
        await anext(kept[-1])
        await future
        assert closed == ["guest"]

    kept = []
    hooks = sys.get_asyncgen_hooks()
    run_host(factory, host)
    assert sorted(closed) == ["guest", "host", "host, later"]
    assert sys.get_asyncgen_hooks() == hooks


@hosts
def test_sniffio_knows_them_apart(factory):
    sniffio = pytest.importorskip("sniffio")

    async def guest():
        for _ in range(5):
            assert sniffio.current_async_library() == "trio"
            await trio.sleep(0.001)

    async def host():
        future = start_guest(guest)
        while not future.done():
            assert sniffio.current_async_library() == "asyncio"
            await asyncio.sleep(0)
        await future

    run_host(factory, host)


@hosts
def test_a_guest_that_is_left_behind_by_a_closed_host(factory):
    async def guest():
        while True:
            await lowlevel.checkpoint()

    def run():
        async def host():
            start_guest(guest)
            await asyncio.sleep(0.001)

        run_host_loosely(factory, host)

    seen = []
    thread = threading.Thread(target=lambda: seen.append(run()))
    with pytest.warns(RuntimeWarning, match="Trio guest run got abandoned"):
        thread.start()
        thread.join()
        collect_unheard()
    assert seen == [None]


@hosts
def test_fifty_guests_in_a_row(factory):
    async def guest(i):
        await trio.sleep(0.0001)
        return i

    async def host():
        return [await start_guest(guest, i) for i in range(50)]

    assert run_host(factory, host) == list(range(50))


@hosts
def test_asyncio_run_in_a_worker_thread_of_the_guest(factory):
    async def guest():
        return await trio.to_thread.run_sync(asyncio.run, inner())

    async def inner():
        await asyncio.sleep(0.001)
        return "inner"

    async def host():
        return await start_guest(guest)

    assert run_host(factory, host) == "inner"


# Our own loop as the host: it has a run as well


def test_host_and_guest_have_a_run_each():
    async def who():
        await trio.sleep(0.001)
        return lowlevel.current_root_task()

    async def guest():
        for _ in range(10):
            roots.add(await who())

    async def host():
        loop = asyncio.get_running_loop()
        future = start_guest(guest)
        hosts = {await loop.run_trio(who) for _ in range(10)}
        await future
        return hosts

    roots = set()
    hosts = run_host(new_event_loop, host)
    assert len(roots) == len(hosts) == 1
    assert roots != hosts
    roots.clear()
    hosts.clear()


def test_events_and_channels_between_a_hosts_trio_tasks_and_the_guest():
    async def guest(event, channel):
        await channel.send("from the guest")
        await event.wait()
        return "guest done"

    async def in_host(channel):
        return await channel.receive()

    async def host():
        loop = asyncio.get_running_loop()
        event = trio.Event()
        send, receive = trio.open_memory_channel(1)
        with send, receive:
            future = start_guest(guest, event, send)
            assert await loop.run_trio(in_host, receive) == "from the guest"
            event.set()
            return await future

    assert run_host(new_event_loop, host) == "guest done"


def test_async_generators_of_a_hosts_trio_task_are_not_the_guests():
    closed = []

    async def generator():
        try:
            yield 1
        finally:
            closed.append(1)

    async def in_host(stop):
        agen = generator()
        await anext(agen)
        await stop.wait()
        assert closed == []
        await agen.aclose()
        assert closed == [1]

    async def guest():
        await trio.sleep(0.01)

    async def host():
        loop = asyncio.get_running_loop()
        future = start_guest(guest)
        stop = trio.Event()
        call = loop.run_trio(in_host, stop)
        await future
        stop.set()
        await call

    run_host(new_event_loop, host)


def test_scopes_of_a_hosts_trio_task_expire_while_the_guest_waits():
    async def in_host():
        with trio.move_on_after(0.01) as scope:
            await trio.sleep_forever()
        return scope.cancelled_caught

    async def guest(event):
        await event.wait()

    async def host():
        event = trio.Event()
        future = start_guest(guest, event)
        assert await asyncio.get_running_loop().run_trio(in_host)
        event.set()
        await future

    run_host(new_event_loop, host)


def test_a_guest_cannot_be_started_by_a_task_of_the_hosts_run():
    async def in_host():
        with pytest.raises(RuntimeError, match="from inside a run"):
            lowlevel.start_guest_run(
                trio.sleep,
                0,
                run_sync_soon_threadsafe=lambda fn: None,
                done_callback=lambda outcome: None,
            )

    async def host():
        await asyncio.get_running_loop().run_trio(in_host)

    run_host(new_event_loop, host)


def test_no_second_guest_on_an_own_loop_beside_the_first():
    async def guest(event):
        await event.wait()

    async def host():
        event = trio.Event()
        future = start_guest(guest, event)
        with pytest.raises(RuntimeError, match="from inside a run"):
            start_guest(guest, event)
        event.set()
        await future

    run_host(new_event_loop, host)


def test_a_guest_on_a_loop_that_a_trio_program_opened():
    # An asyncio loop in a run, and on it a guest run: three levels.
    async def guest():
        await trio.sleep(0.001)
        return lowlevel.current_root_task()

    async def host():
        return await start_guest(guest)

    async def main():
        async with open_loop():
            inner = await run_asyncio(host)
        return inner is not lowlevel.current_root_task()

    assert trio.run(main)
