"""What the tests of TLS share: certificates, contexts, and connected ends."""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import functools
import ssl

import trustme

HOST = "localhost"
# Longer than anything here takes, by far.
TIMEOUT_S = 30
DAY = datetime.timedelta(days=1)


@functools.cache
def authority():
    return trustme.CA(key_type=trustme.KeyType.ECDSA)


def issue(name=HOST, ca=None, **kwargs):
    return (ca or authority()).issue_cert(
        name, key_type=trustme.KeyType.ECDSA, **kwargs
    )


@functools.cache
def certificate():
    return issue()


@functools.cache
def expired_certificate():
    now = datetime.datetime.now(datetime.timezone.utc)
    return issue(not_before=now - 2 * DAY, not_after=now - DAY)


def server_context(cert=None, **settings):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    (cert or certificate()).configure_cert(context)
    return with_settings(context, settings)


def client_context(**settings):
    context = ssl.create_default_context(cadata=authority().cert_pem.bytes().decode())
    return with_settings(context, settings)


def with_settings(context, settings):
    for name, value in settings.items():
        setattr(context, name, value)
    return context


class Recorder(asyncio.Protocol):
    """Keep what it is told, and resolve futures by it."""

    def __init__(self):
        loop = asyncio.get_running_loop()
        self.calls = []
        self.data = bytearray()
        self.transport = None
        self.made = loop.create_future()
        self.ended = loop.create_future()
        self.lost = loop.create_future()
        self.wanted = None

    def connection_made(self, transport):
        self.calls.append("made")
        self.transport = transport
        self.made.set_result(None)

    def data_received(self, data):
        assert type(data) is bytes
        if self.calls[-1] != "data":
            self.calls.append("data")
        self.data += data
        if self.wanted is not None and len(self.data) >= self.wanted[0]:
            wanted, self.wanted = self.wanted, None
            wanted[1].set_result(None)

    async def receive(self, size):
        """Wait for so many bytes, and take them."""
        if len(self.data) < size:
            self.wanted = size, asyncio.get_running_loop().create_future()
            await self.wanted[1]
        data = bytes(self.data[:size])
        del self.data[:size]
        return data

    def eof_received(self):
        self.calls.append("eof")
        self.ended.set_result(None)

    def pause_writing(self):
        self.calls.append("pause")

    def resume_writing(self):
        self.calls.append("resume")

    def connection_lost(self, exc):
        self.calls.append("lost")
        self.lost.set_result(exc)


class BufferedRecorder(Recorder, asyncio.BufferedProtocol):
    """The same with a buffer of its own, of a size that no record fits into."""

    def __init__(self, size=5000):
        super().__init__()
        self.buffer = bytearray(size)

    def get_buffer(self, sizehint):
        return self.buffer

    def buffer_updated(self, nbytes):
        self.data_received(bytes(self.buffer[:nbytes]))


@contextlib.asynccontextmanager
async def connected(
    client_factory=Recorder, server_factory=Recorder, *, server=None, client=None, **kw
):
    """Give the two protocols of a TLS connection; closed, and waited for, after."""
    loop = asyncio.get_running_loop()
    accepted = loop.create_future()

    def accept():
        protocol = server_factory()
        accepted.set_result(protocol)
        return protocol

    async with await loop.create_server(
        accept, "127.0.0.1", 0, ssl=server or server_context()
    ) as listener:
        kw.setdefault("server_hostname", HOST)
        _, here = await loop.create_connection(
            client_factory,
            *listener.sockets[0].getsockname(),
            ssl=client or client_context(),
            **kw,
        )
        there = await accepted
        await there.made
        try:
            yield here, there
        finally:
            for end in (here, there):
                end.transport.close()
            await asyncio.gather(here.lost, there.lost)


def run(loop, main, *args):
    """Run a coroutine function, within a time limit."""

    async def limited():
        async with asyncio.timeout(TIMEOUT_S):
            return await main(*args)

    return loop.run_until_complete(limited())
