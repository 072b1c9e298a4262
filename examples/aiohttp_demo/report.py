"""What the demo prints, and what it finds wrong."""

from .client import CONNECTIONS
from .tree import shorten

HEAD = """\
One aiohttp application on two event loops, each in a process of its own, gets
requests for {seconds:g} seconds on {connections} connections. Every answer is checked.
The clients need more CPU time than the server, so the rates depend on them too.
"""
HEADINGS = f"""\
{"":15}{"requests a second":^30}{"":4}  server's CPU, ms a request
{"":15}{"trio_asyncio_c  asyncio  ratio":>30}{"trio_asyncio_c  asyncio  ratio":>34}"""

# What is in flight when the server is cancelled, and how each has to end.
IN_FLIGHT = {
    "quick": ("requests in a Trio nursery, almost done", "answered"),
    "slow": ("requests in a Trio nursery, for a minute", "disconnected"),
    "nap": ("requests in asyncio.sleep(), for a minute", "disconnected"),
    "listen": ("WebSockets", "closed with code 1001"),
}


def _ratio(ours, stock):
    return ours / stock if stock else float("nan")


def _how_often(counts):
    return ", ".join(f"{count} {what}" for what, count in counts.items())


class Page:
    """The report, printed piece by piece."""

    def __init__(self):
        self._problems = []
        self._answers = 0

    def _say(self, *lines):
        print(*lines, sep="\n", flush=True)

    def problem(self, text):
        """Note what went wrong."""
        self._problems.append(text)

    def expect(self, value, expected, what):
        """Note that something is wrong unless it is as expected."""
        if value != expected:
            self.problem(f"{what}: {value!r}, not {expected!r}")

    def head(self, seconds):
        self._say(HEAD.format(connections=CONNECTIONS, seconds=seconds), HEADINGS)

    def measured(self, name, ours, stock):
        """Say how fast one kind of requests was answered."""
        self._check(f"{name}, trio_asyncio_c", ours)
        self._check(f"{name}, asyncio", stock)
        rates = ours["rate"], stock["rate"]
        cpu = ours["cpu_ms"], stock["cpu_ms"]
        self._say(
            f"{name:15}{rates[0]:14.0f}{rates[1]:9.0f}{_ratio(*rates):7.2f}"
            f"{cpu[0]:18.3f}{cpu[1]:9.3f}{_ratio(*cpu):7.2f}"
        )

    def _check(self, what, load):
        self._answers += load["count"]
        for problem in load["problems"]:
            self.problem(f"{what}: {problem}")
        if not load["count"]:
            self.problem(f"{what}: no answers")

    def tree(self, tree, load):
        """Show the task tree, which must have tasks of both kinds in it."""
        self._check("while the task tree was made", load)
        for kind in "asyncio task ", "in_trio.square":
            if kind not in tree:
                self.problem(f"the task tree has no {kind!r}")
        self._say("", "The task tree of the busy server on trio_asyncio_c:", "")
        self._say(*("  " + line for line in shorten(tree)))

    def cancelled(self, in_flight, endings, refused, after):
        """Say what became of requests in flight, and what was left of the server."""
        self._say(
            "",
            "The Trio cancel scope around the server was cancelled with these in flight:",
            "",
        )
        each = in_flight["each"]
        for key, (what, expected) in IN_FLIGHT.items():
            self._say(f"  {each} {what:43}{_how_often(endings[key])}")
            self.expect(endings[key], {expected: each}, what)
        self._tasks(after, each * in_flight["tasks"])
        self._left(after, refused)

    def _tasks(self, after, cancelled):
        diary = after["diary"]
        saw, cleaned_up = diary.get("saw Cancelled", 0), diary.get("cleaned up", 0)
        self._say(f"  {saw} Trio tasks saw Cancelled, and {cleaned_up} cleaned up")
        expected = {"saw Cancelled": cancelled, "cleaned up": cancelled}
        self.expect(diary, expected, "Trio tasks")
        self.expect(after["scope caught its cancel"], True, "scope caught its cancel")

    def _left(self, after, refused):
        left = {
            what: after[what + " left"]
            for what in ("tasks", "asyncio tasks", "file descriptors")
        }
        for what, count in left.items():
            self.expect(count, 0, f"{what} left")
        self.expect(after["loop closed"], True, "loop closed")
        self.expect(refused, True, "port refuses connections")
        self._say(f"  left behind: {_how_often(left)}")

    def verdict(self):
        """Say whether all went well, and return the exit status."""
        if not self._problems:
            self._say("", f"All {self._answers} answers were right.")
            return 0
        self._say("", "This went wrong:", *("  " + text for text in self._problems))
        return 1
