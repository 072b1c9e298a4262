"""The hostile callbacks that have crashed CPython's own Future and Task.

Each program is run in a process of its own, on the standard library's loop and on ours:
what it prints must be the same. Where the interpreter's own asyncio crashes (its point
release is older than the fix) there is nothing to compare.
"""

from __future__ import annotations

import subprocess
import sys
import textwrap

import pytest

BEGIN = """
import asyncio, contextvars, faulthandler, gc, sys, types
if sys.argv[1] == "ours":
    from trio_asyncio_c import EventLoop as Base
else:
    Base = asyncio.SelectorEventLoop

def turn(loop):
    loop.call_soon(loop.stop)
    loop.run_forever()
"""

END = """
loop = Base()
print(loop.run_until_complete(asyncio.sleep(0, "sound")))
loop.close()
gc.collect()
"""

PROGRAMS = {
    # python/cpython#125966
    "an __eq__ that removes the first callback": """
        loop = Base()
        fut = loop.create_future()
        class Callback:
            def __call__(self, fut):
                print("another")
            def __eq__(self, other):
                return False
        class Evil:
            def __eq__(self, other):
                fut.remove_done_callback(first)
                return NotImplemented
        class First:
            def __call__(self, fut): print("called")
            def __eq__(self, other): return self is other
        first = First()
        fut.add_done_callback(first)
        for _ in range(3):
            fut.add_done_callback(Callback())
        fut.remove_done_callback(Evil())
        fut.remove_done_callback(Evil())
        fut.set_result(1)
        turn(loop)
        loop.close()
    """,
    # python/cpython#97592, #126405
    "an __eq__ that removes all callbacks": """
        loop = Base()
        fut = loop.create_future()
        fut.add_done_callback(str)
        for _ in range(63):
            fut.add_done_callback(id)
        class Evil:
            def __eq__(self, other):
                fut.remove_done_callback(other)
        fut.remove_done_callback(Evil())
        fut.cancel()
        turn(loop)
        loop.close()
    """,
    # python/cpython#125969
    "a call_soon that removes callbacks": """
        class Loop(Base):
            evil = False
            def call_soon(self, *args, **kwargs):
                if self.evil:
                    fut.remove_done_callback(second)
                    fut.remove_done_callback(third)
                return super().call_soon(*args, **kwargs)
        def first(fut): print("first")
        def second(fut): print("second")
        def third(fut): print("third")
        loop = Loop()
        fut = loop.create_future()
        for callback in first, second, third, third, third:
            fut.add_done_callback(callback)
        loop.evil = True
        fut.set_result(1)
        loop.evil = False
        turn(loop)
        loop.close()
    """,
    # python/cpython#125984
    "a lookup of call_soon that removes the callback": """
        class Loop(Base):
            evil = False
            def __getattribute__(self, name):
                global tracker
                if name == "call_soon" and Loop.evil:
                    Loop.evil = False
                    fut.remove_done_callback(tracker)
                    del tracker
                return super().__getattribute__(name)
        loop = Loop()
        fut = loop.create_future()
        tracker = lambda fut: print("called")
        fut.add_done_callback(tracker, context=contextvars.copy_context())
        Loop.evil = True
        fut.set_result(1)
        turn(loop)
        loop.close()
    """,
    # python/cpython#125984
    "a lookup of call_soon that initialises the Future again": """
        class Loop(Base):
            evil = False
            def __getattribute__(self, name):
                if name == "call_soon" and Loop.evil:
                    Loop.evil = False
                    try:
                        fut.__init__(loop=other)
                    except RuntimeError as exc:  # from CPython 3.15 on
                        print(exc)
                return super().__getattribute__(name)
        loop, other = Loop(), Base()
        fut = loop.create_future()
        fut.add_done_callback(
            lambda fut: print("called", fut.done()), context=contextvars.copy_context()
        )
        Loop.evil = True
        fut.set_result(1)
        turn(loop)
        turn(other)
        loop.close()
        other.close()
    """,
    # python/cpython#126080
    "a lookup of call_soon that replaces the Task's context": """
        @types.coroutine
        def forever():
            while True:
                yield catcher
        async def coro():
            await forever()
        class EvilName:
            def __str__(self):
                raise ValueError("the constructor ends here")
        class Loop(Base):
            evil = False
            def __getattribute__(self, name):
                if name == "call_soon" and Loop.evil:
                    Loop.evil = False
                    try:
                        task.__init__(
                            inner, loop=loop,
                            context=contextvars.copy_context(), name=EvilName(),
                        )
                    except (ValueError, RuntimeError) as exc:
                        print(exc)
                return super().__getattribute__(name)
        class Catcher:
            _asyncio_future_blocking = True
            def get_loop(self):
                return loop
            def add_done_callback(self, callback, *, context):
                self.wakeup = callback
        catcher = Catcher()
        loop = Loop()
        heard = []
        loop.set_exception_handler(
            lambda loop, context: heard.append(type(context.get("exception")).__name__)
        )
        outer, inner = coro(), coro()
        task = asyncio.Task(outer, loop=loop, context=contextvars.copy_context())
        Loop.evil = True
        task._log_destroy_pending = False
        turn(loop)
        turn(loop)
        print(heard)
        Loop.evil = False
        del task, catcher
        for coro in outer, inner:
            coro.close()
        loop.close()
    """,
    # python/cpython#126138
    "a lookup of cancel that frees the message": """
        @types.coroutine
        def evil_yield():
            while True:
                yield evil
        async def main():
            await evil_yield()
        class Message:
            pass
        class Evil:
            _asyncio_future_blocking = True
            def get_loop(self):
                return loop
            def add_done_callback(self, callback, *args, **kwargs):
                asyncio.Task.cancel(task, Message())
            def cancel(self, msg):
                print(type(msg).__name__)
                return True
            def __getattribute__(self, name):
                if name == "cancel" and evil_now:
                    evil_now.pop()
                    asyncio.Task.cancel(task, None)
                    [object() for _ in range(100)]
                return object.__getattribute__(self, name)
        loop = Base()
        evil = Evil()
        evil_now = [1]
        coro = main()
        task = asyncio.Task(coro, loop=loop)
        task._log_destroy_pending = False
        turn(loop)
        turn(loop)
        print(task.done())
        del task
        coro.close()
        loop.close()
    """,
    # python/cpython#142556
    "an exception handler that registers a dying Task again": """
        class Loop(Base):
            def call_exception_handler(self, context):
                print(context["message"])
                asyncio.tasks._register_task(context["task"])
                kept.append(context["task"])
        kept = []
        loop = Loop()
        async def wait():
            await loop.create_future()
        async def main():
            coro = wait()
            loop.create_task(coro)
            await asyncio.sleep(0)
            del coro
        loop.run_until_complete(main())
        gc.collect()
        print(len(kept), len([t for t in asyncio.all_tasks(loop) if t in kept]))
        for task in kept:
            task._log_destroy_pending = False
        kept.clear()
        del task
        gc.collect()
        loop.close()
    """,
    # A Task's step in the hands of others.
    "a step that is called, kept and queued by others": """
        steps = []
        class Loop(Base):
            def call_soon(self, callback, *args, **kwargs):
                if "Step" in type(callback).__name__ or args[:1] == ("again",):
                    steps.append(callback)
                return super().call_soon(callback, *args, **kwargs)
        loop = Loop()
        heard = []
        loop.set_exception_handler(
            lambda loop, context: heard.append(
                (context["message"].split("<")[0], repr(context["exception"]))
            )
        )
        async def main():
            await asyncio.sleep(0)
            return "result"
        print(loop.run_until_complete(main()))
        for step in list(steps):
            loop.call_soon(step)
            loop.call_soon(step, 5)
            loop.call_soon(step, 5, 6, 7)
            loop.call_soon(step, context=contextvars.copy_context())
        turn(loop)
        print([error for _, error in heard])
        heard.clear()
        loop.close()
    """,
    "contexts that are entered already": """
        loop = Base()
        heard = []
        loop.set_exception_handler(
            lambda loop, context: heard.append(
                str(context["exception"]).split(":")[0]
            )
        )
        context = contextvars.copy_context()
        def inside():
            loop.call_soon(print, "never", context=context)
            loop.call_later(0, print, "never", context=context)
            coro = asyncio.sleep(0)
            task = asyncio.Task(coro, loop=loop, context=context)
            task._log_destroy_pending = False
            for _ in range(3):
                turn(loop)
            coro.close()
        context.run(inside)
        print(heard)
        loop.call_soon(print, "in the context", context=context)
        turn(loop)
        loop.close()
    """,
    "a Future that is initialised again by its own callbacks": """
        loop = Base()
        fut = loop.create_future()
        def again(fut):
            fut.__init__(loop=loop)
            fut.add_done_callback(print_state)
            fut.set_result("second")
        def print_state(fut):
            print(fut.result())
        fut.add_done_callback(again)
        fut.add_done_callback(print_state)
        fut.set_result("first")
        for _ in range(3):
            turn(loop)
        loop.close()
    """,
    "a Task whose class changes": """
        class Task(asyncio.Task):
            pass
        async def main():
            asyncio.current_task().__class__ = Task
            await asyncio.sleep(0)
            asyncio.current_task().custom = 1
            await asyncio.sleep(0)
            return type(asyncio.current_task()).__name__
        class Start(asyncio.Task):
            pass
        loop = Base()
        loop.set_task_factory(lambda loop, coro, **kw: Start(coro, loop=loop, **kw))
        print(loop.run_until_complete(main()))
        loop.close()
    """,
}


def run_program(source, which):
    program = BEGIN + textwrap.dedent(source) + END
    return subprocess.run(
        [sys.executable, "-X", "faulthandler", "-c", program, which],
        capture_output=True,
        text=True,
        timeout=60,
    )


@pytest.mark.parametrize("name", PROGRAMS)
def test_what_has_crashed_asyncio(name):
    stock = run_program(PROGRAMS[name], "stock")
    if stock.returncode < 0 or "AddressSanitizer" in stock.stderr:
        pytest.skip(f"this asyncio crashes itself: {stock.returncode}")
    assert stock.returncode == 0, stock.stderr
    assert stock.stdout.endswith("sound\n")
    ours = run_program(PROGRAMS[name], "ours")
    assert ours.returncode == 0, ours.stderr
    assert ours.stdout == stock.stdout
    # Tracebacks differ by the frames that C has not.
    assert bool(ours.stderr) == bool(stock.stderr), ours.stderr
