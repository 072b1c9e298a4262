"""A pytest plugin: in all the tests, quattro's name stands for this package.

Scopes and the TaskGroup are ours, on our loop. gather() and defer() are quattro's own,
which its group runs: here they do on ours.
"""

from __future__ import annotations

import importlib
import sys
from types import ModuleType
from typing import Any

import pytest

NAME = "quattro"
OURS = "quattro (trio_asyncio_c)"

SCOPES = ("CancelScope", "fail_after", "fail_at", "move_on_after", "move_on_at")
THEIRS = ("Deferrer", "defer", "gather")


def _module(name: str, **names: Any) -> ModuleType:
    module = ModuleType(name)
    vars(module).update(names)
    return module


def stand_in() -> None:
    """Put this package in the place of quattro, which nobody must have imported."""
    import trio_asyncio_c

    if NAME in sys.modules:
        raise RuntimeError(f"{NAME} was imported before its name could be taken")
    scopes = {name: getattr(trio_asyncio_c, name) for name in SCOPES}
    group = {"TaskGroup": trio_asyncio_c.TaskGroup}
    # cancel_stack is what quattro's own functions ask, which are not called.
    sys.modules[f"{NAME}._cancelscope"] = _module(
        f"{NAME}._cancelscope", cancel_stack=None, _is_311_or_later=True, **scopes
    )
    sys.modules[f"{NAME}._taskgroup"] = _module(f"{NAME}._taskgroup", **group)
    theirs = importlib.import_module(NAME)
    sys.modules[NAME] = _module(
        OURS,
        get_current_effective_deadline=trio_asyncio_c.get_current_effective_deadline,
        **scopes,
        **group,
        **{name: getattr(theirs, name) for name in THEIRS},
    )


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    import trio_asyncio_c

    stand_in()
    trio_asyncio_c.install()
