"""traio's Scope: asyncio tasks that live and die together, on a cancel scope."""

from __future__ import annotations

import asyncio
import inspect
import logging
import time
from asyncio import CancelledError
from contextlib import suppress
from contextvars import ContextVar
from math import inf
from typing import TYPE_CHECKING, Any, Final, NoReturn, Self, TypeVar

from . import _core
from ._core import CancelScope
from ._task_scopes import ScopeCancel

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Generator, Iterable
    from contextvars import Context, Token
    from types import TracebackType

__all__ = ["Scope", "ScopeTask"]

_T = TypeVar("_T")

_current: Final[ContextVar[Scope | None]] = ContextVar("trio_asyncio_c_scope")


def _default_logger() -> logging.Logger:
    """Return traio's logger, which is silent until somebody sets its level."""
    logger = logging.getLogger("traio")
    if logger.level == logging.NOTSET:
        logger.setLevel(logging.CRITICAL)
    return logger


def _loop_of_ours() -> asyncio.AbstractEventLoop:
    loop = asyncio.get_event_loop()
    if not isinstance(loop, _core.LoopCore):
        raise RuntimeError(
            f"a Scope needs an event loop of trio_asyncio_c, and this is {loop!r}"
        )
    return loop


def _describe(awaitable: object) -> str:
    name = getattr(awaitable, "__name__", None)
    return name if isinstance(name, str) else repr(awaitable)


def _check_timeout(seconds: float) -> None:
    if not seconds >= 0:
        raise AssertionError("timeout must be a positive number")


def _raise(error: BaseException) -> NoReturn:
    """Raise an error as it is: what it was raised in stays what it was."""
    context = error.__context__
    try:
        raise error
    finally:
        error.__context__ = context
        del error, context


def _is_of_scope(cancel: CancelledError) -> bool:
    message = cancel.args[0] if cancel.args else None
    return isinstance(message, ScopeCancel) and not message.foreign


async def _wait_for(awaitable: Awaitable[_T]) -> _T:
    return await awaitable


class ScopeTask(asyncio.Future[_T]):
    """A task of a `Scope`: a Future with the task's result.

    Whoever awaits it, or adds a callback to it, takes its error over: `bubble` is False
    from then on. So do ``gather()``, ``wait()``, ``shield()`` and ``wait_for()`` of it.
    They are made by `Scope.spawn`.

    Attributes:
      awaitable: what is run, as a Future: mostly the asyncio Task.
      bubble: whether an error of the task ends the scope with this error.
      master: whether the task's end ends the scope.
      awaited: whether the scope's end waits for the task.
      cancel_timeout: seconds that it may take to end after its cancel; None: any.
      name: for the log.
      start_time: when it was spawned, by ``time.time()``.
    """

    awaitable: asyncio.Future[_T]

    def __init__(
        self,
        scope: Scope,
        name: str,
        *,
        master: bool,
        bubble: bool,
        awaited: bool,
        cancel_timeout: float | None,
    ) -> None:
        self._scope: Scope | None = scope
        self._in_scope = False
        self.name = name
        self.master = master
        self.bubble = bubble
        self.awaited = awaited
        self.cancel_timeout = cancel_timeout
        self.start_time = time.time()
        super().__init__(loop=scope.get_loop())
        self._started_at = scope.get_loop().time()

    def __repr__(self) -> str:
        return f"Task({id(self)}, {self.name})"

    def __await__(self) -> Generator[Any, None, _T]:
        self.bubble = False
        return super().__await__()

    __iter__ = __await__

    def add_done_callback(
        self,
        callback: Callable[[Self], object],
        /,
        *,
        context: Context | None = None,
    ) -> None:
        """Call ``callback(task)`` when the task is done; `bubble` is False then.

        Flavor: sync. Thread-safe: no.
        """
        self.bubble = False
        super().add_done_callback(callback, context=context)

    def cancel(self, msg: Any | None = None) -> bool:
        """Cancel the task alone, by ``task.cancel()``.

        Args:
          msg: the CancelledError's message.

        Returns:
          Whether it was asked to end: not if it is done.

        Flavor: sync. Thread-safe: no.
        """
        if isinstance(msg, ScopeCancel) and self._is_being_cancelled():
            return False  # who waits for it is cancelled too, and gets that at its end
        return self._cancel_awaitable(msg)

    def _cancel_awaitable(self, msg: Any | None = None) -> bool:
        if msg is None:
            return self.awaitable.cancel()
        return self.awaitable.cancel(msg=msg)

    def _is_being_cancelled(self) -> bool:
        scope = self._scope
        return scope is not None and self._in_scope and scope._is_cancelled()

    def _start(self, awaitable: Awaitable[_T], task_name: str | None) -> None:
        scope = self._scope
        assert scope is not None
        loop: Any = scope.get_loop()
        if asyncio.isfuture(awaitable):
            self.awaitable = asyncio.ensure_future(awaitable, loop=loop)
        else:
            self._in_scope = True
            if not asyncio.iscoroutine(awaitable):
                awaitable = _wait_for(awaitable)
            keywords = {} if task_name is None else {"name": task_name}
            self.awaitable = loop._create_task_in(
                scope.cancel_scope, awaitable, **keywords
            )
        self.awaitable.add_done_callback(self._take)

    def _take(self, done: asyncio.Future[_T]) -> None:
        """Have the result of what was run, and tell the scope."""
        scope, self._scope = self._scope, None
        error = None if done.cancelled() else done.exception()
        if self.done():
            pass  # somebody has set its result
        elif done.cancelled():
            super().cancel(msg=getattr(done, "_cancel_message", None))
        elif error is None:
            self.set_result(done.result())
        else:
            self.set_exception(error)
            self._log_traceback = False  # the scope has it
        if scope is not None:
            scope._task_ended(self, error)


class Scope(asyncio.Future[None]):
    """traio's nursery: a block, or an object, that asyncio tasks live in.

    ::

        async with Scope(timeout=10) as scope:
            scope.spawn(fetch(1))
            scope << fetch(2)

    The block ends when its tasks have ended, when the first of them fails or when the
    scope is cancelled: the others, and the block itself, are cancelled then, at each
    await until they end. It raises the error as it is, in no group.

    Without a block it is a Future, to be awaited when `finalize` has been called. It is
    done when all in it has ended, with the error that it was cancelled with.

    A loop of this package is needed. Tasks and block share the `CancelScope`
    ``scope.cancel_scope``, so its deadline counts in `current_effective_deadline`.

    Args:
      logger: what the steps of its life and its tasks' are logged to, mostly at level
        DEBUG; the logger ``traio`` without.
      timeout: seconds from now to a TimeoutError; 0: none.
      name: for the log.

    Raises:
      AssertionError: the timeout is negative.
      RuntimeError: the loop is no loop of ours.

    Flavor: asyncio. Checkpoint: the block's end waits, or yields once. Thread-safe: no.
    """

    cancel_scope: CancelScope
    logger: logging.Logger

    def __init__(
        self,
        *,
        logger: logging.Logger | None = None,
        timeout: float = 0,
        name: str | None = None,
        _parent: CancelScope | None = None,
    ) -> None:
        _check_timeout(timeout)
        loop: Any = _loop_of_ours()
        super().__init__(loop=loop)
        self.name = name
        self.logger = logger or _default_logger()
        # Those that have not ended, in order.
        self._pending: dict[ScopeTask[Any], None] = {}
        self._awaited = 0  # of these, with `awaited`
        self._finalized = False
        self._ending = False  # cancelled, or its last task has ended
        self._error: BaseException | None = None  # to be raised
        self._by_others = False  # its block was cancelled, and not the scope
        self._stuck = False  # a task was given up
        self._timers: list[asyncio.TimerHandle] = []
        self._host: asyncio.Task[Any] | None = None  # in the block, or its end
        self._entered = False
        self._in_body = False
        self._count = 0  # the host's cancelling() at the entry
        self._token: Token[Scope | None] | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._timeout = timeout
        self.cancel_scope = CancelScope(relative_deadline=timeout or inf)
        self._watch = loop._open_scope(self.cancel_scope, _parent, self._on_cancelled)
        self.logger.debug("creating %s", self)

    def __repr__(self) -> str:
        return f"Scope({id(self)}, {self.name or '-'})"

    # Tasks

    def spawn(
        self,
        awaitable: Awaitable[_T],
        *,
        name: str | None = None,
        master: bool = False,
        bubble: bool = True,
        awaited: bool = True,
        cancel_timeout: float | None = 1,
    ) -> ScopeTask[_T]:
        """Run an awaitable as a task of the scope.

        A coroutine runs in a Task that is born in the scope. What is a Future already
        (a Task, a future of an executor, another Scope) is cancelled with the scope,
        once, by its ``cancel()``.

        Args:
          awaitable: a coroutine, a Future or another awaitable.
          name: for the log, and of the asyncio Task; without, the function's.
          master: the scope ends with the task.
          bubble: an error of the task is the scope's, which cancels the rest.
          awaited: the end of the scope waits for the task, which is cancelled then if
            this is False.
          cancel_timeout: seconds that the task may take to end when it is cancelled;
            then the scope ends with OSError without it. None: any time.

        Returns:
          The `ScopeTask`, which is a Future of the result.

        Raises:
          OSError: it is not awaitable.
          AssertionError: the scope ends, or has ended.

        Flavor: sync. Thread-safe: no.
        """
        if self._ending:
            if inspect.iscoroutine(awaitable):
                awaitable.close()
            raise AssertionError("cannot spawn tasks on dead or dying scope")
        if not (asyncio.isfuture(awaitable) or inspect.isawaitable(awaitable)):
            raise OSError(f"this thing is not awaitable: {awaitable}!")
        task: ScopeTask[_T] = ScopeTask(
            self,
            _describe(awaitable) if name is None else name,
            master=master,
            bubble=bubble,
            awaited=awaited,
            cancel_timeout=cancel_timeout,
        )
        self.logger.debug("adding %s to %s", task, self)
        # First, for it may run at once, and end the scope.
        self._pending[task] = None
        self._awaited += awaited
        token = _current.set(self)
        try:
            task._start(awaitable, name)
        except BaseException:
            self._forget(task)
            raise
        finally:
            _current.reset(token)
        return task

    def __lshift__(self, awaitable: Awaitable[_T]) -> ScopeTask[_T]:
        """Spawn: ``scope << fetch()``."""
        return self.spawn(awaitable)

    def fork(self, *, name: str | None = None, timeout: float = 0) -> Scope:
        """Return a scope that ends at the latest with this one.

        It is a task of this one that does not bubble: its error is for who awaits it,
        or is in its block. It needs its block or `finalize`, or this one waits for it.

        Args:
          name: for the log, which is this scope's.
          timeout: seconds; 0: none.

        Raises:
          AssertionError: the scope ends, or has ended; the timeout is negative.

        Flavor: sync. Thread-safe: no.
        """
        if self._ending:
            raise AssertionError("cannot fork a dead or dying scope")
        scope = Scope(
            logger=self.logger, timeout=timeout, name=name, _parent=self.cancel_scope
        )
        self.spawn(scope, bubble=False, name=str(scope))
        return scope

    def get_tasks(self) -> dict[str, Any]:
        """Return what runs in the scope: seconds by the task's repr, and for a forked
        scope a dict of its own.

        Flavor: sync. Thread-safe: no.
        """
        now = self.get_loop().time()
        tasks: dict[str, Any] = {}
        for task in self._pending:
            inner = getattr(task, "awaitable", None)  # None in its first step
            if isinstance(inner, Scope):
                tasks[repr(inner)] = inner.get_tasks()
            else:
                tasks[repr(task)] = now - task._started_at
        return tasks

    # The end

    @property
    def timeout(self) -> float:
        """Seconds from when it was set to a TimeoutError; 0: none.

        Setting it starts anew. AssertionError if the scope ends or it is negative.
        """
        return self._timeout

    @timeout.setter
    def timeout(self, seconds: float) -> None:
        if self._ending:
            raise AssertionError("cannot set timeout on dead/dying scope")
        _check_timeout(seconds)
        self._timeout = seconds
        self.cancel_scope.deadline = (
            self.get_loop().time() + seconds if seconds else inf
        )

    def cancel(  # type: ignore[override]
        self,
        exception: BaseException | type[BaseException] | object = None,
        *,
        msg: object = None,
    ) -> bool:
        """Cancel the tasks, and the block if that is not left; the first call counts.

        Args:
          exception: what the block, and who awaits the scope, gets when all has ended;
            None: nothing, the scope ends silently. What is no exception is the message
            of somebody who calls this as a Future's method, as ``Task.cancel()`` does.
          msg: the same, by name. The scope has no use for it.

        Returns:
          False: who is cancelled while awaiting the scope is told when that has ended.

        Raises:
          TypeError: it is StopIteration, which no Future may have.

        Flavor: sync. Thread-safe: no.
        """
        if isinstance(exception, type):
            exception = exception()
        if isinstance(exception, StopIteration):
            raise TypeError(f"a Scope cannot end with {exception!r}")
        if not self._ending:
            self._end(exception if isinstance(exception, BaseException) else None)
        return False

    def finalize(self) -> None:
        """Have the scope end with its last awaited task, which is at once if there is
        none.

        The end of the block does it too. It may be called again.

        Flavor: sync. Thread-safe: no.
        """
        self._finalized = True
        self._end_if_alone()

    def _is_cancelled(self) -> bool:
        """Whether the tasks that were born here get a cancel at each await."""
        status = self.cancel_scope._cancel_status
        return status is not None and status.effectively_cancelled

    def _end_if_alone(self) -> None:
        if self._finalized and not self._awaited and not self._ending:
            self._end(None)

    def _end(self, error: BaseException | None, by_others: bool = False) -> None:
        """Cancel what is left, if anything."""
        left = list(self._pending)
        if left or self._in_body:  # first, for in another thread it raises
            self.cancel_scope.cancel(None if error is None else repr(error))
        self._ending = True
        self._error = error
        self._by_others = by_others
        self._limit_cancel(left)
        for task in left:
            self.logger.debug("cancelling active %s from %s", task, self)
            if not task._in_scope:
                self._cancel_future(task)
        self._finish()

    def _cancel_future(self, task: ScopeTask[Any]) -> None:
        try:
            task._cancel_awaitable()
        except Exception as error:  # a class of somebody's
            self.get_loop().call_exception_handler(
                {"message": f"{task} cannot be cancelled", "exception": error}
            )

    def _on_cancelled(self) -> None:
        """The cancel scope was cancelled, by whatever."""
        if self._ending:
            return
        if not self.cancel_scope._cancel_called:
            self._end(None, by_others=True)
            return
        reason = self.cancel_scope._cancel_reason
        if reason is None or reason.source != "deadline":
            self._end(None)
            return
        self.logger.info("timeout on scope %s", self)
        self._end(TimeoutError())

    def _limit_cancel(self, tasks: Iterable[ScopeTask[Any]]) -> None:
        """See to it that tasks which were cancelled are not waited for for ever."""
        by_limit: dict[float, list[ScopeTask[Any]]] = {}
        for task in tasks:
            if task.cancel_timeout is not None:
                by_limit.setdefault(task.cancel_timeout, []).append(task)
        for seconds, those in by_limit.items():
            self._timers.append(
                self.get_loop().call_later(seconds, self._give_up, those)
            )

    def _give_up(self, tasks: Iterable[ScopeTask[Any]]) -> None:
        for task in tasks:
            if task in self._pending:
                self.logger.error("%s could not be cancelled in time", task)
                self._stuck = True
                self._forget(task)
        self._finish()

    def _forget(self, task: ScopeTask[Any]) -> None:
        del self._pending[task]
        self._awaited -= task.awaited

    def _task_ended(self, task: ScopeTask[Any], error: BaseException | None) -> None:
        self._log_end(task, error)
        if task not in self._pending:
            return  # given up
        self._forget(task)
        if error is not None and not self._ending:
            # These two end the loop's run besides, and are not to be lost.
            if task.bubble or isinstance(error, (KeyboardInterrupt, SystemExit)):
                self._end(error)
        if task.master and not self._ending:
            self._end(None)
        self._end_if_alone()
        self._finish()

    def _log_end(self, task: ScopeTask[Any], error: BaseException | None) -> None:
        if error is None:
            how = "%s got cancelled" if task.cancelled() else "%s done"
            self.logger.debug(how, task)
            return
        kind = type(error).__name__
        self.logger.debug("%s got an exception: [%s] %s", task, kind, error)
        if self._ending:
            self.logger.warning(
                "%s got an exception after cancellation: %s %s", task, kind, error
            )

    def _finish(self) -> None:
        """Resolve the Future if nothing is left in the scope."""
        if not self._ending or self._pending:
            return
        if self._host is None:
            self._watch.close()
            self._resolve()
        elif self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _resolve(self) -> None:
        if self.done():
            return
        for timer in self._timers:
            timer.cancel()
        self._timers.clear()
        if self._stuck:
            self._error = OSError(f"Could not cancel {self}!!! Check your code!")
        if isinstance(self._error, StopIteration):
            self.set_exception(RuntimeError(f"the block raised {self._error!r}"))
        elif self._error is not None:
            self.set_exception(self._error)
        elif self._by_others:
            super().cancel()
        else:
            self.set_result(None)

    # The block

    async def __aenter__(self) -> Scope:
        if self._entered:
            raise AssertionError("can only enter scope context once!")
        host = asyncio.current_task()
        if host is None:
            raise RuntimeError("a Scope is entered by code in an asyncio Task")
        if self.done():
            self.cancel_scope = CancelScope()
            self.cancel_scope.cancel()
            self.cancel_scope.__enter__()
        else:
            self._watch.enter()
        self._entered = self._in_body = True
        self._host, self._count = host, host.cancelling()
        self._token = _current.set(self)
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool:
        self._in_body = False
        if isinstance(exc, GeneratorExit):
            self._abandon(exc)
            return False
        try:
            cancel = await self._join(exc)
        finally:
            self._reset_current()
        return self._leave(exc, cancel)

    def _reset_current(self) -> None:
        token, self._token = self._token, None
        assert token is not None
        with suppress(ValueError):  # left in another context than it was entered in
            _current.reset(token)

    def __enter__(self) -> NoReturn:
        raise RuntimeError("a Scope is entered by 'async with', not by 'with'")

    def __exit__(self, *error: object) -> None:
        """Only here for ``with`` to reach `__enter__`, which refuses."""

    async def _join(self, exc: BaseException | None) -> CancelledError | None:
        """Wait for the tasks; return the last cancel of the block, if any."""
        if exc is not None:
            self._note(exc)
        cancel = exc if isinstance(exc, CancelledError) else None
        self.finalize()
        if exc is None:
            try:
                await self._wait_or_yield()
            except CancelledError as error:
                cancel = error
                self._note(error)
        if self._pending:
            # Cancels of scopes have done their work.
            with CancelScope(shield=True):
                cancel = await self._wait_through(cancel)
        return cancel

    async def _wait_through(
        self, cancel: CancelledError | None
    ) -> CancelledError | None:
        """Wait for the tasks, whatever comes; return the last cancel."""
        while self._pending:
            try:
                await self._tasks_gone()
            except CancelledError as error:
                cancel = error
        return cancel

    async def _wait_or_yield(self) -> None:
        if self._pending:
            await self._tasks_gone()
        else:
            with CancelScope(shield=True):
                await asyncio.sleep(0)

    async def _tasks_gone(self) -> None:
        self._waiter = self.get_loop().create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None

    def _note(self, exc: BaseException) -> None:
        """What has left the block, or interrupted its end, ends the scope."""
        if self._ending:
            return
        if self.cancel_scope._cancel_called:
            self._on_cancelled()
        elif isinstance(exc, CancelledError):
            self._end(None, by_others=True)
        else:
            self._end(exc)

    def _leave(self, exc: BaseException | None, cancel: CancelledError | None) -> bool:
        """Leave the cancel scope, say how the scope has ended and raise what is left;
        or return whether `exc` ends here."""
        host, self._host = self._host, None
        assert host is not None
        if exc is None or isinstance(exc, CancelledError):
            exc_in_scope: BaseException | None = cancel
        else:
            exc_in_scope = exc
        self._watch.close()
        rest = self.cancel_scope._close(exc_in_scope)
        self._by_others = isinstance(rest, CancelledError)
        self._resolve()
        self._log_traceback = False
        error = rest if self._error is None else self._error
        if cancel is not None and error is not cancel:
            self._throw_again(host, cancel)
        if error is None:
            return True
        if error is exc:
            return False
        _raise(error)

    def _throw_again(self, host: asyncio.Task[Any], cancel: CancelledError) -> None:
        """Somebody has cancelled the host, and is not to be told by what the block
        raises: so by the next await."""
        if host.cancelling() > self._count and not _is_of_scope(cancel):
            host.uncancel()
            host.cancel(*cancel.args[:1])

    def _abandon(self, exc: GeneratorExit) -> None:
        """The block is closed, and cannot wait."""
        host, self._host = self._host, None
        self._reset_current()
        if self.get_loop().is_closed():
            return
        if not self._ending:
            self._end(None, by_others=True)
        if host is asyncio.current_task(self.get_loop()):
            self._watch.close()
            self.cancel_scope._close(exc)

    # The running code's

    @staticmethod
    def get_current() -> Scope | None:
        """Return the scope of the running code, or None.

        That is the one whose innermost block this is, or that the task was spawned in,
        as a context variable: what such a task creates by asyncio's functions inherits
        it, though not its cancellation.

        Flavor: sync. Thread-safe: yes.
        """
        return _current.get(None)

    @staticmethod
    def _set_current(scope: Scope | None) -> Token[Scope | None]:
        return _current.set(scope)

    @classmethod
    def set_debug(cls, enabled: bool) -> None:
        """Have the logger ``traio`` log at level DEBUG, or CRITICAL again.

        Flavor: sync. Thread-safe: yes.
        """
        _default_logger().setLevel(logging.DEBUG if enabled else logging.CRITICAL)
