"""``trio._core._entry_queue``: the way into a run from other threads."""

from trio_asyncio_c._core import TrioToken

TrioToken.__module__ = __name__

EntryQueue = TrioToken
"""The queue and its token are one object."""
