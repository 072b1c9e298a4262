"""Errors in callbacks go to the exception handler; those that end a run leave it."""

from __future__ import annotations

import asyncio
import sys

import pytest

from trio_asyncio_c import EventLoop, _core

from ._helpers import run_briefly


def fail(exc):
    raise exc


def test_the_context_is_asyncios(loop, errors):
    error = ValueError("x")
    handle = loop.call_soon(fail, error)
    run_briefly(loop)
    (context,) = errors
    assert set(context) == {"message", "exception", "handle"}
    assert context["message"].startswith("Exception in callback fail(")
    assert context["exception"] is error
    assert context["handle"] is handle


def test_debug_mode_adds_the_stack(loop, errors):
    loop.set_debug(True)
    loop.call_soon(fail, ValueError("x"))
    run_briefly(loop)
    assert errors[0]["source_traceback"][-1].filename == __file__


def test_timers_and_tasks_too(loop, errors):
    loop.call_later(0, fail, ValueError("timer"))

    async def forgotten():
        raise ValueError("task")

    loop.create_task(forgotten())
    run_briefly(loop, turns=3)
    messages = sorted(context["message"] for context in errors)
    assert messages[0].startswith("Exception in callback fail(")
    assert messages[1] == "Task exception was never retrieved"


def test_the_batch_goes_on_after_an_error(loop, errors):
    seen = []
    loop.call_soon(fail, ValueError("x"))
    loop.call_soon(seen.append, 1)
    run_briefly(loop)
    assert seen == [1]
    assert len(errors) == 1


@pytest.mark.parametrize("kind", [asyncio.CancelledError, GeneratorExit])
def test_other_base_exceptions_are_handled_too(loop, errors, kind):
    error = kind()
    loop.call_soon(fail, error)
    run_briefly(loop)
    assert errors[0]["exception"] is error


@pytest.mark.parametrize("kind", [SystemExit, KeyboardInterrupt])
def test_what_ends_a_run_leaves_it_at_once(loop, errors, kind):
    error = kind()
    seen = []
    loop.call_soon(fail, error)
    loop.call_soon(seen.append, 1)
    with pytest.raises(kind) as caught:
        loop.run_forever()
    assert caught.value is error
    assert seen == []
    assert not loop.is_running()
    run_briefly(loop)
    assert seen == [1]
    assert errors == []


@pytest.mark.parametrize("kind", [SystemExit, KeyboardInterrupt])
def test_what_ends_a_run_from_a_task(loop, kind):
    error = kind()

    async def main():
        await asyncio.sleep(0)
        raise error

    with pytest.raises(kind) as caught:
        loop.run_until_complete(main())
    assert caught.value is error
    assert loop.run_until_complete(asyncio.sleep(0, 5)) == 5


def test_a_failing_exception_handler_is_logged(loop, caplog):
    loop.set_exception_handler(lambda loop, context: 1 / 0)
    loop.call_soon(fail, ValueError("x"))
    run_briefly(loop)
    assert "Unhandled error in exception handler" in caplog.text
    caplog.clear()  # records hold tracebacks


def test_an_exception_handler_may_end_the_run(loop):
    loop.set_exception_handler(lambda loop, context: fail(SystemExit(5)))
    loop.call_soon(fail, ValueError("x"))
    with pytest.raises(SystemExit):
        loop.run_forever()


def test_awaiting_a_trio_function_in_a_task_names_the_way(loop):
    async def main():
        with pytest.raises(RuntimeError, match=r"loop\.run_trio"):
            await _core.sleep(1)

    loop.run_until_complete(main())


def test_the_exception_handler_is_in_an_except_clause():
    # asyncio.Handle calls it in one: handlers use logging.exception() and the like.
    def attempt(loop):
        seen = []

        def handler(loop, context):
            seen.append(sys.exc_info()[1] is context["exception"])
            raise SystemExit(5)

        loop.set_exception_handler(handler)
        loop.call_soon(fail, ValueError("x"))
        with pytest.raises(SystemExit) as info:
            loop.run_forever()
        seen.append(type(info.value.__context__).__name__)
        seen.append(sys.exc_info()[1])
        loop.close()
        return seen

    expected = attempt(asyncio.SelectorEventLoop())
    assert expected == [True, "ValueError", None]
    assert attempt(EventLoop()) == expected
