"""An aiohttp handler that never comes to its end; import it where there is aiohttp."""

from __future__ import annotations

import asyncio

from aiohttp import web


class Waiting:
    """A handler that answers nothing, or no more than a beginning, for ever.

    Args:
      begin: whether it answers a beginning.
      event: the class of the events that tell of it, of the flavour that waits.
    """

    def __init__(self, begin, event):
        self.begin = begin
        self.started = event()
        self.cancelled = event()

    async def handle(self, request):
        if self.begin:
            response = web.StreamResponse()
            await response.prepare(request)
            await response.write(b"beginning")
        self.started.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            self.cancelled.set()
            raise
