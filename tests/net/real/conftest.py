"""Fixtures of the tests of real components."""

from __future__ import annotations

from ..._real.fixtures import *  # noqa: F403
