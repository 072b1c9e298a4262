"""Libraries and servers that people use, at their usual work on the event loop.

What they need is the group ``test-real`` of pyproject.toml and, for some, a server that
tools/servers.sh installs; a test without its package or server is skipped. ``make
test-real`` does all that. With ``REAL_LOOP=asyncio:SelectorEventLoop`` in the
environment they run on that loop: the control for what fails on ours.
"""
