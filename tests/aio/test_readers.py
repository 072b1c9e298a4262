"""add_reader and add_writer, and what is registered in the inert selector."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import fcntl
import itertools
import os
import random
import socket
import sys

import pytest

from trio_asyncio_c import EventLoop, _core

from ._helpers import run_briefly, run_until


@pytest.fixture
def pair():
    left, right = socket.socketpair()
    left.setblocking(False)
    right.setblocking(False)
    yield left, right
    left.close()
    right.close()


def test_a_reader_runs_while_there_is_data(loop, pair):
    left, right = pair
    seen = []
    loop.add_reader(left, lambda: seen.append(left.recv(1)))
    right.send(b"ab")
    run_until(loop, lambda: len(seen) == 2)
    assert seen == [b"a", b"b"]
    assert loop.remove_reader(left) is True
    assert loop.remove_reader(left) is False


def test_a_writer_runs_while_there_is_room(loop, pair):
    left, _ = pair
    seen = []
    loop.add_writer(left, seen.append, 1)
    run_until(loop, lambda: len(seen) >= 3)
    assert loop.remove_writer(left) is True
    assert loop.remove_writer(left) is False


def test_reading_does_not_starve_behind_a_hot_chain(loop, pair):
    left, right = pair
    seen = []

    def chain():
        if not seen:
            loop.call_soon(chain)
        else:
            loop.stop()

    loop.add_reader(left, lambda: seen.append(left.recv(10)))
    loop.call_soon(chain)
    right.send(b"x")
    loop.run_forever()
    assert seen == [b"x"]
    loop.remove_reader(left)


def test_readers_run_behind_what_was_queued_before_the_poll(loop, pair):
    left, right = pair
    seen = []
    loop.add_reader(left, lambda: (seen.append("reader"), left.recv(10)))
    right.send(b"x")
    loop.call_soon(seen.append, "soon")
    run_until(loop, lambda: len(seen) >= 2)
    assert seen == ["soon", "reader"]
    loop.remove_reader(left)


def test_replacing_cancels_the_old_handle(loop, pair):
    left, right = pair
    seen = []
    old = loop._add_reader(left.fileno(), seen.append, "old")
    new = loop._add_reader(left.fileno(), lambda: seen.append(left.recv(10)))
    assert old.cancelled()
    assert not new.cancelled()
    right.send(b"x")
    run_until(loop, lambda: seen)
    assert seen == [b"x"]
    assert loop._remove_reader(left.fileno())
    assert new.cancelled()


def test_removing_cancels_a_callback_that_is_queued(loop, pair):
    left, right = pair
    seen = []
    loop.add_reader(left, seen.append, "no")
    right.send(b"x")
    loop.call_soon(loop.remove_reader, left)
    run_briefly(loop, turns=3)
    assert seen == []


def test_reader_and_writer_of_one_fd(loop, pair):
    left, right = pair
    seen = set()
    loop.add_reader(left, seen.add, "reader")
    loop.add_writer(left, seen.add, "writer")
    right.send(b"x")
    run_until(loop, lambda: len(seen) == 2)
    loop.remove_reader(left)
    seen.clear()
    run_until(loop, lambda: seen)
    assert seen == {"writer"}
    loop.remove_writer(left)


def test_selector_shows_the_handles(loop, pair):
    left, _ = pair
    reader = loop._add_reader(left, print)
    writer = loop._add_writer(left, print)
    key = loop._selector.get_key(left)
    assert key.data == (reader, writer)
    assert key.fd == left.fileno()
    assert key.events == 3
    assert left.fileno() in loop._selector.get_map()
    loop._remove_writer(left)
    assert loop._selector.get_key(left).data == (reader, None)
    loop._remove_reader(left)
    with pytest.raises(KeyError):
        loop._selector.get_key(left)
    assert loop._selector.select(0) == []
    with pytest.raises(RuntimeError, match="add_reader"):
        loop._selector.register(left, 1)


def test_a_closed_file_object_can_be_removed(loop, pair):
    left, _ = pair
    loop.add_reader(left, print)
    left.close()
    assert loop._remove_reader(left) is True


def test_a_closed_fd_is_survived_and_its_number_can_be_used_again(loop, pair):
    left, right = pair
    seen = []
    fd = os.dup(left.fileno())
    loop.add_reader(fd, seen.append, "old")
    os.close(fd)
    run_briefly(loop, turns=2)
    assert os.dup2(left.fileno(), fd) == fd
    loop.add_reader(fd, lambda: seen.append(left.recv(10)))
    right.send(b"x")
    run_until(loop, lambda: seen)
    assert seen == [b"x"]
    loop.remove_reader(fd)
    os.close(fd)


def test_the_context_of_a_reader(loop, pair):
    var = contextvars.ContextVar("var", default="unset")
    context = contextvars.copy_context()
    context.run(var.set, "given")
    seen = []
    loop._add_reader(
        pair[0].fileno(),
        lambda: seen.append((var.get(), pair[0].recv(10))),
        context=context,
    )
    pair[1].send(b"x")
    run_until(loop, lambda: seen)
    assert seen == [("given", b"x")]
    loop._remove_reader(pair[0].fileno())
    with pytest.raises(TypeError, match="contextvars.Context"):
        loop._add_reader(0, print, context=5)
    with pytest.raises(TypeError, match="unexpected keyword"):
        loop._add_writer(0, print, other=5)
    with pytest.raises(TypeError, match="needs a file and a callback"):
        loop._add_writer(0)


def test_bad_files(loop, tmp_path):
    with pytest.raises(ValueError, match="Invalid file object"):
        loop.add_reader("file", print)
    with pytest.raises(ValueError, match="Invalid file descriptor: -1"):
        loop.add_reader(-1, print)
    with pytest.raises(ValueError, match="Invalid file descriptor: -1"):
        loop.remove_reader(-1)
    closed = os.dup(0)
    os.close(closed)
    with pytest.raises(OSError, match="Bad file descriptor"):
        loop.add_reader(closed, print)
    with open(tmp_path / "file", "wb") as file, pytest.raises(PermissionError):
        loop.add_writer(file, print)


def test_remove_after_close(pair):
    loop = EventLoop()
    loop.add_reader(pair[0], print)
    loop.close()
    assert loop.remove_reader(pair[0]) is False
    with pytest.raises(RuntimeError, match="Event loop is closed"):
        loop.add_reader(pair[0], print)


def test_watches_show_in_the_tree_and_leave_it(loop, pair):
    names = lambda: sorted(task.name for task in loop._nursery.child_tasks)  # noqa: E731
    before = names()
    counts = _core._debug_counts()["watches"]
    loop.add_reader(pair[0], print)
    loop.add_writer(pair[0], print)
    assert names() == sorted([*before, "<asyncio reader>", "<asyncio writer>"])
    loop.remove_reader(pair[0])
    loop.remove_writer(pair[0])
    assert names() == before
    assert _core._debug_counts()["watches"] == counts


def test_autoclose(loop):
    left, right = socket.socketpair()
    fd = left.detach()
    loop.add_reader(fd, print)
    loop.autoclose(fd)
    loop.autoclose(right)
    loop.no_autoclose(right)
    with pytest.raises(KeyError):
        loop.no_autoclose(right)
    loop.close()
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(fd)
    right.close()


# Beside stock asyncio


class File:
    """What has a fileno()."""

    def __init__(self, result):
        self.result = result

    def fileno(self):
        if isinstance(self.result, Exception):
            raise self.result
        return self.result

    def __repr__(self):
        return "File()"


def closed_fd():
    fd = fcntl.fcntl(0, fcntl.F_DUPFD, 900)  # not one that a loop will take
    os.close(fd)
    return fd


def closed_socket():
    with socket.socket() as sock:
        return sock


BAD_FILES = {
    "negative": lambda: -1,
    "very negative": lambda: -(1 << 70),
    "closed": closed_fd,
    "closed socket": closed_socket,
    "str": lambda: "x",
    "bytes": lambda: b"1",
    "None": lambda: None,
    "float": lambda: 1.5,
    "no int for C": lambda: 1 << 31,
    "very large": lambda: 1 << 70,
    "largest": lambda: (1 << 31) - 1,
    "not open": lambda: 100_000,
    "directory": lambda: os.open("/", os.O_RDONLY),
    "no fileno": lambda: object,
    "fileno negative": lambda: File(-1),
    "fileno closed": lambda: File(closed_fd()),
    "fileno very large": lambda: File(1 << 70),
    "fileno str": lambda: File("z"),
    "fileno None": lambda: File(None),
    "fileno AttributeError": lambda: File(AttributeError("a")),
    "fileno TypeError": lambda: File(TypeError("t")),
    "fileno ValueError": lambda: File(ValueError("v")),
    "fileno OSError": lambda: File(OSError(5, "e")),
    "fileno KeyError": lambda: File(KeyError("k")),
}
METHODS = ["add_reader", "add_writer", "remove_reader", "remove_writer"]


def outcome_of(call, *args):
    try:
        return call(*args)
    except Exception as exc:
        return type(exc), str(exc)


@pytest.mark.parametrize("bad", BAD_FILES)
@pytest.mark.parametrize("method", METHODS)
def test_errors_are_stock_asyncio_s(method, bad):
    file = BAD_FILES[bad]()
    outcomes = []
    for make_loop in asyncio.SelectorEventLoop, EventLoop:
        loop = make_loop()
        args = [file, print] if method.startswith("add") else [file]
        outcomes.append(outcome_of(getattr(loop, method), *args))
        loop.close()
    assert outcomes[0] == outcomes[1]
    if bad == "directory":
        os.close(file)


class Session:
    """A random sequence of operations on the readers and writers of three sockets."""

    def __init__(self, make_loop, seed):
        self.rng = random.Random(seed)
        self.loop = make_loop()
        self.pairs = [socket.socketpair() for _ in range(3)]
        for sock in itertools.chain(*self.pairs):
            sock.setblocking(False)
        self.callbacks = set()
        self.count = 0

    def on_ready(self, number, event, count):
        self.callbacks.add((number, event, count))
        sock = self.pairs[number][0]
        if event == "reader":
            with contextlib.suppress(OSError):
                sock.recv(100)
        else:
            self.callbacks.add(outcome_of(self.loop.remove_writer, sock))

    def operate(self, operation, number):
        near, far = self.pairs[number]
        loop = self.loop
        self.count += 1
        if operation.startswith("add"):
            if near.fileno() < 0:  # stock asyncio may lose the other event by that
                return None
            add, event = getattr(loop, operation), operation.removeprefix("add_")
            return outcome_of(add, near, self.on_ready, number, event, self.count)
        if operation.startswith("remove"):
            return outcome_of(getattr(loop, operation), near)
        if operation == "send":
            return outcome_of(far.send, b"x")
        if operation == "close":  # with one event, for the same reason
            outcome = outcome_of(loop.remove_writer, near)
            near.close()
            return outcome
        if operation == "close far":
            return far.close()
        if operation == "map":
            keys = loop._selector.get_map().values()
            own = {loop._ssock, loop._ssock.fileno()}
            return sorted(key.events for key in keys if key.fileobj not in own)
        for _ in range(2):  # what is ready is found while the loop waits
            loop.call_later(0.0005, loop.stop)
            loop.run_forever()
        seen, self.callbacks = self.callbacks, set()
        return seen

    def run(self):
        operations = [*METHODS, "add_reader", "send", "send", "map", *["turn"] * 4]
        for _ in range(40):
            rare = ["close", "close far"] if self.rng.random() < 0.3 else []
            operation = self.rng.choice(operations + rare)
            number = self.rng.randrange(3)
            yield operation, number, self.operate(operation, number)

    def close(self):
        self.loop.close()
        for sock in itertools.chain(*self.pairs):
            sock.close()


@pytest.mark.parametrize("seed", range(60))
def test_random_operations(seed):
    stock = Session(asyncio.SelectorEventLoop, seed)
    ours = Session(EventLoop, seed)
    for expected, got in zip(stock.run(), ours.run(), strict=True):
        assert got == expected
    stock.close()
    ours.close()


def test_adding_again_a_file_that_was_closed():
    outcomes = []
    for make_loop in asyncio.SelectorEventLoop, EventLoop:
        loop = make_loop()
        sock = socket.socket()
        loop.add_reader(sock, print)
        sock.close()
        outcomes.append(
            [
                outcome_of(loop.add_reader, sock, print),
                outcome_of(loop.remove_writer, sock),
                outcome_of(loop.remove_reader, sock),
                outcome_of(loop.remove_reader, sock),
                outcome_of(loop.add_reader, sock, print),
            ]
        )
        sock = socket.socket()
        loop.add_reader(sock, print)
        sock.close()
        outcomes[-1].append(outcome_of(loop.add_writer, sock, print))
        loop.close()
    assert outcomes[0] == outcomes[1]


@pytest.mark.skipif(sys.version_info < (3, 13), reason="a warning since 3.13")
def test_a_bool_is_a_doubtful_descriptor(loop):
    with (
        pytest.warns(RuntimeWarning, match="bool is used as a file descriptor"),
        contextlib.suppress(PermissionError),  # where it is redirected to a file
    ):
        loop.add_reader(True, print)
    loop.remove_reader(True)


@pytest.mark.parametrize("make", [asyncio.SelectorEventLoop, EventLoop])
def test_fds_run_in_the_order_in_which_they_became_ready(make):
    """As the kernel tells of them, which is not as libev goes through them."""
    order = [3, 1, 4, 0, 5, 2]
    seen = []
    loop = make()
    pipes = [os.pipe() for _ in order]

    def read(number):
        os.read(pipes[number][0], 1)
        seen.append(number)

    for number, (reader, _) in enumerate(pipes):
        loop.add_reader(reader, read, number)
    run_briefly(loop)  # now the kernel knows them
    for number in order:
        os.write(pipes[number][1], b"x")
    run_until(loop, lambda: len(seen) == len(order))
    for reader, writer in pipes:
        loop.remove_reader(reader)
        os.close(reader)
        os.close(writer)
    loop.close()
    assert seen == order


def test_a_reader_that_removes_those_that_are_ready_too(loop):
    """Of many that one poll has found, the first to run ends all others."""
    seen = []
    pipes = [os.pipe() for _ in range(6)]

    def read(number):
        seen.append(number)
        for reader, _ in pipes:
            loop.remove_reader(reader)

    for number, (reader, writer) in enumerate(pipes):
        loop.add_reader(reader, read, number)
        os.write(writer, b"x")
    run_until(loop, lambda: seen)
    run_briefly(loop)
    for reader, writer in pipes:
        os.close(reader)
        os.close(writer)
    assert len(seen) == 1
