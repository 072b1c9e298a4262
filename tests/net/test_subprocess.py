"""Subprocesses, at the level of streams and of transports."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import os
import signal
import subprocess
import sys
import threading
import time
import warnings

import pytest

from trio_asyncio_c import EventLoop

from ._helpers import (
    STOCK,
    described,
    new_fds,
    normal,
    on_both,
    open_fds,
    outcome,
    outcome_of,
    run_on,
    turns,
    until,
)

PIPE, DEVNULL, STDOUT = subprocess.PIPE, subprocess.DEVNULL, subprocess.STDOUT

pytestmark = [
    # Of 3.12 and 3.13, of the policy's child watchers.
    pytest.mark.filterwarnings("ignore:.*child_watcher:DeprecationWarning"),
]


async def start(*command, **options):
    return await asyncio.create_subprocess_exec(*command, **options)


async def shell(command, **options):
    return await asyncio.create_subprocess_shell(command, **options)


async def run(command, input=None, **options):
    """Run a shell's command to its end; return what it has written and its code."""
    options.setdefault("stdout", PIPE)
    process = await shell(command, **options)
    out, err = await process.communicate(input)
    return out, err, process.returncode


def is_gone(pid):
    """Say whether no process, and no zombie, has that number."""
    return not os.path.exists(f"/proc/{pid}")


# Through


def test_exec_and_shell():
    async def program(loop, seen):
        process = await start("echo", "one two", "$HOME", stdout=PIPE)
        seen.append(await process.communicate())
        seen.append(process.returncode)
        process = await shell("echo one two | tr a-z A-Z", stdout=PIPE)
        seen.append(await process.communicate())
        seen.append(process.returncode)
        seen.append(is_gone(process.pid))

    assert on_both(program) == [
        *[(b"one two $HOME\n", None), 0, (b"ONE TWO\n", None), 0, True],
    ]


@pytest.mark.parametrize("code", [0, 1, 3, 127, 255])
def test_return_codes(code):
    async def program(loop, seen):
        process = await shell(f"read line; exit {code}", stdin=PIPE)
        seen.append(process.returncode)
        process.stdin.close()
        seen.append(await process.wait())
        seen.append(process.returncode)
        seen.append(await process.wait())

    assert on_both(program) == [None, code, code, code]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL, signal.SIGUSR1])
def test_ended_by_a_signal(number):
    async def program(loop, seen):
        process = await start("sleep", "1000")
        seen.append(process.send_signal(number))
        seen.append(await process.wait())
        seen.append(is_gone(process.pid))

    assert on_both(program) == [None, -number, True]


@pytest.mark.parametrize("method", ["kill", "terminate", "send_signal"])
def test_signals_after_the_end(method):
    """They do not reach whoever has the number by then."""

    async def program(loop, seen):
        args = (signal.SIGTERM,) if method == "send_signal" else ()
        process = await start("sleep", "1000")
        seen.append(getattr(process, method)(*args))
        seen.append(await process.wait())
        await turns(5)
        seen.append(outcome(getattr(process, method), *args))
        process = await start("true")
        await process.wait()
        await turns(5)
        seen.append(outcome(getattr(process, method), *args))

    notes = on_both(program)
    assert notes[2] == notes[3] == ("ProcessLookupError", "")


@pytest.mark.parametrize("size", [0, 1, 100_000, 1_000_000])
def test_communicate(size):
    data = os.urandom(size)

    async def program(loop, seen):
        process = await start("cat", stdin=PIPE, stdout=PIPE, stderr=PIPE)
        out, err = await process.communicate(data)
        seen.append((out == data, err, process.returncode))

    assert on_both(program) == [(True, b"", 0)]


@pytest.mark.parametrize("stdin", [None, PIPE, DEVNULL])
@pytest.mark.parametrize("stdout", [PIPE, DEVNULL])
@pytest.mark.parametrize("stderr", [PIPE, DEVNULL, STDOUT])
def test_kinds_of_streams(stdin, stdout, stderr):
    async def program(loop, seen):
        process = await shell(
            "cat; echo out; echo err >&2" if stdin else "echo out; echo err >&2",
            stdin=stdin,
            stdout=stdout,
            stderr=stderr,
        )
        for stream in (process.stdin, process.stdout, process.stderr):
            seen.append(type(stream).__name__)
        seen.append(await process.communicate(b"in," if stdin == PIPE else None))

    on_both(program)


def test_streams_that_are_files(tmp_path):
    async def program(loop, seen):
        out = tmp_path / "out"
        with open(out, "w+b") as file, open(os.devnull) as null:
            process = await shell("cat; echo to a file", stdin=null, stdout=file)
            await process.wait()
            process = await shell("echo again", stdout=file.fileno(), stderr=file)
            await process.wait()
        seen.append(out.read_bytes())

    assert on_both(program) == [b"to a file\nagain\n"]


def test_talking_to_it():
    async def program(loop, seen):
        process = await start("cat", stdin=PIPE, stdout=PIPE)
        for i in range(20):
            process.stdin.write(b"line %d\n" % i)
            await process.stdin.drain()
            seen.append(await process.stdout.readline())
        process.stdin.close()
        seen.append(await process.stdout.read())
        seen.append(await process.wait())

    assert on_both(program)[-2:] == [b"", 0]


def test_it_does_not_read():
    """The error of writing is the reader's of communicate() not to tell."""

    async def program(loop, seen):
        process = await start("true", stdin=PIPE)
        seen.append(await process.communicate(bytes(1_000_000)))
        seen.append(process.returncode)

    assert on_both(program) == [(None, None), 0]


def test_it_closes_its_output_and_goes_on():
    async def program(loop, seen):
        process = await shell(
            "echo out; exec >&-; read line; exit 5", stdin=PIPE, stdout=PIPE
        )
        seen.append(await process.stdout.read())
        seen.append(process.returncode)
        process.stdin.write(b"\n")
        seen.append(await process.wait())

    assert on_both(program) == [b"out\n", None, 5]


def test_its_output_outlives_it():
    """wait() is for the process, the end of the stream for whoever has it open."""

    async def program(loop, seen):
        process = await shell(
            "exec 3<&0; (read line <&3; echo late) & echo early",
            stdin=PIPE,
            stdout=PIPE,
        )
        seen.append(await process.stdout.readline())
        await until(lambda: process.returncode is not None or is_dead(process.pid))
        process.stdin.write(b"\n")
        seen.append(await process.stdout.read())
        seen.append(await process.wait())

    assert on_both(program) == [b"early\n", b"late\n", 0]


def is_dead(pid):
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):  # gone before, or in between
        return True


# Waiting


def test_many_wait():
    async def program(loop, seen):
        process = await start("cat", stdin=PIPE)
        tasks = [asyncio.create_task(process.wait()) for _ in range(10)]
        await turns(2)
        tasks[3].cancel()
        process.stdin.close()
        seen.append(await asyncio.gather(*tasks, return_exceptions=True))

    ((*codes,),) = on_both_described(program)
    assert codes.count(0) == 9


def on_both_described(program):
    """Exceptions are not equal to one another, what they say is."""

    async def describing(loop, seen):
        notes = []
        await program(loop, notes)
        seen += [[described(value) for value in note] for note in notes]

    return on_both(describing)


@pytest.mark.parametrize("what", ["wait", "communicate", "read", "drain"])
def test_cancelled(what):
    async def program(loop, seen):
        process = await start("cat", stdin=PIPE, stdout=PIPE)
        if what == "drain":
            process.stdin.write(bytes(10_000_000))
        calls = {
            "wait": process.wait,
            "communicate": process.communicate,
            "read": process.stdout.read,
            "drain": process.stdin.drain,
        }
        if what == "communicate":
            # It closes the input, and cat ends.
            calls["communicate"] = lambda: process.communicate(bytes(10_000_000))
        if what == "drain":
            process.stdout._transport.pause_reading()
        task = asyncio.create_task(calls[what]())
        await turns(1)
        task.cancel()
        seen.append((await outcome_of(task))[0])
        seen.append(process.returncode)
        process.kill()
        process.stdout._transport.resume_reading()
        seen.append(await process.wait())

    assert on_both(program) == ["CancelledError", None, -9]


@pytest.mark.parametrize("count", range(6))
def test_starting_cancelled(count):
    """The process may have been started, and is ended then."""
    before = open_fds()

    async def program(loop, seen):
        task = asyncio.create_task(start("sleep", "1000", stdin=PIPE, stdout=PIPE))
        await turns(count)
        task.cancel()
        answer = await outcome_of(task)
        if isinstance(answer, tuple):
            seen.append(answer[0])
        else:
            answer.kill()
            await answer.wait()
        await until(lambda: not children() and not new_fds_of_pipes(before))

    for make in (STOCK, EventLoop):
        assert run_on(make, program) in ([], ["CancelledError"])


def new_fds_of_pipes(before):
    return [fd for fd, what in new_fds(before).items() if what.startswith("pipe")]


EARLIER_CHILDREN = set()  # of other tests, such as multiprocessing's helpers


@pytest.fixture(autouse=True)
def forget_earlier_children():
    EARLIER_CHILDREN.clear()
    EARLIER_CHILDREN.update(children())


def children():
    """Return the processes that this one has, but for those of earlier tests."""
    found = []
    for task in os.listdir("/proc/self/task"):
        with contextlib.suppress(FileNotFoundError):
            with open(f"/proc/self/task/{task}/children") as file:
                found += file.read().split()
    return [pid for pid in found if pid not in EARLIER_CHILDREN]


def test_a_time_limit():
    async def program(loop, seen):
        process = await start("sleep", "1000")
        seen.append(await outcome_of(asyncio.wait_for(process.wait(), 0.01)))
        process.terminate()
        seen.append(await process.wait())

    assert on_both(program) == [("TimeoutError", ""), -15]


def test_several_hundred_quick_ones():
    async def program(loop, seen):
        async def one(number):
            process = await start("sh", "-c", f"exit {number % 100}")
            assert await process.wait() == number % 100
            return process.pid

        pids = []
        for block in range(0, 150, 50):
            pids += await asyncio.gather(*[one(i) for i in range(block, block + 50)])
        seen.append(len(set(pids)))
        seen.append(all(is_gone(pid) for pid in pids))
        seen.append(children())

    assert on_both(program) == [150, True, []]


def test_two_thousand_quick_ones():
    async def program(loop, seen):
        pids = []

        async def one():
            process = await start("true")
            pids.append(process.pid)
            return await process.wait()

        for _ in range(5):
            seen.extend(await asyncio.gather(*[one() for _ in range(50)]))
        seen.append([pid for pid in pids if not is_gone(pid)])
        seen.append(children())

    for _ in range(8):  # each is looked at for descriptors that are left
        assert run_on(EventLoop, program) == [*[0] * 250, [], []]


def test_many_with_pipes():
    async def program(loop, seen):
        async def one(number):
            process = await start("cat", stdin=PIPE, stdout=PIPE, stderr=PIPE)
            out, _ = await process.communicate(b"%d" % number)
            return out == b"%d" % number and process.returncode == 0

        for _ in range(3):
            seen.append(all(await asyncio.gather(*[one(i) for i in range(20)])))
        seen.append(children())

    assert on_both(program) == [True, True, True, []]


# Options of Popen


def test_environment_and_folder(tmp_path):
    async def program(loop, seen):
        env = {"OWN": "value", "PATH": os.environ["PATH"]}
        seen.append(await run("echo $OWN-$HOME; pwd", env=env, cwd=tmp_path))
        seen.append(await run("pwd", cwd=os.fsencode(tmp_path)))

    folder = os.fsencode(tmp_path)
    assert on_both(program) == [
        (b"value-\n" + folder + b"\n", None, 0),
        (folder + b"\n", None, 0),
    ]


def test_descriptors_that_are_passed():
    async def program(loop, seen):
        read, write = os.pipe()
        process = await shell(f"echo through >/proc/self/fd/{write}", pass_fds=[write])
        os.close(write)
        await process.wait()
        seen.append(os.read(read, 100))
        os.close(read)
        # Nothing else is, not even what may be inherited.
        read, write = os.pipe()
        os.set_inheritable(write, True)
        seen.append(await run(f"test -e /proc/self/fd/{write}; echo $?"))
        seen.append(
            await run(f"test -e /proc/self/fd/{write}; echo $?", close_fds=False)
        )
        os.close(read)
        os.close(write)

    assert on_both(program) == [
        *[b"through\n", (b"1\n", None, 0), (b"0\n", None, 0)],
    ]


def test_the_loops_own_descriptors_are_not_passed():
    async def program(loop, seen):
        process = await start("ls", "/proc/self/fd", stdout=PIPE, close_fds=False)
        out, _ = await process.communicate()
        # Its three, and that of the folder.
        here = {fd for fd in open_fds() if fd > 2 and os.get_inheritable(fd)}
        seen.append(len({int(fd) for fd in out.split()} - here) <= 4)

    assert on_both(program) == [True]


def test_sessions_groups_and_umask():
    async def program(loop, seen):
        for options in (
            {"start_new_session": True},
            {"process_group": 0},
        ):
            process = await start("cat", stdin=PIPE, **options)
            seen.append(os.getpgid(process.pid) == process.pid)
            seen.append(os.getsid(process.pid) == process.pid)
            process.stdin.close()
            await process.wait()
        seen.append(await run("umask", umask=0o27))

    assert on_both(program) == [True, True, True, False, (b"0027\n", None, 0)]


WHO = "id -u; id -g; id -G"
SOMEBODY = {"user": 65533, "group": 65532, "extra_groups": [65532, 65531]}


@pytest.mark.parametrize(
    "options",
    [
        SOMEBODY,
        {"user": 65533},
        {"group": 65532},
        {"extra_groups": [65531]},
        {"user": "nobody of that name"},
        {"group": "nothing of that name"},
        {"user": -2},
        {"extra_groups": ["nothing of that name"]},
        {"extra_groups": 5},
        {"user": 65533, "start_new_session": True, "umask": 0o77, "pipesize": 8192},
    ],
    ids=str,
)
def test_users_and_groups(options):
    async def program(loop, seen):
        seen.append(await outcome_of(run(WHO, **options)))

    (seen,) = on_both(program)
    if os.getuid() == 0 and options == SOMEBODY:
        assert seen == (b"65533\n65532\n65532 65531\n", None, 0)


@pytest.mark.parametrize(
    "options",
    [
        {"process_group": -1},
        {"process_group": "none"},
        {"process_group": 999_999_999},
        {"umask": "none"},
        {"pipesize": "much"},
        {"pass_fds": [-1]},
        {"pass_fds": 5},
        {"creationflags": 1},
        {"startupinfo": 1},
        {"no_such_option": 1},
    ],
    ids=str,
)
def test_options_that_are_refused(options):
    async def program(loop, seen):
        for function, command in ((start, "true"), (shell, "true")):

            async def attempt(function=function, command=command):
                process = await function(command, stdout=PIPE, **options)
                return await process.communicate(), process.returncode

            seen.append(await outcome_of(attempt()))

    on_both(program)


def test_preexec_fn():
    async def program(loop, seen):
        read, write = os.pipe()
        with warnings.catch_warnings():
            # Of threads, from 3.12 on.
            warnings.simplefilter("ignore", DeprecationWarning)
            process = await start("true", preexec_fn=lambda: os.write(write, b"ran"))
            await process.wait()
            seen.append(os.read(read, 10))

            def fail():
                raise ZeroDivisionError("in the child")

            seen.append(await outcome_of(start("true", preexec_fn=fail)))
        os.close(read)
        os.close(write)

    assert on_both(program) == [
        b"ran",
        ("SubprocessError", "Exception occurred in preexec_fn."),
    ]


def test_executable_and_other_options():
    async def program(loop, seen):
        process = await start(
            *["another name", "-c", "echo $0", "zero"],
            executable="/bin/sh",
            stdout=PIPE,
        )
        seen.append(await process.communicate())
        seen.append(await run("echo $0", executable="/bin/sh"))
        process = await start(b"echo", "text", b"bytes", stdout=PIPE)
        seen.append(await process.communicate())
        process = await start("true", restore_signals=False, close_fds=True)
        seen.append(await process.wait())
        process = await start("true", limit=10, stdout=PIPE, pipesize=4096)
        seen.append(await process.wait())
        process = await start("echo", "x" * 100, limit=10, stdout=PIPE)
        seen.append((await outcome_of(process.stdout.readuntil(b"\n")))[0])
        seen.append(len(await process.stdout.read()))
        seen.append(await process.wait())

    on_both(program)


def test_a_path_as_program(tmp_path):
    async def program(loop, seen):
        script = tmp_path / "script"
        script.write_text("#!/bin/sh\necho ran\n")
        script.chmod(0o755)
        process = await start(script, stdout=PIPE)
        seen.append(await process.communicate())

    assert on_both(program) == [(b"ran\n", None)]


# Errors

BAD_STARTS = {
    "no such program": lambda: start("/nonexistent/program"),
    "not in the path": lambda: start("no-such-program-here"),
    "not to be executed": lambda: start("/etc/passwd"),
    "a folder": lambda: start("/"),
    "no such folder": lambda: start("true", cwd="/nonexistent"),
    "no program": lambda: start(),
    "a number": lambda: start(5),
    "None": lambda: start(None),
    "a number as argument": lambda: start("true", 5),
    "a NUL in it": lambda: start("true", "a\0b"),
    "a bad descriptor": lambda: start("true", stdout=10**6),
    "a stream of a wrong type": lambda: start("true", stdin="text"),
    "a bad environment": lambda: start("true", env={1: 2}),
    "an equals sign": lambda: start("true", env={"a=b": "c"}),
    "text": lambda: start("true", text=True),
    "universal newlines": lambda: start("true", universal_newlines=True),
    "encoding": lambda: start("true", encoding="utf-8"),
    "errors": lambda: start("true", errors="strict"),
    "buffered": lambda: start("true", bufsize=1),
    "shell": lambda: start("true", shell=True),
    "an unknown option": lambda: start("true", nonsense=1),
    "stdout to stdout": lambda: start("true", stdout=STDOUT),
    "no user": lambda: start("true", user="no such user here"),
    "a list": lambda: start(["true"]),
    "shell: a list": lambda: shell(["true"]),
    "shell: None": lambda: shell(None),
    "shell: text": lambda: shell("true", text=True),
    "shell: not a shell": lambda: shell("true", shell=False),
    "shell: no such shell": lambda: shell("true", executable="/nonexistent/sh"),
    "shell: buffered": lambda: shell("true", bufsize=10),
}


@pytest.mark.parametrize("name", BAD_STARTS)
def test_what_is_refused(name):
    async def program(loop, seen):
        try:
            process = await BAD_STARTS[name]()
        except Exception as exc:
            seen.append(described(exc))
            exc.__traceback__ = None
        else:
            seen.append(("started", await process.wait()))
        await turns(2)
        seen.append(children())

    assert on_both(program)[1] == []


# Transports and protocols


class Told(asyncio.SubprocessProtocol):
    """Notes what it is told; pieces of one stream as one."""

    def __init__(self, on=None):
        self.seen = []
        self.data = {}
        self.on = on or {}
        self.transport = None

    def note(self, name, *value):
        self.seen.append((name, *value))
        if name in self.on:
            self.on[name](self)

    def connection_made(self, transport):
        self.transport = transport
        self.note("made")

    def pipe_data_received(self, fd, data):
        self.data[fd] = self.data.get(fd, b"") + data
        if "data" in self.on:
            self.on["data"](self)

    def pipe_connection_lost(self, fd, exc):
        self.note("pipe lost", fd, described(exc))

    def process_exited(self):
        self.note("exited")

    def connection_lost(self, exc):
        self.note("lost", described(exc))

    async def until_lost(self):
        await until(lambda: self.seen and self.seen[-1][0] == "lost")
        await turns(1)
        self.transport.close()  # or it calls itself unclosed


def test_order_of_calls():
    async def program(loop, seen):
        transport, protocol = await loop.subprocess_shell(
            Told, "cat; echo err >&2; exit 3", stdin=PIPE, stdout=PIPE, stderr=PIPE
        )
        seen.append(protocol.seen[0])
        seen.append(transport is protocol.transport)
        seen.append(transport.get_returncode())
        stdin = transport.get_pipe_transport(0)
        stdin.write(b"through cat")
        stdin.write_eof()
        await protocol.until_lost()
        seen.append(protocol.data)
        # In which order the pipes and the process end is theirs to choose.
        seen.append(sorted(protocol.seen[1:-1], key=str))
        seen.append(protocol.seen[-1])
        seen.append(transport.get_returncode())
        seen.append(is_gone(transport.get_pid()))

    assert on_both(program) == [
        *[("made",), True, None, {1: b"through cat", 2: b"err\n"}],
        sorted([("exited",), *[("pipe lost", fd, None) for fd in (0, 1, 2)]], key=str),
        *[("lost", None), 3, True],
    ]


def test_what_a_transport_says_of_itself():
    async def program(loop, seen):
        transport, protocol = await loop.subprocess_exec(
            Told, "cat", stdin=PIPE, stdout=PIPE
        )
        seen.append(isinstance(transport, asyncio.SubprocessTransport))
        seen.append(isinstance(transport, asyncio.BaseTransport))
        for fd in (0, 1, 2, 3, None):
            pipe = outcome(transport.get_pipe_transport, fd)
            seen.append(
                [
                    isinstance(pipe, kind)
                    for kind in (asyncio.ReadTransport, asyncio.WriteTransport)
                ]
            )
        seen.append(transport.get_extra_info("subprocess").pid == transport.get_pid())
        seen.append(transport.get_extra_info("nonsense", "default"))
        seen.append(transport.is_closing())
        seen.append(transport.get_protocol() is protocol)
        text = repr(transport).replace(str(transport.get_pid()), "PID")
        seen.append(normal(text).startswith("<Transport pid=PID running stdin="))
        transport.close()
        seen.append(transport.is_closing())
        await protocol.until_lost()
        seen.append(transport.get_returncode())
        seen.append(outcome(transport.kill))
        seen.append(outcome(transport.close))
        seen.append(outcome(transport.get_pipe_transport, 0) is None)

    on_both(program)


def test_closing_kills():
    async def program(loop, seen):
        transport, protocol = await loop.subprocess_exec(
            Told, "sleep", "1000", stdin=None, stdout=None, stderr=None
        )
        transport.close()
        transport.close()
        await protocol.until_lost()
        seen.append(transport.get_returncode())
        seen.append(protocol.seen)

    assert on_both(program) == [-9, [("made",), ("exited",), ("lost", None)]]


@pytest.mark.parametrize("name", ["made", "data", "pipe lost", "exited", "lost"])
def test_closing_in_a_callback(name):
    async def program(loop, seen):
        transport, protocol = await loop.subprocess_exec(
            lambda: Told({name: lambda protocol: protocol.transport.close()}),
            *["echo", "data"],
            stdin=None,
            stdout=PIPE,
            stderr=None,
        )
        await protocol.until_lost()
        seen.append([note[0] for note in protocol.seen].count("lost"))
        seen.append([note[0] for note in protocol.seen].count("exited"))

    assert on_both(program) == [1, 1]


@pytest.mark.parametrize("name", ["made", "data", "pipe lost", "exited", "lost"])
def test_callbacks_that_raise(name):
    def throw(protocol):
        raise ZeroDivisionError("own")

    async def program(loop, seen):
        transport, protocol = await loop.subprocess_exec(
            lambda: Told({name: throw}),
            *["echo", "data"],
            stdin=None,
            stdout=PIPE,
            stderr=None,
        )
        await protocol.until_lost()
        seen.append(sorted(note[0] for note in protocol.seen))

    notes = on_both(program)
    assert notes[0] == ["exited", "lost", "made", "pipe lost"]
    assert notes[1][:2] == ("Exception in callback", ("ZeroDivisionError", "own"))


def test_a_factory_that_raises():
    async def program(loop, seen):
        def factory():
            raise ZeroDivisionError("from the factory")

        seen.append(await outcome_of(loop.subprocess_exec(factory, "sleep", "1000")))
        seen.append(children())

    assert on_both(program) == [("ZeroDivisionError", "from the factory"), []]


# Left behind


# asyncio's transport cannot be told of its end by a closed loop, and complains.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("make", [STOCK, EventLoop])
def test_the_loop_is_closed_before_the_process_ends(make):
    gc.collect()
    before = open_fds()
    loop = make()
    process = loop.run_until_complete(start("sleep", "1000", stdin=PIPE, stdout=PIPE))
    pid = process.pid
    loop.close()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        del process
        gc.collect()
    if sys.version_info >= (3, 12):  # before, a thread keeps it
        assert any("unclosed transport" in str(w.message) for w in caught)
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
    with contextlib.suppress(ChildProcessError):
        os.waitpid(pid, 0)
    deadline = 1000
    while new_fds_of_pipes(before) and deadline:
        time.sleep(0.01)
        deadline -= 1
    assert not new_fds_of_pipes(before)


def test_debug_mode():
    async def program(loop, seen):
        seen.append(await run("cat; exit 3", b"data", stdin=PIPE))

    assert on_both(program, debug=True) == [(b"data", None, 3)]


# From elsewhere


@pytest.mark.parametrize("make", [STOCK, EventLoop])
def test_in_another_thread(make):
    answers = []

    async def program(loop, seen):
        seen.append(await run("echo out; exit 4"))
        process = await start("sleep", "1000")
        process.kill()
        seen.append(await process.wait())

    def work():
        loop, seen = make(), []
        loop.run_until_complete(program(loop, seen))
        loop.close()
        answers.append(seen)

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == [[(b"out\n", None, 4), -9]] * 3


def test_no_thread_waits_for_it():
    async def program(loop, seen):
        process = await shell("read line", stdin=PIPE)
        seen.append([t.name for t in threading.enumerate() if "waitpid" in t.name])
        process.stdin.write(b"on\n")
        seen.append(await process.wait())

    if sys.version_info < (3, 12):
        asyncio.set_event_loop_policy(None)  # with what other tests have chosen
    assert run_on(EventLoop, program) == [[], 0]


def test_several_loops_spawn_at_the_same_time():
    """uvloop #508."""
    answers = []

    def work(make):
        loop = make()

        async def main():
            for i in range(10):
                out, _, code = await run(f"echo {i}; exit {i}")
                answers.append((out, code) == (b"%d\n" % i, i))

        loop.run_until_complete(main())
        loop.close()

    threads = [
        threading.Thread(target=work, args=(make,))
        for make in (EventLoop, STOCK, EventLoop, EventLoop)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == [True] * 40


AT_FORK = """
import asyncio, json, os, sys, trio_asyncio_c
make = {"stock": asyncio.SelectorEventLoop, "ours": trio_asyncio_c.EventLoop}[sys.argv[1]]
ran = []
async def main():
    os.register_at_fork(
        before=lambda: ran.append("before"), after_in_parent=lambda: ran.append("parent")
    )
    process = await asyncio.create_subprocess_exec("true", stdout=-1)
    await process.communicate()
    process = await asyncio.create_subprocess_shell("true", start_new_session=True)
    await process.wait()
loop = make()
loop.run_until_complete(main())
loop.close()
print(json.dumps(ran))
"""


@pytest.mark.parametrize("which", ["stock", "ours"])
def test_no_hooks_of_fork_run(which):
    """uvloop #749: whoever registers them expects a copy of itself, not a program."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", AT_FORK, which],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.stderr == ""
    assert json.loads(done.stdout) == []


@pytest.mark.parametrize("make", [STOCK, EventLoop])
def test_sigchld_stays_the_programs(make):
    caught = []
    before = signal.signal(signal.SIGCHLD, lambda *args: caught.append(args[0]))
    try:

        async def program(loop, seen):
            seen.append(await run("exit 7"))

        assert run_on(make, program) == [(b"", None, 7)]
        assert signal.getsignal(signal.SIGCHLD) is not before
    finally:
        signal.signal(signal.SIGCHLD, before)
    assert set(caught) == {signal.SIGCHLD}


@pytest.mark.parametrize("make", [STOCK, EventLoop])
def test_others_children_are_left_alone(make):
    with subprocess.Popen(["sh", "-c", "exit 9"]) as other:

        async def program(loop, seen):
            for i in range(5):
                seen.append((await run(f"exit {i}"))[2])

        assert run_on(make, program) == [0, 1, 2, 3, 4]
        assert other.wait() == 9


def test_somebody_else_has_waited_for_it(caplog):
    """There is a warning, and a return code of 255, which is nobody's."""

    async def program(loop, seen):
        process = await start("cat", stdin=PIPE)
        os.kill(process.pid, signal.SIGKILL)
        with contextlib.suppress(ChildProcessError):  # asyncio's thread was first
            os.waitpid(process.pid, 0)
        seen.append(await process.wait())

    for make in (STOCK, EventLoop):
        assert run_on(make, program)[0] in (255, -9)
    caplog.clear()
