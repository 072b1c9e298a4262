"""Programs made at random, of scopes, shields, groups, cleanups and errors: an asyncio
Task sees of them what a Trio task sees."""

from __future__ import annotations

import asyncio
import random

import pytest
from trio_asyncio_c import CancelScope, TaskGroup, TooSlowError, testing, trio

from ._scoped import ways

PROGRAMS = 150
ATTEMPTS = 30
# All awaits of a program are fewer than a Task may refuse at once.
LARGEST = 26
DEEPEST = 5


class Error(Exception):
    """What a program raises."""


# ---- what both flavours have ----


class InAsyncio:
    sleep = staticmethod(asyncio.sleep)
    cancelled = asyncio.CancelledError

    @staticmethod
    def now():
        return asyncio.get_running_loop().time()

    @staticmethod
    def open_group():
        return TaskGroup()


class InTrio:
    sleep = staticmethod(trio.sleep)
    cancelled = trio.Cancelled
    now = staticmethod(trio.current_time)

    @staticmethod
    def open_group():
        return trio.open_nursery()


def kinds_of(exc, world):
    """Return the names of what an error is made of; of errors only, if it has any, for
    asyncio's groups drop their children's cancels then."""
    names, todo = set(), [exc]
    while todo:
        each = todo.pop()
        if isinstance(each, BaseExceptionGroup):
            todo.extend(each.exceptions)
        elif isinstance(each, world.cancelled):
            names.add("cancelled")
        else:
            assert isinstance(each, (Error, TooSlowError)), repr(each)
            names.add(type(each).__name__)
    return sorted(names - {"cancelled"} or names)


class Player:
    """One run of a program."""

    def __init__(self, world):
        self.world = world
        self.traces = {}

    async def play(self, program):
        try:
            await self.play_task(program, "main", ())
        except BaseException as exc:
            self.traces["end"] = kinds_of(exc, self.world)
        return self.traces

    async def play_task(self, program, name, scopes):
        trace = self.traces.setdefault(name, [])
        await self.play_all(program, name, scopes, trace)
        trace.append(("end of task", round(self.world.now(), 6)))

    async def play_all(self, program, *where):
        for node in program:
            await getattr(self, "do_" + node[0])(*node[1:], *where)

    async def do_sleep(self, seconds, name, scopes, trace):
        try:
            await self.world.sleep(seconds)
        finally:
            trace.append(("slept", seconds, round(self.world.now(), 6)))

    async def do_error(self, name, scopes, trace):
        trace.append("error")
        raise Error

    async def do_cancel(self, which, name, scopes, trace):
        if scopes:
            scopes[which % len(scopes)].cancel()

    async def do_deadline(self, which, seconds, name, scopes, trace):
        if scopes:
            scopes[which % len(scopes)].deadline = self.world.now() + seconds

    async def do_shield(self, which, value, name, scopes, trace):
        if scopes:
            scopes[which % len(scopes)].shield = value

    async def do_scope(self, seconds, shield, fails, body, name, scopes, trace):
        scope = CancelScope(relative_deadline=seconds, shield=shield)
        scope._raise_on_cancel = fails
        clean = False
        try:
            with scope:
                await self.play_all(body, name, (*scopes, scope), trace)
            clean = True
        finally:
            told = scope.cancelled_caught if clean else None
            trace.append(("scope", scope.cancel_called, told))

    async def do_try(self, body, cleanup, swallows, name, scopes, trace):
        try:
            await self.play_all(body, name, scopes, trace)
        except BaseException as exc:
            trace.append(("raised", kinds_of(exc, self.world)))
            await self.play_all(cleanup, name, scopes, trace)
            if not swallows:
                raise
        else:
            trace.append("nothing raised")

    async def do_group(self, label, children, body, name, scopes, trace):
        async with self.world.open_group() as group:
            inside = (*scopes, group.cancel_scope)
            for number, child in enumerate(children):
                child_name = f"{label}.{number}"
                group.start_soon(self.play_task, child, child_name, inside)
            await self.play_all(body, name, inside, trace)
        # Trio's nursery raises what its wait was cancelled by, a group's next await.
        await self.world.sleep(0)


# ---- programs ----


class Writer:
    def __init__(self, seed, groups, calm=False):
        self.random = random.Random(seed)
        self.left = self.random.randint(3, LARGEST)
        self.groups = groups
        self.labels = 0
        self.calm = calm  # raises no errors, and swallows none

    def seconds(self):
        """No two things happen at one time."""
        return round(self.random.uniform(0.1, 5), 4) + 0.00001

    def may(self, share):
        return self.random.random() < share and not self.calm

    def block(self, depth=0, least=0):
        nodes = []
        for _ in range(self.random.randint(least, 4)):
            if self.left <= 0:
                break
            self.left -= 1
            nodes.extend(self.node(depth))
        return nodes

    def node(self, depth):
        kinds = [self.sleep, self.sleep, self.step, self.cancel, self.deadline]
        kinds += [self.shield, self.error]
        if depth < DEEPEST:
            kinds += [self.scope, self.scope, self.scope, self.attempt, self.attempt]
            kinds += [self.shielded] + [self.group, self.group] * self.groups
        return self.random.choice(kinds)(depth)

    def sleep(self, depth):
        return [("sleep", self.seconds())]

    def cancel(self, depth):
        return [*self.pause(), ("cancel", self.random.randrange(8))]

    def deadline(self, depth):
        return [*self.pause(), ("deadline", self.random.randrange(8), self.seconds())]

    def shield(self, depth):
        # A shield that comes up round a group which ends is another story: a Trio
        # nursery has cancelled its own scope by then.
        value = self.random.random() < 0.3 and not self.groups
        return [*self.pause(), ("shield", self.random.randrange(8), value)]

    def error(self, depth):
        if self.random.random() < 0.6 or self.calm:
            return self.sleep(depth)
        return [*self.pause(), ("error",)]

    def pause(self):
        """What other tasks can see is done at a time of its own."""
        return [("sleep", self.seconds())] if self.groups else []

    def scope(self, depth):
        seconds = self.seconds() if self.random.random() < 0.6 else float("inf")
        shield, fails = self.random.random() < 0.2, self.may(0.2)
        return [("scope", seconds, shield, fails, self.block(depth + 1, 1))]

    def shielded(self, depth):
        body = [*self.block(depth + 1), ("sleep", self.seconds())]
        cleanup = [("scope", self.seconds(), True, False, self.block(depth + 1, 1))]
        return [("try", body, cleanup, self.may(0.3))]

    def group(self, depth):
        children = [self.block(depth + 1, 1) for _ in range(self.random.randint(0, 3))]
        self.labels += 1
        return [("group", self.labels, children, self.block(depth + 1))]

    def step(self, depth):
        return [("sleep", 0)]

    def attempt(self, depth):
        body, cleanup = self.block(depth + 1, 1), self.block(depth + 1)
        return [("try", body, cleanup, self.may(0.4))]


def run_in_trio(program):
    clock = testing.MockClock(autojump_threshold=0)
    return trio.run(Player(InTrio).play, program, clock=clock)


def check(way, seed, groups):
    program = Writer(seed, groups).block(least=2)
    in_asyncio = way.run(Player(InAsyncio).play, program)
    in_trio = run_in_trio(program)
    # Trio draws who is first of tasks that are woken at one time.
    for _ in range(ATTEMPTS * groups):
        if in_asyncio == in_trio:
            break
        in_trio = run_in_trio(program)
    assert in_asyncio == in_trio, program


@ways
@pytest.mark.parametrize("groups", [False, True])
def test_random_programs_vs_trio(way, groups, caplog):
    for seed in range(PROGRAMS):
        check(way, f"{groups} {seed}", groups)
    assert not caplog.records


async def play_cancelled(program, when):
    """Play a program in a Task that is cancelled by others at a time; return when that
    was, when it ended, and how."""
    task = asyncio.create_task(Player(InAsyncio).play_task(program, "main", ()))
    asyncio.get_running_loop().call_later(when, task.cancel, "stop")
    await asyncio.wait([task])
    ended = InAsyncio.now()
    try:
        await task
    except asyncio.CancelledError as exc:
        return ended, exc.args, task.cancelling()
    return ended, None, task.cancelling()


def check_cancelled(way, seed):
    program = Writer(seed, False, calm=True).block(least=2)
    usual, *_ = way.run(play_cancelled, program, 1e9)
    if not usual:
        return
    when = random.Random(seed).uniform(0, usual * 1.2)
    ended, args, count = way.run(play_cancelled, program, when)
    wanted = (None, 0) if usual < when else (("stop",), 1)
    assert (args, count) == wanted, (program, when)


@ways
def test_random_programs_that_others_cancel(way):
    """They always end by that, whatever their scopes do, and that is all that counts
    of them then."""
    for seed in range(PROGRAMS):
        check_cancelled(way, f"cancelled {seed}")
