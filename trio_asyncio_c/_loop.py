"""`EventLoop`: the asyncio event loop on the C core.

The C half (`_core.LoopCore`) comes first among the bases, so that everything that runs
once a callback is C. What runs once a loop or
once a connection is the standard library's own code of the running version, which sees
an inert selector.
"""

from __future__ import annotations

import asyncio
import atexit
import contextvars
import functools
import inspect
import os
import socket
import sys
import threading
from asyncio import base_events, events
from contextlib import contextmanager
from types import BuiltinMethodType
from typing import TYPE_CHECKING, Any, NoReturn, Self

from . import (
    _asyncgen_dispatch,
    _core,
    _crossing,
    _getaddrinfo,
    _loop_hooks,
    _run,
)
from ._clock import SystemClock
from ._executor import TrioExecutor
from ._selector import LoopSelector
from ._statistics import LoopStatistics
from ._transports import (
    TLS_ACCEPTING,
    DatagramTransport,
    ReadPipeTransport,
    StreamTransport,
    WritePipeTransport,
    make_listener,
    takes_datagrams,
    takes_pipe,
)

if sys.version_info < (3, 12):
    from . import _child_watcher

if TYPE_CHECKING:
    import concurrent.futures
    from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator

    from .abc import Clock

__all__ = ["BaseTrioEventLoop", "EventLoop", "new_event_loop"]

# Whether all callbacks of one connection run in one context, of its beginning: some
# release of 3.15 made it so.
_CONNECTION_HAS_CONTEXT = (
    "context"
    in inspect.signature(
        base_events.BaseEventLoop._create_connection_transport  # type: ignore[attr-defined]
    ).parameters
)

# The default of concurrent.futures.ThreadPoolExecutor, which this stands for.
_EXECUTOR_LIMIT = min(32, (getattr(os, "process_cpu_count", os.cpu_count)() or 1) + 4)


async def _keep_nursery(nurseries: list[_core.Nursery]) -> None:
    """Be the main task of a loop's own runner: keep a nursery open until it is
    cancelled."""
    async with _core.open_nursery() as nursery:
        nurseries.append(nursery)
        _core.current_runner().pause()
        await _core.sleep_forever()


def _with_keywords(callback: Any, kwargs: dict[str, Any]) -> Any:
    return functools.partial(callback, **kwargs) if kwargs else callback


def _is_cancelled() -> bool:
    """Whether somebody has cancelled the current Task."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def _stop_by_exit(future: asyncio.Future[Any]) -> None:
    """Stop the loop if a Future was ended by SystemExit or KeyboardInterrupt: asyncio
    takes it that a Task has raised it and the loop stopped by that, but a Trio task
    has not."""
    if not future.cancelled() and isinstance(
        future.exception(), (SystemExit, KeyboardInterrupt)
    ):
        future.get_loop().stop()


# What the standard library's loops, from 3.11 to 3.15, keep in their __dict__.
_INHERITED_ATTRIBUTES = (
    "_asyncgens",
    "_asyncgens_shutdown_called",
    "_coroutine_origin_tracking_enabled",
    "_coroutine_origin_tracking_saved_depth",
    "_csock",
    "_current_handle",
    "_default_executor",
    "_exception_handler",
    "_executor_shutdown_called",
    "_internal_fds",
    "_old_agen_hooks",
    "_ready",
    "_scheduled",
    "_selector",
    "_signal_handlers",
    "_ssock",
    "_timer_cancelled_count",
    "_unix_server_sockets",
    "_watcher",
    "slow_callback_duration",
)


class EventLoop(_core.LoopCore, asyncio.SelectorEventLoop):
    """An asyncio event loop that owns a Trio-flavoured runner.

    The runner is paused whenever ``run_forever`` is not running, with its tasks
    parked, and goes on with the next call.

    Args:
      selector: accepted for compatibility, and closed: libev watches the fds.
      clock: an `abc.Clock`, such as `testing.MockClock`, that `time`, timers and Trio
        tasks go by; None: `time.monotonic`.
    """

    __module__ = "trio_asyncio_c"

    # Whether its end waits for jobs in Trio's threads, or leaves them to themselves.
    _waits_for_jobs = False

    # The Trio task that waits for its end.
    _left_by: _core.Task | None = None

    # As slots, so that the instance's dict is not even made unless somebody sets
    # an attribute of their own: every lookup of call_soon would search it first.
    __slots__ = (
        *_INHERITED_ATTRIBUTES,
        "_autoclose_fds",
        "_kept_transports",
        "_own_nursery",
        "_own_runner",
    )

    def __init__(self, selector: Any = None, *, clock: Clock | None = None) -> None:
        if selector is not None:
            selector.close()
        if self._runner is not None:
            raise RuntimeError("an event loop cannot be initialised again")
        try:
            self._find_home(clock)
        except BaseException:
            self._closed = True  # or it would be called unclosed when it dies
            raise
        self._executor_limit = _EXECUTOR_LIMIT
        self._autoclose_fds: set[int] = set()
        # How and where this object's data lives is the C type's business; the
        # inherited constructor makes the rest.
        super().__init__(LoopSelector(self))  # type: ignore[arg-type]

    def _find_home(self, clock: Clock | None) -> None:
        """Make the runner, and attach to the nursery that its main task opens."""
        nurseries: list[_core.Nursery] = []
        self._own_runner = _run.make_paused_runner(
            _keep_nursery, nurseries, clock=clock
        )
        self._own_nursery = nurseries[0]
        self._attach(self._own_nursery, self._own_nursery)

    # Running

    if TYPE_CHECKING:  # inherited, but not in the standard library's stubs
        _csock: socket.socket | None
        _internal_fds: int
        _ssock: socket.socket | None
        _old_agen_hooks: Any
        _asyncgen_firstiter_hook: Callable[[AsyncGenerator[Any, Any]], None]
        _asyncgen_finalizer_hook: Callable[[AsyncGenerator[Any, Any]], None]

        def _check_closed(self) -> None: ...
        def _check_running(self) -> None: ...
        def _check_thread(self) -> None: ...
        def _check_callback(self, callback: Any, method: str) -> None: ...

        _asyncgens: Any
        _default_executor: concurrent.futures.Executor | None

        def _run_forever_setup(self) -> None: ...
        def _run_forever_cleanup(self) -> None: ...
        def _set_coroutine_origin_tracking(self, enabled: bool) -> None: ...

        def _accept_connection(self, *args: Any) -> None: ...

    if hasattr(asyncio.BaseEventLoop, "_run_forever_setup"):

        def _begin_run(self) -> None:
            self._run_forever_setup()

        def _end_run(self) -> None:
            self._run_forever_cleanup()

    else:  # before 3.13 run_forever was all one piece

        def _begin_run(self) -> None:
            self._check_closed()
            self._check_running()
            self._set_coroutine_origin_tracking(self._debug)
            self._old_agen_hooks = sys.get_asyncgen_hooks()
            self._thread_id = threading.get_ident()
            sys.set_asyncgen_hooks(
                firstiter=self._asyncgen_firstiter_hook,
                finalizer=self._asyncgen_finalizer_hook,
            )
            events._set_running_loop(self)

        def _end_run(self) -> None:
            self._stopping = False
            self._thread_id = None
            events._set_running_loop(None)
            self._set_coroutine_origin_tracking(False)
            sys.set_asyncgen_hooks(*self._old_agen_hooks)
            self._old_agen_hooks = None

    def _has_own_turn(self) -> bool:
        """Whether somebody replaced `_run_once`, on this object or in a subclass."""
        method: Any = self._run_once
        # Not asked of __dict__, for that would make it.
        return not isinstance(method, BuiltinMethodType) or method.__self__ is not self

    def run_forever(self) -> None:
        """Run until `stop` is called.

        Flavor: sync. Not from inside a running loop.

        Raises:
          RuntimeError: the loop is closed or running, or another one runs in this
            thread.
          SystemExit, KeyboardInterrupt: a callback raised it; the loop can be run
            again.
        """
        self._begin_run()
        _asyncgen_dispatch.install_for_own_runner(self._own_runner)
        try:
            if not self._has_own_turn():
                self._drive()
                return
            while True:
                self._run_once()
                if self._stopping:
                    break
        finally:
            self._own_runner.asyncgens.close()
            self._end_run()

    def run_until_complete(self, future: Any) -> Any:
        """Run until a Future is done, or a coroutine that is made a Task, and return
        its result.

        Flavor: sync. Not from inside a running loop.

        Raises:
          RuntimeError: as `run_forever`; the loop was stopped before the Future was
            done.
        """
        if not asyncio.isfuture(future) or isinstance(future, asyncio.Task):
            return super().run_until_complete(future)
        future.add_done_callback(_stop_by_exit)
        try:
            return super().run_until_complete(future)
        finally:
            future.remove_done_callback(_stop_by_exit)

    # Futures and Tasks that are not simply of asyncio's own classes in C

    def _create_other_future(self) -> Any:
        return asyncio.BaseEventLoop.create_future(self)

    _create_other_task = asyncio.BaseEventLoop.create_task

    # Names

    async def getaddrinfo(
        self,
        host: Any,
        port: Any,
        *,
        family: int = 0,
        type: int = 0,
        proto: int = 0,
        flags: int = 0,
    ) -> list[Any]:
        """Resolve a host name, in the default executor; a numeric address at once.

        Args:
          host, port, family, type, proto, flags: as of `socket.getaddrinfo`, as is what
            is returned.

        Flavor: asyncio.

        Raises:
          OSError: `socket.gaierror`, when there is no such name.
          RuntimeError: the loop is closed.
        """
        question = None
        if not (
            self._debug
            or self._closed
            or self._executor_shutdown_called
            or _getaddrinfo.is_replaced()
        ):
            question = _getaddrinfo.ask(host, port, family, type, proto, flags)
        known = None if question is None else question.answer()
        if known is not None:
            return known
        answer = await super().getaddrinfo(
            host, port, family=family, type=type, proto=proto, flags=flags
        )
        if question is not None:
            question.learn(answer)
        return answer

    # Transports

    @property
    def _transports(self) -> Any:
        """asyncio's dict of weak references by fd, which C does without."""
        table = self._kept_transports
        for fd, transport in self._new_transports():
            table[fd] = transport
        return table

    @_transports.setter
    def _transports(self, table: Any) -> None:
        self._kept_transports = table

    def _make_socket_transport(
        self,
        sock: Any,
        protocol: Any,
        waiter: Any = None,
        *,
        extra: Any = None,
        server: Any = None,
        context: Any = None,
    ) -> Any:
        kwargs = {} if context is None else {"context": context}
        make: Any = super()._make_socket_transport  # type: ignore[misc]
        if type(sock) is socket.socket:
            self._ensure_fd_no_transport(sock)
            make = functools.partial(StreamTransport, self)
        return make(sock, protocol, waiter, extra=extra, server=server, **kwargs)

    async def create_connection(
        self, protocol_factory: Any, host: Any = None, port: Any = None, **options: Any
    ) -> Any:
        """Connect to a TCP server, or go on with a connected socket.

        Args:
          protocol_factory: called without arguments; makes the protocol.
          host, port: where to; None with ``sock``.
          options: asyncio's keyword arguments, of the running version.

        Returns:
          the transport and the protocol, once ``connection_made()`` was called.

        Flavor: asyncio.

        Raises:
          OSError: the connection could not be made.
          ValueError: the arguments contradict each other.
        """
        connecting = _core._begin_connect(self, host, port, options)
        if connecting is None:
            return await super().create_connection(
                protocol_factory, host, port, **options
            )
        if not connecting.is_connected:
            sock = await self._wait_connected(connecting)
            return await self._create_connection_transport(  # type: ignore[attr-defined]
                sock, protocol_factory, None, None
            )
        context = contextvars.copy_context() if _CONNECTION_HAS_CONTEXT else None
        protocol = protocol_factory()
        waiter = self.create_future()
        transport = _core._connected_transport(
            self, connecting, protocol, waiter, None, context
        )
        try:
            await waiter
        except BaseException:
            transport.close()
            raise
        return transport, protocol

    async def _wait_connected(self, connecting: _core.Connecting) -> socket.socket:
        sock = socket.socket(fileno=connecting.detach())
        try:
            sock.setblocking(False)
            await self._sock_connected(sock, connecting.address)
        except BaseException:
            sock.close()
            raise
        return sock

    async def _sendfile_native(
        self, transp: Any, file: Any, offset: int, count: int | None
    ) -> int:
        send: Any = super()._sendfile_native  # type: ignore[misc]
        if not isinstance(transp, StreamTransport):
            return int(await send(transp, file, offset, count))
        # It waits for the socket: the end of the transport has to end it.
        sending = self.create_task(send(transp, file, offset, count))
        transp._sending = sending
        try:
            return int(await sending)
        except asyncio.CancelledError:
            if transp._conn_lost and sending.cancelled() and not _is_cancelled():
                raise ConnectionError("Connection is closed by peer") from None
            raise
        finally:
            transp._sending = None

    def _make_datagram_transport(
        self,
        sock: Any,
        protocol: Any,
        address: Any = None,
        waiter: Any = None,
        extra: Any = None,
    ) -> Any:
        make: Any = super()._make_datagram_transport  # type: ignore[misc]
        if takes_datagrams(sock):
            self._ensure_fd_no_transport(sock)
            make = functools.partial(DatagramTransport, self)
        return make(sock, protocol, address, waiter, extra)

    def _make_read_pipe_transport(
        self, pipe: Any, protocol: Any, waiter: Any = None, extra: Any = None
    ) -> Any:
        make: Any = super()._make_read_pipe_transport  # type: ignore[misc]
        if takes_pipe(pipe):
            make = functools.partial(ReadPipeTransport, self)
        return make(pipe, protocol, waiter, extra)

    def _make_write_pipe_transport(
        self, pipe: Any, protocol: Any, waiter: Any = None, extra: Any = None
    ) -> Any:
        make: Any = super()._make_write_pipe_transport  # type: ignore[misc]
        if takes_pipe(pipe):
            make = functools.partial(WritePipeTransport, self)
        return make(pipe, protocol, waiter, extra)

    def _start_serving(
        self,
        protocol_factory: Any,
        sock: Any,
        sslcontext: Any = None,
        server: Any = None,
        backlog: int = 100,
        *args: Any,
        **kwargs: Any,
    ) -> None:
        arguments = (protocol_factory, sock, sslcontext, server, backlog, *args)
        listener = make_listener(self, *arguments, **kwargs)
        if listener is None:
            super()._start_serving(*arguments, **kwargs)  # type: ignore[misc]
        else:
            self._add_reader(sock.fileno(), listener)

    if sys.version_info < (3, 12):

        async def _make_subprocess_transport(self, *args: Any, **kwargs: Any) -> Any:
            _child_watcher.use_pidfds()
            return await super()._make_subprocess_transport(  # type: ignore[misc]
                *args, **kwargs
            )

    # Functions with keyword arguments; asyncio's own take none

    def add_reader(  # type: ignore[override]
        self, fd: Any, callback: Any, *args: Any, **kwargs: Any
    ) -> None:
        """Run ``callback(*args, **kwargs)`` whenever `fd` can be read from.

        Flavor: sync. Thread-safe: no.
        """
        super().add_reader(fd, _with_keywords(callback, kwargs), *args)

    def add_writer(  # type: ignore[override]
        self, fd: Any, callback: Any, *args: Any, **kwargs: Any
    ) -> None:
        """Run ``callback(*args, **kwargs)`` whenever `fd` can be written to.

        Flavor: sync. Thread-safe: no.
        """
        super().add_writer(fd, _with_keywords(callback, kwargs), *args)

    def add_signal_handler(  # type: ignore[override]
        self, sig: int, callback: Any, *args: Any, **kwargs: Any
    ) -> None:
        """Run ``callback(*args, **kwargs)`` when the process gets the signal `sig`.

        Flavor: sync. Only in the main thread.
        """
        super().add_signal_handler(sig, _with_keywords(callback, kwargs), *args)
        if sys.version_info < (3, 12):
            # Later ones take the wake-up fd from child processes by themselves.
            assert self._csock is not None
            _run.wakeup_fds.add(self._csock.fileno())

    # TLS

    def _make_ssl_transport(
        self,
        rawsock: Any,
        protocol: Any,
        sslcontext: Any,
        waiter: Any = None,
        *,
        server_side: bool = False,
        server_hostname: str | None = None,
        extra: Any = None,
        server: Any = None,
        ssl_handshake_timeout: float | None = None,
        ssl_shutdown_timeout: float | None = None,
        **kwargs: Any,
    ) -> Any:
        from . import _tls

        self._ensure_fd_no_transport(rawsock)
        ssl_protocol: Any = _tls.TlsProtocol(
            self,
            protocol,
            sslcontext,
            waiter,
            server_side,
            server_hostname,
            ssl_handshake_timeout=ssl_handshake_timeout,
            ssl_shutdown_timeout=ssl_shutdown_timeout,
        )
        self._make_socket_transport(
            rawsock, ssl_protocol, extra=extra, server=server, **kwargs
        )
        return ssl_protocol._app_transport

    async def start_tls(
        self,
        transport: Any,
        protocol: Any,
        sslcontext: Any,
        *,
        server_side: bool = False,
        server_hostname: str | None = None,
        ssl_handshake_timeout: float | None = None,
        ssl_shutdown_timeout: float | None = None,
    ) -> Any:
        """Go on with TLS over a transport, and return the one to use from now on.

        Args:
          transport: what the connection uses up to now.
          protocol: what gets the decrypted data.
          sslcontext: an `ssl.SSLContext`.
          server_side: whether this is the side that was connected to. What a
            StreamReader has already received is then taken for the beginning of the
            handshake.
          server_hostname: the name that the other side's certificate must be for.
          ssl_handshake_timeout: seconds till the connection is given up; None: 60.
          ssl_shutdown_timeout: seconds to wait for the other side's farewell; None: 30.

        Flavor: asyncio.

        Raises:
          TypeError: `sslcontext` is none, or `transport` cannot be upgraded.
          ssl.SSLError: the handshake failed, as `ssl.SSLCertVerificationError` when
            the certificate was refused.
          ConnectionError: the other side is gone, or too slow.
        """
        from . import _tls

        if not (
            _tls.is_context(sslcontext)
            and getattr(transport, "_start_tls_compatible", False)
        ):
            # Refused, in the running asyncio's words.
            return await super().start_tls(transport, protocol, sslcontext)
        waiter = self.create_future()
        ssl_protocol: Any = _tls.TlsProtocol(
            self,
            protocol,
            sslcontext,
            waiter,
            server_side,
            server_hostname,
            ssl_handshake_timeout=ssl_handshake_timeout,
            ssl_shutdown_timeout=ssl_shutdown_timeout,
            call_connection_made=False,
        )
        # No data may arrive before connection_made() did.
        transport.pause_reading()
        if server_side:
            _tls.take_buffered(protocol, ssl_protocol)
        transport.set_protocol(ssl_protocol)
        made = self.call_soon(ssl_protocol.connection_made, transport)
        resume = self.call_soon(transport.resume_reading)
        try:
            await waiter
        except BaseException:
            transport.close()
            made.cancel()
            resume.cancel()
            waiter = None  # type: ignore[assignment]  # it has this frame's traceback
            raise
        return ssl_protocol._app_transport

    # Executors

    def _run_in_other_executor(
        self, executor: Any, func: Callable[..., Any], *args: Any
    ) -> Any:
        """Do `run_in_executor` with an executor that is not the C one."""
        used = self._default_executor if executor is None else executor
        if isinstance(used, TrioExecutor):
            if self._debug:
                self._check_thread()
                self._check_callback(func, "run_in_executor")
            return used._start(self, func, args)
        future = asyncio.BaseEventLoop.run_in_executor(self, executor, func, *args)
        runner: Any = self._runner
        if not isinstance(runner.clock, SystemClock):

            def release(future: asyncio.Future[Any]) -> None:
                runner.clock_holds -= 1

            runner.clock_holds += 1
            future.add_done_callback(release)
        return future

    def _start_job(self, fn: Callable[..., Awaitable[Any]], *args: Any) -> None:
        """Start the Trio task that waits for a job of a `TrioExecutor`."""
        self.run_trio_task(fn, *args)

    async def shutdown_default_executor(self, timeout: float | None = None) -> None:
        """Wait until the jobs of the default executor are done; no new ones are taken.

        Args:
          timeout: seconds to wait at most; None: no limit. From CPython 3.12 on.

        Flavor: asyncio.
        """
        self._executor_shutdown_called = True
        if self._executor_jobs:
            done = self.create_future()
            self._when_jobs_done(done)
            await asyncio.wait([done], timeout=timeout)
        if isinstance(self._default_executor, TrioExecutor):
            await self._default_executor._wait_unfinished(timeout)
        if sys.version_info >= (3, 12):
            await super().shutdown_default_executor(timeout)
        else:
            await super().shutdown_default_executor()
        if not self._executor_jobs:
            await self._end_idle_threads()

    async def _end_idle_threads(self) -> None:
        """Leave no thread behind, as asyncio's own executor does not: a fork in a
        process with threads is warned of."""
        while self._executor_busy:  # just out of a job
            await asyncio.sleep(0)
        for thread in _core._end_idle_workers():
            thread.join()

    # Closing

    @contextmanager
    def _as_running(self) -> Iterator[None]:
        """Be the thread's running loop, also inside of another one that runs."""
        before, thread_id = events._get_running_loop(), self._thread_id
        events._set_running_loop(self)
        self._thread_id = threading.get_ident()
        try:
            yield
        finally:
            self._thread_id = thread_id
            events._set_running_loop(before)

    def _has_trio_tasks(self) -> bool:
        return any(isinstance(task, _core.Task) for task in self._calls.child_tasks)

    def _end_trio_tasks(self) -> None:
        """Cancel the Trio tasks that asyncio code has started, and run them to their
        end."""
        self._calls.cancel_scope.cancel(reason="the event loop was closed")
        with self._as_running():
            while self._has_trio_tasks():
                self._run_once()

    def _close_marked_fds(self) -> None:
        for fd, *_ in self._fd_watches():
            if fd in self._autoclose_fds:
                self._remove_reader(fd)
                self._remove_writer(fd)
                os.close(fd)

    def close(self) -> None:
        """Close the loop; idempotent.

        Callbacks and timers are dropped. Trio tasks that were started with `run_trio`
        are cancelled and run to their end.

        Raises:
          RuntimeError: the loop is running.
        """
        if self.is_running():
            raise RuntimeError("Cannot close a running event loop")
        if self._closed:
            return
        if self._runner is None:  # the constructor failed
            self._closed = True
            return
        if self._has_trio_tasks():
            self._end_trio_tasks()
        try:
            self._close_marked_fds()
            if self._csock is not None:
                _run.wakeup_fds.discard(self._csock.fileno())
            super().close()
        finally:  # whatever was done to the attributes of this object
            self._end_waits()
            self._dismantle()
            self._leave_home()

    def _close_self_pipe(self) -> None:
        sockets: Any = self._ssock, self._csock
        if sockets[0] is not None and sockets[0].fileno() < 0:
            # The collector was at its socket before it came to the loop.
            for sock in sockets:
                sock.close()
            self._ssock = self._csock = None
            self._internal_fds -= 1
        else:
            super()._close_self_pipe()  # type: ignore[misc]

    def _leave_home(self) -> None:
        """Let the runner's main task end, and close the runner."""
        self._own_nursery.cancel_scope.cancel(reason="the event loop was closed")
        _run.finish_paused_runner(self._own_runner)

    def autoclose(self, fd: Any) -> None:
        """Have the loop close `fd` when it is itself closed, if it is watched then.

        Args:
          fd: an int, or an object with ``fileno()``.
        """
        self._autoclose_fds.add(fd if isinstance(fd, int) else fd.fileno())

    def no_autoclose(self, fd: Any) -> None:
        """Undo `autoclose`.

        Raises:
          KeyError: `fd` was not marked.
        """
        self._autoclose_fds.remove(fd if isinstance(fd, int) else fd.fileno())

    # Crossings; what they do is in _crossing.py

    def trio_as_future(
        self, fn: Callable[..., Awaitable[Any]], /, *args: Any, **kwargs: Any
    ) -> asyncio.Future[Any]:
        """Do `run_trio`; the name that trio-asyncio has for it."""
        return self.run_trio(fn, *args, **kwargs)

    def run_trio_task(
        self, fn: Callable[..., Awaitable[Any]], /, *args: Any, **kwargs: Any
    ) -> _crossing.TrioTaskHandle:
        """Start a Trio-flavoured function as a task that nobody waits for.

        Returns:
          a handle with ``cancel()`` and ``cancelled()``. An error of the task goes to
          the loop's exception handler.

        Flavor: sync. Thread-safe: no.
        """
        return _crossing.TrioTaskHandle(self, fn, args, kwargs)

    def statistics(self) -> LoopStatistics:
        """Return what the loop has done so far, for tests and for monitoring.

        Flavor: sync. Thread-safe: no.
        """
        return LoopStatistics(cancel_deliveries=self._cancels_thrown)

    def _raise_from_task(self, exc: BaseException) -> None:
        """Let what is no Exception out of `run_forever`."""
        self.call_soon(_loop_hooks.raise_from_loop, exc)

    async def run_coroutine(self, coro: Awaitable[Any]) -> Any:
        """Run a coroutine (or other asyncio-flavoured awaitable) in an asyncio Task,
        and wait for it; see `run_asyncio`.

        Flavor: trio. Checkpoint: yes.
        """
        with _crossing.closing_unused(coro):
            _crossing.check_trio_caller(self, "run_coroutine")
            future = asyncio.ensure_future(coro, loop=self)
        return await _core.wait_future(future)

    async def run_future(self, future: asyncio.Future[Any]) -> Any:
        """Wait for an asyncio Future or Task, which is cancelled if this is; see
        `run_asyncio`.

        Flavor: trio. Checkpoint: yes.
        """
        _crossing.check_trio_caller(self, "run_future")
        return await _core.wait_future(future)

    # trio-asyncio's names
    run_aio_coroutine = run_coroutine
    run_aio_future = staticmethod(_crossing.run_future)

    def run_task(
        self, fn: Callable[..., Awaitable[Any]], /, *args: Any, **kwargs: Any
    ) -> Any:
        """Run a Trio-flavoured main function with this loop open, and return its value.

        The loop is not closed by that, and goes on with the next call.

        Flavor: sync. Not from inside a running loop.

        Raises:
          RuntimeError: the loop is closed or running.
        """
        self._check_closed()
        self._check_running()
        return self.run_until_complete(self.run_trio(fn, *args, **kwargs))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def __aenter__(self) -> NoReturn:
        """Raise RuntimeError: it is `open_loop` that is an async context manager."""
        raise RuntimeError("an event loop is opened by 'async with open_loop()'")

    def __aexit__(self, *exc_info: object) -> NoReturn:
        """Raise RuntimeError, as `__aenter__` does."""
        self.__aenter__()


def _learn_connect() -> None:
    """Tell the C half what `EventLoop.create_connection` stands for."""
    inherited = asyncio.SelectorEventLoop.create_connection
    signature = inspect.signature(inherited)
    names = (
        "_connect_sock",
        "sock_connect",
        "_ensure_resolved",
        "_create_connection_transport",
        "_make_socket_transport",
    )
    _core._learn_connect(
        tuple(x for name in names for x in (name, getattr(EventLoop, name))),
        {name: p.default for name, p in signature.parameters.items()},
        vars(base_events),
    )
    EventLoop.create_connection.__signature__ = signature  # type: ignore[attr-defined]


_learn_connect()
TLS_ACCEPTING["_make_ssl_transport"] = EventLoop._make_ssl_transport


BaseTrioEventLoop = EventLoop
"""What all event loops of the package are instances of, by trio-asyncio's name."""


def check_no_trio_task() -> None:
    """Raise RuntimeError in a Trio task, where a loop of its own could not be run."""
    if _core.in_trio_task():
        raise RuntimeError(
            "new_event_loop() was called in a Trio task: "
            "use 'async with trio_asyncio_c.open_loop()' instead"
        )


def new_event_loop(*, clock: Clock | None = None) -> EventLoop:
    """Return a new event loop that runs on its own, for ``asyncio.run(main(),
    loop_factory=new_event_loop)``.

    Args:
      clock: as for `EventLoop`; ``functools.partial(new_event_loop,
        clock=MockClock(autojump_threshold=0))`` is a factory of loops that skip all
        waiting.

    Raises:
      RuntimeError: a Trio task is running.
    """
    check_no_trio_task()
    return EventLoop(clock=clock)


# The threads of asyncio's executors end before the interpreter does.
atexit.register(_core.wait_executor_jobs)
