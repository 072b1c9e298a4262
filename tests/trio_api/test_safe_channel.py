"""Async generators behind a channel: as_safe_channel."""

from __future__ import annotations

import pytest
from trio_asyncio_c import trio

from ._helpers import run_mock, settle, start


def test_all_items_arrive():
    @trio.as_safe_channel
    async def squares(count, *, offset=0):
        for i in range(count):
            await trio.sleep(1)
            yield i * i + offset

    async def main():
        async with squares(4, offset=1) as channel:
            assert isinstance(channel, trio.abc.ReceiveChannel)
            assert [value async for value in channel] == [1, 2, 5, 10]
            with pytest.raises(trio.EndOfChannel):
                await channel.receive()

    run_mock(main)


def test_the_decorated_function_looks_like_the_original():
    @trio.as_safe_channel
    async def ticks(period):
        """Tick."""
        yield period

    assert ticks.__name__ == "ticks"
    assert ticks.__doc__ == "Tick."


def test_the_generator_runs_only_on_demand():
    log = []

    @trio.as_safe_channel
    async def items():
        for i in range(3):
            log.append(i)
            yield i

    async def main():
        async with items() as channel:
            await settle()
            assert log == []
            assert await channel.receive() == 0
            await settle()
            assert log == [0]
            assert await channel.receive() == 1
            await settle()
            assert log == [0, 1]

    trio.run(main)


def test_leaving_the_block_early_closes_the_generator_at_once():
    log = []

    @trio.as_safe_channel
    async def items():
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(trio.sleep_forever)
                with trio.CancelScope():
                    while True:
                        yield 1
        finally:
            log.append("closed")

    async def main():
        async with items() as channel:
            async for _ in channel:
                break
            assert log == []
        assert log == ["closed"]

    trio.run(main)


def test_a_generator_that_was_never_asked_is_closed_without_having_run():
    log = []

    @trio.as_safe_channel
    async def items():
        log.append("run")
        yield 1

    async def main():
        async with items():
            pass
        assert log == []

    trio.run(main)


def test_a_generator_that_is_busy_is_cancelled_at_the_end_of_the_block():
    @trio.as_safe_channel
    async def items():
        yield 1
        await trio.sleep_forever()

    async def main():
        async with items() as channel:
            assert await channel.receive() == 1
            with trio.move_on_after(1) as scope:
                await channel.receive()
            assert scope.cancelled_caught
        with pytest.raises(trio.ClosedResourceError):
            await channel.receive()

    run_mock(main)


def test_aclose_stops_the_generator_when_it_would_be_asked_again():
    log = []

    @trio.as_safe_channel
    async def items():
        try:
            for i in range(10):
                log.append(i)
                yield i
        finally:
            log.append("closed")

    async def main():
        async with items() as channel:
            await channel.receive()
            await channel.aclose()
            with pytest.raises(trio.ClosedResourceError):
                await channel.receive()
            await settle()
            assert log == [0, "closed"]

    trio.run(main)


def test_a_channel_closed_while_the_item_is_being_made():
    @trio.as_safe_channel
    async def items():
        await trio.sleep(1)
        yield 1

    async def main():
        async with items() as channel, trio.open_nursery() as nursery:
            call = await start(nursery, channel.receive)
            await channel.aclose()
            await settle()
            assert type(call.error) is trio.ClosedResourceError
            await trio.sleep(2)

    run_mock(main)


def test_cancelling_a_receive_loses_no_item():
    @trio.as_safe_channel
    async def items():
        for i in range(3):
            await trio.sleep(10)
            yield i

    async def main():
        async with items() as channel:
            with trio.move_on_after(5) as scope:
                await channel.receive()
            assert scope.cancelled_caught
            assert [value async for value in channel] == [0, 1, 2]

    run_mock(main)


def test_several_receivers_share_the_items():
    @trio.as_safe_channel
    async def items():
        for i in range(20):
            yield i

    async def main():
        got = []

        async def consume(channel):
            async for value in channel:
                got.append(value)

        async with items() as channel, trio.open_nursery() as nursery:
            for _ in range(3):
                nursery.start_soon(consume, channel)
        assert sorted(got) == list(range(20))

    trio.run(main)


def test_nested_loops_do_not_interfere():
    @trio.as_safe_channel
    async def items(count):
        for i in range(count):
            yield i

    async def main():
        pairs = []
        async with items(3) as outer:
            async for a in outer:
                async with items(2) as inner:
                    pairs += [(a, b) async for b in inner]
        assert pairs == [(a, b) for a in range(3) for b in range(2)]

    trio.run(main)


# ---- errors ----


def test_an_error_of_the_generator_comes_out_bare():
    error = KeyError("of the generator")

    @trio.as_safe_channel
    async def items():
        yield 1
        raise error

    async def main():
        with pytest.raises(KeyError) as caught:
            async with items() as channel:
                async for _ in channel:
                    pass
        assert caught.value is error

    trio.run(main)


def test_an_error_of_the_block_comes_out_bare():
    cause = ValueError()
    context = TypeError()

    @trio.as_safe_channel
    async def items():
        yield 1

    async def main():
        error = KeyError("of the block")
        error.__context__ = context
        with pytest.raises(KeyError) as caught:
            async with items() as channel:
                await channel.receive()
                raise error from cause
        assert caught.value is error
        assert error.__cause__ is cause
        assert error.__context__ is context

    trio.run(main)


def test_errors_of_both_come_out_together():
    @trio.as_safe_channel
    async def items():
        try:
            yield 1
        finally:
            raise ValueError("cleanup")

    async def main():
        with pytest.raises(BaseExceptionGroup) as caught:
            async with items() as channel:
                await channel.receive()
                raise KeyError("block")
        types = {type(error) for error in caught.value.exceptions}
        assert types == {KeyError, ValueError}
        (note,) = caught.value.__notes__
        assert note.startswith("Encountered exception during cleanup of")
        assert note.endswith("unable to unwrap.")

    trio.run(main)


def test_a_group_raised_by_the_block_is_left_as_it_is():
    group = ExceptionGroup("of the block", [ValueError()])

    @trio.as_safe_channel
    async def items():
        yield 1

    async def main():
        with pytest.raises(ExceptionGroup) as caught:
            async with items() as channel:
                await channel.receive()
                raise group
        assert caught.value.message == "of the block"
        assert caught.value.exceptions == group.exceptions

    trio.run(main)


@pytest.mark.parametrize("kind", [SystemExit, KeyboardInterrupt])
def test_an_exit_of_the_block_takes_precedence(kind):
    @trio.as_safe_channel
    async def items():
        try:
            yield 1
        finally:
            raise ValueError("cleanup")

    async def main():
        with pytest.raises(kind) as caught:
            async with items() as channel:
                await channel.receive()
                raise kind("out")
        assert caught.value.args == ("out",)
        assert isinstance(caught.value.__cause__, BaseExceptionGroup)

    trio.run(main)


def test_an_error_of_calling_the_function():
    @trio.as_safe_channel
    async def items(argument):
        yield argument

    async def main():
        with pytest.raises(TypeError, match="argument"):
            async with items():
                pass

    trio.run(main)


# ---- cancellation ----


def test_cancelled_from_outside():
    log = []

    @trio.as_safe_channel
    async def items():
        try:
            while True:
                await trio.sleep(1)
                yield 1
        finally:
            log.append("closed")

    async def main():
        with trio.move_on_after(3.5) as scope:
            async with items() as channel:
                async for _ in channel:
                    log.append("item")
        assert scope.cancelled_caught
        assert log == ["item"] * 3 + ["closed"]

    run_mock(main)


def test_a_scope_in_the_generator_does_not_leak_into_the_block():
    @trio.as_safe_channel
    async def items():
        with trio.move_on_after(5):
            while True:
                yield 1

    async def main():
        async with items() as channel:
            await channel.receive()
            assert trio.current_effective_deadline() == float("inf")
            await trio.sleep(10)

    run_mock(main)


# ---- how the generator ends ----


def test_generator_exit_may_come_out_in_a_group():
    @trio.as_safe_channel
    async def items():
        async with trio.open_nursery(), trio.open_nursery():
            yield 1

    async def main():
        async with items() as channel:
            await channel.receive()

    trio.run(main)


def test_errors_beside_generator_exit_are_kept():
    @trio.as_safe_channel
    async def items():
        async with trio.open_nursery():
            try:
                yield 1
            finally:
                raise ValueError("cleanup")

    async def main():
        with pytest.raises(ExceptionGroup) as caught:
            async with items() as channel:
                await channel.receive()
        (error,) = caught.value.exceptions
        assert type(error) is ValueError

    trio.run(main)


def test_a_second_generator_exit_is_not_swallowed():
    @trio.as_safe_channel
    async def items():
        async def raise_one():
            try:
                await trio.sleep_forever()
            finally:
                raise GeneratorExit

        async with trio.open_nursery() as nursery:
            nursery.start_soon(raise_one)
            await settle()
            yield 1

    async def main():
        with pytest.raises(BaseExceptionGroup) as caught:
            async with items() as channel:
                await channel.receive()
        (error,) = caught.value.exceptions
        assert type(error) is AssertionError
        assert str(error) == "More than one GeneratorExit found."

    trio.run(main)
