"""Results as objects, and passing them to a sleeping task."""

from __future__ import annotations

import gc
import traceback
import weakref

import pytest
from trio_asyncio_c import trio

from ._helpers import start

lowlevel = trio.lowlevel
Value, Error = lowlevel.Value, lowlevel.Error


def add(a, b=0):
    return a + b


def fail(error):
    raise error


async def async_add(a, b=0):
    await lowlevel.checkpoint()
    return a + b


async def async_fail(error):
    await lowlevel.checkpoint()
    raise error


def run_acapture(fn, *args, **kwargs):
    async def main():
        return await lowlevel.acapture(fn, *args, **kwargs)

    return trio.run(main)


def test_value():
    value = Value([1])
    assert value.value == [1]
    assert value.unwrap() is value.value
    assert value.unwrap() is value.value
    assert repr(value) == "Value([1])"
    assert value == Value([1])
    assert value != Value([2])
    assert value != [1]
    assert hash(Value(1)) == hash(Value(1))
    assert Value(1) in {Value(1)}


def test_error():
    key_error = KeyError("k")
    error = Error(key_error)
    assert error.error is key_error
    for _ in range(2):
        with pytest.raises(KeyError) as caught:
            error.unwrap()
        assert caught.value is key_error
    assert repr(error) == "Error(KeyError('k'))"
    assert error == Error(key_error)
    assert error != Error(KeyError("k"))
    assert error != Value(key_error)
    assert error in {Error(key_error)}


@pytest.mark.parametrize("junk", [None, "text", KeyError])
def test_error_holds_exceptions_only(junk):
    with pytest.raises(TypeError, match="holds an exception object"):
        Error(junk)


@pytest.mark.parametrize(
    ("capture", "fn"),
    [(lowlevel.capture, add), (run_acapture, async_add)],
)
def test_capture_a_value(capture, fn):
    assert capture(fn, 1) == Value(1)
    assert capture(fn, 1, b=2) == Value(3)


@pytest.mark.parametrize("kind", [KeyError, KeyboardInterrupt, SystemExit])
@pytest.mark.parametrize(
    ("capture", "fn"),
    [(lowlevel.capture, fail), (run_acapture, async_fail)],
)
def test_capture_an_error(capture, fn, kind):
    error = kind("x")
    result = capture(fn, error)
    assert type(result) is Error
    assert result.error is error
    # The traceback begins with the function, not with what captured it.
    frames = traceback.extract_tb(error.__traceback__)
    assert frames[0].name == fn.__name__


def test_capture_a_call_that_cannot_be_made():
    result = lowlevel.capture(add)
    assert type(result.error) is TypeError
    assert result.error.__traceback__ is None


def test_unwrap_leaves_no_reference_cycle():
    class Custom(Exception):
        pass

    def raise_custom():
        raise Custom

    def raise_and_drop():
        try:
            lowlevel.capture(raise_custom).unwrap()
        except Custom as error:
            return weakref.ref(error)

    gc.collect()
    gc.disable()
    try:
        assert raise_and_drop()() is None
    finally:
        gc.enable()


class ForeignValue:
    def __init__(self, value):
        self.value = value

    def unwrap(self):
        return self.value


class ForeignError:
    def __init__(self, error):
        self.error = error

    def unwrap(self):
        raise self.error


async def sleep_until_rescheduled(tasks):
    tasks.append(lowlevel.current_task())
    return await lowlevel.wait_task_rescheduled(lambda _: lowlevel.Abort.SUCCEEDED)


@pytest.mark.parametrize("cls", [Value, ForeignValue])
@pytest.mark.parametrize("value", [None, 1, (1, 2), ValueError("x")])
def test_reschedule_with_a_value(cls, value):
    async def main():
        tasks = []
        async with trio.open_nursery() as nursery:
            call = await start(nursery, sleep_until_rescheduled, tasks)
            lowlevel.reschedule(tasks[0], cls(value))
        assert call.error is None
        assert call.result is value

    trio.run(main)


@pytest.mark.parametrize("cls", [Error, ForeignError])
def test_reschedule_with_an_error(cls):
    async def main():
        tasks = []
        error = KeyError("k")
        async with trio.open_nursery() as nursery:
            call = await start(nursery, sleep_until_rescheduled, tasks)
            lowlevel.reschedule(tasks[0], cls(error))
        assert call.error is error

    trio.run(main)


def test_reschedule_with_what_raise_cancel_raises():
    async def main():
        async def sleeper():
            task = lowlevel.current_task()

            def abort(raise_cancel):
                lowlevel.reschedule(task, lowlevel.capture(raise_cancel))
                return lowlevel.Abort.FAILED

            await lowlevel.wait_task_rescheduled(abort)

        async with trio.open_nursery() as nursery:
            call = await start(nursery, sleeper)
            call.scope.cancel()
        assert call.cancelled

    trio.run(main)
