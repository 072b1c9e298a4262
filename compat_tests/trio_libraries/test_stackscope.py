"""stackscope: the stacks of tasks, from outside, from inside, and their tree."""

from __future__ import annotations

import sys
import warnings

import pytest
import trio.testing

with warnings.catch_warnings():
    # It looks at the types of an async generator's awaitables, and awaits none.
    warnings.filterwarnings("ignore", "coroutine method", RuntimeWarning)
    import stackscope

# Which context managers a frame is in, it reads out of the frame's memory.
knows_contexts = pytest.mark.skipif(
    sys.version_info >= (3, 13),
    reason="stackscope misreads the frames of CPython 3.13, whatever the core",
)


def names(stack):
    """Return the functions that a reader of the stack is shown."""
    assert stack.error is None, stack.error
    return [frame.funcname for frame in stack.frames if not frame.hide]


def the_task():
    return trio.lowlevel.current_task()


def extract(item, **options):
    options.setdefault("with_contexts", False)
    return stackscope.extract(item, **options)


async def park(event):
    with trio.CancelScope() as scope:
        await event.wait()
    return scope


async def middle(event):
    await park(event)


async def family(event):
    async with trio.open_nursery() as nursery:
        nursery.start_soon(middle, event, name="grandchild")
        await park(event)


def test_its_knowledge_of_trio_is_installed():
    # What fails there is told as a RuntimeWarning, which is an error here.
    async def main():
        return names(stackscope.extract(the_task(), with_contexts=False))

    assert trio.run(main) == ["main"]


async def test_stack_of_a_parked_task_ends_where_it_waits():
    event = trio.Event()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(middle, event)
        await trio.testing.wait_all_tasks_blocked()
        (task,) = nursery.child_tasks
        stack = extract(task)
        assert stack.root is task and stack.leaf is None
        # Event.wait is the last frame on plain Trio, and C on our core.
        assert names(stack)[:2] == ["middle", "park"]
        assert names(stack)[2:] in ([], ["wait"])
        assert names(extract(task.coro)) == names(stack)
        assert stack.frames[1].linetext == "await event.wait()"
        assert stack.frames[1].pyframe.f_locals["event"] is event
        awaited = [frame.f_code.co_name for frame, _ in task.iter_await_frames()]
        assert awaited[: len(names(stack))] == names(stack)
        event.set()


async def test_text_names_task_and_lines():
    event = trio.Event()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(middle, event, name="the parked one")
        await trio.testing.wait_all_tasks_blocked()
        (task,) = nursery.child_tasks
        text = str(extract(task))
        event.set()
    assert text.startswith("stackscope.Stack of <Task 'the parked one' at 0x")
    assert "await park(event)" in text and "await event.wait()" in text


async def fall_asleep():
    await trio.sleep_forever()


async def wait_for_socket():
    left, right = trio.socket.socketpair()
    with left, right:
        await trio.lowlevel.wait_readable(left)


async def wait_for_trap():
    await trio.lowlevel.wait_task_rescheduled(
        lambda raise_cancel: trio.lowlevel.Abort.SUCCEEDED
    )


async def wait_for_child():
    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.sleep_forever)


async def wait_for_channel():
    send, receive = trio.open_memory_channel(0)
    async with send, receive:
        await receive.receive()


async def wait_for_lot():
    await trio.lowlevel.ParkingLot().park()


@pytest.mark.parametrize(
    "fn",
    [
        fall_asleep,
        wait_for_socket,
        wait_for_trap,
        wait_for_child,
        wait_for_channel,
        wait_for_lot,
    ],
)
async def test_every_kind_of_wait(fn):
    async with trio.open_nursery() as nursery:
        nursery.start_soon(fn)
        await trio.testing.wait_all_tasks_blocked()
        stack = extract(next(iter(nursery.child_tasks)))
        assert names(stack)[0] == fn.__name__
        # The traps themselves are nothing to look at.
        assert "wait_task_rescheduled" not in names(stack)
        nursery.cancel_scope.cancel()


async def test_task_that_has_not_run_yet():
    async with trio.open_nursery() as nursery:
        nursery.start_soon(fall_asleep)
        (task,) = nursery.child_tasks
        assert names(extract(task)) == ["fall_asleep"]
        nursery.cancel_scope.cancel()


async def test_own_stack_from_inside():
    async def inner():
        task = the_task()
        return (
            stackscope.extract(task, with_contexts=False),
            stackscope.extract_since(None, with_contexts=False),
        )

    own, whole = await inner()
    test = "test_own_stack_from_inside"
    assert names(own)[-2:] == [test, "inner"]
    # From the thread's first frame on: who called trio.run comes before the task.
    assert names(whole)[-2:] == [test, "inner"]
    assert names(whole).index("pytest_pyfunc_call") < names(whole).index(test)


async def test_stack_through_threads_and_back():
    task = the_task()
    seen = {}

    def look(where):
        shown = names(extract(task))
        own = shown.index("test_stack_through_threads_and_back")
        seen[where] = shown[own + 1 : shown.index("look")]

    async def back():
        look("back in trio")

    def work():
        look("in the thread")
        trio.from_thread.run(back)

    await trio.to_thread.run_sync(work)
    assert seen == {"in the thread": ["work"], "back in trio": ["work", "back"]}


async def test_stack_of_a_task_that_greenback_runs():
    import greenback

    event = trio.Event()

    def synchronous():
        greenback.await_(park(event))

    async def child():
        await greenback.ensure_portal()
        synchronous()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(child)
        await trio.testing.wait_all_tasks_blocked()
        (task,) = nursery.child_tasks
        shown = names(extract(task))
        assert shown[shown.index("child") :][:3] == ["child", "synchronous", "park"]
        event.set()


# ---- nurseries and scopes ----


def contexts(stack):
    return [context for frame in stack.frames for context in frame.contexts]


def tree(stack):
    """Return the names of a task's descendants, nested as their nurseries are."""
    return {
        child.root.name: tree(child)
        for context in contexts(stack)
        for child in context.children
    }


@knows_contexts
async def test_tree_of_nurseries_from_outside():
    event = trio.Event()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(family, event, name="child")
        await trio.testing.wait_all_tasks_blocked()
        (task,) = nursery.child_tasks
        stack = stackscope.extract(task, recurse_child_tasks=True)
        assert names(stack) == ["family", "park", "wait"]
        managed, scope = contexts(stack)
        assert managed.obj is task.child_nurseries[0]
        assert managed.varname == "nursery"
        (grandchild,) = managed.children
        assert names(grandchild) == ["middle", "park", "wait"]
        assert isinstance(scope.obj, trio.CancelScope)
        # Without recursion the children are named, not shown.
        (stub,) = contexts(stackscope.extract(task))[0].children
        assert stub.root is grandchild.root and not stub.frames
        event.set()


@knows_contexts
async def test_tree_of_nurseries_from_inside():
    event = trio.Event()
    async with trio.open_nursery() as outer, trio.open_nursery() as inner:
        outer.start_soon(family, event, name="in the outer")
        inner.start_soon(middle, event, name="in the inner")
        await trio.testing.wait_all_tasks_blocked()
        task = the_task()
        stack = stackscope.extract(task, recurse_child_tasks=True)
        assert tree(stack) == {
            "in the outer": {"grandchild": {}},
            "in the inner": {},
        }
        event.set()


@knows_contexts
async def test_nursery_that_waits_in_its_exit():
    async def body():
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.sleep_forever, name="kept waiting for")

    async with trio.open_nursery() as nursery:
        nursery.start_soon(body)
        await trio.testing.wait_all_tasks_blocked()
        (task,) = nursery.child_tasks
        stack = stackscope.extract(task, recurse_child_tasks=True)
        (context,) = contexts(stack)
        assert context.is_async and context.is_exiting
        nursery.cancel_scope.cancel()


@knows_contexts
async def test_tree_of_the_whole_run():
    event = trio.Event()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(family, event, name="child")
        trio.lowlevel.spawn_system_task(middle, event, name="of the system")
        await trio.testing.wait_all_tasks_blocked()
        stack = stackscope.extract(
            trio.lowlevel.current_root_task(), recurse_child_tasks=True
        )
        assert stack.error is None
        assert "of the system" in tree(stack)
        assert "<TrioToken.run_sync_soon task>" in tree(stack)
        event.set()
