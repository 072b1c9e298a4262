"""The plain way of create_connection: to one numeric address, with nothing special
asked for; and everything that asks for the inherited way."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import subprocess
import sys
from asyncio import base_events

import pytest

from trio_asyncio_c import EventLoop

from ._helpers import Recorder, described, normal, on_both, on_ours, turns
from .test_connect import come_to, deaf, listening, refusing


async def made_plainly(loop, *args, **kwargs):
    """Connect; return whether that was done without a socket object."""
    transport, protocol = await loop.create_connection(Recorder, *args, **kwargs)
    plainly = getattr(transport, "_made_sock", None) is None
    transport.abort()
    await protocol.until("lost")
    return plainly


PLAIN = [{}, {"ssl": None}, {"family": 0, "proto": 0, "flags": 0, "sock": None}]
NOT_PLAIN = [{"family": socket.AF_INET}, {"local_addr": ("127.0.0.1", 0)}]
WHERE = [
    *[(address, options) for address in ("127.0.0.1", "::1") for options in PLAIN],
    *[("127.0.0.1", options) for options in NOT_PLAIN],  # these are for IPv4
]


@pytest.mark.parametrize(("address", "options"), WHERE)
def test_which_are_plain(address, options):
    async def program(loop, seen):
        with listening(address) as listener:
            host, port = listener.getsockname()[:2]
            seen.append(await made_plainly(loop, host, port, **options))

    why = "a socket object is made for each connection"
    assert on_ours(program, why) == [options in PLAIN]


@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
def test_refused(address):
    async def program(loop, seen):
        host, port = refusing(address)[:2]
        try:
            await loop.create_connection(Recorder, host, port)
        except OSError as exc:
            words = str(exc).replace(str(port), "PORT")
            seen.append((type(exc).__name__, exc.errno, words))

    ((name, _, words),) = on_both(program)
    assert name == "ConnectionRefusedError"
    assert "Connect call failed" in words


@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
def test_addresses(address):
    """What is known of a connection, also when it is over."""

    async def program(loop, seen):
        with listening(address) as listener:
            host, port = listener.getsockname()[:2]
            for asked_before in (True, False):
                transport, protocol = await loop.create_connection(Recorder, host, port)
                get = transport.get_extra_info
                accepted, own = listener.accept()
                if asked_before:
                    seen.append(get("peername") == listener.getsockname())
                    seen.append(get("sockname") == own)
                    seen.append(get("socket").fileno() >= 0)
                accepted.close()
                await protocol.until("lost")
                await turns(1)
                seen.append(get("peername") == listener.getsockname())
                seen.append(get("sockname") == own)
                seen.append((get("socket").fileno(), get("socket").family))

    on_both(program)


def test_a_factory_that_raises():
    async def program(loop, seen):
        def factory():
            raise ZeroDivisionError("from the factory")

        with listening() as listener:
            try:
                await loop.create_connection(factory, *listener.getsockname())
            except ZeroDivisionError as exc:
                seen.append(described(exc))
                exc.__traceback__ = None

    why = "the socket is left to the collector, with a warning"
    assert on_ours(program, why) == [("ZeroDivisionError", "from the factory")]


def test_a_protocol_without_methods():
    async def program(loop, seen):
        with listening() as listener:
            try:
                await loop.create_connection(object, *listener.getsockname())
            except AttributeError as exc:
                seen.append(described(exc))
                exc.__traceback__ = None

    why = "the socket is left to the collector, with a warning"
    assert on_ours(program, why)[0][0] == "AttributeError"


def test_one_that_takes_its_time():
    """The listener has room for it a while later."""

    async def program(loop, seen):
        with deaf_for_now() as (address, make_room):
            connecting = asyncio.ensure_future(
                loop.create_connection(Recorder, *address)
            )
            await turns(3)
            seen.append(connecting.done())
            make_room()
            await come_to(loop, seen, connecting)

    assert on_both(program) == [False, ("connected", "127.0.0.1")]


@contextlib.contextmanager
def deaf_for_now():
    """Give the address of a listener without room, and what makes some."""
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(listening(backlog=0))
        listener.setblocking(False)
        address = listener.getsockname()
        while True:
            client = stack.enter_context(socket.socket())
            client.settimeout(0.05)
            try:
                client.connect(address)
            except TimeoutError:
                client.close()
                break

        def make_room():
            with contextlib.suppress(BlockingIOError):
                while True:
                    listener.accept()[0].close()

        yield address, make_room


def test_cancelled_while_it_takes_its_time():
    async def program(loop, seen):
        with deaf() as address:
            connecting = asyncio.ensure_future(
                loop.create_connection(Recorder, *address)
            )
            await turns(3)
            connecting.cancel("enough")
            try:
                await connecting
            except asyncio.CancelledError as exc:
                seen.append(exc.args)

    on_both(program)


# Whoever replaced a part of it is asked

REPLACED = [
    "_connect_sock",
    "_create_connection_transport",
    "_make_socket_transport",
    "_ensure_resolved",
    "sock_connect",
    "create_future",
]


def noting(seen, name, original):
    def method(*args, **kwargs):
        seen.append(name)
        return original(*args, **kwargs)

    return method


async def connect_once(loop):
    with listening() as listener:
        transport, protocol = await loop.create_connection(
            Recorder, *listener.getsockname()
        )
        transport.abort()
        await protocol.until("lost")


@pytest.mark.parametrize("name", REPLACED)
def test_a_method_of_the_object(name):
    async def program(loop, seen):
        setattr(loop, name, noting(seen, name, getattr(loop, name)))
        await connect_once(loop)

    why = "it makes a Future more"
    assert name in on_ours(program, why)


@pytest.mark.parametrize("name", REPLACED)
def test_a_method_of_a_subclass(name):
    seen = []
    method = noting(seen, name, getattr(EventLoop, name))
    Subclass = type("Subclass", (EventLoop,), {name: method})
    with asyncio.Runner(loop_factory=Subclass) as runner:
        runner.run(connect_once(runner.get_loop()))
    assert name in seen


@pytest.mark.parametrize("what", ["class", "connect", "module"])
def test_sockets_of_somebody(what, monkeypatch):
    class Guarded(socket.socket):
        def connect(self, address):
            raise PermissionError("no network here")

    if what == "class":
        monkeypatch.setattr(socket, "socket", Guarded)
    elif what == "connect":
        monkeypatch.setattr(socket.socket, "connect", Guarded.connect)
    else:
        module = type(socket)("socket")
        vars(module).update(vars(socket), socket=Guarded)
        monkeypatch.setattr(base_events, "socket", module)

    async def program(loop, seen):
        try:
            await loop.create_connection(Recorder, "127.0.0.1", 1)
        except PermissionError as exc:
            seen.append(normal(str(exc)))
            exc.__traceback__ = None

    assert on_both(program) == ["no network here"]


AUDITED = """
import asyncio, socket, sys
import trio_asyncio_c

seen = []
def hook(name, args):
    if name == "socket.connect":
        seen.append(args[1])
        if refuse:
            raise PermissionError("not there")
refuse = False
sys.addaudithook(hook)

async def main():
    global refuse
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = listener.getsockname()
        loop = asyncio.get_running_loop()
        transport, _ = await loop.create_connection(asyncio.Protocol, *address)
        transport.abort()
        assert seen == [address], seen
        refuse = True
        try:
            await loop.create_connection(asyncio.Protocol, *address)
        except PermissionError as exc:
            print(exc)

with asyncio.Runner(loop_factory=trio_asyncio_c.new_event_loop) as runner:
    runner.run(main())
"""


def test_audit_hooks():
    """A hook sees where to, and can refuse it."""
    done = subprocess.run(
        [sys.executable, "-c", AUDITED],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.stdout, done.stderr) == ("not there\n", "")
