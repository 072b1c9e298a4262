"""The exceptions, and the answer of an abort function."""

from __future__ import annotations

import copy
import pickle

import pytest
from trio_asyncio_c import _exceptions, trio

from ._helpers import run_mock

PLAIN = [
    trio.TrioInternalError,
    trio.RunFinishedError,
    trio.WouldBlock,
    trio.BusyResourceError,
    trio.ClosedResourceError,
    trio.BrokenResourceError,
    trio.EndOfChannel,
    trio.NeedHandshakeError,
    trio.TooSlowError,
]

make_cancelled = trio.Cancelled._create


@pytest.mark.parametrize("cls", PLAIN)
def test_plain_exceptions(cls):
    assert issubclass(cls, Exception)
    assert cls.__module__ == "trio_asyncio_c"
    assert cls.__doc__
    error = cls("text")
    assert str(error) == "text"
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is cls
    assert again.args == ("text",)


def test_base_classes():
    assert issubclass(trio.RunFinishedError, RuntimeError)
    assert issubclass(trio.TooSlowError, TimeoutError)
    assert not issubclass(trio.Cancelled, Exception)


def test_all_of_them_are_in_the_namespace():
    for name in set(_exceptions.__all__) - {"Abort"}:
        assert getattr(trio, name) is getattr(_exceptions, name)


# ---- Cancelled ----


def test_cancelled_has_no_public_constructor():
    text = r"^trio_asyncio_c\.Cancelled has no public constructor$"
    for args, kwargs in [((), {}), (("x",), {}), ((), {"source": "deadline"})]:
        with pytest.raises(TypeError, match=text):
            trio.Cancelled(*args, **kwargs)
    with pytest.raises(TypeError, match=text):
        raise trio.Cancelled


def test_cancelled_is_final():
    with pytest.raises(TypeError, match="does not support subclassing"):
        type("Sub", (trio.Cancelled,), {})


def test_cancelled_attributes():
    error = make_cancelled()
    assert error.source == "unknown"
    assert error.reason is None
    assert error.source_task is None
    error = make_cancelled(source="explicit", reason="r", source_task="<t>")
    assert error.source == "explicit"
    assert error.reason == "r"
    assert error.source_task == "<t>"
    with pytest.raises(TypeError):
        make_cancelled("explicit")


@pytest.mark.parametrize(
    ("kwargs", "text"),
    [
        ({}, "cancelled due to unknown"),
        ({"source": "deadline"}, "cancelled due to deadline"),
        (
            {"source": "explicit", "reason": "it's over"},
            'cancelled due to explicit with reason "it\'s over"',
        ),
        (
            {"source": "explicit", "reason": ""},
            "cancelled due to explicit with reason ''",
        ),
        (
            {"source": "explicit", "source_task": "<Task x>"},
            "cancelled due to explicit from task <Task x>",
        ),
        (
            {"source": "nursery", "reason": "r", "source_task": "<Task x>"},
            "cancelled due to nursery with reason 'r' from task <Task x>",
        ),
    ],
)
def test_cancelled_text(kwargs, text):
    assert str(make_cancelled(**kwargs)) == text


def test_cancelled_repr():
    error = make_cancelled(source="explicit", reason="r")
    expected = "Cancelled(source='explicit', source_task=None, reason='r')"
    assert repr(error) == expected


@pytest.mark.parametrize("protocol", range(2, pickle.HIGHEST_PROTOCOL + 1))
def test_cancelled_can_be_pickled(protocol):
    error = make_cancelled(source="explicit", reason="r", source_task="<t>")
    for again in (
        pickle.loads(pickle.dumps(error, protocol)),
        copy.copy(error),
    ):
        assert type(again) is trio.Cancelled
        assert again is not error
        assert str(again) == str(error)
        assert again.source == "explicit"
        assert again.reason == "r"
        assert again.source_task == "<t>"


def test_cancelled_works_in_groups():
    error = make_cancelled()
    group = BaseExceptionGroup("g", [error, ValueError()])
    match, rest = group.split(trio.Cancelled)
    assert match.exceptions == (error,)
    assert type(rest) is ExceptionGroup


def test_cancelled_as_the_scheduler_raises_it():
    async def main():
        seen = []
        with trio.move_on_after(1):
            try:
                await trio.sleep_forever()
            except trio.Cancelled as error:
                seen.append(error)
                raise
        with trio.CancelScope() as scope:
            scope.cancel(reason="enough")
            try:
                await trio.lowlevel.checkpoint()
            except trio.Cancelled as error:
                seen.append(error)
                raise
        deadline, explicit = seen
        assert type(deadline) is type(explicit) is trio.Cancelled
        assert deadline.source == "deadline"
        assert deadline.reason is None
        assert deadline.source_task is None
        assert explicit.source == "explicit"
        assert explicit.reason == "enough"
        assert explicit.source_task == repr(trio.lowlevel.current_task())

    run_mock(main)


def test_except_exception_does_not_stop_a_cancellation():
    async def main():
        with trio.CancelScope() as scope:
            scope.cancel()
            try:
                await trio.lowlevel.checkpoint()
            except Exception:
                raise AssertionError("unreachable") from None
        assert scope.cancelled_caught

    trio.run(main)


# ---- Abort ----


def test_abort():
    abort = trio.lowlevel.Abort
    assert [member.name for member in abort] == ["SUCCEEDED", "FAILED"]
    assert [member.value for member in abort] == [1, 2]
