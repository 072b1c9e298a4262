"""``python -m trio_asyncio_c``: run a program on this package's core."""

from trio_asyncio_c._command_line import main

if __name__ == "__main__":
    main()
