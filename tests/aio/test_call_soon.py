"""call_soon: order, batches, arguments, contexts, cancelling."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import weakref

import pytest

from trio_asyncio_c import EventLoop, _core

from ._helpers import run_briefly

var = contextvars.ContextVar("var", default="unset")


def test_callbacks_run_in_the_order_of_the_calls(loop):
    seen = []
    for i in range(1000):
        loop.call_soon(seen.append, i)
    run_briefly(loop)
    assert seen == list(range(1000))


def test_a_batch_is_what_was_queued_when_it_began(loop):
    seen = []

    def first():
        seen.append("first")
        loop.call_soon(seen.append, "third")

    loop.call_soon(first)
    loop.call_soon(seen.append, "second")
    loop.call_soon(loop.stop)
    loop.run_forever()
    assert seen == ["first", "second"]
    run_briefly(loop)
    assert seen == ["first", "second", "third"]


def test_sleep_zero_is_one_whole_pass(loop):
    seen = []

    async def main():
        loop.call_soon(seen.append, 1)
        loop.call_soon(loop.call_soon, seen.append, 2)
        await asyncio.sleep(0)
        assert seen == [1]
        await asyncio.sleep(0)
        assert seen == [1, 2]

    loop.run_until_complete(main())


def test_many_callbacks_at_once(loop):
    """The ring grows, and gives its memory back."""
    count = 0

    def callback():
        nonlocal count
        count += 1

    for _ in range(200_000):
        loop.call_soon(callback)
    run_briefly(loop)
    assert count == 200_000


def test_many_callbacks_again_and_again(loop):
    """What a burst used is kept for the next one, and for some time only."""
    for count in [5000, 5000, 10, 200_000, *[1] * 10_000, 3000]:
        seen = []
        for i in range(count):
            loop.call_soon(seen.append, i)
        run_briefly(loop)
        assert seen == list(range(count))


def test_contexts_of_a_burst(loop):
    """The collector knows the contexts that others get hold of."""

    class Value:
        pass

    values, kept, seen = [], [], []
    for i in range(1000):
        value = Value()
        values.append(weakref.ref(value))
        context = contextvars.copy_context()
        context.run(var.set, value)
        handle = context.run(loop.call_soon, lambda: seen.append(var.get()))
        if i % 3 == 0:
            kept.append(handle)
            value.handle = handle  # a cycle
        elif i % 3 == 1:
            kept.append(handle.get_context())
            value.context = handle._context
    del value, context, handle
    gc.collect()
    run_briefly(loop)
    gc.collect()
    assert [ref() for ref in values] == seen
    assert all(gc.is_tracked(each) for each in kept)
    seen.clear()
    kept.clear()
    gc.collect()
    assert not any(ref() for ref in values)


def test_a_burst_that_is_cancelled_or_dropped():
    loop = EventLoop()
    handles = [loop.call_soon(print) for _ in range(1000)]
    for handle in handles[::2]:
        handle.cancel()
    del handle, handles[:500]
    gc.collect()
    loop.close()
    assert [handle.cancelled() for handle in handles[:2]] == [True, False]
    contexts = [handle.get_context() for handle in handles]
    assert all(gc.is_tracked(context) for context in contexts)


def test_positional_arguments_are_passed_on(loop):
    seen = []
    loop.call_soon(lambda *args: seen.append(args), 1, 2, 3, 4, 5)
    run_briefly(loop)
    assert seen == [(1, 2, 3, 4, 5)]


@pytest.mark.parametrize("method", ["call_soon", "call_soon_threadsafe"])
def test_context_is_the_one_given_or_a_copy(loop, method):
    seen = []
    context = contextvars.copy_context()
    context.run(var.set, "given")
    schedule = getattr(loop, method)
    schedule(lambda: seen.append(var.get()), context=context)
    schedule(lambda: seen.append(var.get()), context=None)
    schedule(lambda: var.set("changed"))
    schedule(lambda: seen.append(var.get()))
    run_briefly(loop)
    assert seen == ["given", "unset", "unset"]
    assert var.get() == "unset"


def test_named_arguments(loop):
    seen = []
    loop.call_soon(callback=lambda: seen.append("soon"))
    loop.call_at(when=0, callback=lambda: seen.append("at"))
    loop.call_later(delay=0, callback=lambda: seen.append("later"))
    loop.call_later(0, callback=lambda: seen.append("mixed"))
    run_briefly(loop, turns=2)
    assert seen == ["soon", "at", "later", "mixed"]
    with pytest.raises(TypeError, match="multiple values for argument 'callback'"):
        loop.call_soon(print, callback=print)
    with pytest.raises(
        TypeError, match="missing 1 required positional argument: 'delay'"
    ):
        loop.call_later(callback=print)


def test_bad_arguments(loop):
    with pytest.raises(TypeError, match="missing 1 required"):
        loop.call_soon()


def test_handle_is_like_asyncios(loop):
    def callback(arg):
        pass

    handle = loop.call_soon(callback, 7)
    assert handle._callback is callback
    assert handle._args == (7,)
    assert not handle.cancelled()
    assert isinstance(handle.get_context(), contextvars.Context)
    assert repr(handle).startswith(
        "<Handle test_handle_is_like_asyncios.<locals>.callback"
    )
    handle.cancel()
    handle.cancel()
    assert handle.cancelled()
    assert handle._callback is None
    assert handle._args is None
    assert repr(handle) == "<Handle cancelled>"


def test_a_cancelled_handle_does_not_run_and_drops_its_arguments(loop):
    class Thing:
        pass

    thing = Thing()
    alive = weakref.ref(thing)
    handle = loop.call_soon(print, thing)
    del thing
    handle.cancel()
    assert alive() is None
    run_briefly(loop)


def test_a_callback_may_cancel_its_own_handle(loop):
    seen = []

    def callback(arg):
        handle.cancel()
        seen.append(arg)

    handle = loop.call_soon(callback, [1])
    run_briefly(loop)
    assert seen == [[1]]


def test_call_soon_from_a_finalizer(loop):
    seen = []

    class Thing:
        def __del__(self):
            loop.call_soon(seen.append, "deleted")

    loop.call_soon(lambda thing: None, Thing())
    run_briefly(loop, turns=2)
    assert seen == ["deleted"]


def test_queued_callbacks_are_dropped_by_close():
    before = _core._debug_counts()["handles"]
    loop = EventLoop()
    loop.call_soon(print, loop)
    loop.call_later(1000, print, loop)
    loop.close()
    assert _core._debug_counts()["handles"] == before


def test_task_steps_get_no_handle(loop):
    """CPython's C Tasks drop the handle, so none is made for them."""
    counts = []

    async def main():
        for _ in range(3):
            await asyncio.sleep(0)
            counts.append(_core._debug_counts()["handles"])

    before = _core._debug_counts()["handles"]
    loop.run_until_complete(main())
    assert counts == [before] * 3


def test_task_steps_keep_their_context(loop):
    async def main():
        var.set("task")
        await asyncio.sleep(0)
        assert var.get() == "task"
        future = loop.create_future()
        loop.call_soon(future.set_result, None)
        await future
        assert var.get() == "task"

    loop.run_until_complete(main())
    assert var.get() == "unset"


def test_bound_methods_of_tasks_get_a_handle(loop):
    async def main():
        task = asyncio.create_task(asyncio.sleep(10))
        await asyncio.sleep(0)
        handle = loop.call_soon(task.cancel)
        assert handle is not None
        handle.cancel()
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert not task.done()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    loop.run_until_complete(main())


def test_foreign_handles_are_run(loop):
    seen = []
    loop._add_callback(asyncio.Handle(seen.append, (1,), loop))
    cancelled = asyncio.Handle(seen.append, (2,), loop)
    loop._add_callback(cancelled)
    cancelled.cancel()
    run_briefly(loop)
    assert seen == [1]
