"""A loop that nobody has closed, and the order in which the collector comes by."""

from __future__ import annotations

import gc
import warnings

from trio_asyncio_c import EventLoop


def test_a_loop_whose_sockets_went_first():
    loop = EventLoop()
    for sock in (loop._ssock, loop._csock):
        sock.close()  # as a finalizer does
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        loop.close()
        gc.collect()
    assert loop.is_closed()
    assert loop._ssock is None
    assert loop._csock is None
    assert not caught
