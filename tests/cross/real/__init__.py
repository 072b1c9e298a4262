"""Libraries of one flavour at work in programs of the other.

asyncio's libraries are used by Trio-flavoured code, Trio's by asyncio-flavoured code.
What they need is the group ``test-real`` of pyproject.toml and, for some, a server that
tools/servers.sh installs; a test without its package or server is skipped. Where
``trio`` was put on the core, as by ``-p trio_asyncio_c.pytest_trio``, the Trio-flavoured
code of the tests is written for that package, and else for ours; libraries that import
``trio`` are tested there only. ``make test-real`` does all that.
"""
