"""``trio._timeouts``: sleeping, and cancel scopes made for a timeout."""

from typing import NoReturn

from trio_asyncio_c import _core
from trio_asyncio_c._core import (
    fail_after,
    fail_at,
    move_on_after,
    move_on_at,
    sleep,
    sleep_until,
)
from trio_asyncio_c._exceptions import TooSlowError


async def sleep_forever() -> NoReturn:
    """Wait until cancelled.

    A function of Python's: the traceback of a Ctrl-C that ends it, often all
    that one sees of a program's end, names it then.
    """
    await _core.sleep_forever()


# Trio gives its public names their final home by this mark.
for _thing in (TooSlowError, sleep, sleep_until):
    _thing.__module__ = __name__
# Functions of C's cannot be given a name, so they get their home at once.
for _function in (fail_after, fail_at, move_on_after, move_on_at):
    _function.__module__ = "trio"
