"""A Trio-flavoured program that uses asyncio code: here asyncio's streams.

``open_loop`` opens an asyncio event loop as a part of the task tree, and
``run_asyncio`` calls an asyncio function on it. Errors and cancellation cross
over, and the end of the block ends all that was started on the loop.
"""

import asyncio

import trio_asyncio_c
from trio_asyncio_c import trio

# What is asyncio-flavoured: a server and its client


async def shout(reader, writer):
    async for line in reader:
        writer.write(line.upper())
        await writer.drain()
    writer.close()


async def start_server():
    server = await asyncio.start_server(shout, "127.0.0.1", 0)
    return server, server.sockets[0].getsockname()[1]


async def ask(port, text):
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(text.encode() + b"\n")
        return (await reader.readline()).decode().strip()
    finally:
        writer.close()
        await writer.wait_closed()


async def never():
    try:
        await asyncio.get_running_loop().create_future()
    except asyncio.CancelledError:
        print("asyncio code was cancelled")
        raise


# What is Trio-flavoured: all the rest


async def ask_and_store(port, text, answers):
    answers[text] = await trio_asyncio_c.run_asyncio(ask, port, text)


async def main():
    async with trio_asyncio_c.open_loop():
        server, port = await trio_asyncio_c.run_asyncio(start_server)
        answers = {}
        async with trio.open_nursery() as nursery:
            for text in "hello", "world":
                nursery.start_soon(ask_and_store, port, text, answers)
        print("answers:", answers["hello"], answers["world"])

        with trio.move_on_after(0.02) as scope:
            await trio_asyncio_c.run_asyncio(never)
        print("deadline passed:", scope.cancelled_caught)

        try:
            server.close()
            await trio_asyncio_c.run_asyncio(ask, port, "anybody?")
        except ConnectionRefusedError:
            print("server closed")


trio.run(main)
