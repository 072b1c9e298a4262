"""RunVar: variables of a run."""

from __future__ import annotations

import gc
import threading
import weakref

import pytest
from trio_asyncio_c import trio

from ._helpers import run, settle

lowlevel = trio.lowlevel
RunVar = lowlevel.RunVar
OUTSIDE = "^Cannot be used outside of a run context$"


def test_set_and_get():
    var = RunVar("var")

    async def main():
        var.set(1)
        assert var.get() == 1
        var.set(None)
        assert var.get() is None

    run(main)


def test_unset_without_a_default():
    # R47
    var = RunVar("var")

    async def main():
        with pytest.raises(LookupError) as info:
            var.get()
        assert info.value.args == (var,)
        assert info.value.__cause__ is None
        assert var.get("given") == "given"
        assert var.get(default=None) is None

    run(main)


def test_the_default():
    # R47
    var = RunVar("var", default="default")

    async def main():
        assert var.get() == "default"
        assert var.get("given") == "given"
        var.set("value")
        assert var.get("given") == "value"

    run(main)


def test_a_default_of_none_is_a_default():
    var = RunVar("var", default=None)

    async def main():
        assert var.get() is None

    run(main)


def test_outside_a_run():
    # R47
    var = RunVar("var", default=1)
    with pytest.raises(RuntimeError, match=OUTSIDE):
        var.get()
    with pytest.raises(RuntimeError, match=OUTSIDE):
        var.get("default")
    with pytest.raises(RuntimeError, match=OUTSIDE):
        var.set(1)

    async def main():
        return var.set(1)

    token = run(main)
    with pytest.raises(RuntimeError, match=OUTSIDE):
        var.reset(token)


def test_reset_restores_what_was_there():
    # R47
    var = RunVar("var", default="default")

    async def main():
        first = var.set("one")
        second = var.set("two")
        assert isinstance(first, lowlevel.RunVarToken)
        var.reset(second)
        assert var.get() == "one"
        var.reset(first)
        assert var.get() == "default"

    run(main)


def test_reset_to_nothing():
    # R47
    var = RunVar("var")

    async def main():
        token = var.set("one")
        var.reset(token)
        with pytest.raises(LookupError):
            var.get()

    run(main)


def test_a_token_is_good_for_one_reset():
    # R47, section 5
    var = RunVar("var")

    async def main():
        token = var.set(1)
        var.reset(token)
        with pytest.raises(ValueError, match="^token has already been used$"):
            var.reset(token)

    run(main)


def test_a_token_of_another_variable():
    # R47, section 5
    var, other = RunVar("var"), RunVar("other")

    async def main():
        token = var.set(1)
        with pytest.raises(ValueError, match="^token is not for us$"):
            other.reset(token)
        var.reset(token)

    run(main)


def test_a_token_of_none():
    var = RunVar("var")

    async def main():
        with pytest.raises(TypeError, match="^token must not be none$"):
            var.reset(None)

    run(main)


def test_all_tasks_of_a_run_share_it():
    var = RunVar("var")

    async def child():
        assert var.get() == "main"
        var.set("child")

    async def main():
        var.set("main")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(child)
        assert var.get() == "child"
        var.set("main")
        lowlevel.spawn_system_task(child)
        await settle()
        assert var.get() == "child"

    run(main)


def test_every_run_has_its_own():
    var = RunVar("var", default="default")

    async def main():
        value = var.get()
        var.set("changed")
        return value

    assert [run(main) for _ in range(3)] == ["default"] * 3


def test_runs_in_threads_have_their_own():
    var = RunVar("var")
    barrier = threading.Barrier(2, timeout=30)
    seen = {}

    async def main(name):
        var.set(name)
        barrier.wait()
        await lowlevel.checkpoint()
        seen[name] = var.get()

    threads = [threading.Thread(target=trio.run, args=(main, n)) for n in "ab"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert seen == {"a": "a", "b": "b"}


def test_callbacks_and_hooks_can_use_it():
    # R45: a run is enough, no task is needed.
    var = RunVar("var", default=0)
    seen = []

    class Look(trio.abc.Instrument):
        def before_io_wait(self, timeout):
            seen.append(var.get())

    async def main():
        var.set(1)
        await lowlevel.checkpoint()

    run(main, instruments=[Look()])
    assert seen[0] == 0
    assert 1 in seen


def test_variables_are_keys_by_identity():
    assert RunVar("same") != RunVar("same")
    assert len({RunVar("same"), RunVar("same")}) == 2


def test_variables_of_the_same_name_are_different():
    first, second = RunVar("same"), RunVar("same")

    async def main():
        first.set(1)
        with pytest.raises(LookupError):
            second.get()

    run(main)


def test_it_can_be_subscripted_for_type_checkers():
    assert isinstance(RunVar[str]("name"), RunVar)


def test_tokens_have_no_constructor():
    with pytest.raises(TypeError):
        lowlevel.RunVarToken()


def test_a_name_is_needed():
    with pytest.raises(TypeError):
        RunVar()


def test_values_go_with_the_run():
    class Thing:
        pass

    var = RunVar("var")

    async def main():
        thing = Thing()
        var.set(thing)
        return weakref.ref(thing)

    ref = run(main)
    gc.collect()
    assert ref() is None
