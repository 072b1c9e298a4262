"""The demo: it passes, and it would notice if it must not."""

from __future__ import annotations

import asyncio
import re

import pytest

from ._helpers import EXAMPLES, PACKAGE_PATH, run_example

pytest.importorskip("aiohttp", reason="the demo's application is made with aiohttp")


@pytest.fixture
def demo(monkeypatch):
    """Make the demo's modules importable."""
    monkeypatch.syspath_prepend(EXAMPLES)


@pytest.fixture(scope="module")
def output():
    done = run_example("demo.py", "--seconds", "1")
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    return done.stdout


def test_demo_measures_all_kinds(output, demo):
    from aiohttp_demo.traffic import KINDS

    for name in KINDS:
        numbers = re.search(rf"^{name} +(.*)$", output, re.MULTILINE)
        assert len(numbers[1].split()) == 6
        assert all(float(number) > 0 for number in numbers[1].split())


def test_demo_shows_a_tree_with_both_kinds_of_tasks(output):
    assert re.search(r"─ asyncio task: RequestHandler\.", output)
    assert re.search(r"─ aiohttp_demo\.in_trio\.squares", output)


def test_demo_cancels_requests_in_flight(output):
    for ending in "answered", "disconnected", "closed with code 1001":
        assert re.search(rf"  4 .*  4 {ending}$", output, re.MULTILINE)
    assert "12 Trio tasks saw Cancelled, and 12 cleaned up" in output
    assert "left behind: 0 tasks, 0 asyncio tasks, 0 file descriptors\n" in output
    assert re.search(r"\nAll \d+ answers were right\.\n$", output)


def test_demo_has_no_paths_in_its_output(output):
    assert str(PACKAGE_PATH) not in output
    assert str(EXAMPLES) not in output


LOAD = {"count": 5, "rate": 5.0, "cpu_ms": 1.0, "problems": []}
AFTER = {
    "scope caught its cancel": True,
    "diary": {"saw Cancelled": 12, "cleaned up": 12},
    "loop closed": True,
    "tasks left": 0,
    "asyncio tasks left": 0,
    "file descriptors left": 0,
}
ENDINGS = {
    "quick": {"answered": 4},
    "slow": {"disconnected": 4},
    "nap": {"disconnected": 4},
    "listen": {"closed with code 1001": 4},
}


def status(load=LOAD, endings=ENDINGS, refused=True, after=AFTER, tree=None):
    """Return the demo's exit status for what its processes told."""
    from aiohttp_demo.report import Page

    page = Page()
    page.head(1)
    page.measured("GET, JSON", load, LOAD)
    page.tree(tree or "root\n├─ asyncio task 1: f\n└─ in_trio.squares", LOAD)
    page.cancelled({"each": 4, "tasks": 3}, endings, refused, after)
    return page.verdict()


@pytest.mark.parametrize(
    ("told", "what"),
    [
        ({"load": {**LOAD, "problems": ["a wrong answer"]}}, "a wrong answer"),
        ({"load": {**LOAD, "count": 0}}, "no answers"),
        ({"tree": "root\n└─ in_trio.squares"}, "the task tree has no"),
        ({"endings": {**ENDINGS, "nap": {"answered": 4}}}, "'answered': 4"),
        ({"refused": False}, "port refuses connections"),
        ({"after": {**AFTER, "tasks left": 1}}, "tasks left: 1, not 0"),
        ({"after": {**AFTER, "diary": {}}}, "Trio tasks: {}"),
    ],
)
def test_demo_fails_if_anything_went_wrong(demo, capsys, told, what):
    assert status() == 0
    assert "This went wrong" not in capsys.readouterr().out
    assert status(**told) == 1
    assert what in capsys.readouterr().out.partition("This went wrong:")[2]


def test_demo_notices_wrong_answers(demo):
    from aiohttp import test_utils, web
    from aiohttp_demo import client, traffic

    async def lie(request):
        return web.json_response({"id": 0, "title": "a lie", "cpu_s": 0})

    async def load_on_liar():
        app = web.Application()
        app.router.add_get("/{path:.*}", lie)
        async with test_utils.TestServer(app) as server:
            async with client.open_session(server.port) as session:
                load = client.Load(session, traffic.get_json)
                await load.run(0.05)
                return load.result()

    result = asyncio.run(load_on_liar())
    assert result["count"] == 0
    assert "WrongAnswer" in result["problems"][0]


def test_demo_shortens_the_tree(demo):
    from aiohttp_demo.tree import shorten

    tree = """\
root
├─ asyncio task Task-1: a
├─ asyncio task Task-2: b
├─ asyncio task Task-3: a
├─ parent
│  └─ child
├─ leaf
└─ leaf"""
    assert shorten(tree) == [
        "root",
        "├─ asyncio task: a  × 2",
        "├─ asyncio task: b",
        "├─ parent",
        "│  └─ child",
        "└─ leaf  × 2",
    ]
