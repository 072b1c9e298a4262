"""The loop under test."""

from __future__ import annotations

import pytest

from trio_asyncio_c import EventLoop


@pytest.fixture
def loop(request):
    """Give a new event loop, closed after the test."""
    loop = EventLoop()
    yield loop
    loop.close()
    # pytest holds the values of fixtures for longer than the leak guard waits.
    request.node.funcargs.clear()


@pytest.fixture
def errors(loop):
    """Collect what is handed to the loop's exception handler."""
    contexts = []
    loop.set_exception_handler(lambda loop, context: contexts.append(context))
    yield contexts
    # Contexts hold handles and tracebacks.
    contexts.clear()
    loop.set_exception_handler(None)
