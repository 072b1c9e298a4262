"""Cancel scopes of anyio, quattro and async-timeout, as they are for asyncio, in and
around ours: which of the two catches is as if there were none but it."""

from __future__ import annotations

import contextlib
import functools

import pytest
from ...aio import _scope_pairs as pairs
from ...aio._scoped import ways

anyio_asyncio = pytest.importorskip("anyio._backends._asyncio")
quattro = pytest.importorskip("quattro")
async_timeout = pytest.importorskip("async_timeout")


@contextlib.asynccontextmanager
async def anyio_scope(stage):
    with anyio_asyncio.CancelScope() as scope:
        stage.time_out = scope.cancel
        yield


@contextlib.asynccontextmanager
async def quattro_scope(stage):
    with quattro.CancelScope() as scope:
        stage.time_out = scope.cancel
        yield


@contextlib.asynccontextmanager
async def async_timeout_scope(stage):
    async with async_timeout.timeout(pairs.LONG_S) as timeout:
        stage.time_out = timeout._on_timeout
        yield


FOREIGN = [anyio_scope, quattro_scope, async_timeout_scope]


async def foreign_in_scope(stage, foreign):
    with stage.scope:
        async with foreign(stage):
            await stage.block()


async def scope_in_foreign(stage, foreign):
    async with foreign(stage):
        with stage.scope:
            await stage.block()


# Cause T; what leaves a timeout is an error, and what is left has no trace of it.
T_IN_SCOPE = {
    "T": "none 0",
    "S+T together": "none 0",
    "S+T turn": "none 0 caught",
    "T+S together": "none 0",
    "T+S turn": "none 0",
}
T_ROUND_SCOPE = {**T_IN_SCOPE, "S+T turn": "none 0"}


def wanted(nest, foreign, column):
    cells = T_IN_SCOPE if nest is foreign_in_scope else T_ROUND_SCOPE
    if column not in cells:
        return pairs.USUAL[column]
    if column == "S+T turn" and foreign is anyio_scope:
        return "none 0 caught"  # it does not cancel a wait that is cancelled already
    error = "TimeoutError" if foreign is async_timeout_scope else "none"
    return cells[column].replace("none 0", f"{error} 0", "caught" not in cells[column])


@ways
@pytest.mark.parametrize("column", pairs.WITH_TIME)
@pytest.mark.parametrize("foreign", FOREIGN)
@pytest.mark.parametrize("nest", [foreign_in_scope, scope_in_foreign])
def test_pair(way, nest, foreign, column):
    nest_of_two = functools.partial(nest, foreign=foreign)
    assert way.run(pairs.play, nest_of_two, column) == wanted(nest, foreign, column)
