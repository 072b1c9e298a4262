"""The loop's sock_recv(), sock_sendall() and their like, beside stock asyncio's."""

from __future__ import annotations

import array
import asyncio
import collections.abc
import gc
import inspect
import os
import socket
import ssl
import sys
import threading
import warnings
import weakref
from unittest import mock

import pytest

from trio_asyncio_c import EventLoop

LOOPS = [asyncio.SelectorEventLoop, EventLoop]
BIG = 3_000_000


def use_c_tasks(loop):
    return loop


def use_python_tasks(loop):
    loop.set_task_factory(
        lambda loop, coro, **kwargs: asyncio.tasks._PyTask(coro, loop=loop, **kwargs)
    )


def use_eager_tasks(loop):
    loop.set_task_factory(asyncio.eager_task_factory)


TASKS = [use_c_tasks, use_python_tasks]
if sys.version_info >= (3, 12):
    TASKS.append(use_eager_tasks)


@pytest.fixture(params=TASKS)
def any_tasks(request, loop):
    request.param(loop)
    return loop


def make_pair(type=socket.SOCK_STREAM):
    left, right = socket.socketpair(type=type)
    left.setblocking(False)
    right.setblocking(False)
    return left, right


@pytest.fixture
def pair():
    left, right = make_pair()
    yield left, right
    left.close()
    right.close()


@pytest.fixture
def listener():
    with socket.create_server(("127.0.0.1", 0)) as sock:
        sock.setblocking(False)
        yield sock


def udp_socket(host="127.0.0.1"):
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_DGRAM)
    sock.bind((host, 0))
    sock.setblocking(False)
    return sock


def has_ipv6():
    try:
        udp_socket("::1").close()
    except OSError:
        return False
    return True


needs_ipv6 = pytest.mark.skipif(not has_ipv6(), reason="no IPv6 here")
linux_only = pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")


async def start(loop, coro):
    """Make a Task of a call, and let it wait."""
    task = loop.create_task(coro)
    await asyncio.sleep(0)
    assert not task.done()
    return task


def fill(sock):
    """Send until the socket would block; returns how many bytes."""
    sent = 0
    try:
        while True:
            sent += sock.send(bytes(1024))
    except BlockingIOError:
        return sent


async def receive_exactly(loop, sock, count):
    chunks = []
    while count:
        chunk = await loop.sock_recv(sock, min(count, 100_000))
        assert chunk
        chunks.append(chunk)
        count -= len(chunk)
    return b"".join(chunks)


# Receiving


@pytest.mark.parametrize("size", [1, 100, 16384, 16385, 65536, 200_000])
def test_recv(any_tasks, pair, size):
    loop = any_tasks
    left, right = pair

    async def main():
        right.send(b"at once")
        assert await loop.sock_recv(left, size) == b"at once"[:size]
        if size == 1:
            assert await loop.sock_recv(left, 100) == b"t once"
        task = await start(loop, loop.sock_recv(left, size))
        right.send(b"later")
        assert await task == b"later"[:size]
        if size == 1:
            assert await loop.sock_recv(left, 100) == b"ater"
        right.close()
        assert await loop.sock_recv(left, size) == b""

    loop.run_until_complete(main())


@pytest.mark.parametrize("size", [3, 100, 200_000])
def test_recv_into(any_tasks, pair, size):
    loop = any_tasks
    left, right = pair

    async def main():
        buffer = bytearray(size)
        right.send(b"abc")
        assert await loop.sock_recv_into(left, buffer) == 3
        task = await start(loop, loop.sock_recv_into(left, memoryview(buffer)))
        right.send(b"xyz")
        assert await task == 3
        assert bytes(buffer[:3]) == b"xyz"
        task = await start(loop, loop.sock_recv_into(left, buffer))
        buffer.append(0)  # it is not locked while the call waits
        right.close()
        assert await task == 0
        assert await loop.sock_recv_into(left, bytearray()) == 0

    loop.run_until_complete(main())


@pytest.mark.parametrize("host", ["127.0.0.1", pytest.param("::1", marks=needs_ipv6)])
def test_datagrams(any_tasks, host):
    loop = any_tasks

    async def main():
        with udp_socket(host) as left, udp_socket(host) as right:
            there = left.getsockname()
            assert await loop.sock_sendto(right, b"abc", there) == 3
            assert await loop.sock_recvfrom(left, 10) == (b"abc", right.getsockname())
            task = await start(loop, loop.sock_recvfrom(left, 70_000))
            right.sendto(b"", there)
            assert await task == (b"", right.getsockname())

            buffer = bytearray(4)
            task = await start(loop, loop.sock_recvfrom_into(left, buffer))
            right.sendto(b"abcdef", there)
            assert await task == (4, right.getsockname())
            assert buffer == b"abcd"
            right.sendto(b"xyz", there)
            assert await loop.sock_recvfrom_into(left, buffer, 2) == (
                2,
                right.getsockname(),
            )
            assert buffer == b"xycd"
            right.connect(there)
            await loop.sock_sendall(right, b"1")
            assert await loop.sock_recv(left, 10) == b"1"

    loop.run_until_complete(main())


def test_datagrams_of_unix_sockets(any_tasks, tmp_path):
    loop = any_tasks

    async def main():
        left, right = [
            socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) for _ in range(2)
        ]
        with left, right:
            left.setblocking(False)
            right.setblocking(False)
            left.bind(str(tmp_path / "left"))
            right.bind(str(tmp_path / "right"))
            task = await start(loop, loop.sock_recvfrom(left, 10))
            assert await loop.sock_sendto(right, b"abc", left.getsockname()) == 3
            assert await task == (b"abc", right.getsockname())
            buffer = bytearray(10)
            task = await start(loop, loop.sock_recvfrom_into(left, buffer))
            assert await loop.sock_sendto(right, b"xyz", left.getsockname()) == 3
            assert await task == (3, right.getsockname())

    loop.run_until_complete(main())


def test_recvfrom_of_a_stream(loop, pair, listener):
    async def main():
        with socket.socket() as client:
            client.setblocking(False)
            await loop.sock_connect(client, listener.getsockname())
            conn, _ = await loop.sock_accept(listener)
            with conn:
                conn.send(b"abc")
                assert await loop.sock_recvfrom(client, 10) == (b"abc", None)
        pair[1].send(b"abc")
        assert await loop.sock_recvfrom(pair[0], 10) == (b"abc", None)

    loop.run_until_complete(main())


# Sending


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"abc",
        bytes(BIG),
        bytearray(b"x") * BIG,
        memoryview(bytes(BIG)),
        memoryview(array.array("I", range(BIG // 4))),
        memoryview(bytes(range(250)) * 2000).cast("B", (1000, 500)),
        array.array("d", range(1000)),
    ],
    ids=lambda data: f"{type(data).__name__}-{getattr(data, 'format', '')}-{len(data)}",
)
def test_sendall(any_tasks, pair, data):
    loop = any_tasks
    left, right = pair
    expected = bytes(data)

    async def main():
        task = loop.create_task(loop.sock_sendall(left, data))
        assert await receive_exactly(loop, right, len(expected)) == expected
        assert await task is None

    loop.run_until_complete(main())


def test_sendall_locks_the_data_while_it_waits(loop, pair):
    left, right = pair
    data = bytearray(BIG)

    async def main():
        task = await start(loop, loop.sock_sendall(left, data))
        with pytest.raises(BufferError):
            data.append(0)
        await receive_exactly(loop, right, BIG)
        await task
        data.append(0)
        task = await start(loop, loop.sock_sendall(left, data))
        task.cancel()
        await asyncio.wait([task])
        data.append(0)

    loop.run_until_complete(main())


def test_sendall_of_nothing_to_a_full_socket(loop, pair):
    async def main():
        fill(pair[0])
        await loop.sock_sendall(pair[0], b"")

    loop.run_until_complete(main())


def test_sendto_waits_for_room(any_tasks, tmp_path):
    loop = any_tasks
    path = str(tmp_path / "socket")

    async def main():
        left, right = [
            socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) for _ in range(2)
        ]
        with left, right:
            left.setblocking(False)
            right.setblocking(False)
            right.bind(path)
            left.connect(path)  # so that the kernel looks for room at the far end
            fill(left)
            task = await start(loop, loop.sock_sendto(left, b"last", path))
            received = b""
            while received != b"last":
                received = await loop.sock_recv(right, 100)
            assert await task == 4

    loop.run_until_complete(main())


# Connecting and accepting


def test_connect_and_accept(any_tasks, listener):
    loop = any_tasks

    async def main():
        accepting = await start(loop, loop.sock_accept(listener))
        with socket.socket() as client:
            client.setblocking(False)
            assert await loop.sock_connect(client, listener.getsockname()) is None
            conn, address = await accepting
            with conn:
                assert address == client.getsockname()
                assert conn.gettimeout() == 0
                await loop.sock_sendall(client, b"abc")
                assert await loop.sock_recv(conn, 10) == b"abc"

    loop.run_until_complete(main())


def test_connect_by_name_asks_the_loop(loop, listener):
    asked = []

    async def getaddrinfo(*args, **kwargs):
        asked.append((args, kwargs))
        await asyncio.sleep(0)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", listener.getsockname())]

    async def main():
        loop.getaddrinfo = getaddrinfo
        with socket.socket() as client:
            client.setblocking(False)
            await loop.sock_connect(client, ("some.name", 1))
            assert client.getpeername() == listener.getsockname()

    loop.run_until_complete(main())
    ((args, kwargs),) = asked
    assert args == ("some.name", 1)
    assert kwargs["family"] == socket.AF_INET


def test_connect_whose_name_is_unknown(loop):
    async def getaddrinfo(*args, **kwargs):
        raise socket.gaierror(socket.EAI_NONAME, "no such name")

    async def main():
        loop.getaddrinfo = getaddrinfo
        with socket.socket() as client:
            client.setblocking(False)
            with pytest.raises(socket.gaierror, match="no such name"):
                await loop.sock_connect(client, ("some.name", 1))

    loop.run_until_complete(main())


def test_connect_that_is_cancelled_while_the_name_is_looked_up(loop):
    cancelled = []

    async def getaddrinfo(*args, **kwargs):
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError as exc:
            cancelled.append(exc.args)
            raise

    async def main():
        loop.getaddrinfo = getaddrinfo
        with socket.socket() as client:
            client.setblocking(False)
            task = await start(loop, loop.sock_connect(client, ("some.name", 1)))
            await asyncio.sleep(0)
            task.cancel("why")
            with pytest.raises(asyncio.CancelledError):
                await task

    loop.run_until_complete(main())
    assert len(cancelled) == 1


def test_connect_of_unix_sockets(any_tasks, tmp_path):
    loop = any_tasks
    path = str(tmp_path / "socket")

    async def main():
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(path)
            server.listen()
            server.setblocking(False)
            with socket.socket(socket.AF_UNIX) as client:
                client.setblocking(False)
                await loop.sock_connect(client, path)
                conn, _ = await loop.sock_accept(server)
                conn.close()
                assert await loop.sock_recv(client, 1) == b""

    loop.run_until_complete(main())


def unused_port():
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


def test_connect_that_is_refused(listener):
    address = ("127.0.0.1", unused_port())
    messages = set()
    for make_loop in LOOPS:

        async def main(loop):
            with socket.socket() as client:
                client.setblocking(False)
                await loop.sock_connect(client, address)

        loop = make_loop()
        with pytest.raises(ConnectionRefusedError) as info:
            loop.run_until_complete(main(loop))
        messages.add(str(info.value))
        loop.close()
    assert len(messages) == 1
    assert "Connect call failed" in messages.pop()


# Being a coroutine


def calls(loop, sock):
    """Return each call once, not awaited."""
    return [
        loop.sock_recv(sock, 1),
        loop.sock_recv_into(sock, bytearray(1)),
        loop.sock_recvfrom(sock, 1),
        loop.sock_recvfrom_into(sock, bytearray(1)),
        loop.sock_sendall(sock, b"x"),
        loop.sock_sendto(sock, b"x", ("127.0.0.1", 1)),
        loop.sock_connect(sock, ("127.0.0.1", 1)),
        loop.sock_accept(sock),
    ]


def test_calls_are_coroutines(loop, pair):
    for coro in calls(loop, pair[0]):
        assert asyncio.iscoroutine(coro)
        assert not asyncio.isfuture(coro)
        assert inspect.isawaitable(coro)
        assert isinstance(coro, collections.abc.Coroutine)
        method = getattr(loop, coro.__name__)
        if sys.version_info >= (3, 12):
            assert inspect.iscoroutinefunction(method)
        assert coro.__qualname__ == f"EventLoop.{coro.__name__}"
        assert repr(coro).endswith("not started>")
        stock = getattr(asyncio.SelectorEventLoop, coro.__name__)
        assert (
            list(inspect.signature(method).parameters)
            == (list(inspect.signature(stock).parameters)[1:])
        )
        assert coro.close() is None
        with pytest.raises(RuntimeError, match="cannot reuse already awaited"):
            coro.send(None)


def test_arguments_by_name(loop, pair):
    left, right = pair

    async def main():
        await loop.sock_sendall(sock=right, data=b"abc")
        assert await loop.sock_recv(n=10, sock=left) == b"abc"

    loop.run_until_complete(main())


def test_a_forgotten_await(loop, pair):
    with pytest.warns(RuntimeWarning) as caught:
        loop.sock_recv(pair[0], 1)
    assert [str(warning.message) for warning in caught] == [
        "coroutine 'EventLoop.sock_recv' was never awaited"
    ]


def test_a_task_that_is_cancelled_before_it_starts(loop, pair):
    async def main():
        task = loop.create_task(loop.sock_recv(pair[0], 1))
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        loop.run_until_complete(main())


def test_the_ways_to_await(request, any_tasks, pair):
    if sys.version_info >= (3, 14) and "python" in request.node.name:
        pytest.skip("asyncio.timeout() knows tasks in C only")
    loop = any_tasks
    left, right = pair

    async def main():
        right.send(b"1")
        assert await asyncio.wait_for(loop.sock_recv(left, 1), 100) == b"1"
        results = asyncio.gather(
            loop.sock_recv(left, 1), loop.sock_sendall(right, b"2")
        )
        assert await results == [b"2", None]
        task = asyncio.ensure_future(loop.sock_recv(left, 1))
        right.send(b"3")
        assert await asyncio.shield(task) == b"3"
        async with asyncio.timeout(100):
            right.send(b"4")
            assert await loop.sock_recv(left, 1) == b"4"
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(loop.sock_recv(left, 1), 0.001)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.001):
                await loop.sock_recv(left, 1)
        right.send(b"5")
        assert await loop.sock_recv(left, 1) == b"5"

    loop.run_until_complete(main())
    right.send(b"6")
    assert loop.run_until_complete(loop.sock_recv(left, 1)) == b"6"
    future = None

    def run_from_thread():
        nonlocal future
        future = asyncio.run_coroutine_threadsafe(loop.sock_recv(left, 1), loop)
        right.send(b"7")
        assert future.result() == b"7"
        loop.call_soon_threadsafe(loop.stop)

    thread = threading.Thread(target=run_from_thread)
    thread.start()
    loop.run_forever()
    thread.join()


def test_driven_by_hand(loop, pair):
    left, right = pair
    coro = loop.sock_recv(left, 10)
    with pytest.raises(TypeError, match="just-started"):
        coro.send(1)
    assert coro.send(None) is coro
    assert asyncio.isfuture(coro)
    assert coro._asyncio_future_blocking is True
    assert coro.get_loop() is loop
    assert not coro.done()
    with pytest.raises(asyncio.InvalidStateError):
        coro.result()
    seen = []
    coro.add_done_callback(seen.append)
    coro.add_done_callback(seen.append)
    coro.add_done_callback(print)
    assert coro.remove_done_callback(print) == 1
    assert coro.remove_done_callback(len) == 0
    loop.call_soon(right.send, b"abc")
    loop.call_later(0.001, loop.stop)
    while not seen:
        loop.call_later(0.001, loop.stop)
        loop.run_forever()
    assert seen == [coro, coro]
    assert coro.done()
    assert not coro.cancelled()
    assert coro.result() is None
    assert coro.exception() is None
    assert coro.cancel() is False
    coro.add_done_callback(seen.append)
    loop.call_soon(loop.stop)
    loop.run_forever()
    assert len(seen) == 3
    with pytest.raises(StopIteration) as info:
        coro.send(None)
    assert info.value.value == b"abc"
    assert not asyncio.isfuture(coro)


def test_resumed_too_early_by_hand(loop, pair):
    coro = loop.sock_recv(pair[0], 10)
    coro.send(None)
    with pytest.raises(RuntimeError, match="await wasn't used with future"):
        coro.send(None)


def test_one_done_callback_that_is_removed(loop, pair):
    coro = loop.sock_recv(pair[0], 10)
    coro.send(None)
    coro.add_done_callback(print)
    assert coro.remove_done_callback(len) == 0
    assert coro.remove_done_callback(print) == 1
    assert coro.remove_done_callback(print) == 0
    with pytest.raises(TypeError, match="add_done_callback"):
        coro.add_done_callback()
    assert coro.cancel("why") is True
    assert coro.cancelled()
    assert coro.cancel() is False
    with pytest.raises(asyncio.CancelledError, match="why"):
        coro.result()
    with pytest.raises(asyncio.CancelledError, match="why"):
        coro.send(None)


def test_throw_and_close_while_waiting(loop, pair):
    left, right = pair
    coro = loop.sock_recv(left, 10)
    coro.send(None)
    with pytest.raises(KeyError):
        coro.throw(KeyError)
    coro = loop.sock_recv(left, 10)
    coro.send(None)
    with pytest.raises(TypeError, match="exceptions must be"):
        coro.throw(1)
    coro.close()
    coro.close()
    with pytest.raises(RuntimeError, match="cannot reuse"):
        coro.throw(KeyError)
    right.send(b"x")
    assert loop.run_until_complete(loop.sock_recv(left, 10)) == b"x"


def test_a_future_like_thing_for_another_loop(pair):
    ours, other = EventLoop(), asyncio.SelectorEventLoop()
    try:
        with pytest.raises(RuntimeError, match="attached to a different loop"):
            other.run_until_complete(ours.sock_recv(pair[0], 1))
    finally:
        other.close()
        ours.close()


def test_a_loop_that_runs_in_another_thread(loop, pair):
    errors = []
    entered = threading.Event()

    def use_loop():
        entered.wait()
        coro = loop.sock_recv(pair[0], 1)
        with pytest.raises(RuntimeError, match="other than the current one") as info:
            coro.send(None)
        errors.append(info.value)
        loop.call_soon_threadsafe(loop.stop)

    thread = threading.Thread(target=use_loop)
    thread.start()
    loop.call_soon(entered.set)
    loop.run_forever()
    thread.join()
    assert len(errors) == 1


# Cancelling


@pytest.mark.parametrize("call", ["recv", "recv_into", "sendall", "accept"])
def test_cancelling(any_tasks, pair, listener, call):
    loop = any_tasks
    left, right = pair

    async def main():
        coro = {
            "recv": lambda: loop.sock_recv(left, 1),
            "recv_into": lambda: loop.sock_recv_into(left, bytearray(1)),
            "sendall": lambda: loop.sock_sendall(left, bytes(BIG)),
            "accept": lambda: loop.sock_accept(listener),
        }[call]()
        task = await start(loop, coro)
        task.cancel("why")
        with pytest.raises(asyncio.CancelledError):
            await task
        assert task.cancelled()

    loop.run_until_complete(main())


def test_data_that_a_cancelled_task_does_not_get_are_kept(loop, pair):
    left, right = pair

    async def main():
        task = await start(loop, loop.sock_recv(left, 10))
        right.send(b"abc")
        # Runs in the turn in which the socket is found ready, before the task.
        while not task.get_coro().done():
            loop.call_soon(lambda: task.get_coro().done() and task.cancel())
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])
        if task.cancelled():
            assert await loop.sock_recv(left, 10) == b"abc"
        else:
            assert task.result() == b"abc"

    loop.run_until_complete(main())


def test_a_cancelled_call_and_the_next_one_race(any_tasks, pair):
    loop = any_tasks
    left, right = pair

    async def main():
        task = await start(loop, loop.sock_recv(left, 10))
        task.cancel()
        other = await start(loop, loop.sock_recv(left, 10))
        right.send(b"abc")
        assert await other == b"abc"
        assert task.cancelled()

    loop.run_until_complete(main())


def test_several_calls_wait_for_one_socket(any_tasks, pair):
    loop = any_tasks
    left, right = pair

    async def main():
        tasks = [await start(loop, loop.sock_recv(left, 1)) for _ in range(5)]
        tasks[2].cancel()
        await asyncio.sleep(0)
        right.send(b"abcd")
        del tasks[2]
        assert await asyncio.gather(*tasks) == [b"a", b"b", b"c", b"d"]

    loop.run_until_complete(main())


def test_reading_and_writing_at_once(any_tasks, pair):
    loop = any_tasks
    left, right = pair

    async def main():
        reading = await start(loop, loop.sock_recv(left, 10))
        writing = await start(loop, loop.sock_sendall(left, bytes(BIG)))
        right.send(b"abc")
        assert await reading == b"abc"
        await receive_exactly(loop, right, BIG)
        await writing

    loop.run_until_complete(main())


def test_a_reader_beside_a_call(loop, pair):
    left, right = pair
    seen = []

    async def main():
        loop.add_reader(left, seen.append, 1)
        task = await start(loop, loop.sock_recv(left, 10))
        right.send(b"abc")
        assert await task == b"abc"
        assert loop.remove_reader(left)

    loop.run_until_complete(main())
    assert seen


# What the kernel is told


def watched_fds():
    """Return the numbers that this process's epoll sets hold."""
    found = []
    for name in os.listdir("/proc/self/fd"):
        try:
            if os.readlink(f"/proc/self/fd/{name}") != "anon_inode:[eventpoll]":
                continue
            with open(f"/proc/self/fdinfo/{name}") as info:
                found += [int(line.split()[1]) for line in info if "tfd:" in line]
        except FileNotFoundError:
            continue
    return found


async def some_turns(loop):
    """Let the loop ask the kernel a few times."""
    for _ in range(5):
        await asyncio.sleep(0.001)


@linux_only
def test_a_watch_is_kept_but_not_for_data_that_nobody_waits_for(loop, pair):
    left, right = pair

    async def main():
        task = await start(loop, loop.sock_recv(left, 10))
        right.send(b"abc")
        assert await task == b"abc"
        await some_turns(loop)
        assert left.fileno() in watched_fds()
        right.send(b"abc")
        await some_turns(loop)
        assert left.fileno() not in watched_fds()
        assert await loop.sock_recv(left, 10) == b"abc"
        task = await start(loop, loop.sock_recv(left, 10))
        right.send(b"xyz")
        assert await task == b"xyz"

    loop.run_until_complete(main())


@linux_only
def test_a_writer_s_watch_is_dropped(loop, pair):
    left, right = pair

    async def main():
        task = loop.create_task(loop.sock_sendall(left, bytes(BIG)))
        await receive_exactly(loop, right, BIG)
        await task
        await some_turns(loop)
        assert left.fileno() not in watched_fds()

    loop.run_until_complete(main())


def test_a_number_that_stands_for_another_socket(any_tasks):
    loop = any_tasks

    async def main():
        fds = set()
        for _ in range(10):
            left, right = make_pair()
            fds.add(left.fileno())
            task = await start(loop, loop.sock_recv(left, 10))
            right.send(b"abc")
            assert await task == b"abc"
            left.close()
            right.close()
        assert len(fds) < 10

    loop.run_until_complete(main())


def test_another_socket_behind_the_same_object(any_tasks, pair):
    loop = any_tasks
    left, right = pair

    async def main():
        task = await start(loop, loop.sock_recv(left, 10))
        right.send(b"abc")
        assert await task == b"abc"
        new, other = make_pair()
        with new, other:
            os.dup2(new.fileno(), left.fileno())
            task = await start(loop, loop.sock_recv(left, 10))
            other.send(b"xyz")
            assert await task == b"xyz"

    loop.run_until_complete(main())


def test_a_socket_that_is_closed_while_a_call_waits(loop, pair):
    left, right = pair

    async def main():
        fd = left.fileno()
        task = await start(loop, loop.sock_recv(left, 10))
        await asyncio.sleep(0.01)  # the kernel knows of it
        left.close()
        await asyncio.sleep(0.01)
        assert not task.done()
        new, other = make_pair()
        with new, other:
            if new.fileno() == fd:
                other.send(b"abc")
                assert await loop.sock_recv(new, 10) == b"abc"
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

    loop.run_until_complete(main())


def test_a_socket_that_is_closed_before_the_kernel_knows_of_it(loop, pair):
    left, right = pair

    async def main():
        task = loop.create_task(loop.sock_recv(left, 10))
        loop.call_soon(left.close)
        with pytest.raises(OSError, match="Bad file descriptor"):
            await task

    loop.run_until_complete(main())


# What goes to the inherited methods


def test_subclasses_of_socket_use_their_own_methods(any_tasks):
    loop = any_tasks

    class Own(socket.socket):
        def recv(self, n):
            return super().recv(n).upper()

    async def main():
        left, right = make_pair()
        with Own(fileno=left.detach()) as sock, right:
            sock.setblocking(False)
            task = await start(loop, loop.sock_recv(sock, 10))
            right.send(b"abc")
            assert await task == b"ABC"

    loop.run_until_complete(main())


def test_a_replaced_method_of_socket(loop, pair):
    with mock.patch.object(socket.socket, "recv", return_value=b"mock"):
        assert loop.run_until_complete(loop.sock_recv(pair[0], 10)) == b"mock"
    pair[1].send(b"abc")
    assert loop.run_until_complete(loop.sock_recv(pair[0], 10)) == b"abc"


def test_mock_sockets(loop):
    sock = mock.Mock()
    sock.gettimeout.return_value = 0
    sock.recv.return_value = b"abc"
    assert loop.run_until_complete(loop.sock_recv(sock, 10)) == b"abc"
    sock.recv.assert_called_once_with(10)


@pytest.mark.parametrize("tasks", TASKS)
def test_a_replaced_add_reader(loop, pair, tasks):
    tasks(loop)
    left, right = pair
    added, removed = [], []

    def add_reader(fd, callback, *args):
        added.append(fd)
        return type(loop)._add_reader(loop, fd, callback, *args)

    def remove_reader(fd):
        removed.append(fd)
        return type(loop)._remove_reader(loop, fd)

    async def main():
        loop._add_reader, loop._remove_reader = add_reader, remove_reader
        task = await start(loop, loop.sock_recv(left, 10))
        assert added == [left.fileno()]
        right.send(b"abc")
        assert await task == b"abc"
        await asyncio.sleep(0)
        assert removed == [left.fileno()]
        task = await start(loop, loop.sock_recv(left, 10))
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await asyncio.sleep(0)
        assert len(removed) == 2
        coro = loop.sock_recv(left, 10)
        coro.send(None)
        coro.close()
        assert coro.close() is None

    loop.run_until_complete(main())


def test_a_replaced_add_writer(loop, pair):
    left, right = pair
    added = []

    def add_writer(fd, callback, *args):
        added.append(fd)
        return type(loop)._add_writer(loop, fd, callback, *args)

    async def main():
        loop._add_writer = add_writer
        data = array.array("I", range(BIG // 4))
        task = await start(loop, loop.sock_sendall(left, data))
        assert added == [left.fileno()]
        assert await receive_exactly(loop, right, BIG) == data.tobytes()
        await task

    loop.run_until_complete(main())


def test_debug_mode(loop, pair):
    left, right = pair
    loop.set_debug(True)

    async def main():
        task = await start(loop, loop.sock_recv(left, 10))
        right.send(b"abc")
        assert await task == b"abc"

    loop.run_until_complete(main())


def test_a_socket_with_a_timeout(loop, pair):
    left, right = pair
    left.settimeout(0.001)
    with pytest.raises(TimeoutError):
        loop.run_until_complete(loop.sock_recv(left, 10))
    right.send(b"abc")
    left.settimeout(None)
    assert loop.run_until_complete(loop.sock_recv(left, 10)) == b"abc"


# Errors, beside stock asyncio's


def close_first(sock):
    sock.close()
    return sock


def blocking(sock):
    sock.setblocking(True)
    return sock


def tls(sock):
    return ssl.create_default_context().wrap_socket(
        sock, server_hostname="x", do_handshake_on_connect=False
    )


MISTAKES = {
    "recv no arguments": lambda loop, sock: loop.sock_recv(),
    "recv too many": lambda loop, sock: loop.sock_recv(sock, 1, 2),
    "recv other name": lambda loop, sock: loop.sock_recv(sock, nbytes=2),
    "recv negative": lambda loop, sock: loop.sock_recv(sock, -1),
    "recv None": lambda loop, sock: loop.sock_recv(sock, None),
    "recv float": lambda loop, sock: loop.sock_recv(sock, 1.5),
    "recv huge": lambda loop, sock: loop.sock_recv(sock, 1 << 70),
    "recv zero": lambda loop, sock: loop.sock_recv(sock, 0),
    "recv closed": lambda loop, sock: loop.sock_recv(close_first(sock), 1),
    "recv no socket": lambda loop, sock: loop.sock_recv("socket", 1),
    "recv_into bytes": lambda loop, sock: loop.sock_recv_into(sock, b"abc"),
    "recv_into None": lambda loop, sock: loop.sock_recv_into(sock, None),
    "recv_into closed": lambda loop, sock: loop.sock_recv_into(
        close_first(sock), bytearray(1)
    ),
    "recvfrom negative": lambda loop, sock: loop.sock_recvfrom(sock, -1),
    "recvfrom closed": lambda loop, sock: loop.sock_recvfrom(close_first(sock), 1),
    "recvfrom_into bytes": lambda loop, sock: loop.sock_recvfrom_into(sock, b"abc"),
    "recvfrom_into too many": lambda loop, sock: loop.sock_recvfrom_into(
        sock, bytearray(3), 4
    ),
    "recvfrom_into negative": lambda loop, sock: loop.sock_recvfrom_into(
        sock, bytearray(3), -1
    ),
    "recvfrom_into str": lambda loop, sock: loop.sock_recvfrom_into(
        sock, bytearray(3), "1"
    ),
    "recvfrom_into closed": lambda loop, sock: loop.sock_recvfrom_into(
        close_first(sock), bytearray(3)
    ),
    "sendall str": lambda loop, sock: loop.sock_sendall(sock, "abc"),
    "sendall int": lambda loop, sock: loop.sock_sendall(sock, 5),
    "sendall None": lambda loop, sock: loop.sock_sendall(sock, None),
    "sendall with gaps": lambda loop, sock: loop.sock_sendall(
        sock, memoryview(b"abcdef")[::2]
    ),
    "sendall closed": lambda loop, sock: loop.sock_sendall(close_first(sock), b"x"),
    "sendto int": lambda loop, sock: loop.sock_sendto(sock, 5, ("127.0.0.1", 1)),
    "sendto no address": lambda loop, sock: loop.sock_sendto(sock, b"x", None),
    "sendto no port": lambda loop, sock: loop.sock_sendto(sock, b"x", ("127.0.0.1",)),
    "sendto few": lambda loop, sock: loop.sock_sendto(sock, b"x"),
    "connect closed": lambda loop, sock: loop.sock_connect(
        close_first(sock), ("127.0.0.1", 1)
    ),
    "connect None": lambda loop, sock: loop.sock_connect(sock, None),
    "connect str": lambda loop, sock: loop.sock_connect(sock, "127.0.0.1"),
    "connect port": lambda loop, sock: loop.sock_connect(sock, ("127.0.0.1", -1)),
    "accept unbound": lambda loop, sock: loop.sock_accept(sock),
    "accept closed": lambda loop, sock: loop.sock_accept(close_first(sock)),
}
KINDS = {
    "tcp": (socket.AF_INET, socket.SOCK_STREAM),
    "udp": (socket.AF_INET, socket.SOCK_DGRAM),
    "unix": (socket.AF_UNIX, socket.SOCK_STREAM),
}


def outcome_of(make_loop, call, sock, debug=False):
    """Return what a call on a loop comes to, as a comparable value."""
    loop = make_loop()
    loop.set_debug(debug)

    async def main():
        return await call(loop, sock)

    try:
        return loop.run_until_complete(asyncio.wait_for(main(), 0.05))
    except Exception as exc:
        # Unlike a C function, a Python one names its class.
        return type(exc), str(exc)
    finally:
        loop.close()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("mistake", MISTAKES)
def test_errors_are_stock_asyncio_s(mistake, kind):
    outcomes = []
    for make_loop in LOOPS:
        with socket.socket(*KINDS[kind]) as sock:
            sock.setblocking(False)
            outcomes.append(outcome_of(make_loop, MISTAKES[mistake], sock))
    assert outcomes[0] == outcomes[1]


DEBUG_CALLS = {
    "recv": lambda loop, sock: loop.sock_recv(sock, 1),
    "recv_into": lambda loop, sock: loop.sock_recv_into(sock, bytearray(1)),
    "recvfrom": lambda loop, sock: loop.sock_recvfrom(sock, 1),
    "recvfrom_into": lambda loop, sock: loop.sock_recvfrom_into(sock, bytearray(1)),
    "sendall": lambda loop, sock: loop.sock_sendall(sock, b"x"),
    "sendto": lambda loop, sock: loop.sock_sendto(sock, b"x", ("127.0.0.1", 1)),
    "connect": lambda loop, sock: loop.sock_connect(sock, ("127.0.0.1", 1)),
    "accept": lambda loop, sock: loop.sock_accept(sock),
}


@pytest.mark.parametrize("call", DEBUG_CALLS)
@pytest.mark.parametrize("prepare", [blocking, tls])
def test_sockets_that_are_refused(call, prepare):
    outcomes = []
    for make_loop in LOOPS:
        with socket.socket() as raw, prepare(raw) as sock:
            outcomes.append(outcome_of(make_loop, DEBUG_CALLS[call], sock, debug=True))
    assert outcomes[0] == outcomes[1]
    assert outcomes[0] in [
        (ValueError, "the socket must be non-blocking"),
        (TypeError, "Socket cannot be of type SSLSocket"),
    ]


def test_a_socket_that_a_transport_has(pair):
    left, right = pair

    def call(loop, sock):
        async def main():
            transport, _ = await loop.create_connection(
                asyncio.Protocol, sock=left.dup()
            )
            try:
                await loop.sock_recv(transport.get_extra_info("socket")._sock, 1)
            finally:
                transport.abort()
                await asyncio.sleep(0)

        return main()

    outcomes = [outcome_of(make_loop, call, None) for make_loop in LOOPS]
    for kind, text in outcomes:
        assert kind is RuntimeError
        assert "is used by transport" in text


def test_a_closed_loop(pair):
    loop = EventLoop()
    coro = loop.sock_recv(pair[0], 1)
    other = loop.sock_recv(pair[0], 1)
    other.send(None)
    loop.close()
    with pytest.raises(RuntimeError, match="Event loop is closed"):
        coro.send(None)
    with pytest.raises(RuntimeError, match="Event loop is closed"):
        other.cancel()
    with pytest.raises(RuntimeError, match="Event loop is closed"):
        other.add_done_callback(print)
    other.close()


# Lives


def test_a_waiting_task_is_kept_alive_by_the_loop(loop, pair):
    left, right = pair
    seen = []

    async def receive():
        seen.append(await loop.sock_recv(left, 10))
        loop.stop()

    loop.run_until_complete(start_and_forget(loop, receive()))
    gc.collect()
    right.send(b"abc")
    loop.run_forever()
    assert seen == [b"abc"]


async def start_and_forget(loop, coro):
    loop.create_task(coro)
    await asyncio.sleep(0)


def test_a_loop_that_is_forgotten_with_a_call(pair):
    class Loop(EventLoop):
        pass

    loop = Loop()
    coro = loop.sock_recv(pair[0], 1)
    coro.send(None)
    coro.add_done_callback(coro.cancel)
    gone = weakref.ref(loop)
    with pytest.warns(ResourceWarning, match="unclosed event loop"):
        del loop, coro
        gc.collect()
    assert gone() is None
