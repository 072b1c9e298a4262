"""Memory channels."""

from __future__ import annotations

import math
import random
import weakref

import pytest
from trio_asyncio_c import trio

from ._helpers import cancel, refused_when_cancelled, settle, start

assert_checkpoints = trio.testing.assert_checkpoints
assert_no_checkpoints = trio.testing.assert_no_checkpoints
open_memory_channel = trio.open_memory_channel


# ---- making one ----


@pytest.mark.parametrize("size", [1.0, 0.5, "1", None, -math.inf, math.nan])
def test_size_of_the_wrong_type(size):
    text = "max_buffer_size must be an integer or math.inf"
    with pytest.raises(TypeError, match=text):
        open_memory_channel(size)


def test_size_must_not_be_negative():
    with pytest.raises(ValueError, match="max_buffer_size must be >= 0"):
        open_memory_channel(-1)


@pytest.mark.parametrize("make", [open_memory_channel, open_memory_channel[int]])
@pytest.mark.parametrize("size", [0, 1, math.inf])
def test_makes_a_plain_pair(make, size):
    pair = make(size)
    assert type(pair) is tuple
    send, receive = pair
    assert type(send) is trio.MemorySendChannel
    assert type(receive) is trio.MemoryReceiveChannel
    assert isinstance(send, trio.abc.SendChannel)
    assert isinstance(receive, trio.abc.ReceiveChannel)
    assert send.statistics().max_buffer_size == size


@pytest.mark.parametrize("cls", [trio.MemorySendChannel, trio.MemoryReceiveChannel])
def test_endpoints_have_no_public_constructor_and_are_final(cls):
    with pytest.raises(TypeError, match="has no public constructor"):
        cls()
    with pytest.raises(TypeError, match="has no public constructor"):
        cls(object())
    with pytest.raises(TypeError, match="not an acceptable base type"):
        type("Sub", (cls,), {})


def test_repr_names_the_shared_buffer():
    send, receive = open_memory_channel(0)
    buffer = repr(send).partition(", using buffer at ")[2]
    assert buffer
    assert repr(send).startswith(f"<send channel at {id(send):#x}, using")
    expected = f"<receive channel at {id(receive):#x}, using buffer at "
    assert repr(receive) == expected + buffer
    assert repr(send.clone()).endswith(buffer)
    assert repr(receive.clone()).endswith(buffer)


def test_endpoints_are_hashable_and_weakly_referenceable():
    for endpoint in open_memory_channel(0):
        assert weakref.ref(endpoint)() is endpoint
        assert endpoint in {endpoint}
        assert endpoint != endpoint.clone()


# ---- without waiting ----


def test_buffer_is_first_in_first_out():
    send, receive = open_memory_channel(3)
    for value in range(3):
        send.send_nowait(value)
    with pytest.raises(trio.WouldBlock):
        send.send_nowait(3)
    assert [receive.receive_nowait() for _ in range(3)] == [0, 1, 2]
    with pytest.raises(trio.WouldBlock):
        receive.receive_nowait()


def test_without_a_buffer_nothing_fits_in():
    send, receive = open_memory_channel(0)
    with pytest.raises(trio.WouldBlock):
        send.send_nowait(1)
    with pytest.raises(trio.WouldBlock):
        receive.receive_nowait()


def test_buffer_without_a_limit():
    send, receive = open_memory_channel(math.inf)
    for value in range(1000):
        send.send_nowait(value)
    assert send.statistics().current_buffer_used == 1000
    assert [receive.receive_nowait() for _ in range(1000)] == list(range(1000))


def test_any_object_passes_unchanged():
    values = [None, Ellipsis, NotImplemented, (), ValueError("x"), object()]
    send, receive = open_memory_channel(len(values))
    for value in values:
        send.send_nowait(value)
    for value in values:
        assert receive.receive_nowait() is value


@pytest.mark.parametrize("value", [None, (1, 2), ValueError("x"), StopIteration()])
def test_any_object_passes_unchanged_to_a_waiting_task(value):
    async def main():
        send, receive = open_memory_channel(0)
        async with trio.open_nursery() as nursery:
            receiver = await start(nursery, receive.receive)
            send.send_nowait(value)
            await settle()
            assert receiver.done
            assert receiver.error is None
            assert receiver.result is value

    trio.run(main)


# ---- checkpoints ----


def test_send_and_receive_are_checkpoints_even_if_they_need_not_wait():
    async def main():
        send, receive = open_memory_channel(1)
        with assert_checkpoints():
            await send.send(1)
        with assert_checkpoints():
            assert await receive.receive() == 1
        with assert_no_checkpoints():
            send.send_nowait(2)
            assert receive.receive_nowait() == 2

    trio.run(main)


def test_in_a_cancelled_scope_nothing_is_sent_or_received():
    async def main():
        send, receive = open_memory_channel(2)
        send.send_nowait("first")
        await refused_when_cancelled(send.send, "second")
        await refused_when_cancelled(receive.receive)
        assert receive.receive_nowait() == "first"
        with pytest.raises(trio.WouldBlock):
            receive.receive_nowait()

    trio.run(main)


# ---- waiting ----


def test_receive_waits_for_a_value():
    async def main():
        send, receive = open_memory_channel(0)
        async with trio.open_nursery() as nursery:
            receiver = await start(nursery, receive.receive)
            assert not receiver.done
            with assert_checkpoints():
                await send.send("x")
            await settle()
            assert receiver.result == "x"

    trio.run(main)


def test_unbuffered_send_waits_until_it_was_received():
    async def main():
        send, receive = open_memory_channel(0)
        async with trio.open_nursery() as nursery:
            sender = await start(nursery, send.send, "x")
            assert not sender.done
            with assert_checkpoints():
                assert await receive.receive() == "x"
            await settle()
            assert sender.done
            assert sender.result is None

    trio.run(main)


def test_waiting_senders_values_come_after_those_in_the_buffer():
    async def main():
        send, receive = open_memory_channel(2)
        async with trio.open_nursery() as nursery:
            senders = [await start(nursery, send.send, i) for i in range(5)]
            done = [sender.done for sender in senders]
            assert done == [True, True, False, False, False]
            for value in range(5):
                assert receive.receive_nowait() == value
                await settle()
                # Each one received makes room for one more.
                finished = sum(sender.done for sender in senders)
                assert finished == min(value + 3, 5)

    trio.run(main)


def test_receivers_are_served_in_the_order_of_their_coming():
    async def main():
        send, receive = open_memory_channel(0)
        async with trio.open_nursery() as nursery:
            # Over several clones, too.
            ends = [receive, receive.clone(), receive, receive.clone()]
            receivers = [await start(nursery, end.receive) for end in ends]
            for value in range(4):
                send.send_nowait(value)
            await settle()
            assert [call.result for call in receivers] == [0, 1, 2, 3]

    trio.run(main)


def test_senders_are_served_in_the_order_of_their_coming():
    async def main():
        send, receive = open_memory_channel(0)
        async with trio.open_nursery() as nursery:
            ends = [send, send.clone(), send, send.clone()]
            for value, end in enumerate(ends):
                await start(nursery, end.send, value)
            received = [await receive.receive() for _ in ends]
            assert received == [0, 1, 2, 3]

    trio.run(main)


def test_a_value_handed_over_cannot_be_snatched():
    async def main():
        send, receive = open_memory_channel(1)
        async with trio.open_nursery() as nursery:
            receiver = await start(nursery, receive.receive)
            send.send_nowait("for the waiting one")
            with pytest.raises(trio.WouldBlock):
                receive.receive_nowait()
            await settle()
            assert receiver.result == "for the waiting one"

    trio.run(main)


def test_two_tasks_in_a_loop_share_evenly():
    async def main():
        send, receive = open_memory_channel(0)
        counts = [0, 0]

        async def consume(index):
            async for _ in receive:
                counts[index] += 1

        async with trio.open_nursery() as nursery:
            nursery.start_soon(consume, 0)
            nursery.start_soon(consume, 1)
            await settle()
            with send:
                for value in range(100):
                    await send.send(value)
        assert counts == [50, 50]

    trio.run(main)


def test_many_producers_and_consumers_lose_nothing():
    async def main():
        rng = random.Random(11)
        send, receive = open_memory_channel(3)
        received = []

        async def produce(end, name):
            with end:
                for i in range(30):
                    await end.send((name, i))
                    for _ in range(rng.randrange(3)):
                        await trio.lowlevel.checkpoint()

        async def consume(end):
            with end:
                async for value in end:
                    received.append(value)
                    for _ in range(rng.randrange(3)):
                        await trio.lowlevel.checkpoint()

        async with trio.open_nursery() as nursery, send, receive:
            for name in range(5):
                nursery.start_soon(produce, send.clone(), name)
            for _ in range(4):
                nursery.start_soon(consume, receive.clone())
        # Two consumers that are woken together run in any order.
        expected = [(name, i) for name in range(5) for i in range(30)]
        assert sorted(received) == expected

    trio.run(main)


# ---- cancelling ----


def test_cancelled_send_has_not_sent():
    async def main():
        send, receive = open_memory_channel(0)
        async with trio.open_nursery() as nursery:
            first = await start(nursery, send.send, "first")
            await start(nursery, send.send, "second")
            third = await start(nursery, send.send, "third")
            await cancel(first)
            await cancel(third)
            assert send.statistics().tasks_waiting_send == 1
            assert receive.receive_nowait() == "second"
            with pytest.raises(trio.WouldBlock):
                receive.receive_nowait()

    trio.run(main)


def test_cancelled_receive_has_not_received():
    async def main():
        send, receive = open_memory_channel(0)
        async with trio.open_nursery() as nursery:
            first = await start(nursery, receive.receive)
            second = await start(nursery, receive.receive)
            await cancel(first)
            assert send.statistics().tasks_waiting_receive == 1
            send.send_nowait("x")
            await settle()
            assert second.result == "x"
            with pytest.raises(trio.WouldBlock):
                send.send_nowait("y")

    trio.run(main)


def test_cancelling_after_the_value_was_handed_over_comes_too_late():
    async def main():
        send, receive = open_memory_channel(0)
        async with trio.open_nursery() as nursery:
            receiver = await start(nursery, receive.receive)
            send.send_nowait("x")
            receiver.scope.cancel()
            await settle()
            assert receiver.result == "x"
            assert not receiver.cancelled

            sender = await start(nursery, send.send, "y")
            assert receive.receive_nowait() == "y"
            sender.scope.cancel()
            await settle()
            assert sender.done
            assert not sender.cancelled

    trio.run(main)


def test_cancelled_waiters_can_close_their_end_on_the_way_out():
    async def main():
        send, receive = open_memory_channel(0)

        async def receive_in_block():
            async with receive:
                await receive.receive()

        async with trio.open_nursery() as nursery:
            receiver = await start(nursery, receive_in_block)
            await cancel(receiver)
        assert send.statistics().open_receive_channels == 0

    trio.run(main)


# ---- closing ----


def test_closing_is_no_checkpoint_and_can_be_repeated():
    async def main():
        for end in open_memory_channel(0):
            with assert_no_checkpoints():
                end.close()
                end.close()
            with assert_checkpoints():
                await end.aclose()
            with assert_checkpoints():
                await end.aclose()

    trio.run(main)


def test_aclose_in_a_cancelled_scope_still_closes():
    async def main():
        send, receive = open_memory_channel(0)
        await refused_when_cancelled(send.aclose)
        await refused_when_cancelled(receive.aclose)
        with pytest.raises(trio.ClosedResourceError):
            send.send_nowait(1)
        with pytest.raises(trio.ClosedResourceError):
            receive.receive_nowait()

    trio.run(main)


def test_blocks_close():
    async def main():
        send, receive = open_memory_channel(0)
        with send as inner:
            assert inner is send
        with pytest.raises(KeyError), receive as inner:
            assert inner is receive
            raise KeyError
        statistics = send.statistics()
        assert statistics.open_send_channels == 0
        assert statistics.open_receive_channels == 0

        send, receive = open_memory_channel(0)
        with assert_checkpoints():
            async with send as inner:
                assert inner is send
        async with receive as inner:
            assert inner is receive
        statistics = send.statistics()
        assert statistics.open_send_channels == 0
        assert statistics.open_receive_channels == 0

    trio.run(main)


def test_closed_endpoints_refuse_everything():
    async def main():
        send, receive = open_memory_channel(1)
        send.send_nowait(1)
        send.close()
        for attempt in (send.send_nowait, send.send):
            with pytest.raises(trio.ClosedResourceError):
                result = attempt(1)
                await result
        with pytest.raises(trio.ClosedResourceError):
            send.clone()
        receive.close()
        with pytest.raises(trio.ClosedResourceError):
            receive.receive_nowait()
        with pytest.raises(trio.ClosedResourceError):
            await receive.receive()
        with pytest.raises(trio.ClosedResourceError):
            receive.clone()
        with pytest.raises(trio.ClosedResourceError):
            async for _ in receive:
                pass
        # Closed by oneself counts before broken by the other side.
        with pytest.raises(trio.ClosedResourceError):
            send.send_nowait(1)

    trio.run(main)


def test_receivers_get_the_rest_and_then_the_end():
    async def main():
        send, receive = open_memory_channel(3)
        for value in range(3):
            await send.send(value)
        await send.aclose()
        assert await receive.receive() == 0
        assert receive.receive_nowait() == 1
        assert [value async for value in receive] == [2]
        for _ in range(2):
            with pytest.raises(trio.EndOfChannel):
                receive.receive_nowait()
            with pytest.raises(trio.EndOfChannel):
                await receive.receive()
            assert [value async for value in receive] == []

    trio.run(main)


def test_closing_the_last_sender_ends_waiting_receivers():
    async def main():
        send, receive = open_memory_channel(0)
        clone = send.clone()
        other = receive.clone()
        async with trio.open_nursery() as nursery:
            calls = [await start(nursery, end.receive) for end in (receive, other)]
            send.close()
            await settle()
            assert not any(call.done for call in calls)
            clone.close()
            await settle()
            errors = [call.error for call in calls]
            assert [type(e) for e in errors] == [trio.EndOfChannel] * 2
            assert errors[0] is not errors[1]
        # What is left of them is gone from the endpoints as well.
        receive.close()
        other.close()

    trio.run(main)


def test_closing_the_last_receiver_breaks_waiting_senders():
    async def main():
        send, receive = open_memory_channel(1)
        clone = receive.clone()
        other = send.clone()
        send.send_nowait("buffered")
        async with trio.open_nursery() as nursery:
            calls = [await start(nursery, end.send, 1) for end in (send, other)]
            receive.close()
            await settle()
            assert not any(call.done for call in calls)
            clone.close()
            await settle()
            errors = [call.error for call in calls]
            assert [type(e) for e in errors] == [trio.BrokenResourceError] * 2
            assert errors[0] is not errors[1]
            assert send.statistics().current_buffer_used == 0
            with pytest.raises(trio.BrokenResourceError):
                send.send_nowait(1)
            with pytest.raises(trio.BrokenResourceError):
                await send.send(1)
        send.close()
        other.close()

    trio.run(main)


def test_closing_an_endpoint_ends_those_who_wait_at_it_and_no_others():
    async def main():
        send, receive = open_memory_channel(0)
        async with trio.open_nursery() as nursery:
            clone = receive.clone()
            here = [await start(nursery, receive.receive) for _ in range(2)]
            there = await start(nursery, clone.receive)
            receive.close()
            await settle()
            for call in here:
                assert type(call.error) is trio.ClosedResourceError
            assert not there.done
            assert send.statistics().tasks_waiting_receive == 1
            send.send_nowait("x")
            await settle()
            assert there.result == "x"

            twin = send.clone()
            here = [await start(nursery, send.send, "lost") for _ in range(2)]
            there = await start(nursery, twin.send, "sent")
            send.close()
            await settle()
            for call in here:
                assert type(call.error) is trio.ClosedResourceError
            assert not there.done
            assert await clone.receive() == "sent"

    trio.run(main)


def test_clones_are_equals():
    async def main():
        send, receive = open_memory_channel(2)
        send_2 = send.clone()
        receive_2 = receive.clone()
        assert type(send_2) is trio.MemorySendChannel
        assert type(receive_2) is trio.MemoryReceiveChannel
        send.send_nowait(1)
        send_2.send_nowait(2)
        with pytest.raises(trio.WouldBlock):
            send_2.send_nowait(3)
        assert receive_2.receive_nowait() == 1
        assert receive.receive_nowait() == 2
        send.close()
        receive.close()
        send_2.send_nowait(3)
        assert receive_2.receive_nowait() == 3

    trio.run(main)


def test_endpoint_dropped_without_closing_does_not_count_as_closed():
    send, receive = open_memory_channel(1)
    send.send_nowait(1)
    del send
    assert receive.receive_nowait() == 1
    with pytest.raises(trio.WouldBlock):
        receive.receive_nowait()


# ---- statistics ----


def test_statistics():
    async def main():
        send, receive = open_memory_channel(2)
        assert send.statistics() == trio.MemoryChannelStatistics(
            current_buffer_used=0,
            max_buffer_size=2,
            open_send_channels=1,
            open_receive_channels=1,
            tasks_waiting_send=0,
            tasks_waiting_receive=0,
            peak_buffer_used=0,
        )
        clones = [send.clone(), receive.clone(), receive.clone()]
        async with trio.open_nursery() as nursery:
            await start(nursery, receive.receive)
            await start(nursery, clones[1].receive)
            assert receive.statistics() == trio.MemoryChannelStatistics(
                current_buffer_used=0,
                max_buffer_size=2,
                open_send_channels=2,
                open_receive_channels=3,
                tasks_waiting_send=0,
                tasks_waiting_receive=2,
                peak_buffer_used=0,
            )
            for value in range(4):
                await send.send(value)
            await start(nursery, send.send, 4)
            assert clones[2].statistics() == trio.MemoryChannelStatistics(
                current_buffer_used=2,
                max_buffer_size=2,
                open_send_channels=2,
                open_receive_channels=3,
                tasks_waiting_send=1,
                tasks_waiting_receive=0,
                peak_buffer_used=2,
            )
            for _ in range(3):
                receive.receive_nowait()
        for clone in clones:
            clone.close()
        assert clones[0].statistics() == trio.MemoryChannelStatistics(
            current_buffer_used=0,
            max_buffer_size=2,
            open_send_channels=1,
            open_receive_channels=1,
            tasks_waiting_send=0,
            tasks_waiting_receive=0,
            peak_buffer_used=2,
        )

    trio.run(main)


def test_peak_is_the_largest_number_that_was_in_the_buffer_at_once():
    send, receive = open_memory_channel(10)
    for rounds in (1, 3, 2):
        for value in range(rounds):
            send.send_nowait(value)
        for _ in range(rounds):
            receive.receive_nowait()
    assert receive.statistics().peak_buffer_used == 3


# ---- the abstract base class ----


def test_iteration_of_any_receive_channel():
    class Countdown(trio.abc.ReceiveChannel):
        def __init__(self):
            self.left = 3
            self.closed = False

        async def receive(self):
            if not self.left:
                raise trio.EndOfChannel
            self.left -= 1
            return self.left

        async def aclose(self):
            self.closed = True

    async def main():
        async with Countdown() as channel:
            assert [value async for value in channel] == [2, 1, 0]
            assert not channel.closed
        assert channel.closed

    trio.run(main)


def test_abstract_classes_cannot_be_instantiated():
    for cls in (
        trio.abc.AsyncResource,
        trio.abc.SendChannel,
        trio.abc.ReceiveChannel,
        trio.abc.Channel,
        trio.abc.Clock,
    ):
        with pytest.raises(TypeError, match="abstract"):
            cls()


def test_aclose_forcefully_closes_without_waiting():
    class Slow(trio.abc.AsyncResource):
        closed = False

        async def aclose(self):
            try:
                await trio.sleep_forever()
            finally:
                self.closed = True

    async def main():
        slow = Slow()
        with assert_checkpoints():
            await trio.aclose_forcefully(slow)
        assert slow.closed

    trio.run(main)
