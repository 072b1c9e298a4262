"""TLS: the standard library's protocol, with what runs once a packet in C.

Handshake, shutdown, time-outs, extra information and errors are the methods of
`asyncio.sslproto.SSLProtocol` of the running version; `_core.TlsCore`, which comes
first among the bases, has the rest.
"""

from __future__ import annotations

import os
from asyncio import sslproto, streams
from typing import Any

from . import _core

try:
    import _ssl
    import ssl
except ImportError:  # an interpreter without it: asyncio says so when it is asked
    ssl = _ssl = None  # type: ignore[assignment]

__all__ = ["TlsProtocol", "has_direct", "is_context", "take_buffered"]

# "memory": never drive OpenSSL directly.
_ENGINE = os.environ.get("TRIO_ASYNCIO_C_TLS", "")


def _learn() -> Any:
    """Tell the C half of asyncio's and ssl's classes; return its transports' class."""
    states = sslproto.SSLProtocolState
    return _core._tls_setup(
        sslproto.SSLProtocol,
        sslproto._SSLProtocolTransport,
        getattr(sslproto, "SSLAgainErrors", ()),
        getattr(ssl, "SSLError", None),
        (states.DO_HANDSHAKE, states.WRAPPED, states.FLUSHING, states.SHUTDOWN),
        getattr(ssl, "SSLObject", None),
        getattr(_ssl, "_SSLSocket", None),
        getattr(_ssl, "MemoryBIO", None),
    )


def _samples() -> tuple[tuple[Any, Any, Any, Any], ...]:
    """Make some SSL objects to learn their layout by."""
    samples = []
    for protocol in (ssl.PROTOCOL_TLS_CLIENT, ssl.PROTOCOL_TLS_SERVER):
        context = ssl.SSLContext(protocol)
        for _ in range(2):
            incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
            server = protocol is ssl.PROTOCOL_TLS_SERVER
            sslobj: Any = context.wrap_bio(
                incoming,
                outgoing,
                server_side=server,
                server_hostname=None if server else "localhost",
            )
            samples.append((context, sslobj._sslobj, incoming, outgoing))
    return tuple(samples)


def _find_openssl() -> bool:
    """Find out whether the interpreter's own OpenSSL can be driven directly."""
    path = getattr(_ssl, "__file__", None)
    if _ENGINE == "memory" or path is None:
        return False
    return _core._tls_find_openssl(path, ssl.OPENSSL_VERSION, _samples())


_SSLTransport = _learn()
has_direct = _find_openssl()


# Extra information that is made when somebody asks for it, by methods of SSLObject.
_LAZY = {"peercert": "getpeercert", "cipher": "cipher", "compression": "compression"}

# Its stubs know the public half.
_SSLProtocol: Any = sslproto.SSLProtocol


class TlsProtocol(_core.TlsCore, _SSLProtocol):  # type: ignore[misc]
    """TLS between an application's protocol and the transport below.

    Its constructor's arguments, attributes and methods are those of
    `asyncio.sslproto.SSLProtocol`.
    """

    _app_transport_created: bool
    _app_state: Any
    _extra: dict[str, Any]
    _handshake_timeout_handle: Any

    def _get_app_transport(self) -> Any:
        if self._app_transport is None:
            if self._app_transport_created:
                return super()._get_app_transport()  # refuses
            self._app_transport = _SSLTransport(self._loop, self)
            self._app_transport_created = True
        return self._app_transport

    def _on_handshake_complete(self, handshake_exc: BaseException | None) -> None:
        if (
            handshake_exc is not None
            or type(self._sslobj) is not ssl.SSLObject
            or self._loop.get_debug()
        ):
            try:
                super()._on_handshake_complete(handshake_exc)
            finally:
                handshake_exc = None  # it has this frame's traceback
            return
        if self._handshake_timeout_handle is not None:
            self._handshake_timeout_handle.cancel()
            self._handshake_timeout_handle = None
        self._set_state(sslproto.SSLProtocolState.WRAPPED)
        # The certificate alone takes as long to decode as the rest of this: see
        # _get_extra_info.
        self._extra["ssl_object"] = self._sslobj
        if self._app_state == sslproto.AppProtocolState.STATE_INIT:
            self._app_state = sslproto.AppProtocolState.STATE_CON_MADE
            self._app_protocol.connection_made(self._get_app_transport())
        self._wakeup_waiter()
        self._do_read()

    def _get_extra_info(self, name: str, default: Any = None) -> Any:
        if name in _LAZY and name not in self._extra and "ssl_object" in self._extra:
            self._extra[name] = getattr(self._sslobj, _LAZY[name])()
        return super()._get_extra_info(name, default)

    def _abort(self, *args: Any) -> None:
        self._flush()
        super()._abort(*args)

    def _fatal_error(self, *args: Any, **kwargs: Any) -> None:
        self._flush()
        super()._fatal_error(*args, **kwargs)

    def connection_lost(self, exc: BaseException | None) -> None:
        super().connection_lost(exc)
        self._detach()


def is_context(obj: object) -> bool:
    """Whether `obj` is an `ssl.SSLContext`."""
    return ssl is not None and isinstance(obj, ssl.SSLContext)


def take_buffered(protocol: Any, ssl_protocol: Any) -> None:
    """Hand what a StreamReader had received, but nobody read, to TLS: a client does
    not wait for the answer before its handshake (from 3.14 on asyncio does so too)."""
    if not isinstance(protocol, streams.StreamReaderProtocol):
        return
    reader: Any = protocol._stream_reader  # type: ignore[attr-defined]
    if reader is not None and reader._buffer:
        ssl_protocol._incoming.write(reader._buffer)
        reader._buffer.clear()
