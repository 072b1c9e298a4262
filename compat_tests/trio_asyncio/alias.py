"""A pytest plugin: in all the tests, trio-asyncio's name stands for this package.

It must come before whatever imports trio_asyncio, and behind the one that has trio run
on the core. The loop of asyncio's own functions is ours as well, which trio-asyncio
does when it is imported.
"""

from __future__ import annotations

import sys
from importlib.machinery import ModuleSpec
from types import ModuleType

import trio_asyncio_c

NAME = "trio_asyncio"


class _OnlyTheseModules:
    """Finds no module of trio-asyncio's beyond those that are there.

    Or the import system would find ours by the package's path, and load a second copy.
    """

    @staticmethod
    def find_spec(
        name: str, path: object = None, target: object = None
    ) -> ModuleSpec | None:
        if name.startswith(f"{NAME}."):
            raise ModuleNotFoundError(
                f"not one that we stand in for: {name}", name=name
            )
        return None


if NAME in sys.modules:
    raise RuntimeError(f"{NAME} was imported before its name could be taken")
sys.modules[NAME] = trio_asyncio_c
# The only private module that tests of something else take a name from.
loop_module = ModuleType(f"{NAME}._loop")
vars(loop_module)["TrioPolicy"] = trio_asyncio_c.EventLoopPolicy
sys.modules[loop_module.__name__] = loop_module
sys.meta_path.insert(0, _OnlyTheseModules)
trio_asyncio_c.install()
