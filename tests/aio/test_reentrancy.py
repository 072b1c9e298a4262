"""Callbacks that change what is being run: readers and timers that are ready in the
same pass, the loop that is stopped in the middle of a batch; and coroutines where
functions belong.

The same programs run on the standard library's loop, which must see the same.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import socket
import warnings

import pytest

from ._helpers import as_on_stock, run_briefly


@contextlib.contextmanager
def ready_sockets(count):
    """Give sockets with a byte to read each."""
    pairs = [socket.socketpair() for _ in range(count)]
    for left, right in pairs:
        left.setblocking(False)
        right.send(b"x")
    yield [left for left, _ in pairs]
    for pair in pairs:
        for end in pair:
            end.close()


def poll(loop, turns=1):
    """Run turns that all look at the files: a busy loop of ours does not always."""
    for _ in range(turns):
        loop.stop()
        loop.run_forever()


# Coroutines


async def coroutine_function():
    pass


@pytest.mark.parametrize("debug", [False, True])
def test_callbacks_that_return_coroutines(debug):
    # Whoever forgets an await is told so by the coroutine, and by nobody else.
    def program(loop, seen):
        loop.set_exception_handler(
            lambda loop, context: seen.append(
                (context["message"], "exception" in context)
            )
        )
        loop.set_debug(debug)
        with warnings.catch_warnings(record=True) as caught, ready_sockets(1) as socks:
            warnings.simplefilter("always")
            loop.call_soon(lambda: coroutine_function())
            loop.call_later(0, lambda: coroutine_function())
            loop.call_soon_threadsafe(lambda: coroutine_function())
            loop.add_reader(
                socks[0],
                lambda: [loop.remove_reader(socks[0]), coroutine_function()][1],
            )
            poll(loop, turns=3)
            gc.collect()
        for warning in caught:
            text = str(warning.message)
            seen.append((warning.category, text.splitlines()[0], "created at" in text))

    assert len(as_on_stock(program)) == 4


@pytest.mark.parametrize("debug", [False, True])
def test_coroutines_as_callbacks(debug):
    def program(loop, seen):
        loop.set_exception_handler(
            lambda loop, context: seen.append(repr(context["exception"]))
        )
        loop.set_debug(debug)
        coro = coroutine_function()
        with ready_sockets(1) as (sock,):
            for callback in (coro, coroutine_function):
                for call in (
                    lambda: loop.call_soon(callback),
                    lambda: loop.call_soon_threadsafe(callback),
                    lambda: loop.call_later(0, callback),
                    lambda: loop.call_at(0, callback),
                    lambda: loop.add_reader(sock, callback),
                    lambda: loop.add_signal_handler(10, callback),
                    lambda: loop.run_in_executor(None, callback),
                ):
                    with warnings.catch_warnings():
                        warnings.simplefilter("ignore")  # never awaited, for one
                        try:
                            answer = call()
                            seen.append(type(answer).__name__.lstrip("_"))
                            if asyncio.isfuture(answer):
                                result = loop.run_until_complete(
                                    asyncio.wait([answer], timeout=5)
                                )
                                seen.append(len(result[0]))
                                seen.append(repr(answer.exception()))
                                if answer.exception() is None:
                                    answer.result().close()
                        except (TypeError, ValueError) as exc:
                            text = str(exc).split(" at 0x")[0]
                            seen.append((type(exc).__name__, text))
                        poll(loop)
                        loop.remove_reader(sock)
                        loop.remove_signal_handler(10)
                        gc.collect()
            poll(loop)
        coro.close()
        loop.run_until_complete(loop.shutdown_default_executor())

    assert as_on_stock(program)


# Readers and timers that are ready in the same pass


@pytest.mark.parametrize("victim", ["first", "second"])
@pytest.mark.parametrize("way", ["remove", "replace", "close"])
def test_a_reader_whose_neighbour_is_ready_as_well(way, victim):
    def program(loop, seen):
        with ready_sockets(2) as socks:

            def callback(me, other):
                # The order is the kernel's: whoever is first undoes the other.
                seen.append("ran")
                loop.remove_reader(me)
                if way == "remove":
                    seen.append(loop.remove_reader(other))
                elif way == "replace":
                    loop.add_reader(other, replacement, other)
                else:
                    seen.append(loop.remove_reader(other))
                    other.close()

            def replacement(me):
                seen.append("replaced")
                loop.remove_reader(me)

            order = socks if victim == "second" else socks[::-1]
            loop.add_reader(order[0], callback, *order)
            loop.add_reader(order[1], callback, *order[::-1])
            poll(loop, turns=4)

    assert as_on_stock(program).count("ran") == 1


def test_a_reader_that_removes_the_writer_of_its_fd_and_the_other_way_round():
    def program(loop, seen):
        with ready_sockets(1) as (sock,):

            def reader():
                seen.append("reader")
                seen.append(loop.remove_writer(sock))
                loop.remove_reader(sock)

            def writer():
                seen.append("writer")
                seen.append(loop.remove_reader(sock))
                loop.remove_writer(sock)

            loop.add_reader(sock, reader)
            loop.add_writer(sock, writer)
            poll(loop, turns=4)

    assert as_on_stock(program) == ["reader", True]


def test_timers_that_are_due_together():
    def program(loop, seen):
        def callback(number):
            seen.append(number)
            if number % 3 == 0:
                for handle in handles[number + 1 : number + 3]:
                    handle.cancel()
            if number % 4 == 0:
                loop.call_at(0, seen.append, f"from {number}")
            if number == 6:
                loop.stop()

        handles = [loop.call_at(number, callback, number) for number in range(12)]
        poll(loop)
        seen.append("|")
        poll(loop, turns=2)
        handles.clear()

    assert as_on_stock(program)


def test_a_timer_that_removes_a_reader_and_a_reader_that_cancels_a_timer():
    def program(loop, seen):
        with ready_sockets(2) as (removed, stays):
            timer = loop.call_at(loop.time(), seen.append, "never")

            def reader():
                seen.append("reader")
                timer.cancel()
                loop.remove_reader(stays)
                loop.remove_reader(removed)

            loop.add_reader(stays, reader)
            loop.add_reader(removed, reader)
            poll(loop, turns=3)
            loop.add_reader(removed, seen.append, "reads")
            loop.call_soon(loop.call_at, loop.time(), loop.remove_reader, removed)
            poll(loop, turns=3)
            seen.append(loop.remove_reader(removed))

    assert as_on_stock(program)


# Stopping in the middle of a batch


def test_stop_in_the_middle_of_a_batch():
    def program(loop, seen):
        def spawn(number):
            seen.append(number)
            if number == 1:
                loop.stop()
                loop.stop()
            loop.call_soon(seen.append, f"child of {number}")

        for number in range(4):
            loop.call_soon(spawn, number)
        loop.call_later(0, seen.append, "timer")
        loop.run_forever()
        seen.append("|")
        loop.call_soon(loop.stop)
        loop.run_forever()
        seen.append("|")
        run_briefly(loop)

    assert as_on_stock(program)


def test_stop_and_go_from_tasks():
    def program(loop, seen):
        async def stops(label):
            for step in range(3):
                seen.append((label, step))
                loop.stop()
                await asyncio.sleep(0)
            loop.stop()
            return label

        tasks = [loop.create_task(stops(label)) for label in "abc"]
        while not all(task.done() for task in tasks):
            loop.run_forever()
            seen.append("|")
        seen.append([task.result() for task in tasks])

        async def main():
            loop.stop()
            await asyncio.sleep(0.001)

        main_task = loop.create_task(main())
        try:
            loop.run_until_complete(main_task)
        except RuntimeError as exc:
            seen.append(str(exc))
        loop.run_until_complete(main_task)

    assert as_on_stock(program)


@pytest.mark.parametrize("error", [SystemExit, KeyboardInterrupt])
def test_an_exit_in_the_middle_of_a_batch(error):
    def program(loop, seen):
        def exits():
            loop.call_soon(seen.append, "after")
            raise error("now")

        for step in (seen.append, 1), (exits,), (seen.append, 2), (loop.stop,):
            loop.call_soon(*step)
        for _ in range(2):
            try:
                loop.run_forever()
            except error as exc:
                seen.append(str(exc))
            seen.append((loop.is_running(), loop._stopping))
        run_briefly(loop)

    assert as_on_stock(program)


def test_closing_and_running_from_inside():
    def program(loop, seen):
        def attempt(call):
            try:
                call()
            except RuntimeError as exc:
                seen.append(str(exc))

        def inside():
            attempt(loop.close)
            with contextlib.closing(coroutine_function()) as coro:
                attempt(lambda: loop.run_until_complete(coro))
                attempt(lambda: asyncio.run(coro))
            seen.append(loop.is_running())

        loop.call_soon(inside)
        loop.call_soon(seen.append, "goes on")
        run_briefly(loop, turns=2)

    assert as_on_stock(program)[-2:] == [True, "goes on"]
