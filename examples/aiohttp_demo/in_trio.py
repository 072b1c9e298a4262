"""The Trio-flavoured code that the application's `squares` handler calls."""

from trio_asyncio_c import trio

CLEANUP_S = 0.01


async def square(number, pause_s, found, diary):
    try:
        await trio.sleep(pause_s)
    except trio.Cancelled:
        diary["saw Cancelled"] += 1
        # To give back what it holds may take a moment, and may not be cut short.
        with trio.CancelScope(shield=True):
            await trio.sleep(CLEANUP_S)
        diary["cleaned up"] += 1
        raise
    found[number] = number * number


async def squares(count, pause_s, diary):
    found = {}
    async with trio.open_nursery() as nursery:
        for number in range(count):
            nursery.start_soon(square, number, pause_s, found, diary)
    return [found[number] for number in range(count)]
