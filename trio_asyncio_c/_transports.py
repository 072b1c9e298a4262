"""Transports: what runs once a connection, and the making of their types.

The types are C, on top of the standard library's own classes of the running version,
whose code does everything that is cold.
Between the two stands what is cold and different: a connection's socket object and
addresses are made when somebody asks for them.
"""

from __future__ import annotations

import asyncio
import inspect
import os
import socket
import stat
import weakref
from asyncio import base_events, futures, selector_events, trsock, unix_events
from typing import TYPE_CHECKING, Any

from . import _core

if TYPE_CHECKING:
    from ._loop import EventLoop

__all__ = [
    "ReadPipeTransport",
    "WritePipeTransport",
    "takes_pipe",
    "DatagramTransport",
    "StreamTransport",
    "TLS_ACCEPTING",
    "make_listener",
    "takes_datagrams",
]

_LAZY = frozenset({"socket", "sockname", "peername"})
_KEPT_EXTRA: Any = asyncio.BaseTransport.__dict__["_extra"]


class _StreamBase(selector_events._SelectorSocketTransport):  # type: ignore[misc,name-defined]
    """The cold half of a stream transport."""

    __slots__ = ()

    if TYPE_CHECKING:
        _sock: socket.socket | None
        _made_sock: socket.socket | None

        def _own_address(self) -> Any: ...
        def _peer_address(self) -> Any: ...

    @property
    def _extra(self) -> dict[str, Any]:
        """The inherited one, which is made when somebody looks."""
        try:
            extra: dict[str, Any] = _KEPT_EXTRA.__get__(self)
        except AttributeError:
            extra = {}
            _KEPT_EXTRA.__set__(self, extra)
        return extra

    @_extra.setter
    def _extra(self, extra: dict[str, Any]) -> None:
        _KEPT_EXTRA.__set__(self, extra)

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """Return what is known of the connection.

        Args:
          name: "socket" (an `asyncio.trsock.TransportSocket`), "sockname", "peername",
            or what else the transport was made with.
          default: what to return if nothing is known.

        Flavor: sync.
        """
        extra = self._extra
        if name not in extra and name in _LAZY:
            if name == "socket":
                extra[name] = trsock.TransportSocket(self._socket())
            else:
                self._keep_names()
        return extra.get(name, default)

    def _socket(self) -> socket.socket:
        """The connection's socket object; a closed one like it once that is over."""
        if self._sock is not None:
            return self._sock
        name = self.get_extra_info("sockname")
        if not isinstance(name, tuple):
            sock = socket.socket(socket.AF_UNIX)
        elif len(name) == 2:
            sock = socket.socket(socket.AF_INET, proto=socket.IPPROTO_TCP)
        else:
            sock = socket.socket(socket.AF_INET6, proto=socket.IPPROTO_TCP)
        sock.close()
        return sock

    def _keep_names(self) -> None:
        """Learn the addresses, which a closed socket could not tell."""
        extra = self._extra
        if "socket" not in extra and self._made_sock is not None:
            extra["socket"] = trsock.TransportSocket(self._made_sock)
        if "sockname" not in extra:
            extra["sockname"] = self._own_address()
        if "peername" not in extra:
            peer = self._peer_address()
            if peer is None and self._sock is not None:
                try:
                    peer = self._sock.getpeername()
                except OSError:
                    pass
            extra["peername"] = peer


def _make_stream_transport() -> Any:
    """Make the C type; None where the standard library's class is not as known."""
    attach = inspect.signature(base_events.Server._attach)  # type: ignore[attr-defined]
    with socket.socket() as sock:
        try:
            return _core._make_stream_transport(
                _StreamBase,
                asyncio.BufferedProtocol,
                futures._set_result_unless_cancelled,  # type: ignore[attr-defined]
                len(attach.parameters) > 1,
                sock,
            )
        except RuntimeError:
            return None


StreamTransport: Any = _make_stream_transport()
if "_clients" in base_events.Server.__init__.__code__.co_names:  # from 3.13 on
    _core._learn_server(base_events.Server, weakref.WeakSet)
_core._learn_streams(asyncio.StreamReaderProtocol, asyncio.StreamReader)


class _DatagramBase(selector_events._SelectorDatagramTransport):  # type: ignore[misc,name-defined]
    """The cold half of a datagram transport."""

    __slots__ = ()

    if TYPE_CHECKING:
        _extra: dict[str, Any]

    def _describe(self, sock: socket.socket) -> bool:
        """Note what get_extra_info() returns; return whether there is a peer."""
        extra = self._extra
        extra["socket"] = trsock.TransportSocket(sock)
        try:
            extra["sockname"] = sock.getsockname()
        except OSError:
            extra["sockname"] = None
        if "peername" not in extra:
            try:
                extra["peername"] = sock.getpeername()
            except OSError:
                extra["peername"] = None
        return bool(extra["peername"])

    def _keep_names(self) -> None:
        """Do nothing: they are all known from the beginning."""


DatagramTransport: Any = (
    None if StreamTransport is None else _core._make_datagram_transport(_DatagramBase)
)


class _ReadPipeBase(unix_events._UnixReadPipeTransport):  # type: ignore[name-defined,misc]
    """The cold half of a read pipe transport: all of it is inherited."""

    __slots__ = ()


class _WritePipeBase(unix_events._UnixWritePipeTransport):  # type: ignore[name-defined,misc]
    """The cold half of a write pipe transport: all of it is inherited."""

    __slots__ = ()


ReadPipeTransport: Any = None
WritePipeTransport: Any = None
if StreamTransport is not None:
    ReadPipeTransport, WritePipeTransport = _core._make_pipe_transports(
        _ReadPipeBase, _WritePipeBase
    )


def takes_pipe(pipe: Any) -> bool:
    """Return whether the transports of pipes in C can do what is done with an object;
    if not, the inherited ones can, or say why not."""
    try:
        mode = os.fstat(pipe.fileno()).st_mode
    except Exception:
        return False
    return ReadPipeTransport is not None and (
        stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode) or stat.S_ISCHR(mode)
    )


_DATAGRAM_FAMILIES = frozenset({socket.AF_INET, socket.AF_INET6, socket.AF_UNIX})


def takes_datagrams(sock: Any) -> bool:
    """Return whether a `DatagramTransport` can do what is done with a socket."""
    return (
        DatagramTransport is not None
        and type(sock) is socket.socket
        and sock.family in _DATAGRAM_FAMILIES
        and sock.fileno() >= 0
    )


# What a listener in C stands for: replaced ones are called instead.
_ACCEPTING = {
    name: getattr(selector_events.BaseSelectorEventLoop, name)
    for name in ("_accept_connection", "_accept_connection2")
}


# The same of those that accept for TLS; the loop adds what it has.
TLS_ACCEPTING = {**_ACCEPTING}


def _is_replaced(loop: EventLoop, methods: dict[str, Any]) -> bool:
    """Whether somebody has an accept loop of their own, on `loop` or in its class."""
    return any(
        getattr(getattr(loop, name), "__func__", None) is not method
        for name, method in methods.items()
    )


async def _accept_tls(
    loop: EventLoop,
    connection: _core.Connecting,
    factory: Any,
    sslcontext: Any,
    server: Any,
    handshake_timeout: float | None,
    shutdown_timeout: float | None,
    context: Any,
) -> None:
    """Be the Task of a connection to a TLS server until its handshake is done."""
    from ._tls import TlsProtocol

    protocol = transport = None
    try:
        protocol = factory()
        waiter: Any = loop.create_future()
        tls: Any = TlsProtocol(
            loop,
            protocol,
            sslcontext,
            waiter,
            server_side=True,
            ssl_handshake_timeout=handshake_timeout,
            ssl_shutdown_timeout=shutdown_timeout,
        )
        _core._connected_transport(loop, connection, tls, None, server, context)
        transport = tls._app_transport
        try:
            await waiter
        except BaseException:
            transport.close()
            waiter = None  # its exception has this frame's traceback
            raise
    except (SystemExit, KeyboardInterrupt):
        raise
    except BaseException as exc:
        if loop.get_debug():
            _report_accept(loop, exc, protocol, transport)


def make_listener(
    loop: EventLoop,
    factory: Any,
    sock: Any,
    sslcontext: Any,
    server: Any,
    backlog: int,
    handshake_timeout: float | None = None,
    shutdown_timeout: float | None = None,
    context: Any = None,
) -> Any:
    """Return what accepts for a listening socket in C, or None where the inherited code
    has to: for objects that are no `socket.socket`, accept loops of somebody's own.

    Args: as of the loop's ``_start_serving``; context: each connection has a copy.
    """
    if (
        StreamTransport is None
        or type(sock) is not socket.socket
        or _is_replaced(loop, TLS_ACCEPTING if sslcontext else _ACCEPTING)
    ):
        return None
    timeouts = handshake_timeout, shutdown_timeout
    rest = timeouts if context is None else (*timeouts, context)

    def fallback() -> None:
        loop._accept_connection(factory, sock, sslcontext, server, backlog, *rest)

    def begin(connection: _core.Connecting, own: Any) -> None:
        loop.create_task(
            _accept_tls(loop, connection, factory, sslcontext, server, *timeouts, own),
            context=own,
        )

    return _core.Listener(
        loop,
        factory,
        sock,
        server,
        backlog,
        fallback,
        begin if sslcontext else None,
        context,
    )


def _log_transport(transport: Any, what: str) -> None:
    selector_events.logger.debug("%r %s", transport, what)  # type: ignore[attr-defined]


def _log_lost_write() -> None:
    selector_events.logger.warning(  # type: ignore[attr-defined]
        "socket.send() raised exception."
    )


def _log_lost_pipe() -> None:
    selector_events.logger.warning(  # type: ignore[attr-defined]
        "pipe closed by peer or os.write(pipe, data) raised exception."
    )


def _log_closed(transport: Any) -> None:
    selector_events.logger.info(  # type: ignore[attr-defined]
        "%r was closed by peer", transport
    )


def _report_accept(
    loop: EventLoop, exc: BaseException, protocol: Any, transport: Any
) -> None:
    context = {
        "message": "Error on transport creation for incoming connection",
        "exception": exc,
    }
    if protocol is not None:
        context["protocol"] = protocol
    if transport is not None:
        context["transport"] = transport
    loop.call_exception_handler(context)


_core._set_hooks(
    log_transport=_log_transport,
    log_closed=_log_closed,
    log_lost_pipe=_log_lost_pipe,
    log_lost_write=_log_lost_write,
    report_accept=_report_accept,
)
