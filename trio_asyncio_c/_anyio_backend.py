"""anyio's backend for asyncio-flavoured code on our loop.

It is anyio's own backend for asyncio, loaded a second time as a module of its own, in
which a few names mean other things: `CancelScope` is one of the core, a `TaskGroup`'s
tasks are born in that scope, and what asks for either does so here. All the rest, such
as sockets, threads, locks, processes and the test runner, is anyio's code as it is, and
so is the backend for other loops.
"""

from __future__ import annotations

import asyncio
import importlib
import math
import threading
from asyncio import CancelledError, current_task
from contextlib import contextmanager
from functools import partial
from inspect import iscoroutinefunction
from typing import TYPE_CHECKING, Any, TypeAlias

from anyio._core._eventloop import loaded_backends
from anyio._core._tasks import CancelScope as AnyioCancelScope
from anyio._core._tasks import TaskHandle
from anyio.abc import AsyncBackend

from . import _core
from ._install_anyio import MODULE, NAME
from ._loop import EventLoop, new_event_loop
from ._task_scopes import _is_own, make_message

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator
    from types import TracebackType

__all__ = ["Backend", "ByLoop", "ByRun"]

_second: Any = importlib.import_module(MODULE)
_states: Any = _second._task_states
_threadlocals: Any = _second.threadlocals


class CancelScope(AnyioCancelScope):  # type: ignore[misc, unused-ignore]
    """anyio's way to use a scope of the core.

    Besides, each knows the one around it in its Task, for what is asked about a Task
    from outside of it. The names with an underscore are those that anyio's backend for
    asyncio uses.
    """

    __slots__ = ("_host_task", "_parent_scope", "_scope", "_state")

    def __new__(
        cls, *, deadline: float = math.inf, shield: bool = False
    ) -> CancelScope:
        return object.__new__(cls)

    def __init__(self, deadline: float = math.inf, shield: bool = False) -> None:
        self._scope: _core.CancelScope = _core.CancelScope(
            deadline, shield=bool(shield)
        )
        self._parent_scope: CancelScope | None = None
        self._host_task: asyncio.Task[Any] | None = None
        self._state: Any = None

    def __enter__(self) -> CancelScope:
        self._scope.__enter__()
        task = current_task()
        state = _states.get(task)
        if state is None:
            state = _states[task] = _second.TaskState(None, None)
        self._host_task = task
        self._state = state
        self._parent_scope = state.cancel_scope
        state.cancel_scope = self
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_val: BaseException | None,
        exc_tb: TracebackType | None,
    ) -> bool:
        state = self._state
        if state is None:
            raise RuntimeError("This cancel scope is not active")
        if current_task() is not self._host_task:
            raise RuntimeError(
                "Attempted to exit cancel scope in a different task than it was "
                "entered in"
            )
        if state.cancel_scope is not self:
            raise RuntimeError(
                "Attempted to exit a cancel scope that isn't the current tasks's "
                "current cancel scope"
            )
        state.cancel_scope = self._parent_scope
        self._state = self._host_task = None
        scope: _core.CancelScope = self._scope
        return scope.__exit__(exc_type, exc_val, exc_tb)

    def cancel(self, reason: str | None = None) -> None:
        if self._scope.cancel_called:
            return
        task = current_task()
        by = f"by {task.get_name()}" if task is not None else None
        self._scope.cancel("; ".join(filter(None, (reason, by))) or None)
        _throw_cancels()

    @property
    def deadline(self) -> float:
        return self._scope.deadline

    @deadline.setter
    def deadline(self, value: float) -> None:
        self._scope.deadline = float(value)
        _throw_cancels()

    @property
    def cancel_called(self) -> bool:
        return self._scope.cancel_called

    @property
    def cancelled_caught(self) -> bool:
        return self._scope.cancelled_caught

    @property
    def shield(self) -> bool:
        return self._scope.shield

    @shield.setter
    def shield(self, value: bool) -> None:
        self._scope.shield = bool(value)
        _throw_cancels()

    @property
    def _active(self) -> bool:
        return self._state is not None

    @property
    def _effectively_cancelled(self) -> bool:
        status = self._scope._cancel_status
        if status is not None:
            return status.effectively_cancelled
        # Not entered, or left, about which a thread can ask that was abandoned.
        scope: CancelScope | None = self
        while scope is not None and not scope._scope._cancel_called:
            scope = None if scope._scope._shield else scope._parent_scope
        return scope is not None

    def _reparent(self, new_parent: CancelScope) -> None:
        """Move the Task, which entered this scope first, where it belongs from now."""
        if self._parent_scope is new_parent:
            return
        self._parent_scope = new_parent
        loop: Any = asyncio.get_running_loop()
        loop._move_task(self._host_task, new_parent._scope)


def _throw_cancels() -> None:
    """Let a cancel reach the Tasks that wait before anything else does, as in Trio."""
    loop = asyncio._get_running_loop()
    if isinstance(loop, EventLoop):
        loop._throw_cancels()


@contextmanager
def _no_eager_tasks(loop: asyncio.AbstractEventLoop) -> Iterator[None]:
    """Let tasks begin in the next turn, as anyio does where a factory is eager."""
    factory: Any = loop.get_task_factory()
    eager = _second._eager_task_factory_code
    if eager is None or getattr(factory, "__code__", None) is not eager:
        yield
        return
    make: Any = asyncio.Task
    if factory.__closure__:
        make = factory.__closure__[0].cell_contents
    loop.set_task_factory(lambda loop, coro, **kwargs: make(coro, loop=loop, **kwargs))
    try:
        yield
    finally:
        loop.set_task_factory(factory)


class TaskGroup(_second.TaskGroup):  # type: ignore[misc]
    """anyio's own, whose tasks are born in its scope."""

    cancel_scope: CancelScope

    def _spawn(
        self,
        coro: Coroutine[Any, Any, Any],
        name: object,
        task_status: Any = None,
    ) -> TaskHandle[Any]:
        birth, parent = self.cancel_scope, self.cancel_scope._host_task
        started = spawn_scope = None
        if task_status is not None:
            started, spawn_scope = task_status._future, task_status._spawn_scope
            parent = current_task()
            state = _states.get(parent)
            if state is not None and state.cancel_scope is not None:
                birth = state.cancel_scope
        handle: TaskHandle[Any] = TaskHandle(coro, name, cancel_scope=spawn_scope)
        loop: Any = asyncio.get_running_loop()
        wrapper = handle._run_coro()
        try:
            with _no_eager_tasks(loop):
                task = loop._create_task_in(birth._scope, wrapper, name=handle.name)
        except BaseException:
            wrapper.close()
            coro.close()
            raise
        _states[task] = _second.TaskState(id(parent), birth)
        self._tasks.add(task)
        host = self.cancel_scope._host_task
        if host is not None and hasattr(asyncio, "future_add_to_awaited_by"):
            asyncio.future_add_to_awaited_by(task, host)
        task.add_done_callback(partial(self._on_end, started))
        return handle

    def _on_end(
        self, started: asyncio.Future[Any] | None, task: asyncio.Task[Any]
    ) -> None:
        host = self.cancel_scope._host_task
        if host is not None and hasattr(asyncio, "future_discard_from_awaited_by"):
            asyncio.future_discard_from_awaited_by(task, host)
        self._tasks.remove(task)
        del _states[task]
        waiter = self._on_completed_fut
        if waiter is not None and not waiter.done() and not self._tasks:
            waiter.set_result(None)
        self._take_outcome(started, _error_of(task))

    def _take_outcome(
        self, started: asyncio.Future[Any] | None, error: BaseException | None
    ) -> None:
        if started is None or started.done():
            # Whose start() was cancelled has no errors but that.
            if error is None or (started is not None and started.cancelled()):
                return
            if not isinstance(error, CancelledError):
                self._exceptions.append(error)
            if not self.cancel_scope._effectively_cancelled:
                self.cancel_scope.cancel()
        else:
            if error is None:
                error = RuntimeError(
                    "Child exited without calling task_status.started()"
                )
            started.set_exception(error)


def _error_of(task: asyncio.Task[Any]) -> BaseException | None:
    """Return a Task's exception; of several cancels, the one that came first."""
    try:
        return task.exception()
    except CancelledError as exc:
        first = exc
        while isinstance(first.__context__, CancelledError):
            first = first.__context__
        return first


class _CancelledInThread(BaseException):
    """A worker thread's function has let out the CancelledError that is the argument.

    The Task that waits for it got none: it was shielded, or the thread would not have
    been waited for.
    """


class _ThreadState(threading.local):
    # Whether the worker thread's function is let go of if its Task is cancelled.
    abandoned = False


_thread_state = _ThreadState()


class Backend(_second.AsyncIOBackend):  # type: ignore[misc]
    """The backend, for code in asyncio Tasks of our loop."""

    @classmethod
    def run(
        cls,
        func: Callable[..., Coroutine[Any, Any, Any]],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        options: dict[str, Any],
    ) -> Any:
        return super().run(func, args, kwargs, _with_our_loop(options))

    @classmethod
    def create_test_runner(cls, options: dict[str, Any]) -> Any:
        return super().create_test_runner(_with_our_loop(options))

    @classmethod
    async def checkpoint_if_cancelled(cls) -> None:
        if cls.current_effective_deadline() == -math.inf:
            await asyncio.sleep(0)

    @classmethod
    def current_effective_deadline(cls) -> float:
        if current_task() is None:
            return math.inf
        return _core.current_effective_deadline()

    @classmethod
    async def run_sync_in_worker_thread(
        cls,
        func: Callable[..., Any],
        args: tuple[Any, ...],
        abandon_on_cancel: bool = False,
        limiter: Any = None,
    ) -> Any:
        def call() -> Any:
            _thread_state.abandoned = abandon_on_cancel
            try:
                return func(*args)
            except CancelledError as exc:
                raise _CancelledInThread(exc) from None

        try:
            return await super().run_sync_in_worker_thread(
                call, (), abandon_on_cancel, limiter
            )
        except _CancelledInThread as exc:
            (error,) = exc.args
        await cls.checkpoint_if_cancelled()  # a cancel that the scope knows of
        try:
            raise error
        finally:
            del error

    @classmethod
    def check_cancelled(cls) -> None:
        scope: CancelScope | None = _threadlocals.current_cancel_scope
        if scope is not None and scope._effectively_cancelled:
            raise CancelledError(make_message(scope._scope))

    @classmethod
    def run_async_from_thread(
        cls,
        func: Callable[..., Coroutine[Any, Any, Any]],
        args: tuple[Any, ...],
        token: object,
    ) -> Any:
        scope: CancelScope | None = getattr(_threadlocals, "current_cancel_scope", None)
        if scope is None:
            return super().run_async_from_thread(func, args, token)

        async def call_in_scope() -> Any:
            if abandoned:
                return await func(*args)
            loop: Any = asyncio.get_running_loop()

            async def call() -> Any:
                return await func(*args)

            task = loop._create_task_in(scope._scope, call())
            _states[task] = _second.TaskState(None, scope)
            return await task

        abandoned = _thread_state.abandoned
        del _threadlocals.current_cancel_scope  # the scope is seen to here
        try:
            return super().run_async_from_thread(call_in_scope, (), token)
        finally:
            _threadlocals.current_cancel_scope = scope


def _with_our_loop(options: dict[str, Any]) -> dict[str, Any]:
    options = dict(options)
    if options.pop("use_uvloop", False):
        raise ValueError(
            f"the backend {NAME!r} has an event loop of its own: use_uvloop is an "
            "option of the backend 'asyncio'"
        )
    make = options.get("loop_factory") or new_event_loop

    def make_known() -> asyncio.AbstractEventLoop:
        loop: Any = make()
        if isinstance(loop, EventLoop):
            loop.has_anyio_backend = True  # type: ignore[attr-defined]
        return loop  # type: ignore[no-any-return]

    # Code that runs on it takes itself to run on asyncio.
    if loaded_backends.get("asyncio") is not ByLoop:
        loaded_backends["asyncio"] = ByRun
    options["loop_factory"] = make_known
    return options


# Where anyio's code names these, it means ours from now on.
_second.CancelScope = CancelScope
_second.TaskGroup = TaskGroup
_second.AsyncIOBackend = _second.backend_class = Backend
_second.is_anyio_cancellation = _is_own


_first: Any = importlib.import_module("anyio._backends._asyncio").backend_class


_IsOurs: TypeAlias = "Callable[[object], bool]"


def _is_any_of_ours(loop: object) -> bool:
    return isinstance(loop, EventLoop)


def _is_made_for_anyio(loop: object) -> bool:
    return getattr(loop, "has_anyio_backend", False)


def _by_running_loop(name: str, is_ours: _IsOurs) -> Any:
    def call(*args: Any, **kwargs: Any) -> Any:
        backend = Backend if is_ours(asyncio._get_running_loop()) else _first
        return getattr(backend, name)(*args, **kwargs)

    async def call_async(*args: Any, **kwargs: Any) -> Any:
        return await call(*args, **kwargs)

    is_async = iscoroutinefunction(getattr(AsyncBackend, name))
    return staticmethod(call_async if is_async else call)


def _by_token(name: str, is_ours: _IsOurs) -> Any:
    """Make a method for another thread than the loop's, which says whom it asks."""

    def call(func: object, args: object, token: object) -> Any:
        loop = token or _threadlocals.current_token.native_token
        return getattr(Backend if is_ours(loop) else _first, name)(func, args, token)

    return staticmethod(call)


def _by_first(name: str, is_ours: _IsOurs) -> Any:
    return staticmethod(getattr(_first, name))


_OTHERWISE = {
    "run": _by_first,
    "create_test_runner": _by_first,
    "run_async_from_thread": _by_token,
    "run_sync_from_thread": _by_token,
    "run_sync_soon": _by_token,
}


def _make_choice(name: str, doc: str, is_ours: _IsOurs) -> Any:
    """Make the backend 'asyncio', which asks the loop whose backend is meant."""
    methods = {
        name: _OTHERWISE.get(name, _by_running_loop)(name, is_ours)
        for name in vars(AsyncBackend)
        if not name.startswith("_")
    }
    names = {"__doc__": doc, "__module__": __name__}
    return type(name, (AsyncBackend,), names | methods)


ByLoop: Any = _make_choice(
    "ByLoop", "This backend on any loop of ours, else anyio's own.", _is_any_of_ours
)
ByRun: Any = _make_choice(
    "ByRun",
    "This backend on loops that anyio made by its name, else anyio's own.",
    _is_made_for_anyio,
)
