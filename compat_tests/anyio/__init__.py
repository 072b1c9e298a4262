"""anyio's own tests of its asyncio backend, with this package's backend in its place."""
