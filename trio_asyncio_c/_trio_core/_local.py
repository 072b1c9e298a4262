"""``trio._core._local``: variables of a run."""

from trio_asyncio_c._core import RunVar, RunVarToken

# Trio's own module is what loads the next one; others rely on it.
from trio._core import _run as _run

for _cls in (RunVar, RunVarToken):
    _cls.__module__ = __name__
