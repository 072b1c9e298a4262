"""What tests of grpcio share; import it after making sure that there is grpc."""

from __future__ import annotations

import asyncio

import grpc
import pytest


@pytest.fixture(autouse=True)
def let_go():
    """Give grpc, which keeps hold of the last loop it ran on, one that is not ours."""

    async def main():
        async with grpc.aio.insecure_channel("127.0.0.1:1"):
            pass

    yield
    with asyncio.Runner(loop_factory=asyncio.SelectorEventLoop) as runner:
        runner.run(main())
