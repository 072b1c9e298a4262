"""Loads a server: trio_load.py KIND PORT CONNECTIONS.

Every connection sends its next message when it has the answer to its last. For each
line on stdin, a number of messages, that many are exchanged, and a line on stdout
tells the latencies' median and 99th percentile in nanoseconds.
"""

import json
import re
import selectors
import socket
import statistics
import sys
import time

from shared.machine import allow_open_files

SPARE_FILES = 100
ECHO_MESSAGE = bytes(range(256)) * 4
HTTP_REQUEST = b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nAccept: */*\r\n\r\n"


def is_whole_echo(answer):
    return len(answer) == len(ECHO_MESSAGE)


def is_whole_response(answer):
    head, end, body = answer.partition(b"\r\n\r\n")
    if not end:
        return False
    length = re.search(rb"(?i)^content-length: *(\d+)", head, re.MULTILINE)
    return len(body) == int(length[1])


def is_right_echo(answer):
    return answer == ECHO_MESSAGE


def is_right_response(answer):
    return answer.startswith(b"HTTP/1.1 200 ")


KINDS = {
    "echo": (ECHO_MESSAGE, is_whole_echo, is_right_echo),
    "http": (HTTP_REQUEST, is_whole_response, is_right_response),
}


class Connection:
    def __init__(self, port, kind):
        self.message, self.is_whole, self.is_right = KINDS[kind]
        self.answer = b""
        self.sent_at = None
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def send(self):
        self.sent_at = time.perf_counter_ns()
        self.socket.sendall(self.message)

    def receive(self):
        """Return the latency if this was the answer's last part, else None."""
        data = self.socket.recv(65536)
        self.answer += data
        if not data or (self.is_whole(self.answer) and not self.is_right(self.answer)):
            sys.exit(f"wrong answer: {self.answer[:200]!r}")
        if not self.is_whole(self.answer):
            return None
        self.answer = b""
        return time.perf_counter_ns() - self.sent_at


def exchange(selector, connections, count):
    """Return the latencies of `count` messages, at least one a connection."""
    latencies = []
    for connection in connections:
        connection.send()
    left = count - len(connections)
    while len(latencies) < count:
        for key, _ in selector.select():
            latency = key.data.receive()
            if latency is None:
                continue
            latencies.append(latency)
            if left:
                left -= 1
                key.data.send()
    return latencies


def say(message):
    print(json.dumps(message), flush=True)


def main(kind, port, count):
    allow_open_files(count + SPARE_FILES)
    selector = selectors.DefaultSelector()
    connections = [Connection(port, kind) for _ in range(count)]
    for connection in connections:
        selector.register(connection.socket, selectors.EVENT_READ, connection)
    say("connected")
    for line in sys.stdin:
        latencies = exchange(selector, connections, int(line))
        cuts = statistics.quantiles(latencies, n=100, method="inclusive")
        say({"p50": cuts[49], "p99": cuts[98]})


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
