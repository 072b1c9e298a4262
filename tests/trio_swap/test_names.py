"""Under which names things are there, and what they say of themselves."""

from __future__ import annotations

import json
import sys
import textwrap

import pytest


def test_both_packages_have_the_same_things(programs):
    programs.swapped(
        """
        from trio_asyncio_c import lowlevel, testing

        SHARED = {
            trio: (
                "BrokenResourceError BusyResourceError CancelScope Cancelled "
                "ClosedResourceError EndOfChannel Nursery RunFinishedError "
                "TASK_STATUS_IGNORED TaskStatus TrioInternalError WouldBlock "
                "current_effective_deadline current_time open_nursery"
            ),
            trio.lowlevel: (
                "Abort ParkingLot ParkingLotStatistics RunStatistics RunVar RunVarToken "
                "Task TrioToken add_instrument add_parking_lot_breaker "
                "cancel_shielded_checkpoint checkpoint checkpoint_if_cancelled "
                "current_clock current_root_task current_statistics current_task "
                "current_trio_token in_trio_run in_trio_task notify_closing "
                "permanently_detach_coroutine_object reattach_detached_coroutine_object "
                "remove_instrument remove_parking_lot_breaker reschedule "
                "spawn_system_task temporarily_detach_coroutine_object wait_readable "
                "wait_task_rescheduled wait_writable"
            ),
        }
        OURS = {trio: trio_asyncio_c, trio.lowlevel: lowlevel}
        different = [
            name
            for module, names in SHARED.items()
            for name in names.split()
            if getattr(module, name) is not getattr(OURS[module], name)
        ]
        assert different == [], different
        """
    )


def test_names_and_modules_are_trios(programs):
    programs.same(
        """
        import trio.testing
        for module in trio, trio.lowlevel, trio.testing, trio.abc:
            for name in sorted(dir(module)):
                thing = getattr(module, name)
                # What annotates abort functions is an alias, made one way or another.
                if name == "RaiseCancelT":
                    continue
                if not name.startswith("_") and hasattr(thing, "__module__"):
                    print(module.__name__, name, thing.__module__,
                          getattr(thing, "__name__", None),
                          getattr(thing, "__qualname__", None))
        """
    )


SIGNATURES = """
    import inspect, json
    import trio.testing

    def parameters(thing):
        try:
            signature = inspect.signature(thing)
        except (TypeError, ValueError):
            return None
        return [
            [p.name, "var" if p.kind.name.startswith("VAR") else
             p.kind is p.KEYWORD_ONLY, p.default is p.empty]
            for p in signature.parameters.values()
        ]

    found = {}
    for module in trio, trio.lowlevel, trio.testing, trio.to_thread, trio.from_thread:
        for name in dir(module):
            thing = getattr(module, name)
            if name.startswith("_") or not inspect.isroutine(thing) and (
                type(thing).__name__ != "AsyncFunction"
            ):
                continue
            found[f"{module.__name__}.{name}"] = parameters(thing)
    for cls in (trio.CancelScope, trio.Nursery, trio.lowlevel.Task, trio.Event,
                trio.lowlevel.ParkingLot, trio.lowlevel.RunVar,
                trio.lowlevel.TrioToken, trio.testing.MockClock):
        for name in dir(cls):
            thing = getattr(cls, name)
            if not name.startswith("_") and callable(thing):
                found[f"{cls.__qualname__}.{name}"] = parameters(thing)
    print(json.dumps(found))
"""


def test_signatures_have_the_same_parameters(programs):
    plain = json.loads(programs.plain(SIGNATURES))
    swapped = json.loads(programs.swapped(SIGNATURES))
    assert len(plain) > 80
    different = {
        name: (plain.get(name, "missing"), swapped.get(name, "missing"))
        for name in plain.keys() | swapped.keys()
        if plain.get(name, "missing") != swapped.get(name, "missing")
    }
    assert different == {}


@pytest.mark.skipif(
    sys.version_info < (3, 12), reason="only async def counts before 3.12"
)
def test_async_functions_count_as_such(programs):
    programs.same(
        """
        import inspect
        import trio.testing
        for module in trio, trio.lowlevel, trio.testing, trio.to_thread:
            for name in sorted(dir(module)):
                thing = getattr(module, name)
                if not name.startswith("_") and callable(thing):
                    print(name, inspect.iscoroutinefunction(thing))
        for cls in trio.Nursery, trio.lowlevel.ParkingLot, trio.Event:
            for name in sorted(dir(cls)):
                if not name.startswith("_") and callable(getattr(cls, name)):
                    print(name, inspect.iscoroutinefunction(getattr(cls, name)))
        """
    )


def test_calls_of_async_functions_can_be_taken_for_coroutines(programs):
    programs.same(
        """
        import collections.abc, inspect

        async def main():
            for function, args in [
                (trio.sleep, (0,)),
                (trio.lowlevel.checkpoint, ()),
                (trio.lowlevel.cancel_shielded_checkpoint, ()),
                (trio.lowlevel.checkpoint_if_cancelled, ()),
            ]:
                call = function(*args)
                print(isinstance(call, collections.abc.Coroutine),
                      isinstance(call, collections.abc.Awaitable))
                await call

        trio.run(main)
        """
    )


def test_repr_and_str(programs):
    programs.same(
        """
        print(trio.CancelScope())
        print(trio.lowlevel.RunVar("name"), trio.lowlevel.RunVar("n", default=1))
        print(trio.TASK_STATUS_IGNORED)
        print(repr(trio.lowlevel.Abort.SUCCEEDED), trio.lowlevel.Abort)
        print(trio.Event(), trio.Lock(), trio.Semaphore(2), trio.CapacityLimiter(3))
        for cls in trio.CancelScope, trio.Nursery, trio.lowlevel.Task, trio.Cancelled:
            print(cls)

        async def child(task_status=trio.TASK_STATUS_IGNORED):
            print(task_status)
            task_status.started()

        async def main():
            print(trio.lowlevel.current_task(), trio.lowlevel.current_root_task())
            print(trio.lowlevel.current_statistics().tasks_living)
            print(type(trio.lowlevel.current_clock()))
            with trio.CancelScope(deadline=-1) as scope:
                print(str(scope).split(",")[0])
                try:
                    await trio.lowlevel.checkpoint()
                except trio.Cancelled as exc:
                    print(repr(str(exc)), exc.source, exc.reason)
                    raise
            print(scope)
            with trio.CancelScope() as scope:
                print(scope)
                scope.cancel("because")
                try:
                    await trio.lowlevel.checkpoint()
                except trio.Cancelled as exc:
                    print(repr(str(exc)).split(" from task")[0])
                    raise
            async with trio.open_nursery() as nursery:
                await nursery.start(child)

        trio.run(main)
        """
    )


def test_texts_of_errors(programs):
    programs.same(
        """
        def show(fn, *args, **kwargs):
            try:
                fn(*args, **kwargs)
            except BaseException as exc:
                print(type(exc).__module__, type(exc).__qualname__, exc)
            else:
                print("fine")

        async def one(x):
            pass

        def sync():
            pass

        show(trio.run, one)
        show(trio.run, one(1))
        show(trio.run, sync)
        show(trio.run, trio.sleep, -1)
        show(trio.run, trio.sleep, float("nan"))
        show(trio.lowlevel.current_task)
        show(trio.current_time)
        show(trio.CancelScope, deadline=float("nan"))
        show(trio.CancelScope, deadline=1, relative_deadline=1)
        show(trio.CancelScope, relative_deadline=-1)
        show(trio.Nursery)
        show(trio.lowlevel.Task)
        show(trio.Cancelled)
        for cls in trio.CancelScope, trio.Nursery:
            try:
                type("Sub", (cls,), {})
            except TypeError:
                print("final", cls)

        async def main():
            show(trio.run, trio.sleep, 0)
            async with trio.open_nursery() as nursery:
                show(nursery.start_soon, sync)
                show(nursery.start_soon, one, 1, 2)
            show(nursery.start_soon, one, 1)
            scope = trio.CancelScope()
            with scope:
                pass
            show(scope.__enter__)

            try:
                with trio.open_nursery():
                    pass
            except RuntimeError as exc:
                print(exc)
            try:
                await trio.lowlevel.wait_task_rescheduled
            except TypeError as exc:
                print(type(exc))
            trio.lowlevel.current_trio_token().run_sync_soon(print, "soon")
            await trio.lowlevel.checkpoint()

        trio.run(main)
        """
    )


@pytest.mark.parametrize("way", ["plain to swapped", "swapped to plain"])
def test_exceptions_can_be_pickled_from_one_to_the_other(programs, way):
    names = (
        "BrokenResourceError BusyResourceError ClosedResourceError EndOfChannel "
        "RunFinishedError TrioInternalError WouldBlock TooSlowError"
    ).split()
    dump = f"""
        import pickle
        things = [getattr(trio, name)("text") for name in {names}]
        things.append(trio.Cancelled._create(source="deadline", reason="why"))
        things += [getattr(trio, name) for name in {names}]
        things += [trio.CancelScope, trio.Nursery, trio.Cancelled, trio.sleep,
                   trio.open_nursery, trio.lowlevel.Task, trio.lowlevel.checkpoint,
                   trio.lowlevel.Abort.FAILED, trio.lowlevel.wait_readable,
                   trio.testing.MockClock]
        with open("pickled", "wb") as file:
            pickle.dump(things, file)
    """
    load = f"""
        import pickle
        with open("pickled", "rb") as file:
            things = pickle.load(file)
        for name in {names}:
            exc = things.pop(0)
            assert type(exc) is getattr(trio, name)
            assert exc.args == ("text",)
        exc = things.pop(0)
        assert type(exc) is trio.Cancelled
        assert (exc.source, exc.reason, exc.source_task) == ("deadline", "why", None)
        assert things == [getattr(trio, name) for name in {names}] + [
            trio.CancelScope, trio.Nursery, trio.Cancelled, trio.sleep,
            trio.open_nursery, trio.lowlevel.Task, trio.lowlevel.checkpoint,
            trio.lowlevel.Abort.FAILED, trio.lowlevel.wait_readable,
            trio.testing.MockClock]
    """
    head = "import trio.testing\n"
    dump, load = head + textwrap.dedent(dump), head + textwrap.dedent(load)
    first, second = programs.plain, programs.swapped
    if way.startswith("swapped"):
        first, second = second, first
    first(dump)
    second(load)


def test_deprecation_warnings_name_the_users_line(programs):
    output = programs.same(
        """
        import warnings

        async def main():
            async with trio.open_nursery(strict_exception_groups=False):
                await trio.lowlevel.checkpoint()

        def show():
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                trio.run(main, strict_exception_groups=False)
                outcomes = []
                calls = []
                trio.lowlevel.start_guest_run(
                    main,
                    run_sync_soon_threadsafe=calls.append,
                    done_callback=outcomes.append,
                    strict_exception_groups=False,
                )
                while not outcomes:
                    if calls:
                        calls.pop(0)()
            for warning in caught:
                print(warning.category, warning.filename.rpartition("/")[2],
                      warning.lineno, warning.message)

        show()
        """
    )
    assert output.count("program.py") == 4
    assert output.count("TrioDeprecationWarning") == 4


def test_help_says_something(programs):
    programs.swapped(
        """
        import pydoc
        for thing in (trio.run, trio.CancelScope, trio.open_nursery, trio.sleep,
                      trio.lowlevel.start_guest_run, trio.lowlevel.Task):
            text = pydoc.render_doc(thing)
            assert len(text.splitlines()) > 3, text
        """
    )
