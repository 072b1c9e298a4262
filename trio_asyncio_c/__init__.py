"""trio_asyncio_c."""
from . import _exceptions, _core, _core_hooks, _run
