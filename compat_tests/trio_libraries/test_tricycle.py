"""tricycle: locks on our traps, streams, nurseries whose methods it replaces."""

from __future__ import annotations

from functools import partial

import pytest
import tricycle
import trio.testing


async def settled():
    await trio.testing.wait_all_tasks_blocked()


def sockets():
    """Return two connected streams over a socket pair."""
    left, right = trio.socket.socketpair()
    return trio.SocketStream(left), trio.SocketStream(right)


# ---- RWLock ----


async def test_rwlock_shares_reading_and_serves_in_order():
    lock = tricycle.RWLock()
    order = []

    async def use(name, *, for_write):
        await lock.acquire(for_write=for_write)
        order.append(name)
        await settled()
        lock.release()

    await lock.acquire_read()
    async with trio.open_nursery() as nursery:
        for name in ("read 1", "write 1", "read 2", "read 3", "write 2"):
            nursery.start_soon(partial(use, name, for_write="write" in name))
            await settled()
        statistics = lock.statistics()
        assert order == ["read 1"] and statistics.locked == "read"
        assert statistics.readers == {trio.lowlevel.current_task()}
        assert (statistics.readers_waiting, statistics.writers_waiting) == (2, 2)
        lock.release()
    assert order[:2] == ["read 1", "write 1"] and order[-1] == "write 2"
    assert set(order[2:4]) == {"read 2", "read 3"}
    assert lock.locked() == ""


async def test_rwlock_waiter_that_is_cancelled_leaves_the_queue():
    lock = tricycle.RWLock()
    await lock.acquire_write()
    with pytest.raises(RuntimeError, match="re-acquire"):
        lock.acquire_read_nowait()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(lock.acquire_write)
        nursery.start_soon(lock.acquire_read)
        await settled()
        assert "1 writers and 1 readers waiting" in repr(lock)
        nursery.cancel_scope.cancel()
    assert lock.statistics().writers_waiting == 0
    assert lock.statistics().writer is trio.lowlevel.current_task()
    lock.release()


async def test_rwlock_guards_shared_state():
    lock = tricycle.RWLock(read_biased=True)
    value = [0, 0]

    async def read():
        async with lock.read_locked():
            first = value[0]
            await trio.lowlevel.checkpoint()
            assert value == [first, first]

    async def write():
        async with lock.write_locked():
            value[0] += 1
            await trio.lowlevel.checkpoint()
            value[1] += 1

    async with trio.open_nursery() as nursery:
        for _ in range(20):
            nursery.start_soon(read)
            nursery.start_soon(write)
    assert value == [20, 20]


# ---- streams ----


async def test_buffered_receive_stream_over_a_socket():
    sender, receiver = sockets()
    stream = tricycle.BufferedReceiveStream(receiver, chunk_size=7)

    async def send():
        for size in range(1, 20):
            await sender.send_all(bytes([size]) * size)
        await sender.send_eof()

    async with sender, stream, trio.open_nursery() as nursery:
        nursery.start_soon(send)
        for size in range(1, 19):
            assert await stream.receive_exactly(size) == bytes([size]) * size
        stream.unget(b"\x12")
        assert await stream.receive(1) == b"\x12"
        with pytest.raises(ValueError, match="unclean EOF"):
            await stream.receive_exactly(100)
        assert await stream.receive_all_or_none(19) == b"\x13" * 19
        assert await stream.receive_all_or_none(1) is None


async def test_buffered_receive_stream_keeps_what_came_before_a_cancellation():
    sender, receiver = trio.testing.memory_stream_one_way_pair()
    stream = tricycle.BufferedReceiveStream(receiver)
    await sender.send_all(b"first ")
    with trio.move_on_after(0.01) as scope:
        await stream.receive_exactly(12)
    assert scope.cancelled_caught
    await sender.send_all(b"second")
    assert await stream.receive_exactly(12) == b"first second"


async def test_text_receive_stream_decodes_lines_over_a_socket():
    sender, receiver = sockets()
    text = "one\r\nzwei ü\n三\nlast"

    async def send():
        # Every character comes in pieces.
        for byte in text.encode():
            await sender.send_all(bytes([byte]))
        await sender.aclose()

    stream = tricycle.TextReceiveStream(
        receiver, encoding="utf-8", newline=None, chunk_size=2
    )
    async with stream, trio.open_nursery() as nursery:
        nursery.start_soon(send)
        assert [line async for line in stream] == ["one\n", "zwei ü\n", "三\n", "last"]
    assert stream.newlines == ("\n", "\r\n")


# ---- service nurseries ----


async def test_service_nursery_outlives_its_body():
    events = []

    async def service(requests, *, task_status=trio.TASK_STATUS_IGNORED):
        task_status.started("up")
        try:
            async for reply in requests:
                reply.set()
        finally:
            events.append("service ends")

    async def call(send):
        reply = trio.Event()
        await send.send(reply)
        await reply.wait()

    send, receive = trio.open_memory_channel(0)
    with trio.CancelScope() as scope:
        async with tricycle.open_service_nursery() as nursery:
            assert await nursery.start(service, receive.clone()) == "up"
            nursery.start_soon(service, receive)
            try:
                await call(send)
                scope.cancel()
                await trio.sleep_forever()
            finally:
                # The body is cancelled, the services answer still.
                with trio.CancelScope(shield=True):
                    await call(send)
                events.append("body ends")
    assert scope.cancelled_caught
    assert events == ["body ends", "service ends", "service ends"]


async def test_service_nursery_methods_are_those_of_the_instance():
    async with tricycle.open_service_nursery() as nursery:
        kind = type(nursery)
        assert kind is trio.Nursery
        assert {"start_soon", "start"} <= set(vars(nursery))
        kind.start_soon(nursery, trio.sleep, 0)
        with pytest.raises(TypeError, match="expected an async function"):
            nursery.start_soon(len, [])


async def test_service_nursery_raises_what_a_service_raises():
    async def fail():
        raise LookupError("service")

    with pytest.RaisesGroup(LookupError):
        async with tricycle.open_service_nursery() as nursery:
            nursery.start_soon(fail)
            await trio.sleep_forever()


async def test_start_in_a_cancelled_service_nursery():
    async def late(*, task_status):
        with trio.CancelScope(shield=True):
            await trio.lowlevel.checkpoint()
        task_status.started()
        await trio.sleep_forever()

    async with tricycle.open_service_nursery() as nursery:
        nursery.cancel_scope.cancel()
        await nursery.start(late)
    assert nursery.cancel_scope.cancelled_caught


async def test_multi_cancel_scope_cancels_and_shields_as_one():
    scopes = tricycle.MultiCancelScope(shield=True)
    ended = []

    async def child(number):
        with scopes.open_child() as scope:
            await trio.sleep_forever()
        ended.append((number, scope.cancelled_caught))

    async with trio.open_nursery() as nursery:
        for number in range(3):
            nursery.start_soon(child, number)
        await settled()
        nursery.cancel_scope.cancel()
        with trio.CancelScope(shield=True):
            await settled()
        assert not ended
        scopes.cancel()
    assert sorted(ended) == [(0, True), (1, True), (2, True)]
    assert scopes.open_child().cancel_called


async def test_background_object_runs_tasks_of_its_own():
    class Doubler(tricycle.BackgroundObject, daemon=True):
        async def __open__(self):
            self.jobs, receive = trio.open_memory_channel(0)
            await self.nursery.start(self.work, receive)

        async def work(self, jobs, *, task_status):
            task_status.started()
            async for value, reply in jobs:
                await reply.send(2 * value)

        async def double(self, value):
            reply, answer = trio.open_memory_channel(1)
            await self.jobs.send((value, reply))
            return await answer.receive()

    async with Doubler() as doubler:
        assert [await doubler.double(value) for value in range(3)] == [0, 2, 4]


# ---- TreeVar ----


async def test_tree_var_is_inherited_from_the_nursery_not_from_the_spawner():
    var = tricycle.TreeVar("var", default="default")
    seen = {}

    async def child(name, *, task_status=trio.TASK_STATUS_IGNORED):
        seen[name] = var.get()
        task_status.started(trio.lowlevel.current_task())
        await trio.sleep_forever()

    async def spawner(nursery):
        with var.being("spawner's"):
            nursery.start_soon(child, "spawned")
            seen["spawner"] = var.get()
            seen["started"] = var.get_in(await nursery.start(child, "start"))

    assert var.get() == "default"
    var.set("at opening")
    async with trio.open_nursery() as nursery:
        token = var.set("after opening")
        nursery.start_soon(spawner, nursery)
        await settled()
        assert var.get_in(nursery) == "at opening"
        assert var.get_in(trio.lowlevel.current_task()) == "after opening"
        var.reset(token)
        assert var.get() == "at opening"
        nursery.cancel_scope.cancel()
    assert seen == {
        "spawner": "spawner's",
        "spawned": "at opening",
        "start": "at opening",
        "started": "at opening",
    }


async def test_tree_var_is_read_from_another_thread():
    var = tricycle.TreeVar("var")
    var.set("of the task")
    task = trio.lowlevel.current_task()
    assert await trio.to_thread.run_sync(var.get_in, task) == "of the task"
    with pytest.raises(RuntimeError):
        await trio.to_thread.run_sync(lambda: var.set("elsewhere"))
