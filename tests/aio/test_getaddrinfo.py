"""getaddrinfo: numeric addresses are answered as libc does, but without it."""

from __future__ import annotations

import asyncio
import inspect
import itertools
import logging
import random
import socket
import threading
from unittest import mock

import pytest

from trio_asyncio_c import EventLoop, _getaddrinfo

SAMPLES = 200_000

NUMERIC_HOSTS = [
    "127.0.0.1",
    "0.0.0.0",
    "255.255.255.255",
    "192.0.2.17",
    b"192.0.2.18",
    "::1",
    "::",
    "2001:DB8::00a:1",
    "2001:db8:0:0:1:0:0:1",
    "::1.2.3.4",
    "fe80::1",
    b"ff02::1",
]
OTHER_HOSTS = [
    "127.1",
    "0x7f.1",
    "010.0.0.1",
    "127.0.0.01",
    "2130706433",
    "1.2.3.256",
    "1.2.3",
    "1.2.3.4.5",
    " 1.2.3.4",
    "1.2.3.4 ",
    "1.2.3.4\n",
    "1.2.3.4\0",
    "\uff11.2.3.4",
    "\u0661.2.3.4",
    "\ud800",
    "[::1]",
    "::1%lo",
    "fe80::1%1",
    b"fe80::1%lo",
    "::ffff:1.2.3.4",
    "::FFFF:0102:0304",
    ":::",
    "1::2::3",
    "",
    b"",
    None,
    bytearray(b"127.0.0.1"),
    127,
]
NUMERIC_PORTS = [None, 0, 1, 80, 65535, "80", "0", b"443", "65535"]
OTHER_PORTS = [
    -1,
    65536,
    1 << 40,
    "080",
    "00",
    "+80",
    " 80",
    "80 ",
    "65536",
    "99999",
    "\u0663",
    "",
    b"",
    "80\0",
    80.0,
    bytearray(b"80"),
]
FAMILIES = [0, socket.AF_INET, socket.AF_INET6, int(socket.AF_INET), socket.AF_UNIX, 99]
TYPES = [0, socket.SOCK_STREAM, socket.SOCK_DGRAM, socket.SOCK_RAW, 5, 99, True]
PROTOS = [0, socket.IPPROTO_TCP, socket.IPPROTO_UDP, socket.IPPROTO_ICMP, 41, 255]
FLAGS = [
    0,
    socket.AI_PASSIVE,
    socket.AI_NUMERICHOST,
    socket.AI_NUMERICSERV,
    socket.AI_PASSIVE | socket.AI_NUMERICHOST | socket.AI_NUMERICSERV,
    socket.AI_CANONNAME,
    socket.AI_ADDRCONFIG,
]


@pytest.fixture(autouse=True)
def nothing_known():
    with (
        mock.patch.object(_getaddrinfo, "_shapes", {}),
        mock.patch.object(_getaddrinfo, "_SHAPES_AT_MOST", 1_000_000),
    ):
        yield


def libc(*question):
    try:
        return socket.getaddrinfo(*question)
    except Exception as exc:
        return type(exc), str(exc)


def check(question):
    """Compare an answer with libc's; returns whether it was known."""
    asked = _getaddrinfo.ask(*question)
    if asked is None:
        return False
    known = asked.answer()
    expected = libc(*question)
    if known is None:
        if isinstance(expected, list):
            asked.learn(expected)
            assert asked.answer() == expected
        return False
    assert known == expected, question
    assert repr(known) == repr(expected), question
    return True


def test_every_question_about_a_few_addresses():
    hosts = ["127.0.0.1", "::1"]
    ports = [None, 0, 80, "80"]
    questions = itertools.product(hosts, ports, FAMILIES, TYPES, PROTOS, FLAGS)
    known = sum(map(check, questions))
    assert known > 500


def test_many_questions():
    rng = random.Random(5)
    parts = [
        NUMERIC_HOSTS * 3 + OTHER_HOSTS,
        NUMERIC_PORTS * 2 + OTHER_PORTS,
        FAMILIES + [0] * 10,
        TYPES,
        PROTOS + [0] * 10,
        FLAGS,
    ]
    known = 0
    for _ in range(SAMPLES):
        known += check(tuple(rng.choice(part) for part in parts))
    assert known > SAMPLES // 20


def test_random_addresses():
    rng = random.Random(6)
    for _ in range(20_000):
        if rng.random() < 0.5:
            host = ".".join(str(rng.choice([0, 1, 9, 10, 99, 255])) for _ in range(4))
        else:
            packed = bytes(rng.choice([0, 0, 0, 1, 255]) for _ in range(16))
            host = socket.inet_ntop(socket.AF_INET6, packed)
            host = rng.choice([host, host.upper(), socket.inet_ntop(10, packed)])
        check((host, rng.randrange(65536), 0, socket.SOCK_STREAM, 0, 0))


@pytest.mark.parametrize("host", OTHER_HOSTS, ids=repr)
def test_other_hosts_are_for_libc(host):
    assert _getaddrinfo.ask(host, 80, 0, 0, 0, 0) is None


@pytest.mark.parametrize("port", OTHER_PORTS, ids=repr)
def test_other_ports_are_for_libc(port):
    assert _getaddrinfo.ask("127.0.0.1", port, 0, 0, 0, 0) is None


@pytest.mark.parametrize("place", range(4))
def test_other_hints_are_for_libc(place):
    hints = [0, 0, 0, 0]
    hints[place] = 0.0
    assert _getaddrinfo.ask("127.0.0.1", 80, *hints) is None
    assert _getaddrinfo.ask("127.0.0.1", 80, 0, 0, 0, socket.AI_CANONNAME) is None


def test_an_answer_that_does_not_fit_is_not_kept():
    question = _getaddrinfo.ask("127.0.0.1", 80, 0, 0, 0, 0)
    row = (socket.AF_INET, socket.SOCK_STREAM, 6)
    question.learn([(*row, "name", ("127.0.0.1", 80))])
    assert question.answer() is None
    question.learn([(*row, "", ("127.0.0.2", 80))])
    assert question.answer() is None


def test_not_more_kinds_than_some_are_kept():
    with mock.patch.object(_getaddrinfo, "_SHAPES_AT_MOST", 3):
        for proto in range(10):
            question = _getaddrinfo.ask("127.0.0.1", 80, 0, 0, proto, 0)
            question.learn([(2, 1, 6, "", ("127.0.0.1", 80))])
            assert (question.answer() is not None) is (proto < 3)


# The loop's method


def resolve(loop, *args, **kwargs):
    return loop.run_until_complete(loop.getaddrinfo(*args, **kwargs))


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "::1", "fe80::1%lo", "127.1", "localhost"]
)
def test_the_loop_answers_as_libc(loop, host):
    for _ in range(3):
        for kwargs in {}, {"type": socket.SOCK_STREAM}, {"family": socket.AF_INET}:

            async def ask(kwargs=kwargs):
                try:
                    return await loop.getaddrinfo(host, 80, **kwargs)
                except Exception as exc:
                    return type(exc), str(exc)

            hints = (kwargs.get("family", 0), kwargs.get("type", 0))
            assert loop.run_until_complete(ask()) == libc(host, 80, *hints)


def test_no_thread_is_needed(loop):
    resolve(loop, "127.0.0.1", 80)
    with mock.patch.object(loop, "run_in_executor", side_effect=AssertionError):
        first = resolve(loop, "127.0.0.2", 81)
        second = resolve(loop, "127.0.0.2", 81)
    assert first == second == socket.getaddrinfo("127.0.0.2", 81)
    assert first is not second


def test_it_is_a_coroutine_function(loop):
    assert inspect.iscoroutinefunction(loop.getaddrinfo)
    stock = inspect.signature(asyncio.BaseEventLoop.getaddrinfo)
    ours = inspect.signature(EventLoop.getaddrinfo)
    assert [(p.name, p.kind, p.default) for p in ours.parameters.values()] == [
        (p.name, p.kind, p.default) for p in stock.parameters.values()
    ]


@pytest.mark.parametrize(
    "target",
    ["socket.getaddrinfo", "_socket.getaddrinfo", "asyncio.base_events.socket"],
)
def test_a_replaced_function_is_called(loop, target):
    resolve(loop, "127.0.0.1", 80)
    threads = []

    def replaced(*args):
        threads.append(threading.get_ident())
        return [(2, 1, 6, "", ("192.0.2.1", 80))]

    new = mock.Mock(getaddrinfo=replaced) if target.endswith(".socket") else replaced
    with mock.patch(target, new):
        ((*_, address),) = resolve(loop, "127.0.0.1", 80)
    assert address == ("192.0.2.1", 80)
    assert threads != [threading.get_ident()]
    assert resolve(loop, "127.0.0.1", 80) == socket.getaddrinfo("127.0.0.1", 80)


def test_debug_mode_logs(loop, caplog):
    resolve(loop, "127.0.0.1", 80)
    loop.set_debug(True)
    loop.slow_callback_duration = 0.0
    with caplog.at_level(logging.DEBUG, "asyncio"):
        resolve(loop, "127.0.0.1", 80)
    assert any("Getting address info 127.0.0.1:80" in m for m in caplog.messages)


def test_errors_are_stock_asyncio_s():
    async def shut_down(loop):
        await loop.shutdown_default_executor()
        await loop.getaddrinfo("127.0.0.1", 80)

    def closed(loop):
        coro = loop.getaddrinfo("127.0.0.1", 80)
        loop.close()
        coro.send(None)

    def outcomes(loop):
        yield lambda: resolve(loop, "127.0.0.1", "no such service")
        yield lambda: resolve(loop, "127.0.0.1", -1, type=99)
        yield lambda: resolve(loop, "127.0.0.1", 80, family=99)
        yield lambda: resolve(loop, "127.0.0.1", 80, family="x")
        yield lambda: resolve(loop, 5, 80)
        yield lambda: loop.run_until_complete(shut_down(loop))
        yield lambda: closed(loop)

    seen = []
    for make_loop in asyncio.SelectorEventLoop, EventLoop:
        loop = make_loop()
        loop.run_until_complete(loop.getaddrinfo("127.0.0.1", 80))
        seen.append([])
        for attempt in outcomes(loop):
            with pytest.raises((OSError, RuntimeError, TypeError)) as info:
                attempt()
            seen[-1].append((info.type, str(info.value)))
    assert seen[0] == seen[1]
