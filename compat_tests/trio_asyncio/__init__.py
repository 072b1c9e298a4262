"""trio-asyncio's own tests, with this package under trio-asyncio's name."""

CPYTHON = "/Python-"
"""What the ids of CPython's tests begin with, which are among them."""
