"""Stream transports: how they end, and what they say of themselves."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import socket
import warnings
import weakref

import pytest

from trio_asyncio_c import EventLoop

from ._helpers import (
    KINDS,
    LARGE,
    STOCK,
    BufferedRecorder,
    Recorder,
    connected,
    fill,
    need_own,
    normal,
    on_both,
    on_ours,
    outcome,
    outcome_of,
    receive,
    receive_all,
    reset,
    run_on,
    socket_pair,
    tcp_pair,
    turns,
    until,
)

RECORDERS = [Recorder, BufferedRecorder]


# close() and abort()


@pytest.mark.parametrize("how", ["close", "abort"])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("recorder", RECORDERS)
def test_connection_lost_comes_later_and_once(recorder, kind, how):
    async def program(loop, seen):
        async with connected(lambda: recorder(seen), kind) as (transport, _, peer):
            for _ in range(3):
                seen.append(getattr(transport, how)())
                seen.append(transport.is_closing())
            await turns(1)
            seen.append("a turn later")
            transport.close()
            seen.append(await receive_all(peer))

    assert on_both(program) == [
        *[("made",), None, True, None, True, None, True],
        *[("lost", None), "a turn later", b""],
    ]


@pytest.mark.parametrize("how", ["close", "abort"])
@pytest.mark.parametrize("name", ["made", "data", "eof", "lost", "pause"])
@pytest.mark.parametrize("recorder", RECORDERS)
def test_ending_in_a_callback(recorder, name, how):
    """As uvloop #706 crashed."""

    async def program(loop, seen):
        def end(protocol):
            getattr(protocol.transport, how)()
            seen.append(protocol.transport.is_closing())
            return True

        protocol = recorder(seen, {name: end})
        left, peer = socket_pair("unix")
        with peer:
            if name != "pause":
                peer.send(b"data")
                peer.shutdown(socket.SHUT_WR)
            transport, _ = await loop.create_connection(lambda: protocol, sock=left)
            if name == "pause":
                transport.pause_reading()
                transport.write(bytes(LARGE))
            if name == "pause" and how == "close":
                await receive_all(peer)
            await protocol.until("lost")
            await turns(3)
            seen.append(protocol.names.count("lost"))

    if name == "lost" and how == "abort":
        # asyncio's abort() fails once it is closed in full, and not before.
        assert on_both(program)[-2:] == [True, 1]
    else:
        on_both(program)


@pytest.mark.parametrize("how", ["close", "abort"])
def test_ending_when_it_has_ended(how):
    async def program(loop, seen):
        async with connected(Recorder) as (transport, _, peer):
            transport.close()
            await turns(3)
            seen.append(outcome(getattr(transport, how)))
            seen.append(outcome(transport.is_closing))

    assert on_both(program) == [None, True]


@pytest.mark.parametrize("kind", KINDS)
def test_close_sends_everything_first(kind):
    message = os.urandom(LARGE // 4)

    async def program(loop, seen):
        protocol = Recorder(seen)
        async with connected(lambda: protocol, kind) as (transport, _, peer):
            data = await fill(transport)
            transport.write(message)
            transport.close()
            seen.append((transport.is_closing(), transport.is_reading()))
            received = await receive(peer, len(data) + len(message))
            await protocol.until("lost")
            seen.append(received == data + message)

    notes = on_both(program)
    assert [note for note in notes if note != ("resume",)] == [
        *[("made",), ("pause",), (True, False), ("lost", None), True],
    ]


def test_connection_lost_after_the_last_byte():
    async def program(loop, seen):
        protocol = Recorder()
        async with connected(lambda: protocol) as (transport, _, peer):
            data = await fill(transport)
            transport.close()
            await turns(20)
            seen.append("lost" in protocol.names)
            await receive(peer, len(data))
            await protocol.until("lost")
            seen.append("lost")
            seen.append(await receive_all(peer))

    assert on_both(program) == [False, "lost", b""]


@pytest.mark.parametrize("closing", [False, True])
def test_abort_drops_what_was_not_sent(closing):
    async def program(loop, seen):
        protocol = Recorder(seen)
        async with connected(lambda: protocol) as (transport, _, peer):
            transport.write(bytes(LARGE))
            if closing:
                transport.close()
            transport.abort()
            seen.append(transport.get_write_buffer_size())
            seen.append("aborted")
            await protocol.until("lost")
            seen.append(0 < len(await receive_all(peer)) < LARGE)

    assert on_both(program) == [
        *[("made",), ("pause",), 0, "aborted", ("lost", None), True],
    ]


def test_abort_sends_what_fits_all_the_same():
    """What asyncio has sent within write() is not taken back by abort()."""

    async def program(loop, seen):
        async with connected(Recorder) as (transport, _, peer):
            transport.write(b"small")
            transport.abort()
            seen.append(await receive_all(peer))

    assert on_both(program) == [b"small"]


def test_close_ends_reading_at_once():
    async def program(loop, seen):
        async with connected(lambda: Recorder(seen)) as (transport, _, peer):
            peer.send(b"in the socket")
            transport.close()
            await turns(5)

    assert on_both(program) == [("made",), ("lost", None)]


def test_a_peer_that_goes_on_sending_does_not_delay_close():
    async def program(loop, seen):
        protocol = Recorder(seen)
        async with connected(lambda: protocol, "tcp") as (transport, _, peer):
            sending = asyncio.create_task(loop.sock_sendall(peer, bytes(LARGE)))
            await turns(3)
            transport.close()
            await protocol.until("lost")
            (answer,) = await asyncio.gather(sending, return_exceptions=True)
            seen.append(isinstance(answer, ConnectionError))

    notes = on_both(program)
    assert notes[-2:] == [("lost", None), True]


@pytest.mark.parametrize("end", ["close", "reset"])
def test_writing_to_a_peer_that_is_gone(end):
    async def program(loop, seen):
        protocol = Recorder()
        async with connected(lambda: protocol, "tcp") as (transport, _, peer):
            transport.pause_reading()
            if end == "reset":
                reset(peer)
            else:
                peer.send(b"unread")
                peer.close()
            while not transport.is_closing():
                transport.write(b"#")
                await turns(1)
            await protocol.until("lost")
            seen.append(isinstance(protocol.exc, ConnectionError))
            seen.append(protocol.names)

    assert on_both(program) == [True, ["made", "lost"]]


def test_a_peer_that_goes_while_there_is_something_to_send():
    async def program(loop, seen):
        protocol = Recorder(on={"eof": lambda protocol: True})
        async with connected(lambda: protocol) as (transport, _, peer):
            transport.write(bytes(LARGE))
            peer.close()
            await protocol.until("lost")
            seen.append(isinstance(protocol.exc, ConnectionError))
            seen.append(transport.get_write_buffer_size())

    assert on_both(program) == [True, 0]


def test_warnings_of_writing_to_what_is_gone(caplog):
    """The first writes are let pass: a protocol may not know yet."""
    answers = []

    async def program(loop, seen):
        async with connected(Recorder) as (transport, _, peer):
            transport.abort()
            for i in range(8):
                transport.write(b"data")
                transport.write(b"")
                seen.append(len(caplog.records))
            await turns(3)
            transport.write(b"data")
            seen.append(len(caplog.records))
            seen.append(outcome(transport.write, "text"))
            seen.append(transport.get_write_buffer_size())

    caplog.set_level(logging.WARNING, "asyncio")
    for make in (STOCK, EventLoop):
        caplog.clear()
        seen = run_on(make, program)
        told = [(r.name, r.levelname, r.getMessage()) for r in caplog.records]
        answers.append((seen, told))
    stock, ours = answers
    assert ours == stock
    assert set(stock[1]) == {("asyncio", "WARNING", "socket.send() raised exception.")}


@pytest.mark.parametrize("busy", [False, True])
def test_writing_after_close(busy):
    async def program(loop, seen):
        async with connected(Recorder) as (transport, protocol, peer):
            data = await fill(transport) if busy else b""
            transport.close()
            seen.append(outcome(transport.write, b"more"))
            seen.append(transport.get_write_buffer_size() > 0)
            received = await receive_all(peer)
            seen.append(received == data + (b"more" if busy else b""))
            await protocol.until("lost")

    assert on_both(program) == [None, busy, True]


def test_writelines_after_close():
    async def program(loop, seen):
        async with connected(Recorder) as (transport, protocol, peer):
            need_own(transport)
            transport.close()
            for _ in range(3):
                seen.append(outcome(transport.writelines, [b"more", b"and more"]))
            seen.append(transport.get_write_buffer_size())
            seen.append(await receive_all(peer))
            await protocol.until("lost")
            seen.append(outcome(transport.writelines, [b"more"]))

    assert on_ours(program, "TypeError, or sent") == [None, None, None, 0, b"", None]


@pytest.mark.parametrize("how", ["close", "abort"])
def test_all_methods_after_the_end(how):
    async def program(loop, seen):
        async with connected(Recorder) as (transport, protocol, peer):
            getattr(transport, how)()
            await protocol.until("lost")
            await turns(1)
            for call in (
                transport.is_closing,
                transport.is_reading,
                transport.pause_reading,
                transport.resume_reading,
                transport.get_write_buffer_size,
                transport.get_write_buffer_limits,
                transport.can_write_eof,
                transport.write_eof,
                transport.get_protocol,
                transport.close,
                transport.abort,
                lambda: transport.write(b"data"),
                lambda: transport.get_extra_info("peername"),
                lambda: transport.get_extra_info("socket").fileno(),
                lambda: normal(repr(transport)),
            ):
                seen.append(outcome(call))

    on_both(program)


@pytest.mark.parametrize("how", ["close", "abort"])
def test_the_loop_is_closed_before_connection_lost(how):
    """Nothing is left open, and nobody is told."""
    for make in (STOCK, EventLoop):
        loop = make()
        protocol = Recorder()
        left, right = socket_pair("unix")
        with right:
            transport, _ = loop.run_until_complete(
                loop.create_connection(lambda: protocol, sock=left)
            )
            getattr(transport, how)()
            loop.close()
            with pytest.warns(ResourceWarning, match="unclosed transport"):
                protocol.transport = transport = None
                gc.collect()
            assert right.recv(1) == b""
        assert protocol.names == ["made"]


@pytest.mark.parametrize("call", ["close", "abort", "write", "write_eof"])
def test_calls_when_the_loop_is_closed(call):
    answers = []
    for make in (STOCK, EventLoop):
        loop = make()
        left, right = socket_pair("unix")
        with right:
            transport, _ = loop.run_until_complete(
                loop.create_connection(Recorder, sock=left)
            )
            loop.close()
            method = getattr(transport, call)
            answers.append(
                outcome(method, b"data") if call == "write" else outcome(method)
            )
            answers.append(outcome(right.recv, 10))
            with pytest.warns(ResourceWarning, match="unclosed transport"):
                transport.get_protocol().transport = transport = method = None
                gc.collect()
    assert answers[:2] == answers[2:]


# Left behind


@pytest.mark.parametrize("make", [STOCK, EventLoop])
@pytest.mark.parametrize("recorder", RECORDERS)
def test_an_unclosed_transport_warns_and_closes(make, recorder):
    gc.collect()
    loop = make()
    left, right = socket_pair("unix")
    transport, protocol = loop.run_until_complete(
        loop.create_connection(recorder, sock=left)
    )
    text = normal(repr(transport))
    assert "read=polling" in text
    transport.pause_reading()  # nothing of the loop's holds it then
    protocol.transport = None
    references = weakref.ref(transport), weakref.ref(protocol)
    del left
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        del transport, protocol
        gc.collect()
    # The collector may come to the socket first, which then warns for itself.
    (warning,) = [w for w in caught if "unclosed transport" in str(w.message)]
    assert warning.category is ResourceWarning
    assert normal(str(warning.message)) == "unclosed transport " + text.replace(
        "read=polling", "read=idle"
    )
    del warning  # which knows the transport
    caught.clear()
    gc.collect()
    assert [reference() for reference in references] == [None, None]
    assert right.recv(1) == b""
    right.close()
    loop.close()


@pytest.mark.parametrize("make", [STOCK, EventLoop])
def test_an_abandoned_cycle_is_collected(make):
    gc.collect()
    loop = make()

    async def main():
        references = []
        for _ in range(20):
            left, right = socket_pair("unix")
            with right:
                transport, protocol = await loop.create_connection(Recorder, sock=left)
                transport.mine = protocol.mine = [transport, protocol]
                transport.pause_reading()
                references += weakref.ref(transport), weakref.ref(protocol)
        del transport, protocol, left
        await turns(2)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            gc.collect()
        told = [w for w in caught if "unclosed transport" in str(w.message)]
        assert len(told) == 20
        del told  # the warnings know the transports
        caught.clear()
        gc.collect()
        assert not any(reference() for reference in references)

    loop.run_until_complete(main())
    loop.close()


@pytest.mark.parametrize("make", [STOCK, EventLoop])
def test_a_transport_that_reads_is_kept_by_its_loop(make):
    async def program(loop, seen):
        left, peer = socket_pair("unix")
        _, protocol = await loop.create_connection(Recorder, sock=left)
        protocol.transport = None
        reference = weakref.ref(protocol)
        del protocol, left, _
        gc.collect()
        peer.send(b"data")
        await until(lambda: reference().received == b"data")
        seen.append(reference().names[:])
        peer.close()
        await until(lambda: reference() is None)

    assert run_on(make, program) == [["made", "data"]]


# What it says of itself


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("state", ["open", "closing", "closed"])
def test_extra_info(kind, state):
    async def program(loop, seen):
        left, peer = socket_pair(kind)
        if kind == "unix":
            names = left.getpeername(), left.getsockname()
        else:
            names = peer.getsockname(), left.getsockname()
        transport, protocol = await loop.create_connection(Recorder, sock=left)
        if state != "open":
            transport.close()
        if state == "closed":
            await protocol.until("lost")
            await turns(1)
        get = transport.get_extra_info
        assert (get("peername"), get("sockname")) == names
        sock = get("socket")
        seen.append((type(sock).__module__, type(sock).__name__))
        seen.append(sock is get("socket", "default"))
        seen.append((sock.family, sock.type, sock.proto))
        seen.append(sock.fileno() == -1)
        seen.append(outcome(sock.getsockopt, socket.SOL_SOCKET, socket.SO_TYPE))
        seen.append(sock.gettimeout())
        # There are no more.
        for name in (
            "nonsense",
            "sslcontext",
            "cipher",
            "peercert",
            "pipe",
            "",
            None,
            5,
        ):
            seen.append(get(name))
            seen.append(get(name, "default"))
        seen.append(outcome(get))
        seen.append(outcome(get, []))
        transport.close()
        await turns(2)
        peer.close()

    on_both(program)


@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6])
def test_names_of_tcp_sockets(family):
    async def program(loop, seen):
        left, peer = tcp_pair(family)
        with peer:
            transport, _ = await loop.create_connection(Recorder, sock=left)
            names = [transport.get_extra_info(n) for n in ("sockname", "peername")]
            seen.append(names == [peer.getpeername(), peer.getsockname()])
            transport.close()
            await turns(2)

    assert on_both(program) == [True]


def test_a_peer_that_is_gone_has_no_name():
    async def program(loop, seen):
        left, peer = tcp_pair()
        left.setblocking(False)
        reset(peer)
        transport, protocol = await loop.create_connection(
            lambda: Recorder(), sock=left
        )
        await protocol.until("lost")
        seen.append(transport.get_extra_info("peername", "default"))

    assert on_both(program) == [None]


def test_the_socket_is_only_looked_at():
    """A TransportSocket gives neither reading nor writing."""

    async def program(loop, seen):
        async with connected(Recorder, "tcp") as (transport, _, peer):
            sock = transport.get_extra_info("socket")
            for name in ("recv", "send", "close", "detach", "accept", "connect"):
                seen.append(hasattr(sock, name))
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            seen.append(sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE))
            seen.append(outcome(sock.setblocking, True))
            seen.append(outcome(sock.settimeout, 1))
            seen.append(outcome(sock.settimeout, 0))
            with socket.socket(fileno=os.dup(sock.fileno())) as copy:
                seen.append(copy.getpeername() == sock.getpeername())
            seen.append(normal(repr(sock))[:25])
            sock.shutdown(socket.SHUT_WR)
            seen.append(await receive_all(peer))

    on_both(program)


@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6])
def test_no_delay(family):
    async def program(loop, seen):
        left, peer = tcp_pair(family)
        with peer:
            seen.append(left.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))
            transport, _ = await loop.create_connection(Recorder, sock=left)
            sock = transport.get_extra_info("socket")
            seen.append(bool(sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)))
            transport.close()
            await turns(2)

    assert on_both(program)[-1] is True


def test_no_delay_where_the_protocol_number_is_left_out():
    """uvicorn #3149: as the sockets are that a listener with proto=0 accepts."""

    async def program(loop, seen):
        left, peer = tcp_pair()
        left = socket.socket(left.family, left.type, 0, fileno=left.detach())
        with peer:
            transport, _ = await loop.create_connection(Recorder, sock=left)
            sock = transport.get_extra_info("socket")
            try:
                need_own(transport)
                no_delay = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
                seen.append(bool(no_delay))
            finally:
                transport.close()
                await turns(2)

    assert on_ours(program, "the protocol's number decides") == [True]


def test_reprs():
    async def program(loop, seen):
        def note():
            seen.append(normal(repr(transport)))

        async with connected(Recorder) as (transport, protocol, peer):
            note()
            transport.pause_reading()
            note()
            transport.resume_reading()
            note()
            await fill(transport)
            seen.append(
                repr(transport).endswith(
                    f"write=<polling, bufsize={transport.get_write_buffer_size()}>>"
                )
            )
            transport.abort()
            note()
            await protocol.until("lost")
            await turns(1)
            note()

    assert on_both(program)[-1] == "<Transport closed fd=>"


def test_classes():
    async def program(loop, seen):
        async with connected(Recorder) as (transport, _, _):
            for kind in (
                asyncio.Transport,
                asyncio.BaseTransport,
                asyncio.ReadTransport,
                asyncio.WriteTransport,
                asyncio.DatagramTransport,
                asyncio.SubprocessTransport,
            ):
                seen.append(isinstance(transport, kind))

    assert on_both(program) == [True, True, True, True, False, False]


def test_own_attributes_and_weak_references():
    async def program(loop, seen):
        async with connected(Recorder) as (transport, _, _):
            transport.own = 5
            seen.append((transport.own, transport.__dict__["own"]))
            del transport.own
            seen.append(outcome(getattr, transport, "own", "gone"))
            seen.append(weakref.ref(transport)() is transport)
            seen.append(hash(transport) == hash(transport))
            seen.append({transport: 1}[transport])
            seen.append(transport == transport)

    assert on_both(program) == [(5, 5), "gone", True, True, 1, True]


def test_the_loop_knows_its_transports():
    async def program(loop, seen):
        async with connected(Recorder) as (transport, protocol, _):
            fd = transport.get_extra_info("socket").fileno()
            seen.append(loop._transports[fd] is transport)
            for name in ("reader", "writer"):
                seen.append(
                    normal(str(outcome(getattr(loop, f"add_{name}"), fd, print)))
                )
                seen.append(normal(str(outcome(getattr(loop, f"remove_{name}"), fd))))
            with socket.socket(fileno=os.dup(fd)) as copy:
                copy.setblocking(False)
                # Another descriptor of the same socket is nobody's.
                loop.add_reader(copy.fileno(), print)
                seen.append(loop.remove_reader(copy.fileno()))
            transport.close()
            seen.append(outcome(loop.add_reader, fd, print) is None)
            await protocol.until("lost")
            await turns(1)
        with socket.socket() as other:
            # Its number may be that of the closed one.
            loop.add_reader(other.fileno(), print)
            seen.append(loop.remove_reader(other.fileno()))

    notes = on_both(program)
    assert "is used by transport" in notes[1]


@pytest.mark.parametrize("method", ["sock_recv", "sock_sendall"])
def test_a_transports_socket_is_not_for_others(method):
    async def program(loop, seen):
        left, peer = socket_pair("unix")
        with peer:
            transport, _ = await loop.create_connection(Recorder, sock=left)
            arguments = {"sock_recv": (1,), "sock_sendall": (b"x" * LARGE,)}
            seen.append(
                await outcome_of(getattr(loop, method)(left, *arguments[method]))
            )
            transport.abort()
            await turns(2)

    on_both(program)


@pytest.mark.parametrize("recorder", RECORDERS)
def test_debug_mode(recorder, caplog):
    """The same, and what happens is logged."""
    message = os.urandom(1 << 20)

    async def program(loop, seen):
        protocol = recorder(seen)
        async with connected(lambda: protocol) as (transport, _, peer):
            peer.send(b"data")
            await protocol.until_received(4)
            transport.pause_reading()
            transport.resume_reading()
            transport.write(message)
            assert await receive(peer, len(message)) == message
            peer.close()
            await protocol.until("lost")

    caplog.set_level(logging.DEBUG, "asyncio")
    answers = []
    for make in (STOCK, EventLoop):
        caplog.clear()
        run_on(make, program, debug=True)
        answers.append(
            [
                normal(record.getMessage()).split(" ", 1)[1]
                for record in caplog.records
                if "Transport" in record.getMessage()
            ]
        )
        caplog.clear()
    stock, ours = answers
    assert ours == stock
    assert any(text.endswith("pauses reading") for text in stock)


def test_fatal_errors_of_the_peer_are_told_in_debug_mode_only(caplog):
    async def program(loop, seen):
        async with connected(lambda: Recorder(seen), "tcp") as (transport, p, peer):
            reset(peer)
            await p.until("lost")

    caplog.set_level(logging.DEBUG, "asyncio")
    for debug in (False, True):
        caplog.clear()
        on_both(program, debug=debug)
        texts = [r.getMessage() for r in caplog.records]
        told = [t for t in texts if "Fatal read error on socket transport" in t]
        assert len(told) == 2 * debug
    caplog.clear()
