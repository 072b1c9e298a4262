"""Where an error goes that nobody waits for: rules 19, 21, 22, 23 and 70 of the
crossings, for both ways of opening a loop."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import socket

import pytest
from trio_asyncio_c import current_loop, new_event_loop, run_future, trio

from ._helpers import OpenedLoop, both_ways, flatten, open_loop, run

HOW = ["soon", "threadsafe", "later", "reader", "writer", "signal", "task", "trio task"]


class Failed(Exception):
    pass


def begin(how, loop, left, right, error=Failed):
    """Have something of the loop raise an error that nobody waits for."""

    def fail():
        raise error("words")

    def fail_once(remove):
        remove(left)
        fail()

    async def fail_async():
        fail()

    if how == "soon":
        loop.call_soon(fail)
    elif how == "threadsafe":
        loop.call_soon_threadsafe(fail)
    elif how == "later":
        loop.call_later(0.001, fail)
    elif how == "reader":
        loop.add_reader(left, fail_once, loop.remove_reader)
        right.send(b"x")
    elif how == "writer":
        loop.add_writer(left, fail_once, loop.remove_writer)
    elif how == "signal":
        loop.add_signal_handler(signal.SIGUSR1, fail)
        os.kill(os.getpid(), signal.SIGUSR1)
    elif how == "task":
        loop.create_task(fail_async())
    else:
        loop.run_trio_task(fail_async)


def cross_meanwhile(way, how, seen, handler=None, error=Failed):
    """Wait across until the loop was told of the error, or is ended by it."""

    async def in_asyncio(told, left, right):
        try:
            begin(how, asyncio.get_running_loop(), left, right, error)
            gc.collect()  # a Task's error is told when the Task is gone
            await told
        finally:
            seen.append("asyncio left")

    async def main():
        loop = current_loop.get()
        told = loop.create_future()

        def tell(loop, context):
            seen.append(context)
            if not told.done():
                told.set_result(None)

        if handler is not None:
            loop.set_exception_handler(tell)
        left, right = socket.socketpair()
        with left, right:
            try:
                await loop.run_asyncio(in_asyncio, told, left, right)
                return "survived"
            finally:
                loop.remove_signal_handler(signal.SIGUSR1)

    return way.run_trio(main)


@pytest.mark.parametrize("how", HOW)
def test_by_default_it_leaves_the_block(how, caplog):
    seen = []
    with pytest.raises(ExceptionGroup) as caught:
        cross_meanwhile(OpenedLoop, how, seen)
    assert [type(leaf) for leaf in flatten(caught.value)] == [Failed]
    assert seen == ["asyncio left"]
    (record,) = caplog.records
    assert record.name == "asyncio"
    assert record.exc_info[0] is Failed


@both_ways
@pytest.mark.parametrize("how", HOW)
def test_a_handler_of_ones_own_replaces_that_wholly(way, how, caplog):
    seen = []
    assert cross_meanwhile(way, how, seen, handler=True) == "survived"
    (context,) = seen[:-1]
    assert type(context["exception"]) is Failed
    assert context["message"]
    assert ("future" if how == "task" else "handle") in context
    assert caplog.records == []


@pytest.mark.parametrize("how", HOW)
def test_by_default_a_loop_of_its_own_only_logs(how, caplog):
    async def main():
        loop = asyncio.get_running_loop()
        left, right = socket.socketpair()
        with left, right:
            begin(how, loop, left, right)
            gc.collect()
            while not caplog.records:
                await loop.run_trio(trio.sleep, 0.001)
                gc.collect()
            loop.remove_signal_handler(signal.SIGUSR1)
        return "survived"

    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        assert runner.run(main()) == "survived"
    (record,) = caplog.records
    assert record.exc_info[0] is Failed


@pytest.mark.parametrize("how", HOW)
@pytest.mark.parametrize("kind", [SystemExit, KeyboardInterrupt])
def test_what_ends_a_program_leaves_the_block_past_all_handlers(how, kind):
    seen = []
    with pytest.raises(BaseExceptionGroup) as caught:
        cross_meanwhile(OpenedLoop, how, seen, handler=True, error=kind)
    assert [type(leaf) for leaf in flatten(caught.value)] == [kind]
    assert not any(
        isinstance(leaf, BaseExceptionGroup) for leaf in caught.value.exceptions
    )
    assert seen == ["asyncio left"]


@pytest.mark.parametrize("how", HOW)
@pytest.mark.parametrize("kind", [SystemExit, KeyboardInterrupt])
def test_what_ends_a_program_leaves_a_loop_of_its_own_by_itself(how, kind):
    loop = new_event_loop()
    left, right = socket.socketpair()
    with loop, left, right:
        begin(how, loop, left, right, kind)
        with pytest.raises(kind):
            loop.run_until_complete(loop.run_trio(trio.sleep_forever))
        # It can go on.
        if how == "signal":
            loop.remove_signal_handler(signal.SIGUSR1)
        loop.run_until_complete(loop.run_trio(trio.sleep, 0))


@both_ways
@pytest.mark.parametrize("kind", [SystemExit, KeyboardInterrupt])
def test_what_ends_a_program_is_an_error_as_others_for_who_waits(way, kind):
    async def trio_raises():
        await trio.sleep(0)
        raise kind("trio")

    async def asyncio_raises():
        await asyncio.sleep(0)
        raise kind("asyncio")

    async def waits_in_asyncio():
        with pytest.raises(kind, match="trio"):
            await asyncio.get_running_loop().run_trio(trio_raises)
        return "caught"

    async def main():
        loop = current_loop.get()
        assert await loop.run_asyncio(waits_in_asyncio) == "caught"
        with pytest.raises(kind, match="asyncio"):
            await loop.run_asyncio(asyncio_raises)
        assert await loop.run_asyncio(asyncio.sleep, 0, "alive") == "alive"
        return "done"

    assert way.run_trio(main) == "done"


# run_trio_task


def run_trio_task(exc, *, opened):
    """Have a Trio task raise this; return what the exception handler was told."""
    told = []

    async def callee():
        raise exc

    def start(loop):
        loop.set_exception_handler(lambda loop, context: told.append(context))
        return loop.run_trio_task(callee)

    async def main():
        async with open_loop() as loop:
            handles.append(start(loop))
            await loop.synchronize()
            await trio.sleep(0)

    handles = []
    if opened:
        trio.run(main)
    else:
        with new_event_loop() as loop:
            handles.append(start(loop))
            while not handles[0].done():
                loop.run_until_complete(asyncio.sleep(0))
            loop.run_until_complete(asyncio.sleep(0))
    for context in told:
        assert sorted(context) == ["exception", "handle", "message"]
        assert context["handle"] is handles[0]
        assert handles[0].done()
        assert not handles[0].cancelled()
    return [context["exception"] for context in told]


@pytest.mark.parametrize("opened", [True, False])
def test_an_exception_of_a_trio_task_goes_to_the_handler(opened):
    error = Failed()
    assert run_trio_task(error, opened=opened) == [error]
    group = ExceptionGroup("both", [Failed(), KeyError()])
    assert run_trio_task(group, opened=opened) == [group]


@pytest.mark.parametrize("opened", [True, False])
@pytest.mark.parametrize(
    "kind", [SystemExit, KeyboardInterrupt, asyncio.CancelledError, GeneratorExit]
)
def test_what_is_no_exception_of_a_trio_task_leaves_directly(opened, kind):
    error = kind("words")
    with pytest.raises(BaseException) as caught:
        run_trio_task(error, opened=opened)
    if opened:
        assert isinstance(caught.value, BaseExceptionGroup)
        assert caught.value.exceptions == (error,)
    else:
        assert caught.value is error


@pytest.mark.parametrize("opened", [True, False])
def test_a_mixed_group_of_a_trio_task_is_split_between_both(opened):
    errors = Failed("one"), SystemExit(4), KeyError("two"), asyncio.CancelledError()
    told = []

    async def callee():
        raise BaseExceptionGroup("mixed", errors)

    def handler(loop, context):
        told.append(context["exception"])

    async def main():
        async with open_loop() as loop:
            loop.set_exception_handler(handler)
            loop.run_trio_task(callee)
            await trio.sleep_forever()

    with pytest.raises(BaseExceptionGroup) as caught:
        if opened:
            trio.run(main)
        else:
            with new_event_loop() as loop:
                loop.set_exception_handler(handler)
                loop.run_trio_task(callee)
                loop.run_forever()
    assert flatten(caught.value) == [errors[1], errors[3]]
    (group,) = told
    assert flatten(group) == [errors[0], errors[2]]


@both_ways
def test_a_handle_of_a_trio_task_is_cancelled_in_silence(way, caplog):
    steps = []

    async def callee(name):
        steps.append(name)
        try:
            await trio.sleep_forever()
        finally:
            steps.append("ended")

    async def main():
        loop = current_loop.get()
        loop.set_exception_handler(lambda loop, context: steps.append(context))
        early, late = (loop.run_trio_task(callee, n) for n in ("early", "late"))
        early.cancel()
        early.cancel()
        for handle in early, late:
            while not (handle.done() or steps):
                await trio.sleep(0)
        late.cancel()
        while not late.done():
            await trio.sleep(0)
        late.cancel()
        assert early.done()
        assert early.cancelled()
        assert late.cancelled()

    way.run_trio(main)
    assert steps == ["late", "ended"]
    assert caplog.records == []


# After the end


@pytest.mark.parametrize("opened", [True, False])
def test_the_exception_handler_from_a_destructor_after_the_end(opened, caplog):
    class Dying:
        def __init__(self, loop):
            self.loop = loop

        def __del__(self):
            self.loop.call_exception_handler({"message": "dying", "exception": error})

    async def main():
        async with open_loop() as loop:
            return Dying(loop)

    error = Failed()
    if opened:
        dying = trio.run(main)
    else:
        with new_event_loop() as loop:
            dying = Dying(loop)
            loop.run_until_complete(loop.run_trio(trio.sleep, 0))
    assert dying.loop.is_closed()
    del dying
    gc.collect()
    (record,) = caplog.records
    assert record.message.startswith("dying")
    assert record.exc_info[1] is error


def test_a_future_that_nobody_asks_is_only_logged(caplog):
    async def main():
        loop = current_loop.get()
        future = loop.create_future()
        future.set_exception(Failed())
        del future
        gc.collect()
        await loop.synchronize()
        task = loop.run_trio(trio.sleep, 0)
        return await run_future(task)

    run(main)
    (record,) = caplog.records
    assert "Future exception was never retrieved" in record.message
