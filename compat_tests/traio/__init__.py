"""traio's own tests, with our Scope under traio's name."""

NAME = "traio"
"""What is replaced."""

OURS = f"{NAME} (trio_asyncio_c)"
"""What is there then."""
