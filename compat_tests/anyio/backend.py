"""A pytest plugin: wherever a test runs anyio on asyncio, it is on our loop and backend.

So the tests have the names that they have on asyncio's own loop.
"""

from __future__ import annotations

import anyio
import pytest

from trio_asyncio_c import install_anyio
from trio_asyncio_c._policy import replace_defaults


async def _module_of_scopes() -> str:
    return type(anyio.CancelScope()).__module__


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    replace_defaults()
    install_anyio()
    module = anyio.run(_module_of_scopes)
    if not module.startswith("trio_asyncio_c."):
        raise pytest.UsageError(f"anyio's scopes are those of {module}, not ours")
