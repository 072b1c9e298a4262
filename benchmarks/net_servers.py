"""The servers of bench_net that need no library: they echo, in each of asyncio's
ways."""

import asyncio
import contextlib
import mmap
import os
import socket
import ssl
import tempfile

from shared.machine import build_folder

BACKLOG = 4096
READ_SIZE = 256 * 1024
CERTIFICATE = build_folder() / "certificate.pem"  # with its key
HTTP_HEAD = (
    b"HTTP/1.1 200 OK\r\nserver: bench\r\ncontent-type: text/plain\r\n"
    b"content-length: %d\r\n\r\n"
)


class Echo(asyncio.Protocol):
    def connection_made(self, transport):
        self.transport = transport

    def data_received(self, data):
        self.transport.write(data)


class BufferedEcho(asyncio.BufferedProtocol):
    def connection_made(self, transport):
        self.transport = transport
        # At the beginning of a page, for some CPUs copy at half the speed to where
        # a bytearray of that size is.
        self.view = memoryview(mmap.mmap(-1, READ_SIZE))

    def get_buffer(self, sizehint):
        return self.view

    def buffer_updated(self, size):
        # A copy, for not every loop makes one of what changes while it waits.
        self.transport.write(bytes(self.view[:size]))


class DatagramEcho(asyncio.DatagramProtocol):
    def connection_made(self, transport):
        self.transport = transport

    def datagram_received(self, data, address):
        self.transport.sendto(data, address)


class Closing(asyncio.Protocol):
    def connection_made(self, transport):
        transport.close()


class PipeEcho(asyncio.Protocol):
    def __init__(self, transport):
        self.transport = transport

    def data_received(self, data):
        self.transport.write(data)


def body_of(size):
    """Return what net_load.c expects as a body."""
    return (b"abcdefghijklmnopqrstuvwxyz" * (size // 26 + 1))[:size]


def answering(size):
    """Return a protocol that answers what comes by two writes, as HTTP's."""
    body = body_of(size)
    head = HTTP_HEAD % size

    class Answering(asyncio.Protocol):
        def connection_made(self, transport):
            self.transport = transport

        def data_received(self, data):
            # A whole request: that short a one comes in one piece.
            self.transport.write(head)
            self.transport.write(body)

    return Answering


def tls_context():
    if not CERTIFICATE.exists():
        raise ModuleNotFoundError("there is no certificate")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(CERTIFICATE)
    return context


def listening_socket():
    """Return one with the protocol named, which asyncio's TCP_NODELAY depends on."""
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.bind(("127.0.0.1", 0))
    listener.listen(BACKLOG)
    listener.setblocking(False)
    return listener


def port_of(server):
    return str(server.sockets[0].getsockname()[1])


@contextlib.asynccontextmanager
async def closed(server):
    """Run the block, then close the server."""
    try:
        yield
    finally:
        server.close()


def over_tcp(factory):
    """Return what starts a server with such protocols, with TLS if the clients'."""

    @contextlib.asynccontextmanager
    async def start(loop, traffic):
        context = tls_context() if traffic.tls else None
        server = await loop.create_server(
            factory, "127.0.0.1", 0, backlog=BACKLOG, ssl=context
        )
        async with closed(server):
            yield [port_of(server)]

    return start


def over_unix(factory):
    @contextlib.asynccontextmanager
    async def start(loop, traffic):
        with tempfile.TemporaryDirectory() as folder:
            path = f"{folder}/socket"
            server = await loop.create_unix_server(factory, path, backlog=BACKLOG)
            async with closed(server):
                yield [path]

    return start


@contextlib.asynccontextmanager
async def over_udp(loop, traffic):
    transport, _ = await loop.create_datagram_endpoint(
        DatagramEcho, local_addr=("127.0.0.1", 0)
    )
    try:
        yield [str(transport.get_extra_info("sockname")[1])]
    finally:
        transport.close()


@contextlib.asynccontextmanager
async def over_pipes(loop, traffic):
    here, there = os.pipe()
    back, forth = os.pipe()
    writing, _ = await loop.connect_write_pipe(asyncio.Protocol, os.fdopen(forth, "wb"))
    reading, _ = await loop.connect_read_pipe(
        lambda: PipeEcho(writing), os.fdopen(here, "rb")
    )
    try:
        yield f"{back}:{there}", (back, there)
    finally:
        reading.close()
        writing.close()
        os.close(back)
        os.close(there)


async def echo_streams(reader, writer):
    while data := await reader.read(READ_SIZE):
        writer.write(data)
        await writer.drain()
    writer.close()


@contextlib.asynccontextmanager
async def over_streams(loop, traffic):
    server = await asyncio.start_server(echo_streams, "127.0.0.1", 0, backlog=BACKLOG)
    async with closed(server):
        yield [port_of(server)]


async def echo_socket(loop, connection):
    with connection:
        while data := await loop.sock_recv(connection, READ_SIZE):
            await loop.sock_sendall(connection, data)


async def accept_sockets(loop, listener, tasks):
    while True:
        connection, _ = await loop.sock_accept(listener)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        task = loop.create_task(echo_socket(loop, connection))
        tasks.add(task)
        task.add_done_callback(tasks.discard)


@contextlib.asynccontextmanager
async def over_sock(loop, traffic):
    """Serve with loop.sock_accept, sock_recv and sock_sendall."""
    tasks = set()
    with listening_socket() as listener:
        accepting = loop.create_task(accept_sockets(loop, listener, tasks))
        try:
            yield [str(listener.getsockname()[1])]
        finally:
            accepting.cancel()
            for task in tasks:
                task.cancel()
            await asyncio.gather(accepting, *tasks, return_exceptions=True)
