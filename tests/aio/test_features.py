"""Signal handlers, policies, runners and hooks, each beside asyncio's own loop."""

from __future__ import annotations

import asyncio
import contextvars
import functools
import gc
import signal
import sys
import threading
import warnings

import pytest

import trio_asyncio_c
from trio_asyncio_c import EventLoop

from ._helpers import as_on_stock, run_briefly, run_until

VARIABLE = contextvars.ContextVar("VARIABLE", default="unset")


def answer_of(call):
    try:
        return call()
    except (RuntimeError, TypeError, ValueError) as exc:
        return type(exc), str(exc)


def test_signals_that_are_refused():
    def program(loop, seen):
        for number in (0, -1, 10**4, "x", 1.5, None, signal.SIGKILL, signal.SIGSTOP):
            add = functools.partial(loop.add_signal_handler, number, print)
            seen.append(answer_of(add))
            seen.append(
                answer_of(functools.partial(loop.remove_signal_handler, number))
            )
        thread = threading.Thread(
            target=lambda: seen.append(
                answer_of(lambda: loop.add_signal_handler(signal.SIGUSR1, print))
            )
        )
        thread.start()
        thread.join()
        seen.append(loop.remove_signal_handler(signal.SIGUSR1))
        loop.close()
        seen.append(answer_of(lambda: loop.add_signal_handler(signal.SIGUSR1, print)))
        seen.append(answer_of(lambda: loop.remove_signal_handler(signal.SIGUSR1)))

    assert as_on_stock(program)


@pytest.mark.parametrize("by", ["remove", "close"])
def test_handlers_and_the_wakeup_fd_come_back(by):
    def program(loop, seen):
        numbers = signal.SIGUSR1, signal.SIGCHLD, signal.SIGINT
        before = [signal.getsignal(number) for number in numbers]
        wakeup = signal.set_wakeup_fd(-1)
        signal.set_wakeup_fd(wakeup)
        for number in numbers:
            loop.add_signal_handler(number, seen.append, number)
            loop.add_signal_handler(number, seen.append, (number, "again"))
        for number in numbers:
            signal.raise_signal(number)
            run_until(loop, lambda: number in [entry[0] for entry in seen])
        if by == "remove":
            seen.append([loop.remove_signal_handler(number) for number in numbers])
        else:
            loop.close()
        seen.append(signal.set_wakeup_fd(-1))
        signal.set_wakeup_fd(wakeup)
        after = [signal.getsignal(number) for number in numbers]
        seen.append([str(handler) for handler in after])
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)

    assert as_on_stock(program)


def test_a_handler_that_removes_itself_and_stops():
    def program(loop, seen):
        def handler():
            seen.append(loop.remove_signal_handler(signal.SIGUSR1))
            loop.stop()

        loop.add_signal_handler(signal.SIGUSR1, handler)
        loop.call_soon(signal.raise_signal, signal.SIGUSR1)
        loop.run_forever()
        seen.append(signal.getsignal(signal.SIGUSR1) is signal.SIG_DFL)

    assert as_on_stock(program) == [True, True]


@pytest.mark.parametrize("debug", [False, True])
def test_runner(debug):
    def program(unused, seen):
        factory = type(unused)

        async def main(label):
            loop = asyncio.get_running_loop()
            seen.append((label, loop.get_debug(), VARIABLE.get()))
            VARIABLE.set(label)
            return type(loop) is factory

        async def interrupted():
            try:
                asyncio.get_running_loop().call_soon(signal.raise_signal, signal.SIGINT)
                await asyncio.sleep(3600)
            finally:
                seen.append("ended")

        context = contextvars.Context()
        with asyncio.Runner(debug=debug, loop_factory=factory) as runner:
            seen.append(runner.run(main("a")))
            seen.append(runner.run(main("b")))
            seen.append(runner.run(main("c"), context=context))
            try:
                runner.run(interrupted())
            except KeyboardInterrupt:
                seen.append("interrupted")
            seen.append(runner.run(main("d")))
        seen.append(context.get(VARIABLE))
        seen.append(answer_of(runner.get_loop))
        seen.append(signal.getsignal(signal.SIGINT) is signal.default_int_handler)

    assert as_on_stock(program)


def test_the_policy():
    def attempt(policy_class, loop_class):
        seen = []
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            asyncio.set_event_loop_policy(policy_class())
            try:
                seen.append(type(asyncio.get_event_loop_policy()) is policy_class)
                loop = asyncio.new_event_loop()
                seen.append(type(loop) is loop_class)
                asyncio.set_event_loop(loop)
                seen.append(asyncio.get_event_loop() is loop)
                asyncio.set_event_loop(None)
                seen.append(answer_of(asyncio.get_event_loop))
                loop.close()

                async def main():
                    return type(asyncio.get_running_loop()) is loop_class

                seen.append(asyncio.run(main()))
            finally:
                asyncio.set_event_loop_policy(None)
        seen.append([(w.category, str(w.message)) for w in caught])
        return seen

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        stock = asyncio.DefaultEventLoopPolicy
    ours = attempt(trio_asyncio_c.EventLoopPolicy, EventLoop)
    assert ours == attempt(stock, asyncio.SelectorEventLoop)


@pytest.mark.parametrize("depth", [0, 3])
def test_origin_tracking(depth):
    def program(loop, seen):
        look = lambda: seen.append(sys.get_coroutine_origin_tracking_depth())
        sys.set_coroutine_origin_tracking_depth(depth)
        try:
            for debug in (True, False):
                loop.set_debug(debug)
                look()
                loop.call_soon(look)
                run_briefly(loop)
                look()
            loop.set_debug(True)
            loop.call_soon(sys.exit)
            with pytest.raises(SystemExit):
                loop.run_forever()
            look()
            # In a run set_debug sends a callback that changes it.
            loop.call_soon(loop.set_debug, False)
            run_briefly(loop, turns=2)
            look()
        finally:
            sys.set_coroutine_origin_tracking_depth(0)

    assert as_on_stock(program)


def test_generators_and_their_shutdown():
    def program(loop, seen):
        loop.set_exception_handler(
            lambda loop, context: seen.append(context["message"].split(" <")[0])
        )

        async def numbers(label, fails=False):
            try:
                yield 1
            finally:
                seen.append(label)
                if fails:
                    raise KeyError(label)

        async def main():
            seen.append(await anext(kept))
            seen.append(await anext(failing))
            seen.append(await anext(numbers("dropped")))
            gc.collect()
            for _ in range(4):
                await asyncio.sleep(0)

        hooks = sys.get_asyncgen_hooks()
        kept, failing = numbers("kept"), numbers("fails", fails=True)
        loop.run_until_complete(main())
        seen.append(sys.get_asyncgen_hooks() == hooks)
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.run_until_complete(loop.shutdown_asyncgens())
        seen.sort(key=str)  # the generators are in a set

    seen = as_on_stock(program)
    assert {"kept", "fails", "dropped"} <= set(seen)
