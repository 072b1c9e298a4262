"""Fixtures for a conftest to import: servers, certificates, and a quiet log."""

from __future__ import annotations

import logging
import socket
import ssl
from contextlib import ExitStack, contextmanager

import pytest

from . import servers


__all__ = [
    "authority",
    "certificate",
    "client_tls",
    "free_port",
    "postgres",
    "quiet_asyncio",
    "redis_server",
    "server_tls",
    "start",
]


@pytest.fixture(autouse=True)
def quiet_asyncio(caplog):
    """Fail a test in which asyncio logged a warning or worse, except for debug mode's
    callbacks that are slow."""
    yield
    said = [
        record.getMessage()
        for record in caplog.get_records("call")
        if record.name.startswith("asyncio")
        and record.levelno >= logging.WARNING
        and not record.getMessage().startswith("Executing ")
    ]
    assert not said, said


@pytest.fixture(scope="session")
def authority():
    """Give a certificate authority, made for this session."""
    return pytest.importorskip("trustme").CA()


@pytest.fixture(scope="session")
def certificate(authority):
    """Give a certificate for localhost and 127.0.0.1."""
    return authority.issue_cert("localhost", "127.0.0.1")


@pytest.fixture
def server_tls(certificate):
    """Give a server's context."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate.configure_cert(context)
    return context


@pytest.fixture
def client_tls(authority):
    """Give a client's context that trusts the authority only."""
    return ssl.create_default_context(cadata=authority.cert_pem.bytes().decode())


@contextmanager
def started_or_skipped(server):
    with ExitStack() as stack:
        try:
            address = stack.enter_context(server)
        except servers.CannotStart as exc:
            pytest.skip(str(exc))
        yield address


@pytest.fixture(scope="session")
def start():
    """Give a function that takes one of `servers`, and skips where it is not there."""
    return started_or_skipped


@pytest.fixture(scope="session")
def postgres(certificate, start):
    with start(servers.postgres(certificate)) as address:
        yield address


@pytest.fixture(scope="session")
def redis_server(certificate, start):
    with start(servers.redis(certificate)) as address:
        yield address


@pytest.fixture
def free_port():
    """Give a port that nobody listens at, and nobody is given meanwhile."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        yield sock.getsockname()[1]
