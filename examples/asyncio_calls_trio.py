"""An asyncio program that calls Trio code: nurseries, deadlines and cancellation.

Everything but the last line is asyncio as ever. ``loop.run_trio`` starts a Trio
task and returns a Future: awaiting it gives what the task returns or raises, and
cancelling it cancels the task.
"""

import asyncio

import trio_asyncio_c
from trio_asyncio_c import trio

MIRRORS = {"near": 0.02, "far": 0.2, "gone": 60}


async def ask(mirror, seconds, nursery, answers):
    await trio.sleep(seconds)
    answers.append(mirror)
    nursery.cancel_scope.cancel()  # one answer is enough


async def fastest(mirrors):
    """Ask all mirrors at once, and return which one answers first."""
    answers = []
    async with trio.open_nursery() as nursery:
        for mirror, seconds in mirrors.items():
            nursery.start_soon(ask, mirror, seconds, nursery, answers)
    return answers[0]


async def impatient(mirror):
    with trio.fail_after(0.05):
        await trio.sleep(MIRRORS[mirror])


async def forever(log):
    try:
        await trio.sleep_forever()
    finally:
        log.append("cleaned up")


async def main():
    loop = asyncio.get_running_loop()
    print("fastest mirror:", await loop.run_trio(fastest, MIRRORS))

    # An error of the Trio task is the Future's; TooSlowError is a TimeoutError.
    try:
        await loop.run_trio(impatient, "gone")
    except TimeoutError as error:
        print("no answer:", type(error).__name__)

    # Both flavours in one TaskGroup.
    async with asyncio.TaskGroup() as group:
        task = group.create_task(asyncio.sleep(0.01, "asyncio"))
        future = loop.run_trio(fastest, {"trio": 0.01})
    print("both done:", task.result(), await future)

    # Cancellation crosses over: asyncio's timeout cancels the Trio task.
    log = []
    try:
        async with asyncio.timeout(0.02):
            await loop.run_trio(forever, log)
    except TimeoutError:
        print("timeout:", *log)


with asyncio.Runner(loop_factory=trio_asyncio_c.new_event_loop) as runner:
    runner.run(main())
