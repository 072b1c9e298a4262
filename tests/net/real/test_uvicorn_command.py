"""uvicorn as a program, started as its users start it."""

from __future__ import annotations

import http.client
import json
import signal
import site
import socket
import sys
from pathlib import Path

import pytest

pytest.importorskip("uvicorn")
pytest.importorskip("httptools")

from ..._real.child import Child, environment, wait_until_gone  # noqa: E402
from .plain_app import MEGABYTE  # noqa: E402

HERE = Path(__file__).resolve().parent
OURS = ["trio_asyncio_c", "EventLoop"]
UVICORN = "-m uvicorn plain_app:app --http httptools --no-access-log".split()
WAYS = {
    "python -m trio_asyncio_c": ["-m", "trio_asyncio_c", *UVICORN, "--loop", "asyncio"],
    "--loop factory": [*UVICORN, "--loop", "trio_asyncio_c:new_event_loop"],
    "--loop class": [*UVICORN, "--loop", "trio_asyncio_c:EventLoop"],
}


@pytest.fixture(params=list(WAYS))
def way(request):
    return WAYS[request.param]


# What a process that uvicorn spawns reads when it starts, to get our loop.
STARTUP_FILES = ["trio_asyncio_c.pth", "trio_asyncio_c_startup.pth"]
IS_INSTALLED = any(
    Path(path, name).exists()
    for path in site.getsitepackages()
    for name in STARTUP_FILES
)


def start(way, *options, warnings=("error",), **variables):
    switches = [f"-W{warning}" for warning in warnings]
    command = [sys.executable, *switches, *way, *options]
    return Child(command, env=environment(HERE, **variables))


def port_of(child):
    return int(child.wait_for(r"Uvicorn running on http://127\.0\.0\.1:(\d+)")[0])


class UnixConnection(http.client.HTTPConnection):
    """An HTTP connection to a Unix socket."""

    def __init__(self, path):
        super().__init__("here", timeout=40)
        self._path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(self._path)


def ask(connection, method, path, body=None):
    connection.request(method, path, body)
    response = connection.getresponse()
    assert response.status == 200
    return response.read()


def check_quiet(child):
    """Check that the program complained of nothing while it ran and ended."""
    for word in ("Traceback", "Warning", "Error", "ERROR"):
        assert word not in child.output, child.output


def talk(connection, times=20):
    """Do a server's usual work over one connection; return what it says of itself."""
    for _ in range(times):
        assert ask(connection, "GET", "/plain") == b"Hello, world!"
    assert ask(connection, "GET", "/large") == MEGABYTE
    assert ask(connection, "POST", "/echo", MEGABYTE) == MEGABYTE
    assert len(ask(connection, "GET", "/stream?500")) > 100_000
    about = json.loads(ask(connection, "GET", "/about"))
    assert about["loop"] == OURS
    connection.close()
    return about


def test_one_process(way):
    with start(way, "--port", "0") as child:
        about = talk(http.client.HTTPConnection("127.0.0.1", port_of(child)))
        assert about["pid"] == child.process.pid
        assert about["state"] == {"started": True}
    child.wait_for("lifespan: ended")
    check_quiet(child)


def test_unix_socket(way, tmp_path):
    path = str(tmp_path / "socket")
    with start(way, "--uds", path) as child:
        child.wait_for("Uvicorn running on unix socket")
        talk(UnixConnection(path))
    check_quiet(child)


def test_several_workers(way):
    if "trio_asyncio_c" in way and not IS_INSTALLED:
        pytest.skip("the package's .pth file is not in site-packages")
    # The parent process exits with the listening socket open.
    warnings = ("error", "ignore:unclosed <socket:ResourceWarning")
    with start(way, "--port", "0", "--workers", "3", warnings=warnings) as child:
        port = port_of(child)
        pids = set(map(int, child.wait_for(r"Started server process \[(\d+)\]", 3)))
        child.wait_for("Application startup complete", 3)
        assert len(pids) == 3
        connections = [http.client.HTTPConnection("127.0.0.1", port) for _ in range(8)]
        for connection in connections:
            connection.connect()
        assert {talk(connection, 2)["pid"] for connection in connections} <= pids
    child.wait_for("lifespan: ended", 3)
    for pid in pids:
        wait_until_gone(pid)
    check_quiet(child)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_request_is_served_to_its_end_after_a_signal(way, number):
    with start(way, "--port", "0") as child:
        connection = http.client.HTTPConnection("127.0.0.1", port_of(child))
        connection.putrequest("POST", "/announced")
        connection.putheader("Content-Length", "20")
        connection.endheaders(b"first half")
        with connection.getresponse() as response:
            assert response.read(6) == b"begun;"
            child.process.send_signal(number)
            child.wait_for("Waiting for connections to close")
            connection.send(b"other half")
            assert response.read() == b"first halfother half"
        connection.close()
        status = child.wait()
    assert "lifespan: ended" in child.output
    check_quiet(child)
    # uvicorn sends itself the signal again, and takes SIGINT for a usual end.
    assert status == (0 if number == signal.SIGINT else -number)


@pytest.mark.skipif(not IS_INSTALLED, reason="the package is not installed")
@pytest.mark.parametrize("with_anyio", [True, False])
def test_a_fastapi_program_on_the_scopes_by_its_environment(with_anyio):
    pytest.importorskip("fastapi")
    scopes = "trio_asyncio_c" if with_anyio else "anyio"
    variables = {
        "TRIO_ASYNCIO_C_ASYNCIO": "1",
        "TRIO_ASYNCIO_C_ANYIO": "1" if with_anyio else "0",
    }
    way = "-m uvicorn scopes_app:app --loop asyncio --no-access-log --port 0".split()
    with start(way, warnings=("default",), **variables) as child:
        connection = http.client.HTTPConnection("127.0.0.1", port_of(child))
        about = json.loads(ask(connection, "GET", "/about"))
        assert about == {"loop": "trio_asyncio_c", "scopes": scopes}
        assert json.loads(ask(connection, "GET", "/thread")) == scopes
        lines = ask(connection, "GET", "/stream").decode().splitlines()
        assert lines == [f"{number} {scopes} True" for number in range(10)]
        connection.close()
    assert "Traceback" not in child.output
