"""The standard library's transports, TLS and subprocesses work on the loop."""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
import subprocess
import sys

import pytest


async def echo(reader, writer):
    while data := await reader.readline():
        writer.write(data)
        await writer.drain()
    writer.close()
    await writer.wait_closed()


async def talk(reader, writer):
    for i in range(20):
        writer.write(b"line %d\n" % i)
        await writer.drain()
        assert await reader.readline() == b"line %d\n" % i
    large = b"x" * 1_000_000 + b"\n"
    writer.write(large)
    assert await reader.readline() == large
    writer.close()
    await writer.wait_closed()


async def let_others_end():
    """Wait for the servers' side: before 3.12 a server's end does not."""
    await asyncio.gather(*asyncio.all_tasks() - {asyncio.current_task()})


def test_tcp(loop):
    async def main():
        async with await asyncio.start_server(
            echo, "127.0.0.1", 0, limit=1 << 22
        ) as server:
            port = server.sockets[0].getsockname()[1]
            clients = [
                await asyncio.open_connection("127.0.0.1", port, limit=1 << 22)
                for _ in range(10)
            ]
            await asyncio.gather(*[talk(*client) for client in clients])
            await let_others_end()

    loop.run_until_complete(main())


def test_unix(loop, tmp_path):
    path = str(tmp_path / "socket")

    async def main():
        async with await asyncio.start_unix_server(echo, path, limit=1 << 22):
            await talk(*await asyncio.open_unix_connection(path, limit=1 << 22))
            await let_others_end()

    loop.run_until_complete(main())


def test_udp(loop):
    class Server(asyncio.DatagramProtocol):
        def connection_made(self, transport):
            self.transport = transport

        def datagram_received(self, data, addr):
            self.transport.sendto(data.upper(), addr)

    class Client(asyncio.DatagramProtocol):
        def __init__(self):
            self.received = loop.create_future()

        def datagram_received(self, data, addr):
            self.received.set_result(data)

    async def main():
        server, _ = await loop.create_datagram_endpoint(
            Server, local_addr=("127.0.0.1", 0)
        )
        client, protocol = await loop.create_datagram_endpoint(
            Client, remote_addr=server.get_extra_info("sockname")
        )
        client.sendto(b"hello")
        assert await protocol.received == b"HELLO"
        client.close()
        server.close()
        await asyncio.sleep(0)

    loop.run_until_complete(main())


def test_sock_methods(loop):
    left, right = socket.socketpair()
    left.setblocking(False)
    right.setblocking(False)

    async def main():
        data = os.urandom(1_000_000)

        async def receive():
            received = b""
            while len(received) < len(data):
                received += await loop.sock_recv(right, 1 << 16)
            return received

        task = asyncio.create_task(receive())
        await loop.sock_sendall(left, data)
        assert await task == data

    loop.run_until_complete(main())
    left.close()
    right.close()


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    folder = tmp_path_factory.mktemp("certificate")
    key, cert = folder / "key.pem", folder / "cert.pem"
    subprocess.run(
        f"openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost -addext subjectAltName=DNS:localhost -keyout {key} -out {cert}".split(),
        check=True,
        capture_output=True,
    )
    return key, cert


def test_tls(loop, certificate):
    key, cert = certificate
    server_context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server_context.load_cert_chain(cert, key)
    client_context = ssl.create_default_context(cafile=cert)

    async def main():
        async with await asyncio.start_server(
            echo, "127.0.0.1", 0, ssl=server_context, limit=1 << 22
        ) as server:
            port = server.sockets[0].getsockname()[1]
            await talk(
                *await asyncio.open_connection(
                    "127.0.0.1",
                    port,
                    ssl=client_context,
                    server_hostname="localhost",
                    limit=1 << 22,
                )
            )
            await let_others_end()

    loop.run_until_complete(main())


def test_subprocess(loop):
    code = "import sys; data = sys.stdin.read(); print(data.upper()); sys.exit(3)"

    async def main():
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-c",
            code,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )
        out, _ = await process.communicate(b"hello")
        assert out == b"HELLO\n"
        assert process.returncode == 3

    loop.run_until_complete(main())


def test_subprocess_killed(loop):
    async def main():
        process = await asyncio.create_subprocess_exec("sleep", "100")
        process.kill()
        assert await process.wait() == -9

    loop.run_until_complete(main())


def test_pipes(loop):
    async def main():
        read_fd, write_fd = os.pipe()
        reader = asyncio.StreamReader()
        await loop.connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(read_fd, "rb")
        )
        transport, _ = await loop.connect_write_pipe(
            asyncio.BaseProtocol, os.fdopen(write_fd, "wb")
        )
        transport.write(b"hello\n")
        assert await reader.readline() == b"hello\n"
        transport.close()
        assert await reader.read() == b""

    loop.run_until_complete(main())


def test_sendfile(loop, tmp_path):
    path = tmp_path / "file"
    data = os.urandom(300_000)
    path.write_bytes(data)

    async def main():
        received = loop.create_future()

        async def collect(reader, writer):
            received.set_result(await reader.read())
            writer.close()

        async with await asyncio.start_server(collect, "127.0.0.1", 0) as server:
            _, writer = await asyncio.open_connection(
                "127.0.0.1", server.sockets[0].getsockname()[1]
            )
            with open(path, "rb") as file:
                await loop.sendfile(writer.transport, file)
            writer.close()
            await writer.wait_closed()
            assert await received == data
            await let_others_end()

    loop.run_until_complete(main())
