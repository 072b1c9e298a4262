"""A FastAPI application that knows nothing of this package, and tells what it runs on."""

from __future__ import annotations

import asyncio

import anyio
from fastapi import FastAPI
from fastapi.responses import StreamingResponse

app = FastAPI()


def name_of(what):
    return type(what).__module__.partition(".")[0]


@app.get("/about")
async def about():
    async with anyio.create_task_group() as group:
        return {
            "loop": name_of(asyncio.get_running_loop()),
            "scopes": name_of(group.cancel_scope),
        }


@app.get("/thread")
def in_thread():
    return anyio.from_thread.run_sync(lambda: name_of(anyio.CancelScope()))


@app.get("/stream")
async def stream():
    async def numbers():
        for number in range(10):
            with anyio.move_on_after(0.001) as scope:
                await anyio.sleep_forever()
            yield f"{number} {name_of(scope)} {scope.cancelled_caught}\n"

    return StreamingResponse(numbers())
