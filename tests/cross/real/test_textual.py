"""textual's test harness, driven by Trio-flavoured code."""

from __future__ import annotations

import asyncio

import pytest

pytest.importorskip("textual")

from textual.app import App  # noqa: E402
from textual.containers import Vertical  # noqa: E402
from textual.screen import ModalScreen  # noqa: E402
from textual.widgets import Button, Input, Label, ListItem, ListView  # noqa: E402

from trio_asyncio_c import aio_as_trio, run_asyncio, run_trio, trio_as_aio  # noqa: E402

from ._programs import trio  # noqa: E402


class Question(ModalScreen):
    """Asks whether to go on."""

    def compose(self):
        yield Label("Go on?")
        yield Button("Yes", id="yes")

    def on_button_pressed(self):
        self.dismiss("yes")


class Shop(App):
    """A list that grows by what is typed, with work that Trio tasks do."""

    BINDINGS = [
        ("f2", "ask", "Ask"),
        ("f3", "work", "Work"),
        ("f4", "fail", "Fail"),
    ]

    def __init__(self, work=None):
        super().__init__()
        self.answers = []
        self._work = work

    def compose(self):
        with Vertical():
            yield Input(id="wanted")
            yield ListView(id="bought")
            yield Label("idle", id="state")

    def on_mount(self):
        self.query_one(Input).focus()

    async def on_input_submitted(self, message):
        label = Label(message.value)
        await self.query_one(ListView).append(ListItem(label))
        message.input.value = ""

    def action_ask(self):
        self.push_screen(Question(), self.answers.append)

    async def action_work(self):
        self.query_one("#state", Label).update(await trio_as_aio(self._work)())

    def action_fail(self):
        raise ZeroDivisionError

    @property
    def bought(self):
        return [str(label.content) for label in self.query("#bought Label")]

    @property
    def state(self):
        return str(self.query_one("#state", Label).content)


def driving(app):
    """Run an app for the body, which gets its pilot. Flavor: Trio."""
    return aio_as_trio(app.run_test())


def test_keys_are_pressed_and_widgets_change(run_in_trio):
    async def main():
        app = Shop()
        async with driving(app) as pilot:
            press = aio_as_trio(pilot.press)
            await press(*"milk", "enter")
            await press(*"bread", "enter")
            assert app.bought == ["milk", "bread"]
            assert app.query_one(Input).value == ""
            await press(*"egg")
            await press("backspace")
            assert app.query_one(Input).value == "eg"
            await press("tab", "down", "up")
            assert app.focused is app.query_one(ListView)
        assert not app.is_running

    run_in_trio(main)


def test_a_button_on_another_screen(run_in_trio):
    async def main():
        app = Shop()
        async with driving(app) as pilot:
            await aio_as_trio(pilot.press)("f2")
            assert isinstance(app.screen, Question)
            assert await aio_as_trio(pilot.click)("#yes")
            await aio_as_trio(pilot.pause)()
            assert app.answers == ["yes"]
            assert not isinstance(app.screen, Question)

    run_in_trio(main)


def test_trio_does_the_apps_work(run_in_trio):
    async def work():
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.sleep, 0.01)
        with trio.move_on_after(0.01) as scope:
            await trio.sleep_forever()
        return f"done {scope.cancelled_caught}"

    async def main():
        app = Shop(work)
        async with driving(app) as pilot:
            await aio_as_trio(pilot.press)("f3")
            assert app.state == "done True"

    run_in_trio(main)


def test_the_program_goes_on_beside_the_app(run_in_trio):
    """Trio tasks and the pilot share the app; a channel feeds it."""

    async def main():
        app = Shop()
        send, receive = trio.open_memory_channel(0)

        async def feed():
            async with send:
                for number in range(20):
                    await send.send(str(number))

        async with driving(app) as pilot, trio.open_nursery() as nursery:
            nursery.start_soon(feed)
            async with receive:
                async for word in receive:
                    await aio_as_trio(pilot.press)(*word, "enter")
            assert app.bought == list(map(str, range(20)))

    run_in_trio(main)


def test_two_apps_side_by_side(run_in_trio):
    """Each with its own context."""
    bought = {}

    async def drive(word):
        app = Shop()
        async with driving(app) as pilot:
            for _ in range(3):
                await aio_as_trio(pilot.press)(*word, "enter")
            bought[word] = app.bought

    async def main():
        async with trio.open_nursery() as nursery:
            nursery.start_soon(drive, "milk")
            nursery.start_soon(drive, "bread")

    run_in_trio(main)
    assert bought == {"milk": ["milk"] * 3, "bread": ["bread"] * 3}


def test_a_deadline_in_the_body(run_in_trio):
    """A wait that is cut short leaves the app as it was."""

    async def main():
        app = Shop()
        async with driving(app) as pilot:
            with trio.move_on_after(0.05) as scope:
                await aio_as_trio(pilot.pause)(1000)
            assert scope.cancelled_caught
            with pytest.raises(TimeoutError):
                async with aio_as_trio(asyncio.timeout(0.05)):
                    await aio_as_trio(pilot.pause)(1000)
            await aio_as_trio(pilot.press)(*"milk", "enter")
            assert app.bought == ["milk"]

    run_in_trio(main)


def test_a_deadline_around_the_app(run_in_trio):
    """It ends the body, and the harness ends the app, which takes several awaits."""

    async def main():
        app = Shop()
        with trio.move_on_after(0.3) as scope:
            async with driving(app):
                await trio.sleep_forever()
        assert scope.cancelled_caught
        assert not app.is_running

    run_in_trio(main)


def test_an_error_in_the_body_ends_the_app(run_in_trio):
    async def main():
        app = Shop()
        with pytest.raises(KeyError):
            async with driving(app) as pilot:
                await aio_as_trio(pilot.press)("a")
                raise KeyError("the body's")
        assert not app.is_running

    run_in_trio(main)


def test_an_error_in_the_app_comes_out(run_in_trio):
    async def main():
        app = Shop()
        with pytest.raises(ZeroDivisionError):
            async with driving(app) as pilot:
                await aio_as_trio(pilot.press)("f4")
                await aio_as_trio(pilot.pause)()
        assert not app.is_running

    run_in_trio(main)


def test_work_in_trio_that_the_app_cancels(run_in_trio):
    """The app leaves while a Trio task works for it: that is cancelled."""
    ended = []

    async def work():
        started.set()
        try:
            await trio.sleep_forever()
        finally:
            ended.append("work")

    async def main():
        nonlocal started
        started = trio.Event()
        app = Shop(work)
        async with driving(app) as pilot:
            app.run_worker(app.action_work())
            await started.wait()
            app.workers.cancel_all()
            await aio_as_trio(pilot.press)(*"milk", "enter")
            assert ended == ["work"]
            assert app.bought == ["milk"]

    started = None
    run_in_trio(main)


def test_the_whole_app_in_a_task(run_in_trio):
    """`run_async` without a terminal, with a pilot that is Trio-flavoured."""

    async def drive(app, pilot):
        await aio_as_trio(pilot.press)(*"milk", "enter")
        app.exit(app.bought)

    async def main():
        app = Shop()

        async def auto_pilot(pilot):
            await run_trio(drive, app, pilot)

        answer = await run_asyncio(app.run_async, headless=True, auto_pilot=auto_pilot)
        assert answer == ["milk"]

    run_in_trio(main)
