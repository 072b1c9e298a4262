"""Async generators whose items come out of a channel: `as_safe_channel`."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import wraps
from typing import TYPE_CHECKING, ParamSpec, Self, TypeVar

from ._channel import open_memory_channel
from ._core import open_nursery
from ._exceptions import BrokenResourceError
from ._sync import Semaphore
from ._util import MultipleExceptionError, raise_single_exception_from_group
from .abc import ReceiveChannel

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable
    from types import TracebackType

    from ._channel import MemoryReceiveChannel, MemorySendChannel
    from ._task_status import TaskStatus

__all__ = ["as_safe_channel"]

T = TypeVar("T")
P = ParamSpec("P")


class OnDemandReceiveChannel(ReceiveChannel[T]):
    """The receiving end that `as_safe_channel` hands out: each `receive` asks
    the generator for one more item.
    """

    def __init__(self, channel: MemoryReceiveChannel[T], demand: Semaphore) -> None:
        self._channel = channel
        self._demand = demand

    async def receive(self) -> T:
        """Ask for an item and wait for it. A checkpoint. Raises as
        `MemoryReceiveChannel.receive`.
        """
        self._demand.release()
        return await self._channel.receive()

    async def aclose(self) -> None:
        """Close the channel. A checkpoint. The generator stops the next time
        that it would be asked for an item.
        """
        await self._channel.aclose()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._channel.close()


def _count_leaves(group: BaseExceptionGroup[BaseException]) -> int:
    """How many exceptions a group holds, those in groups within it included,
    the groups themselves not.
    """
    count = 0
    pending: list[BaseException] = [group]
    while pending:
        error = pending.pop()
        if isinstance(error, BaseExceptionGroup):
            pending.extend(error.exceptions)
        else:
            count += 1
    return count


async def _close_generator(generator: AsyncGenerator[T, None]) -> None:
    """Close an async generator, as its ``aclose`` does, but also if its
    `GeneratorExit` comes out in a group.

    That happens when it was suspended inside a nursery: ``aclose`` only knows
    a bare `GeneratorExit`.
    """
    try:
        await generator.aclose()
    except BaseExceptionGroup as group:
        exits, rest = group.split(GeneratorExit)
        if exits is not None and _count_leaves(exits) > 1:
            # One was thrown in. Another one came from somewhere else, and is
            # not ours to swallow.
            strange = AssertionError("More than one GeneratorExit found.")
            rest = group.derive(
                [strange] if rest is None else [*rest.exceptions, strange]
            )
        if rest is not None:
            raise rest from None


async def _feed_channel(
    generator: AsyncGenerator[T, None],
    channel: MemorySendChannel[T],
    demand: Semaphore,
    *,
    task_status: TaskStatus[None],
) -> None:
    """The task behind `as_safe_channel`: owns the generator, and sends its
    items as they are asked for.
    """
    # Plain `with`: an `async with` would await at its end, and being cancelled
    # there replaces the error under way.
    with channel:
        try:
            task_status.started()
            while True:
                await demand.acquire()
                if channel.statistics().open_receive_channels == 0:
                    # Nobody is there to get the next item, so do not begin to
                    # make it.
                    return
                try:
                    value = await anext(generator)
                except StopAsyncIteration:
                    return
                try:
                    await channel.send(value)
                except BrokenResourceError:
                    # Closed while the item was made.
                    return
        finally:
            await _close_generator(generator)


def as_safe_channel(
    fn: Callable[P, AsyncGenerator[T, None]],
) -> Callable[P, AbstractAsyncContextManager[ReceiveChannel[T]]]:
    """Decorate an async generator function so that its items come out of a
    channel.

    An async generator that yields inside a cancel scope or a nursery lets
    these leak into the code that iterates over it, and one that is not run to
    its end is cleaned up at some later time. Decorated, the generator runs in
    a task of its own, and is closed, with everything in it, when the block is
    left::

        @as_safe_channel
        async def ticks(period):
            while True:
                yield current_time()
                await sleep(period)

        async with ticks(1) as channel:
            async for time in channel:
                ...

    The generator advances only when an item is asked for, as usual.

    Args:
      fn: the async generator function.

    Returns:
      A function with the same parameters that returns an async context
      manager, for a `ReceiveChannel`. Entering and leaving it are checkpoints.
      An error of the block or of the generator comes out of the block bare; if
      there is one of each, then they come out as an exception group.
    """

    @asynccontextmanager
    @wraps(fn)
    async def open_channel(
        *args: P.args, **kwargs: P.kwargs
    ) -> AsyncGenerator[ReceiveChannel[T], None]:
        send_channel, receive_channel = open_memory_channel[T](0)
        demand = Semaphore(0)
        try:
            async with open_nursery(strict_exception_groups=True) as nursery:
                generator = fn(*args, **kwargs)
                # start(), not start_soon(): from here on it is sure that
                # somebody closes the generator.
                await nursery.start(_feed_channel, generator, send_channel, demand)
                with OnDemandReceiveChannel(receive_channel, demand) as channel:
                    yield channel
                nursery.cancel_scope.cancel(
                    "exited trio.as_safe_channel context manager"
                )
        except BaseExceptionGroup as group:
            try:
                raise_single_exception_from_group(group)
            except MultipleExceptionError:
                group.add_note(
                    "Encountered exception during cleanup of generator "
                    "object, as well as exception in the contextmanager "
                    "body - unable to unwrap."
                )
                raise group from None

    return open_channel
