"""Modules that stand in for those of ``trio`` which the core in C replaces.

As in `trio_asyncio_c._trio_core`, each of them *is* the submodule of its name.
"""
