"""Bad calls of every public method get asyncio's own answers: the same calls are made
on the standard library's loop, and class, text and what the exception handler heard are
compared.

Where the answers differ on purpose, different() says why.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import math
import re
import socket
import sys
import threading

import pytest

from trio_asyncio_c import EventLoop, new_event_loop

from ._helpers import run_briefly


class Thing:
    def __repr__(self):
        return "<Thing>"


class NotAContext:
    """Not a contextvars.Context, but asyncio asks for no more than this."""

    def __init__(self):
        self.ran = []

    def run(self, callback, *args):
        self.ran.append(args)
        return callback(*args)


async def coroutine_function():
    pass


THING = Thing()
JUNK = [None, -1, "x", THING, math.nan, math.inf, len, print]

# They connect, resolve names or start processes: below, by hand.  The Future of
# create_future and a run of run_forever would never end.
BY_HAND = {
    "create_future",
    "connect_accepted_socket",
    "connect_read_pipe",
    "connect_write_pipe",
    "create_connection",
    "create_datagram_endpoint",
    "create_server",
    "create_unix_connection",
    "create_unix_server",
    "getaddrinfo",
    "getnameinfo",
    "run_forever",
    "subprocess_shell",
}

# C functions without parameters say so in C's words.
WITHOUT_PARAMETERS = {"time", "stop", "get_debug", "is_closed", "is_running"}

METHODS = sorted(
    name
    for name in dir(asyncio.SelectorEventLoop)
    if not name.startswith("_") and name not in BY_HAND
)

TAKES_KEYWORDS = {
    "call_soon",
    "call_soon_threadsafe",
    "call_later",
    "call_at",
    "run_in_executor",
    "add_reader",
    "add_writer",
    "add_signal_handler",
}


def different(name, args, kwargs):
    """Say whether a call is answered differently on purpose."""
    # Arguments of the callback by name: an extension.
    own = set() if name.startswith("add_") else {"context"}
    if name in TAKES_KEYWORDS and not kwargs.keys() <= own:
        return True
    if name == "run_in_executor" and (len(args) < 2 or kwargs):
        return True
    # Its timeout came with 3.12; here it is taken before that.
    if name == "shutdown_default_executor" and sys.version_info < (3, 12):
        return True
    # Which C type a number is too large for.
    if name.endswith(("_reader", "_writer")) and args == (10**400,):
        return True
    # An instance of a time that is none is found when the heap compares it, in
    # run_forever, which it ends: here it is refused at once.  So is NaN, which is
    # before and after everything.
    if name == "call_at" and args and isinstance(args[0], (str, Thing)):
        return True
    if name == "call_at" and args and callable(args[0]):
        return True
    return name in ("call_at", "call_later") and args[:1] == (math.nan,)


def calls(state):
    """Return the argument lists to try."""
    rows = [((), {})]
    rows += [((junk,), {}) for junk in JUNK]
    rows += [
        ((), {"nonsense": 1}),
        ((len,), {"nonsense": 1}),
        ((len,), {"context": 5}),
        ((1, len), {"context": THING}),
        ((coroutine_function,), {}),
        ((1, coroutine_function), {}),
        ((None, coroutine_function), {}),
        ((10**6, len, len, len, len), {}),  # no fd either
        ((10**400,), {}),
    ]
    rows += [(pair, {}) for pair in itertools.product(JUNK, repeat=2)]
    if state == "open":
        few = [None, -1, "x"]
        rows += [(triple, {}) for triple in itertools.product(few, repeat=3)]
    return rows


def normal(text):
    """Take out of a text what differs between two loops of any kind."""
    text = re.sub(r"0x[0-9a-f]+|fd=\d+", "0x", text)
    text = text.replace("_UnixSelectorEventLoop", "EventLoop")
    # Which class of the hierarchy has a method.
    return re.sub(r"\w+\.(\w+\(\))", r"\1", text)


def settled(loop, value):
    """Return the value that a coroutine or future comes to."""
    if asyncio.iscoroutine(value) and loop.is_closed():
        value.close()
        return "coroutine"
    if asyncio.iscoroutine(value) or asyncio.isfuture(value):
        return loop.run_until_complete(asyncio.wait_for(value, 30))
    return value


def answer(make_loop, state, call):
    """Return how a call on a new loop is answered, and what two turns of the loop
    then hand to the exception handler."""
    loop = make_loop()
    heard = []
    loop.set_exception_handler(
        lambda loop, context: heard.append(
            (normal(context["message"]), normal(repr(context.get("exception"))))
        )
    )
    loop.set_debug("debug" in state)
    if "closed" in state:
        loop.close()
    try:
        # One class has an underscore: _ThreadSafeHandle.
        result = ("returned", type(settled(loop, call(loop))).__name__.strip("_"))
    except Exception as exc:
        result = (type(exc).__name__, normal(str(exc)))
        # asyncio keeps what was raised in cycles of frames.
        exc.__traceback__ = None
    if not loop.is_closed():
        try:
            run_briefly(loop, turns=2)
        except Exception as exc:
            result += ("while running", type(exc).__name__, normal(str(exc)))
        loop.close()
    return result, heard


def compare(state, call, shown):
    expected = answer(asyncio.SelectorEventLoop, state, call)
    assert answer(EventLoop, state, call) == expected, shown


@pytest.mark.filterwarnings("ignore:coroutine .* was never awaited")
@pytest.mark.parametrize("state", ["open", "closed", "debug", "closed debug"])
@pytest.mark.parametrize("name", sorted(set(METHODS) - WITHOUT_PARAMETERS))
def test_bad_arguments(name, state, caplog):
    caplog.set_level(100)
    compared = 0
    for args, kwargs in calls(state):
        if different(name, args, kwargs):
            continue
        compare(
            state,
            lambda loop, args=args, kwargs=kwargs: getattr(loop, name)(*args, **kwargs),
            (name, args, kwargs),
        )
        compared += 1
    if compared == 0:
        pytest.skip("all of it differs on purpose")


@pytest.mark.parametrize("name", sorted(WITHOUT_PARAMETERS))
def test_arguments_for_methods_that_take_none(name):
    for make_loop in (asyncio.SelectorEventLoop, EventLoop):
        loop = make_loop()
        with pytest.raises(TypeError, match=rf"\b{name}\(\) takes"):
            getattr(loop, name)(1)
        with pytest.raises(TypeError, match=rf"\b{name}\(\)"):
            getattr(loop, name)(nonsense=1)
        loop.close()


@pytest.mark.parametrize("name", sorted(TAKES_KEYWORDS))
def test_missing_arguments_are_named(name):
    loop = EventLoop()
    for args in ((), (None,)):
        if name.startswith("call_soon") and args:
            continue
        with pytest.raises(TypeError, match=rf"{name}\(\) missing .*'\w+'"):
            getattr(loop, name)(*args)
    loop.close()


@pytest.mark.parametrize("when", ["x", THING, len])
def test_a_time_that_is_none_is_refused_at_once(loop, when):
    with pytest.raises(TypeError, match="must be real number"):
        loop.call_at(when, print)
    run_briefly(loop, turns=2)


def test_not_a_number_is_no_time(loop):
    for schedule in (loop.call_at, loop.call_later):
        with pytest.raises(ValueError, match="needs a time, not NaN"):
            schedule(math.nan, print)
    run_briefly(loop, turns=2)


@pytest.mark.parametrize("delay", [math.inf, 1e308, 10**15, -math.inf, -1e308, True])
def test_extreme_delays(delay):
    def call(loop):
        seen = []
        handle = loop.call_later(delay, seen.append, 1)
        run_briefly(loop, turns=2)
        handle.cancel()
        return seen and Thing()

    compare("open", call, delay)


def test_what_has_a_run_is_context_enough():
    for make_loop in (asyncio.SelectorEventLoop, EventLoop):
        loop = make_loop()
        context, seen = NotAContext(), []
        for schedule in (loop.call_soon, loop.call_soon_threadsafe):
            handle = schedule(seen.append, 1, context=context)
            if hasattr(handle, "get_context"):
                assert handle.get_context() is context
        loop.call_later(0, lambda: seen.append(2), context=context)
        run_briefly(loop, turns=3)
        loop.close()
        assert seen == [1, 1, 2]
        assert context.ran == [(1,), (1,), ()]


def closing(fn):
    """Have a test's row close what it opens."""

    def call(loop):
        with contextlib.ExitStack() as stack:
            left, right = socket.socketpair()
            stack.callback(left.close)
            stack.callback(right.close)
            return settled(loop, fn(loop, left))

    return call


BY_HAND_ROWS = {
    "create_connection without anything": lambda loop, sock: loop.create_connection(
        asyncio.Protocol
    ),
    "create_connection with host and socket": lambda loop, sock: loop.create_connection(
        asyncio.Protocol, "127.0.0.1", 1, sock=sock
    ),
    "create_connection with a server_hostname alone": lambda loop, sock: (
        loop.create_connection(
            asyncio.Protocol, "127.0.0.1", 1, server_hostname="example"
        )
    ),
    "create_connection with timeouts and no ssl": lambda loop, sock: (
        loop.create_connection(
            asyncio.Protocol, "127.0.0.1", 1, ssl_handshake_timeout=1
        )
    ),
    "create_connection with a shutdown timeout and no ssl": lambda loop, sock: (
        loop.create_connection(asyncio.Protocol, "127.0.0.1", 1, ssl_shutdown_timeout=1)
    ),
    "create_connection with ssl and no name": lambda loop, sock: loop.create_connection(
        asyncio.Protocol, sock=sock, ssl=True
    ),
    "create_connection with a datagram socket": lambda loop, sock: (
        loop.create_connection(
            asyncio.Protocol, sock=socket.socket(type=socket.SOCK_DGRAM)
        )
    ),
    "create_connection with a factory that is none": lambda loop, sock: (
        loop.create_connection(None, sock=sock)
    ),
    "create_connection with a bad port": lambda loop, sock: loop.create_connection(
        asyncio.Protocol, "127.0.0.1", "no-such-service"
    ),
    "create_connection with a port out of range": lambda loop, sock: (
        loop.create_connection(asyncio.Protocol, "127.0.0.1", 70000)
    ),
    "create_server without anything": lambda loop, sock: loop.create_server(
        asyncio.Protocol
    ),
    "create_server with ssl that is none": lambda loop, sock: loop.create_server(
        asyncio.Protocol, "127.0.0.1", 0, ssl=True
    ),
    "create_server with host and socket": lambda loop, sock: loop.create_server(
        asyncio.Protocol, "127.0.0.1", 0, sock=sock
    ),
    "create_server with a handshake timeout and no ssl": lambda loop, sock: (
        loop.create_server(asyncio.Protocol, "127.0.0.1", 0, ssl_handshake_timeout=1)
    ),
    "create_server with a backlog that is none": lambda loop, sock: loop.create_server(
        asyncio.Protocol, "127.0.0.1", 0, backlog="x"
    ),
    "create_unix_server without anything": lambda loop, sock: loop.create_unix_server(
        asyncio.Protocol
    ),
    "create_unix_server with both": lambda loop, sock: loop.create_unix_server(
        asyncio.Protocol, "/nonsense", sock=sock
    ),
    "create_unix_server in no directory": lambda loop, sock: loop.create_unix_server(
        asyncio.Protocol, "/nonsense/nonsense"
    ),
    "create_unix_connection without anything": lambda loop, sock: (
        loop.create_unix_connection(asyncio.Protocol)
    ),
    "create_unix_connection with both": lambda loop, sock: loop.create_unix_connection(
        asyncio.Protocol, "/nonsense", sock=sock
    ),
    "create_unix_connection to nobody": lambda loop, sock: loop.create_unix_connection(
        asyncio.Protocol, "/nonsense/nonsense"
    ),
    "create_datagram_endpoint without anything": lambda loop, sock: (
        loop.create_datagram_endpoint(asyncio.DatagramProtocol)
    ),
    "create_datagram_endpoint of a stream": lambda loop, sock: (
        loop.create_datagram_endpoint(asyncio.DatagramProtocol, sock=sock)
    ),
    "create_datagram_endpoint of an address that is none": lambda loop, sock: (
        loop.create_datagram_endpoint(
            asyncio.DatagramProtocol, local_addr="x", family=socket.AF_INET
        )
    ),
    "connect_accepted_socket with a timeout and no ssl": lambda loop, sock: (
        loop.connect_accepted_socket(asyncio.Protocol, sock, ssl_handshake_timeout=1)
    ),
    "connect_accepted_socket of nothing": lambda loop, sock: (
        loop.connect_accepted_socket(asyncio.Protocol, None)
    ),
    "connect_read_pipe of nothing": lambda loop, sock: loop.connect_read_pipe(
        asyncio.Protocol, None
    ),
    "connect_write_pipe of nothing": lambda loop, sock: loop.connect_write_pipe(
        asyncio.Protocol, None
    ),
    "subprocess_shell of no string": lambda loop, sock: loop.subprocess_shell(
        asyncio.SubprocessProtocol, 5
    ),
    "subprocess_shell with text": lambda loop, sock: loop.subprocess_shell(
        asyncio.SubprocessProtocol, "true", universal_newlines=True
    ),
    "subprocess_shell without a shell": lambda loop, sock: loop.subprocess_shell(
        asyncio.SubprocessProtocol, "true", shell=False
    ),
    "subprocess_exec with a shell": lambda loop, sock: loop.subprocess_exec(
        asyncio.SubprocessProtocol, "true", shell=True
    ),
    "subprocess_exec with a buffer": lambda loop, sock: loop.subprocess_exec(
        asyncio.SubprocessProtocol, "true", bufsize=1
    ),
    "subprocess_exec of what is not there": lambda loop, sock: loop.subprocess_exec(
        asyncio.SubprocessProtocol, "/nonsense/nonsense"
    ),
    "start_tls without a context": lambda loop, sock: loop.start_tls(
        None, asyncio.Protocol(), None
    ),
    "sendfile on what is no transport": lambda loop, sock: loop.sendfile(None, None),
    "sock_sendall of text": lambda loop, sock: (
        sock.setblocking(False),
        loop.sock_sendall(sock, "x"),
    )[1],
    "getnameinfo of nothing": lambda loop, sock: loop.getnameinfo(None),
    "getnameinfo of text": lambda loop, sock: loop.getnameinfo("x"),
    "getaddrinfo of no string": lambda loop, sock: loop.getaddrinfo(5, 5),
    "getaddrinfo without a port": lambda loop, sock: loop.getaddrinfo("127.0.0.1"),
    "getaddrinfo of both nothing": lambda loop, sock: loop.getaddrinfo(None, None),
}


@pytest.mark.filterwarnings("ignore")  # the sockets of refused calls
@pytest.mark.parametrize("debug", ["open", "debug"])
@pytest.mark.parametrize("row", BY_HAND_ROWS)
def test_bad_connections(row, debug, caplog):
    caplog.set_level(100)
    compare(debug, closing(BY_HAND_ROWS[row]), row)


def test_calls_from_another_thread_in_debug_mode():
    def call(loop):
        errors = []

        def in_thread():
            for method, args in (
                ("call_soon", (print,)),
                ("call_soon", (5,)),
                ("call_later", (1, print)),
                ("call_at", (1, print)),
                ("call_soon_threadsafe", (5,)),
                ("call_later", ("x", print)),
                ("call_later", (None, print)),
            ):
                try:
                    getattr(loop, method)(*args)
                except Exception as exc:
                    errors.append((type(exc).__name__, str(exc)))

        async def main():
            thread = threading.Thread(target=in_thread)
            thread.start()
            thread.join()

        loop.run_until_complete(main())
        raise RuntimeError(errors)

    compare("debug", call, "threads")


# Runner, whose loop is ours


def runner_answer(loop_factory, use):
    try:
        with asyncio.Runner(loop_factory=loop_factory) as runner:
            return ("returned", use(runner))
    except Exception as exc:
        return (type(exc).__name__, normal(str(exc)))


def run_twice_at_once(runner):
    async def main():
        coro = coroutine_function()
        try:
            return runner.run(coro)
        finally:
            coro.close()

    return runner.run(main())


def run_after_close(runner):
    runner.close()
    coro = coroutine_function()
    try:
        return runner.run(coro)
    finally:
        coro.close()


async def failing():
    raise ValueError("x")


@pytest.mark.parametrize(
    "use",
    [
        lambda runner: runner.run(5),
        lambda runner: runner.run(coroutine_function),
        lambda runner: runner.run(failing()),
        run_twice_at_once,
        run_after_close,
        lambda runner: [runner.close() for _ in range(2)],
    ],
    ids=lambda use: use.__name__,
)
@pytest.mark.filterwarnings("ignore:coroutine .* was never awaited")
def test_runner(use):
    assert runner_answer(new_event_loop, use) == runner_answer(
        asyncio.SelectorEventLoop, use
    )


def test_run_inside_of_a_run():
    def attempt(loop_factory):
        async def main():
            coro = coroutine_function()
            try:
                asyncio.run(coro)
            finally:
                coro.close()

        with asyncio.Runner(loop_factory=loop_factory) as runner:
            try:
                runner.run(main())
            except RuntimeError as exc:
                return str(exc)

    assert attempt(new_event_loop) == attempt(asyncio.SelectorEventLoop)
