"""httpx, Starlette and FastAPI on anyio's backend of ours: their cancels are the core's,
level-triggered, and reach what they are in the middle of."""

from __future__ import annotations

import asyncio
import threading
from contextlib import asynccontextmanager
from types import SimpleNamespace

import pytest

anyio = pytest.importorskip("anyio")
httpx = pytest.importorskip("httpx")
fastapi = pytest.importorskip("fastapi")
pytest.importorskip("uvicorn")

import trio_asyncio_c  # noqa: E402
from anyio import from_thread, to_thread  # noqa: E402
from anyio._core._eventloop import loaded_backends  # noqa: E402
from starlette.applications import Starlette  # noqa: E402
from starlette.middleware import Middleware  # noqa: E402
from starlette.middleware.base import BaseHTTPMiddleware  # noqa: E402
from starlette.responses import PlainTextResponse, StreamingResponse  # noqa: E402
from starlette.routing import Route  # noqa: E402

from ..._real import watch  # noqa: E402
from ._uvicorn import serving  # noqa: E402


@pytest.fixture(autouse=True)
def installed():
    """Have anyio use our backend, during the test only."""
    before = dict(loaded_backends)
    trio_asyncio_c.install_anyio()
    yield
    loaded_backends.clear()
    loaded_backends.update(before)


def run(main):
    """Run it on our loop, under watch; sockets that a peer has left may be in use."""
    return watch.run(main, ignored=lambda name: "eventpoll" in name)


@asynccontextmanager
async def client(app):
    """Serve an application over loopback; gives httpx's client of it."""
    async with serving(app, http="h11", ws="none") as server:
        url = f"http://127.0.0.1:{server.port}"
        async with httpx.AsyncClient(
            base_url=url, trust_env=False, timeout=None
        ) as http:
            yield http


class Waiting:
    """An endpoint that answers a line, and then nothing; it notes each cancel.

    Args:
      refusals: how often it catches the cancel and waits on.
    """

    def __init__(self, refusals=1):
        self.refusals = refusals
        self.begun = asyncio.Event()
        self.ended = asyncio.Event()
        self.cancels = 0

    async def lines(self):
        yield "line\n"
        self.begun.set()
        try:
            for _ in range(self.refusals):
                try:
                    await asyncio.Event().wait()
                except asyncio.CancelledError:
                    self.cancels += 1
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            self.cancels += 1
            raise
        finally:
            self.ended.set()

    async def answer(self, request):
        return StreamingResponse(self.lines())

    def app(self, **options):
        return Starlette(routes=[Route("/", self.answer)], **options)


async def hello(request):
    return PlainTextResponse("hello")


# httpx


@pytest.mark.parametrize("scope_of", ["anyio", "ours"])
def test_a_scope_ends_a_request(scope_of):
    """Be it anyio's or ours; the client is as good as before."""
    scope_class = anyio if scope_of == "anyio" else trio_asyncio_c

    async def main():
        never = asyncio.Event()

        async def wait(request):
            asked.set()
            await never.wait()

        asked = asyncio.Event()
        app = Starlette(routes=[Route("/", wait), Route("/hello", hello)])
        async with client(app) as http:

            async def cancel(scope):
                await asked.wait()
                scope.cancel()

            with scope_class.CancelScope() as scope:
                task = asyncio.create_task(cancel(scope))
                await http.get("/")
            assert scope.cancelled_caught
            assert asyncio.current_task().cancelling() == 0
            await task
            assert (await http.get("/hello")).text == "hello"
            # What was cancelled keeps no connection of the pool.
            assert len(http._transport._pool.connections) == 1
            never.set()

    run(main)


def test_requests_in_a_task_group_end_with_it():
    async def main():
        waiting = Waiting()
        ended = []
        async with client(waiting.app()) as http:

            async def ask():
                try:
                    async with http.stream("GET", "/") as response:
                        async for _ in response.aiter_text():
                            pass
                finally:
                    # Each await of a cleanup raises as well.
                    with pytest.raises(asyncio.CancelledError):
                        await asyncio.sleep(0)
                    ended.append("asked")

            async with anyio.create_task_group() as group:
                for _ in range(5):
                    group.start_soon(ask)
                await waiting.begun.wait()
                group.cancel_scope.cancel()
            assert ended == ["asked"] * 5
            await waiting.ended.wait()

    run(main)


def test_a_time_limit_of_httpx_is_no_cancel():
    """httpcore's limits are scopes of anyio's: what comes of them is httpx's error."""

    async def main():
        waiting = Waiting()
        async with client(waiting.app()) as http:
            with anyio.CancelScope() as scope:
                with pytest.raises(httpx.ReadTimeout):
                    await http.get("/", timeout=0.05)
            assert not scope.cancel_called
            assert asyncio.current_task().cancelling() == 0
            await waiting.ended.wait()

    run(main)


# Starlette


def test_a_stream_is_cancelled_at_each_await_when_its_client_has_gone():
    async def main():
        waiting = Waiting(refusals=3)
        async with client(waiting.app()) as http:
            async with http.stream("GET", "/") as response:
                async for line in response.aiter_lines():
                    assert line == "line"
                    break
                await waiting.begun.wait()
            await waiting.ended.wait()
        assert waiting.cancels == 4

    run(main)


def test_a_stream_that_refuses_costs_next_to_nothing(caplog):
    """It is cancelled again and again, but less and less often, and named."""

    async def main():
        waiting = Waiting(refusals=40)
        loop = asyncio.get_running_loop()
        async with client(waiting.app()) as http:
            async with http.stream("GET", "/") as response:
                await response.aiter_lines().__anext__()
                await waiting.begun.wait()
            before = loop._cancels_thrown
            await waiting.ended.wait()
            assert waiting.cancels == 41
            assert loop._cancels_thrown - before <= 50

    run(main)
    (warning,) = [r.getMessage() for r in caplog.records if r.name == "asyncio"]
    assert "StreamingResponse" in warning and "goes on although" in warning
    caplog.clear()


def test_middleware():
    """Starlette's class runs the application in a task group of anyio's."""

    class Naming(BaseHTTPMiddleware):
        async def dispatch(self, request, call_next):
            with anyio.CancelScope() as scope:
                response = await call_next(request)
            response.headers["scope"] = type(scope).__module__
            return response

    async def main():
        app = Starlette(routes=[Route("/", hello)], middleware=[Middleware(Naming)])
        async with client(app) as http:
            async with anyio.create_task_group() as group:

                async def ask():
                    response = await http.get("/")
                    assert response.text == "hello"
                    assert response.headers["scope"].startswith("trio_asyncio_c.")

                for _ in range(20):
                    group.start_soon(ask)

    run(main)


def test_a_middlewares_stream_ends_with_its_client():
    class Passing(BaseHTTPMiddleware):
        async def dispatch(self, request, call_next):
            return await call_next(request)

    async def main():
        waiting = Waiting()
        app = waiting.app(middleware=[Middleware(Passing)])
        async with client(app) as http:
            async with http.stream("GET", "/") as response:
                await response.aiter_lines().__anext__()
                await waiting.begun.wait()
            await waiting.ended.wait()
        assert waiting.cancels == 2

    run(main)


@pytest.mark.filterwarnings("ignore:Using `httpx` with")
def test_its_test_client():
    from starlette.testclient import TestClient

    async def which(request):
        loop = asyncio.get_running_loop()
        with anyio.move_on_after(0.01) as scope:
            await anyio.sleep_forever()
        return PlainTextResponse(f"{type(loop).__name__} {scope.cancelled_caught}")

    app = Starlette(routes=[Route("/", which)])
    loops = set()

    @asynccontextmanager
    async def lifespan(app):
        loops.add(type(asyncio.get_running_loop()))
        yield

    app.router.lifespan_context = lifespan
    with TestClient(app, backend="trio_asyncio_c") as http:
        assert http.get("/").text == "EventLoop True"
    assert loops == {trio_asyncio_c.EventLoop}


# FastAPI


@pytest.fixture
def state():
    """Give what the endpoints share, which FastAPI's caches keep alive for ever."""
    state = SimpleNamespace()
    yield state
    vars(state).clear()


def test_fastapi_closes_what_a_cancelled_request_has_opened(state):
    """A dependency's cleanup runs in a shield, or its awaits would raise too."""

    async def resource():
        try:
            yield "resource"
        finally:
            with anyio.CancelScope(shield=True):
                await asyncio.sleep(0)
                state.events.append("closed")
            state.closed.set()

    async def lines():
        yield "line\n"
        state.begun.set()
        try:
            await anyio.sleep_forever()
        finally:
            state.events.append("cancelled")

    app = fastapi.FastAPI()

    @app.get("/")
    async def stream(item: str = fastapi.Depends(resource)):
        return StreamingResponse(lines())

    async def main():
        state.events = []
        state.begun, state.closed = asyncio.Event(), asyncio.Event()
        async with client(app) as http:
            async with http.stream("GET", "/") as response:
                await response.aiter_lines().__anext__()
                await state.begun.wait()
            await state.closed.wait()
        assert state.events == ["cancelled", "closed"]

    run(main)


def test_fastapis_threads_learn_of_the_scope(state):
    """Its functions that are not async run in anyio's threads, which may ask."""
    app = fastapi.FastAPI()

    @app.get("/")
    def work() -> str:
        from_thread.run_sync(state.begun.set)
        try:
            while True:
                from_thread.check_cancelled()
        finally:
            state.ended.set()

    @app.get("/quick")
    def quick() -> str:
        return from_thread.run_sync(str, threading.get_native_id())

    async def main():
        state.begun, state.ended = asyncio.Event(), threading.Event()
        transport = httpx.ASGITransport(app=app)  # in the client's own task
        async with httpx.AsyncClient(
            transport=transport, base_url="http://here", timeout=None
        ) as http:
            async with anyio.create_task_group() as group:
                group.start_soon(http.get, "/")
                await state.begun.wait()
                group.cancel_scope.cancel()
            assert state.ended.is_set()
            response = await http.get("/quick")
            assert int(response.json()) != threading.get_native_id()
            # The thread was given back.
            assert to_thread.current_default_thread_limiter().borrowed_tokens == 0

    run(main)
