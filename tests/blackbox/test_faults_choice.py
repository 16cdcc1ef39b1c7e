"""Providers that fail, flap or are overloaded: who is asked next, and when (F10, F16, F17)."""

from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import time

import expect
import pytest


def fail_together(weir, count: int, step: dict) -> None:
    """Requests that are all under way when the first of them fails."""
    with ThreadPoolExecutor(count) as pool:
        list(pool.map(lambda _: weir.ask(step), range(count)))


def test_F10_failures_in_a_row_eject_and_half_at_most(run):
    weir = run("ab")
    slow = {"status": 500, "head_delay": 0.4}
    fail_together(weir, 6, {"a": slow})
    weir.settles(1, "ejections_total", provider="a")
    weir.settles(1, "endpoints", provider="a", state="ejected")
    time.sleep(1.2)  # the short cooldown after a stumble is over, the ejection is not
    answer = weir.ask()
    expect.whole(answer)
    assert answer.seen("a") == []
    weir.settles(1, "excluded_total", reason="ejected")
    fail_together(weir, 6, {"b": slow})
    weir.settles(1, "ejections_total", provider="b")
    time.sleep(1.2)
    for _ in range(4):
        expect.whole(weir.ask())
    assert weir.metric("endpoints", state="ejected") == 2, "all have failed: all but half serve on"


def test_F10_a_provider_that_flaps_does_not_swing_the_pool(run):
    weir = run("ab")
    for turn in range(12):
        expect.whole(weir.ask({"a": {"status": 500}} if turn % 2 else {}))
        time.sleep(0.05)
    rows = weir.ledger.wait(12 + 6)
    assert sum(row["provider"] == "a" for row in rows) == 12, "a single failure takes nobody out"
    weir.settles(0, "ejections_total")


def test_F16_the_same_host_is_asked_again_after_a_pause(run):
    """Chance spreads it over a quarter of a second, so that they do not all come back at once."""
    models = {f"test/m{number}": "aa" for number in range(12)}
    weir = run(models)
    gaps = []
    for model in models:
        answer = weir.ask({"a": [{"status": 500}, {}]}, model=model)
        expect.whole(answer)
        first, second = answer.rows(2)
        expect.row(first, "a", "server_error", attempt=1, status=500)
        expect.row(second, "a", "ok", "reported", attempt=2, endpoint="a/v1")
        gaps += [later["at"] - earlier["at"] for earlier, later in pairwise(answer.seen("a"))]
    assert sum(gaps) / len(gaps) > 0.05, "an eighth of a second is to be expected"
    assert max(gaps) < 1.0, gaps
    weir.settles(12, "retries_total")


OVERLOADED = [
    {"status": 529},
    {"status": 503},
    {"error": {"at": 0, "error": {"type": "overloaded_error", "message": "Overloaded"}}},
]
COUNT = 80


@pytest.mark.parametrize("step", OVERLOADED, ids=["529", "503", "in band"])
def test_F17_an_overloaded_provider_is_asked_less(run, step):
    """Each model fails once, so nothing but the provider's throttle can hold a request back."""
    models = {f"test/m{number}": "ab" for number in range(COUNT)}
    weir = run(models)
    answers = [weir.ask({"a": step}, model=model) for model in models]
    for answer in answers:
        expect.whole(answer)
        assert 1 <= len(answer.rows(2 if answer.seen("a") else 1))
    asked = sum(len(answer.seen("a")) for answer in answers)
    assert 11 <= asked < COUNT, asked
    weir.settles(COUNT - asked, "attempts_total", provider="a", outcome="throttled")
    weir.settles(COUNT, "attempts_total", provider="b", outcome="ok")


def test_F17_held_back_everywhere_is_503_and_comes_back(run):
    models = {f"test/m{number}": "a" for number in range(COUNT)} | {"test/z": "a"}
    weir = run(models)
    held = 0
    for model in list(models)[:COUNT]:
        answer = weir.ask({"a": {"status": 529}}, model=model)
        if answer.seen():
            expect.refused(answer, 503)
            continue
        held += 1
        expect.refused(answer, 503)
        assert int(answer.headers["retry-after"]) >= 1
        answer.rows(0)
    assert held > 0
    served = 0
    for _ in range(400):
        answer = weir.ask(model="test/z")
        served += answer.status == 200
        if served == 40:
            break
        time.sleep(0.01)
    assert served == 40, "what gets through shows that there is room again"
