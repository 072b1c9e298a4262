"""loop.sendfile() and loop.sock_sendfile(), by the kernel and by hand."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import io
import os
import socket

import pytest

from ._helpers import (
    LARGE,
    Recorder,
    connected,
    described,
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
    shrink,
    socket_pair,
    turns,
)

# As much as the kernel takes at once: what it does not, asyncio's own transports keep in
# a buffer that sending by hand fills again.
SIZE = 100_000
CONTENT = os.urandom(SIZE)

HOW = ["kernel", "by hand", "refused by the kernel"]


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(CONTENT)
    return path


@contextlib.contextmanager
def opened(path, how):
    """Open a file so that it is sent in this way."""
    if how == "by hand":
        # It has no descriptor.
        yield io.BytesIO(path.read_bytes())
        return
    with open(path, "rb") as file:
        if how == "kernel":
            yield file
            return
        with pytest.MonkeyPatch.context() as patch:

            def refuse(*args):
                raise OSError(errno.EINVAL, "not for this kind")

            patch.setattr(os, "sendfile", refuse)
            yield file


RANGES = [
    (0, None),
    (0, SIZE),
    (0, 1000),
    (1000, None),
    (1000, 1000),
    (SIZE - 1, None),
    (SIZE, None),
    (SIZE + 10, None),
    (0, SIZE + 10),
    (SIZE - 10, 100),
]


def expected(offset, count):
    return CONTENT[offset:] if count is None else CONTENT[offset : offset + count]


# Over transports


@pytest.mark.parametrize("how", HOW)
@pytest.mark.parametrize(("offset", "count"), RANGES)
def test_sendfile(path, how, offset, count):
    async def program(loop, seen):
        async with connected(Recorder, "tcp") as (transport, _, peer):
            with opened(path, how) as file:
                data = expected(offset, count)
                receiving = asyncio.create_task(receive(peer, len(data) + 6))
                transport.write(b"before")
                sent = await loop.sendfile(transport, file, offset, count)
                seen.append(sent == len(data))
                seen.append(file.tell())
                seen.append(await receiving == b"before" + data)

    sent, tell, arrived = on_both(program)
    assert sent is arrived is True


@pytest.mark.parametrize("how", HOW)
def test_the_transport_goes_on(path, how):
    async def program(loop, seen):
        async with connected(Recorder, "tcp") as (transport, protocol, peer):
            receiving = asyncio.create_task(receive_all(peer))
            with opened(path, how) as file:
                for i in range(3):
                    transport.write(b"%d" % i)
                    file.seek(0)
                    await loop.sendfile(transport, file)
                    transport.writelines([b"=", b"%d" % i])
            seen.append((transport.is_closing(), transport.is_reading()))
            peer.send(b"data")
            await protocol.until_received(4)
            transport.close()
            parts = [b"%d" % i + CONTENT + b"=%d" % i for i in range(3)]
            seen.append(await receiving == b"".join(parts))
            seen.append(protocol.names.count("data"))

    assert on_both(program) == [(False, True), True, 1]


@pytest.mark.parametrize("how", HOW)
def test_from_where_the_file_is(path, how):
    """An offset of 0 says nothing when it is read by hand."""

    async def program(loop, seen):
        async with connected(Recorder) as (transport, _, peer):
            with opened(path, how) as file:
                file.read(SIZE - 10)
                sending = loop.sendfile(transport, file, 0, 5)
                seen.append(await sending)
                seen.append(await receive(peer, 5) == CONTENT[-10:-5])
                seen.append(file.tell())

    on_both(program)


@pytest.mark.parametrize("how", HOW)
def test_what_was_written_before_is_sent_before(path, how):
    path.write_bytes(large := 5 * CONTENT)

    async def program(loop, seen):
        async with connected(Recorder) as (transport, _, peer):
            if how != "kernel":
                need_own(transport)
            data = await fill(transport)
            with opened(path, how) as file:
                sending = asyncio.create_task(loop.sendfile(transport, file))
                await turns(3)
                seen.append(sending.done())
                received = await receive(peer, len(data) + len(large))
                seen.append(received == data + large)
                seen.append(await sending)

    if how == "kernel":
        assert on_both(program) == [False, True, len(large)]
    else:
        why = "what waits is overwritten"
        assert on_ours(program, why) == [False, True, len(large)]


def test_nothing_else_can_be_written_meanwhile(path):
    async def program(loop, seen):
        async with connected(Recorder, small=True) as (transport, _, peer):
            with opened(path, "kernel") as file:
                sending = asyncio.create_task(loop.sendfile(transport, file))
                await turns(3)
                seen.append(sending.done())
                seen.append(outcome(transport.write, b"more"))
                seen.append(outcome(transport.writelines, [b"more"]))
                seen.append(await receive(peer, SIZE) == CONTENT)
                seen.append(await sending)
                transport.write(b"again")
                seen.append(await receive(peer, 5))

    notes = on_both(program)
    assert notes[0] is False
    assert notes[-3:] == [True, SIZE, b"again"]


@pytest.mark.parametrize("how", HOW)
def test_reading_is_paused_meanwhile(path, how):
    async def program(loop, seen):
        protocol = Recorder()
        async with connected(lambda: protocol, small=True) as (transport, _, peer):
            with opened(path, how) as file:
                sending = asyncio.create_task(loop.sendfile(transport, file))
                await turns(3)
                peer.send(b"data")
                await turns(5)
                seen.append(transport.is_reading())
                seen.append(protocol.names)
                seen.append(len(await receive(peer, SIZE)))
                await sending
                await protocol.until_received(4)
                seen.append(transport.is_reading())
                seen.append(transport.get_protocol() is protocol)

    on_both(program)


@pytest.mark.parametrize("how", HOW)
@pytest.mark.parametrize("end", ["close", "reset"])
def test_the_peer_goes(path, how, end):
    path.write_bytes(bytes(LARGE))

    async def program(loop, seen):
        async with connected(Recorder, "tcp") as (transport, protocol, peer):
            with opened(path, how) as file:
                sending = asyncio.create_task(loop.sendfile(transport, file))
                await receive(peer, 1000)
                if end == "reset":
                    reset(peer)
                else:
                    peer.close()
                answer = await outcome_of(sending)
                seen.append(answer[0].endswith("Error"))
                if not transport.is_closing():
                    transport.abort()
                await protocol.until("lost")
                seen.append(protocol.names[-1])

    assert on_both(program) == [True, "lost"]


@pytest.mark.parametrize("how", HOW)
def test_cancelled(path, how):
    path.write_bytes(bytes(LARGE))

    async def program(loop, seen):
        async with connected(Recorder, small=True) as (transport, protocol, peer):
            with opened(path, how) as file:
                sending = asyncio.create_task(loop.sendfile(transport, file))
                await receive(peer, 1000)
                sending.cancel()
                seen.append((await outcome_of(sending))[0])
                seen.append(transport.is_closing())
                seen.append(transport.is_reading())

    on_both(program)


async def abort_while_sending(path, how, seen, check):
    loop = asyncio.get_running_loop()
    async with connected(Recorder, small=True) as (transport, protocol, peer):
        check(transport)
        with opened(path, how) as file:
            sending = asyncio.create_task(loop.sendfile(transport, file))
            await receive(peer, 1000)
            transport.abort()
            await asyncio.wait([sending])
            seen.append(isinstance(sending.exception(), OSError))
        await protocol.until("lost")


@pytest.mark.parametrize("how", HOW[1:])
def test_aborted(path, how):
    path.write_bytes(bytes(LARGE))

    async def program(loop, seen):
        await abort_while_sending(path, how, seen, lambda transport: None)

    assert on_both(program) == [True]


def test_aborted_while_the_kernel_sends(path):
    path.write_bytes(bytes(LARGE))

    async def program(loop, seen):
        await abort_while_sending(path, "kernel", seen, need_own)

    assert on_ours(program, "sendfile() never ends") == [True]


@pytest.mark.parametrize("how", ["kernel", "by hand"])
def test_arguments_that_are_refused(path, how):
    async def program(loop, seen):
        async with connected(Recorder) as (transport, _, peer):
            with opened(path, how) as file:
                for args, kwargs in (
                    ((file, -1), {}),
                    ((file, 0, -1), {}),
                    ((file, 0, 0), {}),
                    ((file, "x"), {}),
                    ((file, 1.5), {}),
                    ((file, 0, "x"), {}),
                    ((file, 0, 1.5), {}),
                    ((file, None), {}),
                    ((None,), {}),
                    ((5,), {}),
                    ((), {}),
                    ((file,), {"nonsense": 1}),
                    ((io.StringIO("text"),), {}),
                ):
                    try:
                        answer = await loop.sendfile(transport, *args, **kwargs)
                    except Exception as exc:
                        answer = type(exc).__name__, normal(str(exc))
                    seen.append(answer)
                with open(path) as text:
                    seen.append(await outcome_of(loop.sendfile(transport, text)))

    on_both(program)


@pytest.mark.parametrize("state", ["closing", "closed", "eof"])
def test_transports_that_are_closing(path, state):
    async def program(loop, seen):
        async with connected(Recorder) as (transport, protocol, _):
            if state == "eof":
                transport.write_eof()
            else:
                transport.close()
            if state == "closed":
                await protocol.until("lost")
            with open(path, "rb") as file:
                answer = await outcome_of(loop.sendfile(transport, file))
                seen.append(answer)

    on_both(program)


def test_transports_that_cannot(path):
    async def program(loop, seen):
        read, write = os.pipe()
        transport, protocol = await loop.connect_write_pipe(
            Recorder, open(write, "wb", 0)
        )
        with open(path, "rb") as file:
            seen.append(await outcome_of(loop.sendfile(transport, file)))
            for nothing in (None, 5, object()):
                answer = await outcome_of(loop.sendfile(nothing, file))
                seen.append(answer)
        transport.close()
        os.close(read)
        await protocol.until("lost")

    notes = on_both(program)
    assert notes[0][0] == "RuntimeError"


@pytest.mark.parametrize("how", ["by hand", "refused by the kernel"])
def test_without_the_fallback(path, how):
    async def program(loop, seen):
        async with connected(Recorder) as (transport, _, peer):
            with opened(path, how) as file:
                sending = loop.sendfile(transport, file, fallback=False)
                seen.append(await outcome_of(sending))
            transport.write(b"goes on")
            seen.append(await receive(peer, 7))

    refused, arrived = on_both(program)
    assert refused[0] == "SendfileNotAvailableError"
    assert arrived == b"goes on"


@pytest.mark.parametrize("how", HOW)
def test_debug_mode(path, how):
    async def program(loop, seen):
        async with connected(Recorder, "tcp") as (transport, _, peer):
            receiving = asyncio.create_task(receive(peer, SIZE))
            with opened(path, how) as file:
                seen.append(await loop.sendfile(transport, file))
            seen.append(await receiving == CONTENT)

    assert on_both(program, debug=True) == [SIZE, True]


# Over sockets


@pytest.mark.parametrize("how", HOW)
@pytest.mark.parametrize(("offset", "count"), RANGES)
@pytest.mark.parametrize("kind", ["unix", "tcp"])
def test_sock_sendfile(path, how, offset, count, kind):
    async def program(loop, seen):
        left, right = socket_pair(kind)
        with left, right, opened(path, how) as file:
            data = expected(offset, count)
            receiving = asyncio.create_task(receive(right, len(data)))
            sent = await loop.sock_sendfile(left, file, offset, count)
            seen.append(sent == len(data))
            seen.append(file.tell())
            seen.append(await receiving == data)

    sent, tell, arrived = on_both(program)
    assert sent is arrived is True


@pytest.mark.parametrize("how", HOW)
def test_sock_sendfile_to_a_slow_reader(path, how):
    async def program(loop, seen):
        left, right = socket_pair("unix")
        shrink(left, right)
        with left, right, opened(path, how) as file:
            sending = asyncio.create_task(loop.sock_sendfile(left, file))
            received = bytearray()
            while len(received) < SIZE:
                received += await receive(right, 10_000)
                await turns(2)
            seen.append(received == CONTENT)
            seen.append(await sending)

    assert on_both(program) == [True, SIZE]


@pytest.mark.parametrize("how", HOW)
def test_sock_sendfile_to_a_peer_that_is_gone(path, how):
    path.write_bytes(bytes(LARGE))

    async def program(loop, seen):
        left, right = socket_pair("tcp")
        with left, opened(path, how) as file:
            sending = asyncio.create_task(loop.sock_sendfile(left, file))
            await receive(right, 1000)
            reset(right)
            answer = await outcome_of(sending)
            seen.append(answer[0] in ("ConnectionResetError", "BrokenPipeError"))

    assert on_both(program) == [True]


@pytest.mark.parametrize("how", HOW)
def test_sock_sendfile_cancelled(path, how):
    path.write_bytes(bytes(LARGE))

    async def program(loop, seen):
        left, right = socket_pair("unix")
        with left, right, opened(path, how) as file:
            sending = asyncio.create_task(loop.sock_sendfile(left, file))
            await receive(right, 1000)
            sending.cancel()
            seen.append(await outcome_of(sending))
            # It is not watched any more.
            seen.append(loop.remove_writer(left))

    assert on_both(program) == [("CancelledError", ""), False]


def test_what_sock_sendfile_refuses(path):
    async def program(loop, seen):
        loop.set_debug(True)  # or nobody looks whether it blocks
        left, right = socket_pair("unix")
        blocking, other = socket.socketpair()
        datagram = socket.socket(type=socket.SOCK_DGRAM)
        with left, right, blocking, other, datagram, open(path, "rb") as file:
            datagram.setblocking(False)
            for args in (
                (blocking, file),
                (datagram, file),
                (left, None),
                (left, 5),
                (left, file, -1),
                (left, file, 0, -1),
                (left, file, 0, 0),
                (left, file, "x"),
                (left, file, 0, "x"),
                (left, file, 0, 1.5),
                (None, file),
                (5, file),
            ):
                try:
                    answer = await loop.sock_sendfile(*args)
                except Exception as exc:
                    answer = described(exc)
                seen.append(answer)
            for fallback in (False, True):
                sending = loop.sock_sendfile(left, io.BytesIO(b"x"), fallback=fallback)
                seen.append(await outcome_of(sending))
            with open(path) as text:
                seen.append(await outcome_of(loop.sock_sendfile(left, text)))

    on_both(program)


def test_an_empty_file(path):
    path.write_bytes(b"")

    async def program(loop, seen):
        async with connected(Recorder) as (transport, _, peer):
            left, right = socket_pair("unix")
            with left, right, open(path, "rb") as file:
                seen.append(await loop.sendfile(transport, file))
                seen.append(await loop.sock_sendfile(left, file))
                seen.append(await loop.sendfile(transport, io.BytesIO()))
                seen.append(await loop.sock_sendfile(left, io.BytesIO()))

    assert on_both(program) == [0, 0, 0, 0]
