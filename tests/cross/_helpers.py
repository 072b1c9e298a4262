"""What the tests of the crossings share."""

from __future__ import annotations

from trio_asyncio_c import open_loop, run, testing

__all__ = ["flatten", "open_loop", "run", "run_mock"]


def run_mock(fn, *args, **options):
    """Run a Trio-flavoured function with a loop open, on a clock that jumps when
    nothing else can happen."""
    return run(fn, *args, clock=testing.MockClock(autojump_threshold=0), **options)


def flatten(exc):
    """Return the leaves of a possibly nested group."""
    if isinstance(exc, BaseExceptionGroup):
        return [leaf for inner in exc.exceptions for leaf in flatten(inner)]
    return [exc]
