"""Stream transports: writing, flow control and half close."""

from __future__ import annotations

import array
import asyncio
import errno
import os
import socket
import subprocess
import sys
import threading

import pytest

from trio_asyncio_c import EventLoop

from ._helpers import (
    KINDS,
    LARGE,
    STOCK,
    Recorder,
    connected,
    fill,
    need_own,
    on_both,
    on_ours,
    outcome,
    receive,
    receive_all,
    run_on,
    socket_pair,
    turns,
    until,
)

BYTES = bytes(range(256))


# What is written arrives


@pytest.mark.parametrize(
    "make",
    [
        bytes,
        bytearray,
        memoryview,
        lambda data: memoryview(bytearray(data)),
        lambda data: memoryview(b"#" + data + b"#")[1:-1],
        lambda data: memoryview(data).cast("c"),
        lambda data: memoryview(array.array("B", data)),
    ],
)
@pytest.mark.parametrize("kind", KINDS)
def test_types_that_are_taken(kind, make):
    async def program(loop, seen):
        async with connected(Recorder, kind) as (transport, _, peer):
            seen.append(transport.write(make(BYTES)))
            seen.append(transport.writelines([make(BYTES), make(BYTES)]))
            seen.append(await receive(peer, 3 * len(BYTES)) == 3 * BYTES)
            seen.append(transport.get_write_buffer_size())

    assert on_both(program) == [None, None, True, 0]


def test_memoryviews_of_larger_items_on_an_idle_socket():
    """Sent at once by the standard library's, which else goes by the items."""

    async def program(loop, seen):
        async with connected(Recorder) as (transport, _, peer):
            transport.write(memoryview(BYTES).cast("I"))
            transport.write(memoryview(array.array("d", [1.5, 2.5])))
            seen.append(await receive(peer, 256 + 16))

    assert on_both(program) == [BYTES + array.array("d", [1.5, 2.5]).tobytes()]


def test_memoryviews_of_larger_items_on_a_busy_socket():
    async def program(loop, seen):
        async with connected(Recorder) as (transport, _, peer):
            need_own(transport)
            data = await fill(transport)
            for _ in range(3):
                transport.write(memoryview(BYTES).cast("I"))
                transport.writelines([memoryview(BYTES).cast("d")])
                transport.write(memoryview(BYTES).cast("B", (16, 16)))
            data += 9 * BYTES
            seen.append(await receive(peer, len(data)) == data)

    assert on_ours(program, "items are counted as bytes") == [True]


def test_memoryviews_with_gaps():
    """Refused as the socket refuses them."""

    async def program(loop, seen):
        protocol = Recorder(seen)
        async with connected(lambda: protocol) as (transport, _, peer):
            seen.append(outcome(transport.write, memoryview(BYTES)[::2]))
            await turns(3)
            seen.append(transport.is_closing())

    on_both(program)


@pytest.mark.parametrize(
    "data", [None, 1, "text", [1, 2], (b"a",), array.array("B", b"a"), object, 1.5]
)
def test_types_that_are_refused(data):
    async def program(loop, seen):
        async with connected(Recorder) as (transport, _, peer):
            seen.append(outcome(transport.write, data))
            transport.write(b"goes on")
            seen.append(await receive(peer, 7))

    refused, arrived = on_both(program)
    assert refused[0] == "TypeError"
    assert arrived == b"goes on"


@pytest.mark.parametrize("empty", [b"", bytearray(), memoryview(b"")])
def test_nothing_to_write(empty):
    async def program(loop, seen):
        protocol = Recorder(seen)
        async with connected(lambda: protocol) as (transport, _, peer):
            seen.append(transport.write(empty))
            seen.append(transport.get_write_buffer_size())
            seen.append(transport.writelines([]))
            seen.append(transport.writelines([empty, empty]))
            transport.write(b"end")
            transport.writelines([empty, b"of", empty])
            seen.append(await receive(peer, 5))

    assert on_both(program)[-2] == b"endof"


def test_writelines_of_nothing_at_all():
    """It leaves nothing behind that close() would wait for."""

    async def program(loop, seen):
        protocol = Recorder()
        async with connected(lambda: protocol) as (transport, _, peer):
            need_own(transport)
            transport.writelines([b"", bytearray(), memoryview(b"")])
            transport.close()
            await protocol.until("lost")
            seen.append(await receive_all(peer))

    assert on_ours(program, "close() never ends") == [b""]


def test_writing_many_pieces_keeps_their_order():
    pieces = [os.urandom(i % 700) for i in range(1500)]

    async def program(loop, seen):
        async with connected(Recorder) as (transport, _, peer):
            for piece in pieces:
                transport.write(piece)
            data = b"".join(pieces)
            seen.append(await receive(peer, len(data)) == data)

    assert on_both(program) == [True]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("busy", [False, True])
def test_more_pieces_than_one_call_takes(kind, busy):
    count = os.sysconf("SC_IOV_MAX") + 7
    pieces = [b"%d," % i for i in range(count)]

    async def program(loop, seen):
        async with connected(Recorder, kind) as (transport, _, peer):
            before = await fill(transport) if busy else b""
            transport.writelines(pieces)
            for piece in pieces:
                transport.write(piece)
            data = before + 2 * b"".join(pieces)
            seen.append(await receive(peer, len(data)) == data)
            await until(lambda: transport.get_write_buffer_size() == 0)

    assert on_both(program) == [True]


def test_a_large_message():
    message = os.urandom(5_000_000)

    async def program(loop, seen):
        for make in (bytes, bytearray, memoryview):
            async with connected(Recorder, "tcp") as (transport, _, peer):
                transport.write(make(message))
                transport.write(b"end")
                seen.append(await receive(peer, len(message) + 3) == message + b"end")

    assert on_both(program) == [True, True, True]


def test_a_buffer_that_is_changed_after_the_write():
    async def program(loop, seen):
        async with connected(Recorder) as (transport, _, peer):
            buffer = bytearray(b"one")
            for text in (b"two", b"three", b""):
                transport.write(buffer)
                buffer[:] = text
            view = memoryview(bytearray(b"view"))
            transport.write(view)
            view[:] = b"VIEW"
            lines = [bytearray(b"A"), bytearray(b"B")]
            transport.writelines(lines)
            lines[0][:] = b"changed"
            lines.clear()
            seen.append(await receive(peer, 3 + 3 + 5 + 4 + 2))

    assert on_both(program) == [b"onetwothreeviewAB"]


def test_a_buffer_that_is_changed_while_it_waits():
    async def program(loop, seen):
        async with connected(Recorder) as (transport, _, peer):
            need_own(transport)
            data = await fill(transport)
            buffer = bytearray(BYTES)
            transport.write(buffer)
            transport.writelines([buffer, memoryview(buffer)])
            buffer[:] = b"changed"
            large = bytearray(LARGE)
            transport.write(large)
            large[:] = b"\xff" * LARGE
            expected = data + 3 * BYTES + bytes(LARGE)
            seen.append(await receive(peer, len(expected)) == expected)

    assert on_ours(program, "the caller's buffer is kept") == [True]


# writelines


@pytest.mark.parametrize("busy", [False, True])
@pytest.mark.parametrize(
    "make",
    [
        list,
        tuple,
        lambda pieces: (piece for piece in pieces),
        lambda pieces: iter(pieces),
        lambda pieces: dict.fromkeys(pieces),
        lambda pieces: [bytearray(piece) for piece in pieces],
        lambda pieces: [memoryview(piece) for piece in pieces],
    ],
    ids=["list", "tuple", "generator", "iterator", "dict", "bytearrays", "views"],
)
def test_writelines(make, busy):
    pieces = [b"one,", b"two,", b"three"]

    async def program(loop, seen):
        async with connected(Recorder) as (transport, _, peer):
            before = await fill(transport) if busy else b""
            seen.append(transport.writelines(make(pieces)))
            data = before + b"".join(pieces)
            seen.append(await receive(peer, len(data)) == data)

    assert on_both(program) == [None, True]


# There asyncio keeps what came before the wrong one, never sends it, and so nothing
# that is written after it either.
KEEPS_A_PART = sys.version_info >= (3, 15)
keeps_a_part = pytest.mark.skipif(KEEPS_A_PART, reason="asyncio's transport hangs")


@pytest.mark.parametrize(
    "pieces",
    [
        None,
        5,
        0,
        "",
        "text",
        b"bytes",
        [1],
        [None],
        ["text"],
        pytest.param([b"good", "bad"], marks=keeps_a_part),
        [b"good", None, b"good"],
        object,
    ],
    ids=repr,
)
def test_writelines_of_what_is_none(pieces):
    async def program(loop, seen):
        async with connected(Recorder) as (transport, _, peer):
            seen.append(outcome(transport.writelines, pieces))
            transport.write(b"#")
            seen.append(await receive(peer, 1))

    on_both(program)


def test_a_generator_that_raises():
    def pieces():
        yield b"good"
        raise ZeroDivisionError("from a generator")

    async def program(loop, seen):
        async with connected(Recorder) as (transport, _, peer):
            seen.append(outcome(transport.writelines, pieces()))
            transport.write(b"#")
            seen.append(await receive(peer, 1))

    make = [EventLoop] if KEEPS_A_PART else [STOCK, EventLoop]
    for loop_class in make:
        seen = run_on(loop_class, program)
        assert seen == [("ZeroDivisionError", "from a generator"), b"#"]


# From where it is written


@pytest.mark.parametrize("name", ["made", "data", "eof"])
def test_writing_in_a_callback(name):
    async def program(loop, seen):
        def write(protocol):
            protocol.transport.write(name.encode())
            protocol.transport.writelines([b"+", b"+"])
            return True

        async with connected(lambda: Recorder(on={name: write})) as (_, _, peer):
            peer.send(b"data")
            peer.shutdown(socket.SHUT_WR)
            seen.append(await receive(peer, len(name) + 2))

    assert on_both(program) == [name.encode() + b"++"]


def test_writing_from_several_tasks():
    async def program(loop, seen):
        async with connected(Recorder) as (transport, _, peer):

            async def write(number):
                for i in range(50):
                    transport.write(b"%d:%d\n" % (number, i))
                    await turns(number)

            await asyncio.gather(*[write(number) for number in range(5)])
            transport.close()
            lines = (await receive_all(peer)).split()
            seen.append(len(lines))
            for number in range(5):
                mine = [line for line in lines if line.startswith(b"%d:" % number)]
                seen.append(mine == [b"%d:%d" % (number, i) for i in range(50)])

    assert on_both(program) == [250] + [True] * 5


def test_each_turns_data_is_sent_in_that_turn():
    """What was written can be read by whoever comes next in the following turn."""

    async def program(loop, seen):
        async with connected(Recorder) as (transport, _, peer):
            for i in range(5):
                transport.write(b"%d" % i)
                transport.write(b"!")
                await turns(1)
                seen.append(peer.recv(100))

    assert on_both(program) == [b"0!", b"1!", b"2!", b"3!", b"4!"]


def test_an_answer_leaves_before_others_are_heard():
    """Two sockets have something to read in one turn; the first one's answer is there
    when the second one's protocol is told."""

    async def program(loop, seen):
        async with connected(Recorder) as first, connected(Recorder) as second:
            peers = [first[2], second[2]]

            def answer(protocol):
                protocol.transport.write(b"head")
                protocol.transport.write(b"body")
                seen.append([outcome(peer.recv, 100) for peer in peers])

            for _, protocol, peer in (first, second):
                protocol.on["data"] = answer
                peer.send(b"question")
            await first[1].until_received(8)
            await second[1].until_received(8)
            seen.append([outcome(peer.recv, 100) for peer in peers])

    told = on_ours(program, "each write is sent by itself")
    words = f"[Errno {errno.EAGAIN}] {os.strerror(errno.EAGAIN)}"
    nothing = ("BlockingIOError", words)
    assert told[0] == [nothing] * 2
    assert sorted(map(str, told[1])) == sorted(map(str, [b"headbody", nothing]))
    assert sorted(map(str, told[2])) == sorted(map(str, [b"headbody", nothing]))


def connect_outside(loop, protocol, kind="unix"):
    left, right = socket_pair(kind)
    right.setblocking(True)
    right.settimeout(30)
    connecting = loop.create_connection(lambda: protocol, sock=left)
    transport, _ = loop.run_until_complete(connecting)
    return transport, right


@pytest.fixture(params=[STOCK, EventLoop], ids=["stock", "ours"])
def loop(request):
    loop = request.param()
    yield loop
    loop.close()
    request.node.funcargs.clear()


@pytest.mark.parametrize("how", ["run_until_complete", "stop", "call_soon", "exit"])
@pytest.mark.parametrize("kind", KINDS)
def test_what_is_written_before_the_loop_stops_is_sent(loop, kind, how):
    """uvloop #631: bytes must not wait for a turn that never comes."""
    protocol = Recorder()
    transport, peer = connect_outside(loop, protocol, kind)

    async def write():
        transport.write(b"last ")
        transport.writelines([b"wo", b"rds"])

    def write_and_stop():
        transport.write(b"last ")
        if how == "exit":
            transport.write(b"words")
            raise SystemExit(1)
        loop.stop()
        transport.write(b"words")

    if how == "run_until_complete":
        loop.run_until_complete(write())
    else:
        loop.call_soon(write_and_stop)
        if how == "exit":
            with pytest.raises(SystemExit):
                loop.run_forever()
        else:
            loop.run_forever()
    assert peer.recv(100) == b"last words"
    transport.abort()
    loop.run_until_complete(turns(3))
    peer.close()
    assert protocol.names == ["made", "lost"]


def test_written_then_closed_then_stopped(loop):
    protocol = Recorder()
    transport, peer = connect_outside(loop, protocol)

    async def write():
        transport.write(b"last words")
        transport.close()

    loop.run_until_complete(write())
    assert peer.recv(100) == b"last words"
    loop.run_until_complete(turns(3))
    assert protocol.names == ["made", "lost"]
    assert peer.recv(100) == b""
    peer.close()


@pytest.mark.parametrize("kind", KINDS)
def test_writing_while_the_loop_is_not_running(loop, kind):
    transport, peer = connect_outside(loop, Recorder(), kind)
    transport.write(b"outside")
    assert peer.recv(100) == b"outside"
    transport.writelines([b"of ", b"the ", b"loop"])
    assert peer.recv(100) == b"of the loop"
    transport.write_eof()
    assert peer.recv(100) == b""
    transport.close()
    loop.run_until_complete(turns(3))
    peer.close()


def test_much_is_written_while_the_loop_is_not_running(loop):
    transport, peer = connect_outside(loop, Recorder())
    message = os.urandom(3_000_000)
    transport.write(message)
    assert transport.get_write_buffer_size() > 0
    received = bytearray()
    thread = threading.Thread(
        target=lambda: [
            received.extend(piece) for piece in iter(lambda: peer.recv(1 << 16), b"")
        ]
    )
    thread.start()
    transport.close()
    loop.run_until_complete(until(lambda: not transport_is_open(transport)))
    thread.join()
    peer.close()
    assert received == message


def transport_is_open(transport):
    return transport.get_extra_info("socket").fileno() != -1


def test_another_loop_runs_in_between(loop):
    transport, peer = connect_outside(loop, Recorder())

    async def elsewhere():
        transport.write(b"from the other")

    other = asyncio.SelectorEventLoop()
    other.run_until_complete(elsewhere())
    other.close()
    assert peer.recv(100) == b"from the other"
    transport.close()
    loop.run_until_complete(turns(3))
    peer.close()


PROGRAM_THAT_ENDS = """
import asyncio, os, socket, sys
import trio_asyncio_c
make = getattr({"stock": asyncio.SelectorEventLoop, "ours": trio_asyncio_c.EventLoop}, "get")(sys.argv[1])
async def main():
    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_connection(asyncio.Protocol, sock=socket.socket(fileno=int(sys.argv[2])))
    transport.write(b"last ")
    transport.write(b"words")
    if sys.argv[3] == "exit":
        loop.call_soon(sys.exit)
        await asyncio.sleep(100)
loop = make()
try:
    loop.run_until_complete(main())
except SystemExit:
    pass
os._exit(0)
"""


@pytest.mark.parametrize("how", ["return", "exit"])
@pytest.mark.parametrize("which", ["stock", "ours"])
def test_the_process_ends_right_after_the_loop(which, how):
    left, right = socket.socketpair()
    with left, right:
        subprocess.run(
            [sys.executable, "-c", PROGRAM_THAT_ENDS, which, str(left.fileno()), how],
            pass_fds=[left.fileno()],
            check=True,
            timeout=60,
        )
        left.close()
        assert right.recv(100) == b"last words"


# Flow control


def test_the_water_marks_by_default():
    async def program(loop, seen):
        async with connected(Recorder) as (transport, _, peer):
            seen.append(transport.get_write_buffer_limits())
            seen.append(transport.get_write_buffer_size())

    assert on_both(program) == [(16384, 65536), 0]


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"high": None},
        {"low": None},
        {"high": 100},
        {"high": 100, "low": 50},
        {"high": 100, "low": 100},
        {"high": 100, "low": 0},
        {"low": 100},
        {"high": 0},
        {"low": 0},
        {"high": 0, "low": 0},
        {"high": 3},
        {"high": 1, "low": None},
        {"high": True},
        {"high": 10**30},
        {"low": 10**30},
        {"high": 10.5},
        {"low": 2.5},
        {"high": 10.5, "low": 1},
        {"high": 10, "low": 20},
        {"high": -1},
        {"low": -1},
        {"high": -1, "low": -2},
        {"high": 1, "low": -2},
        {"high": "10"},
        {"low": "10"},
        {"high": "10", "low": "10"},
        {"high": [], "low": 1},
        {"high": float("nan")},
        {"high": float("inf")},
        {"nonsense": 1},
    ],
    ids=repr,
)
def test_water_marks(arguments):
    async def program(loop, seen):
        async with connected(Recorder) as (transport, _, peer):
            seen.append(outcome(transport.set_write_buffer_limits, **arguments))
            seen.append(repr(transport.get_write_buffer_limits()))
            if "nonsense" not in arguments:
                args = arguments.get("high"), arguments.get("low")
                seen.append(outcome(transport.set_write_buffer_limits, *args))
                seen.append(repr(transport.get_write_buffer_limits()))
            transport.set_write_buffer_limits()
            seen.append(transport.get_write_buffer_limits())

    assert on_both(program)[-1] == (16384, 65536)


def test_pause_and_resume():
    async def program(loop, seen):
        protocol = Recorder(seen)
        async with connected(lambda: protocol) as (transport, _, peer):
            data = await fill(transport)
            while transport.get_write_buffer_size() <= 65536:
                transport.write(BYTES * 100)
                data += BYTES * 100
            seen.append("over the mark")
            assert await receive(peer, len(data)) == data
            await protocol.until("resume")
            seen.append(transport.get_write_buffer_size() <= 16384)

    assert on_both(program) == [
        *[("made",), ("pause",), "over the mark", ("resume",), True, ("lost", None)]
    ]


@pytest.mark.parametrize("high", [0, 1, 100, 10_000])
def test_what_the_kernel_takes_does_not_pause(high):
    """The mark is for what could not be sent."""

    async def program(loop, seen):
        protocol = Recorder(seen)
        async with connected(lambda: protocol) as (transport, _, peer):
            transport.set_write_buffer_limits(high=high)
            for _ in range(10):
                transport.write(b"x" * (high + 1))
                transport.write(b"yy")
            transport.writelines([b"a" * high, b"b", b"c"])
            seen.append(transport.get_write_buffer_size())
            await turns(3)
            seen.append(len(await receive(peer, 11 * high + 32)))

    assert on_both(program) == [("made",), 0, 11 * high + 32, ("lost", None)]


def test_paused_within_the_write_that_went_over_the_mark():
    async def program(loop, seen):
        protocol = Recorder(seen)
        async with connected(lambda: protocol) as (transport, _, peer):
            transport.set_write_buffer_limits(high=0)
            transport.write(bytes(LARGE))
            seen.append("written")
            transport.write(b"more")
            seen.append("written")
            left = LARGE + 4
            await receive(peer, left)
            await protocol.until("resume")
            seen.append(transport.get_write_buffer_size())

    assert on_both(program) == [
        *[("made",), ("pause",), "written", "written", ("resume",), 0, ("lost", None)]
    ]


def test_new_marks_while_there_is_something_to_send():
    async def program(loop, seen):
        protocol = Recorder(seen)
        async with connected(lambda: protocol) as (transport, _, peer):
            transport.set_write_buffer_limits(high=LARGE)
            data = await fill(transport)
            size = transport.get_write_buffer_size()
            seen.append("not paused yet")
            # Looked at again by this call since 3.12.
            transport.set_write_buffer_limits(high=size - 1, low=0)
            seen.append("new marks")
            transport.write(b"#")
            seen.append("one more")
            transport.set_write_buffer_limits(high=LARGE)
            seen.append("high again")
            await receive(peer, len(data) + 1)
            await until(lambda: transport.get_write_buffer_size() == 0)
            await turns(2)

    notes = on_both(program)
    assert notes.count(("pause",)) == notes.count(("resume",)) == 1
    assert notes.index(("pause",)) < notes.index("one more")


def test_resumed_at_the_low_mark_and_not_before():
    async def program(loop, seen):
        protocol = Recorder()
        async with connected(lambda: protocol) as (transport, _, peer):
            transport.set_write_buffer_limits(high=100_000, low=30_000)
            sizes = []
            protocol.on["resume"] = lambda p: sizes.append(
                p.transport.get_write_buffer_size()
            )
            data = await fill(transport)
            while "pause" not in protocol.names:
                transport.write(BYTES)
                data += BYTES
            seen.append(transport.get_write_buffer_size() > 100_000)
            got = 0
            while "resume" not in protocol.names:
                assert transport.get_write_buffer_size() > 30_000
                got += len(await receive(peer, 1000))
                await turns(3)
            seen.append(sizes[0] <= 30_000)
            await receive(peer, len(data) - got)
        seen.append(protocol.names)

    assert on_both(program) == [True, True, ["made", "pause", "resume", "lost"]]


def test_writing_from_resume_writing():
    message = os.urandom(1 << 18)
    count = 5

    def more(protocol):
        if protocol.names.count("resume") < count:
            protocol.transport.write(message)
        else:
            asyncio.get_running_loop().call_soon(protocol.transport.close)

    async def program(loop, seen):
        protocol = Recorder(on={"resume": more})
        async with connected(lambda: protocol) as (transport, _, peer):
            transport.set_write_buffer_limits(high=0)
            first = await fill(transport)
            received = await receive_all(peer)
            seen.append(received[: len(first)] == first)
            rest = received[len(first) :]
            seen.append(rest == message * (len(rest) // len(message)))
            await protocol.until("lost")
            seen.append(set(protocol.names))

    assert on_both(program) == [True, True, {"made", "pause", "resume", "lost"}]


@pytest.mark.parametrize("how", ["close", "abort", "write_eof"])
def test_ending_in_resume_writing(how):
    """Once, though the buffer has just become empty."""

    async def program(loop, seen):
        protocol = Recorder(seen, {"resume": lambda p: getattr(p.transport, how)()})
        async with connected(lambda: protocol) as (transport, _, peer):
            need_own(transport)
            transport.set_write_buffer_limits(high=0)
            data = await fill(transport)
            assert await receive_all(peer) == data
            transport.close()
            await protocol.until("lost")

    assert on_ours(program, "connection_lost is called twice") == [
        *[("made",), ("pause",), ("resume",), ("lost", None)],
    ]


@pytest.mark.parametrize("exc", [ZeroDivisionError("own"), OSError(5, "own")], ids=repr)
@pytest.mark.parametrize("name", ["pause", "resume"])
def test_errors_of_flow_control_do_not_close(name, exc):
    async def program(loop, seen):
        def throw(protocol):
            raise type(exc)(*exc.args)

        protocol = Recorder(seen, {name: throw})
        async with connected(lambda: protocol) as (transport, _, peer):
            transport.set_write_buffer_limits(high=0)
            data = await fill(transport)
            assert await receive(peer, len(data)) == data
            await protocol.until("resume")
            transport.write(b"goes on")
            seen.append(await receive(peer, 7))

    notes = on_both(program)
    assert b"goes on" in notes
    assert notes[-1][0] == f"protocol.{name}_writing() failed"


@pytest.mark.parametrize("exc", [SystemExit(3), KeyboardInterrupt()], ids=repr)
def test_pause_writing_that_ends_the_run(loop, exc):
    def throw(protocol):
        raise exc

    protocol = Recorder(on={"pause": throw})
    transport, peer = connect_outside(loop, protocol)

    async def write():
        transport.set_write_buffer_limits(high=0)
        transport.write(bytes(LARGE))

    with pytest.raises(type(exc)):
        loop.run_until_complete(write())
    transport.abort()
    loop.run_until_complete(turns(3))
    peer.close()
    assert protocol.names == ["made", "pause", "lost"]
    exc.__traceback__ = None


def test_the_peer_that_never_reads():
    """A zero window: nothing is sent, nothing is lost, and abort() ends it."""

    async def program(loop, seen):
        protocol = Recorder(seen)
        async with connected(lambda: protocol, "tcp") as (transport, _, peer):
            transport.write(bytes(LARGE))
            transport.close()
            await turns(10)
            seen.append((transport.is_closing(), protocol.names[-1]))
            transport.abort()
            await protocol.until("lost")

    assert on_both(program) == [
        *[("made",), ("pause",), (True, "pause"), ("lost", None)]
    ]


# The end of what is written


@pytest.mark.parametrize("kind", KINDS)
def test_write_eof(kind):
    async def program(loop, seen):
        protocol = Recorder(seen)
        async with connected(lambda: protocol, kind) as (transport, _, peer):
            seen.append(transport.can_write_eof())
            transport.write(b"all")
            seen.append(transport.write_eof())
            seen.append(transport.write_eof())
            seen.append(await receive_all(peer))
            seen.append(outcome(transport.write, b"more"))
            seen.append(outcome(transport.write, b""))
            seen.append(outcome(transport.write, None))
            seen.append(outcome(transport.writelines, [b"more"]))
            seen.append(outcome(transport.writelines, []))
            seen.append((transport.is_closing(), transport.is_reading()))
            peer.send(b"answer")
            await protocol.until_received(6)

    assert on_both(program)[:6] == [("made",), True, None, None, b"all"] + [
        ("RuntimeError", "Cannot call write() after write_eof()")
    ]


def test_write_eof_waits_for_what_was_written():
    async def program(loop, seen):
        async with connected(Recorder) as (transport, protocol, peer):
            data = await fill(transport)
            transport.write(b"end")
            transport.write_eof()
            seen.append(outcome(transport.write, b"more"))
            seen.append(await receive_all(peer) == data + b"end")
            peer.send(b"still open")
            await protocol.until_received(10)
            seen.append(transport.is_closing())

    assert on_both(program)[1:] == [True, False]


@pytest.mark.parametrize("first", ["write_eof", "close"])
def test_write_eof_and_close_with_something_to_send(first):
    async def program(loop, seen):
        protocol = Recorder(seen)
        async with connected(lambda: protocol) as (transport, _, peer):
            data = await fill(transport)
            getattr(transport, first)()
            transport.write_eof()
            transport.close()
            seen.append(await receive_all(peer) == data)
            await protocol.until("lost")

    assert ("lost", None) in on_both(program)


@pytest.mark.parametrize("how", ["close", "abort"])
def test_write_eof_after_the_end(how):
    async def program(loop, seen):
        async with connected(lambda: Recorder(seen)) as (transport, _, peer):
            getattr(transport, how)()
            seen.append(outcome(transport.write_eof))
            seen.append(outcome(transport.can_write_eof))
            await turns(3)
            seen.append(outcome(transport.write_eof))
            seen.append(outcome(transport.can_write_eof))

    on_both(program)


def test_write_eof_to_a_peer_that_is_gone():
    async def program(loop, seen):
        protocol = Recorder(on={"eof": lambda protocol: True})
        async with connected(lambda: protocol) as (transport, _, peer):
            peer.close()
            await protocol.until("eof")
            seen.append(outcome(transport.write_eof))
            await turns(3)
            seen.append(transport.is_closing())

    on_both(program)
