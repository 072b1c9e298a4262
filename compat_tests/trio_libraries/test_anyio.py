"""anyio with its trio backend."""

from __future__ import annotations

import inspect
import os
import signal
import ssl
import subprocess
import sys
import threading
from contextvars import ContextVar

import anyio
import anyio.from_thread
import anyio.to_thread
import pytest
import sniffio
import trio
from anyio.streams.buffered import BufferedByteReceiveStream
from anyio.streams.tls import TLSListener, TLSStream

from ._inner import run_pytest

request_id = ContextVar("request_id", default=None)

PAYLOAD = os.urandom(300_000)


def test_run_takes_the_backend_and_its_options(autojump):
    async def main(answer):
        assert sniffio.current_async_library() == "trio"
        assert anyio.get_current_task().coro is trio.lowlevel.current_task().coro
        before = anyio.current_time()
        await anyio.sleep(3600)
        assert anyio.current_time() - before == pytest.approx(3600)
        return answer

    options = {"clock": autojump}
    assert anyio.run(main, 42, backend="trio", backend_options=options) == 42


# ---- task groups ----


async def test_task_group_waits_for_its_tasks():
    order = []

    async def child(number, event):
        await event.wait()
        order.append(number)

    async with anyio.create_task_group() as group:
        events = [anyio.Event() for _ in range(3)]
        for number, event in enumerate(events):
            group.start_soon(child, number, event, name=f"child {number}")
        for number in (2, 0, 1):
            events[number].set()
            await anyio.wait_all_tasks_blocked()
    assert order == [2, 0, 1]


async def test_task_group_start_returns_what_the_task_started_with():
    async def service(prefix, *, task_status):
        with anyio.CancelScope() as scope:
            task_status.started((prefix + "ready", scope))
            await anyio.sleep_forever()
        return scope

    async with anyio.create_task_group() as group:
        value, scope = await group.start(service, "is ")
        assert value == "is ready"
        scope.cancel()
    assert scope.cancelled_caught


async def test_task_that_never_says_started():
    async def silent(*, task_status):
        await anyio.lowlevel.checkpoint()

    with pytest.RaisesGroup(pytest.RaisesExc(RuntimeError, match="started")):
        async with anyio.create_task_group() as group:
            await group.start(silent)


async def test_task_group_cancels_the_rest_and_groups_the_errors():
    cancelled = []

    async def fail(error):
        raise error

    async def wait():
        try:
            await anyio.sleep_forever()
        except anyio.get_cancelled_exc_class() as error:
            cancelled.append(type(error))
            raise

    with pytest.RaisesGroup(KeyError, ValueError):
        async with anyio.create_task_group() as group:
            group.start_soon(wait)
            group.start_soon(fail, KeyError("key"))
            group.start_soon(fail, ValueError("value"))
    assert cancelled == [trio.Cancelled]


async def test_task_group_left_by_cancellation_alone_raises_only_that():
    # anyio makes this exception itself, from nothing but the class.
    with anyio.CancelScope() as scope:
        with pytest.raises(trio.Cancelled):
            async with anyio.create_task_group() as group:
                group.start_soon(anyio.sleep_forever)
                scope.cancel()
                await anyio.sleep_forever()
        await anyio.lowlevel.checkpoint()
    assert scope.cancelled_caught


async def test_task_handle_of_created_task():
    async def double(value):
        await anyio.lowlevel.checkpoint()
        return 2 * value

    async with anyio.create_task_group() as group:
        handle = group.create_task(double(21), name="double")
        assert await handle == 42
    assert handle.name == "double"


# ---- cancellation ----


async def test_move_on_after_and_fail_after():
    with anyio.move_on_after(0.01) as scope:
        await anyio.sleep_forever()
    assert scope.cancelled_caught and scope.cancel_called
    with pytest.raises(TimeoutError), anyio.fail_after(0.01):
        await anyio.sleep_forever()


async def test_shield_protects_cleanup_and_deadline_can_move():
    cleaned = False
    with anyio.CancelScope() as outer:
        outer.cancel("no longer wanted")
        try:
            await anyio.sleep_forever()
        finally:
            with anyio.CancelScope(shield=True) as inner:
                assert anyio.current_effective_deadline() == float("inf")
                inner.deadline = anyio.current_time() + 3600
                await anyio.lowlevel.checkpoint()
                cleaned = True
    assert cleaned and outer.cancelled_caught and not inner.cancel_called


async def test_task_info_knows_of_a_pending_cancellation():
    seen = {}

    async def parent():
        with anyio.CancelScope() as scope:
            info = anyio.get_current_task()
            seen["before"] = info.has_pending_cancellation()
            scope.cancel()
            seen["cancelled"] = info.has_pending_cancellation()
            with anyio.CancelScope(shield=True):
                seen["shielded"] = info.has_pending_cancellation()
            seen["info"] = info

    async with anyio.create_task_group() as group:
        group.start_soon(parent, name="parent")
    assert not seen["before"] and seen["cancelled"] and not seen["shielded"]
    # The task is over; what anyio keeps of it says so, or that it is gone.
    assert not seen["info"].has_pending_cancellation()


async def test_running_tasks_are_listed_with_their_parents():
    async def child():
        await anyio.sleep_forever()

    me = anyio.get_current_task()
    async with anyio.create_task_group() as group:
        group.start_soon(child, name="the child")
        await anyio.wait_all_tasks_blocked()
        found = {info.name: info for info in anyio.get_running_tasks()}
        assert found["the child"].parent_id == me.id
        assert inspect.iscoroutine(found["the child"].coro)
        assert found[me.name] == me
        group.cancel_scope.cancel()


# ---- between tasks ----


async def test_memory_object_streams_clone_buffer_and_end():
    send, receive = anyio.create_memory_object_stream(max_buffer_size=2)
    received = []

    async def produce(stream, values):
        async with stream:
            for value in values:
                await stream.send(value)

    async def consume(stream):
        async with stream:
            async for value in stream:
                received.append(value)

    async with anyio.create_task_group() as group:
        for start in (0, 100):
            group.start_soon(produce, send.clone(), range(start, start + 50))
            group.start_soon(consume, receive.clone())
        send.close()
        receive.close()
    assert sorted(received) == [*range(50), *range(100, 150)]
    with pytest.raises(anyio.ClosedResourceError):
        send.send_nowait(None)


async def test_memory_object_stream_loses_nothing_to_cancellation():
    send, receive = anyio.create_memory_object_stream(0)
    with send, receive:
        async with anyio.create_task_group() as group:
            with anyio.move_on_after(0.01):
                await receive.receive()
            group.start_soon(send.send, "kept")
            assert await receive.receive() == "kept"
        with pytest.raises(anyio.WouldBlock):
            receive.receive_nowait()


async def test_lock_condition_and_limiter():
    lock, limiter = anyio.Lock(), anyio.CapacityLimiter(2)
    condition = anyio.Condition(lock)
    inside = most = 0
    done = []

    async def worker():
        nonlocal inside, most
        async with limiter:
            inside += 1
            most = max(most, inside)
            await anyio.lowlevel.checkpoint()
            inside -= 1
        async with condition:
            done.append(anyio.get_current_task().id)
            condition.notify()

    async with anyio.create_task_group() as group, condition:
        for _ in range(5):
            group.start_soon(worker)
        while len(done) < 5:
            assert lock.statistics().owner == anyio.get_current_task()
            await condition.wait()
    assert most == 2 and len(set(done)) == 5


@pytest.mark.parametrize("fast", [False, True])
async def test_semaphore_hands_over_in_order(fast):
    # The fast one parks in the lot of trio's semaphore.
    semaphore = anyio.Semaphore(1, fast_acquire=fast)
    order = []

    async def worker(number):
        await semaphore.acquire()
        order.append(number)
        semaphore.release()

    async with anyio.create_task_group() as group:
        await semaphore.acquire()
        for number in range(4):
            group.start_soon(worker, number)
            await anyio.wait_all_tasks_blocked()
        assert semaphore.statistics().tasks_waiting == 4
        semaphore.release()
    assert order == [0, 1, 2, 3] and semaphore.value == 1


# ---- threads ----


async def test_threads_run_together_with_the_context_of_their_task():
    meeting = threading.Barrier(3, timeout=40)

    def work():
        meeting.wait()
        return request_id.get(), threading.get_ident()

    results = []

    async def call(value):
        request_id.set(value)
        results.append(await anyio.to_thread.run_sync(work))

    async with anyio.create_task_group() as group:
        for value in "abc":
            group.start_soon(call, value)
    values, threads = zip(*results, strict=True)
    assert sorted(values) == ["a", "b", "c"]
    assert len(set(threads)) == 3 and threading.get_ident() not in threads


async def test_thread_calls_back_into_the_event_loop():
    async def add(a, b):
        await anyio.lowlevel.checkpoint()
        return a + b, trio.lowlevel.current_task().name

    def work():
        inside = threading.get_ident()
        outside = anyio.from_thread.run_sync(threading.get_ident)
        assert inside != outside == home
        return anyio.from_thread.run(add, 40, 2)

    home = threading.get_ident()
    total, _ = await anyio.to_thread.run_sync(work)
    assert total == 42


async def test_thread_sees_that_its_task_is_cancelled():
    go, seen = threading.Event(), threading.Event()

    def work():
        assert go.wait(40)
        try:
            anyio.from_thread.check_cancelled()
        except trio.Cancelled:
            seen.set()

    with anyio.CancelScope() as scope:
        async with anyio.create_task_group() as group:
            group.start_soon(anyio.to_thread.run_sync, work)
            await anyio.wait_all_tasks_blocked()
            scope.cancel()
            go.set()
    assert seen.is_set()


def test_blocking_portal_runs_a_trio_in_a_thread():
    async def serve(*, task_status):
        send, receive = anyio.create_memory_object_stream(5)
        task_status.started(send)
        with receive, send:
            return [await receive.receive() for _ in range(3)]

    async def fail():
        raise LookupError("from the portal")

    with anyio.from_thread.start_blocking_portal("trio") as portal:
        future, send = portal.start_task(serve)
        for value in "xyz":
            portal.call(send.send, value)
        assert future.result(40) == ["x", "y", "z"]
        with pytest.raises(LookupError, match="from the portal"):
            portal.call(fail)
        waiting = portal.start_task_soon(anyio.sleep_forever)
        assert waiting.cancel()


# ---- sockets ----


async def echo(stream):
    async with stream:
        try:
            while True:
                await stream.send(await stream.receive())
        except anyio.EndOfStream:
            pass


async def ask(stream, payload):
    """Send `payload` and return what comes back up to the end."""
    answer = bytearray()
    async with stream, anyio.create_task_group() as group:

        async def send():
            await stream.send(payload)
            await stream.send_eof()

        group.start_soon(send)
        async for chunk in stream:
            answer += chunk
    return bytes(answer)


async def serve_tcp(*, task_status):
    async with await anyio.create_tcp_listener(local_host="127.0.0.1") as listener:
        port = listener.extra(anyio.abc.SocketAttribute.local_port)
        task_status.started(port)
        await listener.serve(echo)


async def test_tcp_server_answers_many_clients():
    answers = {}

    async def client(port, number):
        payload = bytes([number]) + PAYLOAD
        stream = await anyio.connect_tcp("127.0.0.1", port)
        answers[number] = await ask(stream, payload) == payload

    async with anyio.create_task_group() as group:
        port = await group.start(serve_tcp)
        async with anyio.create_task_group() as clients:
            for number in range(10):
                clients.start_soon(client, port, number)
        group.cancel_scope.cancel()
    assert answers == dict.fromkeys(range(10), True)


async def test_receiving_can_be_cancelled_and_taken_up_again():
    async with anyio.create_task_group() as group:
        port = await group.start(serve_tcp)
        async with await anyio.connect_tcp("127.0.0.1", port) as stream:
            for round_ in range(5):
                with anyio.move_on_after(0.01) as scope:
                    await stream.receive()
                assert scope.cancelled_caught
                await stream.send(b"round %d" % round_)
                assert await stream.receive() == b"round %d" % round_
            async with anyio.create_task_group() as readers:
                readers.start_soon(anyio.wait_readable, stream._raw_socket)
                await anyio.wait_all_tasks_blocked()
                with pytest.raises(anyio.BusyResourceError):
                    await anyio.wait_readable(stream._raw_socket)
                readers.cancel_scope.cancel()
        group.cancel_scope.cancel()


async def test_closing_wakes_the_reader():
    async with anyio.create_task_group() as group:
        port = await group.start(serve_tcp)
        stream = await anyio.connect_tcp("127.0.0.1", port)

        async def read():
            with pytest.raises(anyio.ClosedResourceError):
                await stream.receive()

        async with anyio.create_task_group() as reader:
            reader.start_soon(read)
            await anyio.wait_all_tasks_blocked()
            await stream.aclose()
        group.cancel_scope.cancel()


async def test_unix_sockets_pass_file_descriptors(tmp_path):
    path = tmp_path / "socket"
    (tmp_path / "passed").write_text("by its descriptor")

    async def give(stream):
        async with stream:
            with open(tmp_path / "passed") as file:
                await stream.send_fds(b"here", [file])

    listener = await anyio.create_unix_listener(path)
    async with listener, anyio.create_task_group() as group:
        group.start_soon(listener.serve, give)
        async with await anyio.connect_unix(path) as stream:
            message, fds = await stream.receive_fds(100, 1)
        assert message == b"here"
        with open(fds[0]) as file:
            assert file.read() == "by its descriptor"
        group.cancel_scope.cancel()


async def test_udp_datagrams_keep_their_borders():
    async with await anyio.create_udp_socket(local_host="127.0.0.1") as server:
        address = server.extra(anyio.abc.SocketAttribute.local_address)
        async with await anyio.create_connected_udp_socket(*address) as client:
            for size in (1, 1000, 30_000):
                await client.send(PAYLOAD[:size])
                data, sender = await server.receive()
                assert data == PAYLOAD[:size]
                await server.sendto(data[::-1], *sender)
                assert await client.receive() == PAYLOAD[:size][::-1]


async def test_tls_over_tcp(authority):
    server_context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("localhost").configure_cert(server_context)
    client_context = ssl.create_default_context()
    authority.configure_trust(client_context)

    tcp = await anyio.create_tcp_listener(local_host="127.0.0.1")
    port = tcp.extra(anyio.abc.SocketAttribute.local_port)
    listener = TLSListener(tcp, server_context)
    async with listener, anyio.create_task_group() as group:
        group.start_soon(listener.serve, echo)
        stream = await anyio.connect_tcp(
            "127.0.0.1", port, ssl_context=client_context, tls_hostname="localhost"
        )
        assert isinstance(stream, TLSStream)
        async with stream:
            await stream.send(PAYLOAD)
            answer = b""
            while len(answer) < len(PAYLOAD):
                answer += await stream.receive()
        assert answer == PAYLOAD
        group.cancel_scope.cancel()


# ---- the system ----


async def test_process_pipes_and_exit_status():
    shout = "import sys; sys.stdout.write(sys.stdin.read().upper()); sys.exit(3)"
    result = await anyio.run_process(
        [sys.executable, "-c", shout], input=b"quiet", check=False
    )
    assert (result.stdout, result.returncode) == (b"QUIET", 3)
    with pytest.raises(subprocess.CalledProcessError):
        await anyio.run_process([sys.executable, "-c", "raise SystemExit(1)"])


async def test_process_can_be_ended():
    wait = "import sys; print('up', flush=True); sys.stdin.read()"
    async with await anyio.open_process([sys.executable, "-c", wait]) as process:
        stdout = BufferedByteReceiveStream(process.stdout)
        assert await stdout.receive_until(b"\n", 100) == b"up"
        process.terminate()
        assert await process.wait() == -signal.SIGTERM


async def test_signals_arrive_in_a_task():
    with anyio.open_signal_receiver(signal.SIGUSR1) as signals:
        os.kill(os.getpid(), signal.SIGUSR1)
        async for number in signals:
            assert number == signal.SIGUSR1
            break


async def test_files_and_paths_are_read_in_threads(tmp_path):
    path = anyio.Path(tmp_path) / "file"
    await path.write_text("one\ntwo\n")
    async with await anyio.open_file(path) as file:
        assert [line async for line in file] == ["one\n", "two\n"]


# ---- anyio's pytest plugin, which drives trio as a guest ----

INNER = """
    import anyio, pytest, sniffio, trio

    @pytest.fixture
    def anyio_backend():
        return "trio"

    @pytest.fixture
    async def number():
        await anyio.sleep(0)
        return 42

    @pytest.fixture
    async def group():
        async with anyio.create_task_group() as group:
            yield group
            group.cancel_scope.cancel()

    @pytest.mark.anyio
    async def test_backend():
        assert sniffio.current_async_library() == "trio"
        assert trio.lowlevel.in_trio_task()

    @pytest.mark.anyio
    async def test_fixtures(number, group):
        group.start_soon(anyio.sleep_forever)
        assert await anyio.to_thread.run_sync(lambda: number) == 42

    @pytest.mark.anyio
    async def test_fails():
        async with anyio.create_task_group() as group:
            group.start_soon(anyio.sleep_forever)
            raise LookupError("on purpose")

    @pytest.mark.anyio
    async def test_server_port_is_free(free_tcp_port):
        async with await anyio.create_tcp_listener(
            local_host="127.0.0.1", local_port=free_tcp_port
        ):
            pass
"""


def test_pytest_plugin(tmp_path):
    result = run_pytest(tmp_path, INNER, plugins=["anyio.pytest_plugin"])
    assert result.outcomes == {
        "test_backend": "passed",
        "test_fixtures": "passed",
        "test_fails": "failed",
        "test_server_port_is_free": "passed",
    }
    assert "LookupError: on purpose" in result.output
