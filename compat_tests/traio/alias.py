"""A pytest plugin: in all the tests, traio's name stands for our Scope, on our loop."""

from __future__ import annotations

import sys
from types import ModuleType

import trio_asyncio_c

from . import NAME, OURS

if NAME in sys.modules:
    raise RuntimeError(f"{NAME} was imported before its name could be taken")
module = ModuleType(OURS)
vars(module)["Scope"] = trio_asyncio_c.Scope
version = ModuleType(f"{NAME}.__version__")
vars(version)["__version__"] = trio_asyncio_c.__version__
sys.modules[NAME] = module
sys.modules[version.__name__] = version
trio_asyncio_c.install()
