"""The examples run as they stand, and print what they promise."""

from __future__ import annotations

import re

import pytest

from ._helpers import EXAMPLES, run_example

OUTPUT = {
    "asyncio_calls_trio.py": [
        "fastest mirror: near",
        "no answer: TooSlowError",
        "both done: asyncio trio",
        "timeout: cleaned up",
    ],
    "trio_calls_asyncio.py": [
        "answers: HELLO WORLD",
        "asyncio code was cancelled",
        "deadline passed: True",
        "server closed",
    ],
}


@pytest.mark.parametrize("name", sorted(OUTPUT))
def test_example(name):
    done = run_example(name)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == OUTPUT[name]


def test_every_example_is_tested():
    tested = {*OUTPUT, "tutorial_tracer.py", "demo.py"}
    assert {path.name for path in EXAMPLES.glob("*.py")} == tested


# What the tutorial shows, up to where the two children start in either order.
TRACE_BEGIN = """\
!!! run started
### new task spawned: <init>
### task scheduled: <init>
### doing a quick check for I/O
### finished I/O check (took N seconds)
>>> about to run one step of task: <init>
### new task spawned: __main__.parent
### task scheduled: __main__.parent
### new task spawned: <TrioToken.run_sync_soon task>
### task scheduled: <TrioToken.run_sync_soon task>
<<< task step finished: <init>
### doing a quick check for I/O
### finished I/O check (took N seconds)
""".splitlines()

PARENT_STEP = """\
>>> about to run one step of task: __main__.parent
parent: started!
parent: spawning child1...
### new task spawned: __main__.child1
### task scheduled: __main__.child1
parent: spawning child2...
### new task spawned: __main__.child2
### task scheduled: __main__.child2
parent: waiting for children to finish...
<<< task step finished: __main__.parent
""".splitlines()

CHILD_EXIT = """\
>>> about to run one step of task: __main__.child2
  child2: exiting!
### task exited: __main__.child2
<<< task step finished: __main__.child2
""".splitlines()


@pytest.fixture(scope="module")
def trace():
    done = run_example("tutorial_tracer.py")
    assert (done.returncode, done.stderr) == (0, "")
    text = re.sub(r"\d[\d.]*(e-?\d+)?(?= seconds)", "N", done.stdout)
    return text.splitlines()


def contains(lines, part):
    first = lines.index(part[0])
    return lines[first : first + len(part)] == part


def test_tracer_order(trace):
    assert trace[: len(TRACE_BEGIN)] == TRACE_BEGIN
    assert contains(trace, PARENT_STEP)
    assert contains(trace[trace.index(CHILD_EXIT[1]) - 1 :], CHILD_EXIT)
    assert trace.index("  child2: exiting!") < trace.index("  child1: exiting!")
    assert trace[-1] == "!!! run finished"


def test_tracer_sees_each_task_whole(trace):
    def tasks(event):
        return sorted(line[len(event) :] for line in trace if line.startswith(event))

    spawned = tasks("### new task spawned: ")
    assert len(spawned) == 5
    assert spawned == tasks("### task exited: ")
    begun = tasks(">>> about to run one step of task: ")
    assert begun == tasks("<<< task step finished: ")
