"""The interpreter's own tests of asyncio, on an event loop that is not asyncio's."""
