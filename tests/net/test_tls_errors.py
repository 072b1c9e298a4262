"""TLS connections that fail: certificates, garbage, silence, and how asyncio says so."""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
import threading

import pytest

trustme = pytest.importorskip("trustme")

from trio_asyncio_c import _tls

from ._tls_helpers import (
    HOST,
    TIMEOUT_S,
    Recorder,
    client_context,
    connected,
    expired_certificate,
    issue,
    run,
    server_context,
)

pytestmark = pytest.mark.usefixtures("engine")


def open_fds():
    return len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0


@pytest.fixture(autouse=True)
def no_fd_is_left(loop):
    run(loop, _resolve_once)
    before = open_fds()
    yield
    run(loop, _settle)
    assert open_fds() == before


async def _resolve_once():
    """Open what a loop opens with its first connection."""
    async with connected():
        pass


async def _settle():
    await all_are_closed(asyncio.get_running_loop())
    await asyncio.sleep(0)


async def all_are_closed(loop):
    """Wait for the other end to notice that a connection was refused."""
    while any(t._sock is not None for t in loop._transports.values()):
        await asyncio.sleep(0.001)


async def connect(loop, server, client, **kwargs):
    """Connect to a TLS server, and return what the client got as an error."""
    kwargs.setdefault("server_hostname", HOST)
    listener = await loop.create_server(asyncio.Protocol, "127.0.0.1", 0, ssl=server)
    async with listener:
        try:
            transport, _ = await loop.create_connection(
                Recorder, *listener.sockets[0].getsockname(), ssl=client, **kwargs
            )
        except (OSError, ssl.SSLError) as exc:
            await all_are_closed(loop)
            return exc.with_traceback(None)
        transport.abort()


def as_on_stock(loop, *args, **kwargs):
    """The same failure on asyncio's own loop, compared."""
    stock = asyncio.SelectorEventLoop()
    stock.set_exception_handler(lambda loop, context: None)
    expected = run(stock, lambda: connect(stock, *args, **kwargs))
    stock.close()
    error = run(loop, lambda: connect(loop, *args, **kwargs))
    assert type(error) is type(expected)
    assert str(error) == str(expected)
    return error


class TestCertificates:
    def test_wrong_name(self, loop):
        error = as_on_stock(
            loop, server_context(), client_context(), server_hostname="example.org"
        )
        assert type(error) is ssl.SSLCertVerificationError
        assert "example.org" in str(error)

    def test_expired(self, loop):
        error = as_on_stock(
            loop, server_context(expired_certificate()), client_context()
        )
        assert type(error) is ssl.SSLCertVerificationError
        assert error.verify_message == "certificate has expired"

    def test_unknown_authority(self, loop):
        foreign = issue(ca=trustme.CA(key_type=trustme.KeyType.ECDSA))
        error = as_on_stock(loop, server_context(foreign), client_context())
        assert type(error) is ssl.SSLCertVerificationError

    def test_verified_by_default(self, loop):
        """ssl=True trusts the system's authorities, not ours."""
        error = as_on_stock(loop, server_context(), True)
        assert type(error) is ssl.SSLCertVerificationError

    def test_no_common_version(self, loop):
        server = server_context(minimum_version=ssl.TLSVersion.TLSv1_3)
        client = client_context(maximum_version=ssl.TLSVersion.TLSv1_2)
        assert isinstance(as_on_stock(loop, server, client), OSError)

    @pytest.mark.parametrize("version", ["TLSv1_2", "TLSv1_3"])
    def test_client_certificate_missing(self, loop, version):
        """In TLS 1.3 the client learns it after its handshake, from the end."""
        number = getattr(ssl.TLSVersion, version)
        server = server_context(verify_mode=ssl.CERT_REQUIRED)
        client = client_context(minimum_version=number, maximum_version=number)
        accepted = []

        def accept():
            accepted.append(Recorder())
            return accepted[-1]

        async def main():
            listener = await loop.create_server(accept, "127.0.0.1", 0, ssl=server)
            async with listener:
                protocol = Recorder()
                address = listener.sockets[0].getsockname()
                try:
                    await loop.create_connection(
                        lambda: protocol, *address, ssl=client, server_hostname=HOST
                    )
                except OSError:
                    assert version == "TLSv1_2"
                else:
                    await protocol.lost

        run(loop, main)
        assert [protocol.calls for protocol in accepted] == [[]]


def raw_peer(answer):
    """A listening socket, and a thread that gives one connection to `answer`."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve():
        connection, _ = listener.accept()
        connection.settimeout(TIMEOUT_S)
        with connection:
            answer(connection)

    thread = threading.Thread(target=serve)
    thread.start()
    return listener, thread


async def connect_raw(loop, answer, **kwargs):
    listener, thread = raw_peer(answer)
    try:
        with pytest.raises((OSError, ssl.SSLError)) as caught:
            await loop.create_connection(
                Recorder,
                *listener.getsockname(),
                ssl=client_context(),
                server_hostname=HOST,
                **kwargs,
            )
        return caught.value.with_traceback(None)
    finally:
        while thread.is_alive():
            await asyncio.sleep(0.001)
        thread.join()
        listener.close()


class TestGarbage:
    def test_instead_of_a_handshake(self, loop):
        def answer(connection):
            connection.recv(65536)
            connection.sendall(b"HTTP/1.0 400 Bad Request\r\n\r\n")
            connection.recv(65536)

        error = run(loop, connect_raw, loop, answer)
        assert type(error) is ssl.SSLError
        assert error.reason == "WRONG_VERSION_NUMBER"

    def test_inside_of_a_handshake(self, loop):
        def answer(connection):
            connection.recv(65536)
            connection.sendall(b"\x16\x03\x03\x00\x04" + b"\xff" * 4)
            connection.recv(65536)

        error = run(loop, connect_raw, loop, answer)
        assert type(error) is ssl.SSLError

    def test_no_answer_but_an_end(self, loop):
        error = run(loop, connect_raw, loop, lambda connection: connection.recv(65536))
        assert isinstance(error, ConnectionResetError)

    def test_from_a_client(self, loop):
        seen = []
        loop.set_exception_handler(lambda loop, context: seen.append(context))

        async def main():
            made = []
            listener = await loop.create_server(
                lambda: made.append(Recorder()) or made[-1],
                "127.0.0.1",
                0,
                ssl=server_context(),
            )
            async with listener:
                reader, writer = await asyncio.open_connection(
                    *listener.sockets[0].getsockname()
                )
                writer.write(b"GET / HTTP/1.0\r\n\r\n" * 10)
                # An alert at most, and the end.
                await reader.read()
                writer.close()
                assert not made[0].made.done()

        run(loop, main)
        loop.set_exception_handler(None)
        assert seen == []

    def test_between_records(self, loop):
        """The reason is OpenSSL's own, raised by Python's own code."""

        async def main():
            async with connected() as (here, there):
                below = here.transport._ssl_protocol._transport
                below.write(b"garbage, no record of TLS")
                error = await there.lost
                await here.lost
                return error.with_traceback(None)

        self.compare(loop, main)

    def test_a_record_that_was_tampered_with(self, loop):
        class Tampers:
            def __init__(self):
                self.sent = []

            def write(self, data):
                self.sent.append(data[:-1] + bytes([data[-1] ^ 1]))

        async def main():
            async with connected() as (here, there):
                core = here.transport._ssl_protocol
                below, core._transport = core._transport, Tampers()
                here.transport.write(b"secret")
                below.write(core._transport.sent[0])
                core._transport = below
                error = await there.lost
                assert there.data == b""
                return error.with_traceback(None)

        self.compare(loop, main)

    def compare(self, loop, main):
        stock = asyncio.SelectorEventLoop()
        expected = run(stock, main)
        stock.close()
        error = run(loop, main)
        assert type(error) is type(expected) is ssl.SSLError
        assert str(error) == str(expected)
        assert (error.library, error.reason) == (expected.library, expected.reason)
        assert error.reason is not None


class TestTimeouts:
    def test_of_the_handshake(self, loop):
        def answer(connection):
            while connection.recv(65536):
                pass

        error = run(loop, lambda: connect_raw(loop, answer, ssl_handshake_timeout=0.01))
        assert type(error) is ConnectionAbortedError
        assert str(error) == (
            "SSL handshake is taking longer than 0.01 seconds: aborting the connection"
        )

    def test_of_the_shutdown(self, loop):
        """A peer that neither reads nor says anything."""

        async def main():
            async with connected(ssl_shutdown_timeout=0.01) as (here, there):
                there.transport._ssl_protocol._transport.pause_reading()
                here.transport.close()
                assert type(await here.lost) is TimeoutError
                there.transport.abort()

        run(loop, main)

    @pytest.mark.parametrize("name", ["ssl_handshake_timeout", "ssl_shutdown_timeout"])
    @pytest.mark.parametrize("value", [0, -1])
    def test_that_are_none(self, loop, name, value):
        async def refused(used):
            sock, other = socket.socketpair()
            with sock, other:
                sock.setblocking(False)
                with pytest.raises(ValueError) as caught:
                    await used.create_connection(
                        Recorder,
                        sock=sock,
                        ssl=client_context(),
                        server_hostname=HOST,
                        **{name: value},
                    )
            return str(caught.value)

        stock = asyncio.SelectorEventLoop()
        expected = run(stock, refused, stock)
        stock.close()
        assert run(loop, refused, loop) == expected

    def test_cancelled_handshakes_leave_nothing(self, loop):
        async def main():
            listener = socket.create_server(("127.0.0.1", 0))
            with listener:
                for _ in range(3):
                    task = loop.create_task(
                        loop.create_connection(
                            Recorder,
                            *listener.getsockname(),
                            ssl=client_context(),
                            server_hostname=HOST,
                        )
                    )
                    peer, _ = await loop.run_in_executor(None, listener.accept)
                    with peer:
                        await loop.run_in_executor(None, peer.recv, 1)
                        task.cancel()
                        with pytest.raises(asyncio.CancelledError):
                            await task

        # The executor's wake-ups are opened with its first use.
        loop.run_until_complete(loop.run_in_executor(None, open_fds))
        run(loop, main)


class TestCalls:
    def test_write_of_something_else(self, loop):
        stock = asyncio.SelectorEventLoop()

        async def refused():
            said = []
            async with connected() as (here, _):
                for call in (
                    lambda t: t.write("text"),
                    lambda t: t.write(5),
                    lambda t: t.write(None),
                    lambda t: t.writelines(5),
                    lambda t: t.writelines([5]),
                    lambda t: t.write_eof(),
                    lambda t: t.set_write_buffer_limits(high=1, low=2),
                ):
                    try:
                        call(here.transport)
                    except Exception as exc:
                        said.append((type(exc), str(exc)))
            return said

        expected = run(stock, refused)
        stock.close()
        assert run(loop, refused) == expected

    def test_lines_that_are_no_bytes_end_the_connection(self, loop, errors):
        async def main():
            async with connected() as (here, there):
                here.transport.writelines([b"abc", "text"])
                assert type(await here.lost) is TypeError

        run(loop, main)
        assert [type(context["exception"]) for context in errors] == [TypeError]

    def test_a_protocol_that_was_never_initialized(self, loop):
        """Methods of an object that has none of its attributes yet."""
        core = _tls.TlsProtocol.__new__(_tls.TlsProtocol)
        for method in ("_do_read", "_flush", "_detach"):
            getattr(core, method)()
        with pytest.raises(AttributeError):
            core._process_outgoing()
        assert core._get_read_buffer_size() == core._get_write_buffer_size() == 0
        assert len(core.get_buffer(-1)) > 0
        core.buffer_updated(100)
        core.buffer_updated(-1)
        with pytest.raises(TypeError):
            core.buffer_updated("1")
        with pytest.raises(AttributeError):
            core._loop
        states = asyncio.sslproto.SSLProtocolState
        for core._state in (states.WRAPPED, states.FLUSHING):
            with pytest.raises(AttributeError):
                core._do_read()

    def test_a_buffer_that_somebody_keeps(self, loop):
        core = _tls.TlsProtocol.__new__(_tls.TlsProtocol)
        buffer = core.get_buffer(-1)
        with pytest.raises(BufferError):
            buffer.clear()
        core._detach()
        buffer.clear()
        assert len(core.get_buffer(-1)) == len(core.get_buffer(-1)) > 0
        core._detach()

    def test_feeding_while_being_fed(self, loop):
        """A protocol that calls the methods for the transport below."""

        class Feeds(Recorder):
            def data_received(self, data):
                super().data_received(data)
                core = self.transport._ssl_protocol
                core.get_buffer(-1)[:5] = b"\x17\x03\x03\xff\xff"
                core.buffer_updated(0)
                core._do_read()

        async def main():
            async with connected(Recorder, Feeds) as (here, there):
                here.transport.write(bytes(100_000))
                assert await there.receive(100_000) == bytes(100_000)

        run(loop, main)

    def test_losing_the_connection_inside_of_a_callback(self, loop):
        class Loses(Recorder):
            def data_received(self, data):
                super().data_received(data)
                self.transport._ssl_protocol.connection_lost(None)

        async def main():
            async with connected(Recorder, Loses) as (here, there):
                core = there.transport._ssl_protocol
                below = core._transport
                here.transport.write(bytes(100_000))
                await there.lost
                core._do_read()
                below.abort()

        run(loop, main)
