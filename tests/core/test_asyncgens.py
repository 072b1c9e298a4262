"""Async generators: who finalises them, when, and in what state."""

from __future__ import annotations

import contextlib
import gc
import logging
import sys
import warnings

import pytest
from trio_asyncio_c import trio

from ._helpers import is_cancelled, run, run_mock, settle

lowlevel = trio.lowlevel
LOGGER = "trio.async_generator_errors"


async def counter(log, name="generator"):
    try:
        for i in range(1000):
            yield i
    finally:
        log.append((name, "began"))
        log.append((name, await is_cancelled()))
        log.append((name, lowlevel.current_task().name))


@contextlib.contextmanager
def no_warnings():
    """Let generators be dropped without the warning that this deserves."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        yield


def test_an_exhausted_generator_needs_nobody():
    async def numbers():
        for i in range(3):
            yield i
            await lowlevel.checkpoint()

    async def main():
        assert [i async for i in numbers()] == [0, 1, 2]

    run(main)


def test_a_generator_left_over_is_closed_at_the_end_of_the_run():
    # R32, R40: in a cancelled scope, so that it cannot hang.
    log, kept = [], []

    async def main():
        generator = counter(log)
        kept.append(generator)
        assert await anext(generator) == 0
        assert log == []

    run(main)
    assert log == [
        ("generator", "began"),
        ("generator", True),
        ("generator", "<init>"),
    ]


def test_a_generator_that_is_dropped_is_closed_in_a_system_task():
    # R40
    log = []

    async def main():
        generator = counter(log)
        await anext(generator)
        with no_warnings():
            del generator
            gc.collect()
        assert log == []
        await settle()
        assert log[:2] == [("generator", "began"), ("generator", True)]
        assert log[2][1].startswith("close asyncgen ")
        assert log[2][1].endswith("counter (abandoned)")

    run(main)


def test_a_dropped_generator_warns():
    # R40
    async def numbers():
        yield 1

    async def main():
        generator = numbers()
        await anext(generator)
        with pytest.warns(
            ResourceWarning,
            match=r"^Async generator '.*\.numbers' was garbage collected before it "
            r"had been exhausted\. Surround its use in 'async with "
            r"aclosing\(\.\.\.\):' to ensure that it gets cleaned up as soon as you're "
            r"done using it\.$",
        ):
            del generator
            gc.collect()
        await settle()

    run(main)


def test_closing_properly_does_not_warn():
    log = []

    async def main():
        async with contextlib.aclosing(counter(log)) as generator:
            await anext(generator)
        assert log[1] == ("generator", False)

    run(main)


def test_a_generator_that_fails_when_it_is_closed_is_logged(caplog):
    # R40: and the run goes on.
    async def failing():
        try:
            yield 1
        finally:
            raise KeyError("cleanup")

    kept = []

    async def main():
        generator = failing()
        kept.append(generator)
        await anext(generator)
        return "fine"

    with caplog.at_level(logging.ERROR):
        assert run(main) == "fine"
    (record,) = [record for record in caplog.records if record.name == LOGGER]
    assert record.getMessage().startswith(
        "Exception ignored during finalization of async generator "
    )
    assert "failing" in record.getMessage()
    assert isinstance(record.exc_info[1], KeyError)


def test_cancelled_is_no_failure_of_a_generator(caplog):
    # R32
    async def sleeping():
        try:
            yield 1
        finally:
            await trio.sleep_forever()

    kept = []

    async def main():
        generator = sleeping()
        kept.append(generator)
        await anext(generator)

    run(main)
    assert [r for r in caplog.records if r.name == LOGGER] == []


def test_generators_made_while_others_are_closed_are_closed_too():
    # R32
    log, kept = [], []

    async def first(depth):
        try:
            yield depth
        finally:
            if depth:
                generator = first(depth - 1)
                kept.append(generator)
                await anext(generator)
            log.append(depth)

    async def main():
        generator = first(4)
        kept.append(generator)
        await anext(generator)

    run(main)
    assert sorted(log) == [0, 1, 2, 3, 4]
    assert len(kept) == 5


def test_generators_are_closed_one_at_a_time():
    # R32
    running, kept = [], []

    async def generator():
        try:
            yield
        finally:
            assert running == []
            running.append(1)
            with trio.CancelScope(shield=True):
                await trio.sleep(1)
            running.pop()

    async def main():
        for _ in range(4):
            kept.append(generator())
            await anext(kept[-1])

    run_mock(main)
    assert running == []


def test_generators_are_closed_after_the_system_tasks_have_ended():
    # R32
    log, kept = [], []

    async def system():
        try:
            await trio.sleep_forever()
        finally:
            log.append("system task")

    async def generator():
        try:
            yield
        finally:
            log.append("generator")

    async def main():
        lowlevel.spawn_system_task(system)
        kept.append(generator())
        await anext(kept[0])
        await settle()

    run(main)
    assert log == ["system task", "generator"]


def test_a_generator_that_uses_another():
    # Each is closed by whoever comes first; both end.
    log, kept = [], []

    async def inner():
        try:
            while True:
                yield "item"
        finally:
            log.append("inner")

    async def outer(source):
        try:
            async for item in source:
                yield item
        finally:
            log.append("outer")

    async def main():
        source = inner()
        kept.append(outer(source))
        assert await anext(kept[0]) == "item"

    run(main)
    assert sorted(log) == ["inner", "outer"]


def test_a_dropped_generator_at_the_very_end():
    # R40: dropped while the run shuts down.
    log, kept = [], []

    async def second():
        try:
            yield
        finally:
            log.append("second")

    async def first(other):
        await anext(other)
        try:
            yield
        finally:
            with no_warnings():
                del other
                gc.collect()
            log.append("first")

    async def main():
        kept.append(first(second()))
        await anext(kept[0])

    run(main)
    assert sorted(log) == ["first", "second"]


def test_the_hooks_are_the_runs_own_and_restored():
    # R40
    async def main():
        hooks = sys.get_asyncgen_hooks()
        assert hooks.firstiter is not None
        assert hooks.finalizer is not None

    before = sys.get_asyncgen_hooks()
    run(main)
    assert sys.get_asyncgen_hooks() == before


def test_generators_of_others_are_passed_on():
    # R40: one first iterated outside a task is none of ours.
    seen = []

    def firstiter(agen):
        seen.append(("firstiter", agen.__name__))

    def finalizer(agen):
        seen.append(("finalizer", agen.__name__))
        closer = agen.aclose()
        with contextlib.suppress(StopIteration):
            closer.send(None)

    async def foreign():
        yield 1
        yield 2

    async def ours():
        yield 1

    kept = []

    class Iterate(trio.abc.Instrument):
        def before_run(self):
            kept.append(foreign())
            with contextlib.suppress(StopIteration):
                kept[0].asend(None).send(None)

    async def main():
        assert [i async for i in ours()] == [1]
        assert seen == [("firstiter", "foreign")]
        kept.clear()
        gc.collect()
        assert seen == [("firstiter", "foreign"), ("finalizer", "foreign")]

    before = sys.get_asyncgen_hooks()
    sys.set_asyncgen_hooks(firstiter, finalizer)
    try:
        run(main, instruments=[Iterate()])
    finally:
        sys.set_asyncgen_hooks(*before)


def test_a_foreign_generator_without_a_host_is_closed_at_once():
    # R40
    log, kept = [], []

    async def foreign():
        try:
            yield 1
        finally:
            log.append("closed")

    class Iterate(trio.abc.Instrument):
        def before_run(self):
            kept.append(foreign())
            with contextlib.suppress(StopIteration):
                kept[0].asend(None).send(None)

    async def main():
        kept.clear()
        gc.collect()
        assert log == ["closed"]

    run(main, instruments=[Iterate()])


def test_an_abort_function_at_a_deadline_is_outside_any_task():
    # R40: so a generator first iterated there is foreign.
    log, kept = [], []

    async def foreign():
        try:
            yield 1
        finally:
            log.append("closed")

    def abort(raise_cancel):
        kept.append(foreign())
        with contextlib.suppress(StopIteration):
            kept[0].asend(None).send(None)
        return lowlevel.Abort.SUCCEEDED

    async def main():
        with trio.move_on_after(1):
            await lowlevel.wait_task_rescheduled(abort)

    run_mock(main)
    # It was left alone at the end of the run.
    assert log == []
    kept.clear()
    gc.collect()
    assert log == ["closed"]


def test_a_scope_in_a_generator_that_is_closed_elsewhere():
    # A known trap of async generators: the scope is entered in one task and left
    # in another.  It must not bring the run down.
    kept = []

    async def generator():
        with trio.CancelScope():
            yield 1

    async def child():
        kept.append(generator())
        await anext(kept[0])

    async def main():
        async with trio.open_nursery() as nursery:
            nursery.start_soon(child)
        return "fine"

    logger = logging.getLogger(LOGGER)
    logger.disabled = True
    try:
        assert run(main) == "fine"
    finally:
        logger.disabled = False
