"""What a suite's run on ours is worth beside its run on plain trio, or plain asyncio.

What passes on plain must pass on ours, test by test. A test that fails on plain too
is shown and not held against us. The list of expected failures is strict: an entry
that no test needs is a failure as well.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass

from ._session import Session

FAILED = ("failed", "error", "crashed", "hung", "flaky", "xpassed")
# What no list excuses: `flaky` is a test that fails, and passes when it is run alone.
INEXCUSABLE = ("crashed", "hung", "flaky")
NOT_COLLECTED = "it is on the list, and was not collected"


class Verdict(enum.StrEnum):
    """What is to be said of a test; the words are those that are printed."""

    SAME = "same"
    FAILURE = "FAILURE"
    STALE = "STALE ENTRY"
    LISTED = "on the list"
    FAILS_ON_BOTH = "fails on plain too"
    FIXED = "better than on plain"
    ONLY_HERE = "runs only on ours"

    @property
    def counts(self) -> bool:
        """Whether it makes the run a failed one."""
        return self in (Verdict.FAILURE, Verdict.STALE)


@dataclass(frozen=True)
class Difference:
    """A test of which there is something to say."""

    test_id: str
    verdict: Verdict
    plain: str
    ours: str
    detail: str


def judge(plain: str, ours: str) -> Verdict:
    """Compare the outcomes of one test."""
    if plain == ours:
        return Verdict.FAILS_ON_BOTH if plain in FAILED else Verdict.SAME
    if plain in FAILED:
        return _judge_failed_on_plain(plain, ours)
    if plain == "xfailed" and ours in ("passed", "xpassed"):
        return Verdict.FIXED
    if plain in ("skipped", "missing") and ours not in (*FAILED, "missing"):
        return Verdict.ONLY_HERE
    return Verdict.FAILURE


def _judge_failed_on_plain(plain: str, ours: str) -> Verdict:
    if ours == "passed":
        return Verdict.FIXED
    if plain == "xpassed":
        # It does pass there, which its mark did not expect.
        return Verdict.FAILURE
    if ours == "xfailed":
        return Verdict.FIXED
    # One that breaks off the process, or is not even tried, is worse than one that
    # fails; and one that always fails is worse than one that does so at times.
    worse = ours in ("crashed", "hung", "skipped", "missing") or plain == "flaky"
    return Verdict.FAILURE if worse else Verdict.FAILS_ON_BOTH


def compare(
    plain: Session,
    ours: Session,
    expected: dict[str, str],
    *,
    whole: bool,
    all_run: bool,
) -> list[Difference]:
    """Return what is to be said, the tests in the order in which they were run.

    `whole` says that no test was left out by the user's choice, `all_run` that this
    part of the suite skips none that another part would run: a listed test must then
    be there, and fail. A module that is listed must fail to be collected, and its tests
    are then not missed.
    """
    if not plain.collected or not ours.collected:
        return []  # which is a problem of the whole
    collected = {**plain.results, **ours.results}
    found = [
        _difference(test_id, plain, ours, expected, must_fail=whole and all_run)
        for test_id in collected
    ]
    if whole:
        found += [_not_collected(name) for name in expected if name not in collected]
    return [difference for difference in found if difference.verdict != Verdict.SAME]


def _difference(
    test_id: str,
    plain: Session,
    ours: Session,
    expected: dict[str, str],
    *,
    must_fail: bool,
) -> Difference:
    outcomes = plain.outcome(test_id), ours.outcome(test_id)
    verdict = judge(*outcomes)
    result = ours.results.get(test_id)
    detail = "" if result is None else result.detail
    if test_id in expected:
        stale = _why_stale(outcomes[1], must_fail)
        if stale:
            verdict, detail = Verdict.STALE, stale
        elif verdict == Verdict.FAILURE and outcomes[1] not in INEXCUSABLE:
            verdict, detail = Verdict.LISTED, expected[test_id]
    elif verdict == Verdict.FAILURE and outcomes[1] == "missing":
        module = test_id.partition("::")[0]
        if module in expected and ours.outcome(module) == "error":
            verdict, detail = Verdict.LISTED, expected[module]
    return Difference(test_id, verdict, *outcomes, detail)


def _why_stale(ours: str, must_fail: bool) -> str:
    """Say why a test with this outcome should not be on the list."""
    if ours == "missing":
        return NOT_COLLECTED
    if ours == "skipped":
        return "it is on the list, and was skipped" if must_fail else ""
    return "" if ours in FAILED else "it is on the list, and does not fail"


def _not_collected(test_id: str) -> Difference:
    return Difference(test_id, Verdict.STALE, "missing", "missing", NOT_COLLECTED)


def problems(plain: Session, ours: Session, wanted: tuple[str, ...] = ()) -> list[str]:
    """Return what spoils the comparison as a whole.

    `wanted` are the ids of tests that the user asked for, which must be there.
    """
    found = [f"plain: {text}" for text in plain.problems]
    found += [f"ours: {text}" for text in ours.problems]
    there = {*plain.collected, *ours.collected}
    found += [f"there is no test {name}" for name in wanted if name not in there]
    return found


def wrong_trio(plain: Session, ours: Session) -> list[str]:
    """Return who ran another trio than it should have."""
    return [
        *_wrong_trio("plain trio", plain, swapped=False),
        *_wrong_trio("our core", ours, swapped=True),
    ]


def _wrong_trio(name: str, session: Session, *, swapped: bool) -> list[str]:
    """Return the same of one side, if there were tests at all."""
    return [
        f"{name}: {who} did not run on it"
        for key, who in (("swapped", "the tests"), ("child_swapped", "a child process"))
        if session.collected and session.facts.get(key) is not swapped
    ]


def wrong_subject(plain: Session, ours: Session, names: tuple[str, str]) -> list[str]:
    """Return who tested another package than it should have; `names` are what the
    import of the one that is tested has to give, on plain and on ours."""
    return [
        f"{side}: the tests were of {there}, not of {wanted}"
        for side, session, wanted in zip(("plain", "ours"), (plain, ours), names)
        if session.collected and (there := session.facts.get("subject")) != wanted
    ]
