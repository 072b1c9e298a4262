"""Modules that stand in for those of ``trio._core`` which the core in C replaces.

They are not imported from here: `trio_asyncio_c.install_trio` lets the import
of ``trio._core._run`` find ``_run.py``, and so on, so that each of them *is*
that submodule. All the others of Trio's modules are Trio's own.
"""
