"""python -m compat_tests.anyio"""

from __future__ import annotations

import sys

from .._cli import main
from .suites import SUITES

if __name__ == "__main__":
    sys.exit(main("python -m compat_tests.anyio", SUITES))
