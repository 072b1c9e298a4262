"""Against OpenSSL's own client and server: renegotiation and key updates."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import ssl

import pytest

pytest.importorskip("trustme")

from ._tls_helpers import (
    Recorder,
    authority,
    certificate,
    client_context,
    run,
    server_context,
)

OPENSSL = shutil.which("openssl")

pytestmark = [
    pytest.mark.usefixtures("engine"),
    pytest.mark.skipif(OPENSSL is None, reason="there is no openssl to run"),
]


@contextlib.asynccontextmanager
async def openssl(*arguments):
    """Run a command of openssl's, and end it."""
    process = await asyncio.create_subprocess_exec(
        OPENSSL,
        *arguments,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.communicate()


@pytest.fixture
def files(tmp_path):
    """The certificates as files, for openssl."""
    authority().cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    certificate().private_key_and_cert_chain_pem.write_to_path(
        str(tmp_path / "cert.pem")
    )
    return tmp_path


def s_client(port, files, *arguments):
    return openssl(
        *("s_client", "-connect", f"127.0.0.1:{port}"),
        *("-CAfile", str(files / "ca.pem"), *arguments),
    )


class Echo(Recorder):
    def data_received(self, data):
        super().data_received(data)
        self.transport.write(data)


async def until(stream, text):
    """Read on till a text came, and return what came."""
    seen = b""
    while text not in seen:
        more = await stream.read(65536)
        assert more, seen.decode(errors="replace")
        seen += more
    return seen


@pytest.mark.parametrize(
    ("option", "command", "answer"),
    [
        ("-tls1_3", b"K\n", b"KEYUPDATE"),  # both sides are to change keys
        ("-tls1_3", b"k\n", b"KEYUPDATE"),  # this one only
    ],
    ids=["both", "one"],
)
def test_key_updates_from_a_client(loop, files, option, command, answer):
    async def main():
        accepted = loop.create_future()

        def accept():
            accepted.set_result(Echo())
            return accepted.result()

        server = await loop.create_server(accept, "127.0.0.1", 0, ssl=server_context())
        async with server:
            port = server.sockets[0].getsockname()[1]
            async with s_client(port, files, option) as client:
                echo = await accepted
                await echo.made
                for round in range(3):
                    text = b"before %d\n" % round
                    client.stdin.write(text)
                    await until(client.stdout, text)
                    client.stdin.write(command)
                    await until(client.stdout, answer)
                    text = b"after %d\n" % round
                    client.stdin.write(text)
                    await until(client.stdout, text)
                    # Larger than a record, with the new keys.
                    echo.transport.write(bytes(50_000) + b"done %d\n" % round)
                    await until(client.stdout, b"done %d\n" % round)
                echo.transport.abort()
                await echo.lost

    run(loop, main)


def test_renegotiation_by_a_server(loop, files):
    """TLS 1.2: plaintext that cannot be encrypted meanwhile waits."""

    async def main():
        async with openssl(
            *("s_server", "-accept", "127.0.0.1:0", "-tls1_2"),
            *("-cert", str(files / "cert.pem"), "-key", str(files / "cert.pem")),
        ) as server:
            seen = await until(server.stdout, b"\n")
            while b"ACCEPT 127.0.0.1:" not in seen:
                seen += await until(server.stdout, b"\n")
            port = int(seen.partition(b"ACCEPT 127.0.0.1:")[2].split()[0])
            client = client_context(maximum_version=ssl.TLSVersion.TLSv1_2)
            transport, protocol = await loop.create_connection(
                Recorder, "127.0.0.1", port, ssl=client, server_hostname="localhost"
            )
            for round in range(3):
                server.stdin.write(b"r\n")
                # It is not known when the request comes; some of these meet it.
                for number in range(20):
                    text = b"line %d of %d\n" % (number, round)
                    transport.write(text)
                    await until(server.stdout, text)
                text = b"hello %d\n" % round
                server.stdin.write(text)
                assert await protocol.receive(len(text)) == text
            transport.close()
            await protocol.lost

    run(loop, main)
