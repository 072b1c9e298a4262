"""Trio's own tests, and those of trio-asyncio, on the swapped core."""
