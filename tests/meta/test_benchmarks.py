"""A benchmark's case runs on our loop, and its clients tell wrong answers."""

from __future__ import annotations

import ast
import json
import os
import shutil
import subprocess
import sys

import pytest

from ._sources import ROOT

TIMEOUT_S = 300
COMPILER = os.environ.get("CC", "cc").split()[0]

pytestmark = pytest.mark.skipif(
    shutil.which(COMPILER) is None, reason="the clients are in C"
)


@pytest.mark.parametrize(
    ("name", "printed"),
    [
        ("echo 10 KiB, 1 connection", "too short"),
        ("aiohttp web sockets 1 KiB", "CPU/best peer, goal 1.0"),
    ],
)
def test_net_case_runs(tmp_path, name, printed):
    found = tmp_path / "found.json"
    script = str(ROOT / "benchmarks" / "bench_net.py")
    only = ["--quick", "--only", name]
    done = subprocess.run(
        [sys.executable, script, *only, "--json", str(found)],
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    [case] = json.loads(found.read_text())["cases"].values()
    assert "ours" not in case["failures"]
    assert all(figures["process"] > 0 for figures in case["rounds"]["ours"])
    assert printed in done.stdout


@pytest.mark.parametrize(
    "script, name",
    [
        ("bench_crossing.py", "sandwich of ten levels"),
        ("bench_crossing.py", "run_trio / spawn in a nursery"),
        ("bench_scopes.py", "a task group with 10 children"),
        ("bench_scopes.py", "a scope with 10 000 tasks"),
    ],
)
def test_case_of_few_words_runs(tmp_path, script, name):
    found = tmp_path / "found.json"
    script = str(ROOT / "benchmarks" / script)
    done = subprocess.run(
        [sys.executable, script, "--quick", "--only", name, "--json", str(found)],
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    case = json.loads(found.read_text())["cases"][name]
    assert "ours" not in case["failures"]
    assert all(figures["process"] > 0 for figures in case["rounds"]["ours"])
    assert name in done.stdout


NO_SERVER = """
import sys
sys.path.insert(0, sys.argv[1])
from net_services import serving
with serving("redis") as lacking:
    print(lacking)
"""

NO_PACKAGE = """
import sys
sys.path.insert(0, sys.argv[1])
sys.modules["asyncpg"] = None
import net_worker
net_worker.main("asyncio", "asyncpg, a row", "0")
"""


@pytest.mark.parametrize(
    ("program", "words"),
    [
        (NO_SERVER, "there is no redis-server here: tools/servers.sh installs it"),
        (NO_PACKAGE, '"missing: import of asyncpg halted'),
    ],
)
def test_what_is_not_installed_is_told(tmp_path, program, words):
    done = subprocess.run(
        [sys.executable, "-c", program, str(ROOT / "benchmarks")],
        capture_output=True,
        text=True,
        env={**os.environ, "PATH": str(tmp_path)},
        timeout=TIMEOUT_S,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(words)


WRONG_ECHO = """
import socket, subprocess, sys
sys.path.insert(0, sys.argv[1])
from shared.build import compile_program, program
assert compile_program("net_load", "dl") is None
listener = socket.create_server(("127.0.0.1", 0))
port = str(listener.getsockname()[1])
clients = subprocess.Popen(
    [program("net_load"), "echo", port, "1000", "1"],
    stdin=subprocess.PIPE, stderr=subprocess.PIPE,
)
connection = listener.accept()[0]
clients.stdin.write(b"1\\n")
clients.stdin.flush()
data = bytearray()
while len(data) < 1000:
    data += connection.recv(1000)
data[500] ^= 1
connection.sendall(data)
print(clients.stderr.read().decode(), clients.wait())
connection.close()
listener.close()
"""


def test_clients_compare_what_is_echoed():
    done = subprocess.run(
        [sys.executable, "-c", WRONG_ECHO, str(ROOT / "benchmarks")],
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
    )
    assert done.returncode == 0, done.stderr
    assert "wrong answer: other bytes than were sent" in done.stdout
    assert done.stdout.rstrip().endswith(" 1")


BUSY = """
import os, sys
sys.path.insert(0, sys.argv[1])
from net_split import Split
from shared.build import compile_program
assert compile_program("net_split") is None
with Split(os.getpid()) as split:
    while (seen := split.read()) is not None and 0 in seen:
        sum(range(10_000))  # what is the user's; to read is the kernel's
    print(seen)
with Split(0x7FFFFFFF) as split:
    print(split.read())
"""


def test_user_and_system_time_are_told_apart():
    done = subprocess.run(
        [sys.executable, "-c", BUSY, str(ROOT / "benchmarks")],
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
    )
    assert done.returncode == 0, done.stderr
    seen, of_none = map(ast.literal_eval, done.stdout.splitlines())
    assert of_none is None  # there is no such process
    # None: this machine does not let it look.
    assert seen is None or min(seen) > 0
