"""Servers on Unix sockets."""

from __future__ import annotations

import os
import socket
import sys

import pytest

from ._helpers import (
    on_both,
    outcome_of,
)
from ._server_helpers import NEW_IN_3_13, Clients, ask, connect, end


@pytest.mark.parametrize("make_path", [str, os.fsencode, lambda path: path])
def test_a_path(tmp_path, make_path):
    async def program(loop, seen):
        path = tmp_path / "socket"
        clients = Clients()
        server = await loop.create_unix_server(clients, make_path(path))
        seen.append(path.is_socket())
        seen.append(await ask(str(path), socket.AF_UNIX))
        seen.append(await ask(str(path), socket.AF_UNIX))
        await end(server, clients)
        get = clients.made[0].transport.get_extra_info
        seen.append((get("peername"), get("sockname") == str(path)))
        # Removed from 3.13 on.
        seen.append(path.exists())
        path.unlink(missing_ok=True)

    assert on_both(program)[-1] is (sys.version_info < (3, 13))


def test_abstract_names():
    async def program(loop, seen):
        name = f"\0trio-asyncio-c-{os.getpid()}"
        for path in (name, name.encode()):
            clients = Clients()
            server = await loop.create_unix_server(clients, path)
            seen.append(await ask(path, socket.AF_UNIX))
            seen.append(server.sockets[0].getsockname() == name.encode())
            again = await outcome_of(loop.create_unix_server(clients, path))
            seen.append(again[0])
            await end(server, clients)

    assert on_both(program) == [b"HELLO", True, "OSError"] * 2


def test_what_is_in_the_way(tmp_path):
    async def program(loop, seen):
        path = tmp_path / "socket"
        # A socket that nobody uses is replaced.
        with socket.socket(socket.AF_UNIX) as sock:
            sock.bind(str(path))
        server = await loop.create_unix_server(Clients(), path)
        # So is one that somebody uses; but not through the same server's close.
        second = await outcome_of(loop.create_unix_server(Clients(), path))
        if isinstance(second, tuple):
            seen.append((second[0], second[1].replace(str(path), "PATH")))
        else:
            second.close()
            await second.wait_closed()
            seen.append("replaced")
        await end(server)
        path.unlink(missing_ok=True)
        path.write_text("a file")
        answer = await outcome_of(loop.create_unix_server(Clients(), path))
        seen.append((answer[0], answer[1].replace(str(path), "PATH")))
        seen.append(path.read_text())
        path.unlink()

    on_both(program)


@NEW_IN_3_13
@pytest.mark.parametrize("cleanup", [None, True, False])
def test_cleanup_socket(tmp_path, cleanup):
    async def program(loop, seen):
        path = tmp_path / "socket"
        options = {} if cleanup is None else {"cleanup_socket": cleanup}
        server = await loop.create_unix_server(Clients(), path, **options)
        server.close()
        seen.append(path.exists())
        await server.wait_closed()
        path.unlink(missing_ok=True)

        # Somebody else's by now.
        server = await loop.create_unix_server(Clients(), path, **options)
        path.unlink()
        with socket.socket(socket.AF_UNIX) as other:
            other.bind(str(path))
            await end(server)
            seen.append(path.exists())
        path.unlink(missing_ok=True)

        # Gone already.
        server = await loop.create_unix_server(Clients(), path, **options)
        path.unlink()
        await end(server)
        seen.append(path.exists())

    assert on_both(program) == [cleanup is False, True, False]


@pytest.mark.parametrize("cleanup", [None, True, False])
def test_a_socket_that_is_handed_over(tmp_path, cleanup):
    """cpython #133354: as by systemd, which uses it again for the next process; the
    path goes or stays as the running version has it."""
    if cleanup is not None and sys.version_info < (3, 13):
        pytest.skip("cleanup_socket came with CPython 3.13")

    async def program(loop, seen):
        path = tmp_path / "socket"
        options = {} if cleanup is None else {"cleanup_socket": cleanup}
        with socket.socket(socket.AF_UNIX) as parents:
            parents.bind(str(path))
            parents.listen()
            ours = socket.socket(fileno=os.dup(parents.fileno()))
            clients = Clients()
            server = await loop.create_unix_server(clients, sock=ours, **options)
            seen.append(await ask(str(path), socket.AF_UNIX))
            await end(server, clients)
            seen.append(path.exists())
            if path.exists():
                # It goes on listening.
                with connect(str(path), socket.AF_UNIX):
                    parents.setblocking(False)
                    accepted, _ = parents.accept()
                    accepted.close()
        path.unlink(missing_ok=True)

    assert on_both(program)[0] == b"HELLO"


def test_a_tcp_socket_that_is_handed_over():
    async def program(loop, seen):
        with socket.create_server(("127.0.0.1", 0)) as parents:
            for _ in range(2):
                ours = socket.socket(fileno=os.dup(parents.fileno()))
                clients = Clients()
                server = await loop.create_server(clients, sock=ours)
                seen.append(await ask(parents.getsockname()))
                await end(server, clients)
            with connect(parents.getsockname()):
                accepted, _ = parents.accept()
                accepted.close()

    assert on_both(program) == [b"HELLO", b"HELLO"]
