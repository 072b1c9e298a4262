"""Lets a Python process run Trio on the core, if its environment says so.

Run by the one line of ``_startup.pth`` when Python starts, before anything is
imported; so it must cost nothing, and imports the package only if the process
imports Trio.
"""

import sys


class _Finder:
    """Waits for the import of ``trio``, and finds nothing itself."""

    @staticmethod
    def find_spec(name: str, path: object = None, target: object = None) -> None:
        if name == "trio":
            sys.meta_path.remove(_Finder)
            from trio_asyncio_c import install_trio

            install_trio()


sys.meta_path.insert(0, _Finder)
