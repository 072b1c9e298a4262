"""Connecting: create_connection, create_unix_connection, connect_accepted_socket."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import sys

import pytest

from trio_asyncio_c import EventLoop

from ._helpers import (
    KINDS,
    STOCK,
    BufferedRecorder,
    Recorder,
    connected,
    described,
    normal,
    on_both,
    outcome_of,
    receive,
    receive_all,
    run_on,
    socket_pair,
    turns,
)

STREAM = socket.SOCK_STREAM


@contextlib.contextmanager
def listening(address="127.0.0.1", backlog=10):
    """Give a plain listener, whose kernel accepts for it."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.create_server((address, 0), family=family, backlog=backlog) as sock:
        yield sock


@contextlib.contextmanager
def deaf():
    """Give an address that takes connections up neither sooner nor later: the
    listener's backlog is full, and what comes then is not answered."""
    with contextlib.ExitStack() as stack:
        sock = stack.enter_context(listening(backlog=0))
        while True:
            client = stack.enter_context(socket.socket())
            client.settimeout(0.05)
            try:
                client.connect(sock.getsockname())
            except TimeoutError:
                break
        yield sock.getsockname()


def refusing(address="127.0.0.1"):
    """Return an address where nobody listens."""
    with listening(address) as sock:
        return sock.getsockname()


def resolving(loop, *addresses):
    """Have the loop find these addresses for whatever name."""

    async def getaddrinfo(host, port, *, family=0, type=0, proto=0, flags=0):
        await asyncio.sleep(0)
        infos = []
        for address in addresses:
            kind = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
            if family in (0, kind):
                infos.append((kind, STREAM, socket.IPPROTO_TCP, "", address))
        return infos

    loop.getaddrinfo = getaddrinfo


def accept(sock):
    sock.settimeout(10)
    accepted, _ = sock.accept()
    accepted.setblocking(False)
    return accepted


async def come_to(loop, seen, connecting):
    """Note where a connect has led, and close it."""
    try:
        transport, protocol = await connecting
    except Exception as exc:
        described = type(exc).__name__, hide_ports(str(exc))
        if isinstance(exc, BaseExceptionGroup):
            described += ([hide_ports(str(e)) for e in exc.exceptions],)
        seen.append(described)
        # asyncio keeps what was raised in cycles of frames.
        exc.__traceback__ = None
        return None
    peer = transport.get_extra_info("peername")
    seen.append(("connected", peer[0]))
    transport.abort()
    await protocol.until("lost")
    return peer


def hide_ports(text):
    """Ports differ from run to run."""
    words = normal(text).split()
    return " ".join(
        "PORT" + word.lstrip("0123456789") if word[:4].isdigit() else word
        for word in words
    )


# By name and by address


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1"])
@pytest.mark.parametrize("recorder", [Recorder, BufferedRecorder])
def test_connecting(host, recorder):
    async def program(loop, seen):
        address = "::1" if ":" in host else "127.0.0.1"
        with listening(address) as listener:
            port = listener.getsockname()[1]
            transport, protocol = await loop.create_connection(
                lambda: recorder(seen), host, port
            )
            with accept(listener) as peer:
                transport.write(b"hello")
                seen.append(await receive(peer, 5))
                get = transport.get_extra_info
                seen.append(get("peername") == listener.getsockname())
                seen.append(get("sockname") == peer.getpeername())
                peer.send(b"answer")
                await protocol.until_received(6)
                transport.close()
                await protocol.until("lost")

    assert on_both(program) == [
        *[("made",), b"hello", True, True, ("data", b"answer"), ("lost", None)]
    ]


@pytest.mark.parametrize("as_text", [False, True])
def test_ports_as_text(as_text):
    async def program(loop, seen):
        with listening() as listener:
            port = listener.getsockname()[1]
            if as_text:
                port = str(port)
            await come_to(
                loop, seen, loop.create_connection(Recorder, "127.0.0.1", port)
            )

    assert on_both(program) == [("connected", "127.0.0.1")]


BAD_CONNECTIONS = {
    "nothing": ((), {}),
    "a host alone": (("127.0.0.1",), {}),
    "a port alone": ((None, 1), {}),
    "a port of others": (("127.0.0.1", 0), {}),
    "a port out of range": (("127.0.0.1", 70000), {}),
    "a negative port": (("127.0.0.1", -1), {}),
    "a service that is none": (("127.0.0.1", "no-such-service"), {}),
    "a name that is none": (("host.invalid", 80), {}),
    "a name too long": (("x" * 300 + ".invalid", 80), {}),
    "a name with an empty label": (("a..invalid", 80), {}),
    "an empty host": (("", 1), {}),
    "a number as host": ((5, 80), {}),
    "a host with a NUL": (("127.0.0.1\0", 80), {}),
    "a port of a wrong type": (("127.0.0.1", 1.5), {}),
    "a server's name without ssl": (("127.0.0.1", 1), {"server_hostname": "x"}),
    "ssl without a name": ((), {"ssl": True}),
    "handshake timeout without ssl": (("127.0.0.1", 1), {"ssl_handshake_timeout": 1}),
    "shutdown timeout without ssl": (("127.0.0.1", 1), {"ssl_shutdown_timeout": 1}),
    "a family that does not fit": (("::1", 1), {"family": socket.AF_INET}),
    "a family that is none": (("127.0.0.1", 1), {"family": 12345}),
    "a local address of others": (("127.0.0.1", 1), {"local_addr": ("192.0.2.1", 0)}),
    "a local name that is none": (("127.0.0.1", 1), {"local_addr": ("x.invalid", 0)}),
    "a local address of a wrong type": (("127.0.0.1", 1), {"local_addr": 5}),
    "an unknown keyword": (("127.0.0.1", 1), {"nonsense": 1}),
    "a broadcast address": (("255.255.255.255", 1), {}),
}


@pytest.mark.parametrize("all_errors", [False, True])
@pytest.mark.parametrize("name", BAD_CONNECTIONS)
def test_arguments_that_are_refused(name, all_errors):
    args, kwargs = BAD_CONNECTIONS[name]
    if all_errors:
        if sys.version_info < (3, 12):
            pytest.skip("all_errors came with CPython 3.12")
        kwargs = {**kwargs, "all_errors": True}

    async def program(loop, seen):
        try:
            await loop.create_connection(Recorder, *args, **kwargs)
        except Exception as exc:
            seen.append(described(exc))
            exc.__traceback__ = None

    assert len(on_both(program)) == 1


def test_sock_and_something_else():
    async def program(loop, seen):
        left, right = socket_pair("unix")
        with left, right:
            for kwargs in (
                {"host": "127.0.0.1"},
                {"port": 1},
                {"host": "127.0.0.1", "port": 1},
                {"server_hostname": "x"},
                {"ssl": True},
            ):
                connecting = loop.create_connection(Recorder, sock=left, **kwargs)
                seen.append(await outcome_of(connecting))
            seen.append(left.fileno() == -1)

    assert on_both(program)[-1] is False


def test_sockets_that_are_none():
    async def program(loop, seen):
        with socket.socket(type=socket.SOCK_DGRAM) as datagram:
            for sock in (datagram, 5, "sock", object()):
                try:
                    await loop.create_connection(Recorder, sock=sock)
                except Exception as exc:
                    seen.append((type(exc).__name__, normal(str(exc))))

    on_both(program)


@pytest.mark.parametrize("state", ["unconnected", "closed"])
def test_sockets_that_are_not_connected(state):
    async def program(loop, seen):
        protocol = Recorder(seen)
        with socket.socket() as sock:
            if state == "closed":
                sock.close()
            try:
                await loop.create_connection(lambda: protocol, sock=sock)
            except Exception as exc:
                seen.append((type(exc).__name__, normal(str(exc))))
            else:
                await protocol.until("lost")

    on_both(program)


@pytest.mark.parametrize("blocking", [True, False])
@pytest.mark.parametrize("kind", KINDS)
def test_a_socket_that_is_given(kind, blocking):
    async def program(loop, seen):
        left, peer = socket_pair(kind)
        left.setblocking(blocking)
        with peer:
            transport, protocol = await loop.create_connection(Recorder, sock=left)
            seen.append(left.getblocking())
            seen.append(transport.get_extra_info("socket").fileno() == left.fileno())
            transport.write(b"hello")
            seen.append(await receive(peer, 5))
            transport.close()
            await protocol.until("lost")
            await turns(1)
            seen.append(left.fileno())

    assert on_both(program) == [False, True, b"hello", -1]


def test_a_factory_that_raises():
    async def program(loop, seen):
        def factory():
            raise ZeroDivisionError("from the factory")

        left, peer = socket_pair("unix")
        with left, peer:
            seen.append(await outcome_of(loop.create_connection(factory, sock=left)))
            seen.append(await outcome_of(loop.create_connection(None, sock=left)))

    notes = on_both(program)
    assert notes[0] == ("ZeroDivisionError", "from the factory")


# Which of several addresses


def test_the_first_that_answers():
    async def program(loop, seen):
        with listening() as listener:
            good = listener.getsockname()
            resolving(loop, refusing(), refusing("127.0.0.2"), good, refusing())
            connecting = loop.create_connection(Recorder, "name", 1)
            peer = await come_to(loop, seen, connecting)
            seen.append(peer == good)

    assert on_both(program) == [("connected", "127.0.0.1"), True]


@pytest.mark.parametrize("delay", [None, 0, 0.01])
@pytest.mark.parametrize("all_errors", [False, True])
@pytest.mark.parametrize("which", ["one", "same", "different", "none"])
def test_none_answers(which, all_errors, delay):
    if all_errors and sys.version_info < (3, 12):
        pytest.skip("all_errors came with CPython 3.12")
    kwargs = {"all_errors": True} if all_errors else {}

    async def program(loop, seen):
        addresses = {
            "one": [refusing()],
            "same": [refusing()] * 3,
            "different": [refusing(), refusing("127.0.0.2"), refusing("127.0.0.3")],
            "none": [],
        }
        resolving(loop, *addresses[which])
        connecting = loop.create_connection(
            Recorder, "name", 1, happy_eyeballs_delay=delay, **kwargs
        )
        await come_to(loop, seen, connecting)

    ((kind, text, *_),) = on_both(program)
    if which == "none":
        assert text == "getaddrinfo() returned empty list"
    elif all_errors:
        assert kind == "ExceptionGroup"


@pytest.mark.parametrize("interleave", [None, 0, 1, 2, 3])
@pytest.mark.parametrize("delay", [None, 60])
def test_interleave(interleave, delay):
    """In which order addresses are tried."""

    async def program(loop, seen):
        four = [(f"127.0.0.{i}", refusing(f"127.0.0.{i}")[1]) for i in range(1, 5)]
        six = [("::1", 1, 0, 0)] * 2
        resolving(loop, *six, *four)
        sock_connect = loop.sock_connect

        async def noting(sock, address):
            seen.append(address[0])
            await sock_connect(sock, address)

        loop.sock_connect = noting
        connecting = loop.create_connection(
            Recorder, "name", 1, happy_eyeballs_delay=delay, interleave=interleave
        )
        await outcome_of(connecting)

    notes = on_both(program)
    assert len(notes) == 6
    if interleave == 1:
        assert notes[:3] == ["::1", "127.0.0.1", "::1"]


def test_happy_eyeballs():
    """An address that does not answer holds nobody up."""

    async def program(loop, seen):
        with deaf() as silent, listening() as listener:
            resolving(loop, silent, listener.getsockname())
            connecting = loop.create_connection(
                Recorder, "name", 1, happy_eyeballs_delay=0.02
            )
            peer = await come_to(loop, seen, connecting)
            seen.append(peer == listener.getsockname())

    assert on_both(program) == [("connected", "127.0.0.1"), True]


def test_happy_eyeballs_go_on_at_once_when_one_is_refused():
    async def program(loop, seen):
        with listening() as listener:
            resolving(loop, refusing(), listener.getsockname())
            connecting = loop.create_connection(
                Recorder, "name", 1, happy_eyeballs_delay=3600
            )
            await come_to(loop, seen, connecting)

    assert on_both(program) == [("connected", "127.0.0.1")]


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.2", "localhost"])
def test_local_addr(host):
    async def program(loop, seen):
        with listening() as listener:
            transport, protocol = await loop.create_connection(
                Recorder, *listener.getsockname(), local_addr=(host, 0)
            )
            seen.append(transport.get_extra_info("sockname")[0])
            transport.abort()
            await protocol.until("lost")

    assert on_both(program) == ["127.0.0.2" if host == "127.0.0.2" else "127.0.0.1"]


def test_local_addr_in_use():
    async def program(loop, seen):
        with listening() as listener, listening() as other:
            connecting = loop.create_connection(
                Recorder, *listener.getsockname(), local_addr=other.getsockname()
            )
            await come_to(loop, seen, connecting)

    ((kind, text),) = on_both(program)
    assert kind == "OSError"
    assert "address already in use" in text


def test_local_addr_of_another_family():
    async def program(loop, seen):
        with listening() as listener:
            connecting = loop.create_connection(
                Recorder, *listener.getsockname(), local_addr=("::1", 0)
            )
            await come_to(loop, seen, connecting)

    on_both(program)


def test_the_addresses_are_asked_for_as_given():
    async def program(loop, seen):
        async def getaddrinfo(*args, **kwargs):
            seen.append((args, sorted(kwargs.items())))
            raise OSError("asked enough")

        loop.getaddrinfo = getaddrinfo
        for kwargs in (
            {},
            {"family": socket.AF_INET6},
            {"proto": 6, "flags": socket.AI_CANONNAME},
        ):
            connecting = loop.create_connection(Recorder, "name", "http", **kwargs)
            seen.append(await outcome_of(connecting))

    on_both(program)


# Cancelled


@contextlib.contextmanager
def watched_descriptors():
    """Open descriptors whenever asked to; none of them may have been closed, nor have
    become another's, in the end (uvloop #645: closed twice)."""
    opened = []

    def more():
        for _ in range(4):
            fd = os.memfd_create(f"watched-{len(opened)}")
            opened.append((fd, os.fstat(fd).st_ino))

    yield more
    for fd, inode in opened:
        assert os.fstat(fd).st_ino == inode
        os.close(fd)


# A race that is cancelled when it has been won leaves the socket to the collector.
@pytest.mark.filterwarnings("ignore:.*unclosed <socket")
@pytest.mark.parametrize(
    "target", ["good", "deaf", "refusing", "name", "local", "sock"]
)
@pytest.mark.parametrize("delay", [None, 0.01])
def test_cancelled_at_any_time(target, delay):
    async def connect(loop, listener, silent, count, more):
        address = {"deaf": silent, "refusing": refusing()}.get(
            target, listener.getsockname()
        )
        kwargs = {"happy_eyeballs_delay": delay}
        if target == "local":
            kwargs["local_addr"] = ("127.0.0.1", 0)
        if target == "name":
            address = "localhost", address[1]
        if target == "sock":
            sock, peer = socket_pair("unix")
            connecting = loop.create_connection(Recorder, sock=sock)
        else:
            sock = peer = contextlib.nullcontext()
            connecting = loop.create_connection(Recorder, *address, **kwargs)
        with sock, peer:
            task = asyncio.create_task(connecting)
            await turns(count)
            task.cancel()
            more()
            answer = await outcome_of(task)
            more()
            await turns(3)
        if isinstance(answer[0], asyncio.Transport):
            transport, protocol = answer
            transport.abort()
            await protocol.until("lost")
            return "connected"
        assert answer[0] in ("CancelledError", "ConnectionRefusedError")
        return answer[0]

    async def program(loop, seen):
        with listening(backlog=100) as listener, deaf() as silent:
            with watched_descriptors() as more:
                answers = [
                    await connect(loop, listener, silent, count, more)
                    for count in range(12)
                ]
        assert answers[0] == "CancelledError"
        seen.append("CancelledError" in answers)

    for make in (STOCK, EventLoop):
        assert run_on(make, program) == [True]


def test_many_cancelled_at_once():
    async def program(loop, seen):
        with deaf() as silent, watched_descriptors() as more:
            tasks = [
                asyncio.create_task(loop.create_connection(Recorder, *silent))
                for _ in range(50)
            ]
            await turns(5)
            for task in tasks:
                task.cancel()
            more()
            answers = await asyncio.gather(*tasks, return_exceptions=True)
            seen.append({type(answer).__name__ for answer in answers})
            more()
            # As many again, and the descriptors' numbers too.
            for _ in range(3):
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(0.01):
                        await loop.create_connection(Recorder, *silent)
                more()

    assert on_both(program) == [{"CancelledError"}]


def test_the_wait_for_a_connection_times_out():
    async def program(loop, seen):
        with deaf() as silent:
            connecting = loop.create_connection(Recorder, *silent)
            seen.append(await outcome_of(asyncio.wait_for(connecting, 0.02)))

    assert on_both(program) == [("TimeoutError", "")]


def test_the_loop_ends_while_connecting():
    async def program(loop, seen):
        with deaf() as silent:
            task = asyncio.create_task(loop.create_connection(Recorder, *silent))
            await turns(5)
            seen.append(task.done())
            task.cancel()

    assert on_both(program) == [False]


# Sockets that somebody else has accepted


@pytest.mark.parametrize("recorder", [Recorder, BufferedRecorder])
def test_connect_accepted_socket(recorder):
    async def program(loop, seen):
        with listening() as listener, socket.socket() as client:
            client.connect(listener.getsockname())
            client.setblocking(False)
            accepted, _ = listener.accept()
            transport, protocol = await loop.connect_accepted_socket(
                lambda: recorder(seen), accepted
            )
            client.send(b"hello")
            await protocol.until_received(5)
            transport.write(b"answer")
            seen.append(await receive(client, 6))
            peername = transport.get_extra_info("peername")
            seen.append(peername == client.getsockname())
            transport.close()
            await protocol.until("lost")
            await turns(1)
            seen.append(accepted.fileno())

    assert on_both(program) == [
        *[("made",), ("data", b"hello"), b"answer", True, ("lost", None), -1]
    ]


def test_what_connect_accepted_socket_refuses():
    async def program(loop, seen):
        left, right = socket_pair("unix")
        with left, right, socket.socket(type=socket.SOCK_DGRAM) as datagram:
            for args, kwargs in (
                ((), {}),
                ((None,), {}),
                ((datagram,), {}),
                ((5,), {}),
                ((left,), {"ssl_handshake_timeout": 1}),
                ((left,), {"ssl_shutdown_timeout": 1}),
                ((left,), {"nonsense": 1}),
            ):
                try:
                    await loop.connect_accepted_socket(Recorder, *args, **kwargs)
                except Exception as exc:
                    seen.append((type(exc).__name__, normal(str(exc))))

    assert len(on_both(program)) == 7


# Unix sockets


@pytest.mark.parametrize("make_path", [str, os.fsencode, lambda path: path])
def test_unix_connection(tmp_path, make_path):
    async def program(loop, seen):
        path = tmp_path / "socket"
        path.unlink(missing_ok=True)
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(path))
            listener.listen()
            transport, protocol = await loop.create_unix_connection(
                lambda: Recorder(seen), make_path(path)
            )
            with accept(listener) as peer:
                transport.write(b"hello")
                seen.append(await receive(peer, 5))
                seen.append(transport.get_extra_info("peername") == str(path))
                seen.append(transport.get_extra_info("sockname"))
            await protocol.until("lost")

    assert on_both(program) == [
        *[("made",), b"hello", True, "", ("eof",), ("lost", None)]
    ]


@pytest.mark.parametrize("as_bytes", [False, True])
def test_abstract_names(as_bytes):
    async def program(loop, seen):
        name = f"\0trio-asyncio-c-connect-{os.getpid()}"
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(name)
            listener.listen()
            transport, protocol = await loop.create_unix_connection(
                Recorder, name.encode() if as_bytes else name
            )
            with accept(listener) as peer:
                transport.write(b"hello")
                transport.close()
                seen.append(await receive_all(peer))
            seen.append(transport.get_extra_info("peername") == name.encode())
            await protocol.until("lost")

    assert on_both(program) == [b"hello", True]


def test_what_create_unix_connection_refuses(tmp_path):
    async def program(loop, seen):
        path = tmp_path / "file"
        path.write_text("no socket")
        left, right = socket_pair("unix")
        with left, right, socket.socket() as tcp, socket.socket(1, 2) as datagram:
            for args, kwargs in (
                ((), {}),
                ((path,), {"sock": left}),
                ((path,), {}),
                ((tmp_path / "missing",), {}),
                (("/tmp/" + "x" * 200,), {}),
                ((5,), {}),
                ((), {"sock": datagram}),
                ((), {"sock": tcp}),
                ((path,), {"ssl": True}),
                ((path,), {"server_hostname": "x"}),
                ((path,), {"ssl_handshake_timeout": 1}),
                ((path,), {"ssl_shutdown_timeout": 1}),
                ((path,), {"nonsense": 1}),
            ):
                try:
                    await loop.create_unix_connection(Recorder, *args, **kwargs)
                except Exception as exc:
                    seen.append((type(exc).__name__, normal(str(exc))))

    assert len(on_both(program)) == 13


def test_a_unix_socket_that_is_given():
    async def program(loop, seen):
        left, peer = socket_pair("unix")
        with peer:
            transport, protocol = await loop.create_unix_connection(Recorder, sock=left)
            transport.write(b"hello")
            transport.close()
            seen.append(await receive_all(peer))
            await protocol.until("lost")

    assert on_both(program) == [b"hello"]


@pytest.mark.parametrize("count", range(4))
def test_unix_connections_cancelled(tmp_path, count):
    path = tmp_path / "socket"

    async def program(loop, seen):
        path.unlink(missing_ok=True)
        with socket.socket(socket.AF_UNIX) as listener, watched_descriptors() as more:
            listener.bind(str(path))
            listener.listen()
            task = asyncio.create_task(loop.create_unix_connection(Recorder, path))
            await turns(count)
            task.cancel()
            more()
            answer = await outcome_of(task)
            if isinstance(answer[0], asyncio.Transport):
                answer[0].abort()
            else:
                seen.append(answer)
            await turns(3)

    assert on_both(program) in ([], [("CancelledError", "")])


# The protocol in between


def test_many_connections():
    async def program(loop, seen):
        with listening(backlog=200) as listener:
            made = await asyncio.gather(
                *[
                    loop.create_connection(Recorder, *listener.getsockname())
                    for _ in range(100)
                ]
            )
            peers = [accept(listener) for _ in made]
            for transport, _ in made:
                transport.write(b"hello")
            for peer in peers:
                seen.append(await receive(peer, 5))
                peer.close()
            for _, protocol in made:
                await protocol.until("lost")

    assert on_both(program) == [b"hello"] * 100


def test_the_peer_closes_before_connection_made():
    async def program(loop, seen):
        with listening() as listener:
            sock = socket.create_connection(listener.getsockname())
            with accept(listener) as peer:
                peer.send(b"all of it")
            transport, protocol = await loop.create_connection(
                lambda: Recorder(seen), sock=sock
            )
            await protocol.until("lost")

    assert on_both(program) == [
        *[("made",), ("data", b"all of it"), ("eof",), ("lost", None)]
    ]


def test_cancelled_right_after_the_connection():
    """The transport is nobody's, and is closed."""

    async def program(loop, seen):
        made = []

        def new():
            made.append(Recorder())
            return made[-1]

        left, peer = socket_pair("unix")
        with peer:
            task = asyncio.create_task(loop.create_connection(new, sock=left))
            while not made:
                await turns(1)
            task.cancel()
            seen.append(await outcome_of(task))
            await turns(3)
            seen.append(made[0].names)
            seen.append(await receive_all(peer))

    notes = on_both(program)
    assert notes == [("CancelledError", ""), ["made", "lost"], b""]


def test_a_closed_loop():
    for make in (STOCK, EventLoop):
        loop = make()
        loop.close()
        connecting = loop.create_connection(Recorder, "127.0.0.1", 1)
        with pytest.raises(RuntimeError):
            loop.run_until_complete(connecting)
        connecting.close()


@pytest.mark.parametrize("delay", [None, 0.01])
def test_connected_leaves_nothing_else(delay):
    async def program(loop, seen):
        async with connected(Recorder, "tcp") as (transport, _, _):
            seen.append(transport.is_closing())
        with listening() as listener:
            resolving(loop, refusing(), listener.getsockname(), listener.getsockname())
            for _ in range(3):
                connecting = loop.create_connection(
                    Recorder, "name", 1, happy_eyeballs_delay=delay
                )
                await come_to(loop, seen, connecting)
        seen.append(len(asyncio.all_tasks()))

    notes = on_both(program)
    assert notes[0] is False
    assert notes[-1] <= 2
