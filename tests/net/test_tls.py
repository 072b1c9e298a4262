"""TLS connections that work: data in both directions, flow control, and their end."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import socket
import ssl
import weakref

import pytest

pytest.importorskip("trustme")

from trio_asyncio_c import _core, _tls

from ._tls_helpers import (
    HOST,
    BufferedRecorder,
    Recorder,
    authority,
    client_context,
    connected,
    issue,
    run,
    server_context,
    with_settings,
)

pytestmark = pytest.mark.usefixtures("engine")

SIZES = [1, 1000, 16383, 16384, 16385, 70_000, 1_000_000]
VERSIONS = [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3]
every_version = pytest.mark.parametrize("version", VERSIONS, ids=lambda v: v.name)


def pattern(size):
    return (bytes(range(251)) * (size // 251 + 1))[:size]


def of_version(version):
    return {"client": client_context(minimum_version=version, maximum_version=version)}


class TestData:
    @every_version
    @pytest.mark.parametrize("factory", [Recorder, BufferedRecorder])
    def test_both_ways(self, loop, engine, factory, version):
        async def main():
            async with connected(factory, factory, **of_version(version)) as ends:
                for protocol in ends:
                    core = protocol.transport._ssl_protocol
                    assert core._state is asyncio.sslproto.SSLProtocolState.WRAPPED
                for size in SIZES:
                    for one, other in (ends, ends[::-1]):
                        one.transport.write(pattern(size))
                        assert await other.receive(size) == pattern(size)
                used = [p.transport._ssl_protocol._is_direct for p in ends]
                assert used == [engine == "direct"] * 2

        run(loop, main)

    @pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
    def test_kinds_of_data(self, loop, kind):
        async def main():
            async with connected() as (here, there):
                data = kind(pattern(50_000))
                here.transport.write(data)
                if kind is bytearray:  # it was taken, not noted
                    data[:] = bytes(len(data))
                assert await there.receive(50_000) == pattern(50_000)
                here.transport.write(kind(b""))
                words = memoryview(pattern(8000)).cast("Q")
                here.transport.write(words)
                assert await there.receive(8000) == pattern(8000)

        run(loop, main)

    def test_writelines(self, loop):
        async def main():
            async with connected() as (here, there):
                pieces = [b"a" * 10, b"", bytearray(b"b" * 20_000)]
                pieces += [memoryview(b"c" * 5000), b"d" * 16_384, b"e"] + [b"f"] * 999
                for lines in (pieces, tuple(pieces), iter(pieces)):
                    here.transport.writelines(lines)
                    size = sum(map(len, pieces))
                    assert await there.receive(size) == b"".join(pieces)
                here.transport.writelines([])

        run(loop, main)

    def test_small_lines_are_one_record(self, loop):
        async def main():
            async with connected() as (here, there):
                below = here.transport._ssl_protocol._transport
                sent = []
                write = below.write
                with_write = _WriteSpy(sent, write)
                here.transport._ssl_protocol._transport = with_write
                here.transport.writelines([b"x" * 10] * 20)
                here.transport._ssl_protocol._transport = below
                assert await there.receive(200) == b"x" * 200
                # A record's header and tag, once.
                assert [len(data) <= 200 + 40 for data in sent] == [True]

        run(loop, main)

    def test_what_a_callback_writes_is_sent_at_once(self, loop):
        class Answers(Recorder):
            def data_received(self, data):
                for byte in data:
                    self.transport.write(bytes([byte]))
                spied.append(len(sent))

        sent, spied = [], []

        async def main():
            async with connected(Recorder, Answers) as (here, there):
                core = there.transport._ssl_protocol
                below = core._transport
                core._transport = _WriteSpy(sent, below.write, below)
                here.transport.write(b"0123456789")
                assert await here.receive(10) == b"0123456789"
                core._transport = below

        run(loop, main)
        assert spied == [0]
        assert len(sent) == 1

    def test_large_answers_in_a_callback_are_not_held_back(self, loop):
        class Answers(Recorder):
            def data_received(self, data):
                before = self.transport.get_write_buffer_size()
                self.transport.write(bytes(200_000))
                sizes.append((before, self.transport.get_write_buffer_size() < 300_000))

        sizes = []

        async def main():
            async with connected(Recorder, Answers) as (here, _):
                here.transport.write(b"?")
                assert await here.receive(200_000) == bytes(200_000)

        run(loop, main)
        assert sizes == [(0, True)]

    def test_abort_in_a_callback_sends_first(self, loop):
        class SaysAndDies(Recorder):
            def data_received(self, data):
                self.transport.write(b"last words")
                self.transport.abort()

        async def main():
            async with connected(Recorder, SaysAndDies) as (here, there):
                here.transport.write(b"?")
                assert await here.receive(10) == b"last words"
                await here.lost

        run(loop, main)

    def test_an_error_in_a_callback_sends_first(self, loop, errors):
        class SaysAndFails(Recorder):
            def data_received(self, data):
                self.transport.write(b"last words")
                raise ZeroDivisionError("on purpose")

        async def main():
            async with connected(Recorder, SaysAndFails) as (here, there):
                here.transport.write(b"?")
                assert await here.receive(10) == b"last words"
                assert type(await there.lost) is ZeroDivisionError

        run(loop, main)
        assert [context["message"] for context in errors] == [
            "Fatal error on SSL protocol"
        ]

    def test_set_protocol_in_flight(self, loop):
        async def main():
            async with connected() as (here, there):
                for factory in (BufferedRecorder, Recorder, BufferedRecorder):
                    new = factory()
                    new.connection_made(there.transport)
                    there.transport.set_protocol(new)
                    here.transport.write(pattern(40_000))
                    assert await new.receive(40_000) == pattern(40_000)
                there.transport.set_protocol(there)

        run(loop, main)

    def test_a_buffer_that_cannot_be_written_to(self, loop, errors):
        class Frozen(BufferedRecorder):
            def get_buffer(self, sizehint):
                return b"frozen"

        async def main():
            async with connected(Recorder, Frozen) as (here, there):
                here.transport.write(b"?")
                assert type(await there.lost) is TypeError

        run(loop, main)
        assert "read-write bytes-like object" in str(errors[0]["exception"])

    def test_streams(self, loop):
        async def serve(reader, writer):
            while line := await reader.readline():
                writer.write(line[::-1].strip() + b"\n")
                await writer.drain()
            writer.close()

        async def main():
            server = await asyncio.start_server(
                serve, "127.0.0.1", 0, ssl=server_context()
            )
            async with server:
                reader, writer = await asyncio.open_connection(
                    *server.sockets[0].getsockname(),
                    ssl=client_context(),
                    server_hostname=HOST,
                )
                for word in (b"abc", b"x" * 30_000):
                    writer.write(word + b"\n")
                    assert await reader.readline() == word[::-1] + b"\n"
                writer.close()
                await writer.wait_closed()

        run(loop, main)

    def test_tls_in_tls(self, loop, engine):
        async def main():
            async with connected() as (here, there):
                inner_server = Recorder()
                accepting = loop.create_task(
                    loop.start_tls(
                        there.transport,
                        inner_server,
                        server_context(),
                        server_side=True,
                    )
                )
                inner_client = Recorder()
                inner = await loop.start_tls(
                    here.transport, inner_client, client_context(), server_hostname=HOST
                )
                other = await accepting
                for factory, old in ((inner_client, inner), (inner_server, other)):
                    factory.connection_made(old)
                for size in (1, 100_000):
                    inner.write(pattern(size))
                    assert await inner_server.receive(size) == pattern(size)
                    other.write(pattern(size))
                    assert await inner_client.receive(size) == pattern(size)
                assert inner._ssl_protocol._is_direct is (engine == "direct")
                inner.close()
                await asyncio.gather(inner_client.lost, inner_server.lost)
                # The protocols of the outer connection were replaced.
                here.lost.set_result(None)
                there.lost.set_result(None)

        run(loop, main)


class _WriteSpy:
    """Stand for a transport, noting what is written."""

    def __init__(self, sent, write, below=None):
        self.sent, self._write, self._below = sent, write, below

    def write(self, data):
        self.sent.append(bytes(data))
        self._write(data)

    def __getattr__(self, name):
        return getattr(self._below, name)


class TestFlowControl:
    def test_pause_and_resume_reading(self, loop):
        async def main():
            async with connected() as (here, there):
                there.transport.pause_reading()
                assert not there.transport.is_reading()
                here.transport.write(pattern(3_000_000))
                core = there.transport._ssl_protocol
                while not core._ssl_reading_paused:
                    await asyncio.sleep(0)
                assert there.data == b""
                assert there.transport.get_read_buffer_size() >= 256 * 1024
                there.transport.resume_reading()
                assert await there.receive(3_000_000) == pattern(3_000_000)

        run(loop, main)

    def test_the_writer_is_paused_and_resumed(self, loop):
        async def main():
            async with connected() as (here, there):
                there.transport.pause_reading()
                here.transport.set_write_buffer_limits(high=100_000, low=10)
                assert here.transport.get_write_buffer_limits() == (10, 100_000)
                written = 0
                while "pause" not in here.calls:
                    here.transport.write(bytes(65_536))
                    written += 65_536
                    await asyncio.sleep(0)
                assert here.transport.get_write_buffer_size() >= 100_000
                there.transport.resume_reading()
                await there.receive(written)
                while "resume" not in here.calls:
                    await asyncio.sleep(0)

        run(loop, main)

    def test_marks_of_any_size(self, loop):
        async def main():
            async with connected() as (here, there):
                here.transport.set_write_buffer_limits(high=1 << 80)
                here.transport.write(b"abc")
                assert await there.receive(3) == b"abc"
                here.transport.set_write_buffer_limits(high=0)
                assert here.calls[-1] == "pause"

        run(loop, main)

    def test_paused_by_its_own_data(self, loop):
        class OneAtATime(Recorder):
            def data_received(self, data):
                super().data_received(data)
                self.transport.pause_reading()
                loop.call_soon(self.transport.resume_reading)

        async def main():
            async with connected(Recorder, OneAtATime) as (here, there):
                here.transport.write(pattern(2_000_000))
                assert await there.receive(2_000_000) == pattern(2_000_000)

        run(loop, main)


class TestEnd:
    @every_version
    def test_close_is_told_to_both(self, loop, version):
        async def main():
            async with connected(**of_version(version)) as (here, there):
                here.transport.write(b"the end")
                here.transport.close()
                assert here.transport.is_closing()
                assert await there.receive(7) == b"the end"
                assert await there.lost is None
                assert await here.lost is None
                assert there.calls == ["made", "data", "eof", "lost"]
                here.transport.write(b"too late")
                here.transport.close()

        run(loop, main)

    def test_close_sends_everything_first(self, loop):
        async def main():
            async with connected() as (here, there):
                here.transport.write(bytes(4_000_000))
                here.transport.close()
                await there.receive(4_000_000)
                await there.lost

        run(loop, main)

    def test_close_ends_at_once_when_the_peer_goes_on_sending(self, loop):
        async def main():
            async with connected() as (here, there):
                sending = True

                async def send():
                    while sending and not there.transport.is_closing():
                        there.transport.write(bytes(10_000))
                        await asyncio.sleep(0)

                task = loop.create_task(send())
                await here.receive(20_000)
                here.data.clear()
                here.transport.close()
                await here.lost
                # No more than what was on its way, and far from all there is.
                assert len(here.data) < 5_000_000
                sending = False
                await task

        run(loop, main)

    def test_close_with_reading_paused(self, loop):
        async def main():
            async with connected() as (here, there):
                here.transport.pause_reading()
                there.transport.write(bytes(1000))
                core = here.transport._ssl_protocol
                while core._get_read_buffer_size() == 0:
                    await asyncio.sleep(0)
                here.transport.close()
                await here.lost

        run(loop, main)

    def test_a_peer_that_ends_without_a_farewell(self, loop):
        async def main():
            async with connected() as (here, there):
                there.transport.write(b"abc")
                below = there.transport._ssl_protocol._transport
                there.transport._ssl_protocol._flush()
                below.write_eof()
                assert await here.receive(3) == b"abc"
                await here.lost
                below.abort()

        run(loop, main)

    def test_close_and_abort_inside_of_callbacks(self, loop):
        class Closes(Recorder):
            def data_received(self, data):
                super().data_received(data)
                getattr(self.transport, bytes(data).decode())()

        async def main(method):
            async with connected(Recorder, Closes) as (here, there):
                here.transport.write(method)
                await asyncio.gather(here.lost, there.lost)
                assert there.calls.count("lost") == 1

        run(loop, main, b"close")
        run(loop, main, b"abort")

    def test_nothing_is_left_over(self, loop):
        async def main():
            context = client_context()
            kept = []
            async with connected(client=context) as (here, there):
                here.transport.write(b"abc")
                await there.receive(3)
                for end in (here, there):
                    core = end.transport._ssl_protocol
                    kept += map(weakref.ref, (end, end.transport, core, core._sslobj))
                del end, core
            return kept

        gc.collect()
        gc.disable()
        try:
            kept = run(loop, main)
            loop.run_until_complete(asyncio.sleep(0))
            left = [ref() for ref in kept if ref() is not None]
            assert not left, "kept by cycles"
        finally:
            gc.enable()

    def test_an_idle_connection_has_no_buffers(self, loop, engine):
        async def main():
            async with connected() as (here, there):
                here.transport.write(bytes(100_000))
                await there.receive(100_000)
                core = there.transport._ssl_protocol
                held = [r for r in gc.get_referents(core) if type(r) is bytearray]
                # The standard library's constructor makes one, of no length.
                assert sum(map(len, held)) == 0

        run(loop, main)


class TestStartTls:
    @pytest.mark.parametrize("buffered", [False, True])
    def test_from_streams(self, loop, buffered):
        """What came before the server called it is the handshake's beginning."""

        async def serve(reader, writer):
            assert await reader.readline() == b"PROXY\n"
            if buffered:
                while not reader._buffer:
                    await asyncio.sleep(0)
            await writer.start_tls(server_context())
            writer.write(await reader.readline())
            await writer.drain()
            writer.close()

        async def main():
            server = await asyncio.start_server(serve, "127.0.0.1", 0)
            async with server:
                reader, writer = await asyncio.open_connection(
                    *server.sockets[0].getsockname()
                )
                writer.write(b"PROXY\n")
                await writer.start_tls(client_context(), server_hostname=HOST)
                writer.write(b"hello\n")
                assert await reader.readline() == b"hello\n"
                writer.close()
                await writer.wait_closed()

        run(loop, main)

    def test_plain_data_before_it_is_kept(self, loop):
        """What a client's reader had received stays in it."""

        async def serve(reader, writer):
            writer.write(b"greeting\n")
            assert await reader.readline() == b"STARTTLS\n"
            await writer.start_tls(server_context())
            writer.write(b"secret\n")
            writer.close()

        async def main():
            server = await asyncio.start_server(serve, "127.0.0.1", 0)
            async with server:
                reader, writer = await asyncio.open_connection(
                    *server.sockets[0].getsockname()
                )
                while not reader._buffer:
                    await asyncio.sleep(0)
                writer.write(b"STARTTLS\n")
                await writer.start_tls(client_context(), server_hostname=HOST)
                assert await reader.readline() == b"greeting\n"
                assert await reader.readline() == b"secret\n"
                writer.close()
                with contextlib.suppress(ConnectionError):
                    await writer.wait_closed()

        run(loop, main)

    def test_refused_in_asyncios_words(self, loop):
        stock = asyncio.SelectorEventLoop()
        context = client_context()

        class Unfit(asyncio.Transport):
            def __repr__(self):
                return "<unfit>"

        for arguments in [(Unfit(), None, None), (Unfit(), None, context)]:
            answers = []
            for each in (stock, loop):
                with pytest.raises(TypeError) as caught:
                    each.run_until_complete(each.start_tls(*arguments))
                answers.append(str(caught.value))
            assert answers[0] == answers[1]
        stock.close()


class TestNegotiation:
    def test_alpn(self, loop):
        async def main():
            server = server_context()
            server.set_alpn_protocols(["h2", "http/1.1"])
            client = client_context()
            client.set_alpn_protocols(["http/1.1"])
            async with connected(server=server, client=client) as ends:
                for end in ends:
                    sslobj = end.transport.get_extra_info("ssl_object")
                    assert sslobj.selected_alpn_protocol() == "http/1.1"

        run(loop, main)

    def test_sni(self, loop):
        asked = []

        def choose(sslobj, name, context):
            asked.append((type(sslobj), name))

        async def main():
            server = server_context(sni_callback=choose)
            async with connected(server=server):
                pass

        run(loop, main)
        assert asked == [(ssl.SSLObject, HOST)]

    def test_sessions_are_resumed(self, loop):
        class Resuming(ssl.SSLContext):
            """asyncio passes no session to wrap_bio()."""

            session = None

            def wrap_bio(self, *args, **kwargs):
                return super().wrap_bio(*args, session=self.session, **kwargs)

        async def main():
            server = server_context()
            client = Resuming(ssl.PROTOCOL_TLS_CLIENT)
            authority().configure_trust(client)
            for expected in (False, True):
                async with connected(server=server, client=client) as (here, there):
                    there.transport.write(b"with the ticket")
                    await here.receive(15)
                    sslobj = here.transport.get_extra_info("ssl_object")
                    assert sslobj.session_reused is expected
                    client.session = sslobj.session
            client.session = None

        run(loop, main)

    def test_client_certificate(self, loop):
        async def main():
            server = server_context(verify_mode=ssl.CERT_REQUIRED)
            authority().configure_trust(server)
            client = client_context()
            issue("client.example").configure_cert(client)
            async with connected(server=server, client=client) as (here, there):
                here.transport.write(b"abc")
                assert await there.receive(3) == b"abc"
                cert = there.transport.get_extra_info("peercert")
                assert ("DNS", "client.example") in cert["subjectAltName"]

        run(loop, main)

    def test_extra_info(self, loop):
        async def main():
            async with connected() as (here, there):
                transport = here.transport
                sslobj = transport.get_extra_info("ssl_object")
                assert type(sslobj) is ssl.SSLObject
                assert transport.get_extra_info("cipher") == sslobj.cipher()
                assert transport.get_extra_info("compression") is None
                assert transport.get_extra_info("peercert") == sslobj.getpeercert()
                assert transport.get_extra_info("peername")[0] == "127.0.0.1"
                assert isinstance(
                    transport.get_extra_info("socket"), asyncio.trsock.TransportSocket
                )
                assert transport.get_extra_info("nonsense", 5) == 5
                assert isinstance(transport, asyncio.Transport)

        run(loop, main)

    @pytest.mark.parametrize("debug", [False, True])
    def test_extra_info_after_the_end(self, loop, debug):
        """It is made when somebody asks, which may be late."""

        async def main():
            async with connected() as (here, there):
                sslobj = here.transport.get_extra_info("ssl_object")
                expected = sslobj.getpeercert(), sslobj.cipher(), None
                there.transport.close()
                await here.lost
                for name, value in zip(
                    ("peercert", "cipher", "compression"), expected, strict=True
                ):
                    assert here.transport.get_extra_info(name, 5) == value

        loop.set_debug(debug)
        run(loop, main)

    def test_an_ssl_object_of_ones_own_class(self, loop):
        class Counting(ssl.SSLObject):
            reads = 0

            def read(self, *args):
                type(self).reads += 1
                return super().read(*args)

        async def main():
            client = with_settings(client_context(), {"sslobject_class": Counting})
            async with connected(client=client) as (here, there):
                there.transport.write(pattern(100_000))
                assert await here.receive(100_000) == pattern(100_000)
                here.transport.write(pattern(100_000))
                assert await there.receive(100_000) == pattern(100_000)
                assert not here.transport._ssl_protocol._is_direct

        run(loop, main)
        assert Counting.reads > 0

    def test_on_a_socket_pair(self, loop):
        async def main():
            ends = []
            for sock, server in zip(socket.socketpair(), (True, False), strict=True):
                context = server_context() if server else client_context()
                protocol = Recorder()
                ends.append(protocol)
                name = None if server else HOST
                transport = loop._make_ssl_transport(
                    _unblocked(sock),
                    protocol,
                    context,
                    loop.create_future(),
                    server_side=server,
                    server_hostname=name,
                )
                assert type(transport._ssl_protocol) is _tls.TlsProtocol
            for end in ends:
                await end.made
            ends[0].transport.write(b"abc")
            assert await ends[1].receive(3) == b"abc"
            ends[1].transport.close()
            await asyncio.gather(*(end.lost for end in ends))

        run(loop, main)


def _unblocked(sock):
    sock.setblocking(False)
    return sock


def test_the_choice_of_engine():
    before = _core._tls_use_direct(False)
    assert _core._tls_use_direct(True) is False
    assert _core._tls_use_direct(before) is _tls.has_direct
    with pytest.raises(TypeError):
        _core._tls_find_openssl("/nowhere", ssl.OPENSSL_VERSION, ())
    with pytest.raises(TypeError):
        _core._tls_find_openssl("/nowhere", ssl.OPENSSL_VERSION, ((1, 2, 3, 4),))
