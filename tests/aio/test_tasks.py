"""Tasks of every kind: asyncio's own in C and in Python, subclasses, other classes,
eager ones; and who is the current one.

The same programs run on the standard library's loop, which must see the same.
"""

from __future__ import annotations

import asyncio
import contextvars
import gc
import re
import sys
import threading
import warnings
import weakref

import pytest

from trio_asyncio_c import EventLoop

from ._helpers import as_on_stock, run_briefly

VARIABLE = contextvars.ContextVar("VARIABLE", default="unset")

since_3_12 = pytest.mark.skipif(
    sys.version_info < (3, 12), reason="eager tasks came with CPython 3.12"
)
since_3_14 = pytest.mark.skipif(
    sys.version_info < (3, 14), reason="eager_start= of create_task is of CPython 3.14"
)


class Subclass(asyncio.Task):
    """A subclass of the Task in C."""


class PySubclass(asyncio.tasks._PyTask):
    """A subclass of the Task in Python."""


class Foreign(asyncio.Future):
    """A Task that shares no code with asyncio's: it is driven by hand."""

    def __init__(self, coro, *, loop, name=None, context=None, **kwargs):
        super().__init__(loop=loop)
        self.coro, self.name, self.kwargs = coro, name, kwargs
        self.context = contextvars.copy_context() if context is None else context
        asyncio._register_task(self)
        loop.call_soon(self.step, context=self.context)

    def step(self, future=None):
        asyncio._enter_task(self._loop, self)
        try:
            waited = self.coro.send(None)
        except StopIteration as exc:
            self.set_result(exc.value)
        except BaseException as exc:
            self.set_exception(exc)
        else:
            if waited is None:
                self._loop.call_soon(self.step, context=self.context)
            else:
                waited._asyncio_future_blocking = False
                waited.add_done_callback(self.step, context=self.context)
        finally:
            asyncio._leave_task(self._loop, self)

    def get_name(self):
        return self.name

    def set_name(self, name):
        self.name = name

    def get_coro(self):
        return self.coro


KINDS = [asyncio.Task, asyncio.tasks._PyTask, Subclass, PySubclass, Foreign]


def current_task(loop=None):
    """Do asyncio.current_task, which does not see the Tasks in Python from 3.14 on."""
    task = asyncio.current_task(loop)
    if task is None and hasattr(asyncio.tasks, "_py_current_task"):
        return asyncio.tasks._py_current_task(loop)
    return task


def all_tasks(loop=None):
    in_python = getattr(asyncio.tasks, "_py_all_tasks", lambda loop: set())
    return asyncio.all_tasks(loop) | in_python(loop)


def name_of(task):
    """Return a task's name; numbers that count up over both runs are left out."""
    return re.sub(r"(?<=^Task-)\d+", "N", task.get_name())


async def work(loop, seen, label, steps=2):
    for step in range(steps):
        current = current_task()
        seen.append((label, step, name_of(current), VARIABLE.get()))
        VARIABLE.set(f"{label}{step}")
        await asyncio.sleep(0)
    await asyncio.sleep(0.001)
    return label


def logging_factory(seen, kind):
    def factory(loop, coro, **kwargs):
        shown = {name: str(value)[:8] for name, value in kwargs.items()}
        seen.append((kind.__name__, sorted(shown.items())))
        if kwargs.get("context", False) is None:
            del kwargs["context"]
        return kind(coro, loop=loop, **kwargs)

    return factory


@pytest.mark.parametrize("kind", KINDS)
def test_task_factories(kind):
    def program(loop, seen):
        async def main():
            context = contextvars.Context()
            context.run(VARIABLE.set, "given")
            tasks = [
                loop.create_task(work(loop, seen, "a"), name="first"),
                loop.create_task(work(loop, seen, "b"), name="second", context=context),
                asyncio.create_task(work(loop, seen, "c"), name="third"),
                asyncio.ensure_future(work(loop, seen, "d")),
            ]
            tasks[3].set_name("fourth")
            assert {type(task) for task in tasks} == {kind}
            assert all_tasks() >= set(tasks)
            seen.append(await asyncio.gather(*tasks))
            seen.append(context[VARIABLE])
            seen.append(len(all_tasks()))

        loop.set_task_factory(logging_factory(seen, kind))
        seen.append(loop.get_task_factory() is not None)
        loop.run_until_complete(main())
        loop.set_task_factory(None)
        seen.append(loop.get_task_factory())
        task = loop.create_task(asyncio.sleep(0, 5))
        seen.append((type(task), loop.run_until_complete(task)))

    assert as_on_stock(program)


@pytest.mark.parametrize("kind", KINDS[:4])
def test_tasks_that_are_cancelled_and_that_fail(kind):
    def program(loop, seen):
        async def waits():
            try:
                await asyncio.sleep(3600)
            except asyncio.CancelledError as exc:
                seen.append(("cancelled", exc.args, current_task().cancelling()))
                raise

        async def fails():
            await asyncio.sleep(0)
            raise KeyError("failed")

        async def main():
            waiting = kind(waits(), loop=loop, name="waits")
            failing = kind(fails(), loop=loop, name="fails")
            unstarted = kind(waits(), loop=loop, name="unstarted")
            unstarted.cancel("at once")
            await asyncio.sleep(0)
            waiting.cancel("why")
            for task in (waiting, failing, unstarted):
                try:
                    await task
                except (KeyError, asyncio.CancelledError) as exc:
                    seen.append((name_of(task), type(exc), exc.args))
            try:
                async with asyncio.timeout(0):
                    await kind(waits(), loop=loop, name="timed")
            except TimeoutError:
                seen.append("timed out")

        loop.run_until_complete(main())

    assert as_on_stock(program)


def test_factories_that_refuse_and_that_answer_junk():
    def program(loop, seen):
        def refuses(loop, coro, **kwargs):
            coro.close()
            raise ZeroDivisionError("no task")

        def junk(loop, coro, **kwargs):
            coro.close()
            return 5

        for factory in (refuses, junk):
            loop.set_task_factory(factory)
            for call in (
                lambda: loop.create_task(asyncio.sleep(0)),
                lambda: loop.create_task(asyncio.sleep(0), name="x"),
                lambda: loop.run_until_complete(asyncio.sleep(0)),
            ):
                with warnings.catch_warnings(record=True) as caught:
                    warnings.simplefilter("always")
                    try:
                        seen.append(call())
                    except (ZeroDivisionError, AttributeError, TypeError) as exc:
                        seen.append((type(exc), str(exc)))
                seen.append(sorted({str(warning.message) for warning in caught}))
        for factory in (5, "x", ()):
            try:
                loop.set_task_factory(factory)
            except TypeError as exc:
                seen.append(str(exc))

    assert as_on_stock(program)


# Eager tasks


def eager_factories():
    """What is an eager task factory, by name."""
    if sys.version_info < (3, 12):
        return {}
    make = asyncio.create_eager_task_factory
    return {
        "eager_task_factory": asyncio.eager_task_factory,
        "Task": make(asyncio.Task),
        "_PyTask": make(asyncio.tasks._PyTask),
        "Subclass": make(Subclass),
        "PySubclass": make(PySubclass),
    }


@pytest.mark.parametrize("factory", eager_factories().values(), ids=eager_factories())
def test_eager_tasks(factory):
    def program(loop, seen):
        async def at_once(label):
            task = current_task()
            seen.append((label, name_of(task), task in all_tasks()))
            return label

        async def fails():
            raise KeyError("at once")

        async def main():
            me = current_task()
            context = contextvars.copy_context()
            context.run(VARIABLE.set, "given")
            done = loop.create_task(at_once("a"), name="a")
            seen.append((done.done(), done.result(), current_task() is me))
            later = loop.create_task(work(loop, seen, "b"), name="b", context=context)
            seen.append((later.done(), current_task() is me))
            failed = asyncio.create_task(fails(), name="f")
            seen.append(repr(failed.exception()))
            cancelled = asyncio.create_task(asyncio.sleep(3600), name="c")
            seen.append(cancelled.cancel("why"))
            seen.append(await later)
            try:
                await cancelled
            except asyncio.CancelledError as exc:
                seen.append(exc.args)
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(at_once(n), name=str(n)) for n in range(3)]
            seen.append([task.result() for task in tasks])
            seen.append(len(all_tasks()))

        loop.set_task_factory(factory)
        outside = loop.create_task(at_once("outside"), name="outside")
        seen.append(outside.done())
        # TaskGroup asks for a current Task in C.
        loop.run_until_complete(asyncio.Task(main(), loop=loop))
        seen.append(outside.result())
        seen.append(current_task(loop))

    assert as_on_stock(program)


@since_3_12
def test_eager_tasks_without_a_running_loop():
    def program(loop, seen):
        async def main():
            seen.append("ran")
            await asyncio.sleep(0)

        for kind in (asyncio.Task, asyncio.tasks._PyTask):
            coro = main()
            try:
                task = kind(coro, loop=loop, eager_start=True)
            except RuntimeError as exc:
                seen.append(str(exc))
                coro.close()
            else:
                seen.append(task.done())
                loop.run_until_complete(task)

    assert as_on_stock(program)


@since_3_14
@pytest.mark.parametrize("factory", [None, "eager", "custom"])
def test_eager_start(factory):
    def program(loop, seen):
        async def at_once():
            seen.append(name_of(current_task()))

        async def main():
            for eager in (None, False, True):
                task = loop.create_task(at_once(), name=f"{eager}", eager_start=eager)
                seen.append((eager, task.done()))
                await task
                task = asyncio.create_task(at_once(), name="other", eager_start=eager)
                seen.append((eager, task.done()))
                await task
            async with asyncio.TaskGroup() as group:
                task = group.create_task(at_once(), name="group", eager_start=True)
                seen.append(task.done())
            with pytest.raises(TypeError) as caught:
                loop.create_task(None, eager_start=True)
            seen.append(str(caught.value))

        loop.run_until_complete(asyncio.sleep(0))
        loop.set_task_factory(
            {
                None: None,
                "eager": asyncio.eager_task_factory,
                "custom": logging_factory(seen, Subclass),
            }[factory]
        )
        loop.run_until_complete(main())

    assert as_on_stock(program)


# current_task and all_tasks


@pytest.mark.parametrize("kind", KINDS)
def test_the_current_task(kind):
    def program(loop, seen):
        def look(label):
            current = current_task(loop)
            seen.append((label, current and name_of(current)))

        async def main():
            look("main")
            loop.call_soon(look, "callback")
            loop.call_later(0, look, "timer")
            other = asyncio.Future(loop=loop)
            other.add_done_callback(lambda future: look("done callback"))
            other.set_result(None)
            loop.call_soon(lambda: [look("before"), loop.stop()])
            await asyncio.sleep(0.001)
            look("main again")

        look("before")
        task = kind(main(), loop=loop, name="main")
        look("made")
        loop.run_forever()
        look("between runs")
        seen.append(len(all_tasks(loop)))
        loop.run_until_complete(task)
        look("afterwards")
        seen.append(len(all_tasks(loop)))
        try:
            current_task()
        except RuntimeError as exc:
            seen.append(str(exc))

    assert as_on_stock(program)


def test_all_tasks_of_a_closed_loop_and_from_threads():
    def program(loop, seen):
        names = lambda: sorted(name_of(task) for task in all_tasks(loop))

        async def waits():
            await asyncio.sleep(3600)

        async def main():
            tasks = [
                loop.create_task(waits(), name="a"),
                asyncio.tasks._PyTask(waits(), loop=loop, name="b"),
            ]
            seen.append(names())
            seen.append(await asyncio.to_thread(names))
            seen.append(
                await asyncio.to_thread(lambda: current_task(loop))
                is (current_task() if sys.version_info < (3, 14) else None)
            )
            return tasks

        main_task = loop.create_task(main(), name="main")
        tasks = loop.run_until_complete(main_task)
        seen.append(names())
        thread = threading.Thread(target=lambda: seen.append(names()))
        thread.start()
        thread.join()
        for task in tasks:
            task._log_destroy_pending = False
            task.get_coro().close()
        loop.run_until_complete(loop.shutdown_default_executor())
        loop.close()
        seen.append(names())
        seen.append(current_task(loop))
        del task, tasks, main_task
        gc.collect()
        seen.append(names())

    assert as_on_stock(program)


def test_a_task_of_another_loop_is_not_ours(loop):
    other = EventLoop()

    async def main():
        return all_tasks(other), current_task(other)

    assert loop.run_until_complete(main()) == (set(), None)
    other.close()


def test_a_task_that_runs_dies_with_its_last_step(loop):
    async def main():
        await asyncio.sleep(0)

    for kind in KINDS:
        task = kind(main(), loop=loop)
        ref = weakref.ref(task)
        loop.run_until_complete(task)
        del task
        gc.collect()
        assert ref() is None
    run_briefly(loop)
