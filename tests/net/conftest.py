"""The loop under test, and TLS by each of its engines."""

from __future__ import annotations

import pytest

from tests.aio.conftest import errors, loop  # noqa: F401
from trio_asyncio_c import _core


@pytest.fixture(params=["direct", "memory"])
def engine(request):
    """Have connections driven by OpenSSL directly, or through MemoryBIOs."""
    from trio_asyncio_c import _tls

    direct = request.param == "direct"
    if direct and not _tls.has_direct:
        pytest.skip("this interpreter's OpenSSL cannot be reached")
    _core._tls_use_direct(direct)
    yield request.param
    _core._tls_use_direct(True)
