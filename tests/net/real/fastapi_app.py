"""A FastAPI application with what such applications are made of."""

from __future__ import annotations

import asyncio
import threading
import time
from contextlib import asynccontextmanager
from typing import Annotated

import pydantic
from fastapi import (
    BackgroundTasks,
    Depends,
    FastAPI,
    HTTPException,
    Request,
    UploadFile,
    WebSocket,
    WebSocketDisconnect,
)
from fastapi.responses import StreamingResponse

EVENTS: list[str] = []


@asynccontextmanager
async def lifespan(app: FastAPI):
    EVENTS.append("started")
    yield {"answer": 42}
    EVENTS.append("ended")


app = FastAPI(lifespan=lifespan)


class Item(pydantic.BaseModel):
    name: str
    prices: list[float]


def opened():
    """Be a dependency that is closed after the response, in a worker thread."""
    EVENTS.append("opened")
    yield "resource"
    EVENTS.append("closed")


@app.get("/loop")
async def which_loop(request: Request) -> dict:
    loop = type(asyncio.get_running_loop())
    name = f"{loop.__module__}.{loop.__qualname__}"
    return {"loop": name, "answer": request.state.answer}


@app.get("/sync/{number}")
def in_a_thread(number: int, resource: Annotated[str, Depends(opened)]) -> dict:
    time.sleep(0.005)
    return {"number": number, "main": threading.current_thread().name == "MainThread"}


@app.post("/items")
async def total(item: Item) -> dict:
    return {"name": item.name, "total": sum(item.prices)}


@app.post("/later/{text}")
async def later(text: str, tasks: BackgroundTasks) -> str:
    def in_thread():
        EVENTS.append(f"thread {text}")

    async def in_loop():
        await asyncio.sleep(0)
        EVENTS.append(f"loop {text}")

    tasks.add_task(in_thread)
    tasks.add_task(in_loop)
    return "accepted"


@app.post("/upload")
async def upload(file: UploadFile) -> int:
    return len(await file.read())


@app.get("/lines/{count}")
def lines(count: int) -> StreamingResponse:
    return StreamingResponse(f"line {number}\n" for number in range(count))


@app.get("/missing")
async def missing() -> None:
    raise HTTPException(404, "not here")


@app.websocket("/ws")
async def talk(ws: WebSocket) -> None:
    await ws.accept()
    try:
        while True:
            await ws.send_json({"got": await ws.receive_json()})
    except WebSocketDisconnect:
        EVENTS.append("disconnected")
