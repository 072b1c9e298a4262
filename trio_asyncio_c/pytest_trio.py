"""A pytest plugin: Trio runs on the core in C in all the tests.

Use it as ``pytest -p trio_asyncio_c.pytest_trio``, before all plugins that
import Trio: those that are named by ``-p`` come in their order, and before
those that are installed. Python processes that the tests start do the same.
"""

from . import install_trio

install_trio(inherit=True)
